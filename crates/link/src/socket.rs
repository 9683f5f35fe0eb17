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
use crate::relayed;
use crate::stand_in::{Destination, StandIns};

/// IP and UDP headers of a datagram without options or extension headers.
fn header_bytes(address: SocketAddr) -> u64 {
    if address.ip().to_canonical().is_ipv4() { IPV4_HEADER_BYTES } else { IPV6_HEADER_BYTES }
}

const IPV4_HEADER_BYTES: u64 = 20 + 8;
const IPV6_HEADER_BYTES: u64 = 40 + 8;

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
        let carried = relayed::carried(datagram).unwrap_or(datagram);
        // The first byte tells what it is (RFC 7983 §7).
        if !matches!(carried.first(), Some(20..=63)) {
            return;
        }
        let turn_bytes = datagram.len() - carried.len();
        let bytes = header_bytes(to) as u32 + turn_bytes as u32;
        self.header_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What headers take of each datagram beyond IPv4 and UDP.
    pub(crate) fn further_header_bytes(&self) -> u32 {
        self.header_bytes.load(Ordering::Relaxed).saturating_sub(IPV4_HEADER_BYTES as u32)
    }

    /// Returns the bytes that were counted.
    fn sent(&self, to: SocketAddr, payload_bytes: usize) -> u64 {
        let bytes = payload_bytes as u64 + header_bytes(to);
        self.sent_packets.fetch_add(1, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        bytes
    }

    fn received(&self, from: SocketAddr, payload_bytes: usize) {
        self.received_packets.fetch_add(1, Ordering::Relaxed);
        self.received_bytes.fetch_add(payload_bytes as u64 + header_bytes(from), Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::relayed::tests::{binding, indication, through};

    /// A record of DTLS, as long as one with speech in it.
    const RECORD: [u8; 137] = [23; 137];
    /// A message of STUN, which is no connectivity check.
    const STUN: [u8; 20] = [0; 20];
    const SERVER_PEER: &str = "198.51.100.7:999";
    const SERVER_PEER_V6: &str = "[2001:db8::7]:999";

    struct Sent {
        socket: SocketHandle,
        shared: Arc<LinkSockets>,
        to: SocketAddr,
        _receiver: std::net::UdpSocket,
    }

    impl Sent {
        /// A socket of a link, and where it sends to.
        fn on(address: &str) -> Self {
            let shared = Arc::new(LinkSockets::default());
            let bound = || std::net::UdpSocket::bind((address, 0)).expect("a socket");
            let (own, receiver) = (bound(), bound());
            let to = receiver.local_addr().expect("an address");
            let socket = LinkSocket::new(own, shared.clone()).expect("a socket");
            Self { socket: SocketHandle(Arc::new(socket)), shared, to, _receiver: receiver }
        }

        async fn send(&self, contents: &[u8]) {
            let transmit = Transmit {
                destination: self.to,
                ecn: None,
                contents,
                segment_size: None,
                src_ip: None,
            };
            let sent = poll_fn(|cx| self.socket.poll_send(cx, &transmit)).await;
            assert_eq!(sent.expect("it is sent"), contents.len());
        }

        fn further_header_bytes(&self) -> u32 {
            self.shared.counters.further_header_bytes()
        }

        fn stats(&self) -> LinkStats {
            let mut stats = LinkStats::default();
            self.shared.counters.fill(&mut stats);
            stats
        }
    }

    /// What of the headers is more than those of IPv4 and UDP: IPv6, and what TURN puts around a
    /// record, padding included.
    #[tokio::test]
    async fn headers_of_ipv6_and_of_turn_are_counted_as_they_are_sent() {
        let (v4, v6) = (SERVER_PEER.parse().unwrap(), SERVER_PEER_V6.parse().unwrap());
        // A header of 4 bytes, and padding to a multiple of 4.
        let channel = through(0x4001, &RECORD);
        assert_eq!(channel.len(), 4 + RECORD.len() + 3);
        // STUN's header, the peer's address, and the header and the padding of the data.
        let indications = [
            (indication(v4, &RECORD), 20 + 12 + 4 + 3),
            (indication(v6, &RECORD), 20 + 24 + 4 + 3),
        ];
        for (address, of_ip) in [("127.0.0.1", 0), ("::1", 20)] {
            let sent = Sent::on(address);
            assert_eq!(sent.further_header_bytes(), 0, "nothing is known");
            let mut expected_bytes = 0;
            let mut packets = 0;
            let mut send = async |datagram: &[u8], further: u32| {
                sent.send(datagram).await;
                packets += 1;
                expected_bytes += datagram.len() as u64 + 28 + u64::from(of_ip);
                assert_eq!(sent.further_header_bytes(), of_ip + further, "{address}: {datagram:?}");
                let stats = sent.stats();
                assert_eq!(stats.header_bytes, 28 + of_ip + further);
                assert_eq!(
                    (stats.wire_sent_packets, stats.wire_sent_bytes),
                    (packets, expected_bytes)
                );
            };
            send(&RECORD, 0).await;
            send(&channel, 7).await;
            for (datagram, further) in &indications {
                send(datagram, *further).await;
            }
            send(&RECORD, 0).await;
            // What is no record of DTLS goes by other pairs of addresses as well.
            for datagram in
                [&STUN[..], &binding(0x4001, v4), &through(0x4001, &STUN), &indication(v6, &STUN)]
            {
                send(datagram, 0).await;
            }
        }
    }

    #[tokio::test]
    async fn ipv4_from_a_socket_of_both_families_has_the_headers_of_ipv4() {
        let counters = WireCounters::default();
        let mapped = "[::ffff:192.0.2.1]:5000".parse().unwrap();
        counters.carries(mapped, &RECORD);
        assert_eq!(counters.further_header_bytes(), 0);
        assert_eq!(counters.sent(mapped, 100), 128);
    }
}
