//! The session server: assigns client ids, replicates who listens to what, relays (PROTOCOL.md,
//! section 7).
//!
//! It never looks behind the sender's id of what it relays, and never changes it.

mod ids;
mod relay;
mod response;
mod texts;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::limits::{GROUPS_PER_CLIENT, RELIABLE_PACKET_BYTES};
use voicemesh_wire::packet::{
    self, ClientInfo, ClientState, DeltaClientState, DirectionError, HandshakeRequest, Header,
    Kind, Probe, RemoveClient, ToServer,
};
use voicemesh_wire::{ClientId, DecodeError, GroupId, Permissions, SessionId};

use crate::GLOBAL_GROUP;
use crate::budget::{Budget, Budgets, Cost, KeptBudgets, factor_of};
use crate::table::Table;
use crate::transport::Delivery;
use ids::IdPool;

/// Connections that have not been admitted are answered about their wrong session number as long as
/// this many are remembered; when there are more, all are forgotten, and may be answered once more.
const STRANGERS: usize = 1024;

/// A probe is answered at most once in this time, so that a flood is not.
const ECHO_INTERVAL: Duration = Duration::from_millis(20);

/// What can be set for a server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The largest HandshakeResponse; what does not fit follows as ClientState.
    pub reliable_packet_bytes: usize,
    /// For how long a client id is not given to another client.
    pub id_quarantine: Duration,
    /// At most one ErrorWrongSession in this time to one connection.
    pub wrong_session_interval: Duration,
    /// What a client listens to from its handshake on, until its ClientState says otherwise. So
    /// speakers learn of a joiner at the same time as the joiner gets its response, and the first
    /// voice comes one round trip later.
    pub first_group: Option<String>,
    /// What each client may make the server send. `None` where what hands in packets has charged
    /// for them already, as a room's server does.
    pub budgets: Option<Budgets>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            reliable_packet_bytes: RELIABLE_PACKET_BYTES,
            id_quarantine: Duration::from_secs(60),
            wrong_session_interval: Duration::from_millis(250),
            first_group: Some(GLOBAL_GROUP.to_owned()),
            budgets: None,
        }
    }
}

/// Where a server's packets go. Must not call back into the server.
pub trait ServerOutput<P> {
    /// Sends one packet to one connection. Receivers share one copy.
    fn send(&mut self, to: P, packet: Bytes, delivery: Delivery);

    /// As [`send`](Self::send), with what a bounded queue needs to know. False if the packet was
    /// not taken: only what another client sends may be refused.
    fn deliver(&mut self, to: P, packet: Bytes, delivery: Delivery, purpose: Purpose<P>) -> bool {
        let _ = purpose;
        self.send(to, packet, delivery);
        true
    }
}

/// What a packet or message is for: what a queue may do with it when its receiver is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose<P> {
    /// Answers the receiver itself.
    Answer,
    /// Answers the receiver itself, which can do without: not sent where many answers wait.
    Hint,
    /// The whole state at one moment.
    Snapshot,
    /// A change of the state: a later snapshot contains it.
    Update,
    /// A notice that an unsent earlier one of its kind adds nothing to.
    Notice,
    /// What the receiver keeps only the newest of: an unsent earlier one is not sent.
    Renewal,
    /// Another client sends it.
    From(P),
}

/// Refused groups of one ClientState that are answered singly: as many answers as wait for a client
/// at once.
const REFUSALS_ANSWERED: usize = GROUPS_PER_CLIENT;

/// What became of a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was for the server, and applied.
    Applied,
    /// It was a ClientState, and applied; more groups were refused than are answered singly
    /// (PROTOCOL.md, section 7).
    GroupsRefused {
        /// Refused groups without an answer.
        unanswered: usize,
    },
    /// It was passed on in so many copies.
    Relayed {
        /// How many receivers there were.
        copies: usize,
    },
    /// It had no effect. Count it.
    Dropped(DropReason),
}

/// Why a packet had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// It is not a packet.
    Malformed(DecodeError),
    /// It belongs to another session; the sender was told (at most so often).
    WrongSession,
    /// The connection has not shaken hands.
    NotJoined,
    /// It names another client than the one whose connection it came by.
    ForgedSender,
    /// Its type is never for a server.
    NotForServer,
    /// Its type is never relayed.
    NotRelayable,
    /// No client id is free.
    Full,
    /// Its sender may not do that: it lacks a permission.
    NotPermitted,
    /// It is a text, and its sender is held in groups that its receivers do not listen to.
    HeldElsewhere,
    /// It came on a connection from which another has taken over, too late to be passed on.
    Outdated,
    /// Its sender has used up its budget ([`ServerConfig::budgets`]), and can do without it.
    OverBudget,
    /// Its sender has used up its budget, and it must not be lost: end the connection.
    Flooding,
}

