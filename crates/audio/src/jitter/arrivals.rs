//! What arrived when: a log of the last frames, and from it the delay that is worth waiting.
//!
//! For each frame the log keeps when its original came, when a copy of it came, and when the frame
//! after it came if that carries a coarse copy in band. The lateness of all three is counted from
//! the frame's own time on the sender's clock, behind the fastest frame of late. So "wait 40 ms
//! longer, because copies come two frames behind" and "wait 40 ms longer, because of the jitter"
//! are one question: how many more frames would be there? [`cost`](super::cost) answers it.

use std::time::Duration;

use super::cost::{Costs, Fate, NEVER};

/// Frames remembered: 10 s of frames of 20 ms. The oldest is overwritten.
const LOG: usize = 512;

/// The fastest frame is looked for among those of the last two seconds: long enough to see a stall,
/// short enough that a longer route or a drifting clock soon is the new normal.
const FASTEST_WITHIN_US: i64 = 2_000_000;

/// A frame that much faster than the fastest came by another route: the two are not compared.
const OTHER_ROUTE_US: i64 = 60_000;

/// So many frames in a row that are all that much slower than the fastest came by another route,
/// too.
const ON_ANOTHER_ROUTE: u32 = 10;

/// Frames that come less than this after one another come together.
const TOGETHER: Duration = Duration::from_millis(4);

/// Of frames that come together in mid-talkspurt, so many count: a stall is one event, however much
/// it held up.
const COUNTED_OF_TOGETHER: u32 = 2;

/// An original that has not come after this time is lost …
const PATIENCE_US: i64 = 320_000;

/// … and after this one, even if the speaker has said nothing since.
const PATIENCE_AT_THE_END: Duration = Duration::from_millis(600);

/// A hole in a talkspurt's numbers that is larger (10 s at 20 ms) is no loss: the speaker talked to
/// others in the meantime.
pub(super) const LARGEST_LOSS: u64 = 500;

/// Frames within which a change of the network is recognised.
const RECENT: usize = 50;

/// No sequence is further from its talkspurt's first, for the arithmetic's sake.
const FARTHEST: i64 = 1 << 32;

/// A frame that arrived in some form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub now: Duration,
    pub sequence: u64,
    pub talkspurt: u64,
    pub samples: u32,
    pub form: ArrivalKind,
}

/// The form in which a frame arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArrivalKind {
    /// In its own packet; `repairs` if it carries a coarse copy of the frame before.
    Original { repairs: bool },
    /// In the packet of a later frame.
    Copy,
}

/// How originals fared, since this was last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    pub expected: u32,
    pub lost: u32,
    pub unrepaired: u32,
    pub runs: u32,
}

/// The log.
#[derive(Clone, Debug)]
pub(super) struct ArrivalLog {
    log: Box<[Record; LOG]>,
    /// How many records were ever begun; the next one's place is this modulo the log's length.
    begun: u64,
    timing: Option<Timing>,
    /// Records before this one have been judged.
    judged: u64,
    in_a_run: bool,
    losses: Losses,
    costs: Costs,
    jitter_us: f32,
    last_transit_us: Option<i64>,
    last_at: Duration,
    together: u32,
}

/// The times of one frame: on the sender's time scale while its timing lasts, then behind the
/// fastest.
#[derive(Clone, Copy, Debug)]
struct Record {
    original_us: i64,
    copy_us: i64,
    repair_us: i64,
    /// False if its original's time says nothing of the network.
    is_counted: bool,
    is_played: bool,
}

const EMPTY: Record = Record {
    original_us: NEVER,
    copy_us: NEVER,
    repair_us: NEVER,
    is_counted: true,
    is_played: false,
};

/// Frames whose times can be compared: of one talkspurt, one duration and one route.
#[derive(Clone, Copy, Debug)]
struct Timing {
    talkspurt: u64,
    samples: u32,
    /// The frame that times are counted from, and when it came.
    base_sequence: u64,
    base_us: i64,
    began: Duration,
    /// Frames of this talkspurt in the log, from `lowest` to `highest`.
    lowest: u64,
    highest: u64,
    /// Frames before this one came by another route.
    timed_from: u64,
    fastest_us: i64,
}

