//! What a stay is a stay in: a room of a server, or a call over a host. The views and commands
//! serve both.

use std::path::Path;
use std::time::Duration;

use voicemesh::{
    Events, Group, Member, Microphone, Moderation, PeerId, Room, Snapshot, Speaker, TimedEvent,
    TransactionId,
};

use crate::hosted::{Ended, HostedCall};

/// A stay in the one or the other. Both have the same events, situation and handles.
pub(crate) enum Call {
    Room(Room, Box<Events>),
    Hosted(Box<HostedCall>),
}

impl From<(Room, Events)> for Call {
    fn from((room, events): (Room, Events)) -> Self {
        Self::Room(room, Box::new(events))
    }
}

impl Call {
    /// Blocks until there is an event, at most for this long.
    pub(crate) fn wait(&mut self, at_most: Duration) {
        match self {
            Self::Room(_, events) => events.wait(at_most),
            Self::Hosted(call) => call.wait(at_most),
        }
    }

    pub(crate) fn poll_timed(&mut self) -> Option<TimedEvent> {
        match self {
            Self::Room(_, events) => events.poll_timed(),
            Self::Hosted(call) => call.poll_timed(),
        }
    }

    /// Why a call over a host has ended by itself. Of a room, events say it.
    pub(crate) fn take_end(&mut self) -> Option<Ended> {
        match self {
            Self::Room(..) => None,
            Self::Hosted(call) => call.take_end(),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        match self {
            Self::Room(room, _) => room.snapshot(),
            Self::Hosted(call) => call.voice().snapshot().clone(),
        }
    }

    pub(crate) fn microphone(&self) -> Microphone<'_> {
        match self {
            Self::Room(room, _) => room.microphone(),
            Self::Hosted(call) => call.voice().microphone(),
        }
    }

    pub(crate) fn speaker(&self) -> Speaker<'_> {
        match self {
            Self::Room(room, _) => room.speaker(),
            Self::Hosted(call) => call.voice().speaker(),
        }
    }

    pub(crate) fn member(&self, peer: PeerId) -> Member<'_> {
        match self {
            Self::Room(room, _) => *room.participant(peer),
            Self::Hosted(call) => call.voice().member(peer),
        }
    }

    /// Whether a member that cannot encrypt may hear what is said here, and so the server.
    ///
    /// # Errors
    ///
    /// In a sentence.
    pub(crate) fn allow_unencrypted(&self, peer: PeerId, is_allowed: bool) -> Result<(), String> {
        match self {
            Self::Room(room, _) => room
                .participant(peer)
                .allow_unencrypted(is_allowed)
                .map_err(|error| format!("That did not work: {error}.")),
            Self::Hosted(_) => Err(ALWAYS_ENCRYPTED.to_owned()),
        }
    }

    pub(crate) fn group<'a>(&'a self, name: &'a str) -> Group<'a> {
        match self {
            Self::Room(room, _) => room.group(name),
            Self::Hosted(call) => call.voice().group(name),
        }
    }

    /// Asks the server for a decision.
    ///
    /// # Errors
    ///
    /// In a sentence, also that there is no server.
    pub(crate) fn moderate(&self, action: Moderation) -> Result<TransactionId, String> {
        match self {
            Self::Room(room, _) => room
                .lobby()
                .moderate(action)
                .map_err(|error| format!("That did not work: {error}.")),
            Self::Hosted(_) => Err(NO_MODERATORS.to_owned()),
        }
    }

    /// # Errors
    ///
    /// In a sentence.
    pub(crate) fn start_recording(&self, folder: &Path) -> Result<(), String> {
        match self {
            Self::Room(room, _) => {
                room.start_recording(folder).map_err(|why| format!("Nothing is recorded: {why}."))
            }
            Self::Hosted(_) => Err(NO_RECORDING.to_owned()),
        }
    }

    pub(crate) fn stop_recording(&self) {
        match self {
            Self::Room(room, _) => room.stop_recording(),
            Self::Hosted(_) => {}
        }
    }

    pub(crate) fn hosted(&self) -> Option<&HostedCall> {
        match self {
            Self::Room(..) => None,
            Self::Hosted(call) => Some(call),
        }
    }

    pub(crate) fn hosted_mut(&mut self) -> Option<&mut HostedCall> {
        match self {
            Self::Room(..) => None,
            Self::Hosted(call) => Some(call),
        }
    }

    /// Leaves, and waits until the others know, at most for this long.
    pub(crate) fn leave_and_wait(&mut self, at_most: Duration) {
        match self {
            Self::Room(room, _) => drop(room.leave_and_wait(at_most)),
            Self::Hosted(call) => call.leave_and_wait(at_most),
        }
    }
}

/// A host passes on what is said, and decides about no one.
pub(crate) const NO_MODERATORS: &str =
    "That needs a room of a server: in a call over a host no one moderates.";
/// The key of a call's link is in every link.
pub(crate) const ALWAYS_ENCRYPTED: &str =
    "A call over a host is always encrypted with the key of its link: there is nothing to allow.";
/// A recording begins once everyone can see it, and a host passes that on to no one.
pub(crate) const NO_RECORDING: &str =
    "Nothing is recorded: the others could not see it. Recording needs a room of a server.";
