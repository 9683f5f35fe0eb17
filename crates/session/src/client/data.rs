//! The game's own bytes: which pipe a packet belongs to, and by which way what leaves it travels.
//!
//! Data takes the route that speech takes. On a link it goes on the stream that repeats nothing;
//! through the relay in packets that the server may drop when a receiver is slow. What must arrive
//! is sent again by the [`Pipe`].

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use voicemesh_common::{Rate, TokenBucket};
use voicemesh_wire::packet::{DataPacket, DataSegment, PipeEnd};
use voicemesh_wire::{ClientId, SessionId};

use super::core::Core;
use super::event::{Dropped, Participant};
use crate::data::{DataError, Incoming, Outgoing, Pipe, PipeEvent};
use crate::output::Fallback;
use crate::route::Route;
use crate::transport::{Destination, LinkId, Reliability};
use voicemesh_common::NextTimer;

/// Pipes at a time: more peers than a room takes.
pub(super) const PIPES: usize = 256;
/// Ends of former pipes that are remembered, so that what is left of one does not begin another;
/// the oldest is forgotten first.
const FORMER_ENDS: usize = 128;
/// What all pipes together send through the relay, in bytes: a quarter of the server's limit.
const RELAYED_BYTES: Rate = Rate::new(64_000.0, 1_000_000.0);
/// Something is left of that when this much is.
const LEAST_BYTES: f64 = 1e-9;
/// Packets of one pipe in a row, before the next has its turn.
pub(super) const PACKETS_PER_TURN: usize = 64;

/// What came of the game's own bytes, in order for each peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataEvent {
    /// Something of the pipe.
    Pipe(PipeEvent),
    /// The other side has ended the pipe, or began anew: every channel with it is closed.
    Disconnected {
        /// Reliable bytes of this side's of which it is not known that they arrived.
        undelivered_bytes: usize,
    },
}

/// Everyone's pipes.
#[derive(Debug)]
pub(super) struct Pipes<P> {
    pipes: BTreeMap<P, PipeSlot>,
    /// Peer and its end of a pipe that is over.
    former: VecDeque<(P, PipeEnd)>,
    ended: VecDeque<(P, usize)>,
    resets: VecDeque<(P, PipeEnd)>,
    random: Rng,
    relayed: TokenBucket,
    /// What may not all have left when it was last let leave, and what stopped it.
    stopped: Stopped,
    /// Whose turn it is to be asked for events.
    polled: Option<P>,
}

#[derive(Debug)]
struct PipeSlot {
    pipe: Pipe,
    way: Option<Path>,
}

/// What kept packets of the pipes from leaving.
#[derive(Clone, Copy, Debug, Default)]
struct Stopped {
    /// One pipe has had its turn.
    by_turn: bool,
    /// The relay takes no more for now.
    by_rate: bool,
}

/// By what a pipe's packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Link { generation: u32 },
    Relay { session: SessionId },
}

impl<P: Copy + Ord> Pipes<P> {
    /// `seed` names the ends of the pipes, which need only differ.
    pub(super) fn new(seed: u64) -> Self {
        Self::with_random(Rng::with_seed(seed))
    }

    fn with_random(random: Rng) -> Self {
        Self {
            pipes: BTreeMap::new(),
            former: VecDeque::new(),
            ended: VecDeque::new(),
            resets: VecDeque::new(),
            random,
            relayed: TokenBucket::full(Duration::ZERO, RELAYED_BYTES),
            stopped: Stopped::default(),
            polled: None,
        }
    }

    /// Everything is over at once.
    pub(super) fn clear(&mut self) {
        *self = Self::with_random(self.random.clone());
    }

    fn draw(&mut self) -> PipeEnd {
        loop {
            if let Some(end) = PipeEnd::new(self.random.u32(..)) {
                return end;
            }
        }
    }

    fn begin(&mut self, peer: P, remote: Option<PipeEnd>) -> Option<&mut Pipe> {
        if !self.pipes.contains_key(&peer) {
            if self.pipes.len() >= PIPES {
                return None;
            }
            let pipe = Pipe::new(self.draw(), remote);
            self.pipes.insert(peer, PipeSlot { pipe, way: None });
        }
        self.pipes.get_mut(&peer).map(|carried| &mut carried.pipe)
    }

