//! What stands before every body: which packet it is, and of which session.

use crate::SessionId;
use crate::cursor::{Reader, Writer};
use crate::decode_error::DecodeError;

/// The first two bytes of every packet.
pub const MAGIC: u16 = 0x8BC7;

/// The first of the types that are ours; from here on every body begins with the sender's client
/// id.
pub const FIRST_EXTENSION: u8 = 32;
/// The last of the types that are ours.
pub const LAST_EXTENSION: u8 = 63;

/// What a packet is; decides how its body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One client's whole state.
    ClientState,
    /// One encoded frame of speech.
    VoiceData,
    /// A text message.
    TextData,
    /// A client asks to join; the only type without a session number.
    HandshakeRequest,
    /// The server's whole state, for a client that joins.
    HandshakeResponse,
    /// The header's session number is the right one.
    ErrorWrongSession,
    /// Pass the packet inside to each of these clients, in order and without loss.
    ServerRelayReliable,
    /// Pass the packet inside to each of these clients now or not at all.
    ServerRelayUnreliable,
    /// A client begins or ceases to listen to one group.
    DeltaClientState,
    /// A client has left.
    RemoveClient,
    /// "This link is mine": sent over a link only.
    HandshakeP2P,
    /// What the sender has received of a speaker's voice on this link.
    VoiceAck,
    /// Is this link alive, and how long does it take?
    Probe,
    /// The answer to a probe.
    ProbeEcho,
    /// One encoded frame of speech, and earlier ones again.
    VoiceCopies,
    /// How well a listener received a speaker.
    ReceptionReport,
    /// What time is it where you are?
    ClockProbe,
    /// The answer to a clock probe.
    ClockEcho,
    /// A numbered part of the reliable data from one peer to another.
    DataSegment,
    /// Which segments have come.
    DataAck,
    /// The game's own bytes, which may be lost.
    DataMessage,
    /// A pipe for data is no more.
    DataReset,
    /// A text message to a group by its name.
    GroupText,
    /// One packet of a train that measures how fast a link carries packets.
    BandwidthProbe,
    /// What arrived of such a train.
    BandwidthReport,
    /// A member's sender keys, sealed for another.
    KeyPackage,
    /// A member lacks the keys for what it gets.
    KeyRequest,
    /// A written message, sealed.
    SealedText,
    /// A type of ours (32–63) that this version does not know.
    Unassigned(u8),
}

impl Kind {
    /// The number in the header.
    pub const fn number(self) -> u8 {
        match self {
            Self::ClientState => 1,
            Self::VoiceData => 2,
            Self::TextData => 3,
            Self::HandshakeRequest => 4,
            Self::HandshakeResponse => 5,
            Self::ErrorWrongSession => 6,
            Self::ServerRelayReliable => 7,
            Self::ServerRelayUnreliable => 8,
            Self::DeltaClientState => 9,
            Self::RemoveClient => 10,
            Self::HandshakeP2P => 11,
            Self::VoiceAck => 32,
            Self::Probe => 33,
            Self::ProbeEcho => 34,
            Self::VoiceCopies => 35,
            Self::ReceptionReport => 36,
            Self::ClockProbe => 37,
            Self::ClockEcho => 38,
            Self::DataSegment => 39,
            Self::DataAck => 40,
            Self::DataMessage => 41,
            Self::DataReset => 42,
            Self::GroupText => 43,
            Self::BandwidthReport => 44,
            Self::BandwidthProbe => 45,
            Self::KeyPackage => 46,
            Self::KeyRequest => 47,
            Self::SealedText => 48,
            Self::Unassigned(number) => number,
        }
    }

