//! Which addresses belong together.

use std::net::IpAddr;

/// Addresses that share a budget: one IPv4 address, or the /64 of an IPv6 address, all of which
/// belongs to one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKey {
    /// One IPv4 address.
    V4(u32),
    /// The first 64 bits of IPv6 addresses.
    V6(u64),
}

impl AddressKey {
    /// `None` for this machine itself: either the operator, or a proxy that was not named as
    /// trusted, behind which are many.
    pub fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(v4) => Some(Self::V4(v4.to_bits())),
            IpAddr::V6(v6) => Some(Self::V6((v6.to_bits() >> 64) as u64)),
        }
    }
}
