//! In a network whose units are bought on the curve: who bought how many, and
//! what they cost now.
//!
//! Only the lots are kept. P and the units in lots are their sums, S follows
//! from the nodes' deposits, and L from S and the units in lots. A deposit that
//! leaves takes its units along, which may leave none to buy; what was bought
//! stays paid for.

use std::collections::BTreeMap;

use protocol::price::Amount;
use protocol::statement::Reservation;
use protocol::wire::{Wire, Writer};
use protocol::{AccountId, GatewayId, NodeId};

use super::{Rejection, State};
use crate::account::{Account, BookError};
use crate::curve::{Curve, Lot, Lots};
use crate::economy::Pricing;
use crate::fraction::{scale, scale_up};

/// All lots: of each account with each gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prepaid {
    lots: BTreeMap<(GatewayId, AccountId), Lots>,
    /// P.
    money: u128,
    /// Units that were bought and not used.
    units: u128,
}

impl Prepaid {
    /// The lots of an account with a gateway.
    pub(super) fn lots(&self, gateway: GatewayId, account: AccountId) -> Lots {
        self.lots.get(&(gateway, account)).cloned().unwrap_or_default()
    }

    fn add(&mut self, gateway: GatewayId, account: AccountId, lot: Lot) {
        self.money += lot.money; // Reserved money, so part of the supply.
        self.units += lot.units; // At most what there was to buy.
        self.lots.entry((gateway, account)).or_default().add(lot);
    }

    /// Uses units that are there.
    pub(super) fn take(&mut self, gateway: GatewayId, account: AccountId, units: u128) -> u128 {
        let Some(lots) = self.lots.get_mut(&(gateway, account)) else {
            assert_eq!(units, 0, "what is used was bought");
            return 0;
        };
        let money = lots.take(units).expect("what is used was bought");
        if lots.0.is_empty() {
            self.lots.remove(&(gateway, account));
        }
        self.money -= money;
        self.units -= units;
        money
    }

    /// Units that nobody will use go back to what is left to buy, and their
    /// price to who paid it.
    pub(super) fn give_up(&mut self, gateway: GatewayId, account: AccountId) {
        if let Some(lots) = self.lots.remove(&(gateway, account)) {
            self.money -= lots.money();
            self.units -= lots.units();
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.u64(self.lots.len() as u64);
        for ((gateway, account), lots) in &self.lots {
            gateway.write(out);
            account.write(out);
            out.u64(lots.0.len() as u64);
            for lot in &lots.0 {
                out.u128(lot.units);
                out.u128(lot.money);
            }
        }
    }
}

impl State {
    /// Units that an account has left of what it bought through a gateway.
    pub fn units(&self, gateway: GatewayId, account: AccountId) -> u128 {
        self.prepaid.lots(gateway, account).units()
    }

    /// What units cost now, in a network where they are bought on the curve.
    pub fn curve(&self) -> Option<Curve> {
        let Pricing::Curve { stake, units } = self.genesis.economy().pricing else { return None };
        let deposits = self.deposits();
        // What deposits add to the units is of all of them together: single
        // ones, rounded down one by one, would depend on how they came.
        let added = scale(units.0, deposits, stake.0).unwrap_or(u128::MAX - units.0);
        let all = units.0.saturating_add(added);
        let money = stake.0.saturating_add(deposits).saturating_add(self.prepaid.money);
        Some(Curve { money, units: all.saturating_sub(self.prepaid.units) })
    }

    /// What units cost that were used and not bought before: no more than so many
    /// times what they cost at the start, however few are left.
    pub(super) fn charge_for(&self, curve: Curve, used: u128) -> u128 {
        const MOST: u128 = 16;
        let Pricing::Curve { stake, units } = self.genesis.economy().pricing else { return used };
        let most = scale_up(stake.0.saturating_mul(MOST), used, units.0).unwrap_or(u128::MAX);
        curve.charge(used).min(most)
    }

    /// The sum of the nodes' deposits.
    fn deposits(&self) -> u128 {
        let of = |node: &NodeId| self.book.balance(Account::Deposit(*node)).0;
        self.nodes.keys().map(of).sum()
    }

    /// On the curve all that is reserved is the price of what lots have left.
    pub(super) fn is_prepaid(&self) -> bool {
        let reserved = |(account, amount): (Account, Amount)| match account {
            Account::Reserved(..) => amount.0,
            _ => 0,
        };
        self.curve().is_none()
            || self.book.balances().map(reserved).sum::<u128>() == self.prepaid.money
    }

    /// The lot that a reservation would be, in a network with a curve.
    fn lot_for(&self, amount: Amount) -> Result<Option<Lot>, Rejection> {
        let Some(curve) = self.curve() else { return Ok(None) };
        let units = curve.bought(amount.0).ok_or(BookError::Overflow)?;
        if units == 0 {
            return Err(Rejection::NoUnits(amount));
        }
        Ok(Some(Lot { units, money: amount.0 }))
    }

    pub(super) fn check_purchase(&self, amount: Amount) -> Result<(), Rejection> {
        self.lot_for(amount).map(|_| ())
    }

    pub(super) fn purchase(&mut self, reservation: &Reservation) {
        let Reservation { gateway, account, amount, .. } = *reservation;
        let lot = self.lot_for(amount).expect("check made sure that it buys something");
        if let Some(lot) = lot {
            self.prepaid.add(gateway, account, lot);
        }
    }
}
