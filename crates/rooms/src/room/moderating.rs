//! Who is let in, by tickets and tokens, and what members who may moderate and the server's
//! operator decide.

use std::time::Duration;

use voicemesh_wire::signaling::{
    ErrorCode, Join, LeaveReason, Moderation, PeerInfo, ServerMessage, Ticket,
};
use voicemesh_wire::{PeerId, Permissions};

use super::bans::{BanInfo, Banned, Bans};
use super::lock::{self, Lock, Presented};
use super::packets::Packets;
use super::tickets::TicketClaims;
use super::{Digest, Room};
use crate::address::AddressTag;
use crate::grant::{Grant, TokenError};
use crate::output::{CloseReason, ConnectionId, Purpose, RoomOutput, Sender, Text};
use crate::refusal::Refusal;
use crate::ticket::TicketRecord;

/// A member whose token has expired may come back with its ticket for this long, in seconds.
const GRACE: u64 = 600;

impl Room {
    /// Whether a ban keeps a joiner out.
    ///
    /// # Errors
    ///
    /// When one does, with the time that is left of it.
    pub fn check_ban(
        &self,
        now: Duration,
        join: &Join,
        address: Option<AddressTag>,
    ) -> Result<(), Refusal> {
        let subject = self.grant_of(join).ok().flatten().and_then(|grant| grant.subject);
        let ticket = self.tickets.open(join);
        let who = Banned {
            peer: join.proof.peer_id(),
            subject,
            address: address.filter(|_| ticket.is_none()),
        };
        let right = ticket.and_then(|ticket| {
            let is_earlier = self.tickets.is_of_earlier_run(&ticket);
            // Within one run a right ends with the emptied room, and bans do not.
            ticket
                .owner
                .filter(|right| is_earlier && self.moderation.is_taken_by(*right, is_earlier))
        });
        self.moderation.bans.check(now, &who, right)
    }

    /// The room is dropped: its bans, which hold until they end.
    pub fn take_bans(&mut self) -> Bans {
        std::mem::take(&mut self.moderation.bans)
    }

    /// The bans of an earlier room of this name.
    pub fn set_bans(&mut self, bans: Bans) {
        self.moderation.bans = bans;
    }

    /// What a join's ticket shows of the room's password.
    pub(super) fn presented_by_ticket(&self, join: &Join, others: usize) -> Presented {
        let Some(record) = self.tickets.open(join) else { return Presented::Nothing };
        let is_earlier = self.tickets.is_of_earlier_run(&record);
        let is_taken =
            record.owner.is_some_and(|right| self.moderation.is_taken_by(right, is_earlier));
        let is_back = others > 0 && is_taken && is_earlier;
        let was_handed_on = record.owner.is_some_and(|right| self.moderation.is_of_right(right));
        let names_password = join.password.as_ref().is_some_and(|password| !password.is_empty());
        let lock = self.lock.as_ref();
        match (lock::presented(lock, others, &record, names_password, &self.tickets), lock) {
            // A password that was decided since the restart ends with the right of who decided it.
            (Presented::Nothing, Some(lock))
                if is_back
                    && lock.is_new_password()
                    && (was_handed_on || !record.had_password()) =>
            {
                lock.superseded(&record, Some(record.issued_at))
            }
            (Presented::Nothing, Some(lock)) if others > 0 => {
                self.presented_by_right(&record, lock)
            }
            (presented, _) => presented,
        }
    }

    /// What the ticket of the member who has the right shows of a password that another member
    /// decided meanwhile in the emptied room: the one of the ticket holds again.
    fn presented_by_right(&self, record: &TicketRecord, lock: &Lock) -> Presented {
        let right = self.moderation.right_of(record.peer);
        if !self.is_lock_beside_right || right.is_none() || right != record.owner {
            return Presented::Nothing;
        }
        match record.password {
            Some(password) if password.epoch.lineage == lock.lineage() => Presented::Nothing,
            Some(password) if password.hash.is_some() => {
                Presented::Restores(Lock::restored(&password))
            }
            _ if lock.digest.is_some() => lock.superseded(record, None),
            _ => Presented::Nothing,
        }
    }

