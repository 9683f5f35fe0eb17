//! One member of a session: joins, replicates, addresses, and keeps its pairs (PROTOCOL.md,
//! sections 7 to 10).
//!
//! Without I/O: inputs and the time go in, [`Client::poll_output`] gives what is to be sent and
//! done, and [`Client::poll_event`] what happened. Take the outputs after every call, then the
//! events.

mod answering;
mod bandwidth;
mod bundling;
mod config;
mod core;
mod data;
mod event;
mod handshakes;
mod health;
mod inbound;
#[cfg(test)]
mod link_vectors;
mod outbound;
mod pairs;
#[cfg(test)]
mod tests;
mod texts;
#[cfg(test)]
mod timeout_tests;
mod view;
mod voice_in;
mod voice_out;

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_uplink::path::{PathState, RelayPath};
use voicemesh_wire::limits::{GROUP_NAME_BYTES, GROUPS_PER_CLIENT};
use voicemesh_wire::packet::HandshakeRequest;
use voicemesh_wire::{ClientId, GroupId, SessionId};

use crate::data::{DataError, Pipe};
use crate::network_event::NetworkEvent;
use crate::output::{Fallback, LinkPacket, Output};
use crate::roster::{Roster, ServerHealth};
use crate::route::Route;
use crate::transport::{DisconnectReason, LinkId, Reliability};
use crate::voice_targets::{TargetOptions, VoiceTarget};
use bundling::Bundling;
use core::{Core, RETIRED_FOR};
use pairs::Pairs;
use voice_in::VoiceReceiver;
use voice_out::VoiceSender;
use voicemesh_common::NextTimer;

pub use bundling::FRAMES_PER_PACKET;
pub use config::{ClientConfig, ClientError, Phase};
pub use data::DataEvent;
pub use event::{ClientEvent, DropCounts, Dropped, Participant, Received, UnreadReason, Voice};
pub use view::View;
pub use voice_out::{AudienceMember, OutgoingFrame, SendSummary};

/// Outputs that the owner has not taken, at most. It takes them after every call, and the call that
/// makes most is [`Client::update`] with as many peers as there are pipes, when every pipe has a
/// turn's packets to send, every link stalls and what it has not acknowledged is sent again, and
/// three links to each peer report, probe and are replaced; then the owner reports to each peer. So
/// only a fault fills it; what is more is dropped and counted.
const OUTPUTS: usize = data::PIPES
    * (data::PACKETS_PER_TURN + voice_out::RECENT_FRAMES + 3 * OUTPUTS_PER_LINK + OUTPUTS_OF_OWNER);
/// A handshake, an acknowledgement, a report of a train, a probe, a release, a replacement, a
/// stall, and one to spare.
const OUTPUTS_PER_LINK: usize = 8;
/// A reception report, a clock probe, an echo of one, and a packet of a train.
const OUTPUTS_OF_OWNER: usize = 4;
/// Speakers remembered. When there are more, those that have been silent longest are forgotten.
const STREAMS: usize = 1024;

/// One member of a session: routes between its parts, each of which owns its state.
#[derive(Debug)]
pub struct Client<P> {
    core: Core<P>,
    sender: VoiceSender<P>,
    receiver: VoiceReceiver<P>,
    data: data::Pipes<P>,
    /// Oldest first.
    waiting_texts: VecDeque<texts::WaitingText<P>>,
    /// Something has happened since the last update.
    changed: bool,
    /// When the next timer runs out, by the last update.
    next_timer: Option<Duration>,
}

impl<P: Copy + Ord + Debug> Client<P> {
    /// A client that is nowhere yet. Groups and targets can be set before it joins.
    pub fn new(config: ClientConfig) -> Self {
        Self {
            sender: VoiceSender::new(config.first_sequence),
            receiver: VoiceReceiver::default(),
            data: data::Pipes::new(config.data_seed),
            waiting_texts: VecDeque::new(),
            core: Core::new(config, OUTPUTS),
            changed: true,
            next_timer: None,
        }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.core.phase
    }

    /// The session it is in, or was in last.
    pub fn view(&self) -> Option<&View> {
        self.core.current.as_ref()
    }

    /// What was received without effect, and why.
    pub fn dropped(&self) -> &DropCounts {
        &self.core.dropped
    }

    /// Outputs that were dropped because the owner had not taken those before.
    pub fn outputs_dropped(&self) -> u64 {
        self.core.out.dropped()
    }

    /// The way to a peer.
    pub fn route(&self, who: Participant<P>) -> Route {
        self.core.route(who)
    }

