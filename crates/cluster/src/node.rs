//! One node: the sockets that it holds, the rooms that it owns, and what it says to the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_common::AddressKey;
use voicemesh_rooms::{Address, ConnectionId, Input, Part, Signaling};
use voicemesh_wire::RoomName;

use crate::guests::{Guests, Origin};
use crate::line::{NodeLine, SocketLine};
use crate::link::{Arrival, Links};
use crate::message::{Batch, Content, Entry, Epoch, MAX_ROOMS, Message, NodeId, OwnedRoom, Topic};
use crate::ownership::{Decision, Ownership};
use crate::peers::Peers;
use crate::sockets::{Progress, Sockets, Taken};
use crate::store::{RequestId, StoreAnswer, StoreRequest};

/// Guests whose node was silent for this long are lost.
const EDGE_SILENT: Duration = Duration::from_secs(5);
/// Links to a node that was silent for this long are forgotten.
const LINK_FORGOTTEN: Duration = Duration::from_secs(60);
/// How often [`Node::tick`] is to be called.
const TICK: Duration = Duration::from_millis(100);

/// What a node wants of its surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A message for the bus.
    Publish {
        /// Who receives it.
        topic: Topic,
        /// The message.
        message: Bytes,
    },
    /// A request to the store, whose answer goes to [`Node::handle_store`].
    Store {
        /// Comes back with the answer.
        id: RequestId,
        /// What is asked.
        request: StoreRequest,
    },
}

/// Things that happened, counted since the node began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages of the bus that could not be read.
    pub malformed: u64,
    /// Deliveries that were dropped because they belong to an older epoch than their connection.
    pub outdated: u64,
    /// Batches that were missing and asked for.
    pub gaps: u64,
    /// Links that began anew, the first time included.
    pub links_lost: u64,
    /// Rooms that this node has begun to own.
    pub begun: u64,
    /// Rooms that this node owned, and no longer does.
    pub stopped: u64,
}

/// One node of a cluster. `S` is the outgoing end of a socket.
///
/// After each call that is handed something, all outputs are to be taken ([`poll_output`](Self::poll_output)).
#[derive(Debug)]
pub struct Node<S> {
    id: NodeId,
    signaling: Arc<Signaling<NodeLine<S>>>,
    peers: Peers,
    links: Links,
    ownership: Ownership,
    sockets: Sockets<S>,
    guests: Guests<S>,
    /// The names of rooms that this node owns, or has connections for, by their keys.
    names: BTreeMap<String, RoomName>,
    outputs: VecDeque<Output>,
    drains: bool,
    is_cut_off: bool,
    asks_hash: bool,
    ticks_at: Duration,
    counts: Counts,
}

/// Sockets.
impl<S: SocketLine> Node<S> {
    /// A node without sockets and rooms, around a server without rooms. `id` is drawn at random for
    /// each run of a node.
    pub fn new(now: Duration, id: NodeId, signaling: Arc<Signaling<NodeLine<S>>>) -> Self {
        let sockets = Sockets::new(signaling.budgets().bytes);
        Self {
            id,
            signaling,
            peers: Peers::new(now, id),
            links: Links::new(id),
            ownership: Ownership::new(id),
            sockets,
            guests: Guests::new(),
            names: BTreeMap::new(),
            outputs: VecDeque::new(),
            drains: false,
            is_cut_off: true,
            asks_hash: false,
            ticks_at: now,
            counts: Counts::default(),
        }
    }

    /// This run of the node.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The rooms of this node, for what an operator sees and does.
    pub fn signaling(&self) -> &Arc<Signaling<NodeLine<S>>> {
        &self.signaling
    }

    /// A socket was opened; `address` as in [`Visit::new`](voicemesh_rooms::Visit::new). `id` is lower
    /// than 2⁶³ and not given twice.
    pub fn open(
        &mut self,
        now: Duration,
        id: ConnectionId,
        line: S,
        address: Option<(AddressKey, Option<Arc<Address>>)>,
    ) {
        self.sockets.open(now, id, line, address, &self.signaling);
        self.settle(now);
    }

    /// Something that came on a socket, or about it.
    pub fn handle(&mut self, now: Duration, id: ConnectionId, input: Input<'_>) {
        self.fence(now);
        match self.sockets.handle(now, id, input, &self.signaling) {
            Taken::Here { asks_hash } => self.asks_hash |= asks_hash,
            Taken::Waits(name) => self.wait(now, id, name),
            Taken::Forward { owner, epoch, frame } => {
                self.links.push(now, owner, epoch, Content::Frame { connection: id, frame });
            }
            Taken::Left { room, owner } => {
                if let Some((owner, epoch, reason)) = owner {
                    self.links.push(now, owner, epoch, Content::Left { connection: id, reason });
                }
                if let Some(room) = room {
                    self.ownership.remove(&room, id);
                }
            }
            Taken::Nothing => {}
        }
        self.settle(now);
    }

