//! The sockets of this node: before their joins, in rooms of this node, and as an edge of others'.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_common::{AddressKey, Rate, TokenBucket};
use voicemesh_rooms::{
    Address, CloseReason, ConnectionId, Input, Purpose, Refusal, Signaling, Text, Visit, send_away,
};
use voicemesh_session::Delivery;
use voicemesh_wire::RoomName;
use voicemesh_wire::packet;
use voicemesh_wire::signaling::{
    ClientMessage, ErrorCode, LeaveReason, PROTOCOL_VERSION, decode_client,
};

use crate::guests::handle_frame;
use crate::line::{LARGE, NodeLine, SocketLine, cost};
use crate::message::{Epoch, Frame, NodeId, Payload};

/// What a peer sends before its join is answered is kept, up to so many messages …
const HELD_FRAMES: usize = 8;
/// … and so many bytes.
const HELD_BYTES: usize = 64 * 1024;
/// A join whose room has no owner after this long is sent away.
const JOIN_LIMIT: Duration = Duration::from_secs(5);
/// When it should come back.
const RETRY_AFTER_MS: u64 = 500;
/// What was written is reported to the owner when it is this much.
const REPORT_BYTES: u64 = 2 * 1024;
/// Each frame that is forwarded costs this besides its bytes.
const FRAME_OVERHEAD: usize = 64;

/// All sockets.
pub(crate) struct Sockets<S> {
    sockets: BTreeMap<ConnectionId, Socket<S>>,
    forwarded: Rate,
    checks_epochs: bool,
    outdated: u64,
}

struct Socket<S> {
    line: S,
    key: Option<AddressKey>,
    /// Counts among the connections of its address.
    address: Option<Arc<Address>>,
    /// What may still be forwarded to other nodes. Owners judge what comes; this keeps floods from
    /// the bus.
    forwards: TokenBucket,
    stage: Stage<S>,
}

enum Stage<S> {
    /// It has not joined, or it is in a room of this node.
    Here { visit: Box<Visit<NodeLine<S>>>, room: Option<String> },
    /// Its join waits until the owner of its room is known.
    Waiting { name: RoomName, frames: Vec<Frame>, since: Duration },
    /// It is in a room of another node, or would be.
    There(There),
    /// Nothing more is taken from it.
    Gone,
}

struct There {
    name: RoomName,
    epoch: Epoch,
    owner: NodeId,
    /// What was delivered, and what of it the owner knows to be written.
    delivered: u64,
    reported: u64,
    /// What it has sent, as long as nothing was delivered: another owner may answer it.
    unanswered: Option<Vec<Frame>>,
}

impl<S> fmt::Debug for Sockets<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sockets").field("sockets", &self.sockets.len()).finish()
    }
}

/// How far a connection is with joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has not joined, or was refused, or has left.
    Outside,
    /// Its join waits for an answer.
    Waits,
    /// Its join was answered.
    Joined,
}

/// What becomes of something that came.
pub(crate) enum Taken {
    /// It was handled here.
    Here {
        asks_hash: bool,
    },
    /// It was a join: the room's owner must be known.
    Waits(RoomName),
    /// It is for another node.
    Forward {
        owner: NodeId,
        epoch: Epoch,
        frame: Frame,
    },
    /// The socket is gone; the room for which it was counted, and the owner that must know.
    Left {
        room: Option<String>,
        owner: Option<(NodeId, Epoch, LeaveReason)>,
    },
    Nothing,
}

/// The owner of a room that a connection has left.
pub(crate) type LeftOwner = (NodeId, Epoch, LeaveReason);

impl<S: SocketLine> Sockets<S> {
    /// `forwarded`: what one socket may have forwarded, in bytes.
    pub(crate) fn new(forwarded: Rate) -> Self {
        Self { sockets: BTreeMap::new(), forwarded, checks_epochs: true, outdated: 0 }
    }

    pub(crate) fn without_epoch_check(&mut self) {
        self.checks_epochs = false;
    }

    pub(crate) fn outdated(&self) -> u64 {
        self.outdated
    }

    pub(crate) fn open(
        &mut self,
        now: Duration,
        id: ConnectionId,
        line: S,
        address: Option<(AddressKey, Option<Arc<Address>>)>,
        signaling: &Signaling<NodeLine<S>>,
    ) {
        let key = address.as_ref().map(|(key, _)| *key);
        let address = address.and_then(|(_, address)| address);
        let forwards = TokenBucket::full(now, self.forwarded);
        let mut socket = Socket { line, key, address, forwards, stage: Stage::Gone };
        socket.stage = Stage::Here { visit: socket.visit(now, id, signaling), room: None };
        self.sockets.insert(id, socket);
    }

