//! Driving meshes only when [`Mesh::poll_timeout`] says so gives the same trace as calling them
//! every 5 ms: whatever happens, nothing that they do by themselves comes later. The server is the
//! real one; sockets and links are entries in one seeded list of arrivals.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use voicemesh_netsim::Schedule;
use voicemesh_rooms::{
    CloseReason, ConnectionId, Digest, Enqueue, Input, Line, Part, Purpose, Refusal, RoomRules,
    Settings, Signaling, Text, Visit,
};
use voicemesh_session::Delivery;
use voicemesh_session::network::LinkId;
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::packet::{Recipient, TextData};
use voicemesh_wire::signaling::{LeaveReason, ServerLimits, Signal};

use super::*;
use crate::link::{CloseReason as LinkEnd, LinkEvent, Role};

const STEP: Duration = Duration::from_millis(5);
const STEPS: u32 = 40_000;
const PEERS: usize = 4;
const SEEDS: u64 = 24;
/// An attempt that does not open ends after this.
const OPEN_LIMIT: Duration = Duration::from_secs(15);

type Sent = Rc<RefCell<Vec<((usize, u32), SocketEvent)>>>;

/// The server's end of one socket, on which nothing waits.
#[derive(Clone)]
struct Wire {
    socket: (usize, u32),
    sent: Sent,
    ending: Rc<Cell<Option<CloseReason>>>,
}

impl Wire {
    fn send(&self, event: SocketEvent) {
        self.sent.borrow_mut().push((self.socket, event));
    }
}

impl Line for Wire {
    fn text(&self, _: Duration, message: &Text, _: Purpose) -> Enqueue {
        let text = String::from_utf8(message.bytes().to_vec()).expect("a text");
        self.send(SocketEvent::Text(text));
        Enqueue::Queued
    }

    fn packet(&self, _: Duration, packet: Bytes, _: Delivery, _: Purpose) -> Enqueue {
        self.send(SocketEvent::Packet(packet));
        Enqueue::Queued
    }

    fn pong(&self, now: Duration, message: &Text) -> Enqueue {
        self.text(now, message, Purpose::Answer)
    }

    fn defer_snapshot(&self) -> bool {
        false
    }

    fn begin_part(&self) {}

    fn end_part(&self, _: Option<Part>) {}

    fn take_texts(&self) -> Vec<(Bytes, Purpose)> {
        Vec::new()
    }

    fn joined(&self) {}

    fn hashed(&self, _: Result<Digest, Refusal>) {}

    fn end(&self, _: Duration, reason: CloseReason) {
        self.ending.set(Some(reason));
        self.send(match reason {
            CloseReason::TakenOver => SocketEvent::TakenOver,
            _ => SocketEvent::Closed("it closed the connection".to_owned()),
        });
    }

    fn ending(&self) -> Option<CloseReason> {
        self.ending.get()
    }
}

enum Arrival {
    At(usize, CarrierEvent),
    Opens {
        peer: usize,
        generation: u32,
    },
    AtServer {
        socket: (usize, u32),
        said: Said,
    },
    /// Both ends of an attempt open, if they can.
    Decided {
        offerer: usize,
        link: MeshLink,
    },
    /// An attempt that has not opened by now does not.
    OpenLimit {
        at: usize,
        link: MeshLink,
    },
}

enum Said {
    Text(String),
    Packet(Bytes),
    Ping(u16),
    Closed,
}

