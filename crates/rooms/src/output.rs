//! What a room does to the outside: texts, packets, ends of connections.

use bytes::Bytes;
use voicemesh_session::Delivery;
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ErrorCode, LeaveReason, ServerMessage};

use crate::address::AddressTag;

/// One connection, for as long as the process runs; never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// An encoded message. Receivers share one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Bytes);

impl Text {
    /// Its bytes: always UTF-8.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl TryFrom<Bytes> for Text {
    type Error = std::str::Utf8Error;

    /// A message that another node has encoded.
    fn try_from(bytes: Bytes) -> Result<Self, Self::Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }
}

impl From<&ServerMessage> for Text {
    fn from(message: &ServerMessage) -> Self {
        Self(message.to_json().into())
    }
}

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer asked for it.
    Left,
    /// Its join was refused, or it spoke before joining.
    Refused,
    /// It sent a frame over the limit.
    TooLarge,
    /// What it sent is no WebSocket, or text that is not UTF-8.
    Malformed(Malformed),
    /// It went on sending more than its budget.
    Flooding,
    /// It did not take one byte for a while, or not the answers to its own questions.
    SlowConsumer,
    /// Another run of the same peer joined on another connection.
    Replaced,
    /// Another connection of the same peer and run has taken over.
    TakenOver,
    /// The server stops.
    GoingAway,
    /// Nothing came from it for two ping periods; it is dropped without a farewell.
    Silent,
}

/// How a connection broke the WebSocket protocol (RFC 6455 §7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A frame that the protocol does not allow.
    Frame,
    /// A text message that is not UTF-8.
    Text,
}

impl CloseReason {
    /// The reason that the others in the room receive.
    pub fn leave_reason(self) -> LeaveReason {
        match self {
            Self::Left => LeaveReason::Left,
            Self::Refused | Self::TooLarge | Self::Flooding | Self::Malformed(_) => {
                LeaveReason::Kicked
            }
            Self::Replaced => LeaveReason::Replaced,
            // Under `TakenOver` the room knows the peer by its other connection. A slow receiver
            // may come back, and its direct links are as good as before.
            Self::GoingAway | Self::Silent | Self::SlowConsumer | Self::TakenOver => {
                LeaveReason::Lost
            }
        }
    }
}

/// Whose metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Publisher {
    /// A member.
    Member(PeerId),
    /// The room itself.
    Room,
}

/// What a message or packet is for: what a [`SendQueue`](crate::SendQueue) may do with it when its
/// receiver is behind.
pub type Purpose = voicemesh_session::Purpose<Sender>;

/// Who sends something to another member. It is known by its peer id, so that another connection of
/// it is no other sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The member.
    pub peer: PeerId,
    /// Where its connection comes from, if that tells it from others: many peers of one address
    /// share a bound.
    pub address: Option<AddressTag>,
}

/// Where a room's output goes. Must not call back into the room.
pub trait RoomOutput {
    /// A signaling message to one connection, reliably and in order. False if it was not taken,
    /// which happens only to
    /// [`Purpose::From`]: too much of that sender waits for this receiver.
    fn text(&mut self, to: ConnectionId, message: &Text, purpose: Purpose) -> bool;
    /// A session packet to one connection. False as for [`text`](Self::text).
    fn packet(
        &mut self,
        to: ConnectionId,
        packet: Bytes,
        delivery: Delivery,
        purpose: Purpose,
    ) -> bool;
    /// What is published now, to one connection. A receiver that is behind may be sent it as it is
    /// when it is written ([`Part::Published`](crate::Part::Published)).
    fn published(&mut self, to: ConnectionId, _by: Publisher, message: &Text) {
        self.text(to, message, Purpose::Update);
    }
    /// A member arrives that may have been here before: of its former metadata this connection is
    /// sent no more ([`Part::Missed`](crate::Part::Missed)).
    fn arrives(&mut self, _to: ConnectionId, _peer: PeerId) {}
    /// If something waits for this connection, a snapshot ([`Room::refresh`](crate::Room::refresh))
    /// is made when that is written, in place of the updates that wait. False, and without effect,
    /// if nothing waits.
    fn defer_snapshot(&mut self, to: ConnectionId) -> bool;
    /// The answer to a ping, which need not wait until all that others send has been read.
    fn pong(&mut self, to: ConnectionId, message: &Text);
    /// An error that is sent.
    fn count_refusal(&mut self, code: &ErrorCode);
    /// Something was not passed on because its sender, or all of its address, sends this receiver
    /// too much.
    fn count_policed(&mut self);
    /// Another connection of the same peer takes over: what waits for `from` and is repeated by no
    /// snapshot goes to `to`.
    fn hand_over(&mut self, from: ConnectionId, to: ConnectionId);
    /// The connection ends once what was written to it before has been sent. The room has forgotten
    /// it already.
    fn close(&mut self, to: ConnectionId, reason: CloseReason);
}
