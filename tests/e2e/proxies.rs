//! Real reverse proxies before a real server, configured as `docs/reverse-proxy.md` says: the page,
//! its WebSocket and speech go through, and what is configured wrongly is said.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use voicemesh_tests::process::Program;
use voicemesh_tests::room::{Folder, Joining, PATIENCE, Server, finish, of_peer, wait_for};
use voicemesh_tests::skip;

use crate::{alone, assert_heard};

const DOCUMENT: &str = "docs/reverse-proxy.md";

/// The configuration in a code block of the document, by what stands behind its three backticks.
fn documented(name: &str, upstream: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(DOCUMENT);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (_, rest) = text
        .split_once(&format!("```{name}\n"))
        .unwrap_or_else(|| panic!("{DOCUMENT} has no {name}"));
    let (block, _) = rest.split_once("```").expect("the block ends");
    block.replace("127.0.0.1:8080", upstream)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

struct Proxy {
    port: u16,
    _program: Program,
}

impl Proxy {
    /// nginx with these lines in its `server` block.
    fn nginx(folder: &Folder, upstream: &str, lines: &str) -> Self {
        let (port, home) = (free_port(), folder.file("nginx"));
        fs::create_dir_all(&home).expect("a folder");
        let at = home.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .concat();
        let map = documented("nginx map", upstream);
        let config = format!(
            "daemon off; worker_processes 1; pid {at}/pid; error_log stderr;\nevents {{ worker_connections 128; }}\n\
             http {{ access_log off;\n{temporary}{map}server {{ listen 127.0.0.1:{port};\n{lines}\n}} }}\n"
        );
        let file = home.join("nginx.conf");
        fs::write(&file, config).expect("a file");
        let mut command = Command::new(skip::find_program("nginx").expect("nginx is installed"));
        command.arg("-e").arg("stderr").arg("-p").arg(&home).arg("-c").arg(&file);
        Self::started(Program::start("nginx", command), port)
    }

    fn caddy(folder: &Folder, name: &str, upstream: &str) -> Self {
        let (port, home) = (free_port(), folder.file("caddy"));
        fs::create_dir_all(&home).expect("a folder");
        let site = documented(name, upstream).replace("voice.example", &format!("http://:{port}"));
        let file = home.join("Caddyfile");
        fs::write(
            &file,
            format!("{{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n}}\n{site}"),
        )
        .expect("a file");
        let mut command = Command::new(skip::find_program("caddy").expect("caddy is installed"));
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
        command.env("HOME", &home).env("XDG_DATA_HOME", &home).env("XDG_CONFIG_HOME", &home);
        Self::started(Program::start("caddy", command), port)
    }

    fn started(mut program: Program, port: u16) -> Self {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(program.is_running() && Instant::now() < deadline, "{}", program.transcript());
            std::thread::yield_now();
        }
        Self { port, _program: program }
    }

    /// Status and body of an answer. `head` are further lines of the request.
    fn ask(&self, method: &str, path: &str, head: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("the proxy listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: voice.example:{}\r\n{head}\r\n", self.port);
        socket.write_all(request.as_bytes()).expect("the proxy reads");
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // A WebSocket stays open: its head is all that comes.
        let is_upgrade = head.contains("Upgrade: websocket");
        while let Ok(count @ 1..) = socket.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..count]);
            if is_upgrade && answer.windows(4).any(|end| end == b"\r\n\r\n") {
                break;
            }
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("{path}: {text:?}")), text)
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask(
            "GET",
            path,
            &format!("Connection: close\r\nCookie: other={}\r\n", "x".repeat(16 * 1024)),
        )
    }

    /// The status of a WebSocket that a page of this origin asks for.
    fn upgrade(&self, path: &str, origin: &str) -> u16 {
        let head = format!(
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nOrigin: {origin}\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: voicemesh.v1\r\n"
        );
        self.ask("GET", path, &head).0
    }

    fn check(&self, path: &str, origin: &str) -> Value {
        let (status, text) = self.ask(
            "POST",
            path,
            &format!("Connection: close\r\nContent-Length: 0\r\nOrigin: {origin}\r\n"),
        );
        assert_eq!(status, 200, "{text}");
        let json = text.find('{').and_then(|start| Some(&text[start..=text.rfind('}')?]));
        json.and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_else(|| panic!("no JSON: {text}"))
    }

    fn origin(&self) -> String {
        format!("http://voice.example:{}", self.port)
    }

    /// Page, asset and WebSocket come through below `base`, with 16 KiB of cookies.
    fn assert_serves(&self, base: &str) {
        let (status, page) = self.get(&format!("{base}/"));
        assert_eq!(status, 200, "{page}");
        let (_, rest) = page.split_once("src=\"").expect("a script");
        let (script, _) = rest.split_once('"').expect("its end");
        assert!(script.starts_with("assets/"), "{script} is not relative");
        let (status, text) = self.get(&format!("{base}/{script}"));
        assert!(status == 200 && text.contains("javascript"), "{text}");
        let (status, room) = self.get(&format!("{base}/r/lobby"));
        assert!(status == 200 && room.contains(&format!("src=\"../{script}\"")), "{room}");
        assert_eq!(self.upgrade(&format!("{base}/ws"), &self.origin()), 101);
        assert_eq!(self.upgrade(&format!("{base}/ws"), "https://evil.example"), 403);
    }
}

