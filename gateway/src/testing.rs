//! A gateway on nodes that keep shards in memory and misbehave as they are
//! told, for the tests of what moves shards.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use erasure::{Codec, Engine};
use futures::{StreamExt, TryStreamExt, stream};
use protocol::ledger_api::{ChainInfo, NodeRecord};
use protocol::message::{Held, Standing, Status, Stored, WINDOW};
use protocol::price::{PriceSheet, Prices};
use protocol::refusal::Refusal;
use protocol::voucher::Voucher;
use protocol::{
    AccountId, ChainId, Epoch, GatewayId, Incarnation, LedgerId, NodeId, Root, SecretKey, ShardId,
};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::auth::credentials::Credentials;
use crate::gateway::{Gateway, now_ms};
use crate::http::metrics::Metrics;
use crate::meta::{
    Account, Attributes, Bucket, Meta, Millis, NewBucket, NewVersion, NodeState, Part,
    Precondition, Segment,
};
use crate::meter::Meter;
use crate::nodes::registry::Registry;
use crate::nodes::{NewShard, NodeError, Nodes, ShardPiece, ShardRange};
use crate::object::cipher::Key;
use crate::object::commit;
use crate::object::download::{self, ReadError};
use crate::object::upload::{UploadError, UploadRequest, upload};
use crate::settings::Settings;
use crate::upkeep::funds::Funds;
use crate::vault::{Progress, Vault};

pub(crate) const ANN: AccountId = AccountId([1; 16]);
pub(crate) const COUNT: u8 = 6;

/// How a node misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Every request fails at once.
    Offline,
    /// Puts and gets never end.
    Stalled,
    /// Gets fail after this many windows.
    BreaksAfter(u64),
    /// Gets deliver bytes that do not verify.
    Lies,
    /// Its lists are empty.
    Hides,
    /// Puts end this much later than they could.
    Slow(Duration),
}

#[derive(Default)]
pub(crate) struct MemoryNodes {
    pub(crate) shards: Mutex<HashMap<(NodeId, ShardId), Bytes>>,
    pub(crate) faults: Mutex<HashMap<NodeId, Fault>>,
    /// The new lives of folders that were wiped.
    pub(crate) wiped: Mutex<HashMap<NodeId, Incarnation>>,
    /// When shards were deleted: what comes late does not bring them back.
    pub(crate) deleted: Mutex<HashMap<(NodeId, ShardId), Millis>>,
}

impl MemoryNodes {
    pub(crate) fn fault(&self, node: NodeId) -> Option<Fault> {
        self.faults.lock().unwrap().get(&node).copied()
    }

    pub(crate) fn holds(&self, node: NodeId) -> usize {
        self.shards.lock().unwrap().keys().filter(|(holder, _)| *holder == node).count()
    }
}

#[async_trait]
impl Nodes for MemoryNodes {
    async fn put(
        &self,
        node: NodeId,
        NewShard { shard, max_len, chosen_ms }: NewShard,
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
        let deleted = self.deleted.lock().unwrap().get(&(node, shard)).copied();
        if deleted.is_some_and(|at| chosen_ms.is_none_or(|chosen| at >= chosen)) {
            return Err(NodeError::Refused(Refusal::Forgotten));
        }
        self.shards.lock().unwrap().insert((node, shard), bytes.into());
        let wiped = self.wiped.lock().unwrap().get(&node).copied();
        let incarnation = wiped.unwrap_or_else(|| incarnation(node));
        Ok(Stored { incarnation, shard, root, len })
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
        self.deleted.lock().unwrap().insert((node, shard), now_ms());
        Ok(self.shards.lock().unwrap().remove(&(node, shard)).is_some())
    }

    async fn list(&self, node: NodeId, from: ShardId, limit: u32) -> Result<Vec<Held>, NodeError> {
        if self.fault(node) == Some(Fault::Offline) {
            return Err(NodeError::Offline("cable".into()));
        }
        let hides = self.fault(node) == Some(Fault::Hides);
        let shards = self.shards.lock().unwrap();
        let mut held: Vec<_> = shards
            .iter()
            .filter(|((holder, shard), _)| *holder == node && *shard >= from && !hides)
            .map(|((_, shard), bytes)| Held {
                shard: *shard,
                len: bytes.len() as u64,
                root: Root(*blake3::hash(bytes).as_bytes()),
            })
            .collect();
        held.sort_by_key(|held| held.shard);
        held.truncate(limit as usize);
        Ok(held)
    }