    /// Forgets a pipe and remembers the other side's end of it.
    fn end(&mut self, peer: P) -> Option<Pipe> {
        let PipeSlot { pipe, .. } = self.pipes.remove(&peer)?;
        if let Some(remote) = pipe.remote() {
            if self.former.len() >= FORMER_ENDS {
                self.former.pop_front();
            }
            self.former.push_back((peer, remote));
        }
        Some(pipe)
    }

    /// The other side has ended it.
    fn ended_by_remote(&mut self, peer: P) {
        let Some(pipe) = self.end(peer) else { return };
        if self.ended.len() < PIPES {
            self.ended.push_back((peer, pipe.queued_bytes()));
        }
    }

    fn reset(&mut self, peer: P, to: PipeEnd) {
        if self.resets.len() < PIPES {
            self.resets.push_back((peer, to));
        }
    }

    /// The pipe that a segment belongs to; none if it is of a former one.
    fn of_segment(&mut self, peer: P, segment: &DataSegment<'_>) -> Result<&mut Pipe, Dropped> {
        let known =
            self.pipes.get(&peer).map(|carried| (carried.pipe.end(), carried.pipe.remote()));
        let is_former = self.former.contains(&(peer, segment.from));
        match (known, segment.to) {
            (Some((end, remote)), Some(to))
                if to == end && remote.is_none_or(|remote| remote == segment.from) => {}
            (Some((_, remote)), None)
                if !is_former && remote.is_none_or(|remote| remote == segment.from) => {}
            // It began anew, and does not know that there was something.
            (Some(_), None) if !is_former => self.ended_by_remote(peer),
            (None, None) if !is_former => {}
            _ => {
                self.reset(peer, segment.from);
                return Err(Dropped::Unexpected);
            }
        }
        let pipe = self.begin(peer, Some(segment.from)).ok_or(Dropped::Unexpected)?;
        pipe.set_remote(segment.from);
        Ok(pipe)
    }
}

impl<P: Copy + Ord + Debug> Pipes<P> {
    /// Sends a message to a peer outside of channels.
    ///
    /// # Errors
    ///
    /// See [`DataError`].
    pub(super) fn send(
        &mut self,
        core: &Core<P>,
        peer: P,
        reliability: Reliability,
        bytes: Bytes,
    ) -> Result<(), DataError> {
        self.pipe(core, peer)?.send(reliability, bytes)
    }

    /// Opens a data channel to a peer from this side.
    ///
    /// # Errors
    ///
    /// See [`DataError`].
    pub(super) fn open_channel(
        &mut self,
        core: &Core<P>,
        peer: P,
        channel: u8,
        reliability: Reliability,
    ) -> Result<(), DataError> {
        self.pipe(core, peer)?.open(channel, reliability)
    }

    /// Closes a data channel to a peer. Harmless when it is not open.
    pub(super) fn close_channel(&mut self, peer: P, channel: u8) {
        if let Some(carried) = self.pipes.get_mut(&peer) {
            // Closing needs no room.
            let _ = carried.pipe.close(channel);
        }
    }

    /// Sends a message on a data channel.
    ///
    /// # Errors
    ///
    /// See [`DataError`].
    pub(super) fn send_on(
        &mut self,
        core: &Core<P>,
        peer: P,
        channel: u8,
        bytes: Bytes,
    ) -> Result<(), DataError> {
        let pipe = &mut self.pipes.get_mut(&peer).ok_or(DataError::ChannelClosed)?.pipe;
        if core.permissions.data {
            pipe.send_on(channel, bytes)
        } else {
            Err(DataError::NotPermitted)
        }
    }

    /// Ends all that is open to a peer: what waits is gone, and every channel is closed on both
    /// sides.
    pub(super) fn disconnect(&mut self, core: &mut Core<P>, peer: P) {
        if let Some(pipe) = self.end(peer)
            && let Some(remote) = pipe.remote()
        {
            self.reset(peer, remote);
        }
        self.send_resets(core);
    }

    /// A peer is no longer there: what was open to it is forgotten without a word. What it had sent
    /// was polled before.
    pub(super) fn forget(&mut self, peer: P) {
        self.end(peer);
        self.ended.retain(|(ended, _)| *ended != peer);
    }

