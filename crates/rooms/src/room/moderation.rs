//! Who may moderate a room, and what was decided about its members.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_wire::signaling::{ErrorCode, LeaveReason, OwnerRightState, PeerInfo};
use voicemesh_wire::{PeerId, Permissions};

use super::RoomRules;
use super::bans::{Banned, Bans};
use super::departed::Departed;
use super::members::Members;
use super::moves::Moves;
use super::peer_records::{PeerRecords, Record as _};
use crate::address::AddressTag;
use crate::grant::Grant;
use crate::output::ConnectionId;
use crate::refusal::Refusal;
use crate::ticket::{OwnerRight, TicketRecord};

/// For so long the right of a member who was lost waits in an empty room.
const RIGHT_WAITS: Duration = Duration::from_secs(600);

/// What a room knows of moderation.
#[derive(Debug, Default)]
pub(super) struct Moderation {
    owner: Option<Owner>,
    /// Gets the right when the server has run long enough.
    pending: Option<PeerId>,
    /// Members of before the server's start are back, and the holder of the right is not.
    waits_for_holder: bool,
    muted: PeerRecords<()>,
    /// The groups in which members are held.
    held: PeerRecords<Vec<String>>,
    pub(super) bans: Bans,
    addresses: BTreeMap<ConnectionId, AddressTag>,
    pub(super) departed: Departed,
    pub(super) moves: Moves,
    is_locked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    peer: PeerId,
    right: OwnerRight,
    /// Its ticket was issued by an earlier run of the server.
    is_since_before: bool,
    lost_at: Option<Duration>,
}

impl Moderation {
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

    pub(super) fn address_of(&self, connection: ConnectionId) -> Option<AddressTag> {
        self.addresses.get(&connection).copied()
    }

    /// What a member may do here that may do `base` by itself.
    pub(super) fn permissions(&self, peer: PeerId, base: Permissions) -> Permissions {
        let moderate = base.moderate || self.is_owner(peer);
        Permissions { moderate, speak: base.speak && self.muted.get(peer).is_none(), ..base }
    }

    /// Who has the owner's right.
    pub(super) fn owner(&self) -> Option<PeerId> {
        self.owner.map(|owner| owner.peer)
    }

    /// Whether it has a right that is older than this run of the server.
    pub(super) fn is_owner_since_before(&self, peer: PeerId) -> bool {
        self.owner.is_some_and(|owner| owner.peer == peer && owner.is_since_before)
    }

    pub(super) fn is_owner(&self, peer: PeerId) -> bool {
        self.owner.is_some_and(|owner| owner.peer == peer)
    }

    /// What a ticket says of a member's right.
    pub(super) fn right_of(&self, peer: PeerId) -> Option<OwnerRight> {
        self.owner.filter(|owner| owner.peer == peer).map(|owner| owner.right)
    }

    /// The right as a joiner sees it. Where access tokens say who may moderate, there is none that
    /// anyone waits for.
    pub(super) fn right(&self, rules: &RoomRules) -> OwnerRightState {
        if rules.tokens.is_some() {
            return OwnerRightState::Held;
        }
        if self.waits_for_holder {
            return OwnerRightState::Held;
        }
        match (self.owner, self.pending) {
            (Some(_), _) => OwnerRightState::Held,
            (None, Some(_)) => OwnerRightState::Later,
            (None, None) => OwnerRightState::None,
        }
    }

    /// A member has come into the empty room.
    pub(super) fn created(
        &mut self,
        now: Duration,
        peer: PeerId,
        rules: &RoomRules,
        right: OwnerRight,
    ) {
        if self.owner.is_some_and(|owner| owner.lost_at.is_none_or(|at| now >= at + RIGHT_WAITS)) {
            self.forget_decisions();
        }
        self.waits_for_holder = false;
        if self.owner.is_some() {
            return;
        }
        if now >= rules.owner_after {
            self.give(peer, right);
        } else if rules.tickets_outlast_restarts {
            self.pending = Some(peer);
        }
    }

