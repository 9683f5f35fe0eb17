//! Who may moderate, and what moderators decide.

use voicemesh_wire::Permissions;
use voicemesh_wire::signaling::{Moderation, OwnerRightState};

use super::lobby::with_password;
use super::tickets::UNIX;
use super::*;
use crate::room::{AddressTag, Digest, Salt};

const D: ConnectionId = ConnectionId(4);
pub(super) const MINUTE: Duration = Duration::from_secs(60);

impl World {
    /// A room of the `run`th run of a server whose tickets outlast restarts, or do not, at this
    /// time after its start.
    pub(super) fn of_server(run: u8, outlasts: bool, now: Duration) -> Self {
        let rules = RoomRules {
            tickets_outlast_restarts: outlasts,
            owner_after: 2 * MINUTE,
            ..RoomRules::default()
        };
        let mut world = Self::with(rules);
        world.issue_tickets(run, u64::from(run) * 1_000);
        world.now = now;
        world
    }

    pub(super) fn decide(&mut self, from: ConnectionId, action: Moderation) -> Option<ErrorCode> {
        self.received(from);
        self.say(from, ClientMessage::Moderate { request: Some(7), action });
        let answer = self.received(from).into_iter().find_map(|message| match message {
            ServerMessage::Moderated { request: 7 } => Some(None),
            ServerMessage::Error { code, request: Some(7), .. } => Some(Some(code)),
            _ => None,
        });
        answer.expect("a decision is answered")
    }

    pub(super) fn may_moderate(&self, person: u8) -> bool {
        self.room
            .members
            .iter()
            .any(|(_, member)| member.peer == peer_of(person) && member.permissions.moderate)
    }

    fn tick(&mut self, now: Duration) {
        self.now = now;
        self.room.tick(now, &mut self.sent);
    }
}

fn mute(person: u8) -> Moderation {
    Moderation::Mute { peer: peer_of(person) }
}

pub(super) fn kick(person: u8) -> Moderation {
    Moderation::Kick { peer: peer_of(person) }
}

pub(super) fn back(person: u8, joined: &Joined) -> Join {
    Join { ticket: joined.ticket.clone(), run: 99, ..join_of(person) }
}

#[test]
fn the_member_who_makes_a_room_may_moderate_it_and_no_other() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    let first = world.join(A, 1);
    assert!(first.permissions.moderate && first.owner_right.is_held());
    assert!(!world.join(B, 2).permissions.moderate);
    assert_eq!(world.decide(B, mute(1)), Some(ErrorCode::NotModerator));
    assert_eq!(world.decide(A, mute(2)), None);
    let muted = ServerMessage::Permissions {
        peer: peer_of(2),
        permissions: Permissions::default().without_speak(),
    };
    assert!(world.received(B).contains(&muted), "the muted member gets it as well");
    let again = world.join_as(C, Join { run: 77, ..join_of(2) });
    assert!(!again.permissions.speak, "it stays muted when it comes back");
    assert_eq!(world.decide(A, Moderation::Unmute { peer: peer_of(2) }), None);
    assert!(world.room.members.iter().all(|(_, member)| member.permissions.speak));
    assert_eq!(world.decide(A, mute(9)), Some(ErrorCode::UnknownPeer));
}

#[test]
fn a_member_who_waits_for_the_owner_to_go_gets_nothing() {
    for reason in [LeaveReason::Lost, LeaveReason::Left] {
        let mut world = World::of_server(1, true, 10 * MINUTE);
        let owner = world.join(A, 1);
        world.join(B, 2);
        world.leave(A, reason);
        world.tick(40 * MINUTE);
        assert_eq!(world.room.owner(), Some(peer_of(2)), "it decides what the room publishes");
        assert_eq!(world.decide(B, Moderation::Lock), Some(ErrorCode::NotModerator));
        assert!(world.join_as(C, back(1, &owner)).permissions.moderate);
    }
}

