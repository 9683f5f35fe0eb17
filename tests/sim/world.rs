//! A room under a virtual clock: the real signaling server, the real peers, and wires that are
//! simulated.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use voicemesh_audio::encode::SpeechConfig;
use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_e2ee::RoomKey;
use voicemesh_engine::{EngineConfig, EngineEvent, EngineOnNetwork, PeerStatus, VoiceEngine};
use voicemesh_mesh::{
    Carried, CarrierEvent, Connections, Mesh, MeshConfig, MeshEvent, PathChange, SocketEvent,
};
use voicemesh_rooms::{
    AddressKey, CloseReason, ConnectionId, Input, Line as _, Refusal, RoomRules, Settings,
    Signaling, Visit, digest,
};
use voicemesh_session::client::Participant;
use voicemesh_signaling::ticket_key;
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::signaling::{
    ClientMessage, ErrorCode, LeaveReason, Metadata, Moderation, Presence, ServerLimits,
};
use voicemesh_wire::{PeerId, Permissions};

use crate::carrier::{Arrival, SimCarrier, Wires, Word};
use crate::encryption::key_ring;
use crate::line::SimLine;

/// Of what comes for a peer that sleeps, its system keeps the first of these.
const SYSTEM_BUFFERS: usize = 300;

/// The world moves in steps of this.
pub const STEP: Duration = Duration::from_millis(5);
/// How often the server looks at connections that read slowly.
const TICK: Duration = Duration::from_millis(250);

pub struct World {
    pub wires: Rc<RefCell<Wires>>,
    pub peers: Vec<SimPeer>,
    /// Everything that anybody was told, in order.
    pub trace: String,
    server: Option<Server>,
    sessions: u32,
    connections: u64,
    /// Whose address every peer has, to the server; none: that of the server's own machine.
    pub address: Option<IpAddr>,
    /// When connections were opened, of all peers.
    pub opened: Vec<Duration>,
    /// What a server with a secret says of the host in front of it; 0: nothing.
    pub connection_lifetime_ms: u32,
    /// How many bytes a second peers read of what the server sends them; the others read all at
    /// once.
    pub reads: BTreeMap<usize, usize>,
    /// Connections of such peers that the server ended, and when.
    pub ended: Vec<(Duration, usize, CloseReason)>,
    /// The peers that are added from now on encrypt.
    pub encrypts: bool,
    /// With this key of the room.
    pub room_key: Option<RoomKey>,
    seed: u64,
}

pub struct SimPeer {
    pub comms: EngineOnNetwork<Carried<SimCarrier>>,
    pub id: PeerId,
    pub speaking: bool,
    pub mesh_events: Vec<MeshEvent>,
    pub events: Vec<(Duration, EngineEvent<PeerId>)>,
    pub frozen: bool,
    /// What comes while it is frozen and waits for it to wake; none if that is lost.
    pub waiting: Option<Vec<CarrierEvent>>,
    /// Its clock shows this much more than the world's.
    pub clock: Duration,
    /// What it says instead of the tone, again and again.
    pub speech: Vec<f32>,
    /// What it said and what it heard while it did, sample by sample from the same moment on, if
    /// `recorded`.
    pub recorded: bool,
    pub said: Vec<f32>,
    pub played: Vec<f32>,
    /// Blocks of 10 ms without sound in a row: now, and the most since [`World::forget_silence`].
    silent_blocks: u32,
    longest_silence: u32,
    phase: f32,
    position: usize,
}

/// What every peer's room is called.
pub const ROOM: &str = "room";
pub const ORIGIN: &str = "ws://sim:80";

struct Server {
    signaling: Signaling<SimLine>,
    /// By peer and the number of its socket.
    visits: BTreeMap<(usize, u32), Visit<SimLine>>,
    /// When something came on them last.
    heard: BTreeMap<(usize, u32), Duration>,
    /// When they were opened.
    opened: BTreeMap<(usize, u32), Duration>,
    /// Passwords that are still to be answered with `password-wait`.
    password_waits: usize,
}

