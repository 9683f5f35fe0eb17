//! What every part of a client needs: who is in the session, which links there are, and by which
//! way each member is reached.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_uplink::path::RelayPath;
use voicemesh_wire::packet::{
    BandwidthProbe, ClientInfo, ClientState, DeltaClientState, HandshakeRequest, Kind, Probe,
};
use voicemesh_wire::{ClientId, GroupId, Permissions, SessionId};

use super::answering::Answering;
use super::handshakes::REFUSED_AGAIN;
use super::pairs::{Link, Pairs};
use super::{ClientConfig, ClientEvent, DropCounts, Dropped, Participant, Phase, View};
use crate::output::{Fallback, Output, Outputs};
use crate::permits;
use crate::roster::{Roster, ServerHealth};
use crate::route::{DARK_AFTER, LinkQuality, Route, RouteInputs, RouteState, is_dark};
use crate::transport::{ClientLookup, Destination, DisconnectReason, Reliability};
use voicemesh_common::NextTimer;

/// Events that were not polled yet, at most. When there are more, new ones are dropped and counted.
const EVENTS: usize = 4096;
/// The least time between two pings to the server that [`RelayPath`] asks for.
pub(super) const PING_INTERVAL: Duration = Duration::from_millis(200);
/// A former session is remembered this long even when no pair speaks it, for what is still under
/// way.
pub(super) const RETIRED_FOR: Duration = Duration::from_secs(10);

/// Membership, links and routes of one client.
#[derive(Debug)]
pub(super) struct Core<P> {
    pub config: ClientConfig,
    pub phase: Phase,
    /// The session this client is in, or was in last.
    pub current: Option<View>,
    pub previous: Vec<View>,
    pub groups: BTreeMap<GroupId, String>,
    pub pairs: Pairs<P>,
    pub routes: BTreeMap<Participant<P>, RouteState>,
    pub relay_path: RelayPath,
    pinged_at: Option<Duration>,
    /// Which of several requests an answer belongs to is not known, so that its round trip is not
    /// either.
    pub handshake_was_repeated: bool,
    pub answering: Answering<P>,
    /// Whose speech is relayed although a link could carry it.
    pub relayed_by_choice: BTreeSet<Participant<P>>,
    /// More is sent than the uplink carries, or was a moment ago.
    pub is_congested: bool,
    /// What this client may do; see [`Roster::own_permissions`].
    pub permissions: Permissions,
    pub roster: Roster<P>,
    pub server: ServerHealth,
    /// Since when the server has not answered, and whether that is long enough to do without it.
    dark_since: Option<Duration>,
    pub is_dark: bool,
    pub out: Outputs<P>,
    pub events: VecDeque<ClientEvent<P>>,
    pub dropped: DropCounts,
    /// Another connection has taken over, and the state that was asked for on it has not come.
    pub resuming: bool,
}

impl<P: Copy + Ord + Debug> Core<P> {
    /// Keeps this many outputs that the owner has not taken.
    pub(super) fn new(config: ClientConfig, outputs: usize) -> Self {
        Self {
            config,
            phase: Phase::Offline,
            current: None,
            previous: Vec::new(),
            groups: BTreeMap::new(),
            pairs: Pairs::new(),
            routes: BTreeMap::new(),
            relay_path: RelayPath::new(),
            pinged_at: None,
            handshake_was_repeated: false,
            answering: Answering::new(),
            relayed_by_choice: BTreeSet::new(),
            is_congested: false,
            permissions: Permissions::default(),
            roster: Roster::default(),
            server: ServerHealth::UNKNOWN,
            dark_since: None,
            is_dark: false,
            out: Outputs::new(outputs),
            events: VecDeque::new(),
            dropped: DropCounts::new(),
            resuming: false,
        }
    }

    /// The way to a peer.
    pub(super) fn route(&self, who: Participant<P>) -> Route {
        self.routes.get(&who).map_or(Route::None, |state| state.route())
    }

