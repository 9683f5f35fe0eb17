//! Who is in the session and who listens to what (PROTOCOL.md, section 6).

use super::{DecodeError, Kind, begin};
use crate::cursor::{Reader, Writer};
use crate::limits::{GROUP_NAME_BYTES, GROUPS_PER_CLIENT, LISTENERS_PER_LIST, NAME_BYTES};
use crate::{ClientId, GroupId, SessionId};

/// How a client encodes its voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecSettings {
    /// Which codec; 1 is Opus.
    pub codec: u8,
    /// Samples in one frame.
    pub frame_samples: u32,
    /// Samples a second.
    pub sample_rate_hz: u32,
}

impl CodecSettings {
    /// The codec number of Opus.
    pub const OPUS: u8 = 1;
    const BYTES: usize = 9;

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            codec: reader.u8()?,
            frame_samples: reader.u32()?,
            sample_rate_hz: reader.u32()?,
        })
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.u8(self.codec);
        writer.u32(self.frame_samples);
        writer.u32(self.sample_rate_hz);
    }
}

/// A client as others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// Display name, at most [`NAME_BYTES`].
    pub name: String,
    /// Its id in this session.
    pub id: ClientId,
    /// How it encodes its voice.
    pub codec: CodecSettings,
}

impl ClientInfo {
    /// The fewest bytes an entry takes, which bounds how many a list of a given length can hold.
    const LEAST_BYTES: usize = 2 + 2 + CodecSettings::BYTES;

    /// Bytes this entry takes in a packet.
    pub fn encoded_bytes(&self) -> usize {
        Self::LEAST_BYTES + self.name.len().min(NAME_BYTES)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = reader.text(NAME_BYTES)?.to_owned();
        Ok(Self { name, id: ClientId(reader.u16()?), codec: CodecSettings::read(reader)? })
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.text(&self.name, NAME_BYTES);
        writer.u16(self.id.0);
        self.codec.write(writer);
    }
}

/// A client asks to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeRequest {
    /// How it encodes its voice.
    pub codec: CodecSettings,
    /// Its display name.
    pub name: String,
}

impl HandshakeRequest {
    /// Reads a HandshakeRequest body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let request = Self {
            codec: CodecSettings::read(&mut reader)?,
            name: reader.text(NAME_BYTES)?.to_owned(),
        };
        reader.end()?;
        Ok(request)
    }

    /// The whole packet; the only one without a session number.
    pub fn encode(&self) -> Vec<u8> {
        let mut packet = begin(Kind::HandshakeRequest, None, 16 + self.name.len());
        let mut writer = Writer(&mut packet);
        self.codec.write(&mut writer);
        writer.text(&self.name, NAME_BYTES);
        packet
    }
}

/// The listeners of one group, as a HandshakeResponse lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListeners {
    /// Which group.
    pub group: GroupId,
    /// At most [`LISTENERS_PER_LIST`]; the rest follow as ClientState.
    pub clients: Vec<ClientId>,
}

/// The server's state, for a client that joins. What does not fit follows as ClientState messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeResponse {
    /// The receiver's own id.
    pub you: ClientId,
    /// The others.
    pub clients: Vec<ClientInfo>,
    /// Names of the groups with at least one listener.
    pub groups: Vec<String>,
    /// Who listens to which.
    pub listeners: Vec<GroupListeners>,
}

impl HandshakeResponse {
    /// Reads a HandshakeResponse body. Lists are believed only as far as the bytes behind them go.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let you = ClientId(reader.u16()?);
        let clients = list(&mut reader, ClientInfo::LEAST_BYTES, ClientInfo::read)?;
        let groups = list(&mut reader, 2, |reader| Ok(reader.text(GROUP_NAME_BYTES)?.to_owned()))?;
        let listeners = list(&mut reader, 3, |reader| {
            let group = GroupId(reader.u16()?);
            let count = usize::from(reader.u8()?);
            let (ids, _) = reader.bytes(2 * count)?.as_chunks::<2>();
            Ok(GroupListeners {
                group,
                clients: ids.iter().map(|id| ClientId(u16::from_be_bytes(*id))).collect(),
            })
        })?;
        reader.end()?;
        Ok(Self { you, clients, groups, listeners })
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::HandshakeResponse, Some(session), 8 + 40 * self.clients.len());
        let mut writer = Writer(&mut packet);
        writer.u16(self.you.0);
        writer.count(self.clients.len());
        for client in &self.clients {
            client.write(&mut writer);
        }
        writer.count(self.groups.len());
        for group in &self.groups {
            writer.text(group, GROUP_NAME_BYTES);
        }
        writer.count(self.listeners.len());
        for GroupListeners { group, clients } in &self.listeners {
            let clients = &clients[..clients.len().min(LISTENERS_PER_LIST)];
            writer.u16(group.0);
            writer.u8(clients.len() as u8);
            for client in clients {
                writer.u16(client.0);
            }
        }
        packet
    }
}

