//! ServerRelayReliable and ServerRelayUnreliable, and what a relay may look at (PROTOCOL.md,
//! section 6).

use super::{DecodeError, Header, Kind, open, write_header};
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

    /// proves: D-25
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
