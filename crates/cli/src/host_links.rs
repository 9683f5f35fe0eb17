//! The links of a host: one for each address by which others may reach it.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use serde_json::{Value, json};
use voicemesh::over::local_addresses;
use voicemesh_renet::{HostKey, HostLink, ServerParameters};

use crate::text::harmless;

/// Where the call is served, and the links that lead there.
#[derive(Clone, Debug)]
pub(crate) struct HostLinks {
    listen: SocketAddr,
    has_both_families: bool,
    public: Vec<Public>,
    /// Those in the same network first.
    links: Vec<(HostLink, Reach)>,
    /// Netcode refuses a client that was given none of these.
    accepted: Vec<SocketAddr>,
    key: HostKey,
}

/// From where a link leads to the host, from the least trouble to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Machine,
    Network,
    Internet,
    Forwarded,
}

/// An address by which a router, or a name, leads here.
#[derive(Clone, Debug)]
struct Public {
    host: String,
    port: u16,
    addresses: Vec<SocketAddr>,
}

/// Why no call can be hosted.
#[derive(Debug)]
pub(crate) struct NoHost {
    pub what: String,
    /// What to change of the command line.
    pub step: &'static str,
}

impl HostLinks {
    /// Looks whether it can be served there, and by which addresses this machine may be reached.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub(crate) fn find(
        listen: SocketAddr,
        public: &[(String, u16)],
        key: HostKey,
    ) -> Result<Self, NoHost> {
        if matches!(listen.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local()) {
            return Err(NoHost {
                what: format!(
                    "No call can be hosted at {}: an address that begins with fe80 belongs to another network card on each machine.",
                    listen.ip()
                ),
                step: "Name another address with --listen.",
            });
        }
        let (listen, has_both_families) = bound(listen).map_err(|error| NoHost {
            what: format!("No call can be hosted at {listen}: {}.", bind_words(error.kind())),
            step: "Name another address or port with --listen.",
        })?;
        let public: Result<Vec<Public>, NoHost> = public.iter().map(Public::find).collect();
        Ok(Self::new(listen, has_both_families, &local_addresses(), &public?, key))
    }

    fn new(
        listen: SocketAddr,
        has_both_families: bool,
        local: &[IpAddr],
        public: &[Public],
        key: HostKey,
    ) -> Self {
        let at = |ip: IpAddr| SocketAddr::new(ip, listen.port());
        let is_served = |ip: &IpAddr| has_both_families || ip.is_ipv4() == listen.is_ipv4();
        let own: Vec<IpAddr> = match listen.ip().is_unspecified() {
            true => local.iter().copied().filter(is_served).collect(),
            false => vec![listen.ip()],
        };
        let mut links: Vec<(HostLink, Reach)> =
            own.iter().map(|ip| (HostLink::from((at(*ip), key.clone())), reach(*ip))).collect();
        links.extend(public.iter().filter_map(|Public { host, port, .. }| {
            Some((HostLink::new(host, *port, key.clone()).ok()?, Reach::Forwarded))
        }));
        links.sort_by_key(|(_, reach)| *reach);
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        // Those on this very machine may come, too, by a link that is written by hand.
        let loopback = loopback.into_iter().filter(|_| listen.ip().is_unspecified());
        let mut accepted: Vec<SocketAddr> =
            own.into_iter().chain(loopback.filter(is_served)).map(at).collect();
        accepted.extend(public.iter().flat_map(|public| &public.addresses));
        let public = public.to_vec();
        Self { listen, has_both_families, public, links, accepted, key }
    }

    /// This machine has these addresses now. Whether others may reach it by a link that is new.
    pub(crate) fn follow(&mut self, local: &[IpAddr]) -> bool {
        if !self.listen.ip().is_unspecified() {
            return false;
        }
        let Self { listen, has_both_families, ref public, ref key, .. } = *self;
        let now = Self::new(listen, has_both_families, local, public, key.clone());
        let is_known = |place: String| self.links.iter().any(|(link, _)| link.place() == place);
        let mut of_others = now.links.iter().filter(|(_, reach)| *reach != Reach::Machine);
        let has_new = of_others.any(|(link, _)| !is_known(link.place()));
        *self = now;
        has_new
    }

    /// What the network takes to serve. `clients`: how many may be there at one time.
    pub(crate) fn server_parameters(&self, clients: u16) -> ServerParameters {
        ServerParameters {
            listen: self.listen,
            public: self.accepted.clone(),
            key: self.key.netcode_key(),
            clients: clients.into(),
        }
    }

    /// The secret of the links.
    pub(crate) fn key(&self) -> &HostKey {
        &self.key
    }

    /// For people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let port = self.listen.port();
        let mut lines = vec![match self.links.len() {
            0 => format!(
                "No address was found by which others reach this machine. Name one with --public; UDP port {port} is open."
            ),
            _ => "Others join by a link; who has one is let in:".to_owned(),
        }];
        for (link, reach) in &self.links {
            lines.push(format!("  {link}"));
            lines.push(format!("    {}", note(*reach, link.port(), port)));
        }
        if self.links.last().is_some_and(|(_, furthest)| *furthest == Reach::Network) {
            lines.push(format!(
                "For others on the internet, let your router forward UDP port {port} to this machine, and name its address with --public HOST:{port}."
            ));
        }
        lines
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let links = self.links.iter().map(|(link, reach)| {
            let reach = match reach {
                Reach::Network => "network",
                Reach::Machine => "machine",
                Reach::Internet => "internet",
                Reach::Forwarded => "forwarded",
            };
            json!({ "link": link.to_string(), "reach": reach })
        });
        json!({ "port": self.listen.port(), "links": links.collect::<Vec<_>>() })
    }
}

