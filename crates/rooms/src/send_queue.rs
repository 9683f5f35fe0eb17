//! What waits to be written to one connection: what is queued, in which order it is written, what is
//! dropped when there is too much, and when the connection ends.
//!
//! All of it is at most [`BYTES`], and one message of any size that is next. A snapshot is kept as
//! its position only: one part is made when the one before has been taken.

mod cost;
mod entry;
mod fair_queue;
mod senders;
mod snapshot_pause;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::Delivery;
use voicemesh_wire::PeerId;
use voicemesh_wire::packet;
use voicemesh_wire::signaling::ErrorCode;

use cost::cost;
use entry::Entry;
use fair_queue::{DATA, FairQueue, VOICE};
use senders::Senders;
use snapshot_pause::SnapshotPause;

use crate::line::Enqueue;
use crate::output::{CloseReason, Publisher, Purpose, Text};
use crate::refusal::Refusal;
use crate::room::Part;

/// Changes of the room's and the session's state that wait for one receiver. When there are more,
/// none of them is sent, but one snapshot in their place.
const UPDATES: usize = 128;
/// Bytes of these changes together, with the same rule.
const UPDATE_BYTES: usize = 24 * 1024;
/// Of these, bytes behind which what members publish waits itself; beyond, only that it has changed.
const PUBLISHED_BYTES: usize = UPDATE_BYTES / 4;
/// Answers to a connection's own messages; one more, and it ends: it asks and does not read
/// (`slow-consumer`).
const ANSWER_BYTES: usize = 24 * 1024;
/// Answers that a connection can do without wait behind this much at most.
const HINT_BYTES: usize = ANSWER_BYTES / 4;
/// Everything that waits, by the bounds above.
const BYTES: usize = 256 * 1024;
const _: () =
    assert!(senders::ALL + UPDATE_BYTES + ANSWER_BYTES + VOICE.bytes + DATA.bytes < BYTES);
/// A pong waits behind at most this many bytes of other messages.
const BEFORE_PONG_BYTES: usize = 4096;
/// A queue that was longer than this gives its memory back once it is empty.
const KEPT_CAPACITY: usize = 8;
/// After its last words a connection has this long to say goodbye.
const LINGER: Duration = Duration::from_secs(2);
/// A connection for which something has waited this long, and that took not one byte, is lost.
const STUCK: Duration = Duration::from_secs(10);

/// The queue of one connection. The methods that are named as those of [`Line`](crate::Line) do what
/// it says; [`take`](Self::take) gives what is to be written, and [`check`](Self::check) is called
/// from time to time.
#[derive(Debug)]
pub struct SendQueue {
    /// A part of a snapshot that is being sent in place of updates; before everything else.
    snapshot: VecDeque<OutgoingMessage>,
    /// The part after it.
    next_part: Option<Part>,
    /// Pongs that would wait too long in `reliable`; they count as answers.
    pongs: VecDeque<Text>,
    /// How many [`Entry::Pong`] are in `reliable`: while there are any, neither voice nor data is
    /// written.
    pongs_in_order: usize,
    /// What is put in with [`Purpose::Snapshot`] belongs to `snapshot`.
    takes_snapshot: bool,
    reliable: VecDeque<Entry>,
    /// [`Entry::Snapshot`] waits in `reliable`, so that updates need not.
    snapshot_due: bool,
    snapshot_pause: SnapshotPause,
    updates: usize,
    update_bytes: usize,
    /// How many of the updates are [`Entry::Published`] or [`Entry::Missed`].
    notes: usize,
    snapshot_bytes: usize,
    answer_bytes: usize,
    senders: Senders,
    ping_due: bool,
    voice: FairQueue,
    /// When the voice packet was put in that was taken last.
    voice_since: Option<Duration>,
    /// Bytes of voice that go before the next other message: as many as the last one had, so that
    /// no sender of large messages keeps speech from a receiver.
    voice_turn: usize,
    data: FairQueue,
    data_next: bool,
    phase: Phase,
    pinged_at: Duration,
    heard_at: Duration,
    /// When the socket last took a byte, while it does not take all.
    stuck_since: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// No join yet.
    Waiting {
        since: Duration,
    },
    Joined,
    /// What is in the reliable queue are the last words.
    Ending {
        reason: CloseReason,
        since: Duration,
    },
    /// Not worth waiting for any longer.
    Abandoned {
        reason: CloseReason,
    },
}

