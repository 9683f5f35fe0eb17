//! Speech while routes, links and sessions change, on the simulated network.

use std::time::Duration;

use voicemesh_netsim::{Conditions, Mode};
use voicemesh_session::client::Dropped;
use voicemesh_session::network::LinkId;
use voicemesh_session::route::Route;
use voicemesh_session::voice_targets::VoiceTarget;
use voicemesh_wire::packet::HandshakeP2P;

use crate::net::Peer;
use crate::world::{Kind, World};

const TICK: Duration = Duration::from_millis(5);
const FRAME: Duration = Duration::from_millis(20);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Two members, of which the first speaks to the second.
fn pair() -> World {
    pair_with(true)
}

fn pair_with(has_roster: bool) -> World {
    let mut world =
        World::new(1, Kind { members: 2, has_roster, has_hostile: false, roster_first: false });
    (0..2).for_each(|peer| world.connect(peer));
    world.run(ms(500), TICK);
    let listener = world.client_id(0, 1).unwrap();
    world.open(0, if has_roster { VoiceTarget::Peer(1) } else { VoiceTarget::Client(listener) });
    world
}

/// Speaks for so many frames and says how many were said.
fn speak(world: &mut World, frames: usize) -> usize {
    for _ in 0..frames {
        assert_eq!(world.say(0), 1);
        world.run(FRAME, TICK);
    }
    frames
}

fn heard(world: &World) -> Vec<(Peer, u64, Route)> {
    world.members[1].heard.clone()
}

/// Every frame was heard, and (which the world holds) none twice.
fn lost(world: &mut World, said: usize) -> usize {
    world.run(ms(1000), TICK);
    said - heard(world).len()
}

/// Speech overtakes the handshake that binds a link, so that the link's other end does not know yet
/// whose it is.
///
/// proves: B-02, D-32
#[test]
fn a_hundred_moves_between_relay_and_link_lose_no_frame() {
    for has_roster in [true, false] {
        let mut world = pair_with(has_roster);
        let mut said = 0;
        for _ in 0..50 {
            world.net.set_conditions(Conditions { jitter: ms(80), ..Conditions::delay(ms(10)) });
            world.link(0, 1);
            said += speak(&mut world, 20);
            assert_eq!(world.route(0, 1), Route::Direct);
            world.net.set_conditions(Conditions::delay(ms(10)));
            said += speak(&mut world, 10);
            world.unlink(0, 1);
            said += speak(&mut world, 15);
            assert_eq!(world.route(0, 1), Route::Relayed);
        }
        assert_eq!(lost(&mut world, said), 0, "with a roster: {has_roster}");
        let ways = heard(&world);
        assert!(ways.iter().any(|(.., route)| *route == Route::Direct));
        assert!(ways.iter().any(|(.., route)| *route == Route::Relayed));
    }
}

/// proves: D-27
#[test]
fn a_link_whose_peer_claims_to_be_another_client_is_not_bound() {
    let mut world = World::new(
        1,
        Kind { members: 2, has_roster: true, has_hostile: true, roster_first: false },
    );
    (0..3).for_each(|peer| world.connect(peer));
    world.run(ms(500), TICK);
    let generation = world.link(0, 2);
    world.run(ms(200), TICK);
    let session = world.server.as_ref().unwrap().session().unwrap();
    let claimed = world.client_id(0, 1).unwrap();
    let link = LinkId { peer: 0, generation };
    let handshake = HandshakeP2P { client: claimed }.encode(session);
    assert!(world.net.send_on_link(world.now, 2, link, Mode::Reliable, handshake.into()));
    world.run(ms(200), TICK);
    let client = &world.members[0].client;
    assert_eq!(client.dropped()[&Dropped::WrongHandshake], 1);
    assert!(client.routes().all(|(_, route)| route == Route::Relayed));
}

/// A link is replaced while it is spoken on.
///
/// proves: D-32
#[test]
fn links_that_replace_each_other_lose_no_frame() {
    let mut world = pair();
    let mut said = 0;
    for _ in 0..50 {
        world.link(0, 1);
        said += speak(&mut world, 10);
    }
    assert_eq!(lost(&mut world, said), 0);
    assert_eq!(world.net.links.len(), 1, "those that were replaced are released");
}

/// proves: B-03
#[test]
fn a_server_that_dies_and_comes_back_costs_a_linked_pair_no_frame_in_either_order_of_rejoining() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut world = pair();
        world.link(0, 1);
        let mut said = speak(&mut world, 25);
        world.stop_server(None);
        said += speak(&mut world, 25);
        for wants in &mut world.reference.members {
            wants.online = false;
        }
        world.start_server();
        said += speak(&mut world, 50);
        for peer in [first, second] {
            world.connect(peer);
            said += speak(&mut world, 50);
        }
        assert_eq!(lost(&mut world, said), 0, "{first} first");
        for peer in [0, 1] {
            assert_eq!(world.members[usize::from(peer)].sessions.len(), 2);
            assert_eq!(world.route(peer, 1 - peer), Route::Direct);
        }
        assert!(
            heard(&world).iter().skip(60).all(|(.., route)| *route == Route::Direct),
            "there was always the link"
        );
    }
}

/// proves: D-32
#[test]
fn a_link_that_stalls_in_mid_speech_costs_nothing_when_the_relay_has_what_it_swallowed() {
    let mut worst = Duration::ZERO;
    for delay_ms in 0..50 {
        let mut world = pair();
        world.link(0, 1);
        let mut said = speak(&mut world, 40);
        assert_eq!(world.route(0, 1), Route::Direct);
        world.run(ms(delay_ms % 20), TICK);
        world.set_stalled(0, 1, true);
        let stalled_at = world.now;
        while world.route(0, 1) == Route::Direct {
            said += speak(&mut world, 1);
            assert!(world.now < stalled_at + ms(1000), "the stall is not noticed");
        }
        worst = worst.max(world.now - stalled_at);
        said += speak(&mut world, 25);
        // What was on the link when it stalled and had not been acknowledged is sent again as well.
        assert_eq!(lost(&mut world, said), 0);
        world.set_stalled(0, 1, false);
        world.run(ms(3000), TICK);
        assert_eq!(world.route(0, 1), Route::Direct, "a link that carries again is used again");
    }
    assert!(worst <= ms(400), "{worst:?}");
}
