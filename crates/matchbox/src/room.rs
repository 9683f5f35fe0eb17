//! One peer's view of a room, without sockets: who greets, who hosts, which links are open, and what
//! waits for a poll. What is to be sent comes out of [`Room::poll_transmit`] after each call.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use matchbox_socket::PeerId;
use voicemesh_session::network::{
    DisconnectReason, LinkId, NetworkError, NetworkEvent, Reliability,
};

use crate::error::RoomError;
use crate::frame::{self, ByeReason, Frame, FrameError, Role};
use crate::ledger::InFlightLimits;
use crate::peer::{LinkState, Peer, Standing};

/// Peers of a room that are known. Others have no effect.
pub(crate) const PEERS: usize = 1024;
/// On its way to the host, or on a link: the state of one client, and its speech.
const TO_SERVER: InFlightLimits =
    InFlightLimits { reliable: 2 * 1024 * 1024, unreliable: 256 * 1024 };
/// On its way to a client: the state of some 50,000 others.
const TO_CLIENT: InFlightLimits =
    InFlightLimits { reliable: 8 * 1024 * 1024, unreliable: 1024 * 1024 };
/// Packets that wait for a poll may take so many times what may be on its way: a probe is answered
/// when it arrives, whether or not the game has polled.
const WAITING: u64 = 2;

/// Something to be given to matchbox_socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Transmit {
    pub(crate) to: PeerId,
    pub(crate) how: Reliability,
    pub(crate) bytes: Bytes,
}

#[derive(Debug)]
enum Part {
    Client {
        server: Option<PeerId>,
        opens_links: bool,
        /// Peers to which a link is to open as soon as it can.
        wanted: BTreeSet<PeerId>,
    },
    Server {
        /// No longer a candidate.
        is_host: bool,
        clients: usize,
    },
}

/// An event, and what of a peer's share it takes.
#[derive(Debug)]
struct Queued {
    event: NetworkEvent<PeerId>,
    counted: Option<(PeerId, Reliability, usize)>,
}

#[derive(Debug)]
pub(crate) struct Room {
    part: Part,
    /// Its id, once the signaling server has given it one.
    own: Option<PeerId>,
    peers: BTreeMap<PeerId, Peer>,
    /// Peers that have begun to connect, and are not connected yet.
    connecting: BTreeSet<PeerId>,
    transmit: VecDeque<Transmit>,
    events: VecDeque<Queued>,
    violations: u64,
    /// It has reported its end.
    has_ended: bool,
    /// The reason that it gives the others when it leaves.
    bye: ByeReason,
    is_closing: bool,
}

impl Room {
    pub(crate) fn client(opens_links: bool) -> Self {
        Self::new(Part::Client { server: None, opens_links, wanted: BTreeSet::new() })
    }

    pub(crate) fn server(clients: usize) -> Self {
        Self::new(Part::Server { is_host: false, clients: clients.min(PEERS) })
    }

    fn new(part: Part) -> Self {
        Self {
            part,
            own: None,
            peers: BTreeMap::new(),
            connecting: BTreeSet::new(),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            violations: 0,
            has_ended: false,
            bye: ByeReason::Leaves,
            is_closing: false,
        }
    }

    pub(crate) fn own(&self) -> Option<PeerId> {
        self.own
    }

    /// Frames so far that were none, or not for this peer to send.
    pub(crate) fn violations(&self) -> u64 {
        self.violations
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmit.pop_front()
    }

    /// Whether a peer has begun to connect, and is not connected yet.
    pub(crate) fn is_connecting(&self) -> bool {
        !self.connecting.is_empty()
    }

