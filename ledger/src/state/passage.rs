//! How time moves epochs on: open, taking receipts, taking statements, sealed,
//! mature. What is due follows from the block's time alone. Not here: what sealing
//! pays whom (`sealing`), and how pay becomes free (`maturing`).

use std::collections::BTreeMap;

use protocol::Epoch;

use super::State;
use crate::entry::Entry;
use crate::epoch::{Intake, Open, Window};
use crate::hash::Hash;

/// An epoch that is closed this long after its end is closed late.
const PUNCTUAL_MS: u64 = 10_000;

impl State {
    /// The change of epochs, or of what follows from time alone, that must come
    /// next at the time of this block, if one is due. Each epoch's changes come in
    /// order, and so do the epochs.
    pub fn due(&self) -> Option<Entry> {
        let params = &self.genesis.params;
        let since = |then_ms| self.since(then_ms);

        let passed = since(self.open.opened_ms) / params.epoch_ms;
        if passed > 0 {
            let next = Epoch(self.open.epoch.0 + passed);
            return Some(Entry::CloseEpoch { epoch: self.open.epoch, next });
        }
        for (&epoch, intake) in &self.intake {
            match intake.window {
                Window::Receipts if since(intake.since_ms) >= params.receipts_ms => {
                    return Some(Entry::StopReceipts(epoch));
                }
                Window::Statements if since(intake.since_ms) >= params.statements_ms => {
                    return Some(Entry::SealEpoch(epoch));
                }
                _ => {}
            }
        }
        let next = self.claim_due().or_else(|| self.mature_due()).or_else(|| self.return_due());
        next.or_else(|| self.release_due()).or_else(|| self.forfeit_due())
    }

    fn mature_due(&self) -> Option<Entry> {
        let params = &self.genesis.params;
        // They were sealed in order, so only the first can be the next to mature.
        let (&epoch, sealed) = self.sealed.first_key_value()?;
        let wait_ms = params.challenge_ms.saturating_add(params.maturity_ms);
        (self.since(sealed.summary.sealed_ms) >= wait_ms).then_some(Entry::MatureEpoch(epoch))
    }

    pub(super) fn close_epoch(&mut self, next: Epoch) {
        let Open { epoch, opened_ms } = self.open;
        let passed = next.0 - epoch.0;
        let due_ms = opened_ms.saturating_add(self.genesis.params.epoch_ms);
        // Networks from before this rule keep their histories.
        let is_late = self.genesis.is_answerable() && self.since(due_ms) > PUNCTUAL_MS;
        if passed > 1 || is_late {
            // The ledger was away when the epoch was over, and nobody could
            // submit. What it was taking, it takes from anew.
            for intake in self.intake.values_mut() {
                intake.since_ms = self.time_ms;
            }
            self.wait_anew();
        }
        let closed = Intake {
            opened_ms,
            window: Window::Receipts,
            since_ms: self.time_ms,
            lanes: BTreeMap::new(),
            statements: BTreeMap::new(),
            taken: self.genesis.is_answerable().then(Hash::default),
        };
        self.intake.insert(epoch, closed);
        // The grid of epochs stays where genesis put it.
        let opened_ms = opened_ms + passed * self.genesis.params.epoch_ms;
        self.open = Open { epoch: next, opened_ms };
        self.put_by_sheets();
    }

    pub(super) fn stop_receipts(&mut self, epoch: Epoch) {
        let intake = self.intake.get_mut(&epoch).expect("check made sure that it is due");
        intake.window = Window::Statements;
        intake.since_ms = self.time_ms;
    }
}
