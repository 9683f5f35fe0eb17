//! When a state machine is to be called next.

use std::time::Duration;

/// Finds the earliest of the moments after the present one at which something is due. Those that
/// have passed were dealt with.
#[derive(Clone, Copy, Debug)]
pub struct NextTimer {
    now: Duration,
    earliest: Option<Duration>,
}

impl NextTimer {
    /// Nothing is due yet.
    pub fn after(now: Duration) -> Self {
        Self { now, earliest: None }
    }

    /// What these timers are asked at.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Something is due from this moment on.
    pub fn at(&mut self, moment: impl Into<Option<Duration>>) {
        let moment = moment.into().filter(|moment| *moment > self.now);
        self.earliest = match (self.earliest, moment) {
            (Some(earliest), Some(moment)) => Some(earliest.min(moment)),
            (earliest, moment) => earliest.or(moment),
        };
    }

    /// Something is due after this moment, and not in it.
    pub fn past(&mut self, moment: impl Into<Option<Duration>>) {
        self.at(moment.into().map(|moment| moment.saturating_add(Duration::from_nanos(1))));
    }

    /// Something is due as soon as the machine can be called again.
    pub fn soon(&mut self) {
        self.past(self.now);
    }

    /// The earliest moment, if there is one.
    pub fn earliest(self) -> Option<Duration> {
        self.earliest
    }
}
