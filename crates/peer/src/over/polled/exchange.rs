//! What waits between the thread of the voice and the game's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::thread::Thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use voicemesh_session::ServerHealth;
use voicemesh_session::network::{
    Delivery, Destination, DisconnectReason, LinkId, Network, NetworkError, NetworkEvent,
    PacketLimits, Reliability, Side,
};

/// Events that wait for the voice. A game that has more leaves them with its network.
const EVENTS: usize = 4_096;
/// Unreliable packets that wait for the game.
const UNRELIABLE: usize = 4_096;
/// Speech that has waited for so long is worth nothing.
const LATE_AFTER: Duration = Duration::from_millis(400);
/// Reliable bytes that wait for one connection.
pub(super) const RELIABLE_BYTES: usize = 1 << 20;
/// Reliable bytes that wait for all clients.
const ALL_CLIENTS_BYTES: usize = 64 << 20;
/// What a packet takes beside its bytes, so that empty ones are bounded as well.
const ENTRY_BYTES: usize = 64;
/// Clients at a time; what a network reports beyond is not answered. A session has no more ids.
const CLIENTS: usize = 1 << 16;
/// Links at a time; what a network reports beyond is not sent to.
const LINKS: usize = 1 << 16;

/// What the game's network is to do, in this order.
pub(super) enum Order<N: Network> {
    Initialise,
    Connect(N::ClientParameters),
    Disconnect,
    Host(N::ServerParameters),
    StopHosting,
    /// Reliable.
    ToServer(Bytes),
    /// Reliable.
    ToClient(N::Peer, Bytes),
    EndClient(N::Peer),
    /// Reliable.
    ToLinks(Vec<Destination<N::Peer>>, Bytes),
    ReleaseLink(LinkId<N::Peer>),
}

/// What may be left out.
#[derive(Debug)]
pub(super) enum Packet<P> {
    ToServer(Bytes),
    ToClient(P, Delivery, Bytes),
    ToLinks(Vec<Destination<P>>, Bytes),
    Ping(u16, Bytes),
    LinkStalled(LinkId<P>),
    ReplaceLink(LinkId<P>),
}

/// What is known of the network, as of the game's last frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) limits: PacketLimits,
    pub(super) health: ServerHealth,
    pub(super) background_bytes: u64,
    pub(super) server_header_bytes: u32,
}

/// Which connection an event is of: what comes of a former one is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    client: u64,
    links: u64,
    server: u64,
}

pub(super) struct Exchange<N: Network> {
    orders: VecDeque<Order<N>>,
    late: VecDeque<(Duration, Packet<N::Peer>)>,
    to_server_bytes: usize,
    to_links_bytes: usize,
    to_clients_bytes: usize,
    to_client_bytes: BTreeMap<N::Peer, usize>,
    pub(super) events: VecDeque<NetworkEvent<N::Peer>>,
    epochs: Epochs,
    /// Links that the network has reported.
    links: BTreeSet<LinkId<N::Peer>>,
    /// Clients whose connection was ended here, and of which the network may still have events.
    ended: BTreeSet<N::Peer>,
    /// Clients that have been heard of and are not gone.
    clients: BTreeSet<N::Peer>,
    connects: bool,
    is_connected: bool,
    hosts: bool,
    /// The voice's time, and when it was that.
    pub(super) clock: Option<(Duration, Instant)>,
    /// The thread of the voice, once it has polled.
    pub(super) voice: Option<Thread>,
    pub(super) known: Known,
    is_pump_gone: bool,
}

/// All that waits for the game.
pub(super) struct Taken<N: Network> {
    pub(super) orders: VecDeque<Order<N>>,
    pub(super) late: VecDeque<(Duration, Packet<N::Peer>)>,
    pub(super) epochs: Epochs,
    /// How many events there is room for.
    pub(super) room: usize,
}

