//! Connecting to a host with several addresses (RFC 8305 §5): staggered attempts, of which the
//! first to succeed wins.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep};

/// The next address is tried this long after the last one, or as soon as an attempt fails.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// When all addresses are being tried, the first of them is tried once more after this, and again:
/// systems send a lost SYN again only after a second (RFC 6298 §2), and then wait longer each time.
const REPEAT_INTERVAL: Duration = Duration::from_millis(500);

/// An attempt that came to nothing; `None` if it was still under way at the end.
pub(super) type Attempt = (SocketAddr, Option<io::Error>);

/// Connects to the first of `addresses` that answers, within `limit` for all together. They are in
/// the order in which they are tried; those that come `later` are put before the ones not yet
/// tried, and all of these into `order`.
///
/// # Errors
///
/// What became of each attempt. Addresses that were never tried are not among them.
#[expect(clippy::disallowed_methods, reason = "the timer of the race")]
pub(super) async fn race<T, D, F>(
    addresses: &[SocketAddr],
    later: impl Future<Output = Vec<SocketAddr>>,
    order: impl Fn(&[SocketAddr]) -> Vec<SocketAddr>,
    limit: Duration,
    dial: D,
) -> Result<(SocketAddr, T), Vec<Attempt>>
where
    D: Fn(SocketAddr) -> F,
    F: Future<Output = io::Result<T>>,
{
    let began = Instant::now();
    let mut attempts = Attempts::new(addresses, limit);
    let mut running = FuturesUnordered::new();
    tokio::pin!(later);
    loop {
        let now = began.elapsed();
        while let Some(address) = attempts.poll_start(now) {
            let attempt = dial(address);
            running.push(async move { (address, attempt.await) });
        }
        let Some(timeout) = attempts.poll_timeout(now) else { return Err(attempts.into_failed()) };
        tokio::select! {
            biased;
            Some((address, result)) = running.next(), if !running.is_empty() => match result {
                Ok(connection) => return Ok((address, connection)),
                Err(error) => attempts.handle_failure(began.elapsed(), address, error),
            },
            more = &mut later, if attempts.is_expecting => attempts.handle_more(&more, &order),
            () = sleep(timeout.saturating_sub(now)) => {}
        }
    }
}

/// When which address is tried. Moments count from the beginning of the race.
#[derive(Debug)]
struct Attempts {
    untried: VecDeque<SocketAddr>,
    /// More addresses may come.
    is_expecting: bool,
    next_at: Duration,
    /// When an address that is being tried is tried once more.
    repeat_at: Duration,
    deadline: Duration,
    under_way: Vec<SocketAddr>,
    failed: Vec<Attempt>,
}

impl Attempts {
    fn new(addresses: &[SocketAddr], limit: Duration) -> Self {
        let untried = addresses.iter().copied().collect();
        Self {
            untried,
            is_expecting: true,
            next_at: Duration::ZERO,
            repeat_at: Duration::MAX,
            deadline: limit,
            under_way: Vec::new(),
            failed: Vec::new(),
        }
    }

    fn handle_more(
        &mut self,
        more: &[SocketAddr],
        order: impl Fn(&[SocketAddr]) -> Vec<SocketAddr>,
    ) {
        self.is_expecting = false;
        let known = |address: &SocketAddr| {
            self.under_way.contains(address)
                || self.failed.iter().any(|(failed, _)| failed == address)
        };
        let new = more.iter().copied().filter(|address| !known(address));
        let all: Vec<SocketAddr> = new.chain(self.untried.iter().copied()).collect();
        self.untried = order(&all).into();
    }

    /// An address to try now.
    fn poll_start(&mut self, now: Duration) -> Option<SocketAddr> {
        if now >= self.deadline {
            return None;
        }
        if now >= self.next_at
            && let Some(address) = self.untried.pop_front()
        {
            self.under_way.push(address);
            self.next_at = now + ATTEMPT_DELAY;
            self.repeat_at = now + REPEAT_INTERVAL;
            return Some(address);
        }
        let address = *self.under_way.first()?;
        if !self.untried.is_empty() || now < self.repeat_at {
            return None;
        }
        self.repeat_at = now + REPEAT_INTERVAL;
        Some(address)
    }

