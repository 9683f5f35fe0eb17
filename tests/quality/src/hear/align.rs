//! Where in the recording each part of the speech is.
//!
//! Envelopes are compared, not waveforms: a codec keeps the first and not the second. One lag for
//! the whole recording comes from the correlation of both envelopes. Around it every 100 ms block
//! of speech gets its own lag, in steps of 1 ms: the path through all blocks with the best sum of
//! local correlations (over 800 ms) minus a price for every change of lag. So a clock that drifts,
//! a jitter buffer that adapts, or a route with another delay is followed, and a hole, which no
//! other lag can explain, is not. How far a block may stray from the one lag is the caller's
//! choice.

use super::SAMPLES_PER_MS;
use super::stoi::correlation;

/// Distance of the blocks that have a lag of their own.
const BLOCK_MS: usize = 100;
/// Length of speech by which a block's lag is judged.
const WINDOW_MS: usize = 800;
/// Step of the search for the one lag.
const COARSE_MS: usize = 5;
/// Envelope values, as parts of the loudest, over which speech is active (−21 dB) and under which
/// the recording is silent (−33 dB).
const ACTIVE_PART: f64 = 0.3;
const SILENT_PART: f64 = 0.15;
/// Crossfade where one block's lag differs from the last one's.
const FADE_SAMPLES: usize = 5 * SAMPLES_PER_MS;
/// Price of a change of lag, in units of one window's correlation: once, per millisecond, at most.
const CHANGE_PRICE: f64 = 0.2;
const CHANGE_PRICE_PER_MS: f64 = 0.005;
const CHANGE_PRICE_MOST: f64 = 1.0;

/// The recording brought to the time of the speech.
pub struct Aligned {
    /// As long as the speech; zero where the recording has nothing.
    pub heard: Vec<f32>,
    /// Lag of every block of 100 ms.
    pub lags_ms: Vec<i32>,
}

impl Aligned {
    /// The middle one of all lags.
    pub fn median_lag_ms(&self) -> i32 {
        let mut sorted = self.lags_ms.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }

    /// Parts of the speech that the recording jumps over: position and length, in milliseconds of
    /// speech.
    pub fn skipped_ms(&self) -> impl Iterator<Item = (usize, usize)> {
        self.lags_ms.windows(2).enumerate().filter_map(|(block, pair)| {
            let fall = usize::try_from(pair[0] - pair[1]).ok()?;
            (fall > 0).then_some(((block + 1) * BLOCK_MS, fall))
        })
    }
}

/// Aligns `heard` with `spoken`, every block within `wander_ms` of the one lag.
pub fn align(spoken: &[f32], heard: &[f32], wander_ms: i32) -> Aligned {
    let spoken_envelope = envelope(spoken);
    let heard_envelope = envelope(heard);
    let lag_ms = one_lag_ms(&spoken_envelope, &heard_envelope);
    let lags_ms = lag_path_ms(&spoken_envelope, &heard_envelope, lag_ms, wander_ms);
    Aligned { heard: shift(spoken.len(), heard, &lags_ms), lags_ms }
}

/// Root of the RMS over 10 ms, for every millisecond; the root lets quiet syllables count too.
fn envelope(samples: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; samples.len() + 1];
    for (index, sample) in samples.iter().enumerate() {
        sums[index + 1] = sums[index] + f64::from(*sample).powi(2);
    }
    let half = 5 * SAMPLES_PER_MS;
    (0..samples.len() / SAMPLES_PER_MS)
        .map(|ms| {
            let centre = ms * SAMPLES_PER_MS;
            let (first, last) = (centre.saturating_sub(half), (centre + half).min(samples.len()));
            ((sums[last] - sums[first]) / (last - first).max(1) as f64).powf(0.25)
        })
        .collect()
}

