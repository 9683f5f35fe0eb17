//! When listeners move to the relay and back: which of them, with how much room, and how often.

use super::*;
use crate::path::PathCounts;

const FRAME_MS: u64 = 20;
/// Far more than anyone is sent.
const WIDE_BPS: u32 = 10_000_000;

/// Links without a queue or loss, all with the relay beside them.
struct Still {
    audience: Vec<AudienceMember<usize>>,
    packets: u64,
    /// Of each relayed packet, beyond the least.
    relay_header_bytes: u32,
    /// On the way to the server, if that is measured.
    relay_queueing: Option<Duration>,
    /// Of every link.
    overdue: Duration,
}

impl Paths<usize> for Still {
    fn audience(&self) -> &[AudienceMember<usize>] {
        &self.audience
    }

    fn link(&self, now: Duration, _who: usize) -> Option<PathState> {
        let (packets, bytes) = (self.packets, self.packets * 100);
        Some(PathState {
            generation: 1,
            counts: PathCounts {
                sent_packets: packets,
                sent_bytes: bytes,
                delivered_packets: packets,
                delivered_bytes: bytes,
                lost_packets: 0,
            },
            queueing: Some(Duration::ZERO),
            measured_for: now,
            overdue: self.overdue,
            least_round_trip: Some(Duration::from_millis(40)),
            ..PathState::default()
        })
    }

    fn relay(&self, _now: Duration) -> PathState {
        PathState {
            further_header_bytes: self.relay_header_bytes,
            queueing: self.relay_queueing,
            ..PathState::default()
        }
    }
}

/// A speaker whose uplink is known to be wide, and who allows less for a while.
struct Speaker {
    paths: Still,
    feedback: Feedback<usize>,
    now: Duration,
    relayed: BTreeSet<usize>,
    is_full: bool,
}

impl Speaker {
    fn to(listeners: usize) -> Self {
        let mut speaker = Self::by_an_unknown_uplink(listeners);
        speaker.feedback.uplink = UplinkEstimate::known(WIDE_BPS);
        speaker.speak_for(1_000);
        speaker
    }

    /// One that has said nothing yet.
    fn by_an_unknown_uplink(listeners: usize) -> Self {
        let member =
            |who| AudienceMember { who, has_link: true, has_relay: true, hears_plain: false };
        let feedback = Feedback::new(limits(WIDE_BPS));
        let audience = (0..listeners).map(member).collect();
        let paths = Still {
            audience,
            packets: 0,
            relay_header_bytes: 0,
            relay_queueing: None,
            overdue: Duration::ZERO,
        };
        // Time has passed: no interval is still running from the beginning.
        let now = Duration::from_secs(1_000);
        Self { paths, feedback, now, relayed: BTreeSet::new(), is_full: false }
    }

    /// One frame; how many listeners changed their way.
    fn speak(&mut self) -> usize {
        self.paths.packets += 1;
        self.feedback.sent(self.now);
        let decision = self.feedback.update(self.now, &self.paths);
        self.now += Duration::from_millis(FRAME_MS);
        let Some(decision) = decision else { return 0 };
        self.is_full = decision.is_full;
        let before = std::mem::replace(&mut self.relayed, decision.relayed);
        before.symmetric_difference(&self.relayed).count()
    }

    fn speak_for(&mut self, ms: u64) -> usize {
        (0..ms / FRAME_MS).map(|_| self.speak()).sum()
    }

    /// Speaks until the route of a listener changes. Returns the time until then in ms.
    fn speak_until_a_move(&mut self, at_most_ms: u64) -> Option<u64> {
        (0..at_most_ms / FRAME_MS).find(|_| self.speak() > 0).map(|frames| frames * FRAME_MS)
    }

    /// The server does not answer, or answers again.
    fn set_relay(&mut self, has_relay: bool) {
        self.paths.audience.iter_mut().for_each(|member| member.has_relay = has_relay);
    }

