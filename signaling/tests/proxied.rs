//! A server behind something: reverse proxies that keep or strip a path, hosts that other
//! applications share, pages whose WebSocket does not open.

use std::time::Duration;

use crate::common::{Person, Server, http, join_of, request};
use tokio_tungstenite::tungstenite;
use voicemesh_signaling::{Config, ServeError, TrustedProxy, banner, bind};
use voicemesh_wire::signaling::ServerMessage;

struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn ask(server: &Server, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n"
    );
    let text = http(server.address, &request).await;
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

async fn get(server: &Server, path: &str) -> Answer {
    ask(server, "GET", path, "Host: voice.example\r\n").await
}

/// The answer that the page gets about an attempt.
async fn check(server: &Server, attempt: &str, headers: &str) -> serde_json::Value {
    let answer = ask(server, "POST", &format!("/connect-check?attempt={attempt}"), headers).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    serde_json::from_str(&answer.body).expect("JSON")
}

/// The status with which an upgrade is refused.
async fn refused(server: &Server, path: &str, headers: &[(&'static str, &str)]) -> Option<u16> {
    let mut request = request(server.address);
    *request.uri_mut() = format!("ws://{}{path}", server.address).parse().expect("a URI");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a header"));
    }
    match Person::try_connect(server, request).await {
        Ok(_) => None,
        Err(tungstenite::Error::Http(response)) => Some(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

fn trusting(proxy: &str) -> Config {
    let proxy: TrustedProxy = proxy.parse().expect("a proxy");
    Config { trusted_proxies: vec![proxy], ..Config::default() }
}

/// proves: B-17
#[tokio::test]
async fn cookies_of_other_applications_lock_no_one_out() {
    let server = Server::start().await;
    let cookies = format!("other={}", "x".repeat(16 * 1024));
    assert_eq!(refused(&server, "/ws", &[("cookie", &cookies)]).await, None);
    let page = ask(&server, "GET", "/", &format!("Host: x\r\nCookie: {cookies}\r\n")).await;
    assert_eq!(page.status, 200);
    let endless = format!("Host: x\r\nCookie: {}\r\n", "x".repeat(64 * 1024));
    assert_eq!(ask(&server, "GET", "/", &endless).await.status, 431, "it is still bounded");
}

/// proves: B-17
#[tokio::test]
async fn a_trusted_proxy_says_which_host_the_browser_used() {
    let server = Server::with(trusting("127.0.0.1")).await;
    let page = ("origin", "https://voice.example");
    let upstream = ("host", "127.0.0.1:8080");
    assert_eq!(
        refused(&server, "/ws", &[page, upstream]).await,
        Some(403),
        "no trusted header says it"
    );
    for said in
        [("x-forwarded-host", "voice.example"), ("forwarded", "host=voice.example;proto=https")]
    {
        assert_eq!(refused(&server, "/ws", &[page, upstream, said]).await, None, "{said:?}");
    }
    let evil = ("x-forwarded-host", "voice.example, evil.example");
    assert_eq!(refused(&server, "/ws", &[page, upstream, evil]).await, Some(403));
    let trusts_no_proxy = Server::start().await;
    let said = ("x-forwarded-host", "voice.example");
    assert_eq!(refused(&trusts_no_proxy, "/ws", &[page, upstream, said]).await, Some(403));
}

/// proves: B-17
#[tokio::test]
async fn a_page_learns_why_its_socket_did_not_open() {
    let server = Server::start().await;
    let page = ("origin", "https://voice.example");
    assert_eq!(
        refused(&server, "/ws?attempt=one", &[page, ("host", "127.0.0.1:8080")]).await,
        Some(403)
    );
    let asked = "Host: 127.0.0.1:8080\r\nOrigin: https://voice.example\r\n";
    let answer = check(&server, "one", asked).await;
    assert_eq!((&answer["attempt"], &answer["origin"]), (&"origin".into(), &"refused".into()));
    assert_eq!(answer["option"], "--allow-origin https://voice.example");
    assert_eq!(answer["host"], "127.0.0.1:8080");

    let own = "Host: voice.example\r\nOrigin: https://voice.example\r\n";
    assert_eq!(ask(&server, "GET", "/ws?attempt=two", own).await.status, 426);
    let answer = check(&server, "two", own).await;
    assert_eq!((&answer["attempt"], &answer["origin"]), (&"no-upgrade".into(), &"allowed".into()));
    assert_eq!(answer["option"], serde_json::Value::Null);

    let answer = check(&server, "three", own).await;
    assert_eq!(answer["attempt"], "unknown", "it never arrived");
    let others = ("sec-websocket-protocol", "chat");
    assert_eq!(refused(&server, "/ws?attempt=four", &[others]).await, Some(400));
    assert_eq!(check(&server, "four", own).await["attempt"], "protocol");
    assert_eq!(refused(&server, "/ws?attempt=five", &[]).await, None);
    assert_eq!(check(&server, "five", own).await["attempt"], "upgraded");
    assert_eq!(server.metric("voicemesh_upgrades_refused_total").await, 3);
}

/// proves: B-17
#[tokio::test]
async fn a_proxy_may_strip_a_path_or_keep_it() {
    let server =
        Server::with(Config { base_path: Some("/voice/".to_owned()), ..Config::default() }).await;
    for base in ["", "/voice"] {
        let page = get(&server, &format!("{base}/")).await;
        assert_eq!(page.status, 200, "{base}");
        assert!(
            page.body.contains("src=\"assets/") && !page.body.contains("\"/assets/"),
            "{}",
            page.body
        );
        let room = get(&server, &format!("{base}/r/lobby")).await;
        assert!(room.body.contains("src=\"../assets/"), "{}", room.body);
        let slash = get(&server, &format!("{base}/r/lobby/")).await;
        assert!(slash.body.contains("src=\"../../assets/"), "{}", slash.body);
        let (_, rest) = page.body.split_once("src=\"assets/").expect("a script");
        let (script, _) = rest.split_once('"').expect("its end");
        assert_eq!(get(&server, &format!("{base}/assets/{script}")).await.status, 200);
        assert_eq!(get(&server, &format!("{base}/healthz")).await.body, "ok\n");
        assert_eq!(refused(&server, &format!("{base}/ws"), &[]).await, None, "{base}");
    }
    let bare = get(&server, "/voice").await;
    assert_eq!(bare.status, 308);
    assert!(bare.head.to_ascii_lowercase().contains("location: voice/"), "{}", bare.head);
    assert_eq!(get(&server, "/voices/").await.status, 404, "a longer name is another");
}

/// proves: B-17
#[tokio::test]
async fn a_path_that_is_no_room_says_so_and_leads_to_the_lobby() {
    for config in [Config::default(), Config { no_web: true, ..Config::default() }] {
        let server = Server::with(config).await;
        for (path, lobby) in [
            ("/room", "./"),
            ("/r/", "../"),
            ("/voice/r/lobby", "../../"),
            ("/a/b/c/", "../../../"),
        ] {
            let page = get(&server, path).await;
            assert_eq!(page.status, 404, "{path}");
            assert!(page.body.contains(&format!("<a href=\"{lobby}\">")), "{path}: {}", page.body);
            assert!(page.head.contains("content-security-policy"), "{}", page.head);
        }
        let long = get(&server, &format!("/{}", "a/".repeat(4_000))).await;
        assert!(long.status == 404 && long.body.len() < 2_000, "{}", long.body.len());
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anybody_is_served() {
    let turn = Config { turn: vec!["turn.example:3478".to_owned()], ..Config::default() };
    let Err(ServeError::Config(error)) = bind(&turn).await else { panic!("it has no scheme") };
    assert_eq!((error.option, error.variable), ("--turn", "VOICEMESH_TURN"));
    let server = Server::with(turn).await;
    assert!(
        matches!(server.stop().await, Err(ServeError::Config(_))),
        "nor by a listener of the caller's"
    );
}

#[tokio::test]
async fn the_start_line_names_families_stun_and_turn() {
    let config = Config {
        port: 0,
        stun: vec!["stun:stun.example".to_owned()],
        turn: vec!["turn:turn.example".to_owned()],
        turn_secret: Some("secret".to_owned()),
        base_path: Some("voice".to_owned()),
        ..Config::default()
    };
    let listener = bind(&config).await.expect("a free port");
    let line = banner(&config, listener.local_addr().expect("it is bound"));
    for part in
        ["STUN: stun:stun.example", "TURN: turn:turn.example", "14400 s", "also below /voice/"]
    {
        assert!(line.contains(part), "{line}");
    }
    assert!(!line.contains("secret"), "{line}");
    assert_eq!(line.contains("[::]"), line.contains("IPv6 and IPv4"), "{line}");
}

#[tokio::test]
async fn credentials_expire_and_new_ones_come_without_a_rejoin() {
    let config = Config {
        turn: vec!["turn:turn.example".to_owned()],
        turn_secret: Some("secret".to_owned()),
        turn_lifetime: Duration::from_secs(4),
        ..Config::default()
    };
    let server = Server::with(config).await;
    let mut ana = Person::connect(&server).await;
    let joined = ana.enter(join_of("lobby", "ana")).await;
    let first = joined.ice_servers[0].username.clone().expect("it is named");
    let renewed = ana
        .expect("new credentials", |message| match message {
            ServerMessage::IceServers { ice_servers } => ice_servers[0].username.clone(),
            _ => None,
        })
        .await;
    let expiry = |name: &str| {
        name.split(':').next().and_then(|time| time.parse::<u64>().ok()).expect("a time")
    };
    assert!(expiry(&renewed) > expiry(&first), "{first} {renewed}");
}

/// What the program says at its end, and its exit code.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_voicemesh-signaling"));
    let output = command.args(arguments).envs(variables.iter().copied()).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_program_names_the_setting_that_cannot_be_meant_and_ends_with_2() {
    let (code, said) = run(&[], &[("VOICEMESH_TURN", "turn.example:3478")]);
    assert!(
        code == Some(2) && said.contains("--turn (VOICEMESH_TURN)") && said.contains("turn:HOST"),
        "{said}"
    );
    let (code, said) = run(&["--turn", "turn:turn.example"], &[]);
    assert!(code == Some(2) && said.contains("--turn-secret"), "{said}");
    let (code, said) = run(&[], &[("VOICEMESH_RELAY_ONLY", "perhaps")]);
    assert!(code == Some(2) && said.contains("--relay-only"), "{said}");
}

#[test]
fn an_empty_variable_is_as_if_not_set_and_a_switch_takes_yes() {
    let names = [
        "PORT",
        "VOICEMESH_LISTEN",
        "VOICEMESH_TRUSTED_PROXY",
        "VOICEMESH_PING_INTERVAL",
        "VOICEMESH_NO_WEB",
    ];
    let mut variables = names.map(|name| (name, "")).to_vec();
    variables.push(("VOICEMESH_RELAY_ONLY", "yes"));
    // Everything is read before this is refused.
    let (code, said) = run(&["--turn", "here"], &variables);
    assert!(code == Some(2) && said.contains("--turn (VOICEMESH_TURN)"), "{said}");
}
