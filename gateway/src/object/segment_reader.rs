//! Fetches a range of one segment: the windows of any `data` shards, verified,
//! put together.
//!
//! The nodes that seem fastest are asked first, data shards before parity: with
//! all data shards at hand nothing is decoded. A shard that fails, or is not
//! there after the hedge delay, is replaced by a spare one from the same
//! window on; one that was only slow or out of reach becomes a spare itself. A
//! wrong, missing or slow shard is therefore an erasure, and an error only when
//! fewer than `data` are left.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::message::WINDOW;
use protocol::refusal::Refusal;
use protocol::{AccountId, NodeId, ShardId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::download::ReadError;
use crate::gateway::{Gateway, now_ms};
use crate::meta::{PlacedShard, Segment};
use crate::nodes::registry::Experience;
use crate::nodes::{NodeError, ShardRange};

/// Windows of one shard that may wait to be used.
const AHEAD: usize = 2;

/// Bounds of the time before a spare shard is asked for.
const HEDGE: Range<Duration> = Duration::from_millis(50)..Duration::from_secs(2);

/// A read that gets nowhere for this long fails.
const STUCK: Duration = Duration::from_secs(30);

/// How often a shard may be asked for in one read.
const TRIES: u32 = 3;

/// What a node may have sent of a read that was given up: a stream's window,
/// and the windows that waited here.
const UNDER_WAY: u64 = protocol::quic::STREAM_WINDOW as u64 + (AHEAD as u64 + 1) * WINDOW;

/// The same window of some shards, by shard number.
pub(super) type Window = BTreeMap<u8, Vec<Bytes>>;

/// How the reading of one shard ended.
struct Ended {
    index: u8,
    outcome: Result<(), NodeError>,
}

/// A shard that could be asked for.
#[derive(Clone)]
struct Spare {
    shard: PlacedShard,
    tries: u32,
}

/// One shard being read.
struct Source {
    spare: Spare,
    windows: mpsc::Receiver<Vec<Bytes>>,
    asked: Instant,
    began: u64,
    /// The next window to take, counted from the start of the whole read.
    next: u64,
}

impl Source {
    /// Bytes of it that arrived and were verified, at least. One that stalls is paid
    /// for no more than once again as much: who sends nothing gets nothing.
    fn delivered(&self) -> u64 {
        (self.next - self.began) * WINDOW
    }
}

/// Why shards are read, and who pays for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A customer's request.
    Request(AccountId),
    /// Computing lost shards anew.
    Repair(AccountId),
}

/// A read of the same byte range of a segment's shards.
pub(super) struct SegmentReader {
    gateway: Arc<Gateway>,
    segment: Segment,
    purpose: Purpose,
    needed: usize,
    bytes: Range<u64>,
    /// The number of the next window.
    window: u64,
    /// Since when it is waited for; nothing while it is not asked for.
    waiting_since: Option<Instant>,
    sources: BTreeMap<u8, Source>,
    spares: VecDeque<Spare>,
    readers: JoinSet<Ended>,
    /// Ends that were heard of before their source was found empty.
    ended: BTreeMap<u8, Result<(), NodeError>>,
}

impl SegmentReader {
    /// Begins to read `bytes` of the shards of `segment`.
    pub(super) fn start(
        gateway: Arc<Gateway>,
        segment: Segment,
        purpose: Purpose,
        needed: u8,
        bytes: Range<u64>,
    ) -> Self {
        let mut reader = Self {
            spares: in_order(&gateway, &segment.shards, needed),
            gateway,
            segment,
            purpose,
            needed: needed.into(),
            bytes,
            window: 0,
            waiting_since: None,
            sources: BTreeMap::new(),
            readers: JoinSet::new(),
            ended: BTreeMap::new(),
        };
        for _ in 0..needed {
            reader.ask_spare();
        }
        reader
    }

    /// Asks one more shard, from the present window on. `false` when there is
    /// none left.
    fn ask_spare(&mut self) -> bool {
        let Some(mut spare) = self.spares.pop_front() else { return false };
        spare.tries += 1;
        self.gateway.registry.hedges.asked();
        let index = spare.shard.index;
        let start = self.bytes.start + self.window * WINDOW;
        let range = ShardRange {
            shard: ShardId { segment: self.segment.id, index },
            root: spare.shard.root,
            len: spare.shard.len,
            bytes: start..self.bytes.end,
        };
        let (way, windows) = mpsc::channel(AHEAD);
        let (node, gateway) = (spare.shard.node, self.gateway.clone());
        let (asked, began, next) = (Instant::now(), self.window, self.window);
        self.ended.remove(&index);
        self.sources.insert(index, Source { spare, windows, asked, began, next });
        self.readers.spawn(async move {
            Ended { index, outcome: gateway.nodes.get(node, range, way).await }
        });
        true
    }

