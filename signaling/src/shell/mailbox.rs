//! What waits to be written to one connection. Filled under the room's lock, emptied by the connection's own task.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use voicemesh_session::Delivery;
use voicemesh_wire::packet::{self, Kind};
use voicemesh_wire::signaling::{ErrorCode, ServerMessage};

use super::lock;
use crate::outbox::{CloseReason, Text};
use crate::refusal::Refusal;

/// Voice packets that wait for one receiver; one more, and the oldest goes.
const VOICE_PACKETS: usize = 32;
/// Voice that waited longer than this is not sent.
const VOICE_AGE: Duration = Duration::from_millis(400);
/// Packets of games' own bytes that wait for one receiver; one more is not taken. The peers send again what must arrive.
const DATA_PACKETS: usize = 128;
/// Messages and reliable packets that wait for one receiver; one more, and its connection ends (`slow-consumer`).
const RELIABLE_MESSAGES: usize = 512;
/// Their bytes together; of each, no more than [`COUNTED_BYTES`] are counted.
const RELIABLE_BYTES: usize = 256 * 1024;
/// A roster with everyone's metadata may be larger than the whole queue, and is no sign that its receiver is slow.
const COUNTED_BYTES: usize = 64 * 1024;
/// A queue that was longer than this gives its memory back once it is empty.
const KEPT_CAPACITY: usize = 8;
/// After its last words a connection has this long to say goodbye.
const LINGER: Duration = Duration::from_secs(2);

/// One connection's mailbox.
#[derive(Debug)]
pub(super) struct Mailbox {
    queues: Mutex<Queues>,
    /// The connection's task.
    pub(super) waker: AtomicWaker,
    heard_at_ms: AtomicU64,
}

#[derive(Debug)]
struct Queues {
    reliable: VecDeque<Message>,
    reliable_bytes: usize,
    voice: VecDeque<(Duration, Bytes)>,
    voice_next: bool,
    data: VecDeque<Bytes>,
    data_next: bool,
    phase: Phase,
    pinged_at: Duration,
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

/// What became of something that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Queued,
    /// An older voice packet had to go.
    OldestDropped,
    /// There is no room for it.
    Refused,
    /// The connection ends: slow consumer.
    Overflow,
    /// The connection is ending already.
    Ended,
}

/// What [`Mailbox::check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    Well,
    Lost,
}

