//! Mono from the channels of a microphone.
//!
//! The mean of all channels is right where they carry the same voice. A voice on one of eight
//! inputs would be 18 dB too quiet in it, and opposite phases would cancel, so where the channels
//! do not agree the loudest one is taken. That is decided over 1 s of speech and changed only for a
//! difference of 6 dB that lasts for another second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Blocks per second.
const BLOCKS_PER_SECOND: u32 = 100;
/// Speech until the first choice, which may still be wrong, in blocks.
const FIRST_CHOICE: u32 = 10;
/// Speech that a choice is made over, in blocks.
const CHOICE: u32 = 100;
/// A block is speech if its loudest channel is above this power (-50 dBFS) …
const LEAST_SPEECH: f64 = 1e-5;
/// … and this much above the noise floor (10 dB), …
const ABOVE_FLOOR: f64 = 10.0;
/// … which rises by 1 dB/s and falls at once, but not below -70 dBFS, where it begins: exact zeros
/// say nothing of the noise.
const FLOOR_RISE: f64 = 1.0023;
const FIRST_FLOOR: f64 = 1e-7;
/// The largest ratio of powers among channels that agree (6 dB), and what another choice must gain.
const SAME_LEVEL: f64 = 4.0;
/// The least correlation among channels that agree.
const CORRELATED: f64 = 0.7;
/// Length of the cross-fade from one choice to another.
const FADE_MS: u32 = 20;
/// Part of a file over which its channels are chosen.
const CLIP_SECONDS: usize = 10;

/// Which channels of a microphone are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelMix {
    /// The mean of all channels.
    Mean,
    /// One channel, counted from 1.
    One(u16),
}

/// The channels of a microphone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MicrophoneChannels {
    /// How many there are.
    pub count: u16,
    /// Which of them are heard at the moment.
    pub mix: ChannelMix,
}

/// [`MicrophoneChannels`] as a stream's callback tells them.
#[derive(Debug, Default)]
pub(crate) struct SharedChannels(AtomicU32);

impl SharedChannels {
    /// `None` before a stream is open.
    pub(crate) fn get(&self) -> Option<MicrophoneChannels> {
        let word = self.0.load(Ordering::Relaxed);
        let (count, one) = ((word >> 16) as u16, word as u16);
        (count > 0).then_some(MicrophoneChannels {
            count,
            mix: if one == 0 { ChannelMix::Mean } else { ChannelMix::One(one) },
        })
    }

    pub(crate) fn set(&self, count: usize, mix: ChannelMix) {
        let one = if let ChannelMix::One(channel) = mix { channel } else { 0 };
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        self.0.store(u32::from(count) << 16 | u32::from(one), Ordering::Relaxed);
    }
}

/// Mixes a stream. Allocates only when it is made.
pub(crate) struct Downmix {
    count: usize,
    mix: ChannelMix,
    /// The choice before, and how many frames of the cross-fade are left.
    fading: Option<(ChannelMix, u32)>,
    fade_frames: u32,
    is_fixed: bool,
    block: Powers,
    block_frames: u32,
    frames_per_block: u32,
    floor: f64,
    window: Powers,
    window_blocks: u32,
    choices: u32,
    shared: Arc<SharedChannels>,
}

/// Sums of squares.
#[derive(Clone, Debug)]
struct Powers {
    of_channels: Vec<f64>,
    of_mean: f64,
}

impl Powers {
    fn new(count: usize) -> Self {
        Self { of_channels: vec![0.0; count], of_mean: 0.0 }
    }

    fn clear(&mut self) {
        self.of_channels.fill(0.0);
        self.of_mean = 0.0;
    }

    fn add(&mut self, other: &Self) {
        for (sum, power) in self.of_channels.iter_mut().zip(&other.of_channels) {
            *sum += power;
        }
        self.of_mean += other.of_mean;
    }

    fn of(&self, mix: ChannelMix) -> f64 {
        match mix {
            ChannelMix::Mean => self.of_mean,
            ChannelMix::One(channel) => self
                .of_channels
                .get(usize::from(channel).wrapping_sub(1))
                .copied()
                .unwrap_or_default(),
        }
    }

    fn loudest(&self) -> f64 {
        self.of_channels.iter().copied().fold(0.0, f64::max)
    }

    /// The mean if the channels carry the same, else the loudest.
    fn best(&self) -> ChannelMix {
        let loudest = self.loudest();
        let quietest = self.of_channels.iter().copied().fold(f64::INFINITY, f64::min);
        if loudest <= quietest * SAME_LEVEL && self.correlation() > CORRELATED {
            return ChannelMix::Mean;
        }
        let channel =
            self.of_channels.iter().position(|power| *power == loudest).unwrap_or_default();
        ChannelMix::One(u16::try_from(channel + 1).unwrap_or(u16::MAX))
    }