impl Timing {
    fn nominal_us(&self, sequence: u64) -> i64 {
        let frames = (sequence.wrapping_sub(self.base_sequence) as i64).clamp(-FARTHEST, FARTHEST);
        self.base_us.saturating_add(frames.saturating_mul(self.frame_us()))
    }

    fn frame_us(&self) -> i64 {
        micros_of(self.samples)
    }
}

impl ArrivalLog {
    pub fn new() -> Self {
        Self {
            log: Box::new([EMPTY; LOG]),
            begun: 0,
            timing: None,
            judged: 0,
            in_a_run: false,
            losses: Losses::default(),
            costs: Costs::new(),
            jitter_us: 0.0,
            last_transit_us: None,
            last_at: Duration::ZERO,
            together: 0,
        }
    }

    /// The delay to aim at, behind the fastest frame.
    pub fn target(&self) -> Duration {
        self.costs.target()
    }

    /// Whether a frame that is not here although it was to be played after `left` is likelier late
    /// than lost, when playback is `depth_us` behind the fastest.
    pub fn is_likely_late(&self, depth_us: i64) -> bool {
        self.costs.is_likely_late(depth_us)
    }

    /// Learns from a frame's arrival.
    pub fn note(&mut self, arrival: Arrival) {
        let Some(position) = self.position(&arrival) else { return };
        let Some(timing) = self.timing else { return };
        let transit_us = micros(arrival.now).saturating_sub(timing.nominal_us(arrival.sequence));
        match arrival.form {
            ArrivalKind::Copy => {
                let record = self.record_mut(position);
                record.copy_us = record.copy_us.min(transit_us);
            }
            ArrivalKind::Original { repairs } => {
                if self.record(position).original_us != NEVER {
                    return;
                }
                if repairs && arrival.sequence > timing.lowest {
                    self.record_mut(position - 1).repair_us = transit_us + timing.frame_us();
                }
                let counts = self.counts(&arrival, &timing, position, transit_us);
                let record = self.record_mut(position);
                record.original_us = transit_us;
                record.is_counted = counts;
                self.note_jitter(transit_us);
                if counts && transit_us < timing.fastest_us.saturating_sub(OTHER_ROUTE_US) {
                    self.change_route(arrival.sequence, transit_us);
                } else if let Some((sequence, fastest_us)) = self.slower_route() {
                    self.change_route(sequence, fastest_us);
                }
            }
        }
        self.last_at = arrival.now;
        self.judge(arrival.now);
        self.update();
    }

    /// How far behind the fastest frames playback is, if `sequence` begins to play at `at_us`.
    pub fn depth_us(&self, at_us: i64, sequence: u64, talkspurt: u64) -> Option<i64> {
        let timing = self.timing.filter(|timing| timing.talkspurt == talkspurt)?;
        Some(at_us.saturating_sub(timing.nominal_us(sequence)).saturating_sub(timing.fastest_us))
    }

    /// Notes that a frame was played from real data of whatever form.
    pub fn played(&mut self, sequence: u64, talkspurt: u64) {
        if let Some(position) = self.find(sequence, talkspurt) {
            self.record_mut(position).is_played = true;
        }
    }

    /// Whether the original of a frame has come, as far as is remembered.
    pub fn has_original(&self, sequence: u64, talkspurt: u64) -> bool {
        self.find(sequence, talkspurt)
            .is_some_and(|position| self.record(position).original_us != NEVER)
    }

    /// Judges which originals are lost by now.
    pub fn judge(&mut self, now: Duration) {
        let Some(timing) = self.timing else { return };
        let waits = (PATIENCE_US / timing.frame_us().max(1)).clamp(6, LOG as i64 / 4) as u64;
        let is_over = now.saturating_sub(self.last_at) >= PATIENCE_AT_THE_END;
        let until = if is_over { self.begun } else { self.begun.saturating_sub(waits) };
        self.judge_until(until, is_over);
    }

    /// What was judged since this was last asked.
    pub fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    /// How unevenly frames come (RFC 3550 §6.4.1).
    pub fn jitter_ms(&self) -> f32 {
        self.jitter_us / 1_000.0
    }

