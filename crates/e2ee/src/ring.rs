//! All keys of one member of one room.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use voicemesh_wire::identity::InstallationSecret;
use voicemesh_wire::{PeerId, SessionId};

use crate::authentication::{self, Authority, FINGERPRINT_BYTES, FINGERPRINT_TAG_BYTES, Run};
use crate::checks::{Check, runs};
use crate::derive::{Key, ROOM_STATE, derive, length};
use crate::error::{AnnouncementError, FingerprintError, OpenError, PackageError, SealError};
use crate::identity::{Identity, IdentityKey};
use crate::member::{Member, MemberChange, PackageEffect};
use crate::own_keys::{OwnKeys, Owner};
use crate::pair::{End, Pair};
use crate::random::{Random, Seed};
use crate::rekey::RekeySchedule;
use crate::remote_keys::Sealed;
use crate::room_key::RoomKey;
use crate::safety_code::SafetyCode;
use crate::suite::{Label, Opener, Sealer};

/// Runs that are over and are still told from new ones, of all peers. 24 bytes each.
const OLD_RUNS: usize = 65_536;
/// The same of one peer: its next run is refused, and no one else's.
const OLD_RUNS_OF_PEER: usize = 256;
/// A ring's number before what it seals for the room, in bytes.
const RUN_BYTES: usize = 16;

/// What a ring is made from.
pub struct Configuration<'a> {
    /// The installation's secret, and what its peer id was made from (PROTOCOL.md, section 2).
    pub secret: &'a InstallationSecret,
    /// The server's origin, as in the proof.
    pub origin: &'a str,
    /// The [key](voicemesh_wire::RoomName::key) of the room's name.
    pub room: &'a str,
    /// As in the proof.
    pub instance: u32,
    /// The own peer id.
    pub peer: PeerId,
    /// The key in the room's link; without one, a server that lies can be noticed by comparing the
    /// safety code only.
    pub room_key: Option<RoomKey>,
    /// Other members at a time, at most.
    pub max_members: usize,
}

/// A payload that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opened {
    /// The sender's epoch; 0 for what was sealed for a pair.
    pub epoch: u32,
    /// The payload's number, which tells later state from earlier: with [`Opened::epoch`] it only
    /// grows.
    pub counter: u64,
}

/// The keys of one member of one room, and of the others as far as it knows them.
pub struct KeyRing {
    peer: PeerId,
    room: String,
    room_key: Option<RoomKey>,
    max_members: usize,
    identity: Identity,
    run: Run,
    random: Random,
    own: OwnKeys,
    room_state: Option<Sealer>,
    schedule: RekeySchedule,
    members: BTreeMap<PeerId, Member>,
    /// Those who left, with their counters, for when they come back in the same run; the oldest
    /// first.
    departed: VecDeque<(PeerId, Member)>,
    /// Marks of runs that must not come back, since what was used of their counters is forgotten.
    old_runs: BTreeSet<(PeerId, u64)>,
    /// Where frames are sealed and opened.
    scratch: Vec<u8>,
}

impl KeyRing {
    /// A ring for one run of one member. The identity key is the same in every run, everything else
    /// is drawn anew.
    pub fn new(configuration: Configuration<'_>, seed: Seed) -> Self {
        let Configuration { secret, origin, room, instance, peer, room_key, max_members } =
            configuration;
        let mut random = Random::new(&seed);
        let mut run = Run([0; RUN_BYTES]);
        random.fill(&mut run.0);
        let own = OwnKeys::new(&mut random, Owner { room, peer });
        let room_state =
            room_key.as_ref().map(|key| Sealer::new(&room_state_key(key, room, run), 0));
        Self {
            peer,
            room: room.to_owned(),
            room_key,
            max_members,
            identity: Identity::derive(secret, origin, room, instance),
            run,
            random,
            own,
            room_state,
            schedule: RekeySchedule::default(),
            members: BTreeMap::new(),
            departed: VecDeque::new(),
            old_runs: BTreeSet::new(),
            scratch: Vec::new(),
        }
    }

