//! Uploads and downloads against nodes that are slow, broken, or gone. Shards
//! are kept in memory behind [`Nodes`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use erasure::{Codec, Engine};
use futures::{StreamExt, TryStreamExt, stream};
use protocol::ledger_api::NodeRecord;
use protocol::message::{Status, Stored, WINDOW};
use protocol::voucher::Voucher;
use protocol::{AccountId, Incarnation, LedgerId, NodeId, SecretKey, ShardId};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use super::cipher::Key;
use super::commit;
use super::download::{self, ReadError};
use super::upload::{UploadError, UploadRequest, upload};
use crate::auth::credentials::Credentials;
use crate::gateway::{Gateway, now_ms};
use crate::http::metrics::Metrics;
use crate::meta::{Account, Attributes, Bucket, Meta, NewBucket, NewVersion, Part, Precondition};
use crate::meter::Meter;
use crate::nodes::registry::Registry;
use crate::nodes::{NodeError, Nodes, ShardPiece, ShardRange};
use crate::settings::Settings;
use crate::upkeep::funds::Funds;

const ANN: AccountId = AccountId([1; 16]);
const COUNT: u8 = 6;

/// How a node misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Every request fails at once.
    Offline,
    /// Puts and gets never end.
    Stalled,
    /// Gets fail after this many windows.
    BreaksAfter(u64),
    /// Gets deliver bytes that do not verify.
    Lies,
    /// Puts end this much later than they could.
    Slow(Duration),
}

#[derive(Default)]
struct MemoryNodes {
    shards: Mutex<HashMap<(NodeId, ShardId), Bytes>>,
    faults: Mutex<HashMap<NodeId, Fault>>,
}

impl MemoryNodes {
    fn fault(&self, node: NodeId) -> Option<Fault> {
        self.faults.lock().unwrap().get(&node).copied()
    }

    fn holds(&self, node: NodeId) -> usize {
        self.shards.lock().unwrap().keys().filter(|(holder, _)| *holder == node).count()
    }
}

#[async_trait]
impl Nodes for MemoryNodes {
    async fn put(
        &self,
        node: NodeId,
        shard: ShardId,
        max_len: u64,
        mut body: mpsc::Receiver<ShardPiece>,
    ) -> Result<Stored, NodeError> {
        match self.fault(node) {
            Some(Fault::Offline) => return Err(NodeError::Offline("cable".into())),
            Some(Fault::Stalled) => std::future::pending().await,
            _ => {}
        }
        let mut bytes = Vec::new();
        let (len, root) = loop {
            match body.recv().await {
                None => return Err(NodeError::Abandoned),
                Some(ShardPiece::Bytes(pieces)) => bytes.extend(pieces.concat()),
                Some(ShardPiece::End { len, root }) => break (len, root),
            }
        };
        assert_eq!(bytes.len() as u64, len);
        assert!(len <= max_len);
        assert_eq!(blake3::hash(&bytes).as_bytes(), &root.0, "the promised root");
        if let Some(Fault::Slow(by)) = self.fault(node) {
            tokio::time::sleep(by).await;
        }
        self.shards.lock().unwrap().insert((node, shard), bytes.into());
        Ok(Stored { incarnation: incarnation(node), shard, root, len })
    }

    async fn get(
        &self,
        node: NodeId,
        range: ShardRange,
        windows: mpsc::Sender<Vec<Bytes>>,
    ) -> Result<(), NodeError> {
        let fault = self.fault(node);
        match fault {
            Some(Fault::Offline) => return Err(NodeError::Offline("cable".into())),
            Some(Fault::Stalled) => std::future::pending().await,
            Some(Fault::Lies) => return Err(NodeError::Lie("flipped".into())),
            _ => {}
        }
        let shard = self.shards.lock().unwrap().get(&(node, range.shard)).cloned();
        let refused = NodeError::Refused(protocol::refusal::Refusal::NotFound);
        let bytes = shard.ok_or(refused)?;
        let mut at = range.bytes.start;
        let mut sent = 0;
        while at < range.bytes.end {
            if fault == Some(Fault::BreaksAfter(sent)) {
                return Err(NodeError::Offline("cut".into()));
            }
            let end = (at + WINDOW).min(range.bytes.end);
            let window = vec![bytes.slice(at as usize..end as usize)];
            if windows.send(window).await.is_err() {
                return Err(NodeError::Abandoned);
            }
            (at, sent) = (end, sent + 1);
        }
        Ok(())
    }

    async fn delete(&self, node: NodeId, shard: ShardId) -> Result<bool, NodeError> {
        Ok(self.shards.lock().unwrap().remove(&(node, shard)).is_some())
    }

    async fn status(&self, _: NodeId) -> Result<Status, NodeError> {
        Err(NodeError::Timeout)
    }

    async fn voucher(&self, _: NodeId, _: Voucher) -> Result<(), NodeError> {
        Ok(())
    }
}

fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn incarnation(node: NodeId) -> Incarnation {
    Incarnation([node.0[0]; 16])
}

