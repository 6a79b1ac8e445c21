//! What stands for the whole state: one hash of all that may still change, and
//! of a history of all that will not.
//!
//! Ledgers that began before a part of it was kept have the roots that they had:
//! such a part is written only where there is some of it.

use protocol::wire::{Wire, Writer};

use super::audits::Audits;
use super::curve::Prepaid;
use super::gateways::Gateways;
use super::law::Law;
use super::{Holder, State};
use crate::hash::Hash;

impl State {
    /// Stands for the whole state.
    pub fn root(&self) -> Hash {
        let mut out = Writer::default();
        self.genesis.hash().write(&mut out);
        out.u64(self.time_ms);
        self.open.epoch.write(&mut out);
        out.u64(self.open.opened_ms);
        out.u64(self.intake.len() as u64);
        for (epoch, intake) in &self.intake {
            epoch.write(&mut out);
            intake.write(&mut out);
        }
        out.u64(self.sealed.len() as u64);
        for (epoch, sealed) in &self.sealed {
            epoch.write(&mut out);
            sealed.digest.write(&mut out);
        }
        self.book.write(&mut out);
        out.u64(self.customers.len() as u64);
        for (account, customer) in &self.customers {
            account.write(&mut out);
            match customer.holder {
                Holder::Gateway(gateway) => gateway.write(&mut out),
                // So no key of a wallet stands for a gateway's.
                Holder::Wallet(owner) => {
                    out.u8(1);
                    owner.write(&mut out);
                }
            }
            customer.spent.write(&mut out);
        }
        out.u64(self.nodes.len() as u64);
        for member in self.nodes.values() {
            member.record.write(&mut out);
            out.u64(member.serial);
            member.earned.write(&mut out);
            out.u64(member.bytes);
            // Nothing follows from it in a ledger from before it was kept.
            if !self.is_neutral() {
                out.u64(member.joined_ms);
                out.u64(member.seen_ms);
            }
        }
        self.history.write(&mut out);
        // Ledgers from before there were reports keep the roots they have.
        if self.audits != Audits::default() {
            self.audits.write(&mut out);
        }
        self.write_economy(&mut out);
        Hash(blake3::derive_key("stratos ledger state v1", &out.0))
    }

    /// What came with the economy. Each part is written only where there is
    /// some, for the same reason, and named.
    fn write_economy(&self, out: &mut Writer) {
        if self.gateways != Gateways::of(&self.genesis) {
            out.u8(1);
            self.gateways.write(out);
        }
        if !self.sheets.is_as_in_genesis() {
            out.u8(2);
            self.sheets.write(out);
        }
        if self.prepaid != Prepaid::default() {
            out.u8(3);
            self.prepaid.write(out);
        }
        if !self.genesis.economy().emission.is_empty() {
            out.u8(4);
            out.u128(self.minted);
        }
        if self.law != Law::default() {
            out.u8(5);
            self.law.write(out);
        }
    }

    /// Folds something that will never change again into the history.
    pub(super) fn remember(&mut self, what: &str, content: Hash) {
        let mut out = Writer::default();
        self.history.write(&mut out);
        out.blob(what.as_bytes());
        content.write(&mut out);
        self.history = Hash(blake3::derive_key("stratos ledger history v1", &out.0));
    }
}
