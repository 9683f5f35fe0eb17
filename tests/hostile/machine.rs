//! What the machine gives the server: memory for passwords, open files, certificates, variables.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use voicemesh_tests::process::binary;
use voicemesh_tests::room::{Folder, PATIENCE};
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, Password, ServerMessage};

use crate::client::{Client, Member, Received, join_of, patiently, run};
use crate::memory::{Held, Watch, WatchedServer as Server};
use crate::socket::{TEXT, frame};

/// Rooms that get a password one after the other, and joins that name one at the same time.
const ROOMS: usize = 12;
const AT_ONCE: usize = 64;
/// What hashing may take: 19 MiB, and what surrounds it.
const MOST_HASHING_KIB: u64 = 24 * 1024;
const MOST_LEFT_KIB: u64 = 2 * 1024;
/// By when it has been given back.
const GIVEN_BACK: Duration = Duration::from_secs(5);

/// The same joins with and without a password.
fn joins(name: &'static str, password: Option<&str>) -> (Held, u64) {
    let server = Server::start(&[]);
    let watch = Watch::start(name, &server);
    run(async {
        let join = |room: &str, name: &str| {
            let mut join = join_of(room, name);
            join.password = password.map(Password::from);
            ClientMessage::Join(join)
        };
        let mut members = Vec::new();
        for number in 0..ROOMS {
            let mut client = Client::connect(&server).await;
            client.say(&join(&format!("room {number}"), "first")).await;
            wait_until_in(&mut client).await;
            members.push(client);
        }
        let mut together = Vec::new();
        for number in 0..AT_ONCE {
            let mut client = Client::connect(&server).await;
            client.say(&join("room 0", &format!("friend {number}"))).await;
            together.push(client);
        }
        for client in &mut together {
            // The room may be full by then: what matters here is that its password was looked at.
            client.next().await;
        }
    });
    let held = watch.held();
    (held, watch.wait_until_at_most(held.before + MOST_LEFT_KIB, GIVEN_BACK))
}

async fn wait_until_in(client: &mut Client) {
    let joined = client.until("joined", |received| match received {
        Received::Message(ServerMessage::Joined(_)) => Some(()),
        Received::Message(ServerMessage::Error { code, message, .. }) => {
            panic!("{code}: {message}")
        }
        _ => None,
    });
    joined.await;
}

#[test]
fn passwords_are_hashed_in_one_work_area_that_is_given_back() {
    let (without, left_without) = joins("joins without a password", None);
    let (with, left) = joins("joins with a password", Some("sesame"));
    println!("5 s later: {left_without} KiB without, {left} KiB with");
    let more = with.growth().saturating_sub(without.growth());
    assert!(more <= MOST_HASHING_KIB, "{more} KiB more at the peak");
    let kept = left
        .saturating_sub(with.before)
        .saturating_sub(left_without.saturating_sub(without.before));
    assert!(kept <= MOST_LEFT_KIB, "{kept} KiB are kept");
}

/// Joins that wait for a hash at the same time, those of one address, and what each sends behind its
/// join.
const WAITING: usize = 256;
const OF_ADDRESS: usize = 8;
const BEHIND_BYTES: usize = 31_000;
/// What may be held of that: a buffer of each.
const MOST_HELD_KIB: u64 = 3 * 1024;

