//! A room with the outgoing ends of those in it, and one member's way into it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::server::DropReason;
use voicemesh_session::{Delivery, Verdict};
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, Join, LeaveReason};

use crate::address::AddressKey;
use crate::gate::Allowance;
use crate::line::{Line, Put};
use crate::metrics::Metrics;
use crate::outbox::{CloseReason, ConnectionId, Outbox, Purpose, Text};
use crate::refusal::Refusal;
use crate::room::{AddressTag, Digest, Knock, Part, Question, Room, Salt};
use crate::sync::lock;

/// Peers of one room of which it is remembered what is left to them; beyond that, those that have gone are forgotten.
const ALLOWANCES: usize = 128;

/// A room with the connections of those in it. Each has its own lock, so that what is relayed in one room waits for no other.
#[derive(Debug)]
pub struct RoomEntry<L> {
    metrics: Arc<Metrics>,
    occupied: Mutex<Occupied<L>>,
}

#[derive(Debug)]
struct Occupied<L> {
    room: Room,
    /// What is left to each peer that is here, or was lately.
    allowances: BTreeMap<PeerId, Allowance>,
    /// The address of the member who came into it last while it was empty.
    made_by: Option<AddressKey>,
    lines: BTreeMap<ConnectionId, L>,
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
    pub(crate) fn new(metrics: Arc<Metrics>, room: Room, made_by: Option<AddressKey>) -> Self {
        let (allowances, lines) = (BTreeMap::new(), BTreeMap::new());
        Self { metrics, occupied: Mutex::new(Occupied { room, allowances, made_by, lines }) }
    }

    /// Reads or changes the room. What it sends goes to the connections of its members.
    pub fn with<T>(&self, now: Duration, act: impl FnOnce(&mut Room, &mut RoomOutput<'_, L>) -> T) -> T {
        lock(&self.occupied).with(&self.metrics, now, act)
    }

    /// The address that made it, and since when it has been empty.
    pub(crate) fn emptied(&self) -> Option<(Option<AddressKey>, Duration)> {
        let occupied = lock(&self.occupied);
        Some((occupied.made_by, occupied.room.emptied_at()?))
    }

    /// How many members it has.
    pub(crate) fn len(&self) -> usize {
        lock(&self.occupied).room.len()
    }

    pub(crate) fn made_by(&self) -> Option<AddressKey> {
        lock(&self.occupied).made_by
    }

    /// Lets a connection in, or gives what must be hashed first: bans, the room's own rules, its password, and how often one may
    /// come. `fresh` is the salt of a password that is decided now, `unix` the time of day in seconds since 1970.
    pub(crate) fn join(
        &self,
        now: Duration,
        unix: u64,
        (id, line): (ConnectionId, &L),
        join: Box<Join>,
        (shown, fresh): (Option<Digest>, Salt),
        address: Option<AddressKey>,
    ) -> Result<Option<(Box<Join>, Question)>, Refusal> {
        let mut occupied = lock(&self.occupied);
        let tag = address.map(AddressTag::from);
        occupied.room.set_unix_time(unix);
        occupied.room.check_ban(now, &join, tag)?;
        if let Knock::Hash(question) = occupied.room.knock(&join, shown.as_ref(), fresh)? {
            return Ok(Some((join, question)));
        }
        occupied.room.count_join(now, &join, tag)?;
        occupied.lines.insert(id, line.clone());
        let was_empty = occupied.room.is_empty();
        let joined = occupied.with(&self.metrics, now, |room, out| room.join(now, id, *join, shown, out));
        if let Err(refusal) = joined {
            occupied.lines.remove(&id);
            return Err(refusal);
        }
        if was_empty {
            occupied.made_by = address;
        }
        if let Some(tag) = tag {
            occupied.room.set_address(id, tag);
        }
        line.joined();
        self.metrics.joins.add(1);
        Ok(None)
    }

    /// What is left to a peer of what one connection may send: a peer that comes again on another connection has no more.
    /// `fresh` is what a peer has that was not here lately.
    pub(crate) fn allowance(&self, id: ConnectionId, fresh: Allowance) -> Allowance {
        let mut occupied = lock(&self.occupied);
        let Some(peer) = occupied.room.peer_of(id) else { return fresh };
        let allowances = &mut occupied.allowances;
        if allowances.len() >= ALLOWANCES {
            allowances.retain(|_, allowance| allowance.is_shared());
        }
        allowances.entry(peer).or_insert(fresh).clone()
    }

    /// Gives how many bytes of state answered it.
    pub(crate) fn message(&self, now: Duration, from: ConnectionId, message: ClientMessage) -> usize {
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
            is_violation =
                !matches!(reason, DropReason::Outdated | DropReason::NotPermitted | DropReason::HeldElsewhere);
        }
        Handled { is_violation, state_bytes }
    }

