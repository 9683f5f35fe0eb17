//! What the owner of a microphone can choose.

use std::time::Duration;

use crate::AudioError;

/// How a microphone begins; all of it can be changed later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MicrophoneConfig {
    /// What is done to the sound.
    pub processing: Processing,
    /// When sound is sent.
    pub activation: Activation,
}

/// What is done to the microphone's sound.
///
/// The default is for a laptop: loudspeaker and microphone in one case, a fan beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processing {
    /// Removes what the loudspeaker plays. Costs nothing audible with headphones.
    pub echo_cancellation: bool,
    /// Removes steady noise.
    pub noise_suppression: NoiseSuppression,
    /// Makes quiet people louder, and keeps loud ones from clipping.
    pub automatic_gain: bool,
    /// Removes rumble below the voice (about 100 Hz). Echo cancellation and noise suppression do
    /// that anyway.
    pub high_pass: bool,
}

impl Processing {
    /// Nothing is done: every finite sample passes bit for bit.
    pub const OFF: Self = Self {
        echo_cancellation: false,
        noise_suppression: NoiseSuppression::Off,
        automatic_gain: false,
        high_pass: false,
    };
}

impl Default for Processing {
    fn default() -> Self {
        Self {
            echo_cancellation: true,
            noise_suppression: NoiseSuppression::High,
            automatic_gain: true,
            high_pass: true,
        }
    }
}

/// How much of the steady noise is removed; more removed noise is also more altered speech.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoiseSuppression {
    /// None.
    #[default]
    Off,
    /// About 6 dB.
    Low,
    /// About 12 dB.
    Moderate,
    /// About 18 dB.
    High,
}

/// When the microphone's sound is sent.
///
/// In all of them digital silence (a microphone that is switched off, or absent) ends sending after
/// 500 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// Whenever there is any sound, noise included.
    Always,
    /// When speech is detected.
    #[default]
    Voice,
    /// While the key is held, which [`Microphone::set_talking`](super::Microphone::set_talking)
    /// tells.
    PushToTalk {
        /// How long sending goes on after the key is let go, at most [`LONGEST_RELEASE`]: people
        /// let go early.
        release: Duration,
    },
}

/// The longest release delay of push-to-talk.
pub const LONGEST_RELEASE: Duration = Duration::from_secs(5);

impl Activation {
    pub(super) fn check(self) -> Result<(), AudioError> {
        match self {
            Self::PushToTalk { release } if release > LONGEST_RELEASE => Err(AudioError::Setting {
                setting: "release",
                allowed: "0 to 5000 ms",
                given: u32::try_from(release.as_millis()).unwrap_or(u32::MAX),
            }),
            Self::Always | Self::Voice | Self::PushToTalk { .. } => Ok(()),
        }
    }
}
