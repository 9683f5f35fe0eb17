//! The network over signaling and links: the [`Network`] of a peer in a room (PROTOCOL.md, sections 4 and 5).
//!
//! Pure: a [`Carrier`] moves its bytes, [`Mesh::handle`] takes what the carrier saw, and time is handed in. So the same
//! mesh runs over real sockets and WebRTC, and in a simulated room under a virtual clock.
//!
//! - `roster`: who is in the room, and who is lost but not yet given up.
//! - `negotiation`: which link to whom, attempt by attempt.
//! - `choice`: to whom links are wanted at all.
//! - `lobby`: what is published, and the room's owner.
//! - `status`: the status of this peer that the others see.
//! - `signaling`: the WebSocket's life and what is said on it.
//! - `liveness`: whether the server answers, and the connections opened beside one that does not.

mod choice;
mod event;
mod liveness;
mod lobby;
mod moderation;
mod negotiation;
mod offers;
mod random;
mod refused;
mod roster;
mod signaling;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_link::{LinkEvent, Role, SendError, Stream};
use voicemesh_session::network::{
    Delivery, Destination, LinkId, Naming, Network, NetworkError, NetworkEvent, Reliability,
};
use voicemesh_wire::identity::IdentityProof;
use voicemesh_wire::packet;
use voicemesh_wire::signaling::{AccessToken, IceServer, Metadata, Password, Presence, Signal, Ticket};
use voicemesh_wire::{ClientId, PeerId, Permissions, SessionId};

use crate::connect::ConnectFailure;
use crate::event::ServerConnection;
use choice::Choices;
use liveness::{Beside, Path, Texts};
use lobby::Lobby;
use moderation::Decisions;
use negotiation::Pair;
use random::Random;
use roster::Roster;
use signaling::Socket;
use status::OwnStatus;

pub use crate::reachability::Reachability;
pub use choice::{ChoiceError, Connections};
pub use event::MeshEvent;
pub use lobby::{TransactionError, TransactionId, Whose};
pub use roster::Member;

/// Events of either kind that have not been taken yet. When there are more, new ones are dropped and counted: the
/// engine takes them after every packet, so that only a fault can fill the queue.
const EVENTS: usize = 8192;

/// A link to a peer, counted by attempts.
pub type MeshLink = LinkId<PeerId>;

/// What moves a mesh's bytes. Nothing blocks; [`CarrierEvent`]s report what happens later.
pub trait Carrier {
    /// Opens a WebSocket to the server, beside those that are open. The number, never used twice, marks its events.
    fn open_socket(&mut self, generation: u32);
    /// Closes one. No event follows; what it was given before is still sent, if that can be.
    fn close_socket(&mut self, generation: u32);
    /// Sends a text frame on one.
    fn send_text(&mut self, generation: u32, text: String);
    /// Sends a binary frame on one. What must arrive and does not fit into the queue ends the socket, with an event.
    fn send_packet(&mut self, generation: u32, reliability: Reliability, packet: Bytes);
    /// Sends a WebSocket ping on one, behind all voice that was given before it; [`SocketEvent::Pong`] is its answer.
    fn ping(&mut self, generation: u32, number: u16);
    /// Opens a link.
    fn open_link(&mut self, link: MeshLink, role: Role, ice_servers: &[IceServer]);
    /// Hands the remote's word to a link.
    fn signal(&mut self, link: MeshLink, signal: Signal);
    /// Sends a packet on a link.
    ///
    /// # Errors
    ///
    /// When the link did not take it.
    fn send_link(&mut self, link: MeshLink, stream: Stream, packet: Bytes) -> Result<(), SendError>;
    /// Closes a link. Its last event may still follow.
    fn close_link(&mut self, link: MeshLink);
    /// What was put on the wire so far for other things than packets, in bytes: texts, and what opening links send. Zero
    /// where that is not counted.
    fn background_bytes(&self) -> u64 {
        0
    }
}

