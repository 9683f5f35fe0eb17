//! Notices that the machine slept, or that this process stood still: clocks that stop in sleep are
//! compared with ones that do not.

use std::time::{Duration, Instant};

/// A pause of the engine thread that is longer than this was no pause of the scheduler.
const LEAST_SLEEP: Duration = Duration::from_secs(2);

/// Looked at once a turn of the engine.
#[derive(Debug)]
pub(crate) struct SleepWatch {
    running: Instant,
    passed: Option<Duration>,
}

impl SleepWatch {
    pub(crate) fn start() -> Self {
        Self { running: Instant::now(), passed: time_passed() }
    }

    /// Whether the machine slept since the last look.
    pub(crate) fn has_woken(&mut self) -> bool {
        let (running, passed) = (Instant::now(), time_passed());
        let ran_for =
            running.saturating_duration_since(std::mem::replace(&mut self.running, running));
        let before = std::mem::replace(&mut self.passed, passed);
        slept(ran_for, before.zip(passed).map(|(before, now)| now.saturating_sub(before)))
    }
}

/// `ran_for` by a clock that may stop in sleep, `passed` by one that does not.
fn slept(ran_for: Duration, passed: Option<Duration>) -> bool {
    ran_for > LEAST_SLEEP || passed.is_some_and(|passed| passed > ran_for + LEAST_SLEEP)
}

/// By a clock that goes on in sleep and cannot be set.
#[cfg(target_os = "linux")]
fn time_passed() -> Option<Duration> {
    rustix::time::clock_gettime(rustix::time::ClockId::Boottime).try_into().ok()
}

/// By the time of day, which can be set: a step forward is taken for sleep, which costs a question
/// to the server.
#[cfg(not(target_os = "linux"))]
fn time_passed() -> Option<Duration> {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_shows_in_either_clock_and_a_clock_that_is_set_back_shows_nothing() {
        let turn = Duration::from_millis(5);
        assert!(!slept(turn, Some(turn)));
        assert!(!slept(Duration::from_secs(1), Some(Duration::from_secs(1))), "a busy machine");
        for asleep in [30, 600, 28_800] {
            assert!(
                slept(turn, Some(Duration::from_secs(asleep))),
                "the running clock stood still"
            );
            assert!(
                slept(Duration::from_secs(asleep), Some(Duration::from_secs(asleep))),
                "it went on"
            );
        }
        assert!(!slept(turn, Some(Duration::ZERO)));
        assert!(!slept(turn, None));
    }

    #[test]
    fn a_machine_that_is_awake_does_not_wake() {
        let mut watch = SleepWatch::start();
        assert!(!watch.has_woken());
        assert!(!watch.has_woken());
    }
}
