//! A member that keeps to no rule of data channels, beside two players.
//!
//! It speaks to the server over a bare socket, as a member of the room, and has packets passed on
//! to the players, who are processes of their own so that their memory can be looked at.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use voicemesh_tests::process::Program;
use voicemesh_tests::room::{PATIENCE, Server};
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::packet::{
    ClientInfo, ClientState, CodecSettings, DataAck, DataMessage, DataReset, DataSegment,
    HandshakeRequest, Kind, PipeEnd, Record, Relay, open,
};
use voicemesh_wire::signaling::{
    Capabilities, ClientMessage, Join, Joined, MemberStatus, Metadata, PROTOCOL_VERSION, Presence,
    ServerMessage, decode_server,
};
use voicemesh_wire::{ClientId, SessionId};

use crate::player::{self, wait_for, wait_for_batch};
use socket::{BINARY, CLOSE, PING, PONG, Socket, TEXT, frame};

#[path = "../bench/socket.rs"]
mod socket;

const ROOM: &str = "hostile";
/// It comes so many times, and stays until the server throws it out.
const VISITS: u32 = 4;
/// Packets of one attack on one player.
const PACKETS: u32 = 600;
/// Packets between two looks at whether the server still listens.
const PACKETS_AT_ONCE: usize = 150;
/// After the attacks: this many packets at most until it is thrown out.
const MOST_FLOODING: u32 = 400_000;
/// A player's memory may grow by so much over all visits. What may be held for one hostile peer: 1
/// MiB that waits for it, 600 segments and 128 lossy messages of it in the pipe, 1 MiB of it that
/// is not polled; the rest is for allocators.
const MOST_GROWTH_KIB: u64 = 16 * 1024;

#[test]
fn a_peer_that_floods_lies_and_opens_everything_disturbs_no_other_and_fills_no_memory() {
    for encrypts in [false, true] {
        withstand(encrypts);
    }
}

/// Players that encrypt take nothing of one that does not.
fn withstand(encrypts: bool) {
    let server = Server::start(&[]);
    let mut players: Vec<Program> =
        (0..2).map(|index| player::start(&server.url(), ROOM, index, 2, encrypts)).collect();
    for player in &mut players {
        wait_for(player, "ready");
        wait_for(player, "mismatch");
    }
    let mut number = 0;
    let mut send_all = |players: &mut [Program]| {
        number += 1;
        players.iter_mut().for_each(|player| player.type_line("send"));
        number
    };
    let wait_all = |players: &mut [Program], number| {
        for (index, player) in players.iter_mut().enumerate() {
            wait_for_batch(player, number, 1 - index);
        }
    };
    let first = send_all(&mut players);
    wait_all(&mut players, first);
    let before: Vec<u64> = players.iter().map(memory_kib).collect();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for visit in 0..VISITS {
        let mut hostile =
            runtime.block_on(patiently(Hostile::enter(server.address, visit))).unwrap();
        // The players send to it, too, as much as they can, and go on with each other.
        let batch = send_all(&mut players);
        runtime.block_on(patiently(hostile.attack(visit)));
        wait_all(&mut players, batch);
        let batch = send_all(&mut players);
        let thrown_out = runtime.block_on(patiently(hostile.flood()));
        assert!(thrown_out, "the server bears with anything");
        wait_all(&mut players, batch);
    }
    for (player, before) in players.iter_mut().zip(before) {
        let growth = memory_kib(player).saturating_sub(before);
        player.type_line("report");
        let report = wait_for(player, "report");
        println!("grew by {growth} KiB of {before} KiB: {report}");
        assert!(growth <= MOST_GROWTH_KIB, "{growth} KiB more than {before} KiB");
        for what in ["messages", "opened", "closed", "mismatch", "disconnected"] {
            let has_come = report["strangers"][what].as_u64().is_some_and(|count| count > 0);
            assert_eq!(has_come, !encrypts, "{what}: {report}");
        }
        assert_eq!(report["refusals"], Value::from(vec!["would-block"]));
    }
    for mut player in players {
        player.type_line("end");
        wait_for(&mut player, "left");
        assert!(player.wait_for_exit(PATIENCE).success(), "{}", player.transcript());
    }
}

