//! Which password is hashed next, and which join must come back later.
//!
//! A hash is slow, so each address has only so many a minute, for all its peers. Nothing tells a
//! newcomer who knows the password from one who guesses under ever new peer ids; what a guesser
//! cannot have is both many ids and time. So a peer that was asked to come back, and does, is
//! served before peers that were never seen: in turns the one that was asked first, and the one
//! that came last. Of peers that were never seen the newest goes first: what waits is a few joins,
//! never a backlog. A wrong password costs its peer id a wait.
//!
//! A password that a moderator sets is hashed too. Guessers do not delay it, and it does not delay
//! joins: of one address's hashes, every fourth at most is for a set while joins wait. Who sets
//! passwords again and again waits longer each time.
//!
//! Pure: given the time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use voicemesh_common::{Rate, TokenBucket};
use voicemesh_wire::PeerId;

use crate::password_backoff::PasswordBackoff;

/// Hashes of one address: at most 30 in any minute.
pub const ADDRESS_HASHES: Rate = Rate { burst: 10.0, per_second: 1.0 / 3.0 };
/// Hashes of one room by connections that are not distinguished by their address.
pub const SHARED_HASHES: Rate = Rate { burst: 64.0, per_second: 0.5 };

/// Joins of one address that wait although it has no hash left.
const QUEUE_SLOTS: usize = 16;
/// Passwords that moderators of one address set and that wait.
const SET_SLOTS: usize = 4;
/// While joins of an address wait, so many of them are served between two sets.
const JOINS_BETWEEN_SETS: u32 = 3;
/// Passwords that a moderator may set without a wait between them.
const QUICK_SETS: u32 = 4;
/// What waits in all.
const WAITING: usize = 256;
/// How long a join waits, …
const HOLD: Duration = Duration::from_secs(1);
/// … if its peer has come back, or sets a password, longer than it takes until the address has a
/// hash again.
const HOLD_RETURNED: Duration = Duration::from_secs(5);
/// When a join that was not served comes back.
const COME_BACK: Duration = Duration::from_millis(300);
/// What comes back sooner came before its time, …
const TOO_SOON: Duration = Duration::from_millis(200);
/// … and what comes later is new.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Peers remembered that were asked to come back. The oldest is forgotten first.
const REMEMBERED_PEERS: usize = 8192;
/// Addresses of which is known how many hashes they had. When there are more, the one that has
/// rested longest is forgotten.
const ADDRESSES: usize = 8192;

/// A join that waits for a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashId(u64);

/// What becomes of a join whose password must be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It waits until [`HashQueue::next`] or [`HashQueue::next_refused`] names it.
    Waits(HashId),
    /// It may come back after this time.
    Refused(Duration),
}

/// All joins that wait, by whatever tells addresses apart.
#[derive(Debug)]
pub struct HashQueue<K> {
    waiting: Vec<Waiting<K>>,
    refused: VecDeque<(HashId, Duration)>,
    buckets: BTreeMap<K, HashBucket>,
    deferrals: BTreeMap<(K, PeerId), Deferral>,
    deferred_in_order: VecDeque<(Duration, K, PeerId)>,
    backoff: PasswordBackoff<(K, PeerId)>,
    set_backoff: PasswordBackoff<(K, PeerId)>,
    asked: u64,
    /// Whether the next of those who came back is the one that was asked first.
    longest_next: bool,
}

/// What a password is hashed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HashPurpose {
    Join,
    /// A moderator sets it.
    Set,
}

/// When a peer was asked to come back, at first and the last time.
#[derive(Clone, Copy, Debug)]
struct Deferral {
    first: Duration,
    last: Duration,
}

#[derive(Debug)]
struct Waiting<K> {
    id: HashId,
    key: K,
    peer: PeerId,
    purpose: HashPurpose,
    since: Duration,
    /// When it was first asked to come back, if it has come back.
    returned: Option<Duration>,
}

#[derive(Debug)]
struct HashBucket {
    bucket: TokenBucket,
    rate: Rate,
    used_at: Duration,
    /// Hashes for joins since the last one for a set.
    joins_since_set: u32,
}

impl HashBucket {
    /// Whose turn is next, if both wait.
    fn next_purpose(&self) -> HashPurpose {
        if self.joins_since_set < JOINS_BETWEEN_SETS { HashPurpose::Join } else { HashPurpose::Set }
    }
}

impl<K> Default for HashQueue<K> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            refused: VecDeque::new(),
            buckets: BTreeMap::new(),
            deferrals: BTreeMap::new(),
            deferred_in_order: VecDeque::new(),
            backoff: PasswordBackoff::default(),
            set_backoff: PasswordBackoff::after(QUICK_SETS),
            asked: 0,
            longest_next: true,
        }
    }
}