/// One client's whole state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientState {
    /// Who.
    pub client: ClientInfo,
    /// The groups it listens to, at most [`GROUPS_PER_CLIENT`].
    pub groups: Vec<String>,
}

impl ClientState {
    /// Reads a ClientState body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_at_most(body, GROUPS_PER_CLIENT)
    }

    /// Reads what a client asks of its server: any number of groups, so that the server can answer
    /// which of them it does not accept.
    pub fn decode_request(body: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_at_most(body, usize::MAX)
    }

    fn decode_at_most(body: &[u8], groups_at_most: usize) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let client = ClientInfo::read(&mut reader)?;
        let groups = list(&mut reader, 2, |reader| Ok(reader.text(GROUP_NAME_BYTES)?.to_owned()))?;
        if groups.len() > groups_at_most {
            return Err(DecodeError::TooLong);
        }
        reader.end()?;
        Ok(Self { client, groups })
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::ClientState, Some(session), 64);
        let mut writer = Writer(&mut packet);
        self.client.write(&mut writer);
        writer.count(self.groups.len());
        for group in &self.groups {
            writer.text(group, GROUP_NAME_BYTES);
        }
        packet
    }
}

/// A client begins or ceases to listen to one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaClientState {
    /// Whether it begins.
    pub joins: bool,
    /// Who.
    pub client: ClientId,
    /// Which group.
    pub group: String,
}

impl DeltaClientState {
    /// Reads a DeltaClientState body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let joins = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::BadValue),
        };
        let client = ClientId(reader.u16()?);
        let group = reader.text(GROUP_NAME_BYTES)?.to_owned();
        reader.end()?;
        Ok(Self { joins, client, group })
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::DeltaClientState, Some(session), 5 + self.group.len());
        let mut writer = Writer(&mut packet);
        writer.u8(u8::from(self.joins));
        writer.u16(self.client.0);
        writer.text(&self.group, GROUP_NAME_BYTES);
        packet
    }
}

/// A client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoveClient {
    /// Who.
    pub client: ClientId,
}

/// "This link is mine."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeP2P {
    /// The sender.
    pub client: ClientId,
}

macro_rules! only_a_client_id {
    ($type:ident, $kind:expr) => {
        impl $type {
            /// Reads the body: one client id.
            pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
                let mut reader = Reader::new(body);
                let client = ClientId(reader.u16()?);
                reader.end()?;
                Ok(Self { client })
            }

            /// The whole packet.
            pub fn encode(&self, session: SessionId) -> Vec<u8> {
                let mut packet = begin($kind, Some(session), 2);
                Writer(&mut packet).u16(self.client.0);
                packet
            }
        }
    };
}

only_a_client_id!(RemoveClient, Kind::RemoveClient);
only_a_client_id!(HandshakeP2P, Kind::HandshakeP2P);

