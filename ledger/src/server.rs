//! Answers nodes and gateways over QUIC. Anyone with a sound key may connect: a
//! submission is believed for the signatures it carries, a note for those of
//! witnesses, a proof of fraud for those of the ledger itself. All may query.
//! Only whoever holds the ledger's key may operate it.
//!
//! Strangers (keys that are neither a gateway's nor a registered node's) have
//! seats and workers of their own, so that however many come, members still
//! get through.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::frame::{self, FrameError, LEDGER_FRAME_MAX};
use protocol::ids::PublicKey;
use protocol::ledger_api::{LedgerRequest, Operation, Outcome, Outcomes, QueryAnswer, Submission};
use protocol::refusal::Refusal;
use protocol::wire::{Wire, WireError, Writer as WireWriter};
use protocol::{GatewayId, NodeId, SecretKey, tls};
use quinn::{Connection, Endpoint, Incoming, RecvStream, SendStream, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::entry::{Entry, Verified};
use crate::fraud::FraudProof;
use crate::notary::Notary;
use crate::query;
use crate::store::Reader;
use crate::writer::{Handle, Shared, Stopped};

/// Connections of one key.
pub(crate) const SEATS_PER_KEY: usize = 16;
/// Connections of strangers.
const STRANGERS_MAX: usize = 256;
/// Handshakes under way.
const HANDSHAKES_MAX: usize = 256;
/// Requests of members that are answered at once.
const MEMBER_WORKERS: usize = 64;
/// Requests of strangers that are answered at once.
const STRANGER_WORKERS: usize = 32;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a request may take to arrive.
const READ: Duration = Duration::from_secs(5);
/// How long a request may take from its first byte to the end of its answer.
const REQUEST: Duration = Duration::from_secs(30);
/// How long a connection may go without a request.
const IDLE: Duration = Duration::from_secs(120);
/// How long requests under way may still take once the ledger stops.
const DRAIN: Duration = Duration::from_secs(5);

/// What requests are answered from.
pub(crate) struct Service {
    pub(crate) shared: Arc<Shared>,
    writer: Handle,
    pub(crate) reader: Reader,
    pub(crate) key: SecretKey,
    pub(crate) notary: Notary,
    members: Semaphore,
    strangers: Semaphore,
    /// Threads that verify signatures.
    verifiers: Arc<Semaphore>,
    seats: Seats,
}

impl Service {
    pub(crate) fn new(
        shared: Arc<Shared>,
        writer: Handle,
        reader: Reader,
        key: SecretKey,
        notary: Notary,
    ) -> Arc<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            shared,
            writer,
            reader,
            key,
            notary,
            members: Semaphore::new(MEMBER_WORKERS),
            strangers: Semaphore::new(STRANGER_WORKERS),
            verifiers: Arc::new(Semaphore::new(threads)),
            seats: Seats::default(),
        })
    }

    fn is_operator(&self, key: PublicKey) -> bool {
        key == self.key.public()
    }

    async fn is_member(&self, key: PublicKey) -> Result<bool, Stopped> {
        let chain = self.shared.read().await?;
        let state = chain.state();
        Ok(self.is_operator(key)
            || state.is_gateway(GatewayId(key.0))
            || state.nodes().contains_key(&NodeId(key.0)))
    }
}

/// Who is connected, and how often.
#[derive(Default)]
struct Seats(Mutex<SeatsTaken>);

#[derive(Default)]
struct SeatsTaken {
    by_key: HashMap<PublicKey, usize>,
    strangers: usize,
}

/// A place that is given back when it is dropped.
struct Seat {
    service: Arc<Service>,
    key: PublicKey,
    is_stranger: bool,
}

impl Seat {
    fn take(service: &Arc<Service>, key: PublicKey, is_stranger: bool) -> Option<Self> {
        let mut taken = service.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_stranger && taken.strangers >= STRANGERS_MAX {
            return None;
        }
        let count = taken.by_key.entry(key).or_default();
        if *count >= SEATS_PER_KEY {
            return None;
        }
        *count += 1;
        taken.strangers += usize::from(is_stranger);
        Some(Self { service: service.clone(), key, is_stranger })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.service.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.strangers -= usize::from(self.is_stranger);
        if let Some(count) = taken.by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.by_key.remove(&self.key);
            }
        }
    }
}