fn server(arguments: &[&str]) -> (Server, String) {
    let server = Server::start(arguments);
    let upstream = server.address.to_string();
    (server, upstream)
}

/// A voice from one peer to another, both through the proxy and the relay.
fn assert_speech_passes(url: &str, folder: &Folder) {
    let joining = |name: &str| Joining::new(url, "proxied", name).with(&["--relay-only"]);
    let bob = joining("bob").hearing_into(&folder.file("bob.wav"));
    let mut bob = bob.with(&["--duration", "12"]).start(folder);
    wait_for(&mut bob, "connected");
    let mut ada = joining("ada").speaking("reader").with(&["--duration", "10"]).start(folder);
    finish(&mut ada);
    let bob = finish(&mut bob);
    assert!(of_peer(&bob, "ada")["direct_ms"].is_null(), "{bob}");
    assert_heard("reader", &folder.file("bob.wav"));
}

/// proves: B-17
#[test]
fn nginx_at_the_root_passes_page_socket_and_speech() {
    let _alone = alone();
    if !skip::can_run("nginx_at_the_root", false, &["nginx"]) {
        return;
    }
    let folder = Folder::create("nginx-root");
    let (_server, upstream) = server(&["--trusted-proxy", "127.0.0.1"]);
    let proxy = Proxy::nginx(&folder, &upstream, &documented("nginx root", &upstream));
    proxy.assert_serves("");
    assert_speech_passes(&format!("ws://127.0.0.1:{}", proxy.port), &folder);
}

/// proves: B-17
#[test]
fn nginx_below_a_path_passes_page_and_socket_whether_it_strips_or_keeps_the_path() {
    let _alone = alone();
    if !skip::can_run("nginx_below_a_path", false, &["nginx"]) {
        return;
    }
    let folder = Folder::create("nginx-path");
    let (stripped_server, upstream) = server(&[]);
    let strips = documented("nginx path", &upstream);
    let proxy = Proxy::nginx(&folder, &upstream, &strips);
    proxy.assert_serves("/voice");
    assert_eq!(proxy.get("/voice").0, 301);
    assert_eq!(proxy.get("/voice/room").0, 404);
    assert!(proxy.get("/voice/room").1.contains("<a href=\"./\">"));
    drop((stripped_server, proxy));

    let folder = Folder::create("nginx-kept-path");
    let (_server, upstream) = server(&["--base-path", "/voice"]);
    let keeps = strips_not(&documented("nginx path", &upstream), &upstream);
    Proxy::nginx(&folder, &upstream, &keeps).assert_serves("/voice");
}

