//! A room with the outgoing ends of those in it, and one member's way into it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_common::{AddressKey, lock};
use voicemesh_session::server::DropReason;
use voicemesh_session::{Delivery, Verdict};
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, Join, LeaveReason};
use voicemesh_wire::{PeerId, RoomName};

use crate::guard::Allowance;
use crate::line::{Enqueue, Line};
use crate::metrics::Metrics;
use crate::output::{CloseReason, ConnectionId, Publisher, Purpose, RoomOutput, Text};
use crate::refusal::Refusal;
use crate::room::{AddressTag, Digest, HashRequest, JoinCheck, Part, Room, Salt};
use crate::ticket::{MemberSince, TimeOfDay};

/// Peers of one room of which it is remembered what is left to them; beyond that, those that have
/// gone are forgotten.
const ALLOWANCES: usize = 128;

/// A room with the connections of those in it. Each has its own lock, so that what is relayed in
/// one room waits for no other.
#[derive(Debug)]
pub struct RoomEntry<L> {
    name: RoomName,
    metrics: Arc<Metrics>,
    inner: Mutex<Inner<L>>,
}

#[derive(Debug)]
struct Inner<L> {
    room: Room,
    /// What is left to each peer that is here, or was lately.
    allowances: BTreeMap<PeerId, Allowance>,
    /// The address of the member who came into it last while it was empty.
    made_by: Option<AddressKey>,
    lines: BTreeMap<ConnectionId, L>,
}

/// Where a join comes from.
pub(crate) struct JoinOrigin<'a> {
    /// `None` if the address says nothing.
    pub(crate) address: Option<AddressKey>,
    /// Counts a join that no hash bounds, of a member who comes back, or of a newcomer (`None`);
    /// false if it is one too many.
    pub(crate) may_join: &'a dyn Fn(Option<MemberSince>) -> bool,
}

/// What became of a join.
pub(crate) enum EntryOutcome {
    /// It is in, and was answered with so many bytes.
    Inside { bytes: usize },
    /// Its password has to be hashed first.
    Hash(Box<Join>, HashRequest),
}

/// What became of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handled {
    /// It had no effect, and its sender knew.
    pub(crate) is_violation: bool,
    /// Bytes of state that answered it.
    pub(crate) state_bytes: usize,
}

impl<L: Line> RoomEntry<L> {
    pub(crate) fn new(
        name: RoomName,
        metrics: Arc<Metrics>,
        room: Room,
        made_by: Option<AddressKey>,
    ) -> Self {
        let (allowances, lines) = (BTreeMap::new(), BTreeMap::new());
        Self { name, metrics, inner: Mutex::new(Inner { room, allowances, made_by, lines }) }
    }

