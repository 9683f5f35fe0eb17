//! The game's own bytes between two peers: reliable data in numbered segments, whatever carries
//! them, and messages that may be lost (PROTOCOL.md, section 16).
//!
//! Both ends of a pair name their end of the *pipe* between them by a number that they draw anew
//! whenever they begin one. A packet names both ends, so that what is left of an earlier pipe is
//! never taken for the present one's.

use std::num::NonZeroU32;

use super::{DecodeError, Kind, begin};
use crate::cursor::{Reader, Writer};
use crate::limits::{DATA_PAYLOAD_BYTES, UNRELIABLE_DATA_BYTES, UNRELIABLE_PACKET_BYTES};
use crate::{ClientId, SessionId};

/// One end of a pipe; never zero.
pub type PipeEnd = NonZeroU32;

/// What a segment is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A message outside of channels.
    Message,
    /// A message on a reliable channel.
    OnChannel(u8),
    /// The sender opens a channel that is reliable.
    OpenReliable(u8),
    /// The sender opens a channel that is not.
    OpenUnreliable(u8),
    /// The sender closes a channel.
    Close(u8),
}

impl Record {
    fn code(self) -> (u8, u8) {
        match self {
            Self::Message => (0, 0),
            Self::OnChannel(channel) => (1, channel),
            Self::OpenReliable(channel) => (2, channel),
            Self::OpenUnreliable(channel) => (3, channel),
            Self::Close(channel) => (4, channel),
        }
    }

    fn of(code: u8, channel: u8) -> Result<Self, DecodeError> {
        match (code, channel) {
            (0, 0) => Ok(Self::Message),
            (1, channel) => Ok(Self::OnChannel(channel)),
            (2, channel) => Ok(Self::OpenReliable(channel)),
            (3, channel) => Ok(Self::OpenUnreliable(channel)),
            (4, channel) => Ok(Self::Close(channel)),
            _ => Err(DecodeError::BadValue),
        }
    }

    /// Whether it carries bytes, in as many segments as it takes.
    pub const fn is_message(self) -> bool {
        matches!(self, Self::Message | Self::OnChannel(_))
    }
}

const FIRST: u8 = 1;
const LAST: u8 = 2;
const RECORD_SHIFT: u8 = 2;

/// A numbered part of the reliable data from one peer to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataSegment<'a> {
    /// Who sends it.
    pub sender: ClientId,
    /// The sender's end.
    pub from: PipeEnd,
    /// The receiver's end, once the sender knows it.
    pub to: Option<PipeEnd>,
    /// Counts from 0 in each pipe and direction, one for each segment.
    pub number: u32,
    /// What it is a part of.
    pub record: Record,
    /// Whether the record begins here.
    pub is_first: bool,
    /// Whether the record ends here.
    pub is_last: bool,
    /// At most [`DATA_PAYLOAD_BYTES`]; none in what opens or closes.
    pub payload: &'a [u8],
}

impl<'a> DataSegment<'a> {
    /// Bytes of a packet beside the payload.
    pub const OVERHEAD: usize = super::Header::BYTES + 2 + 4 + 4 + 4 + 2;

    /// Reads a DataSegment body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let sender = ClientId(reader.u16()?);
        let from = PipeEnd::new(reader.u32()?).ok_or(DecodeError::BadValue)?;
        let to = PipeEnd::new(reader.u32()?);
        let number = reader.u32()?;
        let flags = reader.u8()?;
        let record = Record::of(flags >> RECORD_SHIFT, reader.u8()?)?;
        let payload = reader.bytes(reader.remaining())?;
        let (is_first, is_last) = (flags & FIRST != 0, flags & LAST != 0);
        if payload.len() > DATA_PAYLOAD_BYTES {
            return Err(DecodeError::TooLong);
        }
        let is_whole = is_first && is_last && payload.is_empty();
        if !record.is_message() && !is_whole {
            return Err(DecodeError::BadValue);
        }
        Ok(Self { sender, from, to, number, record, is_first, is_last, payload })
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet =
            begin(Kind::DataSegment, Some(session), Self::OVERHEAD + self.payload.len());
        let (code, channel) = self.record.code();
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        writer.u32(self.from.get());
        writer.u32(self.to.map_or(0, PipeEnd::get));
        writer.u32(self.number);
        writer.u8(code << RECORD_SHIFT | u8::from(self.is_last) << 1 | u8::from(self.is_first));
        writer.u8(channel);
        writer.bytes(self.payload);
        packet
    }
}

