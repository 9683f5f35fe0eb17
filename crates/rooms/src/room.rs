//! One room: its members, what each learns of the others, and the session server that relays
//! between them.
//!
//! Pure: given the time, writing to a [`RoomOutput`]. A room that everybody has left remembers its
//! session's client ids for a while ([`Room::is_over`]), so that a peer that comes back soon gets
//! the same one.

mod bans;
mod departed;
mod door;
mod ice;
mod join_rates;
mod lock;
mod members;
mod moderating;
mod moderation;
mod moves;
mod packets;
mod password;
mod peer_records;
mod policing;
mod publishing;
mod rules;
mod seats;
mod status;
#[cfg(test)]
mod tests;
mod tickets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use voicemesh_session::Server;
use voicemesh_wire::signaling::{
    ClientMessage, ErrorCode, IceServer, Join, Joined, LeaveReason, Metadata, MetadataChanges,
    PeerInfo, RoomPassword, RosterMark, ServerMessage, TakenOver, apply_metadata,
};
use voicemesh_wire::{ClientId, PeerId, Permissions, SessionId};

use crate::grant::Grant;
use crate::guard::check_presence;
use crate::output::{CloseReason, ConnectionId, Publisher, Purpose, RoomOutput, Text};
use crate::refusal::Refusal;
use crate::ticket::{MemberSince, TicketIssuer, TimeOfDay};

pub use crate::address::AddressTag;
pub use bans::{BanInfo, Bans};
pub use ice::{IceRules, SharedSecret};
use lock::{Lock, Presented};
use members::Members;
use packets::{Packets, TextsRead};
pub use password::{Digest, HashRequest, JoinCheck, Salt, WorkArea, digest};
use policing::Policing;
pub use policing::VoiceRates;
pub use rules::RoomRules;
use tickets::Tickets;

/// A connection from which another has taken over is still read for this long, for what was on its
/// way.
const TAKEN_OVER_GRACE: Duration = Duration::from_secs(2);

/// One room.
#[derive(Debug)]
pub struct Room {
    rules: Arc<RoomRules>,
    session: Server<ConnectionId>,
    members: Members,
    /// Connections from which others have taken over.
    former: BTreeMap<ConnectionId, Former>,
    /// The written messages that each connection has brought, for who takes over from it.
    texts_read: BTreeMap<ConnectionId, TextsRead>,
    arrivals: u64,
    mark_due: Duration,
    emptied_at: Option<Duration>,
    /// What was decided about the password; `None` in an empty room.
    lock: Option<Lock>,
    /// A member decided `lock` in the emptied room while the right to moderate waited for another.
    is_lock_beside_right: bool,
    /// How often moderators have decided about the password in this session.
    passwords_decided: u32,
    tickets: Tickets,
    moderation: moderation::Moderation,
    door: door::Door,
    metadata: Metadata,
    credentials: ice::IssuedCredentials,
    policing: Policing,
    join_rates: join_rates::JoinRates,
    seats: seats::Seats,
    statuses: status::Statuses,
    publishing: publishing::Publishing,
    /// What the tokens of members allow, where the server asks for tokens.
    grants: BTreeMap<ConnectionId, Grant>,
    /// When which sender got an error that which receiver is busy.
    busy_notified: BTreeMap<(ConnectionId, ConnectionId), Duration>,
}

/// A connection whose peer has joined again on another.
#[derive(Clone, Copy, Debug)]
struct Former {
    now: ConnectionId,
    closes_at: Duration,
}

/// What is next of a snapshot of the whole state for one member: part by part, so that no more of
/// it than one part waits for a slow receiver. Each part is made from the state at its own time.
/// Changes in between are sent to the member behind the last part; each of them says what holds
/// from then on, so that those which a part contains already change nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// The roster.
    #[default]
    Roster,
    /// The room's metadata, whether it is locked, and whether it has a password.
    Room,
    /// The response to a handshake.
    Session,
    /// The session state of these members, the last one first.
    Members(Vec<ClientId>),
    /// No part of a snapshot, but what is published now, in place of so many changes that waited.
    Published(Publisher, u32),
    /// Nor this: so many changes of members who have left.
    Missed(u32),
}