    fn allow(&mut self, bps: u32) {
        self.feedback.allow(limits(bps));
    }

    fn reports(&mut self, who: usize, lost: u16) {
        let report = LossReport { expected: 50, lost, mean_run: 1.0, ..LossReport::default() };
        self.feedback.report(self.now, who, report);
    }
}

fn limits(uplink_bps: u32) -> RateLimits {
    RateLimits {
        bitrate_bps: 32_000,
        frame: crate::FrameDuration::Ms20,
        uplink_bps: Some(uplink_bps),
        redundancy: true,
    }
}

/// What `direct` copies take at the usual setting, and one for the relay if some are relayed.
fn full_bps(direct: u32, relayed: bool) -> u32 {
    let audience = AudienceStats { direct, relayed: relayed.into(), ..AudienceStats::default() };
    SendPlan::choose(limits(WIDE_BPS), audience).uplink_bps
}

/// The least that the same takes in packets that still sound good.
fn least_bps(direct: u32, relayed: bool) -> u32 {
    let fits = |bps: &u32| {
        let audience =
            AudienceStats { direct, relayed: relayed.into(), ..AudienceStats::default() };
        let plan = SendPlan::choose(limits(*bps), audience);
        plan.is_within(Some(*bps)) && plan.is_good(crate::FrameDuration::Ms20)
    };
    (10_000..WIDE_BPS).step_by(500).find(fits).expect("they fit into what is wide")
}

/// proves: D-33
#[test]
fn a_listener_returns_when_there_has_been_half_again_the_needed_room_for_five_seconds() {
    let mut speaker = Speaker::to(5);
    assert_eq!(speaker.relayed.len(), 0, "there is room");
    speaker.allow(least_bps(1, true));
    speaker.speak_for(1_000);
    assert_eq!(speaker.relayed.len(), 4);
    let (before, after) = (full_bps(1, true), full_bps(2, true));
    let needed = before + (after - before) * 3 / 2;
    assert!(after < needed - 20_000);
    speaker.allow(needed - 2_000);
    assert_eq!(speaker.speak_for(20_000), 0, "enough for it, and not for what may follow");
    speaker.allow(needed + 2_000);
    let moved_after = speaker.speak_until_a_move(20_000);
    assert!(moved_after.is_some_and(|ms| (5_000..5_300).contains(&ms)), "{moved_after:?}");
    assert_eq!(speaker.relayed.len(), 3, "one at a time");
    assert_eq!(speaker.speak_for(20_000), 0);
}

/// proves: D-33
#[test]
fn room_that_is_there_for_a_moment_brings_no_listener_back() {
    let mut speaker = Speaker::to(5);
    speaker.allow(least_bps(1, true));
    speaker.speak_for(1_000);
    let moved: usize = (0..10)
        .map(|_| {
            speaker.allow(WIDE_BPS);
            let moved = speaker.speak_for(4_500);
            speaker.allow(least_bps(1, true));
            moved + speaker.speak_for(500)
        })
        .sum();
    assert_eq!(moved, 0);
}

/// When listeners were spoken to directly again, in seconds, while room comes and goes each ten
/// seconds, for five minutes.
fn returns(speaker: &mut Speaker) -> Vec<u32> {
    let narrow = least_bps(1, true);
    let mut back = Vec::new();
    for second in 0..300 {
        speaker.allow(if second % 20 < 10 { narrow } else { WIDE_BPS });
        let before = speaker.relayed.len();
        speaker.speak_for(1_000);
        if speaker.relayed.len() < before {
            back.push(second);
        }
    }
    back
}

