//! How long frames should wait: statistics of how late they come.

use std::time::Duration;

use crate::{BLOCK_DURATION, SAMPLE_RATE_HZ};

/// Width of a histogram bin.
const BIN: Duration = Duration::from_millis(5);

/// Bins of the histogram; what comes later than the last one counts as in it (320 ms).
const BINS: usize = 64;

/// The share of frames that the target delay is made for.
const QUANTILE: f32 = 0.97;

/// Observations older than about this no longer count.
const MEMORY: Duration = Duration::from_secs(10);

/// How many observations the assumption at the start is worth.
const PRIOR_OBSERVATIONS: f32 = 2.0;

/// Frames that come less than this after one another come together.
const TOGETHER: Duration = Duration::from_millis(4);

/// The fastest transit is looked for within one to two of these: long enough to see a stall, short enough that a longer
/// route or a drifting clock soon is the new normal.
const FASTEST_WINDOW: Duration = Duration::from_millis(500);

/// Above this share of lost frames the target leaves time for the next frame to repair the loss.
const LOSS_WORTH_WAITING_FOR: f32 = 0.02;

/// Of the loss estimate, how much one frame changes.
const LOSS_STEP: f32 = 1.0 / 64.0;

/// The target delay is within these.
const TARGET_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(240);

/// One frame's arrival.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub now: Duration,
    pub sequence: u64,
    pub burst: u64,
    pub samples: u32,
    /// The delay with which this frame would just have been in time, if playback already waited for it.
    pub missed_by: Option<Duration>,
}

/// Learns from arrivals and gives the delay that frames should wait before they are played.
#[derive(Clone, Debug)]
pub(super) struct DelayEstimator {
    /// Share of frames by lateness behind the fastest; sums to one.
    histogram: [f32; BINS],
    observations: f32,
    reference: Option<Reference>,
    loss: f32,
    frame: Duration,
    target: Duration,
    /// When the latest frame came, and how late.
    latest: Option<(Duration, Duration)>,
}

/// What transit times are compared with. Sequence numbers stand still between bursts, so each burst has its own.
#[derive(Clone, Copy, Debug)]
struct Reference {
    burst: u64,
    sequence: u64,
    samples: u32,
    fastest_us: i64,
    previous_fastest_us: i64,
    window_start: Duration,
}

impl DelayEstimator {
    pub fn new() -> Self {
        let mut histogram = [0.0; BINS];
        histogram[1] = 1.0; // begins as if frames came 5 to 10 ms late: a target of 20 ms
        let mut estimator = Self {
            histogram,
            observations: PRIOR_OBSERVATIONS,
            reference: None,
            loss: 0.0,
            frame: Duration::from_millis(20),
            target: Duration::ZERO,
            latest: None,
        };
        estimator.update_target();
        estimator
    }

    /// The delay to aim at.
    pub fn target(&self) -> Duration {
        self.target
    }

    /// Learns from a frame that arrived for the first time; gives how much later than the fastest it came.
    ///
    /// Of frames that come together only the latest counts: a stall is one event, however much it held up.
    pub fn observe(&mut self, arrival: Arrival) -> Duration {
        self.frame = duration_of(arrival.samples);
        let lateness = self.lateness(&arrival);
        let together = self.latest.is_some_and(|(at, before)| {
            arrival.now.saturating_sub(at) < TOGETHER && lateness.is_some_and(|lateness| lateness <= before)
        });
        if let Some(needed) = lateness.max(arrival.missed_by).filter(|_| !together) {
            self.count(needed);
        }
        let lateness = lateness.unwrap_or_default();
        self.latest = Some((arrival.now, lateness));
        self.update_target();
        lateness
    }

    /// Learns that a frame was played, or that it was given up.
    pub fn count_outcome(&mut self, lost: bool) {
        let outcome = if lost { 1.0 } else { 0.0 };
        self.loss += (outcome - self.loss) * LOSS_STEP;
    }

    /// How much later than the fastest recent frame of its burst this one came; `None` for the first of a burst, which
    /// there is nothing to compare with.
    fn lateness(&mut self, arrival: &Arrival) -> Option<Duration> {
        let reference = match &mut self.reference {
            Some(reference) if reference.burst == arrival.burst && reference.samples == arrival.samples => reference,
            _ => {
                let transit_us = micros(arrival.now);
                self.reference = Some(Reference {
                    burst: arrival.burst,
                    sequence: arrival.sequence,
                    samples: arrival.samples,
                    fastest_us: transit_us,
                    previous_fastest_us: transit_us,
                    window_start: arrival.now,
                });
                return None;
            }
        };
        let frames = arrival.sequence.wrapping_sub(reference.sequence) as i64;
        let transit_us = micros(arrival.now).saturating_sub(frames.saturating_mul(micros(self.frame)));
        if arrival.now.saturating_sub(reference.window_start) > FASTEST_WINDOW {
            reference.previous_fastest_us = reference.fastest_us;
            reference.fastest_us = transit_us;
            reference.window_start = arrival.now;
        }
        reference.fastest_us = reference.fastest_us.min(transit_us);
        let fastest_us = reference.fastest_us.min(reference.previous_fastest_us);
        Some(Duration::from_micros(transit_us.saturating_sub(fastest_us).max(0) as u64))
    }

    fn count(&mut self, lateness: Duration) {
        let bin = (lateness.as_micros() / BIN.as_micros()).min(BINS as u128 - 1) as usize;
        self.observations += 1.0;
        let share = (1.0 / self.observations).max(self.frame.as_secs_f32() / MEMORY.as_secs_f32());
        for count in &mut self.histogram {
            *count *= 1.0 - share;
        }
        self.histogram[bin] += share;
    }

    fn update_target(&mut self) {
        let mut covered = 0.0;
        let bins = self
            .histogram
            .iter()
            .position(|share| {
                covered += share;
                covered >= QUANTILE
            })
            .unwrap_or(BINS - 1);
        // One block more, because playback asks for a block at a time.
        let mut target = BIN * (bins as u32 + 1) + BLOCK_DURATION;
        if self.loss > LOSS_WORTH_WAITING_FOR {
            target += self.frame;
        }
        self.target = target.clamp(*TARGET_RANGE.start(), *TARGET_RANGE.end());
    }
}

/// How much time so many samples are.
pub(super) fn duration_of(samples: u32) -> Duration {
    Duration::from_micros(u64::from(samples) * 1_000_000 / u64::from(SAMPLE_RATE_HZ))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
