//! What the engine thread does for sound, talk groups and the program's handles, whatever the
//! network: its owner has the engine, and what there is beside it (a room, or a game's network).

mod directory;
mod game;
mod publish;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_engine::{EngineError, EngineEvent, EngineOnNetwork};
use voicemesh_session::Network;
use voicemesh_session::client::{ClientEvent, UnreadReason};
use voicemesh_session::voice_targets::VoiceTarget;
use voicemesh_wire::packet::Recipient;
use voicemesh_wire::{DisplayName, PeerId};

use crate::command::{TextTo, VoiceCommand};
use crate::event::{DeviceEvent, DeviceRole, Event, RoomEvent, VoiceEvent};
use crate::game::{JOINED, PendingPositions};
use crate::options::{MicrophoneChoice, SoundOptions};
use crate::snapshot::Snapshot;
use crate::sound::{Sound, SwapResult};
use game::GameAudio;

pub(crate) use directory::Directory;
pub(crate) use publish::{EVENTS, EventPublisher, KnownGroups, peer_state, voice_state};

/// Blocks of sound handled before the network gets its turn: half a second. A program may write its
/// microphone faster than they can be.
const BLOCKS_PER_TURN: usize = 50;

/// What a program shows when speech cannot be encoded.
const ENCODER_FAILED: &str = "What you say cannot be encoded: the others do not hear you. Leave and join again; if it stays so, try another frame length or bitrate.";
/// After so long without a failure of the encoder the next one is said again.
const ENCODER_WORKS_AFTER: Duration = Duration::from_secs(10);

/// Speech that could not be encoded.
#[derive(Debug, Default)]
struct EncoderFailures {
    last: Option<Duration>,
}

impl EncoderFailures {
    /// Notes a failure. Whether it is to be said: not those that follow one another.
    fn is_new(&mut self, now: Duration) -> bool {
        let last = self.last.replace(now);
        last.is_none_or(|last| now.saturating_sub(last) > ENCODER_WORKS_AFTER)
    }
}

/// The devices, what the program has set of the sound, and what it learns.
pub(crate) struct VoiceLoop {
    pub(crate) sound: Sound,
    game: GameAudio,
    publisher: EventPublisher,
    /// What was set of the microphone's sound.
    microphone: MicrophoneChoice,
    microphone_lost: bool,
    speaker_lost: bool,
    is_talking: bool,
    encoder: EncoderFailures,
    /// Peers that have been heard since they joined.
    heard: BTreeSet<PeerId>,
}

impl VoiceLoop {
    pub(crate) fn new(
        sound: Sound,
        options: &SoundOptions,
        publisher: EventPublisher,
        positions: Arc<PendingPositions>,
    ) -> Self {
        Self {
            sound,
            game: GameAudio::new(options.handedness, options.positional, positions),
            publisher,
            microphone: options.microphone(),
            microphone_lost: false,
            speaker_lost: false,
            is_talking: false,
            encoder: EncoderFailures::default(),
            heard: BTreeSet::new(),
        }
    }