/// No client id is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has no free client id")]
pub struct SessionFull;

/// One session, seen from its server. `P` is how connections are known.
#[derive(Debug)]
pub struct Server<P> {
    config: ServerConfig,
    session: SessionId,
    ids: IdPool,
    connections: BTreeMap<P, Connection>,
    clients: BTreeMap<ClientId, Receiver<P>>,
    table: Table,
    strangers: BTreeMap<P, Duration>,
    kept_budgets: KeptBudgets,
    /// A connection that has just come, and its origin.
    newcomer: Option<(P, u64)>,
    relays: u64,
}

#[derive(Debug)]
struct Connection {
    client: ClientId,
    owner: Option<u128>,
    joined: bool,
    /// It took over from another connection and has not shaken hands itself: its next handshake
    /// asks for the state and changes none.
    resumed: bool,
    wrong_session_told_at: Option<Duration>,
    echoed_at: Option<Duration>,
    permissions: Permissions,
    /// It listens to these groups only, and is heard by their listeners only; none: it is free.
    held_in: BTreeMap<GroupId, String>,
    /// It takes texts to groups by name.
    takes_group_text: bool,
    /// It is sent the game's own bytes.
    takes_data: bool,
    /// Its display name; `None` for a connection that was not admitted, which names itself.
    name: Option<String>,
    /// What it may still make the server send; `None`: no limit.
    budget: Option<Budget>,
    /// What it has in common with other connections of the same person.
    origin: Option<u64>,
}

/// A joined client as a sender.
#[derive(Clone, Copy, Debug)]
struct Sender<P> {
    peer: P,
    client: ClientId,
    permissions: Permissions,
}

/// A joined client as a receiver.
#[derive(Debug)]
struct Receiver<P> {
    peer: P,
    /// It is sent speech.
    listens: bool,
    /// It is sent the game's own bytes.
    takes_data: bool,
    /// The last relay packet that was passed to it: a destination listed twice is served once.
    last_relay: u64,
}

impl<P: Copy + Ord> Server<P> {
    /// `session` must be drawn at random each time a session starts.
    pub fn new(config: ServerConfig, session: SessionId) -> Self {
        let ids = IdPool::new(config.id_quarantine);
        Self {
            config,
            session,
            ids,
            connections: BTreeMap::new(),
            clients: BTreeMap::new(),
            table: Table::default(),
            strangers: BTreeMap::new(),
            kept_budgets: KeptBudgets::default(),
            newcomer: None,
            relays: 0,
        }
    }

    /// This session's number.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Who is here and who listens to what.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The client id of a connection, from its admission on.
    pub fn client_of(&self, peer: P) -> Option<ClientId> {
        self.connections.get(&peer).map(|connection| connection.client)
    }