    /// When to look again if no attempt ends before; `None` if the race is over.
    fn poll_timeout(&self, now: Duration) -> Option<Duration> {
        let is_done = self.untried.is_empty() && self.under_way.is_empty() && !self.is_expecting;
        if now >= self.deadline || is_done {
            return None;
        }
        let next_at = match (self.untried.is_empty(), self.under_way.is_empty()) {
            (false, _) => self.next_at,
            (true, false) => self.repeat_at,
            (true, true) => self.deadline,
        };
        Some(next_at.min(self.deadline))
    }

    fn handle_failure(&mut self, now: Duration, address: SocketAddr, error: io::Error) {
        let under_way = self.under_way.len();
        self.under_way.retain(|other| *other != address);
        // Of one that was tried more than once, the first failure counts.
        if self.under_way.len() < under_way {
            self.failed.push((address, Some(error)));
            self.next_at = now;
        }
    }

    fn into_failed(self) -> Vec<Attempt> {
        self.failed
            .into_iter()
            .chain(self.under_way.into_iter().map(|address| (address, None)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn address(number: usize) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, number as u8], 443))
    }

    /// What becomes of an attempt, and after how many milliseconds.
    #[derive(Clone, Copy)]
    enum Fate {
        Silence,
        Refusal(u64),
        Success(u64),
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Outcome {
        winner: Option<usize>,
        /// Milliseconds.
        took: u128,
        /// When each attempt began, in milliseconds.
        began: Vec<(usize, u128)>,
        /// What failed, and whether with an error.
        failed: Vec<(usize, bool)>,
    }

    /// Moves a virtual clock from one thing that happens to the next.
    fn run(fates: &[Fate]) -> Outcome {
        let addresses: Vec<SocketAddr> = (0..fates.len()).map(address).collect();
        let number =
            |of: SocketAddr| addresses.iter().position(|one| *one == of).expect("one of them");
        let mut attempts = Attempts::new(&addresses, LIMIT);
        attempts.handle_more(&[], <[SocketAddr]>::to_vec);
        let mut running: Vec<(Duration, usize, bool)> = Vec::new();
        let (mut now, mut began) = (Duration::ZERO, Vec::new());
        let ended = |winner, now: Duration, began, attempts: Attempts| {
            let failed = attempts
                .into_failed()
                .into_iter()
                .map(|(of, error)| (number(of), error.is_some()))
                .collect();
            Outcome { winner, took: now.as_millis(), began, failed }
        };
        loop {
            while let Some(started) = attempts.poll_start(now) {
                let started = number(started);
                began.push((started, now.as_millis()));
                match fates[started] {
                    Fate::Silence => {}
                    Fate::Refusal(millis) => {
                        running.push((now + Duration::from_millis(millis), started, false))
                    }
                    Fate::Success(millis) => {
                        running.push((now + Duration::from_millis(millis), started, true))
                    }
                }
            }
            let Some(timeout) = attempts.poll_timeout(now) else {
                return ended(None, now, began, attempts);
            };
            running.sort();
            match running.first().copied() {
                Some((at, winner, true)) if at <= timeout => {
                    return ended(Some(winner), at, began, attempts);
                }
                Some((at, failed, false)) if at <= timeout => {
                    running.remove(0);
                    now = at;
                    attempts.handle_failure(
                        now,
                        address(failed),
                        io::ErrorKind::ConnectionRefused.into(),
                    );
                }
                _ => now = timeout,
            }
        }
    }

    /// Who won after how long.
    fn won(fates: &[Fate]) -> (Option<usize>, u128) {
        let outcome = run(fates);
        (outcome.winner, outcome.took)
    }

    #[test]
    fn an_address_that_swallows_everything_costs_a_quarter_of_a_second() {
        let outcome = run(&[Fate::Silence, Fate::Success(20)]);
        assert_eq!((outcome.winner, outcome.took), (Some(1), 270));
        assert_eq!(outcome.began, [(0, 0), (1, 250)]);
        assert_eq!(
            won(&[Fate::Silence, Fate::Silence, Fate::Silence, Fate::Success(20)]),
            (Some(3), 770)
        );
    }

    #[test]
    fn a_refusal_starts_the_next_attempt_at_once() {
        assert_eq!(won(&[Fate::Refusal(0), Fate::Refusal(3), Fate::Success(5)]), (Some(2), 8));
    }

    #[test]
    fn a_slow_first_address_still_wins_over_a_later_silent_one() {
        let outcome = run(&[Fate::Success(300), Fate::Silence, Fate::Success(1)]);
        assert_eq!((outcome.winner, outcome.took, outcome.began.len()), (Some(0), 300, 2));
    }

    #[test]
    fn one_limit_holds_for_all_attempts_together() {
        let outcome = run(&[Fate::Silence, Fate::Refusal(10), Fate::Silence]);
        assert_eq!((outcome.winner, outcome.took), (None, LIMIT.as_millis()));
        assert_eq!(outcome.failed, [(1, true), (0, false), (2, false)]);
        assert_eq!(&outcome.began[..5], [(0, 0), (1, 250), (2, 260), (0, 760), (0, 1_260)]);
        let many = run(&[Fate::Silence; 64]);
        assert_eq!((many.took, many.began.len()), (LIMIT.as_millis(), 40));
    }

    /// A network that is away for a while swallows the first SYN of a connection.
    #[test]
    fn a_network_that_comes_back_is_used_within_half_a_second() {
        for back_ms in [100, 400, 900, 1_400, 3_333, 7_777] {
            let mut attempts = Attempts::new(&[address(0)], LIMIT);
            attempts.handle_more(&[], <[SocketAddr]>::to_vec);
            let (mut now, mut sent, mut tried) = (Duration::ZERO, Vec::new(), 0);
            while now < LIMIT {
                while attempts.poll_start(now).is_some() {
                    tried += 1;
                    // As Linux sends them, and systems that wait twice as long each time.
                    sent.extend([0, 1, 3, 7].map(|after| now + Duration::from_secs(after)));
                }
                now = attempts.poll_timeout(now).expect("it is under way");
            }
            let back = Duration::from_millis(back_ms);
            let arrived = sent.into_iter().filter(|at| *at >= back).min().expect("one of them");
            assert!(arrived <= back + REPEAT_INTERVAL, "{back:?}: {arrived:?}");
            assert_eq!(tried, 20);
        }
    }

    #[test]
    fn an_address_that_was_tried_more_than_once_fails_once() {
        let mut attempts = Attempts::new(&[address(0), address(1)], LIMIT);
        attempts.handle_more(&[], <[SocketAddr]>::to_vec);
        let mut began = Vec::new();
        let mut now = Duration::ZERO;
        while now < Duration::from_secs(1) {
            began.extend(attempts.poll_start(now));
            now = attempts.poll_timeout(now).expect("it is under way");
        }
        assert_eq!(began, [address(0), address(1), address(0)]);
        for _ in 0..2 {
            attempts.handle_failure(now, address(0), io::ErrorKind::ConnectionRefused.into());
        }
        assert_eq!(attempts.poll_start(Duration::from_secs(2)), Some(address(1)));
        let failed = attempts.into_failed();
        let failed: Vec<_> = failed.iter().map(|(at, error)| (*at, error.is_some())).collect();
        assert_eq!(failed, [(address(0), true), (address(1), false)]);
    }

    #[test]
    fn addresses_that_come_later_are_tried_next_and_waited_for() {
        let mut attempts = Attempts::new(&[address(0), address(1)], LIMIT);
        assert_eq!(attempts.poll_start(Duration::ZERO), Some(address(0)));
        attempts.handle_more(&[address(0), address(2)], <[SocketAddr]>::to_vec);
        assert_eq!(attempts.poll_start(ATTEMPT_DELAY), Some(address(2)));
        assert_eq!(attempts.poll_start(2 * ATTEMPT_DELAY), Some(address(1)));

        let mut attempts = Attempts::new(&[address(0)], LIMIT);
        assert_eq!(attempts.poll_start(Duration::ZERO), Some(address(0)));
        attempts.handle_failure(
            Duration::ZERO,
            address(0),
            io::ErrorKind::ConnectionRefused.into(),
        );
        assert_eq!(attempts.poll_timeout(Duration::ZERO), Some(LIMIT), "more may come");
        attempts.handle_more(&[], <[SocketAddr]>::to_vec);
        assert_eq!(attempts.poll_timeout(Duration::ZERO), None);
    }

    #[test]
    fn when_all_have_refused_there_is_nothing_to_wait_for() {
        let outcome = run(&[Fate::Refusal(0), Fate::Refusal(0)]);
        assert_eq!((outcome.took, outcome.failed), (0, vec![(0, true), (1, true)]));
        assert_eq!(run(&[]).took, 0);
    }
}
