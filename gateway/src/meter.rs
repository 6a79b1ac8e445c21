//! What was moved, for whom, by whom: counters of the open epoch in memory,
//! written down before anything is signed.
//!
//! Not here: vouchers and statements (`upkeep::settle`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::price::Counters;
use protocol::{AccountId, Epoch, NodeId};

/// A gateway has one meter, so all its vouchers are of one lane.
pub const LANE: u16 = 0;

/// The counters of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metered {
    /// The epoch.
    pub epoch: Epoch,
    /// By node: what vouchers will say.
    pub nodes: HashMap<NodeId, Counters>,
    /// By account: what statements will say.
    pub accounts: HashMap<AccountId, Counters>,
}

/// Counts. Shared by all requests; a lock is held for a few additions.
#[derive(Debug, Default)]
pub struct Meter {
    open: Mutex<Metered>,
}

impl Meter {
    fn open(&self) -> MutexGuard<'_, Metered> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on from what was written down; what was counted since the start is
    /// added to it.
    pub fn resume(&self, written: Metered) {
        let mut open = self.open();
        let early = std::mem::replace(&mut *open, written);
        for (node, counters) in early.nodes {
            let sum = open.nodes.entry(node).or_default();
            *sum = sum.plus(&counters);
        }
        for (account, counters) in early.accounts {
            let sum = open.accounts.entry(account).or_default();
            *sum = sum.plus(&counters);
        }
    }

    /// Counts a shard that a node made durable.
    pub fn put(&self, node: NodeId, account: AccountId, bytes: u64) {
        self.count(
            node,
            account,
            &Counters { put_bytes: bytes, operations: 1, ..Counters::default() },
        );
    }

    /// Counts a window of a shard that a node sent and that was verified. Each
    /// is an operation: a voucher with more bytes must have more of them.
    pub fn get(&self, node: NodeId, account: AccountId, bytes: u64) {
        self.count(
            node,
            account,
            &Counters { get_bytes: bytes, operations: 1, ..Counters::default() },
        );
    }

    /// Counts bytes of a shard that were read or made durable to repair or move
    /// one.
    pub fn repair(&self, node: NodeId, account: AccountId, bytes: u64) {
        let counters = Counters { repair_bytes: bytes, operations: 1, ..Counters::default() };
        self.count(node, account, &counters);
    }

    /// Counts a group of a shard that a node proved to hold.
    pub fn audit(&self, node: NodeId, account: AccountId, bytes: u64) {
        self.count(
            node,
            account,
            &Counters { audit_bytes: bytes, operations: 1, ..Counters::default() },
        );
    }

    /// Counts bytes kept for a time.
    pub fn stored(&self, node: NodeId, account: AccountId, byte_seconds: u64) {
        let counters = Counters { stored_byte_seconds: byte_seconds, ..Counters::default() };
        self.count(node, account, &counters);
    }

    fn count(&self, node: NodeId, account: AccountId, counters: &Counters) {
        let mut open = self.open();
        let by_node = open.nodes.entry(node).or_default();
        *by_node = by_node.plus(counters);
        let by_account = open.accounts.entry(account).or_default();
        *by_account = by_account.plus(counters);
    }

    /// The counters as they are now.
    pub fn snapshot(&self) -> Metered {
        self.open().clone()
    }

    /// Raises a node's counters to at least `known`: what we signed before we
    /// lost our memory stands.
    pub fn raise(&self, epoch: Epoch, node: NodeId, known: &Counters) {
        let mut open = self.open();
        if open.epoch == epoch {
            let counters = open.nodes.entry(node).or_default();
            // Each counter is at least what it was: the missing part is added.
            *counters = counters.plus(&known.since(counters));
        }
    }

    /// Begins `epoch` with nothing and returns what the one before ended with.
    pub fn turn(&self, epoch: Epoch) -> Metered {
        std::mem::replace(&mut *self.open(), Metered { epoch, ..Metered::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 32]);
    const ANN: AccountId = AccountId([2; 16]);

    #[test]
    fn what_nodes_earn_is_what_accounts_use() {
        let meter = Meter::default();
        meter.put(NODE, ANN, 10);
        meter.get(NodeId([3; 32]), ANN, 5);
        meter.stored(NODE, ANN, 7);
        let metered = meter.snapshot();
        let sum = metered.nodes.values().fold(Counters::default(), |sum, c| sum.plus(c));
        assert_eq!(metered.accounts[&ANN], sum);
        assert_eq!(sum.operations, 2);
    }

    #[test]
    fn a_new_epoch_begins_with_nothing() {
        let meter = Meter::default();
        meter.put(NODE, ANN, 10);
        let ended = meter.turn(Epoch(1));
        assert_eq!(ended.nodes[&NODE].put_bytes, 10);
        assert!(meter.snapshot().nodes.is_empty());
    }

    #[test]
    fn counters_never_fall_below_what_was_signed() {
        let meter = Meter::default();
        meter.put(NODE, ANN, 10);
        let signed = Counters { put_bytes: 4, get_bytes: 9, ..Counters::default() };
        meter.raise(Epoch(0), NODE, &signed);
        let counters = meter.snapshot().nodes[&NODE];
        assert_eq!((counters.put_bytes, counters.get_bytes), (10, 9));
    }
}
