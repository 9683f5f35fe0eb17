//! The signaling server without sockets and clocks: rooms by name, who may come in, what is hashed.
//!
//! One machine in three parts, each behind its own lock, because a packet that is relayed in one
//! room must wait for nothing else: [`Signaling`] for the whole server (which rooms there are,
//! passwords that wait, addresses), [`RoomEntry`] for one room, [`Visit`] for one connection. A
//! `Visit` belongs to its connection's owner, which hands it what arrives ([`Signaling::handle`]);
//! what is sent goes into the connections' [`Line`]s.
//!
//! Lock order: the rooms, then one room, then the kept bans, the passwords, or the joins of one
//! address and behind them its returns; last, one line. The table of addresses is locked before the
//! joins of one of them and under no other lock; an address's budget, and the subjects of access
//! tokens, are locked alone. Nothing waits while it holds one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use voicemesh_common::{AddressKey, lock};
use voicemesh_wire::signaling::{ErrorCode, Join, LeaveReason, PeerInfo};
use voicemesh_wire::{PeerId, RoomName, SessionId};

use crate::address::{Address, Addresses};
use crate::guard::check_presence;
use crate::kept_bans::KeptBans;
use crate::line::Line;
use crate::metrics::Metrics;
use crate::output::ConnectionId;
use crate::passwords::{HashJob, Passwords};
use crate::refusal::Refusal;
use crate::room::{BanInfo, Digest, HashRequest, Room, RoomRules, Salt};
use crate::room_entry::{EntryOutcome, JoinOrigin, RoomEntry};
use crate::subjects::Subjects;
use crate::ticket::{MemberSince, TicketIssuer, TicketKey, TimeOfDay};
use crate::visit::{Input, Visit};
use voicemesh_session::budget::Budgets;

/// Fills a buffer with random bytes that cannot be guessed; false if there are none.
pub type Draw = Box<dyn Fn(&mut [u8]) -> bool + Send + Sync>;

/// What holds for a whole server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What holds for each room.
    pub rules: RoomRules,
    /// What connections may send.
    pub budgets: Budgets,
    /// Rooms at a time, those included that are empty and remembered.
    pub max_rooms: usize,
    /// What members' tickets are sealed with; without it there are none.
    pub tickets: Option<TicketKey>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rules: RoomRules::default(),
            budgets: Budgets::default(),
            max_rooms: usize::MAX,
            tickets: None,
        }
    }
}

/// One server. `L` is the outgoing end of a connection.
pub struct Signaling<L> {
    rules: Arc<RoomRules>,
    budgets: Budgets,
    max_rooms: usize,
    tickets: Option<TicketKey>,
    draw: Draw,
    pub(crate) metrics: Arc<Metrics>,
    addresses: Addresses,
    rooms: Mutex<BTreeMap<RoomName, Arc<RoomEntry<L>>>>,
    kept_bans: Mutex<KeptBans<RoomName, AddressKey>>,
    passwords: Mutex<Passwords<L>>,
    subjects: Mutex<Subjects>,
    /// Seconds since 1970.
    unix: AtomicU64,
    /// The latest of these.
    latest_unix: AtomicU64,
    /// No more joins.
    draining: AtomicBool,
}

/// What became of a join.
pub(crate) enum JoinOutcome<L> {
    /// It is in, by an access token with this subject, and was answered with so many bytes.
    Inside { room: Arc<RoomEntry<L>>, subject: Option<String>, bytes: usize },
    /// Its password has to be hashed first.
    Hash(Box<Join>, HashRequest),
    /// The server is about to stop, and takes no more.
    GoingAway,
}

impl<L> fmt::Debug for Signaling<L> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signaling").finish_non_exhaustive()
    }
}

impl<L: Line> Signaling<L> {
    /// A server without rooms.
    pub fn new(settings: Settings, draw: Draw) -> Self {
        let Settings { rules, budgets, max_rooms, tickets } = settings;
        Self {
            rules: Arc::new(rules),
            budgets,
            max_rooms,
            tickets,
            draw,
            metrics: Arc::default(),
            addresses: Addresses::default(),
            rooms: Mutex::default(),
            kept_bans: Mutex::default(),
            passwords: Mutex::default(),
            subjects: Mutex::default(),
            unix: AtomicU64::new(0),
            latest_unix: AtomicU64::new(0),
            draining: AtomicBool::new(false),
        }
    }

