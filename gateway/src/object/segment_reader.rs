//! Fetches a range of one segment: the windows of any `data` shards, verified,
//! put together.
//!
//! The nodes that seem fastest are asked first, data shards before parity: with
//! all data shards at hand nothing is decoded. A shard that fails, or is not
//! there after the hedge delay, is replaced by a spare one from the same
//! window on. A wrong, missing or slow shard is therefore an erasure, and an
//! error only when fewer than `data` are left.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::message::WINDOW;
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

/// The same window of some shards, by shard number.
pub(super) type Window = BTreeMap<u8, Vec<Bytes>>;

/// What a reader of one shard reports.
struct Event {
    index: u8,
    outcome: Result<(), NodeError>,
}

/// One shard being read.
struct Source {
    node: NodeId,
    windows: mpsc::Receiver<Vec<Bytes>>,
    asked: Instant,
    /// Windows taken so far, counted from the start of the whole read.
    next: u64,
}

/// A read of the same byte range of a segment's shards.
pub(super) struct SegmentReader {
    gateway: Arc<Gateway>,
    segment: Segment,
    account: AccountId,
    needed: usize,
    bytes: Range<u64>,
    /// The number of the next window.
    window: u64,
    sources: BTreeMap<u8, Source>,
    spares: VecDeque<PlacedShard>,
    readers: JoinSet<Event>,
}

impl SegmentReader {
    /// Begins to read `bytes` of the shards of `segment`.
    pub(super) fn start(
        gateway: Arc<Gateway>,
        segment: Segment,
        account: AccountId,
        needed: u8,
        bytes: Range<u64>,
    ) -> Self {
        let mut reader = Self {
            spares: in_order(&gateway, &segment.shards, needed),
            gateway,
            segment,
            account,
            needed: needed.into(),
            bytes,
            window: 0,
            sources: BTreeMap::new(),
            readers: JoinSet::new(),
        };
        for _ in 0..needed {
            reader.ask_spare();
        }
        reader
    }

    /// Asks one more shard, from the present window on. `false` when there is
    /// none left.
    fn ask_spare(&mut self) -> bool {
        let Some(shard) = self.spares.pop_front() else { return false };
        let start = self.bytes.start + self.window * WINDOW;
        let range = ShardRange {
            shard: ShardId { segment: self.segment.id, index: shard.index },
            root: shard.root,
            len: shard.len,
            bytes: start..self.bytes.end,
        };
        let (way, windows) = mpsc::channel(AHEAD);
        let source = Source { node: shard.node, windows, asked: Instant::now(), next: self.window };
        self.sources.insert(shard.index, source);
        let gateway = self.gateway.clone();
        self.readers.spawn(async move {
            let outcome = gateway.nodes.get(shard.node, range, way).await;
            Event { index: shard.index, outcome }
        });
        true
    }

    /// The next window of at least `data` shards.
    pub(super) async fn next(&mut self) -> Result<Window, ReadError> {
        let mut window = Window::new();
        let deadline = Instant::now() + STUCK;
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
                    self.ask_spare();
                    hedge_at = Instant::now() + self.hedge_delay();
                }
                () = tokio::time::sleep_until(deadline) => return Err(ReadError::Stuck),
            }
        }
        // Who is behind now has been replaced and is not waited for any more.
        self.window += 1;
        let window_now = self.window;
        self.sources.retain(|_, source| source.next >= window_now);
        Ok(window)
    }

    fn take(&mut self, index: u8, bytes: Vec<Bytes>, window: &mut Window) {
        let source = self.sources.get_mut(&index).expect("the source that delivered");
        source.next += 1;
        let len: usize = bytes.iter().map(Bytes::len).sum();
        self.gateway.meter.get(source.node, self.account, len as u64);
        if self.window == 0 {
            self.gateway.registry.first_window(source.node, source.asked.elapsed());
        }
        window.insert(index, bytes);
    }

    /// A source ended before it delivered the window: find out why.
    async fn lose(&mut self, index: u8) {
        let Some(source) = self.sources.remove(&index) else { return };
        let mut outcome = None;
        // Its reader is ending; others that end meanwhile were replaced before.
        while let Ok(Some(Ok(event))) =
            timeout_at(Instant::now() + Duration::from_secs(1), self.readers.join_next()).await
        {
            if event.index == index {
                outcome = Some(event.outcome);
                break;
            }
        }
        let Some(Err(error)) = outcome else { return };
        tracing::info!(node = ?source.node, segment = ?self.segment.id, index, %error, "shard not read");
        let (experience, repair) = verdict(&error);
        self.gateway.registry.experience(source.node, experience);
        if repair {
            let queued = self.gateway.meta.queue_repair(self.segment.id, index, now_ms()).await;
            if let Err(error) = queued {
                tracing::debug!(%error, "repair not queued");
            }
        }
    }

    fn hedge_delay(&self) -> Duration {
        let usual = self
            .sources
            .values()
            .filter_map(|source| self.gateway.registry.view(source.node))
            .map(|view| view.first_window)
            .max()
            .unwrap_or(HEDGE.start);
        (usual * 4).clamp(HEDGE.start, HEDGE.end)
    }
}

/// What a failed read says about the node, and whether the shard is lost.
fn verdict(error: &NodeError) -> (Experience, bool) {
    use protocol::refusal::Refusal;
    match error {
        NodeError::Lie(_) => (Experience::Bad, true),
        NodeError::Refused(Refusal::NotFound | Refusal::Disk | Refusal::BadRange) => {
            (Experience::Bad, true)
        }
        NodeError::Refused(_) | NodeError::Abandoned => (Experience::Good, false),
        NodeError::Offline(_) | NodeError::Timeout | NodeError::Unknown => {
            (Experience::Unreachable, false)
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
fn in_order(gateway: &Gateway, shards: &[PlacedShard], needed: u8) -> VecDeque<PlacedShard> {
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
    ranked.into_iter().map(|(_, shard)| shard).collect()
}