    pub(super) fn joined_view(&self) -> Option<&View> {
        self.current.as_ref().filter(|_| self.phase == Phase::Joined)
    }

    /// The best name for a client of a session.
    pub(super) fn who(
        &self,
        session: voicemesh_wire::SessionId,
        client: ClientId,
    ) -> Participant<P> {
        let named = self
            .roster
            .peer_of(session, client)
            .or_else(|| self.pairs.peer_bound_as(session, client));
        named.map_or(Participant::Client(session, client), Participant::Peer)
    }

    pub(super) fn shake_hands(&mut self, now: Duration) {
        self.phase = Phase::Handshaking { asked_at: now };
        self.handshake_was_repeated = false;
        let request = HandshakeRequest { codec: self.config.codec, name: self.config.name.clone() };
        self.tell_server(request.encode());
    }

    pub(super) fn own_info(&self, id: ClientId) -> ClientInfo {
        ClientInfo { name: self.config.name.clone(), id, codec: self.config.codec }
    }

    pub(super) fn own_state(&self, id: ClientId) -> ClientState {
        ClientState { client: self.own_info(id), groups: self.groups.values().cloned().collect() }
    }

    pub(super) fn tell_group(&mut self, name: &str, joins: bool) {
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
        let packet =
            DeltaClientState { joins, client, group: name.to_owned() }.encode(view.session);
        self.tell_server(packet);
    }

    pub(super) fn tell_server(&mut self, packet: Vec<u8>) {
        self.out.send_to_server(Reliability::Reliable, packet);
    }

    pub(super) fn end_session(&mut self, now: Duration, reason: DisconnectReason) {
        if self.phase == Phase::Offline {
            return;
        }
        self.phase = Phase::Offline;
        self.resuming = false;
        self.push(ClientEvent::SessionEnded(reason));
        self.refresh_routes(now);
    }

    /// When a handshake, a link, a question, a ping, a route or what is remembered is due.
    pub(super) fn timers(&self, next: &mut NextTimer) {
        if let Phase::Handshaking { asked_at } = self.phase {
            next.at(asked_at + self.config.handshake_retry);
        }
        for link in self.pairs.links.values() {
            next.at(link.refused_at.map(|at| at + REFUSED_AGAIN));
        }
        for link in self.acknowledging_links() {
            next.at(link.ack_due.timer());
            next.at(link.train.timer());
            link.health.timers(next);
        }
        self.answering.timers(next);
        next.at(self.pinged_at.map(|at| at + PING_INTERVAL));
        for view in self.previous.iter().chain(&self.current) {
            next.at(view.retired_at.map(|at| at + RETIRED_FOR));
            view.kept_until.values().for_each(|until| next.at(*until));
        }
        next.at(self.dark_since.map(|since| since + DARK_AFTER));
        self.routes.values().for_each(|route| next.at(route.timer()));
    }

    /// The bound links to peers that acknowledge voice.
    fn acknowledging_links(&self) -> impl Iterator<Item = &Link> {
        let links = self.pairs.links.iter().filter(|(id, link)| {
            link.binding.is_some() && self.roster.abilities(Some(id.peer)).acknowledges_voice
        });
        links.map(|(_, link)| link)
    }

    /// Sends a ping to the server behind relayed speech, if one is due.
    pub(super) fn ping_server(&mut self, now: Duration) {
        let Some((session, you)) = self.joined_view().map(|view| (view.session, view.you)) else {
            return;
        };
        let Some(number) = self.relay_path.ping_due(now) else { return };
        self.pinged_at = Some(now);
        let probe = Probe { sender: you, token: number.into() }.encode(session).into();
        self.out.push(Output::PingServer { number, probe });
    }

