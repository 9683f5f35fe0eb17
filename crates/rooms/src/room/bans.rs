//! Who is kept out of a room, and until when.

use std::time::Duration;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::ErrorCode;

use crate::address::AddressTag;
use crate::refusal::Refusal;
use crate::ticket::OwnerRight;

/// Bans of a room at a time; the one that ends first is forgotten.
const BANS: usize = 256;

/// The bans of one room. They hold until they end, also while the room is empty.
#[derive(Clone, Debug, Default)]
pub struct Bans(Vec<Ban>);

#[derive(Clone, Debug)]
struct Ban {
    of: Banned,
    /// What the member was called.
    name: String,
    until: Duration,
    /// The owner's right that decided it.
    by: Option<OwnerRight>,
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

impl Ban {
    fn is_ended_by(&self, right: OwnerRight) -> bool {
        self.by.is_some_and(|by| right.counts_over(by))
    }
}

impl Bans {
    /// Whether a ban keeps this peer out. It binds the subject of the access token if there is one,
    /// else the peer id and its address; members with tickets who share the address are let in.
    /// `takes` is the right that the peer's ticket is about to take: what was decided by rights that
    /// count less ends with that.
    pub(super) fn check(
        &self,
        now: Duration,
        who: &Banned,
        takes: Option<OwnerRight>,
    ) -> Result<(), Refusal> {
        let ends = |ban: &Ban| takes.is_some_and(|right| ban.is_ended_by(right));
        let holds = |ban: &&Ban| now < ban.until && ban.of.covers(who) && !ends(ban);
        match self.0.iter().filter(holds).map(|ban| ban.until - now).max() {
            Some(left) => Err(Refusal::retry_after(ErrorCode::Banned, left)),
            None => Ok(()),
        }
    }

    pub(super) fn add(
        &mut self,
        now: Duration,
        name: String,
        of: Banned,
        left: Duration,
        by: Option<OwnerRight>,
    ) {
        self.0.retain(|ban| now < ban.until && ban.of.peer != of.peer);
        if self.0.len() >= BANS {
            self.drop_first_to_end();
        }
        self.0.push(Ban { of, name, until: now + left, by });
    }

    /// The holder of this right has taken the room back.
    pub(super) fn end_those_of_lesser_rights(&mut self, right: OwnerRight) {
        self.0.retain(|ban| !ban.is_ended_by(right));
    }

    /// The bans that hold now; the one that ends first comes first.
    pub fn list(&self, now: Duration) -> Vec<BanInfo> {
        let info = |ban: &Ban| BanInfo {
            peer: ban.of.peer,
            name: ban.name.clone(),
            subject: ban.of.subject.clone(),
            binds_address: ban.of.subject.is_none() && ban.of.address.is_some(),
            left: ban.until - now,
        };
        let mut bans: Vec<_> = self.0.iter().filter(|ban| now < ban.until).map(info).collect();
        bans.sort_unstable_by_key(|ban| (ban.left, ban.peer));
        bans
    }

    /// Ends a ban. False if there is none.
    pub fn end(&mut self, now: Duration, peer: PeerId) -> bool {
        let holds = self.0.iter().any(|ban| ban.of.peer == peer && now < ban.until);
        self.0.retain(|ban| ban.of.peer != peer);
        holds
    }

    /// Drops those that have ended.
    pub fn tidy(&mut self, now: Duration) {
        self.0.retain(|ban| now < ban.until);
    }

    /// How many there are, with those that have ended but were not dropped yet.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the first of them ends.
    pub fn first_end(&self) -> Option<Duration> {
        self.0.iter().map(|ban| ban.until).min()
    }

    /// Drops the one that ends first.
    pub fn drop_first_to_end(&mut self) {
        let first =
            self.0.iter().enumerate().min_by_key(|(_, ban)| ban.until).map(|(index, _)| index);
        if let Some(index) = first {
            self.0.swap_remove(index);
        }
    }
}

#[cfg(test)]
impl Bans {
    /// So many that end one second after the other, the first at `first`.
    pub(crate) fn of_test(count: u32, first: Duration) -> Self {
        let ban = |number: u32| {
            let peer = PeerId(uuid::Uuid::from_u128(number.into()));
            let of = Banned { peer, subject: None, address: None };
            Ban {
                of,
                name: String::new(),
                until: first + Duration::from_secs(number.into()),
                by: None,
            }
        };
        Self((0..count).map(ban).collect())
    }
}
