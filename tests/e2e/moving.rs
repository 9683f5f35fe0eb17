//! Networks that change in mid-call: another address, another interface behind its own NAT, a
//! server that goes dark.

use std::time::Duration;

use voicemesh_tests::netns::{Host, Lab, Loss};
use voicemesh_tests::process::{Event, Program, binary};
use voicemesh_tests::room::{
    Folder, Joining, Server, finish, wait_for, wait_for_peer, wait_for_route,
};

use crate::{alone, assert_heard_but_for, wait_until_heard_more};

/// A server on the first host, Ada on the second, who speaks, Bob on the third.
struct Room {
    // Programs end before the network they run in.
    ada: Program,
    bob: Program,
    _server: Server,
    lab: Lab,
    folder: Folder,
}

impl Room {
    fn open(test: &str, arguments: &[&str]) -> Option<Self> {
        let lab = Lab::new(test, 3)?;
        let folder = Folder::create("moving");
        let there = lab.host(0);
        let server =
            Server::start_by(there.command(binary("voicemesh-signaling")), there.address, 0, &[]);
        let bob =
            Joining::new(&server.url(), "moving", "bob").hearing_into(&folder.file("bob.wav"));
        let bob = bob.with(&["--duration", "14"]).with(arguments);
        let mut bob = bob.start_by(lab.host(2).command(binary("voicemesh")), &folder);
        wait_for(&mut bob, "connected");
        let ada = Joining::new(&server.url(), "moving", "ada")
            .speaking("reader")
            .with(&["--duration", "12"]);
        let ada = ada.with(arguments).start_by(lab.host(1).command(binary("voicemesh")), &folder);
        Some(Self { ada, bob, _server: server, lab, folder })
    }

    /// Both are heard to speak by this route.
    fn wait_for_speech(&mut self, route: &str) {
        wait_for_route(&mut self.bob, "ada", route);
        wait_for_route(&mut self.ada, "bob", route);
        wait_for_peer(&mut self.bob, "speaking", "ada");
    }

    /// No peer saw another come or go, or the server go away, and at most so much of Ada's speech
    /// was lost.
    fn end(mut self, lost_ms: f64) {
        finish(&mut self.ada);
        finish(&mut self.bob);
        // Ada leaves first.
        for (program, left) in [(&self.ada, 0), (&self.bob, 1)] {
            let count = |event: &str| program.transcript().matches(event).count();
            assert_eq!(count("\"event\":\"peer-left\""), left, "{}", program.transcript());
            assert_eq!(count("\"event\":\"server-away\""), 0, "{}", program.transcript());
        }
        assert_heard_but_for("reader", &self.folder.file("bob.wav"), lost_ms);
    }
}

fn at(event: &Event) -> Duration {
    Duration::from_secs_f64(event.json["at_ms"].as_f64().expect("every event has a time") / 1000.0)
}

/// Ada moves in mid-speech: little is lost, and the pair is direct again within 5 s.
fn assert_a_move_costs_little(test: &str, go: impl FnOnce(&Lab, &Host)) {
    let _alone = alone();
    let Some(mut room) = Room::open(test, &[]) else { return };
    room.wait_for_speech("direct");
    go(&room.lab, &room.lab.host(1));
    let relayed = wait_for_route(&mut room.ada, "bob", "relayed");
    let direct = wait_for_route(&mut room.ada, "bob", "direct");
    let after = at(&direct) - at(&relayed);
    assert!(after <= Duration::from_secs(5), "direct again after {after:?}");
    room.end(2000.0);
}

/// proves: B-16
#[test]
fn another_address_in_mid_speech_costs_little_and_the_pair_is_direct_again() {
    assert_a_move_costs_little("another_address_in_mid_speech", |lab, ada| lab.renumber(ada, 77));
}

/// proves: B-16
#[test]
fn another_interface_behind_a_nat_costs_little_and_the_pair_is_direct_again() {
    assert_a_move_costs_little("another_interface_behind_a_nat", Lab::move_behind_nat);
}

#[test]
fn a_dark_server_is_shown_and_used_again_by_a_relayed_pair_soon_after() {
    let _alone = alone();
    let Some(mut room) = Room::open("a_dark_server_of_a_relayed_pair", &["--relay-only"]) else {
        return;
    };
    room.wait_for_speech("relayed");
    let server = room.lab.host(0);
    room.lab.lose(Loss::All(server.clone()));
    let dark = wait_for_route(&mut room.ada, "bob", "none");
    wait_for_route(&mut room.bob, "ada", "none");
    room.lab.restore(&Loss::All(server));
    let back = wait_for_route(&mut room.ada, "bob", "relayed");
    wait_for_route(&mut room.bob, "ada", "relayed");
    assert!(
        at(&back) - at(&dark) <= Duration::from_secs(3),
        "used again after {:?}",
        at(&back) - at(&dark)
    );
    wait_until_heard_more(&mut room.bob, "ada", 10);
}
