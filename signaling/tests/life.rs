//! A server from its start to its end: pings, losses, certificates, signals of the system.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{Person, Received, Server, http, join_of, request, within};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use voicemesh_signaling::{Config, ServeError};
use voicemesh_wire::signaling::{LeaveReason, ServerMessage};

/// proves: U-20
#[tokio::test]
async fn an_idle_socket_is_pinged_before_a_host_would_cut_it() {
    let server =
        Server::with(Config { ping_interval: Duration::from_millis(400), ..Config::default() })
            .await;
    let (mut ana, _) = Person::join(&server, "lobby", "ana").await;
    let pings = async {
        let mut pings = 0;
        while pings < 5 {
            match futures_util::StreamExt::next(&mut ana.socket).await {
                Some(Ok(Message::Ping(_))) => pings += 1,
                Some(Ok(_)) => {}
                ended => panic!("{ended:?}"),
            }
        }
    };
    // Five intervals are longer than the two of silence that end a connection: the pongs count as
    // signs of life.
    within("five pings", pings).await;
    assert_eq!(ana.expect_answer().await.len(), 1);
    assert!(Config::default().ping_interval < Duration::from_secs(55) / 2);
}

#[tokio::test]
async fn a_peer_that_no_longer_answers_is_lost_within_two_ping_periods() {
    let ping_interval = Duration::from_secs(1);
    let server = Server::with(Config { ping_interval, ..Config::default() }).await;
    let (mut ana, _) = Person::join(&server, "lobby", "ana").await;
    let (frozen, joined) = Person::join(&server, "lobby", "frozen").await;
    let since = Instant::now();
    ana.expect_joined().await;
    // `frozen` stays connected, but its socket is not read, so no ping is answered.
    assert_eq!(ana.expect_left().await, (joined.you, LeaveReason::Lost));
    let took = since.elapsed();
    assert!(took >= ping_interval, "{took:?}");
    assert!(took < 2 * ping_interval + Duration::from_millis(1_000), "{took:?}");
    assert_eq!(server.metric("voicemesh_lost_total").await, 1);
    drop(frozen);
}

