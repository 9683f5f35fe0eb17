//! Loss by chance, packet by packet, from many seeds: how often is it taken for what it is not?

use std::collections::VecDeque;

use super::*;
use crate::path::PathCounts;

const SEEDS: u64 = 300;
const FRAME_MS: u64 = 20;
/// What became of a packet is known after this.
const ROUND_TRIP_MS: u64 = 60;

/// Numbers from a seed (xorshift64*).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Speech without a pause.
const UNBROKEN: (u64, u64) = (u64::MAX, 0);
/// Milliseconds of speech, and of the pause after it.
const PHRASES: [(u64, u64); 4] = [(3_000, 3_000), (2_500, 1_000), (2_000, 3_000), (1_200, 700)];

#[derive(Clone, Default)]
struct Link {
    counts: PathCounts,
    waiting: u8,
    /// When it is known what became of each packet, its bytes, and whether it was lost.
    in_flight: VecDeque<(u64, u64, bool)>,
}

impl Link {
    fn settle(&mut self, now_ms: u64) {
        while let Some((_, bytes, is_lost)) =
            self.in_flight.pop_front_if(|(at_ms, ..)| *at_ms <= now_ms)
        {
            if is_lost {
                self.counts.lost_packets += 1;
            } else {
                self.counts.delivered_packets += 1;
                self.counts.delivered_bytes += bytes;
            }
        }
    }

    fn send(&mut self, now_ms: u64, bytes: u64, is_lost: bool) {
        self.counts.sent_packets += 1;
        self.counts.sent_bytes += bytes;
        self.in_flight.push_back((now_ms + ROUND_TRIP_MS, bytes, is_lost));
    }
}

/// Links without a queue.
struct Links {
    audience: Vec<AudienceMember<usize>>,
    links: Vec<Link>,
}

impl Links {
    fn new(number: usize) -> Self {
        let member =
            |who| AudienceMember { who, has_link: true, has_relay: false, hears_plain: false };
        Self { audience: (0..number).map(member).collect(), links: vec![Link::default(); number] }
    }
}

impl Paths<usize> for Links {
    fn audience(&self) -> &[AudienceMember<usize>] {
        &self.audience
    }

    fn link(&self, now: Duration, who: usize) -> Option<PathState> {
        Some(PathState {
            generation: 1,
            counts: self.links[who].counts,
            queueing: Some(Duration::ZERO),
            measured_for: now,
            least_round_trip: Some(Duration::from_millis(ROUND_TRIP_MS)),
            ..PathState::default()
        })
    }

    fn relay(&self, _now: Duration) -> PathState {
        PathState::default()
    }
}

/// Whether a limit is met within so many seconds of speech over links that lose this share of what
/// is sent, usually and in a test.
fn meets_a_limit(
    seed: u64,
    links: usize,
    seconds: u64,
    (phrase_ms, pause_ms): (u64, u64),
    loss: impl Fn(bool) -> f64,
) -> bool {
    let frame = crate::FrameDuration::Ms20;
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut feedback = Feedback::new(RateLimits {
        bitrate_bps: 32_000,
        frame,
        uplink_bps: None,
        redundancy: true,
    });
    let mut paths = Links::new(links);
    let (mut spoken_ms, mut now_ms) = (0, 1_000);
    while spoken_ms < seconds * 1_000 {
        let now = Duration::from_millis(now_ms);
        paths.links.iter_mut().for_each(|link| link.settle(now_ms));
        feedback.update(now, &paths);
        if (now_ms - 1_000) % phrase_ms.saturating_add(pause_ms) < phrase_ms {
            if feedback.is_silent(now) {
                feedback.begin(now, &paths);
            }
            feedback.sent(now);
            let share = loss(feedback.uplink.is_testing());
            let frame_bytes = u64::from(feedback.plan().bitrate_bps) * FRAME_MS / 8_000;
            for (who, link) in paths.links.iter_mut().enumerate() {
                link.waiting += 1;
                if link.waiting >= feedback.frames_per_packet(who) {
                    let bytes =
                        20 + (frame_bytes + 3) * u64::from(std::mem::take(&mut link.waiting));
                    link.send(now_ms, bytes, random.share() < share);
                }
            }
            spoken_ms += FRAME_MS;
        }
        if !feedback.uplink.is_starting() {
            return true;
        }
        now_ms += FRAME_MS;
    }
    false
}

