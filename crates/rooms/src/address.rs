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
/// Bytes of the answers to joins of one address: those of newcomers, and those of members who come
/// back. A join is taken while any are left, and charged when it is known how much its answer was.
const ANSWERS: Rate = Rate::new(16.0 * 1024.0 * 1024.0, 1024.0 * 1024.0);
/// The same, of a member for itself: the answers of rooms in which members publish little pass as
/// they are asked for.
const OWN_ANSWERS: Rate = Rate::new(64.0 * 1024.0, 16.0 * 1024.0);

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
    joins: Mutex<(Joins, Duration)>,
    returns: Mutex<Returns>,
}

/// How many joins are left, and how many bytes of answers to them.
#[derive(Debug)]
struct Joins {
    count: TokenBucket,
    bytes: TokenBucket,
}

impl Joins {
    fn full(now: Duration, joins: Rate, answers: Rate) -> Self {
        Self { count: TokenBucket::full(now, joins), bytes: TokenBucket::full(now, answers) }
    }

    fn take(&mut self, now: Duration, joins: Rate, answers: Rate) -> bool {
        self.bytes.has_any(now, answers) && self.count.take(now, joins, 1.0)
    }
}

/// Joins of members who come back: a few of each for itself, and the others out of what all of the
/// address share, so that one that comes again and again keeps out no other.
#[derive(Debug)]
struct Returns {
    shared: Joins,
    members: BTreeMap<PeerId, Joins>,
}

/// Whose joins one was taken from, and whose answers are to be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinPayer {
    Newcomers,
    Returns,
    Member(PeerId),
}

impl Returns {
    fn take(&mut self, now: Duration, shared: Rate, member: PeerId) -> Option<JoinPayer> {
        self.members.retain(|_, own| {
            own.count.tokens_at(now, RETURNS) < RETURNS.burst
                || own.bytes.tokens_at(now, OWN_ANSWERS) < OWN_ANSWERS.burst
        });
        if self.members.len() < RETURNING || self.members.contains_key(&member) {
            let full = || Joins::full(now, RETURNS, OWN_ANSWERS);
            let own = self.members.entry(member).or_insert_with(full);
            if own.take(now, RETURNS, OWN_ANSWERS) {
                return Some(JoinPayer::Member(member));
            }
        }
        self.shared.take(now, shared, ANSWERS).then_some(JoinPayer::Returns)
    }
}

impl Address {
    /// Takes one more join, if that is within the budget; `member` is who comes back.
    pub(crate) fn take_join(
        &self,
        now: Duration,
        budgets: &Budgets,
        member: Option<PeerId>,
    ) -> Option<JoinPayer> {
        let mut joins = lock(&self.joins);
        joins.1 = now;
        if let Some(member) = member {
            return lock(&self.returns).take(now, budgets.address_joins, member);
        }
        joins.0.take(now, budgets.address_joins, ANSWERS).then_some(JoinPayer::Newcomers)
    }

    /// A join that was taken was answered with so many bytes.
    pub(crate) fn charge_join(&self, payer: JoinPayer, bytes: usize) {
        let bytes = bytes as f64;
        match payer {
            JoinPayer::Newcomers => lock(&self.joins).0.bytes.charge(bytes),
            JoinPayer::Returns => lock(&self.returns).shared.bytes.charge(bytes),
            JoinPayer::Member(member) => {
                if let Some(own) = lock(&self.returns).members.get_mut(&member) {
                    own.bytes.charge(bytes);
                }
            }
        }
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
                joins: Mutex::new((Joins::full(now, budgets.address_joins, ANSWERS), now)),
                returns: Mutex::new(Returns {
                    shared: Joins::full(now, budgets.address_joins, ANSWERS),
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

    fn may_join(
        address: &Address,
        now: Duration,
        budgets: &Budgets,
        member: Option<PeerId>,
    ) -> bool {
        address.take_join(now, budgets, member).is_some()
    }

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
            assert!(may_join(&address, Duration::ZERO, &budgets, None));
        }
        assert!(!may_join(&address, Duration::ZERO, &budgets, None));
        assert!(
            may_join(&address, Duration::ZERO, &budgets, Some(peer(1))),
            "members come back whatever strangers do"
        );
        assert!(may_join(&address, Duration::from_secs(1), &budgets, None));
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
            refused += u32::from(!may_join(&address, now, &budgets, Some(peer(1))));
            if step % 100 == 0 {
                assert!(may_join(&address, now, &budgets, Some(peer(2))), "after {now:?}");
            }
        }
        assert!(refused > 300, "{refused} of 1,200");
        let now = Duration::from_secs(200);
        let all = 0..10 * RETURNING as u128;
        let rotation = || {
            all.clone().filter(|number| may_join(&address, now, &budgets, Some(peer(3 + number))))
        };
        let admitted: usize = (0..8).map(|_| rotation().count()).sum();
        let most = RETURNING * RETURNS.burst as usize + budgets.address_joins.burst as usize;
        assert!(admitted <= most, "{admitted} joins in turn");
        assert!(lock(&address.returns).members.len() <= RETURNING);
    }

    /// The answer to a join of a full room whose members publish all that they may; and of one whose
    /// members publish nothing.
    const LARGE: usize = 1_000_000;
    const USUAL: usize = 25_000;

    /// Joins, one each 100 ms, of which so many are taken; and the bytes of their answers.
    fn taken(address: &Address, members: &[Option<PeerId>], bytes: usize, steps: u64) -> usize {
        let budgets = Budgets::default();
        let joins = (0..steps).filter(|step| {
            let member = members[*step as usize % members.len()];
            let now = Duration::from_millis(100 * step);
            let payer = address.take_join(now, &budgets, member);
            payer.inspect(|payer| address.charge_join(*payer, bytes)).is_some()
        });
        joins.count()
    }

    #[test]
    fn the_answers_to_joins_of_an_address_are_budgeted_by_their_bytes() {
        let budgets = Budgets::default();
        let addresses = Addresses::default();
        let enter = |number| addresses.enter(Duration::ZERO, AddressKey::V4(number), &budgets);
        let newcomers = enter(1).expect("the first");
        let at_once = 17;
        assert!((at_once..=at_once + 64).contains(&taken(&newcomers, &[None], LARGE, 600)));
        // Each member comes back once whatever the size, and then as slowly as all together.
        let members: Vec<_> = (0..60).map(|number| Some(peer(number))).collect();
        let back = taken(&enter(2).expect("the second"), &members, LARGE, 600);
        assert!((60..=60 + at_once + 64 + 60).contains(&back), "{back}");
    }

    #[test]
    fn a_crowd_behind_one_address_gets_its_answers_at_once() {
        let budgets = Budgets::default();
        let addresses = Addresses::default();
        let address =
            addresses.enter(Duration::ZERO, AddressKey::V4(7), &budgets).expect("the first");
        for member in (0..50).map(|number| Some(peer(number))).chain([None; 50]) {
            for _ in 0..3 {
                let payer = address.take_join(Duration::ZERO, &budgets, member);
                address.charge_join(payer.expect("it is taken"), USUAL);
            }
        }
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
