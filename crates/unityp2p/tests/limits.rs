//! What no client can do: fill the server, end another one's socket, or keep its place in silence.

use std::time::Duration;

use crate::common::{World, bytes, head, text, units, unlimited};
use voicemesh_common::Rate;
use voicemesh_unityp2p::{EndReason, Input, Limits, MESSAGE_BYTES, Next, Path, SocketId};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A listener on "a", as socket 1.
fn listening(limits: Limits, path: Path) -> World {
    let mut world = World::new(limits);
    world.open_from(1, path, 1);
    world.send(1, &text(3, -1, &units("a")));
    world
}

fn pings(world: &mut World) -> usize {
    let mut pings = 0;
    while let Some(id) = world.server.poll_woken() {
        pings += usize::from(world.server.take(world.now, id) == Next::Ping);
    }
    pings
}

#[test]
fn an_idle_host_that_answers_pings_keeps_its_address_for_hours() {
    let mut world = listening(Limits::default(), Path::Root);
    let mut pinged = 0;
    for second in 1..=4 * 3_600 {
        world.tick(seconds(second));
        for _ in 0..pings(&mut world) {
            pinged += 1;
            world.server.handle(world.now, SocketId(1), Input::Control);
        }
    }
    assert_eq!(pinged, 4 * 120, "one each 30 s");
    world.open(2, Path::Root);
    assert_eq!(world.send(2, &text(6, 1, &units("a"))).len(), 2);
}

#[test]
fn who_answers_no_ping_is_gone_after_two() {
    let mut world = listening(Limits::default(), Path::Root);
    world.open(2, Path::Root);
    world.send(2, &text(6, 1, &units("a")));
    world.tick(seconds(30));
    assert_eq!(pings(&mut world), 2);
    world.server.handle(world.now, SocketId(2), Input::Control);
    world.tick(seconds(59));
    assert!(!world.server.is_abandoned(SocketId(1)));
    world.tick(seconds(60));
    assert!(world.server.is_abandoned(SocketId(1)));
    assert_eq!(world.server.ending(SocketId(1)), Some(EndReason::Silent));
    assert_eq!(world.server.counts().lost, 1);
    let sent = world.read();
    assert!(sent.contains(&(2, head(8, 1))), "{sent:?}");
    let a = text(3, -1, &units("a"));
    assert_eq!(world.send(2, &a), [(2, a.clone())], "the address is free");
}

#[test]
fn a_socket_that_takes_no_byte_is_gone_after_ten_seconds_and_one_that_reads_slowly_is_not() {
    let mut world = listening(Limits::default(), Path::Root);
    world.server.wrote(seconds(1), SocketId(1), true, true);
    for second in 2..40 {
        world.server.wrote(seconds(second), SocketId(1), second % 9 == 0, true);
        world.tick(seconds(second));
        assert!(!world.server.is_abandoned(SocketId(1)), "after {second} s");
    }
    for second in 40..47 {
        world.server.wrote(seconds(second), SocketId(1), false, true);
        world.tick(seconds(second));
    }
    assert_eq!(world.server.ending(SocketId(1)), Some(EndReason::SlowConsumer));
}

/// Each call opens a socket, listens or connects once, and closes.
#[test]
fn a_crowd_behind_one_address_makes_its_calls() {
    let mut world = World::new(Limits::default());
    let mut next = 0;
    for second in 0..90 {
        world.tick(seconds(second));
        for _ in 0..30 {
            let (host, guest) = (next, next + 1);
            next += 2;
            let address = units(&format!("call {host}"));
            for socket in [host, guest] {
                world.open_from(socket, Path::CallApp, 7);
                world.send(socket, &[201, 2]);
            }
            world.send(host, &text(3, -1, &address));
            assert_eq!(world.send(guest, &text(6, 1, &address)).len(), 2, "in second {second}");
            for _ in 0..20 {
                assert_eq!(world.send(guest, &bytes(2, 1, &[0; 1_500])).len(), 1);
                assert_eq!(world.send(host, &bytes(2, 16_384, &[0; 1_500])).len(), 1);
            }
            assert_eq!(world.send(guest, &head(8, 1)).len(), 2);
            world.lose(guest);
            world.lose(host);
        }
    }
    let counts = world.server.counts();
    assert_eq!((counts.failed, counts.over_budget, counts.sockets), (0, 0, 0));
}

