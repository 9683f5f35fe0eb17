//! Packets of the reliable stream, cut to data channel messages and put together again.
//!
//! The format is in the crate's documentation, "Protocol".

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits::{FRAGMENT_BYTES, RELIABLE_STREAM_PACKET_BYTES};

const LAST: u8 = 0;
const MORE_FOLLOWS: u8 = 1;
const READY: u8 = 2;
const PAYLOAD_BYTES: usize = FRAGMENT_BYTES - 1;

/// The message with which an answerer says that its channels are set up.
pub(crate) fn ready() -> BytesMut {
    BytesMut::from(&[READY][..])
}

/// What is left to send of one packet.
pub(crate) struct Fragmenter {
    rest: Bytes,
}

impl Fragmenter {
    pub(crate) fn new(packet: Bytes) -> Self {
        Self { rest: packet }
    }

    /// The size of the next message.
    pub(crate) fn next_bytes(&self) -> usize {
        1 + self.rest.len().min(PAYLOAD_BYTES)
    }

    /// The next message, and whether it was the packet's last. An empty packet is one message too.
    pub(crate) fn next(&mut self) -> (BytesMut, bool) {
        let payload = self.rest.split_to(self.rest.len().min(PAYLOAD_BYTES));
        let is_last = self.rest.is_empty();
        let mut message = BytesMut::with_capacity(1 + payload.len());
        message.put_u8(if is_last { LAST } else { MORE_FOLLOWS });
        message.put_slice(&payload);
        (message, is_last)
    }
}

/// What one message led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// More messages are needed.
    Incomplete,
    /// A whole packet.
    Packet(Bytes),
    /// The remote's channels are set up.
    Ready,
    /// The message had no flag or an unknown one, or ended a packet that was larger than allowed:
    /// dropped.
    Refused,
}

/// Puts messages of an ordered stream together. Holds at most [`RELIABLE_STREAM_PACKET_BYTES`].
#[derive(Default)]
pub(crate) struct Reassembler {
    state: Joining,
}

#[derive(Default)]
enum Joining {
    /// The next message begins a packet.
    #[default]
    Empty,
    /// A packet's beginning.
    Partial(BytesMut),
    /// The packet grew too large: skip to its end.
    Skipping,
}

impl Reassembler {
    pub(crate) fn push(&mut self, mut message: BytesMut) -> Joined {
        let more_follows = match message.first() {
            Some(&LAST) => false,
            Some(&MORE_FOLLOWS) => true,
            Some(&READY) if message.len() == 1 => return Joined::Ready,
            Some(_) | None => return Joined::Refused,
        };
        let payload = message.split_off(1);
        let whole = match std::mem::take(&mut self.state) {
            Joining::Empty => payload,
            Joining::Partial(mut packet) => {
                if packet.len() + payload.len() <= RELIABLE_STREAM_PACKET_BYTES {
                    packet.extend_from_slice(&payload);
                    packet
                } else {
                    return self.skip(more_follows);
                }
            }
            Joining::Skipping => return self.skip(more_follows),
        };
        if more_follows {
            self.state = Joining::Partial(whole);
            Joined::Incomplete
        } else {
            Joined::Packet(whole.freeze())
        }
    }

    fn skip(&mut self, more_follows: bool) -> Joined {
        if more_follows {
            self.state = Joining::Skipping;
            Joined::Incomplete
        } else {
            Joined::Refused
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(packet: &[u8]) -> Vec<BytesMut> {
        let mut fragmenter = Fragmenter::new(Bytes::copy_from_slice(packet));
        let mut messages = Vec::new();
        loop {
            let (message, is_last) = fragmenter.next();
            messages.push(message);
            if is_last {
                return messages;
            }
        }
    }

    fn packet(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|i| (i * 7 % 251) as u8).collect()
    }

    #[test]
    fn packets_of_every_size_come_back_whole() {
        for bytes in [0, 1, 1022, 1023, 1024, 2046, 2047, RELIABLE_STREAM_PACKET_BYTES] {
            let mut reassembler = Reassembler::default();
            let messages = cut(&packet(bytes));
            assert_eq!(messages.len(), bytes.div_ceil(PAYLOAD_BYTES).max(1));
            assert!(messages.iter().all(|message| message.len() <= FRAGMENT_BYTES));
            let last = messages.len() - 1;
            for (index, message) in messages.into_iter().enumerate() {
                let joined = reassembler.push(message);
                if index < last {
                    assert_eq!(joined, Joined::Incomplete);
                } else {
                    assert_eq!(joined, Joined::Packet(packet(bytes).into()));
                }
            }
        }
    }

    #[test]
    fn a_packet_that_never_ends_is_refused_and_the_next_one_arrives() {
        let mut reassembler = Reassembler::default();
        let mut endless = BytesMut::from(&[MORE_FOLLOWS][..]);
        endless.resize(FRAGMENT_BYTES, 9);
        for _ in 0..1000 {
            assert_eq!(reassembler.push(endless.clone()), Joined::Incomplete);
            if let Joining::Partial(held) = &reassembler.state {
                assert!(held.len() <= RELIABLE_STREAM_PACKET_BYTES);
            }
        }
        assert_eq!(reassembler.push(BytesMut::from(&[LAST, 1][..])), Joined::Refused);
        assert_eq!(
            reassembler.push(BytesMut::from(&[LAST, 2][..])),
            Joined::Packet(Bytes::from_static(&[2]))
        );
    }

    #[test]
    fn messages_without_a_known_flag_are_refused() {
        let mut reassembler = Reassembler::default();
        assert_eq!(reassembler.push(BytesMut::new()), Joined::Refused);
        assert_eq!(reassembler.push(BytesMut::from(&[3, 0][..])), Joined::Refused);
        assert_eq!(reassembler.push(BytesMut::from(&[READY, 0][..])), Joined::Refused);
        assert_eq!(reassembler.push(ready()), Joined::Ready);
    }
}
