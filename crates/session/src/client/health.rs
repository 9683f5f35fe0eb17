//! Whether a link carries what it is given: voice is acknowledged, and silence is probed
//! (PROTOCOL.md, section 9).

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_common::RoundTrip;
use voicemesh_wire::packet::VoiceAck;

use voicemesh_common::NextTimer;

/// Packets remembered as sent and not acknowledged: at least 1.28 s of 20 ms frames. The oldest is forgotten
/// first; by then the link has long been found stalled.
const UNACKED_PACKETS: usize = 64;
/// A link is stalled when its oldest unacknowledged voice is older than this, or than three round
/// trips.
const STALL_AFTER: Duration = Duration::from_millis(300);
/// Unacknowledged voice of this age, beyond a round trip, is asked after, so that a lost tail of
/// speech is not taken for a stall. Longer than an acknowledgement may wait.
const ASK_AFTER: Duration = Duration::from_millis(150);
/// While unacknowledged voice is asked after, it is asked this often at first, and half as often
/// after each question that is not answered: a full queue is not to be filled with questions.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// A link on which nothing is said is asked this often, unless the network's own keep-alives are
/// answered meanwhile: seldom enough to cost next to nothing,
/// often enough to keep a NAT's binding (RFC 4787 REQ-5 allows no less than two minutes, many boxes
/// 30 s).
const IDLE_PROBE: Duration = Duration::from_secs(8);
/// Links take turns, so that their probes do not fill a narrow uplink at once.
const TURN: Duration = Duration::from_millis(113);
const TURNS: u32 = 16;
/// A new link is asked this often …
const FIRST_PROBES: Duration = Duration::from_secs(1);
/// … for so long, so that its round trip is known.
const IS_NEW_FOR: Duration = Duration::from_millis(3_500);
/// A probe without an answer is followed by another after this.
const REPEAT_PROBE: Duration = Duration::from_secs(1);
/// A stalled link is asked this often at first, and less often the more probes have no answer.
const STALLED_PROBE: Duration = Duration::from_millis(250);
/// Speech that stopped this long ago without announcing a pause is asked after.
const BROKEN_OFF: Duration = Duration::from_secs(1);
/// A link from which nothing has come for this long since it was asked is stalled.
const SILENT_AFTER: Duration = Duration::from_secs(4);
/// So many answers in a row make a stalled link sound again.
const ANSWERS_TO_RECOVER: u8 = 3;
/// A link stalled for this long should be replaced, and again each time this has passed.
const REPLACE_AFTER: Duration = Duration::from_secs(2);
/// Round trip assumed until one is measured.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Actions that the caller must take for this link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LinkActions {
    /// Send a probe with this token.
    pub probe: Option<u32>,
    /// It has just stalled: what it did not deliver must go another way.
    pub stalled_now: bool,
    /// It should be replaced.
    pub replace: bool,
}

/// One link's health.
#[derive(Clone, Debug)]
pub(super) struct Health {
    turn: Duration,
    unacked: VecDeque<Sent>,
    round_trip: RoundTrip,
    probes: VecDeque<ProbeSent>,
    next_token: u32,
    last_probe_at: Option<Duration>,
    heard_at: Duration,
    /// When speech last came, if it did not say that a pause follows.
    speech_at: Option<Duration>,
    made_at: Duration,
    /// When the first probe was sent since something last came.
    asked_since: Option<Duration>,
    /// When something sent was last found to have arrived. A full queue delays acknowledgements but
    /// does not stop them.
    progressed_at: Duration,
    stall: Option<Stall>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    packet: SpeechPacket,
    at: Duration,
}

/// A packet of speech that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpeechPacket {
    /// Of its newest frame.
    pub sequence: u16,
    /// How many it carries for the first time: this one and those right before it.
    pub frames: u8,
}

#[derive(Clone, Copy, Debug)]
struct ProbeSent {
    token: u32,
    at: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Stall {
    since: Duration,
    answers: u8,
    replace_at: Duration,
    congested: bool,
}

/// Probes whose answer is still awaited; the oldest is given up first.
const PROBES: usize = 8;

impl Health {
    /// Links with different `turn`s are not all probed at the same moment.
    pub(super) fn new(now: Duration, turn: u32) -> Self {
        Self {
            turn: TURN * (turn % TURNS),
            unacked: VecDeque::with_capacity(UNACKED_PACKETS),
            round_trip: RoundTrip::default(),
            probes: VecDeque::with_capacity(PROBES),
            next_token: 1,
            last_probe_at: None,
            heard_at: now,
            speech_at: None,
            made_at: now,
            asked_since: None,
            progressed_at: now,
            stall: None,
        }
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stall.is_some()
    }

