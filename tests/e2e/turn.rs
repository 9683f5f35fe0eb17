//! TURN with coturn: two peers behind NATs that let nothing directly through, credentials that
//! expire during the call, and a TURN server that refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use voicemesh_tests::netns::Lab;
use voicemesh_tests::process::{Program, binary};
use voicemesh_tests::room::{
    Folder, Joining, PATIENCE, Server, finish, of_peer, wait_for, wait_for_peer, wait_for_route,
};
use voicemesh_tests::skip;

use crate::{alone, assert_heard};

const SECRET: &str = "north";
/// Of credentials, in seconds.
const LIFETIME_S: u32 = 10;

/// coturn with a shared secret.
fn coturn(mut command: Command, address: Ipv4Addr, port: u16, folder: &Folder) -> Program {
    command.args([
        "-n",
        "--no-cli",
        "--no-tls",
        "--no-dtls",
        "--log-file=stdout",
        "--verbose",
        "--allow-loopback-peers",
    ]);
    command.args([
        "--use-auth-secret",
        &format!("--static-auth-secret={SECRET}"),
        "--realm=voicemesh.test",
    ]);
    command.args([&format!("--listening-ip={address}"), &format!("--relay-ip={address}")]);
    command.arg(format!("--listening-port={port}"));
    command.arg(format!("--pidfile={}", folder.file("turn.pid").display()));
    command.arg(format!("--userdb={}", folder.file("turn.db").display()));
    let mut program = Program::start("coturn", command);
    program.wait_for_line("IPv4. UDP listener opened on", PATIENCE);
    program
}

fn turnserver() -> std::path::PathBuf {
    skip::find_program("turnserver").expect("coturn is installed")
}

/// Waits until a peer has been in the room for so long.
fn wait_until_joined_for(program: &mut Program, time: Duration) {
    let reached = |json: &serde_json::Value| {
        json["event"] == "status"
            && json["at_ms"].as_f64().is_some_and(|at| at >= time.as_secs_f64() * 1000.0)
    };
    program.wait_for("a later status", time + PATIENCE, reached);
}

#[test]
fn symmetric_nats_on_both_sides_meet_by_turn_and_credentials_are_renewed_in_the_call() {
    let _alone = alone();
    let test = "symmetric_nats_on_both_sides_meet_by_turn";
    if !skip::can_run(test, true, &["turnserver"]) {
        return;
    }
    let Some(mut lab) = Lab::new(test, 4) else { return };
    let (public, gates) = (lab.host(0), [lab.host(1), lab.host(2), lab.host(3)]);
    let [first, second, third] = gates.map(|gate| lab.behind(&gate));
    let folder = Folder::create("turn");
    let mut coturn = coturn(public.command(turnserver()), public.address, 3478, &folder);
    let (turn, lifetime) = (format!("turn:{}:3478", public.address), LIFETIME_S.to_string());
    let options = ["--turn", &turn, "--turn-secret", SECRET, "--turn-lifetime", &lifetime];
    let server = Server::start_by(
        public.command(binary("voicemesh-signaling")),
        public.address,
        0,
        &options,
    );
    let joining =
        |name: &str| Joining::new(&server.url(), "turn", name).with(&["--status-interval", "1"]);

    let bob = joining("bob").hearing_into(&folder.file("bob.wav"));
    let mut bob =
        bob.with(&["--duration", "30"]).start_by(second.command(binary("voicemesh")), &folder);
    wait_for(&mut bob, "connected");
    let ada = joining("ada").speaking("reader").with(&["--duration", "28"]);
    let mut ada = ada.start_by(first.command(binary("voicemesh")), &folder);
    wait_for_route(&mut ada, "bob", "direct");
    wait_for_route(&mut bob, "ada", "direct");

    // The credentials that Ada joined with are over, but for those that came meanwhile. Cleo's link
    // needs an allocation of hers as well.
    wait_until_joined_for(&mut ada, Duration::from_secs(u64::from(LIFETIME_S) + 3));
    let cleo = joining("cleo").with(&["--duration", "12"]);
    let mut cleo = cleo.start_by(third.command(binary("voicemesh")), &folder);
    wait_for_route(&mut cleo, "ada", "direct");
    wait_for_route(&mut ada, "cleo", "direct");
    for program in [&mut cleo, &mut ada, &mut bob] {
        let summary = finish(program);
        assert!(!program.transcript().contains("turn-failed"), "{}", program.transcript());
        assert!(summary["peers"].is_array(), "{summary}");
    }
    assert_eq!(
        ada.transcript().matches("\"event\":\"connected\"").count(),
        1,
        "no peer joined again"
    );
    assert_heard("reader", &folder.file("bob.wav"));
    // Three links, with an address for each end.
    for _ in 0..6 {
        coturn.wait_for_line("ALLOCATE processed, success", PATIENCE);
    }
    let names = names_that_allocated(&coturn.transcript());
    assert!(
        names.values().any(|expiries| expiries.len() > 1),
        "only the first credentials were used: {names:?}"
    );
}

/// The times at which the credentials expire with which each peer has got an address.
fn names_that_allocated(log: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("ALLOCATE processed, success")) {
        let name = line
            .split_once("user <")
            .and_then(|(_, rest)| rest.split_once('>'))
            .map(|(name, _)| name);
        if let Some((expiry, peer)) = name.and_then(|name| name.split_once(':')) {
            names.entry(peer.to_owned()).or_default().insert(expiry.to_owned());
        }
    }
    names
}

#[test]
fn turn_that_refuses_is_said_once_and_the_call_goes_on() {
    let _alone = alone();
    if !skip::can_run("turn_that_refuses_is_said_once", false, &["turnserver"]) {
        return;
    }
    let folder = Folder::create("turn-refuses");
    let port = std::net::UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port();
    let _coturn = coturn(Command::new(turnserver()), Ipv4Addr::LOCALHOST, port, &folder);
    let server =
        Server::start(&["--turn", &format!("turn:127.0.0.1:{port}"), "--turn-secret", "south"]);
    let joining =
        |name: &str| Joining::new(&server.url(), "turn", name).with(&["--duration", "15"]);
    let mut bob = joining("bob").start(&folder);
    wait_for(&mut bob, "connected");
    let mut cleo = joining("cleo").start(&folder);
    let mut ada = joining("ada").speaking("cards").start(&folder);
    wait_for_peer(&mut ada, "route-changed", "bob");
    let warned = ada.wait_for("a warning", PATIENCE, |json| json["event"] == "warned");
    assert_eq!(warned.json["code"], "turn-failed", "{}", warned.json);
    let summary = finish(&mut ada);
    assert!(
        of_peer(&summary, "bob")["direct_ms"].is_number(),
        "hosts of one machine need no TURN: {summary}"
    );
    assert_eq!(ada.transcript().matches("\"event\":\"warned\"").count(), 1, "{}", ada.transcript());
    for program in [&mut bob, &mut cleo] {
        finish(program);
    }
}
