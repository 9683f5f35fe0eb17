//! A talk group.

use super::controls::Controls;
use crate::command::{TextTo, VoiceCommand};

/// A talk group; see [`Room::group`](crate::Room::group).
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    controls: &'a Controls,
    name: &'a str,
}

impl<'a> Group<'a> {
    pub(crate) fn new(controls: &'a Controls, name: &'a str) -> Self {
        Self { controls, name }
    }

    /// Begins to listen and speak to it.
    pub fn join(&self) {
        self.controls.command(VoiceCommand::JoinGroup(self.name.to_owned()));
    }

    /// Stops listening and speaking to it.
    pub fn leave(&self) {
        self.controls.command(VoiceCommand::LeaveGroup(self.name.to_owned()));
    }

    /// Begins to listen to it, without speaking to it: at most 64 groups. To speak without
    /// listening, see [`Room::transmit_to`](crate::Room::transmit_to).
    pub fn listen(&self) {
        self.controls.command(VoiceCommand::Listen(self.name.to_owned()));
    }

    /// Stops listening to it; speaking to it is not affected.
    pub fn stop_listening(&self) {
        self.controls.command(VoiceCommand::Unlisten(self.name.to_owned()));
    }

    /// Writes to everyone who listens to it. This peer need not listen to it. A text that cannot be
    /// sent raises [`RoomEvent::Warned`](crate::RoomEvent::Warned).
    pub fn send_text(&self, text: &str) {
        self.controls
            .command(VoiceCommand::SendText(TextTo::Group(self.name.to_owned()), text.to_owned()));
    }
}
