//! Which password is hashed next, and which join must come back later.
//!
//! A hash is slow, so each address has only so many a minute, for all its peers. Nothing tells a
//! newcomer who knows the password from one who guesses under ever new peer ids; what a guesser
//! cannot have is both many ids and time. So a peer that was asked to come back, and does, is
//! served before peers that were never seen: in turns the one that was asked first, and the one
//! that came last. Of peers that were never seen the newest goes first: what waits is a few joins,
//! never a backlog. A wrong password costs its peer id a wait.
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
/// Joins that wait in all.
const WAITING: usize = 256;
/// How long a join waits, …
const HOLD: Duration = Duration::from_secs(1);
/// … if its peer has come back, longer than it takes until the address has a hash again.
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
    asked: u64,
    /// Whether the next of those who came back is the one that was asked first.
    longest_next: bool,
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
    since: Duration,
    /// When it was first asked to come back, if it has come back.
    returned: Option<Duration>,
}

#[derive(Debug)]
struct HashBucket {
    bucket: TokenBucket,
    rate: Rate,
    used_at: Duration,
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
        let returned = self.returned(now, key, peer);
        self.put_in(now, key, peer, rate, returned)
    }

    /// A member asks for a hash, who need not guess: as a join that has come back.
    pub fn ask_as_member(&mut self, now: Duration, key: &K, peer: PeerId, rate: Rate) -> Asked {
        let returned = self.returned(now, key, peer).unwrap_or(now);
        self.put_in(now, key, peer, rate, Some(returned))
    }

    fn put_in(
        &mut self,
        now: Duration,
        key: &K,
        peer: PeerId,
        rate: Rate,
        returned: Option<Duration>,
    ) -> Asked {
        let hashes_left = self.bucket(now, key, rate).bucket.tokens_at(now, rate);
        let waiting = self.waiting.iter().filter(|waiting| waiting.key == *key).count();
        // An address that has filled its part loses one of its waiting hashes, not another address.
        let fills_its_part = waiting >= QUEUE_SLOTS + hashes_left as usize;
        if !fills_its_part && self.waiting.len() >= WAITING && !self.make_room(now, waiting) {
            self.defer(now, key, peer);
            return Asked::Refused(COME_BACK);
        }
        self.asked += 1;
        let id = HashId(self.asked);
        self.waiting.push(Waiting { id, key: key.clone(), peer, since: now, returned });
        if fills_its_part {
            self.refuse_one_of(now, key);
        }
        Asked::Waits(id)
    }

    /// The join whose password is to be hashed now; it waits no longer.
    pub fn next(&mut self, now: Duration) -> Option<HashId> {
        let ready = |queue: &Self, waiting: &Waiting<K>| {
            let left = queue
                .buckets
                .get(&waiting.key)
                .map(|left| (left.bucket.tokens_at(now, left.rate), left.used_at));
            left.filter(|(hashes, _)| *hashes >= 1.0).map(|(_, used_at)| used_at)
        };
        let candidates = self.waiting.iter().enumerate();
        let best = candidates.filter_map(|(index, waiting)| {
            // Addresses in turns; of one address those who came back, then the newest.
            let used_at = ready(self, waiting)?;
            let deferred_first = waiting.returned.filter(|_| self.longest_next).map(Reverse);
            Some((
                (Reverse(used_at), waiting.returned.is_some(), deferred_first, waiting.id),
                index,
            ))
        });
        let index = best.max_by_key(|(rank, _)| *rank)?.1;
        let Waiting { id, key, returned, .. } = self.waiting.swap_remove(index);
        if returned.is_some() {
            self.longest_next = !self.longest_next;
        }
        if let Some(left) = self.buckets.get_mut(&key) {
            left.bucket.take(now, left.rate, 1.0);
            left.used_at = now;
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
        self.backoff.wrong(now, (key.clone(), peer))
    }

    /// When a join is sent away to come back later: not while its address has a hash for it.
    fn ends_at(&self, now: Duration, waiting: &Waiting<K>) -> Option<Duration> {
        let has_hash = self
            .buckets
            .get(&waiting.key)
            .is_some_and(|left| left.bucket.tokens_at(now, left.rate) >= 1.0);
        let hold = if waiting.returned.is_some() { HOLD_RETURNED } else { HOLD };
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
        let fresh =
            || HashBucket { bucket: TokenBucket::full(now, rate), rate, used_at: Duration::ZERO };
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
    fn refuse_one_of(&mut self, now: Duration, key: &K) {
        let own = self.waiting.iter().enumerate().filter(|(_, waiting)| waiting.key == *key);
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
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use fastrand::Rng;
    use uuid::Uuid;

    use super::*;

    /// How long a hash takes.
    pub(crate) const HASH: Duration = Duration::from_millis(60);
    /// How long a refusal and the next join of a client take on their way.
    pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(80);
    pub(crate) const STEP: Duration = Duration::from_millis(5);
    /// How long strangers have guessed when the newcomer comes.
    pub(crate) const BEFORE: Duration = Duration::from_secs(90);

    pub(crate) fn draw_peer(random: &mut Rng) -> PeerId {
        PeerId(Uuid::from_u64_pair(random.u64(..), random.u64(..)))
    }

    struct Outcome {
        /// How long the newcomer took.
        admitted: Option<Duration>,
        /// When a hash began.
        hashes: Vec<Duration>,
        most_waiting: usize,
    }

    /// Strangers of one address guess under ever new peer ids, so many a second; a newcomer of the
    /// same address, who knows the password, comes back after each refusal.
    fn newcomer_among_guessers(seed: u64, per_second: f64, until: Duration) -> Outcome {
        let mut random = Rng::with_seed(seed);
        let mut queue = HashQueue::<u8>::default();
        let newcomer = draw_peer(&mut random);
        let begins = BEFORE + Duration::from_secs_f64(3.0 * random.f64());
        let (mut next_guess, mut next_try, mut free_at) = (Duration::ZERO, begins, Duration::ZERO);
        let mut own = None;
        let mut peers: BTreeMap<HashId, PeerId> = BTreeMap::new();
        let mut outcome = Outcome { admitted: None, hashes: Vec::new(), most_waiting: 0 };
        let mut now = Duration::ZERO;
        while now < begins + until {
            now += STEP;
            while next_guess <= now {
                next_guess += Duration::from_secs_f64(2.0 * random.f64() / per_second);
                let peer = draw_peer(&mut random);
                if let Asked::Waits(id) = queue.ask(now, &1, peer, ADDRESS_HASHES) {
                    peers.insert(id, peer);
                }
            }
            let comes_back = |after: Duration, random: &mut Rng| {
                now + ROUND_TRIP + after.mul_f64(1.0 + 0.5 * random.f64())
            };
            if own.is_none() && now >= next_try {
                match queue.ask(now, &1, newcomer, ADDRESS_HASHES) {
                    Asked::Waits(id) => own = Some(id),
                    Asked::Refused(after) => next_try = comes_back(after, &mut random),
                }
            }
            while let Some((id, after)) = queue.next_refused(now) {
                if own == Some(id) {
                    own = None;
                    next_try = comes_back(after, &mut random);
                }
            }
            outcome.most_waiting = outcome.most_waiting.max(queue.waiting.len());
            if now < free_at {
                continue;
            }
            let Some(id) = queue.next(now) else { continue };
            free_at = now + HASH;
            outcome.hashes.push(now);
            if own == Some(id) {
                outcome.admitted = Some(free_at - begins);
                return outcome;
            }
            queue.wrong(now, &1, peers[&id]);
        }
        outcome
    }

    #[test]
    fn a_member_that_sets_a_password_does_not_wait_behind_guessers_of_its_address() {
        for is_member in [false, true] {
            let mut random = Rng::with_seed(5);
            let mut queue = HashQueue::<u16>::default();
            let now = Duration::from_secs(1);
            while queue.next(now).is_some() || queue.asked < 20 {
                queue.ask(now, &1, draw_peer(&mut random), ADDRESS_HASHES);
            }
            let member = draw_peer(&mut random);
            let asked = if is_member {
                queue.ask_as_member(now, &1, member, ADDRESS_HASHES)
            } else {
                queue.ask(now, &1, member, ADDRESS_HASHES)
            };
            let Asked::Waits(id) = asked else { panic!("it waits") };
            let mut served = Vec::new();
            for second in 2..12 {
                let now = Duration::from_secs(second);
                (0..100)
                    .for_each(|_| _ = queue.ask(now, &1, draw_peer(&mut random), ADDRESS_HASHES));
                served.extend(queue.next(now));
            }
            assert_eq!(served.contains(&id), is_member);
        }
    }

    #[test]
    fn addresses_that_fill_the_queue_keep_no_other_address_out() {
        let mut random = Rng::with_seed(5);
        let mut queue = HashQueue::<u16>::default();
        let now = Duration::from_secs(1);
        for address in (1..=20).cycle().take(40 * 20) {
            queue.ask(now, &address, draw_peer(&mut random), ADDRESS_HASHES);
        }
        assert_eq!(queue.waiting.len(), WAITING);
        let Asked::Waits(id) = queue.ask(now, &99, draw_peer(&mut random), ADDRESS_HASHES) else {
            panic!("it waits as well")
        };
        assert_eq!(queue.waiting.len(), WAITING);
        assert!((0..21).any(|_| queue.next(now) == Some(id)), "addresses take turns");
    }

    #[test]
    fn an_address_that_has_filled_its_part_takes_no_place_of_another() {
        let mut random = Rng::with_seed(5);
        let mut queue = HashQueue::<u16>::default();
        let now = Duration::from_secs(1);
        let of = |queue: &HashQueue<u16>, address| {
            queue.waiting.iter().filter(|waiting| waiting.key == address).count()
        };
        // The first has used its hashes, the second none: it may wait more often.
        for _ in 0..ADDRESS_HASHES.burst as usize {
            queue.ask(now, &1, draw_peer(&mut random), ADDRESS_HASHES);
            queue.next(now).expect("a hash");
        }
        for address in [1, 2] {
            (0..100)
                .for_each(|_| _ = queue.ask(now, &address, draw_peer(&mut random), ADDRESS_HASHES));
        }
        let (part, of_other) = (of(&queue, 1), of(&queue, 2));
        assert!(part < of_other);
        for address in (3..).take(WAITING - part - of_other) {
            queue.ask(now, &address, draw_peer(&mut random), ADDRESS_HASHES);
        }
        assert_eq!(queue.waiting.len(), WAITING);
        for _ in 0..10 {
            queue.ask(now, &1, draw_peer(&mut random), ADDRESS_HASHES);
            assert_eq!((of(&queue, 1), of(&queue, 2)), (part, of_other));
        }
    }

    /// proves: S-16
    #[test]
    fn a_newcomer_gets_in_while_a_stranger_of_the_same_address_guesses() {
        for (per_second, runs, needed, limit) in [(1.0, 20, 20, 15), (100.0, 10, 9, 60)] {
            let limit = Duration::from_secs(limit);
            let times: Vec<Duration> = (1..=runs)
                .filter_map(|seed| newcomer_among_guessers(seed, per_second, limit).admitted)
                .collect();
            println!(
                "{per_second} guesses a second: {} of {runs} in {limit:?}, {times:?}",
                times.len()
            );
            assert!(times.len() >= needed);
        }
    }

    /// proves: S-16
    #[test]
    fn an_address_has_at_most_30_hashes_in_any_minute_and_a_few_joins_wait() {
        for per_second in [1.0, 100.0] {
            let outcome = newcomer_among_guessers(7, per_second, Duration::ZERO);
            let in_a_minute = |from: Duration| {
                outcome
                    .hashes
                    .iter()
                    .filter(|at| (from..from + Duration::from_secs(60)).contains(*at))
                    .count()
            };
            assert!(outcome.hashes.iter().all(|from| in_a_minute(*from) <= 30));
            assert!(outcome.hashes.len() >= 30, "{}", outcome.hashes.len());
            assert!(outcome.most_waiting <= QUEUE_SLOTS + 10, "{}", outcome.most_waiting);
        }
    }

    #[test]
    fn addresses_take_turns_and_no_more_than_a_bounded_number_waits() {
        let mut random = Rng::with_seed(1);
        let mut queue = HashQueue::<u32>::default();
        let mut waits = BTreeMap::new();
        let mut refused = 0;
        for key in (0..40).flat_map(|_| 0..20) {
            match queue.ask(Duration::ZERO, &key, draw_peer(&mut random), ADDRESS_HASHES) {
                Asked::Waits(id) => {
                    waits.insert(id, key);
                }
                Asked::Refused(_) => refused += 1,
            }
        }
        while queue.next_refused(Duration::ZERO).is_some() {
            refused += 1;
        }
        assert_eq!((queue.waiting.len(), refused), (WAITING, 800 - WAITING));
        let now = |step: u64| Duration::from_millis(60 * step);
        for round in 0..5 {
            let served: BTreeSet<u32> = (1..=20)
                .filter_map(|step| queue.next(now(20 * round + step)).map(|id| waits[&id]))
                .collect();
            assert_eq!(served.len(), 20, "each address once in round {round}");
        }
    }

    #[test]
    fn a_wrong_password_costs_its_peer_a_wait_and_no_other() {
        let mut random = Rng::with_seed(1);
        let (guesser, friend) = (draw_peer(&mut random), draw_peer(&mut random));
        let mut queue = HashQueue::<u8>::default();
        let now = Duration::from_secs(1);
        assert_eq!(queue.wrong(now, &1, guesser), Duration::from_secs(1));
        assert_eq!(
            queue.ask(now, &1, guesser, ADDRESS_HASHES),
            Asked::Refused(Duration::from_secs(1))
        );
        assert!(matches!(queue.ask(now, &1, friend, ADDRESS_HASHES), Asked::Waits(_)));
        assert!(matches!(queue.ask(now, &2, guesser, ADDRESS_HASHES), Asked::Waits(_)));
    }

    #[test]
    fn a_join_that_has_gone_is_not_served() {
        let mut random = Rng::with_seed(1);
        let mut queue = HashQueue::<u8>::default();
        let now = Duration::from_secs(1);
        let Asked::Waits(gone) = queue.ask(now, &1, draw_peer(&mut random), ADDRESS_HASHES) else {
            panic!("it waits")
        };
        let Asked::Waits(stays) = queue.ask(now, &1, draw_peer(&mut random), ADDRESS_HASHES) else {
            panic!("it waits")
        };
        queue.withdraw(gone);
        assert_eq!(
            (queue.next_at(now), queue.next(now), queue.next(now)),
            (Some(now), Some(stays), None)
        );
        assert_eq!(queue.next_at(now), None);
    }
}
