//! Access tokens: who is let in, as whom, and what a ticket is worth when the token has expired.

use voicemesh_wire::signaling::AccessToken;

use super::*;
use crate::grant::{Claims, TokenError, TokenVerifier};
use crate::ticket::{TestCipher, TicketIssuer};

const UNIX: u64 = 1_800_000_000;
const D: ConnectionId = ConnectionId(4);

/// Takes claims that nothing has signed.
#[derive(Debug)]
struct Unsigned;

impl TokenVerifier for Unsigned {
    fn verify(&self, token: &AccessToken) -> Result<Claims, TokenError> {
        serde_json::from_str(token.as_str()).map_err(|_| TokenError::Invalid("it is no JSON"))
    }
}

/// A room whose server asks for tokens.
fn world() -> World {
    let mut world =
        World::with(RoomRules { tokens: Some(Arc::new(Unsigned)), ..RoomRules::default() });
    world.room.set_ticket_issuer(
        TicketIssuer::new(TestCipher::key(b"of the operator", 1), [1; 32]),
        "lobby".to_owned(),
    );
    world.room.set_unix_time(UNIX);
    world
}

fn request() -> Claims {
    let exp = (UNIX + 60).into();
    let room = Some("lobby".to_owned());
    Claims {
        room,
        room_pattern: None,
        name: None,
        permissions: None,
        sub: None,
        aud: None,
        exp,
        nbf: None,
    }
}

fn token(request: Claims) -> Option<AccessToken> {
    Some(AccessToken::from(serde_json::to_string(&request).expect("claims can be written")))
}

fn with_token(person: u8, request: Claims) -> Join {
    Join { token: token(request), ..join_of(person) }
}

fn refused(world: &mut World, connection: ConnectionId, join: Join) -> ErrorCode {
    let refusal = world.try_join(connection, join).expect_err("a refusal");
    assert!(!refusal.message.is_empty());
    refusal.code
}

#[test]
fn without_a_valid_token_no_one_is_let_in() {
    let mut world = world();
    assert_eq!(refused(&mut world, A, join_of(1)), ErrorCode::TokenRequired);
    let empty = Join { token: Some("".into()), ..join_of(1) };
    assert_eq!(refused(&mut world, A, empty), ErrorCode::TokenRequired);
    let other_room = Claims { room: Some("other".to_owned()), ..request() };
    assert_eq!(refused(&mut world, A, with_token(1, other_room)), ErrorCode::TokenInvalid);
    let expired = Claims { exp: (UNIX - 61).into(), ..request() };
    assert_eq!(refused(&mut world, A, with_token(1, expired)), ErrorCode::TokenExpired);
    assert!(world.room.is_empty());
    world.join_as(A, with_token(1, request()));
    // The owner of the room is not asked for less.
    assert_eq!(refused(&mut world, B, Join { run: 9, ..join_of(1) }), ErrorCode::TokenRequired);
    let resumed = world.join_as(B, join_of(1));
    assert!(
        resumed.taken_over.is_some(),
        "who is in the room may take over from its own connection"
    );
}

#[test]
fn the_token_decides_name_and_permissions() {
    let mut world = world();
    let permissions = Permissions { listen: true, ..Permissions::NONE };
    let named = Claims {
        name: Some("Ana of the game".into()),
        permissions: Some(permissions),
        ..request()
    };
    let joined = world.join_as(A, with_token(1, named));
    assert_eq!(
        (joined.permissions, joined.name.as_deref()),
        (permissions, Some("Ana of the game"))
    );
    let second = world.join_as(B, with_token(2, request()));
    assert_eq!(second.name, Some(join_of(2).name), "without a name in the token it is the join's");
    assert_eq!(
        (&*second.peers[0].name, second.peers[0].permissions),
        ("Ana of the game", permissions)
    );
    assert_eq!(second.permissions, Permissions::default());
    for name in ["a\u{7}b".to_owned(), "\u{3164}".to_owned(), "x".repeat(65)] {
        let join = with_token(3, Claims { name: Some(name), ..request() });
        assert_eq!(refused(&mut world, C, join), ErrorCode::TokenInvalid);
    }
    // A connection that takes over brings a newer token.
    world.received(B);
    let moderator = Claims { permissions: Some(Permissions::ALL), ..request() };
    let taken_over = world.join_as(C, with_token(1, moderator));
    assert!(taken_over.taken_over.is_some());
    assert_eq!(
        taken_over.name.as_deref(),
        Some("Ana of the game"),
        "who takes over keeps the name"
    );
    let received = ServerMessage::Permissions { peer: peer_of(1), permissions: Permissions::ALL };
    assert!(world.received(B).contains(&received));
}

#[test]
fn a_subject_is_one_peer_at_a_time_in_a_room() {
    let mut world = world();
    let of = |subject: &str| Claims { sub: Some(subject.to_owned()), ..request() };
    world.join_as(A, with_token(1, of("user-7")));
    world.join_as(B, with_token(2, of("user-8")));
    world.received(A);
    world.received(B);
    let third = world.join_as(C, with_token(3, of("user-7")));
    assert_eq!(third.peers.iter().map(|peer| peer.peer).collect::<Vec<_>>(), [peer_of(2)]);
    assert!(world.received(A).contains(&ServerMessage::Replaced));
    assert!(world.sent.closed.contains(&(A, CloseReason::Replaced)));
    let left = ServerMessage::PeerLeft { peer: peer_of(1), reason: LeaveReason::Left };
    assert!(world.received(B).contains(&left));
    assert_eq!(world.room.len(), 2);
}

