//! Hosts in network namespaces behind a router, made and removed by the test itself (Linux, root).
//!
//! ```text
//! host 1 ── 10.x.1.0/24 ──┐
//! host 2 ── 10.x.2.0/24 ──┤ router: forwards, and loses what it has to (nftables)
//! host 3 ── 10.x.3.0/24 ──┘
//! ```
//!
//! What the router loses vanishes in silence, as behind a real firewall: no host gets an error, no
//! local send fails. Namespaces are named after the test's process; those of processes that no
//! longer exist are removed by the next lab.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::skip;

/// Every namespace of ours begins with this.
pub(crate) const PREFIX: &str = "voicemesh";

/// Some hosts and the router between them; removed when dropped. Drop the programs inside first.
pub struct Lab {
    router: String,
    hosts: Vec<Host>,
    losses: Vec<Loss>,
}

/// One machine of a lab, with a loopback and one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    namespace: String,
    number: usize,
    /// Its address at the router.
    pub address: Ipv4Addr,
}

/// What the router loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// UDP between two hosts, both ways; TCP passes.
    Udp(Host, Host),
    /// So many of a hundred UDP packets between two hosts, each at random, both ways.
    SomeUdp(Host, Host, u8),
    /// Everything between two hosts, both ways.
    Between(Host, Host),
    /// Everything from and to one host.
    All(Host),
}