impl Room {
    /// A room that no peer has joined yet. `session` is drawn at random by the caller.
    pub fn new(now: Duration, rules: Arc<RoomRules>, session: SessionId) -> Self {
        Self {
            session: Server::new(rules.session.clone(), session),
            rules,
            members: Members::default(),
            former: BTreeMap::new(),
            texts_read: BTreeMap::new(),
            arrivals: 0,
            mark_due: now,
            emptied_at: Some(now),
            lock: None,
            is_lock_beside_right: false,
            passwords_decided: 0,
            tickets: Tickets::default(),
            moderation: moderation::Moderation::default(),
            door: door::Door::default(),
            metadata: Metadata::new(),
            credentials: ice::IssuedCredentials::default(),
            policing: Policing::default(),
            join_rates: join_rates::JoinRates::default(),
            seats: seats::Seats::new(now),
            grants: BTreeMap::new(),
            statuses: status::Statuses::default(),
            publishing: publishing::Publishing::default(),
            busy_notified: BTreeMap::new(),
        }
    }

    /// The time of day, in seconds since 1970, from which TURN credentials and tickets count. Set
    /// it before a join and before a tick.
    pub fn set_unix_time(&mut self, time: impl Into<TimeOfDay>) {
        let time = time.into();
        self.credentials.set_unix_time(time.seconds);
        self.tickets.set_unix_time(time);
    }

    /// Gives members tickets from now on. `room` is the room's name, as joins have it.
    pub fn set_ticket_issuer(&mut self, issuer: TicketIssuer, room: String) {
        self.tickets.set_issuer(issuer, room);
    }

    /// How many peers are here.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether no peer is here.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The peer that has been here longest.
    pub fn owner(&self) -> Option<PeerId> {
        self.members.owner()
    }

    /// The session and who listens to what in it.
    pub fn session(&self) -> &Server<ConnectionId> {
        &self.session
    }

    /// Since when the room has been empty; `None` while a peer is here.
    pub fn emptied_at(&self) -> Option<Duration> {
        self.emptied_at
    }

    /// Whether the room can be dropped: no peer is here, the quarantine of client ids has passed,
    /// and the right to moderate waits for no lost owner.
    pub fn is_over(&self, now: Duration) -> bool {
        let waits = self.moderation.waits_until().is_some_and(|until| now < until);
        self.emptied_at.is_some_and(|at| now >= at + self.rules.session.id_quarantine) && !waits
    }

