//! What arrives: from the server, and on links.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::limits::GROUPS_PER_CLIENT;
use voicemesh_wire::packet::{
    self, ClientState, DeltaClientState, DirectionError, FromMember, FromServer, HandshakeResponse,
    Kind, PeerToPeer, Probe, RemoveClient, Routing,
};
use voicemesh_wire::{ClientId, GroupId, SessionId};

use super::event::{ClientEvent, Dropped, Participant, Received};
use super::view::View;
use super::voice_in::VoicePacket;
use super::{Client, Phase};
use crate::output::Fallback;
use crate::route::Route;
use crate::stream::Stale;
use crate::transport::{ClientLookup, Destination, LinkId, Reliability};

/// A probe is answered at most once in this time, so that a link cannot be made to answer a flood.
const ECHO_INTERVAL: Duration = Duration::from_millis(20);
/// Former sessions in which a pair may still speak. When there are more, the oldest is forgotten.
const PREVIOUS_VIEWS: usize = 3;

impl<P: Copy + Ord + Debug> Client<P> {
    /// What a member of the current session is called in events and routes. Without a roster that
    /// changes when a link to it is bound.
    pub fn who(&self, client: ClientId) -> Option<Participant<P>> {
        let view = self.core.current.as_ref()?;
        view.table.member(client).map(|_| self.core.who(view.session, client))
    }

    /// The only client that may speak on a link in a session, as far as that is known.
    pub fn client_on(&self, link: LinkId<P>, session: SessionId) -> Option<ClientId> {
        self.core.speaker_on(link, session)
    }

    pub(super) fn receive_from_server(&mut self, now: Duration, packet: Bytes) -> Received {
        if let Err(reason) = self.try_from_server(now, &packet) {
            self.core.count(reason);
        }
        Received::default()
    }

    fn try_from_server(&mut self, now: Duration, packet: &Bytes) -> Result<(), Dropped> {
        let (header, body) = packet::open(packet)?;
        let session = header.session_id().ok_or(Dropped::WrongSession)?;
        let names_session =
            matches!(header.kind, Kind::HandshakeResponse | Kind::ErrorWrongSession);
        if !names_session && self.core.joined_view().ok_or(Dropped::Unexpected)?.session != session
        {
            return Err(Dropped::WrongSession);
        }
        match FromServer::decode(header.kind, body)? {
            FromServer::HandshakeResponse(response) => {
                self.handle_handshake_response(now, session, response)
            }
            FromServer::ErrorWrongSession => self.wrong_session(now, session),
            FromServer::ClientState(state) => self.client_state(now, state),
            FromServer::DeltaClientState(delta) => self.delta(delta),
            FromServer::RemoveClient(removed) => self.remove_client(now, removed),
            FromServer::TextData(text) => self.text(text),
            FromServer::GroupText(text) => self.group_text(text),
            FromServer::ProbeEcho(echo) => {
                let number = u16::try_from(echo.token).map_err(|_| Dropped::Unexpected)?;
                self.core.relay_path.answered(now, number);
                Ok(())
            }
            FromServer::Relayed(said) => self.relayed(now, session, header.kind, said, packet),
        }
    }

    /// What another member sent through the server.
    fn relayed(
        &mut self,
        now: Duration,
        session: SessionId,
        kind: Kind,
        said: FromMember<'_>,
        packet: &Bytes,
    ) -> Result<(), Dropped> {
        let client = Routing::read(packet)?.sender;
        let view = self.core.joined_view().ok_or(Dropped::Unexpected)?;
        if view.table.member(client).is_none() || client == view.you {
            return Err(Dropped::WrongSender);
        }
        if let Participant::Peer(peer) = self.core.who(session, client) {
            self.core.answering.heard(now, peer, is_answer(kind));
        }
        match VoicePacket::of(session, said) {
            Ok(voice) => {
                let from = self
                    .core
                    .roster
                    .peer_of(session, client)
                    .map_or(Participant::Client(session, client), Participant::Peer);
                self.core.check_permission(from, kind)?;
                if let Participant::Peer(peer) = from {
                    self.core.answering.spoke(now, peer, voice.ends_speech());
                }
                self.receiver.voice(&mut self.core, now, packet, voice, from, Route::Relayed)
            }
            Err(said) => {
                let from = self.core.who(session, client);
                self.core.check_permission(from, kind)?;
                self.receive_other(now, from, said, packet)
            }
        }
    }

