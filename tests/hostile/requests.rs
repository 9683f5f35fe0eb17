//! Requests over HTTP that a proxy and the server could understand differently, and more TLS
//! handshakes than the server has time for.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};
use voicemesh_tests::process::binary;
use voicemesh_tests::room::Folder;
use voicemesh_wire::packet::Kind;

use crate::client::{Member, is_kind, patiently, run};
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

/// One attack at a time: each takes what a processor has.
static ATTACKED: Mutex<()> = Mutex::new(());
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

/// What an attack was answered.
#[derive(Debug, Default)]
struct Answers {
    wanted: AtomicUsize,
    /// Of requests: that there were too many.
    refused: AtomicUsize,
    /// Neither, or the server was not reached.
    others: AtomicUsize,
}

impl Answers {
    /// Wanted ones, refusals and others so far.
    fn counts(&self) -> [usize; 3] {
        [&self.wanted, &self.refused, &self.others].map(|count| count.load(Ordering::Relaxed))
    }
}

/// The first byte of a record with a handshake, here the ServerHello.
const HANDSHAKE_RECORD: u8 = 22;

/// Begins handshakes as fast as the server answers, and finishes none: that costs no computing
/// here.
async fn shake_again_and_again(server: SocketAddr, hello: Vec<u8>, answers: Arc<Answers>) {
    loop {
        let answer = async {
            let mut stream = TcpStream::connect(server).await?;
            stream.write_all(&hello).await?;
            let mut first = [0; 64];
            let read = stream.read(&mut first).await?;
            std::io::Result::Ok(read > 0 && first[0] == HANDSHAKE_RECORD)
        };
        let count = if answer.await.is_ok_and(|is_hello| is_hello) {
            &answers.wanted
        } else {
            &answers.others
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Requests that are sent at once on one connection.
const PIPELINED: usize = 500;

/// Asks for the metrics as often as the server lets it, many times on one connection without
/// waiting for answers.
async fn ask_again_and_again(server: SocketAddr, headers: &str, answers: Arc<Answers>) {
    let requests = format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{headers}\r\n").repeat(PIPELINED);
    loop {
        let Ok(mut stream) = TcpStream::connect(server).await else {
            answers.others.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (mut reader, mut writer) = stream.split();
        let asking = async { drop(writer.write_all(requests.as_bytes()).await) };
        let reading = async {
            let mut bytes = vec![0; 64 * 1024];
            let mut carried = 0;
            while let Ok(read @ 1..) = reader.read(&mut bytes[carried..]).await {
                let all = &bytes[..carried + read];
                let times = |status: &[u8]| {
                    all.windows(status.len()).filter(|window| *window == status).count()
                };
                answers.wanted.fetch_add(times(b"HTTP/1.1 200 "), Ordering::Relaxed);
                answers.refused.fetch_add(times(b"HTTP/1.1 429 "), Ordering::Relaxed);
                // A status may be cut between two reads, and is shorter than that.
                let (from, kept) = (all.len().saturating_sub(12), all.len().min(12));
                bytes.copy_within(from..from + kept, 0);
                carried = kept;
            }
        };
        tokio::join!(asking, reading);
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
    let _alone = ATTACKED.lock().unwrap_or_else(PoisonError::into_inner);
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
        let answers = Arc::new(Answers::default());
        let counted = Arc::clone(&answers);
        let attack = Attack::start(move || {
            shake_again_and_again(address, hello.clone(), Arc::clone(&counted))
        });
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
        let [hellos, _, others] = answers.counts();
        drop(attack);
        println!("{hellos} handshakes were answered, {others} not");
        assert!(hellos >= ATTACKING && others == 0, "{hellos} answered, {others} not");
        judge("answers while others begin handshakes", delays);
    });
}

/// Both as everyone on this machine, whose addresses have no budget, and as one address.
#[test]
fn requests_for_the_metrics_that_come_together_delay_no_speech() {
    let _alone = ATTACKED.lock().unwrap_or_else(PoisonError::into_inner);
    for (headers, arguments) in [
        ("", [].as_slice()),
        ("X-Forwarded-For: 203.0.113.9\r\n", &["--trusted-proxy", "127.0.0.1"]),
    ] {
        let server = Server::start(arguments);
        run(async {
            let mut rooms = Vec::new();
            for room in 0..ROOMS {
                rooms.push(Member::join(&server, &format!("room {room}"), "member").await);
            }
            let mut speaker = Member::join(&server, "room 0", "speaker").await;
            let listener = &mut rooms[0];
            let inside = speaker.inner(Kind::VoiceData, 60);
            let speech =
                speaker.relay(Kind::ServerRelayUnreliable, &[listener.joined.client], &inside);
            let answers = Arc::new(Answers::default());
            let (address, counted) = (server.address, Arc::clone(&answers));
            let attack =
                Attack::start(move || ask_again_and_again(address, headers, Arc::clone(&counted)));
            let mut ticks = interval(MEASURE_INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut delays = Vec::new();
            for _ in 0..MEASURED {
                ticks.tick().await;
                let spoken = Instant::now();
                speaker.client.packet(&speech).await;
                listener.client.until("speech", |got| is_kind(got, Kind::VoiceData)).await;
                delays.push(spoken.elapsed());
            }
            let [answered, refused, unreached] = answers.counts();
            drop(attack);
            println!("{answered} requests answered, {refused} refused, {unreached} lost");
            assert!(answered >= 100 && refused >= ATTACKING, "{answered}, {refused}");
            judge("speech while others ask for the metrics", delays);
        });
    }
}

/// Rooms on the server, each of which the metrics look at.
const ROOMS: usize = 100;