    /// The member of a connection, which may moderate.
    ///
    /// # Errors
    ///
    /// When it may not.
    pub fn check_moderator(&self, connection: ConnectionId) -> Result<PeerId, Refusal> {
        self.members
            .get(self.present(connection))
            .filter(|member| member.permissions.moderate)
            .map(|member| member.peer)
            .ok_or_else(|| Refusal::of(ErrorCode::NotModerator))
    }

    /// What a joiner gets or brings of the right to moderate.
    pub(super) fn take_rights(
        &mut self,
        now: Duration,
        peer: PeerId,
        is_anew: bool,
        ticket: Option<&TicketRecord>,
        out: &mut impl RoomOutput,
    ) {
        if is_anew {
            let Some(right) = self.tickets.begin_right() else { return };
            self.moderation.created(now, peer, &self.rules, right);
        }
        if let Some(ticket) = ticket {
            let was_locked = self.moderation.is_locked();
            let is_earlier = self.tickets.is_of_earlier_run(ticket);
            if is_earlier {
                self.moderation.was_there_before();
            }
            if self.moderation.bring(ticket, is_earlier).is_some() {
                // What the former moderator decided ends with the right.
                if was_locked {
                    self.members.broadcast(
                        &ServerMessage::Locked { locked: false },
                        Purpose::Update,
                        out,
                    );
                }
                for peer in self.members.peers().into_iter().chain(self.moderation.departed.peers())
                {
                    self.renew_permissions(peer, out);
                    self.renew_held(peer, out);
                }
            }
        }
    }

    /// The right that had to wait after the server's start.
    pub(super) fn give_due_right(&mut self, now: Duration, out: &mut impl RoomOutput) {
        let Some(peer) = self.moderation.due(now, &self.rules) else { return };
        let Some(right) = self.tickets.begin_right() else { return };
        self.moderation.give(peer, right);
        self.renew_permissions(peer, out);
        self.renew_ticket(peer, out);
    }

    pub(super) fn moderate(
        &mut self,
        now: Duration,
        from: ConnectionId,
        request: Option<u32>,
        action: Moderation,
        out: &mut impl RoomOutput,
    ) -> Result<(), Refusal> {
        let Some(you) = self.members.peer_of(from) else { return Ok(()) };
        self.check_moderator(from)?;
        match action {
            Moderation::Mute { peer } => {
                self.run_of(now, peer)?;
                self.moderation.mute(now, peer, &self.members)?;
                self.renew_permissions(peer, out);
            }
            Moderation::Unmute { peer } => {
                self.moderation.unmute(peer);
                self.renew_permissions(peer, out);
            }
            Moderation::Kick { peer } => {
                if !self.kick(now, peer, out) {
                    return Err(Refusal::of(ErrorCode::UnknownPeer));
                }
            }
            Moderation::Ban { peer, seconds } => match self.connection_of(peer) {
                Ok(connection) => {
                    let subject = self.subject_of(connection);
                    if let Some(member) = self.members.get(connection) {
                        self.moderation.ban(now, connection, member, subject, seconds);
                    }
                    let left = Duration::from_secs(u64::from(seconds));
                    self.put_out(
                        now,
                        connection,
                        Refusal::retry_after(ErrorCode::Banned, left),
                        out,
                    );
                }
                Err(unknown) => {
                    if !self.moderation.ban_departed(now, peer, seconds) {
                        return Err(unknown);
                    }
                    self.put_out_departed(peer, out);
                }
            },
            Moderation::Unban { peer } => {
                self.moderation.bans.end(now, peer);
            }
            Moderation::Move { peer, groups } => self.move_to(now, from, peer, groups, out)?,
            Moderation::Lock => self.set_locked(true, out),
            Moderation::Unlock => self.set_locked(false, out),
            // The shell hashes a password first, and then sets it.
            Moderation::SetPassword { .. } => self.set_password(from, None, out),
            Moderation::MakeOwner { peer } => {
                self.connection_of(peer)?;
                if !self.moderation.hand_on(you, peer) {
                    return Err(Refusal::of(ErrorCode::NotModerator));
                }
                for peer in [you, peer] {
                    self.renew_permissions(peer, out);
                    self.renew_ticket(peer, out);
                }
            }
        }
        confirm(from, request, out);
        Ok(())
    }

