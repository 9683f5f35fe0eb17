//! The engine thread: it owns the session, the sound and the devices, and alone touches them (ARCHITECTURE.md, "Threads and queues").
//!
//! It runs when something has arrived, when a device wants something, and at least every 5 ms.

mod data;
mod recording;
mod status;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use voicemesh_audio::process::{Activation, Processing};
use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_device::{InputSpec, OutputSpec};
use voicemesh_engine::{Comms, CommsEvent};
use voicemesh_session::client::{ClientEvent, Who};
use voicemesh_session::speaker::VoiceTarget;
use voicemesh_wire::PeerId;
use voicemesh_wire::packet::Recipient;
use voicemesh_wire::signaling::AccessToken;

use crate::carrier::RealCarrier;
use crate::data::{Desk, Order};
use crate::event::{DeviceRole, Event, MicrophoneState, PeerState, SendingState, Snapshot, Stamped};
use crate::game::{Game, GameCommand, JOINED};
use crate::identity::TicketFile;
use crate::inbox::{Arrivals, Wake};
use crate::lobby::{self, LobbyCommand};
use crate::mesh::{CarrierEvent, Mesh, MeshEvent, PathChange};
use crate::options::MicrophoneChoice;
use crate::record::Recorder;
use crate::sleep_watch::SleepWatch;
use crate::sound::{Sound, Switched};

/// The thread sleeps at most this long.
const LONGEST_NAP: Duration = Duration::from_millis(5);
/// The snapshot is at most this old.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(20);
/// Arrivals handled before sound gets its turn.
const ARRIVALS_PER_TURN: usize = 512;
/// Blocks of sound handled before the network gets its turn: half a second. A program may write its microphone faster than they
/// can be.
const BLOCKS_PER_TURN: usize = 50;
/// Events that the program has not taken. When there are more, new ones are dropped.
pub(crate) const EVENTS: usize = 4096;
/// Commands that the engine has not taken. When there are more, the caller's newest is dropped.
pub(crate) const COMMANDS: usize = 1024;

/// The metadata by which everyone sees that a peer records.
pub(crate) const RECORDING: &str = "recording";

/// What a program wants of its peer.
#[derive(Debug)]
pub(crate) enum Command {
    SetMuted(bool),
    SetDeafened(bool),
    SetGain(PeerId, f32),
    SetPeerMuted(PeerId, bool),
    SendText(TextTo, String),
    JoinGroup(String),
    LeaveGroup(String),
    SetTalking(bool),
    SetToken(AccessToken),
    SetProcessing(Processing),
    SetActivation(Activation),
    SetInput(InputSpec),
    SetOutput(OutputSpec),
    /// A new recording, or none.
    Record(Option<Box<Recorder>>),
    Lobby(LobbyCommand),
    Game(GameCommand),
    Leave,
}

/// Whom a text is for.
#[derive(Debug)]
pub(crate) enum TextTo {
    Group(String),
    Peer(PeerId),
}

/// What the handle and the thread share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// An `Arc`, so that the lock is held no longer than it takes to clone that.
    snapshot: Mutex<Arc<Snapshot>>,
}

impl Shared {
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let before = std::mem::replace(&mut *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner), snapshot);
        drop(before);
    }
}

/// Everything that the thread owns.
pub(crate) struct Engine {
    pub(crate) comms: Comms<Mesh<RealCarrier>>,
    pub(crate) tickets: TicketFile,
    pub(crate) arrivals: Arrivals,
    pub(crate) commands: Receiver<Command>,
    pub(crate) events: SyncSender<Stamped>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) sound: Sound,
    pub(crate) started: Instant,
    pub(crate) room: String,
    /// The own name.
    pub(crate) name: String,
    /// Peers that have been heard since they joined.
    pub(crate) heard: BTreeSet<PeerId>,
    pub(crate) talking: bool,
    /// What was set of the microphone's sound.
    pub(crate) microphone: MicrophoneChoice,
    pub(crate) recorder: Option<Recorder>,
    /// The recording that was ended last: what waits of it goes to the disk meanwhile.
    pub(crate) ended_recorder: Option<Recorder>,
    pub(crate) microphone_lost: bool,
    pub(crate) desk: Arc<Desk>,
    /// Wakes the task that awaits an event.
    pub(crate) told: Arc<Notify>,
    /// Empty between turns.
    pub(crate) orders: VecDeque<Order>,
    pub(crate) leaving_since: Option<Duration>,
    /// What happened in this turn.
    pub(crate) untold: RefCell<Vec<Stamped>>,
    /// The talk groups of each member as of the last snapshot: members choose how many and how long they are.
    pub(crate) known_groups: RefCell<BTreeMap<PeerId, Arc<[String]>>>,
    pub(crate) snapshot_due: Duration,
    pub(crate) game: Game,
    pub(crate) sleep: SleepWatch,
}