    pub(super) fn receive_from_link(
        &mut self,
        now: Duration,
        link: LinkId<P>,
        packet: Bytes,
    ) -> Received {
        match self.try_from_link(now, link, &packet) {
            Ok(received) => received,
            Err(reason) => {
                self.core.count(reason);
                Received::default()
            }
        }
    }

    /// On a link, identity is the link's peer: a packet that names another client is dropped
    /// (PROTOCOL.md, section 9).
    fn try_from_link(
        &mut self,
        now: Duration,
        id: LinkId<P>,
        packet: &Bytes,
    ) -> Result<Received, Dropped> {
        let (header, body) = packet::open(packet)?;
        let session = header.session_id().ok_or(Dropped::WrongSession)?;
        if header.kind != Kind::HandshakeP2P {
            if !header.kind.names_its_sender() {
                return Err(Dropped::Misplaced(header.kind));
            }
            let you = self.core.view_of(session).ok_or(Dropped::WrongSession)?.you;
            let sender = Routing::read(packet)?.sender;
            if sender == you || self.core.speaker_on(id, session) != Some(sender) {
                return Err(Dropped::WrongSender);
            }
            let link = self.core.pairs.link_mut(id).ok_or(Dropped::Unexpected)?;
            link.health.heard(now);
            self.core.answering.heard(now, id.peer, is_answer(header.kind));
        }
        match PeerToPeer::decode(header.kind, body)? {
            PeerToPeer::HandshakeP2P(handshake) => {
                if let Some(link) = self.core.pairs.link_mut(id) {
                    link.health.heard(now);
                }
                if let Err(reason) = self.core.handshake_p2p(now, id, session, handshake) {
                    self.core.count(reason);
                }
                return Ok(Received { handshake_p2p: Some(handshake.client) });
            }
            PeerToPeer::VoiceAck(ack) => {
                let link = self.core.pairs.link_mut(id).ok_or(Dropped::Unexpected)?;
                link.health.acknowledged(now, ack);
                link.path
                    .acknowledged(now, ack.newest, ack.received_ms, |number| ack.covers(number));
            }
            PeerToPeer::BandwidthProbe(probe) => {
                self.core.pairs.link_mut(id).ok_or(Dropped::Unexpected)?.train.received(now, probe);
            }
            PeerToPeer::BandwidthReport(report) => {
                self.core.push(ClientEvent::Bandwidth { from: Participant::Peer(id.peer), report });
            }
            PeerToPeer::ProbeEcho(echo) => {
                let link = self.core.pairs.link_mut(id).ok_or(Dropped::Unexpected)?;
                if let Some(round_trip) = link.health.answered(now, echo.token) {
                    link.path.probed(now, round_trip);
                }
            }
            PeerToPeer::Probe(probe) => self.answer_probe(now, id, session, probe)?,
            PeerToPeer::Member(said) => {
                self.said_on_link(now, id, session, header.kind, said, packet)?
            }
        }
        Ok(Received::default())
    }

    /// What the peer at the other end of a link says, which could come through the server as well.
    fn said_on_link(
        &mut self,
        now: Duration,
        id: LinkId<P>,
        session: SessionId,
        kind: Kind,
        said: FromMember<'_>,
        packet: &Bytes,
    ) -> Result<(), Dropped> {
        match VoicePacket::of(session, said) {
            Ok(voice) => {
                let link = self.core.pairs.link_mut(id).ok_or(Dropped::Unexpected)?;
                link.ack_due.received(now, voice.header.sequence);
                link.health.spoke(now, voice.ends_speech());
                let sender = voice.header.sender;
                let has_roster = self.core.roster.peer_of(session, sender).is_some()
                    || !matches!(
                        self.core.roster.client_of(session, id.peer),
                        ClientLookup::NoRoster
                    );
                let from = if has_roster {
                    Participant::Peer(id.peer)
                } else {
                    Participant::Client(session, sender)
                };
                self.core.check_permission(Participant::Peer(id.peer), kind)?;
                self.receiver.voice(&mut self.core, now, packet, voice, from, Route::Direct)
            }
            Err(said) => {
                self.core.check_permission(Participant::Peer(id.peer), kind)?;
                self.receive_other(now, Participant::Peer(id.peer), said, packet)
            }
        }
    }

