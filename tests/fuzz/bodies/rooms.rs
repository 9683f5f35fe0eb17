//! A script of connections, texts and packets against the whole signaling server: no panic, only
//! messages that can be read, nothing to a connection that has ended, rooms that know exactly those
//! who are in them. Passwords are hashed by a quick stand-in, so that scripts get past them;
//! members get tickets, and with them the right to moderate.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_rooms::ticket::{NONCE_BYTES, TicketCipher, TicketKey};
use voicemesh_rooms::{
    CloseReason, ConnectionId, Digest, Enqueue, Input as Arrives, Line, Malformed, Part, Publisher,
    Purpose, Refusal, RoomRules, Salt, Settings, Signaling, Text, Visit,
};
use voicemesh_session::{Delivery, ServerConfig};
use voicemesh_wire::PeerId;
use voicemesh_wire::identity::IdentityProof;
use voicemesh_wire::packet;
use voicemesh_wire::signaling::{
    Capabilities, ClientMessage, ErrorCode, Join, LeaveReason, MemberStatus, Metadata, Moderation,
    PROTOCOL_VERSION, Password, Presence, ServerLimits, ServerMessage, Signal, Ticket,
    decode_server,
};

use super::input::{Input, with_header};

/// Connections at a time that a script can name.
const SLOTS: u8 = 8;
/// People that a script can name: fewer than slots, so that they replace themselves and take over.
const PEOPLE: u8 = 5;
const ROOMS: [&str; 3] = ["a", "A", "b"];
/// Few, so that scripts reach the limits.
const PEERS_PER_ROOM: u32 = 4;
const MAX_ROOMS: usize = 2;

/// The end of one connection. What waits for a snapshot waits until the script takes it.
#[derive(Clone, Default)]
struct ScriptLine(Rc<State>);

#[derive(Default)]
struct State {
    ending: Cell<Option<CloseReason>>,
    hashed: RefCell<Option<Result<Digest, Refusal>>>,
    part: RefCell<Option<Part>>,
    /// How it answers what others send to it: taken, or too much waits.
    is_busy: Cell<bool>,
    session: Cell<Option<u32>>,
    client: Cell<u16>,
    ticket: RefCell<Option<Ticket>>,
}

/// What scripts have reached, for those who look whether they reach what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Passwords that were hashed.
    pub hashes: u32,
    /// Joins that were let in after a hash.
    pub let_in: u32,
    /// Hashed passwords that were wrong.
    pub wrong: u32,
    /// Passwords that a moderator set.
    pub set: u32,
    /// Joins that were let in with a ticket.
    pub with_ticket: u32,
}

/// Stands in for the cipher of tickets: no secret is needed where all is in one process.
struct OpenCipher;

impl TicketCipher for OpenCipher {
    fn seal(&self, nonce: [u8; NONCE_BYTES], text: Vec<u8>) -> Option<Vec<u8>> {
        Some([&nonce[..], &text].concat())
    }

    fn open(&self, nonce: [u8; NONCE_BYTES], sealed: Vec<u8>) -> Option<Vec<u8>> {
        Some(sealed.strip_prefix(&nonce[..])?.to_vec())
    }
}