struct World {
    gateway: Arc<Gateway>,
    nodes: Arc<MemoryNodes>,
    bucket: Bucket,
    _folder: TempDir,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let meta = Meta::open(&folder.path().join("meta.sqlite")).await.unwrap();
        let registry = Arc::new(Registry::default());
        let nodes = Arc::new(MemoryNodes::default());
        registry.set_members((0..COUNT).map(record).collect());
        for n in 0..COUNT {
            let status = Status {
                incarnation: incarnation(node(n)),
                free: 1 << 40,
                stored: 0,
                shards: 0,
                vouchers: Vec::new(),
            };
            registry.set_status(node(n), &status);
            meta.see_node(node(n), status.incarnation, 0).await.unwrap();
        }
        let master = Key::generate();
        let scheme = "4+2".parse().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let gateway = Arc::new(Gateway {
            access_log: crate::access_log::AccessLog::default(),
            codec: Codec::new(scheme, Engine::default()),
            buffer: Arc::new(Semaphore::new(64 << 20)),
            key: SecretKey::from_seed([9; 32]),
            credentials: Credentials::load(&meta, &master).await.unwrap(),
            master,
            meta,
            nodes: nodes.clone(),
            registry,
            meter: Meter::default(),
            funds: Funds::default(),
            metrics: Metrics::default(),
            settings: Settings {
                dir: folder.path().into(),
                listen: any,
                tls: None,
                tls_listen: None,
                admin_listen: any,
                region: "us-east-1".into(),
                scheme,
                write_quorum: 5,
                engine: Engine::default(),
                domains: Vec::new(),
                website_domains: Vec::new(),
                cors_origins: Vec::new(),
                allow_form_signature_v2: true,
                upkeep: crate::settings::UpkeepSettings::default(),
                kms_keys: Vec::new(),
                max_connections: 1,
                buffer_bytes: 64 << 20,
                inline_max: 4096,
                delete_grace: Duration::ZERO,
                upload_lease: Duration::from_secs(60),
                ledger: ledger::LedgerAddr { id: LedgerId([0; 32]), addr: any },
            },
        });
        let account = Account {
            id: ANN,
            name: "ann".into(),
            display_name: String::new(),
            email: String::new(),
            created_ms: 0,
        };
        gateway.meta.add_account(account).await.unwrap();
        let wrapped_key = gateway.new_bucket_key("photos");
        let new = NewBucket {
            name: "photos".into(),
            account: ANN,
            wrapped_key,
            config: crate::meta::BucketConfig::default(),
            now_ms: 0,
        };
        gateway.meta.create_bucket(new).await.unwrap();
        let bucket = gateway.meta.bucket("photos").await.unwrap();
        Self { gateway, nodes, bucket, _folder: folder }
    }

    fn set(&self, n: u8, fault: Fault) {
        self.nodes.faults.lock().unwrap().insert(node(n), fault);
    }

    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), UploadError> {
        let frames: Vec<_> = bytes.chunks(100_000).map(Bytes::copy_from_slice).collect();
        let body = stream::iter(frames).map(Ok::<_, std::io::Error>);
        let size_hint = Some(bytes.len() as u64);
        let request = UploadRequest { account: ANN, checksum: None, size_hint };
        let uploaded = upload(&self.gateway, request, body).await?;
        let sealing = self.gateway.bucket_key(&self.bucket).unwrap();
        let new = NewVersion {
            bucket: self.bucket.id,
            key: key.into(),
            size: uploaded.written.size,
            etag: uploaded.digested.etag(),
            attributes: Attributes::default(),
            parts: vec![commit::place(&self.gateway, &self.bucket, &sealing, 1, uploaded)],
            owner: Some(ANN),
            events: Vec::new(),
            lock: crate::meta::Lock::default(),
            entropy: 7,
            precondition: Precondition::default(),
            now_ms: now_ms(),
            grace_ms: 0,
        };
        commit::version(&self.gateway, new).await?;
        Ok(())
    }

    async fn parts(&self, key: &str) -> Vec<Part> {
        let latest =
            self.gateway.meta.find_version(self.bucket.id, key.as_bytes(), None).await.unwrap();
        self.gateway.meta.parts(latest.unwrap().id).await.unwrap()
    }

    async fn get(&self, key: &str) -> Result<Vec<u8>, ReadError> {
        let parts = self.parts(key).await;
        let size = parts.iter().map(|part| part.size).sum();
        let sealing = self.gateway.bucket_key(&self.bucket).unwrap();
        let body = download::read(&self.gateway, &self.bucket, &sealing, parts, 0..size).await?;
        let pieces: Vec<Bytes> = body.try_collect().await?;
        Ok(pieces.concat())
    }

    /// Which node holds which shard of the only segment of `key`.
    async fn holders(&self, key: &str) -> BTreeMap<u8, u8> {
        let content = self.parts(key).await[0].content;
        let segment = self.gateway.meta.segment(content, 0).await.unwrap();
        segment.shards.iter().map(|shard| (shard.index, shard.node.0[0])).collect()
    }
}

fn record(n: u8) -> NodeRecord {
    let addr = format!("127.0.0.1:{}", 1000 + u16::from(n)).parse().unwrap();
    NodeRecord { node: node(n), addr, zone: String::new(), operator: String::new() }
}

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 253) as u8).collect()
}

