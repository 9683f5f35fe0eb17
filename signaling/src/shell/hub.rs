//! Everything that connections share: rooms by name, mailboxes, addresses, the clock, and the ticker.

mod desk;
mod operator;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use voicemesh_session::Verdict;
use voicemesh_session::server::DropReason;
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, Join, LeaveReason, ServerMessage};
use voicemesh_wire::{PeerId, RoomName, SessionId};

use super::address::{AddressKey, Addresses};
use super::head::Head;
use super::mailbox::{Checked, Mailbox};
use super::metrics::{Gauges, Metrics};
use super::passwords::Passwords;
use super::places::Places;
use super::refused::Upgrades;
use crate::config::Config;
use crate::gate::{Allowance, check_presence};
use crate::kept_bans::KeptBans;
use crate::outbox::{CloseReason, ConnectionId, Purpose, Text};
use crate::refusal::Refusal;
use crate::room::{AddressTag, Digest, Knock, Part, Question, Room, RoomRules, Salt};
use crate::sync::lock;
use crate::ticket::{TicketIssuer, TicketKey};
use crate::token::TokenRules;
use crate::unfinished::{Most, Unfinished};

/// Peers of one room of which it is remembered what is left to them; beyond that, those that have gone are forgotten.
const ALLOWANCES: usize = 128;
/// The ticker's step; shorter if pings come very often.
const TICK: Duration = Duration::from_millis(250);
/// When the peers of a server that stops should come back at the earliest.
const RETRY_AFTER_STOP_MS: u64 = 1_000;
/// When a join that came while the server is drained should be tried again at the earliest.
const RETRY_AFTER_DRAIN_MS: u64 = 5_000;

/// Lock order: `rooms`, then one room, then `kept_bans` or one mailbox. Nothing waits while it holds one.
pub(super) struct Hub {
    pub(super) config: Config,
    pub(super) metrics: Metrics,
    pub(super) addresses: Addresses,
    pub(super) passwords: Passwords,
    pub(super) upgrades: Upgrades,
    rules: Arc<RoomRules>,
    tickets: TicketKey,
    started: Instant,
    rooms: Mutex<HashMap<RoomName, Arc<RoomCell>>>,
    kept_bans: Mutex<KeptBans<RoomName, AddressKey>>,
    mailboxes: Mutex<HashMap<ConnectionId, Arc<Mailbox>>>,
    unfinished: Mutex<Unfinished<AddressKey>>,
    /// Large messages that are being written.
    unwritten: Mutex<Unfinished<AddressKey>>,
    heads: Mutex<HashMap<ConnectionId, Weak<Head>>>,
    next_connection: AtomicU64,
    stopping: AtomicBool,
    /// No more joins; everyone is asked to go.
    draining: AtomicBool,
    emptied: Notify,
    pub(super) places: Places,
}

/// A room with the mailboxes of those in it.
pub(super) struct RoomCell {
    occupied: Mutex<Occupied>,
}

/// What became of a join.
pub(super) enum Admission {
    /// It is in.
    In(Arc<RoomCell>),
    /// Its password has to be hashed first.
    Hash(Box<Join>, Question),
    /// The server is about to stop, and takes no more.
    GoingAway,
}

/// What became of a packet.
pub(super) struct Handled {
    /// It had no effect, and its sender knew.
    pub(super) is_violation: bool,
    /// Bytes of state that answered it.
    pub(super) state_bytes: usize,
}

struct Occupied {
    room: Room,
    /// What is left to each peer that is here, or was lately.
    allowances: BTreeMap<PeerId, Allowance>,
    /// The address of the member who came into it last while it was empty.
    made_by: Option<AddressKey>,
    mailboxes: BTreeMap<ConnectionId, Arc<Mailbox>>,
}