/// Serves until `stop`, then lets requests under way finish.
pub(crate) async fn serve(endpoint: Endpoint, service: Arc<Service>, stop: CancellationToken) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let mut connections = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let Ok(permit) = handshakes.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        connections.spawn(serve_connection(incoming, permit, service.clone(), stop.clone()));
    }
    let drained = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!("requests were cut off: they took too long to finish");
    }
    connections.shutdown().await;
    endpoint.close(refusal_code(Refusal::Stopping), b"");
    // Peers that have gone need not hear of it.
    let _ = timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
}

async fn serve_connection(
    incoming: Incoming,
    handshake: OwnedSemaphorePermit,
    service: Arc<Service>,
    stop: CancellationToken,
) {
    let from = incoming.remote_address();
    let Ok(Ok(connection)) = timeout(HANDSHAKE, incoming).await else {
        tracing::debug!(%from, "handshake failed");
        return;
    };
    drop(handshake);
    let Some(key) = tls::peer_key(&connection) else { return };
    let Ok(is_member) = service.is_member(key).await else { return };
    let Some(_seat) = Seat::take(&service, key, !is_member) else {
        tracing::info!(%from, peer = ?key, "too many connections");
        connection.close(refusal_code(Refusal::Busy), b"");
        return;
    };
    serve_streams(&connection, key, &service, stop).await;
    connection.close(refusal_code(Refusal::Stopping), b"");
}

async fn serve_streams(
    connection: &Connection,
    key: PublicKey,
    service: &Arc<Service>,
    stop: CancellationToken,
) {
    let mut requests = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = requests.join_next() => continue,
            accepted = timeout(IDLE, connection.accept_bi()) => accepted,
        };
        match accepted {
            Ok(Ok((send, recv))) => {
                requests.spawn(serve_request(service.clone(), key, send, recv));
            }
            // Nothing asked for long, and nothing under way: the seat is free.
            Err(_) if !requests.is_empty() => {}
            Err(_) | Ok(Err(_)) => break,
        }
    }
    while requests.join_next().await.is_some() {}
}

/// Answers one request. Errors end here.
async fn serve_request(
    service: Arc<Service>,
    key: PublicKey,
    mut send: SendStream,
    mut recv: RecvStream,
) {
    let answered = timeout(REQUEST, answer_request(&service, key, &mut send, &mut recv)).await;
    match answered {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, peer = ?key, "request failed"),
        Err(_) => tracing::debug!(peer = ?key, "request took too long"),
    }
}

async fn answer_request(
    service: &Service,
    key: PublicKey,
    send: &mut SendStream,
    recv: &mut RecvStream,
) -> Result<(), FrameError> {
    // Held until the answer has left: it bounds what answers take in memory.
    let worker = hire(service, key).await;
    let answer = match &worker {
        Ok(_) => work_on(service, key, recv).await,
        Err(refusal) => Err(*refusal),
    };
    match &answer {
        Ok(encoded) => frame::write_answer(send, Ok(encoded)).await?,
        Err(refusal) => {
            tracing::debug!(%refusal, peer = ?key, "request refused");
            frame::stop_reading(recv, *refusal);
            frame::write_answer::<Encoded>(send, Err(*refusal)).await?;
        }
    }
    // The peer may be gone already.
    let _ = send.finish();
    // What is answered while the ledger stops should still arrive.
    let _ = timeout(DRAIN, send.stopped()).await;
    Ok(())
}

/// A worker for one request of this key, if one is free.
async fn hire(service: &Service, key: PublicKey) -> Result<SemaphorePermit<'_>, Refusal> {
    let is_member = service.is_member(key).await.map_err(|Stopped| Refusal::Stopping)?;
    let workers = if is_member { &service.members } else { &service.strangers };
    workers.try_acquire().map_err(|_| Refusal::Busy)
}

/// An answer that is encoded already.
struct Encoded(Vec<u8>);

impl Wire for Encoded {
    fn write(&self, out: &mut WireWriter) {
        out.bytes(&self.0);
    }
    fn read(from: &mut protocol::wire::Reader<'_>) -> Result<Self, WireError> {
        let all = from.0.len();
        Ok(Self(from.take(all)?.to_vec()))
    }
}

