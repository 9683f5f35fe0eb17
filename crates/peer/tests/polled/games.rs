//! Games with frames.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::rc::Rc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use bytes::Bytes;
use voicemesh::over::network::{Delivery, NetworkError, NetworkEvent, Reliability};
use voicemesh::over::{Mode, Network, Options, Polled, Pump, Voice, polled};
use voicemesh::{InputSpec, OutputSpec, PeerState};
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, PeerKey, ServerParameters};
use voicemesh_quality::hear::{Floor, compare};
use voicemesh_quality::{speech, wav};

/// How long anything may take that should take moments, on a machine that does other things as
/// well.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a game with 60 frames a second.
const FRAME: Duration = Duration::from_millis(16);

/// A network that cannot even be moved to another thread, as those of engines: their objects do
/// nothing there, or the program ends. It cannot end the connection of one client.
pub struct OnThisThread {
    inner: Endpoint,
    thread: ThreadId,
    is_not_send: PhantomData<Rc<()>>,
}

impl OnThisThread {
    pub fn new(hub: &Hub) -> Self {
        let thread = std::thread::current().id();
        Self { inner: hub.endpoint(), thread, is_not_send: PhantomData }
    }

    fn inner(&mut self) -> &mut Endpoint {
        assert_eq!(std::thread::current().id(), self.thread);
        &mut self.inner
    }
}

impl Network for OnThisThread {
    type Peer = PeerKey;
    type ClientParameters = ClientParameters;
    type ServerParameters = ServerParameters;

    fn connect(&mut self, now: Duration, to: ClientParameters) -> Result<(), NetworkError> {
        self.inner().connect(now, to)
    }

    fn disconnect(&mut self, now: Duration) {
        self.inner().disconnect(now);
    }

    fn host(&mut self, now: Duration, at: ServerParameters) -> Result<(), NetworkError> {
        self.inner().host(now, at)
    }

    fn stop_hosting(&mut self, now: Duration) {
        self.inner().stop_hosting(now);
    }

    fn poll(&mut self, now: Duration) -> Option<NetworkEvent<PeerKey>> {
        self.inner().poll(now)
    }

    fn send_to_server(
        &mut self,
        now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        self.inner().send_to_server(now, reliability, packet)
    }

    fn send_to_client(
        &mut self,
        now: Duration,
        to: PeerKey,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        self.inner().send_to_client(now, to, delivery, packet)
    }
}

struct Game {
    voice: Voice<Polled<OnThisThread>>,
    pump: Pump<OnThisThread>,
    mode: Mode,
    stalls: bool,
}

impl Game {
    fn new(hub: &Hub, name: &str, mode: Mode, with: impl FnOnce(Options) -> Options) -> Self {
        let options = Options::new(name).input(InputSpec::Silence).output(OutputSpec::Null);
        let (network, pump) = polled(OnThisThread::new(hub));
        Self { voice: Voice::new(with(options), network).unwrap(), pump, mode, stalls: false }
    }

    fn frame(&mut self) {
        if self.stalls {
            return;
        }
        let server = || ServerParameters { address: "game".to_owned() };
        let client = || ClientParameters { address: "game".to_owned() };
        self.voice.follow(self.mode, server, client);
        self.pump.update();
        self.voice.update();
        while self.voice.poll_event().is_some() {}
    }

    fn peer(&self, name: &str) -> Option<&PeerState> {
        self.voice.snapshot().peers.iter().find(|peer| peer.name == name)
    }

    fn frames_from(&self, name: &str) -> u64 {
        self.peer(name).map_or(0, |peer| peer.frames_heard)
    }
}

/// Frames of all games until it is so.
#[expect(clippy::disallowed_methods, reason = "the frames of a game follow a clock")]
fn play(games: &mut [Game], what: &str, mut is_so: impl FnMut(&mut [Game]) -> bool) {
    let began = Instant::now();
    loop {
        games.iter_mut().for_each(Game::frame);
        if is_so(games) {
            return;
        }
        let situations: Vec<_> = games.iter().map(|game| game.voice.snapshot()).collect();
        assert!(began.elapsed() < PATIENCE, "{what}: {situations:?}");
        std::thread::sleep(FRAME);
    }
}

#[test]
fn games_whose_networks_belong_to_their_threads_hear_each_other() {
    let files = ["ada.wav", "ben.wav"]
        .map(|name| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("polled-{name}")));
    for file in &files {
        // What an earlier run has left: the new one would get a number.
        let _ = std::fs::remove_file(file);
    }
    let hub = Hub::new();
    let to = |file: &PathBuf| OutputSpec::Wav(file.clone());
    let mut games = [
        Game::new(&hub, "Ada", Mode::Host, |options| options.output(to(&files[0]))),
        Game::new(&hub, "Ben", Mode::Client, |options| options.output(to(&files[1]))),
    ];
    play(&mut games, "they meet", |games| {
        games[0].peer("Ben").is_some() && games[1].peer("Ada").is_some()
    });
    let voices = ["reader", "cards"];
    let frames = voices.map(|voice| speech::load(voice).len() as u64 / 960);
    for (game, voice) in games.iter().zip(voices) {
        game.voice
            .microphone()
            .set_input(InputSpec::Wav { path: speech::path(voice), looped: true });
    }
    play(&mut games, "each has heard all of it", |games| {
        games[0].frames_from("Ben") > frames[1] && games[1].frames_from("Ada") > frames[0]
    });
    drop(games);
    for (file, voice) in files.iter().zip(["cards", "reader"]) {
        compare(&speech::load(voice), &wav::read(file).unwrap())
            .verdict(&Floor::default())
            .unwrap();
    }
}

#[test]
fn while_one_game_stalls_the_others_go_on_and_it_is_heard_again_at_once() {
    let tone = |options: Options| options.input(InputSpec::Tone { hz: 300.0 });
    let hub = Hub::new();
    let mut games = [
        Game::new(&hub, "Ada", Mode::Host, tone),
        Game::new(&hub, "Ben", Mode::Client, tone),
        Game::new(&hub, "Cleo", Mode::Client, tone),
    ];
    let hears = |games: &[Game], from: &str, more_than: u64| {
        games.iter().any(|game| game.frames_from(from) > more_than)
    };
    play(&mut games, "all hear each other", |games| {
        ["Ada", "Ben", "Cleo"].iter().all(|name| hears(games, name, 0))
    });
    games[1].stalls = true;
    let before = games[0].frames_from("Cleo");
    // Three seconds.
    play(&mut games, "the others go on", |games| games[0].frames_from("Cleo") > before + 150);
    let (heard, received) = {
        let ben = games[0].peer("Ben").expect("it is still there");
        (ben.frames_heard, ben.frames_received)
    };
    games[1].stalls = false;
    play(&mut games, "Ben is heard again", |games| games[0].frames_from("Ben") > heard + 50);
    let ben = games[0].peer("Ben").unwrap();
    // What it said while it stalled is not made up for: but for 400 ms of it.
    let at_once = 20 + 50 + 25;
    assert!(ben.frames_received - received < at_once + 50, "{}", ben.frames_received - received);
    assert!(ben.speaking && games[1].peer("Ada").is_some_and(|peer| peer.speaking));
}
