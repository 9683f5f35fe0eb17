//! What waits between a link's handle and its task: packets to send, signals to apply, the wish to
//! close; and the figures that the handle shows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use voicemesh_common::lock;
use voicemesh_wire::signaling::Signal;

use crate::limits::{
    DESCRIPTION_BYTES, LOSSY_PACKET_BYTES, RELIABLE_QUEUE_BYTES, RELIABLE_STREAM_PACKET_BYTES,
    SIGNAL_QUEUE, SIGNAL_QUEUE_FOR_DESCRIPTIONS, UNRELIABLE_QUEUE_PACKETS, VOICE_QUEUE_PACKETS,
};
use crate::socket::WireCounters;
use crate::{LinkSendError, LinkStats, Stream};

/// Shared by the handle and the task. The lock is held for a few instructions at a time.
pub(crate) struct LinkQueues {
    inner: Mutex<Inner>,
    wake: Notify,
    wire: Arc<WireCounters>,
}

struct Inner {
    phase: Phase,
    signals: VecDeque<Signal>,
    voice: LossyQueue,
    unreliable: LossyQueue,
    reliable: VecDeque<Bytes>,
    reliable_bytes: usize,
    stats: LinkStats,
    oldest_voice: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Open,
    Closing,
}

/// One that may be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LossyPacket {
    pub packet: Bytes,
    /// It measures the way: no other message may be in its datagram.
    pub is_probe: bool,
}

/// A few packets; the oldest gives way.
struct LossyQueue {
    packets: VecDeque<LossyPacket>,
    capacity: usize,
    offered_bytes: u64,
}

impl LinkQueues {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                phase: Phase::Opening,
                signals: VecDeque::new(),
                voice: LossyQueue::new(VOICE_QUEUE_PACKETS),
                unreliable: LossyQueue::new(UNRELIABLE_QUEUE_PACKETS),
                reliable: VecDeque::new(),
                reliable_bytes: 0,
                stats: LinkStats::default(),
                oldest_voice: None,
            }),
            wake: Notify::new(),
            wire: Arc::default(),
        }
    }

    /// What the link's sockets count into.
    pub(crate) fn wire(&self) -> &Arc<WireCounters> {
        &self.wire
    }

    // What the handle does.

    pub(crate) fn send(&self, stream: Stream, packet: Bytes) -> Result<(), LinkSendError> {
        self.push(stream, packet, false)
    }

    pub(crate) fn send_probe(&self, packet: Bytes) -> Result<(), LinkSendError> {
        self.push(Stream::Unreliable, packet, true)
    }

    fn push(&self, stream: Stream, packet: Bytes, is_probe: bool) -> Result<(), LinkSendError> {
        let limit = match stream {
            Stream::Voice | Stream::Unreliable => LOSSY_PACKET_BYTES,
            Stream::Reliable => RELIABLE_STREAM_PACKET_BYTES,
        };
        if packet.len() > limit {
            return Err(LinkSendError::TooLarge { limit });
        }
        let mut inner = self.lock();
        match inner.phase {
            Phase::Opening => return Err(LinkSendError::NotOpen),
            Phase::Closing => return Err(LinkSendError::Closed),
            Phase::Open => {}
        }
        match stream {
            Stream::Voice => {
                inner.stats.voice_dropped += inner.voice.push(LossyPacket { packet, is_probe });
            }
            Stream::Unreliable => {
                let packet = LossyPacket { packet, is_probe };
                inner.stats.unreliable_dropped += inner.unreliable.push(packet);
            }
            Stream::Reliable => {
                if inner.reliable_bytes + packet.len() > RELIABLE_QUEUE_BYTES {
                    return Err(LinkSendError::Full);
                }
                inner.reliable_bytes += packet.len();
                inner.reliable.push_back(packet);
            }
        }
        drop(inner);
        self.wake.notify_one();
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let capacity = match signal {
            Signal::Offer { .. } | Signal::Answer { .. } => SIGNAL_QUEUE,
            Signal::Candidate { .. } | Signal::EndOfCandidates | Signal::RequestOffer => {
                SIGNAL_QUEUE - SIGNAL_QUEUE_FOR_DESCRIPTIONS
            }
        };
        let mut inner = self.lock();
        if inner.signals.len() >= capacity || is_hopelessly_large(&signal) {
            inner.stats.signals_refused += 1;
            return;
        }
        inner.signals.push_back(signal);
        drop(inner);
        self.wake.notify_one();
    }

    pub(crate) fn close(&self) {
        self.lock().phase = Phase::Closing;
        self.wake.notify_one();
    }

    pub(crate) fn stats(&self, now: Instant) -> LinkStats {
        let inner = self.lock();
        let mut stats = inner.stats.clone();
        stats.voice_unacknowledged_for =
            inner.oldest_voice.map(|sent_at| now.saturating_duration_since(sent_at));
        self.wire.fill(&mut stats);
        stats
    }

    // What the task does.

    /// Returns when the handle left something to do since the last time.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.lock().phase == Phase::Closing
    }

    /// From now on packets are accepted.
    pub(crate) fn open(&self) {
        let mut inner = self.lock();
        if inner.phase == Phase::Opening {
            inner.phase = Phase::Open;
        }
    }

    /// From now on nothing is accepted, and what waited is gone.
    pub(crate) fn shut(&self) {
        let mut inner = self.lock();
        inner.phase = Phase::Closing;
        inner.signals.clear();
        inner.voice.packets.clear();
        inner.unreliable.packets.clear();
        inner.reliable.clear();
        inner.reliable_bytes = 0;
        inner.oldest_voice = None;
    }

    pub(crate) fn next_signal(&self) -> Option<Signal> {
        self.lock().signals.pop_front()
    }

    /// The next packet's size, and all bytes ever offered, on a stream that may lose.
    pub(crate) fn peek_lossy(&self, stream: LossyStream) -> (Option<usize>, u64) {
        let mut inner = self.lock();
        let queue = inner.lossy(stream);
        (queue.packets.front().map(|next| next.packet.len()), queue.offered_bytes)
    }

    pub(crate) fn next_lossy(&self, stream: LossyStream) -> Option<LossyPacket> {
        self.lock().lossy(stream).packets.pop_front()
    }

    pub(crate) fn next_reliable(&self) -> Option<Bytes> {
        let mut inner = self.lock();
        let packet = inner.reliable.pop_front()?;
        inner.reliable_bytes -= packet.len();
        Some(packet)
    }

    pub(crate) fn set_oldest_voice(&self, sent_at: Option<Instant>) {
        self.lock().oldest_voice = sent_at;
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut LinkStats)) {
        change(&mut self.lock().stats);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds the lock can leave it half changed.
        lock(&self.inner)
    }
}

