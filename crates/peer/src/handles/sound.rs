//! The own microphone and the own speaker.

use voicemesh_audio::process::{Activation, Processing};
use voicemesh_audio::space::{Attenuation, Pose};
use voicemesh_device::{Capture, DeviceError, InputSpec, MicrophoneFeed, OutputSpec};

use super::controls::Controls;
use crate::command::VoiceCommand;
use crate::game::{MixVoice, ring};
use crate::sound::waker;

/// What this program sends; see [`Room::microphone`](crate::Room::microphone).
#[derive(Clone, Copy, Debug)]
pub struct Microphone<'a> {
    controls: &'a Controls,
}

impl<'a> Microphone<'a> {
    pub(crate) fn new(controls: &'a Controls) -> Self {
        Self { controls }
    }

    /// Muted, nothing is sent.
    pub fn set_muted(&self, muted: bool) {
        self.controls.command(VoiceCommand::SetMuted(muted));
    }

    /// Whether the key to talk is held. It matters with push-to-talk only.
    pub fn set_talking(&self, talking: bool) {
        self.controls.command(VoiceCommand::SetTalking(talking));
    }

    /// When the sound is sent, from now on.
    pub fn set_activation(&self, activation: Activation) {
        self.controls.command(VoiceCommand::SetActivation(activation));
    }

    /// What is done to the sound, from now on.
    pub fn set_processing(&self, processing: Processing) {
        self.controls.command(VoiceCommand::SetProcessing(processing));
    }

    /// Changes the device. The one in use goes on until the new one is open;
    /// [`DeviceEvent::Refused`](crate::DeviceEvent::Refused) reports one that cannot be opened.
    pub fn set_input(&self, input: InputSpec) {
        self.controls.command(VoiceCommand::SetInput(input));
    }

    /// How loud it is, in dBFS, after processing; also while nothing is sent. At most 20 ms old;
    /// allocates nothing.
    pub fn level(&self) -> f32 {
        self.controls.read_snapshot(|snapshot| snapshot.microphone.level_dbfs)
    }

    /// A microphone whose samples the program writes itself: mono, `rate_hz` of 8,000 to 192,000.
    /// It takes the place of the microphone in use, and is processed like one;
    /// [`set_input`](Self::set_input) takes its place again. To have no other before it, join with
    /// [`InputSpec::Program`](crate::InputSpec::Program).
    ///
    /// The feed may move to another thread, and may outlive the room.
    ///
    /// # Errors
    ///
    /// A rate outside of the range.
    pub fn open_feed(&self, rate_hz: u32) -> Result<MicrophoneFeed, DeviceError> {
        let (capture, feed) = Capture::of_program(rate_hz, waker(&self.controls.wake))?;
        self.controls.command(VoiceCommand::UseMicrophone(Box::new(capture)));
        Ok(feed)
    }
}

/// What this program plays; see [`Room::speaker`](crate::Room::speaker).
#[derive(Clone, Copy, Debug)]
pub struct Speaker<'a> {
    controls: &'a Controls,
}

impl<'a> Speaker<'a> {
    pub(crate) fn new(controls: &'a Controls) -> Self {
        Self { controls }
    }

    /// Deafened, nothing is heard.
    pub fn set_deafened(&self, deafened: bool) {
        self.controls.command(VoiceCommand::SetDeafened(deafened));
    }

    /// Changes the device; otherwise as [`Microphone::set_input`].
    pub fn set_output(&self, output: OutputSpec) {
        self.controls.command(VoiceCommand::SetOutput(output));
    }

    /// Where this peer's ears are, each frame if they move. A pose with a number that is none has
    /// no effect.
    pub fn set_listener(&self, pose: Pose) {
        self.controls.positions.lock().listener = Some(pose);
    }

    /// How voices get softer with distance. At first [`Attenuation::default`].
    pub fn set_attenuation(&self, attenuation: Attenuation) {
        self.controls.positions.lock().attenuation = Some(attenuation);
    }

    /// Everyone together, two sides, at `rate_hz` of 8,000 to 192,000. One at a time: another takes
    /// its place.
    ///
    /// # Errors
    ///
    /// A rate outside of the range.
    pub fn open_mix(&self, rate_hz: u32) -> Result<MixVoice, DeviceError> {
        let (source, reader) = ring(rate_hz, 2, &self.controls.wake)?;
        self.controls.command(VoiceCommand::OpenMix(Box::new(source)));
        Ok(MixVoice::new(reader, rate_hz))
    }
}
