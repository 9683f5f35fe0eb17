//! What leaves: speech to whoever listens, by each one's route, and what keeps links known (DESIGN §4; seed 001,
//! "Voice Packets").

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::limits::RELAY_DESTINATIONS;
use voicemesh_wire::packet::{BurstCounter, Kind, Probe, Relay, Target, TargetKind, VoiceAck, VoiceHeader};
use voicemesh_wire::{ClientId, GroupId, SessionId};

use super::event::Who;
use super::pairs::Common;
use super::view::View;
use super::{Client, ClientError};
use crate::network::{Destination, LinkId, Network, Reliability};
use crate::speaker::{FrameAddress, VoiceTarget};

/// Frames kept to be sent again when a link stalls; the oldest is forgotten first. 1.28 s of 20 ms frames.
const RECENT_FRAMES: usize = 64;
/// What is older than this is not worth hearing any more.
const RESCUE_AGE: Duration = Duration::from_millis(1000);
/// A target that closes while nothing is said is closed by an empty frame after this.
const CLOSE_WITHOUT_FRAME: Duration = Duration::from_millis(60);

/// A frame that was sent not long ago.
#[derive(Clone, Debug)]
pub(super) struct Recent<P> {
    at: Duration,
    address: FrameAddress<P>,
    frame: Bytes,
}

/// Somebody whom a frame may be for.
struct Remote<P> {
    who: Who<P>,
    /// Its id in the current session, through whose server it can be reached.
    relay: Option<ClientId>,
    link: Option<(LinkId<P>, Common)>,
}

impl<P: Copy + Ord + Debug> Client<P> {
    /// Sends one encoded frame to everyone whom the open targets address, each by its route. Says how many those are.
    ///
    /// With no open target the frame is for nobody and is not counted. A frame larger than a packet is not sent.
    pub fn send_voice<N: Network<Peer = P>>(&mut self, now: Duration, net: &mut N, frame: Bytes) -> usize {
        let Some(address) = self.speaker.next_frame() else { return 0 };
        if !self.speaker.is_closing() {
            self.closing_since = None;
        }
        let audience = self.audience(net, &address.targets);
        let mut packets = PacketCache::default();
        let mut relayed = Vec::new();
        let mut direct: Vec<(SessionId, Vec<Destination<P>>)> = Vec::new();
        let reached = audience.len();
        for remote in audience {
            let route = self.routes.get(&remote.who).copied().unwrap_or_default();
            if let Some((link, common)) = remote.link.filter(|_| route.uses_link()) {
                let destination = Destination { client: common.remote, link };
                match direct.iter_mut().find(|(session, _)| *session == common.session) {
                    Some((_, destinations)) => destinations.push(destination),
                    None => direct.push((common.session, vec![destination])),
                }
            }
            if let Some(client) = remote.relay.filter(|_| route.uses_relay() || remote.link.is_none()) {
                relayed.push(client);
            }
        }
        for (session, destinations) in direct {
            if let Some(packet) = packets.get(self, net, session, &address, &frame) {
                relayed.extend(self.send_direct(now, net, destinations, &packet, address.sequence));
            }
        }
        let session = self.joined_view().map(View::session);
        if let Some(packet) = session.and_then(|session| packets.get(self, net, session, &address, &frame)) {
            relayed.sort_unstable();
            relayed.dedup();
            self.relay(now, net, Reliability::Unreliable, &relayed, &packet);
        }
        if self.recent.len() == RECENT_FRAMES {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent { at: now, address, frame });
        reached
    }

    /// Sends a packet that begins with the own client id: over links where they are bound in this session, through the
    /// relay to the rest; each destination gets one copy (seed 000, "SendReliableP2P").
    pub fn send_to_clients<N: Network<Peer = P>>(
        &mut self,
        now: Duration,
        net: &mut N,
        clients: &[ClientId],
        reliability: Reliability,
        packet: &Bytes,
    ) -> Result<(), ClientError> {
        let view = self.joined_view().ok_or(ClientError::NotJoined)?;
        let session = view.session;
        let mut direct = Vec::new();
        let mut relayed = Vec::new();
        for client in clients.iter().copied().filter(|client| view.table.member(*client).is_some()) {
            let bound = self.pairs.peer_bound_as(session, client).and_then(|peer| self.pairs.bound(peer));
            match bound.filter(|(_, link, common)| common.session == session && !link.health.is_stalled()) {
                Some((link, ..)) => direct.push(Destination { client, link }),
                None => relayed.push(client),
            }
        }
        net.send_to_links(now, &mut direct, reliability, packet);
        relayed.extend(direct.iter().map(|destination| destination.client));
        self.relay(now, net, reliability, &relayed, packet);
        Ok(())
    }