/// How much memory joins take that wait, with so many bytes behind each.
fn waiting_joins(name: &'static str, behind: usize) -> Held {
    let server = Server::start(&["--trusted-proxy", "127.0.0.1"]);
    let watch = Watch::start(name, &server);
    run(async {
        let (mut clients, mut too_large) = (Vec::new(), 0);
        for number in 0..WAITING {
            let address = format!("203.0.113.{}", number / OF_ADDRESS);
            clients.push(Client::connect_from(&server, &address).await);
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let mut join = join_of(&format!("room {number}"), "waiting");
            join.password = Some(Password::from("sesame"));
            let mut frames = Vec::new();
            frame(TEXT, ClientMessage::Join(join).to_json().as_bytes(), &mut frames);
            let text = format!(r#"{{"type":"ping","token":1,"pad":"{}"}}"#, "x".repeat(behind));
            frame(TEXT, text.as_bytes(), &mut frames);
            assert!(client.try_send(&frames).await);
        }
        for client in &mut clients {
            // One whose turn did not come in time is asked to come back.
            let answered = client.until("an answer", |received| match received {
                Received::Message(ServerMessage::Joined(_)) => Some(None),
                Received::Message(ServerMessage::Error { code, .. }) => Some(Some(code.clone())),
                // What was said before the end is lost where the server was sent more meanwhile.
                Received::Closed(_) | Received::Cut if behind > 0 => Some(None),
                _ => None,
            });
            let refused = answered.await.filter(|code| *code != ErrorCode::PasswordWait);
            too_large += usize::from(refused == Some(ErrorCode::TooLarge));
        }
        assert_eq!(too_large > 0, behind > 4_096, "{too_large} too large");
    });
    watch.held()
}

#[test]
fn what_follows_a_join_that_waits_is_small() {
    let without = waiting_joins("joins that wait", 0);
    let with = waiting_joins("joins that wait, with texts behind them", BEHIND_BYTES);
    let more = with.growth().saturating_sub(without.growth());
    assert!(more <= MOST_HELD_KIB, "{more} KiB more at the peak");
}

/// More than the server may open.
const CONNECTIONS: usize = 120;

#[test]
fn out_of_descriptors_newcomers_are_told_that_the_server_is_full() {
    let mut command = Command::new("sh");
    let server = format!("ulimit -n 80; exec {} \"$@\"", binary("voicemesh-signaling").display());
    command.args(["-c", &server, "sh"]);
    let mut server = Server::start_by(command, Ipv4Addr::LOCALHOST, 0, &[]);
    server.program.wait_for_line("open files", PATIENCE);
    let watch = Watch::start("out of descriptors", &server);
    run(async {
        let mut members = Vec::new();
        let (mut told, mut told_by_http) = (0, 0);
        for number in 0..CONNECTIONS {
            match patiently("an answer", Client::try_connect(server.address)).await {
                Ok(mut client) => {
                    let _ = client
                        .say_if_there(&ClientMessage::Join(join_of(
                            "full",
                            &format!("member {number}"),
                        )))
                        .await;
                    match client.next().await {
                        Received::Message(ServerMessage::Joined(_)) => members.push(client),
                        Received::Message(ServerMessage::Error {
                            code: ErrorCode::ServerFull,
                            ..
                        }) => told += 1,
                        other => panic!("connection {number}: {other:?}"),
                    }
                }
                Err(error) => {
                    assert!(error.to_string().contains("503"), "connection {number}: {error}");
                    told_by_http += 1;
                }
            }
        }
        println!("{} are in, {told} were told so, {told_by_http} by 503", members.len());
        assert!(members.len() >= 20 && told + told_by_http >= 40, "{} are in", members.len());
        for client in &mut members {
            client.handled(1).await;
        }
        drop(members);
        // There is room again, as soon as the server has seen that they are gone.
        loop {
            if let Ok(mut client) = Client::try_connect(server.address).await
                && client.say_if_there(&ClientMessage::Join(join_of("full", "late"))).await
                && matches!(client.next().await, Received::Message(ServerMessage::Joined(_)))
            {
                break;
            }
        }
    });
    let _ = server.program.events();
    let complaints =
        server.program.transcript().lines().filter(|line| line.contains("cannot accept")).count();
    assert!(complaints <= 1, "{complaints} lines in a few seconds");
    watch.held();
}

#[test]
fn the_limit_of_open_files_is_raised_and_this_is_said() {
    let mut command = Command::new("sh");
    let server = format!("ulimit -Sn 40; exec {} \"$@\"", binary("voicemesh-signaling").display());
    command.args(["-c", &server, "sh"]);
    let mut server = Server::start_by(command, Ipv4Addr::LOCALHOST, 0, &[]);
    server.program.wait_for_line("the limit of open files was raised from 40 to", PATIENCE);
    run(async {
        let mut members = Vec::new();
        for number in 0..50 {
            members.push(Member::join(&server, "files", &format!("member {number}")).await);
        }
    });
}

#[test]
fn beyond_all_connections_the_answer_is_503_with_a_time_to_come_back() {
    let server = Server::start(&["--max-connections", "1"]);
    run(async {
        let mut held = Vec::new();
        // More than one and those that are accepted beside it to be told; then more than are turned
        // away at a time.
        for connections in [80, 160] {
            while held.len() < connections {
                held.push(TcpStream::connect(server.address).await.expect("the server listens"));
            }
            let mut answer = String::new();
            let mut last = TcpStream::connect(server.address).await.expect("the server listens");
            last.write_all(b"GET /ws HTTP/1.1\r\nHost: here\r\n\r\n").await.expect("it is sent");
            // To its end, and not to a reset, which may destroy what has not been read.
            patiently("an answer", last.read_to_string(&mut answer)).await.expect("an answer");
            assert!(
                answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 10"),
                "{answer:?}"
            );
        }
        drop(held);
    });
}

/// How many are told at a time that there is no room, and as many connections beyond the limit are
/// taken so that they can be told in other ways.
const TOLD_AT_ONCE: usize = 64;

/// Each of them, although those before it never read.
#[test]
fn beyond_all_connections_everyone_in_a_crowd_gets_the_answer() {
    let server = Server::start(&["--max-connections", "1"]);
    run(async {
        let mut crowd = Vec::new();
        for _ in 0..(1 + 4 * TOLD_AT_ONCE) {
            crowd.push(TcpStream::connect(server.address).await.expect("the server listens"));
        }
        for (number, refused) in crowd.iter_mut().enumerate().skip(1 + TOLD_AT_ONCE) {
            let mut answer = [0; 12];
            patiently("an answer", refused.read_exact(&mut answer)).await.expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 503", "connection {number}");
        }
    });
}

/// Those that begin no handshake do not keep the newest from its answer.
#[test]
fn beyond_all_connections_the_answer_comes_over_tls_as_well() {
    let folder = Folder::create("full");
    let (cert, key) = (folder.file("cert.pem"), folder.file("key.pem"));
    let (trusted, private) = certificate();
    std::fs::write(&cert, &trusted).expect("a file");
    std::fs::write(&key, private).expect("a file");
    let paths = [cert.display().to_string(), key.display().to_string()];
    let server =
        Server::start(&["--max-connections", "1", "--tls-cert", &paths[0], "--tls-key", &paths[1]]);
    run(async {
        let mut silent = Vec::new();
        while silent.len() < 1 + 3 * TOLD_AT_ONCE {
            silent.push(TcpStream::connect(server.address).await.expect("the server listens"));
        }
        for _ in 0..3 {
            let answer = ask_by_tls(&server, &trusted, "/ws").await.expect("a handshake");
            assert!(
                answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 10"),
                "{answer:?}"
            );
        }
        drop(silent);
    });
}

#[test]
fn switches_in_the_environment_are_read_as_people_write_them() {
    for (value, relay_only) in [
        ("1", true),
        ("yes", true),
        ("TRUE", true),
        ("on", true),
        ("0", false),
        ("no", false),
        ("off", false),
        ("", false),
    ] {
        let mut command = Command::new(binary("voicemesh-signaling"));
        command.env("VOICEMESH_RELAY_ONLY", value).env("VOICEMESH_NO_WEB", value);
        for variable in [
            "VOICEMESH_TURN",
            "VOICEMESH_TLS_CERT",
            "VOICEMESH_TLS_KEY",
            "VOICEMESH_MAX_ROOMS",
            "PORT",
        ] {
            command.env(variable, "");
        }
        let server = Server::start_by(command, Ipv4Addr::LOCALHOST, 0, &[]);
        run(async {
            let member = Member::join(&server, "variables", "member").await;
            assert_eq!(member.joined.relay_only, relay_only, "{value:?}");
        });
    }
}

/// A certificate for `localhost` and its key, as PEM.
pub fn certificate() -> (String, String) {
    let certified =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    (certified.cert.pem(), certified.signing_key.serialize_pem())
}

/// Whether the server shows a certificate that `trusted` (PEM) vouches for.
async fn shows(server: &Server, trusted: &str) -> bool {
    ask_by_tls(server, trusted, "/healthz").await.is_some_and(|answer| answer.ends_with("ok\n"))
}

/// The answer to a request, if `trusted` (PEM) vouches for the server's certificate.
pub async fn ask_by_tls(server: &Server, trusted: &str, path: &str) -> Option<String> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName};

    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(trusted.as_bytes()).expect("PEM"))
        .expect("a certificate");
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_root_certificates(roots)
    .with_no_client_auth();
    let stream = TcpStream::connect(server.address).await.expect("the server listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let mut stream = patiently("a handshake", connecting).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = patiently("an answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).ok()
}

