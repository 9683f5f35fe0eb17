//! A call over a host: one member's program serves it, the others join by a link, and there is no
//! server beside it.
//!
//! A guest whose host is gone goes on trying its address, and those of the three who were there
//! longest: one of them can take over, and the others come by themselves. For that each guest tells
//! every other, by a private text that is not shown, at which address it would serve.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use voicemesh::over::{Options, Voice, local_addresses, source_address};
use voicemesh::{Event, JoinError, PeerId, RoomEvent, RoomKey, Snapshot, TimedEvent};
use voicemesh_renet::{ClientParameters, HOST_IS_FULL, HostKey, HostLink, NO_ANSWER, RenetNetwork};

use crate::arguments::HostArguments;
use crate::end::End;
use crate::exit::{Exit, Failure};
use crate::host_links::{HostLinks, NoHost, is_local, resolved};
use crate::text::harmless;

/// How long an address is tried, and after how long a silence the host is lost.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A host that was lost is tried again after this, then after twice as long each time …
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// … up to this.
const LAST_RETRY: Duration = Duration::from_secs(8);
/// How often a host looks whether this machine has other addresses.
const LOOKS_AGAIN: Duration = Duration::from_secs(5);
/// Before a guest takes over, the host is asked once more, for so long.
const ASKED_ONCE_MORE: Duration = Duration::from_secs(10);
/// A connection that is no more, and of which nothing was said for so long, is tried again.
const UNTOLD: Duration = Duration::from_secs(2);
/// The first client of a session is its host's own.
const OF_HOST: u16 = 1;
/// How many others may be there at one time, once a guest has taken over.
const MOST_GUESTS: u16 = 31;
/// Of so many, those who have been there longest, addresses are tried when the host is gone.
const SUCCESSORS: usize = 3;
/// Of those named in several outages, the newest are kept.
const MOST_SUCCESSORS: usize = 8;
/// Addresses of a link that are tried, the likeliest first.
const MOST_OF_LINK: usize = 8;
/// A private text that begins so says where its author would serve. No one can type it.
const ADDRESS_MARK: &str = "\u{1}voicemesh host ";
/// Codes of [`RoomEvent::Refused`] that are about serving.
const HOSTING_CODES: [&str; 2] = ["not-started", "hosting-failed"];
/// How often it is looked whether leaving is done.
const LEAVING_TURN: Duration = Duration::from_millis(5);

/// What it takes to begin, found before anything is opened.
pub(crate) enum Plan {
    /// Serve the call, for so many others.
    Host(HostLinks, u16),
    /// Join it.
    Guest(HostLink, Vec<SocketAddr>),
}

/// Why a call ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub end: End,
    pub message: String,
    pub next_step: Option<String>,
}

/// A stay in such a call.
pub(crate) struct HostedCall {
    voice: Voice<RenetNetwork>,
    started: Instant,
    key: HostKey,
    role: Role,
    roster: Roster,
    waiting: VecDeque<TimedEvent>,
    end: Option<Ended>,
    /// What the user may do about a host that is gone, or has to know of the one that is there.
    advice: Option<String>,
    /// Who hosts the call now is to be said.
    names_host: bool,
    /// This program has taken over, and that is to be shown.
    has_taken_over: bool,
    /// Others may reach this machine by further links, and these are to be shown.
    has_new_links: bool,
    /// When it is looked next.
    look_at: Duration,
}

enum Role {
    Host(HostLinks),
    Guest(Guest),
}

struct Guest {
    /// Of the link, without its key.
    place: String,
    port: u16,
    servers: Servers,
    attempts: Attempts,
    retry_at: Option<Duration>,
    /// It becomes the host, if that does not answer.
    take_over: Option<TakeOver>,
    /// Since then nothing runs, and nothing was said about it.
    idle_since: Option<Duration>,
    /// The latest session.
    session: Option<u32>,
}

/// A guest is about to become the host, and asks the former one once more: it may be that only this
/// machine was without a network.
#[derive(Clone, Copy, Debug)]
struct TakeOver {
    until: Duration,
    /// Further attempts, so that each family of addresses has one.
    asks_left: u8,
}

impl TakeOver {
    fn begin(now: Duration, asks: u8) -> Self {
        Self { until: now + ASKED_ONCE_MORE, asks_left: asks }
    }

