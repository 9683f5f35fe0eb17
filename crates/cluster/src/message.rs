//! What nodes send each other over the bus, and how it is encoded.
//!
//! Binary, big-endian. The bus is the operator's own; every length is checked all the same, and a
//! message that is not whole has no effect.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use voicemesh_common::AddressKey;
use voicemesh_rooms::{CloseReason, ConnectionId, Malformed};
use voicemesh_wire::limits::FOLDED_ROOM_NAME_BYTES;
use voicemesh_wire::signaling::LeaveReason;

/// One run of a node, drawn at random when it starts: a node that restarts is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u64);

/// How often the record of a room has been written: its revision in the store. Each ownership of the
/// room has a higher one than those before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// Where a message of the bus goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Every node, the sender included.
    All,
    /// One node.
    Node(NodeId),
}

/// The largest message of the bus that is read.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Connections in one delivery.
pub(crate) const MAX_COPIES: usize = 4096;
/// Rooms in one list.
pub(crate) const MAX_ROOMS: usize = 1024;

/// Why a message of the bus was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// It ends within a field.
    #[error("the message is cut short")]
    Truncated,
    /// A length or a count is over its limit.
    #[error("a length in the message is over its limit")]
    TooLong,
    /// A field has a value that means nothing.
    #[error("the message has an unknown value")]
    Unknown,
    /// Bytes follow the last field.
    #[error("the message has more bytes than it should")]
    Trailing,
}

/// One message of the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Beat(Beat),
    /// The sender knows that these rooms have these owners.
    Owned(Vec<OwnedRoom>),
    Batch(Batch),
    Missing(Missing),
}

/// A batch has not come, but one after it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub from: NodeId,
    /// On which link between the two.
    pub link: u32,
    /// Which batch.
    pub position: u64,
}

/// A node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    pub from: NodeId,
    /// By the sender's own clock, for the sender alone.
    pub sent_at: Duration,
    /// It is about to stop, and takes no rooms.
    pub drains: bool,
}

/// Who owns a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedRoom {
    pub room: String,
    pub epoch: Epoch,
    pub owner: NodeId,
}

/// What one node sends another, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub from: NodeId,
    /// Which link between the two.
    pub link: u32,
    /// How many batches went before on this link.
    pub position: u64,
    pub entries: Vec<Entry>,
}

/// A part of a batch. Each names the epoch of the ownership that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub epoch: Epoch,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// To the owner: a connection that would join.
    Open { connection: ConnectionId, address: Option<AddressKey>, room: String },
    /// To the owner: what came on a connection.
    Frame { connection: ConnectionId, frame: Frame },
    /// To the owner: a connection has ended.
    Left { connection: ConnectionId, reason: LeaveReason },
    /// To the owner: so much of what was delivered has gone to the socket.
    Written { connection: ConnectionId, total: u64 },
    /// To an edge: one message for each of these connections.
    Deliver { connections: Vec<ConnectionId>, payload: Payload },
    /// To an edge: no join is waited for any more.
    Entered { connection: ConnectionId },
    /// To an edge: the connection ends once what was delivered has been written.
    End { connection: ConnectionId, reason: CloseReason },
    /// To an edge: the sender does not own the room in this epoch.
    NotOwner { room: String },
}

/// What comes on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Valid UTF-8.
    Text(Bytes),
    Packet(Bytes),
    TooLarge,
    Malformed(Malformed),
}

/// What goes out on connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Valid UTF-8.
    Text(Bytes),
    Packet(Bytes),
}

impl Frame {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Packet(bytes) => bytes.len(),
            Self::TooLarge | Self::Malformed(_) => 0,
        }
    }
}

impl Payload {
    pub(crate) fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Packet(bytes) => bytes,
        }
    }

    /// Whether both are one message for several receivers. Compared by place first, because copies
    /// share their bytes.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(two)) | (Self::Packet(one), Self::Packet(two)) => {
                one.len() == two.len() && (one.as_ptr() == two.as_ptr() || one == two)
            }
            (Self::Text(_), Self::Packet(_)) | (Self::Packet(_), Self::Text(_)) => false,
        }
    }
}

impl Content {
    /// The bytes that it takes in a message, about.
    pub(crate) fn len(&self) -> usize {
        24 + match self {
            Self::Open { room, .. } | Self::NotOwner { room } => room.len(),
            Self::Frame { frame, .. } => frame.len(),
            Self::Deliver { connections, payload } => 8 * connections.len() + payload.bytes().len(),
            Self::Left { .. } | Self::Written { .. } | Self::Entered { .. } | Self::End { .. } => 0,
        }
    }
}

const BEAT: u8 = 1;
const OWNED: u8 = 2;
const BATCH: u8 = 3;
const MISSING: u8 = 4;

