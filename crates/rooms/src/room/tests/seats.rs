//! Who gets a place in a full room.

use std::sync::atomic::{AtomicU64, Ordering};

use super::tickets::with_ticket;
use super::*;
use crate::room::AddressTag;

const MINUTE: Duration = Duration::from_secs(60);
const PLACES: u8 = 16;
/// Each join comes on another one.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1_000);

impl World {
    /// A room of few places, of the `run`th run of a server, at this time after its start.
    fn of_few_places(run: u8, now: Duration) -> Self {
        let mut rules = RoomRules { tickets_outlast_restarts: true, ..RoomRules::default() };
        rules.limits.peers_per_room = PLACES.into();
        let mut world = Self::with(rules);
        world.now = now;
        world.room.seats = crate::room::seats::Seats::new(now);
        world.issue_tickets(run, u64::from(run) * 1_000);
        world
    }

    fn join_from(&mut self, address: u8, join: Join) -> Result<Joined, ErrorCode> {
        let connection = ConnectionId(CONNECTIONS.fetch_add(1, Ordering::Relaxed));
        let joined = self.join_with(connection, join)?;
        self.room.set_address(connection, AddressTag(address.into()));
        Ok(joined)
    }

    /// Strangers take all places that are left. Gives the last one.
    fn fill_from(&mut self, addresses: u8) -> PeerId {
        let mut last = None;
        for person in 50..=200 {
            let join = Join { run: 1_000 + u32::from(person), ..join_of(person) };
            match self.join_from(100 + person % addresses, join) {
                Ok(joined) => last = Some(joined.you),
                Err(code) => {
                    assert_eq!(code, ErrorCode::RoomFull);
                    return last.expect("there was a place");
                }
            }
        }
        panic!("the room takes everyone");
    }

    fn is_in(&self, peer: PeerId) -> bool {
        self.room.members.connection_of(peer).is_some()
    }

    fn lose(&mut self, joined: &Joined, reason: LeaveReason) {
        let connection = self.room.members.connection_of(joined.you).expect("it is in");
        self.leave(connection, reason);
    }
}

#[test]
fn a_member_that_was_lost_gets_its_place_back_from_one_that_came_since() {
    let mut world = World::of_few_places(1, 10 * MINUTE);
    world.join_from(1, join_of(1)).expect("the owner");
    let friend = world.join_from(2, join_of(2)).expect("a friend");
    world.lose(&friend, LeaveReason::Lost);
    let last = world.fill_from(1);
    assert_eq!(
        world.join_from(2, join_of(2)).unwrap_err(),
        ErrorCode::RoomFull,
        "without a ticket"
    );
    let back = world.join_from(2, with_ticket(2, &friend)).expect("its place was kept");
    assert!(back.peers.len() == usize::from(PLACES) - 1 && !world.is_in(last));
    // One that left by itself, or long ago, has none to get back.
    for (reason, wait) in [(LeaveReason::Left, 0), (LeaveReason::Lost, 6)] {
        world.lose(&back, reason);
        world.fill_from(1);
        world.now += wait * MINUTE;
        world.room.tick(world.now, &mut world.sent);
        assert_eq!(world.join_from(2, with_ticket(2, &back)).unwrap_err(), ErrorCode::RoomFull);
        let last =
            world.room.members.iter().max_by_key(|(_, member)| member.order).map(|(of, _)| of);
        world.leave(last.expect("a stranger"), LeaveReason::Left);
        world.join_from(2, with_ticket(2, &back)).expect("there is a place");
    }
}

#[test]
fn who_has_been_here_longer_does_not_give_way_and_where_addresses_have_few_members_none_does() {
    let mut world = World::of_few_places(1, 10 * MINUTE);
    world.join_from(1, join_of(1)).expect("the owner");
    let friend = world.join_from(2, join_of(2)).expect("a friend");
    let mut others = Vec::new();
    for person in 3..PLACES {
        others.push(world.join_from(3, join_of(person)).expect("of a school").you);
    }
    world.lose(&friend, LeaveReason::Lost);
    world.fill_from(1);
    assert_eq!(
        world.join_from(2, with_ticket(2, &friend)).unwrap_err(),
        ErrorCode::RoomFull,
        "those who came since are few of their address"
    );
    assert!(others.into_iter().all(|peer| world.is_in(peer)));
}

#[test]
fn the_holder_of_the_right_gets_a_place_in_a_room_full_of_strangers_and_another_does_not() {
    let mut world = World::of_few_places(1, 10 * MINUTE);
    let owner = world.join_from(1, join_of(1)).expect("the owner");
    let guest = world.join_from(2, join_of(2)).expect("a guest");
    for joined in [&owner, &guest] {
        world.lose(joined, LeaveReason::Left);
        world.join_from(2, join_of(3)).expect("the room is not empty");
    }
    world.fill_from(1);
    assert_eq!(world.join_from(2, with_ticket(2, &guest)).unwrap_err(), ErrorCode::RoomFull);
    let back = world.join_from(1, with_ticket(1, &owner)).expect("it may put them out");
    assert!(back.permissions.moderate);
}

#[test]
fn after_a_restart_members_of_before_get_the_places_of_newcomers_and_keep_theirs() {
    let mut before = World::of_few_places(1, 10 * MINUTE);
    let friends: Vec<Joined> =
        (1..=3).map(|person| before.join_from(4, join_of(person)).expect("a friend")).collect();
    let mut world = World::of_few_places(2, Duration::ZERO);
    world.fill_from(1);
    for (person, friend) in (2..).zip(&friends[1..]) {
        let back = world.join_from(4, with_ticket(person, friend)).expect("it was there before");
        assert_eq!(back.peers.len(), usize::from(PLACES) - 1);
    }
    world.now = 6 * MINUTE;
    world.room.tick(world.now, &mut world.sent);
    world.lose(&friends[2], LeaveReason::Left);
    world.fill_from(1);
    let late = world.join_from(4, with_ticket(3, &friends[2])).unwrap_err();
    assert_eq!(late, ErrorCode::RoomFull);
    assert!(world.is_in(friends[1].you));
    let owner = world.join_from(4, with_ticket(1, &friends[0])).expect("it has the right");
    assert!(owner.permissions.moderate);
}

#[test]
fn what_is_kept_of_places_is_bounded() {
    let mut world = World::of_few_places(1, 10 * MINUTE);
    world.join_from(1, join_of(1)).expect("the owner");
    for person in 2..=255 {
        let joined = world.join_from(2, join_of(person)).expect("there is a place");
        world.lose(&joined, LeaveReason::Lost);
    }
    assert_eq!(world.room.seats.kept(), 64);
    world.now += 6 * MINUTE;
    world.room.tick(world.now, &mut world.sent);
    assert_eq!(world.room.seats.kept(), 0);
}