    /// An attempt has failed: whether another follows.
    fn asks_again(&mut self, now: Duration) -> bool {
        let asks = now < self.until && self.asks_left > 0;
        self.asks_left = self.asks_left.saturating_sub(1);
        asks
    }
}

impl Plan {
    /// # Errors
    ///
    /// Why it cannot be served.
    pub(crate) fn host(arguments: &HostArguments) -> Result<Self, Failure> {
        let links = HostLinks::find(arguments.listen, &arguments.public, HostKey::random());
        let links = links.map_err(|NoHost { what, step }| Failure {
            exit: Exit::Other,
            message: format!("{what} {step}"),
            next_step: Some(step.to_owned()),
        })?;
        Ok(Self::Host(links, arguments.most))
    }

    /// # Errors
    ///
    /// When the link is damaged, or its host has no address.
    pub(crate) fn guest(link: &str) -> Result<Self, Failure> {
        let link = HostLink::parse(link).map_err(|error| {
            let step = "Copy the whole link again.";
            Failure {
                exit: Exit::Usage,
                message: format!("This is no link to a host: {error}. {step}"),
                next_step: Some(step.to_owned()),
            }
        })?;
        let addresses = resolved(link.host(), link.port()).map_err(|why| {
            let step = "Check the link, and whether this machine is online.";
            Failure {
                exit: Exit::Unreachable,
                message: format!("{why} {step}"),
                next_step: Some(step.to_owned()),
            }
        })?;
        Ok(Self::Guest(link, addresses))
    }

    /// How the call is called.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Host(..) => YOUR_CALL.to_owned(),
            Self::Guest(link, _) => link.place(),
        }
    }
}

/// The answer to `/host` while the host is away.
pub(crate) const ASKING: &str = "The host is asked once more, for at most ten seconds. If it does not answer, you become the host.";
const HOST_ANSWERS: &str = "The host answers: its call goes on, and you do not take over.";
const NO_WAY: &str = "This machine has no way to the host, so that it may be there all the same. /host takes over once this machine has a network again and the host gives no answer.";

/// In place of a room's name, at the host.
pub(crate) const YOUR_CALL: &str = "your call";

impl HostedCall {
    /// Opens the devices and begins to serve, or to join.
    ///
    /// # Errors
    ///
    /// When a device cannot be opened.
    pub(crate) fn begin(plan: Plan, options: Options) -> Result<Self, JoinError> {
        let started = Instant::now();
        let key = match &plan {
            Plan::Host(links, _) => links.key(),
            Plan::Guest(link, _) => link.key(),
        };
        let options = options.room_key(RoomKey::new(key.room_key()));
        let mut voice = Voice::new(options, RenetNetwork::new())?;
        let (key, role) = match plan {
            Plan::Host(links, most) => {
                voice.run_as_host(links.server_parameters(most));
                (links.key().clone(), Role::Host(links))
            }
            Plan::Guest(link, addresses) => {
                let servers = Servers::of_link(addresses);
                let mut guest = Guest {
                    place: link.place(),
                    port: link.port(),
                    servers,
                    attempts: Attempts::default(),
                    retry_at: None,
                    take_over: None,
                    idle_since: None,
                    session: None,
                };
                guest.ask(&mut voice, link.key());
                (link.key().clone(), Role::Guest(guest))
            }
        };
        Ok(Self {
            voice,
            started,
            key,
            role,
            roster: Roster::default(),
            waiting: VecDeque::new(),
            end: None,
            advice: None,
            names_host: false,
            has_taken_over: false,
            has_new_links: false,
            look_at: LOOKS_AGAIN,
        })
    }

    pub(crate) fn voice(&self) -> &Voice<RenetNetwork> {
        &self.voice
    }

    /// The links to this program, if it is the host.
    pub(crate) fn links(&self) -> Option<&HostLinks> {
        match &self.role {
            Role::Host(links) => Some(links),
            Role::Guest(_) => None,
        }
    }

