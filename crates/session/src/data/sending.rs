//! What goes out reliably: records are cut into segments, which stay until they are acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::limits::DATA_PAYLOAD_BYTES;
use voicemesh_wire::packet::{DataAck, Record};

use super::congestion::Congestion;
use super::{FLIGHT_SEGMENTS, MESSAGE_COST, earlier};

/// So many segments sent later were acknowledged: this one is lost (RFC 9002 §6.1.1).
const OVERTAKEN: u64 = 3;

/// A segment to put into a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub number: u32,
    pub record: Record,
    pub is_first: bool,
    pub is_last: bool,
    pub payload: Bytes,
}

/// One direction of a pipe, as its sender sees it.
#[derive(Debug)]
pub(super) struct Sending {
    queue: VecDeque<Waiting>,
    queued_bytes: usize,
    flight: VecDeque<InFlight>,
    /// The number of the first in flight, or of the next to be sent.
    first: u32,
    /// The first number for which the receiver has no room.
    room_ends: u32,
    /// When the receiver's lack of room was first met; it is asked after now and then.
    full_since: Option<Duration>,
    /// Counts every transmission, first and repeated.
    transmissions: u64,
    newest_acknowledged: Option<u64>,
    pub(super) congestion: Congestion,
}

#[derive(Debug)]
struct Waiting {
    record: Record,
    bytes: Bytes,
    is_begun: bool,
}

#[derive(Debug)]
struct InFlight {
    segment: Segment,
    state: State,
    sent_at: Duration,
    transmission: u64,
    is_repeated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    OnItsWay,
    Lost,
    Arrived,
}

impl Sending {
    /// `room` is what a receiver has before it has said anything.
    pub(super) fn new(room: u32) -> Self {
        Self {
            queue: VecDeque::new(),
            queued_bytes: 0,
            flight: VecDeque::new(),
            first: 0,
            room_ends: room,
            full_since: None,
            transmissions: 0,
            newest_acknowledged: None,
            congestion: Congestion::new(),
        }
    }

