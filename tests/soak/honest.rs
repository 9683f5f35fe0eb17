//! Members who speak, listen, go and come back as people do.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use voicemesh_wire::SessionId;
use voicemesh_wire::packet::{
    ClientInfo, ClientState, HandshakeRequest, Kind, Relay, TalkspurtCounter, Target, TargetKind,
    VoiceHeader,
};
use voicemesh_wire::signaling::{
    ClientMessage, Join, Joined, ServerMessage, Ticket, decode_server,
};
use voicemesh_wire::{ClientId, GroupId};

use crate::client::{CODEC, join_of};
use crate::findings::{Findings, Room};
use crate::socket::{BINARY, CLOSE, PING, PONG, Socket, TEXT, frame};
use crate::view::View;

/// A frame of 60 ms at 32 kbit/s.
const FRAME: Duration = Duration::from_millis(60);
const FRAME_BYTES: usize = 240;
/// It speaks for so many frames, and is silent for so many.
const SPOKEN: u64 = 66;
const PAUSED: u64 = 17;
/// The speaker, and those who go and come back; the others stay.
const SPEAKER: usize = 0;
const RESTLESS: usize = 2;
/// How long a restless one stays, and how long it is away.
const STAYS_MS: u64 = 10_000;
const STAYS_MORE_MS: u64 = 20_000;
const AWAY_MS: u64 = 2_000;
/// The longest that a join may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Who comes back so close to the end stays.
const SETTLED: Duration = Duration::from_secs(8);
/// After the end, what was said last arrives.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// One seat of a room until the end, and the words that come after it.
pub async fn live(room: Rc<Room>, seat: usize, end: Instant) {
    let mut random = ChaCha8Rng::seed_from_u64((room.number * 100 + seat) as u64);
    let (mut run, mut ticket) = (1, None);
    let mut former: Option<Member> = None;
    loop {
        let entered = timeout(PATIENCE, Member::enter(&room, seat, run, ticket.take())).await;
        drop(former.take());
        let mut member = match entered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(member) => member,
            Err(error) => return room.note(format!("seat {seat} cannot join: {error}")),
        };
        let you = member.view.you;
        room.present.borrow_mut().insert(you);
        room.parted.borrow_mut().remove(&you);
        ticket.clone_from(&member.ticket);
        let stays = Duration::from_millis(STAYS_MS + random.next_u64() % STAYS_MORE_MS);
        let goes = Instant::now() + stays;
        let is_restless = (SPEAKER + 1..=RESTLESS).contains(&seat) && goes + SETTLED < end;
        let until = if is_restless { goes } else { end + LAST_WORDS };
        if let Err(error) = member.stay(&room, seat == SPEAKER, until, end).await {
            return room.note(format!("seat {seat} was ended: {error}"));
        }
        if !is_restless {
            if seat != SPEAKER {
                member.view.count_speech(&room, room.said.get());
            }
            member.view.check_everyone(&room);
            room.staying.borrow_mut().push(member.socket);
            return;
        }
        // What was said until now arrives while it stays a little longer.
        let said = room.said.get();
        member.view.hear_until(said);
        if let Err(error) = member.stay(&room, false, goes + LAST_WORDS, end).await {
            return room.note(format!("seat {seat} was ended: {error}"));
        }
        member.view.count_speech(&room, said);
        Findings::count(&room.findings.departures);
        room.parted.borrow_mut().insert(you);
        room.present.borrow_mut().remove(&you);
        run += 1;
        match random.next_u32() % 4 {
            // The next run replaces this one.
            0 => former = Some(member),
            // It is lost.
            1 => drop(member),
            _ => member.leave().await,
        }
        if former.is_none() {
            sleep_until(Instant::now() + Duration::from_millis(random.next_u64() % AWAY_MS)).await;
        }
    }
}

/// A connection that is in the room.
struct Member {
    socket: Socket,
    client: ClientId,
    session: SessionId,
    ticket: Option<Ticket>,
    view: View,
    ticks: u64,
}

/// Each has an address that it shares with no other.
fn address(room: &Room, seat: usize) -> String {
    format!("X-Forwarded-For: 10.{}.{}.{}\r\n", room.number / 250, room.number % 250, seat + 1)
}