    /// Everyone to whom there is a way, and which.
    pub fn routes(&self) -> impl Iterator<Item = (Participant<P>, Route)> + '_ {
        self.core.routes.iter().map(|(who, state)| (*who, state.route()))
    }

    /// The smoothed round trip of the link to a peer, once measured.
    pub fn round_trip(&self, peer: P) -> Option<Duration> {
        self.core.pairs.bound(peer).and_then(|(_, link, _)| link.health.round_trip())
    }

    /// When something last came over the link to a peer.
    pub fn heard_at(&self, peer: P) -> Option<Duration> {
        self.core.pairs.bound(peer).map(|(_, link, _)| link.health.heard_at())
    }

    /// What happened to the voice packets on the link to a peer.
    pub fn link_traffic(&self, now: Duration, peer: P) -> Option<PathState> {
        self.core.pairs.bound(peer).map(|(id, link, _)| link.path.state(now, id.generation))
    }

    /// What happened to the voice packets on the way to the server.
    pub fn relay_traffic(&self, now: Duration) -> PathState {
        self.core.relay_path.monitor().state(now, 0)
    }

    /// What the headers of a packet to the server take beyond those of a WebSocket on IPv4 without
    /// TLS, in bytes.
    pub fn set_server_header_bytes(&mut self, further: u32) {
        self.core.relay_path.set_further_header_bytes(further);
    }

    /// Says whether the uplink is congested. A link that stalls meanwhile is taken to be full
    /// rather than dead: nothing is sent a second time on its account.
    pub fn set_congested(&mut self, is_congested: bool) {
        self.changed |= self.core.is_congested != is_congested;
        self.core.is_congested = is_congested;
    }

    /// Speech to these goes through the relay, where there is one, although a link could carry it:
    /// one relayed copy costs the uplink less than several direct ones. Nothing else changes its
    /// way.
    pub fn relay_speech_to(&mut self, now: Duration, relayed: BTreeSet<Participant<P>>) {
        self.changed = true;
        if self.core.relayed_by_choice != relayed {
            self.core.relayed_by_choice = relayed;
            self.core.refresh_routes(now);
        }
    }

    /// Whether the server passes on what it is sent. Owners say so whenever it may have changed.
    pub fn set_server_health(&mut self, server: ServerHealth) {
        self.changed |= self.core.server != server;
        self.core.server = server;
    }

    /// What is known of the others from now on.
    pub fn set_roster(&mut self, now: Duration, roster: Roster<P>) {
        self.changed = true;
        self.core.roster = roster;
        self.receiver.follow_permissions(&mut self.core);
        self.core.retry_pending_handshakes(now);
        self.core.refresh_routes(now);
    }

    /// What is known of the others.
    pub fn roster(&self) -> &Roster<P> {
        &self.core.roster
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output<P>> {
        self.core.out.poll()
    }

    /// These links did not take a packet.
    ///
    /// Where a member of the current session can take it from the server, it goes through the
    /// relay, all of it in one packet for all of these links. The server knows the current session
    /// only: speech of a former one is encoded again for the current one, and anything else of a
    /// former one is dropped. That is reports and clock probes, whose timers send the next.
    pub fn refused(&mut self, now: Duration, refused: LinkPacket<P>) {
        self.changed = true;
        let LinkPacket { to, reliability, packet, fallback } = refused;
        match fallback {
            Fallback::None => {}
            Fallback::Relay => {
                if self.core.is_of_current_session(&packet) {
                    let clients: Vec<_> = to.iter().map(|destination| destination.client).collect();
                    self.core.relay(reliability, &clients, &packet);
                }
            }
            Fallback::Retry => {
                to.iter().for_each(|destination| self.core.handshake_refused(now, destination.link))
            }
            Fallback::Speech { sequence, frames } => {
                for destination in &to {
                    if let Some(link) = self.core.pairs.link_mut(destination.link) {
                        link.health.unsent(sequence);
                    }
                }
                let peers = to.iter().map(|destination| destination.link.peer);
                // What moves between link and relay goes both ways already.
                let is_relayed = |peer| {
                    self.core
                        .routes
                        .get(&Participant::Peer(peer))
                        .is_some_and(|route| route.uses_relay())
                };
                let peers: BTreeSet<P> = peers.filter(|peer| !is_relayed(*peer)).collect();
                self.sender.relay_refused(&mut self.core, now, &peers, packet, sequence, frames);
            }
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<ClientEvent<P>> {
        self.core.events.pop_front()
    }

    /// Something that the network reported. Events of a server's side are not for a client and have
    /// no effect.
    pub fn network_event(&mut self, now: Duration, event: NetworkEvent<P>) -> Received {
        self.changed = true;
        match event {
            NetworkEvent::Connected => {
                self.core.relay_path = RelayPath::new();
                self.core.shake_hands(now);
            }
            NetworkEvent::Disconnected(reason) => self.core.end_session(now, reason),
            NetworkEvent::Resumed => self.resume(now),
            NetworkEvent::PathChanged => self.doubt_links(now),
            NetworkEvent::FromServer(packet) => return self.receive_from_server(now, packet),
            NetworkEvent::FromLink { link, packet } => {
                return self.receive_from_link(now, link, packet);
            }
            NetworkEvent::LinkAnswered { link, round_trip, further_header_bytes } => {
                if let Some(link) = self.core.pairs.link_mut(link) {
                    link.path.set_further_header_bytes(further_header_bytes);
                    if link.health.kept_alive(now, round_trip) {
                        link.path.probed(now, round_trip);
                    }
                }
            }
            NetworkEvent::LinkUp(link) => self.core.link_up(now, link),
            NetworkEvent::LinkDown(link) => self.link_down(now, link),
            NetworkEvent::RosterChanged(roster) => self.set_roster(now, *roster),
            NetworkEvent::ServerPong(number) => self.core.relay_path.answered(now, number),
            NetworkEvent::PeerRestarted(peer) => {
                self.receiver.streams.remove(&Participant::Peer(peer));
            }
            NetworkEvent::Hosting
            | NetworkEvent::HostingFailed(_)
            | NetworkEvent::FromClient { .. }
            | NetworkEvent::ClientGone { .. } => {}
        }
        Received::default()
    }

    /// When [`update`](Self::update) is to be called, in the time of its argument: at once if that
    /// has passed, and `None` if not before something else is called. A call before that moment has
    /// no effect; it is said anew after each call.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.changed { Some(Duration::ZERO) } else { self.next_timer }
    }

    /// Runs timers: handshake retry, link probes, closing targets. Call it when
    /// [`poll_timeout`](Self::poll_timeout) says so.
    pub fn update(&mut self, now: Duration) {
        if let Phase::Handshaking { asked_at } = self.core.phase
            && now >= asked_at + self.core.config.handshake_retry
        {
            self.core.shake_hands(now);
            self.core.handshake_was_repeated = true;
        }
        self.core.retry_handshakes(now);
        for (peer, unacknowledged) in self.core.poll_links(now) {
            self.sender.resend_via_relay(&mut self.core, now, peer, unacknowledged);
        }
        self.core.ask_relayed(now);
        self.sender.close_targets(&mut self.core, now);
        self.sender.flush_late_bundles(&mut self.core, now);
        self.core.ping_server(now);
        self.forget(now);
        self.core.refresh_routes(now);
        self.send_waiting_texts(now);
        self.data.flush(&mut self.core, now);
        let mut next = NextTimer::after(now);
        self.core.timers(&mut next);
        self.sender.timers(&mut next);
        self.data.timers(&mut next);
        self.text_timers(&mut next);
        (self.changed, self.next_timer) = (false, next.earliest());
    }

    /// Begins to listen to a group, now and in every later session.
    pub fn join_group(&mut self, name: &str) -> Result<(), ClientError> {
        self.changed = true;
        let id = GroupId::of(name);
        if name.len() > GROUP_NAME_BYTES {
            return Err(ClientError::GroupNameTooLong);
        }
        if self.core.groups.get(&id).is_some_and(|own| own == name) {
            return Ok(());
        }
        let is_shared = self.core.joined_view().is_some_and(|view| view.table.is_shared(name));
        if (is_shared && !self.core.roster.server_takes_group_text)
            || self.core.groups.contains_key(&id)
        {
            return Err(ClientError::GroupNameTaken);
        }
        if self.core.groups.len() >= GROUPS_PER_CLIENT {
            return Err(ClientError::TooManyGroups);
        }
        self.core.groups.insert(id, name.to_owned());
        self.receiver.follow_permissions(&mut self.core);
        self.receiver.interrupt_streams();
        self.core.tell_group(name, true);
        Ok(())
    }

    /// Ceases to listen to a group.
    pub fn leave_group(&mut self, name: &str) {
        self.changed = true;
        let id = GroupId::of(name);
        if self.core.groups.get(&id).is_some_and(|own| own == name) {
            self.core.groups.remove(&id);
            self.receiver.follow_permissions(&mut self.core);
            self.receiver.interrupt_streams();
            self.core.tell_group(name, false);
        }
    }

    /// The groups it listens to.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.core.groups.values().map(String::as_str)
    }

    /// Begins to speak to a target, or changes how.
    pub fn open_target(
        &mut self,
        target: VoiceTarget<P>,
        options: TargetOptions,
    ) -> Result<(), ClientError> {
        self.changed = true;
        self.sender.speaker.open(target, options)?;
        Ok(())
    }

    /// Ceases to speak to a target: the next frame is its last.
    pub fn close_target(&mut self, now: Duration, target: &VoiceTarget<P>) {
        self.changed = true;
        self.sender.speaker.close(target);
        if self.sender.speaker.is_closing() {
            self.sender.closing_since.get_or_insert(now);
        }
    }

    /// The targets it speaks to.
    pub fn open_targets(&self) -> impl Iterator<Item = &VoiceTarget<P>> {
        self.sender.speaker.open_targets()
    }

    /// Leaves: the session, the pairs, all that was known of others, and the outputs that the owner
    /// has not taken are gone. Groups and targets stay for the next time, but for targets that were
    /// clients of this session.
    pub fn leave(&mut self) {
        self.changed = true;
        if self.core.phase != Phase::Offline {
            self.core.push(ClientEvent::SessionEnded(DisconnectReason::Requested));
        }
        self.core.phase = Phase::Offline;
        self.core.current = None;
        self.sender.speaker.forget_clients();
        self.core.previous.clear();
        self.core.pairs = Pairs::new();
        self.data.clear();
        self.waiting_texts.clear();
        self.core.routes.clear();
        self.receiver.streams.clear();
        self.sender.recent.clear();
        self.sender.bundling = Bundling::default();
        self.sender.audience.clear();
        self.core.relay_path = RelayPath::new();
        self.core.answering.clear();
        self.core.relayed_by_choice.clear();
        self.core.resuming = false;
        self.core.out.clear();
    }

    /// Sends one encoded frame to everyone whom the open targets address, each by its route. Says
    /// how many those are.
    ///
    /// With no open target the frame is not sent and takes no number. A frame larger than a packet
    /// is not sent.
    pub fn send_voice(&mut self, now: Duration, frame: Bytes) -> usize {
        self.send_spoken(now, &OutgoingFrame::plain(frame)).listeners
    }

    /// The same, with what goes with it.
    pub fn send_spoken(&mut self, now: Duration, spoken: &OutgoingFrame<'_, P>) -> SendSummary {
        self.changed = true;
        self.sender.send_spoken(&mut self.core, now, spoken)
    }

    /// Finds who would hear a frame that is sent now; [`last_audience`](Self::last_audience) has
    /// them.
    pub fn look_at_audience(&mut self) {
        self.sender.look_at_audience(&self.core);
    }

    /// The listeners of the last frame.
    pub fn last_audience(&self) -> &[AudienceMember<P>] {
        &self.sender.audience
    }

    /// The number of the frame that would be sent next.
    pub fn next_sequence(&self) -> u16 {
        self.sender.speaker.next_sequence()
    }

    /// Sends a packet that begins with the own client id: over links where they are bound in this
    /// session, through the relay to the rest; each destination gets one copy.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotJoined`].
    pub fn send_to_clients(
        &mut self,
        clients: &[ClientId],
        reliability: Reliability,
        packet: &Bytes,
    ) -> Result<(), ClientError> {
        self.changed = true;
        self.core.send_to_clients(clients, reliability, packet)
    }

    /// Sends a packet that may be lost to one peer or client, by the way that its speech takes: the
    /// link if it is bound and sound, else the relay. `packet` is given the session and the own id
    /// in it. Says whether there was a way.
    pub fn send_to(
        &mut self,
        who: Participant<P>,
        packet: impl Fn(SessionId, ClientId) -> Vec<u8>,
    ) -> bool {
        self.changed = true;
        self.core.send_to(who, packet)
    }

    /// Sends a train of `packets` packets with `padding` bytes in each over the link to a peer;
    /// what arrives of it comes back as [`ClientEvent::Bandwidth`]. Says whether there is a link to
    /// a peer that answers.
    pub fn probe_bandwidth(&mut self, peer: P, train: u16, packets: u8, padding: u16) -> bool {
        self.changed = true;
        self.core.probe_bandwidth(peer, train, packets, padding)
    }

    /// Sends a message to a peer outside of channels. It leaves with the next
    /// [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// See [`DataError`].
    pub fn send_data(
        &mut self,
        peer: P,
        reliability: Reliability,
        bytes: Bytes,
    ) -> Result<(), DataError> {
        self.changed = true;
        self.data.send(&self.core, peer, reliability, bytes)
    }

    /// Opens a channel from this side; data flows once the other side has opened it alike.
    ///
    /// # Errors
    ///
    /// See [`DataError`].
    pub fn open_channel(
        &mut self,
        peer: P,
        channel: u8,
        reliability: Reliability,
    ) -> Result<(), DataError> {
        self.changed = true;
        self.data.open_channel(&self.core, peer, channel, reliability)
    }

    /// Closes a channel from this side.
    pub fn close_channel(&mut self, peer: P, channel: u8) {
        self.changed = true;
        self.data.close_channel(peer, channel);
    }

    /// Sends a message on a channel that this side has open.
    ///
    /// # Errors
    ///
    /// See [`DataError`].
    pub fn send_on(&mut self, peer: P, channel: u8, bytes: Bytes) -> Result<(), DataError> {
        self.changed = true;
        self.data.send_on(&self.core, peer, channel, bytes)
    }

    /// Closes everything that is open to a peer, on both sides.
    pub fn disconnect_data(&mut self, peer: P) {
        self.changed = true;
        self.data.disconnect(&mut self.core, peer);
    }

    /// Forgets what is open to a peer that is gone. What it had sent was polled before.
    pub fn forget_data(&mut self, peer: P) {
        self.changed = true;
        self.data.forget(peer);
    }

    /// Whether a text has yet to be sent to someone who will be able to read it.
    pub fn has_waiting_texts(&self) -> bool {
        !self.waiting_texts.is_empty()
    }

    /// What is open to a peer.
    pub fn data_pipe(&self, peer: P) -> Option<&Pipe> {
        self.data.pipe_to(peer)
    }

    /// Everyone to whom something is or was open, and the pipe.
    pub fn data_pipes(&self) -> impl Iterator<Item = (P, &Pipe)> {
        self.data.pipes()
    }

    /// The next message, or event of a channel, of any peer; each peer in its turn.
    pub fn poll_data(&mut self, now: Duration) -> Option<(P, DataEvent)> {
        let event = self.data.poll(now);
        self.changed |= event.is_some();
        event
    }

    /// The next message, or event of a channel, of one peer.
    pub fn poll_data_of(&mut self, now: Duration, peer: P) -> Option<DataEvent> {
        let event = self.data.poll_of(now, peer);
        self.changed |= event.is_some();
        event
    }

    fn link_down(&mut self, now: Duration, link: LinkId<P>) {
        // Before it is forgotten: without a roster, only the link tells which client the relay has
        // to serve.
        let unacknowledged = self.core.take_unacknowledged(link);
        self.sender.resend_via_relay(&mut self.core, now, link.peer, unacknowledged);
        self.core.link_down(now, link);
    }

    /// Asks for the state anew, on a connection that has taken over. Until it comes the old one
    /// holds.
    fn resume(&mut self, now: Duration) {
        match self.core.phase {
            Phase::Joined => {
                self.core.resuming = true;
                let request = HandshakeRequest {
                    codec: self.core.config.codec,
                    name: self.core.config.name.clone(),
                };
                self.core.tell_server(request.encode());
            }
            Phase::Offline | Phase::Handshaking { .. } => self.core.shake_hands(now),
        }
    }

    /// No link is relied on until it answers.
    fn doubt_links(&mut self, now: Duration) {
        for (_, link) in self.core.pairs.iter_mut() {
            link.health.doubt(now);
        }
        self.core.refresh_routes(now);
    }

    /// Former sessions, kept clients and silent speakers do not stay for ever.
    fn forget(&mut self, now: Duration) {
        let pairs = &self.core.pairs;
        self.core.previous.retain(|view| {
            pairs.speaks(view.session) || view.retired_at.is_some_and(|at| now < at + RETIRED_FOR)
        });
        for view in self.core.previous.iter_mut().chain(self.core.current.as_mut()) {
            let over: Vec<_> = view
                .kept_until
                .iter()
                .filter(|(_, until)| **until <= now)
                .map(|(client, _)| *client)
                .collect();
            for client in over {
                view.forget_kept(client);
            }
        }
        while self.receiver.streams.len() > STREAMS {
            let oldest = self
                .receiver
                .streams
                .iter()
                .min_by_key(|(_, heard)| heard.heard_at)
                .map(|(who, _)| *who);
            if let Some(who) = oldest {
                self.receiver.streams.remove(&who);
            }
        }
    }

    /// Everyone in the current session but oneself, for those who compare tables.
    pub fn others(&self) -> BTreeSet<ClientId> {
        let view = self.core.current.as_ref();
        view.into_iter()
            .flat_map(|view| {
                view.table.members().map(|member| member.info.id).filter(|id| *id != view.you)
            })
            .collect()
    }
}