    /// What every other member needs to know of this one in a session: 82 bytes, 114 with a room
    /// key. Public.
    pub fn announcement(&self, session: SessionId) -> Vec<u8> {
        let Self { peer, room, room_key, identity, run, .. } = self;
        authentication::announce(
            *peer,
            &identity.public,
            *run,
            authority(room_key.as_ref(), room, session).as_ref(),
        )
    }

    /// A member's announcement, whenever it comes. With a room key, members who do not have it are
    /// refused here.
    ///
    /// The member is sent keys as soon as its pair secret is computed ([`KeyRing::agree_next`]).
    /// Another run of a member is accepted [20 times](crate::RESTARTS_AT_ONCE) at once, and once in
    /// [`RESTART_INTERVAL`](crate::RESTART_INTERVAL).
    ///
    /// # Errors
    /// The announcement was refused, and what is known of the peer stays.
    pub fn set_member(
        &mut self,
        now: Duration,
        session: SessionId,
        peer: PeerId,
        announcement: &[u8],
    ) -> Result<MemberChange, AnnouncementError> {
        if peer == self.peer {
            return Err(AnnouncementError::OwnId);
        }
        let authority = authority(self.room_key.as_ref(), &self.room, session);
        let announcement = authentication::read(peer, announcement, authority.as_ref())?;
        let departed = self.departed.iter().position(|(former, _)| *former == peer);
        let known = self.members.get(&peer).or_else(|| departed.map(|at| &self.departed[at].1));
        if let Some(known) = known
            && known.announcement.identity != announcement.identity
            && runs(Check::Identity)
        {
            return Err(AnnouncementError::IdentityChanged);
        }
        let is_known_run = known.is_some_and(|known| {
            known.announcement.run == announcement.run
                && known.announcement.identity == announcement.identity
        });
        let is_here = self.members.contains_key(&peer);
        if is_known_run && is_here {
            return Ok(MemberChange::Unchanged);
        }
        let is_too_soon = known.is_some_and(|known| !known.may_restart(now));
        if !is_here && self.members.len() >= self.max_members {
            return Err(AnnouncementError::RoomFull);
        }
        let departed = departed.and_then(|at| self.departed.remove(at)).map(|(_, member)| member);
        if is_known_run && let Some(mut member) = departed {
            (member.is_owed, member.given) = (true, None);
            self.members.insert(peer, member);
            self.member_joined(now, peer);
            return Ok(MemberChange::Joined);
        }
        let member = Member::new(announcement);
        if runs(Check::Run) && self.old_runs.contains(&(peer, member.end(peer).mark())) {
            self.departed.extend(departed.map(|former| (peer, former)));
            return Err(AnnouncementError::OldRun);
        }
        if is_too_soon {
            self.departed.extend(departed.map(|former| (peer, former)));
            return Err(AnnouncementError::TooSoon);
        }
        if self.old_runs.len() >= OLD_RUNS || self.old_runs_of(peer).count() >= OLD_RUNS_OF_PEER {
            self.departed.extend(departed.map(|former| (peer, former)));
            return Err(AnnouncementError::TooManyRuns);
        }
        let former = self.members.remove(&peer).or(departed);
        if let Some(former) = &former {
            self.old_runs.insert((peer, former.end(peer).mark()));
        }
        let restarts_until = former.map_or(Duration::ZERO, |former| former.restarted(now));
        self.members.insert(peer, Member { restarts_until, ..member });
        self.member_joined(now, peer);
        Ok(if is_here { MemberChange::Restarted } else { MemberChange::Joined })
    }

    /// A member is gone: it left, was removed, or was given up (PROTOCOL.md, section 10). Not for
    /// one that is lost while a link to it lives, or is replaced. New keys follow, at once or
    /// together with those of other departures.
    pub fn remove_member(&mut self, now: Duration, peer: PeerId) {
        let Some(member) = self.members.remove(&peer) else { return };
        self.departed.push_back((peer, member));
        if self.departed.len() > self.max_members
            && let Some((peer, former)) = self.departed.pop_front()
        {
            // One mark for each member that was admitted: `set_member` admits no more when there
            // are too many.
            self.old_runs.insert((peer, former.end(peer).mark()));
        }
        self.schedule.request(now);
        self.update(now);
    }

    /// Everyone else whose announcement was accepted.
    pub fn members(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.members.keys().copied()
    }

