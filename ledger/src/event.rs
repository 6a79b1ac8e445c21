//! What settling did to whom, as told to those who ask why. Events follow from
//! the log and are no part of the state: a replay tells the same again.

use protocol::price::{Amount, Counters};
use protocol::{AccountId, Epoch, GatewayId, NodeId};
use serde::Serialize;

use crate::account::Party;

/// Something that happened to a party or an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A node's receipts of one gateway were settled.
    Earned(Earned),
    /// A gateway's part of the meta share was settled.
    Shared {
        /// The epoch.
        epoch: Epoch,
        /// Whose.
        gateway: GatewayId,
        /// Before tax.
        gross: Amount,
        /// What went to the repair fund.
        tax: Amount,
    },
    /// An account paid for what it used.
    Charged {
        /// The epoch.
        epoch: Epoch,
        /// Through whom.
        gateway: GatewayId,
        /// Whose account.
        account: AccountId,
        /// What was metered.
        counters: Counters,
        /// What it cost.
        amount: Amount,
    },
    /// A gateway paid what its statements left open, from its own money.
    Covered {
        /// The epoch.
        epoch: Epoch,
        /// Who.
        gateway: GatewayId,
        /// From its own account.
        account: Amount,
        /// From its bond.
        bond: Amount,
        /// From its pay, mature or not.
        pay: Amount,
        /// What it could not pay: money, or units.
        short: Amount,
    },
    /// Nobody was paid for a gateway's epoch.
    Void {
        /// The epoch.
        epoch: Epoch,
        /// Whose.
        gateway: GatewayId,
        /// Why, in words.
        reason: String,
    },
    /// What an epoch paid became free.
    Matured {
        /// The epoch.
        epoch: Epoch,
        /// Whose.
        party: Party,
        /// Free now.
        free: Amount,
        /// Held back.
        held: Amount,
        /// Taken for penalties of before.
        taken: Amount,
    },
    /// Money was taken.
    Penalty {
        /// From whom.
        party: Party,
        /// Why, in words.
        reason: String,
        /// What was due.
        due: Amount,
        /// What came from pay that was not mature.
        immature: Amount,
        /// What came from held-back pay.
        held: Amount,
        /// What came from the deposit or the bond.
        deposit: Amount,
        /// What came from a gateway's own account.
        account: Amount,
    },
    /// A loss claim ended.
    Claim {
        /// Its id.
        #[serde(with = "hex::serde")]
        claim: [u8; 32],
        /// Who claimed.
        gateway: GatewayId,
        /// Of whom.
        node: NodeId,
        /// Whether the node showed the bytes.
        refuted: bool,
    },
    /// Half of what was held back was returned.
    HeldReturned {
        /// To whom.
        node: NodeId,
        /// How much.
        amount: Amount,
    },
    /// A node left in order and got what it had left.
    Released {
        /// Who.
        node: NodeId,
        /// What was held back.
        held: Amount,
        /// Its deposit.
        deposit: Amount,
    },
    /// A node was away too long and lost what was held back.
    Forfeited {
        /// Who.
        node: NodeId,
        /// How much.
        amount: Amount,
    },
}

/// What a node earned in an epoch through one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Earned {
    /// The epoch.
    pub epoch: Epoch,
    /// Who earned it.
    pub node: NodeId,
    /// Through whom.
    pub gateway: GatewayId,
    /// What both signed for, over all lanes.
    pub counters: Counters,
    /// What that comes to: money, or units.
    pub owed: Amount,
    /// What of that nobody paid, since the gateway could not.
    pub short: Amount,
    /// What was paid for it, in money.
    pub debited: Amount,
    /// The node's share of that before tax.
    pub gross: Amount,
    /// What went to the repair fund as tax.
    pub tax: Amount,
    /// What went to the repair fund because audits failed.
    pub withheld: Amount,
    /// Newly minted.
    pub emission: Amount,
}

/// Events that nobody took yet. No part of what two states have in common.
#[derive(Clone, Debug, Default)]
pub struct Events(Vec<Event>);

impl Events {
    /// Adds one.
    pub fn push(&mut self, event: Event) {
        self.0.push(event);
    }

    /// Takes all.
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.0)
    }
}

impl PartialEq for Events {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Events {}
