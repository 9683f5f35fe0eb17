//! The whole server: what each request does, and to whom.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_common::{AddressKey, Unfinished};

use crate::address::Addresses;
use crate::frame::{Address, Event, Message, Request};
use crate::ids::{LinkNumber, SocketId};
use crate::limits::{Limits, UNCOUNTED_BYTES};
use crate::outbox::Next;
use crate::path::Path;
use crate::pool::Pool;
use crate::socket::{Due, EndReason, Link, Socket};

/// What arrives on a socket.
#[derive(Clone, Debug)]
pub enum Input {
    /// A binary message of at most [`MESSAGE_BYTES`](crate::MESSAGE_BYTES).
    Message(Bytes),
    /// A text message of this length: it has no effect.
    Text(usize),
    /// A part of a message that is not whole: a sign of life.
    Progress,
    /// A ping or a pong.
    Control,
    /// Nothing more can be read, or the client closes.
    Ended(EndReason),
    /// The socket is not there any more.
    Gone,
}

/// What there is, and what happened since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sockets.
    pub sockets: usize,
    /// Addresses on which sockets listen.
    pub addresses: usize,
    /// Connections between two sockets.
    pub connections: usize,
    /// Connections made.
    pub connected: u64,
    /// Listens and connects answered as failed.
    pub failed: u64,
    /// Messages passed on.
    pub passed_on: u64,
    /// Messages of WebSockets over a budget.
    pub over_budget: u64,
    /// Connections ended because too much of one waited for its receiver.
    pub overflowed: u64,
    /// Sockets ended because they took too little.
    pub slow_consumers: u64,
    /// Sockets ended because they fell silent.
    pub lost: u64,
}

/// Whether a message is within the budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spent {
    Within,
    Over,
    /// It was one too many: the socket ends.
    Ends,
}

/// The signaling server of UnityP2P's clients.
#[derive(Debug)]
pub struct Server {
    limits: Limits,
    sockets: BTreeMap<SocketId, Socket>,
    pools: BTreeMap<Path, Pool>,
    addresses: Addresses,
    /// What waits for sockets.
    waiting: Unfinished<SocketId, AddressKey>,
    /// Who is to be looked at, once for each thing that was put in.
    woken: VecDeque<SocketId>,
    /// Who ends before the present call returns.
    doomed: Vec<(SocketId, EndReason)>,
    is_stopping: bool,
    next_link: u64,
    counts: Counts,
}