impl<K: Ord + Clone> HashQueue<K> {
    /// A join asks for a hash. `rate` is what its address may have.
    pub fn ask(&mut self, now: Duration, key: &K, peer: PeerId, rate: Rate) -> Asked {
        if let Some(wait) = self.backoff.wait(now, &(key.clone(), peer)) {
            return Asked::Refused(wait);
        }
        self.put_in(now, key, peer, rate, HashPurpose::Join)
    }

    /// A moderator asks for a hash of the password that it sets.
    pub fn ask_to_set(&mut self, now: Duration, key: &K, peer: PeerId, rate: Rate) -> Asked {
        if let Some(wait) = self.set_backoff.wait(now, &(key.clone(), peer)) {
            return Asked::Refused(wait);
        }
        self.put_in(now, key, peer, rate, HashPurpose::Set)
    }

    fn put_in(
        &mut self,
        now: Duration,
        key: &K,
        peer: PeerId,
        rate: Rate,
        purpose: HashPurpose,
    ) -> Asked {
        let hashes_left = self.bucket(now, key, rate).bucket.tokens_at(now, rate);
        let of_address = || self.waiting.iter().filter(|waiting| waiting.key == *key);
        let (waiting, same) =
            (of_address().count(), of_address().filter(|waiting| waiting.purpose == purpose));
        // An address that has filled its part loses one of its waiting hashes, not another address.
        let fills_its_part = same.count()
            >= match purpose {
                HashPurpose::Join => QUEUE_SLOTS + hashes_left as usize,
                HashPurpose::Set => SET_SLOTS,
            };
        if !fills_its_part && self.waiting.len() >= WAITING && !self.make_room(now, waiting) {
            self.defer(now, key, peer);
            return Asked::Refused(COME_BACK);
        }
        self.asked += 1;
        let id = HashId(self.asked);
        let returned = self.returned(now, key, peer);
        self.waiting.push(Waiting { id, key: key.clone(), peer, purpose, since: now, returned });
        if fills_its_part {
            self.refuse_one_of(now, key, purpose);
        }
        Asked::Waits(id)
    }

    /// The join whose password is to be hashed now; it waits no longer.
    pub fn next(&mut self, now: Duration) -> Option<HashId> {
        let ready = |queue: &Self, waiting: &Waiting<K>| -> Option<(Duration, bool)> {
            let left = queue.buckets.get(&waiting.key)?;
            let has_hash = left.bucket.tokens_at(now, left.rate) >= 1.0;
            has_hash.then_some((left.used_at, left.next_purpose() == waiting.purpose))
        };
        let candidates = self.waiting.iter().enumerate();
        let best = candidates.filter_map(|(index, waiting)| {
            // Addresses in turns; of one address joins or sets in theirs, of these those who came
            // back, then the newest.
            let (used_at, has_turn) = ready(self, waiting)?;
            let deferred_first = waiting.returned.filter(|_| self.longest_next).map(Reverse);
            let has_returned = waiting.returned.is_some();
            Some(((Reverse(used_at), has_turn, has_returned, deferred_first, waiting.id), index))
        });
        let index = best.max_by_key(|(rank, _)| *rank)?.1;
        let Waiting { id, key, peer, purpose, returned, .. } = self.waiting.swap_remove(index);
        if returned.is_some() {
            self.longest_next = !self.longest_next;
        }
        if let Some(left) = self.buckets.get_mut(&key) {
            left.bucket.take(now, left.rate, 1.0);
            left.used_at = now;
            left.joins_since_set = match purpose {
                HashPurpose::Join => left.joins_since_set.saturating_add(1),
                HashPurpose::Set => 0,
            };
        }
        if purpose == HashPurpose::Set {
            self.set_backoff.count(now, (key, peer));
        }
        Some(id)
    }

    /// A join that waits no longer, and when it may come back.
    pub fn next_refused(&mut self, now: Duration) -> Option<(HashId, Duration)> {
        if self.refused.is_empty() {
            let late = self
                .waiting
                .iter()
                .position(|waiting| self.ends_at(now, waiting).is_some_and(|at| now >= at));
            if let Some(index) = late {
                self.refuse(now, index);
            }
        }
        self.refused.pop_front()
    }