impl Hub {
    /// # Errors
    ///
    /// When the system has no random numbers.
    pub(super) fn new(config: Config, tokens: Option<TokenRules>) -> Result<Self, getrandom::Error> {
        Ok(Self {
            rules: Arc::new(RoomRules { tokens: tokens.map(Arc::new), ..config.room_rules() }),
            tickets: ticket_key(&config)?,
            config,
            metrics: Metrics::default(),
            addresses: Addresses::default(),
            passwords: Passwords::default(),
            upgrades: Upgrades::default(),
            started: Instant::now(),
            rooms: Mutex::default(),
            kept_bans: Mutex::default(),
            mailboxes: Mutex::default(),
            unfinished: Mutex::new(Unfinished::new(Most::ARRIVING)),
            unwritten: Mutex::new(Unfinished::new(Most::WRITTEN)),
            heads: Mutex::default(),
            next_connection: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            emptied: Notify::new(),
            places: Places::default(),
        })
    }

    /// The time since the server started: the only clock that rooms know.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Open WebSockets.
    pub(super) fn connections(&self) -> usize {
        lock(&self.mailboxes).len()
    }

    /// What the metrics show beside counters.
    pub(super) fn gauges(&self) -> Gauges {
        // Weak: a reference keeps a room from making space for another.
        let cells: Vec<Weak<RoomCell>> = lock(&self.rooms).values().map(Arc::downgrade).collect();
        let members = cells.iter().filter_map(Weak::upgrade).map(|cell| lock(&cell.occupied).room.len()).sum();
        let hashes_waiting = self.passwords.waiting();
        Gauges { connections: self.connections(), rooms: cells.len(), members, hashes_waiting }
    }

    /// For a connection, or for what comes before its first request.
    pub(super) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// A connection that has been accepted and may send the heads of requests.
    pub(super) fn begin_head(&self, id: ConnectionId, head: &Arc<Head>) {
        lock(&self.heads).insert(id, Arc::downgrade(head));
    }

    /// It does no longer.
    pub(super) fn end_head(&self, id: ConnectionId) {
        lock(&self.heads).remove(&id);
    }

    /// A new WebSocket.
    pub(super) fn enter(&self, now: Duration) -> (ConnectionId, Arc<Mailbox>) {
        let id = self.next_id();
        let mailbox = Arc::new(Mailbox::new(now));
        lock(&self.mailboxes).insert(id, Arc::clone(&mailbox));
        // Looked at after the insertion: either we see the flag, or `say_goodbye` sees the mailbox.
        if self.stopping.load(Ordering::SeqCst) {
            goodbye(now, &mailbox);
        }
        (id, mailbox)
    }

    /// A WebSocket that is gone.
    pub(super) fn exit(&self, id: ConnectionId) {
        let mut mailboxes = lock(&self.mailboxes);
        mailboxes.remove(&id);
        if mailboxes.is_empty() {
            self.emptied.notify_one();
        }
    }

    /// Whether a join shows a valid ticket.
    pub(super) fn has_ticket(&self, join: &Join) -> bool {
        let opened =
            |ticket| self.tickets.open(ticket, &RoomName::key_of(&join.room), join.proof.peer_id(), unix_time());
        join.ticket.as_ref().is_some_and(|ticket| opened(ticket).is_some())
    }

    /// Into a room, which is made if it must be. `shown` is the password's digest, if the room has asked for one.
    pub(super) fn join(
        &self,
        now: Duration,
        id: ConnectionId,
        mailbox: &Arc<Mailbox>,
        join: Box<Join>,
        shown: Option<Digest>,
        address: Option<AddressKey>,
    ) -> Result<Admission, Refusal> {
        if self.is_draining() {
            return Ok(Admission::GoingAway);
        }
        let fresh = fresh_salt(&join)?;
        let cell = self.room_for(now, &join, address)?;
        let mut occupied = lock(&cell.occupied);
        occupied.room.set_unix_time(unix_time());
        occupied.room.check_ban(now, &join, address.map(AddressTag::from))?;
        if let Knock::Hash(question) = occupied.room.knock(&join, shown.as_ref(), fresh)? {
            return Ok(Admission::Hash(join, question));
        }
        occupied.room.count_join(now, &join, address.map(AddressTag::from))?;
        occupied.mailboxes.insert(id, Arc::clone(mailbox));
        let was_empty = occupied.room.is_empty();
        let joined = occupied.with(self, now, |room, out| room.join(now, id, *join, shown, out));
        match joined {
            Ok(_) => {
                if was_empty {
                    occupied.made_by = address;
                }
                if let Some(address) = address {
                    occupied.room.set_address(id, address.into());
                }
                mailbox.joined();
                self.metrics.joins.add(1);
            }
            Err(_) => {
                occupied.mailboxes.remove(&id);
            }
        }
        drop(occupied);
        joined.map(|_| Admission::In(cell))
    }

