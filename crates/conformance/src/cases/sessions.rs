//! A whole session over the network: status, text, voice, disconnect.

use std::time::Duration;

use voicemesh_audio::{BLOCK_SAMPLES, Block, level};
use voicemesh_engine::{EngineConfig, EngineEvent, EngineOnNetwork, Mode, VoiceEngine};
use voicemesh_session::client::ClientEvent;
use voicemesh_session::route::Route;
use voicemesh_wire::GroupId;
use voicemesh_wire::packet::Recipient;

use super::links::NO_LINKS;
use crate::rig::PASSED;
use crate::{Rig, Testbed, Verdict, Violation};

/// A host's number among those who hum.
const HOST: usize = usize::MAX;

/// A server and clients with sound, over a testbed.
struct Room<'a, T: Testbed> {
    rig: &'a mut Rig<T>,
    now: Duration,
    server: EngineOnNetwork<T::Network>,
    clients: Vec<EngineOnNetwork<T::Network>>,
    /// What the last frames sounded like to each, in dBFS at most.
    heard: Vec<f32>,
    /// The same for a host.
    server_heard: f32,
}

fn failed(error: &dyn std::error::Error) -> Violation {
    Violation { rule: "a session begins", seen: error.to_string() }
}

impl<'a, T: Testbed> Room<'a, T> {
    fn new(rig: &'a mut Rig<T>, clients: usize) -> Result<Self, Violation> {
        Self::begin(rig, Mode::DedicatedServer, clients)
    }

    /// The server is in this mode.
    fn begin(rig: &'a mut Rig<T>, mode: Mode, clients: usize) -> Result<Self, Violation> {
        let make = |rig: &mut Rig<T>, name: String, seed| {
            let engine =
                VoiceEngine::new(EngineConfig::new(name, seed)).map_err(|error| failed(&error))?;
            Ok(EngineOnNetwork::new(engine, rig.testbed().peer()))
        };
        let mut server = make(rig, "server".to_owned(), 1)?;
        let parameters = rig.testbed().server_parameters(0);
        match mode {
            Mode::Host => server.run_as_host(Duration::ZERO, parameters),
            Mode::None | Mode::Client | Mode::DedicatedServer => {
                server.run_as_dedicated_server(Duration::ZERO, parameters)
            }
        }
        .map_err(|error| failed(&error))?;
        let server_heard = f32::NEG_INFINITY;
        let mut room = Self {
            rig,
            now: Duration::ZERO,
            server,
            server_heard,
            clients: Vec::new(),
            heard: Vec::new(),
        };
        room.until("a server that can serve is connected", |room| room.server.status().connected)?;
        for number in 0..clients {
            let mut client = make(room.rig, format!("client {number}"), 100 + number as u64)?;
            let parameters = room.rig.testbed().client_parameters(0);
            client.run_as_client(room.now, parameters).map_err(|error| failed(&error))?;
            room.clients.push(client);
            room.heard.push(f32::NEG_INFINITY);
        }
        room.until("every member sees every member", |room| {
            let members = clients + usize::from(mode.is_client());
            room.clients.iter().all(|client| client.status().members.len() == members)
        })?;
        Ok(room)
    }

    /// One frame, in which these clients hum, or [`HOST`].
    fn frame(&mut self, humming: &[usize]) -> Result<(), Violation> {
        self.now += self.rig.testbed().pass();
        self.server.update(self.now);
        if humming.contains(&HOST) {
            self.server.capture(self.now, &hum(self.now)).map_err(|error| failed(&error))?;
        }
        let mut block: Block = [0.0; BLOCK_SAMPLES];
        self.server.render(self.now, &mut block);
        self.server_heard = self.server_heard.max(level::rms_dbfs(&block));
        for (number, client) in self.clients.iter_mut().enumerate() {
            client.update(self.now);
            if humming.contains(&number) {
                client.capture(self.now, &hum(self.now)).map_err(|error| failed(&error))?;
            }
            let mut block: Block = [0.0; BLOCK_SAMPLES];
            client.render(self.now, &mut block);
            self.heard[number] = self.heard[number].max(level::rms_dbfs(&block));
        }
        Ok(())
    }

