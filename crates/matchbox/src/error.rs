//! Why a peer is not, or no longer, in its session.

use voicemesh_session::network::DisconnectReason;

use crate::frame::FrameError;

/// Why a room could not be hosted or joined, or was lost. Its sentence is what
/// [`DisconnectReason::Refused`] and
/// [`NetworkEvent::HostingFailed`](voicemesh_session::network::NetworkEvent::HostingFailed) say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoomError {
    /// The signaling server cannot be reached, or the connection to it ended while the room had no
    /// other peer.
    #[error("the signaling server is not there: {0}")]
    Signaling(String),
    /// matchbox_socket ended by a panic: it has some where a peer of the room sends what is no
    /// WebRTC.
    #[error("matchbox_socket failed: {0}")]
    Failed(String),
    /// No peer of the room has answered as its host in time.
    #[error("the room has no host")]
    NoHost,
    /// The room has a host.
    #[error("the room has another host")]
    AnotherHost,
    /// All places for clients are taken.
    #[error("the host is full")]
    Full,
    /// The host sent what is no frame of this network.
    #[error("the host sent {0}")]
    BadFrame(FrameError),
    /// The host says that it was sent what is no frame of this network.
    #[error("the host refuses what it was sent")]
    RefusedByHost,
}

impl From<RoomError> for DisconnectReason {
    fn from(error: RoomError) -> Self {
        Self::Refused(error.to_string())
    }
}
