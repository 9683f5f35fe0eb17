//! Networks that change under a call, and servers that fall silent without an end of the
//! connection.

use std::time::Duration;

use voicemesh::Route;
use voicemesh_engine::EngineEvent;
use voicemesh_mesh::{MeshEvent, PathChange};
use voicemesh_session::client::ClientEvent;

use voicemesh_tests::{hear, speech};

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Three peers of whom the first speaks.
fn room(seed: u64, relay_only: bool) -> World {
    let mut world = World::new(seed);
    for _ in 0..3 {
        world.add_peer_with(|config| config.relay_only = relay_only);
    }
    let route = if relay_only { Route::Relayed } else { Route::Direct };
    world.peers[0].speaking = true;
    world.run_until(5 * SECOND, "a route", |world| world.all_routes_are(route));
    world.run(2 * SECOND);
    for peer in &mut world.peers {
        peer.mesh_events.clear();
        peer.events.clear();
    }
    world
}

/// How much of the first peer's speech the second misses while `during` happens.
fn missed(world: &mut World, during: impl FnOnce(&mut World)) -> Duration {
    let spoken = world.peers[0].comms.frames_spoken();
    let heard = world.heard(1, 0).heard;
    during(world);
    let spoken = world.peers[0].comms.frames_spoken() - spoken;
    let heard = world.heard(1, 0).heard - heard;
    Duration::from_millis(20) * u32::try_from(spoken.saturating_sub(heard)).unwrap()
}

/// No peer has seen another come or go, nor a session end.
fn assert_unnoticed(world: &World, seed: u64) {
    for (number, peer) in world.peers.iter().enumerate() {
        let seen = peer.mesh_events.iter().find(|event| {
            matches!(
                event,
                MeshEvent::PeerJoined(_)
                    | MeshEvent::PeerLeft { .. }
                    | MeshEvent::OwnerChanged { .. }
                    | MeshEvent::ServerAway { .. }
                    | MeshEvent::Joined { .. }
                    | MeshEvent::Replaced
            )
        });
        assert_eq!(seen, None, "seed {seed}, peer {number}");
        let ended = |event: &EngineEvent<_>| {
            matches!(
                event,
                EngineEvent::Session(
                    ClientEvent::SessionEnded(_)
                        | ClientEvent::MemberLeft { .. }
                        | ClientEvent::MemberJoined { .. }
                )
            )
        };
        assert!(
            !peer.events.iter().any(|(_, event)| ended(event)),
            "seed {seed}, peer {number}: {:?}",
            peer.events
        );
    }
}

/// The most of some measurements, printed for the reader of the test's output.
fn most(what: &str, mut of: Vec<Duration>) -> Duration {
    of.sort_unstable();
    println!("{what}: median {:?}, most {:?}", of[of.len() / 2], of[of.len() - 1]);
    of[of.len() - 1]
}

/// proves: B-16
#[test]
fn another_address_costs_a_relayed_pair_a_few_round_trips_and_no_event() {
    let mut lost = Vec::new();
    for seed in 0..8 {
        let mut world = room(100 + seed, true);
        let moved = usize::try_from(seed).unwrap() % 2;
        lost.push(missed(&mut world, |world| {
            world.wires.borrow_mut().move_peer(moved);
            world.run(ms(40 + seed));
            world.path_changes(moved, PathChange::Changed);
            world.run(3 * SECOND);
        }));
        assert_unnoticed(&world, seed);
        assert!(world.all_routes_are(Route::Relayed));
        assert_eq!(world.peers[1].comms.status().members.len(), 3);
    }
    assert!(most("speech lost by a relayed pair", lost) <= ms(400));
}

