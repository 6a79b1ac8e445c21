//! A network of one node for tests: a ledger that says what the test tells it
//! to, and a gateway that speaks the protocol by hand. Real QUIC on loopback.

mod slow;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::frame::{self, FrameError, LEDGER_FRAME_MAX, NODE_FRAME_MAX};
use protocol::ledger_api::{
    ChainInfo, LedgerRequest, NodeRecord, Outcomes, QueryAnswer, Submission,
};
use protocol::message::{
    Deleted, GetHeader, Held, Inventory, Request, Status, Stored, VoucherTaken,
};
use protocol::price::{Counters, PriceSheet, Prices};
use protocol::refusal::Refusal;
use protocol::registration::Invite;
use protocol::statement::UNSIGNED;
use protocol::tls::Admission;
use protocol::voucher::{Receipt, Voucher, VoucherBody};
use protocol::{ChainId, Epoch, NodeId, Root, SecretKey, SegmentId, ShardId, quic, tree};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use storage_node::{LedgerAddr, Node, RunError, Settings, VolumeSettings};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use slow::{Get, Put};

pub const SHARD: ShardId = ShardId { segment: SegmentId([0xab; 16]), index: 3 };
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const CHAIN: ChainId = ChainId([3; 16]);

pub fn gateway_key() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

pub fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

pub fn root(bytes: &[u8]) -> Root {
    Root(*blake3::hash(bytes).as_bytes())
}

/// A condition that does not come true in this time never will.
pub async fn soon<T>(what: &str, condition: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(20), condition).await;
    waited.unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// What the ledger says, and what it was told.
pub struct Ledger {
    key: SecretKey,
    addr: SocketAddr,
    endpoint: Endpoint,
    pub info: Arc<watch::Sender<ChainInfo>>,
    told: Arc<watch::Sender<Vec<Submission>>>,
    /// What it says is claimed of the node.
    pub claims: Claims,
}

impl Ledger {
    /// A ledger with one gateway, in epoch 7.
    pub fn start() -> Self {
        let key = SecretKey::from_seed([9; 32]);
        let prices = Prices { put_bytes: 2, get_bytes: 3, ..Prices::default() };
        let info = ChainInfo {
            chain: CHAIN,
            ledger: key.public().into(),
            open: Epoch(7),
            opened_ms: 0,
            epoch_ms: 600_000,
            taking_receipts: Vec::new(),
            taking_statements: Vec::new(),
            prices: PriceSheet { chain: CHAIN, from: 0, until: 100, prices }.signed(&key),
            gateways: vec![gateway_key().public().into()],
            nodes: Vec::new(),
            sheets: Vec::new(),
            curve: None,
            excluded: Vec::new(),
        };
        let endpoint = quic::listen(LOOPBACK, &key, Admission::new(|_| true)).unwrap();
        let addr = endpoint.local_addr().unwrap();
        let info = Arc::new(watch::Sender::new(info));
        let told = Arc::new(watch::Sender::new(Vec::new()));
        let claims = Claims::default();
        tokio::spawn(accept(endpoint.clone(), info.clone(), told.clone(), claims.clone()));
        Self { key, addr, endpoint, info, told, claims }
    }

    pub fn stop(&self) {
        self.endpoint.close(0u32.into(), b"");
    }

    pub fn addr(&self) -> LedgerAddr {
        LedgerAddr { id: self.key.public().into(), addr: self.addr }
    }

    /// Closes the open epoch; it takes receipts from now on.
    pub fn next_epoch(&self) {
        self.info.send_modify(|info| {
            info.taking_receipts.push(info.open);
            info.open = info.open.next();
        });
    }

    /// Waits until something that fits was submitted, and gives it.
    pub async fn hears<T>(&self, what: &str, fits: impl Fn(&Submission) -> Option<T>) -> T {
        let mut told = self.told.subscribe();
        let heard = told.wait_for(|told| told.iter().any(|one| fits(one).is_some()));
        let heard = soon(what, heard).await.unwrap();
        heard.iter().find_map(&fits).unwrap()
    }

    pub async fn hears_receipt(&self, operations: u64) -> Receipt {
        let fits = |told: &Submission| match told {
            Submission::Receipt(receipt)
                if receipt.voucher.body.counters.operations == operations =>
            {
                Some((**receipt).clone())
            }
            _ => None,
        };
        self.hears("the receipt", fits).await
    }

    pub async fn knows(&self, node: &RunningNode) {
        let addr = node.node.advertised();
        let fits = |told: &Submission| match told {
            Submission::Register(registration) if registration.addr == addr => Some(()),
            _ => None,
        };
        self.hears("the registration", fits).await;
    }

