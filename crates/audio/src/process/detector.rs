//! Is this a voice?

use earshot::Detector;

use super::decimate::{DECIMATED_SAMPLES, Decimator};
use crate::Block;

/// What the detector takes at a time: 16 ms at 16 kHz.
const DETECTOR_SAMPLES: usize = 256;

/// A voice begins at this probability. Measured on two voices at 10 dB over noise, with look-back
/// and hang-over: at 0.4 8.1 % of the frames far from speech are sent as well and 0.4 % of speech
/// is missed, at 0.5 3.9 % and 0.9 %, at 0.7 2.7 % and 1.8 %.
const BEGINS_AT: f32 = 0.5;

/// … and ends below this one.
const ENDS_BELOW: f32 = 0.35;

/// Hears voices in blocks, whatever else is in them.
pub(super) struct VoiceDetector {
    detector: Box<Detector>,
    decimator: Decimator,
    waiting: [f32; DETECTOR_SAMPLES],
    waiting_samples: usize,
    probability: f32,
    voiced: bool,
}

impl VoiceDetector {
    pub fn new() -> Self {
        Self {
            detector: Box::default(),
            decimator: Decimator::new(),
            waiting: [0.0; DETECTOR_SAMPLES],
            waiting_samples: 0,
            probability: 0.0,
            voiced: false,
        }
    }

    /// Listens to the next block; says whether there is a voice in what it has heard so far.
    pub fn listen(&mut self, block: &Block) -> bool {
        let decimated = self.decimator.decimate(block);
        let fits = DECIMATED_SAMPLES.min(DETECTOR_SAMPLES - self.waiting_samples);
        let (now, later) = decimated.split_at(fits);
        self.wait(now);
        if self.waiting_samples == DETECTOR_SAMPLES {
            self.predict();
            self.wait(later);
        }
        self.voiced
    }

    /// How sure it is, 0 to 1.
    pub fn probability(&self) -> f32 {
        self.probability
    }

    /// Forgets what it heard.
    pub fn reset(&mut self) {
        self.detector.reset();
        self.decimator.reset();
        self.waiting_samples = 0;
        self.probability = 0.0;
        self.voiced = false;
    }

    fn wait(&mut self, samples: &[f32]) {
        for (slot, sample) in self.waiting[self.waiting_samples..].iter_mut().zip(samples) {
            *slot = sample.clamp(-1.0, 1.0);
        }
        self.waiting_samples += samples.len();
    }

    fn predict(&mut self) {
        self.probability = self.detector.predict_f32(&self.waiting);
        self.waiting_samples = 0;
        self.voiced = self.probability >= if self.voiced { ENDS_BELOW } else { BEGINS_AT };
    }
}

impl std::fmt::Debug for VoiceDetector {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { probability, voiced, .. } = self;
        out.debug_struct("VoiceDetector")
            .field("probability", probability)
            .field("voiced", voiced)
            .finish_non_exhaustive()
    }
}