/// Leaves a member alone in the room of an owner who is lost, with this password or none, and lets
/// the owner come back with its ticket.
fn a_stranger_decides_the_password_while_the_right_waits(
    of_room: Option<&str>,
    of_stranger: Option<&str>,
    comes_by_another_run: bool,
) {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    let named = |person, password: Option<&str>| Join {
        password: password.map(Into::into),
        ..join_of(person)
    };
    let owner = world.join_with(A, named(1, of_room)).expect("it makes the room");
    world.join_with(B, named(2, of_room)).expect("it is right");
    world.leave(A, LeaveReason::Lost);
    if !comes_by_another_run {
        world.leave(B, LeaveReason::Left);
    }
    let alone = Join { run: 50, ..named(2, of_stranger) };
    let stranger = world.join_with(C, alone).expect("it is alone");
    assert!(!stranger.permissions.moderate);
    world.now += 5 * MINUTE;
    let returns = Join { password: of_room.map(Into::into), ..back(1, &owner) };
    let returned = world.join_with(D, returns);
    let returned = returned.unwrap_or_else(|code| {
        panic!("{of_room:?} {of_stranger:?} {comes_by_another_run}: {code:?}")
    });
    assert!(returned.permissions.moderate);
    assert_eq!(returned.password.set, of_room.is_some());
    assert!(returned.peers.is_empty(), "who was behind another password is not heard");
    let code = if of_room.is_some() { ErrorCode::PasswordRequired } else { ErrorCode::Kicked };
    let last = world.received(C).pop();
    assert!(
        matches!(&last, Some(ServerMessage::Error { code: last, fatal: true, .. }) if *last == code),
        "{last:?}"
    );
    let again = Join { run: 51, ticket: stranger.ticket, ..named(2, of_stranger) };
    assert!(world.join_with(B, again).is_err() || of_stranger.is_none());
}

#[test]
fn while_the_right_waits_a_member_alone_keeps_its_holder_out_by_no_password() {
    for by_run in [false, true] {
        a_stranger_decides_the_password_while_the_right_waits(None, Some("mine"), by_run);
        a_stranger_decides_the_password_while_the_right_waits(Some("ours"), Some("mine"), by_run);
        a_stranger_decides_the_password_while_the_right_waits(Some("ours"), None, by_run);
    }
}

#[test]
fn in_an_empty_room_the_right_of_a_lost_owner_waits_ten_minutes() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    world.leave(A, LeaveReason::Lost);
    world.now += 9 * MINUTE;
    assert!(!world.room.is_over(world.now));
    assert!(!world.join(B, 2).permissions.moderate, "a stranger comes into the empty room");
    assert!(world.join(A, 1).permissions.moderate, "the owner comes back");
    world.leave(B, LeaveReason::Left);
    world.leave(A, LeaveReason::Lost);
    world.now += 11 * MINUTE;
    assert!(world.room.is_over(world.now));
    assert!(world.join(B, 2).permissions.moderate, "then it is another room");
}

#[test]
fn a_stranger_who_polls_during_a_restart_can_moderate_nothing() {
    let mut before = World::of_server(1, true, 10 * MINUTE);
    let owner = before.join(A, 1);
    let mut world = World::of_server(2, true, Duration::ZERO);
    let stranger = world.join(C, 9);
    assert_eq!(stranger.owner_right, OwnerRightState::Later);
    assert_eq!(world.decide(C, Moderation::Lock), Some(ErrorCode::NotModerator));
    world.now = MINUTE;
    assert!(world.join_as(A, back(1, &owner)).permissions.moderate);
    world.tick(3 * MINUTE);
    assert_eq!(world.decide(C, kick(1)), Some(ErrorCode::NotModerator));
    assert_eq!(world.decide(A, kick(9)), None);
}

#[test]
fn a_stranger_who_was_first_after_a_restart_never_moderates_those_who_come_back() {
    let mut before = World::of_server(1, true, 10 * MINUTE);
    before.join(A, 1);
    let friend = before.join(B, 2);
    let mut world = World::of_server(2, true, Duration::ZERO);
    assert_eq!(world.join(C, 9).owner_right, OwnerRightState::Later);
    world.now = MINUTE;
    let returned = world.join_as(B, back(2, &friend));
    assert_eq!(
        (returned.permissions.moderate, returned.owner_right),
        (false, OwnerRightState::Held)
    );
    world.tick(3 * MINUTE);
    assert!(!world.may_moderate(9));
    assert_eq!(world.decide(C, kick(2)), Some(ErrorCode::NotModerator));
    world.leave(B, LeaveReason::Left);
    world.leave(C, LeaveReason::Left);
    world.now += 11 * MINUTE;
    assert!(world.join(C, 9).permissions.moderate, "it was empty: it is another room");
}

#[test]
fn after_two_minutes_without_the_former_owner_the_first_gets_the_right_and_a_ticket_takes_it_back()
{
    let mut before = World::of_server(1, true, 10 * MINUTE);
    let owner = before.join(A, 1);
    let mut world = World::of_server(2, true, Duration::ZERO);
    world.join(C, 9);
    world.tick(2 * MINUTE);
    assert!(world.may_moderate(9));
    assert_eq!(world.decide(C, Moderation::Lock), None);
    assert_eq!(world.decide(C, mute(9)), None);
    world.now = 5 * MINUTE;
    let returned = world.join_as(A, back(1, &owner));
    assert!(returned.permissions.moderate && !returned.locked, "what the other decided has ended");
    assert!(!world.may_moderate(9));
}

