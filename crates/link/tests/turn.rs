//! Links that use a TURN server: coturn.

use std::process::Command;
use std::time::Duration;

use crate::common::{PATIENCE, alone, alone_by, stack};
use tokio::net::UdpSocket;
use tokio::time::Instant;
use voicemesh_link::Role;
use voicemesh_tests::process::Program;
use voicemesh_tests::skip;
use voicemesh_wire::signaling::{IceServer, Signal};

/// coturn's ports for peers: above those that the system gives to sockets.
const RELAY_PORTS: std::ops::RangeInclusive<u16> = 61_000..=65_535;
const OFFERS: usize = 26;
const CANDIDATES: usize = 24;
/// How long datagrams are counted.
const WINDOW: Duration = Duration::from_secs(4);

/// coturn on loopback, as it is named to links.
fn coturn() -> (Program, IceServer) {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let mut command = Command::new(skip::find_program("turnserver").expect("coturn is installed"));
    command.args(["-n", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout", "--verbose"]);
    command.args([
        "--allow-loopback-peers",
        "--lt-cred-mech",
        "--user=ada:north",
        "--realm=voicemesh.test",
    ]);
    command.args([
        "--listening-ip=127.0.0.1",
        "--relay-ip=127.0.0.1",
        &format!("--listening-port={port}"),
    ]);
    command.args([
        &format!("--min-port={}", RELAY_PORTS.start()),
        &format!("--max-port={}", RELAY_PORTS.end()),
    ]);
    let file = |name: &str| std::env::temp_dir().join(format!("voicemesh-turn-{port}.{name}"));
    command.arg(format!("--pidfile={}", file("pid").display()));
    command.arg(format!("--userdb={}", file("db").display()));
    let mut program = Program::start("coturn", command);
    program.wait_for_line("IPv4. UDP listener opened on", PATIENCE);
    let server = IceServer {
        urls: vec![format!("turn:127.0.0.1:{port}")],
        username: Some("ada".to_owned()),
        credential: Some("north".to_owned()),
    };
    (program, server)
}

/// What a third machine gets of all that a hostile member has a peer check there: through the TURN
/// server, and in all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_name_a_third_machine_bring_it_few_datagrams_through_a_turn_server_either() {
    if !skip::can_run(
        "offers_that_name_a_third_machine_bring_it_few_datagrams_through_a_turn_server",
        false,
        &["turnserver"],
    ) {
        return;
    }
    let (_coturn, server) = coturn();
    let victim = stack();
    let mut third = Vec::new();
    for _ in 0..CANDIDATES {
        third.push(UdpSocket::bind(("127.0.0.1", 0)).await.expect("a socket"));
    }
    let began = Instant::now();
    let mut links = Vec::new();
    for _ in 0..OFFERS {
        let mut hostile = alone(Role::Offer);
        let link = alone_by(&victim, Role::Answer, vec![server.clone()]);
        link.link().signal(hostile.signal().await);
        for (number, socket) in third.iter().enumerate() {
            let port = socket.local_addr().expect("an address").port();
            let candidate =
                format!("candidate:{number} 1 udp {} 127.0.0.1 {port} typ host", 900 - number);
            link.link().signal(Signal::Candidate {
                candidate,
                sdp_mid: None,
                sdp_m_line_index: None,
            });
        }
        links.push(link);
    }
    let counting = third.iter().map(|socket| async move {
        let (mut relayed, mut all) = (0, 0);
        let mut buffer = [0; 1_500];
        let _ = tokio::time::timeout(WINDOW, async {
            while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
                all += 1;
                relayed += usize::from(RELAY_PORTS.contains(&from.port()));
            }
        })
        .await;
        (relayed, all)
    });
    let counts = futures_util::future::join_all(counting).await;
    let (relayed, all) =
        counts.into_iter().fold((0, 0), |sum: (usize, usize), of| (sum.0 + of.0, sum.1 + of.1));
    // Twenty at once and twenty a second, for as long as this took.
    let took = began.elapsed();
    println!("{all} datagrams in {took:?}, {relayed} of them through the TURN server");
    let most = 20 + (20.0 * took.as_secs_f64()) as usize;
    assert!(all <= most, "{all} datagrams in {took:?}, at most {most}");
    assert!(relayed > 0, "the TURN server sends checks on");
}
