//! The books kept a second time, from nothing but the entries of an export and
//! the formulas as they are published. Shares no code with the ledger's own
//! settlement.

use std::collections::{BTreeMap, BTreeSet};

use ledger::chain::{Chain, Source};
use ledger::entry::Entry;
use ledger::event::Event;
use ledger::export::{parse_block, parse_genesis};
use protocol::ledger_api::Submission;
use protocol::statement::UsageStatement;
use protocol::voucher::Receipt;
use protocol::{AccountId, Epoch, GatewayId, NodeId};

type Lane = (GatewayId, NodeId, u16);

/// What the entries of one epoch say.
#[derive(Default)]
pub struct Period {
    /// The receipt that counts of each lane.
    pub receipts: BTreeMap<Lane, Receipt>,
    /// The statement that counts of each account.
    pub statements: BTreeMap<(GatewayId, AccountId), UsageStatement>,
    /// Whether it is settled.
    pub is_sealed: bool,
}

/// Nodes' pay and gateways' pay in one epoch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pay {
    pub nodes: BTreeMap<NodeId, u128>,
    pub gateways: BTreeMap<GatewayId, u128>,
}

/// An export, read twice: replayed by the ledger's rules, and as plain entries.
pub struct Books {
    pub chain: Chain,
    pub periods: BTreeMap<Epoch, Period>,
    /// What the replay told.
    pub events: Vec<Event>,
}

impl Books {
    /// Reads an export that must be good.
    pub fn read(export: &str) -> Self {
        let mut lines = export.lines();
        let genesis = parse_genesis(lines.next().expect("a genesis")).expect("readable");
        let mut chain = Chain::new(genesis).expect("a network");
        let mut periods = BTreeMap::<Epoch, Period>::new();
        let mut events = Vec::new();
        for line in lines.skip(1) {
            let block = parse_block(line).expect("readable");
            for entry in &block.entries {
                note(&mut periods, entry);
            }
            chain.extend(&block, Source::Foreign).expect("the block follows");
            events.extend(chain.take_events());
        }
        Self { chain, periods, events }
    }

    /// The receipts of one node.
    pub fn receipts_of(&self, node: NodeId) -> Vec<Receipt> {
        let all = self.periods.values().flat_map(|period| period.receipts.values());
        all.filter(|receipt| receipt.voucher.body.node == node).cloned().collect()
    }

    /// What a party was paid in all settled epochs, by the formulas.
    pub fn pay_of_node(&self, node: NodeId) -> u128 {
        let sealed = self.periods.values().filter(|period| period.is_sealed);
        sealed.filter_map(|period| pay(period).nodes.get(&node).copied()).sum()
    }
}

fn note(periods: &mut BTreeMap<Epoch, Period>, entry: &Entry) {
    match entry {
        Entry::Submitted(Submission::Receipt(receipt)) => {
            let body = &receipt.voucher.body;
            let lane = (body.gateway, body.node, body.lane);
            let period = periods.entry(body.epoch).or_default();
            period.receipts.insert(lane, (**receipt).clone());
        }
        Entry::Submitted(Submission::Usage(statement)) => {
            let key = (statement.gateway, statement.account);
            let period = periods.entry(statement.epoch).or_default();
            period.statements.insert(key, (**statement).clone());
        }
        Entry::SealEpoch(epoch) => periods.entry(*epoch).or_default().is_sealed = true,
        _ => {}
    }
}

/// G = floor(D * 0.6), T = ceil(G * 0.01), pay = G - T for nodes; the gateways
/// that were live share floor(D * 0.2) equally, taxed alike.
pub fn pay(period: &Period) -> Pay {
    let mut earned = BTreeMap::<NodeId, u128>::new();
    let mut live = BTreeSet::new();
    for ((gateway, node, _), receipt) in &period.receipts {
        *earned.entry(*node).or_default() += receipt.voucher.body.amount.0;
        live.insert(*gateway);
    }
    let taxed = |gross: u128| gross - gross.div_ceil(100);
    let all: u128 = earned.values().sum();
    let each = all * 2 / 10 / (live.len().max(1) as u128);
    Pay {
        nodes: earned.into_iter().map(|(node, d)| (node, taxed(d * 6 / 10))).collect(),
        gateways: live.into_iter().map(|gateway| (gateway, taxed(each))).collect(),
    }
}