#[test]
fn for_a_day_a_ticket_takes_the_right_back_from_a_newcomer_after_a_restart() {
    let mut before = World::of_server(1, true, 10 * MINUTE);
    let owner = before.join(A, 1);
    let mut world = World::of_server(2, true, Duration::ZERO);
    let stranger = world.join(C, 9);
    world.tick(2 * MINUTE);
    assert!(world.may_moderate(9));
    world.now = 23 * 60 * MINUTE;
    world.room.set_unix_time(UNIX + 1_000 + 23 * 3_600);
    assert!(world.join_as(A, back(1, &owner)).permissions.moderate);
    assert_eq!(world.decide(C, Moderation::Lock), Some(ErrorCode::NotModerator));
    // The newcomer's ticket is newer, and takes nothing.
    assert!(!world.join_as(C, back(9, &stranger)).permissions.moderate && world.may_moderate(1));
    world.room.set_unix_time(UNIX + 1_000 + 25 * 3_600);
    let mut late = World::of_server(3, true, Duration::ZERO);
    late.room.set_unix_time(UNIX + 1_000 + 25 * 3_600);
    late.join(C, 9);
    late.tick(2 * MINUTE);
    assert!(!late.join_as(A, back(1, &owner)).permissions.moderate, "a ticket is valid for a day");
}

#[test]
fn who_left_the_room_empty_takes_nothing_back_from_who_made_it_anew() {
    for (reason, minutes) in
        [(LeaveReason::Left, 0), (LeaveReason::Left, 11), (LeaveReason::Lost, 11)]
    {
        let mut world = World::of_server(1, true, 10 * MINUTE);
        let former = world.join(A, 1);
        world.leave(A, reason);
        world.now += minutes * MINUTE;
        world.room.set_unix_time(UNIX + 1_000 + 10);
        assert!(world.join(B, 2).permissions.moderate);
        world.join(C, 3);
        assert_eq!(world.decide(B, mute(3)), None);
        assert!(!world.join_as(A, back(1, &former)).permissions.moderate, "{reason:?}");
        assert_eq!(world.decide(A, kick(2)), Some(ErrorCode::NotModerator));
        assert!(world.may_moderate(2) && world.decide(B, Moderation::Lock).is_none());
        let muted = world.room.members.iter().filter(|(_, member)| !member.permissions.speak);
        assert_eq!(muted.count(), 1, "what was decided stays");
        let ban = Moderation::Ban { peer: peer_of(1), seconds: 3_600 };
        assert_eq!(world.decide(B, ban), None);
        world.leave(B, LeaveReason::Left);
        world.leave(C, LeaveReason::Left);
        let again = world.room.check_ban(world.now, &back(1, &former), None);
        assert!(again.is_err(), "{reason:?}: bans hold in an empty room");
    }
}

#[test]
fn after_a_restart_a_newcomer_keeps_the_former_owner_out_neither_by_a_ban_nor_by_a_password() {
    let mut before = World::of_server(1, true, 10 * MINUTE);
    let owner = before.join(A, 1);
    let mut world = World::of_server(2, true, 10 * MINUTE);
    world.join(B, 2);
    // Without its ticket, the owner is a member as any.
    assert!(!world.join(A, 1).permissions.moderate);
    assert_eq!(world.decide(B, Moderation::Ban { peer: peer_of(1), seconds: 86_400 }), None);
    let digest = crate::room::digest(&"mine".into(), Salt([3; 16])).expect("memory");
    world.room.change_password(B, Some(7), digest, &mut world.sent).expect("it may");
    let returns = back(1, &owner);
    assert!(world.room.check_ban(world.now, &join_of(1), None).is_err());
    assert!(world.room.check_ban(world.now, &returns, None).is_ok());
    world.received(B);
    let joined = world.join_as(A, returns);
    assert!(
        joined.permissions.moderate && joined.peers.is_empty(),
        "who was behind the password is not heard"
    );
    let last = world.received(B).pop();
    assert!(
        matches!(last, Some(ServerMessage::Error { code: ErrorCode::Kicked, fatal: true, .. })),
        "{last:?}"
    );
    world.join(B, 2);
    assert!(
        world.room.check_ban(world.now, &join_of(1), None).is_ok(),
        "the newcomer's bans have ended"
    );
}

