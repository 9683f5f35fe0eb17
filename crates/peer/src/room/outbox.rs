//! The program's messages on their way to the engine.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::data::{DataCommand, SendError, SendLedger};
use crate::inbox::Wake;

/// Shared by all handles of a room. A lock is held while a message is checked and copied: at most 256 KiB, tens of microseconds.
#[derive(Debug)]
pub(super) struct Outbox {
    ledger: Arc<SendLedger>,
    wake: Wake,
    /// Orders that wait for a flush.
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

    /// What is ordered of the ledger reaches the engine in the same order, from whatever thread.
    pub(super) fn order(
        &self,
        order: impl FnOnce(&SendLedger, &mut VecDeque<DataCommand>) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let mut held = self.lock();
        order(&self.ledger, &mut held)?;
        if !self.manual_flush {
            self.give(&mut held);
        }
        Ok(())
    }

    pub(super) fn flush(&self) {
        self.give(&mut self.lock());
    }

    fn give(&self, held: &mut VecDeque<DataCommand>) {
        if !held.is_empty() {
            self.ledger.give(held.drain(..));
            self.wake.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<DataCommand>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