    /// Takes up the situation, tries a host again when it is time, and waits for an event.
    pub(crate) fn wait(&mut self, at_most: Duration) {
        self.voice.update();
        self.roster.observe(self.voice.snapshot());
        let now = self.started.elapsed();
        let is_over = self.voice.snapshot().mode == "none";
        if let Role::Guest(guest) = &mut self.role {
            if guest.retry_at.is_some_and(|at| now >= at) {
                guest.ask(&mut self.voice, &self.key);
            } else if guest.is_untold(now, is_over) {
                let why = "the connection to the host is gone".to_owned();
                let away = self.is_over(now, "session-ended", why);
                self.waiting.extend(away);
            }
        }
        if let Role::Guest(guest) = &self.role
            && guest.take_over.is_some_and(|take_over| now >= take_over.until)
            && !self.voice.snapshot().connected
        {
            self.become_host();
        }
        if let Role::Host(links) = &mut self.role
            && now >= self.look_at
        {
            self.look_at = now + LOOKS_AGAIN;
            self.has_new_links |= links.follow(&local_addresses());
        }
        if self.names_host
            && let Some(name) = self.roster.host_name()
        {
            self.advice = Some(format!("{} hosts the call now.", harmless(name)));
            self.names_host = false;
        }
        if self.waiting.is_empty() {
            self.voice.wait(at_most);
        }
        self.voice.update();
    }

    pub(crate) fn poll_timed(&mut self) -> Option<TimedEvent> {
        loop {
            if let Some(timed) = self.waiting.pop_front() {
                return Some(timed);
            }
            let timed = self.voice.poll_timed()?;
            if let Some(timed) = self.translate(timed) {
                return Some(timed);
            }
        }
    }

    pub(crate) fn take_end(&mut self) -> Option<Ended> {
        self.end.take()
    }

    pub(crate) fn take_advice(&mut self) -> Option<String> {
        self.advice.take()
    }

    /// The links, if there are others than those that were shown.
    pub(crate) fn take_new_links(&mut self) -> Option<&HostLinks> {
        std::mem::take(&mut self.has_new_links).then(|| self.links())?
    }

    /// Whether this program has become the host since this was asked last.
    pub(crate) fn take_role(&mut self) -> bool {
        std::mem::take(&mut self.has_taken_over)
    }

