//! What a room does to the outside: texts, packets, ends of connections.

use bytes::Bytes;
use voicemesh_session::Delivery;
use voicemesh_wire::signaling::{LeaveReason, ServerMessage};

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
    /// It went on sending more than its budget.
    Flooding,
    /// It takes less than it is sent.
    SlowConsumer,
    /// Another run of the same peer joined on another connection.
    Replaced,
    /// Another connection of the same peer and run has taken over.
    TakenOver,
    /// The server stops.
    GoingAway,
    /// Nothing was heard of it for two ping periods; nobody is there to say goodbye to.
    Silent,
}

impl CloseReason {
    /// What the others in the room are told.
    pub fn leave_reason(self) -> LeaveReason {
        match self {
            Self::Left => LeaveReason::Left,
            Self::Refused | Self::TooLarge | Self::Flooding | Self::SlowConsumer => LeaveReason::Kicked,
            Self::Replaced => LeaveReason::Replaced,
            // The room knows the peer under its other connection.
            Self::GoingAway | Self::Silent | Self::TakenOver => LeaveReason::Lost,
        }
    }
}

/// Where a room's output goes. Must not call back into the room.
pub trait Outbox {
    /// A signaling message to one connection, reliably and in order.
    fn text(&mut self, to: ConnectionId, message: &Text);
    /// A session packet to one connection.
    fn packet(&mut self, to: ConnectionId, packet: Bytes, delivery: Delivery);
    /// So much waits for this connection already that it should get nothing that another peer alone decides about.
    fn is_congested(&self, to: ConnectionId) -> bool;
    /// Another connection of the same peer takes over: what waits for `from` and is repeated by no snapshot goes to `to`.
    fn hand_over(&mut self, from: ConnectionId, to: ConnectionId);
    /// The connection ends once what was written to it before has been sent. The room has forgotten it already.
    fn close(&mut self, to: ConnectionId, reason: CloseReason);
}