    pub fn registrations(&self) -> Vec<protocol::registration::Registration> {
        let told = self.told.borrow();
        let registrations = told.iter().filter_map(|told| match told {
            Submission::Register(registration) => Some((**registration).clone()),
            _ => None,
        });
        registrations.collect()
    }

    pub fn invite(&self) -> Invite {
        Invite {
            chain: CHAIN,
            ledger: self.key.public().into(),
            ledger_addr: self.addr,
            gateway: gateway_key().public().into(),
            nonce: [5; 16],
            expires_ms: u64::MAX,
            signature: UNSIGNED,
        }
        .signed(&gateway_key())
    }

    /// A voucher of lane 0 for traffic in `epoch`.
    pub fn voucher(&self, node: NodeId, epoch: Epoch, operations: u64, bytes: u64) -> Voucher {
        let sheet = self.info.borrow().prices.sheet.clone();
        let counters = Counters { put_bytes: bytes, operations, ..Counters::default() };
        VoucherBody {
            chain: CHAIN,
            gateway: gateway_key().public().into(),
            node,
            epoch,
            lane: 0,
            counters,
            amount: counters.amount(&sheet.prices),
            price_sheet: sheet.id(),
        }
        .signed(&gateway_key())
    }
}

type Info = Arc<watch::Sender<ChainInfo>>;
type Told = Arc<watch::Sender<Vec<Submission>>>;
type Claims = Arc<watch::Sender<Vec<serde_json::Value>>>;

async fn accept(endpoint: Endpoint, info: Info, told: Told, claims: Claims) {
    while let Some(incoming) = endpoint.accept().await {
        let (info, told, claims) = (info.clone(), told.clone(), claims.clone());
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok(stream) = connection.accept_bi().await {
                tokio::spawn(answer(stream, info.clone(), told.clone(), claims.clone()));
            }
        });
    }
}

async fn answer(
    (mut send, mut recv): (SendStream, RecvStream),
    info: Info,
    told: Told,
    claims: Claims,
) {
    let request = frame::read_message(&mut recv, LEDGER_FRAME_MAX).await.unwrap();
    match request {
        LedgerRequest::Chain => {
            let info = info.borrow().clone();
            frame::write_answer(&mut send, Ok(&info)).await.unwrap();
        }
        LedgerRequest::Submit(submissions) => {
            let outcomes = Outcomes(submissions.iter().map(|one| take(one, &info)).collect());
            told.send_modify(|told| told.extend(submissions));
            frame::write_answer(&mut send, Ok(&outcomes)).await.unwrap();
        }
        LedgerRequest::Query(query) => {
            let query: serde_json::Value = serde_json::from_slice(&query).unwrap();
            assert_eq!(query["query"], "claims", "a node asks nothing else");
            let claims = claims.borrow().clone();
            let answer = serde_json::json!({ "claims": claims }).to_string();
            frame::write_answer(&mut send, Ok(&QueryAnswer(answer.into()))).await.unwrap();
        }
        _ => panic!("a node does nothing of the kind"),
    }
    send.finish().unwrap();
}

fn take(submission: &Submission, info: &Info) -> Result<(), String> {
    match submission {
        Submission::Register(one) => {
            one.verify().map_err(|error| error.to_string())?;
            let (node, addr) = (one.node, one.addr);
            let (zone, operator) = (one.zone.clone(), one.operator.clone());
            info.send_modify(|info| {
                info.nodes.retain(|known| known.node != node);
                info.nodes.push(NodeRecord { node, addr, zone, operator });
            });
            Ok(())
        }
        Submission::Receipt(one) => one.verify().map_err(|error| error.to_string()),
        Submission::Rebuttal(_) => Ok(()),
        _ => Err("a node submits nothing of the kind".into()),
    }
}

/// A node that runs until it is stopped.
pub struct RunningNode {
    pub node: Arc<Node>,
    pub stop: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
}

pub fn settings(dir: &Path, ledger: &Ledger) -> Settings {
    Settings {
        dir: dir.into(),
        listen: LOOPBACK,
        advertise: None,
        ledger: Some(ledger.addr()),
        invite: Some(ledger.invite()),
        zone: "here".into(),
        operator: "ann".into(),
        capacity: None,
        reserve: 0,
        credit_limit: Settings::CREDIT_LIMIT,
        poll: Some(Duration::from_millis(20)),
        volumes: VolumeSettings::default(),
    }
}

impl RunningNode {
    pub async fn start(settings: Settings) -> Self {
        let node = Arc::new(Node::open(settings).await.unwrap());
        let stop = CancellationToken::new();
        let (run, token) = (node.clone(), stop.clone());
        let running = tokio::spawn(async move { run.run(token).await });
        Self { node, stop, running }
    }

