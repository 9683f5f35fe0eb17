//! What peers publish and decide: changes of metadata as transactions, decisions about members, the
//! room's owner, the own reachability token.
//!
//! One change is under way at a time. A change that the connection's end left without an answer is
//! made again: a member's goes into the next join, a room's is sent anew. None waits for ever.

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_common::NextTimer;
use voicemesh_wire::PeerId;
use voicemesh_wire::sealed_state::NAME_KEY;
use voicemesh_wire::signaling::{
    ClientMessage, ErrorCode, Metadata, MetadataChanges, Moderation, apply_metadata,
};

use crate::announcement::ANNOUNCEMENT_KEY;
use crate::connection::Connection;
use crate::encryption::Encryption;
use crate::event::MeshEvent;
use crate::moderation::{Decision, Decisions};
use crate::queues::Queues;
use crate::reachability::{REACHABILITY_KEY, Reachability};
use crate::transaction::{ANSWER_LIMIT, MetadataScope, TransactionError, TransactionId};

/// Transactions that wait for their turn. One more is refused at once.
const TRANSACTIONS: usize = 64;
/// A transaction that is not answered by then, whatever the reason, has failed.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(60);
/// The code of a change that the server did not answer in time.
const NO_ANSWER: &str = "no-answer";
/// What was over the server's budget is tried again after this.
const BUDGET_PAUSE: Duration = Duration::from_secs(1);

/// What is published, and what is to be.
#[derive(Debug)]
pub(super) struct Lobby {
    /// One's own, as the server last had it.
    own: Metadata,
    room: Metadata,
    owner: Option<PeerId>,
    /// Of the own token.
    serial: u32,
    /// What this library itself wants to say; the newest of each key.
    words: MetadataChanges,
    waiting: VecDeque<Transaction>,
    underway: Option<InFlight>,
    /// What a join that is not answered yet says of oneself.
    joining: Option<Joining>,
    requests: u32,
    not_before: Duration,
    decisions: Decisions,
    /// Of this program; part of the own token.
    run: u32,
}

/// Where what is published goes.
pub(super) struct Outlet<'a> {
    pub(super) now: Duration,
    pub(super) you: PeerId,
    pub(super) connection: &'a Connection,
    pub(super) encryption: Option<&'a mut Encryption>,
    pub(super) queues: &'a mut Queues,
}

#[derive(Debug)]
struct Transaction {
    id: TransactionId,
    whose: MetadataScope,
    changes: MetadataChanges,
    since: Duration,
}

#[derive(Debug)]
struct InFlight {
    request: u32,
    sent_at: Duration,
    what: PendingChange,
}

#[derive(Debug)]
enum PendingChange {
    Words(MetadataChanges),
    Transaction(Transaction),
}

#[derive(Debug)]
struct Joining {
    metadata: Metadata,
    words: MetadataChanges,
    carried: Vec<Transaction>,
}

impl Lobby {
    pub(super) fn new(mut own: Metadata, run: u32) -> Self {
        own.remove(REACHABILITY_KEY);
        own.remove(ANNOUNCEMENT_KEY);
        own.remove(NAME_KEY);
        Self {
            own,
            room: Metadata::new(),
            owner: None,
            serial: 0,
            words: MetadataChanges::new(),
            waiting: VecDeque::new(),
            underway: None,
            joining: None,
            requests: 0,
            not_before: Duration::ZERO,
            decisions: Decisions::default(),
            run,
        }
    }

    /// What was sent and not answered waits again, in its old place.
    fn take_back(&mut self) {
        match self.underway.take().map(|underway| underway.what) {
            Some(PendingChange::Words(words)) => self.put_back(words),
            Some(PendingChange::Transaction(transaction)) => self.waiting.push_front(transaction),
            None => {}
        }
        if let Some(joining) = self.joining.take() {
            self.put_back(joining.words);
            for transaction in joining.carried.into_iter().rev() {
                self.waiting.push_front(transaction);
            }
        }
    }

    /// Newer words for the same key stand.
    fn put_back(&mut self, words: MetadataChanges) {
        for (key, value) in words {
            self.words.entry(key).or_insert(value);
        }
    }