/// The streams that may lose packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LossyStream {
    Voice,
    Unreliable,
}

impl From<LossyStream> for Stream {
    fn from(stream: LossyStream) -> Self {
        match stream {
            LossyStream::Voice => Stream::Voice,
            LossyStream::Unreliable => Stream::Unreliable,
        }
    }
}

impl Inner {
    fn lossy(&mut self, stream: LossyStream) -> &mut LossyQueue {
        match stream {
            LossyStream::Voice => &mut self.voice,
            LossyStream::Unreliable => &mut self.unreliable,
        }
    }
}

impl LossyQueue {
    fn new(capacity: usize) -> Self {
        Self { packets: VecDeque::with_capacity(capacity), capacity, offered_bytes: 0 }
    }

    /// Returns how many packets gave way.
    fn push(&mut self, packet: LossyPacket) -> u64 {
        self.offered_bytes += packet.packet.len() as u64;
        let dropped = if self.packets.len() >= self.capacity {
            self.packets.pop_front();
            1
        } else {
            0
        };
        self.packets.push_back(packet);
        dropped
    }
}

/// What is not even worth keeping until the task looks at it. A description a little over the limit
/// is kept: it ends the link with a reason.
fn is_hopelessly_large(signal: &Signal) -> bool {
    match signal {
        Signal::Offer { sdp } | Signal::Answer { sdp } => sdp.len() > 8 * DESCRIPTION_BYTES,
        Signal::Candidate { candidate, .. } => candidate.len() > DESCRIPTION_BYTES,
        Signal::EndOfCandidates | Signal::RequestOffer => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_queues() -> LinkQueues {
        let queues = LinkQueues::new();
        queues.open();
        queues
    }

    #[test]
    fn the_oldest_voice_gives_way() {
        let queues = open_queues();
        let queue = VOICE_QUEUE_PACKETS as u8;
        for number in 0..queue + 2 {
            queues.send(Stream::Voice, Bytes::from(vec![number])).unwrap();
        }
        let kept: Vec<_> = std::iter::from_fn(|| queues.next_lossy(LossyStream::Voice))
            .map(|next| next.packet[0])
            .collect();
        assert_eq!(kept, (2..queue + 2).collect::<Vec<_>>());
        assert_eq!(queues.stats(Instant::now()).voice_dropped, 2);
    }

    #[test]
    fn reliable_packets_are_refused_once_their_queue_is_full_and_taken_again_later() {
        let queues = open_queues();
        let packet = Bytes::from(vec![0; RELIABLE_STREAM_PACKET_BYTES]);
        let fitting = RELIABLE_QUEUE_BYTES / RELIABLE_STREAM_PACKET_BYTES;
        for _ in 0..fitting {
            queues.send(Stream::Reliable, packet.clone()).unwrap();
        }
        assert_eq!(queues.send(Stream::Reliable, packet.clone()), Err(LinkSendError::Full));
        queues.next_reliable().unwrap();
        assert_eq!(queues.send(Stream::Reliable, packet), Ok(()));
    }

    #[test]
    fn packets_are_refused_before_a_link_opens_and_after_it_closes() {
        let queues = LinkQueues::new();
        assert_eq!(queues.send(Stream::Voice, Bytes::new()), Err(LinkSendError::NotOpen));
        queues.close();
        queues.open();
        assert_eq!(queues.send(Stream::Voice, Bytes::new()), Err(LinkSendError::Closed));
    }

    #[test]
    fn a_flood_of_signals_is_bounded_and_counted_and_does_not_push_out_a_description() {
        let queues = LinkQueues::new();
        for _ in 0..1000 {
            queues.signal(Signal::EndOfCandidates);
        }
        for _ in 0..1000 {
            queues.signal(Signal::Answer { sdp: String::new() });
        }
        let kept: Vec<_> = std::iter::from_fn(|| queues.next_signal()).collect();
        assert_eq!(kept.len(), SIGNAL_QUEUE);
        assert!(kept.ends_with(&[Signal::Answer { sdp: String::new() }]));
        assert_eq!(queues.stats(Instant::now()).signals_refused, 2000 - SIGNAL_QUEUE as u64);
    }
}
