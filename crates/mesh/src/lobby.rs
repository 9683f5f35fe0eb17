//! What peers publish: changes of metadata as transactions, the room's owner, the own reachability token.
//!
//! One change is under way at a time. A change that the connection's end left without an answer is made again: a member's
//! goes into the next join, a room's is sent anew. None waits for ever.

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, Metadata, MetadataChanges, Moderation, apply_metadata};

use super::{Mesh, MeshEvent};
use crate::reachability::{REACHABILITY_KEY, Reachability};
use crate::transaction::{ANSWER_LIMIT, TransactionError, TransactionId, Whose};

/// Transactions that wait for their turn. One more is refused at once.
const TRANSACTIONS: usize = 64;
/// A transaction that is not answered by then, whatever the reason, has failed.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(60);
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
    underway: Option<Underway>,
    /// What a join that is not answered yet says of oneself.
    joining: Option<Joining>,
    requests: u32,
    not_before: Duration,
}

#[derive(Debug)]
struct Transaction {
    id: TransactionId,
    whose: Whose,
    changes: MetadataChanges,
    since: Duration,
}

#[derive(Debug)]
struct Underway {
    request: u32,
    sent_at: Duration,
    what: What,
}

#[derive(Debug)]
enum What {
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
    pub(super) fn new(mut own: Metadata) -> Self {
        own.remove(REACHABILITY_KEY);
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
        }
    }

    /// What was sent and not answered waits again, in its old place.
    fn take_back(&mut self) {
        match self.underway.take().map(|underway| underway.what) {
            Some(What::Words(words)) => self.put_back(words),
            Some(What::Transaction(transaction)) => self.waiting.push_front(transaction),
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
}

impl Mesh {
    /// Decides about a member or the room. [`MeshEvent::TransactionDone`] follows; what the connection's end left without an
    /// answer has failed, and is not sent again.
    pub fn moderate(&mut self, now: Duration, id: TransactionId, action: Moderation) {
        let refusal = if !self.socket.is_joined() {
            Some(TransactionError::ours("server-away", "the server is out of reach"))
        } else if self.decisions.is_full() {
            Some(TransactionError::ours("busy", "too many decisions wait for the server's answer"))
        } else {
            None
        };
        if let Some(error) = refusal {
            self.tell(MeshEvent::TransactionDone { transaction: id, result: Err(error) });
            return;
        }
        let request = self.next_request();
        self.decisions.sent(now, request, id);
        self.say(&ClientMessage::Moderate { request: Some(request), action });
    }

    /// False if no decision has this number.
    fn decided(&mut self, request: u32, result: Result<(), TransactionError>) -> bool {
        let Some(transaction) = self.decisions.take(request) else { return false };
        self.tell(MeshEvent::TransactionDone { transaction, result });
        true
    }

    pub(super) fn tick_decisions(&mut self, now: Duration) {
        for request in self.decisions.late(now, self.socket.is_joined()) {
            self.decided(request, Err(TransactionError::ours("no-answer", "the server did not answer in time")));
        }
    }

    /// The peer that has been in the room longest, as of the last word of the server.
    pub fn owner(&self) -> Option<PeerId> {
        self.lobby.owner
    }

    /// What this peer publishes, as the server last had it.
    pub fn own_metadata(&self) -> &Metadata {
        &self.lobby.own
    }

    /// What the room publishes.
    pub fn room_metadata(&self) -> &Metadata {
        &self.lobby.room
    }

    /// The own token.
    pub fn own_token(&self) -> String {
        Reachability { peer: self.you(), run: self.config.run, serial: self.lobby.serial }.to_string()
    }

    /// Publishes something without asking for the result; what is newer replaces what has not been sent.
    pub fn publish(&mut self, now: Duration, changes: MetadataChanges) {
        self.lobby.words.extend(changes);
        self.tick_lobby(now);
    }

    /// Changes metadata as a whole or not at all. [`MeshEvent::TransactionDone`] follows, also when the room is left or
    /// the server stays away.
    pub fn transact(&mut self, now: Duration, id: TransactionId, whose: Whose, changes: MetadataChanges) {
        let refusal = if whose == Whose::Own && changes.contains_key(REACHABILITY_KEY) {
            Some(TransactionError::bad(format!("“{REACHABILITY_KEY}” is published by itself")))
        } else if self.lobby.waiting.len() >= TRANSACTIONS {
            Some(TransactionError::ours("busy", "too many changes wait"))
        } else if self.socket.is_stopped() {
            Some(TransactionError::ours("left", "this peer is not in a room"))
        } else {
            None
        };
        if let Some(error) = refusal {
            self.tell(MeshEvent::TransactionDone { transaction: id, result: Err(error) });
            return;
        }
        self.lobby.waiting.push_back(Transaction { id, whose, changes, since: now });
        self.tick_lobby(now);
    }

    /// The machine's network is another than before: the others get a new token, and try again to reach this peer.
    pub fn network_changed(&mut self, now: Duration) {
        self.lobby.serial = self.lobby.serial.saturating_add(1);
        let token = self.own_token();
        self.tell(MeshEvent::ReachabilityChanged { token: token.clone() });
        self.publish(now, [(REACHABILITY_KEY.to_owned(), Some(token))].into());
    }

    /// What a join says of oneself: what is published, all that is still to be, and a new token.
    pub(super) fn metadata_to_join(&mut self) -> Metadata {
        self.lobby.take_back();
        self.lobby.serial = self.lobby.serial.saturating_add(1);
        let mut metadata = self.lobby.own.clone();
        metadata.insert(REACHABILITY_KEY.to_owned(), self.own_token());
        let mut words = std::mem::take(&mut self.lobby.words);
        words.remove(REACHABILITY_KEY);
        if let Ok(with_words) = apply_metadata(&metadata, words.clone()) {
            metadata = with_words;
        }
        let mut carried = Vec::new();
        for transaction in std::mem::take(&mut self.lobby.waiting) {
            match transaction.whose {
                Whose::Room => self.lobby.waiting.push_back(transaction),
                Whose::Own => match apply_metadata(&metadata, transaction.changes.clone()) {
                    Ok(changed) => {
                        metadata = changed;
                        carried.push(transaction);
                    }
                    Err(error) => self.done(transaction.id, Err(TransactionError::bad(error.to_string()))),
                },
            }
        }
        self.lobby.joining = Some(Joining { metadata: metadata.clone(), words, carried });
        metadata
    }

    /// What a join says beside a connection in use. If that goes on, the server keeps what it has; else what is under way is
    /// sent again.
    pub(super) fn metadata_beside(&self) -> Metadata {
        let mut metadata = self.lobby.own.clone();
        metadata.insert(REACHABILITY_KEY.to_owned(), self.own_token());
        metadata
    }

    /// Another connection has taken over: the server has kept what this peer publishes. What it has not answered is sent
    /// again.
    pub(super) fn lobby_resumed(&mut self, now: Duration, own: Metadata, room: Metadata) {
        self.lobby.take_back();
        if own.get(REACHABILITY_KEY) != Some(&self.own_token()) {
            let token = self.own_token();
            self.lobby.words.entry(REACHABILITY_KEY.to_owned()).or_insert(Some(token));
        }
        self.lobby.own = own;
        if self.lobby.room != room {
            self.room_metadata_changed(room);
        }
        self.lobby.not_before = now;
        self.tick_lobby(now);
    }

    /// The server let this peer in.
    pub(super) fn lobby_joined(&mut self, now: Duration, room: Metadata) {
        let token = self.own_token();
        if self.lobby.room != room {
            self.room_metadata_changed(room);
        }
        self.tell(MeshEvent::ReachabilityChanged { token: token.clone() });
        if let Some(joining) = self.lobby.joining.take() {
            // The network may have changed while the join was under way.
            let stale = joining.metadata.get(REACHABILITY_KEY) != Some(&token);
            self.lobby.own = joining.metadata;
            for transaction in joining.carried {
                self.done(transaction.id, Ok(()));
            }
            if stale {
                self.lobby.words.insert(REACHABILITY_KEY.to_owned(), Some(token));
            }
        }
        self.lobby.not_before = now;
        self.tick_lobby(now);
    }

    /// The connection has ended; what it has not answered is tried again on the next.
    pub(super) fn lobby_lost(&mut self) {
        self.lobby.take_back();
    }

    /// The room is left for good, or was never entered.
    pub(super) fn lobby_ended(&mut self) {
        self.lobby.take_back();
        self.lobby.owner = None;
        self.lobby.room.clear();
        for transaction in std::mem::take(&mut self.lobby.waiting) {
            let error = TransactionError::ours("left", "this peer is not in the room any more");
            self.done(transaction.id, Err(error));
        }
    }

    /// The server says what this peer publishes.
    pub(super) fn own_metadata_changed(&mut self, metadata: Metadata) {
        self.lobby.own = metadata;
    }

    pub(super) fn room_metadata_changed(&mut self, metadata: Metadata) {
        self.lobby.room = metadata.clone();
        self.tell(MeshEvent::RoomMetadataChanged { metadata });
    }

    pub(super) fn request_done(&mut self, now: Duration, request: u32, result: Result<(), TransactionError>) {
        if self.decided(request, result.clone()) {
            return;
        }
        let Some(underway) = self.lobby.underway.take_if(|underway| underway.request == request) else { return };
        let over_budget = matches!(&result, Err(error) if error.code == ErrorCode::TooManyMessages);
        match underway.what {
            What::Words(words) if over_budget => self.lobby.put_back(words),
            What::Words(_) => {}
            What::Transaction(transaction) if over_budget => self.lobby.waiting.push_front(transaction),
            What::Transaction(transaction) => self.done(transaction.id, result),
        }
        if over_budget {
            self.lobby.not_before = now + BUDGET_PAUSE;
        }
        self.tick_lobby(now);
    }

    /// Sends what is next, and gives up what has waited too long.
    pub(super) fn tick_lobby(&mut self, now: Duration) {
        let no_answer = || TransactionError::ours("no-answer", "the server did not answer in time");
        let (late, waiting) = std::mem::take(&mut self.lobby.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|transaction| now >= transaction.since + TRANSACTION_LIMIT);
        self.lobby.waiting = waiting;
        for transaction in late {
            self.done(transaction.id, Err(no_answer()));
        }
        if let Some(request) = self.lobby.underway.as_ref().filter(|underway| now >= underway.sent_at + ANSWER_LIMIT) {
            let request = request.request;
            self.request_done(now, request, Err(no_answer()));
        }
        while self.socket.is_joined() && self.lobby.underway.is_none() && now >= self.lobby.not_before {
            let Some(what) = self.next_change() else { return };
            self.send_change(now, what);
        }
    }

    fn next_change(&mut self) -> Option<What> {
        if !self.lobby.words.is_empty() {
            return Some(What::Words(std::mem::take(&mut self.lobby.words)));
        }
        self.lobby.waiting.pop_front().map(What::Transaction)
    }

    /// What cannot fit is not sent.
    fn send_change(&mut self, now: Duration, what: What) {
        let (whose, changes) = match &what {
            What::Words(words) => (Whose::Own, words),
            What::Transaction(transaction) => (transaction.whose, &transaction.changes),
        };
        let current = match whose {
            Whose::Own => &self.lobby.own,
            Whose::Room => &self.lobby.room,
        };
        let set = changes.clone();
        if let Err(error) = apply_metadata(current, set.clone()) {
            if let What::Transaction(transaction) = what {
                self.done(transaction.id, Err(TransactionError::bad(error.to_string())));
            }
            return;
        }
        let request = self.next_request();
        self.lobby.underway = Some(Underway { request, sent_at: now, what });
        let request = Some(request);
        let message = match whose {
            Whose::Own => ClientMessage::SetMetadata { request, set },
            Whose::Room => ClientMessage::SetRoomMetadata { request, set },
        };
        self.say(&message);
    }

    pub(super) fn next_request(&mut self) -> u32 {
        self.lobby.requests = self.lobby.requests.wrapping_add(1);
        self.lobby.requests
    }

    fn done(&mut self, transaction: TransactionId, result: Result<(), TransactionError>) {
        self.tell(MeshEvent::TransactionDone { transaction, result });
    }

    /// Tells who owns the room, if that is news; after a join, in any case.
    pub(super) fn tell_owner(&mut self, joined: bool) {
        let owner = self.roster.longest_present();
        if let Some(owner) = owner.filter(|owner| joined || self.lobby.owner != Some(*owner)) {
            self.lobby.owner = Some(owner);
            self.tell(MeshEvent::OwnerChanged { owner });
        }
    }
}