/// Where a change is noted, seen from the roster's mark that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    BeforeMark,
    /// Or there is none.
    BehindMark,
}

/// A message on its way to the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutgoingMessage {
    /// A signaling message.
    Text(Text),
    /// A session packet.
    Packet(Bytes),
    /// A ping of the connection itself, which its other end answers.
    Ping,
}

/// What is to be written next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This message.
    Message(OutgoingMessage),
    /// The room is to be asked for this ([`Visit::refresh`](crate::Visit::refresh)).
    Snapshot(Part),
    /// Nothing waits.
    Nothing,
}

/// What [`SendQueue::take`] gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// What is to be written.
    pub next: Next,
    /// Voice packets that were dropped because they had become too old.
    pub voice_dropped: usize,
    /// For relayed voice, how long it has waited.
    pub voice_age: Option<Duration>,
}

/// What [`SendQueue::check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// All is well, or it ends already.
    Well,
    /// It has not joined in time: it ends with a last word.
    Late,
    /// Nothing came from it for two ping periods: it is abandoned.
    Lost,
    /// It took not one byte for too long: it is abandoned.
    Stuck,
}

/// What [`SendQueue::check`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// How the connection is.
    pub liveness: Liveness,
    /// Whether there is something to write, or the connection has to go.
    pub is_due: bool,
}

impl SendQueue {
    /// The most bytes that wait ([`waiting_bytes`](Self::waiting_bytes)).
    pub const MAX_BYTES: usize = BYTES;

    /// Of a connection that has just been opened.
    pub fn new(now: Duration) -> Self {
        Self {
            snapshot: VecDeque::new(),
            next_part: None,
            pongs: VecDeque::new(),
            pongs_in_order: 0,
            takes_snapshot: false,
            reliable: VecDeque::new(),
            snapshot_due: false,
            snapshot_pause: SnapshotPause::default(),
            updates: 0,
            update_bytes: 0,
            notes: 0,
            snapshot_bytes: 0,
            answer_bytes: 0,
            senders: Senders::default(),
            ping_due: false,
            voice: FairQueue::new(VOICE),
            voice_since: None,
            voice_turn: 0,
            data: FairQueue::new(DATA),
            data_next: false,
            phase: Phase::Waiting { since: now },
            pinged_at: now,
            heard_at: now,
            stuck_since: None,
        }
    }

    /// A signaling message, reliably and in order.
    pub fn text(&mut self, now: Duration, text: &Text, purpose: Purpose) -> Enqueue {
        self.put(|queue| queue.put_reliable(now, OutgoingMessage::Text(text.clone()), purpose))
    }

    /// What is published now.
    pub fn published(&mut self, now: Duration, by: Publisher, text: &Text) -> Enqueue {
        self.put(|queue| queue.put_published(now, by, text))
    }

    /// A session packet.
    pub fn packet(
        &mut self,
        now: Duration,
        packet: Bytes,
        delivery: Delivery,
        purpose: Purpose,
    ) -> Enqueue {
        self.put(|queue| match delivery {
            Delivery::Reliable => queue.put_reliable(now, OutgoingMessage::Packet(packet), purpose),
            Delivery::Voice => match queue.voice.push(now, packet) {
                0 => Enqueue::Queued,
                dropped => Enqueue::VoiceDropped(dropped),
            },
            // The peers send again what must arrive.
            Delivery::Data => match queue.data.push(now, packet) {
                0 => Enqueue::Queued,
                _ => Enqueue::Refused,
            },
        })
    }

