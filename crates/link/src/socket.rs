//! A link's UDP sockets as the webrtc crate sees them: counted, throttled while the link opens,
//! with fewer connectivity checks and acknowledgements, and with stand-ins for servers whose names
//! are being looked up.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::Instant;
use voicemesh_common::lock;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use crate::LinkStats;
use crate::acks::{AckThinner, Outgoing, RecordExpansion};
use crate::check_budget::CheckBudget;
use crate::checks::CheckLimiter;
use crate::openings::Openings;
use crate::stand_in::{Destination, StandIns};

/// IP and UDP headers of a datagram without options or extension headers.
const fn header_bytes(is_ipv4: bool) -> u64 {
    if is_ipv4 { 20 + 8 } else { 40 + 8 }
}

/// ChannelData of TURN (RFC 8656 §12.4).
const CHANNEL_HEADER_BYTES: u32 = 4;

/// What all sockets of a link put on the wire, IP and UDP headers included: STUN, DTLS and SCTP
/// together.
#[derive(Debug, Default)]
pub(crate) struct WireCounters {
    sent_packets: AtomicU64,
    sent_bytes: AtomicU64,
    received_packets: AtomicU64,
    received_bytes: AtomicU64,
    /// Before the latest DTLS record.
    header_bytes: AtomicU32,
}

impl WireCounters {
    /// The pair of addresses in use carries DTLS; connectivity checks go by others as well.
    fn carries(&self, to: SocketAddr, datagram: &[u8]) {
        // The first byte tells what it is (RFC 7983 §7).
        let turn_bytes = match datagram.first() {
            Some(20..=63) => 0,
            Some(64..=79) => CHANNEL_HEADER_BYTES,
            _ => return,
        };
        let bytes = header_bytes(to.is_ipv4()) as u32 + turn_bytes;
        self.header_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What headers take of each datagram beyond IPv4 and UDP.
    pub(crate) fn further_header_bytes(&self) -> u32 {
        self.header_bytes.load(Ordering::Relaxed).saturating_sub(header_bytes(true) as u32)
    }

    /// Returns the bytes that were counted.
    fn sent(&self, to: SocketAddr, payload_bytes: usize) -> u64 {
        let bytes = payload_bytes as u64 + header_bytes(to.is_ipv4());
        self.sent_packets.fetch_add(1, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        bytes
    }

    fn received(&self, from: SocketAddr, payload_bytes: usize) {
        self.received_packets.fetch_add(1, Ordering::Relaxed);
        self.received_bytes
            .fetch_add(payload_bytes as u64 + header_bytes(from.is_ipv4()), Ordering::Relaxed);
    }

    /// Fills the `wire_*` fields in.
    pub(crate) fn fill(&self, stats: &mut LinkStats) {
        stats.wire_sent_packets = self.sent_packets.load(Ordering::Relaxed);
        stats.wire_sent_bytes = self.sent_bytes.load(Ordering::Relaxed);
        stats.wire_received_packets = self.received_packets.load(Ordering::Relaxed);
        stats.wire_received_bytes = self.received_bytes.load(Ordering::Relaxed);
        stats.header_bytes = self.header_bytes.load(Ordering::Relaxed);
    }
}

/// While a link opens, delivers one datagram and then waits a few rounds of the driver before the
/// next.
///
/// The driver reads several datagrams before it acts on what the first one brought. When that is
/// what completes the SCTP handshake, data right behind it comes before the channels are set up: it
/// is acknowledged and thrown away, and the channel it came on sends reliably and in order from
/// then on, whatever was asked.
#[derive(Default)]
pub(crate) struct StartupThrottle {
    is_lifted: AtomicBool,
    /// The driver sleeps once in every round, after its work.
    rounds: AtomicU64,
    blocked_until: AtomicU64,
}

/// In one round the driver notices the handshake, in the next it sets the channels up; one more as
/// a margin.
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
        self.blocked_until
            .store(self.rounds.load(Ordering::Relaxed) + ROUNDS_PER_DATAGRAM, Ordering::Relaxed);
    }
}

/// What the sockets of one link share.
#[derive(Default)]
pub(crate) struct LinkSockets {
    throttle: StartupThrottle,
    counters: Arc<WireCounters>,
    /// Told what the link sends until it is open.
    openings: Arc<Openings>,
    expansion: RecordExpansion,
    checks: Mutex<CheckLimiter>,
    /// From now on nothing is held back.
    is_closing: AtomicBool,
    stand_ins: StandIns<LinkSocket>,
    /// Told of every round of the driver.
    round: Notify,
}

impl LinkSockets {
    pub(crate) fn new(
        counters: Arc<WireCounters>,
        checks: &Arc<CheckBudget>,
        openings: Arc<Openings>,
        remote: u128,
    ) -> Arc<Self> {
        let checks = Mutex::new(CheckLimiter::new(Arc::clone(checks), remote));
        Arc::new(Self { counters, checks, openings, ..Self::default() })
    }

