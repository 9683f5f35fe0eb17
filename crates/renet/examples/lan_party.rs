//! A game on a LAN with voice: one player hosts, the others join. No signaling, no other server.
//!
//! ```text
//! cargo run -p voicemesh-renet --example lan_party -- host 127.0.0.1:7777
//! cargo run -p voicemesh-renet --example lan_party -- join 127.0.0.1:7777
//! cargo run -p voicemesh-renet --example lan_party -- serve 127.0.0.1:7777    # without a player
//! ```
//!
//! A tone stands for the microphone, and what is heard is printed.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_engine::{EngineConfig, EngineEvent, EngineOnNetwork, Mode, ModeMirror, VoiceEngine};
use voicemesh_renet::{ClientParameters, KEY_BYTES, RenetNetwork, RenetPeer, ServerParameters};

/// What lets a player in. A real game gives each party its own, at random.
const KEY: [u8; KEY_BYTES] = *b"a key that all players have: 32!";
/// A block of sound.
const BLOCK: Duration = Duration::from_millis(10);

/// A game, as far as its voice is concerned.
pub struct Game {
    voice: EngineOnNetwork<RenetNetwork>,
    mirror: ModeMirror,
    address: SocketAddr,
    began: Instant,
    blocks: u32,
}

impl Game {
    /// A player of this name.
    pub fn new(name: &str, address: SocketAddr, seed: u64) -> Result<Self, Box<dyn Error>> {
        let engine = VoiceEngine::new(EngineConfig::new(name, seed))?;
        Ok(Self {
            voice: EngineOnNetwork::new(engine, RenetNetwork::new()),
            mirror: ModeMirror::new(),
            address,
            began: Instant::now(),
            blocks: 0,
        })
    }

    /// One frame of the game. `mode`: what the game's own network is; voice follows it.
    pub fn frame(&mut self, mode: Mode, speaks: bool) -> Result<(), Box<dyn Error>> {
        let now = self.began.elapsed();
        let address = self.address;
        let server =
            || ServerParameters { listen: address, public: Vec::new(), key: KEY, clients: 16 };
        let client = || ClientParameters {
            servers: vec![address],
            key: KEY,
            timeout: Duration::from_secs(5),
        };
        self.mirror.update(now, &mut self.voice, mode, server, client)?;
        self.voice.update(now);
        // As a sound card would: 10 ms of microphone and of speaker, every 10 ms.
        while BLOCK * self.blocks < now {
            let at = BLOCK * self.blocks;
            self.blocks += 1;
            if speaks {
                self.voice.capture(now, &tone(at))?;
            }
            let mut speaker: Block = [0.0; BLOCK_SAMPLES];
            self.voice.render(now, &mut speaker);
        }
        Ok(())
    }

    /// What happened to the voice.
    pub fn poll(&mut self) -> Option<EngineEvent<RenetPeer>> {
        self.voice.poll_event()
    }

    /// Names of those who are in the session.
    pub fn players(&self) -> Vec<String> {
        self.voice.status().members.into_iter().map(|(_, name)| name).collect()
    }

    /// What the voice is now.
    pub fn mode(&self) -> Mode {
        self.voice.mode()
    }
}

fn tone(at: Duration) -> Block {
    std::array::from_fn(|sample| {
        let seconds = at.as_secs_f32() + sample as f32 / 48_000.0;
        0.3 * (seconds * 220.0 * std::f32::consts::TAU).sin()
    })
}

#[allow(dead_code, reason = "the test that plays it has its own")]
#[expect(clippy::disallowed_methods, reason = "the frames of a game follow a clock")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mode, address) = match &arguments[..] {
        [what, address] => match what.as_str() {
            "host" => (Mode::Host, address),
            "join" => (Mode::Client, address),
            "serve" => (Mode::DedicatedServer, address),
            _ => return Err("host, join or serve".into()),
        },
        _ => return Err("lan_party host|join|serve ADDRESS:PORT".into()),
    };
    let seed = std::process::id().into();
    let mut game = Game::new(&format!("player {seed}"), address.parse()?, seed)?;
    loop {
        game.frame(mode, mode.is_client())?;
        while let Some(event) = game.poll() {
            match event {
                EngineEvent::Speaking { who, speaking: true } => println!("{who:?} speaks"),
                EngineEvent::Speaking { who, speaking: false } => println!("{who:?} is silent"),
                event => println!("{event:?}; players: {:?}", game.players()),
            }
        }
        // … move, draw …
        std::thread::sleep(Duration::from_millis(4));
    }
}
