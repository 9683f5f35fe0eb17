//! What a client is made from, where it is on its way into a session, and why a call fails.

use std::time::Duration;

use voicemesh_wire::limits::{GROUP_NAME_BYTES, GROUPS_PER_CLIENT, TEXT_BYTES};
use voicemesh_wire::packet::CodecSettings;

use crate::transport::PacketLimits;
use crate::voice_targets::TooManyTargets;

/// What a client is made from.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Display name.
    pub name: String,
    /// How it encodes its voice.
    pub codec: CodecSettings,
    /// Where its frame counter starts; draw it at random.
    pub first_sequence: u16,
    /// Names this end of what is open to others; draw it at random.
    pub data_seed: u64,
    /// A handshake without an answer is repeated after this.
    pub handshake_retry: Duration,
    /// A client that the server lost but a link reaches is kept this long.
    pub keep_lost: Duration,
    /// The largest packets that the network carries.
    pub limits: PacketLimits,
}

impl ClientConfig {
    /// The usual times.
    pub fn new(name: impl Into<String>, codec: CodecSettings, first_sequence: u16) -> Self {
        let name = name.into();
        Self {
            name,
            codec,
            first_sequence,
            data_seed: first_sequence.into(),
            handshake_retry: Duration::from_secs(5),
            keep_lost: Duration::from_secs(120),
            limits: PacketLimits::default(),
        }
    }
}

/// Where a client is on its way into a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No connection to a server.
    Offline,
    /// Connected, and waiting for the server's answer.
    Handshaking {
        /// When it was last asked for.
        asked_at: Duration,
    },
    /// In the session.
    Joined,
}

/// A call could not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Wait for [`ClientEvent::Joined`](super::ClientEvent::Joined).
    #[error("not in a session")]
    NotJoined,
    /// The text is over the limit.
    #[error("text can have at most {TEXT_BYTES} bytes")]
    TextTooLong,
    /// The name is over the limit.
    #[error("a group's name can have at most {GROUP_NAME_BYTES} bytes")]
    GroupNameTooLong,
    /// Another group is in use whose name has the same id.
    #[error("another group in this session shares this name's id; choose another name")]
    GroupNameTaken,
    /// Leave another group first.
    #[error("one can listen to at most {GROUPS_PER_CLIENT} groups")]
    TooManyGroups,
    /// Close another target first.
    #[error(transparent)]
    TooManyTargets(#[from] TooManyTargets),
    /// The server does not permit this client to write.
    #[error("this client may not write in this room")]
    NotPermitted,
    /// No such client is in the session.
    #[error("no such client is in the session")]
    UnknownClient,
}
