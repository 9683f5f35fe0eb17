//! What an engine is at the moment, and what it owns for it.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::network::{Delivery, DisconnectReason, NetworkEvent, PacketLimits};
use voicemesh_session::output::Output;
use voicemesh_session::server::DropReason;
use voicemesh_session::{Budgets, Client, Server, ServerConfig, ServerOutput, Verdict};
use voicemesh_wire::limits::GROUPS_PER_CLIENT;
use voicemesh_wire::{ClientId, SessionId};

use crate::encryption::Encryption;
use crate::mode::Mode;
use crate::output::EngineOutput;
use crate::status::ClientEndReason;

/// Packets of a server that the owner has not taken, at most. It takes them after every call, and
/// the call that makes most is a handshake: a state of each client for the one that joins, that
/// one's state for each of the others, and the groups that it is refused. So only a fault fills the
/// queue; what is more is dropped and counted.
const SERVER_PACKETS: usize = 2 * (1 << 16) + GROUPS_PER_CLIENT;

/// Packets from a host's server to its own client that wait for the next update, at which voice and
/// data are no longer added: four updates' worth of the busiest network. What is more is lost, as
/// on any unreliable path.
const OWN_UNRELIABLE: usize = 4096;

/// Connections that were ended, and whose end the network has not reported: what comes on them has
/// no effect. When there are more, the lowest is forgotten; it may shake hands anew.
const ENDED: usize = 1024;

/// A connection of a session's server. The own client of a host is none that a network could name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Connection<P> {
    /// The client in the same process.
    OwnClient,
    /// A connection of the network.
    Remote(P),
}

#[derive(Debug)]
pub(crate) enum Role<P> {
    None,
    Client(Box<Client<P>>),
    DedicatedServer(Box<Serving<P>>),
    Host(Box<Host<P>>),
}

impl<P> Role<P> {
    pub(crate) fn mode(&self) -> Mode {
        match self {
            Self::None => Mode::None,
            Self::Client(_) => Mode::Client,
            Self::DedicatedServer(_) => Mode::DedicatedServer,
            Self::Host(_) => Mode::Host,
        }
    }

    pub(crate) fn client(&self) -> Option<&Client<P>> {
        match self {
            Self::Client(client) => Some(client),
            Self::Host(host) => Some(&host.client),
            Self::None | Self::DedicatedServer(_) => None,
        }
    }

    pub(crate) fn client_mut(&mut self) -> Option<&mut Client<P>> {
        match self {
            Self::Client(client) => Some(client),
            Self::Host(host) => Some(&mut host.client),
            Self::None | Self::DedicatedServer(_) => None,
        }
    }

    /// Whether something waits for a host's own client.
    pub(crate) fn has_waiting(&self) -> bool {
        matches!(self, Self::Host(host) if !host.serving.packets.to_own_client.is_empty())
    }

    pub(crate) fn serving_mut(&mut self) -> Option<&mut Serving<P>> {
        match self {
            Self::DedicatedServer(serving) => Some(serving),
            Self::Host(host) => Some(&mut host.serving),
            Self::None | Self::Client(_) => None,
        }
    }

    pub(crate) fn serving(&self) -> Option<&Serving<P>> {
        match self {
            Self::DedicatedServer(serving) => Some(serving),
            Self::Host(host) => Some(&host.serving),
            Self::None | Self::Client(_) => None,
        }
    }
}

/// A session's server and what it wants sent.
#[derive(Debug)]
pub(crate) struct Serving<P> {
    pub(crate) server: Server<Connection<P>>,
    /// The network has said that it serves.
    pub(crate) is_hosting: bool,
    packets: ServerPackets<P>,
    ended: BTreeSet<P>,
}

/// A client whose connection the server has ended.
#[derive(Debug)]
pub(crate) struct EndedClient {
    pub(crate) client: ClientId,
    pub(crate) name: String,
    pub(crate) reason: ClientEndReason,
}

