//! The order in which a host's addresses are tried (RFC 8305 §4), and what is special about some of
//! them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A host with more addresses is tried at these only.
const MAX_ADDRESSES: usize = 64;

/// Families alternate, beginning with that of the first address; within a family the resolver's
/// order is kept. Addresses in `suspects`, which took a connection lately and then did not answer
/// on it, come last.
pub(super) fn ordered(resolved: &[SocketAddr], suspects: &[IpAddr]) -> Vec<SocketAddr> {
    let mut unique: Vec<SocketAddr> = Vec::new();
    for address in resolved {
        if !unique.contains(address) && unique.len() < MAX_ADDRESSES {
            unique.push(*address);
        }
    }
    let (last, first): (Vec<_>, Vec<_>) =
        unique.into_iter().partition(|address| suspects.contains(&address.ip()));
    let mut ordered = interleaved(&first);
    ordered.extend(interleaved(&last));
    ordered
}

fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (same, other): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv4() == first.is_ipv4());
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut interleaved = Vec::with_capacity(addresses.len());
    while interleaved.len() < addresses.len() {
        interleaved.extend(same.next());
        interleaved.extend(other.next());
    }
    interleaved
}

/// Addresses that belong to this machine, its link or a private network (RFC 1918, RFC 3927, RFC
/// 4193, RFC 4291): nothing outside of it answers for them.
pub(super) fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_local(IpAddr::V4(v4)),
            None => v6.is_loopback() || v6.is_unicast_link_local() || is_unique_local(v6),
        },
    }
}

fn is_unique_local(address: Ipv6Addr) -> bool {
    address.octets()[0] & 0xFE == 0xFC
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().expect(text), 443)).collect()
    }

    #[test]
    fn families_alternate_and_keep_their_own_order() {
        let resolved =
            addresses(&["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"]);
        let expected =
            addresses(&["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"]);
        assert_eq!(ordered(&resolved, &[]), expected);
    }

    #[test]
    fn the_family_that_the_resolver_prefers_is_first() {
        let resolved = addresses(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
        assert_eq!(ordered(&resolved, &[]), addresses(&["192.0.2.1", "2001:db8::1", "192.0.2.2"]));
        assert!(ordered(&[], &[]).is_empty());
    }

    #[test]
    fn an_address_that_fell_silent_after_connecting_is_tried_last() {
        let resolved = addresses(&["2001:db8::1", "2001:db8::2", "192.0.2.1"]);
        let suspects = [resolved[0].ip()];
        assert_eq!(
            ordered(&resolved, &suspects),
            addresses(&["2001:db8::2", "192.0.2.1", "2001:db8::1"])
        );
    }

    #[test]
    fn each_address_is_tried_once_and_not_all_of_thousands() {
        assert_eq!(ordered(&addresses(&["192.0.2.1", "192.0.2.1"]), &[]).len(), 1);
        let many: Vec<SocketAddr> =
            (0..5_000u32).map(|n| SocketAddr::new(IpAddr::V4(n.into()), 1)).collect();
        assert_eq!(ordered(&many, &[]).len(), MAX_ADDRESSES);
    }

    #[test]
    fn private_loopback_and_link_local_addresses_are_local() {
        for local in [
            "127.0.0.1",
            "127.8.8.8",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.5",
            "169.254.3.4",
            "::1",
            "fe80::1",
            "febf::1",
            "fd12::1",
            "fc00::1",
            "::ffff:192.168.1.5",
        ] {
            assert!(is_local(local.parse().expect(local)), "{local}");
        }
        for public in [
            "172.32.0.1",
            "192.169.0.1",
            "100.64.0.1",
            "8.8.8.8",
            "2001:db8::1",
            "fec0::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_local(public.parse().expect(public)), "{public}");
        }
    }
}
