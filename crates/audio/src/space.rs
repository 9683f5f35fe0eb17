//! Where speakers stand: the distance makes them softer, the direction moves them to one ear.
//!
//! Units are metres and metres a second. Gains are factors for the left and the right ear; a voice
//! straight ahead, or unplaced, is 1.0 in both, so that placing a speaker changes nothing but its
//! place. Front and back sound alike.

use std::f32::consts::FRAC_PI_4;
use std::time::Duration;

use crate::{BLOCK_SAMPLES, Block};

/// A velocity is believed this long after a position was told; then the speaker stands still.
pub const LONGEST_EXTRAPOLATION: Duration = Duration::from_millis(250);
/// Points of one [`Curve`].
pub const CURVE_POINTS: usize = 16;

/// Whatever is further from the origin in one axis is taken to be here, in metres.
const FARTHEST: f32 = 1e9;
/// … and faster, in metres a second.
const FASTEST: f32 = 1e4;
/// Nearer than this, in metres, a voice moves to the middle: it is inside the head.
const INSIDE: f32 = 0.3;
/// The ear on the far side hears this share of the near one: −14 dB.
const FAR_EAR: f32 = 0.2;
/// The last share of the way to the greatest distance, on which a voice that is still heard fades
/// away.
const EDGE: f32 = 0.1;
/// A gain changes by at most this in a block: below −60 dB from one sample to the next, wherever a
/// speaker jumps.
const MOST_CHANGE: f32 = 0.45;

/// Which way the axes lie: with x to the right and y up, whether forward is −z (Godot, Bevy,
/// OpenAL) or +z (Unity).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handedness {
    /// Forward × up is to the right.
    #[default]
    Right,
    /// Forward × up is to the left.
    Left,
}

/// Position and orientation of a speaker or listener.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pose {
    /// In metres.
    pub position: [f32; 3],
    /// Where the nose points; of any length.
    pub forward: [f32; 3],
    /// Where the top of the head points; of any length, and not along `forward`.
    pub up: [f32; 3],
}

impl Default for Pose {
    /// At the origin, looking along −z, the head along +y.
    fn default() -> Self {
        Self { position: [0.0; 3], forward: [0.0, 0.0, -1.0], up: [0.0, 1.0, 0.0] }
    }
}

/// How a voice gets softer with its distance `d`, after OpenAL 1.1 §3.4 (the *clamped* models).
/// Where OpenAL holds the gain beyond `max`, a voice here is silent: over the last tenth of the way
/// it fades by what would be left.
///
/// Numbers that make no sense (below zero, not a number) are taken to be the nearest that do.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Attenuation {
    /// Not at all: the distance does not matter.
    None,
    /// `reference / (reference + rolloff × (d − reference))`.
    Inverse {
        /// Up to this distance as loud as spoken.
        reference: f32,
        /// Beyond this distance silent.
        max: f32,
        /// How fast; 1.0 halves with each doubling.
        rolloff: f32,
    },
    /// `1 − rolloff × (d − reference) / (max − reference)`.
    Linear {
        /// Up to this distance as loud as spoken.
        reference: f32,
        /// Beyond this distance silent.
        max: f32,
        /// How far down: 1.0 reaches silence at `max`.
        rolloff: f32,
    },
    /// `(d / reference) ^ −rolloff`.
    Exponential {
        /// Up to this distance as loud as spoken.
        reference: f32,
        /// Beyond this distance silent.
        max: f32,
        /// The exponent.
        rolloff: f32,
    },
    /// Straight lines between points of one's own. The first gain holds before its point and the
    /// last behind; let it be 0.0 for silence.
    Points(Curve),
}

impl Default for Attenuation {
    /// Inverse: as spoken at 1 m, half at 2 m, a tenth at 10 m, silent from 50 m on.
    fn default() -> Self {
        Self::Inverse { reference: 1.0, max: 50.0, rolloff: 1.0 }
    }
}

impl Attenuation {
    /// The gain at a distance in metres: 0.0 to 1.0; up to 2.0 for points.
    pub fn gain(&self, distance: f32) -> f32 {
        let distance = at_least(distance, 0.0);
        match self {
            Self::None => 1.0,
            Self::Inverse { reference, max, rolloff } => {
                Range::new(*reference, *max).fade(distance, |range, d| {
                    range.reference / (range.reference + beyond(*rolloff, d - range.reference))
                })
            }
            Self::Linear { reference, max, rolloff } => {
                Range::new(*reference, *max).fade(distance, |range, d| {
                    let length = (range.max - range.reference).max(f32::MIN_POSITIVE);
                    (1.0 - beyond(*rolloff, (d - range.reference) / length)).max(0.0)
                })
            }
            Self::Exponential { reference, max, rolloff } => Range::new(*reference, *max)
                .fade(distance, |range, d| {
                    (d / range.reference).powf(-at_least(*rolloff, 0.0).min(1e6))
                }),
            Self::Points(curve) => curve.gain(distance),
        }
    }
}

