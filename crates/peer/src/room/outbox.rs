//! The program's messages on their way to the engine.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use voicemesh_common::lock;

use crate::data::{DataCommand, SendError, SendLedger};
use crate::inbox::Wake;

/// Shared by all handles of a room. A lock is held while a message is checked and copied: at most
/// 256 KiB, tens of microseconds.
#[derive(Debug)]
pub(super) struct Outbox {
    ledger: Arc<SendLedger>,
    wake: Wake,
    /// Commands that wait for a flush.
    held: Mutex<VecDeque<DataCommand>>,
    manual_flush: bool,
}

impl Outbox {
    pub(super) fn new(ledger: Arc<SendLedger>, wake: Wake, manual_flush: bool) -> Self {
        Self { ledger, wake, held: Mutex::default(), manual_flush }
    }

    pub(super) fn ledger(&self) -> &SendLedger {
        &self.ledger
    }

    /// What the ledger accepts reaches the engine in the same order, from any thread.
    pub(super) fn queue(
        &self,
        accept: impl FnOnce(&SendLedger, &mut VecDeque<DataCommand>) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let mut held = self.lock();
        accept(&self.ledger, &mut held)?;
        if !self.manual_flush {
            self.pass_on(&mut held);
        }
        Ok(())
    }

    pub(super) fn flush(&self) {
        self.pass_on(&mut self.lock());
    }

    fn pass_on(&self, held: &mut VecDeque<DataCommand>) {
        if !held.is_empty() {
            self.ledger.push_commands(held.drain(..));
            self.wake.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<DataCommand>> {
        lock(&self.held)
    }
}