    /// The member who gets the right now that those with tickets have had time to come back.
    pub(super) fn due(&mut self, now: Duration, rules: &RoomRules) -> Option<PeerId> {
        if now >= rules.owner_after {
            self.pending.take().filter(|_| self.owner.is_none())
        } else {
            None
        }
    }

    /// The room is one of before the server's start, and its right is with a member of then,
    /// present or not: the first newcomer gets none.
    pub(super) fn was_there_before(&mut self) {
        self.pending = None;
        self.waits_for_holder = self.owner.is_none();
    }

    pub(super) fn give(&mut self, peer: PeerId, right: OwnerRight) {
        (self.pending, self.waits_for_holder) = (None, false);
        self.owner = Some(Owner { peer, right, is_since_before: false, lost_at: None });
    }

    /// The right passes on. False if `from` does not have it.
    pub(super) fn hand_on(&mut self, from: PeerId, to: PeerId) -> bool {
        let Some(owner) = self.owner.as_mut().filter(|owner| owner.peer == from) else {
            return false;
        };
        owner.peer = to;
        owner.right.epoch = owner.right.epoch.next();
        true
    }

    /// Whether a ticket with this right takes it from the member who has it now. Of two tickets of
    /// one right the higher epoch counts. Of different rights one takes another only after a restart
    /// ([`OwnerRight::counts_over`]); within one run of the server a right begins only after the
    /// former one has ended.
    pub(super) fn is_taken_by(&self, right: OwnerRight, is_earlier_run: bool) -> bool {
        match self.owner {
            None => true,
            Some(Owner { right: owner, .. }) if owner.epoch.lineage == right.epoch.lineage => {
                right.epoch.number > owner.epoch.number
            }
            Some(owner) => is_earlier_run && right.counts_over(owner.right),
        }
    }

    /// Whether this is the right of the member who has it now, or was handed on by it.
    pub(super) fn is_of_right(&self, right: OwnerRight) -> bool {
        self.owner.is_some_and(|owner| owner.right.epoch.lineage == right.epoch.lineage)
    }

    /// Whether a member's ticket with this right is that of the right's holder, or takes it.
    pub(super) fn has_or_takes(
        &self,
        peer: PeerId,
        right: OwnerRight,
        is_earlier_run: bool,
    ) -> bool {
        self.right_of(peer) == Some(right) || self.is_taken_by(right, is_earlier_run)
    }

    /// A member comes with a valid ticket. Gives the member who had the right until now, if the
    /// ticket takes it.
    pub(super) fn bring(&mut self, ticket: &TicketRecord, is_earlier: bool) -> Option<PeerId> {
        let right = ticket.owner.filter(|right| self.is_taken_by(*right, is_earlier))?;
        let former = self.owner.map(|owner| owner.peer);
        if former.is_some() {
            self.forget_decisions();
        }
        if is_earlier {
            self.bans.end_those_of_lesser_rights(right);
        }
        (self.pending, self.waits_for_holder) = (None, false);
        self.owner =
            Some(Owner { peer: ticket.peer, right, is_since_before: is_earlier, lost_at: None });
        former
    }

    pub(super) fn entered(&mut self, now: Duration, peer: PeerId, run: u32) {
        self.departed.entered(peer);
        self.moves.entered(now, peer, run);
        if let Some(owner) = self.owner.as_mut().filter(|owner| owner.peer == peer) {
            owner.lost_at = None;
        }
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.addresses.remove(&connection);
    }

    pub(super) fn left(
        &mut self,
        now: Duration,
        connection: ConnectionId,
        member: &PeerInfo,
        grant: Option<Grant>,
        reason: LeaveReason,
    ) {
        let peer = member.peer;
        let address = self.addresses.remove(&connection);
        if reason == LeaveReason::Lost {
            self.moves.lost(now, peer);
        } else {
            self.moves.forget(peer);
        }
        if reason != LeaveReason::Replaced {
            let base = grant.as_ref().map_or_else(Permissions::default, |grant| grant.permissions);
            let of = Banned { peer, subject: grant.and_then(|grant| grant.subject), address };
            self.departed.left(now, member, of, base, reason);
        }
        if self.pending == Some(peer) && reason != LeaveReason::Replaced {
            self.pending = None;
        }
        if let Some(owner) = self.owner.as_mut().filter(|owner| owner.peer == peer) {
            owner.lost_at = (reason == LeaveReason::Lost).then_some(now);
        }
    }

