//! The room as a lobby: metadata, moderation, access token and owner.

use std::sync::atomic::Ordering;

use voicemesh_mesh::{MetadataScope, TransactionId};
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{AccessToken, Moderation};

use super::inner::RoomInner;
use crate::command::{Command, LobbyCommand};
use crate::lobby::{ConnectError, MetadataTransaction};

/// What the server decides about the room and its members; see [`Room::lobby`](super::Room::lobby).
#[derive(Clone, Copy, Debug)]
pub struct Lobby<'a> {
    inner: &'a RoomInner,
}

impl<'a> Lobby<'a> {
    pub(super) fn new(inner: &'a RoomInner) -> Self {
        Self { inner }
    }

    /// The peer that has been in the room longest, once known; perhaps this one.
    pub fn owner(&self) -> Option<PeerId> {
        self.inner.controls.read_snapshot(|snapshot| snapshot.owner)
    }

    /// The access token from now on; answers
    /// [`RoomEvent::TokenNeeded`](crate::RoomEvent::TokenNeeded).
    pub fn set_token(&self, token: impl Into<AccessToken>) {
        self.inner.controls.send(Command::SetToken(token.into()));
    }

    /// Changes what this peer publishes about itself: at most 31 keys and 8 KiB, beside its token.
    /// [`RoomEvent::TransactionDone`] reports the result, also if the connection is lost meanwhile:
    /// the change is then made with the next join.
    ///
    /// # Errors
    ///
    /// When the engine does not take it: nothing follows.
    ///
    /// [`RoomEvent::TransactionDone`]: crate::RoomEvent::TransactionDone
    pub fn set_metadata(
        &self,
        changes: MetadataTransaction,
    ) -> Result<TransactionId, ConnectError> {
        self.transact(MetadataScope::Own, changes)
    }

    /// Changes what the room publishes; otherwise as [`set_metadata`](Self::set_metadata). Only the
    /// owner may; for any other peer, the change fails with the code `not-owner`.
    ///
    /// # Errors
    ///
    /// As for [`set_metadata`](Self::set_metadata).
    pub fn set_room_metadata(
        &self,
        changes: MetadataTransaction,
    ) -> Result<TransactionId, ConnectError> {
        self.transact(MetadataScope::Room, changes)
    }

    /// Decides about a member or the room: mute for all, kick, ban, move, lock, password, and who
    /// has the owner's right. [`RoomEvent::TransactionDone`] reports the result; a member that may
    /// not moderate is answered `not-moderator`. What the connection's end left without an answer
    /// has failed and is not sent again.
    ///
    /// # Errors
    ///
    /// As for [`set_metadata`](Self::set_metadata).
    ///
    /// [`RoomEvent::TransactionDone`]: crate::RoomEvent::TransactionDone
    pub fn moderate(&self, action: Moderation) -> Result<TransactionId, ConnectError> {
        let id = self.next_transaction();
        self.inner.try_command(Command::Lobby(LobbyCommand::Moderate(id, action))).map(|()| id)
    }

    fn transact(
        &self,
        scope: MetadataScope,
        changes: MetadataTransaction,
    ) -> Result<TransactionId, ConnectError> {
        let id = self.next_transaction();
        self.inner
            .try_command(Command::Lobby(LobbyCommand::Transact(id, scope, changes.0)))
            .map(|()| id)
    }

    fn next_transaction(&self) -> TransactionId {
        TransactionId(self.inner.transactions.fetch_add(1, Ordering::Relaxed))
    }
}
