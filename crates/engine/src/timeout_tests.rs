//! Driving engines only when [`VoiceEngine::poll_timeout`] says so gives the same trace as driving
//! them every millisecond: whatever happens, nothing that they do by themselves comes later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_netsim::Schedule;
use voicemesh_session::network::{LinkId, NetworkEvent, PacketLimits};
use voicemesh_session::output::{LinkPacket, Output};
use voicemesh_session::route::Route;
use voicemesh_wire::packet::{self, Kind, Relay};

use crate::{EngineConfig, EngineEvent, EngineOutput, VoiceEngine};

const STEP: Duration = Duration::from_millis(1);
const STEPS: u32 = 14_000;
const SEEDS: u64 = 4;
/// The first one is the host.
const PEERS: u8 = 3;
const HOST: u8 = 0;
/// A host hands its client what its server answers, and the server what that answers: a handshake
/// takes the most turns.
const TURNS_IN_A_MOMENT: u32 = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Driven {
    /// At each step.
    Always,
    /// At each step at which they say so, once.
    WhenDue,
    /// At each step at which they say so, until they say another time.
    UntilNotDue,
}

struct Arrival {
    at: u8,
    event: NetworkEvent<u8>,
}

struct World {
    now: Duration,
    driven: Driven,
    random: Rng,
    engines: Vec<VoiceEngine<u8>>,
    under_way: Schedule<Arrival>,
    /// What the server sends these comes at that time, all at once, as after a loss on TCP.
    stalled_until: BTreeMap<u8, Duration>,
    /// Pairs between which nothing passes, the lower one first.
    cut: BTreeSet<(u8, u8)>,
    /// The generation of the link between two, the lower one first.
    links: BTreeMap<(u8, u8), u32>,
    speaks_until: BTreeMap<u8, u32>,
    links_wait: BTreeSet<u8>,
    trace: Vec<String>,
    /// What was sent, in packets.
    kinds: BTreeMap<Kind, u64>,
    links_waited: u64,
    turns: u64,
    most_turns_in_a_moment: u32,
}

fn pair(a: u8, b: u8) -> (u8, u8) {
    (a.min(b), a.max(b))
}

impl World {
    fn new(seed: u64, driven: Driven) -> Self {
        let engine = |peer: u8| {
            let config = EngineConfig::new(format!("p{peer}"), seed << 8 | u64::from(peer));
            VoiceEngine::new(config).expect("an encoder")
        };
        let mut world = Self {
            now: Duration::from_secs(1),
            driven,
            random: Rng::with_seed(seed),
            engines: (0..PEERS).map(engine).collect(),
            under_way: Schedule::default(),
            stalled_until: BTreeMap::new(),
            cut: BTreeSet::new(),
            links: BTreeMap::new(),
            speaks_until: BTreeMap::new(),
            links_wait: BTreeSet::new(),
            trace: Vec::new(),
            kinds: BTreeMap::new(),
            links_waited: 0,
            turns: 0,
            most_turns_in_a_moment: 0,
        };
        for at in 0..PEERS {
            let engine = world.engine(at);
            if at == HOST {
                engine.run_as_host(PacketLimits::default()).expect("it is idle");
                world.tell(at, NetworkEvent::Hosting);
            } else {
                engine.run_as_client(PacketLimits::default()).expect("it is idle");
                world.tell(at, NetworkEvent::Connected);
            }
        }
        world
    }

    fn engine(&mut self, at: u8) -> &mut VoiceEngine<u8> {
        &mut self.engines[usize::from(at)]
    }

    fn note(&mut self, what: String) {
        self.trace.push(format!("{:?} {what}", self.now));
    }

    fn send(&mut self, at: u8, event: NetworkEvent<u8>) {
        let delay = Duration::from_micros(self.random.u64(3_000..40_000));
        let mut arrives = self.now + delay;
        if matches!(event, NetworkEvent::FromServer(_)) {
            let until = self.stalled_until.get(&at).copied().unwrap_or_default();
            arrives = arrives.max(until);
        }
        self.under_way.add(arrives, Arrival { at, event });
    }

    fn tell(&mut self, at: u8, event: NetworkEvent<u8>) {
        let now = self.now;
        self.engine(at).handle(now, event);
        self.take_outputs(at);
    }

