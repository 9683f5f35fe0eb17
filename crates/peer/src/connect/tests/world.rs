//! What the tests connect to.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::*;

pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // A test that hangs is a test that fails.
    runtime.block_on(async { timeout(Duration::from_secs(60), test).await.expect("in a minute") });
}

/// What a world does with a connection.
#[derive(Clone)]
pub(super) enum Answer {
    /// Speaks as the server does.
    WebSocket,
    /// The same after a TLS handshake.
    Tls(TlsAcceptor),
    /// Reads a request, says this and ends the connection.
    Text(String),
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WebSocket => f.write_str("WebSocket"),
            Self::Tls(_) => f.write_str("Tls"),
            Self::Text(text) => write!(f, "Text({text:?})"),
        }
    }
}

/// A listener on loopback; it ends when it is dropped.
pub(super) struct World {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

/// What a connector is made from, besides an address.
#[derive(Default)]
pub(super) struct Given {
    pub(super) ca: Option<PathBuf>,
    pub(super) proxy: Option<Proxy>,
    pub(super) has_secret: bool,
    pub(super) state_dir: Option<PathBuf>,
}

impl World {
    pub(super) async fn start(answer: Answer) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.expect("a port"), answer)
    }

    /// Something else listens at this world's address from now on.
    pub(super) async fn replaced_by(self, answer: Answer) -> Self {
        let address = self.address;
        self.task.abort();
        // The listener is closed when its task has ended.
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
        Self::listen(TcpListener::bind(address).await.expect("the same port"), answer)
    }

    fn listen(listener: TcpListener, answer: Answer) -> Self {
        let address = listener.local_addr().expect("its address");
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(serve(listener, answer, seen.clone()));
        Self { address, seen, task }
    }

    pub(super) fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.address)
    }

    pub(super) fn connector(url: &str, change: impl FnOnce(&mut Given)) -> Connector {
        let mut given = Given::default();
        change(&mut given);
        let tls = Tls::new(given.ca.as_deref()).expect("certificates");
        let url = ServerUrl::parse(url).expect(url);
        Connector::new(url, tls, given.proxy, given.has_secret, given.state_dir)
    }

    pub(super) async fn connect(&self, url: &str) -> Result<ServerConnection, ConnectFailure> {
        self.connect_trusting(url, None).await
    }

    pub(super) async fn connect_trusting(
        &self,
        url: &str,
        ca: Option<&Path>,
    ) -> Result<ServerConnection, ConnectFailure> {
        let connector = Self::connector(url, |given| given.ca = ca.map(Path::to_owned));
        connector
            .connect(WebSocketConfig::default(), &|_| {})
            .await
            .map(|(_, connection)| connection)
    }

    /// The first lines of the requests for WebSockets that came.
    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().expect("no panic").clone()
    }

    /// TCP connections that came.
    pub(super) fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::Relaxed)
    }

    /// A new folder.
    pub(super) fn folder(&self) -> PathBuf {
        let name = format!("voicemesh-connect-{}-{}", std::process::id(), self.address.port());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        folder
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, answer: Answer, seen: Arc<Seen>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        seen.accepted.fetch_add(1, Ordering::Relaxed);
        let (answer, seen) = (answer.clone(), seen.clone());
        tokio::spawn(async move {
            match answer {
                Answer::WebSocket => welcome_http(stream, &seen).await,
                Answer::Tls(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        welcome(stream, &seen).await;
                    }
                }
                Answer::Text(text) => tell(stream, &text).await,
            }
        });
    }
}

/// Anything but HTTP gets an HTTP error, as from a real server.
async fn welcome_http(mut stream: TcpStream, seen: &Seen) {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first == *b"G" => welcome(stream, seen).await,
        _ => tell(&mut stream, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await,
    }
}

/// Upgrades, and keeps the connection for as long as the other end does.
async fn welcome<S: AsyncRead + AsyncWrite + Unpin>(stream: S, seen: &Seen) {
    #[allow(clippy::result_large_err, reason = "the callback's type is the library's")]
    let upgrade = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let line = format!("{} {} {:?}", request.method(), request.uri(), request.version());
        seen.requests.lock().expect("no panic").push(line);
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        Ok(response)
    };
    if let Ok(mut websocket) = accept_hdr_async(stream, upgrade).await {
        use futures_util::StreamExt;
        while let Some(Ok(_)) = websocket.next().await {}
    }
}

async fn tell<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, text: &str) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await;
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A certificate that signed itself and says that it signs others, as `openssl req -x509` makes it;
/// and its key.
pub(super) struct Certified {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Certified {
    pub(super) fn new(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        Self { certificate: params.self_signed(&key).expect("a certificate"), key }
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .expect("a certificate with its key");
        TlsAcceptor::from(Arc::new(config))
    }

    /// Shows this certificate, and signs by another one's key.
    pub(super) fn acceptor_with_the_key_of(&self, other: &Self) -> TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(other.key.serialize_der()));
        let key = ring::sign::any_supported_type(&key).expect("a key");
        let certified = CertifiedKey::new(vec![self.certificate.der().clone()], key);
        let resolver = SingleCertAndKey::from(certified);
        let config = ServerConfig::builder().with_no_client_auth();
        TlsAcceptor::from(Arc::new(config.with_cert_resolver(Arc::new(resolver))))
    }

    /// The certificate as a file for `--ca`.
    pub(super) fn file(&self) -> PathBuf {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir()
            .join(format!("voicemesh-connect-{}-{number}.pem", std::process::id()));
        fs::write(&path, self.certificate.pem()).expect("a file");
        path
    }
}
