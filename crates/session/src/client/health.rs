//! Whether a link carries what it is given: voice is acknowledged, and silence is probed (DESIGN §4, "Route choice").

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_wire::packet::VoiceAck;

/// Frames remembered as sent and not acknowledged: 1.28 s of 20 ms frames. The oldest is forgotten first; by then the
/// link has long been found stalled.
const UNACKED_FRAMES: usize = 64;
/// A link is stalled when its oldest unacknowledged voice is older than this, or than three round trips.
const STALL_AFTER: Duration = Duration::from_millis(300);
/// Unacknowledged voice of this age is asked after, so that a lost tail of speech is not taken for a stall.
const ASK_AFTER: Duration = Duration::from_millis(100);
/// A link on which nothing is said is asked this often.
const IDLE_PROBE: Duration = Duration::from_secs(1);
/// A stalled link is asked this often.
const STALLED_PROBE: Duration = Duration::from_millis(250);
/// A link from which nothing has come for this long, though it was asked, is stalled.
const SILENT_AFTER: Duration = Duration::from_secs(4);
/// So many answers in a row make a stalled link sound again.
const ANSWERS_TO_RECOVER: u8 = 3;
/// A link stalled for this long should be replaced, and again each time this has passed.
const REPLACE_AFTER: Duration = Duration::from_secs(2);
/// Round trip assumed until one is measured.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// What is to be done about a link now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Care {
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
    unacked: VecDeque<Sent>,
    round_trip: Option<Duration>,
    probes: VecDeque<ProbeSent>,
    next_token: u32,
    last_probe_at: Duration,
    heard_at: Duration,
    stall: Option<Stall>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    sequence: u16,
    at: Duration,
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
    pub(super) fn new(now: Duration) -> Self {
        Self {
            unacked: VecDeque::with_capacity(UNACKED_FRAMES),
            round_trip: None,
            probes: VecDeque::with_capacity(PROBES),
            next_token: 1,
            last_probe_at: Duration::ZERO,
            heard_at: now,
            stall: None,
        }
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stall.is_some()
    }

    /// Since when the link is stalled, unless congestion is the reason: more packets would make that worse.
    pub(super) fn dead_since(&self) -> Option<Duration> {
        self.stall.filter(|stall| !stall.congested).map(|stall| stall.since)
    }

    /// Whether a stall is congestion by the uplink's estimate. Holds until the link is sound again.
    #[allow(dead_code, reason = "the uplink's estimate sets it")]
    pub(super) fn set_congested(&mut self, congested: bool) {
        if let Some(stall) = &mut self.stall {
            stall.congested = congested;
        }
    }

    /// Takes the link for stalled until it answers. What it has not acknowledged stays remembered.
    pub(super) fn doubt(&mut self, now: Duration) {
        self.stall.get_or_insert(Stall { since: now, answers: 0, replace_at: now + REPLACE_AFTER, congested: false });
        // The next probe is due at once.
        self.last_probe_at = now.saturating_sub(STALLED_PROBE);
    }

    /// Smoothed; `None` until measured.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    pub(super) fn heard_at(&self) -> Duration {
        self.heard_at
    }

    pub(super) fn sent(&mut self, now: Duration, sequence: u16) {
        if self.unacked.len() == UNACKED_FRAMES {
            self.unacked.pop_front();
        }
        self.unacked.push_back(Sent { sequence, at: now });
    }

    pub(super) fn heard(&mut self, now: Duration) {
        self.heard_at = now;
    }

    /// Everything up to the newest acknowledged frame is settled: what is missing in it was lost on the way, which is
    /// not a stall.
    pub(super) fn acknowledged(&mut self, now: Duration, ack: VoiceAck) {
        if let Some(newest) = self.unacked.iter().rposition(|sent| sent.sequence == ack.newest) {
            self.measured(now.saturating_sub(self.unacked[newest].at));
            self.unacked.drain(..=newest);
        }
    }

    /// An answer to a probe shows that the link carried everything before it as far as it ever will.
    pub(super) fn answered(&mut self, now: Duration, token: u32) {
        let Some(index) = self.probes.iter().position(|probe| probe.token == token) else { return };
        let asked_at = self.probes[index].at;
        self.probes.drain(..=index);
        self.measured(now.saturating_sub(asked_at));
        self.unacked.retain(|sent| sent.at > asked_at);
        if let Some(stall) = &mut self.stall {
            stall.answers += 1;
            if stall.answers >= ANSWERS_TO_RECOVER {
                self.stall = None;
            }
        }
    }

    /// The frames that were sent and never acknowledged; they are no longer waited for.
    pub(super) fn take_unacknowledged(&mut self) -> impl Iterator<Item = u16> + '_ {
        self.unacked.drain(..).map(|sent| sent.sequence)
    }

    pub(super) fn update(&mut self, now: Duration) -> Care {
        let mut care = Care::default();
        let oldest = self.unacked.front().map_or(Duration::ZERO, |sent| now.saturating_sub(sent.at));
        let asked_in_vain = !self.probes.is_empty() && now > self.heard_at + SILENT_AFTER;
        if self.stall.is_none() && (oldest > self.stall_threshold() || asked_in_vain) {
            self.stall = Some(Stall { since: now, answers: 0, replace_at: now + REPLACE_AFTER, congested: false });
            care.stalled_now = true;
        }
        if let Some(stall) = &mut self.stall {
            if self.probes.front().is_some_and(|probe| now > probe.at + SILENT_AFTER) {
                stall.answers = 0;
            }
            if now >= stall.replace_at {
                stall.replace_at = now + REPLACE_AFTER;
                care.replace = true;
            }
        }
        if now >= self.last_probe_at + self.probe_interval(oldest) {
            care.probe = Some(self.next_probe(now));
        }
        care
    }

    fn stall_threshold(&self) -> Duration {
        STALL_AFTER.max(3 * self.round_trip.unwrap_or(FIRST_ROUND_TRIP))
    }

    fn probe_interval(&self, oldest_unacked: Duration) -> Duration {
        if self.stall.is_some() {
            STALLED_PROBE
        } else if oldest_unacked > ASK_AFTER {
            ASK_AFTER
        } else {
            IDLE_PROBE
        }
    }

    fn next_probe(&mut self, now: Duration) -> u32 {
        let token = self.next_token;
        self.next_token = self.next_token.wrapping_add(1);
        self.last_probe_at = now;
        if self.probes.len() == PROBES {
            self.probes.pop_front();
        }
        self.probes.push_back(ProbeSent { token, at: now });
        token
    }

    /// RFC 6298 §2's smoothing.
    fn measured(&mut self, sample: Duration) {
        self.round_trip = Some(match self.round_trip {
            Some(smoothed) => (smoothed * 7 + sample) / 8,
            None => sample,
        });
    }
}