    fn take_outputs(&mut self, of: u8) {
        while let Some(output) = self.engine(of).poll_output() {
            self.note(format!("{of} {output:?}"));
            match output {
                EngineOutput::ToClient { to, packet, .. } => {
                    self.send(to, NetworkEvent::FromServer(packet));
                }
                EngineOutput::EndClient { to } => panic!("{to} is within its budget"),
                EngineOutput::Client(Output::ToServer { packet, .. }) => {
                    self.count(&packet);
                    self.send(HOST, NetworkEvent::FromClient { peer: of, packet });
                }
                EngineOutput::Client(Output::ToLinks(packet)) => self.send_on_links(of, &packet),
                EngineOutput::Client(Output::PingServer { number, .. }) => {
                    self.send(of, NetworkEvent::ServerPong(number));
                }
                EngineOutput::Client(Output::ReplaceLink(link)) => {
                    if !self.cut.contains(&pair(of, link.peer)) {
                        self.link_up(pair(of, link.peer));
                    }
                }
                EngineOutput::Client(Output::ReleaseLink(_) | Output::LinkStalled(_)) => {}
            }
        }
        while let Some(event) = self.engine(of).poll_event() {
            self.note(format!("{of} {event:?}"));
        }
    }

    fn count(&mut self, packet: &Bytes) {
        let (mut header, body) = packet::open(packet).expect("an engine made it");
        if header.kind == Kind::ServerRelayUnreliable {
            let relay = Relay::decode(body).expect("an engine made it");
            header = packet::open(relay.packet).expect("an engine made it").0;
        }
        *self.kinds.entry(header.kind).or_default() += 1;
    }

    fn send_on_links(&mut self, of: u8, packet: &LinkPacket<u8>) {
        let now = self.now;
        self.count(&packet.packet);
        for destination in &packet.to {
            let to = destination.link.peer;
            if self.links.get(&pair(of, to)) != Some(&destination.link.generation) {
                let mut refused = packet.clone();
                refused.to = vec![*destination];
                self.engine(of).refused(now, refused);
            } else if !self.cut.contains(&pair(of, to)) && self.random.u8(..100) >= 3 {
                let link = LinkId { peer: of, generation: destination.link.generation };
                self.send(to, NetworkEvent::FromLink { link, packet: packet.packet.clone() });
            }
        }
    }

    fn link_up(&mut self, pair: (u8, u8)) {
        let generation = self.links.get(&pair).map_or(1, |generation| generation + 1);
        self.links.insert(pair, generation);
        for (at, peer) in [pair, (pair.1, pair.0)] {
            self.tell(at, NetworkEvent::LinkUp(LinkId { peer, generation }));
        }
    }

    /// Something that a program, its user or the world does.
    fn happen(&mut self) {
        let now = self.now;
        let at = self.random.u8(..PEERS);
        let other = (at + self.random.u8(1..PEERS)) % PEERS;
        let random = self.random.u32(..);
        let what = random % 12;
        self.note(format!("happens: {what} {at} {other}"));
        match what {
            0..=2 => {
                let until = now + Duration::from_millis(u64::from(random >> 8) % 3_500);
                self.stalled_until.insert(at, until);
            }
            3 | 4 => {
                if !self.cut.remove(&pair(at, other)) {
                    self.cut.insert(pair(at, other));
                }
            }
            5 | 6 => self.link_up(pair(at, other)),
            7 => {
                if let Some(generation) = self.links.remove(&pair(at, other)) {
                    for (at, peer) in [(at, other), (other, at)] {
                        self.tell(at, NetworkEvent::LinkDown(LinkId { peer, generation }));
                    }
                }
            }
            8 => self.tell(at, NetworkEvent::PeerRestarted(other)),
            9 => self.tell(at, NetworkEvent::PathChanged),
            10 => {
                let limit = (random & 0x300 != 0).then_some(30_000);
                self.engine(at).set_uplink_bps(limit);
            }
            _ => self.tell(at, NetworkEvent::Resumed),
        }
        self.take_outputs(at);
    }

