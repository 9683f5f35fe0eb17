//! Peers on separate hosts, behind a router with a configured loss.

use std::time::Duration;

use voicemesh_tests::netns::{Host, Lab, Loss};
use voicemesh_tests::process::{Program, binary};
use voicemesh_tests::room::{
    Folder, Joining, Server, finish, of_peer, wait_for_peer, wait_for_route,
};

use crate::{alone, assert_heard, assert_heard_but_for};

/// A server on the first host, Ada on the second, Bob on the third.
struct Room {
    // Programs end before the network they run in.
    ada: Program,
    bob: Program,
    _server: Server,
    lab: Lab,
    folder: Folder,
}

impl Room {
    fn open(test: &str, lose_first: bool) -> Option<Self> {
        let mut lab = Lab::new(test, 3)?;
        if lose_first {
            lab.lose(Loss::Udp(lab.host(1), lab.host(2)));
        }
        let folder = Folder::create("networks");
        let there = lab.host(0);
        let server = Server::start_by(
            there.command(binary("voicemesh-signaling")),
            there.address,
            0,
            &["--ping-interval", "1"],
        );
        let bob =
            Joining::new(&server.url(), "networks", "bob").hearing_into(&folder.file("bob.wav"));
        let mut bob = bob
            .with(&["--duration", "12"])
            .start_by(lab.host(2).command(binary("voicemesh")), &folder);
        voicemesh_tests::room::wait_for(&mut bob, "connected");
        let ada = Joining::new(&server.url(), "networks", "ada")
            .speaking("reader")
            .with(&["--duration", "10"]);
        let ada = ada.start_by(lab.host(1).command(binary("voicemesh")), &folder);
        Some(Self { ada, bob, _server: server, lab, folder })
    }
}

/// proves: D-32
#[test]
fn hosts_that_reach_each_other_speak_directly() {
    let _alone = alone();
    let Some(mut room) = Room::open("hosts_that_reach_each_other_speak_directly", false) else {
        return;
    };
    wait_for_route(&mut room.bob, "ada", "direct");
    finish(&mut room.ada);
    finish(&mut room.bob);
    assert_heard("reader", &room.folder.file("bob.wav"));
}

/// proves: D-32
#[test]
fn behind_a_firewall_without_udp_speech_goes_through_the_server() {
    let _alone = alone();
    let Some(mut room) = Room::open("behind_a_firewall_without_udp", true) else { return };
    finish(&mut room.ada);
    let bob = finish(&mut room.bob);
    assert!(of_peer(&bob, "ada")["direct_ms"].is_null(), "{bob}");
    assert_heard("reader", &room.folder.file("bob.wav"));
}

/// proves: D-32
#[test]
fn a_link_cut_in_mid_speech_costs_at_most_half_a_second() {
    let _alone = alone();
    let Some(mut room) = Room::open("a_link_cut_in_mid_speech", false) else { return };
    wait_for_route(&mut room.bob, "ada", "direct");
    wait_for_route(&mut room.ada, "bob", "direct");
    wait_for_peer(&mut room.bob, "speaking", "ada");
    let (ada, bob) = (room.lab.host(1), room.lab.host(2));
    room.lab.lose(Loss::Udp(ada, bob));
    wait_for_route(&mut room.ada, "bob", "relayed");
    finish(&mut room.ada);
    finish(&mut room.bob);
    assert_heard_but_for("reader", &room.folder.file("bob.wav"), 500.0);
}

/// proves: D-14, U-09
#[test]
fn a_peer_that_is_cut_off_is_gone_for_the_others_and_once() {
    let _alone = alone();
    let Some(mut room) = Room::open("a_peer_that_is_cut_off", false) else { return };
    wait_for_route(&mut room.bob, "ada", "direct");
    let ada = room.lab.host(1);
    room.lab.lose(Loss::All(ada));
    let left = room
        .bob
        .wait_for("Ada's leaving", Duration::from_secs(12), |json| json["event"] == "peer-left");
    assert_eq!(left.json["reason"], "lost");
    finish(&mut room.bob);
    assert_eq!(room.bob.transcript().matches("\"event\":\"peer-left\"").count(), 1);
}

/// Messages both ways between two hosts, while one packet in ten is lost and the direct way is cut
/// and comes back.
///
/// proves: U-13, D-32
#[test]
fn messages_are_exact_over_loss_and_over_cuts_of_the_link() {
    const MESSAGES: usize = 1_500;
    let _alone = alone();
    let Some(mut lab) = Lab::new("messages_over_loss_and_cuts", 3) else { return };
    let (there, ada, bob) = (lab.host(0), lab.host(1), lab.host(2));
    let folder = Folder::create("courier");
    let server = Server::start_by(
        there.command(binary("voicemesh-signaling")),
        there.address,
        0,
        &["--ping-interval", "1"],
    );
    let start = |name: &str, host: &Host| {
        let mut command = host.command(binary("examples/courier"));
        command
            .args([&server.url(), "couriers", name, &MESSAGES.to_string()])
            .arg(folder.file(name));
        Program::start(name, command)
    };
    let (mut first, mut second) = (start("ada", &ada), start("bob", &bob));
    let says = |program: &mut Program, what: &str| {
        program
            .wait_for_text(what, Duration::from_secs(60), |line| line.contains(what).then_some(()));
    };
    says(&mut first, "direct");
    says(&mut second, "direct");
    lab.lose(Loss::SomeUdp(ada.clone(), bob.clone(), 10));
    says(&mut second, "received 300");
    lab.lose(Loss::Udp(ada.clone(), bob.clone()));
    says(&mut first, "relayed");
    says(&mut second, "received 600");
    lab.restore(&Loss::Udp(ada.clone(), bob.clone()));
    // How soon a link opens over such loss is chance; whichever way is in use now is cut once more,
    // or is the relay.
    says(&mut second, "received 1000");
    lab.lose(Loss::Udp(ada.clone(), bob.clone()));
    says(&mut second, "received 1200");
    lab.restore(&Loss::Udp(ada.clone(), bob.clone()));
    for program in [&mut first, &mut second] {
        says(program, "done");
        assert!(
            program.wait_for_exit(Duration::from_secs(10)).success(),
            "{}",
            program.transcript()
        );
    }
}