    fn until(
        &mut self,
        rule: &'static str,
        mut is_so: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), Violation> {
        for _ in 0..self.rig.testbed().patience() {
            if is_so(self) {
                return Ok(());
            }
            self.frame(&[])?;
        }
        let members: Vec<usize> =
            self.clients.iter().map(|client| client.status().members.len()).collect();
        Err(Violation {
            rule,
            seen: format!("members that each client sees at the end: {members:?}"),
        })
    }

    fn texts(&mut self, client: usize) -> Vec<String> {
        let text = |event| match event {
            EngineEvent::Session(ClientEvent::Text { text, .. }) => Some(text),
            _ => None,
        };
        std::iter::from_fn(|| self.clients[client].poll_event()).filter_map(text).collect()
    }
}

fn hum(now: Duration) -> Block {
    let begin = now.as_secs_f32() * 48_000.0;
    std::array::from_fn(|at| {
        0.3 * ((begin + at as f32) * 200.0 * std::f32::consts::TAU / 48_000.0).sin()
    })
}

/// Mode, connection and members can be read; who leaves disappears from the others' lists.
pub fn a_client_enters_a_session_and_leaves_it<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let mut room = Room::new(rig, 3)?;
    let mode = (room.server.mode(), room.clients[0].mode());
    if mode != (Mode::DedicatedServer, Mode::Client) {
        return Err(Violation { rule: "the mode can be read", seen: format!("{mode:?}") });
    }
    let now = room.now;
    room.clients[2].stop(now);
    room.until("who leaves disappears from the others' lists", |room| {
        let sees_two = |client: &EngineOnNetwork<T::Network>| client.status().members.len() == 2;
        room.clients[..2].iter().all(sees_two) && room.server.status().members.len() == 2
    })?;
    PASSED
}

/// And only them.
pub fn a_text_reaches_whom_it_is_for<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "a text reaches those who listen to its group, and no other";
    let mut room = Room::new(rig, 3)?;
    let now = room.now;
    room.clients[1].join_group(now, "readers").map_err(|error| failed(&error))?;
    let mut server_knows = 0;
    room.until(RULE, |_| {
        server_knows += 1;
        server_knows > 30
    })?;
    let now = room.now;
    let to = Recipient::Group(GroupId::of("readers"));
    room.clients[0].send_text(now, to, "hello").map_err(|error| failed(&error))?;
    let mut texts = Vec::new();
    room.until(RULE, |room| {
        texts.extend(room.texts(1));
        !texts.is_empty()
    })?;
    for _ in 0..room.rig.testbed().vigil() {
        room.frame(&[])?;
    }
    texts.extend(room.texts(1));
    let others = [room.texts(0), room.texts(2)];
    if texts != ["hello"] || others.iter().any(|texts| !texts.is_empty()) {
        return Err(Violation {
            rule: RULE,
            seen: format!("{texts:?}, and the others {others:?}"),
        });
    }
    PASSED
}

/// And not by the speaker itself.
pub fn voice_is_relayed_to_who_listens<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "voice is heard by those who listen, and not by the speaker";
    let mut room = Room::new(rig, 3)?;
    for _ in 0..150 {
        room.frame(&[0])?;
    }
    let heard = room.heard.clone();
    if heard[0] > -80.0 || heard[1] < -25.0 || heard[2] < -25.0 {
        return Err(Violation { rule: RULE, seen: format!("levels in dBFS: {heard:?}") });
    }
    PASSED
}

