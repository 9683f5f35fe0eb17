//! One listener's own path: a narrow downlink is answered for this listener alone.
//!
//! First more speech shares a packet, which costs half as much in headers; if the path is still
//! full its speech goes through the relay, whose TCP fits itself to the path. Loss that stays the
//! same is the path's own and is left to redundancy. A listener whose relayed speech came late
//! until packets were longer stays on the relay when a link opens: a link's headers are larger, and
//! TCP that starts in a full queue is silent for half a second.

use std::time::Duration;

use crate::FrameDuration;
use crate::path::PathCounts;
use crate::path_history::PathHistory;

/// A queue this much longer than that of the other paths …
const OWN_QUEUE: Duration = Duration::from_millis(80);
/// … or so much more loss is this path's own trouble …
pub(crate) const OWN_LOSS: f32 = 0.08;
/// … when it lasts this long.
const TROUBLE_AFTER: Duration = Duration::from_millis(300);
/// With so much loss the relay is better, whatever the cause.
const LOSES_MOST: f32 = 0.5;
/// What was changed shows after this.
const SETTLE: Duration = Duration::from_millis(1_500);
/// A relayed listener that loses this much of a report is too slow for what it is sent; …
const RELAYED_LOSS: f32 = 0.03;
/// … and so is one whose probes wait this long on its own path, …
const RELAYED_QUEUE: Duration = Duration::from_millis(300);
/// … or who has to let frames wait this long: on a full way, TCP delivers late instead of losing.
const RELAYED_BUFFER: Duration = Duration::from_millis(250);
/// Speech that comes late through the relay for so long, whatever is sent, does so for another
/// reason than its amount: the link may be better.
const RELAY_IS_WORSE: Duration = Duration::from_secs(10);
const STAYS_LATE: Duration = Duration::from_millis(900);
/// Until then a listener stays relayed for this long after its relayed speech came late: on a full
/// path, a link that opens and TCP that repeats what it lost have too little room already.
const LATE_FOR: Duration = Duration::from_secs(3);
/// Loss this much higher than the path's own, as a factor and a share, is judged anew.
const OWN_LOSS_GREW: (f32, f32) = (1.5, 0.05);
/// A path that loses by itself delivers less in proportion when less is sent, up to this factor for
/// chance; a full one as much as before.
const IN_PROPORTION: f64 = 1.2;
/// Without trouble for this long, one step back; twice as long each time that it was too early.
const FIRST_RECOVERY: Duration = Duration::from_secs(20);
const LONGEST_RECOVERY: Duration = Duration::from_secs(160);
/// From the relay back no sooner than this.
const FIRST_RETURN: Duration = Duration::from_secs(60);
/// What came late or was lost for so long after a link ended, or after another one opened, says
/// nothing of the way: the listener's network had failed.
const OUTAGE: Duration = Duration::from_secs(5);
/// Loss that did not change with what is sent is the path's own for this long.
const PATH_LOSS_LIFE: Duration = Duration::from_secs(60);
/// Speech that shares a packet, at most.
const LONGEST_PACKET_MS: u64 = 60;

/// What was seen of a path in the last moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub queueing: Option<Duration>,
    pub loss: Option<f32>,
    /// On the wire, in bits per second.
    pub sent_bps: f64,
    pub delivered_bps: f64,
    /// The shortest that is known.
    pub round_trip: Duration,
}

impl Seen {
    /// Whether less was delivered than before in about the proportion in which less was sent.
    fn delivers_in_proportion(&self, before: &Self) -> bool {
        self.delivered_bps * before.sent_bps <= before.delivered_bps * self.sent_bps * IN_PROPORTION
    }
}

/// What a listener newly reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reported {
    /// The share of frames lost.
    pub lost: f32,
    /// How long frames waited to be played.
    pub buffer: Duration,
}

impl Reported {
    /// Whether relayed speech is more than its way carries.
    pub(crate) fn is_trouble(self) -> bool {
        self.lost >= RELAYED_LOSS || self.buffer >= RELAYED_BUFFER
    }
}

