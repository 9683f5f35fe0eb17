//! The client side: one socket, one connection.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use renet::RenetClient;
use renet_netcode::{
    ClientAuthentication, ConnectToken, NetcodeClientTransport, NetcodeDisconnectReason,
    generate_random_bytes,
};
use voicemesh_session::network::{DisconnectReason, NetworkError, NetworkEvent};

use crate::parameters::{ClientParameters, PROTOCOL, RELIABLE, RenetPeer, UNRELIABLE};
use crate::socket_errors::SocketErrors;

/// For how long a token is good: long enough for clocks that are wrong by hours.
const TOKEN_SECONDS: u64 = 48 * 60 * 60;
/// Packets that one look takes; what is more waits for the next. A host passes on what all others
/// say.
const PACKETS_PER_LOOK: usize = 1024;

#[derive(Debug)]
pub(crate) struct ClientSide {
    transport: NetcodeClientTransport,
    connection: RenetClient,
    is_reported: bool,
    errors: SocketErrors,
}

impl ClientSide {
    /// # Errors
    ///
    /// In words for a person.
    pub(crate) fn new(parameters: &ClientParameters) -> Result<Self, String> {
        let Some(first) = parameters.servers.first() else {
            return Err("there is no address of the server to connect to".to_owned());
        };
        // One socket reaches one family of addresses.
        let servers: Vec<SocketAddr> = parameters
            .servers
            .iter()
            .copied()
            .filter(|server| server.is_ipv4() == first.is_ipv4())
            .collect();
        let any = if first.is_ipv4() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        } else {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        };
        let socket =
            UdpSocket::bind((any, 0)).map_err(|error| format!("no UDP socket: {error}"))?;
        let now = crate::connection::since_1970();
        let timeout = i32::try_from(parameters.timeout.as_secs().max(1)).unwrap_or(i32::MAX);
        let connect_token = ConnectToken::generate(
            now,
            PROTOCOL,
            TOKEN_SECONDS,
            u64::from_le_bytes(generate_random_bytes()),
            timeout,
            servers,
            None,
            &parameters.key,
        )
        .map_err(|error| format!("no connection can be asked for: {error}"))?;
        let transport = NetcodeClientTransport::new(
            now,
            ClientAuthentication::Secure { connect_token },
            socket,
        )
        .map_err(|error| format!("no connection can be asked for: {error}"))?;
        let connection = RenetClient::new(crate::connection::connection());
        Ok(Self { transport, connection, is_reported: false, errors: SocketErrors::default() })
    }

    /// Errors of the socket so far.
    pub(crate) fn socket_errors(&self) -> u64 {
        self.errors.count()
    }

    /// Takes what has arrived.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub(crate) fn look(
        &mut self,
        passed: Duration,
        events: &mut VecDeque<NetworkEvent<RenetPeer>>,
    ) -> Result<(), DisconnectReason> {
        self.connection.update(passed);
        // Netcode's clock goes on only after the socket was read without an error.
        let updated =
            self.errors.look(passed, || self.transport.update(passed, &mut self.connection));
        if !self.is_reported && self.connection.is_connected() {
            self.is_reported = true;
            events.push_back(NetworkEvent::Connected);
        }
        if self.is_reported {
            for _ in 0..PACKETS_PER_LOOK {
                let packet = crate::connection::next_packet(|| {
                    let reliable = self.connection.receive_message(RELIABLE);
                    reliable.or_else(|| self.connection.receive_message(UNRELIABLE))
                });
                let Some(packet) = packet else { break };
                if !crate::connection::is_too_large(&packet) {
                    events.push_back(NetworkEvent::FromServer(packet));
                }
            }
        }
        match (self.transport.disconnect_reason(), self.connection.disconnect_reason()) {
            (Some(reason), _) => Err(self.reason_of(reason)),
            (None, Some(reason)) => {
                self.transport.disconnect();
                Err(crate::connection::reason_of(reason))
            }
            (None, None) => updated.map_err(|error| match error {
                renet_netcode::NetcodeTransportError::IO(error) => {
                    DisconnectReason::Refused(error.to_string())
                }
                _ => DisconnectReason::Lost,
            }),
        }
    }

    fn reason_of(&self, reason: NetcodeDisconnectReason) -> DisconnectReason {
        match reason {
            NetcodeDisconnectReason::ConnectionDenied => {
                DisconnectReason::Refused("the host is full".to_owned())
            }
            // Netcode does not answer a token that it cannot decrypt.
            NetcodeDisconnectReason::ConnectionRequestTimedOut
            | NetcodeDisconnectReason::ConnectionResponseTimedOut
            | NetcodeDisconnectReason::ConnectTokenExpired => DisconnectReason::Refused(
                "no answer: the link may be old, the host gone, or a firewall between".to_owned(),
            ),
            NetcodeDisconnectReason::ConnectionTimedOut
            | NetcodeDisconnectReason::DisconnectedByServer
            | NetcodeDisconnectReason::DisconnectedByClient => DisconnectReason::Lost,
        }
    }

    pub(crate) fn send(&mut self, channel: u8, packet: Bytes) -> Result<(), NetworkError> {
        if !self.is_reported || !self.connection.is_connected() {
            return Err(NetworkError::NotConnected);
        }
        self.connection.send_message(channel, packet);
        if self.connection.is_disconnected() {
            Err(NetworkError::ReliabilityBroken)
        } else {
            Ok(())
        }
    }

    pub(crate) fn flush(&mut self) {
        if self.connection.is_connected() {
            // A connection that cannot send is found to be gone when it is next looked at.
            let _ = self.transport.send_packets(&mut self.connection);
        }
    }

    pub(crate) fn disconnect(&mut self) {
        self.flush();
        self.transport.disconnect();
    }
}
