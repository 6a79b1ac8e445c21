//! Accepts connections of registered gateways, and answers one request on each
//! stream.
//!
//! ```text
//! run -> serve (a connection) -> handle_stream (a request: one match)
//! ```
//!
//! All that a gateway can make us hold is counted: connections, requests on a
//! connection (QUIC's limit), requests worked on at once (`turns`). More requests
//! wait a while and are then refused. When the node stops, requests under way are
//! finished, new ones are refused, and then the endpoint is closed.
//!
//! Not here: what the requests do (`handle`), who is registered (`chain`).

use std::sync::Arc;
use std::time::Duration;

use protocol::message::Request;
use protocol::quic::CONNECT_TIMEOUT;
use protocol::refusal::Refusal;
use protocol::tls::peer_key;
use quinn::{Connection, Incoming, VarInt};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::error::RunError;
use crate::handle::get::Serving;
use crate::handle::stream::Stream;
use crate::handle::{Failure, delete, get, list, prove, put, standing, status, voucher};
use crate::{Inner, Peer};

/// Connections at once, over all gateways.
const CONNECTIONS_MAX: usize = 256;

/// Above this many connections a caller must first show that it is where it
/// says it is.
const UNPROVED_MAX: usize = 64;

/// How long requests under way may take after a stop.
const DRAIN: Duration = Duration::from_secs(10);

/// How long the peers may take to hear that we closed.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves until `stop`, then drains.
pub(crate) async fn run(node: Arc<Inner>, stop: CancellationToken) -> Result<(), RunError> {
    let mut connections = JoinSet::new();
    let ended = loop {
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            incoming = node.endpoint.accept() => {
                let Some(incoming) = incoming else { break Err(RunError::Endpoint) };
                if let Some(incoming) = admit(&node, incoming) {
                    connections.spawn(serve(node.clone(), incoming, stop.clone()));
                }
            }
            Some(ended) = connections.join_next() => report_panic(ended),
        }
    };
    // From now on handshakes are refused.
    node.endpoint.set_server_config(None);
    while let Some(ended) = connections.join_next().await {
        report_panic(ended);
    }
    node.endpoint.close(VarInt::from_u32(u32::from(Refusal::Stopping.code())), b"stopping");
    // A peer that does not answer finds out by itself.
    let _ = timeout(GOODBYE, node.endpoint.wait_idle()).await;
    ended
}

/// Turns away what would be too much.
fn admit(node: &Inner, incoming: Incoming) -> Option<Incoming> {
    let open = node.endpoint.open_connections();
    if open >= CONNECTIONS_MAX {
        tracing::warn!(from = %incoming.remote_address(), open, "too many connections");
        incoming.refuse();
        return None;
    }
    if open >= UNPROVED_MAX && !incoming.remote_address_validated() {
        // An error means that it was validated already.
        let _ = incoming.retry();
        return None;
    }
    Some(incoming)
}

/// Serves one connection until it ends, its gateway leaves the network, or the
/// node has drained after `stop`.
async fn serve(node: Arc<Inner>, incoming: Incoming, stop: CancellationToken) {
    let from = incoming.remote_address();
    let connection = match incoming.accept() {
        Ok(connecting) => match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return tracing::debug!(%from, %error, "handshake failed"),
            Err(_) => return tracing::debug!(%from, "handshake timed out"),
        },
        Err(error) => return tracing::debug!(%from, %error, "handshake failed"),
    };
    let Some(key) = peer_key(&connection) else {
        return refuse_connection(&connection);
    };
    let mut requests = JoinSet::new();
    tokio::select! {
        () = answer_all(&node, &connection, key.into(), &mut requests, &stop) => {}
        () = node.chain.left(key) => refuse_connection(&connection),
    }
    // What is left belongs to a connection that is no more. Dropping the set
    // ends it; what a blocking thread works on comes to its end.
}

fn refuse_connection(connection: &Connection) {
    let code = u32::from(Refusal::NotPermitted.code());
    connection.close(VarInt::from_u32(code), b"this key is not a registered gateway's");
}

