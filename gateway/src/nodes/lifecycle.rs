//! The life of a node with this gateway: which state follows from what is
//! known of it.
//!
//! ```text
//!            joins                 proved itself, or the network is young
//! (unknown) -------> vetting ------------------------------> active
//! vetting, active, draining, suspended -- score too low --> disqualified   (for good)
//! any but left                         -- the ledger excludes it --> disqualified
//! vetting, active, draining            -- absent ---------> lost -- answers --> vetting, active
//! draining                             -- empty ----------> left
//! ```
//! What an operator decides (drain, suspend, resume, remove) is not here: those
//! are moves of their own, `http::admin`.
//!
//! Pure: facts in, the next state out. The loop around it is
//! `upkeep::standing`.

use std::time::Duration;

use crate::meta::NodeState;

/// What moves nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleRules {
    /// Audits that a newcomer must pass.
    pub vetting_audits: u64,
    /// And how long it is a newcomer at least: someone who wants to seem many
    /// must keep as many disks for so long.
    pub vetting_age: Duration,
    /// How long a node may not answer before what it holds is given up for good.
    /// Shards are rebuilt elsewhere long before; this ends the wait for a return.
    pub lost_after: Duration,
    /// The score, in millionths, below which a node is not used any more.
    pub least_score: u32,
}

impl Default for LifecycleRules {
    fn default() -> Self {
        Self {
            vetting_audits: 100,
            vetting_age: Duration::from_secs(24 * 3600),
            // A long weekend: a machine that waits for somebody to come back
            // is found again with all that it holds.
            lost_after: Duration::from_secs(72 * 3600),
            least_score: 960_000,
        }
    }
}

/// What is known of a node, and of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its state.
    pub state: NodeState,
    /// Whether the ledger has excluded it: it left the network, or was
    /// disqualified there.
    pub excluded: bool,
    /// How long it has been in it.
    pub in_state: Duration,
    /// Audits that it passed.
    pub passed: u64,
    /// The score of its audits, in millionths.
    pub score: u32,
    /// How long it has not answered; `None` if it does.
    pub absent: Option<Duration>,
    /// Whether it answers now. One that never did is neither absent nor there.
    pub is_up: bool,
    /// Whether so many nodes are absent at once that our own network is the
    /// likelier cause.
    pub is_storm: bool,
    /// Whether any shard is on it. Looked up for a node that drains.
    pub holds_shards: bool,
    /// Nodes in full use.
    pub active: usize,
    /// Nodes that an object needs.
    pub wanted: usize,
}

/// The state that follows, and why. `None`: it stays.
pub fn next(rules: &LifecycleRules, facts: &Facts) -> Option<(NodeState, String)> {
    use NodeState::{Active, Disqualified, Draining, Left, Lost, Suspended, Vetting};
    match facts.state {
        Left | Disqualified => return None,
        _ if facts.excluded => return Some((Disqualified, "the ledger excludes it".to_owned())),
        // It is paused: its absence was announced, so only its deeds count.
        Suspended if facts.score >= rules.least_score => return None,
        Vetting | Active | Draining | Suspended | Lost => {}
    }
    if facts.score < rules.least_score {
        let (score, least) = (permille(facts.score), permille(rules.least_score));
        let reason = format!("its audit score {score} fell below {least}");
        return Some((Disqualified, reason));
    }
    if facts.state == Lost {
        if !facts.is_up {
            return None;
        }
        let proved = facts.passed >= rules.vetting_audits;
        let to = if proved { Active } else { Vetting };
        return Some((to, "it answers again".to_owned()));
    }
    if let Some(absent) = facts.absent
        && absent >= rules.lost_after
        && !facts.is_storm
    {
        return Some((Lost, format!("it has not answered for {} hours", absent.as_secs() / 3600)));
    }
    match facts.state {
        Draining if !facts.holds_shards => Some((Left, "nothing is on it any more".to_owned())),
        Vetting if !facts.is_up => None,
        Vetting if facts.active < facts.wanted => {
            let (active, wanted) = (facts.active, facts.wanted);
            let reason = format!("the network is young: {active} of {wanted} nodes in full use");
            Some((Active, reason))
        }
        Vetting if facts.passed >= rules.vetting_audits && facts.in_state >= rules.vetting_age => {
            Some((Active, format!("it passed {} audits", facts.passed)))
        }
        _ => None,
    }
}