    /// The next window of at least `data` shards.
    pub(super) async fn next(&mut self) -> Result<Window, ReadError> {
        let mut window = Window::new();
        let began = Instant::now();
        self.waiting_since = Some(began);
        let deadline = began + STUCK;
        let mut hedge_at = Instant::now() + self.hedge_delay();
        while window.len() < self.needed {
            if self.sources.len() < self.needed && !self.ask_spare() {
                let have = self.sources.len();
                return Err(ReadError::TooFewShards { have, needed: self.needed });
            }
            tokio::select! {
                biased;
                (index, bytes) = next_window(&mut self.sources, self.window) => {
                    match bytes {
                        Some(bytes) => self.take(index, bytes, &mut window),
                        None => self.lose(index).await,
                    }
                }
                () = tokio::time::sleep_until(hedge_at) => {
                    if self.may_hedge() {
                        self.ask_spare();
                    }
                    hedge_at = Instant::now() + self.hedge_delay();
                }
                () = tokio::time::sleep_until(deadline) => return Err(ReadError::Stuck),
            }
        }
        self.window += 1;
        self.waiting_since = None;
        self.drop_laggards();
        Ok(window)
    }

    fn take(&mut self, index: u8, bytes: Vec<Bytes>, window: &mut Window) {
        let source = self.sources.get_mut(&index).expect("the source that delivered");
        let node = source.spare.shard.node;
        if source.next == source.began {
            self.gateway.registry.first_window(node, source.asked.elapsed());
        }
        source.next += 1;
        let len: usize = bytes.iter().map(Bytes::len).sum();
        self.count(node, len as u64);
        window.insert(index, bytes);
    }

    /// Who is behind has been replaced and is not waited for any more. It may
    /// be asked again, last of all.
    fn drop_laggards(&mut self) {
        let window = self.window;
        let behind: Vec<u8> = self
            .sources
            .iter()
            .filter(|(_, source)| source.next < window)
            .map(|(index, _)| *index)
            .collect();
        for index in behind {
            let Some(source) = self.sources.remove(&index) else { continue };
            if source.next == source.began {
                // It lost the race: as slow as this at least.
                let node = source.spare.shard.node;
                self.gateway.registry.first_window(node, source.asked.elapsed());
            }
            self.vouch_for_rest(&source, source.delivered());
            self.keep_as_spare(source.spare);
        }
    }

    fn keep_as_spare(&mut self, spare: Spare) {
        if spare.tries < TRIES {
            self.spares.push_back(spare);
        }
    }

    fn count(&self, node: NodeId, bytes: u64) {
        match self.purpose {
            Purpose::Request(account) => self.gateway.meter.get(node, account, bytes),
            Purpose::Repair(account) => self.gateway.meter.repair(node, account, bytes),
        }
    }

    /// A node that was told to stop has sent more than arrived, and counts it.
    /// It is vouched for, or the node would refuse us in the end; but for no more
    /// than `most`.
    fn vouch_for_rest(&self, source: &Source, most: u64) {
        let taken = self.bytes.start + source.next * WINDOW;
        let rest = self.bytes.end.saturating_sub(taken).min(UNDER_WAY).min(most);
        if rest > 0 {
            self.count(source.spare.shard.node, rest);
        }
    }

    /// A source ended before it delivered the window: find out why.
    async fn lose(&mut self, index: u8) {
        let Some(source) = self.sources.remove(&index) else { return };
        let Some(Err(error)) = self.end_of(index).await else { return };
        let node = source.spare.shard.node;
        tracing::info!(?node, segment = ?self.segment.id, index, %error, "shard not read");
        let (experience, is_lost) = verdict(&error);
        if let Some(experience) = experience {
            self.gateway.registry.experience(node, experience);
        }
        if !is_lost {
            return self.keep_as_spare(source.spare);
        }
        // The client does not wait for what is written down of it.
        let (gateway, segment) = (self.gateway.clone(), self.segment.id);
        tokio::spawn(async move { accuse(&gateway, node, segment, index, &error).await });
    }

