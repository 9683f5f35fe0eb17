//! What the voice is to be: from the game's thread to its own.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use voicemesh_common::lock;
use voicemesh_engine::{EngineOnNetwork, ModeMirror, StartError};
use voicemesh_session::Network;

/// What a game wants its voice to be.
pub(super) enum ModeRequest<N: Network> {
    Stop,
    /// Once. If it does not start, or ends by itself, nothing is tried.
    Run(Start<N>),
    /// Whenever it is not so.
    Follow(Follow<N>),
}

/// What starts it.
pub(super) enum Start<N: Network> {
    Client(N::ClientParameters),
    DedicatedServer(N::ServerParameters),
    Host(N::ServerParameters),
}

/// Follows the mode of the game's network, with what it takes to start; says whether it began to
/// run.
pub(super) type Follow<N> = Box<
    dyn Fn(Duration, &mut ModeMirror, &mut EngineOnNetwork<N>) -> Result<bool, StartError> + Send,
>;

impl<N: Network> Start<N> {
    /// Ends what runs, and starts.
    pub(super) fn start(
        self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
    ) -> Result<(), StartError> {
        engine.stop(now);
        match self {
            Self::Client(parameters) => engine.run_as_client(now, parameters),
            Self::DedicatedServer(parameters) => engine.run_as_dedicated_server(now, parameters),
            Self::Host(parameters) => engine.run_as_host(now, parameters),
        }
    }
}

/// The latest order that was not taken: of several, only that one counts.
pub(super) struct Orders<N: Network>(Mutex<Option<ModeRequest<N>>>);

impl<N: Network> Default for Orders<N> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<N: Network> fmt::Debug for Orders<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Orders")
    }
}

impl<N: Network> Orders<N> {
    pub(super) fn put(&self, order: ModeRequest<N>) {
        *lock(&self.0) = Some(order);
    }

    pub(super) fn take(&self) -> Option<ModeRequest<N>> {
        lock(&self.0).take()
    }
}
