//! What an engine wants its owner to do with the network.

use bytes::Bytes;
use voicemesh_session::network::Delivery;
use voicemesh_session::output::Output;

/// One thing to do, in the order in which they are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineOutput<P> {
    /// The session's client wants this. What links do not take comes back by
    /// [`VoiceEngine::refused`](crate::VoiceEngine::refused).
    Client(Output<P>),
    /// The session's server sends a packet to one connection. One that cannot take it is about to
    /// be reported gone.
    ToClient {
        /// The connection.
        to: P,
        /// What it is, for a queue that must drop something.
        delivery: Delivery,
        /// The packet.
        packet: Bytes,
    },
    /// The session's server ends one connection ([`EngineEvent::ClientEnded`](crate::EngineEvent)
    /// says why).
    EndClient {
        /// The connection.
        to: P,
    },
}
