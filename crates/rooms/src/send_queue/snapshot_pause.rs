//! When a receiver that is behind may be sent a whole snapshot again. Each part of one is one
//! message, behind which speech waits.

use std::time::Duration;

/// A snapshot that was written within this time delays no speech.
const SHORT: Duration = Duration::from_millis(50);
/// After a longer one, the next one waits so many times as long as it took.
const TIMES: u32 = 4;
/// But at most this long.
const LONGEST: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(super) struct SnapshotPause {
    /// When the first part of the one was taken that is being written.
    begun: Option<Duration>,
    until: Duration,
    /// One waits for the end of the pause.
    is_asked: bool,
}

impl SnapshotPause {
    pub(super) fn begins(&mut self, now: Duration) {
        (self.begun, self.is_asked) = (Some(now), false);
    }

    /// All parts have been written.
    pub(super) fn written(&mut self, now: Duration) {
        let Some(begun) = self.begun.take() else { return };
        let took = now.saturating_sub(begun);
        if took > SHORT {
            self.until = now + (took * TIMES).min(LONGEST);
        }
    }

    /// Whether the next one has to wait.
    pub(super) fn holds(&mut self, now: Duration) -> bool {
        let holds = now < self.until;
        self.is_asked = holds;
        holds
    }

    /// Whether one waits whose time has come.
    pub(super) fn is_over_since_asked(&self, now: Duration) -> bool {
        self.is_asked && now >= self.until
    }
}
