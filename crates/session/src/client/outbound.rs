//! What leaves beside speech: packets to others by their routes, and what keeps links known
//! (PROTOCOL.md, sections 8 and 9).

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::limits::RELAY_DESTINATIONS;
use voicemesh_wire::packet::{self, ClockProbe, Kind, Probe, Relay, VoiceAck};
use voicemesh_wire::{ClientId, SessionId};

use super::core::Core;
use super::event::Participant;
use super::health::{Received, SpeechPacket};
use super::view::View;
use super::{ClientError, Phase};
use crate::output::{Fallback, Output};
use crate::transport::{Destination, Reliability};

impl<P: Copy + Ord + Debug> Core<P> {
    /// Sends a packet that begins with the own client id: over links where they are bound in this
    /// session, through the relay to the rest; each destination gets one copy.
    pub(super) fn send_to_clients(
        &mut self,
        clients: &[ClientId],
        reliability: Reliability,
        packet: &Bytes,
    ) -> Result<(), ClientError> {
        let view = self.joined_view().ok_or(ClientError::NotJoined)?;
        let session = view.session;
        let mut direct = Vec::new();
        let mut relayed = Vec::new();
        for client in clients.iter().copied().filter(|client| view.table.member(*client).is_some())
        {
            let bound =
                self.pairs.peer_bound_as(session, client).and_then(|peer| self.pairs.bound(peer));
            match bound.filter(|(_, link, binding)| {
                binding.session == session && !link.health.is_stalled()
            }) {
                Some((link, ..)) => direct.push(Destination { client, link }),
                None => relayed.push(client),
            }
        }
        self.out.send_to_links(direct, reliability, packet.clone(), Fallback::Relay);
        self.relay(reliability, &relayed, packet);
        Ok(())
    }

    /// Sends a packet that may be lost to one peer or client, by the way that its speech takes: the
    /// link if it is bound and sound, else the relay. `packet` is given the session and the own id
    /// in it. Says whether there was a way.
    pub(super) fn send_to(
        &mut self,
        who: Participant<P>,
        packet: impl Fn(SessionId, ClientId) -> Vec<u8>,
    ) -> bool {
        if let Participant::Peer(peer) = who
            && let Some((link, _, binding)) =
                self.pairs.bound(peer).filter(|(_, link, _)| !link.health.is_stalled())
        {
            let to = vec![Destination { client: binding.remote, link }];
            let packet = packet(binding.session, binding.you);
            self.out.send_to_links(to, Reliability::Unreliable, packet, Fallback::Relay);
            return true;
        }
        let client = match who {
            Participant::Peer(peer) => self.relay_address(peer),
            Participant::Client(session, client) => {
                Some(client).filter(|_| self.is_current(session))
            }
        };
        let (Some(client), Some(view)) = (client, self.joined_view()) else { return false };
        let packet = packet(view.session, view.you).into();
        self.relay(Reliability::Unreliable, &[client], &packet);
        true
    }

    pub(super) fn relay_address(&self, peer: P) -> Option<ClientId> {
        let view = self.joined_view()?;
        let named =
            view.table.members().map(|member| member.info.id).filter(|client| *client != view.you);
        named.into_iter().find(|client| self.who(view.session, *client) == Participant::Peer(peer))
    }

    /// The client ids that these peers have in the current session.
    pub(super) fn relay_addresses(&self, peers: &BTreeSet<P>) -> Vec<ClientId> {
        let Some(view) = self.joined_view() else { return Vec::new() };
        let others =
            view.table.members().map(|member| member.info.id).filter(|client| *client != view.you);
        let is_meant = |client: &ClientId| {
            self.who(view.session, *client).peer().is_some_and(|peer| peers.contains(&peer))
        };
        others.filter(is_meant).collect()
    }

    /// Passes a packet of the current session to clients through the server, in as many relay
    /// packets as it takes.
    pub(super) fn relay(&mut self, reliability: Reliability, clients: &[ClientId], packet: &Bytes) {
        let Some(session) = self.joined_view().map(View::session) else { return };
        let limits = self.config.limits;
        let (kind, most_bytes) = match reliability {
            Reliability::Reliable => (Kind::ServerRelayReliable, limits.reliable_bytes),
            Reliability::Unreliable => (Kind::ServerRelayUnreliable, limits.unreliable_bytes),
        };
        let room = most_bytes.saturating_sub(Relay::overhead(0) + packet.len()) / 2;
        for some in clients.chunks(room.clamp(1, RELAY_DESTINATIONS)) {
            let mut relay = Vec::new();
            Relay::encode_packet(kind, session, some, packet, &mut relay);
            self.out.send_to_server(reliability, relay);
        }
    }

