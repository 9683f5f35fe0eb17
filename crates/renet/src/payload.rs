//! What a remote's payloads must satisfy before renet sees them.
//!
//! Renet 2.0.1 takes the numbers of a remote as they come: a slice beyond the end of its message,
//! or two slices that differ in how many there are, make it panic, and empty reliable messages far
//! ahead of the next one, or any empty ones, fill its memory without counting. Of unreliable ones it
//! counts the bytes alone, and a short one takes thirty times as many. Its wire format is that of
//! `renet::packet`: a type, a sequence number, a channel, then messages, a slice, or ranges of
//! acknowledgements; numbers are variable-length integers (RFC 9000 §16).

use std::collections::BTreeMap;

use voicemesh_session::network::PacketLimits;

use crate::connection::SHORTEST_PACKET_BYTES;
use crate::parameters::{RELIABLE, UNRELIABLE};

/// Bytes of a slice, all but the last of a message. What is longer than this is sliced.
const SLICE_BYTES: usize = 1_200;
/// Reliable messages that may have arrived, wholly or in part, before the next one to be delivered.
/// What is more is not acknowledged, and its sender sends it again.
const AHEAD: usize = 4_096;
/// Over that if a payload brings the next one to be delivered too: it would never be acknowledged
/// otherwise, since renet sends again by the same payload what is due at the same time. More than
/// one payload holds.
const AHEAD_BESIDE_THE_NEXT: usize = AHEAD + 512;

/// What an unreliable message takes in renet beside its bytes: a place in a queue that doubles when
/// it is full (64 bytes), and an allocation (32).
const SURROUNDING_BYTES: usize = 96;

const SMALL_RELIABLE: u8 = 0;
const SMALL_UNRELIABLE: u8 = 1;
const RELIABLE_SLICE: u8 = 2;
const ACKNOWLEDGEMENT: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Renet may have it.
    Pass,
    /// Too much is ahead, and its sender sends it again; or too much unreliable waits.
    Drop,
    /// No peer of ours sends this: the connection ends.
    Violation,
}

/// The state of one connection's checks.
#[derive(Debug)]
pub(crate) struct PayloadCheck {
    /// Reliable messages that renet has given, which is the number of the next one.
    delivered: u64,
    /// Messages that have arrived and were not delivered, with their number of slices; none of
    /// those that came whole. At most [`AHEAD_BESIDE_THE_NEXT`].
    ahead: BTreeMap<u64, u64>,
    /// Memory of the unreliable messages that have arrived and were not taken, and the most that it
    /// may be.
    waiting: usize,
    most_waiting: usize,
}

impl PayloadCheck {
    /// Of a connection on which unreliable messages may wait in so much memory; renet's own limit
    /// for their bytes must not be less.
    pub(crate) fn new(most_waiting: usize) -> Self {
        Self { delivered: 0, ahead: BTreeMap::new(), waiting: 0, most_waiting }
    }

    /// Renet has given an unreliable message of this length.
    pub(crate) fn taken(&mut self, bytes: usize) {
        self.waiting = self.waiting.saturating_sub(bytes + SURROUNDING_BYTES);
    }

    /// Renet has given the next reliable message.
    pub(crate) fn delivered(&mut self) {
        self.ahead.remove(&self.delivered);
        self.delivered += 1;
    }

    pub(crate) fn check(&mut self, payload: &[u8]) -> Verdict {
        self.read(payload).unwrap_or(Verdict::Violation)
    }

    /// Nothing if it is cut short, or what no peer of ours sends.
    fn read(&mut self, payload: &[u8]) -> Option<Verdict> {
        let mut reader = Reader(payload);
        let kind = reader.byte()?;
        let _sequence = reader.number()?;
        if kind == ACKNOWLEDGEMENT {
            return Some(Verdict::Pass);
        }
        match (kind, reader.byte()?) {
            (SMALL_RELIABLE, RELIABLE) => self.read_messages(&mut reader),
            (SMALL_UNRELIABLE, UNRELIABLE) => {
                let mut waiting = self.waiting;
                for _ in 0..reader.length()? {
                    waiting += reader.skip_message()? + SURROUNDING_BYTES;
                }
                if waiting > self.most_waiting {
                    return Some(Verdict::Drop);
                }
                self.waiting = waiting;
                Some(Verdict::Pass)
            }
            (RELIABLE_SLICE, RELIABLE) => self.read_slice(&mut reader),
            // Unreliable ones are never longer than a slice.
            _ => None,
        }
    }