struct World {
    now: Duration,
    /// Calls meshes at each step, and not only when they say so.
    always: bool,
    random: Rng,
    /// In how many steps something happens.
    rarely: u32,
    meshes: Vec<Mesh>,
    ids: Vec<PeerId>,
    server: Option<Signaling<Wire>>,
    servers: u64,
    connections: u64,
    visits: BTreeMap<(usize, u32), Visit<Wire>>,
    sent: Sent,
    /// Between which and the server nothing passes.
    dark: BTreeSet<usize>,
    /// Whom the server does not hear, though they hear it.
    unheard: BTreeSet<usize>,
    /// Who does not hear the server, though it hears them.
    deaf: BTreeSet<usize>,
    /// Sockets that carry nothing any more, without an end.
    dead: BTreeSet<(usize, u32)>,
    sockets: BTreeSet<(usize, u32)>,
    /// Pairs between which no link opens, the lower one first.
    cut: BTreeSet<(usize, usize)>,
    /// Ends of links, and whether they are open.
    links: BTreeMap<(usize, MeshLink), bool>,
    links_wait: BTreeSet<usize>,
    under_way: Schedule<Arrival>,
    /// Until when a peer sends speech through the server.
    speaks_until: BTreeMap<usize, Duration>,
    transactions: u64,
    reached: Vec<bool>,
    trace: Vec<String>,
    updates: u64,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

impl World {
    fn new(seed: u64, always: bool) -> Self {
        let config = |number: usize| MeshConfig {
            room: "room".to_owned(),
            name: format!("peer {number}"),
            proof: prove(&InstallationSecret([number as u8 + 1; 32]), "ws://here:80", "room", 0),
            proof_without_tls: None,
            run: 1,
            relay_only: false,
            presence: Presence::Either,
            password: None,
            token: None,
            renews_token: false,
            ticket: None,
            // One makes links only where it is asked to.
            connections: if number == 3 { Connections::Explicit } else { Connections::Automatic },
            metadata: Metadata::new(),
            frame_ms: vec![20],
            redundancy: true,
            seed: seed ^ number as u64,
        };
        let configs: Vec<_> = (0..PEERS).map(config).collect();
        let mut world = Self {
            now: Duration::from_secs(1),
            always,
            random: Rng::with_seed(seed),
            rarely: if seed.is_multiple_of(2) { 150 } else { 800 },
            ids: configs.iter().map(|config| config.proof.peer_id()).collect(),
            meshes: configs.into_iter().map(Mesh::new).collect(),
            server: None,
            servers: 0,
            connections: 0,
            visits: BTreeMap::new(),
            sent: Sent::default(),
            dark: BTreeSet::new(),
            unheard: BTreeSet::new(),
            deaf: BTreeSet::new(),
            dead: BTreeSet::new(),
            sockets: BTreeSet::new(),
            cut: BTreeSet::new(),
            links: BTreeMap::new(),
            links_wait: BTreeSet::new(),
            under_way: Schedule::default(),
            speaks_until: BTreeMap::new(),
            transactions: 0,
            reached: vec![true; PEERS],
            trace: Vec::new(),
            updates: 0,
        };
        world.start_server();
        world
    }

    fn start_server(&mut self) {
        self.servers += 1;
        let seed = Cell::new(self.servers);
        let random = std::sync::Mutex::new(Rng::with_seed(seed.get()));
        let draw = move |bytes: &mut [u8]| {
            random.lock().expect("nothing panics while it is held").fill(bytes);
            true
        };
        // Its host ends connections early, so that they are replaced.
        let connection_lifetime_ms = if self.servers % 2 == 1 { 40_000 } else { 0 };
        let limits = ServerLimits { connection_lifetime_ms, ..ServerLimits::default() };
        let rules = RoomRules { limits, ..RoomRules::default() };
        let settings = Settings { rules, ..Settings::default() };
        self.server = Some(Signaling::new(settings, Box::new(draw)));
    }

    fn note(&mut self, what: String) {
        self.trace.push(format!("{:?} {what}", self.now));
    }

    fn put(&mut self, delay: Duration, arrival: Arrival) {
        self.under_way.add(self.now + delay, arrival);
    }

    fn index(&self, peer: PeerId) -> usize {
        self.ids.iter().position(|id| *id == peer).expect("one of these")
    }

    /// The same link as the other end has it.
    fn there(&self, at: usize, link: MeshLink) -> (usize, MeshLink) {
        (self.index(link.peer), LinkId { peer: self.ids[at], generation: link.generation })
    }

    fn carries(&self, socket: (usize, u32)) -> bool {
        !self.dark.contains(&socket.0) && !self.dead.contains(&socket)
    }

    /// What the server has put into its lines.
    fn deliver(&mut self) {
        let sent: Vec<_> = self.sent.borrow_mut().drain(..).collect();
        for (socket, event) in sent {
            if self.carries(socket) && !self.deaf.contains(&socket.0) {
                let event = CarrierEvent::Socket { generation: socket.1, event };
                self.put(milliseconds(20), Arrival::At(socket.0, event));
            }
        }
        self.visits.retain(|_, visit| visit.line().ending() != Some(CloseReason::Refused));
    }

    fn at_server(&mut self, socket: (usize, u32), input: Input<'_>) {
        if let (Some(server), Some(visit)) = (&self.server, self.visits.get_mut(&socket))
            && (visit.line().ending().is_none() || matches!(input, Input::Left(_)))
        {
            server.handle(self.now, visit, input);
            self.deliver();
        }
    }

    fn server_loses(&mut self, socket: (usize, u32)) {
        self.at_server(socket, Input::Left(LeaveReason::Lost));
        self.visits.remove(&socket);
    }

