//! How long the server has been out of reach while this program ran: `--give-up-after` counts that.

use std::time::Duration;

/// A turn takes 20 ms. A longer gap than this is no busy machine: the machine slept, or the process
/// was stopped.
const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// Given the time once a turn. A time in which the program stood still does not count: nothing could
/// have been reached meanwhile.
#[derive(Debug, Default)]
pub(super) struct AwayTime {
    looked_at: Duration,
    /// The end of the last gap.
    woke_at: Duration,
}

impl AwayTime {
    /// How long the server has been away, of which the summary says since when.
    pub(super) fn so_far(&mut self, now: Duration, since: Option<Duration>) -> Option<Duration> {
        if now.saturating_sub(self.looked_at) > LEAST_PAUSE {
            self.woke_at = now;
        }
        self.looked_at = now;
        since.map(|since| now.saturating_sub(since.max(self.woke_at)))
    }
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
            .find(|now| away.so_far(*now, Some(since)) >= Some(LIMIT))
    }

    #[test]
    fn a_program_that_stood_still_counts_from_when_it_goes_on() {
        let mut away = AwayTime::default();
        let since = TURN;
        for turn in 1..=500 {
            assert!(away.so_far(turn * TURN, Some(since)) < Some(LIMIT));
        }
        let woke = Duration::from_secs(10 * 60);
        assert_eq!(away.so_far(woke, Some(since)), Some(Duration::ZERO));
        assert_eq!(gives_up(&mut away, woke, since), Some(woke + LIMIT));
    }

    #[test]
    fn a_server_that_went_away_meanwhile_counts_from_the_waking_too() {
        let mut away = AwayTime::default();
        assert_eq!(away.so_far(TURN, None), None);
        let woke = Duration::from_secs(8 * 3600);
        assert_eq!(away.so_far(woke, None), None);
        let silent_since = TURN;
        assert_eq!(away.so_far(woke + TURN, Some(silent_since)), Some(TURN));
    }

    #[test]
    fn a_busy_machine_gets_no_time_for_nothing() {
        let mut away = AwayTime::default();
        for turn in 1..=29 {
            assert!(away.so_far(turn * LEAST_PAUSE / 2, Some(Duration::ZERO)) < Some(LIMIT));
        }
        assert_eq!(away.so_far(LIMIT, Some(Duration::ZERO)), Some(LIMIT));
    }
}
