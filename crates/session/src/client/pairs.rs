//! Links to other peers and the handshake that binds each to a client (PROTOCOL.md, section 9).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use voicemesh_uplink::path::PathMonitor;
use voicemesh_wire::packet::HandshakeP2P;
use voicemesh_wire::{ClientId, SessionId};

use super::Phase;
use super::bandwidth::TrainReceiver;
use super::core::Core;
use super::event::{ClientEvent, Dropped, Participant};
use super::health::{AckDue, Health};
use crate::output::{Fallback, Output};
use crate::route::Route;
use crate::transport::{ClientLookup, Destination, LinkId, Reliability};

/// Links to one peer at a time: one in use, one that is to replace it, and one on its way out. A network that reports
/// more has its oldest released.
const LINKS_PER_PEER: usize = 3;

/// The links to everybody.
#[derive(Debug)]
pub(super) struct Pairs<P> {
    links: BTreeMap<LinkId<P>, Link>,
}

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    /// As whom this client has said the link is its own.
    sent: Option<Membership>,
    /// As whom the peer has.
    received: Option<Membership>,
    /// A HandshakeP2P that cannot be judged yet; a newer one takes its place.
    waiting: Option<Membership>,
    /// The last session in which both have, and so the one that this pair speaks.
    pub(super) binding: Option<Binding>,
    /// The one before, in which the peer may still speak until it has bound the new one too.
    former: Option<Binding>,
    pub(super) health: Health,
    pub(super) path: PathMonitor,
    pub(super) ack_due: AckDue,
    pub(super) train: TrainReceiver,
    pub(super) echoed_at: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Membership {
    session: SessionId,
    client: ClientId,
}

/// A session that both ends of a link speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub session: SessionId,
    pub you: ClientId,
    pub remote: ClientId,
}

impl Link {
    fn new(now: Duration, turn: u32) -> Self {
        Self {
            sent: None,
            received: None,
            waiting: None,
            binding: None,
            former: None,
            health: Health::new(now, turn),
            path: PathMonitor::new(),
            ack_due: AckDue::default(),
            train: TrainReceiver::default(),
            echoed_at: None,
        }
    }

    /// The peer's client id in a session, as far as this link knows it.
    fn remote_in(&self, session: SessionId) -> Option<ClientId> {
        let received = self.received.filter(|received| received.session == session).map(|received| received.client);
        let spoken = [self.binding, self.former].into_iter().flatten();
        received.or_else(|| spoken.filter(|binding| binding.session == session).map(|binding| binding.remote).next())
    }

    /// Binds when HandshakeP2P of one session has gone both ways. True if that is new.
    fn bind(&mut self) -> bool {
        let (Some(sent), Some(received)) = (self.sent, self.received) else { return false };
        let binding = Binding { session: sent.session, you: sent.client, remote: received.client };
        let is_new = sent.session == received.session && self.binding != Some(binding);
        if is_new {
            self.former = self.binding.replace(binding);
        }
        is_new
    }

    /// The last HandshakeP2P was not sent.
    fn unbind(&mut self) {
        let Some(sent) = self.sent.take() else { return };
        if self.binding.is_some_and(|binding| (binding.session, binding.you) == (sent.session, sent.client)) {
            self.binding = self.former.take();
        }
    }
}

impl<P: Copy + Ord> Pairs<P> {
    pub(super) fn new() -> Self {
        Self { links: BTreeMap::new() }
    }

    pub(super) fn link(&self, id: LinkId<P>) -> Option<&Link> {
        self.links.get(&id)
    }

    pub(super) fn link_mut(&mut self, id: LinkId<P>) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (LinkId<P>, &mut Link)> {
        self.links.iter_mut().map(|(id, link)| (*id, link))
    }

    pub(super) fn ids(&self) -> Vec<LinkId<P>> {
        self.links.keys().copied().collect()
    }

    /// The link in use to a peer: the newest that is bound.
    pub(super) fn bound(&self, peer: P) -> Option<(LinkId<P>, &Link, Binding)> {
        self.to(peer).rev().find_map(|(id, link)| Some((*id, link, link.binding?)))
    }

