//! Network addresses that have, or recently had, sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_common::{AddressKey, TokenBucket};

use crate::limits::{Budget, Limits};

/// An address without sockets is forgotten after this time; by then its buckets are full again, of
/// which that of openings takes longest (512 at 4 a second).
const FORGET: Duration = Duration::from_secs(130);
/// Addresses of which some may have no socket. When there are more, all of those are forgotten.
const REMEMBERED: usize = 16_384;

#[derive(Debug, Default)]
pub(crate) struct Addresses(BTreeMap<AddressKey, Entry>);

#[derive(Debug)]
struct Entry {
    budget: Budget,
    openings: TokenBucket,
    sockets: usize,
    left_at: Duration,
}

impl Addresses {
    /// One more socket. Gives what that has for itself.
    pub(crate) fn enter(&mut self, now: Duration, key: AddressKey, limits: &Limits) -> Budget {
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&key) {
            self.0.retain(|_, entry| entry.sockets > 0);
        }
        let entry = self.0.entry(key).or_insert_with(|| Entry {
            budget: Budget::of_address(now, limits),
            openings: TokenBucket::full(now, limits.address_openings),
            sockets: 0,
            left_at: now,
        });
        entry.sockets += 1;
        let own = Budget::own(now, limits);
        if entry.openings.take(now, limits.address_openings, 1.0) { own } else { own.emptied() }
    }

    pub(crate) fn leave(&mut self, now: Duration, key: AddressKey) {
        if let Some(entry) = self.0.get_mut(&key) {
            entry.sockets = entry.sockets.saturating_sub(1);
            entry.left_at = now;
        }
    }

    /// The budget of an address that has sockets.
    pub(crate) fn budget(&mut self, key: Option<AddressKey>) -> Option<&mut Budget> {
        Some(&mut self.0.get_mut(&key?)?.budget)
    }

    pub(crate) fn tidy(&mut self, now: Duration) {
        self.0.retain(|_, entry| entry.sockets > 0 || now < entry.left_at + FORGET);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ever_new_addresses_take_a_bounded_space_and_come_back_to_what_they_spent() {
        let limits = Limits::default();
        let mut addresses = Addresses::default();
        for network in 0..3 * REMEMBERED as u64 {
            addresses.enter(Duration::ZERO, AddressKey::V6(network), &limits);
            if network > 0 {
                addresses.leave(Duration::ZERO, AddressKey::V6(network));
            }
            assert!(addresses.0.len() <= REMEMBERED + 1);
        }
        assert!(addresses.budget(Some(AddressKey::V6(0))).is_some(), "it has a socket");
        let back = Some(AddressKey::V4(1));
        addresses.enter(Duration::ZERO, AddressKey::V4(1), &limits);
        addresses.budget(back).expect("a budget").charge_introductions(4_096);
        addresses.leave(Duration::ZERO, AddressKey::V4(1));
        addresses.tidy(FORGET / 2);
        addresses.enter(Duration::ZERO, AddressKey::V4(1), &limits);
        assert!(!addresses.budget(back).expect("a budget").has_introductions(Duration::ZERO, 1));
        addresses.leave(Duration::ZERO, AddressKey::V4(1));
        addresses.tidy(FORGET);
        assert_eq!(addresses.0.len(), 1);
    }
}
