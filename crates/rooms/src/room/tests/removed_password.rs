//! A password that was removed, or that a member decided whose right is older than the restart: old
//! tickets bring none back.

use voicemesh_wire::signaling::{Moderation, Password, Ticket};

use super::lobby::with_password;
use super::tickets::with_ticket;
use super::*;
use crate::room::{Salt, digest};

const MINUTE: Duration = Duration::from_secs(60);

/// What members of a room hold whose password its owner has removed.
struct Removed {
    owner: Joined,
    /// It came when the room was open.
    friend: Joined,
    /// It left while there was a password.
    former: Joined,
}

fn newest(world: &mut World, connection: ConnectionId, joined: Joined) -> Joined {
    let ticket: Option<Ticket> = world.newest_ticket(connection);
    Joined { ticket: ticket.or(joined.ticket.clone()), ..joined }
}

fn removed(world: &mut World) -> Removed {
    let owner = world.join_with(A, with_password(1, "sesame")).expect("the first decides");
    let former = world.join_with(B, with_password(2, "sesame")).expect("it is right");
    world.leave(B, LeaveReason::Left);
    world.received(A);
    world.say(
        A,
        ClientMessage::Moderate {
            request: None,
            action: Moderation::SetPassword { password: None },
        },
    );
    let owner = newest(world, A, owner);
    let friend = world.join(C, 3);
    Removed { owner, friend, former }
}

fn set_password(world: &mut World, connection: ConnectionId, password: &str) {
    let digest = digest(&Password::from(password), Salt([3; 16])).expect("memory");
    world.room.change_password(connection, None, digest, &mut world.sent).expect("it may");
}

/// Who is in, by the connections of these tests.
fn present(world: &World) -> Vec<ConnectionId> {
    [A, B, C].into_iter().filter(|connection| world.room.peer_of(*connection).is_some()).collect()
}

#[test]
fn an_old_ticket_brings_no_removed_password_back_and_puts_no_member_out() {
    let Removed { owner, friend, former } = removed(&mut World::of_server(1, true, 10 * MINUTE));
    let mut world = World::of_server(2, true, Duration::ZERO);
    world.join_as(A, with_ticket(1, &owner));
    world.join_as(C, with_ticket(3, &friend));
    let back = world.join_as(B, with_ticket(2, &former));
    assert!(back.peers.len() == 2 && !back.password.set, "{back:?}");
    assert_eq!(present(&world), [A, B, C]);
    world.join(ConnectionId(4), 4);
}

#[test]
fn when_an_old_ticket_comes_first_a_newer_one_opens_the_room_again_and_no_member_is_put_out() {
    let Removed { owner, friend, former } = removed(&mut World::of_server(1, true, 10 * MINUTE));
    for friend_first in [true, false] {
        let mut world = World::of_server(2, true, Duration::ZERO);
        assert!(world.join_as(B, with_ticket(2, &former)).password.set, "its password holds");
        assert!(world.join_with(ConnectionId(4), join_of(4)).is_err());
        world.received(B);
        let newer = if friend_first { (3, &friend) } else { (1, &owner) };
        let back = world.join_as(C, with_ticket(newer.0, newer.1));
        assert!(back.peers.len() == 1 && !back.password.set, "{back:?}");
        let messages = world.received(B);
        let is_news = |message: &ServerMessage| matches!(message, ServerMessage::Password(password) if !password.set);
        assert!(messages.iter().any(is_news), "who is in learns of it: {messages:?}");
        assert!(world.room.peer_of(B).is_some());
        world.join(ConnectionId(4), 4);
        // Once more, with the same old ticket.
        world.leave(B, LeaveReason::Left);
        assert!(!world.join_as(B, with_ticket(2, &former)).password.set);
    }
}

#[test]
fn a_password_after_a_removed_one_holds_against_the_tickets_of_both() {
    let mut before = World::of_server(1, true, 10 * MINUTE);
    let Removed { owner, friend, former } = removed(&mut before);
    let mut world = World::of_server(2, true, Duration::ZERO);
    world.join_as(A, with_ticket(1, &owner));
    set_password(&mut world, A, "another");
    for ticket in [with_ticket(2, &former), with_ticket(3, &friend)] {
        assert_eq!(world.join_with(B, ticket).unwrap_err(), ErrorCode::PasswordRequired);
    }
    assert_eq!(present(&world), [A]);
    let newer = newest(&mut world, A, owner);
    let mut after = World::of_server(3, true, Duration::ZERO);
    after.join_as(C, with_ticket(3, &friend));
    after.join_as(A, with_ticket(1, &newer));
    assert_eq!(after.farewell(C), Some(ErrorCode::PasswordRequired));
}

#[test]
fn in_the_emptied_room_of_one_run_a_newer_ticket_opens_what_an_old_one_closed() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    let Removed { friend, former, .. } = removed(&mut world);
    world.leave(A, LeaveReason::Left);
    world.leave(C, LeaveReason::Left);
    assert!(world.join_as(B, with_ticket(2, &former)).password.set);
    assert!(!world.join_as(C, with_ticket(3, &friend)).password.set);
    assert_eq!(present(&world), [B, C]);
}