impl Mailbox {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            queues: Mutex::new(Queues {
                reliable: VecDeque::new(),
                reliable_bytes: 0,
                voice: VecDeque::new(),
                voice_next: false,
                data: VecDeque::new(),
                data_next: false,
                phase: Phase::Waiting { since: now },
                pinged_at: now,
            }),
            waker: AtomicWaker::new(),
            heard_at_ms: AtomicU64::new(to_millis(now)),
        }
    }

    /// The peer is in a room, or its password is looked at: no more join is waited for.
    pub(super) fn joined(&self) {
        let mut queues = lock(&self.queues);
        if let Phase::Waiting { .. } = queues.phase {
            queues.phase = Phase::Joined;
        }
    }

    /// Something arrived from the peer, a pong included.
    pub(super) fn heard(&self, now: Duration) {
        self.heard_at_ms.store(to_millis(now), Ordering::Relaxed);
    }

    pub(super) fn text(&self, now: Duration, text: &Text) -> Put {
        let Ok(text) = Utf8Bytes::try_from(text.bytes().clone()) else { return Put::Ended };
        self.put_reliable(now, Message::Text(text))
    }

    pub(super) fn packet(&self, now: Duration, packet: Bytes, delivery: Delivery) -> Put {
        match delivery {
            Delivery::Reliable => self.put_reliable(now, Message::Binary(packet)),
            Delivery::Voice => self.put_voice(now, packet),
            Delivery::Data => self.put_data(packet),
        }
    }

    fn put_reliable(&self, now: Duration, message: Message) -> Put {
        let put = {
            let mut queues = lock(&self.queues);
            if queues.is_ending() {
                return Put::Ended;
            }
            let bytes = queues.reliable_bytes + counted(&message);
            if queues.reliable.len() >= RELIABLE_MESSAGES || bytes > RELIABLE_BYTES {
                queues.end(now, CloseReason::SlowConsumer);
                queues.reliable.clear();
                queues.reliable.push_back(farewell(ErrorCode::SlowConsumer));
                Put::Overflow
            } else {
                queues.reliable_bytes = bytes;
                queues.reliable.push_back(message);
                Put::Queued
            }
        };
        self.waker.wake();
        put
    }

    fn put_voice(&self, now: Duration, packet: Bytes) -> Put {
        let put = {
            let mut queues = lock(&self.queues);
            if queues.is_ending() {
                return Put::Ended;
            }
            let full = queues.voice.len() >= VOICE_PACKETS;
            if full {
                queues.voice.pop_front();
            }
            queues.voice.push_back((now, packet));
            if full { Put::OldestDropped } else { Put::Queued }
        };
        self.waker.wake();
        put
    }

    fn put_data(&self, packet: Bytes) -> Put {
        {
            let mut queues = lock(&self.queues);
            if queues.is_ending() {
                return Put::Ended;
            }
            if queues.data.len() >= DATA_PACKETS {
                return Put::Refused;
            }
            queues.data.push_back(packet);
        }
        self.waker.wake();
        Put::Queued
    }

    /// Takes out the written messages of other clients (TextData) that wait. Unlike the rest of what waits they are part
    /// of no snapshot, so that a connection that takes over has to be sent them.
    pub(super) fn take_texts(&self) -> Vec<Bytes> {
        let mut queues = lock(&self.queues);
        let mut texts = Vec::new();
        let mut stays = VecDeque::with_capacity(queues.reliable.len());
        for message in std::mem::take(&mut queues.reliable) {
            match message {
                Message::Binary(packet) if is_text(&packet) => {
                    queues.reliable_bytes = queues.reliable_bytes.saturating_sub(packet.len().min(COUNTED_BYTES));
                    texts.push(packet);
                }
                message => stays.push_back(message),
            }
        }
        queues.reliable = stays;
        texts
    }

    /// More than half of what may wait does: nothing that can be done without should be added.
    pub(super) fn is_congested(&self) -> bool {
        let queues = lock(&self.queues);
        queues.reliable.len() > RELIABLE_MESSAGES / 2 || queues.reliable_bytes > RELIABLE_BYTES / 2
    }

    /// No more is taken in; what is in the reliable queue goes out, then the connection ends.
    pub(super) fn end(&self, now: Duration, reason: CloseReason) {
        lock(&self.queues).end(now, reason);
        self.waker.wake();
    }

    /// The next thing to write, and how many voice packets were dropped because they had become too old. Voice takes
    /// turns with the rest, and in that reliable messages with data, so that none waits behind a queue of another.
    pub(super) fn take(&self, now: Duration) -> (Option<Message>, usize) {
        let mut queues = lock(&self.queues);
        let mut dropped = 0;
        while queues.voice.front().is_some_and(|(at, _)| now > *at + VOICE_AGE) {
            queues.voice.pop_front();
            dropped += 1;
        }
        let voice_next =
            !queues.voice.is_empty() && (queues.voice_next || queues.reliable.is_empty() && queues.data.is_empty());
        queues.voice_next = !voice_next;
        if voice_next {
            return (queues.voice.pop_front().map(|(_, packet)| Message::Binary(packet)), dropped);
        }
        let data_next = !queues.data.is_empty() && (queues.data_next || queues.reliable.is_empty());
        queues.data_next = !data_next;
        if data_next {
            return (queues.data.pop_front().map(Message::Binary), dropped);
        }
        let message = queues.reliable.pop_front();
        match &message {
            Some(message) => queues.reliable_bytes = queues.reliable_bytes.saturating_sub(counted(message)),
            None => queues.give_memory_back(),
        }
        (message, dropped)
    }

    /// Why the connection ends, if it does.
    pub(super) fn ending(&self) -> Option<CloseReason> {
        lock(&self.queues).ending()
    }

    /// The connection has to go without another word.
    pub(super) fn is_abandoned(&self) -> bool {
        matches!(lock(&self.queues).phase, Phase::Abandoned { .. })
    }

    /// What happens by itself: pings, and the ends of those that do not join, fall silent, or do not go.
    pub(super) fn check(&self, now: Duration, ping_interval: Duration, join_timeout: Duration) -> Checked {
        let heard_at = Duration::from_millis(self.heard_at_ms.load(Ordering::Relaxed));
        let mut checked = Checked::Well;
        {
            let mut queues = lock(&self.queues);
            match queues.phase {
                Phase::Waiting { since } if now >= since + join_timeout => {
                    queues.end(now, CloseReason::Refused);
                    queues.reliable.push_back(farewell(ErrorCode::JoinTimeout));
                }
                Phase::Waiting { .. } | Phase::Joined if now >= heard_at + 2 * ping_interval => {
                    queues.phase = Phase::Abandoned { reason: CloseReason::Silent };
                    checked = Checked::Lost;
                }
                Phase::Waiting { .. } | Phase::Joined if now >= queues.pinged_at + ping_interval => {
                    queues.pinged_at = now;
                    queues.reliable.push_back(Message::Ping(Bytes::new()));
                }
                Phase::Ending { reason, since } if now >= since + LINGER => {
                    queues.phase = Phase::Abandoned { reason };
                }
                Phase::Waiting { .. } | Phase::Joined | Phase::Ending { .. } => return checked,
                // Woken again, in case that it is still there.
                Phase::Abandoned { .. } => {}
            }
        }
        self.waker.wake();
        checked
    }
}