    fn room_for(&self, now: Duration, join: &Join, made_by: Option<AddressKey>) -> Result<Arc<RoomCell>, Refusal> {
        let name = join.room_name()?;
        let mut rooms = lock(&self.rooms);
        if let Some(cell) = rooms.get(&name) {
            return Ok(Arc::clone(cell));
        }
        check_presence(join.presence, 0)?;
        if rooms.len() >= self.config.max_rooms && !self.make_space(now, &mut rooms) {
            return Err(Refusal::of(ErrorCode::ServerFull));
        }
        let mut room = Room::new(now, Arc::clone(&self.rules), random_session()?);
        let seed = random_bytes().map_err(no_random_numbers)?;
        room.set_ticket_issuer(TicketIssuer::new(self.tickets.clone(), seed), name.key().to_owned());
        room.set_bans(lock(&self.kept_bans).take(&name));
        let (allowances, mailboxes) = (BTreeMap::new(), BTreeMap::new());
        let occupied = Mutex::new(Occupied { room, allowances, made_by, mailboxes });
        let cell = Arc::new(RoomCell { occupied });
        rooms.insert(name, Arc::clone(&cell));
        Ok(cell)
    }

    /// Of the address with the most empty rooms, drops the one that has been empty longest: an address that makes many pushes out
    /// its own. The server is full of rooms if none is empty.
    fn make_space(&self, now: Duration, rooms: &mut HashMap<RoomName, Arc<RoomCell>>) -> bool {
        let unused = rooms.iter().filter(|(_, cell)| Arc::strong_count(cell) == 1);
        let emptied = unused.filter_map(|(name, cell)| {
            let occupied = lock(&cell.occupied);
            Some((occupied.made_by, occupied.room.emptied_at()?, name))
        });
        let emptied: Vec<_> = emptied.collect();
        let mut counts: HashMap<Option<AddressKey>, usize> = HashMap::new();
        for (made_by, ..) in &emptied {
            *counts.entry(*made_by).or_default() += 1;
        }
        let most = counts.values().copied().max();
        let of_most = emptied.into_iter().filter(|(made_by, ..)| counts.get(made_by).copied() == most);
        match of_most.map(|(_, at, name)| (at, name)).min().map(|(_, name)| name.clone()) {
            Some(name) => rooms.remove(&name).is_some_and(|cell| {
                self.keep_bans(now, &name, &cell);
                true
            }),
            None => false,
        }
    }

    /// A room is dropped.
    fn keep_bans(&self, now: Duration, name: &RoomName, cell: &RoomCell) {
        let mut occupied = lock(&cell.occupied);
        let bans = occupied.room.take_bans();
        lock(&self.kept_bans).keep(now, name.clone(), occupied.made_by, bans);
    }

    /// What must be hashed for a moderator who sets the room's password.
    pub(super) fn question(&self, cell: &RoomCell, from: ConnectionId) -> Result<Question, Refusal> {
        lock(&cell.occupied).room.check_moderator(from)?;
        Ok(Question { salt: random_bytes().map(Salt).map_err(no_random_numbers)?, expected: None })
    }

    /// Sets the room's password for a moderator.
    pub(super) fn change_password(
        &self,
        now: Duration,
        cell: &RoomCell,
        from: ConnectionId,
        request: Option<u32>,
        digest: Digest,
    ) -> Result<(), Refusal> {
        lock(&cell.occupied).with(self, now, |room, out| room.change_password(from, request, digest, out))
    }

    /// Gives how many bytes of state answered it.
    pub(super) fn message(&self, now: Duration, cell: &RoomCell, from: ConnectionId, message: ClientMessage) -> usize {
        self.metrics.messages.add(1);
        lock(&cell.occupied).with(self, now, |room, out| {
            room.message(now, from, message, out);
            out.state_bytes(from)
        })
    }

