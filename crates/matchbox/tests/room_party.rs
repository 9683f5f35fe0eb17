//! The example game, played on loopback.

#[path = "../examples/room_party.rs"]
mod example;

use std::time::{Duration, Instant};

use example::Game;
use voicemesh_engine::{EngineEvent, Mode};

use crate::signaling::{new_room, no_ice};

/// A player: the game, what its network is, and whether it speaks.
type Player = (Game, Mode, bool);

/// Until this is so, or for a minute at most.
#[expect(clippy::disallowed_methods, reason = "the frames of a game follow a clock")]
fn play(players: &mut [Player], what: &str, mut is_so: impl FnMut(&mut [Player]) -> bool) {
    let began = Instant::now();
    while !is_so(players) {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        for (game, mode, speaks) in players.iter_mut() {
            game.frame(*mode, *speaks).unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn is_heard(game: &mut Game) -> bool {
    std::iter::from_fn(|| game.poll())
        .any(|event| matches!(event, EngineEvent::Speaking { speaking: true, .. }))
}

/// proves: D-36, D-38
#[test]
fn a_host_and_two_who_join_hear_each_other_and_those_two_directly() {
    let room = new_room();
    let game = |name: &str, seed| Game::new(name, &room, no_ice(), seed).unwrap();
    let mut players = [
        // Who joins before the host is there waits.
        (game("Ada", 1), Mode::Client, false),
        (game("Bob", 2), Mode::Client, false),
        (game("Host", 3), Mode::Host, true),
    ];
    play(&mut players, "all see all", |players| {
        players.iter().all(|(game, ..)| game.players().len() == 3)
    });
    play(&mut players, "Ada and Bob reach each other directly", |players| {
        players[..2].iter().all(|(game, ..)| game.direct() == 1)
    });
    for listener in 0..2 {
        play(&mut players, "who joined hears the host", |players| {
            is_heard(&mut players[listener].0)
        });
    }
    players[2].2 = false;
    play(&mut players, "the host is silent", |players| {
        let quiet = std::iter::from_fn(|| players[1].0.poll());
        quiet
            .into_iter()
            .any(|event| matches!(event, EngineEvent::Speaking { speaking: false, .. }))
    });
    players[0].2 = true;
    for listener in [1, 2] {
        play(&mut players, "the others hear Ada", |players| is_heard(&mut players[listener].0));
    }

    players[1].1 = Mode::None;
    play(&mut players, "Bob is gone", |players| {
        players[0].0.players().len() == 2 && players[2].0.players().len() == 2
    });
    players[2].1 = Mode::None;
    play(&mut players, "the host is gone", |players| players[0].0.players().is_empty());

    // Another takes over, as a dedicated server, in the same room.
    players[1].1 = Mode::DedicatedServer;
    play(&mut players, "Ada is in the next session", |players| players[0].0.players() == ["Ada"]);
    assert_eq!(
        players.each_ref().map(|(game, ..)| game.mode()),
        [Mode::Client, Mode::DedicatedServer, Mode::None]
    );
}
