//! What the node knows of the network: the ledger's last answer, and the price
//! sheets it has seen. Kept in the folder, so that a node that starts while the
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
        if info.ledger != ledger || info.prices.sheet.chain != info.chain {
            return Err(NotBelieved::Ledger);
        }
        let known = before.is_some_and(|view| view.info.prices == info.prices);
        if !known {
            info.prices.verify(ledger).map_err(|_| NotBelieved::Prices)?;
        }
        let mut sheets = before.map(|view| view.sheets.clone()).unwrap_or_default();
        sheets.retain(|sheet| *sheet != info.prices);
        sheets.push(info.prices.clone());
        if sheets.len() > SHEETS_MAX {
            sheets.remove(0);
        }
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

    /// The prices of the sheet with this id, if it holds in `epoch`.
    pub fn prices(&self, sheet: &[u8; 32], epoch: Epoch) -> Option<&Prices> {
        let found = self.sheets.iter().rev().find(|known| known.sheet.id() == *sheet)?;
        (found.sheet.from..found.sheet.until).contains(&epoch.0).then_some(&found.sheet.prices)
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