    /// When [`next`](Self::next) or [`next_refused`](Self::next_refused) has something, if nothing
    /// else happens.
    pub fn next_at(&self, now: Duration) -> Option<Duration> {
        let times = self.waiting.iter().filter_map(|waiting| {
            let left = self.buckets.get(&waiting.key)?;
            let filled_at = now.saturating_add(left.bucket.time_until(now, left.rate, 1.0));
            Some(self.ends_at(now, waiting).map_or(filled_at, |at| at.min(filled_at)))
        });
        times.min()
    }

    /// A join that waits has gone.
    pub fn withdraw(&mut self, id: HashId) {
        self.waiting.retain(|waiting| waiting.id != id);
    }

    /// This peer named a wrong password, and waits so long from now.
    pub fn wrong(&mut self, now: Duration, key: &K, peer: PeerId) -> Duration {
        self.backoff.count(now, (key.clone(), peer))
    }

    /// When a join is sent away to come back later: not while its address has a hash for it.
    fn ends_at(&self, now: Duration, waiting: &Waiting<K>) -> Option<Duration> {
        let has_hash = self
            .buckets
            .get(&waiting.key)
            .is_some_and(|left| left.bucket.tokens_at(now, left.rate) >= 1.0);
        let holds_longer = waiting.returned.is_some() || waiting.purpose == HashPurpose::Set;
        let hold = if holds_longer { HOLD_RETURNED } else { HOLD };
        (!has_hash).then_some(waiting.since + hold)
    }

    fn bucket(&mut self, now: Duration, key: &K, rate: Rate) -> &HashBucket {
        if self.buckets.len() >= ADDRESSES && !self.buckets.contains_key(key) {
            let rested = self
                .buckets
                .iter()
                .min_by_key(|(_, left)| left.used_at)
                .map(|(key, _)| key.clone());
            rested.and_then(|key| self.buckets.remove(&key));
        }
        let fresh = || HashBucket {
            bucket: TokenBucket::full(now, rate),
            rate,
            used_at: Duration::ZERO,
            joins_since_set: 0,
        };
        self.buckets.entry(key.clone()).or_insert_with(fresh)
    }

    /// When all that may wait do, one goes of the address with the most: few addresses keep no
    /// other out. False if none has more than `own`.
    fn make_room(&mut self, now: Duration, own: usize) -> bool {
        let mut counts: BTreeMap<&K, usize> = BTreeMap::new();
        for waiting in &self.waiting {
            *counts.entry(&waiting.key).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let of_most = self
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, waiting)| counts.get(&waiting.key) == Some(&most));
        let goes = of_most
            .min_by_key(|(_, waiting)| (waiting.returned.is_some(), waiting.id))
            .map(|(index, _)| index);
        match goes.filter(|_| most > own) {
            Some(index) => {
                self.refuse(now, index);
                true
            }
            None => false,
        }
    }

    /// Of one address the oldest that has not come back, or else the oldest.
    fn refuse_one_of(&mut self, now: Duration, key: &K, purpose: HashPurpose) {
        let own = self
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, waiting)| waiting.key == *key && waiting.purpose == purpose);
        let first = own
            .min_by_key(|(_, waiting)| (waiting.returned.is_some(), waiting.id))
            .map(|(index, _)| index);
        if let Some(index) = first {
            self.refuse(now, index);
        }
    }

    fn refuse(&mut self, now: Duration, index: usize) {
        let Waiting { id, key, peer, .. } = self.waiting.swap_remove(index);
        self.defer(now, &key, peer);
        self.refused.push_back((id, COME_BACK));
    }

    fn defer(&mut self, now: Duration, key: &K, peer: PeerId) {
        let deferral =
            self.deferrals.entry((key.clone(), peer)).or_insert(Deferral { first: now, last: now });
        if now > deferral.last + REMEMBERED {
            deferral.first = now;
        }
        deferral.last = now;
        self.deferred_in_order.push_back((now, key.clone(), peer));
        while self.deferred_in_order.len() > REMEMBERED_PEERS
            || self.deferred_in_order.front().is_some_and(|(at, ..)| now > *at + REMEMBERED)
        {
            let Some((at, key, peer)) = self.deferred_in_order.pop_front() else { return };
            let of_peer = (key, peer);
            if self.deferrals.get(&of_peer).is_some_and(|deferral| deferral.last == at) {
                self.deferrals.remove(&of_peer);
            }
        }
    }

    fn returned(&self, now: Duration, key: &K, peer: PeerId) -> Option<Duration> {
        let deferral = self.deferrals.get(&(key.clone(), peer))?;
        (now >= deferral.last + TOO_SOON && now <= deferral.last + REMEMBERED)
            .then_some(deferral.first)
    }
}

#[cfg(test)]
pub(crate) mod tests;
