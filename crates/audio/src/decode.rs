//! One remote speaker: frames in as they arrive, a block of sound out whenever asked.

mod report;

use std::time::Duration;

use audiopus::{Channels, MutSignals, SampleRate, coder::Decoder, packet::Packet};

use crate::{
    AudioError, BLOCK_SAMPLES, Block, MAX_FRAME_BYTES,
    jitter::{self, Frame, JitterBuffer, Playout, Surplus},
    level::{SILENCE_DBFS, rms_dbfs},
};

pub use self::report::{ListenerStats, Playing, Reception, Rendered};

/// The longest packet Opus knows: 120 ms.
const LONGEST_PACKET_SAMPLES: usize = 5_760;

/// Frames that may be skipped for one block; the rest of a surplus waits for the next.
const MOST_SKIPPED_AT_ONCE: usize = 2;

/// Over this many samples (5 ms) a skipped frame blends into the one after it.
const SPLICE_SAMPLES: usize = 240;

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

/// Hears one speaker: jitter buffer, Opus decoder, gain and level.
#[derive(Debug)]
pub struct Listener {
    jitter: JitterBuffer,
    decoder: Decoder,
    pcm: Box<[f32; LONGEST_PACKET_SAMPLES]>,
    /// What of `pcm` is decoded and not yet rendered.
    ready: std::ops::Range<usize>,
    ready_is: Rendered,
    /// The beginning of a skipped frame, to be blended into the next.
    splice: Option<[f32; SPLICE_SAMPLES]>,
    /// Samples guessed in a row.
    concealed_in_a_row: u32,
    gain: f32,
    gain_before: f32,
    level_dbfs: f32,
    /// The loudness of the last words, which pauses are compared with.
    loudness_dbfs: f32,
    speaking_blocks_left: u32,
    heard: u64,
    invalid: u64,
    concealed_samples: u64,
    frame_playing: (u64, u64),
    playing: Option<Playing>,
}

impl Listener {
    /// A listener to a speaker nothing came from yet.
    pub fn new() -> Result<Self, AudioError> {
        Ok(Self {
            jitter: JitterBuffer::new(),
            decoder: Decoder::new(SampleRate::Hz48000, Channels::Mono)?,
            pcm: Box::new([0.0; LONGEST_PACKET_SAMPLES]),
            ready: 0..0,
            ready_is: Rendered::Silence,
            splice: None,
            concealed_in_a_row: 0,
            gain: 1.0,
            gain_before: 1.0,
            level_dbfs: SILENCE_DBFS,
            loudness_dbfs: SILENCE_DBFS,
            speaking_blocks_left: 0,
            heard: 0,
            invalid: 0,
            concealed_samples: 0,
            frame_playing: (0, 0),
            playing: None,
        })
    }

    /// Takes a frame that arrived, in any order and any number of times. `sequence` and `burst` are extended: they never
    /// wrap. What is no Opus of 10 to 120 ms is counted and otherwise as if it were lost.
    pub fn receive(&mut self, now: Duration, sequence: u64, burst: u64, last_of_burst: bool, payload: &[u8]) {
        match packet_samples(payload) {
            Some(samples) => {
                self.jitter.insert(now, Frame { sequence, burst, last_of_burst, samples, payload });
            }
            None => self.invalid += 1,
        }
    }

    /// Takes a copy of frame `sequence` that came inside the packet of a frame `behind_frames` later.
    pub fn receive_copy(&mut self, now: Duration, sequence: u64, burst: u64, behind_frames: u16, payload: &[u8]) {
        if behind_frames > 0 {
            self.receive(now, sequence, burst, false, payload);
        }
    }

    /// What the block last rendered begins with; `None` for silence and guesses.
    pub fn playing(&self) -> Option<Playing> {
        self.playing
    }

    /// How the speaker's frames arrived since this was last asked; `None` if none should have come.
    pub fn take_reception(&mut self) -> Option<Reception> {
        None
    }

    /// Writes the next 10 ms of this speaker. Allocates nothing.
    pub fn render(&mut self, now: Duration, out: &mut Block) -> Rendered {
        if self.ready.is_empty() {
            self.refill(now);
        }
        let rendered = if self.ready.is_empty() { Rendered::Silence } else { self.ready_is };
        let (sequence, burst) = self.frame_playing;
        let offset = Duration::from_micros(self.ready.start as u64 * 1_000 / 48);
        self.playing = (rendered == Rendered::Speech).then_some(Playing { sequence, burst, offset });
        if rendered == Rendered::Silence {
            out.fill(0.0);
        } else {
            // Whatever is decoded is whole blocks.
            out.copy_from_slice(&self.pcm[self.ready.start..self.ready.start + BLOCK_SAMPLES]);
            self.ready.start += BLOCK_SAMPLES;
        }
        self.measure(out);
        self.amplify(out);
        rendered
    }

    /// Sets how loud this speaker is heard: 1 as sent, 0 not at all. The change spreads over one block. What is not a
    /// number or below zero counts as 0.
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

    /// The counters.
    pub fn stats(&self) -> ListenerStats {
        let jitter = self.jitter.stats();
        ListenerStats {
            frames_received: jitter.accepted,
            frames_heard: self.heard,
            frames_concealed: jitter.given_up,
            frames_repaired: jitter.repaired,
            frames_late: jitter.late,
            frames_duplicate: jitter.duplicate,
            frames_overflow: jitter.overflow,
            frames_skipped: jitter.skipped,
            frames_invalid: self.invalid,
            concealed_ms: self.concealed_samples / 48,
            buffer_ms: self.jitter.buffer_ms(),
            target_ms: self.jitter.target_delay().as_secs_f32() * 1_000.0,
            ..ListenerStats::default()
        }
    }

