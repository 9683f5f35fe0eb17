//! Voice over renet on loopback, host and clients in this process: how soon one who joins hears, how
//! old speech is when it is heard, and what 32 clients cost their host. In real time.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_engine::{EngineConfig, EngineEvent, EngineOnNetwork, VoiceEngine};
use voicemesh_renet::{ClientParameters, KEY_BYTES, RenetNetwork, ServerParameters};
use voicemesh_session::client::Phase;

use crate::machine::thread_cpu_time;
use crate::mouth_to_ear::Spoken;
use crate::programs::PATIENCE;
use crate::report::Row;
use crate::run::Scale;

const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];
/// A block of sound.
const STEP: Duration = Duration::from_millis(10);
/// As the thread of a voice over a game's network sleeps (`crates/peer/src/over/worker.rs`).
const HOST_SLEEPS: Duration = Duration::from_millis(5);
/// Between two turns of all others.
const SLEEP: Duration = Duration::from_micros(300);

const JOINERS: usize = 10;
/// Two frames.
const FIRST_VOICE_TARGET_MS: f64 = 40.0;
/// Through the signaling server, with devices of the same steps: the row `mouth-to-ear` of
/// docs/benchmarks.md.
const RELAYED_MS: f64 = 47.0;
const AGE_TARGET_MS: f64 = RELAYED_MS + 5.0;
const SPOKEN_S: f64 = 15.0;
const SPOKEN_QUICK_S: f64 = 6.0;
const CLIENTS: usize = 32;
const SPEAKERS: usize = 2;
const HOST_TARGET_PERCENT: f64 = 10.0;
const HOST_LENGTH: Duration = Duration::from_secs(20);

/// The rows of `session` that are over renet.
pub fn measure(scale: Scale) -> Vec<Row> {
    let ages: Vec<Vec<f64>> = (0..scale.runs()).map(|run| mouth_to_ear(scale, run)).collect();
    let loads = (0..scale.runs()).map(|_| host_load(scale.length(HOST_LENGTH))).collect();
    vec![
        Row {
            name: "over renet: connected → first voice heard",
            unit: "ms",
            target: Some(FIRST_VOICE_TARGET_MS),
            values: first_voices(scale.count(JOINERS).max(2)),
            note: String::new(),
        },
        Row {
            name: "over renet: mouth to ear, through the host",
            unit: "ms",
            target: Some(AGE_TARGET_MS),
            note: format!("{} chirps in {} runs", ages.iter().flatten().count(), ages.len()),
            values: ages.concat(),
        },
        Row {
            name: "over renet: a host of 32 clients, two speaking",
            unit: "% of a core",
            target: Some(HOST_TARGET_PERCENT),
            values: loads,
            note: String::new(),
        },
    ]
}

/// One of the session, with devices of 10 ms.
struct Member {
    voice: EngineOnNetwork<RenetNetwork>,
    clock: Instant,
    /// When the first block of sound begins, by this clock.
    begins: Duration,
    blocks: u32,
    heard: Vec<f32>,
}

impl Member {
    fn new(clock: Instant, name: &str, seed: u64) -> Self {
        let engine = VoiceEngine::new(EngineConfig::new(name, seed))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let voice = EngineOnNetwork::new(engine, RenetNetwork::new());
        Self { voice, clock, begins: clock.elapsed(), blocks: 0, heard: Vec::new() }
    }

    /// A host that plays as well, and where it serves.
    fn host(clock: Instant) -> (Self, SocketAddr) {
        let mut host = Self::new(clock, "host", 1);
        let listen = (Ipv4Addr::LOCALHOST, 0).into();
        let clients = CLIENTS + 1;
        let parameters = ServerParameters { listen, public: Vec::new(), key: KEY, clients };
        host.voice
            .run_as_host(clock.elapsed(), parameters)
            .unwrap_or_else(|error| panic!("host: {error}"));
        let address = host.voice.network().serves_at().unwrap_or_else(|| panic!("it serves"));
        (host, address)
    }

    fn client(clock: Instant, address: SocketAddr, seed: u64) -> Self {
        let mut client = Self::new(clock, &format!("client {seed}"), seed);
        let timeout = Duration::from_secs(5);
        let parameters = ClientParameters { servers: vec![address], key: KEY, timeout };
        client
            .voice
            .run_as_client(clock.elapsed(), parameters)
            .unwrap_or_else(|error| panic!("client: {error}"));
        client
    }

    /// Sound begins anew: the first block is complete 10 ms after this.
    fn begin_sound(&mut self, begins: Duration) {
        (self.begins, self.blocks) = (begins, 0);
        self.heard.clear();
    }

    /// What its thread does each time: what has arrived, and the blocks of sound that are due.
    fn turn(&mut self, mut speaks: impl FnMut(u32) -> Option<Block>) {
        self.voice.update(self.clock.elapsed());
        while self.begins + STEP * (self.blocks + 1) <= self.clock.elapsed() {
            let now = self.clock.elapsed();
            if let Some(block) = speaks(self.blocks) {
                self.voice.capture(now, &block).unwrap_or_else(|error| panic!("{error}"));
            }
            let mut speaker: Block = [0.0; BLOCK_SAMPLES];
            self.voice.render(now, &mut speaker);
            self.heard.extend_from_slice(&speaker);
            self.blocks += 1;
        }
    }

