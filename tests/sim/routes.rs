//! How speech finds its way, and what moving it costs.

use std::time::Duration;

use voicemesh::Route;
use voicemesh_engine::EngineEvent;
use voicemesh_session::client::ClientEvent;

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

fn two(seed: u64) -> World {
    two_who(seed, false)
}

/// Two peers who encrypt end to end, or do not.
fn two_who(seed: u64, encrypts: bool) -> World {
    let mut world = World::new(seed);
    world.encrypts = encrypts;
    world.add_peer();
    world.add_peer();
    world
}

/// The first peer speaks; both are linked.
fn talking(seed: u64) -> World {
    talking_who(seed, false)
}

fn talking_who(seed: u64, encrypts: bool) -> World {
    let mut world = two_who(seed, encrypts);
    world.peers[0].speaking = true;
    world.run_until(2 * SECOND, "direct", |world| world.all_routes_are(Route::Direct));
    world.run(SECOND);
    world
}

fn connected_at(world: &World, peer: usize) -> Option<Duration> {
    let connected =
        |event: &EngineEvent<_>| matches!(event, EngineEvent::Session(ClientEvent::Joined { .. }));
    world.peers[peer].events.iter().find(|(_, event)| connected(event)).map(|(at, _)| *at)
}

/// proves: B-02, D-32
#[test]
fn the_first_voice_is_heard_one_round_trip_after_the_join_and_before_any_link() {
    let mut world = World::new(1);
    world.add_peer();
    world.peers[0].speaking = true;
    world.run(SECOND);
    world.add_peer();
    world.run_until(SECOND, "joined", |world| connected_at(world, 1).is_some());
    let joined_at = connected_at(&world, 1).unwrap();
    let links_before = world.wires.borrow().links_opened;
    world.run_until(SECOND, "heard", |world| world.heard(1, 0).received > 0);
    let round_trip = 2 * world.wires.borrow().conditions.to_server;
    let frame = Duration::from_millis(20);
    assert!(
        world.now() - joined_at <= round_trip + frame + crate::world::STEP,
        "{:?}",
        world.now() - joined_at
    );
    assert_eq!(links_before, 0, "no link was up yet");
    world.run_until(SECOND, "direct", |world| world.all_routes_are(Route::Direct));
}

/// proves: B-02, D-32
#[test]
fn a_hundred_planned_moves_lose_no_frame() {
    a_hundred_planned_moves(false);
}

#[test]
fn a_hundred_planned_moves_lose_no_frame_of_encrypted_speech() {
    a_hundred_planned_moves(true);
}

fn a_hundred_planned_moves(encrypted: bool) {
    let mut world = talking_who(2, encrypted);
    let spoken_before = world.peers[0].comms.frames_spoken();
    let received_before = world.heard(1, 0).received;
    for _ in 0..100 {
        // Both ends learn that the link is gone, and the next attempt brings another.
        world.wires.borrow_mut().break_links(0, 1);
        world.run_until(5 * SECOND, "relayed", |world| world.route(0, 1) == Route::Relayed);
        world.run_until(5 * SECOND, "direct again", |world| world.all_routes_are(Route::Direct));
        world.run(Duration::from_millis(300));
    }
    world.peers[0].speaking = false;
    world.run(SECOND);
    let spoken = world.peers[0].comms.frames_spoken() - spoken_before;
    let received = world.heard(1, 0).received - received_before;
    assert!(spoken > 1000);
    assert!(received.abs_diff(spoken) <= 1, "spoken {spoken}, received {received}");
}

/// proves: D-32
#[test]
fn a_pair_that_cannot_link_stays_on_the_relay_and_is_heard() {
    let mut world = two(3);
    world.wires.borrow_mut().links_blocked = true;
    world.peers[0].speaking = true;
    world.run(40 * SECOND);
    assert_eq!(world.wires.borrow().links_opened, 0);
    assert!(world.all_routes_are(Route::Relayed));
    let heard = world.heard(1, 0);
    assert!(heard.received > 1900 && heard.concealed == 0, "{heard:?}");
}

/// A link is cut in mid-speech, fifty times, at other moments and with other delays each time: how
/// much speech is not heard?
///
/// proves: D-32
#[test]
fn a_cut_link_costs_at_most_half_a_second_of_speech() {
    cut_links(false);
}

#[test]
fn a_cut_link_costs_at_most_half_a_second_of_encrypted_speech() {
    cut_links(true);
}

fn cut_links(encrypted: bool) {
    let mut lost_ms = Vec::new();
    for seed in 0..50 {
        let mut world = two_who(1000 + seed, encrypted);
        world.wires.borrow_mut().conditions.on_links = Duration::from_millis(5 + seed % 40);
        world.wires.borrow_mut().conditions.jitter = Duration::from_millis(seed % 10);
        world.peers[0].speaking = true;
        world.run_until(2 * SECOND, "direct", |world| world.all_routes_are(Route::Direct));
        world.run(SECOND + Duration::from_millis(seed * 7));
        let before = world.heard(1, 0);
        let spoken_before = world.peers[0].comms.frames_spoken();
        world.wires.borrow_mut().cut_link(0, 1);
        world.run(3 * SECOND);
        assert_eq!(world.route(0, 1), Route::Relayed, "seed {seed}");
        world.peers[0].speaking = false;
        world.run(SECOND);
        let spoken = world.peers[0].comms.frames_spoken() - spoken_before;
        let heard = world.heard(1, 0).heard - before.heard;
        lost_ms.push(spoken.saturating_sub(heard) * 20);
    }
    lost_ms.sort_unstable();
    println!(
        "speech not heard in 50 cuts: median {} ms, 49th {} ms, most {} ms",
        lost_ms[25], lost_ms[48], lost_ms[49]
    );
    assert!(lost_ms[48] <= 500, "lost, in ms, sorted: {lost_ms:?}");
}

/// proves: D-32
#[test]
fn a_link_that_comes_back_after_a_cut_is_used_again() {
    let mut world = talking(5);
    world.wires.borrow_mut().cut_link(0, 1);
    world.run_until(2 * SECOND, "relayed", |world| world.route(0, 1) == Route::Relayed);
    world.run(SECOND);
    world.wires.borrow_mut().links_cut.clear();
    world.run_until(30 * SECOND, "direct again", |world| world.all_routes_are(Route::Direct));
    let before = world.heard(1, 0);
    world.run(2 * SECOND);
    assert!(world.heard(1, 0).heard >= before.heard + 95);
}

/// proves: D-34
#[test]
fn text_goes_through_the_server_while_speech_is_direct() {
    let mut world = talking(6);
    world.run(SECOND);
    let relayed_before = world.wires.borrow().voice_to_server;
    world.run(SECOND);
    assert_eq!(
        world.wires.borrow().voice_to_server,
        relayed_before,
        "speech no longer passes the server"
    );
    let now = world.now();
    world.peers[0].comms.send_group_text(now, "Global", "hello").unwrap();
    let got_text = |world: &World| {
        world.peers[1]
            .events
            .iter()
            .any(|(_, event)| matches!(event, EngineEvent::Session(ClientEvent::Text { text, group, .. }) if text == "hello" && group.as_deref() == Some("Global")))
    };
    let after = world.run_until(SECOND, "text", got_text);
    assert!(
        after >= 2 * world.wires.borrow().conditions.to_server,
        "it took the way over the server: {after:?}"
    );
}
