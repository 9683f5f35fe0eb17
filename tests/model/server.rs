//! The signaling server that ships, with lines that lead into the simulated network.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use voicemesh_rooms::{
    CloseReason, ConnectionId, Digest, Enqueue, Input, Line, Part, Purpose, Refusal, RoomRules,
    Settings, Signaling, Text, Visit,
};
use voicemesh_session::Table;
use voicemesh_session::network::Delivery;
use voicemesh_session::{Server as SessionServer, ServerConfig};
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::signaling::{
    Capabilities, ClientMessage, Join, LeaveReason, MemberStatus, Metadata, PROTOCOL_VERSION,
    Presence,
};
use voicemesh_wire::{ClientId, SessionId};

use crate::net::{Connection, Peer};
use crate::reference::fail;

const ROOM: &str = "room";

/// What the server does to a connection.
#[derive(Debug)]
pub enum Sent {
    Packet(Bytes, Delivery),
    End,
}

type Outgoing = Rc<RefCell<Vec<(Connection, Sent)>>>;

/// One server with one room.
pub struct Server {
    signaling: Signaling<ModelLine>,
    visits: BTreeMap<Connection, Visit<ModelLine>>,
    outgoing: Outgoing,
}

impl Server {
    pub fn new(seed: u64) -> Self {
        // Small packets, so that what does not fit into one is exercised too.
        let session = ServerConfig { reliable_packet_bytes: 200, ..ServerConfig::default() };
        let settings = Settings {
            rules: RoomRules { session, ..RoomRules::default() },
            ..Settings::default()
        };
        let random = Mutex::new(ChaCha8Rng::seed_from_u64(seed));
        let draw = move |bytes: &mut [u8]| {
            random.lock().expect("nothing panics while it is held").fill_bytes(bytes);
            true
        };
        let signaling = Signaling::new(settings, Box::new(draw));
        Self { signaling, visits: BTreeMap::new(), outgoing: Outgoing::default() }
    }

    /// A connection on which a peer joins, each time as another run of its program: an earlier
    /// connection is replaced.
    pub fn admit(&mut self, now: Duration, connection: Connection, peer: Peer) -> ClientId {
        let line =
            ModelLine { connection, outgoing: Rc::clone(&self.outgoing), ending: Rc::default() };
        let visit = Visit::local(now, ConnectionId(connection.into()), line, &self.signaling);
        self.visits.insert(connection, visit);
        let join = Join {
            protocol: PROTOCOL_VERSION,
            room: ROOM.to_owned(),
            name: format!("member {peer}"),
            proof: prove(&InstallationSecret([peer; 32]), "ws://model:80", ROOM, 0),
            run: connection,
            capabilities: Capabilities::default(),
            metadata: Metadata::new(),
            status: MemberStatus::default(),
            presence: Presence::Either,
            password: None,
            room_metadata: Metadata::new(),
            token: None,
            ticket: None,
        };
        self.handle(now, connection, Input::Text(&ClientMessage::Join(join).to_json()));
        self.client_of(connection).unwrap_or_else(|| fail(format!("{peer} was not let in")))
    }

    pub fn receive(&mut self, now: Duration, connection: Connection, packet: Bytes) {
        // What comes on a connection that is ending is not read.
        if self.visits.get(&connection).is_some_and(|visit| visit.line().ending().is_none()) {
            self.handle(now, connection, Input::Packet(packet));
        }
    }

    /// The connection is at its end.
    pub fn disconnected(&mut self, now: Duration, connection: Connection) {
        self.handle(now, connection, Input::Left(LeaveReason::Lost));
        self.visits.remove(&connection);
    }

    fn handle(&mut self, now: Duration, connection: Connection, input: Input<'_>) {
        if let Some(visit) = self.visits.get_mut(&connection) {
            assert!(!self.signaling.handle(now, visit, input), "no password is named");
        }
    }

    pub fn tick(&mut self, now: Duration) {
        self.signaling.tick(now);
    }

    /// What was sent since the last call, in order.
    pub fn take_sent(&mut self) -> Vec<(Connection, Sent)> {
        self.outgoing.take()
    }

    /// The room's session, and who listens to what in it. None before the first join.
    pub fn state(&self) -> Option<(SessionId, Table)> {
        self.with_session(|session| (session.session(), session.table().clone()))
    }

    pub fn session(&self) -> Option<SessionId> {
        self.with_session(|session| session.session())
    }

    pub fn client_of(&self, connection: Connection) -> Option<ClientId> {
        self.with_session(|session| session.client_of(ConnectionId(connection.into()))).flatten()
    }

    fn with_session<T>(&self, look: impl FnOnce(&SessionServer<ConnectionId>) -> T) -> Option<T> {
        let room = self.signaling.room(ROOM)?;
        Some(room.with(Duration::ZERO, |room, _| look(room.session())))
    }
}

/// The server's end of one connection, on which nothing waits.
#[derive(Clone)]
struct ModelLine {
    connection: Connection,
    outgoing: Outgoing,
    ending: Rc<Cell<Option<CloseReason>>>,
}

impl ModelLine {
    fn send(&self, sent: Sent) {
        self.outgoing.borrow_mut().push((self.connection, sent));
    }
}

impl Line for ModelLine {
    /// What the session's clients have of it, the rosters of the network say.
    fn text(&self, _: Duration, _: &Text, _: Purpose) -> Enqueue {
        Enqueue::Queued
    }

    fn packet(&self, _: Duration, packet: Bytes, delivery: Delivery, _: Purpose) -> Enqueue {
        self.send(Sent::Packet(packet, delivery));
        Enqueue::Queued
    }

    fn pong(&self, _: Duration, _: &Text) -> Enqueue {
        Enqueue::Queued
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
        if self.ending.replace(Some(reason)).is_none() {
            self.send(Sent::End);
        }
    }

    fn ending(&self) -> Option<CloseReason> {
        self.ending.get()
    }
}
