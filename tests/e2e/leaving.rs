//! How the others learn that a peer, or the server, is gone.

use std::time::{Duration, Instant};

use voicemesh_tests::process::Program;
use voicemesh_tests::room::{
    Folder, Joining, PATIENCE, Server, leave, wait_for, wait_for_peer, wait_for_route,
};

use crate::alone;

/// The server's pings in these tests; a peer silent for two of them is gone.
const PING: &[&str] = &["--ping-interval", "1"];
/// A silent link is found stalled after 4 s, and its peer, which the server has lost, is given up
/// within 2 s more. The rest is for a busy machine.
const LINK_GIVEN_UP: Duration = Duration::from_secs(10);

fn two(server: &Server, folder: &Folder, arguments: &[&str], route: &str) -> (Program, Program) {
    let join = |name| Joining::new(&server.url(), "leaving", name).with(arguments).start(folder);
    let (mut ada, mut bob) = (join("ada"), join("bob"));
    wait_for_route(&mut ada, "bob", route);
    wait_for_route(&mut bob, "ada", route);
    (ada, bob)
}

fn reason_of_leaving(program: &mut Program, name: &str) -> serde_json::Value {
    wait_for_peer(program, "peer-left", name).json["reason"].clone()
}

/// proves: D-13, U-06, U-09
#[test]
fn a_peer_that_leaves_is_gone_at_once_and_once() {
    let _alone = alone();
    let folder = Folder::create("leaves");
    let server = Server::start(&[]);
    let (mut ada, mut bob) = two(&server, &folder, &[], "direct");
    bob.terminate();
    let began = Instant::now();
    assert_eq!(reason_of_leaving(&mut ada, "bob"), "left");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    bob.wait_for_exit(PATIENCE);
    leave_and_count(ada, 1);
}

#[test]
fn of_one_who_leaves_in_mid_speech_no_event_is_without_a_name() {
    let _alone = alone();
    let folder = Folder::create("leaves-speaking");
    let server = Server::start(&[]);
    let mut ada = Joining::new(&server.url(), "leaving", "ada").start(&folder);
    let mut bob =
        Joining::new(&server.url(), "leaving", "bob").speaking_on("reader").start(&folder);
    wait_for_route(&mut ada, "bob", "direct");
    wait_for_peer(&mut ada, "speaking", "bob");
    bob.terminate();
    wait_for_peer(&mut ada, "peer-left", "bob");
    bob.wait_for_exit(PATIENCE);
    ada.interrupt();
    wait_for(&mut ada, "summary");
    ada.wait_for_exit(PATIENCE);
    assert!(!ada.transcript().contains("\"name\":\"\""), "{}", ada.transcript());
}

/// proves: D-14, U-09
#[test]
fn a_relayed_peer_that_is_stopped_is_gone_after_two_pings() {
    let _alone = alone();
    let folder = Folder::create("stopped");
    let server = Server::start(PING);
    let (mut ada, mut bob) = two(&server, &folder, &["--relay-only"], "relayed");
    bob.pause();
    let began = Instant::now();
    assert_eq!(reason_of_leaving(&mut ada, "bob"), "lost");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    ada.forget();
    bob.resume();
    wait_for_peer(&mut ada, "peer-joined", "bob");
    leave(bob);
    assert_eq!(reason_of_leaving(&mut ada, "bob"), "left");
    leave_and_count(ada, 2);
}

/// proves: D-14, U-09
#[test]
fn a_direct_peer_that_is_killed_is_gone_when_its_link_is_silent_too() {
    let kill = |bob: &mut Program| {
        bob.kill();
    };
    a_direct_peer_is_lost(kill, "killed");
}

/// proves: D-14, U-09
#[test]
fn a_direct_peer_that_is_stopped_is_gone_when_its_link_is_silent_too() {
    a_direct_peer_is_lost(Program::pause, "halted");
}

fn a_direct_peer_is_lost(by: impl Fn(&mut Program), test: &str) {
    let _alone = alone();
    let folder = Folder::create(test);
    let server = Server::start(PING);
    let (mut ada, mut bob) = two(&server, &folder, &[], "direct");
    by(&mut bob);
    let began = Instant::now();
    assert_eq!(reason_of_leaving(&mut ada, "bob"), "lost");
    assert!(began.elapsed() < LINK_GIVEN_UP, "{:?}", began.elapsed());
    leave_and_count(ada, 1);
}

/// proves: U-20
#[test]
fn a_server_that_is_told_to_stop_says_so_and_ends_in_time() {
    let _alone = alone();
    let folder = Folder::create("sigterm");
    let mut server = Server::start(&[]);
    let (mut ada, bob) = two(&server, &folder, &[], "direct");
    server.program.terminate();
    let status = server.program.wait_for_exit(Duration::from_secs(10));
    assert!(status.success(), "{status}");
    let why = wait_for(&mut ada, "server-away").json["why"].clone();
    assert_eq!(why, "it is about to stop");
    leave(bob);
    // The server is gone; that Bob is too, only the link can tell.
    wait_for_peer(&mut ada, "route-changed", "bob");
    leave(ada);
}

/// Leaves, and says how often the others' leaving was told.
fn leave_and_count(mut program: Program, expected: usize) {
    program.interrupt();
    wait_for(&mut program, "summary");
    program.wait_for_exit(PATIENCE);
    let told = program.transcript().matches("\"event\":\"peer-left\"").count();
    assert_eq!(told, expected, "{}", program.transcript());
}