    fn read_messages(&mut self, reader: &mut Reader<'_>) -> Option<Verdict> {
        let mut new = Vec::new();
        for _ in 0..reader.length()? {
            let message = reader.number()?;
            reader.skip_message()?;
            if message >= self.delivered && !self.ahead.contains_key(&message) {
                new.push((message, WHOLE));
            }
        }
        Some(self.admit(&new))
    }

    fn read_slice(&mut self, reader: &mut Reader<'_>) -> Option<Verdict> {
        let (message, index, count) = (reader.number()?, reader.number()?, reader.number()?);
        let longest = PacketLimits::default().reliable_bytes.div_ceil(SLICE_BYTES) as u64;
        if count > longest || index >= count {
            return None;
        }
        // Renet knows which it has delivered, and which have arrived whole.
        if message < self.delivered {
            return Some(Verdict::Pass);
        }
        match self.ahead.get(&message) {
            None => Some(self.admit(&[(message, count)])),
            Some(earlier) => (*earlier == WHOLE || *earlier == count).then_some(Verdict::Pass),
        }
    }

    fn admit(&mut self, new: &[(u64, u64)]) -> Verdict {
        let brings_next = new.iter().any(|(message, _)| *message == self.delivered);
        let limit = if brings_next { AHEAD_BESIDE_THE_NEXT } else { AHEAD };
        // One that brings nothing new is to be acknowledged again.
        if !new.is_empty() && self.ahead.len() + new.len() > limit {
            return Verdict::Drop;
        }
        self.ahead.extend(new.iter().copied());
        Verdict::Pass
    }
}

/// In place of a number of slices.
const WHOLE: u64 = 0;