/// Millionths as a number between 0 and 1.
pub fn permille(millionths: u32) -> String {
    format!("{}.{:04}", millionths / 1_000_000, millionths % 1_000_000 / 100)
}

/// Whether so many of `members` are absent at once that it is more likely that
/// we are cut off than that they all failed: more than a third, and not one
/// alone.
pub fn is_storm(absent: usize, members: usize) -> bool {
    absent > 1 && absent * 3 > members
}

#[cfg(test)]
mod tests {
    use NodeState::{Active, Disqualified, Draining, Left, Lost, Suspended, Vetting};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A node in `state` of which nothing bad is known.
    fn facts(state: NodeState) -> Facts {
        Facts {
            state,
            excluded: false,
            in_state: HOUR,
            passed: 0,
            score: 1_000_000,
            absent: None,
            is_up: true,
            is_storm: false,
            holds_shards: true,
            active: 6,
            wanted: 6,
        }
    }

    #[track_caller]
    fn check(facts: Facts, want: Option<NodeState>) {
        let next = next(&LifecycleRules::default(), &facts);
        assert_eq!(next.map(|(state, _)| state), want, "{facts:?}");
    }

    fn away(state: NodeState, hours: u32) -> Facts {
        Facts { absent: Some(HOUR * hours), is_up: false, ..facts(state) }
    }

    #[test]
    fn nothing_happens_to_a_node_that_does_its_work() {
        for state in NodeState::ALL.into_iter().filter(|state| *state != Lost) {
            check(facts(state), None);
        }
    }

    #[test]
    fn a_newcomer_is_used_in_full_when_it_proved_itself_or_is_needed() {
        check(Facts { active: 5, ..facts(Vetting) }, Some(Active));
        check(Facts { active: 5, is_up: false, ..facts(Vetting) }, None);
        let old = Facts { in_state: HOUR * 24, ..facts(Vetting) };
        check(Facts { passed: 99, ..old.clone() }, None);
        check(Facts { passed: 100, ..old }, Some(Active));
        check(Facts { passed: 100, in_state: HOUR * 23, ..facts(Vetting) }, None);
    }

    #[test]
    fn a_low_score_disqualifies_for_good() {
        for state in [Vetting, Active, Draining, Suspended] {
            check(Facts { score: 959_999, ..facts(state) }, Some(Disqualified));
            check(Facts { score: 960_000, ..facts(state) }, None);
        }
        check(Facts { score: 1_000_000, ..facts(Disqualified) }, None);
        check(away(Disqualified, 1000), None);
    }

    #[test]
    fn whom_the_ledger_excludes_is_disqualified() {
        for state in [Vetting, Active, Draining, Suspended, Lost] {
            check(Facts { excluded: true, ..facts(state) }, Some(Disqualified));
        }
        check(Facts { excluded: true, ..facts(Left) }, None);
        check(Facts { excluded: true, ..facts(Disqualified) }, None);
    }

    #[test]
    fn who_does_not_answer_for_long_is_lost_until_it_answers() {
        for state in [Vetting, Active, Draining] {
            check(away(state, 71), None);
            check(away(state, 72), Some(Lost));
            check(Facts { is_storm: true, ..away(state, 72) }, None);
        }
        check(away(Suspended, 72), None);
        check(away(Left, 72), None);
        check(away(Lost, 1), None);
        check(facts(Lost), Some(Vetting));
        check(Facts { passed: 100, ..facts(Lost) }, Some(Active));
        // Since the gateway started it has not been seen; that is no return.
        check(Facts { is_up: false, ..facts(Lost) }, None);
    }

    #[test]
    fn a_node_that_drains_has_left_when_nothing_is_on_it() {
        check(facts(Draining), None);
        check(Facts { holds_shards: false, ..facts(Draining) }, Some(Left));
        check(Facts { holds_shards: false, ..away(Draining, 1) }, Some(Left));
        // Only who drains leaves.
        check(Facts { holds_shards: false, ..facts(Active) }, None);
    }

    #[test]
    fn many_absent_at_once_are_a_storm() {
        assert!(!is_storm(1, 1) && !is_storm(1, 2), "one alone");
        assert!(!is_storm(2, 6) && is_storm(3, 6) && is_storm(2, 5));
        assert!(!is_storm(0, 0));
    }
}