    /// Reserves the client id that `peer`'s handshake will get. An owner that comes back while its
    /// id still rests gets the same one. A connection that shakes hands without having been
    /// admitted is admitted then, without an owner. `name` is the client's display name, whatever
    /// its handshake says.
    pub fn admit(
        &mut self,
        now: Duration,
        peer: P,
        owner: u128,
        name: String,
    ) -> Result<ClientId, SessionFull> {
        let client = self.reserve(now, peer, Some(owner))?;
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.name = Some(name);
        }
        Ok(client)
    }

    /// Whether a connection that was admitted takes texts to groups by name. Only such a client may
    /// listen to a name whose id another name has: others could not tell the two apart.
    pub fn set_takes_group_text(&mut self, peer: P, takes: bool) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.takes_group_text = takes;
        }
    }

    /// Whether a connection that was admitted, and has not shaken hands, is sent the game's own
    /// bytes. One of which nothing is said is.
    pub fn set_takes_data(&mut self, peer: P, takes: bool) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.takes_data = takes;
        }
    }

    /// Sets what a connection that was admitted may do. Without `speak` its speech is not passed
    /// on, without `listen` it is sent none, without `data` its texts and data are not passed on.
    pub fn set_permissions(&mut self, peer: P, permissions: Permissions) {
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        connection.permissions = permissions;
        if let Some(receiver) = self.clients.get_mut(&connection.client) {
            receiver.listens = permissions.listen;
        }
    }

    /// Holds a connection that was admitted in these groups: it listens to no other, its speech is
    /// passed on to their listeners only, and its texts to them and to who may moderate. Without
    /// groups it is held no longer. The others are sent what changes; the client itself is not.
    pub fn set_held_in(&mut self, peer: P, groups: &[String], out: &mut impl ServerOutput<P>) {
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        let client = connection.client;
        connection.held_in = groups.iter().map(|name| (GroupId::of(name), name.clone())).collect();
        let Some(member) = self.table.member(client).filter(|_| !groups.is_empty()) else { return };
        let left: Vec<String> =
            member.groups.values().filter(|name| !groups.contains(name)).cloned().collect();
        for group in left {
            self.table.leave(client, &group);
            let delta = DeltaClientState { joins: false, client, group };
            self.broadcast(Some(client), delta.encode(self.session), out);
        }
    }

    /// A connection is gone. Sends RemoveClient to all others, once.
    pub fn disconnected(&mut self, now: Duration, peer: P, out: &mut impl ServerOutput<P>) {
        self.strangers.remove(&peer);
        let Some(connection) = self.connections.remove(&peer) else { return };
        let Connection { client, owner, joined, budget, origin, .. } = connection;
        if let (Some(budget), Some(origin)) = (budget, origin) {
            self.kept_budgets.put(now, origin, budget);
        }
        self.ids.release(now, client, owner);
        if joined {
            self.clients.remove(&client);
        }
        if self.table.remove(client).is_some() {
            self.broadcast(None, RemoveClient { client }.encode(self.session), out);
        }
    }

    /// Connection `new` takes the place of `old`: client id, membership and groups stay, and no
    /// other client is sent anything. The next HandshakeRequest on `new` is answered with the state
    /// and changes nothing. False, and without effect, if `old` is not a connection or `new` is one
    /// already.
    pub fn hand_over(&mut self, old: P, new: P) -> bool {
        if self.connections.contains_key(&new) {
            return false;
        }
        let Some(connection) = self.connections.remove(&old) else { return false };
        if let Some(receiver) = self.clients.get_mut(&connection.client) {
            receiver.peer = new;
        }
        self.strangers.remove(&new);
        let resumed = connection.joined;
        self.connections
            .insert(new, Connection { resumed, wrong_session_told_at: None, ..connection });
        true
    }

    /// A packet that arrived on a connection. What goes on is a slice of `packet`, never a copy.
    pub fn receive(
        &mut self,
        now: Duration,
        peer: P,
        packet: &Bytes,
        out: &mut impl ServerOutput<P>,
    ) -> Verdict {
        match self.try_receive(now, peer, packet, out) {
            Ok(verdict) => verdict,
            Err(reason) => Verdict::Dropped(reason),
        }
    }

    /// Where a connection comes from that has not shaken hands: its address, or an account. To be said
    /// before its first packet. Who leaves and comes back from there goes on with the budget that was
    /// left; without it each connection begins with a full one.
    pub fn set_origin(&mut self, peer: P, origin: Option<u64>) {
        self.newcomer = origin.map(|origin| (peer, origin));
    }

    /// A connection is the server's own, in one process with it: it has no budget.
    pub fn lift_budget(&mut self, peer: P) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.budget = None;
        }
    }

    /// Charges for what a packet makes the server do, where the server does so.
    fn charge(&mut self, now: Duration, peer: P, packet: &[u8]) -> Result<(), DropReason> {
        let factor = factor_of(self.clients.len());
        let connection = self.connections.get_mut(&peer);
        let Some(budget) = connection.and_then(|known| known.budget.as_mut()) else {
            return Ok(());
        };
        let (cost, may_be_lost) = Cost::without_pairs(packet);
        match budget.spend_among(now, cost, factor) {
            true => Ok(()),
            false if may_be_lost => Err(DropReason::OverBudget),
            false => Err(DropReason::Flooding),
        }
    }

    fn try_receive(
        &mut self,
        now: Duration,
        peer: P,
        packet: &Bytes,
        out: &mut impl ServerOutput<P>,
    ) -> Result<Verdict, DropReason> {
        let (header, body) = packet::open(packet)?;
        let sender = match header.kind {
            Kind::HandshakeRequest => None,
            _ => Some(self.sender_of(now, peer, header, out)?),
        };
        self.charge(now, peer, packet)?;
        match (ToServer::decode(header.kind, body)?, sender) {
            (ToServer::HandshakeRequest(request), _) => {
                self.handshake(now, peer, packet, request, out)
            }
            (_, None) => Err(DropReason::NotJoined),
            (ToServer::RelayReliable(relay), Some(sender)) => {
                self.relay(sender, packet, relay, Delivery::Reliable, out)
            }
            (ToServer::RelayUnreliable(relay), Some(sender)) => {
                self.relay(sender, packet, relay, Delivery::Voice, out)
            }
            (ToServer::ClientState(state), Some(sender)) => {
                self.client_state(peer, sender.client, state, out)
            }
            (ToServer::DeltaClientState(delta), Some(sender)) => {
                self.delta(peer, sender.client, delta, out)
            }
            (ToServer::TextData(_) | ToServer::GroupText(_), Some(sender))
                if !sender.permissions.data =>
            {
                Err(DropReason::NotPermitted)
            }
            (ToServer::TextData(text), Some(sender)) => {
                self.text(peer, sender.client, packet, text, out)
            }
            (ToServer::GroupText(text), Some(sender)) => {
                self.group_text(peer, sender.client, packet, text, out)
            }
            (ToServer::Probe(probe), Some(sender)) => {
                self.answer_probe(now, peer, sender.client, probe, out)
            }
        }
    }

    /// A client without another way asks how long it takes to the server and back.
    fn answer_probe(
        &mut self,
        now: Duration,
        peer: P,
        client: ClientId,
        probe: Probe,
        out: &mut impl ServerOutput<P>,
    ) -> Result<Verdict, DropReason> {
        if probe.sender != client {
            return Err(DropReason::ForgedSender);
        }
        let connection = self.connections.get_mut(&peer).ok_or(DropReason::NotJoined)?;
        if connection.echoed_at.is_none_or(|at| now >= at + ECHO_INTERVAL) {
            connection.echoed_at = Some(now);
            let echo = probe.encode_echo(self.session).into();
            out.deliver(peer, echo, Delivery::Voice, Purpose::Hint);
        }
        Ok(Verdict::Applied)
    }

    /// The member that sent a packet of this session.
    fn sender_of(
        &mut self,
        now: Duration,
        peer: P,
        header: Header,
        out: &mut impl ServerOutput<P>,
    ) -> Result<Sender<P>, DropReason> {
        if header.session != Some(self.session.number()) {
            if header.kind != Kind::ErrorWrongSession {
                self.tell_session(now, peer, out);
            }
            return Err(DropReason::WrongSession);
        }
        let known = self
            .connections
            .get(&peer)
            .filter(|known| known.joined)
            .ok_or(DropReason::NotJoined)?;
        let Connection { client, permissions, .. } = *known;
        Ok(Sender { peer, client, permissions })
    }

    /// From here on the client is a member. A client that shakes hands again on the same connection
    /// keeps its id and starts over.
    fn handshake(
        &mut self,
        now: Duration,
        peer: P,
        packet: &[u8],
        request: HandshakeRequest,
        out: &mut impl ServerOutput<P>,
    ) -> Result<Verdict, DropReason> {
        let client = match self.connections.get(&peer) {
            Some(connection) => connection.client,
            None => {
                let client =
                    self.reserve(now, peer, None).map_err(|SessionFull| DropReason::Full)?;
                // It may have little left from before.
                self.charge(now, peer, packet)?;
                client
            }
        };
        let bytes = self.send_state(client, peer, out);
        if let Some(budget) =
            self.connections.get_mut(&peer).and_then(|known| known.budget.as_mut())
        {
            budget.charge_answer(bytes);
        }
        if self
            .connections
            .get_mut(&peer)
            .is_some_and(|connection| std::mem::take(&mut connection.resumed))
        {
            return Ok(Verdict::Applied);
        }
        let Some(connection) = self.connections.get_mut(&peer) else {
            return Err(DropReason::NotJoined);
        };
        connection.joined = true;
        let (listens, takes_data) = (connection.permissions.listen, connection.takes_data);
        // A client that is held begins without it, if it may not join it: a refusal would say what
        // it did not ask for.
        let is_held = !connection.held_in.is_empty();
        let may_begin =
            |group: &String| !is_held || connection.held_in.get(&GroupId::of(group)) == Some(group);
        let groups =
            self.config.first_group.iter().filter(|group| may_begin(group)).cloned().collect();
        self.clients.insert(client, Receiver { peer, listens, takes_data, last_relay: 0 });
        let info =
            ClientInfo { name: self.name_of(peer, request.name), id: client, codec: request.codec };
        self.set_state(peer, ClientState { client: info, groups }, out);
        Ok(Verdict::Applied)
    }

    /// Begins to send a client the whole state again, in place of updates that it was not sent.
    /// Gives the members that did not fit: the state is complete once
    /// [`refresh_member`](Self::refresh_member) was called for each. Sends nothing to a connection
    /// that has not shaken hands.
    pub fn refresh(&self, peer: P, out: &mut impl ServerOutput<P>) -> Vec<ClientId> {
        match self.connections.get(&peer).filter(|connection| connection.joined) {
            Some(connection) => self.send_response(connection.client, peer, out).1,
            None => Vec::new(),
        }
    }

    /// Sends a client the state of one member as it is now. Sends nothing if that member has left:
    /// the client is sent a RemoveClient.
    pub fn refresh_member(&self, peer: P, member: ClientId, out: &mut impl ServerOutput<P>) {
        self.send_member(peer, member, out);
    }

    /// Gives how many bytes it sends.
    fn send_member(&self, peer: P, member: ClientId, out: &mut impl ServerOutput<P>) -> usize {
        let Some(member) = self.table.member(member) else { return 0 };
        let state = member.to_state().encode(self.session);
        let bytes = state.len();
        out.deliver(peer, state.into(), Delivery::Reliable, Purpose::Snapshot);
        bytes
    }

    /// Gives how many bytes it sends, and the members that did not fit.
    fn send_response(
        &self,
        client: ClientId,
        peer: P,
        out: &mut impl ServerOutput<P>,
    ) -> (usize, Vec<ClientId>) {
        let most_bytes = self.config.reliable_packet_bytes;
        let (response, outside) = response::first(&self.table, client, self.session, most_bytes);
        let bytes = response.len();
        out.deliver(peer, response.into(), Delivery::Reliable, Purpose::Snapshot);
        (bytes, outside)
    }

    /// Gives how many bytes it sends.
    fn send_state(&self, client: ClientId, peer: P, out: &mut impl ServerOutput<P>) -> usize {
        let (bytes, outside) = self.send_response(client, peer, out);
        outside.into_iter().fold(bytes, |sum, member| sum + self.send_member(peer, member, out))
    }

    /// The name that a connection was admitted with; what a client says later does not change it.
    fn name_of(&self, peer: P, said: String) -> String {
        self.connections.get(&peer).and_then(|connection| connection.name.clone()).unwrap_or(said)
    }

    fn client_state(
        &mut self,
        peer: P,
        client: ClientId,
        mut state: ClientState,
        out: &mut impl ServerOutput<P>,
    ) -> Result<Verdict, DropReason> {
        if state.client.id != client {
            return Err(DropReason::ForgedSender);
        }
        state.client.name = self.name_of(peer, state.client.name);
        Ok(match self.set_state(peer, state, out).saturating_sub(REFUSALS_ANSWERED) {
            0 => Verdict::Applied,
            unanswered => Verdict::GroupsRefused { unanswered },
        })
    }

    /// Replaces all that is known of a client and tells the others, if that changes anything. Gives
    /// how many groups were refused; the first [`REFUSALS_ANSWERED`] of them are answered.
    fn set_state(&mut self, peer: P, state: ClientState, out: &mut impl ServerOutput<P>) -> usize {
        let client = state.client.id;
        let before = self.table.remove(client);
        self.table.insert(state.client, []);
        let mut refused = 0;
        for group in state.groups {
            if self.may_join(peer, client, &group) {
                self.table.join(client, &group);
                continue;
            }
            refused += 1;
            if refused <= REFUSALS_ANSWERED {
                self.refuse_group(client, group, out);
            }
        }
        if let Some(member) =
            self.table.member(client).filter(|member| before.as_ref() != Some(*member))
        {
            let accepted = member.to_state().encode(self.session);
            self.broadcast(Some(client), accepted, out);
        }
        refused
    }

    fn delta(
        &mut self,
        peer: P,
        client: ClientId,
        delta: DeltaClientState,
        out: &mut impl ServerOutput<P>,
    ) -> Result<Verdict, DropReason> {
        if delta.client != client {
            return Err(DropReason::ForgedSender);
        }
        if delta.joins && !self.may_join(peer, client, &delta.group) {
            self.refuse_group(client, delta.group, out);
            return Ok(Verdict::Applied);
        }
        let changed = if delta.joins {
            self.table.join(client, &delta.group)
        } else {
            self.table.leave(client, &delta.group)
        };
        if changed {
            self.broadcast(Some(client), delta.encode(self.session), out);
        }
        Ok(Verdict::Applied)
    }

    fn reserve(
        &mut self,
        now: Duration,
        peer: P,
        owner: Option<u128>,
    ) -> Result<ClientId, SessionFull> {
        if let Some(connection) = self.connections.get(&peer) {
            return Ok(connection.client);
        }
        let client = self.ids.allocate(now, owner).ok_or(SessionFull)?;
        self.strangers.remove(&peer);
        let newcomer = self.newcomer.take_if(|(newcomer, _)| *newcomer == peer);
        let origin = newcomer.map(|(_, origin)| origin);
        let budget = self.config.budgets.as_ref().map(|budgets| {
            let left = origin.and_then(|origin| self.kept_budgets.take(now, origin));
            left.unwrap_or_else(|| Budget::of_connection(now, budgets))
        });
        self.connections.insert(
            peer,
            Connection {
                client,
                owner,
                joined: false,
                resumed: false,
                wrong_session_told_at: None,
                echoed_at: None,
                permissions: Permissions::default(),
                held_in: BTreeMap::new(),
                takes_group_text: false,
                takes_data: true,
                name: None,
                budget,
                origin,
            },
        );
        Ok(client)
    }

    fn tell_session(&mut self, now: Duration, peer: P, out: &mut impl ServerOutput<P>) {
        let interval = self.config.wrong_session_interval;
        let told_at = match self.connections.get_mut(&peer) {
            Some(connection) => &mut connection.wrong_session_told_at,
            None => {
                if self.strangers.len() >= STRANGERS && !self.strangers.contains_key(&peer) {
                    self.strangers.clear();
                }
                let fresh = !self.strangers.contains_key(&peer);
                let at = self.strangers.entry(peer).or_insert(now);
                if !fresh && now < *at + interval {
                    return;
                }
                *at = now;
                out.deliver(
                    peer,
                    packet::error_wrong_session(self.session).into(),
                    Delivery::Reliable,
                    Purpose::Answer,
                );
                return;
            }
        };
        if told_at.is_none_or(|at| now >= at + interval) {
            *told_at = Some(now);
            out.deliver(
                peer,
                packet::error_wrong_session(self.session).into(),
                Delivery::Reliable,
                Purpose::Answer,
            );
        }
    }

    /// Whether the client has room for one more group, is not held in others, and can tell it from
    /// other names in use with the same id: by text that names it, and because it listens to no
    /// other of them itself.
    fn may_join(&self, peer: P, client: ClientId, group: &str) -> bool {
        let id = GroupId::of(group);
        let takes_names = self.connections.get(&peer).is_some_and(|known| known.takes_group_text);
        let held_in =
            self.connections.get(&peer).map(|known| &known.held_in).filter(|held| !held.is_empty());
        if held_in.is_some_and(|held| held.get(&id).is_none_or(|name| name != group)) {
            return false;
        }
        let own = self.table.member(client).map(|member| &member.groups);
        let listens_to_other =
            own.and_then(|groups| groups.get(&id)).is_some_and(|name| name != group);
        let is_free = !self.table.is_shared(group) || (takes_names && !listens_to_other);
        is_free
            && (own.map_or(0, std::collections::BTreeMap::len) < GROUPS_PER_CLIENT
                || self.table.listens(client, id))
    }

    /// Answers the client with a leave of the group that it asked for (PROTOCOL.md, section 7).
    fn refuse_group(&self, client: ClientId, group: String, out: &mut impl ServerOutput<P>) {
        if let Some(receiver) = self.clients.get(&client) {
            let leave = DeltaClientState { joins: false, client, group };
            out.deliver(
                receiver.peer,
                leave.encode(self.session).into(),
                Delivery::Reliable,
                Purpose::Answer,
            );
        }
    }

    fn broadcast(&self, except: Option<ClientId>, packet: Vec<u8>, out: &mut impl ServerOutput<P>) {
        let packet = Bytes::from(packet);
        for (client, receiver) in &self.clients {
            if Some(*client) != except {
                out.deliver(receiver.peer, packet.clone(), Delivery::Reliable, Purpose::Update);
            }
        }
    }
}

impl From<DecodeError> for DropReason {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl From<DirectionError> for DropReason {
    fn from(error: DirectionError) -> Self {
        match error {
            DirectionError::Decode(error) => Self::Malformed(error),
            _ => Self::NotForServer,
        }
    }
}

#[cfg(test)]
mod tests;
