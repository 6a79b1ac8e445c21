//! A small node: it speaks the protocol, and keeps shards on a simulated disk.
//!
//! It has two bad habits while faults go on. Its syncs take a while, so that a
//! crash can come before they end; and now and then it cuts an answer off in one
//! of the ways in which a broken node would ([`Misdeed`]).

use std::io;
use std::ops::Range;
use std::time::Duration;

use protocol::frame::{
    CHUNK_MAX, FrameError, NODE_FRAME_MAX, read_frame, read_message, stop_reading, write_answer,
    write_frame,
};
use protocol::message::{
    Deleted, GetHeader, Held, INVENTORY_MAX, Inventory, LIST_MAX, PutTrailer, Request,
    SHARD_LEN_MAX, Stored, WINDOW,
};
use protocol::refusal::Refusal;
use protocol::tls::{Admission, peer_key};
use protocol::tree::{self, TreeHasher};
use protocol::wire::Wire;
use protocol::{GatewayId, Incarnation, Root, ShardId, quic};
use quinn::{Connection, Incoming, RecvStream, SendStream, VarInt};
use tokio::time::{sleep, timeout};

use super::disk::{Entry, Kept};
use super::socket::{SharedTraffic, endpoint, now};
use super::{CALM, Flaw, GATEWAYS, PORT, State, gateway_key, node_key};

/// How long a peer may take for one step of a request, as with a real node.
const STEP: Duration = Duration::from_secs(30);

/// The life of the node's folder: it never loses its disk here.
const LIFE: Incarnation = Incarnation([1; 16]);

/// Of a thousand answers so many are cut off on purpose.
const MISDEEDS: u64 = 60;

/// What the node does to an answer now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdeed {
    /// It breaks the stream off.
    Reset,
    /// It ends the stream as if this were all.
    Short,
    /// It ends the stream within a frame.
    HalfFrame,
    /// One bit of a window is wrong.
    Flip,
}

impl Misdeed {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reset, Self::Short, Self::HalfFrame, Self::Flip];

    /// For counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reset => "answer broken off",
            Self::Short => "answer ended early",
            Self::HalfFrame => "answer ended within a frame",
            Self::Flip => "bit flipped",
        }
    }
}

/// Why a request was not answered.
enum Failure {
    Refused(Refusal),
    Broken,
}

impl From<FrameError> for Failure {
    fn from(_: FrameError) -> Self {
        Self::Broken
    }
}

type Answered = Result<(), Failure>;

async fn step<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, Failure> {
    timeout(STEP, work).await.map_err(|_| Failure::Broken)?.map_err(|_| Failure::Broken)
}

/// The node.
#[derive(Clone, Debug)]
pub struct Node {
    /// What everybody shares.
    pub state: State,
    /// What it does wrong.
    pub flaw: Flaw,
}

impl Node {
    /// Serves until the machine crashes. `seed` differs from life to life.
    pub async fn run(self, seed: [u8; 32], traffic: SharedTraffic) -> io::Result<()> {
        let gateways = (0..GATEWAYS).map(|gateway| gateway_key(gateway).public());
        let admitted: Vec<_> = gateways.collect();
        let admission = Admission::new(move |key| admitted.contains(&key));
        let (config, server) = quic::listening(&node_key(), admission, false);
        let endpoint = endpoint(PORT, config, Some(server), seed, traffic).await?;
        while let Some(incoming) = endpoint.accept().await {
            tokio::task::spawn_local(self.clone().serve(incoming));
        }
        Ok(())
    }

    async fn serve(self, incoming: Incoming) {
        let Ok(connection) = incoming.await else { return };
        let Some(key) = peer_key(&connection) else { return };
        self.answer_all(&connection, key.into()).await;
    }

    async fn answer_all(&self, connection: &Connection, gateway: GatewayId) {
        while let Ok((send, recv)) = connection.accept_bi().await {
            if self.flaw == Flaw::Deaf && now() > CALM {
                tokio::task::spawn_local(async move {
                    let _held = (send, recv);
                    std::future::pending::<()>().await;
                });
                continue;
            }
            tokio::task::spawn_local(self.clone().handle(gateway, send, recv));
        }
    }

