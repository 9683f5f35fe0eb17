//! A real server on a free port, and clients that talk to it over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use voicemesh_signaling::{Config, ServeError, serve};
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::packet::{
    self, ClientInfo, ClientState, CodecSettings, HandshakeRequest, HandshakeResponse, Kind, Relay,
};
use voicemesh_wire::signaling::{
    Capabilities, ClientMessage, ErrorCode, Join, Joined, MemberStatus, PROTOCOL_VERSION, PeerInfo,
    Presence, SUBPROTOCOL, ServerMessage, decode_server,
};
use voicemesh_wire::{ClientId, SessionId};

/// Long enough for a machine that does many other things; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let running = tokio::spawn(serve(config, listener, shutdown));
        Self { address, stop: Some(stop), running }
    }

    /// Asks the server to stop and waits until it has.
    pub async fn stop(mut self) -> Result<(), ServeError> {
        drop(self.stop.take());
        within("the server stops", &mut self.running).await.expect("it does not panic")
    }

    pub async fn http(&self, path: &str) -> String {
        http(
            self.address,
            &format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address),
        )
        .await
    }

    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.http("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    }
}

pub async fn http(address: SocketAddr, request: &str) -> String {
    String::from_utf8(http_bytes(address, request).await).expect("the answer is text")
}

pub async fn http_bytes(address: SocketAddr, request: &str) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.expect("the server listens");
    socket.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = Vec::new();
    within("an answer", socket.read_to_end(&mut answer)).await.expect("the answer ends");
    answer
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited too long: {what}"))
}

/// What a person receives.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a test holds one at a time")]
pub enum Received {
    Message(ServerMessage),
    Packet(Bytes),
    Closed(Option<CloseCode>),
    /// The socket ended without a goodbye.
    Cut,
}

pub struct Person<S = TcpStream> {
    pub socket: WebSocketStream<S>,
}

pub fn request(address: SocketAddr) -> Request {
    let mut request = format!("ws://{address}/ws").into_client_request().expect("a URL");
    request.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().expect("a header"));
    request
}

pub fn join_of(room: &str, name: &str) -> Join {
    let mut secret = [0; 32];
    secret[..name.len().min(32)].copy_from_slice(&name.as_bytes()[..name.len().min(32)]);
    Join {
        protocol: PROTOCOL_VERSION,
        room: room.to_owned(),
        name: name.to_owned(),
        proof: prove(&InstallationSecret(secret), "ws://test", room, 0),
        run: 1,
        capabilities: Capabilities::default(),
        metadata: Default::default(),
        status: MemberStatus::default(),
        presence: Presence::Either,
        password: None,
        room_metadata: Default::default(),
        token: None,
        ticket: None,
    }
}

impl Person {
    pub async fn connect(server: &Server) -> Self {
        Self::try_connect(server, request(server.address))
            .await
            .expect("the server takes connections")
    }

    pub async fn try_connect(
        server: &Server,
        request: Request,
    ) -> Result<Self, tungstenite::Error> {
        let stream = TcpStream::connect(server.address).await.expect("the server listens");
        Self::upgrade(stream, request).await
    }

    /// A connection to a server in another process; `None` if there is none.
    #[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "for the nodes of a cluster"))]
    pub async fn at(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        Self::upgrade(stream, request(address)).await.ok()
    }

