//! Nodes over QUIC: one pooled connection to each, one stream for each request.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use protocol::frame::{
    CHUNK_MAX, FrameError, NODE_FRAME_MAX, read_answer, read_frame, write_message,
};
use protocol::message::{
    Deleted, GetHeader, Held, Inventory, LIST_MAX, PutTrailer, Request, SHARD_LEN_MAX, Standing,
    StandingTaken, Status, Stored, VoucherTaken, WINDOW,
};
use protocol::tree::GROUP;
use protocol::voucher::Voucher;
use protocol::{NodeId, Root, SecretKey, ShardId, quic, tree};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::registry::Registry;
use super::{NewShard, NodeError, Nodes, ShardPiece, ShardRange};

/// A stream that does not move for this long is given up.
const PROGRESS: Duration = Duration::from_secs(10);

/// How long a node may take to make a whole shard durable.
const STORE: Duration = Duration::from_secs(60);

/// How long a small question may take.
const ANSWER: Duration = Duration::from_secs(10);

/// A window and its proof.
const WINDOW_FRAME_MAX: usize = WINDOW as usize + 64 * 1024;

/// A node that could not be dialled is not dialled again for this long.
const REDIAL: Duration = Duration::from_millis(500);

/// The connection to one node; the lock makes sure that it is dialled once.
type Slot = Arc<tokio::sync::Mutex<Link>>;

#[derive(Default)]
struct Link {
    connection: Option<Connection>,
    failed_at: Option<Instant>,
}

/// Storage nodes over QUIC.
pub struct QuicNodes {
    key: SecretKey,
    registry: Arc<Registry>,
    v4: Endpoint,
    /// Absent where the system has no IPv6.
    v6: Option<Endpoint>,
    /// By node and address: a node that moved is not waited for where it was.
    slots: Mutex<HashMap<(NodeId, SocketAddr), Slot>>,
}

impl QuicNodes {
    /// A pool that dials as `key`, to addresses that `registry` knows.
    pub fn new(key: SecretKey, registry: Arc<Registry>) -> std::io::Result<Self> {
        let any = |ip: &str| ip.parse::<IpAddr>().expect("a literal address");
        Ok(Self {
            key,
            registry,
            v4: quic::dialler(any("0.0.0.0"))?,
            v6: quic::dialler(any("::")).ok(),
            slots: Mutex::default(),
        })
    }

    /// The same over an endpoint that is there already, such as a simulated one.
    pub fn over(key: SecretKey, registry: Arc<Registry>, endpoint: Endpoint) -> Self {
        Self { key, registry, v4: endpoint, v6: None, slots: Mutex::default() }
    }

    async fn connection(&self, node: NodeId) -> Result<Connection, NodeError> {
        let addr = self.registry.addr(node).ok_or(NodeError::Unknown)?;
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.retain(|(known, at), _| *known != node || *at == addr);
            slots.entry((node, addr)).or_default().clone()
        };
        let mut link = slot.lock().await;
        if let Some(connection) = &link.connection
            && connection.close_reason().is_none()
        {
            return Ok(connection.clone());
        }
        // Those who waited while it was dialled need not each try again.
        if link.failed_at.is_some_and(|at| at.elapsed() < REDIAL) {
            return Err(NodeError::Offline("it could not be dialled a moment ago".into()));
        }
        link.connection = None;
        match quic::dial(self.endpoint(addr)?, &self.key, node, addr).await {
            Ok(connection) => {
                *link = Link { connection: Some(connection.clone()), failed_at: None };
                Ok(connection)
            }
            Err(error) => {
                link.failed_at = Some(Instant::now());
                Err(NodeError::Offline(error.to_string()))
            }
        }
    }

    fn endpoint(&self, addr: SocketAddr) -> Result<&Endpoint, NodeError> {
        if addr.is_ipv4() {
            return Ok(&self.v4);
        }
        self.v6.as_ref().ok_or_else(|| NodeError::Offline("this machine has no IPv6".into()))
    }

    async fn open(&self, node: NodeId) -> Result<(SendStream, RecvStream), NodeError> {
        let connection = self.connection(node).await?;
        let opened =
            timeout(PROGRESS, connection.open_bi()).await.map_err(|_| NodeError::Timeout)?;
        opened.map_err(|error| NodeError::Offline(error.to_string()))
    }

    /// One request frame, one answer.
    async fn ask<T: protocol::wire::Wire>(
        &self,
        node: NodeId,
        request: &Request,
    ) -> Result<T, NodeError> {
        let asked = async {
            let (mut send, mut recv) = self.open(node).await?;
            write_message(&mut send, request).await?;
            finish(&mut send);
            Ok(read_answer(&mut recv, NODE_FRAME_MAX).await?)
        };
        timeout(ANSWER, asked).await.unwrap_or(Err(NodeError::Timeout))
    }

    /// Closes all connections.
    pub fn close(&self) {
        for endpoint in [Some(&self.v4), self.v6.as_ref()].into_iter().flatten() {
            endpoint.close(0u32.into(), b"stopping");
        }
    }
}

