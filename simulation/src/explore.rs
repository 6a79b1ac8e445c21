//! Breadth-first search of all states of a model.
//!
//! The search ends with the first state that must not be, and because it is
//! breadth first no shorter trace leads to one. States live once, in an arena;
//! the table that finds them again holds four bytes each.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hash, Hasher};

/// Something with states.
pub trait Model {
    /// One state. Small: millions are kept.
    type State: Copy + Eq + Hash;
    /// One step, for traces.
    type Action: Copy + Debug;

    /// Where it begins.
    fn initial(&self) -> Self::State;
    /// All steps from a state.
    fn steps(&self, from: &Self::State, out: &mut Vec<(Self::Action, Self::State)>);
    /// What is wrong with a state.
    fn violation(&self, state: &Self::State) -> Option<&'static str>;
}

/// What a search found.
#[derive(Debug)]
pub struct Searched<A> {
    /// States seen.
    pub states: usize,
    /// Steps taken.
    pub steps: u64,
    /// Whether there are states beyond `limit` that were not looked at.
    pub is_cut: bool,
    /// The shortest way to a state that must not be.
    pub violation: Option<Violation<A>>,
}

/// A state that must not be, and the way there.
#[derive(Debug)]
pub struct Violation<A> {
    /// What is wrong.
    pub what: &'static str,
    /// The steps from the beginning.
    pub trace: Vec<A>,
}

/// Searches at most `limit` states.
pub fn search<M: Model>(model: &M, limit: usize) -> Searched<M::Action> {
    let mut seen = Seen::new(model.initial());
    let (mut next, mut steps, mut out) = (0, 0, Vec::new());
    while next < seen.arena.len() {
        let (state, _, _) = seen.arena[next];
        if let Some(what) = model.violation(&state) {
            let trace = seen.trace(next);
            let violation = Some(Violation { what, trace });
            return Searched { states: seen.arena.len(), steps, is_cut: false, violation };
        }
        if seen.arena.len() > limit {
            return Searched { states: seen.arena.len(), steps, is_cut: true, violation: None };
        }
        model.steps(&state, &mut out);
        steps += out.len() as u64;
        for (action, state) in out.drain(..) {
            seen.insert(state, next, action);
        }
        next += 1;
    }
    Searched { states: seen.arena.len(), steps, is_cut: false, violation: None }
}

/// A state, the number of the one before it, and the step between them.
type Node<S, A> = (S, u32, Option<A>);

struct Seen<S, A> {
    arena: Vec<Node<S, A>>,
    /// Open addressing; `EMPTY` or a number in the arena.
    table: Vec<u32>,
}

const EMPTY: u32 = u32::MAX;

impl<S: Copy + Eq + Hash, A: Copy> Seen<S, A> {
    fn new(initial: S) -> Self {
        let mut seen = Self { arena: vec![(initial, EMPTY, None)], table: vec![EMPTY; 1 << 16] };
        let at = seen.find(&initial);
        seen.table[at] = 0;
        seen
    }

    fn insert(&mut self, state: S, parent: usize, action: A) {
        let at = self.find(&state);
        if self.table[at] != EMPTY {
            return;
        }
        self.table[at] = number(self.arena.len());
        self.arena.push((state, number(parent), Some(action)));
        if self.arena.len() * 2 > self.table.len() {
            self.grow();
        }
    }

    /// Where a state is in the table, or would be.
    fn find(&self, state: &S) -> usize {
        let mask = self.table.len() - 1;
        let mut at = spread(Mix.hash_one(state)) & mask;
        while self.table[at] != EMPTY && self.arena[self.table[at] as usize].0 != *state {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        self.table = vec![EMPTY; self.table.len() * 4];
        for n in 0..self.arena.len() {
            let at = self.find(&self.arena[n].0);
            self.table[at] = number(n);
        }
    }

    fn trace(&self, mut at: usize) -> Vec<A> {
        let mut trace = Vec::new();
        while let (_, parent, Some(action)) = self.arena[at] {
            trace.push(action);
            at = parent as usize;
        }
        trace.reverse();
        trace
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).expect("fewer states than fit in 32 bits")
}

fn spread(hash: u64) -> usize {
    usize::try_from(hash >> 32).expect("32 bits")
}

/// A hasher that is always the same and needs no protection from attackers.
struct Mix;

impl BuildHasher for Mix {
    type Hasher = Mixer;

    fn build_hasher(&self) -> Mixer {
        Mixer(0)
    }
}

struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        let mut mixed = self.0 ^ (self.0 >> 32);
        mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^= mixed >> 32;
        mixed.wrapping_mul(0xd6e8_feb8_6659_fd93)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(eight));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts to ten, in steps of one and two.
    struct Count {
        forbidden: u8,
    }

    impl Model for Count {
        type State = u8;
        type Action = u8;

        fn initial(&self) -> u8 {
            0
        }
        fn steps(&self, from: &u8, out: &mut Vec<(u8, u8)>) {
            out.extend([1, 2].map(|by| (by, from + by)).into_iter().filter(|(_, to)| *to <= 10));
        }
        fn violation(&self, state: &u8) -> Option<&'static str> {
            (*state == self.forbidden).then_some("forbidden")
        }
    }

    #[test]
    fn every_state_is_seen_once_and_the_shortest_trace_is_found() {
        let all = search(&Count { forbidden: 11 }, 100);
        assert_eq!((all.states, all.steps, all.is_cut), (11, 19, false));
        assert!(all.violation.is_none());
        let found = search(&Count { forbidden: 5 }, 100).violation.unwrap();
        assert_eq!(found.trace.len(), 3);
        assert!(search(&Count { forbidden: 11 }, 4).is_cut);
    }
}