    pub(crate) fn handle(
        &mut self,
        now: Duration,
        id: ConnectionId,
        input: Input<'_>,
        signaling: &Signaling<NodeLine<S>>,
    ) -> Taken {
        let Some(socket) = self.sockets.get_mut(&id) else { return Taken::Nothing };
        if let Input::Left(reason) = input {
            let taken = socket.leave(now, reason, signaling);
            self.sockets.remove(&id);
            return taken;
        }
        if let Stage::Here { visit, room } = &mut socket.stage {
            let name = match &input {
                Input::Text(text) if room.is_none() && socket.line.ending().is_none() => {
                    room_of_join(text)
                }
                _ => None,
            };
            let Some(name) = name else {
                return Taken::Here { asks_hash: signaling.handle(now, visit, input) };
            };
            let frames = frame_of(input).into_iter().collect();
            socket.stage = Stage::Waiting { name: name.clone(), frames, since: now };
            return Taken::Waits(name);
        }
        match frame_of(input) {
            Some(frame) if socket.line.ending().is_none() => {
                socket.forward(now, frame, self.forwarded)
            }
            _ => Taken::Nothing,
        }
    }

    pub(crate) fn refresh(&mut self, now: Duration, id: ConnectionId, part: voicemesh_rooms::Part) {
        if let Some(Socket { stage: Stage::Here { visit, .. }, .. }) = self.sockets.get_mut(&id) {
            visit.refresh(now, part);
        }
    }

    pub(crate) fn is_full(&self, id: ConnectionId) -> bool {
        match self.sockets.get(&id).map(|socket| &socket.stage) {
            Some(Stage::Here { visit, .. }) => visit.is_full(),
            Some(Stage::Waiting { frames, .. }) => is_full(frames),
            Some(Stage::There(_) | Stage::Gone) | None => false,
        }
    }

    /// How far it is with joining.
    pub(crate) fn progress(&self, id: ConnectionId) -> Progress {
        match self.sockets.get(&id).map(|socket| &socket.stage) {
            Some(Stage::Here { visit, .. }) if visit.is_inside() => Progress::Joined,
            Some(Stage::Here { visit, .. }) if visit.is_hashing() => Progress::Waits,
            Some(Stage::Waiting { .. }) => Progress::Waits,
            Some(Stage::There(there)) if there.unanswered.is_none() => Progress::Joined,
            Some(Stage::There(_)) => Progress::Waits,
            Some(Stage::Here { .. } | Stage::Gone) | None => Progress::Outside,
        }
    }

    /// The key of the room that a connection is in, or would be.
    pub(crate) fn room_of(&self, id: ConnectionId) -> Option<String> {
        self.sockets.get(&id)?.room()
    }

    /// The nodes whose rooms have connections here.
    pub(crate) fn owners(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.sockets.values().filter_map(|socket| match &socket.stage {
            Stage::There(there) => Some(there.owner),
            Stage::Here { .. } | Stage::Waiting { .. } | Stage::Gone => None,
        })
    }

    /// Connections that are not in rooms of this node.
    pub(crate) fn elsewhere(&self) -> Vec<ConnectionId> {
        let elsewhere = self.sockets.iter().filter(|(_, socket)| match &socket.stage {
            Stage::Here { room, .. } => room.is_none(),
            Stage::Waiting { .. } | Stage::There(_) => true,
            Stage::Gone => false,
        });
        elsewhere.map(|(id, _)| *id).collect()
    }

    /// Connections whose joins have waited too long.
    pub(crate) fn take_overdue(&self, now: Duration) -> Vec<ConnectionId> {
        let overdue = self.sockets.iter().filter(|(_, socket)| {
            matches!(socket.stage, Stage::Waiting { since, .. } if now >= since + JOIN_LIMIT)
        });
        overdue.map(|(id, _)| *id).collect()
    }

    /// Its room is this node's: its join is handled, and what came after it.
    pub(crate) fn admit_here(
        &mut self,
        now: Duration,
        id: ConnectionId,
        signaling: &Signaling<NodeLine<S>>,
    ) -> bool {
        let Some(socket) = self.sockets.get_mut(&id) else { return false };
        let Stage::Waiting { name, frames, .. } = &mut socket.stage else { return false };
        let (room, frames) = (name.key().to_owned(), std::mem::take(frames));
        let mut visit = socket.visit(now, id, signaling);
        let mut asks_hash = false;
        for frame in frames {
            asks_hash |= handle_frame(now, &mut visit, frame, signaling);
        }
        socket.stage = Stage::Here { visit, room: Some(room) };
        asks_hash
    }

