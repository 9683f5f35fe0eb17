//! A member who does all that the hostile cases do, one after the other, until it is put out or the
//! time is over.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, sleep_until, timeout};
use voicemesh_wire::packet::{
    ClientInfo, ClientState, HandshakeRequest, Kind, Recipient, Relay, TextData,
};
use voicemesh_wire::signaling::{
    ClientMessage, Join, Moderation, Password, ServerMessage, Signal, decode_server,
};
use voicemesh_wire::{ClientId, PeerId, SessionId};

use crate::client::{CODEC, join_of, packet_header};
use crate::findings::{Findings, Room};
use crate::socket::{BINARY, CLOSE, PING, Socket, TEXT, frame};

/// Between two blows of an attack, and how many there are of each.
const BLOW: Duration = Duration::from_millis(500);
const BLOWS: u32 = 8;
/// Packets of one blow.
const AT_ONCE: usize = 300;
/// The longest that a write may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a refused join.
const WAIT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// Reliable relay packets of 1,000 bytes to everyone.
    Bursts,
    /// Far more speech than anyone speaks.
    Flood,
    /// Speech in the speaker's name.
    Forgery,
    Truncated,
    Questions,
    Pings,
    Metadata,
    Texts,
    Signals,
    Groups,
    NotJson,
    /// It reads nothing.
    Deaf,
    /// A message that does not end, on further connections.
    Unfinished,
    /// Joins and leaves as fast as it can.
    Churn,
    Guesses,
    Moderation,
    /// No WebSocket frame.
    Garbage,
}

const ATTACKS: [Attack; 17] = [
    Attack::Bursts,
    Attack::Flood,
    Attack::Forgery,
    Attack::Truncated,
    Attack::Questions,
    Attack::Pings,
    Attack::Metadata,
    Attack::Texts,
    Attack::Signals,
    Attack::Groups,
    Attack::NotJson,
    Attack::Deaf,
    Attack::Unfinished,
    Attack::Churn,
    Attack::Guesses,
    Attack::Moderation,
    Attack::Garbage,
];

/// Until the end, each room's in another order.
pub async fn live(room: Rc<Room>, end: Instant) {
    let mut number = room.number / 10;
    let mut member: Option<Member> = None;
    while Instant::now() < end {
        let attack = ATTACKS[number % ATTACKS.len()];
        number += 1;
        let mut attacker = match member.take() {
            Some(attacker) => attacker,
            None => match Member::enter(&room, &format!("attacker {number}"), 1).await {
                Ok(attacker) => attacker,
                Err(_) => {
                    sleep_until(Instant::now() + WAIT).await;
                    continue;
                }
            },
        };
        Findings::count(&room.findings.attacks);
        match attacker.strike(&room, attack, end).await {
            Ok(()) => member = Some(attacker),
            Err(_) => Findings::count(&room.findings.attackers_ended),
        }
    }
}

struct Member {
    socket: Socket,
    name: String,
    client: ClientId,
    session: SessionId,
    others: Vec<(PeerId, ClientId)>,
    /// Further connections that an attack has opened.
    more: Vec<Socket>,
}

async fn connect(room: &Room) -> io::Result<Socket> {
    let stream = TcpStream::connect(room.server).await?;
    let header = format!("X-Forwarded-For: 11.{}.{}.1\r\n", room.number / 250, room.number % 250);
    Socket::upgrade(stream, room.server, &header).await
}

fn say(message: &ClientMessage, out: &mut Vec<u8>) {
    frame(TEXT, message.to_json().as_bytes(), out);
}

impl Member {
    async fn enter(room: &Room, name: &str, run: u32) -> io::Result<Self> {
        let mut socket = connect(room).await?;
        let mut request = Vec::new();
        say(&ClientMessage::Join(Join { run, ..join_of(&room.name, name) }), &mut request);
        frame(
            BINARY,
            &HandshakeRequest { codec: CODEC, name: String::new() }.encode(),
            &mut request,
        );
        socket.writer.write_all(&request).await?;
        loop {
            let Some((opcode, payload)) = socket.incoming.next() else {
                timeout(PATIENCE, socket.incoming.fill(&mut socket.reader)).await??;
                continue;
            };
            if opcode == CLOSE {
                return Err(io::Error::other("closed"));
            }
            if opcode != TEXT {
                continue;
            }
            let text = std::str::from_utf8(payload).map_err(io::Error::other)?;
            if let Ok(ServerMessage::Joined(joined)) = decode_server(text) {
                let session =
                    SessionId::new(joined.session).ok_or_else(|| io::Error::other("no session"))?;
                let others = joined.peers.iter().map(|info| (info.peer, info.client)).collect();
                let (client, name) = (joined.client, name.to_owned());
                return Ok(Self { socket, name, client, session, others, more: Vec::new() });
            }
        }
    }

    /// One attack. An error means that the server has ended the connection.
    async fn strike(&mut self, room: &Room, attack: Attack, end: Instant) -> io::Result<()> {
        let mut blows = interval(BLOW);
        for number in 0..BLOWS {
            blows.tick().await;
            if Instant::now() >= end {
                break;
            }
            let bytes = self.blow(room, attack, number).await?;
            timeout(PATIENCE, self.socket.writer.write_all(&bytes)).await??;
            if attack != Attack::Deaf {
                self.read_what_is_there().await?;
            }
        }
        self.more.clear();
        Ok(())
    }