    fn tell(&mut self, to: usize, event: CarrierEvent) {
        let now = self.now;
        self.meshes[to].handle(now, event);
        self.take(to);
    }

    fn tell_link(&mut self, to: usize, link: MeshLink, event: LinkEvent) {
        self.tell(to, CarrierEvent::Link { link, event });
    }

    fn arrive(&mut self) {
        while let Some(arrival) = self.under_way.pop(self.now) {
            match arrival {
                Arrival::At(to, event) => self.arrive_at(to, event),
                Arrival::Opens { peer, generation } => self.opens(peer, generation),
                Arrival::AtServer { socket, said } => match said {
                    Said::Text(text) => self.at_server(socket, Input::Text(&text)),
                    Said::Packet(packet) => self.at_server(socket, Input::Packet(packet)),
                    Said::Ping(number) => {
                        if let Some(visit) = self.visits.get(&socket) {
                            visit.line().send(SocketEvent::Pong(number));
                        }
                        self.at_server(socket, Input::Control);
                        self.deliver();
                    }
                    Said::Closed => self.server_loses(socket),
                },
                Arrival::Decided { offerer, link } => self.decided(offerer, link),
                Arrival::OpenLimit { at, link } => {
                    if self.links.get(&(at, link)) == Some(&false) {
                        let closed = LinkEvent::Closed(LinkEnd::OpenTimeout);
                        self.arrive_at(at, CarrierEvent::Link { link, event: closed });
                    }
                }
            }
        }
    }

    fn arrive_at(&mut self, to: usize, event: CarrierEvent) {
        if let CarrierEvent::Link { link, .. } = &event
            && !self.links.contains_key(&(to, *link))
        {
            return;
        }
        if let CarrierEvent::Link { link, event: LinkEvent::Closed(_) } = &event {
            self.links.remove(&(to, *link));
        }
        self.tell(to, event);
    }

    fn opens(&mut self, peer: usize, generation: u32) {
        if !self.sockets.contains(&(peer, generation)) || self.dark.contains(&peer) {
            return;
        }
        let Some(server) = &self.server else {
            let event = SocketEvent::Closed("it refuses connections".to_owned());
            return self.tell(peer, CarrierEvent::Socket { generation, event });
        };
        self.connections += 1;
        let socket = (peer, generation);
        let line = Wire { socket, sent: self.sent.clone(), ending: Rc::default() };
        let visit = Visit::local(self.now, ConnectionId(self.connections), line, server);
        self.visits.insert(socket, visit);
        self.tell(peer, CarrierEvent::Socket { generation, event: SocketEvent::Open });
    }

    fn decided(&mut self, offerer: usize, link: MeshLink) {
        let (answerer, back) = self.there(offerer, link);
        let ends = [(offerer, link), (answerer, back)];
        let is_cut = self.cut.contains(&pair(offerer, answerer));
        if is_cut || !ends.iter().all(|end| self.links.contains_key(end)) {
            return;
        }
        for (at, link) in ends {
            self.links.insert((at, link), true);
            self.tell_link(at, link, LinkEvent::Open);
        }
    }

    /// Does what a mesh wants done, and notes that and its events.
    fn take(&mut self, of: usize) {
        while let Some(output) = self.meshes[of].poll_output() {
            self.note(format!("{of} {output:?}"));
            match output {
                MeshOutput::OpenSocket { generation } => {
                    self.sockets.insert((of, generation));
                    let delay = milliseconds(self.random.u64(10..80));
                    self.put(delay, Arrival::Opens { peer: of, generation });
                }
                MeshOutput::CloseSocket { generation } => {
                    self.sockets.remove(&(of, generation));
                    self.say(of, generation, Said::Closed);
                }
                MeshOutput::SendText { generation, text } => {
                    self.say(of, generation, Said::Text(text))
                }
                MeshOutput::SendPacket { generation, packet, .. } => {
                    self.say(of, generation, Said::Packet(packet));
                }
                MeshOutput::Ping { generation, number } => {
                    self.say(of, generation, Said::Ping(number))
                }
                MeshOutput::OpenLink { link, role, .. } => {
                    self.links.insert((of, link), false);
                    if role == Role::Offer {
                        let offer = LinkEvent::Signal(Signal::Offer { sdp: "v=0".to_owned() });
                        self.put(STEP, at_link(of, link, offer));
                    }
                    self.put(OPEN_LIMIT, Arrival::OpenLimit { at: of, link });
                }
                MeshOutput::Signal { link, signal } => match signal {
                    Signal::Offer { .. } => {
                        let answer = LinkEvent::Signal(Signal::Answer { sdp: "v=0".to_owned() });
                        self.put(STEP, at_link(of, link, answer));
                    }
                    Signal::Answer { .. } => {
                        let delay = milliseconds(self.random.u64(20..200));
                        self.put(delay, Arrival::Decided { offerer: of, link });
                    }
                    _ => {}
                },
                MeshOutput::SendLink { .. } => unreachable!("these meshes do not encrypt"),
                MeshOutput::CloseLink { link } => {
                    self.links.remove(&(of, link));
                    let (other, back) = self.there(of, link);
                    let closed = LinkEvent::Closed(LinkEnd::Remote);
                    if !self.cut.contains(&pair(of, other)) {
                        self.put(milliseconds(10), at_link(other, back, closed));
                    }
                }
            }
        }
        while let Some(event) = self.meshes[of].poll_event() {
            self.note(format!("{of} {event:?}"));
            if let MeshEvent::ConnectionRequested { peer } = event
                && self.random.bool()
            {
                self.connect(of, peer);
            }
        }
        while let Some(event) = self.meshes[of].poll_network_event() {
            self.note(format!("{of} session: {event:?}"));
        }
    }

