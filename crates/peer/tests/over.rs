//! Voices over a network that the game has, here one in memory: no server, no WebRTC.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use voicemesh::over::network::{Delivery, LinkId, NetworkError, NetworkEvent, Reliability};
use voicemesh::over::{Mode, Network, Options, Voice};
use voicemesh::{
    Event, InputSpec, MemberEncryption, MixVoice, OutputSpec, PeerId, PeerState, Pose, RoomEvent,
    RoomKey, TransmitOptions, VoiceAudience,
};
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, ServerParameters};
use voicemesh_quality::hear::{Floor, compare};
use voicemesh_quality::{speech, wav};

/// How long anything may take that should take moments, on a machine that does other things as
/// well.
const PATIENCE: Duration = Duration::from_secs(60);
/// Frames of speech, 20 ms each, in three seconds.
const FRAMES_IN_A_STALL: u64 = 150;

/// A game with a voice.
struct Game {
    voice: Voice<Endpoint>,
    /// What its network is.
    mode: Mode,
    events: Vec<Event>,
}

impl Game {
    fn new(hub: &Hub, name: &str, with: impl FnOnce(Options) -> Options) -> Self {
        let options = Options::new(name).input(InputSpec::Silence).output(OutputSpec::Null);
        let voice = Voice::new(with(options), hub.endpoint()).unwrap();
        Self { voice, mode: Mode::None, events: Vec::new() }
    }

    fn frame(&mut self) {
        let server = || ServerParameters { address: "game".to_owned() };
        let client = || ClientParameters { address: "game".to_owned() };
        self.voice.follow(self.mode, server, client);
        self.poll();
    }

    fn poll(&mut self) {
        self.voice.update();
        self.events.extend(std::iter::from_fn(|| self.voice.poll_event()));
    }

    fn peer(&self, name: &str) -> Option<&PeerState> {
        self.voice.snapshot().peers.iter().find(|peer| peer.name == name)
    }

    fn id(&self, name: &str) -> PeerId {
        self.peer(name).unwrap().peer
    }

    fn has(&self, name: &str) -> bool {
        self.peer(name).is_some()
    }

    fn frames_from(&self, name: &str) -> u64 {
        self.peer(name).map_or(0, |peer| peer.frames_heard)
    }

    fn take(&mut self, wanted: impl Fn(&RoomEvent) -> bool) -> Option<RoomEvent> {
        let is_wanted = |event: &Event| matches!(event, Event::Room(event) if wanted(event));
        let at = self.events.iter().position(is_wanted)?;
        match self.events.remove(at) {
            Event::Room(event) => Some(event),
            _ => None,
        }
    }

    fn has_text(&mut self, wanted: &str) -> bool {
        self.take(|event| matches!(event, RoomEvent::Text { text, .. } if text == wanted)).is_some()
    }
}

/// Frames of all games until it is so.
#[expect(clippy::disallowed_methods, reason = "the frames of a game follow a clock")]
fn play<const GAMES: usize>(
    games: &mut [Game; GAMES],
    what: &str,
    mut is_so: impl FnMut(&mut [Game; GAMES]) -> bool,
) {
    let began = Instant::now();
    loop {
        games.iter_mut().for_each(Game::frame);
        if is_so(games) {
            return;
        }
        let situations = games.each_ref().map(|game| (&game.events, game.voice.snapshot()));
        assert!(began.elapsed() < PATIENCE, "{what}: {situations:?}");
        std::thread::sleep(Duration::from_millis(4));
    }
}

/// A host and a client, who see each other.
fn two(ada: impl FnOnce(Options) -> Options, ben: impl FnOnce(Options) -> Options) -> [Game; 2] {
    let hub = Hub::new();
    let mut games = [Game::new(&hub, "Ada", ada), Game::new(&hub, "Ben", ben)];
    [games[0].mode, games[1].mode] = [Mode::Host, Mode::Client];
    play(&mut games, "they meet", |[ada, ben]| ada.has("Ben") && ben.has("Ada"));
    games
}