    /// The correlation of two channels, as a mean over all pairs, weighted by their levels: how
    /// much the power of the sum exceeds the sum of powers, against the most that is possible.
    fn correlation(&self) -> f64 {
        let count = self.of_channels.len() as f64;
        let powers: f64 = self.of_channels.iter().sum();
        let amplitudes: f64 = self.of_channels.iter().map(|power| power.sqrt()).sum();
        let most = amplitudes * amplitudes - powers;
        if most <= 0.0 { 0.0 } else { (self.of_mean * count * count - powers) / most }
    }
}

impl Downmix {
    /// Of `count` channels at `rate_hz`. `channel`, counted from 1, is the one to hear; without it
    /// the choice is made here.
    pub(crate) fn new(
        count: usize,
        rate_hz: u32,
        channel: Option<u16>,
        shared: Arc<SharedChannels>,
    ) -> Self {
        let mix = channel.map_or(ChannelMix::Mean, ChannelMix::One);
        shared.set(count, mix);
        Self {
            count,
            mix,
            fading: None,
            fade_frames: (rate_hz * FADE_MS / 1_000).max(1),
            is_fixed: channel.is_some() || count < 2,
            block: Powers::new(count),
            block_frames: 0,
            frames_per_block: (rate_hz / BLOCKS_PER_SECOND).max(1),
            floor: FIRST_FLOOR,
            window: Powers::new(count),
            window_blocks: 0,
            choices: 0,
            shared,
        }
    }

    /// One frame; gives its sample of the mix.
    pub(crate) fn mix(&mut self, frame: impl Iterator<Item = f32> + Clone) -> f32 {
        if !self.is_fixed {
            self.measure(frame.clone());
        }
        let sample = of_frame(self.mix, self.count, frame.clone());
        let Some((before, left)) = self.fading else { return sample };
        let share = left as f32 / (self.fade_frames + 1) as f32;
        self.fading = (left > 1).then_some((before, left - 1));
        sample + (of_frame(before, self.count, frame) - sample) * share
    }