    /// One for which the system keeps little that was not read.
    pub async fn connect_narrow(server: &Server) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(8 * 1024).expect("a small buffer");
        let stream = socket.connect(server.address).await.expect("the server listens");
        Self::upgrade(stream, request(server.address)).await.expect("the server takes connections")
    }

    async fn upgrade(stream: TcpStream, request: Request) -> Result<Self, tungstenite::Error> {
        let connected = tokio_tungstenite::client_async(request, stream);
        let (socket, response) = within("an upgrade", connected).await?;
        assert_eq!(response.headers()["sec-websocket-protocol"], SUBPROTOCOL);
        Ok(Self { socket })
    }

    /// Connected, and in the room.
    pub async fn join(server: &Server, room: &str, name: &str) -> (Self, Joined) {
        let mut person = Self::connect(server).await;
        let joined = person.enter(join_of(room, name)).await;
        (person, joined)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Person<S> {
    pub async fn enter(&mut self, join: Join) -> Joined {
        self.say(&ClientMessage::Join(join)).await;
        self.expect("joined", |message| match message {
            ServerMessage::Joined(joined) => Some(joined),
            _ => None,
        })
        .await
    }

    pub async fn say(&mut self, message: &ClientMessage) {
        self.send(Message::text(message.to_json())).await;
    }

    pub async fn send(&mut self, message: Message) {
        within("the server reads", self.socket.send(message)).await.expect("the server is there");
    }

    pub async fn next(&mut self) -> Received {
        loop {
            return match within("something from the server", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => Received::Message(
                    decode_server(text.as_str()).expect("the server sends what we can read"),
                ),
                Some(Ok(Message::Binary(packet))) => Received::Packet(packet),
                Some(Ok(Message::Close(frame))) => Received::Closed(frame.map(|frame| frame.code)),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Err(_)) | None => Received::Cut,
            };
        }
    }

    /// The first message that `pick` takes; roster marks and packets are passed over, an end is a
    /// failure.
    pub async fn expect<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(ServerMessage) -> Option<T>,
    ) -> T {
        loop {
            match self.next().await {
                Received::Message(message) => {
                    let shown = format!("{message:?}");
                    if let Some(picked) = pick(message) {
                        return picked;
                    }
                    assert!(shown.starts_with("RosterMark"), "waiting for {what}, got {shown}");
                }
                Received::Packet(_) => {}
                ended => panic!("waiting for {what}, got {ended:?}"),
            }
        }
    }

    pub async fn expect_joined(&mut self) -> PeerInfo {
        self.expect("peer-joined", |message| match message {
            ServerMessage::PeerJoined { peer } => Some(peer),
            _ => None,
        })
        .await
    }

    pub async fn expect_left(
        &mut self,
    ) -> (voicemesh_wire::PeerId, voicemesh_wire::signaling::LeaveReason) {
        self.expect("peer-left", |message| match message {
            ServerMessage::PeerLeft { peer, reason } => Some((peer, reason)),
            _ => None,
        })
        .await
    }

    pub async fn expect_error(&mut self) -> (ErrorCode, bool) {
        self.expect("error", |message| match message {
            ServerMessage::Error { code, fatal, .. } => Some((code, fatal)),
            _ => None,
        })
        .await
    }

    /// The close code, after whatever else still comes.
    pub async fn expect_end(&mut self) -> Option<CloseCode> {
        loop {
            match self.next().await {
                Received::Closed(code) => return code,
                Received::Cut => return None,
                Received::Message(_) | Received::Packet(_) => {}
            }
        }
    }

    /// The next packet of this kind; messages and other packets are passed over.
    pub async fn expect_packet(&mut self, kind: Kind) -> Bytes {
        loop {
            match self.next().await {
                Received::Packet(packet)
                    if packet::open(&packet).expect("a packet").0.kind == kind =>
                {
                    return packet;
                }
                Received::Packet(_) | Received::Message(_) => {}
                ended => panic!("waiting for {kind:?}, got {ended:?}"),
            }
        }
    }

    /// That the connection works, and that everything sent on it before has been dealt with. Other
    /// notices are passed over.
    pub async fn expect_answer(&mut self) -> Vec<PeerInfo> {
        self.say(&ClientMessage::Roster).await;
        loop {
            match self.next().await {
                Received::Message(ServerMessage::Roster { peers, .. }) => return peers,
                Received::Message(ServerMessage::Error { code, message, .. }) => {
                    panic!("{code}: {message}")
                }
                Received::Message(_) | Received::Packet(_) => {}
                ended => panic!("waiting for the roster, got {ended:?}"),
            }
        }
    }

    /// Shakes hands with the session server, as every client does right after its join.
    pub async fn take_part(&mut self, joined: &Joined) -> SessionId {
        let codec = CodecSettings {
            codec: CodecSettings::OPUS,
            frame_samples: 960,
            sample_rate_hz: 48_000,
        };
        let request = HandshakeRequest { codec, name: String::new() };
        self.send(Message::binary(request.encode())).await;
        let packet = self.expect_packet(Kind::HandshakeResponse).await;
        let (header, body) = packet::open(&packet).expect("a packet");
        let response = HandshakeResponse::decode(body).expect("a response");
        assert_eq!(response.you, joined.client);
        let session = header.session_id().expect("a session");
        assert_eq!(session.number(), joined.session);
        let client = ClientInfo { name: String::new(), id: joined.client, codec };
        let state = ClientState { client, groups: vec!["Global".to_owned()] };
        self.send(Message::binary(state.encode(session))).await;
        session
    }

    pub async fn relay(&mut self, session: SessionId, kind: Kind, to: &[ClientId], inside: &[u8]) {
        let mut packet = Vec::new();
        Relay::encode_packet(kind, session, to, inside, &mut packet);
        self.send(Message::binary(packet)).await;
    }
}
