//! The game's own bytes between two peers: exact, complete and in order over every change of route,
//! or lossy and at once (PROTOCOL.md, section 16).
//!
//! A [`Pipe`] is one end of what two peers have open between them. It is handed packets and the
//! time, and says which packets to send; how they travel, over a link or through the relay, is the
//! [`client`](crate::client)'s matter, and so every packet may be lost, doubled or overtaken on the
//! way. What must arrive is numbered in segments, acknowledged one by one and sent again by the
//! pipe itself, never by the stream that carries it: a stream that repeats what was lost would hold
//! up everything behind it, speech included, and would forget it when the link breaks.
//!
//! ```text
//! send ─▶ queue ─▶ segments in flight ──────── packets ────────▶ in order ─▶ messages ─▶ poll
//!                  ◀── acknowledged, room left ── DataAck ──
//! ```
//!
//! Bounds: [`QUEUE_BYTES`] to be sent, [`FLIGHT_SEGMENTS`] on the way, [`HELD_SEGMENTS`] received
//! and not taken.

mod congestion;
mod pipe;
mod receiving;
mod sending;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::limits::{RELIABLE_DATA_BYTES, UNRELIABLE_DATA_BYTES};

pub use pipe::{Incoming, Outgoing, Pipe, PipeEvent, Violation};

use crate::transport::Reliability;

/// Bytes that wait to be sent to one peer or to be acknowledged by it; what is more is refused with
/// [`DataError::WouldBlock`]. Each message counts [`MESSAGE_COST`] more than its bytes. The largest
/// message always fits into an empty queue.
pub const QUEUE_BYTES: usize = 1024 * 1024;
/// What a message costs beside its bytes.
pub const MESSAGE_COST: usize = 64;
/// Segments on their way to one peer: as many as one acknowledgement can tell of.
pub const FLIGHT_SEGMENTS: usize = 64;
/// Segments of one peer that were received and not taken by the program; acknowledgements tell the
/// sender how many more have room, and what comes beyond that is dropped and asked for again. Twice
/// the largest message.
pub const HELD_SEGMENTS: usize = 600;
/// Lossy messages of one peer that were received and not taken; beyond it the oldest is dropped and
/// counted.
pub const HELD_LOSSY: usize = 128;
/// Lossy messages that wait for the other side to open their channel; beyond it the oldest is
/// dropped and counted.
pub const WAITING_LOSSY: usize = 32;

/// Data cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// So much waits for that peer already; try again when less does.
    #[error("{queued_bytes} bytes wait already")]
    WouldBlock {
        /// What waits.
        queued_bytes: usize,
    },
    /// It will never fit.
    #[error("a message of this kind can have at most {limit} bytes")]
    TooLarge {
        /// The largest.
        limit: usize,
    },
    /// The server does not permit this client to send data.
    #[error("this client may not send data in this room")]
    NotPermitted,
    /// This side has not opened the channel.
    #[error("the channel is not open")]
    ChannelClosed,
    /// This side opened the channel in one way and the other side in another; close it, and open it
    /// alike.
    #[error("the other side opened the channel as {theirs:?}")]
    ChannelMismatch {
        /// As what.
        theirs: Reliability,
    },
}

/// The most that a message of a kind can have.
pub fn message_limit(reliability: Reliability) -> usize {
    match reliability {
        Reliability::Reliable => RELIABLE_DATA_BYTES,
        Reliability::Unreliable => UNRELIABLE_DATA_BYTES,
    }
}

fn check_size(reliability: Reliability, bytes: &Bytes) -> Result<(), DataError> {
    let limit = message_limit(reliability);
    if bytes.len() > limit { Err(DataError::TooLarge { limit }) } else { Ok(()) }
}

/// The earlier of two moments, of which either may not come.
fn earlier(first: Option<Duration>, second: Option<Duration>) -> Option<Duration> {
    match (first, second) {
        (Some(first), Some(second)) => Some(first.min(second)),
        (one, None) | (None, one) => one,
    }
}