    async fn handle(self, gateway: GatewayId, mut send: SendStream, mut recv: RecvStream) {
        match self.answer(gateway, &mut send, &mut recv).await {
            Ok(()) => {}
            Err(Failure::Refused(refusal)) => {
                stop_reading(&mut recv, refusal);
                let refused = step(write_answer::<Stored>(&mut send, Err(refusal)));
                if refused.await.is_err() {
                    return;
                }
            }
            Err(Failure::Broken) => {
                // An error means that the stream has ended already.
                let _ = send.reset(VarInt::from_u32(0));
                return;
            }
        }
        // The same; and a peer that wants no more says so in `stopped`.
        let _ = send.finish();
        let _ = timeout(STEP, send.stopped()).await;
    }

    async fn answer(
        &self,
        gateway: GatewayId,
        send: &mut SendStream,
        recv: &mut RecvStream,
    ) -> Answered {
        let request = step(read_message(recv, NODE_FRAME_MAX)).await?;
        match request {
            Request::Put { shard, max_len, .. } => {
                self.put(gateway, shard, max_len, send, recv).await
            }
            Request::Get { shard, start, end } => self.get(shard, start..end, send).await,
            Request::Delete { shard } => self.delete(shard, send).await,
            Request::List { from, limit } => self.list(gateway, from, limit, send).await,
            _ => Err(Failure::Refused(Refusal::Malformed)),
        }
    }

    /// Whether this answer is to be cut off, and how.
    fn misdeed(&self, kinds: &[Misdeed]) -> Option<Misdeed> {
        let random = &mut self.state.lock().random;
        if now() >= CALM || !random.chance(MISDEEDS) {
            return None;
        }
        random.pick(kinds)
    }

    /// Ends or breaks off an answer before its end.
    fn cut(&self, misdeed: Misdeed, send: &mut SendStream) -> Answered {
        self.state.count(misdeed.name());
        if misdeed == Misdeed::Reset {
            return Err(Failure::Broken);
        }
        // An error means that the peer was faster.
        let _ = send.finish();
        Ok(())
    }

    /// The one answer of a request; it may get lost.
    async fn reply<T: Wire>(&self, answer: &T, send: &mut SendStream) -> Answered {
        match self.misdeed(&[Misdeed::Reset, Misdeed::Short]) {
            Some(misdeed) => self.cut(misdeed, send),
            None => step(write_answer(send, Ok(answer))).await,
        }
    }

    /// Waits until what was written survives a crash.
    async fn sync(&self, shard: ShardId) {
        let took = self.state.lock().random.between(1, 120);
        sleep(Duration::from_millis(took)).await;
        self.state.lock().disk.synced(shard);
    }

    async fn put(
        &self,
        owner: GatewayId,
        shard: ShardId,
        max_len: u64,
        send: &mut SendStream,
        recv: &mut RecvStream,
    ) -> Answered {
        if max_len > SHARD_LEN_MAX {
            return Err(Failure::Refused(Refusal::Malformed));
        }
        let mut bytes = Vec::new();
        let received = receive(recv, max_len, &mut bytes).await;
        let mut hasher = TreeHasher::default();
        hasher.update(&bytes);
        let (root, outboard) = hasher.finish();
        let kept = Kept { owner, bytes, root, outboard };
        let len = kept.bytes.len() as u64;
        match received {
            Ok(trailer) if trailer == (PutTrailer { len, root }) => {}
            Ok(_) => return Err(Failure::Refused(Refusal::WrongRoot)),
            Err(_) if self.flaw == Flaw::KeepsCutBody => {}
            Err(failure) => return Err(failure),
        }
        self.keep(shard, kept).await?;
        self.reply(&Stored { incarnation: LIFE, shard, root, len }, send).await
    }

    /// Makes a shard durable, unless something else was there or came.
    async fn keep(&self, shard: ShardId, kept: Kept) -> Answered {
        let root = kept.root;
        self.state.lock().disk.write(shard, Entry::Shard(kept));
        if self.flaw == Flaw::EarlyStored {
            let node = self.clone();
            tokio::task::spawn_local(async move { node.sync(shard).await });
            return Ok(());
        }
        self.sync(shard).await;
        match self.state.lock().disk.held(shard) {
            Some(held) if held.root == root => Ok(()),
            _ => Err(Failure::Refused(Refusal::Conflict)),
        }
    }

