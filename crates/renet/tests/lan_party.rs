//! The example game, played on loopback.

#[path = "../examples/lan_party.rs"]
mod example;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use example::Game;
use voicemesh_engine::{EngineEvent, Mode};

/// Until this is so, or for 30 s at most.
#[expect(clippy::disallowed_methods, reason = "the frames of a game follow a clock")]
fn play(
    games: &mut [(Game, Mode, bool)],
    what: &str,
    mut is_so: impl FnMut(&mut [(Game, Mode, bool)]) -> bool,
) {
    let began = Instant::now();
    while !is_so(games) {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        for (game, mode, speaks) in games.iter_mut() {
            game.frame(*mode, *speaks).unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn free_address() -> SocketAddr {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn is_heard(game: &mut Game) -> bool {
    std::iter::from_fn(|| game.poll())
        .any(|event| matches!(event, EngineEvent::Speaking { speaking: true, .. }))
}

/// proves: D-36, D-38
#[test]
fn a_host_and_two_who_join_hear_each_other_and_see_each_other_leave() {
    let address = free_address();
    let game = |name: &str, seed| Game::new(name, address, seed).unwrap();
    let mut games = [
        // Who joins before the host is there tries again.
        (game("Ada", 1), Mode::Client, false),
        (game("Bob", 2), Mode::Client, false),
        (game("Host", 3), Mode::Host, true),
    ];
    play(&mut games, "all see all", |games| {
        games.iter().all(|(game, ..)| game.players().len() == 3)
    });
    play(&mut games, "Ada hears the host", |games| is_heard(&mut games[0].0));
    games[2].2 = false;
    games[0].2 = true;
    while games[2].0.poll().is_some() {}
    play(&mut games, "the host hears Ada", |games| is_heard(&mut games[2].0));

    games[1].1 = Mode::None;
    play(&mut games, "Bob is gone", |games| {
        games[0].0.players().len() == 2 && games[2].0.players().len() == 2
    });
    games[2].1 = Mode::None;
    play(&mut games, "the host is gone", |games| games[0].0.players().is_empty());

    // Another takes over as a dedicated server at the same address.
    games[1].1 = Mode::DedicatedServer;
    play(&mut games, "Ada is in the next session", |games| games[0].0.players() == ["Ada"]);
    assert_eq!(
        games.each_ref().map(|(game, ..)| game.mode()),
        [Mode::Client, Mode::DedicatedServer, Mode::None]
    );
}