/// proves: D-36
#[test]
fn a_host_and_a_client_hear_what_the_other_says() {
    let files = ["ada.wav", "ben.wav"]
        .map(|name| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("over-{name}")));
    for file in &files {
        // What an earlier run has left: the new one would get a number.
        let _ = std::fs::remove_file(file);
    }
    let mut games = two(
        |options| options.output(OutputSpec::Wav(files[0].clone())),
        |options| options.output(OutputSpec::Wav(files[1].clone())),
    );
    assert_eq!(
        games.each_ref().map(|game| game.voice.snapshot().mode),
        ["server & client", "client"]
    );
    let voices = ["reader", "cards"];
    let frames = voices.map(|voice| speech::load(voice).len() as u64 / 960);
    for (game, voice) in games.iter().zip(voices) {
        game.voice
            .microphone()
            .set_input(InputSpec::Wav { path: speech::path(voice), looped: true });
    }
    // Pauses are not sent: in so many frames, all of it was said at least once.
    play(&mut games, "each has heard all of it", |[ada, ben]| {
        ada.frames_from("Ben") > frames[1] && ben.frames_from("Ada") > frames[0]
    });
    drop(games);
    for (file, voice) in files.iter().zip(["cards", "reader"]) {
        compare(&speech::load(voice), &wav::read(file).unwrap())
            .verdict(&Floor::default())
            .unwrap();
    }
}

#[test]
fn a_game_that_stalls_for_three_seconds_is_heard_all_the_time() {
    let tone = |options: Options| options.input(InputSpec::Tone { hz: 300.0 });
    for stalls in [0, 1] {
        let mut games = two(tone, tone);
        let names = ["Ada", "Ben"];
        let (stalled, other) = (names[stalls], 1 - stalls);
        play(&mut games, "it is heard", |games| games[other].frames_from(stalled) > 0);
        let before = games[other].frames_from(stalled);
        let snapshot = games[stalls].voice.snapshot().clone();
        let began = Instant::now();
        // No call at all to the one that stalls: neither `follow` nor `update`.
        while games[other].frames_from(stalled) < before + FRAMES_IN_A_STALL {
            assert!(began.elapsed() < PATIENCE, "{stalled} is not heard while it stalls");
            games[other].frame();
            std::thread::yield_now();
        }
        assert!(began.elapsed() > Duration::from_millis(2_500), "{:?}", began.elapsed());
        assert_eq!(*games[stalls].voice.snapshot(), snapshot, "its frame is the old one");
        let lost = games[other].peer(stalled).unwrap().frames_concealed;
        assert!(lost < FRAMES_IN_A_STALL / 10, "{lost} frames were concealed");
        games[stalls].frame();
        assert!(games[stalls].frames_from(names[other]) > 0, "and it has heard all the time");
    }
}

/// proves: D-39, D-40
#[test]
fn groups_and_handles_stay_when_the_game_starts_its_network_again() {
    let hub = Hub::new();
    let quiet = |options: Options| options;
    let mut games = [Game::new(&hub, "Ada", quiet), Game::new(&hub, "Ben", quiet)];
    // Before anything runs.
    for game in &games {
        game.voice.group("Global").leave();
        game.voice.group("team").join();
    }
    for round in 0..3 {
        // Each is the host in turn; who joins first tries again.
        let host = round % 2;
        games[1 - host].mode = Mode::Client;
        play(&mut games, "the client waits", |games| {
            games[1 - host].take(|event| matches!(event, RoomEvent::ServerAway { .. })).is_some()
        });
        games[host].mode = Mode::Host;
        play(&mut games, "they meet", |[ada, ben]| ada.has("Ben") && ben.has("Ada"));
        play(&mut games, "both listen to the team alone", |games| {
            games.iter().all(|game| game.voice.snapshot().peers[0].groups[..] == ["team"])
        });
        games[0].voice.send_text("to no one here");
        games[0].voice.group("team").send_text("hello");
        let ada = games[1].id("Ada");
        games[1].voice.member(ada).send_text("for you alone");
        play(&mut games, "texts arrive", {
            let mut arrived = [false; 2];
            move |[ada, ben]| {
                arrived[0] |= ben.has_text("hello");
                arrived[1] |= ada.has_text("for you alone");
                arrived == [true; 2]
            }
        });
        assert!(!games[1].has_text("to no one here"));

        games[host].mode = Mode::None;
        play(&mut games, "all are gone", |games| {
            games.iter().all(|game| game.voice.snapshot().peers.is_empty())
        });
        games[1 - host].mode = Mode::None;
        play(&mut games, "nothing runs", |games| {
            games.iter().all(|game| game.voice.snapshot().mode == "none")
        });
        for game in &mut games {
            assert!(game.take(|event| matches!(event, RoomEvent::PeerLeft { .. })).is_some());
            game.events.clear();
        }
    }
}

