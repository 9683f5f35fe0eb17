//! A link's task: owns the connection, empties the queues, and is the only caller of the sink.

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use voicemesh_common::RoundTrip;
use voicemesh_wire::signaling::Signal;
use webrtc::data_channel::DataChannelEvent;
use webrtc::peer_connection::{RTCIceCandidateInit, RTCSessionDescription};

use crate::addresses::Addresses;
use crate::check_budget::CheckBudget;
use crate::connection::{Connection, ROUNDS_TO_FLUSH, Reports, TurnServers};
use crate::fragment::{self, Fragmenter, Joined, Reassembler};
use crate::in_flight::{InFlight, chunk_bytes};
use crate::limits::{
    ACKNOWLEDGEMENT_DELAY, ANSWER_WAIT, DATAGRAM_CHUNK_BYTES, FRAGMENT_BYTES, IN_FLIGHT_BYTES,
    IN_FLIGHT_FOR_VOICE_BYTES, LOSSY_PACKET_BYTES, NUDGE_INTERVAL, OPEN_LIMIT, REMOTE_CANDIDATES,
    RETRY_INTERVAL, ROUND_TRIP_INTERVAL, SETTLE_INTERVAL,
};
use crate::openings::{Openings, Turn};
use crate::pace::Pacer;
use crate::queues::{LinkQueues, LossyPacket, LossyStream};
use crate::remote::{Candidate, Description, classify_candidate};
use crate::runtime::Lookups;
use crate::{CloseReason, LinkConfig, LinkEvent, LinkSink, Role, Stream};

/// What a link is made of.
pub(crate) struct Setup {
    pub(crate) config: LinkConfig,
    pub(crate) addresses: Addresses,
    pub(crate) lookups: Arc<Lookups>,
    pub(crate) checks: Arc<CheckBudget>,
    pub(crate) openings: Arc<Openings>,
}

/// TURN servers that have not answered by then are reported. They are asked seven times, for 7.8 s.
const TURN_ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// A new sample of the round trip counts for a half: with one every few seconds, more smoothing
/// would show the path of a minute ago.
const ROUND_TRIP_PARTS: u32 = 2;

/// The whole life of a link. Says that it is over even if it is never polled, as on a runtime that
/// has ended.
pub(crate) fn run(
    setup: Setup,
    queues: Arc<LinkQueues>,
    sink: Arc<dyn LinkSink>,
) -> impl Future<Output = ()> + Send + 'static {
    let farewell = Farewell { queues: Arc::clone(&queues), sink: Arc::clone(&sink), reason: None };
    live(setup, queues, sink, farewell)
}

async fn live(
    setup: Setup,
    queues: Arc<LinkQueues>,
    sink: Arc<dyn LinkSink>,
    mut farewell: Farewell,
) {
    let Setup { config, addresses, lookups, checks, openings } = &setup;
    let turn = match turn(openings, config, &queues).await {
        Ok(turn) => turn,
        Err(reason) => {
            farewell.reason = Some(reason);
            return;
        }
    };
    let connected = Connection::new(config, addresses, lookups, checks, queues.wire(), openings);
    let (connection, reports) = match connected.await {
        Ok(connected) => connected,
        Err(error) => {
            farewell.reason = Some(CloseReason::Internal(error.to_string()));
            return;
        }
    };
    // The stack reads what a remote wrote: should it panic, only this link may end.
    let mut task = LinkTask::new(&connection, setup.config.role, turn, queues, sink);
    let reason = AssertUnwindSafe(task.drive(reports)).catch_unwind().await;
    farewell.reason =
        Some(reason.unwrap_or_else(|_| CloseReason::Internal("the stack panicked".to_owned())));
    drop(farewell);
    drop(task);
    connection.is_closing();
    let closed = AssertUnwindSafe(connection.peer.close()).catch_unwind().await;
    if !matches!(closed, Ok(Ok(()))) {
        tracing::debug!("a connection did not close cleanly");
    }
}