    /// The pipe to a peer, to look at.
    pub(super) fn pipe_to(&self, peer: P) -> Option<&Pipe> {
        self.pipes.get(&peer).map(|carried| &carried.pipe)
    }

    /// Everyone to whom something is or was open, and the pipe.
    pub(super) fn pipes(&self) -> impl Iterator<Item = (P, &Pipe)> {
        self.pipes.iter().map(|(peer, carried)| (*peer, &carried.pipe))
    }

    /// The next thing that came from anybody; each peer in its turn.
    pub(super) fn poll(&mut self, now: Duration) -> Option<(P, DataEvent)> {
        if let Some((peer, undelivered_bytes)) = self.ended.pop_front() {
            return Some((peer, DataEvent::Disconnected { undelivered_bytes }));
        }
        let after = |last: P| (std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded);
        let has = |(peer, carried): (&P, &PipeSlot)| carried.pipe.has_events().then_some(*peer);
        let pipes = &self.pipes;
        let next = self.polled.and_then(|last| pipes.range(after(last)).find_map(has));
        let peer = next.or_else(|| pipes.iter().find_map(has))?;
        self.polled = Some(peer);
        self.poll_of(now, peer).map(|event| (peer, event))
    }

    /// The next thing that came from one peer.
    pub(super) fn poll_of(&mut self, now: Duration, peer: P) -> Option<DataEvent> {
        self.pipes.get_mut(&peer)?.pipe.poll_event(now).map(DataEvent::Pipe)
    }

    /// Lets what waits leave, as far as there is a way and the other side has room.
    /// [`update`](Self::update) does it too.
    pub(super) fn flush(&mut self, core: &mut Core<P>, now: Duration) {
        self.stopped = Stopped::default();
        if self.pipes.is_empty() {
            return;
        }
        self.relayed.fill(now, RELAYED_BYTES);
        let busy = self.pipes.iter().filter(|(_, carried)| !carried.pipe.is_idle());
        let ways: Vec<_> = busy.map(|(peer, _)| (*peer, self.way_of(core, *peer))).collect();
        for (peer, way) in ways {
            let Some(carried) = self.pipes.get_mut(&peer) else { continue };
            let way = way.filter(|_| core.roster.abilities(Some(peer)).takes_data);
            let kind = way.as_ref().map(OutgoingPath::kind);
            if let Some(kind) = kind
                && carried.way != Some(kind)
            {
                if carried.way.is_some_and(|former| is_break(former, kind)) {
                    carried.pipe.on_route_change();
                }
                carried.way = Some(kind);
            }
            let Some(way) = way else { continue };
            carried.pipe.update(now);
            for packets in 1..=PACKETS_PER_TURN {
                if matches!(way, OutgoingPath::Relay { .. }) && self.relayed.tokens() <= 0.0 {
                    self.stopped.by_rate = true;
                    break;
                }
                let Some(carried) = self.pipes.get_mut(&peer) else { break };
                let Some(outward) = carried.pipe.poll_outward(now) else { break };
                self.send_by(core, way, &outward);
                self.stopped.by_turn |= packets == PACKETS_PER_TURN;
            }
        }
        self.send_resets(core);
    }

    /// When something may leave, or is to be sent again, if nothing happens before.
    pub(super) fn timers(&self, next: &mut NextTimer) {
        self.pipes.values().for_each(|carried| next.at(carried.pipe.due()));
        if self.stopped.by_turn {
            next.soon();
        }
        if self.stopped.by_rate {
            let wait = self.relayed.time_until(next.now(), RELAYED_BYTES, LEAST_BYTES);
            next.at(next.now().saturating_add(wait));
        }
    }

