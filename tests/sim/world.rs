//! A room under a virtual clock: the real room of the signaling server, the real peers, and wires that are simulated.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_audio::encode::SpeechConfig;
use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_engine::{Comms, CommsConfig, CommsEvent, PeerStatus};
use voicemesh_mesh::{Carried, CarrierEvent, Connections, Mesh, MeshConfig, MeshEvent, PathChange, SocketEvent};
use voicemesh_session::Delivery;
use voicemesh_session::client::Who;
use voicemesh_signaling::ticket::{TicketIssuer, TicketKey};
use voicemesh_signaling::{
    CloseReason, ConnectionId, Knock, Outbox, Purpose, Refusal, Room, RoomRules, Salt, Text, digest,
};
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::signaling::{
    ClientMessage, ErrorCode, Join, LeaveReason, Metadata, Moderation, Presence, decode_client,
};
use voicemesh_wire::{PeerId, Permissions, SessionId};

use crate::carrier::{Arrival, SimCarrier, Wires, Word};

/// The world moves in steps of this.
pub const STEP: Duration = Duration::from_millis(5);

pub struct World {
    pub wires: Rc<RefCell<Wires>>,
    pub peers: Vec<SimPeer>,
    /// Everything that anybody was told, in order.
    pub trace: String,
    server: Option<Server>,
    sessions: u32,
    connections: u64,
    seed: u64,
}

pub struct SimPeer {
    pub comms: Comms<Carried<SimCarrier>>,
    pub id: PeerId,
    pub speaking: bool,
    pub mesh_events: Vec<MeshEvent>,
    pub events: Vec<(Duration, CommsEvent<PeerId>)>,
    pub frozen: bool,
    /// Its clock shows this much more than the world's.
    pub clock: Duration,
    /// What it says instead of the tone, again and again.
    pub speech: Vec<f32>,
    /// What it said and what it heard while it did, sample by sample from the same moment on, if `recorded`.
    pub recorded: bool,
    pub said: Vec<f32>,
    pub played: Vec<f32>,
    /// Blocks of 10 ms without sound in a row: now, and the most since [`World::forget_silence`].
    silent_blocks: u32,
    longest_silence: u32,
    phase: f32,
    position: usize,
}

