//! Whose connection this is: addresses that share budgets, and what is left to each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use voicemesh_common::{AddressKey, lock};
use voicemesh_session::budget::{Budget, Budgets};

use crate::returns::{ANSWERS, JoinPayer, Joins, Returning, Returns};

/// An address without connections is forgotten after this time; by then its buckets are full again, of
/// which that of returns takes longest (244 owed and 200, at 4 a second).
const FORGET: Duration = Duration::from_secs(120);

/// Tells addresses apart, as far as bans do: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressTag(pub u128);

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

impl Address {
    /// Takes one more join, if that is within the budget; `member` is who comes back.
    pub(crate) fn take_join(
        &self,
        now: Duration,
        budgets: &Budgets,
        member: Option<Returning<'_>>,
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
            JoinPayer::Returns => lock(&self.returns).charge(None, bytes),
            JoinPayer::Member(member) => lock(&self.returns).charge(Some(member), bytes),
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
                returns: Mutex::new(Returns::full(now, budgets.address_joins)),
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
    use voicemesh_wire::PeerId;

    use super::*;
    use crate::ticket::MemberSince;

    /// Members of one address who have joins for themselves.
    const RETURNING: usize = 192;
    /// Their joins at once.
    const AT_ONCE: usize = 4;

    fn may_join(
        address: &Address,
        now: Duration,
        budgets: &Budgets,
        member: Option<PeerId>,
    ) -> bool {
        may_return(address, now, budgets, member.map(|peer| (peer, "lobby", 0)))
    }

    fn may_return(
        address: &Address,
        now: Duration,
        budgets: &Budgets,
        member: Option<(PeerId, &str, u64)>,
    ) -> bool {
        let member = member.map(|(peer, room, since)| {
            let since = MemberSince::second(since);
            Returning { peer, room, since }
        });
        address.take_join(now, budgets, member).is_some()
    }

    fn peer(number: u128) -> PeerId {
        PeerId(uuid::Uuid::from_u128(number))
    }

    /// The first of a table.
    fn an_address() -> (Budgets, Arc<Address>) {
        let budgets = Budgets::default();
        let address = Addresses::default().enter(Duration::ZERO, AddressKey::V4(7), &budgets);
        (budgets, address.expect("the first"))
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
        let (budgets, address) = an_address();
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
        let (budgets, address) = an_address();
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
        let most = RETURNING * AT_ONCE + budgets.address_joins.burst as usize;
        assert!(admitted <= most, "{admitted} joins in turn");
        assert!(lock(&address.returns).places() <= RETURNING);
    }

    /// One that has been in this room and in others under ever new ids, and shows all its tickets in
    /// turn, several times a second.
    #[test]
    fn members_of_a_room_come_back_whatever_tickets_of_other_rooms_are_shown_beside_them() {
        for (hostile, rooms) in [(64, 1), (200, 2), (2_000, 2), (300, 20)] {
            let budgets = Budgets::default();
            let addresses = Addresses::default();
            let address =
                addresses.enter(Duration::ZERO, AddressKey::V4(7), &budgets).expect("the first");
            let mut admitted = 0;
            for step in 0..60_000_u64 {
                let now = Duration::from_millis(10 * step);
                let number = step % hostile;
                let room = format!("room {}", number % rooms);
                let member = Some((peer(100 + u128::from(number)), &*room, number));
                admitted += usize::from(may_return(&address, now, &budgets, member));
                // A household of four comes back every two minutes, three times in a row.
                if step % 12_000 >= 11_990 {
                    for member in 0..4 {
                        let member = Some((peer(member), "home", 5_000));
                        let is_due = step % 12_000 % 4 == 3;
                        assert!(
                            !is_due || may_return(&address, now, &budgets, member),
                            "{hostile} ids in {rooms} rooms, after {now:?}"
                        );
                    }
                }
                assert!(lock(&address.returns).places() <= RETURNING);
            }
            // Within ten minutes: what all share, what each of 192 has, and places that changed hands.
            let most = 200 + 600 * 4 + 2 * RETURNING * (4 + 60);
            assert!(admitted <= most, "{admitted} of {hostile} ids in {rooms} rooms");
        }
    }

    /// A neighbour with tickets of members who came later, of the same room and of others, who shows
    /// them all without a pause.
    #[test]
    fn members_come_back_at_once_whatever_tickets_of_later_members_are_shown_beside_them() {
        for rooms in [1, 3, 400] {
            let budgets = Budgets::default();
            let addresses = Addresses::default();
            let address =
                addresses.enter(Duration::ZERO, AddressKey::V4(7), &budgets).expect("the first");
            let names: Vec<String> = (0..rooms).map(|number| format!("room {number}")).collect();
            for round in 0..600_u64 {
                let now = Duration::from_millis(100 * round);
                for number in 0..400_u64 {
                    let room = &*names[number as usize % names.len()];
                    let later = Some((peer(1_000 + u128::from(number)), room, 2_000 + number));
                    may_return(&address, now, &budgets, later);
                }
                if round % 150 == 100 {
                    for number in 0..60 {
                        let earlier = Some((peer(number), "room 0", 1_000));
                        assert!(
                            may_return(&address, now, &budgets, earlier),
                            "{number}, of {rooms} rooms, after {now:?}"
                        );
                    }
                }
            }
        }
    }

    /// Each takes the place of one that came later.
    #[test]
    fn members_that_come_back_in_order_the_latest_first_come_no_more_often_than_others() {
        let (budgets, address) = an_address();
        let admitted = (0..60_000_u64).filter(|step| {
            let number = 400 - step % 400;
            let member = Some((peer(number.into()), "lobby", number));
            may_return(&address, Duration::from_millis(10 * step), &budgets, member)
        });
        let admitted = admitted.count();
        // Each of the rounds between which all places may become free is one join of each.
        let most = 200 + 600 * 4 + RETURNING * (4 + 60) + 10 * 400;
        assert!(admitted <= most, "{admitted}");
    }

    /// As after a restart behind one router: each once, in any order, and again after a refusal.
    #[test]
    fn a_crowd_that_comes_back_at_once_is_in_within_seconds() {
        let (budgets, address) = an_address();
        let mut waiting: Vec<u64> = (0..300).map(|number| number * 7 % 300).collect();
        for tries in 0..4 {
            let now = Duration::from_secs(2 * tries);
            waiting.retain(|number| {
                let member = Some((peer(u128::from(*number)), "lobby", *number));
                !may_return(&address, now, &budgets, member)
            });
        }
        assert!(waiting.is_empty(), "{} wait", waiting.len());
    }

    #[test]
    fn of_one_room_a_bounded_number_has_joins_for_itself_and_the_rest_what_all_share() {
        let (budgets, address) = an_address();
        let of = |room: &str, numbers: std::ops::Range<u128>| {
            let admitted = numbers.filter(|number| {
                may_return(&address, Duration::ZERO, &budgets, Some((peer(*number), room, 0)))
            });
            admitted.count()
        };
        assert_eq!(of("big", 0..1_000), RETURNING + 200);
        assert_eq!(of("small", 2_000..2_064), 64, "half of the places of rooms");
        assert_eq!(of("small", 2_064..2_100), 0);
        assert_eq!(of("third", 3_000..3_100), 42, "a third");
    }

    /// The answer to a join of a full room whose members publish all that they may; and of one whose
    /// members publish nothing.
    const LARGE: usize = 1_000_000;
    const USUAL: usize = 25_000;

    fn of_lobby(peer: PeerId) -> Returning<'static> {
        Returning { peer, room: "lobby", since: MemberSince::default() }
    }

    /// Joins, one each 100 ms, of which so many are taken; and the bytes of their answers.
    fn taken(address: &Address, members: &[Option<PeerId>], bytes: usize, steps: u64) -> usize {
        let budgets = Budgets::default();
        let joins = (0..steps).filter(|step| {
            let member = members[*step as usize % members.len()];
            let now = Duration::from_millis(100 * step);
            let member = member.map(of_lobby);
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
        let (budgets, address) = an_address();
        for member in (0..50).map(|number| Some(peer(number))).chain([None; 50]) {
            for _ in 0..3 {
                let member = member.map(of_lobby);
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