    /// A member's identity key, for "known since".
    pub fn identity(&self, peer: PeerId) -> Option<IdentityKey> {
        self.members.get(&peer).map(|member| member.announcement.identity)
    }

    /// Whether an announcement of this peer was accepted, now or at any time before.
    pub fn was_accepted(&self, peer: PeerId) -> bool {
        self.members.contains_key(&peer)
            || self.departed.iter().any(|(former, _)| *former == peer)
            || self.old_runs_of(peer).next().is_some()
    }

    /// The own identity key.
    pub fn own_identity(&self) -> IdentityKey {
        self.identity.public
    }

    /// Whether the room's key authenticates members.
    pub fn has_room_key(&self) -> bool {
        self.room_key.is_some()
    }

    /// Whether a member's sender keys have come, so that it can be heard.
    pub fn has_keys_of(&self, peer: PeerId) -> bool {
        self.members.get(&peer).is_some_and(|member| member.keys.has_keys())
    }

    /// Computes the pair secret with a member now, if it is not yet: those who speak go first.
    /// False if there was nothing to do. About 0.1 ms.
    pub fn agree(&mut self, peer: PeerId) -> bool {
        let own = End { peer: self.peer, identity: &self.identity.public, run: self.run };
        let Some(member) = self.members.get_mut(&peer).filter(|member| member.pair.is_none())
        else {
            return false;
        };
        let (room_key, room) = (self.room_key.as_ref(), self.room.as_str());
        member.pair = Some(Box::new(Pair::agree(
            &self.identity,
            room_key,
            room,
            own,
            peer,
            &member.announcement,
        )));
        true
    }

    /// The same with any member. False if all are done.
    pub fn agree_next(&mut self) -> bool {
        let next =
            self.members.iter().find(|(_, member)| member.pair.is_none()).map(|(peer, _)| *peer);
        next.is_some_and(|peer| self.agree(peer))
    }

    /// The next package of sender keys to send, and to whom. Each is sent reliably, by link or
    /// relay, and again only as the same bytes.
    pub fn poll_package(&mut self) -> Option<(PeerId, Vec<u8>)> {
        for (peer, member) in &mut self.members {
            if member.awaits_rekey {
                continue;
            }
            let Some(pair) = &mut member.pair else { continue };
            let before_switch = self.own.before_switch();
            let in_use =
                before_switch.filter(|_| std::mem::take(&mut member.is_owed_before_switch));
            let newest = || std::mem::take(&mut member.is_owed).then(|| self.own.newest());
            let Some(key) = in_use.or_else(newest) else { continue };
            member.given.get_or_insert(key.epoch);
            // A pair key that is used up after 2⁶⁴ packages gives none.
            if let Ok(package) = pair.seal_package(&key.write()) {
                return Some((*peer, package));
            }
        }
        None
    }

    /// Whether a member was given the keys with which this one seals now.
    pub fn was_given_keys(&self, peer: PeerId) -> bool {
        let given = self.members.get(&peer).and_then(|member| member.given);
        given.is_some_and(|epoch| epoch <= self.own.epoch())
    }

    /// The member did not get the keys, or asks for them: another package follows.
    pub fn send_keys_again(&mut self, peer: PeerId) {
        let own = &self.own;
        if let Some(member) = self.members.get_mut(&peer) {
            member.is_owed = true;
            member.is_owed_before_switch |= own
                .before_switch()
                .is_some_and(|key| member.given.is_some_and(|first| first <= key.epoch));
        }
    }

    /// A package of keys from a member.
    ///
    /// # Errors
    /// The package was refused and has no effect.
    pub fn accept_package(
        &mut self,
        now: Duration,
        from: PeerId,
        package: &[u8],
    ) -> Result<PackageEffect, PackageError> {
        self.agree(from);
        let Self { members, room, .. } = self;
        let member = members.get_mut(&from).ok_or(OpenError::UnknownMember)?;
        let pair = member.pair.as_mut().ok_or(OpenError::UnknownMember)?;
        let opened = pair.open_package(package)?;
        member.keys.install(now, &opened, Owner { room, peer: from })
    }