/// Whether an event tells of something that a snapshot shows and that is worth showing at once.
fn changes_situation(event: &Event) -> bool {
    !matches!(
        event,
        Event::Message { .. }
            | Event::ChannelMessage { .. }
            | Event::ChannelOpened { .. }
            | Event::ChannelMismatch { .. }
            | Event::ChannelClosed { .. }
            | Event::Disconnected { .. }
            | Event::Text { .. }
            | Event::Speaking { .. }
    )
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Next,
    Last,
}

impl Engine {
    /// Works until told to leave, or until the handle is gone.
    pub(crate) fn run(mut self, wake: &Wake) {
        wake.is_this_thread();
        self.begin_game(self.started.elapsed());
        self.update_status(self.started.elapsed());
        loop {
            let now = self.started.elapsed();
            self.look_for_sleep(now);
            let turn = self.take_commands(now);
            self.take_orders(now);
            self.take_arrivals(now);
            self.comms.update(now);
            let uplink_bps = self.comms.speaking_status().uplink.estimate_bps;
            let links_wait = self.comms.links_wait(now);
            self.comms.network_mut().carrier_mut().set_uplink(uplink_bps, links_wait);
            self.comms.network_mut().set_links_wait(links_wait);
            self.sound(now);
            self.record(now);
            self.update_status(now);
            self.take_events(now);
            if turn == Turn::Last && self.may_go(now) {
                break;
            }
            self.publish(now);
            std::thread::park_timeout(LONGEST_NAP);
        }
        self.end();
    }

    fn end(mut self) {
        let now = self.started.elapsed();
        self.comms.stop(now);
        self.take_events(now);
        self.tell(now, Event::Left);
        self.publish(now);
    }

