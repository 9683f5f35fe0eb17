//! The carrier of a simulated peer: its sockets and links are entries in one shared, seeded set of
//! wires.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use voicemesh_mesh::link::Stream as LinkStream;
use voicemesh_mesh::link::{CloseReason, LinkEvent, LinkSendError, Role};
use voicemesh_mesh::{Carrier, CarrierEvent, MeshLink, SocketEvent};
use voicemesh_netsim::{Bottleneck, Schedule};
use voicemesh_session::network::{LinkId, Reliability};
use voicemesh_wire::PeerId;
use voicemesh_wire::packet::{self, Kind};
use voicemesh_wire::signaling::{IceServer, Signal};

use crate::narrow::{
    LINK_OVERHEAD_BYTES, PeerSocket, SACK_BYTES, SACK_HOLD, STREAM_OVERHEAD_BYTES, Stream,
    UNSENT_BY_PEER_BYTES, UNSENT_BY_SERVER_BYTES,
};
use crate::opening::{CANDIDATES, DESCRIPTION_BYTES, Flight, Openings};

/// What the network does to packets. Times are one way.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub to_server: Duration,
    pub on_links: Duration,
    /// Up to so much more, drawn for each packet.
    pub jitter: Duration,
    /// Of unreliable packets on links.
    pub loss: f64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            to_server: Duration::from_millis(20),
            on_links: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss: 0.0,
        }
    }
}

/// What arrives somewhere.
#[derive(Debug)]
pub enum Arrival {
    /// At a peer.
    Peer { to: usize, event: CarrierEvent },
    /// An attempt that is not answered by now ends by itself.
    OpenLimit { at: usize, link: MeshLink },
    /// A flight of the checks and handshakes of a link is due, where a way is narrow.
    Flight { offerer: usize, link: MeshLink, flight: Flight },
    /// At the server, on a socket.
    Server { from: usize, generation: u32, word: Word },
}

/// What a socket carries to the server.
#[derive(Debug)]
pub enum Word {
    Open,
    Text(String),
    Packet(Bytes),
    Ping(u16),
    Closed,
}

/// One end of a link.
#[derive(Debug)]
struct End {
    open: bool,
    role: Role,
}

/// A server that lies: what reaches a peer in place of each word of it.
pub struct Attack(pub Box<dyn FnMut(Duration, usize, SocketEvent) -> Vec<SocketEvent>>);

impl fmt::Debug for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attack")
    }
}

/// All wires of a world.
#[derive(Debug)]
pub struct Wires {
    pub now: Duration,
    pub conditions: Conditions,
    pub server_up: bool,
    /// Links swallow everything, without anybody being told.
    pub links_cut: BTreeSet<(usize, usize)>,
    /// Nothing of these peers gets anywhere: neither to the server nor on links.
    pub peers_cut: BTreeSet<usize>,
    /// Nothing passes between the server and these peers, though links may: neither new connections
    /// nor, ever again, those that were open when it began.
    pub server_dark: BTreeSet<usize>,
    dead_sockets: BTreeSet<(usize, u32)>,
    dead_links: BTreeSet<(usize, MeshLink)>,
    /// Sockets that a peer has opened and not closed.
    pub sockets: BTreeSet<(usize, u32)>,
    /// When connections were opened, and by whom.
    pub opened: Vec<(Duration, usize)>,
    /// No link ever opens between these.
    pub links_blocked: bool,
    /// Descriptions of links name a certificate, as members that encrypt look at it.
    pub names_certificates: bool,
    /// The server puts its certificates into descriptions of links.
    pub server_forges: bool,
    /// Changes what the server sends.
    pub attack: Option<Attack>,
    pub links_opened: u64,
    pub signals: Vec<(usize, Signal)>,
    /// What peers gave to sockets and links, if it is kept: who, whether to the server, and what.
    pub carried: Option<Vec<(usize, bool, Bytes)>>,
    /// What they said to the server besides, if that is kept.
    pub texts: Vec<String>,
    pub voice_to_server: u64,
    pub voice_on_links: u64,
    /// Narrow ways of peers to and from everyone else.
    pub uplinks: BTreeMap<usize, Bottleneck>,
    pub downlinks: BTreeMap<usize, Bottleneck>,
    /// Where a way is narrow, opening a link takes room and turns. Otherwise links open for
    /// nothing.
    pub openings_cost: bool,
    /// TCP loses what a narrow way drops.
    pub tcp_loses: bool,
    openings: Openings,
    /// What waits for a narrow way: of a peer's socket to the server, and what the server has written
    /// to the peer's.
    to_server: BTreeMap<usize, PeerSocket<(u32, Word)>>,
    from_server: BTreeMap<usize, Stream<(u32, SocketEvent)>>,
    /// Packets on links since a SACK went back, and when it did, by direction.
    unsacked: BTreeMap<(usize, usize), (u32, Duration)>,
    random: ChaCha8Rng,
    queue: Schedule<Arrival>,
    ordered: BTreeMap<(usize, usize, bool), Duration>,
    ends: BTreeMap<(usize, MeshLink), End>,
    ids: Vec<PeerId>,
}

