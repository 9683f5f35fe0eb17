//! Narrow uplinks and downlinks: speech stays whole, and listeners are direct as far as there is room.

use std::time::Duration;

use voicemesh::Route;
use voicemesh_netsim::{Bottleneck, Excess};

use crate::carrier::Conditions;
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Where the narrow place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// On the way from the speaker to everyone.
    SpeakersUplink,
    /// On the way to the first listener.
    OneDownlink,
}

const QUEUES: [Excess; 4] = [
    Excess::Queue(Duration::from_millis(30)),
    Excess::Queue(Duration::from_millis(400)),
    Excess::Queue(Duration::from_secs(2)),
    Excess::Policer { burst_bytes: 1_500 },
];

/// One speaker and so many listeners, all linked, with rooms of 20 to 60 ms of latency.
fn room(seed: u64, listeners: usize) -> World {
    let mut world = World::new(seed);
    world.wires.borrow_mut().conditions =
        Conditions { to_server: ms(20), on_links: ms(15), jitter: ms(5), ..Conditions::default() };
    for _ in 0..=listeners {
        world.add_peer();
    }
    world.run_until(5 * SECOND, "direct", |world| world.all_routes_are(Route::Direct));
    world
}

fn narrow(world: &mut World, at: At, rate_bps: u32, excess: Excess) {
    let mut wires = world.wires.borrow_mut();
    match at {
        At::SpeakersUplink => wires.uplinks.insert(0, Bottleneck::new(rate_bps, excess)),
        At::OneDownlink => wires.downlinks.insert(1, Bottleneck::new(rate_bps, excess)),
    };
}

/// What was heard after the settling time, worst listener first.
#[derive(Debug)]
struct Heard {
    concealed: f64,
    silence: Duration,
    delay: Duration,
    direct: usize,
}

fn listen(world: &mut World, seconds: u32) -> Heard {
    let listeners = 1..world.peers.len();
    let before: Vec<_> = listeners.clone().map(|peer| world.heard(peer, 0)).collect();
    world.forget_silence();
    let mut delays = vec![Vec::new(); listeners.len()];
    for _ in 0..seconds * 4 {
        world.run(ms(250));
        for (peer, delays) in listeners.clone().zip(&mut delays) {
            delays.extend(world.status(peer, 0).and_then(|status| status.delay));
        }
    }
    let mut heard = Heard { concealed: 0.0, silence: Duration::ZERO, delay: Duration::ZERO, direct: 0 };
    for ((peer, before), mut delays) in listeners.zip(before).zip(delays) {
        let after = world.heard(peer, 0);
        let (whole, concealed) = (after.heard - before.heard, after.concealed - before.concealed);
        heard.concealed = heard.concealed.max(concealed as f64 / (whole + concealed).max(1) as f64);
        heard.silence = heard.silence.max(world.longest_silence(peer));
        delays.sort();
        heard.delay = heard.delay.max(delays.get(delays.len() / 2).copied().unwrap_or(Duration::MAX));
        heard.direct += usize::from(world.route(0, peer) == Route::Direct);
    }
    heard
}

fn check(at: At, rate_kbps: u32, listeners: usize, excess: Excess) -> Option<String> {
    let seed = u64::from(rate_kbps) * 100 + listeners as u64;
    let mut world = room(seed, listeners);
    narrow(&mut world, at, rate_kbps * 1_000, excess);
    world.peers[0].speaking = true;
    world.run(5 * SECOND);
    let heard = listen(&mut world, 60);
    let sending = world.peers[0].comms.speaking_status();
    let case = format!(
        "{at:?} {rate_kbps} kbit/s, {listeners} listeners, {excess:?}: {heard:?}, {} bit/s in packets of {}, {:?}",
        sending.bitrate_bps, sending.frames_per_packet, sending.uplink
    );
    println!("{case}");
    let is_well = heard.concealed <= 0.02 && heard.silence <= ms(150) && heard.delay <= ms(300);
    (!is_well).then_some(case)
}

fn matrix(at: At, rates_kbps: &[u32]) {
    let mut failed = Vec::new();
    for rate in rates_kbps {
        for listeners in [1, 4, 7, 15] {
            for excess in QUEUES {
                failed.extend(check(at, *rate, listeners, excess));
            }
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn narrow_uplinks_from_64_to_128_kilobits_carry_speech_whole() {
    matrix(At::SpeakersUplink, &[64, 100, 128]);
}

#[test]
fn uplinks_of_200_and_512_kilobits_carry_speech_whole() {
    matrix(At::SpeakersUplink, &[200, 512]);
}

#[test]
fn one_listeners_narrow_downlink_from_64_to_128_kilobits_carries_speech_whole() {
    matrix(At::OneDownlink, &[64, 100, 128]);
}

#[test]
fn one_listeners_downlink_of_200_and_512_kilobits_carries_speech_whole() {
    matrix(At::OneDownlink, &[200, 512]);
}