    /// Bytes that are not acknowledged yet, and [`MESSAGE_COST`] for each record.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) fn push(&mut self, record: Record, bytes: Bytes) {
        self.queued_bytes += bytes.len() + MESSAGE_COST;
        self.queue.push_back(Waiting { record, bytes, is_begun: false });
    }

    /// The next segment that may leave now, lost ones first.
    pub(super) fn poll_segment(&mut self, now: Duration) -> Option<Segment> {
        if self.on_its_way() >= self.congestion.window() {
            return None;
        }
        if let Some(lost) = self.flight.iter_mut().find(|sent| sent.state == State::Lost) {
            self.transmissions += 1;
            *lost = InFlight {
                segment: lost.segment.clone(),
                state: State::OnItsWay,
                sent_at: now,
                transmission: self.transmissions,
                is_repeated: true,
            };
            return Some(lost.segment.clone());
        }
        if self.flight.len() >= FLIGHT_SEGMENTS || self.queue.is_empty() || !self.has_room(now) {
            return None;
        }
        let segment = self.cut()?;
        self.transmissions += 1;
        self.flight.push_back(InFlight {
            segment: segment.clone(),
            state: State::OnItsWay,
            sent_at: now,
            transmission: self.transmissions,
            is_repeated: false,
        });
        Some(segment)
    }

    /// When the time-out of something on its way passes, or the receiver is to be asked after its
    /// room.
    pub(super) fn due(&self) -> Option<Duration> {
        let timeout = self.congestion.timeout();
        let oldest = self
            .flight
            .iter()
            .filter(|sent| sent.state == State::OnItsWay)
            .map(|sent| sent.sent_at)
            .min();
        earlier(oldest.map(|at| at + timeout), self.full_since.map(|at| at + timeout))
    }

    /// What time alone brings about.
    pub(super) fn update(&mut self, now: Duration) {
        let timeout = self.congestion.timeout();
        let mut any = false;
        for sent in self.flight.iter_mut().filter(|sent| sent.state == State::OnItsWay) {
            if now >= sent.sent_at + timeout {
                sent.state = State::Lost;
                any = true;
            }
        }
        if any {
            self.congestion.timed_out(now);
        }
    }

    /// What was on its way is not waited for any longer: the way is gone.
    pub(super) fn give_up_flight(&mut self) {
        for sent in self.flight.iter_mut().filter(|sent| sent.state == State::OnItsWay) {
            sent.state = State::Lost;
        }
        self.congestion.moved();
    }

    /// Takes an acknowledgement; one that cannot be true has no effect, and says so.
    pub(super) fn acknowledged(&mut self, now: Duration, ack: &DataAck) -> bool {
        let behind = ack.next.wrapping_sub(self.first);
        if behind as usize > self.flight.len() {
            // An old one was overtaken, or it speaks of what was never sent.
            return behind >= u32::MAX / 2;
        }
        let was_full = self.on_its_way() >= self.congestion.window() || !self.queue.is_empty();
        let mut arrived = 0;
        let mut sample: Option<(u64, Duration)> = None;
        for (index, sent) in self.flight.iter_mut().enumerate() {
            let past = (index as u32).checked_sub(behind);
            let is_there = match past {
                None => true,
                Some(0) => false,
                Some(past @ 1..=64) => ack.later & (1 << (past - 1)) != 0,
                Some(_) => false,
            };
            if !is_there || sent.state == State::Arrived {
                continue;
            }
            arrived += 1;
            sent.state = State::Arrived;
            self.newest_acknowledged = self.newest_acknowledged.max(Some(sent.transmission));
            if !sent.is_repeated && sample.is_none_or(|(newest, _)| sent.transmission > newest) {
                sample = Some((sent.transmission, now.saturating_sub(sent.sent_at)));
            }
        }
        for _ in 0..behind {
            if let Some(done) = self.flight.pop_front() {
                let cost = if done.segment.is_last { MESSAGE_COST } else { 0 };
                self.queued_bytes =
                    self.queued_bytes.saturating_sub(done.segment.payload.len() + cost);
            }
            self.first = self.first.wrapping_add(1);
        }
        let room_ends = ack.next.wrapping_add(ack.window.into());
        if (room_ends.wrapping_sub(self.room_ends) as i32) > 0 {
            self.room_ends = room_ends;
            self.full_since = None;
        }
        if arrived > 0 {
            self.congestion.acknowledged(now, arrived, sample.map(|(_, sample)| sample), was_full);
            self.find_lost(now);
        }
        true
    }

    fn find_lost(&mut self, now: Duration) {
        let Some(newest) = self.newest_acknowledged else { return };
        let mut any = false;
        for sent in self.flight.iter_mut().filter(|sent| sent.state == State::OnItsWay) {
            if sent.transmission + OVERTAKEN <= newest {
                sent.state = State::Lost;
                any = true;
            }
        }
        if any {
            self.congestion.lost(now);
        }
    }

    fn on_its_way(&self) -> usize {
        self.flight.iter().filter(|sent| sent.state == State::OnItsWay).count()
    }

    /// Whether the receiver has room for one more; where it has said that it has none, one goes now
    /// and then all the same, so that an answer tells.
    fn has_room(&mut self, now: Duration) -> bool {
        let number = self.first.wrapping_add(self.flight.len() as u32);
        if (self.room_ends.wrapping_sub(number) as i32) > 0 {
            return true;
        }
        let since = *self.full_since.get_or_insert(now);
        let asks = self.flight.is_empty() && now >= since + self.congestion.timeout();
        if asks {
            self.full_since = Some(now);
        }
        asks
    }

    fn cut(&mut self) -> Option<Segment> {
        let waiting = self.queue.front_mut()?;
        let is_first = !std::mem::replace(&mut waiting.is_begun, true);
        let payload = waiting.bytes.split_to(waiting.bytes.len().min(DATA_PAYLOAD_BYTES));
        let is_last = waiting.bytes.is_empty();
        let record = waiting.record;
        if is_last {
            self.queue.pop_front();
        }
        let number = self.first.wrapping_add(self.flight.len() as u32);
        Some(Segment { number, record, is_first, is_last, payload })
    }
}
