//! One member of a session: joins, replicates, addresses, and keeps its pairs (PROTOCOL.md, sections 7 to 10).
//!
//! Without I/O: inputs and the time go in, [`Client::poll_output`] gives what is to be sent and done, and
//! [`Client::poll_event`] what happened. Take the outputs after every call, then the events.

mod answering;
mod bandwidth;
mod bundling;
mod data;
mod event;
mod health;
mod inbound;
#[cfg(test)]
mod link_vectors;
mod outbound;
mod pairs;
mod texts;
mod view;
mod voice_in;
mod voice_out;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use voicemesh_uplink::path::{PathState, RelayPath};
use voicemesh_wire::limits::{GROUP_NAME_BYTES, GROUPS_PER_CLIENT, TEXT_BYTES};
use voicemesh_wire::packet::{
    self, ClientInfo, ClientState, CodecSettings, DeltaClientState, HandshakeRequest, TargetKind,
};
use voicemesh_wire::{ClientId, GroupId, Permissions};

use crate::network::{DisconnectReason, NetworkEvent, PacketLimits, Reliability};
use crate::output::{Fallback, LinkPacket, Output, Outputs};
use crate::roster::{Roster, ServerHealth};
use crate::route::{LinkMeans, Means, Route, RouteState};
use crate::speaker::{Speaker, TargetOptions, TooManyTargets, VoiceTarget};
use crate::stream::Stream;
use answering::Answering;
use bundling::Bundling;
use pairs::Pairs;
use voice_out::Recent;

pub use data::DataEvent;
pub use event::{ClientEvent, DropCounts, Dropped, Voice, Who};
pub use inbound::Received;
pub use view::View;
pub use voice_out::{AudienceMember, FRAMES_PER_PACKET, Reached, Spoken};

/// Events that were not polled yet, at most. When there are more, new ones are dropped and counted.
const EVENTS: usize = 4096;
/// Speakers remembered. When there are more, those that have been silent longest are forgotten.
const STREAMS: usize = 1024;
/// Former sessions in which a pair may still speak. When there are more, the oldest is forgotten.
const PREVIOUS_VIEWS: usize = 3;
/// A former session is remembered this long even when no pair speaks it, for what is still under way.
const RETIRED_FOR: Duration = Duration::from_secs(10);

/// What a client is made from.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Display name.
    pub name: String,
    /// How it encodes its voice.
    pub codec: CodecSettings,
    /// Where its frame counter starts; draw it at random.
    pub first_sequence: u16,
    /// Names this end of what is open to others; draw it at random.
    pub data_seed: u64,
    /// A handshake without an answer is repeated after this.
    pub handshake_retry: Duration,
    /// A client that the server lost but a link reaches is kept this long.
    pub keep_lost: Duration,
    /// The largest packets that the network carries.
    pub limits: PacketLimits,
}

impl ClientConfig {
    /// The usual times.
    pub fn new(name: impl Into<String>, codec: CodecSettings, first_sequence: u16) -> Self {
        let name = name.into();
        Self {
            name,
            codec,
            first_sequence,
            data_seed: first_sequence.into(),
            handshake_retry: Duration::from_secs(5),
            keep_lost: Duration::from_secs(120),
            limits: PacketLimits::default(),
        }
    }
}

/// Where a client is on its way into a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No connection to a server.
    Offline,
    /// Connected, and waiting for the server's answer.
    Handshaking {
        /// When it was last asked for.
        asked_at: Duration,
    },
    /// In the session.
    Joined,
}

/// A call could not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Wait for [`ClientEvent::Joined`].
    #[error("not in a session")]
    NotJoined,
    /// The text is over the limit.
    #[error("text can have at most {TEXT_BYTES} bytes")]
    TextTooLong,
    /// The name is over the limit.
    #[error("a group's name can have at most {GROUP_NAME_BYTES} bytes")]
    GroupNameTooLong,
    /// Another group is in use whose name has the same id.
    #[error("another group in this session shares this name's id; choose another name")]
    GroupNameTaken,
    /// Leave another group first.
    #[error("one can listen to at most {GROUPS_PER_CLIENT} groups")]
    TooManyGroups,
    /// Close another target first.
    #[error(transparent)]
    TooManyTargets(#[from] TooManyTargets),
    /// The server does not permit this client to write.
    #[error("this client may not write in this room")]
    NotPermitted,
    /// No such client is in the session.
    #[error("no such client is in the session")]
    UnknownClient,
}

