//! The scripted cases of `tests/vectors/attempts.json`, which the page's tests run as well.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use voicemesh_mesh::link::{CloseReason, LinkEvent, LinkSendError, Role, Stream};
use voicemesh_mesh::{
    Carried, Carrier, CarrierEvent, Connections, Mesh, MeshConfig, MeshLink, PathChange,
    SocketEvent,
};
use voicemesh_session::Network;
use voicemesh_session::network::{LinkId, Reliability};
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::signaling::{
    Capabilities, ClientMessage, IceServer, Joined, Metadata, PeerInfo, Presence, RosterMark,
    ServerLimits, ServerMessage, Signal, decode_client, roster_hash,
};
use voicemesh_wire::{ClientId, PeerId};

/// How much later than expected is on time: the mesh is ticked every 20 ms, as the page's is.
const LATE: u64 = 60;
const TICK: u64 = 20;

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    role: String,
    until: u64,
    given: Vec<(u64, String, u32)>,
    expected: Vec<(u64, String, u32)>,
}

/// What the mesh did, by the time at which it did.
type Log = Rc<RefCell<Done>>;

#[derive(Debug, Default)]
struct Done {
    now: u64,
    noted: Vec<(u64, String, u32)>,
    texts: Vec<String>,
    /// The number of the connection that was opened last.
    socket: u32,
}

#[derive(Debug)]
struct Recorder(Log);

impl Recorder {
    fn note(&self, what: &str, attempt: u32) {
        let mut log = self.0.borrow_mut();
        let now = log.now;
        log.noted.push((now, what.to_owned(), attempt));
    }
}

impl Carrier for Recorder {
    fn open_socket(&mut self, generation: u32) {
        self.0.borrow_mut().socket = generation;
    }

    fn close_socket(&mut self, _: u32) {}

    fn send_text(&mut self, _: u32, text: String) {
        if let Ok(ClientMessage::Signal { attempt, signal: Signal::RequestOffer, .. }) =
            decode_client(&text)
        {
            self.note("request-offer", attempt);
        }
        self.0.borrow_mut().texts.push(text);
    }

    fn ping(&mut self, _: u32, _: u16) {}
    fn send_packet(&mut self, _: u32, _: Reliability, _: Bytes) {}

    fn open_link(&mut self, link: MeshLink, role: Role, _: &[IceServer]) {
        self.note(if role == Role::Offer { "offer" } else { "answer" }, link.generation);
    }

    fn signal(&mut self, _: MeshLink, _: Signal) {}

    fn send_link(&mut self, _: MeshLink, _: Stream, _: Bytes) -> Result<(), LinkSendError> {
        Ok(())
    }

    fn close_link(&mut self, link: MeshLink) {
        self.note("close", link.generation);
    }
}

struct World {
    mesh: Carried<Recorder>,
    log: Log,
    you: PeerId,
    other: PeerId,
    /// Who else is in the room, the other included.
    present: Vec<PeerId>,
    /// The connection whose events count.
    socket: u32,
}

fn info(peer: PeerId, client: u16) -> PeerInfo {
    PeerInfo {
        peer,
        client: ClientId(client),
        run: 1,
        name: String::new(),
        metadata: Metadata::new(),
        capabilities: Capabilities { voice_ack: true, ..Capabilities::default() },
        order: client.into(),
        status: voicemesh_wire::signaling::MemberStatus::default(),
        permissions: voicemesh_wire::Permissions::default(),
        held_in: Vec::new(),
    }
}

impl World {
    /// Joined at 0, with the other in the room.
    fn new(role: &str) -> Self {
        let log = Log::default();
        let config = MeshConfig {
            room: "room".to_owned(),
            name: "this".to_owned(),
            proof: prove(&InstallationSecret([7; 32]), "ws://test:80", "room", 0),
            proof_without_tls: None,
            run: 1,
            relay_only: false,
            presence: Presence::Either,
            password: None,
            token: None,
            renews_token: false,
            ticket: None,
            connections: Connections::Automatic,
            metadata: Metadata::new(),
            frame_ms: vec![20],
            redundancy: true,
            seed: 1,
        };
        let you = config.proof.peer_id();
        let other = if role == "offers" {
            "ffffffff-ffff-8fff-8fff-ffffffffffff"
        } else {
            "00000000-0000-8000-8000-000000000000"
        };
        let other: PeerId = serde_json::from_value(other.into()).expect("an id");
        let mut mesh = Carried::new(Mesh::new(config), Recorder(log.clone()));
        mesh.connect(Duration::ZERO, ()).expect("it begins");
        let mut world = Self { mesh, log, you, other, present: vec![other], socket: 0 };
        world.join();
        world
    }