impl Lab {
    /// A lab of `hosts` machines, all of which reach each other. None (said loudly) where it cannot
    /// be made.
    ///
    /// # Panics
    /// With `CI=true` where it cannot be made, and if making it fails half-way.
    #[must_use]
    pub fn new(test: &str, hosts: usize) -> Option<Self> {
        if !skip::can_run(test, true, &["ip", "nft"]) {
            return None;
        }
        remove_abandoned();
        static LABS: AtomicU32 = AtomicU32::new(0);
        let lab =
            format!("{PREFIX}-{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let mut made =
            Self { router: format!("{lab}-router"), hosts: Vec::new(), losses: Vec::new() };
        if let Err(error) = add_namespace(&made.router) {
            skip::refuse(test, &format!("no network namespaces: {error}"));
            return None;
        }
        in_namespace(&made.router, &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        for number in 1..=hosts {
            made.add_host(&lab, number);
        }
        if let Err(error) = made.load_rules() {
            skip::refuse(test, &format!("no nftables: {error}"));
            return None;
        }
        Some(made)
    }

    /// A host, counted from 0.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn host(&self, index: usize) -> Host {
        self.hosts[index].clone()
    }

    /// One more machine, behind `gate`, which becomes a NAT router for it: each destination sees
    /// another port (endpoint- dependent mapping, "symmetric"; RFC 4787 §4.1), and nothing comes in
    /// that was not asked for.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn behind(&mut self, gate: &Host) -> Host {
        let namespace = format!("{}-inside", gate.namespace);
        add_namespace(&namespace).unwrap_or_else(|error| panic!("{error}"));
        let octet =
            u8::try_from(gate.number).unwrap_or_else(|_| panic!("{} is too many", gate.number));
        let (address, gateway) =
            (Ipv4Addr::new(192, 168, octet, 2), Ipv4Addr::new(192, 168, octet, 1));
        let inside = |command: &[&str]| in_namespace(&namespace, command);
        inside(&[
            "ip",
            "link",
            "add",
            "up0",
            "type",
            "veth",
            "peer",
            "name",
            "inside0",
            "netns",
            &gate.namespace,
        ]);
        inside(&["ip", "address", "add", &format!("{address}/24"), "dev", "up0"]);
        inside(&["ip", "link", "set", "up0", "up"]);
        let outside = |command: &[&str]| in_namespace(&gate.namespace, command);
        outside(&["ip", "address", "add", &format!("{gateway}/24"), "dev", "inside0"]);
        outside(&["ip", "link", "set", "inside0", "up"]);
        inside(&["ip", "route", "add", "default", "via", &gateway.to_string()]);
        outside(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        for rules in [
            "add table ip nat",
            "add chain ip nat post { type nat hook postrouting priority 100; }",
            "add rule ip nat post oifname \"up0\" masquerade random,fully-random",
            "add chain ip nat forward { type filter hook forward priority 0; }",
            "add rule ip nat forward iifname \"up0\" ct state new drop",
        ] {
            outside(&["nft", rules]);
        }
        let host = Host { namespace, number: gate.number, address };
        self.hosts.push(host.clone());
        host
    }

    /// Begins to lose something; packets of connections that exist are lost too.
    pub fn lose(&mut self, loss: Loss) {
        self.losses.push(loss);
        self.load_rules().unwrap_or_else(|error| panic!("nft: {error}"));
    }

    /// Ends a loss.
    ///
    /// # Panics
    /// If it was not lost.
    pub fn restore(&mut self, loss: &Loss) {
        let index = self.losses.iter().position(|known| known == loss);
        self.losses.remove(index.unwrap_or_else(|| panic!("{loss:?} is not lost now")));
        self.load_rules().unwrap_or_else(|error| panic!("nft: {error}"));
    }

    /// Pulls the plug of a host (its interface loses the carrier) or puts it back.
    pub fn plug(&self, host: &Host, plugged: bool) {
        let interface = format!("to{}", host.number);
        in_namespace(
            &self.router,
            &["ip", "link", "set", &interface, if plugged { "up" } else { "down" }],
        );
    }

    /// Gives a host another address of its network: the old one goes, and with it every route.
    pub fn renumber(&self, host: &Host, last: u8) {
        let [a, b, c, _] = host.address.octets();
        let inside = |command: &[&str]| in_namespace(&host.namespace, command);
        inside(&["ip", "address", "delete", &format!("{}/24", host.address), "dev", "up0"]);
        inside(&["ip", "address", "add", &format!("{a}.{b}.{c}.{last}/24"), "dev", "up0"]);
        inside(&["ip", "route", "replace", "default", "via", &format!("{a}.{b}.{c}.1")]);
    }

    /// Moves a host to another interface, behind a router that translates its addresses. The first
    /// interface is gone.
    pub fn move_behind_nat(&self, host: &Host) {
        let inside = |command: &[&str]| in_namespace(&host.namespace, command);
        let router = |command: &[&str]| in_namespace(&self.router, command);
        let (number, far) = (host.number, format!("nat{}", host.number));
        inside(&["ip", "address", "flush", "dev", "up0"]);
        inside(&["ip", "link", "set", "up0", "down"]);
        inside(&[
            "ip",
            "link",
            "add",
            "up1",
            "type",
            "veth",
            "peer",
            "name",
            &far,
            "netns",
            &self.router,
        ]);
        router(&["ip", "address", "add", &format!("10.78.{number}.1/24"), "dev", &far]);
        router(&["ip", "link", "set", &far, "up"]);
        let translation = "table ip translation {\n chain post {\n type nat hook postrouting priority 100;\n \
                           ip saddr 10.78.0.0/16 masquerade\n }\n}";
        router(&["nft", translation]);
        inside(&["ip", "address", "add", &format!("10.78.{number}.2/24"), "dev", "up1"]);
        inside(&["ip", "link", "set", "up1", "up"]);
        inside(&["ip", "route", "replace", "default", "via", &format!("10.78.{number}.1")]);
    }

    fn add_host(&mut self, lab: &str, number: usize) {
        let namespace = format!("{lab}-{number}");
        add_namespace(&namespace).unwrap_or_else(|error| panic!("{error}"));
        // Addresses need not differ between labs: no lab reaches another.
        let octet = u8::try_from(number).unwrap_or_else(|_| panic!("{number} hosts are too many"));
        let (address, gateway) = (Ipv4Addr::new(10, 77, octet, 2), Ipv4Addr::new(10, 77, octet, 1));
        let (near, far) = ("up0", format!("to{number}"));
        let create = [
            "ip",
            "link",
            "add",
            near,
            "type",
            "veth",
            "peer",
            "name",
            &far,
            "netns",
            &self.router,
        ];
        in_namespace(&namespace, &create);
        in_namespace(
            &self.router,
            &["ip", "address", "add", &format!("{gateway}/24"), "dev", &far],
        );
        in_namespace(&self.router, &["ip", "link", "set", &far, "up"]);
        in_namespace(&namespace, &["ip", "address", "add", &format!("{address}/24"), "dev", near]);
        in_namespace(&namespace, &["ip", "link", "set", near, "up"]);
        in_namespace(&namespace, &["ip", "route", "add", "default", "via", &gateway.to_string()]);
        self.hosts.push(Host { namespace, number, address });
    }

    /// Replaces the router's whole rule set in one transaction.
    fn load_rules(&self) -> Result<(), String> {
        let mut rules = String::from(
            "flush ruleset\ntable ip loss {\n chain forward {\n  type filter hook forward priority 0;\n",
        );
        for loss in &self.losses {
            let pairs = match loss {
                Loss::Udp(a, b) => pair_rules(a, b, " meta l4proto udp"),
                Loss::SomeUdp(a, b, percent) => pair_rules(
                    a,
                    b,
                    &format!(" meta l4proto udp numgen random mod 100 < {percent}"),
                ),
                Loss::Between(a, b) => pair_rules(a, b, ""),
                Loss::All(host) => {
                    format!("  ip saddr {0} drop\n  ip daddr {0} drop\n", host.address)
                }
            };
            rules.push_str(&pairs);
        }
        rules.push_str(" }\n}\n");
        let file = std::env::temp_dir().join(format!("{}.nft", self.router));
        std::fs::write(&file, rules).map_err(|error| format!("{}: {error}", file.display()))?;
        let loaded =
            run(Command::new("ip").args(["netns", "exec", &self.router, "nft", "-f"]).arg(&file));
        let _ = std::fs::remove_file(&file);
        loaded
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let namespaces = self.hosts.iter().map(|host| &host.namespace).chain([&self.router]);
        for namespace in namespaces {
            remove_namespace(namespace);
        }
    }
}

impl Host {
    /// A command that runs on this host; its process id is the program's own.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program.as_ref());
        command
    }
}

fn pair_rules(a: &Host, b: &Host, what: &str) -> String {
    let mut rules = String::new();
    for (from, to) in [(a, b), (b, a)] {
        let _ = writeln!(rules, "  ip saddr {} ip daddr {}{what} drop", from.address, to.address);
    }
    rules
}

pub(crate) fn add_namespace(name: &str) -> Result<(), String> {
    run(Command::new("ip").args(["netns", "add", name]))?;
    run(Command::new("ip").args(["-n", name, "link", "set", "lo", "up"]))
}

pub(crate) fn remove_namespace(name: &str) {
    if let Err(error) = run(Command::new("ip").args(["netns", "delete", name])) {
        eprintln!("network namespace {name} stays behind: {error}");
    }
}

/// Removes what a killed test left behind.
pub(crate) fn remove_abandoned() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let process = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix('-')?.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            remove_namespace(&name);
        }
    }
}

fn in_namespace(namespace: &str, command: &[&str]) {
    run(Command::new("ip").args(["netns", "exec", namespace]).args(command))
        .unwrap_or_else(|error| panic!("{error}"));
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {complaint}")) }
}

#[cfg(test)]
mod tests;
