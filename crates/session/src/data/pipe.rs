//! One end of a pipe: both directions, and the channels in it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::packet::{DataAck, DataMessage, DataReset, DataSegment, PipeEnd, Record};
use voicemesh_wire::{ClientId, SessionId};

pub use super::receiving::Violation;
use super::receiving::{Complete, Receiving};
use super::sending::{Segment, Sending};
use super::{
    DataError, HELD_LOSSY, HELD_SEGMENTS, MESSAGE_COST, QUEUE_BYTES, WAITING_LOSSY, check_size,
    earlier,
};
use crate::transport::Reliability;

/// What a pipe tells its holder, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PipeEvent {
    /// A message came.
    Message {
        /// On which channel; `None` outside of channels.
        channel: Option<u8>,
        /// How it was sent.
        reliability: Reliability,
        /// The message.
        bytes: Bytes,
    },
    /// Both sides have opened a channel in the same way.
    Opened {
        /// Which.
        channel: u8,
        /// In which way.
        reliability: Reliability,
    },
    /// Both sides have opened a channel, each in another way. Nothing flows on it until one closes
    /// it and opens it again.
    Mismatch {
        /// Which.
        channel: u8,
        /// This side's way.
        ours: Reliability,
        /// The other side's.
        theirs: Reliability,
    },
    /// The other side has closed a channel. It can be opened again by both.
    Closed {
        /// Which.
        channel: u8,
    },
}

/// What came, as it was in its packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A part of what must arrive, and its payload again, as a separate buffer.
    Segment(DataSegment<'a>, Bytes),
    /// Which parts have arrived at the other side.
    Ack(DataAck),
    /// A lossy message; on a channel or outside of them.
    Lossy(Option<u8>, Bytes),
}

/// What shall leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A part of what must arrive.
    Segment(SegmentOut),
    /// Which parts have come.
    Ack(DataAck),
    /// A lossy message.
    Lossy(Option<(PipeEnd, u8)>, Bytes),
    /// The pipe is no more.
    Reset(PipeEnd),
}

/// A segment with both its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentOut {
    from: PipeEnd,
    to: Option<PipeEnd>,
    segment: Segment,
}

impl Outgoing {
    /// The packet, in a session and from a client of it.
    pub fn encode(&self, session: SessionId, sender: ClientId) -> Vec<u8> {
        match self {
            Self::Segment(SegmentOut { from, to, segment }) => DataSegment {
                sender,
                from: *from,
                to: *to,
                number: segment.number,
                record: segment.record,
                is_first: segment.is_first,
                is_last: segment.is_last,
                payload: &segment.payload,
            }
            .encode(session),
            Self::Ack(ack) => DataAck { sender, ..*ack }.encode(session),
            Self::Lossy(on, payload) => DataMessage { sender, on: *on, payload }.encode(session),
            Self::Reset(to) => DataReset { sender, to: *to }.encode(session),
        }
    }

    /// How many bytes of the program's it carries.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Segment(out) => out.segment.payload.len(),
            Self::Lossy(_, payload) => payload.len(),
            Self::Ack(_) | Self::Reset(_) => 0,
        }
    }
}

/// One end of what two peers have open between them.
#[derive(Debug)]
pub struct Pipe {
    end: PipeEnd,
    remote: Option<PipeEnd>,
    sending: Sending,
    receiving: Receiving,
    channels: BTreeMap<u8, Channel>,
    /// Of reliable messages that wait for their channel, with [`MESSAGE_COST`].
    waiting_bytes: usize,
    lossy_out: VecDeque<(Option<u8>, Bytes)>,
    lossy_in: VecDeque<(Option<u8>, Bytes)>,
    complete: VecDeque<Complete>,
    events: VecDeque<(PipeEvent, usize)>,
    lossy_dropped: u64,
}

/// What each side has said of a channel.
#[derive(Debug, Default)]
struct Channel {
    ours: Option<Reliability>,
    theirs: Option<Reliability>,
    /// Sent by this side before the other had opened it.
    waiting: VecDeque<Bytes>,
}

