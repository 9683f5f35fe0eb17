//! A mesh together with what carries its bytes, as the network of a session.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_sealing::Outgoing;
use voicemesh_session::ServerHealth;
use voicemesh_session::network::{
    Delivery, Destination, Network, NetworkError, NetworkEvent, PacketLimits, Reliability,
};
use voicemesh_wire::PeerId;
use voicemesh_wire::packet::{self, Kind};
use voicemesh_wire::signaling::{IceServer, Signal};

use crate::link::{LinkSendError, Role, Stream};
use crate::{CarrierEvent, Mesh, MeshLink, MeshOutput};

/// What moves a mesh's bytes. Nothing blocks; [`CarrierEvent`]s report what happens later.
pub trait Carrier {
    /// Opens a WebSocket to the server, beside those that are open. The number, never used twice,
    /// marks its events.
    fn open_socket(&mut self, generation: u32);
    /// Closes one. No event follows; what it was given before is still sent, if that can be.
    fn close_socket(&mut self, generation: u32);
    /// Sends a text frame on one.
    fn send_text(&mut self, generation: u32, text: String);
    /// Sends a binary frame on one. What must arrive and does not fit into the queue ends the
    /// socket, with an event.
    fn send_packet(&mut self, generation: u32, reliability: Reliability, packet: Bytes);
    /// Sends a WebSocket ping on one, behind all voice that was given before it;
    /// [`Pong`](crate::SocketEvent::Pong) is its answer.
    fn ping(&mut self, generation: u32, number: u16);
    /// Opens a link.
    fn open_link(&mut self, link: MeshLink, role: Role, ice_servers: &[IceServer]);
    /// Hands the remote's word to a link.
    fn signal(&mut self, link: MeshLink, signal: Signal);
    /// Sends a packet on a link.
    ///
    /// # Errors
    ///
    /// When the link did not take it.
    fn send_link(
        &mut self,
        link: MeshLink,
        stream: Stream,
        packet: Bytes,
    ) -> Result<(), LinkSendError>;
    /// Sends a packet that measures the way, over the unreliable stream, in a datagram that holds
    /// no other message.
    ///
    /// # Errors
    ///
    /// When the link did not take it.
    fn send_probe(&mut self, link: MeshLink, packet: Bytes) -> Result<(), LinkSendError> {
        self.send_link(link, Stream::Unreliable, packet)
    }
    /// Closes a link. Its last event may still follow.
    fn close_link(&mut self, link: MeshLink);
    /// What was put on the wire so far for other things than packets, in bytes: texts, and what
    /// opening links send. Zero where that is not counted.
    fn background_bytes(&self) -> u64 {
        0
    }
    /// What IPv6 and TLS add to a packet to the server, in bytes. Zero where that is not known.
    fn server_header_bytes(&self) -> u32 {
        0
    }
}

/// A mesh and its carrier.
#[derive(Debug)]
pub struct Carried<C> {
    /// Decides. What it wants done is done with the next call to the network, at the latest with
    /// [`poll`](Network::poll).
    pub mesh: Mesh,
    /// Moves its bytes.
    pub carrier: C,
}

impl<C: Carrier> Carried<C> {
    /// Both together.
    pub fn new(mesh: Mesh, carrier: C) -> Self {
        Self { mesh, carrier }
    }

    /// Hands the mesh what the carrier saw, and does what it wants done.
    pub fn handle(&mut self, now: Duration, event: CarrierEvent) {
        self.mesh.handle(now, event);
        self.carry_out();
    }

    /// Does what the mesh wants done.
    fn carry_out(&mut self) {
        while let Some(output) = self.mesh.poll_output() {
            let carrier = &mut self.carrier;
            match output {
                MeshOutput::OpenSocket { generation } => carrier.open_socket(generation),
                MeshOutput::CloseSocket { generation } => carrier.close_socket(generation),
                MeshOutput::SendText { generation, text } => carrier.send_text(generation, text),
                MeshOutput::SendPacket { generation, reliability, packet } => {
                    carrier.send_packet(generation, reliability, packet);
                }
                MeshOutput::Ping { generation, number } => carrier.ping(generation, number),
                MeshOutput::OpenLink { link, role, ice_servers } => {
                    carrier.open_link(link, role, &ice_servers)
                }
                MeshOutput::Signal { link, signal } => carrier.signal(link, signal),
                MeshOutput::SendLink { link, packet } => {
                    // Keys that do not arrive are asked for.
                    let _ = carrier.send_link(link, Stream::Reliable, packet);
                }
                MeshOutput::CloseLink { link } => carrier.close_link(link),
            }
        }
    }
}

