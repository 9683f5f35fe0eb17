//! What leaves the engine for the program: events, in order, and the situation as a snapshot.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use tokio::sync::Notify;
use voicemesh_engine::{EngineOnNetwork, Mode, PeerStatus};
use voicemesh_session::Network;
use voicemesh_wire::signaling::{MemberStatus, Metadata};
use voicemesh_wire::{PeerId, Permissions};

use crate::data::SendLedger;
use crate::event::{DataEvent, Event, RoomEvent, TimedEvent, VoiceEvent};
use crate::shared::Shared;
use crate::snapshot::{MicrophoneState, PeerState, QueueDrops, SendingState, Snapshot};

/// The snapshot is at most this old.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(20);
/// Events that the program has not taken. When there are more, new ones are dropped.
pub(crate) const EVENTS: usize = 4096;

/// Hands events and snapshots to the program.
#[derive(Debug)]
pub(crate) struct EventPublisher {
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
pub(crate) type KnownGroups = BTreeMap<PeerId, Arc<[String]>>;

impl EventPublisher {
    pub(crate) fn new(
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
    pub(super) fn publish(
        &mut self,
        now: Duration,
        situation: impl FnOnce(&mut KnownGroups) -> Snapshot,
    ) {
        let mut unpublished = self.unpublished.take();
        if now >= self.snapshot_due
            || unpublished.iter().any(|timed| changes_situation(&timed.event))
        {
            self.snapshot_due = now + SNAPSHOT_INTERVAL;
            let mut snapshot = situation(&mut self.known_groups);
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

/// What a snapshot says of a peer that is heard, whatever the network: the rest is the owner's.
pub(crate) fn peer_state<P>(
    peer: PeerId,
    name: String,
    label: String,
    status: Option<&PeerStatus<P>>,
) -> PeerState {
    let heard = status.and_then(|status| status.heard).unwrap_or_default();
    PeerState {
        peer,
        name,
        label,
        metadata: Metadata::new(),
        status: MemberStatus::default(),
        groups: Arc::default(),
        permissions: Permissions::default(),
        held_in: Arc::default(),
        order: 0,
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
        recording: false,
        gain: status.map_or(1.0, |status| status.gain),
        muted: status.is_some_and(|status| status.muted),
        encryption: None,
    }
}

/// What a snapshot says of the own voice, whatever the network: the rest is the owner's.
pub(crate) fn voice_state<N: Network>(engine: &EngineOnNetwork<N>, is_talking: bool) -> Snapshot {
    let speaking = engine.speaking_status();
    Snapshot {
        connected: engine.is_connected(),
        mode: match engine.mode() {
            Mode::None => "none",
            Mode::Client => "client",
            Mode::DedicatedServer => "server",
            Mode::Host => "server & client",
        },
        frames_spoken: engine.frames_spoken(),
        muted: engine.is_muted(),
        deafened: engine.is_deafened(),
        microphone: MicrophoneState {
            level_dbfs: speaking.level.level_dbfs,
            peak_dbfs: speaking.level.peak_dbfs,
            noise_floor_dbfs: speaking.level.noise_floor_dbfs,
            clipping: speaking.level.clipping,
            speech_probability: speaking.level.speech_probability,
            sending: speaking.sending,
        },
        talking: is_talking,
        sending: SendingState {
            bitrate_bps: speaking.bitrate_bps,
            worst_loss: speaking.worst_loss,
            copies: speaking.copies,
            uplink_bps: speaking.uplink_bps,
            frames_per_packet: speaking.frames_per_packet,
            uplink_estimate_bps: speaking.uplink.estimate_bps,
            upload_too_slow: speaking.uplink.is_too_slow,
        },
        drops: QueueDrops { events: 0, internal: engine.events_dropped() },
        ..Snapshot::default()
    }
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
