//! Which link to whom, attempt by attempt (PROTOCOL.md, section 5).
//!
//! The peer with the smaller id offers. Every signal carries the attempt's number, which is the
//! link's generation. A link that stalls or fails is replaced by a new attempt; the old one lives
//! until the new one is bound.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_common::NextTimer;
use voicemesh_e2ee::KeyRing;
use voicemesh_session::network::{LinkId, NetworkEvent};
use voicemesh_uplink::opening_pace::OneByOne;
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, IceServer, Metadata, Signal};
use voicemesh_wire::{PeerId, SessionId};

use crate::choice::{ChoiceError, Connections, LinkPreferences, published_serial};
use crate::connection::Connection;
use crate::event::MeshEvent;
use crate::fingerprints::{self, LinkAuthentication};
use crate::input::MeshLink;
use crate::link::{CloseReason, LinkEvent, Role, Stream};
use crate::offers::AnsweredOffers;
use crate::pair::{
    FIRST_RETRY, IgnoredOffer, LinkState, OFFER_INTERVAL, Pair, REQUEST_INTERVAL, Requested,
};
use crate::queues::Queues;
use crate::reachability::Reachability;
use crate::roster::Roster;

/// A link is replaced, or asked to be, at most this often.
const REPLACE_INTERVAL: Duration = Duration::from_secs(5);
/// A request for an offer is repeated after [`REQUEST_INTERVAL`] so many times, until an offer
/// comes.
const REQUEST_REPEATS: u32 = 3;
/// An answerer without a link asks for an offer after this.
pub(super) const ASK_AFTER: Duration = Duration::from_secs(5);
/// A link that was replaced is closed after this, for what is still under way on it.
const LINGER: Duration = Duration::from_secs(2);
/// Links to one peer at a time; a further attempt closes the oldest.
const LINKS_PER_PEER: usize = 3;

/// The links to everyone, and to whom the program wants any.
#[derive(Debug)]
pub(super) struct Links {
    pairs: BTreeMap<PeerId, Pair>,
    answered_offers: AnsweredOffers,
    choices: LinkPreferences,
    /// To whom links are made where the program has not chosen.
    connections: Connections,
    /// This peer wants no links at all.
    relay_only: bool,
    /// The server allows none.
    server_relay_only: bool,
    ice_servers: Vec<IceServer>,
    turn_has_failed: bool,
    /// Whether peers without a link stay so for now.
    one_by_one: OneByOne,
    /// Whose link has opened last.
    last_opened: Option<PeerId>,
}

/// What links are negotiated with: the others, as the roster knows them, over the connection to the
/// server.
pub(super) struct Negotiation<'a> {
    pub(super) now: Duration,
    pub(super) roster: &'a Roster,
    pub(super) encryption: Option<&'a dyn LinkAuthentication>,
    pub(super) connection: &'a mut Connection,
    pub(super) queues: &'a mut Queues,
}

impl Links {
    pub(super) fn new(connections: Connections, relay_only: bool) -> Self {
        Self {
            pairs: BTreeMap::new(),
            answered_offers: AnsweredOffers::default(),
            choices: LinkPreferences::default(),
            connections,
            relay_only,
            server_relay_only: false,
            ice_servers: Vec::new(),
            turn_has_failed: false,
            one_by_one: OneByOne::default(),
            last_opened: None,
        }
    }

    /// What the server said at the join.
    pub(super) fn joined(
        &mut self,
        ice_servers: Vec<IceServer>,
        relay_only: bool,
        queues: &mut Queues,
    ) {
        self.ice_servers = ice_servers;
        self.server_relay_only = relay_only;
        if relay_only {
            self.drop_all(queues);
        }
    }

    pub(super) fn set_ice_servers(&mut self, ice_servers: Vec<IceServer>) {
        self.ice_servers = ice_servers;
    }

    /// Whether peers without a link stay so for now. False if that was known.
    pub(super) fn set_links_wait(&mut self, now: Duration, wait: bool) -> bool {
        self.one_by_one.set_lacks_room(now, wait)
    }

