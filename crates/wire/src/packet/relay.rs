//! ServerRelayReliable and ServerRelayUnreliable, and what a relay may look at (PROTOCOL.md,
//! section 6).

use super::{
    DecodeError, Header, Kind, Recipient, SealedText, SealedWith, TextData, open, write_header,
};
use crate::cursor::{Reader, Writer};
use crate::limits::RELAY_DESTINATIONS;
use crate::{ClientId, SessionId};

/// The clients a relayed packet is for, still in the packet's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationList<'a>(&'a [[u8; 2]]);

impl<'a> DestinationList<'a> {
    /// In the order the sender wrote them, repetitions included.
    pub fn iter(self) -> impl ExactSizeIterator<Item = ClientId> + 'a {
        self.0.iter().map(|bytes| ClientId(u16::from_be_bytes(*bytes)))
    }
}

/// A packet to pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay<'a> {
    /// To whom.
    pub destinations: DestinationList<'a>,
    /// What, unchanged.
    pub packet: &'a [u8],
}

impl<'a> Relay<'a> {
    /// Bytes that a relay packet adds around the packet inside, for so many destinations.
    pub const fn overhead(destinations: usize) -> usize {
        Header::BYTES + 1 + 2 * destinations + 2
    }

    /// Reads the body of either relay type.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let count = usize::from(reader.u8()?);
        let (destinations, _) = reader.bytes(2 * count)?.as_chunks::<2>();
        let length = usize::from(reader.u16()?);
        let packet = reader.bytes(length)?;
        reader.end()?;
        Ok(Self { destinations: DestinationList(destinations), packet })
    }

    /// Appends a whole relay packet to `out`. `kind` is one of the two relay types; at most
    /// [`RELAY_DESTINATIONS`] are written.
    pub fn encode_packet(
        kind: Kind,
        session: SessionId,
        destinations: &[ClientId],
        packet: &[u8],
        out: &mut Vec<u8>,
    ) {
        debug_assert!(matches!(kind, Kind::ServerRelayReliable | Kind::ServerRelayUnreliable));
        let destinations = &destinations[..destinations.len().min(RELAY_DESTINATIONS)];
        out.reserve(Self::overhead(destinations.len()) + packet.len());
        write_header(out, kind, Some(session));
        let mut writer = Writer(out);
        writer.u8(destinations.len() as u8);
        for destination in destinations {
            writer.u16(destination.0);
        }
        writer.count(packet.len());
        writer.bytes(packet);
    }
}

/// Whether a relay packet holds a game's own bytes, which its sender may lose where much waits.
pub fn is_relayed_data(packet: &[u8]) -> bool {
    let Ok((Header { kind: Kind::ServerRelayUnreliable, .. }, body)) = open(packet) else {
        return false;
    };
    let inside = Relay::decode(body).and_then(|relay| open(relay.packet));
    inside.is_ok_and(|(header, _)| header.kind.is_data())
}

/// Whether a packet is a written message: TextData, GroupText or SealedText, the last one also
/// inside a relay packet.
pub fn is_written(packet: &[u8]) -> bool {
    let Ok((header, body)) = open(packet) else { return false };
    match header.kind {
        Kind::TextData | Kind::GroupText | Kind::SealedText => true,
        Kind::ServerRelayReliable | Kind::ServerRelayUnreliable => {
            let inside = Relay::decode(body).and_then(|relay| open(relay.packet));
            inside.is_ok_and(|(header, _)| header.kind == Kind::SealedText)
        }
        _ => false,
    }
}

/// Whether a packet to the server is a written message to one client alone.
pub fn is_written_to_one(packet: &[u8]) -> bool {
    let Ok((header, body)) = open(packet) else { return false };
    match header.kind {
        Kind::TextData => {
            TextData::decode(body).is_ok_and(|text| matches!(text.recipient, Recipient::Client(_)))
        }
        Kind::ServerRelayReliable | Kind::ServerRelayUnreliable => {
            let Ok(relay) = Relay::decode(body) else { return false };
            let sealed = open(relay.packet).ok().filter(|(of, _)| of.kind == Kind::SealedText);
            let text = sealed.and_then(|(_, body)| SealedText::decode(body).ok());
            relay.destinations.iter().len() == 1
                && text.is_some_and(|text| text.key == SealedWith::PairKey)
        }
        _ => false,
    }
}