    fn answer_probe(
        &mut self,
        now: Duration,
        id: LinkId<P>,
        session: SessionId,
        probe: Probe,
    ) -> Result<(), Dropped> {
        let you = self.core.view_of(session).ok_or(Dropped::WrongSession)?.you;
        let link = self.core.pairs.link_mut(id).ok_or(Dropped::Unexpected)?;
        if link.echoed_at.is_some_and(|at| now < at + ECHO_INTERVAL) {
            return Err(Dropped::Unexpected);
        }
        link.echoed_at = Some(now);
        let echo = Probe { sender: you, token: probe.token }.encode_echo(session);
        let to = vec![Destination { client: probe.sender, link: id }];
        self.core.out.send_to_links(to, Reliability::Unreliable, echo, Fallback::None);
        Ok(())
    }

    /// The server's answer: a new view. The former one stays as long as a pair speaks it.
    fn handle_handshake_response(
        &mut self,
        now: Duration,
        session: SessionId,
        response: HandshakeResponse,
    ) -> Result<(), Dropped> {
        if (self.core.resuming || matches!(self.core.phase, Phase::Joined))
            && self
                .core
                .current
                .as_ref()
                .is_some_and(|view| (view.session, view.you) == (session, response.you))
        {
            return self.resync(now, session, response);
        }
        let Phase::Handshaking { asked_at } = self.core.phase else {
            return Err(Dropped::Unexpected);
        };
        if !self.core.handshake_was_repeated {
            self.core.relay_path.shook_hands(now, asked_at);
        }
        let you = response.you;
        let mut view =
            View::new(session, self.core.own_info(you), self.core.groups.values().cloned());
        view.fill(response);
        self.core.phase = Phase::Joined;
        self.receiver.interrupt_streams();
        let members = self.replace_view(now, view);
        self.core.push(ClientEvent::Joined { session, you });
        for event in members {
            self.core.push(event);
        }
        let state = self.core.own_state(you).encode(session);
        self.core.tell_server(state);
        self.core.send_handshakes(now);
        self.core.refresh_routes(now);
        Ok(())
    }

    /// The state after another connection has taken over, or in place of updates that a slow
    /// connection was not sent: only what differs from the known one is an event. A member that the
    /// response does not list either follows as ClientState or is gone, which the roster knows.
    fn resync(
        &mut self,
        now: Duration,
        session: SessionId,
        response: HandshakeResponse,
    ) -> Result<(), Dropped> {
        self.core.resuming = false;
        let you = response.you;
        let mut fresh =
            View::new(session, self.core.own_info(you), self.core.groups.values().cloned());
        fresh.fill(response);
        let Some(view) = &self.core.current else { return Err(Dropped::Unexpected) };
        let listed = fresh.table.members().filter(|member| member.info.id != you);
        let changed: Vec<_> = listed
            .filter(|member| view.table.member(member.info.id) != Some(*member))
            .map(|member| member.to_state())
            .collect();
        let gone: Vec<_> = view.table.members().map(|member| member.info.id).collect();
        for state in changed {
            self.client_state(now, state)?;
        }
        for client in gone.into_iter().filter(|client| fresh.table.member(*client).is_none()) {
            if self.core.roster.peer_of(session, client).is_none() {
                self.remove_client(now, RemoveClient { client })?;
            }
        }
        // What was sent on the former connection may not have arrived.
        let state = self.core.own_state(you).encode(session);
        self.core.tell_server(state);
        self.core.send_handshakes(now);
        self.core.refresh_routes(now);
        Ok(())
    }

