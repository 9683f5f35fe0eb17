//! The way out: what the microphone gives → what is sent of it → encoder → frames.

use std::time::Duration;

use voicemesh_audio::encode::{SpeechConfig, VoiceEncoder};
use voicemesh_audio::process::{
    Activation, Microphone, MicrophoneConfig, MicrophoneLevel, Processing,
};
use voicemesh_audio::{AudioError, BLOCK_DURATION, BLOCK_SAMPLES, Block};
use voicemesh_uplink::plan::SendPlan;

const SILENCE: Block = [0.0; BLOCK_SAMPLES];

/// A frame to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpokenFrame<'a> {
    pub frame: &'a [u8],
    /// Nothing is said after it for now.
    pub pause_follows: bool,
}

/// One microphone's way to frames.
#[derive(Debug)]
pub(crate) struct CapturePipeline {
    microphone: Microphone,
    speech: VoiceEncoder,
    /// Whether a frame was sent after which no pause was told.
    in_speech: bool,
    frames: u64,
}

impl CapturePipeline {
    pub(crate) fn new(
        speech: SpeechConfig,
        microphone: MicrophoneConfig,
    ) -> Result<Self, AudioError> {
        let (microphone, speech) = (Microphone::new(microphone)?, VoiceEncoder::new(speech)?);
        Ok(Self { microphone, speech, in_speech: false, frames: 0 })
    }

    /// Muting really stops sending, and leaves talkspurt and targets as they are.
    pub(crate) fn set_muted(&mut self, muted: bool) {
        self.microphone.set_muted(muted);
    }

    pub(crate) fn is_muted(&self) -> bool {
        self.microphone.is_muted()
    }

    pub(crate) fn set_processing(&mut self, processing: Processing) {
        self.microphone.set_processing(processing);
    }

    pub(crate) fn processing(&self) -> Processing {
        self.microphone.processing()
    }

    pub(crate) fn set_activation(&mut self, activation: Activation) -> Result<(), AudioError> {
        self.microphone.set_activation(activation)
    }

    pub(crate) fn activation(&self) -> Activation {
        self.microphone.activation()
    }

    pub(crate) fn set_talking(&mut self, talking: bool) {
        self.microphone.set_talking(talking);
    }

    pub(crate) fn set_echo_delay(&mut self, delay: Duration) {
        self.microphone.set_echo_delay(delay);
    }

    /// What the speaker is about to play.
    pub(crate) fn played(&mut self, block: &Block) {
        self.microphone.played(block);
    }

    pub(crate) fn level(&self) -> MicrophoneLevel {
        self.microphone.level()
    }

    /// Whether sound is sent at the moment.
    pub(crate) fn is_open(&self) -> bool {
        self.microphone.is_open()
    }

    /// Frames made since the beginning.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Sends the next frames so. An encoder that refuses a plan goes on as before.
    pub(crate) fn follow(&mut self, plan: SendPlan) {
        let before = *self.speech.config();
        let (bitrate_bps, expected_loss_percent) = (plan.bitrate_bps, plan.expected_loss_percent);
        let config = SpeechConfig { bitrate_bps, expected_loss_percent, ..before };
        if config != before {
            let _ = self.speech.configure(config);
        }
    }

    /// How old the newest frame's first sample is, if the newest sample of the microphone is `age`
    /// old: processing has held it back, too.
    pub(crate) fn newest_frame_age(&self, age: Duration) -> Duration {
        let waiting = BLOCK_DURATION * self.speech.partial_blocks() as u32;
        age + self.microphone.delay()
            + waiting
            + Duration::from_millis(self.speech.config().frame.millis())
    }

    /// The next 10 ms; gives the frames that are complete and are to be sent. When speech begins
    /// that can be several, because the first syllable goes with them. When it has ended, one more
    /// frame, filled up with silence, says so.
    pub(crate) fn push(
        &mut self,
        block: &Block,
        mut send: impl FnMut(SpokenFrame<'_>),
    ) -> Result<(), AudioError> {
        self.microphone.push(block);
        while let Some(block) = self.microphone.next_block() {
            if let Some(frame) = self.speech.push(block)? {
                self.in_speech = true;
                self.frames += 1;
                send(SpokenFrame { frame, pause_follows: false });
            }
        }
        if self.microphone.is_open() {
            return Ok(());
        }
        while self.in_speech || self.speech.partial_blocks() > 0 {
            if let Some(frame) = self.speech.push(&SILENCE)? {
                self.in_speech = false;
                self.frames += 1;
                send(SpokenFrame { frame, pause_follows: true });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn always() -> CapturePipeline {
        let microphone =
            MicrophoneConfig { processing: Processing::OFF, activation: Activation::Always };
        CapturePipeline::new(SpeechConfig::default(), microphone).unwrap()
    }

    fn frames(speaking: &mut CapturePipeline, block: &Block, times: usize) -> Vec<bool> {
        let mut sent = Vec::new();
        for _ in 0..times {
            speaking.push(block, |frame| sent.push(frame.pause_follows)).unwrap();
        }
        sent
    }

    #[test]
    fn a_pause_is_told_once_with_a_frame_that_ends_in_silence() {
        let mut speaking = always();
        assert_eq!(frames(&mut speaking, &[0.1; BLOCK_SAMPLES], 7), [false; 3]);
        let ending = frames(&mut speaking, &SILENCE, 200);
        assert_eq!(ending.iter().filter(|pause| **pause).count(), 1);
        assert_eq!(ending.last(), Some(&true));
        assert!(frames(&mut speaking, &SILENCE, 200).is_empty());
    }

    #[test]
    fn muting_ends_what_is_being_said_with_one_silent_frame_and_sends_nothing_more() {
        let mut speaking = always();
        assert_eq!(frames(&mut speaking, &[0.1; BLOCK_SAMPLES], 6), [false; 3]);
        speaking.set_muted(true);
        assert_eq!(frames(&mut speaking, &[0.1; BLOCK_SAMPLES], 100), [true]);
        speaking.set_muted(false);
        assert_eq!(frames(&mut speaking, &[0.1; BLOCK_SAMPLES], 2), [false]);
    }
}