    /// Whether a link to this peer is not to open now. After they have waited, links open one after
    /// another, beginning with what is asked for: what several send at once is more than a narrow
    /// way holds.
    fn waits(&self, now: Duration, peer: PeerId) -> bool {
        let is_busy = |pair: &Pair| pair.is_newly_opening(now) || pair.has_newly_asked(now);
        // A peer whose link has just opened, and who comes again, has room for another.
        let rests = self.last_opened != Some(peer) && self.one_by_one.rests(now);
        let mut others = self.pairs.iter().filter(|(other, _)| **other != peer);
        let waits_for_others = rests || others.any(|(_, pair)| is_busy(pair));
        self.one_by_one.lacks_room() || self.one_by_one.is_on(now) && waits_for_others
    }

    /// Wants a link to a peer, from now on.
    ///
    /// # Errors
    ///
    /// When the peer is not here, or has published a newer token.
    pub(super) fn connect_peer(
        &mut self,
        token: Reachability,
        on: &mut Negotiation<'_>,
    ) -> Result<(), ChoiceError> {
        self.choices.connect(token, on.roster.member(token.peer))?;
        self.restart_negotiation(token.peer, true, on);
        Ok(())
    }

    /// A newer token of a connected peer. A link that works goes on; without one, it is tried at
    /// once.
    ///
    /// # Errors
    ///
    /// When there is no connection, or the token is not the newest.
    pub(super) fn update_peer(
        &mut self,
        token: Reachability,
        on: &mut Negotiation<'_>,
    ) -> Result<(), ChoiceError> {
        if self.choices.update(token, on.roster.member(token.peer), self.connections)? {
            self.restart_negotiation(token.peer, true, on);
        }
        Ok(())
    }

    /// Wants no link to a peer until it is connected to again, and closes what there is.
    pub(super) fn disconnect_peer(&mut self, peer: PeerId, roster: &Roster, queues: &mut Queues) {
        if roster.member(peer).is_some() {
            self.choices.disconnect(peer);
            self.close_links(peer, queues);
        }
    }

    /// A peer publishes something else than `former`: if that is a newer token, it may be reached
    /// now.
    pub(super) fn token_changed(
        &mut self,
        peer: PeerId,
        former: &Metadata,
        on: &mut Negotiation<'_>,
    ) {
        let newest =
            on.roster.member(peer).and_then(|member| published_serial(&member.metadata, peer));
        if newest > published_serial(former, peer) {
            self.restart_negotiation(peer, false, on);
        }
    }

    pub(super) fn has_open_link(&self, peer: PeerId) -> bool {
        self.newest_open_link(peer).is_some()
    }

    pub(super) fn newest_open_link(&self, peer: PeerId) -> Option<MeshLink> {
        let mut links = self.pairs.get(&peer)?.links.iter().rev();
        let (generation, _) = links.find(|(_, state)| **state == LinkState::Open)?;
        Some(MeshLink { peer, generation: *generation })
    }

    pub(super) fn timers(&self, next: &mut NextTimer) {
        self.one_by_one.timers().into_iter().for_each(|at| next.at(at));
        self.pairs.values().for_each(|pair| pair.timers(next));
    }

    /// Offers where it is this peer's turn, asks where it is not, and closes what has lingered.
    pub(super) fn tick(&mut self, on: &mut Negotiation<'_>) {
        let now = on.now;
        let over: Vec<MeshLink> = self
            .pairs
            .iter()
            .flat_map(|(peer, pair)| {
                pair.links.iter().map(|(generation, state)| (*peer, *generation, *state))
            })
            .filter(|(.., state)| matches!(state, LinkState::Lingering { until } if *until <= now))
            .map(|(peer, generation, _)| LinkId { peer, generation })
            .collect();
        for link in over {
            self.close_link(link, on.queues);
        }
        // After a change of path the connection in use is a dead one: what is said waits for the
        // next.
        if !on.connection.is_joined() || on.connection.is_urgent() {
            return;
        }
        let wanting: Vec<PeerId> = on.roster.members().map(|member| member.peer).collect();
        for peer in wanting {
            if !self.may_link(peer, on) {
                continue;
            }
            let waits = self.waits(now, peer);
            let pair = self.pairs.entry(peer).or_insert_with(|| Pair::new(now));
            if std::mem::take(&mut pair.renew) {
                self.renew(peer, on);
                continue;
            }
            if let Some(IgnoredOffer { attempt, .. }) =
                pair.ignored.take_if(|ignored| !waits && now >= ignored.ask_at)
            {
                pair.attempt = pair.attempt.max(attempt);
                self.ask_for_offer(peer, attempt, on);
                continue;
            }
            if waits && !pair.is_linked() {
                continue;
            }
            if self.repeat_request(peer, on) {
                continue;
            }
            let Some(pair) = self.pairs.get(&peer) else { continue };
            let is_awaited = pair.wants_newer_attempt && pair.may_negotiate(now, REQUEST_INTERVAL);
            if pair.is_linked() && !is_awaited {
                continue;
            }
            if on.roster.you() < peer {
                if is_awaited || now >= pair.next_attempt_at {
                    self.offer(peer, on);
                }
            } else if now >= pair.asked_at + ASK_AFTER && now >= pair.next_attempt_at {
                let attempt = pair.attempt;
                self.ask_for_offer(peer, attempt, on);
            }
        }
    }

