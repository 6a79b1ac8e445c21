//! A long life with everything that may happen: prices that change, deposits,
//! lines that are missing, statements that say too much, gateways that are
//! revoked and others that join, failed audits; by posted prices and on the
//! curve. `STRATOS_HISTORY_EPOCHS` says how many epochs.

use std::mem::discriminant;

use protocol::Epoch;
use protocol::audit::AuditLine;
use protocol::ids::PublicKey;
use protocol::ledger_api::Submission;
use protocol::price::{Amount, Counters, PriceSheet, Prices};
use protocol::statement::{Reservation, TransferId, UNSIGNED};
use protocol::voucher::VoucherBody;

use super::audits::audits;
use super::model::account_of;
use super::world::{
    CHAIN, PRICES, World, cosigned, gateway, gateway_key, node, open, register, sequencer, usage,
};
use crate::economy::{Economy, EmissionTier, Pricing};
use crate::entry::{Deposit, Entry, Fund};
use crate::state::Rejection;

const NODES: u8 = 4;
/// The last gateway that may join: as many have accounts of their own.
const LAST: u8 = 27;
/// Epochs up to which the blocks are kept and replayed.
const REPLAYED: u64 = 400;

/// Chance from a seed.
struct Dice(blake3::OutputReader);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

struct Life {
    world: World,
    dice: Dice,
    transfers: u128,
    /// The gateway that sometimes breaks the rules; the one before is good.
    bad: u8,
}

fn epochs() -> u64 {
    let set = std::env::var("STRATOS_HISTORY_EPOCHS").ok();
    set.map_or(150, |epochs| epochs.parse().expect("a number of epochs"))
}

impl Life {
    fn new(seed: u64, pricing: Pricing) -> Self {
        let tier =
            |until, epoch, rho| EmissionTier { until: Amount(until), epoch: Amount(epoch), rho };
        let economy = Economy {
            pricing,
            emission: vec![
                tier(4_000, 500, [6000, 2000, 2000]),
                tier(90_000, 300, [7000, 1000, 2000]),
            ],
            gateway_bond: Amount(160_000),
            least_score: 960_000,
            ..Economy::NEUTRAL
        };
        let mut world = World::with_economy(2, economy);
        let nodes: Vec<Entry> = (0..NODES).map(register).collect();
        world.take(&nodes);
        for g in 0..2 {
            world.take(&[open(g, account_of(g, 0)), open(g, account_of(g, 1))]);
        }
        let dice = Dice(blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof());
        Self { world, dice, transfers: 0, bad: 1 }
    }

    fn id(&mut self) -> TransferId {
        self.transfers += 1;
        TransferId(self.transfers.to_le_bytes())
    }

    /// Whoever is at it: the good gateway or the other.
    fn gateways(&self) -> [u8; 2] {
        [0, self.bad]
    }

    fn money(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        // First, since what may be reserved follows from it.
        if self.dice.one_in(6) {
            let who = [gateway(self.bad).0, gateway(0).0, node(0).0, node(1).0];
            let party = PublicKey(who[self.dice.below(4) as usize]);
            let amount = Amount(self.dice.below(2_000).into());
            entries.push(Entry::Fund(Fund { id: self.id(), party, amount }));
        }
        for g in self.gateways() {
            let account = account_of(g, u8::from(self.dice.one_in(2)));
            let (id, amount) = (self.id(), Amount(self.dice.below(20_000).into()));
            entries.push(Entry::Deposit(Deposit { id, account, amount }));
            let (id, amount) = (self.id(), Amount(self.dice.below(20_000).into()));
            let chain = CHAIN;
            let gateway = gateway(g);
            let reserve = Reservation { chain, gateway, account, id, amount, signature: UNSIGNED };
            let reserve = reserve.signed(&gateway_key(g));
            entries.push(Entry::Submitted(Submission::Reserve(Box::new(reserve))));
        }
        entries
    }

    fn prices(&mut self) -> Option<Entry> {
        let from = self.world.state().open().epoch.0 + 2 + self.dice.below(3);
        let until = from + 1 + self.dice.below(5);
        let prices = Prices { put_bytes: 1 + self.dice.below(4), ..PRICES };
        let sheet = PriceSheet { chain: CHAIN, from, until, prices };
        self.dice.one_in(5).then(|| Entry::PostPrices(sheet.signed(&sequencer())))
    }