const OPEN: u8 = 1;
const TEXT_FRAME: u8 = 2;
const PACKET_FRAME: u8 = 3;
const TOO_LARGE: u8 = 4;
const MALFORMED_FRAME: u8 = 5;
const MALFORMED_TEXT: u8 = 6;
const LEFT: u8 = 7;
const WRITTEN: u8 = 8;
const DELIVER_TEXT: u8 = 9;
const DELIVER_PACKET: u8 = 10;
const ENTERED: u8 = 11;
const END: u8 = 12;
const NOT_OWNER: u8 = 13;

const CLOSE_REASONS: [(u8, CloseReason); 11] = [
    (0, CloseReason::Left),
    (1, CloseReason::Refused),
    (2, CloseReason::TooLarge),
    (3, CloseReason::Malformed(Malformed::Frame)),
    (4, CloseReason::Malformed(Malformed::Text)),
    (5, CloseReason::Flooding),
    (6, CloseReason::SlowConsumer),
    (7, CloseReason::Replaced),
    (8, CloseReason::TakenOver),
    (9, CloseReason::GoingAway),
    (10, CloseReason::Silent),
];

const LEAVE_REASONS: [(u8, LeaveReason); 5] = [
    (0, LeaveReason::Left),
    (1, LeaveReason::Kicked),
    (2, LeaveReason::Lost),
    (3, LeaveReason::Replaced),
    (4, LeaveReason::Unknown),
];

/// The number of a value in one of the tables above.
fn number_of<T: Copy + PartialEq>(table: &[(u8, T)], value: T) -> u8 {
    table.iter().find(|(_, known)| *known == value).map_or(u8::MAX, |(number, _)| *number)
}

fn value_of<T: Copy>(table: &[(u8, T)], number: u8) -> Result<T, BusError> {
    let found = table.iter().find(|(known, _)| *known == number);
    found.map(|(_, value)| *value).ok_or(BusError::Unknown)
}

impl Message {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Beat(beat) => {
                out.put_u8(BEAT);
                out.put_u64(beat.from.0);
                out.put_u64(u64::try_from(beat.sent_at.as_micros()).unwrap_or(u64::MAX));
                out.put_u8(beat.drains.into());
            }
            Self::Owned(rooms) => {
                out.put_u8(OWNED);
                out.put_u16(rooms.len().min(MAX_ROOMS) as u16);
                for OwnedRoom { room, epoch, owner } in rooms.iter().take(MAX_ROOMS) {
                    put_block(&mut out, room.as_bytes());
                    out.put_u64(epoch.0);
                    out.put_u64(owner.0);
                }
            }
            Self::Missing(missing) => {
                out.put_u8(MISSING);
                out.put_u64(missing.from.0);
                out.put_u32(missing.link);
                out.put_u64(missing.position);
            }
            Self::Batch(batch) => {
                out.reserve(
                    64 + batch.entries.iter().map(|it| 16 + it.content.len()).sum::<usize>(),
                );
                out.put_u8(BATCH);
                out.put_u64(batch.from.0);
                out.put_u32(batch.link);
                out.put_u64(batch.position);
                for entry in &batch.entries {
                    encode_entry(entry, &mut out);
                }
            }
        }
        out.into()
    }

    /// # Errors
    ///
    /// When it is no message of a node.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, BusError> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(BusError::TooLong);
        }
        let mut reader = Reader(bytes.clone());
        match reader.u8()? {
            BEAT => {
                let from = NodeId(reader.u64()?);
                let sent_at = Duration::from_micros(reader.u64()?);
                let drains = reader.flag()?;
                reader.end()?;
                Ok(Self::Beat(Beat { from, sent_at, drains }))
            }
            OWNED => {
                let count = usize::from(reader.u16()?);
                if count > MAX_ROOMS {
                    return Err(BusError::TooLong);
                }
                let mut rooms = Vec::new();
                for _ in 0..count {
                    let room = reader.room()?;
                    let (epoch, owner) = (Epoch(reader.u64()?), NodeId(reader.u64()?));
                    rooms.push(OwnedRoom { room, epoch, owner });
                }
                reader.end()?;
                Ok(Self::Owned(rooms))
            }
            BATCH => {
                let (from, link) = (NodeId(reader.u64()?), reader.u32()?);
                let position = reader.u64()?;
                let mut entries = Vec::new();
                while !reader.0.is_empty() {
                    entries.push(decode_entry(&mut reader)?);
                }
                Ok(Self::Batch(Batch { from, link, position, entries }))
            }
            MISSING => {
                let (from, link) = (NodeId(reader.u64()?), reader.u32()?);
                let position = reader.u64()?;
                reader.end()?;
                Ok(Self::Missing(Missing { from, link, position }))
            }
            _ => Err(BusError::Unknown),
        }
    }
}