    /// Before the first turn.
    pub(crate) fn begin<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
    ) {
        self.game.begin(now, engine, directory);
    }

    /// Whether the key to talk is held.
    pub(crate) fn is_talking(&self) -> bool {
        self.is_talking
    }

    /// Whether there is no microphone: none was chosen, or it is lost.
    pub(crate) fn is_listening_only(&self) -> bool {
        self.microphone_lost || !self.sound.has_input()
    }

    /// Whether the speaker is lost. One that was never wanted is not: the program may read the voices
    /// by itself, or record them.
    pub(crate) fn is_without_speaker(&self) -> bool {
        self.speaker_lost
    }

    /// An event for the program, at the end of this turn.
    pub(crate) fn report(&self, at: Duration, event: Event) {
        self.publisher.add(at, event);
    }

    /// What is wanted cannot be done.
    pub(crate) fn warn(&self, now: Duration, code: &str, message: String) {
        let code = crate::ErrorCode::Other(code.to_owned());
        self.report(now, Event::Room(RoomEvent::Warned { code, message, text: None }));
    }

    /// Lets the program see what happened in this turn, and the situation after it.
    pub(crate) fn publish(
        &mut self,
        now: Duration,
        situation: impl FnOnce(&mut KnownGroups) -> Snapshot,
    ) {
        self.publisher.publish(now, situation);
    }

    /// The blocks that microphone and speaker have or want.
    pub(crate) fn run_sound<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
    ) {
        let mut block: Block = [0.0; BLOCK_SAMPLES];
        self.sound.begin(now);
        for _ in 0..BLOCKS_PER_TURN {
            let plays = self.game.wants_block(now, &mut self.sound);
            if plays {
                engine.set_device_delays(self.sound.capture_age(), self.sound.playout_delay());
                self.game.render(now, engine, directory, &mut self.sound);
            }
            let speaks = self.sound.read_block(&mut block);
            if speaks {
                engine.set_device_delays(self.sound.capture_age(), self.sound.playout_delay());
            }
            if speaks && let Err(error) = engine.capture(now, &block) {
                self.capture_failed(now, &error);
            }
            if !plays && !speaks {
                break;
            }
        }
        while let Some(event) = self.sound.poll_event() {
            self.device_event(now, event);
        }
        while let Some(SwapResult { which, result }) = self.sound.poll_switch() {
            match result {
                Ok(()) if which == DeviceRole::Input => {
                    self.microphone_lost = false;
                    self.follow_input(engine);
                    self.report(now, Event::Device(DeviceEvent::Changed { which }));
                }
                Ok(()) => {
                    self.speaker_lost = false;
                    self.report(now, Event::Device(DeviceEvent::Changed { which }));
                }
                Err(why) => self.device_refused(now, which, why),
            }
        }
    }

    /// What was said is lost: said once, however many frames it concerns.
    fn capture_failed(&mut self, now: Duration, error: &EngineError) {
        if self.encoder.is_new(now) {
            tracing::warn!(%error, "speech cannot be encoded");
            self.warn(now, "encoder-failed", ENCODER_FAILED.to_owned());
        }
    }

    /// Another microphone is in use: what the program has not set follows from its kind.
    fn follow_input<N: Network>(&mut self, engine: &mut EngineOnNetwork<N>) {
        let wanted = self.microphone.config(self.sound.is_simulated_input());
        engine.set_processing(wanted.processing);
        // It was valid when it was set.
        let _ = engine.set_activation(wanted.activation);
    }

    fn begun(
        &mut self,
        now: Duration,
        which: DeviceRole,
        begin: impl FnOnce(&mut Sound) -> Result<(), String>,
    ) {
        if let Err(why) = begin(&mut self.sound) {
            self.device_refused(now, which, why);
        }
    }

    fn device_refused(&self, now: Duration, which: DeviceRole, why: String) {
        self.report(now, Event::Device(DeviceEvent::Refused { which, why }));
    }

    fn device_event(&mut self, now: Duration, event: Event) {
        match event {
            Event::Device(DeviceEvent::Lost { which, .. }) => *self.lost(which) = true,
            Event::Device(DeviceEvent::Recovered { which }) => *self.lost(which) = false,
            _ => {}
        }
        self.report(now, event);
    }

    fn lost(&mut self, which: DeviceRole) -> &mut bool {
        match which {
            DeviceRole::Input => &mut self.microphone_lost,
            DeviceRole::Output => &mut self.speaker_lost,
        }
    }

    /// Does what the program wants; what cannot be done becomes an event.
    pub(crate) fn command<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
        command: VoiceCommand,
    ) {
        if let Err(error) = self.try_command(now, engine, directory, command) {
            self.warn(now, "command", error.to_string());
        }
    }

    fn try_command<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
        command: VoiceCommand,
    ) -> Result<(), EngineError> {
        let runs = engine.client().is_some();
        match command {
            VoiceCommand::SetMuted(muted) => engine.set_muted(muted),
            VoiceCommand::SetDeafened(deafened) => engine.set_deafened(deafened),
            VoiceCommand::SetGain(peer, gain) => {
                if let Some(who) = directory.participant(peer) {
                    engine.set_gain(who, gain);
                }
            }
            VoiceCommand::SetPeerMuted(peer, muted) => {
                if let Some(who) = directory.participant(peer) {
                    engine.set_peer_muted(who, muted);
                }
            }
            VoiceCommand::SendText(TextTo::Group(group), text) => {
                return engine.send_group_text(now, &group, &text);
            }
            VoiceCommand::SendText(TextTo::Peer(peer), text) => {
                if let Some(client) = directory.client(engine, peer) {
                    return engine.send_text(now, Recipient::Client(client), &text);
                }
            }
            VoiceCommand::JoinGroup(name) => {
                return self.join_group(now, engine, directory, name);
            }
            VoiceCommand::LeaveGroup(name) => {
                return self.leave_group(now, engine, directory, name);
            }
            VoiceCommand::Listen(group) if runs => return engine.join_group(now, &group),
            VoiceCommand::Unlisten(group) if runs => return engine.leave_group(now, &group),
            // Its owner knows them when it runs.
            VoiceCommand::Listen(_) | VoiceCommand::Unlisten(_) => {}
            VoiceCommand::SetTalking(is_talking) => {
                engine.set_talking(is_talking);
                self.is_talking = is_talking;
            }
            VoiceCommand::SetProcessing(processing) => {
                self.microphone.processing = Some(processing);
                engine.set_processing(processing);
            }
            VoiceCommand::SetActivation(activation) => {
                engine.set_activation(activation)?;
                self.microphone.activation = Some(activation);
            }
            VoiceCommand::SetInput(input) => {
                self.begun(now, DeviceRole::Input, |sound| sound.set_input(input));
            }
            VoiceCommand::SetOutput(output) => {
                self.begun(now, DeviceRole::Output, |sound| sound.set_output(output));
            }
            VoiceCommand::UseMicrophone(capture) => {
                self.sound.use_input(*capture);
                self.microphone_lost = false;
                self.follow_input(engine);
            }
            VoiceCommand::Speak(handle, target, options) => {
                return self.game.speak_with(now, engine, directory, handle, target, options);
            }
            VoiceCommand::SweepHandles => return self.game.sweep(now, engine, directory),
            VoiceCommand::OpenVoice(peer, source) => self.game.open_voice(peer, *source),
            VoiceCommand::OpenMix(source) => self.game.open_mix(*source),
        }
        Ok(())
    }

    /// Listens and speaks to a group.
    pub(crate) fn join_group<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
        name: String,
    ) -> Result<(), EngineError> {
        if engine.client().is_some() {
            engine.join_group(now, &name)?;
        }
        self.game.speak(now, engine, directory, JOINED, VoiceTarget::Group(name))
    }

    /// Neither listens nor speaks to a group.
    pub(crate) fn leave_group<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
        name: String,
    ) -> Result<(), EngineError> {
        if engine.client().is_some() {
            engine.leave_group(now, &name)?;
        }
        self.hush(now, engine, directory, &VoiceTarget::Group(name))
    }

    /// What was joined is spoken to no longer.
    pub(crate) fn hush<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
        target: &VoiceTarget<PeerId>,
    ) -> Result<(), EngineError> {
        self.game.hush(now, engine, directory, JOINED, target)
    }

    /// What was joined, and is spoken to.
    pub(crate) fn joined(&self) -> Vec<VoiceTarget<PeerId>> {
        self.game.targets_of(JOINED)
    }

    /// Opens all that is spoken to: in another session, or in one after none.
    pub(crate) fn open_all<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
    ) {
        if let Err(error) = self.game.open_all(now, engine, directory) {
            self.warn(now, "command", error.to_string());
        }
    }

    /// A peer is gone: it is heard for the first time when it comes again.
    pub(crate) fn left(&mut self, peer: PeerId) {
        self.heard.remove(&peer);
    }

    /// Reports what is the same over all networks; gives back what is not.
    pub(crate) fn engine_event<N: Network>(
        &mut self,
        now: Duration,
        engine: &mut EngineOnNetwork<N>,
        directory: &impl Directory<N>,
        event: EngineEvent<N::Peer>,
    ) -> Option<EngineEvent<N::Peer>> {
        let told = match event {
            EngineEvent::Speaking { who, speaking } => {
                directory.peer(who).map(|peer| VoiceEvent::Speaking { peer, speaking }.into())
            }
            EngineEvent::FirstHeard { who } => directory
                .peer(who)
                .filter(|peer| self.heard.insert(*peer))
                .map(|peer| VoiceEvent::FirstHeard { peer }.into()),
            EngineEvent::Session(ClientEvent::RouteChanged { who, route }) => directory
                .peer(who)
                .filter(|peer| directory.member(engine, *peer).is_some())
                .map(|peer| RoomEvent::RouteChanged { peer, route }.into()),
            EngineEvent::Session(ClientEvent::GroupRefused { group }) => {
                // What is not listened to after a join is not spoken to by it, either.
                let _ = self.hush(now, engine, directory, &VoiceTarget::Group(group.clone()));
                Some(VoiceEvent::GroupRefused { group }.into())
            }
            EngineEvent::Session(ClientEvent::Text { from, client, recipient, group, text }) => {
                directory.peer(from).map(|from| {
                    let name = directory.name(engine, from).or_else(|| {
                        // It has written right before it left.
                        let name = engine.author_name(client)?;
                        Some(DisplayName::received(name, from).as_str().to_owned())
                    });
                    let name = name.unwrap_or_default();
                    let private = matches!(recipient, Recipient::Client(_));
                    RoomEvent::Text { from, name, private, group, text }.into()
                })
            }
            EngineEvent::Session(ClientEvent::TextUnread { text, why }) => {
                let code = crate::ErrorCode::Other("text-unread".to_owned());
                let message = unread(why).to_owned();
                Some(RoomEvent::Warned { code, message, text: Some(text) }.into())
            }
            other => return Some(other),
        };
        if let Some(event) = told {
            self.report(now, event);
        }
        None
    }
}

/// What a program shows when no one gets a text.
fn unread(why: UnreadReason) -> &'static str {
    match why {
        UnreadReason::Alone => "Not sent: no one else is here.",
        UnreadReason::NoListeners => "Not sent: no one listens to that group.",
        UnreadReason::OthersAway => {
            "Not sent: the others are not back yet. Send it again when they are."
        }
        _ => "Not sent: no one here can read it.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_that_fails_with_every_block_is_said_once_and_again_after_it_has_worked() {
        let mut encoder = EncoderFailures::default();
        let blocks = |from: u64| (from..from + 3000).map(|block| Duration::from_millis(10 * block));
        assert_eq!(blocks(0).filter(|&now| encoder.is_new(now)).count(), 1);
        let later = 3000 + 2 * ENCODER_WORKS_AFTER.as_secs() * 100;
        assert_eq!(blocks(later).filter(|&now| encoder.is_new(now)).count(), 1);
    }
}