    fn checks(&self) -> MutexGuard<'_, CheckLimiter> {
        lock(&self.checks)
    }

    pub(crate) fn throttle(&self) -> &StartupThrottle {
        &self.throttle
    }

    pub(crate) fn stand_ins(&self) -> &StandIns<LinkSocket> {
        &self.stand_ins
    }

    /// The link is about to close.
    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    /// The driver has done its work and goes to sleep.
    pub(crate) fn driver_sleeps(&self) {
        self.throttle.rounds.fetch_add(1, Ordering::Release);
        self.round.notify_one();
    }

    /// How often the driver has gone to sleep.
    pub(crate) fn rounds(&self) -> u64 {
        self.throttle.rounds.load(Ordering::Acquire)
    }

    /// Returns when the driver goes to sleep, or has since the last call.
    pub(crate) async fn round(&self) {
        self.round.notified().await;
    }
}

/// One socket of a link.
pub(crate) struct LinkSocket {
    socket: UdpSocket,
    shared: Arc<LinkSockets>,
    local: SocketAddr,
    acks: Mutex<AckThinner>,
    /// Asks for mDNS names, and hears the whole local network's questions: not counted.
    is_mdns: bool,
}

impl LinkSocket {
    pub(crate) fn new(socket: std::net::UdpSocket, shared: Arc<LinkSockets>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let is_mdns = local.port() == rtc::mdns::MDNS_PORT;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            shared,
            local,
            acks: Mutex::default(),
            is_mdns,
        })
    }

    /// Sends what was kept or held back. UDP may lose it as well.
    pub(crate) fn send_kept(&self, datagram: &[u8], to: SocketAddr) {
        if self.socket.try_send_to(datagram, to).is_ok() {
            self.count_sent(to, datagram.len());
        }
    }

    fn count_sent(&self, to: SocketAddr, bytes: usize) {
        if self.is_mdns {
            return;
        }
        let bytes = self.shared.counters.sent(to, bytes);
        if !self.shared.throttle.is_lifted.load(Ordering::Relaxed) {
            self.shared.openings.sent(bytes);
        }
    }

    fn acks(&self) -> MutexGuard<'_, AckThinner> {
        lock(&self.acks)
    }

    /// Sends the held acknowledgement when its time has come.
    fn release_at(socket: Weak<Self>, mut due: Instant) {
        tokio::spawn(async move {
            loop {
                tokio::time::sleep_until(due).await;
                let Some(socket) = socket.upgrade() else { return };
                let outcome = socket.acks().due(Instant::now());
                match outcome {
                    Some(Ok((datagram, to))) => socket.send_kept(&datagram, to),
                    Some(Err(later)) => due = later,
                    None => return,
                }
            }
        });
    }
}

impl fmt::Debug for LinkSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkSocket").finish_non_exhaustive()
    }
}

/// A link's socket as the webrtc crate holds it.
#[derive(Debug)]
pub(crate) struct SocketHandle(pub(crate) Arc<LinkSocket>);

impl AsyncUdpSocket for SocketHandle {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let (socket, datagram) = (&self.0, transmit.contents);
        let to =
            match socket.shared.stand_ins.destination(transmit.destination, socket, datagram)? {
                Destination::Address(to) => to,
                Destination::Kept => return Poll::Ready(Ok(datagram.len())),
            };
        let shared = &socket.shared;
        if !shared.checks().admits(Instant::now(), socket.local, to, datagram) {
            return Poll::Ready(Ok(datagram.len()));
        }
        shared.counters.carries(to, datagram);
        shared.expansion.observe(datagram);
        // An ABORT is as long as a FORWARD TSN.
        if !shared.is_closing.load(Ordering::Acquire) {
            let outgoing = socket.acks().outgoing(Instant::now(), datagram, to, &shared.expansion);
            match outgoing {
                Outgoing::Send => {}
                Outgoing::Replaced => return Poll::Ready(Ok(datagram.len())),
                Outgoing::Held(due) => {
                    LinkSocket::release_at(Arc::downgrade(socket), due);
                    return Poll::Ready(Ok(datagram.len()));
                }
            }
        }
        let sent = ready!(socket.socket.poll_send_to(cx, datagram, to))?;
        socket.count_sent(to, sent);
        Poll::Ready(Ok(sent))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (socket, shared) = (&self.0, &self.0.shared);
        if !shared.throttle.admits() {
            // The driver does not sleep meanwhile, and asks again in its next round.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (Some(buffer), Some(meta)) = (buffers.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        let mut buffer = ReadBuf::new(buffer);
        let source = ready!(socket.socket.poll_recv_from(cx, &mut buffer))?;
        let datagram = buffer.filled();
        shared.throttle.delivered();
        if !socket.is_mdns {
            shared.counters.received(source, datagram.len());
        }
        shared.expansion.observe(datagram);
        shared.checks().received(Instant::now(), socket.local, source, datagram);
        socket.acks().received(datagram.len());
        meta.addr = shared.stand_ins.source(source);
        meta.len = datagram.len();
        meta.stride = meta.len.max(1);
        Poll::Ready(Ok(1))
    }
}
