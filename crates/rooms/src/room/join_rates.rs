//! How often one peer, and one address, may enter a room: each time costs every member notices, and
//! a new pair may speak more for a while ([`VoiceRates`](super::VoiceRates)).

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;
use voicemesh_common::{Rate, TokenBucket};
use voicemesh_wire::PeerId;

use super::AddressTag;
use crate::places::gives_way;
use crate::ticket::MemberSince;

/// A program that crashes again and again, or a page that is reloaded, stays below this.
const PEER: Rate = Rate { burst: 20.0, per_second: 0.5 };
/// A full room whose members share a router may come back at once.
const ADDRESS: Rate = Rate { burst: 128.0, per_second: 2.0 };
/// So often one that was in the room before comes back without drawing on what those share that come
/// back from its address.
const RETURN: Rate = Rate { burst: 3.0, per_second: 1.0 / 30.0 };
/// Peers of one address that have returns for themselves at a time.
const RETURNING: usize = 128;
/// Those of all addresses, which share them evenly.
const ALL_RETURNING: usize = 2_048;
/// Who takes a place from another draws what that one has used on what those of its address share,
/// which may get this far below nothing. Until that has come back no place of the address becomes free, so
/// that members who take places from each other in a row come no more often than others.
const MOST_OWED: f64 = 120.0;
/// Peers, and addresses, that are remembered; beyond them the one that has most left is forgotten.
const REMEMBERED: usize = 512;

const FIRST: PeerId = PeerId(Uuid::nil());
const LAST: PeerId = PeerId(Uuid::max());

/// The joins of one room.
#[derive(Debug, Default)]
pub(super) struct JoinRates {
    peers: BTreeMap<PeerId, TokenBucket>,
    /// Joins of newcomers.
    addresses: BTreeMap<AddressTag, TokenBucket>,
    /// Joins of those who come back, beyond what each has for itself.
    returns: BTreeMap<AddressTag, TokenBucket>,
    own_returns: BTreeMap<(AddressTag, PeerId), Own>,
}

/// What one that comes back has for itself.
#[derive(Debug)]
struct Own {
    since: MemberSince,
    joins: TokenBucket,
}

impl JoinRates {
    /// Counts a join, if it is not one too many. Those of peers that have been members before, `since`
    /// then, are counted apart from those of newcomers, and an earlier member comes back whatever
    /// later ones of its address do.
    pub(super) fn take(
        &mut self,
        now: Duration,
        peer: PeerId,
        address: AddressTag,
        since: Option<MemberSince>,
    ) -> bool {
        // A peer that enters too often takes nothing from the others behind its address.
        is_left(&self.peers, now, PEER, &peer)
            && if let Some(since) = since {
                self.take_own_return(now, (address, peer), since)
                    || take(&mut self.returns, now, ADDRESS, address)
            } else {
                take(&mut self.addresses, now, ADDRESS, address)
            }
            && take(&mut self.peers, now, PEER, peer)
    }

    fn take_own_return(
        &mut self,
        now: Duration,
        key: (AddressTag, PeerId),
        since: MemberSince,
    ) -> bool {
        if !self.own_returns.contains_key(&key) && !self.make_place(now, key.0, since) {
            return false;
        }
        let joins = TokenBucket::full(now, RETURN);
        let own = self.own_returns.entry(key).or_insert(Own { since, joins });
        own.joins.take(now, RETURN, 1.0)
    }

    /// Whether one more of an address may have returns for itself.
    fn make_place(&mut self, now: Duration, address: AddressTag, since: MemberSince) -> bool {
        let of_address = self.own_returns.range((address, FIRST)..=(address, LAST));
        let gives = if of_address.clone().count() >= RETURNING {
            gives_way(of_address.map(|(key, own)| (*key, (), own.since)), &(), since)
        } else if self.own_returns.len() >= ALL_RETURNING {
            let all = self.own_returns.iter().map(|(key, own)| (*key, key.0, own.since));
            gives_way(all, &address, since)
        } else {
            return true;
        };
        let Some(given) = gives.and_then(|key| self.own_returns.remove(&key)) else {
            return false;
        };
        let shared = bucket(&mut self.returns, now, ADDRESS, address);
        if shared.tokens() > -MOST_OWED {
            shared.charge(RETURN.burst - given.joins.tokens_at(now, RETURN));
        }
        true
    }

