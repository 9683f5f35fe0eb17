//! A game's wishes in the engine: what is rendered for it, whom it speaks to, and where everyone stands.

use std::sync::Arc;
use std::time::Duration;

use voicemesh_audio::space::StereoBlock;
use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_engine::EngineError;
use voicemesh_session::GLOBAL_GROUP;
use voicemesh_session::client::Participant;
use voicemesh_session::voice_targets::{TargetOptions, VoiceTarget};
use voicemesh_wire::PeerId;

use super::Worker;
use crate::command::GameCommand;
use crate::game::{JOINED, SharedOptions, TransmitOptions};

/// Handles that were let go of without the queue's room to say so are found after so many blocks.
const LOOK_ROUND: u32 = 100;

impl Worker {
    /// Before the first turn.
    pub(super) fn begin_game(&mut self, now: Duration) {
        self.comms.set_handedness(self.handedness);
        // The session has opened it already, as speech without a place.
        let _ = self.speak(now, JOINED, VoiceTarget::Group(GLOBAL_GROUP.to_owned()));
    }

    /// Whether the speaker wants another block now, or, if the program plays everything itself, whether it does.
    pub(super) fn wants_block(&mut self, now: Duration) -> bool {
        let reader = if self.sound.is_program_output() { self.taps.wants_block(now) } else { None };
        reader.unwrap_or_else(|| self.sound.wants_block(now))
    }

    /// The next 10 ms, for the speaker and for the program if it reads them.
    pub(super) fn render(&mut self, now: Duration) {
        self.take_places();
        self.blocks = self.blocks.wrapping_add(1);
        if self.blocks.is_multiple_of(LOOK_ROUND) {
            let _ = self.game_command(now, GameCommand::LookRound);
        }
        let Self { comms, sound, taps, .. } = self;
        let is_deafened = comms.is_deafened();
        let wants_sides = self.is_positional || taps.has_mix();
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

    pub(super) fn game_command(&mut self, now: Duration, command: GameCommand) -> Result<(), EngineError> {
        match command {
            GameCommand::Speak(handle, target, token) => {
                let changed = self.audiences.put(handle, target.clone(), token);
                if changed { self.address(now, &target) } else { Ok(()) }
            }
            GameCommand::Listen(group) => self.comms.join_group(now, &group),
            GameCommand::Unlisten(group) => self.comms.leave_group(now, &group),
            GameCommand::OpenVoice(peer, source) => {
                self.taps.open_voice(peer, *source);
                Ok(())
            }
            GameCommand::OpenMix(source) => {
                self.taps.open_mix(*source);
                Ok(())
            }
            GameCommand::UseMicrophone(capture) => {
                self.sound.use_input(*capture);
                self.microphone_lost = false;
                self.follow_input();
                Ok(())
            }
            GameCommand::LookRound => {
                for target in self.audiences.sweep() {
                    self.address(now, &target)?;
                }
                Ok(())
            }
        }
    }

    /// Speaks to a target until [`hush`](Self::hush) is called, in addition to all handles.
    pub(super) fn speak(&mut self, now: Duration, handle: u64, target: VoiceTarget<PeerId>) -> Result<(), EngineError> {
        let options = TransmitOptions { positional: self.is_positional, ..TransmitOptions::default() };
        self.audiences.put(handle, target.clone(), Arc::new(SharedOptions::new(options)));
        self.address(now, &target)
    }

    pub(super) fn hush(&mut self, now: Duration, handle: u64, target: &VoiceTarget<PeerId>) -> Result<(), EngineError> {
        self.audiences.remove(handle, target);
        self.address(now, target)
    }

    /// Opens or closes a target as its handles together want it.
    fn address(&mut self, now: Duration, target: &VoiceTarget<PeerId>) -> Result<(), EngineError> {
        match self.audiences.wanted(target) {
            Some(TransmitOptions { volume, priority, positional }) => {
                self.comms.open_target(target.clone(), TargetOptions { priority, positional, volume })
            }
            None => self.comms.close_target(now, target),
        }
    }

    /// Takes up what has changed.
    fn take_places(&mut self) {
        let Self { comms, places, moved, .. } = self;
        std::mem::swap(&mut *places.lock(), moved);
        if let Some(pose) = moved.listener.take() {
            comms.set_listener(pose);
        }
        if let Some(attenuation) = moved.attenuation.take() {
            comms.set_attenuation(attenuation);
        }
        for (peer, placement) in moved.speakers.drain(..) {
            if comms.network().mesh.member(peer).is_some() {
                comms.set_placement(Participant::Peer(peer), placement);
            }
        }
    }
}
