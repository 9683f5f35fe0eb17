//! The handle that a game holds.

use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use voicemesh_common::get_mut;
use voicemesh_engine::{EngineOnNetwork, Mirrored, Mode, Seeds};
use voicemesh_session::{GLOBAL_GROUP, Network};
use voicemesh_wire::{DisplayName, PeerId};

use super::options::Options;
use super::orders::{Follow, ModeRequest, Orders, Start};
use super::worker::{Ends, VoiceWorker};
use crate::command::COMMANDS;
use crate::event::{Event, RoomEvent, TimedEvent};
use crate::game::{PendingPositions, TransmitOptions, VoiceAudience};
use crate::handles::{Controls, Group, Member, Microphone, ProximityGrid, Speaker, Transmission};
use crate::inbox::Wake;
use crate::join_error::JoinError;
use crate::room::{no_engine, random, refused};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::sound::Sound;
use crate::voice_loop::{EVENTS, EventPublisher, VoiceLoop};

/// A game's voice over its own network.
///
/// Nothing runs at first. [`follow`](Self::follow) keeps it in step with the game's network;
/// [`run_as_host`](Self::run_as_host) and its siblings start it by hand. It may be started, stopped
/// and started again in any order; groups, handles and what was set of the sound stay.
///
/// No call blocks, but for dropping it, which waits for its thread: milliseconds, or as long as
/// [`stop`](Self::stop) if that is not done. A game calls
/// [`update`](Self::update) once a frame, and goes on being heard when it does not.
///
/// Members are known by a [`PeerId`] that is made of the session and the client in it, and by the
/// name that they gave. Events are those of a room, as far as there is one:
///
/// | event | here |
/// |---|---|
/// | [`RoomEvent::Joined`], [`RoomEvent::Connected`] | this program is in a session; `room` is empty |
/// | [`RoomEvent::PeerJoined`], [`RoomEvent::PeerLeft`], [`RoomEvent::Text`], [`RoomEvent::RouteChanged`] | as in a room; all who are known leave when a session ends |
/// | [`RoomEvent::EncryptionChanged`] | with [`Options::room_key`], as in a room with a key |
/// | [`RoomEvent::ServerAway`] | while it follows the game's network: it did not start, or its session is gone, and is tried again |
/// | [`RoomEvent::Refused`] | started by hand: the same, and nothing is tried (`not-started`, `not-connected`, `session-ended`, `hosting-failed`) |
/// | [`RoomEvent::Warned`] | `command`: what was asked for cannot be done; `network`: the network breaks its contract, and the rule |
/// | [`RoomEvent::Left`] | the thread has ended because the network panicked on it: nothing runs any more |
/// | voice and devices | as in a room |
///
/// [`RoomEvent::Joined`]: crate::RoomEvent::Joined
/// [`RoomEvent::Connected`]: crate::RoomEvent::Connected
/// [`RoomEvent::PeerJoined`]: crate::RoomEvent::PeerJoined
/// [`RoomEvent::PeerLeft`]: crate::RoomEvent::PeerLeft
/// [`RoomEvent::Text`]: crate::RoomEvent::Text
/// [`RoomEvent::RouteChanged`]: crate::RoomEvent::RouteChanged
/// [`RoomEvent::EncryptionChanged`]: crate::RoomEvent::EncryptionChanged
/// [`RoomEvent::ServerAway`]: crate::RoomEvent::ServerAway
/// [`RoomEvent::Refused`]: crate::RoomEvent::Refused
/// [`RoomEvent::Warned`]: crate::RoomEvent::Warned
/// [`RoomEvent::Left`]: crate::RoomEvent::Left
pub struct Voice<N: Network> {
    controls: Controls,
    orders: Arc<Orders<N>>,
    /// `Mutex` only to make the type `Sync`; always reached through `get_mut`.
    events: Mutex<Receiver<TimedEvent>>,
    /// Taken by `wait`, not yet by `poll_timed`.
    next: Option<TimedEvent>,
    /// The situation in this frame.
    snapshot: Arc<Snapshot>,
    /// What was last said of the game's network.
    followed: Option<Mode>,
    /// The thread has ended by itself, and that was said.
    has_ended: bool,
    thread: Option<JoinHandle<()>>,
}

