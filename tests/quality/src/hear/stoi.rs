//! STOI, the short-time objective intelligibility of Taal, Hendriks, Heusdens and Jensen (2011),
//! and a spectral distance on the same third-octave bands.
//!
//! Both signals are taken to 10 kHz, frames that are silent in the clean one are left out, and in
//! each third-octave band the course of the magnitude over 384 ms is correlated between clean and
//! processed. 1 is untouched; below about 0.6 most words are lost; the same envelope without the
//! same bands gives 0.3 or less.

use std::f64::consts::PI;

use realfft::RealFftPlanner;

/// Frame and hop at 10 kHz.
const FRAME: usize = 256;
const HOP: usize = FRAME / 2;
const FFT: usize = 512;
const BANDS: usize = 15;
/// Centre of the lowest third-octave band.
const LOWEST_BAND_HZ: f64 = 150.0;
/// Frames of one correlated segment: 384 ms.
const SEGMENT: usize = 30;
/// Frames this far under the loudest clean one are silent.
const DYNAMIC_RANGE_DB: f64 = 40.0;
/// Lower bound of the signal-to-distortion ratio to which a processed band is clipped.
const CLIP_DB: f64 = -15.0;
/// Band magnitudes are compared from this far under the mean upwards.
const SPECTRAL_FLOOR_DB: f64 = -40.0;

/// How much of the speech is still in the processed signal.
#[derive(Debug, Clone, Copy)]
pub struct Intelligibility {
    /// STOI, at most 1.
    pub stoi: f64,
    /// Root mean square over bands, mean over frames, of the level difference after equalising the
    /// overall level.
    pub spectral_distance_db: f64,
}

/// Compares two aligned signals of equal length at 48 kHz.
///
/// Fewer than 30 frames of speech (0.4 s) cannot be judged: STOI 0.
#[must_use]
pub fn compare(clean: &[f32], processed: &[f32]) -> Intelligibility {
    let resampler = Resampler::new();
    let (clean, processed) = drop_silent_frames(&resampler.run(clean), &resampler.run(processed));
    let (clean, processed) = (band_magnitudes(&clean), band_magnitudes(&processed));
    Intelligibility {
        stoi: stoi(&clean, &processed),
        spectral_distance_db: spectral_distance_db(&clean, &processed),
    }
}

fn stoi(clean: &[[f64; BANDS]], processed: &[[f64; BANDS]]) -> f64 {
    let clip = 1.0 + 10_f64.powf(-CLIP_DB / 20.0);
    let mut sum = 0.0;
    let mut count = 0_usize;
    for (clean, processed) in clean.windows(SEGMENT).zip(processed.windows(SEGMENT)) {
        for band in 0..BANDS {
            let x = clean.iter().map(|frame| frame[band]);
            let y = processed.iter().map(|frame| frame[band]);
            let gain = (energy(x.clone()) / energy(y.clone()).max(f64::EPSILON)).sqrt();
            let clipped: Vec<f64> =
                x.clone().zip(y).map(|(x, y)| (gain * y).min(x * clip)).collect();
            sum += correlation(&x.collect::<Vec<f64>>(), &clipped);
            count += 1;
        }
    }
    if count == 0 { 0.0 } else { sum / count as f64 }
}

fn spectral_distance_db(clean: &[[f64; BANDS]], processed: &[[f64; BANDS]]) -> f64 {
    let total = |frames: &[[f64; BANDS]]| energy(frames.iter().flatten().copied());
    if clean.is_empty() {
        return 0.0;
    }
    let gain = (total(clean) / total(processed).max(f64::EPSILON)).sqrt();
    let mean = (total(clean) / (clean.len() * BANDS) as f64).sqrt();
    let floor = mean * 10_f64.powf(SPECTRAL_FLOOR_DB / 20.0);
    let frame_distance = |x: &[f64; BANDS], y: &[f64; BANDS]| {
        let squares = x
            .iter()
            .zip(y)
            .map(|(x, y)| (20.0 * (x.max(floor) / (gain * y).max(floor)).log10()).powi(2));
        (squares.sum::<f64>() / BANDS as f64).sqrt()
    };
    clean.iter().zip(processed).map(|(x, y)| frame_distance(x, y)).sum::<f64>() / clean.len() as f64
}

/// Cuts out of both signals the frames in which the clean one is silent, and joins the rest by
/// overlap and add.
fn drop_silent_frames(clean: &[f64], processed: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let window = hann();
    let starts: Vec<usize> = frame_starts(clean.len()).collect();
    let level_db = |start: &usize| {
        let squares = clean[*start..*start + FRAME]
            .iter()
            .zip(&window)
            .map(|(sample, weight)| (sample * weight).powi(2));
        10.0 * (squares.sum::<f64>() + f64::EPSILON).log10()
    };
    let levels: Vec<f64> = starts.iter().map(level_db).collect();
    let loudest = levels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let kept: Vec<usize> = starts
        .iter()
        .zip(&levels)
        .filter(|(_, level)| **level > loudest - DYNAMIC_RANGE_DB)
        .map(|(start, _)| *start)
        .collect();
    let join = |signal: &[f64]| {
        let mut joined =
            vec![0.0; if kept.is_empty() { 0 } else { (kept.len() - 1) * HOP + FRAME }];
        for (index, start) in kept.iter().enumerate() {
            for offset in 0..FRAME {
                joined[index * HOP + offset] += signal[start + offset] * window[offset];
            }
        }
        joined
    };
    (join(clean), join(processed))
}

