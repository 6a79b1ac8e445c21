//! Who pays for a gateway's receipts of an epoch, and taking it from them.
//!
//! Accounts pay what their statements say, as far as they set it aside. What
//! that leaves open the gateway pays itself: out of its own account, its pay, its
//! bond. One that states more than was earned pays all of it itself and is
//! revoked; its accounts are charged nothing.
//!
//! When all its money does not suffice, its nodes are short by the same part,
//! and where gateways have to have a bond it is revoked. It could have made up
//! receipts of a node of its own, which gets most of what is shared. So accounts
//! are charged only if that is no more than a quarter of the bond that it loses;
//! else its nodes share nothing but its own money. Not here: how the money is
//! shared (`sealing`).

use std::collections::BTreeMap;

use protocol::price::Amount;
use protocol::statement::{UsageStatement, gateway_account};
use protocol::{AccountId, Epoch, GatewayId};

use super::State;
use crate::account::{Account, Party};
use crate::curve::Curve;
use crate::epoch::{Cover, Intake, VoidReason};
use crate::event::Event;
use crate::fraction::part;

/// Customers have set aside, and pay for a gateway that is short, at most this
/// part of its bond.
pub(super) const DIVERTED: u128 = 4;

/// How a gateway's receipts are paid.
pub(super) struct Bill<'a> {
    /// What they come to: money, or units where they are bought on the curve.
    pub(super) owed: u128,
    /// What accounts pay, the gateway's own among them: money, or units.
    charges: Vec<(&'a UsageStatement, u128)>,
    /// What the gateway pays besides.
    pub(super) own: Own,
    /// Why no account pays and the gateway is revoked, if so.
    pub(super) fault: Option<VoidReason>,
}

/// What a gateway pays of its own.
#[derive(Clone, Copy, Default)]
pub(super) struct Own {
    /// Of what its account has reserved: money or units.
    reserved: u128,
    /// Money that its account has free.
    available: u128,
    /// Of its pay that is mature, and that is not.
    pay: [u128; 2],
    /// Of its bond.
    bond: u128,
    /// What nobody pays: money or units.
    pub(super) short: u128,
}

impl Bill<'_> {
    /// What nobody pays of receipts that come to `amount`, rounded up.
    pub(super) fn short_of(&self, amount: u128) -> u128 {
        match self.own.short {
            0 => 0,
            short => amount - part(amount, self.owed - short, self.owed),
        }
    }
}