    pub(crate) fn event_count(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn poll_event(&mut self) -> Option<NetworkEvent<PeerId>> {
        let Queued { event, counted } = self.events.pop_front()?;
        if let Some((peer, how, bytes)) = counted
            && let Some(peer) = self.peers.get_mut(&peer)
        {
            peer.polled(how, bytes);
        }
        Some(event)
    }

    // What matchbox_socket reports.

    /// The signaling server has given it an id. As for the next two, true if matchbox_socket is to
    /// know.
    pub(crate) fn joined(&mut self, own: PeerId) -> bool {
        self.own = Some(own);
        true
    }

    /// A peer is about to connect.
    pub(crate) fn peer_signals(&mut self, id: PeerId) -> bool {
        if self.peers.get(&id).is_some_and(|peer| peer.is_open) || self.connecting.contains(&id) {
            return true;
        }
        // Who leaves begins nothing new.
        let is_taken = !self.is_closing && self.connecting.len() < PEERS;
        if is_taken {
            self.connecting.insert(id);
        }
        is_taken
    }

    /// A peer has left the signaling server.
    pub(crate) fn peer_left(&mut self, id: PeerId) -> bool {
        self.connecting.remove(&id);
        true
    }

    /// matchbox_socket takes packets for this peer from now on.
    pub(crate) fn peer_opened(&mut self, id: PeerId) {
        let is_new = self.known(id).is_some_and(|peer| !peer.is_open);
        self.connecting.remove(&id);
        if !is_new {
            return;
        }
        let held = self.peers.get_mut(&id).map(Peer::opened).unwrap_or_default();
        self.send(id, &Frame::Hello(self.role()));
        for bytes in held {
            self.transmit.push_back(Transmit { to: id, how: Reliability::Reliable, bytes });
        }
        self.say_bye(id);
    }

    pub(crate) fn peer_closed(&mut self, id: PeerId) {
        self.connecting.remove(&id);
        self.left(id, DisconnectReason::Lost);
        self.peers.remove(&id);
    }

    pub(crate) fn received(&mut self, id: PeerId, how: Reliability, bytes: &Bytes) {
        let is_over = self.is_closing || self.has_ended;
        let Some(peer) = self.known(id) else { return };
        let is_ended = is_over || peer.standing == Standing::Ended;
        let (is_first, is_open) = (!std::mem::replace(&mut peer.is_heard, true), peer.is_open);
        if is_first && is_open {
            // The first greeting may have come too early.
            self.send(id, &Frame::Hello(self.role()));
            self.say_bye(id);
        }
        match Frame::decode(how, bytes) {
            Ok(Frame::Bye(reason)) => self.bye_of(id, reason),
            Ok(Frame::ByeTaken) if self.is_closing => drop(self.peers.remove(&id)),
            Ok(_) | Err(_) if is_ended => {}
            Ok(frame) => self.take(id, how, frame),
            Err(error) => self.violation(id, error),
        }
    }

    /// matchbox_socket's loop has ended.
    pub(crate) fn failed(&mut self, error: RoomError) {
        self.end(error.into());
        self.peers.clear();
        self.connecting.clear();
    }

    // What time brings.

    /// A candidate that has met no host in time is the host.
    pub(crate) fn become_host(&mut self) {
        let Part::Server { is_host, .. } = &mut self.part else { return };
        if *is_host || self.has_ended {
            return;
        }
        *is_host = true;
        self.push(NetworkEvent::Hosting);
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.send(id, &Frame::Hello(Role::Host));
            self.welcome(id);
        }
    }

    /// A client that has met no host in time gives up.
    pub(crate) fn give_up_looking(&mut self) {
        if self.server_id().is_none() {
            self.end(RoomError::NoHost.into());
        }
    }

    // What the game wants.

    pub(crate) fn send_to_server(
        &mut self,
        how: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        let server = self.server_id().ok_or(NetworkError::NotConnected)?;
        if !self.try_send(server, how, packet, None, TO_SERVER)? && how == Reliability::Reliable {
            self.bye = ByeReason::ReliabilityBroken;
            self.end(DisconnectReason::ReliabilityBroken);
            return Err(NetworkError::ReliabilityBroken);
        }
        Ok(())
    }

    pub(crate) fn send_to_client(
        &mut self,
        to: PeerId,
        how: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        if self.standing(to) != Standing::Welcomed {
            return Err(NetworkError::NotConnected);
        }
        if !self.try_send(to, how, packet, None, TO_CLIENT)? && how == Reliability::Reliable {
            self.end_peer(to, ByeReason::ReliabilityBroken);
            return Err(NetworkError::ReliabilityBroken);
        }
        Ok(())
    }

