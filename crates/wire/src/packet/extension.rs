//! The types from 32 on that are ours. They travel on links, and every body begins with the
//! sender's client id.

use super::{DecodeError, Kind, begin};
use crate::cursor::{Reader, Writer};
use crate::{ClientId, SessionId};

/// What the sender has received of the other's voice on this link, so that a speaker learns within
/// moments that a link carries nothing any more, and how long packets take on it (PROTOCOL.md §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoiceAck {
    /// Who received.
    pub sender: ClientId,
    /// The highest sequence number received.
    pub newest: u16,
    /// Bit n: `newest - 1 - n` was received too.
    pub earlier: u32,
    /// When `newest` arrived, in milliseconds since any moment that stays the same for this link,
    /// modulo 2^32. Only for peers whose capabilities say `path_feedback`.
    pub received_ms: Option<u32>,
}

impl VoiceAck {
    /// Reads a VoiceAck body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let (sender, newest, earlier) = (ClientId(reader.u16()?), reader.u16()?, reader.u32()?);
        let received_ms = if reader.remaining() > 0 { Some(reader.u32()?) } else { None };
        reader.end()?;
        Ok(Self { sender, newest, earlier, received_ms })
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::VoiceAck, Some(session), 12);
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        writer.u16(self.newest);
        writer.u32(self.earlier);
        if let Some(received_ms) = self.received_ms {
            writer.u32(received_ms);
        }
        packet
    }

    /// Whether this acknowledges `sequence`.
    pub fn covers(&self, sequence: u16) -> bool {
        match self.newest.wrapping_sub(sequence) {
            0 => true,
            behind @ 1..=32 => self.earlier & (1 << (behind - 1)) != 0,
            _ => false,
        }
    }
}

/// A question to the other end of a link, and its answer, which repeats the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Who asks, or who answers.
    pub sender: ClientId,
    /// Chosen by the one who asks.
    pub token: u32,
}

impl Probe {
    /// Reads the body of a Probe or a ProbeEcho.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let probe = Self { sender: ClientId(reader.u16()?), token: reader.u32()? };
        reader.end()?;
        Ok(probe)
    }

    /// The whole packet that asks.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        self.encode_as(Kind::Probe, session)
    }

    /// The whole packet that answers.
    pub fn encode_echo(&self, session: SessionId) -> Vec<u8> {
        self.encode_as(Kind::ProbeEcho, session)
    }

    fn encode_as(&self, kind: Kind, session: SessionId) -> Vec<u8> {
        let mut packet = begin(kind, Some(session), 6);
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        writer.u32(self.token);
        packet
    }
}

/// One of a few padded packets sent back to back over a link, so that the time between their
/// arrivals shows how fast the path carries them (PROTOCOL.md §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BandwidthProbe {
    /// Who asks.
    pub sender: ClientId,
    /// Which train this packet belongs to; chosen by the sender.
    pub train: u16,
    /// How many packets the train has: 2 to [`BandwidthProbe::MOST_PACKETS`].
    pub packets: u8,
    /// Bytes of padding after the fields.
    pub padding: u16,
}

impl BandwidthProbe {
    /// The longest train.
    pub const MOST_PACKETS: u8 = 8;
    /// The most padding in a packet, in bytes.
    pub const MOST_PADDING: u16 = 1_100;

    /// Reads a BandwidthProbe body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let (sender, train, packets) = (ClientId(reader.u16()?), reader.u16()?, reader.u8()?);
        let padding = reader.remaining();
        if !(2..=Self::MOST_PACKETS).contains(&packets) {
            return Err(DecodeError::BadValue);
        }
        if padding > usize::from(Self::MOST_PADDING) {
            return Err(DecodeError::TooLong);
        }
        Ok(Self { sender, train, packets, padding: padding as u16 })
    }

    /// The whole packet, its padding zeros.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let padding = usize::from(self.padding.min(Self::MOST_PADDING));
        let mut packet = begin(Kind::BandwidthProbe, Some(session), 5 + padding);
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        writer.u16(self.train);
        writer.u8(self.packets);
        packet.resize(packet.len() + padding, 0);
        packet
    }
}