async fn work_on(
    service: &Service,
    key: PublicKey,
    recv: &mut RecvStream,
) -> Result<Encoded, Refusal> {
    let stopped = |Stopped| Refusal::Stopping;
    match read_request(recv).await? {
        LedgerRequest::Chain => {
            let chain = service.shared.read().await.map_err(stopped)?;
            Ok(Encoded(chain.state().chain_info().to_wire()))
        }
        LedgerRequest::Submit(submissions) => {
            let outcomes = submit(service, submissions).await.map_err(stopped)?;
            Ok(Encoded(Outcomes(outcomes).to_wire()))
        }
        LedgerRequest::Operate(operation) if service.is_operator(key) => {
            one(operate(service, operation).await.map_err(stopped)?)
        }
        LedgerRequest::Operate(_) => Err(Refusal::NotPermitted),
        LedgerRequest::Cosign(note) => {
            let head = service.shared.read().await.map_err(stopped)?.head().clone();
            let taken = service.notary.take(&note, &head, &service.reader).await;
            one(taken.map_err(|error| error.to_string()))
        }
        LedgerRequest::Fraud(json) => one(judge(service, json).await.map_err(stopped)?),
        LedgerRequest::Query(query) => {
            Ok(Encoded(QueryAnswer(query::answer(&query, service).await).to_wire()))
        }
    }
}

fn one(outcome: Outcome) -> Result<Encoded, Refusal> {
    Ok(Encoded(Outcomes(vec![outcome]).to_wire()))
}

/// Does what the operator wants, as an entry of the log.
async fn operate(service: &Service, operation: Operation) -> Result<Outcome, Stopped> {
    let entry = match Verified::new(Entry::from(operation)) {
        Ok(entry) => entry,
        Err(error) => return Ok(Err(error.to_string())),
    };
    service.writer.submit(vec![entry]).await?.into_iter().next().ok_or(Stopped)
}

/// Halts the ledger if the proof is one against it.
async fn judge(service: &Service, json: Vec<u8>) -> Result<Outcome, Stopped> {
    let genesis = service.shared.read().await?.state().genesis().clone();
    let shared = service.shared.clone();
    let judged = move || {
        let proof = FraudProof::from_json(&json).map_err(|error| error.to_string())?;
        proof.verify(&genesis).map_err(|error| error.to_string())?;
        let kept = shared.halt().halt(&proof);
        kept.map_err(|error| format!("the proof holds, but cannot be kept: {error}"))
    };
    tokio::task::spawn_blocking(judged).await.map_err(|_| Stopped)
}

async fn read_request(recv: &mut RecvStream) -> Result<LedgerRequest, Refusal> {
    let read = timeout(READ, frame::read_message(recv, LEDGER_FRAME_MAX)).await;
    match read.map_err(|_| Refusal::Malformed)? {
        Ok(request) => Ok(request),
        Err(FrameError::Wire(WireError::Unknown { what: "ledger request", .. })) => {
            Err(Refusal::Unsupported)
        }
        Err(_) => Err(Refusal::Malformed),
    }
}

/// Verifies what was submitted, and brings what is sound to the writer.
async fn submit(service: &Service, submissions: Vec<Submission>) -> Result<Vec<Outcome>, Stopped> {
    let verified = verify_all(service, submissions).await?;
    let mut sound = Vec::with_capacity(verified.len());
    let mut outcomes = Vec::with_capacity(verified.len());
    for result in verified {
        outcomes.push(result.map(|entry| sound.push(entry)));
    }
    // The writer is asked even when nothing is sound: its answer says that all
    // changes of epochs that were due are made.
    let mut written = service.writer.submit(sound).await?.into_iter();
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
        *outcome = written.next().ok_or(Stopped)?;
    }
    Ok(outcomes)
}

async fn verify_all(
    service: &Service,
    submissions: Vec<Submission>,
) -> Result<Vec<Result<Verified, String>>, Stopped> {
    let entries = submissions.into_iter().map(Entry::Submitted);
    let chain = service.shared.read().await?;
    // Cheap and telling first: what is not from here costs no signature check.
    let origin = entries.map(|entry| match chain.state().check_origin(&entry) {
        Ok(()) => Ok(entry),
        Err(reason) => Err(reason.to_string()),
    });
    let checked: Vec<Result<Entry, String>> = origin.collect();
    drop(chain);
    let thread = service.verifiers.clone().acquire_owned().await.map_err(|_| Stopped)?;
    let verify = move || {
        let _thread = thread;
        let verify = |entry| Verified::new(entry).map_err(|error| error.to_string());
        checked.into_iter().map(|entry| entry.and_then(verify)).collect()
    };
    tokio::task::spawn_blocking(verify).await.map_err(|_| Stopped)
}

fn refusal_code(refusal: Refusal) -> VarInt {
    VarInt::from_u32(u32::from(refusal.code()))
}