#[tokio::test]
async fn the_rosters_mark_comes_by_itself() {
    let server =
        Server::with(Config { roster_interval: Duration::from_millis(200), ..Config::default() })
            .await;
    let (mut ana, joined) = Person::join(&server, "lobby", "ana").await;
    for _ in 0..3 {
        let mark = ana.expect("a mark", |message| match message {
            ServerMessage::RosterMark(mark) => Some(mark),
            _ => None,
        });
        assert_eq!(mark.await, joined.roster);
    }
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_ends() {
    let server = Server::start().await;
    let (mut ana, _) = Person::join(&server, "lobby", "ana").await;
    let mut waiting = Person::connect(&server).await;
    let (stubborn, _) = Person::join(&server, "lobby", "stubborn").await;
    ana.expect_joined().await;
    let since = Instant::now();
    let stopped = tokio::spawn(server.stop());
    for person in [&mut ana, &mut waiting] {
        person
            .expect("going-away", |message| {
                matches!(message, ServerMessage::GoingAway { .. }).then_some(())
            })
            .await;
        assert_eq!(person.expect_end().await, Some(CloseCode::Restart));
    }
    within("the end", stopped).await.expect("it does not panic").expect("it ends well");
    assert!(since.elapsed() < Duration::from_secs(10));
    drop(stubborn);
}

#[tokio::test]
async fn http_answers_what_a_host_asks() {
    let server = Server::start().await;
    assert!(server.http("/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(server.http("/").await.contains("voicemesh"));
    assert!(server.http("/ws").await.starts_with("HTTP/1.1 426"));
    assert!(server.http("/secret").await.starts_with("HTTP/1.1 404"));
    let _ana = Person::join(&server, "lobby", "ana").await;
    assert_eq!(server.metric("voicemesh_connections").await, 1);
    assert_eq!(server.metric("voicemesh_joins_total").await, 1);
}

/// proves: U-22, S-15
#[tokio::test]
async fn the_operators_own_certificate_is_used() {
    let files = Files::new();
    let certified =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let cert = files.write("cert.pem", &certified.cert.pem());
    let key = files.write("key.pem", &certified.signing_key.serialize_pem());
    let server =
        Server::with(Config { tls_cert: Some(cert), tls_key: Some(key), ..Config::default() })
            .await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address).await.expect("the server listens");
    let name = "localhost".try_into().expect("a name");
    let connector = TlsConnector::from(Arc::new(config));
    let stream = within("TLS", connector.connect(name, stream))
        .await
        .expect("the certificate is the operator's");
    let upgrade = tokio_tungstenite::client_async(request(server.address), stream);
    let (socket, _) = within("an upgrade", upgrade).await.expect("a WebSocket");
    let mut ana = Person { socket };
    let joined = ana.enter(join_of("lobby", "ana")).await;
    ana.take_part(&joined).await;

    // A client that speaks no TLS gets no answer, and disturbs no other.
    let plain = http(server.address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    let _ = tokio::time::timeout(Duration::from_millis(200), tokio::spawn(plain)).await;
    assert_eq!(ana.expect_answer().await.len(), 1);
}

#[tokio::test]
async fn a_certificate_that_is_none_is_named() {
    let files = Files::new();
    let cert = files.write("cert.pem", "not a certificate");
    let config =
        Config { tls_cert: Some(cert.clone()), tls_key: Some(cert.clone()), ..Config::default() };
    let Err(ServeError::Config(error)) = Server::with(config).await.stop().await else {
        panic!("it started")
    };
    assert!(
        error.option == "--tls-cert" && error.problem.contains(&cert.display().to_string()),
        "{error}"
    );
}

/// proves: U-20
#[tokio::test]
async fn the_program_takes_its_port_from_the_environment_and_ends_on_sigterm() {
    let mut program = Program::start(&[], &[("PORT", "0")]);
    assert!(program.banner.contains("stun:"), "it says whom peers will ask: {}", program.banner);
    let stream = TcpStream::connect(program.address).await.expect("it listens");
    let upgrade = tokio_tungstenite::client_async(request(program.address), stream);
    let mut ana = Person { socket: within("an upgrade", upgrade).await.expect("a WebSocket").0 };
    let joined = ana.enter(join_of("lobby", "ana")).await;
    assert!(!joined.ice_servers.is_empty());

    let since = Instant::now();
    program.terminate();
    ana.expect("going-away", |message| {
        matches!(message, ServerMessage::GoingAway { .. }).then_some(())
    })
    .await;
    assert!(matches!(ana.next().await, Received::Closed(Some(CloseCode::Restart))));
    let status = tokio::task::spawn_blocking(move || program.child.wait()).await;
    assert!(status.expect("no panic").expect("it ended").success());
    assert!(since.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_option_that_cannot_be_used_is_named_before_the_server_says_that_it_listens() {
    let files = Files::new();
    let path = |name: &str, text: &str| files.write(name, text).display().to_string();
    let secret = "0123456789abcdef0123456789abcdef";
    let (junk, token) = (path("junk.pem", secret), path("token", secret));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    let made = ["localhost", "another"].map(|name| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let cert = path(&format!("{name}.pem"), &made.cert.pem());
        (cert, path(&format!("{name}.key"), &made.signing_key.serialize_pem()))
    });
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let missing = files.0.join("missing").display().to_string();
    let cases: [(&[&str], &str); 7] = [
        (&["--tls-cert", &missing, "--tls-key", &made[0].1], "--tls-cert (VOICEMESH_TLS_CERT)"),
        (&["--tls-cert", &junk, "--tls-key", &made[0].1], "--tls-cert (VOICEMESH_TLS_CERT)"),
        (&["--tls-cert", &made[0].0, "--tls-key", &junk], "--tls-key (VOICEMESH_TLS_KEY)"),
        (&["--tls-cert", &made[0].0, "--tls-key", &made[1].1], "--tls-key (VOICEMESH_TLS_KEY)"),
        (&["--web-dir", &missing], "--web-dir (VOICEMESH_WEB_DIR)"),
        (
            &["--admin-listen", &taken, "--admin-token-file", &token],
            "--admin-listen (VOICEMESH_ADMIN_LISTEN)",
        ),
        (&["--admin-token-file", &token], "--admin-token-file (VOICEMESH_ADMIN_TOKEN_FILE)"),
    ];
    for (arguments, named) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_voicemesh-signaling"));
        let output =
            command.args(["--listen", "127.0.0.1:0"]).args(arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty() && said.contains(named), "{arguments:?}: {said}");
        assert!(!said.contains("os error") && !said.contains("012345"), "{arguments:?}: {said}");
    }
}

/// The disk with its log is full, or the program that read it is gone.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_whose_log_cannot_be_written_goes_on() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there");
    let mut program = Program::start_with(&["--listen", "127.0.0.1:0"], &[], full.into());
    let stream = TcpStream::connect(program.address).await.expect("it listens");
    let upgrade = tokio_tungstenite::client_async(request(program.address), stream);
    let mut ana = Person { socket: within("an upgrade", upgrade).await.expect("a WebSocket").0 };
    ana.enter(join_of("lobby", "ana")).await;
    program.terminate();
    assert_eq!(program.child.wait().expect("it ends").code(), Some(0));
}

#[tokio::test]
async fn stun_none_names_no_server_to_peers() {
    let mut program = Program::start(&["--stun", "none", "--listen", "127.0.0.1:0"], &[]);
    assert!(!program.banner.contains("stun:"), "{}", program.banner);
    let stream = TcpStream::connect(program.address).await.expect("it listens");
    let upgrade = tokio_tungstenite::client_async(request(program.address), stream);
    let mut ana = Person { socket: within("an upgrade", upgrade).await.expect("a WebSocket").0 };
    assert!(ana.enter(join_of("lobby", "ana")).await.ice_servers.is_empty());
    program.terminate();
    let _ = program.child.wait();
}

/// The real binary.
struct Program {
    child: Child,
    banner: String,
    address: SocketAddr,
}

impl Program {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_with(arguments, environment, Stdio::inherit())
    }

    fn start_with(arguments: &[&str], environment: &[(&str, &str)], log: Stdio) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_voicemesh-signaling"));
        command.args(arguments).envs(environment.iter().copied());
        command.stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("the binary was built");
        let mut banner = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut banner).expect("it says where it listens");
        let address =
            banner.split("://").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
        let port = address.parse::<SocketAddr>().expect("an address with a port").port();
        // Whichever family was asked for, IPv4 is taken.
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self { child, banner, address }
    }

    fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// A directory that goes with the test.
struct Files(std::path::PathBuf);

impl Files {
    fn new() -> Self {
        let mut number = [0; 8];
        getrandom::fill(&mut number).expect("random numbers");
        let path =
            std::env::temp_dir().join(format!("voicemesh-{:016x}", u64::from_ne_bytes(number)));
        std::fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