impl<C: Carrier> Network for Carried<C> {
    type Peer = PeerId;
    type ClientParameters = ();
    /// A mesh cannot host: the signaling server does.
    type ServerParameters = Infallible;

    fn limits(&self) -> PacketLimits {
        self.mesh.limits()
    }

    fn connect(&mut self, now: Duration, (): ()) -> Result<(), NetworkError> {
        self.mesh.connect(now);
        self.carry_out();
        Ok(())
    }

    fn disconnect(&mut self, now: Duration) {
        self.mesh.leave(now);
        self.carry_out();
    }

    fn host(&mut self, _now: Duration, parameters: Infallible) -> Result<(), NetworkError> {
        match parameters {}
    }

    fn stop_hosting(&mut self, _now: Duration) {}

    fn poll(&mut self, now: Duration) -> Option<NetworkEvent<PeerId>> {
        // Sooner than it asks for changes nothing.
        self.mesh.update(now);
        let event = self.mesh.poll_network_event();
        self.carry_out();
        event
    }

    /// What the carrier sees is handed over by [`handle`](Self::handle), after which the owner polls.
    fn poll_timeout(&self, _now: Duration) -> Option<Duration> {
        self.mesh.poll_timeout()
    }

    fn send_to_server(
        &mut self,
        now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        self.mesh.send_to_server(now, reliability, packet);
        self.carry_out();
        Ok(())
    }

    fn send_to_client(
        &mut self,
        _: Duration,
        _: PeerId,
        _: Delivery,
        _: Bytes,
    ) -> Result<(), NetworkError> {
        Err(NetworkError::Unsupported("serve: the signaling server does"))
    }

    fn send_to_links(
        &mut self,
        now: Duration,
        destinations: &mut Vec<Destination<PeerId>>,
        reliability: Reliability,
        packet: &Bytes,
    ) {
        let kind = packet::open(packet).ok().map(|(header, _)| header.kind);
        let is_probe = kind == Some(Kind::BandwidthProbe);
        let stream = match reliability {
            Reliability::Reliable => Stream::Reliable,
            Reliability::Unreliable if kind.is_some_and(Kind::is_voice) => Stream::Voice,
            Reliability::Unreliable => Stream::Unreliable,
        };
        let mut outgoing = Outgoing::new(packet);
        destinations.retain(|to| {
            let Some(packet) = self.mesh.seal_for_link(now, &mut outgoing, to.link.peer) else {
                return false;
            };
            let sent = match is_probe {
                true => self.carrier.send_probe(to.link, packet),
                false => self.carrier.send_link(to.link, stream, packet),
            };
            sent.is_err()
        });
    }

    fn server_health(&self) -> ServerHealth {
        self.mesh.server_health()
    }

    fn background_bytes(&self) -> u64 {
        self.carrier.background_bytes()
    }

    fn server_header_bytes(&self) -> u32 {
        self.carrier.server_header_bytes() + self.mesh.sealing_bytes()
    }

    fn link_stalled(&mut self, now: Duration, _link: MeshLink) {
        self.mesh.link_stalled(now);
        self.carry_out();
    }

    fn ping_server(&mut self, _now: Duration, number: u16, _probe: Bytes) {
        self.mesh.ping_server(number);
        self.carry_out();
    }

    fn release_link(&mut self, now: Duration, link: MeshLink) {
        self.mesh.release_link(now, link);
        self.carry_out();
    }

    fn replace_link(&mut self, now: Duration, link: MeshLink) {
        self.mesh.replace_link(now, link);
        self.carry_out();
    }
}
