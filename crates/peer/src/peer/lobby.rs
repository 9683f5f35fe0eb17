//! The room as a lobby: metadata, moderation, and connections to peers by their tokens.

use voicemesh_mesh::{MetadataScope, Reachability, TransactionId};
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::Moderation;

use super::Peer;
use crate::command::{Command, LobbyCommand};
use crate::lobby::{ConnectError, MetadataTransaction};

impl Peer {
    /// Changes what this peer publishes about itself: at most 31 keys and 8 KiB, beside its token.
    /// [`Event::TransactionDone`] tells how it went, also if the connection is lost meanwhile: the change is then made with
    /// the next join.
    ///
    /// # Errors
    ///
    /// When the engine does not take it: nothing follows.
    ///
    /// [`Event::TransactionDone`]: crate::Event::TransactionDone
    pub fn set_metadata(&self, changes: MetadataTransaction) -> Result<TransactionId, ConnectError> {
        self.transact(MetadataScope::Own, changes)
    }

    /// Changes what the room publishes; otherwise as [`set_metadata`](Self::set_metadata). Only the owner may; for any
    /// other peer, the change fails with the code `not-owner`.
    ///
    /// # Errors
    ///
    /// As for [`set_metadata`](Self::set_metadata).
    pub fn set_room_metadata(&self, changes: MetadataTransaction) -> Result<TransactionId, ConnectError> {
        self.transact(MetadataScope::Room, changes)
    }

    /// Decides about a member or the room: mute for all, kick, ban, move, lock, password, and who has the owner's right.
    /// [`Event::TransactionDone`] tells how it went; a member that may not moderate is answered `not-moderator`. What the
    /// connection's end left without an answer has failed and is not sent again.
    ///
    /// # Errors
    ///
    /// As for [`set_metadata`](Self::set_metadata).
    ///
    /// [`Event::TransactionDone`]: crate::Event::TransactionDone
    pub fn moderate(&self, action: Moderation) -> Result<TransactionId, ConnectError> {
        let id = self.next_transaction();
        self.lobby(LobbyCommand::Moderate(id, action)).map(|()| id)
    }

    /// Requests a direct link to a peer, by the token that it publishes ([`crate::REACHABILITY_KEY`]). With
    /// [`Connections::Explicit`](crate::Connections::Explicit) both sides must connect; a side that has not receives
    /// [`Event::ConnectionRequested`]. The request holds until the peer leaves the room or is disconnected.
    /// [`Event::Warned`] reports a token that is not the newest, or of a peer that is not in the room.
    ///
    /// # Errors
    ///
    /// When the token is none of that peer's.
    ///
    /// [`Event::ConnectionRequested`]: crate::Event::ConnectionRequested
    /// [`Event::Warned`]: crate::Event::Warned
    pub fn connect_peer(&self, peer: PeerId, token: &str) -> Result<(), ConnectError> {
        self.lobby(LobbyCommand::Connect(Reachability::parse(token, peer)?))
    }

    /// A newer token of a connected peer. A link that works goes on; without one, it is tried at once.
    ///
    /// # Errors
    ///
    /// As for [`connect_peer`](Self::connect_peer).
    pub fn update_peer(&self, peer: PeerId, token: &str) -> Result<(), ConnectError> {
        self.lobby(LobbyCommand::Update(Reachability::parse(token, peer)?))
    }

    /// Closes the link to a peer; there is none until [`connect_peer`](Self::connect_peer). Speech goes on, through the
    /// server.
    ///
    /// # Errors
    ///
    /// When the engine does not take it.
    pub fn disconnect_peer(&self, peer: PeerId) -> Result<(), ConnectError> {
        self.lobby(LobbyCommand::Disconnect(peer))
    }

    /// Says that this machine's network is another than before. A lost connection to the server is noticed without this.
    ///
    /// # Errors
    ///
    /// When the engine does not take it.
    pub fn network_changed(&self) -> Result<(), ConnectError> {
        self.lobby(LobbyCommand::NetworkChanged)
    }

    fn transact(&self, whose: MetadataScope, changes: MetadataTransaction) -> Result<TransactionId, ConnectError> {
        let id = self.next_transaction();
        self.lobby(LobbyCommand::Transact(id, whose, changes.0)).map(|()| id)
    }

    fn lobby(&self, command: LobbyCommand) -> Result<(), ConnectError> {
        self.try_command(Command::Lobby(command))
    }
}
