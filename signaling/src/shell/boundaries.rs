//! Where frames begin and end in what is read from a WebSocket (RFC 6455 §5.2): tungstenite does not
//! say whether its buffer is empty.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

/// Opcode, length of eight bytes, and mask.
const LONGEST_HEADER_BYTES: usize = 14;

/// Tracks frame and message boundaries in the bytes read.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    header: [u8; LONGEST_HEADER_BYTES],
    /// Bytes of a header that is not whole.
    header_bytes: usize,
    /// The payload of the present frame, and what is missing of it.
    payload: u64,
    missing: u64,
    /// Further frames of a message follow.
    is_within_message: bool,
    largest: u64,
}

impl Boundaries {
    /// Processes the next bytes read.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.missing > 0 {
                let passed = bytes.len().min(usize::try_from(self.missing).unwrap_or(usize::MAX));
                self.missing -= passed as u64;
                bytes = &bytes[passed..];
                if self.missing == 0 {
                    self.largest = self.largest.max(self.payload);
                }
                continue;
            }
            self.header[self.header_bytes] = first;
            self.header_bytes += 1;
            bytes = rest;
            self.end_header();
        }
    }

    /// Whether the bytes so far end at the end of a message.
    pub(super) fn is_between_messages(&self) -> bool {
        self.header_bytes == 0 && self.missing == 0 && !self.is_within_message
    }

    /// The largest payload of a frame that has passed whole.
    pub(super) fn largest(&self) -> usize {
        usize::try_from(self.largest).unwrap_or(usize::MAX)
    }

    /// Begins the payload, if the header is whole.
    fn end_header(&mut self) {
        match FrameHeader::parse(&mut Cursor::new(&self.header[..self.header_bytes])) {
            Ok(Some((header, payload))) => {
                (self.payload, self.missing, self.header_bytes) = (payload, payload, 0);
                if matches!(header.opcode, OpCode::Data(_)) {
                    self.is_within_message = !header.is_final;
                }
            }
            Ok(None) => {}
            // The same parser ends the connection.
            Err(_) => (self.missing, self.header_bytes) = (u64::MAX, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASKED: u8 = 0x80;
    const MASK_BYTES: usize = 4;

    fn frame(first: u8, masked: bool, payload: usize) -> Vec<u8> {
        let mut frame = vec![first, if masked { MASKED } else { 0 }];
        match payload {
            0..=125 => frame[1] |= payload as u8,
            126..=0xFFFF => {
                frame[1] |= 126;
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame[1] |= 127;
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        // Such as would be a header in each place.
        frame.resize(frame.len() + if masked { MASK_BYTES } else { 0 } + payload, 0x82);
        frame
    }

    #[test]
    fn frames_of_all_lengths_end_where_they_do_however_they_are_cut() {
        for step in [1, 2, 3, 7, 1_000, 100_000] {
            let mut boundaries = Boundaries::default();
            let mut largest = 0;
            for payload in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000, 5] {
                for masked in [true, false] {
                    let frame = frame(0x82, masked, payload);
                    let mut passed = 0;
                    for part in frame.chunks(step) {
                        boundaries.pass(part);
                        passed += part.len();
                        assert_eq!(boundaries.is_between_messages(), passed == frame.len());
                    }
                    largest = largest.max(payload);
                    assert_eq!(boundaries.largest(), largest);
                }
            }
        }
    }

    #[test]
    fn a_message_in_fragments_ends_with_its_last_one_and_pings_between_them_are_none() {
        let mut boundaries = Boundaries::default();
        for (first, ends) in
            [(0x02, false), (0x89, false), (0x00, false), (0x8A, false), (0x80, true), (0x89, true)]
        {
            boundaries.pass(&frame(first, true, 9));
            assert_eq!(boundaries.is_between_messages(), ends, "{first:#x}");
        }
        let mut several = frame(0x82, true, 9);
        several.extend(frame(0x01, true, 300));
        boundaries.pass(&several);
        assert!(!boundaries.is_between_messages());
        boundaries.pass(&frame(0x80, true, 0));
        assert!(boundaries.is_between_messages());
    }

    #[test]
    fn a_length_that_no_message_has_is_no_end() {
        let mut boundaries = Boundaries::default();
        boundaries.pass(&[0x82, 0xFF, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]);
        boundaries.pass(&[0; 10_000]);
        assert!(!boundaries.is_between_messages());
        assert_eq!(boundaries.largest(), 0);
    }
}