impl<P: Copy + Ord> Serving<P> {
    pub(crate) fn new(limits: PacketLimits, session: SessionId) -> Self {
        let config = ServerConfig {
            reliable_packet_bytes: limits.reliable_bytes,
            budgets: Some(Budgets::default()),
            ..ServerConfig::default()
        };
        Self {
            server: Server::new(config, session),
            is_hosting: false,
            packets: ServerPackets::default(),
            ended: BTreeSet::new(),
        }
    }

    /// A packet of a connection of the network. Gives whom it has cost its connection.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        peer: P,
        packet: &Bytes,
    ) -> Option<EndedClient> {
        if !self.ended.is_empty() && self.ended.contains(&peer) {
            return None;
        }
        let from = Connection::Remote(peer);
        let verdict = self.server.receive(now, from, packet, &mut self.packets);
        if verdict != Verdict::Dropped(DropReason::Flooding) {
            return None;
        }
        let client = self.server.client_of(from)?;
        let name = self.server.table().member(client).map(|member| member.info.name.clone());
        self.server.disconnected(now, from, &mut self.packets);
        self.ended.insert(peer);
        if self.ended.len() > ENDED {
            self.ended.pop_first();
        }
        self.packets.end_client(peer);
        let reason = ClientEndReason::OverBudget;
        Some(EndedClient { client, name: name.unwrap_or_default(), reason })
    }

    /// Whether a connection has shaken hands, or has tried.
    pub(crate) fn knows(&self, peer: P) -> bool {
        self.server.client_of(Connection::Remote(peer)).is_some()
    }

    /// A connection that it does not know comes from there.
    pub(crate) fn set_origin(&mut self, peer: P, origin: Option<u64>) {
        self.server.set_origin(Connection::Remote(peer), origin);
    }

    /// A packet of the client in the same process.
    fn receive_own(&mut self, now: Duration, packet: &Bytes) {
        self.server.receive(now, Connection::OwnClient, packet, &mut self.packets);
        self.server.lift_budget(Connection::OwnClient);
    }

    pub(crate) fn client_gone(&mut self, now: Duration, peer: P) {
        self.ended.remove(&peer);
        self.server.disconnected(now, Connection::Remote(peer), &mut self.packets);
    }

    pub(crate) fn poll_output(&mut self) -> Option<EngineOutput<P>> {
        self.packets.to_network.pop_front()
    }

    /// How many packets were dropped because the owner did not take them.
    pub(crate) fn dropped(&self) -> u64 {
        self.packets.dropped
    }
}

/// A server and a client of it in one process.
///
/// What the client sends is given to the server as soon as the owner takes the outputs: both are
/// machines without I/O, so that neither is inside a call meanwhile. What the server sends to the
/// client waits for the next update. Neither passes the network.
#[derive(Debug)]
pub(crate) struct Host<P> {
    pub(crate) serving: Serving<P>,
    pub(crate) client: Client<P>,
    /// The time of the latest call that said it.
    now: Duration,
}

impl<P: Copy + Ord + Debug> Host<P> {
    pub(crate) fn new(serving: Serving<P>, client: Client<P>) -> Self {
        Self { serving, client, now: Duration::ZERO }
    }

    pub(crate) fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    /// The network serves: so the own client has its connection, from the next update on.
    pub(crate) fn hosting(&mut self) {
        self.serving.is_hosting = true;
        self.serving.packets.to_own_client.push_back(NetworkEvent::Connected);
    }

    pub(crate) fn poll_output(
        &mut self,
        mut encryption: Option<&mut Encryption>,
    ) -> Option<EngineOutput<P>> {
        while let Some(output) = poll_client(&mut self.client, encryption.as_deref_mut()) {
            match output {
                Output::ToServer { packet, .. } => self.serving.receive_own(self.now, &packet),
                Output::PingServer { number, .. } => {
                    self.serving.packets.to_own_client.push_back(NetworkEvent::ServerPong(number));
                }
                Output::ToLinks(_)
                | Output::ReleaseLink(_)
                | Output::ReplaceLink(_)
                | Output::LinkStalled(_) => {
                    return Some(EngineOutput::Client(output));
                }
            }
        }
        self.serving.poll_output()
    }

