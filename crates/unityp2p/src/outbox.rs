//! What waits for one socket, in order.
//!
//! Bounded by kind, so that no client can end another one's socket: answers to its own requests
//! (one too many ends it), events that others cause (no more connections are made to it while too
//! many wait), and messages of each connection (one too many ends that connection).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::ids::LinkNumber;

/// Answers that may wait, and their bytes: a listen that fails is answered with its address.
const ANSWERS: usize = 4_096;
const ANSWER_BYTES: usize = 2 * 1024 * 1024;
/// With this many events waiting, no further connection is made.
const EVENTS: usize = 4_096;
/// Messages of one connection that may wait, and their bytes.
const MESSAGES: usize = 2_048;
const CONNECTION_BYTES: usize = 4 * 1024 * 1024;
/// Messages of all connections together, and their bytes. When there are more, the connection ends
/// of which most messages, or most bytes, wait.
const ALL_MESSAGES: usize = 16_384;
const ALL_CONNECTIONS_BYTES: usize = 8 * 1024 * 1024;
/// What an entry takes at most beside its bytes, those of an event included: a place in a queue of
/// which three quarters may be empty, and an allocation.
const ENTRY_BYTES: usize = 224;
/// A queue that has places for more than this gives most of them back once three quarters are
/// empty.
const KEPT_CAPACITY: usize = 8;

/// What is to be written next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A binary message.
    Message(Bytes),
    /// A WebSocket ping.
    Ping,
    /// So far nothing.
    Nothing,
}

#[derive(Debug)]
enum Entry {
    Answer(Bytes),
    Event(Bytes),
    Message(LinkNumber, Bytes),
}

/// What waits of one connection.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    messages: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: VecDeque<Entry>,
    answers: Waiting,
    events: usize,
    messages: Waiting,
    links: BTreeMap<LinkNumber, Waiting>,
}

impl Outbox {
    /// False if there are too many.
    pub(crate) fn put_answer(&mut self, answer: Bytes) -> bool {
        if self.answers.messages >= ANSWERS || self.answers.bytes + answer.len() > ANSWER_BYTES {
            return false;
        }
        self.answers.add(answer.len());
        self.entries.push_back(Entry::Answer(answer));
        true
    }

    /// Its number is bounded by the connections that there are, and by
    /// [`takes_connections`](Self::takes_connections).
    pub(crate) fn put_event(&mut self, event: Bytes) {
        self.events += 1;
        self.entries.push_back(Entry::Event(event));
    }

    pub(crate) fn takes_connections(&self) -> bool {
        self.events < EVENTS
    }

    /// Gives the connections that have to end, because too much of them waits; their messages are
    /// not in it any more.
    pub(crate) fn put_message(&mut self, link: LinkNumber, message: Bytes) -> Vec<LinkNumber> {
        let of_link = self.links.entry(link).or_default();
        of_link.add(message.len());
        let is_too_much = of_link.messages > MESSAGES || of_link.bytes > CONNECTION_BYTES;
        self.messages.add(message.len());
        self.entries.push_back(Entry::Message(link, message));
        let mut ended = Vec::new();
        if is_too_much {
            self.forget(link);
            ended.push(link);
        }
        while self.messages.messages > ALL_MESSAGES || self.messages.bytes > ALL_CONNECTIONS_BYTES {
            let by_count = self.messages.messages > ALL_MESSAGES;
            let most = self.links.iter().max_by_key(|(_, waiting)| {
                let Waiting { messages, bytes } = **waiting;
                if by_count { (messages, bytes) } else { (bytes, messages) }
            });
            let Some((&link, _)) = most else { break };
            self.forget(link);
            ended.push(link);
        }
        ended
    }

    fn forget(&mut self, link: LinkNumber) {
        self.entries.retain(|entry| !matches!(entry, Entry::Message(of, _) if *of == link));
        if let Some(waiting) = self.links.remove(&link) {
            self.messages.messages -= waiting.messages;
            self.messages.bytes -= waiting.bytes;
        }
        self.give_back();
    }

    fn give_back(&mut self) {
        let (length, capacity) = (self.entries.len(), self.entries.capacity());
        if capacity > KEPT_CAPACITY && length <= capacity / 4 {
            self.entries.shrink_to(2 * length);
        }
    }

