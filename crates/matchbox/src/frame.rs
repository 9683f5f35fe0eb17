//! What peers of a room send each other: packets of the session, and what says which of them is the
//! host, which links are open, and how much has arrived.
//!
//! | first byte | frame | then |
//! |---|---|---|
//! | 0 | Hello | magic number and version (4 bytes), role |
//! | 1 | Welcome | |
//! | 2 | Full | |
//! | 3 | Bye | reason |
//! | 4 | ByeTaken | |
//! | 5, 6 | Probe, Answer | number |
//! | 7 | Packet | the packet |
//! | 8 | LinkAsk | |
//! | 9, 10, 11 | LinkOpen, LinkAccept, LinkClose | generation |
//! | 12 | LinkPacket | generation, the packet |
//!
//! Numbers and generations are 4 bytes, big-endian. On the unreliable channel there are only Packet
//! and LinkPacket.

use bytes::{BufMut, Bytes, BytesMut};
use voicemesh_session::network::{PacketLimits, Reliability};

/// `vm`, and the version of these frames.
const MAGIC: [u8; 4] = [b'v', b'm', b'b', 1];

/// What a peer is in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    /// Wants to host, and still looks whether another one does.
    Candidate,
    Host,
}

/// Why a peer says goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByeReason {
    Leaves,
    /// A reliable packet could not be kept.
    ReliabilityBroken,
    /// What it was sent is no frame, or not one of this peer's.
    Violation,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello(Role),
    /// Of a host: the client may send.
    Welcome,
    /// Of a host: there is no place for this client.
    Full,
    Bye(ByeReason),
    ByeTaken,
    Probe(u32),
    /// All that was sent before the probe of this number has arrived or is lost.
    Answer(u32),
    Packet(Bytes),
    /// Of the peer with the higher id: the other one is to open a link.
    LinkAsk,
    /// Of the peer with the lower id.
    LinkOpen(u32),
    LinkAccept(u32),
    LinkClose(u32),
    LinkPacket {
        generation: u32,
        packet: Bytes,
    },
}

/// What a peer sent is not one of these frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Nothing at all.
    #[error("an empty message")]
    Empty,
    /// The first byte names no frame.
    #[error("no frame begins with {0}")]
    Unknown(u8),
    /// It ends too early or too late.
    #[error("a frame of the wrong length, {0} bytes")]
    Length(usize),
    /// A greeting of another program, or of another version.
    #[error("a greeting of another program or version")]
    Greeting,
    /// A role or a reason that there is not.
    #[error("an unknown value, {0}")]
    Value(u8),
    /// A packet over the limit of its channel.
    #[error("a packet of {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// What must arrive came on the channel that loses.
    #[error("a frame that belongs on the reliable channel")]
    OnUnreliable,
}

/// How large packets may be on a channel.
pub(crate) fn limit(how: Reliability) -> usize {
    let limits = PacketLimits::default();
    match how {
        Reliability::Reliable => limits.reliable_bytes,
        Reliability::Unreliable => limits.unreliable_bytes,
    }
}

impl Frame {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        match self {
            Self::Hello(role) => {
                bytes.put_u8(0);
                bytes.put_slice(&MAGIC);
                bytes.put_u8(match role {
                    Role::Client => 0,
                    Role::Candidate => 1,
                    Role::Host => 2,
                });
            }
            Self::Welcome => bytes.put_u8(1),
            Self::Full => bytes.put_u8(2),
            Self::Bye(reason) => {
                bytes.put_u8(3);
                bytes.put_u8(match reason {
                    ByeReason::Leaves => 0,
                    ByeReason::ReliabilityBroken => 1,
                    ByeReason::Violation => 2,
                });
            }
            Self::ByeTaken => bytes.put_u8(4),
            Self::Probe(number) => put(&mut bytes, 5, *number),
            Self::Answer(number) => put(&mut bytes, 6, *number),
            Self::Packet(packet) => {
                bytes.reserve(1 + packet.len());
                bytes.put_u8(7);
                bytes.put_slice(packet);
            }
            Self::LinkAsk => bytes.put_u8(8),
            Self::LinkOpen(generation) => put(&mut bytes, 9, *generation),
            Self::LinkAccept(generation) => put(&mut bytes, 10, *generation),
            Self::LinkClose(generation) => put(&mut bytes, 11, *generation),
            Self::LinkPacket { generation, packet } => {
                bytes.reserve(5 + packet.len());
                put(&mut bytes, 12, *generation);
                bytes.put_slice(packet);
            }
        }
        bytes.freeze()
    }

    /// # Errors
    ///
    /// When it is no frame of this channel.
    pub(crate) fn decode(how: Reliability, bytes: &Bytes) -> Result<Self, FrameError> {
        let Some((kind, body)) = bytes.split_first() else { return Err(FrameError::Empty) };
        if how == Reliability::Unreliable && !matches!(kind, 7 | 12) {
            return Err(FrameError::OnUnreliable);
        }
        let nothing = |frame| match body {
            [] => Ok(frame),
            _ => Err(FrameError::Length(bytes.len())),
        };
        let length = FrameError::Length(bytes.len());
        let number = || <[u8; 4]>::try_from(body).map(u32::from_be_bytes).map_err(|_| length);
        match kind {
            0 => match body.split_last() {
                Some((role, greeting)) if greeting == MAGIC => role_of(*role).map(Self::Hello),
                _ => Err(FrameError::Greeting),
            },
            1 => nothing(Self::Welcome),
            2 => nothing(Self::Full),
            3 => match body {
                [0] => Ok(Self::Bye(ByeReason::Leaves)),
                [1] => Ok(Self::Bye(ByeReason::ReliabilityBroken)),
                [2] => Ok(Self::Bye(ByeReason::Violation)),
                [other] => Err(FrameError::Value(*other)),
                _ => Err(length),
            },
            4 => nothing(Self::ByeTaken),
            5 => number().map(Self::Probe),
            6 => number().map(Self::Answer),
            7 => packet(how, bytes, 1).map(Self::Packet),
            8 => nothing(Self::LinkAsk),
            9 => number().map(Self::LinkOpen),
            10 => number().map(Self::LinkAccept),
            11 => number().map(Self::LinkClose),
            12 => {
                let generation = body.first_chunk().ok_or(length)?;
                let generation = u32::from_be_bytes(*generation);
                Ok(Self::LinkPacket { generation, packet: packet(how, bytes, 5)? })
            }
            other => Err(FrameError::Unknown(*other)),
        }
    }
}

