//! What the handles of a room share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::TrySendError;
use std::sync::{Mutex, Weak};

use voicemesh_common::get_mut;

use super::leaving::Ending;
use super::outbox::Outbox;
use crate::command::Command;
use crate::data::SendError;
use crate::handles::Controls;
use crate::lobby::ConnectError;

/// What the clones of a room and its events share.
#[derive(Debug)]
pub(super) struct RoomInner {
    pub controls: Controls,
    pub outbox: Outbox,
    /// The program has polled the last event.
    pub has_left: AtomicBool,
    pub transactions: AtomicU64,
    /// Alive while a recording is kept.
    pub recording: Mutex<Weak<()>>,
    pub ending: Mutex<Ending>,
}

impl RoomInner {
    pub(super) fn check_here(&self) -> Result<(), SendError> {
        if self.is_gone() { Err(SendError::Left) } else { Ok(()) }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.has_left.load(Ordering::Acquire) || self.controls.shared.is_leaving()
    }

    /// For what the caller has to know the fate of.
    pub(super) fn try_command(&self, command: Command) -> Result<(), ConnectError> {
        let sent = self.controls.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => ConnectError::Busy,
            TrySendError::Disconnected(_) => ConnectError::Left,
        });
        self.controls.wake.wake();
        sent
    }
}

impl Drop for RoomInner {
    fn drop(&mut self) {
        self.outbox.flush();
        self.controls.shared.request_leave();
        self.controls.wake.wake();
        get_mut(&mut self.ending).wait_and_close();
    }
}