async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(2 * PATIENCE, work).await.expect("it takes too long")
}

/// What a process has in memory.
fn memory_kib(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

struct Hostile {
    socket: Socket,
    own: ClientId,
    session: SessionId,
    victims: Vec<ClientId>,
    /// The victims' ends, as last seen.
    ends: BTreeMap<ClientId, PipeEnd>,
    own_end: u32,
    rng: ChaCha8Rng,
    frames: Vec<u8>,
    waiting: usize,
    is_there: bool,
}

impl Hostile {
    async fn enter(server: SocketAddr, visit: u32) -> io::Result<Self> {
        let mut socket = Socket::connect(server).await?;
        let mut frames = Vec::new();
        frame(TEXT, ClientMessage::Join(join(server, visit)).to_json().as_bytes(), &mut frames);
        let codec = CodecSettings {
            codec: CodecSettings::OPUS,
            frame_samples: 960,
            sample_rate_hz: 48_000,
        };
        frame(BINARY, &HandshakeRequest { codec, name: String::new() }.encode(), &mut frames);
        socket.writer.write_all(&frames).await?;
        let Joined { client: own, session, peers, .. } = joined(&mut socket).await?;
        let session = SessionId::new(session).ok_or(io::ErrorKind::InvalidData)?;
        let client = ClientInfo { name: String::new(), id: own, codec };
        frames.clear();
        frame(BINARY, &ClientState { client, groups: Vec::new() }.encode(session), &mut frames);
        Ok(Self {
            socket,
            own,
            session,
            victims: peers.iter().map(|peer| peer.client).collect(),
            ends: BTreeMap::new(),
            own_end: 0,
            rng: ChaCha8Rng::seed_from_u64(u64::from(own.0)),
            frames,
            waiting: 1,
            is_there: true,
        })
    }

    /// Everything once, on everyone.
    async fn attack(&mut self, visit: u32) {
        self.turn().await;
        for victim in self.victims.clone() {
            self.open_and_close_everything(victim).await;
            self.number_at_random(victim).await;
            self.begin_without_end(victim, 1_000).await;
            self.begin_without_end(victim, 0).await;
            self.hold_what_is_far(victim).await;
            self.mix_records(victim).await;
            self.acknowledge_what_was_never_sent(victim).await;
            self.lose_on_every_channel(victim).await;
            self.send_what_is_too_large(victim).await;
            self.lie_about_ends(victim).await;
            self.reset_and_begin_anew(victim).await;
        }
        assert!(self.is_there, "thrown out of visit {visit} before all was tried");
    }

    /// Beyond every budget, until it is over.
    async fn flood(&mut self) -> bool {
        for number in 0..MOST_FLOODING {
            if !self.is_there {
                return true;
            }
            let victim = self.victims[number as usize % self.victims.len()];
            let to = self.ends.get(&victim).map(|end| (*end, number as u8));
            let message = DataMessage { sender: self.own, on: to, payload: &[7; 1_100] };
            self.send(victim, &message.encode(self.session)).await;
        }
        !self.is_there
    }

    async fn open_and_close_everything(&mut self, victim: ClientId) {
        self.begin_anew();
        let kinds =
            [Record::OpenReliable, Record::OpenUnreliable, Record::OpenReliable, Record::Close];
        for (number, (kind, channel)) in
            (0..).zip(kinds.iter().flat_map(|kind| (0..=255).map(move |n| (kind, n))))
        {
            self.segment(victim, number, kind(channel), true, true, 0).await;
        }
    }

    async fn number_at_random(&mut self, victim: ClientId) {
        self.begin_anew();
        for _ in 0..PACKETS {
            let number = self.rng.next_u32() >> (self.rng.next_u32() % 32);
            let bits = self.rng.next_u32();
            self.segment(victim, number, Record::Message, bits & 1 > 0, bits & 2 > 0, 500).await;
        }
    }

    /// Longer than any message, or of no bytes at all.
    async fn begin_without_end(&mut self, victim: ClientId, bytes: usize) {
        self.begin_anew();
        for number in 0..PACKETS {
            self.segment(victim, number, Record::Message, number == 0, false, bytes).await;
        }
    }

    /// Small parts that wait for one that never comes, each in a separate large packet.
    async fn hold_what_is_far(&mut self, victim: ClientId) {
        self.begin_anew();
        for number in 1..=64 {
            self.segment(victim, number, Record::Message, true, true, 1).await;
            // What the server drops counts as a violation, and too many of those end the visit.
            if number % 2 == 0 {
                self.send(victim, &[0; 8_000]).await;
            }
        }
    }

    async fn mix_records(&mut self, victim: ClientId) {
        for round in 0..PACKETS / 3 {
            self.begin_anew();
            self.segment(victim, 0, Record::Message, round % 2 == 0, false, 10).await;
            self.segment(victim, 1, Record::OnChannel(3), false, true, 10).await;
            self.segment(victim, 2, Record::OnChannel(3), true, true, 10).await;
        }
    }

    async fn acknowledge_what_was_never_sent(&mut self, victim: ClientId) {
        self.begin_anew();
        self.segment(victim, 0, Record::OpenReliable(10), true, true, 0).await;
        self.turn().await;
        for _ in 0..PACKETS {
            let (Some(from), Some(to)) =
                (PipeEnd::new(self.own_end), self.ends.get(&victim).copied())
            else {
                return;
            };
            let next = self.rng.next_u32() >> (self.rng.next_u32() % 32);
            let later = self.rng.next_u64();
            let ack = DataAck {
                sender: self.own,
                from,
                to,
                next,
                later,
                window: self.rng.next_u32() as u16,
            };
            self.send(victim, &ack.encode(self.session)).await;
        }
    }

    async fn lose_on_every_channel(&mut self, victim: ClientId) {
        for number in 0..PACKETS {
            let on =
                self.ends.get(&victim).map(|end| (*end, number as u8)).filter(|_| number % 2 > 0);
            let message = DataMessage {
                sender: self.own,
                on,
                payload: &[7; 1_100][..number as usize % 1_101],
            };
            self.send(victim, &message.encode(self.session)).await;
        }
    }

    async fn send_what_is_too_large(&mut self, victim: ClientId) {
        for size in (1_001..16_000).step_by(300) {
            let mut packets = vec![
                DataMessage { sender: self.own, on: None, payload: &vec![7; size] }
                    .encode(self.session),
            ];
            let segment =
                self.made(0, Record::Message, true, true, &vec![7; size]).encode(self.session);
            packets.push(segment.clone());
            packets.push(segment[..size % 30].to_vec());
            for packet in packets {
                self.pass_on(Kind::ServerRelayReliable, victim, &packet).await;
            }
        }
    }

    async fn lie_about_ends(&mut self, victim: ClientId) {
        self.begin_anew();
        for number in 0..PACKETS {
            let mut segment = self.made(number, Record::Message, true, true, b"lie");
            segment.to = PipeEnd::new(self.rng.next_u32());
            segment.from = PipeEnd::new(self.rng.next_u32() | 1).expect("not zero");
            if number % 30 == 0 {
                // In another's name, which the server drops.
                segment.sender = *self.victims.iter().find(|other| **other != victim).expect("two");
            }
            let packet = segment.encode(self.session);
            self.send(victim, &packet).await;
        }
    }

    async fn reset_and_begin_anew(&mut self, victim: ClientId) {
        for number in 0..PACKETS {
            if number % 2 == 0 {
                self.begin_anew();
                self.segment(victim, 0, Record::OpenUnreliable(10), true, true, 0).await;
            } else if let Some(to) = self.ends.get(&victim) {
                let packet = DataReset { sender: self.own, to: *to }.encode(self.session);
                self.send(victim, &packet).await;
            }
        }
    }

    fn begin_anew(&mut self) {
        self.own_end += 1;
    }

    fn made<'a>(
        &self,
        number: u32,
        record: Record,
        is_first: bool,
        is_last: bool,
        payload: &'a [u8],
    ) -> DataSegment<'a> {
        let from = PipeEnd::new(self.own_end.max(1)).expect("not zero");
        DataSegment { sender: self.own, from, to: None, number, record, is_first, is_last, payload }
    }

    async fn segment(
        &mut self,
        to: ClientId,
        number: u32,
        record: Record,
        first: bool,
        last: bool,
        bytes: usize,
    ) {
        let packet =
            self.made(number, record, first, last, &[0x77; 1_000][..bytes]).encode(self.session);
        self.send(to, &packet).await;
    }

    async fn send(&mut self, victim: ClientId, packet: &[u8]) {
        self.pass_on(Kind::ServerRelayUnreliable, victim, packet).await;
    }

    async fn pass_on(&mut self, kind: Kind, victim: ClientId, packet: &[u8]) {
        let mut relay = Vec::new();
        Relay::encode_packet(kind, self.session, &[victim], packet, &mut relay);
        frame(BINARY, &relay, &mut self.frames);
        self.waiting += 1;
        if self.waiting >= PACKETS_AT_ONCE {
            self.turn().await;
        }
    }

    /// Lets what waits leave, and looks at what came, until the server has read it all.
    async fn turn(&mut self) {
        self.is_there = self.is_there && self.exchange().await.is_ok();
    }

    async fn exchange(&mut self) -> io::Result<()> {
        frame(PING, b"?", &mut self.frames);
        self.waiting = 0;
        self.socket.writer.write_all(&self.frames).await?;
        self.frames.clear();
        loop {
            while let Some((opcode, payload)) = self.socket.incoming.next() {
                match opcode {
                    BINARY => note_end(&mut self.ends, payload),
                    PING => frame(PONG, payload, &mut self.frames),
                    PONG => return Ok(()),
                    CLOSE => return Err(io::ErrorKind::ConnectionAborted.into()),
                    _ => {}
                }
            }
            self.socket.incoming.fill(&mut self.socket.reader).await?;
        }
    }
}

