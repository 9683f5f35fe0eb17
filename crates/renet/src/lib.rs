//! The session over [renet](https://docs.rs/renet) and netcode: UDP, a host and a port, encrypted with one key, no signaling.
//!
//! **Does.** [`RenetNetwork`] is an integration of [`Network`]: it owns the sockets, serves and connects. A host needs nothing
//! more: [`EngineOnNetwork::run_as_host`] keeps what server and own client send each other in the process.
//!
//! **Never does.** No thread and no async: it works in [`Network::poll`] and [`Network::flush`], which the engine calls. No datagram
//! leaves for every poll: acknowledgements wait for what is sent, at most 50 ms.
//!
//! [`EngineOnNetwork::run_as_host`]: https://docs.rs/voicemesh-engine

mod client;
mod server;
mod socket_errors;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use renet::{ChannelConfig, ConnectionConfig, SendType};
use voicemesh_session::network::{
    Delivery, DisconnectReason, Network, NetworkError, NetworkEvent, PacketLimits, Reliability, Side,
};

use client::ClientSide;
use server::ServerSide;

/// Bytes of a netcode key.
pub const KEY_BYTES: usize = renet_netcode::NETCODE_KEY_BYTES;

/// Tells this from other programs that speak netcode; a change of the channels changes it.
const PROTOCOL: u64 = 0x766d_7265_6e65_7401;
/// Speech and data. First, so that it has the room when there is little.
const UNRELIABLE: u8 = 0;
/// What must arrive in order.
const RELIABLE: u8 = 1;
/// A reliable packet without an acknowledgement is sent again after this. Zero would send it at every flush.
const RESEND_AFTER: Duration = Duration::from_millis(300);
/// Packets of speech and data that wait at one end of a connection, for a flush or for a poll. What is more is lost.
const UNRELIABLE_WAITING_BYTES: Waiting = Waiting { to_clients: 1024 * 1024, to_servers: 256 * 1024 };
/// Reliable packets that wait for their acknowledgement, or for a poll. To a client: the state of some 50,000 others. What is more
/// ends the connection.
const RELIABLE_WAITING_BYTES: Waiting = Waiting { to_clients: 8 * 1024 * 1024, to_servers: 2 * 1024 * 1024 };
/// The header that each packet of a session begins with: magic number and type.
const SHORTEST_PACKET_BYTES: usize = 3;
/// Between two flushes in which nothing new is sent: for acknowledgements, and for what is sent again. Each peer answers an
/// acknowledgement with one of its own, so that this is what two silent peers send. Well below [`RESEND_AFTER`].
const IDLE_FLUSH: Duration = Duration::from_millis(50);
/// What one flush sends to one peer at most.
const FLUSH_BYTES: u64 = 256 * 1024;

/// How a peer is known: netcode's client id, drawn at random for each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RenetPeer(pub u64);

/// Where to serve.
#[derive(Clone, Debug)]
pub struct ServerParameters {
    /// The address to bind, for example `0.0.0.0:7777`.
    pub listen: SocketAddr,
    /// The addresses by which clients may reach it: netcode refuses a client that was given none of these. Empty for the bound
    /// address alone.
    pub public: Vec<SocketAddr>,
    /// The secret that lets a client in.
    pub key: [u8; KEY_BYTES],
    /// Clients at one time, at most 1,024.
    pub clients: usize,
}

/// Where to join.
#[derive(Clone, Debug)]
pub struct ClientParameters {
    /// The server's addresses, at most 32; they are tried one after the other.
    pub servers: Vec<SocketAddr>,
    /// The server's secret.
    pub key: [u8; KEY_BYTES],
    /// How long each address is tried, and after how long a silence a connection is lost. Whole seconds, at least one.
    pub timeout: Duration,
}

/// One peer's way to the others.
#[derive(Debug, Default)]
pub struct RenetNetwork {
    client: Option<ClientSide>,
    server: Option<ServerSide>,
    events: VecDeque<NetworkEvent<RenetPeer>>,
    /// When the sockets were last looked at.
    looked_at: Duration,
    is_polling: bool,
    /// Something was sent since the last flush.
    is_queued: bool,
    flushed_at: Duration,
}

impl RenetNetwork {
    /// Without a socket yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The address at which it serves: with the port that the system has chosen, if it was bound to port 0.
    pub fn serves_at(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(ServerSide::address)
    }

    /// Errors of the sockets that are open now, since they were opened. Errors of single datagrams are skipped; others end a side
    /// only after five seconds of them.
    pub fn socket_errors(&self) -> u64 {
        let of_server = self.server.as_ref().map_or(0, ServerSide::socket_errors);
        of_server + self.client.as_ref().map_or(0, ClientSide::socket_errors)
    }

    fn send_queued(&mut self, now: Duration) {
        (self.is_queued, self.flushed_at) = (false, now);
        if let Some(server) = &mut self.server {
            server.flush();
        }
        if let Some(client) = &mut self.client {
            client.flush();
        }
    }

