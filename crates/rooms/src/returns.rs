//! Joins of members who come back to their rooms from one address.
//!
//! A few are each member's own, and the others are taken from what all of the address share. Members
//! who have joins for themselves have places in one of two tables. In one, rooms have even parts: a
//! person who has been in many rooms, or under many ids in one, takes no places of another room's
//! members. The other is for the earliest members, of all rooms: ids that came later take none of
//! their places, however many there are.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_common::{Rate, TokenBucket};
use voicemesh_wire::PeerId;

use crate::places::gives_way;
use crate::ticket::MemberSince;

/// Joins of one returning member that do not draw on what all share.
const RETURNS: Rate = Rate { burst: 4.0, per_second: 0.1 };
/// Members of one address who have joins for themselves at a time. Further ones draw on what all
/// share.
const OF_ROOMS: usize = 128;
const OF_EARLIEST: usize = 64;
/// Who takes a place from another draws what that one has used on what all share, which may get this
/// far below nothing. Until that has come back no place becomes free, so that members who take
/// places from each other in a row join no more often than others.
const MOST_OWED: f64 = 240.0;
/// Bytes of the answers to joins of one address: those of newcomers, and those of members who come
/// back. A join is taken while any are left, and charged when it is known how much its answer was.
pub(crate) const ANSWERS: Rate = Rate::new(16.0 * 1024.0 * 1024.0, 1024.0 * 1024.0);
/// The same, of a member for itself: the answers of rooms in which members publish little pass as
/// they are asked for.
const OWN_ANSWERS: Rate = Rate::new(64.0 * 1024.0, 16.0 * 1024.0);

/// How many joins are left, and how many bytes of answers to them.
#[derive(Debug)]
pub(crate) struct Joins {
    pub(crate) count: TokenBucket,
    pub(crate) bytes: TokenBucket,
}

impl Joins {
    pub(crate) fn full(now: Duration, joins: Rate, answers: Rate) -> Self {
        Self { count: TokenBucket::full(now, joins), bytes: TokenBucket::full(now, answers) }
    }

    pub(crate) fn take(&mut self, now: Duration, joins: Rate, answers: Rate) -> bool {
        self.bytes.has_any(now, answers) && self.count.take(now, joins, 1.0)
    }
}

/// Who comes back, and to which room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Returning<'a> {
    pub peer: PeerId,
    /// The key of its name.
    pub room: &'a str,
    pub since: MemberSince,
}

/// Whose joins one was taken from, and whose answers are to be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinPayer {
    Newcomers,
    Returns,
    Member(PeerId),
}

/// What is left to members of one address who come back.
#[derive(Debug)]
pub(crate) struct Returns {
    shared: Joins,
    /// A member is in one of these at most.
    of_rooms: BTreeMap<PeerId, Member>,
    of_earliest: BTreeMap<PeerId, Member>,
}

/// What a member has for itself.
#[derive(Debug)]
struct Member {
    /// The key of its room. A peer id is one room's.
    room: Box<str>,
    since: MemberSince,
    joins: Joins,
}

impl Member {
    fn is_rested(&self, now: Duration) -> bool {
        self.joins.count.tokens_at(now, RETURNS) >= RETURNS.burst
            && self.joins.bytes.tokens_at(now, OWN_ANSWERS) >= OWN_ANSWERS.burst
    }
}

impl Returns {
    pub(crate) fn full(now: Duration, shared: Rate) -> Self {
        Self {
            shared: Joins::full(now, shared, ANSWERS),
            of_rooms: BTreeMap::new(),
            of_earliest: BTreeMap::new(),
        }
    }

    pub(crate) fn take(
        &mut self,
        now: Duration,
        shared: Rate,
        member: Returning<'_>,
    ) -> Option<JoinPayer> {
        self.shared.count.fill(now, shared);
        if self.shared.count.tokens() >= 0.0 {
            self.of_rooms.retain(|_, own| !own.is_rested(now));
            self.of_earliest.retain(|_, own| !own.is_rested(now));
        }
        let Returning { peer, room, since } = member;
        if self.own(peer).is_none()
            && let Some(places) = self.make_place(now, &member)
        {
            let joins = Joins::full(now, RETURNS, OWN_ANSWERS);
            places.insert(peer, Member { room: room.into(), since, joins });
        }
        if self.own(peer).is_some_and(|own| own.joins.take(now, RETURNS, OWN_ANSWERS)) {
            return Some(JoinPayer::Member(peer));
        }
        self.shared.take(now, shared, ANSWERS).then_some(JoinPayer::Returns)
    }

    /// Charges the bytes of the answer to a join: to the member's own, or to what all share.
    pub(crate) fn charge(&mut self, member: Option<PeerId>, bytes: f64) {
        match member {
            None => self.shared.bytes.charge(bytes),
            Some(member) => {
                if let Some(own) = self.own(member) {
                    own.joins.bytes.charge(bytes);
                }
            }
        }
    }

    fn own(&mut self, peer: PeerId) -> Option<&mut Member> {
        self.of_rooms.get_mut(&peer).or_else(|| self.of_earliest.get_mut(&peer))
    }

    /// Where one more may have joins for itself.
    fn make_place(
        &mut self,
        now: Duration,
        member: &Returning<'_>,
    ) -> Option<&mut BTreeMap<PeerId, Member>> {
        let Returning { room, since, .. } = *member;
        if self.of_rooms.len() < OF_ROOMS {
            return Some(&mut self.of_rooms);
        }
        if self.of_earliest.len() < OF_EARLIEST {
            return Some(&mut self.of_earliest);
        }
        let of_rooms = self.of_rooms.iter().map(|(peer, of)| (*peer, &*of.room, of.since));
        let of_earliest = self.of_earliest.iter().map(|(peer, of)| (*peer, (), of.since));
        let (places, gives) = if let Some(peer) = gives_way(of_rooms, &room, since) {
            (&mut self.of_rooms, peer)
        } else {
            let peer = gives_way(of_earliest, &(), since)?;
            (&mut self.of_earliest, peer)
        };
        let given = places.remove(&gives)?;
        if self.shared.count.tokens() > -MOST_OWED {
            self.shared.count.charge(RETURNS.burst - given.joins.count.tokens_at(now, RETURNS));
        }
        Some(places)
    }

    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.of_rooms.len() + self.of_earliest.len()
    }
}