    async fn get(&self, shard: ShardId, bytes: Range<u64>, send: &mut SendStream) -> Answered {
        let held = self.state.lock().disk.held(shard).cloned();
        let kept = held.ok_or(Failure::Refused(Refusal::NotFound))?;
        let shard_len = kept.bytes.len() as u64;
        if bytes.start >= bytes.end || bytes.end > shard_len {
            return Err(Failure::Refused(Refusal::BadRange));
        }
        step(write_answer(send, Ok(&GetHeader { shard_len }))).await?;
        let misdeed = self.misdeed(&Misdeed::ALL);
        let windows = (bytes.end - bytes.start).div_ceil(WINDOW);
        let guilty = self.state.lock().random.below(windows);
        for number in 0..windows {
            let at = bytes.start + number * WINDOW;
            let window = at..(at + WINDOW).min(bytes.end);
            let encoded = tree::encode(kept.bytes.as_slice(), shard_len, &kept.outboard, &window);
            let encoded = encoded.map_err(|_| Failure::Refused(Refusal::Disk))?;
            match misdeed.filter(|_| number == guilty) {
                None => step(write_frame(send, &encoded)).await?,
                Some(misdeed) => return self.spoil(misdeed, encoded, send).await,
            }
        }
        Ok(())
    }

    /// Sends a window that is not what it should be.
    async fn spoil(
        &self,
        misdeed: Misdeed,
        mut encoded: Vec<u8>,
        send: &mut SendStream,
    ) -> Answered {
        match misdeed {
            Misdeed::Short => self.cut(misdeed, send),
            Misdeed::Reset | Misdeed::HalfFrame => {
                let len = encoded.len() as u32;
                let half = [&len.to_le_bytes()[..], &encoded[..encoded.len() / 2]].concat();
                step(send.write_all(&half)).await?;
                self.cut(misdeed, send)
            }
            Misdeed::Flip => {
                let at = self.state.lock().random.below(encoded.len() as u64) as usize;
                encoded[at] ^= 0x10;
                self.state.count(misdeed.name());
                step(write_frame(send, &encoded)).await
            }
        }
    }

    async fn delete(&self, shard: ShardId, send: &mut SendStream) -> Answered {
        let existed = {
            let disk = &mut self.state.lock().disk;
            let existed = disk.held(shard).is_some();
            disk.write(shard, Entry::Gone);
            existed
        };
        if self.flaw == Flaw::EarlyDeleted {
            let node = self.clone();
            tokio::task::spawn_local(async move { node.sync(shard).await });
        } else {
            self.sync(shard).await;
        }
        self.reply(&Deleted { existed }, send).await
    }

    async fn list(
        &self,
        owner: GatewayId,
        from: ShardId,
        limit: u32,
        send: &mut SendStream,
    ) -> Answered {
        if limit > LIST_MAX {
            return Err(Failure::Refused(Refusal::Malformed));
        }
        let (mut next, mut left) = (Some(from), limit as usize);
        let misdeed = self.misdeed(&[Misdeed::Reset, Misdeed::Short]);
        while let Some(from) = next {
            let held = self.page(owner, from, left.min(INVENTORY_MAX));
            next = held.last().and_then(|last| last.shard.next());
            left -= held.len();
            if held.is_empty() {
                break;
            }
            step(write_answer(send, Ok(&Inventory { held }))).await?;
            if let Some(misdeed) = misdeed {
                return self.cut(misdeed, send);
            }
        }
        step(write_answer(send, Ok(&Inventory { held: Vec::new() }))).await
    }

    fn page(&self, owner: GatewayId, from: ShardId, most: usize) -> Vec<Held> {
        let state = self.state.lock();
        let held = state.disk.list(owner, from, most).into_iter();
        let held = held.map(|(shard, kept)| {
            let (len, root): (u64, Root) = (kept.bytes.len() as u64, kept.root);
            Held { shard, len, root }
        });
        held.collect()
    }
}

/// Takes in a body and what follows it.
async fn receive(
    recv: &mut RecvStream,
    max_len: u64,
    bytes: &mut Vec<u8>,
) -> Result<PutTrailer, Failure> {
    loop {
        let chunk = step(read_frame(recv, CHUNK_MAX)).await?;
        if chunk.is_empty() {
            return step(read_message(recv, NODE_FRAME_MAX)).await;
        }
        if bytes.len() as u64 + chunk.len() as u64 > max_len {
            return Err(Failure::Refused(Refusal::WrongRoot));
        }
        bytes.extend_from_slice(&chunk);
    }
}
