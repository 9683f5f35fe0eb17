//! The connection to the signaling server: the WebSocket in use and those beside it, opened, lost,
//! opened again (PROTOCOL.md, sections 3 and 4). What is said on it is for others to decide.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_common::NextTimer;
use voicemesh_session::network::{DisconnectReason, NetworkEvent, Reliability};
use voicemesh_wire::SessionId;
use voicemesh_wire::packet;
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, PeerInfo, ServerLimits};

use crate::beside::{Attempt, Beside};
use crate::connection_state::{ConnectionState, JOIN_LIMIT_IN_ALL, ReconnectState};
use crate::event::MeshEvent;
use crate::input::PathChange;
use crate::liveness::{Liveness, Path};
use crate::queues::Queues;
use crate::texts::{ReadTexts, TextPacket, Texts};

/// The first reconnection waits up to this long, so that not everyone comes back at the same moment
/// after a common outage; the next ones wait longer each time …
const FIRST_RETRY: Duration = Duration::from_millis(1500);
/// … from this on, twice as long each …
const NEXT_RETRY: Duration = Duration::from_millis(250);
/// … up to this, so that a server that is back is found soon, and a sleeping one is not hammered.
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// A socket that is not open by then is given up; a sleeping host takes a minute to wake.
const OPEN_LIMIT: Duration = Duration::from_secs(90);
/// A join is given up when nothing at all has come for this long, or its answer is not whole after
/// [`JOIN_LIMIT_IN_ALL`].
const JOIN_LIMIT: Duration = Duration::from_secs(15);
/// So many roster marks can be missed; then the socket is dead, whatever it says.
const MARKS_MISSED: u32 = 3;
/// A connection beside one in use that does not answer begins up to so much later, so that not
/// everyone comes back at the same moment.
const BESIDE_SPREAD: Duration = Duration::from_millis(500);
/// A connection that the host will end is replaced after this share of its life, or up to
/// [`RENEWAL_SPREAD`] of it later.
const RENEWAL: f64 = 0.7;
const RENEWAL_SPREAD: f64 = 0.2;
/// However short a life the server names.
const SHORTEST_LIFE: Duration = Duration::from_secs(10);
/// What was on its way on the connection from which another has taken over is still read for this
/// long; by then the server closes it.
const FORMER_READ: Duration = Duration::from_secs(2);
/// Speech for this long: later it has waited in a connection that was dead.
const FORMER_VOICE: Duration = Duration::from_millis(500);
/// A server that does not take the next connection is well, and is asked again after this only.
const RENEWAL_AGAIN: Duration = Duration::from_secs(10);

/// Every connection to the server, and what is known of the way to it.
#[derive(Debug)]
pub(super) struct Connection {
    state: ConnectionState,
    /// When the connection in use was begun: a host in front of the server counts from then.
    began_at: Duration,
    /// The one from which it has taken over.
    former: Option<Former>,
    beside: Beside,
    /// Of connections; see [`MeshOutput::OpenSocket`](crate::output::MeshOutput::OpenSocket).
    generations: u32,
    path: Path,
    texts: Texts,
    /// When the connection in use is replaced, before the host ends it.
    renewal_at: Option<Duration>,
    /// An attempt that was begun for that alone may be under way.
    is_renewing: bool,
    random: fastrand::Rng,
}

/// A connection from which another has taken over.
#[derive(Debug)]
struct Former {
    generation: u32,
    taken_over_at: Duration,
    /// The machine slept, and the server had not answered since: what was on its way may have
    /// waited since before.
    was_stale: bool,
    /// What the server may still refuse there.
    texts: ReadTexts,
}

/// Which of the connections one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketRole {
    InUse,
    /// The join has been sent on it, beside the one in use.
    Joining,
    /// It is being opened, beside the one in use or in its place.
    Opening,
    /// Another has taken over from it.
    Former,
}

/// Time has run out for the connection in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It is given up.
    Lost(&'static str),
    /// Another that is being opened already goes on in its place, if there is one.
    Closed(&'static str),
}

/// What a connection that has opened beside another is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BesideOpened {
    /// It takes the place of a first one that has not opened.
    InUse,
    /// It joins.
    Joins,
    Unwanted,
}

