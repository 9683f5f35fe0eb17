//! Passwords, owners, and what a room publishes.

use voicemesh_wire::signaling::{Metadata, MetadataChanges, Password};

use super::*;
use crate::room::{Digest, JoinCheck, Salt, digest};

pub(super) fn with_password(person: u8, password: &str) -> Join {
    Join { password: Some(Password::from(password)), ..join_of(person) }
}

fn fresh(number: u8) -> Salt {
    Salt([number; 16])
}

impl World {
    /// Checks a join, hashes what is asked for, and gives what it presents; as the shell does,
    /// without another in between.
    pub(super) fn presented(&self, join: &Join, salt: Salt) -> Result<Option<Digest>, ErrorCode> {
        match self.room.check_join(join, None, salt).map_err(|refusal| refusal.code)? {
            JoinCheck::Enter => Ok(None),
            JoinCheck::Hash(request) => {
                let password = join.password.as_ref().expect("only a password is hashed");
                Ok(digest(password, request.salt))
            }
        }
    }

    pub(super) fn join_with(
        &mut self,
        connection: ConnectionId,
        join: Join,
    ) -> Result<Joined, ErrorCode> {
        let presented = self.presented(&join, fresh(connection.0 as u8))?;
        self.enter(connection, join, presented)
    }

    pub(super) fn enter(
        &mut self,
        connection: ConnectionId,
        join: Join,
        presented: Option<Digest>,
    ) -> Result<Joined, ErrorCode> {
        self.room
            .join(self.now, connection, join, presented, &mut self.sent)
            .map_err(|refusal| refusal.code)?;
        let received = self.received(connection).into_iter().find_map(|message| match message {
            ServerMessage::Joined(joined) => Some(joined),
            _ => None,
        });
        Ok(received.expect("a join is answered"))
    }

    fn requests(&mut self, connection: ConnectionId) -> Vec<(u32, Option<ErrorCode>)> {
        let received = self.received(connection).into_iter().filter_map(|message| match message {
            ServerMessage::MetadataSet { request } => Some((request, None)),
            ServerMessage::Error { code, request: Some(request), .. } => {
                Some((request, Some(code)))
            }
            _ => None,
        });
        received.collect()
    }
}

/// proves: S-16
#[test]
fn the_first_member_decides_the_password_and_a_wrong_one_or_none_is_refused() {
    let mut world = World::new();
    world.join_with(A, with_password(1, "sesame")).expect("the first decides");
    assert_eq!(world.join_with(B, join_of(2)).unwrap_err(), ErrorCode::PasswordRequired);
    assert_eq!(world.join_with(B, with_password(2, "")).unwrap_err(), ErrorCode::PasswordRequired);
    assert_eq!(
        world.join_with(B, with_password(2, "Sesame")).unwrap_err(),
        ErrorCode::PasswordWrong
    );
    assert!(world.received(A).is_empty(), "the refused were never here");
    assert_eq!(world.join_with(B, with_password(2, "sesame")).expect("it is right").peers.len(), 1);

    world.leave(A, LeaveReason::Left);
    assert_eq!(
        world.join_with(C, with_password(3, "other")).unwrap_err(),
        ErrorCode::PasswordWrong
    );
    world.leave(B, LeaveReason::Lost);
    world.join_with(C, with_password(3, "other")).expect("an empty room is anybody's");
    assert_eq!(
        world.join_with(A, with_password(1, "sesame")).unwrap_err(),
        ErrorCode::PasswordWrong
    );
}

#[test]
fn a_room_without_a_password_hashes_nothing_and_takes_none() {
    let mut world = World::new();
    world.join(A, 1);
    assert_eq!(world.room.check_join(&join_of(2), None, fresh(1)), Ok(JoinCheck::Enter));
    assert_eq!(
        world.join_with(B, with_password(2, "sesame")).unwrap_err(),
        ErrorCode::PasswordWrong
    );
    world.join(B, 2);
}

/// proves: S-16
#[test]
fn of_two_first_joiners_with_different_passwords_one_wins() {
    let mut world = World::new();
    let (one, other) = (with_password(1, "one"), with_password(2, "other"));
    let both =
        [world.presented(&one, fresh(1)).unwrap(), world.presented(&other, fresh(2)).unwrap()];
    world.enter(A, one, both[0]).expect("the first to be ready");
    let Ok(JoinCheck::Hash(again)) = world.room.check_join(&other, both[1].as_ref(), fresh(3))
    else {
        panic!()
    };
    assert!(again.expected.is_some(), "its password is held against the winner's");
    let presented = digest(other.password.as_ref().unwrap(), again.salt);
    assert_eq!(
        world.room.check_join(&other, presented.as_ref(), fresh(3)).unwrap_err().code,
        ErrorCode::PasswordWrong
    );
    assert_eq!(
        world.enter(B, other.clone(), both[1]).unwrap_err(),
        ErrorCode::PasswordRequired,
        "no join without the password"
    );

    // Had it named the same, it would be in; and a room that became empty meanwhile takes what was
    // hashed for another.
    let late = world.presented(&with_password(2, "one"), fresh(2)).unwrap();
    world.leave(A, LeaveReason::Left);
    world.enter(B, with_password(2, "one"), late).expect("now it is the first");
    world.join_with(A, with_password(1, "one")).expect("and that is the password");
}