#[test]
fn a_flood_is_refused_and_then_ended_and_its_connections_with_it() {
    let mut world = listening(Limits::default(), Path::Root);
    world.open_from(2, Path::Root, 2);
    world.send(2, &text(6, 1, &units("a")));
    let mut passed = 0;
    while world.server.ending(SocketId(2)).is_none() {
        passed +=
            usize::from(world.send(2, &bytes(1, 1, b"x")).iter().any(|(_, frame)| frame[0] == 1));
        assert!(passed <= 4_000, "of its budget");
    }
    assert!(passed > 3_900, "{passed}");
    assert_eq!(world.server.ending(SocketId(2)), Some(EndReason::Flooding));
    assert_eq!(world.server.counts().connections, 0);
    assert!(world.server.ending(SocketId(1)).is_none());
}

#[test]
fn a_connection_of_which_a_message_is_over_the_budget_ends_for_both() {
    let mut world = listening(Limits::default(), Path::Root);
    world.open_from(2, Path::Root, 2);
    world.send(2, &text(6, 1, &units("a")));
    let large = bytes(2, 1, &vec![0; MESSAGE_BYTES - 8]);
    let passed = (0..)
        .take_while(|_| world.send(2, &large).len() == 1 && world.server.counts().over_budget == 0);
    assert_eq!(passed.count(), 8, "8 MB and the last one");
    assert_eq!(world.server.counts().connections, 0);
    assert_eq!(
        world.send(2, &text(6, 2, &units("a"))),
        [(2, head(7, 2))],
        "it learns of it at once"
    );
    world.now += seconds(7);
    assert_eq!(world.send(2, &text(6, 3, &units("a"))).len(), 2);
}

#[test]
fn connections_are_bounded_for_a_pair_an_address_and_a_socket() {
    let mut world = listening(unlimited(), Path::Root);
    let mut connect = |socket: u64, address: u32, wanted: i16| {
        world.open_from(socket, Path::Root, address);
        let a = units("a");
        (0..wanted).filter(|id| world.send(socket, &text(6, 1 + id, &a)).len() == 2).count()
    };
    assert_eq!(connect(2, 2, 100), 8, "of one pair");
    let of_address: usize = (3..100).map(|socket| connect(socket, 2, 8)).sum();
    assert_eq!(8 + of_address, 256, "of one address");
    let all: usize = (100..300).map(|socket| connect(socket, socket as u32, 8)).sum();
    assert_eq!(256 + all, 1_024, "of one listener");
}

#[test]
fn listeners_on_a_shared_address_are_bounded() {
    let mut world = listening(unlimited(), Path::ConferenceApp);
    let a = text(3, -1, &units("a"));
    for socket in 2..=256 {
        world.open_from(socket, Path::ConferenceApp, socket as u32);
        assert_eq!(world.send(socket, &a).len() as u64, 1 + 2 * (socket - 1));
    }
    world.open_from(257, Path::ConferenceApp, 257);
    assert_eq!(world.send(257, &a), [(257, text(4, -1, &units("a")))]);
}

#[test]
fn who_joins_and_leaves_a_crowd_again_and_again_spends_its_introductions() {
    let mut world = World::new(Limits::default());
    let a = text(3, -1, &units("a"));
    for socket in 0..100 {
        world.open_from(socket, Path::TestShared, socket as u32);
        world.send(socket, &a);
    }
    world.open_from(100, Path::TestShared, 100);
    let mut joined = 0;
    for _ in 0..1_000 {
        let sent = world.send(100, &a);
        joined += usize::from(sent.iter().any(|(_, frame)| frame[0] == 3));
        world.send(100, &head(5, -1));
        for id in 16_384..16_384 + 600 {
            if world.server.counts().connections > 4_950 {
                world.send(100, &head(8, id));
            }
        }
        if world.server.ending(SocketId(100)).is_some() {
            break;
        }
    }
    assert_eq!(joined, 5, "of 101 introductions each");
}