/// In percent.
fn how_often(links: usize, seconds: u64, phrases: (u64, u64), loss: impl Fn(bool) -> f64) -> f64 {
    let times =
        (1..=SEEDS).filter(|seed| meets_a_limit(*seed, links, seconds, phrases, &loss)).count();
    times as f64 * 100.0 / SEEDS as f64
}

#[test]
fn random_loss_is_seldom_taken_for_congestion() {
    for (percent, at_most) in [(1, 6.0), (3, 6.0), (5, 6.0), (10, 6.0), (15, 6.0), (20, 8.0)] {
        let wrong = how_often(1, 10, UNBROKEN, |_| f64::from(percent) / 100.0);
        println!("{percent} % at random: {wrong:.1} %");
        assert!(wrong <= at_most, "{percent} %: {wrong}");
    }
}

/// Less than a tenth may pass for the path's own, until redundancy makes more of it.
#[test]
fn loss_that_ends_when_less_is_sent_is_taken_for_congestion() {
    for (percent, at_least) in [(6, 80.0), (10, 95.0), (15, 98.0), (20, 99.0), (40, 100.0)] {
        let share = f64::from(percent) / 100.0;
        let found = how_often(1, 6, UNBROKEN, |is_test| if is_test { 0.0 } else { share });
        println!("{percent} % from sending too much: {found:.1} %");
        assert!(found >= at_least, "{percent} %: {found}");
    }
}

#[test]
fn pauses_of_speech_decide_no_test() {
    for phrases in PHRASES {
        for (percent, at_most, at_least) in
            [(1, 8.0, 0.0), (5, 8.0, 60.0), (10, 8.0, 90.0), (15, 8.0, 97.0)]
        {
            let share = f64::from(percent) / 100.0;
            let wrong = how_often(1, 10, phrases, |_| share);
            let found = how_often(1, 8, phrases, |is_test| if is_test { 0.0 } else { share });
            println!("{percent} % in phrases of {phrases:?} ms: {wrong:.1} and {found:.1} %");
            assert!(wrong <= at_most, "{percent} % at random: {wrong}");
            assert!(found >= at_least, "{percent} % from sending too much: {found}");
        }
    }
}

#[test]
fn random_loss_of_many_links_is_seldom_taken_for_congestion_and_loss_from_sending_too_much_is() {
    for links in [2, 4, 6] {
        for (percent, at_least) in [(5, 75.0), (10, 95.0), (15, 97.0)] {
            let share = f64::from(percent) / 100.0;
            let wrong = how_often(links, 10, UNBROKEN, |_| share);
            let found = how_often(links, 6, UNBROKEN, |is_test| if is_test { 0.0 } else { share });
            println!("{percent} % on each of {links} links: {wrong:.1} and {found:.1} %");
            assert!(wrong <= 5.0, "{percent} % at random on each of {links} links: {wrong}");
            assert!(found >= at_least, "{percent} % from sending too much, {links} links: {found}");
        }
    }
}

/// Speech to the first of two links ended, after one of 13 packets was lost; the second one loses
/// every fifth.
#[test]
fn a_link_that_loses_more_than_one_that_is_not_used_any_more_is_counted() {
    for (is_relayed, settled, lost) in [(true, 63, 11), (false, 13, 1)] {
        let frame = crate::FrameDuration::Ms20;
        let mut feedback = Feedback::new(RateLimits {
            bitrate_bps: 32_000,
            frame,
            uplink_bps: None,
            redundancy: true,
        });
        if is_relayed {
            feedback.relayed.insert(0);
        }
        let mut paths = Links::new(2);
        let mut seen = Observation::default();
        for tick in 0..=10 {
            let (first, second) = (u64::min(tick, 3), tick);
            let counts = |delivered_packets, lost_packets| PathCounts {
                sent_packets: delivered_packets + lost_packets,
                delivered_packets,
                lost_packets,
                ..PathCounts::default()
            };
            paths.links[0].counts = counts(4 * first, first / 3);
            paths.links[1].counts = counts(4 * second, second);
            seen = feedback.look(INTERVAL * tick as u32, &paths, &paths.audience);
        }
        assert_eq!(seen.packets, PacketLoss { settled, lost }, "{is_relayed}");
    }
}
