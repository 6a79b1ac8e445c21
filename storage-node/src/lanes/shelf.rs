//! The files that keep vouchers: one for each gateway and epoch.
//!
//! Spoilt files are named in the log and left until the next voucher replaces
//! them: vouchers are cumulative, so the next one makes the loss good.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use protocol::message::LANES_MAX;
use protocol::voucher::Voucher;
use protocol::wire::{Reader, WireError, Writer};
use protocol::{Epoch, GatewayId};

use crate::lanes::{Book, Books, Claim, Held};
use crate::store::{create_folder, record};

const MAGIC: [u8; 4] = *b"LANE";

/// The folder of the books.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// Reads every book in `folder`.
    pub fn open(folder: &Path) -> io::Result<(Self, Books)> {
        create_folder(folder)?;
        let mut books = Books::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "incoming") {
                // Left by a crash; nobody was told that it was taken.
                fs::remove_file(&path)?;
                continue;
            }
            match read(&path)? {
                Some((owner, book)) => {
                    books.insert(owner, book);
                }
                None => tracing::warn!(path = %path.display(), "these are no vouchers; left alone"),
            }
        }
        Ok((Self { folder: folder.into() }, books))
    }

    /// Replaces one book, durably.
    pub fn write(&self, gateway: GatewayId, epoch: Epoch, book: &Book) -> io::Result<()> {
        record::write(&self.path(gateway, epoch), MAGIC, &encode(book))
    }

    /// Removes one book.
    pub fn remove(&self, gateway: GatewayId, epoch: Epoch) -> io::Result<()> {
        match fs::remove_file(self.path(gateway, epoch)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, gateway: GatewayId, epoch: Epoch) -> PathBuf {
        self.folder.join(format!("{gateway}-{epoch}.lanes"))
    }
}

fn encode(book: &Book) -> Vec<u8> {
    let vouchers: Vec<Voucher> = book.values().map(|held| held.voucher.clone()).collect();
    let mut out = Writer::default();
    out.list(&vouchers);
    out.0
}

fn decode(payload: &[u8]) -> Result<Vec<Voucher>, WireError> {
    let mut from = Reader(payload);
    let vouchers = from.list("vouchers", LANES_MAX)?;
    from.end()?;
    Ok(vouchers)
}

/// The book in `path` and whose it is. All vouchers in it are of one gateway
/// and epoch, and verify.
fn read(path: &Path) -> io::Result<Option<((GatewayId, Epoch), Book)>> {
    let Some(payload) = record::read(path, MAGIC)? else { return Ok(None) };
    let Ok(vouchers) = decode(&payload) else { return Ok(None) };
    let Some(first) = vouchers.first() else { return Ok(None) };
    let owner = (first.body.gateway, first.body.epoch);
    let fits = |voucher: &Voucher| {
        (voucher.body.gateway, voucher.body.epoch) == owner && voucher.verify().is_ok()
    };
    if !vouchers.iter().all(fits) {
        return Ok(None);
    }
    let held = |voucher: Voucher| (voucher.body.lane, Held { voucher, claim: Claim::Open });
    Ok(Some((owner, vouchers.into_iter().map(held).collect())))
}
