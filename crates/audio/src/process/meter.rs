//! What a person sees of their microphone.

use crate::{
    Block,
    level::{self, SILENCE_DBFS},
};

/// How a microphone sounds before anything is done to it, and what its detector thinks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MicrophoneLevel {
    /// Root mean square in dBFS over about the last 100 ms.
    pub level_dbfs: f32,
    /// The highest peak in dBFS; falls by 20 dB a second.
    pub peak_dbfs: f32,
    /// The quietest that it has been in the last three to six seconds, in dBFS: what is left during
    /// silence.
    pub noise_floor_dbfs: f32,
    /// Whether samples stood at full scale within the last second: turn the microphone down.
    pub clipping: bool,
    /// Probability of speech by the detector, 0 to 1.
    pub speech_probability: f32,
    /// Whether sound is sent.
    pub open: bool,
}

/// Of the mean energy, how much one block changes.
const ENERGY_STEP: f32 = 0.1;

/// What a peak loses per block.
const PEAK_FALL_DB: f32 = 0.2;

/// A sample from here on stands at full scale.
const FULL_SCALE: f32 = 0.999;

/// So many of them in a row are clipped; a single one may just be loud.
const CLIPPED_SAMPLES: usize = 3;

/// Clipping is shown for so many blocks (1 s).
const CLIPPING_SHOWN_BLOCKS: u32 = 100;

/// The floor is the minimum of two windows of so many blocks (3 s).
const FLOOR_WINDOW_BLOCKS: u32 = 300;

/// Measures blocks.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    mean_square: f32,
    peak_dbfs: f32,
    clipping_blocks: u32,
    full_scale_samples: usize,
    floor_db: f32,
    previous_floor_db: f32,
    floor_blocks: u32,
}

impl Meter {
    pub fn new() -> Self {
        Self {
            mean_square: 0.0,
            peak_dbfs: SILENCE_DBFS,
            clipping_blocks: 0,
            full_scale_samples: 0,
            floor_db: f32::INFINITY,
            previous_floor_db: f32::INFINITY,
            floor_blocks: 0,
        }
    }

    /// Looks at a block of finite samples.
    pub fn measure(&mut self, block: &Block) {
        let mean_square =
            block.iter().map(|sample| sample * sample).sum::<f32>() / block.len() as f32;
        // Beyond any real sound, and small enough that the mean stays finite.
        self.mean_square += (mean_square.min(1e12) - self.mean_square) * ENERGY_STEP;
        let peak_dbfs = 2.0 * level::rms_dbfs(&[level::peak(block).sqrt()]);
        self.peak_dbfs = peak_dbfs.max(self.peak_dbfs - PEAK_FALL_DB).max(SILENCE_DBFS);
        self.look_for_clipping(block);
        self.follow_floor();
    }

    pub fn level_dbfs(&self) -> f32 {
        level::rms_dbfs(&[self.mean_square.sqrt()])
    }

    pub fn peak_dbfs(&self) -> f32 {
        self.peak_dbfs
    }

    pub fn noise_floor_dbfs(&self) -> f32 {
        let floor = self.floor_db.min(self.previous_floor_db);
        if floor.is_finite() { floor } else { SILENCE_DBFS }
    }

    pub fn is_clipping(&self) -> bool {
        self.clipping_blocks > 0
    }

    fn look_for_clipping(&mut self, block: &Block) {
        self.clipping_blocks = self.clipping_blocks.saturating_sub(1);
        for sample in block {
            self.full_scale_samples =
                if sample.abs() >= FULL_SCALE { self.full_scale_samples + 1 } else { 0 };
            if self.full_scale_samples >= CLIPPED_SAMPLES {
                self.clipping_blocks = CLIPPING_SHOWN_BLOCKS;
            }
        }
    }

    fn follow_floor(&mut self) {
        self.floor_db = self.floor_db.min(self.level_dbfs());
        self.floor_blocks += 1;
        if self.floor_blocks == FLOOR_WINDOW_BLOCKS {
            self.previous_floor_db = self.floor_db;
            self.floor_db = f32::INFINITY;
            self.floor_blocks = 0;
        }
    }
}