/// Of a room that was made open after another of its name had a password.
#[test]
fn a_room_that_was_open_last_is_not_closed_by_the_tickets_of_one_before_it() {
    let mut before = World::of_run(1, 0);
    let former = before.join_with(B, with_password(2, "sesame")).expect("it decides");
    before.leave(B, LeaveReason::Left);
    before.room.set_unix_time(super::tickets::UNIX + 60);
    let friend = before.join(C, 3);
    for restarted_first in [B, C] {
        let mut world = World::of_run(2, 120);
        if restarted_first == B {
            world.join_as(B, with_ticket(2, &former));
            let waits = world.join_with(C, with_ticket(3, &friend)).unwrap_err();
            assert_eq!(waits, ErrorCode::PasswordRequired, "one of its password is in");
        } else {
            world.join_as(C, with_ticket(3, &friend));
            assert!(!world.join_as(B, with_ticket(2, &former)).password.set);
            assert_eq!(present(&world), [B, C]);
        }
    }
}

/// The friend who comes first was in the room before the other one made it anew, the second after.
#[test]
fn the_newest_of_the_friends_tickets_says_since_when_the_room_is_theirs() {
    let mut before = World::of_run(1, 0);
    let first = before.join(A, 1);
    let absent = before.join(C, 3);
    before.leave(A, LeaveReason::Left);
    before.leave(C, LeaveReason::Left);
    before.room.set_unix_time(super::tickets::UNIX + 30);
    let former = before.join_with(B, with_password(2, "sesame")).expect("it decides");
    before.leave(B, LeaveReason::Left);
    before.room.set_unix_time(super::tickets::UNIX + 60);
    let first = before.join_as(A, with_ticket(1, &first));
    let mut world = World::of_run(2, 120);
    world.join_as(C, with_ticket(3, &absent));
    world.join_as(A, with_ticket(1, &first));
    assert!(!world.join_as(B, with_ticket(2, &former)).password.set);
    assert_eq!(present(&world), [A, B, C]);
}

#[test]
fn a_password_of_one_whose_right_is_older_than_the_restart_holds_against_older_tickets() {
    let mut first = World::of_server(1, true, 10 * MINUTE);
    let former = first.join_with(B, with_password(2, "sesame")).expect("it decides");
    first.leave(B, LeaveReason::Left);
    let mut second = World::of_server(2, true, 10 * MINUTE);
    let owner = second.join(A, 1);
    assert!(owner.permissions.moderate);
    let mut world = World::of_server(3, true, Duration::ZERO);
    world.join_as(A, with_ticket(1, &owner));
    set_password(&mut world, A, "ours");
    // Also when all have left meanwhile.
    let owner = newest(&mut world, A, owner);
    world.leave(A, LeaveReason::Left);
    world.join_as(A, with_ticket(1, &owner));
    let refused = world.join_with(B, with_ticket(2, &former)).map(drop);
    assert_eq!(refused, Err(ErrorCode::PasswordRequired));
    assert_eq!(present(&world), [A]);
}

/// A newcomer's password, also when it has left and come back: the ticket of before counts.
#[test]
fn a_newcomer_that_comes_back_by_its_ticket_does_not_keep_the_friends_of_before_out() {
    let friend = World::of_run(1, 0).join_with(A, with_password(1, "sesame")).expect("it decides");
    for newcomer in [with_password(9, "mine"), join_of(9)] {
        let mut world = World::of_run(2, 60);
        let ticket = world.join_with(C, newcomer).expect("the room is empty");
        world.leave(C, LeaveReason::Left);
        world.join_with(C, with_ticket(9, &ticket)).expect("and again");
        let back = world.join_with(A, with_ticket(1, &friend)).expect("the ticket counts");
        assert!(back.peers.is_empty() && back.password.set);
        assert_eq!(world.farewell(C), Some(ErrorCode::PasswordRequired));
    }
}

/// Who handed the right on keeps its ticket of before, and is first after a restart.
#[test]
fn a_former_holder_of_the_right_keeps_its_holder_out_by_no_password() {
    for has_password in [false, true] {
        let join =
            |person| if has_password { with_password(person, "sesame") } else { join_of(person) };
        let mut before = World::of_server(1, true, 10 * MINUTE);
        let former = before.join_with(A, join(1)).expect("it is first");
        let holder = before.join_with(B, join(2)).expect("it is right");
        before.received(B);
        assert_eq!(before.decide(A, Moderation::MakeOwner { peer: peer_of(2) }), None);
        let holder = newest(&mut before, B, holder);
        let mut world = World::of_server(2, true, Duration::ZERO);
        assert!(world.join_as(A, with_ticket(1, &former)).permissions.moderate);
        set_password(&mut world, A, "mine");
        let back = world.join_as(B, with_ticket(2, &holder));
        assert!(back.permissions.moderate && back.password.set == has_password, "{back:?}");
        assert_eq!(present(&world), [B], "who was behind the password is out");
        if has_password {
            world.join_with(C, with_password(3, "sesame")).expect("it is what it was");
            let refused = world.join_with(A, with_ticket(1, &former)).map(drop);
            assert_eq!(refused, Err(ErrorCode::PasswordRequired), "its ticket is older");
        }
    }
}
