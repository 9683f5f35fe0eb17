//! From a server's address to an open WebSocket: proxy, addresses, TLS, upgrade; and what to say
//! when one of them fails.
//!
//! - `proxy`, `tunnel`: whether the connection goes through a proxy, and how.
//! - `dial`, `resolve`, `addresses`, `race`, `nat64`: a TCP connection by any address of a host
//!   (RFC 8305).
//! - `segments`: its packets fit through any path.
//! - `answer`, `first_bytes`: what answered in place of a server.
//! - `tls_servers`: which servers are never connected to without TLS again.

mod addresses;
mod answer;
mod dial;
mod first_bytes;
mod nat64;
mod proxy;
mod race;
mod resolve;
mod segments;
mod tls_servers;
mod tunnel;
mod words;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, CertificateError};
use tokio_socks::TargetAddr;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use voicemesh_common::lock;
use voicemesh_wire::signaling::SUBPROTOCOL;

pub(crate) use proxy::{BadProxy, Proxy};
pub use voicemesh_mesh::{AddressFailure, ConnectFailure, PlainNotTried, ProxyFailure, Unreached};

use crate::server_url::ServerUrl;
use crate::tls::Tls;
use first_bytes::FirstBytes;
pub(crate) use first_bytes::Received;
use proxy::ProxyKind;
use tls_servers::TlsServers;
use voicemesh_mesh::ServerConnection;
use words::{certificate_words, socket_words, tls_words};

/// A host that does not finish a TLS handshake, or a proxy that does not answer, by then is not
/// there.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// A proxy has this long to connect to the server.
const PROXY_LIMIT: Duration = Duration::from_secs(30);
/// A sleeping host takes the connection at once and wakes within about a minute.
const UPGRADE_LIMIT: Duration = Duration::from_secs(75);
/// Addresses remembered to have fallen silent. When there are more, the oldest is forgotten.
const MAX_SUSPECTS: usize = 16;
/// Addresses of a server that a SOCKS proxy is asked for in turn.
const MAX_SOCKS_TARGETS: usize = 4;

/// A connection to the server, whatever it goes through.
pub(crate) type ServerStream = Box<dyn ByteStream>;

/// A WebSocket to the server.
pub(crate) type ServerSocket = WebSocketStream<FirstBytes<ServerStream>>;

/// Told of a TCP connection.
pub(crate) type OnTcp<'a> = &'a (dyn Fn(&TcpStream) + Send + Sync);

/// Bytes both ways.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// Opens WebSockets to one server.
#[derive(Debug)]
pub(crate) struct Connector {
    url: ServerUrl,
    tls: Tls,
    proxy: Option<Proxy>,
    /// Joins carry what must not be read on the way.
    has_secret: AtomicBool,
    tls_servers: TlsServers,
    learnt: Mutex<Learnt>,
}

/// What earlier connections of this run have shown.
#[derive(Debug, Default)]
struct Learnt {
    /// The server of a bare address speaks no TLS, and was connected to without it. Kept for the
    /// run, because the identity shown to it belongs to the scheme.
    without_tls: bool,
    /// The server has answered with TLS.
    spoke_tls: bool,
    /// Addresses that took a connection and then did not answer on it.
    suspects: Vec<IpAddr>,
}

impl Connector {
    /// `state_dir` is where servers that speak TLS are remembered.
    pub(crate) fn new(
        url: ServerUrl,
        tls: Tls,
        proxy: Option<Proxy>,
        has_secret: bool,
        state_dir: Option<PathBuf>,
    ) -> Self {
        let tls_servers = TlsServers::new(state_dir);
        let has_secret = AtomicBool::new(has_secret);
        Self { url, tls, proxy, has_secret, tls_servers, learnt: Mutex::default() }
    }

    /// From now on joins carry what must not be read on the way: no further connection goes without
    /// TLS unless the address asks for that.
    pub(crate) fn keeps_secret(&self) {
        self.has_secret.store(true, Ordering::Relaxed);
    }

    fn has_secret(&self) -> bool {
        self.has_secret.load(Ordering::Relaxed)
    }

