//! The handle that a program holds.

mod channel;
mod events;
mod inner;
mod join;
mod leaving;
mod lobby;
mod outbox;
mod participant;
mod proximity;
mod recording;

use std::sync::Arc;
use std::time::Duration;

use voicemesh_common::lock;
use voicemesh_session::{GLOBAL_GROUP, Reliability};
use voicemesh_wire::PeerId;

use crate::command::{Command, LobbyCommand};
use crate::data::SendError;
use crate::game::{TransmitOptions, VoiceAudience};
use crate::handles::{Group, Microphone, Speaker, Transmission};
use crate::join_error::JoinError;
use crate::lobby::ConnectError;
use crate::options::JoinOptions;
use crate::snapshot::Snapshot;
use inner::RoomInner;

pub use channel::Channel;
pub use events::Events;
pub use join::PreparedJoin;

pub(crate) use join::{no_engine, random, refused};
pub use lobby::Lobby;
pub use participant::Participant;

/// This program's place in a room.
///
/// A clone is the same place: clones are cheap, and may be used by several threads at once. No call
/// waits for the engine, the network or another thread, unless it says so; what is sent is checked
/// and copied under a lock that is held for tens of microseconds. Dropping the last clone and the
/// [`Events`] leaves the room, and waits until the others know, at most a second and a half.
#[derive(Clone, Debug)]
pub struct Room {
    inner: Arc<RoomInner>,
}

impl JoinOptions {
    /// Checks the join without opening a device or connecting: the server's address, the names of
    /// the room and of this peer, password and token, certificates, proxy, identity, and the folder
    /// of a recording. [`Room::join`](crate::Room::join) begins with it; a program that says
    /// something before it joins calls it first, so that a refusal comes alone.
    ///
    /// Makes the identity and the recording's folder if they are not there.
    ///
    /// # Errors
    ///
    /// What is not in order.
    pub fn prepare(self) -> Result<PreparedJoin, JoinError> {
        join::prepare(self)
    }
}

impl PreparedJoin {
    /// Begins to join, as [`Room::join`] does. Moments of events count from here.
    ///
    /// # Errors
    ///
    /// When microphone or speaker cannot be opened, or the system refuses a thread.
    pub fn join(self) -> Result<(Room, Events), JoinError> {
        let (inner, events) = join::begin(self)?;
        Ok((Room { inner }, events))
    }
}

impl Room {
    /// Begins to join. Events report whether that works: [`RoomEvent::Joined`],
    /// [`RoomEvent::ServerAway`], [`RoomEvent::Refused`].
    ///
    /// # Errors
    ///
    /// When it cannot even begin: no such device, no such address. [`JoinOptions::prepare`] finds
    /// everything but the devices' failures before any device is opened.
    ///
    /// [`RoomEvent::Joined`]: crate::RoomEvent::Joined
    /// [`RoomEvent::ServerAway`]: crate::RoomEvent::ServerAway
    /// [`RoomEvent::Refused`]: crate::RoomEvent::Refused
    pub fn join(options: JoinOptions) -> Result<(Self, Events), JoinError> {
        options.prepare()?.join()
    }

    /// Begins to leave, and returns at once. What was sent before still goes out;
    /// [`RoomEvent::Left`] is the last event. Calling it again does nothing.
    ///
    /// [`RoomEvent::Left`]: crate::RoomEvent::Left
    pub fn leave(&self) {
        self.flush();
        self.inner.controls.shared.request_leave();
        self.inner.controls.wake.wake();
    }

    /// Leaves, and blocks until the others know and have taken what must arrive, at most for this
    /// long. Half a second is the most that others are waited for, and writing the farewell takes a
    /// round trip. False if the time was too short; leaving then goes on.
    pub fn leave_and_wait(&self, at_most: Duration) -> bool {
        self.leave();
        lock(&self.inner.ending).wait(at_most)
    }

    /// The situation as of a few milliseconds ago. It includes everyone whom an event has named
    /// before.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.inner.controls.shared.snapshot())
    }

    /// Reads the situation as of a few milliseconds ago, without a copy of it. Reading it blocks no
    /// other thread.
    pub fn read_snapshot<R>(&self, read: impl FnOnce(&Snapshot) -> R) -> R {
        self.inner.controls.read_snapshot(read)
    }

    /// What this program sends: mute, push to talk, devices, processing.
    pub fn microphone(&self) -> Microphone<'_> {
        Microphone::new(&self.inner.controls)
    }

    /// What this program plays: deafening, devices, the listener's place, the mix as samples.
    pub fn speaker(&self) -> Speaker<'_> {
        Speaker::new(&self.inner.controls)
    }

    /// Another peer: how it is heard, where it is, and what is sent to it alone. Calls about a peer
    /// that is not in the room do nothing, or say so.
    pub fn participant(&self, peer: PeerId) -> Participant<'_> {
        Participant::new(&self.inner, peer)
    }

    /// A data channel to a peer, one of 256; it need not be open.
    pub fn channel(&self, peer: PeerId, number: u8) -> Channel<'_> {
        Channel::new(&self.inner, peer, number)
    }

    /// A talk group: at most 256 bytes of name. All begin in `Global`, and may leave it.
    pub fn group<'a>(&'a self, name: &'a str) -> Group<'a> {
        Group::new(&self.inner.controls, name)
    }

    /// Metadata, moderation, access token and owner.
    pub fn lobby(&self) -> Lobby<'_> {
        Lobby::new(&self.inner)
    }

    /// Speaks to an audience for as long as the handle is held, in addition to all that is spoken
    /// to already. [`RoomEvent::Warned`](crate::RoomEvent::Warned) reports what cannot be done
    /// (more than 64 audiences at a time).
    #[must_use = "dropping the handle ends the transmission"]
    pub fn transmit_to(&self, audience: VoiceAudience, options: TransmitOptions) -> Transmission {
        self.inner.controls.transmit_to(audience, options)
    }

    /// Writes to everyone who listens to the group `Global`, in which all begin. A text that cannot
    /// be sent raises [`RoomEvent::Warned`](crate::RoomEvent::Warned).
    pub fn send_text(&self, text: &str) {
        self.group(GLOBAL_GROUP).send_text(text);
    }

    /// Sends a message to everyone in the room who takes messages, once each.
    ///
    /// # Errors
    ///
    /// As [`Participant::send`]; the message is then sent to no peer.
    pub fn send_to_all(&self, data: &[u8], how: Reliability) -> Result<(), SendError> {
        self.inner.check_here()?;
        self.inner.outbox.queue(|ledger, into| ledger.send_to_all(how, data, into))
    }

    /// Lets what was sent since the last time leave; see [`JoinOptions::manual_flush`]. Otherwise
    /// it does nothing.
    pub fn flush(&self) {
        self.inner.outbox.flush();
    }

    /// Says that this machine's network is another than before. A lost connection to the server is
    /// noticed without this.
    ///
    /// # Errors
    ///
    /// When the engine does not take it.
    pub fn network_changed(&self) -> Result<(), ConnectError> {
        self.inner.try_command(Command::Lobby(LobbyCommand::NetworkChanged))
    }
}