/// A speaker with a link to one of two listeners: both hear it, and none hears itself.
pub fn voice_takes_a_link_where_there_is_one_and_the_server_elsewhere<T: Testbed>(
    rig: &mut Rig<T>,
) -> Verdict {
    const RULE: &str = "voice takes a link where there is one, and the server elsewhere";
    let mut room = Room::new(rig, 3)?;
    let (speaker, listeners) = room.clients.split_at_mut(1);
    let (one, other) = (speaker[0].network_mut(), listeners[0].network_mut());
    if !room.rig.testbed().link(one, other) {
        return NO_LINKS;
    }
    let routes = |room: &Room<'_, T>| {
        let mut routes: Vec<Route> =
            room.clients[0].peers().into_iter().map(|peer| peer.route).collect();
        routes.sort();
        routes
    };
    room.until(RULE, |room| routes(room) == [Route::Relayed, Route::Direct])?;
    for _ in 0..150 {
        room.frame(&[0])?;
    }
    let (heard, routes) = (room.heard.clone(), routes(&room));
    let are_right = heard[0] < -80.0 && heard[1] > -25.0 && heard[2] > -25.0;
    if !are_right || routes != [Route::Relayed, Route::Direct] {
        let seen = format!("levels in dBFS: {heard:?}, routes {routes:?}");
        return Err(Violation { rule: RULE, seen });
    }
    PASSED
}

/// A server that starts again draws another number, and its clients enter that session.
pub fn a_new_session_begins_when_the_server_does<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "a server that starts again begins a new session, which clients can enter";
    let mut room = Room::new(rig, 2)?;
    let before = room.server.status().session;
    let now = room.now;
    room.server.stop(now);
    room.until(RULE, |room| room.clients.iter().all(|client| !client.status().connected))?;
    for at in 0..2 {
        let now = room.now;
        room.clients[at].stop(now);
    }
    let (now, parameters) = (room.now, room.rig.testbed().server_parameters(0));
    room.server.run_as_dedicated_server(now, parameters).map_err(|error| failed(&error))?;
    room.until(RULE, |room| room.server.status().connected)?;
    for at in 0..2 {
        let (now, parameters) = (room.now, room.rig.testbed().client_parameters(0));
        room.clients[at].run_as_client(now, parameters).map_err(|error| failed(&error))?;
    }
    room.until(RULE, |room| room.clients.iter().all(|client| client.status().members.len() == 2))?;
    let after = room.clients[0].status().session;
    if after == before || after != room.server.status().session {
        return Err(Violation { rule: RULE, seen: format!("session {before:?}, then {after:?}") });
    }
    PASSED
}

fn host_texts<T: Testbed>(room: &mut Room<'_, T>) -> Vec<String> {
    let text = |event| match event {
        EngineEvent::Session(ClientEvent::Text { text, .. }) => Some(text),
        _ => None,
    };
    std::iter::from_fn(|| room.server.poll_event()).filter_map(text).collect()
}

/// The mode reads so, it is a member of the session that it hosts, and when it stops its clients
/// lose it.
pub fn a_host_is_server_and_client<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let mut room = Room::begin(rig, Mode::Host, 2)?;
    let status = room.server.status();
    if status.mode.to_string() != "server & client"
        || !status.connected
        || status.members.len() != 3
    {
        return Err(Violation {
            rule: "a host is a member of the session that it serves",
            seen: format!("{status:?}"),
        });
    }
    let now = room.now;
    room.server.stop(now);
    room.until("clients of a host that stops are no longer connected", |room| {
        room.clients.iter().all(|client| !client.status().connected)
    })?;
    PASSED
}

/// Voice and text go both ways.
pub fn a_host_speaks_and_hears<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "a host and its clients hear each other, and none hears itself";
    for speaker in [HOST, 0] {
        let mut room = Room::begin(rig, Mode::Host, 2)?;
        for _ in 0..150 {
            room.frame(&[speaker])?;
        }
        let mut heard = vec![room.server_heard, room.heard[0], room.heard[1]];
        let seen = format!("levels in dBFS of host and clients, {speaker} speaking: {heard:?}");
        let own = heard.remove(if speaker == HOST { 0 } else { 1 });
        if own > -80.0 || heard.iter().any(|level| *level < -25.0) {
            return Err(Violation { rule: RULE, seen });
        }
    }
    PASSED
}