/// What has been received on a link and is still to be acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AckDue {
    newest: Option<u16>,
    earlier: u32,
    waiting: u8,
    waiting_since: Duration,
}

/// An acknowledgement goes after so many frames …
const ACK_FRAMES: u8 = 3;
/// … or when the first of them has waited so long.
const ACK_DELAY: Duration = Duration::from_millis(40);

impl AckDue {
    pub(super) fn received(&mut self, now: Duration, sequence: u16) {
        match self.newest {
            None => self.newest = Some(sequence),
            Some(newest) => {
                let ahead = sequence.wrapping_sub(newest) as i16;
                if ahead > 0 {
                    let shifted = u64::from(self.earlier) << ahead.min(63) | 1 << (ahead.min(63) - 1);
                    self.earlier = if ahead <= 32 { shifted as u32 } else { 0 };
                    self.newest = Some(sequence);
                } else if (-32..0).contains(&ahead) {
                    self.earlier |= 1 << (-ahead - 1);
                }
            }
        }
        if self.waiting == 0 {
            self.waiting_since = now;
        }
        self.waiting = self.waiting.saturating_add(1);
    }

    /// Newest and the mask of those before it, when it is time to send them.
    pub(super) fn take(&mut self, now: Duration) -> Option<(u16, u32)> {
        let due = self.waiting >= ACK_FRAMES || (self.waiting > 0 && now >= self.waiting_since + ACK_DELAY);
        if !due {
            return None;
        }
        self.waiting = 0;
        Some((self.newest?, self.earlier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voicemesh_wire::ClientId;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn ack(newest: u16) -> VoiceAck {
        VoiceAck { sender: ClientId(1), newest, earlier: 0 }
    }

    #[test]
    fn voice_that_is_acknowledged_never_stalls_a_link() {
        let mut health = Health::new(ms(0));
        for n in 0..500u16 {
            let now = ms(u64::from(n) * 20);
            health.sent(now, n);
            if n >= 5 && n % 3 == 0 {
                health.acknowledged(now, ack(n - 5));
                health.heard(now);
            }
            assert!(!health.update(now).stalled_now);
        }
        assert_eq!(health.round_trip(), Some(ms(100)));
    }

    #[test]
    fn a_link_that_swallows_voice_is_stalled_within_the_threshold_and_then_to_be_replaced() {
        let mut health = Health::new(ms(0));
        let mut stalled_at = None;
        let mut replaced_at = None;
        for step in 0..600u64 {
            let now = ms(step * 5);
            if step % 4 == 0 {
                health.sent(now, step as u16);
            }
            let care = health.update(now);
            if care.stalled_now {
                assert_eq!(stalled_at, None, "told once");
                stalled_at = Some(now);
                assert!(health.take_unacknowledged().count() >= 15);
            }
            if care.replace && replaced_at.is_none() {
                replaced_at = Some(now);
            }
        }
        assert_eq!(stalled_at, Some(ms(305)));
        assert_eq!(replaced_at, Some(ms(2305)));
    }

    #[test]
    fn the_lost_tail_of_speech_is_not_a_stall_when_the_link_answers() {
        let mut health = Health::new(ms(0));
        health.sent(ms(0), 1);
        for step in 1..400 {
            let now = ms(step * 5);
            let care = health.update(now);
            assert!(!care.stalled_now);
            if let Some(token) = care.probe {
                health.heard(now);
                health.answered(now + ms(30), token);
            }
        }
    }

    #[test]
    fn a_stalled_link_is_sound_again_after_some_answers() {
        let mut health = Health::new(ms(0));
        health.sent(ms(0), 1);
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
        let mut health = Health::new(ms(0));
        let stalled_at = (0..2000).map(|step| ms(step * 5)).find(|now| health.update(*now).stalled_now);
        assert!(stalled_at.is_some_and(|at| at > SILENT_AFTER && at < SILENT_AFTER + ms(100)), "{stalled_at:?}");
    }

    #[test]
    fn acknowledgements_tell_what_came_across_the_wrap() {
        let mut due = AckDue::default();
        for sequence in [0xFFFE, 0, 0xFFFF] {
            due.received(ms(0), sequence);
        }
        assert_eq!(due.take(ms(0)), Some((0, 0b11)));
        assert_eq!(due.take(ms(1000)), None);
        due.received(ms(1000), 2);
        assert_eq!(due.take(ms(1039)), None);
        assert_eq!(due.take(ms(1040)), Some((2, 0b1110)));
        due.received(ms(1040), 40);
        assert_eq!(due.take(ms(2000)), Some((40, 0)));
        due.received(ms(2000), 41);
        due.received(ms(2000), 41u16.wrapping_add(0x7FFF));
        assert!(due.take(ms(3000)).is_some());
    }
}
