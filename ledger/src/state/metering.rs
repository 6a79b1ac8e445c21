//! What closed epochs take in: nodes' receipts, then gateways' statements.
//!
//! A later one replaces an earlier one, and an earlier one that comes late is
//! harmless, so the result does not depend on the order of arrival.

use protocol::Epoch;
use protocol::sign;
use protocol::statement::{UsageStatement, gateway_account};
use protocol::voucher::{Receipt, VoucherBody, VoucherError};

use super::{Rejection, State};
use crate::entry::LaneKey;
use crate::epoch::{Intake, Window};

impl State {
    fn taking(
        &self,
        epoch: Epoch,
        window: Window,
        what: &'static str,
    ) -> Result<&Intake, Rejection> {
        let intake = self.intake.get(&epoch).filter(|intake| intake.window == window);
        intake.ok_or(Rejection::Closed { epoch, what })
    }

    pub(super) fn check_receipt(&self, receipt: &Receipt) -> Result<(), Rejection> {
        let body = &receipt.voucher.body;
        if !self.nodes.contains_key(&body.node) {
            return Err(Rejection::UnknownNode(body.node));
        }
        self.check_not_excluded(body.node, body.epoch)?;
        self.check_before_revocation(body.gateway, body.epoch)?;
        let intake = self.taking(body.epoch, Window::Receipts, "receipts")?;
        let sheet = self.sheets.of(body.epoch);
        if body.price_sheet != sheet.id {
            return Err(Rejection::Prices);
        }
        body.check_amount(&sheet.signed.sheet.prices)?;
        match intake.lanes.get(&lane_of(body)) {
            None => Ok(()),
            Some(held) => check_lane(held, body),
        }
    }

    pub(super) fn take_receipt(&mut self, receipt: &Receipt) {
        let body = &receipt.voucher.body;
        let intake = self.intake.get_mut(&body.epoch).expect("check looked the epoch up");
        intake.lanes.insert(lane_of(body), body.clone());
        intake.fold(sign::digest(body));
        self.saw(body.node);
    }

    pub(super) fn check_statement(&self, new: &UsageStatement) -> Result<(), Rejection> {
        let intake = self.taking(new.epoch, Window::Statements, "usage statements")?;
        self.check_before_revocation(new.gateway, new.epoch)?;
        self.check_served(new.gateway, new.account)?;
        let most = new.counters.amount(&self.prices_of(new.epoch).sheet.prices);
        // What nobody used a gateway pays itself, on a line of its own.
        if new.amount > most && new.account != gateway_account(new.gateway) {
            return Err(Rejection::TooMuch { amount: new.amount, most });
        }
        match intake.statements.get(&(new.gateway, new.account)) {
            None => Ok(()),
            Some(held) if new.revision > held.revision => Ok(()),
            Some(held) if new.revision < held.revision || new == held => Err(Rejection::Known),
            Some(_) => Err(Rejection::RevisionReused(new.revision.0)),
        }
    }

    pub(super) fn take_statement(&mut self, new: &UsageStatement) {
        let intake = self.intake.get_mut(&new.epoch).expect("check looked the epoch up");
        intake.statements.insert((new.gateway, new.account), new.clone());
        intake.fold(sign::digest(new));
    }
}

fn lane_of(body: &VoucherBody) -> LaneKey {
    LaneKey { gateway: body.gateway, node: body.node, lane: body.lane }
}

/// Whether `new` may replace what the lane holds.
fn check_lane(held: &VoucherBody, new: &VoucherBody) -> Result<(), Rejection> {
    if new == held {
        return Err(Rejection::Known);
    }
    match new.check_follows(held) {
        Ok(()) => Ok(()),
        // One that was overtaken on its way is harmless.
        Err(_) if held.check_follows(new).is_ok() => Err(Rejection::Known),
        // Neither follows the other: one lane state was signed twice.
        Err(_) => Err(Rejection::Voucher(VoucherError::Equivocation)),
    }
}
