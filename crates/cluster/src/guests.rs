//! Connections in the rooms of this node whose sockets other nodes hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use voicemesh_common::AddressKey;
use voicemesh_rooms::{
    CloseReason, ConnectionId, Input, Line as _, Next, OutgoingMessage, Purpose, Refusal,
    Signaling, Text, Visit,
};
use voicemesh_wire::signaling::LeaveReason;

use crate::line::{NodeLine, Ready, RemoteLine, SocketLine};
use crate::link::Links;
use crate::message::{Content, Epoch, Frame, NodeId, Payload};

/// Numbers of guests, apart from those of sockets.
const FIRST_GUEST: u64 = 1 << 63;
/// What may wait of one guest while its password is looked at. A client sends one message, its
/// handshake.
const HELD_BYTES: usize = 64 * 1024;

/// All guests.
#[derive(Debug)]
pub(crate) struct Guests<S> {
    origins: BTreeMap<(NodeId, ConnectionId), ConnectionId>,
    guests: BTreeMap<ConnectionId, Guest<S>>,
    next: u64,
    ready: Ready,
}

#[derive(Debug)]
struct Guest<S> {
    origin: (NodeId, ConnectionId),
    room: String,
    epoch: Epoch,
    line: RemoteLine,
    visit: Visit<NodeLine<S>>,
    /// What came while its password is looked at.
    held: VecDeque<Frame>,
    held_bytes: usize,
}

/// Where a guest comes from.
pub(crate) struct Origin {
    pub node: NodeId,
    pub connection: ConnectionId,
    pub address: Option<AddressKey>,
}

impl<S: SocketLine> Guests<S> {
    pub(crate) fn new() -> Self {
        Self {
            origins: BTreeMap::new(),
            guests: BTreeMap::new(),
            next: FIRST_GUEST,
            ready: Ready::default(),
        }
    }

    pub(crate) fn open(
        &mut self,
        now: Duration,
        origin: Origin,
        (room, epoch): (String, Epoch),
        signaling: &Signaling<NodeLine<S>>,
    ) {
        let Origin { node, connection, address } = origin;
        self.left(now, node, connection, LeaveReason::Lost, signaling);
        let id = ConnectionId(self.next);
        self.next += 1;
        let line = RemoteLine::new(now, id, self.ready.clone());
        let address = address.map(|key| (key, signaling.enter_address(now, key)));
        if matches!(address, Some((_, None))) {
            let refusal = Refusal::too_many_connections();
            line.text(now, &Text::from(&refusal.farewell()), Purpose::Answer);
            line.end(now, CloseReason::Refused);
        }
        let visit = Visit::new(now, id, NodeLine::Remote(line.clone()), address, signaling);
        let origin = (node, connection);
        self.origins.insert(origin, id);
        let (held, held_bytes) = (VecDeque::new(), 0);
        self.guests.insert(id, Guest { origin, room, epoch, line, visit, held, held_bytes });
    }

    /// Something came on a guest's connection. True if a password waits for its hash since then.
    pub(crate) fn frame(
        &mut self,
        now: Duration,
        origin: (NodeId, ConnectionId),
        frame: Frame,
        signaling: &Signaling<NodeLine<S>>,
    ) -> bool {
        let id = self.origins.get(&origin);
        let Some(guest) = id.and_then(|id| self.guests.get_mut(id)) else { return false };
        guest.held_bytes += frame.len();
        guest.held.push_back(frame);
        if guest.held_bytes > HELD_BYTES && guest.visit.is_full() {
            guest.line.end(now, CloseReason::Flooding);
        }
        guest.feed(now, signaling)
    }

    pub(crate) fn written(&self, origin: (NodeId, ConnectionId), total: u64) {
        let id = self.origins.get(&origin);
        if let Some(guest) = id.and_then(|id| self.guests.get(id)) {
            guest.line.written(total);
        }
    }

    pub(crate) fn left(
        &mut self,
        now: Duration,
        node: NodeId,
        connection: ConnectionId,
        reason: LeaveReason,
        signaling: &Signaling<NodeLine<S>>,
    ) {
        let Some(id) = self.origins.remove(&(node, connection)) else { return };
        if let Some(mut guest) = self.guests.remove(&id) {
            signaling.handle(now, &mut guest.visit, Input::Left(reason));
        }
    }

    /// The nodes that hold the sockets of guests.
    pub(crate) fn nodes(&self) -> BTreeSet<NodeId> {
        self.origins.keys().map(|(node, _)| *node).collect()
    }