#[test]
fn a_member_is_spoken_to_alone_heard_louder_or_not_at_all() {
    let tone = |options: Options| options.input(InputSpec::Tone { hz: 300.0 });
    let hub = Hub::new();
    let mut games = ["Ada", "Ben", "Cleo"].map(|name| Game::new(&hub, name, tone));
    for (game, mode) in games.iter_mut().zip([Mode::Host, Mode::Client, Mode::Client]) {
        game.mode = mode;
        // Only handles are spoken by.
        game.voice.group("Global").leave();
    }
    play(&mut games, "they meet", |games| {
        games.iter().all(|game| game.voice.snapshot().peers.len() == 2)
    });
    let ben = games[0].id("Ben");
    let to_ben = games[0].voice.transmit_to(VoiceAudience::Peer(ben), TransmitOptions::default());
    let is_heard = |game: &Game| game.peer("Ada").is_some_and(|peer| peer.speaking);
    play(&mut games, "Ben hears Ada", |[_, ben, _]| is_heard(ben));
    assert_eq!(games[2].frames_from("Ada"), 0, "Cleo does not");

    let ada = games[1].id("Ada");
    let level = |game: &Game| game.peer("Ada").and_then(|peer| peer.level_dbfs);
    let spoken = level(&games[1]).unwrap();
    games[1].voice.member(ada).set_gain(2.0);
    play(&mut games, "it is louder", |[_, ben, _]| {
        let peer = ben.peer("Ada").unwrap();
        peer.gain == 2.0 && peer.level_dbfs.is_some()
    });
    assert!(spoken < 0.0 && games[1].voice.member(ada).level().is_some());
    games[1].voice.member(ada).set_muted(true);
    play(&mut games, "it is muted", |[_, ben, _]| ben.peer("Ada").unwrap().muted);
    drop(to_ben);
    play(&mut games, "Ada is silent", |[_, ben, _]| !is_heard(ben));
}

/// The share of what was heard that came to the left ear, over so many frames of the mix.
fn left_share(mix: &mut MixVoice, games: &mut [Game; 2], what: &str, wanted: impl Fn(f32) -> bool) {
    const FRAMES: usize = 4_800;
    let (mut sides, mut frames) = ([0.0_f32; 2], 0);
    play(games, what, |_| {
        let mut block = [0.0; 960];
        let read = mix.read(&mut block);
        frames += read;
        for frame in block[..2 * read].chunks(2) {
            sides[0] += frame[0] * frame[0];
            sides[1] += frame[1] * frame[1];
        }
        if frames < FRAMES {
            return false;
        }
        let [left, right] = std::mem::take(&mut sides);
        frames = 0;
        left + right > 0.0 && wanted(left / (left + right))
    });
}

#[test]
fn a_member_is_heard_from_its_place_and_the_listener_may_turn_round() {
    let mut games = two(
        |options| options.positional(true).input(InputSpec::Tone { hz: 300.0 }),
        |options| options.positional(true),
    );
    let ada = games[1].id("Ada");
    let mut mix = games[1].voice.speaker().open_mix(48_000).unwrap();
    left_share(&mut mix, &mut games, "without a place on both sides", |left| {
        (0.45..0.55).contains(&left)
    });
    games[1].voice.member(ada).set_position([-3.0, 0.0, 0.0], [0.0; 3]);
    left_share(&mut mix, &mut games, "to the left", |left| left > 0.9);
    // Right behind, where the left is the right.
    let behind = Pose { forward: [0.0, 0.0, 1.0], ..Pose::default() };
    games[1].voice.speaker().set_listener(behind);
    left_share(&mut mix, &mut games, "to the right of who turned round", |left| left < 0.1);
    games[1].voice.member(ada).clear_position();
    left_share(&mut mix, &mut games, "on both sides again", |left| (0.45..0.55).contains(&left));
}