impl Channel {
    fn is_open_as(&self, reliability: Reliability) -> bool {
        self.ours == Some(reliability) && self.theirs == Some(reliability)
    }
}

impl Pipe {
    /// An end with a name that was drawn for it; the other end is known where it began.
    pub fn new(end: PipeEnd, remote: Option<PipeEnd>) -> Self {
        Self {
            end,
            remote,
            sending: Sending::new(HELD_SEGMENTS as u32),
            receiving: Receiving::default(),
            channels: BTreeMap::new(),
            waiting_bytes: 0,
            lossy_out: VecDeque::new(),
            lossy_in: VecDeque::new(),
            complete: VecDeque::new(),
            events: VecDeque::new(),
            lossy_dropped: 0,
        }
    }

    /// This end's name.
    pub fn end(&self) -> PipeEnd {
        self.end
    }

    /// The other end's, once known.
    pub fn remote(&self) -> Option<PipeEnd> {
        self.remote
    }

    /// The other end has been heard of for the first time.
    pub fn set_remote(&mut self, remote: PipeEnd) {
        self.remote.get_or_insert(remote);
    }

    /// Reliable bytes that are not acknowledged, each message with [`MESSAGE_COST`].
    pub fn queued_bytes(&self) -> usize {
        self.sending.queued_bytes() + self.waiting_bytes
    }

    /// Lossy messages that gave way to newer ones before they were sent or taken.
    pub fn lossy_dropped(&self) -> u64 {
        self.lossy_dropped
    }

