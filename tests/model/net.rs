//! The network between the world's server and clients: sockets and links made of `netsim` paths,
//! and a roster that arrives as late as everything else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_netsim::{Conditions, Mode, Path, State};
use voicemesh_session::network::{
    Delivery, Destination, LinkId, Network, NetworkError, NetworkEvent, Reliability,
};
use voicemesh_session::{Abilities, Roster as SessionRoster, RosterEntry, TextReader};
use voicemesh_wire::limits::{BINARY_MESSAGE_BYTES, UNRELIABLE_PACKET_BYTES};
use voicemesh_wire::{ClientId, Permissions, SessionId};

/// A member of the world, by its number.
pub type Peer = u8;
/// A connection to the server; each is new.
pub type Connection = u32;

/// Sessions whose roster a client remembers.
const SESSIONS_KNOWN: usize = 3;

/// Who is whom in a session, as the server's roster says.
#[derive(Clone, Debug)]
pub struct Roster {
    pub session: SessionId,
    pub clients: BTreeMap<Peer, ClientId>,
}

/// What travels from the server to a client.
#[derive(Clone, Debug)]
pub enum Down {
    Packet(Bytes),
    Roster(Roster),
}

/// A connection between a client and the server. Either end may notice its end later than it
/// happens.
pub struct Socket {
    pub peer: Peer,
    pub up: Path<Bytes>,
    pub down: Path<Down>,
}

/// A direct link; `low` is the end of the peer with the smaller number.
pub struct Link {
    pub low: End,
    pub high: End,
}

/// One end, and what is on its way to it.
pub struct End {
    pub is_up: bool,
    pub arriving: Path<Bytes>,
}

/// What clients asked of the network, for the world to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Disconnect(Peer),
    Release(Peer, LinkId<Peer>),
    Replace(Peer, LinkId<Peer>),
}

pub struct Net {
    pub has_roster: bool,
    pub conditions: Conditions,
    seed: u64,
    paths: u32,
    next_connection: Connection,
    pub connections: BTreeMap<Connection, Socket>,
    /// A client's own end of its connection.
    pub client_ends: BTreeMap<Peer, Connection>,
    pub links: BTreeMap<(Peer, Peer, u32), Link>,
    pub generations: BTreeMap<(Peer, Peer), u32>,
    /// Pairs between which nothing passes, without a report.
    pub stalled: BTreeSet<(Peer, Peer)>,
    /// The rosters that each client knows, the newest last.
    rosters: BTreeMap<Peer, VecDeque<Roster>>,
    /// Clients whose next reliable packet the network notices to have lost.
    pub breaking: BTreeSet<Peer>,
    pub requests: Vec<Request>,
}

impl Net {
    pub fn new(seed: u64, has_roster: bool) -> Self {
        Self {
            has_roster,
            conditions: Conditions::delay(Duration::from_millis(10)),
            seed,
            paths: 0,
            next_connection: 1,
            connections: BTreeMap::new(),
            client_ends: BTreeMap::new(),
            links: BTreeMap::new(),
            generations: BTreeMap::new(),
            stalled: BTreeSet::new(),
            rosters: BTreeMap::new(),
            breaking: BTreeSet::new(),
            requests: Vec::new(),
        }
    }

    fn path<T: Clone>(&mut self) -> Path<T> {
        self.paths += 1;
        Path::new(self.conditions, self.seed, self.paths)
    }

    pub fn learn_roster(&mut self, peer: Peer, roster: Roster) {
        let known = self.rosters.entry(peer).or_default();
        known.retain(|other| other.session != roster.session);
        known.push_back(roster);
        if known.len() > SESSIONS_KNOWN {
            known.pop_front();
        }
    }