    /// Asks the host once more, and serves the call if it does not answer. Gives what is said.
    ///
    /// # Errors
    ///
    /// Why not, in a sentence.
    pub(crate) fn take_over(&mut self) -> Result<&'static str, String> {
        let now = self.started.elapsed();
        let Role::Guest(guest) = &mut self.role else { return Ok(ASKING) };
        if guest.attempts.failed == 0 {
            return Err("The host is there. /host takes over once it is gone.".to_owned());
        }
        let mut known = guest.servers.known().into_iter();
        if known.all(|server| source_address(server).is_none()) {
            return Err(NO_WAY.to_owned());
        }
        if guest.take_over.is_none() {
            let asks = if guest.servers.has_both_families() { 2 } else { 1 };
            // An attempt that is under way may be at its end.
            let asks = if guest.retry_at.is_some() { asks - 1 } else { asks };
            guest.take_over = Some(TakeOver::begin(now, asks));
            if guest.retry_at.is_some() {
                guest.ask(&mut self.voice, &self.key);
            }
        }
        Ok(ASKING)
    }

    /// Serves the call from now on, at the port of the link by which this program joined.
    fn become_host(&mut self) {
        let Role::Guest(guest) = &mut self.role else { return };
        guest.take_over = None;
        let is_ipv6 = guest.servers.asked_last.is_some_and(|server| server.is_ipv6());
        let any: IpAddr =
            if is_ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let listen = SocketAddr::new(any, guest.port);
        match HostLinks::find(listen, &[], self.key.clone()) {
            Ok(links) => {
                self.voice.run_as_host(links.server_parameters(MOST_GUESTS));
                self.advice = None;
                self.role = Role::Host(links);
                self.has_taken_over = true;
            }
            Err(NoHost { what, .. }) => {
                guest.retry_at = Some(self.started.elapsed() + FIRST_RETRY);
                self.advice = Some(what);
            }
        }
    }

    /// Ends the part in the call. A host's guests learn of it at once.
    pub(crate) fn leave_and_wait(&mut self, at_most: Duration) {
        self.voice.stop();
        let until = Instant::now() + at_most;
        while self.voice.snapshot().mode != "none" && Instant::now() < until {
            self.voice.wait(LEAVING_TURN);
            while let Some(timed) = self.voice.poll_timed() {
                let timed = self.translate(timed);
                self.waiting.extend(timed);
            }
            self.voice.update();
        }
        let left = TimedEvent { at: self.started.elapsed(), event: RoomEvent::Left.into() };
        self.waiting.push_back(left);
    }

    /// The event as the views know it, if it is for them.
    fn translate(&mut self, timed: TimedEvent) -> Option<TimedEvent> {
        let at = timed.at;
        match timed.event {
            Event::Room(RoomEvent::Joined { you, name, session, others, relay_only, .. }) => {
                self.advice = None;
                let room = match &mut self.role {
                    Role::Host(_) => YOUR_CALL.to_owned(),
                    Role::Guest(guest) => {
                        guest.attempts.joined();
                        guest.retry_at = None;
                        if guest.take_over.take().is_some() {
                            self.advice = Some(HOST_ANSWERS.to_owned());
                        }
                        let former = guest.session.replace(session);
                        self.names_host = former.is_some_and(|former| former != session);
                        guest.place.clone()
                    }
                };
                let joined = RoomEvent::Joined { you, name, room, session, others, relay_only };
                Some(TimedEvent { at, event: joined.into() })
            }
            Event::Room(RoomEvent::PeerJoined { peer, .. }) => {
                self.tell_address(peer);
                Some(timed)
            }
            Event::Room(RoomEvent::Text { from, private: true, ref text, .. })
                if text.starts_with(ADDRESS_MARK) =>
            {
                self.roster.would_serve(from, &text[ADDRESS_MARK.len()..]);
                None
            }
            // Who cannot read it finds its way by the link alone.
            Event::Room(RoomEvent::Warned { text: Some(ref text), .. })
                if text.starts_with(ADDRESS_MARK) =>
            {
                None
            }
            Event::Room(RoomEvent::Refused { code, message, .. }) => {
                self.is_over(at, code.as_str(), message)
            }
            _ => Some(timed),
        }
    }

    /// The connection did not come about, or is gone.
    fn is_over(&mut self, at: Duration, code: &str, why: String) -> Option<TimedEvent> {
        let guest = match &mut self.role {
            // The last try to reach the host whose place this program has taken.
            Role::Host(_) if !HOSTING_CODES.contains(&code) => return None,
            Role::Host(_) => {
                let why = why.trim_end_matches('.').to_owned();
                let message = format!("The call cannot be hosted: {}.", harmless(&why));
                self.end = Some(Ended { end: End::Failed, message, next_step: None });
                return None;
            }
            Role::Guest(guest) => guest,
        };
        // That it is gone was found without being told.
        if guest.retry_at.is_some() {
            return None;
        }
        guest.idle_since = None;
        if let Some(take_over) = &mut guest.take_over {
            match take_over.asks_again(self.started.elapsed()) {
                true => guest.ask(&mut self.voice, &self.key),
                false => self.become_host(),
            }
            return None;
        }
        let was_in = guest.attempts.failed == 0 && guest.attempts.has_joined;
        let may_help = why == NO_ANSWER || guest.servers.has_both_families();
        let Some(retry_in) = guest.attempts.failed(may_help) else {
            self.end = Some(not_joined(&why, &guest.place));
            return None;
        };
        guest.retry_at = Some(self.started.elapsed() + retry_in);
        if !guest.attempts.has_joined {
            return None;
        }
        if was_in {
            self.advice = self.roster.advice();
            guest.servers.add_successors(&self.roster.successors_addresses());
        }
        let away =
            RoomEvent::ServerAway { why, failure: None, silent_for: Duration::ZERO, retry_in };
        Some(TimedEvent { at, event: away.into() })
    }

    /// Tells another member at which address this program would serve: not behind a router to the
    /// host, where it leads no one here.
    fn tell_address(&self, peer: PeerId) {
        let Role::Guest(guest) = &self.role else { return };
        let Some(server) = guest.servers.asked_last else { return };
        if let Some(ip) = source_address(server).filter(|ip| is_local(*ip) == is_local(server.ip()))
        {
            let address = SocketAddr::new(ip, guest.port);
            self.voice.member(peer).send_text(&format!("{ADDRESS_MARK}{address}"));
        }
    }
}

impl Guest {
    /// Whether the connection is gone, and nothing was said about it: the program keeps a bounded
    /// number of events.
    fn is_untold(&mut self, now: Duration, is_over: bool) -> bool {
        let is_idle = is_over && self.retry_at.is_none();
        self.idle_since = is_idle.then(|| self.idle_since.unwrap_or(now));
        self.idle_since.is_some_and(|since| now >= since + UNTOLD)
    }