/// A word of the server with another first octet in each fingerprint.
fn with_another_certificate(text: &str) -> String {
    const BEFORE: &str = "fingerprint:sha-256 ";
    let mut parts = text.split(BEFORE);
    let mut forged = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        forged += BEFORE;
        forged += if part.starts_with("00") { "01" } else { "00" };
        forged += &part[2..];
    }
    forged
}

impl Wires {
    pub fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            conditions: Conditions::default(),
            server_up: true,
            links_cut: BTreeSet::new(),
            peers_cut: BTreeSet::new(),
            server_dark: BTreeSet::new(),
            dead_sockets: BTreeSet::new(),
            dead_links: BTreeSet::new(),
            sockets: BTreeSet::new(),
            opened: Vec::new(),
            links_blocked: false,
            names_certificates: false,
            server_forges: false,
            attack: None,
            links_opened: 0,
            signals: Vec::new(),
            carried: None,
            texts: Vec::new(),
            voice_to_server: 0,
            voice_on_links: 0,
            uplinks: BTreeMap::new(),
            downlinks: BTreeMap::new(),
            openings_cost: false,
            tcp_loses: false,
            openings: Openings::default(),
            to_server: BTreeMap::new(),
            from_server: BTreeMap::new(),
            unsacked: BTreeMap::new(),
            random: ChaCha8Rng::seed_from_u64(seed),
            queue: Schedule::default(),
            ordered: BTreeMap::new(),
            ends: BTreeMap::new(),
            ids: Vec::new(),
        }
    }

    pub fn add_peer(&mut self, id: PeerId) -> usize {
        self.ids.push(id);
        self.ids.len() - 1
    }

    /// The next thing that is due.
    pub fn pop(&mut self) -> Option<Arrival> {
        self.queue.pop(self.now)
    }

    /// From the server to a peer's socket, in order.
    pub fn tell_peer(&mut self, to: usize, generation: u32, event: SocketEvent) {
        let Some(Attack(attack)) = &mut self.attack else {
            return self.carry_to_peer(to, generation, event);
        };
        for event in attack(self.now, to, event) {
            self.carry_to_peer(to, generation, event);
        }
    }

    /// The same past any [`Attack`].
    pub fn carry_to_peer(&mut self, to: usize, generation: u32, event: SocketEvent) {
        if self.peers_cut.contains(&to) || self.is_dead(to, generation) {
            return;
        }
        if self.has_narrow_downlink(to) {
            let bytes = match &event {
                SocketEvent::Packet(packet) => packet.len(),
                SocketEvent::Text(text) => text.len(),
                _ => 2,
            };
            self.from_server
                .entry(to)
                .or_insert_with(|| stream(self.tcp_loses, UNSENT_BY_SERVER_BYTES))
                .write(bytes, (generation, event));
            self.pump();
        } else {
            self.reach_peer(to, self.now, generation, event);
        }
    }

    pub fn has_narrow_downlink(&self, peer: usize) -> bool {
        self.downlinks.contains_key(&peer)
    }

    /// Whether the server's system takes more for a peer.
    pub fn has_room_to(&self, peer: usize) -> bool {
        self.from_server.get(&peer).is_none_or(Stream::has_room)
    }

    fn reach_peer(
        &mut self,
        to: usize,
        left_at: Duration,
        generation: u32,
        mut event: SocketEvent,
    ) {
        if let SocketEvent::Text(text) = &mut event
            && self.server_forges
        {
            *text = with_another_certificate(text);
        }
        let delay = left_at - self.now + self.conditions.to_server + self.jitter();
        let arrival = Arrival::Peer { to, event: CarrierEvent::Socket { generation, event } };
        self.in_order((to, server_wire(generation), true), delay, arrival);
    }

    /// What waited for a narrow way and has room there now, and links whose turn it is.
    pub fn pump(&mut self) {
        let now = self.now;
        for (peer, is_offer, link) in self.openings.begin(now) {
            self.describe(peer, is_offer, link);
        }
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for (peer, stream) in &mut self.to_server {
            let Some(way) = self.uplinks.get_mut(peer) else { continue };
            up.extend(
                stream
                    .pump(now, way)
                    .into_iter()
                    .map(|(at, (generation, word))| (*peer, at, generation, word)),
            );
        }
        for (peer, stream) in &mut self.from_server {
            let Some(way) = self.downlinks.get_mut(peer) else { continue };
            let passed = stream.pump(now, way).into_iter();
            down.extend(passed.map(|(at, (generation, event))| (*peer, at, generation, event)));
        }
        for (peer, at, generation, word) in up {
            self.reach_server(peer, at, generation, word);
        }
        for (peer, at, generation, event) in down {
            self.reach_peer(peer, at, generation, event);
        }
    }

    /// The way between a peer and the server goes dark: its sockets are dead for good, without an
    /// end of them, and what links it has go on.
    pub fn darken(&mut self, peer: usize) {
        self.server_dark.insert(peer);
        self.dead_sockets.extend(self.sockets.iter().filter(|(of, _)| *of == peer));
    }

    /// A peer has another address: whatever it had open is dead.
    pub fn move_peer(&mut self, peer: usize) {
        self.dead_sockets.extend(self.sockets.iter().filter(|(of, _)| *of == peer));
        let dead: Vec<_> = self
            .ends
            .keys()
            .filter(|(at, link)| *at == peer || self.index(link.peer) == peer)
            .copied()
            .collect();
        self.dead_links.extend(dead);
    }

    fn is_dead(&self, peer: usize, generation: u32) -> bool {
        self.server_dark.contains(&peer) || self.dead_sockets.contains(&(peer, generation))
    }

    /// Cuts the link between two peers without telling them.
    pub fn cut_link(&mut self, a: usize, b: usize) {
        self.links_cut.insert(pair(a, b));
    }

    /// Closes every link between the two; both get the event after a while.
    pub fn break_links(&mut self, a: usize, b: usize) {
        let between: Vec<_> = self
            .ends
            .keys()
            .copied()
            .filter(|(at, link)| {
                let other = self.index(link.peer);
                (*at, other) == (a, b) || (*at, other) == (b, a)
            })
            .collect();
        for (at, link) in between {
            self.ends.remove(&(at, link));
            self.tell_link(
                at,
                link,
                Duration::from_millis(5),
                LinkEvent::Closed(CloseReason::Lost),
            );
        }
    }

    fn tell_server(&mut self, from: usize, generation: u32, word: Word) {
        if self.peers_cut.contains(&from) || self.is_dead(from, generation) {
            return;
        }
        if self.uplinks.contains_key(&from) {
            let (bytes, is_voice) = match &word {
                Word::Packet(packet) => (
                    packet.len(),
                    packet::open(packet)
                        .is_ok_and(|(header, _)| header.kind == Kind::ServerRelayUnreliable),
                ),
                Word::Text(text) => (text.len(), false),
                Word::Open | Word::Ping(_) | Word::Closed => (2, false),
            };
            let now = self.now;
            self.to_server
                .entry(from)
                .or_insert_with(|| PeerSocket::new(stream(self.tcp_loses, UNSENT_BY_PEER_BYTES)))
                .put(now, bytes, is_voice, (generation, word));
            self.pump();
        } else {
            self.reach_server(from, self.now, generation, word);
        }
    }

    fn reach_server(&mut self, from: usize, left_at: Duration, generation: u32, word: Word) {
        let delay = left_at - self.now + self.conditions.to_server + self.jitter();
        self.in_order(
            (server_wire(generation), from, true),
            delay,
            Arrival::Server { from, generation, word },
        );
    }

    /// How long a packet on a link takes through the narrow ways, beside the latency; `None` if it
    /// is lost there.
    fn through_narrow_ways(&mut self, from: usize, to: usize, bytes: usize) -> Option<Duration> {
        let now = self.now;
        let left_at = self.uplinks.get_mut(&from).map_or(Some(now), |way| way.pass(now, bytes))?;
        let comes_at = left_at + self.conditions.on_links;
        let arrives_at =
            self.downlinks.get_mut(&to).map_or(Some(comes_at), |way| way.pass(comes_at, bytes))?;
        Some(arrives_at - now - self.conditions.on_links)
    }

    /// A link's acknowledgement on its way back takes room, too.
    fn sack(&mut self, from: usize, to: usize) {
        let now = self.now;
        let (packets, sacked_at) = self.unsacked.entry((from, to)).or_default();
        *packets += 1;
        if *packets >= 2 && now >= *sacked_at + SACK_HOLD {
            (*packets, *sacked_at) = (0, now);
            self.through_narrow_ways(to, from, SACK_BYTES);
        }
    }

    fn tell_link(&mut self, at: usize, link: MeshLink, delay: Duration, event: LinkEvent) {
        self.put(delay, Arrival::Peer { to: at, event: CarrierEvent::Link { link, event } });
    }

    fn send_link(
        &mut self,
        from: usize,
        link: MeshLink,
        stream: LinkStream,
        packet: Bytes,
    ) -> Result<(), LinkSendError> {
        let end = self.ends.get(&(from, link)).ok_or(LinkSendError::Closed)?;
        if !end.open {
            return Err(LinkSendError::NotOpen);
        }
        let to = self.index(link.peer);
        self.keep(from, false, &packet);
        self.voice_on_links += u64::from(stream == LinkStream::Voice);
        if self.links_cut.contains(&pair(from, to))
            || self.peers_cut.contains(&from)
            || self.peers_cut.contains(&to)
        {
            return Ok(());
        }
        if self.dead_links.contains(&(from, link)) {
            return Ok(());
        }
        let there = LinkId { peer: self.ids[from], generation: link.generation };
        let through = self.through_narrow_ways(from, to, packet.len() + LINK_OVERHEAD_BYTES);
        let Some(waited) =
            through.or((stream == LinkStream::Reliable).then_some(ONE_RETRANSMISSION))
        else {
            return Ok(());
        };
        self.sack(from, to);
        let delay = waited + self.conditions.on_links + self.jitter();
        let event =
            CarrierEvent::Link { link: there, event: LinkEvent::Received { stream, packet } };
        let arrival = Arrival::Peer { to, event };
        if stream == LinkStream::Reliable {
            self.in_order((to, from, false), delay, arrival);
        } else if self.fraction() >= self.conditions.loss {
            self.put(delay, arrival);
        }
        Ok(())
    }

    fn keep(&mut self, from: usize, to_server: bool, packet: &Bytes) {
        if let Some(carried) = &mut self.carried {
            carried.push((from, to_server, packet.clone()));
        }
    }

    /// How many links a peer has open.
    pub fn links_of(&self, peer: PeerId) -> usize {
        self.ends.iter().filter(|((at, _), end)| self.ids[*at] == peer && end.open).count()
    }

    /// A link that is not open by now is closed.
    pub fn open_limit(&mut self, at: usize, link: MeshLink) {
        if self.ends.get(&(at, link)).is_some_and(|end| !end.open) {
            self.end_turn(at, link);
            self.ends.remove(&(at, link));
            self.tell_link(at, link, Duration::ZERO, LinkEvent::Closed(CloseReason::OpenTimeout));
        }
    }

    /// The offerer has the answer: after two round trips both ends are open.
    fn connect(&mut self, offerer: usize, link: MeshLink) {
        let answerer = self.index(link.peer);
        let there = LinkId { peer: self.ids[offerer], generation: link.generation };
        let blocked = self.links_blocked
            || self.links_cut.contains(&pair(offerer, answerer))
            || self.peers_cut.contains(&offerer)
            || self.peers_cut.contains(&answerer)
            || self.dead_links.contains(&(offerer, link))
            || self.dead_links.contains(&(answerer, there));
        let (delay, event) = if blocked {
            (Duration::from_secs(15), LinkEvent::Closed(CloseReason::OpenTimeout))
        } else if self.is_narrow(offerer, answerer) {
            return self
                .put(Duration::ZERO, Arrival::Flight { offerer, link, flight: Flight::default() });
        } else {
            self.links_opened += 1;
            (4 * self.conditions.on_links, LinkEvent::Open)
        };
        for (at, link) in [(offerer, link), (answerer, there)] {
            if let Some(end) = self.ends.get_mut(&(at, link)) {
                end.open = !blocked;
                self.tell_link(at, link, delay, event.clone());
            }
        }
    }

    fn is_narrow(&self, a: usize, b: usize) -> bool {
        self.openings_cost && [a, b].into_iter().any(|peer| self.is_behind_a_narrow_way(peer))
    }

    /// Whether a peer's own uplink or downlink is narrow.
    pub fn is_behind_a_narrow_way(&self, peer: usize) -> bool {
        self.uplinks.contains_key(&peer) || self.downlinks.contains_key(&peer)
    }

    /// Sends one flight; after the last one both ends are open.
    pub fn flight(&mut self, offerer: usize, link: MeshLink, flight: Flight) {
        let answerer = self.index(link.peer);
        let there = LinkId { peer: self.ids[offerer], generation: link.generation };
        let ends = [(offerer, link), (answerer, there)];
        if !ends.iter().all(|end| self.ends.contains_key(end)) {
            return;
        }
        let Some(datagrams) = flight.datagrams() else {
            self.links_opened += 1;
            for (end, is_offer) in ends.into_iter().zip([true, false]) {
                self.ends.get_mut(&end).expect("it is there").open = true;
                self.openings.end(self.now, (end.0, is_offer), end.1, true);
                self.tell_link(end.0, end.1, Duration::ZERO, LinkEvent::Open);
            }
            return;
        };
        let (from, to) =
            if flight.is_offerers() { (offerer, answerer) } else { (answerer, offerer) };
        self.openings.sent(from, datagrams.iter().sum());
        let waits: Vec<_> =
            datagrams.iter().map(|bytes| self.through_narrow_ways(from, to, *bytes)).collect();
        let (delay, next) = flight.next(&waits);
        self.put(delay + self.conditions.on_links, Arrival::Flight { offerer, link, flight: next });
    }

    /// Begins to open a link, at once or when it is its turn.
    fn open_link(&mut self, peer: usize, is_offer: bool, link: MeshLink) {
        if self.is_narrow(peer, self.index(link.peer)) {
            self.openings.request((peer, is_offer), link);
        } else {
            self.describe(peer, is_offer, link);
        }
    }

    fn describe(&mut self, peer: usize, is_offer: bool, link: MeshLink) {
        let is_narrow = self.is_narrow(peer, self.index(link.peer));
        let mut sdp = "an address of this peer".to_owned();
        if self.names_certificates {
            let first = u32::try_from(peer).expect("a small number") + link.generation;
            let octet = |at: u32| format!("{:02X}", first.wrapping_mul(37 + at) & 255);
            let certificate: Vec<_> = (0..32).map(octet).collect();
            sdp = format!("v=0\r\na=fingerprint:sha-256 {}\r\n", certificate.join(":"));
        }
        if is_narrow {
            sdp.extend(std::iter::repeat_n(' ', DESCRIPTION_BYTES - sdp.len()));
        }
        let description = if is_offer { Signal::Offer { sdp } } else { Signal::Answer { sdp } };
        self.signals.push((peer, description.clone()));
        self.tell_link(peer, link, Duration::ZERO, LinkEvent::Signal(description));
        if is_narrow {
            for bytes in CANDIDATES {
                let candidate = Signal::Candidate {
                    candidate: " ".repeat(bytes),
                    sdp_mid: Some("0".to_owned()),
                    sdp_m_line_index: Some(0),
                };
                self.tell_link(peer, link, Duration::ZERO, LinkEvent::Signal(candidate));
            }
            let end = LinkEvent::Signal(Signal::EndOfCandidates);
            self.tell_link(peer, link, Duration::ZERO, end);
        }
        if is_offer {
            self.put(Duration::from_secs(15), Arrival::OpenLimit { at: peer, link });
        }
    }

    /// What a peer knows of its uplink, and whether that lacks room for further links.
    pub fn set_uplink(&mut self, peer: usize, bps: Option<u32>, lacks_room: bool) {
        self.openings.set_uplink(self.now, peer, bps, lacks_room);
    }

    fn end_turn(&mut self, at: usize, link: MeshLink) {
        for is_offer in [true, false] {
            self.openings.end(self.now, (at, is_offer), link, false);
        }
    }

    fn close_link(&mut self, at: usize, link: MeshLink) {
        self.end_turn(at, link);
        if self.ends.remove(&(at, link)).is_none() {
            return;
        }
        let other = self.index(link.peer);
        let there = LinkId { peer: self.ids[at], generation: link.generation };
        let is_dead =
            self.dead_links.contains(&(at, link)) || self.dead_links.contains(&(other, there));
        let reaches =
            !is_dead && !self.links_cut.contains(&pair(at, other)) && !self.peers_cut.contains(&at);
        if reaches && self.ends.remove(&(other, there)).is_some() {
            let delay = self.conditions.on_links;
            self.tell_link(other, there, delay, LinkEvent::Closed(CloseReason::Remote));
        }
    }

    fn in_order(&mut self, wire: (usize, usize, bool), delay: Duration, arrival: Arrival) {
        let last = self.ordered.entry(wire).or_default();
        let due = (self.now + delay).max(*last);
        *last = due;
        self.queue.add(due, arrival);
    }

    fn put(&mut self, delay: Duration, arrival: Arrival) {
        self.queue.add(self.now + delay, arrival);
    }

    fn jitter(&mut self) -> Duration {
        let fraction = self.fraction();
        self.conditions.jitter.mul_f64(fraction)
    }

    fn fraction(&mut self) -> f64 {
        f64::from(self.random.next_u32()) / (f64::from(u32::MAX) + 1.0)
    }

    fn index(&self, peer: PeerId) -> usize {
        self.ids.iter().position(|id| *id == peer).expect("only peers of this world are linked")
    }
}

