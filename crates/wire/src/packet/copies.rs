//! Voice with earlier frames in it again, against losses that come in bursts. The layout is RFC
//! 2198's idea: short headers for what is repeated first, then the bytes, the newest frame last.

use super::voice::{TARGET_BYTES, TalkspurtCounter, Target, TargetList, VoiceHeader};
use super::{DecodeError, Kind, write_header};
use crate::cursor::{Reader, Writer};
use crate::limits::{VOICE_COPIES, VOICE_FRAME_BYTES, VOICE_TARGETS};
use crate::{ClientId, SessionId};

const COUNT_MASK: u8 = 0b0000_0111;
const PAUSE_FOLLOWS: u8 = 0b1000_0000;
/// Bits 3 and 4: how many of the frames right before the newest are sent here for the first time.
const BUNDLED_SHIFT: u8 = 3;
const BUNDLED_MASK: u8 = 0b0000_0011;
/// A copy's header: how far behind, and how long.
const COPY_HEADER_BYTES: usize = 3;

/// An earlier frame of the same talkspurt, to the same targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy<'a> {
    /// Frames between it and the packet's own: its sequence number is this much lower. Never 0.
    pub behind: u8,
    /// The frame, exactly as it was sent first.
    pub frame: &'a [u8],
}

/// What a VoiceCopies packet says of its frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopiesMarks {
    /// After the newest frame the speaker pauses.
    pub pause_follows: bool,
    /// How many frames right before the newest one are sent for the first time (0 to 3). Only for
    /// peers whose capabilities say `bundles`.
    pub bundled: u8,
}

/// The copies in a packet, still in its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyList<'a> {
    headers: &'a [[u8; COPY_HEADER_BYTES]],
    frames: &'a [u8],
}

impl<'a> CopyList<'a> {
    /// In the order the sender wrote them.
    pub fn iter(self) -> impl Iterator<Item = Copy<'a>> {
        let mut rest = self.frames;
        self.headers.iter().map(move |header| {
            let (frame, after) = rest.split_at(frame_bytes(*header).min(rest.len()));
            rest = after;
            Copy { behind: header[0], frame }
        })
    }
}

/// One frame of speech with earlier ones, as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoiceCopies<'a> {
    /// Who speaks, and where in the stream of frames the newest one belongs.
    pub header: VoiceHeader,
    /// Whom all of them are for.
    pub targets: TargetList<'a>,
    /// After this frame the speaker pauses; what would come next is not lost.
    pub pause_follows: bool,
    /// How many of the frames right before the newest one are no repetition: they are sent in this
    /// packet for the first time, so that several frames share one packet's headers. At most 3;
    /// each is among `copies`, as 1 to `bundled` behind.
    pub bundled: u8,
    /// Earlier frames.
    pub copies: CopyList<'a>,
    /// The newest frame.
    pub frame: &'a [u8],
}

impl<'a> VoiceCopies<'a> {
    /// Reads a VoiceCopies body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let sender = ClientId(reader.u16()?);
        let talkspurt = TalkspurtCounter::from_options(reader.u8()?);
        let sequence = reader.u16()?;
        let target_count = usize::from(reader.u16()?);
        if target_count > VOICE_TARGETS {
            return Err(DecodeError::TooLong);
        }
        let (targets, _) = reader.bytes(target_count * TARGET_BYTES)?.as_chunks::<TARGET_BYTES>();
        let marks = reader.u8()?;
        let copy_count = usize::from(marks & COUNT_MASK);
        if copy_count > VOICE_COPIES {
            return Err(DecodeError::TooLong);
        }
        let (headers, _) =
            reader.bytes(copy_count * COPY_HEADER_BYTES)?.as_chunks::<COPY_HEADER_BYTES>();
        let bundled = (marks >> BUNDLED_SHIFT) & BUNDLED_MASK;
        let has = |behind: u8| headers.iter().any(|header| header[0] == behind);
        if has(0) || !(1..=bundled).all(has) {
            return Err(DecodeError::BadValue);
        }
        let length = usize::from(reader.u16()?);
        if length > VOICE_FRAME_BYTES
            || headers.iter().any(|header| frame_bytes(*header) > VOICE_FRAME_BYTES)
        {
            return Err(DecodeError::TooLong);
        }
        let frames = reader.bytes(headers.iter().map(|header| frame_bytes(*header)).sum())?;
        let frame = reader.bytes(length)?;
        reader.end()?;
        Ok(Self {
            header: VoiceHeader { sender, talkspurt, sequence },
            targets: TargetList(targets),
            pause_follows: marks & PAUSE_FOLLOWS != 0,
            bundled,
            copies: CopyList { headers, frames },
            frame,
        })
    }
}