    /// A client id is drawn with each try: one that was not answered may wait at the host for a
    /// while.
    fn ask(&mut self, voice: &mut Voice<RenetNetwork>, key: &HostKey) {
        self.retry_at = None;
        let servers = self.servers.next();
        let key = key.netcode_key();
        voice.run_as_client(ClientParameters { servers, key, timeout: TIMEOUT });
    }
}

/// Why one did not get in, and what next.
fn not_joined(why: &str, place: &str) -> Ended {
    let place = harmless(place);
    let (end, what, step) = match why {
        HOST_IS_FULL => {
            (End::Refused, format!("The host at {place} is full."), "Try again when one has left.")
        }
        NO_ANSWER => (
            End::GaveUp,
            format!("The host at {place} gives {NO_ANSWER}."),
            "Ask for a new link, and whether the host's firewall lets the port in.",
        ),
        why => {
            let mut letters = why.chars();
            let first = letters.next().map(|letter| letter.to_uppercase().to_string());
            let why = format!("{}{}", first.unwrap_or_default(), letters.as_str());
            (
                End::GaveUp,
                format!("{}.", harmless(why.trim_end_matches('.'))),
                "Ask whether the call goes on, and for a new link.",
            )
        }
    };
    Ended { end, message: format!("{what} {step}"), next_step: Some(step.to_owned()) }
}

/// How often it was tried without success.
#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    has_joined: bool,
    /// Since this program was in the call last.
    failed: u32,
}

impl Attempts {
    fn joined(&mut self) {
        *self = Self { has_joined: true, failed: 0 };
    }

    /// One has failed: after how long the next follows, if one does. `may_help`: a second one may go
    /// otherwise than the first.
    fn failed(&mut self, may_help: bool) -> Option<Duration> {
        self.failed = self.failed.saturating_add(1);
        match (self.has_joined, self.failed) {
            (true, failed) => {
                Some(FIRST_RETRY.saturating_mul(1 << (failed - 1).min(8)).min(LAST_RETRY))
            }
            (false, 1) if may_help => Some(Duration::ZERO),
            (false, _) => None,
        }
    }
}

/// Addresses of hosts. One socket reaches one family of addresses, so they take turns.
#[derive(Clone, Debug, Default)]
struct Servers {
    /// The likeliest first. Each round begins with them: who is in a call by a link goes to another
    /// host only where the link's answers no more.
    of_link: Vec<SocketAddr>,
    /// Where those would serve who can take over, and where those may serve who could before, newest
    /// first. Members say that of themselves.
    successors: Vec<SocketAddr>,
    asked_last: Option<SocketAddr>,
}

impl Servers {
    fn of_link(mut addresses: Vec<SocketAddr>) -> Self {
        addresses.truncate(MOST_OF_LINK);
        Self { of_link: addresses, ..Self::default() }
    }

    /// One of the former ones may be the host by now, and names no address as such.
    fn add_successors(&mut self, addresses: &[SocketAddr]) {
        self.successors.retain(|former| !addresses.contains(former));
        self.successors.splice(..0, addresses.iter().copied());
        self.successors.truncate(MOST_SUCCESSORS);
    }

    /// Each once, in the order in which they are asked.
    fn known(&self) -> Vec<SocketAddr> {
        let mut known = self.of_link.clone();
        for address in &self.successors {
            if !known.contains(address) {
                known.push(*address);
            }
        }
        known
    }

    fn has_both_families(&self) -> bool {
        let known = self.known();
        known.iter().any(SocketAddr::is_ipv4) && known.iter().any(SocketAddr::is_ipv6)
    }

    /// Those to try now.
    fn next(&mut self) -> Vec<SocketAddr> {
        let wants_ipv4 = match self.asked_last {
            Some(last) => self.has_both_families() != last.is_ipv4(),
            None => self.known().iter().any(SocketAddr::is_ipv4),
        };
        let mut servers = self.known();
        servers.retain(|server| server.is_ipv4() == wants_ipv4);
        self.asked_last = servers.first().copied();
        servers
    }
}

/// Who was in the call when this program was in it last.
#[derive(Clone, Debug, Default)]
struct Roster {
    you: Option<PeerId>,
    members: Vec<(PeerId, String)>,
    /// They and this program, in the order in which they came: the host first.
    order: Vec<PeerId>,
    /// The last id that was handed out, as far as this program has seen.
    newest: Option<u16>,
    /// Where they would serve.
    addresses: BTreeMap<PeerId, SocketAddr>,
}

