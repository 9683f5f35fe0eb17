//! What one peer of a room is to this one.

use bytes::Bytes;
use voicemesh_session::network::Reliability;

use crate::ledger::{SendLedger, cost};

/// Frames for a peer that matchbox_socket has not reported yet. More are lost: a peer that speaks
/// before that has few things to be answered.
const HELD_FRAMES: usize = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has not greeted yet.
    #[default]
    Stranger,
    /// It hosts, or wants to.
    Host,
    /// At a client: the host that has welcomed it.
    Server,
    Client,
    /// At a host: a client that was welcomed.
    Welcomed,
    /// What it sends has no effect until its connection is gone: matchbox_socket cannot end one.
    Ended,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LinkState {
    #[default]
    Closed,
    /// The other end was asked to open one.
    Asked,
    /// The other end was sent the generation.
    Opening,
    /// The other end has sent the generation before this one was welcomed by its host.
    Offered,
    Up,
}

/// The link to another client: one at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) state: LinkState,
    /// Of the newest link there was.
    pub(crate) generation: u32,
}

impl Link {
    pub(crate) fn is_up(&self, generation: u32) -> bool {
        self.state == LinkState::Up && self.generation == generation
    }
}

#[derive(Debug, Default)]
pub(crate) struct Peer {
    pub(crate) standing: Standing,
    pub(crate) link: Link,
    pub(crate) ledger: SendLedger,
    /// matchbox_socket takes packets for it. The first of its packets may come before that.
    pub(crate) is_open: bool,
    /// It has sent something, so that what it is sent arrives: what came before its data channels
    /// were open is lost there, even if it is reliable.
    pub(crate) is_heard: bool,
    held: Vec<Bytes>,
    waiting_reliable: u64,
    waiting_unreliable: u64,
}

impl Peer {
    /// Keeps a reliable frame until the peer is open.
    pub(crate) fn hold(&mut self, frame: Bytes) {
        if self.held.len() < HELD_FRAMES {
            self.held.push(frame);
        }
    }

    pub(crate) fn opened(&mut self) -> Vec<Bytes> {
        self.is_open = true;
        std::mem::take(&mut self.held)
    }

    /// Counts what waits for a poll. False if it would be more than `limit`.
    pub(crate) fn try_wait(&mut self, how: Reliability, bytes: usize, limit: u64) -> bool {
        let waiting = self.waiting(how);
        let has_room = *waiting + cost(bytes) <= limit;
        if has_room {
            *waiting += cost(bytes);
        }
        has_room
    }

    pub(crate) fn polled(&mut self, how: Reliability, bytes: usize) {
        let waiting = self.waiting(how);
        *waiting = waiting.saturating_sub(cost(bytes));
    }

    fn waiting(&mut self, how: Reliability) -> &mut u64 {
        match how {
            Reliability::Reliable => &mut self.waiting_reliable,
            Reliability::Unreliable => &mut self.waiting_unreliable,
        }
    }
}
