//! What all endpoints share: who serves where, who is connected to whom, and what waits for each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use voicemesh_common::lock;
use voicemesh_session::network::{
    Delivery, DisconnectReason, LinkId, NetworkError, NetworkEvent, Reliability, Side,
};

use super::Endpoint;

/// Packets that wait for one endpoint to poll. When there are more, an unreliable one is lost, and
/// a reliable one ends the connection or link that it came by. What tells of connections and links
/// themselves is never lost.
const WAITING_PACKETS: usize = 16 * 1024;

/// By what a peer in memory is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub u32);

/// The process's own network. Clones are the same hub.
#[derive(Clone, Debug, Default)]
pub struct Hub(Arc<Mutex<State>>);

impl Hub {
    /// A hub without endpoints.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more peer.
    pub fn endpoint(&self) -> Endpoint {
        let mut state = self.lock();
        let key = PeerKey(state.next_key);
        state.next_key += 1;
        state.peers.insert(key, Peer::default());
        Endpoint { hub: self.clone(), key }
    }

    /// From now on, a client that connects waits for [`Hub::complete_connect`].
    pub fn hold_connects(&self, hold: bool) {
        self.lock().hold_connects = hold;
    }

    /// A client that waits for its connection has it now. False if it does not wait.
    pub fn complete_connect(&self, client: PeerKey) -> bool {
        self.lock().complete_connect(client)
    }

    /// Cuts a client's connection to its server: both learn of it. False if there is none.
    pub fn cut_server(&self, client: PeerKey) -> bool {
        self.lock().end_connection(client, DisconnectReason::Lost)
    }

    /// The connection notices that it has lost a reliable packet, and ends. False if there is none.
    pub fn break_reliability(&self, client: PeerKey) -> bool {
        self.lock().end_connection(client, DisconnectReason::ReliabilityBroken)
    }

    /// Opens a link between two peers. One that is there already stays until it is released or cut,
    /// and the new one has a higher generation, which is returned.
    pub fn connect_link(&self, a: PeerKey, b: PeerKey) -> u32 {
        self.lock().connect_link(a, b)
    }

    /// Cuts all links between two peers: both learn of it. Says how many there were.
    pub fn cut_link(&self, a: PeerKey, b: PeerKey) -> usize {
        self.lock().cut_links(a, b)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything in it could panic.
        lock(&self.0)
    }

    pub(super) fn remove(&self, key: PeerKey) {
        let mut state = self.lock();
        state.disconnect(key);
        state.stop_hosting(key);
        state.peers.remove(&key);
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    next_key: u32,
    hold_connects: bool,
    peers: BTreeMap<PeerKey, Peer>,
    servers: BTreeMap<String, PeerKey>,
    /// Smaller key, larger key, generation.
    links: BTreeSet<(PeerKey, PeerKey, u32)>,
    generations: BTreeMap<(PeerKey, PeerKey), u32>,
}

#[derive(Debug, Default)]
struct Peer {
    client: ClientSide,
    serves_at: Option<String>,
    inbox: Inbox,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum ClientSide {
    #[default]
    Offline,
    Connecting {
        address: String,
    },
    Connected {
        server: PeerKey,
    },
}

/// Events in the order in which they happened. What arrives in the middle of a round of polling
/// waits for the next, so that a peer that answers while polling always comes to an end.
#[derive(Debug, Default)]
struct Inbox {
    round: VecDeque<NetworkEvent<PeerKey>>,
    next_round: VecDeque<NetworkEvent<PeerKey>>,
    is_polling: bool,
}

impl Inbox {
    fn push(&mut self, event: NetworkEvent<PeerKey>) {
        self.next_round.push_back(event);
    }

    /// False if there is no room for one more packet.
    fn push_packet(&mut self, event: NetworkEvent<PeerKey>) -> bool {
        let has_room = self.round.len() + self.next_round.len() < WAITING_PACKETS;
        if has_room {
            self.push(event);
        }
        has_room
    }

    fn poll(&mut self) -> Option<NetworkEvent<PeerKey>> {
        if !self.is_polling {
            std::mem::swap(&mut self.round, &mut self.next_round);
        }
        let event = self.round.pop_front();
        self.is_polling = event.is_some();
        event
    }