    async fn read_what_is_there(&mut self) -> io::Result<()> {
        loop {
            while let Some((opcode, _)) = self.socket.incoming.next() {
                if opcode == CLOSE {
                    return Err(io::Error::other("closed"));
                }
            }
            let fill = self.socket.incoming.fill(&mut self.socket.reader);
            match timeout(Duration::from_millis(1), fill).await {
                Ok(filled) => filled?,
                Err(_) => return Ok(()),
            }
        }
    }

    fn inner(&self, kind: Kind, sender: ClientId, bytes: usize) -> Vec<u8> {
        let mut packet = packet_header(kind, self.session);
        packet.extend_from_slice(&sender.0.to_be_bytes());
        packet.resize(bytes, 0);
        packet
    }

    fn relayed(&self, kind: Kind, inner: &[u8]) -> Vec<u8> {
        let everyone: Vec<ClientId> = self.others.iter().map(|(_, client)| *client).collect();
        let mut packet = Vec::new();
        Relay::encode_packet(kind, self.session, &everyone, inner, &mut packet);
        packet
    }

    /// What is sent in one blow.
    async fn blow(&mut self, room: &Room, attack: Attack, number: u32) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut packets =
            |packet: &[u8]| (0..AT_ONCE).for_each(|_| frame(BINARY, packet, &mut out));
        match attack {
            Attack::Bursts => {
                packets(&self.relayed(
                    Kind::ServerRelayReliable,
                    &self.inner(Kind::Unassigned(50), self.client, 1_000),
                ));
            }
            Attack::Flood => {
                packets(&self.relayed(
                    Kind::ServerRelayUnreliable,
                    &self.inner(Kind::VoiceData, self.client, 200),
                ));
            }
            Attack::Forgery => {
                let speaker = room.speaker.get().unwrap_or(self.client);
                packets(&self.relayed(
                    Kind::ServerRelayUnreliable,
                    &self.inner(Kind::VoiceData, speaker, 200),
                ));
            }
            Attack::Truncated => packets(&self.inner(Kind::VoiceData, self.client, 11)),
            Attack::Groups => {
                let groups = (0..100).map(|group| format!("group {number} {group}")).collect();
                let client =
                    ClientInfo { name: "\u{202e}".to_owned(), id: self.client, codec: CODEC };
                frame(BINARY, &ClientState { client, groups }.encode(self.session), &mut out);
            }
            Attack::Texts => {
                let text = "x".repeat(3_000);
                for (_, client) in &self.others {
                    let recipient = Recipient::Client(*client);
                    let packet = TextData { sender: self.client, recipient, text: &text }
                        .encode(self.session);
                    frame(BINARY, &packet, &mut out);
                }
            }
            Attack::Questions => (0..AT_ONCE).for_each(|_| say(&ClientMessage::Roster, &mut out)),
            Attack::Pings => (0..AT_ONCE).for_each(|_| frame(PING, &[7; 125], &mut out)),
            Attack::Metadata => {
                let value = format!("{number} {}", "y".repeat(8_000));
                say(
                    &ClientMessage::SetMetadata {
                        request: None,
                        set: [("key".to_owned(), Some(value))].into(),
                    },
                    &mut out,
                );
            }
            Attack::Signals => {
                for (peer, _) in &self.others {
                    let signal = Signal::Offer { sdp: "z".repeat(4_000) };
                    say(&ClientMessage::Signal { to: *peer, attempt: number, signal }, &mut out);
                }
            }
            Attack::NotJson => (0..AT_ONCE).for_each(|_| frame(TEXT, b"{\"type\":", &mut out)),
            Attack::Deaf => packets(&self.relayed(
                Kind::ServerRelayReliable,
                &self.inner(Kind::Unassigned(50), self.client, 500),
            )),
            Attack::Unfinished => {
                let mut socket = connect(room).await?;
                let mut whole = Vec::new();
                frame(TEXT, &[b' '; 30_000], &mut whole);
                socket.writer.write_all(&whole[..29_000]).await?;
                self.more.push(socket);
            }
            Attack::Churn => {
                for run in 0..4 {
                    let name = self.name.clone();
                    *self = Self::enter(room, &name, 100 + number * 4 + run).await?;
                }
            }
            Attack::Guesses => {
                for guess in 0..4 {
                    let mut socket = connect(room).await?;
                    let mut request = Vec::new();
                    let password = Some(Password::from(format!("guess {number} {guess}")));
                    let join = join_of(&room.name, &format!("guesser {number} {guess}"));
                    say(&ClientMessage::Join(Join { password, ..join }), &mut request);
                    socket.writer.write_all(&request).await?;
                    self.more.push(socket);
                }
            }
            Attack::Moderation => {
                for (peer, _) in &self.others {
                    let action = Moderation::Ban { peer: *peer, seconds: 60 };
                    say(&ClientMessage::Moderate { request: None, action }, &mut out);
                }
            }
            Attack::Garbage => out.extend_from_slice(&[0xFF; 64]),
        }
        Ok(out)
    }
}