/// Long enough for several windows of every shard.
const LONG: usize = 6 << 20;

async fn eventually<F: Future<Output = bool>>(mut ask: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ask().await {
        assert!(Instant::now() < deadline, "this never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_read_needs_any_four_of_six_shards_whatever_is_wrong_with_two() {
    let faults = [Fault::Offline, Fault::Stalled, Fault::Lies, Fault::BreaksAfter(2)];
    let world = World::start().await;
    let bytes = sample(LONG);
    world.put("k", &bytes).await.unwrap();
    let holders = world.holders("k").await;
    for first in faults {
        for second in faults {
            // Data shards: without them the others must be decoded.
            world.set(holders[&0], first);
            world.set(holders[&2], second);
            let back = timeout(Duration::from_secs(30), world.get("k")).await;
            assert!(back.unwrap().unwrap() == bytes, "{first:?} and {second:?}");
        }
    }
}

#[tokio::test]
async fn nodes_that_were_only_slow_once_are_asked_again_when_others_fail() {
    let world = World::start().await;
    let bytes = sample(LONG);
    world.put("k", &bytes).await.unwrap();
    let holders = world.holders("k").await;
    // Every node breaks off in the middle: each shard must be asked for more
    // than once to get to the end.
    for holder in holders.values() {
        world.set(*holder, Fault::BreaksAfter(3));
    }
    let back = timeout(Duration::from_secs(30), world.get("k")).await;
    assert!(back.unwrap().unwrap() == bytes);
}

#[tokio::test]
async fn beyond_two_lost_shards_a_read_fails_and_says_so() {
    let world = World::start().await;
    world.put("k", &sample(LONG)).await.unwrap();
    for n in [0, 1, 2] {
        world.set(n, Fault::Lies);
    }
    let failed = world.get("k").await;
    assert!(matches!(failed, Err(ReadError::TooFewShards { have: 3, needed: 4 })), "{failed:?}");
    eventually(|| async { world.gateway.meta.repairs_waiting().await.unwrap() == 3 }).await;
}

#[tokio::test]
async fn one_broken_node_does_not_stop_an_upload_and_its_shard_is_queued() {
    for fault in [Fault::Offline, Fault::Stalled] {
        let world = World::start().await;
        world.set(3, fault);
        let bytes = sample(700_000);
        timeout(Duration::from_secs(60), world.put("k", &bytes)).await.unwrap().unwrap();
        assert_eq!(world.nodes.holds(node(3)), 0);
        assert_eq!(world.gateway.meta.repairs_waiting().await.unwrap(), 1);
        assert!(world.get("k").await.unwrap() == bytes);
    }
}

#[tokio::test]
async fn two_broken_nodes_refuse_an_upload_and_nothing_stays() {
    let world = World::start().await;
    world.set(1, Fault::Offline);
    world.set(4, Fault::Offline);
    let refused = world.put("k", &sample(700_000)).await;
    assert!(matches!(refused, Err(UploadError::TooFewNodes { quorum: 5, .. })), "{refused:?}");
    assert_eq!(world.gateway.meta.find_version(world.bucket.id, b"k", None).await.unwrap(), None);
    // What was stored is condemned and collected.
    eventually(|| async {
        crate::upkeep::collect::round(&world.gateway).await.unwrap();
        (0..COUNT).all(|n| world.nodes.holds(node(n)) == 0)
    })
    .await;
}

#[tokio::test]
async fn a_straggler_is_paid_and_its_shard_counts_once_it_is_durable() {
    let world = World::start().await;
    world.set(2, Fault::Slow(Duration::from_millis(1500)));
    world.put("k", &sample(700_000)).await.unwrap();
    assert_eq!(world.gateway.meta.repairs_waiting().await.unwrap(), 1);
    eventually(|| async { world.gateway.meta.repairs_waiting().await.unwrap() == 0 }).await;
    assert_eq!(world.holders("k").await.len(), 6);
    let metered = world.gateway.meter.snapshot();
    let paid: HashSet<u64> = metered.nodes.values().map(|c| c.put_bytes).collect();
    assert_eq!((metered.nodes.len(), paid.len()), (6, 1), "all six the same");
}

#[tokio::test]
async fn a_download_that_is_broken_off_is_vouched_for() {
    let world = World::start().await;
    world.put("k", &sample(24 << 20)).await.unwrap();
    let before = world.gateway.meter.snapshot().accounts[&ANN].get_bytes;
    let parts = world.parts("k").await;
    let sealing = world.gateway.bucket_key(&world.bucket).unwrap();
    let body = download::read(&world.gateway, &world.bucket, &sealing, parts, 0..24 << 20);
    let body = body.await.unwrap();
    let mut body = Box::pin(body);
    let first = body.next().await.unwrap().unwrap().len() as u64;
    drop(body);
    eventually(|| async {
        let after = world.gateway.meter.snapshot().accounts[&ANN].get_bytes;
        after - before > first + 4 * WINDOW
    })
    .await;
}
