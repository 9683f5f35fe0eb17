//! What datagrams to and from a TURN server carry (RFC 8656): Send and Data indications, and
//! ChannelData.
//!
//! A connectivity check that goes through a TURN server reaches the remote's address all the same,
//! so it is counted as one that is sent directly.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const MAGIC_COOKIE: u32 = 0x2112_a442;
const STUN_HEADER_BYTES: usize = 20;
const CHANNEL_BIND_REQUEST: u16 = 0x0009;
const SEND_INDICATION: u16 = 0x0016;
const DATA_INDICATION: u16 = 0x0017;
const CHANNEL_NUMBER: u16 = 0x000c;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const DATA: u16 = 0x0013;
const IPV4: u8 = 1;
const IPV6: u8 = 2;
/// Channels that are known of a link; what goes through another one is not known, and not sent.
const CHANNELS: usize = 128;

/// The channels that a link has bound, by server and number.
#[derive(Debug, Default)]
pub(crate) struct Channels(BTreeMap<(SocketAddr, u16), SocketAddr>);

/// What a datagram is to the TURN server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Relayed<'a> {
    /// It carries this datagram to or from an address.
    Carries(SocketAddr, &'a [u8]),
    /// It is ChannelData of a channel that is not known.
    UnknownChannel(&'a [u8]),
    /// It is for the receiver itself.
    Nothing,
}

impl Channels {
    /// A datagram that is sent to a server, or to a peer.
    pub(crate) fn outgoing<'a>(&mut self, to: SocketAddr, datagram: &'a [u8]) -> Relayed<'a> {
        if kind(datagram) == Some(CHANNEL_BIND_REQUEST) {
            self.bind(to, datagram);
        }
        self.open(to, datagram)
    }

    /// A datagram to or from a server, or a peer.
    pub(crate) fn open<'a>(&self, server: SocketAddr, datagram: &'a [u8]) -> Relayed<'a> {
        if let Some((number, data)) = channel_data(datagram) {
            let peer = self.0.get(&(server, number));
            return peer
                .map_or(Relayed::UnknownChannel(data), |peer| Relayed::Carries(*peer, data));
        }
        match kind(datagram) {
            Some(SEND_INDICATION | DATA_INDICATION) => {
                let (mut peer, mut data) = (None, None);
                for (attribute, value) in attributes(datagram) {
                    match attribute {
                        XOR_PEER_ADDRESS => peer = peer.or(peer_address(datagram, value)),
                        DATA => data = data.or(Some(value)),
                        _ => {}
                    }
                }
                peer.zip(data).map_or(Relayed::Nothing, |(peer, data)| Relayed::Carries(peer, data))
            }
            _ => Relayed::Nothing,
        }
    }

    fn bind(&mut self, server: SocketAddr, datagram: &[u8]) {
        let (mut number, mut peer) = (None, None);
        for (attribute, value) in attributes(datagram) {
            match (attribute, value) {
                (CHANNEL_NUMBER, [high, low, ..]) => {
                    number = Some(u16::from_be_bytes([*high, *low]))
                }
                (XOR_PEER_ADDRESS, value) => peer = peer_address(datagram, value),
                _ => {}
            }
        }
        if let Some((number, peer)) = number.zip(peer)
            && (self.0.len() < CHANNELS || self.0.contains_key(&(server, number)))
        {
            self.0.insert((server, number), peer);
        }
    }
}

/// What a datagram carries to or from a peer, if a TURN server passes it on.
pub(crate) fn carried(datagram: &[u8]) -> Option<&[u8]> {
    if let Some((_, data)) = channel_data(datagram) {
        return Some(data);
    }
    let is_indication = matches!(kind(datagram), Some(SEND_INDICATION | DATA_INDICATION));
    let mut data = attributes(datagram).filter(|(attribute, _)| *attribute == DATA);
    data.next().map(|(_, value)| value).filter(|_| is_indication)
}

/// The number of a channel, which is in a range that no STUN, DTLS or RTP packet begins with (RFC
/// 7983 §7), and its data.
fn channel_data(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let (header, data) = datagram.split_first_chunk::<4>()?;
    let is_channel = (0x40..0x80).contains(&header[0]);
    let bytes = usize::from(u16::from_be_bytes([header[2], header[3]]));
    Some((u16::from_be_bytes([header[0], header[1]]), data.get(..bytes)?)).filter(|_| is_channel)
}

/// The type of a STUN message.
fn kind(datagram: &[u8]) -> Option<u16> {
    let header = datagram.first_chunk::<STUN_HEADER_BYTES>()?;
    (header[4..8] == MAGIC_COOKIE.to_be_bytes())
        .then_some(u16::from_be_bytes([header[0], header[1]]))
}

