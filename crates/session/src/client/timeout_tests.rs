//! Driving clients only when [`Client::poll_timeout`] says so gives the same trace as calling them
//! every 5 ms: whatever happens, nothing that they do by themselves comes later.

use std::collections::BTreeMap;

use fastrand::Rng;
use voicemesh_netsim::Schedule;
use voicemesh_wire::Permissions;
use voicemesh_wire::packet::CodecSettings;

use super::*;
use crate::roster::{Abilities, RosterEntry, TextReader};
use crate::server::{Server, ServerConfig, ServerOutput};
use crate::transport::Delivery;

const CODEC: CodecSettings =
    CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };
const STEP: Duration = Duration::from_millis(5);
const STEPS: u32 = 8_000;
const PEERS: u16 = 4;
const SEEDS: u64 = 24;

#[derive(Default)]
struct Sent(Vec<(u16, Bytes)>);

impl ServerOutput<u16> for Sent {
    fn send(&mut self, to: u16, packet: Bytes, _: Delivery) {
        self.0.push((to, packet));
    }
}

enum Arrival {
    AtServer { from: u16, packet: Bytes },
    At { to: u16, event: NetworkEvent<u16> },
}

struct Speech {
    until: u32,
    frames_per_packet: u8,
}

struct World {
    now: Duration,
    /// Calls clients at each step, and not only when they say so.
    always: bool,
    random: Rng,
    clients: BTreeMap<u16, Client<u16>>,
    server: Server<u16>,
    sessions: u32,
    /// Whose packets the server does not get, and who gets none of its.
    unreached: BTreeSet<u16>,
    /// Pairs between which nothing passes, the lower one first.
    cut: BTreeSet<(u16, u16)>,
    /// The generation of the link between two, the lower one first.
    links: BTreeMap<(u16, u16), u32>,
    under_way: Schedule<Arrival>,
    speech: BTreeMap<u16, Speech>,
    trace: Vec<String>,
    updates: u64,
}

fn pair(a: u16, b: u16) -> (u16, u16) {
    (a.min(b), a.max(b))
}

impl World {
    fn new(seed: u64, always: bool) -> Self {
        let client = |peer: u16| {
            let config = ClientConfig {
                keep_lost: Duration::from_secs(3),
                handshake_retry: Duration::from_secs(1),
                ..ClientConfig::new(format!("p{peer}"), CODEC, peer)
            };
            (peer, Client::new(config))
        };
        Self {
            now: Duration::from_secs(1),
            always,
            random: Rng::with_seed(seed),
            clients: (0..PEERS).map(client).collect(),
            server: Server::new(ServerConfig::default(), SessionId::new(1).unwrap()),
            sessions: 1,
            unreached: BTreeSet::new(),
            cut: BTreeSet::new(),
            links: BTreeMap::new(),
            under_way: Schedule::default(),
            speech: BTreeMap::new(),
            trace: Vec::new(),
            updates: 0,
        }
    }

    fn note(&mut self, what: String) {
        self.trace.push(format!("{:?} {what}", self.now));
    }

    fn send(&mut self, arrival: Arrival) {
        let delay = Duration::from_micros(self.random.u64(3_000..60_000));
        self.under_way.add(self.now + delay, arrival);
    }

    fn tell(&mut self, to: u16, event: NetworkEvent<u16>) {
        let now = self.now;
        if let Some(client) = self.clients.get_mut(&to) {
            client.network_event(now, event);
        }
        self.take_outputs(to);
    }

    /// The roster of the server's session, which each gets that the server reaches.
    fn tell_roster(&mut self) {
        let mut roster = Roster::of_session(Some(self.server.session()));
        for peer in 0..PEERS {
            let entry = RosterEntry {
                client: self.server.client_of(peer),
                abilities: Abilities::ALL,
                permissions: Permissions::default(),
                held_in: Vec::new(),
                text_reader: TextReader::Ready,
                hears_plain: false,
            };
            roster.insert(peer, entry);
        }
        for peer in (0..PEERS).filter(|peer| !self.unreached.contains(peer)).collect::<Vec<_>>() {
            self.tell(peer, NetworkEvent::RosterChanged(Box::new(roster.clone())));
        }
    }

    fn deliver(&mut self, sent: Sent) {
        for (to, packet) in sent.0 {
            if !self.unreached.contains(&to) {
                self.send(Arrival::At { to, event: NetworkEvent::FromServer(packet) });
            }
        }
    }

    fn link_up(&mut self, pair: (u16, u16)) {
        let generation = self.links.get(&pair).map_or(1, |generation| generation + 1);
        self.links.insert(pair, generation);
        for (to, peer) in [pair, (pair.1, pair.0)] {
            self.tell(to, NetworkEvent::LinkUp(LinkId { peer, generation }));
        }
    }

    fn link_down(&mut self, at: u16, link: LinkId<u16>) {
        self.tell(at, NetworkEvent::LinkDown(link));
    }

