//! How long frames wait in the buffer, and whether that is longer than it has to be.

use std::time::Duration;

use super::{EARLY_START, Surplus};
use crate::BLOCK_DURATION;

/// For how long waits are watched before they are said to be too long.
const WAIT_WINDOW: Duration = Duration::from_millis(500);

/// A surplus of this age is removed even while somebody speaks.
const PATIENCE_WITH_SURPLUS: Duration = Duration::from_secs(3);

/// Between two removals in running speech.
const REMOVAL_INTERVAL: Duration = Duration::from_millis(250);

/// How long one frame waited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    /// From its arrival to its playing.
    pub wait: Duration,
    /// From when it would have come at best to its playing: the delay of playback behind the fastest frames.
    pub depth: Duration,
}

impl Wait {
    fn min(self, other: Self) -> Self {
        Self { wait: self.wait.min(other.wait), depth: self.depth.min(other.depth) }
    }

    fn shortened(self, by: Duration) -> Self {
        Self { wait: self.wait.saturating_sub(by), depth: self.depth.saturating_sub(by) }
    }
}

/// How long frames waited lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waits {
    pub latest: Option<Duration>,
    pub mean_ms: f32,
    /// The window under way: when it began and the shortest wait in it.
    window: Option<(Duration, Wait)>,
    /// The shortest of the window before.
    shortest_before: Option<Wait>,
    surplus_since: Option<Duration>,
    removed_at: Option<Duration>,
}

impl Waits {
    pub fn record(&mut self, now: Duration, wait: Wait) {
        let wait_ms = wait.wait.as_secs_f32() * 1_000.0;
        self.mean_ms += (wait_ms - self.mean_ms) * if self.latest.is_none() { 1.0 } else { 0.1 };
        self.latest = Some(wait.wait);
        match &mut self.window {
            Some((start, shortest)) if now.saturating_sub(*start) < WAIT_WINDOW => *shortest = shortest.min(wait),
            window => {
                self.shortest_before = window.map(|(_, shortest)| shortest);
                *window = Some((now, wait));
            }
        }
    }

    /// Judges whether `frame` could be skipped: playback is that much behind the target, and even the frame that came
    /// last of all would still have been in time.
    pub fn surplus(&mut self, now: Duration, target: Duration, frame: Duration) -> Surplus {
        let shortest = self.shortest_before.zip(self.window).map(|(before, (_, shortest))| before.min(shortest));
        let removable =
            |shortest: Wait| shortest.depth >= target + frame + EARLY_START && shortest.wait >= frame + BLOCK_DURATION;
        if !shortest.is_some_and(removable) {
            self.surplus_since = None;
            return Surplus::None;
        }
        let since = *self.surplus_since.get_or_insert(now);
        let removed_lately = self.removed_at.is_some_and(|at| now.saturating_sub(at) < REMOVAL_INTERVAL);
        if now.saturating_sub(since) < PATIENCE_WITH_SURPLUS || removed_lately {
            Surplus::SkipIfQuiet
        } else {
            Surplus::Skip
        }
    }

    pub fn shorten(&mut self, now: Duration, by: Duration) {
        self.removed_at = Some(now);
        self.latest = self.latest.map(|latest| latest.saturating_sub(by));
        self.shortest_before = self.shortest_before.map(|shortest| shortest.shortened(by));
        self.window = self.window.map(|(start, shortest)| (start, shortest.shortened(by)));
    }
}
