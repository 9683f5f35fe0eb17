//! One remote speaker: frames in as they arrive, a block of sound out whenever asked.
//!
//! ```text
//! receive ─ jitter buffer ─ next: frame, repair, conceal ─ Opus ─┐
//!                 └──────── pace: faster, slower ──────────── queue ─ stretch ─ gain ─ block
//! ```

mod opus;
mod queue;
mod report;

use std::time::Duration;

use audiopus::{Channels, SampleRate, coder::Decoder};

pub use self::report::{Playing, Reception, Rendered, VoiceDecoderStats};
use self::{
    opus::{conceal, decode, packet_samples, repairs_the_one_before},
    queue::{Queue, SamplePosition},
};
use crate::{
    AudioError, BLOCK_SAMPLES, Block,
    jitter::{self, Frame, JitterBuffer, Pace, PlayoutAction, When},
    level::{SILENCE_DBFS, rms_dbfs},
    stretch::{self, Join, SHORTEST},
};

/// Over this many samples (5 ms) speech fades in after concealment that had faded away.
const FADE_IN_SAMPLES: usize = 240;

/// Concealment fades from full after 60 ms to nothing at its end.
const FADE_START_SAMPLES: u32 = 2_880;
const FADE_END_SAMPLES: u32 = (jitter::LONGEST_CONCEALMENT.as_millis() as u32) * 48;

/// Louder than this counts as speaking …
const SPEAKING_DBFS: f32 = -50.0;

/// … for this many blocks (250 ms) more.
const SPEAKING_HANGOVER_BLOCKS: u32 = 25;

/// How fast the level shown falls, per block.
const LEVEL_FALL_DB: f32 = 1.5;

/// How fast the loudness of the last words is forgotten, per frame.
const LOUDNESS_FALL_DB: f32 = 0.1;

/// A frame this far below the last words' loudness is a pause between them.
const PAUSE_BELOW_SPEECH_DB: f32 = 25.0;

/// To cut running speech, so much of it must be decoded (30 ms).
const ENOUGH_TO_SHORTEN: usize = 1_440;

/// Between two changes of running speech at leisure lie so many samples (50 ms), in haste so many
/// (20 ms).
const CALM_INTERVAL: usize = 2_400;
const URGENT_INTERVAL: usize = 960;

/// Running speech is joined where it is at least this much alike, at leisure and in haste.
const ALIKE_CALMLY: f32 = 0.8;
const ALIKE_URGENTLY: f32 = 0.4;

/// While a frame is waited for, what is here is made longer by at most this (20 ms).
const LONGEST_WAIT_BY_STRETCHING: usize = 960;

/// Hears one speaker: jitter buffer, Opus decoder, stretching, gain and level.
#[derive(Debug)]
pub struct VoiceDecoder {
    jitter: JitterBuffer,
    decoder: Decoder,
    queue: Queue,
    /// The frame last decoded, to know whether the next follows it.
    decoded: Option<(u64, u64)>,
    /// Samples concealed in a row.
    concealed_in_a_row: u32,
    /// Samples rendered since speech was last stretched, and by how much it was since a frame was
    /// decoded.
    since_stretch: usize,
    lengthened_since_frame: usize,
    playing: Option<Playing>,
    gain: f32,
    gain_before: f32,
    level_dbfs: f32,
    /// The loudness of the last words, which pauses are compared with.
    loudness_dbfs: f32,
    speaking_blocks_left: u32,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    heard: u64,
    skipped: u64,
    invalid: u64,
    concealed_samples: u64,
    shortened_samples: u64,
    lengthened_samples: u64,
}

impl VoiceDecoder {
    /// A listener to a speaker nothing came from yet.
    pub fn new() -> Result<Self, AudioError> {
        Ok(Self {
            jitter: JitterBuffer::new(),
            decoder: Decoder::new(SampleRate::Hz48000, Channels::Mono)?,
            queue: Queue::new(),
            decoded: None,
            concealed_in_a_row: 0,
            since_stretch: 0,
            lengthened_since_frame: 0,
            playing: None,
            gain: 1.0,
            gain_before: 1.0,
            level_dbfs: SILENCE_DBFS,
            loudness_dbfs: SILENCE_DBFS,
            speaking_blocks_left: 0,
            counts: Counts::default(),
        })
    }

