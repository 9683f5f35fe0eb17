//! A peer's part in a room over signaling and links (PROTOCOL.md, sections 4 and 5).
//!
//! Without I/O: [`Mesh::handle`] takes what sockets and links did, [`Mesh::poll_output`] gives what
//! is to be done with them, and time is handed in: [`Mesh::update`] runs timers when
//! [`Mesh::poll_timeout`] says so. So the same mesh runs over real sockets and
//! WebRTC, and in a simulated room under a virtual clock; [`Carried`] joins it to what carries its
//! bytes.
//!
//! The mesh routes between parts that own their state; each hands what it wants done and told to
//! `queues`.
//!
//! - `connection`: the WebSocket's life, the connections beside it (`beside`), and whether the
//!   server answers (`liveness`).
//! - `roster`: who is in the room, and who is lost but not yet given up.
//! - `negotiation`: which link to whom, attempt by attempt; `choice`: to whom links are wanted at
//!   all.
//! - `lobby`: what is published and decided, and the room's owner.
//! - `status`: the status of this peer that the others see.
//! - `encryption`: the key ring, for members who encrypt, and what it seals; `sealing` is its place;
//!   `fingerprints`: whose ends the links have.
//! - `signaling`: what is said on the connection, and which part it is for.

mod announcement;
mod beside;
mod carried;
mod checks;
mod choice;
mod connect_failure;
mod connection;
mod connection_state;
mod encryption;
mod event;
mod fingerprints;
mod input;
pub mod link;
mod liveness;
mod lobby;
mod member;
mod moderation;
mod negotiation;
mod offers;
mod output;
mod pair;
mod queues;
mod reachability;
mod refused;
mod roster;
mod roster_changes;
mod sealing;
mod server_connection;
mod signaling;
mod status;
mod texts;
mod token_renewal;
mod transaction;

use std::time::Duration;

use bytes::Bytes;
use voicemesh_common::NextTimer;
use voicemesh_sealing::ForServer;
use voicemesh_session::network::{NetworkEvent, Reliability};
use voicemesh_session::{Roster as SessionRoster, ServerHealth};
use voicemesh_wire::identity::IdentityProof;
use voicemesh_wire::signaling::{
    AccessToken, ClientMessage, MemberStatus, Metadata, MetadataChanges, Moderation, Password,
    Presence, RoomPassword, Ticket,
};
use voicemesh_wire::{ClientId, PeerId, Permissions, SessionId};

use connection::{Connection, Overdue};
use encryption::Encryption;
use fingerprints::LinkAuthentication;
use link::LinkEvent;
use lobby::{Lobby, Outlet};
use negotiation::{Links, Negotiation};
use queues::Queues;
use roster::Roster;
use roster_changes::Membership;
use sealing::TheirEncryption;
use status::OwnStatus;
use texts::TextPacket;
use token_renewal::{NextJoin, TokenRenewal};

pub use announcement::ANNOUNCEMENT_KEY;
pub use carried::{Carried, Carrier};
pub use choice::{ChoiceError, Connections};
pub use connect_failure::{AddressFailure, ConnectFailure, PlainNotTried, ProxyFailure, Unreached};
pub use event::{MeshEvent, PasswordChange, PeerLeftReason};
pub use input::{CarrierEvent, MeshLink, PathChange, SocketEvent};
pub use member::Member;
pub use output::MeshOutput;
pub use reachability::{REACHABILITY_KEY, Reachability, TokenError};
pub use server_connection::ServerConnection;
pub use transaction::{MetadataScope, TransactionError, TransactionId};
pub use voicemesh_sealing::MemberEncryption;

/// What a mesh is made from.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// The room to join.
    pub room: String,
    /// Display name.
    pub name: String,
    /// Decides the own peer id.
    pub proof: IdentityProof,
    /// Decides it if the server turns out to speak no TLS, although that was tried first
    /// (PROTOCOL.md §2). Without it no such server is joined.
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
    queues: Queues,
    connection: Connection,
    roster: Roster,
    links: Links,
    lobby: Lobby,
    status: OwnStatus,
    /// None where everything is sent as it is.
    encryption: Option<Encryption>,
    their_encryption: TheirEncryption,
    server_connection: Option<ServerConnection>,
    token_renewal: TokenRenewal,
    /// The newest that the server gave this peer for this room.
    ticket: Option<Ticket>,
    server_takes_group_text: bool,
    server_takes_status: bool,
    /// As the program knows it.
    room_locked: bool,
    /// And in which session that is so; `None` before the first join.
    room_password: Option<(SessionId, RoomPassword)>,
    /// The session and number of the move that was carried out last.
    last_move: Option<(SessionId, u32)>,
    /// When timers were run last.
    updated_at: Option<Duration>,
    /// Something happened since then: what is due follows from the next [`update`](Self::update).
    changed: bool,
    next_timer: Option<Duration>,
}