    /// Holds a member in groups, unless they are where everyone begins, and has its program listen
    /// and speak there: now, or when it comes back.
    fn move_to(
        &mut self,
        now: Duration,
        from: ConnectionId,
        peer: PeerId,
        groups: Vec<String>,
        out: &mut impl RoomOutput,
    ) -> Result<(), Refusal> {
        let run = self.run_of(now, peer)?;
        let first = self.rules.session.first_group.as_ref();
        let is_free = first.is_some_and(|first| groups.contains(first));
        let held = if is_free { Vec::new() } else { groups.clone() };
        self.moderation.may_hold(now, peer, &held, &self.members)?;
        if groups.is_empty() {
            self.moderation.moves.forget(peer);
        } else {
            self.moderation.moves.may_move(now, peer, &groups, is_free)?;
            let sender = self.members.peer_of(from).unwrap_or(peer);
            let sender = Sender { peer: sender, address: self.moderation.address_of(from) };
            let message = Text::from(&self.moderation.moves.next(&groups));
            let connection = self.members.connection_of(peer);
            if connection
                .is_some_and(|connection| !out.text(connection, &message, Purpose::From(sender)))
            {
                return Err(Refusal::receiver_busy(peer));
            }
            self.moderation.moves.moved(
                (peer, run),
                groups,
                is_free,
                connection.is_none().then_some(now),
            );
        }
        self.moderation.hold(now, peer, held, &self.members);
        self.renew_held(peer, out);
        Ok(())
    }

    /// Sends everyone in which groups a member is held, if that has changed.
    pub(super) fn renew_held(&mut self, peer: PeerId, out: &mut impl RoomOutput) {
        let groups = self.moderation.held_in(peer).to_vec();
        let Some(connection) = self.members.connection_of(peer) else {
            if let Some(message) = self.moderation.departed.set_held(peer, groups) {
                self.members.broadcast(&message, Purpose::Update, out);
            }
            return;
        };
        let Some(member) =
            self.members.get_mut(connection).filter(|member| member.held_in != groups)
        else {
            return;
        };
        member.held_in.clone_from(&groups);
        self.session.set_held_in(connection, &groups, &mut Packets::of_server(out));
        self.members.broadcast(&ServerMessage::Held { peer, groups }, Purpose::Update, out);
    }

    /// A moderator's password has been hashed: the room has it from now on. Those who are in stay.
    ///
    /// # Errors
    ///
    /// When the member may not moderate any more.
    pub fn change_password(
        &mut self,
        from: ConnectionId,
        request: Option<u32>,
        digest: Digest,
        out: &mut impl RoomOutput,
    ) -> Result<(), Refusal> {
        self.check_moderator(from)?;
        self.set_password(from, Some(digest), out);
        confirm(self.present(from), request, out);
        Ok(())
    }

    fn set_password(
        &mut self,
        from: ConnectionId,
        digest: Option<Digest>,
        out: &mut impl RoomOutput,
    ) {
        let counts_since = self.may_moderate_since_before(from).then(|| self.tickets.unix_time());
        let lock = match &self.lock {
            Some(lock) => lock.changed(digest, counts_since),
            None => Lock::decided(digest, self.tickets.draw()),
        };
        self.lock = Some(lock);
        self.is_lock_beside_right = false;
        self.password_decided(out);
    }

    /// Whether the right of a member to moderate is older than this run of the server, or of an
    /// access token.
    fn may_moderate_since_before(&self, from: ConnectionId) -> bool {
        let connection = self.present(from);
        let is_granted =
            self.grants.get(&connection).is_some_and(|grant| grant.permissions.moderate);
        let peer = self.members.peer_of(connection);
        is_granted || peer.is_some_and(|peer| self.moderation.is_owner_since_before(peer))
    }

    /// All who are in learn of a decision about the password.
    fn password_decided(&mut self, out: &mut impl RoomOutput) {
        self.passwords_decided = self.passwords_decided.wrapping_add(1);
        let password = ServerMessage::Password(self.password());
        self.members.broadcast(&password, Purpose::Update, out);
        let peers = self.members.peers();
        peers.into_iter().for_each(|peer| self.renew_ticket(peer, out));
    }

