//! Who gets a place in a full room: members whose place was taken while they were away, and who may
//! moderate.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{Join, LeaveReason};

use super::members::Members;
use super::moderation::Moderation;
use super::tickets::Tickets;
use crate::output::ConnectionId;

/// So long the place of a member is kept that was lost, and that of all members after a restart of
/// the server.
const KEPT: Duration = Duration::from_secs(300);
/// At most so many; the one that was lost first is forgotten.
const LOST: usize = 64;
/// Members of one address of which none has to give way.
const OF_ONE_ADDRESS: usize = 8;

/// The places of members who were here before.
#[derive(Debug)]
pub(super) struct Seats {
    /// The latest last.
    lost: VecDeque<Lost>,
    /// Members who came with tickets of an earlier run of the server.
    were_there_before: BTreeSet<PeerId>,
    /// The server has been started lately.
    is_after_start: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lost {
    at: Duration,
    peer: PeerId,
    /// How many had arrived by then: later ones may have its place.
    arrivals: u64,
}

impl Seats {
    /// `now` counts from the server's start.
    pub(super) fn new(now: Duration) -> Self {
        let is_after_start = now < KEPT;
        Self { lost: VecDeque::new(), were_there_before: BTreeSet::new(), is_after_start }
    }

    pub(super) fn tidy(&mut self, now: Duration) {
        self.is_after_start &= now < KEPT;
        self.lost.retain(|lost| now < lost.at + KEPT);
    }

    pub(super) fn entered(&mut self, peer: PeerId, was_there_before: bool) {
        self.lost.retain(|lost| lost.peer != peer);
        if was_there_before {
            self.were_there_before.insert(peer);
        }
    }

    pub(super) fn left(&mut self, now: Duration, peer: PeerId, reason: LeaveReason, arrivals: u64) {
        self.were_there_before.remove(&peer);
        self.lost.retain(|lost| lost.peer != peer);
        if reason == LeaveReason::Lost {
            if self.lost.len() >= LOST {
                self.lost.pop_front();
            }
            self.lost.push_back(Lost { at: now, peer, arrivals });
        }
    }
}

impl Seats {
    /// The member of a full room that gives way to a join, if there is one. Members who were lost
    /// take the place of one that has come since, members of before a restart that of a newcomer,
    /// and who may moderate that of any other: of the address with the most members, the one that
    /// came last. Where all addresses have few members, none gives way.
    pub(super) fn gives_way_to(
        &self,
        join: &Join,
        tickets: &Tickets,
        moderation: &Moderation,
        members: &Members,
    ) -> Option<ConnectionId> {
        let peer = join.proof.peer_id();
        let ticket = tickets.open(join)?;
        let is_earlier = tickets.is_of_earlier_run(&ticket);
        let may_moderate =
            ticket.owner.is_some_and(|right| moderation.has_or_takes(peer, right, is_earlier));
        let is_earlier = self.is_after_start && is_earlier;
        let lost = self.lost.iter().find(|lost| lost.peer == peer);
        let mut of_addresses = BTreeMap::new();
        for (connection, _) in members.iter() {
            *of_addresses.entry(moderation.address_of(connection)).or_insert(0_usize) += 1;
        }
        let crowds = members.iter().filter_map(|(connection, member)| {
            let crowd = of_addresses.get(&moderation.address_of(connection)).copied()?;
            let gives_way = may_moderate
                || lost.is_some_and(|lost| member.order > lost.arrivals)
                || is_earlier && !self.were_there_before.contains(&member.peer);
            let is_possible = crowd > OF_ONE_ADDRESS
                && gives_way
                && member.peer != peer
                && !member.permissions.moderate;
            is_possible.then_some(((crowd, member.order), connection))
        });
        crowds.max().map(|(_, connection)| connection)
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.lost.len()
    }
}
