//! A game in a matchbox room with voice: one player hosts, the others join, and all are connected to
//! each other by WebRTC. Those who join hear each other directly, without the way over the host.
//!
//! ```text
//! cargo run --example room_party -- host ws://127.0.0.1:3536/party
//! cargo run --example room_party -- join ws://127.0.0.1:3536/party
//! ```
//!
//! At that address a `matchbox_server` runs. A tone stands for the microphone, and what is heard is
//! printed.

use std::error::Error;
use std::time::{Duration, Instant};

use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_engine::{EngineConfig, EngineEvent, EngineOnNetwork, Mode, ModeMirror, VoiceEngine};
use voicemesh_matchbox::{
    ClientParameters, MatchboxNetwork, PeerId, RtcIceServerConfig, ServerParameters,
};
use voicemesh_session::route::Route;

/// A block of sound.
const BLOCK: Duration = Duration::from_millis(10);

/// A game, as far as its voice is concerned.
pub struct Game {
    voice: EngineOnNetwork<MatchboxNetwork>,
    mirror: ModeMirror,
    room: String,
    ice: RtcIceServerConfig,
    began: Instant,
    blocks: u32,
}

impl Game {
    /// A player of this name.
    pub fn new(
        name: &str,
        room: &str,
        ice: RtcIceServerConfig,
        seed: u64,
    ) -> Result<Self, Box<dyn Error>> {
        let engine = VoiceEngine::new(EngineConfig::new(name, seed))?;
        Ok(Self {
            voice: EngineOnNetwork::new(engine, MatchboxNetwork::new()),
            mirror: ModeMirror::new(),
            room: room.to_owned(),
            ice,
            began: Instant::now(),
            blocks: 0,
        })
    }

    /// One frame of the game. `mode`: what the game's own network is; voice follows it.
    pub fn frame(&mut self, mode: Mode, speaks: bool) -> Result<(), Box<dyn Error>> {
        let now = self.began.elapsed();
        let (room, ice) = (&self.room, &self.ice);
        let server = || ServerParameters { ice: ice.clone(), ..ServerParameters::new(room) };
        let client = || ClientParameters { ice: ice.clone(), ..ClientParameters::new(room) };
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
    pub fn poll(&mut self) -> Option<EngineEvent<PeerId>> {
        self.voice.poll_event()
    }

    /// Names of those who are in the session.
    pub fn players(&self) -> Vec<String> {
        self.voice.status().members.into_iter().map(|(_, name)| name).collect()
    }

    /// How many of the others are reached without the host.
    pub fn direct(&self) -> usize {
        self.voice.peers().iter().filter(|peer| peer.route == Route::Direct).count()
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
    let (mode, room) = match &arguments[..] {
        [what, room] => match what.as_str() {
            "host" => (Mode::Host, room),
            "join" => (Mode::Client, room),
            _ => return Err("host or join".into()),
        },
        _ => return Err("room_party host|join ws://ADDRESS:PORT/ROOM".into()),
    };
    let seed = std::process::id().into();
    let ice = RtcIceServerConfig::default();
    let mut game = Game::new(&format!("player {seed}"), room, ice, seed)?;
    loop {
        game.frame(mode, true)?;
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