/// The lag with the best correlation over the whole speech; silence is assumed around the
/// recording.
fn one_lag_ms(spoken: &[f64], heard: &[f64]) -> i32 {
    let thin = |values: &[f64]| values.iter().step_by(COARSE_MS).copied().collect::<Vec<f64>>();
    let (spoken, heard) = (thin(spoken), thin(heard));
    // The recording may begin after up to half of the speech.
    let earliest = -(spoken.len() as i32 / 2);
    let score = |lag: i32| {
        let piece: Vec<f64> =
            (0..spoken.len() as i32).map(|at| at_or_zero(&heard, at + lag)).collect();
        correlation(&spoken, &piece)
    };
    let best = (earliest..heard.len() as i32)
        .map(|lag| (lag, score(lag)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    best.map_or(0, |(lag, _)| lag * COARSE_MS as i32)
}

/// The lag of every block: the cheapest path (Viterbi) through all lags within `wander_ms`.
fn lag_path_ms(spoken: &[f64], heard: &[f64], lag_ms: i32, wander_ms: i32) -> Vec<i32> {
    let blocks = spoken.len().div_ceil(BLOCK_MS);
    let lags: Vec<i32> = (lag_ms - wander_ms..=lag_ms + wander_ms).collect();
    let price = |from: usize, to: usize| match from.abs_diff(to) {
        0 => 0.0,
        change => (CHANGE_PRICE + CHANGE_PRICE_PER_MS * change as f64).min(CHANGE_PRICE_MOST),
    };
    let mut scores = vec![0.0; lags.len()];
    let mut came_from: Vec<Vec<usize>> = Vec::with_capacity(blocks);
    for block in 0..blocks {
        let local = window_scores(spoken, heard, block, &lags);
        let best_way = |to: usize| {
            let ways = (0..lags.len()).map(|from| (from, scores[from] - price(from, to)));
            ways.fold((to, f64::NEG_INFINITY), |best, way| if way.1 > best.1 { way } else { best })
        };
        let ways: Vec<(usize, f64)> = (0..lags.len()).map(best_way).collect();
        scores = ways.iter().zip(&local).map(|((_, score), local)| score + local).collect();
        came_from.push(ways.into_iter().map(|(from, _)| from).collect());
    }
    let last = (0..lags.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap_or(0);
    let mut path = Vec::with_capacity(blocks);
    let mut state = last;
    for from in came_from.iter().rev() {
        path.push(lags[state]);
        state = from[state];
    }
    path.reverse();
    path
}

/// Correlation of the window around a block with the recording at every lag, weighted by how much
/// happens in the window.
///
/// Where speech meets silence there is a hole or a wrong lag. Such places are left out of the
/// correlation and lower the score by their share only: a hole must not make a wrong lag, which
/// puts a pause of the speech there, look better than the right one.
fn window_scores(spoken: &[f64], heard: &[f64], block: usize, lags: &[i32]) -> Vec<f64> {
    let centre = block * BLOCK_MS + BLOCK_MS / 2;
    let first = centre.saturating_sub(WINDOW_MS / 2);
    let last = (centre + WINDOW_MS / 2).min(spoken.len());
    let loudest = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let (loudest_spoken, loudest_heard) = (loudest(spoken), loudest(heard));
    if loudest_spoken <= 0.0 || first >= last {
        return vec![0.0; lags.len()];
    }
    let window = &spoken[first..last];
    let least = window.iter().copied().fold(f64::INFINITY, f64::min);
    let weight = (loudest(window) - least) / loudest_spoken;
    let (mut left, mut right) =
        (Vec::with_capacity(window.len()), Vec::with_capacity(window.len()));
    lags.iter()
        .map(|lag| {
            left.clear();
            right.clear();
            for (offset, said) in window.iter().enumerate() {
                let there = at_or_zero(heard, (first + offset) as i32 + lag);
                if *said < ACTIVE_PART * loudest_spoken || there > SILENT_PART * loudest_heard {
                    left.push(*said);
                    right.push(there);
                }
            }
            weight * correlation(&left, &right) * left.len() as f64 / window.len() as f64
        })
        .collect()
}

/// The recording's samples at the speech's times, faded over 5 ms where the lag changes.
fn shift(len: usize, heard: &[f32], lags_ms: &[i32]) -> Vec<f32> {
    let sample = |at: usize, lag_ms: i32| {
        let index = at as i64 + i64::from(lag_ms) * SAMPLES_PER_MS as i64;
        usize::try_from(index).ok().and_then(|index| heard.get(index)).copied().unwrap_or(0.0)
    };
    let block_samples = BLOCK_MS * SAMPLES_PER_MS;
    (0..len)
        .map(|at| {
            let block = (at / block_samples).min(lags_ms.len().saturating_sub(1));
            let Some(&lag) = lags_ms.get(block) else { return 0.0 };
            let into = at - block * block_samples;
            let before = block.checked_sub(1).map_or(lag, |previous| lags_ms[previous]);
            if lag == before || into >= FADE_SAMPLES {
                return sample(at, lag);
            }
            let share = into as f32 / FADE_SAMPLES as f32;
            sample(at, lag) * share + sample(at, before) * (1.0 - share)
        })
        .collect()
}

fn at_or_zero(values: &[f64], index: i32) -> f64 {
    usize::try_from(index).ok().and_then(|index| values.get(index)).copied().unwrap_or(0.0)
}
