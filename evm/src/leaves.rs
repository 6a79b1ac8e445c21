//! What each address is owed, from an exported ledger.
//!
//! A withdrawal belongs to the address that its party had bound when it
//! withdrew; what was withdrawn before any was bound belongs to the first one.
//! So binding another address moves nothing that an older leaf already holds:
//! if leaves followed the latest binding, a party could claim, bind a fresh
//! address, and claim the same sum again. What an address has only grows, and
//! it follows from the log alone, so anyone who has the ledger gets the same
//! leaves for the same epoch.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use alloy_primitives::Address;
use ledger::entry::Entry;
use ledger::export::{LineError, parse_block, parse_genesis};
use protocol::ids::PublicKey;
use protocol::ledger_api::Submission;
use protocol::order::{Action, Order};
use protocol::{ChainId, Epoch};
use thiserror::Error;

/// Why an export gives no leaves.
#[derive(Debug, Error)]
pub enum ExportError {
    /// Nobody wrote it, or it may not be read.
    #[error("the export cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It was changed since it was verified.
    #[error("the export changed while it was read: {0}")]
    Line(#[from] LineError),
    /// Its replay found a fault.
    #[error("the export is not a good ledger: {0}")]
    Bad(String),
    /// Nothing is final about the open epoch.
    #[error("no epoch is over yet in this export")]
    NoEpoch,
    /// The export is older than that.
    #[error("epoch {asked} is not over in this export; the last that is, is {last}")]
    NotOver {
        /// The epoch that was asked for.
        asked: u64,
        /// The last epoch that is over.
        last: u64,
    },
}

/// What parties ordered that leaves follow from, with the epochs they did it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// The network.
    pub chain: ChainId,
    open: Epoch,
    orders: Vec<(Epoch, PublicKey, Action)>,
}

/// What left the network until the end of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawn {
    /// To each address, in atto-credits. None of it is zero.
    pub leaves: BTreeMap<Address, u128>,
    /// By parties that never bound an address. It has no leaf until they do.
    pub unbound: u128,
}

impl Orders {
    /// Reads an export. It is replayed first, with every signature, hash and
    /// root, so what this returns stands on a good ledger.
    pub fn read(export: &Path) -> Result<Self, ExportError> {
        let report = ledger::verify(BufReader::new(File::open(export)?));
        if !report.is_ok() {
            return Err(ExportError::Bad(report.error.unwrap_or_default()));
        }
        let mut lines = BufReader::new(File::open(export)?).lines();
        let genesis = lines.next().transpose()?.unwrap_or_default();
        let mut orders = Self::new(parse_genesis(&genesis)?.chain);
        for line in lines {
            parse_block(&line?)?.entries.iter().for_each(|entry| orders.take(entry));
        }
        Ok(orders)
    }

    fn new(chain: ChainId) -> Self {
        Self { chain, open: ledger::Genesis::FIRST_EPOCH, orders: Vec::new() }
    }

    fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::CloseEpoch { next, .. } => self.open = *next,
            Entry::Submitted(Submission::Order(order)) => self.order(order),
            _ => {}
        }
    }

    fn order(&mut self, order: &Order) {
        if matches!(order.action, Action::Withdraw(_) | Action::BindEvm(_)) {
            self.orders.push((self.open, order.party, order.action));
        }
    }

    /// The last epoch that is over.
    pub fn last_epoch(&self) -> Result<Epoch, ExportError> {
        self.open.0.checked_sub(1).map(Epoch).ok_or(ExportError::NoEpoch)
    }

    /// What had left by the end of `epoch`.
    pub fn withdrawn(&self, epoch: Epoch) -> Result<Withdrawn, ExportError> {
        let last = self.last_epoch()?;
        if epoch > last {
            return Err(ExportError::NotOver { asked: epoch.0, last: last.0 });
        }
        let mut bound = BTreeMap::new();
        let mut waiting = BTreeMap::<PublicKey, u128>::new();
        let mut leaves = BTreeMap::<Address, u128>::new();
        // No sum is more than the supply, which the ledger counts the same way.
        for &(_, party, action) in self.orders.iter().take_while(|order| order.0 <= epoch) {
            match action {
                Action::BindEvm(address) => {
                    let address = Address::from(address.0);
                    bound.insert(party, address);
                    *leaves.entry(address).or_default() += waiting.remove(&party).unwrap_or(0);
                }
                Action::Withdraw(amount) => match bound.get(&party) {
                    Some(&address) => *leaves.entry(address).or_default() += amount.0,
                    None => *waiting.entry(party).or_default() += amount.0,
                },
                Action::Spend { .. } | Action::Stake(_) | Action::Exit => {}
            }
        }
        leaves.retain(|_, amount| *amount > 0);
        Ok(Withdrawn { leaves, unbound: waiting.values().sum() })
    }
}