    /// False if the link does not take it.
    pub(crate) fn send_on_link(
        &mut self,
        link: LinkId<PeerId>,
        how: Reliability,
        packet: Bytes,
    ) -> bool {
        let is_up = |peer: &Peer| peer.link.is_up(link.generation);
        if self.has_ended || !self.peers.get(&link.peer).is_some_and(is_up) {
            return false;
        }
        match self.try_send(link.peer, how, packet, Some(link.generation), TO_SERVER) {
            Ok(true) => true,
            // Late speech is worthless.
            Ok(false) if how == Reliability::Unreliable => true,
            Ok(false) => {
                self.release_link(link);
                false
            }
            Err(_) => false,
        }
    }

    /// Ends a client's connection.
    pub(crate) fn end_client(&mut self, client: PeerId) {
        if self.standing(client) == Standing::Welcomed {
            self.end_peer(client, ByeReason::Leaves);
        }
    }

    /// Opens a link to another client, as soon as both are connected.
    pub(crate) fn want_link(&mut self, to: PeerId) {
        let Part::Client { wanted, .. } = &mut self.part else { return };
        if wanted.len() < PEERS {
            wanted.insert(to);
        }
        self.try_link(to);
    }

    pub(crate) fn release_link(&mut self, link: LinkId<PeerId>) {
        let Some(peer) = self.peers.get_mut(&link.peer) else { return };
        if !peer.link.is_up(link.generation) {
            return;
        }
        peer.link.state = LinkState::Closed;
        self.push(NetworkEvent::LinkDown(link));
        self.send(link.peer, &Frame::LinkClose(link.generation));
    }

    /// Says goodbye. From now on nothing is polled; [`is_closed`](Self::is_closed) when all others
    /// know, those included that are still connecting.
    pub(crate) fn close(&mut self) {
        if self.is_closing {
            return;
        }
        (self.is_closing, self.has_ended) = (true, true);
        self.events.clear();
        self.peers.retain(|_, peer| peer.standing != Standing::Ended);
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.say_bye(id);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closing && self.peers.is_empty() && self.connecting.is_empty()
    }

    /// Once it is closing, to a peer for which the connection is there at both ends.
    fn say_bye(&mut self, id: PeerId) {
        let is_ready = |peer: &Peer| peer.is_open && peer.is_heard;
        if self.is_closing && self.peers.get(&id).is_some_and(is_ready) {
            self.send(id, &Frame::Bye(self.bye));
        }
    }

    // Frames.

