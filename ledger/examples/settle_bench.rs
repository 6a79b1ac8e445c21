//! How dear it is to verify and settle receipts, and how fast a ledger grows.
//!
//! ```text
//! cargo run --release -p ledger --example settle_bench -- [RECEIPTS] [GATEWAYS] [LANES]
//! ```
//! Signs RECEIPTS lane receipts of GATEWAYS gateways with LANES lanes each, and
//! then, which is what is measured: reads them from their bytes, verifies both
//! signatures of each strictly on all cores, takes them into blocks as the
//! writer does (rules, log, roots, signature), takes the statements, and seals
//! the epoch. Not measured: the disk and the network.

use std::time::Instant;

use ledger::chain::Chain;
use ledger::entry::{Entry, Verified};
use ledger::{DEFAULT_PRICES, Economy, Genesis, Params};
use protocol::ledger_api::Submission;
use protocol::price::{Amount, CREDIT, Counters};
use protocol::registration::{Invite, Registration};
use protocol::statement::{
    Reservation, Revision, TransferId, UNSIGNED, UsageStatement, gateway_account,
};
use protocol::voucher::VoucherBody;
use protocol::wire::Wire;
use protocol::{ChainId, Epoch, SecretKey};

const CHAIN: ChainId = ChainId([7; 16]);
const START: u64 = 1_700_000_000_000;
const EPOCH: u64 = 600_000;
const MIB: u64 = 1 << 20;

fn key(kind: u8, n: usize) -> SecretKey {
    let mut seed = [kind; 32];
    seed[..8].copy_from_slice(&(n as u64).to_le_bytes());
    SecretKey::from_seed(seed)
}

/// CPU seconds of this process, all threads.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit(')').next().expect("a name");
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

struct Bench {
    chain: Chain,
    sequencer: SecretKey,
    now_ms: u64,
    bytes: u64,
    blocks: u64,
}

impl Bench {
    fn new(gateways: usize) -> Self {
        let sequencer = key(1, 0);
        let params = Params::for_epoch(EPOCH, Amount(1_000_000_000 * CREDIT));
        let economy = Economy::for_epoch(EPOCH, Amount::ZERO);
        let ids = (0..gateways).map(|n| key(2, n).public().into()).collect();
        let genesis =
            Genesis::new(CHAIN, &sequencer, ids, START, params, economy, DEFAULT_PRICES).unwrap();
        let chain = Chain::new(genesis).unwrap();
        Self { chain, sequencer, now_ms: START, bytes: 0, blocks: 0 }
    }

    /// Lets time pass, an epoch at a time as in a ledger that runs.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(EPOCH) {
            self.now_ms += EPOCH;
            self.take([]);
        }
    }

    /// Takes entries in, in as many blocks as it takes.
    fn take(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let mut entries = entries.into_iter().peekable();
        loop {
            self.chain.begin(self.now_ms);
            let (mut size, mut count) = (0, 0);
            while let Some(entry) = self.chain.state().due() {
                self.chain.add(&entry).expect("what is due may follow");
                count += 1;
                size += entry.to_wire().len();
            }
            while let Some(entry) = entries.peek() {
                let len = entry.to_wire().len();
                if count == ledger::block::BLOCK_ENTRIES_MAX
                    || size + len > ledger::block::BLOCK_BYTES_MAX
                {
                    break;
                }
                self.chain.add(entry).expect("a good entry");
                entries.next();
                count += 1;
                size += len;
            }
            if count == 0 {
                return;
            }
            let header = self.chain.finish();
            let finality = header.signed(&self.sequencer);
            self.bytes += (size + header.to_wire().len() + finality.to_wire().len()) as u64;
            self.blocks += 1;
            if entries.peek().is_none() {
                return;
            }
        }
    }
}

fn registration(n: usize) -> Entry {
    let gateway = key(2, 0);
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&(n as u64).to_le_bytes());
    let ledger_addr = "127.0.0.1:4400".parse().unwrap();
    let invite = Invite {
        chain: CHAIN,
        ledger: key(1, 0).public().into(),
        ledger_addr,
        gateway: gateway.public().into(),
        nonce,
        expires_ms: START + EPOCH,
        signature: UNSIGNED,
    };
    let node = key(3, n);
    let registration = Registration {
        chain: CHAIN,
        node: node.public().into(),
        addr: ledger_addr,
        zone: "z".into(),
        operator: "o".into(),
        serial: 1,
        invite: Some(invite.signed(&gateway)),
        signature: UNSIGNED,
    };
    Entry::Submitted(Submission::Register(Box::new(registration.signed(&node))))
}

/// What a node and a gateway moved in ten minutes at 10 MiB/s, shared by lanes.
fn traffic(lanes: usize) -> Counters {
    let bytes = 600 * 10 * MIB / lanes as u64;
    Counters { put_bytes: bytes / 2, get_bytes: bytes / 2, operations: 100, ..Counters::default() }
}

