//! From the runtime's tasks to the engine thread: two bounded queues and a wake-up.

use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use voicemesh_mesh::CarrierEvent;

/// What must not be lost: signaling, the opening and closing of links, reliable packets. A socket
/// that fills it is read no further until there is room; to a link that does, its sink reports
/// that.
const CONTROL: usize = 4096;
/// What is worthless when late: voice and other unreliable packets. When it is full the newest is
/// dropped: the engine takes all of it every few milliseconds, so that a full queue means that it
/// is not running.
const LOSSY: usize = 4096;
/// A game's own bytes, in packets of at most 1.2 KB. When it is full the newest is dropped: what
/// must arrive comes again.
const DATA: usize = 4096;

/// The engine thread sleeps at most this long: what recordings, devices that are being changed and
/// readers of the program's own sound want has no timer and no wake-up …
const MAX_PARK: Duration = Duration::from_millis(5);
/// … and at least this long if nothing wakes it, so that it never turns without rest.
const LEAST_PARK: Duration = Duration::from_millis(1);

/// Waits until something wakes this thread, or until it is `due`.
pub(crate) fn park(now: Duration, due: Option<Duration>) {
    let wait = due.map_or(MAX_PARK, |due| due.saturating_sub(now));
    std::thread::park_timeout(wait.clamp(LEAST_PARK, MAX_PARK));
}

/// The tasks' end.
#[derive(Clone, Debug)]
pub(crate) struct WorkerSender {
    control: mpsc::Sender<CarrierEvent>,
    lossy: mpsc::Sender<CarrierEvent>,
    data: mpsc::Sender<CarrierEvent>,
    wake: Wake,
}

/// The engine's end.
#[derive(Debug)]
pub(crate) struct WorkerReceiver {
    control: mpsc::Receiver<CarrierEvent>,
    lossy: mpsc::Receiver<CarrierEvent>,
    data: mpsc::Receiver<CarrierEvent>,
}

/// Wakes the engine thread, once that runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wake(Arc<OnceLock<Thread>>);

impl Wake {
    pub(crate) fn wake(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }

    /// Called by the engine thread itself, first of all.
    pub(crate) fn is_this_thread(&self) {
        let _ = self.0.set(std::thread::current());
    }
}

pub(crate) fn queues(wake: Wake) -> (WorkerSender, WorkerReceiver) {
    let (control, control_arrivals) = mpsc::channel(CONTROL);
    let (lossy, lossy_arrivals) = mpsc::channel(LOSSY);
    let (data, data_arrivals) = mpsc::channel(DATA);
    let arrivals =
        WorkerReceiver { control: control_arrivals, lossy: lossy_arrivals, data: data_arrivals };
    (WorkerSender { control, lossy, data, wake }, arrivals)
}

/// The engine has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EngineGone;

impl WorkerSender {
    /// Waits for room.
    pub(crate) async fn put(&self, event: CarrierEvent) -> Result<(), EngineGone> {
        self.control.send(event).await.map_err(|_| EngineGone)?;
        self.wake.wake();
        Ok(())
    }

    /// Does not wait. False if there was no room; an engine that has ended misses nothing.
    #[must_use]
    pub(crate) fn try_put(&self, event: CarrierEvent) -> bool {
        let overflows = matches!(self.control.try_send(event), Err(TrySendError::Full(_)));
        self.wake.wake();
        !overflows
    }

    /// For what may be lost.
    pub(crate) fn put_lossy(&self, event: CarrierEvent) -> Result<(), EngineGone> {
        self.put_or_drop(&self.lossy, event)
    }

    /// For a game's own bytes.
    pub(crate) fn put_data(&self, event: CarrierEvent) -> Result<(), EngineGone> {
        self.put_or_drop(&self.data, event)
    }

    fn put_or_drop(
        &self,
        queue: &mpsc::Sender<CarrierEvent>,
        event: CarrierEvent,
    ) -> Result<(), EngineGone> {
        let result = match queue.try_send(event) {
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(EngineGone),
        };
        self.wake.wake();
        result
    }
}

impl WorkerReceiver {
    /// Drops what is worthless when late.
    pub(crate) fn drop_voice(&mut self) {
        // No more than the queue holds: more may be coming in.
        for _ in 0..LOSSY {
            if self.lossy.try_recv().is_err() {
                return;
            }
        }
    }

    /// The next event; what must not be lost comes first, so that no voice is known before its
    /// peer's name; data comes last, so that speech never waits for it.
    pub(crate) fn next(&mut self) -> Option<CarrierEvent> {
        self.control
            .try_recv()
            .or_else(|_| self.lossy.try_recv())
            .or_else(|_| self.data.try_recv())
            .ok()
    }
}
