//! Requests that netcode has answered and keeps until they are confirmed or their token expires.
//!
//! renetcode 2.0.0 has 4,096 places for them and nothing that empties one before its token expires,
//! which is what the client says. So one address gets few, and none for longer than a token of ours
//! is good.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::parameters::TOKEN_SECONDS;

/// Of one IPv4 address, or one IPv6 network of 64 bits: a household's, or a company's at a time.
const OF_ADDRESS: usize = 64;
/// Clocks may be wrong by two days.
const LATEST_SECONDS: u64 = 2 * TOKEN_SECONDS;

/// With the second since 1970 in which each expires.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    kept: BTreeMap<SocketAddr, u64>,
    swept_at_s: u64,
}

impl Requests {
    /// Whether netcode may see a request.
    pub(crate) fn admit(&self, now_s: u64, from: SocketAddr, expires_at_s: u64) -> bool {
        self.kept.contains_key(&from)
            || expires_at_s <= now_s.saturating_add(LATEST_SECONDS)
                && self.of_address(from.ip()) < OF_ADDRESS
    }

    /// Netcode keeps it. A repeated request does not change when it expires.
    pub(crate) fn note(&mut self, from: SocketAddr, expires_at_s: u64) {
        self.kept.entry(from).or_insert(expires_at_s);
    }

    /// It has become a connection.
    pub(crate) fn forget(&mut self, from: SocketAddr) {
        self.kept.remove(&from);
    }

    pub(crate) fn forget_expired(&mut self, now_s: u64) {
        if self.swept_at_s != now_s {
            self.swept_at_s = now_s;
            self.kept.retain(|_, expires_at_s| now_s <= *expires_at_s);
        }
    }

    fn of_address(&self, address: IpAddr) -> usize {
        let (first, last) = match address {
            IpAddr::V4(_) => (address, address),
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                let ip = |host: u64| IpAddr::V6(Ipv6Addr::from(network | u128::from(host)));
                (ip(0), ip(u64::MAX))
            }
        };
        self.kept.range(SocketAddr::new(first, 0)..=SocketAddr::new(last, u16::MAX)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_or_network_of_ipv6_has_few_places_and_others_have_theirs() {
        let mut requests = Requests::default();
        for network in ["192.0.2.1:", "[2001:db8::7]:"] {
            for port in 1..=OF_ADDRESS {
                let from = format!("{network}{port}").parse().unwrap();
                assert!(requests.admit(100, from, 200));
                requests.note(from, 200);
            }
        }
        for (from, expected) in [
            ("192.0.2.1:9", true),
            ("192.0.2.1:9000", false),
            ("192.0.2.2:9000", true),
            ("[2001:db8::8]:9000", false),
            ("[2001:db8:0:1::8]:9000", true),
        ] {
            assert_eq!(requests.admit(100, from.parse().unwrap(), 200), expected, "{from}");
        }
        requests.forget("192.0.2.1:9".parse().unwrap());
        assert!(requests.admit(100, "192.0.2.1:9000".parse().unwrap(), 200));
    }

    #[test]
    fn places_are_free_when_tokens_expire_which_is_soon() {
        let mut requests = Requests::default();
        let from = "192.0.2.1:1".parse().unwrap();
        assert!(!requests.admit(100, from, u64::MAX));
        assert!(!requests.admit(100, from, 101 + LATEST_SECONDS));
        assert!(requests.admit(100, from, 100 + LATEST_SECONDS));
        requests.note(from, 150);
        requests.forget_expired(150);
        assert_eq!(requests.kept.len(), 1);
        requests.forget_expired(151);
        assert!(requests.kept.is_empty());
    }
}