    fn retain(&mut self, mut keep: impl FnMut(&NetworkEvent<PeerKey>) -> bool) {
        self.round.retain(&mut keep);
        self.next_round.retain(&mut keep);
    }
}

impl State {
    pub(super) fn poll(&mut self, key: PeerKey) -> Option<NetworkEvent<PeerKey>> {
        self.peers.get_mut(&key)?.inbox.poll()
    }

    /// Links stay: they do not depend on the server.
    pub(super) fn connect(&mut self, key: PeerKey, address: String) {
        self.hang_up(key, |event| {
            !matches!(event, NetworkEvent::Connected | NetworkEvent::FromServer(_))
        });
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.client = ClientSide::Connecting { address };
        }
        if !self.hold_connects {
            self.complete_connect(key);
        }
    }

    fn complete_connect(&mut self, key: PeerKey) -> bool {
        let Some(peer) = self.peers.get_mut(&key) else { return false };
        let ClientSide::Connecting { address } = &peer.client else { return false };
        match self.servers.get(address) {
            Some(server) => {
                peer.client = ClientSide::Connected { server: *server };
                peer.inbox.push(NetworkEvent::Connected);
            }
            None => {
                let reason =
                    DisconnectReason::Refused(format!("there is no server at {address:?}"));
                peer.client = ClientSide::Offline;
                peer.inbox.push(NetworkEvent::Disconnected(reason));
            }
        }
        true
    }

    /// The client side ends by its own wish: what has not been polled of it is gone.
    pub(super) fn disconnect(&mut self, key: PeerKey) {
        for other in self.linked_to(key) {
            self.cut_links(key, other);
        }
        self.hang_up(key, |event| event.side() == Side::Server);
    }

    /// Ends the connection to the server, if there is one, and forgets what waits and is not worth
    /// keeping.
    fn hang_up(&mut self, key: PeerKey, keep: impl FnMut(&NetworkEvent<PeerKey>) -> bool) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let client = std::mem::take(&mut peer.client);
        peer.inbox.retain(keep);
        if let ClientSide::Connected { server } = client {
            self.push(server, NetworkEvent::ClientGone { peer: key });
        }
    }