    /// 10 ms of sound.
    fn sound(&mut self, step: u32) {
        for at in 0..PEERS {
            if !self.speaks_until.contains_key(&at) && self.random.u32(..120) == 0 {
                let until = step + self.random.u32(300..5_000);
                self.speaks_until.insert(at, until);
            }
            let speaks = self.speaks_until.get(&at).is_some_and(|until| step < *until);
            if !speaks {
                self.speaks_until.remove(&at);
            }
            let block: Block = if speaks {
                std::array::from_fn(|sample| 0.3 * (sample as f32 * 0.1).sin())
            } else {
                [0.0; BLOCK_SAMPLES]
            };
            let now = self.now;
            self.engine(at).render(now, &mut [0.0; BLOCK_SAMPLES]);
            self.engine(at).capture(now, &block).expect("it encodes");
            self.take_outputs(at);
        }
    }

    fn is_due(&mut self, at: u8) -> bool {
        let now = self.now;
        self.engine(at).poll_timeout().is_some_and(|due| due <= now)
    }

    fn turn(&mut self, at: u8) {
        let now = self.now;
        self.turns += 1;
        self.engine(at).update(now);
        self.take_outputs(at);
        self.engine(at).follow(now);
        self.take_outputs(at);
    }

    fn drive(&mut self, at: u8) {
        match self.driven {
            Driven::Always => self.turn(at),
            Driven::WhenDue => {
                if self.is_due(at) {
                    self.turn(at);
                }
            }
            Driven::UntilNotDue => {
                let mut turns = 0;
                while self.is_due(at) {
                    self.turn(at);
                    turns += 1;
                    assert!(turns <= TURNS_IN_A_MOMENT, "{at} at {:?} never rests", self.now);
                }
                self.most_turns_in_a_moment = self.most_turns_in_a_moment.max(turns);
            }
        }
        let waits = self.engine(at).links_wait();
        let waited = if waits { !self.links_wait.insert(at) } else { self.links_wait.remove(&at) };
        if waits != waited {
            self.links_waited += u64::from(waits);
            self.note(format!("{at} links wait: {waits}"));
        }
    }

    fn step(&mut self, step: u32) {
        while let Some(Arrival { at, event }) = self.under_way.pop(self.now) {
            self.tell(at, event);
        }
        if self.random.u32(..600) == 0 {
            self.happen();
        }
        if step.is_multiple_of(10) {
            self.sound(step);
        }
        (0..PEERS).for_each(|at| self.drive(at));
        if step.is_multiple_of(250) {
            for at in 0..PEERS {
                let engine = &self.engines[usize::from(at)];
                let seen = format!("{at} {:?} {:?}", engine.peers(), engine.speaking_status());
                self.note(seen);
            }
        }
        self.now += STEP;
    }

    fn run(seed: u64, driven: Driven) -> Self {
        let mut world = Self::new(seed, driven);
        world.link_up((0, 1));
        world.link_up((1, 2));
        (0..STEPS).for_each(|step| world.step(step));
        world
    }
}

#[test]
fn being_driven_when_a_timer_runs_out_gives_the_trace_of_being_driven_every_millisecond() {
    let (mut kinds, mut links_waited) = (BTreeMap::<Kind, u64>::new(), 0);
    for seed in 0..SEEDS {
        let (each, due) = (World::run(seed, Driven::Always), World::run(seed, Driven::WhenDue));
        let differs = each.trace.iter().zip(&due.trace).position(|(each, due)| each != due);
        if let Some(index) = differs {
            let show = |world: &World| {
                world.trace[index.saturating_sub(12)..(index + 3).min(world.trace.len())].join("\n")
            };
            panic!("seed {seed}, each step:\n{}\n\nwhen due:\n{}", show(&each), show(&due));
        }
        assert_eq!(each.trace.len(), due.trace.len(), "seed {seed}");
        println!("seed {seed}: {} turns of {}, {} entries", due.turns, each.turns, due.trace.len());
        assert!(due.turns * 3 < each.turns, "{} turns of {}", due.turns, each.turns);
        links_waited += due.links_waited;
        due.kinds.iter().for_each(|(kind, count)| *kinds.entry(*kind).or_default() += count);
    }
    // Each timer has run out: acknowledgements, reports and what follows from them, probes of links
    // and clocks, and late speech.
    for kind in [
        Kind::VoiceData,
        Kind::VoiceAck,
        Kind::ReceptionReport,
        Kind::ClockProbe,
        Kind::VoiceCopies,
        Kind::Probe,
    ] {
        assert!(kinds.get(&kind).is_some_and(|count| *count >= 20), "{kind:?}: {kinds:?}");
    }
    assert!(links_waited >= 5, "{links_waited}");
}