fn put_block(out: &mut Vec<u8>, block: &[u8]) {
    out.put_u32(u32::try_from(block.len()).unwrap_or(u32::MAX));
    out.put_slice(block);
}

fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    let mut begin = |kind: u8| {
        out.put_u8(kind);
        out.put_u64(entry.epoch.0);
    };
    match &entry.content {
        Content::Open { connection, address, room } => {
            begin(OPEN);
            out.put_u64(connection.0);
            match address {
                None => out.put_u8(0),
                Some(AddressKey::V4(v4)) => {
                    out.put_u8(4);
                    out.put_u32(*v4);
                }
                Some(AddressKey::V6(v6)) => {
                    out.put_u8(6);
                    out.put_u64(*v6);
                }
            }
            put_block(out, room.as_bytes());
        }
        Content::Frame { connection, frame } => {
            begin(match frame {
                Frame::Text(_) => TEXT_FRAME,
                Frame::Packet(_) => PACKET_FRAME,
                Frame::TooLarge => TOO_LARGE,
                Frame::Malformed(Malformed::Frame) => MALFORMED_FRAME,
                Frame::Malformed(Malformed::Text) => MALFORMED_TEXT,
            });
            out.put_u64(connection.0);
            if let Frame::Text(bytes) | Frame::Packet(bytes) = frame {
                put_block(out, bytes);
            }
        }
        Content::Left { connection, reason } => {
            begin(LEFT);
            out.put_u64(connection.0);
            out.put_u8(number_of(&LEAVE_REASONS, *reason));
        }
        Content::Written { connection, total } => {
            begin(WRITTEN);
            out.put_u64(connection.0);
            out.put_u64(*total);
        }
        Content::Deliver { connections, payload } => {
            begin(match payload {
                Payload::Text(_) => DELIVER_TEXT,
                Payload::Packet(_) => DELIVER_PACKET,
            });
            out.put_u16(connections.len().min(MAX_COPIES) as u16);
            for connection in connections.iter().take(MAX_COPIES) {
                out.put_u64(connection.0);
            }
            put_block(out, payload.bytes());
        }
        Content::Entered { connection } => {
            begin(ENTERED);
            out.put_u64(connection.0);
        }
        Content::End { connection, reason } => {
            begin(END);
            out.put_u64(connection.0);
            out.put_u8(number_of(&CLOSE_REASONS, *reason));
        }
        Content::NotOwner { room } => {
            begin(NOT_OWNER);
            put_block(out, room.as_bytes());
        }
    }
}

fn decode_entry(reader: &mut Reader) -> Result<Entry, BusError> {
    let kind = reader.u8()?;
    let epoch = Epoch(reader.u64()?);
    let content = match kind {
        OPEN => {
            let connection = reader.connection()?;
            let address = match reader.u8()? {
                0 => None,
                4 => Some(AddressKey::V4(reader.u32()?)),
                6 => Some(AddressKey::V6(reader.u64()?)),
                _ => return Err(BusError::Unknown),
            };
            Content::Open { connection, address, room: reader.room()? }
        }
        TEXT_FRAME => {
            Content::Frame { connection: reader.connection()?, frame: Frame::Text(reader.text()?) }
        }
        PACKET_FRAME => Content::Frame {
            connection: reader.connection()?,
            frame: Frame::Packet(reader.block()?),
        },
        TOO_LARGE => Content::Frame { connection: reader.connection()?, frame: Frame::TooLarge },
        MALFORMED_FRAME => Content::Frame {
            connection: reader.connection()?,
            frame: Frame::Malformed(Malformed::Frame),
        },
        MALFORMED_TEXT => Content::Frame {
            connection: reader.connection()?,
            frame: Frame::Malformed(Malformed::Text),
        },
        LEFT => Content::Left {
            connection: reader.connection()?,
            reason: value_of(&LEAVE_REASONS, reader.u8()?)?,
        },
        WRITTEN => Content::Written { connection: reader.connection()?, total: reader.u64()? },
        DELIVER_TEXT => Content::Deliver {
            connections: reader.connections()?,
            payload: Payload::Text(reader.text()?),
        },
        DELIVER_PACKET => Content::Deliver {
            connections: reader.connections()?,
            payload: Payload::Packet(reader.block()?),
        },
        ENTERED => Content::Entered { connection: reader.connection()? },
        END => Content::End {
            connection: reader.connection()?,
            reason: value_of(&CLOSE_REASONS, reader.u8()?)?,
        },
        NOT_OWNER => Content::NotOwner { room: reader.room()? },
        _ => return Err(BusError::Unknown),
    };
    Ok(Entry { epoch, content })
}

