//! The server side: one socket, a connection for each client.

use std::collections::{BTreeSet, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use renet::{RenetServer, ServerEvent};
use renet_netcode::{NetcodeServerTransport, ServerAuthentication, ServerConfig};
use voicemesh_session::network::{NetworkError, NetworkEvent};

use crate::parameters::{PROTOCOL, RELIABLE, RenetPeer, ServerParameters, UNRELIABLE};
use crate::socket_errors::SocketErrors;

/// Netcode's own limit.
const CLIENTS: usize = 1024;
/// Packets of one client that one look takes; what is more waits for the next, within the memory of
/// its channels. So a client that sends as fast as it can delays its own packets, and those of the
/// others by this at most.
const PACKETS_PER_LOOK: usize = 64;

#[derive(Debug)]
pub(crate) struct ServerSide {
    transport: NetcodeServerTransport,
    connections: RenetServer,
    address: SocketAddr,
    clients: BTreeSet<u64>,
    errors: SocketErrors,
}

impl ServerSide {
    /// # Errors
    ///
    /// In words for a person.
    pub(crate) fn new(parameters: &ServerParameters) -> Result<Self, String> {
        let listen = parameters.listen;
        let socket = UdpSocket::bind(listen)
            .map_err(|error| format!("cannot serve at {listen}: {error}"))?;
        let address =
            socket.local_addr().map_err(|error| format!("cannot serve at {listen}: {error}"))?;
        let public = &parameters.public;
        let config = ServerConfig {
            current_time: crate::connection::since_1970(),
            max_clients: parameters.clients.min(CLIENTS),
            protocol_id: PROTOCOL,
            public_addresses: if public.is_empty() { vec![address] } else { public.clone() },
            authentication: ServerAuthentication::Secure { private_key: parameters.key },
        };
        let transport = NetcodeServerTransport::new(config, socket)
            .map_err(|error| format!("cannot serve at {listen}: {error}"))?;
        let connections = RenetServer::new(crate::connection::connection());
        Ok(Self {
            transport,
            connections,
            address,
            clients: BTreeSet::new(),
            errors: SocketErrors::default(),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Errors of the socket so far.
    pub(crate) fn socket_errors(&self) -> u64 {
        self.errors.count()
    }

    /// Takes what has arrived.
    ///
    /// # Errors
    ///
    /// When the socket is of no more use.
    pub(crate) fn look(
        &mut self,
        passed: Duration,
        events: &mut VecDeque<NetworkEvent<RenetPeer>>,
    ) -> Result<(), String> {
        self.connections.update(passed);
        // Netcode's clock goes on before the socket is read, also when that fails.
        let mut step = passed;
        self.errors
            .look(passed, || {
                self.transport.update(std::mem::take(&mut step), &mut self.connections)
            })
            .map_err(|error| error.to_string())?;
        while let Some(event) = self.connections.get_event() {
            match event {
                ServerEvent::ClientConnected { client_id } => {
                    self.clients.insert(client_id);
                }
                ServerEvent::ClientDisconnected { client_id, .. } => {
                    if self.clients.remove(&client_id) {
                        events.push_back(NetworkEvent::ClientGone { peer: RenetPeer(client_id) });
                    }
                }
            }
        }
        for client in &self.clients {
            for _ in 0..PACKETS_PER_LOOK {
                let packet = crate::connection::next_packet(|| {
                    let reliable = self.connections.receive_message(*client, RELIABLE);
                    reliable.or_else(|| self.connections.receive_message(*client, UNRELIABLE))
                });
                let Some(packet) = packet else { break };
                if crate::connection::is_too_large(&packet) {
                    self.connections.disconnect(*client);
                    break;
                }
                events.push_back(NetworkEvent::FromClient { peer: RenetPeer(*client), packet });
            }
        }
        Ok(())
    }

    pub(crate) fn send(
        &mut self,
        to: RenetPeer,
        channel: u8,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        if !self.connections.is_connected(to.0) {
            return Err(NetworkError::NotConnected);
        }
        self.connections.send_message(to.0, channel, packet);
        if self.connections.is_connected(to.0) {
            Ok(())
        } else {
            Err(NetworkError::ReliabilityBroken)
        }
    }

    pub(crate) fn flush(&mut self) {
        self.transport.send_packets(&mut self.connections);
    }

    pub(crate) fn stop(&mut self) {
        self.flush();
        self.transport.disconnect_all(&mut self.connections);
    }
}
