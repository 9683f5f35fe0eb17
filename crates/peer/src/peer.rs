//! The handle that a program holds.

mod game;
mod lobby;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::Notify;
use voicemesh_audio::process::{Activation, Processing};
use voicemesh_device::{InputSpec, OutputSpec};
use voicemesh_engine::{EngineConfig, EngineOnNetwork, VoiceEngine};
use voicemesh_session::{GLOBAL_GROUP, Reliability};
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{AccessToken, ErrorCode};

use crate::carrier::RealCarrier;
use crate::command::{COMMANDS, Command, TextTo};
use crate::connect::Connector;
use crate::data::{DataCommand, MESSAGES, SendError, SendLedger};
use crate::event::{Event, Snapshot, TimedEvent};
use crate::game::{JOINED, PendingPositions};
use crate::identity::{Identity, state_dir_or_default};
use crate::inbox::{Wake, queues};
use crate::join_error::JoinError;
use crate::lobby::ConnectError;
use crate::options::JoinOptions;
use crate::record::{RecordError, Recorder};
use crate::server_url::ServerUrl;
use crate::shared::Shared;
use crate::sound::Sound;
use crate::tls::Tls;
use crate::worker::{EVENTS, Ends, RECORDING, Worker};
use voicemesh_mesh::{Carried, Mesh, MeshConfig, TransactionId};

/// How long leaving waits for the farewell to be written.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// This program's own place in a room. Dropping it leaves.
#[derive(Debug)]
pub struct Peer {
    commands: SyncSender<Command>,
    /// `Mutex` only to make the handle `Sync`; always reached through `get_mut`.
    events: Mutex<Receiver<TimedEvent>>,
    /// Taken by `wait`, not yet by `poll`.
    next: VecDeque<TimedEvent>,
    has_left: bool,
    desk: Arc<SendLedger>,
    told: Arc<Notify>,
    /// Orders that wait for [`flush`](Self::flush).
    held: VecDeque<DataCommand>,
    manual_flush: bool,
    started: Instant,
    shared: Arc<Shared>,
    wake: Wake,
    /// Positions that the engine has not taken yet.
    places: Arc<PendingPositions>,
    /// Of the next handle to speak by.
    speaking_handles: AtomicU64,
    thread: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
    /// Disconnected when every socket has said goodbye.
    farewells: Mutex<Receiver<Infallible>>,
    /// Held while this peer lives: that of the server, and that of the same one without TLS, if it may come to that.
    _identities: (Identity, Option<Identity>),
    transactions: AtomicU64,
    /// Alive while a recording is kept.
    recording: Mutex<Weak<()>>,
}

