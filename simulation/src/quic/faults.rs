//! What goes wrong, when, and for how long: drawn from the seed.
//!
//! Each line between a gateway and the node has its own troubles, one at a
//! time, and so has the node.

use std::time::Duration;

use turmoil::Sim;

use super::{GATEWAYS, State};
use crate::cluster::random::Random;

/// The name of the simulated node.
pub const NODE: &str = "node";

/// The longest delay of a datagram while all is well.
pub const DELAY_MAX: Duration = Duration::from_millis(10);

/// The probability that a failed line is repaired, at each datagram.
pub const REPAIR_RATE: f64 = 0.5;

/// The name of a simulated gateway.
pub fn gateway_name(gateway: u8) -> String {
    format!("gateway-{gateway}")
}

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing comes through.
    Cut,
    /// Nothing comes through from the gateway.
    CutOut,
    /// Nothing comes through from the node.
    CutBack,
    /// Datagrams take up to half a second, each another time.
    Slow,
    /// At each datagram, the line fails with 5 %, and loses what is on its way.
    Lossy,
    /// Nothing comes through, and later everything at once.
    Held,
    /// The node stops without warning, and starts again.
    Crash,
}

/// Those of a line, and how often one is drawn.
const LINE: [Trouble; 8] = [
    Trouble::Cut,
    Trouble::Cut,
    Trouble::CutOut,
    Trouble::CutBack,
    Trouble::Slow,
    Trouble::Lossy,
    Trouble::Lossy,
    Trouble::Held,
];

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Cut, Self::CutOut, Self::CutBack, Self::Slow, Self::Lossy, Self::Held, Self::Crash];

    /// For counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cut => "partition",
            Self::CutOut => "partition of the way out",
            Self::CutBack => "partition of the way back",
            Self::Slow => "slow line",
            Self::Lossy => "lossy line",
            Self::Held => "held line",
            Self::Crash => "node crash",
        }
    }
}

/// Troubles of one line or of the node, one after another.
struct Lane {
    /// The gateway at the other end of the line; `None` for the node itself.
    gateway: Option<u8>,
    now: Option<Trouble>,
    /// When this changes.
    next: Duration,
}

/// All that goes wrong in one simulation.
pub struct Plan {
    random: Random,
    lanes: Vec<Lane>,
    /// Lines fail at this rate even if nothing is the matter with them.
    fail_rate: f64,
}

impl Plan {
    /// From a seed.
    pub fn new(mut random: Random) -> Self {
        let rates = [0.0, 0.0005, 0.002, 0.01];
        let fail_rate = random.pick(&rates).expect("there are rates");
        let gateways = (0..GATEWAYS).map(Some).chain([None]);
        let lane = |gateway| Lane { gateway, now: None, next: Duration::from_secs(3) };
        Self { random, lanes: gateways.map(lane).collect(), fail_rate }
    }

    /// At what rate lines fail in any case.
    pub fn fail_rate(&self) -> f64 {
        self.fail_rate
    }

    /// What begins or ends now.
    pub fn step(&mut self, sim: &mut Sim<'_>, state: &State) {
        for at in 0..self.lanes.len() {
            if sim.elapsed() < self.lanes[at].next {
                continue;
            }
            let (gateway, now) = (self.lanes[at].gateway, self.lanes[at].now);
            let lasts = match now {
                Some(trouble) => {
                    self.end(sim, gateway, trouble);
                    self.lanes[at].now = None;
                    self.random.between(500, 10_000)
                }
                None => {
                    let line = self.random.pick(&LINE).expect("there are troubles");
                    let trouble = if gateway.is_some() { line } else { Trouble::Crash };
                    begin(sim, state, gateway, trouble);
                    self.lanes[at].now = Some(trouble);
                    self.duration(trouble)
                }
            };
            self.lanes[at].next = sim.elapsed() + Duration::from_millis(lasts);
        }
    }

    fn duration(&mut self, trouble: Trouble) -> u64 {
        match trouble {
            Trouble::Crash => self.random.between(1, 5_000),
            // Longer than a connection bears, now and then.
            _ if self.random.chance(80) => self.random.between(10_000, 36_000),
            _ => self.random.between(100, 6_000),
        }
    }

    /// Whatever is wrong ends, for good.
    pub fn calm(&mut self, sim: &mut Sim<'_>) {
        self.fail_rate = 0.0;
        for at in 0..self.lanes.len() {
            let (gateway, now) = (self.lanes[at].gateway, self.lanes[at].now.take());
            if let Some(trouble) = now {
                self.end(sim, gateway, trouble);
            }
            if let Some(gateway) = gateway {
                sim.set_link_fail_rate(gateway_name(gateway), NODE, 0.0);
                // It may have failed by chance.
                sim.repair(gateway_name(gateway), NODE);
            }
        }
    }

    fn end(&self, sim: &mut Sim<'_>, gateway: Option<u8>, trouble: Trouble) {
        let Some(gateway) = gateway.map(gateway_name) else { return sim.bounce(NODE) };
        match trouble {
            Trouble::Cut | Trouble::CutOut | Trouble::CutBack => sim.repair(gateway.as_str(), NODE),
            Trouble::Slow => sim.set_link_max_message_latency(gateway.as_str(), NODE, DELAY_MAX),
            Trouble::Held => sim.release(gateway.as_str(), NODE),
            Trouble::Lossy | Trouble::Crash => {}
        }
        sim.set_link_fail_rate(gateway, NODE, self.fail_rate);
    }
}

fn begin(sim: &mut Sim<'_>, state: &State, gateway: Option<u8>, trouble: Trouble) {
    state.count(trouble.name());
    let Some(gateway) = gateway.map(gateway_name) else { return crash(sim, state) };
    let gateway = gateway.as_str();
    // Chance would repair what is cut: it rests meanwhile.
    let fail_rate = if trouble == Trouble::Lossy { 0.05 } else { 0.0 };
    sim.set_link_fail_rate(gateway, NODE, fail_rate);
    sim.repair(gateway, NODE);
    match trouble {
        Trouble::Cut => sim.partition(gateway, NODE),
        Trouble::CutOut => sim.partition_oneway(gateway, NODE),
        Trouble::CutBack => sim.partition_oneway(NODE, gateway),
        Trouble::Slow => {
            sim.set_link_max_message_latency(gateway, NODE, Duration::from_millis(500));
        }
        Trouble::Held => sim.hold(gateway, NODE),
        Trouble::Lossy | Trouble::Crash => {}
    }
}

/// The node stops; what it had not synced is lost.
pub fn crash(sim: &mut Sim<'_>, state: &State) {
    sim.crash(NODE);
    let shared = &mut *state.lock();
    let lost = shared.disk.crash();
    *shared.counts.entry("unsynced write lost").or_default() += lost as u64;
    shared.oracle.check_disk(&shared.disk);
}
