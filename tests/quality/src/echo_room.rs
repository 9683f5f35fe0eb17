//! A room between a loudspeaker and a microphone, made from a seed.

use std::fmt;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use realfft::RealFftPlanner;

use crate::noise_sources::{active_level_dbfs, gaussian};

const SAMPLE_RATE: f64 = 48_000.0;

/// Samples of sound that are convolved at a time.
const STEP: usize = 16_384;

/// How a room sounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    /// How long the echo takes to fall by 60 dB.
    pub rt60_ms: f64,
    /// Level of the echo under what is played, both without pauses.
    pub loss_db: f64,
    /// Which of all such rooms.
    pub seed: u64,
}

impl Room {
    /// What the microphone hears of what is played, with these delays from these samples on. At a
    /// change of the delay the old sound ends where it is, as it does when a device is opened anew.
    ///
    /// # Panics
    /// If the first delay does not begin at the first sample.
    #[must_use]
    pub fn echo(&self, played: &[f32], delays: &[(usize, usize)]) -> Vec<f32> {
        assert_eq!(delays[0].0, 0, "the first delay begins at the first sample");
        let mut undelayed = convolve(played, &self.impulse_response());
        let gain = 10_f64
            .powf((active_level_dbfs(played) - self.loss_db - active_level_dbfs(&undelayed)) / 20.0)
            as f32;
        undelayed.iter_mut().for_each(|sample| *sample *= gain);
        let delay_at = |index: usize| {
            delays.iter().rev().find(|(from, _)| *from <= index).map_or(0, |(_, delay)| *delay)
        };
        (0..played.len())
            .map(|index| index.checked_sub(delay_at(index)).map_or(0.0, |source| undelayed[source]))
            .collect()
    }

    /// The direct sound, then reflections that fall exponentially.
    fn impulse_response(&self) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let samples = (self.rt60_ms / 1_000.0 * SAMPLE_RATE) as usize;
        let decay = (1_000_f64).ln() / samples as f64;
        let mut response: Vec<f32> = (0..samples)
            .map(|index| (0.05 * gaussian(&mut random) * (-decay * index as f64).exp()) as f32)
            .collect();
        response[..48].fill(0.0); // nothing reflects within 34 cm
        response[0] = 1.0;
        response
    }
}

impl fmt::Display for Room {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rt60_ms, loss_db, seed } = self;
        write!(out, "room of {rt60_ms} ms, {loss_db} dB under what is played, seed {seed}")
    }
}

/// The first samples of a convolution, as many as there are of sound.
fn convolve(sound: &[f32], response: &[f32]) -> Vec<f32> {
    let size = (STEP + response.len()).next_power_of_two();
    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
    let spectrum = |samples: &[f32]| {
        let mut padded = vec![0.0; size];
        padded[..samples.len()].copy_from_slice(samples);
        let mut spectrum = forward.make_output_vec();
        forward.process(&mut padded, &mut spectrum).expect("lengths fit");
        spectrum
    };
    let response = spectrum(response);
    let mut out = vec![0.0; sound.len() + size];
    for (step, samples) in sound.chunks(STEP).enumerate() {
        let mut product = spectrum(samples);
        product.iter_mut().zip(&response).for_each(|(bin, response)| *bin *= response);
        let mut part = vec![0.0; size];
        inverse.process(&mut product, &mut part).expect("lengths fit");
        for (out, part) in out[step * STEP..].iter_mut().zip(part) {
            *out += part / size as f32;
        }
    }
    out.truncate(sound.len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{noise_sources::mean_square, speech};

    #[test]
    fn convolution_in_steps_is_convolution() {
        let sound: Vec<f32> =
            (0..40_000).map(|index| ((index * 7919) % 101) as f32 / 101.0 - 0.5).collect();
        let response: Vec<f32> =
            (0..300).map(|index| ((index * 31) % 17) as f32 / 17.0 - 0.5).collect();
        let fast = convolve(&sound, &response);
        for index in [0, 1, 299, 16_383, 16_384, 16_500, 39_999] {
            let exact: f32 = response
                .iter()
                .zip(sound[..=index].iter().rev())
                .map(|(tap, sample)| tap * sample)
                .sum();
            assert!((fast[index] - exact).abs() < 1e-3, "at {index}: {} and {exact}", fast[index]);
        }
    }

    #[test]
    fn an_echo_has_its_level_and_its_delay_and_a_change_of_delay() {
        let played = speech::load("numbers");
        let room = Room { rt60_ms: 200.0, loss_db: 6.0, seed: 1 };
        let echo = room.echo(&played, &[(0, 1_920), (96_000, 5_760)]);
        assert!((active_level_dbfs(&played) - active_level_dbfs(&echo) - 6.0).abs() < 1.0);
        assert_eq!(mean_square(&echo[..1_920]), 0.0);
        let later = room.echo(&played, &[(0, 5_760)]);
        assert_eq!(echo[96_000..], later[96_000..]);
        assert_ne!(echo[..96_000], later[..96_000]);
    }
}