    async fn status(&self, _: NodeId) -> Result<Status, NodeError> {
        Err(NodeError::Timeout)
    }

    async fn prove(
        &self,
        node: NodeId,
        shard: ShardId,
        root: Root,
        _: u64,
        _: u64,
    ) -> Result<(), NodeError> {
        match self.fault(node) {
            Some(Fault::Offline) => return Err(NodeError::Offline("cable".into())),
            Some(Fault::Stalled) => return Err(NodeError::Timeout),
            Some(Fault::Lies) => return Err(NodeError::Lie("flipped".into())),
            Some(Fault::Slow(by)) => tokio::time::sleep(by).await,
            _ => {}
        }
        match self.shards.lock().unwrap().get(&(node, shard)) {
            Some(bytes) if blake3::hash(bytes).as_bytes() == &root.0 => Ok(()),
            Some(_) => Err(NodeError::Lie("other bytes".into())),
            None => Err(NodeError::Refused(protocol::refusal::Refusal::NotFound)),
        }
    }

    async fn standing(&self, _: NodeId, _: Standing) -> Result<(), NodeError> {
        Ok(())
    }

    async fn voucher(&self, _: NodeId, _: Voucher) -> Result<(), NodeError> {
        Ok(())
    }
}

pub(crate) fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

pub(crate) fn incarnation(node: NodeId) -> Incarnation {
    Incarnation([node.0[0]; 16])
}

/// A gateway with its metadata in `dir`, and six nodes that are up.
pub(crate) async fn gateway_in(dir: &Path, nodes: Arc<MemoryNodes>, master: Key) -> Arc<Gateway> {
    let meta = Meta::open(&dir.join("meta.sqlite")).await.unwrap();
    let registry = Arc::new(Registry::default());
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
        registry.set_state(node(n), NodeState::Active);
    }
    let scheme = "4+2".parse().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let vault = Vault::new(&master);
    // Whatever is committed counts as being on the nodes.
    vault.set_progress(Progress { shipped_ms: Some(1 << 60), ..Progress::default() });
    Arc::new(Gateway {
        access_log: crate::access_log::AccessLog::default(),
        vault,
        codec: Codec::new(scheme, Engine::default()),
        buffer: Arc::new(Semaphore::new(64 << 20)),
        key: SecretKey::from_seed([9; 32]),
        credentials: Credentials::load(&meta, &master).await.unwrap(),
        master,
        meta,
        nodes,
        registry,
        meter: Meter::default(),
        funds: Funds::default(),
        chain: crate::chain::Chain::default(),
        metrics: Metrics::default(),
        settings: Settings {
            dir: dir.into(),
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
            nodes: crate::settings::NodeSettings::default(),
            kms_keys: Vec::new(),
            max_connections: 1,
            buffer_bytes: 64 << 20,
            inline_max: 4096,
            delete_grace: Duration::ZERO,
            upload_lease: Duration::from_secs(60),
            ledger: ledger::LedgerAddr { id: LedgerId([0; 32]), addr: any },
        },
    })
}

