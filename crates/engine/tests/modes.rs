//! An engine in its modes, over a network inside this process.

use std::time::Duration;

use voicemesh_audio::{BLOCK_SAMPLES, Block, level};
use voicemesh_engine::{
    EngineConfig, EngineError, EngineEvent, EngineOnNetwork, Mode, StartError, VoiceEngine,
};
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, ServerParameters};
use voicemesh_session::client::ClientEvent;
use voicemesh_session::voice_targets::{TargetOptions, VoiceTarget};
use voicemesh_wire::packet::Recipient;
use voicemesh_wire::{GroupId, SessionId};

const TICK: Duration = Duration::from_millis(10);

struct House {
    hub: Hub,
    now: Duration,
    server: EngineOnNetwork<Endpoint>,
    clients: Vec<EngineOnNetwork<Endpoint>>,
    heard: Vec<Vec<f32>>,
}

fn comms(hub: &Hub, name: &str, seed: u64) -> EngineOnNetwork<Endpoint> {
    let config = EngineConfig::new(name, seed);
    EngineOnNetwork::new(VoiceEngine::new(config).unwrap(), hub.endpoint())
}

fn serve() -> ServerParameters {
    ServerParameters { address: "here".to_owned() }
}

fn join() -> ClientParameters {
    ClientParameters { address: "here".to_owned() }
}

impl House {
    fn new(clients: usize) -> Self {
        let hub = Hub::new();
        let mut server = comms(&hub, "server", 1);
        server.run_as_dedicated_server(Duration::ZERO, serve()).unwrap();
        let mut house =
            Self { hub, now: Duration::ZERO, server, clients: Vec::new(), heard: Vec::new() };
        house.run(5);
        for number in 0..clients {
            let mut client = comms(&house.hub, &format!("client {number}"), 100 + number as u64);
            client.run_as_client(house.now, join()).unwrap();
            house.clients.push(client);
            house.heard.push(Vec::new());
        }
        house.run(20);
        house
    }

    fn run(&mut self, ticks: usize) {
        self.run_with(ticks, &[]);
    }

    /// So many times 10 ms, in which these clients hum.
    fn run_with(&mut self, ticks: usize, humming: &[usize]) {
        for _ in 0..ticks {
            self.now += TICK;
            self.server.update(self.now);
            for (number, client) in self.clients.iter_mut().enumerate() {
                client.update(self.now);
                if humming.contains(&number) {
                    client.capture(self.now, &hum(self.now)).unwrap();
                }
                let mut block: Block = [0.0; BLOCK_SAMPLES];
                client.render(self.now, &mut block);
                self.heard[number].extend_from_slice(&block);
            }
            // A server takes and gives no sound.
            self.server.capture(self.now, &hum(self.now)).unwrap();
        }
    }

    fn loudness(&mut self) -> Vec<f32> {
        self.heard.iter_mut().map(|heard| level::rms_dbfs(&std::mem::take(heard))).collect()
    }

    fn events(&mut self, client: usize) -> Vec<EngineEvent<voicemesh_networks::memory::PeerKey>> {
        std::iter::from_fn(|| self.clients[client].poll_event()).collect()
    }
}

fn hum(now: Duration) -> Block {
    let begin = now.as_secs_f32() * 48_000.0;
    std::array::from_fn(|i| {
        0.3 * ((begin + i as f32) * 200.0 * std::f32::consts::TAU / 48_000.0).sin()
    })
}

/// proves: D-52
#[test]
fn mode_connection_and_members_can_be_read_at_any_time() {
    let mut house = House::new(2);
    assert_eq!(
        (house.server.mode(), house.server.mode().to_string()),
        (Mode::DedicatedServer, "server".to_owned())
    );
    assert_eq!(
        (house.clients[0].mode(), house.clients[0].mode().to_string()),
        (Mode::Client, "client".to_owned())
    );
    let names = |status: &voicemesh_engine::Status| {
        status.members.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>()
    };
    for status in [house.server.status(), house.clients[0].status(), house.clients[1].status()] {
        assert!(status.connected);
        assert_eq!(names(&status), ["client 0", "client 1"]);
        assert_eq!(status.session, house.server.status().session);
    }
    house.server.render(house.now, &mut [0.0; BLOCK_SAMPLES]);
    assert_eq!(house.server.frames_spoken(), 0, "a dedicated server captures nothing");
    let key = house.clients[1].network().key();
    house.hub.cut_server(key);
    house.run(5);
    assert_eq!(names(&house.server.status()), ["client 0"]);
    assert_eq!(names(&house.clients[0].status()), ["client 0"]);
    assert!(!house.clients[1].status().connected);
}

/// proves: D-04
#[test]
fn every_session_draws_its_own_number() {
    let mut house = House::new(1);
    let mut sessions = vec![house.server.status().session.unwrap()];
    for _ in 0..20 {
        house.server.stop(house.now);
        house.server.run_as_dedicated_server(house.now, serve()).unwrap();
        sessions.push(house.server.status().session.unwrap());
    }
    let of_another_seed = comms(&Hub::new(), "server", 2);
    let mut other = of_another_seed;
    other.run_as_dedicated_server(Duration::ZERO, serve()).unwrap();
    sessions.push(other.status().session.unwrap());
    sessions.sort_unstable();
    sessions.dedup();
    assert_eq!(sessions.len(), 22);
    assert!(sessions.iter().all(|session: &SessionId| session.number() != 0));
}

