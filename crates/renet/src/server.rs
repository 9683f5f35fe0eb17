//! The server side: one socket, a connection for each client.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use renet::RenetServer;
use renetcode::{NetcodeServer, ServerAuthentication, ServerConfig, ServerResult};
use voicemesh_session::network::{NetworkError, NetworkEvent};

use crate::parameters::{PROTOCOL, RenetPeer, ServerParameters};
use crate::payload::{PayloadCheck, Verdict};
use crate::socket::Socket;

/// Netcode's own limit.
const CLIENTS: usize = 1024;
/// Packets of one client that one look takes; what is more waits for the next, within the memory of
/// its channels. So a client that sends as fast as it can delays its own packets, and those of the
/// others by this at most.
const PACKETS_PER_LOOK: usize = 64;
/// A client says in its own token after how long a silence it is to be lost, and may say never.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct ServerSide {
    address: SocketAddr,
    socket: Socket,
    netcode: NetcodeServer,
    connections: RenetServer,
    clients: Clients,
}

#[derive(Debug, Default)]
struct Clients {
    /// Those who are connected, with what is known of their payloads.
    checks: BTreeMap<u64, PayloadCheck>,
    /// Those who are gone since the last look.
    gone: Vec<u64>,
}

impl ServerSide {
    /// # Errors
    ///
    /// In words for a person.
    pub(crate) fn new(parameters: &ServerParameters) -> Result<Self, String> {
        let listen = parameters.listen;
        let failed = |error| format!("cannot serve at {listen}: {error}");
        let socket = Socket::bind(listen).map_err(failed)?;
        let address = socket.address().map_err(failed)?;
        let public = &parameters.public;
        let config = ServerConfig {
            current_time: crate::connection::since_1970(),
            max_clients: parameters.clients.min(CLIENTS),
            protocol_id: PROTOCOL,
            public_addresses: if public.is_empty() { vec![address] } else { public.clone() },
            authentication: ServerAuthentication::Secure { private_key: parameters.key },
        };
        Ok(Self {
            address,
            socket,
            netcode: NetcodeServer::new(config),
            connections: RenetServer::new(crate::connection::connection()),
            clients: Clients::default(),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Errors of the socket so far.
    pub(crate) fn socket_errors(&self) -> u64 {
        self.socket.error_count()
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
        self.netcode.update(passed);
        self.receive(passed).map_err(|error| error.to_string())?;
        self.update_clients();
        // What renet says of clients was said to it by `handle`.
        while self.connections.get_event().is_some() {}
        let gone = self.clients.gone.drain(..).map(RenetPeer);
        events.extend(gone.map(|peer| NetworkEvent::ClientGone { peer }));
        self.take_packets(events);
        Ok(())
    }

    fn receive(&mut self, passed: Duration) -> Result<(), std::io::Error> {
        let Self { socket, netcode, connections, clients, .. } = self;
        let mut answers = Vec::new();
        let received = socket.receive(passed, |from, datagram| {
            let result = netcode.process_packet(from, datagram);
            answers.extend(handle(result, connections, clients));
        });
        for (to, datagram) in answers {
            socket.send(to, &datagram);
        }
        received
    }

    /// Those who are silent for too long, those whom renet has given up, and what netcode sends.
    fn update_clients(&mut self) {
        let Self { socket, netcode, connections, clients, .. } = self;
        for client in netcode.clients_id() {
            let silent_for = netcode.time_since_last_received_packet(client);
            if silent_for.is_some_and(|silent_for| silent_for > LONGEST_SILENCE) {
                connections.disconnect(client);
            }
            if let Some((to, datagram)) =
                handle(netcode.update_client(client), connections, clients)
            {
                socket.send(to, &datagram);
            }
        }
        for client in connections.disconnections_id() {
            if let Some((to, datagram)) = handle(netcode.disconnect(client), connections, clients) {
                socket.send(to, &datagram);
            }
        }
    }

    fn take_packets(&mut self, events: &mut VecDeque<NetworkEvent<RenetPeer>>) {
        let Self { connections, clients, .. } = self;
        for (client, check) in &mut clients.checks {
            for _ in 0..PACKETS_PER_LOOK {
                let next = crate::connection::next_packet(check, |channel| {
                    connections.receive_message(*client, channel)
                });
                let Some(packet) = next else { break };
                if crate::connection::is_too_large(&packet) {
                    connections.disconnect(*client);
                    break;
                }
                events.push_back(NetworkEvent::FromClient { peer: RenetPeer(*client), packet });
            }
        }
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
        let Self { socket, netcode, connections, .. } = self;
        for client in connections.clients_id() {
            for payload in connections.get_packets_to_send(client).unwrap_or_default() {
                if let Ok((to, datagram)) = netcode.generate_payload_packet(client, &payload) {
                    socket.send(to, datagram);
                }
            }
        }
    }

    pub(crate) fn stop(&mut self) {
        self.flush();
        let Self { socket, netcode, connections, clients, .. } = self;
        for client in netcode.clients_id() {
            if let Some((to, datagram)) = handle(netcode.disconnect(client), connections, clients) {
                socket.send(to, &datagram);
            }
        }
    }
}

/// Tells renet what netcode has found. What is to be sent, and where to.
fn handle(
    result: ServerResult<'_, '_>,
    connections: &mut RenetServer,
    clients: &mut Clients,
) -> Option<(SocketAddr, Vec<u8>)> {
    match result {
        ServerResult::None => None,
        ServerResult::PacketToSend { addr, payload } => Some((addr, payload.to_vec())),
        ServerResult::Payload { client_id, payload } => {
            match clients.checks.get_mut(&client_id)?.check(payload) {
                // Renet knows each of the clients.
                Verdict::Pass => drop(connections.process_packet_from(payload, client_id)),
                Verdict::Drop => {}
                Verdict::Violation => connections.disconnect(client_id),
            }
            None
        }
        ServerResult::ClientConnected { client_id, addr, payload, .. } => {
            connections.add_connection(client_id);
            clients.checks.insert(client_id, PayloadCheck::default());
            Some((addr, payload.to_vec()))
        }
        ServerResult::ClientDisconnected { client_id, addr, payload } => {
            connections.remove_connection(client_id);
            if clients.checks.remove(&client_id).is_some() {
                clients.gone.push(client_id);
            }
            payload.map(|payload| (addr, payload.to_vec()))
        }
    }
}
