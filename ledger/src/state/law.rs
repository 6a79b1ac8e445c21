//! What holds of nodes, gateways and wallets beyond their balances: what they
//! ordered, who leaves and who is out, who owes, what is claimed and granted.
//!
//! It stands in the state root once there is any of it. What only grows (the
//! ids of orders, claims that ended) stands in the history instead.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ids::PublicKey;
use protocol::order::EvmAddress;
use protocol::statement::TransferId;
use protocol::wire::{Wire, Writer};
use protocol::{AccountId, GatewayId, NodeId};

use super::State;
use super::claims::Claims;
use super::exit::Excluded;
use super::grants::Granted;
use crate::account::{Party, write_party};
use crate::economy::Economy;
use crate::hash::Hash;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Law {
    /// What each id of an order was used for.
    pub(super) orders: BTreeMap<(PublicKey, TransferId), Hash>,
    pub(super) bindings: BTreeMap<Party, EvmAddress>,
    /// Nodes that begin to leave, and since when each keeps nothing.
    pub(super) leaving: BTreeMap<NodeId, u64>,
    pub(super) excluded: BTreeMap<NodeId, Excluded>,
    /// Nodes that got half of what was held back.
    pub(super) returned: BTreeSet<NodeId>,
    pub(super) grants: BTreeMap<(AccountId, GatewayId), Granted>,
    pub(super) claims: Claims,
    /// What was taken from pay before it matured.
    pub(super) debts: BTreeMap<Party, u128>,
}

impl Law {
    pub(super) fn write(&self, out: &mut Writer) {
        out.u64(self.bindings.len() as u64);
        for (&party, address) in &self.bindings {
            write_party(party, out);
            out.bytes(&address.0);
        }
        out.u64(self.leaving.len() as u64);
        for (node, quiet_ms) in &self.leaving {
            node.write(out);
            out.u64(*quiet_ms);
        }
        out.u64(self.excluded.len() as u64);
        for (node, excluded) in &self.excluded {
            node.write(out);
            excluded.write(out);
        }
        out.u64(self.returned.len() as u64);
        self.returned.iter().for_each(|node| node.write(out));
        out.u64(self.grants.len() as u64);
        for ((account, gateway), granted) in &self.grants {
            account.write(out);
            gateway.write(out);
            granted.write(out);
        }
        self.claims.write(out);
        out.u64(self.debts.len() as u64);
        for (&party, &debt) in &self.debts {
            write_party(party, out);
            out.u128(debt);
        }
    }
}

impl State {
    /// Whether the network has no economy of its own. Its state roots are those
    /// of ledgers from before there was one.
    pub(super) fn is_neutral(&self) -> bool {
        *self.genesis.economy() == Economy::NEUTRAL
    }

    pub(super) fn since(&self, then_ms: u64) -> u64 {
        self.time_ms.saturating_sub(then_ms)
    }
}