    /// The record of an arrived frame, begun if need be, with those of the frames missing before
    /// it.
    fn position(&mut self, arrival: &Arrival) -> Option<u64> {
        match &mut self.timing {
            Some(timing)
                if timing.talkspurt == arrival.talkspurt && timing.samples == arrival.samples =>
            {
                let ahead = arrival.sequence.saturating_sub(timing.highest);
                if ahead <= LARGEST_LOSS {
                    timing.highest = timing.highest.max(arrival.sequence);
                    (0..ahead).for_each(|_| self.begin());
                    return self.find(arrival.sequence, arrival.talkspurt);
                }
            }
            // What is left of an older talkspurt teaches nothing.
            Some(timing)
                if arrival.talkspurt < timing.talkspurt && arrival.sequence < timing.highest =>
            {
                return None;
            }
            _ => {}
        }
        self.freeze();
        self.judge_until(self.begun, true);
        self.timing = Some(Timing {
            talkspurt: arrival.talkspurt,
            samples: arrival.samples,
            base_sequence: arrival.sequence,
            base_us: micros(arrival.now),
            began: arrival.now,
            lowest: arrival.sequence,
            highest: arrival.sequence,
            timed_from: arrival.sequence,
            fastest_us: 0,
        });
        self.last_transit_us = None;
        self.begin();
        Some(self.begun - 1)
    }

    fn begin(&mut self) {
        if self.begun >= self.judged + LOG as u64 {
            self.judge_until(self.begun + 1 - LOG as u64, true);
        }
        self.begun += 1;
        *self.record_mut(self.begun - 1) = EMPTY;
    }

    /// Whether the arrival of this original says something of the network.
    fn counts(
        &mut self,
        arrival: &Arrival,
        timing: &Timing,
        position: u64,
        transit_us: i64,
    ) -> bool {
        let is_together =
            arrival.now.saturating_sub(self.last_at) < TOGETHER && self.last_transit_us.is_some();
        self.together = if is_together { self.together + 1 } else { 0 };
        if is_together && arrival.now.saturating_sub(timing.began) < TOGETHER {
            // A talkspurt begins with what was said before its speaker was noticed: only the newest
            // of it was sent at once.
            for earlier in position.saturating_sub(arrival.sequence - timing.lowest)..position {
                self.record_mut(earlier).is_counted = false;
            }
            return true;
        }
        let is_less_late = self.last_transit_us.is_some_and(|last| transit_us <= last);
        let is_rest_of_a_stall = self.together >= COUNTED_OF_TOGETHER && is_less_late;
        arrival.sequence >= timing.timed_from && !is_rest_of_a_stall
    }

    fn note_jitter(&mut self, transit_us: i64) {
        if let Some(last) = self.last_transit_us {
            self.jitter_us += (transit_us.abs_diff(last) as f32 - self.jitter_us) / 16.0;
        }
        self.last_transit_us = Some(transit_us);
    }

    /// The first of the latest frames and the fastest of them, if all took so much longer that the
    /// route must be another.
    fn slower_route(&self) -> Option<(u64, i64)> {
        let timing = self.timing?;
        let (mut count, mut fastest_us, mut first) = (0, NEVER, timing.highest);
        for position in self.timed_positions(&timing).rev() {
            let Record { original_us, is_counted, .. } = *self.record(position);
            if !is_counted || original_us == NEVER {
                continue;
            }
            (count, fastest_us) = (count + 1, fastest_us.min(original_us));
            first = timing.highest - (self.begun - 1 - position);
            if original_us < timing.fastest_us.saturating_add(OTHER_ROUTE_US)
                || count == ON_ANOTHER_ROUTE
            {
                break;
            }
        }
        let is_slower = count == ON_ANOTHER_ROUTE
            && fastest_us > timing.fastest_us.saturating_add(OTHER_ROUTE_US);
        is_slower.then_some((first, fastest_us))
    }

    /// Frames take another way from `sequence` on, where the fastest comes at `fastest_us`; what
    /// was learnt of the jitter stays.
    fn change_route(&mut self, sequence: u64, fastest_us: i64) {
        let Some(mut timing) = self.timing else { return };
        let same_route =
            self.begun - 1 - (timing.highest - sequence).min(LOG as u64 - 1)..self.begun;
        self.freeze_but(&same_route);
        for position in same_route {
            let Record { original_us, copy_us, repair_us, .. } = self.record_mut(position);
            for time_us in [original_us, copy_us, repair_us] {
                if *time_us != NEVER {
                    *time_us = time_us.saturating_sub(fastest_us);
                }
            }
        }
        timing.base_us = timing.base_us.saturating_add(fastest_us);
        (timing.timed_from, timing.fastest_us) = (sequence, 0);
        self.timing = Some(timing);
        self.last_transit_us = self.last_transit_us.map(|last| last.saturating_sub(fastest_us));
    }