    /// Seals for everyone in the room, and appends the result to `output`: at most 22 bytes more
    /// than `plain` in the first 2³² payloads of an epoch. `associated` is not part of it; the
    /// receiver must have the same.
    ///
    /// # Errors
    /// The key is used up.
    pub fn seal(
        &mut self,
        now: Duration,
        label: Label,
        associated: &[u8],
        plain: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        self.own.switch(now);
        self.own.seal(label, associated, plain, &mut self.scratch, output)
    }

    /// Opens what a member sealed for everyone, and appends the plain text to `output`.
    ///
    /// # Errors
    /// Nothing was appended, and nothing has changed. After [`OpenError::UnknownKey`] ask the
    /// member for its keys.
    pub fn open(
        &mut self,
        now: Duration,
        from: PeerId,
        label: Label,
        associated: &[u8],
        sealed: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<Opened, OpenError> {
        let Self { members, room, scratch, .. } = self;
        let member = members.get_mut(&from).ok_or(OpenError::UnknownMember)?;
        let (sealed, owner) = (Sealed { associated, bytes: sealed }, Owner { room, peer: from });
        let (epoch, counter) = member.keys.open(now, label, &sealed, owner, scratch, output)?;
        Ok(Opened { epoch, counter })
    }

    /// Seals for one member alone.
    ///
    /// # Errors
    /// The pair has no secret yet.
    pub fn seal_to(
        &mut self,
        to: PeerId,
        label: Label,
        associated: &[u8],
        plain: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        self.agree(to);
        let pair = self
            .members
            .get_mut(&to)
            .and_then(|member| member.pair.as_mut())
            .ok_or(SealError::UnknownMember)?;
        pair.seal(label, associated, plain, &mut self.scratch, output)
    }

    /// Opens what a member sealed for this one alone.
    ///
    /// # Errors
    /// Nothing was appended, and nothing has changed.
    pub fn open_from(
        &mut self,
        from: PeerId,
        label: Label,
        associated: &[u8],
        sealed: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<Opened, OpenError> {
        self.agree(from);
        let member = self.members.get_mut(&from).ok_or(OpenError::UnknownMember)?;
        let pair = member.pair.as_mut().ok_or(OpenError::UnknownMember)?;
        let counter = pair.open(label, associated, sealed, &mut self.scratch, output)?;
        Ok(Opened { epoch: 0, counter })
    }

    /// Seals what the room publishes: for everyone who has the link, whenever they come.
    ///
    /// # Errors
    /// The room has no key.
    pub fn seal_room_state(
        &mut self,
        associated: &[u8],
        plain: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let sealer = self.room_state.as_mut().ok_or(SealError::NoRoomKey)?;
        output.extend_from_slice(&self.run.0);
        sealer.seal(associated, plain, &mut self.scratch, output)
    }

    /// Opens what the room publishes. A server can bring back an earlier value: nothing here tells
    /// it from the present one.
    ///
    /// # Errors
    /// Nothing was appended.
    pub fn open_room_state(
        &mut self,
        associated: &[u8],
        sealed: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let room_key = self.room_key.as_ref().ok_or(OpenError::NoRoomKey)?;
        let (run, sealed) = sealed.split_first_chunk::<RUN_BYTES>().ok_or(OpenError::Malformed)?;
        let mut opener = Opener::new(&room_state_key(room_key, &self.room, Run(*run)), 0);
        opener.open(associated, sealed, &mut self.scratch, output).map(drop)
    }

    /// Authenticates the SHA-256 fingerprint of the own DTLS certificate for one attempt to open a
    /// link.
    ///
    /// # Errors
    /// The room has no key.
    pub fn tag_fingerprint(
        &self,
        session: SessionId,
        to: PeerId,
        attempt: u32,
        fingerprint: &[u8; FINGERPRINT_BYTES],
    ) -> Result<[u8; FINGERPRINT_TAG_BYTES], FingerprintError> {
        let authority = authority(self.room_key.as_ref(), &self.room, session)
            .ok_or(FingerprintError::NoRoomKey)?;
        Ok(authority.tag_fingerprint(self.peer, to, attempt, fingerprint))
    }

    /// Whether a fingerprint is a member's, for this peer and this attempt.
    ///
    /// # Errors
    /// It is not, or the room has no key.
    pub fn verify_fingerprint(
        &self,
        session: SessionId,
        from: PeerId,
        attempt: u32,
        fingerprint: &[u8; FINGERPRINT_BYTES],
        tag: &[u8],
    ) -> Result<(), FingerprintError> {
        let authority = authority(self.room_key.as_ref(), &self.room, session)
            .ok_or(FingerprintError::NoRoomKey)?;
        authority.verify_fingerprint(from, self.peer, attempt, fingerprint, tag)
    }

    /// What the members compare. A millisecond of hashing: compute it when it is shown or when
    /// members change.
    pub fn safety_code(&self) -> SafetyCode {
        let others = self.members.values().map(|member| member.announcement.identity);
        let identities = others.chain([self.identity.public]).collect();
        SafetyCode::of(&self.room, self.room_key.as_ref(), identities)
    }

    /// Runs timers: new keys after departures, their use, and the end of former ones. Take the
    /// packages after it.
    pub fn update(&mut self, now: Duration) {
        self.own.switch(now);
        if self.schedule.take_due(now) && runs(Check::Rekey) {
            self.rekey(now);
        }
        for member in self.members.values_mut() {
            member.keys.purge(now);
        }
        for (_, member) in &mut self.departed {
            member.keys.purge(now);
        }
    }

    /// When [`KeyRing::update`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let departed = self.departed.iter().map(|(_, member)| member);
        let ends = self.members.values().chain(departed).filter_map(|member| member.keys.ends_at());
        ends.chain(self.schedule.due_at()).chain(self.own.switches_at()).min()
    }

    /// The newest keys of this member must not open what was sealed before it came. If the epoch
    /// has no further step, the member is sent the keys of the next one.
    fn member_joined(&mut self, now: Duration, peer: PeerId) {
        self.own.switch(now);
        let admission = self.own.member_joined(Owner { room: &self.room, peer: self.peer });
        if let Some(member) = self.members.get_mut(&peer) {
            member.awaits_rekey = !admission.takes_newest;
            member.is_owed_before_switch = admission.before_switch;
        }
        if !admission.takes_newest {
            self.schedule.request(now);
            self.update(now);
        }
    }

    fn old_runs_of(&self, peer: PeerId) -> impl Iterator<Item = u64> + '_ {
        self.old_runs.range((peer, 0)..=(peer, u64::MAX)).map(|(_, mark)| *mark)
    }

