//! The runtime that the webrtc crate runs on: tokio, with three things kept in hand.
//!
//! - A connection's driver tells when it ends, however it ends: a panic in the stack must close its
//!   link.
//! - Sockets are [`LinkSocket`]s. They do without segmentation offload, whose receive buffers would
//!   cost 96 KB for each.
//! - Names are looked up beside the driver, which does nothing else while it waits for one: see
//!   [`crate::stand_in`].
//! - TCP, which a remote's candidate could aim anywhere, is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, watch};
use voicemesh_common::lock;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime,
};

use crate::limits::{LOOKUP_ENTRIES, LOOKUP_LIFETIME};
use crate::socket::{LinkSocket, LinkSockets, SocketHandle};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The runtime of one connection.
pub(crate) struct LinkRuntime {
    lookups: Arc<Lookups>,
    sockets: Arc<LinkSockets>,
    ended: watch::Sender<bool>,
}

impl LinkRuntime {
    /// Also returns what turns true when the connection's driver has ended.
    pub(crate) fn new(
        lookups: Arc<Lookups>,
        sockets: Arc<LinkSockets>,
    ) -> (Self, watch::Receiver<bool>) {
        let (ended, has_ended) = watch::channel(false);
        (Self { lookups, sockets, ended }, has_ended)
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
        Ok(Arc::new(SocketHandle(Arc::new(LinkSocket::new(socket, Arc::clone(&self.sockets))?))))
    }

    fn wrap_tcp_listener(&self, _: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect_tcp(&self, _: SocketAddr) -> Boxed<'_, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        let resolved = self.lookups.resolve(host, &self.sockets);
        Box::pin(std::future::ready(resolved))
    }

    /// Tokio's clock, so that a test may move it.
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[expect(clippy::disallowed_methods, reason = "the timer that the WebRTC stack asks for")]
    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        self.sockets.driver_sleeps();
        if self.sockets.throttle().admits() {
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

/// Names of STUN and TURN servers, looked up once for many links, also for those that ask at the
/// same time. Bounded by [`LOOKUP_ENTRIES`].
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
    /// The addresses of a name that is known, or stand-ins for them while it is looked up. Waits
    /// for nothing.
    fn resolve(&self, host: &str, sockets: &Arc<LinkSockets>) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let addresses = self.addresses(host);
        match addresses.get() {
            Some(known) if known.is_empty() => return Err(io::ErrorKind::NotFound.into()),
            Some(known) => return Ok(known.clone()),
            None => {}
        }
        let stand_in = sockets.stand_ins().add().ok_or(io::ErrorKind::QuotaExceeded)?;
        let (host, sockets) = (host.to_owned(), Arc::downgrade(sockets));
        tokio::spawn(async move {
            let look_up = || async {
                tokio::net::lookup_host(host.as_str())
                    .await
                    .map(Iterator::collect)
                    .unwrap_or_default()
            };
            let found = addresses.get_or_init(look_up).await.clone();
            if let Some(sockets) = sockets.upgrade() {
                for (waiting, to) in sockets.stand_ins().found(stand_in, found) {
                    if let Some(sender) = waiting.sender.upgrade() {
                        sender.send_kept(&waiting.datagram, to);
                    }
                }
            }
        });
        Ok(stand_in.addresses().to_vec())
    }

    fn addresses(&self, host: &str) -> Arc<OnceCell<Vec<SocketAddr>>> {
        let mut known = lock(&self.known);
        if let Some(lookup) = known.get(host).filter(|lookup| lookup.is_believed()) {
            return Arc::clone(&lookup.addresses);
        }
        if known.len() >= LOOKUP_ENTRIES {
            known.clear();
        }
        let addresses = Arc::default();
        known.insert(
            host.to_owned(),
            Lookup { since: Instant::now(), addresses: Arc::clone(&addresses) },
        );
        addresses
    }
}

impl Lookup {
    fn is_believed(&self) -> bool {
        let has_failed = self.addresses.get().is_some_and(Vec::is_empty);
        self.since.elapsed() < if has_failed { LOOKUP_LIFETIME / 10 } else { LOOKUP_LIFETIME }
    }
}
