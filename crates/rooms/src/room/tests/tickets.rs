//! Tickets: what a member was in a room counts again when it comes back, also after a restart of
//! the server.

use voicemesh_wire::signaling::Ticket;

use super::lobby::with_password;
use super::*;
use crate::ticket::{LIFETIME, RENEWAL, TestCipher, TicketIssuer};

const SECRET: &[u8] = b"a secret of the operator";
pub(super) const UNIX: u64 = 1_800_000_000;

impl World {
    /// A room of the `run`th run of one server, `seconds` after the first began.
    pub(super) fn of_run(run: u8, seconds: u64) -> Self {
        let mut world = Self::new();
        world.issue_tickets(run, seconds);
        world
    }

    pub(super) fn issue_tickets(&mut self, run: u8, seconds: u64) {
        let issuer = TicketIssuer::new(TestCipher::key(SECRET, run.into()), [run; 32]);
        self.room.set_ticket_issuer(issuer, "lobby".to_owned());
        self.room.set_unix_time(UNIX + seconds);
    }

    pub(super) fn newest_ticket(&mut self, connection: ConnectionId) -> Option<Ticket> {
        let mut received =
            self.received(connection).into_iter().filter_map(|message| match message {
                ServerMessage::Ticket { ticket } => Some(ticket),
                _ => None,
            });
        received.next_back()
    }

    /// Whether a connection was ended, and with which last words.
    pub(super) fn farewell(&mut self, connection: ConnectionId) -> Option<ErrorCode> {
        let is_closed = self.sent.closed.iter().any(|(closed, _)| *closed == connection);
        let last = self.received(connection).into_iter().rev().find_map(|message| match message {
            ServerMessage::Error { code, fatal: true, .. } => Some(code),
            _ => None,
        });
        last.filter(|_| is_closed)
    }
}

pub(super) fn with_ticket(person: u8, joined: &Joined) -> Join {
    Join { ticket: joined.ticket.clone(), run: 99, ..join_of(person) }
}

/// Two friends in a room with a password, and what they were given.
fn friends(world: &mut World) -> (Joined, Joined) {
    let first = world.join_with(A, with_password(1, "sesame")).expect("the first decides");
    let second = world.join_with(B, with_password(2, "sesame")).expect("it is right");
    (first, second)
}

#[test]
fn after_a_restart_a_friend_who_comes_second_gets_the_room_back_from_a_stranger() {
    let (first, second) = friends(&mut World::of_run(1, 0));
    for stranger in [with_password(9, "mine"), join_of(9)] {
        let mut world = World::of_run(2, 60);
        world.join_with(C, stranger.clone()).expect("a stranger comes first");
        world.received(C);
        let back = world.join_with(A, with_ticket(1, &first)).expect("the ticket counts");
        assert!(back.peers.is_empty(), "those who have not shown the password are gone before");
        assert_eq!(world.farewell(C), Some(ErrorCode::PasswordRequired));
        let met = world.join_with(B, with_ticket(2, &second)).expect("the other's counts as well");
        assert_eq!(met.peers.len(), 1);
        assert!(world.join_with(C, stranger).is_err());
        let third =
            world.join_with(C, with_password(3, "sesame")).expect("the password is what it was");
        assert_eq!(third.peers.len(), 2);
    }
}

#[test]
fn strangers_who_fill_the_room_after_a_restart_do_not_keep_friends_out() {
    let (first, _) = friends(&mut World::of_run(1, 0));
    let mut rules = RoomRules::default();
    rules.limits.peers_per_room = 2;
    let mut world = World::with(rules);
    world.issue_tickets(2, 60);
    world.join_with(B, join_of(8)).expect("a stranger comes first");
    world.join_with(C, join_of(9)).expect("and fills the room");
    let full = world.join_with(A, join_of(1)).map(drop);
    assert_eq!(full, Err(ErrorCode::RoomFull), "without a ticket");
    let back = world.join_with(A, with_ticket(1, &first)).expect("the ticket counts");
    assert!(back.peers.is_empty());
}

#[test]
fn a_stranger_who_has_a_ticket_of_its_own_room_does_not_take_the_friends_back() {
    let (first, second) = friends(&mut World::of_run(1, 0));
    let mut world = World::of_run(2, 60);
    let stranger = world.join_with(C, with_password(9, "mine")).expect("a stranger comes first");
    world.join_with(A, with_ticket(1, &first)).expect("the friend's ticket counts");
    assert_eq!(
        world.join_with(C, with_ticket(9, &stranger)).unwrap_err(),
        ErrorCode::PasswordRequired
    );
    world.room.set_unix_time(UNIX + 60 + RENEWAL);
    world.room.tick(world.now, &mut world.sent);
    let first = Joined { ticket: world.newest_ticket(A), ..first };

    let mut world = World::of_run(3, 2 * RENEWAL);
    world.join_with(C, with_ticket(9, &stranger)).expect("it comes first");
    world.join_with(A, with_ticket(1, &first)).expect("the friends' room was there last");
    assert_eq!(world.farewell(C), Some(ErrorCode::PasswordRequired));
    world.join_with(B, with_ticket(2, &second)).expect("of the same password");
    assert_eq!(
        world.join_with(C, with_ticket(9, &stranger)).unwrap_err(),
        ErrorCode::PasswordRequired
    );
}