/// proves: D-33
#[test]
fn a_listener_moves_back_and_forth_at_most_once_a_minute() {
    for is_starting in [false, true] {
        let mut speaker = if is_starting {
            let mut speaker = Speaker::by_an_unknown_uplink(2);
            speaker.speak_for(5_000);
            speaker
        } else {
            Speaker::to(2)
        };
        assert_eq!(speaker.relayed.len(), 0);
        assert_eq!(speaker.feedback.uplink.is_starting(), is_starting);
        let back = returns(&mut speaker);
        assert_eq!(speaker.feedback.uplink.is_starting(), is_starting);
        assert!((3..=5).contains(&back.len()), "starting {is_starting}: back at {back:?}");
        assert!(
            back.windows(2).all(|pair| pair[1] - pair[0] >= 60),
            "starting {is_starting}: back at {back:?}"
        );
    }
}

/// In slow start, before a limit is known.
#[test]
fn when_all_of_several_links_stall_at_the_beginning_the_uplink_is_full() {
    for listeners in [1, 3] {
        let mut speaker = Speaker::by_an_unknown_uplink(listeners);
        speaker.speak_for(400);
        assert!(!speaker.is_full);
        speaker.paths.overdue = Duration::from_millis(300);
        speaker.speak_for(200);
        assert_eq!(speaker.is_full, listeners > 1, "a single link may as well be dead");
        speaker.paths.overdue = Duration::ZERO;
        speaker.speak_for(200);
        assert!(!speaker.is_full);
    }
}

/// For a moment there is room, since links that have stalled are sent nothing.
///
/// proves: D-33
#[test]
fn a_link_that_stalls_while_the_uplink_is_full_waits_for_room_when_it_answers_again() {
    for is_full in [false, true] {
        let mut speaker = Speaker::to(4);
        if is_full {
            let seen = Observation {
                sent_bps: 200_000.0,
                delivered_bps: 200_000.0,
                queueing: Some(Duration::from_millis(100)),
                ..Observation::default()
            };
            speaker.feedback.uplink.lower_by(speaker.now, seen);
        }
        let has_room = |speaker: &Speaker| full_bps(1, true) < speaker.feedback.uplink.bps();
        assert!(has_room(&speaker));
        speaker.speak_for(200);
        let direct: Vec<_> = (0..4).filter(|who| !speaker.relayed.contains(who)).collect();
        let stalled = direct[0];
        let links = |speaker: &mut Speaker, has_link| {
            speaker.paths.audience[stalled].has_link = has_link;
            speaker.speak_for(300);
            speaker.relayed.contains(&stalled)
        };
        assert_eq!(links(&mut speaker, false), is_full);
        assert_eq!(links(&mut speaker, true), is_full, "it answers again");
    }
}

/// proves: D-33
#[test]
fn that_listeners_are_first_spoken_to_directly_is_no_return() {
    let mut speaker = Speaker::by_an_unknown_uplink(4);
    speaker.speak_for(200);
    assert_eq!(speaker.relayed.len(), 3, "one copy is assumed to fit");
    speaker.speak_for(3_000);
    assert_eq!(speaker.relayed.len(), 0);
    speaker.allow(least_bps(1, true));
    speaker.speak_for(1_000);
    assert_eq!(speaker.relayed.len(), 3);
    speaker.allow(WIDE_BPS);
    speaker.speak_for(1_000);
    assert_eq!(speaker.relayed.len(), 0, "they need not wait for a minute to pass");
}

/// proves: D-33
#[test]
fn the_listener_with_the_worst_path_moves_first_and_returns_last() {
    for worst in 0..3 {
        let mut speaker = Speaker::to(3);
        for second in 0..3 {
            for who in 0..3 {
                speaker.reports(who, if who == worst { 2 } else { 0 });
            }
            speaker.speak_for(1_000);
            assert_eq!(speaker.relayed.len(), 0, "second {second}");
        }
        speaker.allow(least_bps(2, true));
        speaker.speak_for(1_000);
        assert_eq!(speaker.relayed, BTreeSet::from([worst]));
        speaker.allow(least_bps(1, true));
        speaker.speak_for(1_000);
        assert_eq!(speaker.relayed.len(), 2);
        speaker.allow(WIDE_BPS);
        speaker.speak_until_a_move(10_000).expect("there is room");
        assert_eq!(speaker.relayed, BTreeSet::from([worst]));
    }
}

