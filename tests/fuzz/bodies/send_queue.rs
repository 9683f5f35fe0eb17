//! A script of what rooms put into the queue of one connection, and of what its socket takes: no
//! panic, a bound for what waits, messages of each sender in order and each once, no voice that is
//! too old, a snapshot for whatever was left to one, and nothing after the last words.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_rooms::{
    AddressTag, CloseReason, Enqueue, Next, OutgoingMessage, Part, Publisher, Purpose, SendQueue,
    Sender, Taken, Text,
};
use voicemesh_session::Delivery;
use voicemesh_wire::PeerId;
use voicemesh_wire::identity::IdentityProof;
use voicemesh_wire::packet::Kind;
use voicemesh_wire::signaling::ServerMessage;

use super::input::{Input, with_header};

/// Members that a script can name; the last ones share an address.
const MEMBERS: u8 = 70;
const ALONE: u8 = 60;
/// Voice that waited longer than this is not sent.
const VOICE_AGE: Duration = Duration::from_millis(400);
const PING_INTERVAL: Duration = Duration::from_secs(15);
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// What is written one at a time, and counted nowhere: a roster's mark and a ticket.
const SINGLE_BYTES: usize = 512;

/// What scripts have reached, for those who look whether they reach what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Messages that were not taken, because too much of their sender waited.
    pub busy: u32,
    /// Voice packets that were dropped.
    pub voice_dropped: usize,
    /// Data packets that were refused.
    pub refused: u32,
    /// Snapshots that were asked for.
    pub snapshots: u32,
    /// Changes of which only was noted whose they are.
    pub noted: u32,
    /// Queues that ended because answers were not read.
    pub overflows: u32,
    /// Queues that ended because their socket took nothing.
    pub stuck: u32,
}

struct World {
    now: Duration,
    queue: SendQueue,
    /// Of each member, what it sent reliably and what was taken of that.
    expected: BTreeMap<u8, VecDeque<u16>>,
    number: u16,
    /// A change was left to a snapshot that has not been asked for.
    owes_snapshot: bool,
    /// A part of a snapshot has been asked for, and was not made.
    asked: Option<Part>,
    reached: Reached,
}

/// One input.
pub fn run(data: &[u8]) {
    reached(data);
}