fn put(bytes: &mut BytesMut, kind: u8, number: u32) {
    bytes.put_u8(kind);
    bytes.put_u32(number);
}

fn role_of(role: u8) -> Result<Role, FrameError> {
    match role {
        0 => Ok(Role::Client),
        1 => Ok(Role::Candidate),
        2 => Ok(Role::Host),
        other => Err(FrameError::Value(other)),
    }
}

/// The packet behind a header of so many bytes.
fn packet(how: Reliability, bytes: &Bytes, header: usize) -> Result<Bytes, FrameError> {
    let (packet, limit) = (bytes.slice(header..), limit(how));
    if packet.len() > limit {
        return Err(FrameError::TooLarge { bytes: packet.len(), limit });
    }
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Frame> {
        let packet = Bytes::from_static(b"packet");
        let roles = [Role::Client, Role::Candidate, Role::Host].map(Frame::Hello);
        let byes = [ByeReason::Leaves, ByeReason::ReliabilityBroken, ByeReason::Violation];
        let number = 0x0102_0304;
        let others = [
            Frame::Welcome,
            Frame::Full,
            Frame::ByeTaken,
            Frame::Probe(number),
            Frame::Answer(number),
            Frame::Packet(packet.clone()),
            Frame::LinkAsk,
            Frame::LinkOpen(number),
            Frame::LinkAccept(number),
            Frame::LinkClose(number),
            Frame::LinkPacket { generation: number, packet },
        ];
        roles.into_iter().chain(byes.map(Frame::Bye)).chain(others).collect()
    }

    #[test]
    fn what_is_encoded_is_decoded_and_on_the_unreliable_channel_only_packets_are() {
        for frame in all() {
            let bytes = frame.encode();
            assert_eq!(Frame::decode(Reliability::Reliable, &bytes), Ok(frame.clone()));
            let is_packet = matches!(frame, Frame::Packet(_) | Frame::LinkPacket { .. });
            let unreliable = Frame::decode(Reliability::Unreliable, &bytes);
            let expected = if is_packet { Ok(frame) } else { Err(FrameError::OnUnreliable) };
            assert_eq!(unreliable, expected);
        }
    }

    #[test]
    fn what_is_cut_short_too_long_or_unknown_is_an_error() {
        let decode =
            |bytes: &[u8]| Frame::decode(Reliability::Reliable, &Bytes::copy_from_slice(bytes));
        for frame in all() {
            if matches!(frame, Frame::Packet(_) | Frame::LinkPacket { .. }) {
                continue;
            }
            let bytes = frame.encode();
            for length in 0..bytes.len() {
                assert!(decode(&bytes[..length]).is_err(), "{frame:?} of {length} bytes");
            }
            assert!(decode(&[&bytes[..], &[0]].concat()).is_err(), "{frame:?} and a byte");
        }
        assert_eq!(decode(&[]), Err(FrameError::Empty));
        assert_eq!(decode(&[13, 0]), Err(FrameError::Unknown(13)));
        assert_eq!(decode(&[3, 9]), Err(FrameError::Value(9)));
        assert_eq!(decode(&[0, b'v', b'm', b'b', 1, 9]), Err(FrameError::Value(9)));
        assert_eq!(decode(&[0, b'v', b'm', b'b', 2, 0]), Err(FrameError::Greeting));
        assert_eq!(decode(&[12, 0, 0, 0]), Err(FrameError::Length(4)));
    }

    #[test]
    fn a_packet_may_be_as_large_as_the_limits_say_and_no_larger() {
        for how in [Reliability::Reliable, Reliability::Unreliable] {
            let limit = limit(how);
            for (bytes, is_taken) in [(limit, true), (limit + 1, false)] {
                let packet = Bytes::from(vec![7; bytes]);
                for frame in
                    [Frame::Packet(packet.clone()), Frame::LinkPacket { generation: 1, packet }]
                {
                    let expected = if is_taken {
                        Ok(frame.clone())
                    } else {
                        Err(FrameError::TooLarge { bytes, limit })
                    };
                    assert_eq!(Frame::decode(how, &frame.encode()), expected);
                }
            }
        }
    }
}