impl Peer {
    /// Begins to join. Events report whether that works: [`Event::Joined`], [`Event::ServerAway`],
    /// [`Event::Refused`].
    ///
    /// # Errors
    ///
    /// When it cannot even begin: no such device, no such address.
    pub fn join(options: JoinOptions) -> Result<Self, JoinError> {
        let started = Instant::now();
        let mut options = options.follow_link()?;
        let url = options.checked_server()?;
        let (room, name) = options.checked_names()?;
        (options.room, options.name) = (room.as_str().to_owned(), name.as_str().to_owned());
        let tls = Tls::new(options.extra_root_pem.as_deref())?;
        let proxy = options.chosen_proxy(&url)?;
        let state_dir = state_dir_or_default(options.state_dir.as_deref());
        let connector = Connector::new(url.clone(), tls, proxy, options.has_secret(), state_dir);
        let load = |url: &ServerUrl| {
            Identity::load(options.state_dir.as_deref(), &url.origin(), room.key()).map_err(refused_by_system)
        };
        let identity = load(&url)?;
        let without_tls = connector.may_go_without_tls().then(|| load(&url.without_tls())).transpose()?;
        let recorder = options.record.as_deref().map(Recorder::start).transpose().map_err(JoinError::Recording)?;
        let wake = Wake::default();
        let sound = Sound::open(&options, &wake)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("voicemesh-io")
            .enable_all()
            .build()
            .map_err(refused_by_system)?;
        let (inbox, arrivals) = queues(wake.clone());
        let (farewell, farewells) = sync_channel(0);
        let carrier = RealCarrier::new(runtime.handle().clone(), Arc::new(connector), inbox, farewell);
        let mesh = Mesh::new(mesh_config(&options, &identity, without_tls.as_ref())?);
        let config = EngineConfig {
            speech: options.speech,
            microphone: options.microphone().config(sound.is_simulated_input()),
            uplink_bps: options.uplink_bps,
            ..EngineConfig::new(options.name.clone(), random()?)
        };
        let engine = VoiceEngine::new(config).map_err(refused_by_system)?;
        let mut comms = EngineOnNetwork::new(engine, Carried::new(mesh, carrier));
        comms.set_muted(options.muted);
        comms.run_as_client(started.elapsed(), ()).map_err(refused_by_system)?;
        let (commands, command_queue) = sync_channel(COMMANDS);
        let (event_queue, events) = sync_channel(EVENTS + 2 * MESSAGES);
        if let Some((code, message)) = identity.warning() {
            let code = ErrorCode::Other(code.to_owned());
            // The queue is new and has room.
            let _ = event_queue
                .try_send(TimedEvent { at: started.elapsed(), event: Event::Warned { code, message, text: None } });
        }
        let shared = Arc::new(Shared::default());
        let (desk, told) = (Arc::new(SendLedger::default()), Arc::new(Notify::new()));
        let places = Arc::new(PendingPositions::default());
        let ends = Ends {
            arrivals,
            commands: command_queue,
            events: event_queue,
            shared: shared.clone(),
            desk: desk.clone(),
            told: told.clone(),
            places: places.clone(),
        };
        let tickets = identity.ticket_file(options.password.as_ref());
        let recording = Mutex::new(recorder.as_ref().map_or_else(Weak::new, Recorder::lease));
        let worker = Worker::new(started, comms, sound, tickets, recorder, ends, &options);
        let worker_wake = wake.clone();
        let thread = std::thread::Builder::new()
            .name("voicemesh-engine".to_owned())
            .spawn(move || worker.run(&worker_wake))
            .map_err(refused_by_system)?;
        Ok(Self {
            commands,
            events: Mutex::new(events),
            next: VecDeque::new(),
            has_left: false,
            started,
            shared,
            wake,
            desk,
            told,
            held: VecDeque::new(),
            manual_flush: options.manual_flush,
            places,
            speaking_handles: AtomicU64::new(JOINED + 1),
            thread: Some(thread),
            runtime: Some(runtime),
            farewells: Mutex::new(farewells),
            _identities: (identity, without_tls),
            transactions: AtomicU64::new(1),
            recording,
        })
    }

    /// The next thing that happened, if anything did. Never blocks. The order is that in which things happened.
    pub fn poll(&mut self) -> Option<Event> {
        self.poll_stamped().map(|stamped| stamped.event)
    }

    /// The same, with the moment at which it happened.
    pub fn poll_stamped(&mut self) -> Option<TimedEvent> {
        let next = self.next.pop_front().map_or_else(|| alone(&mut self.events).try_recv(), Ok);
        match next {
            Ok(stamped) => {
                self.desk.polled(&stamped.event);
                self.has_left |= stamped.event == Event::Left;
                Some(stamped)
            }
            // The engine ended without saying so, which it does only by a fault of ours: the caller must not wait for it.
            Err(TryRecvError::Disconnected) if !self.has_left => {
                self.has_left = true;
                Some(TimedEvent { at: self.started.elapsed(), event: Event::Left })
            }
            Err(TryRecvError::Disconnected | TryRecvError::Empty) => None,
        }
    }