/// What has not been read.
struct Reader(Bytes);

impl Reader {
    fn take(&mut self, count: usize) -> Result<Bytes, BusError> {
        if self.0.len() < count { Err(BusError::Truncated) } else { Ok(self.0.split_to(count)) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BusError> {
        self.take(N)?.as_ref().try_into().map_err(|_| BusError::Truncated)
    }

    fn u8(&mut self) -> Result<u8, BusError> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, BusError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, BusError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, BusError> {
        self.array().map(u64::from_be_bytes)
    }

    fn flag(&mut self) -> Result<bool, BusError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BusError::Unknown),
        }
    }

    fn connection(&mut self) -> Result<ConnectionId, BusError> {
        self.u64().map(ConnectionId)
    }

    fn connections(&mut self) -> Result<Vec<ConnectionId>, BusError> {
        let count = usize::from(self.u16()?);
        if count > MAX_COPIES {
            return Err(BusError::TooLong);
        }
        (0..count).map(|_| self.connection()).collect()
    }

    fn block(&mut self) -> Result<Bytes, BusError> {
        let count = self.u32()?;
        self.take(usize::try_from(count).map_err(|_| BusError::TooLong)?)
    }

    fn text(&mut self) -> Result<Bytes, BusError> {
        let block = self.block()?;
        std::str::from_utf8(&block).map_err(|_| BusError::Unknown)?;
        Ok(block)
    }

    fn room(&mut self) -> Result<String, BusError> {
        let block = self.block()?;
        if block.len() > FOLDED_ROOM_NAME_BYTES {
            return Err(BusError::TooLong);
        }
        String::from_utf8(block.to_vec()).map_err(|_| BusError::Unknown)
    }

    fn end(&self) -> Result<(), BusError> {
        if self.0.is_empty() { Ok(()) } else { Err(BusError::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Message> {
        let connection = ConnectionId(7);
        let room = || "lobby".to_owned();
        let mut contents = vec![
            Content::Open { connection, address: None, room: room() },
            Content::Open { connection, address: Some(AddressKey::V4(1)), room: room() },
            Content::Open { connection, address: Some(AddressKey::V6(2)), room: room() },
            Content::Frame { connection, frame: Frame::Text(Bytes::from_static(b"{}")) },
            Content::Frame { connection, frame: Frame::Packet(Bytes::from_static(&[1, 2])) },
            Content::Frame { connection, frame: Frame::TooLarge },
            Content::Frame { connection, frame: Frame::Malformed(Malformed::Frame) },
            Content::Frame { connection, frame: Frame::Malformed(Malformed::Text) },
            Content::Written { connection, total: 3 },
            Content::Deliver {
                connections: vec![connection, ConnectionId(8)],
                payload: Payload::Text(Bytes::from_static(b"hello")),
            },
            Content::Deliver {
                connections: vec![connection],
                payload: Payload::Packet(Bytes::from_static(&[0xFF])),
            },
            Content::Entered { connection },
            Content::NotOwner { room: room() },
        ];
        contents.extend(LEAVE_REASONS.map(|(_, reason)| Content::Left { connection, reason }));
        contents.extend(CLOSE_REASONS.map(|(_, reason)| Content::End { connection, reason }));
        let entries =
            contents.into_iter().map(|content| Entry { epoch: Epoch(5), content }).collect();
        let sent_at = Duration::from_millis(12);
        vec![
            Message::Beat(Beat { from: NodeId(1), sent_at, drains: true }),
            Message::Owned(vec![OwnedRoom { room: room(), epoch: Epoch(4), owner: NodeId(2) }]),
            Message::Batch(Batch { from: NodeId(1), link: 2, position: 3, entries }),
            Message::Missing(Missing { from: NodeId(1), link: 2, position: 3 }),
        ]
    }

    #[test]
    fn every_message_is_read_as_it_was_written() {
        for message in all() {
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn a_message_cut_short_or_changed_anywhere_is_no_panic() {
        let mut random = fastrand::Rng::with_seed(16);
        for message in all() {
            let whole = message.encode();
            for end in 0..whole.len() {
                let _ = Message::decode(&whole.slice(..end));
            }
            for _ in 0..20_000 {
                let mut bytes = whole.to_vec();
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(..bytes.len());
                    bytes[at] = random.u8(..);
                }
                let _ = Message::decode(&bytes.into());
            }
        }
        assert_eq!(Message::decode(&Bytes::new()), Err(BusError::Truncated));
        let huge = Bytes::from(vec![BATCH; MAX_MESSAGE_BYTES + 1]);
        assert_eq!(Message::decode(&huge), Err(BusError::TooLong));
    }
}