    /// The last member has left: what was decided ends, bans excepted, unless the right waits for
    /// the one who was lost.
    pub(super) fn emptied(&mut self) {
        if self.owner.is_none_or(|owner| owner.lost_at.is_none()) {
            self.forget_decisions();
        }
    }

    /// For so long an empty room must be remembered.
    pub(super) fn waits_until(&self) -> Option<Duration> {
        self.owner.and_then(|owner| owner.lost_at).map(|at| at + RIGHT_WAITS)
    }

    /// Who has left is no decision: the next moderator can ban them as well.
    fn forget_decisions(&mut self) {
        self.departed.forget_decisions();
        self.moves.forget_all();
        let Self { addresses, bans, departed, moves, .. } = std::mem::take(self);
        *self = Self { addresses, bans, departed, moves, ..Self::default() };
    }

    /// Without room for one more, the oldest mute of a peer is forgotten that has been away for so
    /// long that no link to it lives.
    pub(super) fn mute(
        &mut self,
        now: Duration,
        peer: PeerId,
        members: &Members,
    ) -> Result<(), Refusal> {
        let is_away = |of| is_away(now, of, members, &self.departed);
        if !self.muted.has_room(peer, 0, |of, ()| is_away(of)) {
            return Err(Refusal::of(ErrorCode::TooManyMessages));
        }
        self.muted.insert(peer, (), |of, ()| is_away(of));
        Ok(())
    }

    pub(super) fn unmute(&mut self, peer: PeerId) {
        self.muted.remove(peer);
    }

    /// The groups in which a member is held.
    pub(super) fn held_in(&self, peer: PeerId) -> &[String] {
        self.held.get(peer).map_or(&[], Vec::as_slice)
    }

    /// Whether there is room for one more decision of this kind. What is forgotten for it is as
    /// with [`mute`](Self::mute).
    pub(super) fn may_hold(
        &self,
        now: Duration,
        peer: PeerId,
        groups: &Vec<String>,
        members: &Members,
    ) -> Result<(), Refusal> {
        let has_room = || {
            self.held
                .has_room(peer, groups.bytes(), |of, _| is_away(now, of, members, &self.departed))
        };
        if groups.is_empty() || has_room() {
            Ok(())
        } else {
            Err(Refusal::of(ErrorCode::TooManyMessages))
        }
    }

    /// Holds a member in groups, or nowhere.
    pub(super) fn hold(
        &mut self,
        now: Duration,
        peer: PeerId,
        groups: Vec<String>,
        members: &Members,
    ) {
        if groups.is_empty() {
            self.held.remove(peer);
        } else {
            self.held.insert(peer, groups, |of, _| is_away(now, of, members, &self.departed));
        }
    }

    pub(super) fn ban(
        &mut self,
        now: Duration,
        connection: ConnectionId,
        member: &PeerInfo,
        subject: Option<String>,
        seconds: u32,
    ) {
        let of = Banned {
            peer: member.peer,
            subject,
            address: self.addresses.get(&connection).copied(),
        };
        self.add_ban(now, member.name.clone(), of, seconds);
    }

    /// False if no such member has left lately.
    pub(super) fn ban_departed(&mut self, now: Duration, peer: PeerId, seconds: u32) -> bool {
        let Some(departed) = self.departed.get(now, peer).cloned() else { return false };
        self.add_ban(now, departed.name, departed.of, seconds);
        true
    }

    fn add_ban(&mut self, now: Duration, name: String, of: Banned, seconds: u32) {
        let by = self.owner.map(|owner| owner.right);
        self.bans.add(now, name, of, Duration::from_secs(u64::from(seconds)), by);
    }
}

/// Whether a peer is not here, and has not left lately.
fn is_away(now: Duration, peer: PeerId, members: &Members, departed: &Departed) -> bool {
    members.connection_of(peer).is_none() && departed.get(now, peer).is_none()
}
