//! What of speech is not sent, and what is sent that is no speech.
//!
//! Counted on 10 ms frames of what [`Microphone`] gives to the encoder under voice activation:
//! - *speech* is a frame whose clean level is at most 20 dB under the active level of the clean
//!   voice;
//! - a *miss* is a frame of speech that is not sent, as a share of all frames of speech;
//! - a *false alarm* is a frame that is sent, is no speech, and is farther behind speech than the
//!   hang-over and farther before it than the look-back, as a share of all frames that are no
//!   speech and that far from it.

use std::ops::AddAssign;

use voicemesh_audio::{
    BLOCK_SAMPLES, Block,
    process::{Activation, HANG_OVER, LOOK_BACK, Microphone, MicrophoneConfig, Processing},
};

use crate::{
    noise_sources::{Noise, speech_frames, with_noise},
    report::{Options, Row},
};

/// The voices that the detector's thresholds, hang-over and look-back were chosen on.
pub const TUNED_ON: [&str; 2] = ["cards", "numbers"];

/// The voices that the figures are of.
pub const REPORTED_ON: [&str; 3] = ["reader", "announcer", "synthetic"];

/// Frames at the beginning that are not counted (1 s): the microphone has just been opened.
const UNCOUNTED_FRAMES: usize = 100;

/// How often the detector was right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Frames of speech.
    pub speech: usize,
    /// Of them, not sent.
    pub missed: usize,
    /// Frames that are far from any speech.
    pub quiet: usize,
    /// Of them, sent.
    pub false_alarms: usize,
}

impl Count {
    /// Misses per hundred frames of speech.
    #[must_use]
    pub fn missed_percent(&self) -> f64 {
        100.0 * self.missed as f64 / self.speech.max(1) as f64
    }

    /// False alarms per hundred frames far from speech.
    #[must_use]
    pub fn false_alarm_percent(&self) -> f64 {
        100.0 * self.false_alarms as f64 / self.quiet.max(1) as f64
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.speech += other.speech;
        self.missed += other.missed;
        self.quiet += other.quiet;
        self.false_alarms += other.false_alarms;
    }
}

/// Counts one voice in one noise.
#[must_use]
pub fn count(voice: &str, noise: Noise, snr_db: f64, processing: Processing, seed: u64) -> Count {
    let clean = crate::noise::with_pauses(voice, 4_000);
    let sent = sent_blocks(&with_noise(&clean, noise, snr_db, seed), processing);
    let speech = speech_frames(&clean);
    let blocks = |duration: std::time::Duration| duration.as_millis() as usize / 10;
    let near = |frame: usize| {
        let from = frame.saturating_sub(blocks(HANG_OVER));
        speech[from..(frame + blocks(LOOK_BACK) + 1).min(speech.len())].contains(&true)
    };
    let mut count = Count::default();
    for frame in UNCOUNTED_FRAMES..speech.len() {
        if speech[frame] {
            count.speech += 1;
            count.missed += usize::from(!sent[frame]);
        } else if !near(frame) {
            count.quiet += 1;
            count.false_alarms += usize::from(sent[frame]);
        }
    }
    count
}

/// Which blocks of the sound are sent, whenever that is.
fn sent_blocks(sound: &[f32], processing: Processing) -> Vec<bool> {
    let mut microphone =
        Microphone::new(MicrophoneConfig { processing, activation: Activation::Voice })
            .unwrap_or_else(|error| panic!("{error}"));
    let blocks: &[Block] = sound.as_chunks::<BLOCK_SAMPLES>().0;
    let mut sent = vec![false; blocks.len()];
    for (index, block) in blocks.iter().enumerate() {
        microphone.played(&[0.0; BLOCK_SAMPLES]);
        microphone.push(block);
        // They are the latest blocks, up to and with this one.
        let count = std::iter::from_fn(|| microphone.next_block().map(drop)).count();
        sent[index + 1 - count..=index].fill(true);
    }
    sent
}

/// Misses and false alarms in each noise, on voices that were not tuned on; and the curve over
/// distances.
#[must_use]
pub fn figures(options: &Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for noise in Noise::ALL {
        let total = |voices: &[&str], snr_db: f64, processing: Processing| {
            let mut total = Count::default();
            for voice in voices {
                (0..options.seeds())
                    .for_each(|seed| total += count(voice, noise, snr_db, processing, seed));
            }
            total
        };
        let usual = Processing::default();
        let condition = format!("{noise} noise 10 dB under speech, voices not tuned on");
        let found = total(&REPORTED_ON, 10.0, usual);
        let tuned = total(&TUNED_ON, 10.0, usual);
        let plain = total(&REPORTED_ON, 10.0, Processing::OFF);
        rows.push(
            Row::new("speech missed", &condition, found.missed_percent(), "%")
                .at_most(2.0)
                .with("speech is", "10 ms of clean level at most 20 dB under the active level")
                .with("voices tuned on", format!("{:.2} %", tuned.missed_percent()))
                .with("without processing", format!("{:.2} %", plain.missed_percent())),
        );
        let alarms = Row::new("false alarms", &condition, found.false_alarm_percent(), "%")
            .at_most(5.0)
            .with("of frames", "over 300 ms behind and 100 ms before speech")
            .with("voices tuned on", format!("{:.2} %", tuned.false_alarm_percent()))
            .with("without processing", format!("{:.2} %", plain.false_alarm_percent()));
        rows.push(match noise {
            Noise::Babble => alarms.with(
                "why",
                "voices behind the speaker are voices, too; push-to-talk tells them apart",
            ),
            Noise::White | Noise::Pink | Noise::Brown => alarms,
        });
        rows.extend([0.0, 5.0, 15.0, 20.0, 30.0].into_iter().map(|snr_db| {
            let found = total(&REPORTED_ON, snr_db, usual);
            let condition = format!("{noise} noise {snr_db} dB under speech");
            Row::new("false alarms", &condition, found.false_alarm_percent(), "%")
                .with("missed", format!("{:.2} %", found.missed_percent()))
        }));
    }
    rows
}

#[cfg(test)]
mod tests;