    fn set_locked(&mut self, locked: bool, out: &mut impl RoomOutput) {
        if self.moderation.set_locked(locked) {
            self.members.broadcast(&ServerMessage::Locked { locked }, Purpose::Update, out);
        }
    }

    fn connection_of(&self, peer: PeerId) -> Result<ConnectionId, Refusal> {
        self.members.connection_of(peer).ok_or_else(|| Refusal::of(ErrorCode::UnknownPeer))
    }

    /// The run of a member that is here, or has left lately: what is decided about that one, the
    /// others enforce on links that live, and it holds when the member comes back.
    fn run_of(&self, now: Duration, peer: PeerId) -> Result<u32, Refusal> {
        let here =
            self.members.connection_of(peer).and_then(|connection| self.members.get(connection));
        let run = here.map(|member| member.run);
        let run =
            run.or_else(|| self.moderation.departed.get(now, peer).map(|departed| departed.run));
        run.ok_or_else(|| Refusal::of(ErrorCode::UnknownPeer))
    }

    /// Everyone who is here, and what was decided about those who are not, which the receiver may
    /// have missed. The roster comes last, as its version counts the messages before.
    pub(super) fn send_roster(&self, now: Duration, to: ConnectionId, out: &mut impl RoomOutput) {
        self.send_decisions(now, to, out);
        self.members.send_roster(to, out);
    }

    fn send_decisions(&self, now: Duration, to: ConnectionId, out: &mut impl RoomOutput) -> bool {
        let decisions = self.moderation.departed.decisions(now);
        for message in &decisions {
            out.text(to, &Text::from(message), Purpose::Snapshot);
        }
        !decisions.is_empty()
    }

    /// What the run of a member may have missed that was in the room before, and is not in the
    /// answer to its join.
    pub(super) fn send_missed_decisions(
        &self,
        now: Duration,
        connection: ConnectionId,
        out: &mut impl RoomOutput,
    ) {
        if self.send_decisions(now, connection, out) {
            self.members.send_roster(connection, out);
        }
    }

    /// The last move of a member's run, which may have been lost with its former connection.
    pub(super) fn repeat_move(
        &self,
        connection: ConnectionId,
        peer: PeerId,
        out: &mut impl RoomOutput,
    ) {
        if let Some(message) = self.moderation.moves.of(peer) {
            out.text(connection, &Text::from(&message), Purpose::Answer);
        }
    }

    pub(super) fn renew_permissions(&mut self, peer: PeerId, out: &mut impl RoomOutput) {
        let Some(connection) = self.members.connection_of(peer) else {
            self.renew_departed(peer, out);
            return;
        };
        let grant = self.grants.get(&connection);
        let base = grant.map_or_else(Permissions::default, |grant| grant.permissions);
        let permissions = self.moderation.permissions(peer, base);
        self.set_permissions(peer, permissions, out);
    }

    /// The others may have links to a member that has left: they are sent what it may do there.
    fn renew_departed(&mut self, peer: PeerId, out: &mut impl RoomOutput) {
        let Some(base) = self.moderation.departed.base(peer) else { return };
        let permissions = self.moderation.permissions(peer, base);
        if let Some(message) = self.moderation.departed.set_permissions(peer, permissions) {
            self.members.changed();
            self.members.broadcast(&message, Purpose::Update, out);
        }
    }

    fn renew_ticket(&mut self, peer: PeerId, out: &mut impl RoomOutput) {
        let Some(connection) = self.members.connection_of(peer) else { return };
        if let Some(ticket) = self.ticket_for(connection, peer) {
            out.text(connection, &Text::from(&ServerMessage::Ticket { ticket }), Purpose::Renewal);
        }
    }

    pub(super) fn ticket_for(&mut self, connection: ConnectionId, peer: PeerId) -> Option<Ticket> {
        let grant = self.grants.get(&connection).cloned();
        let owner = self.moderation.right_of(peer);
        let claims = TicketClaims { password: self.lock.as_ref().map(Lock::record), owner, grant };
        self.tickets.issue(connection, peer, claims)
    }