#[test]
fn who_is_here_on_another_connection_is_known_and_a_lone_ghost_decides_anew() {
    let mut world = World::new();
    world.join_with(A, with_password(1, "sesame")).unwrap();
    world.join_with(B, with_password(2, "sesame")).unwrap();
    assert_eq!(world.room.check_join(&join_of(2), None, fresh(9)), Ok(JoinCheck::Enter));
    world.leave(B, LeaveReason::Left);
    let another_run = Join { run: 99, ..with_password(1, "changed") };
    world.join_with(C, another_run).expect("no other member is here");
    assert_eq!(
        world.join_with(B, with_password(2, "sesame")).unwrap_err(),
        ErrorCode::PasswordWrong
    );
    world.join_with(B, with_password(2, "changed")).expect("it is right");
}

/// proves: U-03
#[test]
fn a_claim_is_exclusive_but_not_against_ones_own_ghost() {
    let claim = |person| Join { presence: Presence::MustNotExist, ..join_of(person) };
    let mut world = World::new();
    world.join_with(A, claim(1)).expect("no member is here");
    assert_eq!(world.join_with(B, claim(2)).unwrap_err(), ErrorCode::RoomExists);
    world.join_with(C, claim(1)).expect("only oneself was here");
    let missing = Join { presence: Presence::MustExist, ..join_of(1) };
    let refusal = World::new().try_join(A, missing).unwrap_err();
    assert_eq!((refusal.code, refusal.retry_after_ms), (ErrorCode::RoomMissing, Some(2_000)));
}

fn set(key: &str, value: Option<&str>) -> MetadataChanges {
    [(key.to_owned(), value.map(str::to_owned))].into()
}

/// proves: S-17, S-18
#[test]
fn a_numbered_change_is_answered_after_everyone_was_told() {
    let mut world = World::new();
    world.join(A, 1);
    world.join(B, 2);
    world.say(B, ClientMessage::SetMetadata { request: Some(7), set: set("seat", Some("3")) });
    let metadata: Metadata = [("seat".to_owned(), "3".to_owned())].into();
    let received = ServerMessage::Metadata { peer: peer_of(2), metadata, changes: 1 };
    assert_eq!(world.received(B), [received.clone(), ServerMessage::MetadataSet { request: 7 }]);
    assert_eq!(world.received(A).last(), Some(&received));
    world.say(
        B,
        ClientMessage::SetMetadata { request: Some(8), set: set("long", Some(&"v".repeat(8192))) },
    );
    assert_eq!(world.requests(B), [(8, Some(ErrorCode::BadMetadata))]);
}

#[test]
fn only_the_owner_changes_what_the_room_publishes_and_it_outlasts_the_owner() {
    let mut world = World::new();
    world.join(A, 1);
    world.join(B, 2);
    let change = |request, value| ClientMessage::SetRoomMetadata {
        request: Some(request),
        set: set("map", value),
    };
    world.say(B, change(1, Some("castle")));
    assert_eq!(world.requests(B), [(1, Some(ErrorCode::NotOwner))]);
    world.received(A);
    world.say(A, change(2, Some("harbour")));
    let metadata: Metadata = [("map".to_owned(), "harbour".to_owned())].into();
    let received = ServerMessage::RoomMetadata { metadata: metadata.clone() };
    assert_eq!(world.received(B), std::slice::from_ref(&received));
    assert_eq!(world.received(A), [received, ServerMessage::MetadataSet { request: 2 }]);
    let mark = world.room.mark();

    world.leave(A, LeaveReason::Left);
    assert_eq!(world.join(C, 3).room_metadata, metadata);
    let long = "v".repeat(8190);
    world.say(B, change(3, Some(&long)));
    assert_eq!(world.requests(B), [(3, Some(ErrorCode::BadMetadata))]);
    world.say(B, change(4, None));
    assert_eq!(world.requests(B), [(4, None)], "the owner is now the next member");
    assert_eq!(
        world.room.mark().version,
        mark.version + 2,
        "the room's words are no part of the roster"
    );
}

#[test]
fn the_first_member_after_a_restart_brings_what_the_room_published() {
    let mut world = World::new();
    let known: Metadata = [("map".to_owned(), "harbour".to_owned())].into();
    let stale: Metadata = [("map".to_owned(), "castle".to_owned())].into();
    let first = Join { room_metadata: known.clone(), ..join_of(1) };
    assert_eq!(world.join_with(A, first).unwrap().room_metadata, known);
    let second = Join { room_metadata: stale.clone(), ..join_of(2) };
    assert_eq!(world.join_with(B, second).unwrap().room_metadata, known);
    let ghost = Join { room_metadata: stale, ..join_of(1) };
    world.leave(B, LeaveReason::Left);
    assert_eq!(world.join_with(C, ghost).unwrap().room_metadata, known, "the room was not empty");
    world.leave(C, LeaveReason::Left);
    assert!(world.join(A, 1).room_metadata.is_empty(), "no member is left, nothing is left");
}

#[test]
fn everyone_is_told_what_a_member_may_do_and_a_later_joiner_finds_it() {
    let mut world = World::with(RoomRules::default());
    world.join(A, 1);
    let joined = world.join(B, 2);
    assert_eq!(joined.permissions, Permissions::default());
    world.sent.texts.clear();
    let muted = Permissions::default().without_speak();
    assert!(world.room.set_permissions(peer_of(1), muted, &mut world.sent));
    let received = ServerMessage::Permissions { peer: peer_of(1), permissions: muted };
    for member in [A, B] {
        assert_eq!(world.sent.texts[&member], std::slice::from_ref(&received));
    }
    assert_eq!(world.room.mark().version, joined.roster.version + 1);
    world.sent.texts.clear();
    assert!(world.room.set_permissions(peer_of(1), muted, &mut world.sent));
    assert!(world.sent.texts.is_empty(), "nothing has changed");
    let joined = world.join(C, 3);
    assert_eq!(joined.peers[0].permissions, muted);
    assert!(
        !world.room.set_permissions(peer_of(9), muted, &mut world.sent),
        "that peer is not here"
    );
}
