//! The engine thread: it owns the session, the sound and the devices, and alone touches them
//! (ARCHITECTURE.md, "Threads and queues").
//!
//! It runs when something has arrived, when a device wants something, and at least every 5 ms.

mod data;
mod game;
mod publish;
mod recording;
mod recording_state;

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_engine::{EngineEvent, EngineOnNetwork};
use voicemesh_mesh::{Carried, CarrierEvent, MeshEvent, PathChange, SocketEvent};
use voicemesh_session::client::{ClientEvent, Participant};
use voicemesh_session::voice_targets::VoiceTarget;
use voicemesh_wire::PeerId;
use voicemesh_wire::packet::Recipient;
use voicemesh_wire::signaling::MemberStatus;

use crate::carrier::RealCarrier;
use crate::command::{Command, GameCommand, LobbyCommand, TextTo};
use crate::data::{DataCommand, SendLedger};
use crate::event::{DeviceEvent, DeviceRole, Event, RoomEvent, TimedEvent, VoiceEvent};
use crate::game::{JOINED, PendingPositions};
use crate::identity::TicketFile;
use crate::inbox::{Wake, WorkerReceiver};
use crate::options::{JoinOptions, MicrophoneChoice};
use crate::record::Recorder;
use crate::shared::Shared;
use crate::sleep_watch::SleepWatch;
use crate::sound::{Sound, SwapResult};
use game::GameAudio;
use publish::{Publisher, Situation};
use recording_state::Recording;

pub(crate) use publish::{EVENTS, RECORDING};

/// The thread sleeps at most this long.
const MAX_PARK: Duration = Duration::from_millis(5);
/// Arrivals handled before sound gets its turn.
const ARRIVALS_PER_TURN: usize = 512;
/// Blocks of sound handled before the network gets its turn: half a second. A program may write its
/// microphone faster than they can be.
const BLOCKS_PER_TURN: usize = 50;
/// Everything that the thread owns.
pub(crate) struct Worker {
    engine: EngineOnNetwork<Carried<RealCarrier>>,
    tickets: TicketFile,
    arrivals: WorkerReceiver,
    commands: Receiver<Command>,
    shared: Arc<Shared>,
    publisher: Publisher,
    sound: Sound,
    started: Instant,
    room: String,
    /// The own name: the one that was asked for, and once joined the one that the others see.
    name: String,
    /// Peers that have been heard since they joined.
    heard: BTreeSet<PeerId>,
    talking: bool,
    /// What was set of the microphone's sound.
    microphone: MicrophoneChoice,
    recording: Recording,
    microphone_lost: bool,
    ledger: Arc<SendLedger>,
    /// Empty between turns.
    data_commands: VecDeque<DataCommand>,
    leaving_since: Option<Duration>,
    sleep: SleepWatch,
    game: GameAudio,
}

/// The engine's ends of what it shares with the handle and the runtime.
pub(crate) struct Ends {
    pub arrivals: WorkerReceiver,
    pub commands: Receiver<Command>,
    pub events: SyncSender<TimedEvent>,
    pub shared: Arc<Shared>,
    pub ledger: Arc<SendLedger>,
    /// Wakes the task that awaits an event.
    pub event_wake: Arc<Notify>,
    pub positions: Arc<PendingPositions>,
}

impl Worker {
    /// A worker that has not begun.
    pub(crate) fn new(
        started: Instant,
        engine: EngineOnNetwork<Carried<RealCarrier>>,
        sound: Sound,
        tickets: TicketFile,
        recorder: Option<Recorder>,
        ends: Ends,
        options: &JoinOptions,
    ) -> Self {
        let Ends { arrivals, commands, events, shared, ledger, event_wake, positions } = ends;
        Self {
            engine,
            tickets,
            arrivals,
            commands,
            publisher: Publisher::new(events, shared.clone(), ledger.clone(), event_wake),
            shared,
            sound,
            started,
            room: options.room.clone(),
            name: options.name.clone(),
            heard: BTreeSet::new(),
            talking: false,
            microphone: options.microphone(),
            recording: Recording::from_the_beginning(recorder),
            microphone_lost: false,
            ledger,
            data_commands: VecDeque::new(),
            leaving_since: None,
            sleep: SleepWatch::start(),
            game: GameAudio::new(options.handedness, options.positional, positions),
        }
    }