    /// Since when the link is stalled, unless congestion is the reason: more packets would make
    /// that worse.
    pub(super) fn dead_since(&self) -> Option<Duration> {
        self.stall.filter(|stall| !stall.congested).map(|stall| stall.since)
    }

    /// Whether a stall is congestion by the uplink's estimate. Holds until the link is sound again.
    pub(super) fn set_congested(&mut self, congested: bool) {
        if let Some(stall) = &mut self.stall {
            stall.congested = congested;
        }
    }

    /// Takes the link for stalled until it answers. What it has not acknowledged stays remembered.
    pub(super) fn doubt(&mut self, now: Duration) {
        self.stall.get_or_insert(Stall {
            since: now,
            answers: 0,
            replace_at: now + REPLACE_AFTER,
            congested: false,
        });
        // The next probe is due at once.
        self.last_probe_at = None;
    }

    /// Smoothed; `None` until measured.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.smoothed()
    }

    pub(super) fn heard_at(&self) -> Duration {
        self.heard_at
    }

    pub(super) fn sent(&mut self, now: Duration, packet: SpeechPacket) {
        if self.unacked.len() == UNACKED_PACKETS {
            self.unacked.pop_front();
        }
        self.unacked.push_back(Sent { packet, at: now });
    }

    pub(super) fn heard(&mut self, now: Duration) {
        self.heard_at = now;
        self.asked_since = None;
    }

    /// Speech came.
    pub(super) fn spoke(&mut self, now: Duration, pause_follows: bool) {
        self.speech_at = Some(now).filter(|_| !pause_follows);
    }

    /// Everything up to the newest acknowledged frame is settled: what is missing in it was lost on
    /// the way, which is not a stall.
    pub(super) fn acknowledged(&mut self, now: Duration, ack: VoiceAck) {
        if let Some(newest) =
            self.unacked.iter().rposition(|sent| sent.packet.sequence == ack.newest)
        {
            self.round_trip.measured(now.saturating_sub(self.unacked[newest].at));
            self.unacked.drain(..=newest);
            self.progressed_at = now;
        }
    }

    /// An answer to a probe shows that the link carried everything before it as far as it ever
    /// will. Gives its round trip.
    pub(super) fn answered(&mut self, now: Duration, token: u32) -> Option<Duration> {
        let index = self.probes.iter().position(|probe| probe.token == token)?;
        let asked_at = self.probes[index].at;
        self.probes.drain(..=index);
        self.round_trip.measured(now.saturating_sub(asked_at));
        self.unacked.retain(|sent| sent.at > asked_at);
        self.progressed_at = now;
        // The link works, so the speaker has stopped.
        self.speech_at = None;
        if let Some(stall) = &mut self.stall {
            stall.answers += 1;
            if stall.answers >= ANSWERS_TO_RECOVER {
                self.stall = None;
            }
        }
        Some(now.saturating_sub(asked_at))
    }

    /// A keep-alive of the network was answered, as a probe would have been; the next probe is due
    /// later. False if only a probe's answer counts: the link is new or stalled, was asked, or its
    /// speech broke off.
    pub(super) fn kept_alive(&mut self, now: Duration, round_trip: Duration) -> bool {
        let is_quiet = self.stall.is_none()
            && self.asked_since.is_none()
            && self.speech_at.is_none()
            && now >= self.made_at + IS_NEW_FOR;
        if is_quiet {
            self.last_probe_at = Some(now);
            self.round_trip.measured(round_trip);
        }
        is_quiet
    }

    /// The link did not take the frame that was sent last.
    pub(super) fn unsent(&mut self, sequence: u16) {
        if self.unacked.back().is_some_and(|sent| sent.packet.sequence == sequence) {
            self.unacked.pop_back();
        }
    }

