//! What gateways owe: the highest voucher of each lane, and the credit.
//!
//! ```text
//! DIR/lanes/<gateway>-<epoch>.lanes: a record (see store::record), magic "LANE"
//! payload: u32 count, that many vouchers, one for each lane, by lane
//! ```
//!
//! A voucher is on disk before the gateway hears that it was taken. One write
//! at a time: vouchers are few (one for each second or 64 MiB of a gateway).
//!
//! Not here: the rules, which are pure (`accept`, `credit`), and the way to the
//! ledger (`chain`).

pub(crate) mod accept;
pub(crate) mod credit;
mod shelf;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::ledger_api::Outcome;
use protocol::message::STATUS_VOUCHERS_MAX;
use protocol::voucher::Voucher;
use protocol::{Epoch, GatewayId, NodeId};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::accept::NotTaken;
use self::credit::Credit;
use self::shelf::Shelf;
use crate::blocking;
use crate::chain::view::View;

/// A gateway's vouchers of one epoch, by lane.
pub(crate) type Book = BTreeMap<u16, Held>;

/// The books of all gateways.
pub(crate) type Books = HashMap<(GatewayId, Epoch), Book>;

/// The highest voucher of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub voucher: Voucher,
    pub claim: Claim,
}

/// What the ledger said to a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Open,
    Accepted,
    /// Tried again, but the log has the reason already.
    Refused(String),
}

/// The books and credits of all gateways.
#[derive(Debug)]
pub(crate) struct Lanes {
    node: NodeId,
    limit: u64,
    shelf: Shelf,
    books: Mutex<Books>,
    credits: Mutex<HashMap<GatewayId, Credit>>,
    /// Wakes reads that wait for a voucher.
    vouched: Notify,
    /// Held while a voucher is checked and written.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Lanes {
    /// Reads the books under `folder`. A gateway may be served `limit` bytes
    /// beyond what it vouched for.
    pub fn open(folder: &Path, node: NodeId, limit: u64) -> io::Result<Arc<Self>> {
        let (shelf, books) = Shelf::open(&folder.join("lanes"))?;
        Ok(Arc::new(Self {
            node,
            limit,
            shelf,
            books: Mutex::new(books),
            credits: Mutex::default(),
            vouched: Notify::new(),
            writing: Arc::default(),
        }))
    }

    /// Takes a voucher from `peer`: when this returns, it is kept.
    pub async fn take(
        self: &Arc<Self>,
        voucher: Voucher,
        peer: GatewayId,
        view: Arc<View>,
    ) -> Result<(), NotTaken> {
        let turn = self.writing.clone().lock_owned().await;
        let lanes = self.clone();
        // Checking a signature and a sync both take a while. The closure runs
        // to its end even if the gateway hangs up, so disk and memory agree.
        blocking(move || {
            let taken = lanes.take_now(voucher, peer, &view);
            drop(turn);
            taken
        })
        .await
    }

    fn take_now(&self, voucher: Voucher, peer: GatewayId, view: &View) -> Result<(), NotTaken> {
        let (epoch, lane) = (voucher.body.epoch, voucher.body.lane);
        let mut book = self.books().get(&(peer, epoch)).cloned().unwrap_or_default();
        let held = book.get(&lane).map(|held| &held.voucher);
        accept::check(&voucher, peer, self.node, view, held)?;
        if held.is_some_and(|held| held.body == voucher.body) {
            return Ok(());
        }
        let before = held.map_or(0, |held| held.body.counters.traffic());
        let added = voucher.body.counters.traffic().saturating_sub(before);
        book.insert(lane, Held { voucher, claim: Claim::Open });
        self.shelf
            .write(peer, epoch, &book)
            .map_err(|error| NotTaken::NotKept(error.to_string()))?;
        self.books().insert((peer, epoch), book);
        self.with_credit(peer, view.info.open, |credit| credit.vouch(added));
        self.vouched.notify_waiters();
        Ok(())
    }

    /// Whether `gateway` may be served at all.
    pub fn has_credit(&self, gateway: GatewayId, open: Epoch) -> bool {
        self.with_credit(gateway, open, |credit| {
            let paused = credit.owed() > self.limit;
            if paused && !credit.paused {
                let owed = credit.owed();
                tracing::warn!(?gateway, owed, "a gateway is paused: it must vouch first");
            }
            credit.paused = paused;
            !paused
        })
    }

