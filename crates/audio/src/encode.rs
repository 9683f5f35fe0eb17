//! Blocks of the microphone in, Opus frames out.

use audiopus::{Application, Bitrate, Channels, SampleRate, Signal, coder::Encoder};

use crate::{AudioError, BLOCK_SAMPLES, Block, FrameDuration, MAX_FRAME_BYTES};

const LONGEST_FRAME_SAMPLES: usize = FrameDuration::Ms60.samples();

pub use voicemesh_uplink::plan::RECOMMENDED_BITRATE_BPS;

/// How much work encoding may be, where quality costs the processor's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// For batteries and small machines.
    Low,
    /// The usual choice.
    #[default]
    Balanced,
    /// For desktops: the last bit of quality at the same bitrate.
    High,
}

impl Profile {
    /// The encoder's effort for [`SpeechConfig::complexity`].
    pub const fn complexity(self) -> u8 {
        match self {
            Self::Low => 2,
            Self::Balanced => 5,
            Self::High => 9,
        }
    }
}

/// The relay passes 24 kB/s of one speaker to one listener: frames of 10 ms at this bitrate, with
/// two copies each (three fifths of the bitrate each time) and their headers, are just below.
pub const MAX_BITRATE_BPS: u32 = 90_000;

/// How speech is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeechConfig {
    /// Speech per frame.
    pub frame: FrameDuration,
    /// Payload bits per second, 6,000 to 90,000; [`RECOMMENDED_BITRATE_BPS`] are those to choose
    /// from.
    pub bitrate_bps: u32,
    /// Effort of the encoder, 0 to 10; a [`Profile`] gives one.
    pub complexity: u8,
    /// Whether a frame also carries a coarse copy of the one before it, from which a receiver
    /// repairs a loss.
    pub fec: bool,
    /// The loss the encoder prepares for, 0 to 100. With 0 the encoder sends no copies whatever
    /// `fec` says.
    pub expected_loss_percent: u8,
}

impl Default for SpeechConfig {
    fn default() -> Self {
        Self {
            frame: FrameDuration::Ms20,
            bitrate_bps: 32_000,
            complexity: Profile::Balanced.complexity(),
            fec: true,
            expected_loss_percent: 10,
        }
    }
}

/// The encoder of one microphone: collects blocks into frames and encodes them.
#[derive(Debug)]
pub struct VoiceEncoder {
    encoder: Encoder,
    config: SpeechConfig,
    pending: [f32; LONGEST_FRAME_SAMPLES],
    pending_samples: usize,
    encoded: [u8; MAX_FRAME_BYTES],
}

impl VoiceEncoder {
    /// An encoder with nothing collected.
    pub fn new(config: SpeechConfig) -> Result<Self, AudioError> {
        let mut encoder = Encoder::new(SampleRate::Hz48000, Channels::Mono, Application::Voip)?;
        encoder.set_signal(Signal::Voice)?;
        let mut speech = Self {
            encoder,
            config,
            pending: [0.0; LONGEST_FRAME_SAMPLES],
            pending_samples: 0,
            encoded: [0; MAX_FRAME_BYTES],
        };
        speech.configure(config)?;
        Ok(speech)
    }

    /// Changes the settings, mid-speech if need be: they hold from the next frame on, without a gap
    /// or a click, and without an allocation. Only another frame duration is heard, because it
    /// forgets the blocks of the frame in the making. On an error the old settings stay.
    pub fn configure(&mut self, config: SpeechConfig) -> Result<(), AudioError> {
        check(&config)?;
        self.encoder.set_bitrate(Bitrate::BitsPerSecond(config.bitrate_bps as i32))?;
        self.encoder.set_complexity(config.complexity)?;
        self.encoder.set_inband_fec(config.fec)?;
        self.encoder.set_packet_loss_perc(config.expected_loss_percent)?;
        if config.frame != self.config.frame {
            self.reset_partial();
        }
        self.config = config;
        Ok(())
    }

    /// The settings in force.
    pub fn config(&self) -> &SpeechConfig {
        &self.config
    }

    /// Takes the next block; gives the encoded frame when this block completed one. Allocates
    /// nothing. Samples that are not numbers count as silence.
    pub fn push(&mut self, block: &Block) -> Result<Option<&[u8]>, AudioError> {
        let place = &mut self.pending[self.pending_samples..self.pending_samples + BLOCK_SAMPLES];
        for (slot, &sample) in place.iter_mut().zip(block) {
            *slot = if sample.is_finite() { sample } else { 0.0 };
        }
        self.pending_samples += BLOCK_SAMPLES;
        let frame_samples = self.config.frame.samples();
        if self.pending_samples < frame_samples {
            return Ok(None);
        }
        self.pending_samples = 0;
        let length =
            self.encoder.encode_float(&self.pending[..frame_samples], &mut self.encoded)?;
        Ok(Some(&self.encoded[..length]))
    }

    /// How many blocks wait for the rest of their frame. At the end of a talkspurt the caller
    /// pushes silence until the frame is complete, or forgets it with
    /// [`reset_partial`](Self::reset_partial).
    pub fn partial_blocks(&self) -> usize {
        self.pending_samples / BLOCK_SAMPLES
    }

