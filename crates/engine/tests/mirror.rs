//! Voice that follows a game's own network.

use std::time::Duration;

use voicemesh_engine::{
    EngineConfig, EngineOnNetwork, Mirrored, Mode, ModeMirror, StartError, VoiceEngine,
};
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, ServerParameters};

const TICK: Duration = Duration::from_millis(10);
const MODES: [Mode; 4] = [Mode::None, Mode::Client, Mode::DedicatedServer, Mode::Host];

fn engine(hub: &Hub, name: &str, seed: u64) -> EngineOnNetwork<Endpoint> {
    EngineOnNetwork::new(VoiceEngine::new(EngineConfig::new(name, seed)).unwrap(), hub.endpoint())
}

/// A game with voice.
struct Game {
    mirror: ModeMirror,
    voice: EngineOnNetwork<Endpoint>,
    /// Where it serves and joins.
    serves_at: &'static str,
    joins: &'static str,
    now: Duration,
}

impl Game {
    fn new(hub: &Hub, seed: u64, serves_at: &'static str, joins: &'static str) -> Self {
        let voice = engine(hub, &format!("game {seed}"), seed);
        Self { mirror: ModeMirror::new(), voice, serves_at, joins, now: Duration::ZERO }
    }

    fn frame(&mut self, outer: Mode) -> Result<Mirrored, StartError> {
        self.now += TICK;
        let server = || ServerParameters { address: self.serves_at.to_owned() };
        let client = || ClientParameters { address: self.joins.to_owned() };
        let done = self.mirror.update(self.now, &mut self.voice, outer, server, client);
        self.voice.update(self.now);
        done
    }
}

/// proves: D-40
#[test]
fn voice_follows_every_change_of_the_games_network() {
    let hub = Hub::new();
    let mut elsewhere = Game::new(&hub, 1, "elsewhere", "");
    elsewhere.frame(Mode::DedicatedServer).unwrap();
    for from in MODES {
        for to in MODES {
            let mut game = Game::new(&hub, 2, "here", "elsewhere");
            let started = game.frame(from).unwrap();
            assert_eq!(
                started,
                if from == Mode::None { Mirrored::Unchanged } else { Mirrored::Started(from) }
            );
            for _ in 0..10 {
                assert_eq!(game.frame(from), Ok(Mirrored::Unchanged), "{from:?}");
                elsewhere.frame(Mode::DedicatedServer).unwrap();
            }
            assert_eq!(game.voice.status().connected, from != Mode::None, "{from:?}");

            let expected = match to {
                to if to == from => Mirrored::Unchanged,
                Mode::None => Mirrored::Stopped,
                to => Mirrored::Started(to),
            };
            assert_eq!(game.frame(to), Ok(expected), "{from:?} to {to:?}");
            for _ in 0..10 {
                assert_eq!(game.frame(to), Ok(Mirrored::Unchanged), "{from:?} to {to:?}");
                elsewhere.frame(Mode::DedicatedServer).unwrap();
            }
            assert_eq!((game.voice.mode(), game.voice.status().connected), (to, to != Mode::None));
            assert_eq!(
                elsewhere.voice.status().members.len(),
                usize::from(to == Mode::Client),
                "{from:?} to {to:?}"
            );

            game.frame(Mode::None).unwrap();
            elsewhere.frame(Mode::DedicatedServer).unwrap();
            assert_eq!(
                (game.voice.mode(), elsewhere.voice.status().members.len()),
                (Mode::None, 0)
            );
        }
    }
}

/// proves: D-40
#[test]
fn a_client_that_comes_before_its_host_or_loses_it_tries_again() {
    let hub = Hub::new();
    let mut client = Game::new(&hub, 1, "", "here");
    assert_eq!(client.frame(Mode::Client), Ok(Mirrored::Started(Mode::Client)));
    let mut starts = Vec::new();
    for _ in 0..2000 {
        if client.frame(Mode::Client).unwrap() != Mirrored::Unchanged {
            starts.push(client.now.as_millis());
        }
    }
    assert_eq!(starts, [1010, 3010, 7010, 15010], "after 1, 2, 4 and 8 s");

    let mut host = Game::new(&hub, 2, "here", "");
    host.frame(Mode::Host).unwrap();
    // The next try, and the 8 s that a connection must last.
    for _ in 0..1_200 {
        host.frame(Mode::Host).unwrap();
        client.frame(Mode::Client).unwrap();
    }
    assert!(client.voice.status().connected);

    hub.cut_server(client.voice.network().key());
    for _ in 0..10 {
        host.frame(Mode::Host).unwrap();
        client.frame(Mode::Client).unwrap();
    }
    assert!(client.voice.status().connected, "one that was connected comes back at once");
    assert_eq!(host.voice.status().members.len(), 2);
}

