//! A talk group.

use super::core::Core;
use crate::command::{Command, GameCommand, TextTo};

/// A talk group; see [`Room::group`](super::Room::group).
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    core: &'a Core,
    name: &'a str,
}

impl<'a> Group<'a> {
    pub(super) fn new(core: &'a Core, name: &'a str) -> Self {
        Self { core, name }
    }

    /// Begins to listen and speak to it.
    pub fn join(&self) {
        self.core.command(Command::JoinGroup(self.name.to_owned()));
    }

    /// Stops listening and speaking to it.
    pub fn leave(&self) {
        self.core.command(Command::LeaveGroup(self.name.to_owned()));
    }

    /// Begins to listen to it, without speaking to it: at most 64 groups. To speak without
    /// listening, see [`Room::transmit_to`](super::Room::transmit_to).
    pub fn listen(&self) {
        self.core.game(GameCommand::Listen(self.name.to_owned()));
    }

    /// Stops listening to it; speaking to it is not affected.
    pub fn stop_listening(&self) {
        self.core.game(GameCommand::Unlisten(self.name.to_owned()));
    }

    /// Writes to everyone who listens to it. This peer need not listen to it. A text that cannot be
    /// sent raises [`RoomEvent::Warned`](crate::RoomEvent::Warned).
    pub fn send_text(&self, text: &str) {
        self.core.command(Command::SendText(TextTo::Group(self.name.to_owned()), text.to_owned()));
    }
}
