//! The server side: one socket, a connection for each client.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use renet::RenetServer;
use renetcode::{NetcodeServer, ServerAuthentication, ServerConfig, ServerResult};
use voicemesh_session::network::{NetworkError, NetworkEvent};

use crate::connection::WAITING_OF_CLIENTS;
use crate::datagram::{
    is_challenge, is_request, is_well_formed, name_server, only_connects, open_request,
};
use crate::parameters::{KEY_BYTES, PROTOCOL, RenetPeer, ServerParameters};
use crate::payload::{PayloadCheck, Verdict};
use crate::requests::Requests;
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
    requests: Requests,
    key: [u8; KEY_BYTES],
    /// Of those that netcode takes, where the socket is on all addresses of this machine.
    named: Option<SocketAddr>,
}

#[derive(Debug, Default)]
struct Clients {
    /// Those who are connected, with what is known of their payloads.
    checks: BTreeMap<u64, PayloadCheck>,
    addresses: BTreeSet<SocketAddr>,
    /// Those who are gone since the last look, and what they sent before that was not taken yet.
    gone: Vec<(u64, Vec<Bytes>)>,
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
        let named = listen.ip().is_unspecified().then(|| config.public_addresses.first().copied());
        Ok(Self {
            named: named.flatten(),
            address,
            socket,
            netcode: NetcodeServer::new(config),
            connections: RenetServer::new(crate::connection::connection()),
            clients: Clients::default(),
            requests: Requests::default(),
            key: parameters.key,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Errors of the socket so far.
    pub(crate) fn socket_errors(&self) -> u64 {
        self.socket.error_count()
    }

    /// Time passes for what is sent.
    pub(crate) fn advance(&mut self, passed: Duration) {
        self.connections.update(passed);
        self.netcode.update(passed);
    }

    /// Takes what has arrived. Time has passed since the last look.
    ///
    /// # Errors
    ///
    /// When the socket is of no more use.
    pub(crate) fn look(
        &mut self,
        passed: Duration,
        events: &mut VecDeque<NetworkEvent<RenetPeer>>,
    ) -> Result<(), String> {
        self.receive(passed).map_err(|error| error.to_string())?;
        self.update_clients();
        // What renet says of clients was said to it by `handle`.
        while self.connections.get_event().is_some() {}
        for (client, packets) in self.clients.gone.drain(..) {
            let peer = RenetPeer(client);
            let last = packets.into_iter();
            events.extend(last.map(|packet| NetworkEvent::FromClient { peer, packet }));
            events.push_back(NetworkEvent::ClientGone { peer });
        }
        self.take_packets(events);
        Ok(())
    }

    fn receive(&mut self, passed: Duration) -> Result<(), std::io::Error> {
        let Self { socket, netcode, connections, clients, requests, key, named, .. } = self;
        let now = netcode.current_time();
        while let Some((from, request)) = requests.next_expired(now) {
            refuse(netcode, from, request);
        }
        let mut answers = Vec::new();
        let received = socket.receive(passed, |from, datagram| {
            if !is_well_formed(datagram)
                || only_connects(datagram) && clients.addresses.contains(&from)
            {
                return;
            }
            if !is_request(datagram) {
                let result = netcode.process_packet(from, datagram);
                if matches!(result, ServerResult::ClientConnected { .. }) {
                    requests.forget(from);
                }
                answers.extend(handle(result, connections, clients));
                return;
            }
            let request = open_request(datagram, key)
                .filter(|request| Requests::admits(now.as_secs(), request));
            let Some(request) = request else { return };
            if let Some(server) = named {
                name_server(datagram, key, *server);
            }
            while let Some((from, former)) = requests.next_replaced(from, &request) {
                refuse(netcode, from, former);
            }
            let copy = datagram.to_vec();
            let result = netcode.process_packet(from, datagram);
            if matches!(&result, ServerResult::PacketToSend { payload, .. } if is_challenge(payload))
            {
                requests.note(now, from, &request, &copy);
            }
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
        let of_renet = connections.disconnections_id();
        // A second connection under an id that netcode has taken for the same.
        let of_netcode = netcode.clients_id().into_iter();
        let unknown = of_netcode.filter(|client| !clients.checks.contains_key(client));
        for client in of_renet.into_iter().chain(unknown.collect::<Vec<_>>()) {
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

    /// The address of a client, without its port; of IPv6 the network.
    pub(crate) fn origin(&self, client: RenetPeer) -> Option<u64> {
        self.netcode.client_addr(client.0).map(|address| crate::requests::origin(address.ip()))
    }

    /// Ends one connection, with the next look.
    pub(crate) fn end(&mut self, client: RenetPeer) {
        self.connections.disconnect(client.0);
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

/// Netcode forgets a request that it keeps when it comes once more and there is no place for a
/// client. Who asked is sent nothing, and may ask again.
fn refuse(netcode: &mut NetcodeServer, from: SocketAddr, mut request: Box<[u8]>) {
    let clients = netcode.max_clients();
    netcode.set_max_clients(0);
    let _ = netcode.process_packet(from, &mut request);
    netcode.set_max_clients(clients);
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
            clients.addresses.insert(addr);
            // Netcode does not see that an id is in use when two requests of one address have it.
            match clients.checks.entry(client_id) {
                Entry::Occupied(_) => connections.disconnect(client_id),
                Entry::Vacant(entry) => {
                    connections.add_connection(client_id);
                    entry.insert(PayloadCheck::new(WAITING_OF_CLIENTS));
                }
            }
            Some((addr, payload.to_vec()))
        }
        ServerResult::ClientDisconnected { client_id, addr, payload } => {
            clients.addresses.remove(&addr);
            if let Some(mut check) = clients.checks.remove(&client_id) {
                // Who leaves may have written right before: as much as its channels hold.
                let next = || {
                    crate::connection::next_packet(&mut check, |channel| {
                        connections.receive_message(client_id, channel)
                    })
                };
                let last = std::iter::from_fn(next);
                let last = last.take_while(|packet| !crate::connection::is_too_large(packet));
                clients.gone.push((client_id, last.collect()));
            }
            connections.remove_connection(client_id);
            payload.map(|payload| (addr, payload.to_vec()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_connection_under_one_id_ends_the_first_and_keeps_its_checks() {
        let mut connections = RenetServer::new(crate::connection::connection());
        let mut clients = Clients::default();
        let address = "192.0.2.1:1".parse().unwrap();
        let mut connected = |clients: &mut Clients| {
            let (mut user_data, mut payload) = (Box::new([0; 256]), [7; 3]);
            user_data[0] = 1;
            let payload = &mut payload;
            let result =
                ServerResult::ClientConnected { client_id: 5, addr: address, user_data, payload };
            assert_eq!(handle(result, &mut connections, clients), Some((address, vec![7; 3])));
            connections.is_connected(5)
        };
        assert!(connected(&mut clients));
        clients.checks.get_mut(&5).unwrap().delivered();
        let before = format!("{:?}", clients.checks);
        assert!(!connected(&mut clients), "it is ended with the next update");
        assert_eq!(format!("{:?}", clients.checks), before);
    }
}