/// Waits for a turn to open, unless the link is closed before. An answer does not wait until the
/// offer has been given up.
#[expect(clippy::disallowed_methods, reason = "a time limit: the turn may come before")]
async fn turn(
    openings: &Openings,
    config: &LinkConfig,
    queues: &LinkQueues,
) -> Result<Turn, CloseReason> {
    let mut turn = pin!(openings.turn(config.role, config.remote));
    let mut late = pin!(tokio::time::sleep(ANSWER_WAIT));
    while !queues.is_closing() {
        tokio::select! {
            turn = turn.as_mut() => return Ok(turn),
            () = late.as_mut(), if config.role == Role::Answer => return Err(CloseReason::OpenTimeout),
            // Signals wait in the queues.
            () = queues.woken() => {}
        }
    }
    Err(CloseReason::Local)
}

/// Says [`LinkEvent::Closed`] when it goes, whichever way that is.
struct Farewell {
    queues: Arc<LinkQueues>,
    sink: Arc<dyn LinkSink>,
    reason: Option<CloseReason>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.queues.shut();
        let reason = self
            .reason
            .take()
            .unwrap_or_else(|| CloseReason::Internal("the runtime ended".to_owned()));
        tracing::debug!(%reason, "link closed");
        self.sink.event(LinkEvent::Closed(reason));
    }
}

struct LinkTask<'a> {
    connection: &'a Connection,
    role: Role,
    queues: Arc<LinkQueues>,
    sink: Arc<dyn LinkSink>,
    negotiation: Negotiation,
    remote_candidates: usize,
    /// While the link opens.
    turn: Option<Turn>,
    progress: Progress,
    voice: Pacer,
    unreliable: Pacer,
    reliable_in_flight: InFlight,
    datagram: Datagram,
    fragmenter: Option<Fragmenter>,
    reassembler: Reassembler,
    round_trip: RoundTrip,
    /// The stack's latest measurement, to know a new one by.
    last_stun_round_trip: Option<Duration>,
    /// When to look again at what is in flight or waits.
    look_again: Option<Instant>,
}

/// What SCTP has been handed and may bundle in one datagram.
#[derive(Default)]
struct Datagram {
    chunk_bytes: usize,
    /// Its only message is to stay alone.
    is_closed: bool,
    /// The driver's rounds when the latest part was handed over.
    round: u64,
}

/// How far the two descriptions have come.
enum Negotiation {
    /// Without the remote's description; its candidates wait for it.
    Awaiting { held: Vec<String> },
    /// Both sides have described themselves.
    Described,
}

enum Progress {
    Opening { since: Instant, next_nudge: Instant },
    Open { next_round_trip: Instant },
}

/// What is left of a stream after sending what could be sent; the later, the sooner to look again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Backlog {
    Nothing,
    InFlight,
    Waiting,
}

impl<'a> LinkTask<'a> {
    fn new(
        connection: &'a Connection,
        role: Role,
        turn: Turn,
        queues: Arc<LinkQueues>,
        sink: Arc<dyn LinkSink>,
    ) -> Self {
        let now = Instant::now();
        Self {
            connection,
            role,
            queues,
            sink,
            negotiation: Negotiation::Awaiting { held: Vec::new() },
            remote_candidates: 0,
            turn: Some(turn),
            progress: Progress::Opening { since: now, next_nudge: now + NUDGE_INTERVAL },
            voice: Pacer::new(now),
            unreliable: Pacer::new(now),
            reliable_in_flight: InFlight::default(),
            datagram: Datagram::default(),
            fragmenter: None,
            reassembler: Reassembler::default(),
            round_trip: RoundTrip::with_parts(ROUND_TRIP_PARTS),
            last_stun_round_trip: None,
            look_again: None,
        }
    }