    /// Whether a password waits for its hash ([`Signaling::next_hash`]) since this was asked last.
    pub fn take_asks_hash(&mut self) -> bool {
        std::mem::take(&mut self.asks_hash)
    }

    /// How far a connection is with joining.
    pub fn progress(&self, id: ConnectionId) -> Progress {
        self.sockets.progress(id)
    }

    /// The socket has taken some of what waited for it.
    pub fn wrote(&mut self, now: Duration, id: ConnectionId) {
        if let Some((owner, epoch, total)) = self.sockets.written(id, false) {
            self.links.push(now, owner, epoch, Content::Written { connection: id, total });
            self.settle(now);
        }
    }

    /// Puts what its line has asked for into it ([`voicemesh_rooms::Visit::refresh`]).
    pub fn refresh(&mut self, now: Duration, id: ConnectionId, part: Part) {
        self.sockets.refresh(now, id, part);
        self.settle(now);
    }

    /// Whether no more may be read from a socket for now ([`voicemesh_rooms::Visit::is_full`]).
    pub fn is_full(&self, id: ConnectionId) -> bool {
        self.sockets.is_full(id)
    }

    /// Something was done with the server itself ([`signaling`](Self::signaling)): a password was
    /// hashed, or an operator has put a member out.
    pub fn update(&mut self, now: Duration) {
        self.settle(now);
    }

    /// A join that has to know the room's owner.
    fn wait(&mut self, now: Duration, id: ConnectionId, name: RoomName) {
        if self.drains {
            self.sockets.send_away(now, id);
            return;
        }
        let room = name.key().to_owned();
        self.names.insert(room.clone(), name);
        self.ownership.wait(&room, id);
        self.ownership.update_room(now, &room, &self.peers, self.drains, |_| false);
    }
}

/// The bus and the store.
impl<S: SocketLine> Node<S> {
    /// A message of the bus for this node, or for all. One that is malformed is counted and has no
    /// effect.
    pub fn handle_bus(&mut self, now: Duration, message: &Bytes) {
        self.fence(now);
        match Message::decode(message) {
            Ok(Message::Beat(beat)) => self.peers.beat(now, beat),
            Ok(Message::Owned(rooms)) => {
                for OwnedRoom { room, epoch, owner } in rooms {
                    if owner == self.id {
                        self.appointed(now, &room, epoch);
                    } else {
                        self.ownership.learn(&room, epoch);
                    }
                }
            }
            Ok(Message::Batch(batch)) if batch.from == self.id => {}
            Ok(Message::Batch(batch)) => self.batch(now, batch),
            Ok(Message::Missing(missing)) => match self.links.resend(missing) {
                Some(again) => {
                    for message in again {
                        let topic = Topic::Node(missing.from);
                        self.outputs.push_back(Output::Publish { topic, message });
                    }
                }
                None => self.link_lost(now, missing.from),
            },
            Err(error) => {
                tracing::debug!(%error, "a message of the bus was ignored");
                self.counts.malformed += 1;
            }
        }
        self.settle(now);
    }

    /// The answer to a request.
    pub fn handle_store(&mut self, now: Duration, id: RequestId, answer: StoreAnswer) {
        self.fence(now);
        self.ownership.answered(now, id, answer, &self.peers, self.drains);
        self.settle(now);
    }

    /// The record of a room (by its [key](RoomName::key)) was written and has this revision now. For
    /// stores that say so; nothing depends on it but how soon a former owner stops.
    pub fn handle_store_change(&mut self, now: Duration, room: &str, revision: u64) {
        self.fence(now);
        self.ownership.learn(room, Epoch(revision));
        self.settle(now);
    }