impl Mesh {
    /// A mesh that is not connected yet.
    pub fn new(config: MeshConfig) -> Self {
        Self {
            queues: Queues::default(),
            connection: Connection::new(config.seed),
            roster: Roster::new(config.proof.peer_id()),
            links: Links::new(config.connections, config.relay_only),
            lobby: Lobby::new(config.metadata.clone(), config.run),
            status: OwnStatus::default(),
            encryption: None,
            their_encryption: TheirEncryption::default(),
            server_connection: None,
            token_renewal: TokenRenewal::default(),
            ticket: config.ticket.clone(),
            server_takes_group_text: false,
            server_takes_status: false,
            room_locked: false,
            room_password: None,
            last_move: None,
            updated_at: None,
            changed: true,
            next_timer: None,
            config,
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

    /// The talk groups in which a moderator holds this peer; none if it is held in none.
    pub fn own_held_in(&self) -> &[String] {
        self.roster.own_held_in()
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
        self.queues.poll_event()
    }

    /// The next thing to do. Take all after every call.
    pub fn poll_output(&mut self) -> Option<MeshOutput> {
        self.queues.out.poll()
    }

    /// Begins to connect to the server, and goes on until it leaves.
    pub fn connect(&mut self, now: Duration) {
        self.changed = true;
        self.connection.start(now);
        self.tick(now);
    }

    /// When [`update`](Self::update) is to be called, in the time of its argument: at once if that
    /// has passed, and `None` if not before something else is called. A call before that moment has
    /// no effect; it is said anew after each call. What was called for in the moment of an update
    /// is dealt with by the next one after that moment.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.changed { Some(Duration::ZERO) } else { self.next_timer }
    }

    /// Runs timers: the connection, links, members, and what waits for an answer. Call it when
    /// [`poll_timeout`](Self::poll_timeout) says so, and at most once for each `now`.
    pub fn update(&mut self, now: Duration) {
        if self.updated_at == Some(now) {
            return;
        }
        self.updated_at = Some(now);
        let put = self.queues.put();
        self.tick(now);
        let mut next = NextTimer::after(now);
        self.connection.timers(&mut next);
        self.roster.timers(self.connection.away_since(), &mut next);
        self.links.timers(&mut next);
        self.status.timers(&mut next);
        self.lobby.timers(&mut next);
        if let Some(encryption) = &self.encryption {
            encryption.timers(&mut next);
        }
        // One part may have done what another waits for.
        if self.queues.put() != put {
            next.soon();
        }
        (self.changed, self.next_timer) = (false, next.earliest());
    }

    /// How this peer takes part from now on. Cheap enough for every turn: it is said when it has
    /// changed.
    pub fn set_status(&mut self, now: Duration, status: MemberStatus) {
        self.changed |= status != self.status.get();
        self.status.set(status);
        self.tick_status(now);
    }

    /// How this peer takes part.
    pub fn status(&self) -> MemberStatus {
        self.status.get()
    }

    /// The access token from now on. A server that asked for another one is joined at once; after
    /// more refusals in a row than one, 1 s after the last, then 2 s, up to a minute. The token that
    /// was refused last changes nothing.
    pub fn set_token(&mut self, now: Duration, token: AccessToken) {
        let Some(next) = self.token_renewal.given(now, &token) else { return };
        self.changed = true;
        self.config.token = Some(token);
        match next {
            NextJoin::AsPlanned => return,
            NextJoin::Reconnects(at) => self.connection.reconnect_at(at),
            NextJoin::Renews(at) => self.connection.renew_at(at),
        }
        self.tick_connection(now);
    }

    /// The next thing that the session has to know.
    pub fn poll_network_event(&mut self) -> Option<NetworkEvent<PeerId>> {
        loop {
            // Keys that have just come change it for what follows them.
            if self.roster.take_changed() {
                return Some(NetworkEvent::RosterChanged(Box::new(self.session_roster())));
            }
            let event = self.queues.poll_network_event()?;
            if let Some(event) = self.opened(event) {
                return Some(event);
            }
        }
    }

    /// Sends a packet of the session to the server. Without a socket it is lost, which has been
    /// reported or is about to be.
    pub fn send_to_server(&mut self, now: Duration, reliability: Reliability, packet: Bytes) {
        self.changed = true;
        let Some(encryption) = &mut self.encryption else {
            return self.connection.send_packet(now, reliability, packet, &mut self.queues);
        };
        for packet in encryption.seal_for_server(now, packet, &self.roster) {
            match packet {
                ForServer::Text { sent, plain } => {
                    let text = TextPacket { sent, plain };
                    self.connection.send_text(now, text, &mut self.queues);
                }
                ForServer::Packet(packet) => {
                    self.connection.send_packet(now, reliability, packet, &mut self.queues);
                }
            }
        }
    }

    /// Sends a ping to the server, behind all voice that was sent to it before.
    pub fn ping_server(&mut self, number: u16) {
        self.connection.ping(number, &mut self.queues);
    }

    /// Nothing comes back on a link: whether the server answers is asked.
    pub fn link_stalled(&mut self, now: Duration) {
        self.changed = true;
        self.connection.ask_server(now, &mut self.queues);
    }

    /// The session uses another link to this peer now.
    pub fn release_link(&mut self, now: Duration, link: MeshLink) {
        self.changed = true;
        self.links.close_link_later(now, link);
    }

    /// Nothing has come through this link for a while: it is replaced.
    pub fn replace_link(&mut self, now: Duration, link: MeshLink) {
        let (links, mut on) = self.negotiation(now);
        links.replace(link, &mut on);
    }

    /// Whether the server answers what it is asked, as far as is known.
    pub fn server_is_reached(&self) -> bool {
        self.connection.server_is_reached()
    }

    /// Whether the server passes on what it is sent.
    pub fn server_health(&self) -> ServerHealth {
        ServerHealth {
            is_reached: self.connection.server_is_reached(),
            answered: self.connection.last_answered(),
        }
    }

    /// Whether peers without a link stay so for now: opening one would take the place of speech.
    pub fn set_links_wait(&mut self, now: Duration, wait: bool) {
        self.changed |= self.links.set_links_wait(now, wait);
    }

    /// Wants a link to a peer, from now on.
    ///
    /// # Errors
    ///
    /// When the peer is not here, or has published a newer token.
    pub fn connect_peer(&mut self, now: Duration, token: Reachability) -> Result<(), ChoiceError> {
        let (links, mut on) = self.negotiation(now);
        links.connect_peer(token, &mut on)
    }

    /// A newer token of a connected peer. A link that works goes on; without one, it is tried at
    /// once.
    ///
    /// # Errors
    ///
    /// When there is no connection, or the token is not the newest.
    pub fn update_peer(&mut self, now: Duration, token: Reachability) -> Result<(), ChoiceError> {
        let (links, mut on) = self.negotiation(now);
        links.update_peer(token, &mut on)
    }

    /// Wants no link to a peer until it is connected to again, and closes what there is.
    pub fn disconnect_peer(&mut self, peer: PeerId) {
        self.changed = true;
        self.links.disconnect_peer(peer, &self.roster, &mut self.queues);
    }

    /// Decides about a member or the room. [`MeshEvent::TransactionDone`] follows; what the
    /// connection's end left without an answer has failed, and is not sent again.
    pub fn moderate(&mut self, now: Duration, id: TransactionId, action: Moderation) {
        let (lobby, mut outlet) = self.publishing(now);
        lobby.moderate(id, action, &mut outlet);
    }

    /// The peer that has been in the room longest, as of the last word of the server.
    pub fn owner(&self) -> Option<PeerId> {
        self.lobby.owner()
    }

    /// What this peer publishes, as the server last had it.
    pub fn own_metadata(&self) -> &Metadata {
        self.lobby.own()
    }

    /// What the room publishes.
    pub fn room_metadata(&self) -> &Metadata {
        self.lobby.room()
    }

    /// The own token.
    pub fn own_token(&self) -> String {
        self.lobby.own_token(self.you())
    }

    /// Publishes something without asking for the result; what is newer replaces what has not been
    /// sent.
    pub fn publish(&mut self, now: Duration, changes: MetadataChanges) {
        let (lobby, mut outlet) = self.publishing(now);
        lobby.publish(changes, &mut outlet);
    }

    /// Changes metadata as a whole or not at all. [`MeshEvent::TransactionDone`] follows, also when
    /// the room is left or the server stays away.
    pub fn transact(
        &mut self,
        now: Duration,
        id: TransactionId,
        whose: MetadataScope,
        changes: MetadataChanges,
    ) {
        let (lobby, mut outlet) = self.publishing(now);
        lobby.transact(id, whose, changes, &mut outlet);
    }

    /// Takes back a change of [`Mesh::transact`] that waits and was not sent yet; nothing more is
    /// said of it. False if there is none of this number.
    pub fn withdraw(&mut self, id: TransactionId) -> bool {
        self.changed = true;
        self.lobby.withdraw(id)
    }

    /// The machine's network is another than before: the others get a new token, and try again to
    /// reach this peer.
    pub fn network_changed(&mut self, now: Duration) {
        let (lobby, mut outlet) = self.publishing(now);
        lobby.network_changed(&mut outlet);
    }

    /// Events dropped because they were not taken.
    pub fn events_dropped(&self) -> u64 {
        self.queues.events_dropped()
    }

    /// Outputs dropped because they were not taken.
    pub fn outputs_dropped(&self) -> u64 {
        self.queues.out.dropped()
    }

    /// Something that the carrier saw.
    pub fn handle(&mut self, now: Duration, event: CarrierEvent) {
        match event {
            CarrierEvent::Socket { generation, event } => {
                self.changed = true;
                self.socket_event(now, generation, event);
            }
            CarrierEvent::Path(change) => {
                self.changed = true;
                self.path_changed(now, change);
            }
            CarrierEvent::Link { link, event } => {
                let changed = self.changed || !is_passed_on(&event);
                let (links, mut on) = self.negotiation(now);
                links.link_event(link, event, &mut on);
                self.changed = changed;
            }
        }
    }

    /// Addresses or routes of this machine changed, or it slept.
    fn path_changed(&mut self, now: Duration, change: PathChange) {
        tracing::info!(?change, "the network path changed");
        self.queues.tell_network(NetworkEvent::PathChanged);
        self.connection.path_changed(now, change, &mut self.queues);
        match change {
            PathChange::Lost => {}
            PathChange::Changed => {
                self.links.renew_all(now, &mut self.queues);
                self.network_changed(now);
            }
            PathChange::Woke => self.links.renew_all(now, &mut self.queues),
        }
        self.tick_connection(now);
    }

    fn tick(&mut self, now: Duration) {
        self.tick_connection(now);
        let (roster, mut around) = self.membership(now);
        roster.tick(&mut around);
        self.tick_links(now);
        let (lobby, mut outlet) = self.publishing(now);
        lobby.tick(&mut outlet);
        self.tick_status(now);
        let (lobby, mut outlet) = self.publishing(now);
        lobby.tick_decisions(&mut outlet);
        self.tick_encryption(now);
    }

    fn tick_connection(&mut self, now: Duration) {
        match self.connection.tick(now, !self.token_renewal.holds_back(), &mut self.queues) {
            Some(Overdue::Lost(why)) => self.connection_lost(now, why.to_owned(), Duration::ZERO),
            Some(Overdue::Closed(why)) => self.connection_closed(now, why.to_owned(), None),
            None => {}
        }
        let others = self.roster.members().count();
        self.connection.tick_liveness(now, others, &mut self.queues);
    }

    fn tick_links(&mut self, now: Duration) {
        let (links, mut on) = self.negotiation(now);
        links.tick(&mut on);
    }

    fn tick_status(&mut self, now: Duration) {
        if self.connection.is_joined()
            && self.server_takes_status
            && let Some(status) = self.status.due(now)
        {
            self.say(&ClientMessage::Status(status));
        }
    }

    /// A message on the connection in use.
    fn say(&mut self, message: &ClientMessage) {
        self.connection.say(message, &mut self.queues);
    }

    /// What the session has to know of the members.
    fn session_roster(&self) -> SessionRoster<PeerId> {
        let encryption = self.encryption.as_ref();
        let mut roster = self.roster.of_session(|member, entry| match encryption {
            Some(encryption) => encryption.adapt(member, entry),
            None => self.their_encryption.adapt(member, entry),
        });
        roster.texts_are_relayed = encryption.is_some();
        roster.server_takes_group_text = self.server_takes_group_text;
        roster
    }

    /// The links, and what they are negotiated with.
    fn negotiation(&mut self, now: Duration) -> (&mut Links, Negotiation<'_>) {
        self.changed = true;
        let Self { links, roster, encryption, connection, queues, .. } = self;
        let encryption = encryption.as_ref().map(|with| with as &dyn LinkAuthentication);
        (links, Negotiation { now, roster, encryption, connection, queues })
    }

    /// The roster, and what its changes act on.
    fn membership(&mut self, now: Duration) -> (&mut Roster, Membership<'_>) {
        let Self { roster, links, encryption, connection, queues, .. } = self;
        let encryption = encryption.as_ref().map(|with| with as &dyn LinkAuthentication);
        (roster, Membership { now, links, encryption, connection, queues })
    }

    /// The lobby, and where what is published goes.
    fn publishing(&mut self, now: Duration) -> (&mut Lobby, Outlet<'_>) {
        self.changed = true;
        let Self { lobby, roster, connection, encryption, queues, .. } = self;
        let encryption = encryption.as_mut();
        (lobby, Outlet { now, you: roster.you(), connection, encryption, queues })
    }
}

/// Whether it is for the session alone, and no timer depends on it.
fn is_passed_on(event: &LinkEvent) -> bool {
    matches!(event, LinkEvent::Received { .. } | LinkEvent::Answered { .. })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod timeout_tests;
