//! From a listening socket to HTTP: bounds, socket options, TLS.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::certificate::Certificate;
use super::connection_slots::ConnectionSlot;
use super::counted_io::CountedIo;
use super::error::system_words;
use super::head::Head;
use super::http::{Site, SocketAddress};
use super::hub::Hub;
use super::page::Page;
use super::request_limits::ConnectionRequests;
use super::turns::Turns;
use crate::config::key_file::is_out_of_files;
use voicemesh_rooms::AddressKey;

/// What a handshake needs.
type Tls = (TlsAcceptor, Turns);

/// Why a connection is beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TurnedAway {
    /// There are as many connections as the server takes.
    ServerFull,
    /// Its address has as many as one may have.
    AddressFull,
}

impl TurnedAway {
    fn answer(self) -> &'static [u8] {
        match self {
            Self::ServerFull => {
                b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\n\
                Content-Type: text/plain\r\nContent-Length: 20\r\n\r\nThe server is full.\n"
            }
            Self::AddressFull => {
                b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 10\r\nConnection: close\r\n\
                Content-Type: text/plain\r\nContent-Length: 40\r\n\r\nToo many connections from this address.\n"
            }
        }
    }
}

/// How long they may take to read it.
const TURNING_AWAY: Duration = Duration::from_secs(2);
/// The same while no descriptor is free and everyone else waits.
const MOMENT: Duration = Duration::from_millis(20);
/// Between two lines about connections that cannot be accepted.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
/// For a TLS handshake, and for the head of a request.
const OPENING: Duration = Duration::from_secs(10);
/// What the kernel may hold unsent of one connection: voice that waits longer belongs into our own
/// queue, where its age is looked at.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES: u32 = 2 * 1024;
/// What a peer's machine has not acknowledged after this ends the connection.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(15);
/// How long one connection may speak HTTP, and then as long again for the answer that is under way,
/// so that no client keeps its slot by reading the page slowly or not at all. A client that is not
/// done by then connects again.
const HTTP: Duration = Duration::from_secs(30);
/// One address may have so many times its WebSockets in connections of any kind, while pages are
/// loaded and renewed.
const ADDRESS_SLOTS: usize = 2;
/// After an error that is the machine's (no more descriptors), before accepting again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Handshakes that are answered before everything else on the server has its turn.
const HANDSHAKES_PER_TURN: usize = 2;
/// The head of a request: browsers send the cookies of every application on the same host, which
/// can be 16 KiB and more. A longer one is answered with 431.
const REQUEST_HEAD_BYTES: usize = 32 * 1024;