impl Queues {
    fn ending(&self) -> Option<CloseReason> {
        match self.phase {
            Phase::Waiting { .. } | Phase::Joined => None,
            Phase::Ending { reason, .. } | Phase::Abandoned { reason } => Some(reason),
        }
    }

    fn is_ending(&self) -> bool {
        self.ending().is_some()
    }

    fn end(&mut self, now: Duration, reason: CloseReason) {
        if !self.is_ending() {
            self.phase = Phase::Ending { reason, since: now };
            self.voice.clear();
            self.data.clear();
        }
    }

    fn give_memory_back(&mut self) {
        if self.reliable.capacity() > KEPT_CAPACITY {
            self.reliable = VecDeque::new();
        }
        if self.voice.capacity() > KEPT_CAPACITY {
            self.voice = VecDeque::new();
        }
        if self.data.capacity() > KEPT_CAPACITY {
            self.data = VecDeque::new();
        }
    }
}

fn is_text(packet: &[u8]) -> bool {
    packet::open(packet).is_ok_and(|(header, _)| header.kind == Kind::TextData)
}

fn counted(message: &Message) -> usize {
    message.len().min(COUNTED_BYTES)
}

fn farewell(code: ErrorCode) -> Message {
    let message: ServerMessage = Refusal::of(code).farewell();
    Message::text(message.to_json())
}