/// One input; gives what it has reached.
pub fn reached(data: &[u8]) -> Reached {
    let mut input = Input(data);
    let now = Duration::ZERO;
    let mut world = World {
        now,
        queue: SendQueue::new(now),
        expected: BTreeMap::new(),
        number: 0,
        owes_snapshot: false,
        asked: None,
        reached: Reached::default(),
    };
    while !input.is_over() {
        world.step(&mut input);
        let waiting = world.queue.waiting_bytes();
        assert!(waiting <= SendQueue::MAX_BYTES + SINGLE_BYTES, "{waiting} bytes wait");
    }
    world.finish();
    world.reached
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        let op = input.u8();
        let member = input.u8() % MEMBERS;
        match op % 16 {
            0..=2 => self.packet(member, input),
            3 => self.many(member, input),
            4 => self.text(member, input),
            5 => self.publish(member, input),
            6 => {
                let pong = self.queue.pong(self.now, &pong(0));
                self.count(pong);
            }
            7..=9 => (0..u32::from(input.u8() % 32)).for_each(|_| _ = self.take()),
            10 => self.now += Duration::from_millis(u64::from(input.u16() % 2_048)),
            11 => self.check(),
            12 => {
                let how = input.u8();
                self.queue.wrote(self.now, how & 1 != 0, how & 2 != 0);
                if how & 4 != 0 {
                    self.queue.heard(self.now);
                }
            }
            13 => self.owes_snapshot |= self.queue.defer_snapshot(),
            14 => self.queue.arrives(peer(member)),
            _ => self.rare(input.u8()),
        }
    }

    fn rare(&mut self, what: u8) {
        match what % 16 {
            0 => self.queue.end(self.now, CloseReason::GoingAway),
            1 => self.queue.abandon(CloseReason::SlowConsumer),
            2..=5 => {
                for (packet, _) in self.queue.take_texts() {
                    // A text of the room itself is no member's.
                    let Some((member, number)) = mark(&packet) else { continue };
                    let expected = self.expected.get_mut(&member).expect("it sent something");
                    let at = expected.iter().position(|sent| *sent == number);
                    expected.remove(at.expect("it waits"));
                }
            }
            _ => self.queue.joined(),
        }
    }

    fn packet(&mut self, member: u8, input: &mut Input<'_>) {
        let (how, size) = (input.u8(), usize::from(input.u16() % 4_096));
        let from = Purpose::From(sender(member));
        let (delivery, purpose, size) = match how % 16 {
            0..=3 => (Delivery::Voice, from, size % 1_024),
            4..=6 => (Delivery::Data, from, size),
            7..=11 => (Delivery::Reliable, from, size),
            12 => (Delivery::Reliable, Purpose::Update, size),
            13 => (Delivery::Reliable, Purpose::Snapshot, size),
            14 => (Delivery::Reliable, Purpose::Notice, size % 128),
            _ => (Delivery::Reliable, Purpose::Answer, size),
        };
        self.put(member, how & 0x80 != 0, delivery, purpose, size);
    }

    /// A member sends until it has to wait, or for long.
    fn many(&mut self, member: u8, input: &mut Input<'_>) {
        let (how, size) = (input.u8(), usize::from(input.u16() % 2_048));
        let delivery = match how % 4 {
            0 => Delivery::Voice,
            1 => Delivery::Data,
            _ => Delivery::Reliable,
        };
        for _ in 0..=how / 4 {
            self.put(member, false, delivery, Purpose::From(sender(member)), size);
        }
    }

    fn put(
        &mut self,
        member: u8,
        is_text: bool,
        delivery: Delivery,
        purpose: Purpose,
        size: usize,
    ) {
        self.number = self.number.wrapping_add(1);
        let class = match (delivery, purpose) {
            (Delivery::Reliable, Purpose::From(_)) => MEMBERS_OWN,
            _ => OTHERS,
        };
        let kind = if is_text { Kind::TextData } else { Kind::Unassigned(50) };
        let [high, low] = self.number.to_be_bytes();
        let mut body = vec![0, member, class, high, low];
        body.resize(5 + size, 0);
        let packet = Bytes::from(with_header(kind.number(), 1, &body));
        let enqueued = self.queue.packet(self.now, packet, delivery, purpose);
        self.count(enqueued);
        if enqueued == Enqueue::Queued && class == MEMBERS_OWN {
            self.expected.entry(member).or_default().push_back(self.number);
        }
    }

    fn text(&mut self, member: u8, input: &mut Input<'_>) {
        let text = text(usize::from(input.u8()));
        let purpose = match member % 4 {
            0 => Purpose::Update,
            1 => Purpose::Hint,
            2 => Purpose::Renewal,
            _ => Purpose::Answer,
        };
        let enqueued = self.queue.text(self.now, &text, purpose);
        self.count(enqueued);
    }

    fn publish(&mut self, member: u8, input: &mut Input<'_>) {
        let text = text(usize::from(input.u16() % 8_192));
        let by = if member == 0 { Publisher::Room } else { Publisher::Member(peer(member)) };
        let enqueued = self.queue.published(self.now, by, &text);
        self.reached.noted += u32::from(enqueued == Enqueue::Covered);
        self.count(enqueued);
    }

    fn count(&mut self, enqueued: Enqueue) {
        match enqueued {
            Enqueue::Busy => self.reached.busy += 1,
            Enqueue::Refused => self.reached.refused += 1,
            Enqueue::VoiceDropped(packets) => self.reached.voice_dropped += packets,
            Enqueue::Covered => self.owes_snapshot = true,
            Enqueue::Overflow => {
                self.reached.overflows += 1;
                // The last words follow nothing of others.
                self.expected.clear();
                assert_eq!(self.queue.ending(), Some(CloseReason::SlowConsumer));
            }
            Enqueue::Ended => assert!(self.queue.ending().is_some(), "it takes nothing in"),
            Enqueue::Queued | Enqueue::Omitted => {}
        }
    }

    fn check(&mut self) {
        let was_ending = self.queue.ending();
        self.queue.check(self.now, PING_INTERVAL, JOIN_TIMEOUT);
        let ending = self.queue.ending();
        assert!(was_ending.is_none() || was_ending == ending, "{was_ending:?}, {ending:?}");
        self.reached.stuck +=
            u32::from(was_ending.is_none() && ending == Some(CloseReason::SlowConsumer));
    }

    /// Whether something was to be written.
    fn take(&mut self) -> bool {
        if let Some(part) = self.asked.take() {
            self.make(part);
        }
        let Taken { next, voice_dropped, voice_age } = self.queue.take(self.now);
        self.reached.voice_dropped += voice_dropped;
        assert!(voice_age.is_none_or(|age| age <= VOICE_AGE), "{voice_age:?}");
        match next {
            Next::Nothing => return false,
            Next::Snapshot(part) => {
                assert_eq!(self.queue.ending(), None, "last words follow no snapshot");
                self.reached.snapshots += 1;
                self.owes_snapshot = false;
                self.asked = Some(part);
            }
            Next::Message(OutgoingMessage::Packet(packet)) => {
                if let Some((member, number)) = mark(&packet) {
                    let expected = self.expected.get_mut(&member);
                    assert_eq!(expected.and_then(VecDeque::pop_front), Some(number), "in order");
                }
            }
            Next::Message(OutgoingMessage::Text(_) | OutgoingMessage::Ping) => {}
        }
        true
    }

    /// What a room does when it is asked for a part.
    fn make(&mut self, part: Part) {
        self.queue.begin_part();
        let enqueued = self.queue.text(self.now, &text(100), Purpose::Snapshot);
        assert!(matches!(enqueued, Enqueue::Queued | Enqueue::Ended), "{enqueued:?}");
        self.queue.end_part((part == Part::Roster).then_some(Part::Room));
    }

    /// All that waits is written, and with it a snapshot if one was owed.
    fn finish(&mut self) {
        // Longer than the pause behind a snapshot, and that behind the next one.
        for _ in 0..3 {
            self.now += Duration::from_secs(10);
            while self.take() {}
        }
        assert_eq!(self.queue.waiting_bytes(), 0);
        assert!(self.expected.values().all(VecDeque::is_empty), "{:?}", self.expected);
        assert!(!self.owes_snapshot || self.queue.ending().is_some(), "a snapshot is missing");
    }
}

/// Behind the sender: how the message counts.
const MEMBERS_OWN: u8 = 1;
const OTHERS: u8 = 0;

/// Who sent a packet reliably to this connection alone, and its number.
fn mark(packet: &[u8]) -> Option<(u8, u16)> {
    match packet[7..] {
        [_, member, MEMBERS_OWN, high, low, ..] => Some((member, u16::from_be_bytes([high, low]))),
        _ => None,
    }
}

fn peer(member: u8) -> PeerId {
    IdentityProof([member; 32]).peer_id()
}

fn sender(member: u8) -> Sender {
    let address = Some(AddressTag(1)).filter(|_| member >= ALONE);
    Sender { peer: peer(member), address }
}

fn pong(token: u32) -> Text {
    Text::from(&ServerMessage::Pong { token })
}

/// A message of about so many bytes.
fn text(bytes: usize) -> Text {
    Text::from(&ServerMessage::Move { groups: vec!["x".repeat(bytes)], number: None })
}
