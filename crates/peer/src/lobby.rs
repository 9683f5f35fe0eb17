//! The room as a lobby: metadata as transactions, and connections to peers by their tokens.

use std::time::Duration;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{MetadataChanges, Moderation};

use crate::engine::{Command, Engine};
use crate::event::{Event, Snapshot};
use crate::peer::Peer;
use voicemesh_mesh::Carrier;
use voicemesh_mesh::{Mesh, TransactionId, Whose};
use voicemesh_mesh::{Reachability, TokenError};

/// Changes of metadata that are made together or not at all.
///
/// ```
/// let seat = voicemesh::MetadataTransaction::new().set("seat", "3").remove("ready");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataTransaction(MetadataChanges);

/// Why a call about the lobby did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The token does not lead to that peer.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The engine has more to do than it manages; try again in the next frame.
    #[error("too many commands wait")]
    Busy,
    /// This peer has left.
    #[error("this peer has left the room")]
    Left,
}

/// What the engine does for a lobby.
#[derive(Clone, Debug)]
pub(crate) enum LobbyCommand {
    Transact(TransactionId, Whose, MetadataTransaction),
    Moderate(TransactionId, Moderation),
    Connect(Reachability),
    Update(Reachability),
    Disconnect(PeerId),
    NetworkChanged,
}

impl MetadataTransaction {
    /// One that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), Some(value.into()));
        self
    }

    /// Removes a key.
    #[must_use]
    pub fn remove(mut self, key: impl Into<String>) -> Self {
        self.0.insert(key.into(), None);
        self
    }
}

impl Peer {
    /// Changes what this peer publishes about itself: at most 31 keys and 8 KiB, beside its token.
    /// [`Event::TransactionDone`] tells how it went, also if the connection is lost meanwhile: the change is then made with
    /// the next join.
    ///
    /// # Errors
    ///
    /// When the engine does not take it: nothing follows.
    pub fn set_metadata(&self, changes: MetadataTransaction) -> Result<TransactionId, ConnectError> {
        self.transact(Whose::Own, changes)
    }

    /// Changes what the room publishes; otherwise as [`set_metadata`](Self::set_metadata). Only the owner may; for any
    /// other peer, the change fails with the code `not-owner`.
    ///
    /// # Errors
    ///
    /// As for [`set_metadata`](Self::set_metadata).
    pub fn set_room_metadata(&self, changes: MetadataTransaction) -> Result<TransactionId, ConnectError> {
        self.transact(Whose::Room, changes)
    }

    /// Decides about a member or the room: mute for all, kick, ban, move, lock, password, and who has the owner's right.
    /// [`Event::TransactionDone`] tells how it went; a member that may not moderate is answered `not-moderator`. What the
    /// connection's end left without an answer has failed and is not sent again.
    ///
    /// # Errors
    ///
    /// As for [`set_metadata`](Self::set_metadata).
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

    fn transact(&self, whose: Whose, changes: MetadataTransaction) -> Result<TransactionId, ConnectError> {
        let id = self.next_transaction();
        self.lobby(LobbyCommand::Transact(id, whose, changes)).map(|()| id)
    }

    fn lobby(&self, command: LobbyCommand) -> Result<(), ConnectError> {
        self.try_command(Command::Lobby(command))
    }
}

impl Engine {
    pub(crate) fn lobby(&mut self, now: Duration, command: LobbyCommand) {
        let mesh = self.comms.network_mut();
        let result = match command {
            LobbyCommand::Transact(id, whose, MetadataTransaction(changes)) => {
                mesh.transact(now, id, whose, changes);
                Ok(())
            }
            LobbyCommand::Moderate(id, action) => {
                mesh.moderate(now, id, action);
                Ok(())
            }
            LobbyCommand::Connect(token) => mesh.connect_peer(now, token),
            LobbyCommand::Update(token) => mesh.update_peer(now, token),
            LobbyCommand::Disconnect(peer) => {
                mesh.disconnect_peer(peer);
                Ok(())
            }
            LobbyCommand::NetworkChanged => {
                mesh.network_changed(now);
                Ok(())
            }
        };
        if let Err(error) = result {
            self.tell(now, Event::Warned { code: error.code(), message: error.to_string() });
        }
    }
}

/// What a snapshot says of the lobby.
pub(crate) fn fill<C: Carrier>(snapshot: &mut Snapshot, mesh: &Mesh<C>) {
    snapshot.owner = mesh.owner();
    snapshot.permissions = mesh.own_permissions();
    snapshot.metadata = mesh.own_metadata().clone();
    snapshot.room_metadata = mesh.room_metadata().clone();
    snapshot.peers.sort_by_key(|peer| peer.order);
}