/// One member of a session.
#[derive(Debug)]
pub struct Client<P> {
    config: ClientConfig,
    phase: Phase,
    /// The session this client is in, or was in last.
    current: Option<View>,
    previous: Vec<View>,
    groups: BTreeMap<GroupId, String>,
    speaker: Speaker<P>,
    streams: BTreeMap<Who<P>, HeardStream>,
    pairs: Pairs<P>,
    data: data::Pipes<P>,
    routes: BTreeMap<Who<P>, RouteState>,
    recent: VecDeque<Recent<P>>,
    bundling: Bundling<P>,
    audience: Vec<AudienceMember<P>>,
    /// Whether the last frame had listeners.
    is_heard: bool,
    relay_path: RelayPath,
    /// Which of several requests an answer belongs to is not known, so that its round trip is not either.
    handshake_was_repeated: bool,
    answering: Answering<P>,
    /// Whose speech is relayed although a link could carry it.
    relayed_by_choice: BTreeSet<Who<P>>,
    /// More is sent than the uplink carries, or was a moment ago.
    is_congested: bool,
    /// What this client may do; see [`Roster::own_permissions`].
    permissions: Permissions,
    roster: Roster<P>,
    server: ServerHealth,
    out: Outputs<P>,
    events: VecDeque<ClientEvent<P>>,
    dropped: DropCounts,
    closing_since: Option<Duration>,
    /// Another connection has taken over, and the state that was asked for on it has not come.
    resuming: bool,
}

#[derive(Debug, Default)]
struct HeardStream {
    stream: Stream,
    heard_at: Duration,
    /// Its speaker lacks the permission to speak.
    is_silenced: bool,
    /// The target by which its last frame reached this client, with the target's opening.
    reached_by: Option<(TargetKind, u8)>,
}

impl<P: Copy + Ord + Debug> Client<P> {
    /// A client that is nowhere yet. Groups and targets can be set before it joins.
    pub fn new(config: ClientConfig) -> Self {
        let speaker = Speaker::new(config.first_sequence);
        let data = data::Pipes::new(config.data_seed);
        Self {
            config,
            phase: Phase::Offline,
            current: None,
            previous: Vec::new(),
            groups: BTreeMap::new(),
            speaker,
            streams: BTreeMap::new(),
            pairs: Pairs::new(),
            data,
            routes: BTreeMap::new(),
            recent: VecDeque::new(),
            bundling: Bundling::default(),
            audience: Vec::new(),
            is_heard: false,
            relay_path: RelayPath::new(),
            handshake_was_repeated: false,
            answering: Answering::new(),
            relayed_by_choice: BTreeSet::new(),
            is_congested: false,
            permissions: Permissions::default(),
            roster: Roster::default(),
            server: ServerHealth::UNKNOWN,
            out: Outputs::new(),
            events: VecDeque::new(),
            dropped: DropCounts::new(),
            closing_since: None,
            resuming: false,
        }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The session it is in, or was in last.
    pub fn view(&self) -> Option<&View> {
        self.current.as_ref()
    }

    /// What was received without effect, and why.
    pub fn dropped(&self) -> &DropCounts {
        &self.dropped
    }

    /// The way to a peer.
    pub fn route(&self, who: Who<P>) -> Route {
        self.routes.get(&who).map_or(Route::None, |state| state.route())
    }

    /// Everyone to whom there is a way, and which.
    pub fn routes(&self) -> impl Iterator<Item = (Who<P>, Route)> + '_ {
        self.routes.iter().map(|(who, state)| (*who, state.route()))
    }

    /// The smoothed round trip of the link to a peer, once measured.
    pub fn round_trip(&self, peer: P) -> Option<Duration> {
        self.pairs.bound(peer).and_then(|(_, link, _)| link.health.round_trip())
    }

    /// When something last came over the link to a peer.
    pub fn heard_at(&self, peer: P) -> Option<Duration> {
        self.pairs.bound(peer).map(|(_, link, _)| link.health.heard_at())
    }

    /// What happened to the voice packets on the link to a peer.
    pub fn link_traffic(&self, now: Duration, peer: P) -> Option<PathState> {
        self.pairs.bound(peer).map(|(id, link, _)| link.path.state(now, id.generation))
    }