    fn rekey(&mut self, now: Duration) {
        let was_in_use = self.own.before_switch().is_none();
        self.own.rekey(now, &mut self.random, Owner { room: &self.room, peer: self.peer });
        for member in self.members.values_mut() {
            // What it has not been sent yet is used until the new keys are.
            member.is_owed_before_switch |= was_in_use && member.is_owed && !member.awaits_rekey;
            (member.is_owed, member.awaits_rekey) = (true, false);
        }
    }
}

#[cfg(test)]
impl KeyRing {
    pub(crate) fn own_epoch(&self) -> u32 {
        self.own.epoch()
    }

    pub(crate) fn newest_epoch(&self) -> u32 {
        self.own.newest().epoch
    }

    /// Members, departed members and marks of runs that are over.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.members.len(), self.departed.len(), self.old_runs.len())
    }

    pub(crate) fn schedule_rekey_for_test(&mut self, now: Duration) {
        self.rekey(now);
    }
}

/// Public facts only.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("peer", &self.peer)
            .field("identity", &self.identity.public)
            .field("has_room_key", &self.has_room_key())
            .field("epoch", &self.own.epoch())
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

fn authority<'a>(
    room_key: Option<&'a RoomKey>,
    room: &'a str,
    session: SessionId,
) -> Option<Authority<'a>> {
    room_key.map(|room_key| Authority { room_key, room, session })
}

/// The key of what one ring seals for the room. Members share the room's key, so each ring derives
/// another key from it: otherwise two of them would use the same counters.
pub(crate) fn room_state_key(room_key: &RoomKey, room: &str, run: Run) -> Key {
    derive(room_key.bytes(), ROOM_STATE, &[&length(room), room.as_bytes(), &run.0])
}