    /// Decides about a member or the room. [`MeshEvent::TransactionDone`] follows; what the
    /// connection's end left without an answer has failed, and is not sent again.
    pub(super) fn moderate(
        &mut self,
        id: TransactionId,
        action: Moderation,
        outlet: &mut Outlet<'_>,
    ) {
        let refusal = if !outlet.connection.is_joined() {
            Some(TransactionError::ours("server-away", "the server is out of reach"))
        } else if self.decisions.is_full() {
            Some(TransactionError::ours("busy", "too many decisions wait for the server's answer"))
        } else {
            None
        };
        if let Some(error) = refusal {
            return done(id, Err(error), outlet.queues);
        }
        let request = self.next_request();
        outlet.say(ClientMessage::Moderate { request: Some(request), action: action.clone() });
        self.decisions.sent(outlet.now, request, id, action);
    }

    /// The decision of this number, if there is one.
    fn decided(
        &mut self,
        request: u32,
        result: Result<(), TransactionError>,
        queues: &mut Queues,
    ) -> Option<Moderation> {
        let Decision { id, action, .. } = self.decisions.take(request)?;
        done(id, result, queues);
        Some(action)
    }

    pub(super) fn timers(&self, next: &mut NextTimer) {
        next.at(self.not_before);
        next.at(self.underway.as_ref().map(|underway| underway.sent_at + ANSWER_LIMIT));
        self.waiting.iter().for_each(|waiting| next.at(waiting.since + TRANSACTION_LIMIT));
        self.decisions.timers(next);
    }

    /// Gives up decisions that are not answered.
    pub(super) fn tick_decisions(&mut self, outlet: &mut Outlet<'_>) {
        for request in self.decisions.late(outlet.now, outlet.connection.is_joined()) {
            let error = TransactionError::ours(NO_ANSWER, "the server did not answer in time");
            self.decided(request, Err(error), outlet.queues);
        }
    }

    /// The peer that has been in the room longest, as of the last word of the server.
    pub(super) fn owner(&self) -> Option<PeerId> {
        self.owner
    }

    /// What this peer publishes, as the server last had it.
    pub(super) fn own(&self) -> &Metadata {
        &self.own
    }

    /// What the room publishes.
    pub(super) fn room(&self) -> &Metadata {
        &self.room
    }

    /// The own token.
    pub(super) fn own_token(&self, you: PeerId) -> String {
        Reachability { peer: you, run: self.run, serial: self.serial }.to_string()
    }

    /// Publishes something without asking for the result; what is newer replaces what has not been
    /// sent.
    pub(super) fn publish(&mut self, changes: MetadataChanges, outlet: &mut Outlet<'_>) {
        self.words.extend(changes);
        self.tick(outlet);
    }

    /// Changes metadata as a whole or not at all. [`MeshEvent::TransactionDone`] follows, also when
    /// the room is left or the server stays away.
    pub(super) fn transact(
        &mut self,
        id: TransactionId,
        whose: MetadataScope,
        changes: MetadataChanges,
        outlet: &mut Outlet<'_>,
    ) {
        let own = [REACHABILITY_KEY, ANNOUNCEMENT_KEY, NAME_KEY];
        let reserved = own.into_iter().find(|key| changes.contains_key(*key));
        let refusal = if let Some(key) = reserved.filter(|_| whose == MetadataScope::Own) {
            Some(TransactionError::bad(format!("“{key}” is published by itself")))
        } else if self.waiting.len() >= TRANSACTIONS {
            Some(TransactionError::ours("busy", "too many changes wait"))
        } else if outlet.connection.is_stopped() {
            Some(TransactionError::ours("left", "this peer is not in a room"))
        } else {
            None
        };
        if let Some(error) = refusal {
            return done(id, Err(error), outlet.queues);
        }
        self.waiting.push_back(Transaction { id, whose, changes, since: outlet.now });
        self.tick(outlet);
    }

    /// Takes back a change that waits and was not sent yet. False if there is none of this number.
    pub(super) fn withdraw(&mut self, id: TransactionId) -> bool {
        let waiting = self.waiting.len();
        self.waiting.retain(|transaction| transaction.id != id);
        self.waiting.len() < waiting
    }

    /// The machine's network is another than before: the others get a new token, and try again to
    /// reach this peer.
    pub(super) fn network_changed(&mut self, outlet: &mut Outlet<'_>) {
        self.serial = self.serial.saturating_add(1);
        let token = self.own_token(outlet.you);
        outlet.queues.tell(MeshEvent::ReachabilityChanged { token: token.clone() });
        self.publish([(REACHABILITY_KEY.to_owned(), Some(token))].into(), outlet);
    }

