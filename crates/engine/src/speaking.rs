//! The way out: microphone block → gate → encoder → frame.

use voicemesh_audio::encode::{Speech, SpeechConfig};
use voicemesh_audio::process::{Decision, Gate};
use voicemesh_audio::{AudioError, Block};

/// One microphone's way to frames.
#[derive(Debug)]
pub(crate) struct Speaking {
    gate: Gate,
    speech: Speech,
    muted: bool,
    frames: u64,
}

impl Speaking {
    pub(crate) fn new(config: SpeechConfig) -> Result<Self, AudioError> {
        Ok(Self { gate: Gate::new(), speech: Speech::new(config)?, muted: false, frames: 0 })
    }

    /// Muting really stops sending, and leaves burst and targets as they are.
    pub(crate) fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
        if muted {
            self.speech.reset_partial();
        }
    }

    pub(crate) fn is_muted(&self) -> bool {
        self.muted
    }

    /// Frames made since the beginning.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// The next 10 ms; a frame when one is complete and is to be sent.
    pub(crate) fn push(&mut self, block: &Block) -> Result<Option<&[u8]>, AudioError> {
        if self.muted {
            return Ok(None);
        }
        if self.gate.decide(block) == Decision::Hold {
            self.speech.reset_partial();
            return Ok(None);
        }
        let frame = self.speech.push(block)?;
        self.frames += u64::from(frame.is_some());
        Ok(frame)
    }
}