    /// Acknowledges, probes, and leaves what has stalled. Gives the peers whose link has, and the
    /// packets to be sent again.
    pub(super) fn poll_links(&mut self, now: Duration) -> Vec<(P, Vec<SpeechPacket>)> {
        let mut stalled = Vec::new();
        let is_congested = self.is_congested;
        for (id, link) in self.pairs.iter_mut() {
            let Some(binding) =
                link.binding.filter(|_| self.roster.abilities(Some(id.peer)).acknowledges_voice)
            else {
                continue;
            };
            let times_acks = self.roster.abilities(Some(id.peer)).takes_path_feedback;
            let out = &mut self.out;
            let mut send = |packet: Vec<u8>| {
                let to = vec![Destination { client: binding.remote, link: id }];
                out.send_to_links(to, Reliability::Unreliable, packet, Fallback::None);
            };
            if let Some(Received { newest, earlier, at }) = link.ack_due.take(now) {
                let received_ms = Some(at.as_millis() as u32).filter(|_| times_acks);
                send(
                    VoiceAck { sender: binding.you, newest, earlier, received_ms }
                        .encode(binding.session),
                );
            }
            if let Some(report) = link.train.report(now, binding.you) {
                send(report.encode(binding.session));
            }
            let actions = link.health.update(now);
            if let Some(token) = actions.probe {
                send(Probe { sender: binding.you, token }.encode(binding.session));
            }
            if actions.replace && !is_congested {
                self.out.push(Output::ReplaceLink(id));
            }
            if actions.stalled_now {
                let unacknowledged: Vec<_> = link.health.take_unacknowledged().collect();
                link.health.set_congested(is_congested);
                // What a full queue holds arrives, or was dropped for want of room: it is not sent
                // again.
                if !is_congested {
                    link.path.restart();
                    self.out.push(Output::LinkStalled(id));
                }
                stalled.push((id.peer, if is_congested { Vec::new() } else { unacknowledged }));
            }
        }
        if !stalled.is_empty() {
            self.refresh_routes(now);
        }
        stalled
    }

    /// Asks those to whom speech is relayed, or could only be relayed, and from whom nothing comes.
    /// The answers count when they arrive, as everything does that comes from a peer.
    pub(super) fn ask_relayed(&mut self, now: Duration) {
        let excused = self.phase != Phase::Joined || !self.server.is_reached;
        self.answering.set_excused(now, excused);
        if excused {
            return;
        }
        let stalled = self.pairs.all_bound().filter(|(_, link, _)| link.health.is_stalled());
        let stalled = stalled.map(|(id, link, _)| (id.peer, link.health.heard_at())).collect();
        self.answering.stalled(now, &stalled);
        if self.answering.is_to_look(now)
            && let Some(view) = self.joined_view()
        {
            let linked: BTreeSet<P> = self.pairs.all_bound().map(|(id, ..)| id.peer).collect();
            let others = view.table.members().filter(|member| member.info.id != view.you);
            let peers = others.filter_map(|member| self.who(view.session, member.info.id).peer());
            let only: Vec<P> = peers.filter(|peer| !linked.contains(peer)).collect();
            self.answering.only_ways(now, only.into_iter());
        }
        let asked_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        for peer in
            self.answering.questions(now, |peer| self.roster.abilities(Some(peer)).takes_reports)
        {
            let Some(client) = self.relay_address(peer) else { continue };
            let Some(view) = self.joined_view() else { return };
            let packet = ClockProbe { sender: view.you, asked_us }.encode(view.session).into();
            self.relay(Reliability::Unreliable, &[client], &packet);
        }
    }

    pub(super) fn is_of_current_session(&self, packet: &Bytes) -> bool {
        let session = packet::open(packet).ok().and_then(|(header, _)| header.session_id());
        session.is_some_and(|session| self.is_current(session))
    }

    pub(super) fn is_current(&self, session: SessionId) -> bool {
        self.current.as_ref().is_some_and(|view| view.session == session)
    }
}
