//! What a lab loses and what it passes on, tried with small sockets: every host runs this test
//! binary again as a helper.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::*;
use crate::process::Program;

const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for a packet to cross the router on a busy machine; what has not come by then is
/// lost.
const LOST_AFTER: Duration = Duration::from_millis(300);
const ROLE: &str = "VOICEMESH_NETNS_ROLE";

/// Starts the helper below on a host.
fn start(host: &Host, role: &str) -> Program {
    let own = std::env::current_exe().unwrap();
    let mut command = host.command(own);
    command.args(["--exact", "netns::tests::helper", "--nocapture"]).env(ROLE, role);
    Program::start(role, command)
}

/// Echoes what comes by UDP and TCP.
fn start_echo(host: &Host) -> (Program, u16) {
    let mut echo = start(host, "echo");
    let port =
        echo.wait_for_text("port", PATIENCE, |line| line.split_once("port ")?.1.parse().ok());
    (echo, port)
}

/// Whether an echo comes back to a fresh socket on `from`.
fn reaches(from: &Host, kind: &str, to: &Host, port: u16) -> bool {
    let mut call = start(from, &format!("{kind} {}:{port}", to.address));
    let answer = call.wait_for_text("echoed or lost", PATIENCE, |line| {
        ["echoed", "lost"].into_iter().find(|word| line.ends_with(word))
    });
    answer == "echoed"
}

#[test]
fn helper() {
    let Ok(role) = std::env::var(ROLE) else { return };
    if role == "echo" {
        return echo();
    }
    let (kind, address) = role.split_once(' ').unwrap();
    let address: SocketAddr = address.parse().unwrap();
    let echoed = if kind == "udp" { udp_call(address) } else { tcp_call(address) };
    println!("\n{}", if echoed.is_some() { "echoed" } else { "lost" });
}

fn echo() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
    println!("\nport {port}");
    std::thread::spawn(move || {
        let mut packet = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let _ = socket.send_to(&packet[..length], from);
        }
    });
    for mut stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
        });
    }
}

fn udp_call(address: SocketAddr) -> Option<()> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(LOST_AFTER)).unwrap();
    socket.send_to(b"ping", address).ok()?;
    socket.recv_from(&mut [0; 64]).ok().map(|_| ())
}

fn tcp_call(address: SocketAddr) -> Option<()> {
    let mut stream = TcpStream::connect_timeout(&address, LOST_AFTER).ok()?;
    stream.set_read_timeout(Some(LOST_AFTER)).ok()?;
    stream.write_all(b"p").ok()?;
    stream.read_exact(&mut [0]).ok()
}

#[test]
fn udp_between_two_peers_is_lost_while_tcp_to_the_server_passes() {
    let Some(mut lab) = Lab::new("udp_between_two_peers_is_lost_while_tcp_to_the_server_passes", 3)
    else {
        return;
    };
    let (server, alice, bob) = (lab.host(0), lab.host(1), lab.host(2));
    let (_at_server, server_port) = start_echo(&server);
    let (_at_bob, bob_port) = start_echo(&bob);
    assert!(reaches(&alice, "udp", &bob, bob_port));
    let loss = Loss::Udp(alice.clone(), bob.clone());
    lab.lose(loss.clone());
    assert!(!reaches(&alice, "udp", &bob, bob_port));
    assert!(reaches(&alice, "tcp", &bob, bob_port));
    assert!(reaches(&alice, "tcp", &server, server_port));
    assert!(reaches(&bob, "tcp", &server, server_port));
    assert!(reaches(&bob, "udp", &server, server_port));
    lab.restore(&loss);
    assert!(reaches(&alice, "udp", &bob, bob_port));
}

#[test]
fn a_pair_that_is_cut_comes_back_and_the_third_host_notices_nothing() {
    let Some(mut lab) =
        Lab::new("a_pair_that_is_cut_comes_back_and_the_third_host_notices_nothing", 3)
    else {
        return;
    };
    let (alice, bob, carol) = (lab.host(0), lab.host(1), lab.host(2));
    let (_at_bob, port) = start_echo(&bob);
    let loss = Loss::Between(bob.clone(), alice.clone());
    lab.lose(loss.clone());
    assert!(!reaches(&alice, "udp", &bob, port) && !reaches(&alice, "tcp", &bob, port));
    assert!(reaches(&carol, "udp", &bob, port) && reaches(&carol, "tcp", &bob, port));
    lab.restore(&loss);
    assert!(reaches(&alice, "udp", &bob, port) && reaches(&alice, "tcp", &bob, port));
}

#[test]
fn a_host_that_is_cut_off_by_loss_or_by_plug_reaches_no_other() {
    let Some(mut lab) = Lab::new("a_host_that_is_cut_off_by_loss_or_by_plug_reaches_no_other", 3)
    else {
        return;
    };
    let (alice, bob, carol) = (lab.host(0), lab.host(1), lab.host(2));
    let (_at_bob, port) = start_echo(&bob);
    let loss = Loss::All(bob.clone());
    lab.lose(loss.clone());
    assert!(!reaches(&alice, "tcp", &bob, port) && !reaches(&carol, "udp", &bob, port));
    lab.restore(&loss);
    assert!(reaches(&alice, "tcp", &bob, port));
    lab.plug(&bob, false);
    assert!(!reaches(&alice, "udp", &bob, port) && !reaches(&alice, "tcp", &bob, port));
    lab.plug(&bob, true);
    assert!(reaches(&alice, "tcp", &bob, port));
}

#[test]
fn a_dropped_lab_leaves_no_namespace() {
    let Some(lab) = Lab::new("a_dropped_lab_leaves_no_namespace", 1) else { return };
    let path = Path::new("/run/netns").join(&lab.router);
    assert!(path.exists());
    drop(lab);
    assert!(!path.exists());
}
