//! What is waited for when a room is left.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::identity::Identity;

/// How long dropping the last handle waits for the farewell to be written.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The engine thread, the runtime of the sockets, and how to see that both have finished.
#[derive(Debug)]
pub(super) struct Ending {
    thread: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
    /// Disconnected when the engine has ended and every socket has written its farewell.
    farewells: Receiver<Infallible>,
    /// Locked while this program is in the room: that of the server, and that of the same one
    /// without TLS, if it may come to that.
    _identities: (Identity, Option<Identity>),
}

impl Ending {
    pub(super) fn new(
        thread: JoinHandle<()>,
        runtime: Runtime,
        farewells: Receiver<Infallible>,
        identities: (Identity, Option<Identity>),
    ) -> Self {
        Self { thread: Some(thread), runtime: Some(runtime), farewells, _identities: identities }
    }

    /// Waits until the others know and what must arrive was taken. False if that takes longer.
    pub(super) fn wait(&mut self, at_most: Duration) -> bool {
        match self.farewells.recv_timeout(at_most) {
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => {
                self.finish();
                true
            }
            Ok(never) => match never {},
        }
    }

    /// Waits for the engine, which ends within half a second, and a second for the farewells.
    pub(super) fn wait_and_close(&mut self) {
        self.join();
        let _ = self.farewells.recv_timeout(LEAVE_TIMEOUT);
        self.finish();
    }

    fn finish(&mut self) {
        self.join();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
