//! Servers that die in mid-speech.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use voicemesh_tests::hear::{Floor, compare};
use voicemesh_tests::process::{Event, Program, binary};
use voicemesh_tests::room::{
    self, Folder, Joining, Server, finish, of_peer, wait_for, wait_for_peer, wait_for_route,
};
use voicemesh_tests::{speech, wav};

use crate::{alone, wait_until_heard_more};

/// Five seconds of speech.
const FRAMES_WITHOUT_SERVER: u64 = 250;
/// One more.
const FRAMES_AFTERWARDS: u64 = 50;

fn restart(server: Server) -> Server {
    let Server { mut program, address } = server;
    program.kill();
    Server::start_by(
        Command::new(binary("voicemesh-signaling")),
        Ipv4Addr::LOCALHOST,
        address.port(),
        &[],
    )
}

fn you(program: &mut Program) -> Value {
    wait_for(program, "joined").json["you"].clone()
}

/// proves: B-03
#[test]
fn a_server_killed_in_mid_speech_leaves_no_gap_in_direct_speech() {
    let _alone = alone();
    let folder = Folder::create("direct");
    let server = Server::start(&[]);
    let file = folder.file("bob.wav");
    let mut bob = Joining::new(&server.url(), "breaks", "bob")
        .hearing_into(&file)
        .with(&["--duration", "18"])
        .start(&folder);
    let bob_before = you(&mut bob);
    // Long enough to be in mid-speech when the server is away, and again when it is back.
    let spoken = [speech::load("reader"), speech::load("cards")].concat();
    wav::write(&folder.file("spoken.wav"), &spoken).unwrap();
    let ada = Joining::new(&server.url(), "breaks", "ada").with(&["--duration", "15.5"]);
    let ada = Joining { input: folder.file("spoken.wav").display().to_string(), ..ada };
    let mut ada = ada.start(&folder);
    let ada_before = you(&mut ada);
    wait_for_route(&mut bob, "ada", "direct");
    wait_for_route(&mut ada, "bob", "direct");
    wait_for_peer(&mut bob, "first-heard", "ada");

    let mut server = server;
    server.program.kill();
    let killed_at = Instant::now();
    wait_for(&mut bob, "server-away");
    wait_for(&mut ada, "server-away");
    wait_until_heard_more(&mut bob, "ada", FRAMES_WITHOUT_SERVER);
    let server = restart(server);
    assert_eq!(you(&mut bob), bob_before, "the same peer id");
    assert_eq!(you(&mut ada), ada_before, "the same peer id");
    wait_until_heard_more(&mut bob, "ada", FRAMES_AFTERWARDS);
    // Looked at while she still speaks: when she leaves, her link may end a moment before the
    // server says that she left, and the route is the relay in between.
    let moves = |event: &Event| event.at > killed_at && event.json["event"] == "route-changed";
    let moved: Vec<Event> = bob.events().into_iter().filter(moves).collect();
    assert!(moved.is_empty(), "direct all the time: {moved:?}");

    let ada = finish(&mut ada);
    let bob_says = finish(&mut bob);
    assert_eq!((&ada["joins"], &bob_says["joins"]), (&2.into(), &2.into()));
    let hearing = compare(&spoken, &room::heard(&file));
    hearing.verdict(&Floor::default()).unwrap_or_else(|why| panic!("{why} ({hearing})"));
    let heard = of_peer(&bob_says, "ada");
    assert!(heard["frames_concealed"].as_u64().unwrap() <= 2, "{heard}");
    drop(server);
}

/// proves: D-06
#[test]
fn relayed_peers_come_back_by_themselves_after_the_server_did() {
    let _alone = alone();
    let folder = Folder::create("relayed");
    let server = Server::start(&[]);
    let join = |name: &str| Joining::new(&server.url(), "breaks", name).with(&["--relay-only"]);
    let mut bob = join("bob").start(&folder);
    let mut ada = join("ada").speaking_on("reader").start(&folder);
    let before = (you(&mut ada), you(&mut bob));
    wait_for_peer(&mut bob, "first-heard", "ada");
    wait_for_route(&mut ada, "bob", "relayed");
    let server = restart(server);
    wait_for_route(&mut bob, "ada", "none");
    wait_for_route(&mut bob, "ada", "relayed");
    assert_eq!((you(&mut ada), you(&mut bob)), before, "the same peer ids");
    wait_until_heard_more(&mut bob, "ada", FRAMES_AFTERWARDS);
    let told = bob.transcript().matches("\"event\":\"peer-left\"").count();
    assert_eq!(told, 0, "no peer was reported gone: {}", bob.transcript());
    room::leave(ada);
    room::leave(bob);
    drop(server);
}