    fn say(&mut self, from: usize, generation: u32, said: Said) {
        let socket = (from, generation);
        if self.carries(socket) && !self.unheard.contains(&from) {
            self.put(milliseconds(20), Arrival::AtServer { socket, said });
        }
    }

    fn connect(&mut self, at: usize, to: PeerId) {
        let Some(member) = self.meshes[at].member(to) else { return };
        let published = member.metadata.get(REACHABILITY_KEY).cloned();
        if let Some(token) = published.and_then(|text| Reachability::parse(&text, to).ok()) {
            let _ = self.meshes[at].connect_peer(self.now, token);
        }
    }

    /// Something that the world, a program or the session does.
    fn happen(&mut self) {
        let now = self.now;
        let at = self.random.usize(..PEERS);
        let other = (at + self.random.usize(1..PEERS)) % PEERS;
        let random = self.random.u32(..);
        let what = random % 24;
        self.note(format!("happens: {what} {at} {other}"));
        let flag = random & 0x100 == 0;
        let open: Vec<MeshLink> = self
            .links
            .iter()
            .filter(|((of, _), open)| *of == at && **open)
            .map(|((_, link), _)| *link)
            .collect();
        let link = open.get(random as usize % open.len().max(1)).copied();
        match what {
            0 | 1 => {
                let change = [PathChange::Lost, PathChange::Changed, PathChange::Woke];
                self.dead.extend(self.sockets.iter().filter(|(of, _)| *of == at && flag));
                self.tell(at, CarrierEvent::Path(change[random as usize / 24 % 3]));
            }
            2 | 3 => {
                if !self.dark.remove(&at) {
                    self.dark.insert(at);
                    self.dead.extend(self.sockets.iter().filter(|(of, _)| *of == at));
                }
            }
            4 => {
                let way = if flag { &mut self.unheard } else { &mut self.deaf };
                if !way.remove(&at) {
                    way.insert(at);
                }
            }
            5 if flag => {
                if self.server.take().is_none() {
                    self.start_server();
                }
                for (peer, generation) in std::mem::take(&mut self.visits).into_keys() {
                    if self.carries((peer, generation)) {
                        let event = SocketEvent::Closed("it is gone".to_owned());
                        self.tell(peer, CarrierEvent::Socket { generation, event });
                    }
                }
            }
            5..=7 => {
                let broken: Vec<_> =
                    self.visits.keys().copied().filter(|(of, _)| *of == at).collect();
                for socket in broken {
                    self.server_loses(socket);
                    if flag && self.carries(socket) {
                        let event = SocketEvent::Closed("it broke".to_owned());
                        self.tell(at, CarrierEvent::Socket { generation: socket.1, event });
                    }
                    self.dead.insert(socket);
                }
            }
            8 | 9 => {
                if !self.cut.remove(&pair(at, other)) {
                    self.cut.insert(pair(at, other));
                }
            }
            10 => {
                if let Some(link) = link {
                    let (there, back) = self.there(at, link);
                    self.put(STEP, at_link(at, link, LinkEvent::Closed(LinkEnd::Lost)));
                    self.put(STEP, at_link(there, back, LinkEvent::Closed(LinkEnd::Lost)));
                }
            }
            11 | 12 => {
                if let Some(link) = link {
                    self.meshes[at].replace_link(now, link);
                }
            }
            13 => {
                if let Some(link) = link {
                    self.meshes[at].release_link(now, link);
                }
            }
            14 => self.meshes[at].link_stalled(now),
            15 => {
                let waits = self.links_wait.insert(at) || !self.links_wait.remove(&at);
                self.meshes[at].set_links_wait(now, waits);
                for link in open {
                    self.put(STEP, at_link(at, link, LinkEvent::Closed(LinkEnd::Lost)));
                }
            }
            16 => {
                for muted in [flag, !flag] {
                    let status = MemberStatus { muted, ..MemberStatus::default() };
                    self.meshes[at].set_status(now, status);
                }
            }
            17 => {
                // Many at once are more than the server takes.
                let scope = if flag { MetadataScope::Own } else { MetadataScope::Room };
                for number in 0..random >> 9 & 31 {
                    self.transactions += 1;
                    let id = TransactionId(self.transactions);
                    let changes = [("key".to_owned(), Some(format!("{random} {number}")))].into();
                    self.meshes[at].transact(now, id, scope, changes);
                }
            }
            18 => {
                self.transactions += 1;
                let id = TransactionId(self.transactions);
                let action = if flag { Moderation::Lock } else { Moderation::Unlock };
                self.meshes[at].moderate(now, id, action);
            }
            19 => {
                let to = self.ids[other];
                if flag { self.connect(at, to) } else { self.meshes[at].disconnect_peer(to) }
            }
            20 => {
                let until = now + milliseconds(u64::from(random >> 8) % 8_000);
                self.speaks_until.insert(at, until);
            }
            21 => {
                let recipient = Recipient::Client(ClientId(1));
                let text = TextData { sender: ClientId(2), recipient, text: "hello" };
                let text: Vec<u8> = text.encode(SessionId::new(7).expect("not zero"));
                self.meshes[at].send_to_server(now, Reliability::Reliable, text.into());
            }
            22 => self.meshes[at].network_changed(now),
            _ if flag => self.meshes[at].leave(now),
            _ => self.meshes[at].connect(now),
        }
        self.take(at);
    }