#[test]
fn what_does_not_start_by_hand_says_why_and_is_not_tried_again() {
    let hub = Hub::new();
    let quiet = |options: Options| options.without_devices();
    let mut games = ["first", "second", "third"].map(|name| Game::new(&hub, name, quiet));
    let server = || ServerParameters { address: "here".to_owned() };
    let client = |address: &str| ClientParameters { address: address.to_owned() };
    let wait = |game: &mut Game, what: &str, is_so: &dyn Fn(&mut Game) -> bool| {
        let began = Instant::now();
        loop {
            game.poll();
            if is_so(game) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {:?}", game.events);
            std::thread::yield_now();
        }
    };
    let refused = |wanted: &'static str| {
        move |game: &mut Game| {
            let is = |event: &RoomEvent| matches!(event, RoomEvent::Refused { code, .. } if code.to_string() == wanted);
            game.take(is).is_some()
        }
    };
    let [first, second, third] = &mut games;
    first.voice.run_as_dedicated_server(server());
    wait(first, "it serves", &|game| {
        let snapshot = game.voice.snapshot();
        snapshot.mode == "server" && snapshot.connected
    });
    second.voice.run_as_host(server());
    wait(second, "the address is taken", &refused("not-started"));
    second.voice.run_as_client(client("nowhere"));
    wait(second, "there is no host", &refused("not-connected"));
    second.voice.run_as_client(client("here"));
    third.voice.run_as_client(client("here"));
    wait(second, "it joins", &|game| game.has("third"));
    wait(first, "the server sees both", &|game| game.voice.snapshot().peers.len() == 2);
    first.voice.stop();
    wait(second, "the session is gone", &refused("session-ended"));
    wait(second, "all are gone", &|game| !game.has("third"));
}

/// A network that breaks its contract when the test says so.
#[derive(Clone, Default)]
struct Careless(Arc<Mutex<VecDeque<NetworkEvent<u32>>>>);

impl Network for Careless {
    type Peer = u32;
    type ClientParameters = ();
    type ServerParameters = ();

    fn connect(&mut self, _: Duration, (): ()) -> Result<(), NetworkError> {
        Ok(())
    }

    fn disconnect(&mut self, _: Duration) {}

    fn host(&mut self, _: Duration, (): ()) -> Result<(), NetworkError> {
        Ok(())
    }

    fn stop_hosting(&mut self, _: Duration) {}

    fn poll(&mut self, _: Duration) -> Option<NetworkEvent<u32>> {
        self.0.lock().unwrap().pop_front()
    }

    fn send_to_server(
        &mut self,
        _: Duration,
        _: Reliability,
        _: Bytes,
    ) -> Result<(), NetworkError> {
        Ok(())
    }

    fn send_to_client(
        &mut self,
        _: Duration,
        _: u32,
        _: Delivery,
        _: Bytes,
    ) -> Result<(), NetworkError> {
        Ok(())
    }
}