/// What a relay or a link looks at in a packet that is not for itself: nothing behind the sender's
/// id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    /// The packet's type.
    pub kind: Kind,
    /// The packet's session number as sent.
    pub session: u32,
    /// Who says to have sent it.
    pub sender: ClientId,
}

impl Routing {
    /// `BadValue` for a type that does not begin with its sender's id and so may not be relayed.
    /// The server relays no type that is for one link only, either.
    pub fn read(packet: &[u8]) -> Result<Self, DecodeError> {
        let (header, body) = open(packet)?;
        let session = header
            .session
            .filter(|_| header.kind.names_its_sender())
            .ok_or(DecodeError::BadValue)?;
        let sender = ClientId(Reader::new(body).u16()?);
        Ok(Self { kind: header.kind, session, sender })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::GroupText;

    /// proves: D-23
    #[test]
    fn a_relay_packet_is_the_bytes_of_the_table() {
        let inside = [0x8B, 0xC7, 33, 0, 0, 0, 1, 0, 5, 0, 0, 0, 9];
        let mut packet = Vec::new();
        let session = SessionId::new(1).unwrap();
        Relay::encode_packet(
            Kind::ServerRelayReliable,
            session,
            &[ClientId(2), ClientId(258)],
            &inside,
            &mut packet,
        );
        let mut expected = vec![0x8B, 0xC7, 7, 0, 0, 0, 1, 2, 0, 2, 1, 2, 0, 13];
        expected.extend_from_slice(&inside);
        assert_eq!(packet, expected);
        assert_eq!(packet.len(), Relay::overhead(2) + inside.len());

        let relay = Relay::decode(open(&packet).unwrap().1).unwrap();
        assert_eq!(relay.destinations.iter().collect::<Vec<_>>(), [ClientId(2), ClientId(258)]);
        assert_eq!(relay.packet, inside);
        assert_eq!(
            Routing::read(relay.packet),
            Ok(Routing { kind: Kind::Probe, session: 1, sender: ClientId(5) })
        );
    }

    #[test]
    fn a_written_message_is_known_in_every_form() {
        let session = SessionId::new(1).unwrap();
        let (sender, to) = (ClientId(5), [ClientId(2), ClientId(3)]);
        let text = |recipient| TextData { sender, recipient, text: "x" }.encode(session);
        let sealed = |key| SealedText { sender, key, sealed: &[1, 2] }.encode(session);
        let relayed = |to: &[ClientId], packet: &[u8]| {
            let mut relayed = Vec::new();
            Relay::encode_packet(Kind::ServerRelayReliable, session, to, packet, &mut relayed);
            relayed
        };
        let mut speech = sealed(SealedWith::PairKey);
        speech[2] = Kind::VoiceData.number();
        for (packet, is_text, is_to_one) in [
            (text(Recipient::Client(to[0])), true, true),
            (text(Recipient::Group(crate::GroupId::of("Red"))), true, false),
            (GroupText { sender, group: "Red", text: "x" }.encode(session), true, false),
            (sealed(SealedWith::PairKey), true, false),
            (relayed(&to[..1], &sealed(SealedWith::PairKey)), true, true),
            (relayed(&to[..1], &sealed(SealedWith::SenderKey)), true, false),
            (relayed(&to, &sealed(SealedWith::PairKey)), true, false),
            (relayed(&to[..1], &speech), false, false),
            // Which no relay passes on.
            (relayed(&to[..1], &text(Recipient::Client(to[0]))), false, false),
            (speech, false, false),
            (relayed(&to[..1], &[]), false, false),
            (Vec::new(), false, false),
        ] {
            assert_eq!((is_written(&packet), is_written_to_one(&packet)), (is_text, is_to_one));
        }
    }

    #[test]
    fn only_packets_that_name_their_sender_have_a_routing() {
        for number in 0..=255 {
            let packet = [0x8B, 0xC7, number, 0, 0, 0, 1, 0, 5];
            // GroupText is for the server.
            let is_relayed = number == 2 || (32..64).contains(&number) && number != 43;
            assert_eq!(Routing::read(&packet).is_ok(), is_relayed, "{number}");
        }
    }
}