    /// The time of day, in seconds since 1970, from which tickets, tokens and TURN credentials
    /// count. Set it before a join is handled and before [`tick`](Self::tick).
    pub fn set_unix_time(&self, seconds: u64) {
        self.unix.store(seconds, Ordering::Relaxed);
        self.latest_unix.fetch_max(seconds, Ordering::Relaxed);
    }

    fn time_of_day(&self) -> TimeOfDay {
        TimeOfDay {
            seconds: self.unix.load(Ordering::Relaxed),
            latest: self.latest_unix.load(Ordering::Relaxed),
        }
    }

    /// Something that came on a connection. True if a password waits for its hash since then
    /// ([`next_hash`](Self::next_hash)).
    pub fn handle(&self, now: Duration, visit: &mut Visit<L>, input: Input<'_>) -> bool {
        visit.handle(now, input, self)
    }

    /// Runs timers: those of rooms, and what is forgotten with time. Every few hundred milliseconds
    /// is often enough.
    pub fn tick(&self, now: Duration) {
        let mut rooms = lock(&self.rooms);
        // References that lead into a room are made under this lock, so no connection is about to
        // enter a room that has just one. Those that count and look make others for a moment: then
        // the room goes at the next look.
        rooms.retain(|name, entry| {
            let stays =
                Arc::strong_count(entry) > 1 || !entry.with(now, |room, _| room.is_over(now));
            if !stays {
                self.keep_bans(now, name, entry);
            }
            stays
        });
        let entries: Vec<Weak<RoomEntry<L>>> = rooms.values().map(Arc::downgrade).collect();
        drop(rooms);
        let time = self.time_of_day();
        for entry in entries.iter().filter_map(Weak::upgrade) {
            entry.with(now, |room, out| {
                room.set_unix_time(time);
                room.tick(now, out);
            });
        }
        self.addresses.tidy(now);
    }

    /// A room that is there.
    pub fn room(&self, name: &str) -> Option<Arc<RoomEntry<L>>> {
        lock(&self.rooms).get(&RoomName::parse(name).ok()?).map(Arc::clone)
    }

    /// Whether a room is there, or is empty and remembered.
    pub fn has_room(&self, name: &RoomName) -> bool {
        lock(&self.rooms).contains_key(name)
    }

    /// Counters of this server; the caller counts what happens on its sockets.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The entry of an address from which a connection has come, for [`Visit::new`]; `None` if the
    /// address has too many connections already.
    pub fn enter_address(&self, now: Duration, key: AddressKey) -> Option<Arc<Address>> {
        self.addresses.enter(now, key, &self.budgets)
    }

    /// Passwords that wait for their hash.
    pub fn hashes_waiting(&self) -> usize {
        lock(&self.passwords).waiting()
    }

    /// How many rooms there are, and members in them.
    pub fn sizes(&self) -> (usize, usize) {
        // Weak: a reference keeps a room from making space for another.
        let entries: Vec<Weak<RoomEntry<L>>> =
            lock(&self.rooms).values().map(Arc::downgrade).collect();
        let members = entries.iter().filter_map(Weak::upgrade).map(|entry| entry.len()).sum();
        (entries.len(), members)
    }

    /// What connections may send.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Since when a joiner that shows a valid ticket has been a member.
    pub(crate) fn ticket_since(&self, join: &Join) -> Option<MemberSince> {
        let (key, ticket) = (self.tickets.as_ref()?, join.ticket.as_ref()?);
        let (room, peer) = (RoomName::key_of(&join.room), join.proof.peer_id());
        key.open(ticket, &room, peer, self.time_of_day()).map(|ticket| ticket.member_since)
    }

    /// Into a room, which is made if it must be. `presented` is the password's digest, if the room
    /// has asked for one.
    pub(crate) fn join(
        &self,
        now: Duration,
        connection: (ConnectionId, &L),
        join: Box<Join>,
        presented: Option<Digest>,
        origin: &JoinOrigin<'_>,
    ) -> Result<JoinOutcome<L>, Refusal> {
        if self.is_draining() {
            return Ok(JoinOutcome::GoingAway);
        }
        // Only a join that names a password may need one.
        let fresh = if join.password.is_some() { self.fresh_salt()? } else { Salt([0; 16]) };
        let entry = self.room_for(now, &join, origin)?;
        let peer = join.proof.peer_id();
        Ok(
            match entry.join(
                now,
                self.time_of_day(),
                connection,
                join,
                (presented, fresh),
                origin,
            )? {
                EntryOutcome::Hash(join, request) => JoinOutcome::Hash(join, request),
                EntryOutcome::Inside { bytes } => {
                    let subject = self.rules.tokens.is_some().then(|| {
                        let subject = entry.with(now, |room, _| room.subject_of(connection.0))?;
                        self.bind_subject(now, &subject, (peer, connection.0), entry.name());
                        Some(subject)
                    });
                    JoinOutcome::Inside { room: entry, subject: subject.flatten(), bytes }
                }
            },
        )
    }