/// Reads a u16 count and so many items, refusing a count that the remaining bytes cannot hold.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    least_bytes: usize,
    mut item: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = usize::from(reader.u16()?);
    if count * least_bytes > reader.remaining() {
        return Err(DecodeError::Truncated);
    }
    (0..count).map(|_| item(reader)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::open;

    const OPUS_20_MS: CodecSettings =
        CodecSettings { codec: CodecSettings::OPUS, frame_samples: 960, sample_rate_hz: 48_000 };
    const OPUS_20_MS_BYTES: [u8; 9] = [1, 0, 0, 3, 0xC0, 0, 0, 0xBB, 0x80];

    fn body(packet: &[u8]) -> &[u8] {
        open(packet).unwrap().1
    }

    fn session() -> SessionId {
        SessionId::new(0x01020304).unwrap()
    }

    /// proves: D-07
    #[test]
    fn a_handshake_request_has_no_session_number() {
        let request = HandshakeRequest { codec: OPUS_20_MS, name: "Ada".into() };
        let mut expected = vec![0x8B, 0xC7, 4];
        expected.extend_from_slice(&OPUS_20_MS_BYTES);
        expected.extend_from_slice(&[0, 4, b'A', b'd', b'a']);
        assert_eq!(request.encode(), expected);
        assert_eq!(HandshakeRequest::decode(body(&expected)), Ok(request));
    }

    /// proves: D-08
    #[test]
    fn a_handshake_response_is_the_bytes_of_the_table() {
        let response = HandshakeResponse {
            you: ClientId(2),
            clients: vec![ClientInfo { name: "B".into(), id: ClientId(1), codec: OPUS_20_MS }],
            groups: vec!["Lobby".into()],
            listeners: vec![GroupListeners { group: GroupId(22028), clients: vec![ClientId(1)] }],
        };
        let mut expected = vec![0x8B, 0xC7, 5, 1, 2, 3, 4, 0, 2];
        expected.extend_from_slice(&[0, 1, 0, 2, b'B', 0, 1]);
        expected.extend_from_slice(&OPUS_20_MS_BYTES);
        expected.extend_from_slice(&[0, 1, 0, 6, b'L', b'o', b'b', b'b', b'y']);
        expected.extend_from_slice(&[0, 1, 0x56, 0x0C, 1, 0, 1]);
        assert_eq!(response.encode(session()), expected);
        assert_eq!(HandshakeResponse::decode(body(&expected)), Ok(response));
    }

    #[test]
    fn state_delta_remove_and_p2p_are_the_bytes_of_the_table() {
        let state = ClientState {
            client: ClientInfo { name: String::new(), id: ClientId(1), codec: OPUS_20_MS },
            groups: vec!["G".into()],
        };
        let mut expected = vec![0x8B, 0xC7, 1, 1, 2, 3, 4, 0, 1, 0, 1];
        expected.extend_from_slice(&OPUS_20_MS_BYTES);
        expected.extend_from_slice(&[0, 1, 0, 2, b'G']);
        assert_eq!(state.encode(session()), expected);
        assert_eq!(ClientState::decode(body(&expected)), Ok(state));

        let delta = DeltaClientState { joins: true, client: ClientId(1), group: "G".into() };
        assert_eq!(delta.encode(session()), [0x8B, 0xC7, 9, 1, 2, 3, 4, 1, 0, 1, 0, 2, b'G']);
        assert_eq!(DeltaClientState::decode(body(&delta.encode(session()))), Ok(delta));

        let remove = RemoveClient { client: ClientId(0x0A0B) };
        assert_eq!(remove.encode(session()), [0x8B, 0xC7, 10, 1, 2, 3, 4, 0x0A, 0x0B]);
        assert_eq!(RemoveClient::decode(body(&remove.encode(session()))), Ok(remove));

        let handshake = HandshakeP2P { client: ClientId(0x0A0B) };
        assert_eq!(handshake.encode(session()), [0x8B, 0xC7, 11, 1, 2, 3, 4, 0x0A, 0x0B]);
        assert_eq!(HandshakeP2P::decode(body(&handshake.encode(session()))), Ok(handshake));
    }

    #[test]
    fn a_text_of_length_zero_is_none_and_reads_as_empty() {
        let mut bytes = OPUS_20_MS_BYTES.to_vec();
        bytes.extend_from_slice(&[0, 0]);
        assert_eq!(HandshakeRequest::decode(&bytes).unwrap().name, "");
    }

    #[test]
    fn a_count_beyond_the_packet_allocates_nothing_and_is_refused() {
        assert_eq!(HandshakeResponse::decode(&[0, 1, 0xFF, 0xFF]), Err(DecodeError::Truncated));
    }
}
