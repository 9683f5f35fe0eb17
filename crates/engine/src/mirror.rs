//! Voice that follows a game's own network.

use std::time::Duration;

use voicemesh_session::Network;

use crate::mode::Mode;
use crate::on_network::{EngineOnNetwork, StartError};

/// What could not start, or was lost, is tried again after this, then after twice as long each
/// time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// It is tried again at the latest after this.
const LAST_RETRY: Duration = Duration::from_secs(8);

/// Keeps an engine in the mode of a game's own network: compares the two at each update, and
/// starts, switches or stops the engine.
///
/// What does not start, or is lost while the game's network is not (a client that connects before
/// its host serves), is tried again at once, and then after 1, 2, 4, and at most every 8 seconds,
/// until it has lasted for 8 seconds.
///
/// Programs that start and stop voice themselves call [`EngineOnNetwork::run_as_host`] and its
/// siblings instead.
#[derive(Debug, Default)]
pub struct ModeMirror {
    outer: Mode,
    tries: u32,
    next_try: Duration,
    /// Since when it has been connected without a break.
    connected_since: Option<Duration>,
}

/// What [`ModeMirror::update`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mirrored {
    /// Nothing: the two agree, or the next try is not due.
    Unchanged,
    /// It began to run in this mode; what ran before was stopped.
    Started(Mode),
    /// It stopped what ran.
    Stopped,
}

impl ModeMirror {
    /// For an engine in any mode.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long until what did not start, or was lost, is tried again.
    pub fn retry_in(&self, now: Duration) -> Duration {
        if self.tries == 0 { Duration::ZERO } else { self.next_try.saturating_sub(now) }
    }

    /// Call it at each update of the game. `outer`: what the game's network is now. `server` and
    /// `client` give what it takes to start, and are called only then.
    ///
    /// # Errors
    ///
    /// When the engine does not start; it is tried again.
    pub fn update<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        outer: Mode,
        server: impl FnOnce() -> N::ServerParameters,
        client: impl FnOnce() -> N::ClientParameters,
    ) -> Result<Mirrored, StartError> {
        if outer != self.outer {
            (self.outer, self.tries) = (outer, 0);
        }
        let mode = engine.mode();
        if mode == outer && !engine.is_lost() {
            if !engine.is_connected() {
                self.connected_since = None;
            } else if now.saturating_sub(*self.connected_since.get_or_insert(now)) >= LAST_RETRY {
                self.tries = 0;
            }
            return Ok(Mirrored::Unchanged);
        }
        self.connected_since = None;
        let mut done = Mirrored::Unchanged;
        if mode != outer && mode != Mode::None {
            engine.stop(now);
            done = Mirrored::Stopped;
        }
        if outer == Mode::None || (self.tries > 0 && now < self.next_try) {
            return Ok(done);
        }
        // A client that was lost.
        engine.stop(now);
        self.next_try = now + FIRST_RETRY.saturating_mul(1 << self.tries.min(8)).min(LAST_RETRY);
        self.tries += 1;
        match outer {
            Mode::None => {}
            Mode::Client => engine.run_as_client(now, client())?,
            Mode::DedicatedServer => engine.run_as_dedicated_server(now, server())?,
            Mode::Host => engine.run_as_host(now, server())?,
        }
        Ok(Mirrored::Started(outer))
    }
}