fn to_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: Duration = Duration::from_secs(15);
    const JOIN: Duration = Duration::from_secs(10);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn voice(mailbox: &Mailbox, now: Duration, number: u8) -> Put {
        mailbox.packet(now, Bytes::from(vec![number]), Delivery::Voice)
    }

    fn drain(mailbox: &Mailbox, now: Duration) -> Vec<Message> {
        std::iter::from_fn(|| mailbox.take(now).0).collect()
    }

    /// proves: D-24
    #[test]
    fn late_voice_is_dropped_oldest_first() {
        let mailbox = Mailbox::new(ms(0));
        for number in 0..VOICE_PACKETS as u8 {
            assert_eq!(voice(&mailbox, ms(0), number), Put::Queued);
        }
        assert_eq!(voice(&mailbox, ms(0), 99), Put::OldestDropped);
        let taken = drain(&mailbox, ms(0));
        assert_eq!(taken.len(), VOICE_PACKETS);
        assert_eq!(taken[0], Message::binary(vec![1]));
        assert_eq!(taken[VOICE_PACKETS - 1], Message::binary(vec![99]));
    }

    #[test]
    fn data_for_a_slow_receiver_is_refused_and_waits_behind_nothing() {
        let mailbox = Mailbox::new(ms(0));
        let put = |number: u8| mailbox.packet(ms(0), Bytes::from(vec![number]), Delivery::Data);
        assert_eq!((0..DATA_PACKETS).map(|_| put(1)).filter(|put| *put == Put::Queued).count(), DATA_PACKETS);
        assert_eq!(put(1), Put::Refused);
        voice(&mailbox, ms(0), 2);
        mailbox.packet(ms(0), Bytes::from(vec![3]), Delivery::Reliable);
        let first: Vec<_> = drain(&mailbox, ms(0)).into_iter().take(4).collect();
        for number in 1..=3 {
            assert!(first.contains(&Message::binary(vec![number])), "{first:?}");
        }
    }

    /// proves: D-24
    #[test]
    fn voice_that_waited_too_long_is_not_sent() {
        let mailbox = Mailbox::new(ms(0));
        voice(&mailbox, ms(0), 1);
        voice(&mailbox, ms(300), 2);
        assert_eq!(mailbox.take(ms(401)), (Some(Message::binary(vec![2])), 1));
    }

    /// proves: D-24
    #[test]
    fn voice_and_reliable_messages_take_turns() {
        let mailbox = Mailbox::new(ms(0));
        for number in 0..3 {
            mailbox.packet(ms(0), Bytes::from(vec![100 + number]), Delivery::Reliable);
            voice(&mailbox, ms(0), number);
        }
        let mut order: Vec<u8> = drain(&mailbox, ms(0)).into_iter().map(|message| message.into_data()[0]).collect();
        assert!(order.windows(2).all(|pair| (pair[0] < 100) != (pair[1] < 100)), "{order:?}");
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 100, 101, 102]);
    }

    #[test]
    fn a_receiver_that_takes_too_little_is_told_so_and_ends() {
        let mailbox = Mailbox::new(ms(0));
        let packet = Bytes::from(vec![0; 16 * 1024]);
        let puts: Vec<Put> = (0..17).map(|_| mailbox.packet(ms(0), packet.clone(), Delivery::Reliable)).collect();
        assert_eq!(puts.iter().filter(|put| **put == Put::Queued).count(), 16);
        assert_eq!(puts[16], Put::Overflow);
        assert_eq!(mailbox.ending(), Some(CloseReason::SlowConsumer));
        let words = drain(&mailbox, ms(0));
        assert!(matches!(&words[..], [Message::Text(text)] if text.contains("slow-consumer")), "{words:?}");
        assert_eq!(mailbox.packet(ms(0), packet, Delivery::Reliable), Put::Ended);
    }

    #[test]
    fn a_receiver_with_many_small_messages_ends_as_well() {
        let mailbox = Mailbox::new(ms(0));
        let put = |_| mailbox.packet(ms(0), Bytes::new(), Delivery::Reliable);
        assert_eq!((0..=RELIABLE_MESSAGES).map(put).filter(|put| *put == Put::Overflow).count(), 1);
    }

    #[test]
    fn who_does_not_join_in_time_is_told_so() {
        let mailbox = Mailbox::new(ms(0));
        mailbox.check(ms(9_999), PING, JOIN);
        assert_eq!(mailbox.ending(), None);
        mailbox.check(ms(10_000), PING, JOIN);
        assert_eq!(mailbox.ending(), Some(CloseReason::Refused));
        assert!(matches!(&drain(&mailbox, ms(10_000))[..], [Message::Text(text)] if text.contains("join-timeout")));
    }

    #[test]
    fn a_silent_peer_is_pinged_once_and_then_lost() {
        let mailbox = Mailbox::new(ms(0));
        mailbox.joined();
        assert_eq!(mailbox.check(ms(15_000), PING, JOIN), Checked::Well);
        mailbox.check(ms(15_250), PING, JOIN);
        assert!(matches!(&drain(&mailbox, ms(15_250))[..], [Message::Ping(_)]));
        assert_eq!(mailbox.check(ms(29_999), PING, JOIN), Checked::Well);
        assert_eq!(mailbox.check(ms(30_000), PING, JOIN), Checked::Lost);
        assert!(mailbox.is_abandoned());
    }

    #[test]
    fn a_peer_that_answers_stays() {
        let mailbox = Mailbox::new(ms(0));
        mailbox.joined();
        for second in 1..600 {
            mailbox.heard(ms(second * 1_000));
            assert_eq!(mailbox.check(ms(second * 1_000), PING, JOIN), Checked::Well);
        }
        assert!(drain(&mailbox, ms(600_000)).len() >= 39, "a ping every 15 s");
    }

    #[test]
    fn who_does_not_say_goodbye_is_not_waited_for() {
        let mailbox = Mailbox::new(ms(0));
        mailbox.end(ms(0), CloseReason::GoingAway);
        mailbox.check(ms(1_999), PING, JOIN);
        assert!(!mailbox.is_abandoned());
        mailbox.check(ms(2_000), PING, JOIN);
        assert!(mailbox.is_abandoned());
        assert_eq!(mailbox.ending(), Some(CloseReason::GoingAway));
    }
}
