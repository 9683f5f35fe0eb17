//! What docs/features.md promises of networks, over matchbox. Sockets and time are real.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use bytes::Bytes;
use voicemesh_engine::{EngineConfig, EngineEvent, EngineOnNetwork, Mode, VoiceEngine};
use voicemesh_matchbox::{ClientParameters, MatchboxNetwork, PeerId, ServerParameters};
use voicemesh_session::GLOBAL_GROUP;
use voicemesh_session::client::{ClientEvent, Phase};
use voicemesh_session::network::{DisconnectReason, Network, NetworkEvent, Reliability};
use voicemesh_session::route::Route;

use crate::signaling::{new_room, no_ice};

type Engine = EngineOnNetwork<MatchboxNetwork>;

const PATIENCE: Duration = Duration::from_secs(60);

fn engine(name: &str, seed: u64) -> Engine {
    let engine = VoiceEngine::new(EngineConfig::new(name, seed)).unwrap();
    EngineOnNetwork::new(engine, MatchboxNetwork::new())
}

pub fn at(room: &str) -> ServerParameters {
    let look_around = Duration::from_millis(200);
    ServerParameters { ice: no_ice(), look_around, ..ServerParameters::new(room) }
}

pub fn to(room: &str, opens_links: bool) -> ClientParameters {
    ClientParameters {
        ice: no_ice(),
        timeout: PATIENCE,
        opens_links,
        ..ClientParameters::new(room)
    }
}

/// A dedicated server and clients without sound.
struct Session {
    room: String,
    began: Instant,
    server: Engine,
    clients: Vec<Engine>,
}

impl Session {
    /// All are asked to begin.
    fn begin(clients: usize, opens_links: bool) -> Self {
        let room = new_room();
        let mut server = engine("server", 1);
        server.run_as_dedicated_server(Duration::ZERO, at(&room)).unwrap();
        let mut session = Self { room, began: Instant::now(), server, clients: Vec::new() };
        for number in 0..clients {
            session.clients.push(engine(&format!("client {number}"), 100 + number as u64));
            session.join(number, opens_links);
        }
        session
    }

