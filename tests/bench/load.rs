//! Many members of many rooms in one process: they join as peers do and count what they are sent.
//! They neither code nor decode speech.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::packet::{
    CodecSettings, HandshakeRequest, HandshakeResponse, Header, Kind, Relay, TalkspurtCounter,
    Target, TargetKind, VoiceHeader, open,
};
use voicemesh_wire::signaling::{
    Capabilities, ClientMessage, Join, MemberStatus, Metadata, PROTOCOL_VERSION, Presence,
    ServerMessage, decode_server,
};
use voicemesh_wire::{ClientId, GroupId, SessionId};

use crate::socket::{BINARY, CLOSE, PING, PONG, Socket, TEXT, frame};

/// Members of every room.
pub const ROOM: usize = 8;
/// A frame of 20 ms at 32 kbit/s.
pub const FRAME_BYTES: usize = 80;
/// Members that join at the same time.
const JOINING_AT_ONCE: usize = 16;
/// How long one join may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a member does right after it has asked to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It shakes hands with the session server, as every peer does.
    Session,
    /// Nothing: it is in the room and takes no part in the session.
    JoinOnly,
}

/// A member of a room.
pub struct Member {
    socket: Socket,
    client: ClientId,
    session: SessionId,
}

/// The runtime of all members, on so many threads.
pub fn runtime(threads: usize) -> Runtime {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.unwrap_or_else(|error| panic!("no runtime: {error}"))
}

/// Fills so many rooms.
///
/// # Panics
/// If a member cannot join.
pub async fn fill_rooms(server: SocketAddr, rooms: usize, entry: Entry) -> Vec<Vec<Member>> {
    let places = Arc::new(Semaphore::new(JOINING_AT_ONCE));
    let mut joins = JoinSet::new();
    for number in 0..rooms * ROOM {
        let places = places.clone();
        joins.spawn(async move {
            let _place = places.acquire_owned().await;
            let joined = tokio::time::timeout(PATIENCE, Member::join(server, number, entry)).await;
            let joined = joined.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            (
                number / ROOM,
                joined.unwrap_or_else(|error| panic!("member {number} cannot join: {error}")),
            )
        });
    }
    let mut filled: Vec<Vec<Member>> = (0..rooms).map(|_| Vec::new()).collect();
    while let Some(joined) = joins.join_next().await {
        let (room, member) = joined.unwrap_or_else(|error| panic!("{error}"));
        filled[room].push(member);
    }
    filled
}

impl Member {
    async fn join(server: SocketAddr, number: usize, entry: Entry) -> io::Result<Self> {
        let mut socket = Socket::connect(server).await?;
        let mut request = Vec::new();
        frame(TEXT, ClientMessage::Join(join(server, number)).to_json().as_bytes(), &mut request);
        if entry == Entry::Session {
            let codec = CodecSettings {
                codec: CodecSettings::OPUS,
                frame_samples: 960,
                sample_rate_hz: 48_000,
            };
            frame(BINARY, &HandshakeRequest { codec, name: String::new() }.encode(), &mut request);
        }
        socket.writer.write_all(&request).await?;
        let mut joined = None;
        let mut in_session = entry == Entry::JoinOnly;
        loop {
            while let Some((opcode, payload)) = socket.incoming.next() {
                match opcode {
                    TEXT => joined = joined.or(answer(payload)?),
                    BINARY => in_session |= is_response(payload),
                    _ => return Err(io::Error::other("the server closes")),
                }
            }
            match joined {
                Some((client, session)) if in_session => {
                    return Ok(Self { socket, client, session });
                }
                _ => socket.incoming.fill(&mut socket.reader).await?,
            }
        }
    }
}