    /// What a joiner has to do before [`join`](Self::join) takes it. The first peer in an empty
    /// room decides its password; `fresh` is the salt for that. A peer that is in the room already,
    /// on another connection, is known by its proof.
    ///
    /// # Errors
    ///
    /// When it may not join: presence, a full room, a wrong password or none.
    pub fn check_join(
        &self,
        join: &Join,
        presented: Option<&Digest>,
        fresh: Salt,
    ) -> Result<JoinCheck, Refusal> {
        if self.taken_over_by(join).is_some() {
            return Ok(JoinCheck::Enter);
        }
        self.grant_of(join)?;
        let returns = self.members.connection_of(join.proof.peer_id()).is_some();
        let others = self.members.len() - usize::from(returns);
        check_presence(join.presence, others)?;
        let by_ticket = self.presented_by_ticket(join, others);
        // Those who have not shown the password that holds again leave first.
        let puts_out_others = matches!(by_ticket, Presented::Restores(_) | Presented::Ends(_));
        if !puts_out_others && !self.has_seat(join, others) {
            return Err(Refusal::of(ErrorCode::RoomFull));
        }
        let lineage = self.lock.map(|lock| lock.lineage());
        let passes = || self.door.passes(join, &self.tickets, &self.moderation, lineage);
        if self.moderation.is_locked() && !returns && !passes() {
            return Err(Refusal::of(ErrorCode::RoomLocked));
        }
        if by_ticket != Presented::Nothing {
            return Ok(JoinCheck::Enter);
        }
        let named = join.password.as_ref().is_some_and(|password| !password.is_empty());
        if others == 0 {
            let ready = !named || presented.is_some();
            return Ok(if ready {
                JoinCheck::Enter
            } else {
                JoinCheck::Hash(HashRequest { salt: fresh, expected: None })
            });
        }
        match (self.lock.and_then(|lock| lock.digest), named, presented) {
            _ if returns => Ok(JoinCheck::Enter),
            (None, false, _) => Ok(JoinCheck::Enter),
            (None, true, _) => Err(Refusal::no_password()),
            (Some(_), false, _) => Err(Refusal::of(ErrorCode::PasswordRequired)),
            (Some(lock), true, Some(presented)) if *presented == lock => Ok(JoinCheck::Enter),
            (Some(lock), true, Some(presented)) if presented.salt() == lock.salt() => {
                Err(Refusal::of(ErrorCode::PasswordWrong))
            }
            (Some(lock), true, _) => {
                Ok(JoinCheck::Hash(HashRequest { salt: lock.salt(), expected: Some(lock) }))
            }
        }
    }

    /// A connection whose join its guard has taken enters, or gets an error. If the same peer is
    /// here on another connection, there are two cases. The same run takes over: its client id,
    /// order, groups and metadata stay, and the others are sent nothing. Another run replaces it:
    /// the old connection goes, and its place in the order of arrival passes on. `presented` is its
    /// password's digest, if [`check_join`](Self::check_join) asked for one.
    pub fn join(
        &mut self,
        now: Duration,
        connection: ConnectionId,
        join: Join,
        presented: Option<Digest>,
        out: &mut impl RoomOutput,
    ) -> Result<PeerId, Refusal> {
        if self.check_join(&join, presented.as_ref(), Salt([0; 16]))? != JoinCheck::Enter {
            return Err(Refusal::of(ErrorCode::PasswordRequired));
        }
        let peer = join.proof.peer_id();
        if let Some(old) = self.taken_over_by(&join) {
            let grant = self.grant_of(&join).ok().flatten();
            self.take_over(now, old, connection, join.room, out);
            self.renew_grant(peer, connection, grant, out);
            self.statuses.take(now, &mut self.members, connection, join.status, out);
            return Ok(peer);
        }
        let grant = self.grant_of(&join)?;
        self.put_out_subject(now, peer, grant.as_ref(), out);
        let old = self.members.connection_of(peer);
        let others = self.members.len() - usize::from(old.is_some());
        let is_first = others == 0;
        let by_ticket = self.presented_by_ticket(&join, others);
        let ticket = self.tickets.open(&join);
        let member_since = self.tickets.member_since(ticket.as_ref(), old);
        let lock_before = self.lock.map(|lock| lock.lineage());
        self.take_password(now, peer, by_ticket, out);
        let others = self.members.len() - usize::from(old.is_some());
        self.make_seat(now, &join, others, out);
        let is_anew = self.members.is_empty();
        let order = match old.and_then(|old| self.replace(now, old, out)) {
            Some(order) => order,
            None => {
                self.arrivals += 1;
                self.arrivals
            }
        };
        let Join {
            room,
            name: asked,
            run,
            capabilities,
            metadata,
            status,
            password,
            room_metadata,
            ..
        } = join;
        let name = grant.as_ref().and_then(|grant| grant.name.clone()).unwrap_or(asked);
        let owner = peer.0.as_u128();
        let full = |_| Refusal::of(ErrorCode::RoomFull);
        let client = self.session.admit(now, connection, owner, name.clone()).map_err(full)?;
        self.session.set_takes_group_text(connection, capabilities.group_text);
        self.session.set_takes_data(connection, capabilities.data);
        let decides_lock = is_first && by_ticket == Presented::Nothing;
        if decides_lock {
            let named = password.is_some_and(|password| !password.is_empty());
            self.lock = Some(Lock::decided(presented.filter(|_| named), self.tickets.draw()));
        }
        let earlier = ticket.as_ref().filter(|ticket| self.tickets.is_of_earlier_run(ticket));
        if let (Some(lock), Some(earlier)) = (&mut self.lock, earlier) {
            lock.held_until(earlier);
        }
        self.seats.entered(peer, earlier.is_some());
        if is_anew {
            self.metadata = room_metadata;
            if self.moderation.waits_until().is_none_or(|until| now >= until) {
                self.door.begins(self.tickets.unix_time());
            }
        }
        let base = grant.as_ref().map_or_else(Permissions::default, |grant| grant.permissions);
        // Where access tokens decide who may moderate, coming first does not.
        self.take_rights(now, peer, is_anew && grant.is_none(), ticket.as_ref(), out);
        if decides_lock || self.lock.map(|lock| lock.lineage()) != lock_before {
            self.is_lock_beside_right = self.moderation.owner().is_some_and(|owner| owner != peer);
        }
        let permissions = self.moderation.permissions(peer, base);
        if let Some(grant) = grant {
            self.grants.insert(connection, grant);
        }
        let held_in = self.moderation.held_in(peer).to_vec();
        let info = PeerInfo {
            peer,
            client,
            run,
            name,
            metadata,
            capabilities,
            order,
            status,
            permissions,
            held_in,
        };
        self.tickets.entered(connection, member_since);
        self.door.entered(peer);
        self.enter(now, connection, info, room, out);
        Ok(peer)
    }