/// Sixty of which each sends less than a socket may, all together more than their address may, and
/// thirty with an offer now and then. None of the sixty goes so far over it that its socket ends.
#[test]
fn neighbours_that_spend_all_that_an_address_has_end_no_one_but_themselves() {
    let limits = Limits { violations: Rate::new(9e9, 9e9), ..Limits::default() };
    let mut world = listening(limits, Path::Root);
    let a = text(6, 1, &units("a"));
    for socket in 2..92 {
        world.open_from(socket, Path::Root, 2);
        assert_eq!(world.send(socket, &a).len(), 2);
    }
    let (mut offers, mut lost) = (0, Vec::new());
    for ms in 0..60_000 {
        world.now = Duration::from_millis(ms);
        // 340 a second each.
        for socket in (2..62).filter(|socket| (ms * 34 + socket) % 100 < 34) {
            world.send(socket, &head(1, 1));
        }
        if ms > 30_000 && ms % 1_000 == 0 {
            let quiet = 62 + (ms / 1_000) % 30;
            let sent = world.send(quiet, &bytes(2, 1, &[0; 8_000]));
            offers += 1;
            if sent.first().is_none_or(|(to, frame)| (*to, frame[0]) != (1, 2)) {
                lost.push(quiet);
            }
        }
    }
    assert!(world.server.counts().over_budget > 1_000, "{:?}", world.server.counts());
    assert_eq!((offers, lost), (29, vec![]));
    assert!(world.server.counts().connections >= 30);
}

/// How long bytes are relayed.
const SECONDS: u64 = 90;

/// Bytes that arrive at a listener to which these sockets send all the time; `again` if each comes
/// anew twice a second.
fn relayed(world: &mut World, sockets: std::ops::Range<u64>, again: bool) -> f64 {
    let chunk = bytes(1, 1, &[0; 30_000]);
    let mut arrived = 0;
    for tenth in 0..10 * SECONDS {
        world.tick(Duration::from_millis(100 * tenth));
        for socket in sockets.clone() {
            let is_new = again && tenth % 5 == 0;
            if is_new {
                world.lose(socket);
                world.open_from(socket, Path::Root, 2);
            }
            world.server.handle(world.now, SocketId(1), Input::Control);
            world.server.handle(world.now, SocketId(socket), Input::Control);
            if tenth % 2 == 0 || is_new {
                world.send(socket, &text(6, 1, &units("a")));
            }
            for _ in 0..10 {
                let sent = world.send(socket, &chunk);
                arrived += sent.iter().filter(|(to, frame)| *to == 1 && frame[0] == 1).count();
            }
        }
    }
    (arrived * chunk.len()) as f64
}

#[test]
fn the_server_is_no_relay_for_a_socket_or_an_address() {
    let limits = Limits { violations: Rate::new(9e9, 9e9), ..Limits::default() };
    let open = |sockets: std::ops::Range<u64>| {
        let mut world = listening(limits, Path::Root);
        sockets.for_each(|socket| world.open_from(socket, Path::Root, 2));
        world
    };
    let one = relayed(&mut open(2..3), 2..3, false);
    assert!((8e6..8e6 + SECONDS as f64 * 64e3 + 1e6).contains(&one), "{one} of one socket");
    let crowd = relayed(&mut open(2..42), 2..42, false);
    let most = 64e6 + SECONDS as f64 * 1e6 + 40.0 * (64e3 + SECONDS as f64 * 2e3) + 1e6;
    assert!((90e6..most).contains(&crowd), "{crowd} of forty of one address");
    // Each comes anew twice a second.
    let anew = relayed(&mut open(2..42), 2..42, true);
    let most = 64e6 + SECONDS as f64 * 1e6 + (512.0 + SECONDS as f64 * 4.0) * 64e3 + 1e6;
    assert!((90e6..most).contains(&anew), "{anew} of ever new sockets of one address");
}