#[cfg(test)]
mod tests {
    use protocol::SecretKey;
    use protocol::order::EvmAddress;
    use protocol::price::Amount;
    use protocol::statement::TransferId;

    use super::*;

    const CHAIN: ChainId = ChainId([7; 16]);

    fn address(n: u8) -> Address {
        Address::repeat_byte(n)
    }

    fn order(party: u8, action: Action) -> Entry {
        let key = SecretKey::from_seed([party; 32]);
        let order = Order::signed(CHAIN, &key, TransferId([0; 16]), action);
        Entry::Submitted(Submission::Order(Box::new(order)))
    }

    fn bind(party: u8, n: u8) -> Entry {
        order(party, Action::BindEvm(EvmAddress([n; 20])))
    }

    fn withdraw(party: u8, amount: u128) -> Entry {
        order(party, Action::Withdraw(Amount(amount)))
    }

    fn close(epoch: u64, next: u64) -> Entry {
        Entry::CloseEpoch { epoch: Epoch(epoch), next: Epoch(next) }
    }

    fn after(entries: &[Entry]) -> Orders {
        let mut orders = Orders::new(CHAIN);
        entries.iter().for_each(|entry| orders.take(entry));
        orders
    }

    fn leaves<const N: usize>(leaves: [(u8, u128); N], unbound: u128) -> Withdrawn {
        let leaves = leaves.into_iter().map(|(n, amount)| (address(n), amount)).collect();
        Withdrawn { leaves, unbound }
    }

    #[test]
    fn parties_of_one_address_are_summed() {
        let entries = [bind(1, 9), bind(2, 9), withdraw(1, 3), withdraw(2, 4), withdraw(1, 5)];
        let orders = after(&[&entries[..], &[close(0, 1)]].concat());
        assert_eq!(orders.withdrawn(Epoch(0)).unwrap(), leaves([(9, 12)], 0));
    }

    #[test]
    fn what_was_withdrawn_before_an_address_was_bound_waits_for_it() {
        let orders = after(&[withdraw(1, 3), close(0, 1), bind(1, 9), close(1, 2)]);
        assert_eq!(orders.withdrawn(Epoch(0)).unwrap(), leaves([], 3));
        assert_eq!(orders.withdrawn(Epoch(1)).unwrap(), leaves([(9, 3)], 0));
    }

    #[test]
    fn another_address_gets_what_is_withdrawn_from_then_on() {
        let entries = [bind(1, 8), withdraw(1, 100), bind(1, 9), withdraw(1, 1), close(0, 1)];
        assert_eq!(after(&entries).withdrawn(Epoch(0)).unwrap(), leaves([(8, 100), (9, 1)], 0));
    }

    #[test]
    fn an_address_to_which_nothing_left_has_no_leaf() {
        let orders = after(&[bind(1, 9), close(0, 1)]);
        assert_eq!(orders.withdrawn(Epoch(0)).unwrap(), Withdrawn::default());
    }

    #[test]
    fn later_orders_do_not_change_an_epoch_that_is_over() {
        let orders = [bind(1, 9), withdraw(1, 3), close(0, 1), withdraw(1, 4)];
        let epoch_0 = after(&orders).withdrawn(Epoch(0)).unwrap();
        let longer = after(&[&orders[..], &[bind(1, 8), close(1, 5)]].concat());
        assert_eq!(longer.withdrawn(Epoch(0)).unwrap(), epoch_0);
        // Epochs in which the ledger was away are over too.
        assert_eq!(longer.withdrawn(Epoch(4)).unwrap(), leaves([(9, 7)], 0));
    }

    #[test]
    fn an_open_epoch_has_no_leaves() {
        let orders = after(&[close(0, 1)]);
        assert!(matches!(
            orders.withdrawn(Epoch(1)),
            Err(ExportError::NotOver { asked: 1, last: 0 })
        ));
        assert!(matches!(after(&[]).withdrawn(Epoch(0)), Err(ExportError::NoEpoch)));
    }

    #[test]
    fn an_export_that_was_tampered_with_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let export = folder.path().join("ledger.ndjson");
        std::fs::write(&export, "{}\n").unwrap();
        assert!(matches!(Orders::read(&export), Err(ExportError::Bad(_))));
    }
}