    /// Runs timers. At least every [`poll_timeout`](Self::poll_timeout).
    pub fn tick(&mut self, now: Duration) {
        self.fence(now);
        self.ticks_at = now + TICK;
        if let Some(beat) = self.peers.take_beat(now, self.drains) {
            self.publish(Topic::All, &Message::Beat(beat));
            self.tell_owned();
        }
        self.peers.tidy(now);
        self.signaling.tick(now);
        self.guests.check(now);
        for node in self.guests.nodes() {
            if self.peers.silent_for(now, node) > EDGE_SILENT {
                self.guests.lose_node(now, node, &self.signaling);
            }
        }
        for id in self.sockets.take_overdue(now) {
            if let Some(room) = self.sockets.room_of(id) {
                self.ownership.remove(&room, id);
            }
            self.sockets.send_away(now, id);
        }
        for (id, owner, epoch, total) in self.sockets.all_written() {
            self.links.push(now, owner, epoch, Content::Written { connection: id, total });
        }
        let (names, signaling) = (&self.names, &self.signaling);
        let is_unused = |room: &str| names.get(room).is_none_or(|name| !signaling.has_room(name));
        self.ownership.update(now, &self.peers, self.drains, is_unused);
        let ownership = &self.ownership;
        self.names.retain(|room, _| ownership.knows(room));
        let peers = &self.peers;
        self.links.retain(|node| peers.silent_for(now, node) < LINK_FORGOTTEN);
        self.settle(now);
        self.keep_alive(now);
    }