    /// Runs until the link is over, and says why it is.
    async fn drive(&mut self, mut reports: Reports) -> CloseReason {
        let mut channels = self.connection.events();
        if self.role == Role::Offer
            && let Err(reason) = self.offer().await
        {
            return reason;
        }
        // What came before the link's turn.
        if let Err(reason) = self.send_queued().await {
            return reason;
        }
        let mut timer = pin!(tokio::time::sleep_until(self.wake_at()));
        let mut turn_is_late = pin!(tokio::time::sleep_until(Instant::now() + TURN_ANSWERS_WITHIN));
        let mut looks_at_turn = true;
        loop {
            let step = tokio::select! {
                biased;
                () = self.queues.woken() => self.send_queued().await,
                Ok(()) = reports.fate.changed() => match reports.fate.borrow_and_update().clone() {
                    Some(reason) => Err(reason),
                    None => Ok(()),
                },
                Ok(()) = reports.driver_ended.changed() => {
                    Err(CloseReason::Internal("the stack's driver ended".to_owned()))
                }
                Some(signal) = reports.signals.recv() => {
                    self.sink.event(LinkEvent::Signal(signal));
                    Ok(())
                }
                // Once: a server that answers later is used all the same.
                has_failed = turn_failed(&mut reports.turn, turn_is_late.as_mut()), if looks_at_turn => {
                    looks_at_turn = false;
                    if has_failed {
                        self.sink.event(LinkEvent::TurnFailed);
                    }
                    Ok(())
                }
                Some((stream, event)) = channels.next() => self.channel_event(stream, event).await,
                () = timer.as_mut() => self.tick().await,
            };
            if let Err(reason) = step {
                return reason;
            }
            let wake_at = self.wake_at();
            if wake_at != timer.deadline() {
                timer.as_mut().reset(wake_at);
            }
        }
    }

    /// When to look around even if nothing happens.
    fn wake_at(&self) -> Instant {
        match self.progress {
            Progress::Opening { next_nudge, .. } => next_nudge,
            Progress::Open { next_round_trip } => self
                .look_again
                .map_or(next_round_trip, |look_again| look_again.min(next_round_trip)),
        }
    }

    async fn tick(&mut self) -> Result<(), CloseReason> {
        let now = Instant::now();
        match self.progress {
            Progress::Opening { since, .. }
                if now.saturating_duration_since(since) >= OPEN_LIMIT =>
            {
                Err(CloseReason::OpenTimeout)
            }
            Progress::Opening { since, .. } => {
                self.progress = Progress::Opening { since, next_nudge: now + NUDGE_INTERVAL };
                self.connection.nudge().await;
                Ok(())
            }
            Progress::Open { next_round_trip } => {
                if now >= next_round_trip
                    && let Some(round_trip) = self.measure_round_trip(now).await
                {
                    self.answered(round_trip);
                }
                self.send_waiting().await
            }
        }
    }

    /// STUN measures with every keep-alive; in between, the acknowledgements of voice bound the
    /// round trip from above. Gives the round trip of a keep-alive that was answered since the last
    /// call.
    async fn measure_round_trip(&mut self, now: Instant) -> Option<Duration> {
        self.progress = Progress::Open { next_round_trip: now + ROUND_TRIP_INTERVAL };
        let last = self.connection.round_trip().await;
        let answered = last.filter(|_| last != self.last_stun_round_trip);
        if let Some(sample) = answered {
            self.last_stun_round_trip = last;
            self.round_trip.measured(sample);
        }
        if let Some(acknowledged) = self.voice.take_fastest_acknowledgement()
            && self.round_trip.smoothed().is_none_or(|known| {
                acknowledged < known || acknowledged > known + ACKNOWLEDGEMENT_DELAY
            })
        {
            self.round_trip.replace(acknowledged);
        }
        let round_trip = self.round_trip.smoothed();
        self.queues.count(|stats| stats.round_trip = round_trip);
        answered
    }

    async fn send_queued(&mut self) -> Result<(), CloseReason> {
        if self.queues.is_closing() {
            return Err(CloseReason::Local);
        }
        while let Some(signal) = self.queues.next_signal() {
            self.apply(signal).await?;
        }
        self.send_waiting().await
    }

    // Negotiation.

    async fn offer(&mut self) -> Result<(), CloseReason> {
        let description = self.connection.peer.create_offer(None).await.map_err(internal)?;
        // Told before it is applied: candidates come as soon as it is.
        self.sink.event(LinkEvent::Signal(Signal::Offer { sdp: description.sdp.clone() }));
        self.connection.peer.set_local_description(description).await.map_err(internal)
    }

    async fn answer(&mut self) -> Result<(), CloseReason> {
        let description = self.connection.peer.create_answer(None).await.map_err(negotiation)?;
        self.sink.event(LinkEvent::Signal(Signal::Answer { sdp: description.sdp.clone() }));
        self.connection.peer.set_local_description(description).await.map_err(negotiation)
    }

