//! One microphone, from what it hears to what is sent.

use std::time::Duration;

use super::{
    chain::Chain,
    detector::VoiceDetector,
    meter::{Meter, MicrophoneLevel},
    pre_roll::PreRoll,
    settings::{Activation, MicrophoneConfig, Processing},
    voice_gate::{Heard, VoiceGate},
};
use crate::{AudioError, BLOCK_SAMPLES, Block, level};

/// A block whose peak is below this is digital silence: a switched-off or absent microphone, never
/// a quiet room.
const DIGITAL_SILENCE_PEAK: f32 = 1e-4; // −80 dBFS

/// After muting the chain's delay lines still hold what was said meanwhile; so many blocks flush
/// it.
const FLUSH_BLOCKS: u32 = 4;

/// Processes one microphone and decides what of it is sent.
///
/// ```
/// use voicemesh_audio::{BLOCK_SAMPLES, process::{Microphone, MicrophoneConfig}};
///
/// # fn main() -> Result<(), voicemesh_audio::AudioError> {
/// let mut microphone = Microphone::new(MicrophoneConfig::default())?;
/// for _ in 0..10 {
///     microphone.played(&[0.0; BLOCK_SAMPLES]); // what the mixer gave to the loudspeaker
///     microphone.push(&[0.0; BLOCK_SAMPLES]); // what was captured
///     while let Some(_block) = microphone.next_block() {
///         // encode it
///     }
///     if !microphone.is_open() {
///         // the talkspurt, if there was one, is over
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Microphone {
    chain: Chain,
    detector: VoiceDetector,
    voice_gate: VoiceGate,
    pre_roll: PreRoll,
    meter: Meter,
    mute: Mute,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mute {
    Muted,
    /// No longer muted, but so many blocks of it are still on their way through the chain.
    Flushing {
        blocks: u32,
    },
    Unmuted,
}

impl Microphone {
    /// A closed microphone that has heard nothing.
    ///
    /// # Errors
    /// A release delay that is too long.
    pub fn new(config: MicrophoneConfig) -> Result<Self, AudioError> {
        config.activation.check()?;
        Ok(Self {
            chain: Chain::new(config.processing),
            detector: VoiceDetector::new(),
            voice_gate: VoiceGate::new(config.activation),
            pre_roll: PreRoll::new(),
            meter: Meter::new(),
            mute: Mute::Unmuted,
        })
    }

    /// What is done to the sound.
    pub fn processing(&self) -> Processing {
        self.chain.processing()
    }

    /// Does something else to the sound; the change fades in after 30 ms, or after 1.5 s if it
    /// would otherwise interrupt echo cancellation. This allocates.
    pub fn set_processing(&mut self, processing: Processing) {
        self.chain.set_processing(processing);
    }

    /// By how much the processing delays sound; what is sent from before the opening is later
    /// still.
    pub fn delay(&self) -> Duration {
        self.chain.delay()
    }

    /// When sound is sent.
    pub fn activation(&self) -> Activation {
        self.voice_gate.activation()
    }

    /// Another rule for when sound is sent, from the next block on. Sound from before the change is
    /// not sent later.
    ///
    /// # Errors
    /// A release delay that is too long; the old rule stays.
    pub fn set_activation(&mut self, activation: Activation) -> Result<(), AudioError> {
        activation.check()?;
        if activation != self.voice_gate.activation() {
            self.voice_gate.set_activation(activation);
            self.pre_roll.forget_unsent();
        }
        Ok(())
    }

    /// Whether the key of push-to-talk is held; remembered under every activation.
    pub fn set_talking(&mut self, talking: bool) {
        self.voice_gate.set_talking(talking);
    }

    /// Mutes or unmutes. A muted microphone is closed and gives no block; nothing that it heard
    /// before or meanwhile is given later. What it learnt about echo and noise stays, and its level
    /// is still measured.
    pub fn set_muted(&mut self, muted: bool) {
        if muted == self.is_muted() {
            return;
        }
        self.voice_gate.close();
        self.pre_roll.clear();
        self.detector.reset();
        self.mute = match muted {
            true => Mute::Muted,
            false if self.chain.is_idle() => Mute::Unmuted,
            false => Mute::Flushing { blocks: FLUSH_BLOCKS },
        };
    }

    /// Whether the microphone is muted.
    pub fn is_muted(&self) -> bool {
        self.mute == Mute::Muted
    }

    /// How long sound takes from [`played`](Self::played) through loudspeaker and microphone to
    /// [`push`](Self::push), as far as the devices tell; up to 500 ms count. A hint only: the delay
    /// is found, and followed, without it.
    pub fn set_echo_delay(&mut self, delay: Duration) {
        self.chain.set_echo_delay(delay);
    }

    /// What the loudspeaker plays, after mixing and volume: one block for each block of the
    /// microphone, before it if the two come together. Without it echo cancellation does nothing.
    /// Does not allocate.
    pub fn played(&mut self, block: &Block) {
        self.chain.played(&finite(block));
    }

    /// The microphone's next block. Samples that are not numbers count as silence. Fetch with
    /// [`next_block`](Self::next_block) what is to be encoded.
    pub fn push(&mut self, block: &Block) {
        let mut block = finite(block);
        let sound = level::peak(&block) >= DIGITAL_SILENCE_PEAK;
        self.meter.measure(&block);
        self.chain.clean(&mut block);
        let voice = self.detector.listen(&block);
        self.chain.level(&mut block);
        match self.mute {
            Mute::Muted => return,
            Mute::Flushing { blocks } => {
                self.mute =
                    if blocks > 1 { Mute::Flushing { blocks: blocks - 1 } } else { Mute::Unmuted };
                return;
            }
            Mute::Unmuted => {}
        }
        self.pre_roll.push(&block);
        let was_open = self.voice_gate.is_open();
        if !self.voice_gate.decide(Heard { sound, voice }) {
            return;
        }
        match self.voice_gate.activation() {
            Activation::Voice if !was_open => self.pre_roll.send_from_onset(),
            Activation::Voice | Activation::Always | Activation::PushToTalk { .. } => {
                self.pre_roll.send_latest()
            }
        }
    }

    /// The next block to be encoded, if there is one.
    pub fn next_block(&mut self) -> Option<&Block> {
        self.pre_roll.next()
    }

    /// Whether what was pushed last is sent. A talkspurt begins when this becomes true and ends
    /// when it becomes false.
    pub fn is_open(&self) -> bool {
        self.voice_gate.is_open()
    }

    /// Levels of what was pushed, muted or not, and what the detector thinks of it.
    pub fn level(&self) -> MicrophoneLevel {
        MicrophoneLevel {
            level_dbfs: self.meter.level_dbfs(),
            peak_dbfs: self.meter.peak_dbfs(),
            noise_floor_dbfs: self.meter.noise_floor_dbfs(),
            clipping: self.meter.is_clipping(),
            speech_probability: self.detector.probability(),
            open: self.is_open(),
        }
    }
}

/// The block with silence where there are no numbers.
fn finite(block: &Block) -> Block {
    let mut finite = [0.0; BLOCK_SAMPLES];
    for (finite, &sample) in finite.iter_mut().zip(block) {
        if sample.is_finite() {
            *finite = sample;
        }
    }
    finite
}
