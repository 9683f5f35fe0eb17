//! What hosts do to a server and its sockets: Cloud Run ends every WebSocket after five minutes,
//! free plans end idle ones, put the server to sleep and restart it as they like, and behind their
//! edge all peers have one address.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use voicemesh::Route;
use voicemesh_mesh::MeshEvent;

use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);
/// What an edge takes for an idle connection.
const IDLE: Duration = Duration::from_secs(55);
/// When an edge ends every connection.
const LIFE: Duration = Duration::from_secs(300);
/// How long a sleeping host takes to start the server.
const WAKES_IN: Duration = Duration::from_secs(60);

/// So many members, of whom the last are reached through the server only.
#[derive(Clone, Copy)]
struct Members {
    all: usize,
    relayed: usize,
}

impl Members {
    fn direct(self) -> usize {
        self.all - self.relayed
    }

    fn pairs(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.all)
            .flat_map(move |at| (0..self.all).filter(move |of| *of != at).map(move |of| (at, of)))
    }

    fn all_are_reached(self, world: &World) -> bool {
        let route = |at: usize, of: usize| {
            if at.max(of) >= self.direct() { Route::Relayed } else { Route::Direct }
        };
        self.pairs().all(|(at, of)| world.route(at, of) == route(at, of))
    }
}

fn room(seed: u64, members: Members, connection_lifetime_ms: u32) -> World {
    let mut world = World::new(seed);
    world.connection_lifetime_ms = connection_lifetime_ms;
    world.address = Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)));
    world.start_server_with_secret();
    for member in 0..members.all {
        world.add_peer_with(|config| config.relay_only = member >= members.direct());
    }
    world.run_until(20 * SECOND, "all links", |world| members.all_are_reached(world));
    // Said again and again.
    world.peers[0].speech = (0..48_000).map(|at| tone(at as f32 / 48_000.0)).collect();
    world.peers[0].speaking = true;
    world.run(2 * SECOND);
    world.forget_silence();
    world
}

/// At a moment in seconds: a tone in syllables.
fn tone(at: f32) -> f32 {
    0.3 * (at * std::f32::consts::TAU * 3.0).sin().abs()
        * (at * std::f32::consts::TAU * 220.0).sin()
}

fn warnings(world: &World) -> usize {
    let events = world.peers.iter().flat_map(|peer| &peer.mesh_events);
    events
        .filter(|event| matches!(event, MeshEvent::Warned { .. } | MeshEvent::Refused { .. }))
        .count()
}

#[test]
fn a_room_outlives_what_hosts_do_to_its_sockets() {
    twelve_minutes(Members { all: 8, relayed: 3 });
}

#[test]
#[ignore = "a minute and a half of computing: make test-long PART=hosts"]
fn a_room_of_twenty_outlives_what_hosts_do_to_its_sockets() {
    twelve_minutes(Members { all: 20, relayed: 5 });
}

/// A host that says when it ends a connection ends none: each is replaced before, and no frame is
/// lost, relayed or direct.
#[test]
fn where_the_server_knows_how_long_connections_last_none_is_ended_by_the_host() {
    twelve_minutes_announced(Members { all: 8, relayed: 3 });
}

#[test]
#[ignore = "a minute of computing: make test-long PART=hosts"]
fn where_the_server_knows_how_long_connections_last_twenty_lose_nothing() {
    twelve_minutes_announced(Members { all: 20, relayed: 5 });
}

fn twelve_minutes_announced(members: Members) {
    let mut world = room(2, members, 300_000);
    let begun = world.now();
    let opened = world.opened.len();
    let spoken = world.peers[0].comms.frames_spoken();
    let heard: Vec<_> = (1..members.all).map(|at| world.heard(at, 0)).collect();
    while world.now() < begun + 720 * SECOND {
        world.run(SECOND);
        assert_eq!(world.cut_old_sockets(LIFE), 0, "after {:?}", world.now() - begun);
    }
    let gaps: Vec<_> = (1..members.all).map(|at| world.longest_silence(at)).collect();
    assert!(gaps.iter().all(|gap| *gap <= Duration::from_millis(60)), "{gaps:?}");
    world.peers[0].speaking = false;
    world.run(SECOND);
    let renewed = &world.opened[opened..];
    assert!((2 * members.all..=4 * members.all).contains(&renewed.len()), "{}", renewed.len());
    let first = &renewed[..members.all];
    assert!(first[members.all - 1] - first[0] >= 10 * SECOND, "not all at once: {first:?}");
    assert_eq!(warnings(&world), 0);
    let spoken = world.peers[0].comms.frames_spoken() - spoken;
    for at in 1..members.all {
        let now = world.heard(at, 0);
        let received = now.received - heard[at - 1].received;
        // Some are under way at both ends of the count.
        assert!(received.abs_diff(spoken) <= 3, "{at}: spoken {spoken}, received {received}");
        assert_eq!(now.concealed, heard[at - 1].concealed, "{at}: a frame was lost");
    }
}

/// Twelve minutes on such a host: all connections end at 300 and at 600 s, the server is killed and
/// sleeps for a minute between.
fn twelve_minutes(members: Members) {
    let mut world = room(1, members, 0);
    let begun = world.now();
    let (spoken, heard): (u64, Vec<_>) = (
        world.peers[0].comms.frames_spoken(),
        (1..members.all).map(|at| world.heard(at, 0)).collect(),
    );
    let mut spread = Vec::new();
    let mut idle = 0;
    for minute in 1..=12_u32 {
        let until = begun + minute * 60 * SECOND;
        while world.now() < until {
            world.run(SECOND);
            idle += world.cut_sockets(IDLE);
        }
        let age = until - begun;
        if age.as_secs().is_multiple_of(LIFE.as_secs()) {
            world.forget_silence();
            let before = world.opened.len();
            assert_eq!(world.cut_sockets(Duration::ZERO), members.all);
            world.run(5 * SECOND);
            let back = &world.opened[before..];
            assert_eq!(back.len(), members.all, "each comes back once");
            spread.push(*back.last().expect("some") - back[0]);
            for at in members.direct()..members.all {
                let gap = world.longest_silence(at);
                assert!(gap <= Duration::from_millis(1_500), "{at}: {gap:?} without the speaker");
            }
            for at in 1..members.direct() {
                assert!(world.longest_silence(at) <= Duration::from_millis(60), "{at} is direct");
            }
        }
        if minute == 7 {
            world.kill_server();
            world.run(WAKES_IN);
            world.start_server_with_secret();
            world.run_until(10 * SECOND, "all are back", |world| {
                world.peers.iter().all(|peer| peer.comms.status().members.len() == members.all)
            });
        }
    }
    world.peers[0].speaking = false;
    world.run(SECOND);
    assert_eq!(idle, 0, "pings keep every connection from being idle");
    assert_eq!(warnings(&world), 0, "no budget is used up behind one address");
    // Eight draw eight moments: on average of the outages.
    assert!(
        spread.iter().sum::<Duration>() >= SECOND * spread.len() as u32,
        "all came back at once: {spread:?}"
    );
    assert!(members.all_are_reached(&world));
    let spoken = world.peers[0].comms.frames_spoken() - spoken;
    assert!(spoken > 30_000);
    for at in 1..members.direct() {
        let now = world.heard(at, 0);
        let received = now.received - heard[at - 1].received;
        assert!(received.abs_diff(spoken) <= 1, "{at}: spoken {spoken}, received {received}");
        assert_eq!(now.concealed, heard[at - 1].concealed, "{at}: a direct frame was lost");
    }
}
