//! A game whose players are in one process, as in a split screen, or as in the tests of a game: one
//! hosts, the others join, and all hear each other. No socket, and no clock but the game's own.
//!
//! ```text
//! cargo run -p voicemesh-networks --example one_process
//! ```
//!
//! A tone stands for each microphone, and how loud the others are heard is printed.

use std::error::Error;
use std::time::Duration;

use voicemesh_audio::{BLOCK_SAMPLES, Block, level};
use voicemesh_engine::{EngineConfig, EngineEvent, EngineOnNetwork, Mode, VoiceEngine};
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, ServerParameters};
use voicemesh_session::GLOBAL_GROUP;
use voicemesh_session::client::ClientEvent;

/// A frame of the game, and a block of sound.
const FRAME: Duration = Duration::from_millis(10);
const ADDRESS: &str = "the living room";

/// One at the machine.
pub struct Player {
    name: String,
    voice: EngineOnNetwork<Endpoint>,
    speaks: bool,
    /// What this player hears in this frame.
    speaker: Block,
}

/// All at the machine.
#[derive(Default)]
pub struct Party {
    hub: Hub,
    now: Duration,
    players: Vec<Player>,
}

impl Party {
    /// A new player sits down; its number.
    pub fn sit_down(&mut self, name: &str) -> Result<usize, Box<dyn Error>> {
        let seed = self.players.len() as u64;
        let engine = VoiceEngine::new(EngineConfig::new(name, seed))?;
        let voice = EngineOnNetwork::new(engine, self.hub.endpoint());
        let speaker = [0.0; BLOCK_SAMPLES];
        self.players.push(Player { name: name.to_owned(), voice, speaks: false, speaker });
        Ok(seed as usize)
    }

    /// Hosts the game: server and client in one.
    pub fn host(&mut self, player: usize) -> Result<(), Box<dyn Error>> {
        let at = ServerParameters { address: ADDRESS.to_owned() };
        Ok(self.players[player].voice.run_as_host(self.now, at)?)
    }

    /// Joins the game that another hosts.
    pub fn join(&mut self, player: usize) -> Result<(), Box<dyn Error>> {
        let at = ClientParameters { address: ADDRESS.to_owned() };
        Ok(self.players[player].voice.run_as_client(self.now, at)?)
    }

    /// Leaves the game; a host ends it.
    pub fn leave(&mut self, player: usize) {
        self.players[player].voice.stop(self.now);
    }

    /// Whether this player speaks.
    pub fn set_speaks(&mut self, player: usize, speaks: bool) {
        self.players[player].speaks = speaks;
    }

    /// Writes to all.
    pub fn write(&mut self, player: usize, text: &str) -> Result<(), Box<dyn Error>> {
        Ok(self.players[player].voice.send_group_text(self.now, GLOBAL_GROUP, text)?)
    }

    /// One frame of the game: 10 ms of each microphone and of each speaker.
    pub fn frame(&mut self) -> Result<(), Box<dyn Error>> {
        self.now += FRAME;
        for (number, player) in self.players.iter_mut().enumerate() {
            player.voice.update(self.now);
            if player.speaks {
                player.voice.capture(self.now, &tone(self.now, 150.0 + 50.0 * number as f32))?;
            }
            player.voice.render(self.now, &mut player.speaker);
        }
        Ok(())
    }

    /// How loud it is for this player now, in dBFS.
    pub fn loudness(&self, player: usize) -> f32 {
        level::rms_dbfs(&self.players[player].speaker)
    }

    /// Who is in the game, as this player sees it.
    pub fn names(&self, player: usize) -> Vec<String> {
        self.players[player].voice.status().members.into_iter().map(|(_, name)| name).collect()
    }

    /// What this player's voice is.
    pub fn mode(&self, player: usize) -> Mode {
        self.players[player].voice.mode()
    }

    /// What others wrote to this player since the last call.
    pub fn texts(&mut self, player: usize) -> Vec<String> {
        let voice = &mut self.players[player].voice;
        let text = |event| match event {
            EngineEvent::Session(ClientEvent::Text { text, .. }) => Some(text),
            _ => None,
        };
        std::iter::from_fn(|| voice.poll_event()).filter_map(text).collect()
    }
}

fn tone(now: Duration, hz: f32) -> Block {
    std::array::from_fn(|sample| {
        let seconds = now.as_secs_f32() + sample as f32 / 48_000.0;
        0.3 * (seconds * hz * std::f32::consts::TAU).sin()
    })
}

#[allow(dead_code, reason = "the test that plays it has its own")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut party = Party::default();
    for name in ["Ada", "Ben", "Cleo"] {
        party.sit_down(name)?;
    }
    party.host(0)?;
    party.frame()?;
    party.join(1)?;
    party.join(2)?;
    for frame in 0..300 {
        let turn = frame / 100;
        (0..3).for_each(|player| party.set_speaks(player, player == turn));
        party.frame()?;
        if frame % 100 == 99 {
            let heard = [0, 1, 2].map(|player| party.loudness(player));
            println!(
                "{} speaks; loudness for each, in dBFS: {heard:.0?}",
                party.players[turn].name
            );
        }
    }
    party.write(2, "good game")?;
    (0..5).try_for_each(|_| party.frame())?;
    println!("{} are here; Ada reads {:?}", party.names(0).join(", "), party.texts(0));
    Ok(())
}