/// One that floods a host ends its own connection, not the host.
#[test]
fn a_host_that_reads_slowly_loses_who_floods_it_and_no_one_else() {
    let mut world = listening(Limits::default(), Path::Root);
    for socket in [2, 3] {
        world.open_from(socket, Path::Root, socket as u32);
        world.send(socket, &text(6, 1, &units("a")));
    }
    world.give(3, &bytes(2, 1, b"quiet"));
    let large = bytes(2, 1, &vec![0; 1_000_000]);
    for _ in 0..8 {
        world.give(2, &large);
    }
    let mut read = |socket| {
        let mut kinds = Vec::new();
        while let Next::Message(frame) = world.server.take(world.now, SocketId(socket)) {
            kinds.push((frame[0], i16::from_le_bytes([frame[2], frame[3]])));
        }
        kinds
    };
    assert_eq!(read(2), [(8, 1)], "its connection has ended");
    assert_eq!(read(1), [(2, 16_385), (8, 16_384)], "what the other one sent is there");
    assert_eq!(world.server.counts().overflowed, 1);
    assert_eq!(world.send(3, &bytes(2, 1, b"still")).len(), 1);
}

#[test]
fn connects_and_disconnects_fill_no_host_that_does_not_read() {
    let mut world = listening(unlimited(), Path::Root);
    world.open_from(2, Path::Root, 2);
    for _ in 0..20_000 {
        world.give(2, &text(6, 1, &units("a")));
        world.give(2, &head(8, 1));
        while let Next::Message(_) = world.server.take(world.now, SocketId(2)) {}
    }
    assert!(world.server.ending(SocketId(1)).is_none(), "it is not the host's fault");
    let waiting = std::iter::from_fn(|| match world.server.take(world.now, SocketId(1)) {
        Next::Message(frame) => Some(frame),
        Next::Ping | Next::Nothing => None,
    });
    let waiting = waiting.count();
    assert!((4_096..=4_098).contains(&waiting), "{waiting} events wait");
}

#[test]
fn who_asks_and_does_not_read_the_answers_ends() {
    let mut world = World::new(unlimited());
    world.open(1, Path::Root);
    for heartbeats in 0.. {
        world.give(1, &[202]);
        if world.server.ending(SocketId(1)).is_some() {
            assert_eq!(heartbeats, 4_096);
            break;
        }
    }
    assert_eq!(world.server.ending(SocketId(1)), Some(EndReason::SlowConsumer));
    assert_eq!(world.read(), []);
}

/// Forty pairs of one address, of which no receiver reads.
#[test]
fn what_waits_is_bounded_for_an_address_and_for_all() {
    let mut world = World::new(unlimited());
    let large = bytes(2, 1, &vec![0; 1_000_000]);
    for pair in 0..100 {
        let (host, guest) = (2 * pair, 2 * pair + 1);
        let address = units(&format!("host {pair}"));
        // The first forty share one.
        world.open_from(host, Path::Root, if pair < 40 { 1 } else { pair as u32 + 100 });
        world.open_from(guest, Path::Root, 2);
        world.give(host, &text(3, -1, &address));
        world.give(guest, &text(6, 1, &address));
        for _ in 0..3 {
            world.give(guest, &large);
        }
    }
    let ended = |world: &World, from: u64, to: u64| {
        (from..to).filter(|pair| world.server.ending(SocketId(2 * pair)).is_some()).count()
    };
    let of_address = 16 * 1024 * 1024 / 3_000_024;
    let of_all = 64 * 1024 * 1024 / 3_000_024;
    let one = 40 - ended(&world, 0, 40);
    assert!(one <= of_address, "{one} of one address still wait");
    let all = 100 - ended(&world, 0, 100);
    assert!((of_all - 1..=of_all).contains(&all), "{all} still wait");
    assert_eq!(world.server.counts().slow_consumers as usize, 100 - all);
}

