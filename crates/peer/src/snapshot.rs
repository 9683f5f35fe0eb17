//! The situation in a room at a moment.

use std::sync::Arc;
use std::time::Duration;

use voicemesh_e2ee::SafetyCode;
use voicemesh_mesh::{MemberEncryption, ServerConnection};
use voicemesh_session::route::Route;
use voicemesh_wire::signaling::{MemberStatus, Metadata};
use voicemesh_wire::{PeerId, Permissions};

/// One other peer, as a person would want to see it.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerState {
    /// Who.
    pub peer: PeerId,
    /// Its name.
    pub name: String,
    /// The name to show: followed by `#` and the beginning of its id if it looks like the name of
    /// another peer in the room.
    pub label: String,
    /// What it publishes.
    pub metadata: Metadata,
    /// How it takes part, as its own program says.
    pub status: MemberStatus,
    /// The talk groups it listens to, in the order of their ids; empty while they are not known.
    pub groups: Arc<[String]>,
    /// What it may do. It lacks `speak` if a moderator has muted it for all, or its access token
    /// does not allow it.
    pub permissions: Permissions,
    /// The talk groups in which a moderator holds it; empty if it is held in none.
    pub held_in: Arc<[String]>,
    /// Its place in the order of arrival.
    pub order: u64,
    /// The way to it.
    pub route: Route,
    /// The link's round trip, once measured.
    pub round_trip: Option<Duration>,
    /// Whether it speaks.
    pub speaking: bool,
    /// How loud it was lately.
    pub level_dbfs: Option<f32>,
    /// Frames received from it, each once.
    pub frames_received: u64,
    /// Frames of it that were heard.
    pub frames_heard: u64,
    /// Frames of it that were concealed, because they did not come in time.
    pub frames_concealed: u64,
    /// Frames of it that were lost, and heard because a later packet carried them again.
    pub frames_from_copies: u64,
    /// Frames of it that were lost, and heard in the coarser form that the next frame carries.
    pub frames_repaired: u64,
    /// How long its frames lately waited to be heard.
    pub buffer: Duration,
    /// Of its frames, those that were lost on the way lately, before any repair: 0.0 to 1.0.
    pub loss: f32,
    /// From its microphone to this speaker, measured: microphone, network, buffers and speaker.
    /// `None` until measured.
    pub delay: Option<Duration>,
    /// Whether it keeps a recording of the room.
    pub recording: bool,
    /// How loud it is heard: a factor, 1.0 as spoken.
    pub gain: f32,
    /// Whether it is not heard because this peer muted it.
    pub muted: bool,
    /// Whether what passes between this peer and it is encrypted; `None` where neither encrypts
    /// ([`JoinOptions::encrypted`](crate::JoinOptions::encrypted)).
    pub encryption: Option<MemberEncryption>,
}

/// What the microphone gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MicrophoneState {
    /// How loud it was lately, after processing.
    pub level_dbfs: f32,
    /// The loudest sample lately, as captured.
    pub peak_dbfs: f32,
    /// How loud it is without speech.
    pub noise_floor_dbfs: f32,
    /// Whether it was too loud for the device lately.
    pub clipping: bool,
    /// How sure the detector is that there is speech: 0.0 to 1.0.
    pub speech_probability: f32,
    /// Whether what it gives is sent now.
    pub sending: bool,
}

impl Default for MicrophoneState {
    fn default() -> Self {
        Self {
            level_dbfs: -120.0,
            peak_dbfs: -120.0,
            noise_floor_dbfs: -120.0,
            clipping: false,
            speech_probability: 0.0,
            sending: false,
        }
    }
}

/// How speech is sent now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SendingState {
    /// Payload of one stream, in bits per second.
    pub bitrate_bps: u32,
    /// The most that a listener lost lately: 0.0 to 1.0.
    pub worst_loss: f32,
    /// How many earlier frames each packet repeats for listeners who lose many.
    pub copies: u8,
    /// What all streams together take of the uplink during speech, in bits per second.
    pub uplink_bps: u32,
    /// How many frames share a packet: more than one saves headers where the uplink is narrow.
    pub frames_per_packet: u8,
    /// What the uplink was found to carry, in bits per second; `None` while no limit was met.
    pub uplink_estimate_bps: Option<u32>,
    /// Not even one copy of speech at the lowest setting fits through the uplink: listeners hear
    /// gaps.
    pub upload_too_slow: bool,
}

/// The whole situation at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Whether this peer is in the room's session.
    pub connected: bool,
    /// Whether the server answers what it is asked. While it does not, nothing is known to arrive
    /// through it.
    pub server_answers: bool,
    /// `none` or `client`.
    pub mode: &'static str,
    /// The own id, once known.
    pub you: Option<PeerId>,
    /// The own name: as the others see it, once joined.
    pub name: String,
    /// What this peer may do. It lacks `speak` if a moderator has muted it for all, or its access
    /// token does not allow it.
    pub permissions: Permissions,
    /// The talk groups in which a moderator holds this peer; empty if it is held in none.
    pub held_in: Arc<[String]>,
    /// What this peer publishes, as the server last had it.
    pub metadata: Metadata,
    /// The peer that has been in the room longest, once known.
    pub owner: Option<PeerId>,
    /// What the room publishes.
    pub room_metadata: Metadata,
    /// Everyone else, in order of arrival.
    pub peers: Vec<PeerState>,
    /// Frames that the microphone has made.
    pub frames_spoken: u64,
    /// Whether nothing is sent.
    pub muted: bool,
    /// Whether nothing is heard.
    pub deafened: bool,
    /// Whether there is no microphone: none was chosen, or it is lost.
    pub listening_only: bool,
    /// What the microphone gives.
    pub microphone: MicrophoneState,
    /// Whether the key to talk is held.
    pub talking: bool,
    /// How speech is sent.
    pub sending: SendingState,
    /// Whether this peer keeps a recording of the room, which everyone can see by then.
    pub recording: bool,
    /// The connection to the server: the present one, or the last; `None` before the first.
    pub server_connection: Option<ServerConnection>,
    /// What the members compare to know that no server is in between: the same digits for all;
    /// `None` where this peer does not encrypt.
    pub safety_code: Option<SafetyCode>,
    /// Whether this peer has the room's key, so that members need compare nothing.
    pub has_room_key: bool,
    /// What full queues dropped since the join.
    pub drops: QueueDrops,
}

/// What was dropped since the join because a queue was full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDrops {
    /// Events that the program did not take in time.
    pub events: u64,
    /// Events and outputs between the parts of this library, which take them at once: anything but
    /// 0 is a fault of the library.
    pub internal: u64,
}
