//! The members of a room, by connection and by peer, and what all of them are sent.

use std::collections::BTreeMap;

use uuid::Uuid;
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{PeerInfo, RosterMark, ServerMessage, roster_hash};

use crate::output::{ConnectionId, Purpose, RoomOutput, Text};

/// All members. Each has one connection, and each peer is one member.
#[derive(Debug, Default)]
pub(super) struct Members {
    members: BTreeMap<ConnectionId, PeerInfo>,
    connections: BTreeMap<PeerId, ConnectionId>,
    version: u64,
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn contains(&self, connection: ConnectionId) -> bool {
        self.members.contains_key(&connection)
    }

    pub(super) fn get(&self, connection: ConnectionId) -> Option<&PeerInfo> {
        self.members.get(&connection)
    }

    pub(super) fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut PeerInfo> {
        self.members.get_mut(&connection)
    }

    pub(super) fn peer_of(&self, connection: ConnectionId) -> Option<PeerId> {
        self.get(connection).map(|member| member.peer)
    }

    pub(super) fn connection_of(&self, peer: PeerId) -> Option<ConnectionId> {
        self.connections.get(&peer).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &PeerInfo)> {
        self.members.iter().map(|(connection, member)| (*connection, member))
    }

    pub(super) fn peers(&self) -> Vec<PeerId> {
        self.connections.keys().copied().collect()
    }

    /// Everyone in order of arrival.
    pub(super) fn roster(&self) -> Vec<PeerInfo> {
        let mut peers: Vec<PeerInfo> = self.members.values().cloned().collect();
        peers.sort_unstable_by_key(|member| member.order);
        peers
    }

    /// The peer that has been here longest.
    pub(super) fn owner(&self) -> Option<PeerId> {
        self.members.values().min_by_key(|member| member.order).map(|member| member.peer)
    }

    pub(super) fn insert(&mut self, connection: ConnectionId, info: PeerInfo) {
        self.connections.insert(info.peer, connection);
        self.members.insert(connection, info);
    }

    pub(super) fn remove(&mut self, connection: ConnectionId) -> Option<PeerInfo> {
        let member = self.members.remove(&connection)?;
        self.connections.remove(&member.peer);
        Some(member)
    }

    /// Something has changed that counts in the roster's version.
    pub(super) fn changed(&mut self) {
        self.version += 1;
    }

    /// The roster's version and hash.
    pub(super) fn mark(&self) -> RosterMark {
        RosterMark { version: self.version, hash: roster_hash(self.members.values()) }
    }

    /// The mark once `joiner` is among them.
    pub(super) fn mark_with(&self, joiner: &PeerInfo) -> RosterMark {
        RosterMark {
            version: self.version,
            hash: roster_hash(self.members.values().chain([joiner])),
        }
    }

    pub(super) fn broadcast(
        &self,
        message: &ServerMessage,
        purpose: Purpose,
        out: &mut impl RoomOutput,
    ) {
        if self.members.is_empty() {
            return;
        }
        let text = Text::from(message);
        for connection in self.members.keys() {
            out.text(*connection, &text, purpose);
        }
    }

    /// What a member publishes, in place of so many changes. Of one that has left only the number
    /// is sent, as of a peer that no one knows: its receiver may still have a link to it.
    pub(super) fn published(&self, by: Option<PeerId>, changes: u32) -> ServerMessage {
        let member = by.and_then(|peer| self.connection_of(peer)).and_then(|of| self.get(of));
        ServerMessage::Metadata {
            peer: member.map_or(PeerId(Uuid::nil()), |member| member.peer),
            metadata: member.map(|member| member.metadata.clone()).unwrap_or_default(),
            changes,
        }
    }

    pub(super) fn send_roster(&self, to: ConnectionId, out: &mut impl RoomOutput) {
        let roster = ServerMessage::Roster { mark: self.mark(), peers: self.roster() };
        out.text(to, &Text::from(&roster), Purpose::Snapshot);
    }
}