/// What a carrier saw.
#[derive(Clone, Debug, PartialEq)]
pub enum CarrierEvent {
    /// The WebSocket of that number did something.
    Socket {
        /// The number it was opened with.
        generation: u32,
        /// What.
        event: SocketEvent,
    },
    /// A link did something.
    Link {
        /// Which.
        link: MeshLink,
        /// What.
        event: LinkEvent,
    },
    /// The machine's network did something.
    Path(PathChange),
}

/// What happens to the network under all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// No address of this machine leads to the server any more.
    Lost,
    /// Another address or another way leads to the server than before, or one does again.
    Changed,
    /// The machine slept: what is connected may be dead, and what arrives first may be old.
    Woke,
}

/// What a WebSocket does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketEvent {
    /// The server is connected to, in this way; [`SocketEvent::Open`] follows.
    Connected(ServerConnection),
    /// It is open.
    Open,
    /// A text frame came.
    Text(String),
    /// A binary frame came.
    Packet(Bytes),
    /// The server answered a ping of this number.
    Pong(u16),
    /// It could not be opened.
    Failed(ConnectFailure),
    /// It is gone, or could not be opened; in words for a person.
    Closed(String),
    /// The server closed it because another connection of this peer and run took over (close code 4001).
    TakenOver,
}

/// What a mesh is made from.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// The room to join.
    pub room: String,
    /// Display name.
    pub name: String,
    /// Decides the own peer id.
    pub proof: IdentityProof,
    /// Decides it if the server turns out to speak no TLS, although that was tried first (PROTOCOL.md §2). Without it no such
    /// server is joined.
    pub proof_without_tls: Option<IdentityProof>,
    /// Drawn once per process.
    pub run: u32,
    /// No links at all.
    pub relay_only: bool,
    /// What must be true of the room at the first join.
    pub presence: Presence,
    /// The room's password, if it has one.
    pub password: Option<Password>,
    /// An access token, for servers that ask for one.
    pub token: Option<AccessToken>,
    /// The program gives another token when an event says that one is needed.
    pub renews_token: bool,
    /// The newest ticket that the server gave this peer for this room, if one was kept.
    pub ticket: Option<Ticket>,
    /// To whom links are made.
    pub connections: Connections,
    /// What to publish.
    pub metadata: Metadata,
    /// Frame lengths that can be decoded.
    pub frame_ms: Vec<u8>,
    /// Whether it reads frames that carry earlier frames again.
    pub redundancy: bool,
    /// For the jitter in reconnecting; draw it at random.
    pub seed: u64,
}

/// The network of one peer in one room.
#[derive(Debug)]
pub struct Mesh<C> {
    config: MeshConfig,
    carrier: C,
    random: Random,
    socket: Socket,
    beside: Beside,
    /// Of connections; see [`Carrier::open_socket`].
    generations: u32,
    path: Path,
    texts: Texts,
    roster: Roster,
    pairs: BTreeMap<PeerId, Pair>,
    answered_offers: offers::AnsweredOffers,
    choices: Choices,
    lobby: Lobby,
    status: OwnStatus,
    decisions: Decisions,
    server_connection: Option<ServerConnection>,
    ice_servers: Vec<IceServer>,
    /// Nothing is tried before the program gives another access token.
    awaits_token: bool,
    /// The newest that the server gave this peer for this room.
    ticket: Option<Ticket>,
    server_relay_only: bool,
    server_takes_group_text: bool,
    server_takes_status: bool,
    /// As the program knows it.
    room_locked: bool,
    turn_has_failed: bool,
    links_wait: bool,
    network_events: VecDeque<NetworkEvent<PeerId>>,
    events: VecDeque<MeshEvent>,
    events_dropped: u64,
    ticked_at: Option<Duration>,
}

