//! Voice inside a game: places, handles to speak by, sound for the game's own audio engine, and from its own microphone.
//!
//! The handle's side is what the game calls each frame: nothing in it blocks or allocates in the steady state. The
//! engine's side is [`Game`], which the engine thread owns.

mod levels;
mod microphone;
mod pcm;
mod places;
mod proximity;
mod speak;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use voicemesh_audio::space::{Handedness, StereoBlock};
use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_device::Capture;
use voicemesh_engine::CommsError;
use voicemesh_session::GLOBAL_GROUP;
use voicemesh_session::speaker::{TargetOptions, VoiceTarget};
use voicemesh_wire::PeerId;

use crate::engine::Engine;

pub use pcm::{MixVoice, PeerVoice};
pub use proximity::{GridAxes, GridChange, ProximityGrid};
pub use speak::{SpeakOptions, SpeakingTo, VoiceAudience};

use pcm::{Source, Taps};
use places::Places;
pub(crate) use speak::JOINED;
use speak::{Audiences, Token};

/// Handles that were let go of without the queue's room to say so are found after so many blocks.
const LOOK_ROUND: u32 = 100;

/// What a game wants of its peer, and what changes too seldom for the shared table.
pub(crate) enum GameCommand {
    /// The options are in the token.
    Speak(u64, VoiceTarget<PeerId>, Arc<Token>),
    Listen(String),
    Unlisten(String),
    OpenVoice(PeerId, Box<Source>),
    OpenMix(Box<Source>),
    UseMicrophone(Box<Capture>),
    /// A handle was dropped.
    LookRound,
}

impl std::fmt::Debug for GameCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GameCommand")
    }
}

/// What the program's handle has of it.
#[derive(Debug, Default)]
pub(crate) struct GameHandle {
    places: Arc<Places>,
    handles: AtomicU64,
}

/// What the engine thread has of it.
pub(crate) struct Game {
    handedness: Handedness,
    /// Both sides are played, and the own speech to groups is to be placed.
    positional: bool,
    places: Arc<Places>,
    moved: places::Moved,
    audiences: Audiences,
    taps: Taps,
    blocks: u32,
}

impl Game {
    pub(crate) fn new(positional: bool, handedness: Handedness, handle: &GameHandle) -> Self {
        Self {
            handedness,
            positional,
            places: handle.places.clone(),
            moved: places::Moved::default(),
            audiences: Audiences::default(),
            taps: Taps::default(),
            blocks: 0,
        }
    }
}

impl Engine {
    /// Before the first turn.
    pub(crate) fn begin_game(&mut self, now: Duration) {
        self.comms.set_handedness(self.game.handedness);
        // The session has opened it already, as speech without a place.
        let _ = self.speak(now, JOINED, VoiceTarget::Group(GLOBAL_GROUP.to_owned()));
    }

    /// Whether the speaker wants another block now, or, if the program plays everything itself, whether it does.
    pub(crate) fn wants_block(&mut self, now: Duration) -> bool {
        let reader = if self.sound.is_program_output() { self.game.taps.wants_block(now) } else { None };
        reader.unwrap_or_else(|| self.sound.wants_block(now))
    }

    /// The next 10 ms, for the speaker and for the program if it reads them.
    pub(crate) fn render(&mut self, now: Duration) {
        self.take_places();
        self.game.blocks = self.game.blocks.wrapping_add(1);
        if self.game.blocks.is_multiple_of(LOOK_ROUND) {
            let _ = self.game_command(now, GameCommand::LookRound);
        }
        let Self { comms, sound, game, .. } = self;
        let taps = &mut game.taps;
        let is_deafened = comms.is_deafened();
        let wants_sides = game.positional || taps.has_mix();
        if wants_sides {
            let mut out = StereoBlock::SILENCE;
            let width = comms.render_stereo_apart(now, &mut out, |who, block| taps.speaker(who, block, is_deafened));
            taps.finish(Some(&out));
            if !taps.lead() {
                sound.play_stereo(&out, width);
            }
        } else {
            let mut out: Block = [0.0; BLOCK_SAMPLES];
            comms.render_apart(now, &mut out, |who, block| taps.speaker(who, block, is_deafened));
            taps.finish(None);
            if !taps.lead() {
                sound.play(&out);
            }
        }
    }

    pub(crate) fn game_command(&mut self, now: Duration, command: GameCommand) -> Result<(), CommsError> {
        match command {
            GameCommand::Speak(handle, target, token) => {
                let changed = self.game.audiences.put(handle, target.clone(), token);
                if changed { self.address(now, &target) } else { Ok(()) }
            }
            GameCommand::Listen(group) => self.comms.join_group(now, &group),
            GameCommand::Unlisten(group) => self.comms.leave_group(now, &group),
            GameCommand::OpenVoice(peer, source) => {
                self.game.taps.open_voice(peer, *source);
                Ok(())
            }
            GameCommand::OpenMix(source) => {
                self.game.taps.open_mix(*source);
                Ok(())
            }
            GameCommand::UseMicrophone(capture) => {
                self.sound.use_input(*capture);
                self.microphone_lost = false;
                self.follow_input();
                Ok(())
            }
            GameCommand::LookRound => {
                for target in self.game.audiences.let_go() {
                    self.address(now, &target)?;
                }
                Ok(())
            }
        }
    }

    /// Speaks to a target until [`hush`](Self::hush) is called, in addition to all handles.
    pub(crate) fn speak(&mut self, now: Duration, handle: u64, target: VoiceTarget<PeerId>) -> Result<(), CommsError> {
        let options = SpeakOptions { positional: self.game.positional, ..SpeakOptions::default() };
        self.game.audiences.put(handle, target.clone(), Arc::new(Token::new(options)));
        self.address(now, &target)
    }

    pub(crate) fn hush(&mut self, now: Duration, handle: u64, target: &VoiceTarget<PeerId>) -> Result<(), CommsError> {
        self.game.audiences.remove(handle, target);
        self.address(now, target)
    }

    /// Opens or closes a target as its handles together want it.
    fn address(&mut self, now: Duration, target: &VoiceTarget<PeerId>) -> Result<(), CommsError> {
        match self.game.audiences.wanted(target) {
            Some(SpeakOptions { volume, priority, positional }) => {
                self.comms.open_target(target.clone(), TargetOptions { priority, positional, volume })
            }
            None => self.comms.close_target(now, target),
        }
    }
}