    /// Gives a bound link's frames to the network. Whom it could not serve is returned, as far as the relay can.
    fn send_direct<N: Network<Peer = P>>(
        &mut self,
        now: Duration,
        net: &mut N,
        destinations: Vec<Destination<P>>,
        packet: &Bytes,
        sequence: u16,
    ) -> Vec<ClientId> {
        let mut unserved = destinations.clone();
        net.send_to_links(now, &mut unserved, Reliability::Unreliable, packet);
        for destination in destinations.iter().filter(|destination| !unserved.contains(destination)) {
            if let Some(link) = self.pairs.link_mut(destination.link).filter(|_| {
                // Without acknowledgements, only the network can tell that a link carries nothing.
                net.acknowledges_voice(destination.link.peer)
            }) {
                link.health.sent(now, sequence);
            }
        }
        unserved.iter().filter_map(|destination| self.relay_address(net, destination.link.peer)).collect()
    }

    fn relay_address<N: Network<Peer = P>>(&self, net: &N, peer: P) -> Option<ClientId> {
        let view = self.joined_view()?;
        let named = view.table.members().map(|member| member.info.id).filter(|client| *client != view.you);
        named.into_iter().find(|client| self.who(net, view.session, *client) == Who::Peer(peer))
    }

    /// Passes a packet of the current session to clients through the server, in as many relay packets as it takes.
    fn relay<N: Network<Peer = P>>(
        &mut self,
        now: Duration,
        net: &mut N,
        reliability: Reliability,
        clients: &[ClientId],
        packet: &Bytes,
    ) {
        let Some(session) = self.joined_view().map(View::session) else { return };
        let limits = net.limits();
        let (kind, most_bytes) = match reliability {
            Reliability::Reliable => (Kind::ServerRelayReliable, limits.reliable_bytes),
            Reliability::Unreliable => (Kind::ServerRelayUnreliable, limits.unreliable_bytes),
        };
        let room = most_bytes.saturating_sub(Relay::overhead(0) + packet.len()) / 2;
        for some in clients.chunks(room.clamp(1, RELAY_DESTINATIONS)) {
            let mut relay = Vec::new();
            Relay::encode_packet(kind, session, some, packet, &mut relay);
            match reliability {
                Reliability::Reliable => self.tell_server(now, net, relay),
                // Late voice is worthless: what the network cannot take is lost.
                Reliability::Unreliable => {
                    let _ = net.send_to_server(now, reliability, relay.into());
                }
            }
        }
    }

    /// A link to a peer did not deliver these frames: they go through the relay, if there is one.
    pub(super) fn rescue<N: Network<Peer = P>>(&mut self, now: Duration, net: &mut N, peer: P, sequences: Vec<u16>) {
        if sequences.is_empty() {
            return;
        }
        let (Some(client), Some(session)) = (self.relay_address(net, peer), self.joined_view().map(View::session))
        else {
            return;
        };
        let lost: Vec<_> = self
            .recent
            .iter()
            .filter(|recent| now <= recent.at + RESCUE_AGE && sequences.contains(&recent.address.sequence))
            .cloned()
            .collect();
        for Recent { address, frame, .. } in lost {
            if let Some(packet) = PacketCache::default().get(self, net, session, &address, &frame) {
                self.relay(now, net, Reliability::Unreliable, &[client], &packet);
            }
        }
    }

    /// Acknowledges, probes, and leaves what has stalled.
    pub(super) fn care_for_links<N: Network<Peer = P>>(&mut self, now: Duration, net: &mut N) {
        let mut stalled = Vec::new();
        for (id, link) in self.pairs.iter_mut() {
            let Some(common) = link.common.filter(|_| net.acknowledges_voice(id.peer)) else { continue };
            let mut send = |packet: Vec<u8>| {
                let to = &mut vec![Destination { client: common.remote, link: id }];
                net.send_to_links(now, to, Reliability::Unreliable, &packet.into());
            };
            if let Some((newest, earlier)) = link.ack_due.take(now) {
                send(VoiceAck { sender: common.you, newest, earlier }.encode(common.session));
            }
            let care = link.health.update(now);
            if let Some(token) = care.probe {
                send(Probe { sender: common.you, token }.encode(common.session));
            }
            if care.replace {
                net.replace_link(now, id);
            }
            if care.stalled_now {
                stalled.push((id.peer, link.health.take_unacknowledged().collect::<Vec<_>>()));
            }
        }
        if !stalled.is_empty() {
            self.refresh_routes(now, net);
        }
        for (peer, sequences) in stalled {
            self.rescue(now, net, peer, sequences);
        }
    }

