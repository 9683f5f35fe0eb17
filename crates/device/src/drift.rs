//! How much faster one device's clock runs than another's, from how many samples each has moved.
//!
//! A callback may be late and never early, so of the samples counted in a second the point least
//! behind says most. The line that lies just above all those points, and nearest to them, has the
//! slope of the device's clock, however late most callbacks are. Two such lines, the microphone's
//! and the speaker's, give the drift between them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::SAMPLE_RATE;

/// Of each such time the point least behind is kept.
const BIN_S: f64 = 1.0;
/// Points kept for each device: three minutes; the oldest goes. A clock changes more slowly, with
/// the temperature.
const MOST_POINTS: usize = 180;
/// Fewer points say nothing.
const LEAST_POINTS: usize = 10;
/// What a device does just after it was opened (filling its buffers) is no measure of its clock.
const SETTLING_S: f64 = 2.0;
/// Devices whose clocks are nearer to each other than this are not corrected.
const DEAD_BAND_PPM: f64 = 15.0;
/// No working device is further off.
const MOST_PPM: f64 = 500.0;
/// A slope beyond this is no clock but lost samples.
const IMPLAUSIBLE_PPM: f64 = 2_000.0;
/// How fast the reported correction changes: a fiftieth of a cent each second, which is inaudible.
const SLEW_PPM_PER_S: f64 = 12.0;
/// A line over `n` points that lie a mean gap below it, over a time, is wrong by less than so many
/// `gap / (time · n)`. Measured with callbacks that are late by up to 5, 20 and 40 ms; about eight
/// times the root of the mean square.
const UNCERTAINTY: f64 = 60.0;
/// Callbacks are never taken to be more regular than this: their counts are read every few
/// milliseconds only.
const LEAST_GAP_S: f64 = 100e-6;
/// What was found becomes less certain with time.
const FORGETTING_PPM_PER_S: f64 = 0.2;
/// A point this far off the line (or so many mean gaps) is not jitter: samples were lost, or came
/// from nowhere.
const JUMP_S: f64 = 4e-3;
const JUMP_GAPS: f64 = 6.0;
/// Below the line it may still be a stall that is caught up; after so many points it is a jump.
const LATE_POINTS: usize = 3;

/// Finds the clock drift of a microphone against a speaker. Told the time, and how much each has
/// moved.
#[derive(Debug, Default)]
pub struct DriftEstimator {
    captured: Envelope,
    played: Envelope,
    estimate: Option<Estimate>,
    reported_ppm: f64,
    last: Option<Duration>,
}

/// What was found.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    ppm: f64,
    /// How far off that may be.
    uncertainty_ppm: f64,
}

impl DriftEstimator {
    /// Of two devices of which nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells how many samples of 48 kHz [`Capture`](crate::Capture) and
    /// [`Playback`](crate::Playback) have moved by `now`. It must be called promptly after the
    /// devices' callbacks, at each turn of a loop that they wake: a rhythm of the caller's own
    /// would beat with theirs. It is cheap.
    pub fn observe(&mut self, now: Duration, captured_total: u64, played_total: u64) {
        let elapsed_s =
            self.last.and_then(|last| now.checked_sub(last)).unwrap_or_default().as_secs_f64();
        if self.last.is_some_and(|last| now < last) {
            self.restart();
        }
        self.last = Some(now);
        let seconds = now.as_secs_f64();
        let complete = [
            self.captured.observe(seconds, captured_total),
            self.played.observe(seconds, played_total),
        ];
        if let Some(estimate) = &mut self.estimate {
            estimate.uncertainty_ppm += FORGETTING_PPM_PER_S * elapsed_s;
        }
        if complete.contains(&true) {
            self.learn();
        }
        let most = SLEW_PPM_PER_S * elapsed_s;
        let wanted = self.estimate.map_or(0.0, |estimate| estimate.ppm).clamp(-MOST_PPM, MOST_PPM);
        self.reported_ppm += (wanted - self.reported_ppm).clamp(-most, most);
    }

