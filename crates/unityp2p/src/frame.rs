//! Bytes ⇄ requests and events. All numbers are little-endian.
//!
//! ```text
//! u8 kind, u8 data kind (0 none, 1 bytes, 2 UTF-16LE), i16 connection [, u32 length, data]
//! ```
//!
//! The length of text counts code units of two bytes. What follows the data is ignored. Text stays
//! bytes: code units are compared and echoed as they came, surrogates without their other half
//! included.

use bytes::Bytes;

/// The largest message in a WebSocket.
pub const MESSAGE_BYTES: usize = 1024 * 1024;
/// The longest address, in bytes: 256 code units.
pub(crate) const ADDRESS_BYTES: usize = 512;

const HEAD_BYTES: usize = 4;
const DATA_OFFSET: usize = 8;
/// The connection of what concerns none.
const NO_CONNECTION: i16 = -1;
/// The version that this server names.
const VERSION: u8 = 2;

const NO_DATA: u8 = 0;
const BYTES: u8 = 1;
const TEXT: u8 = 2;

/// First byte of a frame.
mod kind {
    pub(super) const UNRELIABLE: u8 = 1;
    pub(super) const RELIABLE: u8 = 2;
    pub(super) const LISTENING: u8 = 3;
    pub(super) const LISTENING_FAILED: u8 = 4;
    pub(super) const LISTENING_CLOSED: u8 = 5;
    pub(super) const CONNECTED: u8 = 6;
    pub(super) const CONNECTING_FAILED: u8 = 7;
    pub(super) const DISCONNECTED: u8 = 8;
    pub(super) const VERSION: u8 = 201;
    pub(super) const HEARTBEAT: u8 = 202;
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Kinds 1 and 2, to the other end of a connection.
    Message {
        connection: i16,
        message: Message,
    },
    Listen(Address),
    StopListening,
    Connect {
        connection: i16,
        to: Address,
    },
    Disconnect {
        connection: i16,
    },
    Version,
    Heartbeat,
    /// A listen that names no address, or that cannot be read: closed is what the client listened
    /// on before if the rest of it could be read.
    ListenNowhere {
        closes: bool,
    },
    /// A connect that names no address, or that cannot be read.
    ConnectNowhere {
        connection: i16,
    },
    /// It has no effect.
    Nothing,
}

/// Code units, as they came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(Bytes);

impl Address {
    pub(crate) fn is_too_long(&self) -> bool {
        self.0.len() > ADDRESS_BYTES
    }

