//! Steps of writers, of copies, deletes and multipart uploads, of collection,
//! and the losses.

use super::state::{
    Client, Fate, Kind, MISSING, PENDING, Phase, Repair, Row, SHARDS, STORED, State, Step, Upload,
    bit, place,
};
use super::{Action, Scenario};
use crate::rules::Rule;

type Out = Vec<(Action, State)>;

/// All of them.
pub fn steps(scenario: &Scenario, from: &State, out: &mut Out) {
    for (content, kind) in scenario.writers.iter().enumerate() {
        let Some(kind) = kind else { continue };
        write(scenario, from, content, *kind, out);
        collect(from, content, out);
    }
    clients(scenario, from, out);
    if scenario.writers.contains(&Some(Kind::Part)) {
        multipart(scenario, from, out);
    }
    losses(scenario, from, out);
}

fn write(scenario: &Scenario, from: &State, c: usize, kind: Kind, out: &mut Out) {
    let (name, content) = (c as u8, &from.contents[c]);
    let rules = scenario.rules;
    match content.phase {
        Phase::Idle => {
            let mut to = *from;
            to.contents[c].phase = Phase::Sending;
            to.contents[c].sent = (1 << scenario.shards) - 1;
            if rules.keep(Rule::IntentFirst) {
                to.contents[c].fate = Fate::Open;
                write_rows(scenario, &mut to, c);
            }
            out.push((Action::Intent(name), to));
        }
        Phase::Sending => {
            commit(scenario, from, c, kind, out);
            let mut to = *from;
            to.contents[c].phase = Phase::Gone;
            out.push((Action::Crash(name), to));
        }
        Phase::Unknown => out.push((Action::Resolve(name), resolve(scenario, from, c))),
        Phase::Acknowledged => late(scenario, from, c, out),
        Phase::Refused | Phase::Gone => {}
    }
    for shard in 0..usize::from(scenario.shards) {
        if content.sent & 1 << shard != 0 {
            let mut to = *from;
            to.contents[c].sent &= !(1 << shard);
            to.nodes[shard].disk |= bit(c, shard);
            if !matches!(content.phase, Phase::Gone | Phase::Refused) {
                to.contents[c].receipts[shard] = 1 + from.nodes[shard].life;
            }
            out.push((Action::Store(name, shard as u8), to));
        }
    }
    if content.delayed {
        let mut to = *from;
        to.contents[c].delayed = false;
        if is_admitted(scenario, from, c, kind) {
            make_visible(scenario, &mut to, c, kind);
        }
        out.push((Action::CommitArrives(name), to));
    }
}

/// Shard `n` of a new content goes to node `n`.
fn write_rows(scenario: &Scenario, to: &mut State, c: usize) {
    for shard in 0..scenario.shards {
        let life = to.nodes[usize::from(shard)].known;
        to.contents[c].rows[usize::from(shard)] = Row::new(shard, PENDING, life, 0);
    }
}

/// Whether the receipt of a shard counts.
fn counts(scenario: &Scenario, state: &State, c: usize, shard: usize) -> bool {
    let receipt = state.contents[c].receipts[shard];
    let is_bound = scenario.rules.keep(Rule::ReceiptsOfThisLife);
    receipt != 0 && (!is_bound || receipt == 1 + state.nodes[shard].known)
}

fn has_quorum(scenario: &Scenario, state: &State, c: usize) -> bool {
    let stored = (0..usize::from(scenario.shards)).filter(|s| counts(scenario, state, c, *s));
    stored.count() as u32 >= scenario.quorum()
}

/// What the transaction of a commit decides.
fn is_admitted(scenario: &Scenario, state: &State, c: usize, kind: Kind) -> bool {
    let rules = scenario.rules;
    let is_open = state.contents[c].fate == Fate::Open
        || !rules.keep(Rule::CommitNeedsOpen)
        || (!rules.keep(Rule::IntentFirst) && state.contents[c].fate == Fate::Absent);
    let holds = match kind {
        Kind::Put => true,
        Kind::PutIfAbsent => state.keys[0] == 0 || !rules.keep(Rule::ConditionInCommit),
        Kind::Part => state.upload == Upload::Open,
    };
    is_open && holds && has_quorum(scenario, state, c)
}

