//! The types from 32 on that are ours. They travel on links, and every body begins with the sender's client id.

use super::{DecodeError, Kind, begin};
use crate::cursor::{Reader, Writer};
use crate::{ClientId, SessionId};

/// What the sender has received of the other's voice on this link, so that a speaker learns within moments that a link
/// carries nothing any more (DESIGN §4, "Route choice").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoiceAck {
    /// Who received.
    pub sender: ClientId,
    /// The highest sequence number received.
    pub newest: u16,
    /// Bit n: `newest - 1 - n` was received too.
    pub earlier: u32,
}

impl VoiceAck {
    /// Reads a VoiceAck body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let ack = Self { sender: ClientId(reader.u16()?), newest: reader.u16()?, earlier: reader.u32()? };
        reader.end()?;
        Ok(ack)
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::VoiceAck, Some(session), 8);
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        writer.u16(self.newest);
        writer.u32(self.earlier);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::open;

    #[test]
    fn acknowledgements_and_probes_are_the_bytes_of_the_table() {
        let session = SessionId::new(1).unwrap();
        let ack = VoiceAck { sender: ClientId(2), newest: 3, earlier: 0x8000_0001 };
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
        let ack = VoiceAck { sender: ClientId(2), newest: 1, earlier: 0b101 };
        assert!(ack.covers(1) && ack.covers(0) && ack.covers(0xFFFE));
        assert!(!ack.covers(2) && !ack.covers(0xFFFF) && !ack.covers(0x8000));
    }
}