    /// The answer to a ping.
    pub fn pong(&mut self, now: Duration, text: &Text) -> Enqueue {
        self.put(|queue| queue.put_pong(now, text))
    }

    fn put(&mut self, act: impl FnOnce(&mut Self) -> Enqueue) -> Enqueue {
        if self.is_ending() { Enqueue::Ended } else { act(self) }
    }

    /// A member arrives that may have been here before: what is noted of it is of a former one.
    pub fn arrives(&mut self, peer: PeerId) {
        if self.notes == 0 {
            return;
        }
        for entry in &mut self.reliable {
            if let Entry::Published(Publisher::Member(noted), changes) = entry
                && *noted == peer
            {
                *entry = Entry::Missed(*changes);
            }
        }
    }

    /// The updates that wait are dropped for a snapshot. False, and without effect, if nothing
    /// waits.
    pub fn defer_snapshot(&mut self) -> bool {
        if self.is_ending() || self.reliable.is_empty() && !self.is_in_snapshot() {
            return false;
        }
        self.demand_snapshot();
        true
    }

    /// What is put in as a snapshot from now on goes before everything else.
    pub fn begin_part(&mut self) {
        self.takes_snapshot = true;
    }

    /// The part of a snapshot is complete; `next` follows it.
    pub fn end_part(&mut self, next: Option<Part>) {
        self.takes_snapshot = false;
        self.next_part = next;
    }

    /// Takes out the written messages of other clients that wait.
    pub fn take_texts(&mut self) -> Vec<(Bytes, Purpose)> {
        let mut texts = Vec::new();
        let mut stays = VecDeque::with_capacity(self.reliable.len());
        for entry in std::mem::take(&mut self.reliable) {
            match entry {
                Entry::Message(OutgoingMessage::Packet(packet), purpose) if is_text(&packet) => {
                    self.release(packet.len(), purpose);
                    texts.push((packet, purpose));
                }
                entry => stays.push_back(entry),
            }
        }
        self.reliable = stays;
        texts
    }

    /// No more join is waited for.
    pub fn joined(&mut self) {
        if let Phase::Waiting { .. } = self.phase {
            self.phase = Phase::Joined;
        }
    }

    /// No more is taken in; what waits goes out, but for voice and data.
    pub fn end(&mut self, now: Duration, reason: CloseReason) {
        if !self.is_ending() {
            self.phase = Phase::Ending { reason, since: now };
            self.voice.clear();
            self.data.clear();
        }
    }

    /// The connection goes at once, without a last word: that would wait behind what is being
    /// written.
    pub fn abandon(&mut self, reason: CloseReason) {
        self.phase = Phase::Abandoned { reason };
    }

    /// Why the connection ends, if it does.
    pub fn ending(&self) -> Option<CloseReason> {
        match self.phase {
            Phase::Waiting { .. } | Phase::Joined => None,
            Phase::Ending { reason, .. } | Phase::Abandoned { reason } => Some(reason),
        }
    }

    /// The connection has to go without another word.
    pub fn is_abandoned(&self) -> bool {
        matches!(self.phase, Phase::Abandoned { .. })
    }

    /// The next thing to write. Voice takes turns with the rest, and in that reliable messages with
    /// data, so that none waits behind a queue of another.
    pub fn take(&mut self, now: Duration) -> Taken {
        let voice_dropped = self.voice.drop_old(now);
        let next = self.next(now);
        let voice_age = self.voice_since.take().map(|at| now.saturating_sub(at));
        Taken { next, voice_dropped, voice_age }
    }

    /// Bytes that wait, with what the queue needs for each message. Without what is next in any
    /// case, of any size: the answer to a join, and the part of a snapshot that is being sent.
    pub fn waiting_bytes(&self) -> usize {
        let reliable = self.reliable.iter().map(|entry| match entry {
            Entry::Message(message, _) => cost(message.len()),
            Entry::Pong(pong) => cost(pong.bytes().len()),
            Entry::First(_) | Entry::Published(..) | Entry::Missed(_) | Entry::Snapshot => 0,
        });
        let pongs = self.pongs.iter().map(|pong| cost(pong.bytes().len()));
        reliable.chain(pongs).sum::<usize>() + self.voice.bytes() + self.data.bytes()
    }