    /// What happened to the voice packets on the way to the server.
    pub fn relay_traffic(&self, now: Duration) -> PathState {
        self.relay_path.monitor().state(now, 0)
    }

    /// Says whether the uplink is congested. A link that stalls meanwhile is taken to be full rather than dead: nothing is
    /// sent a second time on its account.
    pub fn set_congested(&mut self, is_congested: bool) {
        self.is_congested = is_congested;
    }

    /// Speech to these goes through the relay, where there is one, although a link could carry it: one relayed copy costs
    /// the uplink less than several direct ones. Nothing else changes its way.
    pub fn relay_speech_to(&mut self, now: Duration, relayed: BTreeSet<Who<P>>) {
        if self.relayed_by_choice != relayed {
            self.relayed_by_choice = relayed;
            self.refresh_routes(now);
        }
    }

    /// Whether the server passes on what it is sent. Owners say so whenever it may have changed.
    pub fn set_server_health(&mut self, server: ServerHealth) {
        self.server = server;
    }

    /// What is known of the others from now on.
    pub fn set_roster(&mut self, now: Duration, roster: Roster<P>) {
        self.roster = roster;
        self.follow_permissions();
        self.judge_waiting(now);
        self.refresh_routes(now);
    }

    /// What is known of the others.
    pub fn roster(&self) -> &Roster<P> {
        &self.roster
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output<P>> {
        self.out.poll()
    }

    /// These links did not take a packet.
    pub fn refused(&mut self, now: Duration, refused: LinkPacket<P>) {
        let LinkPacket { to, reliability, packet, fallback } = refused;
        match fallback {
            Fallback::None => {}
            Fallback::Relay => {
                let session = packet::open(&packet).ok().and_then(|(header, _)| header.session_id());
                if session.is_some_and(|session| self.is_current(session)) {
                    let clients: Vec<_> = to.iter().map(|destination| destination.client).collect();
                    self.relay(reliability, &clients, &packet);
                }
            }
            Fallback::Retry => to.iter().for_each(|destination| self.handshake_refused(now, destination.link)),
            Fallback::Speech { sequence, frames } => {
                let sequences: Vec<_> =
                    (0..u16::from(frames)).rev().map(|behind| sequence.wrapping_sub(behind)).collect();
                for destination in to {
                    if let Some(link) = self.pairs.link_mut(destination.link) {
                        link.health.unsent(sequence);
                    }
                    self.rescue(now, destination.link.peer, sequences.clone());
                }
            }
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<ClientEvent<P>> {
        self.events.pop_front()
    }

    /// Something that the network reported. Events of a server's side are not for a client and have no effect.
    pub fn network_event(&mut self, now: Duration, event: NetworkEvent<P>) -> Received {
        match event {
            NetworkEvent::Connected => {
                self.relay_path = RelayPath::new();
                self.shake_hands(now);
            }
            NetworkEvent::Disconnected(reason) => self.end_session(now, reason),
            NetworkEvent::Resumed => self.resume(now),
            NetworkEvent::PathChanged => self.doubt_links(now),
            NetworkEvent::FromServer(packet) => return self.receive_from_server(now, packet),
            NetworkEvent::FromLink { link, packet } => return self.receive_from_link(now, link, packet),
            NetworkEvent::LinkUp(link) => self.link_up(now, link),
            NetworkEvent::LinkDown(link) => self.link_down(now, link),
            NetworkEvent::RosterChanged(roster) => self.set_roster(now, *roster),
            NetworkEvent::ServerPong(number) => self.relay_path.answered(now, number),
            NetworkEvent::PeerRestarted(peer) => {
                self.streams.remove(&Who::Peer(peer));
            }
            NetworkEvent::Hosting
            | NetworkEvent::HostingFailed(_)
            | NetworkEvent::FromClient { .. }
            | NetworkEvent::ClientGone { .. } => {}
        }
        Received::default()
    }

    /// What time alone brings about. Call at least every few milliseconds.
    pub fn update(&mut self, now: Duration) {
        if let Phase::Handshaking { asked_at } = self.phase
            && now >= asked_at + self.config.handshake_retry
        {
            self.shake_hands(now);
            self.handshake_was_repeated = true;
        }
        self.retry_handshakes(now);
        self.care_for_links(now);
        self.ask_relayed(now);
        self.close_targets(now);
        self.flush_late_bundles(now);
        if let Some(number) = self.relay_path.ping_due(now) {
            self.out.push(Output::PingServer(number));
        }
        self.forget(now);
        self.refresh_routes(now);
        self.flush_data(now);
    }

    /// Begins to listen to a group, now and in every later session.
    pub fn join_group(&mut self, name: &str) -> Result<(), ClientError> {
        let id = GroupId::of(name);
        if name.len() > GROUP_NAME_BYTES {
            return Err(ClientError::GroupNameTooLong);
        }
        if self.groups.get(&id).is_some_and(|own| own == name) {
            return Ok(());
        }
        let is_shared = self.joined_view().is_some_and(|view| view.table.is_shared(name));
        if (is_shared && !self.roster.server_takes_group_text) || self.groups.contains_key(&id) {
            return Err(ClientError::GroupNameTaken);
        }
        if self.groups.len() >= GROUPS_PER_CLIENT {
            return Err(ClientError::TooManyGroups);
        }
        self.groups.insert(id, name.to_owned());
        self.interrupt_streams();
        self.tell_group(name, true);
        Ok(())
    }

    /// Ceases to listen to a group.
    pub fn leave_group(&mut self, name: &str) {
        let id = GroupId::of(name);
        if self.groups.get(&id).is_some_and(|own| own == name) {
            self.groups.remove(&id);
            self.interrupt_streams();
            self.tell_group(name, false);
        }
    }

    /// The groups it listens to.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.values().map(String::as_str)
    }

    /// Begins to speak to a target, or changes how.
    pub fn open_target(&mut self, target: VoiceTarget<P>, options: TargetOptions) -> Result<(), ClientError> {
        self.speaker.open(target, options)?;
        Ok(())
    }

    /// Ceases to speak to a target: the next frame is its last.
    pub fn close_target(&mut self, now: Duration, target: &VoiceTarget<P>) {
        self.speaker.close(target);
        if self.speaker.is_closing() {
            self.closing_since.get_or_insert(now);
        }
    }

    /// The targets it speaks to.
    pub fn open_targets(&self) -> impl Iterator<Item = &VoiceTarget<P>> {
        self.speaker.open_targets()
    }

    /// Leaves: the session, the pairs and all that was known of others are gone. Groups and targets stay for the next
    /// time, but for targets that were clients of this session.
    pub fn leave(&mut self) {
        if self.phase != Phase::Offline {
            self.push(ClientEvent::SessionEnded(DisconnectReason::Requested));
        }
        self.phase = Phase::Offline;
        self.current = None;
        self.speaker.forget_clients();
        self.previous.clear();
        self.pairs = Pairs::new();
        self.data.clear();
        self.routes.clear();
        self.streams.clear();
        self.recent.clear();
        self.bundling = Bundling::default();
        self.audience.clear();
        self.relay_path = RelayPath::new();
        self.answering.clear();
        self.relayed_by_choice.clear();
    }

    fn joined_view(&self) -> Option<&View> {
        self.current.as_ref().filter(|_| self.phase == Phase::Joined)
    }

    /// The best name for a client of a session.
    fn who(&self, session: voicemesh_wire::SessionId, client: ClientId) -> Who<P> {
        let named = self.roster.peer_of(session, client).or_else(|| self.pairs.peer_bound_as(session, client));
        named.map_or(Who::Client(session, client), Who::Peer)
    }

    /// Asks for the state anew, on a connection that has taken over. Until it comes the old one holds.
    fn resume(&mut self, now: Duration) {
        match self.phase {
            Phase::Joined => {
                self.resuming = true;
                let request = HandshakeRequest { codec: self.config.codec, name: self.config.name.clone() };
                self.tell_server(request.encode());
            }
            Phase::Offline | Phase::Handshaking { .. } => self.shake_hands(now),
        }
    }

    /// No link is relied on until it answers.
    fn doubt_links(&mut self, now: Duration) {
        for (_, link) in self.pairs.iter_mut() {
            link.health.doubt(now);
        }
        self.refresh_routes(now);
    }

    fn shake_hands(&mut self, now: Duration) {
        self.phase = Phase::Handshaking { asked_at: now };
        self.handshake_was_repeated = false;
        let request = HandshakeRequest { codec: self.config.codec, name: self.config.name.clone() };
        self.tell_server(request.encode());
    }

    fn own_info(&self, id: ClientId) -> ClientInfo {
        ClientInfo { name: self.config.name.clone(), id, codec: self.config.codec }
    }

    fn own_state(&self, id: ClientId) -> ClientState {
        ClientState { client: self.own_info(id), groups: self.groups.values().cloned().collect() }
    }

    fn tell_group(&mut self, name: &str, joins: bool) {
        if self.phase != Phase::Joined {
            return;
        }
        let Some(view) = &mut self.current else { return };
        let client = view.you;
        if joins {
            view.table.join(client, name);
        } else {
            view.table.leave(client, name);
        }
        let packet = DeltaClientState { joins, client, group: name.to_owned() }.encode(view.session);
        self.tell_server(packet);
    }

    fn tell_server(&mut self, packet: Vec<u8>) {
        self.out.to_server(Reliability::Reliable, packet);
    }

    fn end_session(&mut self, now: Duration, reason: DisconnectReason) {
        if self.phase == Phase::Offline {
            return;
        }
        self.phase = Phase::Offline;
        self.resuming = false;
        self.push(ClientEvent::SessionEnded(reason));
        self.refresh_routes(now);
    }

    /// Chooses every pair's route anew and reports what changed.
    fn refresh_routes(&mut self, now: Duration) {
        let mut means = BTreeMap::new();
        let none = Means {
            relay: false,
            server_answers: self.server.is_reached,
            both: false,
            link: LinkMeans::Unbound,
            prefer_relay: false,
        };
        if let Some(view) = self.joined_view() {
            for member in view.table.members().filter(|member| member.info.id != view.you) {
                let who = self.who(view.session, member.info.id);
                let prefer_relay = self.relayed_by_choice.contains(&who);
                let is_silent = who.peer().is_some_and(|peer| self.answering.is_silent(now, peer));
                let server_answers = none.server_answers && !is_silent;
                means.insert(who, Means { relay: true, server_answers, prefer_relay, ..none });
            }
        }
        for (id, link, _) in self.pairs.all_bound() {
            let entry = means.entry(Who::Peer(id.peer)).or_insert(none);
            entry.both = link.health.dead_since().is_some_and(|since| !self.server.has_answered_since(since));
            entry.link = if link.health.is_stalled() { LinkMeans::Stalled } else { LinkMeans::Sound };
        }
        let mut changed = Vec::new();
        for (who, means) in &means {
            let state = self.routes.entry(*who).or_default();
            let next = state.next(now, *means);
            if next.route() != state.route() {
                changed.push((*who, next.route()));
            }
            *state = next;
        }
        self.routes.retain(|who, state| {
            let stays = means.contains_key(who);
            if !stays && state.route() != Route::None {
                changed.push((*who, Route::None));
            }
            stays
        });
        for (who, route) in changed {
            self.push(ClientEvent::RouteChanged { who, route });
        }
    }

    /// Former sessions, kept clients and silent speakers do not stay for ever.
    fn forget(&mut self, now: Duration) {
        let pairs = &self.pairs;
        self.previous
            .retain(|view| pairs.speaks(view.session) || view.retired_at.is_some_and(|at| now < at + RETIRED_FOR));
        for view in self.previous.iter_mut().chain(self.current.as_mut()) {
            let over: Vec<_> =
                view.kept_until.iter().filter(|(_, until)| **until <= now).map(|(client, _)| *client).collect();
            for client in over {
                view.forget_kept(client);
            }
        }
        while self.streams.len() > STREAMS {
            let oldest = self.streams.iter().min_by_key(|(_, heard)| heard.heard_at).map(|(who, _)| *who);
            if let Some(who) = oldest {
                self.streams.remove(&who);
            }
        }
    }

    fn push(&mut self, event: ClientEvent<P>) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        } else {
            self.count(Dropped::EventOverflow);
        }
    }

    fn count(&mut self, reason: Dropped) {
        *self.dropped.entry(reason).or_default() += 1;
    }

    /// Everyone in the current session but oneself, for those who compare tables.
    pub fn others(&self) -> BTreeSet<ClientId> {
        let view = self.current.as_ref();
        view.into_iter()
            .flat_map(|view| view.table.members().map(|member| member.info.id).filter(|id| *id != view.you))
            .collect()
    }
}
