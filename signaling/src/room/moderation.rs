//! Who may moderate a room, and what was decided about its members.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use voicemesh_wire::signaling::{ErrorCode, LeaveReason, OwnerRightState, PeerInfo};
use voicemesh_wire::{PeerId, Permissions};

use super::RoomRules;
use crate::outbox::ConnectionId;
use crate::refusal::Refusal;
use crate::ticket::{Epoch, OwnerRight, TicketRecord};

/// For so long the right of a member who was lost waits in an empty room, and for so long after a start a ticket takes the
/// right back from a member who got it since.
const RIGHT_WAITS: Duration = Duration::from_secs(600);
/// Members who are muted at a time.
const MUTED: usize = 256;
/// Bans at a time; the one that ends first is forgotten.
const BANS: usize = 256;

/// Tells addresses apart, as far as bans do: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressTag(pub u128);

/// What a room knows of moderation.
#[derive(Debug, Default)]
pub(super) struct Moderation {
    owner: Option<Owner>,
    /// Gets the right when the server has run long enough.
    pending: Option<PeerId>,
    muted: BTreeSet<PeerId>,
    bans: VecDeque<Ban>,
    addresses: BTreeMap<ConnectionId, AddressTag>,
    is_locked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    peer: PeerId,
    epoch: Epoch,
    /// When the ticket was issued, by an earlier run of the server, that brought the right.
    restored_from: Option<u64>,
    lost_at: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Ban {
    of: Banned,
    /// What the member was called.
    name: String,
    until: Duration,
}

/// A ban as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanInfo {
    /// The peer id that was banned.
    pub peer: PeerId,
    /// What the member was called.
    pub name: String,
    /// The subject of its access token, which the ban binds in place of the address.
    pub subject: Option<String>,
    /// Whether it binds the address, too.
    pub binds_address: bool,
    /// The time that is left of it.
    pub left: Duration,
}

/// What a ban binds, and what a joiner is held against it.
#[derive(Clone, Debug)]
pub(super) struct Banned {
    pub(super) peer: PeerId,
    pub(super) subject: Option<String>,
    pub(super) address: Option<AddressTag>,
}

impl Banned {
    fn covers(&self, who: &Self) -> bool {
        self.peer == who.peer
            || (self.subject.is_some() && self.subject == who.subject)
            || (self.subject.is_none() && self.address.is_some() && self.address == who.address)
    }
}

impl Moderation {
    /// Whether a ban keeps this peer out. It binds the subject of the access token if there is one, else the peer id and its
    /// address; members with tickets who share the address are let in.
    pub(super) fn check_ban(&self, now: Duration, who: &Banned) -> Result<(), Refusal> {
        let holds = |ban: &&Ban| now < ban.until && ban.of.covers(who);
        match self.bans.iter().filter(holds).map(|ban| ban.until - now).max() {
            Some(left) => Err(Refusal::after_guess(ErrorCode::Banned, left)),
            None => Ok(()),
        }
    }

    pub(super) fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// True if that changes anything.
    pub(super) fn set_locked(&mut self, is_locked: bool) -> bool {
        std::mem::replace(&mut self.is_locked, is_locked) != is_locked
    }

    pub(super) fn set_address(&mut self, connection: ConnectionId, address: AddressTag) {
        self.addresses.insert(connection, address);
    }

    /// What a member may do here that may do `base` by itself.
    pub(super) fn permissions(&self, peer: PeerId, base: Permissions) -> Permissions {
        let moderate = base.moderate || self.is_owner(peer);
        Permissions { moderate, speak: base.speak && !self.muted.contains(&peer), ..base }
    }

    pub(super) fn is_owner(&self, peer: PeerId) -> bool {
        self.owner.is_some_and(|owner| owner.peer == peer)
    }

    /// What a ticket says of a member's right.
    pub(super) fn right_of(&self, peer: PeerId) -> Option<OwnerRight> {
        self.owner.filter(|owner| owner.peer == peer).map(|owner| OwnerRight { epoch: owner.epoch })
    }

    /// The right as a joiner sees it.
    pub(super) fn right(&self) -> OwnerRightState {
        match (self.owner, self.pending) {
            (Some(_), _) => OwnerRightState::Held,
            (None, Some(_)) => OwnerRightState::Later,
            (None, None) => OwnerRightState::None,
        }
    }

    /// A member has come into the empty room.
    pub(super) fn created(&mut self, now: Duration, peer: PeerId, rules: &RoomRules, lineage: u64) {
        if self.owner.is_some_and(|owner| owner.lost_at.is_none_or(|at| now >= at + RIGHT_WAITS)) {
            self.forget_decisions();
        }
        if self.owner.is_some() {
            return;
        }
        if now >= rules.owner_after {
            self.give(peer, lineage);
        } else if rules.tickets_outlast_restarts {
            self.pending = Some(peer);
        }
    }

    /// The member who gets the right now that those with tickets have had time to come back.
    pub(super) fn due(&mut self, now: Duration, rules: &RoomRules) -> Option<PeerId> {
        if now >= rules.owner_after { self.pending.take().filter(|_| self.owner.is_none()) } else { None }
    }

