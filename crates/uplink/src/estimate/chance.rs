//! Loss by chance, packet by packet, from many seeds: how often is it taken for what it is not?

use std::collections::VecDeque;

use super::*;

const TICK_MS: u64 = 100;
const SEEDS: u64 = 400;

/// What one stream of speech takes, and in a test.
const USUAL: (u64, f64) = (5, 75_000.0);
const SPARSE: (u64, f64) = (2, 37_000.0);

/// Numbers from a seed (xorshift64*).
struct Random(u64);

impl Random {
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Speech without a pause.
const UNBROKEN: (u64, u64) = (u64::MAX, 0);
/// Milliseconds of speech, and of the pause after it.
const PHRASES: [(u64, u64); 3] = [(3_000, 3_000), (2_500, 1_000), (2_000, 3_000)];

/// Whether a limit was met within so many seconds of speech on an uplink that loses this share of what is sent, `usual`
/// packets and those of a test.
fn meets_a_limit(seed: u64, seconds: u64, (phrase_ms, pause_ms): (u64, u64), loss: impl Fn(bool) -> f64) -> bool {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut estimate = UplinkEstimate::new();
    let mut ticks: VecDeque<(Duration, u64, u64, f64)> = VecDeque::new();
    for tick in 1..=seconds * 1_000 / TICK_MS {
        let spoken_ms = tick * TICK_MS;
        let now = Duration::from_millis(spoken_ms + spoken_ms / phrase_ms * pause_ms);
        let (packets, bps) = if estimate.is_testing() { SPARSE } else { USUAL };
        let share = loss(estimate.is_testing());
        let lost = (0..packets).filter(|_| random.share() < share).count() as u64;
        ticks.push_back((now, packets, lost, bps));
        let over = |span: Duration| {
            let recent = ticks.iter().filter(|(at, ..)| now < *at + span);
            recent.fold((0, 0, 0.0, 0.0), |(packets, lost, sent, count), (_, p, l, bps)| {
                (packets + p, lost + l, sent + bps, count + 1.0)
            })
        };
        let (settled, lost, ..) = over(estimate.loss_span(now));
        let (rate_packets, rate_lost, rate_bps, count) = over(Duration::from_millis(700));
        let sent_bps = rate_bps / count;
        estimate.update(
            now,
            Observation {
                sent_bps,
                delivered_bps: sent_bps * (1.0 - rate_lost as f64 / rate_packets as f64),
                queueing: Some(Duration::ZERO),
                loss: (settled >= 10).then(|| lost as f32 / settled as f32),
                packets: PacketLoss { settled, lost },
                round_trip: Duration::from_millis(20),
                ..Observation::default()
            },
        );
        if !estimate.is_starting() {
            return true;
        }
    }
    false
}

fn how_often(seconds: u64, phrases: (u64, u64), loss: impl Fn(bool) -> f64) -> u64 {
    (1..=SEEDS).filter(|seed| meets_a_limit(*seed, seconds, phrases, &loss)).count() as u64
}

#[test]
fn random_loss_is_seldom_taken_for_congestion() {
    for (percent, at_most) in [(1, 8), (2, 8), (3, 8), (5, 8), (8, 8), (10, 8), (15, 8), (20, 12)] {
        let share = f64::from(percent) / 100.0;
        let wrong = how_often(10, UNBROKEN, |_| share);
        println!("{percent} % at random: {wrong} of {SEEDS}");
        assert!(wrong * 100 <= SEEDS * at_most, "{percent} %: {wrong} of {SEEDS}");
    }
}

/// Less than a tenth may pass for the path's own, until redundancy makes more of it.
#[test]
fn loss_that_ends_when_less_is_sent_is_taken_for_congestion() {
    for (percent, at_least) in [(6, 60), (10, 80), (15, 90), (20, 98), (40, 100)] {
        let share = f64::from(percent) / 100.0;
        let found = how_often(6, UNBROKEN, |is_test| if is_test { 0.0 } else { share });
        println!("{percent} % from sending too much: {found} of {SEEDS}");
        assert!(found * 100 >= SEEDS * at_least, "{percent} %: {found} of {SEEDS}");
    }
}

#[test]
fn pauses_of_speech_decide_no_test() {
    for phrases in PHRASES {
        for (percent, at_most, at_least) in [(10, 12, 75), (15, 12, 85)] {
            let share = f64::from(percent) / 100.0;
            let wrong = how_often(10, phrases, |_| share);
            let found = how_often(8, phrases, |is_test| if is_test { 0.0 } else { share });
            println!("{percent} % in phrases of {phrases:?} ms: {wrong} and {found} of {SEEDS}");
            assert!(wrong * 100 <= SEEDS * at_most, "{percent} % at random: {wrong} of {SEEDS}");
            assert!(found * 100 >= SEEDS * at_least, "{percent} % from sending too much: {found} of {SEEDS}");
        }
    }
}
