//! QUIC endpoints: sockets, transport settings, dialling.
//!
//! What decides the speed is the size of a packet and whether the kernel takes
//! and gives many at once (GSO, GRO). quinn sends at most ten packets a call,
//! and ten packets must stay under 64 KiB, hence [`LOOPBACK_MTU`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig,
    MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::ids::PublicKey;
use crate::keys::{SecretKey, random};
use crate::tls::{self, Admission, SERVER_NAME};

/// Packet size on loopback: 10 x 6550 is just under 64 KiB.
pub const LOOPBACK_MTU: u16 = 6550;

/// Packet size that discovery tries for on other paths.
const PATH_MTU: u16 = 1452;

/// What we ask of the system for each socket; it may give less.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Bytes that may be on their way on one stream.
pub const STREAM_WINDOW: u32 = 1024 * 1024;

/// How long a peer may be silent.
const IDLE: Duration = Duration::from_secs(30);

/// How long a handshake may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Requests under way on one connection.
pub const STREAMS_MAX: u32 = 256;

/// Why a connection could not be made.
#[derive(Debug, Error)]
pub enum DialError {
    /// The settings or the address make no sense.
    #[error("cannot dial {0}: {1}")]
    Connect(SocketAddr, quinn::ConnectError),
    /// The handshake failed.
    #[error("connection to {0}: {1}")]
    Connection(SocketAddr, quinn::ConnectionError),
    /// The handshake took too long.
    #[error("no answer from {0}")]
    Timeout(SocketAddr),
}

/// An endpoint that accepts connections from admitted keys.
pub fn listen(addr: SocketAddr, key: &SecretKey, admission: Admission) -> io::Result<Endpoint> {
    let (config, server) = listening(key, admission, addr.ip().is_loopback());
    endpoint(addr, config, Some(server))
}

/// How an endpoint is set up that accepts connections from admitted keys: for
/// [`listen`], and for sockets of another kind, such as simulated ones.
pub fn listening(
    key: &SecretKey,
    admission: Admission,
    loopback: bool,
) -> (EndpointConfig, ServerConfig) {
    let mut server = ServerConfig::with_crypto(Arc::new(tls::server_config(key, admission)));
    server.transport_config(Arc::new(transport(loopback)));
    // Handshakes under way; more are told to come back.
    server.max_incoming(1024);
    (remembering(key), server)
}

/// An endpoint that only dials. `towards` decides the address family.
pub fn dialler(towards: IpAddr) -> io::Result<Endpoint> {
    let any: IpAddr = match towards {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    endpoint(SocketAddr::new(any, 0), EndpointConfig::default(), None)
}

/// Connects to `server` at `addr` as `key`.
pub async fn dial(
    endpoint: &Endpoint,
    key: &SecretKey,
    server: impl Into<PublicKey>,
    addr: SocketAddr,
) -> Result<quinn::Connection, DialError> {
    let mut config = ClientConfig::new(Arc::new(tls::client_config(key, server)));
    config.transport_config(Arc::new(transport(addr.ip().is_loopback())));
    let connecting = endpoint
        .connect_with(config, addr, SERVER_NAME)
        .map_err(|error| DialError::Connect(addr, error))?;
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(DialError::Connection(addr, error)),
        Err(_) => Err(DialError::Timeout(addr)),
    }
}

/// Reset tokens that follow from the key, so that a process that was killed and
/// started again can tell its peers that their connections are gone. Without
/// that they would wait for [`IDLE`], and be no use to anyone.
fn remembering(key: &SecretKey) -> EndpointConfig {
    let secret = Zeroizing::new(blake3::derive_key("stratos quic reset v1", key.seed().as_ref()));
    let reset = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_ref());
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.cid_generator(|| Box::new(AnyId));
    config
}

/// Random connection ids. quinn's own tell those of an earlier process from
/// noise by a key that ended with it, and then stay silent.
struct AnyId;

const ID_LEN: usize = 8;

