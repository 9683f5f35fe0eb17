//! What is written to others: what is sent again when another connection takes over, and what the
//! server's refusals are about (PROTOCOL.md, sections 3 and 5).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::packet::{self, GroupText, Kind, TextData};

/// At most this many written messages of which it is not known that they arrived.
const TEXTS: usize = 128;
/// The server may refuse them after they have arrived; far more than anyone writes within a round
/// trip.
const NEWEST: usize = 16;
/// At most this many bytes of them, as they are sent. The oldest is forgotten first.
const TEXT_BYTES: usize = 256 * 1024;

/// What was written to others and may have to be sent again on another connection.
#[derive(Debug, Default)]
pub(super) struct Texts {
    waiting: VecDeque<Written>,
    bytes: usize,
    /// How many were sent on this connection.
    sent: u32,
    /// What was written in the newest of them, oldest first: the server may refuse them after it
    /// has read them.
    newest: VecDeque<Bytes>,
}

#[derive(Debug)]
struct Written {
    at: Duration,
    /// Its place among those of its connection, from 0.
    number: u32,
    packet: TextPacket,
}

/// A written message as it is sent, and before it was sealed.
#[derive(Clone, Debug)]
pub(super) struct TextPacket {
    pub(super) sent: Bytes,
    pub(super) plain: Bytes,
}

impl TextPacket {
    fn len(&self) -> usize {
        self.sent.len()
    }
}

/// What is sent as it was written.
impl From<Bytes> for TextPacket {
    fn from(packet: Bytes) -> Self {
        Self { sent: packet.clone(), plain: packet }
    }
}

impl Texts {
    pub(super) fn push(&mut self, now: Duration, packet: TextPacket) {
        self.bytes += packet.len();
        self.newest.push_back(packet.plain.clone());
        self.waiting.push_back(Written { at: now, number: self.sent, packet });
        self.sent += 1;
        if self.newest.len() > NEWEST {
            self.newest.pop_front();
        }
        while self.waiting.len() > TEXTS || self.bytes > TEXT_BYTES {
            let Some(oldest) = self.waiting.pop_front() else { return };
            self.bytes -= oldest.packet.len();
        }
    }

    /// What was sent until then has arrived.
    pub(super) fn confirmed(&mut self, until: Duration) {
        while let Some(written) = self.waiting.pop_front_if(|written| written.at <= until) {
            self.bytes -= written.packet.len();
        }
    }

    /// The server has refused the one of this number, counted from 1 on this connection.
    pub(super) fn refused(&mut self, number: u32) {
        self.waiting.retain(|written| written.number + 1 != number);
        self.bytes = self.waiting.iter().map(|written| written.packet.len()).sum();
    }

    /// What was written, of the message of this number, counted from 1 on this connection
    /// (PROTOCOL.md, section 5), if it is among the newest.
    pub(super) fn numbered(&self, number: u32) -> Option<String> {
        let from_newest = self.sent.checked_sub(number)? as usize;
        written(self.newest.iter().rev().nth(from_newest)?)
    }

    /// Whether any is not known to have arrived.
    pub(super) fn is_unconfirmed(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What may still be refused on this connection when another takes over from it, on which the
    /// others are sent again.
    pub(super) fn read_by_server(&self, read: Option<u32>) -> ReadTexts {
        let texts = Self { sent: self.sent, newest: self.newest.clone(), ..Self::default() };
        ReadTexts { texts, read: read.unwrap_or(0) }
    }

    /// Another connection took over from that on which the server has read so many: the others are
    /// to be sent on it.
    pub(super) fn taken_over(&mut self, now: Duration, read: Option<u32>) -> Vec<Bytes> {
        let former = std::mem::take(self);
        let unread = former
            .waiting
            .into_iter()
            .filter(|written| read.is_none_or(|read| written.number >= read));
        unread.for_each(|written| self.push(now, written.packet));
        self.waiting.iter().map(|written| written.packet.sent.clone()).collect()
    }
}

/// The newest of the written messages that the server has read on a connection from which another
/// has taken over.
#[derive(Debug, Default)]
pub(super) struct ReadTexts {
    texts: Texts,
    read: u32,
}

impl ReadTexts {
    /// What was written, of the message of this number. None for one that was sent again: it is
    /// refused again.
    pub(super) fn numbered(&self, number: u32) -> Option<String> {
        (number <= self.read).then(|| self.texts.numbered(number))?
    }
}

fn written(packet: &Bytes) -> Option<String> {
    let (header, body) = packet::open(packet).ok()?;
    match header.kind {
        Kind::TextData => TextData::decode(body).ok().map(|text| text.text.to_owned()),
        Kind::GroupText => GroupText::decode(body).ok().map(|text| text.text.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use voicemesh_wire::packet::Recipient;
    use voicemesh_wire::{ClientId, SessionId};

    use super::*;

    fn packet(text: &str) -> Bytes {
        let recipient = Recipient::Client(ClientId(2));
        let session = SessionId::new(7).expect("not zero");
        TextData { sender: ClientId(1), recipient, text }.encode(session).into()
    }

    #[test]
    fn who_takes_over_sends_what_the_server_has_not_read_once_more_and_keeps_it() {
        let ms = Duration::from_millis;
        let mut texts = Texts::default();
        for (at, text) in [(0, "one"), (10, "two"), (20, "three")] {
            texts.push(ms(at), packet(text).into());
        }
        assert_eq!(texts.numbered(2).as_deref(), Some("two"));
        assert_eq!((texts.numbered(0), texts.numbered(4)), (None, None));
        texts.confirmed(ms(5));
        assert_eq!(texts.numbered(1).as_deref(), Some("one"), "read, and perhaps refused");
        assert_eq!(
            texts.taken_over(ms(30), Some(2)),
            [packet("three")],
            "the server has read one and two"
        );
        assert_eq!(texts.numbered(1).as_deref(), Some("three"), "the first of this connection");
        assert!(texts.is_unconfirmed());
        assert_eq!(
            texts.taken_over(ms(40), Some(0)),
            [packet("three")],
            "that connection died, too"
        );
        assert_eq!(
            texts.taken_over(ms(50), None),
            [packet("three")],
            "a server that does not count"
        );
        assert_eq!(texts.taken_over(ms(60), Some(1)), Vec::<Bytes>::new());
        assert!(!texts.is_unconfirmed() && texts.bytes == 0);
        texts.push(ms(70), packet("four").into());
        texts.push(ms(70), packet("five").into());
        texts.refused(1);
        assert_eq!(texts.numbered(1).as_deref(), Some("four"), "its words are shown");
        assert_eq!(
            texts.taken_over(ms(80), Some(0)),
            [packet("five")],
            "what is known to be refused is not sent again"
        );
    }

    #[test]
    fn what_the_server_has_read_may_be_refused_after_another_connection_has_taken_over() {
        let mut texts = Texts::default();
        for text in ["one", "two", "three"] {
            texts.push(Duration::ZERO, packet(text).into());
        }
        let read = texts.read_by_server(Some(2));
        texts.taken_over(Duration::ZERO, Some(2));
        assert_eq!(read.numbered(2).as_deref(), Some("two"));
        assert_eq!(read.numbered(3), None, "it is sent again, and refused again");
        assert_eq!(read.numbered(0), None);
        assert_eq!(Texts::default().read_by_server(None).numbered(1), None);
    }
}