    /// How much faster the microphone gives samples than the speaker takes them, in parts per
    /// million: within ±500, by 12 a second at most, and exactly 0 while the clocks cannot be told
    /// apart.
    #[must_use]
    pub fn ppm(&self) -> f64 {
        self.reported_ppm
    }

    /// A device was lost or opened again: its count says nothing about what it was before. What was
    /// found stays until something else is found.
    pub fn restart(&mut self) {
        self.captured = Envelope::default();
        self.played = Envelope::default();
    }

    fn learn(&mut self) {
        let (Some(captured), Some(played)) = (self.captured.clock(), self.played.clock()) else {
            return;
        };
        let ppm = ((1.0 + captured.slope) / (1.0 + played.slope) - 1.0) * 1e6;
        let uncertainty_ppm = (captured.uncertainty + played.uncertainty) * 1e6;
        let corrected = self.estimate.is_some_and(|estimate| estimate.ppm != 0.0);
        let band = if corrected { DEAD_BAND_PPM / 2.0 } else { DEAD_BAND_PPM.max(uncertainty_ppm) };
        let news = match self.estimate {
            None => true,
            Some(estimate) => {
                uncertainty_ppm <= estimate.uncertainty_ppm
                    || (ppm - estimate.ppm).abs() > uncertainty_ppm.max(band)
            }
        };
        if news {
            self.estimate =
                Some(Estimate { ppm: if ppm.abs() > band { ppm } else { 0.0 }, uncertainty_ppm });
        }
    }
}

/// A device's clock against the caller's.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Seconds gained in a second.
    slope: f64,
    uncertainty: f64,
}

/// One device's counts: for each second the point least behind, and the line above them all.
#[derive(Debug, Default)]
struct Envelope {
    begun: Option<Beginning>,
    /// Time since the beginning, and how far the count is ahead of it; both in seconds.
    points: VecDeque<(f64, f64)>,
    /// Of the second that is not over.
    best: Option<(f64, f64)>,
    line: Option<Line>,
    /// How many of the newest points are far below the line.
    late: usize,
    /// Corners of the hull; kept for its memory.
    corners: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, Debug)]
struct Beginning {
    at_s: f64,
    total: u64,
    newest_total: u64,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    corner: (f64, f64),
    slope: f64,
    mean_gap_s: f64,
}

impl Line {
    fn at(&self, at_s: f64) -> f64 {
        self.corner.1 + self.slope * (at_s - self.corner.0)
    }
}

impl Envelope {
    /// Says whether another second is complete.
    fn observe(&mut self, now_s: f64, total: u64) -> bool {
        let begun = self.begun.get_or_insert(Beginning { at_s: now_s, total, newest_total: total });
        if total < begun.newest_total {
            *self = Self::default();
            return false;
        }
        if total == begun.newest_total {
            return false;
        }
        begun.newest_total = total;
        let at_s = now_s - begun.at_s;
        if at_s < SETTLING_S {
            return false;
        }
        let ahead_s = (total - begun.total) as f64 / f64::from(SAMPLE_RATE) - at_s;
        let point = (at_s, ahead_s);
        let Some(best) = &mut self.best else {
            self.best = Some(point);
            return false;
        };
        if (best.0 / BIN_S).floor() == (at_s / BIN_S).floor() {
            if ahead_s > best.1 {
                *best = point;
            }
            return false;
        }
        let complete = std::mem::replace(best, point);
        self.add(complete);
        true
    }

    fn add(&mut self, point: (f64, f64)) {
        if let Some(line) = self.line {
            let off_s = point.1 - line.at(point.0);
            let jump_s = JUMP_S.max(JUMP_GAPS * line.mean_gap_s);
            self.late = if off_s < -jump_s { self.late + 1 } else { 0 };
            if off_s > jump_s || self.late == LATE_POINTS {
                *self = Self::default();
                return;
            }
        }
        if self.points.len() == MOST_POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
        // A line through what may be a jump would say something else already.
        if self.points.len() >= LEAST_POINTS && self.late == 0 {
            self.line = self.line_above();
            if self.line.is_some_and(|line| line.slope.abs() > IMPLAUSIBLE_PPM * 1e-6) {
                *self = Self::default();
            }
        }
    }