/// How speech is sent to this listener because of the state of its path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// What everyone is sent.
    #[default]
    Usual,
    /// As much speech in a packet as there may be.
    LongPackets,
    /// The same, through the relay.
    Relayed,
}

#[derive(Clone, Debug)]
pub(crate) struct ListenerPath {
    generation: Option<u32>,
    /// When its counts were last read.
    read_at: Duration,
    /// When another link opened than the one before.
    renewed_at: Option<Duration>,
    history: PathHistory,
    step: Step,
    step_at: Duration,
    /// Relayed speech was more than the way to this listener carries.
    is_narrow: bool,
    /// Relayed speech came late, or with losses, up to a short while before this.
    is_late_until: Duration,
    /// Since when each report has shown trouble.
    reported_since: Option<Duration>,
    trouble_since: Option<Duration>,
    troubled_at: Duration,
    /// What was seen when less was begun to be sent.
    before: Seen,
    /// What the path loses by itself, and until when that is taken to be so.
    own_loss: f32,
    own_loss_until: Duration,
    recovery: Duration,
    /// When a step was last taken back.
    recovered_at: Option<Duration>,
    seen: Seen,
}

impl Default for ListenerPath {
    fn default() -> Self {
        Self {
            generation: None,
            read_at: Duration::ZERO,
            renewed_at: None,
            history: PathHistory::default(),
            step: Step::Usual,
            step_at: Duration::ZERO,
            is_narrow: false,
            is_late_until: Duration::ZERO,
            reported_since: None,
            trouble_since: None,
            troubled_at: Duration::ZERO,
            before: Seen::default(),
            own_loss: 0.0,
            own_loss_until: Duration::ZERO,
            recovery: FIRST_RECOVERY,
            recovered_at: None,
            seen: Seen::default(),
        }
    }
}

impl ListenerPath {
    /// Takes a reading of the link's counts. A new link is a new path.
    pub(crate) fn read(
        &mut self,
        now: Duration,
        generation: u32,
        counts: PathCounts,
    ) -> &PathHistory {
        if self.generation != Some(generation) {
            let is_another = self.generation.replace(generation).is_some();
            self.history.clear();
            if is_another {
                self.renewed_at = Some(now);
                if self.step_at.abs_diff(self.read_at) <= OUTAGE {
                    self.forget_outage();
                }
            }
        }
        self.read_at = now;
        self.history.read(now, counts)
    }

    /// What was reported while there was no link does not make the way narrow.
    fn forget_outage(&mut self) {
        if self.step == Step::LongPackets && self.is_narrow {
            (self.step, self.is_narrow) = (Step::Usual, false);
            (self.reported_since, self.is_late_until) = (None, Duration::ZERO);
        }
    }

    /// Compares a direct path with what all paths have in common.
    pub(crate) fn update(
        &mut self,
        now: Duration,
        seen: Seen,
        shared_queue: Duration,
        shared_loss: f32,
    ) {
        self.seen = seen;
        let has_queue = seen.queueing.is_some_and(|queueing| queueing >= shared_queue + OWN_QUEUE);
        let loss = seen.loss.unwrap_or(0.0);
        let is_known =
            now < self.own_loss_until && loss <= self.own_loss * OWN_LOSS_GREW.0 + OWN_LOSS_GREW.1;
        let loses = loss >= shared_loss + OWN_LOSS && !is_known;
        if !has_queue && !loses {
            self.trouble_since = None;
            return self.recover(now);
        }
        self.troubled_at = now;
        let since = *self.trouble_since.get_or_insert(now);
        // What was changed shows when what was sent before is acknowledged.
        let settled_at =
            self.step_at + SETTLE + seen.round_trip + seen.queueing.unwrap_or_default();
        if now < since + TROUBLE_AFTER || now < settled_at && self.step != Step::Usual {
            return;
        }
        match self.step {
            Step::Usual => {
                self.before = seen;
                self.go(now, Step::LongPackets);
            }
            Step::LongPackets
                if !has_queue
                    && loss < LOSES_MOST
                    && self.before.loss.is_some_and(|before| loss > before * 0.6)
                    && seen.delivers_in_proportion(&self.before) =>
            {
                // Less is sent, and as much of it is lost: it is not the amount.
                (self.own_loss, self.own_loss_until) = (loss, now + PATH_LOSS_LIFE);
                self.go(now, Step::Usual);
            }
            Step::LongPackets => self.go(now, Step::Relayed),
            Step::Relayed => {}
        }
    }