    /// Counts bytes that were made durable, or of an answer to an audit.
    pub fn serve(&self, gateway: GatewayId, open: Epoch, bytes: u64) {
        self.with_credit(gateway, open, |credit| credit.serve(bytes));
    }

    /// Counts bytes that are about to be sent, unless the gateway owes too
    /// much; then it waits for a voucher, at most `most`.
    pub async fn spend(
        &self,
        gateway: GatewayId,
        open: impl Fn() -> Epoch,
        bytes: u64,
        most: Duration,
    ) -> bool {
        let deadline = Instant::now() + most;
        loop {
            // Listen first: a voucher that comes in between is not missed.
            let vouched = self.vouched.notified();
            let open = open();
            if self.has_credit(gateway, open) {
                self.serve(gateway, open, bytes);
                return true;
            }
            if tokio::time::timeout_at(deadline, vouched).await.is_err() {
                return false;
            }
        }
    }

    /// Of the bytes served, these belong to a read that was given up.
    pub fn abandon(&self, gateway: GatewayId, open: Epoch, bytes: u64) {
        self.with_credit(gateway, open, |credit| credit.abandon(bytes));
    }

    /// The highest vouchers of `gateway` that still count, the open epoch
    /// first, as many as a status holds.
    pub fn highest(&self, gateway: GatewayId, view: &View) -> Vec<Voucher> {
        let books = self.books();
        let mut epochs: Vec<Epoch> =
            books.keys().filter(|(by, _)| *by == gateway).map(|(_, epoch)| *epoch).collect();
        epochs.retain(|epoch| view.takes(*epoch));
        epochs.sort_by(|a, b| b.cmp(a));
        let held = epochs.iter().flat_map(|epoch| books[&(gateway, *epoch)].values());
        held.map(|held| held.voucher.clone()).take(STATUS_VOUCHERS_MAX).collect()
    }

    /// The vouchers of `epochs` that the ledger does not have.
    pub fn due(&self, epochs: &[Epoch]) -> Vec<Voucher> {
        let books = self.books();
        let books = books.iter().filter(|((_, epoch), _)| epochs.contains(epoch));
        let held = books.flat_map(|(_, book)| book.values());
        let due = held.filter(|held| held.claim != Claim::Accepted);
        due.map(|held| held.voucher.clone()).collect()
    }

    /// The ledger answered to the receipt of `voucher`.
    pub fn claimed(&self, voucher: &Voucher, outcome: Outcome) {
        let mut books = self.books();
        let body = &voucher.body;
        let held = books.get_mut(&(body.gateway, body.epoch)).and_then(|b| b.get_mut(&body.lane));
        // A higher voucher that came meanwhile is still to be claimed.
        let Some(held) = held.filter(|held| held.voucher == *voucher) else { return };
        let claim = match outcome {
            Ok(()) => Claim::Accepted,
            Err(reason) => Claim::Refused(reason),
        };
        if let Claim::Refused(reason) = &claim
            && held.claim != claim
        {
            let (gateway, epoch) = (body.gateway, body.epoch);
            tracing::warn!(?gateway, %epoch, reason, "the ledger does not accept a receipt");
        }
        held.claim = claim;
    }

    /// Forgets the books of epochs that take nothing any more. Blocks briefly:
    /// it removes a few small files once an epoch.
    pub fn prune(&self, view: &View) {
        let mut over = Vec::new();
        self.books().retain(|(gateway, epoch), _| {
            // An epoch to come is one that the view does not know yet.
            let keep = view.takes(*epoch) || *epoch > view.info.open;
            if !keep {
                over.push((*gateway, *epoch));
            }
            keep
        });
        for (gateway, epoch) in over {
            if let Err(error) = self.shelf.remove(gateway, epoch) {
                tracing::warn!(%error, %epoch, "vouchers of a settled epoch stay on disk");
            }
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Changes under this lock are single inserts and removals.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_credit<T>(
        &self,
        gateway: GatewayId,
        open: Epoch,
        work: impl FnOnce(&mut Credit) -> T,
    ) -> T {
        let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        let credit = credits.entry(gateway).or_default();
        credit.enter(open);
        work(credit)
    }
}
