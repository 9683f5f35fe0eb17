//! To which peers links are wanted, and what reachability tokens do.
//!
//! With explicit connections, both programs must connect to each other, as Discord's networking
//! manager expects. If only one does, the other receives
//! [`ConnectionRequested`](crate::MeshEvent::ConnectionRequested), and the attempt waits for it.
//! Speech does not wait: without a link, the server relays.

use std::collections::{BTreeMap, BTreeSet};

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ErrorCode, Metadata};

use crate::member::Member;
use crate::reachability::{REACHABILITY_KEY, Reachability};

/// To whom links are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connections {
    /// To everyone in the room.
    #[default]
    Automatic,
    /// To those whom the program connects to, if they connect as well.
    Explicit,
}

/// Why a connection was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChoiceError {
    /// No peer with that id is in the room.
    #[error("no peer of that id is in the room")]
    NotHere,
    /// The peer has published a newer token, or runs anew.
    #[error("the peer has a newer reachability token")]
    Outdated,
    /// There is no connection to update; connect first.
    #[error("that peer is not connected to")]
    NotConnected,
}

impl ChoiceError {
    /// A stable name for programs.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::NotHere => ErrorCode::UnknownPeer,
            Self::Outdated => ErrorCode::Other("outdated-token".to_owned()),
            Self::NotConnected => ErrorCode::Other("not-connected".to_owned()),
        }
    }
}

/// What the program has said, of peers in the room only.
#[derive(Debug, Default)]
pub(super) struct LinkPreferences {
    chosen: BTreeMap<PeerId, LinkPreference>,
    /// Those whose wish for a link has been told.
    told: BTreeSet<PeerId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkPreference {
    /// The newest token that the program has named.
    Connected(u32),
    Disconnected,
}

impl LinkPreferences {
    /// A link to a peer is wanted from now on.
    pub(super) fn connect(
        &mut self,
        token: Reachability,
        member: Option<&Member>,
    ) -> Result<(), ChoiceError> {
        self.check(token, member)?;
        self.chosen.insert(token.peer, LinkPreference::Connected(token.serial));
        self.told.remove(&token.peer);
        Ok(())
    }

    /// A newer token of a peer to whom a link is wanted; whether it is another than before.
    pub(super) fn update(
        &mut self,
        token: Reachability,
        member: Option<&Member>,
        connections: Connections,
    ) -> Result<bool, ChoiceError> {
        self.check(token, member)?;
        if !self.is_wanted(token.peer, connections) {
            return Err(ChoiceError::NotConnected);
        }
        let choice = LinkPreference::Connected(token.serial);
        Ok(self.chosen.insert(token.peer, choice) != Some(choice))
    }

    /// No link to a peer is wanted until it is connected to again.
    pub(super) fn disconnect(&mut self, peer: PeerId) {
        self.chosen.insert(peer, LinkPreference::Disconnected);
        self.told.remove(&peer);
    }

    /// Whether a link to this peer is wanted.
    pub(super) fn is_wanted(&self, peer: PeerId, connections: Connections) -> bool {
        match (self.chosen.get(&peer), connections) {
            (Some(LinkPreference::Connected(_)), _) | (None, Connections::Automatic) => true,
            (Some(LinkPreference::Disconnected), _) | (None, Connections::Explicit) => false,
        }
    }

    /// A peer in the room wants a link: whether the program has to be told, which it is once until
    /// it decides.
    pub(super) fn requested(&mut self, peer: PeerId, connections: Connections) -> bool {
        !self.is_wanted(peer, connections) && self.told.insert(peer)
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.chosen.remove(&peer);
        self.told.remove(&peer);
    }

    fn check(&self, token: Reachability, member: Option<&Member>) -> Result<(), ChoiceError> {
        let member = member.ok_or(ChoiceError::NotHere)?;
        let published = published_serial(&member.metadata, token.peer).unwrap_or(0);
        let named = match self.chosen.get(&token.peer) {
            Some(LinkPreference::Connected(serial)) => *serial,
            Some(LinkPreference::Disconnected) | None => 0,
        };
        if token.run != member.run || token.serial < published.max(named) {
            return Err(ChoiceError::Outdated);
        }
        Ok(())
    }
}

/// The serial of the token that a peer publishes.
pub(super) fn published_serial(metadata: &Metadata, peer: PeerId) -> Option<u32> {
    metadata
        .get(REACHABILITY_KEY)
        .and_then(|token| Reachability::parse(token, peer).ok())
        .map(|token| token.serial)
}