impl Server {
    /// Without sockets.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            sockets: BTreeMap::new(),
            pools: Path::ALL.into_iter().map(|(path, _)| (path, Pool::default())).collect(),
            addresses: Addresses::default(),
            waiting: Unfinished::new(limits.waiting),
            woken: VecDeque::new(),
            doomed: Vec::new(),
            is_stopping: false,
            next_link: 0,
            counts: Counts::default(),
        }
    }

    /// A new socket. `address` is where it comes from, if that tells it from others. After
    /// [`shut_down`](Self::shut_down) it ends at once.
    pub fn open(&mut self, now: Duration, id: SocketId, path: Path, address: Option<AddressKey>) {
        let own = address.map(|key| self.addresses.enter(now, key, &self.limits));
        let mut socket = Socket::new(now, path, address, own, &self.limits);
        if self.is_stopping {
            socket.end(now, EndReason::GoingAway);
            self.woken.push_back(id);
        }
        self.sockets.insert(id, socket);
    }

    /// Something arrived on a socket. Afterwards, [`poll_woken`](Self::poll_woken).
    pub fn handle(&mut self, now: Duration, id: SocketId, input: Input) {
        match input {
            Input::Message(frame) => {
                if self.hear(now, id) {
                    self.request(now, id, &frame);
                }
            }
            Input::Text(bytes) => {
                if self.hear(now, id) {
                    self.spend(now, id, bytes);
                }
            }
            Input::Control => {
                if self.hear(now, id) {
                    self.spend(now, id, 0);
                }
            }
            Input::Progress => {
                self.hear(now, id);
            }
            Input::Ended(reason) => self.end(now, id, reason),
            Input::Gone => self.remove(now, id),
        }
        self.end_doomed(now);
    }

    /// Ends a socket for what it holds. If its end has begun, it is closed without a close frame, because
    /// what it holds would stay until then. Afterwards, [`poll_woken`](Self::poll_woken).
    pub fn evict(&mut self, now: Duration, id: SocketId, reason: EndReason) {
        let is_ending = self.sockets.get_mut(&id).is_some_and(Socket::abandon_if_ending);
        if is_ending {
            self.woken.push_back(id);
        } else {
            self.end(now, id, reason);
        }
        self.end_doomed(now);
    }

    /// Pings, and the ends of sockets that are silent, do not read, or do not go. Four times a
    /// second is often enough. Afterwards, [`poll_woken`](Self::poll_woken).
    pub fn tick(&mut self, now: Duration) {
        for (id, socket) in &mut self.sockets {
            match socket.check(now, &self.limits) {
                Due::Nothing => {}
                Due::Wake => self.woken.push_back(*id),
                Due::End(reason) => self.doomed.push((*id, reason)),
            }
        }
        self.addresses.tidy(now);
        self.end_doomed(now);
    }

    /// The server stops, or serves no new clients any more: what waits goes out, then each socket
    /// ends.
    pub fn shut_down(&mut self, now: Duration) {
        self.is_stopping = true;
        for (id, socket) in &mut self.sockets {
            if socket.is_open() {
                socket.end(now, EndReason::GoingAway);
                self.woken.push_back(*id);
            }
        }
        self.sockets.values_mut().for_each(|socket| {
            while let Some(connection) = socket.first_link() {
                socket.remove_link(connection);
            }
            socket.listens_on = None;
        });
        self.pools.values_mut().for_each(|pool| *pool = Pool::default());
        self.counts.connections = 0;
    }

    /// A socket for which there is something: a message, a ping or its end. In the order in which
    /// it was put in; a socket comes once for each.
    pub fn poll_woken(&mut self) -> Option<SocketId> {
        let next = self.woken.pop_front();
        if next.is_none() && self.woken.capacity() > 64 {
            self.woken = VecDeque::new();
        }
        next
    }

    /// What is to be written next to a socket.
    pub fn take(&mut self, now: Duration, id: SocketId) -> Next {
        let Some(socket) = self.sockets.get_mut(&id) else { return Next::Nothing };
        let next = socket.next();
        self.count_waiting(now, id);
        next
    }

    /// The socket was given what waits: `took` if it took a byte, `blocked` if it did not take all.
    pub fn wrote(&mut self, now: Duration, id: SocketId, took: bool, blocked: bool) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.wrote(now, took, blocked);
        }
    }

    /// Why a socket ends, if it does. Its close frame goes behind what is still taken.
    pub fn ending(&self, id: SocketId) -> Option<EndReason> {
        self.sockets.get(&id)?.ending()
    }

    /// The socket has to go without another word.
    pub fn is_abandoned(&self, id: SocketId) -> bool {
        self.sockets.get(&id).is_none_or(Socket::is_abandoned)
    }

    /// For the metrics.
    pub fn counts(&self) -> Counts {
        let addresses = self.pools.values().map(Pool::len).sum();
        Counts { sockets: self.sockets.len(), addresses, ..self.counts }
    }

    /// False if the socket is ending or gone: what it sends has no effect.
    fn hear(&mut self, now: Duration, id: SocketId) -> bool {
        let Some(socket) = self.sockets.get_mut(&id) else { return false };
        socket.heard(now);
        socket.is_open()
    }

    fn request(&mut self, now: Duration, id: SocketId, frame: &Bytes) {
        let request = Request::decode(frame);
        match self.spend(now, id, frame.len()) {
            Spent::Within => {}
            Spent::Over => return self.decline(now, id, &request),
            Spent::Ends => return,
        }
        match request {
            Request::Message { connection, message } => self.pass_on(now, id, connection, &message),
            Request::Listen(address) => self.listen(now, id, address),
            Request::StopListening => self.stop_listening(now, id),
            Request::Connect { connection, to } => self.connect(now, id, connection, &to),
            Request::Disconnect { connection } => self.disconnect(now, id, connection, true),
            Request::Version => self.answer(now, id, &Event::Version),
            Request::Heartbeat => self.answer(now, id, &Event::Heartbeat),
            Request::ListenNowhere { closes } => {
                if closes {
                    self.stop_listening(now, id);
                }
                self.fail(now, id, &Event::ListeningFailed(None));
            }
            Request::ConnectNowhere { connection } => {
                self.fail(now, id, &Event::ConnectingFailed(connection));
            }
            Request::Nothing => {}
        }
    }

    /// A message over the budget. What waits for an answer gets one; a connection of which a
    /// message is lost ends, because both ends rely on all of them.
    fn decline(&mut self, now: Duration, id: SocketId, request: &Request) {
        match request {
            Request::Message { connection, .. } => self.disconnect(now, id, *connection, true),
            Request::Listen(address) => {
                self.fail(now, id, &Event::ListeningFailed(Some(address)));
            }
            Request::ListenNowhere { .. } => self.fail(now, id, &Event::ListeningFailed(None)),
            Request::Connect { connection, .. } | Request::ConnectNowhere { connection } => {
                self.fail(now, id, &Event::ConnectingFailed(*connection));
            }
            // Both only take away.
            Request::StopListening => self.stop_listening(now, id),
            Request::Disconnect { connection } => self.disconnect(now, id, *connection, true),
            Request::Version | Request::Heartbeat | Request::Nothing => {}
        }
    }

    /// What others of its address have spent does not concern a message that is within what the
    /// socket has for itself.
    fn spend(&mut self, now: Duration, id: SocketId, bytes: usize) -> Spent {
        let Some(socket) = self.sockets.get_mut(&id) else { return Spent::Ends };
        let of_address = self.addresses.budget(socket.address);
        let own = &mut socket.own;
        if socket.budget.take_message(now, bytes)
            && (own.as_mut().is_some_and(|own| own.take_whole_message(now, bytes))
                || of_address.is_none_or(|budget| budget.take_message(now, bytes)))
        {
            return Spent::Within;
        }
        self.counts.over_budget += 1;
        if socket.take_violation(now, &self.limits) {
            return Spent::Over;
        }
        self.doomed.push((id, EndReason::Flooding));
        Spent::Ends
    }

    fn listen(&mut self, now: Duration, id: SocketId, address: Address) {
        self.stop_listening(now, id);
        let Some(path) = self.sockets.get(&id).map(|socket| socket.path) else { return };
        let others = self.listeners(path, &address).to_vec();
        let most = if path.is_shared() { self.limits.listeners } else { 1 };
        let is_free = !address.is_too_long() && others.len() < most;
        if !is_free || !self.introduce(now, id, 1 + others.len()) {
            return self.fail(now, id, &Event::ListeningFailed(Some(&address)));
        }
        self.answer(now, id, &Event::Listening(&address));
        let address = address.to_stored();
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.listens_on = Some(address.clone());
        }
        self.pools.entry(path).or_default().add(address, id);
        for other in others {
            if self.takes_link(other, id) {
                self.join(now, other, id, None);
            }
        }
    }

    fn stop_listening(&mut self, now: Duration, id: SocketId) {
        if self.free_address(id) {
            self.answer(now, id, &Event::ListeningClosed);
        }
    }

    /// Whether it had one.
    fn free_address(&mut self, id: SocketId) -> bool {
        let Some(socket) = self.sockets.get_mut(&id) else { return false };
        let Some(address) = socket.listens_on.take() else { return false };
        self.pools.entry(socket.path).or_default().remove(&address, id);
        true
    }

    fn connect(&mut self, now: Duration, id: SocketId, connection: i16, to: &Address) {
        let Some(path) = self.sockets.get(&id).map(|socket| socket.path) else { return };
        let listener = match self.listeners(path, to) {
            [listener] if *listener != id => Some(*listener),
            _ => None,
        };
        let listener = listener.filter(|listener| self.takes_link(*listener, id));
        match listener {
            Some(listener) if self.introduce(now, id, 1) => {
                self.disconnect(now, id, connection, true);
                self.join(now, listener, id, Some(connection));
            }
            Some(_) | None => self.fail(now, id, &Event::ConnectingFailed(connection)),
        }
    }

    fn listeners(&self, path: Path, address: &Address) -> &[SocketId] {
        self.pools.get(&path).map_or(&[], |pool| pool.listeners(address))
    }

    /// Whether a socket takes one more connection, opened by `from`, which has one more as well.
    fn takes_link(&self, id: SocketId, from: SocketId) -> bool {
        let (Some(socket), Some(other)) = (self.sockets.get(&id), self.sockets.get(&from)) else {
            return false;
        };
        socket.takes_link(from, other.address, &self.limits)
            && other.links() < self.limits.connections
    }

    /// Takes all of these introductions, or none.
    fn introduce(&mut self, now: Duration, id: SocketId, count: usize) -> bool {
        let Some(socket) = self.sockets.get_mut(&id) else { return false };
        let of_address = self.addresses.budget(socket.address);
        let is_within = socket.budget.has_introductions(now, count)
            && (socket.own.as_mut().is_some_and(|own| own.take_introductions(now, count))
                || of_address.is_none_or(|budget| budget.take_introductions(now, count)));
        if is_within {
            socket.budget.charge_introductions(count);
        } else {
            self.counts.over_budget += 1;
        }
        is_within
    }

    /// Connects two sockets: the listener hears of it first. `connection` is the id that the other
    /// one chose; without it, that one takes the next for incoming ones as well.
    fn join(
        &mut self,
        now: Duration,
        listener: SocketId,
        other: SocketId,
        connection: Option<i16>,
    ) {
        let mut incoming = |id| self.sockets.get_mut(&id).map(|socket| socket.take_incoming_id());
        let Some(at_listener) = incoming(listener) else { return };
        let Some(at_other) = connection.or_else(|| incoming(other)) else { return };
        self.next_link += 1;
        let number = LinkNumber(self.next_link);
        let opened_from = self.sockets.get(&other).and_then(|socket| socket.address);
        if let Some(socket) = self.sockets.get_mut(&listener) {
            let link = Link { number, peer: other, peer_connection: at_other, opened_from };
            socket.add_link(at_listener, link);
        }
        if let Some(socket) = self.sockets.get_mut(&other) {
            let peer_connection = at_listener;
            let link = Link { number, peer: listener, peer_connection, opened_from: None };
            socket.add_link(at_other, link);
        }
        self.counts.connections += 1;
        self.counts.connected += 1;
        self.event(now, listener, &Event::Connected(at_listener));
        self.answer(now, other, &Event::Connected(at_other));
    }

    /// Ends a connection, if there is one. `asked` if the socket asks for it; it hears of it first
    /// in any case.
    fn disconnect(&mut self, now: Duration, id: SocketId, connection: i16, asked: bool) {
        let removed = self.sockets.get_mut(&id).and_then(|socket| socket.remove_link(connection));
        let Some(link) = removed else { return };
        if let Some(peer) = self.sockets.get_mut(&link.peer) {
            peer.remove_link(link.peer_connection);
        }
        self.counts.connections -= 1;
        let event = Event::Disconnected(connection);
        if asked {
            self.answer(now, id, &event);
        } else {
            self.event(now, id, &event);
        }
        self.event(now, link.peer, &Event::Disconnected(link.peer_connection));
    }

    fn pass_on(&mut self, now: Duration, id: SocketId, connection: i16, message: &Message) {
        let link = self.sockets.get(&id).and_then(|socket| socket.link(connection));
        let Some(link) = link else { return };
        let Some(peer) = self.sockets.get_mut(&link.peer) else { return };
        let event = Event::Message { connection: link.peer_connection, message };
        let ended = peer.outbox.put_message(link.number, event.encode());
        let ended: Vec<i16> =
            ended.into_iter().filter_map(|number| peer.connection_of(number)).collect();
        self.counts.passed_on += 1;
        self.woken.push_back(link.peer);
        for connection in ended {
            self.counts.overflowed += 1;
            self.disconnect(now, link.peer, connection, false);
        }
        self.count_waiting(now, link.peer);
    }

    fn fail(&mut self, now: Duration, id: SocketId, event: &Event<'_>) {
        self.counts.failed += 1;
        self.answer(now, id, event);
    }

    /// Answers a socket's own request.
    fn answer(&mut self, now: Duration, id: SocketId, event: &Event<'_>) {
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| socket.is_open()) else {
            return;
        };
        if socket.put_answer(event.encode()) {
            self.woken.push_back(id);
            self.count_waiting(now, id);
        } else {
            self.doomed.push((id, EndReason::SlowConsumer));
        }
    }

    /// An event that another socket causes.
    fn event(&mut self, now: Duration, id: SocketId, event: &Event<'_>) {
        if let Some(socket) = self.sockets.get_mut(&id).filter(|socket| socket.is_open()) {
            socket.outbox.put_event(event.encode());
            self.woken.push_back(id);
            self.count_waiting(now, id);
        }
    }

    fn count_waiting(&mut self, now: Duration, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let bytes = socket.outbox.bytes();
        let counted = if bytes > UNCOUNTED_BYTES { bytes } else { 0 };
        if counted == socket.counted {
            return;
        }
        socket.counted = counted;
        if let Some(longest) = self.waiting.set(now, id, socket.address, counted) {
            self.doomed.push((longest, EndReason::SlowConsumer));
        }
    }

    /// Each end may be one more too much for another socket; that one ends as well.
    fn end_doomed(&mut self, now: Duration) {
        while let Some((id, reason)) = self.doomed.pop() {
            self.end(now, id, reason);
        }
    }

    /// For all others the socket is gone from here on; it may still get a close frame.
    fn end(&mut self, now: Duration, id: SocketId, reason: EndReason) {
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| socket.is_open()) else {
            return;
        };
        match reason {
            EndReason::SlowConsumer => self.counts.slow_consumers += 1,
            EndReason::Silent => self.counts.lost += 1,
            EndReason::Left
            | EndReason::TooLarge
            | EndReason::Malformed
            | EndReason::Flooding
            | EndReason::GoingAway => {}
        }
        socket.end(now, reason);
        self.woken.push_back(id);
        self.detach(now, id);
        self.count_waiting(now, id);
    }

    /// Those to whom it was connected hear of it, in the order of its ids; then its address is
    /// free.
    fn detach(&mut self, now: Duration, id: SocketId) {
        while let Some(connection) = self.sockets.get(&id).and_then(Socket::first_link) {
            self.disconnect(now, id, connection, false);
        }
        self.free_address(id);
    }

    fn remove(&mut self, now: Duration, id: SocketId) {
        self.end(now, id, EndReason::Left);
        let Some(socket) = self.sockets.remove(&id) else { return };
        self.waiting.set(now, id, None, 0);
        if let Some(key) = socket.address {
            self.addresses.leave(now, key);
        }
    }
}
