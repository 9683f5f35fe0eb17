//! How much of each sender waits for one receiver.

use std::collections::BTreeMap;

use voicemesh_wire::PeerId;

use crate::output::Sender;
use crate::room::AddressTag;

/// What may wait of one sender.
const OF_ONE: usize = 64 * 1024;
/// What may wait of all senders together, besides [`OWN`] of each. The first state of a connection
/// that joins counts in it as well.
pub(super) const SHARED: usize = 80 * 1024;
/// What may wait of a sender although others have filled the rest.
const OWN: usize = 1024;
/// Of a full room, the others.
const OTHERS: usize = 63;
/// A bound that holds for any number of senders, those included that have left again.
pub(super) const ALL: usize = SHARED + OTHERS * OWN;

/// Bytes that wait for one receiver, by sender and by address. While several senders' bytes wait,
/// each may take four fifths of what the others leave of [`SHARED`], and each address as much of
/// [`ALL`], so that there is always something left for one more, however many peers one address
/// has.
#[derive(Debug, Default)]
pub(super) struct Senders {
    waiting: BTreeMap<PeerId, usize>,
    addresses: BTreeMap<AddressTag, usize>,
    bytes: usize,
}

impl Senders {
    /// Counts a message of this size, or refuses it. So many bytes of the shared ones are taken by
    /// the receiver's state.
    pub(super) fn reserve(
        &mut self,
        Sender { peer, address }: Sender,
        bytes: usize,
        state: usize,
    ) -> bool {
        let part = |most: usize, taken: usize| most.saturating_sub(taken) / 5 * 4;
        let all = self.bytes + state;
        let own = self.waiting.get(&peer).copied().unwrap_or(0);
        let of_address =
            address.and_then(|address| self.addresses.get(&address).copied()).unwrap_or(0);
        if own + bytes > part(SHARED, all - own).clamp(OWN, OF_ONE)
            || address.is_some() && of_address + bytes > part(ALL, all - of_address).max(OWN)
            || all + bytes > ALL
        {
            return false;
        }
        *self.waiting.entry(peer).or_default() += bytes;
        if let Some(address) = address {
            *self.addresses.entry(address).or_default() += bytes;
        }
        self.bytes += bytes;
        true
    }

    /// What waits of all together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A message of this size no longer waits.
    pub(super) fn release(&mut self, Sender { peer, address }: Sender, bytes: usize) {
        let released = take_off(&mut self.waiting, peer, bytes);
        if let Some(address) = address {
            take_off(&mut self.addresses, address, released);
        }
        self.bytes -= released;
    }
}

fn take_off<K: Ord>(waiting: &mut BTreeMap<K, usize>, key: K, bytes: usize) -> usize {
    let Some(own) = waiting.get_mut(&key) else { return 0 };
    let released = bytes.min(*own);
    *own -= released;
    if *own == 0 {
        waiting.remove(&key);
    }
    released
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn peer(number: u128) -> Sender {
        Sender { peer: PeerId(Uuid::from_u128(number)), address: None }
    }

    fn at(address: u128, number: u128) -> Sender {
        Sender { address: Some(AddressTag(address)), ..peer(number) }
    }

    fn fill_by(senders: &mut Senders, sender: Sender) -> usize {
        (0..).take_while(|_| senders.reserve(sender, 256, 0)).count() * 256
    }

    fn fill(senders: &mut Senders, sender: u128) -> usize {
        fill_by(senders, peer(sender))
    }

    #[test]
    fn one_sender_has_64_kib_and_leaves_something_for_each_of_a_full_room() {
        let mut senders = Senders::default();
        assert_eq!(fill(&mut senders, 1), OF_ONE);
        assert!(fill(&mut senders, 2) >= 12 * 1024);
        assert!(fill(&mut senders, 3) >= 2 * 1024);
        for sender in 4..=OTHERS as u128 {
            assert!(fill(&mut senders, sender) >= OWN, "sender {sender}");
        }
        assert!(senders.bytes <= ALL);
    }

    #[test]
    fn many_peers_of_one_address_leave_something_for_each_of_twenty_eight_others() {
        let mut senders = Senders::default();
        let hostile: usize = (1..=1_000).map(|number| fill_by(&mut senders, at(1, number))).sum();
        assert!((ALL / 4 * 3..=ALL / 5 * 4).contains(&hostile), "{hostile}");
        for number in 2_001..=2_028 {
            assert!(fill_by(&mut senders, at(number, number)) >= OWN, "{number}");
        }
        assert!(senders.bytes <= ALL);
    }

    #[test]
    fn an_address_alone_has_what_a_sender_alone_has() {
        let mut senders = Senders::default();
        assert_eq!(fill_by(&mut senders, at(1, 1)), OF_ONE);
        for sender in 2..=30 {
            assert!(fill_by(&mut senders, at(1, sender)) >= OWN, "sender {sender}");
        }
    }

    #[test]
    fn what_is_written_makes_room_and_is_forgotten() {
        let mut senders = Senders::default();
        fill(&mut senders, 1);
        assert!(!senders.reserve(peer(1), 1, 0));
        senders.release(peer(1), 256);
        assert!(senders.reserve(peer(1), 256, 0));
        senders.release(peer(1), OF_ONE);
        fill_by(&mut senders, at(7, 2));
        senders.release(at(7, 2), ALL);
        assert!(senders.waiting.is_empty() && senders.addresses.is_empty() && senders.bytes == 0);
    }

    #[test]
    fn the_state_that_waits_takes_of_what_is_shared_and_not_of_what_each_has() {
        let mut senders = Senders::default();
        let fits = |senders: &mut Senders, sender| {
            (0..).take_while(|_| senders.reserve(peer(sender), 256, SHARED)).count()
        };
        for sender in 1..=OTHERS as u128 {
            assert_eq!(fits(&mut senders, sender) * 256, OWN);
        }
        assert_eq!(senders.bytes + SHARED, ALL);
    }
}