fn attributes(datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = datagram.get(STUN_HEADER_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (header, behind) = rest.split_first_chunk::<4>()?;
        let bytes = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let value = behind.get(..bytes)?;
        rest = behind.get(bytes.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_be_bytes([header[0], header[1]]), value))
    })
}

/// XOR-PEER-ADDRESS is encoded as XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
fn peer_address(message: &[u8], value: &[u8]) -> Option<SocketAddr> {
    let (header, address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([header[2], header[3]]) ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match header[1] {
        IPV4 => {
            let bits = u32::from_be_bytes(*address.first_chunk()?) ^ MAGIC_COOKIE;
            IpAddr::V4(Ipv4Addr::from_bits(bits))
        }
        IPV6 => {
            let mask = u128::from_be_bytes(*message.get(4..)?.first_chunk()?);
            IpAddr::V6(Ipv6Addr::from_bits(u128::from_be_bytes(*address.first_chunk()?) ^ mask))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (attribute, value) in attributes {
            body.extend(attribute.to_be_bytes());
            body.extend((value.len() as u16).to_be_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut message = kind.to_be_bytes().to_vec();
        message.extend((body.len() as u16).to_be_bytes());
        message.extend(MAGIC_COOKIE.to_be_bytes());
        message.extend([9; 12]);
        message.extend(body);
        message
    }

    fn xored(peer: SocketAddr) -> Vec<u8> {
        let mut value = vec![0, if peer.is_ipv4() { IPV4 } else { IPV6 }];
        value.extend((peer.port() ^ 0x2112).to_be_bytes());
        match peer.ip() {
            IpAddr::V4(ip) => value.extend((ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes()),
            IpAddr::V6(ip) => {
                let mut mask = MAGIC_COOKIE.to_be_bytes().to_vec();
                mask.extend([9; 12]);
                value.extend(ip.octets().iter().zip(mask).map(|(byte, mask)| byte ^ mask));
            }
        }
        value
    }

    /// A datagram for `peer` as an indication.
    pub(crate) fn indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
        message(SEND_INDICATION, &[(XOR_PEER_ADDRESS, &xored(peer)), (DATA, data)])
    }

    /// A datagram that binds a channel to `peer`.
    pub(crate) fn binding(number: u16, peer: SocketAddr) -> Vec<u8> {
        let [high, low] = number.to_be_bytes();
        message(
            CHANNEL_BIND_REQUEST,
            &[(CHANNEL_NUMBER, &[high, low, 0, 0]), (XOR_PEER_ADDRESS, &xored(peer))],
        )
    }

    /// A datagram through a channel.
    pub(crate) fn through(number: u16, data: &[u8]) -> Vec<u8> {
        let mut datagram = number.to_be_bytes().to_vec();
        datagram.extend((data.len() as u16).to_be_bytes());
        datagram.extend(data);
        datagram.resize(datagram.len().next_multiple_of(4), 0);
        datagram
    }

    #[test]
    fn what_indications_and_channels_carry_is_found() {
        let server = SocketAddr::from(([192, 0, 2, 1], 3478));
        let peers = [
            SocketAddr::from(([198, 51, 100, 7], 999)),
            "[2001:db8::7]:50000".parse().expect("an address"),
        ];
        for peer in peers {
            let mut channels = Channels::default();
            let indication = indication(peer, b"hello");
            assert_eq!(channels.outgoing(server, &indication), Relayed::Carries(peer, b"hello"));
            let data = through(0x4001, b"hello");
            assert_eq!(channels.outgoing(server, &data), Relayed::UnknownChannel(b"hello"));
            assert_eq!(channels.outgoing(server, &binding(0x4001, peer)), Relayed::Nothing);
            assert_eq!(channels.outgoing(server, &data), Relayed::Carries(peer, b"hello"));
            assert_eq!(
                channels.open(peer, &data),
                Relayed::UnknownChannel(b"hello"),
                "of another server"
            );
        }
    }

    #[test]
    fn damaged_ones_carry_nothing_and_no_more_channels_are_kept_than_allowed() {
        let server = SocketAddr::from(([192, 0, 2, 1], 3478));
        let peer = SocketAddr::from(([198, 51, 100, 7], 999));
        let mut channels = Channels::default();
        for whole in
            [indication(peer, b"hello"), through(0x4001, b"hello!!!"), binding(0x4001, peer)]
        {
            for bytes in 0..whole.len() {
                let carries = channels.outgoing(server, &whole[..bytes]);
                // The padding is no part of the data.
                assert!(
                    bytes + 3 >= whole.len() || carries == Relayed::Nothing,
                    "{bytes}: {carries:?}"
                );
            }
        }
        for number in 0x4000..0x7fff {
            channels.outgoing(server, &binding(number, peer));
        }
        assert_eq!(channels.0.len(), CHANNELS);
    }
}