    fn members(&self) -> usize {
        self.voice.status().members.len()
    }

    fn hears_for_the_first_time(&mut self) -> bool {
        std::iter::from_fn(|| self.voice.poll_event())
            .any(|event| matches!(event, EngineEvent::FirstHeard { .. }))
    }
}

fn silent(_: u32) -> Option<Block> {
    None
}

fn tone(block: u32) -> Option<Block> {
    let first = block as usize * BLOCK_SAMPLES;
    Some(std::array::from_fn(|at| {
        let seconds = (first + at) as f32 / 48_000.0;
        0.3 * (seconds * 220.0 * std::f32::consts::TAU).sin()
    }))
}

/// Lets some time pass until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        thread::park_timeout(SLEEP);
    }
}

/// Milliseconds from a connection to the first voice, for so many who join one after the other. The
/// host speaks.
fn first_voices(joiners: usize) -> Vec<f64> {
    let clock = Instant::now();
    let (mut host, address) = Member::host(clock);
    let first_voice = |number: usize| {
        let mut joiner = Member::client(clock, address, 100 + number as u64);
        let mut connected = None;
        until("the first voice", || {
            host.turn(tone);
            joiner.turn(silent);
            let is_connected =
                joiner.voice.client().is_some_and(|client| client.phase() != Phase::Offline);
            if is_connected && connected.is_none() {
                connected = Some(clock.elapsed());
            }
            joiner.hears_for_the_first_time()
        });
        let heard = clock.elapsed();
        joiner.voice.stop(heard);
        until("one who left is gone", || {
            host.turn(tone);
            host.members() == 1
        });
        (heard - connected.unwrap_or(heard)).as_secs_f64() * 1e3
    };
    (0..joiners).map(first_voice).collect()
}

/// How old chirps are when they are heard, in milliseconds: from a client through the host to
/// another. In each run the ear's device begins at another moment of the mouth's 10 ms.
fn mouth_to_ear(scale: Scale, run: usize) -> Vec<f64> {
    let spoken = Spoken::new(if scale == Scale::Quick { SPOKEN_QUICK_S } else { SPOKEN_S });
    let clock = Instant::now();
    let (mut host, address) = Member::host(clock);
    let [mut mouth, mut ear] = [2, 3].map(|seed| Member::client(clock, address, seed));
    until("all see all", || {
        host.turn(silent);
        mouth.turn(silent);
        ear.turn(silent);
        mouth.members() == 3 && ear.members() == 3
    });
    let behind = STEP * run as u32 / 3;
    let begins = clock.elapsed();
    mouth.begin_sound(begins);
    ear.begin_sound(begins + behind);
    while spoken.block(mouth.blocks).is_some() {
        mouth.turn(|block| spoken.block(block));
        host.turn(silent);
        ear.turn(silent);
        thread::park_timeout(SLEEP);
    }
    let ages = spoken.ages_ms(&ear.heard, -behind.as_secs_f64());
    let all = spoken.counted().count();
    assert!(ages.len() * 10 >= all * 9, "only {} of {all} chirps were heard", ages.len());
    ages
}

/// Per cent of a core that the host's thread takes, which hears and passes on two of 32 clients.
fn host_load(length: Duration) -> f64 {
    let clock = Instant::now();
    let (mut host, address) = Member::host(clock);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let host = scope.spawn(|| {
            let turn = |host: &mut Member| {
                host.turn(silent);
                host.heard.clear();
                thread::park_timeout(HOST_SLEEPS);
            };
            let joining = Instant::now();
            let is_complete = |host: &Member| {
                let peers = host.voice.peers();
                let speaking = peers.iter().filter(|peer| peer.speaking).count();
                peers.len() == CLIENTS && speaking == SPEAKERS
            };
            while !is_complete(&host) {
                assert!(joining.elapsed() < PATIENCE, "{} are here", host.members());
                turn(&mut host);
            }
            let (before, began) = (thread_cpu_time(), Instant::now());
            while began.elapsed() < length {
                turn(&mut host);
            }
            let spent = thread_cpu_time().saturating_sub(before);
            is_done.store(true, Ordering::Relaxed);
            100.0 * spent.as_secs_f64() / began.elapsed().as_secs_f64()
        });
        let mut clients: Vec<Member> = (0..CLIENTS as u64)
            .map(|number| Member::client(clock, address, 100 + number))
            .collect();
        while !is_done.load(Ordering::Relaxed) && !host.is_finished() {
            for (number, client) in clients.iter_mut().enumerate() {
                client.turn(if number < SPEAKERS { tone } else { silent });
                client.heard.clear();
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        host.join().unwrap_or_else(|_| panic!("the host's thread ended"))
    })
}
