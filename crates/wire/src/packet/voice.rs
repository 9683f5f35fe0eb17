//! VoiceData: one encoded frame and the targets it is addressed to (PROTOCOL.md, section 6).

use super::{DecodeError, Kind, write_header};
use crate::cursor::{Reader, Writer};
use crate::limits::{VOICE_FRAME_BYTES, VOICE_TARGETS};
use crate::{ClientId, GroupId, SessionId};

pub(super) const TARGET_BYTES: usize = 4;
const SEVEN_BIT_MARK: u8 = 0x80;

/// Which talkspurt a frame belongs to, as its sender counts them. Steps when every target of the
/// speaker has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TalkspurtCounter {
    /// Ours: 7 bits, wrapping.
    SevenBit(u8),
    /// An old sender's: 2 bits, wrapping.
    TwoBit(u8),
}

impl TalkspurtCounter {
    /// The counter's value.
    pub const fn value(self) -> u8 {
        match self {
            Self::SevenBit(value) | Self::TwoBit(value) => value,
        }
    }

    /// How many values there are before it wraps.
    pub const fn modulus(self) -> u8 {
        match self {
            Self::SevenBit(_) => 128,
            Self::TwoBit(_) => 4,
        }
    }

    pub(super) const fn from_options(options: u8) -> Self {
        if options & SEVEN_BIT_MARK != 0 {
            Self::SevenBit(options & 0x7F)
        } else {
            Self::TwoBit(options & 0x03)
        }
    }

    pub(super) const fn to_options(self) -> u8 {
        match self {
            Self::SevenBit(value) => SEVEN_BIT_MARK | (value & 0x7F),
            Self::TwoBit(value) => value & 0x03,
        }
    }
}

/// How a listener should weigh this speech against other speech.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Below default speech.
    Low,
    /// Ordinary speech.
    #[default]
    Default,
    /// Above default speech.
    Medium,
    /// Above all.
    High,
}

impl Priority {
    const fn to_bits(self) -> u16 {
        match self {
            Self::Default => 0,
            Self::Low => 1,
            Self::Medium => 2,
            Self::High => 3,
        }
    }

    const fn from_bits(bits: u16) -> Self {
        match bits & 3 {
            1 => Self::Low,
            2 => Self::Medium,
            3 => Self::High,
            _ => Self::Default,
        }
    }
}

/// Whom speech is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetKind {
    /// Everyone who listens to this group.
    Group(GroupId),
    /// This client, subscribed or not.
    Client(ClientId),
}

/// One voice target as it stands in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whom.
    pub kind: TargetKind,
    /// Whether the listener should place it in space.
    pub positional: bool,
    /// Whether this is the last frame for this target.
    pub closing: bool,
    /// Against other speech.
    pub priority: Priority,
    /// The target's own opening, counted in 2 bits.
    pub session: u8,
    /// 0 to 255; 255 is twice as loud as spoken. See [`volume_to_wire`].
    pub volume: u8,
}

impl Target {
    /// Speech without a position, at default priority and volume, in the target's first opening.
    pub const fn plain(kind: TargetKind) -> Self {
        Self {
            kind,
            positional: false,
            closing: false,
            priority: Priority::Default,
            session: 0,
            volume: 128,
        }
    }
}

/// The wire's volume for a factor from 0.0 to 2.0; beyond is cut.
pub fn volume_to_wire(factor: f32) -> u8 {
    (factor.clamp(0.0, 2.0) * 127.5).round() as u8
}

impl Target {
    /// The factor to multiply samples with, 0.0 to 2.0.
    pub fn volume_factor(&self) -> f32 {
        f32::from(self.volume) / 127.5
    }

    pub(super) fn to_bytes(self) -> [u8; TARGET_BYTES] {
        let (kind_bit, id) = match self.kind {
            TargetKind::Group(GroupId(id)) => (0, id),
            TargetKind::Client(ClientId(id)) => (1, id),
        };
        let bits: u16 = kind_bit
            | (u16::from(self.positional) << 1)
            | (u16::from(self.closing) << 2)
            | (self.priority.to_bits() << 3)
            | (u16::from(self.session & 3) << 5)
            | (u16::from(self.volume) << 8);
        let [b0, b1] = bits.to_be_bytes();
        let [i0, i1] = id.to_be_bytes();
        [b0, b1, i0, i1]
    }

    fn from_bytes([b0, b1, i0, i1]: [u8; TARGET_BYTES]) -> Self {
        let bits = u16::from_be_bytes([b0, b1]);
        let id = u16::from_be_bytes([i0, i1]);
        Self {
            kind: if bits & 1 == 0 {
                TargetKind::Group(GroupId(id))
            } else {
                TargetKind::Client(ClientId(id))
            },
            positional: bits & 2 != 0,
            closing: bits & 4 != 0,
            priority: Priority::from_bits(bits >> 3),
            session: ((bits >> 5) & 3) as u8,
            volume: (bits >> 8) as u8,
        }
    }
}

/// A packet's targets, still in its bytes: reading a voice packet allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetList<'a>(pub(super) &'a [[u8; TARGET_BYTES]]);

impl<'a> TargetList<'a> {
    /// The targets in the order the sender wrote them.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Target> + 'a {
        self.0.iter().map(|bytes| Target::from_bytes(*bytes))
    }
}