pub(crate) struct World {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) nodes: Arc<MemoryNodes>,
    pub(crate) bucket: Bucket,
    _folder: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let nodes = Arc::new(MemoryNodes::default());
        let gateway = gateway_in(folder.path(), nodes.clone(), Key::generate()).await;
        let account = Account {
            id: ANN,
            name: "ann".into(),
            display_name: String::new(),
            email: String::new(),
            created_ms: 0,
            owner: None,
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

    pub(crate) fn set(&self, n: u8, fault: Fault) {
        self.nodes.faults.lock().unwrap().insert(node(n), fault);
    }

    pub(crate) async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), UploadError> {
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

    pub(crate) async fn parts(&self, key: &str) -> Vec<Part> {
        let latest =
            self.gateway.meta.find_version(self.bucket.id, key.as_bytes(), None).await.unwrap();
        self.gateway.meta.parts(latest.unwrap().id).await.unwrap()
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Vec<u8>, ReadError> {
        let parts = self.parts(key).await;
        let size = parts.iter().map(|part| part.size).sum();
        let sealing = self.gateway.bucket_key(&self.bucket).unwrap();
        let body = download::read(&self.gateway, &self.bucket, &sealing, parts, 0..size).await?;
        let pieces: Vec<Bytes> = body.try_collect().await?;
        Ok(pieces.concat())
    }

    /// The only segment of `key`.
    pub(crate) async fn segment(&self, key: &str) -> Segment {
        let content = self.parts(key).await[0].content;
        self.gateway.meta.segment(content, 0).await.unwrap()
    }

    /// Takes every shard from a node, as if its disk had been lost without its
    /// noticing.
    pub(crate) fn empty(&self, n: u8) {
        self.nodes.shards.lock().unwrap().retain(|(holder, _), _| *holder != node(n));
    }

    /// A node whose folder was wiped comes back.
    pub(crate) async fn wipe(&self, n: u8) {
        self.empty(n);
        let status = Status {
            incarnation: Incarnation([n + 100; 16]),
            free: 1 << 40,
            stored: 0,
            shards: 0,
            vouchers: Vec::new(),
        };
        self.nodes.wiped.lock().unwrap().insert(node(n), status.incarnation);
        self.gateway.meta.see_node(node(n), status.incarnation, now_ms()).await.unwrap();
        self.gateway.registry.set_status(node(n), &status);
        self.gateway.registry.set_state(node(n), NodeState::Active);
    }

    /// One more node joins.
    pub(crate) async fn join(&self, n: u8) {
        let mut records: Vec<_> =
            self.gateway.registry.views().into_iter().map(|view| view.record).collect();
        records.push(record(n));
        self.gateway.registry.set_members(records);
        let status = Status {
            incarnation: incarnation(node(n)),
            free: 1 << 40,
            stored: 0,
            shards: 0,
            vouchers: Vec::new(),
        };
        self.gateway.meta.see_node(node(n), status.incarnation, now_ms()).await.unwrap();
        self.gateway.registry.set_status(node(n), &status);
        self.gateway.registry.set_state(node(n), NodeState::Active);
    }

    /// Which node holds which shard of the only segment of `key`.
    pub(crate) async fn holders(&self, key: &str) -> BTreeMap<u8, u8> {
        let segment = self.segment(key).await;
        segment.shards.iter().map(|shard| (shard.index, shard.node.0[0])).collect()
    }
}

pub(crate) fn record(n: u8) -> NodeRecord {
    let addr = format!("127.0.0.1:{}", 1000 + u16::from(n)).parse().unwrap();
    NodeRecord { node: node(n), addr, zone: String::new(), operator: String::new() }
}

pub(crate) fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 253) as u8).collect()
}

/// Long enough for several windows of every shard.
pub(crate) const LONG: usize = 6 << 20;

pub(crate) async fn eventually<F: Future<Output = bool>>(mut ask: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ask().await {
        assert!(Instant::now() < deadline, "this never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A network of one gateway in epoch 7.
pub(crate) fn chain_info(gateway: GatewayId) -> ChainInfo {
    let ledger = SecretKey::from_seed([8; 32]);
    let chain = ChainId([3; 16]);
    let prices = Prices { put_bytes: 2, get_bytes: 3, operations: 5, ..Prices::default() };
    ChainInfo {
        chain,
        ledger: ledger.public().into(),
        open: Epoch(7),
        opened_ms: 0,
        epoch_ms: 1000,
        taking_receipts: vec![Epoch(6)],
        taking_statements: vec![Epoch(5)],
        prices: PriceSheet { chain, from: 0, until: 100, prices }.signed(&ledger),
        gateways: vec![gateway],
        nodes: Vec::new(),
        sheets: Vec::new(),
        curve: None,
        excluded: Vec::new(),
    }
}