    fn take_outputs(&mut self, of: u16) {
        while let Some(output) = self.clients.get_mut(&of).and_then(Client::poll_output) {
            self.note(format!("{of} {output:?}"));
            match output {
                Output::ToServer { packet, .. } => {
                    if !self.unreached.contains(&of) {
                        self.send(Arrival::AtServer { from: of, packet });
                    }
                }
                Output::ToLinks(packet) => self.send_on_links(of, &packet),
                Output::PingServer { number, .. } => {
                    if !self.unreached.contains(&of) {
                        self.send(Arrival::At { to: of, event: NetworkEvent::ServerPong(number) });
                    }
                }
                Output::ReleaseLink(link) => self.link_down(of, link),
                Output::ReplaceLink(link) => {
                    if !self.cut.contains(&pair(of, link.peer)) {
                        self.link_up(pair(of, link.peer));
                    }
                }
                Output::LinkStalled(_) => {}
            }
        }
        while let Some(event) = self.clients.get_mut(&of).and_then(Client::poll_event) {
            self.note(format!("{of} {event:?}"));
        }
        let now = self.now;
        while let Some(event) = self.clients.get_mut(&of).and_then(|client| client.poll_data(now)) {
            self.note(format!("{of} {event:?}"));
        }
    }

    fn send_on_links(&mut self, of: u16, packet: &LinkPacket<u16>) {
        let now = self.now;
        for destination in &packet.to {
            let to = destination.link.peer;
            if self.links.get(&pair(of, to)) != Some(&destination.link.generation) {
                let refused = LinkPacket { to: vec![*destination], ..packet.clone() };
                if let Some(client) = self.clients.get_mut(&of) {
                    client.refused(now, refused);
                }
            } else if !self.cut.contains(&pair(of, to)) && self.random.u8(..100) >= 3 {
                let link = LinkId { peer: of, generation: destination.link.generation };
                let event = NetworkEvent::FromLink { link, packet: packet.packet.clone() };
                self.send(Arrival::At { to, event });
            }
        }
    }

    fn arrive(&mut self) {
        while let Some(arrival) = self.under_way.pop(self.now) {
            match arrival {
                Arrival::At { to, event } => self.tell(to, event),
                Arrival::AtServer { from, packet } => {
                    let mut sent = Sent::default();
                    let before = self.server.client_of(from);
                    self.server.receive(self.now, from, &packet, &mut sent);
                    self.deliver(sent);
                    if self.server.client_of(from) != before {
                        self.tell_roster();
                    }
                }
            }
        }
    }

    /// Something that a program, its user or the world does.
    fn happen(&mut self) {
        let now = self.now;
        let peer = self.random.u16(..PEERS);
        let other = (peer + self.random.u16(1..PEERS)) % PEERS;
        let random = self.random.u32(..);
        let what = random % 17;
        self.note(format!("happens: {what} {peer} {other}"));
        let Some(client) = self.clients.get_mut(&peer) else { return };
        match what {
            0 => client.open_target(VoiceTarget::Peer(other), TargetOptions::default()).unwrap(),
            1 => client.close_target(now, &VoiceTarget::Peer(other)),
            2 => _ = client.join_group("red"),
            3 => client.leave_group("red"),
            4 => client.set_congested(random & 0x100 == 0),
            5 => {
                let chosen = [Participant::Peer(other)].into_iter();
                client.relay_speech_to(now, chosen.filter(|_| random & 0x100 == 0).collect());
            }
            6 => {
                let bytes = Bytes::from(vec![7; 1 + (random >> 8) as usize % 60_000]);
                _ = client.send_data(other, Reliability::Reliable, bytes);
            }
            7 => _ = client.send_data(other, Reliability::Unreliable, Bytes::from_static(b"x")),
            8 => _ = client.probe_bandwidth(other, random as u16, 4, 500),
            9 => self.tell(peer, NetworkEvent::PathChanged),
            10 => self.tell(peer, NetworkEvent::Resumed),
            11 | 12 => {
                if !self.cut.remove(&pair(peer, other)) {
                    self.cut.insert(pair(peer, other));
                }
            }
            13 if random & 0x100 == 0 => self.link_up(pair(peer, other)),
            13 => {
                if let Some(generation) = self.links.get(&pair(peer, other)).copied() {
                    let link = LinkId { peer: other, generation };
                    let round_trip = Duration::from_millis(40);
                    let event =
                        NetworkEvent::LinkAnswered { link, round_trip, further_header_bytes: 0 };
                    self.tell(peer, event);
                }
            }
            14 | 15 => {
                let is_reached = self.unreached.remove(&peer);
                if !is_reached {
                    self.unreached.insert(peer);
                }
                let answered = is_reached.then_some(now);
                client.set_server_health(ServerHealth { is_reached, answered });
                if is_reached && random & 0x300 == 0 {
                    self.tell(peer, NetworkEvent::Connected);
                }
            }
            _ => {
                // A new session, into which each is brought that the server reaches.
                if random & 0x300 == 0 {
                    self.sessions += 1;
                    let session = SessionId::new(self.sessions).unwrap();
                    self.server = Server::new(ServerConfig::default(), session);
                    for peer in 0..PEERS {
                        self.tell(peer, NetworkEvent::Connected);
                    }
                } else {
                    let mut sent = Sent::default();
                    self.server.disconnected(now, peer, &mut sent);
                    self.deliver(sent);
                }
                self.tell_roster();
            }
        }
    }