    /// What was asked for and does not come is asked for again: the request, or the offer, may have
    /// been lost.
    fn repeat_request(&mut self, peer: PeerId, on: &mut Negotiation<'_>) -> bool {
        let now = on.now;
        let Some(pair) = self.pairs.get_mut(&peer) else { return false };
        let asked_at = pair.asked_at;
        let is_due = |requested: &&mut Requested| {
            requested.repeats < REQUEST_REPEATS && now >= asked_at + REQUEST_INTERVAL
        };
        let Some(Requested { attempt, repeats }) = pair.requested.as_mut().filter(is_due) else {
            return false;
        };
        *repeats += 1;
        pair.asked_at = now;
        let attempt = *attempt;
        on.send_signal(peer, attempt, Signal::RequestOffer);
        true
    }

    /// What the other peer says about a link between the two.
    pub(super) fn signaled(
        &mut self,
        from: PeerId,
        attempt: u32,
        signal: Signal,
        on: &mut Negotiation<'_>,
    ) {
        let now = on.now;
        if !self.may_link(from, on) {
            if matches!(signal, Signal::Offer { .. } | Signal::RequestOffer) {
                let is_here = on.roster.member(from).is_some();
                if is_here && self.choices.requested(from, self.connections) {
                    on.queues.tell(MeshEvent::ConnectionRequested { peer: from });
                }
                // Should it be wanted later, an attempt beyond this one is asked for.
                if on.roster.member(from).is_some() {
                    let pair = self.pairs.entry(from).or_insert_with(|| Pair::new(now));
                    pair.attempt = pair.attempt.max(attempt);
                }
            }
            return;
        }
        let offers = on.roster.you() < from;
        let waits = self.waits(now, from);
        let pair = self.pairs.entry(from).or_insert_with(|| Pair::new(now));
        // A description with a certificate that is not the member's is one that did not come: the
        // attempt ends by its time, as when the server withholds it.
        let Some(signal) = on.authenticated(from, attempt, signal) else {
            if !std::mem::replace(&mut pair.is_forged, true) {
                tracing::warn!(peer = %from, attempt, "a link's description was not made by this member");
            }
            return;
        };
        let link = LinkId { peer: from, generation: attempt };
        match signal {
            Signal::RequestOffer => {
                // A peer that gave the other up counts from the start again; the higher count holds
                // for both.
                let is_new = attempt >= pair.attempt;
                // A peer that asks for an attempt beyond the one under way, or asks during it, will
                // not answer that one.
                pair.wants_newer_attempt |=
                    attempt > pair.attempt || (attempt == pair.attempt && pair.is_opening());
                pair.attempt = pair.attempt.max(attempt);
                let is_free = pair.wants_newer_attempt || !pair.is_opening();
                let waits = waits && !pair.is_linked();
                if offers && is_new && is_free && !waits && pair.may_answer_request(now) {
                    self.offer(from, on);
                }
            }
            Signal::Offer { .. } => {
                // A peer that offers without end would have us open links without end. An offer
                // that was asked for has crossed a narrow way already: asked for again, it would
                // keep that way full.
                if !offers && attempt <= pair.attempt {
                    self.offered_again(from, on);
                } else if !offers
                    && (!pair.may_negotiate(now, OFFER_INTERVAL)
                        || waits && !pair.is_linked() && pair.requested.is_none())
                {
                    let ask_at = pair.offered_at.map_or(now, |at| at + OFFER_INTERVAL);
                    pair.ignored = Some(IgnoredOffer { attempt, ask_at });
                } else if !offers && let Some(ask_at) = self.answered_offers.waits_until(now, from)
                {
                    pair.ignored = Some(IgnoredOffer { attempt, ask_at });
                } else if !offers {
                    self.answered_offers.answered(now, from);
                    pair.attempt = attempt;
                    pair.ignored = None;
                    pair.requested = None;
                    pair.offered_at = Some(now);
                    self.close_opening_links(from, on.queues);
                    self.open_link(link, Role::Answer, on.queues);
                    on.queues.out.signal(link, signal);
                }
            }
            Signal::Answer { .. } | Signal::Candidate { .. } | Signal::EndOfCandidates => {
                pair.is_answered |= attempt == pair.attempt;
                if pair.links.contains_key(&attempt) {
                    on.queues.out.signal(link, signal);
                }
            }
        }
    }

