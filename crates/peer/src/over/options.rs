//! What it takes to have a voice over a game's network.

use voicemesh_audio::encode::SpeechConfig;
use voicemesh_audio::process::{Activation, Processing};
use voicemesh_audio::space::Handedness;
use voicemesh_device::{InputSpec, OutputSpec};
use voicemesh_e2ee::RoomKey;

use crate::options::SoundOptions;

/// A name, the devices, and what happens to their sound; everything but the name has a default.
///
/// ```
/// let options = voicemesh::over::Options::new("Ada");
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) name: String,
    pub(super) sound: SoundOptions,
    pub(super) room_key: Option<RoomKey>,
}

impl Options {
    /// The default microphone and speaker. The name is what others know this member by: a game
    /// that matches members with its players gives the player's own.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), sound: SoundOptions::default(), room_key: None }
    }

    /// Neither microphone nor speaker: for a dedicated server.
    #[must_use]
    pub fn without_devices(self) -> Self {
        self.input(InputSpec::Null).output(OutputSpec::Null)
    }

    /// The microphone.
    #[must_use]
    pub fn input(self, input: InputSpec) -> Self {
        Self { sound: SoundOptions { input, ..self.sound }, ..self }
    }

    /// The channel of the microphone or file to hear; see
    /// [`JoinOptions::input_channel`](crate::JoinOptions::input_channel).
    #[must_use]
    pub fn input_channel(self, channel: u16) -> Self {
        Self { sound: SoundOptions { input_channel: Some(channel), ..self.sound }, ..self }
    }

    /// The speaker.
    #[must_use]
    pub fn output(self, output: OutputSpec) -> Self {
        Self { sound: SoundOptions { output, ..self.sound }, ..self }
    }

    /// How speech is encoded.
    #[must_use]
    pub fn speech(self, speech: SpeechConfig) -> Self {
        Self { sound: SoundOptions { speech, ..self.sound }, ..self }
    }

    /// Begins muted.
    #[must_use]
    pub fn muted(self, muted: bool) -> Self {
        Self { sound: SoundOptions { muted, ..self.sound }, ..self }
    }

    /// What is done to the microphone's sound; see
    /// [`JoinOptions::processing`](crate::JoinOptions::processing).
    #[must_use]
    pub fn processing(self, processing: Processing) -> Self {
        Self { sound: SoundOptions { processing: Some(processing), ..self.sound }, ..self }
    }

    /// When the microphone's sound is sent; see
    /// [`JoinOptions::activation`](crate::JoinOptions::activation).
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        Self { sound: SoundOptions { activation: Some(activation), ..self.sound }, ..self }
    }

    /// What all that is sent may take of the uplink, in bits per second.
    #[must_use]
    pub fn uplink_bps(self, uplink_bps: u32) -> Self {
        Self { sound: SoundOptions { uplink_bps: Some(uplink_bps), ..self.sound }, ..self }
    }

    /// Encrypts speech and texts end to end, between members that have this key: who only passes
    /// them on, a dedicated server for example, cannot read them. Others neither hear nor are heard
    /// ([`PeerState::encryption`](crate::PeerState::encryption) says how it stands with each). Names are
    /// sealed as well: a member is here a moment later than its connection, and called `Member` if
    /// it has no key. Groups stay readable. The key is the game's to hand out, by another way than this
    /// network.
    #[must_use]
    pub fn room_key(self, key: RoomKey) -> Self {
        Self { room_key: Some(key), ..self }
    }

    /// A game with places; see [`JoinOptions::positional`](crate::JoinOptions::positional).
    #[must_use]
    pub fn positional(self, positional: bool) -> Self {
        Self { sound: SoundOptions { positional, ..self.sound }, ..self }
    }

    /// Which way the game's axes lie; see
    /// [`JoinOptions::handedness`](crate::JoinOptions::handedness).
    #[must_use]
    pub fn handedness(self, handedness: Handedness) -> Self {
        Self { sound: SoundOptions { handedness, ..self.sound }, ..self }
    }
}
