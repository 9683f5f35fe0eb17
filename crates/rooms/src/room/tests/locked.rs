//! Who passes the lock of a room.

use voicemesh_wire::signaling::Moderation;

use super::tickets::{UNIX, with_ticket};
use super::*;

/// Later than any run of a server begins.
const START: u64 = UNIX + 10_000;
const MINUTE: Duration = Duration::from_secs(60);
const D: ConnectionId = ConnectionId(4);

/// A room that person 1 has made and person 2 has joined, in this run of a server.
fn room_of_two(run: u8, seconds: u64) -> (World, Joined, Joined) {
    let mut world = World::of_server(run, true, 10 * MINUTE);
    world.room.set_unix_time(START + seconds);
    let owner = world.join(A, 1);
    at(&mut world, seconds + 1);
    let friend = world.join(B, 2);
    (world, owner, friend)
}

/// The time of day goes on; it is at least a second between what people do.
fn at(world: &mut World, seconds: u64) {
    world.room.set_unix_time(START + seconds);
}

fn is_kept_out(world: &mut World, connection: ConnectionId, join: Join) -> bool {
    match world.try_join(connection, join) {
        Ok(_) => false,
        Err(refusal) => {
            assert_eq!(refusal.code, ErrorCode::RoomLocked);
            true
        }
    }
}

/// A machine without a battery for its clock, or one that slept.
#[test]
fn a_clock_that_is_set_back_keeps_no_member_out_and_lets_in_no_one_who_was_put_out() {
    let hour = 3_600;
    let (mut world, _, friend) = room_of_two(1, 5 * hour);
    let outsider = world.join(C, 3);
    at(&mut world, 5 * hour + 10);
    assert_eq!(world.decide(A, Moderation::Kick { peer: peer_of(3) }), None);
    assert_eq!(world.decide(A, Moderation::Lock), None);
    at(&mut world, 2 * hour);
    world.leave(B, LeaveReason::Lost);
    assert!(is_kept_out(&mut world, D, with_ticket(3, &outsider)));
    assert!(!is_kept_out(&mut world, B, with_ticket(2, &friend)));
    // What is issued now counts as well.
    assert_eq!(world.decide(A, Moderation::Unlock), None);
    let late = world.join(D, 4);
    assert_eq!(world.decide(A, Moderation::Lock), None);
    world.leave(D, LeaveReason::Lost);
    at(&mut world, 2 * hour + 1);
    assert!(!is_kept_out(&mut world, D, with_ticket(4, &late)));
}

#[test]
fn a_clock_that_is_days_ahead_for_a_moment_ends_no_ticket() {
    let (mut world, _, friend) = room_of_two(1, 0);
    at(&mut world, 3 * 24 * 3_600);
    let late = world.join(C, 3);
    at(&mut world, 10);
    assert_eq!(world.decide(A, Moderation::Kick { peer: peer_of(3) }), None);
    assert_eq!(world.decide(A, Moderation::Lock), None);
    assert!(is_kept_out(&mut world, C, with_ticket(3, &late)), "it was put out");
    world.leave(B, LeaveReason::Lost);
    assert!(!is_kept_out(&mut world, B, with_ticket(2, &friend)));
}

#[test]
fn who_was_let_in_again_passes_whatever_time_it_was_when_it_was_put_out() {
    let (mut world, _, _) = room_of_two(1, 0);
    at(&mut world, 3 * 24 * 3_600);
    assert_eq!(world.decide(A, Moderation::Kick { peer: peer_of(2) }), None);
    at(&mut world, 10);
    let again = world.join(C, 2);
    assert_eq!(world.decide(A, Moderation::Lock), None);
    world.leave(C, LeaveReason::Lost);
    assert!(!is_kept_out(&mut world, D, with_ticket(2, &again)));
}