    /// An offer of a number that is known already. If the attempt of that number is not under way,
    /// the offerer has given this peer up meanwhile and counts anew: a request names the number to
    /// continue from.
    fn offered_again(&mut self, from: PeerId, on: &mut Negotiation<'_>) {
        let now = on.now;
        let Some(pair) = self.pairs.get(&from) else { return };
        if !pair.is_opening() && pair.requested.is_none() && now >= pair.asked_at + REQUEST_INTERVAL
        {
            let attempt = pair.attempt;
            self.ask_for_offer(from, attempt, on);
        }
    }

    pub(super) fn link_event(
        &mut self,
        link: MeshLink,
        event: LinkEvent,
        on: &mut Negotiation<'_>,
    ) {
        let now = on.now;
        let is_stale = on.connection.is_stale_on_links(now);
        let Some(pair) = self.pairs.get_mut(&link.peer) else { return };
        let Some(state) = pair.links.get_mut(&link.generation) else { return };
        match event {
            LinkEvent::Signal(signal) => on.send_signal(link.peer, link.generation, signal),
            LinkEvent::Open => {
                *state = LinkState::Open;
                self.last_opened = Some(link.peer);
                let took = pair.offered_at.map_or(Duration::ZERO, |at| now.saturating_sub(at));
                self.one_by_one.ended(now, took);
                pair.failures = 0;
                if on.roster.you() > link.peer {
                    self.answered_offers.opened(link.peer);
                }
                // A request that crossed the offer is answered by it.
                pair.wants_newer_attempt = false;
                on.queues.tell_network(NetworkEvent::LinkUp(link));
            }
            LinkEvent::TurnFailed => self.turn_failed(on.queues),
            LinkEvent::Answered { round_trip, further_header_bytes } => {
                if matches!(state, LinkState::Open) {
                    on.queues.tell_network(NetworkEvent::LinkAnswered {
                        link,
                        round_trip,
                        further_header_bytes,
                    });
                }
            }
            LinkEvent::Received { stream: Stream::Voice, .. } if is_stale => {}
            LinkEvent::Received { packet, .. } => {
                on.queues.tell_network(NetworkEvent::FromLink { link, packet })
            }
            LinkEvent::Closed(reason) => {
                let state = pair.links.remove(&link.generation);
                on.queues.out.close_link(link);
                tracing::debug!(peer = %link.peer, attempt = link.generation, %reason, "link closed");
                match state {
                    Some(LinkState::Opening) => pair.failed(now, on.roster.you() < link.peer),
                    Some(LinkState::Open) => pair.next_attempt_at = now + retry_after(&reason),
                    Some(LinkState::Lingering { .. }) | None => {}
                }
                if state.is_some_and(|state| state.is_announced()) {
                    on.queues.tell_network(NetworkEvent::LinkDown(link));
                }
            }
        }
    }

    /// Said once: every further link meets the same servers.
    fn turn_failed(&mut self, queues: &mut Queues) {
        if self.turn_has_failed {
            return;
        }
        self.turn_has_failed = true;
        let message = "The server's TURN gives no address: it does not answer, or refuses the credentials. Those whom only \
                       it could connect with you are heard through the signaling server.";
        queues.tell(MeshEvent::Warned {
            code: ErrorCode::Other("turn-failed".to_owned()),
            message: message.to_owned(),
            text: None,
        });
    }

    pub(super) fn close_link_later(&mut self, now: Duration, link: MeshLink) {
        if let Some(state) =
            self.pairs.get_mut(&link.peer).and_then(|pair| pair.links.get_mut(&link.generation))
            && !matches!(state, LinkState::Lingering { .. })
        {
            *state = LinkState::Lingering { until: now + LINGER };
        }
    }

