//! The session over [renet](https://docs.rs/renet) and netcode: UDP, a host and a port, encrypted
//! with one key, no signaling.
//!
//! **Does.** [`RenetNetwork`] is an integration of [`Network`]: it owns the sockets, serves and
//! connects. A host needs nothing more: [`EngineOnNetwork::run_as_host`] keeps what server and own
//! client send each other in the process.
//!
//! **Never does.** No thread and no async: it works in [`Network::poll`] and [`Network::flush`],
//! which the engine calls. No datagram leaves for every poll: acknowledgements wait for what is
//! sent, at most 50 ms.
//!
//! [`EngineOnNetwork::run_as_host`]: https://docs.rs/voicemesh-engine

mod client;
mod connection;
mod datagram;
mod link;
mod parameters;
mod payload;
mod requests;
mod server;
mod socket;
mod socket_errors;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::network::{
    Delivery, Network, NetworkError, NetworkEvent, Reliability, Side,
};

pub use connection::{HOST_IS_FULL, NO_ANSWER};
pub use link::{HostKey, HostLink, LinkError, parse_place};
pub use parameters::{ClientParameters, KEY_BYTES, RenetPeer, ServerParameters};

use client::ClientSide;
use connection::IDLE_FLUSH;
use parameters::{RELIABLE, UNRELIABLE};
use server::ServerSide;

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

    /// The address at which it serves: with the port that the system has chosen, if it was bound to
    /// port 0.
    pub fn serves_at(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(ServerSide::address)
    }

    /// Errors of the sockets that are open now, since they were opened. Errors of single datagrams
    /// are skipped; others end a side only after five seconds of them.
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
        if let Some(server) = &mut self.server {
            server.advance(passed);
        }
        if let Some(client) = &mut self.client {
            client.advance(passed);
        }
        // What a caller without `flush` has sent, or acknowledgements.
        if self.is_queued || now.saturating_sub(self.flushed_at) >= IDLE_FLUSH {
            self.send_queued(now);
        }
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
            return Err(NetworkError::Unsupported(
                "join the server that it is itself; run as a host instead",
            ));
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

    fn origin(&self, client: RenetPeer) -> Option<u64> {
        self.server.as_ref()?.origin(client)
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
        event
    }

    fn send_to_server(
        &mut self,
        _now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
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

    fn end_client(&mut self, _now: Duration, client: RenetPeer) {
        if let Some(server) = &mut self.server {
            server.end(client);
        }
    }

    fn flush(&mut self, now: Duration) {
        if self.is_queued {
            self.send_queued(now);
        }
    }
}