    /// All see all.
    fn new(clients: usize, opens_links: bool) -> Self {
        let mut session = Self::begin(clients, opens_links);
        session.until("all see all", |session| {
            session.clients.iter().all(|client| client.status().members.len() == clients)
        });
        session
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn join(&mut self, client: usize, opens_links: bool) {
        let now = self.now();
        self.clients[client].run_as_client(now, to(&self.room, opens_links)).unwrap();
    }

    fn frame(&mut self) {
        let now = self.now();
        self.server.update(now);
        self.clients.iter_mut().for_each(|client| client.update(now));
        pass();
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let latest = self.now() + PATIENCE;
        while !is_so(self) {
            assert!(self.now() < latest, "{what}");
            self.frame();
        }
    }

    fn routes(&self, client: usize) -> Vec<Route> {
        let mut routes: Vec<Route> =
            self.clients[client].peers().into_iter().map(|peer| peer.route).collect();
        routes.sort();
        routes
    }
}

/// The networks wake the thread that polls them when something has come.
fn pass() {
    std::thread::park_timeout(Duration::from_millis(5));
}

/// proves: D-39, D-44
#[test]
fn each_mode_stops_without_leaving_a_room_and_starts_again() {
    let (mut host, mut guest) = (engine("host", 1), engine("guest", 2));
    let (room, began) = (new_room(), Instant::now());
    for round in 0..4 {
        if round % 2 == 0 {
            host.run_as_host(began.elapsed(), at(&room)).unwrap();
        } else {
            host.run_as_dedicated_server(began.elapsed(), at(&room)).unwrap();
        }
        guest.run_as_client(began.elapsed(), to(&room, true)).unwrap();
        let members = 1 + usize::from(host.mode() == Mode::Host);
        let latest = began.elapsed() + PATIENCE;
        while guest.status().members.len() < members {
            assert!(began.elapsed() < latest, "they meet in round {round}");
            guest.update(began.elapsed());
            host.update(began.elapsed());
            pass();
        }
        // By turns the one who hosts goes first, and the one who joined.
        let (first, second) =
            if round < 2 { (&mut host, &mut guest) } else { (&mut guest, &mut host) };
        for engine in [first, second] {
            engine.stop(began.elapsed());
            engine.stop(began.elapsed());
            assert_eq!((engine.mode(), engine.status().members.len()), (Mode::None, 0));
            assert_eq!(engine.network().id(), None, "it is in no room");
            assert_eq!(engine.peers(), []);
        }
    }
    // A room that was left has no host: another may.
    let mut other = MatchboxNetwork::new();
    other.host(Duration::ZERO, at(&room)).unwrap();
    let began = Instant::now();
    loop {
        match other.poll(began.elapsed()) {
            Some(event) => break assert_eq!(event, NetworkEvent::Hosting),
            None => pass(),
        }
        assert!(began.elapsed() < PATIENCE);
    }
}

/// proves: D-42
#[test]
fn nothing_is_sent_before_a_server_or_client_is_started() {
    let signaling = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    signaling.set_nonblocking(true).unwrap();
    let room = format!("ws://{}/room", signaling.local_addr().unwrap());
    let (mut server, mut client) = (engine("server", 1), engine("client", 2));
    let (serving, joining) = (at(&room), to(&room, true));
    server.update(Duration::ZERO);
    client.update(Duration::ZERO);
    assert!(signaling.accept().is_err(), "nothing was sent");

    server.run_as_dedicated_server(Duration::ZERO, serving).unwrap();
    client.run_as_client(Duration::ZERO, joining).unwrap();
    signaling.set_nonblocking(false).unwrap();
    // One connection of each.
    let _ = (signaling.accept().unwrap(), signaling.accept().unwrap());
}

/// A handshake without a connection would be refused, and end the session.
///
/// proves: D-43
#[test]
fn a_room_that_has_no_host_yet_is_waited_in_without_a_handshake() {
    let room = new_room();
    let (mut server, mut client) = (engine("server", 1), engine("client", 2));
    let began = Instant::now();
    client.run_as_client(began.elapsed(), to(&room, true)).unwrap();
    // In the room, and long enough for a handshake that was lost to be sent again.
    while client.network().id().is_none() || began.elapsed() < Duration::from_secs(2) {
        assert!(began.elapsed() < PATIENCE);
        client.update(began.elapsed());
        pass();
    }
    assert_eq!(client.mode(), Mode::Client);
    assert_eq!(client.client().unwrap().phase(), Phase::Offline);
    assert_eq!(client.poll_event(), None);
    server.run_as_dedicated_server(began.elapsed(), at(&room)).unwrap();
    while client.client().unwrap().phase() != Phase::Joined {
        assert!(began.elapsed() < PATIENCE, "it joins after all");
        server.update(began.elapsed());
        client.update(began.elapsed());
        pass();
    }
}

/// Nothing but HandshakeP2P in both directions makes a route direct.
///
/// proves: D-28, D-29
#[test]
fn who_joins_and_who_joins_again_shakes_hands_with_every_other_client() {
    let mut session = Session::new(3, true);
    let are_direct = |session: &mut Session| {
        (0..3).all(|client| session.routes(client) == [Route::Direct, Route::Direct])
    };
    session.until("each reaches each directly", are_direct);
    let now = session.now();
    session.clients[1].stop(now);
    session.until("the others see that it is gone", |session| {
        [0, 2].iter().all(|client| session.routes(*client) == [Route::Direct])
    });
    session.join(1, true);
    session.until("and again when it has come back", are_direct);
}

/// Each other client, and whether it gets a copy directly or by the server, is another one.
///
/// proves: D-30, D-31
#[test]
fn each_destination_gets_one_copy_by_its_link_or_through_the_server() {
    let mut session = Session::new(3, false);
    let linked = session.clients[1].network().id().unwrap();
    session.clients[0].network_mut().open_link(linked);
    let expected = [Route::Relayed, Route::Direct];
    session.until("one link opens", |session| session.routes(0) == expected);
    let view = |client: &Engine| {
        let view = client.client().unwrap().view().unwrap();
        (view.session().number(), view.you())
    };
    let (number, own) = view(&session.clients[0]);
    let others = [view(&session.clients[1]).1, view(&session.clients[2]).1];
    let packet = |how: u8| {
        let header = [&[0x8B, 0xC7, 60][..], &number.to_be_bytes(), &own.0.to_be_bytes()].concat();
        Bytes::from([&header[..], &[how; 20]].concat())
    };
    let kinds = [Reliability::Reliable, Reliability::Unreliable];
    for (how, reliability) in kinds.into_iter().enumerate() {
        let client = session.clients[0].client_mut().unwrap();
        client.send_to_clients(&others, reliability, &packet(how as u8)).unwrap();
    }
    let mut arrived: [Vec<Bytes>; 3] = Default::default();
    let collect = |session: &mut Session, arrived: &mut [Vec<Bytes>; 3]| {
        for (client, arrived) in session.clients.iter_mut().zip(arrived) {
            let events = std::iter::from_fn(|| client.poll_event());
            arrived.extend(events.filter_map(|event| match event {
                EngineEvent::Session(ClientEvent::Extension { packet, .. }) => Some(packet),
                _ => None,
            }));
        }
    };
    session.until("each gets its copies", |session| {
        collect(session, &mut arrived);
        arrived[1].len() >= 2 && arrived[2].len() >= 2
    });
    // What came twice would come within it.
    (0..100).for_each(|_| session.frame());
    collect(&mut session, &mut arrived);
    arrived.iter_mut().for_each(|arrived| arrived.sort());
    assert_eq!(arrived, [vec![], vec![packet(0), packet(1)], vec![packet(0), packet(1)]]);
}

/// proves: D-49
#[test]
fn a_client_whose_reliable_packets_can_no_longer_be_kept_leaves_its_session_and_says_so() {
    let mut session = Session::new(2, false);
    while session.clients[0].poll_event().is_some() {}
    let (now, text) = (session.now(), "x".repeat(4_000));
    for _ in 0..1_000 {
        if session.clients[0].send_group_text(now, GLOBAL_GROUP, &text).is_err() {
            break;
        }
    }
    assert_eq!(session.clients[0].mode(), Mode::None, "at once");
    let ended =
        EngineEvent::Session(ClientEvent::SessionEnded(DisconnectReason::ReliabilityBroken));
    let events: Vec<EngineEvent<PeerId>> =
        std::iter::from_fn(|| session.clients[0].poll_event()).collect();
    assert!(events.contains(&ended), "{events:?}");
    session.until("the other sees it leave, and stays", |session| {
        session.clients[1].mode() == Mode::Client && session.clients[1].status().members.len() == 1
    });
}

#[test]
fn a_thread_that_rests_is_woken_when_something_comes() {
    let (room, began) = (new_room(), Instant::now());
    let mut host = MatchboxNetwork::new();
    host.host(Duration::ZERO, at(&room)).unwrap();
    while host.poll(began.elapsed()) != Some(NetworkEvent::Hosting) {
        pass();
        assert!(began.elapsed() < PATIENCE);
    }
    while host.poll(began.elapsed()).is_some() {}
    assert_eq!(host.poll_timeout(began.elapsed()), None, "nothing is due by itself");
    let client = std::thread::spawn(move || {
        let mut client = MatchboxNetwork::new();
        client.connect(Duration::ZERO, to(&room, true)).unwrap();
        while client.poll(began.elapsed()) != Some(NetworkEvent::Connected) {
            pass();
        }
        let packet = Bytes::from_static(b"wake up");
        client.send_to_server(Duration::ZERO, Reliability::Reliable, packet).unwrap();
        client
    });
    loop {
        let rest = Instant::now();
        std::thread::park_timeout(PATIENCE);
        assert!(rest.elapsed() < PATIENCE, "it is woken");
        if let Some(NetworkEvent::FromClient { packet, .. }) = host.poll(began.elapsed()) {
            break assert_eq!(packet, "wake up");
        }
    }
    drop(client.join().unwrap());
}
