//! Nodes, a bus, a store and members under one virtual clock: one seed, one course.
//!
//! The bus and the store can be cut, nodes stop for a while, crash and drain, and each has a clock
//! with another origin and another rate. What must hold is checked where members are: see
//! [`World::violations`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_cluster::{Epoch, Node, NodeId, Output, RequestId, StoreAnswer, StoreRequest, Topic};
use voicemesh_rooms::{
    CloseReason, ConnectionId, Digest, Input, Line as _, Next, OutgoingMessage, Salt, Settings,
    Signaling,
};
use voicemesh_wire::signaling::{ClientMessage, LeaveReason};
use voicemesh_wire::{ClientId, PeerId};

use crate::line::SimLine;
use crate::member::{Member, Said, State};

/// How often members say something.
const ACTS: Duration = Duration::from_millis(150);
/// How often it is looked whether members are in two sessions.
const LOOKS: Duration = Duration::from_millis(50);
/// A member is served in a session if it was answered, or heard another, within this time.
const SERVED: Duration = Duration::from_millis(600);
/// Members that are connected are served in two sessions for at most this long.
const SPLIT: Duration = Duration::from_secs(2);

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

enum Event {
    Tick { node: usize, run: NodeId },
    Bus { run: NodeId, message: Bytes },
    Ask { run: NodeId, id: RequestId, request: StoreRequest },
    Answer { run: NodeId, id: RequestId, answer: StoreAnswer },
    Changed { run: NodeId, room: String, revision: u64 },
    Opens { node: usize, run: NodeId, member: usize, id: ConnectionId },
    FromMember { run: NodeId, id: ConnectionId, said: Said },
    Lost { run: NodeId, id: ConnectionId, reason: LeaveReason },
    ToMember { member: usize, id: ConnectionId, said: Said },
    Closed { member: usize, id: ConnectionId },
    Acts { member: usize },
    Reads { run: NodeId },
    Look,
    Fault(Fault),
}

/// What goes wrong, or is right again.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nodes with different numbers do not reach each other; the store is with those of `store`.
    Partition { groups: Vec<u8>, store: u8 },
    /// A node reaches no bus, nor the store.
    Unplug { node: usize, is_cut: bool },
    /// The store answers nothing.
    StoreDown { is_down: bool },
    /// This part of the messages of the bus is lost.
    Loss { part: f64 },
    /// A node does nothing for so long; then it does all that waited.
    Pause { node: usize, time: Duration },
    /// A node is gone, with its sockets.
    Crash { node: usize },
    /// A new run of a node begins.
    Start { node: usize },
    /// A node gives its rooms away.
    Drain { node: usize },
    /// A member reads nothing for so long.
    Sluggish { member: usize, time: Duration },
    /// A member leaves, or comes back.
    Wants { member: usize, wants: bool },
}

struct Slot {
    node: Option<Node<SimLine>>,
    run: NodeId,
    lines: BTreeMap<ConnectionId, (usize, SimLine)>,
    paused_until: Duration,
    clock: Clock,
    is_cut: bool,
    group: u8,
}

/// A node's own clock.
#[derive(Clone, Copy)]
struct Clock {
    started_at: Duration,
    origin: Duration,
    rate: f64,
}

impl Clock {
    fn read(self, now: Duration) -> Duration {
        self.origin + now.saturating_sub(self.started_at).mul_f64(self.rate)
    }
}

#[derive(Default)]
struct Store {
    records: BTreeMap<String, (u64, Option<NodeId>)>,
    revision: u64,
    is_down: bool,
    group: u8,
}