    fn take(&mut self, id: PeerId, how: Reliability, frame: Frame) {
        match frame {
            Frame::Hello(role) => self.greeted(id, role),
            Frame::Welcome => self.welcomed(id),
            Frame::Full if self.standing(id) == Standing::Host && self.server_id().is_none() => {
                self.end(RoomError::Full.into());
            }
            Frame::Probe(number) => self.send(id, &Frame::Answer(number)),
            Frame::Answer(number) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.ledger.answered(number);
                }
                self.probe(id);
            }
            Frame::Packet(packet) => self.packet(id, how, packet),
            Frame::LinkPacket { generation, packet } => {
                let link = LinkId { peer: id, generation };
                if self.peers.get(&id).is_some_and(|peer| peer.link.is_up(generation)) {
                    let bytes = packet.len();
                    self.push_of(id, how, bytes, NetworkEvent::FromLink { link, packet });
                }
            }
            Frame::LinkAsk | Frame::LinkOpen(_) | Frame::LinkAccept(_) | Frame::LinkClose(_)
                if self.standing(id) == Standing::Client =>
            {
                self.link_frame(id, &frame);
            }
            Frame::Full
            | Frame::Bye(_)
            | Frame::ByeTaken
            | Frame::LinkAsk
            | Frame::LinkOpen(_)
            | Frame::LinkAccept(_)
            | Frame::LinkClose(_) => {}
        }
    }

    fn greeted(&mut self, id: PeerId, role: Role) {
        let standing = match role {
            Role::Client => Standing::Client,
            Role::Candidate | Role::Host => Standing::Host,
        };
        match (self.standing(id), standing) {
            (Standing::Stranger, _) => {}
            // A candidate that hosts now.
            (Standing::Host, Standing::Host) => {}
            _ => return,
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.standing = standing;
        }
        match (&self.part, role) {
            (Part::Server { .. }, Role::Client) => self.welcome(id),
            (Part::Server { .. }, Role::Candidate | Role::Host) => self.meet_host(id, role),
            (Part::Client { .. }, Role::Client) => self.meet_client(id),
            // It welcomes when it hosts.
            (Part::Client { .. }, Role::Candidate | Role::Host) => {}
        }
    }

    /// A host stays before a candidate, and of two that are the same the one with the lower id.
    fn meet_host(&mut self, id: PeerId, role: Role) {
        let stays = match (self.role(), role) {
            (Role::Host, Role::Candidate) => true,
            (Role::Candidate, Role::Host) => false,
            _ => self.own < Some(id),
        };
        if !stays {
            self.end(DisconnectReason::from(RoomError::AnotherHost));
        }
    }

    /// At a host: takes a client that waits.
    fn welcome(&mut self, id: PeerId) {
        let Part::Server { is_host: true, clients } = self.part else { return };
        if self.standing(id) != Standing::Client {
            return;
        }
        let is_welcomed = |peer: &&Peer| peer.standing == Standing::Welcomed;
        if self.peers.values().filter(is_welcomed).count() >= clients {
            self.send(id, &Frame::Full);
            return;
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.standing = Standing::Welcomed;
        }
        self.send(id, &Frame::Welcome);
    }

    /// At a client: the first host that welcomes it is its server.
    fn welcomed(&mut self, id: PeerId) {
        if self.standing(id) != Standing::Host {
            return;
        }
        let Part::Client { server: server @ None, .. } = &mut self.part else { return };
        *server = Some(id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.standing = Standing::Server;
        }
        self.push(NetworkEvent::Connected);
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.meet_client(id);
        }
    }

    fn packet(&mut self, id: PeerId, how: Reliability, packet: Bytes) {
        let bytes = packet.len();
        match self.standing(id) {
            Standing::Welcomed => {
                self.push_of(id, how, bytes, NetworkEvent::FromClient { peer: id, packet });
            }
            Standing::Server => self.push_of(id, how, bytes, NetworkEvent::FromServer(packet)),
            Standing::Stranger | Standing::Host | Standing::Client | Standing::Ended => {}
        }
    }

    fn bye_of(&mut self, id: PeerId, reason: ByeReason) {
        self.send(id, &Frame::ByeTaken);
        if self.is_closing {
            self.peers.remove(&id);
            return;
        }
        self.left(
            id,
            match reason {
                ByeReason::Leaves => DisconnectReason::Lost,
                ByeReason::ReliabilityBroken => DisconnectReason::ReliabilityBroken,
                ByeReason::Violation => RoomError::RefusedByHost.into(),
            },
        );
    }

    /// It sent what is no frame.
    fn violation(&mut self, id: PeerId, error: FrameError) {
        self.violations += 1;
        if self.standing(id) == Standing::Server {
            self.bye = ByeReason::Violation;
            self.end(RoomError::BadFrame(error).into());
        } else {
            self.end_peer(id, ByeReason::Violation);
        }
    }

    // Links.

    /// At a client that is connected: another client is here.
    fn meet_client(&mut self, id: PeerId) {
        if self.server_id().is_none() || self.standing(id) != Standing::Client {
            return;
        }
        let link = self.peers.get(&id).map(|peer| peer.link).unwrap_or_default();
        match (&self.part, link.state) {
            (_, LinkState::Offered) => self.accept(id),
            (Part::Client { opens_links: true, .. }, _) => self.want_link(id),
            _ => self.try_link(id),
        }
    }

    /// Opens a link that is wanted, if both ends are ready. The end with the lower id numbers it.
    fn try_link(&mut self, id: PeerId) {
        let (own, is_connected) = (self.own, self.server_id().is_some());
        let Part::Client { wanted, .. } = &mut self.part else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let is_ready = peer.standing == Standing::Client
            && peer.link.state == LinkState::Closed
            && peer.link.generation < u32::MAX;
        if !is_connected || !is_ready || !wanted.remove(&id) {
            return;
        }
        let frame = if own < Some(id) {
            peer.link.generation += 1;
            peer.link.state = LinkState::Opening;
            Frame::LinkOpen(peer.link.generation)
        } else {
            peer.link.state = LinkState::Asked;
            Frame::LinkAsk
        };
        self.send(id, &frame);
    }

    fn link_frame(&mut self, id: PeerId, frame: &Frame) {
        let is_lower = self.own < Some(id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let link = LinkId { peer: id, generation: peer.link.generation };
        match *frame {
            Frame::LinkAsk if is_lower => self.want_link(id),
            Frame::LinkOpen(generation) if !is_lower && generation > link.generation => {
                let was_up = peer.link.state == LinkState::Up;
                peer.link.generation = generation;
                peer.link.state = LinkState::Offered;
                if was_up {
                    self.push(NetworkEvent::LinkDown(link));
                }
                if self.server_id().is_some() {
                    self.accept(id);
                }
            }
            Frame::LinkAccept(generation)
                if is_lower
                    && generation == link.generation
                    && peer.link.state == LinkState::Opening =>
            {
                self.link_up(id);
            }
            Frame::LinkClose(generation) if generation == link.generation => {
                let was_up = peer.link.state == LinkState::Up;
                peer.link.state = LinkState::Closed;
                if was_up {
                    self.push(NetworkEvent::LinkDown(link));
                }
            }
            _ => {}
        }
    }

    fn accept(&mut self, id: PeerId) {
        if let Some(generation) = self.link_up(id) {
            self.send(id, &Frame::LinkAccept(generation));
        }
    }

    /// Its generation, unless the peer has opened more links than are polled.
    fn link_up(&mut self, id: PeerId) -> Option<u32> {
        let peer = self.peers.get_mut(&id)?;
        peer.link.state = LinkState::Up;
        let link = LinkId { peer: id, generation: peer.link.generation };
        if !peer.try_wait(Reliability::Reliable, 0, WAITING * TO_SERVER.reliable) {
            peer.link.state = LinkState::Closed;
            self.end_peer(id, ByeReason::ReliabilityBroken);
            return None;
        }
        let counted = Some((id, Reliability::Reliable, 0));
        self.events.push_back(Queued { event: NetworkEvent::LinkUp(link), counted });
        Some(link.generation)
    }

    // What ends.

    /// Of this one's choice.
    fn end_peer(&mut self, id: PeerId, reason: ByeReason) {
        self.send(id, &Frame::Bye(reason));
        self.left(id, DisconnectReason::ReliabilityBroken);
    }

    /// A peer is no longer part of the session, for whatever cause. `reason`: what a client says if
    /// it was its server.
    fn left(&mut self, id: PeerId, reason: DisconnectReason) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (standing, link) = (peer.standing, peer.link);
        (peer.standing, peer.link.state) = (Standing::Ended, LinkState::Closed);
        if self.has_ended {
            return;
        }
        if link.state == LinkState::Up {
            let generation = link.generation;
            self.push(NetworkEvent::LinkDown(LinkId { peer: id, generation }));
        }
        match standing {
            Standing::Welcomed => self.push(NetworkEvent::ClientGone { peer: id }),
            Standing::Server => self.end(reason),
            Standing::Stranger | Standing::Host | Standing::Client | Standing::Ended => {}
        }
    }

    /// Reports the end of this part: its last event.
    fn end(&mut self, reason: DisconnectReason) {
        if self.has_ended {
            return;
        }
        let links = self.peers.iter().filter(|(_, peer)| peer.link.state == LinkState::Up);
        let link =
            |(id, peer): (&PeerId, &Peer)| LinkId { peer: *id, generation: peer.link.generation };
        let links: Vec<_> = links.map(link).collect();
        for link in links {
            self.push(NetworkEvent::LinkDown(link));
        }
        self.has_ended = true;
        let event = match (&mut self.part, reason) {
            (Part::Client { server, .. }, reason) => {
                *server = None;
                NetworkEvent::Disconnected(reason)
            }
            (Part::Server { .. }, DisconnectReason::Refused(why)) => {
                NetworkEvent::HostingFailed(why)
            }
            (Part::Server { .. }, reason) => NetworkEvent::HostingFailed(format!("{reason:?}")),
        };
        self.events.push_back(Queued { event, counted: None });
    }

    // Helpers.

    fn role(&self) -> Role {
        match self.part {
            Part::Client { .. } => Role::Client,
            Part::Server { is_host: false, .. } => Role::Candidate,
            Part::Server { is_host: true, .. } => Role::Host,
        }
    }

    fn server_id(&self) -> Option<PeerId> {
        match self.part {
            Part::Client { server, .. } => server,
            Part::Server { .. } => None,
        }
    }

    fn standing(&self, id: PeerId) -> Standing {
        self.peers.get(&id).map(|peer| peer.standing).unwrap_or_default()
    }

    /// This peer, as long as there is a place for it.
    fn known(&mut self, id: PeerId) -> Option<&mut Peer> {
        let is_too_late = self.is_closing && !self.connecting.contains(&id);
        if self.peers.len() >= PEERS || is_too_late {
            return self.peers.get_mut(&id);
        }
        Some(self.peers.entry(id).or_default())
    }

    fn send(&mut self, to: PeerId, frame: &Frame) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let bytes = frame.encode();
        if peer.is_open {
            self.transmit.push_back(Transmit { to, how: Reliability::Reliable, bytes });
        } else {
            peer.hold(bytes);
        }
    }

    /// A packet, by a link if it has a generation. False if more is on its way than may be.
    fn try_send(
        &mut self,
        to: PeerId,
        how: Reliability,
        packet: Bytes,
        generation: Option<u32>,
        limits: InFlightLimits,
    ) -> Result<bool, NetworkError> {
        let (bytes, limit) = (packet.len(), frame::limit(how));
        if bytes > limit {
            return Err(NetworkError::Failed(FrameError::TooLarge { bytes, limit }.to_string()));
        }
        let peer = self.peers.get_mut(&to).ok_or(NetworkError::NotConnected)?;
        if !peer.ledger.try_reserve(how, bytes, limits) {
            return Ok(false);
        }
        let frame = match generation {
            Some(generation) => Frame::LinkPacket { generation, packet },
            None => Frame::Packet(packet),
        };
        self.transmit.push_back(Transmit { to, how, bytes: frame.encode() });
        self.probe(to);
        Ok(true)
    }

    fn probe(&mut self, to: PeerId) {
        if let Some(number) = self.peers.get_mut(&to).and_then(|peer| peer.ledger.next_probe()) {
            self.send(to, &Frame::Probe(number));
        }
    }

    fn push(&mut self, event: NetworkEvent<PeerId>) {
        self.events.push_back(Queued { event, counted: None });
    }

    /// A packet of a peer. Too many unreliable ones are lost, too many reliable ones end its
    /// connection.
    fn push_of(&mut self, id: PeerId, how: Reliability, bytes: usize, event: NetworkEvent<PeerId>) {
        let limits = match self.standing(id) {
            Standing::Server => TO_CLIENT,
            _ => TO_SERVER,
        };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let limit = match how {
            Reliability::Reliable => limits.reliable,
            Reliability::Unreliable => limits.unreliable,
        };
        if peer.try_wait(how, bytes, WAITING * limit) {
            self.events.push_back(Queued { event, counted: Some((id, how, bytes)) });
        } else if how == Reliability::Reliable {
            self.end_peer(id, ByeReason::ReliabilityBroken);
        }
    }
}

#[cfg(test)]
mod tests;