    /// Forgets those who may do all that a new one may.
    pub(super) fn tidy(&mut self, now: Duration) {
        self.peers.retain(|_, bucket| bucket.tokens_at(now, PEER) < PEER.burst);
        self.addresses.retain(|_, bucket| bucket.tokens_at(now, ADDRESS) < ADDRESS.burst);
        self.returns.retain(|_, bucket| bucket.tokens_at(now, ADDRESS) < ADDRESS.burst);
        self.own_returns.retain(|(address, _), own| {
            let shared = self.returns.get(address);
            own.joins.tokens_at(now, RETURN) < RETURN.burst
                || shared.is_some_and(|shared| shared.tokens_at(now, ADDRESS) < 0.0)
        });
    }
}

fn is_left<K: Ord>(buckets: &BTreeMap<K, TokenBucket>, now: Duration, rate: Rate, key: &K) -> bool {
    buckets.get(key).is_none_or(|bucket| bucket.tokens_at(now, rate) >= 1.0)
}

fn take<K: Ord + Copy>(
    buckets: &mut BTreeMap<K, TokenBucket>,
    now: Duration,
    rate: Rate,
    key: K,
) -> bool {
    bucket(buckets, now, rate, key).take(now, rate, 1.0)
}

fn bucket<K: Ord + Copy>(
    buckets: &mut BTreeMap<K, TokenBucket>,
    now: Duration,
    rate: Rate,
    key: K,
) -> &mut TokenBucket {
    if buckets.len() >= REMEMBERED && !buckets.contains_key(&key) {
        let left = |bucket: &TokenBucket| bucket.tokens_at(now, rate);
        let most = buckets
            .iter()
            .max_by(|(_, a), (_, b)| left(a).total_cmp(&left(b)))
            .map(|(key, _)| *key);
        most.and_then(|key| buckets.remove(&key));
    }
    let bucket = buckets.entry(key).or_insert_with(|| TokenBucket::full(now, rate));
    bucket.fill(now, rate);
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u64) -> PeerId {
        PeerId(Uuid::from_u64_pair(1, number))
    }

    const HERE: AddressTag = AddressTag(7);

    fn since(second: u64) -> Option<MemberSince> {
        Some(MemberSince::second(second))
    }

    #[test]
    fn who_comes_again_and_again_waits_and_others_of_its_address_do_not() {
        let mut rates = JoinRates::default();
        let entered = |rates: &mut JoinRates, seconds: u64, number: u64| {
            (0..1_000)
                .take_while(|_| rates.take(Duration::from_secs(seconds), peer(number), HERE, None))
                .count()
        };
        assert_eq!(entered(&mut rates, 0, 1), 20);
        assert_eq!(entered(&mut rates, 0, 2), 20);
        assert_eq!(entered(&mut rates, 10, 1), 5, "one in two seconds");
        assert!(rates.take(Duration::from_secs(10), peer(3), HERE, None));
        let seconds =
            |tries: u64| Duration::from_secs(20) + Duration::from_millis(100) * tries as u32;
        let entered =
            (0..600).filter(|tries| rates.take(seconds(*tries), peer(1), HERE, None)).count();
        assert!((30..=60).contains(&entered), "{entered} of 600 in a minute");
        assert!(
            rates.take(Duration::from_secs(80), peer(4), HERE, None),
            "what is refused takes nothing from its neighbours"
        );
    }

    #[test]
    fn an_address_with_ever_new_peers_has_a_bound_and_another_address_is_not_affected() {
        let mut rates = JoinRates::default();
        let entered = (0..1_000)
            .take_while(|number| rates.take(Duration::ZERO, peer(*number), HERE, None))
            .count();
        assert_eq!(entered, 128);
        assert!(rates.take(Duration::ZERO, peer(2_000), AddressTag(8), None));
    }

    #[test]
    fn a_bounded_number_is_remembered_and_who_is_rested_is_forgotten() {
        let mut rates = JoinRates::default();
        (0..20).for_each(|_| assert!(rates.take(Duration::ZERO, peer(0), HERE, None)));
        for number in 1..2_000 {
            assert!(rates.take(
                Duration::ZERO,
                peer(number),
                AddressTag(100 + u128::from(number)),
                None
            ));
        }
        assert_eq!((rates.peers.len(), rates.addresses.len()), (REMEMBERED, REMEMBERED));
        assert!(
            !rates.take(Duration::ZERO, peer(0), HERE, None),
            "the one that has come most is remembered"
        );
        rates.tidy(Duration::from_secs(64));
        assert_eq!((rates.peers.len(), rates.addresses.len()), (0, 0));
    }

    #[test]
    fn newcomers_of_an_address_take_nothing_from_those_who_come_back_and_these_not_from_each_other()
    {
        let mut rates = JoinRates::default();
        let newcomers = (0..1_000_u64)
            .filter(|number| rates.take(Duration::ZERO, peer(10_000 + number), HERE, None));
        assert_eq!(newcomers.count(), 128);
        for number in 0..64 {
            assert!(
                rates.take(Duration::ZERO, peer(number), HERE, since(0)),
                "{number} comes back"
            );
        }
        // One that comes again and again has no more than each, and what all share.
        let again = |rates: &mut JoinRates, number| {
            (0..1_000)
                .take_while(|_| rates.take(Duration::ZERO, peer(number), HERE, since(0)))
                .count()
        };
        assert_eq!(
            (0..9).map(|number| again(&mut rates, 100 + number)).sum::<usize>(),
            128 + 9 * 3
        );
        assert!(rates.take(Duration::ZERO, peer(200), HERE, since(0)));
    }

    #[test]
    fn what_is_remembered_of_those_who_come_back_is_bounded_and_so_is_how_often_all_of_them_do() {
        let mut rates = JoinRates::default();
        let mut entered = 0;
        for step in 0..60_000_u64 {
            let now = Duration::from_millis(10 * step);
            entered += usize::from(rates.take(now, peer(step % 300), HERE, since(0)));
            if step % 500 == 0 {
                rates.tidy(now);
            }
            assert!(rates.own_returns.len() <= RETURNING);
        }
        // Within ten minutes: bursts, two each second that all share, and 128 each half a minute.
        assert!(entered <= 128 * 4 + 600 * 2 + 20 * 128, "{entered} of 60,000");
        for number in 0..2 * ALL_RETURNING as u64 {
            rates.take(Duration::ZERO, peer(number), AddressTag(u128::from(number)), since(0));
        }
        assert!(rates.own_returns.len() <= ALL_RETURNING && rates.returns.len() <= REMEMBERED);
    }

    #[test]
    fn who_came_later_keeps_no_earlier_member_of_its_address_out() {
        let mut rates = JoinRates::default();
        for round in 0..600 {
            let now = Duration::from_millis(100 * round);
            for number in 1_000..1_400 {
                rates.take(now, peer(number), HERE, since(number));
            }
            if round % 200 == 100 {
                for number in 0..100 {
                    assert!(rates.take(now, peer(number), HERE, since(500)), "{number}, {now:?}");
                }
            }
            rates.tidy(now);
            assert!(rates.own_returns.len() <= RETURNING);
        }
    }

    #[test]
    fn members_of_other_addresses_keep_none_out() {
        let mut rates = JoinRates::default();
        for number in 0..4_000 {
            let address = AddressTag(100 + u128::from(number % 40));
            rates.take(Duration::ZERO, peer(1_000 + number), address, since(0));
        }
        // Later neighbours have used up what those of the address share.
        for number in 10_000..11_000 {
            rates.take(Duration::ZERO, peer(number), HERE, since(number));
        }
        for number in 0..20 {
            assert!(rates.take(Duration::ZERO, peer(number), HERE, since(500)), "{number}");
        }
        assert!(rates.own_returns.len() <= ALL_RETURNING);
    }

    /// Each takes the place of one that came later.
    #[test]
    fn who_comes_in_order_the_latest_first_comes_no_more_often_than_others() {
        let mut rates = JoinRates::default();
        let mut entered = 0;
        for step in 0..60_000_u64 {
            let now = Duration::from_millis(10 * step);
            let number = 300 - step % 300;
            entered += usize::from(rates.take(now, peer(number), HERE, since(number)));
            if step % 500 == 0 {
                rates.tidy(now);
            }
        }
        // Besides what others have, each of the rounds between which all places may become free.
        assert!(entered <= 128 * 4 + 600 * 2 + 20 * 128 + 7 * 300, "{entered} of 60,000");
    }
}