/// The distances between which a model works.
#[derive(Clone, Copy)]
struct Range {
    reference: f32,
    max: f32,
}

impl Range {
    fn new(reference: f32, max: f32) -> Self {
        let reference = at_least(reference, 1e-3).min(FARTHEST);
        Self { reference, max: at_least(max, reference).min(2.0 * FARTHEST) }
    }

    fn fade(self, distance: f32, model: impl Fn(Self, f32) -> f32) -> f32 {
        if distance >= self.max {
            return 0.0;
        }
        let edge = (1.0 - EDGE) * self.max;
        let faded = ((distance - edge) / (self.max - edge)).clamp(0.0, 1.0);
        let left = if faded > 0.0 { model(self, self.max) * faded } else { 0.0 };
        (model(self, distance.max(self.reference)) - left).clamp(0.0, 1.0)
    }
}

fn beyond(rolloff: f32, distance: f32) -> f32 {
    at_least(rolloff, 0.0).min(1e6) * distance.max(0.0)
}

/// Not a number counts as the least.
fn at_least(value: f32, least: f32) -> f32 {
    value.max(least)
}

/// Gains at distances, at most [`CURVE_POINTS`] of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curve {
    points: [(f32, f32); CURVE_POINTS],
    length: usize,
}

impl Curve {
    /// From pairs of a distance in metres and a gain of 0.0 to 2.0, nearest first. `None` if there
    /// is no point or too many, if a number is not finite or out of range, or if a distance is not
    /// greater than the one before.
    pub fn new(points: &[(f32, f32)]) -> Option<Self> {
        let sound = |(distance, gain): &(f32, f32)| {
            (0.0..=FARTHEST).contains(distance) && (0.0..=2.0).contains(gain)
        };
        let ascends = points.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if points.is_empty() || points.len() > CURVE_POINTS || !ascends || !points.iter().all(sound)
        {
            return None;
        }
        let mut curve = Self { points: [(0.0, 0.0); CURVE_POINTS], length: points.len() };
        curve.points[..points.len()].copy_from_slice(points);
        Some(curve)
    }

    fn gain(&self, distance: f32) -> f32 {
        let points = &self.points[..self.length];
        let after = points.partition_point(|point| point.0 <= distance);
        match (after.checked_sub(1).map(|before| points[before]), points.get(after)) {
            (Some((from, gain)), Some((to, next))) => {
                gain + (next - gain) * (distance - from) / (to - from)
            }
            (Some((_, gain)), None) | (None, Some(&(_, gain))) => gain,
            (None, None) => 1.0,
        }
    }
}

/// Where a speaker was, and how it moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    position: [f32; 3],
    velocity: [f32; 3],
    told_at: Duration,
}

impl Placement {
    /// In metres and metres a second, as of `now`. `None` if the position is no number; a velocity
    /// that is none counts as standing still.
    pub fn new(now: Duration, position: [f32; 3], velocity: [f32; 3]) -> Option<Self> {
        let velocity = bounded(velocity, FASTEST).unwrap_or_default();
        Some(Self { position: bounded(position, FARTHEST)?, velocity, told_at: now })
    }

    /// Where it is now, as far as its velocity is believed.
    pub fn at(&self, now: Duration) -> [f32; 3] {
        let seconds = now.saturating_sub(self.told_at).min(LONGEST_EXTRAPOLATION).as_secs_f32();
        std::array::from_fn(|axis| self.position[axis] + self.velocity[axis] * seconds)
    }
}

/// How loud in each ear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gains {
    /// The left ear's factor.
    pub left: f32,
    /// The right ear's factor.
    pub right: f32,
}

impl Gains {
    /// Not placed: as spoken in both ears.
    pub const UNPLACED: Self = Self { left: 1.0, right: 1.0 };
    /// Not heard.
    pub const SILENT: Self = Self { left: 0.0, right: 0.0 };

    /// Equal power: the squares' sum is 2 × `gain`² wherever `pan` is, from −1.0 (left) to 1.0
    /// (right).
    pub fn panned(pan: f32, gain: f32) -> Self {
        let widest = FRAC_PI_4 - FAR_EAR.atan();
        let angle = FRAC_PI_4 + widest * pan.clamp(-1.0, 1.0);
        let gain = gain * std::f32::consts::SQRT_2;
        Self { left: gain * angle.cos(), right: gain * angle.sin() }
    }

    fn toward(self, target: Self) -> Self {
        let step = |from: f32, to: f32| from + (to - from).clamp(-MOST_CHANGE, MOST_CHANGE);
        Self { left: step(self.left, target.left), right: step(self.right, target.right) }
    }
}