impl<N: Network> Exchange<N> {
    pub(super) fn new(limits: PacketLimits) -> Self {
        Self {
            orders: VecDeque::new(),
            late: VecDeque::new(),
            to_server_bytes: 0,
            to_links_bytes: 0,
            to_clients_bytes: 0,
            to_client_bytes: BTreeMap::new(),
            events: VecDeque::new(),
            epochs: Epochs::default(),
            links: BTreeSet::new(),
            ended: BTreeSet::new(),
            clients: BTreeSet::new(),
            connects: false,
            is_connected: false,
            hosts: false,
            clock: None,
            voice: None,
            known: Known {
                limits,
                health: ServerHealth::UNKNOWN,
                background_bytes: 0,
                server_header_bytes: 0,
            },
            is_pump_gone: false,
        }
    }

    // Of the voice.

    pub(super) fn order(&mut self, order: Order<N>) {
        self.orders.push_back(order);
    }

    pub(super) fn connect(&mut self, parameters: N::ClientParameters) -> Result<(), NetworkError> {
        self.check_pump()?;
        self.forget_unsent_client(|order| matches!(order, Order::Connect(_)));
        self.epochs.client += 1;
        self.connects = true;
        self.is_connected = false;
        self.events.retain(|event| !is_of_connection(event));
        self.order(Order::Connect(parameters));
        Ok(())
    }

    pub(super) fn disconnect(&mut self) {
        self.forget_unsent_client(|order| matches!(order, Order::Connect(_) | Order::Disconnect));
        self.epochs.client += 1;
        self.epochs.links += 1;
        self.connects = false;
        self.is_connected = false;
        self.links.clear();
        self.late.retain(|(_, packet)| matches!(packet, Packet::ToClient(..)));
        self.events.retain(|event| !is_of_connection(event) && event.side() != Side::Links);
        self.order(Order::Disconnect);
    }

    /// Of what the game has not taken, what comes after such an order, and that itself, would be
    /// undone at once. What a client wrote before a farewell stays. Unreliable packets go anyway.
    fn forget_unsent_client(&mut self, is_start: impl Fn(&Order<N>) -> bool) {
        let mut has_started = false;
        let bytes = &mut self.to_server_bytes;
        self.orders.retain(|order| {
            has_started |= is_start(order);
            let is_of_client = match order {
                Order::Connect(_) | Order::Disconnect => true,
                Order::ToServer(packet) => {
                    if has_started {
                        *bytes -= cost(packet);
                    }
                    true
                }
                _ => false,
            };
            !(has_started && is_of_client)
        });
        self.late.retain(|(_, packet)| !matches!(packet, Packet::ToServer(_) | Packet::Ping(..)));
    }

    pub(super) fn host(&mut self, parameters: N::ServerParameters) -> Result<(), NetworkError> {
        self.check_pump()?;
        self.end_server();
        self.hosts = true;
        self.order(Order::Host(parameters));
        Ok(())
    }

    pub(super) fn stop_hosting(&mut self) {
        self.end_server();
        self.order(Order::StopHosting);
    }

    fn end_server(&mut self) {
        let mut has_started = false;
        self.orders.retain(|order| {
            has_started |= matches!(order, Order::Host(_) | Order::StopHosting);
            let is_of_server = matches!(
                order,
                Order::Host(_) | Order::StopHosting | Order::ToClient(..) | Order::EndClient(_)
            );
            !(has_started && is_of_server)
        });
        self.count_clients();
        self.late.retain(|(_, packet)| !matches!(packet, Packet::ToClient(..)));
        self.events.retain(|event| event.side() != Side::Server);
        self.ended.clear();
        self.clients.clear();
        self.epochs.server += 1;
        self.hosts = false;
    }

    fn count_clients(&mut self) {
        self.to_client_bytes.clear();
        for order in &self.orders {
            if let Order::ToClient(to, packet) = order {
                *self.to_client_bytes.entry(*to).or_default() += cost(packet);
            }
        }
        self.to_clients_bytes = self.to_client_bytes.values().sum();
    }

    pub(super) fn send_to_server(
        &mut self,
        now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        if !self.is_connected || self.is_pump_gone {
            return Err(NetworkError::NotConnected);
        }
        match reliability {
            Reliability::Unreliable => self.send_late(now, Packet::ToServer(packet)),
            Reliability::Reliable => {
                if self.to_server_bytes + cost(&packet) > RELIABLE_BYTES {
                    return Err(NetworkError::ReliabilityBroken);
                }
                self.to_server_bytes += cost(&packet);
                self.order(Order::ToServer(packet));
            }
        }
        Ok(())
    }

