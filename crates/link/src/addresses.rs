//! Which of this machine's addresses get a socket, and in which order.
//!
//! A machine with containers, virtual machines and tunnels has many addresses, of which one or two
//! lead anywhere. First come the source addresses of the routes to the server and to the internet,
//! then the addresses of cards, then of bridges and tunnels. [`LOCAL_ADDRESSES_PER_FAMILY`] bounds
//! what is left.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::limits::LOCAL_ADDRESSES_PER_FAMILY;

/// Addresses that a default route covers, one of each family. Nothing is sent to them.
pub const FAR_AWAY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30)),
];

/// Which of this machine's addresses links use.
#[derive(Clone, Debug)]
pub(crate) enum Addresses {
    /// Those of all interfaces when a link is opened, best first.
    OfInterfaces { server: Option<IpAddr> },
    /// These and no others.
    Only(Vec<IpAddr>),
}

impl Addresses {
    pub(crate) fn to_bind(&self) -> Vec<SocketAddr> {
        match self {
            Self::OfInterfaces { server } => of_interfaces(*server),
            Self::Only(addresses) => addresses.iter().map(|&ip| SocketAddr::new(ip, 0)).collect(),
        }
    }
}

/// One address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalAddress {
    pub(crate) interface: String,
    pub(crate) ip: IpAddr,
    pub(crate) kind: InterfaceKind,
}

/// What an interface is, from the most to the least promising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "only Linux tells these kinds apart")
)]
pub(crate) enum InterfaceKind {
    /// A card, or anything not known to be one of the following.
    Card,
    /// A tunnel or bridge that routes lead through.
    RoutedVirtual,
    /// A tunnel or bridge for its own network only: containers, virtual machines.
    Virtual,
    /// Without a carrier: nothing is attached.
    Down,
}

/// The addresses to bind, best first.
pub(crate) fn of_interfaces(server: Option<IpAddr>) -> Vec<SocketAddr> {
    let found = rtc::shared::ifaces::ifaces()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|interface| {
            let ip = interface.addr?.ip();
            Some(LocalAddress {
                kind: system::kind_of(&interface.name),
                interface: interface.name,
                ip,
            })
        })
        .collect();
    let preferred: Vec<IpAddr> =
        server.iter().chain(&FAR_AWAY).filter_map(|&to| source_address((to, 9).into())).collect();
    let ranked = rank(found, &preferred);
    choose(ranked, |ip| can_bind(SocketAddr::new(ip, 0)))
        .into_iter()
        .map(|ip| SocketAddr::new(ip, 0))
        .collect()
}

/// The addresses by which others may reach this machine, best first; those of loopback if there is
/// no other.
pub fn local_addresses() -> Vec<IpAddr> {
    of_interfaces(None).iter().map(SocketAddr::ip).collect()
}

/// The address that packets to `to` leave from now; none without a route. Connecting a UDP socket
/// looks the route up and sends nothing.
pub fn source_address(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(to).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!source.is_unspecified()).then_some(source)
}

/// Orders addresses: `preferred` first, in their order, then by kind of interface. Leaves out what
/// cannot be used. Loopback addresses are used only if there is no other.
fn rank(mut found: Vec<LocalAddress>, preferred: &[IpAddr]) -> Vec<LocalAddress> {
    found.retain(|address| is_usable(&address.ip));
    if found.iter().any(|address| !address.ip.is_loopback()) {
        found.retain(|address| !address.ip.is_loopback());
    }
    let mut seen = BTreeSet::new();
    found.retain(|address| seen.insert(address.ip));
    found.sort_by_key(|address| {
        let preference =
            preferred.iter().position(|ip| *ip == address.ip).unwrap_or(preferred.len());
        // An IPv4 link-local address is what a machine without DHCP gives itself.
        let is_link_local = matches!(address.ip, IpAddr::V4(ip) if ip.is_link_local());
        (preference, is_link_local, address.kind)
    });
    found
}

/// The first addresses of each family that can be bound.
fn choose(ranked: Vec<LocalAddress>, can_bind: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    let mut chosen: Vec<IpAddr> = Vec::new();
    for LocalAddress { interface, ip, kind } in ranked {
        let of_family = chosen.iter().filter(|other| other.is_ipv4() == ip.is_ipv4()).count();
        if of_family >= LOCAL_ADDRESSES_PER_FAMILY {
            tracing::debug!(%interface, %ip, ?kind, "a local address gets no socket: there are too many");
        } else if can_bind(ip) {
            chosen.push(ip);
        } else {
            tracing::debug!(%interface, %ip, ?kind, "a local address gets no socket: it cannot be bound");
        }
    }
    chosen
}

/// IPv6 link-local addresses mean nothing without their interface, which a candidate cannot name.
fn is_usable(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_unicast_link_local(),
    }
}

/// An interface that is down or still asking for its address cannot be bound, and the crate would
/// report an error.
fn can_bind(address: SocketAddr) -> bool {
    UdpSocket::bind(address).is_ok()
}

