//! Whether the server answers, and the connections that are opened beside one from which nothing comes (PROTOCOL.md §3).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::network::NetworkEvent;
use voicemesh_wire::packet;
use voicemesh_wire::signaling::ClientMessage;

use super::connection::ConnectionState;
use super::signaling::JOIN_LIMIT_IN_ALL;
use super::{Mesh, PathChange};

/// While speech goes through the relay, the server is asked when nothing has come from it for this long.
const QUIET_IN_USE: Duration = Duration::from_millis(500);
/// Otherwise after this: a little more than the usual interval of its roster marks.
const QUIET: Duration = Duration::from_secs(6);
/// So often even if something comes: only what is answered shows that what is said arrives.
const ASK_IN_USE: Duration = Duration::from_secs(2);
/// For so long after a relayed packet the relay counts as in use.
const IN_USE: Duration = Duration::from_secs(2);
/// A server that has not answered for this long is not counted on.
const ANSWER_LIMIT: Duration = Duration::from_millis(1500);
/// After this without an answer another connection is opened beside, and after [`ANSWER_LIMIT`] if nothing at all has come for
/// this long, …
const BESIDE_AFTER: Duration = Duration::from_secs(2);
/// … or up to so much later, so that not everyone comes back at the same moment.
const BESIDE_SPREAD: Duration = Duration::from_millis(500);
/// The server is asked at most this often.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// A question without an answer is repeated after this.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Questions whose answers are awaited; the oldest is forgotten first.
const PINGS: usize = 16;
/// The next attempt begins after this or up to half of it earlier, so that a server that is back is found soon, and not by
/// everyone at the same moment. An attempt has the time of several intervals, for the sake of long round trips.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(1);
/// Where there is no connection in use, the intervals grow up to this.
const LONGEST_ATTEMPT_INTERVAL: Duration = Duration::from_secs(5);
/// Most attempts are given up after this and four round trips, before the system repeats what it sent first: a TCP connection that
/// begins so waits 3 s for anything that is lost later (RFC 6298 §5.7). …
const SHORT_ATTEMPT: Duration = Duration::from_millis(950);
/// … One of so many may take longer, for servers that are slow.
const LONG_ATTEMPT_EVERY: u32 = 4;
/// Attempts that are being opened at a time, besides a first one that may wait for a sleeping host.
const ATTEMPTS: usize = 3;
/// A join on a connection opened beside is given up when nothing has come on it for this long.
const JOIN_LIMIT: Duration = Duration::from_secs(4);
/// Written messages of which it is not known that they arrived: so many …
const TEXTS: usize = 128;
/// … and so many bytes. The oldest is forgotten first.
const TEXT_BYTES: usize = 256 * 1024;
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
    round_trip: Option<Duration>,
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

    fn ask(&mut self, now: Duration) -> Option<u32> {
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
    fn answer(&mut self, now: Duration, token: u32) -> Option<Duration> {
        let index = self.pings.iter().position(|ping| ping.token == token)?;
        let asked_at = self.pings[index].at;
        self.pings.drain(..=index);
        self.answered = Some(asked_at);
        let sample = now.saturating_sub(asked_at);
        self.round_trip = Some(self.round_trip.map_or(sample, |smoothed| (smoothed * 7 + sample) / 8));
        Some(asked_at)
    }

    /// For how long a question has had no answer. What else comes is none: only one direction may work.
    fn unanswered_for(&self, now: Duration) -> Duration {
        self.pings.front().map_or(Duration::ZERO, |ping| now.saturating_sub(ping.at))
    }

    fn wants_another(&self, now: Duration) -> bool {
        let unanswered_for = self.unanswered_for(now);
        let is_mute = now >= self.heard_at + BESIDE_AFTER;
        unanswered_for >= if is_mute { ANSWER_LIMIT } else { BESIDE_AFTER }
    }

    fn wants_question(&self, now: Duration) -> bool {
        if !self.pings.is_empty() {
            return now >= self.asked_at + ASK_AGAIN;
        }
        if now < self.in_use_until {
            return now >= self.heard_at + QUIET_IN_USE || now >= self.asked_at + ASK_IN_USE;
        }
        now >= self.heard_at + QUIET
    }
}