    /// A packet was read that is over a budget. Gives its number if it is a written message.
    pub(crate) fn packet_refused(&self, from: ConnectionId, packet: &[u8]) -> Option<u32> {
        lock(&self.occupied).room.packet_refused(from, packet)
    }

    /// Puts a part of a snapshot into a line in place of updates that it did not take. Gives its bytes.
    pub(crate) fn refresh(&self, now: Duration, to: ConnectionId, line: &L, part: Part) -> usize {
        if part == Part::default() {
            self.metrics.snapshots.add(1);
        }
        let mut occupied = lock(&self.occupied);
        line.begin_part();
        let (next, bytes) =
            occupied.with(&self.metrics, now, |room, out| (room.refresh(now, to, part, out), out.state_bytes(to)));
        line.end_part(next);
        bytes
    }

    pub(crate) fn leave(&self, now: Duration, id: ConnectionId, reason: LeaveReason) {
        let mut occupied = lock(&self.occupied);
        occupied.with(&self.metrics, now, |room, out| room.leave(now, id, reason, out));
        occupied.lines.remove(&id);
    }
}

impl<L: Line> Occupied<L> {
    fn with<T>(
        &mut self,
        metrics: &Metrics,
        now: Duration,
        act: impl FnOnce(&mut Room, &mut RoomOutput<'_, L>) -> T,
    ) -> T {
        let mut out = RoomOutput {
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
pub struct RoomOutput<'a, L> {
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

impl<L> RoomOutput<'_, L> {
    fn state_bytes(&self, of: ConnectionId) -> usize {
        self.state.filter(|(to, _)| *to == of).map_or(0, |(_, bytes)| bytes)
    }

    fn count_state(&mut self, to: ConnectionId, bytes: usize, purpose: Purpose) {
        if purpose == Purpose::Snapshot {
            let sum = self.state_bytes(to) + bytes;
            self.state = Some((to, sum));
        }
    }

    fn count(&mut self, put: Put) {
        match put {
            Put::VoiceDropped(packets) => self.voice_dropped += packets as u64,
            Put::Refused => self.data_dropped += 1,
            Put::Overflow => {
                self.slow_consumers += 1;
                self.metrics.refused(&ErrorCode::SlowConsumer);
            }
            Put::Busy => self.busy += 1,
            Put::Queued | Put::Covered | Put::Ended => {}
        }
    }
}

impl<L: Line> Outbox for RoomOutput<'_, L> {
    fn text(&mut self, to: ConnectionId, message: &Text, purpose: Purpose) -> bool {
        let Some(line) = self.lines.get(&to) else { return true };
        self.count_state(to, message.bytes().len(), purpose);
        let put = line.text(self.now, message, purpose);
        self.count(put);
        put != Put::Busy
    }

    fn packet(&mut self, to: ConnectionId, packet: Bytes, delivery: Delivery, purpose: Purpose) -> bool {
        let Some(line) = self.lines.get(&to) else { return true };
        self.deliveries += 1;
        self.count_state(to, packet.len(), purpose);
        let put = line.packet(self.now, packet, delivery, purpose);
        self.count(put);
        put != Put::Busy
    }

    fn defer_snapshot(&mut self, to: ConnectionId) -> bool {
        self.lines.get(&to).is_some_and(Line::defer_snapshot)
    }

    fn pong(&mut self, to: ConnectionId, message: &Text) {
        if let Some(line) = self.lines.get(&to) {
            let put = line.pong(self.now, message);
            self.count(put);
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
                let put = new.packet(self.now, packet, Delivery::Reliable, purpose);
                self.count(put);
            }
        }
    }

    fn close(&mut self, to: ConnectionId, reason: CloseReason) {
        if let Some(line) = self.lines.get(&to) {
            line.end(self.now, reason);
        }
    }
}
