//! Steps of repair, and of what it leaves behind.
//!
//! A repair writes its place down as a leftover before it sends anything. Its
//! commit takes that leftover back and makes one of the place before. So
//! whatever a repair does, and wherever it dies, metadata knows each shard.

use super::state::{Fate, MISSING, Repair, Row, STORED, State, Step, bit, place};
use super::{Action, NEEDED, Scenario};
use crate::rules::Rule;

type Out = Vec<(Action, State)>;

/// All of them.
pub fn steps(scenario: &Scenario, from: &State, out: &mut Out) {
    if scenario.repairs == 0 {
        return;
    }
    for worker in 0..from.repairs.len() {
        match from.repairs[worker].step {
            Step::Idle => begin(scenario, from, worker, out),
            Step::Sent => {
                out.push((Action::RepairStore(worker as u8), store(from, worker)));
                let mut to = *from;
                to.repairs[worker].step = Step::Orphan;
                out.push((Action::RepairCrash(worker as u8), to));
            }
            Step::Orphan => out.push((Action::RepairStore(worker as u8), store(from, worker))),
            Step::Stored => {
                commit(scenario, from, worker, out);
                out.push((Action::RepairCrash(worker as u8), ended(from, worker)));
            }
        }
    }
    collect(scenario, from, out);
}

fn begin(scenario: &Scenario, from: &State, worker: usize, out: &mut Out) {
    let content = &from.contents[0];
    let can_begin = content.fate == Fate::Live
        && from.repairs_left > 0
        && from.readable(0) >= NEEDED
        // The workers are alike: the first idle one begins.
        && from.repairs[..worker].iter().all(|repair| repair.step != Step::Idle);
    if !can_begin {
        return;
    }
    for (shard, row) in content.rows[..usize::from(scenario.shards)].iter().enumerate() {
        if row.state() != MISSING {
            continue;
        }
        for node in 0..usize::from(scenario.nodes) {
            let is_leftover = (from.waiting | from.removing) & place(shard, node) != 0;
            // A place that waits for removal cannot be written down again.
            if is_leftover || has_other(from, shard, node) {
                continue;
            }
            let mut to = *from;
            to.repairs_left -= 1;
            to.waiting |= place(shard, node);
            let repair = &mut to.repairs[worker];
            repair.step = Step::Sent;
            repair.shard = shard as u8;
            repair.generation = row.generation();
            repair.from = row.node() as u8;
            repair.to = node as u8;
            repair.owns = true;
            out.push((Action::RepairBegin(worker as u8, shard as u8, node as u8), to));
        }
    }
}

/// Whether metadata has another shard of the segment on this node.
fn has_other(state: &State, shard: usize, node: usize) -> bool {
    let rows = state.contents[0].rows.iter().enumerate();
    rows.filter(|(other, _)| *other != shard).any(|(_, row)| row.node() == node)
}

fn store(from: &State, worker: usize) -> State {
    let repair = from.repairs[worker];
    let node = usize::from(repair.to);
    if repair.step == Step::Orphan {
        let mut to = ended(from, worker);
        to.nodes[node].disk |= bit(0, usize::from(repair.shard));
        return to;
    }
    let mut to = *from;
    to.nodes[node].disk |= bit(0, usize::from(repair.shard));
    to.repairs[worker].step = Step::Stored;
    to.repairs[worker].life = from.nodes[node].life;
    to
}

/// A worker that is idle again remembers nothing.
fn ended(from: &State, worker: usize) -> State {
    let mut to = *from;
    to.repairs[worker] = Repair::IDLE;
    to
}

fn commit(scenario: &Scenario, from: &State, worker: usize, out: &mut Out) {
    let (rules, repair) = (scenario.rules, from.repairs[worker]);
    let (shard, node) = (usize::from(repair.shard), usize::from(repair.to));
    let row = from.contents[0].rows[shard];
    let is_same = row.generation() == repair.generation;
    let is_admitted = from.contents[0].fate == Fate::Live
        && (is_same || !rules.keep(Rule::RepairNeedsSameGeneration))
        && (repair.life == from.nodes[node].known || !rules.keep(Rule::RepairOfThisLife))
        && (has_place(scenario, from, repair) || !rules.keep(Rule::RepairNeedsItsPlace))
        && (!has_other(from, shard, node) || !rules.keep(Rule::OneShardANode));
    let mut to = ended(from, worker);
    if !is_admitted {
        out.push((Action::RepairRefused(worker as u8), to));
        return;
    }
    to.waiting &= !place(shard, node);
    // The place before is the one that this repair knows of.
    let before =
        if rules.keep(Rule::RepairNeedsSameGeneration) { row.node() } else { repair.from.into() };
    if before != node {
        to.waiting |= place(shard, before) & !to.removing;
    }
    let life = from.nodes[node].known;
    to.contents[0].rows[shard] = Row::new(node as u8, STORED, life, row.generation() + 1);
    out.push((Action::RepairCommit(worker as u8), to));
}

/// Whether the leftover that a repair wrote down still waits.
fn has_place(scenario: &Scenario, state: &State, repair: Repair) -> bool {
    if scenario.rules.keep(Rule::RepairOwnsItsPlace) {
        repair.owns
    } else {
        state.waiting & place(repair.shard.into(), repair.to.into()) != 0
    }
}

/// Leftovers go, at any time.
fn collect(scenario: &Scenario, from: &State, out: &mut Out) {
    for shard in 0..usize::from(scenario.shards) {
        for node in 0..usize::from(scenario.nodes) {
            let at = place(shard, node);
            if from.waiting & at != 0 {
                let mut to = *from;
                to.waiting &= !at;
                for repair in &mut to.repairs {
                    let its = (usize::from(repair.shard), usize::from(repair.to));
                    repair.owns &= its != (shard, node);
                }
                // The place of a repair in place: the shard counts there already.
                let keeps = scenario.rules.keep(Rule::CountedIsNotEmptied);
                if !(keeps && is_counted(from, shard, node)) {
                    to.removing |= at;
                    raise_generation(&mut to, shard, node);
                }
                out.push((Action::Take(shard as u8, node as u8), to));
            }
            if from.removing & at != 0 {
                let mut to = *from;
                to.nodes[node].disk &= !bit(0, shard);
                // The row stays as long as the shard may still be on its way.
                if !is_coming(from, shard, node) {
                    to.removing &= !at;
                }
                out.push((Action::Sweep(shard as u8, node as u8), to));
            }
        }
    }
}

/// Who was about to count a shard in a place that is emptied notices.
fn raise_generation(to: &mut State, shard: usize, node: usize) {
    let row = &mut to.contents[0].rows[shard];
    if row.node() == node && to.contents[0].fate == Fate::Live {
        *row = Row::new(node as u8, row.state(), row.life(), row.generation() + 1);
    }
}

fn is_counted(state: &State, shard: usize, node: usize) -> bool {
    let content = &state.contents[0];
    let row = content.rows[shard];
    let has_rows = matches!(content.fate, Fate::Open | Fate::Live | Fate::Condemned);
    has_rows && row.node() == node && row.state() == STORED
}

/// Whether an upload or a repair may still store the shard there.
fn is_coming(state: &State, shard: usize, node: usize) -> bool {
    let by_upload = node == shard && state.contents[0].sent & 1 << shard != 0;
    by_upload
        || state.repairs.iter().any(|repair| {
            matches!(repair.step, Step::Sent | Step::Orphan)
                && (usize::from(repair.shard), usize::from(repair.to)) == (shard, node)
        })
}
