//! A client that keeps to the protocol only as far as a case wants it to.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use voicemesh_tests::room::Server;
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::packet::{
    self, ClientInfo, ClientState, CodecSettings, HandshakeRequest, Kind, Relay,
};
use voicemesh_wire::signaling::{
    Capabilities, ClientMessage, ErrorCode, Join, Joined, MemberStatus, Metadata, PROTOCOL_VERSION,
    PeerInfo, Presence, RosterMark, ServerMessage, decode_server,
};
use voicemesh_wire::{ClientId, SessionId};

use crate::socket::{BINARY, CLOSE, PING, PONG, Socket, TEXT, frame};

pub const CODEC: CodecSettings =
    CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };
/// How long anything may take that should take moments.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What arrives.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one is held at a time")]
pub enum Received {
    Message(ServerMessage),
    Packet(Vec<u8>),
    Ping,
    Pong(Vec<u8>),
    /// A close frame with its code, or 1005 for one without.
    Closed(u16),
    /// The connection ended without one.
    Cut,
}

/// One connection.
pub struct Client {
    pub socket: Socket,
    /// Bytes of frames received so far.
    pub received: usize,
}

/// A connection that is in a room.
pub struct Member {
    pub client: Client,
    pub joined: Joined,
    pub session: SessionId,
}

/// Runs a case; it may take at most two minutes.
pub fn run<T>(case: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(4 * PATIENCE, case).await.expect("the case takes too long")
    })
}

pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited too long: {what}"))
}

pub fn join_of(room: &str, name: &str) -> Join {
    let mut secret = [0; 32];
    secret[..name.len().min(32)].copy_from_slice(&name.as_bytes()[..name.len().min(32)]);
    Join {
        protocol: PROTOCOL_VERSION,
        room: room.to_owned(),
        name: name.to_owned(),
        proof: prove(&InstallationSecret(secret), "ws://hostile", room, 0),
        run: 1,
        capabilities: Capabilities::default(),
        metadata: Metadata::new(),
        status: MemberStatus::default(),
        presence: Presence::Either,
        password: None,
        room_metadata: Metadata::new(),
        token: None,
        ticket: None,
    }
}

impl Client {
    pub async fn connect(server: &Server) -> Self {
        Self::try_connect(server.address).await.expect("the server takes connections")
    }

    pub async fn try_connect(server: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: Socket::connect(server).await?, received: 0 })
    }

    /// As a client at `address`, for a server that trusts this machine as a proxy.
    pub async fn connect_from(server: &Server, address: &str) -> Self {
        Self::connect_to_from(server.address, address).await
    }

    pub async fn connect_to_from(server: SocketAddr, address: &str) -> Self {
        let headers = format!("X-Forwarded-For: {address}\r\n");
        let stream = TcpStream::connect(server).await.expect("the server listens");
        let socket = Socket::upgrade(stream, server, &headers).await.expect("an upgrade");
        Self { socket, received: 0 }
    }

    /// One for which the system keeps little that was not read.
    pub async fn connect_narrow(server: &Server) -> Self {
        Self::connect_narrow_with(server, "").await
    }

    /// The same from `address`, for a server that trusts this machine as a proxy.
    pub async fn connect_narrow_from(server: &Server, address: &str) -> Self {
        Self::connect_narrow_with(server, &format!("X-Forwarded-For: {address}\r\n")).await
    }

    async fn connect_narrow_with(server: &Server, headers: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(8 * 1024).expect("a small buffer");
        let stream = socket.connect(server.address).await.expect("the server listens");
        let socket = Socket::upgrade(stream, server.address, headers).await.expect("an upgrade");
        Self { socket, received: 0 }
    }

    /// False if the connection has ended.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        patiently("the server reads", self.socket.writer.write_all(bytes)).await.is_ok()
    }

    pub async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame(opcode, payload, &mut bytes);
        assert!(self.try_send(&bytes).await, "the connection has ended");
    }

    pub async fn say(&mut self, message: &ClientMessage) {
        self.send(TEXT, message.to_json().as_bytes()).await;
    }

    /// False if the connection has ended.
    pub async fn say_if_there(&mut self, message: &ClientMessage) -> bool {
        let mut bytes = Vec::new();
        frame(TEXT, message.to_json().as_bytes(), &mut bytes);
        self.try_send(&bytes).await
    }

    pub async fn packet(&mut self, packet: &[u8]) {
        self.send(BINARY, packet).await;
    }

    pub async fn next(&mut self) -> Received {
        loop {
            if let Some((opcode, payload)) = self.socket.incoming.next() {
                self.received += payload.len();
                return match opcode {
                    TEXT => {
                        let text = std::str::from_utf8(payload).expect("the server sends UTF-8");
                        Received::Message(
                            decode_server(text).expect("the server sends what can be read"),
                        )
                    }
                    BINARY => Received::Packet(payload.to_vec()),
                    PING => Received::Ping,
                    PONG => Received::Pong(payload.to_vec()),
                    CLOSE => Received::Closed(
                        payload.first_chunk::<2>().map_or(1005, |code| u16::from_be_bytes(*code)),
                    ),
                    other => panic!("a frame of opcode {other}"),
                };
            }
            let filled = patiently(
                "something from the server",
                self.socket.incoming.fill(&mut self.socket.reader),
            );
            if filled.await.is_err() {
                return Received::Cut;
            }
        }
    }

    /// The first thing that `pick` takes; an end is a failure.
    pub async fn until<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&Received) -> Option<T>,
    ) -> T {
        loop {
            let received = self.next().await;
            if let Some(picked) = pick(&received) {
                return picked;
            }
            assert!(
                !matches!(received, Received::Closed(_) | Received::Cut),
                "waiting for {what}, got {received:?}"
            );
        }
    }

    /// Why this join is refused; `None` if the client is let in.
    pub async fn refusal(mut self, join: Join) -> Option<ErrorCode> {
        self.say(&ClientMessage::Join(join)).await;
        let answer = self.until("an answer to the join", |received| match received {
            Received::Message(ServerMessage::Joined(_)) => Some(None),
            Received::Message(ServerMessage::Error { code, .. }) => Some(Some(code.clone())),
            _ => None,
        });
        answer.await
    }

    /// How the connection ends: the last error, and the close code if there is one.
    pub async fn end(&mut self) -> (Option<ErrorCode>, Option<u16>) {
        let mut code = None;
        loop {
            match self.next().await {
                Received::Message(ServerMessage::Error { code: last, .. }) => code = Some(last),
                Received::Closed(close) => return (code, Some(close)),
                Received::Cut => return (code, None),
                Received::Message(_) | Received::Packet(_) | Received::Ping | Received::Pong(_) => {
                }
            }
        }
    }

    /// That everything sent before has been handled, whatever else arrives.
    pub async fn handled(&mut self, token: u32) {
        self.say(&ClientMessage::Ping { token }).await;
        self.until("a pong", |received| {
            matches!(received, Received::Message(ServerMessage::Pong { token: answer }) if *answer == token)
                .then_some(())
        })
        .await;
    }
}