    /// Whether a server without TLS may be connected to although the address does not ask for that.
    pub(crate) fn may_go_without_tls(&self) -> bool {
        self.url.tls && self.plain_not_tried().is_none()
    }

    /// Opens a WebSocket. The future may be dropped at any time. `on_tcp` gets the TCP connection,
    /// to the server or to the proxy, as soon as it is there: for socket options.
    pub(crate) async fn connect(
        &self,
        config: WebSocketConfig,
        on_tcp: OnTcp<'_>,
    ) -> Result<(ServerSocket, ServerConnection), ConnectFailure> {
        if self.url.lacks_zone() {
            return Err(ConnectFailure::ZoneMissing);
        }
        let plain = self.url.without_tls();
        if self.learnt().without_tls && !self.has_secret() {
            return self.open(&plain, config, on_tcp).await;
        }
        match self.open(&self.url, config, on_tcp).await {
            Err(ConnectFailure::NotTls { .. }) if self.plain_not_tried().is_none() => {
                let opened = self.open(&plain, config, on_tcp).await?;
                self.learnt().without_tls = true;
                Ok(opened)
            }
            opened => opened,
        }
    }

    /// Why a server that speaks no TLS is not tried without it; `None` if it is.
    fn plain_not_tried(&self) -> Option<PlainNotTried> {
        let is_local = self.url.ip().is_some_and(addresses::is_local);
        if !self.url.is_bare() {
            Some(PlainNotTried::SchemeGiven)
        } else if !is_local {
            Some(PlainNotTried::PublicHost)
        } else if self.has_secret() {
            Some(PlainNotTried::Secret)
        } else if self.proxy.is_some() {
            Some(PlainNotTried::Proxy)
        } else if self.learnt().spoke_tls {
            Some(PlainNotTried::SpokeTlsBefore)
        } else {
            match self.tls_servers.spoke_tls(&self.remembered_as()) {
                Some(false) => None,
                Some(true) => Some(PlainNotTried::SpokeTlsBefore),
                None => Some(PlainNotTried::NotRemembered),
            }
        }
    }

    fn remembered_as(&self) -> String {
        proxy::with_port(&self.url.host(), self.url.port)
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        lock(&self.learnt)
    }

    async fn open(
        &self,
        url: &ServerUrl,
        config: WebSocketConfig,
        on_tcp: OnTcp<'_>,
    ) -> Result<(ServerSocket, ServerConnection), ConnectFailure> {
        let (stream, address) = match &self.proxy {
            None => {
                let suspects = self.learnt().suspects.clone();
                let (address, stream) = dial::dial(&url.dial_host(), url.port, &suspects).await?;
                on_tcp(&stream);
                (Box::new(stream) as ServerStream, Some(address))
            }
            Some(proxy) => {
                let failed = |failure| ConnectFailure::Proxy { proxy: proxy.written(), failure };
                (self.through(proxy, url, on_tcp).await.map_err(failed)?, None)
            }
        };
        let opened = self.secure_and_upgrade(url, stream, config).await;
        self.judge_address(address, &opened);
        let local =
            url.is_this_machine() || address.is_some_and(|address| address.ip().is_loopback());
        let connection =
            ServerConnection::new(url.tls, local, self.proxy.as_ref().map(Proxy::written));
        opened.map(|websocket| (websocket, connection))
    }

    /// An address that takes connections and then says nothing is tried last from now on: another
    /// one may work.
    fn judge_address<T>(&self, address: Option<SocketAddr>, opened: &Result<T, ConnectFailure>) {
        let Some(address) = address else { return };
        let fell_silent = matches!(
            opened,
            Err(ConnectFailure::Silent | ConnectFailure::Ended | ConnectFailure::Io(_))
        );
        let suspects = &mut self.learnt().suspects;
        suspects.retain(|suspect| *suspect != address.ip());
        if fell_silent {
            suspects.push(address.ip());
        }
        if suspects.len() > MAX_SUSPECTS {
            suspects.remove(0);
        }
    }