    /// What it loses is taken for its own: the relay shows.
    pub(crate) fn suspect(&mut self, now: Duration) {
        self.troubled_at = now;
        if self.step != Step::Relayed {
            self.go(now, Step::Relayed);
        }
    }

    /// What it lost was not its own: other links lose as well.
    pub(crate) fn clear(&mut self, now: Duration) {
        if self.step == Step::Relayed {
            self.go(now, Step::Usual);
        }
    }

    /// As [`Self::update`], for a listener whose speech is relayed; `probed` is how long probes
    /// over its link wait on its own part of the way; `is_own` says that others receive well what
    /// was sent by the same way.
    pub(crate) fn update_relayed(
        &mut self,
        now: Duration,
        reported: Option<Reported>,
        probed: Duration,
        is_own: bool,
    ) {
        self.trouble_since = None;
        self.seen = Seen::default();
        let reported = reported
            .filter(|_| self.renewed_at.is_none_or(|renewed_at| now >= renewed_at + OUTAGE));
        let is_trouble = reported.is_some_and(Reported::is_trouble);
        if is_trouble {
            // One hiccup does not make a way narrow.
            let since = *self.reported_since.get_or_insert(now);
            self.is_narrow = (self.is_narrow || is_own && now >= since + STAYS_LATE)
                && now < since + RELAY_IS_WORSE;
            self.is_late_until =
                if now < since + RELAY_IS_WORSE { now + LATE_FOR } else { Duration::ZERO };
        } else if reported.is_some() {
            self.reported_since = None;
        }
        if is_trouble || probed >= RELAYED_QUEUE {
            self.troubled_at = now;
            if self.step == Step::Usual {
                self.go(now, Step::LongPackets);
            }
        } else {
            self.recover(now);
        }
    }

    fn go(&mut self, now: Duration, step: Step) {
        if step > self.step && self.recovered_at.take().is_some_and(|at| now < at + self.recovery) {
            self.recovery = (self.recovery * 2).min(LONGEST_RECOVERY);
        }
        (self.step, self.step_at, self.trouble_since) = (step, now, None);
        self.is_narrow &= step != Step::Usual;
    }

    fn recovery_of_step(&self) -> Duration {
        if self.wants_relay() { self.recovery.max(FIRST_RETURN) } else { self.recovery }
    }

    fn recover(&mut self, now: Duration) {
        if self.step != Step::Usual
            && now >= self.troubled_at.max(self.step_at) + self.recovery_of_step()
        {
            self.step = match self.step {
                Step::Relayed => Step::LongPackets,
                Step::LongPackets | Step::Usual => Step::Usual,
            };
            self.is_narrow = false;
            self.step_at = now;
            self.recovered_at = Some(now);
        }
    }

    /// Its link carries less than is sent even so, or would.
    pub(crate) fn wants_relay(&self) -> bool {
        self.step == Step::Relayed || self.step == Step::LongPackets && self.is_narrow
    }

    /// Whether relayed speech has been late a short while ago, and may yet be in time again.
    pub(crate) fn is_late(&self, now: Duration) -> bool {
        now < self.is_late_until
    }

    /// What it loses, it loses because more is sent than its path carries: repeating frames would
    /// make that worse.
    pub(crate) fn is_too_narrow(&self) -> bool {
        self.step != Step::Usual
    }

    pub(crate) fn frames_per_packet(&self, frame: FrameDuration) -> u8 {
        match self.step {
            Step::Usual => 1,
            Step::LongPackets | Step::Relayed => LONGEST_PACKET_MS.div_ceil(frame.millis()) as u8,
        }
    }

