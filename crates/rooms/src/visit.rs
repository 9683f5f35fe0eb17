//! One connection, from its upgrade to its end: what it may say when, its way into a room, and what
//! becomes of what it sends.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_common::AddressKey;
use voicemesh_wire::RoomName;
use voicemesh_wire::signaling::{
    ClientMessage, ErrorCode, Join, LeaveReason, Moderation, Password, ServerMessage,
};

use crate::address::Address;
use crate::guard::{ConnectionGuard, GuardVerdict};
use crate::hash_queue::HashId;
use crate::line::{Enqueue, Line};
use crate::output::{CloseReason, ConnectionId, Malformed, Purpose, Text};
use crate::passwords::{BackoffKey, HashJob};
use crate::refusal::Refusal;
use crate::returns::{JoinPayer, Returning};
use crate::room::{Digest, Part};
use crate::room_entry::{JoinOrigin, RoomEntry};
use crate::signaling::{JoinOutcome, Signaling};
use crate::ticket::MemberSince;

/// What a peer sends while its password is looked at is kept, up to so many messages …
const HELD_MESSAGES: usize = 8;
/// … or until there are so many bytes; then no more is read from it, and one message may have no
/// more. A client sends one, its handshake.
pub const HELD_BYTES: usize = 4096;
/// Hashes for one join: a room whose password changes after each hash is given up after this many.
const HASHES_PER_JOIN: u32 = 3;
/// When a join that came while the server is drained should be tried again at the earliest.
const RETRY_AFTER_DRAIN_MS: u64 = 5_000;

/// What comes on a connection, or about it.
#[derive(Debug)]
pub enum Input<'a> {
    /// A text frame.
    Text(&'a str),
    /// A binary frame.
    Packet(Bytes),
    /// A WebSocket ping or pong.
    Control,
    /// A frame over the limit, which was not read.
    TooLarge,
    /// What is no WebSocket.
    Malformed(Malformed),
    /// The answer to the hash that it waited for ([`Line::hashed`]).
    Hashed(Result<Digest, Refusal>),
    /// It is at its end, or about to be. May be said more than once.
    Left(LeaveReason),
}

/// One connection.
#[derive(Debug)]
pub struct Visit<L> {
    id: ConnectionId,
    line: L,
    guard: ConnectionGuard,
    address: Option<Arc<Address>>,
    key: Option<AddressKey>,
    stage: Stage<L>,
    /// Of the access token that let it in.
    subject: Option<String>,
    opened_at: Duration,
    /// A roster was asked for, and is sent later as a snapshot: that one is charged.
    owes_roster: bool,
    /// The snapshot that is being sent was asked for.
    pays_snapshot: bool,
    asks_hash: bool,
}

#[derive(Debug)]
enum Stage<L> {
    /// It has not joined, or its join was refused.
    Outside,
    /// Its join waits for its password's hash.
    Hashing(Hashing),
    Inside {
        room: Arc<RoomEntry<L>>,
        /// A moderator's new password that waits for its hash.
        changing: Option<PasswordChange>,
    },
    /// It was in a room, or took its join back.
    Gone,
}

#[derive(Debug)]
struct Hashing {
    join: Box<Join>,
    hash: HashId,
    hashes: u32,
    /// What came after the join.
    held: Vec<Held>,
}

#[derive(Debug)]
enum Held {
    Text(String),
    Packet(Bytes),
}

#[derive(Debug)]
struct PasswordChange {
    request: Option<u32>,
    hash: HashId,
}

impl<L: Line> Visit<L> {
    /// A connection that has just been opened, by a client at `address`; without one its address
    /// says nothing. A refusal ends it at once.
    pub fn new(
        now: Duration,
        id: ConnectionId,
        line: L,
        address: Option<(AddressKey, Option<Arc<Address>>)>,
        signaling: &Signaling<L>,
    ) -> Self {
        let key = address.as_ref().map(|(key, _)| *key);
        let address = address.and_then(|(_, address)| address);
        let shared = address.as_ref().map(|address| Arc::clone(&address.budget));
        let guard = ConnectionGuard::new(now, signaling.budgets(), shared);
        Self {
            id,
            line,
            guard,
            address,
            key,
            stage: Stage::Outside,
            subject: None,
            opened_at: now,
            owes_roster: false,
            pays_snapshot: false,
            asks_hash: false,
        }
    }

    /// A connection from this machine itself.
    pub fn local(now: Duration, id: ConnectionId, line: L, signaling: &Signaling<L>) -> Self {
        Self::new(now, id, line, None, signaling)
    }