impl<C: Carrier> Mesh<C> {
    /// A mesh that is not connected yet.
    pub fn new(config: MeshConfig, carrier: C) -> Self {
        let ticket = config.ticket.clone();
        Self {
            random: Random::new(config.seed),
            roster: Roster::new(config.proof.peer_id()),
            choices: Choices::default(),
            decisions: Decisions::default(),
            status: OwnStatus::default(),
            lobby: Lobby::new(config.metadata.clone()),
            config,
            carrier,
            socket: Socket::Stopped,
            beside: Beside::default(),
            generations: 0,
            path: Path::default(),
            texts: Texts::default(),
            pairs: BTreeMap::new(),
            answered_offers: offers::AnsweredOffers::default(),
            server_connection: None,
            ice_servers: Vec::new(),
            awaits_token: false,
            ticket,
            server_relay_only: false,
            server_takes_group_text: false,
            server_takes_status: false,
            room_locked: false,
            turn_has_failed: false,
            links_wait: false,
            network_events: VecDeque::new(),
            events: VecDeque::new(),
            events_dropped: 0,
            ticked_at: None,
        }
    }

    /// The own peer id.
    pub fn you(&self) -> PeerId {
        self.roster.you()
    }

    /// Everyone else, lost ones that are not given up included.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.roster.members()
    }

    /// One of them.
    pub fn member(&self, peer: PeerId) -> Option<&Member> {
        self.roster.member(peer)
    }

    /// What this peer itself may do; everything but moderate until the server has said otherwise.
    pub fn own_permissions(&self) -> Permissions {
        self.roster.own_permissions()
    }

    /// The connection to the server: the present one, or the last.
    pub fn server_connection(&self) -> Option<&ServerConnection> {
        self.server_connection.as_ref()
    }

    /// The client id of a peer in the current session.
    pub fn client(&self, peer: PeerId) -> Option<ClientId> {
        self.roster.client_of(peer)
    }

    /// The next thing that happened in the room.
    pub fn poll_event(&mut self) -> Option<MeshEvent> {
        self.events.pop_front()
    }

    /// The carrier, for the owner of both.
    pub fn carrier_mut(&mut self) -> &mut C {
        &mut self.carrier
    }

    /// Whether peers without a link stay so for now: opening one would take the place of speech.
    pub fn set_links_wait(&mut self, wait: bool) {
        self.links_wait = wait;
    }

    /// Events dropped because they were not taken.
    pub fn events_dropped(&self) -> u64 {
        self.events_dropped
    }

    /// Something that the carrier saw.
    pub fn handle(&mut self, now: Duration, event: CarrierEvent) {
        match event {
            CarrierEvent::Socket { generation, event } => self.socket_event(now, generation, event),
            CarrierEvent::Path(change) => self.path_changed(now, change),
            CarrierEvent::Link { link, event } => self.link_event(now, link, event),
        }
    }

    /// What time alone brings about.
    fn tick(&mut self, now: Duration) {
        if self.ticked_at == Some(now) {
            return;
        }
        self.ticked_at = Some(now);
        self.tick_socket(now);
        self.tick_roster(now);
        self.tick_links(now);
        self.tick_lobby(now);
        self.tick_status(now);
        self.tick_decisions(now);
    }

    fn tell_network(&mut self, event: NetworkEvent<PeerId>) {
        if self.network_events.len() < EVENTS {
            self.network_events.push_back(event);
        } else {
            self.events_dropped += 1;
        }
    }

    fn tell(&mut self, event: MeshEvent) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        } else {
            self.events_dropped += 1;
        }
    }
}

impl<C: Carrier> Network for Mesh<C> {
    type Peer = PeerId;
    type ClientParameters = ();
    /// A mesh cannot host: the signaling server does.
    type ServerParameters = Infallible;

    fn connect(&mut self, now: Duration, (): ()) -> Result<(), NetworkError> {
        self.socket = Socket::waiting(now);
        self.tick(now);
        Ok(())
    }

    fn disconnect(&mut self, now: Duration) {
        self.leave(now);
    }

    fn host(&mut self, _now: Duration, parameters: Infallible) -> Result<(), NetworkError> {
        match parameters {}
    }

    fn stop_hosting(&mut self, _now: Duration) {}

    fn poll(&mut self, now: Duration) -> Option<NetworkEvent<PeerId>> {
        self.tick(now);
        self.network_events.pop_front()
    }