impl Roster {
    fn observe(&mut self, snapshot: &Snapshot) {
        if !snapshot.connected {
            return;
        }
        if self.you != snapshot.you {
            self.order.clear();
            self.newest = None;
        }
        self.you = snapshot.you;
        let is_known = !self.order.is_empty()
            && self.members.len() == snapshot.peers.len()
            && self
                .members
                .iter()
                .zip(&snapshot.peers)
                .all(|((peer, _), state)| *peer == state.peer);
        if is_known {
            return;
        }
        let members = snapshot.peers.iter();
        self.members = members.map(|state| (state.peer, state.name.clone())).collect();
        self.addresses.retain(|peer, _| snapshot.peers.iter().any(|state| state.peer == *peer));
        self.put_in_order();
    }

    /// Ids are handed out in turn, and begin anew behind the last one. So who is here has been here
    /// the longer, the farther its id is behind the newest one; in which order members become known
    /// says nothing, since their names come a moment after they do.
    fn put_in_order(&mut self) {
        let others = self.members.iter().map(|(peer, _)| *peer);
        let mut here: Vec<PeerId> = self.you.into_iter().chain(others).collect();
        let own = self.you.map_or(0, id_in_session);
        let ids = here.iter().map(|peer| id_in_session(*peer)).filter(|id| *id != OF_HOST);
        let newest = ids.fold(self.newest.unwrap_or(own), |newest, id| {
            if id.wrapping_sub(newest).cast_signed() > 0 { id } else { newest }
        });
        self.newest = Some(newest);
        here.sort_by_key(|peer| {
            let id = id_in_session(*peer);
            (id != OF_HOST, Reverse(newest.wrapping_sub(id)))
        });
        self.order = here;
    }

    /// How the host is called, if it is another.
    fn host_name(&self) -> Option<&str> {
        let host = self.order.first()?;
        let mut members = self.members.iter();
        members.find(|(peer, _)| peer == host).map(|(_, name)| name.as_str())
    }

    /// A member says where it would serve.
    fn would_serve(&mut self, member: PeerId, address: &str) {
        let is_here = self.members.iter().any(|(peer, _)| *peer == member);
        let address = address.parse().ok().filter(is_of_one_machine);
        // Who has just come is in the next snapshot; no more are kept than can be there.
        if let Some(address) = address
            && (is_here || self.addresses.len() <= usize::from(MOST_GUESTS))
        {
            self.addresses.insert(member, address);
        }
    }

    /// Those who can take over, longest-present first: the host came before all.
    fn successors(&self) -> Vec<(PeerId, Option<&str>)> {
        let name = |peer: &PeerId| {
            let mut members = self.members.iter();
            members.find(|(member, _)| member == peer).map(|(_, name)| name.as_str())
        };
        self.order.iter().skip(1).map(|peer| (*peer, name(peer))).collect()
    }

    fn successors_addresses(&self) -> Vec<SocketAddr> {
        let successors = self.successors();
        let longest = successors.iter().take(SUCCESSORS);
        longest.filter_map(|(peer, _)| self.addresses.get(peer).copied()).collect()
    }

    /// What is said when the host is gone.
    fn advice(&self) -> Option<String> {
        let successors = self.successors();
        let is_alone = successors.len() < 2;
        Some(match successors.first()? {
            (_, None) if is_alone => {
                "You are the only one left. /host makes you the host, and shows new links.".to_owned()
            }
            (_, None) => {
                "You have been here longest: /host makes you the host. The others come by themselves; the links that it shows are for those who cannot.".to_owned()
            }
            (_, Some(name)) => format!(
                "{} has been here longest, and can take over with /host; then you are back by yourself, if this machine reaches theirs.",
                harmless(name)
            ),
        })
    }
}

fn id_in_session(member: PeerId) -> u16 {
    member.as_client().map_or(0, |(_, client)| client.0)
}

/// None that many machines take, or no machine has.
fn is_of_one_machine(address: &SocketAddr) -> bool {
    let is_one = match address.ip() {
        IpAddr::V4(ip) => !ip.is_broadcast() && !ip.is_multicast() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unspecified(),
    };
    is_one && address.port() != 0
}

#[cfg(test)]
mod tests;
