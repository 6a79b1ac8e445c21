//! Counters of a node, for whoever shows them. Plain numbers: how they are
//! named and exported is the binary's business.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use protocol::GatewayId;
use protocol::audit::Outcome;
use protocol::message::{Request, Standing};
use protocol::refusal::Refusal;

/// The kinds of requests, in the order of their counters.
const REQUESTS: [&str; 8] =
    ["put", "get", "delete", "prove", "status", "voucher", "list", "standing"];

/// What a node did since it started, and how it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMetrics {
    /// Requests by kind.
    pub requests: Vec<(&'static str, u64)>,
    /// Refusals by reason; reasons that were never given are left out.
    pub refusals: Vec<(Refusal, u64)>,
    /// Requests that ended without an answer: the peer or the disk broke off.
    pub broken: u64,
    /// Bytes of shards made durable.
    pub put_bytes: u64,
    /// Bytes of shards sent, without proofs.
    pub get_bytes: u64,
    /// Bytes of answers to audits, without proofs.
    pub audit_bytes: u64,
    /// Audits by how they ended, as gateways said.
    pub audits: Vec<(&'static str, u64)>,
    /// How the node stands with each gateway, as that said last.
    pub standings: Vec<(GatewayId, Standing)>,
    /// Receipts that the ledger accepted.
    pub receipts_accepted: u64,
    /// Claims of lost shards that were refuted.
    pub claims_refuted: u64,
    /// Open claims of lost shards that stand: the bytes are not here.
    pub claims_standing: u64,
    /// Puts and gets being worked on now, without those that wait for their peer.
    pub working: u64,
    /// Connections now.
    pub connections: u64,
    /// Bytes of shards held.
    pub stored: u64,
    /// Shards held.
    pub shards: u64,
    /// Bytes that will still be taken.
    pub free: u64,
    /// Bytes of the volumes that are of no use and wait for compaction.
    pub dead: u64,
    /// Tombstones of deleted shards.
    pub tombstones: u64,
    /// Shards that were found damaged, and are not served.
    pub damaged: u64,
    /// Whether a sync failed, so that no more shards are taken.
    pub disk_failed: bool,
    /// Whether the ledger answered when it was last asked.
    pub ledger_reachable: bool,
    /// Whether the node is registered under its key, as the ledger said last.
    pub registered: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: [AtomicU64; REQUESTS.len()],
    refusals: [AtomicU64; Refusal::ALL.len()],
    broken: AtomicU64,
    put_bytes: AtomicU64,
    get_bytes: AtomicU64,
    audit_bytes: AtomicU64,
    receipts_accepted: AtomicU64,
    claims_refuted: AtomicU64,
    claims_standing: AtomicU64,
    audits: [AtomicU64; Outcome::ALL.len()],
    /// Of registered gateways only, so there are few.
    standings: Mutex<BTreeMap<GatewayId, Standing>>,
}

fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Metrics {
    pub fn request(&self, request: &Request) {
        if let Some(at) = REQUESTS.iter().position(|name| *name == request.name()) {
            add(&self.requests[at], 1);
        }
    }

    pub fn refused(&self, refusal: Refusal) {
        if let Some(at) = Refusal::ALL.iter().position(|known| *known == refusal) {
            add(&self.refusals[at], 1);
        }
    }

    pub fn broken(&self) {
        add(&self.broken, 1);
    }

    pub fn put(&self, bytes: u64) {
        add(&self.put_bytes, bytes);
    }

    pub fn sent(&self, bytes: u64) {
        add(&self.get_bytes, bytes);
    }

    pub fn audited(&self, bytes: u64) {
        add(&self.audit_bytes, bytes);
    }

    pub fn receipt_accepted(&self) {
        add(&self.receipts_accepted, 1);
    }

    pub fn claim_refuted(&self) {
        add(&self.claims_refuted, 1);
    }

    pub fn claims_standing(&self, count: usize) {
        self.claims_standing.store(count as u64, Ordering::Relaxed);
    }

    pub fn standing(&self, gateway: GatewayId, standing: Standing) {
        if let Some(outcome) = standing.outcome
            && let Some(at) = Outcome::ALL.iter().position(|known| *known == outcome)
        {
            add(&self.audits[at], 1);
        }
        let mut standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        standings.insert(gateway, standing);
    }

    /// The counters; what is known elsewhere is left at its default.
    pub fn snapshot(&self) -> NodeMetrics {
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let refusals = Refusal::ALL.iter().copied().zip(self.refusals.iter().map(get));
        NodeMetrics {
            requests: REQUESTS.iter().copied().zip(self.requests.iter().map(get)).collect(),
            refusals: refusals.filter(|(_, count)| *count > 0).collect(),
            broken: get(&self.broken),
            put_bytes: get(&self.put_bytes),
            get_bytes: get(&self.get_bytes),
            audit_bytes: get(&self.audit_bytes),
            audits: Outcome::ALL
                .iter()
                .map(|o| o.name())
                .zip(self.audits.iter().map(get))
                .collect(),
            standings: standings.iter().map(|(gateway, s)| (*gateway, s.clone())).collect(),
            receipts_accepted: get(&self.receipts_accepted),
            claims_refuted: get(&self.claims_refuted),
            claims_standing: get(&self.claims_standing),
            ..NodeMetrics::default()
        }
    }
}
