//! What waiting costs, and what not waiting costs.
//!
//! Delay is bought with milliseconds and pays in frames that are there in time. Both are brought to
//! one scale: a share of missing frames is worth so many milliseconds. The target is where the sum
//! is least. Compared with a fixed quantile this waits longer where it pays (a little more delay
//! saves many frames) and not where it does not (rare stragglers, or repairs of a loss that hardly
//! occurs).

use std::time::Duration;

/// Lateness of what never came.
pub(super) const NEVER: i64 = i64::MAX;

/// Width of a histogram bin.
const BIN_US: i64 = 2_000;

/// Bins of the histogram; what comes later than the last one is not waited for (240 ms).
const BINS: usize = 120;

/// Delay that it is worth to have all late frames in time rather than none, in milliseconds.
const ALL_LATE_MS: f32 = 850.0;

/// Delay that it is worth to have all lost frames repaired. More than for late ones: a late frame
/// can be waited for, a lost one cannot, and losses come in rows.
const ALL_LOST_MS: f32 = 6_000.0;

/// What of those remains to be won when there is a coarse repair: little for late frames, more for
/// lost ones, since a whole copy sounds better and the copies' delay should not come and go.
const COARSE_SHARE_LATE: f32 = 0.1;
const COARSE_SHARE_LOST: f32 = 0.4;

/// Losses below this share are not waited for.
const LOSS_WORTH_WAITING_FOR: f32 = 0.012;

/// Observations of lateness older than about this no longer count: jitter comes and goes.
const MEMORY_US: f32 = 2_000_000.0;

/// The same for losses, which are rare, so that fewer are seen in the same time.
const LOSS_MEMORY_US: f32 = 8_000_000.0;

/// How many observations the assumption at the start is worth, and how late it says that frames
/// come.
const PRIOR_OBSERVATIONS: f32 = 12.0;
const PRIOR_BIN: usize = 3;

/// If all of the latest frames would have been there within this share of the target, the network
/// has become better.
const MUCH_BETTER: f32 = 0.5;

/// The target delay is within these.
const TARGET_MS: std::ops::RangeInclusive<u64> = 8..=220;

/// How late a frame came in each form, behind the fastest; [`NEVER`] if not at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    pub original_us: i64,
    pub copy_us: i64,
    pub repair_us: i64,
}

/// The histogram and what follows from it.
#[derive(Clone, Debug)]
pub(super) struct Costs {
    target: Duration,
    /// The share of frames whose original comes this late, and of those whose never does.
    late: [f32; BINS],
    lost: f32,
}

/// Milliseconds that are won when the delay covers a bin, summed over the frames.
struct Gains {
    late: [f32; BINS],
    lost: [f32; BINS],
    late_weight: f32,
    lost_weight: f32,
    /// The latest of the frames that were late rather than lost.
    latest_us: i64,
}

impl Costs {
    pub fn new() -> Self {
        let mut costs = Self { target: Duration::ZERO, late: [0.0; BINS], lost: 0.0 };
        costs.weigh(std::iter::empty(), 20_000, 1);
        costs
    }

    pub fn target(&self) -> Duration {
        self.target
    }

    /// Whether frames that are `depth_us` late are likelier to come within the next 20 ms than to
    /// be lost.
    pub fn is_likely_late(&self, depth_us: i64) -> bool {
        let from = bin(depth_us).unwrap_or(BINS);
        let soon: f32 = self.late[from.min(BINS)..(from + 10).min(BINS)].iter().sum();
        soon > self.lost.max(0.01)
    }

    /// Learns from the fates of all remembered frames, newest first.
    pub fn weigh(
        &mut self,
        fates: impl Iterator<Item = Fate> + Clone,
        frame_us: i64,
        recent: usize,
    ) {
        self.count(fates.clone(), frame_us);
        let is_lossy = self.lost > LOSS_WORTH_WAITING_FOR;
        let long = Gains::of(fates.clone(), frame_us, is_lossy);
        let short = Gains::of(fates.clone().take(recent), frame_us, is_lossy);
        let has_enough = fates.take(recent).count() == recent;
        // Losses come in rows: that there was none for a while means nothing.
        let late_us = 1_000 * long.best_ms(None) as i64;
        let is_better = has_enough && (short.latest_us as f32) < MUCH_BETTER * late_us as f32;
        let target_ms =
            if is_better { short.best_ms(Some(&long)) } else { long.best_ms(Some(&long)) };
        self.target = Duration::from_millis(target_ms.clamp(*TARGET_MS.start(), *TARGET_MS.end()));
    }