    /// How many events wait for the own client. What is put into the queue later waits for the next
    /// update.
    pub(crate) fn waiting(&self) -> usize {
        self.serving.packets.to_own_client.len()
    }

    /// Delivers the oldest of them.
    pub(crate) fn deliver_to_client(&mut self, now: Duration, encryption: Option<&mut Encryption>) {
        if std::mem::take(&mut self.serving.packets.has_lost_reliable) {
            self.client.network_event(
                now,
                NetworkEvent::Disconnected(DisconnectReason::ReliabilityBroken),
            );
        } else if let Some(event) = self.serving.packets.to_own_client.pop_front() {
            client_event(now, event, &mut self.client, encryption);
        }
    }
}

/// The next output of a client, what is for the server sealed.
pub(crate) fn poll_client<P: Copy + Ord + Debug>(
    client: &mut Client<P>,
    encryption: Option<&mut Encryption>,
) -> Option<Output<P>> {
    let Some(encryption) = encryption else { return client.poll_output() };
    loop {
        if let Some((reliability, packet)) = encryption.poll_packet() {
            return Some(Output::ToServer { reliability, packet });
        }
        match client.poll_output()? {
            Output::ToServer { reliability, packet } => {
                encryption.seal_for_server(reliability, packet, client);
            }
            output @ (Output::ToLinks(_)
            | Output::PingServer { .. }
            | Output::ReleaseLink(_)
            | Output::ReplaceLink(_)
            | Output::LinkStalled(_)) => return Some(output),
        }
    }
}

/// Gives a client what the network has reported, opened.
pub(crate) fn client_event<P: Copy + Ord + Debug>(
    now: Duration,
    event: NetworkEvent<P>,
    client: &mut Client<P>,
    encryption: Option<&mut Encryption>,
) {
    let Some(encryption) = encryption else {
        client.network_event(now, event);
        return;
    };
    if let Some(event) = encryption.open(now, event, client) {
        client.network_event(now, event);
    }
    encryption.follow(now, client);
}

/// The queues of one server.
#[derive(Debug)]
struct ServerPackets<P> {
    to_network: VecDeque<EngineOutput<P>>,
    /// For the own client of a host.
    to_own_client: VecDeque<NetworkEvent<P>>,
    has_lost_reliable: bool,
    dropped: u64,
}

impl<P> Default for ServerPackets<P> {
    fn default() -> Self {
        Self {
            to_network: VecDeque::new(),
            to_own_client: VecDeque::new(),
            has_lost_reliable: false,
            dropped: 0,
        }
    }
}

impl<P: Copy + Ord> ServerPackets<P> {
    /// What waits for it is not sent any more.
    fn end_client(&mut self, peer: P) {
        self.to_network
            .retain(|output| !matches!(output, EngineOutput::ToClient { to, .. } if *to == peer));
        self.to_network.push_back(EngineOutput::EndClient { to: peer });
    }
}

impl<P> ServerOutput<Connection<P>> for ServerPackets<P> {
    fn send(&mut self, to: Connection<P>, packet: Bytes, delivery: Delivery) {
        match to {
            Connection::Remote(to) if self.to_network.len() < SERVER_PACKETS => {
                self.to_network.push_back(EngineOutput::ToClient { to, delivery, packet });
            }
            Connection::Remote(_) => self.dropped += 1,
            Connection::OwnClient => {
                let most = match delivery {
                    Delivery::Reliable => SERVER_PACKETS,
                    Delivery::Voice | Delivery::Data => OWN_UNRELIABLE,
                };
                if self.to_own_client.len() < most {
                    self.to_own_client.push_back(NetworkEvent::FromServer(packet));
                } else {
                    self.has_lost_reliable |= delivery == Delivery::Reliable;
                    self.dropped += 1;
                }
            }
        }
    }
}