    async fn apply(&mut self, signal: Signal) -> Result<(), CloseReason> {
        match (signal, &self.negotiation, self.role) {
            (Signal::Answer { sdp }, Negotiation::Awaiting { .. }, Role::Offer) => {
                self.describe_remote(&sdp, RTCSessionDescription::answer).await
            }
            (Signal::Offer { sdp }, Negotiation::Awaiting { .. }, Role::Answer) => {
                self.describe_remote(&sdp, RTCSessionDescription::offer).await?;
                self.answer().await
            }
            (Signal::Candidate { candidate, .. }, _, _) => {
                self.remote_candidate(candidate).await;
                Ok(())
            }
            (Signal::EndOfCandidates, _, _) => Ok(()),
            // Meant for the owner of the links, or said twice.
            (Signal::Offer { .. } | Signal::Answer { .. } | Signal::RequestOffer, _, _) => {
                self.queues.count(|stats| stats.signals_refused += 1);
                Ok(())
            }
        }
    }

    async fn describe_remote(
        &mut self,
        sdp: &str,
        description: impl FnOnce(String) -> Result<RTCSessionDescription, webrtc::error::Error>,
    ) -> Result<(), CloseReason> {
        let Description { sdp, candidates } =
            Description::parse(sdp).map_err(|wrong| CloseReason::Negotiation(wrong.to_owned()))?;
        let description = description(sdp).map_err(negotiation)?;
        self.connection.peer.set_remote_description(description).await.map_err(negotiation)?;
        let held = match std::mem::replace(&mut self.negotiation, Negotiation::Described) {
            Negotiation::Awaiting { held } => held,
            Negotiation::Described => Vec::new(),
        };
        for candidate in held {
            self.check_candidate(candidate).await;
        }
        for candidate in candidates {
            self.remote_candidate(candidate).await;
        }
        Ok(())
    }

    async fn remote_candidate(&mut self, candidate: String) {
        match classify_candidate(&candidate) {
            Candidate::Ignored => return,
            Candidate::Usable if self.remote_candidates < REMOTE_CANDIDATES => {
                self.remote_candidates += 1
            }
            Candidate::Usable | Candidate::Refused => {
                self.queues.count(|stats| stats.signals_refused += 1);
                return;
            }
        }
        match &mut self.negotiation {
            Negotiation::Awaiting { held } => held.push(candidate),
            Negotiation::Described => self.check_candidate(candidate).await,
        }
    }

