//! The seam between the session and whatever carries its packets (the custom network of
//! Dissonance's public networking documentation).

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;

use crate::client::Client;
use crate::output::{LinkPacket, Output};
use crate::roster::ServerHealth;

pub use crate::network_event::{NetworkEvent, Side};
pub use crate::transport::{
    ClientLookup, Delivery, Destination, DisconnectReason, LinkId, PacketLimits, Reliability,
};

/// A call could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// This network cannot do that, ever.
    #[error("this network cannot {0}")]
    Unsupported(&'static str),
    /// There is no connection to send on. For a reliable packet that ends the session.
    #[error("not connected")]
    NotConnected,
    /// A reliable packet cannot be kept. Ends the session.
    #[error("a reliable packet was lost")]
    ReliabilityBroken,
    /// Anything else, in words for a person.
    #[error("{0}")]
    Failed(String),
}

/// A network that does not say when it is to be polled is polled this often.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Whatever carries packets between peers and the session server.
///
/// `connect` and `host` only begin; an event reports success, however long it takes. Nothing
/// blocks. All calls come from one thread, `poll` until it gives `None` once per update.
///
/// A peer that is server and client at once (a host) needs nothing for it: what its server and its
/// client send each other stays in the process, and the network is asked to `host`, never to
/// `connect`.
pub trait Network {
    /// Any small value by which this network knows a peer.
    type Peer: Copy + Ord + Debug;
    /// What it takes to join as a client.
    type ClientParameters;
    /// What it takes to serve.
    type ServerParameters;

    /// Called once, before anything else.
    fn initialise(&mut self) {}

    /// The largest packets carried.
    fn limits(&self) -> PacketLimits {
        PacketLimits::default()
    }

    /// Begins to connect to a server.
    fn connect(
        &mut self,
        now: Duration,
        parameters: Self::ClientParameters,
    ) -> Result<(), NetworkError>;

    /// Ends the client side, links included. Harmless when there is none.
    fn disconnect(&mut self, now: Duration);

    /// Begins to serve.
    fn host(
        &mut self,
        now: Duration,
        parameters: Self::ServerParameters,
    ) -> Result<(), NetworkError>;

    /// Ends the server side. Harmless when there is none.
    fn stop_hosting(&mut self, now: Duration);

    /// The next thing that happened.
    fn poll(&mut self, now: Duration) -> Option<NetworkEvent<Self::Peer>>;

    /// When [`poll`](Self::poll) is to be called next: at once if that has passed. A network that
    /// wakes the thread that polls it (by [`unpark`](std::thread::Thread::unpark)) when something
    /// has arrived gives the next moment at which it has to do something by itself, or `None`.
    /// Others are polled every 5 ms.
    fn poll_timeout(&self, now: Duration) -> Option<Duration> {
        Some(now + POLL_INTERVAL)
    }