/// What a victim sends tells its end.
fn note_end(ends: &mut BTreeMap<ClientId, PipeEnd>, packet: &[u8]) {
    let found = match open(packet) {
        Ok((header, body)) if header.kind == Kind::DataSegment => {
            DataSegment::decode(body).ok().map(|segment| (segment.sender, segment.from))
        }
        Ok((header, body)) if header.kind == Kind::DataAck => {
            DataAck::decode(body).ok().map(|ack| (ack.sender, ack.from))
        }
        _ => None,
    };
    ends.extend(found);
}

async fn joined(socket: &mut Socket) -> io::Result<Joined> {
    let mut joined = None;
    loop {
        while let Some((opcode, payload)) = socket.incoming.next() {
            match opcode {
                TEXT => {
                    let text = std::str::from_utf8(payload).map_err(io::Error::other)?;
                    match decode_server(text) {
                        Ok(ServerMessage::Joined(answer)) => joined = Some(answer),
                        Ok(ServerMessage::Error { message, .. }) => {
                            return Err(io::Error::other(message));
                        }
                        _ => {}
                    }
                }
                BINARY => {
                    let is_answer = open(payload)
                        .is_ok_and(|(header, _)| header.kind == Kind::HandshakeResponse);
                    if is_answer && let Some(joined) = joined.take() {
                        return Ok(joined);
                    }
                }
                _ => {}
            }
        }
        socket.incoming.fill(&mut socket.reader).await?;
    }
}

/// Each visit is another person: what one has used up of its budgets stays used up when it comes
/// back.
fn join(server: SocketAddr, visit: u32) -> Join {
    Join {
        protocol: PROTOCOL_VERSION,
        proof: prove(
            &InstallationSecret([66 + visit as u8; 32]),
            &format!("ws://{server}"),
            ROOM,
            0,
        ),
        room: ROOM.to_owned(),
        name: "Mallory".to_owned(),
        run: 1,
        capabilities: Capabilities { relay_only: true, data: true, ..Capabilities::default() },
        metadata: Metadata::new(),
        status: MemberStatus::default(),
        presence: Presence::MustExist,
        password: None,
        room_metadata: Metadata::new(),
        token: None,
        ticket: None,
    }
}
