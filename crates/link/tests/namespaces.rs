//! Links between processes in network namespaces of their own: two with a cable between them, and
//! one with nothing but loopback. Needs root and `ip`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::common::PATIENCE;
use bytes::Bytes;
use tokio::runtime::Handle;
use voicemesh_link::{LinkConfig, LinkEvent, LinkSink, LinkStack, Role, Stream, WebRtc};
use voicemesh_wire::signaling::{IceServer, Signal};

/// Set in the processes that this test starts of itself.
const ROLE: &str = "VOICEMESH_LINK_TEST_ROLE";
const GREETING: &[u8] = b"from the other namespace";
/// What a child says on one line: a signal as JSON, or one of these.
const SAYS: &str = "link says: ";
const HEARD: &str = "heard";
/// Followed by how many milliseconds it took.
const OPENED: &str = "opened ";
/// STUN and TURN servers of a link, separated by spaces.
const SERVERS: &str = "VOICEMESH_LINK_TEST_SERVERS";

#[test]
fn two_machines_with_a_cable_between_them_link() {
    let Some(names) = namespaces(&["a", "b"]) else { return };
    let (a, b) = (names.0[0].as_str(), names.0[1].as_str());
    connect(a, b);
    let candidates = link_processes(a, b, "").candidates;
    assert!(candidates.iter().any(|candidate| candidate.contains(" 10.77.0.1 ")), "{candidates:?}");
    assert!(
        !candidates.iter().any(|candidate| candidate.contains(" 127.")),
        "loopback was offered: {candidates:?}"
    );
}

/// As on a machine with many container networks. The card comes last: it was plugged in last.
#[test]
fn a_dozen_bridges_do_not_displace_the_card() {
    let Some(names) = namespaces(&["bridged", "plain"]) else { return };
    let (bridged, plain) = (names.0[0].as_str(), names.0[1].as_str());
    for bridge in 0..12 {
        let (name, address) = (format!("br-{bridge}"), format!("172.{}.0.1/16", 17 + bridge));
        run(&["ip", "-n", bridged, "link", "add", &name, "type", "bridge"]);
        run(&["ip", "-n", bridged, "address", "add", &address, "dev", &name]);
        // With a port, so that it has a carrier.
        let port = format!("port{bridge}");
        run(&[
            "ip",
            "-n",
            bridged,
            "link",
            "add",
            &port,
            "type",
            "veth",
            "peer",
            "name",
            &format!("far{bridge}"),
        ]);
        run(&["ip", "-n", bridged, "link", "set", &port, "master", &name, "up"]);
        run(&["ip", "-n", bridged, "link", "set", &format!("far{bridge}"), "up"]);
        run(&["ip", "-n", bridged, "link", "set", &name, "up"]);
    }
    connect(bridged, plain);
    let candidates = link_processes(bridged, plain, "").candidates;
    assert!(candidates.iter().any(|candidate| candidate.contains(" 10.77.0.1 ")), "{candidates:?}");
    let of_ipv4 = candidates.iter().filter(|candidate| candidate.contains(" 172.")).count();
    assert_eq!(of_ipv4, 7, "{candidates:?}");
}

/// A name server that does not answer, and servers that cannot be reached, must not keep two hosts
/// of one network waiting.
#[test]
fn servers_whose_names_are_not_found_do_not_delay_a_link() {
    let Some(names) = namespaces(&["lost-a", "lost-b"]) else { return };
    let (a, b) = (names.0[0].as_str(), names.0[1].as_str());
    connect(a, b);
    // `ip netns exec` shows a process this file as /etc/resolv.conf. The name server's address has
    // no host.
    let directories: Vec<_> = [a, b].map(|name| format!("/etc/netns/{name}")).into();
    for directory in &directories {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(format!("{directory}/resolv.conf"), "nameserver 10.77.0.99\n").unwrap();
    }
    let servers = "stun:one.test:3478 stun:two.test:3478 stun:three.test stun:10.77.0.98:3478 stun:192.0.2.1:3478";
    let fastest = |opened: Vec<u64>| opened.into_iter().min().unwrap();
    let opened_ms = |servers| link_processes(a, b, servers).opened_after_ms;
    // In turns, so that what else the machine does delays both kinds alike.
    let (with, without) = (0..4).map(|_| (opened_ms(servers), opened_ms(""))).unzip();
    println!("opened after {with:?} ms with the servers, {without:?} ms without");
    let (with, without) = (fastest(with), fastest(without));
    for directory in &directories {
        std::fs::remove_dir_all(directory).unwrap();
    }
    assert!(with <= without + 150, "{with} ms with the servers, {without} ms without");
}

/// A cable between two namespaces.
fn connect(a: &str, b: &str) {
    run(&[
        "ip", "link", "add", "vmwire", "netns", a, "type", "veth", "peer", "name", "vmwire",
        "netns", b,
    ]);
    for (name, address) in [(a, "10.77.0.1/24"), (b, "10.77.0.2/24")] {
        run(&["ip", "-n", name, "address", "add", address, "dev", "vmwire"]);
        run(&["ip", "-n", name, "link", "set", "vmwire", "up"]);
        run(&["ip", "-n", name, "link", "set", "lo", "up"]);
    }
}

#[test]
fn two_processes_on_a_machine_without_a_network_link() {
    let Some(names) = namespaces(&["alone"]) else { return };
    let name = names.0[0].as_str();
    run(&["ip", "-n", name, "link", "set", "lo", "up"]);
    let candidates = link_processes(name, name, "").candidates;
    assert!(candidates.iter().any(|candidate| candidate.contains(" 127.0.0.1 ")), "{candidates:?}");
}