    /// All links in use, one a peer.
    pub(super) fn all_bound(&self) -> impl Iterator<Item = (LinkId<P>, &Link, Binding)> {
        self.links.keys().filter_map(|id| self.bound(id.peer).filter(|(bound, ..)| bound == id))
    }

    /// The peer whose bound link says that it is this client.
    pub(super) fn peer_bound_as(&self, session: SessionId, client: ClientId) -> Option<P> {
        let is_it =
            |link: &Link| link.binding.is_some_and(|binding| binding.session == session && binding.remote == client);
        self.links.iter().find(|(_, link)| is_it(link)).map(|(id, _)| id.peer)
    }

    pub(super) fn speaks(&self, session: SessionId) -> bool {
        self.links.values().any(|link| link.binding.is_some_and(|binding| binding.session == session))
    }

    fn to(&self, peer: P) -> impl DoubleEndedIterator<Item = (&LinkId<P>, &Link)> {
        self.links.range(LinkId { peer, generation: 0 }..=LinkId { peer, generation: u32::MAX })
    }
}

impl<P: Copy + Ord + std::fmt::Debug> Core<P> {
    pub(super) fn link_up(&mut self, now: Duration, id: LinkId<P>) {
        let turn = self.pairs.links.len() as u32;
        self.pairs.links.entry(id).or_insert_with(|| Link::new(now, turn));
        let surplus: Vec<_> = self.pairs.to(id.peer).map(|(id, _)| *id).rev().skip(LINKS_PER_PEER).collect();
        for old in surplus {
            self.pairs.links.remove(&old);
            self.out.push(Output::ReleaseLink(old));
        }
        self.send_handshake(now, id);
        self.refresh_routes(now);
    }

    pub(super) fn link_down(&mut self, now: Duration, id: LinkId<P>) {
        let Some(link) = self.pairs.links.remove(&id) else { return };
        if let Some(binding) = link.binding
            && self.pairs.bound(id.peer).is_none()
        {
            for view in self.previous.iter_mut().chain(self.current.as_mut()) {
                if view.session == binding.session {
                    view.forget_kept(binding.remote);
                }
            }
        }
        self.refresh_routes(now);
    }

    /// Frames that were sent on a link and are not known to have arrived.
    pub(super) fn take_unacknowledged(&mut self, id: LinkId<P>) -> Vec<u16> {
        let link = self.pairs.links.get_mut(&id);
        link.map(|link| link.health.take_unacknowledged().collect()).unwrap_or_default()
    }

    /// On every join and rejoin, sends HandshakeP2P to each peer that can be reached directly.
    pub(super) fn send_handshakes(&mut self, now: Duration) {
        for id in self.pairs.ids() {
            self.send_handshake(now, id);
        }
        self.retry_pending_handshakes(now);
    }

    /// The roster may now name peers whose handshakes wait.
    pub(super) fn retry_pending_handshakes(&mut self, now: Duration) {
        for id in self.pairs.ids() {
            let waiting = self.pairs.links.get_mut(&id).and_then(|link| link.waiting.take());
            if let Some(Membership { session, client }) = waiting
                && let Err(reason) = self.handshake_p2p(now, id, session, HandshakeP2P { client })
            {
                self.count(reason);
            }
        }
    }

    /// Once per link and session (and own id, should it change within one).
    fn send_handshake(&mut self, now: Duration, id: LinkId<P>) {
        let (Phase::Joined, Some(view)) = (self.phase, &self.current) else { return };
        let own = Membership { session: view.session, client: view.you };
        let Some(link) = self.pairs.links.get_mut(&id) else { return };
        if link.sent == Some(own) {
            return;
        }
        link.sent = Some(own);
        let packet = HandshakeP2P { client: own.client }.encode(own.session);
        let to = vec![Destination { client: ClientId(0), link: id }];
        self.out.send_to_links(to, Reliability::Reliable, packet, Fallback::Retry);
        self.try_bind(now, id);
    }