    /// Whether nothing waits, not even what [`waiting_bytes`](Self::waiting_bytes) leaves out.
    pub fn is_empty(&self) -> bool {
        self.reliable.is_empty()
            && self.pongs.is_empty()
            && !self.is_in_snapshot()
            && self.voice.is_empty()
            && self.data.is_empty()
    }

    /// Something arrived from the peer, a pong included.
    pub fn heard(&mut self, now: Duration) {
        self.heard_at = now;
    }

    /// The socket was given what waits: `took` if it took a byte, `blocked` if it did not take all.
    /// A full socket that takes a byte has been read from: that is a sign of the peer, which sees a
    /// ping only behind all of the message that is being written.
    pub fn wrote(&mut self, now: Duration, took: bool, blocked: bool) {
        if took && self.stuck_since.is_some() {
            self.heard(now);
        }
        if !blocked {
            self.stuck_since = None;
        } else if took || self.stuck_since.is_none() {
            self.stuck_since = Some(now);
        }
    }

    /// What happens by itself: pings, and the ends of those that do not join, fall silent, do not
    /// read, or do not go.
    pub fn check(
        &mut self,
        now: Duration,
        ping_interval: Duration,
        join_timeout: Duration,
    ) -> Check {
        let is_stuck = self.stuck_since.is_some_and(|since| now >= since + STUCK);
        let mut liveness = Liveness::Well;
        match self.phase {
            Phase::Waiting { .. } | Phase::Joined if is_stuck => {
                self.abandon(CloseReason::SlowConsumer);
                liveness = Liveness::Stuck;
            }
            Phase::Waiting { since } if now >= since + join_timeout => {
                self.end_with(now, CloseReason::Refused, ErrorCode::JoinTimeout);
                liveness = Liveness::Late;
            }
            Phase::Waiting { .. } | Phase::Joined if now >= self.heard_at + 2 * ping_interval => {
                self.abandon(CloseReason::Silent);
                liveness = Liveness::Lost;
            }
            Phase::Waiting { .. } | Phase::Joined if now >= self.pinged_at + ping_interval => {
                self.pinged_at = now;
                self.ping_due = true;
            }
            Phase::Ending { reason, since } if now >= since + LINGER => self.abandon(reason),
            Phase::Joined if self.snapshot_pause.is_over_since_asked(now) => {}
            Phase::Waiting { .. } | Phase::Joined | Phase::Ending { .. } => {
                return Check { liveness, is_due: false };
            }
            // Due again, in case that it is still there.
            Phase::Abandoned { .. } => {}
        }
        Check { liveness, is_due: true }
    }

    fn put_reliable(
        &mut self,
        now: Duration,
        message: OutgoingMessage,
        purpose: Purpose,
    ) -> Enqueue {
        let bytes = cost(message.len());
        match purpose {
            Purpose::Snapshot if self.takes_snapshot => {
                self.snapshot.push_back(message);
                return Enqueue::Queued;
            }
            Purpose::Snapshot if self.snapshot_due => return Enqueue::Covered,
            Purpose::Snapshot if self.reliable.is_empty() && !self.is_in_snapshot() => {
                self.reliable.push_back(Entry::First(message));
                return Enqueue::Queued;
            }
            Purpose::Snapshot
                if self.snapshot_bytes + self.senders.bytes() + bytes > senders::SHARED =>
            {
                self.demand_snapshot();
                return Enqueue::Covered;
            }
            Purpose::Snapshot => self.snapshot_bytes += bytes,
            Purpose::Answer if self.answer_bytes + bytes > ANSWER_BYTES => {
                return self.overflow(now);
            }
            Purpose::Hint if self.answer_bytes + bytes > HINT_BYTES => return Enqueue::Omitted,
            Purpose::Answer | Purpose::Hint => self.answer_bytes += bytes,
            Purpose::Update | Purpose::Notice if self.snapshot_due => return Enqueue::Covered,
            Purpose::Update
                if self.updates >= UPDATES || self.update_bytes + bytes > UPDATE_BYTES =>
            {
                self.demand_snapshot();
                return Enqueue::Covered;
            }
            Purpose::Update => {
                self.updates += 1;
                self.update_bytes += bytes;
            }
            Purpose::Notice => self.drop_mark(),
            Purpose::Renewal => {
                self.reliable.retain(|entry| !matches!(entry, Entry::Message(_, Purpose::Renewal)))
            }
            Purpose::From(sender) if !self.senders.reserve(sender, bytes, self.snapshot_bytes) => {
                return Enqueue::Busy;
            }
            Purpose::From(_) => {}
        }
        self.reliable.push_back(Entry::Message(message, purpose));
        Enqueue::Queued
    }