/// proves: B-16
#[test]
fn another_address_costs_a_direct_pair_little_and_it_is_direct_again_soon() {
    let (mut lost, mut direct) = (Vec::new(), Vec::new());
    for seed in 0..8 {
        let mut world = room(200 + seed, false);
        let moved: Vec<usize> = match seed % 3 {
            0 => vec![0],
            1 => vec![1],
            _ => vec![0, 1],
        };
        lost.push(missed(&mut world, |world| {
            for peer in &moved {
                world.wires.borrow_mut().move_peer(*peer);
            }
            world.run(ms(40 + seed));
            for peer in &moved {
                world.path_changes(*peer, PathChange::Changed);
                world.run(ms(seed));
            }
            let again = |world: &World| world.all_routes_are(Route::Direct);
            world.run_until(5 * SECOND, "relayed at least", |world| {
                world.route(0, 1) != Route::None && world.route(1, 0) != Route::None
            });
            direct.push(world.run_until(8 * SECOND, "direct again", again));
            world.run(SECOND);
        }));
        assert_unnoticed(&world, seed);
    }
    assert!(most("speech lost by a direct pair", lost) <= ms(700));
    assert!(most("direct again after", direct) <= 5 * SECOND);
}

/// A way that dies without any notice of the system, as behind a router that forgets.
///
/// proves: B-16
#[test]
fn a_socket_that_dies_in_silence_is_found_by_asking() {
    let mut lost = Vec::new();
    for seed in 0..8 {
        let mut world = room(300 + seed, true);
        lost.push(missed(&mut world, |world| {
            world.wires.borrow_mut().move_peer(0);
            world.run(6 * SECOND);
        }));
        assert_unnoticed(&world, seed);
        assert!(world.all_routes_are(Route::Relayed), "seed {seed}");
    }
    assert!(most("speech lost by silence", lost) <= ms(3600));
}

/// A router that forgets its mappings and makes others: links and the connection to the server are
/// dead, and no notice of the system tells so.
///
#[test]
fn a_pair_behind_a_router_that_forgets_is_direct_again_within_four_seconds() {
    let mut direct = Vec::new();
    for seed in 0..12 {
        let mut world = room(350 + seed, false);
        world.peers[1].speaking = true;
        world.run(5 * SECOND + ms(seed * 70));
        let moved = usize::try_from(seed).unwrap() % 2;
        world.wires.borrow_mut().move_peer(moved);
        world.run(SECOND);
        assert_ne!(world.route(0, 1), Route::Direct, "seed {seed}: noticed");
        let both = |world: &World| {
            world.route(0, 1) == Route::Direct && world.route(1, 0) == Route::Direct
        };
        direct.push(SECOND + world.run_until(9 * SECOND, "direct again", both));
        assert_unnoticed(&world, seed);
    }
    assert!(most("direct again behind a router that forgot", direct) <= 4 * SECOND);
}

#[test]
fn a_server_that_was_dark_for_ten_seconds_is_used_again_within_a_second() {
    let mut after = Vec::new();
    for seed in 0..8 {
        let mut world = room(400 + seed, true);
        for peer in 0..3 {
            world.wires.borrow_mut().darken(peer);
        }
        world.run(4 * SECOND);
        for at in 0..2 {
            assert_eq!(
                world.route(at, 1 - at),
                Route::None,
                "seed {seed}: nothing comes through, and that is shown"
            );
        }
        world.run(6 * SECOND + ms(seed * 37));
        world.wires.borrow_mut().server_dark.clear();
        let heard = world.heard(1, 0).heard;
        after.push(
            world.run_until(3 * SECOND, "heard again", |world| world.heard(1, 0).heard > heard + 5),
        );
        world.run(2 * SECOND);
        assert_unnoticed(&world, seed);
        assert!(world.all_routes_are(Route::Relayed), "seed {seed}");
    }
    after.sort_unstable();
    println!("heard again after: {after:?}");
    // Both ends have to be back; in a real network the system's own repetitions come on top of the
    // attempts counted here.
    assert!(after[after.len() / 2] <= ms(1000) && after[after.len() - 1] <= ms(1300), "{after:?}");
}