    /// A link did not take a HandshakeP2P: it is due again, and the pair is not bound by it.
    pub(super) fn handshake_refused(&mut self, now: Duration, id: LinkId<P>) {
        if let Some(link) = self.pairs.links.get_mut(&id) {
            link.unbind();
            self.out.keep_links(id.peer);
            self.refresh_routes(now);
        }
    }

    /// Retries what the network could not take when it was due.
    pub(super) fn retry_handshakes(&mut self, now: Duration) {
        let (Phase::Joined, Some(view)) = (self.phase, &self.current) else { return };
        let own = Some(Membership { session: view.session, client: view.you });
        let owing: Vec<_> = self.pairs.links.iter().filter(|(_, link)| link.sent != own).map(|(id, _)| *id).collect();
        for id in owing {
            self.send_handshake(now, id);
        }
    }

    /// "This link is mine", from the peer at its other end: its client id must be the roster's for that peer.
    pub(super) fn handshake_p2p(
        &mut self,
        now: Duration,
        id: LinkId<P>,
        session: SessionId,
        HandshakeP2P { client }: HandshakeP2P,
    ) -> Result<(), Dropped> {
        let joined = self.phase == Phase::Joined;
        let current = self.current.as_ref().filter(|view| joined && view.session == session);
        let is_past = self.previous.iter().any(|view| view.session == session);
        let Some(link) = self.pairs.links.get_mut(&id) else { return Err(Dropped::Unexpected) };
        let Some(view) = current else {
            if is_past {
                return Err(Dropped::WrongSession);
            }
            link.waiting = Some(Membership { session, client });
            return Ok(());
        };
        let known = match self.roster.client_of(session, id.peer) {
            ClientLookup::Client(named) if named == client => true,
            ClientLookup::Client(_) => return Err(Dropped::WrongHandshake),
            ClientLookup::NotYet => false,
            ClientLookup::NoRoster if client == view.you => return Err(Dropped::WrongHandshake),
            ClientLookup::NoRoster => view.table.member(client).is_some(),
        };
        if !known {
            link.waiting = Some(Membership { session, client });
            return Ok(());
        }
        link.received = Some(Membership { session, client });
        self.send_handshake(now, id);
        self.try_bind(now, id);
        Ok(())
    }

    fn try_bind(&mut self, now: Duration, id: LinkId<P>) {
        let Some(link) = self.pairs.links.get_mut(&id) else { return };
        if !link.bind() {
            return;
        }
        if let Some(binding) = link.binding {
            self.name_route(Participant::Client(binding.session, binding.remote), Participant::Peer(id.peer));
        }
        let superseded: Vec<_> =
            self.pairs.to(id.peer).map(|(id, _)| *id).filter(|other| other.generation < id.generation).collect();
        for old in superseded {
            self.out.push(Output::ReleaseLink(old));
        }
        self.refresh_routes(now);
    }

    /// Without a roster, only the binding of a link tells which peer a client is: its route goes on under that name.
    fn name_route(&mut self, former: Participant<P>, who: Participant<P>) {
        let Some(state) = self.routes.remove(&former) else { return };
        if state.route() != Route::None {
            self.push(ClientEvent::RouteChanged { who: former, route: Route::None });
        }
        if let Entry::Vacant(unnamed) = self.routes.entry(who) {
            unnamed.insert(state);
            if state.route() != Route::None {
                self.push(ClientEvent::RouteChanged { who, route: state.route() });
            }
        }
    }

    /// The only client that may speak on a link in a session: the link's own peer, under its id there.
    pub(super) fn speaker_on(&self, id: LinkId<P>, session: SessionId) -> Option<ClientId> {
        let by_link = self.pairs.link(id)?.remote_in(session);
        by_link.or_else(|| match self.roster.client_of(session, id.peer) {
            ClientLookup::Client(client) => Some(client),
            ClientLookup::NotYet | ClientLookup::NoRoster => None,
        })
    }
}