fn join(server: SocketAddr, number: usize) -> Join {
    let mut secret = [0; 32];
    secret[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let room = format!("bench {}", number / ROOM);
    Join {
        protocol: PROTOCOL_VERSION,
        proof: prove(&InstallationSecret(secret), &format!("ws://{server}"), &room, 0),
        room,
        name: format!("member {number}"),
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

/// Ids, if this answers the join.
fn answer(text: &[u8]) -> io::Result<Option<(ClientId, SessionId)>> {
    let text = std::str::from_utf8(text).map_err(io::Error::other)?;
    match decode_server(text) {
        Ok(ServerMessage::Joined(joined)) => {
            Ok(SessionId::new(joined.session).map(|session| (joined.client, session)))
        }
        Ok(ServerMessage::Error { code, message, .. }) => {
            Err(io::Error::other(format!("{code}: {message}")))
        }
        _ => Ok(None),
    }
}

fn is_response(packet: &[u8]) -> bool {
    let response = |(header, body): (Header, &[u8])| {
        header.kind == Kind::HandshakeResponse && HandshakeResponse::decode(body).is_ok()
    };
    open(packet).is_ok_and(response)
}

/// Who speaks, and to whom.
pub struct Speaker {
    writer: OwnedWriteHalf,
    client: ClientId,
    session: SessionId,
    listeners: Vec<ClientId>,
    sequence: u16,
    /// Packets that may be sent before a listener has had earlier ones.
    pub window: Arc<Semaphore>,
    packet: Vec<u8>,
    relay: Vec<u8>,
    frames: Vec<u8>,
}

impl Speaker {
    /// Sends the next so many packets in one write.
    pub async fn speak(&mut self, packets: usize) -> io::Result<()> {
        let target = Target::plain(TargetKind::Group(GroupId::of("Global")));
        self.frames.clear();
        for _ in 0..packets {
            self.packet.clear();
            self.relay.clear();
            let header = VoiceHeader {
                sender: self.client,
                talkspurt: TalkspurtCounter::SevenBit(0),
                sequence: self.sequence,
            };
            self.sequence = self.sequence.wrapping_add(1);
            header.encode_packet(self.session, &[target], &[0x55; FRAME_BYTES], &mut self.packet);
            let kind = Kind::ServerRelayUnreliable;
            Relay::encode_packet(
                kind,
                self.session,
                &self.listeners,
                &self.packet,
                &mut self.relay,
            );
            frame(BINARY, &self.relay, &mut self.frames);
        }
        self.writer.write_all(&self.frames).await
    }
}

/// What all members together have been sent.
#[derive(Default)]
pub struct Heard {
    voice_packets: AtomicU64,
    ended: AtomicU64,
}

impl Heard {
    /// Voice packets delivered.
    pub fn voice_packets(&self) -> u64 {
        self.voice_packets.load(Ordering::Relaxed)
    }

    /// Members whose connection has ended.
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Members that listen, in tasks of their own that end when dropped.
pub struct Listening {
    pub heard: Arc<Heard>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Lets everybody listen; the first `speakers` of every room are given back to speak, with so much
/// of a window. To be called in the runtime.
pub fn listen(
    rooms: Vec<Vec<Member>>,
    speakers: usize,
    window: usize,
) -> (Listening, Vec<Speaker>) {
    let heard = Arc::new(Heard::default());
    let mut all = Vec::new();
    let mut tasks = Vec::new();
    for room in rooms {
        let clients: Vec<ClientId> = room.iter().map(|member| member.client).collect();
        let windows: Vec<(ClientId, Arc<Semaphore>)> = clients[..speakers]
            .iter()
            .map(|client| (*client, Arc::new(Semaphore::new(window))))
            .collect();
        for (number, Member { mut socket, client, session }) in room.into_iter().enumerate() {
            let mut ears = Ears { heard: heard.clone(), windows: Vec::new(), pongs: None };
            if number < speakers {
                let listeners = clients.iter().copied().filter(|other| *other != client).collect();
                let window = windows[number].1.clone();
                let (packet, relay, frames) = (Vec::new(), Vec::new(), Vec::new());
                let writer = socket.writer;
                all.push(Speaker {
                    writer,
                    client,
                    session,
                    listeners,
                    sequence: 0,
                    window,
                    packet,
                    relay,
                    frames,
                });
            } else {
                ears.pongs = Some(socket.writer);
                if number == speakers {
                    ears.windows.clone_from(&windows);
                }
            }
            tasks.push(tokio::spawn(async move {
                let _ = ears.hear(&mut socket.incoming, &mut socket.reader).await;
                ears.heard.ended.fetch_add(1, Ordering::Relaxed);
            }));
        }
    }
    (Listening { heard, tasks }, all)
}

struct Ears {
    heard: Arc<Heard>,
    /// Of the speakers whom this listener tells that they may go on.
    windows: Vec<(ClientId, Arc<Semaphore>)>,
    /// A member that does not speak must answer pings.
    pongs: Option<OwnedWriteHalf>,
}

impl Ears {
    async fn hear(
        &mut self,
        incoming: &mut crate::socket::Incoming,
        reader: &mut tokio::net::tcp::OwnedReadHalf,
    ) -> io::Result<()> {
        loop {
            let (mut packets, mut pinged) = (0, false);
            while let Some((opcode, payload)) = incoming.next() {
                match opcode {
                    BINARY => packets += self.take(payload),
                    PING => pinged = true,
                    CLOSE => return Ok(()),
                    _ => {}
                }
            }
            self.heard.voice_packets.fetch_add(packets, Ordering::Relaxed);
            if let (true, Some(writer)) = (pinged, &mut self.pongs) {
                let mut pong = Vec::new();
                frame(PONG, &[], &mut pong);
                writer.write_all(&pong).await?;
            }
            incoming.fill(reader).await?;
        }
    }

    /// 1 for voice, 0 for anything else.
    fn take(&self, packet: &[u8]) -> u64 {
        let sender = match open(packet) {
            Ok((Header { kind: Kind::VoiceData, .. }, [high, low, ..])) => {
                ClientId(u16::from_be_bytes([*high, *low]))
            }
            _ => return 0,
        };
        if let Some((_, window)) = self.windows.iter().find(|(speaker, _)| *speaker == sender) {
            window.add_permits(1);
        }
        1
    }
}