/// Accepts until it is dropped.
#[expect(
    clippy::disallowed_methods,
    reason = "the system does not report that descriptors are free again"
)]
pub(super) async fn accept(
    hub: Arc<Hub>,
    page: Option<Page>,
    listener: TcpListener,
    certificate: Option<Arc<Certificate>>,
) {
    let site = Site::new(Arc::clone(&hub), page);
    let turns = Turns::new(HANDSHAKES_PER_TURN);
    let mut refusals = Refusals::new(hub.config.spare_connections);
    let mut complaint = Complaint::default();
    let mut reserve = reserve();
    loop {
        let (socket, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                let acceptor =
                    certificate.as_ref().map(|certificate| (certificate.acceptor(), turns.clone()));
                complaint.note(Instant::now(), &error);
                if is_out_of_files(&error) && reserve.take().is_some() {
                    // The descriptor kept in reserve answers one waiting connection.
                    let accepted = tokio::time::timeout(ACCEPT_PAUSE, listener.accept()).await;
                    if let Ok(Ok((socket, _))) = accepted {
                        let unsaid = begin_answer(&acceptor, &socket, TurnedAway::ServerFull);
                        let refusing = refuse(acceptor, socket, unsaid);
                        let _ = tokio::time::timeout(MOMENT, refusing).await;
                    }
                    reserve = self::reserve();
                } else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        hub.metrics.accepted.add(1);
        let acceptor =
            certificate.as_ref().map(|certificate| (certificate.acceptor(), turns.clone()));
        let key = key_of(&hub, address.ip());
        // Taken here and not in the task, which runs when all that wait have been accepted.
        let slot = match slot_for(&hub, key) {
            Ok(slot) => slot,
            Err(why) => {
                hub.metrics.turned_away.add(1);
                refusals.begin(acceptor, socket, why).await;
                continue;
            }
        };
        set_options(&socket);
        let head = Head::new(Arc::clone(&hub), key);
        tokio::spawn(serve(slot, head, site.clone(), acceptor, socket, address));
    }
}

/// The address whose connections are counted together. Proxies bring those of many.
fn key_of(hub: &Hub, address: IpAddr) -> Option<AddressKey> {
    let is_proxy = hub.config.trusted_proxies.iter().any(|proxy| proxy.covers(address));
    AddressKey::of(address).filter(|_| !is_proxy)
}

/// An error if the server is full, or too much of it is taken by this address.
fn slot_for(hub: &Hub, key: Option<AddressKey>) -> Result<ConnectionSlot, TurnedAway> {
    let config = &hub.config;
    if hub.connection_slots.taken()
        >= config.max_connections.saturating_add(config.spare_connections)
    {
        return Err(TurnedAway::ServerFull);
    }
    hub.connection_slots
        .take(key, ADDRESS_SLOTS * config.budgets.address_connections)
        .ok_or(TurnedAway::AddressFull)
}

/// A descriptor to give up when there are no more.
fn reserve() -> Option<std::net::UdpSocket> {
    std::net::UdpSocket::bind("127.0.0.1:0").ok()
}

/// Connections that read why there is no slot for them: as many at a time as there are spare
/// connections. A newer one takes the place of the oldest, so that those that never read keep no
/// other from its answer.
struct Refusals {
    most: usize,
    places: Arc<Semaphore>,
    /// The oldest first.
    tasks: VecDeque<AbortHandle>,
}

impl Refusals {
    fn new(most: usize) -> Self {
        Self { most, places: Arc::new(Semaphore::new(most)), tasks: VecDeque::new() }
    }

    async fn begin(&mut self, acceptor: Option<Tls>, socket: TcpStream, why: TurnedAway) {
        // Before it is waited for a place, and whatever becomes of that.
        let unsaid = begin_answer(&acceptor, &socket, why);
        let place = self.place().await;
        let task = tokio::spawn(async move {
            refuse(acceptor, socket, unsaid).await;
            drop(place);
        });
        self.tasks.push_back(task.abort_handle());
    }

    /// One that is free, else that of the oldest.
    async fn place(&mut self) -> Option<OwnedSemaphorePermit> {
        if self.tasks.len() >= self.most {
            self.tasks.retain(|task| !task.is_finished());
        }
        let free = Arc::clone(&self.places).try_acquire_owned().ok();
        if free.is_none()
            && let Some(oldest) = self.tasks.pop_front()
        {
            oldest.abort();
            return Arc::clone(&self.places).acquire_owned().await.ok();
        }
        free
    }
}

/// Without TLS, what a connection reads fits into its socket's buffer. Returns the rest. Not by way
/// of the runtime, which does not know yet whether a new socket can be written to.
fn begin_answer(acceptor: &Option<Tls>, socket: &TcpStream, why: TurnedAway) -> &'static [u8] {
    let sent = match acceptor {
        None => socket2::SockRef::from(socket).send(why.answer()).unwrap_or_default(),
        Some(_) => 0,
    };
    why.answer().get(sent..).unwrap_or_default()
}

/// Says the rest, and reads for a while what the client sends: closing over unread bytes would
/// destroy the answer.
async fn refuse(acceptor: Option<Tls>, socket: TcpStream, unsaid: &[u8]) {
    let Some(mut stream) = open(acceptor, socket, None, ConnectionSlot::default()).await else {
        return;
    };
    let answering = async {
        stream.write_all(unsaid).await?;
        stream.shutdown().await?;
        let mut bytes = [0; 1024];
        while stream.read(&mut bytes).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(TURNING_AWAY, answering).await;
}

/// Errors of accepting, one line a minute.
#[derive(Debug, Default)]
struct Complaint {
    said_at: Option<Instant>,
    unsaid: u64,
}

impl Complaint {
    fn note(&mut self, now: Instant, error: &std::io::Error) {
        if self.said_at.is_some_and(|at| now < at + COMPLAINT_INTERVAL) {
            self.unsaid += 1;
            return;
        }
        let (why, unsaid) = (system_words(error), self.unsaid);
        tracing::warn!("cannot accept: {why} ({unsaid} more since the last line)");
        *self = Self { said_at: Some(now), unsaid: 0 };
    }
}

fn set_options(socket: &TcpStream) {
    // Neither is needed for correctness, and a connection that is gone already refuses both.
    let _ = socket.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let socket = socket2::SockRef::from(socket);
        let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
        let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT));
    }
}

