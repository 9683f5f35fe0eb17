//! What end-to-end encryption adds (PROTOCOL.md, section 18): packages of keys, questions for them,
//! sealed texts, and where the sealed part of other packets begins.

use super::voice::TARGET_BYTES;
use super::{DecodeError, Header, Kind, TargetKind, TargetList, begin, open};
use crate::cursor::{Reader, Writer};
use crate::limits::VOICE_TARGETS;
use crate::{ClientId, SessionId};

/// A member's announcement, and its sender keys for one other member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPackage<'a> {
    /// Who gives its keys.
    pub sender: ClientId,
    /// What it announces to everyone; at most 255 bytes.
    pub announcement: &'a [u8],
    /// Its keys, sealed for the receiver.
    pub package: &'a [u8],
}

impl<'a> KeyPackage<'a> {
    /// Reads a KeyPackage body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let sender = ClientId(reader.u16()?);
        let length = usize::from(reader.u8()?);
        let announcement = reader.bytes(length)?;
        let package = reader.bytes(reader.remaining())?;
        Ok(Self { sender, announcement, package })
    }

    /// The whole packet. Of a longer announcement, 255 bytes are written.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let announcement = &self.announcement[..self.announcement.len().min(u8::MAX.into())];
        let length = 3 + announcement.len() + self.package.len();
        let mut packet = begin(Kind::KeyPackage, Some(session), length);
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        writer.u8(announcement.len() as u8);
        writer.bytes(announcement);
        writer.bytes(self.package);
        packet
    }
}

/// The sender has no key for what it gets from the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    /// Who asks.
    pub sender: ClientId,
}

impl KeyRequest {
    /// Reads a KeyRequest body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let sender = ClientId(reader.u16()?);
        reader.end()?;
        Ok(Self { sender })
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::KeyRequest, Some(session), 2);
        Writer(&mut packet).u16(self.sender.0);
        packet
    }
}

/// Whose key a payload is sealed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedWith {
    /// The sender's, which everyone has.
    SenderKey,
    /// The one that the sender shares with the receiver alone.
    PairKey,
}

/// A TextData or GroupText, sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedText<'a> {
    /// Who writes.
    pub sender: ClientId,
    /// Whose key it is.
    pub key: SealedWith,
    /// The type and the body, sealed.
    pub sealed: &'a [u8],
}

impl<'a> SealedText<'a> {
    /// Bytes before the sealed ones, in the whole packet: these are authenticated.
    pub const CLEAR_BYTES: usize = Header::BYTES + 3;

    /// Reads a SealedText body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let sender = ClientId(reader.u16()?);
        let key = match reader.u8()? {
            0 => SealedWith::SenderKey,
            1 => SealedWith::PairKey,
            _ => return Err(DecodeError::BadValue),
        };
        let sealed = reader.bytes(reader.remaining())?;
        Ok(Self { sender, key, sealed })
    }

    /// The whole packet, without its sealed bytes if they are still to come.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::SealedText, Some(session), 3 + self.sealed.len());
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        writer.u8(match self.key {
            SealedWith::SenderKey => 0,
            SealedWith::PairKey => 1,
        });
        writer.bytes(self.sealed);
        packet
    }
}

/// How speech or a game's bytes are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedPart {
    /// Bytes of the packet that stay readable and are authenticated; what follows is sealed.
    pub clear_bytes: usize,
    /// With which key.
    pub key: SealedWith,
}

impl SealedPart {
    /// Of a whole packet, sealed or not; `None` for types that are not sealed.
    pub fn of(packet: &[u8]) -> Result<Option<Self>, DecodeError> {
        let (Header { kind, .. }, body) = open(packet)?;
        let mut reader = Reader::new(body);
        let key = if kind.is_voice() {
            // Sender, options, sequence.
            reader.bytes(5)?;
            let count = usize::from(reader.u16()?);
            if count > VOICE_TARGETS {
                return Err(DecodeError::TooLong);
            }
            let (targets, _) = reader.bytes(count * TARGET_BYTES)?.as_chunks::<TARGET_BYTES>();
            if is_for_one(TargetList(targets)) {
                SealedWith::PairKey
            } else {
                SealedWith::SenderKey
            }
        } else if kind.is_data() {
            reader.u16()?;
            SealedWith::PairKey
        } else {
            return Ok(None);
        };
        Ok(Some(Self { clear_bytes: packet.len() - reader.remaining(), key }))
    }
}

fn is_for_one(targets: TargetList<'_>) -> bool {
    let mut targets = targets.iter();
    let first = targets.next();
    first.is_some_and(|target| matches!(target.kind, TargetKind::Client(_))) && targets.len() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &[u8] = &[0xAA, 0xBB, 0xCC, 0xDD];

    fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[0x8B, 0xC7, kind], SESSION, body].concat()
    }

    #[test]
    fn what_is_sealed_begins_behind_the_targets_or_the_sender() {
        let of = |kind, body: &[u8]| SealedPart::of(&packet(kind, body));
        let part = |clear_bytes, key| Ok(Some(SealedPart { clear_bytes, key }));
        let group = [0, 1, 0x80, 0, 9, 0, 1, 0x80, 0, 0x56, 0x0C, 1, 2, 3];
        let client = [0, 1, 0x80, 0, 9, 0, 1, 0x80, 1, 0, 7, 1, 2, 3];
        let both = [0, 1, 0x80, 0, 9, 0, 2, 0x80, 1, 0, 7, 0x80, 0, 0x56, 0x0C, 1];
        let none = [0, 1, 0x80, 0, 9, 0, 0, 1, 2, 3];
        for kind in [2, 35] {
            assert_eq!(of(kind, &group), part(18, SealedWith::SenderKey));
            assert_eq!(of(kind, &client), part(18, SealedWith::PairKey));
            assert_eq!(of(kind, &both), part(22, SealedWith::SenderKey));
            assert_eq!(of(kind, &none), part(14, SealedWith::SenderKey));
            assert_eq!(of(kind, &group[..9]), Err(DecodeError::Truncated));
            assert_eq!(of(kind, &[0, 1, 0x80, 0, 9, 0, 65]), Err(DecodeError::TooLong));
        }
        for kind in 39..=42 {
            assert_eq!(of(kind, &[0, 1, 9, 9]), part(9, SealedWith::PairKey));
            assert_eq!(of(kind, &[0]), Err(DecodeError::Truncated));
        }
        for kind in [1, 3, 11, 32, 33, 36, 37, 43, 46, 47, 48] {
            assert_eq!(of(kind, &group), Ok(None), "{kind}");
        }
        assert_eq!(SealedPart::of(b"no packet"), Err(DecodeError::NotOurs));
    }
}