    /// Puts a new view in place of the current one, and says who is in it.
    fn replace_view(&mut self, now: Duration, view: View) -> Vec<ClientEvent<P>> {
        let (session, you) = (view.session, view.you);
        let ids: Vec<_> = view.table.members().filter(|member| member.info.id != you).collect();
        let mut joined = Vec::new();
        for member in ids {
            let client = member.info.id;
            let who = self
                .core
                .roster
                .peer_of(session, client)
                .map_or(Participant::Client(session, client), Participant::Peer);
            joined.push(ClientEvent::MemberJoined { who, client, name: member.info.name.clone() });
        }
        if let Some(mut old) = self.core.current.replace(view) {
            if old.session == session {
                self.keep_bound(now, old);
            } else {
                self.sender.speaker.forget_clients();
                old.retired_at = Some(now);
                self.core.previous.retain(|view| view.session != old.session);
                self.core.previous.push(old);
                if self.core.previous.len() > PREVIOUS_VIEWS {
                    self.core.previous.remove(0);
                }
            }
        }
        joined
    }

    /// Who came back to the same session finds those who are lost to the server but bound to it
    /// still kept.
    fn keep_bound(&mut self, now: Duration, mut old: View) {
        let until = now + self.core.config.keep_lost;
        let Some(view) = &mut self.core.current else { return };
        let absent: Vec<_> = old.table.members().map(|member| member.info.id).collect();
        for client in absent {
            if client != old.you && self.core.pairs.peer_bound_as(view.session, client).is_some() {
                old.keep(client, until);
            }
        }
        for member in
            old.kept.members().filter(|member| view.table.member(member.info.id).is_none())
        {
            let client = member.info.id;
            if client != view.you {
                view.kept.insert(member.info.clone(), member.groups.values().cloned());
                view.kept_until
                    .insert(client, old.kept_until.get(&client).copied().unwrap_or(until));
            }
        }
    }

    fn wrong_session(&mut self, now: Duration, session: SessionId) -> Result<(), Dropped> {
        if self.core.phase != Phase::Joined
            || self.core.current.as_ref().is_some_and(|view| view.session == session)
        {
            return Err(Dropped::Unexpected);
        }
        self.core.push(ClientEvent::Rejoining { session: Some(session) });
        self.core.shake_hands(now);
        self.core.refresh_routes(now);
        Ok(())
    }

    fn client_state(&mut self, now: Duration, state: ClientState) -> Result<(), Dropped> {
        let client = state.client.id;
        let Some(view) = self.core.current.as_mut().filter(|view| view.you != client) else {
            return Err(Dropped::Unexpected);
        };
        let session = view.session;
        let is_new = view.table.member(client).is_none();
        let name = state.client.name.clone();
        view.forget_kept(client);
        view.table.insert(state.client, state.groups);
        if is_new {
            let who = self.core.who(session, client);
            self.receiver.interrupt_stream(who);
            self.core.push(ClientEvent::MemberJoined { who, client, name });
        }
        self.core.push(ClientEvent::GroupsChanged { client });
        if is_new {
            // Its handshake on a link may have come first.
            self.core.retry_pending_handshakes(now);
            self.core.refresh_routes(now);
        }
        Ok(())
    }

    fn delta(&mut self, delta: DeltaClientState) -> Result<(), Dropped> {
        let Some(view) = self.core.current.as_mut() else { return Err(Dropped::Unexpected) };
        let client = delta.client;
        if client == view.you {
            return self.group_refused(delta);
        }
        let Some(member) = view.table.member(client) else { return Err(Dropped::Unexpected) };
        if delta.joins && member.groups.len() >= GROUPS_PER_CLIENT {
            return Err(Dropped::Unexpected);
        }
        let changed = if delta.joins {
            view.table.join(client, &delta.group)
        } else {
            view.table.leave(client, &delta.group)
        };
        if changed {
            self.core.push(ClientEvent::GroupsChanged { client });
        }
        Ok(())
    }

