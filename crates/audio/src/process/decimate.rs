//! 48 kHz to the 16 kHz that the voice detector listens to.

use std::f64::consts::PI;

use crate::{BLOCK_SAMPLES, Block};

/// Samples of the slower rate per sample of the faster.
const FACTOR: usize = 3;

/// Samples that a block becomes.
pub(super) const DECIMATED_SAMPLES: usize = BLOCK_SAMPLES / FACTOR;

/// Length of the low-pass filter; it delays by half of this, 0.6 ms.
const TAPS: usize = 61;

/// What is above it is taken away; 8 kHz would fold back onto itself.
const CUT_OFF_HZ: f64 = 7_200.0;

const HISTORY: usize = TAPS - 1;

/// A low-pass filter of which every third sample is computed.
#[derive(Clone, Debug)]
pub(super) struct Decimator {
    taps: [f32; TAPS],
    /// The end of the last block, then the block.
    samples: [f32; HISTORY + BLOCK_SAMPLES],
}

impl Decimator {
    pub fn new() -> Self {
        Self { taps: low_pass(), samples: [0.0; HISTORY + BLOCK_SAMPLES] }
    }

    pub fn decimate(&mut self, block: &Block) -> [f32; DECIMATED_SAMPLES] {
        self.samples.copy_within(BLOCK_SAMPLES.., 0);
        self.samples[HISTORY..].copy_from_slice(block);
        std::array::from_fn(|index| {
            let window = &self.samples[index * FACTOR..index * FACTOR + TAPS];
            window.iter().zip(&self.taps).map(|(sample, tap)| sample * tap).sum()
        })
    }

    /// Forgets what was heard.
    pub fn reset(&mut self) {
        self.samples.fill(0.0);
    }
}

/// A sinc under a Hamming window, with a gain of one.
fn low_pass() -> [f32; TAPS] {
    let middle = HISTORY as f64 / 2.0;
    let taps: [f64; TAPS] = std::array::from_fn(|index| {
        let offset = index as f64 - middle;
        let angle = 2.0 * PI * CUT_OFF_HZ / 48_000.0 * offset;
        let sinc = if offset == 0.0 { 1.0 } else { angle.sin() / angle };
        sinc * (0.54 - 0.46 * (2.0 * PI * index as f64 / HISTORY as f64).cos())
    });
    let sum: f64 = taps.iter().sum();
    taps.map(|tap| (tap / sum) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::rms_dbfs;

    fn gain_db(frequency_hz: f32) -> f32 {
        let mut decimator = Decimator::new();
        let tone = |block: usize| -> Block {
            std::array::from_fn(|index| {
                let time = (block * BLOCK_SAMPLES + index) as f32 / 48_000.0;
                0.5 * (std::f32::consts::TAU * frequency_hz * time).sin()
            })
        };
        decimator.decimate(&tone(0));
        rms_dbfs(&decimator.decimate(&tone(1))) - rms_dbfs(&tone(1))
    }

    #[test]
    fn the_voices_band_passes_and_what_would_fold_back_into_it_does_not() {
        for frequency_hz in [200.0, 1_000.0, 4_000.0, 6_000.0] {
            assert!(
                gain_db(frequency_hz).abs() < 0.5,
                "{frequency_hz} Hz: {} dB",
                gain_db(frequency_hz)
            );
        }
        for frequency_hz in [9_000.0, 10_000.0, 13_000.0, 20_000.0] {
            assert!(
                gain_db(frequency_hz) < -40.0,
                "{frequency_hz} Hz: {} dB",
                gain_db(frequency_hz)
            );
        }
    }
}