    /// The connection from which a join takes over: that of the same peer, run and account.
    fn taken_over_by(&self, join: &Join) -> Option<ConnectionId> {
        let old = self.members.connection_of(join.proof.peer_id())?;
        let is_other_account = || {
            let (former, grant) = (self.grants.get(&old)?, self.grant_of(join).ok()??);
            Some(former.subject != grant.subject)
        };
        let is_it = self.members.get(old)?.run == join.run && !is_other_account().unwrap_or(false);
        is_it.then_some(old)
    }

    fn take_over(
        &mut self,
        now: Duration,
        old: ConnectionId,
        connection: ConnectionId,
        room: String,
        out: &mut impl RoomOutput,
    ) {
        let Some(info) = self.members.remove(old) else { return };
        self.session.hand_over(old, connection);
        let texts = self.texts_read.remove(&old).unwrap_or_default().to_be_kept();
        let taken_over = TakenOver { metadata: info.metadata.clone(), texts: Some(texts) };
        self.credentials.forget(old);
        self.tickets.handed_over(old, connection);
        self.moderation.forget(old);
        if let Some(grant) = self.grants.remove(&old) {
            self.grants.insert(connection, grant);
        }
        self.forget_busy(old);
        let joined = self.joined(connection, &info, room, Some(taken_over));
        out.text(connection, &Text::from(&joined), Purpose::Snapshot);
        out.hand_over(old, connection);
        let peer = info.peer;
        self.members.insert(connection, info);
        self.send_missed_decisions(now, connection, out);
        self.repeat_move(connection, peer, out);
        for former in self.former.values_mut().filter(|former| former.now == old) {
            former.now = connection;
        }
        self.former.insert(old, Former { now: connection, closes_at: now + TAKEN_OVER_GRACE });
    }