    /// Waits until the node ends, by itself or because it was told to.
    pub async fn ended(self) -> Result<(), RunError> {
        soon("the end of the node", self.running).await.unwrap()
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.ended().await.unwrap();
    }
}

/// A gateway that is connected to the node.
pub struct Gateway {
    _endpoint: Endpoint,
    pub connection: Connection,
}

pub type Answer<T> = Result<T, Option<Refusal>>;

fn told<T>(answer: Result<T, FrameError>) -> Answer<T> {
    answer.map_err(|error| error.refusal())
}

impl Gateway {
    pub async fn connect(node: &RunningNode) -> Self {
        Self::connect_as(&gateway_key(), node).await.unwrap()
    }

    /// Connects and asks for the status: in TLS 1.3 the dialling end learns
    /// that it was refused only with the first answer.
    pub async fn connect_as(key: &SecretKey, node: &RunningNode) -> Result<Self, String> {
        let addr = node.node.addr();
        let endpoint = quic::dialler(addr.ip()).unwrap();
        let connection = quic::dial(&endpoint, key, node.node.id(), addr).await;
        let connection = connection.map_err(|error| error.to_string())?;
        let gateway = Self { _endpoint: endpoint, connection };
        match gateway.status().await {
            Ok(_) => Ok(gateway),
            Err(refusal) => Err(format!("{refusal:?} {:?}", gateway.connection.close_reason())),
        }
    }

    pub async fn ask(
        &self,
        request: &Request,
    ) -> Result<(SendStream, RecvStream), Option<Refusal>> {
        let (mut send, recv) = self.connection.open_bi().await.map_err(|_| None)?;
        told(frame::write_message(&mut send, request).await)?;
        Ok((send, recv))
    }

    async fn simple<T: protocol::wire::Wire>(&self, request: Request) -> Answer<T> {
        let (mut send, mut recv) = self.ask(&request).await?;
        send.finish().map_err(|_| None)?;
        told(soon("an answer", frame::read_answer(&mut recv, NODE_FRAME_MAX)).await)
    }

    pub async fn status(&self) -> Answer<Status> {
        self.simple(Request::Status).await
    }

    pub async fn delete(&self, shard: ShardId) -> Answer<Deleted> {
        self.simple(Request::Delete { shard }).await
    }

    /// The ids of what the node says it holds, an inventory each.
    pub async fn list(&self, from: ShardId, limit: u32) -> Answer<Vec<Vec<Held>>> {
        let (mut send, mut recv) = self.ask(&Request::List { from, limit }).await?;
        send.finish().map_err(|_| None)?;
        let mut pages = Vec::new();
        loop {
            let answer = frame::read_answer(&mut recv, NODE_FRAME_MAX);
            let Inventory { held } = told(soon("an inventory", answer).await)?;
            if held.is_empty() {
                return Ok(pages);
            }
            pages.push(held);
        }
    }

    pub async fn vouch(&self, voucher: Voucher) -> Answer<VoucherTaken> {
        self.simple(Request::Voucher(Box::new(voucher))).await
    }

    pub async fn put(&self, shard: ShardId, bytes: &[u8]) -> Answer<Stored> {
        let mut put = Put::start(self, shard, bytes.len() as u64).await?;
        for chunk in bytes.chunks(700_000) {
            put.chunk(chunk).await;
        }
        put.end(bytes.len() as u64, root(bytes)).await
    }

    /// Reads a range and verifies every window of it.
    pub async fn get(&self, shard: ShardId, root: &Root, range: Range<u64>) -> Answer<Vec<u8>> {
        Get::start(self, shard, range).await?.rest(root).await
    }

    pub async fn prove(&self, shard: ShardId, root: &Root, group: u64) -> Answer<Vec<u8>> {
        let (mut send, mut recv) = self.ask(&Request::Prove { shard, group }).await?;
        send.finish().map_err(|_| None)?;
        let header: GetHeader = told(frame::read_answer(&mut recv, NODE_FRAME_MAX).await)?;
        let encoded = told(frame::read_frame(&mut recv, 64 * 1024).await)?;
        let start = group * tree::GROUP;
        let range = start..header.shard_len.min(start + tree::GROUP);
        Ok(verified(root, header.shard_len, &range, encoded))
    }
}

fn verified(root: &Root, shard_len: u64, range: &Range<u64>, encoded: Vec<u8>) -> Vec<u8> {
    let whole = tree::decode(root, shard_len, range, &Bytes::from(encoded)).unwrap().concat();
    let skip = usize::try_from(range.start - tree::covered(range, shard_len).start).unwrap();
    whole[skip..skip + usize::try_from(range.end - range.start).unwrap()].to_vec()
}