    /// How the reader of a source ended whose channel is closed: it is ending.
    async fn end_of(&mut self, index: u8) -> Option<Result<(), NodeError>> {
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            if let Some(outcome) = self.ended.remove(&index) {
                return Some(outcome);
            }
            match timeout_at(deadline, self.readers.join_next()).await {
                Ok(Some(Ok(Ended { index, outcome }))) => {
                    self.ended.insert(index, outcome);
                }
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// What the nodes that are asked usually need at most.
    fn hedge_delay(&self) -> Duration {
        let registry = &self.gateway.registry;
        let usual = self
            .sources
            .values()
            .filter_map(|source| registry.view(source.spare.shard.node))
            .map(|view| registry.hedges.usual(&view.record.zone).unwrap_or(view.first_window * 4))
            .max()
            .unwrap_or(HEDGE.start);
        usual.clamp(HEDGE.start, HEDGE.end)
    }

    /// Spare requests are for the odd slow node. Where there is little buffer left
    /// everything is slow, and they would make it slower. A read that has waited
    /// for very long asks all the same.
    fn may_hedge(&self) -> bool {
        let stuck = self.sources.values().any(|source| source.asked.elapsed() >= HEDGE.end);
        let (free, all) =
            (self.gateway.buffer.available_permits(), self.gateway.settings.buffer_bytes);
        stuck || (free >= all / 4 && self.gateway.registry.hedges.may_hedge())
    }
}

impl Drop for SegmentReader {
    fn drop(&mut self) {
        // A read that is complete has nothing left; one that the client broke
        // off has, and that is no fault of the nodes. One that ends because it waited
        // for long is that of those who did not deliver.
        let is_stalled = self.waiting_since.is_some_and(|since| since.elapsed() >= HEDGE.end);
        for source in self.sources.values() {
            let is_behind = is_stalled && source.next <= self.window;
            self.vouch_for_rest(source, if is_behind { source.delivered() } else { UNDER_WAY });
        }
    }
}

/// Writes down that a shard was not what it should be: it is looked at by
/// repair, and what a node lied about stays with its history.
async fn accuse(
    gateway: &Gateway,
    node: NodeId,
    segment: protocol::SegmentId,
    index: u8,
    error: &NodeError,
) {
    let now = now_ms();
    let queued = gateway.meta.queue_repair(segment, index, now).await;
    let noted = match error {
        NodeError::Lie(_) => {
            let text = format!("read of shard {:?}: {error}", ShardId { segment, index });
            gateway.meta.note_lie(node, text, now).await
        }
        _ => Ok(()),
    };
    if let Err(error) = queued.and(noted) {
        tracing::debug!(%error, "a bad read is not written down");
    }
}

/// What a failed read says about the node, and whether the shard is lost.
fn verdict(error: &NodeError) -> (Option<Experience>, bool) {
    match error {
        NodeError::Lie(_) => (Some(Experience::Bad), true),
        NodeError::Refused(Refusal::NotFound | Refusal::Disk | Refusal::BadRange) => {
            (Some(Experience::Bad), true)
        }
        NodeError::Refused(_) | NodeError::Abandoned | NodeError::Busy => (None, false),
        NodeError::Offline(_) | NodeError::Timeout | NodeError::Unknown => {
            (Some(Experience::Unreachable), false)
        }
    }
}

/// The next window of any source that has not delivered `window` yet; `None`
/// when that source has ended.
async fn next_window(sources: &mut BTreeMap<u8, Source>, window: u64) -> (u8, Option<Vec<Bytes>>) {
    std::future::poll_fn(|cx| {
        for (index, source) in sources.iter_mut() {
            if source.next > window {
                continue;
            }
            if let std::task::Poll::Ready(bytes) = source.windows.poll_recv(cx) {
                return std::task::Poll::Ready((*index, bytes));
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Shards in the order in which to ask for them: those on nodes that are up
/// first, data shards before parity, slow nodes last.
fn in_order(gateway: &Gateway, shards: &[PlacedShard], needed: u8) -> VecDeque<Spare> {
    let mut ranked: Vec<_> = shards
        .iter()
        .map(|shard| {
            let view = gateway.registry.view(shard.node);
            let is_down = view.as_ref().is_none_or(|view| !view.is_up());
            let is_slow = view.is_some_and(|view| view.first_window > HEDGE.start * 4);
            ((is_down, is_slow, shard.index >= needed, shard.index), shard.clone())
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, shard)| Spare { shard, tries: 0 }).collect()
}