/// For each frame the magnitude in each third-octave band.
fn band_magnitudes(signal: &[f64]) -> Vec<[f64; BANDS]> {
    let window = hann();
    let transform = RealFftPlanner::<f64>::new().plan_fft_forward(FFT);
    let mut input = transform.make_input_vec();
    let mut spectrum = transform.make_output_vec();
    let edges = band_edges();
    let mut bands = Vec::new();
    for start in frame_starts(signal.len()) {
        input.fill(0.0);
        for offset in 0..FRAME {
            input[offset] = signal[start + offset] * window[offset];
        }
        transform.process(&mut input, &mut spectrum).expect("buffers made by the transform itself");
        bands.push(edges.map(|(low, high)| {
            spectrum[low..high].iter().map(|bin| bin.norm_sqr()).sum::<f64>().sqrt()
        }));
    }
    bands
}

/// First and last-plus-one bin of every band: the bins nearest to a sixth of an octave under and
/// over its centre.
fn band_edges() -> [(usize, usize); BANDS] {
    let bin = |hz: f64| (hz * FFT as f64 / RATE_HZ).round() as usize;
    std::array::from_fn(|band| {
        let centre_thirds = band as f64;
        let edge = |sixths: f64| LOWEST_BAND_HZ * 2_f64.powf(centre_thirds / 3.0 + sixths / 6.0);
        (bin(edge(-1.0)), bin(edge(1.0)))
    })
}

fn frame_starts(samples: usize) -> impl Iterator<Item = usize> {
    let frames = if samples < FRAME { 0 } else { (samples - FRAME) / HOP + 1 };
    (0..frames).map(|frame| frame * HOP)
}

/// A Hann window without its two zeros.
fn hann() -> [f64; FRAME] {
    std::array::from_fn(|n| 0.5 - 0.5 * (2.0 * PI * (n + 1) as f64 / (FRAME + 1) as f64).cos())
}

fn energy(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum()
}

/// Pearson's; 0 where one side is constant.
pub(super) fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - mean_x, y - mean_y);
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    let scale = (xx * yy).sqrt();
    if scale > f64::MIN_POSITIVE { xy / scale } else { 0.0 }
}

const RATE_HZ: f64 = 10_000.0;

/// 48 kHz to 10 kHz: a windowed sinc at the common rate of 240 kHz, evaluated only where it is
/// needed.
struct Resampler {
    /// Odd number of taps, the middle one at time zero.
    taps: Vec<f64>,
}

impl Resampler {
    const UP: usize = 5;
    const DOWN: usize = 24;
    const REJECTION_DB: f64 = 60.0;
    /// Width of the transition band as a part of the cutoff.
    const ROLL_OFF: f64 = 0.1;

    fn new() -> Self {
        // Cycles per sample at the common rate.
        let cutoff = 0.5 / Self::DOWN as f64;
        let half = ((Self::REJECTION_DB - 8.0) / (28.714 * cutoff * Self::ROLL_OFF)).ceil() as i32;
        let beta = 0.1102 * (Self::REJECTION_DB - 8.7);
        let tap = |n: i32| {
            let phase = 2.0 * cutoff * f64::from(n);
            let sinc = if n == 0 { 1.0 } else { (PI * phase).sin() / (PI * phase) };
            let position = f64::from(n) / f64::from(half);
            let kaiser = bessel_i0(beta * (1.0 - position * position).sqrt()) / bessel_i0(beta);
            2.0 * cutoff * Self::UP as f64 * sinc * kaiser
        };
        Self { taps: (-half..=half).map(tap).collect() }
    }

    fn run(&self, input: &[f32]) -> Vec<f64> {
        let half = self.taps.len() / 2;
        let output_len = (input.len() * Self::UP).div_ceil(Self::DOWN);
        let sample = |index: usize| {
            let centre = index * Self::DOWN;
            // Input samples sit at multiples of UP; those within the filter's reach contribute.
            let first = (centre.saturating_sub(half)).div_ceil(Self::UP);
            let last = ((centre + half) / Self::UP).min(input.len().saturating_sub(1));
            (first..=last)
                .map(|at| f64::from(input[at]) * self.taps[at * Self::UP + half - centre])
                .sum()
        };
        if input.is_empty() { Vec::new() } else { (0..output_len).map(sample).collect() }
    }
}

/// Modified Bessel function of the first kind and order zero.
fn bessel_i0(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..60 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}