    pub(super) fn host(&mut self, key: PeerKey, address: String) -> Result<(), NetworkError> {
        if self.servers.get(&address).is_some_and(|server| *server != key) {
            return Err(NetworkError::Failed(format!("there is another server at {address:?}")));
        }
        self.stop_hosting(key);
        self.servers.insert(address.clone(), key);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.serves_at = Some(address);
            peer.inbox.push(NetworkEvent::Hosting);
        }
        Ok(())
    }

    /// The server side ends by its own wish: what has not been polled of it is gone, and its
    /// clients lose it.
    pub(super) fn stop_hosting(&mut self, key: PeerKey) {
        let Some(address) = self.peers.get_mut(&key).and_then(|peer| peer.serves_at.take()) else {
            return;
        };
        self.servers.remove(&address);
        for client in self.clients_of(key) {
            self.end_connection(client, DisconnectReason::Lost);
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.inbox.retain(|event| event.side() != Side::Server);
        }
    }

    pub(super) fn send_to_server(
        &mut self,
        key: PeerKey,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        let server = self.server_of(key).ok_or(NetworkError::NotConnected)?;
        let has_room = self.push_packet(server, NetworkEvent::FromClient { peer: key, packet });
        match reliability {
            Reliability::Reliable if !has_room => {
                self.end_connection(key, DisconnectReason::ReliabilityBroken);
                Err(NetworkError::ReliabilityBroken)
            }
            Reliability::Reliable | Reliability::Unreliable => Ok(()),
        }
    }

    pub(super) fn send_to_client(
        &mut self,
        key: PeerKey,
        to: PeerKey,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        if self.server_of(to) != Some(key) {
            return Err(NetworkError::NotConnected);
        }
        let has_room = self.push_packet(to, NetworkEvent::FromServer(packet));
        match delivery {
            Delivery::Reliable if !has_room => {
                self.end_connection(to, DisconnectReason::ReliabilityBroken);
                Err(NetworkError::ReliabilityBroken)
            }
            Delivery::Reliable | Delivery::Voice | Delivery::Data => Ok(()),
        }
    }

    pub(super) fn end_client(&mut self, server: PeerKey, client: PeerKey) {
        if self.server_of(client) == Some(server) {
            self.end_connection(client, DisconnectReason::Lost);
        }
    }

    /// False if there is no such link.
    pub(super) fn send_on_link(
        &mut self,
        key: PeerKey,
        link: LinkId<PeerKey>,
        reliability: Reliability,
        packet: &Bytes,
    ) -> bool {
        if !self.links.contains(&link_key(key, link.peer, link.generation)) {
            return false;
        }
        let back = LinkId { peer: key, generation: link.generation };
        let has_room = self
            .push_packet(link.peer, NetworkEvent::FromLink { link: back, packet: packet.clone() });
        match reliability {
            Reliability::Reliable if !has_room => {
                self.release_link(key, link);
                false
            }
            Reliability::Reliable | Reliability::Unreliable => true,
        }
    }

    pub(super) fn release_link(&mut self, key: PeerKey, link: LinkId<PeerKey>) {
        let LinkId { peer: other, generation } = link;
        if self.links.remove(&link_key(key, other, generation)) {
            self.push(key, NetworkEvent::LinkDown(link));
            self.push(other, NetworkEvent::LinkDown(LinkId { peer: key, generation }));
        }
    }

    fn connect_link(&mut self, a: PeerKey, b: PeerKey) -> u32 {
        let count = self.generations.entry(pair_key(a, b)).or_insert(0);
        *count += 1;
        let generation = *count;
        self.links.insert(link_key(a, b, generation));
        self.push(a, NetworkEvent::LinkUp(LinkId { peer: b, generation }));
        self.push(b, NetworkEvent::LinkUp(LinkId { peer: a, generation }));
        generation
    }

    fn cut_links(&mut self, a: PeerKey, b: PeerKey) -> usize {
        let (low, high) = pair_key(a, b);
        let links: Vec<_> =
            self.links.range((low, high, 0)..=(low, high, u32::MAX)).copied().collect();
        for (.., generation) in &links {
            self.release_link(a, LinkId { peer: b, generation: *generation });
        }
        links.len()
    }

    /// A connection ends by what happens to it. What was on its way is still received, then both
    /// learn of it.
    fn end_connection(&mut self, client: PeerKey, reason: DisconnectReason) -> bool {
        let Some(server) = self.server_of(client) else { return false };
        if let Some(peer) = self.peers.get_mut(&client) {
            peer.client = ClientSide::Offline;
            peer.inbox.push(NetworkEvent::Disconnected(reason));
        }
        self.push(server, NetworkEvent::ClientGone { peer: client });
        true
    }

    fn server_of(&self, client: PeerKey) -> Option<PeerKey> {
        match self.peers.get(&client)?.client {
            ClientSide::Connected { server } => Some(server),
            ClientSide::Offline | ClientSide::Connecting { .. } => None,
        }
    }

    fn clients_of(&self, server: PeerKey) -> Vec<PeerKey> {
        let is_its = |peer: &Peer| peer.client == ClientSide::Connected { server };
        self.peers.iter().filter(|(_, peer)| is_its(peer)).map(|(key, _)| *key).collect()
    }

    fn linked_to(&self, key: PeerKey) -> BTreeSet<PeerKey> {
        let other = |(a, b, _): &(PeerKey, PeerKey, u32)| match key {
            key if key == *a => Some(*b),
            key if key == *b => Some(*a),
            _ => None,
        };
        self.links.iter().filter_map(other).collect()
    }

    fn push(&mut self, to: PeerKey, event: NetworkEvent<PeerKey>) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.inbox.push(event);
        }
    }

    fn push_packet(&mut self, to: PeerKey, event: NetworkEvent<PeerKey>) -> bool {
        self.peers.get_mut(&to).is_some_and(|peer| peer.inbox.push_packet(event))
    }
}

fn pair_key(a: PeerKey, b: PeerKey) -> (PeerKey, PeerKey) {
    (a.min(b), a.max(b))
}

fn link_key(a: PeerKey, b: PeerKey, generation: u32) -> (PeerKey, PeerKey, u32) {
    (a.min(b), a.max(b), generation)
}
