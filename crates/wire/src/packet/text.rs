//! TextData (PROTOCOL.md, section 6).

use super::{DecodeError, Kind, begin};
use crate::cursor::{Reader, Writer};
use crate::limits::{GROUP_NAME_BYTES, TEXT_BYTES};
use crate::{ClientId, GroupId, SessionId};

/// Whom a text message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recipient {
    /// Everyone who listens to this group.
    Group(GroupId),
    /// This client.
    Client(ClientId),
}

/// A text message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextData<'a> {
    /// Who wrote it.
    pub sender: ClientId,
    /// Whom it is for.
    pub recipient: Recipient,
    /// At most [`TEXT_BYTES`]; longer text is cut at a character when it is encoded.
    pub text: &'a str,
}

impl<'a> TextData<'a> {
    /// Reads a TextData body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let kind = reader.u8()?;
        let sender = ClientId(reader.u16()?);
        let id = reader.u16()?;
        let recipient = match kind {
            0 => Recipient::Group(GroupId(id)),
            1 => Recipient::Client(ClientId(id)),
            _ => return Err(DecodeError::BadValue),
        };
        let text = reader.text(TEXT_BYTES)?;
        reader.end()?;
        Ok(Self { sender, recipient, text })
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet = begin(Kind::TextData, Some(session), 7 + self.text.len());
        let mut writer = Writer(&mut packet);
        let (kind, id) = match self.recipient {
            Recipient::Group(GroupId(id)) => (0, id),
            Recipient::Client(ClientId(id)) => (1, id),
        };
        writer.u8(kind);
        writer.u16(self.sender.0);
        writer.u16(id);
        writer.text(self.text, TEXT_BYTES);
        packet
    }
}

/// A text message to everyone who listens to a group of exactly this name (PROTOCOL.md, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupText<'a> {
    /// The client that sends it.
    pub sender: ClientId,
    /// At most [`GROUP_NAME_BYTES`].
    pub group: &'a str,
    /// At most [`TEXT_BYTES`]; longer text is cut at a character when it is encoded.
    pub text: &'a str,
}

impl<'a> GroupText<'a> {
    /// Reads a GroupText body.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let sender = ClientId(reader.u16()?);
        let group = reader.text(GROUP_NAME_BYTES)?;
        let text = reader.text(TEXT_BYTES)?;
        reader.end()?;
        Ok(Self { sender, group, text })
    }

    /// The whole packet.
    pub fn encode(&self, session: SessionId) -> Vec<u8> {
        let mut packet =
            begin(Kind::GroupText, Some(session), 6 + self.group.len() + self.text.len());
        let mut writer = Writer(&mut packet);
        writer.u16(self.sender.0);
        writer.text(self.group, GROUP_NAME_BYTES);
        writer.text(self.text, TEXT_BYTES);
        packet
    }

    /// The same for clients that know groups by their ids.
    pub fn by_id(&self) -> TextData<'a> {
        TextData {
            sender: self.sender,
            recipient: Recipient::Group(GroupId::of(self.group)),
            text: self.text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::open;

    /// proves: D-35
    #[test]
    fn a_text_packet_is_the_bytes_of_the_table() {
        let text =
            TextData {
                sender: ClientId(3), recipient: Recipient::Client(ClientId(4)), text: "hé"
            };
        let packet = text.encode(SessionId::new(1).unwrap());
        assert_eq!(packet, [0x8B, 0xC7, 3, 0, 0, 0, 1, 1, 0, 3, 0, 4, 0, 4, b'h', 0xC3, 0xA9]);
        assert_eq!(TextData::decode(open(&packet).unwrap().1), Ok(text));
    }

    #[test]
    fn a_text_to_a_group_names_it() {
        let text = GroupText { sender: ClientId(3), group: "Ops", text: "hé" };
        let packet = text.encode(SessionId::new(1).unwrap());
        let names = [0, 3, 0, 4, b'O', b'p', b's', 0, 4, b'h', 0xC3, 0xA9];
        assert_eq!(packet, [&[0x8B, 0xC7, 43, 0, 0, 0, 1][..], &names].concat());
        assert_eq!(GroupText::decode(open(&packet).unwrap().1), Ok(text));
        assert_eq!(text.by_id().recipient, Recipient::Group(GroupId::of("Ops")));
    }

    #[test]
    fn text_over_the_limit_is_cut_at_a_character_when_sent_and_refused_when_received() {
        let long = "é".repeat(TEXT_BYTES);
        let text =
            TextData { sender: ClientId(1), recipient: Recipient::Group(GroupId(2)), text: &long };
        let packet = text.encode(SessionId::new(1).unwrap());
        let read = TextData::decode(open(&packet).unwrap().1).unwrap();
        assert_eq!(read.text.len(), TEXT_BYTES);

        let mut body = vec![0, 0, 1, 0, 2];
        body.extend_from_slice(&(TEXT_BYTES as u16 + 2).to_be_bytes());
        body.resize(body.len() + TEXT_BYTES + 1, b'a');
        assert_eq!(TextData::decode(&body), Err(DecodeError::TooLong));
    }
}
