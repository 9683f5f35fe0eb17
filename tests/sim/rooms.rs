//! Rooms as a whole.

use std::time::Duration;

use voicemesh::Route;
use voicemesh_mesh::MeshEvent;
use voicemesh_rooms::RoomRules;

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// Fifty peers on a lossy network, some of whom are cut off for a while, three of whom speak.
fn fifty(seed: u64) -> World {
    let mut world = World::new(seed);
    {
        let mut wires = world.wires.borrow_mut();
        wires.conditions.jitter = Duration::from_millis(15);
        wires.conditions.loss = 0.05;
    }
    for _ in 0..50 {
        world.add_peer();
        world.run(Duration::from_millis(20));
    }
    for speaker in [3, 17, 42] {
        world.peers[speaker].speaking = true;
    }
    world.run(SECOND);
    world.wires.borrow_mut().peers_cut.extend([5, 6, 7]);
    world.run(SECOND);
    world.wires.borrow_mut().peers_cut.clear();
    world.run(2 * SECOND);
    world
}

/// proves: B-06
#[test]
fn fifty_peers_hear_three_speakers_and_the_same_seed_gives_the_same_trace() {
    let world = fifty(7);
    for at in 0..50 {
        for of in [3, 17, 42].into_iter().filter(|of| *of != at) {
            let heard = world.heard(at, of);
            assert!(heard.heard > 100, "peer {at} heard {heard:?} of peer {of}");
        }
    }
    let again = fifty(7);
    assert!(world.trace == again.trace, "the same seed gave another trace");
    assert!(
        world.trace != fifty(8).trace,
        "another seed gave the same trace: the trace says nothing"
    );
}

/// proves: U-05, U-06, U-09
#[test]
fn everyone_learns_of_everyone_once_and_of_every_leaver_once() {
    let mut world = World::new(1);
    for _ in 0..5 {
        world.add_peer();
    }
    world.run(2 * SECOND);
    for peer in &world.peers {
        let joined = peer
            .mesh_events
            .iter()
            .filter(|event| matches!(event, MeshEvent::PeerJoined(_)))
            .count();
        assert_eq!(joined, 4);
        let status = peer.comms.status();
        assert!(status.connected);
        assert_eq!(status.mode.to_string(), "client");
        assert_eq!(status.members.len(), 5);
    }
    let now = world.now();
    world.peers[2].comms.stop(now);
    world.run(SECOND);
    for (number, peer) in world.peers.iter().enumerate().filter(|(number, _)| *number != 2) {
        let left = peer
            .mesh_events
            .iter()
            .filter(|event| matches!(event, MeshEvent::PeerLeft { .. }))
            .count();
        assert_eq!(left, 1, "peer {number}");
        assert_eq!(peer.comms.network().mesh.members().count(), 3);
    }
    let stopped = &world.peers[2];
    assert_eq!(stopped.comms.status().mode.to_string(), "none");
}

/// proves: U-19
#[test]
fn the_first_member_can_do_what_the_others_can_and_is_not_needed() {
    let mut world = World::new(9);
    for _ in 0..3 {
        world.add_peer();
    }
    world.run_until(3 * SECOND, "direct", |world| world.all_routes_are(Route::Direct));
    for (speaker, listeners) in [(0, [1, 2]), (1, [0, 2]), (2, [0, 1])] {
        world.peers[speaker].speaking = true;
        world.run(SECOND);
        world.peers[speaker].speaking = false;
        for listener in listeners {
            assert!(world.heard(listener, speaker).heard > 40, "{listener} of {speaker}");
        }
    }
    let now = world.now();
    world.peers[0].comms.stop(now);
    world.run(SECOND);
    let before = world.heard(2, 1).heard;
    world.peers[1].speaking = true;
    world.run(SECOND);
    assert!(world.heard(2, 1).heard > before + 40, "the room goes on without its first peer");
}

/// proves: D-39
#[test]
fn a_peer_that_stops_can_start_again() {
    let mut world = World::new(2);
    world.add_peer();
    world.add_peer();
    world.run(SECOND);
    for _ in 0..3 {
        let now = world.now();
        world.peers[1].comms.stop(now);
        world.run(SECOND);
        assert_eq!(world.peers[0].comms.network().mesh.members().count(), 0);
        let now = world.now();
        world.peers[1].comms.run_as_client(now, ()).unwrap();
        world.run_until(3 * SECOND, "direct again", |world| world.all_routes_are(Route::Direct));
    }
}

/// proves: S-14
#[test]
fn a_relay_only_peer_shows_no_address_and_is_heard() {
    let mut world = World::new(3);
    world.add_peer_with(|config| config.relay_only = true);
    world.add_peer();
    world.peers[0].speaking = true;
    world.peers[1].speaking = true;
    world.run(5 * SECOND);
    assert!(world.wires.borrow().signals.is_empty(), "no description was ever made");
    assert_eq!(world.wires.borrow().links_opened, 0);
    for (at, of) in [(0, 1), (1, 0)] {
        assert_eq!(world.route(at, of), Route::Relayed);
        assert!(world.heard(at, of).heard > 200);
    }
}

/// proves: S-14
#[test]
fn on_a_relay_only_server_no_peer_opens_a_link() {
    let mut world = World::new(4);
    world.start_server(RoomRules { relay_only: true, ..RoomRules::default() });
    world.add_peer();
    world.add_peer();
    world.peers[0].speaking = true;
    world.run(5 * SECOND);
    assert!(world.wires.borrow().signals.is_empty());
    assert!(world.heard(1, 0).heard > 200);
}