#[test]
fn an_engine_that_was_driven_says_another_time() {
    let world = World::run(7, Driven::UntilNotDue);
    assert!(world.most_turns_in_a_moment >= 2, "a host's own client answers its server");
}

/// What is left is probes of links.
#[test]
fn an_engine_to_which_nothing_happens_is_driven_a_few_times_a_second() {
    let mut world = World::new(1, Driven::UntilNotDue);
    world.link_up((0, 1));
    world.link_up((1, 2));
    let mut run = |seconds: u32| {
        world.turns = 0;
        for _ in 0..seconds * 1_000 {
            while let Some(Arrival { at, event }) = world.under_way.pop(world.now) {
                world.tell(at, event);
            }
            (0..PEERS).for_each(|at| world.drive(at));
            world.now += STEP;
        }
        world.turns / u64::from(PEERS) / u64::from(seconds)
    };
    run(10);
    let turns_a_second = run(60);
    assert!(turns_a_second <= 12, "{turns_a_second}");
}

/// One speaker, heard through the relay, and what its listener does about it.
struct Listening {
    world: World,
    reports: Vec<Duration>,
}

impl Listening {
    /// Both have joined, and the host speaks.
    fn new() -> Self {
        let mut listening = Self { world: World::new(3, Driven::WhenDue), reports: Vec::new() };
        listening.run(3_000, true);
        assert_eq!(listening.route(), Some(Route::Relayed));
        listening.reports.clear();
        listening
    }

    fn route(&self) -> Option<Route> {
        self.world.engines[1].peers().first().map(|peer| peer.route)
    }

    /// The host speaks; what it says arrives, or not.
    fn run(&mut self, steps: u32, arrives: bool) {
        for step in 0..steps {
            let world = &mut self.world;
            while let Some(Arrival { at, event }) = world.under_way.pop(world.now) {
                if arrives || !matches!(event, NetworkEvent::FromServer(_)) {
                    world.tell(at, event);
                }
            }
            if step.is_multiple_of(10) {
                let now = world.now;
                let hum: Block = std::array::from_fn(|sample| 0.3 * (sample as f32 * 0.1).sin());
                world.engine(HOST).capture(now, &hum).expect("it encodes");
                world.take_outputs(HOST);
                world.engine(1).render(now, &mut [0.0; BLOCK_SAMPLES]);
            }
            let before = world.kinds.get(&Kind::ReceptionReport).copied();
            world.drive(HOST);
            world.drive(1);
            if world.kinds.get(&Kind::ReceptionReport).copied() != before {
                self.reports.push(world.now);
            }
            world.now += STEP;
        }
    }
}

#[test]
fn speech_that_stops_on_its_way_is_reported_and_makes_links_wait_although_nothing_arrives() {
    let mut listening = Listening::new();
    let stopped_at = listening.world.now;
    listening.run(1_000, false);
    let links_wait = listening.world.engines[1].links_wait();
    assert!(links_wait, "the relay stands still");
    let reports: Vec<_> = listening.reports.iter().map(|at| *at - stopped_at).collect();
    assert!(reports.len() >= 2, "one beside that of each second: {reports:?}");
    listening.run(4_000, false);
    assert!(!listening.world.engines[1].links_wait(), "the speaker may be gone");
}

#[test]
fn an_engine_that_does_nothing_waits_for_a_call() {
    let mut engine = VoiceEngine::<u8>::new(EngineConfig::new("ada", 1)).expect("an encoder");
    assert_eq!(engine.poll_timeout(), None);
    engine.run_as_dedicated_server(PacketLimits::default()).expect("it is idle");
    engine.handle(Duration::ZERO, NetworkEvent::Hosting);
    assert_eq!(engine.poll_timeout(), None);
    assert!(matches!(engine.poll_event(), Some(EngineEvent::Hosting(_))));
    engine.stop(Duration::ZERO);
    engine.run_as_client(PacketLimits::default()).expect("it is idle");
    assert_eq!(engine.poll_timeout(), Some(Duration::ZERO), "it has begun");
    engine.update(Duration::ZERO);
    engine.follow(Duration::ZERO);
    assert_eq!(engine.poll_timeout(), None, "there is no connection");
}