    /// Small changes wait themselves, like other updates. In place of larger ones it is only noted
    /// whose they are, so that neither they nor a roster in their place keep speech from a receiver.
    fn put_published(&mut self, now: Duration, by: Publisher, text: &Text) -> Enqueue {
        if self.snapshot_due {
            return Enqueue::Covered;
        }
        let is_noted = self.note_again(by);
        if is_noted == Some(Noted::BehindMark) {
            return Enqueue::Covered;
        }
        let waits = !self.reliable.is_empty() || self.is_in_snapshot();
        let is_small = self.update_bytes + cost(text.bytes().len()) <= PUBLISHED_BYTES;
        // What is noted is sent as it is then: a message of before would follow it.
        if is_noted.is_none() && (!waits || is_small) {
            return self.put_reliable(now, OutgoingMessage::Text(text.clone()), Purpose::Update);
        }
        if self.updates >= UPDATES {
            self.demand_snapshot();
        } else {
            (self.updates, self.notes) = (self.updates + 1, self.notes + 1);
            self.reliable.push_back(Entry::Published(by, 1));
        }
        Enqueue::Covered
    }

    /// Where a change of this publisher is noted, if it is. Behind the roster's mark this is one
    /// more.
    fn note_again(&mut self, by: Publisher) -> Option<Noted> {
        if self.notes == 0 {
            return None;
        }
        let mut found = Noted::BehindMark;
        for entry in self.reliable.iter_mut().rev() {
            match entry {
                Entry::Message(_, Purpose::Notice) => found = Noted::BeforeMark,
                Entry::Published(noted, changes) if *noted == by => {
                    if found == Noted::BehindMark {
                        *changes = changes.saturating_add(1);
                    }
                    return Some(found);
                }
                _ => {}
            }
        }
        None
    }

    /// The mark that waits is replaced: what it parted is together again.
    fn drop_mark(&mut self) {
        self.reliable.retain(|entry| !matches!(entry, Entry::Message(_, Purpose::Notice)));
        if self.notes < 2 {
            return;
        }
        let mut sums: BTreeMap<Publisher, u32> = BTreeMap::new();
        for entry in &self.reliable {
            if let Entry::Published(by, changes) = entry {
                let sum = sums.entry(*by).or_default();
                *sum = sum.saturating_add(*changes);
            }
        }
        let (updates, notes) = (&mut self.updates, &mut self.notes);
        self.reliable.retain_mut(|entry| {
            let Entry::Published(by, changes) = entry else { return true };
            match sums.remove(by) {
                Some(sum) => *changes = sum,
                None => {
                    (*updates, *notes) = (*updates - 1, *notes - 1);
                    return false;
                }
            }
            true
        });
    }

    /// A note is taken out.
    fn release_note(&mut self) {
        self.updates = self.updates.saturating_sub(1);
        self.notes = self.notes.saturating_sub(1);
    }

