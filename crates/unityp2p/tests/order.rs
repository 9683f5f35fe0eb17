//! What a client sees, by hand: the bytes of the original, and their order.

use crate::common::{World, bytes, head, text, units, unlimited};
use voicemesh_unityp2p::Path;

fn listening(world: &mut World, path: Path) {
    world.open(1, path);
    let request = [3, 2, 255, 255, 1, 0, 0, 0, b'a', 0];
    assert_eq!(
        world.send(1, &request),
        [(1, request.to_vec())],
        "acknowledged with the same bytes"
    );
}

#[test]
fn a_caller_and_a_listener_are_connected_talk_and_part() {
    let mut world = World::new(unlimited());
    listening(&mut world, Path::CallApp);
    world.open(2, Path::CallApp);
    let connected = world.send(2, &[6, 2, 1, 0, 1, 0, 0, 0, b'a', 0]);
    assert_eq!(connected, [(1, vec![6, 0, 0, 64]), (2, vec![6, 0, 1, 0])], "the listener first");
    let there = world.send(2, &[2, 1, 1, 0, 3, 0, 0, 0, 7, 8, 9]);
    assert_eq!(there, [(1, vec![2, 1, 0, 64, 3, 0, 0, 0, 7, 8, 9])]);
    let back = world.send(1, &[1, 1, 0, 64, 0, 0, 0, 0]);
    assert_eq!(back, [(2, vec![1, 1, 1, 0, 0, 0, 0, 0])]);
    let ended = world.send(2, &[8, 0, 1, 0]);
    assert_eq!(ended, [(2, vec![8, 0, 1, 0]), (1, vec![8, 0, 0, 64])], "who asks first");
    assert_eq!(world.send(2, &[2, 1, 1, 0, 0, 0, 0, 0]), [], "of a connection that is over");
    let next = world.send(2, &text(6, 2, &units("a")));
    assert_eq!(next, [(1, vec![6, 0, 1, 64]), (2, vec![6, 0, 2, 0])]);
}

#[test]
fn without_exactly_one_listener_of_the_same_path_a_connect_fails() {
    let mut world = World::new(unlimited());
    listening(&mut world, Path::ChatApp);
    for (socket, path) in Path::ALL.iter().enumerate().map(|(n, (path, _))| (10 + n as u64, *path))
    {
        world.open(socket, path);
        let answer = world.send(socket, &text(6, 5, &units("a")));
        let fails = vec![(socket, vec![7, 0, 5, 0])];
        assert_eq!(answer == fails, path != Path::ChatApp, "{path:?}: {answer:?}");
    }
    for socket in [20, 21] {
        world.open(socket, Path::TestShared);
        world.send(socket, &text(3, -1, &units("s")));
    }
    world.open(22, Path::TestShared);
    assert_eq!(world.send(22, &text(6, 1, &units("s"))), [(22, vec![7, 0, 1, 0])], "two listen");
}

#[test]
fn an_address_that_is_taken_or_too_long_is_refused_and_echoed_and_the_old_one_closed_before() {
    let mut world = World::new(unlimited());
    listening(&mut world, Path::Root);
    world.open(2, Path::Root);
    world.send(2, &text(3, -1, &units("b")));
    let a = text(4, -1, &units("a"));
    assert_eq!(world.send(2, &text(3, -1, &units("a"))), [(2, head(5, -1)), (2, a)]);
    assert_eq!(world.send(2, &text(3, -1, &[97; 257])), [(2, text(4, -1, &[97; 257]))]);
    let longest = text(3, -1, &[97; 256]);
    assert_eq!(world.send(2, &longest), [(2, longest.clone())]);
    assert_eq!(world.send(2, &longest), [(2, head(5, -1)), (2, longest.clone())], "its own, again");
    assert_eq!(world.send(2, &head(5, -1)), [(2, head(5, -1))]);
    assert_eq!(world.send(2, &head(5, -1)), [], "it listens no more");
}

#[test]
fn those_who_share_an_address_are_connected_with_each_other() {
    for path in [Path::ConferenceApp, Path::TestShared] {
        let mut world = World::new(unlimited());
        listening(&mut world, path);
        let a = text(3, -1, &units("a"));
        for socket in [2, 3] {
            world.open(socket, path);
        }
        let second = world.send(2, &a);
        assert_eq!(second, [(2, a.clone()), (1, head(6, 16_384)), (2, head(6, 16_384))]);
        let third = world.send(3, &a);
        let expected = [
            (3, a.clone()),
            (1, head(6, 16_385)),
            (3, head(6, 16_384)),
            (2, head(6, 16_385)),
            (3, head(6, 16_385)),
        ];
        assert_eq!(third, expected);
        assert_eq!(world.send(3, &bytes(2, 16_385, b"x")), [(2, bytes(2, 16_385, b"x"))]);
        assert_eq!(world.lose(1), [(2, head(8, 16_384)), (3, head(8, 16_384))]);
    }
}