    async fn through(
        &self,
        proxy: &Proxy,
        url: &ServerUrl,
        on_tcp: OnTcp<'_>,
    ) -> Result<ServerStream, ProxyFailure> {
        let named = proxy::with_port(&url.host(), url.port);
        let (host, port, user) = (url.host(), url.port, proxy.user.as_ref());
        match proxy.kind {
            ProxyKind::Http => {
                let mut stream = reach(proxy, on_tcp).await?;
                limited(tunnel::connect(&mut stream, &host, port, user)).await?;
                Ok(Box::new(stream))
            }
            ProxyKind::Https => {
                let stream = reach(proxy, on_tcp).await?;
                let secured = self.secure(&proxy.host, stream).await;
                let mut stream =
                    secured.map_err(|(failure, _)| ProxyFailure::Unreached(Box::new(failure)))?;
                limited(tunnel::connect(&mut stream, &host, port, user)).await?;
                Ok(Box::new(stream))
            }
            ProxyKind::Socks5h => {
                let target = match url.ip() {
                    Some(address) => TargetAddr::Ip(SocketAddr::new(address, port)),
                    None => TargetAddr::Domain(host.into(), port),
                };
                limited(socks(proxy, target, &named, on_tcp)).await
            }
            ProxyKind::Socks5 => {
                let addresses = resolve::lookup(&host, port).await;
                let (addresses, _) =
                    addresses.map_err(|failure| ProxyFailure::NoAddress(Box::new(failure)))?;
                let mut last = ProxyFailure::Silent;
                for address in
                    addresses::ordered(&addresses, &[]).into_iter().take(MAX_SOCKS_TARGETS)
                {
                    match limited(socks(proxy, TargetAddr::Ip(address), &named, on_tcp)).await {
                        Err(failure @ ProxyFailure::TargetUnreachable(_)) => last = failure,
                        other => return other,
                    }
                }
                Err(last)
            }
        }
    }

    async fn secure_and_upgrade(
        &self,
        url: &ServerUrl,
        stream: ServerStream,
        config: WebSocketConfig,
    ) -> Result<ServerSocket, ConnectFailure> {
        if !url.tls {
            return upgrade(url, stream, config).await;
        }
        let secured = self.secure(&url.host(), stream).await;
        let spoke_tls = match &secured {
            Ok(_) => true,
            Err((_, answered)) => answer::is_tls(answered),
        };
        if spoke_tls && url.ip().is_some_and(addresses::is_local) {
            self.learnt().spoke_tls = true;
            self.tls_servers.remember(&self.remembered_as());
        }
        match secured {
            Ok(stream) => upgrade(url, Box::new(stream), config).await,
            Err((ConnectFailure::NotTls { .. }, _)) => Err(ConnectFailure::NotTls {
                plain: url.without_tls().written(),
                plain_not_tried: self.plain_not_tried().unwrap_or(PlainNotTried::SchemeGiven),
            }),
            Err((failure, _)) => Err(failure),
        }
    }

    /// A TLS handshake with `host`; with the failure comes what was answered.
    async fn secure<S>(
        &self,
        host: &str,
        stream: S,
    ) -> Result<tokio_rustls::client::TlsStream<FirstBytes<S>>, (ConnectFailure, Vec<u8>)>
    where
        S: ByteStream,
    {
        let trust = self.tls.trust();
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            (ConnectFailure::Tls("its name cannot have a certificate".to_owned()), Vec::new())
        })?;
        let (stream, answered) = FirstBytes::new(stream);
        match timeout(HANDSHAKE_LIMIT, TlsConnector::from(trust.config).connect(name, stream)).await
        {
            Err(_) => Err((ConnectFailure::Silent, answered.take())),
            Ok(Err(error)) => {
                let answered = answered.take();
                Err((not_secured(host, &error, &answered, trust.is_empty), answered))
            }
            Ok(Ok(stream)) => {
                answered.take();
                Ok(stream)
            }
        }
    }
}

async fn limited<T>(
    answer: impl Future<Output = Result<T, ProxyFailure>>,
) -> Result<T, ProxyFailure> {
    timeout(PROXY_LIMIT, answer).await.map_err(|_| ProxyFailure::Silent)?
}