/// proves: D-40
#[test]
fn a_connection_that_is_cut_again_and_again_is_tried_less_and_less_often_until_one_lasts() {
    /// From a client's start on, or from its connection.
    const CUT_AFTER: Duration = Duration::from_millis(300);
    let hub = Hub::new();
    let (mut host, mut client) = (Game::new(&hub, 1, "here", ""), Game::new(&hub, 2, "", "here"));
    host.frame(Mode::Host).unwrap();
    let mut play = |client: &mut Game| {
        host.frame(Mode::Host).unwrap();
        client.frame(Mode::Client).unwrap()
    };
    let (mut starts, mut connected_at) = (Vec::new(), None);
    while starts.len() < 7 {
        if play(&mut client) == Mirrored::Started(Mode::Client) {
            starts.push(client.now);
            connected_at = None;
        }
        if !client.voice.status().connected {
            continue;
        }
        if client.now - *connected_at.get_or_insert(client.now) >= CUT_AFTER {
            assert!(hub.cut_server(client.voice.network().key()));
        }
        assert!(client.now < Duration::from_secs(100), "{starts:?}");
    }
    let gaps: Vec<u128> = starts.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(gaps, [1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);

    // One that lasts for almost as long as it must is no better.
    for _ in 0..790 {
        assert_eq!(play(&mut client), Mirrored::Unchanged);
    }
    assert!(client.voice.status().connected);
    assert!(hub.cut_server(client.voice.network().key()));
    let cut_at = client.now;
    while play(&mut client) == Mirrored::Unchanged {}
    let lasted = client.now - cut_at;
    assert_eq!((client.now - starts[6]).as_millis(), 8_000, "{lasted:?} after the cut");

    // One that lasted is tried again at once.
    for _ in 0..900 {
        assert_eq!(play(&mut client), Mirrored::Unchanged);
    }
    assert!(hub.cut_server(client.voice.network().key()));
    let mut frames = 1;
    while play(&mut client) == Mirrored::Unchanged {
        frames += 1;
        assert!(frames < 10);
    }
}

/// proves: D-40
#[test]
fn a_server_that_cannot_start_is_tried_again_and_each_failure_is_given() {
    let hub = Hub::new();
    let (mut first, mut second) = (Game::new(&hub, 1, "here", ""), Game::new(&hub, 2, "here", ""));
    first.frame(Mode::DedicatedServer).unwrap();
    let failures = (0..400).filter(|_| second.frame(Mode::Host).is_err()).count();
    assert_eq!(failures, 3, "at once, and after 1 and 3 s");
    first.frame(Mode::None).unwrap();
    let started =
        (0..400).filter(|_| second.frame(Mode::Host) == Ok(Mirrored::Started(Mode::Host))).count();
    assert_eq!((started, second.voice.mode()), (1, Mode::Host));
}

/// proves: D-40
#[test]
fn what_was_started_by_hand_is_stopped_by_hand() {
    let hub = Hub::new();
    let (mut host, mut client) = (engine(&hub, "host", 1), engine(&hub, "client", 2));
    let at = "here".to_owned();
    host.run_as_host(TICK, ServerParameters { address: at.clone() }).unwrap();
    client.run_as_client(TICK, ClientParameters { address: at }).unwrap();
    for tick in 2..20 {
        host.update(TICK * tick);
        client.update(TICK * tick);
    }
    assert_eq!(host.status().members.len(), 2);
    client.stop(TICK * 20);
    host.stop(TICK * 20);
    assert_eq!((host.mode(), client.mode()), (Mode::None, Mode::None));
}