impl VoiceHeader {
    /// Appends a whole VoiceCopies packet to `packet`. At most [`VOICE_TARGETS`] targets,
    /// [`VOICE_COPIES`] copies and [`VOICE_FRAME_BYTES`] of each frame are written; callers hold
    /// all three.
    pub fn encode_copies_packet(
        self,
        session: SessionId,
        targets: &[Target],
        marks: CopiesMarks,
        copies: &[Copy<'_>],
        frame: &[u8],
        packet: &mut Vec<u8>,
    ) {
        let targets = &targets[..targets.len().min(VOICE_TARGETS)];
        let copies = &copies[..copies.len().min(VOICE_COPIES)];
        let cut = |frame: &'_ [u8]| frame.len().min(VOICE_FRAME_BYTES);
        write_header(packet, Kind::VoiceCopies, Some(session));
        let mut writer = Writer(packet);
        writer.u16(self.sender.0);
        writer.u8(self.talkspurt.to_options());
        writer.u16(self.sequence);
        writer.count(targets.len());
        for target in targets {
            writer.bytes(&target.to_bytes());
        }
        let pause = if marks.pause_follows { PAUSE_FOLLOWS } else { 0 };
        writer.u8(copies.len() as u8 | pause | marks.bundled.min(BUNDLED_MASK) << BUNDLED_SHIFT);
        for copy in copies {
            writer.u8(copy.behind);
            writer.u16(cut(copy.frame) as u16);
        }
        writer.count(cut(frame));
        for copy in copies {
            writer.bytes(&copy.frame[..cut(copy.frame)]);
        }
        writer.bytes(&frame[..cut(frame)]);
    }
}

fn frame_bytes([_, high, low]: [u8; COPY_HEADER_BYTES]) -> usize {
    usize::from(u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::open;

    const HEADER: VoiceHeader = VoiceHeader {
        sender: ClientId(0x0102),
        talkspurt: TalkspurtCounter::SevenBit(5),
        sequence: 0xFFFE,
    };

    /// Assembled by hand from the table in PROTOCOL §6.
    #[test]
    fn a_packet_with_copies_is_the_bytes_of_the_table() {
        let copies = [Copy { behind: 2, frame: &[4, 5] }, Copy { behind: 5, frame: &[6] }];
        let mut packet = Vec::new();
        HEADER.encode_copies_packet(
            SessionId::new(0xAABBCCDD).unwrap(),
            &[],
            CopiesMarks { pause_follows: true, bundled: 0 },
            &copies,
            &[7, 8, 9],
            &mut packet,
        );
        #[rustfmt::skip]
        let expected = [
            0x8B, 0xC7, 35, 0xAA, 0xBB, 0xCC, 0xDD,
            0x01, 0x02, 0x85, 0xFF, 0xFE,
            0, 0,
            0x82, 2, 0, 2, 5, 0, 1,
            0, 3, 4, 5, 6, 7, 8, 9,
        ];
        assert_eq!(packet, expected);
        let (opened, body) = open(&packet).unwrap();
        assert_eq!(opened.kind, Kind::VoiceCopies);
        let read = VoiceCopies::decode(body).unwrap();
        assert_eq!((read.header, read.pause_follows, read.frame), (HEADER, true, &[7, 8, 9][..]));
        assert_eq!(read.copies.iter().collect::<Vec<_>>(), copies);
    }

    #[test]
    fn lengths_that_lie_and_copies_of_the_frame_itself_are_refused() {
        let body = |tail: &[u8]| [&[0, 1, 0x80, 0, 0, 0, 0][..], tail].concat();
        let refused = |tail: &[u8]| VoiceCopies::decode(&body(tail)).unwrap_err();
        assert_eq!(refused(&[0x01, 0, 0, 0, 0, 0]), DecodeError::BadValue, "behind itself");
        assert_eq!(refused(&[0x07]), DecodeError::TooLong, "more copies than allowed");
        assert_eq!(refused(&[0x01, 1, 0xFF, 0xFF, 0, 0]), DecodeError::TooLong);
        assert_eq!(refused(&[0x01, 1, 0, 2, 0, 0, 9]), DecodeError::Truncated);
        assert_eq!(refused(&[0x00, 0, 1, 9, 9]), DecodeError::TrailingBytes);
        assert!(
            VoiceCopies::decode(&body(&[0x60, 0, 1, 9])).is_ok(),
            "marks of later versions are ignored"
        );
        assert_eq!(
            refused(&[0x10, 0, 1, 9]),
            DecodeError::BadValue,
            "a bundled frame that is not there"
        );
        let bundle = body(&[0x12, 2, 0, 1, 1, 0, 1, 0, 1, 7, 8, 9]);
        assert_eq!(VoiceCopies::decode(&bundle).unwrap().bundled, 2);
    }
}