    /// Nothing has come through a link for a while. A lost peer that is silent too is gone;
    /// otherwise a new attempt is made, or asked for.
    pub(super) fn replace(&mut self, link: MeshLink, on: &mut Negotiation<'_>) {
        let (now, peer) = (on.now, link.peer);
        on.connection.ask_server(now, on.queues);
        if on.roster.is_lost(peer) {
            self.close_link(link, on.queues);
            return;
        }
        if !on.connection.is_joined() || !self.may_link(peer, on) {
            return;
        }
        let Some(pair) = self.pairs.get_mut(&peer) else { return };
        if pair.is_opening() || pair.is_superseded(link.generation) {
            return;
        }
        if on.roster.you() < peer {
            if now >= pair.next_attempt_at {
                pair.next_attempt_at = now + REPLACE_INTERVAL;
                self.offer(peer, on);
            }
        } else if now >= pair.asked_at + REPLACE_INTERVAL {
            let attempt = pair.attempt;
            self.ask_for_offer(peer, attempt, on);
        }
    }

    /// A peer is gone: all links to it are, and what the program wanted of them.
    pub(super) fn forget(&mut self, peer: PeerId, queues: &mut Queues) {
        self.drop_links(peer, queues);
        self.choices.forget(peer);
    }

    fn drop_links(&mut self, peer: PeerId, queues: &mut Queues) {
        let Some(pair) = self.pairs.remove(&peer) else { return };
        for (generation, state) in pair.links {
            let link = LinkId { peer, generation };
            queues.out.close_link(link);
            if state.is_announced() {
                queues.tell_network(NetworkEvent::LinkDown(link));
            }
        }
    }

    pub(super) fn drop_all(&mut self, queues: &mut Queues) {
        let peers: Vec<PeerId> = self.pairs.keys().copied().collect();
        for peer in peers {
            self.drop_links(peer, queues);
        }
    }

    fn may_link(&self, peer: PeerId, on: &Negotiation<'_>) -> bool {
        let allowed = !self.relay_only
            && !self.server_relay_only
            && self.choices.is_wanted(peer, self.connections);
        allowed
            && !on.roster.is_lost(peer)
            && on.roster.member(peer).is_some_and(|member| {
                !member.capabilities.relay_only
                    && on.encryption.is_none_or(|encryption| encryption.may_link(member))
            })
    }

    /// The way to a peer without a link may be another now: an attempt at once, unless one was made
    /// a moment ago. Where the offer is the other's, it is asked for as often as the program wants,
    /// else now and then.
    fn restart_negotiation(&mut self, peer: PeerId, by_program: bool, on: &mut Negotiation<'_>) {
        let now = on.now;
        if !on.connection.is_joined() || !self.may_link(peer, on) || self.has_open_link(peer) {
            return;
        }
        let offers = on.roster.you() < peer;
        let pair = self.pairs.entry(peer).or_insert_with(|| Pair::new(now));
        pair.failures = 0;
        pair.next_attempt_at = now;
        if offers && pair.may_negotiate(now, REQUEST_INTERVAL) {
            self.offer(peer, on);
        } else if !offers && (by_program || now >= pair.asked_at + REQUEST_INTERVAL) {
            let beyond = pair.attempt.saturating_add(1);
            self.ask_for_offer(peer, beyond, on);
        }
    }

    /// Closes every link to a peer that stays in the room; the attempts go on being counted.
    fn close_links(&mut self, peer: PeerId, queues: &mut Queues) {
        let Some(pair) = self.pairs.get(&peer) else { return };
        let generations: Vec<u32> = pair.links.keys().copied().collect();
        for generation in generations {
            self.close_link(LinkId { peer, generation }, queues);
        }
    }

    /// This machine's path has changed: attempts under way cannot succeed, and every pair needs a
    /// new link. The links in use stay until those are there.
    pub(super) fn renew_all(&mut self, now: Duration, queues: &mut Queues) {
        let peers: Vec<PeerId> = self.pairs.keys().copied().collect();
        for peer in peers {
            self.close_opening_links(peer, queues);
            if let Some(pair) = self.pairs.get_mut(&peer) {
                pair.renew = true;
                pair.failures = 0;
                pair.next_attempt_at = now;
            }
        }
    }