    /// Client side: a packet to the server.
    fn send_to_server(
        &mut self,
        now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError>;

    /// Server side: a packet to one connection.
    fn send_to_client(
        &mut self,
        now: Duration,
        to: Self::Peer,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError>;

    /// Server side: ends one connection, which takes less than it is sent or sends more than its
    /// budget ([`DropReason::Flooding`](crate::server::DropReason)). Its client loses it;
    /// [`NetworkEvent::ClientGone`] may follow here. What a network that cannot end connections
    /// goes on to report of it has no effect.
    fn end_client(&mut self, _now: Duration, _client: Self::Peer) {}

    /// Sends to as many destinations as can be reached directly and removes those from the list;
    /// the caller relays to the rest.
    fn send_to_links(
        &mut self,
        _now: Duration,
        _destinations: &mut Vec<Destination<Self::Peer>>,
        _reliability: Reliability,
        _packet: &Bytes,
    ) {
    }

    /// What was sent since the last flush should leave now: one comes after all that a call wants
    /// sent. For networks that collect packets; what they collect must leave by the next round of
    /// `poll` at the latest.
    fn flush(&mut self, _now: Duration) {}

    /// What the connections of one person have in common, as far as this network knows: a number made
    /// of the address, or of an account. By it the server's budget outlives a connection. `None`:
    /// each connection begins with a full one.
    fn origin(&self, _client: Self::Peer) -> Option<u64> {
        None
    }

    /// Whether packets come and go only while the owner of this network works, as a game does in its
    /// frames. Such an owner must not wait for a client that leaves, and the client then does not
    /// wait for keys on their way.
    fn needs_its_owner(&self) -> bool {
        false
    }

    /// Whether the server passes on what it is sent.
    fn server_health(&self) -> ServerHealth {
        ServerHealth::UNKNOWN
    }

    /// Nothing comes back on this link, and its traffic moves to the relay: a good moment to ask
    /// whether the server answers.
    fn link_stalled(&mut self, _now: Duration, _link: LinkId<Self::Peer>) {}

    /// Client side: sends a ping to the server behind all voice that was sent to it before, so that
    /// its answer tells how long that took: [`NetworkEvent::ServerPong`] with this number. A network
    /// without pings sends `probe`, which the session's server answers by a packet.
    fn ping_server(&mut self, now: Duration, _number: u16, probe: Bytes) {
        // What is lost is not answered, and that tells the same.
        let _ = self.send_to_server(now, Reliability::Unreliable, probe);
    }

    /// What this side put on the wire so far for other things than packets, in bytes: setting links
    /// up, above all. The estimate of the uplink takes it into account. Zero where that is not
    /// counted.
    fn background_bytes(&self) -> u64 {
        0
    }

    /// Client side: what the headers of a packet to the server take beyond those of a WebSocket on
    /// IPv4 without TLS, in bytes. Zero where that is not known.
    fn server_header_bytes(&self) -> u32 {
        0
    }

    /// The session uses another link to this peer now; this one may be closed.
    fn release_link(&mut self, _now: Duration, _link: LinkId<Self::Peer>) {}

    /// Nothing has come through this link for a while though something should have: replace it.
    fn replace_link(&mut self, _now: Duration, _link: LinkId<Self::Peer>) {}
}

/// What a client must be handed back of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal<P> {
    /// Links did not take the packet: [`Client::refused`].
    Links(LinkPacket<P>),
    /// A reliable packet to the server cannot be kept, and the network is disconnected:
    /// [`NetworkEvent::Disconnected`] with [`DisconnectReason::ReliabilityBroken`].
    Server,
}

/// Does one thing that a client wants of its network. Gives what that refuses.
pub fn perform<N: Network>(
    now: Duration,
    output: Output<N::Peer>,
    network: &mut N,
) -> Option<Refusal<N::Peer>> {
    match output {
        Output::ToServer { reliability, packet } => {
            let sent = network.send_to_server(now, reliability, packet);
            // Late voice is worthless: what the network cannot take is lost. Without a reliable
            // packet the session ends.
            if sent.is_err() && reliability == Reliability::Reliable {
                network.disconnect(now);
                return Some(Refusal::Server);
            }
        }
        Output::ToLinks(mut packet) => {
            network.send_to_links(now, &mut packet.to, packet.reliability, &packet.packet);
            if !packet.to.is_empty() {
                return Some(Refusal::Links(packet));
            }
        }
        Output::PingServer { number, probe } => network.ping_server(now, number, probe),
        Output::ReleaseLink(link) => network.release_link(now, link),
        Output::ReplaceLink(link) => network.replace_link(now, link),
        Output::LinkStalled(link) => network.link_stalled(now, link),
    }
    None
}

/// Does all that a client wants of its network, and hands it back what that refuses. Call it after
/// every call to the client.
pub fn carry_out<N: Network>(now: Duration, client: &mut Client<N::Peer>, network: &mut N) {
    while let Some(output) = client.poll_output() {
        match perform(now, output, network) {
            None => {}
            Some(Refusal::Links(packet)) => client.refused(now, packet),
            Some(Refusal::Server) => {
                client.network_event(
                    now,
                    NetworkEvent::Disconnected(DisconnectReason::ReliabilityBroken),
                );
            }
        }
    }
}
