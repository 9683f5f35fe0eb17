//! The rules of a server's rooms.

use std::sync::Arc;
use std::time::Duration;

use voicemesh_session::ServerConfig;
use voicemesh_wire::signaling::ServerLimits;

use super::{IceRules, VoiceRates};
use crate::grant::TokenVerifier;

/// What holds for every room of a server.
#[derive(Clone, Debug, Default)]
pub struct RoomRules {
    /// The limits sent to peers and enforced by the server.
    pub limits: ServerLimits,
    /// Peers may not open links: no signal is passed on, and no ICE server is named.
    pub relay_only: bool,
    /// A room that is entered sooner after the server's start gives no right to moderate: those who
    /// had it may still come back.
    pub owner_after: Duration,
    /// Tickets are valid after a restart of the server as well.
    pub tickets_outlast_restarts: bool,
    /// The ICE servers named to peers for their links.
    pub ice: IceRules,
    /// For the session server of each room. Its quarantine of client ids is also how long an empty
    /// room is remembered.
    pub session: ServerConfig,
    /// Who may join; `None` is everyone.
    pub tokens: Option<Arc<dyn TokenVerifier>>,
    /// How much speech is passed on.
    pub voice: VoiceRates,
}