    pub(crate) fn take(&mut self) -> Option<Bytes> {
        let entry = self.entries.pop_front()?;
        self.give_back();
        Some(match entry {
            Entry::Answer(bytes) => {
                self.answers.remove(bytes.len());
                bytes
            }
            Entry::Event(bytes) => {
                self.events -= 1;
                bytes
            }
            Entry::Message(link, bytes) => {
                self.messages.remove(bytes.len());
                if let Some(waiting) = self.links.get_mut(&link) {
                    waiting.remove(bytes.len());
                    if waiting.messages == 0 {
                        self.links.remove(&link);
                    }
                }
                bytes
            }
        })
    }

    /// Memory that the queue takes: bytes, and [`ENTRY_BYTES`] for each entry.
    pub(crate) fn bytes(&self) -> usize {
        let Self { answers, messages, .. } = self;
        answers.bytes + messages.bytes + ENTRY_BYTES * self.entries.len()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Waiting {
    fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.messages -= 1;
        self.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn bytes(length: usize) -> Bytes {
        vec![0; length].into()
    }

    #[test]
    fn a_connection_whose_receiver_does_not_read_ends_and_its_messages_go_with_it() {
        let mut outbox = Outbox::default();
        for _ in 0..4 {
            assert!(outbox.put_message(LinkNumber(1), bytes(MIB)).is_empty());
        }
        assert!(outbox.put_message(LinkNumber(2), bytes(1)).is_empty());
        assert_eq!(outbox.put_message(LinkNumber(1), bytes(1)), [LinkNumber(1)]);
        assert_eq!(outbox.bytes(), 1 + ENTRY_BYTES);
        assert_eq!(outbox.take(), Some(bytes(1)));
        assert_eq!((outbox.take(), outbox.bytes(), outbox.links.len()), (None, 0, 0));
    }

    #[test]
    fn of_many_connections_the_one_ends_of_which_most_waits() {
        let mut outbox = Outbox::default();
        for link in 1..=3 {
            for _ in 0..link {
                assert!(outbox.put_message(LinkNumber(link), bytes(MIB)).is_empty());
            }
        }
        for _ in 0..2 {
            assert!(outbox.put_message(LinkNumber(4), bytes(MIB)).is_empty());
        }
        assert_eq!(outbox.put_message(LinkNumber(5), bytes(9)), [LinkNumber(3)]);
        assert_eq!(outbox.bytes(), 5 * MIB + 9 + 6 * ENTRY_BYTES);
    }

    #[test]
    fn small_messages_and_answers_are_counted_as_well() {
        let mut outbox = Outbox::default();
        let messages = (0..).take_while(|_| outbox.put_message(LinkNumber(7), bytes(4)).is_empty());
        assert_eq!(messages.count(), MESSAGES);
        assert_eq!((0..).take_while(|_| outbox.put_answer(bytes(1))).count(), ANSWERS);
        outbox.clear();
        assert_eq!((0..).take_while(|_| outbox.put_answer(bytes(MIB))).count(), 2);
    }

    /// As many as may wait, of connections of which each is within its own bound.
    fn full_of_empty_messages() -> Outbox {
        let mut outbox = Outbox::default();
        for number in 0..ALL_MESSAGES as u64 {
            assert!(outbox.put_message(LinkNumber(number % 16), bytes(4)).is_empty());
        }
        outbox
    }

    #[test]
    fn what_a_message_takes_beside_its_bytes_is_counted() {
        let mut outbox = full_of_empty_messages();
        assert!(outbox.bytes() >= ALL_MESSAGES * (4 * size_of::<Entry>() + 32));
        let mut answers = Outbox::default();
        while answers.put_answer(bytes(1)) {}
        assert!(answers.bytes() > crate::limits::UNCOUNTED_BYTES);
        let mut events = Outbox::default();
        while events.takes_connections() {
            events.put_event(bytes(4));
        }
        assert!(events.bytes() > crate::limits::UNCOUNTED_BYTES);
        while outbox.entries.len() > 10 {
            outbox.take();
            assert!(outbox.entries.capacity() <= KEPT_CAPACITY.max(4 * outbox.entries.len() + 4));
        }
    }

    #[test]
    fn with_too_many_messages_the_connection_ends_that_has_most_and_not_a_larger_one() {
        let mut outbox = Outbox::default();
        assert!(outbox.put_message(LinkNumber(99), bytes(8_000)).is_empty());
        let flood = (0_u64..).map(|number| LinkNumber(number % 14));
        let ended: Vec<_> =
            flood.flat_map(|link| outbox.put_message(link, bytes(4))).take(5).collect();
        assert!(ended.iter().all(|link| link.0 < 14), "{ended:?}");
    }
}
