//! What a [`VoiceEngine`](crate::VoiceEngine) is made from, and what it tells.

use std::time::Duration;

use voicemesh_audio::AudioError;
use voicemesh_audio::decode::VoiceDecoderStats;
use voicemesh_audio::encode::SpeechConfig;
use voicemesh_audio::process::{Activation, MicrophoneConfig, MicrophoneLevel, Processing};
use voicemesh_sealing::MemberEncryption;
use voicemesh_session::client::{ClientError, ClientEvent, Participant};
use voicemesh_session::network::DisconnectReason;
use voicemesh_session::route::Route;
use voicemesh_uplink::policy::UplinkStatus;
use voicemesh_wire::{ClientId, SessionId};

use crate::contract::ContractError;
use crate::mode::Mode;

/// What a [`VoiceEngine`](crate::VoiceEngine) is made from.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Display name.
    pub name: String,
    /// How speech is encoded on a network that loses nothing; bitrate and repair follow what
    /// listeners report.
    pub speech: SpeechConfig,
    /// What happens to the microphone's sound, and when it is sent.
    pub microphone: MicrophoneConfig,
    /// What all that is sent may take of the uplink, in bits per second; `None` for no limit.
    pub uplink_bps: Option<u32>,
    /// Where all that must be random comes from: session numbers and the first sequence number.
    /// Draw it at random.
    pub seed: u64,
}

impl EngineConfig {
    /// The usual settings, for sound that is sent as it is whenever there is any: a file, a game's
    /// own mix. For a microphone set [`microphone`](Self::microphone) to its default.
    pub fn new(name: impl Into<String>, seed: u64) -> Self {
        Self {
            name: name.into(),
            speech: SpeechConfig::default(),
            microphone: MicrophoneConfig {
                processing: Processing::OFF,
                activation: Activation::Always,
            },
            uplink_bps: None,
            seed,
        }
    }
}

/// A call could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Call `stop` first.
    #[error("already running as {0}")]
    AlreadyRunning(Mode),
    /// The call is for another mode.
    #[error("not running as a client")]
    NotAClient,
    /// The session cannot.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The codec cannot.
    #[error("{0}")]
    Audio(String),
}

impl From<AudioError> for EngineError {
    fn from(error: AudioError) -> Self {
        Self::Audio(error.to_string())
    }
}

/// What happened, in order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EngineEvent<P> {
    /// The session's events, but for its voice, which is heard instead.
    Session(ClientEvent<P>),
    /// A speaker is heard for the first time, or after a while of silence.
    FirstHeard {
        /// Who.
        who: Participant<P>,
    },
    /// A speaker begins or ceases to be heard.
    Speaking {
        /// Who.
        who: Participant<P>,
        /// Which.
        speaking: bool,
    },
    /// The network did not connect, and is asked for no other connection.
    ConnectFailed(DisconnectReason),
    /// The server side serves.
    Hosting(SessionId),
    /// The server side has ended by itself.
    HostingFailed(String),
    /// Whether what passes between this peer and a member is encrypted. Only where this peer does.
    EncryptionChanged {
        /// The session.
        session: SessionId,
        /// The member.
        client: ClientId,
        /// How it stands with it.
        encryption: MemberEncryption,
    },
    /// It is known how a member is called ([`VoiceEngine::name_of`](crate::VoiceEngine::name_of)).
    /// Only where this peer encrypts.
    MemberNamed {
        /// The session.
        session: SessionId,
        /// The member.
        client: ClientId,
    },
    /// The server side has ended one connection.
    ClientEnded {
        /// Whose.
        client: ClientId,
        /// How it was called; empty before its handshake.
        name: String,
        /// Why.
        reason: ClientEndReason,
    },
    /// The network reported what it must not; that had no effect. Of each rule only the first
    /// breach after a start is reported.
    ContractBroken(ContractError),
}

/// Why a server has ended the connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientEndReason {
    /// It sent more of what must not be lost than the server passes on, or more groups and texts.
    #[error("it sent more than the server passes on")]
    OverBudget,
}

/// Mode, connection and members, at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What runs.
    pub mode: Mode,
    /// A client: whether it is in a session. A server: whether it serves. A host: whether both are
    /// so.
    pub connected: bool,
    /// The session.
    pub session: Option<SessionId>,
    /// Everyone in it, the own client included: id and name.
    pub members: Vec<(ClientId, String)>,
}

/// One other peer, as a person would want to see it.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerStatus<P> {
    /// Who.
    pub who: Participant<P>,
    /// The way to it.
    pub route: Route,
    /// The link's smoothed round trip, once measured.
    pub round_trip: Option<Duration>,
    /// When something last came over the link.
    pub link_heard_at: Option<Duration>,
    /// Whether it is heard speaking now.
    pub speaking: bool,
    /// How loud, if anything was heard lately.
    pub level_dbfs: Option<f32>,
    /// What became of its frames.
    pub heard: Option<VoiceDecoderStats>,
    /// Of its frames, those that were lost on the way lately, before any repair: 0.0 to 1.0.
    pub loss: f32,
    /// From its microphone to this speaker, once measured.
    pub delay: Option<Duration>,
    /// What it reported of this peer's frames: the share that was lost on the way, 0.0 to 1.0.
    pub reported_loss: Option<f32>,
    /// How loud it is heard, as set: a factor.
    pub gain: f32,
    /// Whether it is not heard, as set.
    pub muted: bool,
}

/// The microphone, and how its speech is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeakingStatus {
    /// What it gives.
    pub level: MicrophoneLevel,
    /// Whether it is sent now.
    pub sending: bool,
    /// Payload of one stream, in bits per second.
    pub bitrate_bps: u32,
    /// The highest loss that a listener reports; 0.0 to 1.0.
    pub worst_loss: f32,
    /// Earlier frames that each packet repeats for those who lose many.
    pub copies: u8,
    /// What all packets together take during speech, in bits per second.
    pub uplink_bps: u32,
    /// How many frames share a packet.
    pub frames_per_packet: u8,
    /// What the uplink carries.
    pub uplink: UplinkStatus,
}
