//! A whole session over the network: status, text, voice, disconnect.

use std::time::Duration;

use voicemesh_audio::{BLOCK_SAMPLES, Block, level};
use voicemesh_engine::{EngineConfig, EngineEvent, EngineOnNetwork, Mode, VoiceEngine};
use voicemesh_session::client::ClientEvent;
use voicemesh_wire::GroupId;
use voicemesh_wire::packet::Recipient;

use crate::rig::PASSED;
use crate::{Rig, Testbed, Verdict, Violation};

/// A server and clients with sound, over a testbed.
struct Room<'a, T: Testbed> {
    rig: &'a mut Rig<T>,
    now: Duration,
    server: EngineOnNetwork<T::Network>,
    clients: Vec<EngineOnNetwork<T::Network>>,
    /// What the last frames sounded like to each, in dBFS at most.
    heard: Vec<f32>,
}

fn failed(error: &dyn std::error::Error) -> Violation {
    Violation { rule: "a session begins", seen: error.to_string() }
}

impl<'a, T: Testbed> Room<'a, T> {
    fn new(rig: &'a mut Rig<T>, clients: usize) -> Result<Self, Violation> {
        let make = |rig: &mut Rig<T>, name: String, seed| {
            let engine = VoiceEngine::new(EngineConfig::new(name, seed)).map_err(|error| failed(&error))?;
            Ok(EngineOnNetwork::new(engine, rig.testbed().peer()))
        };
        let mut server = make(rig, "server".to_owned(), 1)?;
        let parameters = rig.testbed().server_parameters(0);
        server.run_as_dedicated_server(Duration::ZERO, parameters).map_err(|error| failed(&error))?;
        let mut room = Self { rig, now: Duration::ZERO, server, clients: Vec::new(), heard: Vec::new() };
        room.until("a server that can serve is connected", |room| room.server.status().connected)?;
        for number in 0..clients {
            let mut client = make(room.rig, format!("client {number}"), 100 + number as u64)?;
            let parameters = room.rig.testbed().client_parameters(0);
            client.run_as_client(room.now, parameters).map_err(|error| failed(&error))?;
            room.clients.push(client);
            room.heard.push(f32::NEG_INFINITY);
        }
        room.until("every member sees every member", |room| {
            room.clients.iter().all(|client| client.status().members.len() == clients)
        })?;
        Ok(room)
    }

    /// One frame, in which these clients hum.
    fn frame(&mut self, humming: &[usize]) -> Result<(), Violation> {
        self.now += self.rig.testbed().pass();
        self.server.update(self.now);
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

    fn until(&mut self, rule: &'static str, mut is_so: impl FnMut(&mut Self) -> bool) -> Result<(), Violation> {
        for _ in 0..self.rig.testbed().patience() {
            if is_so(self) {
                return Ok(());
            }
            self.frame(&[])?;
        }
        let members: Vec<usize> = self.clients.iter().map(|client| client.status().members.len()).collect();
        Err(Violation { rule, seen: format!("members that each client sees at the end: {members:?}") })
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
    std::array::from_fn(|at| 0.3 * ((begin + at as f32) * 200.0 * std::f32::consts::TAU / 48_000.0).sin())
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
        return Err(Violation { rule: RULE, seen: format!("{texts:?}, and the others {others:?}") });
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