#[test]
fn a_ticket_counts_for_its_member_its_room_and_a_day() {
    let (first, _) = friends(&mut World::of_run(1, 0));
    let refused = |join: Join, room: &str, seconds| {
        let mut world = World::of_run(2, seconds);
        let issuer = TicketIssuer::new(TestCipher::key(SECRET, 2), [2; 32]);
        world.room.set_ticket_issuer(issuer, room.to_owned());
        world.join_with(C, with_password(9, "mine")).expect("a stranger comes first");
        world.join_with(A, join).err()
    };
    let required = Some(ErrorCode::PasswordRequired);
    assert_eq!(refused(with_ticket(1, &first), "lobby", LIFETIME), None);
    assert_eq!(refused(with_ticket(1, &first), "lobby", LIFETIME + 1), required, "too old");
    assert_eq!(refused(with_ticket(1, &first), "kitchen", 60), required, "of another room");
    assert_eq!(refused(with_ticket(3, &first), "lobby", 60), required, "another peer's");
    let cut = first.ticket.as_ref().expect("a ticket").as_str()[1..].to_owned();
    let damaged = Join { ticket: Some(Ticket::from(cut)), ..join_of(1) };
    assert_eq!(refused(damaged, "lobby", 60), required, "damaged");
}

#[test]
fn in_a_room_that_goes_on_a_member_with_a_ticket_is_let_in_without_a_hash() {
    let mut world = World::of_run(1, 0);
    let (_, second) = friends(&mut world);
    world.leave(B, LeaveReason::Lost);
    let join = Join { password: Some("sesame".into()), ..with_ticket(2, &second) };
    assert_eq!(
        world.room.check_join(&join, None, crate::room::Salt([7; 16])),
        Ok(crate::room::JoinCheck::Enter)
    );
    assert_eq!(world.join_with(B, join).expect("the ticket counts").peers.len(), 1);
}

#[test]
fn a_room_that_was_left_is_whose_it_is_now_and_no_ticket_of_the_same_run_takes_it() {
    let mut world = World::of_run(1, 0);
    let (first, _) = friends(&mut world);
    world.leave(A, LeaveReason::Left);
    world.leave(B, LeaveReason::Left);
    world.join_with(C, with_password(3, "other")).expect("an empty room is anybody's");
    assert_eq!(
        world.join_with(A, with_ticket(1, &first)).unwrap_err(),
        ErrorCode::PasswordRequired
    );
    world.leave(C, LeaveReason::Left);
    world.join_with(A, with_ticket(1, &first)).expect("an empty room is anybody's");
    world.join_with(B, with_password(2, "sesame")).expect("with the password of the ticket");
}

#[test]
fn tickets_are_renewed_every_hour() {
    let mut world = World::of_run(1, 0);
    let first = world.join(A, 1);
    let mut tickets = vec![first.ticket.expect("a ticket")];
    for minute in 0..=180 {
        world.room.set_unix_time(UNIX + 60 * minute);
        world.room.tick(world.now, &mut world.sent);
        tickets.extend(world.newest_ticket(A));
    }
    assert_eq!(tickets.len(), 4, "of a member who stays for three hours");
    world.leave(A, LeaveReason::Left);
    world.room.set_unix_time(UNIX + 24 * 3600);
    world.room.tick(world.now, &mut world.sent);
    assert!(world.newest_ticket(A).is_none());
}

/// Since when the tickets say that their holders have been members.
#[test]
fn a_ticket_says_since_when_its_holder_has_been_a_member_through_renewals_returns_and_restarts() {
    let mut before = World::of_run(1, 0);
    let since = |world: &World, person: u8, joined: &Joined| {
        world.room.member_since(&with_ticket(person, joined)).expect("a valid ticket")
    };
    let first = before.join(A, 1);
    let second = before.join(B, 2);
    let of_first = since(&before, 1, &first);
    assert!(of_first < since(&before, 2, &second), "also within one second");

    before.room.set_unix_time(UNIX + RENEWAL);
    let mut renewed = first.clone();
    before.room.tick(Duration::from_secs(RENEWAL), &mut before.sent);
    renewed.ticket = before.newest_ticket(A);
    assert_ne!(renewed.ticket, first.ticket);
    let again = before.join_with(C, join_of(2)).expect("it replaces its own connection");
    assert_eq!(since(&before, 2, &again), since(&before, 2, &second));
    let taken_over = before.join_with(ConnectionId(4), join_of(1)).expect("it takes over");
    for joined in [&renewed, &taken_over] {
        assert_eq!(since(&before, 1, joined), of_first);
    }

    let mut after = World::of_run(2, RENEWAL + 1);
    let stranger = after.join(C, 3);
    let back = after.join_with(A, with_ticket(1, &renewed)).expect("the ticket counts");
    assert_eq!(since(&after, 1, &back), of_first);
    assert!(of_first < since(&after, 3, &stranger));
    assert_eq!(after.room.member_since(&join_of(4)), None);
}

#[test]
fn who_comes_after_the_clock_was_set_back_is_no_earlier_member() {
    let mut world = World::of_run(1, 3_600);
    let first = world.join(A, 1);
    let mut after = World::of_run(2, 3_600 - 30);
    let back = after.join_with(A, with_ticket(1, &first)).expect("the ticket counts");
    let late = after.join(B, 2);
    let since = |person, joined| after.room.member_since(&with_ticket(person, joined));
    assert!(since(1, &back) < since(2, &late));
}
