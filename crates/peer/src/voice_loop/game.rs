//! What a game adds to the engine: handles that speak, positions, and the sound that the program
//! itself reads.

use std::sync::Arc;
use std::time::Duration;

use voicemesh_audio::space::{Handedness, StereoBlock};
use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_engine::{EngineError, EngineOnNetwork};
use voicemesh_session::voice_targets::{TargetOptions, VoiceTarget};
use voicemesh_session::{GLOBAL_GROUP, Network};
use voicemesh_wire::PeerId;

use crate::game::{
    Audiences, JOINED, MovedPositions, PcmOutputs, PendingPositions, SharedOptions, Source,
    TransmitOptions,
};
use crate::sound::Sound;
use crate::voice_loop::Directory;

/// Handles that were dropped while the queue of commands was full are found after this many blocks.
const SWEEP_INTERVAL_BLOCKS: u32 = 100;

/// The handles that speak, the positions that wait, and the program's readers of sound.
pub(super) struct GameAudio {
    handedness: Handedness,
    /// Both sides are played, and the own speech to groups has a position.
    is_positional: bool,
    pending: Arc<PendingPositions>,
    /// Taken out of what was pending; empty between blocks.
    moved: MovedPositions,
    audiences: Audiences,
    outputs: PcmOutputs,
    /// Blocks rendered, modulo 2^32.
    blocks: u32,
}

impl GameAudio {
    pub(super) fn new(
        handedness: Handedness,
        is_positional: bool,
        pending: Arc<PendingPositions>,
    ) -> Self {
        Self {
            handedness,
            is_positional,
            pending,
            moved: MovedPositions::default(),
            audiences: Audiences::default(),
            outputs: PcmOutputs::default(),
            blocks: 0,
        }
    }

    /// Before the first turn.
    pub(super) fn begin<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
    ) {
        engine.set_handedness(self.handedness);
        // The session has opened it already, as speech without a position.
        let global = VoiceTarget::Group(GLOBAL_GROUP.to_owned());
        let _ = self.speak(now, engine, directory, JOINED, global);
    }

    /// Whether the speaker wants another block now, or, if the program plays everything itself,
    /// whether it does.
    pub(super) fn wants_block(&mut self, now: Duration, sound: &mut Sound) -> bool {
        let reader = if sound.is_program_output() { self.outputs.wants_block(now) } else { None };
        reader.unwrap_or_else(|| sound.wants_block(now))
    }

    /// The next 10 ms, for the speaker and for the program if it reads them.
    pub(super) fn render<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
        sound: &mut Sound,
    ) {
        self.take_positions(engine, directory);
        self.blocks = self.blocks.wrapping_add(1);
        if self.blocks.is_multiple_of(SWEEP_INTERVAL_BLOCKS) {
            let _ = self.sweep(now, engine, directory);
        }
        let outputs = &mut self.outputs;
        let is_deafened = engine.is_deafened();
        if self.is_positional || outputs.has_mix() {
            let mut out = StereoBlock::SILENCE;
            let width = engine.render_stereo_apart(now, &mut out, |who, block| {
                outputs.speaker(directory.peer(who), block, is_deafened)
            });
            outputs.finish(Some(&out));
            if !outputs.lead() {
                sound.play_stereo(&out, width);
            }
        } else {
            let mut out: Block = [0.0; BLOCK_SAMPLES];
            engine.render_apart(now, &mut out, |who, block| {
                outputs.speaker(directory.peer(who), block, is_deafened)
            });
            outputs.finish(None);
            if !outputs.lead() {
                sound.play(&out);
            }
        }
    }

    /// The program reads what one peer says.
    pub(super) fn open_voice(&mut self, peer: PeerId, source: Source) {
        self.outputs.open_voice(peer, source);
    }

    /// The program reads what the speaker would play.
    pub(super) fn open_mix(&mut self, source: Source) {
        self.outputs.open_mix(source);
    }

    /// Speaks to a target until [`hush`](Self::hush) is called, in addition to all handles.
    pub(super) fn speak<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
        handle: u64,
        target: VoiceTarget<PeerId>,
    ) -> Result<(), EngineError> {
        let options =
            TransmitOptions { positional: self.is_positional, ..TransmitOptions::default() };
        self.audiences.put(handle, target.clone(), Arc::new(SharedOptions::new(options)));
        self.apply(now, engine, directory, &target)
    }

    /// A handle speaks to a target, with options that it may change.
    pub(super) fn speak_with<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
        handle: u64,
        target: VoiceTarget<PeerId>,
        options: Arc<SharedOptions>,
    ) -> Result<(), EngineError> {
        if self.audiences.put(handle, target.clone(), options) {
            self.apply(now, engine, directory, &target)
        } else {
            Ok(())
        }
    }

    pub(super) fn hush<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
        handle: u64,
        target: &VoiceTarget<PeerId>,
    ) -> Result<(), EngineError> {
        self.audiences.remove(handle, target);
        self.apply(now, engine, directory, target)
    }

    /// The targets that a handle speaks to.
    pub(super) fn targets_of(&self, handle: u64) -> Vec<VoiceTarget<PeerId>> {
        self.audiences.held_by(handle)
    }

    /// Stops speaking for handles that were dropped.
    pub(super) fn sweep<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
    ) -> Result<(), EngineError> {
        let changed = self.audiences.sweep();
        changed.iter().try_for_each(|target| self.apply(now, engine, directory, target))
    }

    /// Another session, or one after none: opens all that is spoken to.
    pub(super) fn open_all<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
    ) -> Result<(), EngineError> {
        let targets = self.audiences.targets();
        targets.iter().try_for_each(|target| self.apply(now, engine, directory, target))
    }

    /// Opens or closes a target as its handles together want it. One that is not there waits for
    /// [`open_all`](Self::open_all).
    fn apply<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
        target: &VoiceTarget<PeerId>,
    ) -> Result<(), EngineError> {
        let wanted = self.audiences.wanted(target);
        let Some(target) = directory.target(target).filter(|_| engine.client().is_some()) else {
            return Ok(());
        };
        match wanted {
            Some(TransmitOptions { volume, priority, positional }) => {
                engine.open_target(target, TargetOptions { priority, positional, volume })
            }
            None => engine.close_target(now, &target),
        }
    }

    fn take_positions<N: Network>(
        &mut self,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
    ) {
        let Self { pending, moved, .. } = self;
        std::mem::swap(&mut *pending.lock(), moved);
        if let Some(pose) = moved.listener.take() {
            engine.set_listener(pose);
        }
        if let Some(attenuation) = moved.attenuation.take() {
            engine.set_attenuation(attenuation);
        }
        for (peer, placement) in moved.speakers.drain(..) {
            if let Some(who) = directory.member(engine, peer) {
                engine.set_placement(who, placement);
            }
        }
    }
}