/// What is lost by silence is noticed 16 s after the last sign of life, and the event says how long
/// that is ago; an end that was seen was a sign of life.
#[test]
fn the_loss_of_the_server_says_how_long_it_had_been_silent() {
    let away = |world: &World| {
        let events = world.peers[0].mesh_events.iter();
        let silences = events.filter_map(|event| match event {
            MeshEvent::ServerAway { silent_for, .. } => Some(*silent_for),
            _ => None,
        });
        silences.collect::<Vec<_>>()
    };
    let mut world = room(480, true);
    let dark_at = world.now();
    world.wires.borrow_mut().darken(0);
    world.run_until(20 * SECOND, "noticed", |world| !away(world).is_empty());
    let noticed_after = world.now() - dark_at;
    let [silent_for] = away(&world)[..] else { panic!("{:?}", away(&world)) };
    assert!(
        silent_for >= noticed_after && silent_for <= 17 * SECOND,
        "{silent_for:?} after {noticed_after:?}"
    );
    let mut world = room(481, true);
    world.kill_server();
    world.run_until(20 * SECOND, "noticed", |world| !away(world).is_empty());
    assert_eq!(away(&world)[0], Duration::ZERO);
}

/// Nothing of one peer gets anywhere any more, and no notice of the system tells it so. The server
/// does not know yet.
///
#[test]
fn a_peer_whose_network_is_gone_is_shown_as_such_at_both_ends() {
    for relay_only in [true, false] {
        for (seed, speaker) in [(1, 0), (2, 1)] {
            let mut world = room(450 + seed, relay_only);
            world.peers[0].speaking = speaker == 0;
            world.peers[speaker].speaking = true;
            world.run(2 * SECOND);
            world.wires.borrow_mut().peers_cut.insert(0);
            let shown = |world: &World| {
                world.route(0, 1) == Route::None && world.route(1, 0) == Route::None
            };
            let limit = if relay_only { 7 } else { 9 };
            let after = world.run_until(limit * SECOND, "shown at both ends", shown);
            println!("relay only {relay_only}, {speaker} speaks: shown after {after:?}");
            assert_eq!(world.route(1, 2), world.route(2, 1), "the others reach each other");
            assert_ne!(world.route(1, 2), Route::None);
            world.wires.borrow_mut().peers_cut.clear();
            let again = |world: &World| {
                world.route(0, 1) != Route::None && world.route(1, 0) != Route::None
            };
            world.run_until(6 * SECOND, "reached again", again);
        }
    }
}

/// The same without a word from anyone: the server may take half a minute to notice.
///
#[test]
fn among_relayed_people_who_say_nothing_a_lost_network_is_shown_within_eleven_seconds() {
    for seed in 0..4 {
        let mut world = room(470 + seed, true);
        world.peers[0].speaking = false;
        world.run(12 * SECOND + ms(seed * 900));
        assert!(world.all_routes_are(Route::Relayed), "silence is no fault");
        world.wires.borrow_mut().peers_cut.insert(0);
        let shown = |world: &World| (1..3).all(|other| world.route(other, 0) == Route::None);
        let after = world.run_until(11 * SECOND, "shown to the others", shown);
        println!("shown to the others after {after:?}");
        assert_eq!(world.route(1, 2), Route::Relayed, "the others reach each other");
        let shown = |world: &World| world.route(0, 1) == Route::None;
        world.run_until(4 * SECOND, "shown to the one", shown);
    }
}

#[test]
fn a_hiccup_of_a_link_while_the_server_is_dark_costs_little_more_than_itself() {
    let mut lost = Vec::new();
    for seed in 0..8 {
        let mut world = room(500 + seed, false);
        for peer in 0..3 {
            world.wires.borrow_mut().darken(peer);
        }
        world.run(ms(100 * seed));
        lost.push(missed(&mut world, |world| {
            world.wires.borrow_mut().cut_link(0, 1);
            world.run(ms(500));
            world.wires.borrow_mut().links_cut.clear();
            world.run(3 * SECOND);
        }));
        assert_eq!(world.route(0, 1), Route::Direct, "seed {seed}");
    }
    assert!(most("speech lost by a hiccup of 0.5 s", lost) <= ms(800));
}

