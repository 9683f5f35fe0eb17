//! A handle to speak by: as long as it is held, its audience is spoken to.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use voicemesh_wire::packet::Priority;

use crate::command::{Command, VoiceCommand};
use crate::game::{SharedOptions, TransmitOptions, VoiceAudience};
use crate::inbox::Wake;

/// An audience is spoken to as long as this is held. Dropping it closes; after leaving the room it
/// does nothing.
#[derive(Debug)]
pub struct Transmission {
    audience: VoiceAudience,
    options: TransmitOptions,
    handle: u64,
    /// `None` once it is being dropped.
    token: Option<Arc<SharedOptions>>,
    commands: SyncSender<Command>,
    wake: Wake,
}

impl Transmission {
    /// The handle of that number, more than [`JOINED`](crate::game::JOINED); the engine receives it.
    pub(crate) fn new(
        audience: VoiceAudience,
        options: TransmitOptions,
        handle: u64,
        commands: SyncSender<Command>,
        wake: Wake,
    ) -> Self {
        let token = Some(Arc::new(SharedOptions::new(options)));
        let speaking = Self { audience, options, handle, token, commands, wake };
        speaking.tell();
        speaking
    }

    /// Whom it speaks to.
    pub fn audience(&self) -> &VoiceAudience {
        &self.audience
    }

    /// How.
    pub fn options(&self) -> TransmitOptions {
        self.options
    }

    /// From the next frame on, another factor: 0.0 to 2.0.
    pub fn set_volume(&mut self, volume: f32) {
        self.set(TransmitOptions { volume, ..self.options });
    }

    /// From the next frame on, more or less urgent.
    pub fn set_priority(&mut self, priority: Priority) {
        self.set(TransmitOptions { priority, ..self.options });
    }

    /// From the next frame on, from this peer's place or not.
    pub fn set_positional(&mut self, positional: bool) {
        self.set(TransmitOptions { positional, ..self.options });
    }

    fn set(&mut self, options: TransmitOptions) {
        if self.options != options {
            self.options = options;
            if let Some(token) = &self.token {
                token.set(options);
            }
            self.tell();
        }
    }

    fn tell(&self) {
        if let Some(token) = self.token.clone() {
            let command = VoiceCommand::Speak(self.handle, self.audience.clone().into(), token);
            let _ = self.commands.try_send(Command::Voice(command));
            self.wake.wake();
        }
    }
}

impl Drop for Transmission {
    fn drop(&mut self) {
        self.token = None;
        // If the queue is full, the engine finds at its next look that no handle holds the token.
        let _ = self.commands.try_send(Command::Voice(VoiceCommand::SweepHandles));
        self.wake.wake();
    }
}
