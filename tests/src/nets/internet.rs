//! The part of a lab that everyone reaches.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Home, Host, ImpairedLink, Nat};
use crate::netns::{PREFIX, remove_abandoned};
use crate::skip;

/// IPv4 address of the signaling server's host.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 50);
/// Its IPv6 address.
pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50);
/// Address of STUN and TURN, on the same host.
pub const STUN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 51);

/// A bridge with 203.0.113.0/24 and 2001:db8::/64, and the host of the servers on it.
pub struct Internet {
    lab: String,
    core: Host,
    server: Host,
}

impl Internet {
    /// An internet with the server's host. None (said loudly) where it cannot be made.
    ///
    /// # Panics
    /// With `CI=true` where it cannot be made, and if making it fails half-way.
    #[must_use]
    pub fn new(test: &str) -> Option<Self> {
        if !skip::can_run(test, true, &["ip", "nft", "nice", "turnserver", "conntrack"]) {
            return None;
        }
        remove_abandoned();
        static LABS: AtomicU32 = AtomicU32::new(0);
        // Apart from the numbers of `netns::Lab`.
        let lab =
            format!("{PREFIX}-{}-i{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let core = match Host::new(&lab, "core") {
            Ok(core) => core,
            Err(error) => {
                skip::refuse(test, &format!("no network namespaces: {error}"));
                return None;
            }
        };
        core.run("ip link add br0 type bridge");
        core.run("ip link set br0 up");
        core.run("ip address add 203.0.113.1/24 dev br0");
        core.run("ip address add 2001:db8::1/64 dev br0 nodad");
        forward(&core);
        let server = Host::new(&lab, "server").unwrap_or_else(|error| panic!("{error}"));
        let internet = Self { lab, core, server };
        internet.plug_in(&internet.server, "wan", None);
        for address in [SERVER, STUN] {
            internet.server.run(&format!("ip address add {address}/24 dev wan"));
        }
        internet.server.run(&format!("ip address add {SERVER_V6}/64 dev wan nodad"));
        internet.server.run("ip route add default via 203.0.113.1");
        internet.server.run("ip route add default via 2001:db8::1");
        Some(internet)
    }

    /// The host of the signaling server, STUN and TURN.
    #[must_use]
    pub fn server(&self) -> &Host {
        &self.server
    }

    /// The backbone itself: for rules and for cutting cables (`to-NAME`).
    #[must_use]
    pub fn core(&self) -> &Host {
        &self.core
    }

    /// A host without NAT at 203.0.113.`number` and 2001:db8::`number`.
    #[must_use]
    pub fn public_host(&self, name: &str, number: u8) -> Host {
        let host = self.host(name);
        self.plug_in(&host, "wan", None);
        host.run(&format!("ip address add 203.0.113.{number}/24 dev wan"));
        host.run(&format!("ip address add 2001:db8::{number}/64 dev wan nodad"));
        host.run("ip route add default via 203.0.113.1");
        host.run("ip route add default via 2001:db8::1");
        host
    }

    /// A router at 203.0.113.(10 + `number`) with the LAN 192.168.`number`.0/24.
    #[must_use]
    pub fn home(&self, number: u8, nat: Nat) -> Home {
        let router = self.host(&format!("router{number}"));
        self.plug_in(&router, "wan", None);
        Home::new(&self.lab, &self.core, router, number, nat)
    }

    /// The same; its way to the internet is an impaired link, perfect at first. Direction A is the
    /// internet, B the router.
    #[must_use]
    pub fn home_with_uplink(&self, number: u8, nat: Nat, seed: u64) -> (Home, ImpairedLink) {
        let router = self.host(&format!("router{number}"));
        let link = self.plug_in(&router, "wan", Some(seed));
        let link = link.unwrap_or_else(|| unreachable!("asked for"));
        (Home::new(&self.lab, &self.core, router, number, nat), link)
    }

    /// Unplugs the server's host, or plugs it in again.
    pub fn set_server_reachable(&self, reachable: bool) {
        self.core.run(&format!("ip link set to-server {}", if reachable { "up" } else { "down" }));
    }

    fn host(&self, name: &str) -> Host {
        Host::new(&self.lab, name).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A cable from the bridge to a host; with a seed, an impaired link.
    fn plug_in(&self, host: &Host, interface: &str, seed: Option<u64>) -> Option<ImpairedLink> {
        let port = format!("to-{}", host.name());
        let link = seed.map(|seed| ImpairedLink::new(&self.core, &port, host, interface, seed));
        if link.is_none() {
            self.core.connect(&port, host, interface);
        }
        self.core.run(&format!("ip link set {port} master br0"));
        link
    }
}

/// Lets a host forward between its interfaces.
pub(super) fn forward(host: &Host) {
    host.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    // Where the kernel has br_netfilter, bridged frames would go through the rules for routed
    // packets.
    let _ = host.try_run("sysctl -qw net.bridge.bridge-nf-call-iptables=0");
}
