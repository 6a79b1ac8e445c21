//! What a gateway does: it puts, reads, lists and deletes shards by the same
//! code as a real one, and compares what it is told with what it knows.
//!
//! Each worker has shards of its own, and does one thing after another.

use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gateway::nodes::quic::QuicNodes;
use gateway::nodes::registry::Registry;
use gateway::nodes::{NewShard, NodeError, Nodes, ShardPiece, ShardRange};
use protocol::ledger_api::NodeRecord;
use protocol::message::{LIST_MAX, WINDOW};
use protocol::refusal::Refusal;
use protocol::tree::GROUP;
use protocol::{NodeId, SegmentId, ShardId};
use quinn::EndpointConfig;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::oracle::{Delete, Put, Told};
use super::socket::{SharedTraffic, endpoint, now};
use super::{CALM, END, PORT, PROGRESS, State, WORKERS, gateway_key, node_key};
use crate::cluster::random::{Random, mix};

/// Bytes of a shard that go out at once.
const PIECE: usize = 48 * 1024;

/// How often the last reading tries: the first may meet a connection that the
/// last crash has ended.
const TRIES: usize = 5;

/// A gateway.
struct Gateway {
    number: u8,
    nodes: QuicNodes,
    node: NodeId,
    state: State,
}

/// Works until the end, and then reads what must be there.
pub async fn run(number: u8, seed: u64, state: State, traffic: SharedTraffic) -> io::Result<()> {
    let words = [0, 1, 2, 3].map(|word| mix(seed ^ u64::from(number) << 8 ^ word).to_le_bytes());
    let quic_seed = words.concat().try_into().expect("32 bytes");
    let endpoint = endpoint(0, EndpointConfig::default(), None, quic_seed, traffic).await?;
    let node: NodeId = node_key().public().into();
    let registry = Arc::new(Registry::default());
    registry.set_members(vec![NodeRecord {
        node,
        addr: (turmoil::lookup("node"), PORT).into(),
        zone: "z".into(),
        operator: "o".into(),
    }]);
    let nodes = QuicNodes::over(gateway_key(number), registry, endpoint);
    let gateway = Rc::new(Gateway { number, nodes, node, state });

    let workers = (0..WORKERS).map(|worker| {
        let random = Random::new(mix(seed) ^ mix(u64::from(number) << 8 | u64::from(worker)));
        let worker = Worker { gateway: gateway.clone(), number: worker, random, mine: Vec::new() };
        tokio::task::spawn_local(worker.run())
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.map_err(io::Error::other)?;
    }
    while !gateway.state.lock().is_last_reading {
        sleep(Duration::from_millis(50)).await;
    }
    gateway.read_all().await;
    gateway.nodes.close();
    Ok(())
}

impl Gateway {
    /// Notes what happened.
    fn trace(&self, what: &str, shard: Option<ShardId>, result: &Result<(), NodeError>) {
        let how = match result {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        let mut state = self.state.lock();
        let at = now().as_micros() as u64;
        state.trace.add(&[at, u64::from(self.number)]);
        state.trace.add_text(&format!("{what} {shard:?} {how}"));
        let count = match result {
            Ok(()) => "done",
            Err(NodeError::Lie(_)) => "lie noticed",
            Err(NodeError::Refused(_)) => "refused",
            Err(_) => "failed",
        };
        *state.counts.entry(count).or_default() += 1;
        if let Err(NodeError::Lie(_)) = result
            && now() > CALM + PROGRESS
        {
            state.oracle.wrong(format!("{what} {shard:?}: {how}, though nobody lied"));
        }
    }

    fn told(&self, shard: ShardId) -> Told {
        self.state.lock().oracle.told[&shard].clone()
    }

    fn update(&self, shard: ShardId, change: impl FnOnce(&mut Told)) {
        self.state.lock().oracle.told.get_mut(&shard).map(change).expect("it was put");
    }

    async fn read(&self, shard: ShardId, bytes: Range<u64>) -> Result<(), NodeError> {
        let before = self.told(shard);
        let range = ShardRange { shard, root: before.root, len: before.len, bytes: bytes.clone() };
        let (windows, mut verified) = mpsc::channel::<Vec<Bytes>>(2);
        let take = async {
            let mut got = Vec::new();
            while let Some(pieces) = verified.recv().await {
                pieces.iter().for_each(|piece| got.extend_from_slice(piece));
            }
            got
        };
        let (result, got) = tokio::join!(self.nodes.get(self.node, range, windows), take);
        let oracle = &mut self.state.lock().oracle;
        match &result {
            Ok(()) => oracle.check_read(&before, shard, &bytes, &got),
            Err(NodeError::Refused(Refusal::NotFound)) => {
                if oracle.told[&shard].is_due() {
                    oracle.wrong(format!("{shard:?} was stored and is not found"));
                }
            }
            Err(NodeError::Refused(refusal)) => {
                oracle.wrong(format!("reading {shard:?}: {refusal}"));
            }
            Err(_) => {}
        }
        result
    }

    async fn list(&self) -> Result<(), NodeError> {
        let before = self.state.lock().oracle.before_list(self.number);
        let held = self.nodes.list(self.node, ShardId::FIRST, LIST_MAX).await?;
        self.state.lock().oracle.check_list(self.number, &before, &held);
        Ok(())
    }

    /// Reads everything that must be there, after the last crash.
    async fn read_all(&self) {
        let (due, _) = self.state.lock().oracle.before_list(self.number);
        self.insist("last list", None, || self.list()).await;
        for shard in due {
            let len = self.told(shard).len;
            self.insist("last get", Some(shard), || self.read(shard, 0..len)).await;
        }
    }

    async fn insist<F>(&self, what: &str, shard: Option<ShardId>, mut ask: impl FnMut() -> F)
    where
        F: Future<Output = Result<(), NodeError>>,
    {
        for _ in 0..TRIES {
            let result = ask().await;
            self.trace(what, shard, &result);
            if result.is_ok() {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
        self.state.lock().oracle.wrong(format!("{what} {shard:?} fails though all is well"));
    }
}

/// One of the things that a gateway does at the same time.
struct Worker {
    gateway: Rc<Gateway>,
    number: u8,
    random: Random,
    mine: Vec<ShardId>,
}

/// How a put is to be ended by the one who began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whim {
    /// It goes on to its end.
    No,
    /// The body stops before its end.
    GiveUp,
    /// Nobody waits any longer, so many milliseconds after it began.
    Drop(u64),
}

impl Worker {
    async fn run(mut self) {
        while now() < END || !self.has_progress() {
            sleep(Duration::from_millis(self.random.between(20, 600))).await;
            match self.random.below(100) {
                0..45 => self.put().await,
                45..80 => self.get().await,
                80..90 => self.delete().await,
                _ => {
                    let result = self.gateway.list().await;
                    self.gateway.trace("list", None, &result);
                }
            }
        }
        self.gateway.state.lock().done += 1;
    }

    fn has_progress(&self) -> bool {
        let oracle = &self.gateway.state.lock().oracle;
        let me = (self.gateway.number, self.number);
        oracle.has_put.contains(&me) && oracle.has_read.contains(&me)
    }

    /// A new shard, or one of which nobody knows whether it was stored; and
    /// whether it is new.
    fn next_shard(&mut self) -> (ShardId, bool) {
        let unknown = |shard: &ShardId| {
            let told = self.gateway.told(*shard);
            (told.put, told.delete) == (Put::Unknown, Delete::No)
        };
        let retry: Vec<ShardId> = self.mine.iter().copied().filter(unknown).collect();
        if self.random.chance(500)
            && let Some(shard) = self.random.pick(&retry)
        {
            self.gateway.state.count("put again");
            return (shard, false);
        }
        let mut segment = [0; 16];
        segment[..2].copy_from_slice(&[self.gateway.number, self.number]);
        segment[8..].copy_from_slice(&(self.mine.len() as u64).to_be_bytes());
        let shard = ShardId { segment: SegmentId(segment), index: 0 };
        let len = match self.random.below(100) {
            0..70 => self.random.between(1, 24 * 1024),
            70..96 => self.random.between(24 * 1024, 120 * 1024),
            _ => self.random.between(WINDOW, 2 * WINDOW + 5_000),
        };
        let told = Told::new(self.gateway.number, self.random.bits(), len);
        self.gateway.state.lock().oracle.told.insert(shard, told);
        self.mine.push(shard);
        (shard, true)
    }

    async fn put(&mut self) {
        let begun = now();
        let (shard, is_new) = self.next_shard();
        let whim = match self.random.below(100) {
            // A retry that is given up says nothing about the attempt before.
            0..8 if is_new => Whim::GiveUp,
            8..16 if is_new => Whim::Drop(self.random.below(300)),
            _ => Whim::No,
        };
        let told = self.gateway.told(shard);
        let (pieces, body) = mpsc::channel(1);
        let has_ended = AtomicBool::new(false);
        let feed = feed(&told, whim, self.random.clone(), pieces, &has_ended);
        self.random.bits();
        let put = async {
            let new = NewShard { shard, max_len: told.len, chosen_ms: None };
            let put = self.gateway.nodes.put(self.gateway.node, new, body);
            tokio::join!(put, feed).0
        };
        let result = match whim {
            Whim::Drop(ms) => match timeout(Duration::from_millis(ms), put).await {
                Ok(result) => result,
                Err(_) => Err(NodeError::Abandoned),
            },
            Whim::No | Whim::GiveUp => put.await,
        };
        let result = result.map(|_| ());
        self.gateway.trace("put", Some(shard), &result);
        self.note_put(shard, begun, is_new && !has_ended.load(Ordering::Relaxed), &result);
    }

    fn note_put(
        &self,
        shard: ShardId,
        begun: Duration,
        is_given_up: bool,
        result: &Result<(), NodeError>,
    ) {
        let state = &mut *self.gateway.state.lock();
        match result {
            Ok(()) if is_given_up => {
                state.oracle.wrong(format!("{shard:?} was stored before its end"));
            }
            Ok(()) => {
                *state.counts.entry("stored").or_default() += 1;
                state.oracle.told.get_mut(&shard).expect("it was put").put = Put::Stored;
                if begun >= CALM {
                    state.oracle.has_put.insert((self.gateway.number, self.number));
                }
            }
            Err(NodeError::Refused(refusal)) => {
                state.oracle.wrong(format!("putting {shard:?}: {refusal}"));
            }
            Err(_) if is_given_up => {
                *state.counts.entry("put given up").or_default() += 1;
                state.oracle.told.get_mut(&shard).expect("it was put").put = Put::GivenUp;
            }
            Err(_) => {}
        }
    }

    async fn get(&mut self) {
        let Some(shard) = self.random.pick(&self.mine) else { return };
        let begun = now();
        let len = self.gateway.told(shard).len;
        // Whole groups, as a real gateway reads: windows start at groups.
        let start = self.random.below(len.div_ceil(GROUP)) * GROUP;
        let end = (start + (1 + self.random.below(len.div_ceil(GROUP))) * GROUP).min(len);
        let is_dropped = self.random.chance(60);
        let patience = if is_dropped { self.random.below(100) } else { 600_000 };
        let read = self.gateway.read(shard, start..end);
        let result = timeout(Duration::from_millis(patience), read).await;
        let result = result.unwrap_or(Err(NodeError::Abandoned));
        self.gateway.trace("get", Some(shard), &result);
        if result.is_ok() {
            self.gateway.state.count("read");
            if begun >= CALM {
                let me = (self.gateway.number, self.number);
                self.gateway.state.lock().oracle.has_read.insert(me);
            }
        }
    }

    async fn delete(&mut self) {
        let Some(shard) = self.random.pick(&self.mine) else { return };
        let before = self.gateway.told(shard);
        if before.put == Put::GivenUp {
            return;
        }
        if before.delete == Delete::No {
            self.gateway.update(shard, |told| told.delete = Delete::Unknown);
        }
        let result = self.gateway.nodes.delete(self.gateway.node, shard).await;
        if let Ok(existed) = result {
            self.gateway.state.count("deleted");
            self.gateway.update(shard, |told| told.delete = Delete::Done);
            if before.is_due() && !existed {
                let what = format!("{shard:?} was stored and did not exist");
                self.gateway.state.lock().oracle.wrong(what);
            }
        }
        self.gateway.trace("delete", Some(shard), &result.map(|_| ()));
    }
}

/// Gives the body of a put, at some pace, until its end or until it is given up.
async fn feed(
    told: &Told,
    whim: Whim,
    mut random: Random,
    pieces: mpsc::Sender<ShardPiece>,
    has_ended: &AtomicBool,
) {
    let bytes = Bytes::from(told.bytes());
    let stop = match whim {
        Whim::GiveUp => random.below(told.len) as usize,
        _ => bytes.len(),
    };
    let is_slow = random.chance(100);
    let mut at = 0;
    while at < stop {
        let end = (at + PIECE).min(stop);
        if pieces.send(ShardPiece::Bytes(vec![bytes.slice(at..end)])).await.is_err() {
            return;
        }
        at = end;
        if is_slow {
            sleep(Duration::from_millis(random.below(400))).await;
        }
    }
    if whim != Whim::GiveUp {
        has_ended.store(true, Ordering::Relaxed);
        // An error means that the put has failed, and says why itself.
        let _ = pieces.send(ShardPiece::End { len: told.len, root: told.root }).await;
    }
}
