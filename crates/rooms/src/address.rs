//! Whose connection this is: addresses that share budgets, and what is left to each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use voicemesh_common::{Rate, TokenBucket, lock};
use voicemesh_wire::PeerId;

use crate::budget::{Budget, Budgets};

/// An address without connections is forgotten after this time; by then its buckets are full again.
const FORGET: Duration = Duration::from_secs(60);

/// So often a member comes back without drawing on what it shares with others of its address.
const RETURNS: Rate = Rate { burst: 4.0, per_second: 0.1 };
/// Members of one address who have joins for themselves at a time; further ones draw on what all
/// share.
const RETURNING: usize = 128;

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
    joins: Mutex<(TokenBucket, Duration)>,
    returns: Mutex<Returns>,
}

/// Joins of members who come back: a few of each for itself, and the others out of what all of the
/// address share, so that one that comes again and again keeps out no other.
#[derive(Debug)]
struct Returns {
    shared: TokenBucket,
    members: BTreeMap<PeerId, TokenBucket>,
}

impl Returns {
    fn take(&mut self, now: Duration, shared: Rate, member: PeerId) -> bool {
        self.members.retain(|_, bucket| bucket.tokens_at(now, RETURNS) < RETURNS.burst);
        if self.members.len() >= RETURNING && !self.members.contains_key(&member) {
            return self.shared.take(now, shared, 1.0);
        }
        let own = self.members.entry(member).or_insert_with(|| TokenBucket::full(now, RETURNS));
        own.take(now, RETURNS, 1.0) || self.shared.take(now, shared, 1.0)
    }
}

impl Address {
    /// Whether one more join is within the budget; `member` is who comes back.
    pub(crate) fn may_join(
        &self,
        now: Duration,
        budgets: &Budgets,
        member: Option<PeerId>,
    ) -> bool {
        let mut joins = lock(&self.joins);
        joins.1 = now;
        if let Some(member) = member {
            return lock(&self.returns).take(now, budgets.address_joins, member);
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
                joins: Mutex::new((TokenBucket::full(now, budgets.address_joins), now)),
                returns: Mutex::new(Returns {
                    shared: TokenBucket::full(now, budgets.address_joins),
                    members: BTreeMap::new(),
                }),
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

    fn peer(number: u128) -> PeerId {
        PeerId(uuid::Uuid::from_u128(number))
    }

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
            assert!(address.may_join(Duration::ZERO, &budgets, None));
        }
        assert!(!address.may_join(Duration::ZERO, &budgets, None));
        assert!(
            address.may_join(Duration::ZERO, &budgets, Some(peer(1))),
            "members come back whatever strangers do"
        );
        assert!(address.may_join(Duration::from_secs(1), &budgets, None));
    }

    #[test]
    fn a_member_that_comes_back_again_and_again_keeps_out_no_other_of_its_address() {
        let budgets = Budgets::default();
        let addresses = Addresses::default();
        let address =
            addresses.enter(Duration::ZERO, AddressKey::V4(7), &budgets).expect("the first");
        let mut refused = 0;
        for step in 0..1_200_u64 {
            let now = Duration::from_millis(100 * step);
            refused += u32::from(!address.may_join(now, &budgets, Some(peer(1))));
            if step % 100 == 0 {
                assert!(address.may_join(now, &budgets, Some(peer(2))), "after {now:?}");
            }
        }
        assert!(refused > 300, "{refused} of 1,200");
        let now = Duration::from_secs(200);
        let all = 0..10 * RETURNING as u128;
        let rotation =
            || all.clone().filter(|number| address.may_join(now, &budgets, Some(peer(3 + number))));
        let admitted: usize = (0..8).map(|_| rotation().count()).sum();
        let most = RETURNING * RETURNS.burst as usize + budgets.address_joins.burst as usize;
        assert!(admitted <= most, "{admitted} joins in turn");
        assert!(lock(&address.returns).members.len() <= RETURNING);
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