    fn send_to_server(&mut self, now: Duration, reliability: Reliability, packet: Bytes) -> Result<(), NetworkError> {
        // Without a socket the loss has been reported, or is about to be.
        if let Some(generation) = self.socket.generation().filter(|_| self.socket.is_open()) {
            match reliability {
                Reliability::Reliable => self.keep_text(now, &packet),
                Reliability::Unreliable => self.relay_used(now),
            }
            self.carrier.send_packet(generation, reliability, packet);
        }
        Ok(())
    }

    fn reaches_server(&self) -> bool {
        self.server_is_reached()
    }

    fn background_bytes(&self) -> u64 {
        self.carrier.background_bytes()
    }

    fn server_answered_since(&self, since: Duration) -> bool {
        self.has_answered_since(since)
    }

    fn link_stalled(&mut self, now: Duration, _link: MeshLink) {
        self.ask_server(now);
    }

    fn send_to_client(&mut self, _: Duration, _: PeerId, _: Delivery, _: Bytes) -> Result<(), NetworkError> {
        Err(NetworkError::Unsupported("serve: the signaling server does"))
    }

    fn send_to_links(
        &mut self,
        _now: Duration,
        destinations: &mut Vec<Destination<PeerId>>,
        reliability: Reliability,
        packet: &Bytes,
    ) {
        let stream = match (reliability, packet::open(packet)) {
            (Reliability::Reliable, _) => Stream::Reliable,
            (Reliability::Unreliable, Ok((header, _))) if header.kind.is_voice() => Stream::Voice,
            (Reliability::Unreliable, _) => Stream::Unreliable,
        };
        destinations.retain(|to| self.carrier.send_link(to.link, stream, packet.clone()).is_err());
    }

    fn client_of(&self, session: SessionId, peer: PeerId) -> Naming {
        self.roster.naming(session, peer)
    }

    fn peer_of(&self, session: SessionId, client: ClientId) -> Option<PeerId> {
        self.roster.peer_of(session, client)
    }

    fn acknowledges_voice(&self, peer: PeerId) -> bool {
        self.roster.member(peer).is_some_and(|member| member.capabilities.voice_ack)
    }

    fn reads_copies(&self, peer: Option<PeerId>) -> bool {
        peer.and_then(|peer| self.roster.member(peer)).is_some_and(|member| member.capabilities.redundancy)
    }

    fn takes_reports(&self, peer: Option<PeerId>) -> bool {
        peer.and_then(|peer| self.roster.member(peer)).is_some_and(|member| member.capabilities.reports)
    }

    fn takes_path_feedback(&self, peer: PeerId) -> bool {
        self.roster.member(peer).is_some_and(|member| member.capabilities.path_feedback)
    }

    fn reads_bundles(&self, peer: Option<PeerId>) -> bool {
        peer.and_then(|peer| self.roster.member(peer)).is_some_and(|member| member.capabilities.bundles)
    }

    fn permissions(&self, peer: Option<PeerId>) -> Permissions {
        self.roster.permissions(peer)
    }

    fn own_permissions(&self) -> Permissions {
        self.roster.own_permissions()
    }

    fn held_in(&self, peer: Option<PeerId>) -> &[String] {
        self.roster.held_in(peer)
    }

    fn own_held_in(&self) -> &[String] {
        self.roster.own_held_in()
    }

    fn ping_server(&mut self, _now: Duration, number: u16) {
        if let Some(generation) = self.socket.generation().filter(|_| self.socket.is_open()) {
            self.carrier.ping(generation, number);
        }
    }

    fn server_takes_group_text(&self) -> bool {
        self.server_takes_group_text
    }

    fn takes_data(&self, peer: PeerId) -> bool {
        self.roster.member(peer).is_some_and(|member| member.capabilities.data)
    }

    fn release_link(&mut self, now: Duration, link: MeshLink) {
        self.close_link_later(now, link);
    }

    fn replace_link(&mut self, now: Duration, link: MeshLink) {
        self.replace(now, link);
    }
}

#[cfg(test)]
mod tests;