    /// For comparing paths: loss, and a tenth of it for each 100 ms of queue.
    pub(crate) fn badness(&self) -> f32 {
        self.seen.loss.unwrap_or(0.0) + self.seen.queueing.unwrap_or_default().as_secs_f32()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn run(path: &mut ListenerPath, from: u64, until: u64, seen: impl Fn(&ListenerPath) -> Seen) {
        for ms in (from..until).step_by(100) {
            let seen = seen(path);
            path.update(at(ms), seen, Duration::ZERO, 0.0);
        }
    }

    fn sent_bps(path: &ListenerPath) -> f64 {
        if path.step == Step::Usual { 84_000.0 } else { 48_000.0 }
    }

    fn reported(buffer_ms: u64) -> Option<Reported> {
        Some(Reported { lost: 0.0, buffer: at(buffer_ms) })
    }

    /// Speech waits for a listener whose network is gone, and is late when that comes back.
    #[test]
    fn what_comes_late_while_a_link_is_replaced_keeps_no_listener_on_the_relay() {
        for (ends, opens, wants_relay) in
            [(1_000, 3_000, false), (11_900, 12_000, true), (20_000, 20_000, true)]
        {
            let mut path = ListenerPath::default();
            for ms in (0..13_000).step_by(100) {
                if ms < ends || ms >= opens {
                    path.read(at(ms), if ms < ends { 1 } else { 2 }, PathCounts::default());
                }
                let is_late = (1_000..7_000).contains(&ms);
                path.update_relayed(at(ms), reported(if is_late { 400 } else { 0 }), at(0), true);
            }
            assert_eq!(path.wants_relay(), wants_relay, "from {ends} to {opens} ms");
        }
    }

    /// A path that loses this share of whatever is sent.
    fn lossy(path: &ListenerPath, loss: f32) -> Seen {
        let sent_bps = sent_bps(path);
        let delivered_bps = sent_bps * f64::from(1.0 - loss);
        Seen { queueing: Some(at(5)), loss: Some(loss), sent_bps, delivered_bps, ..Seen::default() }
    }

    /// A path so full from the beginning that its queue is not known as one: what it carries is all
    /// that arrives.
    fn full(path: &ListenerPath, carries_bps: f64) -> Seen {
        let sent_bps = sent_bps(path);
        let delivered_bps = sent_bps.min(carries_bps);
        let loss = Some((1.0 - delivered_bps / sent_bps) as f32);
        Seen { queueing: Some(at(5)), loss, sent_bps, delivered_bps, round_trip: at(300) }
    }

    #[test]
    fn a_path_that_was_full_from_the_beginning_is_known_by_what_it_delivers() {
        let mut path = ListenerPath::default();
        run(&mut path, 1_000, 8_000, |path| full(path, 35_000.0));
        assert!(path.wants_relay(), "{path:?}");
        let mut path = ListenerPath::default();
        run(&mut path, 1_000, 20_000, |path| full(path, 50_000.0));
        assert_eq!((path.frames_per_packet(FrameDuration::Ms20), path.wants_relay()), (3, false));
    }

    #[test]
    fn a_path_that_loses_much_more_than_its_own_is_judged_anew() {
        let mut path = ListenerPath::default();
        run(&mut path, 1_000, 8_000, |path| lossy(path, 0.12));
        assert!(!path.is_too_narrow());
        run(&mut path, 8_000, 12_000, |path| lossy(path, 0.17));
        assert!(!path.is_too_narrow(), "by chance");
        run(&mut path, 12_000, 14_000, |path| full(path, 50_000.0));
        assert!(path.is_too_narrow());
    }

    #[test]
    fn a_narrow_downlink_gets_longer_packets_and_then_the_relay() {
        let full =
            |_: &ListenerPath| Seen { queueing: Some(at(300)), loss: Some(0.0), ..Seen::default() };
        let mut path = ListenerPath::default();
        run(&mut path, 1_000, 1_600, full);
        assert_eq!((path.frames_per_packet(FrameDuration::Ms20), path.wants_relay()), (3, false));
        run(&mut path, 1_600, 4_000, full);
        assert!(path.wants_relay());
        for ms in (4_000..90_000).step_by(100) {
            path.update_relayed(at(ms), reported(60), Duration::ZERO, true);
        }
        assert_eq!(path.frames_per_packet(FrameDuration::Ms20), 1, "it recovers");
    }

    #[test]
    fn a_relayed_listener_whose_probes_wait_is_sent_longer_packets_and_nothing_twice() {
        let mut path = ListenerPath::default();
        path.update_relayed(at(1_000), None, at(200), true);
        assert!(!path.is_too_narrow());
        path.update_relayed(at(1_100), None, at(400), true);
        assert_eq!((path.frames_per_packet(FrameDuration::Ms20), path.is_too_narrow()), (3, true));
        let mut path = ListenerPath::default();
        path.update_relayed(at(1_000), reported(200), Duration::ZERO, true);
        assert!(!path.is_too_narrow());
        path.update_relayed(at(2_000), reported(300), Duration::ZERO, true);
        assert!(path.is_too_narrow(), "TCP delivers late what does not fit");
    }

    /// Takes a report a second, each of frames that waited so long.
    fn report(path: &mut ListenerPath, seconds: std::ops::Range<u64>, buffer_ms: u64) {
        for second in seconds {
            path.update_relayed(at(second * 1_000), reported(buffer_ms), Duration::ZERO, true);
            path.update_relayed(at(second * 1_000 + 500), None, Duration::ZERO, true);
        }
    }

    #[test]
    fn a_listener_whose_relayed_speech_came_late_stays_relayed_for_a_minute_when_a_link_opens() {
        let mut path = ListenerPath::default();
        report(&mut path, 1..2, 400);
        assert!(!path.wants_relay(), "one hiccup");
        report(&mut path, 2..4, 400);
        assert!(path.wants_relay());
        // Between two stalls of TCP little waits for moments.
        report(&mut path, 4..5, 100);
        report(&mut path, 5..6, 400);
        assert!(path.wants_relay());
        report(&mut path, 6..65, 80);
        assert!(path.wants_relay());
        report(&mut path, 65..67, 80);
        assert_eq!((path.wants_relay(), path.frames_per_packet(FrameDuration::Ms20)), (false, 1));
        report(&mut path, 70..71, 400);
        assert_eq!((path.wants_relay(), path.frames_per_packet(FrameDuration::Ms20)), (false, 3));
    }

    #[test]
    fn a_listener_whose_relayed_speech_comes_late_whatever_is_sent_may_be_direct() {
        let mut path = ListenerPath::default();
        report(&mut path, 1..11, 400);
        assert!(path.wants_relay());
        report(&mut path, 11..20, 400);
        assert!(!path.wants_relay(), "TCP may be what is slow");
    }

    #[test]
    fn loss_that_does_not_depend_on_what_is_sent_is_left_to_redundancy() {
        let mut path = ListenerPath::default();
        run(&mut path, 1_000, 8_000, |path| lossy(path, 0.15));
        assert_eq!((path.frames_per_packet(FrameDuration::Ms20), path.wants_relay()), (1, false));
        let mut path = ListenerPath::default();
        run(&mut path, 1_000, 4_000, |path| lossy(path, 0.6));
        assert!(path.wants_relay(), "there is too little left to repair");
    }

    #[test]
    fn a_queue_that_longer_packets_drain_is_enough() {
        let mut path = ListenerPath::default();
        run(&mut path, 1_000, 15_000, |path| {
            let queueing = if path.step == Step::Usual { at(300) } else { at(5) };
            Seen { queueing: Some(queueing), loss: Some(0.0), ..Seen::default() }
        });
        assert_eq!((path.frames_per_packet(FrameDuration::Ms20), path.wants_relay()), (3, false));
    }
}