    /// Sets what a member may do, and sends it to everyone if that changes anything. False if the
    /// peer is not here.
    pub fn set_permissions(
        &mut self,
        peer: PeerId,
        permissions: Permissions,
        out: &mut impl RoomOutput,
    ) -> bool {
        let Some(connection) = self.members.connection_of(peer) else { return false };
        let Some(member) = self.members.get_mut(connection) else { return false };
        if member.permissions != permissions {
            member.permissions = permissions;
            self.session.set_permissions(connection, permissions);
            self.members.changed();
            self.members.broadcast(
                &ServerMessage::Permissions { peer, permissions },
                Purpose::Update,
                out,
            );
        }
        true
    }

    fn enter(
        &mut self,
        now: Duration,
        connection: ConnectionId,
        info: PeerInfo,
        room: String,
        out: &mut impl RoomOutput,
    ) {
        self.session.set_permissions(connection, info.permissions);
        self.session.set_held_in(connection, &info.held_in, &mut Packets::of_server(out));
        self.members.changed();
        self.emptied_at = None;
        let joined = self.joined(connection, &info, room, None);
        out.text(connection, &Text::from(&joined), Purpose::Snapshot);
        self.members.iter().for_each(|(to, _)| out.arrives(to, info.peer));
        self.members.broadcast(
            &ServerMessage::PeerJoined { peer: info.clone() },
            Purpose::Update,
            out,
        );
        self.policing.entered(info.peer);
        let was_here = self.moderation.departed.was_here(now, info.peer, info.run);
        self.moderation.entered(now, info.peer, info.run);
        let peer = info.peer;
        self.members.insert(connection, info);
        if was_here {
            self.send_missed_decisions(now, connection, out);
        }
        self.repeat_move(connection, peer, out);
    }

    /// The answer to the join of `info`, which is not among the members at this moment.
    fn joined(
        &mut self,
        connection: ConnectionId,
        info: &PeerInfo,
        room: String,
        taken_over: Option<TakenOver>,
    ) -> ServerMessage {
        ServerMessage::Joined(Joined {
            you: info.peer,
            client: info.client,
            session: self.session.session().number(),
            room,
            name: Some(info.name.clone()),
            order: info.order,
            ice_servers: self.ice_servers_for(connection, info.peer),
            limits: self.rules.limits.clone(),
            relay_only: self.rules.relay_only,
            group_text: true,
            status: true,
            roster: self.members.mark_with(info),
            peers: self.members.roster(),
            room_metadata: self.metadata.clone(),
            permissions: info.permissions,
            held_in: info.held_in.clone(),
            locked: self.moderation.is_locked(),
            password: self.password(),
            owner_right: self.moderation.right(&self.rules),
            taken_over,
            ticket: self.ticket_for(connection, info.peer),
        })
    }

    /// The connection under which the peer of `connection` is known now.
    fn present(&self, connection: ConnectionId) -> ConnectionId {
        self.former.get(&connection).map_or(connection, |former| former.now)
    }

    fn ice_servers_for(&mut self, connection: ConnectionId, peer: PeerId) -> Vec<IceServer> {
        if self.rules.relay_only {
            Vec::new()
        } else {
            self.credentials.issue(&self.rules.ice, connection, peer)
        }
    }

    /// Sends new credentials to members whose old ones will expire.
    fn renew_credentials(&mut self, out: &mut impl RoomOutput) {
        for connection in self.credentials.due(&self.rules.ice) {
            let Some(peer) = self.members.peer_of(connection) else { continue };
            let ice_servers = self.ice_servers_for(connection, peer);
            out.text(
                connection,
                &Text::from(&ServerMessage::IceServers { ice_servers }),
                Purpose::Answer,
            );
        }
    }

    /// The order of arrival of the connection that goes.
    fn replace(
        &mut self,
        now: Duration,
        old: ConnectionId,
        out: &mut impl RoomOutput,
    ) -> Option<u64> {
        let order = self.members.get(old).map(|member| member.order);
        self.leave(now, old, LeaveReason::Replaced, out);
        out.text(old, &Text::from(&ServerMessage::Replaced), Purpose::Answer);
        out.close(old, CloseReason::Replaced);
        order
    }