    /// Reads or changes the room. What it sends goes to the connections of its members.
    pub fn with<T>(
        &self,
        now: Duration,
        act: impl FnOnce(&mut Room, &mut LineOutput<'_, L>) -> T,
    ) -> T {
        lock(&self.inner).with(&self.metrics, now, act)
    }

    pub(crate) fn name(&self) -> &RoomName {
        &self.name
    }

    /// The address that made it, and since when it has been empty.
    pub(crate) fn emptied(&self) -> Option<(Option<AddressKey>, Duration)> {
        let inner = lock(&self.inner);
        Some((inner.made_by, inner.room.emptied_at()?))
    }

    /// How many members it has.
    pub(crate) fn len(&self) -> usize {
        lock(&self.inner).room.len()
    }

    pub(crate) fn made_by(&self) -> Option<AddressKey> {
        lock(&self.inner).made_by
    }

    /// Lets a connection in, or gives what must be hashed first: bans, the room's own rules, its
    /// password, and how often one may come. `fresh` is the salt of a password that is decided now,
    /// `time` the time of day.
    pub(crate) fn join(
        &self,
        now: Duration,
        time: TimeOfDay,
        (id, line): (ConnectionId, &L),
        join: Box<Join>,
        (presented, fresh): (Option<Digest>, Salt),
        origin: &JoinOrigin<'_>,
    ) -> Result<EntryOutcome, Refusal> {
        let mut inner = lock(&self.inner);
        let tag = origin.address.map(AddressTag::from);
        inner.room.set_unix_time(time);
        inner.room.check_ban(now, &join, tag)?;
        if let JoinCheck::Hash(request) = inner.room.check_join(&join, presented.as_ref(), fresh)? {
            return Ok(EntryOutcome::Hash(join, request));
        }
        if presented.is_none() && !(origin.may_join)(inner.room.member_since(&join)) {
            return Err(Refusal::of(ErrorCode::TooManyJoins));
        }
        inner.room.count_join(now, &join, tag)?;
        inner.lines.insert(id, line.clone());
        let was_empty = inner.room.is_empty();
        let (joined, bytes) = inner.with(&self.metrics, now, |room, out| {
            let joined = room.join(now, id, *join, presented, out);
            (joined, out.state_bytes(id))
        });
        if let Err(refusal) = joined {
            inner.lines.remove(&id);
            return Err(refusal);
        }
        if was_empty {
            inner.made_by = origin.address;
        }
        if let Some(tag) = tag {
            inner.room.set_address(id, tag);
        }
        line.joined();
        self.metrics.joins.add(1);
        Ok(EntryOutcome::Inside { bytes })
    }

    /// What is left to a peer of what one connection may send: a peer that comes again on another
    /// connection has no more. `fresh` is what a peer has that was not here lately.
    pub(crate) fn allowance(&self, id: ConnectionId, fresh: Allowance) -> Allowance {
        let mut inner = lock(&self.inner);
        let Some(peer) = inner.room.peer_of(id) else { return fresh };
        let allowances = &mut inner.allowances;
        if allowances.len() >= ALLOWANCES {
            allowances.retain(|_, allowance| allowance.is_shared());
        }
        allowances.entry(peer).or_insert(fresh).clone()
    }

    /// Gives how many bytes of state answered it.
    pub(crate) fn message(
        &self,
        now: Duration,
        from: ConnectionId,
        message: ClientMessage,
    ) -> usize {
        self.metrics.messages.add(1);
        self.with(now, |room, out| {
            room.message(now, from, message, out);
            out.state_bytes(from)
        })
    }

    pub(crate) fn packet(&self, now: Duration, from: ConnectionId, packet: &Bytes) -> Handled {
        self.metrics.packets.add(1);
        let (verdict, state_bytes) = self.with(now, |room, out| {
            let verdict = room.packet(now, from, packet, out);
            (verdict, out.state_bytes(from))
        });
        let mut is_violation = false;
        if let Verdict::Dropped(reason) = verdict {
            self.metrics.packets_dropped.add(1);
            tracing::trace!(?from, ?reason, "packet dropped");
            is_violation = !matches!(
                reason,
                DropReason::Outdated | DropReason::NotPermitted | DropReason::HeldElsewhere
            );
        }
        Handled { is_violation, state_bytes }
    }

    /// A packet was read that is over a budget. Gives its number if it is a written message.
    pub(crate) fn packet_refused(&self, from: ConnectionId, packet: &[u8]) -> Option<u32> {
        lock(&self.inner).room.packet_refused(from, packet)
    }

    /// Puts a part of a snapshot into a line in place of updates that it did not take. Gives its
    /// bytes.
    pub(crate) fn refresh(&self, now: Duration, to: ConnectionId, line: &L, part: Part) -> usize {
        if part == Part::default() {
            self.metrics.snapshots.add(1);
        }
        let mut inner = lock(&self.inner);
        line.begin_part();
        let (next, bytes) = inner.with(&self.metrics, now, |room, out| {
            (room.refresh(now, to, part, out), out.state_bytes(to))
        });
        line.end_part(next);
        bytes
    }

    pub(crate) fn leave(&self, now: Duration, id: ConnectionId, reason: LeaveReason) {
        let mut inner = lock(&self.inner);
        inner.with(&self.metrics, now, |room, out| room.leave(now, id, reason, out));
        inner.lines.remove(&id);
    }
}

impl<L: Line> Inner<L> {
    fn with<T>(
        &mut self,
        metrics: &Metrics,
        now: Duration,
        act: impl FnOnce(&mut Room, &mut LineOutput<'_, L>) -> T,
    ) -> T {
        let mut out = LineOutput {
            lines: &self.lines,
            metrics,
            now,
            deliveries: 0,
            voice_dropped: 0,
            data_dropped: 0,
            slow_consumers: 0,
            policed: 0,
            busy: 0,
            state: None,
        };
        let result = act(&mut self.room, &mut out);
        for (counter, count) in [
            (&metrics.deliveries, out.deliveries),
            (&metrics.voice_dropped, out.voice_dropped),
            (&metrics.data_dropped, out.data_dropped),
            (&metrics.slow_consumers, out.slow_consumers),
            (&metrics.voice_over_rate, out.policed),
            (&metrics.receiver_busy, out.busy),
        ] {
            if count > 0 {
                counter.add(count);
            }
        }
        result
    }
}

/// A room's output, put into the lines of its members and counted.
#[derive(Debug)]
pub struct LineOutput<'a, L> {
    lines: &'a BTreeMap<ConnectionId, L>,
    metrics: &'a Metrics,
    now: Duration,
    deliveries: u64,
    voice_dropped: u64,
    data_dropped: u64,
    slow_consumers: u64,
    policed: u64,
    busy: u64,
    /// Who was sent state, and how many bytes of it.
    state: Option<(ConnectionId, usize)>,
}

impl<L> LineOutput<'_, L> {
    fn state_bytes(&self, of: ConnectionId) -> usize {
        self.state.filter(|(to, _)| *to == of).map_or(0, |(_, bytes)| bytes)
    }