    /// Forgets the blocks that wait for the rest of their frame.
    pub fn reset_partial(&mut self) {
        self.pending_samples = 0;
    }
}

fn check(config: &SpeechConfig) -> Result<(), AudioError> {
    let limits = [
        ("bitrate_bps", "6000 to 90000", config.bitrate_bps, 6_000..=MAX_BITRATE_BPS),
        ("complexity", "0 to 10", config.complexity.into(), 0..=10),
        ("expected_loss_percent", "0 to 100", config.expected_loss_percent.into(), 0..=100),
    ];
    match limits.into_iter().find(|(_, _, given, range)| !range.contains(given)) {
        Some((setting, allowed, given, _)) => Err(AudioError::Setting { setting, allowed, given }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_outside_the_codecs_range_are_refused_with_their_name() {
        for (config, name) in [
            (SpeechConfig { bitrate_bps: 5_999, ..Default::default() }, "bitrate_bps"),
            (SpeechConfig { complexity: 11, ..Default::default() }, "complexity"),
            (
                SpeechConfig { expected_loss_percent: 101, ..Default::default() },
                "expected_loss_percent",
            ),
        ] {
            let error = VoiceEncoder::new(config).expect_err(name);
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn a_refused_change_leaves_the_old_settings() {
        let mut speech = VoiceEncoder::new(SpeechConfig::default()).expect("default settings");
        speech
            .configure(SpeechConfig { complexity: 11, ..Default::default() })
            .expect_err("complexity");
        assert_eq!(speech.config(), &SpeechConfig::default());
    }

    #[test]
    fn resetting_starts_the_frame_anew() {
        let mut speech = VoiceEncoder::new(SpeechConfig::default()).expect("default settings");
        let block = [0.1; BLOCK_SAMPLES];
        assert!(speech.push(&block).expect("encodes").is_none());
        assert_eq!(speech.partial_blocks(), 1);
        speech.reset_partial();
        assert!(speech.push(&block).expect("encodes").is_none());
        assert!(speech.push(&block).expect("encodes").is_some());
    }

    #[test]
    fn changing_bitrate_fec_and_expected_loss_in_mid_speech_neither_clicks_nor_loses_a_frame() {
        use audiopus::coder::Decoder;
        let mut speech = VoiceEncoder::new(SpeechConfig::default()).expect("default settings");
        let mut decoder = Decoder::new(SampleRate::Hz48000, Channels::Mono).expect("a decoder");
        let mut heard = Vec::new();
        for index in 0..600 {
            let change = index / 6;
            let config = SpeechConfig {
                bitrate_bps: [16_000, 24_000, 64_000][change % 3],
                fec: change % 2 == 0,
                expected_loss_percent: [0, 10, 30, 5][change % 4],
                ..SpeechConfig::default()
            };
            speech.configure(config).expect("valid settings");
            let tone = |sample: usize| {
                0.3 * (std::f32::consts::TAU * 440.0 * sample as f32 / 48_000.0).sin()
            };
            let block = std::array::from_fn(|at| tone(index * BLOCK_SAMPLES + at));
            let frame = speech.push(&block).expect("encodes");
            assert_eq!(frame.is_some(), index % 2 == 1);
            if let Some(frame) = frame {
                let mut pcm = [0.0; 960];
                let packet = frame.try_into().expect("not empty");
                decoder
                    .decode_float(Some(packet), (&mut pcm[..]).try_into().expect("fits"), false)
                    .expect("decodes");
                heard.extend(pcm);
            }
        }
        let steps = heard[4_800..].windows(2).map(|pair| (pair[1] - pair[0]).abs());
        let steepest = steps.fold(0.0, f32::max);
        assert!(steepest < 0.035, "a step of {steepest} in a tone whose own are at most 0.017");
    }

    #[test]
    fn every_frame_duration_is_encoded_at_both_ends_of_the_recommended_bitrates() {
        for frame in FrameDuration::ALL {
            for bitrate_bps in [*RECOMMENDED_BITRATE_BPS.start(), *RECOMMENDED_BITRATE_BPS.end()] {
                let mut speech = VoiceEncoder::new(SpeechConfig {
                    frame,
                    bitrate_bps,
                    ..SpeechConfig::default()
                })
                .expect("valid settings");
                for index in 1..=60 {
                    let is_frame = speech.push(&[0.1; BLOCK_SAMPLES]).expect("encodes").is_some();
                    assert_eq!(is_frame, index % frame.blocks() == 0);
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_number_does_not_break_the_encoder() {
        let mut speech = VoiceEncoder::new(SpeechConfig::default()).expect("default settings");
        for block in
            [[f32::NAN; BLOCK_SAMPLES], [f32::INFINITY; BLOCK_SAMPLES], [1e30; BLOCK_SAMPLES]]
        {
            speech.push(&block).expect("encodes");
            speech.push(&block).expect("encodes");
        }
    }
}