    /// By itself: what came is a part of its whole message, which may be much longer.
    pub(crate) fn to_stored(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

/// What one client sends to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    is_reliable: bool,
    /// Text is not passed on: a message with text arrives without data.
    bytes: Option<Bytes>,
}

enum Data {
    None,
    Bytes(Bytes),
    Text(Address),
}

impl Request {
    pub(crate) fn decode(frame: &Bytes) -> Self {
        match frame.first() {
            Some(&kind::VERSION) => return Self::Version,
            Some(&kind::HEARTBEAT) => return Self::Heartbeat,
            Some(_) | None => {}
        }
        let Some(&[kind, _, low, high]) = frame.first_chunk::<HEAD_BYTES>() else {
            return match frame.first() {
                Some(&kind::LISTENING) => Self::ListenNowhere { closes: false },
                Some(_) | None => Self::Nothing,
            };
        };
        let connection = i16::from_le_bytes([low, high]);
        match (kind, data(frame)) {
            (kind::LISTENING, Some(Data::Text(address))) => Self::Listen(address),
            (kind::LISTENING, data) => Self::ListenNowhere { closes: data.is_some() },
            (kind::CONNECTED, Some(Data::Text(to))) => Self::Connect { connection, to },
            (kind::CONNECTED, _) => Self::ConnectNowhere { connection },
            (_, None) => Self::Nothing,
            (kind::UNRELIABLE | kind::RELIABLE, Some(data)) => {
                let bytes = match data {
                    Data::Bytes(bytes) => Some(bytes),
                    Data::None | Data::Text(_) => None,
                };
                let message = Message { is_reliable: kind == kind::RELIABLE, bytes };
                Self::Message { connection, message }
            }
            (kind::LISTENING_CLOSED, Some(_)) => Self::StopListening,
            (kind::DISCONNECTED, Some(_)) => Self::Disconnect { connection },
            (_, Some(_)) => Self::Nothing,
        }
    }
}

/// `None` if the kind of the data is unknown, or if less of it came than its length says.
fn data(frame: &Bytes) -> Option<Data> {
    let data_kind = *frame.get(1)?;
    if data_kind == NO_DATA {
        return Some(Data::None);
    }
    let unit = match data_kind {
        BYTES => 1,
        TEXT => 2,
        _ => return None,
    };
    let length: [u8; 4] = frame.get(HEAD_BYTES..DATA_OFFSET)?.try_into().ok()?;
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?.checked_mul(unit)?;
    let end = DATA_OFFSET.checked_add(length)?;
    if frame.len() < end {
        return None;
    }
    let data = frame.slice(DATA_OFFSET..end);
    Some(if data_kind == TEXT { Data::Text(Address(data)) } else { Data::Bytes(data) })
}

/// What the server says to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    Message { connection: i16, message: &'a Message },
    Listening(&'a Address),
    ListeningFailed(Option<&'a Address>),
    ListeningClosed,
    Connected(i16),
    ConnectingFailed(i16),
    Disconnected(i16),
    Version,
    Heartbeat,
}

impl Event<'_> {
    pub(crate) fn encode(&self) -> Bytes {
        match *self {
            Self::Message { connection, message } => {
                let kind = if message.is_reliable { kind::RELIABLE } else { kind::UNRELIABLE };
                match &message.bytes {
                    Some(bytes) => with_data(kind, BYTES, connection, bytes, bytes.len()),
                    None => head(kind, connection),
                }
            }
            Self::Listening(address) => with_address(kind::LISTENING, address),
            Self::ListeningFailed(Some(address)) => with_address(kind::LISTENING_FAILED, address),
            Self::ListeningFailed(None) => head(kind::LISTENING_FAILED, NO_CONNECTION),
            Self::ListeningClosed => head(kind::LISTENING_CLOSED, NO_CONNECTION),
            Self::Connected(connection) => head(kind::CONNECTED, connection),
            Self::ConnectingFailed(connection) => head(kind::CONNECTING_FAILED, connection),
            Self::Disconnected(connection) => head(kind::DISCONNECTED, connection),
            Self::Version => Bytes::from_static(&[kind::VERSION, VERSION]),
            Self::Heartbeat => Bytes::from_static(&[kind::HEARTBEAT]),
        }
    }
}

fn head(kind: u8, connection: i16) -> Bytes {
    let [low, high] = connection.to_le_bytes();
    Bytes::copy_from_slice(&[kind, NO_DATA, low, high])
}

fn with_address(kind: u8, address: &Address) -> Bytes {
    with_data(kind, TEXT, NO_CONNECTION, &address.0, address.0.len() / 2)
}

/// `length` fits, because a message is at most [`MESSAGE_BYTES`].
fn with_data(kind: u8, data_kind: u8, connection: i16, data: &[u8], length: usize) -> Bytes {
    let [low, high] = connection.to_le_bytes();
    let mut frame = Vec::with_capacity(DATA_OFFSET + data.len());
    frame.extend_from_slice(&[kind, data_kind, low, high]);
    frame.extend_from_slice(&(length as u32).to_le_bytes());
    frame.extend_from_slice(data);
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(frame: &[u8]) -> Request {
        Request::decode(&Bytes::copy_from_slice(frame))
    }

    #[test]
    fn the_bytes_of_each_request_are_those_of_the_original() {
        let a = Address(Bytes::from_static(&[b'a', 0]));
        assert_eq!(decode(&[3, 2, 255, 255, 1, 0, 0, 0, b'a', 0]), Request::Listen(a.clone()));
        let connect = Request::Connect { connection: 1, to: a };
        assert_eq!(decode(&[6, 2, 1, 0, 1, 0, 0, 0, b'a', 0]), connect);
        assert_eq!(decode(&[6, 2, 1, 0, 1, 0, 0, 0, b'a', 0, 9, 9]), connect, "more than its data");
        assert_eq!(decode(&[5, 0, 255, 255]), Request::StopListening);
        assert_eq!(decode(&[8, 0, 0, 64]), Request::Disconnect { connection: 16_384 });
        assert_eq!(decode(&[201, 1]), Request::Version);
        assert_eq!(decode(&[202]), Request::Heartbeat);
        let message = Message { is_reliable: false, bytes: Some(Bytes::from_static(&[7])) };
        let request = Request::Message { connection: -2, message };
        assert_eq!(decode(&[1, 1, 254, 255, 1, 0, 0, 0, 7]), request);
        let message = Message { is_reliable: true, bytes: None };
        let request = Request::Message { connection: 2, message };
        assert_eq!(decode(&[2, 0, 2, 0]), request);
        assert_eq!(decode(&[2, 2, 2, 0, 1, 0, 0, 0, b'a', 0]), request, "text is not passed on");
    }

    #[test]
    fn what_is_cut_off_at_any_byte_is_no_request_or_one_that_is_answered_as_failed() {
        let frames: [&[u8]; 3] = [
            &[3, 2, 255, 255, 2, 0, 0, 0, b'a', 0, b'b', 0],
            &[6, 2, 1, 0, 2, 0, 0, 0, b'a', 0, b'b', 0],
            &[2, 1, 1, 0, 4, 0, 0, 0, 1, 2, 3, 4],
        ];
        for frame in frames {
            for end in 0..frame.len() {
                let request = decode(&frame[..end]);
                let expected = match frame[0] {
                    _ if end == 0 => Request::Nothing,
                    3 => Request::ListenNowhere { closes: false },
                    6 if end >= 4 => Request::ConnectNowhere { connection: 1 },
                    _ => Request::Nothing,
                };
                assert_eq!(request, expected, "{frame:?} to {end}");
            }
        }
        for length in [u32::MAX, 1 << 31, 3] {
            let mut frame = vec![6, 2, 1, 0, 0, 0, 0, 0, 1, 2];
            frame[4..8].copy_from_slice(&length.to_le_bytes());
            assert_eq!(decode(&frame), Request::ConnectNowhere { connection: 1 });
        }
        assert_eq!(decode(&[2, 3, 1, 0, 0, 0, 0, 0]), Request::Nothing);
    }
}