pub struct World {
    pub now: Duration,
    pub random: fastrand::Rng,
    events: BTreeMap<(Duration, u64), Event>,
    serial: u64,
    slots: Vec<Slot>,
    pub members: Vec<Member>,
    store: Store,
    loss: f64,
    next_connection: u64,
    /// When the last message between two ends arrives: none overtakes another.
    arrivals: BTreeMap<(u64, u64), Duration>,
    /// Which session is of which room and epoch.
    sessions: BTreeMap<u32, (String, Epoch)>,
    clients: BTreeMap<(u32, ClientId), PeerId>,
    split_since: BTreeMap<(u32, u32), Duration>,
    pub violations: Vec<String>,
    /// Changes with everything that happens.
    pub trace: u64,
    checks_epochs: bool,
    /// Messages and bytes that the bus has carried, by sender and receiver.
    pub carried: BTreeMap<(usize, usize), (u64, u64)>,
    /// The last messages of the bus.
    pub recent: VecDeque<Bytes>,
}

impl World {
    pub fn new(seed: u64, nodes: usize, rooms: &[&str], checks_epochs: bool) -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            random: fastrand::Rng::with_seed(seed),
            events: BTreeMap::new(),
            serial: 0,
            slots: Vec::new(),
            members: Vec::new(),
            store: Store::default(),
            loss: 0.0,
            next_connection: 1,
            arrivals: BTreeMap::new(),
            sessions: BTreeMap::new(),
            clients: BTreeMap::new(),
            split_since: BTreeMap::new(),
            violations: Vec::new(),
            trace: seed,
            checks_epochs,
            carried: BTreeMap::new(),
            recent: VecDeque::new(),
        };
        for node in 0..nodes {
            let clock = Clock { started_at: Duration::ZERO, origin: Duration::ZERO, rate: 1.0 };
            world.slots.push(Slot {
                node: None,
                run: NodeId(0),
                lines: BTreeMap::new(),
                paused_until: Duration::ZERO,
                clock,
                is_cut: false,
                group: 0,
            });
            world.start(node);
        }
        for (number, room) in rooms.iter().enumerate() {
            world.members.push(Member::new(number, room));
            let first = world.random.u64(1_500..2_500);
            world.at(ms(first), Event::Acts { member: number });
        }
        world.at(LOOKS, Event::Look);
        world
    }

    fn at(&mut self, time: Duration, event: Event) {
        self.serial += 1;
        self.events.insert((time.max(self.now), self.serial), event);
    }

    pub fn fault_at(&mut self, time: Duration, fault: Fault) {
        self.at(time, Event::Fault(fault));
    }

    /// Sends something from one end to another, in order.
    fn send(&mut self, ends: (u64, u64), delay: Duration, event: Event) {
        let last = self.arrivals.get(&ends).copied().unwrap_or_default();
        let at = (self.now + delay).max(last + Duration::from_micros(1));
        self.arrivals.insert(ends, at);
        self.at(at, event);
    }

    fn start(&mut self, node: usize) {
        if self.slots[node].node.is_some() {
            return;
        }
        let run = NodeId(self.random.u64(1..));
        let seed = self.random.u64(..);
        let draws = Mutex::new(fastrand::Rng::with_seed(seed));
        let draw = move |bytes: &mut [u8]| {
            draws.lock().expect("no panic").fill(bytes);
            true
        };
        let clock = Clock {
            started_at: self.now,
            origin: ms(self.random.u64(0..100_000_000)),
            rate: 0.995 + 0.01 * self.random.f64(),
        };
        let local = clock.read(self.now);
        let signaling = Arc::new(Signaling::new(Settings::default(), Box::new(draw)));
        let mut made = Node::new(local, run, signaling);
        if !self.checks_epochs {
            made.without_epoch_check();
        }
        let slot = &mut self.slots[node];
        (slot.node, slot.run, slot.clock) = (Some(made), run, clock);
        slot.lines.clear();
        slot.paused_until = Duration::ZERO;
        let first = ms(self.random.u64(1..100));
        self.at(self.now + first, Event::Tick { node, run });
    }

    fn slot_of(&self, run: NodeId) -> Option<usize> {
        self.slots.iter().position(|slot| slot.run == run && slot.node.is_some())
    }

    pub fn node(&self, node: usize) -> &Node<SimLine> {
        self.slots[node].node.as_ref().expect("it runs")
    }

    /// One more member, which is let in on a node.
    pub fn add_member(&mut self, room: &str, node: usize) -> usize {
        let member = self.members.len();
        self.members.push(Member::new(member, room));
        self.connect(member, node);
        self.at(self.now + ACTS, Event::Acts { member });
        member
    }

    /// Hands a node a message of the bus.
    pub fn inject(&mut self, node: usize, message: &Bytes) {
        self.call(node, |node, now| node.handle_bus(now, message));
    }

    /// The node that owns a room by its own account, and the epoch.
    pub fn owner_of(&self, room: &str) -> Vec<(usize, Epoch)> {
        let owners = self.slots.iter().enumerate().filter_map(|(number, slot)| {
            let rooms = slot.node.as_ref()?.owned_rooms();
            let (_, epoch) = rooms.into_iter().find(|(owned, _)| owned == room)?;
            Some((number, epoch))
        });
        owners.collect()
    }

    fn bus_connects(&self, from: usize, to: usize) -> bool {
        let (from, to) = (&self.slots[from], &self.slots[to]);
        !from.is_cut && !to.is_cut && from.group == to.group
    }

    fn store_connects(&self, node: usize) -> bool {
        let slot = &self.slots[node];
        !slot.is_cut && slot.group == self.store.group && !self.store.is_down
    }

    pub fn run_until(&mut self, end: Duration) {
        while let Some(entry) = self.events.first_entry() {
            let (at, _) = *entry.key();
            if at > end || !self.violations.is_empty() {
                break;
            }
            let event = entry.remove();
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }

    /// Whether a node does nothing now: then the event waits.
    fn waits_for(&self, event: &Event) -> Option<Duration> {
        let run = match event {
            Event::Tick { run, .. }
            | Event::Bus { run, .. }
            | Event::Answer { run, .. }
            | Event::Changed { run, .. }
            | Event::Opens { run, .. }
            | Event::FromMember { run, .. }
            | Event::Reads { run }
            | Event::Lost { run, .. } => *run,
            _ => return None,
        };
        let slot = &self.slots[self.slot_of(run)?];
        (slot.paused_until > self.now).then_some(slot.paused_until)
    }

    fn happen(&mut self, event: Event) {
        if let Some(until) = self.waits_for(&event) {
            return self.at(until, event);
        }
        match event {
            Event::Tick { node, run } => {
                if self.slot_of(run) == Some(node) {
                    self.call(node, |node, now| node.tick(now));
                    self.check_lines(node);
                    self.at(self.now + ms(50), Event::Tick { node, run });
                }
            }
            Event::Bus { run, message } => {
                if let Some(node) = self.slot_of(run) {
                    self.trace(message.len() as u64);
                    self.call(node, |node, now| node.handle_bus(now, &message));
                }
            }
            Event::Ask { run, id, request } => self.asked(run, id, request),
            Event::Answer { run, id, answer } => {
                if let Some(node) = self.slot_of(run) {
                    self.call(node, |node, now| node.handle_store(now, id, answer));
                }
            }
            Event::Changed { run, room, revision } => {
                if let Some(node) = self.slot_of(run) {
                    self.call(node, |node, now| node.handle_store_change(now, &room, revision));
                }
            }
            Event::Opens { node, run, member, id } => {
                if self.slot_of(run) == Some(node) {
                    let line = SimLine::new(self.slots[node].clock.read(self.now));
                    self.slots[node].lines.insert(id, (member, line.clone()));
                    self.call(node, |node, now| node.open(now, id, line, None));
                }
            }
            Event::FromMember { run, id, said } => self.hear_member(run, id, said),
            Event::Lost { run, id, reason } => {
                if let Some(node) = self.slot_of(run) {
                    self.slots[node].lines.remove(&id);
                    self.call(node, |node, now| {
                        node.handle(now, id, Input::Left(reason));
                    });
                }
            }
            Event::ToMember { member, id, said } => self.show_member(member, id, &said),
            Event::Closed { member, id } => {
                if self.members[member].connection().is_some_and(|on| on.id == id) {
                    self.members[member].closed(self.now, &mut self.random);
                }
            }
            Event::Acts { member } => self.member_acts(member),
            Event::Reads { run } => {
                if let Some(node) = self.slot_of(run) {
                    self.settle(node);
                }
            }
            Event::Look => {
                self.look();
                self.at(self.now + LOOKS, Event::Look);
            }
            Event::Fault(fault) => self.fault(fault),
        }
    }

    fn trace(&mut self, what: u64) {
        let mixed = self.trace ^ what ^ self.now.as_nanos() as u64;
        self.trace = mixed.wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
    }

    /// Calls a node, and carries out what it wants.
    fn call(&mut self, node: usize, call: impl FnOnce(&mut Node<SimLine>, Duration)) {
        let slot = &mut self.slots[node];
        let now = slot.clock.read(self.now);
        let Some(running) = slot.node.as_mut() else { return };
        call(running, now);
        self.note_sessions(node);
        self.settle(node);
    }

    fn note_sessions(&mut self, node: usize) {
        let slot = &self.slots[node];
        let now = slot.clock.read(self.now);
        let Some(running) = slot.node.as_ref() else { return };
        for (room, epoch) in running.owned_rooms() {
            let Some(entry) = running.signaling().room(&room) else { continue };
            let session = entry.with(now, |room, _| room.session().session().number());
            let known = self.sessions.entry(session).or_insert_with(|| (room.clone(), epoch));
            if *known != (room.clone(), epoch) {
                let what = format!("session {session} of {known:?} is of {room} {epoch:?} as well");
                self.violations.push(what);
            }
        }
    }

    /// Sends what waits in lines, and what the node has for others, until nothing is left.
    fn settle(&mut self, node: usize) {
        loop {
            let outputs = self.take_outputs(node);
            let lines = self.pump_lines(node);
            if !outputs && !lines {
                return;
            }
        }
    }

    fn take_outputs(&mut self, node: usize) -> bool {
        let mut any = false;
        loop {
            let slot = &mut self.slots[node];
            let run = slot.run;
            let Some(output) = slot.node.as_mut().and_then(Node::poll_output) else { return any };
            any = true;
            match output {
                Output::Publish { topic, message } => self.publish(node, topic, message),
                Output::Store { id, request } => {
                    let delay = Duration::from_micros(self.random.u64(300..4_000));
                    if self.store_connects(node) {
                        self.send((run.0, 0), delay, Event::Ask { run, id, request });
                    } else if self.random.bool() {
                        let answer = StoreAnswer::Unavailable;
                        let at = self.now + ms(self.random.u64(5..800));
                        self.at(at, Event::Answer { run, id, answer });
                    }
                }
            }
        }
    }

    fn publish(&mut self, node: usize, topic: Topic, message: Bytes) {
        let from = self.slots[node].run;
        for to in 0..self.slots.len() {
            let run = self.slots[to].run;
            let is_meant = topic == Topic::All || topic == Topic::Node(run);
            if !is_meant || self.slots[to].node.is_none() || !self.bus_connects(node, to) {
                continue;
            }
            if self.loss > 0.0 && self.random.f64() < self.loss {
                continue;
            }
            let delay = Duration::from_micros(self.random.u64(150..3_000));
            let message = message.clone();
            let carried = self.carried.entry((node, to)).or_default();
            *carried = (carried.0 + 1, carried.1 + message.len() as u64);
            if self.recent.len() == 512 {
                self.recent.pop_front();
            }
            self.recent.push_back(message.clone());
            self.send((from.0, run.0), delay, Event::Bus { run, message });
        }
    }

    fn asked(&mut self, run: NodeId, id: RequestId, request: StoreRequest) {
        let Some(node) = self.slot_of(run) else { return };
        if !self.store_connects(node) {
            return;
        }
        let (answer, changed) = match request {
            StoreRequest::Read { room } => {
                let (revision, owner) = self.store.records.get(&room).copied().unwrap_or_default();
                (StoreAnswer::Record { revision, owner }, None)
            }
            StoreRequest::Write { room, owner, expected } => {
                let revision = self.store.records.get(&room).map_or(0, |(revision, _)| *revision);
                if revision == expected {
                    self.store.revision += 1;
                    let revision = self.store.revision;
                    self.store.records.insert(room.clone(), (revision, owner));
                    (StoreAnswer::Written { revision }, Some((room, revision)))
                } else {
                    (StoreAnswer::Conflict, None)
                }
            }
        };
        self.trace(id.0);
        // Now and then an answer is lost, although what was asked has happened.
        if self.random.u8(..100) > 0 {
            let delay = Duration::from_micros(self.random.u64(300..4_000));
            self.send((0, run.0), delay, Event::Answer { run, id, answer });
        }
        if let Some((room, revision)) = changed {
            for to in 0..self.slots.len() {
                if self.store_connects(to) && self.random.u8(..10) > 0 {
                    let run = self.slots[to].run;
                    let at = self.now + ms(self.random.u64(1..300));
                    self.at(at, Event::Changed { run, room: room.clone(), revision });
                }
            }
        }
    }

    /// Members read what waits for them. True if anything was done.
    fn pump_lines(&mut self, node: usize) -> bool {
        let mut any = false;
        let now = self.slots[node].clock.read(self.now);
        let run = self.slots[node].run;
        let ids: Vec<ConnectionId> = self.slots[node].lines.keys().copied().collect();
        for id in ids {
            let Some((member, line)) = self.slots[node].lines.get(&id).cloned() else { continue };
            if let Some(answer) = line.take_hashed() {
                any = true;
                self.with_node(node, |node| {
                    node.handle(now, id, Input::Hashed(answer));
                });
            }
            if line.is_abandoned() {
                any = true;
                self.end_socket(node, member, id, &line);
                continue;
            }
            if self.members[member].reads_from > self.now {
                continue;
            }
            let mut took = false;
            loop {
                let said = match line.take(now).next {
                    Next::Message(OutgoingMessage::Text(text)) => Said::Text(
                        String::from_utf8(text.bytes().to_vec()).expect("texts are UTF-8"),
                    ),
                    Next::Message(OutgoingMessage::Packet(packet)) => Said::Packet(packet),
                    Next::Message(OutgoingMessage::Ping) => {
                        line.heard(now);
                        continue;
                    }
                    Next::Snapshot(part) => {
                        self.with_node(node, |node| node.refresh(now, id, part));
                        continue;
                    }
                    Next::Nothing => break,
                };
                took = true;
                let delay = ms(self.random.u64(3..20));
                let ends = (run.0, u64::MAX - id.0);
                self.send(ends, delay, Event::ToMember { member, id, said });
            }
            if took {
                any = true;
                self.with_node(node, |node| node.wrote(now, id));
            }
            if line.ending().is_some() && line.is_empty() {
                any = true;
                self.end_socket(node, member, id, &line);
            }
        }
        any
    }

    fn with_node(&mut self, node: usize, act: impl FnOnce(&mut Node<SimLine>)) {
        if let Some(running) = self.slots[node].node.as_mut() {
            act(running);
        }
    }

    fn end_socket(&mut self, node: usize, member: usize, id: ConnectionId, line: &SimLine) {
        let now = self.slots[node].clock.read(self.now);
        let run = self.slots[node].run;
        self.slots[node].lines.remove(&id);
        let reason = line.ending().unwrap_or(CloseReason::Silent);
        self.with_node(node, |node| {
            node.handle(now, id, Input::Left(reason.leave_reason()));
        });
        let ends = (run.0, u64::MAX - id.0);
        self.send(ends, ms(10), Event::Closed { member, id });
    }

    fn check_lines(&mut self, node: usize) {
        let now = self.slots[node].clock.read(self.now);
        for (member, line) in self.slots[node].lines.values() {
            if self.members[*member].connection().is_some() {
                line.heard(now);
            }
            line.check(now);
        }
        // Passwords are hashed at once, by a quick stand-in.
        while let Some((Some(job), _)) =
            self.slots[node].node.as_ref().map(|node| node.signaling().next_hash(now))
        {
            let digest = quick_digest(job.password().as_bytes(), job.salt());
            self.with_node(node, |node| {
                node.signaling().hashed(now, job, Some(digest));
                node.update(now);
            });
        }
        self.settle(node);
    }

    fn hear_member(&mut self, run: NodeId, id: ConnectionId, said: Said) {
        let Some(node) = self.slot_of(run) else { return };
        let now = self.slots[node].clock.read(self.now);
        let Some((_, line)) = self.slots[node].lines.get(&id) else { return };
        if line.ending().is_some() {
            return;
        }
        line.heard(now);
        self.call(node, |node, now| match said {
            Said::Text(text) => node.handle(now, id, Input::Text(&text)),
            Said::Packet(packet) => node.handle(now, id, Input::Packet(packet)),
        });
    }

    fn show_member(&mut self, member: usize, id: ConnectionId, said: &Said) {
        let this = &mut self.members[member];
        let Some(on) = this.connection() else { return };
        if on.id != id {
            return;
        }
        let node = on.node;
        let shown = this.take(self.now, said);
        let peer = this.peer();
        if let Some(shown) = shown {
            let Some((_, epoch)) = self.sessions.get(&shown.session) else {
                self.violations.push(format!("no node has session {}", shown.session));
                return;
            };
            if *epoch < this.epoch {
                self.violations.push(format!(
                    "{:?}: member {member} on node {node} took {epoch:?} after {:?}",
                    self.now, this.epoch
                ));
            }
            this.epoch = this.epoch.max(*epoch);
            if shown.is_second_join {
                self.violations.push(format!("member {member} was let in twice on one socket"));
            }
            if let Some(client) = shown.client {
                let known = *self.clients.entry((shown.session, client)).or_insert(peer);
                if known != peer {
                    let what = format!("{client:?} of session {} is two peers", shown.session);
                    self.violations.push(what);
                }
            }
        }
        let size = match said {
            Said::Text(text) => text.len(),
            Said::Packet(packet) => packet.len(),
        };
        self.trace(size as u64);
    }

    fn member_acts(&mut self, member: usize) {
        self.at(self.now + ACTS, Event::Acts { member });
        if self.members[member].is_due(self.now) {
            let running: Vec<usize> =
                (0..self.slots.len()).filter(|node| self.slots[*node].node.is_some()).collect();
            if let Some(node) = self.random.choice(running) {
                self.connect(member, node);
            }
            return;
        }
        let Some(on) = self.members[member].connection() else { return };
        let (node, id) = (on.node, on.id);
        let run = self.slots[node].run;
        if !self.members[member].wants {
            let leave = Said::Text(ClientMessage::Leave.to_json());
            self.send_to_node(run, id, leave);
            self.members[member].closed(self.now, &mut self.random);
            let lost = Event::Lost { run, id, reason: LeaveReason::Left };
            self.send((u64::MAX - id.0, run.0), ms(10), lost);
            return;
        }
        match self.members[member].act(self.now) {
            Some(said) => said.into_iter().for_each(|said| self.send_to_node(run, id, said)),
            None => {
                self.members[member].closed(self.now, &mut self.random);
                let lost = Event::Lost { run, id, reason: LeaveReason::Lost };
                self.send((u64::MAX - id.0, run.0), ms(10), lost);
            }
        }
    }

    /// A member opens a connection to a node.
    pub fn connect(&mut self, member: usize, node: usize) {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let run = self.slots[node].run;
        let said = self.members[member].opened(self.now, node, id);
        let opens = Event::Opens { node, run, member, id };
        self.send((u64::MAX - id.0, run.0), ms(15), opens);
        said.into_iter().for_each(|said| self.send_to_node(run, id, said));
    }

    fn send_to_node(&mut self, run: NodeId, id: ConnectionId, said: Said) {
        let delay = ms(self.random.u64(3..20));
        self.send((u64::MAX - id.0, run.0), delay, Event::FromMember { run, id, said });
    }

    /// Members of one connected set of nodes that are served in two sessions of a room.
    fn look(&mut self) {
        let mut served: BTreeMap<(u64, String), Vec<u32>> = BTreeMap::new();
        for member in &self.members {
            let Some(on) = member.connection() else { continue };
            let slot = &self.slots[on.node];
            let is_served = member.served_at.is_some_and(|at| self.now <= at + SERVED);
            if slot.node.is_none() || slot.paused_until > self.now || !is_served {
                continue;
            }
            if let Some(joined) = &on.joined {
                let set = if slot.is_cut { 1_000 + on.node as u64 } else { u64::from(slot.group) };
                let sessions = served.entry((set, member.room.clone())).or_default();
                sessions.push(joined.session.number());
            }
        }
        let mut split = BTreeMap::new();
        for sessions in served.values_mut() {
            sessions.sort_unstable();
            sessions.dedup();
            for (index, one) in sessions.iter().enumerate() {
                for other in &sessions[index + 1..] {
                    let pair = (*one, *other);
                    let since = self.split_since.get(&pair).copied().unwrap_or(self.now);
                    if self.now > since + SPLIT {
                        self.violations.push(format!(
                            "{:?}: sessions {:?} and {:?} side by side since {since:?}",
                            self.now, self.sessions[one], self.sessions[other]
                        ));
                    }
                    split.insert(pair, since);
                }
            }
        }
        self.split_since = split;
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Partition { groups, store } => {
                for (slot, group) in self.slots.iter_mut().zip(groups) {
                    slot.group = group;
                }
                self.store.group = store;
            }
            Fault::Unplug { node, is_cut } => self.slots[node].is_cut = is_cut,
            Fault::StoreDown { is_down } => self.store.is_down = is_down,
            Fault::Loss { part } => self.loss = part,
            Fault::Pause { node, time } => {
                let slot = &mut self.slots[node];
                slot.paused_until = slot.paused_until.max(self.now + time);
            }
            Fault::Crash { node } => {
                self.slots[node].node = None;
                for (id, (member, _)) in std::mem::take(&mut self.slots[node].lines) {
                    self.at(self.now + ms(20), Event::Closed { member, id });
                }
                // Those that were about to be let in.
                for member in 0..self.members.len() {
                    if let Some(on) = self.members[member].connection()
                        && on.node == node
                    {
                        let id = on.id;
                        self.at(self.now + ms(20), Event::Closed { member, id });
                    }
                }
            }
            Fault::Start { node } => self.start(node),
            Fault::Drain { node } => self.call(node, |node, now| node.drain(now)),
            Fault::Sluggish { member, time } => {
                let until = self.now + time;
                self.members[member].reads_from = until;
                if let Some(on) = self.members[member].connection() {
                    let run = self.slots[on.node].run;
                    self.at(until, Event::Reads { run });
                }
            }
            Fault::Wants { member, wants } => {
                self.members[member].wants = wants;
                if let State::Away { until } = &mut self.members[member].state {
                    *until = self.now;
                }
            }
        }
    }

    /// Those who would be in a room and are not with all the others, as each of them hears.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for member in self.members.iter().filter(|member| member.wants) {
            let Some(joined) = member.joined() else {
                missing.push(format!("member {} is not in its room", member.number));
                continue;
            };
            for other in self.members.iter().filter(|other| other.wants) {
                if other.room != member.room || other.number == member.number {
                    continue;
                }
                let is_one = other.joined().is_some_and(|its| its.session == joined.session);
                let heard_at = member.heard.get(&other.peer());
                if !is_one || heard_at.is_none_or(|at| self.now > *at + ms(1_000)) {
                    missing.push(format!(
                        "member {} does not hear {} (one session: {is_one})",
                        member.number, other.number
                    ));
                }
            }
        }
        missing
    }
}

/// Stands in for Argon2id: as different for different passwords and salts, and quick.
fn quick_digest(password: &[u8], salt: Salt) -> Digest {
    let mut hash = [0; 32];
    let mut state = 0xCBF2_9CE4_8422_2325_u64;
    for byte in salt.0.iter().chain(password) {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
    }
    for part in hash.chunks_exact_mut(8) {
        state = (state ^ (state >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        part.copy_from_slice(&state.to_be_bytes());
    }
    Digest::from_parts(salt, hash)
}