    /// What a client knows of the others.
    pub fn session_roster(&self, of: Peer) -> SessionRoster<Peer> {
        if !self.has_roster {
            return SessionRoster::default();
        }
        let newest = self.rosters.get(&of).and_then(VecDeque::back);
        let roster = SessionRoster::of_session(newest.map(|roster| roster.session));
        let mut roster = roster.with_others(Abilities::ALL);
        for (peer, client) in newest.iter().flat_map(|newest| &newest.clients) {
            let (client, permissions) = (Some(*client), Permissions::default());
            roster.insert(
                *peer,
                RosterEntry {
                    client,
                    abilities: Abilities::ALL,
                    permissions,
                    held_in: Vec::new(),
                    text_reader: TextReader::Ready,
                    hears_plain: false,
                },
            );
        }
        roster
    }

    pub fn connect(&mut self, peer: Peer) -> Connection {
        let connection = self.next_connection;
        self.next_connection += 1;
        let socket = Socket { peer, up: self.path(), down: self.path() };
        self.connections.insert(connection, socket);
        self.client_ends.insert(peer, connection);
        connection
    }

    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
        for socket in self.connections.values_mut() {
            socket.up.set_conditions(conditions);
            socket.down.set_conditions(conditions);
        }
        for link in self.links.values_mut() {
            link.low.arriving.set_conditions(conditions);
            link.high.arriving.set_conditions(conditions);
        }
    }

    /// Neither direction carries anything any more, whether or not the ends know.
    pub fn cut(&mut self, now: Duration, connection: Connection) {
        if let Some(socket) = self.connections.get_mut(&connection) {
            socket.up.set_state(now, State::Cut);
            socket.down.set_state(now, State::Cut);
        }
    }

    /// A new link; its ends come up when the world says so.
    pub fn add_link(&mut self, now: Duration, a: Peer, b: Peer) -> u32 {
        let (low, high) = pair(a, b);
        let generation = self.generations.entry((low, high)).or_insert(0);
        *generation += 1;
        let generation = *generation;
        let mut end = || End { is_up: false, arriving: self.path() };
        let mut link = Link { low: end(), high: end() };
        if self.stalled.contains(&(low, high)) {
            link.set_state(now, State::Stalled);
        }
        self.links.insert((low, high, generation), link);
        generation
    }

    pub fn set_stalled(&mut self, now: Duration, a: Peer, b: Peer, stalled: bool) {
        let (low, high) = pair(a, b);
        if stalled {
            self.stalled.insert((low, high));
        } else {
            self.stalled.remove(&(low, high));
        }
        let state = if stalled { State::Stalled } else { State::Open };
        for (_, link) in self.links.range_mut((low, high, 0)..=(low, high, u32::MAX)) {
            link.set_state(now, state);
        }
    }

    pub fn end_mut(&mut self, of: Peer, link: LinkId<Peer>) -> Option<&mut End> {
        let (low, high) = pair(of, link.peer);
        let found = self.links.get_mut(&(low, high, link.generation))?;
        Some(if of == low { &mut found.low } else { &mut found.high })
    }

    /// Whether a link between two stands, seen from both ends.
    pub fn is_linked(&self, a: Peer, b: Peer) -> bool {
        let (low, high) = pair(a, b);
        self.links
            .range((low, high, 0)..=(low, high, u32::MAX))
            .any(|(_, link)| link.low.is_up && link.high.is_up)
    }

    /// Reliable packets under way. Nothing is settled while there are any.
    pub fn reliable_in_flight(&self) -> usize {
        let sockets = self.connections.values();
        let on_sockets: usize = sockets
            .map(|socket| {
                socket.up.in_flight(Mode::Reliable) + socket.down.in_flight(Mode::Reliable)
            })
            .sum();
        let moving =
            self.links.iter().filter(|((low, high, _), _)| !self.stalled.contains(&(*low, *high)));
        let on_links = moving.map(|(_, link)| {
            link.low.arriving.in_flight(Mode::Reliable)
                + link.high.arriving.in_flight(Mode::Reliable)
        });
        on_sockets + on_links.sum::<usize>()
    }

    pub fn send_on_link(
        &mut self,
        now: Duration,
        from: Peer,
        link: LinkId<Peer>,
        mode: Mode,
        packet: Bytes,
    ) -> bool {
        if !self.end_mut(from, link).is_some_and(|end| end.is_up) {
            return false;
        }
        let back = LinkId { peer: from, generation: link.generation };
        let Some(far) = self.end_mut(link.peer, back) else { return false };
        far.arriving.send(now, mode, packet.len(), packet).is_ok()
    }

    pub fn send_down(&mut self, now: Duration, to: Connection, packet: Bytes, delivery: Delivery) {
        let mode = match delivery {
            Delivery::Reliable => Mode::Reliable,
            Delivery::Voice | Delivery::Data => Mode::Unreliable,
        };
        assert!(packet.len() <= BINARY_MESSAGE_BYTES);
        if let Some(socket) = self.connections.get_mut(&to) {
            let _ = socket.down.send(now, mode, packet.len(), Down::Packet(packet));
        }
    }

    pub fn send_up(
        &mut self,
        now: Duration,
        from: Peer,
        mode: Mode,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        let connection = self.client_ends.get(&from).ok_or(NetworkError::NotConnected)?;
        if mode == Mode::Reliable && self.breaking.remove(&from) {
            return Err(NetworkError::ReliabilityBroken);
        }
        // A cut connection takes what it is given until its end is noticed.
        if let Some(socket) = self.connections.get_mut(connection) {
            let _ = socket.up.send(now, mode, packet.len(), packet);
        }
        Ok(())
    }
}