    /// Its room is another node's. Gives what is to be sent there.
    pub(crate) fn admit_at(
        &mut self,
        id: ConnectionId,
        epoch: Epoch,
        owner: NodeId,
    ) -> Option<(Option<AddressKey>, Vec<Frame>)> {
        let socket = self.sockets.get_mut(&id)?;
        let Stage::Waiting { name, frames, .. } = &mut socket.stage else { return None };
        let (name, frames) = (name.clone(), std::mem::take(frames));
        socket.stage = Stage::There(There {
            name,
            epoch,
            owner,
            delivered: 0,
            reported: 0,
            unanswered: Some(frames.clone()),
        });
        Some((socket.key, frames))
    }

    /// Its room has another owner. If it was answered nothing, its join waits again, and the room's
    /// name is given.
    pub(crate) fn wait_again(&mut self, now: Duration, id: ConnectionId) -> Option<RoomName> {
        let socket = self.sockets.get_mut(&id)?;
        let Stage::There(there) = &mut socket.stage else { return None };
        let (frames, name) = (there.unanswered.take()?, there.name.clone());
        socket.stage = Stage::Waiting { name: name.clone(), frames, since: now };
        Some(name)
    }

    /// Asks the peer to come back, to this node or another, and ends the connection. Gives the owner
    /// of its room, if that is another node.
    pub(crate) fn send_away(&mut self, now: Duration, id: ConnectionId) -> Option<LeftOwner> {
        let socket = self.sockets.get_mut(&id)?;
        let retry_after_ms = match socket.stage {
            Stage::Waiting { .. } => RETRY_AFTER_MS,
            Stage::Here { .. } | Stage::There(_) => 0,
            Stage::Gone => return None,
        };
        send_away(now, &socket.line, retry_after_ms);
        let left = match &socket.stage {
            Stage::There(there) => Some((there.owner, there.epoch, LeaveReason::Lost)),
            Stage::Here { .. } | Stage::Waiting { .. } | Stage::Gone => None,
        };
        // A visit of this node leaves when the socket does.
        if !matches!(socket.stage, Stage::Here { .. }) {
            socket.stage = Stage::Gone;
        }
        left
    }

    /// What the owner of its room sends it, unless it is of an older owner.
    pub(crate) fn deliver(
        &mut self,
        now: Duration,
        id: ConnectionId,
        epoch: Epoch,
        payload: &Payload,
    ) {
        let Some((there, line)) = self.there(id, epoch) else { return };
        let bytes = payload.bytes();
        there.unanswered = None;
        there.delivered += cost(bytes.len());
        // The owner sends a large one when all before it are written.
        let purpose = if bytes.len() > LARGE { Purpose::Snapshot } else { Purpose::Answer };
        match payload {
            Payload::Text(bytes) => {
                if let Ok(text) = Text::try_from(bytes.clone()) {
                    line.text(now, &text, purpose);
                }
            }
            Payload::Packet(packet) => {
                let is_voice = packet::open(packet).is_ok_and(|(header, _)| header.kind.is_voice());
                let delivery = if is_voice { Delivery::Voice } else { Delivery::Reliable };
                line.packet(now, packet.clone(), delivery, purpose);
            }
        }
    }

    /// It has entered the owner's room, or its password is looked at.
    pub(crate) fn entered(&mut self, id: ConnectionId, epoch: Epoch) {
        if let Some((_, line)) = self.there(id, epoch) {
            line.joined();
        }
    }

    /// The owner has ended it.
    pub(crate) fn end(
        &mut self,
        now: Duration,
        id: ConnectionId,
        epoch: Epoch,
        reason: CloseReason,
    ) {
        if let Some((_, line)) = self.there(id, epoch) {
            line.end(now, reason);
        }
    }

    /// What its socket has written, if the owner of its room should know; `all`: however little.
    pub(crate) fn written(&mut self, id: ConnectionId, all: bool) -> Option<(NodeId, Epoch, u64)> {
        let Socket { line, stage: Stage::There(there), .. } = self.sockets.get_mut(&id)? else {
            return None;
        };
        let written = there.delivered.saturating_sub(line.waiting_bytes() as u64);
        let least = if all { 1 } else { REPORT_BYTES };
        if written < there.reported + least {
            return None;
        }
        there.reported = written;
        Some((there.owner, there.epoch, written))
    }