    pub(super) fn packet(&self, now: Duration, cell: &RoomCell, from: ConnectionId, packet: &Bytes) -> Handled {
        self.metrics.packets.add(1);
        let (verdict, state_bytes) = lock(&cell.occupied).with(self, now, |room, out| {
            let verdict = room.packet(now, from, packet, out);
            (verdict, out.state_bytes(from))
        });
        let mut is_violation = false;
        if let Verdict::Dropped(reason) = verdict {
            self.metrics.packets_dropped.add(1);
            tracing::trace!(?from, ?reason, "packet dropped");
            is_violation =
                !matches!(reason, DropReason::Outdated | DropReason::NotPermitted | DropReason::HeldElsewhere);
        }
        Handled { is_violation, state_bytes }
    }

    /// A packet was read that is over a budget. Gives its number if it is a written message.
    pub(super) fn packet_refused(&self, cell: &RoomCell, from: ConnectionId, packet: &[u8]) -> Option<u32> {
        lock(&cell.occupied).room.packet_refused(from, packet)
    }

    /// Puts a part of a snapshot into a mailbox in place of updates that it did not take.
    pub(super) fn refresh(
        &self,
        now: Duration,
        cell: &RoomCell,
        to: ConnectionId,
        mailbox: &Mailbox,
        part: Part,
    ) -> usize {
        if part == Part::default() {
            self.metrics.snapshots.add(1);
        }
        let mut occupied = lock(&cell.occupied);
        mailbox.begin_part();
        let (next, bytes) = occupied.with(self, now, |room, out| (room.refresh(to, part, out), out.state_bytes(to)));
        mailbox.end_part(next);
        bytes
    }

    /// What is left to a peer of what one connection may send: a peer that comes again on another connection has no more.
    /// `fresh` is what a peer has that was not here lately.
    pub(super) fn allowance(&self, cell: &RoomCell, id: ConnectionId, fresh: Allowance) -> Allowance {
        let mut occupied = lock(&cell.occupied);
        let Some(peer) = occupied.room.peer_of(id) else { return fresh };
        let allowances = &mut occupied.allowances;
        if allowances.len() >= ALLOWANCES {
            allowances.retain(|_, allowance| allowance.is_shared());
        }
        allowances.entry(peer).or_insert(fresh).clone()
    }

    /// How much of an unfinished message, or of an unfinished head, a connection holds. If there is too much of them, the
    /// oldest one's connection ends.
    pub(super) fn count_unfinished(&self, now: Duration, id: ConnectionId, address: Option<AddressKey>, bytes: usize) {
        let Some(ended) = lock(&self.unfinished).set(now, id, address, bytes) else { return };
        self.metrics.unfinished_ended.add(1);
        let head = lock(&self.heads).get(&ended).and_then(Weak::upgrade);
        if let Some(head) = head {
            return head.give_up();
        }
        let mailbox = lock(&self.mailboxes).get(&ended).map(Arc::clone);
        if let Some(mailbox) = mailbox {
            let refusal = Refusal::unfinished();
            self.metrics.refused(&refusal.code);
            mailbox.text(now, &Text::from(&refusal.farewell()), Purpose::Answer);
            mailbox.end(now, CloseReason::TooLarge);
        }
    }

    /// How much of a large message waits for a connection's socket; 0 for none. If there is too much of them, the one that has
    /// waited longest ends its connection.
    pub(super) fn count_unwritten(&self, now: Duration, id: ConnectionId, address: Option<AddressKey>, bytes: usize) {
        let Some(ended) = lock(&self.unwritten).set(now, id, address, bytes) else { return };
        let mailbox = lock(&self.mailboxes).get(&ended).map(Arc::clone);
        if let Some(mailbox) = mailbox {
            self.metrics.slow_consumers.add(1);
            mailbox.abandon(CloseReason::SlowConsumer);
        }
    }

    pub(super) fn leave(&self, now: Duration, cell: &RoomCell, id: ConnectionId, reason: LeaveReason) {
        let mut occupied = lock(&cell.occupied);
        occupied.with(self, now, |room, out| room.leave(now, id, reason, out));
        occupied.mailboxes.remove(&id);
    }