    fn count_state(&mut self, to: ConnectionId, bytes: usize, purpose: Purpose) {
        if purpose == Purpose::Snapshot {
            let sum = self.state_bytes(to) + bytes;
            self.state = Some((to, sum));
        }
    }

    fn count(&mut self, enqueued: Enqueue) {
        match enqueued {
            Enqueue::VoiceDropped(packets) => self.voice_dropped += packets as u64,
            Enqueue::Refused => self.data_dropped += 1,
            Enqueue::Overflow => {
                self.slow_consumers += 1;
                self.metrics.refused(&ErrorCode::SlowConsumer);
            }
            Enqueue::Busy => self.busy += 1,
            Enqueue::Queued | Enqueue::Omitted | Enqueue::Covered | Enqueue::Ended => {}
        }
    }
}

impl<L: Line> RoomOutput for LineOutput<'_, L> {
    fn text(&mut self, to: ConnectionId, message: &Text, purpose: Purpose) -> bool {
        let Some(line) = self.lines.get(&to) else { return true };
        self.count_state(to, message.bytes().len(), purpose);
        let enqueued = line.text(self.now, message, purpose);
        self.count(enqueued);
        enqueued != Enqueue::Busy
    }

    fn published(&mut self, to: ConnectionId, by: Publisher, message: &Text) {
        if let Some(line) = self.lines.get(&to) {
            let enqueued = line.published(self.now, by, message);
            self.count(enqueued);
        }
    }

    fn arrives(&mut self, to: ConnectionId, peer: PeerId) {
        if let Some(line) = self.lines.get(&to) {
            line.arrives(peer);
        }
    }

    fn packet(
        &mut self,
        to: ConnectionId,
        packet: Bytes,
        delivery: Delivery,
        purpose: Purpose,
    ) -> bool {
        let Some(line) = self.lines.get(&to) else { return true };
        self.deliveries += 1;
        self.count_state(to, packet.len(), purpose);
        let enqueued = line.packet(self.now, packet, delivery, purpose);
        self.count(enqueued);
        enqueued != Enqueue::Busy
    }

    fn defer_snapshot(&mut self, to: ConnectionId) -> bool {
        self.lines.get(&to).is_some_and(Line::defer_snapshot)
    }

    fn pong(&mut self, to: ConnectionId, message: &Text) {
        if let Some(line) = self.lines.get(&to) {
            let enqueued = line.pong(self.now, message);
            self.count(enqueued);
        }
    }

    fn count_refusal(&mut self, code: &ErrorCode) {
        self.metrics.refused(code);
    }

    fn count_policed(&mut self) {
        self.policed += 1;
    }

    fn hand_over(&mut self, from: ConnectionId, to: ConnectionId) {
        if let (Some(old), Some(new)) = (self.lines.get(&from), self.lines.get(&to)) {
            for (packet, purpose) in old.take_texts() {
                let enqueued = new.packet(self.now, packet, Delivery::Reliable, purpose);
                self.count(enqueued);
            }
        }
    }

    fn close(&mut self, to: ConnectionId, reason: CloseReason) {
        if let Some(line) = self.lines.get(&to) {
            line.end(self.now, reason);
        }
    }
}