    /// Decodes what is to be played next into `pcm`; leaves nothing ready for silence.
    fn refill(&mut self, now: Duration) {
        for attempt in 0..=MOST_SKIPPED_AT_ONCE {
            let (samples, surplus) = match self.jitter.next(now) {
                Playout::Silence => {
                    self.splice = None;
                    return;
                }
                Playout::Conceal { samples, fec } => {
                    guess(&mut self.decoder, fec, &mut self.pcm[..samples as usize]);
                    self.finish_guess(samples);
                    return;
                }
                Playout::Frame { frame, surplus } => {
                    if !decode(&mut self.decoder, frame.payload, &mut self.pcm[..frame.samples as usize]) {
                        let samples = frame.samples;
                        self.invalid += 1;
                        guess(&mut self.decoder, None, &mut self.pcm[..samples as usize]);
                        self.finish_guess(samples);
                        return;
                    }
                    self.frame_playing = (frame.sequence, frame.burst);
                    (frame.samples, surplus)
                }
            };
            self.finish_frame(samples);
            if attempt == MOST_SKIPPED_AT_ONCE || !self.should_skip(samples, surplus) {
                self.heard += 1;
                return;
            }
            let mut head = [0.0; SPLICE_SAMPLES];
            head.copy_from_slice(&self.pcm[..SPLICE_SAMPLES]);
            self.splice = Some(head);
            self.ready = 0..0;
            self.jitter.skipped(now, samples);
        }
    }

    fn finish_guess(&mut self, samples: u32) {
        self.make_ready(samples, Rendered::Concealed);
        let span = (FADE_END_SAMPLES - FADE_START_SAMPLES) as f32;
        for (sample, age) in self.pcm[..samples as usize].iter_mut().zip(self.concealed_in_a_row..) {
            *sample *= 1.0 - (age.saturating_sub(FADE_START_SAMPLES) as f32 / span).min(1.0);
        }
        self.concealed_in_a_row = self.concealed_in_a_row.saturating_add(samples);
        self.concealed_samples += u64::from(samples);
    }

    fn finish_frame(&mut self, samples: u32) {
        self.make_ready(samples, Rendered::Speech);
        let loudness = rms_dbfs(&self.pcm[..samples as usize]);
        self.loudness_dbfs = loudness.max(self.loudness_dbfs - LOUDNESS_FALL_DB);
        if self.concealed_in_a_row >= FADE_END_SAMPLES {
            // The guess had faded away: do not begin with a click.
            fade_in(&mut self.pcm[..SPLICE_SAMPLES]);
        }
        self.concealed_in_a_row = 0;
    }

    fn make_ready(&mut self, samples: u32, what: Rendered) {
        self.ready = 0..samples as usize;
        self.ready_is = what;
        if let Some(skipped) = self.splice.take() {
            fade_in(&mut self.pcm[..SPLICE_SAMPLES]);
            for (index, (sample, old)) in self.pcm.iter_mut().zip(skipped).enumerate() {
                *sample += old * (1.0 - index as f32 / SPLICE_SAMPLES as f32);
            }
        }
    }

    fn should_skip(&self, samples: u32, surplus: Surplus) -> bool {
        match surplus {
            Surplus::None => false,
            Surplus::Skip => true,
            Surplus::SkipIfQuiet => {
                let loudness = rms_dbfs(&self.pcm[..samples as usize]);
                loudness < SPEAKING_DBFS.max(self.loudness_dbfs - PAUSE_BELOW_SPEECH_DB)
            }
        }
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

/// How many samples a packet decodes to, if it is one we take: whole blocks of 10 ms, up to 120 ms.
fn packet_samples(payload: &[u8]) -> Option<u32> {
    if payload.len() > MAX_FRAME_BYTES {
        return None;
    }
    let packet = Packet::try_from(payload).ok()?;
    let samples = audiopus::packet::nb_samples(packet, SampleRate::Hz48000).ok()?;
    let whole_blocks = samples > 0 && samples <= LONGEST_PACKET_SAMPLES && samples % BLOCK_SAMPLES == 0;
    whole_blocks.then_some(samples as u32)
}

/// Decodes a packet that fills `pcm` exactly; false if it is broken.
fn decode(decoder: &mut Decoder, payload: &[u8], pcm: &mut [f32]) -> bool {
    let expected = pcm.len();
    let (Ok(packet), Ok(signals)) = (Packet::try_from(payload), MutSignals::try_from(pcm)) else { return false };
    decoder.decode_float(Some(packet), signals, false).is_ok_and(|samples| samples == expected)
}

/// Fills `pcm` with the copy that `next` carries of the lost frame, else with Opus' own guess, else with zeros.
fn guess(decoder: &mut Decoder, next: Option<&[u8]>, pcm: &mut [f32]) {
    let expected = pcm.len();
    let packet = next.and_then(|payload| Packet::try_from(payload).ok());
    let fec = packet.is_some();
    let guessed = MutSignals::try_from(&mut *pcm)
        .and_then(|signals| decoder.decode_float(packet, signals, fec))
        .is_ok_and(|samples| samples == expected);
    if !guessed {
        pcm.fill(0.0);
    }
}

fn fade_in(samples: &mut [f32]) {
    let count = samples.len() as f32;
    for (index, sample) in samples.iter_mut().enumerate() {
        *sample *= index as f32 / count;
    }
}
