//! `vault.json`: what is known of shipping between two starts.
//!
//! A file, not a table: a row for each log would make a log of its own. It may
//! be lost, or be older than the nodes: then a new snapshot begins another
//! chain. Written after what it tells of is on the nodes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use protocol::keys::write_private;
use protocol::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};

use super::ids::NUMBER_MAX;
use crate::meta::wal::Position;

const FORMAT: u32 = 1;

/// The file's name in the gateway's folder.
pub const FILE: &str = "vault.json";

/// A complete snapshot on the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its number.
    pub number: u64,
    /// The last log that it holds.
    pub base: u64,
    /// Bytes of the database file.
    pub len: u64,
}

/// What is known of shipping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    format: u32,
    /// The last number that was given out.
    pub last: u64,
    /// The last log of the chain.
    pub tip: u64,
    /// What the log of the database holds after this is not on the nodes; none
    /// if that is not known.
    pub position: Option<Position>,
    /// Whether the chain does not follow the newest snapshot: another must.
    pub is_broken: bool,
    /// The newest complete snapshot.
    pub newest: Option<Snapshot>,
    /// The one before, kept in case the newest turns out to be spoilt.
    pub before: Option<Snapshot>,
    /// Logs since the newest was begun.
    pub logs: u64,
    /// What they cost, in bytes.
    pub log_bytes: u64,
    /// Nodes that hold parts of it, each in its life then.
    pub nodes: Vec<(NodeId, Incarnation)>,
    /// Bytes of the shards that were sent to each node since the last snapshot
    /// was begun, from the one before until then, and so on, as far as that is
    /// of use: a snapshot's pieces, and the logs that follow it.
    #[serde(default)]
    sent: Vec<BTreeMap<NodeId, u64>>,
}

impl State {
    /// That of a gateway whose numbers were given out up to `last`.
    pub fn after(last: u64) -> Self {
        Self { last, ..Self::default() }
    }

    /// Reads the file. One that cannot be read is as good as none.
    pub fn load(dir: &Path) -> Self {
        let path = dir.join(FILE);
        let read = std::fs::read(&path).and_then(|text| {
            let state: Self = serde_json::from_slice(&text)?;
            if state.format == FORMAT && state.last <= NUMBER_MAX {
                Ok(state)
            } else {
                Err(io::Error::other("it has another format"))
            }
        });
        match read {
            Ok(state) => state,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, path = %path.display(), "shipping of metadata begins anew");
                }
                Self::default()
            }
        }
    }

    /// Writes the file.
    pub fn save(&self, dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(&Self { format: FORMAT, ..self.clone() })?;
        write_private(&dir.join(FILE), &text)
    }

    /// A number that was never given out: the time, or the next after the last.
    pub fn next_number(&mut self, now_ms: u64) -> u64 {
        self.last = now_ms.clamp(self.last + 1, NUMBER_MAX);
        self.last
    }

    /// Takes note of a log that is on the nodes.
    pub fn shipped(&mut self, number: u64, position: Option<Position>, cost: u64) {
        (self.tip, self.position) = (number, position);
        self.logs += 1;
        self.log_bytes += cost;
    }

    /// Takes note of a snapshot that is complete.
    pub fn completed(&mut self, snapshot: Snapshot) {
        self.before = self.newest.replace(snapshot);
        self.is_broken = false;
        self.sent.truncate(2);
    }

    /// Takes note of a snapshot that is begun.
    pub fn begun(&mut self) {
        let complete = self.newest.iter().chain(&self.before).count();
        // Logs since one that was never completed are of use all the same.
        if self.sent.len() <= complete {
            self.sent.insert(0, BTreeMap::new());
        }
    }

    /// Takes note of shards of this length on nodes.
    pub fn sent(&mut self, nodes: &[(NodeId, Incarnation)], len: u64) {
        if self.sent.is_empty() {
            self.sent.push(BTreeMap::new());
        }
        for (node, _) in nodes {
            let bytes = self.sent[0].entry(*node).or_default();
            *bytes = bytes.saturating_add(len);
        }
    }

    /// What a node can hold of use, by what was sent to it: it is paid for no
    /// more, whatever it says.
    pub fn sent_to(&self, node: NodeId) -> u64 {
        let of = |sent: &BTreeMap<NodeId, u64>| sent.get(&node).copied().unwrap_or_default();
        self.sent.iter().map(of).fold(0, u64::saturating_add)
    }

    /// The numbers that logs must exceed to be of use.
    pub fn floor(&self) -> u64 {
        self.before.or(self.newest).map_or(0, |oldest| oldest.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_times_and_never_repeat() {
        let mut state = State::default();
        assert_eq!(state.next_number(1000), 1000);
        assert_eq!(state.next_number(1000), 1001);
        assert_eq!(state.next_number(900), 1002, "a clock that went back");
        assert_eq!(state.next_number(5000), 5000);
    }

    #[test]
    fn what_is_saved_is_read_and_what_is_spoilt_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(State::load(dir.path()), State::default());
        let position =
            Position { salt: [2, 3], page_size: 4096, frames: 4, sum: [5, 6], sealed: true };
        let mut state = State { last: 9, ..State::default() };
        state.shipped(9, Some(position), 10);
        state.nodes.push((NodeId([1; 32]), Incarnation([2; 16])));
        state.save(dir.path()).unwrap();
        let loaded = State::load(dir.path());
        assert_eq!(loaded, State { format: FORMAT, ..state });
        std::fs::write(dir.path().join(FILE), "{\"form").unwrap();
        assert_eq!(State::load(dir.path()), State::default());
    }

    #[test]
    fn what_was_sent_for_two_snapshots_counts() {
        let (node, mut state) = (NodeId([1; 32]), State::default());
        for number in [1, 2, 3, 4] {
            state.begun();
            // An attempt that failed counts as part of the next.
            state.begun();
            state.sent(&[(node, Incarnation([2; 16]))], 10u64.pow(number));
            state.completed(Snapshot { number: number.into(), base: 0, len: 0 });
        }
        assert_eq!((state.sent_to(node), state.sent_to(NodeId([3; 32]))), (11_000, 0));
        state.begun();
        state.sent(&[(node, Incarnation([2; 16]))], u64::MAX);
        assert_eq!(state.sent_to(node), u64::MAX);
    }

    #[test]
    fn logs_are_kept_for_two_snapshots() {
        let mut state = State::default();
        assert_eq!(state.floor(), 0);
        for number in [10, 20, 30] {
            state.completed(Snapshot { number, base: number - 1, len: 0 });
        }
        assert_eq!(state.floor(), 19);
    }
}