    /// When [`tick`](Self::tick) is to be called next, at the latest.
    pub fn poll_timeout(&self) -> Duration {
        self.ticks_at.min(self.peers.next_beat_at())
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// This node is about to stop: it takes no joins, and gives its rooms to others. When that is
    /// done, [`is_drained`](Self::is_drained).
    pub fn drain(&mut self, now: Duration) {
        self.drains = true;
        self.signaling.drain();
        for id in self.sockets.elsewhere() {
            if let Some(room) = self.sockets.room_of(id) {
                self.ownership.remove(&room, id);
            }
            if let Some((owner, epoch, reason)) = self.sockets.send_away(now, id) {
                self.links.push(now, owner, epoch, Content::Left { connection: id, reason });
            }
        }
        self.ownership.update(now, &self.peers, true, |_| false);
        self.settle(now);
    }

    /// Whether it is draining and owns no room any more.
    pub fn is_drained(&self) -> bool {
        self.drains && self.ownership.count() == 0
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        Counts { outdated: self.sockets.outdated(), ..self.counts }
    }

    /// The rooms that this node owns, by their keys, with their epochs.
    pub fn owned_rooms(&self) -> Vec<(String, Epoch)> {
        self.ownership.owned().map(|owned| (owned.room, owned.epoch)).collect()
    }

    /// For tests that must fail then: deliveries of older epochs are no longer dropped.
    #[doc(hidden)]
    pub fn without_epoch_check(&mut self) {
        self.sockets.without_epoch_check();
    }

    /// An owner that reaches no bus stops, before anything else is done with its rooms.
    fn fence(&mut self, now: Duration) {
        let is_cut_off = !self.peers.reaches_bus(now);
        if is_cut_off && !self.is_cut_off {
            tracing::warn!("the bus is not reached; this node stops its rooms");
            self.ownership.cut_off();
            self.apply_decisions(now);
        }
        self.is_cut_off = is_cut_off;
    }

    /// A former owner that drains has named this node.
    fn appointed(&mut self, now: Duration, room: &str, epoch: Epoch) {
        if self.drains || self.is_cut_off {
            return;
        }
        if let Ok(name) = RoomName::parse(room)
            && name.key() == room
        {
            self.names.entry(room.to_owned()).or_insert(name);
            self.ownership.appointed(now, room, epoch);
        }
    }

    /// Says to nodes that have appeared which rooms are this node's.
    fn tell_owned(&mut self) {
        let newcomers = self.peers.take_newcomers();
        if newcomers.is_empty() {
            return;
        }
        let rooms: Vec<OwnedRoom> = self.ownership.owned().collect();
        for part in rooms.chunks(MAX_ROOMS) {
            for node in &newcomers {
                self.publish(Topic::Node(*node), &Message::Owned(part.to_vec()));
            }
        }
    }

    fn publish(&mut self, topic: Topic, message: &Message) {
        self.outputs.push_back(Output::Publish { topic, message: message.encode() });
    }

    fn batch(&mut self, now: Duration, batch: Batch) {
        let from = batch.from;
        let Arrival { is_anew, is_next, missing } = self.links.receive(now, &batch);
        if is_anew {
            self.link_lost(now, from);
        }
        if let Some(missing) = missing {
            self.counts.gaps += 1;
            self.publish(Topic::Node(from), &Message::Missing(missing));
        }
        if !is_next {
            return;
        }
        for Entry { epoch, content } in batch.entries {
            self.entry(now, from, epoch, content);
        }
    }

    /// What was between this node and another one is lost, in both directions.
    fn link_lost(&mut self, now: Duration, node: NodeId) {
        self.counts.links_lost += 1;
        self.ownership.link_lost(node);
        self.guests.lose_node(now, node, &self.signaling);
        self.apply_decisions(now);
    }

    fn entry(&mut self, now: Duration, from: NodeId, epoch: Epoch, content: Content) {
        match content {
            Content::Open { connection, address, room } => {
                let Ok(name) = RoomName::parse(&room) else { return };
                let key = name.key().to_owned();
                if !self.ownership.owns(&key, epoch) {
                    self.links.push(now, from, epoch, Content::NotOwner { room: key });
                    return;
                }
                self.names.insert(key.clone(), name);
                let origin = Origin { node: from, connection, address };
                self.guests.open(now, origin, (key, epoch), &self.signaling);
            }
            Content::Frame { connection, frame } => {
                self.asks_hash |=
                    self.guests.frame(now, (from, connection), frame, &self.signaling);
            }
            Content::Left { connection, reason } => {
                self.guests.left(now, from, connection, reason, &self.signaling);
            }
            Content::Written { connection, total } => {
                self.guests.written((from, connection), total);
            }
            Content::Deliver { connections, payload } => {
                for connection in connections {
                    self.sockets.deliver(now, connection, epoch, &payload);
                }
            }
            Content::Entered { connection } => self.sockets.entered(connection, epoch),
            Content::End { connection, reason } => {
                self.sockets.end(now, connection, epoch, reason);
            }
            Content::NotOwner { room } => self.ownership.disowned(&room, epoch),
        }
    }

    /// Carries out what follows from the last call, and makes the batches.
    fn settle(&mut self, now: Duration) {
        loop {
            self.apply_decisions(now);
            self.asks_hash |= self.guests.flush(now, &mut self.links, &self.signaling);
            let overflowed = self.links.take_overflowed();
            if overflowed.is_empty() {
                break;
            }
            for node in overflowed {
                self.link_lost(now, node);
            }
        }
        while let Some((node, message)) = self.links.take_batch(now, |_| false) {
            self.outputs.push_back(Output::Publish { topic: Topic::Node(node), message });
        }
    }

    fn keep_alive(&mut self, now: Duration) {
        let mut kept: BTreeSet<NodeId> = self.guests.nodes();
        kept.extend(self.sockets.owners());
        while let Some((node, message)) = self.links.take_batch(now, |node| kept.contains(&node)) {
            self.outputs.push_back(Output::Publish { topic: Topic::Node(node), message });
        }
    }

    fn apply_decisions(&mut self, now: Duration) {
        loop {
            let decisions = self.ownership.take_decisions();
            if decisions.is_empty() {
                return;
            }
            for decision in decisions {
                self.apply(now, decision);
            }
        }
    }

    fn apply(&mut self, now: Duration, decision: Decision) {
        match decision {
            Decision::Ask(id, request) => self.outputs.push_back(Output::Store { id, request }),
            Decision::Begin { room, epoch } => {
                self.counts.begun += 1;
                if let Some(name) = self.names.get(&room) {
                    self.signaling.forget_room(name);
                }
                let owned = OwnedRoom { room, epoch, owner: self.id };
                self.publish(Topic::All, &Message::Owned(vec![owned]));
            }
            Decision::Stop { room, epoch, connections, successor } => {
                self.counts.stopped += 1;
                for connection in connections {
                    self.sockets.send_away(now, connection);
                }
                if let Some(name) = self.names.get(&room) {
                    self.signaling.forget_room(name);
                }
                for node in self.guests.lose_room(now, &room, &self.signaling) {
                    let room = room.clone();
                    self.links.push(now, node, epoch, Content::NotOwner { room });
                }
                if let Some(successor) = successor {
                    self.publish(Topic::All, &Message::Owned(vec![successor]));
                }
            }
            Decision::AdmitHere { connection, .. } => {
                self.asks_hash |= self.sockets.admit_here(now, connection, &self.signaling);
            }
            Decision::AdmitAt { room, connection, epoch, owner } => {
                let Some(name) = self.names.get(&room) else { return };
                let room = name.as_str().to_owned();
                if let Some((address, frames)) = self.sockets.admit_at(connection, epoch, owner) {
                    self.links.push(now, owner, epoch, Content::Open { connection, address, room });
                    for frame in frames {
                        self.links.push(now, owner, epoch, Content::Frame { connection, frame });
                    }
                }
            }
            Decision::Lose { connections } => {
                for connection in connections {
                    match self.sockets.wait_again(now, connection) {
                        Some(name) => self.wait(now, connection, name),
                        None => {
                            let left = self.sockets.send_away(now, connection);
                            if let Some((owner, epoch, reason)) = left {
                                let left = Content::Left { connection, reason };
                                self.links.push(now, owner, epoch, left);
                            }
                        }
                    }
                }
            }
        }
    }
}
