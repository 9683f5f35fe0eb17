//! What leaves the engine for the program: events, in order, and the situation as a snapshot.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use tokio::sync::Notify;
use voicemesh_engine::EngineOnNetwork;
use voicemesh_mesh::{Carried, Mesh};
use voicemesh_session::client::Participant;
use voicemesh_wire::PeerId;

use crate::carrier::RealCarrier;
use crate::data::SendLedger;
use crate::event::{
    DataEvent, Event, MicrophoneState, PeerState, QueueDrops, RoomEvent, SendingState, Snapshot,
    TimedEvent, VoiceEvent,
};
use crate::shared::Shared;

/// The snapshot is at most this old.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(20);
/// Events that the program has not taken. When there are more, new ones are dropped.
pub(crate) const EVENTS: usize = 4096;
/// The metadata by which everyone sees that a peer records.
pub(crate) const RECORDING: &str = "recording";

/// Hands events and snapshots to the program.
#[derive(Debug)]
pub(super) struct Publisher {
    events: SyncSender<TimedEvent>,
    shared: Arc<Shared>,
    ledger: Arc<SendLedger>,
    event_wake: Arc<Notify>,
    /// What happened in this turn.
    unpublished: RefCell<Vec<TimedEvent>>,
    /// Events that the program did not take in time.
    dropped: Cell<u64>,
    snapshot_due: Duration,
    known_groups: KnownGroups,
}

/// The talk groups of each member as of the last snapshot: members choose how many and how long
/// they are.
type KnownGroups = BTreeMap<PeerId, Arc<[String]>>;

/// What a snapshot is made from.
pub(super) struct Situation<'a> {
    pub engine: &'a EngineOnNetwork<Carried<RealCarrier>>,
    pub name: &'a str,
    pub talking: bool,
    pub recording: bool,
}

impl Publisher {
    pub(super) fn new(
        events: SyncSender<TimedEvent>,
        shared: Arc<Shared>,
        ledger: Arc<SendLedger>,
        event_wake: Arc<Notify>,
    ) -> Self {
        Self {
            events,
            shared,
            ledger,
            event_wake,
            unpublished: RefCell::default(),
            dropped: Cell::new(0),
            snapshot_due: Duration::ZERO,
            known_groups: KnownGroups::new(),
        }
    }

    /// An event for the program, queued at the end of this turn: by then the snapshot knows of it.
    pub(super) fn add(&self, at: Duration, event: Event) {
        if self.ledger.try_reserve(&event, EVENTS) {
            self.unpublished.borrow_mut().push(TimedEvent { at, event });
        } else {
            self.drop_event(&event);
        }
    }

    fn drop_event(&self, event: &Event) {
        self.dropped.set(self.dropped.get() + 1);
        tracing::debug!(?event, "the program does not take events; one was dropped");
    }

    /// Puts the situation where the program sees it, if it is time or something happened, and then
    /// says what did.
    pub(super) fn publish(&mut self, now: Duration, situation: &Situation<'_>) {
        let mut unpublished = self.unpublished.take();
        if now >= self.snapshot_due
            || unpublished.iter().any(|timed| changes_situation(&timed.event))
        {
            self.snapshot_due = now + SNAPSHOT_INTERVAL;
            let mut snapshot = situation.snapshot(&mut self.known_groups);
            snapshot.drops.events = self.dropped.get();
            self.shared.put(snapshot);
        }
        if unpublished.is_empty() {
            return;
        }
        for timed in unpublished.drain(..) {
            match self.events.try_send(timed) {
                Ok(()) => {}
                Err(TrySendError::Full(lost)) => {
                    self.ledger.polled(&lost.event);
                    self.drop_event(&lost.event);
                }
                // The program has dropped its events, and stays: senders must not wait for it.
                Err(TrySendError::Disconnected(unwanted)) => self.ledger.polled(&unwanted.event),
            }
        }
        self.event_wake.notify_one();
        // Its memory is used again.
        self.unpublished.replace(unpublished);
    }
}

impl Situation<'_> {
    fn snapshot(&self, known_groups: &mut KnownGroups) -> Snapshot {
        let mesh = &self.engine.network().mesh;
        let peers = self.engine.peers();
        let status =
            |peer: PeerId| peers.iter().find(|status| status.who == Participant::Peer(peer));
        if known_groups.len() > mesh.members().count() {
            known_groups.retain(|peer, _| mesh.members().any(|member| member.peer == *peer));
        }
        let mut groups_of = |peer: PeerId| {
            let known = known_groups.entry(peer).or_default();
            if !known.iter().map(String::as_str).eq(self.engine.groups_of(peer)) {
                *known = self.engine.groups_of(peer).map(str::to_owned).collect();
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
                held_in: member.held_in.iter().cloned().collect(),
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
        let engine = self.engine.status();
        let speaking = self.engine.speaking_status();
        let mut snapshot = Snapshot {
            connected: engine.connected,
            server_answers: engine.connected && mesh.server_is_reached(),
            mode: match engine.mode {
                voicemesh_engine::Mode::None => "none",
                voicemesh_engine::Mode::Client => "client",
                voicemesh_engine::Mode::DedicatedServer => "server",
                voicemesh_engine::Mode::Host => "server & client",
            },
            you: Some(mesh.you()),
            peers,
            frames_spoken: self.engine.frames_spoken(),
            muted: self.engine.is_muted(),
            deafened: self.engine.is_deafened(),
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
            recording: self.recording,
            name: self.name.to_owned(),
            server_connection: mesh.server_connection().cloned(),
            drops: QueueDrops {
                events: 0,
                internal: mesh.events_dropped()
                    + mesh.outputs_dropped()
                    + self.engine.events_dropped(),
            },
            ..Snapshot::default()
        };
        fill_lobby(&mut snapshot, mesh);
        snapshot
    }
}

/// What a snapshot says of the lobby.
fn fill_lobby(snapshot: &mut Snapshot, mesh: &Mesh) {
    snapshot.owner = mesh.owner();
    snapshot.permissions = mesh.own_permissions();
    snapshot.held_in = mesh.own_held_in().iter().cloned().collect();
    snapshot.metadata = mesh.own_metadata().clone();
    snapshot.room_metadata = mesh.room_metadata().clone();
    snapshot.peers.sort_by_key(|peer| peer.order);
}

/// Whether an event tells of something that a snapshot shows and that is worth showing at once.
fn changes_situation(event: &Event) -> bool {
    !matches!(
        event,
        Event::Data(
            DataEvent::Message { .. }
                | DataEvent::ChannelMessage { .. }
                | DataEvent::ChannelOpened { .. }
                | DataEvent::ChannelMismatch { .. }
                | DataEvent::ChannelClosed { .. }
                | DataEvent::Disconnected { .. }
        ) | Event::Room(RoomEvent::Text { .. })
            | Event::Voice(VoiceEvent::Speaking { .. })
    )
}