    fn measure(&mut self, frame: impl Iterator<Item = f32>) {
        let mut sum = 0.0;
        for (power, sample) in self.block.of_channels.iter_mut().zip(frame) {
            let sample = f64::from(if sample.is_finite() { sample } else { 0.0 });
            *power += sample * sample;
            sum += sample;
        }
        let mean = sum / self.count as f64;
        self.block.of_mean += mean * mean;
        self.block_frames += 1;
        if self.block_frames == self.frames_per_block {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        let level = self.block.loudest() / f64::from(self.frames_per_block);
        self.floor = (self.floor * FLOOR_RISE).min(level).max(FIRST_FLOOR);
        if level > LEAST_SPEECH && level > self.floor * ABOVE_FLOOR {
            self.window.add(&self.block);
            self.window_blocks += 1;
            self.choose();
        }
        self.block.clear();
        self.block_frames = 0;
    }

    fn choose(&mut self) {
        if self.window_blocks == FIRST_CHOICE && self.choices == 0 {
            self.change_to(self.window.best());
        }
        if self.window_blocks < CHOICE {
            return;
        }
        let best = self.window.best();
        if self.choices == 0 || self.window.of(best) > self.window.of(self.mix) * SAME_LEVEL {
            self.change_to(best);
        }
        self.choices = self.choices.saturating_add(1);
        self.window.clear();
        self.window_blocks = 0;
    }

    fn change_to(&mut self, mix: ChannelMix) {
        if mix != self.mix {
            self.fading = Some((self.mix, self.fade_frames));
            self.mix = mix;
            self.shared.set(self.count, mix);
        }
    }
}

fn of_frame(mix: ChannelMix, count: usize, mut frame: impl Iterator<Item = f32>) -> f32 {
    match mix {
        ChannelMix::Mean => frame.sum::<f32>() / count as f32,
        ChannelMix::One(channel) => {
            frame.nth(usize::from(channel).saturating_sub(1)).unwrap_or_default()
        }
    }
}

/// Interleaved samples of a file as mono; the choice is made once, over its first 10 s.
pub(crate) fn of_clip(
    samples: Vec<f32>,
    count: usize,
    rate_hz: u32,
    channel: Option<u16>,
) -> Vec<f32> {
    if count == 1 {
        return samples;
    }
    let mix = channel.map_or_else(|| choose_for_clip(&samples, count, rate_hz), ChannelMix::One);
    samples.chunks_exact(count).map(|frame| of_frame(mix, count, frame.iter().copied())).collect()
}

fn choose_for_clip(samples: &[f32], count: usize, rate_hz: u32) -> ChannelMix {
    let frames_per_block = (rate_hz / BLOCKS_PER_SECOND).max(1) as usize;
    let mut speech = Powers::new(count);
    let mut block = Powers::new(count);
    for frames in
        samples.chunks(frames_per_block * count).take(CLIP_SECONDS * BLOCKS_PER_SECOND as usize)
    {
        block.clear();
        for frame in frames.chunks_exact(count) {
            for (power, sample) in block.of_channels.iter_mut().zip(frame) {
                *power += f64::from(*sample).powi(2);
            }
            block.of_mean +=
                (frame.iter().map(|sample| f64::from(*sample)).sum::<f64>() / count as f64).powi(2);
        }
        if block.loudest() > LEAST_SPEECH * frames_per_block as f64 {
            speech.add(&block);
        }
    }
    if speech.loudest() > 0.0 { speech.best() } else { ChannelMix::Mean }
}

/// What a microphone or a file has instead of that channel.
pub(crate) fn no_such_channel(count: usize, channel: u16) -> String {
    match count {
        1 => format!("it has one channel, and no channel {channel}"),
        several => format!("it has {several} channels, and no channel {channel}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;

    /// A voice of a kind: a tone that comes and goes, at the peak `level`.
    fn voice(at: usize, level: f32) -> f32 {
        let seconds = at as f32 / RATE as f32;
        let loudness = (seconds * 3.0 * std::f32::consts::TAU).sin().max(0.0);
        (seconds * 200.0 * std::f32::consts::TAU).sin() * loudness * level
    }

    /// Hiss that differs from channel to channel.
    fn hiss(at: usize, channel: usize) -> f32 {
        let mixed = (at as u64 * 64 + channel as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32
            / (1 << 24) as f32
            * 0.002
            - 0.001
    }

    struct Room {
        downmix: Downmix,
        shared: Arc<SharedChannels>,
        count: usize,
        at: usize,
    }

    impl Room {
        fn new(count: usize, channel: Option<u16>) -> Self {
            let shared = Arc::new(SharedChannels::default());
            Self {
                downmix: Downmix::new(count, RATE, channel, Arc::clone(&shared)),
                shared,
                count,
                at: 0,
            }
        }

        /// The voice at these levels in the channels.
        fn hear(&mut self, seconds: usize, levels: &[f32]) -> Vec<f32> {
            self.hear_ms(1000 * seconds, levels)
        }

        fn hear_ms(&mut self, ms: usize, levels: &[f32]) -> Vec<f32> {
            (0..ms * RATE as usize / 1000)
                .map(|_| {
                    self.at += 1;
                    let at = self.at;
                    let frame = (0..self.count)
                        .map(|channel| voice(at, levels[channel]) + hiss(at, channel));
                    self.downmix.mix(frame)
                })
                .collect()
        }

        /// Steady noise at this peak in every channel.
        fn hum(&mut self, seconds: usize, level: f32) {
            for _ in 0..seconds * RATE as usize {
                self.at += 1;
                let at = self.at;
                self.downmix.mix((0..self.count).map(|channel| hiss(at, channel) * 1000.0 * level));
            }
        }

        fn mix(&self) -> ChannelMix {
            self.shared.get().expect("open").mix
        }
    }

    fn power(samples: &[f32]) -> f32 {
        samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32
    }

    /// What is heard in the last second against the voice itself, in dB.
    fn gain_db(room: &Room, heard: &[f32], level: f32) -> f32 {
        let second = RATE as usize;
        let spoken: Vec<f32> =
            (room.at - second + 1..=room.at).map(|at| voice(at, level)).collect();
        10.0 * (power(&heard[heard.len() - second..]) / power(&spoken)).log10()
    }

    #[test]
    fn steady_noise_after_exact_silence_is_no_speech() {
        let mut room = Room::new(2, None);
        room.hum(1, 0.0);
        room.hum(30, 0.01);
        let before = room.downmix.window_blocks;
        room.hum(5, 0.01);
        assert_eq!(room.downmix.window_blocks, before);
        assert!(room.downmix.floor >= FIRST_FLOOR);
    }

    #[test]
    fn a_voice_on_one_of_eight_channels_is_as_loud_as_it_is() {
        for channel in [0, 7] {
            let mut room = Room::new(8, None);
            let mut levels = [0.0; 8];
            levels[channel] = 0.5;
            let heard = room.hear(3, &levels);
            assert_eq!(room.mix(), ChannelMix::One(channel as u16 + 1));
            assert!(gain_db(&room, &heard, 0.5).abs() < 0.2);
        }
    }

    #[test]
    fn opposite_phases_do_not_cancel() {
        let mut room = Room::new(2, None);
        let heard = room.hear(3, &[0.5, -0.5]);
        assert_eq!(room.mix(), ChannelMix::One(1));
        assert!(gain_db(&room, &heard, 0.5).abs() < 0.2);
    }

    #[test]
    fn channels_that_agree_are_averaged_which_lowers_their_noise() {
        for levels in [[0.5, 0.5], [0.5, 0.3]] {
            let mut room = Room::new(2, None);
            room.hear(3, &levels);
            assert_eq!(room.mix(), ChannelMix::Mean, "{levels:?}");
        }
        let mut room = Room::new(2, None);
        room.hear(3, &[0.5, 0.2]);
        assert_eq!(room.mix(), ChannelMix::One(1), "8 dB apart");
    }

    #[test]
    fn the_choice_changes_only_for_6_db_over_a_second_of_speech_and_without_a_click() {
        let mut room = Room::new(2, None);
        room.hear(3, &[0.5, 0.0]);
        room.hear(4, &[0.3, 0.5]);
        assert_eq!(room.mix(), ChannelMix::One(1), "4.4 dB");
        let heard = room.hear(4, &[0.1, 0.5]);
        assert_eq!(room.mix(), ChannelMix::One(2), "14 dB");
        // A tone of 200 Hz moves by at most 0.5 × 2π × 200 / 48000 a sample.
        let steepest = heard.windows(2).map(|two| (two[1] - two[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.02, "{steepest}");
        assert!(gain_db(&room, &heard, 0.5).abs() < 0.2);
    }

    #[test]
    fn half_a_second_of_another_channel_changes_nothing() {
        let mut room = Room::new(2, None);
        room.hear(3, &[0.5, 0.0]);
        room.hear_ms(500, &[0.1, 0.5]);
        assert_eq!(room.mix(), ChannelMix::One(1));
    }

    /// The same voice in both channels, with noise that differs between them.
    #[test]
    fn channels_agree_that_have_more_than_seven_tenths_in_common() {
        let length = 4 * RATE as usize;
        let spoken: Vec<f32> = (0..length).map(|at| voice(at, 0.5)).collect();
        for (correlation, expected) in [(0.8, true), (0.6, false)] {
            // The hiss has a third of the square of its peak as its power.
            let peak = (3.0 * power(&spoken) * (1.0 / correlation - 1.0)).sqrt();
            let both =
                |at: usize| [0, 1].map(|channel| spoken[at] + hiss(at, channel) * 1000.0 * peak);
            let clip: Vec<f32> = (0..length).flat_map(both).collect();
            let is_mean = choose_for_clip(&clip, 2, RATE) == ChannelMix::Mean;
            assert_eq!(is_mean, expected, "{correlation}");
        }
    }

    #[test]
    fn of_a_file_only_the_first_ten_seconds_decide() {
        let clip: Vec<f32> = (0..25 * RATE as usize)
            .flat_map(|at| {
                let voice = voice(at, 0.5);
                if at < 10 * RATE as usize { [voice, 0.0] } else { [0.0, 2.0 * voice] }
            })
            .collect();
        let heard = of_clip(clip, 2, RATE, None);
        let (first, rest) = heard.split_at(10 * RATE as usize);
        assert!(power(first) > 0.01 && power(rest) == 0.0);
    }

    #[test]
    fn a_named_channel_stays() {
        let mut room = Room::new(4, Some(3));
        let heard = room.hear(3, &[0.5, 0.5, 0.2, 0.5]);
        assert_eq!(
            room.shared.get(),
            Some(MicrophoneChannels { count: 4, mix: ChannelMix::One(3) })
        );
        assert!(gain_db(&room, &heard, 0.2).abs() < 0.2);
    }

    #[test]
    fn noise_alone_decides_nothing_and_damaged_samples_do_no_harm() {
        let mut room = Room::new(3, None);
        room.hear(2, &[0.0, 0.0, 0.0]);
        assert_eq!(room.mix(), ChannelMix::Mean);
        for _ in 0..RATE {
            room.downmix.mix([f32::NAN, f32::INFINITY, 0.1].into_iter());
        }
        room.hear(4, &[0.0, 0.5, 0.0]);
        assert_eq!(room.mix(), ChannelMix::One(2));
    }

    #[test]
    fn a_file_is_mixed_by_one_choice_over_its_beginning() {
        let clip = |levels: [f32; 2]| -> Vec<f32> {
            (0..2 * RATE as usize).flat_map(|at| levels.map(|level| voice(at, level))).collect()
        };
        let spoken = power(&clip([0.5, 0.5]));
        for levels in [[0.5, 0.0], [0.0, 0.5], [0.5, -0.5], [0.5, 0.5]] {
            let heard = power(&of_clip(clip(levels), 2, RATE, None));
            assert!((heard / spoken - 1.0).abs() < 0.01, "{levels:?}: {heard} of {spoken}");
        }
        assert_eq!(power(&of_clip(clip([0.5, 0.0]), 2, RATE, Some(2))), 0.0);
        assert_eq!(of_clip(vec![0.0; 9], 2, RATE, None).len(), 4);
    }
}