    fn put_pong(&mut self, now: Duration, pong: &Text) -> Enqueue {
        let waiting =
            self.update_bytes + self.snapshot_bytes + self.answer_bytes + self.senders.bytes();
        let in_order = waiting <= BEFORE_PONG_BYTES
            && !self.is_in_snapshot()
            && !self.snapshot_due
            && self.notes == 0
            && !self.has_first();
        let bytes = cost(pong.bytes().len());
        if self.answer_bytes + bytes > ANSWER_BYTES {
            return self.overflow(now);
        }
        self.answer_bytes += bytes;
        if in_order {
            self.pongs_in_order += 1;
            self.reliable.push_back(Entry::Pong(pong.clone()));
        } else {
            self.pongs.push_back(pong.clone());
        }
        Enqueue::Queued
    }

    /// A snapshot is being sent.
    fn is_in_snapshot(&self) -> bool {
        !self.snapshot.is_empty() || self.next_part.is_some()
    }

    fn has_first(&self) -> bool {
        matches!(self.reliable.front(), Some(Entry::First(_)))
    }

    fn overflow(&mut self, now: Duration) -> Enqueue {
        self.reliable.clear();
        (self.pongs_in_order, self.notes) = (0, 0);
        self.end_with(now, CloseReason::SlowConsumer, ErrorCode::SlowConsumer);
        Enqueue::Overflow
    }

    /// A snapshot in place of the updates that wait, where the first of them is: members write
    /// after they are announced.
    fn demand_snapshot(&mut self) {
        if self.snapshot_due {
            return;
        }
        let mut kept = VecDeque::with_capacity(self.reliable.len());
        let mut position = None;
        for entry in std::mem::take(&mut self.reliable) {
            match entry {
                Entry::Message(_, Purpose::Update) | Entry::Published(..) | Entry::Missed(_) => {
                    position = position.or(Some(kept.len()))
                }
                Entry::Message(_, Purpose::Notice) => {}
                // It does not wait for a snapshot of any size.
                Entry::Pong(pong) => self.pongs.push_back(pong),
                entry @ (Entry::Message(..) | Entry::First(_) | Entry::Snapshot) => {
                    kept.push_back(entry)
                }
            }
        }
        kept.insert(position.unwrap_or(kept.len()), Entry::Snapshot);
        self.reliable = kept;
        self.pongs_in_order = 0;
        (self.updates, self.update_bytes, self.notes) = (0, 0, 0);
        self.snapshot_due = true;
    }

    /// A message of this size no longer waits.
    fn release(&mut self, bytes: usize, purpose: Purpose) {
        let bytes = cost(bytes);
        match purpose {
            Purpose::Answer | Purpose::Hint => {
                self.answer_bytes = self.answer_bytes.saturating_sub(bytes)
            }
            Purpose::Update => {
                self.updates = self.updates.saturating_sub(1);
                self.update_bytes = self.update_bytes.saturating_sub(bytes);
            }
            Purpose::From(sender) => self.senders.release(sender, bytes),
            Purpose::Snapshot => self.snapshot_bytes = self.snapshot_bytes.saturating_sub(bytes),
            Purpose::Notice | Purpose::Renewal => {}
        }
    }

    fn next(&mut self, now: Duration) -> Next {
        if !self.is_in_snapshot() {
            self.snapshot_pause.written(now);
        }
        if std::mem::take(&mut self.ping_due) && !self.is_ending() {
            return Next::Message(OutgoingMessage::Ping);
        }
        if let Some(pong) = self.pongs.pop_front() {
            self.release(pong.bytes().len(), Purpose::Answer);
            return Next::Message(OutgoingMessage::Text(pong));
        }
        if self.pongs_in_order > 0 {
            return self.next_reliable(now);
        }
        let reliable_waits =
            !self.reliable.is_empty() && !self.pauses(now) || self.is_in_snapshot();
        if (self.voice_turn > 0 || !reliable_waits && self.data.is_empty())
            && let Some((since, packet)) = self.voice.pop()
        {
            self.voice_since = Some(since);
            self.voice_turn = self.voice_turn.saturating_sub(cost(packet.len()));
            return Next::Message(OutgoingMessage::Packet(packet));
        }
        let next = self.next_other(now, reliable_waits);
        if let Next::Message(message) = &next {
            self.voice_turn = cost(message.len());
        }
        next
    }

