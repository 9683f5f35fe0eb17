//! When a simulated device moves its next 10 ms: absolute deadlines, so that late steps do not add
//! up.

use std::time::Duration;

/// The length of a step.
pub(crate) const STEP: Duration = Duration::from_millis(10);
/// Fallen behind by more than this (the machine slept, the process was stopped), the missed steps
/// never happen: a burst of them would be a second of sound at once. Up to this much is caught up.
pub(crate) const MOST_CAUGHT_UP: Duration = Duration::from_millis(200);

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Nothing, for this long.
    Wait(Duration),
    /// One step; `skipped` steps before it never happen.
    Step { skipped: u64 },
}

/// The schedule of one simulated device, told the time.
#[derive(Debug)]
pub(crate) struct Pacer {
    deadline: Duration,
}

impl Pacer {
    /// The first step is due 10 ms after `now`: a device has nothing to give before it has recorded
    /// it.
    pub(crate) fn new(now: Duration) -> Self {
        Self { deadline: now + STEP }
    }

    /// Ask until it says [`Pace::Wait`]; every [`Pace::Step`] is one step to do.
    pub(crate) fn next(&mut self, now: Duration) -> Pace {
        let Some(behind) = now.checked_sub(self.deadline) else {
            return Pace::Wait(self.deadline - now);
        };
        let skipped =
            if behind > MOST_CAUGHT_UP { (behind.as_nanos() / STEP.as_nanos()) as u32 } else { 0 };
        self.deadline += STEP * skipped + STEP;
        Pace::Step { skipped: u64::from(skipped) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn steps_keep_to_absolute_deadlines_however_late_each_is() {
        let mut pacer = Pacer::new(ms(1_000));
        assert_eq!(pacer.next(ms(1_000)), Pace::Wait(ms(10)));
        assert_eq!(pacer.next(ms(1_017)), Pace::Step { skipped: 0 });
        assert_eq!(pacer.next(ms(1_017)), Pace::Wait(ms(3)));
        let mut steps = 0;
        for now in (1_017..2_000).step_by(17) {
            while pacer.next(ms(now)) == (Pace::Step { skipped: 0 }) {
                steps += 1;
            }
        }
        let last = 1_017 + (2_000 - 1_018) / 17 * 17;
        assert_eq!(
            steps,
            (last - 1_010) / 10,
            "a step for every 10 ms, whatever the thread's own rhythm"
        );
    }

    #[test]
    fn a_short_delay_is_caught_up() {
        let mut pacer = Pacer::new(ms(0));
        let mut steps = 0;
        while pacer.next(ms(210)) == (Pace::Step { skipped: 0 }) {
            steps += 1;
        }
        assert_eq!(steps, 21);
    }

    #[test]
    fn a_long_delay_is_skipped_and_not_caught_up_in_a_burst() {
        let mut pacer = Pacer::new(ms(0));
        assert_eq!(pacer.next(ms(5_013)), Pace::Step { skipped: 500 });
        assert_eq!(pacer.next(ms(5_013)), Pace::Wait(ms(7)), "and the rhythm is the old one");
    }
}
