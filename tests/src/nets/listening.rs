//! What a recording holds of speech that went on all the time: gaps, and the delay from mouth to
//! ear over time.
//!
//! All times are seconds on one clock of the caller's choice. The delay of every moment is where
//! the loudness of the recording over 1.2 s correlates best with that of the speech; so concealed
//! and time-stretched speech is matched too. The resolution is 5 ms.

use crate::wav::SAMPLE_RATE;

const RATE: f64 = SAMPLE_RATE as f64;
/// One step of the loudness comparison.
const STEP_S: f64 = 0.005;
const STEP_SAMPLES: usize = SAMPLE_RATE as usize / 200;
/// Steps of one comparison, and between two.
const WINDOW: usize = 240;
const HOP: usize = 50;
/// Longest delay that is looked for: 6 s.
const MAX_DELAY: usize = 1_200;
/// Devices move 10 ms at a time: a sample that is recorded at a moment was complete at the mouth 10
/// ms after its beginning.
const DEVICE_MS: f64 = 10.0;
/// Comparisons below this found something else.
const MIN_CORRELATION: f64 = 0.72;
/// Loudness (log10 of the RMS) under which a step is quiet, and the most of a window that may be.
const QUIET: f64 = -2.7;
const MAX_QUIET_SHARE: f64 = 0.35;
/// The floor of the loudness.
const FLOOR: f64 = 1e-3;
/// A gap is at least this long and no louder than this (10 ms frames).
const MIN_GAP_S: f64 = 0.06;
const GAP_FRAME_S: f64 = 0.01;
const GAP_DBFS: f64 = -52.0;
/// The speech has to be this loud for a quiet recording to be a gap.
const SPOKEN_DBFS: f64 = -46.0;
/// A comparison that is right agrees with the one before or after it.
const AGREEMENT_MS: f64 = 60.0;
/// Delays this near tell what was spoken during a gap.
const NEAR_S: f64 = 4.0;

/// Samples at 48 kHz whose first one belongs to this moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Seconds on the caller's clock.
    pub begins_at: f64,
    /// Mono samples.
    pub samples: Vec<f32>,
}

/// A stretch in which nothing was heard although there was speech.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gap {
    /// Where it begins.
    pub at: f64,
    /// Its length.
    pub seconds: f64,
}

/// The delay from mouth to ear at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Delay {
    /// The middle of the comparison.
    pub at: f64,
    /// Milliseconds.
    pub ms: f64,
}

/// What was heard between two moments.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// The first sound.
    pub first_at: Option<f64>,
    /// Stretches without sound after it, in order.
    pub gaps: Vec<Gap>,
    /// Delays in order; none where the recording is silent or matches nothing.
    pub delays: Vec<Delay>,
}

/// Compares what was spoken in a loop, from `spoken.begins_at` on, with a recording from `from` to
/// `until`.
#[must_use]
pub fn listen(spoken: &Track, heard: &Track, from: f64, until: f64) -> Heard {
    let delays = delays(spoken, heard, from, until);
    let levels = levels(&heard.samples, GAP_FRAME_S);
    let frame_at = |at: f64| ((at - heard.begins_at) / GAP_FRAME_S).max(0.0) as usize;
    let last = frame_at(until).min(levels.len());
    let loud = |frame: usize| levels[frame] > GAP_DBFS;
    let Some(first) = (frame_at(from)..last).find(|frame| loud(*frame)) else {
        return Heard { first_at: None, gaps: Vec::new(), delays };
    };
    let time_of = |frame: usize| heard.begins_at + frame as f64 * GAP_FRAME_S;
    let speech =
        Speech { levels: self::levels(&spoken.samples, GAP_FRAME_S), begins_at: spoken.begins_at };
    let mut gaps = Vec::new();
    let mut frame = first;
    while frame < last {
        let end = (frame..last).find(|later| loud(*later)).unwrap_or(last);
        let gap = Gap { at: time_of(frame), seconds: (end - frame) as f64 * GAP_FRAME_S };
        // Half a frame of tolerance, since lengths are sums of frames.
        if gap.seconds > MIN_GAP_S - GAP_FRAME_S / 2.0 && speech.went_on_during(gap, &delays) {
            gaps.push(gap);
        }
        frame = end.max(frame) + 1;
    }
    Heard { first_at: Some(time_of(first)), gaps, delays }
}

impl Heard {
    /// Length of all gaps after a moment, in seconds.
    #[must_use]
    pub fn lost_after(&self, at: f64) -> f64 {
        // Not a negative zero, which is the sum of nothing.
        self.gaps_after(at).map(|gap| gap.seconds).sum::<f64>() + 0.0
    }

    /// The longest of them.
    #[must_use]
    pub fn longest_gap_after(&self, at: f64) -> f64 {
        self.gaps_after(at).map(|gap| gap.seconds).fold(0.0, f64::max)
    }

    /// The median delay after a moment, in milliseconds.
    #[must_use]
    pub fn median_delay_after(&self, at: f64) -> Option<f64> {
        median(self.delays.iter().filter(|delay| delay.at >= at).map(|delay| delay.ms).collect())
    }