#[test]
fn a_former_owner_does_not_open_a_room_whose_password_friends_brought_back() {
    let mut before = World::of_server(1, true, 10 * MINUTE);
    let first = before.join(A, 1);
    before.join(B, 2);
    assert_eq!(before.decide(A, Moderation::MakeOwner { peer: peer_of(2) }), None);
    let digest: Digest = crate::room::digest(&"ours".into(), Salt([3; 16])).expect("memory");
    before.room.change_password(B, Some(7), digest, &mut before.sent).expect("it may");
    before.leave(A, LeaveReason::Left);
    let friend = before.join_with(C, with_password(3, "ours")).expect("it is right");
    let mut after = World::of_server(2, true, Duration::ZERO);
    after.join_with(C, back(3, &friend)).expect("the ticket brings the password");
    assert_eq!(after.join_with(A, back(1, &first)).unwrap_err(), ErrorCode::PasswordRequired);
}

#[test]
fn a_ban_holds_until_it_ends_also_when_the_room_was_empty_or_dropped() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    world.join(B, 2);
    world.room.set_address(B, AddressTag(7));
    assert_eq!(world.decide(A, Moderation::Ban { peer: peer_of(2), seconds: 3_600 }), None);
    world.leave(A, LeaveReason::Left);
    assert!(world.room.is_empty());
    let banned = |world: &World, person, address| {
        world.room.check_ban(world.now, &join_of(person), Some(AddressTag(address))).is_err()
    };
    assert!(banned(&world, 2, 8) && banned(&world, 5, 7));
    world.now += 2 * MINUTE;
    assert!(world.room.is_over(world.now));
    let bans = world.room.take_bans();
    assert_eq!(bans.len(), 1);
    let now = world.now;
    let mut anew = World::of_server(1, true, now);
    anew.room.set_bans(bans);
    assert!(banned(&anew, 2, 8) && banned(&anew, 5, 7));
    assert!(anew.join(C, 3).permissions.moderate);
    assert_eq!(anew.room.bans(anew.now).len(), 1);
    anew.now += 60 * MINUTE;
    assert!(!banned(&anew, 2, 8), "it has ended");
}

#[test]
fn who_has_just_left_can_be_banned_and_later_no_more() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    for (person, connection) in [(2, B), (3, C)] {
        world.join(connection, person);
        world.room.set_address(connection, AddressTag(person.into()));
        world.leave(connection, LeaveReason::Left);
    }
    let ban = |person| Moderation::Ban { peer: peer_of(person), seconds: 3_600 };
    let banned = |world: &World, person, address| {
        world.room.check_ban(world.now, &join_of(person), Some(AddressTag(address))).is_err()
    };
    world.now += 4 * MINUTE;
    assert_eq!(world.decide(A, ban(2)), None);
    assert!(banned(&world, 2, 9) && banned(&world, 9, 2), "the peer and its address");
    assert!(!banned(&world, 3, 3));
    world.now += 2 * MINUTE;
    assert_eq!(world.decide(A, ban(3)), Some(ErrorCode::UnknownPeer));
    assert_eq!(world.decide(A, ban(4)), Some(ErrorCode::UnknownPeer), "never was here");
}

#[test]
fn who_has_just_left_can_be_banned_also_by_an_owner_who_has_taken_the_right_back_since() {
    let mut before = World::of_server(1, true, 10 * MINUTE);
    let owner = before.join(A, 1);
    let mut world = World::of_server(2, true, 10 * MINUTE);
    world.join(B, 2);
    world.join(C, 3);
    world.leave(C, LeaveReason::Left);
    world.now += MINUTE;
    assert!(world.join_as(A, back(1, &owner)).permissions.moderate);
    assert_eq!(world.decide(A, Moderation::Ban { peer: peer_of(3), seconds: 3_600 }), None);
    assert!(world.room.check_ban(world.now, &join_of(3), None).is_err());
}

#[test]
fn without_a_secret_a_room_that_is_entered_at_the_start_gives_no_right_until_it_was_empty() {
    let mut world = World::of_server(1, false, MINUTE);
    assert_eq!(world.join(A, 1).owner_right, OwnerRightState::None);
    world.tick(5 * MINUTE);
    assert_eq!(world.decide(A, Moderation::Lock), Some(ErrorCode::NotModerator));
    world.leave(A, LeaveReason::Left);
    assert!(world.join(B, 2).permissions.moderate);
}