    /// A signaling message of a connection that has joined.
    pub fn message(
        &mut self,
        now: Duration,
        from: ConnectionId,
        message: ClientMessage,
        out: &mut impl RoomOutput,
    ) {
        let (answer_to, from) = (from, self.present(from));
        if !self.members.contains(from) {
            return;
        }
        let result = match message {
            ClientMessage::Join(_) => Err(Refusal::of(ErrorCode::AlreadyJoined)),
            ClientMessage::Signal { to, attempt, signal } => {
                self.signal(now, from, (to, attempt, signal), out);
                Ok(())
            }
            ClientMessage::SetMetadata { request, set } => {
                self.set_metadata(now, from, (request, set), out)
            }
            ClientMessage::SetRoomMetadata { request, set } => {
                self.set_room_metadata(now, from, (request, set), out)
            }
            ClientMessage::Moderate { request, action } => self
                .moderate(now, from, request, action, out)
                .map_err(|refusal| refusal.of_request(request)),
            // On a connection that another has taken over it is older than what that one's join
            // said.
            ClientMessage::Status(status) => {
                if answer_to == from {
                    self.statuses.take(now, &mut self.members, from, status, out);
                }
                Ok(())
            }
            ClientMessage::Roster => {
                if !out.defer_snapshot(from) {
                    self.send_roster(now, from, out);
                }
                Ok(())
            }
            // Asked of one connection, it is answered on that one.
            ClientMessage::Ping { token } => {
                out.pong(answer_to, &Text::from(&ServerMessage::Pong { token }));
                Ok(())
            }
            ClientMessage::Leave => {
                self.leave(now, from, LeaveReason::Left, out);
                out.close(from, CloseReason::Left);
                Ok(())
            }
        };
        if let Err(refusal) = result {
            answer(from, refusal, out);
        }
    }

    fn room_metadata(&self) -> ServerMessage {
        ServerMessage::RoomMetadata { metadata: self.metadata.clone() }
    }

    fn password(&self) -> RoomPassword {
        RoomPassword {
            set: self.lock.is_some_and(|lock| lock.digest.is_some()),
            number: self.passwords_decided,
        }
    }

    fn forget_busy(&mut self, connection: ConnectionId) {
        self.busy_notified.retain(|(from, to), _| *from != connection && *to != connection);
    }

    /// A connection is no longer part of the room. Does nothing if it was not, or is no longer.
    pub fn leave(
        &mut self,
        now: Duration,
        connection: ConnectionId,
        reason: LeaveReason,
        out: &mut impl RoomOutput,
    ) {
        if self.former.remove(&connection).is_some() {
            return;
        }
        let Some(member) = self.members.remove(connection) else { return };
        self.close_former(out, |former| former.now == connection);
        self.statuses.forget(member.peer);
        self.publishing.forget(member.peer);
        self.credentials.forget(connection);
        let grant = self.grants.remove(&connection);
        self.tickets.forget(connection);
        self.moderation.left(now, connection, &member, grant, reason);
        self.policing.left(now, member.peer);
        self.seats.left(now, member.peer, reason, self.arrivals);
        self.forget_busy(connection);
        self.texts_read.remove(&connection);
        self.session.disconnected(now, connection, &mut Packets::of_server(out));
        self.members.changed();
        if self.members.is_empty() {
            self.emptied_at = Some(now);
        }
        if self.members.is_empty() && reason != LeaveReason::Replaced {
            // An empty room keeps no secret but its bans and says nothing; who comes next decides.
            self.door.emptied(self.lock.map(|lock| lock.lineage()));
            self.lock = None;
            self.metadata = Metadata::new();
            self.publishing.emptied();
            self.moderation.emptied();
        }
        self.members.broadcast(
            &ServerMessage::PeerLeft { peer: member.peer, reason },
            Purpose::Update,
            out,
        );
    }

