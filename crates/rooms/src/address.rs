//! Whose connection this is: addresses that share budgets, and what is left to each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::budget::{Bucket, Budget, Budgets};
use crate::sync::lock;

/// An address without connections is forgotten after this time; by then its buckets are full again.
const FORGET: Duration = Duration::from_secs(60);

/// Tells addresses apart, as far as bans do: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressTag(pub u128);

/// Addresses that share a budget: one IPv4 address, or the /64 of an IPv6 address, all of which
/// belongs to one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKey {
    /// One IPv4 address.
    V4(u32),
    /// The first 64 bits of IPv6 addresses.
    V6(u64),
}

impl AddressKey {
    /// `None` for this machine itself: either the operator, or a proxy that was not named as
    /// trusted, behind which are many.
    pub fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(v4) => Some(Self::V4(v4.to_bits())),
            IpAddr::V6(v6) => Some(Self::V6((v6.to_bits() >> 64) as u64)),
        }
    }
}

impl From<AddressKey> for AddressTag {
    fn from(key: AddressKey) -> Self {
        match key {
            AddressKey::V4(v4) => Self(u128::from(v4)),
            AddressKey::V6(v6) => Self(u128::from(v6) << 64),
        }
    }
}

/// One address that has, or recently had, connections.
#[derive(Debug)]
pub struct Address {
    pub(crate) budget: Arc<Mutex<Budget>>,
    joins: Mutex<(Bucket, Duration)>,
    /// Of members who come back.
    ticket_joins: Mutex<Bucket>,
}

impl Address {
    /// Whether one more join is within the budget.
    pub(crate) fn may_join(&self, now: Duration, budgets: &Budgets, has_ticket: bool) -> bool {
        let mut joins = lock(&self.joins);
        joins.1 = now;
        if has_ticket {
            return lock(&self.ticket_joins).take(now, budgets.address_joins, 1.0);
        }
        joins.0.take(now, budgets.address_joins, 1.0)
    }
}

/// Addresses of which some may have no connection. When there are more, all of those are forgotten
/// at once.
const REMEMBERED: usize = 16_384;

/// All of them. Bounded by [`REMEMBERED`] and by twice the addresses that have connections.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Mutex<Table>);

#[derive(Debug)]
struct Table {
    entries: BTreeMap<AddressKey, Arc<Address>>,
    /// With so many, those without connections are forgotten.
    most: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), most: REMEMBERED }
    }
}

impl Table {
    fn retain(&mut self, stays: impl Fn(&Address) -> bool) {
        self.entries.retain(|_, address| Arc::strong_count(address) > 1 || stays(address));
        self.most = REMEMBERED.max(2 * self.entries.len());
    }
}

impl Addresses {
    /// The address's entry, or `None` if it has too many connections already.
    pub(crate) fn enter(
        &self,
        now: Duration,
        key: AddressKey,
        budgets: &Budgets,
    ) -> Option<Arc<Address>> {
        let mut table = lock(&self.0);
        if table.entries.len() >= table.most && !table.entries.contains_key(&key) {
            table.retain(|_| false);
        }
        let address = table.entries.entry(key).or_insert_with(|| {
            Arc::new(Address {
                budget: Arc::new(Mutex::new(Budget::of_address(now, budgets))),
                joins: Mutex::new((Bucket::full(now, budgets.address_joins), now)),
                ticket_joins: Mutex::new(Bucket::full(now, budgets.address_joins)),
            })
        });
        // One reference is the table's own.
        (Arc::strong_count(address) <= budgets.address_connections).then(|| Arc::clone(address))
    }

    /// Forgets who has gone.
    pub(crate) fn tidy(&self, now: Duration) {
        lock(&self.0).retain(|address| now < lock(&address.joins).1 + FORGET);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_ipv6_subnet_shares_a_budget() {
        let key = |text: &str| AddressKey::of(text.parse().expect("an address"));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_eq!(key("127.0.0.1"), None);
        assert_eq!(key("::1"), None);
    }

    #[test]
    fn joins_of_an_address_are_limited_and_come_back_with_time() {
        let budgets = Budgets::default();
        let addresses = Addresses::default();
        let address =
            addresses.enter(Duration::ZERO, AddressKey::V4(7), &budgets).expect("the first");
        for _ in 0..budgets.address_joins.burst as usize {
            assert!(address.may_join(Duration::ZERO, &budgets, false));
        }
        assert!(!address.may_join(Duration::ZERO, &budgets, false));
        assert!(
            address.may_join(Duration::ZERO, &budgets, true),
            "members come back whatever strangers do"
        );
        assert!(address.may_join(Duration::from_secs(1), &budgets, false));
    }

    #[test]
    fn connections_of_an_address_are_limited_and_the_gone_are_forgotten() {
        let budgets = Budgets { address_connections: 2, ..Budgets::default() };
        let addresses = Addresses::default();
        let enter = || addresses.enter(Duration::ZERO, AddressKey::V4(7), &budgets);
        let first = enter();
        let second = enter();
        assert!(first.is_some() && second.is_some() && enter().is_none());
        drop(first);
        assert!(enter().is_some());
        addresses.tidy(FORGET);
        assert_eq!(lock(&addresses.0).entries.len(), 1, "a connection is still there");
        drop(second);
        addresses.tidy(FORGET);
        assert_eq!(lock(&addresses.0).entries.len(), 0);
    }

    #[test]
    fn ever_new_addresses_take_a_bounded_space_and_those_with_connections_stay() {
        let budgets = Budgets { address_connections: 1, ..Budgets::default() };
        let addresses = Addresses::default();
        let stays = addresses.enter(Duration::ZERO, AddressKey::V6(0), &budgets);
        for network in 1..3 * REMEMBERED as u64 {
            assert!(addresses.enter(Duration::ZERO, AddressKey::V6(network), &budgets).is_some());
            assert!(lock(&addresses.0).entries.len() <= REMEMBERED);
        }
        assert!(
            addresses.enter(Duration::ZERO, AddressKey::V6(0), &budgets).is_none(),
            "it has one connection already"
        );
        drop(stays);
    }
}