/// One frame of speech, as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoiceData<'a> {
    /// Who speaks, and where in the stream of frames this one belongs.
    pub header: VoiceHeader,
    /// Whom it is for.
    pub targets: TargetList<'a>,
    /// One encoded frame.
    pub frame: &'a [u8],
}

/// The fixed part of a VoiceData body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoiceHeader {
    /// Who speaks.
    pub sender: ClientId,
    /// Which talkspurt.
    pub talkspurt: TalkspurtCounter,
    /// Counts frames and wraps; never restarts.
    pub sequence: u16,
}

impl<'a> VoiceData<'a> {
    /// Reads a VoiceData body.
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
        let frame_bytes = usize::from(reader.u16()?);
        if frame_bytes > VOICE_FRAME_BYTES {
            return Err(DecodeError::TooLong);
        }
        let frame = reader.bytes(frame_bytes)?;
        reader.end()?;
        Ok(Self {
            header: VoiceHeader { sender, talkspurt, sequence },
            targets: TargetList(targets),
            frame,
        })
    }
}

impl VoiceHeader {
    /// Appends a whole VoiceData packet to `packet`. At most [`VOICE_TARGETS`] targets and
    /// [`VOICE_FRAME_BYTES`] of frame are written; callers hold both.
    pub fn encode_packet(
        self,
        session: SessionId,
        targets: &[Target],
        frame: &[u8],
        packet: &mut Vec<u8>,
    ) {
        let targets = &targets[..targets.len().min(VOICE_TARGETS)];
        let frame = &frame[..frame.len().min(VOICE_FRAME_BYTES)];
        write_header(packet, Kind::VoiceData, Some(session));
        let mut writer = Writer(packet);
        writer.u16(self.sender.0);
        writer.u8(self.talkspurt.to_options());
        writer.u16(self.sequence);
        writer.count(targets.len());
        for target in targets {
            writer.bytes(&target.to_bytes());
        }
        writer.count(frame.len());
        writer.bytes(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::open;

    fn target(kind: TargetKind) -> Target {
        Target {
            kind,
            positional: true,
            closing: true,
            priority: Priority::High,
            session: 2,
            volume: 255,
        }
    }

    /// Assembled by hand from the table in PROTOCOL.md, section 6.
    ///
    /// proves: D-18
    #[test]
    fn a_voice_packet_is_the_bytes_of_the_table() {
        let targets = [target(TargetKind::Group(GroupId(22028))), {
            Target {
                kind: TargetKind::Client(ClientId(9)),
                positional: false,
                closing: false,
                priority: Priority::Default,
                session: 0,
                volume: 127,
            }
        }];
        let header = VoiceHeader {
            sender: ClientId(0x0102),
            talkspurt: TalkspurtCounter::SevenBit(5),
            sequence: 0xFFFE,
        };
        let mut packet = Vec::new();
        header.encode_packet(
            SessionId::new(0xAABBCCDD).unwrap(),
            &targets,
            &[7, 8, 9],
            &mut packet,
        );
        #[rustfmt::skip]
        let expected = [
            0x8B, 0xC7, 2, 0xAA, 0xBB, 0xCC, 0xDD,
            0x01, 0x02, 0x85, 0xFF, 0xFE,
            0, 2,
            0xFF, 0b0101_1110, 0x56, 0x0C, // 255; session 2, high, closing, positional, group; 22028
            0x7F, 0b0000_0001, 0, 9,
            0, 3, 7, 8, 9,
        ];
        assert_eq!(packet, expected);

        let (opened, body) = open(&packet).unwrap();
        assert_eq!(opened.kind, Kind::VoiceData);
        let voice = VoiceData::decode(body).unwrap();
        assert_eq!(voice.header, header);
        assert_eq!(voice.targets.iter().collect::<Vec<_>>(), targets);
        assert_eq!(voice.frame, [7, 8, 9]);
    }

    /// proves: D-19
    #[test]
    fn an_old_senders_two_bit_talkspurt_is_read() {
        let body = [0, 1, 0b0000_0011, 0, 0, 0, 0, 0, 1, 42];
        let voice = VoiceData::decode(&body).unwrap();
        assert_eq!(voice.header.talkspurt, TalkspurtCounter::TwoBit(3));
    }

    #[test]
    fn lists_and_frames_that_lie_about_their_length_are_refused() {
        assert_eq!(VoiceData::decode(&[0, 1, 0x80, 0, 0, 0, 200, 0, 0]), Err(DecodeError::TooLong));
        assert_eq!(VoiceData::decode(&[0, 1, 0x80, 0, 0, 0, 1, 0, 0]), Err(DecodeError::Truncated));
        assert_eq!(
            VoiceData::decode(&[0, 1, 0x80, 0, 0, 0, 0, 0xFF, 0xFF]),
            Err(DecodeError::TooLong)
        );
        assert_eq!(
            VoiceData::decode(&[0, 1, 0x80, 0, 0, 0, 0, 0, 0, 1]),
            Err(DecodeError::TrailingBytes)
        );
    }

    #[test]
    fn volume_goes_from_silent_to_twice_as_loud() {
        assert_eq!(volume_to_wire(0.0), 0);
        assert_eq!(volume_to_wire(1.0), 128);
        assert_eq!(volume_to_wire(2.0), 255);
        assert_eq!(volume_to_wire(f32::NAN), 0);
    }
}
