//! What things cost in which epoch: the sheet of the genesis, which always
//! holds, and sheets that the ledger posted for a time. Of all that cover an
//! epoch the one that begins last holds. Those that are over are put by.

use std::collections::BTreeMap;

use protocol::Epoch;
use protocol::ledger_api::SHEETS_MAX;
use protocol::price::SignedPriceSheet;
use protocol::wire::{Wire, Writer};

use super::{Rejection, State};
use crate::genesis::Genesis;

/// A sheet, and its name in vouchers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sheet {
    pub(super) id: [u8; 32],
    pub(super) signed: SignedPriceSheet,
}

impl Sheet {
    fn new(signed: SignedPriceSheet) -> Self {
        Self { id: signed.sheet.id(), signed }
    }
}

/// Sheets by the epoch with which they begin. That of the genesis is the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sheets {
    /// Those that may hold for an epoch that is not mature.
    live: BTreeMap<Epoch, Sheet>,
    /// Those that only explain old statements. They stand in the log, and in no
    /// state root.
    over: BTreeMap<Epoch, Sheet>,
    /// For this epoch and later ones those suffice that are live.
    oldest: Epoch,
}

impl Sheets {
    pub(super) fn new(genesis: &Genesis) -> Self {
        let first = (Genesis::FIRST_EPOCH, Sheet::new(genesis.price_sheet()));
        Self { live: BTreeMap::from([first]), over: BTreeMap::new(), oldest: Genesis::FIRST_EPOCH }
    }

    /// The one that holds for an epoch.
    pub(super) fn of(&self, epoch: Epoch) -> &Sheet {
        let latest = |sheets: &'_ BTreeMap<Epoch, Sheet>| -> Option<Epoch> {
            let mut latest_first = sheets.range(..=epoch).rev();
            latest_first.find(|(_, sheet)| sheet.signed.sheet.holds_for(epoch)).map(|(at, _)| *at)
        };
        let live = latest(&self.live);
        let over = if epoch < self.oldest { latest(&self.over) } else { None };
        match over.filter(|over| Some(*over) > live) {
            Some(over) => &self.over[&over],
            // That of the genesis covers all epochs but the last that can be numbered.
            None => &self.live[&live.unwrap_or(Genesis::FIRST_EPOCH)],
        }
    }

    /// Those that may hold for `oldest` or a later epoch.
    pub(super) fn since(&self, oldest: Epoch) -> impl Iterator<Item = &Sheet> + '_ {
        self.live.values().filter(move |sheet| !self.is_over(sheet, oldest))
    }

    /// Whether a sheet holds for no epoch from `oldest` on: it expired before,
    /// or one that began later lasts as long.
    fn is_over(&self, sheet: &Sheet, oldest: Epoch) -> bool {
        let sheet = &sheet.signed.sheet;
        let mut later = self.live.range(Epoch(sheet.from + 1)..).map(|(_, later)| later);
        sheet.until <= oldest.0
            || later.any(|later| {
                let later = &later.signed.sheet;
                later.from <= oldest.0 && later.until >= sheet.until
            })
    }

    fn put_by_before(&mut self, oldest: Epoch) {
        let over: Vec<Epoch> = self
            .live
            .iter()
            .filter(|(from, sheet)| **from > Genesis::FIRST_EPOCH && self.is_over(sheet, oldest))
            .map(|(&from, _)| from)
            .collect();
        for from in over {
            self.over.extend(self.live.remove_entry(&from));
        }
        self.oldest = oldest;
    }

    pub(super) fn is_as_in_genesis(&self) -> bool {
        self.live.len() == 1
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.u64(self.live.len() as u64);
        self.live.values().for_each(|sheet| sheet.signed.write(out));
    }
}

impl State {
    /// Every sheet that holds for the open epoch, a closed one that is not
    /// settled, or one to come.
    pub fn price_sheets(&self) -> impl Iterator<Item = &SignedPriceSheet> + '_ {
        self.sheets.since(self.oldest_unsettled()).map(|sheet| &sheet.signed)
    }

    /// The prices of an epoch.
    pub fn prices_of(&self, epoch: Epoch) -> &SignedPriceSheet {
        &self.sheets.of(epoch).signed
    }

    pub(super) fn check_sheet(&self, new: &SignedPriceSheet) -> Result<(), Rejection> {
        let sheet = &new.sheet;
        if sheet.chain != self.genesis.chain {
            return Err(Rejection::OtherChain);
        }
        new.verify(self.genesis.sequencer)?;
        match self.sheets.live.get(&Epoch(sheet.from)) {
            Some(held) if held.signed == *new => return Err(Rejection::Known),
            // In the next epoch bytes may move before everybody has heard of it.
            _ if sheet.from <= self.open.epoch.0 + 1 || sheet.until <= sheet.from => {
                return Err(Rejection::SheetTime);
            }
            Some(_) => return Err(Rejection::SheetTaken(Epoch(sheet.from))),
            None => {}
        }
        if self.sheets.live.len() >= SHEETS_MAX {
            return Err(Rejection::Sheets);
        }
        Ok(())
    }

    pub(super) fn post(&mut self, sheet: &SignedPriceSheet) {
        self.sheets.live.insert(Epoch(sheet.sheet.from), Sheet::new(sheet.clone()));
    }

    /// Puts by the sheets that no epoch needs any more. One that is sealed may
    /// still need its own: what a loss costs follows from it.
    pub(super) fn put_by_sheets(&mut self) {
        let sealed = self.sealed.keys().next().copied();
        let oldest = sealed.unwrap_or(self.open.epoch).min(self.oldest_unsettled());
        self.sheets.put_by_before(oldest);
    }
}