    /// What a join says of oneself: what is published, all that is still to be, and a new token.
    pub(super) fn metadata_to_join(&mut self, you: PeerId, queues: &mut Queues) -> Metadata {
        self.take_back();
        self.serial = self.serial.saturating_add(1);
        let mut metadata = self.own.clone();
        metadata.insert(REACHABILITY_KEY.to_owned(), self.own_token(you));
        // It is of the former session, if there is one.
        metadata.remove(ANNOUNCEMENT_KEY);
        let mut words = std::mem::take(&mut self.words);
        words.remove(REACHABILITY_KEY);
        words.remove(ANNOUNCEMENT_KEY);
        words.remove(NAME_KEY);
        if let Ok(with_words) = apply_metadata(&metadata, words.clone()) {
            metadata = with_words;
        }
        let mut carried = Vec::new();
        for transaction in std::mem::take(&mut self.waiting) {
            match transaction.whose {
                MetadataScope::Room => self.waiting.push_back(transaction),
                MetadataScope::Own => {
                    match apply_metadata(&metadata, transaction.changes.clone()) {
                        Ok(changed) => {
                            metadata = changed;
                            carried.push(transaction);
                        }
                        Err(error) => done(
                            transaction.id,
                            Err(TransactionError::bad(error.to_string())),
                            queues,
                        ),
                    }
                }
            }
        }
        self.joining = Some(Joining { metadata: metadata.clone(), words, carried });
        metadata
    }

    /// What a join says beside a connection in use. If that goes on, the server keeps what it has;
    /// else what is under way is sent again.
    pub(super) fn metadata_beside(&self, you: PeerId) -> Metadata {
        let mut metadata = self.own.clone();
        metadata.insert(REACHABILITY_KEY.to_owned(), self.own_token(you));
        metadata
    }

    /// Another connection has taken over: the server has kept what this peer publishes. What it has
    /// not answered is sent again.
    pub(super) fn resumed(&mut self, own: Metadata, room: Metadata, outlet: &mut Outlet<'_>) {
        self.take_back();
        let token = self.own_token(outlet.you);
        if own.get(REACHABILITY_KEY) != Some(&token) {
            self.words.entry(REACHABILITY_KEY.to_owned()).or_insert(Some(token));
        }
        self.own = own;
        if self.room != room {
            self.set_room(room, outlet.queues);
        }
        self.not_before = outlet.now;
        self.tick(outlet);
    }

    /// The server let this peer in.
    pub(super) fn joined(&mut self, room: Metadata, outlet: &mut Outlet<'_>) {
        let token = self.own_token(outlet.you);
        if self.room != room {
            self.set_room(room, outlet.queues);
        }
        outlet.queues.tell(MeshEvent::ReachabilityChanged { token: token.clone() });
        if let Some(joining) = self.joining.take() {
            // The network may have changed while the join was under way.
            let stale = joining.metadata.get(REACHABILITY_KEY) != Some(&token);
            self.own = joining.metadata;
            for transaction in joining.carried {
                done(transaction.id, Ok(()), outlet.queues);
            }
            if stale {
                self.words.insert(REACHABILITY_KEY.to_owned(), Some(token));
            }
        }
        self.not_before = outlet.now;
        self.tick(outlet);
    }

    /// The connection has ended; what it has not answered is tried again on the next.
    pub(super) fn lost(&mut self) {
        self.take_back();
    }

    /// The room is left for good, or was never entered.
    pub(super) fn ended(&mut self, queues: &mut Queues) {
        self.take_back();
        self.owner = None;
        self.room.clear();
        for transaction in std::mem::take(&mut self.waiting) {
            let error = TransactionError::ours("left", "this peer is not in the room any more");
            done(transaction.id, Err(error), queues);
        }
    }

    /// The server says what this peer publishes.
    pub(super) fn set_own(&mut self, metadata: Metadata) {
        self.own = metadata;
    }

    /// The room publishes something else.
    pub(super) fn set_room(&mut self, metadata: Metadata, queues: &mut Queues) {
        self.room = metadata.clone();
        queues.tell(MeshEvent::RoomMetadataChanged { metadata });
    }

    /// The server has answered a request of this number. Returns the decision that it has carried
    /// out, if the request was one.
    pub(super) fn request_done(
        &mut self,
        request: u32,
        result: Result<(), TransactionError>,
        outlet: &mut Outlet<'_>,
    ) -> Option<Moderation> {
        match self.decided(request, result.clone(), outlet.queues) {
            Some(action) => return result.is_ok().then_some(action),
            None => self.change_done(request, result, outlet),
        }
        None
    }