/// The answer to a train of [`BandwidthProbe`]s: how many came, and in what time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BandwidthReport {
    /// Who answers.
    pub sender: ClientId,
    /// Which train.
    pub train: u16,
    /// Packets of it that arrived.
    pub received: u8,
    /// From the first arrival to the last, in microseconds.
    pub span_us: u32,
}

impl BandwidthReport {
    /// Reads a BandwidthReport body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let report = Self {
            sender: ClientId(reader.u16()?),
            train: reader.u16()?,
            received: reader.u8()?,
            span_us: reader.u32()?,
        };
        reader.end()?;
        if report.received == 0 || report.received > BandwidthProbe::MOST_PACKETS {
            return Err(DecodeError::BadValue);
        }
        Ok(report)
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::BandwidthReport, Some(session), 9);
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        writer.u16(self.train);
        writer.u8(self.received);
        writer.u32(self.span_us);
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::open;

    #[test]
    fn acknowledgements_and_probes_are_the_bytes_of_the_table() {
        let session = SessionId::new(1).unwrap();
        let ack =
            VoiceAck { sender: ClientId(2), newest: 3, earlier: 0x8000_0001, received_ms: None };
        let packet = ack.encode(session);
        assert_eq!(packet, [0x8B, 0xC7, 32, 0, 0, 0, 1, 0, 2, 0, 3, 0x80, 0, 0, 1]);
        assert_eq!(VoiceAck::decode(open(&packet).unwrap().1), Ok(ack));

        let probe = Probe { sender: ClientId(2), token: 0x01020304 };
        assert_eq!(probe.encode(session), [0x8B, 0xC7, 33, 0, 0, 0, 1, 0, 2, 1, 2, 3, 4]);
        assert_eq!(probe.encode_echo(session), [0x8B, 0xC7, 34, 0, 0, 0, 1, 0, 2, 1, 2, 3, 4]);
        assert_eq!(Probe::decode(&probe.encode(session)[7..]), Ok(probe));
    }

    #[test]
    fn an_acknowledgement_covers_itself_and_the_marked_ones_before_it_across_the_wrap() {
        let ack = VoiceAck { sender: ClientId(2), newest: 1, earlier: 0b101, received_ms: None };
        assert!(ack.covers(1) && ack.covers(0) && ack.covers(0xFFFE));
        assert!(!ack.covers(2) && !ack.covers(0xFFFF) && !ack.covers(0x8000));
    }

    #[test]
    fn a_probe_train_that_is_none_and_padding_over_the_limit_are_refused() {
        let probe = BandwidthProbe { sender: ClientId(2), train: 7, packets: 4, padding: 3 };
        let packet = probe.encode(SessionId::new(1).unwrap());
        assert_eq!(BandwidthProbe::decode(&packet[7..]), Ok(probe));
        assert_eq!(BandwidthProbe::decode(&[0, 2, 0, 7, 1]), Err(DecodeError::BadValue));
        assert_eq!(BandwidthProbe::decode(&[0, 2, 0, 7, 9]), Err(DecodeError::BadValue));
        assert_eq!(
            BandwidthProbe::decode(&[&[0, 2, 0, 7, 4][..], &[0; 1_101]].concat()),
            Err(DecodeError::TooLong)
        );
        assert_eq!(
            BandwidthReport::decode(&[0, 2, 0, 7, 0, 0, 0, 0, 1]),
            Err(DecodeError::BadValue)
        );
        assert_eq!(
            BandwidthReport::decode(&[0, 2, 0, 7, 9, 0, 0, 0, 1]),
            Err(DecodeError::BadValue)
        );
    }
}
