//! What a remote's payloads must satisfy before renet sees them.
//!
//! Renet 2.0.1 takes the numbers of a remote as they come: a slice beyond the end of its message,
//! or two slices that differ in how many there are, make it panic, and empty reliable messages far
//! ahead of the next one fill its map without counting as memory. Its wire format is that of
//! `renet::packet`: a type, a sequence number, a channel, then messages, a slice, or ranges of
//! acknowledgements; numbers are variable-length integers (RFC 9000 §16).

use std::collections::BTreeMap;

use voicemesh_session::network::PacketLimits;

use crate::parameters::{RELIABLE, UNRELIABLE};

/// Bytes of a slice, all but the last of a message. What is longer than this is sliced.
const SLICE_BYTES: usize = 1_200;
/// Reliable messages that may be ahead of the next one to be delivered. One that is further ahead
/// is not acknowledged, and its sender sends it again.
const WINDOW: u64 = 4_096;

const SMALL_RELIABLE: u8 = 0;
const SMALL_UNRELIABLE: u8 = 1;
const RELIABLE_SLICE: u8 = 2;
const ACKNOWLEDGEMENT: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Renet may have it.
    Pass,
    /// Too far ahead. Its sender sends it again.
    Drop,
    /// No peer of ours sends this: the connection ends.
    Violation,
}

/// The state of one connection's checks.
#[derive(Debug, Default)]
pub(crate) struct PayloadCheck {
    /// Reliable messages that renet has given, which is the number of the next one.
    delivered: u64,
    /// How many slices each message has that begins to arrive in slices. Within [`WINDOW`].
    slices: BTreeMap<u64, u64>,
}

impl PayloadCheck {
    /// Renet has given the next reliable message.
    pub(crate) fn delivered(&mut self) {
        self.delivered += 1;
        self.slices = self.slices.split_off(&self.delivered);
    }

    pub(crate) fn check(&mut self, payload: &[u8]) -> Verdict {
        self.read(payload).unwrap_or(Verdict::Violation)
    }

    /// Nothing if it is cut short.
    fn read(&mut self, payload: &[u8]) -> Option<Verdict> {
        let mut reader = Reader(payload);
        let kind = reader.byte()?;
        let _sequence = reader.number()?;
        let channel = if kind == ACKNOWLEDGEMENT { None } else { Some(reader.byte()?) };
        match (kind, channel) {
            (SMALL_RELIABLE, Some(RELIABLE)) => self.read_messages(&mut reader),
            (RELIABLE_SLICE, Some(RELIABLE)) => self.read_slice(&mut reader),
            // Unreliable ones are never longer than a slice.
            (SMALL_UNRELIABLE, Some(UNRELIABLE)) | (ACKNOWLEDGEMENT, None) => Some(Verdict::Pass),
            _ => None,
        }
    }

    fn read_messages(&self, reader: &mut Reader<'_>) -> Option<Verdict> {
        for _ in 0..reader.length()? {
            if self.is_far_ahead(reader.number()?) {
                return Some(Verdict::Drop);
            }
            let bytes = reader.number()?;
            reader.skip(bytes)?;
        }
        Some(Verdict::Pass)
    }

    fn read_slice(&mut self, reader: &mut Reader<'_>) -> Option<Verdict> {
        let (message, index, count) = (reader.number()?, reader.number()?, reader.number()?);
        let longest = PacketLimits::default().reliable_bytes.div_ceil(SLICE_BYTES) as u64;
        if count > longest || index >= count {
            return None;
        }
        if message < self.delivered {
            return Some(Verdict::Pass);
        }
        if self.is_far_ahead(message) {
            return Some(Verdict::Drop);
        }
        (*self.slices.entry(message).or_insert(count) == count).then_some(Verdict::Pass)
    }

    fn is_far_ahead(&self, message: u64) -> bool {
        message >= self.delivered + WINDOW
    }
}

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

    fn skip(&mut self, bytes: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
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
    fn a_message_far_ahead_waits_until_those_before_it_are_delivered() {
        let mut check = PayloadCheck::default();
        assert_eq!(check.check(&small(WINDOW - 1, b"abc")), Verdict::Pass);
        assert_eq!(check.check(&small(WINDOW, b"abc")), Verdict::Drop);
        assert_eq!(check.check(&slice(WINDOW, 0, 2)), Verdict::Drop);
        assert_eq!(check.check(&small(1 << 61, b"")), Verdict::Drop);
        check.delivered();
        assert_eq!(check.check(&small(WINDOW, b"abc")), Verdict::Pass);
        assert_eq!(check.check(&slice(WINDOW, 0, 2)), Verdict::Pass);
    }

    #[test]
    fn slices_have_numbers_within_their_message_and_always_the_same_message() {
        let mut check = PayloadCheck::default();
        assert_eq!(check.check(&slice(0, 0, 2)), Verdict::Pass);
        assert_eq!(check.check(&slice(0, 1, 2)), Verdict::Pass);
        for (index, count) in
            [(2, 2), (0, 3), (0, 1), (0, 0), (14, 14), (0, 15), (1 << 60, 1 << 61)]
        {
            assert_eq!(
                check.check(&slice(0, index, count)),
                Verdict::Violation,
                "{index} of {count}"
            );
        }
        assert_eq!(check.check(&slice(1, 13, 14)), Verdict::Pass, "the longest message");
    }

    #[test]
    fn what_is_kept_of_slices_goes_with_the_messages() {
        let mut check = PayloadCheck::default();
        for message in 0..WINDOW + 100 {
            check.check(&slice(message, 0, 2));
        }
        assert_eq!(check.slices.len() as u64, WINDOW);
        for _ in 0..WINDOW {
            check.delivered();
        }
        assert!(check.slices.is_empty());
        // Renet knows that it has been delivered.
        assert_eq!(check.check(&slice(0, 0, 3)), Verdict::Pass);
        assert!(check.slices.is_empty());
    }

    #[test]
    fn what_no_peer_sends_is_a_violation() {
        let mut check = PayloadCheck::default();
        assert_eq!(check.check(&payload(SMALL_UNRELIABLE, UNRELIABLE, &[&[0, 0]])), Verdict::Pass);
        assert_eq!(check.check(&[ACKNOWLEDGEMENT, 7, 7, 0, 0]), Verdict::Pass);
        for bad in [
            Vec::new(),
            vec![9; 20],
            payload(3, UNRELIABLE, &[&slice(0, 0, 2)[4..]]),
            payload(RELIABLE_SLICE, UNRELIABLE, &[&slice(0, 0, 2)[4..]]),
            payload(SMALL_RELIABLE, 7, &[&[0, 0]]),
            small(0, b"abc")[..9].to_vec(),
        ] {
            assert_eq!(check.check(&bad), Verdict::Violation, "{bad:?}");
        }
    }
}