fn receipt(bench: &Bench, node: usize, gateway: usize, lane: usize, lanes: usize) -> Vec<u8> {
    let sheet = bench.chain.state().genesis().price_sheet().sheet;
    let (gateway, node) = (key(2, gateway), key(3, node));
    let counters = traffic(lanes);
    let body = VoucherBody {
        chain: CHAIN,
        gateway: gateway.public().into(),
        node: node.public().into(),
        epoch: Epoch(0),
        lane: u16::try_from(lane).unwrap(),
        counters,
        amount: counters.amount(&sheet.prices),
        price_sheet: sheet.id(),
    };
    let receipt = body.signed(&gateway).countersigned(&node);
    Entry::Submitted(Submission::Receipt(Box::new(receipt))).to_wire()
}

/// The amount that a gateway owes, and what sets it aside and states it.
fn statements(gateway: usize, owed: Amount) -> (Entry, Entry) {
    let key = key(2, gateway);
    let (id, account) = (key.public().into(), gateway_account(key.public().into()));
    let reservation = Reservation {
        chain: CHAIN,
        gateway: id,
        account,
        id: TransferId([1; 16]),
        amount: owed,
        signature: UNSIGNED,
    };
    let counters = Counters { operations: u64::MAX, get_bytes: u64::MAX, ..Counters::default() };
    let usage = UsageStatement {
        chain: CHAIN,
        gateway: id,
        account,
        epoch: Epoch(0),
        revision: Revision(1),
        counters,
        amount: owed,
        signature: UNSIGNED,
    };
    (
        Entry::Submitted(Submission::Reserve(Box::new(reservation.signed(&key)))),
        Entry::Submitted(Submission::Usage(Box::new(usage.signed(&key)))),
    )
}

fn verified(encoded: &[Vec<u8>], threads: usize) -> Vec<Entry> {
    let each = encoded.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let parts: Vec<_> = encoded
            .chunks(each)
            .map(|part| {
                scope.spawn(move || {
                    let read = |bytes: &Vec<u8>| Entry::from_canonical(bytes).expect("canonical");
                    let verify = |entry| Verified::new(entry).expect("good").into_entry();
                    part.iter().map(|bytes| verify(read(bytes))).collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().expect("no panic")).collect()
    })
}

fn main() {
    let argument = |n: usize, default: usize| {
        std::env::args().nth(n).map_or(default, |text| text.parse().expect("a number"))
    };
    let (receipts, gateways, lanes) =
        (argument(1, 1_000_000), argument(2, 10), argument(3, 64).min(64));
    let nodes = receipts.div_ceil(gateways * lanes);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut bench = Bench::new(gateways);
    bench.take((0..nodes).map(registration));

    println!("signing {receipts} receipts of {nodes} nodes, {gateways} gateways, {lanes} lanes");
    let places = (0..receipts).map(|n| (n / (gateways * lanes), n / lanes % gateways, n % lanes));
    let encoded: Vec<Vec<u8>> =
        places.map(|(node, gateway, lane)| receipt(&bench, node, gateway, lane, lanes)).collect();
    let moved = traffic(lanes);
    let owed_each = moved.amount(&DEFAULT_PRICES).0;
    let (mut reserves, mut usages) = (Vec::new(), Vec::new());
    for gateway in 0..gateways {
        let count = (0..receipts).filter(|n| n / lanes % gateways == gateway).count() as u128;
        let (reserve, usage) = statements(gateway, Amount(owed_each * count));
        reserves.push(reserve);
        usages.push(usage);
    }
    bench.take(reserves);
    bench.pass(EPOCH);
    let before = bench.bytes;

    let (cpu, began) = (cpu_seconds(), Instant::now());
    let entries = verified(&encoded, threads);
    let (verify_cpu, verify_wall) = (cpu_seconds() - cpu, began.elapsed().as_secs_f64());
    bench.take(entries);
    let params = bench.chain.state().genesis().params.clone();
    bench.pass(params.receipts_ms);
    bench.take(usages);
    bench.pass(params.statements_ms);
    let (all_cpu, all_wall) = (cpu_seconds() - cpu, began.elapsed().as_secs_f64());

    let state = bench.chain.state();
    let summary = state.summary(Epoch(0)).expect("the epoch is sealed");
    assert!(summary.void.is_empty() && summary.debited.0 == owed_each * receipts as u128);
    let count = receipts as f64;
    println!(
        "verified: {verify_cpu:.1} CPU-s, {verify_wall:.1} s; {:.0} a CPU-s",
        count / verify_cpu
    );
    println!(
        "verified and sealed: {all_cpu:.1} CPU-s, {all_wall:.1} s; {:.0} a CPU-s",
        count / all_cpu
    );
    let bytes = (bench.bytes - before) as f64;
    let gib = count * moved.traffic() as f64 / (1u64 << 30) as f64;
    println!("log: {:.0} bytes a receipt in {} blocks", bytes / count, bench.blocks);
    println!("log: {:.1} bytes for each GiB moved", bytes / gib);
    // One lane a pair of gateway and node, as gateways use now.
    let epochs = 365.25 * 24.0 * 6.0;
    let year = bytes / count * 1000.0 * 10.0 * epochs / 1e9;
    println!("growth: {year:.0} GB a year for 1,000 nodes x 10 gateways, all busy in each epoch");
}