    /// A target closed while nothing is being said would otherwise stay open for its listeners.
    pub(super) fn close_targets<N: Network<Peer = P>>(&mut self, now: Duration, net: &mut N) {
        if self.closing_since.is_some_and(|since| now >= since + CLOSE_WITHOUT_FRAME) {
            self.closing_since = None;
            self.send_voice(now, net, Bytes::new());
        }
    }

    /// Everyone whom these targets address, once each.
    fn audience<N: Network<Peer = P>>(&self, net: &N, targets: &[(VoiceTarget<P>, Target)]) -> Vec<Remote<P>> {
        let mut remotes = Vec::new();
        let mut present = BTreeSet::new();
        if let Some(view) = self.joined_view() {
            for client in view.table.members().map(|member| member.info.id).filter(|id| *id != view.you) {
                let who = self.who(net, view.session, client);
                present.insert(who);
                let link = match who {
                    Who::Peer(peer) => self.pairs.bound(peer).map(|(id, _, common)| (id, common)),
                    Who::Client(..) => None,
                };
                let listens = |group, name: &str| view.listens(client, group, name);
                if targets.iter().any(|target| addresses(target, who, Some(client), &listens)) {
                    remotes.push(Remote { who, relay: Some(client), link });
                }
            }
        }
        for (id, _, common) in self.pairs.all_bound() {
            let who = Who::Peer(id.peer);
            let Some(view) = self.view_of(common.session).filter(|_| !present.contains(&who)) else { continue };
            let listens = |group, name: &str| view.listens(common.remote, group, name);
            // Targets that are clients are clients of the current session.
            let client = Some(common.remote).filter(|_| self.is_current(common.session));
            if targets.iter().any(|target| addresses(target, who, client, &listens)) {
                remotes.push(Remote { who, relay: None, link: Some((id, common)) });
            }
        }
        remotes
    }

    fn is_current(&self, session: SessionId) -> bool {
        self.current.as_ref().is_some_and(|view| view.session == session)
    }

    /// A peer's client id in a session.
    fn client_in<N: Network<Peer = P>>(&self, net: &N, session: SessionId, peer: P) -> Option<ClientId> {
        let by_link = self.pairs.bound(peer).map(|(.., common)| common).filter(|common| common.session == session);
        by_link.map(|common| common.remote).or_else(|| match net.client_of(session, peer) {
            crate::network::Naming::Client(client) => Some(client),
            crate::network::Naming::NotYet | crate::network::Naming::NoRoster => None,
        })
    }
}

fn addresses<P: Copy + Ord>(
    (target, wire): &(VoiceTarget<P>, Target),
    who: Who<P>,
    client: Option<ClientId>,
    listens: &impl Fn(GroupId, &str) -> bool,
) -> bool {
    match target {
        VoiceTarget::Group(name) => matches!(wire.kind, TargetKind::Group(group) if listens(group, name)),
        VoiceTarget::Peer(peer) => who == Who::Peer(*peer),
        VoiceTarget::Client(target) => client == Some(*target),
    }
}

/// One frame's packets: pairs may speak different sessions, and each session's packet is made once.
#[derive(Default)]
struct PacketCache(Vec<(SessionId, Bytes)>);

impl PacketCache {
    fn get<P: Copy + Ord + Debug, N: Network<Peer = P>>(
        &mut self,
        client: &Client<P>,
        net: &N,
        session: SessionId,
        address: &FrameAddress<P>,
        frame: &Bytes,
    ) -> Option<Bytes> {
        if let Some((_, packet)) = self.0.iter().find(|(made_for, _)| *made_for == session) {
            return Some(packet.clone());
        }
        let view = client.view_of(session)?;
        let mut targets = Vec::with_capacity(address.targets.len());
        for (target, wire) in &address.targets {
            let kind = match target {
                VoiceTarget::Group(_) => Some(wire.kind),
                VoiceTarget::Client(_) => Some(wire.kind).filter(|_| client.is_current(session)),
                VoiceTarget::Peer(peer) => client.client_in(net, session, *peer).map(TargetKind::Client),
            };
            targets.extend(kind.map(|kind| Target { kind, ..*wire }));
        }
        let header = VoiceHeader { sender: view.you, burst: burst(address), sequence: address.sequence };
        let mut packet = Vec::with_capacity(32 + 4 * targets.len() + frame.len());
        header.encode_packet(session, &targets, frame, &mut packet);
        // With one destination around it, it has to fit into what the network carries.
        if Relay::overhead(1) + packet.len() > net.limits().unreliable_bytes {
            return None;
        }
        let packet = Bytes::from(packet);
        self.0.push((session, packet.clone()));
        Some(packet)
    }
}

fn burst<P>(address: &FrameAddress<P>) -> BurstCounter {
    address.burst
}