#[test]
fn the_right_is_handed_on_and_the_newer_ticket_counts() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    let first = world.join(A, 1);
    let second = world.join(B, 2);
    assert_eq!(world.decide(A, Moderation::MakeOwner { peer: peer_of(2) }), None);
    let ticket = world.received(B).into_iter().rev().find_map(|message| match message {
        ServerMessage::Ticket { ticket } => Some(ticket),
        _ => None,
    });
    let second = Joined { ticket, ..second };
    assert_eq!(world.decide(A, Moderation::Lock), Some(ErrorCode::NotModerator));
    assert_eq!(world.decide(B, Moderation::Lock), None);

    let mut after = World::of_server(2, true, Duration::ZERO);
    assert!(after.join_as(A, back(1, &first)).permissions.moderate, "the older one came first");
    assert!(after.join_as(B, back(2, &second)).permissions.moderate);
    assert!(!after.may_moderate(1));
}

#[test]
fn one_whose_connection_was_lost_is_put_out_of_the_others_links_as_well() {
    let left = ServerMessage::PeerLeft { peer: peer_of(2), reason: LeaveReason::Kicked };
    for action in
        [Moderation::Kick { peer: peer_of(2) }, Moderation::Ban { peer: peer_of(2), seconds: 600 }]
    {
        let mut world = World::of_server(1, true, 10 * MINUTE);
        world.join(A, 1);
        world.join(B, 2);
        world.join(C, 3);
        world.leave(B, LeaveReason::Lost);
        world.received(C);
        assert_eq!(world.decide(A, action), None);
        assert_eq!(world.received(C), std::slice::from_ref(&left));
        let unknown = world.decide(A, Moderation::Kick { peer: peer_of(4) });
        assert_eq!(unknown, Some(ErrorCode::UnknownPeer), "who was never here");
    }
}

#[test]
fn what_is_decided_about_a_member_whose_connection_was_lost_is_sent_to_the_others_and_holds_when_it_comes_back()
 {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    world.join(B, 2);
    world.join(C, 3);
    world.leave(B, LeaveReason::Lost);
    world.received(C);
    let (peer, red) = (peer_of(2), vec!["Red".to_owned()]);
    let before = world.room.mark();
    assert_eq!(world.decide(A, mute(2)), None);
    let muted =
        ServerMessage::Permissions { peer, permissions: Permissions::default().without_speak() };
    assert_eq!(world.received(C), std::slice::from_ref(&muted));
    assert_eq!(world.room.mark().version, before.version + 1, "as each `permissions`");
    assert_eq!(world.decide(A, Moderation::Move { peer, groups: red.clone() }), None);
    let held = ServerMessage::Held { peer, groups: red.clone() };
    assert_eq!(world.received(C), std::slice::from_ref(&held));

    // One that was behind gets both before its roster, which says nothing of the lost one.
    world.refresh(C);
    let received = world.received(C);
    assert_eq!(received[..2], [muted, held]);
    assert!(matches!(received[2], ServerMessage::Roster { .. }), "{received:?}");

    world.received(B);
    world.try_join(B, join_of(2)).expect("it comes back");
    let received = world.received(B);
    let [ServerMessage::Joined(joined), ServerMessage::Move { groups, number: Some(1) }] =
        received.as_slice()
    else {
        panic!("{received:?}")
    };
    assert!(!joined.permissions.speak && joined.held_in == red && *groups == red);
    world.received(C);
    world.refresh(C);
    assert!(
        matches!(world.received(C)[0], ServerMessage::Roster { .. }),
        "it is in the roster again"
    );

    // What is taken back while it is away is news as well.
    world.leave(B, LeaveReason::Lost);
    world.received(C);
    assert_eq!(world.decide(A, Moderation::Unmute { peer }), None);
    assert_eq!(
        world.received(C),
        [ServerMessage::Permissions { peer, permissions: Permissions::default() }]
    );
    world.now += 6 * MINUTE;
    assert_eq!(world.decide(A, mute(2)), Some(ErrorCode::UnknownPeer), "no link lives so long");
}

#[test]
fn one_who_is_behind_closes_its_link_to_a_member_that_was_put_out() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    world.join(B, 2);
    world.join(C, 3);
    assert_eq!(world.decide(A, kick(2)), None);
    world.received(C);
    world.refresh(C);
    assert_eq!(
        world.received(C)[0],
        ServerMessage::PeerLeft { peer: peer_of(2), reason: LeaveReason::Kicked }
    );
}