/// The bytes that are left to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Two bytes, the greater first.
    fn length(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// RFC 9000 §16.
    fn number(&mut self) -> Option<u64> {
        let first = self.byte()?;
        let mut number = u64::from(first & 0x3f);
        for _ in 1..1 << (first >> 6) {
            number = number << 8 | u64::from(self.byte()?);
        }
        Some(number)
    }

    /// A length, which it gives, and as many bytes, if it can be a packet of a session: renet keeps
    /// those of no bytes without counting them.
    fn skip_message(&mut self) -> Option<usize> {
        let bytes = usize::try_from(self.number()?).ok()?;
        self.0 = self.0.get(bytes..)?;
        (bytes >= SHORTEST_PACKET_BYTES).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9000 §16, in two bytes or eight.
    fn number(number: u64) -> Vec<u8> {
        if number < 1 << 14 {
            (number as u16 | 1 << 14).to_be_bytes().to_vec()
        } else {
            (number | 3 << 62).to_be_bytes().to_vec()
        }
    }

    fn payload(kind: u8, channel: u8, parts: &[&[u8]]) -> Vec<u8> {
        [&[kind], number(7).as_slice(), &[channel], &parts.concat()].concat()
    }

    fn small(message: u64, body: &[u8]) -> Vec<u8> {
        let length = number(body.len() as u64);
        payload(SMALL_RELIABLE, RELIABLE, &[&[0, 1], &number(message), &length, body])
    }

    fn slice(message: u64, index: u64, count: u64) -> Vec<u8> {
        let body = [[0x44, 0xb0].as_slice(), &[0; SLICE_BYTES]].concat();
        let numbers = [number(message), number(index), number(count)].concat();
        payload(RELIABLE_SLICE, RELIABLE, &[&numbers, &body])
    }

    #[test]
    fn numbers_are_read_in_each_of_their_lengths() {
        for (bytes, expected) in [
            ([0x25].as_slice(), 37),
            (&[0x7b, 0xbd], 15_293),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
        ] {
            assert_eq!(Reader(bytes).number(), Some(expected));
            assert_eq!(Reader(&bytes[..bytes.len() - 1]).number(), None);
        }
    }

    #[test]
    fn too_many_messages_ahead_wait_until_the_next_is_delivered() {
        let mut check = PayloadCheck::new(1024);
        for message in 1..=AHEAD as u64 {
            assert_eq!(check.check(&small(3 * message, b"abc")), Verdict::Pass);
        }
        assert_eq!(check.check(&small(3, b"abc")), Verdict::Pass, "it has come before");
        assert_eq!(check.check(&small(1, b"abc")), Verdict::Drop);
        assert_eq!(check.check(&slice(1, 0, 2)), Verdict::Drop);
        assert_eq!(check.check(&small(1 << 61, b"abc")), Verdict::Drop);
        let with_the_next = payload(
            SMALL_RELIABLE,
            RELIABLE,
            &[&[0, 2], &number(1 << 61), &number(3), b"abc", &number(0), &number(3), b"abc"],
        );
        assert_eq!(check.check(&with_the_next), Verdict::Pass);
        // It is not delivered, and so brings nothing more with it.
        assert_eq!(check.check(&with_the_next), Verdict::Pass, "all of it has come before");
        assert_eq!(check.check(&small(1, b"abc")), Verdict::Drop);
        check.delivered();
        assert_eq!(check.check(&small(1, b"abc")), Verdict::Pass, "now it is the next");
    }

    #[test]
    fn what_waits_unreliably_is_bounded_with_all_the_memory_that_it_takes() {
        let message = [number(3), b"abc".to_vec()].concat();
        let of = |count: u8| {
            payload(SMALL_UNRELIABLE, UNRELIABLE, &[&[0, count], &message.repeat(count.into())])
        };
        let each = 3 + SURROUNDING_BYTES;
        let mut check = PayloadCheck::new(100 * each);
        assert_eq!(check.check(&of(60)), Verdict::Pass);
        assert_eq!(check.check(&of(41)), Verdict::Drop);
        assert_eq!(check.check(&of(40)), Verdict::Pass);
        assert_eq!(check.check(&of(1)), Verdict::Drop);
        check.taken(3);
        assert_eq!(check.check(&of(2)), Verdict::Drop);
        assert_eq!(check.check(&of(1)), Verdict::Pass);
        (0..100).for_each(|_| check.taken(3));
        assert_eq!(check.check(&of(100)), Verdict::Pass);
    }

    #[test]
    fn what_is_ahead_is_bounded_whatever_comes_with_the_next_one() {
        let mut check = PayloadCheck::new(1024);
        for message in 0..2 * AHEAD as u64 {
            let far: Vec<u8> = (0..100)
                .flat_map(|at| [number((message + 2) * 1_000 + at), number(3), b"abc".to_vec()])
                .flatten()
                .collect();
            let next = [number(message), number(3), b"abc".to_vec()].concat();
            check.check(&payload(SMALL_RELIABLE, RELIABLE, &[&[0, 101], &next, &far]));
            if check.ahead.contains_key(&message) {
                check.delivered();
            }
            assert!(check.ahead.len() <= AHEAD_BESIDE_THE_NEXT);
        }
    }

    #[test]
    fn slices_have_numbers_within_their_message_and_always_the_same_message() {
        let mut check = PayloadCheck::new(1024);
        assert_eq!(check.check(&slice(0, 0, 2)), Verdict::Pass);
        assert_eq!(check.check(&slice(0, 1, 2)), Verdict::Pass);
        for (index, count) in
            [(2, 2), (0, 3), (0, 1), (0, 0), (14, 14), (0, 15), (1 << 60, 1 << 61)]
        {
            let bad = slice(0, index, count);
            assert_eq!(check.check(&bad), Verdict::Violation, "{index} of {count}");
        }
        assert_eq!(check.check(&slice(1, 13, 14)), Verdict::Pass, "the longest message");
        assert_eq!(check.check(&small(0, b"abc")), Verdict::Pass);
        assert_eq!(check.check(&slice(0, 0, 3)), Verdict::Violation, "renet has slices of it");
        check.delivered();
        // Renet knows that it has been delivered.
        assert_eq!(check.check(&slice(0, 0, 3)), Verdict::Pass);
        assert!(!check.ahead.contains_key(&0));
    }

    #[test]
    fn what_no_peer_sends_is_a_violation() {
        let mut check = PayloadCheck::new(1024);
        let unreliable = |body: &[u8]| {
            payload(SMALL_UNRELIABLE, UNRELIABLE, &[&[0, 1], &number(body.len() as u64), body])
        };
        assert_eq!(check.check(&unreliable(b"abc")), Verdict::Pass);
        assert_eq!(check.check(&[ACKNOWLEDGEMENT, 7, 7, 0, 0]), Verdict::Pass);
        for bad in [
            Vec::new(),
            vec![9; 20],
            unreliable(b""),
            unreliable(b"ab"),
            unreliable(b"abc")[..7].to_vec(),
            small(0, b""),
            payload(3, UNRELIABLE, &[&slice(0, 0, 2)[4..]]),
            payload(RELIABLE_SLICE, UNRELIABLE, &[&slice(0, 0, 2)[4..]]),
            payload(SMALL_RELIABLE, 7, &[&[0, 0]]),
            small(0, b"abc")[..9].to_vec(),
        ] {
            assert_eq!(check.check(&bad), Verdict::Violation, "{bad:?}");
        }
    }
}
