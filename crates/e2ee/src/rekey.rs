//! When departures, and more arrivals than an epoch has steps, bring new keys.

use std::time::Duration;

/// New keys are used this long after they were given out.
pub const SWITCH_DELAY: Duration = Duration::from_millis(500);
/// What was sealed with former keys is accepted this long after later ones are in use.
pub const ACCEPT_OLD_KEYS: Duration = Duration::from_secs(10);
/// A departure this long after the last new keys brings new ones at once, and so does a member that
/// comes when an epoch has no further step.
pub const REKEY_QUIET: Duration = Duration::from_secs(10);
/// Those sooner than that bring new keys together, this long after the first of them.
pub const JOINT_REKEY_DELAY: Duration = Duration::from_secs(5);

/// When the next new keys are due.
#[derive(Debug, Default)]
pub(crate) struct RekeySchedule {
    last: Option<Duration>,
    due: Option<Duration>,
}

impl RekeySchedule {
    /// New keys are needed: at once, or together with those of later requests.
    pub(crate) fn request(&mut self, now: Duration) {
        if self.due.is_none() {
            let is_quiet = self.last.is_none_or(|last| now >= last + REKEY_QUIET);
            self.due = Some(if is_quiet { now } else { now + JOINT_REKEY_DELAY });
        }
    }

    /// True once for each time that new keys are due.
    pub(crate) fn take_due(&mut self, now: Duration) -> bool {
        let is_due = self.due.take_if(|due| *due <= now).is_some();
        if is_due {
            self.last = Some(now);
        }
        is_due
    }

    pub(crate) fn due_at(&self) -> Option<Duration> {
        self.due
    }
}