/// What one peer got of another's speech.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub received: u64,
    pub heard: u64,
    pub concealed: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut world = Self {
            wires: Rc::new(RefCell::new(Wires::new(seed))),
            peers: Vec::new(),
            trace: String::new(),
            server: None,
            sessions: 0,
            connections: 0,
            address: None,
            opened: Vec::new(),
            connection_lifetime_ms: 0,
            reads: BTreeMap::new(),
            ended: Vec::new(),
            encrypts: false,
            room_key: None,
            seed,
        };
        world.start_server(RoomRules::default());
        world
    }

    pub fn now(&self) -> Duration {
        self.wires.borrow().now
    }

    /// Another server at the same address: a new session, and nothing remembered.
    pub fn start_server(&mut self, rules: RoomRules) {
        self.start_server_with(Settings { rules, ..Settings::default() });
    }

    /// The next run of a server with a secret: it reads the tickets of the one before.
    pub fn start_server_with_secret(&mut self) {
        let limits = ServerLimits {
            connection_lifetime_ms: self.connection_lifetime_ms,
            ..ServerLimits::default()
        };
        let rules = RoomRules { limits, tickets_outlast_restarts: true, ..RoomRules::default() };
        let tickets = Some(ticket_key(b"the operator's secret", u64::from(self.sessions) + 1));
        self.start_server_with(Settings { rules, tickets, ..Settings::default() });
        self.set_server_time(1_800_000_000 + u64::from(self.sessions));
    }

    fn start_server_with(&mut self, settings: Settings) {
        self.sessions += 1;
        let random = Mutex::new(ChaCha8Rng::seed_from_u64(self.seed ^ u64::from(self.sessions)));
        let draw = move |bytes: &mut [u8]| {
            random.lock().expect("nothing panics while it is held").fill_bytes(bytes);
            true
        };
        self.server = Some(Server {
            signaling: Signaling::new(settings, Box::new(draw)),
            visits: BTreeMap::new(),
            heard: BTreeMap::new(),
            opened: BTreeMap::new(),
            password_waits: 0,
        });
        self.wires.borrow_mut().server_up = true;
    }

    /// The server answers the next `times` passwords with `password-wait`.
    pub fn let_passwords_wait(&mut self, times: usize) {
        if let Some(server) = &mut self.server {
            server.password_waits = times;
        }
    }

    /// The server is gone at once, and every socket with it.
    pub fn kill_server(&mut self) {
        let Some(server) = self.server.take() else { return };
        let mut wires = self.wires.borrow_mut();
        wires.server_up = false;
        for (peer, generation) in server.visits.into_keys() {
            wires.tell_peer(
                peer,
                generation,
                SocketEvent::Closed("it closed the connection".to_owned()),
            );
        }
    }

    pub fn add_peer(&mut self) -> usize {
        self.add_peer_with(|_| {})
    }

    /// What makes the peer that is added as this one, counted from 1.
    pub fn secret(&self, number: u64) -> InstallationSecret {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&number.to_be_bytes());
        secret[8..16].copy_from_slice(&self.seed.to_be_bytes());
        InstallationSecret(secret)
    }

    pub fn add_peer_with(&mut self, change: impl FnOnce(&mut MeshConfig)) -> usize {
        let number = self.peers.len() as u64 + 1;
        let secret = self.secret(number);
        let proof = prove(&secret, ORIGIN, ROOM, 0);
        let mut config = MeshConfig {
            room: "room".to_owned(),
            name: format!("peer {number}"),
            proof,
            proof_without_tls: None,
            run: number as u32,
            relay_only: false,
            presence: Presence::Either,
            password: None,
            token: None,
            renews_token: false,
            ticket: None,
            connections: Connections::Automatic,
            metadata: Metadata::new(),
            frame_ms: vec![10, 20, 40, 60],
            redundancy: true,
            seed: self.seed ^ number,
        };
        change(&mut config);
        let id = proof.peer_id();
        let peer = self.wires.borrow_mut().add_peer(id);
        let name = config.name.clone();
        let carrier = SimCarrier { peer, wires: self.wires.clone() };
        self.wires.borrow_mut().names_certificates |= self.encrypts;
        let mesh = if self.encrypts {
            let ring = key_ring(&secret, id, self.room_key.clone(), self.seed ^ number);
            Mesh::encrypted(config, ring, None)
        } else {
            Mesh::new(config)
        };
        let mesh = Carried::new(mesh, carrier);
        let speech = SpeechConfig { complexity: 0, ..SpeechConfig::default() };
        let comms_config =
            EngineConfig { speech, ..EngineConfig::new(name, self.seed.wrapping_add(number)) };
        let mut comms = EngineOnNetwork::new(VoiceEngine::new(comms_config).unwrap(), mesh);
        // No two clocks show the same.
        let clock = Duration::from_secs(1_000) * number as u32;
        comms.run_as_client(self.now() + clock, ()).unwrap();
        self.peers.push(SimPeer {
            comms,
            id,
            speaking: false,
            mesh_events: Vec::new(),
            events: Vec::new(),
            frozen: false,
            waiting: None,
            clock,
            speech: Vec::new(),
            recorded: false,
            said: Vec::new(),
            played: Vec::new(),
            silent_blocks: 0,
            longest_silence: 0,
            phase: 0.0,
            position: 0,
        });
        peer
    }

    pub fn run(&mut self, duration: Duration) {
        let until = self.now() + duration;
        while self.now() < until {
            self.step();
        }
    }

    /// Runs until the condition holds; panics if it does not in time.
    pub fn run_until(
        &mut self,
        at_most: Duration,
        what: &str,
        condition: impl Fn(&Self) -> bool,
    ) -> Duration {
        let begun = self.now();
        while !condition(self) {
            assert!(
                self.now() < begun + at_most,
                "{what}: not within {at_most:?} (seed {})",
                self.seed
            );
            self.step();
        }
        self.now() - begun
    }

    pub fn step(&mut self) {
        let now = self.now() + STEP;
        self.wires.borrow_mut().now = now;
        self.wires.borrow_mut().pump();
        loop {
            let Some(arrival) = self.wires.borrow_mut().pop() else { break };
            match arrival {
                Arrival::Peer { to, event } => {
                    let peer = &mut self.peers[to];
                    if !peer.frozen {
                        peer.comms.network_mut().handle(now + peer.clock, event);
                        peer.comms.update(now + peer.clock);
                    } else if let Some(waiting) = &mut peer.waiting
                        && waiting.len() < SYSTEM_BUFFERS
                    {
                        waiting.push(event);
                    }
                }
                Arrival::OpenLimit { at, link } => self.wires.borrow_mut().open_limit(at, link),
                Arrival::Flight { offerer, link, flight } => {
                    self.wires.borrow_mut().flight(offerer, link, flight)
                }
                Arrival::Server { from, generation, word } => {
                    self.at_server(now, from, generation, word)
                }
            }
        }
        if let Some(server) = &mut self.server {
            server.signaling.tick(now);
            self.ended.extend(server.run_held_up_lines(now));
        }
        for number in 0..self.peers.len() {
            self.step_peer(now, number);
        }
    }

    fn step_peer(&mut self, now: Duration, number: usize) {
        let peer = &mut self.peers[number];
        if peer.frozen {
            return;
        }
        let clock = now + peer.clock;
        if peer.comms.poll_timeout(clock).is_some_and(|due| due <= clock) {
            peer.comms.update(clock);
        }
        // As the engine of a peer does.
        let links_wait = peer.comms.links_wait();
        peer.comms.network_mut().mesh.set_links_wait(clock, links_wait);
        if self.wires.borrow().is_behind_a_narrow_way(number) {
            let uplink_bps = peer.comms.uplink_ceiling_bps();
            self.wires.borrow_mut().set_uplink(number, uplink_bps, links_wait);
        }
        if now.as_millis().is_multiple_of(10) {
            let mut block: Block = [0.0; BLOCK_SAMPLES];
            peer.comms.render(clock, &mut block);
            let is_silent = block.iter().all(|sample| sample.abs() < 0.001);
            peer.silent_blocks = if is_silent { peer.silent_blocks + 1 } else { 0 };
            peer.longest_silence = peer.longest_silence.max(peer.silent_blocks);
            if peer.recorded {
                peer.played.extend_from_slice(&block);
            }
            block.fill(0.0);
            if peer.speaking {
                peer.speak(&mut block);
                peer.comms.capture(clock, &block).unwrap();
            }
            if peer.recorded {
                peer.said.extend_from_slice(&block);
            }
        }
        while let Some(event) = peer.comms.network_mut().mesh.poll_event() {
            let _ = writeln!(self.trace, "{now:?} {number} {event:?}");
            peer.mesh_events.push(event);
        }
        while let Some(event) = peer.comms.poll_event() {
            let _ = writeln!(self.trace, "{now:?} {number} {event:?}");
            peer.events.push((now, event));
        }
    }

    fn at_server(&mut self, now: Duration, from: usize, generation: u32, word: Word) {
        let Some(server) = &mut self.server else { return };
        if matches!(word, Word::Open) {
            self.connections += 1;
            let reads = self.reads.get(&from).copied();
            let line = SimLine::new(now, self.wires.clone(), (from, generation), reads);
            let id = ConnectionId(self.connections);
            let key = self.address.and_then(AddressKey::of);
            let address = key.map(|key| (key, server.signaling.enter_address(now, key)));
            server
                .visits
                .insert((from, generation), Visit::new(now, id, line, address, &server.signaling));
            server.heard.insert((from, generation), now);
            server.opened.insert((from, generation), now);
            self.opened.push(now);
            return;
        }
        server.heard.insert((from, generation), now);
        let Some(visit) = server.visits.get_mut(&(from, generation)) else { return };
        visit.line().heard(now);
        match word {
            Word::Open => {}
            Word::Text(text) => server.handle(now, (from, generation), Input::Text(&text)),
            Word::Packet(packet) => server.handle(now, (from, generation), Input::Packet(packet)),
            Word::Ping(number) => {
                visit.line().answer_ping(now, number);
                server.handle(now, (from, generation), Input::Control);
            }
            Word::Closed => server.close(now, (from, generation)),
        }
    }

    /// The system of a peer notices that its network is another one.
    /// Wakes a peer whose clock stood still for `asleep`, and gives it the packets that waited.
    /// Returns their number.
    pub fn wake(&mut self, peer: usize, asleep: Duration) -> usize {
        let sleeper = &mut self.peers[peer];
        sleeper.frozen = false;
        sleeper.clock = sleeper.clock.saturating_sub(asleep);
        let waiting = sleeper.waiting.take().unwrap_or_default();
        let waited = waiting.len();
        self.path_changes(peer, PathChange::Woke);
        let now = self.now() + self.peers[peer].clock;
        for event in waiting {
            self.peers[peer].comms.network_mut().handle(now, event);
            self.peers[peer].comms.update(now);
        }
        waited
    }

    pub fn path_changes(&mut self, peer: usize, change: PathChange) {
        let now = self.now();
        let peer = &mut self.peers[peer];
        peer.comms.network_mut().handle(now + peer.clock, CarrierEvent::Path(change));
    }

    /// The time of day at the server, in seconds since 1970.
    pub fn set_server_time(&mut self, unix: u64) {
        if let Some(server) = &mut self.server {
            server.signaling.set_unix_time(unix);
        }
    }

    /// The server sets what a peer may do. `unheard`: that peer itself is not told, as if its
    /// program did not care.
    pub fn set_permissions(&mut self, peer: usize, permissions: Permissions, unheard: bool) {
        let (now, id) = (self.now(), self.peers[peer].id);
        let Some(server) = &mut self.server else { return };
        server.set_deaf(peer, unheard);
        let room = server.signaling.room(ROOM).expect("it is there");
        assert!(room.with(now, |room, out| room.set_permissions(id, permissions, out)));
        server.set_deaf(peer, false);
    }

    /// A peer decides about another, which is not told.
    pub fn moderate(&mut self, by: usize, action: Moderation, unheard: usize) {
        let now = self.now();
        let Some(server) = &mut self.server else { return };
        let socket =
            server.visits.keys().copied().find(|(of, _)| *of == by).expect("it is connected");
        server.set_deaf(unheard, true);
        let message = ClientMessage::Moderate { request: None, action }.to_json();
        server.handle(now, socket, Input::Text(&message));
        server.set_deaf(unheard, false);
    }

    /// From now on a peer reads so many bytes a second of what the server sends it.
    pub fn reads_slowly(&mut self, peer: usize, bytes_per_second: usize) {
        self.reads.insert(peer, bytes_per_second);
        for line in self.lines_of(peer) {
            line.set_reads(Some(bytes_per_second));
        }
    }

    /// The server's ends of a peer's sockets.
    pub fn lines_of(&self, peer: usize) -> Vec<SimLine> {
        let visits = self.server.iter().flat_map(|server| &server.visits);
        let own = visits.filter(|((of, _), _)| *of == peer);
        own.map(|(_, visit)| visit.line().clone()).collect()
    }

    /// Something comes from a peer, which its mesh did not send.
    pub fn arrives_from(&mut self, peer: usize, message: &ClientMessage) {
        let now = self.now();
        let Some(server) = &mut self.server else { return };
        let socket = server.visits.keys().copied().find(|(of, _)| *of == peer);
        server.handle(now, socket.expect("it is connected"), Input::Text(&message.to_json()));
    }

    /// How many connections the server has of a peer.
    pub fn connections_of(&self, peer: usize) -> usize {
        self.server
            .as_ref()
            .map_or(0, |server| server.visits.keys().filter(|(of, _)| *of == peer).count())
    }

    /// A peer's socket breaks: the server notices at once, the peer too.
    pub fn break_socket(&mut self, peer: usize) {
        let now = self.now();
        let Some(server) = &mut self.server else { return };
        let broken: Vec<_> = server.visits.keys().copied().filter(|(of, _)| *of == peer).collect();
        for (of, generation) in broken {
            server.close(now, (of, generation));
            let closed = SocketEvent::Closed("the connection broke".to_owned());
            self.wires.borrow_mut().tell_peer(of, generation, closed);
        }
    }

    /// What stands between the peers and the server cuts the connections on which nothing has
    /// passed for so long, or all. Gives how many.
    pub fn cut_sockets(&mut self, idle_for: Duration) -> usize {
        let now = self.now();
        self.cut(|server, socket| {
            let sent =
                server.visits.get(socket).map_or(Duration::ZERO, |visit| visit.line().sent_at());
            server.heard[socket].max(sent) + idle_for <= now
        })
    }

    /// The same, for connections that were opened so long ago.
    pub fn cut_old_sockets(&mut self, age: Duration) -> usize {
        let now = self.now();
        self.cut(|server, socket| server.opened[socket] + age <= now)
    }

    fn cut(&mut self, is_cut: impl Fn(&Server, &(usize, u32)) -> bool) -> usize {
        let now = self.now();
        let Some(server) = &mut self.server else { return 0 };
        let cut: Vec<_> =
            server.heard.keys().filter(|socket| is_cut(server, socket)).copied().collect();
        let mut ended = 0;
        for (of, generation) in cut {
            server.heard.remove(&(of, generation));
            server.opened.remove(&(of, generation));
            if !server.visits.contains_key(&(of, generation)) {
                continue;
            }
            server.close(now, (of, generation));
            let closed = SocketEvent::Closed("the connection broke".to_owned());
            self.wires.borrow_mut().tell_peer(of, generation, closed);
            ended += 1;
        }
        ended
    }

    pub fn forget_silence(&mut self) {
        for peer in &mut self.peers {
            (peer.silent_blocks, peer.longest_silence) = (0, 0);
        }
    }

    /// The longest time without any sound that a peer has played.
    pub fn longest_silence(&self, at: usize) -> Duration {
        Duration::from_millis(10) * self.peers[at].longest_silence
    }

    pub fn status(&self, at: usize, of: usize) -> Option<PeerStatus<PeerId>> {
        let who = Participant::Peer(self.peers[of].id);
        self.peers[at].comms.peers().into_iter().find(|status| status.who == who)
    }

    pub fn heard(&self, at: usize, of: usize) -> Heard {
        let stats = self.status(at, of).and_then(|status| status.heard).unwrap_or_default();
        Heard {
            received: stats.frames_received,
            heard: stats.frames_heard,
            concealed: stats.frames_concealed,
        }
    }

    pub fn route(&self, at: usize, of: usize) -> voicemesh::Route {
        self.status(at, of).map_or(voicemesh::Route::None, |status| status.route)
    }

    pub fn all_routes_are(&self, route: voicemesh::Route) -> bool {
        let everyone = 0..self.peers.len();
        everyone
            .clone()
            .all(|at| everyone.clone().filter(|of| *of != at).all(|of| self.route(at, of) == route))
    }
}

