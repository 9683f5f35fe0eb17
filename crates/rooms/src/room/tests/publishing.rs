//! What members publish is passed on at a limited rate.

use uuid::Uuid;
use voicemesh_wire::limits::{METADATA_BYTES, METADATA_KEYS, NAME_BYTES, SERVER_MESSAGE_BYTES};
use voicemesh_wire::signaling::Metadata;

use super::*;
use crate::output::Publisher;
use crate::room::AddressTag;

impl World {
    fn publish(&mut self, from: ConnectionId, request: u32, value: &str) {
        let set = BTreeMap::from([("k".to_owned(), Some(value.to_owned()))]);
        self.say(from, ClientMessage::SetMetadata { request: Some(request), set });
    }

    /// A tick each quarter of a second, until this time.
    fn pass(&mut self, until: Duration) {
        while self.now < until {
            self.now += Duration::from_millis(250);
            self.room.tick(self.now, &mut self.sent);
        }
    }

    /// What a connection received of changes: how many, their bytes, and the last one.
    fn changes(&mut self, of: ConnectionId) -> (usize, usize, String) {
        let mut sum = (0, 0, String::new());
        for message in self.received(of) {
            if let ServerMessage::Metadata { metadata, .. }
            | ServerMessage::RoomMetadata { metadata } = message
            {
                let value = metadata.get("k").cloned().unwrap_or_default();
                sum = (sum.0 + 1, sum.1 + value.len(), value);
            }
        }
        sum
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn of_large_changes_that_come_fast_the_last_one_is_passed_on_and_each_is_answered() {
    let mut world = World::new();
    [A, B]
        .into_iter()
        .zip(1..)
        .for_each(|(connection, person)| drop(world.join(connection, person)));
    let version = world.room.mark().version;
    world.received(A);
    world.received(B);
    let mut confirmed = Vec::new();
    let value = |number: u32| format!("{number} {}", "x".repeat(8_000));
    for number in 0..100 {
        world.publish(A, number, &value(number));
        world.pass(seconds(1 + u64::from(number) / 2));
        confirmed.extend(world.received(A).into_iter().filter_map(|message| match message {
            ServerMessage::MetadataSet { request } => Some(request),
            _ => None,
        }));
    }
    world.pass(world.now + seconds(5));
    let (count, bytes, last) = world.changes(B);
    assert!(bytes <= 32 * 1024 + 56 * 4 * 1024 && count >= 20, "{count} changes, {bytes} bytes");
    assert!(last == value(99) && world.room.mark().version == version + count as u64);
    confirmed.extend(world.received(A).into_iter().filter_map(|message| match message {
        ServerMessage::MetadataSet { request } => Some(request),
        _ => None,
    }));
    assert_eq!(confirmed, (0..100).collect::<Vec<_>>());
}

#[test]
fn who_was_behind_is_sent_what_is_published_when_it_asks_and_how_many_changes_that_are() {
    let mut world = World::new();
    world.join(A, 1);
    world.join(B, 2);
    world.publish(A, 1, "first");
    world.publish(A, 2, "second");
    world.pass(seconds(1));
    world.received(B);
    let mut ask = |part| {
        assert_eq!(world.room.refresh(world.now, B, part, &mut world.sent), None);
        world.received(B)
    };
    let metadata = Metadata::from([("k".to_owned(), "second".to_owned())]);
    let expected = ServerMessage::Metadata { peer: peer_of(1), metadata, changes: 2 };
    let of = |person, changes| Part::Published(Publisher::Member(peer_of(person)), changes);
    assert_eq!(ask(of(1, 2)), [expected]);
    let gone = |changes| {
        let (peer, metadata) = (PeerId(Uuid::nil()), Metadata::new());
        [ServerMessage::Metadata { peer, metadata, changes }]
    };
    assert_eq!(ask(of(9, 2)), gone(2), "it has left");
    assert_eq!(ask(Part::Missed(3)), gone(3));
    let room = ServerMessage::RoomMetadata { metadata: Metadata::new() };
    assert_eq!(ask(Part::Published(Publisher::Room, 1)), [room]);
}

#[test]
fn all_of_one_address_together_publish_at_a_limited_rate_and_another_address_at_once() {
    let mut world = World::new();
    for person in 1..=12 {
        let connection = ConnectionId(person.into());
        world.join(connection, person);
        world.room.set_address(connection, AddressTag(if person == 12 { 2 } else { 1 }));
    }
    let other = ConnectionId(12);
    let mut most_late = Duration::ZERO;
    for round in 0..60 {
        for person in 2..12 {
            world.publish(ConnectionId(person), round, &format!("{round} {}", "x".repeat(8_000)));
        }
        if round % 10 == 0 {
            world.changes(A);
            world.publish(other, round, "small");
            assert_eq!(world.changes(A).2, "small");
        }
        // A small change of the crowded address waits for its turn, and no longer.
        if round == 30 {
            world.publish(A, 1, "mine");
            let begun = world.now;
            while !world.received(other).iter().any(|message| matches!(message, ServerMessage::Metadata { peer, .. } if *peer == peer_of(1))) {
                world.pass(world.now + Duration::from_millis(1));
                assert!(world.now < begun + seconds(10), "it is never its turn");
            }
            most_late = world.now - begun;
        }
        world.pass(world.now + Duration::from_millis(500));
    }
    assert!(most_late > Duration::ZERO && most_late <= seconds(6), "{most_late:?}");
    world.changes(other);
    let begun = world.now;
    world.pass(begun + seconds(60));
    for round in 0..240 {
        for person in 2..12 {
            world.publish(ConnectionId(person), round, &format!("{round} {}", "x".repeat(8_000)));
        }
        world.pass(world.now + Duration::from_millis(250));
    }
    let (_, bytes, _) = world.changes(other);
    // What waited, the burst, and a minute.
    assert!(bytes <= 80_000 + (64 + 60 * 16) * 1024, "{bytes} bytes");
}

#[test]
fn what_waits_ends_with_its_member_and_is_bounded() {
    let mut world = World::new();
    world.join(A, 1);
    let secret = |number: u32| format!("{number} {}", "x".repeat(8_000));
    for person in 2..200 {
        world.join(B, person);
        (0..10).for_each(|number| world.publish(B, number, &secret(number)));
        world.leave(B, LeaveReason::Left);
        world.received(A);
    }
    assert_eq!(world.changes(A).0, 0);
    world.pass(seconds(60));
    assert_eq!(world.changes(A).0, 0);
    assert_eq!(world.room.publishing.len(), 0);
    world.join(B, 2);
    let codes: Vec<ErrorCode> = (0..100)
        .flat_map(|number| {
            world.publish(B, number, &secret(number));
            world.refusals(B)
        })
        .collect();
    assert!(codes.len() >= 20 && codes.iter().all(|code| *code == ErrorCode::TooManyMessages));
}

#[test]
fn what_the_room_publishes_is_limited_as_well() {
    let mut world = World::new();
    [A, B]
        .into_iter()
        .zip(1..)
        .for_each(|(connection, person)| drop(world.join(connection, person)));
    world.received(B);
    for number in 0..60 {
        let set =
            BTreeMap::from([("k".to_owned(), Some(format!("{number} {}", "x".repeat(8_000))))]);
        world.say(A, ClientMessage::SetRoomMetadata { request: None, set });
    }
    let (count, bytes, _) = world.changes(B);
    assert!(count >= 3 && bytes <= 32 * 1024, "{count} changes, {bytes} bytes");
    world.pass(seconds(5));
    assert!(world.changes(B).2.starts_with("59 "));
    assert!(world.join(C, 3).room_metadata["k"].starts_with("59 "));
}

/// Each character is two in JSON.
#[test]
fn the_state_of_a_full_room_whose_members_publish_all_they_may_has_a_bound() {
    let metadata: Metadata = (0..METADATA_KEYS)
        .map(|key| (format!("{key:02}"), "\"".repeat(METADATA_BYTES / METADATA_KEYS - 5)))
        .collect();
    let mut world = World::new();
    let mut longest = 0;
    for person in 1..=64 {
        let join = Join {
            name: "\"".repeat(NAME_BYTES),
            metadata: metadata.clone(),
            room_metadata: metadata.clone(),
            status: MemberStatus {
                muted: true,
                deafened: true,
                listening_only: true,
                recording: true,
            },
            ..join_of(person)
        };
        let joined = world.join_as(ConnectionId(u64::from(person)), join);
        longest = longest.max(ServerMessage::Joined(joined).to_json().len());
    }
    assert!((1_000_000..=SERVER_MESSAGE_BYTES).contains(&longest), "{longest} bytes");
}