#[test]
fn those_who_come_back_after_a_common_outage_do_not_come_at_once() {
    let mut world = World::new(600);
    for _ in 0..40 {
        world.add_peer_with(|config| config.relay_only = true);
    }
    world.peers[0].speaking = true;
    world.run(3 * SECOND);
    for peer in 0..40 {
        world.wires.borrow_mut().darken(peer);
    }
    world.run(10 * SECOND);
    let since = world.now();
    world.wires.borrow_mut().server_dark.clear();
    world.wires.borrow_mut().opened.clear();
    world.run(3 * SECOND);
    assert!(world.all_routes_are(Route::Relayed));
    assert_spread(&world, since, SECOND);

    let since = world.now();
    world.wires.borrow_mut().opened.clear();
    world.kill_server();
    world.start_server(voicemesh_rooms::RoomRules::default());
    world.run(3 * SECOND);
    assert_spread(&world, since, SECOND);
}

/// The first connections of everyone since then lie apart.
fn assert_spread(world: &World, since: Duration, least: Duration) {
    let wires = world.wires.borrow();
    let first =
        |peer: usize| wires.opened.iter().find(|(_, of)| *of == peer).map(|(at, _)| *at - since);
    let mut first: Vec<Duration> = (0..40).filter_map(first).collect();
    assert_eq!(first.len(), 40, "everyone came back");
    first.sort_unstable();
    println!("first connections: {first:?}");
    assert!(first[39] - first[0] >= least, "{first:?}");
    let crowd = first.windows(14).map(|some| some[13] - some[0]).min();
    assert!(crowd >= Some(ms(100)), "a third of them came within {crowd:?}");
}

/// proves: B-16
#[test]
fn the_old_socket_is_used_until_the_new_one_has_joined_and_then_closed() {
    let mut world = room(700, true);
    world.wires.borrow_mut().conditions.to_server = ms(60);
    world.run(2 * SECOND);
    // Its way still works, so that nothing at all may be lost.
    let lost = missed(&mut world, |world| {
        world.path_changes(0, PathChange::Changed);
        world.run(3 * SECOND);
    });
    assert!(lost <= ms(20), "{lost:?}");
    assert_eq!(world.connections_of(0), 1);
    assert_unnoticed(&world, 700);
}

/// A written message that the dead connection swallowed arrives once on the next.
///
/// proves: B-16
#[test]
fn what_was_written_while_the_way_was_dead_arrives_once() {
    let mut world = room(800, true);
    world.wires.borrow_mut().move_peer(0);
    let now = world.now() + world.peers[0].clock;
    let everyone = voicemesh_wire::packet::Recipient::Group(voicemesh_wire::GroupId::of("Global"));
    world.peers[0].comms.send_text(now, everyone, "are you there?").unwrap();
    world.run(6 * SECOND);
    let texts = world.peers[1].events.iter().filter(
        |(_, event)| matches!(event, EngineEvent::Session(ClientEvent::Text { text, .. }) if text == "are you there?"),
    );
    assert_eq!(texts.count(), 1);
}

/// What others did in between is known after a takeover: one left, one joined a group.
///
/// proves: B-16
#[test]
fn a_connection_that_takes_over_brings_the_state_up_to_date() {
    let mut world = room(900, true);
    world.wires.borrow_mut().darken(0);
    world.run(SECOND);
    let clock = world.peers[1].clock;
    let now = world.now() + clock;
    world.peers[1].comms.join_group(now, "red").unwrap();
    let now = world.now() + world.peers[2].clock;
    world.peers[2].comms.stop(now);
    let new = world.add_peer_with(|config| config.relay_only = true);
    world.run(SECOND);
    world.wires.borrow_mut().server_dark.clear();
    world.run(15 * SECOND);
    let status = world.peers[0].comms.status();
    assert_eq!(status.members.len(), 3, "{:?}", status.members);
    assert_eq!(world.route(0, new), Route::Relayed);
    let left = world.peers[0]
        .mesh_events
        .iter()
        .filter(|event| matches!(event, MeshEvent::PeerLeft { .. }))
        .count();
    assert_eq!(left, 1);
    let changed = |event: &EngineEvent<_>| {
        matches!(event, EngineEvent::Session(ClientEvent::GroupsChanged { .. }))
    };
    assert!(
        world.peers[0].events.iter().any(|(_, event)| changed(event)),
        "the group that one joined meanwhile"
    );
}