/// A listener among speakers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Space {
    listener: Pose,
    attenuation: Attenuation,
    handedness: Handedness,
    right: Option<[f32; 3]>,
}

impl Space {
    /// Where the listener is now. A pose with a number that is none has no effect.
    pub fn set_listener(&mut self, pose: Pose) {
        let Some(position) = bounded(pose.position, FARTHEST) else { return };
        let (Some(forward), Some(up)) =
            (bounded(pose.forward, FARTHEST), bounded(pose.up, FARTHEST))
        else {
            return;
        };
        self.listener = Pose { position, forward, up };
        self.turn();
    }

    /// How voices get softer with distance.
    pub fn set_attenuation(&mut self, attenuation: Attenuation) {
        self.attenuation = attenuation;
    }

    /// Which way the axes lie.
    pub fn set_handedness(&mut self, handedness: Handedness) {
        self.handedness = handedness;
        self.turn();
    }

    /// How loud a voice from there is in each ear.
    pub fn gains(&self, position: [f32; 3]) -> Gains {
        let away: [f32; 3] =
            std::array::from_fn(|axis| position[axis] - self.listener.position[axis]);
        let distance = length(away);
        let gain = self.attenuation.gain(distance);
        if gain <= 0.0 {
            return Gains::SILENT;
        }
        let right = self.right.unwrap_or([1.0, 0.0, 0.0]);
        Gains::panned(dot(away, right) / distance.max(INSIDE), gain)
    }

    fn turn(&mut self) {
        let Some((forward, up)) = unit(self.listener.forward).zip(unit(self.listener.up)) else {
            return;
        };
        let cross = [
            forward[1] * up[2] - forward[2] * up[1],
            forward[2] * up[0] - forward[0] * up[2],
            forward[0] * up[1] - forward[1] * up[0],
        ];
        // A listener that looks along its own up direction keeps its ears where they were.
        if let Some(right) = unit(cross) {
            self.right = Some(match self.handedness {
                Handedness::Right => right,
                Handedness::Left => right.map(|axis| -axis),
            });
        }
    }
}

/// One speaker's way through space, without a click.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Panner {
    gains: Gains,
}

impl Default for Panner {
    fn default() -> Self {
        Self { gains: Gains::UNPLACED }
    }
}

/// What to do with a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Panning {
    /// It is to be mixed as it is.
    Unplaced,
    /// It is not heard.
    Silent,
    /// It is to be mixed with gains that go from one pair to the other.
    Between(Gains, Gains),
}

impl Panner {
    /// The way to `target` in the next block. If that `is_silent` anyway, the speaker is there at
    /// once.
    pub fn next(&mut self, target: Gains, is_silent: bool) -> Panning {
        if is_silent {
            self.gains = target;
        }
        let from = self.gains;
        self.gains = from.toward(target);
        match (from, self.gains) {
            (Gains::UNPLACED, Gains::UNPLACED) => Panning::Unplaced,
            (Gains::SILENT, Gains::SILENT) => Panning::Silent,
            (from, to) => Panning::Between(from, to),
        }
    }
}

/// 10 ms for two ears.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StereoBlock {
    /// For the left one.
    pub left: Block,
    /// For the right one.
    pub right: Block,
}

impl StereoBlock {
    /// Nothing to hear.
    pub const SILENCE: Self = Self { left: [0.0; BLOCK_SAMPLES], right: [0.0; BLOCK_SAMPLES] };

    /// What one speaker plays of it, and what a microphone hears of two: the mean.
    pub fn mean(&self) -> Block {
        std::array::from_fn(|at| (self.left[at] + self.right[at]) / 2.0)
    }

    /// Adds a block with gains that go evenly from one pair to the other.
    pub fn add(&mut self, block: &Block, from: Gains, to: Gains) {
        let step = 1.0 / BLOCK_SAMPLES as f32;
        let (left, right) = ((to.left - from.left) * step, (to.right - from.right) * step);
        let sides = self.left.iter_mut().zip(&mut self.right);
        for (index, (sample, sides)) in block.iter().zip(sides).enumerate() {
            *sides.0 += sample * (from.left + left * index as f32);
            *sides.1 += sample * (from.right + right * index as f32);
        }
    }
}

/// `None` if a number is none; what is further than `most` is there.
fn bounded(vector: [f32; 3], most: f32) -> Option<[f32; 3]> {
    let is_number = vector.iter().all(|axis| !axis.is_nan());
    is_number.then(|| vector.map(|axis| axis.clamp(-most, most)))
}

fn dot(one: [f32; 3], other: [f32; 3]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

fn length(vector: [f32; 3]) -> f32 {
    dot(vector, vector).sqrt()
}

fn unit(vector: [f32; 3]) -> Option<[f32; 3]> {
    let length = length(vector);
    (length.is_finite() && length > 1e-6).then(|| vector.map(|axis| axis / length))
}

#[cfg(test)]
mod tests;
