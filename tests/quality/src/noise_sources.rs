//! Noises to speak against, made from a seed, and sounds at a stated distance from each other.

use std::fmt;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::speech;

/// Frames of the level measure: 10 ms.
pub const FRAME_SAMPLES: usize = 480;

/// A frame belongs to speech if the clean sound is at most this far under its active level.
pub const ACTIVE_RANGE_DB: f64 = 20.0;

/// What disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// The same energy in each hertz: hiss.
    White,
    /// The same energy in each octave: rain, a fan near by.
    Pink,
    /// Falling by 6 dB an octave: traffic, an aeroplane's cabin.
    Brown,
    /// Twelve voices at once.
    Babble,
}

impl Noise {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::White, Self::Pink, Self::Brown, Self::Babble];

    /// So many samples at an RMS of one.
    #[must_use]
    pub fn make(self, seed: u64, samples: usize) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut white = || gaussian(&mut random);
        let mut made: Vec<f64> = match self {
            Self::White => (0..samples).map(|_| white()).collect(),
            Self::Pink => {
                // A sum of leaky integrators an octave or two apart falls by 3 dB an octave between
                // 10 Hz and 20 kHz.
                let poles = [0.998_9, 0.995, 0.98, 0.92, 0.7, 0.0];
                let weights = [0.035, 0.07, 0.135, 0.27, 0.55, 0.5];
                let mut states = [0.0; 6];
                let mut step = || {
                    let input = white();
                    for ((state, pole), weight) in states.iter_mut().zip(poles).zip(weights) {
                        *state = *state * pole + input * weight;
                    }
                    states.iter().sum()
                };
                (0..samples).map(|_| step()).collect()
            }
            Self::Brown => {
                let mut state = 0.0;
                let mut step = || {
                    state = state * 0.998 + white();
                    state
                };
                (0..samples).map(|_| step()).collect()
            }
            Self::Babble => babble(&mut random, samples),
        };
        let rms =
            (made.iter().map(|sample| sample * sample).sum::<f64>() / samples.max(1) as f64).sqrt();
        made.iter_mut().for_each(|sample| *sample /= rms);
        made.into_iter().map(|sample| sample as f32).collect()
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::White => "white",
            Self::Pink => "pink",
            Self::Brown => "brown",
            Self::Babble => "babble",
        })
    }
}

/// A number of mean zero and variance one.
pub fn gaussian(random: &mut impl RngExt) -> f64 {
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// Twelve voices at the same level, each beginning somewhere, over and over.
fn babble(random: &mut ChaCha8Rng, samples: usize) -> Vec<f64> {
    let mut sum = vec![0.0; samples];
    for talker in 0..12 {
        let voice = speech::load(speech::VOICES[talker % speech::VOICES.len()]);
        let start = random.random_range(0..voice.len());
        for (sum, sample) in sum.iter_mut().zip(voice.iter().cycle().skip(start)) {
            *sum += f64::from(*sample);
        }
    }
    sum
}

/// The level of each frame in dBFS.
#[must_use]
pub fn frame_levels_dbfs(samples: &[f32]) -> Vec<f64> {
    samples
        .chunks_exact(FRAME_SAMPLES)
        .map(|frame| 10.0 * mean_square(frame).max(1e-12).log10())
        .collect()
}

/// The mean square of samples.
#[must_use]
pub fn mean_square(samples: &[f32]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>()
        / samples.len().max(1) as f64
}

/// The level of speech without its pauses: the mean energy of the frames within [`ACTIVE_RANGE_DB`]
/// of that mean.
#[must_use]
pub fn active_level_dbfs(samples: &[f32]) -> f64 {
    let levels = frame_levels_dbfs(samples);
    let mut active = 10.0 * mean_square(samples).max(1e-12).log10();
    for _ in 0..10 {
        let energies: Vec<f64> = levels
            .iter()
            .filter(|level| **level > active - ACTIVE_RANGE_DB)
            .map(|level| 10_f64.powf(level / 10.0))
            .collect();
        active =
            10.0 * (energies.iter().sum::<f64>() / energies.len().max(1) as f64).max(1e-12).log10();
    }
    active
}

/// Which frames of clean speech belong to speech.
#[must_use]
pub fn speech_frames(clean: &[f32]) -> Vec<bool> {
    let threshold = active_level_dbfs(clean) - ACTIVE_RANGE_DB;
    frame_levels_dbfs(clean).into_iter().map(|level| level > threshold).collect()
}

/// Clean speech and noise so many decibels under its active level.
#[must_use]
pub fn with_noise(clean: &[f32], noise: Noise, snr_db: f64, seed: u64) -> Vec<f32> {
    let gain = 10_f64.powf((active_level_dbfs(clean) - snr_db) / 20.0) as f32;
    clean
        .iter()
        .zip(noise.make(seed, clean.len()))
        .map(|(speech, noise)| speech + gain * noise)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Energy between two frequencies, from a bank of plain correlations.
    fn energy(samples: &[f32], frequencies_hz: impl Iterator<Item = f64>) -> f64 {
        let mut sum = 0.0;
        for frequency in frequencies_hz {
            let (mut real, mut imaginary) = (0.0, 0.0);
            for (index, sample) in samples.iter().enumerate() {
                let angle = std::f64::consts::TAU * frequency * index as f64 / 48_000.0;
                real += f64::from(*sample) * angle.cos();
                imaginary += f64::from(*sample) * angle.sin();
            }
            sum += real * real + imaginary * imaginary;
        }
        sum
    }

    #[test]
    fn each_noise_falls_as_its_colour_says() {
        for (noise, fall_db) in [(Noise::White, 0.0), (Noise::Pink, 9.0), (Noise::Brown, 18.0)] {
            let samples = noise.make(7, 48_000);
            let around =
                |hz: f64| (0..60).map(move |step| hz * (0.9 + 0.2 * f64::from(step) / 60.0));
            let found = 10.0
                * (energy(&samples, around(500.0)) / energy(&samples, around(4_000.0))).log10();
            assert!((found - fall_db).abs() < 3.0, "{noise}: {found} dB from 500 Hz to 4 kHz");
        }
    }

    #[test]
    fn speech_in_noise_has_the_stated_distance() {
        let clean = speech::load("cards");
        let noisy = with_noise(&clean, Noise::Pink, 10.0, 3);
        let noise: Vec<f32> =
            noisy.iter().zip(&clean).map(|(noisy, clean)| noisy - clean).collect();
        let distance = active_level_dbfs(&clean) - 10.0 * mean_square(&noise).log10();
        assert!((distance - 10.0).abs() < 0.1, "{distance}");
    }

    #[test]
    fn the_same_seed_makes_the_same_noise() {
        assert_eq!(Noise::Babble.make(5, 1_000), Noise::Babble.make(5, 1_000));
        assert_ne!(Noise::White.make(5, 1_000), Noise::White.make(6, 1_000));
    }
}