impl From<FrameError> for NodeError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Refused(refusal) => Self::Refused(refusal),
            FrameError::TooLong { .. } | FrameError::Wire(_) => Self::Lie(error.to_string()),
            FrameError::Read(_) | FrameError::Stream(_) | FrameError::Write(_) => {
                Self::Offline(error.to_string())
            }
        }
    }
}

fn finish(send: &mut SendStream) {
    // An error means that the other side has stopped the stream; its answer
    // says why.
    let _ = send.finish();
}

#[async_trait]
impl Nodes for QuicNodes {
    async fn put(
        &self,
        node: NodeId,
        NewShard { shard, max_len, chosen_ms }: NewShard,
        mut body: mpsc::Receiver<ShardPiece>,
    ) -> Result<Stored, NodeError> {
        let (mut send, mut recv) = self.open(node).await?;
        let chosen_ms = chosen_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0);
        write_message(&mut send, &Request::Put { shard, max_len, chosen_ms }).await?;
        let sent = send_body(&mut send, &mut body).await;
        if let Err(NodeError::Abandoned | NodeError::Timeout) = sent {
            // The node must not take what it has for the whole shard.
            let _ = send.reset(0u32.into());
            return Err(sent.err().unwrap_or(NodeError::Abandoned));
        }
        // A node that refused stopped reading: the reason is in its answer.
        let (len, root) = match sent {
            Ok(end) => end,
            Err(error) => {
                let answer = timeout(ANSWER, read_answer::<Stored>(&mut recv, NODE_FRAME_MAX));
                return Err(match answer.await {
                    Ok(Err(FrameError::Refused(refusal))) => NodeError::Refused(refusal),
                    _ => error,
                });
            }
        };
        finish(&mut send);
        let stored: Stored = timeout(STORE, read_answer(&mut recv, NODE_FRAME_MAX))
            .await
            .map_err(|_| NodeError::Timeout)??;
        if (stored.shard, stored.root, stored.len) != (shard, root, len) {
            return Err(NodeError::Lie("it stored something else".into()));
        }
        Ok(stored)
    }

    async fn get(
        &self,
        node: NodeId,
        range: ShardRange,
        windows: mpsc::Sender<Vec<Bytes>>,
    ) -> Result<(), NodeError> {
        let ShardRange { shard, root, len, bytes } = range;
        let (mut send, mut recv) = self.open(node).await?;
        let (start, end) = (bytes.start, bytes.end);
        write_message(&mut send, &Request::Get { shard, start, end }).await?;
        finish(&mut send);
        let header: GetHeader = timeout(PROGRESS, read_answer(&mut recv, NODE_FRAME_MAX))
            .await
            .map_err(|_| NodeError::Timeout)??;
        if header.shard_len != len {
            return Err(NodeError::Lie(format!("a shard of {} bytes", header.shard_len)));
        }
        let mut at = start;
        while at < end {
            let window = at..(at + WINDOW).min(end);
            let frame = timeout(PROGRESS, read_frame(&mut recv, WINDOW_FRAME_MAX))
                .await
                .map_err(|_| NodeError::Timeout)??;
            let verified = tree::decode(&root, len, &window, &Bytes::from(frame))
                .map_err(|error| NodeError::Lie(error.to_string()))?;
            at = window.end;
            if windows.send(verified).await.is_err() {
                return Err(NodeError::Abandoned);
            }
        }
        Ok(())
    }

    async fn delete(&self, node: NodeId, shard: ShardId) -> Result<bool, NodeError> {
        let deleted: Deleted = self.ask(node, &Request::Delete { shard }).await?;
        Ok(deleted.existed)
    }

    async fn list(&self, node: NodeId, from: ShardId, limit: u32) -> Result<Vec<Held>, NodeError> {
        let limit = limit.min(LIST_MAX);
        let (mut send, mut recv) = self.open(node).await?;
        write_message(&mut send, &Request::List { from, limit }).await?;
        finish(&mut send);
        let mut all: Vec<Held> = Vec::new();
        loop {
            let page: Inventory = timeout(PROGRESS, read_answer(&mut recv, NODE_FRAME_MAX))
                .await
                .map_err(|_| NodeError::Timeout)??;
            if page.held.is_empty() {
                return Ok(all);
            }
            // Whoever merges lists relies on their order.
            let is_next = all.last().is_none_or(|last| last.shard < page.held[0].shard);
            let is_sorted = page.held.is_sorted_by(|a, b| a.shard < b.shard);
            if page.held.iter().any(|held| held.len > SHARD_LEN_MAX) {
                return Err(NodeError::Lie("a shard that is longer than any".into()));
            }
            all.extend(page.held);
            if !is_next || !is_sorted || all[0].shard < from || all.len() > limit as usize {
                return Err(NodeError::Lie("a list out of order or too long".into()));
            }
        }
    }

    async fn status(&self, node: NodeId) -> Result<Status, NodeError> {
        self.ask(node, &Request::Status).await
    }

    async fn prove(
        &self,
        node: NodeId,
        shard: ShardId,
        root: Root,
        len: u64,
        group: u64,
    ) -> Result<(), NodeError> {
        // Up to here it is offline, from here on it is silent.
        let connection = timeout(ANSWER, self.connection(node))
            .await
            .map_err(|_| NodeError::Offline("it could not be dialled in time".into()))??;
        let asked = timeout(ANSWER, ask_proof(&connection, shard, root, len, group));
        asked.await.unwrap_or(Err(NodeError::Timeout))
    }

    async fn standing(&self, node: NodeId, standing: Standing) -> Result<(), NodeError> {
        let StandingTaken {} = self.ask(node, &Request::Standing(Box::new(standing))).await?;
        Ok(())
    }

    async fn voucher(&self, node: NodeId, voucher: Voucher) -> Result<(), NodeError> {
        let VoucherTaken {} = self.ask(node, &Request::Voucher(Box::new(voucher))).await?;
        Ok(())
    }
}