async fn serve(
    slot: ConnectionSlot,
    head: Arc<Head>,
    site: Site,
    tls: Option<Tls>,
    socket: TcpStream,
    address: SocketAddr,
) {
    let serving = async {
        if let Some(stream) = open(tls, socket, Some(Arc::clone(&head)), slot).await {
            speak_http(stream, Arc::clone(&head), site, address.ip(), HTTP).await;
        }
    };
    tokio::select! {
        () = serving => {}
        () = head.given_up() => tracing::debug!("HTTP: too many unfinished requests wait, and this one has waited longest"),
    }
}

async fn open(
    tls: Option<Tls>,
    socket: TcpStream,
    head: Option<Arc<Head>>,
    slot: ConnectionSlot,
) -> Option<CountedIo> {
    match tls {
        None => Some(CountedIo::plain(socket, head, slot)),
        Some((acceptor, turns)) => {
            let opening = CountedIo::tls((acceptor, &turns), socket, head, slot);
            tokio::time::timeout(OPENING, opening).await.ok()?.ok()
        }
    }
}

/// Until the client is done, the connection has become a WebSocket, or `limit` is over twice.
async fn speak_http(
    stream: CountedIo,
    head: Arc<Head>,
    site: Site,
    client: IpAddr,
    limit: Duration,
) {
    let requests = Arc::new(ConnectionRequests::new(site.now()));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        head.finish();
        request.extensions_mut().insert(SocketAddress(client));
        let (site, requests) = (site.clone(), Arc::clone(&requests));
        async move { site.answer(&requests, client, request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(OPENING)
        .max_buf_size(REQUEST_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut served = tokio::time::timeout(limit, connection.as_mut()).await;
    if served.is_err() {
        connection.as_mut().graceful_shutdown();
        served = tokio::time::timeout(limit, connection).await;
    }
    match served {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("HTTP: {error}"),
        Err(_) => tracing::debug!("HTTP: an answer was not read in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use bytes::Bytes;

    use crate::config::Config;
    use crate::shell::connection_slots::ConnectionSlots;

    #[test]
    fn an_answer_to_those_turned_away_is_as_long_as_it_says() {
        for why in [TurnedAway::ServerFull, TurnedAway::AddressFull] {
            let answer = std::str::from_utf8(why.answer()).expect("text");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[tokio::test]
    async fn a_connection_keeps_little_unsent_and_gives_up_after_15_s() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let _client = TcpStream::connect(address).await.expect("it listens");
        let (accepted, _) = listener.accept().await.expect("a connection");
        set_options(&accepted);
        let socket = socket2::SockRef::from(&accepted);
        let unsent = socket.tcp_notsent_lowat().expect("it is known");
        assert!((512..=4_096).contains(&unsent), "{unsent}");
        let limit = socket.tcp_user_timeout().expect("it is known");
        assert_eq!(limit, Some(Duration::from_secs(15)));
        assert!(accepted.nodelay().expect("it is known"));
    }

    #[test]
    fn errors_of_accepting_are_one_line_a_minute() {
        let mut complaint = Complaint::default();
        let begun = Instant::now();
        let error = std::io::Error::other("no more files");
        for second in 0..59 {
            complaint.note(begun + Duration::from_secs(second), &error);
        }
        assert_eq!((complaint.said_at, complaint.unsaid), (Some(begun), 58));
        complaint.note(begun + COMPLAINT_INTERVAL, &error);
        assert_eq!((complaint.said_at, complaint.unsaid), (Some(begun + COMPLAINT_INTERVAL), 0));
    }

    #[tokio::test]
    async fn who_does_not_read_an_answer_loses_its_slot() {
        // More than the system keeps between the two ends.
        let large = Bytes::from(vec![0; 64 << 20]);
        let hub = Arc::new(Hub::new(Config::default(), None).expect("random numbers"));
        let router = Router::new().route("/", get(async move || large));
        let site = Site::of(Arc::clone(&hub), router);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut client = TcpStream::connect(listener.local_addr().expect("an address"))
            .await
            .expect("it listens");
        let (socket, address) = listener.accept().await.expect("a connection");
        let slots = ConnectionSlots::default();
        let stream = CountedIo::plain(socket, None, slots.take(None, 1).expect("a slot"));
        let head = Head::new(hub, None);
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it fits");
        let served = speak_http(stream, head, site, address.ip(), Duration::from_millis(100));
        tokio::time::timeout(OPENING, served).await.expect("it ends by itself");
        assert_eq!(slots.taken(), 0);
        drop(client);
    }
}