    /// The line above all points whose mean gap to them is least: the edge of their upper hull over
    /// their mean time.
    fn line_above(&mut self) -> Option<Line> {
        self.corners.clear();
        for &point in &self.points {
            while let [.., before, last] = self.corners[..]
                && (last.1 - before.1) * (point.0 - before.0)
                    <= (point.1 - before.1) * (last.0 - before.0)
            {
                self.corners.pop();
            }
            self.corners.push(point);
        }
        let count = self.points.len() as f64;
        let mean_s = self.points.iter().map(|point| point.0).sum::<f64>() / count;
        let edge = self.corners.windows(2).find(|edge| edge[1].0 >= mean_s)?;
        let slope = (edge[1].1 - edge[0].1) / (edge[1].0 - edge[0].0);
        let mut line = Line { corner: edge[0], slope, mean_gap_s: 0.0 };
        line.mean_gap_s =
            self.points.iter().map(|&(at_s, ahead_s)| line.at(at_s) - ahead_s).sum::<f64>() / count;
        Some(line)
    }

    fn clock(&self) -> Option<Clock> {
        let line = self.line.filter(|_| self.late == 0)?;
        let length_s = self.points.back()?.0 - self.points.front()?.0;
        let gap_s = line.mean_gap_s.max(LEAST_GAP_S);
        let uncertainty = UNCERTAINTY * gap_s / (length_s * self.points.len() as f64);
        Some(Clock { slope: line.slope, uncertainty })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that moves 10 ms at a time; each callback is late by up to `late_s`, in order.
    struct Device {
        ppm: f64,
        late_s: f64,
        seed: u64,
        blocks: u64,
        lost_blocks: u64,
        total: u64,
        due_s: f64,
    }

    impl Device {
        fn new(ppm: f64, late_s: f64, seed: u64) -> Self {
            let mut device =
                Self { ppm, late_s, seed, blocks: 0, lost_blocks: 0, total: 0, due_s: 0.0 };
            device.next();
            device
        }

        fn random(&mut self) -> f64 {
            self.seed = self
                .seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.seed >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn next(&mut self) {
            self.blocks += 1;
            let begins_s = self.blocks as f64 * 0.01 / (1.0 + self.ppm * 1e-6);
            self.due_s = self.due_s.max(begins_s + self.random() * self.late_s);
        }

        fn total(&mut self, now_s: f64) -> u64 {
            while self.due_s <= now_s {
                if self.lost_blocks > 0 {
                    self.lost_blocks -= 1;
                } else {
                    self.total += 480;
                }
                self.next();
            }
            self.total
        }
    }

    /// Two devices, and a loop that each callback wakes a little later, and which turns at least
    /// every 5 ms.
    struct Pair {
        estimator: DriftEstimator,
        capture: Device,
        playback: Device,
        now_s: f64,
    }

    impl Pair {
        fn new(ppm: f64, late_ms: f64, seed: u64) -> Self {
            Self {
                estimator: DriftEstimator::new(),
                // The caller's own clock is neither's.
                capture: Device::new(40.0 + ppm, late_ms / 1_000.0, seed),
                playback: Device::new(40.0, late_ms / 1_000.0, seed + 1_000),
                now_s: 0.0,
            }
        }

        /// `seen` gets each turn's time and correction.
        fn run_for(&mut self, length_s: f64, mut seen: impl FnMut(f64, f64)) {
            let end_s = self.now_s + length_s;
            while self.now_s < end_s {
                let woken_s =
                    self.capture.due_s.min(self.playback.due_s) + 0.0003 * self.capture.random();
                self.now_s = woken_s.clamp(self.now_s, self.now_s + 0.005);
                let (captured, played) =
                    (self.capture.total(self.now_s), self.playback.total(self.now_s));
                self.estimator.observe(Duration::from_secs_f64(self.now_s), captured, played);
                seen(self.now_s, self.estimator.ppm());
            }
        }
    }

    #[test]
    fn drift_is_found_the_sooner_the_more_regular_the_callbacks_are() {
        for (late_ms, within_s) in [(5.0, 40.0), (20.0, 75.0), (40.0, 180.0)] {
            for (seed, ppm) in
                (1..=20).flat_map(|seed| [-300.0, -100.0, 100.0, 300.0].map(|ppm| (seed, ppm)))
            {
                let mut pair = Pair::new(ppm, late_ms, seed);
                pair.run_for(within_s, |_, _| {});
                let mut worst: f64 = 0.0;
                pair.run_for(120.0, |_, told| worst = worst.max((told - ppm).abs()));
                assert!(worst < 10.0, "seed {seed}, {late_ms} ms late: {worst} ppm off {ppm}");
            }
        }
    }

    #[test]
    fn equal_clocks_are_never_corrected() {
        for (seed, late_ms) in
            (1..=20).flat_map(|seed| [0.0, 1.0, 20.0, 40.0].map(|late_ms| (seed, late_ms)))
        {
            let mut pair = Pair::new(0.0, late_ms, seed);
            pair.run_for(600.0, |now_s, told| {
                assert_eq!(told, 0.0, "seed {seed}, {late_ms} ms late, at {now_s} s")
            });
        }
    }

    #[test]
    fn the_correction_changes_slowly() {
        let mut pair = Pair::new(400.0, 20.0, 7);
        let (mut before, mut before_s) = (0.0, 0.0);
        pair.run_for(100.0, |now_s, told: f64| {
            assert!(
                (told - before).abs() <= 12.001 * (now_s - before_s),
                "from {before} to {told} at {now_s} s"
            );
            (before, before_s) = (told, now_s);
        });
        assert!((before - 400.0).abs() < 10.0, "{before}");
    }

    #[test]
    fn lost_samples_a_stall_and_a_reopened_device_do_not_disturb() {
        let undisturbed = |pair: &mut Pair, what: &str, seed: u64| {
            pair.run_for(60.0, |now_s, told| {
                assert!((told - 100.0).abs() < 15.0, "seed {seed}, {what}: {told} at {now_s} s");
            });
        };
        for seed in 1..=10 {
            let mut pair = Pair::new(100.0, 20.0, seed);
            pair.run_for(60.0, |_, _| {});
            pair.capture.due_s += 0.2;
            undisturbed(&mut pair, "a stall that is caught up", seed);
            pair.capture.lost_blocks = 20;
            undisturbed(&mut pair, "200 ms not captured", seed);
            pair.playback.lost_blocks = 20;
            undisturbed(&mut pair, "200 ms not played", seed);
            pair.capture.total += 9_600;
            undisturbed(&mut pair, "200 ms from nowhere", seed);
            pair.capture.lost_blocks = 300;
            pair.estimator.restart();
            undisturbed(&mut pair, "opened again", seed);
            pair.capture.total = 0;
            undisturbed(&mut pair, "counted from the beginning", seed);
        }
    }

    #[test]
    fn another_device_is_believed_when_it_is_certain() {
        let mut pair = Pair::new(200.0, 20.0, 3);
        pair.run_for(60.0, |_, _| {});
        // The same time of day, another crystal.
        pair.capture.ppm -= 400.0;
        pair.capture.blocks = (60.0 * (1.0 + pair.capture.ppm * 1e-6) * 100.0) as u64;
        pair.estimator.restart();
        pair.run_for(70.0, |_, _| {});
        assert!((pair.estimator.ppm() + 200.0).abs() < 10.0, "{}", pair.estimator.ppm());
    }
}