/// What Linux says about interfaces in `/sys` and `/proc`.
#[cfg(target_os = "linux")]
mod system {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::path::Path;

    use super::InterfaceKind;

    /// ARPHRD_NONE, _PPP, _TUNNEL, _TUNNEL6, _SIT, _IPGRE, _IP6GRE: links without addresses of
    /// their own.
    const TUNNELS: [&str; 7] = ["65534", "512", "768", "769", "776", "778", "823"];

    pub(super) fn kind_of(interface: &str) -> InterfaceKind {
        let directory = Path::new("/sys/class/net").join(interface);
        let read = |file: &str| std::fs::read_to_string(directory.join(file)).unwrap_or_default();
        if read("carrier").trim() == "0" {
            return InterfaceKind::Down;
        }
        let is_virtual = directory.join("bridge").exists()
            || directory.join("tun_flags").exists()
            || TUNNELS.contains(&read("type").trim());
        match (is_virtual, is_virtual && leads_further(interface)) {
            (false, _) => InterfaceKind::Card,
            (true, true) => InterfaceKind::RoutedVirtual,
            (true, false) => InterfaceKind::Virtual,
        }
    }

    /// Whether a route goes through the interface to more than the network it is attached to.
    fn leads_further(interface: &str) -> bool {
        let own: Vec<IpAddr> = rtc::shared::ifaces::ifaces()
            .unwrap_or_default()
            .into_iter()
            .filter(|other| other.name == interface)
            .filter_map(|other| Some(other.addr?.ip()))
            .collect();
        let v4 = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        let v6 = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
        v4.lines()
            .filter_map(|line| route_v4(line, interface))
            .any(|route| route.leads_beyond(&own))
            || v6
                .lines()
                .filter_map(|line| route_v6(line, interface))
                .any(|route| route.leads_beyond(&own))
    }

    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Route {
        destination: IpAddr,
        prefix_bits: u32,
        has_gateway: bool,
    }

    impl Route {
        pub(super) fn leads_beyond(&self, own: &[IpAddr]) -> bool {
            self.has_gateway || !own.iter().any(|ip| self.covers(*ip))
        }

        fn covers(&self, ip: IpAddr) -> bool {
            match (self.destination, ip) {
                (IpAddr::V4(to), IpAddr::V4(ip)) => {
                    let mask = u32::MAX.checked_shl(32 - self.prefix_bits).unwrap_or(0);
                    to.to_bits() & mask == ip.to_bits() & mask
                }
                (IpAddr::V6(to), IpAddr::V6(ip)) => {
                    let mask = u128::MAX.checked_shl(128 - self.prefix_bits).unwrap_or(0);
                    to.to_bits() & mask == ip.to_bits() & mask
                }
                _ => false,
            }
        }
    }

    /// `Iface Destination Gateway Flags RefCnt Use Metric Mask …`, addresses in hexadecimal and the
    /// host's byte order.
    pub(super) fn route_v4(line: &str, interface: &str) -> Option<Route> {
        let mut fields = line.split_whitespace();
        if fields.next() != Some(interface) {
            return None;
        }
        let mut address = |skip: usize| {
            Some(Ipv4Addr::from(u32::from_str_radix(fields.nth(skip)?, 16).ok()?.to_ne_bytes()))
        };
        let (destination, gateway, mask) = (address(0)?, address(0)?, address(4)?);
        Some(Route {
            destination: destination.into(),
            prefix_bits: mask.to_bits().count_ones(),
            has_gateway: !gateway.is_unspecified(),
        })
    }

    /// `Destination Prefix Source Prefix NextHop … Iface`, in hexadecimal.
    pub(super) fn route_v6(line: &str, interface: &str) -> Option<Route> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [destination, prefix, _, _, gateway, .., name] = fields[..] else { return None };
        if name != interface {
            return None;
        }
        let address =
            |field: &str| Some(Ipv6Addr::from_bits(u128::from_str_radix(field, 16).ok()?));
        let destination = address(destination)?;
        let prefix_bits = u32::from_str_radix(prefix, 16).ok()?;
        // Multicast and link-local routes exist on every interface.
        if destination.is_multicast() || destination.is_unicast_link_local() {
            return None;
        }
        Some(Route {
            destination: destination.into(),
            prefix_bits,
            has_gateway: !address(gateway)?.is_unspecified(),
        })
    }
}

/// Elsewhere the name has to do.
#[cfg(not(target_os = "linux"))]
mod system {
    use super::InterfaceKind;

    const VIRTUAL: [&str; 12] = [
        "bridge",
        "docker",
        "veth",
        "virbr",
        "vmnet",
        "vboxnet",
        "vethernet",
        "tun",
        "tap",
        "utun",
        "ipsec",
        "wg",
    ];