#[test]
fn the_operator_puts_out_a_member_that_has_lost_its_connection_and_may_have_links() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    world.join(B, 2);
    world.leave(B, LeaveReason::Lost);
    world.received(A);
    assert!(world.room.kick(world.now, peer_of(2), &mut world.sent));
    let left = ServerMessage::PeerLeft { peer: peer_of(2), reason: LeaveReason::Kicked };
    assert_eq!(world.received(A), [left]);
    assert!(!world.room.kick(world.now, peer_of(9), &mut world.sent), "it was never here");
}

#[test]
fn only_a_run_that_was_in_the_room_before_is_sent_what_was_decided_about_members_who_have_left() {
    let left = ServerMessage::PeerLeft { peer: peer_of(2), reason: LeaveReason::Kicked };
    let rosters = |received: &[ServerMessage]| {
        let is_state = |message: &&ServerMessage| {
            matches!(message, ServerMessage::Joined(_) | ServerMessage::Roster { .. })
        };
        received.iter().filter(is_state).count()
    };
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    world.join(B, 2);
    world.join(C, 3);
    world.leave(C, LeaveReason::Lost);
    assert_eq!(world.decide(A, kick(2)), None);

    world.received(C);
    world.try_join(C, join_of(3)).expect("it comes back");
    let received = world.received(C);
    assert!(
        received.contains(&left) && rosters(&received) == 2,
        "it may have a link: {received:?}"
    );

    let newcomer = ConnectionId(4);
    world.try_join(newcomer, join_of(4)).expect("it is new");
    let received = world.received(newcomer);
    assert!(!received.contains(&left) && rosters(&received) == 1, "{received:?}");
    world.leave(newcomer, LeaveReason::Left);
    world.try_join(newcomer, Join { run: 99, ..join_of(4) }).expect("another run of it");
    assert_eq!(rosters(&world.received(newcomer)), 1);

    // Of those that left before many others it is not known.
    for person in 10..80 {
        let connection = ConnectionId(u64::from(person));
        world.join(connection, person);
        world.leave(connection, LeaveReason::Lost);
    }
    assert_eq!(world.decide(A, kick(79)), None);
    let first = ConnectionId(10);
    world.try_join(first, join_of(10)).expect("it comes back");
    assert_eq!(rosters(&world.received(first)), 2);
}

#[test]
fn a_member_who_is_put_out_is_told_so_and_the_others_close_their_links() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    let second = world.join(B, 2);
    world.join(C, 3);
    world.room.set_address(B, AddressTag(7));
    world.received(C);
    assert_eq!(world.decide(A, Moderation::Ban { peer: peer_of(2), seconds: 600 }), None);
    let left = ServerMessage::PeerLeft { peer: peer_of(2), reason: LeaveReason::Kicked };
    assert_eq!(world.received(C), [left]);
    let last = world.received(B).pop();
    assert!(
        matches!(last, Some(ServerMessage::Error { code: ErrorCode::Banned, fatal: true, .. })),
        "{last:?}"
    );
    assert_eq!(world.sent.closed, [(B, CloseReason::Refused)]);

    let banned =
        |world: &World, join: &Join, address| world.room.check_ban(world.now, join, address).err();
    let code = |refusal: Option<Refusal>| refusal.map(|refusal| refusal.code);
    let elsewhere = Some(AddressTag(8));
    assert_eq!(
        code(banned(&world, &back(2, &second), elsewhere)),
        Some(ErrorCode::Banned),
        "with its ticket as well"
    );
    assert_eq!(
        code(banned(&world, &join_of(5), Some(AddressTag(7)))),
        Some(ErrorCode::Banned),
        "from its address"
    );
    assert_eq!(banned(&world, &join_of(5), elsewhere), None);
    world.now += Duration::from_secs(601);
    assert_eq!(banned(&world, &join_of(2), Some(AddressTag(7))), None, "it has ended");
}

#[test]
fn a_room_that_is_locked_lets_in_members_with_tickets_only() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    let second = world.join(B, 2);
    assert_eq!(world.decide(A, Moderation::Lock), None);
    assert!(world.received(B).contains(&ServerMessage::Locked { locked: true }));
    // A member that was sent too much for its queue to keep is brought up to date.
    world.refresh(B);
    assert!(world.received(B).contains(&ServerMessage::Locked { locked: true }));
    world.leave(B, LeaveReason::Lost);
    assert_eq!(world.try_join(C, join_of(3)).unwrap_err().code, ErrorCode::RoomLocked);
    assert!(world.join_as(C, back(2, &second)).locked);
    assert_eq!(world.decide(A, Moderation::Unlock), None);
    world.join(ConnectionId(4), 3);
}