    /// Another connection to the server is in use: what was said on the former one, by either side,
    /// may not have arrived. The attempts that it was about are made anew.
    pub(super) fn renew_unsettled(&mut self, now: Duration) {
        for pair in
            self.pairs.values_mut().filter(|pair| pair.is_opening() || pair.requested.is_some())
        {
            pair.renew = true;
            pair.next_attempt_at = now;
        }
    }

    fn renew(&mut self, peer: PeerId, on: &mut Negotiation<'_>) {
        if on.roster.you() < peer {
            self.offer(peer, on);
        } else {
            self.close_opening_links(peer, on.queues);
            // One beyond whatever was under way, which this side does not answer any more. An offer
            // of that number that crosses the request is as good.
            let beyond = self.pairs.get(&peer).map_or(0, |pair| pair.attempt.saturating_add(1));
            self.ask_for_offer(peer, beyond, on);
        }
    }

    /// Ends the attempts under way to a peer: another one takes their place.
    fn close_opening_links(&mut self, peer: PeerId, queues: &mut Queues) {
        let Some(pair) = self.pairs.get(&peer) else { return };
        let opening: Vec<u32> = pair
            .links
            .iter()
            .filter(|(_, state)| **state == LinkState::Opening)
            .map(|(link, _)| *link)
            .collect();
        for generation in opening {
            self.close_link(LinkId { peer, generation }, queues);
        }
    }

    fn offer(&mut self, peer: PeerId, on: &mut Negotiation<'_>) {
        let now = on.now;
        // The other end answers the newest only.
        self.close_opening_links(peer, on.queues);
        let Some(pair) = self.pairs.get_mut(&peer) else { return };
        pair.attempt = pair.attempt.saturating_add(1);
        (pair.offered_at, pair.is_answered) = (Some(now), false);
        pair.wants_newer_attempt = false;
        let link = LinkId { peer, generation: pair.attempt };
        self.open_link(link, Role::Offer, on.queues);
    }

    fn ask_for_offer(&mut self, peer: PeerId, attempt: u32, on: &mut Negotiation<'_>) {
        let Some(pair) = self.pairs.get_mut(&peer) else { return };
        pair.asked_at = on.now;
        pair.requested = Some(Requested { attempt, repeats: 0 });
        on.send_signal(peer, attempt, Signal::RequestOffer);
    }

    fn open_link(&mut self, link: MeshLink, role: Role, queues: &mut Queues) {
        let Some(pair) = self.pairs.get_mut(&link.peer) else { return };
        pair.links.insert(link.generation, LinkState::Opening);
        let surplus = pair.links.len().saturating_sub(LINKS_PER_PEER);
        let oldest: Vec<u32> = pair.links.keys().copied().take(surplus).collect();
        queues.out.open_link(link, role, &self.ice_servers);
        for generation in oldest {
            self.close_link(LinkId { generation, ..link }, queues);
        }
    }

    fn close_link(&mut self, link: MeshLink, queues: &mut Queues) {
        if let Some(pair) = self.pairs.get_mut(&link.peer)
            && let Some(state) = pair.links.remove(&link.generation)
        {
            queues.out.close_link(link);
            if state.is_announced() {
                queues.tell_network(NetworkEvent::LinkDown(link));
            }
        }
    }
}

impl Negotiation<'_> {
    fn send_signal(&mut self, to: PeerId, attempt: u32, signal: Signal) {
        if self.connection.is_joined() {
            let signal = match self.authority() {
                Some((ring, session)) => fingerprints::tagged(ring, session, to, attempt, signal),
                None => signal,
            };
            self.connection.say(&ClientMessage::Signal { to, attempt, signal }, self.queues);
        }
    }

    /// What a member said; none if the room has a key and this was not made with it.
    fn authenticated(&self, from: PeerId, attempt: u32, signal: Signal) -> Option<Signal> {
        let Some((ring, session)) = self.authority() else { return Some(signal) };
        fingerprints::authenticated(ring, session, from, attempt, signal)
    }

    /// What authenticates the ends of links in this session, if the room has a key.
    fn authority(&self) -> Option<(&KeyRing, SessionId)> {
        self.encryption?.authority().zip(self.roster.session)
    }
}

/// A link that worked and broke is worth trying again soon; one that the other side closed on
/// purpose is not.
fn retry_after(reason: &CloseReason) -> Duration {
    match reason {
        CloseReason::Remote | CloseReason::Local => FIRST_RETRY,
        _ => Duration::from_millis(100),
    }
}
