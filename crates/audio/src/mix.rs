//! All the speakers one hears, added up without clipping.

use crate::space::{Gains, StereoBlock};
use crate::{BLOCK_SAMPLES, Block, level};

/// Up to here (−1 dBFS) samples pass unchanged, bit for bit.
pub const LIMIT: f32 = 0.891_250_9;

/// Samples over which the gain falls when a loud block begins: 1 ms.
const ATTACK_SAMPLES: usize = 48;

/// The gain recovers by this factor per block: 6 dB in about 230 ms.
const RELEASE_PER_BLOCK: f32 = 1.03;

/// Adds up one block per speaker and limits the sum.
///
/// While the sum stays below [`LIMIT`] it is passed on bit for bit. Above, the gain goes down
/// within a millisecond and recovers slowly; what overshoots in that millisecond is rounded off
/// below full scale.
///
/// Speakers that stand somewhere ([`add_placed`](Self::add_placed)) are summed for each ear;
/// without any, nothing of that is touched. One gain limits both ears, so that directions stay when
/// it is loud.
#[derive(Clone, Debug)]
pub struct Mixer {
    sum: Block,
    /// What is in one ear more than in the other; silence unless `is_placed`.
    sides: StereoBlock,
    is_placed: bool,
    gain: f32,
    deafened: bool,
    /// How open the output was at the end of the last block: 1 open, 0 deafened.
    opening: f32,
}

impl Default for Mixer {
    fn default() -> Self {
        Self::new()
    }
}

impl Mixer {
    /// A mixer with nothing in it.
    pub fn new() -> Self {
        Self {
            sum: [0.0; BLOCK_SAMPLES],
            sides: StereoBlock::SILENCE,
            is_placed: false,
            gain: 1.0,
            deafened: false,
            opening: 1.0,
        }
    }

    /// Adds one speaker's block to the block in the making.
    pub fn add(&mut self, block: &Block) {
        for (sum, sample) in self.sum.iter_mut().zip(block) {
            *sum += sample;
        }
    }

    /// The same for a speaker that stands somewhere, with gains that go from one pair to the other
    /// within the block.
    pub fn add_placed(&mut self, block: &Block, from: Gains, to: Gains) {
        self.sides.add(block, from, to);
        self.is_placed = true;
    }

    /// Whether the output is silent whatever is added. The change fades over one block.
    pub fn set_deafened(&mut self, deafened: bool) {
        self.deafened = deafened;
    }

    /// Whether the output is silent.
    pub fn is_deafened(&self) -> bool {
        self.deafened
    }

    /// Writes the limited sum and begins the next block. Of those who stand somewhere, the mean of
    /// both ears.
    pub fn finish(&mut self, out: &mut Block) {
        *out = std::mem::replace(&mut self.sum, [0.0; BLOCK_SAMPLES]);
        if self.is_placed {
            let sides = self.take_sides().mean();
            out.iter_mut().zip(sides).for_each(|(sum, side)| *sum += side);
        }
        self.limit(&mut [&mut *out]);
        self.open_or_close(&mut [out]);
    }

    /// The same for two ears; says whether they differ.
    pub fn finish_stereo(&mut self, out: &mut StereoBlock) -> Width {
        if !self.is_placed {
            self.finish(&mut out.left);
            out.right = out.left;
            return Width::Mono;
        }
        *out = self.take_sides();
        let sum = std::mem::replace(&mut self.sum, [0.0; BLOCK_SAMPLES]);
        for side in [&mut out.left, &mut out.right] {
            side.iter_mut().zip(sum).for_each(|(side, sum)| *side += sum);
        }
        self.limit(&mut [&mut out.left, &mut out.right]);
        self.open_or_close(&mut [&mut out.left, &mut out.right]);
        Width::Stereo
    }

    fn take_sides(&mut self) -> StereoBlock {
        self.is_placed = false;
        std::mem::replace(&mut self.sides, StereoBlock::SILENCE)
    }

