//! Several servers of one name over a real NATS server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use voicemesh_signaling::Config;
use voicemesh_wire::packet::{self, Kind, Probe};
use voicemesh_wire::signaling::{ClientMessage, Joined, ServerMessage};
use voicemesh_wire::{ClientId, SessionId};

use crate::common::{Person, Received, Server, join_of, within};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A NATS server with JetStream, and a folder for it.
struct Nats {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The server's program, installed at the first time. With `CI=true` it has to be there.
async fn program() -> Option<PathBuf> {
    static PROGRAM: OnceCell<Option<PathBuf>> = OnceCell::const_new();
    PROGRAM.get_or_init(install).await.clone()
}

async fn install() -> Option<PathBuf> {
    let install = || {
        let mut command = Command::new(root().join("scripts/venv.sh"));
        command.args(["nats", "signaling/tests/nats/requirements.txt"]).current_dir(root());
        command.stdin(Stdio::null()).output()
    };
    let why = match tokio::task::spawn_blocking(install).await.expect("it does not panic") {
        Ok(output) if output.status.success() => {
            let folder = String::from_utf8(output.stdout).expect("a path");
            return Some(Path::new(folder.trim()).join("bin/nats-server"));
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    assert!(
        std::env::var("CI").map_or(true, |ci| ci != "true"),
        "nats-server must run where CI=true: {why}"
    );
    eprintln!("SKIPPED nats: {why}");
    None
}

impl Nats {
    async fn start(name: &str) -> Option<Self> {
        let program = program().await?;
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nats-{name}-{port}"));
        let mut command = Command::new(program);
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(&folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("nats-server starts");
        let nats = Self { process, port, folder };
        let listens = async {
            let mut tries = tokio::time::interval(Duration::from_millis(20));
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tries.tick().await;
            }
        };
        within("NATS listens", listens).await;
        Some(nats)
    }

    async fn node(&self) -> Server {
        let bus = Some(format!("nats://127.0.0.1:{}", self.port));
        let secret = Some("a secret of all the nodes".to_owned());
        Server::with(Config { bus, secret, ..Config::default() }).await
    }
}

/// A node as a process.
struct Node {
    process: Child,
    address: SocketAddr,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Node {
    async fn start(nats: &Nats) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let mut command = Command::new(env!("CARGO_BIN_EXE_voicemesh-signaling"));
        command.args(["--listen", &address.to_string(), "--no-web"]);
        command.args(["--bus", &format!("nats://127.0.0.1:{}", nats.port)]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("a node starts");
        let node = Self { process, address };
        let listens = async {
            let mut tries = tokio::time::interval(Duration::from_millis(20));
            while TcpStream::connect(address).await.is_err() {
                tries.tick().await;
            }
        };
        within("the node listens", listens).await;
        node
    }
}

/// Joins on any of these nodes, and comes back when it is sent away, as a client does.
async fn join(nodes: &[SocketAddr], room: &str, name: &str) -> (Person, Joined) {
    let comes_back = async {
        let mut tries = tokio::time::interval(Duration::from_millis(100));
        for attempt in 0.. {
            tries.tick().await;
            if let Some(mut person) = Person::at(nodes[attempt % nodes.len()]).await
                && let Some(joined) = try_enter(&mut person, room, name).await
            {
                return (person, joined);
            }
        }
        unreachable!("it goes on without end")
    };
    within("a member is let in", comes_back).await
}

/// `None` if it is sent away.
async fn try_enter(person: &mut Person, room: &str, name: &str) -> Option<Joined> {
    person.say(&ClientMessage::Join(join_of(room, name))).await;
    loop {
        match person.next().await {
            Received::Message(ServerMessage::Joined(joined)) => return Some(joined),
            Received::Message(ServerMessage::GoingAway { .. }) => return None,
            Received::Message(ServerMessage::Error { code, message, .. }) => {
                panic!("{code}: {message}")
            }
            Received::Message(_) | Received::Packet(_) => {}
            Received::Closed(_) | Received::Cut => return None,
        }
    }
}

/// That speech of the one comes to the other.
async fn hears(from: &mut Person, to: &mut Person, session: SessionId, clients: [ClientId; 2]) {
    let [speaker, listener] = clients;
    let mut speech = Probe { sender: speaker, token: 1 }.encode(session);
    speech[2] = Kind::VoiceData.number();
    from.relay(session, Kind::ServerRelayUnreliable, &[listener], &speech).await;
    let heard = to.expect_packet(Kind::VoiceData).await;
    assert_eq!(packet::open(&heard).expect("a packet").0.session, Some(session.number()));
}

#[tokio::test]
async fn members_on_two_nodes_are_one_room_and_hear_each_other() {
    let Some(nats) = Nats::start("room").await else { return };
    let (one, two) = (nats.node().await, nats.node().await);
    let (mut ada, joined_ada) = join(&[one.address], "lobby", "Ada").await;
    let (mut bob, joined_bob) = join(&[two.address], "lobby", "Bob").await;
    assert_eq!(joined_ada.session, joined_bob.session, "one session");
    assert_ne!(joined_ada.client, joined_bob.client);
    assert_eq!(joined_bob.peers.len(), 1);
    assert_eq!(ada.expect_joined().await.peer, joined_bob.you);
    let session = ada.take_part(&joined_ada).await;
    bob.take_part(&joined_bob).await;
    hears(&mut ada, &mut bob, session, [joined_ada.client, joined_bob.client]).await;
    hears(&mut bob, &mut ada, session, [joined_bob.client, joined_ada.client]).await;
    one.stop().await.expect("it stops");
    // The other node has the room now.
    let (_bob, again) = join(&[two.address], "lobby", "Bob").await;
    assert_ne!(again.session, joined_bob.session, "a new session");
    two.stop().await.expect("it stops");
}

#[tokio::test]
async fn after_the_owner_was_killed_members_on_other_nodes_are_one_room_again() {
    let Some(nats) = Nats::start("killed").await else { return };
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Node::start(&nats).await);
    }
    let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    let (_ada, joined_ada) = join(&addresses[..1], "lobby", "Ada").await;
    let (mut bob, joined_bob) = join(&addresses[1..2], "lobby", "Bob").await;
    let (mut eve, joined_eve) = join(&addresses[2..], "lobby", "Eve").await;
    assert_eq!([joined_bob.session, joined_eve.session], [joined_ada.session; 2]);
    nodes[0].process.kill().expect("it runs");
    let since = Instant::now();
    for person in [&mut bob, &mut eve] {
        // As when a server restarts: with a code that says so.
        assert_eq!(person.expect_end().await, Some(CloseCode::Restart));
    }
    let ended = since.elapsed();
    let (mut bob, joined_bob) = join(&addresses[1..2], "lobby", "Bob").await;
    let (mut eve, joined_eve) = join(&addresses[2..], "lobby", "Eve").await;
    eprintln!("sent away after {ended:?}, back after {:?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    assert_eq!(joined_bob.session, joined_eve.session);
    assert_ne!(joined_bob.session, joined_ada.session);
    let session = bob.take_part(&joined_bob).await;
    eve.take_part(&joined_eve).await;
    hears(&mut bob, &mut eve, session, [joined_bob.client, joined_eve.client]).await;
}

#[tokio::test]
async fn a_password_is_asked_on_every_node() {
    let Some(nats) = Nats::start("password").await else { return };
    let (one, two) = (nats.node().await, nats.node().await);
    // A node takes rooms once it has heard for a while who else is there.
    drop(join(&[one.address], "warm", "Up").await);
    let joins = |name: &str, password: &str| {
        let mut join = join_of("vault", name);
        join.password = Some(password.into());
        join
    };
    let mut ada = Person::connect(&one).await;
    ada.enter(joins("Ada", "sesame")).await;
    let mut eve = Person::connect(&two).await;
    eve.say(&ClientMessage::Join(joins("Eve", "open"))).await;
    let (code, is_fatal) = eve.expect_error().await;
    assert_eq!((code.as_str(), is_fatal), ("password-wrong", true));
    let mut bob = Person::connect(&two).await;
    let joined = bob.enter(joins("Bob", "sesame")).await;
    assert_eq!(joined.peers.len(), 1);
    assert!(joined.password.set);
    one.stop().await.expect("it stops");
    two.stop().await.expect("it stops");
}