#[test]
fn everyone_learns_that_a_password_was_set_changed_or_removed_and_never_which() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    assert_eq!(world.join(B, 2).password, RoomPassword::default());
    let another = || {
        let salt = Salt([9; 16]);
        crate::room::digest(&"another".into(), salt).expect("memory")
    };
    let said = |world: &mut World| {
        let of_a_password = |message: &ServerMessage| matches!(message, ServerMessage::Password(_));
        let messages = world.received(B).into_iter();
        messages.filter(of_a_password).collect::<Vec<_>>()
    };
    for number in 1..=2 {
        world.room.change_password(A, Some(7), another(), &mut world.sent).expect("it may");
        let password = RoomPassword { set: true, number };
        assert_eq!(said(&mut world), [ServerMessage::Password(password)]);
        world.refresh(B);
        assert_eq!(said(&mut world), [ServerMessage::Password(password)], "brought up to date");
    }
    assert_eq!(world.decide(A, Moderation::SetPassword { password: None }), None);
    assert_eq!(said(&mut world), [ServerMessage::Password(RoomPassword { set: false, number: 3 })]);
    assert_eq!(world.join(ConnectionId(4), 4).password, RoomPassword { set: false, number: 3 });
}

#[test]
fn a_password_that_a_moderator_sets_holds_for_newcomers_and_raises_the_epoch() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join_with(A, with_password(1, "sesame")).expect("the first decides");
    let old = world.join_with(B, with_password(2, "sesame")).expect("it is right");
    let digest = crate::room::digest(&"other".into(), crate::room::Salt([3; 16])).expect("memory");
    let refused = world.room.change_password(B, Some(7), digest, &mut world.sent).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotModerator);
    world.room.change_password(A, Some(7), digest, &mut world.sent).expect("it may");
    let ticket = world.received(A).into_iter().find_map(|message| match message {
        ServerMessage::Ticket { ticket } => Some(ticket),
        _ => None,
    });
    assert_eq!(
        world.join_with(C, with_password(3, "sesame")).unwrap_err(),
        ErrorCode::PasswordWrong
    );
    world.leave(B, LeaveReason::Lost);
    assert_eq!(
        world.join_with(B, back(2, &old)).unwrap_err(),
        ErrorCode::PasswordRequired,
        "an old ticket"
    );
    world.join_with(C, with_password(3, "other")).expect("it is right");

    let mut after = World::of_server(2, true, Duration::ZERO);
    after.join_with(B, back(2, &old)).expect("the older ticket comes first");
    let newest = Join { ticket, run: 99, ..join_of(1) };
    assert!(after.join_with(A, newest).expect("the higher epoch counts").peers.is_empty());
    assert_eq!(after.join_with(B, back(2, &old)).unwrap_err(), ErrorCode::PasswordRequired);
}

#[test]
fn a_member_who_is_moved_is_held_there_until_it_is_moved_back() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    world.join(B, 2);
    let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (red, peer) = (groups(&["Red"]), peer_of(2));
    world.received(A);
    world.received(B);
    let action = Moderation::Move { peer, groups: red.clone() };
    world.say(A, ClientMessage::Moderate { request: Some(7), action });
    let held = |groups: &Vec<String>| ServerMessage::Held { peer, groups: groups.clone() };
    assert_eq!(
        world.received(B),
        [ServerMessage::Move { groups: red.clone(), number: Some(1) }, held(&red)]
    );
    let received = world.received(A);
    assert!(
        received.contains(&held(&red))
            && received.contains(&ServerMessage::Moderated { request: 7 }),
        "{received:?}"
    );
    // It is so for newcomers, and when it comes back.
    assert_eq!(world.join(C, 3).peers[1].held_in, red);
    world.leave(B, LeaveReason::Lost);
    world.received(A);
    let again = world.join_as(B, Join { run: 9, ..join_of(2) });
    assert_eq!(again.held_in, red);
    world.refresh(C);
    let is_held = |message: &ServerMessage| match message {
        ServerMessage::Roster { peers, .. } => {
            peers.iter().any(|info| info.peer == peer && info.held_in == red)
        }
        _ => false,
    };
    assert!(world.received(C).iter().any(is_held));
    world.received(A);
    for free in [groups(&["Global"]), groups(&[])] {
        assert_eq!(world.decide(A, Moderation::Move { peer, groups: red.clone() }), None);
        world.received(B);
        world.received(C);
        assert_eq!(world.decide(A, Moderation::Move { peer, groups: free.clone() }), None);
        assert!(world.received(C).contains(&held(&Vec::new())));
        let asked =
            world.received(B).iter().any(|message| matches!(message, ServerMessage::Move { .. }));
        assert_eq!(
            asked,
            !free.is_empty(),
            "a member who may choose again is not asked to leave everything"
        );
    }
}