    /// The connection that was opened last is open, and its join is answered as a first one.
    fn join(&mut self) {
        self.socket = self.log.borrow().socket;
        self.socket(SocketEvent::Open);
        let you = self.you;
        let own = info(you, 2);
        let clients = (1..).filter(|client| *client != 2);
        let peers: Vec<PeerInfo> =
            self.present.iter().zip(clients).map(|(peer, client)| info(*peer, client)).collect();
        let joined = Joined {
            you,
            client: ClientId(2),
            session: 5,
            room: "room".to_owned(),
            name: None,
            order: 2,
            ice_servers: Vec::new(),
            limits: ServerLimits::default(),
            relay_only: false,
            group_text: false,
            status: false,
            roster: RosterMark { version: 1, hash: roster_hash(peers.iter().chain([&own])) },
            peers,
            room_metadata: Metadata::new(),
            taken_over: None,
            permissions: voicemesh_wire::Permissions::default(),
            held_in: Vec::new(),
            ticket: None,
            locked: false,
            password: Default::default(),
            owner_right: Default::default(),
        };
        self.socket(SocketEvent::Text(ServerMessage::Joined(joined).to_json()));
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.log.borrow().now)
    }

    fn socket(&mut self, event: SocketEvent) {
        let now = self.now();
        self.mesh.handle(now, CarrierEvent::Socket { generation: self.socket, event });
    }

    fn given(&mut self, what: &str, attempt: u32) {
        let now = self.now();
        let link = LinkId { peer: self.other, generation: attempt };
        let from = self.other;
        let mut link_event = |event| self.mesh.handle(now, CarrierEvent::Link { link, event });
        match what {
            "open" => link_event(LinkEvent::Open),
            "failed" => link_event(LinkEvent::Closed(CloseReason::OpenTimeout)),
            "broken" => link_event(LinkEvent::Closed(CloseReason::Lost)),
            "closed" => self.socket(SocketEvent::Closed("it is gone".to_owned())),
            "joined" => self.join(),
            "path" => self.mesh.handle(now, CarrierEvent::Path(PathChange::Changed)),
            "request-offer" | "offer" | "answer" => {
                let sdp = "v=0".to_owned();
                let signal = match what {
                    "offer" => Signal::Offer { sdp },
                    "answer" => Signal::Answer { sdp },
                    _ => Signal::RequestOffer,
                };
                self.socket(SocketEvent::Text(
                    ServerMessage::Signal { from, attempt, signal }.to_json(),
                ));
            }
            other => panic!("{other} is not known"),
        }
    }

    /// The server answers what it is asked, at once.
    fn answer(&mut self) {
        let said = std::mem::take(&mut self.log.borrow_mut().texts);
        for text in said {
            if let Ok(ClientMessage::Ping { token }) = decode_client(&text) {
                self.socket(SocketEvent::Text(ServerMessage::Pong { token }.to_json()));
            }
        }
    }
}

/// The old link of a pair goes on for a while, and its health is judged until it is closed.
#[test]
fn a_link_that_was_replaced_is_not_replaced_again() {
    let mut world = World::new("offers");
    let old = LinkId { peer: world.other, generation: 1 };
    world.given("open", 1);
    for (at, opened) in [(6_000, Some(2)), (12_000, None)] {
        world.log.borrow_mut().now = at;
        let now = world.now();
        world.mesh.replace_link(now, old);
        if let Some(attempt) = opened {
            world.given("open", attempt);
        }
    }
    let offers: Vec<u32> = world.log.borrow().noted.iter().map(|(.., attempt)| *attempt).collect();
    assert_eq!(offers, [1, 2]);
}

/// Each offer that is answered makes checks to addresses that the offerer names.
#[test]
fn of_offers_that_lead_nowhere_six_a_minute_are_answered() {
    let mut world = World::new("answers");
    let mut attempt = 0;
    let mut answered = |world: &mut World, until: u64| {
        let from = world.log.borrow().now;
        let before = world.log.borrow().noted.len();
        for at in (from..until).step_by(1_000) {
            world.log.borrow_mut().now = at;
            let now = world.now();
            while world.mesh.poll(now).is_some() {}
            world.answer();
            attempt += 1;
            world.given("offer", attempt);
            world.given("failed", attempt);
        }
        world.log.borrow_mut().now = until;
        let log = world.log.borrow();
        log.noted[before..].iter().filter(|(_, what, _)| what == "answer").count()
    };
    assert_eq!(answered(&mut world, 60_000), 6);
    assert_eq!(answered(&mut world, 120_000), 6);
}

/// What several links send at once while they open is more than a narrow way holds.
#[test]
fn links_that_have_waited_open_one_after_another() {
    let mut world = World::new("offers");
    world.given("open", 1);
    let more = ["dddddddd-dddd-8ddd-8ddd-dddddddddddd", "eeeeeeee-eeee-8eee-8eee-eeeeeeeeeeee"];
    world
        .present
        .extend(more.map(|peer| serde_json::from_value::<PeerId>(peer.into()).expect("an id")));
    world.mesh.mesh.set_links_wait(Duration::ZERO, true);
    world.given("closed", 0);
    let mut opened_at = Vec::new();
    for at in (0..12_000).step_by(TICK as usize) {
        world.log.borrow_mut().now = at;
        let now = world.now();
        while world.mesh.poll(now).is_some() {}
        if world.log.borrow().socket != world.socket {
            world.join();
        }
        world.answer();
        world.mesh.mesh.set_links_wait(now, at < 6_000);
        let offers = world.log.borrow().noted.len();
        opened_at.resize(offers, at);
    }
    let [_, second, third] = opened_at[..] else { panic!("{opened_at:?}") };
    assert!(second >= 6_000 && third >= second + 3_000, "{opened_at:?}");
}