#[test]
fn a_network_that_breaks_its_contract_is_warned_of_with_the_rule_and_the_voice_goes_on() {
    let reported = Careless::default();
    let options = Options::new("Ada").input(InputSpec::Silence).output(OutputSpec::Null);
    let mut voice = Voice::new(options, reported.clone()).unwrap();
    voice.run_as_host(());
    let next_warning = |voice: &mut Voice<Careless>, event: NetworkEvent<u32>| {
        // Twice: of each rule the first breach is said.
        reported.0.lock().unwrap().extend([event.clone(), event]);
        let began = Instant::now();
        loop {
            voice.update();
            match voice.poll_event() {
                Some(Event::Room(RoomEvent::Warned { code, message, .. })) => {
                    assert_eq!(code.to_string(), "network", "{message}");
                    return message;
                }
                Some(event) => assert!(
                    !matches!(event, Event::Room(RoomEvent::Left | RoomEvent::Refused { .. })),
                    "{event:?}"
                ),
                None => std::thread::yield_now(),
            }
            assert!(began.elapsed() < PATIENCE, "{:?}", voice.snapshot());
        }
    };
    let packet = |bytes: usize| Bytes::from(vec![0; bytes]);
    let early = NetworkEvent::FromClient { peer: 7, packet: packet(9) };
    let message = next_warning(&mut voice, early);
    assert!(message.ends_with("nothing comes from clients before Hosting"), "{message}");

    reported.0.lock().unwrap().push_back(NetworkEvent::Hosting);
    let to_the_own_client = NetworkEvent::FromServer(packet(9));
    let message = next_warning(&mut voice, to_the_own_client);
    assert!(message.contains("a host has no connection to a server"), "{message}");

    let too_large = NetworkEvent::FromClient { peer: 7, packet: packet(100_000) };
    let message = next_warning(&mut voice, too_large);
    assert!(message.ends_with("no packet is larger than the network's limits"), "{message}");

    let link = LinkId { peer: 7, generation: 1 };
    let unknown = NetworkEvent::FromLink { link, packet: packet(9) };
    let message = next_warning(&mut voice, unknown);
    assert!(message.contains("a link is reported with LinkUp before"), "{message}");

    voice.update();
    assert_eq!(voice.snapshot().mode, "server & client");
    assert!(voice.snapshot().connected, "it goes on");
    voice.stop();
    while voice.snapshot().mode != "none" {
        voice.update();
        std::thread::yield_now();
    }
    let late = NetworkEvent::FromClient { peer: 7, packet: packet(9) };
    let message = next_warning(&mut voice, late);
    assert!(message.ends_with("a server side that was stopped reports nothing more"), "{message}");
}

/// A game's network with a fault of its author.
struct Faulty;

impl Network for Faulty {
    type Peer = u32;
    type ClientParameters = ();
    type ServerParameters = ();

    fn connect(&mut self, _: Duration, (): ()) -> Result<(), NetworkError> {
        panic!("a fault of the test's network")
    }

    fn disconnect(&mut self, _: Duration) {}

    fn host(&mut self, _: Duration, (): ()) -> Result<(), NetworkError> {
        Ok(())
    }

    fn stop_hosting(&mut self, _: Duration) {}

    fn poll(&mut self, _: Duration) -> Option<NetworkEvent<u32>> {
        None
    }

    fn send_to_server(
        &mut self,
        _: Duration,
        _: Reliability,
        _: Bytes,
    ) -> Result<(), NetworkError> {
        Ok(())
    }

    fn send_to_client(
        &mut self,
        _: Duration,
        _: u32,
        _: Delivery,
        _: Bytes,
    ) -> Result<(), NetworkError> {
        Ok(())
    }
}

#[test]
fn a_network_that_panics_ends_the_voice_which_is_said_once() {
    let options = Options::new("Ada").input(InputSpec::Silence).output(OutputSpec::Null);
    let mut voice = Voice::new(options, Faulty).unwrap();
    voice.run_as_client(());
    let began = Instant::now();
    while !matches!(voice.poll_event(), Some(Event::Room(RoomEvent::Left))) {
        assert!(began.elapsed() < PATIENCE, "{:?}", voice.snapshot());
        std::thread::yield_now();
    }
    assert_eq!(voice.poll_event(), None);
    voice.microphone().set_muted(true);
}

/// Frames until this is so.
fn until(games: &mut [&mut Game], what: &str, mut is_so: impl FnMut(&mut [&mut Game]) -> bool) {
    let began = Instant::now();
    while !is_so(games) {
        assert!(began.elapsed() < PATIENCE, "{what}");
        games.iter_mut().for_each(|game| game.frame());
        std::thread::yield_now();
    }
}