impl Link {
    fn set_state(&mut self, now: Duration, state: State) {
        self.low.arriving.set_state(now, state);
        self.high.arriving.set_state(now, state);
    }
}

pub fn pair(a: Peer, b: Peer) -> (Peer, Peer) {
    (a.min(b), a.max(b))
}

/// One client's view of the network.
pub struct Port<'a> {
    pub net: &'a mut Net,
    pub me: Peer,
}

impl Network for Port<'_> {
    type Peer = Peer;
    type ClientParameters = ();
    type ServerParameters = ();

    fn connect(&mut self, _: Duration, (): ()) -> Result<(), NetworkError> {
        Err(NetworkError::Unsupported("connect: the world does"))
    }

    fn disconnect(&mut self, _: Duration) {
        self.net.requests.push(Request::Disconnect(self.me));
    }

    fn host(&mut self, _: Duration, (): ()) -> Result<(), NetworkError> {
        Err(NetworkError::Unsupported("host: the world does"))
    }

    fn stop_hosting(&mut self, _: Duration) {}

    fn poll(&mut self, _: Duration) -> Option<NetworkEvent<Peer>> {
        None
    }

    fn send_to_server(
        &mut self,
        now: Duration,
        how: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        if how == Reliability::Unreliable {
            assert!(packet.len() <= UNRELIABLE_PACKET_BYTES);
        }
        assert!(packet.len() <= BINARY_MESSAGE_BYTES);
        self.net.send_up(now, self.me, mode_of(how), packet)
    }

    fn send_to_client(
        &mut self,
        _: Duration,
        _: Peer,
        _: Delivery,
        _: Bytes,
    ) -> Result<(), NetworkError> {
        Err(NetworkError::Unsupported("serve"))
    }

    fn send_to_links(
        &mut self,
        now: Duration,
        destinations: &mut Vec<Destination<Peer>>,
        how: Reliability,
        packet: &Bytes,
    ) {
        destinations.retain(|to| {
            !self.net.send_on_link(now, self.me, to.link, mode_of(how), packet.clone())
        });
    }

    fn release_link(&mut self, _: Duration, link: LinkId<Peer>) {
        self.net.requests.push(Request::Release(self.me, link));
    }

    fn replace_link(&mut self, _: Duration, link: LinkId<Peer>) {
        self.net.requests.push(Request::Replace(self.me, link));
    }
}

fn mode_of(how: Reliability) -> Mode {
    match how {
        Reliability::Reliable => Mode::Reliable,
        Reliability::Unreliable => Mode::Unreliable,
    }
}
