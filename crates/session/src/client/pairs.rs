//! Links to other peers, and the client that each is bound to (PROTOCOL.md, section 9).

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_uplink::path::PathMonitor;
use voicemesh_wire::{ClientId, SessionId};

use super::bandwidth::TrainReceiver;
use super::health::{AckDue, Health};
use crate::transport::LinkId;

/// The links to everybody.
#[derive(Debug)]
pub(super) struct Pairs<P> {
    pub(super) links: BTreeMap<LinkId<P>, Link>,
}

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    /// As whom this client has said the link is its own.
    pub(super) sent: Option<Membership>,
    /// When the network did not take that.
    pub(super) refused_at: Option<Duration>,
    /// As whom the peer has.
    pub(super) received: Option<Membership>,
    /// A HandshakeP2P that cannot be judged yet; a newer one takes its place.
    pub(super) waiting: Option<Membership>,
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
pub(super) struct Membership {
    pub session: SessionId,
    pub client: ClientId,
}

/// A session that both ends of a link speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub session: SessionId,
    pub you: ClientId,
    pub remote: ClientId,
}

impl Link {
    pub(super) fn new(now: Duration, turn: u32) -> Self {
        Self {
            sent: None,
            refused_at: None,
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
    pub(super) fn remote_in(&self, session: SessionId) -> Option<ClientId> {
        let received = self
            .received
            .filter(|received| received.session == session)
            .map(|received| received.client);
        let spoken = [self.binding, self.former].into_iter().flatten();
        received.or_else(|| {
            spoken.filter(|binding| binding.session == session).map(|binding| binding.remote).next()
        })
    }

    /// Binds when HandshakeP2P of one session has gone both ways. True if that is new.
    pub(super) fn bind(&mut self) -> bool {
        let (Some(sent), Some(received)) = (self.sent, self.received) else { return false };
        let binding = Binding { session: sent.session, you: sent.client, remote: received.client };
        let is_new = sent.session == received.session && self.binding != Some(binding);
        if is_new {
            self.former = self.binding.replace(binding);
        }
        is_new
    }

    /// The last HandshakeP2P was not sent.
    pub(super) fn unbind(&mut self) {
        let Some(sent) = self.sent.take() else { return };
        if self
            .binding
            .is_some_and(|binding| (binding.session, binding.you) == (sent.session, sent.client))
        {
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
        let is_it = |link: &Link| {
            link.binding
                .is_some_and(|binding| binding.session == session && binding.remote == client)
        };
        self.links.iter().find(|(_, link)| is_it(link)).map(|(id, _)| id.peer)
    }

    pub(super) fn speaks(&self, session: SessionId) -> bool {
        self.links
            .values()
            .any(|link| link.binding.is_some_and(|binding| binding.session == session))
    }

    pub(super) fn to(&self, peer: P) -> impl DoubleEndedIterator<Item = (&LinkId<P>, &Link)> {
        self.links.range(LinkId { peer, generation: 0 }..=LinkId { peer, generation: u32::MAX })
    }
}