impl Public {
    fn find((host, port): &(String, u16)) -> Result<Self, NoHost> {
        let addresses = resolved(host, *port).map_err(|what| NoHost {
            what,
            step: "Check what --public names, and whether this machine is online.",
        })?;
        Ok(Self { host: host.clone(), port: *port, addresses })
    }
}

/// The addresses of a name, or the address itself.
///
/// # Errors
///
/// A sentence, if there are none.
pub(crate) fn resolved(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found: Vec<SocketAddr> =
        (host, port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    match found.is_empty() {
        true => Err(format!("The name “{}” has no address.", harmless(host))),
        false => Ok(found),
    }
}

/// The address with the port that the system gives for port 0, and whether both families of
/// addresses are served there.
fn bound(listen: SocketAddr) -> std::io::Result<(SocketAddr, bool)> {
    let socket = UdpSocket::bind(listen)?;
    let address = socket.local_addr()?;
    let is_any = listen.is_ipv6() && listen.ip().is_unspecified();
    let ipv4 = (Ipv4Addr::UNSPECIFIED, address.port());
    // Where the socket serves both, the port is taken.
    Ok((address, is_any && UdpSocket::bind(ipv4).is_err()))
}

fn bind_words(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::AddrInUse => "another program uses this port",
        ErrorKind::AddrNotAvailable => "this machine does not have this address",
        ErrorKind::PermissionDenied => "this user may not use this port",
        _ => "the system refuses it",
    }
}

