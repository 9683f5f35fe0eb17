//! How long the server has been out of reach while this program ran: `--give-up-after` counts that.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A turn takes 20 ms. A longer gap than this is no busy machine: the machine slept, or the process
/// was stopped.
const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// Given the time once a turn. A time in which the program stood still does not count: nothing could
/// have been reached meanwhile.
#[derive(Debug, Default)]
pub(super) struct AwayTime {
    looked_at: Duration,
    /// The same by the time of day, since the other clock stops in sleep on most systems.
    looked_at_day: Option<Duration>,
    /// The end of the last gap.
    woke_at: Duration,
}

impl AwayTime {
    /// How long the server has been away, of which the summary says since when.
    /// `day` may be set: a step forward is taken for sleep, which gives the server more time.
    pub(super) fn so_far(
        &mut self,
        now: Duration,
        day: Option<Duration>,
        since: Option<Duration>,
    ) -> Option<Duration> {
        let by_day = self.looked_at_day.zip(day).map(|(before, now)| now.saturating_sub(before));
        let ran_for = now.saturating_sub(self.looked_at);
        if ran_for.max(by_day.unwrap_or_default()) > LEAST_PAUSE {
            self.woke_at = now;
        }
        (self.looked_at, self.looked_at_day) = (now, day);
        since.map(|since| now.saturating_sub(since.max(self.woke_at)))
    }
}

/// Since 1970.
pub(super) fn time_of_day() -> Option<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(20);
    const LIMIT: Duration = Duration::from_secs(30);

    /// Turns until the limit is reached; at most a minute of them.
    fn gives_up(away: &mut AwayTime, from: Duration, since: Duration) -> Option<Duration> {
        (1..=3_000)
            .map(|turn| from + turn * TURN)
            .find(|now| away.so_far(*now, None, Some(since)) >= Some(LIMIT))
    }

    #[test]
    fn a_program_that_stood_still_counts_from_when_it_goes_on() {
        let mut away = AwayTime::default();
        let since = TURN;
        for turn in 1..=500 {
            assert!(away.so_far(turn * TURN, None, Some(since)) < Some(LIMIT));
        }
        let woke = Duration::from_secs(10 * 60);
        assert_eq!(away.so_far(woke, None, Some(since)), Some(Duration::ZERO));
        assert_eq!(gives_up(&mut away, woke, since), Some(woke + LIMIT));
    }

    #[test]
    fn a_server_that_went_away_meanwhile_counts_from_the_waking_too() {
        let mut away = AwayTime::default();
        assert_eq!(away.so_far(TURN, None, None), None);
        let woke = Duration::from_secs(8 * 3600);
        assert_eq!(away.so_far(woke, None, None), None);
        let silent_since = TURN;
        assert_eq!(away.so_far(woke + TURN, None, Some(silent_since)), Some(TURN));
    }

    #[test]
    fn sleep_in_which_the_clock_stands_still_shows_in_the_time_of_day() {
        let mut away = AwayTime::default();
        let since = TURN;
        let day = Duration::from_secs(1_000_000);
        assert!(away.so_far(LIMIT - TURN, Some(day), Some(since)).is_some());
        let woke = LIMIT;
        let after_sleep = Some(day + Duration::from_secs(3_600));
        assert_eq!(away.so_far(woke, after_sleep, Some(since)), Some(Duration::ZERO));
        let set_back = Some(day);
        assert_eq!(away.so_far(woke + TURN, set_back, Some(since)), Some(TURN));
    }

    #[test]
    fn a_busy_machine_gets_no_time_for_nothing() {
        let mut away = AwayTime::default();
        for turn in 1..=29 {
            assert!(away.so_far(turn * LEAST_PAUSE / 2, None, Some(Duration::ZERO)) < Some(LIMIT));
        }
        assert_eq!(away.so_far(LIMIT, None, Some(Duration::ZERO)), Some(LIMIT));
    }
}
