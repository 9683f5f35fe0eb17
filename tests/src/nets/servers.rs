//! The programs of a server's host.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::{Home, Host, Nat, STUN};
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
    ["--turn", &turn_url(), "--turn-username", user, "--turn-credential", password]
        .map(str::to_owned)
        .to_vec()
}

/// The signaling server on port 8080 of a host, on IPv4 and IPv6, naming the STUN server of the
/// lab.
#[must_use]
pub fn signaling(host: &Host, arguments: &[String]) -> Program {
    let listen = format!("[::]:{PORT}");
    let stun = stun_url();
    signaling_as_given(
        host,
        &[&["--listen", &listen, "--stun", &stun], &*words(arguments)].concat(),
    )
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

/// coturn: STUN for all, TURN for [`TURN_USER`], at port 3478. The folder keeps its files and must
/// outlive it.
#[must_use]
pub fn coturn(host: &Host, folder: &Folder) -> Program {
    let mut command = host.command("turnserver");
    let address = STUN.to_string();
    command.args([
        "-n",
        "--listening-ip",
        &address,
        "--relay-ip",
        &address,
        "--listening-port",
        "3478",
    ]);
    command.args([
        "--min-port",
        "40000",
        "--max-port",
        "40999",
        "--realm",
        "lab.test",
        "--lt-cred-mech",
    ]);
    command.arg("--user").arg(format!("{}:{}", TURN_USER.0, TURN_USER.1));
    command.args([
        "--no-cli",
        "--no-tls",
        "--no-dtls",
        "--log-file",
        "stdout",
        "--simple-log",
        "--verbose",
    ]);
    for (option, file) in [("--pidfile", "turn.pid"), ("--userdb", "turn.db")] {
        command.arg(option).arg(folder.file(file));
    }
    let mut program = Program::start("coturn", command);
    program.wait_for_line("UDP listener opened on", PATIENCE);
    program
}

/// The first 96 bits of IPv6 addresses behind which the router of [`nat64`] has IPv4.
const NAT64_PREFIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 0);

/// An IPv4 address as hosts behind [`nat64`] reach it.
#[must_use]
pub fn translated(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(NAT64_PREFIX.to_bits() | u128::from(address.to_bits()))
}

/// tayga: a translator from IPv6 to IPv4 on a home's router. The folder keeps its files and must
/// outlive it.
///
/// # Panics
/// If its interface cannot be made.
#[must_use]
pub fn nat64(home: &Home, folder: &Folder) -> Program {
    let router = home.router();
    let place = folder.file("tayga");
    std::fs::create_dir_all(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    let text = format!(
        "tun-device nat64\nipv4-addr 192.168.255.1\nipv6-addr 2001:db8:6464::1\nprefix {NAT64_PREFIX}/96\ndynamic-pool 192.168.255.0/24\ndata-dir {}\n",
        place.display()
    );
    let file = write(folder, "tayga.conf", &text);
    router.run("ip tuntap add nat64 mode tun");
    router.run("ip link set nat64 up");
    router.run("ip route add 192.168.255.0/24 dev nat64");
    router.run(&format!("ip route add {NAT64_PREFIX}/96 dev nat64"));
    // Without a filter, which would know the translated packets only by their interface.
    home.set_nat(Nat::FullCone);
    let mut command = router.command("tayga");
    command.arg("--config").arg(file).arg("--nodetach");
    Program::start("tayga", command)
}

/// nginx with this configuration inside its `http` block; stays in the foreground. The folder keeps
/// its files.
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

/// A forward proxy on port 3128 of a host: `http` or `socks5`, with `user:password` if clients need
/// one.
#[must_use]
pub fn proxy(host: &Host, kind: &str, password: Option<&str>) -> Program {
    let mut command = host.command(binary("voicemesh-proxy"));
    command.args([kind, &format!("[::]:{PROXY_PORT}")]).args(password);
    let mut program = Program::start("proxy", command);
    program.wait_for_line("listening", PATIENCE);
    program
}

/// A self-signed certificate for `voice.test`, as `openssl req -x509` makes it (CA:TRUE):
/// certificate and key. It has further names, so that it is as long as a usual chain of
/// certificates.
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
    let others: String =
        (0..60).map(|n| format!(",DNS:another-name-of-this-server-{n}.voice.test")).collect();
    openssl.args([
        "-subj",
        "/CN=voice.test",
        "-addext",
        &format!("subjectAltName=DNS:voice.test{others}"),
    ]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    let output = openssl.output().unwrap_or_else(|error| panic!("openssl: {error}"));
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    (certificate, key)
}