    /// Takes a frame that arrived, in any order and any number of times. `sequence` and `talkspurt`
    /// are extended: they never wrap. What is no Opus of 10 to 120 ms is counted and otherwise as
    /// if it were lost. Allocates nothing.
    pub fn receive(
        &mut self,
        now: Duration,
        sequence: u64,
        talkspurt: u64,
        last_of_talkspurt: bool,
        payload: &[u8],
    ) {
        self.insert(now, sequence, talkspurt, last_of_talkspurt, false, payload);
    }

    /// Takes a copy of the frame `sequence` that came inside the packet of a frame `behind_frames`
    /// later (the packet's own frame, with 0, is an original and belongs into
    /// [`receive`](Self::receive)). The copy is played if the original has not come when it is
    /// time. Allocates nothing.
    pub fn receive_copy(
        &mut self,
        now: Duration,
        sequence: u64,
        talkspurt: u64,
        behind_frames: u16,
        payload: &[u8],
    ) {
        if behind_frames > 0 {
            self.insert(now, sequence, talkspurt, false, true, payload);
        }
    }

    /// Writes the next 10 ms of this speaker. Allocates nothing.
    pub fn render(&mut self, now: Duration, out: &mut Block) -> Rendered {
        while self.queue.len() < BLOCK_SAMPLES {
            if !self.decode_next(now) {
                self.queue.finish_with_silence();
            }
        }
        self.keep_pace(now);
        let (rendered, playing) = self.queue.take(out);
        self.since_stretch = self.since_stretch.saturating_add(BLOCK_SAMPLES);
        self.playing = match rendered {
            Rendered::Speech | Rendered::Stretched => playing,
            Rendered::Concealed | Rendered::Silence => None,
        };
        self.measure(out);
        self.amplify(out);
        rendered
    }

    /// What the block last rendered begins with; `None` for silence and concealment.
    pub fn playing(&self) -> Option<Playing> {
        self.playing
    }

    /// How the speaker's frames arrived since this was last asked; `None` if none should have come.
    /// A frame is judged about 300 ms after those around it came, so that one that was overtaken is
    /// not called lost.
    pub fn take_reception(&mut self) -> Option<Reception> {
        let report = self.jitter.take_losses();
        (report.expected > 0).then(|| Reception {
            expected: report.expected,
            lost: report.lost,
            unrepaired: report.unrepaired,
            mean_loss_run: if report.lost > 0 {
                report.lost as f32 / report.runs.max(1) as f32
            } else {
                0.0
            },
            jitter_ms: report.jitter_ms,
            buffer_ms: self.jitter.buffer_ms(),
        })
    }

    /// Sets how loud this speaker is heard: 1 as sent, 0 not at all. The change spreads over one
    /// block. What is not a number or below zero counts as 0.
    pub fn set_gain(&mut self, gain: f32) {
        self.gain = gain.max(0.0);
    }

    /// How loud this speaker is heard.
    pub fn gain(&self) -> f32 {
        self.gain
    }

    /// The speaker's own level, before the gain: rises at once, falls by 150 dB a second.
    pub fn level_dbfs(&self) -> f32 {
        self.level_dbfs
    }

    /// Whether something louder than −50 dBFS was rendered within the last quarter of a second.
    pub fn is_speaking(&self) -> bool {
        self.speaking_blocks_left > 0
    }

    /// How long frames waited lately from their arrival to being played, in milliseconds.
    pub fn buffer_ms(&self) -> f32 {
        self.jitter.buffer_ms()
    }

