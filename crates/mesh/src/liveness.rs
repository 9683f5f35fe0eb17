//! Whether the server answers on the connection in use (PROTOCOL.md §3), and what of the way to it
//! is known to be old.

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_common::{NextTimer, RoundTrip};

use crate::input::PathChange;

/// While speech goes through the relay, the server is asked when nothing has come from it for this
/// long.
const QUIET_IN_USE: Duration = Duration::from_millis(500);
/// Otherwise after this: a little more than the usual interval of its roster marks.
const QUIET: Duration = Duration::from_secs(6);
/// So often even if something comes: only what is answered shows that what is said arrives.
const ASK_IN_USE: Duration = Duration::from_secs(2);
/// For so long after a relayed packet the relay counts as in use.
const IN_USE: Duration = Duration::from_secs(2);
/// A server that has not answered for this long is not counted on.
const ANSWER_LIMIT: Duration = Duration::from_millis(1500);
/// After this without an answer another connection is opened beside, and after [`ANSWER_LIMIT`] if
/// nothing at all has come for this long.
const BESIDE_AFTER: Duration = Duration::from_secs(2);
/// The server is asked at most this often.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// A question without an answer is repeated after this.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Questions whose answers are awaited; the oldest is forgotten first.
const PINGS: usize = 16;
/// For so long after the machine woke, speech that comes on links may have waited since before.
const STALE_ON_LINKS: Duration = Duration::from_millis(250);

/// Whether the server answers on the connection in use.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    heard_at: Duration,
    pings: VecDeque<Ping>,
    next_token: u32,
    asked_at: Duration,
    /// When the newest question was sent that has been answered.
    answered: Option<Duration>,
    round_trip: RoundTrip,
    in_use_until: Duration,
    /// The server does not know the question.
    is_unsupported: bool,
    is_silent: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ping {
    token: u32,
    at: Duration,
}

impl Liveness {
    /// On a connection whose join has just been answered.
    pub(super) fn new(now: Duration) -> Self {
        Self { heard_at: now, answered: Some(now), ..Self::default() }
    }

    pub(super) fn heard(&mut self, now: Duration) {
        self.heard_at = now;
    }

    pub(super) fn heard_at(&self) -> Duration {
        self.heard_at
    }

    /// The number of a question that is due to be asked now, unless one was a moment ago.
    pub(super) fn ask(&mut self, now: Duration) -> Option<u32> {
        if self.is_unsupported || (!self.pings.is_empty() && now < self.asked_at + ASK_INTERVAL) {
            return None;
        }
        let token = self.next_token;
        self.next_token = self.next_token.wrapping_add(1);
        self.asked_at = now;
        if self.pings.len() == PINGS {
            self.pings.pop_front();
        }
        self.pings.push_back(Ping { token, at: now });
        Some(token)
    }

    /// When the answered question was sent.
    pub(super) fn answer(&mut self, now: Duration, token: u32) -> Option<Duration> {
        let index = self.pings.iter().position(|ping| ping.token == token)?;
        let asked_at = self.pings[index].at;
        self.pings.drain(..=index);
        self.answered = Some(asked_at);
        self.round_trip.measured(now.saturating_sub(asked_at));
        Some(asked_at)
    }

    /// For how long a question has had no answer. What else comes is none: only one direction may
    /// work.
    fn unanswered_for(&self, now: Duration) -> Duration {
        self.pings.front().map_or(Duration::ZERO, |ping| now.saturating_sub(ping.at))
    }

    pub(super) fn wants_another(&self, now: Duration) -> bool {
        let unanswered_for = self.unanswered_for(now);
        let is_mute = now >= self.heard_at + BESIDE_AFTER;
        unanswered_for >= if is_mute { ANSWER_LIMIT } else { BESIDE_AFTER }
    }

    pub(super) fn wants_question(&self, now: Duration) -> bool {
        if !self.pings.is_empty() {
            return now >= self.asked_at + ASK_AGAIN;
        }
        if now < self.in_use_until {
            return now >= self.heard_at + QUIET_IN_USE || now >= self.asked_at + ASK_IN_USE;
        }
        now >= self.heard_at + QUIET
    }

    /// The server answers, but does not know the question: only its marks show that it is there.
    /// False if it was not asked.
    pub(super) fn question_refused(&mut self) -> bool {
        let was_asked = !self.pings.is_empty();
        self.is_unsupported |= was_asked;
        self.pings.clear();
        was_asked
    }

