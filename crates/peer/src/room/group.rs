//! A talk group.

use super::Room;
use crate::command::{Command, GameCommand, TextTo};

/// A talk group; see [`Room::group`].
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    room: &'a Room,
    name: &'a str,
}

impl<'a> Group<'a> {
    pub(super) fn new(room: &'a Room, name: &'a str) -> Self {
        Self { room, name }
    }

    /// Begins to listen and speak to it.
    pub fn join(&self) {
        self.room.command(Command::JoinGroup(self.name.to_owned()));
    }

    /// Stops listening and speaking to it.
    pub fn leave(&self) {
        self.room.command(Command::LeaveGroup(self.name.to_owned()));
    }

    /// Begins to listen to it, without speaking to it: at most 64 groups. To speak without listening, see
    /// [`Room::transmit_to`].
    pub fn listen(&self) {
        self.room.game(GameCommand::Listen(self.name.to_owned()));
    }

    /// Stops listening to it; speaking to it is not affected.
    pub fn stop_listening(&self) {
        self.room.game(GameCommand::Unlisten(self.name.to_owned()));
    }

    /// Writes to everyone who listens to it. This peer need not listen to it. A text that cannot be sent raises
    /// [`RoomEvent::Warned`](crate::RoomEvent::Warned).
    pub fn send_text(&self, text: &str) {
        self.room.command(Command::SendText(TextTo::Group(self.name.to_owned()), text.to_owned()));
    }
}