/// Connections that are opened beside the one in use, or beside a first one that does not open.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Oldest first.
    opening: VecDeque<Attempt>,
    joining: Option<Attempt>,
    next_at: Option<Duration>,
    attempts: u32,
    /// When the path changed: until the connection in use has answered since, it is taken for dead.
    urgent_since: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) generation: u32,
    pub(super) since: Duration,
    /// When something came on it last, or it began.
    heard_at: Duration,
    /// It has the time of several attempts.
    is_long: bool,
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

    pub(super) fn has_joining(&self) -> bool {
        self.joining.is_some()
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
}

/// What was written to others and may have to be sent again on another connection.
#[derive(Debug, Default)]
pub(super) struct Texts {
    waiting: VecDeque<Written>,
    bytes: usize,
    /// How many were sent on this connection.
    sent: u32,
}

#[derive(Debug)]
struct Written {
    at: Duration,
    /// Its place among those of its connection, from 0.
    number: u32,
    packet: Bytes,
}

impl Texts {
    fn push(&mut self, now: Duration, packet: Bytes) {
        self.bytes += packet.len();
        self.waiting.push_back(Written { at: now, number: self.sent, packet });
        self.sent += 1;
        while self.waiting.len() > TEXTS || self.bytes > TEXT_BYTES {
            let Some(oldest) = self.waiting.pop_front() else { return };
            self.bytes -= oldest.packet.len();
        }
    }

    fn confirmed(&mut self, until: Duration) {
        while let Some(written) = self.waiting.pop_front_if(|written| written.at <= until) {
            self.bytes -= written.packet.len();
        }
    }

