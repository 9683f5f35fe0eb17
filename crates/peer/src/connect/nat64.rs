//! IPv4 addresses on networks that have IPv6 only: the prefix of the network's NAT64 is learnt from
//! the name `ipv4only.arpa` (RFC 7050), and the IPv4 address is written into it (RFC 6052 §2.2).

use std::net::{Ipv4Addr, Ipv6Addr};

/// A name that has IPv4 addresses only, so that any IPv6 address of it was made by the network's
/// DNS64.
pub(super) const WELL_KNOWN_NAME: &str = "ipv4only.arpa";
/// The addresses of that name.
const WELL_KNOWN_ADDRESSES: [Ipv4Addr; 2] =
    [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];
/// The prefix that every network may use, though not for addresses of private networks (RFC 6052
/// §3.1).
const WELL_KNOWN_PREFIX: [u8; 12] = [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0];
/// Lengths that a prefix can have, in bits.
const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];
/// Of a host with more prefixes, only these are used.
const MAX_PREFIXES: usize = 4;

/// Where a network's translator takes IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// The bits behind the prefix are 0.
    octets: [u8; 16],
    length: u8,
}

/// The prefixes in the IPv6 addresses of [`WELL_KNOWN_NAME`].
pub(super) fn prefixes(addresses: impl IntoIterator<Item = Ipv6Addr>) -> Vec<Prefix> {
    let mut prefixes = Vec::new();
    for prefix in addresses.into_iter().filter_map(prefix) {
        if !prefixes.contains(&prefix) && prefixes.len() < MAX_PREFIXES {
            prefixes.push(prefix);
        }
    }
    prefixes
}

fn prefix(address: Ipv6Addr) -> Option<Prefix> {
    let octets = address.octets();
    let embeds = |length: &u8| {
        let places = places(*length);
        let embedded = Ipv4Addr::from(places.map(|place| octets[place]));
        let rest_is_zero =
            (places[3] + 1..16).chain([8]).all(|at| octets[at] == 0 || places.contains(&at));
        WELL_KNOWN_ADDRESSES.contains(&embedded) && rest_is_zero
    };
    let length = LENGTHS.into_iter().find(embeds)?;
    let mut kept = [0; 16];
    let bytes = usize::from(length / 8);
    kept[..bytes].copy_from_slice(&octets[..bytes]);
    Some(Prefix { octets: kept, length })
}

/// Where the four bytes of the IPv4 address are. Byte 8 stays 0 and is stepped over.
fn places(length: u8) -> [usize; 4] {
    let first = usize::from(length / 8);
    [0, 1, 2, 3].map(|byte| {
        let place = first + byte;
        if first <= 8 && place >= 8 { place + 1 } else { place }
    })
}

impl Prefix {
    /// The IPv6 address by which the translator reaches `address`; `None` if this prefix may not be
    /// used for it.
    pub(super) fn synthesize(self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        let is_private = address.is_private() || address.is_loopback() || address.is_link_local();
        if is_private && self.length == 96 && self.octets[..12] == WELL_KNOWN_PREFIX {
            return None;
        }
        let mut octets = self.octets;
        for (place, byte) in places(self.length).into_iter().zip(address.octets()) {
            octets[place] = byte;
        }
        Some(octets.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v6(text: &str) -> Ipv6Addr {
        text.parse().expect(text)
    }

    /// The examples of RFC 6052 §2.4.
    #[test]
    fn an_address_is_written_behind_prefixes_of_every_length() {
        let example: Ipv4Addr = [192, 0, 2, 33].into();
        for (known, expected) in [
            ("2001:db8:c000:aa::", "2001:db8:c000:221::"),
            ("2001:db8:1c0:0:aa::", "2001:db8:1c0:2:21::"),
            ("2001:db8:122:c000:0:aa00::", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:3c0:0:aa::", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344:c0:0:aa00::", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::192.0.0.170", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::192.0.0.171", "64:ff9b::192.0.2.33"),
        ] {
            let found = prefixes([v6(known)]);
            assert_eq!(found.len(), 1, "{known}");
            assert_eq!(found[0].synthesize(example), Some(v6(expected)), "{known}");
        }
    }

    #[test]
    fn addresses_that_no_translator_made_are_no_prefix() {
        assert_eq!(prefixes([v6("2001:db8::1"), v6("::"), v6("64:ff9b::192.0.2.1")]), []);
        assert_eq!(prefixes([v6("64:ff9b::192.0.0.170"), v6("64:ff9b::192.0.0.171")]).len(), 1);
    }

    #[test]
    fn the_well_known_prefix_is_not_for_private_addresses() {
        let [well_known, own] = [v6("64:ff9b::192.0.0.170"), v6("2001:db8:122:344::192.0.0.170")]
            .map(|one| prefixes([one])[0]);
        let private: Ipv4Addr = [192, 168, 1, 5].into();
        assert_eq!(well_known.synthesize(private), None);
        assert_eq!(own.synthesize(private), Some(v6("2001:db8:122:344::192.168.1.5")));
    }
}