    pub(super) fn send_to_client(
        &mut self,
        now: Duration,
        to: N::Peer,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        if !self.clients.contains(&to) || self.is_pump_gone {
            return Err(NetworkError::NotConnected);
        }
        if delivery != Delivery::Reliable {
            self.send_late(now, Packet::ToClient(to, delivery, packet));
            return Ok(());
        }
        let bytes = cost(&packet);
        let waiting = self.to_client_bytes.get(&to).copied().unwrap_or_default();
        if waiting + bytes > RELIABLE_BYTES || self.to_clients_bytes + bytes > ALL_CLIENTS_BYTES {
            self.end_client(to);
            return Err(NetworkError::ReliabilityBroken);
        }
        self.to_client_bytes.insert(to, waiting + bytes);
        self.to_clients_bytes += bytes;
        self.order(Order::ToClient(to, packet));
        Ok(())
    }

    /// Its connection ends, for the voice at once; what it sends from now on has no effect.
    pub(super) fn end_client(&mut self, client: N::Peer) {
        if !self.clients.remove(&client) {
            return;
        }
        self.ended.insert(client);
        self.orders.retain(|order| !matches!(order, Order::ToClient(to, _) if *to == client));
        self.late
            .retain(|(_, packet)| !matches!(packet, Packet::ToClient(to, ..) if *to == client));
        self.events.retain(|event| client_of(event) != Some(client));
        self.to_clients_bytes -= self.to_client_bytes.remove(&client).unwrap_or_default();
        self.order(Order::EndClient(client));
        self.events.push_back(NetworkEvent::ClientGone { peer: client });
    }

    pub(super) fn send_to_links(
        &mut self,
        now: Duration,
        destinations: &mut Vec<Destination<N::Peer>>,
        reliability: Reliability,
        packet: &Bytes,
    ) {
        let has_room = match reliability {
            Reliability::Unreliable => true,
            Reliability::Reliable => self.to_links_bytes + cost(packet) <= RELIABLE_BYTES,
        };
        if !has_room || self.is_pump_gone {
            return;
        }
        let links = &self.links;
        let taken: Vec<_> = destinations.extract_if(.., |to| links.contains(&to.link)).collect();
        if taken.is_empty() {
            return;
        }
        match reliability {
            Reliability::Unreliable => self.send_late(now, Packet::ToLinks(taken, packet.clone())),
            Reliability::Reliable => {
                self.to_links_bytes += cost(packet);
                self.order(Order::ToLinks(taken, packet.clone()));
            }
        }
    }

    pub(super) fn release_link(&mut self, link: LinkId<N::Peer>) {
        if self.links.remove(&link) {
            self.order(Order::ReleaseLink(link));
        }
    }

    /// The oldest makes room.
    pub(super) fn send_late(&mut self, now: Duration, packet: Packet<N::Peer>) {
        if self.late.len() >= UNRELIABLE {
            self.late.pop_front();
        }
        self.late.push_back((now, packet));
    }

    pub(super) fn drop_late(&mut self, now: Duration) {
        while self.late.front().is_some_and(|(at, _)| now > *at + LATE_AFTER) {
            self.late.pop_front();
        }
    }

    /// The voice is gone: what it wanted last, its farewell, still waits for the game.
    pub(super) fn end_voice(&mut self) {
        let (connects, hosts) = (self.connects, self.hosts);
        if hosts {
            self.stop_hosting();
        }
        if connects || hosts {
            self.disconnect();
        }
        self.events.clear();
    }

    fn check_pump(&self) -> Result<(), NetworkError> {
        if self.is_pump_gone {
            return Err(NetworkError::Failed(GONE.to_owned()));
        }
        Ok(())
    }

    // Of the game.

