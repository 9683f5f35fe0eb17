//! A router and the LAN behind it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::internet::forward;
use super::{Host, Nat};

/// A router with the interfaces `wan` and `lan`, and a LAN with the number of the home in its
/// addresses.
pub struct Home {
    lab: String,
    router: Host,
    number: u8,
}

impl Home {
    pub(super) fn new(lab: &str, core: &Host, router: Host, number: u8, nat: Nat) -> Self {
        let home = Self { lab: lab.to_owned(), router, number };
        let public = home.public_address();
        home.router.run(&format!("ip address add {public}/24 dev wan"));
        home.router.run("ip route add default via 203.0.113.1");
        home.router.run("ip link add lan type bridge");
        home.router.run("ip link set lan up");
        home.router.run(&format!("ip address add {}/24 dev lan", home.gateway()));
        forward(&home.router);
        home.set_nat(nat);
        // The internet knows where the IPv6 prefix of a home is, whether it is in use or not.
        core.run(&format!("ip route add 2001:db8:{number}::/64 via 2001:db8::1{number}"));
        home
    }

    /// The router's address on the internet.
    #[must_use]
    pub fn public_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, 10 + self.number)
    }

    /// The router's address in the LAN.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// An address of the LAN.
    #[must_use]
    pub fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, self.number, last)
    }

    /// An IPv6 address of the LAN, once [`Home::enable_ipv6`] was called.
    #[must_use]
    pub fn address_v6(&self, last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, u16::from(self.number), 0, 0, 0, 0, last)
    }

    /// The router itself.
    #[must_use]
    pub fn router(&self) -> &Host {
        &self.router
    }

    /// Changes how the router translates. A full cone forwards to the host with the address `.2`.
    pub fn set_nat(&self, nat: Nat) {
        self.set_nat_and(nat, "");
    }

    /// The same, with further nftables rules.
    pub fn set_nat_and(&self, nat: Nat, more: &str) {
        self.router.set_firewall(&(nat.rules(self.public_address(), self.address(2)) + more));
    }

    /// Forgets all mappings, as a restarted router does.
    pub fn forget_mappings(&self) {
        self.router.run("conntrack -F");
    }

    /// A machine in the LAN at `.last`, on the interface `eth0`.
    #[must_use]
    pub fn host(&self, name: &str, last: u8) -> Host {
        let host = Host::new(&self.lab, name).unwrap_or_else(|error| panic!("{error}"));
        self.plug_in(&host, "eth0");
        host.run(&format!("ip address add {}/24 dev eth0", self.address(last)));
        host.run(&format!("ip route add default via {}", self.gateway()));
        host
    }

    /// A cable from the LAN to an interface of a machine; it is up and has no address yet.
    pub fn plug_in(&self, host: &Host, interface: &str) {
        let port = format!("to-{}", host.name());
        self.router.connect(&port, host, interface);
        self.router.run(&format!("ip link set {port} master lan"));
    }

    /// Joins the LAN of another home to this one, in which that home's router has the address that
    /// ends in `last`: a second gateway. It takes no TCP connection over that began elsewhere.
    pub fn join_as_gateway(&self, other: &Self, last: u8) {
        let port = format!("to-gate{last}");
        self.router.connect(&port, &other.router, "to-lan");
        self.router.run(&format!("ip link set {port} master lan"));
        other.router.run("ip link set to-lan master lan");
        other.router.run(&format!("ip address add {}/24 dev lan", self.address(last)));
        other.router.run("sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0");
        let strict = "table ip strict {\n chain forward {\n  type filter hook forward priority -5;\n  ct state invalid drop\n }\n}\n";
        other.set_nat_and(Nat::PortRestricted, strict);
    }

    /// Keeps the machines of the LAN apart, as "client isolation" of an access point does.
    pub fn isolate(&self, host: &Host) {
        self.router.run(&format!("ip link set to-{} type bridge_slave isolated on", host.name()));
    }

    /// Gives the router and the LAN IPv6 by the prefix 2001:db8:NUMBER::/64.
    pub fn enable_ipv6(&self) {
        self.router.run(&format!("ip address add 2001:db8::1{}/64 dev wan nodad", self.number));
        self.router.run("ip route add default via 2001:db8::1");
        self.router.run(&format!("ip address add {}/64 dev lan nodad", self.address_v6(1)));
    }

    /// Gives a machine of the LAN the IPv6 address that ends in `last`, and the default route.
    pub fn give_ipv6(&self, host: &Host, last: u16) {
        host.run(&format!("ip address add {}/64 dev eth0 nodad", self.address_v6(last)));
        host.run(&format!("ip route add default via {}", self.address_v6(1)));
    }
}