    async fn check_candidate(&mut self, candidate: String) {
        let candidate = RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() };
        if let Err(error) = self.connection.peer.add_ice_candidate(candidate).await {
            tracing::debug!(%error, "a remote candidate cannot be used");
            self.queues.count(|stats| stats.signals_refused += 1);
        }
        self.connection.nudge().await;
    }

    // Receiving.

    async fn channel_event(
        &mut self,
        stream: Stream,
        event: Option<DataChannelEvent>,
    ) -> Result<(), CloseReason> {
        match event {
            Some(DataChannelEvent::OnOpen) => self.channel_opened().await,
            Some(DataChannelEvent::OnMessage(message)) => {
                // The three channels open together, but tell it one by one; and only a remote that
                // is ready sends.
                self.channel_opened().await?;
                self.opened().await;
                self.received(stream, message.data);
                Ok(())
            }
            Some(DataChannelEvent::OnBufferedAmountLow) => self.send_waiting().await,
            Some(DataChannelEvent::OnClosing | DataChannelEvent::OnClose) | None => {
                Err(CloseReason::Remote)
            }
            Some(_) => Ok(()),
        }
    }

    /// An answerer is open now; an offerer once it hears that the answerer is.
    async fn channel_opened(&mut self) -> Result<(), CloseReason> {
        self.connection.is_set_up();
        if self.role == Role::Answer && matches!(self.progress, Progress::Opening { .. }) {
            self.connection.reliable.send(fragment::ready()).await.map_err(gone)?;
            self.opened().await;
        }
        Ok(())
    }

    async fn opened(&mut self) {
        let Progress::Opening { since, .. } = self.progress else { return };
        let now = Instant::now();
        let opened_after = now.saturating_duration_since(since);
        if let Some(turn) = self.turn.take() {
            turn.opened();
        }
        let answered = self.measure_round_trip(now).await;
        let low = FRAGMENT_BYTES as u32;
        let _ = self.connection.reliable.set_buffered_amount_low_threshold(low).await;
        self.queues.count(|stats| stats.opened_after = Some(opened_after));
        self.queues.open();
        self.sink.event(LinkEvent::Open);
        if let Some(round_trip) = answered {
            self.answered(round_trip);
        }
    }

    fn answered(&self, round_trip: Duration) {
        let further_header_bytes = self.queues.wire().further_header_bytes();
        self.sink.event(LinkEvent::Answered { round_trip, further_header_bytes });
    }

    fn received(&mut self, stream: Stream, message: BytesMut) {
        let packet = match stream {
            Stream::Voice | Stream::Unreliable if message.len() <= LOSSY_PACKET_BYTES => {
                message.freeze()
            }
            Stream::Voice | Stream::Unreliable => return self.refuse_message(),
            Stream::Reliable => match self.reassembler.push(message) {
                Joined::Packet(packet) => packet,
                Joined::Incomplete | Joined::Ready => return,
                Joined::Refused => return self.refuse_message(),
            },
        };
        self.queues.count(|stats| {
            stats.received_bytes += packet.len() as u64;
            *match stream {
                Stream::Voice => &mut stats.voice_received,
                Stream::Reliable => &mut stats.reliable_received,
                Stream::Unreliable => &mut stats.unreliable_received,
            } += 1;
        });
        self.sink.event(LinkEvent::Received { stream, packet });
    }

    fn refuse_message(&self) {
        self.queues.count(|stats| stats.messages_refused += 1);
    }

    // Sending.

    /// Voice first: SCTP sends what is unordered before what is ordered, and in the order it was
    /// given.
    async fn send_waiting(&mut self) -> Result<(), CloseReason> {
        if matches!(self.progress, Progress::Opening { .. }) {
            return Ok(());
        }
        let voice = self.send_lossy(LossyStream::Voice).await?;
        self.queues.set_oldest_voice(self.voice.oldest());
        let unreliable = self.send_lossy(LossyStream::Unreliable).await?;
        let reliable = self.send_reliable().await?;
        self.look_again = match voice.max(unreliable).max(reliable) {
            Backlog::Nothing => None,
            Backlog::InFlight => Some(Instant::now() + SETTLE_INTERVAL),
            Backlog::Waiting => Some(Instant::now() + RETRY_INTERVAL),
        };
        Ok(())
    }

    /// Sends what the pace allows.
    async fn send_lossy(&mut self, stream: LossyStream) -> Result<Backlog, CloseReason> {
        let connection = self.connection;
        let channel = connection.channel(stream.into());
        let (mut waiting, offered_bytes) = self.queues.peek_lossy(stream);
        let now = Instant::now();
        let pacer = self.pacer(stream);
        if pacer.oldest().is_some() {
            pacer.outstanding(now, channel.outstanding_bytes().await.map_err(gone)?);
        }
        if waiting.is_some() {
            pacer.offered(now, offered_bytes);
        }
        while let Some(bytes) = waiting
            && self.has_room(stream.into(), bytes)
            && let round_trip = self.round_trip.smoothed()
            && self.pacer(stream).admits(now, bytes, round_trip)
        {
            let Some(LossyPacket { packet, is_probe }) = self.queues.next_lossy(stream) else {
                break;
            };
            let bytes = packet.len();
            self.begin_chunk(bytes, is_probe).await;
            channel.send(writable(packet)).await.map_err(gone)?;
            self.datagram.round = connection.rounds();
            self.pacer(stream).sent(now, bytes);
            self.queues.count(|stats| {
                stats.sent_bytes += bytes as u64;
                *match stream {
                    LossyStream::Voice => &mut stats.voice_sent,
                    LossyStream::Unreliable => &mut stats.unreliable_sent,
                } += 1;
            });
            waiting = self.queues.peek_lossy(stream).0;
        }
        Ok(match (waiting, self.pacer(stream).oldest()) {
            (Some(_), _) => Backlog::Waiting,
            (None, Some(_)) => Backlog::InFlight,
            (None, None) => Backlog::Nothing,
        })
    }

    fn pacer(&mut self, stream: LossyStream) -> &mut Pacer {
        match stream {
            LossyStream::Voice => &mut self.voice,
            LossyStream::Unreliable => &mut self.unreliable,
        }
    }

    /// Whether SCTP's smallest window has room for a message.
    fn has_room(&self, stream: Stream, bytes: usize) -> bool {
        let in_flight = self.voice.outstanding_bytes()
            + self.unreliable.outstanding_bytes()
            + self.reliable_in_flight.bytes();
        let limit = match stream {
            Stream::Voice => IN_FLIGHT_BYTES,
            Stream::Reliable | Stream::Unreliable => IN_FLIGHT_BYTES - IN_FLIGHT_FOR_VOICE_BYTES,
        };
        in_flight + bytes <= limit
    }

    /// SCTP bundles what it is handed at once. Waits until it has sent that if this message would
    /// make the datagram too large, or if one of both is to be alone in it.
    async fn begin_chunk(&mut self, bytes: usize, is_alone: bool) {
        let chunk_bytes = chunk_bytes(bytes);
        if self.connection.rounds() >= self.datagram.round + ROUNDS_TO_FLUSH {
            self.datagram.chunk_bytes = 0;
        }
        let is_too_large = self.datagram.chunk_bytes + chunk_bytes > DATAGRAM_CHUNK_BYTES;
        if self.datagram.chunk_bytes > 0 && (is_too_large || is_alone || self.datagram.is_closed) {
            self.connection.flushed().await;
            self.datagram.chunk_bytes = 0;
        }
        self.datagram.chunk_bytes += chunk_bytes;
        self.datagram.is_closed = is_alone;
    }

    /// Sends what fits beside what is unacknowledged.
    async fn send_reliable(&mut self) -> Result<Backlog, CloseReason> {
        let Some(mut fragmenter) = self.next_fragmenter() else { return Ok(Backlog::Nothing) };
        let connection = self.connection;
        let channel = &connection.reliable;
        self.reliable_in_flight.outstanding(channel.outstanding_bytes().await.map_err(gone)?);
        while let bytes = fragmenter.next_bytes()
            && self.reliable_in_flight.admits(bytes)
            && self.has_room(Stream::Reliable, bytes)
        {
            let (message, is_last) = fragmenter.next();
            self.reliable_in_flight.sent(message.len());
            let payload_bytes = message.len() as u64 - 1;
            if payload_bytes > FRAGMENT_BYTES as u64 / 2 {
                // In datagrams of their own, two are acknowledged at once.
                self.connection.flushed().await;
            }
            self.begin_chunk(message.len(), false).await;
            channel.send(message).await.map_err(gone)?;
            self.datagram.round = connection.rounds();
            self.queues.count(|stats| {
                stats.sent_bytes += payload_bytes;
                stats.reliable_sent += u64::from(is_last);
            });
            if is_last {
                match self.next_fragmenter() {
                    Some(next) => fragmenter = next,
                    None => return Ok(Backlog::Nothing),
                }
            }
        }
        self.fragmenter = Some(fragmenter);
        Ok(Backlog::Waiting)
    }

    fn next_fragmenter(&mut self) -> Option<Fragmenter> {
        self.fragmenter.take().or_else(|| self.queues.next_reliable().map(Fragmenter::new))
    }
}

/// The stack wants to own the bytes; a packet that is not shared is not copied.
fn writable(packet: Bytes) -> BytesMut {
    packet.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

fn internal(error: webrtc::error::Error) -> CloseReason {
    CloseReason::Internal(error.to_string())
}

fn negotiation(error: webrtc::error::Error) -> CloseReason {
    CloseReason::Negotiation(error.to_string())
}

/// A channel that cannot send any more was closed by the remote: this side closes all of them at
/// once.
fn gone(error: webrtc::error::Error) -> CloseReason {
    tracing::debug!(%error, "a channel is gone");
    CloseReason::Remote
}

/// Whether all TURN servers have failed, once it is known: they have refused, or said nothing.
async fn turn_failed(servers: &mut watch::Receiver<TurnServers>, late: Pin<&mut Sleep>) -> bool {
    tokio::select! {
        known = servers.wait_for(|servers| *servers != TurnServers::Asked) => {
            known.is_ok_and(|servers| *servers == TurnServers::Failed)
        }
        () = late => true,
    }
}