    fn take_commands(&mut self, now: Duration) -> Turn {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Leave) | Err(TryRecvError::Disconnected) => {
                    self.leaving_since.get_or_insert(now);
                    return Turn::Last;
                }
                Ok(command) => self.command(now, command),
                Err(TryRecvError::Empty) if self.leaving_since.is_some() => return Turn::Last,
                Err(TryRecvError::Empty) => return Turn::Next,
            }
        }
    }

    /// After sleep, sound and speech that waited in between are old.
    fn look_for_sleep(&mut self, now: Duration) {
        if self.sleep.woke() {
            tracing::info!("the machine slept, or this process stood still");
            self.arrivals.drop_voice();
            self.sound.drop_captured();
            self.comms.network_mut().handle(now, CarrierEvent::Path(PathChange::Woke));
        }
    }

    fn take_arrivals(&mut self, now: Duration) {
        for _ in 0..ARRIVALS_PER_TURN {
            let Some(event) = self.arrivals.next() else { return };
            self.comms.network_mut().handle(now, event);
        }
    }

    fn sound(&mut self, now: Duration) {
        let mut block: Block = [0.0; BLOCK_SAMPLES];
        self.sound.begin(now);
        for _ in 0..BLOCKS_PER_TURN {
            let plays = self.wants_block(now);
            if plays {
                self.comms.set_device_delays(self.sound.capture_age(), self.sound.playout_delay());
                self.render(now);
            }
            let speaks = self.sound.read_block(&mut block);
            if speaks {
                self.comms.set_device_delays(self.sound.capture_age(), self.sound.playout_delay());
            }
            if speaks && let Err(error) = self.comms.capture(now, &block) {
                tracing::warn!(%error, "a block of speech was not sent");
            }
            if !plays && !speaks {
                break;
            }
        }
        while let Some(event) = self.sound.poll_event() {
            self.device_event(now, event);
        }
        while let Some(Switched { which, told }) = self.sound.poll_switch() {
            match told {
                Ok(()) if which == DeviceRole::Input => {
                    self.microphone_lost = false;
                    self.follow_input();
                    self.tell(now, Event::DeviceChanged { which });
                }
                Ok(()) => self.tell(now, Event::DeviceChanged { which }),
                Err(why) => self.device_refused(now, which, why),
            }
        }
    }

    /// Another microphone is in use: what the program has not set follows from its kind.
    pub(crate) fn follow_input(&mut self) {
        let wanted = self.microphone.config(self.sound.is_simulated_input());
        self.comms.set_processing(wanted.processing);
        // It was valid when it was set.
        let _ = self.comms.set_activation(wanted.activation);
    }

    fn begun(&mut self, now: Duration, which: DeviceRole, begin: impl FnOnce(&mut Sound) -> Result<(), String>) {
        if let Err(why) = begin(&mut self.sound) {
            self.device_refused(now, which, why);
        }
    }

    fn device_refused(&self, now: Duration, which: DeviceRole, why: String) {
        let what = match which {
            DeviceRole::Input => "microphone",
            DeviceRole::Output => "speaker",
        };
        let code = crate::ErrorCode::Other("device".to_owned());
        self.tell(now, Event::Warned { code, message: format!("the {what} stays as it is: {why}") });
    }

    fn command(&mut self, now: Duration, command: Command) {
        let done = match command {
            Command::SetMuted(muted) => {
                self.comms.set_muted(muted);
                Ok(())
            }
            Command::SetDeafened(deafened) => {
                self.comms.set_deafened(deafened);
                Ok(())
            }
            Command::SetGain(peer, gain) => {
                self.comms.set_gain(Who::Peer(peer), gain);
                Ok(())
            }
            Command::SetPeerMuted(peer, muted) => {
                self.comms.set_peer_muted(Who::Peer(peer), muted);
                Ok(())
            }
            Command::SendText(TextTo::Group(group), text) => self.comms.send_group_text(now, &group, &text),
            Command::SendText(TextTo::Peer(peer), text) => match self.comms.network().client(peer) {
                Some(client) => self.comms.send_text(now, Recipient::Client(client), &text),
                None => Ok(()),
            },
            Command::JoinGroup(name) => self.join_group(now, name),
            Command::LeaveGroup(name) => self.leave_group(now, name),
            Command::SetToken(token) => {
                self.comms.network_mut().set_token(now, token);
                Ok(())
            }
            Command::SetTalking(talking) => {
                self.comms.set_talking(talking);
                self.talking = talking;
                Ok(())
            }
            Command::SetProcessing(processing) => {
                self.microphone.processing = Some(processing);
                self.comms.set_processing(processing);
                Ok(())
            }
            Command::SetActivation(activation) => {
                let done = self.comms.set_activation(activation);
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
            Command::Record(recorder) => {
                self.set_recorder(now, recorder.map(|recorder| *recorder));
                Ok(())
            }
            Command::Lobby(command) => {
                self.lobby(now, command);
                Ok(())
            }
            Command::Game(command) => self.game_command(now, command),
            Command::Leave => Ok(()),
        };
        if let Err(error) = done {
            let code = crate::ErrorCode::Other("command".to_owned());
            self.tell(now, Event::Warned { code, message: error.to_string() });
        }
    }

    fn join_group(&mut self, now: Duration, name: String) -> Result<(), voicemesh_engine::CommsError> {
        self.comms.join_group(now, &name)?;
        self.speak(now, JOINED, VoiceTarget::Group(name))
    }

    fn leave_group(&mut self, now: Duration, name: String) -> Result<(), voicemesh_engine::CommsError> {
        self.comms.leave_group(now, &name)?;
        self.hush(now, JOINED, &VoiceTarget::Group(name))
    }

    /// Listens and speaks to these groups only.
    fn move_to(&mut self, now: Duration, groups: &[String]) {
        let left: Vec<String> = self
            .comms
            .groups()
            .filter(|group| !groups.iter().any(|wanted| wanted == group))
            .map(str::to_owned)
            .collect();
        let steps = left.into_iter().map(|group| self.leave_group(now, group)).collect::<Vec<_>>();
        let joined = groups.iter().map(|group| self.join_group(now, group.clone())).collect::<Vec<_>>();
        for error in steps.into_iter().chain(joined).filter_map(Result::err) {
            tracing::debug!(%error, "a move to other groups was not made whole");
        }
    }

    fn take_events(&mut self, now: Duration) {
        while let Some(event) = self.comms.network_mut().poll_event() {
            self.mesh_event(now, event);
        }
        while let Some(event) = self.comms.poll_event() {
            self.comms_event(now, event);
        }
        self.take_data(now);
    }

    fn mesh_event(&mut self, now: Duration, event: MeshEvent) {
        let event = match event {
            MeshEvent::Joined { you, session, others, relay_only } => {
                Event::Joined { you, room: self.room.clone(), session, others, relay_only }
            }
            MeshEvent::PeerJoined(member) => {
                if self.sound.echoes() && member.metadata.get("kind").is_some_and(|kind| kind == "echo") {
                    // Two that say back what they hear would never stop.
                    self.comms.set_peer_muted(Who::Peer(member.peer), true);
                }
                self.desk.joined(member.peer, member.capabilities.data);
                Event::PeerJoined { peer: member.peer, name: member.name, metadata: member.metadata }
            }
            MeshEvent::PeerLeft { member, reason } => {
                self.heard.remove(&member.peer);
                self.last_data_of(now, member.peer);
                self.comms.set_placement(Who::Peer(member.peer), None);
                Event::PeerLeft { peer: member.peer, name: member.name, reason }
            }
            MeshEvent::MetadataChanged { peer, metadata } => Event::MetadataChanged { peer, metadata },
            MeshEvent::PermissionsChanged { peer, permissions } => Event::PermissionsChanged { peer, permissions },
            MeshEvent::StatusChanged { peer, status } => Event::StatusChanged { peer, status },
            MeshEvent::ServerAway { why, failure, retry_in } => Event::ServerAway { why, failure, retry_in },
            MeshEvent::ServerConnected(connection) => Event::ServerConnected(connection),
            MeshEvent::TokenNeeded { code, message } => Event::TokenNeeded { code, message },
            MeshEvent::Refused { code, message, retry_after } => Event::Refused { code, message, retry_after },
            MeshEvent::Replaced => Event::Replaced,
            MeshEvent::Warned { code, message } => Event::Warned { code, message },
            MeshEvent::OwnerChanged { owner } => Event::OwnerChanged { owner },
            MeshEvent::TransactionDone { transaction, result } => Event::TransactionDone { transaction, result },
            MeshEvent::RoomMetadataChanged { metadata } => Event::RoomMetadataChanged { metadata },
            MeshEvent::ReachabilityChanged { token } => Event::ReachabilityChanged { token },
            MeshEvent::ConnectionRequested { peer } => Event::ConnectionRequested { peer },
            MeshEvent::Moved { groups } => {
                self.move_to(now, &groups);
                Event::Moved { groups }
            }
            MeshEvent::RoomLocked { locked } => Event::RoomLocked { locked },
            MeshEvent::OwnerRight { state } => Event::OwnerRight { state },
            MeshEvent::TicketRenewed { ticket } => return self.tickets.keep(&ticket),
        };
        self.tell(now, event);
    }

    fn comms_event(&mut self, now: Duration, event: CommsEvent<PeerId>) {
        let event = match event {
            CommsEvent::Speaking { who: Who::Peer(peer), speaking } => Event::Speaking { peer, speaking },
            CommsEvent::FirstHeard { who: Who::Peer(peer) } if self.heard.insert(peer) => Event::FirstHeard { peer },
            CommsEvent::Session(ClientEvent::Joined { .. }) => Event::Connected,
            CommsEvent::Session(ClientEvent::RouteChanged { who: Who::Peer(peer), route })
                if self.comms.network().member(peer).is_some() =>
            {
                Event::RouteChanged { peer, route }
            }
            CommsEvent::Session(ClientEvent::GroupRefused { group }) => Event::GroupRefused { group },
            CommsEvent::Session(ClientEvent::Text { from: Who::Peer(from), recipient, group, text, .. }) => {
                let name = self.comms.network().member(from).map(|member| member.name.clone());
                let private = matches!(recipient, Recipient::Client(_));
                Event::Text { from, name: name.unwrap_or_default(), private, group, text }
            }
            // The application does not know clients that are not in the roster.
            _ => return,
        };
        self.tell(now, event);
    }

    /// Tells the program something, at the end of this turn: by then the snapshot knows of it.
    pub(crate) fn tell(&self, at: Duration, event: Event) {
        if self.desk.tells(&event, EVENTS) {
            self.untold.borrow_mut().push(Stamped { at, event });
        } else {
            tracing::debug!(?event, "nobody takes the events; one was dropped");
        }
    }

    /// Puts the situation where the program sees it, if it is time or something happened, and then says what did.
    fn publish(&mut self, now: Duration) {
        let mut untold = self.untold.take();
        if now >= self.snapshot_due || untold.iter().any(|stamped| changes_situation(&stamped.event)) {
            self.snapshot_due = now + SNAPSHOT_INTERVAL;
            self.shared.put(self.snapshot());
        }
        if untold.is_empty() {
            return;
        }
        for stamped in untold.drain(..) {
            if let Err(TrySendError::Full(lost)) = self.events.try_send(stamped) {
                self.desk.polled(&lost.event);
                tracing::debug!(event = ?lost.event, "nobody takes the events; one was dropped");
            }
        }
        self.told.notify_one();
        // Its memory is used again.
        self.untold.replace(untold);
    }

    fn snapshot(&self) -> Snapshot {
        let mesh = self.comms.network();
        let peers = self.comms.peers();
        let status = |peer: PeerId| peers.iter().find(|status| status.who == Who::Peer(peer));
        let mut known_groups = self.known_groups.take();
        if known_groups.len() > mesh.members().count() {
            known_groups.retain(|peer, _| mesh.members().any(|member| member.peer == *peer));
        }
        let mut groups_of = |peer: PeerId| {
            let known = known_groups.entry(peer).or_default();
            if !known.iter().map(String::as_str).eq(self.comms.groups_of(peer)) {
                *known = self.comms.groups_of(peer).map(str::to_owned).collect();
            }
            Arc::clone(known)
        };
        let states = mesh.members().map(|member| {
            let status = status(member.peer);
            let heard = status.and_then(|status| status.heard).unwrap_or_default();
            PeerState {
                peer: member.peer,
                name: member.name.clone(),
                label: member.label.clone(),
                metadata: member.metadata.clone(),
                status: member.status,
                groups: groups_of(member.peer),
                permissions: member.permissions,
                order: member.order,
                route: status.map_or(crate::Route::None, |status| status.route),
                round_trip: status.and_then(|status| status.round_trip),
                speaking: status.is_some_and(|status| status.speaking),
                level_dbfs: status.and_then(|status| status.level_dbfs),
                frames_received: heard.frames_received,
                frames_heard: heard.frames_heard,
                frames_concealed: heard.frames_concealed,
                frames_from_copies: heard.frames_from_copies,
                frames_repaired: heard.frames_repaired,
                buffer: Duration::from_secs_f32((heard.buffer_ms / 1000.0).clamp(0.0, 60.0)),
                loss: status.map_or(0.0, |status| status.loss),
                delay: status.and_then(|status| status.delay),
                recording: member.status.recording || member.metadata.contains_key(RECORDING),
                gain: status.map_or(1.0, |status| status.gain),
                muted: status.is_some_and(|status| status.muted),
            }
        });
        let peers = states.collect();
        self.known_groups.replace(known_groups);
        let comms = self.comms.status();
        let speaking = self.comms.speaking_status();
        let mut snapshot = Snapshot {
            connected: comms.connected,
            server_answers: comms.connected && mesh.server_is_reached(),
            mode: match comms.mode {
                voicemesh_engine::Mode::None => "none",
                voicemesh_engine::Mode::Client => "client",
                voicemesh_engine::Mode::DedicatedServer => "server",
            },
            you: Some(mesh.you()),
            peers,
            frames_spoken: self.comms.frames_spoken(),
            muted: self.comms.is_muted(),
            deafened: self.comms.is_deafened(),
            listening_only: mesh.status().listening_only,
            microphone: MicrophoneState {
                level_dbfs: speaking.level.level_dbfs,
                peak_dbfs: speaking.level.peak_dbfs,
                noise_floor_dbfs: speaking.level.noise_floor_dbfs,
                clipping: speaking.level.clipping,
                speech_probability: speaking.level.speech_probability,
                sending: speaking.sending,
            },
            talking: self.talking,
            sending: SendingState {
                bitrate_bps: speaking.bitrate_bps,
                worst_loss: speaking.worst_loss,
                copies: speaking.copies,
                uplink_bps: speaking.uplink_bps,
                frames_per_packet: speaking.frames_per_packet,
                uplink_estimate_bps: speaking.uplink.estimate_bps,
                upload_too_slow: speaking.uplink.is_too_slow,
            },
            recording: self.recorder.is_some(),
            name: self.name.clone(),
            server_connection: mesh.server_connection().cloned(),
            ..Snapshot::default()
        };
        lobby::fill(&mut snapshot, mesh);
        snapshot
    }
}
