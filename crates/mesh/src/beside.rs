//! Connections that are opened beside one from which nothing comes, or that does not open
//! (PROTOCOL.md §3).

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_common::NextTimer;

use crate::connection_state::JOIN_LIMIT_IN_ALL;
use crate::output::Outputs;

/// The next attempt begins after this or up to half of it earlier, so that a server that is back is
/// found soon, and not by everyone at the same moment. An attempt has the time of several
/// intervals, for the sake of long round trips.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(1);
/// With so many others in the room it is longer: they come back after the same outage.
const CROWD: usize = 8;
const CROWDS_INTERVAL: Duration = Duration::from_millis(1_500);
/// Where there is no connection in use, the intervals grow up to this.
const LONGEST_ATTEMPT_INTERVAL: Duration = Duration::from_secs(5);
/// Most attempts are given up after this and four round trips, before the system repeats what it
/// sent first: a TCP connection that begins so waits 3 s for anything that is lost later (RFC 6298
/// §5.7). …
const SHORT_ATTEMPT: Duration = Duration::from_millis(950);
/// … One of so many may take longer, for servers that are slow.
const LONG_ATTEMPT_EVERY: u32 = 4;
/// Attempts that are being opened at a time, besides a first one that may wait for a sleeping host.
const ATTEMPTS: usize = 3;
/// A join on a connection opened beside is given up when nothing has come on it for this long.
const JOIN_LIMIT: Duration = Duration::from_secs(4);
/// Connections that are opened beside the one in use, or beside a first one that does not open.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Oldest first.
    opening: VecDeque<Attempt>,
    joining: Option<Attempt>,
    next_at: Option<Duration>,
    attempts: u32,
    is_crowd: bool,
    /// When the path changed: until the connection in use has answered since, it is taken for dead.
    urgent_since: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) generation: u32,
    pub(super) since: Duration,
    /// When it began to be opened.
    pub(super) began_at: Duration,
    /// When something came on it last, or it began.
    heard_at: Duration,
    /// It has the time of several attempts.
    is_long: bool,
}

impl Attempt {
    /// Until when its join is waited for.
    fn join_limit(&self, round_trip: Duration) -> Duration {
        let in_all = self.since + JOIN_LIMIT_IN_ALL;
        in_all.min(self.heard_at + JOIN_LIMIT + 4 * round_trip)
    }

    /// Until when it may be opened, if it does not have the time of several.
    fn open_limit(&self, round_trip: Duration) -> Option<Duration> {
        (!self.is_long).then(|| self.since + SHORT_ATTEMPT + 4 * round_trip)
    }
}

impl Beside {
    pub(super) fn is_joining(&self, generation: u32) -> bool {
        self.joining.is_some_and(|attempt| attempt.generation == generation)
    }

    pub(super) fn is_opening(&self, generation: u32) -> bool {
        self.opening.iter().any(|attempt| attempt.generation == generation)
    }

    /// Part of the answer to the join beside has come.
    pub(super) fn heard(&mut self, now: Duration) {
        if let Some(joining) = &mut self.joining {
            joining.heard_at = now;
        }
    }

    pub(super) fn has_opening(&self) -> bool {
        !self.opening.is_empty()
    }

    pub(super) fn has_joining(&self) -> bool {
        self.joining.is_some()
    }

    /// When the attempt began that joins.
    pub(super) fn joining_began_at(&self) -> Option<Duration> {
        self.joining.map(|attempt| attempt.began_at)
    }

    pub(super) fn take_joining(&mut self) -> Option<Attempt> {
        self.joining.take()
    }

    pub(super) fn take_oldest(&mut self) -> Option<Attempt> {
        self.attempts = 0;
        self.opening.pop_front()
    }

    /// A path has changed, and the connection in use belongs to the former one.
    pub(super) fn is_urgent(&self) -> bool {
        self.urgent_since.is_some()
    }

    /// The path has changed: attempts begin now.
    pub(super) fn reconnect_now(&mut self, now: Duration) {
        self.urgent_since = Some(now);
        self.attempts = 0;
        self.next_at = Some(now);
    }

    /// The connection in use has answered what it was asked then.
    pub(super) fn answered(&mut self, asked_at: Duration) {
        if self.urgent_since.is_some_and(|since| asked_at >= since) {
            self.urgent_since = None;
        }
    }

    /// There is no connection in use that could belong to a former path.
    pub(super) fn not_urgent(&mut self) {
        self.urgent_since = None;
    }

    /// How many others are in the room.
    pub(super) fn set_others(&mut self, others: usize) {
        self.is_crowd = others >= CROWD;
    }

