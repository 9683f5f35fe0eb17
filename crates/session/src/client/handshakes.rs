//! The handshake that binds each link to a client (PROTOCOL.md, section 9).

use std::collections::btree_map::Entry;
use std::fmt::Debug;
use std::time::Duration;

use voicemesh_wire::packet::HandshakeP2P;
use voicemesh_wire::{ClientId, SessionId};

use super::Phase;
use super::core::Core;
use super::event::{ClientEvent, Dropped, Participant};
use super::health::SpeechPacket;
use super::pairs::{Link, Membership};
use crate::output::{Fallback, Output};
use crate::route::Route;
use crate::transport::{ClientLookup, Destination, LinkId, Reliability};

/// Links to one peer at a time: one in use, one that is to replace it, and one on its way out. A
/// network that reports more has its oldest released.
const LINKS_PER_PEER: usize = 3;
/// A HandshakeP2P that a link did not take is sent again after this.
pub(super) const REFUSED_AGAIN: Duration = Duration::from_millis(5);

impl<P: Copy + Ord + Debug> Core<P> {
    pub(super) fn link_up(&mut self, now: Duration, id: LinkId<P>) {
        let turn = self.pairs.links.len() as u32;
        self.pairs.links.entry(id).or_insert_with(|| Link::new(now, turn));
        let surplus: Vec<_> =
            self.pairs.to(id.peer).map(|(id, _)| *id).rev().skip(LINKS_PER_PEER).collect();
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

    /// Packets of speech that were sent on a link and are not known to have arrived.
    pub(super) fn take_unacknowledged(&mut self, id: LinkId<P>) -> Vec<SpeechPacket> {
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
            link.refused_at = Some(now);
            self.out.keep_links(id.peer);
            self.refresh_routes(now);
        }
    }

    /// Retries what the network could not take when it was due.
    pub(super) fn retry_handshakes(&mut self, now: Duration) {
        let (Phase::Joined, Some(view)) = (self.phase, &self.current) else { return };
        let own = Some(Membership { session: view.session, client: view.you });
        let owing: Vec<_> = self
            .pairs
            .links
            .iter()
            .filter(|(_, link)| link.sent != own)
            .filter(|(_, link)| link.refused_at.is_none_or(|at| now >= at + REFUSED_AGAIN))
            .map(|(id, _)| *id)
            .collect();
        for id in owing {
            self.send_handshake(now, id);
        }
    }

    /// "This link is mine", from the peer at its other end: its client id must be the roster's for
    /// that peer.
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
            self.name_route(
                Participant::Client(binding.session, binding.remote),
                Participant::Peer(id.peer),
            );
        }
        let superseded: Vec<_> = self
            .pairs
            .to(id.peer)
            .map(|(id, _)| *id)
            .filter(|other| other.generation < id.generation)
            .collect();
        for old in superseded {
            self.out.push(Output::ReleaseLink(old));
        }
        self.refresh_routes(now);
    }

    /// Without a roster, only the binding of a link tells which peer a client is: its route goes on
    /// under that name.
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

    /// The only client that may speak on a link in a session: the link's own peer, under its id
    /// there.
    pub(super) fn speaker_on(&self, id: LinkId<P>, session: SessionId) -> Option<ClientId> {
        let by_link = self.pairs.link(id)?.remote_in(session);
        by_link.or_else(|| match self.roster.client_of(session, id.peer) {
            ClientLookup::Client(client) => Some(client),
            ClientLookup::NotYet | ClientLookup::NoRoster => None,
        })
    }
}