fn reach(ip: IpAddr) -> Reach {
    let is_of_network = match ip {
        IpAddr::V4(ip) => {
            // RFC 6598: VPNs use it, too.
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    match (ip.is_loopback(), is_of_network) {
        (true, _) => Reach::Machine,
        (false, true) => Reach::Network,
        (false, false) => Reach::Internet,
    }
}

/// Whether only the same network, or this machine, leads there.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    reach(ip) <= Reach::Network
}

fn note(reach: Reach, link_port: u16, port: u16) -> String {
    match reach {
        Reach::Network => "in the same network or VPN; no port has to be forwarded".to_owned(),
        Reach::Machine => "on this machine alone".to_owned(),
        Reach::Internet => format!("from the internet, where firewalls let UDP port {port} in"),
        Reach::Forwarded => format!(
            "from the internet, where the router forwards UDP port {link_port} to port {port} of this machine"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    fn links(listen: &str, has_both_families: bool, public: &[Public]) -> HostLinks {
        let local = ips(&["203.0.113.9", "2001:db8::9", "192.168.1.5", "100.101.2.3", "fd00::5"]);
        let listen = listen.parse().expect("an address");
        HostLinks::new(listen, has_both_families, &local, public, HostKey::random())
    }

    fn places(links: &HostLinks) -> Vec<String> {
        links.links.iter().map(|(link, _)| link.place()).collect()
    }

    #[test]
    fn links_of_the_same_network_come_first_and_the_others_say_what_they_need() {
        let public = Public {
            host: "party.example.org".to_owned(),
            port: 9000,
            addresses: vec!["198.51.100.7:9000".parse().expect("an address")],
        };
        let all = links("0.0.0.0:7788", false, &[public]);
        assert_eq!(
            places(&all),
            ["192.168.1.5:7788", "100.101.2.3:7788", "203.0.113.9:7788", "party.example.org:9000"]
        );
        let lines = all.lines().join("\n");
        assert_eq!(lines.matches("no port has to be forwarded").count(), 2, "{lines}");
        assert!(lines.contains("where firewalls let UDP port 7788 in"), "{lines}");
        assert!(lines.contains("forwards UDP port 9000 to port 7788"), "{lines}");
        // A client that comes by any of them is let in.
        let accepted = all.server_parameters(4).public;
        for address in
            ["192.168.1.5:7788", "203.0.113.9:7788", "198.51.100.7:9000", "127.0.0.1:7788"]
        {
            assert!(accepted.contains(&address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn addresses_of_the_other_family_have_links_only_where_they_are_served() {
        assert_eq!(
            places(&links("[::]:7788", false, &[])),
            ["[fd00::5]:7788", "[2001:db8::9]:7788"]
        );
        assert_eq!(places(&links("[::]:7788", true, &[])).len(), 5);
        assert_eq!(places(&links("192.168.1.5:1", false, &[])), ["192.168.1.5:1"]);
    }

    #[test]
    fn who_can_be_reached_in_the_own_network_only_reads_what_the_internet_needs() {
        let lines = links("192.168.1.5:7788", false, &[]).lines().join("\n");
        assert!(lines.contains("--public HOST:7788"), "{lines}");
        for elsewhere in ["203.0.113.9:7788", "127.0.0.1:7788"] {
            let lines = links(elsewhere, false, &[]).lines().join("\n");
            assert!(!lines.contains("--public"), "{lines}");
        }
        let nowhere =
            HostLinks::new(([0; 4], 7788).into(), false, &[], &[], HostKey::random()).lines();
        assert!(nowhere[0].starts_with("No address was found"), "{nowhere:?}");
    }

    #[test]
    fn an_address_that_comes_later_has_a_link_and_one_that_goes_has_none() {
        let mut all = links("0.0.0.0:7788", false, &[]);
        assert!(!all.follow(&ips(&["192.168.1.5", "203.0.113.9", "100.101.2.3", "2001:db8::9"])));
        assert!(all.follow(&ips(&["192.168.1.5", "10.8.0.2"])), "a VPN");
        assert_eq!(places(&all), ["192.168.1.5:7788", "10.8.0.2:7788"]);
        assert!(!all.follow(&ips(&["127.0.0.1"])), "no one else comes by that");
        assert!(all.follow(&ips(&["192.168.1.5"])), "it is back");
        let mut one = links("192.168.1.5:7788", false, &[]);
        assert!(!one.follow(&ips(&["10.8.0.2"])));
        assert_eq!(places(&one), ["192.168.1.5:7788"]);
    }

    #[test]
    fn an_address_that_each_machine_writes_otherwise_has_no_link() {
        let listen = "[fe80::1]:7788".parse().expect("an address");
        let why = HostLinks::find(listen, &[], HostKey::random()).expect_err("no link leads there");
        assert!(why.what.contains("begins with fe80") && why.step.contains("--listen"), "{why:?}");
    }

    #[test]
    fn a_port_that_is_taken_is_said_with_what_to_do() {
        let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let listen = taken.local_addr().expect("its address");
        let why = HostLinks::find(listen, &[], HostKey::random()).expect_err("it is taken");
        assert!(why.what.contains("another program uses this port"), "{why:?}");
        assert!(why.step.contains("--listen"), "{why:?}");
    }
}