    /// A packet of the game's own bytes, from an established peer.
    pub(super) fn receive(
        &mut self,
        core: &mut Core<P>,
        now: Duration,
        from: Participant<P>,
        data: DataPacket<'_>,
        packet: &Bytes,
    ) -> Result<(), Dropped> {
        // A pipe lives longer than a session's ids do.
        let Participant::Peer(peer) = from else { return Err(Dropped::Unexpected) };
        let violation = match data {
            DataPacket::Segment(segment) => {
                let payload = packet.slice_ref(segment.payload);
                let pipe = self.of_segment(peer, &segment)?;
                pipe.receive(now, Incoming::Segment(segment, payload)).is_err()
            }
            DataPacket::Ack(ack) => {
                let carried = self.pipes.get_mut(&peer).ok_or(Dropped::Unexpected)?;
                let is_its = carried.pipe.remote().is_none_or(|remote| remote == ack.from);
                if carried.pipe.end() != ack.to || !is_its {
                    return Err(Dropped::Unexpected);
                }
                carried.pipe.set_remote(ack.from);
                carried.pipe.receive(now, Incoming::Ack(ack)).is_err()
            }
            DataPacket::Message(message) => {
                let payload = packet.slice_ref(message.payload);
                let pipe = match message.on {
                    None => self.begin(peer, None).ok_or(Dropped::Unexpected)?,
                    Some((to, _)) => {
                        let carried =
                            self.pipes.get_mut(&peer).filter(|carried| carried.pipe.end() == to);
                        &mut carried.ok_or(Dropped::Unexpected)?.pipe
                    }
                };
                pipe.receive(now, Incoming::Lossy(message.on.map(|(_, channel)| channel), payload))
                    .is_err()
            }
            DataPacket::Reset(reset) => {
                if self.pipes.get(&peer).is_none_or(|carried| carried.pipe.end() != reset.to) {
                    return Err(Dropped::Unexpected);
                }
                self.ended_by_remote(peer);
                false
            }
        };
        if violation {
            // A peer that breaks the protocol gets a new pipe when it wants one, and nothing else
            // is touched.
            if let Some(remote) = self.pipes.get(&peer).and_then(|carried| carried.pipe.remote()) {
                self.reset(peer, remote);
            }
            self.ended_by_remote(peer);
            self.send_resets(core);
            return Err(Dropped::Unexpected);
        }
        Ok(())
    }

    fn pipe(&mut self, core: &Core<P>, peer: P) -> Result<&mut Pipe, DataError> {
        if !core.permissions.data {
            return Err(DataError::NotPermitted);
        }
        self.begin(peer, None).ok_or(DataError::WouldBlock { queued_bytes: 0 })
    }

    /// The way that speech to a peer takes.
    fn way_of(&self, core: &Core<P>, peer: P) -> Option<OutgoingPath<P>> {
        match core.route(Participant::Peer(peer)) {
            Route::None => None,
            Route::Direct => {
                let (link, _, binding) = core.pairs.bound(peer)?;
                Some(OutgoingPath::Link {
                    link,
                    session: binding.session,
                    you: binding.you,
                    remote: binding.remote,
                })
            }
            Route::Relayed => {
                let client = core.relay_address(peer)?;
                let view = core.joined_view()?;
                Some(OutgoingPath::Relay { session: view.session, you: view.you, client })
            }
        }
    }

    fn send_by(&mut self, core: &mut Core<P>, way: OutgoingPath<P>, outward: &Outgoing) {
        match way {
            OutgoingPath::Link { link, session, you, remote } => {
                // What the link does not take is lost, and found to be.
                let to = vec![Destination { client: remote, link }];
                core.out.send_to_links(
                    to,
                    Reliability::Unreliable,
                    outward.encode(session, you),
                    Fallback::None,
                );
            }
            OutgoingPath::Relay { session, you, client } => {
                let packet: Bytes = outward.encode(session, you).into();
                self.relayed.charge(packet.len() as f64);
                core.relay(Reliability::Unreliable, &[client], &packet);
            }
        }
    }

    fn send_resets(&mut self, core: &mut Core<P>) {
        while let Some((peer, to)) = self.resets.pop_front() {
            if let Some(way) = self.way_of(core, peer) {
                self.send_by(core, way, &Outgoing::Reset(to));
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum OutgoingPath<P> {
    Link { link: LinkId<P>, session: SessionId, you: ClientId, remote: ClientId },
    Relay { session: SessionId, you: ClientId, client: ClientId },
}

impl<P> OutgoingPath<P> {
    fn kind(&self) -> Path {
        match self {
            Self::Link { link, .. } => Path::Link { generation: link.generation },
            Self::Relay { session, .. } => Path::Relay { session: *session },
        }
    }
}

/// Whether what was under way on the former way may be lost. A relay that is left for a link goes
/// on.
fn is_break(former: Path, next: Path) -> bool {
    !matches!((former, next), (Path::Relay { .. }, Path::Link { .. }))
}