    pub(super) fn give(&mut self, peer: PeerId, lineage: u64) {
        self.pending = None;
        let epoch = Epoch { lineage, number: 1 };
        self.owner = Some(Owner { peer, epoch, restored_from: None, lost_at: None });
    }

    /// The right passes on. False if `from` does not have it.
    pub(super) fn hand_on(&mut self, from: PeerId, to: PeerId) -> bool {
        let Some(owner) = self.owner.as_mut().filter(|owner| owner.peer == from) else { return false };
        *owner = Owner { peer: to, epoch: owner.epoch.next(), ..*owner };
        true
    }

    /// A member comes with a valid ticket. Gives the member who had the right until now, if the ticket takes it.
    ///
    /// Of two tickets of one right the higher epoch counts. Where rights began apart, a ticket of an earlier run of the server
    /// counts more than a right that was given in the first minutes of this one, and of two such tickets the one that was issued
    /// last.
    pub(super) fn bring(&mut self, now: Duration, ticket: &TicketRecord, is_earlier_run: bool) -> Option<PeerId> {
        let right = ticket.owner?;
        let takes = match self.owner {
            None => is_earlier_run,
            Some(owner) if owner.epoch.lineage == right.epoch.lineage => right.epoch.number > owner.epoch.number,
            Some(Owner { restored_from: Some(at), .. }) => is_earlier_run && ticket.issued_at > at,
            Some(_) => is_earlier_run && now < RIGHT_WAITS,
        };
        if !takes {
            return None;
        }
        let former = self.owner.map(|owner| owner.peer);
        if former.is_some() {
            self.forget_decisions();
        }
        self.pending = None;
        self.owner =
            Some(Owner { peer: ticket.peer, epoch: right.epoch, restored_from: Some(ticket.issued_at), lost_at: None });
        former
    }

    pub(super) fn entered(&mut self, peer: PeerId) {
        if let Some(owner) = self.owner.as_mut().filter(|owner| owner.peer == peer) {
            owner.lost_at = None;
        }
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.addresses.remove(&connection);
    }

    pub(super) fn left(&mut self, now: Duration, connection: ConnectionId, peer: PeerId, reason: LeaveReason) {
        self.addresses.remove(&connection);
        if self.pending == Some(peer) && reason != LeaveReason::Replaced {
            self.pending = None;
        }
        if let Some(owner) = self.owner.as_mut().filter(|owner| owner.peer == peer) {
            owner.lost_at = (reason == LeaveReason::Lost).then_some(now);
        }
    }

    /// The last member has left: what was decided ends, unless the right waits for the one who was lost.
    pub(super) fn emptied(&mut self) {
        if self.owner.is_none_or(|owner| owner.lost_at.is_none()) {
            self.forget_decisions();
        }
    }

    /// For so long an empty room must be remembered.
    pub(super) fn waits_until(&self) -> Option<Duration> {
        self.owner.and_then(|owner| owner.lost_at).map(|at| at + RIGHT_WAITS)
    }

    fn forget_decisions(&mut self) {
        let addresses = std::mem::take(&mut self.addresses);
        *self = Self { addresses, ..Self::default() };
    }

    pub(super) fn mute(&mut self, peer: PeerId) -> Result<(), Refusal> {
        if self.muted.len() >= MUTED && !self.muted.contains(&peer) {
            return Err(Refusal::of(ErrorCode::TooManyMessages));
        }
        self.muted.insert(peer);
        Ok(())
    }

    pub(super) fn unmute(&mut self, peer: PeerId) {
        self.muted.remove(&peer);
    }

    pub(super) fn ban(
        &mut self,
        now: Duration,
        connection: ConnectionId,
        member: &PeerInfo,
        subject: Option<String>,
        seconds: u32,
    ) {
        let peer = member.peer;
        self.bans.retain(|ban| now < ban.until && ban.of.peer != peer);
        if self.bans.len() >= BANS {
            let first = self.bans.iter().enumerate().min_by_key(|(_, ban)| ban.until).map(|(index, _)| index);
            first.and_then(|index| self.bans.remove(index));
        }
        let address = self.addresses.get(&connection).copied();
        let of = Banned { peer, subject, address };
        let name = member.name.clone();
        self.bans.push_back(Ban { of, name, until: now + Duration::from_secs(u64::from(seconds)) });
    }

    pub(super) fn bans(&self, now: Duration) -> Vec<BanInfo> {
        let info = |ban: &Ban| BanInfo {
            peer: ban.of.peer,
            name: ban.name.clone(),
            subject: ban.of.subject.clone(),
            binds_address: ban.of.subject.is_none() && ban.of.address.is_some(),
            left: ban.until - now,
        };
        let mut bans: Vec<_> = self.bans.iter().filter(|ban| now < ban.until).map(info).collect();
        bans.sort_unstable_by_key(|ban| (ban.left, ban.peer));
        bans
    }

    pub(super) fn unban(&mut self, peer: PeerId) {
        self.bans.retain(|ban| ban.of.peer != peer);
    }
}