    /// All guests of a node are lost.
    pub(crate) fn lose_node(
        &mut self,
        now: Duration,
        node: NodeId,
        signaling: &Signaling<NodeLine<S>>,
    ) {
        let of_node = (node, ConnectionId(0))..=(node, ConnectionId(u64::MAX));
        let lost: Vec<_> = self.origins.range(of_node).map(|(origin, _)| *origin).collect();
        for (node, connection) in lost {
            self.left(now, node, connection, LeaveReason::Lost, signaling);
        }
    }

    /// A room is no longer this node's. Gives the nodes that held sockets in it.
    pub(crate) fn lose_room(
        &mut self,
        now: Duration,
        room: &str,
        signaling: &Signaling<NodeLine<S>>,
    ) -> Vec<NodeId> {
        let of_room = self.guests.values().filter(|guest| guest.room == room);
        let lost: Vec<_> = of_room.map(|guest| guest.origin).collect();
        for (node, connection) in &lost {
            self.left(now, *node, *connection, LeaveReason::Lost, signaling);
        }
        let mut nodes: Vec<_> = lost.into_iter().map(|(node, _)| node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Puts what is to be sent into the links. True if a password waits for its hash.
    pub(crate) fn flush(
        &mut self,
        now: Duration,
        links: &mut Links,
        signaling: &Signaling<NodeLine<S>>,
    ) -> bool {
        let mut asks_hash = false;
        while let Some(id) = self.ready.take() {
            let Some(guest) = self.guests.get_mut(&id) else { continue };
            asks_hash |= guest.flush(now, links, signaling);
            if guest.has_ended() {
                let (node, connection) = guest.origin;
                let reason = guest.line.ending().unwrap_or(CloseReason::Silent);
                links.push(now, node, guest.epoch, Content::End { connection, reason });
                self.left(now, node, connection, reason.leave_reason(), signaling);
            }
        }
        asks_hash
    }

    /// Runs the timers of their queues.
    pub(crate) fn check(&self, now: Duration) {
        for guest in self.guests.values() {
            guest.line.check(now);
        }
    }
}

impl<S: SocketLine> Guest<S> {
    /// Handles what has come, unless its password is looked at. True if a password waits for its
    /// hash since then.
    fn feed(&mut self, now: Duration, signaling: &Signaling<NodeLine<S>>) -> bool {
        let mut asks_hash = false;
        while self.line.ending().is_none()
            && !self.visit.is_full()
            && let Some(frame) = self.held.pop_front()
        {
            self.held_bytes -= frame.len();
            asks_hash |= handle_frame(now, &mut self.visit, frame, signaling);
        }
        asks_hash
    }

    fn flush(
        &mut self,
        now: Duration,
        links: &mut Links,
        signaling: &Signaling<NodeLine<S>>,
    ) -> bool {
        let (node, connection) = self.origin;
        let mut asks_hash = false;
        if let Some(answer) = self.line.take_hashed() {
            asks_hash |= signaling.handle(now, &mut self.visit, Input::Hashed(answer));
            asks_hash |= self.feed(now, signaling);
        }
        if self.line.take_joined() {
            links.push(now, node, self.epoch, Content::Entered { connection });
        }
        loop {
            let payload = match self.line.next(now) {
                Next::Message(OutgoingMessage::Text(text)) => Payload::Text(text.bytes().clone()),
                Next::Message(OutgoingMessage::Packet(packet)) => Payload::Packet(packet),
                Next::Message(OutgoingMessage::Ping) => continue,
                Next::Snapshot(part) => {
                    self.visit.refresh(now, part);
                    continue;
                }
                Next::Nothing => return asks_hash,
            };
            links.deliver(now, self.origin, self.epoch, payload);
        }
    }

    /// Its last words are under way.
    fn has_ended(&self) -> bool {
        self.line.ending().is_some() && self.line.is_empty()
    }
}

/// Hands what came on a connection to its visit. True if a password waits for its hash since then.
pub(crate) fn handle_frame<S: SocketLine>(
    now: Duration,
    visit: &mut Visit<NodeLine<S>>,
    frame: Frame,
    signaling: &Signaling<NodeLine<S>>,
) -> bool {
    match &frame {
        // Checked when it came.
        Frame::Text(text) => std::str::from_utf8(text)
            .is_ok_and(|text| signaling.handle(now, visit, Input::Text(text))),
        Frame::Packet(packet) => signaling.handle(now, visit, Input::Packet(packet.clone())),
        Frame::TooLarge => signaling.handle(now, visit, Input::TooLarge),
        Frame::Malformed(how) => signaling.handle(now, visit, Input::Malformed(*how)),
    }
}