impl Member {
    pub async fn join(server: &Server, room: &str, name: &str) -> Self {
        Self::enter(Client::connect(server).await, join_of(room, name)).await
    }

    pub async fn enter(mut client: Client, join: Join) -> Self {
        client.say(&ClientMessage::Join(join)).await;
        client.packet(&HandshakeRequest { codec: CODEC, name: String::new() }.encode()).await;
        let joined = client
            .until("joined", |received| match received {
                Received::Message(ServerMessage::Joined(joined)) => Some(joined.clone()),
                Received::Message(ServerMessage::Error { code, message, .. }) => {
                    panic!("{code}: {message}")
                }
                _ => None,
            })
            .await;
        let session = SessionId::new(joined.session).expect("a session");
        let mut member = Self { client, joined, session };
        member
            .client
            .until("the handshake's answer", |received| is_kind(received, Kind::HandshakeResponse))
            .await;
        member.listen(&["Global"]).await;
        member.client.handled(0).await;
        member
    }

    /// Asks for the roster. What comes before it is passed over.
    pub async fn roster(&mut self) -> (RosterMark, Vec<PeerInfo>) {
        self.client.say(&ClientMessage::Roster).await;
        self.client
            .until("the roster", |received| match received {
                Received::Message(ServerMessage::Roster { mark, peers }) => {
                    Some((*mark, peers.clone()))
                }
                _ => None,
            })
            .await
    }

    pub async fn listen(&mut self, groups: &[&str]) {
        let client = ClientInfo { name: String::new(), id: self.joined.client, codec: CODEC };
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        self.client.packet(&ClientState { client, groups }.encode(self.session)).await;
    }

    /// A relay packet around `inside`.
    pub fn relay(&self, kind: Kind, to: &[ClientId], inside: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        Relay::encode_packet(kind, self.session, to, inside, &mut packet);
        packet
    }

    /// The start of a packet that this member may have relayed, filled up to `bytes`.
    pub fn inner(&self, kind: Kind, bytes: usize) -> Vec<u8> {
        let mut packet = packet_header(kind, self.session);
        packet.extend_from_slice(&self.joined.client.0.to_be_bytes());
        packet.resize(bytes, 0);
        packet
    }
}

pub fn packet_header(kind: Kind, session: SessionId) -> Vec<u8> {
    let mut packet = vec![0x8B, 0xC7, kind.number()];
    packet.extend_from_slice(&session.number().to_be_bytes());
    packet
}

pub fn is_kind(received: &Received, kind: Kind) -> Option<()> {
    let Received::Packet(packet) = received else { return None };
    packet::open(packet).is_ok_and(|(header, _)| header.kind == kind).then_some(())
}