/// One end of a link, in a process that the tests above started; otherwise nothing.
#[test]
fn one_end_of_a_link_in_its_own_process() {
    let role = match std::env::var(ROLE).as_deref() {
        Ok("offer") => Role::Offer,
        Ok("answer") => Role::Answer,
        _ => return,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async move {
        let (heard, when_heard) = tokio::sync::oneshot::channel();
        let (opened, when_opened) = tokio::sync::oneshot::channel();
        let sink = Arc::new(EndOfLink {
            opened: Mutex::new(Some(opened)),
            heard: Mutex::new(Some(heard)),
        });
        let servers = std::env::var(SERVERS).unwrap_or_default();
        let server =
            |url: &str| IceServer { urls: vec![url.to_owned()], username: None, credential: None };
        let config = LinkConfig {
            role,
            remote: 0,
            ice_servers: servers.split_whitespace().map(server).collect(),
        };
        let link = Arc::from(WebRtc::new(Handle::current()).open(config, sink));
        let reader: Arc<dyn voicemesh_link::Link> = Arc::clone(&link);
        thread::spawn(move || {
            for line in std::io::stdin().lines() {
                reader.signal(serde_json::from_str(&line.unwrap()).unwrap());
            }
        });
        when_opened.await.unwrap();
        say(&format!("{OPENED}{}", link.stats().opened_after.unwrap().as_millis()));
        link.send(Stream::Reliable, Bytes::from_static(GREETING)).unwrap();
        when_heard.await.unwrap();
        say(HEARD);
        // The parent ends it, once the other end has heard too.
        std::future::pending::<()>().await;
    });
}

struct EndOfLink {
    opened: Mutex<Option<tokio::sync::oneshot::Sender<()>>>,
    heard: Mutex<Option<tokio::sync::oneshot::Sender<()>>>,
}

impl LinkSink for EndOfLink {
    fn event(&self, event: LinkEvent) {
        match event {
            LinkEvent::Signal(signal) => say(&serde_json::to_string(&signal).unwrap()),
            LinkEvent::Open => self.opened.lock().unwrap().take().unwrap().send(()).unwrap(),
            LinkEvent::Received { stream, packet } => {
                assert_eq!((stream, &packet[..]), (Stream::Reliable, GREETING));
                self.heard.lock().unwrap().take().unwrap().send(()).unwrap();
            }
            LinkEvent::Answered { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

fn say(words: &str) {
    println!("\n{SAYS}{words}");
}

/// What the offering side said.
#[derive(Default)]
struct Linked {
    candidates: Vec<String>,
    opened_after_ms: u64,
}

/// Links a process in one namespace with one in another, both told of these servers.
fn link_processes(offering: &str, answering: &str, servers: &str) -> Linked {
    let (offering_says, offering_lines) = channel();
    let (answering_says, answering_lines) = channel();
    let (mut offering, to_offering) = Process::start(offering, "offer", servers, offering_says);
    let (mut answering, to_answering) =
        Process::start(answering, "answer", servers, answering_says);
    let from_answering = thread::spawn(move || relay(&answering_lines, to_offering));
    let linked = relay(&offering_lines, to_answering);
    from_answering.join().unwrap();
    offering.end();
    answering.end();
    linked
}

/// Hands on what one process says until it has heard the other.
fn relay(lines: &Receiver<String>, mut to: ChildStdin) -> Linked {
    let mut linked = Linked::default();
    loop {
        let line = lines.recv_timeout(PATIENCE).expect("a process fell silent");
        if line == HEARD {
            return linked;
        }
        if let Some(opened) = line.strip_prefix(OPENED) {
            linked.opened_after_ms = opened.parse().unwrap();
            continue;
        }
        if let Signal::Candidate { candidate, .. } = serde_json::from_str(&line).unwrap() {
            linked.candidates.push(candidate);
        }
        writeln!(to, "{line}").unwrap();
    }
}

struct Process(Child);

impl Process {
    fn start(
        namespace: &str,
        role: &str,
        servers: &str,
        says: Sender<String>,
    ) -> (Self, ChildStdin) {
        let mut child = Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "namespaces::one_end_of_a_link_in_its_own_process", "--nocapture"])
            .env(ROLE, role)
            .env(SERVERS, servers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(said) = line.strip_prefix(SAYS) {
                    let _ = says.send(said.to_owned());
                }
            }
        });
        (Self(child), input)
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Namespaces that go when this does.
struct Namespaces(Vec<String>);

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

/// Makes namespaces, or says why it cannot.
fn namespaces(names: &[&str]) -> Option<Namespaces> {
    let mut made = Namespaces(Vec::new());
    for name in names {
        let name = format!("vmlink{}{name}", std::process::id());
        let outcome = Command::new("ip").args(["netns", "add", &name]).output();
        if !outcome.as_ref().is_ok_and(|output| output.status.success()) {
            let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!is_ci, "no network namespace can be made: {outcome:?}");
            println!(
                "SKIPPED namespaces: no network namespace can be made (needs root and ip): {outcome:?}"
            );
            return None;
        }
        made.0.push(name);
    }
    Some(made)
}

fn run(words: &[&str]) {
    let status = Command::new(words[0]).args(&words[1..]).status().unwrap();
    assert!(status.success(), "{words:?}");
}