    pub(super) fn take(&mut self) -> Taken<N> {
        self.to_server_bytes = 0;
        self.to_links_bytes = 0;
        self.to_clients_bytes = 0;
        self.to_client_bytes.clear();
        Taken {
            orders: std::mem::take(&mut self.orders),
            late: std::mem::take(&mut self.late),
            epochs: self.epochs,
            room: EVENTS.saturating_sub(self.events.len()),
        }
    }

    /// What has happened on the network, as it was when those were the epochs.
    pub(super) fn report(&mut self, epochs: Epochs, event: NetworkEvent<N::Peer>) {
        let is_current = match event.side() {
            Side::Client => epochs.client == self.epochs.client || !is_of_connection(&event),
            Side::Links => epochs.links == self.epochs.links,
            Side::Server => epochs.server == self.epochs.server,
        };
        if !is_current {
            return;
        }
        match &event {
            NetworkEvent::LinkUp(link) if self.links.len() < LINKS => {
                self.links.insert(*link);
            }
            NetworkEvent::LinkDown(link) => {
                self.links.remove(link);
            }
            NetworkEvent::ClientGone { peer } if self.ended.remove(peer) => return,
            NetworkEvent::ClientGone { peer } => {
                self.clients.remove(peer);
            }
            NetworkEvent::FromClient { peer, .. } if self.ended.contains(peer) => return,
            NetworkEvent::FromClient { peer, .. } if self.clients.len() < CLIENTS => {
                self.clients.insert(*peer);
            }
            NetworkEvent::Connected => self.is_connected = true,
            NetworkEvent::Disconnected(_) => self.is_connected = false,
            _ => {}
        }
        self.events.push_back(event);
    }

    /// The network has ended these connections, and reported all that came before. What comes from
    /// such a client now is of another connection, or the network has not ended it: the session's
    /// server tells it to join again.
    pub(super) fn are_over(&mut self, clients: Vec<N::Peer>) {
        for client in clients {
            self.ended.remove(&client);
        }
    }

    /// The client side has ended by what happened to it, and its links with it.
    pub(super) fn lose_server(&mut self, epochs: Epochs, reason: DisconnectReason) {
        if epochs.links == self.epochs.links {
            let down = std::mem::take(&mut self.links).into_iter().map(NetworkEvent::LinkDown);
            self.events.extend(down);
        }
        self.report(epochs, NetworkEvent::Disconnected(reason));
    }

    /// The voice, if there is something for it.
    pub(super) fn voice_to_wake(&self) -> Option<Thread> {
        self.voice.clone().filter(|_| !self.events.is_empty())
    }

    /// The game has dropped its half.
    pub(super) fn end_pump(&mut self) {
        self.is_pump_gone = true;
        let epochs = self.epochs;
        if self.connects {
            self.lose_server(epochs, DisconnectReason::Lost);
        }
        if self.hosts {
            self.report(epochs, NetworkEvent::HostingFailed(GONE.to_owned()));
        }
    }
}

const GONE: &str = "the game has ended its network";

pub(super) fn cost(packet: &Bytes) -> usize {
    packet.len() + ENTRY_BYTES
}

/// Whether it tells of the connection to the server, and not of the machine or its neighbours.
fn is_of_connection<P>(event: &NetworkEvent<P>) -> bool {
    match event {
        NetworkEvent::Connected
        | NetworkEvent::Disconnected(_)
        | NetworkEvent::Resumed
        | NetworkEvent::FromServer(_)
        | NetworkEvent::ServerPong(_) => true,
        NetworkEvent::PathChanged
        | NetworkEvent::RosterChanged(_)
        | NetworkEvent::PeerRestarted(_)
        | NetworkEvent::Hosting
        | NetworkEvent::HostingFailed(_)
        | NetworkEvent::FromClient { .. }
        | NetworkEvent::ClientGone { .. }
        | NetworkEvent::LinkUp(_)
        | NetworkEvent::LinkDown(_)
        | NetworkEvent::LinkAnswered { .. }
        | NetworkEvent::FromLink { .. } => false,
    }
}

fn client_of<P: Copy>(event: &NetworkEvent<P>) -> Option<P> {
    match event {
        NetworkEvent::FromClient { peer, .. } | NetworkEvent::ClientGone { peer } => Some(*peer),
        _ => None,
    }
}
