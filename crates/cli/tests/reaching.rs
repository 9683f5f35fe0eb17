//! The way to the server, from outside: what is printed when something else answers, and for as
//! long as others can read it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use voicemesh_tests::process::Program;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const VARIABLES: [&str; 9] = [
    "VOICEMESH_SERVER",
    "VOICEMESH_LOG",
    "PORT",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "NO_PROXY",
];

/// A folder for identities; removed at the end.
struct StateDir(PathBuf);

impl StateDir {
    fn new(test: &str) -> Self {
        Self(std::env::temp_dir().join(format!("voicemesh-reaching-{}-{test}", std::process::id())))
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn voicemesh(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voicemesh"));
    VARIABLES.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.args(arguments);
    command
}

fn join(room: &str, dir: &StateDir, more: &[&str]) -> Command {
    let mut command =
        voicemesh(&["join", room, "--input", "silence", "--output", "null", "--name", "Ada"]);
    command.arg("--state-dir").arg(&dir.0).args(more);
    command
}

/// A server on a port of the system's choice, and that port.
fn server(more: &[&str]) -> (Program, u16) {
    let mut command = voicemesh(&["serve", "--listen", "127.0.0.1:0", "--stun", "none"]);
    command.args(more);
    let mut server = Program::start("server", command);
    let port = server.wait_for_text("its address", PATIENCE, |line| {
        let (_, rest) = line.split_once("listening on ")?;
        rest.split(' ').next()?.rsplit_once(':')?.1.parse().ok()
    });
    (server, port)
}

/// Answers every connection with this text; ends with the process.
fn answering(text: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(text.as_bytes());
        }
    });
    port
}

fn is(event: &'static str) -> impl Fn(&Value) -> bool {
    move |line| line["event"] == event
}

/// The kind of failure, and the sentence with the next step.
fn failure(url: &str, more: &[&str]) -> (String, String) {
    let dir = StateDir::new(&url.replace(['/', ':', '[', ']'], "-"));
    let mut joining = Program::start("joining", {
        let mut command = join("lobby", &dir, &["--server", url, "--json"]);
        command.args(more);
        command
    });
    let away = joining.wait_for("the failure", PATIENCE, is("server-away")).json;
    let text = |key: &str| away[key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("next_step"))
}

#[test]
fn what_answers_instead_of_a_server_is_said_with_the_next_step() {
    let portal = "HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (code, step) = failure(&format!("ws://127.0.0.1:{}", answering(portal)), &[]);
    assert_eq!(code, "web-page");
    assert!(step.contains("in a browser and sign in"), "{step}");
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (code, step) = failure(&format!("ws://127.0.0.1:{}", answering(missing)), &[]);
    assert_eq!(code, "http-status");
    assert!(step.contains("under a path"), "{step}");
}

#[test]
fn a_server_without_tls_is_named_as_such_and_no_password_goes_there_by_itself() {
    let (_server, port) = server(&[]);
    let (code, step) = failure(&format!("wss://127.0.0.1:{port}"), &[]);
    assert_eq!(code, "not-tls");
    assert!(step.contains(&format!("--server ws://127.0.0.1:{port}")), "{step}");
    let (code, step) = failure(&format!("[::ffff:127.0.0.1]:{port}"), &["--password", "sesame"]);
    assert_eq!(code, "not-tls");
    assert!(
        step.starts_with("With a password, an access token or a link's key there is no connection without TLS unless you ask for one: write --server ws://["),
        "{step}"
    );
}

#[test]
fn a_bare_local_address_is_joined_without_tls_and_that_is_said_all_along() {
    let (_server, port) = server(&[]);
    let dir = StateDir::new("bare");
    // Of this machine, but not written as if it were.
    let bare = format!("[::ffff:127.0.0.1]:{port}");
    let mut ada = Program::start(
        "Ada",
        join("lobby", &dir, &["--server", &bare, "--json", "--status-interval", "0.2"]),
    );
    let connected = ada.wait_for("the connection", PATIENCE, is("server-connected")).json;
    assert_eq!(connected["encrypted"], false);
    ada.wait_for("the room", PATIENCE, is("joined"));
    let status = ada
        .wait_for("the status", PATIENCE, |line| is("status")(line) && line["connected"] == true)
        .json;
    assert_eq!(status["server_connection"]["encrypted"], false);
}

#[test]
fn a_link_is_enough_to_join() {
    let (_server, port) = server(&[]);
    let dir = StateDir::new("link");
    let link = format!("http://127.0.0.1:{port}/r/tea%20time");
    let mut ada = Program::start("Ada", join(&link, &dir, &["--json"]));
    let joined = ada.wait_for("the room", PATIENCE, is("joined")).json;
    assert_eq!(joined["room"], "tea time");
}

#[test]
fn a_proxy_that_makes_no_sense_is_a_wrong_command_line_and_its_password_is_not_shown() {
    let dir = StateDir::new("proxy");
    let mut command = join("lobby", &dir, &["--server", "wss://voice.example.org"]);
    command.args(["--proxy", "socks4://ann:sesame@proxy"]);
    let output = command.output().expect("the command starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("SOCKS 4") && !said.contains("sesame"), "{said}");
}
