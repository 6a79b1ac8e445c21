//! QUIC in a simulation: two gateways and a node on simulated machines, with
//! lines that lose, delay and cut, and a node that crashes. One seed, one
//! history.
//!
//! What is real: quinn and TLS as `protocol` sets them up, the frames and
//! messages, and the gateway's own pool of connections (`QuicNodes`). What is
//! simulated: the UDP underneath ([`socket`]), time, the [`node`] and its
//! [`disk`].
//!
//! [`client`] is what gateways do, [`faults`] what goes wrong, [`oracle`] what
//! must be true all the same, and [`world`] runs all of it.
//!
//! Not here: what a real node does with its files (`storage-node`), and several
//! nodes and their repair ([`crate::cluster`]).

pub mod client;
pub mod disk;
pub mod faults;
pub mod node;
pub mod oracle;
pub mod socket;
pub mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use protocol::SecretKey;

use crate::cluster::random::{Random, mix};

/// Gateways.
pub const GATEWAYS: u8 = 2;
/// What a gateway does at once.
pub const WORKERS: u8 = 3;
/// The node listens here.
pub const PORT: u16 = 4433;

/// From here on nothing goes wrong any more.
pub const CALM: Duration = Duration::from_secs(90);
/// Until here gateways work on, at least.
pub const END: Duration = Duration::from_secs(120);
/// Everybody gets something done within so long after faults have ended: a
/// connection is given up after 30 s, and dialling takes 3 s.
pub const PROGRESS: Duration = Duration::from_secs(45);
/// The last reading may take so long.
pub const READING: Duration = Duration::from_secs(60);

/// What the node does wrong, so that the test is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// It answers a put before it is synced.
    EarlyStored,
    /// It answers a delete before it is synced.
    EarlyDeleted,
    /// It takes a body that was cut off for the whole.
    KeepsCutBody,
    /// It answers nobody any more once all is well.
    Deaf,
}

/// A hash of what happened, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace(pub u64);

impl Trace {
    /// One thing more.
    pub fn add(&mut self, event: &[u64]) {
        for part in event {
            self.0 = mix(self.0.rotate_left(5) ^ part.wrapping_add(0x9e37_79b9_7f4a_7c15));
        }
    }

    /// One thing more, in words.
    pub fn add_text(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.add(&[byte.into()]));
    }
}

/// What everybody in a simulation shares.
#[derive(Debug)]
pub struct Shared {
    /// The node's disk.
    pub disk: disk::Disk,
    /// What gateways were told.
    pub oracle: oracle::Oracle,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// Everything that gateways saw, in order.
    pub trace: Trace,
    /// The node's chances.
    pub random: Random,
    /// Whether gateways are to read what is there in the end.
    pub is_last_reading: bool,
    /// Workers that are done.
    pub done: u8,
}

/// Shared by one thread; locked for a moment, never while something is awaited.
#[derive(Clone, Debug)]
pub struct State(Arc<Mutex<Shared>>);

impl State {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            disk: disk::Disk::default(),
            oracle: oracle::Oracle::default(),
            counts: BTreeMap::new(),
            trace: Trace::default(),
            random: Random::new(mix(seed) ^ 0x6e6f_6465),
            is_last_reading: false,
            done: 0,
        })))
    }

    /// For a moment.
    pub fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().expect("a panic ends the simulation")
    }

    /// One more of a kind.
    pub fn count(&self, what: &'static str) {
        *self.lock().counts.entry(what).or_default() += 1;
    }
}

/// The key of the node.
pub fn node_key() -> SecretKey {
    SecretKey::from_seed([0x4e; 32])
}

/// The key of a gateway.
pub fn gateway_key(gateway: u8) -> SecretKey {
    SecretKey::from_seed([0x10 + gateway; 32])
}