/// proves: D-15, D-16
#[test]
fn only_the_group_hears_its_speaker() {
    let mut house = House::new(3);
    for client in [0, 1] {
        house.clients[client].join_group(house.now, "secret").unwrap();
    }
    let global = VoiceTarget::Group(voicemesh_session::GLOBAL_GROUP.to_owned());
    let now = house.now;
    house.clients[0].close_target(now, &global).unwrap();
    let secret = VoiceTarget::Group("secret".to_owned());
    house.clients[0].open_target(secret.clone(), TargetOptions::default()).unwrap();
    house.run(20);
    house.loudness();
    house.run_with(100, &[0]);
    let loud = house.loudness();
    assert!(loud[1] > -25.0, "{loud:?}");
    assert!(loud[0] < -80.0, "a speaker never hears itself: {loud:?}");
    assert!(loud[2] < -80.0, "{loud:?}");

    house.clients[0].close_target(house.now, &secret).unwrap();
    let third = house.clients[2].client().unwrap().view().unwrap().you();
    house.clients[0].open_target(VoiceTarget::Client(third), TargetOptions::default()).unwrap();
    house.run(100);
    house.loudness();
    house.run_with(100, &[0]);
    let loud = house.loudness();
    assert!(loud[2] > -25.0, "{loud:?}");
    assert!(loud[1] < -80.0, "{loud:?}");
}

/// proves: D-19
#[test]
fn muting_stops_sending_and_never_steps_the_talkspurt() {
    let mut house = House::new(2);
    house.run_with(50, &[0]);
    let before = house.clients[0].frames_spoken();
    house.clients[0].set_muted(true);
    house.run_with(100, &[0]);
    let spoken = house.clients[0].frames_spoken();
    assert_eq!(spoken, before + 1, "one more frame, silent, says that a pause follows");
    house.loudness();
    house.run_with(50, &[0]);
    assert_eq!(house.clients[0].frames_spoken(), spoken);
    assert!(house.loudness()[1] < -80.0);
    house.clients[0].set_muted(false);
    house.run_with(50, &[0]);
    let heard = house.clients[1].peers()[0].heard.unwrap();
    assert!(heard.frames_received >= 48, "{heard:?}");
    assert!(house.loudness()[1] > -25.0);
}

#[test]
fn gain_mute_and_deafen_change_what_one_hears() {
    let mut house = House::new(2);
    let who = house.clients[1].peers()[0].who;
    house.run_with(100, &[0]);
    house.loudness();
    house.run_with(50, &[0]);
    let plain = house.loudness()[1];
    house.clients[1].set_gain(who, 0.5);
    house.run_with(50, &[0]);
    let softer = house.loudness()[1];
    assert!((plain - softer - 6.0).abs() < 1.0, "{plain} and {softer}");
    house.clients[1].set_peer_muted(who, true);
    house.run_with(5, &[0]);
    house.loudness();
    house.run_with(50, &[0]);
    assert!(house.loudness()[1] < -80.0);
    house.clients[1].set_peer_muted(who, false);
    house.clients[1].set_deafened(true);
    house.run_with(5, &[0]);
    house.loudness();
    house.run_with(50, &[0]);
    assert!(house.loudness()[1] < -80.0);
}

/// proves: D-39, D-44
#[test]
fn stopping_frees_everything_and_starting_again_works() {
    let mut house = House::new(2);
    for _ in 0..3 {
        house.clients[0].stop(house.now);
        house.clients[0].stop(house.now);
        assert_eq!(house.clients[0].mode(), Mode::None);
        house.run_with(50, &[0, 1]);
        assert_eq!(house.server.status().members.len(), 1);
        assert!(house.clients[0].peers().is_empty());
        assert_eq!(
            house.clients[0].send_text(house.now, Recipient::Group(GroupId(1)), "x"),
            Err(EngineError::NotAClient)
        );
        house.clients[0].run_as_client(house.now, join()).unwrap();
        let again = house.clients[0].run_as_client(house.now, join());
        assert_eq!(again, Err(StartError::Engine(EngineError::AlreadyRunning(Mode::Client))));
        house.run(10);
        assert_eq!(house.clients[1].status().members.len(), 2);
    }
    house.server.stop(house.now);
    house.run(10);
    assert!(!house.clients[0].status().connected);
    assert_eq!(house.server.status().members.len(), 0);
    house.server.run_as_dedicated_server(house.now, serve()).unwrap();
    house.run(5);
    assert!(house.server.status().connected);
}

/// proves: D-35
#[test]
fn text_reaches_those_who_listen() {
    let mut house = House::new(3);
    house.clients[1].join_group(house.now, "readers").unwrap();
    house.run(5);
    for client in 0..3 {
        house.events(client);
    }
    let to = Recipient::Group(GroupId::of("readers"));
    house.clients[0].send_text(house.now, to, "hello").unwrap();
    house.run(5);
    let got = |events: Vec<EngineEvent<_>>| {
        events
            .iter()
            .any(|event| matches!(event, EngineEvent::Session(ClientEvent::Text { text, .. }) if text == "hello"))
    };
    assert!(got(house.events(1)));
    assert!(!got(house.events(2)));
    assert!(!got(house.events(0)));
}

/// proves: D-49
#[test]
fn a_broken_reliable_path_ends_the_session_at_once_and_says_so() {
    let mut house = House::new(2);
    house.events(0);
    let key = house.clients[0].network().key();
    house.hub.break_reliability(key);
    house.run(1);
    let ended = house.events(0).into_iter().any(|event| {
        event
            == EngineEvent::Session(ClientEvent::SessionEnded(
                voicemesh_session::network::DisconnectReason::ReliabilityBroken,
            ))
    });
    assert!(ended);
    assert_eq!(house.clients[0].mode(), Mode::None);
}