/// To the host and from it.
pub fn a_text_reaches_a_host_and_comes_from_it<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "a text reaches every other member once, the host as well";
    let mut room = Room::begin(rig, Mode::Host, 2)?;
    let (now, all) = (room.now, Recipient::Group(GroupId::of(voicemesh_session::GLOBAL_GROUP)));
    room.server.send_text(now, all, "host").map_err(|error| failed(&error))?;
    room.clients[0].send_text(now, all, "client").map_err(|error| failed(&error))?;
    let mut texts = [Vec::new(), Vec::new(), Vec::new()];
    let mut collect = |room: &mut Room<'_, T>| {
        texts[0].extend(host_texts(room));
        texts[1].extend(room.texts(0));
        texts[2].extend(room.texts(1));
        texts.iter().map(Vec::len).sum::<usize>()
    };
    room.until(RULE, |room| collect(room) >= 4)?;
    for _ in 0..room.rig.testbed().vigil() {
        room.frame(&[])?;
    }
    collect(&mut room);
    texts[2].sort();
    if texts[0] != ["client"] || texts[1] != ["host"] || texts[2] != ["client", "host"] {
        return Err(Violation { rule: RULE, seen: format!("{texts:?}") });
    }
    PASSED
}

/// A host has no connection to a server of the network: what its peers send is for its server.
pub fn a_host_is_given_nothing_as_if_it_were_a_client<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    let mut room = Room::begin(rig, Mode::Host, 2)?;
    let now = room.now;
    room.clients[1].join_group(now, "others").map_err(|error| failed(&error))?;
    for _ in 0..50 {
        room.frame(&[0, HOST])?;
    }
    let broken = std::iter::from_fn(|| room.server.poll_event()).find_map(|event| match event {
        EngineEvent::ContractBroken(error) => Some(error),
        _ => None,
    });
    match broken {
        None => PASSED,
        Some(error) => Err(Violation {
            rule: "what peers send to a host is FromClient",
            seen: error.to_string(),
        }),
    }
}

/// And is each time a new session, which clients can enter.
pub fn a_host_starts_again_after_it_stopped<T: Testbed>(rig: &mut Rig<T>) -> Verdict {
    const RULE: &str = "a host that starts again begins a new session, which clients can enter";
    let mut room = Room::begin(rig, Mode::Host, 1)?;
    let mut sessions = vec![room.server.status().session];
    for mode in [Mode::DedicatedServer, Mode::Host, Mode::Host] {
        let now = room.now;
        room.server.stop(now);
        room.until(RULE, |room| !room.clients[0].status().connected)?;
        let now = room.now;
        room.clients[0].stop(now);
        let parameters = room.rig.testbed().server_parameters(0);
        match mode {
            Mode::Host => room.server.run_as_host(now, parameters),
            Mode::None | Mode::Client | Mode::DedicatedServer => {
                room.server.run_as_dedicated_server(now, parameters)
            }
        }
        .map_err(|error| failed(&error))?;
        room.until(RULE, |room| room.server.status().connected)?;
        let (now, parameters) = (room.now, room.rig.testbed().client_parameters(0));
        room.clients[0].run_as_client(now, parameters).map_err(|error| failed(&error))?;
        let members = 1 + usize::from(mode.is_client());
        room.until(RULE, |room| room.clients[0].status().members.len() == members)?;
        let session = room.clients[0].status().session;
        if sessions.contains(&session) {
            return Err(Violation { rule: RULE, seen: format!("session {session:?} again") });
        }
        sessions.push(session);
    }
    PASSED
}