    /// A subject is one peer at a time: another one, in whichever room, is replaced, and where its
    /// connection was lost the others close their links to it.
    fn bind_subject(
        &self,
        now: Duration,
        subject: &str,
        (peer, connection): (PeerId, ConnectionId),
        room: &RoomName,
    ) {
        let displaced = lock(&self.subjects).entered(now, subject, peer, connection, room.clone());
        let entry_of = |room: &RoomName| lock(&self.rooms).get(room).map(Arc::clone);
        for (connection, room) in displaced.connections {
            if let Some(entry) = entry_of(&room) {
                entry.with(now, |room, out| room.put_out_replaced(now, connection, out));
            }
        }
        for room in displaced.lost_in {
            if let Some(entry) = entry_of(&room) {
                entry.with(now, |room, out| room.put_out_lost(now, subject, peer, out));
            }
        }
    }

    /// A connection with this subject has left its room.
    pub(crate) fn unbind_subject(
        &self,
        now: Duration,
        subject: &str,
        connection: ConnectionId,
        room: &RoomName,
        reason: LeaveReason,
    ) {
        let mut subjects = lock(&self.subjects);
        subjects.left(subject, connection);
        if reason == LeaveReason::Lost {
            subjects.lost(now, subject, room);
        }
    }

    fn room_for(
        &self,
        now: Duration,
        join: &Join,
        origin: &JoinOrigin<'_>,
    ) -> Result<Arc<RoomEntry<L>>, Refusal> {
        let name = join.room_name()?;
        let mut rooms = lock(&self.rooms);
        if let Some(entry) = rooms.get(&name) {
            return Ok(Arc::clone(entry));
        }
        check_presence(join.presence, 0)?;
        if !(origin.may_join)(None) {
            return Err(Refusal::of(ErrorCode::TooManyJoins));
        }
        if rooms.len() >= self.max_rooms && !self.make_space(now, &mut rooms) {
            return Err(Refusal::of(ErrorCode::ServerFull));
        }
        let mut room = Room::new(now, Arc::clone(&self.rules), self.random_session()?);
        if let Some(key) = &self.tickets {
            room.set_ticket_issuer(
                TicketIssuer::new(key.clone(), self.random_bytes()?),
                name.key().to_owned(),
            );
        }
        room.set_bans(lock(&self.kept_bans).take(&name));
        let entry =
            Arc::new(RoomEntry::new(name.clone(), Arc::clone(&self.metrics), room, origin.address));
        rooms.insert(name, Arc::clone(&entry));
        Ok(entry)
    }

    /// Of the address with the most empty rooms, drops the one that has been empty longest: an
    /// address that makes many pushes out its own. The server is full of rooms if none is empty.
    fn make_space(&self, now: Duration, rooms: &mut BTreeMap<RoomName, Arc<RoomEntry<L>>>) -> bool {
        let unused = rooms.iter().filter(|(_, entry)| Arc::strong_count(entry) == 1);
        let emptied = unused.filter_map(|(name, entry)| {
            let (made_by, at) = entry.emptied()?;
            Some((made_by, at, name))
        });
        let emptied: Vec<_> = emptied.collect();
        let mut counts: BTreeMap<Option<AddressKey>, usize> = BTreeMap::new();
        for (made_by, ..) in &emptied {
            *counts.entry(*made_by).or_default() += 1;
        }
        let most = counts.values().copied().max();
        let of_most =
            emptied.into_iter().filter(|(made_by, ..)| counts.get(made_by).copied() == most);
        match of_most.map(|(_, at, name)| (at, name)).min().map(|(_, name)| name.clone()) {
            Some(name) => rooms.remove(&name).is_some_and(|entry| {
                self.keep_bans(now, &name, &entry);
                true
            }),
            None => false,
        }
    }