    /// Its outgoing end.
    pub fn line(&self) -> &L {
        &self.line
    }

    /// Whether it is in a room.
    pub fn is_inside(&self) -> bool {
        matches!(self.stage, Stage::Inside { .. })
    }

    /// Whether its join waits for its password's hash.
    pub fn is_hashing(&self) -> bool {
        matches!(self.stage, Stage::Hashing(_))
    }

    /// Whether no more may be read from it until its password has been hashed.
    pub fn is_full(&self) -> bool {
        match &self.stage {
            Stage::Hashing(hashing) => {
                let bytes: usize = hashing.held.iter().map(Held::len).sum();
                hashing.held.len() >= HELD_MESSAGES || bytes >= HELD_BYTES
            }
            Stage::Outside | Stage::Inside { .. } | Stage::Gone => false,
        }
    }

    /// Puts what its line has asked for into it: a part of a snapshot, or what is published now.
    pub fn refresh(&mut self, now: Duration, part: Part) {
        // What is asked for while one is being sent is the next one, and charged with that.
        if part == Part::Roster {
            self.pays_snapshot = std::mem::take(&mut self.owes_roster);
        }
        let is_published = matches!(part, Part::Published(..) | Part::Missed(_));
        if let Stage::Inside { room, .. } = &self.stage {
            let bytes = room.refresh(now, self.id, &self.line, part);
            // What was not asked for replaces changes that were more.
            if self.pays_snapshot && !is_published {
                self.guard.charge_answer(bytes);
            }
        }
    }

    pub(crate) fn handle(
        &mut self,
        now: Duration,
        input: Input<'_>,
        signaling: &Signaling<L>,
    ) -> bool {
        match (input, &mut self.stage) {
            (Input::Text(text), Stage::Hashing(hashing)) => {
                hashing.held.push(Held::Text(text.to_owned()))
            }
            (Input::Packet(packet), Stage::Hashing(hashing)) => {
                hashing.held.push(Held::Packet(packet))
            }
            (Input::Text(text), _) => self.text(now, text, signaling),
            (Input::Packet(packet), _) => self.packet(now, &packet, signaling),
            (Input::Control, _) => {
                let verdict = self.guard.control(now);
                self.act(now, verdict, signaling);
            }
            (Input::TooLarge, _) => self.act(now, ConnectionGuard::too_large(), signaling),
            (Input::Malformed(how), _) => self.line.end(now, CloseReason::Malformed(how)),
            (Input::Hashed(answer), _) => self.hashed(now, answer, signaling),
            (Input::Left(reason), _) => self.leave(now, reason, signaling),
        }
        std::mem::take(&mut self.asks_hash)
    }

    fn text(&mut self, now: Duration, text: &str, signaling: &Signaling<L>) {
        let verdict = self.guard.text(now, text);
        self.act(now, verdict, signaling);
    }

    fn packet(&mut self, now: Duration, packet: &Bytes, signaling: &Signaling<L>) {
        match self.guard.packet(now, packet) {
            GuardVerdict::Packet => {
                let Stage::Inside { room, .. } = &self.stage else { return };
                let handled = room.packet(now, self.id, packet);
                self.guard.charge_answer(handled.state_bytes);
                if handled.is_violation
                    && let Some(end) = self.guard.violation(now)
                {
                    self.act(now, end, signaling);
                }
            }
            verdict => {
                let text = match &self.stage {
                    Stage::Inside { room, .. } => room.packet_refused(self.id, packet),
                    Stage::Outside | Stage::Hashing(_) | Stage::Gone => None,
                };
                self.act(now, verdict.of_text(text), signaling);
            }
        }
    }

    fn act(&mut self, now: Duration, verdict: GuardVerdict, signaling: &Signaling<L>) {
        match verdict {
            GuardVerdict::Join(join) => self.join(now, join, signaling),
            GuardVerdict::Message(ClientMessage::Moderate {
                request,
                action: Moderation::SetPassword { password: Some(password) },
            }) if !password.is_empty() => self.change_password(now, request, password, signaling),
            GuardVerdict::Message(message) => {
                if let Stage::Inside { room, .. } = &self.stage {
                    let is_roster = message == ClientMessage::Roster;
                    let state_bytes = room.message(now, self.id, message);
                    self.owes_roster |= is_roster && state_bytes == 0;
                    self.guard.charge_answer(state_bytes);
                }
            }
            GuardVerdict::Packet => {}
            GuardVerdict::Answer(message) => self.answer(now, &message, signaling),
            GuardVerdict::End(message, reason) => {
                self.answer(now, &message, signaling);
                self.line.end(now, reason);
            }
            GuardVerdict::Dropped => signaling.metrics.over_budget.add(1),
        }
    }

