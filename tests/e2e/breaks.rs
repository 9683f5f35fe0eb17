//! Servers that die in mid-speech.

use std::net::Ipv4Addr;
use std::process::Command;

use serde_json::Value;
use voicemesh_tests::process::{Program, binary};
use voicemesh_tests::room::{Folder, Joining, Server, finish, of_peer, wait_for, wait_for_peer, wait_for_route};

use crate::{alone, assert_heard};

fn restart(server: Server) -> Server {
    let Server { mut program, address } = server;
    program.kill();
    Server::start_by(Command::new(binary("voicemesh-signaling")), Ipv4Addr::LOCALHOST, address.port(), &[])
}

fn you(program: &mut Program) -> Value {
    wait_for(program, "joined").json["you"].clone()
}

/// proves: B-03, D-04, D-29, D-34
#[test]
fn a_server_killed_in_mid_speech_leaves_no_gap_in_direct_speech() {
    let _alone = alone();
    let folder = Folder::create("direct");
    let server = Server::start(&[]);
    let file = folder.file("bob.wav");
    let mut bob =
        Joining::new(&server.url(), "breaks", "bob").hearing_into(&file).with(&["--duration", "11"]).start(&folder);
    let bob_before = you(&mut bob);
    let ada = Joining::new(&server.url(), "breaks", "ada").speaking("reader").with(&["--duration", "9"]);
    let mut ada = ada.start(&folder);
    let ada_before = you(&mut ada);
    wait_for_route(&mut bob, "ada", "direct");
    wait_for_route(&mut ada, "bob", "direct");
    wait_for_peer(&mut bob, "speaking", "ada");
    let mut server = server;
    server.program.kill();
    wait_for(&mut bob, "server-away");
    wait_for(&mut ada, "server-away");
    let server = restart(server);
    assert_eq!(you(&mut bob), bob_before, "the same peer id");
    assert_eq!(you(&mut ada), ada_before, "the same peer id");
    finish(&mut ada);
    let bob = finish(&mut bob);
    assert_heard("reader", &file);
    let heard = of_peer(&bob, "ada");
    assert!(heard["frames_concealed"].as_u64().unwrap() <= 2, "{heard}");
    drop(server);
}

/// proves: U-20, D-06
#[test]
fn relayed_peers_come_back_by_themselves_after_the_server_did() {
    let _alone = alone();
    let folder = Folder::create("relayed");
    let server = Server::start(&[]);
    let join = |name: &str| Joining::new(&server.url(), "breaks", name).with(&["--relay-only"]);
    let mut bob = join("bob").start(&folder);
    let mut ada = join("ada").speaking_on("reader").start(&folder);
    wait_for_peer(&mut bob, "first-heard", "ada");
    wait_for_route(&mut ada, "bob", "relayed");
    let server = restart(server);
    wait_for_route(&mut bob, "ada", "none");
    wait_for_route(&mut bob, "ada", "relayed");
    wait_for_peer(&mut bob, "speaking", "ada");
    let told = bob.transcript().matches("\"event\":\"peer-left\"").count();
    assert_eq!(told, 0, "nobody was ever gone: {}", bob.transcript());
    voicemesh_tests::room::leave(ada);
    voicemesh_tests::room::leave(bob);
    drop(server);
}