/// A connection to a proxy.
async fn reach(proxy: &Proxy, on_tcp: OnTcp<'_>) -> Result<TcpStream, ProxyFailure> {
    let reached = dial::dial(&proxy.host, proxy.port, &[]).await;
    let (_, stream) = reached.map_err(|failure| ProxyFailure::Unreached(Box::new(failure)))?;
    on_tcp(&stream);
    Ok(stream)
}

async fn socks(
    proxy: &Proxy,
    target: TargetAddr<'_>,
    named: &str,
    on_tcp: OnTcp<'_>,
) -> Result<ServerStream, ProxyFailure> {
    let stream = reach(proxy, on_tcp).await?;
    Ok(Box::new(tunnel::socks(stream, target, named, proxy.user.as_ref()).await?))
}

async fn upgrade(
    url: &ServerUrl,
    stream: ServerStream,
    config: WebSocketConfig,
) -> Result<ServerSocket, ConnectFailure> {
    let request = url.websocket().into_client_request();
    let mut request = request
        .map_err(|_| ConnectFailure::NotVoicemesh("its address cannot be asked for".to_owned()))?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let (stream, answered) = FirstBytes::new(stream);
    match timeout(UPGRADE_LIMIT, client_async_with_config(request, stream, Some(config))).await {
        Err(_) => Err(ConnectFailure::Silent),
        Ok(Err(error)) => Err(not_upgraded(url, &error, &answered.take())),
        Ok(Ok((websocket, _))) => {
            answered.take();
            Ok(websocket)
        }
    }
}

fn not_upgraded(url: &ServerUrl, error: &Error, answered: &[u8]) -> ConnectFailure {
    let secured = || ConnectFailure::WantsTls { secured: url.written().replacen("ws", "wss", 1) };
    if !url.tls && (answer::is_tls(answered) || answer::says_https(answered)) {
        return secured();
    }
    if let Some(failure) = answer::classify(url, answered) {
        return failure;
    }
    match error {
        _ if !answered.is_empty() => {
            ConnectFailure::NotVoicemesh("its answer is no HTTP".to_owned())
        }
        Error::Io(error) if !has_ended(error) => ConnectFailure::Io(socket_words(error)),
        _ => ConnectFailure::Ended,
    }
}

fn has_ended(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn not_secured(
    host: &str,
    error: &io::Error,
    answered: &[u8],
    trust_is_empty: bool,
) -> ConnectFailure {
    if !answered.is_empty() && !answer::is_tls(answered) {
        let plain_not_tried = PlainNotTried::SchemeGiven;
        return ConnectFailure::NotTls { plain: String::new(), plain_not_tried };
    }
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>())
    else {
        return if has_ended(error) {
            ConnectFailure::Ended
        } else {
            ConnectFailure::Io(socket_words(error))
        };
    };
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return ConnectFailure::Tls(tls_words(error));
    };
    match certificate {
        CertificateError::UnknownIssuer if trust_is_empty => ConnectFailure::NoTrustedRoots,
        CertificateError::UnknownIssuer => ConnectFailure::CertificateNotTrusted,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ConnectFailure::CertificateExpired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ConnectFailure::CertificateNotYetValid
        }
        CertificateError::NotValidForName => other_name(host, &[]),
        CertificateError::NotValidForNameContext { presented, .. } => other_name(host, presented),
        // A certificate that signs others, as servers with one of their own have it.
        CertificateError::Other(cause)
            if matches!(cause.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
        {
            ConnectFailure::CertificateNotTrusted
        }
        other => ConnectFailure::CertificateUnusable(certificate_words(other)),
    }
}

fn other_name(host: &str, presented: &[String]) -> ConnectFailure {
    const MAX_NAMES: usize = 4;
    // `DnsName("host")`, `IpAddress(…)`: only the name is for people.
    let name = |text: &String| {
        let inner = text.split_once("(\"").and_then(|(_, rest)| rest.strip_suffix("\")"));
        answer::shown(inner.unwrap_or(text))
    };
    let presented = presented.iter().take(MAX_NAMES).map(name).collect();
    ConnectFailure::CertificateForOtherName { host: host.to_owned(), presented }
}

#[cfg(test)]
mod tests;