/// Whatever happened in it, the mesh has kept the contract of a network.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for (number, peer) in self.peers.iter().enumerate() {
                assert_eq!(peer.comms.contract_breaches(), 0, "peer {number} (seed {})", self.seed);
            }
        }
    }
}

impl SimPeer {
    /// The speech, else a tone with syllables in it.
    fn speak(&mut self, block: &mut Block) {
        if !self.speech.is_empty() {
            for sample in block {
                *sample = self.speech[self.position % self.speech.len()];
                self.position += 1;
            }
            return;
        }
        for sample in block {
            self.phase += 1.0 / 48_000.0;
            let syllable = (self.phase * std::f32::consts::TAU * 3.0).sin().abs();
            *sample = 0.3 * syllable * (self.phase * std::f32::consts::TAU * 220.0).sin();
        }
    }
}

impl Server {
    /// Passwords are hashed at once.
    fn handle(&mut self, now: Duration, socket: (usize, u32), input: Input<'_>) {
        let Some(visit) = self.visits.get_mut(&socket) else { return };
        // What comes on a connection that is ending is not read.
        if visit.line().ending().is_some() && !matches!(input, Input::Left(_)) {
            return;
        }
        let mut asks_hash = self.signaling.handle(now, visit, input);
        while asks_hash && let (Some(job), _) = self.signaling.next_hash(now) {
            let shown = digest(job.password(), job.salt());
            self.signaling.hashed(now, job, shown);
            let Some(mut answer) = visit.line().take_hashed() else { break };
            if self.password_waits > 0 {
                self.password_waits -= 1;
                answer = Err(Refusal::of(ErrorCode::PasswordWait));
            }
            asks_hash = self.signaling.handle(now, visit, Input::Hashed(answer));
        }
        // What it still says is not listened to.
        let line = visit.line();
        if line.ending() == Some(CloseReason::Refused) && !line.is_held_up() {
            self.visits.remove(&socket);
        }
    }