/// What is written right behind a join waits for the others' keys.
#[test]
fn who_writes_and_leaves_is_read_whether_it_stops_or_is_dropped() {
    for is_stopped in [true, false] {
        let hub = Hub::new();
        let with_key = |options: Options| options.room_key(RoomKey::new([1; 16]));
        let mut ada = Game::new(&hub, "Ada", with_key);
        ada.mode = Mode::Host;
        until(&mut [&mut ada], "she hosts", |games| games[0].voice.snapshot().connected);
        let mut ben = Game::new(&hub, "Ben", with_key);
        ben.mode = Mode::Client;
        let is_in = |event: &RoomEvent| matches!(event, RoomEvent::Connected);
        until(&mut [&mut ada, &mut ben], "he joins", |games| games[1].take(is_in).is_some());
        ben.voice.send_text("I cannot stay");
        if is_stopped {
            ben.voice.stop();
            until(&mut [&mut ada], "his words", |games| games[0].has_text("I cannot stay"));
        } else {
            drop(ben);
            until(&mut [&mut ada], "his words", |games| games[0].has_text("I cannot stay"));
        }
    }
}

#[test]
fn with_a_key_the_lock_is_said_as_in_a_room_and_a_server_without_it_knows_no_names() {
    let hub = Hub::new();
    let key = || RoomKey::new([7; 16]);
    let mut server = Game::new(&hub, "Hal", Options::without_devices);
    server.mode = Mode::DedicatedServer;
    let mut ada = Game::new(&hub, "Ada", |options| options.room_key(key()));
    let mut ben = Game::new(&hub, "Ben", |options| options.room_key(key()));
    let mut cleo = Game::new(&hub, "Cleo", |options| options);
    for game in [&mut ada, &mut ben, &mut cleo] {
        game.mode = Mode::Client;
    }
    let verified = Some(MemberEncryption::Encrypted { verified: true });
    let mut games = [&mut server, &mut ada, &mut ben, &mut cleo];
    until(&mut games, "they encrypt", |games| {
        let state = |game: &Game, name| game.peer(name).and_then(|peer| peer.encryption);
        state(games[1], "Ben") == verified
            && state(games[2], "Ada") == verified
            && state(games[1], "Member") == Some(MemberEncryption::Unable)
            && games[0].voice.snapshot().peers.len() == 3
    });
    let names = |game: &Game| -> Vec<String> {
        let mut names: Vec<_> =
            game.voice.snapshot().peers.iter().map(|peer| peer.name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&server), ["Cleo", "Member", "Member"]);
    assert_eq!(names(&ada), ["Ben", "Member"]);
    assert_eq!(names(&cleo), ["Member", "Member"]);
    let (of_ada, of_ben) = (ada.voice.snapshot(), ben.voice.snapshot());
    assert!(of_ada.has_room_key && of_ada.safety_code.is_some());
    assert_eq!(of_ada.safety_code, of_ben.safety_code);
    assert!(!cleo.voice.snapshot().has_room_key && cleo.voice.snapshot().safety_code.is_none());
    let (came, locked) = (
        ada.events.iter().position(
            |event| matches!(event, Event::Room(RoomEvent::PeerJoined { name, .. }) if name == "Ben"),
        ),
        ada.events.iter().position(|event| {
            let ben = ada.id("Ben");
            let encryption = MemberEncryption::Encrypted { verified: true };
            *event == Event::Room(RoomEvent::EncryptionChanged { peer: ben, encryption, encrypted_before: false })
        }),
    );
    assert!(came.is_some() && locked.is_some(), "{:?}", ada.events);

    let ben_id = ada.id("Ben");
    ada.voice.member(ben_id).send_text("for you alone");
    cleo.voice.send_text("in the clear");
    ada.voice.send_text("for all");
    until(&mut [&mut server, &mut ada, &mut ben, &mut cleo], "Ben reads", |games| {
        let texts = games[2]
            .events
            .iter()
            .filter(|event| matches!(event, Event::Room(RoomEvent::Text { .. })));
        texts.count() == 2
    });
    let read = |game: &Game| -> Vec<String> {
        let text = |event: &Event| match event {
            Event::Room(RoomEvent::Text { text, .. }) => Some(text.clone()),
            _ => None,
        };
        game.events.iter().filter_map(text).collect()
    };
    assert_eq!(read(&ben), ["for you alone", "for all"]);
    assert_eq!(read(&cleo), [""; 0]);
    assert_eq!(read(&ada), [""; 0]);
}
