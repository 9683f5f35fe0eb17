//! Speech without pauses, so that every hole in a recording is the network's.

use crate::speech::{VOICES, load};

const RATE: usize = crate::wav::SAMPLE_RATE as usize;
/// Voices that talk at the same time.
const LAYERS: u64 = 4;
/// Level of each.
const LEVEL: f32 = 0.55;
/// Each sentence begins this much before the last one ends.
const OVERLAP: usize = RATE / 12;

/// Four voices at once from the recordings in `tests/speech`; other seeds give other mixes. No
/// moment is like another.
#[must_use]
pub fn continuous_speech(seed: u64, seconds: usize) -> Vec<f32> {
    let voices = VOICES.map(load);
    let mut mix = vec![0.0; seconds * RATE];
    let mut random = Random(seed);
    for _ in 0..LAYERS {
        // Each layer begins within a sentence.
        let mut skipped = random.below(4 * RATE);
        let mut at = 0;
        while at < mix.len() {
            let voice = &voices[random.below(voices.len())];
            let sentence = &voice[skipped..voice.len() - random.below(RATE)];
            for (sum, sample) in mix[at..].iter_mut().zip(sentence) {
                *sum += sample * LEVEL;
            }
            at += sentence.len() - OVERLAP;
            skipped = 0;
        }
    }
    mix.iter_mut().for_each(|sample| *sample = sample.clamp(-0.98, 0.98));
    mix
}

/// A linear congruential generator (Knuth, MMIX): the mix needs variety, not quality.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_silent_for_long_and_depends_on_the_seed() {
        let mix = continuous_speech(1, 60);
        assert_eq!(mix.len(), 60 * RATE);
        let loud = |frame: &[f32]| {
            frame.iter().map(|sample| sample * sample).sum::<f32>() / frame.len() as f32 > 1e-4
        };
        let mut longest = 0;
        let mut run = 0;
        for frame in mix.chunks(RATE / 100) {
            run = if loud(frame) { 0 } else { run + 1 };
            longest = longest.max(run);
        }
        assert!(longest < 20, "{longest} frames of 10 ms under -40 dBFS");
        assert!(continuous_speech(2, 1) != continuous_speech(1, 1));
    }
}
