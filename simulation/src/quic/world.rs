//! Runs one simulation from its seed to its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::faults::{self, DELAY_MAX, NODE, Plan, REPAIR_RATE, gateway_name};
use super::node::Node;
use super::socket::{QUEUE, SharedTraffic, Traffic};
use super::{CALM, END, Flaw, GATEWAYS, PROGRESS, READING, State, Trace, WORKERS, client};
use crate::cluster::random::{Random, mix};

/// Time goes on in steps of this. Half as long steps take a third longer.
const TICK: Duration = Duration::from_millis(2);

/// How a simulation ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What is wrong.
    pub violation: Option<String>,
    /// A hash of every datagram that came and of all that gateways saw.
    pub trace: u64,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// How long it was, in simulated time.
    pub time: Duration,
    /// After so long without faults everybody had got something done.
    pub recovery: Duration,
}

/// One simulation.
pub fn run(seed: u64, flaw: Flaw) -> Outcome {
    let state = State::new(seed);
    let traffic = SharedTraffic::new(Mutex::new(Traffic::default()));
    let mut plan = Plan::new(Random::new(mix(seed) ^ 0x706c_616e));
    let mut sim = turmoil::Builder::new()
        .rng_seed(mix(seed) ^ 0x6c69_6e65)
        .simulation_duration(END + PROGRESS + READING + Duration::from_secs(10))
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(DELAY_MAX)
        .fail_rate(plan.fail_rate())
        .repair_rate(REPAIR_RATE)
        .udp_capacity(QUEUE)
        .build();
    // So that only a crash shows what it does: until then it reads what it wrote.
    state.lock().disk.trusts_cache = flaw == Flaw::EarlyStored;
    add_node(&mut sim, seed, Node { state: state.clone(), flaw }, &traffic);
    for gateway in 0..GATEWAYS {
        let work = client::run(gateway, seed, state.clone(), traffic.clone());
        sim.client(gateway_name(gateway), async move { Ok(work.await?) });
    }
    let recovery = drive(&mut sim, &mut plan, &state).unwrap_or_else(|what| {
        state.lock().oracle.wrong(what);
        Duration::ZERO
    });
    let time = sim.elapsed();
    drop(sim);
    outcome(&state, &traffic, time, recovery)
}

/// A node whose each life has its own chances.
fn add_node(sim: &mut turmoil::Sim<'_>, seed: u64, node: Node, traffic: &SharedTraffic) {
    let lives = Arc::new(Mutex::new(0));
    let traffic = traffic.clone();
    sim.host(NODE, move || {
        let mut life = lives.lock().expect("no panic");
        *life += 1;
        let words = [0, 1, 2, 3].map(|word: u64| mix(seed ^ *life << 32 ^ word).to_le_bytes());
        let quic_seed = words.concat().try_into().expect("32 bytes");
        let (node, traffic) = (node.clone(), traffic.clone());
        async move { Ok(node.run(quic_seed, traffic).await?) }
    });
}

/// Faults, then calm, then one more crash and the last reading.
/// After how long everybody had got on again.
fn drive(sim: &mut turmoil::Sim<'_>, plan: &mut Plan, state: &State) -> Result<Duration, String> {
    let step = |sim: &mut turmoil::Sim<'_>| {
        let is_finished = sim.step().map_err(|error| error.to_string())?;
        match state.lock().oracle.violation.clone() {
            None => Ok(is_finished),
            Some(violation) => Err(violation),
        }
    };
    while sim.elapsed() < CALM {
        plan.step(sim, state);
        step(sim)?;
    }
    plan.calm(sim);
    let mut recovery = None;
    while recovery.is_none() || state.lock().done < GATEWAYS * WORKERS {
        step(sim)?;
        if recovery.is_none() {
            match state.lock().oracle.lacks_progress() {
                None => recovery = Some(sim.elapsed().saturating_sub(CALM)),
                Some(worker) if sim.elapsed() > CALM + PROGRESS => {
                    return Err(format!("worker {worker:?} gets nothing done though all is well"));
                }
                Some(_) => {}
            }
        }
        if sim.elapsed() > END + PROGRESS {
            return Err("workers do not come to an end though all is well".to_owned());
        }
    }
    faults::crash(sim, state);
    sim.bounce(NODE);
    state.lock().is_last_reading = true;
    let until = sim.elapsed() + READING;
    while !step(sim)? {
        if sim.elapsed() > until {
            return Err("the last reading does not come to an end".to_owned());
        }
    }
    Ok(recovery.unwrap_or_default())
}

fn outcome(state: &State, traffic: &SharedTraffic, time: Duration, recovery: Duration) -> Outcome {
    let mut shared = state.lock();
    let traffic = traffic.lock().expect("no panic");
    let seen = [
        ("datagram sent", traffic.sent),
        ("datagram lost", traffic.sent - traffic.came),
        ("datagram reordered", traffic.reordered),
        ("datagram late", traffic.late),
    ];
    shared.counts.extend(seen);
    let mut trace = Trace::default();
    trace.add(&[traffic.trace.0, shared.trace.0, time.as_micros() as u64]);
    Outcome {
        violation: shared.oracle.violation.clone(),
        trace: trace.0,
        counts: shared.counts.clone(),
        time,
        recovery,
    }
}