    /// `None` for a number that is neither one of Dissonance's nor in our range.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::ClientState,
            2 => Self::VoiceData,
            3 => Self::TextData,
            4 => Self::HandshakeRequest,
            5 => Self::HandshakeResponse,
            6 => Self::ErrorWrongSession,
            7 => Self::ServerRelayReliable,
            8 => Self::ServerRelayUnreliable,
            9 => Self::DeltaClientState,
            10 => Self::RemoveClient,
            11 => Self::HandshakeP2P,
            32 => Self::VoiceAck,
            33 => Self::Probe,
            34 => Self::ProbeEcho,
            35 => Self::VoiceCopies,
            36 => Self::ReceptionReport,
            37 => Self::ClockProbe,
            38 => Self::ClockEcho,
            39 => Self::DataSegment,
            40 => Self::DataAck,
            41 => Self::DataMessage,
            42 => Self::DataReset,
            43 => Self::GroupText,
            44 => Self::BandwidthReport,
            45 => Self::BandwidthProbe,
            46 => Self::KeyPackage,
            47 => Self::KeyRequest,
            48 => Self::SealedText,
            49..=LAST_EXTENSION => Self::Unassigned(number),
            _ => return None,
        })
    }

    /// Whether it says something about one link, so that it has no meaning elsewhere.
    pub const fn is_for_links(self) -> bool {
        matches!(
            self,
            Self::VoiceAck
                | Self::Probe
                | Self::ProbeEcho
                | Self::BandwidthProbe
                | Self::BandwidthReport
        )
    }

    /// Whether the body begins with the sender's client id, so that a relay can hold it against the
    /// connection it came by (PROTOCOL.md, section 6). Such packets travel on links; those that are
    /// not [`is_for_links`](Self::is_for_links) may be relayed.
    /// GroupText is for the server, which knows who listens.
    pub const fn names_its_sender(self) -> bool {
        match self {
            Self::VoiceData
            | Self::VoiceAck
            | Self::Probe
            | Self::ProbeEcho
            | Self::VoiceCopies
            | Self::ReceptionReport
            | Self::ClockProbe
            | Self::ClockEcho
            | Self::DataSegment
            | Self::DataAck
            | Self::DataMessage
            | Self::DataReset
            | Self::BandwidthProbe
            | Self::BandwidthReport
            | Self::KeyPackage
            | Self::KeyRequest
            | Self::SealedText
            | Self::Unassigned(_) => true,
            Self::ClientState
            | Self::TextData
            | Self::HandshakeRequest
            | Self::HandshakeResponse
            | Self::ErrorWrongSession
            | Self::ServerRelayReliable
            | Self::ServerRelayUnreliable
            | Self::DeltaClientState
            | Self::RemoveClient
            | Self::HandshakeP2P
            | Self::GroupText => false,
        }
    }

    /// Whether it is a written message that the server distributes.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::TextData | Self::GroupText)
    }

    /// Whether it is speech: worthless when late.
    pub const fn is_voice(self) -> bool {
        matches!(self, Self::VoiceData | Self::VoiceCopies)
    }

    /// Whether it belongs to the game's own bytes: what of it must arrive is sent again by the
    /// peers themselves.
    pub const fn is_data(self) -> bool {
        matches!(self, Self::DataSegment | Self::DataAck | Self::DataMessage | Self::DataReset)
    }
}

/// What stands before every body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How to read the body.
    pub kind: Kind,
    /// The session number as sent, zero included; `None` in a HandshakeRequest.
    pub session: Option<u32>,
}

impl Header {
    /// Bytes before the body in every type but HandshakeRequest.
    pub const BYTES: usize = 7;

    /// The session, if the packet names a possible one.
    pub fn session_id(&self) -> Option<SessionId> {
        self.session.and_then(SessionId::new)
    }
}

/// Checks the magic number and splits a packet into header and body.
pub fn open(packet: &[u8]) -> Result<(Header, &[u8]), DecodeError> {
    let mut reader = Reader::new(packet);
    if reader.u16().map_err(|_| DecodeError::NotOurs)? != MAGIC {
        return Err(DecodeError::NotOurs);
    }
    let number = reader.u8()?;
    let kind = Kind::from_number(number).ok_or(DecodeError::UnknownKind(number))?;
    let session = match kind {
        Kind::HandshakeRequest => None,
        _ => Some(reader.u32()?),
    };
    let body = reader.remaining();
    Ok((Header { kind, session }, &packet[packet.len() - body..]))
}

/// The packet that tells a client which session the server is in.
pub fn error_wrong_session(session: SessionId) -> Vec<u8> {
    begin(Kind::ErrorWrongSession, Some(session), 0)
}

/// Starts a packet: header written, room for a body of about `body_bytes`.
pub(super) fn begin(kind: Kind, session: Option<SessionId>, body_bytes: usize) -> Vec<u8> {
    let mut packet = Vec::with_capacity(Header::BYTES + body_bytes);
    write_header(&mut packet, kind, session);
    packet
}

pub(super) fn write_header(packet: &mut Vec<u8>, kind: Kind, session: Option<SessionId>) {
    let mut writer = Writer(packet);
    writer.u16(MAGIC);
    writer.u8(kind.number());
    if let Some(session) = session {
        writer.u32(session.number());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_number_it_is_read_from() {
        for number in 0..=255 {
            match Kind::from_number(number) {
                Some(kind) => assert_eq!(kind.number(), number),
                None => {
                    assert!(number == 0 || (12..32).contains(&number) || number > 63, "{number}")
                }
            }
        }
    }

    /// proves: D-01, D-02
    #[test]
    fn bytes_without_the_magic_number_or_a_known_type_are_refused() {
        assert_eq!(open(&[]), Err(DecodeError::NotOurs));
        assert_eq!(open(&[0x8B]), Err(DecodeError::NotOurs));
        for magic in (0..=u16::MAX).filter(|magic| *magic != MAGIC) {
            let [high, low] = magic.to_be_bytes();
            assert_eq!(
                open(&[high, low, 6, 0, 0, 0, 1]),
                Err(DecodeError::NotOurs),
                "{magic:#06x}"
            );
        }
        assert_eq!(open(&[0x8B, 0xC7, 12, 0, 0, 0, 1]), Err(DecodeError::UnknownKind(12)));
        assert_eq!(open(&[0x8B, 0xC7, 6, 0, 0, 1]), Err(DecodeError::Truncated));
        let (header, body) = open(&[0x8B, 0xC7, 6, 0, 0, 0, 1]).unwrap();
        assert_eq!(
            (header.kind, header.session_id(), body),
            (Kind::ErrorWrongSession, SessionId::new(1), &[][..])
        );
    }
}