impl<N: Network> fmt::Debug for Voice<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voice").field("controls", &self.controls).finish_non_exhaustive()
    }
}

impl<N> Voice<N>
where
    N: Network + Send + 'static,
    N::Peer: Send,
    N::ClientParameters: Send,
    N::ServerParameters: Send,
{
    /// Opens the devices and starts the thread, to which the network moves. Nothing is asked of the
    /// network yet.
    ///
    /// # Errors
    ///
    /// A name that cannot be shown, a device that cannot be opened, or a system that refuses a
    /// thread.
    pub fn new(options: Options, network: N) -> Result<Self, JoinError> {
        let started = Instant::now();
        let Options { name, sound: options, room_key } = options;
        let name = DisplayName::parse(&name).map_err(JoinError::BadName)?.as_str().to_owned();
        let wake = Wake::default();
        let sound = Sound::open(&options, &wake)?;
        let engine =
            options.engine(&name, sound.is_simulated_input(), random()?).map_err(no_engine)?;
        let (commands, command_queue) = sync_channel(COMMANDS);
        let (event_queue, events) = sync_channel(EVENTS);
        let (shared, positions) =
            (Arc::new(Shared::default()), Arc::new(PendingPositions::default()));
        let orders = Arc::new(Orders::default());
        let publisher = EventPublisher::new(
            event_queue,
            shared.clone(),
            Arc::default(),
            Arc::new(Notify::new()),
        );
        let worker = VoiceWorker::new(
            started,
            name,
            match room_key {
                Some(key) => EngineOnNetwork::encrypted(engine, network, key, seeds()?),
                None => EngineOnNetwork::new(engine, network),
            },
            VoiceLoop::new(sound, &options, publisher, positions.clone()),
            Ends { orders: orders.clone(), commands: command_queue, shared: shared.clone() },
        );
        let worker_wake = wake.clone();
        let thread = std::thread::Builder::new()
            .name("voicemesh-engine".to_owned())
            .spawn(move || worker.run(&worker_wake))
            .map_err(|error| refused("a thread for the voices", error))?;
        Ok(Self {
            snapshot: shared.snapshot(),
            controls: Controls::new(commands, started, shared, wake, positions),
            orders,
            events: Mutex::new(events),
            next: None,
            followed: None,
            has_ended: false,
            thread: Some(thread),
        })
    }
}

fn seeds() -> Result<Seeds, JoinError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(JoinError::no_random)?;
    Ok(Seeds::new(random))
}

/// # What it is
impl<N: Network> Voice<N> {
    /// Keeps it in the mode of the game's own network; call it each frame. What does not start, or
    /// is lost while the game's network is not, is tried again after 1, 2, 4 and then every 8
    /// seconds, also while the game stalls. `server` and `client` give what it takes; they are
    /// called when the mode is another than before.
    pub fn follow(
        &mut self,
        mode: Mode,
        server: impl FnOnce() -> N::ServerParameters,
        client: impl FnOnce() -> N::ClientParameters,
    ) where
        N::ServerParameters: Clone + Send + 'static,
        N::ClientParameters: Clone + Send + 'static,
    {
        if self.followed.replace(mode) == Some(mode) {
            return;
        }
        let (server, client) = (server(), client());
        let follow: Follow<N> = Box::new(move |now, mirror, engine| {
            let done = mirror.update(now, engine, mode, || server.clone(), || client.clone())?;
            Ok(matches!(done, Mirrored::Started(_)))
        });
        self.order(ModeRequest::Follow(follow));
    }

    /// Begins to join a session; ends what ran before.
    pub fn run_as_client(&mut self, parameters: N::ClientParameters) {
        self.run(Start::Client(parameters));
    }

    /// Begins to serve a session, and joins it: server and client in one program. Ends what ran
    /// before.
    pub fn run_as_host(&mut self, parameters: N::ServerParameters) {
        self.run(Start::Host(parameters));
    }

    /// Begins to serve a session, without a part in it; ends what ran before. Best with
    /// [`Options::without_devices`].
    pub fn run_as_dedicated_server(&mut self, parameters: N::ServerParameters) {
        self.run(Start::DedicatedServer(parameters));
    }