fn commit(scenario: &Scenario, from: &State, c: usize, kind: Kind, out: &mut Out) {
    let name = c as u8;
    if !has_quorum(scenario, from, c) {
        return;
    }
    if !is_admitted(scenario, from, c, kind) {
        let mut to = *from;
        to.contents[c].phase = Phase::Refused;
        out.push((Action::Refused(name), to));
        return;
    }
    let mut to = *from;
    make_visible(scenario, &mut to, c, kind);
    to.contents[c].phase = Phase::Acknowledged;
    out.push((Action::Commit(name), to));
    if scenario.lost_replies {
        to.contents[c].phase = Phase::Unknown;
        out.push((Action::CommitReplyLost(name), to));
        let mut to = *from;
        to.contents[c].phase = Phase::Unknown;
        to.contents[c].delayed = true;
        out.push((Action::CommitDelayed(name), to));
    }
}

/// The transaction of a commit.
fn make_visible(scenario: &Scenario, to: &mut State, c: usize, kind: Kind) {
    let known = to.nodes.map(|node| node.known);
    if to.contents[c].fate != Fate::Open {
        write_rows(scenario, to, c);
    }
    for shard in 0..usize::from(scenario.shards) {
        let state = if counts(scenario, to, c, shard) { STORED } else { MISSING };
        let row = to.contents[c].rows[shard];
        to.contents[c].rows[shard] = Row::new(row.node() as u8, state, known[row.node()], 0);
    }
    to.contents[c].fate = Fate::Live;
    // What was lost and is not known to be is covered by the quorum, too.
    to.contents[c].losses =
        to.nodes.iter().filter(|node| node.life != node.known).count().min(3) as u8;
    let name = c as u8 + 1;
    let replaced = match kind {
        Kind::Put | Kind::PutIfAbsent => std::mem::replace(&mut to.keys[0], name),
        Kind::Part => std::mem::replace(&mut to.part, name),
    };
    let_go(scenario, to, replaced);
}

/// Something that was referred to is not any more, at one place.
fn let_go(scenario: &Scenario, to: &mut State, replaced: u8) {
    if let Some(old) = replaced.checked_sub(1) {
        to.contents[usize::from(old)].let_go = true;
        to.condemn(scenario, usize::from(old));
    }
}

/// A gateway that does not know what became of its commit finds out.
fn resolve(scenario: &Scenario, from: &State, c: usize) -> State {
    let mut to = *from;
    if !scenario.rules.keep(Rule::UnknownDeletesNothing) {
        for node in &mut to.nodes {
            node.disk &= !(0..SHARDS).fold(0, |bits, shard| bits | bit(c, shard));
        }
    }
    to.contents[c].phase = match from.contents[c].fate {
        Fate::Live => Phase::Acknowledged,
        Fate::Absent | Fate::Open => {
            if scenario.rules.keep(Rule::UnknownClosesUpload) {
                to.contents[c].fate = Fate::Condemned;
            }
            Phase::Refused
        }
        // It was committed and replaced, or given up: the client is told that
        // nobody knows.
        Fate::Condemned | Fate::Forgotten => Phase::Gone,
    };
    to
}

/// Stragglers are recorded where the shard was meant to be.
fn late(scenario: &Scenario, from: &State, c: usize, out: &mut Out) {
    let content = &from.contents[c];
    for shard in 0..usize::from(scenario.shards) {
        let row = content.rows[shard];
        let is_leftover = c == 0 && (from.waiting | from.removing) & place(shard, shard) != 0;
        let is_first = row.generation() == 0 || !scenario.rules.keep(Rule::LateIsOfFirstGeneration);
        let is_there = is_first
            && row.state() == MISSING
            && row.node() == shard
            && !(is_leftover && scenario.rules.keep(Rule::CountedIsNotEmptied));
        if content.fate == Fate::Live && is_there && counts(scenario, from, c, shard) {
            let mut to = *from;
            let life = from.nodes[shard].known;
            to.contents[c].rows[shard] = Row::new(shard as u8, STORED, life, row.generation());
            out.push((Action::Late(c as u8, shard as u8), to));
        }
    }
}

