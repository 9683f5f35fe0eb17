//! One other peer in the room.

use std::time::Duration;

use voicemesh_wire::signaling::{Capabilities, MemberStatus, Metadata, PeerInfo};
use voicemesh_wire::{ClientId, DisplayName, PeerId, Permissions};

/// One other peer in the room.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its id.
    pub peer: PeerId,
    /// Display name.
    pub name: String,
    /// The name, and the beginning of its id if it looks like the name of another peer in the room.
    pub label: String,
    /// What it publishes.
    pub metadata: Metadata,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Its place in the order of arrival.
    pub order: u64,
    /// What it may do.
    pub permissions: Permissions,
    /// The talk groups in which a moderator holds it; none if it is held nowhere.
    pub held_in: Vec<String>,
    /// How it takes part, as its own program says.
    pub status: MemberStatus,
    pub(super) run: u32,
    pub(super) presence: Presence,
    /// Its id in the session.
    pub(super) client: Option<ClientId>,
    /// As the server has it.
    pub(super) info: PeerInfo,
    pub(super) shown: DisplayName,
}

impl Member {
    /// Whether the server has lost it: only a link may still reach it.
    pub fn is_lost(&self) -> bool {
        self.presence != Presence::Here
    }
}

/// Whether the server has a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It does, as far as is known.
    Here,
    /// It does not, and the peer is given up then, or when its link is gone if that alone keeps it.
    Lost { until: Duration, kept_by_link: bool },
}

impl Member {
    pub(super) fn new(info: PeerInfo) -> Self {
        let name = DisplayName::received(&info.name, info.peer);
        Self {
            peer: info.peer,
            name: name.as_str().to_owned(),
            label: name.as_str().to_owned(),
            shown: name,
            metadata: info.metadata.clone(),
            capabilities: info.capabilities.clone(),
            order: info.order,
            permissions: info.permissions,
            held_in: info.held_in.clone(),
            status: info.status,
            run: info.run,
            presence: Presence::Here,
            client: Some(info.client),
            info,
        }
    }
}
