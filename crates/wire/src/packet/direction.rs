//! Packets by direction (PROTOCOL.md, sections 6 to 9): what a client says to the server, the
//! server to a client, and members to each other. A packet that does not belong on the way it came
//! is none of these.

use super::{
    BandwidthProbe, BandwidthReport, ClientState, ClockEcho, ClockProbe, DataAck, DataMessage,
    DataReset, DataSegment, DecodeError, DeltaClientState, GroupText, HandshakeP2P,
    HandshakeRequest, HandshakeResponse, KeyPackage, KeyRequest, Kind, Probe, ReceptionReport,
    Relay, RemoveClient, SealedText, TextData, VoiceAck, VoiceCopies, VoiceData,
};

/// Why a packet is none of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectionError {
    /// Its body cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its type does not belong on the way that it came.
    #[error("a packet of type {} does not belong here", .0.number())]
    Misplaced(Kind),
}

/// What a client says to the server.
#[derive(Clone, Debug, PartialEq)]
pub enum ToServer<'a> {
    /// It asks to join.
    HandshakeRequest(HandshakeRequest),
    /// A packet to be passed on in order and without loss.
    RelayReliable(Relay<'a>),
    /// A packet to be passed on now or not at all.
    RelayUnreliable(Relay<'a>),
    /// Its own state.
    ClientState(ClientState),
    /// It begins or ceases to listen to a group.
    DeltaClientState(DeltaClientState),
    /// A text to a client or to a group by its id.
    TextData(TextData<'a>),
    /// A text to a group by its name.
    GroupText(GroupText<'a>),
    /// How long does it take to you?
    Probe(Probe),
}

impl<'a> ToServer<'a> {
    /// Reads a body of this type.
    ///
    /// # Errors
    ///
    /// [`DirectionError::Misplaced`] for a type that is never for a server.
    pub fn decode(kind: Kind, body: &'a [u8]) -> Result<Self, DirectionError> {
        Ok(match kind {
            Kind::HandshakeRequest => Self::HandshakeRequest(HandshakeRequest::decode(body)?),
            Kind::ServerRelayReliable => Self::RelayReliable(Relay::decode(body)?),
            Kind::ServerRelayUnreliable => Self::RelayUnreliable(Relay::decode(body)?),
            Kind::ClientState => Self::ClientState(ClientState::decode_request(body)?),
            Kind::DeltaClientState => Self::DeltaClientState(DeltaClientState::decode(body)?),
            Kind::TextData => Self::TextData(TextData::decode(body)?),
            Kind::GroupText => Self::GroupText(GroupText::decode(body)?),
            Kind::Probe => Self::Probe(Probe::decode(body)?),
            Kind::HandshakeResponse
            | Kind::ErrorWrongSession
            | Kind::RemoveClient
            | Kind::HandshakeP2P
            | Kind::VoiceData
            | Kind::VoiceAck
            | Kind::ProbeEcho
            | Kind::VoiceCopies
            | Kind::ReceptionReport
            | Kind::ClockProbe
            | Kind::ClockEcho
            | Kind::DataSegment
            | Kind::DataAck
            | Kind::DataMessage
            | Kind::DataReset
            | Kind::BandwidthProbe
            | Kind::BandwidthReport
            | Kind::KeyPackage
            | Kind::KeyRequest
            | Kind::SealedText
            | Kind::Unassigned(_) => return Err(DirectionError::Misplaced(kind)),
        })
    }
}

/// What the server says to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum FromServer<'a> {
    /// The answer to a handshake: the whole state.
    HandshakeResponse(HandshakeResponse),
    /// The session that the server is in, which the header names.
    ErrorWrongSession,
    /// One client's whole state.
    ClientState(ClientState),
    /// A client begins or ceases to listen to a group.
    DeltaClientState(DeltaClientState),
    /// A client has left.
    RemoveClient(RemoveClient),
    /// A text to this client or to a group by its id.
    TextData(TextData<'a>),
    /// A text to a group by its name.
    GroupText(GroupText<'a>),
    /// The answer to this client's probe.
    ProbeEcho(Probe),
    /// What another member sent through the server.
    Relayed(FromMember<'a>),
}

impl<'a> FromServer<'a> {
    /// Reads a body of this type.
    ///
    /// # Errors
    ///
    /// [`DirectionError::Misplaced`] for a type that no server sends and relays.
    pub fn decode(kind: Kind, body: &'a [u8]) -> Result<Self, DirectionError> {
        Ok(match kind {
            Kind::HandshakeResponse => Self::HandshakeResponse(HandshakeResponse::decode(body)?),
            Kind::ErrorWrongSession => Self::ErrorWrongSession,
            Kind::ClientState => Self::ClientState(ClientState::decode(body)?),
            Kind::DeltaClientState => Self::DeltaClientState(DeltaClientState::decode(body)?),
            Kind::RemoveClient => Self::RemoveClient(RemoveClient::decode(body)?),
            Kind::TextData => Self::TextData(TextData::decode(body)?),
            Kind::GroupText => Self::GroupText(GroupText::decode(body)?),
            Kind::ProbeEcho => Self::ProbeEcho(Probe::decode(body)?),
            kind => Self::Relayed(FromMember::decode(kind, body)?),
        })
    }
}

/// What members say to each other on a link.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerToPeer<'a> {
    /// "This link is mine."
    HandshakeP2P(HandshakeP2P),
    /// What of this side's voice has come over this link.
    VoiceAck(VoiceAck),
    /// Is this link alive, and how long does it take?
    Probe(Probe),
    /// The answer to a probe.
    ProbeEcho(Probe),
    /// One packet of a train that measures the link.
    BandwidthProbe(BandwidthProbe),
    /// What arrived of such a train.
    BandwidthReport(BandwidthReport),
    /// What could come through the server as well.
    Member(FromMember<'a>),
}

impl<'a> PeerToPeer<'a> {
    /// Reads a body of this type.
    ///
    /// # Errors
    ///
    /// [`DirectionError::Misplaced`] for a type that does not travel on links.
    pub fn decode(kind: Kind, body: &'a [u8]) -> Result<Self, DirectionError> {
        Ok(match kind {
            Kind::HandshakeP2P => Self::HandshakeP2P(HandshakeP2P::decode(body)?),
            Kind::VoiceAck => Self::VoiceAck(VoiceAck::decode(body)?),
            Kind::Probe => Self::Probe(Probe::decode(body)?),
            Kind::ProbeEcho => Self::ProbeEcho(Probe::decode(body)?),
            Kind::BandwidthProbe => Self::BandwidthProbe(BandwidthProbe::decode(body)?),
            Kind::BandwidthReport => Self::BandwidthReport(BandwidthReport::decode(body)?),
            kind => Self::Member(FromMember::decode(kind, body)?),
        })
    }
}

/// What one member says to others, by whichever way: the body begins with its client id.
#[derive(Clone, Debug, PartialEq)]
pub enum FromMember<'a> {
    /// One encoded frame of speech.
    VoiceData(VoiceData<'a>),
    /// One encoded frame of speech, and earlier ones.
    VoiceCopies(VoiceCopies<'a>),
    /// How well a listener received this client.
    ReceptionReport(ReceptionReport),
    /// What time is it where you are?
    ClockProbe(ClockProbe),
    /// The answer to a clock probe.
    ClockEcho(ClockEcho),
    /// The game's own bytes.
    Data(DataPacket<'a>),
    /// Its keys.
    KeyPackage(KeyPackage<'a>),
    /// It asks for keys.
    KeyRequest(KeyRequest),
    /// A sealed text.
    SealedText(SealedText<'a>),
    /// A type of ours that this version does not know.
    Unassigned(u8),
}

impl<'a> FromMember<'a> {
    fn decode(kind: Kind, body: &'a [u8]) -> Result<Self, DirectionError> {
        Ok(match kind {
            Kind::VoiceData => Self::VoiceData(VoiceData::decode(body)?),
            Kind::VoiceCopies => Self::VoiceCopies(VoiceCopies::decode(body)?),
            Kind::ReceptionReport => Self::ReceptionReport(ReceptionReport::decode(body)?),
            Kind::ClockProbe => Self::ClockProbe(ClockProbe::decode(body)?),
            Kind::ClockEcho => Self::ClockEcho(ClockEcho::decode(body)?),
            Kind::DataSegment => Self::Data(DataPacket::Segment(DataSegment::decode(body)?)),
            Kind::DataAck => Self::Data(DataPacket::Ack(DataAck::decode(body)?)),
            Kind::DataMessage => Self::Data(DataPacket::Message(DataMessage::decode(body)?)),
            Kind::DataReset => Self::Data(DataPacket::Reset(DataReset::decode(body)?)),
            Kind::KeyPackage => Self::KeyPackage(KeyPackage::decode(body)?),
            Kind::KeyRequest => Self::KeyRequest(KeyRequest::decode(body)?),
            Kind::SealedText => Self::SealedText(SealedText::decode(body)?),
            Kind::Unassigned(number) => Self::Unassigned(number),
            Kind::ClientState
            | Kind::TextData
            | Kind::HandshakeRequest
            | Kind::HandshakeResponse
            | Kind::ErrorWrongSession
            | Kind::ServerRelayReliable
            | Kind::ServerRelayUnreliable
            | Kind::DeltaClientState
            | Kind::RemoveClient
            | Kind::HandshakeP2P
            | Kind::VoiceAck
            | Kind::Probe
            | Kind::ProbeEcho
            | Kind::GroupText
            | Kind::BandwidthProbe
            | Kind::BandwidthReport => return Err(DirectionError::Misplaced(kind)),
        })
    }
}

/// A packet of a pipe for the game's own bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum DataPacket<'a> {
    /// A numbered part of the reliable data.
    Segment(DataSegment<'a>),
    /// Which segments have come.
    Ack(DataAck),
    /// A message that may be lost.
    Message(DataMessage<'a>),
    /// The pipe is no more.
    Reset(DataReset),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a direction knows a type, whatever its body.
    fn knows<T>(decoded: &Result<T, DirectionError>) -> bool {
        !matches!(decoded, Err(DirectionError::Misplaced(_)))
    }

    #[test]
    fn each_direction_knows_its_types_and_no_other() {
        for number in 0..=255 {
            let Some(kind) = Kind::from_number(number) else { continue };
            let to_server = matches!(number, 1 | 3 | 4 | 7 | 8 | 9 | 33 | 43);
            let from_member = number == 2 || matches!(number, 35..=42 | 46..=63);
            let from_server = from_member || matches!(number, 1 | 3 | 5 | 6 | 9 | 10 | 34 | 43);
            let on_links = from_member || matches!(number, 11 | 32..=34 | 44 | 45);
            assert_eq!(knows(&ToServer::decode(kind, &[])), to_server, "{number}");
            assert_eq!(knows(&FromServer::decode(kind, &[])), from_server, "{number}");
            assert_eq!(knows(&PeerToPeer::decode(kind, &[])), on_links, "{number}");
        }
    }
}
