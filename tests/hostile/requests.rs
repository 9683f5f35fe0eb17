//! Requests over HTTP that a proxy and the server could understand differently, and more TLS
//! handshakes than the server has time for.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};
use voicemesh_tests::process::binary;
use voicemesh_tests::room::Folder;

use crate::client::{patiently, run};
use crate::machine::certificate;
use crate::memory::WatchedServer as Server;

const TOKEN: &str = "a-token-of-the-tests-of-requests";

/// Statuses of all answers to these bytes until the server closes the connection.
async fn answers(server: &Server, bytes: &str) -> Vec<String> {
    let mut connection = TcpStream::connect(server.address).await.expect("the server listens");
    connection.write_all(bytes.as_bytes()).await.expect("it is read");
    let mut text = Vec::new();
    // Closed or reset: what counts is what was answered before.
    let _ = patiently("an end", connection.read_to_end(&mut text)).await;
    let text = String::from_utf8_lossy(&text).into_owned();
    text.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].to_owned()).collect()
}

/// Content may hide a request: what one program takes for its end is the middle for another.
#[test]
fn a_request_with_content_is_refused_and_nothing_behind_it_is_answered() {
    const HIDDEN: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let server = Server::start(&[]);
    let length = HIDDEN.len();
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    run(async {
        for path in ["/", "/healthz", "/ws", "/connect-check", "/r/room"] {
            for (what, lines, content) in [
                ("both lengths", format!("Content-Length: {length}\r\n{chunked}"), "0\r\n\r\n"),
                (
                    "both the other way",
                    format!("{chunked}Content-Length: {length}\r\n"),
                    "0\r\n\r\n",
                ),
                ("chunks", chunked.to_owned(), "0\r\n\r\n"),
                ("two lengths", "Content-Length: 0\r\nContent-Length: 4\r\n".to_owned(), ""),
                ("a sign", "Content-Length: +0\r\n".to_owned(), ""),
                ("an unknown coding", "Transfer-Encoding: xchunked\r\n".to_owned(), ""),
                (
                    "a space before the colon",
                    "Transfer-Encoding : chunked\r\n".to_owned(),
                    "0\r\n\r\n",
                ),
                ("a folded line", "X: y\r\n Transfer-Encoding: chunked\r\n".to_owned(), ""),
                ("content", format!("Content-Length: {length}\r\n"), ""),
                ("content of an upgrade", format!("{upgrade}Content-Length: {length}\r\n"), ""),
            ] {
                let request =
                    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n{content}{HIDDEN}");
                assert_eq!(answers(&server, &request).await, ["400"], "{path}: {what}");
            }
        }
        let other = answers(&server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert!(
            other.len() <= 1 && other.iter().all(|status| status.starts_with(['4', '5'])),
            "{other:?}"
        );
        let close = HIDDEN.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        assert_eq!(answers(&server, &format!("{HIDDEN}{close}")).await, ["200", "200"]);
    });
}

/// Connections of an attack.
const ATTACKING: usize = 256;
/// What is measured beside it.
const MEASURED: usize = 250;
const MEASURE_INTERVAL: Duration = Duration::from_millis(20);
/// How long half of it may take: others, and other tests, may have the processor as well.
const MOST_DELAY: Duration = Duration::from_millis(15);

/// An attack on a thread beside the case, until it is dropped.
struct Attack {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    fn start<F: Future<Output = ()> + Send + 'static>(
        connection: impl Fn() -> F + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("one");
            runtime.block_on(async {
                for _ in 0..ATTACKING {
                    tokio::spawn(connection());
                }
                let _ = stopped.await;
            });
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Begins handshakes as fast as the server answers, and finishes none: that costs no computing
/// here.
async fn shake_again_and_again(server: SocketAddr, hello: Vec<u8>) {
    while let Ok(mut stream) = TcpStream::connect(server).await {
        let _ = stream.write_all(&hello).await;
        let _ = stream.read(&mut [0; 64]).await;
    }
}

/// What a TLS client says first.
fn client_hello() -> Vec<u8> {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_root_certificates(rustls::RootCertStore::empty())
    .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("it is text");
    hello
}

/// Prints delays, of which at least half are short.
fn judge(what: &str, mut delays: Vec<Duration>) {
    delays.sort();
    let [median, most, longest] = [50, 98, 100].map(|part| delays[(delays.len() - 1) * part / 100]);
    println!("{what}: median {median:.1?}, 98 % {most:.1?}, longest {longest:.1?}");
    assert!(median <= MOST_DELAY, "{what}: {median:?}");
}

#[test]
fn handshakes_that_come_together_delay_nothing_else() {
    let folder = Folder::create("crowd");
    let (cert, key) = (folder.file("cert.pem"), folder.file("key.pem"));
    let (certificate, private) = certificate();
    std::fs::write(&cert, &certificate).expect("a file");
    std::fs::write(&key, private).expect("a file");
    // The operator's endpoint is on the same thread, and without TLS.
    let admin = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let mut command = Command::new(binary("voicemesh-signaling"));
    command.env("VOICEMESH_ADMIN_TOKEN", TOKEN).env("VOICEMESH_ADMIN_LISTEN", admin.to_string());
    let paths = [cert.display().to_string(), key.display().to_string()];
    let arguments = ["--tls-cert", &paths[0], "--tls-key", &paths[1]];
    let server = Server::start_by(command, Ipv4Addr::LOCALHOST, 0, &arguments);
    run(async {
        let (address, hello) = (server.address, client_hello());
        let attack = Attack::start(move || shake_again_and_again(address, hello.clone()));
        let request = format!(
            "GET /rooms HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        );
        let mut connection = TcpStream::connect(admin).await.expect("it listens");
        let mut ticks = interval(MEASURE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut delays = Vec::new();
        for _ in 0..MEASURED {
            ticks.tick().await;
            let asked = Instant::now();
            connection.write_all(request.as_bytes()).await.expect("it reads");
            let mut answer = [0; 1024];
            let read = patiently("an answer", connection.read(&mut answer)).await.expect("one");
            assert!(answer[..read].starts_with(b"HTTP/1.1 200 "));
            delays.push(asked.elapsed());
        }
        drop(attack);
        judge("answers while others begin handshakes", delays);
    });
}
