//! A link's UDP sockets as the webrtc crate sees them: counted, and throttled while the link opens.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use crate::LinkStats;

/// IP and UDP headers of a datagram without options or extension headers.
const fn header_bytes(is_ipv4: bool) -> u64 {
    if is_ipv4 { 20 + 8 } else { 40 + 8 }
}

/// What all sockets of a link put on the wire, IP and UDP headers included: STUN, DTLS and SCTP together.
#[derive(Debug, Default)]
pub(crate) struct WireCounters {
    sent_packets: AtomicU64,
    sent_bytes: AtomicU64,
    received_packets: AtomicU64,
    received_bytes: AtomicU64,
}

impl WireCounters {
    fn sent(&self, to: SocketAddr, payload_bytes: usize) {
        self.sent_packets.fetch_add(1, Ordering::Relaxed);
        self.sent_bytes.fetch_add(payload_bytes as u64 + header_bytes(to.is_ipv4()), Ordering::Relaxed);
    }

    fn received(&self, from: SocketAddr, payload_bytes: usize) {
        self.received_packets.fetch_add(1, Ordering::Relaxed);
        self.received_bytes.fetch_add(payload_bytes as u64 + header_bytes(from.is_ipv4()), Ordering::Relaxed);
    }

    /// Fills the `wire_*` fields in.
    pub(crate) fn fill(&self, stats: &mut LinkStats) {
        stats.wire_sent_packets = self.sent_packets.load(Ordering::Relaxed);
        stats.wire_sent_bytes = self.sent_bytes.load(Ordering::Relaxed);
        stats.wire_received_packets = self.received_packets.load(Ordering::Relaxed);
        stats.wire_received_bytes = self.received_bytes.load(Ordering::Relaxed);
    }
}

/// While a link opens, delivers one datagram and then waits a few rounds of the driver before the next.
///
/// The driver reads several datagrams before it acts on what the first one brought. When that is what completes the
/// SCTP handshake, data right behind it comes before the channels are set up: it is acknowledged and thrown away, and
/// the channel it came on sends reliably and in order from then on, whatever was asked.
#[derive(Default)]
pub(crate) struct StartupThrottle {
    is_lifted: AtomicBool,
    rounds: AtomicU64,
    blocked_until: AtomicU64,
}

/// In one round the driver notices the handshake, in the next it sets the channels up; one more as a margin.
const ROUNDS_PER_DATAGRAM: u64 = 3;

impl StartupThrottle {
    /// From now on every datagram is delivered at once.
    pub(crate) fn lift(&self) {
        self.is_lifted.store(true, Ordering::Release);
    }

    pub(crate) fn admits(&self) -> bool {
        self.is_lifted.load(Ordering::Acquire)
            || self.rounds.load(Ordering::Relaxed) >= self.blocked_until.load(Ordering::Relaxed)
    }

    fn delivered(&self) {
        self.blocked_until.store(self.rounds.load(Ordering::Relaxed) + ROUNDS_PER_DATAGRAM, Ordering::Relaxed);
    }

    /// The driver sleeps once in every round, after its work.
    pub(crate) fn round(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// One socket of a link.
pub(crate) struct LinkSocket {
    socket: UdpSocket,
    throttle: Arc<StartupThrottle>,
    /// `None` for the socket that asks for mDNS names: it hears the whole local network's questions.
    counters: Option<Arc<WireCounters>>,
}

impl LinkSocket {
    pub(crate) fn new(
        socket: std::net::UdpSocket,
        throttle: Arc<StartupThrottle>,
        counters: &Arc<WireCounters>,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let is_mdns = socket.local_addr()?.port() == rtc::mdns::MDNS_PORT;
        let counters = (!is_mdns).then(|| Arc::clone(counters));
        Ok(Self { socket: UdpSocket::from_std(socket)?, throttle, counters })
    }
}

impl fmt::Debug for LinkSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkSocket").finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for LinkSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let sent = ready!(self.socket.poll_send_to(cx, transmit.contents, transmit.destination))?;
        if let Some(counters) = &self.counters {
            counters.sent(transmit.destination, sent);
        }
        Poll::Ready(Ok(sent))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if !self.throttle.admits() {
            // The driver does not sleep meanwhile, and asks again in its next round.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (Some(buffer), Some(meta)) = (buffers.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        let mut buffer = ReadBuf::new(buffer);
        let source = ready!(self.socket.poll_recv_from(cx, &mut buffer))?;
        let received = buffer.filled().len();
        self.throttle.delivered();
        if let Some(counters) = &self.counters {
            counters.received(source, received);
        }
        meta.addr = source;
        meta.len = received;
        meta.stride = received.max(1);
        Poll::Ready(Ok(1))
    }
}
