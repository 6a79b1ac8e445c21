//! What must never be, in any state.

use super::state::{
    CONTENTS, Client, Fate, Kind, MISSING, NODES, Phase, SHARDS, STORED, State, Upload, place,
};
use super::{NEEDED, Scenario, TOLERATED};

/// What is wrong with a state.
pub fn violation(scenario: &Scenario, state: &State) -> Option<&'static str> {
    for content in 0..CONTENTS {
        if scenario.writers[content].is_some() {
            let wrong = content_violation(scenario, state, content);
            if wrong.is_some() {
                return wrong;
            }
        }
    }
    let both = [Some(Kind::PutIfAbsent); 2];
    let won = |content: usize| state.contents[content].phase == Phase::Acknowledged;
    if scenario.writers == both && !state.deleted && won(0) && won(1) {
        return Some("two writers were told that the key was absent");
    }
    if state.completer == Client::Done && state.upload != Upload::Completed {
        return Some("an upload that was acknowledged is not complete");
    }
    None
}

fn content_violation(scenario: &Scenario, state: &State, c: usize) -> Option<&'static str> {
    let content = &state.contents[c];
    let is_referred_to = state.is_referred_to(c);
    if is_referred_to && content.fate != Fate::Live {
        return Some("something that is visible refers to a content that is to be removed");
    }
    if is_referred_to && content.losses <= TOLERATED && state.readable(c) < NEEDED {
        return Some("lost: too few shards, with no more losses than are tolerated");
    }
    if content.phase == Phase::Acknowledged && !is_referred_to && !content.let_go {
        return Some("what was acknowledged is not visible");
    }
    if content.phase == Phase::Refused && is_referred_to {
        return Some("what was refused is visible");
    }
    if content.fate == Fate::Live {
        let wrong = rows_violation(state, c, scenario.shards.into());
        if wrong.is_some() {
            return wrong;
        }
    }
    is_orphaned(state, c).then_some("a shard is stored that metadata does not know")
}

/// Whether rows say what is not so.
fn rows_violation(state: &State, c: usize, shards: usize) -> Option<&'static str> {
    let rows = &state.contents[c].rows[..shards];
    for (shard, row) in rows.iter().enumerate() {
        let node = state.nodes[row.node()];
        let counted = row.state() == STORED && row.life() == node.life;
        if counted && !state.holds(row.node(), c, shard) {
            return Some("metadata counts a shard that is not there");
        }
        let others = &rows[..shard];
        if row.state() != MISSING
            && others.iter().any(|o| o.state() != MISSING && o.node() == row.node())
        {
            return Some("two shards of a segment are on one node");
        }
    }
    None
}

/// Whether a shard is on a disk that no row names, and nobody is at work.
fn is_orphaned(state: &State, c: usize) -> bool {
    let content = &state.contents[c];
    let has_rows = matches!(content.fate, Fate::Open | Fate::Live | Fate::Condemned);
    if content.phase == Phase::Sending {
        return false;
    }
    (0..NODES).any(|node| {
        (0..SHARDS).any(|shard| {
            let is_named = has_rows && content.rows[shard].node() == node;
            let is_leftover = c == 0 && (state.waiting | state.removing) & place(shard, node) != 0;
            state.holds(node, c, shard) && !is_named && !is_leftover
        })
    })
}