    fn receipts(&mut self, epoch: Epoch) -> Vec<Entry> {
        let sheet = self.world.state().prices_of(epoch).sheet.clone();
        let mut entries = Vec::new();
        for lane in 0..self.dice.below(5) as u16 {
            let g = self.gateways()[self.dice.below(2) as usize];
            let n = self.dice.below(NODES.into()) as u8;
            let counters = Counters {
                put_bytes: self.dice.below(3_000),
                stored_byte_seconds: self.dice.below(3_000),
                operations: 1,
                ..Counters::default()
            };
            let body = VoucherBody {
                chain: CHAIN,
                gateway: gateway(g),
                node: node(n),
                epoch,
                lane,
                counters,
                amount: counters.amount(&sheet.prices),
                price_sheet: sheet.id(),
            };
            let receipt = Submission::Receipt(Box::new(cosigned(g, n, body)));
            entries.push(Entry::Submitted(receipt));
        }
        let failed = u32::from(self.dice.one_in(4));
        let (node, score) = (node(self.dice.below(NODES.into()) as u8), 950_000);
        let score = if self.dice.one_in(4) { score } else { 1_000_000 };
        let line = AuditLine { node, ok: 3, offline: 0, contained: 0, failed, score };
        entries.push(audits(epoch.0, 0, vec![line]));
        entries
    }

    /// Mostly what the accounts can pay; sometimes less, and of one gateway
    /// sometimes more.
    fn statements(&mut self, epoch: Epoch) -> Vec<Entry> {
        let mut entries = Vec::new();
        for g in self.gateways() {
            let Some(intake) = self.world.state().intake().get(&epoch) else { continue };
            let mut rest = intake.owed(gateway(g)).unwrap();
            if rest == 0 || self.dice.one_in(8) {
                continue;
            }
            if g == self.bad && self.dice.one_in(12) {
                entries.push(usage(g, account_of(g, 0), epoch.0, 1, rest + 1));
                continue;
            }
            for a in 0..2 {
                let account = account_of(g, a);
                let amount = rest.min(self.world.state().reserve_of(gateway(g), account));
                rest -= amount;
                entries.push(usage(g, account, epoch.0, 1, amount));
            }
        }
        entries
    }

    /// Everything twice, and the second time it changes nothing.
    fn submit(&mut self, entries: &[Entry]) {
        let outcomes = self.world.block(entries);
        let root = self.world.state().root();
        for (first, second) in outcomes.into_iter().zip(self.world.block(entries)) {
            match first {
                Ok(()) | Err(Rejection::Known) => assert_eq!(second, Err(Rejection::Known)),
                // For the same reason, if at other sums.
                Err(first) => assert_eq!(discriminant(&first), discriminant(&second.unwrap_err())),
            }
        }
        assert_eq!(self.world.state().root(), root);
    }

    fn replace_the_bad(&mut self) {
        let (state, next) = (self.world.state(), self.bad + 1);
        if state.is_gateway(gateway(self.bad)) || next == LAST {
            return;
        }
        self.bad = next;
        let (first, second) = (account_of(next, 0), account_of(next, 1));
        self.world.take(&[
            Entry::AdmitGateway(gateway(next)),
            open(next, first),
            open(next, second),
        ]);
    }

    fn epoch(&mut self, keep: bool) {
        let open = self.world.state().open().epoch.0;
        let mut entries = self.money();
        entries.extend(self.prices());
        self.submit(&entries);
        if let Some(closed) = open.checked_sub(1).map(Epoch) {
            let entries = self.receipts(closed);
            self.submit(&entries);
        }
        if let Some(closed) = open.checked_sub(2).map(Epoch) {
            let entries = self.statements(closed);
            self.submit(&entries);
        }
        let supply = self.world.state().book().supply().0;
        self.world.pass_epoch();
        if let Some(sealed) = open.checked_sub(2).map(Epoch) {
            self.check(sealed, supply);
        }
        self.replace_the_bad();
        if !keep {
            self.world.blocks.clear();
        }
    }

    fn check(&self, sealed: Epoch, supply: u128) {
        let state = self.world.state();
        let summary = state.summary(sealed).unwrap();
        let shared = summary.paid.0 + summary.tax.0 + summary.withheld.0 + summary.treasury.0;
        assert_eq!(shared, summary.debited.0);
        assert!(summary.emission <= summary.treasury);
        assert_eq!(state.book().supply().0, supply + summary.emission.0);
        if summary.curve.is_none() {
            let paid = |(g, total): (_, &crate::epoch::GatewayTotal)| {
                let short = summary.covered.get(g).map_or(0, |cover| cover.short.0);
                if summary.void.contains_key(g) { 0 } else { total.owed.0 - short }
            };
            assert_eq!(summary.totals.iter().map(paid).sum::<u128>(), summary.debited.0);
        }
    }
}

fn live(pricing: Pricing) {
    let epochs = epochs();
    let keep = epochs <= REPLAYED;
    let mut life = Life::new(epochs, pricing);
    for _ in 0..epochs {
        life.epoch(keep);
    }
    if keep {
        let replayed = life.world.replayed();
        assert_eq!(replayed.state(), life.world.state());
        assert_eq!(replayed.head(), life.world.chain.head());
    }
    assert!(life.bad > 1, "somebody broke the rules");
}

#[test]
fn a_long_life_by_posted_prices_keeps_every_invariant() {
    live(Pricing::Posted);
}

#[test]
fn a_long_life_on_the_curve_keeps_every_invariant() {
    live(Pricing::Curve { stake: Amount(3_000_000), units: Amount(2_000_000) });
}
