//! The network over signaling and links: the network of a peer in a room (PROTOCOL.md, sections 4 and 5).
//!
//! Without I/O: [`Mesh::handle`] takes what sockets and links did, [`Mesh::poll_output`] gives what is to be done with them,
//! and time is handed in. So the same mesh runs over real sockets and WebRTC, and in a simulated room under a virtual clock;
//! [`Carried`] joins it to what carries its bytes.
//!
//! - `roster`: who is in the room, and who is lost but not yet given up.
//! - `negotiation`: which link to whom, attempt by attempt.
//! - `choice`: to whom links are wanted at all.
//! - `lobby`: what is published, and the room's owner.
//! - `status`: the status of this peer that the others see.
//! - `signaling`: the WebSocket's life and what is said on it.
//! - `liveness`: whether the server answers, and the connections opened beside one that does not.

mod carried;
mod choice;
mod connect_failure;
mod connection;
mod event;
mod input;
pub mod link;
mod liveness;
mod lobby;
mod moderation;
mod negotiation;
mod offers;
mod output;
mod random;
mod reachability;
mod refused;
mod roster;
mod server_connection;
mod signaling;
mod status;
mod transaction;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::network::{NetworkEvent, Reliability};
use voicemesh_session::{Roster as SessionRoster, ServerHealth};
use voicemesh_wire::identity::IdentityProof;
use voicemesh_wire::signaling::{
    AccessToken, ClientMessage, IceServer, MemberStatus, Metadata, Password, Presence, Ticket,
};
use voicemesh_wire::{ClientId, PeerId, Permissions};

use choice::Choices;
use connection::ConnectionState;
use liveness::{Beside, Path, Texts};
use lobby::Lobby;
use moderation::Decisions;
use negotiation::Pair;
use output::Outputs;
use random::Random;
use roster::Roster;
use status::OwnStatus;

pub use carried::{Carried, Carrier};
pub use choice::{ChoiceError, Connections};
pub use connect_failure::{AddressFailure, ConnectFailure, PlainNotTried, ProxyFailure, Unreached};
pub use event::{MeshEvent, PeerLeftReason};
pub use input::{CarrierEvent, MeshLink, PathChange, SocketEvent};
pub use output::MeshOutput;
pub use reachability::{REACHABILITY_KEY, Reachability, TokenError};
pub use roster::Member;
pub use server_connection::ServerConnection;
pub use transaction::{TransactionError, TransactionId, Whose};

/// Events of either kind that have not been taken yet. When there are more, new ones are dropped and counted: the
/// engine takes them after every packet, so that only a fault can fill the queue.
const EVENTS: usize = 8192;

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
pub struct Mesh {
    config: MeshConfig,
    out: Outputs,
    random: Random,
    socket: ConnectionState,
    beside: Beside,
    /// Of connections; see [`MeshOutput::OpenSocket`].
    generations: u32,
    /// When a part of a message came last on the connection in use, while its join is not answered.
    join_heard_at: Duration,
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
    /// The session has not been given the present roster.
    roster_changed: bool,
    network_events: VecDeque<NetworkEvent<PeerId>>,
    events: VecDeque<MeshEvent>,
    events_dropped: u64,
    ticked_at: Option<Duration>,
}

impl Mesh {
    /// A mesh that is not connected yet.
    pub fn new(config: MeshConfig) -> Self {
        let ticket = config.ticket.clone();
        Self {
            random: Random::new(config.seed),
            roster: Roster::new(config.proof.peer_id()),
            choices: Choices::default(),
            decisions: Decisions::default(),
            status: OwnStatus::default(),
            lobby: Lobby::new(config.metadata.clone()),
            config,
            out: Outputs::default(),
            socket: ConnectionState::Stopped,
            beside: Beside::default(),
            generations: 0,
            join_heard_at: Duration::ZERO,
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
            roster_changed: true,
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

    /// The next thing to do. Take all after every call.
    pub fn poll_output(&mut self) -> Option<MeshOutput> {
        self.out.poll()
    }

    /// Begins to connect to the server, and goes on until it leaves.
    pub fn connect(&mut self, now: Duration) {
        self.socket = ConnectionState::waiting(now);
        self.tick(now);
    }

    /// How this peer takes part from now on. Cheap enough for every turn: it is said when it has changed.
    pub fn set_status(&mut self, now: Duration, status: MemberStatus) {
        self.status.set(status);
        self.tick_status(now);
    }

    /// How this peer takes part.
    pub fn status(&self) -> MemberStatus {
        self.status.get()
    }

    fn tick_status(&mut self, now: Duration) {
        if self.socket.is_joined()
            && self.server_takes_status
            && let Some(status) = self.status.due(now)
        {
            self.say(&ClientMessage::Status(status));
        }
    }

    /// Runs timers, and gives the next thing that the session has to know.
    pub fn poll_network_event(&mut self, now: Duration) -> Option<NetworkEvent<PeerId>> {
        self.tick(now);
        if std::mem::take(&mut self.roster_changed) {
            return Some(NetworkEvent::RosterChanged(Box::new(self.session_roster())));
        }
        self.network_events.pop_front()
    }

    /// Sends a packet of the session to the server. Without a socket it is lost, which has been reported or is about to be.
    pub fn send_to_server(&mut self, now: Duration, reliability: Reliability, packet: Bytes) {
        if let Some(generation) = self.socket.generation().filter(|_| self.socket.is_open()) {
            match reliability {
                Reliability::Reliable => self.keep_text(now, &packet),
                Reliability::Unreliable => self.relay_used(now),
            }
            self.out.send_packet(generation, reliability, packet);
        }
    }

    /// Sends a ping to the server, behind all voice that was sent to it before.
    pub fn ping_server(&mut self, number: u16) {
        if let Some(generation) = self.socket.generation().filter(|_| self.socket.is_open()) {
            self.out.ping(generation, number);
        }
    }

    /// Nothing comes back on a link: whether the server answers is asked.
    pub fn link_stalled(&mut self, now: Duration) {
        self.ask_server(now);
    }

    /// The session uses another link to this peer now.
    pub fn release_link(&mut self, now: Duration, link: MeshLink) {
        self.close_link_later(now, link);
    }

    /// Nothing has come through this link for a while: it is replaced.
    pub fn replace_link(&mut self, now: Duration, link: MeshLink) {
        self.replace(now, link);
    }

    /// Whether the server passes on what it is sent.
    pub fn server_health(&self) -> ServerHealth {
        ServerHealth { is_reached: self.server_is_reached(), answered: self.last_answered() }
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

    /// What the session has to know of the members.
    fn session_roster(&self) -> SessionRoster<PeerId> {
        let mut roster = self.roster.of_session();
        roster.server_takes_group_text = self.server_takes_group_text;
        roster
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

#[cfg(test)]
mod tests;