#[test]
fn listeners_return_as_before_though_the_server_was_dark_meanwhile() {
    let mut speaker = Speaker::to(3);
    speaker.paths.relay_header_bytes = 22;
    speaker.allow(least_bps(1, true) + 10_000);
    speaker.speak_for(1_000);
    assert_eq!(speaker.relayed.len(), 2);
    speaker.set_relay(false);
    speaker.allow(WIDE_BPS);
    speaker.speak_for(20_000);
    speaker.set_relay(true);
    speaker.speak_for(20_000);
    assert_eq!(speaker.relayed.len(), 0);
}

/// What was lost while there was no connection to the server says nothing of the relayed way.
#[test]
fn losses_of_an_outage_keep_no_listener_on_the_relay() {
    let relayed_for_ms = |is_renewed: bool| {
        let mut speaker = Speaker::by_an_unknown_uplink(1);
        speaker.paths.audience[0].has_link = false;
        speaker.paths.relay_queueing = Some(Duration::ZERO);
        speaker.speak_for(1_000);
        if is_renewed {
            speaker.feedback.relay_renewed(speaker.now);
        }
        speaker.reports(0, 10);
        speaker.speak_for(500);
        speaker.paths.audience[0].has_link = true;
        let since = speaker.now;
        while speaker.now < since + Duration::from_secs(10) {
            speaker.speak();
            if speaker.relayed.is_empty() {
                break;
            }
        }
        (speaker.now - since).as_millis()
    };
    assert!(relayed_for_ms(false) > 1_000);
    assert!(relayed_for_ms(true) < 100);
}

/// Of what the server is handed each copy takes the uplink, however many hear it.
#[test]
fn one_relayed_packet_serves_those_whom_copies_help_and_the_others() {
    let wants = |are_relayed: bool| {
        let mut speaker = Speaker::to(3);
        for member in &mut speaker.paths.audience[..2] {
            member.has_link = !are_relayed;
        }
        for _ in 0..3 {
            speaker.reports(0, 10);
            speaker.speak_for(1_000);
        }
        let counts = speaker.feedback.counts(&speaker.paths.audience);
        ([0, 1, 2].map(|who| speaker.feedback.wants_copies(who)), counts.with_copies)
    };
    assert_eq!(wants(true), ([true, true, false], 1));
    assert_eq!(wants(false), ([true, false, false], 1));
}

#[test]
fn a_relayed_packet_for_who_cannot_encrypt_counts_beside_that_for_the_others() {
    let mut speaker = Speaker::to(2);
    let plain = AudienceMember { who: 0, has_link: false, has_relay: true, hears_plain: true };
    speaker.paths.audience[0] = plain;
    // Too little for a direct one and a relayed one.
    speaker.allow(80_000);
    speaker.speak_for(1_000);
    assert_eq!(speaker.relayed, BTreeSet::from([1]));
    let one = full_bps(0, true);
    let plan = speaker.feedback.plan();
    assert!(plan.is_within(Some(80_000)) && plan.bitrate_bps < 32_000, "{plan:?}");
    // The packet of the other ends when it returns to its link, so that this is room enough; beside
    // one packet for both, which would not end, it would not be.
    let after = full_bps(1, true);
    let (needed, needed_beside_one) =
        (2 * one + (after - 2 * one) * 3 / 2, one + (after - one) * 3 / 2);
    assert!(needed + 20_000 < needed_beside_one);
    speaker.allow(needed + 10_000);
    speaker.speak_for(1_000);
    assert_eq!(speaker.feedback.plan().uplink_bps, 2 * one);
    speaker.speak_until_a_move(6_000).expect("there is room");
    assert_eq!(speaker.feedback.plan().uplink_bps, after);
}