    /// The same for all sockets, however little it is.
    pub(crate) fn all_written(&mut self) -> Vec<(ConnectionId, NodeId, Epoch, u64)> {
        let ids: Vec<ConnectionId> = self.sockets.keys().copied().collect();
        let written = ids.into_iter().filter_map(|id| {
            let (owner, epoch, total) = self.written(id, true)?;
            Some((id, owner, epoch, total))
        });
        written.collect()
    }

    /// A connection that is in a room of another node, in this epoch.
    fn there(&mut self, id: ConnectionId, epoch: Epoch) -> Option<(&mut There, &S)> {
        let Socket { line, stage: Stage::There(there), .. } = self.sockets.get_mut(&id)? else {
            return None;
        };
        if there.epoch != epoch && self.checks_epochs {
            self.outdated += 1;
            return None;
        }
        Some((there, line))
    }
}

impl<S: SocketLine> Socket<S> {
    fn visit(
        &self,
        now: Duration,
        id: ConnectionId,
        signaling: &Signaling<NodeLine<S>>,
    ) -> Box<Visit<NodeLine<S>>> {
        let address = self.key.map(|key| (key, self.address.clone()));
        let line = NodeLine::Local(self.line.clone());
        Box::new(Visit::new(now, id, line, address, signaling))
    }

    fn room(&self) -> Option<String> {
        match &self.stage {
            Stage::Here { room, .. } => room.clone(),
            Stage::Waiting { name, .. } => Some(name.key().to_owned()),
            Stage::There(there) => Some(there.name.key().to_owned()),
            Stage::Gone => None,
        }
    }

    fn leave(
        &mut self,
        now: Duration,
        reason: LeaveReason,
        signaling: &Signaling<NodeLine<S>>,
    ) -> Taken {
        let room = self.room();
        let owner = match &mut self.stage {
            Stage::Here { visit, .. } => {
                signaling.handle(now, visit, Input::Left(reason));
                None
            }
            Stage::There(there) => Some((there.owner, there.epoch, reason)),
            Stage::Waiting { .. } | Stage::Gone => None,
        };
        self.stage = Stage::Gone;
        Taken::Left { room, owner }
    }

    fn forward(&mut self, now: Duration, frame: Frame, rate: Rate) -> Taken {
        let cost = (frame.len() + FRAME_OVERHEAD) as f64;
        if !self.forwards.take(now, rate, cost) {
            return self.flood(now);
        }
        match &mut self.stage {
            Stage::Waiting { frames, .. } if is_full(frames) => self.flood(now),
            Stage::Waiting { frames, .. } => {
                frames.push(frame);
                Taken::Nothing
            }
            Stage::There(there) => {
                if let Some(unanswered) = &mut there.unanswered {
                    if is_full(unanswered) {
                        there.unanswered = None;
                    } else {
                        unanswered.push(frame.clone());
                    }
                }
                Taken::Forward { owner: there.owner, epoch: there.epoch, frame }
            }
            Stage::Here { .. } | Stage::Gone => Taken::Nothing,
        }
    }

    fn flood(&self, now: Duration) -> Taken {
        let refusal = Refusal::of(ErrorCode::TooManyMessages);
        self.line.text(now, &Text::from(&refusal.farewell()), Purpose::Answer);
        self.line.end(now, CloseReason::Flooding);
        Taken::Nothing
    }
}

fn is_full(frames: &[Frame]) -> bool {
    let bytes: usize = frames.iter().map(Frame::len).sum();
    frames.len() >= HELD_FRAMES || bytes >= HELD_BYTES
}

/// The room of a join that a server of this version takes. Anything else is answered here.
fn room_of_join(text: &str) -> Option<RoomName> {
    match decode_client(text) {
        Ok(ClientMessage::Join(join)) if join.protocol == PROTOCOL_VERSION => {
            RoomName::parse(&join.room).ok()
        }
        _ => None,
    }
}

/// What is sent on to another node.
fn frame_of(input: Input<'_>) -> Option<Frame> {
    match input {
        Input::Text(text) => Some(Frame::Text(Bytes::copy_from_slice(text.as_bytes()))),
        Input::Packet(packet) => Some(Frame::Packet(packet)),
        Input::TooLarge => Some(Frame::TooLarge),
        Input::Malformed(how) => Some(Frame::Malformed(how)),
        Input::Control | Input::Hashed(_) | Input::Left(_) => None,
    }
}