    /// Sends a member one part of everything as it is now: the roster, the room's metadata, and who
    /// listens to what. Gives the part that follows. A send queue asks for it in place of updates that
    /// waited too long.
    pub fn refresh(
        &mut self,
        now: Duration,
        to: ConnectionId,
        part: Part,
        out: &mut impl RoomOutput,
    ) -> Option<Part> {
        if !self.members.contains(to) {
            return None;
        }
        match part {
            Part::Roster => {
                self.send_roster(now, to, out);
                Some(Part::Room)
            }
            Part::Room => {
                out.text(to, &Text::from(&self.room_metadata()), Purpose::Snapshot);
                let locked = self.moderation.is_locked();
                out.text(to, &Text::from(&ServerMessage::Locked { locked }), Purpose::Snapshot);
                let password = ServerMessage::Password(self.password());
                out.text(to, &Text::from(&password), Purpose::Snapshot);
                Some(Part::Session)
            }
            Part::Session => {
                let mut members = self.session.refresh(to, &mut Packets::of_server(out));
                members.reverse();
                (!members.is_empty()).then_some(Part::Members(members))
            }
            Part::Members(mut members) => {
                let next = members.pop()?;
                self.session.refresh_member(to, next, &mut Packets::of_server(out));
                (!members.is_empty()).then_some(Part::Members(members))
            }
            Part::Published(Publisher::Room, _) => {
                out.text(to, &Text::from(&self.room_metadata()), Purpose::Snapshot);
                None
            }
            Part::Published(Publisher::Member(peer), changes) => {
                let message = self.members.published(Some(peer), changes);
                out.text(to, &Text::from(&message), Purpose::Snapshot);
                None
            }
            Part::Missed(changes) => {
                let message = self.members.published(None, changes);
                out.text(to, &Text::from(&message), Purpose::Snapshot);
                None
            }
        }
    }

    /// Counts a join that is about to enter. Who takes over from its own connection is not counted:
    /// the others are sent nothing of it. `None` stands for connections whose address says nothing.
    ///
    /// # Errors
    ///
    /// When this peer, or its address, enters too often.
    pub fn count_join(
        &mut self,
        now: Duration,
        join: &Join,
        address: Option<AddressTag>,
    ) -> Result<(), Refusal> {
        let Some(address) = address.filter(|_| self.taken_over_by(join).is_none()) else {
            return Ok(());
        };
        let since = self.member_since(join);
        let allowed = self.join_rates.take(now, join.proof.peer_id(), address, since);
        if allowed { Ok(()) } else { Err(Refusal::of(ErrorCode::TooManyJoins)) }
    }

    /// Since when a joiner has been a member, by its ticket or because it is here; `None` if it is a
    /// newcomer.
    pub(crate) fn member_since(&self, join: &Join) -> Option<MemberSince> {
        let here = self.members.connection_of(join.proof.peer_id());
        self.tickets.member_since(self.tickets.open(join).as_ref(), here)
    }

    /// A member changes what it publishes.
    fn set_metadata(
        &mut self,
        now: Duration,
        from: ConnectionId,
        (request, set): (Option<u32>, MetadataChanges),
        out: &mut impl RoomOutput,
    ) -> Result<(), Refusal> {
        let Some(member) = self.members.get(from) else { return Ok(()) };
        let (peer, publisher) = (member.peer, Publisher::Member(member.peer));
        let next = apply_metadata(self.publishing.latest(publisher, &member.metadata), set);
        let by = (peer, self.moderation.address_of(from));
        next.map_err(Refusal::from)
            .and_then(|next| self.publishing.change(now, by, publisher, request, next))
            .map_err(|refusal| refusal.of_request(request))?;
        self.publishing.send_due(now, &mut self.members, &mut self.metadata, out);
        Ok(())
    }