    /// The next thing that happens, as soon as it does; `None` once this peer has left. For servers and bots; on any executor.
    /// Dropping the future loses nothing.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            let told = self.told.clone();
            let told = told.notified();
            if let Some(event) = self.poll() {
                return Some(event);
            }
            if self.has_left {
                return None;
            }
            told.await;
        }
    }

    /// Sends a message to one peer, directly where a link carries it, else through the server. A reliable one (at most
    /// 256 KiB) arrives exact, complete and in order as long as both stay in the room, over any change of route; an unreliable
    /// one (at most 1,100 bytes) may be lost, doubled or overtaken. The bytes are copied.
    ///
    /// # Errors
    ///
    /// When the message is not taken; see [`SendError`]. Nothing that was taken is dropped without a word, but for
    /// unreliable messages.
    pub fn send(&mut self, to: PeerId, data: &[u8], how: Reliability) -> Result<(), SendError> {
        self.check_here()?;
        let order = self.desk.send(to, how, data)?;
        self.order(order);
        Ok(())
    }

    /// Sends a message to everyone in the room who takes messages, once each.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); the message is then sent to no peer.
    pub fn send_to_all(&mut self, data: &[u8], how: Reliability) -> Result<(), SendError> {
        self.check_here()?;
        self.desk.send_to_all(how, data, &mut self.held)?;
        self.flush_automatically();
        Ok(())
    }

    /// Opens a data channel to a peer from this side. Data flows once the other side has opened the same number alike
    /// ([`Event::ChannelOpened`]); until then it waits here. Opening it as another kind closes it first.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn open_channel(&mut self, peer: PeerId, channel: u8, how: Reliability) -> Result<(), SendError> {
        self.check_here()?;
        let order = self.desk.open(peer, channel, how)?;
        self.order(order);
        Ok(())
    }

    /// Closes a data channel to a peer; what it sent before arrives. Harmless when it is not open.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn close_channel(&mut self, peer: PeerId, channel: u8) -> Result<(), SendError> {
        self.check_here()?;
        let order = self.desk.close(peer, channel)?;
        self.order(order);
        Ok(())
    }

    /// Sends a message on a data channel that this side has open.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send_on(&mut self, peer: PeerId, channel: u8, data: &[u8]) -> Result<(), SendError> {
        self.check_here()?;
        let order = self.desk.send_on(peer, channel, data)?;
        self.order(order);
        Ok(())
    }

    /// Closes every data channel with a peer, and drops what waits to be sent to it. The peer stays in the room, and is
    /// heard; it receives [`Event::Disconnected`].
    pub fn disconnect(&mut self, peer: PeerId) {
        if let Some(order) = self.desk.disconnect(peer) {
            self.order(order);
        }
    }

    /// Reliable bytes that wait to be sent to a peer, or of which it has not said that they arrived. Each message counts 64
    /// more.
    pub fn queued_bytes(&self, peer: PeerId) -> usize {
        self.desk.queued_bytes(peer)
    }

    /// Lets what was sent since the last time leave; see [`JoinOptions::manual_flush`]. Otherwise it does nothing.
    pub fn flush(&mut self) {
        if !self.held.is_empty() {
            self.desk.give(self.held.drain(..));
            self.wake.wake();
        }
    }

    /// Waits until there is something to poll, at most so long. For programs without a loop of their own.
    #[expect(clippy::disallowed_methods, reason = "the worker has left: no event can come any more")]
    pub fn wait(&mut self, at_most: Duration) {
        if self.next.is_empty() {
            match alone(&mut self.events).recv_timeout(at_most) {
                Ok(event) => self.next.push_back(event),
                Err(RecvTimeoutError::Timeout) => {}
                // It has left: a caller that waits in a loop must not spin.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(at_most),
            }
        }
    }

    /// The situation as of a few milliseconds ago. It knows of everyone whom an event has told of before.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.shared.snapshot())
    }

    /// Muted, nothing is sent.
    pub fn set_muted(&self, muted: bool) {
        self.command(Command::SetMuted(muted));
    }

    /// Whether the key to talk is held. It matters with push-to-talk only.
    pub fn set_talking(&self, talking: bool) {
        self.command(Command::SetTalking(talking));
    }

    /// What is done to the microphone's sound, from now on.
    pub fn set_processing(&self, processing: Processing) {
        self.command(Command::SetProcessing(processing));
    }

    /// When the microphone's sound is sent, from now on.
    pub fn set_activation(&self, activation: Activation) {
        self.command(Command::SetActivation(activation));
    }

    /// Changes the microphone. The one in use goes on until the new one is open; [`Event::Warned`] reports one that
    /// cannot be opened.
    pub fn set_input(&self, input: InputSpec) {
        self.command(Command::SetInput(input));
    }

    /// Changes the speaker; otherwise as [`set_input`](Self::set_input).
    pub fn set_output(&self, output: OutputSpec) {
        self.command(Command::SetOutput(output));
    }

    /// Deafened, nothing is heard.
    pub fn set_deafened(&self, deafened: bool) {
        self.command(Command::SetDeafened(deafened));
    }

    /// How loud one peer is heard: a factor, 1.0 as spoken, at most 4.0.
    pub fn set_gain(&self, peer: PeerId, gain: f32) {
        self.command(Command::SetGain(peer, gain));
    }

    /// Whether one peer is not heard.
    pub fn set_peer_muted(&self, peer: PeerId, muted: bool) {
        self.command(Command::SetPeerMuted(peer, muted));
    }

    /// The access token from now on; answers [`Event::TokenNeeded`].
    pub fn set_token(&self, token: impl Into<AccessToken>) {
        self.command(Command::SetToken(token.into()));
    }

    /// Writes to everyone who listens to the group `Global`, in which all begin. A text that cannot be sent raises [`Event::Warned`].
    pub fn send_text(&self, text: &str) {
        self.send_group_text(GLOBAL_GROUP, text);
    }

    /// Writes to one peer.
    pub fn send_private_text(&self, to: PeerId, text: &str) {
        self.command(Command::SendText(TextTo::Peer(to), text.to_owned()));
    }

    /// Writes to everyone who listens to a talk group, whose name has at most 256 bytes. This peer need not listen to it. A text
    /// that cannot be sent raises [`Event::Warned`].
    pub fn send_group_text(&self, group: &str, text: &str) {
        self.command(Command::SendText(TextTo::Group(group.to_owned()), text.to_owned()));
    }

    /// Begins to listen and speak to a talk group.
    pub fn join_group(&self, name: &str) {
        self.command(Command::JoinGroup(name.to_owned()));
    }

    /// Ceases to listen and speak to a talk group. Everybody begins in the group `Global`, and may leave it.
    pub fn leave_group(&self, name: &str) {
        self.command(Command::LeaveGroup(name.to_owned()));
    }

    /// Begins a recording of the room in this folder, one file per speaker, as [`JoinOptions::record`] does at the join. Nothing is
    /// recorded before everyone in the room can see that it is on, which is when
    /// [`Snapshot::recording`] says so, a round trip to the server later; [`Event::RecordingFailed`] says that it comes to
    /// nothing. Members whom the server has lost are left out until they are back. A recording that has begun goes on while the
    /// server is away: those who hear each other have seen it.
    ///
    /// # Errors
    ///
    /// See [`RecordError`].
    pub fn start_recording(&self, folder: impl AsRef<Path>) -> Result<(), RecordError> {
        let snapshot = self.shared.snapshot();
        if self.has_left || self.thread.is_none() {
            return Err(RecordError::Left);
        }
        let mut recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        if recording.strong_count() > 0 {
            return Err(RecordError::AlreadyRecording);
        }
        if !(snapshot.connected && snapshot.server_answers) {
            return Err(RecordError::ServerAway);
        }
        let recorder = Recorder::start(folder.as_ref()).map_err(RecordError::Folder)?;
        let lease = recorder.lease();
        self.try_command(Command::Record(Some(Box::new(recorder)))).map_err(|error| match error {
            ConnectError::Left => RecordError::Left,
            ConnectError::Busy | ConnectError::Token(_) => RecordError::Busy,
        })?;
        *recording = lease;
        Ok(())
    }

    /// Ends the recording, if one is kept. Another may begin at once.
    pub fn stop_recording(&self) {
        let mut recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        // Not one that is dropped where many wait: it would go on unseen by this program. The engine empties the queue every few
        // milliseconds, or has ended.
        let _ = self.commands.send(Command::Record(None));
        *recording = Weak::new();
        self.wake.wake();
    }

    /// Leaves and waits until the others have been told and what must arrive has been taken, at most a second and a half.
    /// Calling it again does nothing.
    pub fn leave(&mut self) {
        self.flush();
        if let Some(thread) = self.thread.take() {
            // The engine empties the queue every few milliseconds, or has ended.
            let _ = self.commands.send(Command::Leave);
            self.wake.wake();
            let _ = thread.join();
            let _ = alone(&mut self.farewells).recv_timeout(LEAVE_TIMEOUT);
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    fn order(&mut self, order: DataCommand) {
        self.held.push_back(order);
        self.flush_automatically();
    }

    fn flush_automatically(&mut self) {
        if !self.manual_flush {
            self.flush();
        }
    }

    fn check_here(&self) -> Result<(), SendError> {
        if self.has_left || self.thread.is_none() { Err(SendError::Left) } else { Ok(()) }
    }

    /// Drawn anew for each transaction.
    fn next_transaction(&self) -> TransactionId {
        TransactionId(self.transactions.fetch_add(1, Ordering::Relaxed))
    }

    /// For what the caller has to know the fate of.
    fn try_command(&self, command: Command) -> Result<(), ConnectError> {
        let sent = self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => ConnectError::Busy,
            TrySendError::Disconnected(_) => ConnectError::Left,
        });
        self.wake.wake();
        sent
    }

    fn command(&self, command: Command) {
        // A full queue means that the engine has not run for long; what is wanted now would come too late.
        let _ = self.commands.try_send(command);
        self.wake.wake();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What a lock holds, without locking it.
fn alone<T>(lock: &mut Mutex<T>) -> &mut T {
    lock.get_mut().unwrap_or_else(PoisonError::into_inner)
}

fn mesh_config(
    options: &JoinOptions,
    identity: &Identity,
    without_tls: Option<&Identity>,
) -> Result<MeshConfig, JoinError> {
    let mut metadata = options.metadata.clone();
    if options.echo {
        metadata.insert("kind".to_owned(), "echo".to_owned());
    }
    if options.record.is_some() {
        metadata.insert(RECORDING.to_owned(), "on".to_owned());
    }
    Ok(MeshConfig {
        room: options.room.clone(),
        name: options.name.clone(),
        proof: identity.proof,
        proof_without_tls: without_tls.map(|identity| identity.proof),
        run: random()? as u32,
        relay_only: options.relay_only,
        presence: options.presence,
        password: options.password.clone(),
        token: options.token.clone(),
        renews_token: options.renews_token,
        ticket: identity.ticket(options.password.as_ref()),
        connections: options.connections,
        metadata,
        frame_ms: voicemesh_audio::FrameDuration::ALL.iter().map(|frame| frame.millis() as u8).collect(),
        redundancy: true,
        seed: random()?,
    })
}

fn random() -> Result<u64, JoinError> {
    getrandom::u64().map_err(refused_by_system)
}

fn refused_by_system(error: impl std::fmt::Display) -> JoinError {
    JoinError::System(error.to_string())
}