    /// Tells everybody that the server stops, and ends their connections.
    pub(super) fn say_goodbye(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let now = self.now();
        let mailboxes = lock(&self.mailboxes);
        for mailbox in mailboxes.values() {
            goodbye(now, mailbox);
        }
        if mailboxes.is_empty() {
            self.emptied.notify_one();
        }
    }

    pub(super) async fn wait_until_empty(&self) {
        while self.connections() > 0 {
            self.emptied.notified().await;
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    fn check_connections(&self, now: Duration) {
        for mailbox in lock(&self.mailboxes).values() {
            let checked = mailbox.check(now, self.config.ping_interval, self.config.join_timeout);
            match checked {
                Checked::Well => {}
                Checked::Late => self.metrics.refused(&ErrorCode::JoinTimeout),
                Checked::Lost => self.metrics.lost.add(1),
                Checked::Stuck => self.metrics.slow_consumers.add(1),
            }
        }
    }

    fn check_rooms(&self, now: Duration) {
        let mut rooms = lock(&self.rooms);
        // References that lead into a room are made under this lock, so no connection is about to enter a room that has just
        // one. Those that count and look make others for a moment: then the room goes at the next look.
        rooms.retain(|name, cell| {
            let stays = Arc::strong_count(cell) > 1 || !lock(&cell.occupied).room.is_over(now);
            if !stays {
                self.keep_bans(now, name, cell);
            }
            stays
        });
        let cells: Vec<Weak<RoomCell>> = rooms.values().map(Arc::downgrade).collect();
        drop(rooms);
        let unix = unix_time();
        for cell in cells.iter().filter_map(Weak::upgrade) {
            lock(&cell.occupied).with(self, now, |room, out| {
                room.set_unix_time(unix);
                room.tick(now, out);
            });
        }
    }
}

/// Seconds since 1970. Read anew each time, because the server's own clock stands still while the machine sleeps.
fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// The key of the operator's secret; without one, of a secret that ends with this process.
fn ticket_key(config: &Config) -> Result<TicketKey, getrandom::Error> {
    let server_run = u64::from_be_bytes(random_bytes()?);
    Ok(match &config.secret {
        Some(secret) => TicketKey::new(secret.as_bytes(), server_run),
        None => TicketKey::new(&random_bytes::<32>()?, server_run),
    })
}

fn random_bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

fn no_random_numbers(error: getrandom::Error) -> Refusal {
    tracing::error!("no random numbers: {error}");
    Refusal::of(ErrorCode::ServerFull)
}

/// Only a join that names a password may need one.
fn fresh_salt(join: &Join) -> Result<Salt, Refusal> {
    match join.password {
        Some(_) => random_bytes().map(Salt).map_err(no_random_numbers),
        None => Ok(Salt([0; 16])),
    }
}

fn random_session() -> Result<SessionId, Refusal> {
    loop {
        match getrandom::u32().map(SessionId::new) {
            Ok(Some(session)) => return Ok(session),
            Ok(None) => {}
            Err(error) => return Err(no_random_numbers(error)),
        }
    }
}

/// Answers a join that came while the server is drained.
pub(super) fn turn_away(now: Duration, mailbox: &Mailbox) {
    send_away(now, mailbox, RETRY_AFTER_DRAIN_MS);
}

fn goodbye(now: Duration, mailbox: &Mailbox) {
    send_away(now, mailbox, RETRY_AFTER_STOP_MS);
}

fn send_away(now: Duration, mailbox: &Mailbox, retry_after_ms: u64) {
    mailbox.text(now, &Text::from(&ServerMessage::GoingAway { retry_after_ms }), Purpose::Answer);
    mailbox.end(now, CloseReason::GoingAway);
}

/// Everything that happens by itself.
pub(super) async fn tick(hub: Arc<Hub>) {
    let mut interval = tokio::time::interval(TICK.min(hub.config.ping_interval / 4));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let now = hub.now();
        hub.check_connections(now);
        hub.check_rooms(now);
        hub.addresses.tidy(now);
        hub.places.tidy();
    }
}
