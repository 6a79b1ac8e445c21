//! quinn on simulated UDP: a socket, a clock and a way to start tasks.
//!
//! Each datagram carries its number and when it was sent, so that what the
//! simulated network did to it can be counted at the other end.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{
    AsyncTimer, AsyncUdpSocket, Endpoint, EndpointConfig, Runtime, ServerConfig, UdpPoller,
};
use tokio::sync::mpsc;

use super::Trace;

/// A number and a time in front of each datagram.
const HEADER: usize = 16;

/// Datagrams that a socket keeps for who reads it; more are lost.
pub const QUEUE: usize = 4096;

/// A datagram that took longer came over a slow line.
const LATE: Duration = Duration::from_millis(50);

/// What became of datagrams.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Datagrams that were sent.
    pub sent: u64,
    /// Datagrams that came.
    pub came: u64,
    /// Datagrams that came after a later one.
    pub reordered: u64,
    /// Datagrams that took long.
    pub late: u64,
    /// The last number that came over each way.
    newest: BTreeMap<(SocketAddr, SocketAddr), u64>,
    /// Everything that came, in order.
    pub trace: Trace,
}

impl Traffic {
    /// A number for the next datagram.
    fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    fn arrive(&mut self, way: (SocketAddr, SocketAddr), header: (u64, u64), len: usize) {
        let (number, sent_us) = header;
        let took = now().saturating_sub(Duration::from_micros(sent_us));
        self.came += 1;
        self.late += u64::from(took > LATE);
        let newest = self.newest.entry(way).or_default();
        self.reordered += u64::from(number < *newest);
        *newest = number.max(*newest);
        self.trace.add(&[number, sent_us, len as u64, now().as_micros() as u64]);
    }
}

/// Since the beginning of the simulation.
pub fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

/// What all sockets of a simulation share.
pub type SharedTraffic = Arc<Mutex<Traffic>>;

/// An endpoint on simulated UDP. Call it on a simulated machine.
pub async fn endpoint(
    port: u16,
    mut config: EndpointConfig,
    server: Option<ServerConfig>,
    seed: [u8; 32],
    traffic: SharedTraffic,
) -> io::Result<Endpoint> {
    config.rng_seed(Some(seed));
    let socket = SimulatedSocket::bind(port, traffic).await?;
    Endpoint::new_with_abstract_socket(config, server, Arc::new(socket), Arc::new(SimulatedTime))
}

struct SimulatedSocket {
    socket: Arc<turmoil::net::UdpSocket>,
    arrivals: Mutex<mpsc::Receiver<(Vec<u8>, SocketAddr)>>,
    traffic: SharedTraffic,
}

impl SimulatedSocket {
    async fn bind(port: u16, traffic: SharedTraffic) -> io::Result<Self> {
        let socket = turmoil::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        let socket = Arc::new(socket);
        let (arrive, arrivals) = mpsc::channel(QUEUE);
        tokio::task::spawn_local(receive(socket.clone(), arrive, traffic.clone()));
        Ok(Self { socket, arrivals: Mutex::new(arrivals), traffic })
    }
}

/// turmoil's sockets can only be awaited and quinn polls, so a task lies between.
async fn receive(
    socket: Arc<turmoil::net::UdpSocket>,
    arrive: mpsc::Sender<(Vec<u8>, SocketAddr)>,
    traffic: SharedTraffic,
) {
    let mut buffer = vec![0; 2048];
    let Ok(here) = socket.local_addr() else { return };
    while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
        let (header, content) = buffer[..len].split_at(HEADER);
        let part = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"));
        traffic.lock().expect("no panic").arrive((from, here), (part(0), part(8)), content.len());
        if let Err(mpsc::error::TrySendError::Closed(_)) = arrive.try_send((content.to_vec(), from))
        {
            return;
        }
    }
}

impl fmt::Debug for SimulatedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedSocket")
    }
}

impl AsyncUdpSocket for SimulatedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let number = self.traffic.lock().expect("no panic").send();
        let sent = now().as_micros() as u64;
        let header = [number.to_le_bytes(), sent.to_le_bytes()].concat();
        let datagram = [header.as_slice(), transmit.contents].concat();
        self.socket.try_send_to(&datagram, transmit.destination).map(|_| ())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut arrivals = self.arrivals.lock().expect("no panic");
        match arrivals.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Poll::Ready(Some((content, addr))) => {
                let len = content.len().min(buffers[0].len());
                buffers[0][..len].copy_from_slice(&content[..len]);
                meta[0] = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                Poll::Ready(Ok(1))
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// tokio's clock, which turmoil moves, and tasks that end with their machine.
#[derive(Debug)]
struct SimulatedTime;

impl Runtime for SimulatedTime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer(Box::pin(tokio::time::sleep_until(at.into()))))
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::task::spawn_local(task);
    }

    fn wrap_udp_socket(&self, _: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::Error::other("a simulation has no real sockets"))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

#[derive(Debug)]
struct Timer(Pin<Box<tokio::time::Sleep>>);

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        self.0.as_mut().reset(at.into());
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(self.0.as_mut(), cx)
    }
}