impl ConnectionIdGenerator for AnyId {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&random::<ID_LEN>())
    }
    fn cid_len(&self) -> usize {
        ID_LEN
    }
    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn endpoint(
    addr: SocketAddr,
    mut config: EndpointConfig,
    server: Option<ServerConfig>,
) -> io::Result<Endpoint> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    // Small buffers lose packets under load. The system caps what it gives.
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&addr.into())?;
    let (asked, got) = (SOCKET_BUFFER, socket.recv_buffer_size()?);
    let socket = std::net::UdpSocket::from(socket);
    warn_about_slow_sockets(&socket, asked, got)?;

    config
        .max_udp_payload_size(LOOPBACK_MTU)
        .map_err(|error| io::Error::other(error.to_string()))?;
    let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("no async runtime"))?;
    Endpoint::new(config, server, socket, runtime)
}

fn warn_about_slow_sockets(
    socket: &std::net::UdpSocket,
    asked: usize,
    got: usize,
) -> io::Result<()> {
    let state = quinn::udp::UdpSocketState::new(socket.into())?;
    if state.max_gso_segments() == 1 || state.gro_segments() == 1 {
        tracing::warn!("this system has no UDP segmentation offload: QUIC costs ten times the CPU");
    }
    // Linux reports twice what it grants.
    if got < asked {
        tracing::warn!(asked, got, "small UDP buffers: raise net.core.rmem_max and wmem_max");
    }
    Ok(())
}

fn transport(loopback: bool) -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut discovery = MtuDiscoveryConfig::default();
    if loopback {
        // The path is known; there is nothing to discover.
        config.initial_mtu(LOOPBACK_MTU);
        discovery.upper_bound(LOOPBACK_MTU);
    } else {
        discovery.upper_bound(PATH_MTU);
    }
    config
        .mtu_discovery_config(Some(discovery))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        // No limit for the whole connection: readers that pause would use it up
        // and stop everybody else. What is read at once is bounded by those who
        // ask, stream by stream.
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::MAX)
        .send_window(8 * 1024 * 1024)
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(Duration::from_secs(5)))
        .max_idle_timeout(Some(IDLE.try_into().expect("30 s fit a varint")));
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::peer_key;

    const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    /// One request and its echo, or the reason why not.
    async fn talk(
        server: &SecretKey,
        client: &SecretKey,
        pinned: PublicKey,
        admitted: PublicKey,
    ) -> Result<Vec<u8>, String> {
        let listener = listen(LOOPBACK, server, Admission::only(admitted)).unwrap();
        let addr = listener.local_addr().unwrap();
        let expected = client.public();
        let echo = async {
            let connection = listener.accept().await.unwrap().await.map_err(|e| e.to_string())?;
            assert_eq!(peer_key(&connection), Some(expected));
            let (mut send, mut recv) = connection.accept_bi().await.map_err(|e| e.to_string())?;
            let got = recv.read_to_end(64).await.map_err(|e| e.to_string())?;
            send.write_all(&got).await.map_err(|e| e.to_string())?;
            send.finish().map_err(|e| e.to_string())?;
            connection.closed().await;
            Ok::<_, String>(())
        };
        let ask = async {
            let endpoint = dialler(addr.ip()).unwrap();
            let connection =
                dial(&endpoint, client, pinned, addr).await.map_err(|e| e.to_string())?;
            assert_eq!(peer_key(&connection), Some(pinned));
            let (mut send, mut recv) = connection.open_bi().await.map_err(|e| e.to_string())?;
            send.write_all(b"shard").await.map_err(|e| e.to_string())?;
            send.finish().map_err(|e| e.to_string())?;
            let back = recv.read_to_end(64).await.map_err(|e| e.to_string())?;
            connection.close(0u32.into(), b"");
            Ok::<_, String>(back)
        };
        let (echoed, answer) = tokio::join!(echo, ask);
        let back = answer?;
        echoed?;
        Ok(back)
    }

    #[tokio::test]
    async fn only_the_right_keys_talk() {
        let [node, gateway, other] = [1, 2, 3].map(|n| SecretKey::from_seed([n; 32]));
        let right = talk(&node, &gateway, node.public(), gateway.public()).await;
        assert_eq!(right, Ok(b"shard".to_vec()));

        let wrong_server = talk(&node, &gateway, other.public(), gateway.public()).await;
        assert!(wrong_server.unwrap_err().contains("not admitted"));

        // A sound key that is not a registered gateway's: another node's, say.
        let wrong_client = talk(&node, &other, node.public(), gateway.public()).await;
        assert!(wrong_client.is_err());
    }
}
