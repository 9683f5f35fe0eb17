//! The operator's own requests: who is answered, and what kick and drain do.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use crate::common::{Person, Server, http, join_of};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use voicemesh_signaling::Config;
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, LeaveReason, Moderation, ServerMessage};

const TOKEN: &str = "0123456789abcdef";

struct Operated {
    server: Server,
    admin: SocketAddr,
    file: PathBuf,
}

impl Operated {
    async fn start(name: &str) -> Self {
        Self::start_with(name, Config::default()).await
    }

    async fn start_at(name: &str, admin: SocketAddr) -> Self {
        Self::start_with(name, Config { admin_listen: Some(admin), ..Config::default() }).await
    }

    async fn start_with(name: &str, config: Config) -> Self {
        let file =
            std::env::temp_dir().join(format!("voicemesh-admin-{}-{name}", std::process::id()));
        std::fs::write(&file, format!("{TOKEN}\n")).expect("a file");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))
                .expect("a mode");
        }
        let free = || {
            TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .expect("a port")
        };
        let admin = config.admin_listen.unwrap_or_else(free);
        let config =
            Config { admin_listen: Some(admin), admin_token_file: Some(file.clone()), ..config };
        let server = Server::with(config).await;
        // It accepts when the other address is bound.
        assert!(server.http("/healthz").await.contains("ok"));
        Self { server, admin, file }
    }

    async fn ask(&self, line: &str, headers: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let answer = http(self.admin, &request).await;
        let status =
            answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer)
    }

    async fn act(&self, line: &str, body: &str) -> (u16, Value) {
        let headers = format!("Host: {}\r\nAuthorization: Bearer {TOKEN}\r\n", self.admin);
        let (status, answer) = self.ask(line, &headers, body).await;
        let json = answer.split_once("\r\n\r\n").expect("a body").1;
        (status, serde_json::from_str(json.trim()).unwrap_or_default())
    }

    async fn stop(self) {
        let _ = std::fs::remove_file(&self.file);
        self.server.stop().await.expect("a clean end");
    }
}

#[tokio::test]
async fn only_a_program_with_the_token_at_the_right_address_is_answered() {
    let operated = Operated::start("guard").await;
    let host = format!("Host: {}\r\n", operated.admin);
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let wrong_host = "Host: voice.example\r\n".to_owned();
    let cases = [
        (format!("{host}{token}"), 200),
        (host.clone(), 401),
        (format!("{host}Authorization: Bearer {TOKEN}0\r\n"), 401),
        (format!("{host}Authorization: Basic {TOKEN}\r\n"), 401),
        (format!("{host}Cookie: token={TOKEN}\r\n"), 401),
        (format!("{wrong_host}{token}"), 421),
        (token.clone(), 400),
        (format!("{host}{host}{token}"), 400),
        (format!("{host}{token}Origin: http://{}\r\n", operated.admin), 403),
        (format!("{host}{token}Sec-Fetch-Site: same-origin\r\n"), 403),
    ];
    for (headers, status) in cases {
        let (answered, answer) = operated.ask("GET /rooms", &headers, "").await;
        assert_eq!(answered, status, "{headers}: {answer}");
        let lower = answer.to_lowercase();
        assert!(
            !lower.contains("access-control")
                && !lower.contains("set-cookie")
                && !answer.contains(TOKEN)
        );
    }
    let (preflight, _) =
        operated.ask("OPTIONS /drain", &format!("{host}Origin: http://evil.example\r\n"), "").await;
    assert_eq!(preflight, 403);
    assert!(
        !operated.server.http("/rooms").await.contains("\"rooms\""),
        "not at the public address"
    );
    operated.stop().await;
}

