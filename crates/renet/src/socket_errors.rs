//! Which errors of a socket end what it carries.

use std::io::{Error, ErrorKind};
use std::time::Duration;

/// A socket that gave nothing but errors for this long is of no more use.
const FAILS_AFTER: Duration = Duration::from_secs(5);
/// Time between two looks at the socket counts no more than this: a program that stood still has
/// not seen it fail meanwhile.
const LONGEST_STEP: Duration = Duration::from_millis(250);
/// Datagrams that one look skips at most.
const SKIPPED_PER_LOOK: usize = 64;
/// Windows: a datagram was larger than the buffer (`WSAEMSGSIZE`). Any remote can send one.
const TOO_LARGE: i32 = 10_040;
/// Windows: a datagram that was sent earlier expired on its way (`WSAENETRESET`).
const EXPIRED: i32 = 10_052;

/// Counts the errors of one socket and decides which are fatal: none of a single datagram, and
/// others only if they last.
#[derive(Debug, Default)]
pub(crate) struct SocketErrors {
    count: u64,
    /// For how long there were errors without a success between.
    failing_for: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It took one datagram; more may wait behind it.
    Skip,
    /// It may pass.
    Wait,
    Fatal,
}

impl SocketErrors {
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// An error that decides nothing.
    pub(crate) fn count_one(&mut self) {
        self.count += 1;
    }

    /// Runs `update` until the socket is empty, and past errors that concern one datagram.
    /// `passed`: the time since the last look.
    ///
    /// # Errors
    ///
    /// One that lasts.
    pub(crate) fn look(
        &mut self,
        passed: Duration,
        mut update: impl FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        for _ in 0..SKIPPED_PER_LOOK {
            match update() {
                Ok(()) => {
                    self.failing_for = None;
                    break;
                }
                Err(error) => match self.failed(passed, &error) {
                    Verdict::Skip => {}
                    Verdict::Wait => break,
                    Verdict::Fatal => return Err(error),
                },
            }
        }
        Ok(())
    }

    fn failed(&mut self, passed: Duration, error: &Error) -> Verdict {
        self.count += 1;
        if concerns_one_datagram(error) {
            self.failing_for = None;
            return Verdict::Skip;
        }
        let failing_for =
            self.failing_for.map_or(Duration::ZERO, |so_far| so_far + passed.min(LONGEST_STEP));
        self.failing_for = Some(failing_for);
        if failing_for < FAILS_AFTER { Verdict::Wait } else { Verdict::Fatal }
    }
}

/// Whether a remote can cause it at will: the socket itself is well.
fn concerns_one_datagram(error: &Error) -> bool {
    // ICMP: no program listens where an earlier datagram went.
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused)
        || matches!(error.raw_os_error(), Some(TOO_LARGE | EXPIRED))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(5);

    fn network_down() -> Result<(), Error> {
        Err(Error::from(ErrorKind::NetworkDown))
    }

    /// How many looks a socket outlives that fails at each of them, `step` apart; `limit` if it
    /// outlives all.
    fn outlives(
        step: Duration,
        limit: usize,
        mut update: impl FnMut(usize) -> Result<(), Error>,
    ) -> usize {
        let mut errors = SocketErrors::default();
        (0..limit).find(|look| errors.look(step, || update(*look)).is_err()).unwrap_or(limit)
    }

    #[test]
    fn datagrams_that_a_remote_made_bad_are_skipped_and_counted_forever() {
        for bad in [
            Error::from_raw_os_error(TOO_LARGE),
            Error::from_raw_os_error(EXPIRED),
            ErrorKind::ConnectionReset.into(),
        ] {
            let (mut errors, mut good, mut calls) = (SocketErrors::default(), 0, 0);
            let kind = (bad.kind(), bad.raw_os_error());
            let again = || kind.1.map_or_else(|| Error::from(kind.0), Error::from_raw_os_error);
            for _ in 0..10_000 {
                // Three bad ones, and a good one behind them.
                let mut waiting = 3;
                errors
                    .look(TICK, || {
                        calls += 1;
                        if waiting == 0 {
                            good += 1;
                            return Ok(());
                        }
                        waiting -= 1;
                        Err(again())
                    })
                    .unwrap();
            }
            assert_eq!((errors.count(), good, calls), (30_000, 10_000, 40_000), "{bad}");
        }
    }

    #[test]
    fn an_endless_row_of_bad_datagrams_ends_each_look_and_not_the_socket() {
        let (mut errors, mut calls) = (SocketErrors::default(), 0);
        for _ in 0..2_000 {
            errors
                .look(TICK, || {
                    calls += 1;
                    Err(Error::from_raw_os_error(TOO_LARGE))
                })
                .unwrap();
        }
        assert_eq!(calls, 2_000 * SKIPPED_PER_LOOK);
    }

    #[test]
    fn an_error_that_lasts_five_seconds_is_fatal_and_any_success_begins_them_anew() {
        assert_eq!(outlives(TICK, 10_000, |_| network_down()), 1_000, "5 s of 5 ms");
        assert_eq!(
            outlives(TICK, 10_000, |look| if look == 900 { Ok(()) } else { network_down() }),
            1_901
        );
        assert_eq!(
            outlives(TICK, 10_000, |look| if look % 999 == 0 { Ok(()) } else { network_down() }),
            10_000
        );
    }

    #[test]
    fn a_program_that_stood_still_for_a_minute_has_not_seen_a_minute_of_errors() {
        assert_eq!(outlives(60 * Duration::from_secs(1), 100, |_| network_down()), 20);
    }
}