    fn limit(&mut self, ears: &mut [&mut Block]) {
        let peak = ears.iter().map(|ear| level::peak(&ear[..])).fold(0.0, f32::max);
        let allowed = if peak > LIMIT { LIMIT / peak } else { 1.0 };
        let target = (self.gain * RELEASE_PER_BLOCK).min(allowed).min(1.0);
        if self.gain == 1.0 && target == 1.0 {
            return;
        }
        let ramp = if target < self.gain { ATTACK_SAMPLES } else { BLOCK_SAMPLES };
        let step = (target - self.gain) / ramp as f32;
        for ear in ears {
            for (index, sample) in ear.iter_mut().enumerate() {
                let gain = self.gain + step * index.min(ramp) as f32;
                *sample = round_off(*sample * gain);
            }
        }
        self.gain = target;
    }

    fn open_or_close(&mut self, ears: &mut [&mut Block]) {
        let target = if self.deafened { 0.0 } else { 1.0 };
        if self.opening == 1.0 && target == 1.0 {
            return;
        }
        let step = (target - self.opening) / BLOCK_SAMPLES as f32;
        for ear in ears {
            for (index, sample) in ear.iter_mut().enumerate() {
                *sample *= self.opening + step * index as f32;
            }
        }
        self.opening = target;
    }
}

/// Whether both ears hear the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// They do.
    Mono,
    /// They do not.
    Stereo,
}

/// How much a speaker is lowered while a speaker of a higher priority is heard: 12 dB.
const DUCKED: f32 = 0.25;
/// Lowering takes 50 ms, …
const DUCK_STEP: f32 = (1.0 - DUCKED) / 5.0;
/// … and 400 ms pass before the voice is back.
const UNDUCK_STEP: f32 = (1.0 - DUCKED) / 40.0;

/// One speaker's place behind those of a higher priority.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ducking {
    gain: f32,
}

impl Default for Ducking {
    fn default() -> Self {
        Self { gain: 1.0 }
    }
}

impl Ducking {
    /// The factor at the end of the next block, by whether a speaker of a higher priority is in it.
    pub fn next(&mut self, higher_priority_speaks: bool) -> f32 {
        self.gain = match higher_priority_speaks {
            true => (self.gain - DUCK_STEP).max(DUCKED),
            false => (self.gain + UNDUCK_STEP).min(1.0),
        };
        self.gain
    }
}