    fn answer(&self, now: Duration, message: &ServerMessage, signaling: &Signaling<L>) {
        let metrics = &signaling.metrics;
        if let ServerMessage::Error { code, .. } = message {
            metrics.refused(code);
            if *code == ErrorCode::TooManyMessages {
                metrics.over_budget.add(1);
            }
        }
        if self.line.text(now, &Text::from(message), Purpose::Answer) == Enqueue::Overflow {
            metrics.slow_consumers.add(1);
            metrics.refused(&ErrorCode::SlowConsumer);
        }
    }

    fn join(&mut self, now: Duration, join: Box<Join>, signaling: &Signaling<L>) {
        // Joins with a password are bounded by their hashes, and counted where they need none;
        // those with a ticket are bounded by a budget that strangers cannot use up.
        let is_named = join.password.as_ref().is_some_and(|password| !password.is_empty());
        let by_ticket = signaling.ticket_since(&join);
        let (peer, room) = (join.proof.peer_id(), RoomName::key_of(&join.room));
        let (address, payer) = (self.address.clone(), Cell::new(None));
        let may_join = |since: Option<MemberSince>| {
            let member = since.map(|since| Returning { peer, room: &room, since });
            may_join(now, address.as_deref(), member, signaling, &payer)
        };
        let bytes = if is_named && by_ticket.is_none() {
            self.enter(now, join, (None, 0), signaling, &may_join)
        } else if may_join(by_ticket) {
            self.enter(now, join, (None, 0), signaling, &|_| true)
        } else {
            self.refuse(now, Refusal::of(ErrorCode::TooManyJoins), signaling);
            0
        };
        if let (Some(address), Some(payer)) = (address, payer.get()) {
            address.charge_join(payer, bytes);
        }
    }

    fn refuse(&mut self, now: Duration, refusal: Refusal, signaling: &Signaling<L>) {
        signaling.metrics.joins_refused.add(1);
        self.act(now, GuardVerdict::End(refusal.farewell(), CloseReason::Refused), signaling);
    }

    /// Into the room, or into the queue of passwords. `presented` is what was hashed, and `hashes`
    /// how often. Gives the bytes of the answer.
    fn enter(
        &mut self,
        now: Duration,
        join: Box<Join>,
        (presented, hashes): (Option<Digest>, u32),
        signaling: &Signaling<L>,
        may_join: &dyn Fn(Option<MemberSince>) -> bool,
    ) -> usize {
        let origin = JoinOrigin { address: self.key, may_join };
        match signaling.join(now, (self.id, &self.line), join, presented, &origin) {
            Ok(JoinOutcome::Inside { room, subject, bytes }) => {
                self.subject = subject;
                self.guard.take_allowance(|own| room.allowance(self.id, own));
                self.stage = Stage::Inside { room, changing: None };
                signaling.metrics.join_time.observe(now.saturating_sub(self.opened_at));
                return bytes;
            }
            Ok(JoinOutcome::GoingAway) => {
                signaling.metrics.joins_refused.add(1);
                send_away(now, &self.line, RETRY_AFTER_DRAIN_MS);
            }
            Ok(JoinOutcome::Hash(..)) if hashes >= HASHES_PER_JOIN => {
                self.refuse(now, Refusal::of(ErrorCode::TooManyJoins), signaling);
            }
            Ok(JoinOutcome::Hash(join, hash_request)) => {
                let key = BackoffKey::of(self.key, &RoomName::key_of(&join.room));
                let password = join.password.clone().unwrap_or_else(|| "".into());
                let peer = join.proof.peer_id();
                let asked = signaling.passwords().ask(
                    now,
                    HashJob { key, peer, password, request: hash_request, line: self.line.clone() },
                );
                match asked {
                    Ok(hash) => {
                        self.line.joined();
                        self.asks_hash = true;
                        self.stage = Stage::Hashing(Hashing {
                            join,
                            hash,
                            hashes: hashes + 1,
                            held: Vec::new(),
                        });
                    }
                    Err(refusal) => self.refuse(now, refusal, signaling),
                }
            }
            Err(refusal) => self.refuse(now, refusal, signaling),
        }
        0
    }

