//! How often one peer, and one address, may enter a room: each time costs every member notices, and
//! a new pair may speak more for a while ([`VoiceRates`](super::VoiceRates)).

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_common::{Rate, TokenBucket};
use voicemesh_wire::PeerId;

use super::AddressTag;

/// A program that crashes again and again, or a page that is reloaded, stays below this.
const PEER: Rate = Rate { burst: 20.0, per_second: 0.5 };
/// A full room whose members share a router may come back at once.
const ADDRESS: Rate = Rate { burst: 128.0, per_second: 2.0 };
/// Peers, and addresses, that are remembered; beyond them the one that has most left is forgotten.
const REMEMBERED: usize = 512;

/// The joins of one room.
#[derive(Debug, Default)]
pub(super) struct JoinRates {
    peers: BTreeMap<PeerId, TokenBucket>,
    addresses: BTreeMap<AddressTag, TokenBucket>,
}

impl JoinRates {
    /// Counts a join, if it is not one too many.
    pub(super) fn take(&mut self, now: Duration, peer: PeerId, address: AddressTag) -> bool {
        // A peer that enters too often takes nothing from the others behind its address.
        is_left(&self.peers, now, PEER, &peer)
            && take(&mut self.addresses, now, ADDRESS, address)
            && take(&mut self.peers, now, PEER, peer)
    }

    /// Forgets those who may do all that a new one may.
    pub(super) fn tidy(&mut self, now: Duration) {
        self.peers.retain(|_, bucket| bucket.tokens_at(now, PEER) < PEER.burst);
        self.addresses.retain(|_, bucket| bucket.tokens_at(now, ADDRESS) < ADDRESS.burst);
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
    if buckets.len() >= REMEMBERED && !buckets.contains_key(&key) {
        let left = |bucket: &TokenBucket| bucket.tokens_at(now, rate);
        let most = buckets
            .iter()
            .max_by(|(_, a), (_, b)| left(a).total_cmp(&left(b)))
            .map(|(key, _)| *key);
        most.and_then(|key| buckets.remove(&key));
    }
    buckets.entry(key).or_insert_with(|| TokenBucket::full(now, rate)).take(now, rate, 1.0)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn peer(number: u64) -> PeerId {
        PeerId(Uuid::from_u64_pair(1, number))
    }

    const HERE: AddressTag = AddressTag(7);

    #[test]
    fn who_comes_again_and_again_waits_and_others_of_its_address_do_not() {
        let mut rates = JoinRates::default();
        let entered = |rates: &mut JoinRates, seconds: u64, number: u64| {
            (0..1_000)
                .take_while(|_| rates.take(Duration::from_secs(seconds), peer(number), HERE))
                .count()
        };
        assert_eq!(entered(&mut rates, 0, 1), 20);
        assert_eq!(entered(&mut rates, 0, 2), 20);
        assert_eq!(entered(&mut rates, 10, 1), 5, "one in two seconds");
        assert!(rates.take(Duration::from_secs(10), peer(3), HERE));
        let seconds =
            |tries: u64| Duration::from_secs(20) + Duration::from_millis(100) * tries as u32;
        let entered = (0..600).filter(|tries| rates.take(seconds(*tries), peer(1), HERE)).count();
        assert!((30..=60).contains(&entered), "{entered} of 600 in a minute");
        assert!(
            rates.take(Duration::from_secs(80), peer(4), HERE),
            "what is refused takes nothing from its neighbours"
        );
    }

    #[test]
    fn an_address_with_ever_new_peers_has_a_bound_and_another_address_is_not_affected() {
        let mut rates = JoinRates::default();
        let entered =
            (0..1_000).take_while(|number| rates.take(Duration::ZERO, peer(*number), HERE)).count();
        assert_eq!(entered, 128);
        assert!(rates.take(Duration::ZERO, peer(2_000), AddressTag(8)));
    }

    #[test]
    fn a_bounded_number_is_remembered_and_who_is_rested_is_forgotten() {
        let mut rates = JoinRates::default();
        (0..20).for_each(|_| assert!(rates.take(Duration::ZERO, peer(0), HERE)));
        for number in 1..2_000 {
            assert!(rates.take(Duration::ZERO, peer(number), AddressTag(100 + u128::from(number))));
        }
        assert_eq!((rates.peers.len(), rates.addresses.len()), (REMEMBERED, REMEMBERED));
        assert!(
            !rates.take(Duration::ZERO, peer(0), HERE),
            "the one that has come most is remembered"
        );
        rates.tidy(Duration::from_secs(64));
        assert_eq!((rates.peers.len(), rates.addresses.len()), (0, 0));
    }
}
