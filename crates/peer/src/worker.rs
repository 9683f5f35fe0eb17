//! The engine thread: it owns the session, the sound and the devices, and alone touches them
//! (ARCHITECTURE.md, "Threads and queues").
//!
//! It runs when something has arrived, when a device wants something, when the engine has a timer,
//! and at least every 5 ms.

mod data;
mod directory;
mod recording;
mod recording_state;
mod situation;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use voicemesh_engine::{EngineEvent, EngineOnNetwork};
use voicemesh_mesh::{Carried, CarrierEvent, MemberEncryption, MeshEvent, PathChange, SocketEvent};
use voicemesh_session::client::{ClientEvent, Participant};
use voicemesh_session::voice_targets::VoiceTarget;
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::MemberStatus;

use crate::carrier::RealCarrier;
use crate::command::{Command, LobbyCommand};
use crate::data::{DataCommand, SendLedger};
use crate::event::{Event, RoomEvent, TimedEvent, VoiceEvent};
use crate::flush::Flush;
use crate::game::PendingPositions;
use crate::identity::RoomFiles;
use crate::inbox::{Wake, WorkerReceiver, park};
use crate::options::JoinOptions;
use crate::record::Recorder;
use crate::shared::Shared;
use crate::sleep_watch::SleepWatch;
use crate::sound::Sound;
use crate::voice_loop::{EventPublisher, VoiceLoop};
use directory::RoomDirectory;
use recording_state::Recording;
use situation::Situation;

/// The metadata by which everyone sees that a peer records.
pub(crate) const RECORDING: &str = "recording";

/// Arrivals handled before sound gets its turn.
const ARRIVALS_PER_TURN: usize = 512;

/// Everything that the thread owns.
pub(crate) struct RoomWorker {
    engine: EngineOnNetwork<Carried<RealCarrier>>,
    files: RoomFiles,
    arrivals: WorkerReceiver,
    commands: Receiver<Command>,
    shared: Arc<Shared>,
    voice: VoiceLoop,
    started: Instant,
    room: String,
    /// The own name: the one that was asked for, and once joined the one that the others see.
    name: String,
    recording: Recording,
    ledger: Arc<SendLedger>,
    /// Empty between turns.
    data_commands: VecDeque<DataCommand>,
    flush: Flush,
    sleep: SleepWatch,
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

impl RoomWorker {
    /// A worker that has not begun.
    pub(crate) fn new(
        started: Instant,
        engine: EngineOnNetwork<Carried<RealCarrier>>,
        sound: Sound,
        files: RoomFiles,
        recorder: Option<Recorder>,
        ends: Ends,
        options: &JoinOptions,
    ) -> Self {
        let Ends { arrivals, commands, events, shared, ledger, event_wake, positions } = ends;
        let publisher = EventPublisher::new(events, shared.clone(), ledger.clone(), event_wake);
        Self {
            engine,
            files,
            arrivals,
            commands,
            voice: VoiceLoop::new(sound, &options.sound, publisher, positions),
            shared,
            started,
            room: options.room.clone(),
            name: options.name.clone(),
            recording: Recording::from_the_beginning(recorder),
            ledger,
            data_commands: VecDeque::new(),
            flush: Flush::default(),
            sleep: SleepWatch::start(),
        }
    }

