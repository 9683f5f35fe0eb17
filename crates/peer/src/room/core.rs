//! What the handles of a room share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use voicemesh_common::get_mut;

use super::leaving::Ending;
use super::outbox::Outbox;
use crate::command::{Command, GameCommand};
use crate::data::SendError;
use crate::event::Snapshot;
use crate::game::PendingPositions;
use crate::inbox::Wake;
use crate::lobby::ConnectError;
use crate::shared::Shared;

/// What the clones of a room and its events share.
#[derive(Debug)]
pub(super) struct Core {
    pub commands: SyncSender<Command>,
    pub outbox: Outbox,
    /// The program has polled the last event.
    pub has_left: AtomicBool,
    pub started: Instant,
    pub shared: Arc<Shared>,
    pub wake: Wake,
    /// Positions that the engine has not taken yet.
    pub positions: Arc<PendingPositions>,
    /// The number of the next transmission.
    pub transmissions: AtomicU64,
    pub transactions: AtomicU64,
    /// Alive while a recording is kept.
    pub recording: Mutex<Weak<()>>,
    pub ending: Mutex<Ending>,
}

impl Core {
    /// Reads the situation as of a few milliseconds ago.
    pub(super) fn read_snapshot<R>(&self, read: impl FnOnce(&Snapshot) -> R) -> R {
        read(&self.shared.snapshot())
    }

    pub(super) fn check_here(&self) -> Result<(), SendError> {
        if self.is_gone() { Err(SendError::Left) } else { Ok(()) }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.has_left.load(Ordering::Acquire) || self.shared.is_leaving()
    }

    /// For what the caller has to know the fate of.
    pub(super) fn try_command(&self, command: Command) -> Result<(), ConnectError> {
        let sent = self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => ConnectError::Busy,
            TrySendError::Disconnected(_) => ConnectError::Left,
        });
        self.wake.wake();
        sent
    }

    pub(super) fn command(&self, command: Command) {
        // A full queue means that the engine has not run for long; what is wanted now would come
        // too late.
        let _ = self.commands.try_send(command);
        self.wake.wake();
    }

    pub(super) fn game(&self, command: GameCommand) {
        self.command(Command::Game(command));
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.outbox.flush();
        self.shared.request_leave();
        self.wake.wake();
        get_mut(&mut self.ending).wait_and_close();
    }
}