    fn count(&mut self, fates: impl Iterator<Item = Fate>, frame_us: i64) {
        (self.late, self.lost) = ([0.0; BINS], 0.0);
        let (mut weights, mut late_total, mut lost_total) = (Weights::new(frame_us), 0.0, 0.0);
        for fate in fates {
            let (late, lost) = weights.next();
            late_total += late;
            lost_total += lost;
            match bin(fate.original_us) {
                Some(bin) => self.late[bin] += late,
                None if fate.original_us == NEVER => self.lost += lost,
                None => {}
            }
        }
        // At the start a single loss is not yet a share.
        self.late.iter_mut().for_each(|share| *share /= late_total + PRIOR_OBSERVATIONS);
        self.lost /= lost_total + PRIOR_OBSERVATIONS;
    }
}

/// How much observations still count, from the newest on: as lateness and as loss.
struct Weights {
    late: f32,
    lost: f32,
    late_kept: f32,
    lost_kept: f32,
}

impl Weights {
    fn new(frame_us: i64) -> Self {
        let kept = |memory_us: f32| 1.0 - (frame_us as f32 / memory_us).min(0.5);
        Self { late: 1.0, lost: 1.0, late_kept: kept(MEMORY_US), lost_kept: kept(LOSS_MEMORY_US) }
    }

    fn next(&mut self) -> (f32, f32) {
        let weights = (self.late, self.lost);
        self.late *= self.late_kept;
        self.lost *= self.lost_kept;
        weights
    }
}

impl Gains {
    fn of(fates: impl Iterator<Item = Fate>, frame_us: i64, is_lossy: bool) -> Self {
        let mut gains = Self {
            late: [0.0; BINS],
            lost: [0.0; BINS],
            late_weight: PRIOR_OBSERVATIONS,
            lost_weight: PRIOR_OBSERVATIONS,
            latest_us: 0,
        };
        gains.late[PRIOR_BIN] = PRIOR_OBSERVATIONS * ALL_LATE_MS;
        let mut weights = Weights::new(frame_us);
        for fate in fates {
            let (late, lost) = weights.next();
            gains.late_weight += late;
            gains.lost_weight += lost;
            if fate.original_us != NEVER {
                add(&mut gains.late, &fate, late * ALL_LATE_MS, COARSE_SHARE_LATE);
            } else if is_lossy {
                add(&mut gains.lost, &fate, lost * ALL_LOST_MS, COARSE_SHARE_LOST);
            }
            if fate.original_us != NEVER {
                let first_us = fate.original_us.min(fate.copy_us).min(fate.repair_us);
                gains.latest_us = gains.latest_us.max(first_us);
            }
        }
        gains
    }

    /// The delay of which the most remains after paying for it, if losses are as in `losses`.
    fn best_ms(&self, losses: Option<&Self>) -> u64 {
        let (mut won, mut best, mut most) = (0.0, 0, f32::NEG_INFINITY);
        for index in 0..BINS {
            won += self.late[index] / self.late_weight;
            won += losses.map_or(0.0, |losses| losses.lost[index] / losses.lost_weight);
            let delay_ms = (index as i64 + 1) * BIN_US / 1_000;
            if won - delay_ms as f32 > most {
                (best, most) = (delay_ms as u64, won - delay_ms as f32);
            }
        }
        best
    }
}

/// Adds what it is worth to have a frame: most of it with a coarse repair, the rest with the whole
/// frame.
fn add(by_bin: &mut [f32; BINS], fate: &Fate, worth: f32, coarse_share: f32) {
    let whole_us = fate.original_us.min(fate.copy_us);
    let is_repaired_first = fate.repair_us < whole_us;
    if let Some(bin) = bin(whole_us) {
        by_bin[bin] += worth * if is_repaired_first { coarse_share } else { 1.0 };
    }
    if let Some(bin) = bin(fate.repair_us).filter(|_| is_repaired_first) {
        by_bin[bin] += worth * (1.0 - coarse_share);
    }
}

/// The bin of a lateness, if it is one that may be waited for.
fn bin(late_us: i64) -> Option<usize> {
    usize::try_from(late_us.max(0) / BIN_US).ok().filter(|bin| *bin < BINS)
}