/// The path's configuration without the slash that removes the path.
fn strips_not(config: &str, upstream: &str) -> String {
    let keeps = config.replace(&format!("http://{upstream}/;"), &format!("http://{upstream};"));
    assert_ne!(keeps, config);
    keeps
}

/// proves: B-17
#[test]
fn what_is_missing_in_nginx_is_said_by_the_server() {
    let _alone = alone();
    if !skip::can_run("what_is_missing_in_nginx", false, &["nginx"]) {
        return;
    }
    let patience = Duration::from_secs(5);
    let folder = Folder::create("nginx-wrong");
    let (mut server, upstream) = server(&[]);
    let without = |part: &str| {
        let config = documented("nginx root", &upstream);
        config
            .lines()
            .filter(|line| !line.contains(part))
            .fold(String::new(), |all, line| all + line + "\n")
    };
    {
        let proxy = Proxy::nginx(&folder, &upstream, &without("Upgrade"));
        assert_eq!(proxy.upgrade("/ws?attempt=one", &proxy.origin()), 426);
        assert_eq!(
            proxy.check("/connect-check?attempt=one", &proxy.origin())["attempt"],
            "no-upgrade"
        );
        server.program.wait_for_line("arrived without \"Upgrade: websocket\"", patience);
    }
    {
        let proxy = Proxy::nginx(&folder, &upstream, &without("Host "));
        let origin = proxy.origin();
        assert_eq!(proxy.upgrade("/ws?attempt=two", &origin), 403);
        let answer = proxy.check("/connect-check?attempt=two", &origin);
        assert_eq!(
            (&answer["origin"], &answer["host"]),
            (&"refused".into(), &upstream.as_str().into()),
            "{answer}"
        );
        let line = server.program.wait_for_line(&format!("--allow-origin {origin}"), patience);
        assert!(line.contains("--trusted-proxy 127.0.0.1") && line.contains(&upstream), "{line}");
    }
    {
        let proxy = Proxy::nginx(
            &folder,
            &upstream,
            &strips_not(&documented("nginx path", &upstream), &upstream),
        );
        assert_eq!(proxy.get("/voice/").0, 404);
        server.program.wait_for_line("--base-path /voice", patience);
    }
    drop(server);
    let proxy = Proxy::nginx(&folder, &upstream, &documented("nginx root", &upstream));
    assert_eq!(proxy.get("/connect-check").0, 502, "the server is stopped");
}

/// proves: B-17
#[test]
fn a_named_proxy_that_sends_its_own_host_says_the_browsers() {
    let _alone = alone();
    if !skip::can_run("a_named_proxy_that_sends_its_own_host", false, &["nginx"]) {
        return;
    }
    let folder = Folder::create("nginx-forwarded");
    let (_server, upstream) = server(&["--trusted-proxy", "127.0.0.1"]);
    let config =
        documented("nginx root", &upstream).replace("proxy_set_header Host $http_host;", "");
    let proxy = Proxy::nginx(&folder, &upstream, &config);
    proxy.assert_serves("");
    let forged = format!(
        "X-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\nConnection: close\r\n\
        Content-Length: 0\r\nOrigin: {}\r\n",
        proxy.origin()
    );
    let (_, answer) = proxy.ask("POST", "/connect-check", &forged);
    assert!(
        answer.contains("\"origin\":\"allowed\""),
        "what a client sends is overwritten: {answer}"
    );
}

/// proves: B-17
#[test]
fn caddy_passes_page_socket_and_speech_at_the_root_and_below_a_path() {
    let _alone = alone();
    if !skip::can_run("caddy_passes_page_socket_and_speech", false, &["caddy"]) {
        return;
    }
    let folder = Folder::create("caddy");
    let (_server, upstream) = server(&["--trusted-proxy", "127.0.0.1"]);
    {
        let proxy = Proxy::caddy(&folder, "caddy root", &upstream);
        proxy.assert_serves("");
        assert_speech_passes(&format!("ws://127.0.0.1:{}", proxy.port), &folder);
    }
    let proxy = Proxy::caddy(&folder, "caddy path", &upstream);
    proxy.assert_serves("/voice");
}