    /// Ends what runs. Harmless when nothing does. Where texts wait for the keys of others
    /// ([`Options::room_key`]) it goes on until they are sent, for at most 0.4 s; the mode of
    /// [`snapshot`](Self::snapshot) is `none` once it has ended. Dropping a voice over a
    /// [`polled`](super::polled) network does not wait so: stop it first.
    pub fn stop(&mut self) {
        self.followed = None;
        self.order(ModeRequest::Stop);
    }

    fn run(&mut self, start: Start<N>) {
        self.followed = None;
        self.order(ModeRequest::Run(start));
    }

    fn order(&self, order: ModeRequest<N>) {
        self.orders.put(order);
        self.controls.wake.wake();
    }
}

/// # Each frame
impl<N: Network> Voice<N> {
    /// Takes up the situation of this moment, which [`snapshot`](Self::snapshot) then shows for the
    /// whole frame.
    pub fn update(&mut self) {
        self.snapshot = self.controls.shared.snapshot();
    }

    /// The situation as of the last [`update`](Self::update).
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The next event, if there is one. Of more than 4096 that wait, the newest are dropped.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.poll_timed().map(|timed| timed.event)
    }

    /// The next event, if there is one, with the time at which it happened, since
    /// [`new`](Self::new).
    pub fn poll_timed(&mut self) -> Option<TimedEvent> {
        let next = self.next.take();
        match next.map_or_else(|| get_mut(&mut self.events).try_recv(), Ok) {
            Ok(timed) => Some(timed),
            Err(TryRecvError::Disconnected) if !self.has_ended => {
                self.has_ended = true;
                let at = self.controls.started.elapsed();
                Some(TimedEvent { at, event: RoomEvent::Left.into() })
            }
            Err(TryRecvError::Disconnected | TryRecvError::Empty) => None,
        }
    }

    /// Blocks until there is an event to poll, at most for this long. For programs without frames.
    #[expect(
        clippy::disallowed_methods,
        reason = "the thread has ended: no event can come any more"
    )]
    pub fn wait(&mut self, at_most: Duration) {
        if self.next.is_none() {
            match get_mut(&mut self.events).recv_timeout(at_most) {
                Ok(timed) => self.next = Some(timed),
                Err(RecvTimeoutError::Timeout) => {}
                // A caller that waits in a loop must not spin.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(at_most),
            }
        }
    }
}

/// # Handles
impl<N: Network> Voice<N> {
    /// What this program sends.
    pub fn microphone(&self) -> Microphone<'_> {
        Microphone::new(&self.controls)
    }

    /// What this program plays.
    pub fn speaker(&self) -> Speaker<'_> {
        Speaker::new(&self.controls)
    }

    /// Another member.
    pub fn member(&self, peer: PeerId) -> Member<'_> {
        Member::new(&self.controls, peer)
    }

    /// A talk group.
    pub fn group<'a>(&'a self, name: &'a str) -> Group<'a> {
        Group::new(&self.controls, name)
    }

    /// Speaks to an audience for as long as the handle is held; see
    /// [`Room::transmit_to`](crate::Room::transmit_to).
    #[must_use = "dropping the handle ends the transmission"]
    pub fn transmit_to(&self, audience: VoiceAudience, options: TransmitOptions) -> Transmission {
        self.controls.transmit_to(audience, options)
    }

    /// Listens to those around this position, and speaks to them; see
    /// [`Room::move_in`](crate::Room::move_in).
    pub fn move_in(&self, grid: &mut ProximityGrid, position: [f32; 3]) {
        self.controls.move_in(grid, position);
    }

    /// Stops listening and speaking to a grid's groups.
    pub fn leave_grid(&self, grid: &mut ProximityGrid) {
        self.controls.leave_grid(grid);
    }

    /// Writes to everyone who listens to the group `Global`, in which all begin.
    pub fn send_text(&self, text: &str) {
        self.group(GLOBAL_GROUP).send_text(text);
    }
}

impl<N: Network> Drop for Voice<N> {
    fn drop(&mut self) {
        self.controls.shared.request_leave();
        self.controls.wake.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
