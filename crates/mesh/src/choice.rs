//! To which peers links are wanted, and what reachability tokens do.
//!
//! With explicit connections, both programs must connect to each other, as Discord's networking manager expects. If
//! only one does, the other receives [`MeshEvent::ConnectionRequested`], and the attempt waits for it. Speech does not
//! wait: without a link, the server relays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ErrorCode, Metadata};

use super::{Mesh, MeshEvent};
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
    #[error("nobody of that id is in the room")]
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
pub(super) struct Choices {
    chosen: BTreeMap<PeerId, Choice>,
    /// Those whose wish for a link has been told.
    told: BTreeSet<PeerId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// The newest token that the program has named.
    Connected(u32),
    Disconnected,
}

impl Mesh {
    /// Wants a link to a peer, from now on.
    ///
    /// # Errors
    ///
    /// When the peer is not here, or has published a newer token.
    pub fn connect_peer(&mut self, now: Duration, token: Reachability) -> Result<(), ChoiceError> {
        self.check_token(token)?;
        self.choices.chosen.insert(token.peer, Choice::Connected(token.serial));
        self.choices.told.remove(&token.peer);
        self.try_anew(now, token.peer, true);
        Ok(())
    }

    /// A newer token of a connected peer. A link that works goes on; without one, it is tried at once.
    ///
    /// # Errors
    ///
    /// When there is no connection, or the token is not the newest.
    pub fn update_peer(&mut self, now: Duration, token: Reachability) -> Result<(), ChoiceError> {
        self.check_token(token)?;
        if !self.is_wanted(token.peer) {
            return Err(ChoiceError::NotConnected);
        }
        if self.choices.chosen.insert(token.peer, Choice::Connected(token.serial))
            != Some(Choice::Connected(token.serial))
        {
            self.try_anew(now, token.peer, true);
        }
        Ok(())
    }

    /// Wants no link to a peer until it is connected to again, and closes what there is.
    pub fn disconnect_peer(&mut self, peer: PeerId) {
        if self.roster.member(peer).is_some() {
            self.choices.chosen.insert(peer, Choice::Disconnected);
            self.choices.told.remove(&peer);
            self.close_links(peer);
        }
    }

    /// Whether the program wants a link to this peer.
    pub(super) fn is_wanted(&self, peer: PeerId) -> bool {
        match (self.choices.chosen.get(&peer), self.config.connections) {
            (Some(Choice::Connected(_)), _) | (None, Connections::Automatic) => true,
            (Some(Choice::Disconnected), _) | (None, Connections::Explicit) => false,
        }
    }

    /// A peer wants a link that is not wanted here. Told once, until the program decides.
    pub(super) fn tell_request(&mut self, peer: PeerId) {
        let here = self.roster.member(peer).is_some();
        if here && !self.is_wanted(peer) && self.choices.told.insert(peer) {
            self.tell(MeshEvent::ConnectionRequested { peer });
        }
    }

    /// A peer publishes something else than `former`: if that is a newer token, it may be reached now.
    pub(super) fn token_changed(&mut self, now: Duration, peer: PeerId, former: &Metadata) {
        let serial = |metadata: &Metadata| token_of(metadata, peer).map(|token| token.serial);
        let newest = self.roster.member(peer).and_then(|member| serial(&member.metadata));
        if newest > serial(former) {
            self.try_anew(now, peer, false);
        }
    }

    pub(super) fn forget_choice(&mut self, peer: PeerId) {
        self.choices.chosen.remove(&peer);
        self.choices.told.remove(&peer);
    }

    fn check_token(&self, token: Reachability) -> Result<(), ChoiceError> {
        let member = self.roster.member(token.peer).ok_or(ChoiceError::NotHere)?;
        let published = token_of(&member.metadata, token.peer).map_or(0, |published| published.serial);
        let named = match self.choices.chosen.get(&token.peer) {
            Some(Choice::Connected(serial)) => *serial,
            Some(Choice::Disconnected) | None => 0,
        };
        if token.run != member.run || token.serial < published.max(named) {
            return Err(ChoiceError::Outdated);
        }
        Ok(())
    }
}

fn token_of(metadata: &Metadata, peer: PeerId) -> Option<Reachability> {
    metadata.get(REACHABILITY_KEY).and_then(|token| Reachability::parse(token, peer).ok())
}