    fn close(&mut self, now: Duration, socket: (usize, u32)) {
        self.handle(now, socket, Input::Left(LeaveReason::Lost));
        self.visits.remove(&socket);
    }

    /// What the server's tasks do for the connections for which something may wait. Gives which of
    /// them have ended.
    fn run_held_up_lines(&mut self, now: Duration) -> Vec<(Duration, usize, CloseReason)> {
        let mut ended = Vec::new();
        let held_up = self.visits.iter().filter(|(_, visit)| visit.line().is_held_up());
        for socket in held_up.map(|(socket, _)| *socket).collect::<Vec<_>>() {
            let Some(visit) = self.visits.get_mut(&socket) else { continue };
            let line = visit.line().clone();
            let mut time = STEP;
            while let Some(part) = line.run(now, std::mem::take(&mut time)) {
                visit.refresh(now, part);
            }
            if now.as_millis().is_multiple_of(TICK.as_millis()) {
                line.check(now);
            }
            if let Some(reason) = line.ending() {
                self.signaling.handle(now, visit, Input::Left(reason.leave_reason()));
                if line.is_gone() {
                    self.visits.remove(&socket);
                    ended.push((now, socket.0, reason));
                }
            }
        }
        ended
    }

    /// Whether what is sent to a peer is lost.
    fn set_deaf(&self, peer: usize, is_deaf: bool) {
        for (_, visit) in self.visits.iter().filter(|((of, _), _)| *of == peer) {
            visit.line().set_deaf(is_deaf);
        }
    }
}