    /// Chooses every pair's route anew and reports what changed.
    pub(super) fn refresh_routes(&mut self, now: Duration) {
        self.dark_since = (!self.server.is_reached).then(|| self.dark_since.unwrap_or(now));
        self.is_dark = is_dark(now, self.dark_since);
        let mut means = BTreeMap::new();
        let none = RouteInputs {
            relay: false,
            server_answers: self.server.is_reached,
            both: false,
            link: LinkQuality::Unbound,
            prefer_relay: false,
            dark_since: self.dark_since,
        };
        if let Some(view) = self.joined_view() {
            for member in view.table.members().filter(|member| member.info.id != view.you) {
                let who = self.who(view.session, member.info.id);
                let prefer_relay = self.relayed_by_choice.contains(&who);
                let is_silent = who.peer().is_some_and(|peer| self.answering.is_silent(now, peer));
                let server_answers = none.server_answers && !is_silent;
                means
                    .insert(who, RouteInputs { relay: true, server_answers, prefer_relay, ..none });
            }
        }
        for (id, link, _) in self.pairs.all_bound() {
            let entry = means.entry(Participant::Peer(id.peer)).or_insert(none);
            entry.both = link
                .health
                .dead_since()
                .is_some_and(|since| !self.server.has_answered_since(since));
            entry.link =
                if link.health.is_stalled() { LinkQuality::Stalled } else { LinkQuality::Healthy };
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

    pub(super) fn push(&mut self, event: ClientEvent<P>) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        } else {
            self.count(Dropped::EventOverflow);
        }
    }

    pub(super) fn count(&mut self, reason: Dropped) {
        *self.dropped.entry(reason).or_default() += 1;
    }

    /// A session that this client is in or was in.
    pub(super) fn view_of(&self, session: SessionId) -> Option<&View> {
        self.current.iter().chain(&self.previous).find(|view| view.session == session)
    }

    /// A peer's client id in a session.
    pub(super) fn client_in(&self, session: SessionId, peer: P) -> Option<ClientId> {
        let by_link = self
            .pairs
            .bound(peer)
            .map(|(.., binding)| binding)
            .filter(|binding| binding.session == session);
        by_link.map(|binding| binding.remote).or_else(|| {
            match self.roster.client_of(session, peer) {
                ClientLookup::Client(client) => Some(client),
                ClientLookup::NotYet | ClientLookup::NoRoster => None,
            }
        })
    }

    /// Sends a train of `packets` packets with `padding` bytes in each over the link to a peer;
    /// what arrives of it comes back as [`ClientEvent::Bandwidth`](super::ClientEvent::Bandwidth).
    /// Says whether there is a link to a peer that answers.
    pub(super) fn probe_bandwidth(
        &mut self,
        peer: P,
        train: u16,
        packets: u8,
        padding: u16,
    ) -> bool {
        let Some((link, _, binding)) = self
            .pairs
            .bound(peer)
            .filter(|_| self.roster.abilities(Some(peer)).takes_path_feedback)
        else {
            return false;
        };
        let packet: Bytes = BandwidthProbe { sender: binding.you, train, packets, padding }
            .encode(binding.session)
            .into();
        for _ in 0..packets {
            let to = vec![Destination { client: binding.remote, link }];
            self.out.send_to_links(to, Reliability::Unreliable, packet.clone(), Fallback::None);
        }
        true
    }

    /// Drops what a member sends without the permission to, and speech of one that is held in
    /// groups to which this client does not listen: on links no server does.
    pub(super) fn check_permission(&self, from: Participant<P>, kind: Kind) -> Result<(), Dropped> {
        let is_held = kind.is_voice() && self.is_held_elsewhere(from);
        if permits(self.roster.permissions(from.peer()), kind) && !is_held {
            Ok(())
        } else {
            Err(Dropped::NotPermitted)
        }
    }

    /// Whether a moderator holds a member in groups to none of which this client listens.
    pub(super) fn is_held_elsewhere(&self, who: Participant<P>) -> bool {
        let groups = self.roster.held_in(who.peer());
        !groups.is_empty()
            && !groups.iter().any(|name| self.groups.get(&GroupId::of(name)) == Some(name))
    }
}
