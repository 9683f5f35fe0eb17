//! The client side: one socket, one connection.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use renet::RenetClient;
use renetcode::{
    ClientAuthentication, ConnectToken, DisconnectReason as NetcodeReason, NetcodeClient,
    generate_random_bytes,
};
use voicemesh_session::network::{DisconnectReason, NetworkError, NetworkEvent};

use crate::connection::{HOST_IS_FULL, NO_ANSWER, WAITING_OF_SERVER};
use crate::datagram::is_well_formed;
use crate::parameters::{ClientParameters, PROTOCOL, RenetPeer, TOKEN_SECONDS};
use crate::payload::{PayloadCheck, Verdict};
use crate::socket::Socket;

/// Packets that one look takes; what is more waits for the next. A host passes on what all others
/// say.
const PACKETS_PER_LOOK: usize = 1024;

/// An address is given up when the system has said so often that no program listens there. Netcode
/// asks ten times a second; machines answer that no more than once a second.
const REFUSALS: u32 = 3;

#[derive(Debug)]
pub(crate) struct ClientSide {
    parameters: ClientParameters,
    socket: Socket,
    netcode: NetcodeClient,
    connection: RenetClient,
    check: PayloadCheck,
    is_reported: bool,
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
        let is_reached = |server: &SocketAddr| server.is_ipv4() == first.is_ipv4();
        let any = if first.is_ipv4() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        } else {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        };
        let socket = Socket::bind(SocketAddr::from((any, 0)))
            .map_err(|error| format!("no UDP socket: {error}"))?;
        let mut parameters = parameters.clone();
        parameters.servers.retain(is_reached);
        let netcode = ask(&parameters)?;
        let connection = RenetClient::new(crate::connection::connection());
        let check = PayloadCheck::new(WAITING_OF_SERVER);
        Ok(Self { parameters, socket, netcode, connection, check, is_reported: false })
    }

    /// Errors of the socket so far.
    pub(crate) fn socket_errors(&self) -> u64 {
        self.socket.error_count()
    }

    /// Time passes for what is sent.
    pub(crate) fn advance(&mut self, passed: Duration) {
        self.connection.update(passed);
    }

    /// Takes what has arrived. Time has passed since the last look.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub(crate) fn look(
        &mut self,
        passed: Duration,
        events: &mut VecDeque<NetworkEvent<RenetPeer>>,
    ) -> Result<(), DisconnectReason> {
        let received = self.receive(passed);
        self.give_up_where_no_program_listens()?;
        if let Some((datagram, server)) = self.netcode.update(passed) {
            self.socket.connect(server);
            self.socket.send(server, datagram);
        }
        if self.netcode.is_connected() {
            self.connection.set_connected();
            if !self.is_reported {
                self.is_reported = true;
                events.push_back(NetworkEvent::Connected);
            }
        }
        if self.is_reported {
            self.take_packets(events);
        }
        if let Some(reason) = self.netcode.disconnect_reason() {
            return Err(reason_of(reason));
        }
        if let Some(reason) = self.connection.disconnect_reason() {
            self.disconnect();
            return Err(crate::connection::reason_of(reason));
        }
        received.map_err(|error| DisconnectReason::Refused(error.to_string()))
    }

    fn receive(&mut self, passed: Duration) -> Result<(), std::io::Error> {
        let Self { socket, netcode, connection, check, .. } = self;
        socket.receive(passed, |from, datagram| {
            if from != netcode.server_addr() || !is_well_formed(datagram) {
                return;
            }
            let Some(payload) = netcode.process_packet(datagram) else { return };
            match check.check(payload) {
                Verdict::Pass => connection.process_packet(payload),
                Verdict::Drop => {}
                Verdict::Violation => connection.disconnect(),
            }
        })
    }

    /// The next address is tried at once, instead of after the timeout. Once connected, only silence
    /// ends a connection: anyone can forge what says that no program listens.
    ///
    /// # Errors
    ///
    /// When there is no other address.
    fn give_up_where_no_program_listens(&mut self) -> Result<(), DisconnectReason> {
        if self.socket.refusals() < REFUSALS || !self.netcode.is_connecting() {
            return Ok(());
        }
        let refused = self.netcode.server_addr();
        self.parameters.servers.retain(|server| *server != refused);
        if self.parameters.servers.is_empty() {
            return Err(DisconnectReason::Refused(format!("no program listens at {refused}")));
        }
        self.netcode = ask(&self.parameters).map_err(DisconnectReason::Refused)?;
        Ok(())
    }

    fn take_packets(&mut self, events: &mut VecDeque<NetworkEvent<RenetPeer>>) {
        let Self { connection, check, .. } = self;
        for _ in 0..PACKETS_PER_LOOK {
            let next = crate::connection::next_packet(check, |channel| {
                connection.receive_message(channel)
            });
            let Some(packet) = next else { break };
            if !crate::connection::is_too_large(&packet) {
                events.push_back(NetworkEvent::FromServer(packet));
            }
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
        if !self.is_reported || !self.netcode.is_connected() {
            return;
        }
        for payload in self.connection.get_packets_to_send() {
            if let Ok((server, datagram)) = self.netcode.generate_payload_packet(&payload) {
                self.socket.send(server, datagram);
            }
        }
    }

    pub(crate) fn disconnect(&mut self) {
        self.flush();
        if self.netcode.is_disconnected() {
            return;
        }
        if let Ok((server, datagram)) = self.netcode.disconnect() {
            self.socket.send(server, datagram);
        }
    }
}

/// Begins to ask for a connection.
///
/// # Errors
///
/// In words for a person.
fn ask(parameters: &ClientParameters) -> Result<NetcodeClient, String> {
    let now = crate::connection::since_1970();
    let timeout = i32::try_from(parameters.timeout.as_secs().max(1)).unwrap_or(i32::MAX);
    let connect_token = ConnectToken::generate(
        now,
        PROTOCOL,
        TOKEN_SECONDS,
        u64::from_le_bytes(generate_random_bytes()),
        timeout,
        parameters.servers.clone(),
        None,
        &parameters.key,
    )
    .map_err(|error| format!("no connection can be asked for: {error}"))?;
    NetcodeClient::new(now, ClientAuthentication::Secure { connect_token })
        .map_err(|error| format!("no connection can be asked for: {error}"))
}

fn reason_of(reason: NetcodeReason) -> DisconnectReason {
    match reason {
        NetcodeReason::ConnectionDenied => DisconnectReason::Refused(HOST_IS_FULL.to_owned()),
        NetcodeReason::ConnectionRequestTimedOut
        | NetcodeReason::ConnectionResponseTimedOut
        | NetcodeReason::ConnectTokenExpired => DisconnectReason::Refused(NO_ANSWER.to_owned()),
        NetcodeReason::ConnectionTimedOut
        | NetcodeReason::DisconnectedByServer
        | NetcodeReason::DisconnectedByClient => DisconnectReason::Lost,
    }
}