    /// A moderator sets the room's password: it is hashed first.
    fn change_password(
        &mut self,
        now: Duration,
        request: Option<u32>,
        password: Password,
        signaling: &Signaling<L>,
    ) {
        let Stage::Inside { room, changing } = &mut self.stage else { return };
        let asked = match changing {
            Some(_) => Err(Refusal::of(ErrorCode::TooManyMessages)),
            None => {
                let hash_request =
                    room.with(now, |room, _| room.check_moderator(self.id)).and_then(|peer| {
                        let salt = signaling.fresh_salt()?;
                        Ok((peer, crate::room::HashRequest { salt, expected: None }))
                    });
                hash_request.and_then(|(peer, hash_request)| {
                    let key = BackoffKey::of_moderator(self.key, room.name().key());
                    let line = self.line.clone();
                    let job = HashJob { key, peer, password, request: hash_request, line };
                    signaling.passwords().ask_to_set(now, job)
                })
            }
        };
        match asked {
            Ok(hash) => {
                *changing = Some(PasswordChange { request, hash });
                self.asks_hash = true;
            }
            Err(refusal) => {
                self.act(now, GuardVerdict::Answer(refusal.of_request(request).answer()), signaling)
            }
        }
    }

    /// Goes on with what has waited for the hash, and with what came after it.
    fn hashed(&mut self, now: Duration, answer: Result<Digest, Refusal>, signaling: &Signaling<L>) {
        match std::mem::replace(&mut self.stage, Stage::Outside) {
            // A connection that has been ended meanwhile enters nothing.
            Stage::Hashing(_) if self.line.ending().is_some() => self.stage = Stage::Gone,
            Stage::Hashing(Hashing { join, hashes, held, .. }) => {
                match answer {
                    Ok(presented) => {
                        // Hashes are few, and so are these answers.
                        self.enter(now, join, (Some(presented), hashes), signaling, &|_| true);
                    }
                    Err(refusal) => self.refuse(now, refusal, signaling),
                }
                match &mut self.stage {
                    Stage::Hashing(again) => again.held = held,
                    _ if self.line.ending().is_some() => {}
                    Stage::Outside | Stage::Inside { .. } | Stage::Gone => {
                        for message in held {
                            match message {
                                Held::Text(text) => self.text(now, &text, signaling),
                                Held::Packet(packet) => self.packet(now, &packet, signaling),
                            }
                        }
                    }
                }
            }
            Stage::Inside { room, changing: Some(PasswordChange { request, .. }) } => {
                let changed = answer.and_then(|digest| {
                    room.with(now, |room, out| room.change_password(self.id, request, digest, out))
                });
                self.stage = Stage::Inside { room, changing: None };
                if let Err(refusal) = changed {
                    self.act(
                        now,
                        GuardVerdict::Answer(refusal.of_request(request).answer()),
                        signaling,
                    );
                }
            }
            stage @ (Stage::Outside | Stage::Inside { .. } | Stage::Gone) => self.stage = stage,
        }
    }

    fn leave(&mut self, now: Duration, reason: LeaveReason, signaling: &Signaling<L>) {
        match &self.stage {
            Stage::Outside | Stage::Gone => return,
            Stage::Hashing(hashing) => signaling.passwords().withdraw(hashing.hash),
            Stage::Inside { room, changing } => {
                if let Some(change) = changing {
                    signaling.passwords().withdraw(change.hash);
                }
                room.leave(now, self.id, reason);
                if let Some(subject) = &self.subject {
                    signaling.unbind_subject(now, subject, self.id, room.name(), reason);
                }
            }
        }
        self.stage = Stage::Gone;
    }
}

/// Whether one more join of this address is within its budget; `payer` is whose it was taken from.
fn may_join<L: Line>(
    now: Duration,
    address: Option<&Address>,
    member: Option<Returning<'_>>,
    signaling: &Signaling<L>,
    payer: &Cell<Option<JoinPayer>>,
) -> bool {
    let Some(address) = address else { return true };
    payer.set(address.take_join(now, signaling.budgets(), member));
    payer.get().is_some()
}

impl Held {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Packet(packet) => packet.len(),
        }
    }
}

/// Asks a connection to come back to this server, or to the next one, after a while; and ends it.
pub fn send_away(now: Duration, line: &impl Line, retry_after_ms: u64) {
    line.text(now, &Text::from(&ServerMessage::GoingAway { retry_after_ms }), Purpose::Answer);
    line.end(now, CloseReason::GoingAway);
}

#[cfg(test)]
mod tests;