/// Bends what is above [`LIMIT`] so that it approaches full scale and never reaches it.
fn round_off(sample: f32) -> f32 {
    const ROOM: f32 = 1.0 - LIMIT;
    let over = sample.abs() - LIMIT;
    if over <= 0.0 { sample } else { (LIMIT + ROOM * (over / (over + ROOM))).copysign(sample) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(amplitude: f32) -> Block {
        std::array::from_fn(|index| amplitude * (index as f32 * 0.1).sin())
    }

    #[test]
    fn below_the_limit_the_sum_passes_bit_for_bit() {
        let mut mixer = Mixer::new();
        let (first, second) = (tone(0.5), tone(0.3));
        mixer.add(&first);
        mixer.add(&second);
        let mut out = [1.0; BLOCK_SAMPLES];
        mixer.finish(&mut out);
        for index in 0..BLOCK_SAMPLES {
            assert_eq!(out[index].to_bits(), (first[index] + second[index]).to_bits());
        }
        mixer.finish(&mut out);
        assert_eq!(out, [0.0; BLOCK_SAMPLES], "a finished block is gone");
    }

    #[test]
    fn ten_shouting_at_once_stay_below_full_scale_and_undistorted_after_the_attack() {
        let mut mixer = Mixer::new();
        let mut out = [0.0; BLOCK_SAMPLES];
        for round in 0..20 {
            for _ in 0..10 {
                mixer.add(&tone(1.0));
            }
            mixer.finish(&mut out);
            assert!(level::peak(&out) < 1.0);
            if round > 0 {
                let scale = out[100] / tone(1.0)[100];
                for (heard, said) in out.iter().zip(tone(1.0)) {
                    assert!((heard - said * scale).abs() < 1e-3, "only the gain may have changed");
                }
            }
        }
    }

    #[test]
    fn after_loudness_the_gain_comes_back_to_exactly_one() {
        let mut mixer = Mixer::new();
        let mut out = [0.0; BLOCK_SAMPLES];
        mixer.add(&tone(4.0));
        mixer.finish(&mut out);
        let quiet = tone(0.2);
        let rounds = (0..1_000)
            .take_while(|_| {
                mixer.add(&quiet);
                mixer.finish(&mut out);
                out != quiet
            })
            .count();
        assert!((10..100).contains(&rounds), "recovered after {rounds} blocks");
    }

    /// proves: B-11
    #[test]
    fn both_ears_are_limited_by_one_gain_and_one_speaker_plays_their_mean() {
        let (left, right) = (Gains { left: 1.2, right: 0.3 }, Gains { left: 0.3, right: 1.2 });
        let said = tone(0.3);
        let mut mixer = Mixer::new();
        let fill = |mixer: &mut Mixer, factor: f32| {
            mixer.add(&tone(0.1 * factor));
            mixer.add_placed(&tone(0.3 * factor), left, left);
            mixer.add_placed(&tone(0.2 * factor), right, right);
        };
        let mut out = StereoBlock::SILENCE;
        fill(&mut mixer, 1.0);
        assert_eq!(mixer.finish_stereo(&mut out), Width::Stereo);
        for (index, said) in said.iter().enumerate() {
            let unit = said / 0.3;
            assert!((out.left[index] - unit * (0.1 + 0.36 + 0.06)).abs() < 1e-5);
            assert!((out.right[index] - unit * (0.1 + 0.09 + 0.24)).abs() < 1e-5);
        }
        let mean = out.mean();
        let mut mono = [0.0; BLOCK_SAMPLES];
        fill(&mut mixer, 1.0);
        mixer.finish(&mut mono);
        assert!(mono.iter().zip(mean).all(|(mono, mean)| (mono - mean).abs() < 1e-6));
        for _ in 0..5 {
            fill(&mut mixer, 10.0);
            mixer.finish_stereo(&mut out);
        }
        assert!(level::peak(&out.left) < 1.0);
        let balance = out.left[100] / out.right[100];
        assert!((balance - 0.52 / 0.43).abs() < 1e-3, "directions stay when it is loud: {balance}");
        mixer = Mixer::new();
        mixer.add(&said);
        assert_eq!(mixer.finish_stereo(&mut out), Width::Mono);
        assert_eq!((out.left, out.right), (said, said));
    }

    #[test]
    fn ducking_is_quick_and_coming_back_is_slow_and_complete() {
        let mut ducking = Ducking::default();
        assert_eq!(ducking.next(false), 1.0);
        let down = (0..100).take_while(|_| ducking.next(true) > DUCKED).count();
        let up = (0..100).take_while(|_| ducking.next(false) < 1.0).count();
        assert!((3..10).contains(&down) && (30..50).contains(&up), "{down} blocks down, {up} up");
    }

    #[test]
    fn deafened_is_silent_after_one_fading_block_and_opens_again() {
        let mut mixer = Mixer::new();
        let mut out = [0.0; BLOCK_SAMPLES];
        let mut play = |mixer: &mut Mixer| {
            mixer.add(&tone(0.5));
            mixer.finish(&mut out);
            out
        };
        mixer.set_deafened(true);
        play(&mut mixer);
        assert_eq!(play(&mut mixer), [0.0; BLOCK_SAMPLES]);
        mixer.set_deafened(false);
        play(&mut mixer);
        assert_eq!(play(&mut mixer), tone(0.5));
    }
}
