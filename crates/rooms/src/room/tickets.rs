//! The tickets of a room's members: issued, renewed and read again.

use std::collections::BTreeMap;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{Join, Ticket};

use crate::grant::Grant;
use crate::output::ConnectionId;
use crate::ticket::{OwnerRight, PasswordRecord, RENEWAL, TicketIssuer, TicketRecord};

/// One room's tickets. At most one entry per member.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    issuer: Option<TicketIssuer>,
    room: String,
    /// Seconds since 1970, as the room was given it last.
    unix: u64,
    issued_at: BTreeMap<ConnectionId, u64>,
    /// In which second rights began last, and how many.
    begun: (u64, u8),
}

/// What a ticket says of its holder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    pub password: Option<PasswordRecord>,
    pub owner: Option<OwnerRight>,
    pub grant: Option<Grant>,
}

impl Tickets {
    pub(super) fn set_issuer(&mut self, issuer: TicketIssuer, room: String) {
        self.issuer = Some(issuer);
        self.room = room;
    }

    pub(super) fn set_unix_time(&mut self, seconds: u64) {
        self.unix = seconds;
    }

    pub(super) fn unix_time(&self) -> u64 {
        self.unix
    }

    /// A new ticket; `None` if the room issues none.
    pub(super) fn issue(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        claims: Claims,
    ) -> Option<Ticket> {
        let issuer = self.issuer.as_mut()?;
        self.issued_at.insert(connection, self.unix);
        let Claims { password, owner, grant } = claims;
        let server_run = issuer.key().server_run();
        let room = self.room.clone();
        issuer.seal(&TicketRecord {
            room,
            peer,
            issued_at: self.unix,
            server_run,
            password,
            owner,
            grant,
        })
    }

    /// What the ticket of a join says, if it is valid.
    pub(super) fn open(&self, join: &Join) -> Option<TicketRecord> {
        let key = self.issuer.as_ref()?.key();
        key.open(join.ticket.as_ref()?, &self.room, join.proof.peer_id(), self.unix)
    }

    /// Whether an earlier run of the server issued this, so that the room may have been another one
    /// then.
    pub(super) fn is_of_earlier_run(&self, record: &TicketRecord) -> bool {
        self.issuer.as_ref().is_some_and(|issuer| issuer.key().server_run() != record.server_run)
    }

    /// The lineage of a right that begins now; `None` if the room issues no tickets. The lower one
    /// began earlier: 32 bits of seconds since 1970, 8 of those that began in that second, 24 at
    /// random.
    pub(super) fn begin_right(&mut self) -> Option<u64> {
        let random = self.issuer.as_mut()?.draw() & 0xFF_FFFF;
        let (second, number) = self.begun;
        self.begun = (self.unix, if second == self.unix { number.saturating_add(1) } else { 0 });
        Some(self.unix.min(u32::MAX.into()) << 32 | u64::from(self.begun.1) << 24 | random)
    }

    /// A number that tells what began here from what began elsewhere; 0 if the room issues no
    /// tickets.
    pub(super) fn draw(&mut self) -> u64 {
        self.issuer.as_mut().map_or(0, TicketIssuer::draw)
    }

    /// Members whose tickets are to be renewed.
    pub(super) fn due(&self) -> Vec<ConnectionId> {
        let due = self.issued_at.iter().filter(|(_, at)| self.unix >= at.saturating_add(RENEWAL));
        due.map(|(connection, _)| *connection).collect()
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.issued_at.remove(&connection);
    }
}