/// Which segments have come, and how many more may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataAck {
    /// Who received.
    pub sender: ClientId,
    /// The receiver's end.
    pub from: PipeEnd,
    /// The end of whom this answers.
    pub to: PipeEnd,
    /// Every segment before this one has come.
    pub next: u32,
    /// Bit n: `next + 1 + n` has come too.
    pub later: u64,
    /// Segments from `next` on that have room.
    pub window: u16,
}

impl DataAck {
    /// Reads a DataAck body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let ack = Self {
            sender: ClientId(reader.u16()?),
            from: PipeEnd::new(reader.u32()?).ok_or(DecodeError::BadValue)?,
            to: PipeEnd::new(reader.u32()?).ok_or(DecodeError::BadValue)?,
            next: reader.u32()?,
            later: reader.u64()?,
            window: reader.u16()?,
        };
        reader.end()?;
        Ok(ack)
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::DataAck, Some(session), 24);
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        writer.u32(self.from.get());
        writer.u32(self.to.get());
        writer.u32(self.next);
        writer.u64(self.later);
        writer.u16(self.window);
        packet
    }
}

/// A message that may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataMessage<'a> {
    /// Who sends it.
    pub sender: ClientId,
    /// On a channel: the receiver's end of the pipe in which both opened it. `None` outside of
    /// channels.
    pub on: Option<(PipeEnd, u8)>,
    /// The message; what fits into a packet that may be lost.
    pub payload: &'a [u8],
}

impl<'a> DataMessage<'a> {
    /// Bytes of a packet beside the payload.
    pub const OVERHEAD: usize = super::Header::BYTES + 2 + 4 + 1;

    /// Reads a DataMessage body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let sender = ClientId(reader.u16()?);
        let to = PipeEnd::new(reader.u32()?);
        let on = match (to, reader.u8()?) {
            (Some(to), channel) => Some((to, channel)),
            (None, 0) => None,
            (None, _) => return Err(DecodeError::BadValue),
        };
        let payload = reader.bytes(reader.remaining())?;
        Ok(Self { sender, on, payload })
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet =
            begin(Kind::DataMessage, Some(session), Self::OVERHEAD + self.payload.len());
        let (to, channel) = self.on.map_or((0, 0), |(to, channel)| (to.get(), channel));
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        writer.u32(to);
        writer.u8(channel);
        writer.bytes(self.payload);
        packet
    }
}

/// "That pipe is no more": its sender has ended it, or never knew the end that it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataReset {
    /// Who says so.
    pub sender: ClientId,
    /// The receiver's end of the pipe that is meant.
    pub to: PipeEnd,
}

impl DataReset {
    /// Reads a DataReset body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let sender = ClientId(reader.u16()?);
        let to = PipeEnd::new(reader.u32()?).ok_or(DecodeError::BadValue)?;
        reader.end()?;
        Ok(Self { sender, to })
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::DataReset, Some(session), 6);
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        writer.u32(self.to.get());
        packet
    }
}

/// A segment is at most as large as a message of the reliable stream (PROTOCOL.md, section 9).
const _: () = assert!(DataSegment::OVERHEAD + DATA_PAYLOAD_BYTES <= 1023);
const _: () = assert!(
    DataMessage::OVERHEAD + UNRELIABLE_DATA_BYTES + super::Relay::overhead(1)
        <= UNRELIABLE_PACKET_BYTES
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::open;

    fn end(number: u32) -> PipeEnd {
        PipeEnd::new(number).unwrap()
    }

    #[test]
    fn what_opens_or_closes_is_one_segment_without_bytes() {
        let session = SessionId::new(1).unwrap();
        let segment = DataSegment {
            sender: ClientId(2),
            from: end(3),
            to: None,
            number: 4,
            record: Record::Close(5),
            is_first: true,
            is_last: true,
            payload: &[],
        };
        let packet = segment.encode(session);
        assert_eq!(DataSegment::decode(open(&packet).unwrap().1), Ok(segment));
        for wrong in [
            DataSegment { payload: &[1], ..segment },
            DataSegment { is_last: false, ..segment },
            DataSegment { is_first: false, ..segment },
        ] {
            assert_eq!(
                DataSegment::decode(open(&wrong.encode(session)).unwrap().1),
                Err(DecodeError::BadValue)
            );
        }
        let long = DataSegment {
            record: Record::Message,
            payload: &[0; DATA_PAYLOAD_BYTES + 1],
            ..segment
        };
        assert_eq!(
            DataSegment::decode(open(&long.encode(session)).unwrap().1),
            Err(DecodeError::TooLong)
        );
    }
}