    fn look(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.looked_at);
        self.looked_at = now;
        if let Some(server) = &mut self.server
            && let Err(why) = server.look(passed, &mut self.events)
        {
            self.server = None;
            self.events.push_back(NetworkEvent::HostingFailed(why));
        }
        if let Some(client) = &mut self.client
            && let Err(reason) = client.look(passed, &mut self.events)
        {
            self.client = None;
            self.events.push_back(NetworkEvent::Disconnected(reason));
        }
    }
}

impl Network for RenetNetwork {
    type Peer = RenetPeer;
    type ClientParameters = ClientParameters;
    type ServerParameters = ServerParameters;

    fn connect(&mut self, now: Duration, parameters: ClientParameters) -> Result<(), NetworkError> {
        self.disconnect(now);
        if self.server.is_some() {
            return Err(NetworkError::Unsupported("join the server that it is itself; run as a host instead"));
        }
        self.looked_at = now;
        self.client = Some(ClientSide::new(&parameters).map_err(NetworkError::Failed)?);
        Ok(())
    }

    fn disconnect(&mut self, _now: Duration) {
        if let Some(mut client) = self.client.take() {
            client.disconnect();
        }
        self.events.retain(|event| event.side() == Side::Server);
    }

    fn host(&mut self, now: Duration, parameters: ServerParameters) -> Result<(), NetworkError> {
        self.stop_hosting(now);
        self.looked_at = now;
        self.server = Some(ServerSide::new(&parameters).map_err(NetworkError::Failed)?);
        self.events.push_back(NetworkEvent::Hosting);
        Ok(())
    }

    fn stop_hosting(&mut self, _now: Duration) {
        if let Some(mut server) = self.server.take() {
            server.stop();
        }
        self.events.retain(|event| event.side() != Side::Server);
    }

    fn poll(&mut self, now: Duration) -> Option<NetworkEvent<RenetPeer>> {
        if !self.is_polling {
            self.look(now);
        }
        let event = self.events.pop_front();
        self.is_polling = event.is_some();
        // What a caller without `flush` has sent, or acknowledgements.
        if event.is_none() && (self.is_queued || now.saturating_sub(self.flushed_at) >= IDLE_FLUSH) {
            self.send_queued(now);
        }
        event
    }

    fn send_to_server(&mut self, _now: Duration, reliability: Reliability, packet: Bytes) -> Result<(), NetworkError> {
        let channel = match reliability {
            Reliability::Reliable => RELIABLE,
            Reliability::Unreliable => UNRELIABLE,
        };
        self.is_queued = true;
        self.client.as_mut().ok_or(NetworkError::NotConnected)?.send(channel, packet)
    }

    fn send_to_client(
        &mut self,
        _now: Duration,
        to: RenetPeer,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        let channel = match delivery {
            Delivery::Reliable => RELIABLE,
            Delivery::Voice | Delivery::Data => UNRELIABLE,
        };
        self.is_queued = true;
        self.server.as_mut().ok_or(NetworkError::NotConnected)?.send(to, channel, packet)
    }

    fn flush(&mut self, now: Duration) {
        if self.is_queued {
            self.send_queued(now);
        }
    }
}

/// What may wait, by direction: a server has many clients, and any of them may be hostile.
struct Waiting {
    to_clients: usize,
    to_servers: usize,
}

fn connection() -> ConnectionConfig {
    let channel =
        |channel_id, max_memory_usage_bytes, send_type| ChannelConfig { channel_id, max_memory_usage_bytes, send_type };
    let channels = |bytes: fn(Waiting) -> usize| {
        vec![
            channel(UNRELIABLE, bytes(UNRELIABLE_WAITING_BYTES), SendType::Unreliable),
            channel(RELIABLE, bytes(RELIABLE_WAITING_BYTES), SendType::ReliableOrdered { resend_time: RESEND_AFTER }),
        ]
    };
    ConnectionConfig {
        available_bytes_per_tick: FLUSH_BYTES,
        server_channels_config: channels(|waiting| waiting.to_clients),
        client_channels_config: channels(|waiting| waiting.to_servers),
    }
}

/// Netcode's tokens are dated.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn is_too_large(packet: &Bytes) -> bool {
    packet.len() > PacketLimits::default().reliable_bytes
}

/// The next of the messages that `next` gives, without those that are too short for a packet. Those cost a sender one byte, and
/// nothing of the memory that bounds renet's queues: they are taken out at once, however many there are.
fn next_packet(next: impl FnMut() -> Option<Bytes>) -> Option<Bytes> {
    std::iter::from_fn(next).find(|message| message.len() >= SHORTEST_PACKET_BYTES)
}

/// Renet ends a connection on which something reliable is lost.
fn reason_of(renet: renet::DisconnectReason) -> DisconnectReason {
    match renet {
        renet::DisconnectReason::SendChannelError { .. } | renet::DisconnectReason::ReceiveChannelError { .. } => {
            DisconnectReason::ReliabilityBroken
        }
        _ => DisconnectReason::Lost,
    }
}