    /// When the next attempt begins, if that is settled.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.next_at
    }

    pub(super) fn settle_next(&mut self, at: Duration) {
        self.next_at = Some(at);
    }

    /// How long a first connection is waited for before another is opened beside it. `fraction` is
    /// drawn at random, from 0 to 1.
    pub(super) fn first_interval(fraction: f64) -> Duration {
        ATTEMPT_INTERVAL.mul_f64(0.5 + 0.5 * fraction)
    }

    /// Begins an attempt. `fraction` is drawn at random, from 0 to 1.
    pub(super) fn open(
        &mut self,
        now: Duration,
        generation: u32,
        is_joined: bool,
        round_trip: Duration,
        fraction: f64,
        out: &mut Outputs,
    ) {
        // A first connection that does not open may be waited for by others: it is tried again more
        // and more rarely.
        let slower = if is_joined { 0 } else { self.attempts.min(4) };
        let usual = if self.is_crowd { CROWDS_INTERVAL } else { ATTEMPT_INTERVAL };
        let interval = usual.max(2 * round_trip).saturating_mul(1 << slower);
        let interval = interval.min(LONGEST_ATTEMPT_INTERVAL).mul_f64(0.5 + 0.5 * fraction);
        self.attempts = self.attempts.saturating_add(1);
        self.next_at = Some(now + interval);
        if self.opening.len() >= ATTEMPTS
            && let Some(oldest) = self.opening.pop_front()
        {
            out.close_socket(oldest.generation);
        }
        let is_long = !is_joined || self.attempts.is_multiple_of(LONG_ATTEMPT_EVERY);
        self.opening.push_back(Attempt {
            generation,
            since: now,
            began_at: now,
            heard_at: now,
            is_long,
        });
        out.open_socket(generation);
    }

    /// One of the attempts is open: it alone goes on.
    pub(super) fn opened(&mut self, now: Duration, generation: u32, out: &mut Outputs) {
        let of_it = self.opening.iter().find(|attempt| attempt.generation == generation);
        let began_at = of_it.map_or(now, |attempt| attempt.began_at);
        self.opening.retain(|attempt| attempt.generation != generation);
        self.close_opening(out);
        self.joining =
            Some(Attempt { generation, since: now, began_at, heard_at: now, is_long: false });
    }

    /// An attempt has failed. The next one begins at its time.
    pub(super) fn closed(&mut self, generation: u32, out: &mut Outputs) {
        self.opening.retain(|attempt| attempt.generation != generation);
        if self.is_joining(generation) {
            self.joining = None;
        }
        out.close_socket(generation);
    }

    /// Closes a join that is not answered.
    pub(super) fn close_late_join(
        &mut self,
        now: Duration,
        round_trip: Duration,
        out: &mut Outputs,
    ) {
        let is_late = |attempt: &mut Attempt| now >= attempt.join_limit(round_trip);
        if let Some(attempt) = self.joining.take_if(is_late) {
            out.close_socket(attempt.generation);
        }
    }

    /// Closes attempts that do not open.
    pub(super) fn close_late(&mut self, now: Duration, round_trip: Duration, out: &mut Outputs) {
        let is_late =
            |attempt: &Attempt| attempt.open_limit(round_trip).is_some_and(|limit| now >= limit);
        let late: Vec<u32> = self
            .opening
            .iter()
            .filter(|attempt| is_late(attempt))
            .map(|attempt| attempt.generation)
            .collect();
        for generation in late {
            self.closed(generation, out);
        }
    }

    pub(super) fn timers(&self, round_trip: Duration, next: &mut NextTimer) {
        next.at(self.joining.map(|attempt| attempt.join_limit(round_trip)));
        self.opening.iter().for_each(|attempt| next.at(attempt.open_limit(round_trip)));
        next.at(self.next_at);
    }

    /// No attempt is wanted for now; one that joins goes on.
    pub(super) fn rest(&mut self, out: &mut Outputs) {
        self.close_opening(out);
        self.next_at = None;
        self.attempts = 0;
    }

    /// No connection is wanted beside the one in use any more.
    pub(super) fn close(&mut self, out: &mut Outputs) {
        self.close_opening(out);
        if let Some(attempt) = self.joining.take() {
            out.close_socket(attempt.generation);
        }
        *self = Self::default();
    }

    /// The attempt that joins has become the connection in use.
    pub(super) fn close_but_joining(&mut self, out: &mut Outputs) {
        self.joining = None;
        self.close(out);
    }

    fn close_opening(&mut self, out: &mut Outputs) {
        for attempt in std::mem::take(&mut self.opening) {
            out.close_socket(attempt.generation);
        }
    }
}
