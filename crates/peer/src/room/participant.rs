//! Another peer in the room.

use std::ops::Deref;

use voicemesh_mesh::Reachability;
use voicemesh_session::Reliability;
use voicemesh_wire::PeerId;

use super::inner::RoomInner;
use crate::command::{Command, LobbyCommand};
use crate::data::SendError;
use crate::handles::Member;
use crate::lobby::ConnectError;

/// Another peer; see [`Room::participant`](super::Room::participant). How it is heard and where it
/// stands is set by what it has of a [`Member`].
#[derive(Clone, Copy, Debug)]
pub struct Participant<'a> {
    inner: &'a RoomInner,
    member: Member<'a>,
}

impl<'a> Participant<'a> {
    pub(super) fn new(inner: &'a RoomInner, peer: PeerId) -> Self {
        Self { inner, member: Member::new(&inner.controls, peer) }
    }
}

impl<'a> Deref for Participant<'a> {
    type Target = Member<'a>;

    fn deref(&self) -> &Self::Target {
        &self.member
    }
}

/// # Messages to it
impl Participant<'_> {
    /// Sends it a message, directly where a link carries it, else through the server. A reliable
    /// one (at most 256 KiB) arrives exact, complete and in order as long as both stay in the room,
    /// over any change of route; an unreliable one (at most 1,100 bytes) may be lost, doubled or
    /// overtaken. The bytes are copied.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; with [`SendError::WouldBlock`], try again in a later frame.
    pub fn send(&self, data: &[u8], how: Reliability) -> Result<(), SendError> {
        self.inner.check_here()?;
        self.inner.outbox.queue(|ledger, into| {
            into.push_back(ledger.send(self.peer(), how, data)?);
            Ok(())
        })
    }

    /// Closes every data channel with it, and drops what waits to be sent to it. It stays in the
    /// room, and is heard; it receives [`DataEvent::Disconnected`](crate::DataEvent::Disconnected).
    pub fn close_channels(&self) {
        let ordered = self.inner.outbox.queue(|ledger, into| {
            into.extend(ledger.disconnect(self.peer()));
            Ok(())
        });
        debug_assert_eq!(ordered, Ok(()), "nothing is refused");
    }

    /// Reliable bytes that wait to be sent to it, or of which it has not said that they arrived.
    /// Each message counts 64 more.
    pub fn queued_bytes(&self) -> usize {
        self.inner.outbox.ledger().queued_bytes(self.peer())
    }
}

/// # Encryption
impl Participant<'_> {
    /// Lets a peer whose program cannot encrypt ([`MemberEncryption::Unable`]) hear what is said
    /// here, and so the server that relays it, or no more. Off at first, and again when the peer
    /// has left, has started again or has another name: ask the player each time. What is written, and messages, are
    /// not sent to it all the same. [`RoomEvent::EncryptionChanged`] says when it holds
    /// ([`MemberEncryption::Unencrypted`]); in a room with a key, and for a peer that has encrypted
    /// before, it changes nothing.
    ///
    /// # Errors
    ///
    /// When the engine does not take it.
    ///
    /// [`MemberEncryption::Unable`]: crate::MemberEncryption::Unable
    /// [`MemberEncryption::Unencrypted`]: crate::MemberEncryption::Unencrypted
    /// [`RoomEvent::EncryptionChanged`]: crate::RoomEvent::EncryptionChanged
    pub fn allow_unencrypted(&self, is_allowed: bool) -> Result<(), ConnectError> {
        let peer = self.peer();
        // The one whom the program knows, not one who has come under this id meanwhile.
        let name = self.inner.controls.read_snapshot(|snapshot| {
            let peers = snapshot.peers.iter();
            peers.filter(|_| is_allowed).find(|state| state.peer == peer).map(|it| it.name.clone())
        });
        if is_allowed && name.is_none() {
            return Ok(());
        }
        self.lobby(LobbyCommand::AllowUnencrypted(peer, name))
    }
}

/// # The link to it
impl Participant<'_> {
    /// Requests a direct link, by the token that the peer publishes ([`crate::REACHABILITY_KEY`]).
    /// With [`Connections::Explicit`](crate::Connections::Explicit) both sides must connect; a side
    /// that has not receives [`RoomEvent::ConnectionRequested`]. The request holds until the peer
    /// leaves the room or is disconnected. [`RoomEvent::Warned`] reports a token that is not the
    /// newest, or of a peer that is not in the room.
    ///
    /// # Errors
    ///
    /// When the token is none of that peer's.
    ///
    /// [`RoomEvent::ConnectionRequested`]: crate::RoomEvent::ConnectionRequested
    /// [`RoomEvent::Warned`]: crate::RoomEvent::Warned
    pub fn connect(&self, token: &str) -> Result<(), ConnectError> {
        self.lobby(LobbyCommand::Connect(Reachability::parse(token, self.peer())?))
    }

    /// A newer token of a connected peer. A link that works goes on; without one, it is tried at
    /// once.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub fn update(&self, token: &str) -> Result<(), ConnectError> {
        self.lobby(LobbyCommand::Update(Reachability::parse(token, self.peer())?))
    }

    /// Closes the link; there is none until [`connect`](Self::connect). Speech goes on, through the
    /// server.
    ///
    /// # Errors
    ///
    /// When the engine does not take it.
    pub fn disconnect(&self) -> Result<(), ConnectError> {
        self.lobby(LobbyCommand::Disconnect(self.peer()))
    }

    fn lobby(&self, command: LobbyCommand) -> Result<(), ConnectError> {
        self.inner.try_command(Command::Lobby(command))
    }
}
