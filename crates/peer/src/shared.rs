//! The situation, shared between the engine thread and the handle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use voicemesh_common::lock;

use crate::snapshot::Snapshot;

/// What the handle and the thread share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// An `Arc`, so that the lock is held no longer than it takes to clone that.
    snapshot: Mutex<Arc<Snapshot>>,
    is_leaving: AtomicBool,
}

impl Shared {
    /// The program leaves: the engine takes what was asked for before, and ends.
    pub(crate) fn request_leave(&self) {
        self.is_leaving.store(true, Ordering::Release);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Acquire)
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        lock(&self.snapshot).clone()
    }

    pub(crate) fn put(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let before = std::mem::replace(&mut *lock(&self.snapshot), snapshot);
        drop(before);
    }
}
