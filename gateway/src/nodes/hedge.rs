//! When a read asks one more node: after what its nodes usually need, and never
//! for more than a tenth of all requests.
//!
//! Nodes of one zone are one class: what is usual among them is judged by the
//! slowest twentieth of their last answers. The allowance keeps a network that
//! is slow as a whole from being asked twice for everything.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

/// Answers of a class that are remembered.
const REMEMBERED: usize = 128;

/// Before there are so many, nothing is known of a class.
const LEAST: usize = 16;

/// Classes that are told apart; more zones than this are one class.
const CLASSES: usize = 256;

/// What a spare request costs, in requests.
const PRICE: u32 = 10;

/// Requests that count towards the allowance, so that little is saved up.
const SAVED_MAX: u32 = 200;

/// The last answers of one class.
#[derive(Debug, Default)]
struct Answers {
    /// Microseconds; the oldest is overwritten.
    times: Vec<u32>,
    next: usize,
}

impl Answers {
    fn add(&mut self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        if self.times.len() < REMEMBERED {
            self.times.push(micros);
        } else {
            self.times[self.next] = micros;
            self.next = (self.next + 1) % REMEMBERED;
        }
    }

    /// What nineteen of twenty answers took at most.
    fn p95(&self) -> Option<Duration> {
        if self.times.len() < LEAST {
            return None;
        }
        let mut sorted = self.times.clone();
        let place = sorted.len() * 95 / 100;
        let (_, micros, _) = sorted.select_nth_unstable(place);
        Some(Duration::from_micros(u64::from(*micros)))
    }
}

/// How fast nodes answer, and how many spare requests are left.
#[derive(Debug)]
pub struct Hedges {
    classes: RwLock<HashMap<String, Answers>>,
    saved: AtomicU32,
}

impl Default for Hedges {
    fn default() -> Self {
        Self { classes: RwLock::default(), saved: AtomicU32::new(SAVED_MAX) }
    }
}

impl Hedges {
    /// Takes note of how long the first window of a read took.
    pub fn answered(&self, zone: &str, took: Duration) {
        let mut classes = self.classes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(answers) = classes.get_mut(zone) {
            answers.add(took);
            return;
        }
        let zone = if classes.len() < CLASSES { zone } else { "" };
        classes.entry(zone.to_owned()).or_default().add(took);
    }

    /// What nodes of this zone usually need at most; `None` when it is not known.
    pub fn usual(&self, zone: &str) -> Option<Duration> {
        let classes = self.classes.read().unwrap_or_else(PoisonError::into_inner);
        classes.get(zone).or_else(|| classes.get("")).and_then(Answers::p95)
    }

    /// Takes note of a request that had to be made.
    pub fn asked(&self) {
        let more = |saved: u32| Some((saved + 1).min(SAVED_MAX));
        let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Whether a spare request may be made; it is paid for then.
    pub fn may_hedge(&self) -> bool {
        let less = |saved: u32| saved.checked_sub(PRICE);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn one_slow_answer_in_forty_does_not_change_what_is_usual() {
        let hedges = Hedges::default();
        assert_eq!(hedges.usual("a"), None);
        for n in 0..80 {
            hedges.answered("a", if n % 40 == 39 { 900 * MS } else { 5 * MS });
        }
        assert_eq!(hedges.usual("a"), Some(5 * MS));
        for n in 0..REMEMBERED {
            hedges.answered("a", if n % 10 == 9 { 300 * MS } else { 5 * MS });
        }
        assert_eq!(hedges.usual("a"), Some(300 * MS), "one in ten is usual");
        assert_eq!(hedges.usual("b"), None);
    }

    #[test]
    fn old_answers_are_forgotten() {
        let hedges = Hedges::default();
        for took in [50, 2] {
            for _ in 0..REMEMBERED {
                hedges.answered("a", took * MS);
            }
        }
        assert_eq!(hedges.usual("a"), Some(2 * MS));
    }

    #[test]
    fn a_tenth_of_all_requests_may_be_spare() {
        let hedges = Hedges::default();
        while hedges.may_hedge() {}
        let mut spare = 0;
        for _ in 0..1000 {
            hedges.asked();
            spare += u32::from(hedges.may_hedge());
        }
        assert_eq!(spare, 100);
    }

    #[test]
    fn strangers_cannot_make_classes_without_end() {
        let hedges = Hedges::default();
        for n in 0..2 * CLASSES {
            hedges.answered(&n.to_string(), MS);
        }
        assert!(hedges.classes.read().unwrap().len() <= CLASSES + 1);
    }
}