    /// The counters.
    pub fn stats(&self) -> VoiceDecoderStats {
        let jitter = self.jitter.stats();
        let Counts {
            heard,
            skipped,
            invalid,
            concealed_samples,
            shortened_samples,
            lengthened_samples,
        } = self.counts;
        VoiceDecoderStats {
            frames_received: jitter.accepted,
            frames_heard: heard,
            frames_concealed: jitter.given_up,
            frames_repaired: jitter.repaired,
            frames_from_copies: jitter.from_copies,
            frames_late: jitter.late,
            frames_duplicate: jitter.duplicate,
            frames_overflow: jitter.overflow,
            frames_skipped: skipped,
            frames_invalid: invalid,
            concealed_ms: concealed_samples / 48,
            stretched_ms: (shortened_samples + lengthened_samples) / 48,
            accelerated_ms: shortened_samples / 48,
            decelerated_ms: lengthened_samples / 48,
            buffer_ms: self.jitter.buffer_ms(),
            target_ms: self.jitter.target_delay().as_secs_f32() * 1_000.0,
        }
    }

    fn insert(
        &mut self,
        now: Duration,
        sequence: u64,
        talkspurt: u64,
        last_of_talkspurt: bool,
        is_copy: bool,
        payload: &[u8],
    ) {
        match packet_samples(payload) {
            Some(samples) => {
                let repairs = repairs_the_one_before(payload);
                let frame = Frame {
                    sequence,
                    talkspurt,
                    last_of_talkspurt,
                    samples,
                    is_copy,
                    repairs,
                    payload,
                };
                self.jitter.insert(now, frame);
            }
            None => self.counts.invalid += 1,
        }
    }

    /// Decodes what is to be played next into the queue; false if that is silence.
    fn decode_next(&mut self, now: Duration) -> bool {
        match self.jitter.next(now, self.queue.len() as u32) {
            PlayoutAction::Silence => return false,
            PlayoutAction::Conceal { samples } => {
                let pcm = self.queue.append(samples as usize, Rendered::Concealed, None);
                conceal(&mut self.decoder, None, pcm);
                fade_concealment(pcm, &mut self.concealed_in_a_row);
                self.counts.concealed_samples += u64::from(samples);
            }
            PlayoutAction::Repair { sequence, talkspurt, samples, next } => {
                let place = place(&mut self.decoded, sequence, talkspurt, samples);
                let pcm = self.queue.append(samples as usize, Rendered::Speech, Some(place));
                conceal(&mut self.decoder, Some(next), pcm);
                begin_softly(pcm, std::mem::take(&mut self.concealed_in_a_row));
            }
            PlayoutAction::Frame(Frame { sequence, talkspurt, samples, payload, .. }) => {
                let place = place(&mut self.decoded, sequence, talkspurt, samples);
                let pcm = self.queue.append(samples as usize, Rendered::Speech, Some(place));
                if decode(&mut self.decoder, payload, pcm) {
                    self.counts.heard += 1;
                } else {
                    self.counts.invalid += 1;
                    conceal(&mut self.decoder, None, pcm);
                }
                begin_softly(pcm, std::mem::take(&mut self.concealed_in_a_row));
                self.loudness_dbfs = rms_dbfs(pcm).max(self.loudness_dbfs - LOUDNESS_FALL_DB);
                self.lengthened_since_frame = 0;
            }
        }
        true
    }

    /// Makes what waits shorter or longer, if the depth should change and it can be done well.
    fn keep_pace(&mut self, now: Duration) {
        match self.jitter.pace(now, self.queue.len() as u32) {
            Pace::Keep => {}
            Pace::Shorten { most, when } => {
                let most = most as usize;
                let is_quiet = self.is_quiet();
                if !is_quiet && !self.may_stretch(when) {
                    return;
                }
                let enough = if is_quiet {
                    (most + BLOCK_SAMPLES).max(ENOUGH_TO_SHORTEN)
                } else {
                    ENOUGH_TO_SHORTEN
                };
                while self.queue.len() < enough && self.jitter.has_next() && self.queue.has_room() {
                    self.decode_next(now);
                }
                self.shorten(most, when);
            }
            Pace::Lengthen { most, when } => {
                if self.is_quiet() || self.may_stretch(when) {
                    self.lengthen(most as usize, when);
                }
            }
        }
    }

    fn shorten(&mut self, most: usize, when: When) {
        let join = if self.is_quiet() {
            let samples = most.min(self.queue.len().saturating_sub(BLOCK_SAMPLES));
            (samples >= SHORTEST).then_some(Join { samples, likeness: 0.0 })
        } else {
            self.queue.find_shortening(most).filter(|join| is_alike(join, when))
        };
        if let Some(join) = join {
            self.queue.shorten(join);
            self.counts.shortened_samples += join.samples as u64;
            self.since_stretch = 0;
        }
    }