    fn speak(&mut self, step: u32) {
        for peer in 0..PEERS {
            if !self.speech.contains_key(&peer) && self.random.u32(..400) == 0 {
                let until = step + self.random.u32(20..800);
                let frames_per_packet = self.random.u8(1..=3);
                self.speech.insert(peer, Speech { until, frames_per_packet });
            }
            let Some(speech) = self.speech.get(&peer).filter(|_| step.is_multiple_of(4)) else {
                continue;
            };
            let (frames, ends) = (speech.frames_per_packet, step >= speech.until);
            let spoken = OutgoingFrame {
                // Some break off without announcing a pause.
                pause_follows: ends && frames > 1,
                copies: &[1],
                wants_copies: &|_| true,
                frames_per_packet: &|_| frames,
                ..OutgoingFrame::plain(Bytes::from_static(b"frame"))
            };
            if let Some(client) = self.clients.get_mut(&peer) {
                client.send_spoken(self.now, &spoken);
            }
            if ends {
                self.speech.remove(&peer);
            }
        }
    }

    fn step(&mut self, step: u32) {
        self.arrive();
        if self.random.u32(..100) == 0 {
            self.happen();
        }
        self.speak(step);
        for peer in 0..PEERS {
            let (now, always) = (self.now, self.always);
            if let Some(client) = self.clients.get_mut(&peer)
                && (always || client.poll_timeout().is_some_and(|at| at <= now))
            {
                client.update(now);
                self.updates += 1;
            }
            self.take_outputs(peer);
        }
        // What was dropped shows what is remembered.
        if step.is_multiple_of(100) {
            let dropped: Vec<_> = self.clients.values().map(|client| client.dropped()).collect();
            self.trace.push(format!("{:?} dropped {dropped:?}", self.now));
        }
        self.now += STEP;
    }

    fn run(seed: u64, always: bool) -> Self {
        let mut world = Self::new(seed, always);
        for peer in 0..PEERS {
            world.tell(peer, NetworkEvent::Connected);
        }
        for peer in 0..PEERS {
            (peer + 1..PEERS).for_each(|other| world.link_up((peer, other)));
        }
        (0..STEPS).for_each(|step| world.step(step));
        world
    }
}

#[test]
fn being_called_when_a_timer_runs_out_gives_the_trace_of_being_called_every_5_ms() {
    let mut entries = 0;
    for seed in 0..SEEDS {
        let (each, due) = (World::run(seed, true), World::run(seed, false));
        let differs = each.trace.iter().zip(&due.trace).position(|(each, due)| each != due);
        if let Some(index) = differs {
            let show = |world: &World| {
                world.trace[index.saturating_sub(12)..(index + 3).min(world.trace.len())].join("\n")
            };
            panic!("seed {seed}, each step:\n{}\n\nwhen due:\n{}", show(&each), show(&due));
        }
        assert_eq!(each.trace.len(), due.trace.len(), "seed {seed}");
        entries += each.trace.len();
        println!("seed {seed}: {} calls of {}", due.updates, each.updates);
    }
    assert!(entries > 100_000, "little happened: {entries}");
}

/// With three links and no speech, the timers are probes and looks.
#[test]
fn a_client_to_whom_nothing_happens_is_called_a_few_times_a_second() {
    let mut world = World::new(1, false);
    for peer in 0..PEERS {
        world.tell(peer, NetworkEvent::Connected);
    }
    for peer in 0..PEERS {
        (peer + 1..PEERS).for_each(|other| world.link_up((peer, other)));
    }
    let mut run = |seconds: u32| {
        world.updates = 0;
        for _ in 0..seconds * 200 {
            world.arrive();
            for peer in 0..PEERS {
                let now = world.now;
                if let Some(client) = world.clients.get_mut(&peer)
                    && client.poll_timeout().is_some_and(|at| at <= now)
                {
                    client.update(now);
                    world.updates += 1;
                }
                world.take_outputs(peer);
            }
            world.now += STEP;
        }
        world.updates / u64::from(PEERS) / u64::from(seconds)
    };
    run(10);
    let calls_a_second = run(60);
    assert!(calls_a_second <= 6, "{calls_a_second}");
}

/// The interval is the one that [`RelayPath`] keeps.
#[test]
fn pings_to_the_server_are_asked_for_at_the_interval_that_is_waited_for() {
    let mut path = RelayPath::new();
    path.voice_sent(100);
    assert!(path.ping_due(Duration::ZERO).is_some());
    path.voice_sent(100);
    assert!(path.ping_due(core::PING_INTERVAL - Duration::from_nanos(1)).is_none());
    assert!(path.ping_due(core::PING_INTERVAL).is_some());
}