    /// Works until the program leaves, or until the handle is gone.
    pub(crate) fn run(mut self, wake: &Wake) {
        wake.is_this_thread();
        self.game.begin(self.started.elapsed(), &mut self.engine);
        self.update_status(self.started.elapsed());
        loop {
            let now = self.started.elapsed();
            self.look_for_sleep(now);
            let flow = self.take_commands(now);
            self.take_data_commands();
            self.take_arrivals(now);
            self.engine.update(now);
            let uplink_bps = self.engine.speaking_status().uplink.estimate_bps;
            let links_wait = self.engine.links_wait(now);
            self.engine.network_mut().carrier.set_uplink(uplink_bps, links_wait);
            self.engine.network_mut().mesh.set_links_wait(now, links_wait);
            self.sound(now);
            self.record(now);
            self.update_status(now);
            self.take_events(now);
            if flow.is_break() && self.may_go(now) {
                break;
            }
            self.publish(now);
            std::thread::park_timeout(MAX_PARK);
        }
        self.end();
    }

    fn end(mut self) {
        let now = self.started.elapsed();
        self.engine.stop(now);
        self.take_events(now);
        let ended = self.recording.take();
        if ended.is_on() {
            self.report(now, Event::Voice(VoiceEvent::Recording { recording: false }));
        }
        self.report(now, Event::Room(RoomEvent::Left));
        self.publish(now);
        // Its files are finished last: that waits for the disk.
        drop(ended);
    }