/// Answers the requests of a connection. Ends with the connection, or when all
/// requests under way at `stop` are answered.
async fn answer_all(
    node: &Arc<Inner>,
    connection: &Connection,
    gateway: protocol::GatewayId,
    requests: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    let peer = Peer { gateway };
    loop {
        tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok(stream) => {
                    let (node, stream) = (node.clone(), Stream::new(stream));
                    requests.spawn(async move { handle_stream(&node, peer, stream).await });
                }
                Err(error) => return tracing::debug!(?gateway, %error, "connection ended"),
            },
            Some(ended) = requests.join_next() => report_panic(ended),
            () = stop.cancelled() => break,
        }
    }
    let deadline = Instant::now() + DRAIN;
    let drained = timeout_at(deadline, drain(connection, requests)).await;
    if drained.is_err() {
        tracing::warn!(?gateway, left = requests.len(), "requests are cut off by the stop");
    }
}

/// Refuses new requests until the others are done.
async fn drain(connection: &Connection, requests: &mut JoinSet<()>) {
    let mut refused = JoinSet::new();
    loop {
        tokio::select! {
            ended = requests.join_next() => match ended {
                Some(ended) => report_panic(ended),
                None => break,
            },
            stream = connection.accept_bi() => match stream {
                Ok(stream) => {
                    let mut stream = Stream::new(stream);
                    refused.spawn(async move {
                        if stream.refuse(Refusal::Stopping).await.is_ok() {
                            stream.finish().await;
                        }
                    });
                }
                Err(_) => return,
            },
            Some(ended) = refused.join_next() => report_panic(ended),
        }
    }
    while let Some(ended) = refused.join_next().await {
        report_panic(ended);
    }
}

/// A panic in one request is a fault of ours that must not take the node down.
fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a request panicked");
    }
}

/// Answers one request. Errors end here: they become a refusal or a reset on
/// the wire, and one line in the log.
async fn handle_stream(node: &Inner, peer: Peer, mut stream: Stream) {
    let request = match stream.request().await {
        Ok(request) => request,
        Err(failure) => return fail(node, peer, &mut stream, failure).await,
    };
    node.metrics.request(&request);
    let span = tracing::info_span!("stream", op = request.name(), peer = ?peer.gateway);
    async {
        match answer(node, peer, request, &mut stream).await {
            Ok(serving) => {
                let all_taken = stream.finish().await;
                if let Some(serving) = serving.filter(|_| all_taken) {
                    serving.complete();
                }
            }
            Err(failure) => fail(node, peer, &mut stream, failure).await,
        }
    }
    .instrument(span)
    .await;
}

async fn answer(
    node: &Inner,
    peer: Peer,
    request: Request,
    stream: &mut Stream,
) -> Result<Option<Serving>, Failure> {
    // Asked again for each request: connections outlive memberships.
    if !node.chain.admits(peer.gateway.into()) {
        return Err(Failure::Refused(Refusal::NotPermitted));
    }
    let mut turn = node.turns.take(&request).await?;
    match request {
        Request::Put { shard, max_len, chosen_ms } => {
            let order = put::Order { shard, max_len, chosen_ms };
            put::run(node, peer, order, &mut turn, stream).await?;
        }
        Request::Get { shard, start, end } => {
            return get::run(node, peer, shard, (start, end), &mut turn, stream).await.map(Some);
        }
        Request::Delete { shard } => delete::run(node, peer, shard, stream).await?,
        Request::Prove { shard, group } => prove::run(node, peer, shard, group, stream).await?,
        Request::Status => status::run(node, peer, stream).await?,
        Request::Voucher(voucher) => voucher::run(node, peer, *voucher, stream).await?,
        Request::List { from, limit } => list::run(node, peer, from, limit, stream).await?,
        Request::Standing(standing) => standing::run(node, peer, *standing, stream).await?,
    }
    Ok(None)
}

async fn fail(node: &Inner, peer: Peer, stream: &mut Stream, failure: Failure) {
    if failure.is_fault() {
        tracing::error!(peer = ?peer.gateway, %failure, "request not done");
    } else {
        tracing::debug!(peer = ?peer.gateway, %failure, "request not done");
    }
    let Some(refusal) = failure.refusal() else {
        node.metrics.broken();
        return stream.reset(failure.reset_code());
    };
    node.metrics.refused(refusal);
    if stream.refuse(refusal).await.is_ok() {
        stream.finish().await;
    }
}