    /// The relay carries speech.
    pub(super) fn relay_used(&mut self, now: Duration) {
        self.in_use_until = now + IN_USE;
    }

    /// When the latest question was sent that has been answered; [`Duration::MAX`] if the server
    /// knows no questions.
    pub(super) fn last_answered(&self) -> Option<Duration> {
        if self.is_unsupported { Some(Duration::MAX) } else { self.answered }
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.smoothed()
    }

    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }

    pub(super) fn timers(&self, next: &mut NextTimer) {
        if let Some(oldest) = self.pings.front() {
            next.at(oldest.at + ANSWER_LIMIT);
            next.at(oldest.at + BESIDE_AFTER);
            next.at(self.heard_at + BESIDE_AFTER);
            next.at(self.asked_at + ASK_AGAIN);
        } else {
            if next.now() < self.in_use_until {
                next.at(self.heard_at + QUIET_IN_USE);
                next.at(self.asked_at + ASK_IN_USE);
            }
            next.at(self.heard_at + QUIET);
        }
    }

    pub(super) fn tick(&mut self, now: Duration) {
        self.is_silent = self.unanswered_for(now) >= ANSWER_LIMIT;
    }
}

/// What is known of the way to the network.
#[derive(Debug, Default)]
pub(super) struct Path {
    /// No address leads to the server.
    is_lost: bool,
    /// When the machine woke, until the server has answered since.
    woke_at: Option<Duration>,
    links_stale_until: Duration,
}

impl Path {
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    pub(super) fn changed(&mut self, now: Duration, change: PathChange) {
        self.is_lost = change == PathChange::Lost;
        if change == PathChange::Woke {
            self.woke_at = Some(now);
            self.links_stale_until = now + STALE_ON_LINKS;
        }
    }

    /// The server has answered what it was asked then.
    pub(super) fn answered(&mut self, asked_at: Duration) {
        if self.woke_at.is_some_and(|woke_at| asked_at >= woke_at) {
            self.woke_at = None;
        }
    }

    /// There is another connection: the server is reached, and nothing on it is from before a
    /// sleep.
    pub(super) fn renewed(&mut self) {
        (self.is_lost, self.woke_at) = (false, None);
    }

    /// This moment, or that of a waking after it.
    pub(super) fn awake_since(&self, moment: Duration) -> Duration {
        self.woke_at.map_or(moment, |woke_at| moment.max(woke_at))
    }

    pub(super) fn is_stale_from_server(&self) -> bool {
        self.woke_at.is_some()
    }

    pub(super) fn is_stale_on_links(&self, now: Duration) -> bool {
        now < self.links_stale_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_the_server_sends_after_a_sleep_is_old_until_it_answers_a_question_of_then() {
        let mut path = Path::default();
        assert!(!path.is_stale_from_server());
        path.changed(10 * SECOND, PathChange::Woke);
        assert!(path.is_stale_from_server());
        path.answered(9 * SECOND);
        assert!(path.is_stale_from_server(), "asked before the sleep");
        path.changed(11 * SECOND, PathChange::Changed);
        assert!(path.is_stale_from_server(), "another network makes nothing new of it");
        path.answered(10 * SECOND);
        assert!(!path.is_stale_from_server());
        path.changed(20 * SECOND, PathChange::Woke);
        path.renewed();
        assert!(!path.is_stale_from_server(), "another connection");
    }

    #[test]
    fn a_connection_shows_that_the_server_is_reached() {
        let mut path = Path::default();
        path.changed(SECOND, PathChange::Lost);
        assert!(path.is_lost());
        path.renewed();
        assert!(!path.is_lost(), "also where no change of the way was noticed");
    }

    #[test]
    fn what_comes_on_links_right_after_a_sleep_is_old() {
        let mut path = Path::default();
        assert!(!path.is_stale_on_links(Duration::ZERO));
        for change in [PathChange::Changed, PathChange::Lost] {
            path.changed(5 * SECOND, change);
            assert!(!path.is_stale_on_links(5 * SECOND), "{change:?}");
        }
        path.changed(10 * SECOND, PathChange::Woke);
        assert!(path.is_stale_on_links(10 * SECOND + STALE_ON_LINKS / 2));
        assert!(!path.is_stale_on_links(10 * SECOND + STALE_ON_LINKS));
    }
}