    /// Its owner changes what the room publishes.
    fn set_room_metadata(
        &mut self,
        now: Duration,
        from: ConnectionId,
        (request, set): (Option<u32>, MetadataChanges),
        out: &mut impl RoomOutput,
    ) -> Result<(), Refusal> {
        let Some(member) = self.members.get(from) else { return Ok(()) };
        let peer = member.peer;
        if self.owner() != Some(peer) {
            return Err(Refusal::of(ErrorCode::NotOwner).of_request(request));
        }
        let next = apply_metadata(self.publishing.latest(Publisher::Room, &self.metadata), set);
        let by = (peer, self.moderation.address_of(from));
        next.map_err(Refusal::from)
            .and_then(|next| self.publishing.change(now, by, Publisher::Room, request, next))
            .map_err(|refusal| refusal.of_request(request))?;
        self.publishing.send_due(now, &mut self.members, &mut self.metadata, out);
        Ok(())
    }

    /// The member of a full room that gives way to a join, if there is one.
    fn gives_way_to(&self, join: &Join) -> Option<ConnectionId> {
        self.seats.gives_way_to(join, &self.tickets, &self.moderation, &self.members)
    }

    /// Whether there is a place for a join besides so many others.
    fn has_seat(&self, join: &Join, others: usize) -> bool {
        others < self.rules.limits.peers_per_room as usize || self.gives_way_to(join).is_some()
    }

    /// A member gives way, if there is no other place.
    fn make_seat(&mut self, now: Duration, join: &Join, others: usize, out: &mut impl RoomOutput) {
        if others < self.rules.limits.peers_per_room as usize {
            return;
        }
        let Some(connection) = self.gives_way_to(join) else { return };
        let refusal = Refusal::of(ErrorCode::RoomFull);
        self.leave(now, connection, LeaveReason::Left, out);
        out.count_refusal(&refusal.code);
        out.text(connection, &Text::from(&refusal.farewell()), Purpose::Answer);
        out.close(connection, CloseReason::Refused);
    }

    /// Runs timers: every few seconds each member receives the roster's mark, and credentials are
    /// renewed.
    pub fn tick(&mut self, now: Duration, out: &mut impl RoomOutput) {
        self.statuses.send_due(now, &mut self.members, out);
        self.publishing.send_due(now, &mut self.members, &mut self.metadata, out);
        self.renew_credentials(out);
        self.give_due_right(now, out);
        self.renew_tickets(out);
        self.close_former(out, |former| now >= former.closes_at);
        if now < self.mark_due {
            return;
        }
        self.mark_due =
            now + Duration::from_millis(u64::from(self.rules.limits.roster_interval_ms));
        self.join_rates.tidy(now);
        self.seats.tidy(now);
        self.publishing.tidy(now);
        self.policing.tidy(now);
        if !self.members.is_empty() {
            self.members.broadcast(&ServerMessage::RosterMark(self.mark()), Purpose::Notice, out);
        }
    }

    fn close_former(&mut self, out: &mut impl RoomOutput, which: impl Fn(&Former) -> bool) {
        self.former.retain(|connection, former| {
            let closes = which(former);
            if closes {
                out.close(*connection, CloseReason::TakenOver);
            }
            !closes
        });
    }

    /// Where a member's connection comes from; bans bind it.
    pub fn set_address(&mut self, connection: ConnectionId, address: AddressTag) {
        if self.members.contains(connection) {
            self.moderation.set_address(connection, address);
        }
    }

    /// The peer that is known by this connection.
    pub fn peer_of(&self, connection: ConnectionId) -> Option<PeerId> {
        self.members.peer_of(connection)
    }

    /// The roster's version and hash.
    pub fn mark(&self) -> RosterMark {
        self.members.mark()
    }
}

/// Answers a member with an error; its connection goes on.
fn answer(to: ConnectionId, refusal: Refusal, out: &mut impl RoomOutput) {
    out.count_refusal(&refusal.code);
    out.text(to, &Text::from(&refusal.answer()), Purpose::Answer);
}