    /// The packets that were sent and never acknowledged; they are no longer waited for.
    pub(super) fn take_unacknowledged(&mut self) -> impl Iterator<Item = SpeechPacket> + '_ {
        self.unacked.drain(..).map(|sent| sent.packet)
    }

    pub(super) fn update(&mut self, now: Duration) -> LinkActions {
        let mut actions = LinkActions::default();
        let oldest =
            self.unacked.front().map_or(Duration::ZERO, |sent| now.saturating_sub(sent.at));
        let asked_in_vain = self.asked_since.is_some_and(|since| now > since + SILENT_AFTER);
        let threshold = self.stall_threshold();
        let is_stuck = oldest > threshold && now > self.progressed_at + threshold;
        if self.stall.is_none() && (is_stuck || asked_in_vain) {
            self.stall = Some(Stall {
                since: now,
                answers: 0,
                replace_at: now + REPLACE_AFTER,
                congested: false,
            });
            actions.stalled_now = true;
        }
        if let Some(stall) = &mut self.stall {
            if self.probes.front().is_some_and(|probe| now > probe.at + SILENT_AFTER) {
                stall.answers = 0;
            }
            if now >= stall.replace_at {
                stall.replace_at = now + REPLACE_AFTER;
                actions.replace = true;
            }
        }
        if self.last_probe_at.is_none_or(|at| now >= at + self.probe_interval(now, oldest)) {
            actions.probe = Some(self.next_probe(now));
        }
        actions
    }

    /// When [`update`](Self::update) has something to do, if nothing happens before.
    pub(super) fn timers(&self, next: &mut NextTimer) {
        let now = next.now();
        let mut oldest_unacked = Duration::ZERO;
        if let Some(oldest) = self.unacked.front() {
            next.past(oldest.at.max(self.progressed_at) + self.stall_threshold());
            next.past(oldest.at + ASK_AFTER + self.round_trip().unwrap_or_default());
            oldest_unacked = now.saturating_sub(oldest.at);
        }
        next.past(self.asked_since.map(|since| since + SILENT_AFTER));
        next.past(self.probes.front().map(|probe| probe.at + SILENT_AFTER));
        next.at(self.stall.map(|stall| stall.replace_at));
        next.at(self.made_at + IS_NEW_FOR);
        next.at(self.speech_at.map(|at| at + BROKEN_OFF));
        // The interval changes at the moments above only.
        next.at(self.last_probe_at.map(|at| at + self.probe_interval(now, oldest_unacked)));
    }

    fn stall_threshold(&self) -> Duration {
        STALL_AFTER.max(3 * self.round_trip().unwrap_or(FIRST_ROUND_TRIP))
    }

    fn probe_interval(&self, now: Duration, oldest_unacked: Duration) -> Duration {
        if self.stall.is_some() {
            STALLED_PROBE * (1 + self.probes.len().min(2) as u32)
        } else if oldest_unacked > ASK_AFTER + self.round_trip().unwrap_or_default() {
            ASK_INTERVAL * (1 << self.probes.len().min(4))
        } else if now < self.made_at + IS_NEW_FOR {
            FIRST_PROBES
        } else if self.asked_since.is_some()
            || self.speech_at.is_some_and(|at| now >= at + BROKEN_OFF)
        {
            REPEAT_PROBE
        } else {
            IDLE_PROBE + self.turn
        }
    }

    fn next_probe(&mut self, now: Duration) -> u32 {
        let token = self.next_token;
        self.next_token = self.next_token.wrapping_add(1);
        self.last_probe_at = Some(now);
        self.asked_since.get_or_insert(now);
        if self.probes.len() == PROBES {
            self.probes.pop_front();
        }
        self.probes.push_back(ProbeSent { token, at: now });
        token
    }
}

/// What has been received on a link and is still to be acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AckDue {
    newest: Option<u16>,
    earlier: u32,
    /// When the first and the last packet arrived that are not acknowledged yet.
    waiting: Option<Waiting>,
    newest_at: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: Duration,
    until: Duration,
}

/// What to acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub newest: u16,
    /// Bit n: `newest - 1 - n` came too.
    pub earlier: u32,
    /// When the newest arrived.
    pub at: Duration,
}

/// A packet that arrives this long after the first that is not acknowledged is acknowledged at
/// once, with all before it: an acknowledgement in 80 ms of 20 ms packets, or in 120 ms of longer
/// ones.
const ACK_INTERVAL: Duration = Duration::from_millis(60);
/// When no packet follows, an acknowledgement goes so long after the first that waits.
const ACK_DELAY: Duration = Duration::from_millis(110);

impl AckDue {
    pub(super) fn received(&mut self, now: Duration, sequence: u16) {
        match self.newest {
            None => (self.newest, self.newest_at) = (Some(sequence), now),
            Some(newest) => {
                let ahead = sequence.wrapping_sub(newest) as i16;
                if ahead > 0 {
                    let shifted =
                        u64::from(self.earlier) << ahead.min(63) | 1 << (ahead.min(63) - 1);
                    self.earlier = if ahead <= 32 { shifted as u32 } else { 0 };
                    (self.newest, self.newest_at) = (Some(sequence), now);
                } else if (-32..0).contains(&ahead) {
                    self.earlier |= 1 << (-ahead - 1);
                }
            }
        }
        self.waiting =
            Some(Waiting { since: self.waiting.map_or(now, |waiting| waiting.since), until: now });
    }

