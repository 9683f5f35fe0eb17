//! What a link to one peer takes and gives, whatever connection is under it.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::signaling::Signal;

/// Who describes the connection first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This side sends the offer as soon as the link is made.
    Offer,
    /// This side waits for an offer.
    Answer,
}

/// What a packet needs of the way it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Late is lost: never sent again, and the oldest gives way to the newest.
    Voice,
    /// Exact, complete, in order, as long as the link lives.
    Reliable,
    /// May be lost or overtaken.
    Unreliable,
}

/// What a link tells its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// To be handed to the remote's link.
    Signal(Signal),
    /// TURN servers were named, and none of them gave an address: they do not answer, or refuse the
    /// credentials. The link may still open without them.
    TurnFailed,
    /// Packets can be sent now.
    Open,
    /// The remote answered a keep-alive (RFC 7675), or the check by which the link opened: the way
    /// works in both directions. Follows [`LinkEvent::Open`] at once, then each few seconds.
    Answered {
        /// How long that took.
        round_trip: Duration,
        /// What IP, UDP and TURN add to a datagram beyond IPv4 and UDP, in bytes.
        further_header_bytes: u32,
    },
    /// The remote sent a packet.
    Received {
        /// What it was sent on.
        stream: Stream,
        /// The packet, as it was sent.
        packet: Bytes,
    },
    /// The link is no more. Always the last event, and always told once.
    Closed(CloseReason),
}

/// Why a link is no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// This side closed or dropped it.
    #[error("closed by this side")]
    Local,
    /// The remote closed it.
    #[error("closed by the remote")]
    Remote,
    /// It did not open in 15 s: the two networks have no way to each other, or the remote is gone.
    #[error("did not open in time")]
    OpenTimeout,
    /// It was open, and nothing came through any more.
    #[error("the way to the remote is lost")]
    Lost,
    /// The remote's description cannot be used.
    #[error("negotiation failed: {0}")]
    Negotiation(String),
    /// The remote did what the protocol forbids.
    #[error("the remote broke the protocol: {0}")]
    Misbehaved(&'static str),
    /// This machine could not make a connection: no socket, no address, a fault in the stack.
    #[error("this side failed: {0}")]
    Internal(String),
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkSendError {
    /// The link is still opening: use another route until [`LinkEvent::Open`].
    #[error("the link is not open yet")]
    NotOpen,
    /// The link is closing or closed: use another route.
    #[error("the link is closed")]
    Closed,
    /// Too much reliable data is waiting: try again later.
    #[error("too much reliable data is waiting")]
    Full,
    /// Never going to fit.
    #[error("the packet is larger than {limit} bytes")]
    TooLarge {
        /// The largest packet this stream takes.
        limit: usize,
    },
}