#[test]
fn a_subject_that_comes_as_another_peer_ends_the_links_of_the_one_whose_connection_was_lost() {
    for reason in [LeaveReason::Lost, LeaveReason::Left] {
        let mut world = world();
        let of = |subject: &str| Claims { sub: Some(subject.to_owned()), ..request() };
        world.join_as(A, with_token(1, of("user-7")));
        world.join_as(B, with_token(2, of("user-8")));
        world.leave(A, reason);
        world.received(B);
        world.join_as(C, with_token(3, of("user-7")));
        let ended = ServerMessage::PeerLeft { peer: peer_of(1), reason: LeaveReason::Kicked };
        let was_lost = reason == LeaveReason::Lost;
        assert_eq!(world.received(B).contains(&ended), was_lost, "{reason:?}");
        world.leave(C, LeaveReason::Left);
        world.join_as(C, with_token(4, of("user-7")));
        assert!(!world.received(B).contains(&ended), "once");
    }
}

/// With the token of another account, a program of the same run is another member: it has that
/// account's name and permissions, and its former connection goes.
#[test]
fn a_takeover_with_the_token_of_another_account_is_a_join_of_that_account() {
    let of = |subject: Option<&str>, name: &str| Claims {
        sub: subject.map(str::to_owned),
        name: Some(name.to_owned()),
        ..request()
    };
    for (former, later) in [(Some("eve"), Some("zoe")), (None, Some("zoe")), (Some("eve"), None)] {
        let mut world = world();
        world.join_as(A, with_token(1, of(former, "Eve")));
        world.join_as(B, with_token(2, request()));
        world.received(A);
        world.received(B);
        let joined = world.join_as(C, with_token(1, of(later, "Zoe")));
        assert_eq!((joined.taken_over.is_none(), joined.name.as_deref()), (true, Some("Zoe")));
        assert_eq!(world.room.subject_of(C).as_deref(), later);
        assert!(world.received(A).contains(&ServerMessage::Replaced));
        let left = ServerMessage::PeerLeft { peer: peer_of(1), reason: LeaveReason::Replaced };
        let received = world.received(B);
        assert!(received.contains(&left));
        let name = received.iter().find_map(|message| match message {
            ServerMessage::PeerJoined { peer } => Some(&*peer.name),
            _ => None,
        });
        assert_eq!(name, Some("Zoe"));
        // The same account takes over, by whichever of its tokens.
        let again = world.join_as(D, with_token(1, of(later, "Zoe again")));
        assert!(again.taken_over.is_some());
    }
}

/// The server's own ticket stands in for a token that has expired, for ten minutes.
#[test]
fn after_expiry_a_member_comes_back_by_its_ticket_for_ten_minutes() {
    let permissions = Permissions { speak: true, listen: true, ..Permissions::NONE };
    let asked = Claims { permissions: Some(permissions), name: Some("Ana".into()), ..request() };
    let join = with_token(1, asked);
    let mut world = world();
    let ticket = world.join_as(A, join.clone()).ticket;
    assert!(ticket.is_some());
    let again = |seconds: u64, join: &Join| {
        let mut world = self::world();
        world.room.set_unix_time(UNIX + 60 + seconds);
        world.try_join(A, Join { run: 50, ..join.clone() }).map_err(|refusal| refusal.code)?;
        let joined = world.received(A).into_iter().find_map(|message| match message {
            ServerMessage::Joined(joined) => Some((joined.permissions, joined.ticket)),
            _ => None,
        });
        Ok::<_, ErrorCode>(joined.expect("joined"))
    };
    let with = Join { ticket: ticket.clone(), ..join.clone() };
    let without_token = Join { token: None, ..with.clone() };
    assert_eq!(again(61, &join).map(|_| ()), Err(ErrorCode::TokenExpired));
    for (join, code) in
        [(&with, ErrorCode::TokenExpired), (&without_token, ErrorCode::TokenRequired)]
    {
        let (same, newer) = again(600, join).expect("the ticket lets in");
        assert_eq!(same, permissions, "and with nothing more than before");
        assert_eq!(again(601, join).map(|_| ()), Err(code.clone()));
        // The ticket that it got then does not add another ten minutes.
        let newer = Join { ticket: newer, ..join.clone() };
        assert_eq!(again(601, &newer).map(|_| ()), Err(code));
    }
    let other_person = Join { ticket, ..join_of(2) };
    assert_eq!(again(0, &other_person).map(|_| ()), Err(ErrorCode::TokenRequired));
}

#[test]
fn where_tokens_say_who_may_moderate_no_one_waits_for_an_owner() {
    let mut world = world();
    assert!(world.join_as(A, with_token(1, request())).owner_right.is_held());
}