    /// When an acknowledgement is due, if no packet comes before.
    pub(super) fn timer(&self) -> Option<Duration> {
        self.waiting.map(|waiting| waiting.since + ACK_DELAY)
    }

    /// What to acknowledge, when it is time to.
    pub(super) fn take(&mut self, now: Duration) -> Option<Received> {
        let Waiting { since, until } = self.waiting?;
        if until < since + ACK_INTERVAL && now < since + ACK_DELAY {
            return None;
        }
        self.waiting = None;
        Some(Received { newest: self.newest?, earlier: self.earlier, at: self.newest_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voicemesh_wire::ClientId;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn frame(sequence: u16) -> SpeechPacket {
        SpeechPacket { sequence, frames: 1 }
    }

    fn ack(newest: u16) -> VoiceAck {
        VoiceAck { sender: ClientId(1), newest, earlier: 0, received_ms: None }
    }

    #[test]
    fn voice_that_is_acknowledged_never_stalls_a_link() {
        let mut health = Health::new(ms(0), 0);
        for n in 0..500u16 {
            let now = ms(u64::from(n) * 20);
            health.sent(now, frame(n));
            if n >= 5 && n % 3 == 0 {
                health.acknowledged(now, ack(n - 5));
                health.heard(now);
            }
            assert!(!health.update(now).stalled_now);
        }
        assert_eq!(health.round_trip(), Some(ms(100)));
    }

    #[test]
    fn a_full_queue_that_delays_acknowledgements_is_no_stall() {
        let mut health = Health::new(ms(0), 0);
        for n in 0..500u64 {
            let now = ms(n * 20);
            health.sent(now, frame(n as u16));
            // The delay grows by 4 ms in each 20 ms, up to two seconds.
            let delay = 100.min(n / 6);
            if n % 4 == 0 && n > delay {
                health.acknowledged(now, ack((n - delay) as u16));
                health.heard(now);
            }
            assert!(!health.update(now).stalled_now, "{n}");
        }
    }

    #[test]
    fn a_link_that_swallows_voice_is_stalled_within_the_threshold_and_then_to_be_replaced() {
        let mut health = Health::new(ms(0), 0);
        let mut stalled_at = None;
        let mut replaced_at = None;
        for step in 0..600u64 {
            let now = ms(step * 5);
            if step % 4 == 0 {
                health.sent(now, frame(step as u16));
            }
            let actions = health.update(now);
            if actions.stalled_now {
                assert_eq!(stalled_at, None, "told once");
                stalled_at = Some(now);
                assert!(health.take_unacknowledged().count() >= 15);
            }
            if actions.replace && replaced_at.is_none() {
                replaced_at = Some(now);
            }
        }
        assert_eq!(stalled_at, Some(ms(305)));
        assert_eq!(replaced_at, Some(ms(2305)));
    }

    #[test]
    fn the_lost_tail_of_speech_is_not_a_stall_when_the_link_answers() {
        let mut health = Health::new(ms(0), 0);
        health.sent(ms(0), frame(1));
        for step in 1..400 {
            let now = ms(step * 5);
            let actions = health.update(now);
            assert!(!actions.stalled_now);
            if let Some(token) = actions.probe {
                health.heard(now);
                health.answered(now + ms(30), token);
            }
        }
    }

    #[test]
    fn speech_that_breaks_off_is_asked_after_and_a_pause_is_not() {
        for (pause_follows, expected) in [(false, Some(9_000..=9_600)), (true, None)] {
            let mut health = Health::new(ms(0), 0);
            let mut stalled_at = None;
            for now in (0..11_000).step_by(20) {
                if (4_000..=4_200).contains(&now) {
                    health.heard(ms(now));
                    health.spoke(ms(now), pause_follows && now == 4_200);
                }
                let actions = health.update(ms(now));
                if let Some(token) = actions.probe.filter(|_| now < 4_200) {
                    health.heard(ms(now));
                    health.answered(ms(now), token);
                }
                if actions.stalled_now {
                    stalled_at = Some(now);
                }
            }
            assert_eq!(stalled_at.is_some(), expected.is_some(), "{stalled_at:?}");
            assert!(
                expected.is_none_or(|range| stalled_at.is_some_and(|at| range.contains(&at))),
                "{stalled_at:?}"
            );
        }
    }

    #[test]
    fn a_stalled_link_is_sound_again_after_some_answers() {
        let mut health = Health::new(ms(0), 0);
        health.sent(ms(0), frame(1));
        assert!(health.update(ms(301)).stalled_now);
        let mut answers = 0;
        for step in 0..400 {
            let now = ms(305 + step * 5);
            if let Some(token) = health.update(now).probe {
                health.heard(now);
                health.answered(now, token);
                answers += 1;
            }
            if !health.is_stalled() {
                break;
            }
        }
        assert_eq!(answers, u64::from(ANSWERS_TO_RECOVER));
    }

    #[test]
    fn a_silent_link_is_found_without_speech() {
        let mut health = Health::new(ms(0), 0);
        let stalled_at =
            (0..2000).map(|step| ms(step * 5)).find(|now| health.update(*now).stalled_now);
        assert!(
            stalled_at.is_some_and(|at| at > SILENT_AFTER && at < SILENT_AFTER + ms(100)),
            "{stalled_at:?}"
        );
    }

    /// Probes of a link whose network answers keep-alives every 6 s until `until`, and when it is
    /// found stalled. Probes are not answered after that either.
    fn kept_alive(until: u64) -> (Vec<u64>, Option<u64>) {
        let mut health = Health::new(ms(0), 0);
        let (mut probes, mut stalled_at) = (Vec::new(), None);
        for now in (0..60_000).step_by(20) {
            if now < until && now % 6_000 == 0 {
                health.kept_alive(ms(now), ms(40));
            }
            let actions = health.update(ms(now));
            if let Some(token) = actions.probe {
                probes.push(now);
                if now < until {
                    health.heard(ms(now));
                    health.answered(ms(now), token);
                }
            }
            if actions.stalled_now {
                stalled_at.get_or_insert(now);
            }
        }
        (probes, stalled_at)
    }

    #[test]
    fn a_link_whose_keep_alives_are_answered_is_not_probed() {
        let (probes, stalled_at) = kept_alive(60_000);
        assert_eq!(probes, [0, 1_000, 2_000, 3_000], "while it is new");
        assert_eq!(stalled_at, None);
    }

    #[test]
    fn a_link_whose_keep_alives_end_is_found_dead_as_soon_as_by_probes_alone() {
        let (probes, stalled_at) = kept_alive(30_000);
        assert_eq!(probes[4], 24_000 + 8_000);
        assert_eq!(stalled_at, Some(36_020));
    }

    #[test]
    fn a_keep_alive_does_not_stand_in_for_an_answer_that_is_awaited() {
        let mut health = Health::new(ms(0), 0);
        health.update(ms(0));
        assert!(!health.kept_alive(ms(5_000), ms(40)), "the probe has no answer");
        health.heard(ms(5_000));
        assert!(health.kept_alive(ms(5_000), ms(40)));
        assert_eq!(health.round_trip(), Some(ms(40)));
        health.spoke(ms(5_000), false);
        assert!(!health.kept_alive(ms(6_500), ms(40)), "speech broke off");
        health.spoke(ms(6_500), true);
        health.doubt(ms(7_000));
        assert!(!health.kept_alive(ms(7_000), ms(40)), "stalled");
    }

    #[test]
    fn acknowledgements_tell_what_came_across_the_wrap() {
        let mut due = AckDue::default();
        let mut take = |arrivals: &[(u64, u16)], at: u64| {
            for (at, sequence) in arrivals {
                due.received(ms(*at), *sequence);
            }
            due.take(ms(at)).map(|received| (received.newest, received.earlier, received.at))
        };
        assert_eq!(take(&[(0, 0xFFFE), (20, 0), (60, 0xFFFF)], 60), Some((0, 0b11, ms(20))));
        assert_eq!(take(&[], 1000), None);
        assert_eq!(take(&[(1000, 2)], 1109), None);
        assert_eq!(take(&[], 1110), Some((2, 0b1110, ms(1000))));
        assert_eq!(take(&[(1200, 40)], 2000), Some((40, 0, ms(1200))));
        assert!(take(&[(2000, 41), (2000, 41u16.wrapping_add(0x7FFF))], 3000).is_some());
    }

    #[test]
    fn packets_of_any_length_are_acknowledged_as_they_arrive() {
        for (packet_ms, expected) in [(10, 16), (20, 12), (40, 8), (60, 8)] {
            let mut due = AckDue::default();
            let mut acknowledged = 0;
            for at in (0..1_000).step_by(packet_ms) {
                due.received(ms(at as u64), (at / packet_ms) as u16);
                if let Some(received) = due.take(ms(at as u64)) {
                    assert_eq!(
                        received.at,
                        ms(at as u64),
                        "nothing waits before it is acknowledged"
                    );
                    acknowledged += 1;
                }
            }
            assert!(
                (expected - 2..=expected + 1).contains(&acknowledged),
                "{packet_ms}: {acknowledged}"
            );
        }
    }
}