#[tokio::test]
async fn a_member_that_is_kicked_is_gone_and_told_why() {
    let operated = Operated::start("kick").await;
    let (mut ana, joined) = Person::join(&operated.server, "tea room", "ana").await;
    let (mut bo, second) = Person::join(&operated.server, "tea room", "bo").await;
    ana.expect_joined().await;
    let (status, rooms) = operated.act("GET /rooms", "").await;
    assert_eq!(
        (status, rooms),
        (200, serde_json::json!({ "rooms": [{ "room": "tea room", "members": 2 }] }))
    );
    let (status, members) = operated.act("GET /rooms/tea%20room/members", "").await;
    assert_eq!(status, 200);
    assert_eq!(members["members"][0]["peer"], joined.you.to_string());
    assert_eq!(members["members"][1]["name"], "bo");
    assert_eq!(operated.act("GET /rooms/other/members", "").await.0, 404);
    for (body, status) in
        [("", 400), ("{}", 400), (r#"{"peer":"00000000-0000-8000-8000-000000000000"}"#, 404)]
    {
        assert_eq!(operated.act("POST /rooms/tea%20room/kick", body).await.0, status, "{body}");
    }
    let body = format!(r#"{{"peer":"{}"}}"#, second.you);
    assert_eq!(operated.act("GET /rooms/tea%20room/kick", &body).await.0, 405);
    assert_eq!(operated.act("POST /rooms/tea%20room/kick", &body).await.0, 200);
    assert_eq!(bo.expect_error().await, (ErrorCode::Kicked, true));
    assert_eq!(ana.expect_left().await, (second.you, LeaveReason::Kicked));
    operated.stop().await;
}

#[tokio::test]
async fn the_operator_decides_who_moderates_a_room() {
    let operated = Operated::start("owner").await;
    let (mut ana, first) = Person::join(&operated.server, "tea room", "ana").await;
    let (_bo, second) = Person::join(&operated.server, "tea room", "bo").await;
    ana.expect_joined().await;
    let moderators = async || {
        let members = operated.act("GET /rooms/tea%20room/members", "").await.1;
        let may = |member: &serde_json::Value| {
            member["permissions"].as_array().is_some_and(|all| all.contains(&"moderate".into()))
        };
        let members = members["members"].as_array().expect("members").clone();
        members
            .iter()
            .filter(|member| may(member))
            .map(|member| member["peer"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    for owner in [second.you, first.you, first.you] {
        let body = format!(r#"{{"peer":"{owner}"}}"#);
        assert_eq!(operated.act("POST /rooms/tea%20room/make-owner", &body).await.0, 200);
        assert_eq!(moderators().await, [owner.to_string()]);
    }
    let absent = r#"{"peer":"00000000-0000-8000-8000-000000000000"}"#;
    assert_eq!(operated.act("POST /rooms/tea%20room/make-owner", absent).await.0, 404);
    assert_eq!(operated.act("POST /rooms/other/make-owner", absent).await.0, 404);
    operated.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_answered_with_a_sentence() {
    let operated = Operated::start("unknown").await;
    for (line, status) in [
        ("GET /nothing", 404),
        ("GET /drain", 405),
        ("GET /rooms/%FF/members", 400),
        ("POST /rooms/%FF/kick", 400),
        ("GET /rooms/empty/bans", 404),
    ] {
        let (answered, answer) = operated.act(line, "").await;
        assert_eq!(answered, status, "{line}");
        assert!(
            answer["error"].as_str().is_some_and(|error| error.ends_with('.')),
            "{line}: {answer}"
        );
    }
    operated.stop().await;
}

#[tokio::test]
async fn at_an_unspecified_address_the_host_is_the_one_at_which_a_request_arrives() {
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    let mut operated = Operated::start_at("unspecified", ([0, 0, 0, 0], port).into()).await;
    operated.admin = ([127, 0, 0, 1], port).into();
    assert_eq!(operated.act("GET /rooms", "").await.0, 200);
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    for host in ["0.0.0.0", "127.0.0.2", "localhost", "rebound.example"] {
        let (status, answer) =
            operated.ask("GET /rooms", &format!("Host: {host}:{port}\r\n{token}"), "").await;
        assert!(status == 421 && answer.contains(&format!("127.0.0.1:{port}")), "{host}: {answer}");
    }
    operated.admin = ([127, 0, 0, 2], port).into();
    assert_eq!(operated.act("GET /rooms", "").await.0, 200, "another address of this machine");
    operated.stop().await;
}

#[tokio::test]
async fn connections_without_the_token_do_not_hold_the_operator_off() {
    const MANY: usize = 200;
    /// Less than a connection may take in all, more than a busy machine needs.
    const SOON: Duration = Duration::from_secs(20);
    let operated = Operated::start("idle").await;
    let mut idle = Vec::new();
    for number in 0..MANY {
        let mut stream = TcpStream::connect(operated.admin).await.expect("it listens");
        if number % 2 == 0 {
            let request = format!(
                "GET /rooms HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer no\r\n\r\n",
                operated.admin
            );
            stream.write_all(request.as_bytes()).await.expect("it reads");
        }
        idle.push(stream);
    }
    let answered =
        tokio::time::timeout(SOON, operated.act("GET /rooms", "")).await.expect("an answer soon");
    assert_eq!(answered.0, 200);
    let mut last = idle.pop().expect("an idle connection");
    let read =
        tokio::time::timeout(SOON, last.read(&mut [0; 16])).await.expect("a head has a time limit");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    operated.stop().await;
}

#[tokio::test]
async fn bans_are_listed_and_lifted() {
    let config = Config { owner_after: Duration::ZERO, ..Config::default() };
    let operated = Operated::start_with("bans", config).await;
    let (mut ana, _) = Person::join(&operated.server, "tea room", "ana").await;
    let join = join_of("tea room", "bo");
    let mut bo = Person::connect(&operated.server).await;
    let second = bo.enter(join.clone()).await;
    assert_eq!(
        operated.act("GET /rooms/tea%20room/bans", "").await,
        (200, serde_json::json!({ "bans": [] }))
    );
    let action = Moderation::Ban { peer: second.you, seconds: 600 };
    ana.say(&ClientMessage::Moderate { request: Some(1), action }).await;
    assert_eq!(bo.expect_error().await, (ErrorCode::Banned, true));
    let (_, listed) = operated.act("GET /rooms/tea%20room/bans", "").await;
    let ban = &listed["bans"][0];
    assert_eq!(
        (ban["peer"].as_str(), ban["name"].as_str()),
        (Some(&*second.you.to_string()), Some("bo"))
    );
    assert!(
        ban["seconds_left"].as_f64().is_some_and(|left| (1.0..=600.0).contains(&left)),
        "{listed}"
    );
    let mut again = Person::connect(&operated.server).await;
    again.say(&ClientMessage::Join(join.clone())).await;
    assert_eq!(again.expect_error().await, (ErrorCode::Banned, true));
    ana.say(&ClientMessage::Leave).await;
    ana.expect_end().await;
    let (_, listed) = operated.act("GET /rooms/tea%20room/bans", "").await;
    assert_eq!(
        listed["bans"].as_array().map(Vec::len),
        Some(1),
        "also while the room is empty: {listed}"
    );
    let body = format!(r#"{{"peer":"{}"}}"#, second.you);
    assert_eq!(operated.act("POST /rooms/tea%20room/unban", "").await.0, 400);
    assert_eq!(operated.act("POST /rooms/tea%20room/unban", &body).await.0, 200);
    assert_eq!(operated.act("POST /rooms/tea%20room/unban", &body).await.0, 404);
    Person::connect(&operated.server).await.enter(join).await;
    operated.stop().await;
}

#[tokio::test]
async fn a_drained_server_sends_its_peers_away_at_different_times_and_takes_no_more() {
    const PEERS: u64 = 20;
    let operated = Operated::start("drain").await;
    let mut clients = Vec::new();
    for number in 0..PEERS {
        clients.push(
            Person::join(&operated.server, &format!("room {number}"), &format!("peer {number}"))
                .await
                .0,
        );
    }
    assert!(operated.server.http("/healthz").await.contains("ok"));
    let (status, answer) = operated.act("POST /drain", "").await;
    assert_eq!((status, answer["connections"].as_u64()), (200, Some(PEERS)));
    let mut times = Vec::new();
    for client in &mut clients {
        let pick = |message| match message {
            ServerMessage::GoingAway { retry_after_ms } => Some(retry_after_ms),
            _ => None,
        };
        times.push(client.expect("a farewell", pick).await);
    }
    times.sort_unstable();
    assert_eq!(times, (0..PEERS).map(|number| number * 10_000 / PEERS).collect::<Vec<_>>());
    assert!(operated.server.http("/healthz").await.contains("503"));
    let mut late = Person::connect(&operated.server).await;
    late.say(&ClientMessage::Join(join_of("room 1", "late"))).await;
    let pick = |message| match message {
        ServerMessage::GoingAway { retry_after_ms } => Some(retry_after_ms),
        _ => None,
    };
    assert_eq!(late.expect("the time to come back", pick).await, 5_000);
    assert_eq!(late.expect_end().await, Some(CloseCode::Restart));
    operated.stop().await;
}

#[tokio::test]
async fn metrics_tell_how_long_things_take_and_why_they_are_refused_without_a_name() {
    let server = Server::start().await;
    let (mut ana, joined) = Person::join(&server, "a secret room", "ana").await;
    let session = ana.take_part(&joined).await;
    let (mut bo, second) = Person::join(&server, "a secret room", "bo").await;
    bo.take_part(&second).await;
    let mut voice = vec![0x8B, 0xC7, 2];
    voice.extend_from_slice(&session.number().to_be_bytes());
    voice.extend_from_slice(&joined.client.0.to_be_bytes());
    voice.resize(60, 0);
    ana.relay(
        session,
        voicemesh_wire::packet::Kind::ServerRelayUnreliable,
        &[second.client],
        &voice,
    )
    .await;
    bo.expect_packet(voicemesh_wire::packet::Kind::VoiceData).await;
    let mut late = Person::connect(&server).await;
    late.say(&ClientMessage::Leave).await;
    assert_eq!(late.expect_error().await, (ErrorCode::NotJoined, true));
    let unknown = voicemesh_wire::PeerId(uuid::Uuid::nil());
    let signal = voicemesh_wire::signaling::Signal::RequestOffer;
    bo.say(&ClientMessage::Signal { to: unknown, attempt: 1, signal }).await;
    assert_eq!(bo.expect_error().await, (ErrorCode::UnknownPeer, false));
    let text = server.http("/metrics").await;
    for line in [
        "voicemesh_members 2",
        "voicemesh_relay_queue_age_seconds_count 1",
        "voicemesh_relay_queue_age_seconds_bucket{le=\"+Inf\"} 1",
        "voicemesh_join_time_seconds_count 2",
        "voicemesh_refusals_by_code_total{code=\"not-joined\"} 1",
        "voicemesh_refusals_by_code_total{code=\"unknown-peer\"} 1",
        "voicemesh_hashes_waiting 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    for counter in ["voicemesh_bytes_in_total", "voicemesh_bytes_out_total"] {
        assert!(server.metric(counter).await > 100, "{counter}");
    }
    assert!(!text.contains("secret room") && !text.contains("ana"), "{text}");
    // What the dashboard draws and the documentation names is there.
    let repository = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for file in ["deploy/grafana-dashboard.json", "docs/operate.md"] {
        // A package of the server alone has neither.
        let Ok(document) = std::fs::read_to_string(repository.join(file)) else {
            assert!(!repository.join("deploy").is_dir(), "{file} is missing");
            continue;
        };
        let named: Vec<&str> = metric_names(&document).collect();
        assert!(named.len() > 5, "{file} names {named:?}");
        for name in named {
            assert!(metric_names(&text).any(|found| found == name), "{file}: there is no {name}");
        }
    }
    server.stop().await.expect("a clean end");
}

/// The metrics of this server that a text names.
fn metric_names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|letter: char| !letter.is_ascii_lowercase() && letter != '_');
    // The crate's own name, and the metrics of another protocol, which is off here.
    let others = ["voicemesh_signaling", "voicemesh_unityp"];
    words.filter(move |word| word.starts_with("voicemesh_") && !others.contains(word))
}