#[test]
fn who_was_put_out_does_not_pass_by_the_ticket_of_before() {
    let ban = Moderation::Ban { peer: peer_of(2), seconds: 1 };
    for put_out in [Moderation::Kick { peer: peer_of(2) }, ban] {
        for reason in [None, Some(LeaveReason::Lost)] {
            let (mut world, _, friend) = room_of_two(1, 0);
            at(&mut world, 10);
            reason.into_iter().for_each(|reason| world.leave(B, reason));
            assert_eq!(world.decide(A, put_out.clone()), None);
            assert_eq!(world.decide(A, Moderation::Lock), None);
            assert!(is_kept_out(&mut world, C, with_ticket(2, &friend)), "{reason:?}");
            // The time that members are remembered who have left does not matter.
            world.now += 20 * MINUTE;
            at(&mut world, 20 * 60);
            assert!(is_kept_out(&mut world, C, with_ticket(2, &friend)), "{reason:?}");
            // Let in again, it is a member as the others are.
            assert_eq!(world.decide(A, Moderation::Unlock), None);
            let again = world.join_as(C, with_ticket(2, &friend));
            assert_eq!(world.decide(A, Moderation::Lock), None);
            world.leave(C, LeaveReason::Lost);
            assert!(!is_kept_out(&mut world, D, with_ticket(2, &again)));
        }
    }
}

#[test]
fn who_was_in_another_room_of_the_name_does_not_pass() {
    let (mut world, _, former) = room_of_two(1, 0);
    world.leave(A, LeaveReason::Left);
    world.leave(B, LeaveReason::Left);
    at(&mut world, 5);
    world.join(C, 3);
    let fourth = world.join(D, 4);
    assert_eq!(world.decide(C, Moderation::Lock), None);
    assert!(is_kept_out(&mut world, B, with_ticket(2, &former)));
    world.leave(D, LeaveReason::Lost);
    assert!(!is_kept_out(&mut world, D, with_ticket(4, &fourth)));
}

#[test]
fn a_room_that_waits_for_its_owner_is_the_same_room() {
    let (mut world, owner, friend) = room_of_two(1, 0);
    at(&mut world, 5);
    world.leave(B, LeaveReason::Left);
    world.leave(A, LeaveReason::Lost);
    // Someone else comes meanwhile, and decides about the room anew.
    at(&mut world, 10);
    world.join(C, 3);
    world.join_as(A, with_ticket(1, &owner));
    assert_eq!(world.decide(A, Moderation::Lock), None);
    assert!(!is_kept_out(&mut world, B, with_ticket(2, &friend)));
    // And also if it was locked all the time.
    let (mut world, owner, friend) = room_of_two(1, 0);
    assert_eq!(world.decide(A, Moderation::Lock), None);
    world.leave(B, LeaveReason::Left);
    world.leave(A, LeaveReason::Lost);
    at(&mut world, 10);
    assert!(is_kept_out(&mut world, C, join_of(3)));
    assert!(!is_kept_out(&mut world, B, with_ticket(2, &friend)));
    assert!(world.join_as(A, with_ticket(1, &owner)).locked);
}

#[test]
fn after_a_restart_members_of_the_same_room_pass_and_others_of_the_name_do_not() {
    let (_, _, former) = room_of_two(1, 0);
    let (_, owner, friend) = room_of_two(2, 600);
    let mut world = World::of_server(3, true, Duration::ZERO);
    at(&mut world, 700);
    world.join(C, 3);
    world.join_as(A, with_ticket(1, &owner));
    assert_eq!(world.decide(A, Moderation::Lock), None);
    assert!(!is_kept_out(&mut world, B, with_ticket(2, &friend)));
    world.leave(B, LeaveReason::Lost);
    assert!(is_kept_out(&mut world, B, with_ticket(2, &former)));
}

#[test]
fn after_a_restart_a_lock_keeps_out_no_holder_of_an_earlier_right() {
    let (_, owner, _) = room_of_two(1, 0);
    let mut world = World::of_server(2, true, 10 * MINUTE);
    at(&mut world, 5);
    world.join(C, 3);
    assert_eq!(world.decide(C, Moderation::Lock), None);
    assert!(!world.join_as(A, with_ticket(1, &owner)).locked, "the lock ends with the right");
}

#[test]
fn a_bounded_number_of_those_who_were_put_out_is_remembered() {
    let mut door = crate::room::door::Door::default();
    for number in 0..1_000 {
        door.put_out(PeerId(uuid::Uuid::from_u128(number)));
        door.put_out(PeerId(uuid::Uuid::from_u128(number)));
    }
    assert_eq!(door.remembered(), 256);
}
