//! The tickets of a room's members: issued, renewed and read again.

use std::collections::BTreeMap;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{Join, Ticket};

use crate::grant::Grant;
use crate::output::ConnectionId;
use crate::ticket::{
    Epoch, MemberSince, OwnerRight, PasswordRecord, RENEWAL, TicketIssuer, TicketRecord, TimeOfDay,
};

/// One room's tickets. At most one entry of a kind per member.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    issuer: Option<TicketIssuer>,
    room: String,
    time: TimeOfDay,
    issued_at: BTreeMap<ConnectionId, u64>,
    /// Since when each member has been one, renewals and returns included.
    since: BTreeMap<ConnectionId, MemberSince>,
    /// The latest that this room has seen.
    latest_since: MemberSince,
    /// In which second rights began last, and how many.
    begun: (u64, u8),
}

/// What a ticket says of its holder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TicketClaims {
    pub password: Option<PasswordRecord>,
    pub owner: Option<OwnerRight>,
    pub grant: Option<Grant>,
}

impl Tickets {
    pub(super) fn set_issuer(&mut self, issuer: TicketIssuer, room: String) {
        self.issuer = Some(issuer);
        self.room = room;
    }

    pub(super) fn set_unix_time(&mut self, time: TimeOfDay) {
        let latest = self.time.latest.max(time.latest);
        self.time = TimeOfDay { latest, ..time };
    }

    /// The time that tickets and decisions get now, in seconds since 1970.
    pub(super) fn unix_time(&self) -> u64 {
        self.time.in_order()
    }

    /// From which what others have issued counts.
    pub(super) fn time_of_day(&self) -> u64 {
        self.time.seconds
    }

    /// A member has come, who has been one before if `since` is known. Who comes later never counts
    /// as the earlier member, also within a second and when the clock was set back.
    pub(super) fn entered(&mut self, connection: ConnectionId, since: Option<MemberSince>) {
        let latest = self.latest_since;
        let since =
            since.unwrap_or_else(|| MemberSince::second(self.unix_time()).max(latest.next()));
        self.latest_since = latest.max(since);
        self.since.insert(connection, since);
    }

    /// A member goes on with another connection.
    pub(super) fn handed_over(&mut self, old: ConnectionId, connection: ConnectionId) {
        let since = self.since(old);
        self.forget(old);
        self.entered(connection, since);
    }

    /// Since when the member of a connection has been one.
    pub(super) fn since(&self, connection: ConnectionId) -> Option<MemberSince> {
        self.since.get(&connection).copied()
    }

    /// Since when a joiner has been one, by its ticket or because it is `here`.
    pub(super) fn member_since(
        &self,
        ticket: Option<&TicketRecord>,
        here: Option<ConnectionId>,
    ) -> Option<MemberSince> {
        let here = here.and_then(|connection| self.since(connection));
        ticket.map(|ticket| ticket.member_since).into_iter().chain(here).min()
    }

    /// A new ticket; `None` if the room issues none.
    pub(super) fn issue(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        claims: TicketClaims,
    ) -> Option<Ticket> {
        let issued_at = self.unix_time();
        let member_since = self.since(connection).unwrap_or(MemberSince::second(issued_at));
        let issuer = self.issuer.as_mut()?;
        self.issued_at.insert(connection, issued_at);
        let record = TicketRecord {
            room: self.room.clone(),
            peer,
            issued_at,
            member_since,
            server_run: issuer.key().server_run(),
            password: claims.password,
            owner: claims.owner,
            grant: claims.grant,
        };
        issuer.seal(&record)
    }

    /// What the ticket of a join says, if it is valid.
    pub(super) fn open(&self, join: &Join) -> Option<TicketRecord> {
        let key = self.issuer.as_ref()?.key();
        key.open(join.ticket.as_ref()?, &self.room, join.proof.peer_id(), self.time)
    }

    /// Whether an earlier run of the server issued this, so that the room may have been another one
    /// then.
    pub(super) fn is_of_earlier_run(&self, record: &TicketRecord) -> bool {
        self.issuer.as_ref().is_some_and(|issuer| issuer.key().server_run() != record.server_run)
    }

    /// A right that begins now; `None` if the room issues no tickets. That of the lower lineage began
    /// earlier: 32 bits of seconds since 1970, 8 of those that began in that second, 24 at random.
    pub(super) fn begin_right(&mut self) -> Option<OwnerRight> {
        let random = self.issuer.as_mut()?.draw() & 0xFF_FFFF;
        let ((second, number), unix) = (self.begun, self.unix_time());
        self.begun = (unix, if second == unix { number.saturating_add(1) } else { 0 });
        let lineage = unix.min(u32::MAX.into()) << 32 | u64::from(self.begun.1) << 24 | random;
        let begun_in = self.issuer.as_ref().map(|issuer| issuer.key().server_run());
        Some(OwnerRight { epoch: Epoch { lineage, number: 1 }, begun_in })
    }

    /// A number that tells what began here from what began elsewhere; 0 if the room issues no
    /// tickets.
    pub(super) fn draw(&mut self) -> u64 {
        self.issuer.as_mut().map_or(0, TicketIssuer::draw)
    }

    /// Members whose tickets are to be renewed.
    pub(super) fn due(&self) -> Vec<ConnectionId> {
        let unix = self.unix_time();
        let due = self
            .issued_at
            .iter()
            .filter(|(_, at)| unix >= at.saturating_add(RENEWAL) || **at > unix);
        due.map(|(connection, _)| *connection).collect()
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.issued_at.remove(&connection);
        self.since.remove(&connection);
    }
}
