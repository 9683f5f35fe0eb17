//! Heads of requests and TLS handshakes that are never finished.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use voicemesh_tests::room::Folder;

use crate::client::{patiently, run};
use crate::machine::{ask_by_tls, certificate};
use crate::memory::{Held, Watch, WatchedServer as Server};

const CONNECTIONS: usize = 500;
/// Below the longest that is taken.
const HEAD_BYTES: usize = 30 * 1000;
/// What may wait unfinished in all.
const ALL_BYTES: usize = 8 * 1024 * 1024;
/// What waits, half as much since buffers grow by steps, and 16 KiB for each connection.
const MOST_KIB: u64 = (ALL_BYTES / 1024 * 3 / 2 + 16 * CONNECTIONS) as u64;
/// As many fit.
const MOST_WAITING: usize = ALL_BYTES / HEAD_BYTES;

/// The head of a request without its end.
fn request() -> Vec<u8> {
    let mut head = b"GET /metrics HTTP/1.1\r\nHost: x\r\nCookie: ".to_vec();
    head.resize(HEAD_BYTES, b'a');
    head
}

/// A ClientHello in records of the largest size, without its end.
fn client_hello() -> Vec<u8> {
    const RECORD_BYTES: usize = 16 * 1024;
    let mut hello = vec![1, 0, 0xFF, 0x00, 3, 3];
    hello.resize(HEAD_BYTES, b'a');
    let record = |part: &[u8]| [&[22, 3, 1], &(part.len() as u16).to_be_bytes()[..], part].concat();
    hello.chunks(RECORD_BYTES).flat_map(record).collect()
}

/// Connections that send this and nothing more; gives what the server held, once it has ended as
/// many as do not fit.
fn unfinished(name: &str, server: &Server, head: &[u8]) -> Held {
    let watch = Watch::start(name, server);
    run(async {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection =
                TcpStream::connect(server.address).await.expect("the server listens");
            // It may be ended by then.
            let _ = connection.write_all(head).await;
            connections.push(connection);
        }
        // The oldest first.
        for connection in &mut connections[..CONNECTIONS - MOST_WAITING] {
            let end = patiently("an end", connection.read(&mut [0; 64])).await;
            assert!(
                matches!(end, Ok(0))
                    || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
            );
        }
        watch.held()
    })
}

/// What the server counts as ended for this; connections that were too slow are not among them.
fn ended(metrics: &str) -> usize {
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("voicemesh_unfinished_ended_total "));
    line.and_then(|count| count.parse().ok()).expect("a count")
}

#[test]
fn unfinished_requests_are_bounded_together_and_the_newest_is_still_answered() {
    let server = Server::start(&[]);
    let head = request();
    let held = unfinished("unfinished requests", &server, &head);
    assert!(held.growth() <= MOST_KIB, "{held}");
    run(async {
        let mut newest = TcpStream::connect(server.address).await.expect("the server listens");
        newest.write_all(&head).await.expect("it is read");
        newest.write_all(b"\r\nConnection: close\r\n\r\n").await.expect("it is read");
        let mut answer = String::new();
        patiently("an answer", newest.read_to_string(&mut answer)).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        assert!(ended(&answer) >= CONNECTIONS - MOST_WAITING, "{answer}");
    });
}

/// The status of the answer to a request of these lines.
async fn status_of(server: &Server, lines: &str) -> String {
    let mut connection = TcpStream::connect(server.address).await.expect("the server listens");
    connection
        .write_all(format!("{lines}Connection: close\r\n\r\n").as_bytes())
        .await
        .expect("it is read");
    let mut answer = String::new();
    patiently("an answer", connection.read_to_string(&mut answer)).await.expect("an answer");
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// RFC 9112 §3.2.
#[test]
fn a_request_that_names_no_host_or_several_is_answered_with_400_and_the_next_client_is_served() {
    let server = Server::start(&[]);
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    run(async {
        for path in ["/", "/healthz", "/metrics", "/ws", "/nothing"] {
            for hosts in ["", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: a@b\r\n"] {
                let lines = format!("GET {path} HTTP/1.1\r\n{hosts}");
                assert_eq!(status_of(&server, &lines).await, "400", "{lines:?}");
            }
        }
        assert_eq!(status_of(&server, &format!("GET /ws HTTP/1.1\r\n{upgrade}")).await, "400");
        for lines in [
            "GET /healthz HTTP/1.1\r\nHost: x\r\n",
            "GET /healthz HTTP/1.1\r\nHost:\r\n",
            "GET /healthz HTTP/1.0\r\n",
        ] {
            assert_eq!(status_of(&server, lines).await, "200", "{lines:?}");
        }
    });
}

#[test]
fn unfinished_tls_handshakes_are_bounded_together() {
    let folder = Folder::create("handshakes");
    let (cert, key) = (folder.file("cert.pem"), folder.file("key.pem"));
    let (certificate, private) = certificate();
    std::fs::write(&cert, &certificate).expect("a file");
    std::fs::write(&key, private).expect("a file");
    let paths = [cert.display().to_string(), key.display().to_string()];
    let arguments = ["--tls-cert", &paths[0], "--tls-key", &paths[1]];
    let server = Server::start(&arguments);
    let held = unfinished("unfinished TLS handshakes", &server, &client_hello());
    assert!(held.growth() <= MOST_KIB, "{held}");
    run(async {
        let metrics = ask_by_tls(&server, &certificate, "/metrics").await.expect("an answer");
        assert!(ended(&metrics) >= CONNECTIONS - MOST_WAITING, "{metrics}");
    });
}