    /// The server has answered a change of metadata.
    fn change_done(
        &mut self,
        request: u32,
        result: Result<(), TransactionError>,
        outlet: &mut Outlet<'_>,
    ) {
        let Some(underway) = self.underway.take_if(|underway| underway.request == request) else {
            return;
        };
        let over_budget = matches!(&result, Err(error) if error.code == ErrorCode::TooManyMessages);
        let is_unanswered = matches!(&result, Err(error) if error.code.as_str() == NO_ANSWER);
        match underway.what {
            PendingChange::Words(words) if over_budget => self.put_back(words),
            // The server carries it out when it gets to it, or the connection ends before: then the
            // next join says it.
            PendingChange::Words(words) if is_unanswered => {
                if let Ok(own) = apply_metadata(&self.own, words) {
                    self.own = own;
                }
            }
            PendingChange::Words(_) => {}
            PendingChange::Transaction(transaction) if over_budget => {
                self.waiting.push_front(transaction)
            }
            PendingChange::Transaction(transaction) => done(transaction.id, result, outlet.queues),
        }
        if over_budget {
            self.not_before = outlet.now + BUDGET_PAUSE;
        }
        self.tick(outlet);
    }

    /// Sends what is next, and gives up what has waited too long.
    pub(super) fn tick(&mut self, outlet: &mut Outlet<'_>) {
        let now = outlet.now;
        let no_answer = || TransactionError::ours(NO_ANSWER, "the server did not answer in time");
        let (late, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition::<VecDeque<_>, _>(
                |transaction| now >= transaction.since + TRANSACTION_LIMIT,
            );
        self.waiting = waiting;
        for transaction in late {
            done(transaction.id, Err(no_answer()), outlet.queues);
        }
        if let Some(request) =
            self.underway.as_ref().filter(|underway| now >= underway.sent_at + ANSWER_LIMIT)
        {
            let request = request.request;
            self.change_done(request, Err(no_answer()), outlet);
        }
        while outlet.connection.is_joined() && self.underway.is_none() && now >= self.not_before {
            let Some(what) = self.next_change() else { return };
            self.send_change(what, outlet);
        }
    }

    fn next_change(&mut self) -> Option<PendingChange> {
        if !self.words.is_empty() {
            return Some(PendingChange::Words(std::mem::take(&mut self.words)));
        }
        self.waiting.pop_front().map(PendingChange::Transaction)
    }

    /// What cannot fit is not sent.
    fn send_change(&mut self, what: PendingChange, outlet: &mut Outlet<'_>) {
        let (whose, changes) = match &what {
            PendingChange::Words(words) => (MetadataScope::Own, words),
            PendingChange::Transaction(transaction) => (transaction.whose, &transaction.changes),
        };
        let current = match whose {
            MetadataScope::Own => &self.own,
            MetadataScope::Room => &self.room,
        };
        let set = changes.clone();
        if let Err(error) = apply_metadata(current, set.clone()) {
            if let PendingChange::Transaction(transaction) = what {
                done(transaction.id, Err(TransactionError::bad(error.to_string())), outlet.queues);
            }
            return;
        }
        let request = self.next_request();
        self.underway = Some(InFlight { request, sent_at: outlet.now, what });
        let request = Some(request);
        let message = match whose {
            MetadataScope::Own => ClientMessage::SetMetadata { request, set },
            MetadataScope::Room => ClientMessage::SetRoomMetadata { request, set },
        };
        outlet.say(message);
    }

    fn next_request(&mut self) -> u32 {
        self.requests = self.requests.wrapping_add(1);
        self.requests
    }

    /// Tells who owns the room, if that is news; after a join, in any case.
    pub(super) fn tell_owner(&mut self, owner: Option<PeerId>, joined: bool, queues: &mut Queues) {
        if let Some(owner) = owner.filter(|owner| joined || self.owner != Some(*owner)) {
            self.owner = Some(owner);
            queues.tell(MeshEvent::OwnerChanged { owner });
        }
    }
}

impl Outlet<'_> {
    fn say(&mut self, mut message: ClientMessage) {
        if let Some(encryption) = &mut self.encryption {
            encryption.seal_message(self.you, &mut message);
        }
        self.connection.say(&message, self.queues);
    }
}

fn done(transaction: TransactionId, result: Result<(), TransactionError>, queues: &mut Queues) {
    queues.tell(MeshEvent::TransactionDone { transaction, result });
}