#[test]
fn who_loses_its_socket_frees_its_address_and_all_others_hear_of_it() {
    let mut world = World::new(unlimited());
    listening(&mut world, Path::Root);
    for socket in 2..5 {
        world.open(socket, Path::Root);
        world.send(socket, &text(6, socket as i16, &units("a")));
    }
    assert_eq!(world.lose(1), [(2, head(8, 2)), (3, head(8, 3)), (4, head(8, 4))]);
    assert_eq!(world.send(2, &text(3, -1, &units("a"))), [(2, text(3, -1, &units("a")))]);
    assert_eq!(world.lose(2), []);
}

/// The first thing that a client of version 2 receives is the answer to its version; one of version
/// 1 sends neither, and receives neither.
#[test]
fn versions_and_heartbeats_are_answered_and_come_unasked_to_no_one() {
    let mut world = World::new(unlimited());
    listening(&mut world, Path::Root);
    world.open(2, Path::Root);
    assert_eq!(world.read(), []);
    assert_eq!(world.send(2, &[201, 2]), [(2, vec![201, 2])]);
    assert_eq!(world.send(2, &[201]), [(2, vec![201, 2])]);
    assert_eq!(world.send(2, &[202]), [(2, vec![202])]);
    assert_eq!(world.send(2, &[202, 1, 2]), [(2, vec![202])]);
}

#[test]
fn addresses_are_code_units_and_nothing_more() {
    let mut world = World::new(unlimited());
    let all: [&[u16]; 6] = [&[], &[0xD800], &[0xDC00], &[0xDC00, 0xD800], &[0xFFFD], &[0x61, 0]];
    for (socket, address) in (1..).zip(all) {
        world.open(socket, Path::Test);
        let request = text(3, -1, address);
        assert_eq!(world.send(socket, &request), [(socket, request.clone())], "{address:?}");
    }
    for (socket, address) in (1..).zip(all) {
        world.open(100 + socket, Path::Test);
        let sent = world.send(100 + socket, &text(6, 1, address));
        assert_eq!(sent, [(socket, head(6, 16_384)), (100 + socket, head(6, 1))], "{address:?}");
    }
}

#[test]
fn the_largest_message_arrives_whole() {
    let mut world = World::new(voicemesh_unityp2p::Limits::default());
    listening(&mut world, Path::Root);
    world.open(2, Path::Root);
    world.send(2, &text(6, 1, &units("a")));
    let data: Vec<u8> =
        (0..voicemesh_unityp2p::MESSAGE_BYTES - 8).map(|n| (n % 251) as u8).collect();
    assert_eq!(world.send(2, &bytes(2, 1, &data)), [(1, bytes(2, 16_384, &data))]);
}

/// The original numbers on past 32,767, which no client can answer.
#[test]
fn ids_of_incoming_connections_are_used_again_but_no_live_one() {
    let mut world = World::new(unlimited());
    listening(&mut world, Path::Root);
    world.open(2, Path::Root);
    world.open(3, Path::Root);
    world.send(3, &text(6, 1, &units("a")));
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..2 * 16_384 {
        let sent = world.send(2, &text(6, 1, &units("a")));
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0].0, 1);
        let id = i16::from_le_bytes([sent[0].1[2], sent[0].1[3]]);
        assert!(id > 16_384, "round {round}: {id}");
        seen.insert(id);
        assert_eq!(world.send(1, &bytes(1, id, b"x")), [(2, bytes(1, 1, b"x"))]);
        world.send(2, &head(8, 1));
    }
    assert_eq!(seen.len(), 16_383);
}

/// The original mixes up what belongs to which.
#[test]
fn two_connections_between_the_same_two_stay_apart() {
    let mut world = World::new(unlimited());
    listening(&mut world, Path::Root);
    world.open(2, Path::Root);
    for id in [1, 2] {
        world.send(2, &text(6, id, &units("a")));
    }
    assert_eq!(world.send(2, &bytes(2, 2, b"x")), [(1, bytes(2, 16_385, b"x"))]);
    assert_eq!(world.send(2, &head(8, 2)), [(2, head(8, 2)), (1, head(8, 16_385))]);
    assert_eq!(world.send(2, &bytes(2, 1, b"y")), [(1, bytes(2, 16_384, b"y"))]);
}

#[test]
fn what_the_original_leaves_unanswered_or_breaks_on_is_refused() {
    let mut world = World::new(unlimited());
    listening(&mut world, Path::Root);
    let a = units("a");
    assert_eq!(world.send(1, &text(6, 9, &a)), [(1, head(7, 9))], "to itself");
    assert_eq!(world.send(1, &head(6, 9)), [(1, head(7, 9))], "to no address");
    assert_eq!(world.send(1, &text(6, 9, &a)[..9]), [(1, head(7, 9))], "cut off");
    world.open(2, Path::Root);
    world.send(2, &text(6, 1, &a));
    let again = world.send(2, &text(6, 1, &a));
    let expected = [(2, head(8, 1)), (1, head(8, 16_384)), (1, head(6, 16_385)), (2, head(6, 1))];
    assert_eq!(again, expected, "a live id: the old connection ends before");
    assert_eq!(
        world.send(1, &text(3, -1, &a)[..9]),
        [(1, head(4, -1))],
        "cut off; it still listens"
    );
    assert_eq!(world.send(1, &head(3, -1)), [(1, head(5, -1)), (1, head(4, -1))], "on no address");
}
