//! A network namespace as a machine.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::netns::{add_namespace, remove_namespace};

/// Programs under test run with this niceness, so that other work on the machine does not disturb
/// their timing.
const NICENESS: &str = "-8";

/// One machine: a network namespace. Removed when dropped; drop the programs inside first.
pub struct Host {
    namespace: String,
    name: String,
}

impl Host {
    pub(super) fn new(lab: &str, name: &str) -> Result<Self, String> {
        let namespace = format!("{lab}-{name}");
        add_namespace(&namespace)?;
        let host = Self { namespace, name: name.to_owned() };
        // Link-local addresses are usable at once: no two machines of a lab have the same.
        host.try_run(
            "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0",
        )?;
        Ok(host)
    }

    /// Its short name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its namespace, as `ip netns` lists it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A command that runs on this machine, at a raised priority; its process id is the program's
    /// own.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace, "nice", "-n", NICENESS])
            .arg(program.as_ref());
        command
    }

    /// Runs a command, words separated by spaces, and returns its output.
    ///
    /// # Errors
    /// What the command complains about.
    pub fn try_run(&self, command: &str) -> Result<String, String> {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.namespace])
            .args(command.split_whitespace())
            .output();
        let output = output.map_err(|error| format!("{command}: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("{}: {command}: {}", self.name, String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Runs a command, words separated by spaces, and returns its output.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&self, command: &str) -> String {
        self.try_run(command).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Replaces all nftables rules in one transaction.
    ///
    /// # Panics
    /// If nft refuses them.
    pub fn set_firewall(&self, rules: &str) {
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.namespace, "nft", "-f", "-"]);
        let mut nft = nft
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("nft: {error}"));
        let text = format!("flush ruleset\n{rules}\n");
        let written = nft.stdin.take().map(|mut input| input.write_all(text.as_bytes()));
        let output = nft.wait_with_output().unwrap_or_else(|error| panic!("nft: {error}"));
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(written, Some(Ok(()))) && output.status.success(),
            "{}: {complaint}\n{rules}",
            self.name
        );
    }

    /// The machine's own `/etc/hosts` beside localhost, and a resolver at an address that does not
    /// answer.
    ///
    /// # Panics
    /// If the files cannot be written.
    pub fn set_names(&self, hosts: &[(&str, &str)]) {
        let folder = self.etc();
        let mut lines = String::from("127.0.0.1 localhost\n::1 localhost\n");
        for (address, name) in hosts {
            lines += &format!("{address} {name}\n");
        }
        let write = |file: &str, text: &str| std::fs::write(folder.join(file), text);
        let written =
            std::fs::create_dir_all(&folder).and_then(|()| write("hosts", &lines)).and_then(|()| {
                write("resolv.conf", "nameserver 203.0.113.1\noptions timeout:1 attempts:1\n")
            });
        written.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }

    /// What `ip netns exec` mounts over `/etc` for programs on this machine.
    fn etc(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.namespace)
    }

    /// Connects this machine with another by a virtual cable, both ends up.
    pub(super) fn connect(&self, interface: &str, other: &Self, other_interface: &str) {
        let Self { namespace, .. } = self;
        let (far, peer) = (other_interface, &other.namespace);
        self.run(&format!(
            "ip link add {interface} netns {namespace} type veth peer name {far} netns {peer}"
        ));
        self.run(&format!("ip link set {interface} up"));
        other.run(&format!("ip link set {far} up"));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        remove_namespace(&self.namespace);
        let _ = std::fs::remove_dir_all(self.etc());
    }
}