/// Receivers that do not read, of one address, for which messages without data wait.
#[test]
fn what_small_messages_take_is_bounded_for_an_address_as_well() {
    let mut world = World::new(unlimited());
    for host in 1..=30 {
        world.open_from(host, Path::Root, 1);
        world.give(host, &text(3, -1, &units(&format!("host {host}"))));
        for guest in 0..8 {
            let socket = 100 * host + guest;
            world.open_from(socket, Path::Root, 2);
            world.give(socket, &text(6, 1, &units(&format!("host {host}"))));
            (0..2_000).for_each(|_| world.give(socket, &head(1, 1)));
        }
    }
    let stay = (1..=30).filter(|host| world.server.ending(SocketId(*host)).is_none()).count();
    assert!((1..=5).contains(&stay), "{stay} with 16,000 messages each");
}

/// Hosts of one address that do not read, to which others connect again and again.
#[test]
fn what_events_take_is_bounded_for_an_address_as_well() {
    let mut world = World::new(unlimited());
    for host in 1..=40 {
        let (guest, name) = (100 + host, units(&format!("host {host}")));
        world.open_from(host, Path::Root, 1);
        world.give(host, &text(3, -1, &name));
        world.open_from(guest, Path::Root, 2);
        for _ in 0..2_000 {
            world.give(guest, &text(6, 1, &name));
            world.give(guest, &head(8, 1));
            while world.server.take(world.now, SocketId(guest)) != Next::Nothing {}
        }
    }
    let stay = (1..=40).filter(|host| world.server.ending(SocketId(*host)).is_none()).count();
    assert!((10..=20).contains(&stay), "{stay} with 4,000 events each");
}

#[test]
fn who_listens_keeps_its_address_and_not_what_came_behind_it() {
    let mut world = World::new(Limits::default());
    world.open(1, Path::Root);
    let mut frame = text(3, -1, &units("a"));
    frame.resize(MESSAGE_BYTES, 7);
    let frame = bytes::Bytes::from(frame);
    world.server.handle(world.now, SocketId(1), Input::Message(frame.clone()));
    assert_eq!(world.read(), [(1, text(3, -1, &units("a")))]);
    assert!(frame.is_unique());
}

#[test]
fn a_message_that_takes_minutes_to_arrive_is_no_silence() {
    let mut world = listening(Limits::default(), Path::Root);
    world.open(2, Path::Root);
    for second in 1..300 {
        world.tick(seconds(second));
        world.server.handle(world.now, SocketId(1), Input::Progress);
    }
    assert!(world.server.ending(SocketId(1)).is_none());
    assert_eq!(world.server.ending(SocketId(2)), Some(EndReason::Silent));
}

#[test]
fn the_closed_and_the_lost_leave_nothing_behind() {
    let mut world = listening(unlimited(), Path::ConferenceApp);
    for socket in 2..50 {
        world.open_from(socket, Path::ConferenceApp, socket as u32);
        world.send(socket, &text(3, -1, &units("a")));
    }
    for socket in 1..50 {
        let input = if socket % 2 == 0 { Input::Gone } else { Input::Ended(EndReason::TooLarge) };
        world.server.handle(world.now, SocketId(socket), input);
    }
    let counts = world.server.counts();
    assert_eq!((counts.sockets, counts.addresses, counts.connections), (25, 0, 0));
    assert_eq!(world.send(3, &text(3, -1, &units("a"))), [], "it is ending");
    world.tick(seconds(1));
    assert!(!world.server.is_abandoned(SocketId(1)), "it has time for its close frame");
    world.tick(seconds(2));
    assert!(world.server.is_abandoned(SocketId(1)));
    (1..50).for_each(|socket| drop(world.lose(socket)));
    assert_eq!(world.server.counts().sockets, 0);
}

#[test]
fn when_the_server_stops_what_waits_goes_out_first() {
    let mut world = listening(Limits::default(), Path::Root);
    world.give(1, &[202]);
    world.server.shut_down(world.now);
    assert_eq!(world.read(), [(1, vec![202])]);
    assert_eq!(world.server.ending(SocketId(1)), Some(EndReason::GoingAway));
    assert!(!world.server.is_abandoned(SocketId(1)));
    world.open(2, Path::Root);
    assert_eq!(world.server.ending(SocketId(2)), Some(EndReason::GoingAway), "it came too late");
    assert_eq!(world.server.poll_woken(), Some(SocketId(2)));
}