    /// The longest delay after a moment, in milliseconds.
    #[must_use]
    pub fn longest_delay_after(&self, at: f64) -> Option<f64> {
        self.delays
            .iter()
            .filter(|delay| delay.at >= at)
            .map(|delay| delay.ms)
            .max_by(f64::total_cmp)
    }

    /// Gaps that end after a moment; one that began before counts from that moment.
    fn gaps_after(&self, at: f64) -> impl Iterator<Item = Gap> {
        let cut = move |gap: &Gap| Gap {
            at: gap.at.max(at),
            seconds: gap.at + gap.seconds - gap.at.max(at),
        };
        self.gaps.iter().map(cut).filter(|gap| gap.seconds > 0.0)
    }
}

/// How loud the looped speech was.
struct Speech {
    levels: Vec<f64>,
    begins_at: f64,
}

impl Speech {
    /// Whether the speech that should have been heard during a gap was loud for more than half of
    /// it.
    fn went_on_during(&self, gap: Gap, delays: &[Delay]) -> bool {
        let near = |delay: &&Delay| (delay.at - gap.at).abs() < NEAR_S;
        let of = |delays: Vec<f64>| median(delays);
        let delay = of(delays.iter().filter(near).map(|delay| delay.ms).collect())
            .or_else(|| of(delays.iter().map(|delay| delay.ms).collect()))
            .unwrap_or(0.0);
        let begins = ((gap.at - delay / 1e3 - self.begins_at) / GAP_FRAME_S).round() as i64;
        let frames = (gap.seconds / GAP_FRAME_S).round().max(1.0) as i64;
        let loud = (begins..begins + frames).filter(|frame| {
            let level =
                usize::try_from(*frame).ok().map(|frame| self.levels[frame % self.levels.len()]);
            level.is_some_and(|level| level > SPOKEN_DBFS)
        });
        loud.count() as i64 * 2 > frames
    }
}

fn delays(spoken: &Track, heard: &Track, from: f64, until: f64) -> Vec<Delay> {
    let (speech, ear) = (loudness(&spoken.samples), loudness(&heard.samples));
    let step_at = |at: f64| ((at - heard.begins_at) / STEP_S).max(0.0) as usize;
    let first = step_at(from);
    let last = step_at(until).min(ear.len()).saturating_sub(WINDOW);
    let windows = (first..last).step_by(HOP).filter_map(|begin| {
        let window = &ear[begin..begin + WINDOW];
        let quiet = window.iter().filter(|loudness| **loudness < QUIET).count();
        if quiet as f64 > MAX_QUIET_SHARE * WINDOW as f64 {
            return None;
        }
        // Where this window would be in the speech if it had taken no time.
        let at = heard.begins_at + begin as f64 * STEP_S;
        let spoken_step = ((at - spoken.begins_at) / STEP_S).round() as i64;
        let before = |step: i64| {
            usize::try_from(step).map_or(FLOOR.log10(), |step| speech[step % speech.len()])
        };
        let reference: Vec<f64> =
            (spoken_step - MAX_DELAY as i64..=spoken_step + WINDOW as i64).map(before).collect();
        let (delay, correlation) = (0..=MAX_DELAY)
            .map(|delay| (delay, correlation(&reference[MAX_DELAY - delay..][..WINDOW], window)))
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        let middle = at + WINDOW as f64 * STEP_S / 2.0;
        let ms = delay as f64 * STEP_S * 1e3 + DEVICE_MS;
        (correlation > MIN_CORRELATION).then_some(Delay { at: middle, ms })
    });
    confirmed(&windows.collect::<Vec<Delay>>())
}

/// Without chance matches: those that neither neighbour agrees with.
fn confirmed(delays: &[Delay]) -> Vec<Delay> {
    let agrees = |a: &Delay, b: &Delay| {
        (a.ms - b.ms).abs() <= AGREEMENT_MS && (a.at - b.at).abs() <= 2.0 * HOP as f64 * STEP_S
    };
    let before = |index: usize| index.checked_sub(1).and_then(|index| delays.get(index));
    let kept = delays.iter().enumerate().filter(|(index, delay)| {
        before(*index).is_some_and(|other| agrees(other, delay))
            || delays.get(index + 1).is_some_and(|other| agrees(other, delay))
    });
    kept.map(|(_, delay)| *delay).collect()
}

/// Logarithm of the RMS of every step.
fn loudness(samples: &[f32]) -> Vec<f64> {
    samples.chunks_exact(STEP_SAMPLES).map(|step| (rms(step) + FLOOR).log10()).collect()
}

fn levels(samples: &[f32], frame_s: f64) -> Vec<f64> {
    samples
        .chunks_exact((frame_s * RATE) as usize)
        .map(|frame| 20.0 * (rms(frame) + 1e-9).log10())
        .collect()
}

fn rms(samples: &[f32]) -> f64 {
    (samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64)
        .sqrt()
}

/// Pearson's.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut both, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        (both, of_a, of_b) = (both + a * b, of_a + a * a, of_b + b * b);
    }
    both / (of_a * of_b).sqrt().max(1e-9)
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests;
