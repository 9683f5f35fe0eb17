//! What an engine wants its owner to do with the network.

use std::collections::VecDeque;

use bytes::Bytes;
use voicemesh_session::ServerOutput;
use voicemesh_session::network::Delivery;
use voicemesh_session::output::Output;
use voicemesh_wire::limits::GROUPS_PER_CLIENT;

/// Packets of a server that the owner has not taken, at most. It takes them after every call, and the call that makes most is a
/// handshake: a state of each client for the one that joins, that one's state for each of the others, and the groups that it is
/// refused. So only a fault fills the queue; what is more is dropped and counted.
const SERVER_PACKETS: usize = 2 * (1 << 16) + GROUPS_PER_CLIENT;

/// One thing to do, in the order in which they are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineOutput<P> {
    /// The session's client wants this. What links do not take comes back by
    /// [`VoiceEngine::refused`](crate::VoiceEngine::refused).
    Client(Output<P>),
    /// The session's server sends a packet to one connection. One that cannot take it is about to be reported gone.
    ToClient {
        /// The connection.
        to: P,
        /// What it is, for a queue that must drop something.
        delivery: Delivery,
        /// The packet.
        packet: Bytes,
    },
}

/// The queue of one server.
#[derive(Debug)]
pub(crate) struct ServerPackets<P> {
    queue: VecDeque<EngineOutput<P>>,
    dropped: u64,
}

impl<P> Default for ServerPackets<P> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), dropped: 0 }
    }
}

impl<P> ServerPackets<P> {
    pub(crate) fn poll(&mut self) -> Option<EngineOutput<P>> {
        self.queue.pop_front()
    }

    /// How many were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl<P> ServerOutput<P> for ServerPackets<P> {
    fn send(&mut self, to: P, packet: Bytes, delivery: Delivery) {
        if self.queue.len() < SERVER_PACKETS {
            self.queue.push_back(EngineOutput::ToClient { to, delivery, packet });
        } else {
            self.dropped += 1;
        }
    }
}