    /// Whether any is not known to have arrived.
    pub(super) fn is_unconfirmed(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Another connection took over from that on which the server has read so many: the others are to be sent on it.
    pub(super) fn taken_over(&mut self, now: Duration, read: Option<u32>) -> Vec<Bytes> {
        let former = std::mem::take(self);
        let unread = former.waiting.into_iter().filter(|written| read.is_none_or(|read| written.number >= read));
        unread.for_each(|written| self.push(now, written.packet));
        self.waiting.iter().map(|written| written.packet.clone()).collect()
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

impl Mesh {
    /// Addresses or routes of this machine changed, or it slept.
    pub(super) fn path_changed(&mut self, now: Duration, change: PathChange) {
        tracing::info!(?change, "the network path changed");
        self.tell_network(NetworkEvent::PathChanged);
        self.path.is_lost = change == PathChange::Lost;
        self.beside.urgent_since = Some(now);
        self.beside.attempts = 0;
        self.beside.next_at = Some(now);
        self.socket.hurry(now);
        self.ask_server(now);
        match change {
            PathChange::Lost => {}
            PathChange::Changed => {
                self.renew_links(now);
                self.network_changed(now);
            }
            PathChange::Woke => {
                self.path.woke_at = Some(now);
                self.path.links_stale_until = now + STALE_ON_LINKS;
                self.renew_links(now);
            }
        }
        self.tick_socket(now);
    }

    /// Asks whether the server answers.
    pub(super) fn ask_server(&mut self, now: Duration) {
        if let ConnectionState::Joined { liveness, memory, .. } = &mut self.socket
            && let Some(token) = liveness.ask(now)
        {
            let generation = memory.generation;
            self.out.send_text(generation, ClientMessage::Ping { token }.to_json());
        }
    }

    pub(super) fn server_answered(&mut self, now: Duration, token: u32) {
        let ConnectionState::Joined { liveness, .. } = &mut self.socket else { return };
        let Some(asked_at) = liveness.answer(now, token) else { return };
        self.texts.confirmed(asked_at);
        if self.beside.urgent_since.is_some_and(|since| asked_at >= since) {
            self.beside.urgent_since = None;
        }
        if self.path.woke_at.is_some_and(|woke_at| asked_at >= woke_at) {
            self.path.woke_at = None;
        }
    }

    /// The server answers, but does not know the question: only its marks show that it is there.
    pub(super) fn question_refused(&mut self) -> bool {
        let ConnectionState::Joined { liveness, .. } = &mut self.socket else { return false };
        let was_asked = !liveness.pings.is_empty();
        liveness.is_unsupported |= was_asked;
        liveness.pings.clear();
        was_asked
    }

    pub(super) fn relay_used(&mut self, now: Duration) {
        if let ConnectionState::Joined { liveness, .. } = &mut self.socket {
            liveness.in_use_until = now + IN_USE;
        }
    }

    /// A written message goes to the server: it is kept until it is known to have arrived.
    pub(super) fn keep_text(&mut self, now: Duration, packet: &Bytes) {
        if self.socket.is_joined() && packet::open(packet).is_ok_and(|(header, _)| header.kind.is_text()) {
            self.texts.push(now, packet.clone());
            self.ask_server(now);
        }
    }

    pub(super) fn is_stale_from_server(&self) -> bool {
        self.path.woke_at.is_some()
    }

    pub(super) fn is_stale_on_links(&self, now: Duration) -> bool {
        now < self.path.links_stale_until
    }

    /// Whether the server answers what it is asked, as far as is known.
    pub fn server_is_reached(&self) -> bool {
        match &self.socket {
            ConnectionState::Joined { liveness, .. } => !self.path.is_lost && !liveness.is_silent,
            ConnectionState::Stopped
            | ConnectionState::Waiting { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Joining { .. } => true,
        }
    }

    /// When the latest question was sent that the server has answered.
    pub(super) fn last_answered(&self) -> Option<Duration> {
        match &self.socket {
            ConnectionState::Joined { liveness, .. } if liveness.is_unsupported => Some(Duration::MAX),
            ConnectionState::Joined { liveness, .. } => liveness.answered,
            ConnectionState::Stopped
            | ConnectionState::Waiting { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Joining { .. } => None,
        }
    }

    /// Asks where it is due, and opens connections beside one that does not answer or does not open.
    pub(super) fn tick_liveness(&mut self, now: Duration) {
        let mut round_trip = Duration::ZERO;
        let is_wanted = match &mut self.socket {
            ConnectionState::Stopped | ConnectionState::Waiting { .. } | ConnectionState::Joining { .. } => {
                self.beside.urgent_since = None;
                false
            }
            // A first join may have to wait for a sleeping host.
            ConnectionState::Opening { memory, .. } => memory.has_joined,
            ConnectionState::Joined { liveness, .. } => {
                let unanswered_for = liveness.unanswered_for(now);
                liveness.is_silent = unanswered_for >= ANSWER_LIMIT;
                round_trip = liveness.round_trip.unwrap_or_default();
                self.beside.urgent_since.is_some() || liveness.wants_another(now)
            }
        };
        if let ConnectionState::Joined { liveness, .. } = &self.socket
            && liveness.wants_question(now)
        {
            self.ask_server(now);
        }
        let is_late = |attempt: Attempt| {
            now >= attempt.heard_at + JOIN_LIMIT + 4 * round_trip || now >= attempt.since + JOIN_LIMIT_IN_ALL
        };
        if self.beside.joining.is_some_and(is_late)
            && let Some(attempt) = self.beside.joining.take()
        {
            self.out.close_socket(attempt.generation);
        }
        if !is_wanted {
            self.close_opening();
            self.beside.next_at = None;
            self.beside.attempts = 0;
            return;
        }
        if self.beside.joining.is_some() {
            return;
        }
        self.close_late(now, round_trip);
        let due = match self.beside.next_at {
            Some(due) => due,
            None => now + self.first_attempt_after(),
        };
        self.beside.next_at = Some(due);
        if now >= due {
            self.open_beside(now, round_trip);
        }
    }

    fn first_attempt_after(&mut self) -> Duration {
        match self.socket {
            ConnectionState::Opening { .. } => ATTEMPT_INTERVAL.mul_f64(0.5 + 0.5 * self.random.fraction()),
            ConnectionState::Stopped
            | ConnectionState::Waiting { .. }
            | ConnectionState::Joining { .. }
            | ConnectionState::Joined { .. } => BESIDE_SPREAD.mul_f64(self.random.fraction()),
        }
    }

    fn open_beside(&mut self, now: Duration, round_trip: Duration) {
        // A first connection that does not open may be waited for by others: it is tried again more and more rarely.
        let slower = if self.socket.is_joined() { 0 } else { self.beside.attempts.min(4) };
        let interval = ATTEMPT_INTERVAL.max(2 * round_trip).saturating_mul(1 << slower);
        let interval = interval.min(LONGEST_ATTEMPT_INTERVAL).mul_f64(0.5 + 0.5 * self.random.fraction());
        self.beside.attempts = self.beside.attempts.saturating_add(1);
        self.beside.next_at = Some(now + interval);
        if self.beside.opening.len() >= ATTEMPTS
            && let Some(oldest) = self.beside.opening.pop_front()
        {
            self.out.close_socket(oldest.generation);
        }
        let generation = self.next_generation();
        let is_long = !self.socket.is_joined() || self.beside.attempts.is_multiple_of(LONG_ATTEMPT_EVERY);
        self.beside.opening.push_back(Attempt { generation, since: now, heard_at: now, is_long });
        self.out.open_socket(generation);
    }

    /// One of the attempts is open: it alone goes on.
    pub(super) fn beside_open(&mut self, now: Duration, generation: u32) {
        self.beside.opening.retain(|attempt| attempt.generation != generation);
        self.close_opening();
        self.beside.joining = Some(Attempt { generation, since: now, heard_at: now, is_long: false });
    }

    /// An attempt has failed. The next one begins at its time.
    pub(super) fn beside_closed(&mut self, generation: u32) {
        self.beside.opening.retain(|attempt| attempt.generation != generation);
        if self.beside.is_joining(generation) {
            self.beside.joining = None;
        }
        self.out.close_socket(generation);
    }

    fn close_late(&mut self, now: Duration, round_trip: Duration) {
        let limit = SHORT_ATTEMPT + 4 * round_trip;
        let is_late = |attempt: &Attempt| !attempt.is_long && now >= attempt.since + limit;
        let late: Vec<u32> =
            self.beside.opening.iter().filter(|attempt| is_late(attempt)).map(|attempt| attempt.generation).collect();
        for generation in late {
            self.beside_closed(generation);
        }
    }

    fn close_opening(&mut self) {
        for attempt in std::mem::take(&mut self.beside.opening) {
            self.out.close_socket(attempt.generation);
        }
    }

    /// The attempt that joins has become the connection in use.
    pub(super) fn close_beside_but_joining(&mut self) {
        self.beside.joining = None;
        self.close_beside();
    }

    /// No connection is wanted beside the one in use any more.
    pub(super) fn close_beside(&mut self) {
        self.close_opening();
        if let Some(attempt) = self.beside.joining.take() {
            self.out.close_socket(attempt.generation);
        }
        self.beside = Beside::default();
    }

    /// Another connection has taken over: whatever waited for the former one is over.
    pub(super) fn connection_renewed(&mut self) {
        self.close_beside();
        self.path.woke_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_over_sends_what_the_server_has_not_read_once_more_and_keeps_it() {
        let ms = Duration::from_millis;
        let mut texts = Texts::default();
        for (at, text) in [(0, "one"), (10, "two"), (20, "three")] {
            texts.push(ms(at), Bytes::from_static(text.as_bytes()));
        }
        texts.confirmed(ms(5));
        assert_eq!(texts.taken_over(ms(30), Some(2)), ["three"], "the server has read one and two");
        assert!(texts.is_unconfirmed());
        assert_eq!(texts.taken_over(ms(40), Some(0)), ["three"], "that connection died, too");
        assert_eq!(texts.taken_over(ms(50), None), ["three"], "a server that does not count");
        assert_eq!(texts.taken_over(ms(60), Some(1)), Vec::<Bytes>::new());
        assert!(!texts.is_unconfirmed() && texts.bytes == 0);
    }
}