    fn step(&mut self, step: u32) {
        if self.random.u32(..self.rarely) == 0 {
            self.happen();
        }
        self.go_on(step);
    }

    /// What comes of what has happened.
    fn go_on(&mut self, step: u32) {
        self.arrive();
        if step.is_multiple_of(20)
            && let Some(server) = &self.server
        {
            server.tick(self.now);
            self.deliver();
        }
        for at in 0..PEERS {
            let now = self.now;
            if step.is_multiple_of(4)
                && self.speaks_until.get(&at).is_some_and(|until| now < *until)
            {
                let speech = Bytes::from_static(b"speech");
                self.meshes[at].send_to_server(now, Reliability::Unreliable, speech.clone());
                for visit in self.visits.iter().filter(|((of, _), _)| *of == at) {
                    visit.1.line().send(SocketEvent::Packet(speech.clone()));
                }
                self.deliver();
            }
            let is_due = self.meshes[at].poll_timeout().is_some_and(|due| due <= now);
            if self.always || is_due {
                self.meshes[at].update(now);
                self.updates += 1;
            }
            self.take(at);
            let is_reached = self.meshes[at].server_is_reached();
            if std::mem::replace(&mut self.reached[at], is_reached) != is_reached {
                self.note(format!("{at} reaches the server: {is_reached}"));
            }
        }
        self.now += STEP;
    }

    fn start(seed: u64, always: bool) -> Self {
        let mut world = Self::new(seed, always);
        for at in 0..PEERS {
            let now = world.now;
            world.meshes[at].connect(now);
            world.take(at);
        }
        world
    }

    fn run(seed: u64, always: bool) -> Self {
        let mut world = Self::start(seed, always);
        (0..STEPS).for_each(|step| world.step(step));
        world
    }
}

fn at_link(to: usize, link: MeshLink, event: LinkEvent) -> Arrival {
    Arrival::At(to, CarrierEvent::Link { link, event })
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
    assert!(entries > 10_000, "little happened: {entries}");
}

/// What comes from the server now and then is its marks; what is said to it are questions.
#[test]
fn a_mesh_to_which_nothing_happens_is_called_about_once_a_second() {
    let mut world = World::start(1, false);
    let mut run = |seconds: u32| {
        world.updates = 0;
        (0..seconds * 200).for_each(|step| world.go_on(step));
        world.updates / PEERS as u64
    };
    run(20);
    let calls_a_minute = run(60);
    assert!((1..=90).contains(&calls_a_minute), "{calls_a_minute}");
}