/// Its download is full: further offers would only fill it further.
#[test]
fn who_leaves_an_offer_without_an_answer_is_not_offered_again_until_it_asks() {
    let offers_at = |given: &[(u64, &str)]| {
        let mut world = World::new("offers");
        let mut given = given.iter().peekable();
        for at in (0..50_000).step_by(TICK as usize) {
            world.log.borrow_mut().now = at;
            while let Some((_, what)) = given.next_if(|(due, _)| *due <= at) {
                world.given(what, 1);
            }
            let now = world.now();
            while world.mesh.poll(now).is_some() {}
            world.answer();
        }
        let log = world.log.borrow();
        let offers = log.noted.iter().filter(|(_, what, _)| what == "offer");
        offers.map(|(at, ..)| at / 1_000).collect::<Vec<_>>()
    };
    let answered = [(300, "answer"), (15_000, "failed")];
    assert_eq!(offers_at(&answered), [0, 16], "a way that does not carry is tried again");
    assert_eq!(offers_at(&[(15_000, "failed")]), [0, 45]);
    let asked = [(15_000, "failed"), (20_000, "request-offer")];
    assert_eq!(offers_at(&asked), [0, 20]);
}

/// The offer itself may be what makes speech late.
#[test]
fn an_offer_that_was_asked_for_is_answered_although_links_wait_again() {
    let answers_at = |asks: bool| {
        let mut world = World::new("answers");
        for at in (0..8_000).step_by(TICK as usize) {
            world.log.borrow_mut().now = at;
            let now = world.now();
            world.mesh.mesh.set_links_wait(now, !asks || at >= 5_500);
            if at == 6_000 {
                world.given("offer", 1);
            }
            while world.mesh.poll(now).is_some() {}
            world.answer();
        }
        let log = world.log.borrow();
        let told: Vec<_> =
            log.noted.iter().map(|(at, what, _)| (at / 1_000, what.clone())).collect();
        told
    };
    let at = |second, what: &str| (second, what.to_owned());
    assert_eq!(answers_at(true), [at(5, "request-offer"), at(6, "answer")]);
    assert_eq!(answers_at(false), []);
}

/// A page that is reloaded has room for another link: the rest is for the links of others.
#[test]
fn a_peer_whose_link_has_just_opened_does_not_wait_for_its_next_one() {
    let mut world = World::new("offers");
    world.mesh.mesh.set_links_wait(Duration::ZERO, true);
    world.given("closed", 0);
    let mut offered_at = Vec::new();
    for at in (0..12_000).step_by(TICK as usize) {
        world.log.borrow_mut().now = at;
        let now = world.now();
        while world.mesh.poll(now).is_some() {}
        if world.log.borrow().socket != world.socket {
            world.join();
        }
        world.answer();
        world.mesh.mesh.set_links_wait(now, at < 6_000);
        let offers = world.log.borrow().noted.iter().filter(|(_, what, _)| what == "offer").count();
        if offers == offered_at.len() + 1 {
            offered_at.push(at);
            if offers < 3 {
                let attempt = world.log.borrow().noted.last().expect("the offer").2;
                world.given("open", attempt);
                world.given("broken", attempt);
            }
        }
    }
    let [_, waited, next] = offered_at[..] else { panic!("{offered_at:?}") };
    assert!(waited >= 6_000 && next < waited + 3_000, "{offered_at:?}");
}

#[test]
fn attempts_follow_the_scripted_cases() {
    let cases: Cases = serde_json::from_str(voicemesh_vectors::ATTEMPTS).expect("the cases");
    for case in cases.cases {
        let mut world = World::new(&case.role);
        let mut given = case.given.iter().peekable();
        for now in (0..=case.until).step_by(usize::try_from(TICK).expect("small")) {
            world.log.borrow_mut().now = now;
            while let Some((_, what, attempt)) = given.next_if(|(at, ..)| *at <= now) {
                world.given(what, *attempt);
            }
            world.answer();
            let at = world.now();
            while world.mesh.poll(at).is_some() {}
            // A roster mark now and then, as from a server that is well.
            world.answer();
        }
        // The links that were closed because they failed or broke are not this peer's doing.
        let ended: Vec<u32> = case
            .given
            .iter()
            .filter(|(_, what, _)| what == "failed" || what == "broken")
            .map(|(.., attempt)| *attempt)
            .collect();
        let done: Vec<_> = world
            .log
            .borrow()
            .noted
            .iter()
            .filter(|(_, what, attempt)| what != "close" || !ended.contains(attempt))
            .cloned()
            .collect();
        let on_time = done.len() == case.expected.len()
            && done.iter().zip(&case.expected).all(
                |((at, what, attempt), (due, expected, number))| {
                    (what, attempt) == (expected, number) && (*due..=due + LATE).contains(at)
                },
            );
        assert!(on_time, "{}:\nexpected {:?}\ngot      {done:?}", case.name, case.expected);
    }
}