/// 30 s, 10 min and 8 h of sleep: the clock of the sleeper stands still.
///
#[test]
fn a_laptop_that_wakes_is_heard_soon_and_plays_nothing_old() {
    for (seed, asleep) in [(1, 30), (2, 600), (3, 28_800)] {
        for relay_only in [true, false] {
            let mut world = room(1000 + seed, relay_only);
            world.peers[0].speech = speech::load("reader");
            world.peers[0].recorded = true;
            world.run(SECOND);
            world.peers[1].frozen = true;
            world.wires.borrow_mut().peers_cut.insert(1);
            // Eight hours of a room are not simulated second by second: only what the server
            // notices of them counts.
            let simulated = asleep.min(40);
            if asleep > 30 {
                world.run(16 * SECOND);
                world.break_socket(1);
            }
            world.run(SECOND * simulated);
            let slept = world.now();
            world.peers[1].frozen = false;
            world.peers[1].clock = world.peers[1].clock.saturating_sub(SECOND * simulated);
            world.wires.borrow_mut().move_peer(1);
            world.wires.borrow_mut().peers_cut.clear();
            world.path_changes(1, PathChange::Woke);
            let before = world.heard(1, 0);
            let back = world.run_until(3 * SECOND, "heard after waking", |world| {
                world.heard(1, 0).received > before.received + 10
            });
            println!("asleep for {asleep} s, relay only {relay_only}: heard again after {back:?}");
            assert!(world.now() - slept <= 3 * SECOND);
            // What is played from now on was said just before.
            world.peers[1].recorded = true;
            world.peers[1].played.clear();
            world.peers[0].said.clear();
            world.run(6 * SECOND);
            let hearing = hear::compare(&world.peers[0].said, &world.peers[1].played);
            assert!(hearing.delay_ms < 500.0, "{} ms late", hearing.delay_ms);
        }
    }
}

/// What came for a laptop while it slept waited in its system's buffers. It wakes a second after
/// the speaker has stopped: whatever it plays then is old.
///
#[test]
fn what_waited_for_a_laptop_that_slept_is_not_played_when_it_wakes() {
    for relay_only in [true, false] {
        let mut world = room(1100, relay_only);
        let asleep = 5 * SECOND;
        world.peers[1].frozen = true;
        world.peers[1].waiting = Some(Vec::new());
        world.run(asleep - SECOND);
        world.peers[0].speaking = false;
        world.run(SECOND);
        world.peers[1].recorded = true;
        let waited = world.wake(1, asleep);
        assert!(waited > 150, "speech waited: {waited}");
        world.run(2 * SECOND);
        // The rest of the word that was being played when it fell asleep is in no buffer of the
        // system's.
        let last = world.peers[1].played.iter().rposition(|sample| sample.abs() >= 0.001);
        let played = Duration::from_secs_f64(last.map_or(0.0, |at| at as f64 / 48_000.0));
        println!("relay only {relay_only}: {waited} events waited, {played:?} was played");
        assert!(played <= ms(200), "relay only {relay_only}: {played:?} of old speech is played");
        world.peers[0].speaking = true;
        let before = world.heard(1, 0).heard;
        world.run_until(SECOND, "heard again", |world| world.heard(1, 0).heard > before + 10);
    }
}
