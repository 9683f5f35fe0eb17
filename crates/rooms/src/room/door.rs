//! Who passes the lock of a room: members of this room who were not put out since.

use std::collections::VecDeque;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::Join;

use super::moderation::Moderation;
use super::tickets::Tickets;
use crate::ticket::TicketRecord;

/// The most that are remembered; the one that was put out first is forgotten.
const PUT_OUT: usize = 256;

/// What is remembered for a room that is locked, or may be.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// Since when the room has gone on, in seconds since 1970: with members, or with a right to
    /// moderate that waits for its holder.
    begun_at: u64,
    /// Of the password's decisions, when the last member left.
    lineage: Option<u64>,
    /// Who was put out and not let in again; the latest last.
    put_out: VecDeque<PeerId>,
}

impl Door {
    /// The room begins anew.
    pub(super) fn begins(&mut self, unix: u64) {
        self.begun_at = unix;
        self.lineage = None;
    }

    /// The last member has left.
    pub(super) fn emptied(&mut self, lineage: Option<u64>) {
        self.lineage = lineage;
    }

    pub(super) fn put_out(&mut self, peer: PeerId) {
        self.entered(peer);
        if self.put_out.len() >= PUT_OUT {
            self.put_out.pop_front();
        }
        self.put_out.push_back(peer);
    }

    /// A member has come: if it was put out, it was let in again.
    pub(super) fn entered(&mut self, peer: PeerId) {
        self.put_out.retain(|other| *other != peer);
    }

    /// Whether a join passes the lock: by a ticket of this room, or by a right to moderate it that
    /// ends what the present one has decided.
    pub(super) fn passes(
        &self,
        join: &Join,
        tickets: &Tickets,
        moderation: &Moderation,
        lineage: Option<u64>,
    ) -> bool {
        let Some(ticket) = tickets.open(join) else { return false };
        let is_earlier = tickets.is_of_earlier_run(&ticket);
        let moderates = ticket
            .owner
            .is_some_and(|right| moderation.has_or_takes(ticket.peer, right, is_earlier));
        moderates || self.admits(&ticket, is_earlier, lineage)
    }

    /// Whether the room is the one of the ticket, and its holder is not one who was put out. It is if
    /// they share the lineage of the password's decisions, or if the ticket was issued since the
    /// room began. Seconds are too coarse to tell what was first within one: such a ticket does not
    /// count.
    fn admits(&self, ticket: &TicketRecord, is_earlier_run: bool, lineage: Option<u64>) -> bool {
        let of_password = ticket.password.map(|password| password.epoch.lineage);
        let is_of_lineage = of_password.is_some() && of_password == lineage.or(self.lineage);
        let is_since = !is_earlier_run && ticket.issued_at > self.begun_at;
        (is_of_lineage || is_since) && !self.put_out.contains(&ticket.peer)
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.put_out.len()
    }
}