/// Stands in for Argon2id: as different for different passwords and salts, and quick.
fn quick_digest(password: &Password, salt: Salt) -> Digest {
    let mut hash = [0; 32];
    let mut state = 0xCBF2_9CE4_8422_2325_u64;
    for byte in salt.0.iter().chain(password.as_bytes()) {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
    }
    for part in hash.chunks_exact_mut(8) {
        state = (state ^ state >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        part.copy_from_slice(&state.to_be_bytes());
    }
    Digest::from_parts(salt, hash)
}

impl ScriptLine {
    fn put(&self, purpose: Purpose) -> Enqueue {
        match purpose {
            _ if self.0.ending.get().is_some() => Enqueue::Ended,
            Purpose::From(_) if self.0.is_busy.get() => Enqueue::Busy,
            _ => Enqueue::Queued,
        }
    }
}

impl Line for ScriptLine {
    fn text(&self, _: Duration, message: &Text, purpose: Purpose) -> Enqueue {
        let text = std::str::from_utf8(message.bytes()).expect("messages are UTF-8");
        let message = decode_server(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        match message {
            ServerMessage::Joined(joined) => {
                self.0.session.set(Some(joined.session));
                self.0.client.set(joined.client.0);
                self.0.ticket.replace(joined.ticket);
            }
            ServerMessage::Ticket { ticket } => {
                self.0.ticket.replace(Some(ticket));
            }
            _ => {}
        }
        self.put(purpose)
    }

    fn published(&self, now: Duration, by: Publisher, message: &Text) -> Enqueue {
        if self.0.is_busy.get() && self.0.part.borrow().is_none() {
            self.0.part.replace(Some(Part::Published(by, 1)));
            return Enqueue::Covered;
        }
        self.text(now, message, Purpose::Update)
    }

    fn packet(&self, _: Duration, packet: Bytes, _: Delivery, purpose: Purpose) -> Enqueue {
        assert!(packet::open(&packet).is_ok(), "only packets are sent");
        self.put(purpose)
    }

    fn pong(&self, now: Duration, message: &Text) -> Enqueue {
        self.text(now, message, Purpose::Answer)
    }

    fn defer_snapshot(&self) -> bool {
        let is_busy = self.0.is_busy.get() && self.0.ending.get().is_none();
        if is_busy {
            self.0.part.replace(Some(Part::default()));
        }
        is_busy
    }

    fn begin_part(&self) {}

    fn end_part(&self, next: Option<Part>) {
        self.0.part.replace(next);
    }

    fn take_texts(&self) -> Vec<(Bytes, Purpose)> {
        Vec::new()
    }

    fn joined(&self) {}

    fn hashed(&self, answer: Result<Digest, Refusal>) {
        self.0.hashed.replace(Some(answer));
    }

    fn end(&self, _: Duration, reason: CloseReason) {
        if self.0.ending.get().is_none() {
            self.0.ending.set(Some(reason));
        }
    }

    fn ending(&self) -> Option<CloseReason> {
        self.0.ending.get()
    }
}

struct World {
    now: Duration,
    signaling: Signaling<ScriptLine>,
    visits: BTreeMap<u8, (ConnectionId, Visit<ScriptLine>)>,
    connections: u64,
    /// Who joined last on each slot.
    people: BTreeMap<u8, u8>,
    /// The newest ticket of each person, whatever the room.
    tickets: BTreeMap<u8, Ticket>,
    reached: Reached,
}

/// One input.
pub fn run(data: &[u8]) {
    reached(data);
}

/// One input; gives what it has reached.
pub fn reached(data: &[u8]) -> Reached {
    let mut input = Input(data);
    let mut world = World::new();
    while !input.is_over() {
        let op = input.u8();
        let slot = input.u8() % SLOTS;
        match op % 12 {
            0 => world.open(slot),
            1 | 2 => world.join(slot, &mut input),
            3 => world.pass(Duration::from_millis(u64::from(input.u16()))),
            4 => world.arrives(slot, Arrives::Text(&String::from_utf8_lossy(input.block()))),
            5 | 6 => world.says(slot, &mut input),
            7 => world.arrives(slot, Arrives::Packet(Bytes::copy_from_slice(input.block()))),
            8 | 9 => world.sends(slot, &mut input),
            10 => world.breaks(slot, &mut input),
            _ => world.takes(slot, &mut input),
        }
        world.check();
    }
    world.reached
}

impl World {
    fn new() -> Self {
        let limits = ServerLimits { peers_per_room: PEERS_PER_ROOM, ..ServerLimits::default() };
        let session = ServerConfig { reliable_packet_bytes: 300, ..ServerConfig::default() };
        let rules = RoomRules { limits, session, ..RoomRules::default() };
        let tickets = Some(TicketKey::new(Arc::new(OpenCipher), 1));
        let settings = Settings { rules, max_rooms: MAX_ROOMS, tickets, ..Settings::default() };
        let drawn = AtomicU32::new(1);
        let draw = move |bytes: &mut [u8]| {
            let number = drawn.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            bytes.iter_mut().zip(number.iter().cycle()).for_each(|(byte, drawn)| *byte = *drawn);
            true
        };
        let signaling = Signaling::new(settings, Box::new(draw));
        Self {
            now: Duration::ZERO,
            signaling,
            visits: BTreeMap::new(),
            connections: 0,
            people: BTreeMap::new(),
            tickets: BTreeMap::new(),
            reached: Reached::default(),
        }
    }

    /// A new connection, in place of the one that was there.
    fn open(&mut self, slot: u8) {
        self.keep_tickets();
        self.arrives(slot, Arrives::Left(LeaveReason::Lost));
        self.connections += 1;
        let id = ConnectionId(self.connections);
        let visit = Visit::local(self.now, id, ScriptLine::default(), &self.signaling);
        self.visits.insert(slot, (id, visit));
    }

    fn keep_tickets(&mut self) {
        for (slot, (_, visit)) in &self.visits {
            if let (Some(person), Some(ticket)) =
                (self.people.get(slot), visit.line().0.ticket.take())
            {
                self.tickets.insert(*person, ticket);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.signaling.set_unix_time(self.now.as_secs());
        self.signaling.tick(self.now);
    }

    fn arrives(&mut self, slot: u8, what: Arrives<'_>) {
        let Some((_, visit)) = self.visits.get_mut(&slot) else { return };
        // A connection that is ending, or whose password is looked at and that has sent much, is
        // not read.
        let is_end = matches!(what, Arrives::Left(_));
        if !is_end && (visit.line().ending().is_some() || visit.is_full()) {
            return;
        }
        self.signaling.handle(self.now, visit, what);
        if let Some(reason) = visit.line().ending() {
            self.signaling.handle(self.now, visit, Arrives::Left(reason.leave_reason()));
        }
    }

    fn join(&mut self, slot: u8, input: &mut Input<'_>) {
        if !self.visits.contains_key(&slot) {
            self.open(slot);
        }
        let (person, how) = (input.u8() % PEOPLE, input.u8());
        let password = match how & 3 {
            0 => Some("sesame".into()),
            1 => Some("".into()),
            2 => Some("other".into()),
            _ => None,
        };
        let presence = match how >> 2 & 7 {
            0 => Presence::MustExist,
            1 => Presence::MustNotExist,
            _ => Presence::Either,
        };
        let place = input.u8();
        self.keep_tickets();
        let ticket = self.tickets.get(&person).filter(|_| place & 0x80 != 0).cloned();
        let has_ticket = ticket.is_some();
        let join = Join {
            protocol: PROTOCOL_VERSION,
            room: ROOMS[usize::from(place) % ROOMS.len()].to_owned(),
            name: format!("person {person}"),
            proof: IdentityProof([person; 32]),
            run: u32::from(how >> 5 & 1),
            capabilities: Capabilities { group_text: how >> 6 & 1 == 0, ..Capabilities::default() },
            metadata: Metadata::new(),
            status: MemberStatus::default(),
            presence,
            password,
            room_metadata: Metadata::new(),
            token: None,
            ticket,
        };
        let was_inside = self.is_inside(slot);
        self.arrives(slot, Arrives::Text(&ClientMessage::Join(join).to_json()));
        if !was_inside {
            self.people.insert(slot, person);
            self.reached.with_ticket += u32::from(has_ticket && self.is_inside(slot));
        }
    }

    fn says(&mut self, slot: u8, input: &mut Input<'_>) {
        let peer = IdentityProof([input.u8() % PEOPLE; 32]).peer_id();
        let number = input.u8();
        let request = Some(u32::from(number)).filter(|_| number & 1 == 0);
        let action = |action| ClientMessage::Moderate { request, action };
        let text = |input: &mut Input<'_>| String::from_utf8_lossy(input.block()).into_owned();
        let message = match number % 16 {
            0 => ClientMessage::Leave,
            1 if number >= 128 => ClientMessage::Status(MemberStatus {
                muted: number & 16 != 0,
                recording: number & 32 != 0,
                ..MemberStatus::default()
            }),
            1 => ClientMessage::Roster,
            2 if number >= 128 => ClientMessage::Signal {
                to: peer,
                attempt: 1,
                signal: Signal::Offer { sdp: text(input) },
            },
            2 => ClientMessage::Ping { token: number.into() },
            3 => ClientMessage::SetMetadata {
                request,
                set: [(text(input), Some(text(input)))].into(),
            },
            4 => ClientMessage::SetRoomMetadata {
                request,
                set: [(text(input), Some(text(input)))].into(),
            },
            5 => action(Moderation::Mute { peer }),
            6 => action(Moderation::Unmute { peer }),
            7 => action(Moderation::Kick { peer }),
            8 => action(Moderation::Ban { peer, seconds: 1 + u32::from(input.u8()) }),
            9 => action(Moderation::Unban { peer }),
            10 => action(Moderation::Move { peer, groups: vec![text(input)] }),
            11 => action(Moderation::Lock),
            12 => action(Moderation::Unlock),
            13 => action(Moderation::SetPassword { password: Some(text(input).into()) }),
            14 => action(Moderation::MakeOwner { peer }),
            _ => action(Moderation::SetPassword { password: None }),
        };
        self.arrives(slot, Arrives::Text(&message.to_json()));
    }

    /// A packet whose header and sender are right.
    fn sends(&mut self, slot: u8, input: &mut Input<'_>) {
        let Some((_, visit)) = self.visits.get(&slot) else { return };
        let (session, client) =
            (visit.line().0.session.get().unwrap_or(1), visit.line().0.client.get());
        let kind = input.u8();
        let mut body = Vec::new();
        for _ in 0..input.u8() % 3 {
            body.push(input.u8());
        }
        body.extend_from_slice(&client.to_be_bytes());
        body.extend_from_slice(input.block());
        self.arrives(slot, Arrives::Packet(with_header(kind, session, &body).into()));
    }

    fn breaks(&mut self, slot: u8, input: &mut Input<'_>) {
        let what = match input.u8() % 6 {
            0 => Arrives::Control,
            1 => Arrives::TooLarge,
            2 => Arrives::Malformed(Malformed::Frame),
            3 => Arrives::Left(LeaveReason::Left),
            _ => Arrives::Left(LeaveReason::Lost),
        };
        self.arrives(slot, what);
    }

    fn is_inside(&self, slot: u8) -> bool {
        self.visits.get(&slot).is_some_and(|(_, visit)| visit.is_inside())
    }

    /// The connection takes what waits for it; before that a password is hashed, or the machine has
    /// no memory for it.
    fn takes(&mut self, slot: u8, input: &mut Input<'_>) {
        let what = input.u8();
        if what & 1 == 0
            && let (Some(job), _) = self.signaling.next_hash(self.now)
        {
            let has_memory = what & 4 == 0;
            let digest = has_memory.then(|| quick_digest(job.password(), job.salt()));
            self.reached.hashes += u32::from(has_memory);
            self.signaling.hashed(self.now, job, digest);
        }
        let hashed = self.visits.get(&slot).and_then(|(_, visit)| visit.line().0.hashed.take());
        if let Some(answer) = hashed {
            let (was_inside, is_right) = (self.is_inside(slot), answer.is_ok());
            let is_wrong =
                answer.as_ref().is_err_and(|refusal| refusal.code == ErrorCode::PasswordWrong);
            self.arrives(slot, Arrives::Hashed(answer));
            let is_inside = self.is_inside(slot);
            self.reached.wrong += u32::from(is_wrong);
            self.reached.let_in += u32::from(!was_inside && is_inside);
            self.reached.set += u32::from(was_inside && is_inside && is_right);
        }
        let Some((_, visit)) = self.visits.get_mut(&slot) else { return };
        visit.line().0.is_busy.set(what & 2 != 0);
        let part = visit.line().0.part.take();
        if let Some(part) = part {
            visit.refresh(self.now, part);
        }
    }

    fn check(&self) {
        let mut members = BTreeMap::new();
        for name in ROOMS {
            let Some(room) = self.signaling.room(name) else { continue };
            room.with(self.now, |room, _| {
                assert!(room.len() <= PEERS_PER_ROOM as usize);
                assert_eq!(room.is_empty(), room.owner().is_none());
                assert_eq!(room.is_empty(), room.emptied_at().is_some());
                let known: Vec<PeerId> =
                    self.visits.values().filter_map(|(id, _)| room.peer_of(*id)).collect();
                assert_eq!(known.len(), room.len(), "each member has one connection");
                for member in room.session().table().members() {
                    let is_here =
                        |id: &ConnectionId| room.session().client_of(*id) == Some(member.info.id);
                    assert!(
                        self.visits.values().any(|(id, _)| is_here(id)),
                        "a client without a connection"
                    );
                }
                members.insert(room.session().session(), room.len());
            });
        }
        assert!(members.len() <= MAX_ROOMS);
        let listed: usize = self.signaling.room_sizes().iter().map(|(_, count)| *count).sum();
        assert_eq!(listed, members.values().sum::<usize>());
    }
}