    fn take_commands(&mut self, now: Duration) -> ControlFlow<()> {
        // Read before the queue: what the program wanted before it left is in there.
        let is_leaving = self.shared.is_leaving();
        while let Ok(command) = self.commands.try_recv() {
            self.command(now, command);
        }
        if is_leaving {
            self.leaving_since.get_or_insert(now);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// After sleep, sound and speech that waited in between are old.
    fn look_for_sleep(&mut self, now: Duration) {
        if self.sleep.has_woken() {
            tracing::info!("the machine slept, or this process stood still");
            self.arrivals.drop_voice();
            self.sound.drop_captured();
            self.engine.network_mut().handle(now, CarrierEvent::Path(PathChange::Woke));
        }
    }

    fn take_arrivals(&mut self, now: Duration) {
        for _ in 0..ARRIVALS_PER_TURN {
            let Some(event) = self.arrivals.next() else { return };
            // It may change the roster: what came before it belongs to those who were in it, a last
            // text as well.
            if matches!(&event, CarrierEvent::Socket { event: SocketEvent::Text(_), .. }) {
                self.engine.update(now);
                self.take_events(now);
            }
            self.engine.network_mut().handle(now, event);
        }
    }

    fn sound(&mut self, now: Duration) {
        let mut block: Block = [0.0; BLOCK_SAMPLES];
        self.sound.begin(now);
        for _ in 0..BLOCKS_PER_TURN {
            let plays = self.game.wants_block(now, &mut self.sound);
            if plays {
                self.engine.set_device_delays(self.sound.capture_age(), self.sound.playout_delay());
                self.game.render(now, &mut self.engine, &mut self.sound);
            }
            let speaks = self.sound.read_block(&mut block);
            if speaks {
                self.engine.set_device_delays(self.sound.capture_age(), self.sound.playout_delay());
            }
            if speaks && let Err(error) = self.engine.capture(now, &block) {
                tracing::warn!(%error, "a block of speech was not sent");
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
                    self.follow_input();
                    self.report(now, Event::Device(DeviceEvent::Changed { which }));
                }
                Ok(()) => self.report(now, Event::Device(DeviceEvent::Changed { which })),
                Err(why) => self.device_refused(now, which, why),
            }
        }
    }

    /// Another microphone is in use: what the program has not set follows from its kind.
    pub(crate) fn follow_input(&mut self) {
        let wanted = self.microphone.config(self.sound.is_simulated_input());
        self.engine.set_processing(wanted.processing);
        // It was valid when it was set.
        let _ = self.engine.set_activation(wanted.activation);
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

    fn command(&mut self, now: Duration, command: Command) {
        let done = match command {
            Command::SetMuted(muted) => {
                self.engine.set_muted(muted);
                Ok(())
            }
            Command::SetDeafened(deafened) => {
                self.engine.set_deafened(deafened);
                Ok(())
            }
            Command::SetGain(peer, gain) => {
                self.engine.set_gain(Participant::Peer(peer), gain);
                Ok(())
            }
            Command::SetPeerMuted(peer, muted) => {
                self.engine.set_peer_muted(Participant::Peer(peer), muted);
                Ok(())
            }
            Command::SendText(TextTo::Group(group), text) => {
                self.engine.send_group_text(now, &group, &text)
            }
            Command::SendText(TextTo::Peer(peer), text) => {
                match self.engine.network().mesh.client(peer) {
                    Some(client) => self.engine.send_text(now, Recipient::Client(client), &text),
                    None => Ok(()),
                }
            }
            Command::JoinGroup(name) => self.join_group(now, name),
            Command::LeaveGroup(name) => self.leave_group(now, name),
            Command::SetToken(token) => {
                let network = self.engine.network_mut();
                network.carrier.keeps_secret();
                network.mesh.set_token(now, token);
                Ok(())
            }
            Command::SetTalking(talking) => {
                self.engine.set_talking(talking);
                self.talking = talking;
                Ok(())
            }
            Command::SetProcessing(processing) => {
                self.microphone.processing = Some(processing);
                self.engine.set_processing(processing);
                Ok(())
            }
            Command::SetActivation(activation) => {
                let done = self.engine.set_activation(activation);
                if done.is_ok() {
                    self.microphone.activation = Some(activation);
                }
                done
            }
            Command::SetInput(input) => {
                self.begun(now, DeviceRole::Input, |sound| sound.set_input(input));
                Ok(())
            }
            Command::SetOutput(output) => {
                self.begun(now, DeviceRole::Output, |sound| sound.set_output(output));
                Ok(())
            }
            Command::Record(Some(recorder)) => {
                self.start_recording(now, *recorder);
                Ok(())
            }
            Command::Record(None) => {
                self.stop_recording(now);
                Ok(())
            }
            Command::Lobby(command) => {
                self.lobby(now, command);
                Ok(())
            }
            Command::Game(command) => self.game_command(now, command),
        };
        if let Err(error) = done {
            let code = crate::ErrorCode::Other("command".to_owned());
            self.report(
                now,
                Event::Room(RoomEvent::Warned { code, message: error.to_string(), text: None }),
            );
        }
    }

    fn game_command(
        &mut self,
        now: Duration,
        command: GameCommand,
    ) -> Result<(), voicemesh_engine::EngineError> {
        let Self { game, engine, .. } = self;
        match command {
            GameCommand::Speak(handle, target, options) => {
                return game.speak_with(now, engine, handle, target, options);
            }
            GameCommand::Listen(group) => return engine.join_group(now, &group),
            GameCommand::Unlisten(group) => return engine.leave_group(now, &group),
            GameCommand::SweepHandles => return game.sweep(now, engine),
            GameCommand::OpenVoice(peer, source) => game.open_voice(peer, *source),
            GameCommand::OpenMix(source) => game.open_mix(*source),
            GameCommand::UseMicrophone(capture) => {
                self.sound.use_input(*capture);
                self.microphone_lost = false;
                self.follow_input();
            }
        }
        Ok(())
    }

    fn join_group(
        &mut self,
        now: Duration,
        name: String,
    ) -> Result<(), voicemesh_engine::EngineError> {
        self.engine.join_group(now, &name)?;
        self.game.speak(now, &mut self.engine, JOINED, VoiceTarget::Group(name))
    }

    fn leave_group(
        &mut self,
        now: Duration,
        name: String,
    ) -> Result<(), voicemesh_engine::EngineError> {
        self.engine.leave_group(now, &name)?;
        self.game.hush(now, &mut self.engine, JOINED, &VoiceTarget::Group(name))
    }

    /// Listens and speaks to these groups only.
    fn move_to(&mut self, now: Duration, groups: &[String]) {
        let left: Vec<String> = self
            .engine
            .groups()
            .filter(|group| !groups.iter().any(|wanted| wanted == group))
            .map(str::to_owned)
            .collect();
        let steps = left.into_iter().map(|group| self.leave_group(now, group)).collect::<Vec<_>>();
        // A group that the server has refused meanwhile is only spoken to.
        for target in self.game.targets_of(JOINED) {
            if !groups.iter().any(|wanted| target == VoiceTarget::Group(wanted.clone())) {
                let _ = self.game.hush(now, &mut self.engine, JOINED, &target);
            }
        }
        let joined =
            groups.iter().map(|group| self.join_group(now, group.clone())).collect::<Vec<_>>();
        for error in steps.into_iter().chain(joined).filter_map(Result::err) {
            tracing::debug!(%error, "a move to other groups was not made whole");
        }
    }

    /// A member, or this peer itself, is held in these groups. A program that was started anew
    /// begins elsewhere.
    fn held_in(&mut self, now: Duration, peer: PeerId, groups: Vec<String>) -> Event {
        if peer == self.engine.network().mesh.you() && !groups.is_empty() {
            self.move_to(now, &groups);
        }
        Event::Room(RoomEvent::Held { peer, groups })
    }

    fn take_events(&mut self, now: Duration) {
        while let Some(event) = self.engine.network_mut().mesh.poll_event() {
            self.mesh_event(now, event);
        }
        while let Some(event) = self.engine.poll_event() {
            self.engine_event(now, event);
        }
        self.take_data(now);
    }

    fn mesh_event(&mut self, now: Duration, event: MeshEvent) {
        let event = match event {
            MeshEvent::Joined { you, name, session, others, relay_only } => {
                self.name.clone_from(&name);
                let room = self.room.clone();
                self.report(
                    now,
                    Event::Room(RoomEvent::Joined { you, name, room, session, others, relay_only }),
                );
                return self.joined_with_recording(now);
            }
            MeshEvent::PeerJoined(member) => {
                if self.sound.echoes()
                    && member.metadata.get("kind").is_some_and(|kind| kind == "echo")
                {
                    // Two that say back what they hear would never stop.
                    self.engine.set_peer_muted(Participant::Peer(member.peer), true);
                }
                self.ledger.joined(member.peer, member.capabilities.data);
                Event::Room(RoomEvent::PeerJoined {
                    peer: member.peer,
                    name: member.name,
                    metadata: member.metadata,
                })
            }
            MeshEvent::PeerLeft { member, reason } => {
                self.heard.remove(&member.peer);
                self.last_data_of(now, member.peer);
                self.engine.set_placement(Participant::Peer(member.peer), None);
                Event::Room(RoomEvent::PeerLeft { peer: member.peer, name: member.name, reason })
            }
            MeshEvent::MetadataChanged { peer, metadata } => {
                Event::Room(RoomEvent::MetadataChanged { peer, metadata })
            }
            MeshEvent::PermissionsChanged { peer, permissions } => {
                Event::Room(RoomEvent::PermissionsChanged { peer, permissions })
            }
            MeshEvent::HeldIn { peer, groups } => self.held_in(now, peer, groups),
            MeshEvent::StatusChanged { peer, status } => {
                Event::Room(RoomEvent::StatusChanged { peer, status })
            }
            MeshEvent::ServerAway { why, failure, silent_for, retry_in } => {
                Event::Room(RoomEvent::ServerAway { why, failure, silent_for, retry_in })
            }
            MeshEvent::ServerConnected(connection) => {
                Event::Room(RoomEvent::ServerConnected(connection))
            }
            MeshEvent::TokenNeeded { code, message } => {
                Event::Room(RoomEvent::TokenNeeded { code, message })
            }
            MeshEvent::Refused { code, message, retry_after } => {
                Event::Room(RoomEvent::Refused { code, message, retry_after })
            }
            MeshEvent::Replaced => Event::Room(RoomEvent::Replaced),
            MeshEvent::Warned { code, message, text } => {
                Event::Room(RoomEvent::Warned { code, message, text })
            }
            MeshEvent::OwnerChanged { owner } => Event::Room(RoomEvent::OwnerChanged { owner }),
            MeshEvent::TransactionDone { transaction, result }
                if self.announced(now, transaction, &result) =>
            {
                return;
            }
            MeshEvent::TransactionDone { transaction, result } => {
                Event::Room(RoomEvent::TransactionDone { transaction, result })
            }
            MeshEvent::RoomMetadataChanged { metadata } => {
                Event::Room(RoomEvent::RoomMetadataChanged { metadata })
            }
            MeshEvent::ReachabilityChanged { token } => {
                Event::Room(RoomEvent::ReachabilityChanged { token })
            }
            MeshEvent::ConnectionRequested { peer } => {
                Event::Room(RoomEvent::ConnectionRequested { peer })
            }
            MeshEvent::Moved { groups } => {
                self.move_to(now, &groups);
                Event::Room(RoomEvent::Moved { groups })
            }
            MeshEvent::RoomLocked { locked } => Event::Room(RoomEvent::RoomLocked { locked }),
            MeshEvent::RoomPassword { change } => Event::Room(RoomEvent::RoomPassword { change }),
            MeshEvent::OwnerRight { state } => Event::Room(RoomEvent::OwnerRight { state }),
            MeshEvent::TicketRenewed { ticket } => return self.tickets.keep(&ticket),
        };
        self.report(now, event);
    }

    fn engine_event(&mut self, now: Duration, event: EngineEvent<PeerId>) {
        let event = match event {
            EngineEvent::Speaking { who: Participant::Peer(peer), speaking } => {
                Event::Voice(VoiceEvent::Speaking { peer, speaking })
            }
            EngineEvent::FirstHeard { who: Participant::Peer(peer) } if self.heard.insert(peer) => {
                Event::Voice(VoiceEvent::FirstHeard { peer })
            }
            EngineEvent::Session(ClientEvent::Joined { .. }) => Event::Room(RoomEvent::Connected),
            EngineEvent::Session(ClientEvent::RouteChanged {
                who: Participant::Peer(peer),
                route,
            }) if self.engine.network().mesh.member(peer).is_some() => {
                Event::Room(RoomEvent::RouteChanged { peer, route })
            }
            EngineEvent::Session(ClientEvent::GroupRefused { group }) => {
                // What is not listened to after a join is not spoken to by it, either.
                let _ = self.game.hush(
                    now,
                    &mut self.engine,
                    JOINED,
                    &VoiceTarget::Group(group.clone()),
                );
                Event::Voice(VoiceEvent::GroupRefused { group })
            }
            EngineEvent::Session(ClientEvent::Text {
                from: Participant::Peer(from),
                recipient,
                group,
                text,
                ..
            }) => {
                let name =
                    self.engine.network().mesh.member(from).map(|member| member.name.clone());
                let private = matches!(recipient, Recipient::Client(_));
                Event::Room(RoomEvent::Text {
                    from,
                    name: name.unwrap_or_default(),
                    private,
                    group,
                    text,
                })
            }
            // The application does not know clients that are not in the roster.
            _ => return,
        };
        self.report(now, event);
    }

    /// Cheap enough for every turn: the mesh says it only when it has changed.
    fn update_status(&mut self, now: Duration) {
        let status = MemberStatus {
            muted: self.engine.is_muted(),
            deafened: self.engine.is_deafened(),
            listening_only: self.microphone_lost || !self.sound.has_input(),
            recording: self.recording.is_announced(),
        };
        self.engine.network_mut().mesh.set_status(now, status);
    }

    fn device_event(&mut self, now: Duration, event: Event) {
        match event {
            Event::Device(DeviceEvent::Lost { which: DeviceRole::Input, .. }) => {
                self.microphone_lost = true
            }
            Event::Device(DeviceEvent::Recovered { which: DeviceRole::Input }) => {
                self.microphone_lost = false
            }
            _ => {}
        }
        self.report(now, event);
    }

    fn lobby(&mut self, now: Duration, command: LobbyCommand) {
        let mesh = &mut self.engine.network_mut().mesh;
        let result = match command {
            LobbyCommand::Transact(id, whose, changes) => {
                mesh.transact(now, id, whose, changes);
                Ok(())
            }
            LobbyCommand::Moderate(id, action) => {
                mesh.moderate(now, id, action);
                Ok(())
            }
            LobbyCommand::Connect(token) => mesh.connect_peer(now, token),
            LobbyCommand::Update(token) => mesh.update_peer(now, token),
            LobbyCommand::Disconnect(peer) => {
                mesh.disconnect_peer(peer);
                Ok(())
            }
            LobbyCommand::NetworkChanged => {
                mesh.network_changed(now);
                Ok(())
            }
        };
        if let Err(error) = result {
            self.report(
                now,
                Event::Room(RoomEvent::Warned {
                    code: error.code(),
                    message: error.to_string(),
                    text: None,
                }),
            );
        }
    }

    fn report(&self, at: Duration, event: Event) {
        self.publisher.add(at, event);
    }

    /// Lets the program see what happened in this turn, and the situation after it.
    fn publish(&mut self, now: Duration) {
        let Self { publisher, engine, name, talking, recording, .. } = self;
        publisher.publish(
            now,
            &Situation { engine, name, talking: *talking, recording: recording.is_on() },
        );
    }
}