    /// Sends new tickets to members whose old ones will expire.
    pub(super) fn renew_tickets(&mut self, out: &mut impl RoomOutput) {
        for connection in self.tickets.due() {
            let Some(peer) = self.members.peer_of(connection) else { continue };
            if let Some(ticket) = self.ticket_for(connection, peer) {
                let message = Text::from(&ServerMessage::Ticket { ticket });
                out.text(connection, &message, Purpose::Renewal);
            }
        }
    }
}

/// What access tokens let members in with.
impl Room {
    /// What lets a join in; `None` where the server asks for no tokens.
    pub(super) fn grant_of(&self, join: &Join) -> Result<Option<Grant>, Refusal> {
        let Some(rules) = &self.rules.tokens else { return Ok(None) };
        let unix = self.tickets.time_of_day();
        let by_ticket = || {
            let grant = self.tickets.open(join)?.grant?;
            (unix <= grant.expires_at.saturating_add(GRACE)).then_some(grant)
        };
        let Some(token) = join.token.as_ref().filter(|token| !token.is_empty()) else {
            return by_ticket().map(Some).ok_or_else(|| Refusal::of(ErrorCode::TokenRequired));
        };
        match rules.verify(token).and_then(|claims| claims.grant(&join.room, unix)) {
            Ok(grant) => Ok(Some(grant)),
            Err(TokenError::Expired) => {
                by_ticket().map(Some).ok_or_else(|| TokenError::Expired.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The member of a connection that has taken over brought a newer token.
    pub(super) fn renew_grant(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        grant: Option<Grant>,
        out: &mut impl RoomOutput,
    ) {
        let Some(grant) = grant else { return };
        let permissions = grant.permissions;
        if self.grants.get(&connection).map(|former| former.permissions) != Some(permissions) {
            self.grants.insert(connection, grant);
            self.renew_permissions(peer, out);
            return;
        }
        self.grants.insert(connection, grant);
    }

    /// A token's subject is one peer at a time: the later one replaces the earlier.
    pub(super) fn put_out_subject(
        &mut self,
        now: Duration,
        than: PeerId,
        grant: Option<&Grant>,
        out: &mut impl RoomOutput,
    ) {
        let Some(subject) = grant.and_then(|grant| grant.subject.as_ref()) else { return };
        let is_it = |connection: &ConnectionId| {
            self.members.get(*connection).is_some_and(|member| member.peer != than)
        };
        let same = self.grants.iter().filter(|(_, other)| other.subject.as_ref() == Some(subject));
        let others: Vec<ConnectionId> =
            same.map(|(connection, _)| *connection).filter(is_it).collect();
        others.into_iter().for_each(|connection| self.put_out_replaced(now, connection, out));
        self.put_out_lost(now, subject, than, out);
    }

    /// The others close their links to peers of this subject whose connections were lost: it is
    /// `than` now, here or in another room.
    pub fn put_out_lost(
        &mut self,
        now: Duration,
        subject: &str,
        than: PeerId,
        out: &mut impl RoomOutput,
    ) {
        let lost = self.moderation.departed.lost_of_subject(now, subject, than);
        lost.into_iter().for_each(|peer| self.put_out_departed(peer, out));
    }

    /// The subject of the access token of a member.
    pub fn subject_of(&self, connection: ConnectionId) -> Option<String> {
        self.grants.get(&connection).and_then(|grant| grant.subject.clone())
    }

    /// A member goes because the subject of its access token is another peer now, here or in
    /// another room.
    pub fn put_out_replaced(
        &mut self,
        now: Duration,
        connection: ConnectionId,
        out: &mut impl RoomOutput,
    ) {
        let connection = self.present(connection);
        if !self.members.contains(connection) {
            return;
        }
        self.leave(now, connection, LeaveReason::Left, out);
        out.text(connection, &Text::from(&ServerMessage::Replaced), Purpose::Answer);
        out.close(connection, CloseReason::Replaced);
    }
}

/// Who is put out.
impl Room {
    pub(super) fn put_out(
        &mut self,
        now: Duration,
        connection: ConnectionId,
        refusal: Refusal,
        out: &mut impl RoomOutput,
    ) {
        if let Some(peer) = self.members.peer_of(connection) {
            self.door.put_out(peer);
        }
        self.leave(now, connection, LeaveReason::Kicked, out);
        out.count_refusal(&refusal.code);
        out.text(connection, &Text::from(&refusal.farewell()), Purpose::Answer);
        out.close(connection, CloseReason::Refused);
    }

    /// A member whose connection was lost may still speak over its links for a while: the others
    /// close them.
    fn put_out_departed(&mut self, peer: PeerId, out: &mut impl RoomOutput) {
        if let Some(message) = self.moderation.departed.put_out(peer) {
            self.door.put_out(peer);
            self.members.changed();
            self.members.broadcast(&message, Purpose::Update, out);
        }
    }

    /// The password that a joiner's ticket brings. Those who are in have not shown it, or were
    /// there before the owner came back.
    pub(super) fn take_password(
        &mut self,
        now: Duration,
        joiner: PeerId,
        presented: Presented,
        out: &mut impl RoomOutput,
    ) {
        let (code, lock) = match presented {
            Presented::Restores(lock) => (Some(ErrorCode::PasswordRequired), lock),
            Presented::Opens(lock) => (None, lock),
            Presented::Ends(lock) => (Some(ErrorCode::Kicked), lock),
            Presented::Nothing | Presented::Current => return,
        };
        if let Some(code) = code {
            self.put_out_others(now, joiner, &code, out);
        }
        let had_password = self.lock.is_some_and(|lock| lock.digest.is_some());
        self.lock = Some(lock);
        if had_password && lock.digest.is_none() {
            self.password_decided(out);
        }
    }

    fn put_out_others(
        &mut self,
        now: Duration,
        than: PeerId,
        code: &ErrorCode,
        out: &mut impl RoomOutput,
    ) {
        let others: Vec<ConnectionId> = self
            .members
            .iter()
            .filter(|(_, member)| member.peer != than)
            .map(|(connection, _)| connection)
            .collect();
        for connection in others {
            self.put_out(now, connection, Refusal::of(code.clone()), out);
        }
    }
}

/// What the server's operator sees and does.
impl Room {
    /// Everyone in the room, in order of arrival, with the subject of its access token.
    pub fn members(&self) -> Vec<(PeerInfo, Option<String>)> {
        let mut members: Vec<_> = self
            .members
            .iter()
            .map(|(connection, member)| (member.clone(), self.subject_of(connection)))
            .collect();
        members.sort_unstable_by_key(|(member, _)| member.order);
        members
    }

    /// The bans that hold now; the one that ends first comes first.
    pub fn bans(&self, now: Duration) -> Vec<BanInfo> {
        self.moderation.bans.list(now)
    }

    /// Ends a ban. False if there is none.
    pub fn unban(&mut self, now: Duration, peer: PeerId) -> bool {
        self.moderation.bans.end(now, peer)
    }

    /// Gives a member the right to moderate, which passes from the member who has it. False if it
    /// is not here, or no tickets are issued.
    pub fn make_owner(&mut self, peer: PeerId, out: &mut impl RoomOutput) -> bool {
        if self.members.connection_of(peer).is_none() {
            return false;
        }
        let former = self.moderation.owner();
        match former {
            Some(former) if former == peer => return true,
            Some(former) => {
                self.moderation.hand_on(former, peer);
            }
            None => {
                let Some(right) = self.tickets.begin_right() else { return false };
                self.moderation.give(peer, right);
            }
        }
        for peer in former.into_iter().chain([peer]) {
            self.renew_permissions(peer, out);
            self.renew_ticket(peer, out);
        }
        true
    }

    /// Puts a member out, also one that has left lately and may still have links. False if it is
    /// neither.
    pub fn kick(&mut self, now: Duration, peer: PeerId, out: &mut impl RoomOutput) -> bool {
        match self.members.connection_of(peer) {
            Some(connection) => self.put_out(now, connection, Refusal::of(ErrorCode::Kicked), out),
            None if self.moderation.departed.get(now, peer).is_none() => return false,
            None => self.put_out_departed(peer, out),
        }
        true
    }
}

fn confirm(to: ConnectionId, request: Option<u32>, out: &mut impl RoomOutput) {
    if let Some(request) = request {
        out.text(to, &Text::from(&ServerMessage::Moderated { request }), Purpose::Answer);
    }
}