    /// The channels that this side has open, and as what.
    pub fn channels(&self) -> impl Iterator<Item = (u8, Reliability)> + '_ {
        self.channels.iter().filter_map(|(number, channel)| Some((*number, channel.ours?)))
    }

    /// Sends a message outside of channels.
    pub fn send(&mut self, reliability: Reliability, bytes: Bytes) -> Result<(), DataError> {
        check_size(reliability, &bytes)?;
        match reliability {
            Reliability::Reliable => {
                self.check_queue(bytes.len())?;
                self.sending.push(Record::Message, bytes);
            }
            Reliability::Unreliable => self.push_lossy(None, bytes),
        }
        Ok(())
    }

    /// Opens a channel from this side. Opening it again in the same way does nothing; in another
    /// way, it is closed first.
    pub fn open(&mut self, number: u8, reliability: Reliability) -> Result<(), DataError> {
        match self.channels.get(&number).and_then(|channel| channel.ours) {
            Some(ours) if ours == reliability => return Ok(()),
            Some(_) => self.close(number)?,
            None => {}
        }
        self.check_queue(0)?;
        self.channels.entry(number).or_default().ours = Some(reliability);
        let record = match reliability {
            Reliability::Reliable => Record::OpenReliable(number),
            Reliability::Unreliable => Record::OpenUnreliable(number),
        };
        self.sending.push(record, Bytes::new());
        self.settle(number, 0);
        Ok(())
    }

    /// Closes a channel from this side; what waits on it for the other side to open it is gone.
    /// Harmless when it is not open.
    pub fn close(&mut self, number: u8) -> Result<(), DataError> {
        let Some(channel) = self.channels.get_mut(&number).filter(|channel| channel.ours.is_some())
        else {
            return Ok(());
        };
        if channel.ours == Some(Reliability::Reliable) {
            let bytes: usize = channel.waiting.iter().map(|bytes| bytes.len() + MESSAGE_COST).sum();
            self.waiting_bytes -= bytes;
        }
        channel.waiting.clear();
        channel.ours = None;
        if channel.theirs.is_none() {
            self.channels.remove(&number);
        }
        self.sending.push(Record::Close(number), Bytes::new());
        Ok(())
    }

    /// Sends on a channel. Until the other side has opened it too, the message waits.
    pub fn send_on(&mut self, number: u8, bytes: Bytes) -> Result<(), DataError> {
        let channel = self.channels.get(&number).ok_or(DataError::ChannelClosed)?;
        let ours = channel.ours.ok_or(DataError::ChannelClosed)?;
        check_size(ours, &bytes)?;
        if let Some(theirs) = channel.theirs.filter(|theirs| *theirs != ours) {
            return Err(DataError::ChannelMismatch { theirs });
        }
        let is_open = channel.is_open_as(ours);
        match ours {
            Reliability::Reliable => {
                self.check_queue(bytes.len())?;
                if is_open {
                    self.sending.push(Record::OnChannel(number), bytes);
                    return Ok(());
                }
                self.waiting_bytes += bytes.len() + MESSAGE_COST;
            }
            Reliability::Unreliable if is_open => {
                self.push_lossy(Some(number), bytes);
                return Ok(());
            }
            Reliability::Unreliable => {}
        }
        let Some(channel) = self.channels.get_mut(&number) else {
            return Err(DataError::ChannelClosed);
        };
        if ours == Reliability::Unreliable && channel.waiting.len() >= WAITING_LOSSY {
            channel.waiting.pop_front();
            self.lossy_dropped += 1;
        }
        channel.waiting.push_back(bytes);
        Ok(())
    }

    /// Takes what came from the other end.
    pub fn receive(&mut self, now: Duration, inward: Incoming<'_>) -> Result<(), Violation> {
        match inward {
            Incoming::Segment(segment, payload) => {
                self.receiving.receive(now, &segment, payload, &mut self.complete)?;
                while let Some(complete) = self.complete.pop_front() {
                    self.take_record(now, complete);
                }
            }
            Incoming::Ack(ack) => {
                self.sending.acknowledged(now, &ack);
            }
            Incoming::Lossy(channel, bytes) => {
                let is_open = channel.is_none_or(|number| {
                    self.channels
                        .get(&number)
                        .is_some_and(|channel| channel.is_open_as(Reliability::Unreliable))
                });
                if is_open {
                    if self.lossy_in.len() >= HELD_LOSSY {
                        self.lossy_in.pop_front();
                        self.lossy_dropped += 1;
                    }
                    self.lossy_in.push_back((channel, bytes));
                }
            }
        }
        Ok(())
    }

    /// The next thing that happened. Taking messages makes room for more.
    pub fn poll_event(&mut self, now: Duration) -> Option<PipeEvent> {
        if let Some((event, segments)) = self.events.pop_front() {
            self.receiving.taken(now, segments);
            return Some(event);
        }
        let (channel, bytes) = self.lossy_in.pop_front()?;
        Some(PipeEvent::Message { channel, reliability: Reliability::Unreliable, bytes })
    }

    /// Whether [`poll_event`](Self::poll_event) would give something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty() || !self.lossy_in.is_empty()
    }

    /// The next packet to send now. Acknowledgements come first, lossy messages before what must
    /// arrive.
    pub fn poll_outward(&mut self, now: Duration) -> Option<Outgoing> {
        if let Some(remote) = self.remote
            && self.receiving.ack_due().is_some_and(|due| now >= due)
        {
            let (next, later, window) = self.receiving.acknowledge();
            let sender = ClientId(0);
            return Some(Outgoing::Ack(DataAck {
                sender,
                from: self.end,
                to: remote,
                next,
                later,
                window,
            }));
        }
        while let Some((channel, bytes)) = self.lossy_out.pop_front() {
            match (channel, self.remote) {
                (None, _) => return Some(Outgoing::Lossy(None, bytes)),
                (Some(channel), Some(remote)) => {
                    return Some(Outgoing::Lossy(Some((remote, channel)), bytes));
                }
                (Some(_), None) => {}
            }
        }
        let segment = self.sending.poll_segment(now)?;
        Some(Outgoing::Segment(SegmentOut { from: self.end, to: self.remote, segment }))
    }

    /// Nothing is to be sent, nor waited for.
    pub fn is_idle(&self) -> bool {
        self.sending.queued_bytes() == 0
            && self.lossy_out.is_empty()
            && self.receiving.ack_due().is_none()
    }

    /// When [`poll_outward`](Self::poll_outward) may give something although nothing happened.
    pub fn due(&self) -> Option<Duration> {
        earlier(self.sending.due(), self.receiving.ack_due())
    }

    /// What time alone brings about.
    pub fn update(&mut self, now: Duration) {
        self.sending.update(now);
    }

    /// Another way to the other end is in use; what was on the former one may be gone, and is sent
    /// again.
    pub fn on_route_change(&mut self) {
        self.sending.give_up_flight();
    }

    /// The smoothed time from sending a segment to its acknowledgement.
    pub fn round_trip(&self) -> Option<Duration> {
        self.sending.congestion.round_trip()
    }

    fn check_queue(&self, bytes: usize) -> Result<(), DataError> {
        let queued_bytes = self.queued_bytes();
        if queued_bytes + bytes + MESSAGE_COST > QUEUE_BYTES {
            return Err(DataError::WouldBlock { queued_bytes });
        }
        Ok(())
    }

    fn push_lossy(&mut self, channel: Option<u8>, bytes: Bytes) {
        if self.lossy_out.len() >= HELD_LOSSY {
            self.lossy_out.pop_front();
            self.lossy_dropped += 1;
        }
        self.lossy_out.push_back((channel, bytes));
    }

    fn take_record(&mut self, now: Duration, Complete { record, bytes, segments }: Complete) {
        let reliability = Reliability::Reliable;
        match record {
            Record::Message => {
                self.events.push_back((
                    PipeEvent::Message { channel: None, reliability, bytes },
                    segments,
                ));
            }
            Record::OnChannel(number) => {
                // A message that was on its way when this side closed the channel is dropped.
                if self.channels.get(&number).is_some_and(|channel| channel.is_open_as(reliability))
                {
                    let event = PipeEvent::Message { channel: Some(number), reliability, bytes };
                    self.events.push_back((event, segments));
                } else {
                    self.receiving.taken(now, segments);
                }
            }
            Record::OpenReliable(number) => {
                self.opened_by_remote(now, number, Reliability::Reliable, segments)
            }
            Record::OpenUnreliable(number) => {
                self.opened_by_remote(now, number, Reliability::Unreliable, segments)
            }
            Record::Close(number) => self.closed_by_remote(now, number, segments),
        }
    }

    fn opened_by_remote(
        &mut self,
        now: Duration,
        number: u8,
        theirs: Reliability,
        segments: usize,
    ) {
        let channel = self.channels.entry(number).or_default();
        if channel.theirs.replace(theirs) == Some(theirs) || channel.ours.is_none() {
            self.receiving.taken(now, segments);
        } else {
            self.settle(number, segments);
        }
    }

    fn closed_by_remote(&mut self, now: Duration, number: u8, segments: usize) {
        let Some(channel) = self.channels.get_mut(&number) else {
            return self.receiving.taken(now, segments);
        };
        let was_theirs = channel.theirs.take();
        match channel.ours {
            Some(ours) if was_theirs == Some(ours) => {
                self.events.push_back((PipeEvent::Closed { channel: number }, segments));
            }
            Some(_) => self.receiving.taken(now, segments),
            None => {
                self.channels.remove(&number);
                self.receiving.taken(now, segments);
            }
        }
    }

    /// One side has opened a channel: if both have, an event says how that went, and what waited is
    /// sent.
    fn settle(&mut self, number: u8, segments: usize) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        let (Some(ours), Some(theirs)) = (channel.ours, channel.theirs) else { return };
        let waiting = std::mem::take(&mut channel.waiting);
        if ours == Reliability::Reliable {
            let bytes: usize = waiting.iter().map(|bytes| bytes.len() + MESSAGE_COST).sum();
            self.waiting_bytes -= bytes;
        }
        if ours != theirs {
            self.events
                .push_back((PipeEvent::Mismatch { channel: number, ours, theirs }, segments));
            return;
        }
        self.events.push_back((PipeEvent::Opened { channel: number, reliability: ours }, segments));
        for bytes in waiting {
            match ours {
                Reliability::Reliable => self.sending.push(Record::OnChannel(number), bytes),
                Reliability::Unreliable => self.push_lossy(Some(number), bytes),
            }
        }
    }
}