#[test]
fn a_renewed_certificate_is_loaded_when_it_changes_and_when_asked_and_a_bad_one_is_not() {
    let folder = Folder::create("certificates");
    let (cert, key) = (folder.file("cert.pem"), folder.file("key.pem"));
    let put = |(certificate, private): &(String, String)| {
        std::fs::write(&cert, certificate).expect("a file");
        std::fs::write(&key, private).expect("a file");
    };
    let [first, second, third] = [certificate(), certificate(), certificate()];
    put(&first);
    let paths = [cert.display().to_string(), key.display().to_string()];
    let mut server = Server::start(&["--tls-cert", &paths[0], "--tls-key", &paths[1]]);
    run(async {
        assert!(shows(&server, &first.0).await && !shows(&server, &second.0).await);
    });
    // By itself.
    put(&second);
    server.program.wait_for_line("new connections get the certificate", PATIENCE);
    run(async {
        assert!(shows(&server, &second.0).await && !shows(&server, &first.0).await);
    });
    // A pair that does not fit together.
    std::fs::write(&key, &third.1).expect("a file");
    server.program.hang_up();
    server.program.wait_for_line("the former one stays in use", PATIENCE);
    run(async {
        assert!(shows(&server, &second.0).await);
    });
    // Asked.
    put(&third);
    server.program.hang_up();
    server.program.wait_for_line("new connections get the certificate", PATIENCE);
    run(async {
        assert!(shows(&server, &third.0).await && !shows(&server, &second.0).await);
    });
    // Asked again: files that stay as they are give no other reason to load them.
    server.program.forget();
    server.program.hang_up();
    server.program.wait_for_line("new connections get the certificate", PATIENCE);
}

#[test]
fn a_server_whose_terminal_ends_says_goodbye() {
    let mut server = Server::start(&[]);
    run(async {
        let mut member = Member::join(&server, "terminal", "member").await;
        server.program.hang_up();
        let goodbye = member.client.until("a goodbye", |received| {
            matches!(received, Received::Message(ServerMessage::GoingAway { .. })).then_some(())
        });
        goodbye.await;
        assert_eq!(member.client.end().await.1, Some(1012));
    });
    assert!(server.program.wait_for_exit(PATIENCE).success());
}