impl State {
    /// Who pays for each gateway's receipts, and for whose nobody does. A gateway
    /// that submitted nothing and whose nodes claim nothing is in neither.
    pub(super) fn judge<'a>(
        &self,
        intake: &'a Intake,
        curve: Option<Curve>,
    ) -> (BTreeMap<GatewayId, Bill<'a>>, BTreeMap<GatewayId, VoidReason>) {
        let mut bills = BTreeMap::new();
        let mut void = BTreeMap::new();
        for gateway in self.gateways.all() {
            let took_part = intake.lanes_of(gateway).next().is_some()
                || intake.statements_of(gateway).next().is_some();
            if !took_part {
                continue;
            }
            match self.bill(intake, gateway, curve) {
                Ok(bill) => {
                    bills.insert(gateway, bill);
                }
                Err(why) => {
                    void.insert(gateway, why);
                }
            }
        }
        (bills, void)
    }

    fn bill<'a>(
        &self,
        intake: &'a Intake,
        gateway: GatewayId,
        curve: Option<Curve>,
    ) -> Result<Bill<'a>, VoidReason> {
        let owed = intake.owed(gateway).ok_or(VoidReason::Overflow)?;
        let nobody = |own, fault| Bill { owed, charges: Vec::new(), own, fault };
        match self.check_statements(intake, gateway, owed) {
            Ok(()) => {}
            Err(reason) if !self.genesis.is_answerable() => return Err(reason),
            Err(reason) => return Ok(nobody(self.own(gateway, owed, 0, curve), Some(reason))),
        }
        let charges: Vec<_> = intake
            .statements_of(gateway)
            .map(|said| (said, said.amount.0.min(self.reserve_of(gateway, said.account))))
            .collect();
        let account = gateway_account(gateway);
        let of_own = charges.iter().find(|(statement, _)| statement.account == account);
        let of_own = of_own.map_or(0, |(_, charge)| *charge);
        let stated: u128 = charges.iter().map(|(_, charge)| charge).sum(); // At most all that is owed.
        let own = self.own(gateway, owed - stated, of_own, curve);
        if own.short > 0 && self.cost_to_customers(gateway, &charges) > own.bond / DIVERTED {
            return Ok(nobody(self.own(gateway, owed, 0, curve), None));
        }
        Ok(Bill { owed, charges, own, fault: None })
    }

    /// What charges cost all accounts but the gateway's own, in money.
    fn cost_to_customers(&self, gateway: GatewayId, charges: &[(&UsageStatement, u128)]) -> u128 {
        let own = gateway_account(gateway);
        let of_customers = charges.iter().filter(|(statement, _)| statement.account != own);
        let cost = |(statement, charge): &(&UsageStatement, u128)| match self.curve() {
            None => *charge,
            Some(_) => {
                let mut lots = self.prepaid.lots(gateway, statement.account);
                lots.take(*charge).expect("no more is charged than was bought")
            }
        };
        of_customers.map(cost).sum() // It is reserved, so part of the supply.
    }

    /// Whether a gateway's statements add up to no more than it owes. In ledgers
    /// of version 1 they add up to just that, and each is covered.
    fn check_statements(
        &self,
        intake: &Intake,
        gateway: GatewayId,
        owed: u128,
    ) -> Result<(), VoidReason> {
        let stated = intake
            .statements_of(gateway)
            .try_fold(0u128, |sum, statement| sum.checked_add(statement.amount.0))
            .ok_or(VoidReason::Overflow)?;
        let is_answerable = self.genesis.is_answerable();
        if stated > owed || (stated < owed && !is_answerable) {
            let (statements, receipts) = (Amount(stated), Amount(owed));
            return Err(VoidReason::Mismatch { statements, receipts });
        }
        for statement in intake.statements_of(gateway).filter(|_| !is_answerable) {
            let (account, amount) = (statement.account, statement.amount);
            let reserved = Amount(self.reserve_of(gateway, account));
            if amount > reserved {
                return Err(VoidReason::Uncovered { account, amount, reserved });
            }
        }
        Ok(())
    }

    /// What an account set aside with a gateway: money, or units.
    pub fn reserve_of(&self, gateway: GatewayId, account: AccountId) -> u128 {
        if self.curve().is_some() {
            return self.prepaid.lots(gateway, account).units();
        }
        self.book.balance(Account::Reserved(gateway, account)).0
    }

    /// How a gateway pays `amount` of its own, as far as it can, beside what its
    /// own statement takes. Units that it has not bought cost it what they cost
    /// at the moment of sealing, before any of them are used.
    fn own(&self, gateway: GatewayId, amount: u128, stated: u128, curve: Option<Curve>) -> Own {
        let account = gateway_account(gateway);
        let reserved = amount.min(self.reserve_of(gateway, account) - stated);
        let rest = amount - reserved;
        let due = curve.map_or(rest, |curve| self.charge_for(curve, rest));
        let mut left = due;
        let mut take = |account| {
            let taken = left.min(self.book.balance(account).0);
            left -= taken;
            taken
        };
        let party = Party::Gateway(gateway);
        let available = take(Account::Available(account));
        let pay = [take(Account::Mature(party)), take(Account::Immature(party))];
        let bond = take(Account::Bond(gateway));
        let short = match left {
            0 => 0,
            _ => rest - part(rest, due - left, due),
        };
        Own { reserved, available, pay, bond, short }
    }

    /// Takes the money for a gateway's receipts. Says how much it is, and what
    /// the gateway paid of it beside its own statement.
    pub(super) fn collect(
        &mut self,
        epoch: Epoch,
        gateway: GatewayId,
        bill: &Bill<'_>,
    ) -> (u128, Cover) {
        let mut money = 0;
        for (statement, charge) in &bill.charges {
            let UsageStatement { account, counters, .. } = **statement;
            let paid = self.use_reserve(gateway, account, *charge);
            money += paid;
            let amount = Amount(paid);
            self.events.push(Event::Charged { epoch, gateway, account, counters, amount });
        }
        let own = gateway_account(gateway);
        let from_account = self.use_reserve(gateway, own, bill.own.reserved) + bill.own.available;
        self.debit(Account::Available(own), own, bill.own.available);
        let (party, [mature, immature]) = (Party::Gateway(gateway), bill.own.pay);
        for (from, amount) in [
            (Account::Bond(gateway), bill.own.bond),
            (Account::Immature(party), immature),
            (Account::Mature(party), mature),
        ] {
            self.book
                .transfer(from, Account::Clearing, Amount(amount))
                .expect("judged to be covered");
        }
        self.owe_immature(party, immature);
        let (account, bond) = (Amount(from_account), Amount(bill.own.bond));
        let (pay, short) = (Amount(immature + mature), Amount(bill.own.short));
        if bill.fault.is_some() || (self.is_bonded() && short.0 > 0) {
            self.revoke(gateway);
        }
        let cover = Cover { account, bond, pay, short, fault: bill.fault.clone() };
        if cover != Cover::default() {
            self.events.push(Event::Covered { epoch, gateway, account, bond, pay, short });
        }
        (money + account.0 + bond.0 + pay.0, cover)
    }

    /// Uses up what an account set aside. Says what it cost.
    fn use_reserve(&mut self, gateway: GatewayId, account: AccountId, amount: u128) -> u128 {
        let money = match self.curve() {
            Some(_) => self.prepaid.take(gateway, account, amount),
            None => amount,
        };
        self.debit(Account::Reserved(gateway, account), account, money);
        money
    }

    fn debit(&mut self, from: Account, account: AccountId, money: u128) {
        self.book.transfer(from, Account::Clearing, Amount(money)).expect("judged to be covered");
        let customer = self.customers.get_mut(&account).expect("a statement is of an open account");
        // What is earned may be spent again, so the sum may exceed the supply.
        customer.spent.0 = customer.spent.0.saturating_add(money);
    }
}
