//! Which reverse proxies may say on whose behalf they connect.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A proxy, or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Every address that the public internet does not route.
    Private,
    /// Addresses that share their first bits.
    Network(IpNet),
}

impl TrustedProxy {
    /// Whether `address` is such a proxy.
    pub fn covers(&self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::Private, IpAddr::V4(v4)) => {
                // RFC 6598: shared address space, where some hosts put their own proxies.
                let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xC0 == 64;
                v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared
            }
            (Self::Private, IpAddr::V6(v6)) => {
                v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()
            }
            (Self::Network(network), address) => network.contains(&address),
        }
    }
}

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "private" {
            return Ok(Self::Private);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| format!("{address:?} is not an address"))?;
        let network = match bits {
            None => IpNet::from(address),
            Some(bits) => bits
                .parse()
                .ok()
                .and_then(|bits| IpNet::new(address, bits).ok())
                .ok_or("a network has at most 32 or 128 bits")?,
        };
        Ok(Self::Network(network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trusted_network_covers_its_own_addresses_only() {
        let covers = |network: &str, address: &str| {
            let network: TrustedProxy = network.parse().expect("a network");
            network.covers(address.parse().expect("an address"))
        };
        assert!(covers("10.1.0.0/16", "10.1.200.3") && !covers("10.1.0.0/16", "10.2.0.1"));
        assert!(covers("192.0.2.7", "192.0.2.7") && !covers("192.0.2.7", "192.0.2.8"));
        assert!(covers("0.0.0.0/0", "8.8.8.8") && !covers("0.0.0.0/0", "2001:db8::1"));
        assert!(
            covers("2001:db8::/32", "2001:db8:9::1") && !covers("2001:db8::/32", "2001:db9::1")
        );
        assert!(covers("10.0.0.0/8", "::ffff:10.0.0.1"), "an IPv4 address in IPv6 clothes");
        assert!(
            covers("private", "172.16.0.1")
                && covers("private", "fd00::1")
                && !covers("private", "8.8.8.8")
        );
        assert!(
            "10.0.0.0/33".parse::<TrustedProxy>().is_err()
                && "proxy".parse::<TrustedProxy>().is_err()
        );
    }
}