/// What a reliable packet on a link costs that was lost once.
const ONE_RETRANSMISSION: Duration = Duration::from_secs(1);

/// The server's end of a socket, as one end of an ordered wire.
fn server_wire(generation: u32) -> usize {
    usize::MAX - generation as usize
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

/// One peer's end of the wires.
#[derive(Debug)]
pub struct SimCarrier {
    pub peer: usize,
    pub wires: Rc<RefCell<Wires>>,
}

impl Carrier for SimCarrier {
    fn open_socket(&mut self, generation: u32) {
        let mut wires = self.wires.borrow_mut();
        wires.sockets.insert((self.peer, generation));
        let (now, round_trip) = (wires.now, 2 * wires.conditions.to_server);
        wires.opened.push((now, self.peer));
        if wires.peers_cut.contains(&self.peer) {
            return;
        }
        if wires.server_dark.contains(&self.peer) {
            wires.dead_sockets.insert((self.peer, generation));
            return;
        }
        if wires.server_up {
            wires.tell_server(self.peer, generation, Word::Open);
            let event = CarrierEvent::Socket { generation, event: SocketEvent::Open };
            wires.in_order(
                (self.peer, server_wire(generation), true),
                round_trip,
                Arrival::Peer { to: self.peer, event },
            );
        } else {
            let event = SocketEvent::Closed("nothing listens there".to_owned());
            wires.put(
                round_trip,
                Arrival::Peer { to: self.peer, event: CarrierEvent::Socket { generation, event } },
            );
        }
    }

    fn close_socket(&mut self, generation: u32) {
        let mut wires = self.wires.borrow_mut();
        if wires.sockets.remove(&(self.peer, generation)) {
            wires.tell_server(self.peer, generation, Word::Closed);
        }
    }

    fn send_text(&mut self, generation: u32, text: String) {
        let mut wires = self.wires.borrow_mut();
        if wires.openings_cost {
            wires.openings.sent(self.peer, text.len() + STREAM_OVERHEAD_BYTES);
        }
        if wires.carried.is_some() {
            wires.texts.push(text.clone());
        }
        wires.tell_server(self.peer, generation, Word::Text(text));
    }

    fn send_packet(&mut self, generation: u32, reliability: Reliability, packet: Bytes) {
        let mut wires = self.wires.borrow_mut();
        wires.voice_to_server += u64::from(reliability == Reliability::Unreliable);
        wires.keep(self.peer, true, &packet);
        wires.tell_server(self.peer, generation, Word::Packet(packet));
    }

    fn ping(&mut self, generation: u32, number: u16) {
        self.wires.borrow_mut().tell_server(self.peer, generation, Word::Ping(number));
    }

    fn open_link(&mut self, link: MeshLink, role: Role, _ice_servers: &[IceServer]) {
        let mut wires = self.wires.borrow_mut();
        wires.ends.insert((self.peer, link), End { open: false, role });
        if role == Role::Offer {
            wires.open_link(self.peer, true, link);
        }
    }

    fn signal(&mut self, link: MeshLink, signal: Signal) {
        let mut wires = self.wires.borrow_mut();
        let role = wires.ends.get(&(self.peer, link)).map(|end| end.role);
        match (role, signal) {
            (Some(Role::Answer), Signal::Offer { .. }) => wires.open_link(self.peer, false, link),
            (Some(Role::Offer), Signal::Answer { .. }) => wires.connect(self.peer, link),
            _ => {}
        }
    }

    fn send_link(
        &mut self,
        link: MeshLink,
        stream: LinkStream,
        packet: Bytes,
    ) -> Result<(), LinkSendError> {
        self.wires.borrow_mut().send_link(self.peer, link, stream, packet)
    }

    fn close_link(&mut self, link: MeshLink) {
        self.wires.borrow_mut().close_link(self.peer, link);
    }

    fn background_bytes(&self) -> u64 {
        self.wires.borrow().openings.sent_bytes(self.peer)
    }
}

fn stream<T>(loses: bool, unsent_bytes: usize) -> Stream<T> {
    if loses { Stream::lossy(unsent_bytes) } else { Stream::default() }
}
