//! Voice between the people in a room, to embed in any program.
//!
//! [`Room::join`] gives the room and its events. A background thread works; [`Events::poll`] gives
//! what happened and never blocks; handles group the calls ([`Room::microphone`],
//! [`Room::participant`] and so on); dropping both leaves the room.
//!
//! ```no_run
//! use voicemesh::{Event, JoinOptions, Room, RoomEvent, VoiceEvent};
//!
//! fn main() -> Result<(), voicemesh::JoinError> {
//!     let options = JoinOptions::new("wss://voice.example.org", "lobby").name("Ada");
//!     let (room, mut events) = Room::join(options)?;
//!     loop {
//!         while let Some(event) = events.poll() {
//!             match event {
//!                 Event::Room(RoomEvent::PeerJoined { name, .. }) => println!("{name} is here"),
//!                 Event::Voice(VoiceEvent::Speaking { peer, .. }) => room.participant(peer).set_gain(2.0),
//!                 Event::Room(RoomEvent::Left | RoomEvent::Refused { .. }) => return Ok(()),
//!                 _ => {}
//!             }
//!         }
//!         // … the rest of a frame …
//!     }
//! }
//! ```
//!
//! **Does.** Speaks to the signaling server, opens links to the others, runs the engine and the
//! devices. A peer that cannot be reached directly is served through the server, pair by pair.
//!
//! **Never does.** Block its caller, but in the calls that say so: dropping the last handle waits
//! until the others know, at most a second and a half, unless [`Room::leave_and_wait`] has done so
//! before. Call back into the program from another thread. Give up on a server that may come back.
//!
//! Inside: [`voicemesh_mesh::Carried`] is the [`Network`](voicemesh_session::Network) over signaling
//! and links, its [`Mesh`](voicemesh_mesh::Mesh) without I/O; one engine thread owns it together with the sound; the runtime's tasks
//! only move bytes into bounded queues.

mod carrier;
mod command;
mod connect;
mod data;
mod event;
mod flush;
mod game;
mod handles;
mod identity;
mod inbox;
mod join_error;
mod lobby;
mod met;
mod network_watch;
mod options;
pub mod over;
mod pasted;
mod receive_window;
mod record;
mod room;
mod server_url;
mod shared;
mod sleep_watch;
mod snapshot;
mod socket;
mod sound;
mod switch;
mod tls;
mod voice_loop;
#[cfg(test)]
mod words;
mod worker;

pub use connect::{AddressFailure, ConnectFailure, PlainNotTried, ProxyFailure, Unreached};
pub use data::SendError;
pub use event::{
    DataEvent, DeviceEvent, DeviceRole, ErrorCode, Event, EventKind, RoomEvent, Route, TimedEvent,
    VoiceEvent,
};
pub use game::{MixVoice, PeerVoice, TransmitOptions, VoiceAudience};
pub use handles::{
    GridAxes, GridChange, Group, Member, Microphone, ProximityGrid, Speaker, Transmission,
};
pub use join_error::JoinError;
pub use lobby::{ConnectError, MetadataTransaction};
pub use options::JoinOptions;
pub use record::RecordError;
pub use room::{Channel, Events, Lobby, Participant, PreparedJoin, Room};
pub use snapshot::{MicrophoneState, PeerState, QueueDrops, SendingState, Snapshot};
pub use voicemesh_mesh::{
    ANNOUNCEMENT_KEY, ChoiceError, Connections, MemberEncryption, PasswordChange, PeerLeftReason,
    REACHABILITY_KEY, ServerConnection, TokenError, TransactionError, TransactionId,
};

pub use bytes::Bytes;
pub use voicemesh_audio::FrameDuration;
pub use voicemesh_audio::encode::{Profile, SpeechConfig};
pub use voicemesh_audio::process::{Activation, NoiseSuppression, Processing};
pub use voicemesh_audio::space::{Attenuation, Curve, Handedness, Pose};
pub use voicemesh_device::{
    Cause, DeviceError, DeviceInfo, Direction, InputSpec, MicrophoneFeed, OutputSpec, devices,
};
pub use voicemesh_e2ee::{AnnouncementError, RoomKey, RoomKeyError, SafetyCode};
pub use voicemesh_session::Reliability;
pub use voicemesh_wire::limits::{GROUP_NAME_BYTES, TEXT_BYTES};
pub use voicemesh_wire::names::{NameError, short_ids};
pub use voicemesh_wire::packet::Priority;
pub use voicemesh_wire::signaling::{
    AccessToken, MemberStatus, Metadata, Moderation, OwnerRightState, Password, Presence,
};
pub use voicemesh_wire::{DisplayName, PeerId, Permissions, RoomName};
