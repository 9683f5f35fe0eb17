//! The way to the server on networks where one of its addresses leads nowhere (Linux, root): each
//! in a separate network namespace, with a separate table of names.
#![cfg(target_os = "linux")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use voicemesh_tests::process::Program;
use voicemesh_tests::skip;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine without a network but what a test gives it; removed at the end, with what it was told
/// about names.
struct Machine {
    name: String,
}

impl Machine {
    /// None (said loudly) where it cannot be made.
    fn new(test: &str, hosts: &str) -> Option<Self> {
        if !skip::can_run(test, true, &["ip"]) {
            return None;
        }
        // A lab of the tests removes what is left of processes that were killed, by the number in
        // the name.
        let machine =
            Self { name: format!("voicemesh-{}-{}", std::process::id(), test.replace(' ', "-")) };
        let added = Command::new("ip").args(["netns", "add", &machine.name]).status();
        if !added.is_ok_and(|status| status.success()) {
            skip::refuse(test, "no network namespaces");
            return None;
        }
        std::fs::create_dir_all(machine.folder()).expect("a folder for the names");
        std::fs::write(machine.folder().join("hosts"), hosts).expect("the names");
        std::fs::write(machine.folder().join("resolv.conf"), "").expect("no name server");
        machine.ip("link set lo up");
        Some(machine)
    }

    /// `ip` puts the files in it in place of those of /etc.
    fn folder(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }

    fn ip(&self, arguments: &str) {
        let status =
            Command::new("ip").args(["-n", &self.name]).args(arguments.split(' ')).status();
        assert!(status.is_ok_and(|status| status.success()), "ip {arguments}");
    }

    /// An IPv6 network whose router swallows everything.
    fn swallow_ipv6(&self) {
        self.ip("link add v0 type veth peer name v1");
        self.ip("link set v0 up");
        self.ip("link set v1 up");
        self.ip("addr add 2001:db8:1::2/64 dev v0 nodad");
        self.ip("neigh add 2001:db8:1::1 lladdr 02:00:00:00:00:01 dev v0");
        self.ip("-6 route add default via 2001:db8:1::1");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, env!("CARGO_BIN_EXE_voicemesh")])
            .args(arguments);
        for variable in [
            "VOICEMESH_SERVER",
            "http_proxy",
            "https_proxy",
            "HTTPS_PROXY",
            "all_proxy",
            "ALL_PROXY",
        ] {
            command.env_remove(variable);
        }
        command
    }

    fn serve(&self, listen: &str) -> Program {
        let mut server = Program::start(
            "server",
            self.command(&["serve", "--listen", listen, "--stun", "none"]),
        );
        server.wait_for_text("its address", PATIENCE, |line| {
            line.contains("listening on ").then_some(())
        });
        server
    }

    /// Joins, and gives the milliseconds until the room had been joined.
    fn join(&self, url: &str) -> f64 {
        let state = self.folder().join("state");
        let mut arguments = vec!["join", "lobby", "--server", url, "--name", "Ada", "--json"];
        arguments.extend([
            "--input",
            "silence",
            "--output",
            "null",
            "--state-dir",
            state.to_str().expect("UTF-8"),
        ]);
        let mut ada = Program::start("Ada", self.command(&arguments));
        let joined = ada.wait_for("the room", PATIENCE, |line: &Value| {
            assert_ne!(line["event"], "server-away", "{line}");
            line["event"] == "joined"
        });
        joined.json["at_ms"].as_f64().expect("a moment")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
        let _ = std::fs::remove_dir_all(self.folder());
    }
}

#[test]
fn a_name_whose_ipv6_leads_nowhere_is_reached_by_its_ipv4_at_once() {
    let hosts = "2001:db8:9::1 voice.test\n127.0.0.1 voice.test\n";
    let Some(machine) = Machine::new("dual stack", hosts) else { return };
    machine.swallow_ipv6();
    let _server = machine.serve("127.0.0.1:8080");
    let took = machine.join("ws://voice.test:8080");
    assert!((250.0..5_000.0).contains(&took), "{took} ms");
}

#[test]
fn two_dead_addresses_of_one_family_do_not_hide_the_third() {
    let hosts = "2001:db8:9::1 voice.test\n2001:db8:9::2 voice.test\n::1 voice.test\n";
    let Some(machine) = Machine::new("one family", hosts) else { return };
    machine.swallow_ipv6();
    let _server = machine.serve("[::1]:8080");
    let took = machine.join("ws://voice.test:8080");
    assert!(took < 5_000.0, "{took} ms");
}

#[test]
fn an_ipv4_address_is_reached_from_a_network_with_ipv6_only_through_its_translator() {
    // The translator's address for 203.0.113.10, as if it stood right before the server.
    let hosts = "64:ff9b::192.0.0.170 ipv4only.arpa\n64:ff9b::192.0.0.171 ipv4only.arpa\n203.0.113.10 old.test\n";
    let Some(machine) = Machine::new("nat64 without ipv4", hosts) else { return };
    machine.ip("addr add 64:ff9b::203.0.113.10/128 dev lo nodad");
    let _server = machine.serve("[64:ff9b::203.0.113.10]:8080");
    for url in ["ws://203.0.113.10:8080", "ws://old.test:8080"] {
        let took = machine.join(url);
        assert!(took < 5_000.0, "{url}: {took} ms");
    }
}

#[test]
fn a_link_local_address_is_reached_by_its_interface() {
    let Some(machine) = Machine::new("zones of link-local addresses", "") else { return };
    machine.ip("link add v0 type veth peer name v1");
    machine.ip("link set v0 up");
    machine.ip("link set v1 up");
    machine.ip("addr add fe80::77/64 dev v0 nodad");
    let _server = machine.serve("[::]:8080");
    for url in ["ws://[fe80::77%v0]:8080", "ws://[fe80::77%25v0]:8080"] {
        machine.join(url);
    }
}