    /// Drops a room as if this server had never had it, bans included: another server has it now, or
    /// a new session of it begins here. Connections in it stay until they are ended, in a room that
    /// no join finds.
    pub fn forget_room(&self, name: &RoomName) {
        lock(&self.rooms).remove(name);
    }

    /// A room is dropped.
    fn keep_bans(&self, now: Duration, name: &RoomName, entry: &RoomEntry<L>) {
        let made_by = entry.made_by();
        let bans = entry.with(now, |room, _| room.take_bans());
        lock(&self.kept_bans).keep(now, name.clone(), made_by, bans);
    }
}

/// Passwords and randomness.
impl<L: Line> Signaling<L> {
    /// The next password to be hashed, slowly, on a thread of the caller's choice; then
    /// [`hashed`](Self::hashed). Without one, when to ask again at the latest.
    pub fn next_hash(&self, now: Duration) -> (Option<HashJob<L>>, Option<Duration>) {
        lock(&self.passwords).next(now)
    }

    /// A password has been hashed; `None` if there was no memory for it. The connection that asked
    /// gets the answer ([`Line::hashed`]).
    pub fn hashed(&self, now: Duration, job: HashJob<L>, presented: Option<Digest>) {
        self.metrics.password_hashes.add(1);
        lock(&self.passwords).hashed(now, job, presented);
    }

    pub(crate) fn passwords(&self) -> std::sync::MutexGuard<'_, Passwords<L>> {
        lock(&self.passwords)
    }

    pub(crate) fn fresh_salt(&self) -> Result<Salt, Refusal> {
        self.random_bytes().map(Salt)
    }

    fn random_bytes<const N: usize>(&self) -> Result<[u8; N], Refusal> {
        let mut bytes = [0; N];
        if (self.draw)(&mut bytes) { Ok(bytes) } else { Err(Refusal::of(ErrorCode::ServerFull)) }
    }

    fn random_session(&self) -> Result<SessionId, Refusal> {
        loop {
            if let Some(session) = SessionId::new(u32::from_be_bytes(self.random_bytes()?)) {
                return Ok(session);
            }
        }
    }
}

/// What the server's operator sees and does.
impl<L: Line> Signaling<L> {
    /// Rooms with members, and how many.
    pub fn room_sizes(&self) -> Vec<(String, usize)> {
        let rooms: Vec<_> = lock(&self.rooms)
            .iter()
            .map(|(name, entry)| (name.as_str().to_owned(), Arc::downgrade(entry)))
            .collect();
        let sizes =
            rooms.into_iter().filter_map(|(name, entry)| Some((name, entry.upgrade()?.len())));
        let mut sizes: Vec<_> = sizes.filter(|(_, members)| *members > 0).collect();
        sizes.sort_unstable();
        sizes
    }

    /// Everyone in a room with the subject of their access token; `None` if there is no such room.
    pub fn members_of(&self, now: Duration, room: &str) -> Option<Vec<(PeerInfo, Option<String>)>> {
        Some(self.room(room)?.with(now, |room, _| room.members()))
    }

    /// Puts a member out; false if it is not there. `None` if there is no such room.
    pub fn kick(&self, now: Duration, room: &str, peer: PeerId) -> Option<bool> {
        Some(self.room(room)?.with(now, |room, out| room.kick(now, peer, out)))
    }

    /// Gives a member the right to moderate; false if it is not there. `None` if there is no such
    /// room.
    pub fn make_owner(&self, now: Duration, room: &str, peer: PeerId) -> Option<bool> {
        Some(self.room(room)?.with(now, |room, out| room.make_owner(peer, out)))
    }

    /// The bans that hold in a room; `None` if there is no such room.
    pub fn bans_of(&self, now: Duration, room: &str) -> Option<Vec<BanInfo>> {
        match self.room(room) {
            Some(entry) => Some(entry.with(now, |room, _| room.bans(now))),
            None => lock(&self.kept_bans).with(&RoomName::parse(room).ok()?, |bans| bans.list(now)),
        }
    }

    /// Ends a ban; false if there is none. `None` if there is no such room.
    pub fn unban(&self, now: Duration, room: &str, peer: PeerId) -> Option<bool> {
        match self.room(room) {
            Some(entry) => Some(entry.with(now, |room, _| room.unban(now, peer))),
            None => {
                lock(&self.kept_bans).with(&RoomName::parse(room).ok()?, |bans| bans.end(now, peer))
            }
        }
    }

    /// From now on joins are answered with `going-away`.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether no more joins are taken.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}