/// What follows the end of the connection in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterClose {
    /// There was none.
    Nothing,
    /// Another that is being opened already goes on in its place.
    GoesOn { was_open: bool },
    /// The next is to be opened after a while.
    TryAgain,
}

impl Connection {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: ConnectionState::Stopped,
            began_at: Duration::ZERO,
            former: None,
            beside: Beside::default(),
            generations: 0,
            path: Path::default(),
            texts: Texts::default(),
            renewal_at: None,
            is_renewing: false,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.is_open()
    }

    pub(super) fn is_joining(&self) -> bool {
        matches!(self.state, ConnectionState::Joining { .. })
    }

    pub(super) fn is_joined(&self) -> bool {
        self.state.is_joined()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state.is_stopped()
    }

    /// Whether the server has let this peer in before, on whichever connection.
    pub(super) fn has_joined(&self) -> bool {
        self.state.memory().is_some_and(|memory| memory.has_joined)
    }

    /// A path has changed, and the connection in use belongs to the former one.
    pub(super) fn is_urgent(&self) -> bool {
        self.beside.is_urgent()
    }

    /// Another connection has sent its join.
    pub(super) fn has_joining_beside(&self) -> bool {
        self.beside.has_joining()
    }

    /// Since when the server is away.
    pub(super) fn away_since(&self) -> Option<Duration> {
        self.state.away_since()
    }

    /// This peer as the server let it in, and the session.
    pub(super) fn joined_as(&self) -> Option<(&PeerInfo, SessionId)> {
        match &self.state {
            ConnectionState::Joined { you, session, .. } => Some((you, *session)),
            ConnectionState::Stopped
            | ConnectionState::Waiting { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Joining { .. } => None,
        }
    }

    pub(super) fn role_of(&self, generation: u32) -> Option<SocketRole> {
        if self.state.generation() == Some(generation) {
            Some(SocketRole::InUse)
        } else if self.beside.is_joining(generation) {
            Some(SocketRole::Joining)
        } else if self.beside.is_opening(generation) {
            Some(SocketRole::Opening)
        } else if self.former.as_ref().is_some_and(|former| former.generation == generation) {
            Some(SocketRole::Former)
        } else {
            None
        }
    }

    /// Begins to connect, and goes on until it is stopped.
    pub(super) fn start(&mut self, now: Duration) {
        self.state = ConnectionState::waiting(now);
    }

    /// A retry that waits begins then.
    pub(super) fn reconnect_at(&mut self, at: Duration) {
        self.state.reconnect_now(at);
    }

    /// Opens what is due if `may_open`, and finds what is overdue.
    pub(super) fn tick(
        &mut self,
        now: Duration,
        may_open: bool,
        queues: &mut Queues,
    ) -> Option<Overdue> {
        match &self.state {
            ConnectionState::Waiting { until, memory } if now >= *until && may_open => {
                let memory = *memory;
                let memory = ReconnectState { generation: self.next_generation(), ..memory };
                self.state = ConnectionState::Opening { since: now, memory };
                self.began_at = now;
                queues.out.open_socket(memory.generation);
                None
            }
            ConnectionState::Opening { since, .. } if now >= *since + OPEN_LIMIT => {
                Some(Overdue::Lost("it does not answer"))
            }
            ConnectionState::Joining { since, heard_at, .. }
                if now >= *heard_at + JOIN_LIMIT || now >= *since + JOIN_LIMIT_IN_ALL =>
            {
                Some(Overdue::Lost("it does not answer the join"))
            }
            ConnectionState::Joined { liveness, silence_limit, .. }
                if now >= liveness.heard_at() + *silence_limit =>
            {
                Some(Overdue::Closed("nothing comes from it any more"))
            }
            ConnectionState::Stopped
            | ConnectionState::Waiting { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Joining { .. }
            | ConnectionState::Joined { .. } => None,
        }
    }

    /// The number of a connection that has not been one before.
    fn next_generation(&mut self) -> u32 {
        self.generations = self.generations.wrapping_add(1);
        self.generations
    }

    /// Something came on the connection in use.
    pub(super) fn heard(&mut self, now: Duration) {
        if let ConnectionState::Joined { liveness, .. } = &mut self.state {
            liveness.heard(now);
        }
    }

    /// How long nothing has come on the connection in use while this machine was awake; zero if it
    /// has not joined.
    pub(super) fn silence(&self, now: Duration) -> Duration {
        match &self.state {
            ConnectionState::Joined { liveness, .. } => {
                now.saturating_sub(self.path.awake_since(liveness.heard_at()))
            }
            ConnectionState::Stopped
            | ConnectionState::Waiting { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Joining { .. } => Duration::ZERO,
        }
    }

    /// A part of a message has come on the connection in use.
    pub(super) fn receiving(&mut self, now: Duration) {
        if let ConnectionState::Joining { heard_at, .. } = &mut self.state {
            *heard_at = now;
        }
    }

    /// A part of the answer to the join beside has come.
    pub(super) fn receiving_beside(&mut self, now: Duration) {
        self.beside.heard(now);
    }

    /// A message on the connection in use.
    pub(super) fn say(&self, message: &ClientMessage, queues: &mut Queues) {
        if let Some(generation) = self.state.generation() {
            queues.out.send_text(generation, message.to_json());
        }
    }

    /// A packet of the session on the connection in use. Without one it is lost, which has been
    /// reported or is about to be.
    pub(super) fn send_packet(
        &mut self,
        now: Duration,
        reliability: Reliability,
        packet: Bytes,
        queues: &mut Queues,
    ) {
        if reliability == Reliability::Reliable
            && packet::open(&packet).is_ok_and(|(header, _)| header.kind.is_text())
        {
            return self.send_text(now, packet.into(), queues);
        }
        if let Some(generation) = self.state.generation().filter(|_| self.state.is_open()) {
            if reliability == Reliability::Unreliable {
                self.relay_used(now);
            }
            queues.out.send_packet(generation, reliability, packet);
        }
    }

    /// A written message to others, which is kept until it is known to have arrived.
    pub(super) fn send_text(&mut self, now: Duration, packet: TextPacket, queues: &mut Queues) {
        let Some(generation) = self.state.generation().filter(|_| self.state.is_open()) else {
            return;
        };
        let sent = packet.sent.clone();
        if self.state.is_joined() {
            self.texts.push(now, packet);
            self.ask_server(now, queues);
        }
        queues.out.send_packet(generation, Reliability::Reliable, sent);
    }

    pub(super) fn ping(&self, number: u16, queues: &mut Queues) {
        if let Some(generation) = self.state.generation().filter(|_| self.state.is_open()) {
            queues.out.ping(generation, number);
        }
    }

    /// The connection in use is open, and the join goes on it: its number.
    pub(super) fn opened(&mut self, now: Duration) -> Option<u32> {
        let ConnectionState::Opening { memory, .. } = &self.state else { return None };
        let memory = *memory;
        self.state = ConnectionState::Joining { since: now, heard_at: now, memory };
        Some(memory.generation)
    }

    /// A further connection is open. Beside one in use it joins; beside a first one that has not
    /// opened it takes its place.
    pub(super) fn beside_opened(
        &mut self,
        now: Duration,
        generation: u32,
        queues: &mut Queues,
    ) -> BesideOpened {
        self.beside.opened(now, generation, &mut queues.out);
        let began_at = self.beside.joining_began_at();
        match &self.state {
            ConnectionState::Opening { since, memory } => {
                let (since, memory) = (*since, *memory);
                self.began_at = began_at.unwrap_or(now);
                queues.out.close_socket(memory.generation);
                self.beside.close_but_joining(&mut queues.out);
                self.state = ConnectionState::Opening {
                    since,
                    memory: ReconnectState { generation, ..memory },
                };
                BesideOpened::InUse
            }
            ConnectionState::Joined { .. } => BesideOpened::Joins,
            ConnectionState::Stopped
            | ConnectionState::Waiting { .. }
            | ConnectionState::Joining { .. } => {
                self.beside.close(&mut queues.out);
                BesideOpened::Unwanted
            }
        }
    }

    /// A further connection has failed. The next one begins at its time.
    pub(super) fn beside_closed(&mut self, generation: u32, queues: &mut Queues) {
        self.beside.closed(generation, &mut queues.out);
    }

    /// The server has let this peer in, on the connection in use.
    pub(super) fn joined(
        &mut self,
        now: Duration,
        you: PeerInfo,
        session: SessionId,
        limits: &ServerLimits,
        queues: &mut Queues,
    ) {
        let Some(memory) = self.state.memory() else { return };
        self.state = ConnectionState::Joined {
            liveness: Box::new(Liveness::new(now)),
            silence_limit: silence_limit(limits),
            you: Box::new(you),
            session,
            memory: ReconnectState { failures: 0, has_joined: true, ..memory },
        };
        self.renewed(now, limits, queues);
    }

    /// The server has let this peer in anew on a connection beside, which takes the place of the
    /// one in use: the answer to its join is to be handled as that.
    pub(super) fn joins_anew(&mut self, now: Duration, generation: u32, queues: &mut Queues) {
        let Some(memory) = self.state.memory() else { return };
        self.end(DisconnectReason::Lost, queues);
        self.lose_texts(queues);
        queues.out.close_socket(memory.generation);
        self.close_former(queues);
        self.began_at = self.beside.joining_began_at().unwrap_or(now);
        self.beside.close_but_joining(&mut queues.out);
        let memory = ReconnectState { generation, away_since: now, ..memory };
        self.state = ConnectionState::Joining { since: now, heard_at: now, memory };
        queues.tell_network(NetworkEvent::Connected);
    }

    /// A connection beside takes over from the one in use, in silence.
    pub(super) fn take_over(
        &mut self,
        now: Duration,
        generation: u32,
        you: PeerInfo,
        limits: &ServerLimits,
        queues: &mut Queues,
    ) {
        let ConnectionState::Joined { session, memory, .. } = &self.state else { return };
        let (session, memory) = (*session, *memory);
        self.close_former(queues);
        self.former = Some(Former {
            generation: memory.generation,
            taken_over_at: now,
            was_stale: self.path.is_stale_from_server(),
            texts: ReadTexts::default(),
        });
        self.began_at = self.beside.joining_began_at().unwrap_or(now);
        self.beside.close_but_joining(&mut queues.out);
        self.renewed(now, limits, queues);
        self.state = ConnectionState::Joined {
            liveness: Box::new(Liveness::new(now)),
            silence_limit: silence_limit(limits),
            you: Box::new(you),
            session,
            memory: ReconnectState { generation, failures: 0, ..memory },
        };
    }

    /// Another connection has taken over: whatever waited for the former one is over.
    fn renewed(&mut self, now: Duration, limits: &ServerLimits, queues: &mut Queues) {
        self.is_renewing = false;
        self.renewal_at = match limits.connection_lifetime_ms {
            0 => None,
            life => {
                let life = Duration::from_millis(life.into()).max(SHORTEST_LIFE);
                let share = RENEWAL + RENEWAL_SPREAD * self.random.f64();
                let earliest = now + SHORTEST_LIFE.mul_f64(RENEWAL);
                Some((self.began_at + life.mul_f64(share)).max(earliest))
            }
        };
        self.beside.close(&mut queues.out);
        self.path.renewed();
    }

    /// A connection that is to be replaced at some time is replaced then.
    pub(super) fn renew_at(&mut self, at: Duration) {
        if self.renewal_at.is_some() {
            self.renewal_at = Some(at);
        }
    }

    /// Whether speech on the former connection is still taken.
    pub(super) fn takes_former_voice(&self, now: Duration) -> bool {
        self.former
            .as_ref()
            .is_some_and(|former| !former.was_stale && now < former.taken_over_at + FORMER_VOICE)
    }

    /// What was on its way on the former connection is not read any longer.
    pub(super) fn close_former(&mut self, queues: &mut Queues) {
        if let Some(Former { generation, .. }) = self.former.take() {
            queues.out.close_socket(generation);
        }
    }

    /// Sends again what was written on the former connection and the server has not read there.
    pub(super) fn send_texts_again(
        &mut self,
        now: Duration,
        read: Option<u32>,
        queues: &mut Queues,
    ) {
        let Some(generation) = self.state.generation() else { return };
        if let Some(former) = &mut self.former {
            former.texts = self.texts.read_by_server(read);
        }
        for packet in self.texts.taken_over(now, read) {
            queues.out.send_packet(generation, Reliability::Reliable, packet);
        }
        if self.texts.is_unconfirmed() {
            self.ask_server(now, queues);
        }
    }

    /// What was written, of a message that the server refuses by its number on this connection. It
    /// is not sent again.
    pub(super) fn refused_text(&mut self, number: u32) -> Option<String> {
        self.texts.refused(number);
        self.texts.numbered(number)
    }

    /// The same on the former connection, of a message that is not sent again.
    pub(super) fn refused_on_former(&self, number: u32) -> Option<String> {
        self.former.as_ref()?.texts.numbered(number)
    }

    /// The connection in use has ended. A further one that is being opened or joins already goes on
    /// in its place.
    pub(super) fn closed(&mut self, now: Duration, queues: &mut Queues) -> AfterClose {
        let Some(memory) = self.state.memory() else { return AfterClose::Nothing };
        let away_since = self.state.away_since().unwrap_or(now);
        let next = match (self.beside.take_joining(), &self.state) {
            (Some(attempt), _) => Some((attempt, true)),
            (None, ConnectionState::Opening { .. } | ConnectionState::Joined { .. }) => {
                self.beside.take_oldest().map(|attempt| (attempt, false))
            }
            (
                None,
                ConnectionState::Stopped
                | ConnectionState::Waiting { .. }
                | ConnectionState::Joining { .. },
            ) => None,
        };
        let Some((Attempt { generation, since, began_at, .. }, joins)) = next else {
            return AfterClose::TryAgain;
        };
        self.began_at = began_at;
        let was_open = self.state.is_open();
        self.end(DisconnectReason::Lost, queues);
        self.lose_texts(queues);
        queues.out.close_socket(memory.generation);
        let memory = ReconnectState { generation, away_since, ..memory };
        self.state = if joins {
            ConnectionState::Joining { since, heard_at: now, memory }
        } else {
            ConnectionState::Opening { since, memory }
        };
        if joins {
            queues.tell_network(NetworkEvent::Connected);
        }
        AfterClose::GoesOn { was_open }
    }

    /// The connection is gone; the next is opened after a while, longer each time, and not at the
    /// same moment as everyone else's. Gives that while; none if no connection is wanted.
    pub(super) fn back_off(
        &mut self,
        now: Duration,
        at_least: Duration,
        queues: &mut Queues,
    ) -> Option<Duration> {
        let memory = self.state.memory()?;
        let away_since = self.state.away_since().unwrap_or(now);
        self.end(DisconnectReason::Lost, queues);
        self.lose_texts(queues);
        self.beside.close(&mut queues.out);
        queues.out.close_socket(memory.generation);
        let retry_in = match memory.failures {
            0 => FIRST_RETRY.mul_f64(self.random.f64()),
            failures => {
                let longest = NEXT_RETRY.saturating_mul(1 << failures.min(8)).min(LONGEST_RETRY);
                longest.mul_f64(0.5 + 0.5 * self.random.f64())
            }
        };
        let retry_in = retry_in.max(at_least);
        let memory = ReconnectState { failures: memory.failures + 1, away_since, ..memory };
        self.state = ConnectionState::Waiting { until: now + retry_in, memory };
        Some(retry_in)
    }

    /// Failures in a row so far.
    pub(super) fn failures(&self) -> u32 {
        self.state.memory().map_or(0, |memory| memory.failures)
    }

    /// The server said when to come back: the wait after a refusal is that, and no failure that
    /// makes the next one longer.
    pub(super) fn come_back(&mut self, now: Duration, after: Duration, failures: u32) {
        let spread = after.mul_f64(0.5 * self.random.f64());
        if let ConnectionState::Waiting { until, memory } = &mut self.state {
            *until = now + after + spread;
            memory.failures = failures;
        }
    }

    /// Tells the session that the connection has ended, if there was one.
    pub(super) fn end(&self, reason: DisconnectReason, queues: &mut Queues) {
        if self.state.is_open() {
            queues.tell_network(NetworkEvent::Disconnected(reason));
        }
    }

    /// No connection is wanted any more.
    pub(super) fn stop(&mut self, queues: &mut Queues) {
        self.close_former(queues);
        self.beside.close(&mut queues.out);
        self.texts = Texts::default();
        if let Some(generation) = self.state.generation() {
            queues.out.close_socket(generation);
        }
        self.state = ConnectionState::Stopped;
    }

    /// The connection is gone, and whether what was written last has arrived is not known.
    fn lose_texts(&mut self, queues: &mut Queues) {
        if std::mem::take(&mut self.texts).is_unconfirmed() {
            let message = "The connection to the server ended before what you wrote last was known to have arrived.";
            let code = ErrorCode::Other("text-unconfirmed".to_owned());
            queues.tell(MeshEvent::Warned { code, message: message.to_owned(), text: None });
        }
    }

    /// Addresses or routes of this machine changed, or it slept.
    pub(super) fn path_changed(&mut self, now: Duration, change: PathChange, queues: &mut Queues) {
        self.path.changed(now, change);
        self.beside.reconnect_now(now);
        self.state.reconnect_now(now);
        self.ask_server(now, queues);
    }

    /// Asks whether the server answers.
    pub(super) fn ask_server(&mut self, now: Duration, queues: &mut Queues) {
        if let ConnectionState::Joined { liveness, memory, .. } = &mut self.state
            && let Some(token) = liveness.ask(now)
        {
            queues.out.send_text(memory.generation, ClientMessage::Ping { token }.to_json());
        }
    }

    /// The server has answered a question.
    pub(super) fn server_answered(&mut self, now: Duration, token: u32) {
        let ConnectionState::Joined { liveness, .. } = &mut self.state else { return };
        let Some(asked_at) = liveness.answer(now, token) else { return };
        self.texts.confirmed(asked_at);
        self.beside.answered(asked_at);
        self.path.answered(asked_at);
    }

    /// The server answers, but does not know the question: only its marks show that it is there.
    pub(super) fn question_refused(&mut self) -> bool {
        match &mut self.state {
            ConnectionState::Joined { liveness, .. } => liveness.question_refused(),
            ConnectionState::Stopped
            | ConnectionState::Waiting { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Joining { .. } => false,
        }
    }

    /// Speech goes through the server, or comes from there.
    pub(super) fn relay_used(&mut self, now: Duration) {
        if let ConnectionState::Joined { liveness, .. } = &mut self.state {
            liveness.relay_used(now);
        }
    }

    /// What comes from the server may be from before the machine slept.
    pub(super) fn is_stale_from_server(&self) -> bool {
        self.path.is_stale_from_server()
    }

    /// What comes on links may be from before the machine slept.
    pub(super) fn is_stale_on_links(&self, now: Duration) -> bool {
        self.path.is_stale_on_links(now)
    }

    /// Whether the server answers what it is asked, as far as is known.
    pub(super) fn server_is_reached(&self) -> bool {
        match &self.state {
            ConnectionState::Joined { liveness, .. } => {
                !self.path.is_lost() && !liveness.is_silent()
            }
            ConnectionState::Stopped
            | ConnectionState::Waiting { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Joining { .. } => true,
        }
    }

    /// When the latest question was sent that the server has answered.
    pub(super) fn last_answered(&self) -> Option<Duration> {
        match &self.state {
            ConnectionState::Joined { liveness, .. } => liveness.last_answered(),
            ConnectionState::Stopped
            | ConnectionState::Waiting { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Joining { .. } => None,
        }
    }

    pub(super) fn timers(&self, next: &mut NextTimer) {
        next.at(self.former.as_ref().map(|former| former.taken_over_at + FORMER_READ));
        let mut round_trip = Duration::ZERO;
        match &self.state {
            ConnectionState::Stopped => {}
            ConnectionState::Waiting { until, .. } => next.at(*until),
            ConnectionState::Opening { since, .. } => next.at(*since + OPEN_LIMIT),
            ConnectionState::Joining { since, heard_at, .. } => {
                next.at(*heard_at + JOIN_LIMIT);
                next.at(*since + JOIN_LIMIT_IN_ALL);
            }
            ConnectionState::Joined { liveness, silence_limit, .. } => {
                round_trip = liveness.round_trip().unwrap_or_default();
                next.at(liveness.heard_at() + *silence_limit);
                next.at(self.renewal_at);
                liveness.timers(next);
            }
        }
        self.beside.timers(round_trip, next);
    }

    /// Asks where it is due, and opens connections beside one that does not answer or does not
    /// open.
    pub(super) fn tick_liveness(&mut self, now: Duration, others: usize, queues: &mut Queues) {
        self.beside.set_others(others);
        if self.former.as_ref().is_some_and(|former| now >= former.taken_over_at + FORMER_READ) {
            self.close_former(queues);
        }
        let mut round_trip = Duration::ZERO;
        let is_wanted = match &mut self.state {
            ConnectionState::Stopped
            | ConnectionState::Waiting { .. }
            | ConnectionState::Joining { .. } => {
                self.beside.not_urgent();
                false
            }
            // A first join may have to wait for a sleeping host.
            ConnectionState::Opening { memory, .. } => memory.has_joined,
            ConnectionState::Joined { liveness, .. } => {
                liveness.tick(now);
                round_trip = liveness.round_trip().unwrap_or_default();
                self.beside.is_urgent() || liveness.wants_another(now)
            }
        };
        let is_due = self.state.is_joined() && self.renewal_at.is_some_and(|at| now >= at);
        if let ConnectionState::Joined { liveness, .. } = &self.state
            && liveness.wants_question(now)
        {
            self.ask_server(now, queues);
        }
        self.beside.close_late_join(now, round_trip, &mut queues.out);
        if self.is_renewing {
            self.beside.close_late(now, round_trip, &mut queues.out);
            self.is_renewing = self.beside.has_opening();
        }
        if !is_wanted && !is_due {
            if !self.is_renewing {
                self.beside.rest(&mut queues.out);
            }
            return;
        }
        if self.beside.has_joining() {
            return;
        }
        if !is_wanted {
            (self.renewal_at, self.is_renewing) = (Some(now + RENEWAL_AGAIN), true);
            return self.open_beside(now, round_trip, queues);
        }
        self.beside.close_late(now, round_trip, &mut queues.out);
        let due = match self.beside.next_at() {
            Some(due) => due,
            None => now + self.first_attempt_after(),
        };
        self.beside.settle_next(due);
        if now >= due {
            self.open_beside(now, round_trip, queues);
        }
    }

    fn open_beside(&mut self, now: Duration, round_trip: Duration, queues: &mut Queues) {
        let (generation, fraction) = (self.next_generation(), self.random.f64());
        let is_joined = self.state.is_joined();
        self.beside.open(now, generation, is_joined, round_trip, fraction, &mut queues.out);
    }

    fn first_attempt_after(&mut self) -> Duration {
        match self.state {
            ConnectionState::Opening { .. } => Beside::first_interval(self.random.f64()),
            ConnectionState::Stopped
            | ConnectionState::Waiting { .. }
            | ConnectionState::Joining { .. }
            | ConnectionState::Joined { .. } => BESIDE_SPREAD.mul_f64(self.random.f64()),
        }
    }
}

fn silence_limit(limits: &ServerLimits) -> Duration {
    let marks = Duration::from_millis(u64::from(limits.roster_interval_ms.clamp(100, 60_000)));
    marks * MARKS_MISSED + Duration::from_secs(1)
}