    /// Turns the times of the timing into lateness, for good.
    fn freeze(&mut self) {
        self.freeze_but(&(self.begun..self.begun));
    }

    fn freeze_but(&mut self, kept: &std::ops::Range<u64>) {
        let Some(timing) = self.timing else { return };
        let fastest_us = timing.fastest_us;
        for position in self.timed_positions(&timing).filter(|position| !kept.contains(position)) {
            let Record { original_us, copy_us, repair_us, .. } = self.record_mut(position);
            for time_us in [original_us, copy_us, repair_us] {
                if *time_us != NEVER {
                    *time_us = time_us.saturating_sub(fastest_us).max(0);
                }
            }
        }
    }

    /// Finds the fastest frame of late and the best delay.
    fn update(&mut self) {
        let Some(mut timing) = self.timing else { return };
        let frame_us = timing.frame_us();
        let timed = self.timed_positions(&timing);
        let among = (FASTEST_WITHIN_US / frame_us.max(1)) as u64;
        let fastest = (timed.start.max(self.begun.saturating_sub(among))..timed.end)
            .map(|position| self.record(position))
            .filter(|record| record.is_counted)
            .map(|record| record.original_us)
            .min();
        if let Some(fastest_us) = fastest.filter(|us| *us != NEVER) {
            timing.fastest_us = fastest_us;
        }
        self.timing = Some(timing);
        let first = self.begun.saturating_sub(LOG as u64);
        let patience = (PATIENCE_US / 2 / frame_us.max(1)) as u64;
        let (log, begun) = (&self.log, self.begun);
        let fates = (first..begun).rev().filter_map(|position| {
            let record = &log[(position % LOG as u64) as usize];
            let behind = if timed.contains(&position) { timing.fastest_us } else { 0 };
            let is_pending = record.original_us == NEVER && position + patience >= begun;
            let late = |time_us: i64| {
                if time_us == NEVER { NEVER } else { time_us.saturating_sub(behind) }
            };
            (record.is_counted && !is_pending).then(|| Fate {
                original_us: late(record.original_us),
                copy_us: late(record.copy_us),
                repair_us: late(record.repair_us),
            })
        });
        self.costs.weigh(fates, frame_us, RECENT);
    }

    fn judge_until(&mut self, until: u64, is_forced: bool) {
        while self.judged < until {
            let record = *self.record(self.judged);
            self.judged += 1;
            let is_lost = record.original_us == NEVER;
            // What is judged before its time may yet be played if it is here.
            let is_here = is_forced && (!is_lost || record.copy_us != NEVER);
            let losses = &mut self.losses;
            losses.expected += 1;
            losses.lost += u32::from(is_lost);
            losses.unrepaired += u32::from(!record.is_played && !is_here);
            losses.runs += u32::from(is_lost && !self.in_a_run);
            self.in_a_run = is_lost;
        }
    }

    /// Positions of the frames whose times are on the timing's scale.
    fn timed_positions(&self, timing: &Timing) -> std::ops::Range<u64> {
        let count = (timing.highest - timing.timed_from).min(LOG as u64 - 1) + 1;
        self.begun.saturating_sub(count)..self.begun
    }

    fn find(&self, sequence: u64, talkspurt: u64) -> Option<u64> {
        let timing = self.timing.filter(|timing| timing.talkspurt == talkspurt)?;
        if !(timing.lowest..=timing.highest).contains(&sequence) {
            return None;
        }
        let behind = timing.highest - sequence;
        (behind < (LOG as u64).min(self.begun)).then(|| self.begun - 1 - behind)
    }

    fn record(&self, position: u64) -> &Record {
        &self.log[(position % LOG as u64) as usize]
    }

    fn record_mut(&mut self, position: u64) -> &mut Record {
        &mut self.log[(position % LOG as u64) as usize]
    }
}

/// How much time so many samples are.
pub(super) fn micros_of(samples: u32) -> i64 {
    i64::from(samples) * 1_000 / 48
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}