/// Asks for one group and verifies it.
async fn ask_proof(
    connection: &Connection,
    shard: ShardId,
    root: Root,
    len: u64,
    group: u64,
) -> Result<(), NodeError> {
    let opened = connection.open_bi().await;
    let (mut send, mut recv) = opened.map_err(|error| NodeError::Offline(error.to_string()))?;
    // Once it knows what is asked, hanging up is silence: a node that could make
    // it pass for absence would choose what it is asked.
    let silent = |error: FrameError| match NodeError::from(error) {
        NodeError::Offline(_) => NodeError::Timeout,
        other => other,
    };
    write_message(&mut send, &Request::Prove { shard, group }).await.map_err(silent)?;
    finish(&mut send);
    let header: GetHeader = read_answer(&mut recv, NODE_FRAME_MAX).await.map_err(silent)?;
    if header.shard_len != len {
        return Err(NodeError::Lie(format!("a shard of {} bytes", header.shard_len)));
    }
    let frame = read_frame(&mut recv, WINDOW_FRAME_MAX).await.map_err(silent)?;
    let start = group * GROUP;
    let bytes = start..(start + GROUP).min(len).max(start);
    tree::decode(&root, len, &bytes, &Bytes::from(frame))
        .map_err(|error| NodeError::Lie(error.to_string()))?;
    Ok(())
}

/// Sends chunks until the end, and the trailer.
async fn send_body(
    send: &mut SendStream,
    body: &mut mpsc::Receiver<ShardPiece>,
) -> Result<(u64, Root), NodeError> {
    loop {
        match body.recv().await {
            // The upload gave up.
            None => return Err(NodeError::Abandoned),
            Some(ShardPiece::Bytes(pieces)) => {
                let len: usize = pieces.iter().map(Bytes::len).sum();
                assert!(len <= CHUNK_MAX, "a piece is at most a chunk");
                let len = u32::try_from(len).expect("CHUNK_MAX fits a u32");
                let mut chunk = Vec::with_capacity(1 + pieces.len());
                chunk.push(Bytes::copy_from_slice(&len.to_le_bytes()));
                chunk.extend(pieces);
                write_chunks(send, &mut chunk).await?;
            }
            Some(ShardPiece::End { len, root }) => {
                write_chunks(send, &mut [Bytes::from_static(&[0; 4])]).await?;
                write_message(send, &PutTrailer { len, root }).await?;
                return Ok((len, root));
            }
        }
    }
}

async fn write_chunks(send: &mut SendStream, chunks: &mut [Bytes]) -> Result<(), NodeError> {
    match timeout(PROGRESS, send.write_all_chunks(chunks)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(NodeError::Offline(error.to_string())),
        Err(_) => Err(NodeError::Timeout),
    }
}