    /// The server says that this client does not listen to a group that it asked for.
    fn group_refused(&mut self, delta: DeltaClientState) -> Result<(), Dropped> {
        let group = delta.group;
        let listens = self.core.groups.get(&GroupId::of(&group)).is_some_and(|own| *own == group);
        if delta.joins || !listens {
            return Err(Dropped::Unexpected);
        }
        self.core.groups.remove(&GroupId::of(&group));
        if let Some(view) = &mut self.core.current {
            view.table.leave(view.you, &group);
        }
        self.core.push(ClientEvent::GroupRefused { group });
        Ok(())
    }

    fn remove_client(
        &mut self,
        now: Duration,
        RemoveClient { client }: RemoveClient,
    ) -> Result<(), Dropped> {
        let keep_until = now + self.core.config.keep_lost;
        let Some(session) =
            self.core.current.as_ref().filter(|view| view.you != client).map(View::session)
        else {
            return Err(Dropped::Unexpected);
        };
        let who = self.core.who(session, client);
        let kept = self.core.pairs.peer_bound_as(session, client).is_some();
        let Some(view) =
            self.core.current.as_mut().filter(|view| view.table.member(client).is_some())
        else {
            return Err(Dropped::Unexpected);
        };
        if kept {
            view.keep(client, keep_until);
        } else {
            view.table.remove(client);
        }
        self.core.push(ClientEvent::MemberLeft { who, client, kept });
        self.core.refresh_routes(now);
        Ok(())
    }

    /// What an established peer says besides speech, by whichever way.
    fn receive_other(
        &mut self,
        now: Duration,
        from: Participant<P>,
        said: FromMember<'_>,
        packet: &Bytes,
    ) -> Result<(), Dropped> {
        self.core.push(match said {
            FromMember::Data(data) => {
                return self.data.receive(&mut self.core, now, from, data, packet);
            }
            FromMember::ReceptionReport(report) => ClientEvent::Report { from, report },
            FromMember::ClockProbe(probe) => {
                ClientEvent::ClockAsked { from, asked_us: probe.asked_us }
            }
            FromMember::ClockEcho(echo) => ClientEvent::ClockTold { from, echo },
            FromMember::Unassigned(number) => ClientEvent::Extension {
                from,
                kind: Kind::Unassigned(number),
                packet: packet.clone(),
            },
            // Keys and sealed texts are for the network's own part of encryption; without one they
            // mean nothing.
            FromMember::KeyPackage(_) => return Err(Dropped::Misplaced(Kind::KeyPackage)),
            FromMember::KeyRequest(_) => return Err(Dropped::Misplaced(Kind::KeyRequest)),
            FromMember::SealedText(_) => return Err(Dropped::Misplaced(Kind::SealedText)),
            FromMember::VoiceData(_) => return Err(Dropped::Misplaced(Kind::VoiceData)),
            FromMember::VoiceCopies(_) => return Err(Dropped::Misplaced(Kind::VoiceCopies)),
        });
        Ok(())
    }
}

impl From<DirectionError> for Dropped {
    fn from(error: DirectionError) -> Self {
        match error {
            DirectionError::Decode(error) => Self::Malformed(error),
            DirectionError::Misplaced(kind) => Self::Misplaced(kind),
            // What a later version may add.
            _ => Self::Unexpected,
        }
    }
}

impl From<voicemesh_wire::DecodeError> for Dropped {
    fn from(error: voicemesh_wire::DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl From<Stale> for Dropped {
    fn from(stale: Stale) -> Self {
        match stale {
            Stale::Duplicate => Self::Duplicate,
            Stale::OldTalkspurt => Self::OldTalkspurt,
            Stale::TooOld => Self::TooOld,
        }
    }
}

/// Whether only a peer that answers questions for its clock sends this.
fn is_answer(kind: Kind) -> bool {
    matches!(kind, Kind::ClockEcho | Kind::ReceptionReport)
}