    pub(super) fn kind_of(interface: &str) -> InterfaceKind {
        let name = interface.to_ascii_lowercase();
        if VIRTUAL.iter().any(|prefix| name.starts_with(prefix)) {
            InterfaceKind::Virtual
        } else {
            InterfaceKind::Card
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(interface: &str, ip: &str, kind: InterfaceKind) -> LocalAddress {
        LocalAddress { interface: interface.to_owned(), ip: ip.parse().unwrap(), kind }
    }

    fn chosen(found: Vec<LocalAddress>, preferred: &[&str]) -> Vec<String> {
        let preferred: Vec<IpAddr> = preferred.iter().map(|ip| ip.parse().unwrap()).collect();
        choose(rank(found, &preferred), |_| true).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn any_number_of_bridges_leaves_a_card_its_place() {
        let mut found: Vec<_> = (0..40)
            .map(|n| address(&format!("br-{n}"), &format!("172.{n}.0.1"), InterfaceKind::Virtual))
            .collect();
        found.push(address("tun0", "10.8.0.2", InterfaceKind::RoutedVirtual));
        found.push(address("eth1", "10.0.0.2", InterfaceKind::Card));
        found.push(address("eth0", "192.168.1.2", InterfaceKind::Card));
        let chosen = chosen(found, &["192.168.1.2"]);
        assert_eq!(chosen[..4], ["192.168.1.2", "10.0.0.2", "10.8.0.2", "172.0.0.1"]);
        assert_eq!(chosen.len(), LOCAL_ADDRESSES_PER_FAMILY);
    }

    #[test]
    fn the_way_to_the_server_comes_first_even_through_a_tunnel() {
        let found = vec![
            address("eth0", "192.168.1.2", InterfaceKind::Card),
            address("wg0", "10.9.0.2", InterfaceKind::Virtual),
            address("eth1", "10.0.0.2", InterfaceKind::Card),
        ];
        assert_eq!(
            chosen(found, &["10.9.0.2", "10.0.0.2"]),
            ["10.9.0.2", "10.0.0.2", "192.168.1.2"]
        );
    }

    #[test]
    fn families_are_bounded_apart_and_nothing_comes_twice() {
        let mut found: Vec<_> =
            (1..20).map(|n| address("eth0", &format!("10.0.0.{n}"), InterfaceKind::Card)).collect();
        found.push(address("eth0", "2001:db8::1", InterfaceKind::Card));
        found.push(address("eth0", "2001:db8::1", InterfaceKind::Card));
        let chosen = chosen(found, &[]);
        assert_eq!(chosen.len(), LOCAL_ADDRESSES_PER_FAMILY + 1);
        assert_eq!(chosen.iter().filter(|ip| *ip == "2001:db8::1").count(), 1);
    }

    #[test]
    fn loopback_is_for_machines_without_a_network_and_link_local_comes_last() {
        let loopback = || {
            vec![
                address("lo", "127.0.0.1", InterfaceKind::Card),
                address("lo", "::1", InterfaceKind::Card),
            ]
        };
        assert_eq!(chosen(loopback(), &[]), ["127.0.0.1", "::1"]);
        let mut found = loopback();
        found.push(address("eth0", "169.254.7.7", InterfaceKind::Card));
        found.push(address("eth0", "fe80::1", InterfaceKind::Card));
        found.push(address("docker0", "172.17.0.1", InterfaceKind::Virtual));
        assert_eq!(chosen(found, &[]), ["172.17.0.1", "169.254.7.7"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn routes_of_a_tunnel_lead_further_and_those_of_a_bridge_do_not() {
        let own = ["10.8.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let hex = |ip: &str| {
            format!("{:08X}", u32::from_ne_bytes(ip.parse::<Ipv4Addr>().unwrap().octets()))
        };
        let line = |to: &str, gateway: &str, mask: &str| {
            format!("tun0\t{}\t{}\t0001\t0\t0\t0\t{}\t0\t0\t0", hex(to), hex(gateway), hex(mask))
        };
        let leads = |line: &str| system::route_v4(line, "tun0").unwrap().leads_beyond(&own);
        assert!(!leads(&line("10.8.0.0", "0.0.0.0", "255.255.255.0")));
        assert!(leads(&line("203.0.114.0", "0.0.0.0", "255.255.255.0")));
        assert!(leads(&line("0.0.0.0", "10.8.0.1", "0.0.0.0")));
        assert_eq!(system::route_v4(&line("0.0.0.0", "0.0.0.0", "0.0.0.0"), "eth0"), None);
        let v6 = |to: &str, bits: u32| {
            let to = to.parse::<Ipv6Addr>().unwrap().to_bits();
            format!(
                "{to:032x} {bits:02x} {0:032x} 00 {0:032x} 00000100 00000001 00000000 00000001 tun0",
                0
            )
        };
        let leads =
            |line: &str| system::route_v6(line, "tun0").map(|route| route.leads_beyond(&own));
        assert_eq!(leads(&v6("fd00::", 64)), Some(false));
        assert_eq!(leads(&v6("2001:db8::", 32)), Some(true));
        assert_eq!(leads(&v6("fe80::", 64)), None);
    }
}