impl Member {
    async fn enter(room: &Room, seat: usize, run: u32, ticket: Option<Ticket>) -> io::Result<Self> {
        let stream = TcpStream::connect(room.server).await?;
        let mut socket = Socket::upgrade(stream, room.server, &address(room, seat)).await?;
        let join =
            Join { run, ticket, ..join_of(&room.name, &format!("{}, seat {seat}", room.name)) };
        let mut request = Vec::new();
        frame(TEXT, ClientMessage::Join(join.clone()).to_json().as_bytes(), &mut request);
        frame(
            BINARY,
            &HandshakeRequest { codec: CODEC, name: String::new() }.encode(),
            &mut request,
        );
        socket.writer.write_all(&request).await?;
        let joined = loop {
            if let Some((opcode, payload)) = socket.incoming.next() {
                if let Some(joined) = answer(opcode, payload)? {
                    break joined;
                }
            } else {
                socket.incoming.fill(&mut socket.reader).await?;
            }
        };
        Findings::count(&room.findings.joins);
        let session =
            SessionId::new(joined.session).ok_or_else(|| io::Error::other("no session"))?;
        let info = ClientInfo { name: String::new(), id: joined.client, codec: CODEC };
        let state = ClientState { client: info, groups: vec!["Global".to_owned()] }.encode(session);
        let mut bytes = Vec::new();
        frame(BINARY, &state, &mut bytes);
        socket.writer.write_all(&bytes).await?;
        if seat == SPEAKER {
            room.speaker.set(Some(joined.client));
        }
        let view = View::new(&join, &joined);
        Ok(Self { socket, client: joined.client, session, ticket: joined.ticket, view, ticks: 0 })
    }

    /// In the room until `until`; a speaker speaks until `end`.
    async fn stay(
        &mut self,
        room: &Room,
        speaks: bool,
        until: Instant,
        end: Instant,
    ) -> Result<(), String> {
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.take_in(room).await?;
            tokio::select! {
                read = self.socket.incoming.fill(&mut self.socket.reader) => read.map_err(|error| error.to_string())?,
                _ = frames.tick(), if speaks => {
                    if Instant::now() < end {
                        self.speak(room).await.map_err(|error| error.to_string())?;
                    }
                }
                () = sleep_until(until) => return Ok(()),
            }
        }
    }

    async fn take_in(&mut self, room: &Room) -> Result<(), String> {
        let mut is_pinged = false;
        while let Some((opcode, payload)) = self.socket.incoming.next() {
            match opcode {
                TEXT => self.view.text(room, payload)?,
                BINARY => self.view.packet(room, payload),
                PING => is_pinged = true,
                CLOSE => return Err("the server closes".to_owned()),
                _ => {}
            }
        }
        if is_pinged {
            let mut pong = Vec::new();
            frame(PONG, &[], &mut pong);
            self.socket.writer.write_all(&pong).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The next frame to everyone that it knows, or a part of a pause.
    async fn speak(&mut self, room: &Room) -> io::Result<()> {
        self.ticks += 1;
        let listeners: Vec<ClientId> = self
            .view
            .roster
            .values()
            .map(|info| info.client)
            .filter(|client| *client != self.client)
            .collect();
        if self.ticks % (SPOKEN + PAUSED) > SPOKEN || listeners.is_empty() {
            return Ok(());
        }
        let target = Target::plain(TargetKind::Group(GroupId::of("Global")));
        let number = room.said.get();
        let mut speech = [0x55; FRAME_BYTES];
        speech[..8].copy_from_slice(&number.to_be_bytes());
        let header = VoiceHeader {
            sender: self.client,
            talkspurt: TalkspurtCounter::SevenBit(0),
            sequence: number as u16,
        };
        let (mut packet, mut relay, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        header.encode_packet(self.session, &[target], &speech, &mut packet);
        Relay::encode_packet(
            Kind::ServerRelayUnreliable,
            self.session,
            &listeners,
            &packet,
            &mut relay,
        );
        frame(BINARY, &relay, &mut bytes);
        room.said.set(number + 1);
        self.socket.writer.write_all(&bytes).await
    }

    async fn leave(mut self) {
        let mut bytes = Vec::new();
        frame(TEXT, ClientMessage::Leave.to_json().as_bytes(), &mut bytes);
        let _ = self.socket.writer.write_all(&bytes).await;
        // What it says last is read before the connection goes.
        while self.socket.incoming.fill(&mut self.socket.reader).await.is_ok() {
            while self.socket.incoming.next().is_some() {}
        }
    }
}

/// What the join was answered, if this is it.
fn answer(opcode: u8, payload: &[u8]) -> io::Result<Option<Joined>> {
    match opcode {
        TEXT => match decode_server(std::str::from_utf8(payload).map_err(io::Error::other)?) {
            Ok(ServerMessage::Joined(joined)) => Ok(Some(joined)),
            Ok(ServerMessage::Error { code, message, .. }) => {
                Err(io::Error::other(format!("{code}: {message}")))
            }
            _ => Ok(None),
        },
        CLOSE => Err(io::Error::other("the server closes")),
        _ => Ok(None),
    }
}