    /// Works until the program leaves, or until the handle is gone.
    pub(crate) fn run(mut self, wake: &Wake) {
        wake.is_this_thread();
        self.voice.begin(self.started.elapsed(), &mut self.engine, &RoomDirectory);
        self.update_status(self.started.elapsed());
        loop {
            let now = self.started.elapsed();
            self.look_for_sleep(now);
            let flow = self.take_commands(now);
            self.take_data_commands();
            self.take_arrivals(now);
            self.engine.update(now);
            let uplink_bps = self.engine.uplink_ceiling_bps();
            let links_wait = self.engine.links_wait();
            let is_late = self.engine.relayed_speech_is_late();
            let carrier = &self.engine.network_mut().carrier;
            carrier.set_uplink(uplink_bps, links_wait);
            carrier.set_relayed_speech_is_late(is_late);
            self.engine.network_mut().mesh.set_links_wait(now, links_wait);
            self.voice.run_sound(now, &mut self.engine, &RoomDirectory);
            self.record(now);
            self.update_status(now);
            self.take_events(now);
            if flow.is_break() && self.flush.is_done(now, &self.engine) {
                break;
            }
            self.publish(now);
            let due = self.engine.poll_timeout(now);
            park(self.started.elapsed(), due);
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
            self.flush.begin(now);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// After sleep, sound and speech that waited in between are old.
    fn look_for_sleep(&mut self, now: Duration) {
        if self.sleep.has_woken() {
            tracing::info!("the machine slept, or this process stood still");
            self.arrivals.drop_voice();
            self.voice.sound.drop_captured();
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

    fn command(&mut self, now: Duration, command: Command) {
        match command {
            Command::Voice(command) => {
                self.voice.command(now, &mut self.engine, &RoomDirectory, command)
            }
            Command::SetToken(token) => {
                let network = self.engine.network_mut();
                network.carrier.keeps_secret();
                network.mesh.set_token(now, token);
            }
            Command::Record(Some(recorder)) => self.start_recording(now, *recorder),
            Command::Record(None) => self.stop_recording(now),
            Command::Lobby(command) => self.lobby(now, command),
        }
    }

    /// Listens and speaks to these groups only.
    fn move_to(&mut self, now: Duration, groups: &[String]) {
        let left: Vec<String> = self
            .engine
            .groups()
            .filter(|group| !groups.iter().any(|wanted| wanted == group))
            .map(str::to_owned)
            .collect();
        let Self { voice, engine, .. } = self;
        let mut steps = Vec::new();
        for group in left {
            steps.push(voice.leave_group(now, engine, &RoomDirectory, group));
        }
        // A group that the server has refused meanwhile is only spoken to.
        for target in voice.joined() {
            if !groups.iter().any(|wanted| target == VoiceTarget::Group(wanted.clone())) {
                let _ = voice.hush(now, engine, &RoomDirectory, &target);
            }
        }
        for group in groups {
            steps.push(voice.join_group(now, engine, &RoomDirectory, group.clone()));
        }
        for error in steps.into_iter().filter_map(Result::err) {
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
                if self.voice.sound.echoes()
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
                self.voice.left(member.peer);
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
            MeshEvent::EncryptionChanged { peer, encryption } => {
                let met = &mut self.files.met;
                if matches!(encryption, MemberEncryption::Encrypted { .. }) {
                    met.encrypts(peer);
                }
                let encrypted_before = met.encrypted_before(peer);
                Event::Room(RoomEvent::EncryptionChanged { peer, encryption, encrypted_before })
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
            MeshEvent::TicketRenewed { ticket } => return self.files.tickets.keep(&ticket),
        };
        self.report(now, event);
    }

    fn engine_event(&mut self, now: Duration, event: EngineEvent<PeerId>) {
        let Self { voice, engine, .. } = self;
        // What else there is, the mesh reports.
        if let Some(EngineEvent::Session(ClientEvent::Joined { .. })) =
            voice.engine_event(now, engine, &RoomDirectory, event)
        {
            self.report(now, Event::Room(RoomEvent::Connected));
        }
    }

    /// Cheap enough for every turn: the mesh says it only when it has changed.
    fn update_status(&mut self, now: Duration) {
        let status = MemberStatus {
            muted: self.engine.is_muted(),
            deafened: self.engine.is_deafened() || self.voice.is_without_speaker(),
            listening_only: self.voice.is_listening_only(),
            recording: self.recording.is_announced(),
        };
        self.engine.network_mut().mesh.set_status(now, status);
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
            LobbyCommand::AllowUnencrypted(peer, as_name) => {
                mesh.allow_unencrypted(peer, as_name.as_deref());
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
        self.voice.report(at, event);
    }

    /// Lets the program see what happened in this turn, and the situation after it.
    fn publish(&mut self, now: Duration) {
        let Self { voice, engine, name, recording, .. } = self;
        let situation =
            Situation { engine, name, talking: voice.is_talking(), recording: recording.is_on() };
        voice.publish(now, |known_groups| situation.snapshot(known_groups));
    }
}
