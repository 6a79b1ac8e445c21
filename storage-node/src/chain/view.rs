//! What the node knows of the network: the ledger's last answer, and the price
//! sheets it has seen. An epoch has the sheet that the ledger names for it; one
//! of which it names none may have any sheet that held for it. Kept in the folder, so that a node that starts while the
//! ledger is away serves as before.
//!
//! ```text
//! DIR/chain: a record (see store::record) with magic "CHIN"
//! payload:   ChainInfo, u32 count, that many signed price sheets (oldest first)
//! ```

use std::io;
use std::path::{Path, PathBuf};

use protocol::ledger_api::ChainInfo;
use protocol::price::{Prices, SignedPriceSheet};
use protocol::wire::{Reader, Wire, WireError, Writer};
use protocol::{Epoch, GatewayId, LedgerId};
use thiserror::Error;

use crate::store::record;

const MAGIC: [u8; 4] = *b"CHIN";

/// Price sheets that are remembered: vouchers of closed epochs may name an
/// earlier one, but not one of long ago.
const SHEETS_MAX: usize = 64;

/// The network as the node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub info: ChainInfo,
    /// The current sheet last.
    sheets: Vec<SignedPriceSheet>,
}

/// Why an answer of the ledger is not believed.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum NotBelieved {
    #[error("it speaks for another ledger")]
    Ledger,
    #[error("its price sheet is not signed by it")]
    Prices,
}

impl View {
    /// The view after an answer of `ledger`, given the one before.
    pub fn after(
        before: Option<&View>,
        info: ChainInfo,
        ledger: LedgerId,
    ) -> Result<Self, NotBelieved> {
        if info.ledger != ledger {
            return Err(NotBelieved::Ledger);
        }
        let mut sheets = before.map(|view| view.sheets.clone()).unwrap_or_default();
        for told in info.sheets.iter().chain([&info.prices]) {
            if told.sheet.chain != info.chain {
                return Err(NotBelieved::Ledger);
            }
            // What is known was verified when it came.
            match sheets.iter().position(|known| known == told) {
                Some(place) => drop(sheets.remove(place)),
                None => told.verify(ledger).map_err(|_| NotBelieved::Prices)?,
            }
            sheets.push(told.clone());
        }
        let surplus = sheets.len().saturating_sub(SHEETS_MAX);
        sheets.drain(..surplus);
        Ok(Self { info, sheets })
    }

    /// Whether this gateway is registered.
    pub fn admits(&self, gateway: GatewayId) -> bool {
        self.info.gateways.contains(&gateway)
    }

    /// Whether vouchers of this epoch are taken.
    pub fn takes(&self, epoch: Epoch) -> bool {
        epoch == self.info.open || self.info.taking_receipts.contains(&epoch)
    }

    /// The prices of the sheet with this id, if it is that of `epoch`.
    pub fn prices(&self, sheet: &[u8; 32], epoch: Epoch) -> Option<&Prices> {
        let found = match self.info.prices_of(epoch) {
            Some(told) => Some(told).filter(|told| told.sheet.id() == *sheet),
            None => self.sheets.iter().rev().find(|known| known.sheet.id() == *sheet),
        };
        found.map(|found| &found.sheet).filter(|found| found.holds_for(epoch)).map(|f| &f.prices)
    }

    /// Reads the view that was kept in `folder`, if there is a sound one.
    pub fn load(folder: &Path) -> io::Result<Option<Self>> {
        let Some(payload) = record::read(&path(folder), MAGIC)? else { return Ok(None) };
        Ok(Self::from_wire(&payload).ok())
    }

    /// Keeps the view in `folder`.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        record::write(&path(folder), MAGIC, &self.to_wire())
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("chain")
}

impl Wire for View {
    fn write(&self, out: &mut Writer) {
        self.info.write(out);
        out.list(&self.sheets);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let info = ChainInfo::read(from)?;
        Ok(Self { info, sheets: from.list("price sheets", SHEETS_MAX)? })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use protocol::price::PriceSheet;
    use protocol::{ChainId, SecretKey};

    use super::*;

    pub(crate) fn ledger() -> SecretKey {
        SecretKey::from_seed([9; 32])
    }

    /// A network of one gateway in epoch 7, in which epoch 6 takes receipts.
    pub(crate) fn info(gateway: GatewayId, price: u64) -> ChainInfo {
        let prices = Prices { put_bytes: price, get_bytes: price, ..Prices::default() };
        let chain = ChainId([3; 16]);
        ChainInfo {
            chain,
            ledger: ledger().public().into(),
            open: Epoch(7),
            opened_ms: 0,
            epoch_ms: 1000,
            taking_receipts: vec![Epoch(6)],
            taking_statements: vec![Epoch(5)],
            prices: PriceSheet { chain, from: 0, until: 100, prices }.signed(&ledger()),
            gateways: vec![gateway],
            nodes: Vec::new(),
            sheets: Vec::new(),
            curve: None,
            excluded: Vec::new(),
        }
    }

    #[test]
    fn earlier_price_sheets_are_remembered_and_kept() {
        let gateway = GatewayId([1; 32]);
        let ledger = ledger().public().into();
        let first = View::after(None, info(gateway, 1), ledger).unwrap();
        let second = View::after(Some(&first), info(gateway, 2), ledger).unwrap();
        let id = first.info.prices.sheet.id();
        assert_eq!(second.prices(&id, Epoch(7)).map(|prices| prices.put_bytes), Some(1));
        assert_eq!(second.prices(&id, Epoch(100)), None, "it holds for epochs below 100");
        assert_eq!(second.prices(&[0; 32], Epoch(7)), None);

        let folder = tempfile::tempdir().unwrap();
        second.save(folder.path()).unwrap();
        assert_eq!(View::load(folder.path()).unwrap(), Some(second));
    }

    #[test]
    fn each_epoch_has_the_sheet_that_the_ledger_names_for_it() {
        let gateway = GatewayId([1; 32]);
        let id = ledger().public().into();
        let mut told = info(gateway, 1);
        let dearer = Prices { put_bytes: 5, ..Prices::default() };
        let sheet = PriceSheet { chain: told.chain, from: 7, until: 9, prices: dearer };
        let old = told.prices.clone();
        told.prices = sheet.signed(&ledger());
        told.sheets = vec![old.clone(), told.prices.clone()];
        let view = View::after(None, told.clone(), id).unwrap();
        let (old, new) = (old.sheet.id(), told.prices.sheet.id());
        let price = |sheet: &[u8; 32], epoch| view.prices(sheet, Epoch(epoch)).map(|p| p.put_bytes);
        assert_eq!((price(&old, 6), price(&new, 6)), (Some(1), None), "the closed epoch");
        assert_eq!((price(&old, 7), price(&new, 7)), (None, Some(5)), "the open epoch");
        assert_eq!((price(&old, 9), price(&new, 9)), (Some(1), None), "when it expired");

        let mut forged = told;
        forged.sheets[0].sheet.prices.put_bytes = 0;
        assert_eq!(View::after(Some(&view), forged, id), Err(NotBelieved::Prices));
    }

    #[test]
    fn an_answer_of_another_ledger_is_not_believed() {
        let gateway = GatewayId([1; 32]);
        let other = LedgerId([5; 32]);
        assert_eq!(View::after(None, info(gateway, 1), other), Err(NotBelieved::Ledger));
        let mut forged = info(gateway, 1);
        forged.prices.sheet.prices.put_bytes = 0;
        let ledger = ledger().public().into();
        assert_eq!(View::after(None, forged, ledger), Err(NotBelieved::Prices));
    }
}
