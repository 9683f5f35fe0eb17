//! The runtime that the webrtc crate runs on: tokio, with three things kept in hand.
//!
//! - A connection's driver tells when it ends, however it ends: a panic in the stack must close its link.
//! - Sockets do without segmentation offload, whose receive buffers would cost 96 KB for each; and while a link opens
//!   they stand behind a [`Gate`].
//! - Names are looked up with limited patience, because a driver that looks up a name does nothing else meanwhile;
//!   and TCP, which a remote's candidate could aim anywhere, is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::{OnceCell, watch};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, TokioRuntime,
    Transmit,
};

use crate::limits::{LOOKUP_ENTRIES, LOOKUP_LIFETIME, LOOKUP_PATIENCE};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The runtime of one connection.
pub(crate) struct LinkRuntime {
    lookups: Arc<Lookups>,
    gate: Arc<Gate>,
    ended: watch::Sender<bool>,
}

impl LinkRuntime {
    /// Also returns what turns true when the connection's driver has ended.
    pub(crate) fn new(lookups: Arc<Lookups>, gate: Arc<Gate>) -> (Self, watch::Receiver<bool>) {
        let (ended, has_ended) = watch::channel(false);
        (Self { lookups, gate, ended }, has_ended)
    }
}

/// While a link opens, lets one datagram in and then has the driver go round a few times before the next.
///
/// The driver reads several datagrams before it acts on what the first one brought. When that is what completes the
/// SCTP handshake, data right behind it comes before the channels are set up: it is acknowledged and thrown away, and
/// the channel it came on sends reliably and in order from then on, whatever was asked.
#[derive(Default)]
pub(crate) struct Gate {
    is_open: AtomicBool,
    rounds: AtomicU64,
    closed_until: AtomicU64,
}

/// One round has the driver notice the handshake, the next sets the channels up; one more for good measure.
const ROUNDS_PER_DATAGRAM: u64 = 3;

impl Gate {
    /// From now on everything is let in.
    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    fn lets_in(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
            || self.rounds.load(Ordering::Relaxed) >= self.closed_until.load(Ordering::Relaxed)
    }

    fn let_in(&self) {
        self.closed_until.store(self.rounds.load(Ordering::Relaxed) + ROUNDS_PER_DATAGRAM, Ordering::Relaxed);
    }

    /// The driver sleeps once in every round, after its work.
    fn round(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for LinkRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkRuntime").finish_non_exhaustive()
    }
}

impl Runtime for LinkRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        let ended = TellEnd(self.ended.clone());
        Box::new(Task(tokio::spawn(async move {
            let _ended = ended;
            future.await;
        })))
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        socket.set_nonblocking(true)?;
        Ok(Arc::new(Socket { socket: UdpSocket::from_std(socket)?, gate: Arc::clone(&self.gate) }))
    }

    fn wrap_tcp_listener(&self, _: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect_tcp(&self, _: SocketAddr) -> Boxed<'_, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(Lookups::resolve(Arc::clone(&self.lookups), host.to_owned()))
    }

    /// Tokio's clock, so that a test may move it.
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        self.gate.round();
        if self.gate.lets_in() {
            Box::pin(tokio::time::sleep(duration))
        } else {
            // Not a sleep of no time, which tokio rounds up to a millisecond.
            Box::pin(std::future::ready(()))
        }
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }
}

struct TellEnd(watch::Sender<bool>);

impl Drop for TellEnd {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

struct Task(tokio::task::JoinHandle<()>);

impl JoinHandle for Task {
    fn detach(&self) {}

    fn abort(&self) {
        self.0.abort();
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

struct Socket {
    socket: UdpSocket,
    gate: Arc<Gate>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.socket.poll_send_to(cx, transmit.contents, transmit.destination)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if !self.gate.lets_in() {
            // The driver does not sleep meanwhile, and asks again in its next round.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (Some(buffer), Some(meta)) = (buffers.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        let mut buffer = ReadBuf::new(buffer);
        let source = ready!(self.socket.poll_recv_from(cx, &mut buffer))?;
        self.gate.let_in();
        meta.addr = source;
        meta.len = buffer.filled().len();
        meta.stride = meta.len.max(1);
        Poll::Ready(Ok(1))
    }
}

/// Names of STUN and TURN servers, looked up once for many links, also for those that ask at the same time. Bounded by
/// [`LOOKUP_ENTRIES`].
#[derive(Default)]
pub(crate) struct Lookups {
    known: Mutex<BTreeMap<String, Lookup>>,
}

struct Lookup {
    since: Instant,
    /// Empty while it is under way; no addresses if it failed.
    addresses: Arc<OnceCell<Vec<SocketAddr>>>,
}

impl Lookups {
    async fn resolve(lookups: Arc<Self>, host: String) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let addresses = lookups.addresses(&host);
        // In a task of its own, so that it ends, and is remembered, even when nobody waits for it any more.
        let lookup = tokio::spawn(async move {
            let look_up =
                || async { tokio::net::lookup_host(host.as_str()).await.map(Iterator::collect).unwrap_or_default() };
            addresses.get_or_init(look_up).await.clone()
        });
        match tokio::time::timeout(LOOKUP_PATIENCE, lookup).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            Ok(_) => Err(io::ErrorKind::NotFound.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn addresses(&self, host: &str) -> Arc<OnceCell<Vec<SocketAddr>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = known.get(host).filter(|lookup| lookup.is_believed()) {
            return Arc::clone(&lookup.addresses);
        }
        if known.len() >= LOOKUP_ENTRIES {
            known.clear();
        }
        let addresses = Arc::default();
        known.insert(host.to_owned(), Lookup { since: Instant::now(), addresses: Arc::clone(&addresses) });
        addresses
    }
}

impl Lookup {
    fn is_believed(&self) -> bool {
        let has_failed = self.addresses.get().is_some_and(Vec::is_empty);
        self.since.elapsed() < if has_failed { LOOKUP_LIFETIME / 10 } else { LOOKUP_LIFETIME }
    }
}