/// Leases run out and condemned contents go, at any time: clocks may be wrong.
fn collect(from: &State, c: usize, out: &mut Out) {
    let (name, content) = (c as u8, &from.contents[c]);
    if content.fate == Fate::Open {
        let mut to = *from;
        to.contents[c].fate = Fate::Condemned;
        out.push((Action::Abandon(name), to));
    }
    if content.fate != Fate::Condemned {
        return;
    }
    let mut is_gone = true;
    for (shard, row) in content.rows.iter().enumerate() {
        if from.holds(row.node(), c, shard) {
            is_gone = false;
            let mut to = *from;
            to.nodes[row.node()].disk &= !bit(c, shard);
            out.push((Action::Remove(name, shard as u8), to));
        }
    }
    if is_gone {
        let mut to = *from;
        to.contents[c].fate = Fate::Forgotten;
        to.contents[c].rows = [Row::default(); SHARDS];
        // No message lives that long, whoever sent it.
        to.contents[c].sent = 0;
        for repair in to.repairs.iter_mut().filter(|_| c == 0) {
            if matches!(repair.step, Step::Sent | Step::Orphan) {
                *repair = Repair::IDLE;
            }
        }
        out.push((Action::Forget(name), to));
    }
}

fn clients(scenario: &Scenario, from: &State, out: &mut Out) {
    if scenario.deletes && !from.deleted && from.keys[0] != 0 {
        let mut to = *from;
        to.deleted = true;
        let replaced = std::mem::replace(&mut to.keys[0], 0);
        let_go(scenario, &mut to, replaced);
        out.push((Action::Delete, to));
    }
    match from.copier {
        Client::Idle if scenario.copies && from.keys[0] != 0 => {
            let mut to = *from;
            to.copier = Client::Busy(from.keys[0] - 1);
            out.push((Action::CopyRead, to));
        }
        Client::Busy(source) => {
            let is_live = from.contents[usize::from(source)].fate == Fate::Live;
            let mut to = *from;
            if is_live || !scenario.rules.keep(Rule::CopyNeedsLive) {
                to.keys[1] = source + 1;
                to.copier = Client::Done;
                out.push((Action::CopyCommit, to));
            } else {
                to.copier = Client::Failed;
                out.push((Action::CopyRefused, to));
            }
        }
        _ => {}
    }
}

fn multipart(scenario: &Scenario, from: &State, out: &mut Out) {
    let asked_again = matches!(from.completer, Client::Busy(_));
    if from.upload == Upload::Open && from.part != 0 && from.completer == Client::Idle {
        let mut to = *from;
        to.upload = Upload::Completed;
        let part = std::mem::replace(&mut to.part, 0);
        let replaced = std::mem::replace(&mut to.keys[0], part);
        let_go(scenario, &mut to, replaced);
        to.completer = Client::Done;
        out.push((Action::Complete, to));
        if scenario.lost_replies {
            to.completer = Client::Busy(0);
            out.push((Action::CompleteReplyLost, to));
        }
    }
    if asked_again {
        let mut to = *from;
        let is_complete = from.upload == Upload::Completed;
        to.completer = if is_complete { Client::Done } else { Client::Failed };
        out.push((Action::CompleteAgain, to));
    }
    if from.upload == Upload::Open {
        let mut to = *from;
        to.upload = Upload::Aborted;
        let part = std::mem::replace(&mut to.part, 0);
        let_go(scenario, &mut to, part);
        out.push((Action::Abort, to));
    } else if from.upload == Upload::Completed && !scenario.rules.keep(Rule::AbortNeedsOpen) {
        let mut to = *from;
        to.upload = Upload::Aborted;
        for content in to.contents.iter_mut().filter(|content| content.fate == Fate::Live) {
            content.fate = Fate::Condemned;
        }
        out.push((Action::Abort, to));
    }
}

fn losses(scenario: &Scenario, from: &State, out: &mut Out) {
    for n in 0..usize::from(scenario.nodes) {
        let node = from.nodes[n];
        if from.wipes_left > 0 {
            let mut to = *from;
            to.wipes_left -= 1;
            to.nodes[n].disk = 0;
            to.nodes[n].life += 1;
            for content in to.contents.iter_mut().filter(|content| content.fate == Fate::Live) {
                content.losses = (content.losses + 1).min(3);
            }
            out.push((Action::Wipe(n as u8), to));
        }
        if node.life != node.known {
            out.push((Action::See(n as u8), see(from, n)));
        }
    }
}

/// What an earlier life held is lost, and metadata says so from now on.
fn see(from: &State, n: usize) -> State {
    let mut to = *from;
    to.nodes[n].known = to.nodes[n].life;
    for content in &mut to.contents {
        for row in &mut content.rows {
            if row.node() == n && row.state() == STORED && row.life() != to.nodes[n].known {
                *row = Row::new(n as u8, MISSING, row.life(), row.generation() + 1);
            }
        }
    }
    to
}