#[test]
fn what_a_held_member_writes_to_others_is_refused_by_its_number() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    let (held, other) = (world.join(B, 2), world.join(C, 3));
    [A, B, C].into_iter().for_each(|connection| world.enter_session(connection));
    let red = vec!["Red".to_owned()];
    assert_eq!(world.decide(A, Moderation::Move { peer: peer_of(2), groups: red }), None);
    world.received(B);
    let session = SessionId::new(held.session).expect("not zero");
    let write = |world: &mut World, recipient| {
        let text = TextData { sender: held.client, recipient, text: "hi" }.encode(session);
        world.room.packet(world.now, B, &text.into(), &mut world.sent);
    };
    let owner = Recipient::Client(world.room.session().client_of(A).expect("it is in"));
    write(&mut world, owner);
    write(&mut world, Recipient::Client(other.client));
    write(&mut world, Recipient::Group(GroupId::of("Global")));
    let refused = |number| Refusal::held().of_text(Some(number)).answer();
    assert_eq!(world.received(B), [refused(2), refused(3)], "who may moderate is written to");
}

#[test]
fn what_is_kept_of_members_who_were_moved_is_bounded() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    let mut refused = 0;
    for number in 2..60 {
        let connection = ConnectionId(u64::from(number));
        world.join(connection, number);
        let groups = (0..8).map(|group| format!("{group}{}", "x".repeat(250))).collect();
        let code = world.decide(A, Moderation::Move { peer: peer_of(number), groups });
        assert!(code.is_none() || code == Some(ErrorCode::TooManyMessages));
        refused += usize::from(code.is_some());
        world.leave(connection, LeaveReason::Left);
    }
    assert_eq!(refused, 58 - 16 * 1024 / (8 * 251));
}

#[test]
fn a_move_that_frees_is_never_refused_and_those_who_are_free_leave_room_for_others() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    let long = |first: &str| -> Vec<String> {
        let names = (10..72).map(|group| format!("{group}{}", "x".repeat(250)));
        [first.to_owned()].into_iter().chain(names).collect()
    };
    let move_to = |world: &mut World, person, groups| {
        world.decide(A, Moderation::Move { peer: peer_of(person), groups })
    };
    for person in 2..6 {
        world.join(ConnectionId(u64::from(person)), person);
        assert_eq!(move_to(&mut world, person, long("Global")), None, "{person}");
    }
    assert_eq!(
        move_to(&mut world, 2, long("Red")),
        None,
        "in place of what was kept of the free ones"
    );
    assert_eq!(move_to(&mut world, 3, long("Red")), Some(ErrorCode::TooManyMessages));
    assert_eq!(move_to(&mut world, 3, long("Global")), None);
    // The one that is held is still moved on its next connection.
    world.leave(B, LeaveReason::Lost);
    world.try_join(B, join_of(2)).expect("it comes back");
    let moved = |message: &ServerMessage| matches!(message, ServerMessage::Move { groups, .. } if *groups == long("Red"));
    assert!(world.received(B).iter().any(moved));
    assert_eq!(move_to(&mut world, 2, long("Global")), None);
    assert_eq!(move_to(&mut world, 3, long("Red")), None);
}

#[test]
fn what_was_decided_about_members_who_are_long_gone_leaves_room_for_others() {
    let mut world = World::of_server(1, true, 10 * MINUTE);
    world.join(A, 1);
    let groups: Vec<String> = (0..8).map(|group| format!("{group}{}", "x".repeat(250))).collect();
    let decide = |world: &mut World, person: u16| {
        let secret =
            InstallationSecret(std::array::from_fn(|at| person.to_be_bytes()[at % 2] ^ 0xA0));
        let join = Join { proof: prove(&secret, "wss://voice.example", "lobby", 0), ..join_of(2) };
        let peer = join.proof.peer_id();
        world.join_as(B, join);
        let codes = [Moderation::Mute { peer }, Moderation::Move { peer, groups: groups.clone() }]
            .map(|action| world.decide(A, action));
        world.leave(B, LeaveReason::Left);
        codes
    };
    for person in 0..8 {
        assert_eq!(decide(&mut world, person), [None, None]);
    }
    assert_eq!(decide(&mut world, 8)[1], Some(ErrorCode::TooManyMessages), "they may come back");
    for person in 9..400 {
        world.now += MINUTE;
        assert_eq!(decide(&mut world, person)[0], None, "{person}");
    }
    assert_eq!(decide(&mut world, 401), [None, None]);
}
