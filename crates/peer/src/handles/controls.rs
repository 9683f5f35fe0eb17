//! How the handles reach the engine thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use crate::command::{Command, VoiceCommand};
use crate::event::Snapshot;
use crate::game::{JOINED, PendingPositions, Transmission, TransmitOptions, VoiceAudience};
use crate::inbox::Wake;
use crate::shared::Shared;

/// What the handles of one voice share, over whatever network.
#[derive(Debug)]
pub(crate) struct Controls {
    pub(crate) commands: SyncSender<Command>,
    pub(crate) started: Instant,
    pub(crate) shared: Arc<Shared>,
    pub(crate) wake: Wake,
    /// Positions that the engine has not taken yet.
    pub(crate) positions: Arc<PendingPositions>,
    /// The number of the next transmission.
    transmissions: AtomicU64,
}

impl Controls {
    pub(crate) fn new(
        commands: SyncSender<Command>,
        started: Instant,
        shared: Arc<Shared>,
        wake: Wake,
        positions: Arc<PendingPositions>,
    ) -> Self {
        let transmissions = AtomicU64::new(JOINED + 1);
        Self { commands, started, shared, wake, positions, transmissions }
    }

    /// Reads the situation as of a few milliseconds ago.
    pub(crate) fn read_snapshot<R>(&self, read: impl FnOnce(&Snapshot) -> R) -> R {
        read(&self.shared.snapshot())
    }

    pub(crate) fn command(&self, command: VoiceCommand) {
        self.send(Command::Voice(command));
    }

    pub(crate) fn send(&self, command: Command) {
        // A full queue means that the engine has not run for long; what is wanted now would come
        // too late.
        let _ = self.commands.try_send(command);
        self.wake.wake();
    }

    pub(crate) fn transmit_to(
        &self,
        audience: VoiceAudience,
        options: TransmitOptions,
    ) -> Transmission {
        let handle = self.transmissions.fetch_add(1, Ordering::Relaxed);
        Transmission::new(audience, options, handle, self.commands.clone(), self.wake.clone())
    }
}
