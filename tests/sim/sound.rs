//! What is heard, and what peers know of it.

use std::time::Duration;

use voicemesh::Route;
use voicemesh_session::client::Participant;
use voicemesh_tests::{hear, speech};

use crate::carrier::Conditions;
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The first of two peers says this again and again; both are linked, or never will be.
fn talking(seed: u64, voice: &str, conditions: Conditions, route: Route) -> World {
    let mut world = World::new(seed);
    world.wires.borrow_mut().links_blocked = route == Route::Relayed;
    world.add_peer();
    world.add_peer();
    world.peers[0].speech = speech::load(voice);
    world.peers[0].speaking = true;
    world.run_until(3 * SECOND, "a route", |world| {
        world.route(1, 0) == route && world.route(0, 1) == route
    });
    world.wires.borrow_mut().conditions = conditions;
    world
}

/// The delay from the first peer's microphone to the second's speaker over so many seconds, in
/// milliseconds: as measured by the second, and as it truly was, each the median. What is measured
/// does not jump meanwhile.
fn delays(world: &mut World, seconds: u32) -> (f64, f64) {
    for peer in &mut world.peers {
        peer.recorded = true;
    }
    let mut measured = Vec::new();
    for _ in 0..10 * seconds {
        world.run(ms(100));
        let delay = world.status(1, 0).unwrap().delay.expect("a delay was measured");
        measured.push(delay.as_secs_f64() * 1_000.0);
    }
    measured.sort_by(f64::total_cmp);
    let jump = measured[measured.len() - 1] - measured[0];
    assert!(jump <= 60.0, "the measured delay jumps by {jump} ms");
    let hearing = hear::compare(&world.peers[0].said, &world.peers[1].played);
    // A block is handed over when its last sample has been captured, 10 ms after its first; the
    // block that is rendered at the same moment begins to play then.
    (measured[measured.len() / 2], hearing.delay_ms + 10.0)
}

/// proves: B-08
#[test]
fn the_measured_delay_is_within_five_milliseconds_of_the_truth() {
    let steady = Conditions { on_links: ms(40), to_server: ms(35), ..Conditions::default() };
    let trembling = Conditions { jitter: ms(30), ..steady };
    for (seed, (conditions, route)) in [
        (1, (steady, Route::Direct)),
        (2, (steady, Route::Relayed)),
        (3, (trembling, Route::Direct)),
        (5, (Conditions { loss: 0.1, ..trembling }, Route::Direct)),
    ] {
        let mut world = talking(seed, "reader", conditions, route);
        world.run(10 * SECOND);
        let (measured, truth) = delays(&mut world, 14);
        println!("{route:?} {conditions:?}: measured {measured:.1} ms, true {truth:.1} ms");
        assert!(
            (measured - truth).abs() <= 5.0,
            "{route:?}, {conditions:?}: measured {measured}, true {truth}"
        );
        assert!(truth > 40.0, "{truth}");
    }
    // Four trembling ways lie between the two clocks: what one seed gives is chance.
    let mut errors: Vec<f64> = (20..33)
        .map(|seed| {
            let mut world = talking(seed, "reader", trembling, Route::Relayed);
            world.run(10 * SECOND);
            let (measured, truth) = delays(&mut world, 14);
            println!("relayed, {trembling:?}: measured {measured:.1} ms, true {truth:.1} ms");
            (measured - truth).abs()
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    assert!(errors[errors.len() / 2] <= 5.0 && errors[errors.len() - 1] <= 15.0, "{errors:?}");
}

/// proves: B-12
#[test]
fn a_lossy_link_is_reported_and_speech_is_repaired_with_copies() {
    let lossy = Conditions { loss: 0.15, ..Conditions::default() };
    let mut world = talking(7, "cards", lossy, Route::Direct);
    world.run(10 * SECOND);
    let reported = world.status(0, 1).unwrap().reported_loss.expect("it was reported");
    assert!((0.08..0.25).contains(&reported), "{reported}");
    let sending = world.peers[0].comms.speaking_status();
    assert!(sending.copies > 0 && sending.bitrate_bps < 32_000, "{sending:?}");

    let before = world.status(1, 0).unwrap().heard.unwrap();
    world.run(30 * SECOND);
    let after = world.status(1, 0).unwrap().heard.unwrap();
    let (heard, concealed) = (
        after.frames_heard - before.frames_heard,
        after.frames_concealed - before.frames_concealed,
    );
    println!(
        "{heard} heard, {concealed} concealed, {} from copies",
        after.frames_from_copies - before.frames_from_copies
    );
    assert!(after.frames_from_copies > before.frames_from_copies + 50, "{after:?}");
    assert!(concealed * 100 <= 4 * heard, "{concealed} of {heard}");

    // When the network is good again, the bits go back into speech.
    world.wires.borrow_mut().conditions = Conditions::default();
    world.run(60 * SECOND);
    let sending = world.peers[0].comms.speaking_status();
    assert_eq!((sending.copies, sending.bitrate_bps), (0, 32_000));
}

#[test]
fn a_listener_who_cannot_read_copies_is_sent_none() {
    let lossy = Conditions { loss: 0.15, ..Conditions::default() };
    let mut world = World::new(9);
    world.add_peer();
    world.add_peer_with(|config| config.redundancy = false);
    world.peers[0].speaking = true;
    world.run_until(3 * SECOND, "direct", |world| world.all_routes_are(Route::Direct));
    world.wires.borrow_mut().conditions = lossy;
    world.run(20 * SECOND);
    let heard = world.status(1, 0).unwrap().heard.unwrap();
    assert_eq!(heard.frames_from_copies, 0);
    assert!(world.status(0, 1).unwrap().reported_loss.unwrap() > 0.05, "it reported all the same");
}

/// proves: D-33
#[test]
fn within_a_tight_uplink_everyone_is_still_heard() {
    let mut world = World::new(11);
    for _ in 0..6 {
        world.add_peer();
    }
    world.run_until(5 * SECOND, "direct", |world| world.all_routes_are(Route::Direct));
    world.peers[0].speaking = true;
    world.run(2 * SECOND);
    let free = world.peers[0].comms.speaking_status();
    assert_eq!(free.bitrate_bps, 32_000);
    let limit = free.uplink_bps * 9 / 10;
    world.peers[0].comms.set_uplink_bps(Some(limit));
    world.run(2 * SECOND);
    let tight = world.peers[0].comms.speaking_status();
    assert!(tight.uplink_bps <= limit && tight.bitrate_bps >= 16_000, "{tight:?}");
    let before: Vec<_> = (1..6).map(|peer| world.heard(peer, 0).heard).collect();
    world.run(SECOND);
    let who = Participant::Peer(world.peers[0].id);
    for (peer, before) in (1..6).zip(before) {
        assert!(world.heard(peer, 0).heard >= before + 45, "{who:?} is heard by {peer}");
    }
}