struct Server {
    room: Room,
    sockets: BTreeMap<(usize, u32), ConnectionId>,
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
        self.sessions += 1;
        let session = SessionId::new(1000 + self.sessions).unwrap();
        let room = Room::new(self.now(), Arc::new(rules), session);
        self.server = Some(Server { room, sockets: BTreeMap::new() });
        self.wires.borrow_mut().server_up = true;
    }

    /// The next run of a server with a secret: it reads the tickets of the one before.
    pub fn start_server_with_secret(&mut self) {
        self.start_server(RoomRules { tickets_outlast_restarts: true, ..RoomRules::default() });
        let key = TicketKey::new(b"the operator's secret", self.sessions.into());
        let server = self.server.as_mut().expect("it runs");
        server.room.set_ticket_issuer(TicketIssuer::new(key, [self.sessions as u8; 32]), "room".to_owned());
        server.room.set_unix_time(1_800_000_000 + u64::from(self.sessions));
    }

    /// The server is gone at once, and every socket with it.
    pub fn kill_server(&mut self) {
        let Some(server) = self.server.take() else { return };
        let mut wires = self.wires.borrow_mut();
        wires.server_up = false;
        for (peer, generation) in server.sockets.into_keys() {
            wires.tell_peer(peer, generation, SocketEvent::Closed("it closed the connection".to_owned()));
        }
    }

    pub fn add_peer(&mut self) -> usize {
        self.add_peer_with(|_| {})
    }

    pub fn add_peer_with(&mut self, change: impl FnOnce(&mut MeshConfig)) -> usize {
        let number = self.peers.len() as u64 + 1;
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&number.to_be_bytes());
        secret[8..16].copy_from_slice(&self.seed.to_be_bytes());
        let proof = prove(&InstallationSecret(secret), "ws://sim:80", "room", 0);
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
        let mesh = Carried::new(Mesh::new(config), carrier);
        let speech = SpeechConfig { complexity: 0, ..SpeechConfig::default() };
        let comms_config = CommsConfig { speech, ..CommsConfig::new(name, self.seed.wrapping_add(number)) };
        let mut comms = Comms::new(comms_config, mesh).unwrap();
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
    pub fn run_until(&mut self, at_most: Duration, what: &str, condition: impl Fn(&Self) -> bool) -> Duration {
        let begun = self.now();
        while !condition(self) {
            assert!(self.now() < begun + at_most, "{what}: not within {at_most:?} (seed {})", self.seed);
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
                    }
                }
                Arrival::OpenLimit { at, link } => self.wires.borrow_mut().open_limit(at, link),
                Arrival::Flight { offerer, link, flight } => self.wires.borrow_mut().flight(offerer, link, flight),
                Arrival::Server { from, generation, word } => self.at_server(now, from, generation, word),
            }
        }
        if let Some(server) = &mut self.server {
            server.room.tick(now, &mut Out { wires: &self.wires, sockets: &server.sockets });
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
        peer.comms.update(clock);
        // As the engine of a peer does.
        let links_wait = peer.comms.links_wait(clock);
        peer.comms.network_mut().mesh.set_links_wait(links_wait);
        if self.wires.borrow().uplinks.contains_key(&number) {
            let uplink_bps = peer.comms.speaking_status().uplink.estimate_bps;
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
        let connection = match word {
            Word::Open => {
                self.connections += 1;
                server.sockets.insert((from, generation), ConnectionId(self.connections));
                return;
            }
            _ => server.sockets.get(&(from, generation)).copied(),
        };
        let Some(connection) = connection else { return };
        let mut out = Out { wires: &self.wires, sockets: &server.sockets };
        match word {
            Word::Open => {}
            Word::Text(text) => match decode_client(&text).expect("a peer says what the server understands") {
                ClientMessage::Join(join) => {
                    if let Err(refusal) = join_room(&mut server.room, now, connection, join, &mut out) {
                        out.text(connection, &Text::from(&refusal.farewell()), Purpose::Answer);
                        // What it still says is not listened to.
                        server.sockets.remove(&(from, generation));
                    }
                }
                message => server.room.message(now, connection, message, &mut out),
            },
            Word::Packet(packet) => {
                server.room.packet(now, connection, &packet, &mut out);
            }
            Word::Ping(number) => out.send(connection, SocketEvent::Pong(number)),
            Word::Closed => {
                server.room.leave(now, connection, LeaveReason::Lost, &mut out);
                server.sockets.remove(&(from, generation));
            }
        }
    }

    /// The system of a peer notices that its network is another one.
    pub fn path_changes(&mut self, peer: usize, change: PathChange) {
        let now = self.now();
        let peer = &mut self.peers[peer];
        peer.comms.network_mut().handle(now + peer.clock, CarrierEvent::Path(change));
    }

    /// The time of day at the server, in seconds since 1970.
    pub fn set_server_time(&mut self, unix: u64) {
        if let Some(server) = &mut self.server {
            server.room.set_unix_time(unix);
        }
    }

    /// The server sets what a peer may do. `unheard`: that peer itself is not told, as if its program did not care.
    pub fn set_permissions(&mut self, peer: usize, permissions: Permissions, unheard: bool) {
        let Some(server) = &mut self.server else { return };
        let mut sockets = server.sockets.clone();
        if unheard {
            sockets.retain(|(of, _), _| *of != peer);
        }
        let mut out = Out { wires: &self.wires, sockets: &sockets };
        assert!(server.room.set_permissions(self.peers[peer].id, permissions, &mut out));
    }

    /// A peer decides about another, which is not told.
    pub fn moderate(&mut self, by: usize, action: Moderation, unheard: usize) {
        let now = self.now();
        let Some(server) = &mut self.server else { return };
        let connection = server.sockets.iter().find(|((of, _), _)| *of == by).map(|(_, connection)| *connection);
        let mut sockets = server.sockets.clone();
        sockets.retain(|(of, _), _| *of != unheard);
        let mut out = Out { wires: &self.wires, sockets: &sockets };
        let message = ClientMessage::Moderate { request: None, action };
        server.room.message(now, connection.expect("it is connected"), message, &mut out);
    }

    /// How many connections the server has of a peer.
    pub fn connections_of(&self, peer: usize) -> usize {
        self.server.as_ref().map_or(0, |server| server.sockets.keys().filter(|(of, _)| *of == peer).count())
    }

    /// A peer's socket breaks: the server notices at once, the peer too.
    pub fn break_socket(&mut self, peer: usize) {
        let now = self.now();
        let Some(server) = &mut self.server else { return };
        let broken: Vec<_> = server.sockets.keys().copied().filter(|(of, _)| *of == peer).collect();
        for (of, generation) in broken {
            let connection = server.sockets[&(of, generation)];
            let mut out = Out { wires: &self.wires, sockets: &server.sockets };
            server.room.leave(now, connection, LeaveReason::Lost, &mut out);
            server.sockets.remove(&(of, generation));
            let closed = SocketEvent::Closed("the connection broke".to_owned());
            self.wires.borrow_mut().tell_peer(of, generation, closed);
        }
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
        let who = Who::Peer(self.peers[of].id);
        self.peers[at].comms.peers().into_iter().find(|status| status.who == who)
    }

    pub fn heard(&self, at: usize, of: usize) -> Heard {
        let stats = self.status(at, of).and_then(|status| status.heard).unwrap_or_default();
        Heard { received: stats.frames_received, heard: stats.frames_heard, concealed: stats.frames_concealed }
    }

    pub fn route(&self, at: usize, of: usize) -> voicemesh::Route {
        self.status(at, of).map_or(voicemesh::Route::None, |status| status.route)
    }

    pub fn all_routes_are(&self, route: voicemesh::Route) -> bool {
        let everyone = 0..self.peers.len();
        everyone.clone().all(|at| everyone.clone().filter(|of| *of != at).all(|of| self.route(at, of) == route))
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

/// As the server does, with the password hashed at once.
fn join_room(
    room: &mut Room,
    now: Duration,
    connection: ConnectionId,
    join: Join,
    out: &mut Out<'_>,
) -> Result<PeerId, Refusal> {
    let salt = Salt([connection.0 as u8; 16]);
    let shown = match (room.knock(&join, None, salt)?, &join.password) {
        (Knock::Hash(question), Some(password)) => digest(password, question.salt),
        (Knock::Enter | Knock::Hash(_), _) => None,
    };
    room.join(now, connection, join, shown, out)
}

/// The server's output: wires back to the peers.
struct Out<'a> {
    wires: &'a Rc<RefCell<Wires>>,
    sockets: &'a BTreeMap<(usize, u32), ConnectionId>,
}

impl Out<'_> {
    fn send(&self, to: ConnectionId, event: SocketEvent) {
        if let Some(((peer, generation), _)) = self.sockets.iter().find(|(_, connection)| **connection == to) {
            self.wires.borrow_mut().tell_peer(*peer, *generation, event);
        }
    }
}

impl Outbox for Out<'_> {
    fn text(&mut self, to: ConnectionId, message: &Text, _purpose: Purpose) -> bool {
        let text = String::from_utf8(message.bytes().to_vec()).unwrap();
        self.send(to, SocketEvent::Text(text));
        true
    }

    fn packet(&mut self, to: ConnectionId, packet: Bytes, _delivery: Delivery, _purpose: Purpose) -> bool {
        self.send(to, SocketEvent::Packet(packet));
        true
    }

    /// Nothing waits here.
    fn defer_snapshot(&mut self, _to: ConnectionId) -> bool {
        false
    }

    fn pong(&mut self, to: ConnectionId, message: &Text) {
        self.text(to, message, Purpose::Answer);
    }

    fn count_refusal(&mut self, _code: &ErrorCode) {}

    fn count_policed(&mut self) {}

    /// Nothing waits here: what is sent is on its way.
    fn hand_over(&mut self, _from: ConnectionId, _to: ConnectionId) {}

    fn close(&mut self, to: ConnectionId, reason: CloseReason) {
        self.send(
            to,
            match reason {
                CloseReason::TakenOver => SocketEvent::TakenOver,
                _ => SocketEvent::Closed("it closed the connection".to_owned()),
            },
        );
    }
}