    /// What is to be written next besides voice.
    fn next_other(&mut self, now: Duration, reliable_waits: bool) -> Next {
        let data_next = !self.data.is_empty() && (self.data_next || !reliable_waits);
        self.data_next = !data_next;
        if data_next && let Some((_, packet)) = self.data.pop() {
            return Next::Message(OutgoingMessage::Packet(packet));
        }
        if let Some(message) = self.snapshot.pop_front() {
            return Next::Message(message);
        }
        // Last words follow no snapshot.
        if let Some(part) = self.next_part.take().filter(|_| !self.is_ending()) {
            return Next::Snapshot(part);
        }
        if self.pauses(now) {
            return Next::Nothing;
        }
        self.next_reliable(now)
    }

    /// The next message is a snapshot whose time has not come, so that one after the other keeps no
    /// speech from the receiver. Not while it waits for many answers.
    fn pauses(&mut self, now: Duration) -> bool {
        matches!(self.reliable.front(), Some(Entry::Snapshot))
            && !self.is_ending()
            && self.answer_bytes <= ANSWER_BYTES / 4
            && self.snapshot_pause.holds(now)
    }

    fn next_reliable(&mut self, now: Duration) -> Next {
        loop {
            match self.reliable.pop_front() {
                Some(Entry::Pong(pong)) => {
                    self.pongs_in_order -= 1;
                    self.release(pong.bytes().len(), Purpose::Answer);
                    return Next::Message(OutgoingMessage::Text(pong));
                }
                Some(Entry::Message(message, purpose)) => {
                    self.release(message.len(), purpose);
                    return Next::Message(message);
                }
                Some(Entry::First(message)) => return Next::Message(message),
                Some(Entry::Published(by, changes)) => {
                    self.release_note();
                    if !self.is_ending() {
                        return Next::Snapshot(Part::Published(by, changes));
                    }
                }
                Some(Entry::Missed(changes)) => {
                    self.release_note();
                    if !self.is_ending() {
                        return Next::Snapshot(Part::Missed(changes));
                    }
                }
                Some(Entry::Snapshot) => {
                    self.snapshot_due = false;
                    if !self.is_ending() {
                        self.snapshot_pause.begins(now);
                        return Next::Snapshot(Part::default());
                    }
                }
                None => {
                    self.give_memory_back();
                    return Next::Nothing;
                }
            }
        }
    }

    fn is_ending(&self) -> bool {
        self.ending().is_some()
    }

    fn end_with(&mut self, now: Duration, reason: CloseReason, code: ErrorCode) {
        self.end(now, reason);
        let farewell = OutgoingMessage::Text(Text::from(&Refusal::of(code).farewell()));
        self.reliable.push_back(Entry::Message(farewell, Purpose::Answer));
    }

    fn give_memory_back(&mut self) {
        if self.reliable.capacity() > KEPT_CAPACITY {
            self.reliable = VecDeque::new();
        }
        if self.snapshot.capacity() > KEPT_CAPACITY {
            self.snapshot = VecDeque::new();
        }
        if self.pongs.capacity() > KEPT_CAPACITY {
            self.pongs = VecDeque::new();
        }
        self.voice.give_memory_back(KEPT_CAPACITY);
        self.data.give_memory_back(KEPT_CAPACITY);
    }
}

fn is_text(packet: &[u8]) -> bool {
    packet::open(packet).is_ok_and(|(header, _)| header.kind.is_text())
}

impl OutgoingMessage {
    /// Bytes of its content.
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.bytes().len(),
            Self::Packet(packet) => packet.len(),
            Self::Ping => 0,
        }
    }
}

#[cfg(test)]
mod snapshot_pause_tests;
#[cfg(test)]
mod test_line;
#[cfg(test)]
mod tests;