    fn lengthen(&mut self, most: usize, when: When) {
        let most = most.min(LONGEST_WAIT_BY_STRETCHING.saturating_sub(self.lengthened_since_frame));
        let join = if self.is_quiet() {
            let samples = most.min(stretch::LONGEST);
            (samples >= SHORTEST).then_some(Join { samples, likeness: 0.0 })
        } else {
            self.queue.find_lengthening(most).filter(|join| is_alike(join, when))
        };
        if let Some(join) = join {
            self.queue.lengthen(join);
            self.counts.lengthened_samples += join.samples as u64;
            self.lengthened_since_frame += join.samples;
            self.since_stretch = 0;
        }
    }

    fn may_stretch(&self, when: When) -> bool {
        match when {
            When::Quiet => false,
            When::Calmly => self.since_stretch >= CALM_INTERVAL,
            When::Urgently => self.since_stretch >= URGENT_INTERVAL,
        }
    }

    /// Whether all that waits is a pause.
    fn is_quiet(&self) -> bool {
        rms_dbfs(self.queue.waiting())
            < SPEAKING_DBFS.max(self.loudness_dbfs - PAUSE_BELOW_SPEECH_DB)
    }

    fn measure(&mut self, block: &Block) {
        let loudness = rms_dbfs(block);
        self.level_dbfs = loudness.max(self.level_dbfs - LEVEL_FALL_DB).max(SILENCE_DBFS);
        self.speaking_blocks_left = if loudness > SPEAKING_DBFS {
            SPEAKING_HANGOVER_BLOCKS
        } else {
            self.speaking_blocks_left.saturating_sub(1)
        };
    }

    fn amplify(&mut self, block: &mut Block) {
        if self.gain == 1.0 && self.gain_before == 1.0 {
            return;
        }
        let step = (self.gain - self.gain_before) / BLOCK_SAMPLES as f32;
        for (index, sample) in block.iter_mut().enumerate() {
            *sample *= self.gain_before + step * index as f32;
        }
        self.gain_before = self.gain;
    }
}

/// Where a frame about to be decoded lies; remembers it for the next.
fn place(
    decoded: &mut Option<(u64, u64)>,
    sequence: u64,
    talkspurt: u64,
    frame_samples: u32,
) -> SamplePosition {
    let before = decoded.replace((sequence, talkspurt));
    // A talkspurt's first frame follows nothing; after a loss within a talkspurt, what was lost was
    // spoken all the same.
    let follows = before.is_some_and(|(_, talkspurt_before)| talkspurt_before == talkspurt);
    SamplePosition { sequence, talkspurt, frame_samples, follows, offset: 0 }
}

fn is_alike(join: &Join, when: When) -> bool {
    join.likeness >= if when == When::Urgently { ALIKE_URGENTLY } else { ALIKE_CALMLY }
}

/// Fades concealment, the more the longer it lasts.
fn fade_concealment(pcm: &mut [f32], concealed_in_a_row: &mut u32) {
    for (sample, age) in pcm.iter_mut().zip(*concealed_in_a_row..) {
        *sample *= share_of_concealment(age);
    }
    *concealed_in_a_row = concealed_in_a_row.saturating_add(pcm.len() as u32);
}

/// Takes the sound from what concealment had faded to, back to full.
fn begin_softly(pcm: &mut [f32], concealed_in_a_row: u32) {
    let from = share_of_concealment(concealed_in_a_row);
    if from < 1.0 {
        for (index, sample) in pcm.iter_mut().take(FADE_IN_SAMPLES).enumerate() {
            *sample *= from + (1.0 - from) * index as f32 / FADE_IN_SAMPLES as f32;
        }
    }
}

fn share_of_concealment(age: u32) -> f32 {
    1.0 - (age.saturating_sub(FADE_START_SAMPLES) as f32
        / (FADE_END_SAMPLES - FADE_START_SAMPLES) as f32)
        .min(1.0)
}
