//! The programs of a server's host.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::{Host, STUN};
use crate::process::{Program, binary};
use crate::room::Folder;

const PATIENCE: Duration = Duration::from_secs(30);
/// User and password at coturn.
pub const TURN_USER: (&str, &str) = ("voice", "lab-secret");
/// Port of the signaling server.
pub const PORT: u16 = 8080;
/// Port of the forward proxy.
pub const PROXY_PORT: u16 = 3128;

/// Where native peers and pages are sent for STUN.
#[must_use]
pub fn stun_url() -> String {
    format!("stun:{STUN}:3478")
}

/// The same for TURN.
#[must_use]
pub fn turn_url() -> String {
    format!("turn:{STUN}:3478")
}

/// The arguments that give the signaling server TURN with a fixed password.
#[must_use]
pub fn with_turn() -> Vec<String> {
    let (user, password) = TURN_USER;
    ["--turn", &turn_url(), "--turn-username", user, "--turn-credential", password].map(str::to_owned).to_vec()
}

/// The signaling server on port 8080 of a host, on IPv4 and IPv6, naming the STUN server of the lab.
#[must_use]
pub fn signaling(host: &Host, arguments: &[String]) -> Program {
    let listen = format!("[::]:{PORT}");
    let stun = stun_url();
    signaling_as_given(host, &[&["--listen", &listen, "--stun", &stun], &*words(arguments)].concat())
}

/// The signaling server with these arguments and no others.
#[must_use]
pub fn signaling_as_given(host: &Host, arguments: &[&str]) -> Program {
    let mut command = host.command(binary("voicemesh-signaling"));
    command.args(arguments).env("VOICEMESH_LOG", "info");
    let mut program = Program::start("server", command);
    program.wait_for_line("listening on ", PATIENCE);
    program
}

/// coturn: STUN for all, TURN for [`TURN_USER`], at port 3478. The folder keeps its files and must outlive it.
#[must_use]
pub fn coturn(host: &Host, folder: &Folder) -> Program {
    let mut command = host.command("turnserver");
    let address = STUN.to_string();
    command.args(["-n", "--listening-ip", &address, "--relay-ip", &address, "--listening-port", "3478"]);
    command.args(["--min-port", "40000", "--max-port", "40999", "--realm", "lab.test", "--lt-cred-mech"]);
    command.arg("--user").arg(format!("{}:{}", TURN_USER.0, TURN_USER.1));
    command.args(["--no-cli", "--no-tls", "--no-dtls", "--log-file", "stdout", "--simple-log", "--verbose"]);
    for (option, file) in [("--pidfile", "turn.pid"), ("--userdb", "turn.db")] {
        command.arg(option).arg(folder.file(file));
    }
    let mut program = Program::start("coturn", command);
    program.wait_for_line("UDP listener opened on", PATIENCE);
    program
}

/// nginx with this configuration inside its `http` block; stays in the foreground. The folder keeps its files.
///
/// # Panics
/// If the configuration cannot be written.
#[must_use]
pub fn nginx(host: &Host, folder: &Folder, http: &str) -> Program {
    let place = folder.file("nginx");
    let log = place.join("error.log");
    std::fs::create_dir_all(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    let here = place.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
        .concat();
    let text = format!(
        "daemon off;\nworker_processes 1;\npid {here}/pid;\nerror_log stderr notice;\nevents {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{temporary}{http}\n}}\n"
    );
    let file = write(folder, "nginx.conf", &text);
    let mut command = host.command("nginx");
    command.arg("-c").arg(file).arg("-p").arg(&place).arg("-e").arg(log);
    let mut program = Program::start("nginx", command);
    program.wait_for_line("start worker process ", PATIENCE);
    program
}

/// A file in a folder.
///
/// # Panics
/// If it cannot be written.
pub fn write(folder: &Folder, name: &str, text: &str) -> PathBuf {
    let file = folder.file(name);
    std::fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    file
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// A forward proxy on port 3128 of a host: `http` or `socks5`, with `user:password` if clients need one.
#[must_use]
pub fn proxy(host: &Host, kind: &str, password: Option<&str>) -> Program {
    let mut command = host.command(binary("voicemesh-proxy"));
    command.args([kind, &format!("[::]:{PROXY_PORT}")]).args(password);
    let mut program = Program::start("proxy", command);
    program.wait_for_line("listening", PATIENCE);
    program
}

/// A self-signed certificate for `voice.test`, as `openssl req -x509` makes it (CA:TRUE): certificate and key.
///
/// # Panics
/// If openssl fails.
#[must_use]
pub fn self_signed_certificate(folder: &Folder) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.file("voice.test.pem"), folder.file("voice.test.key"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "30",
    ]);
    openssl.args(["-subj", "/CN=voice.test", "-addext", "subjectAltName=DNS:voice.test"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    let output = openssl.output().unwrap_or_else(|error| panic!("openssl: {error}"));
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    (certificate, key)
}
