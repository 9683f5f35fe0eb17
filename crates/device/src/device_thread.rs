//! A thread that ends with its owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{Cause, DeviceError};

/// A running thread; told to stop and joined when dropped.
#[derive(Debug)]
pub(crate) struct DeviceThread {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The thread's own view of whether it shall end.
#[derive(Debug)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl DeviceThread {
    pub(crate) fn spawn(
        name: &str,
        work: impl FnOnce(Stop) + Send + 'static,
    ) -> Result<Self, DeviceError> {
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Stop(Arc::clone(&stopping));
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || work(stop))
            .map_err(|error| DeviceError::NoThread(Cause::of_system(error)))?;
        Ok(Self { stopping, thread: Some(thread) })
    }
}

impl Drop for DeviceThread {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A thread that panicked has already said so.
            let _ = thread.join();
        }
    }
}

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Waits for so long, or less if the thread is unparked (by its owner's end, or by who has news
    /// for it).
    pub(crate) fn doze(&self, length: Duration) {
        if !self.is_set() {
            thread::park_timeout(length);
        }
    }
}
