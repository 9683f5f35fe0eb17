//! How the handles reach the engine thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use crate::command::{Command, VoiceCommand};
use crate::game::{JOINED, PendingPositions, TransmitOptions, VoiceAudience};
use crate::handles::{GridChange, Group, ProximityGrid, Transmission};
use crate::inbox::Wake;
use crate::shared::Shared;
use crate::snapshot::Snapshot;

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

    /// Listens to those around this position, and speaks to them.
    pub(crate) fn move_in(&self, grid: &mut ProximityGrid, position: [f32; 3]) {
        if let Some(change) = grid.move_to(position) {
            self.follow_grid(grid, change);
        }
    }

    /// Neither listens nor speaks to a grid's groups.
    pub(crate) fn leave_grid(&self, grid: &mut ProximityGrid) {
        let change = grid.leave();
        self.follow_grid(grid, change);
    }

    fn follow_grid(&self, grid: &mut ProximityGrid, change: GridChange) {
        change.stop_listening.iter().for_each(|group| Group::new(self, group).stop_listening());
        change.listen.iter().for_each(|group| Group::new(self, group).listen());
        // The new one is open before the old one closes, so that what is being said does not break
        // off.
        let options = TransmitOptions { positional: true, ..TransmitOptions::default() };
        grid.transmit_by(
            change.speak.map(|group| self.transmit_to(VoiceAudience::Group(group), options)),
        );
    }
}
