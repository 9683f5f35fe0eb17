//! The WebSocket's life: opened, joined, lost, opened again (PROTOCOL.md, sections 3 and 4).

use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::network::{DisconnectReason, NetworkEvent, Reliability};
use voicemesh_wire::SessionId;
use voicemesh_wire::packet;
use voicemesh_wire::signaling::{
    AccessToken, Capabilities, ClientMessage, ErrorCode, Join, Joined, MemberStatus, Metadata, PROTOCOL_VERSION,
    PeerInfo, Presence, ServerLimits, ServerMessage, Ticket, decode_server,
};

use crate::refused::{asks_for_token, is_final};
use crate::{ConnectFailure, ServerConnection};

use super::connection::{ConnectionState, ReconnectState};
use super::liveness::{Attempt, Liveness, Texts};
use super::roster::Roster;
use super::{Mesh, MeshEvent, SocketEvent, TransactionError};

/// The first reconnection waits up to this long, so that not everyone comes back at the same moment after a common outage;
/// the next ones wait longer each time …
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// … from this on, twice as long each …
const NEXT_RETRY: Duration = Duration::from_millis(250);
/// … up to this, so that a server that is back is found soon, and a sleeping one is not hammered.
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// A socket that is not open by then is given up; a sleeping host takes a minute to wake.
const OPEN_LIMIT: Duration = Duration::from_secs(90);
/// A join is given up when nothing at all has come for this long …
const JOIN_LIMIT: Duration = Duration::from_secs(15);
/// … and when its answer is not whole by then: a megabyte comes by a path of 5 kB/s in 200 s.
pub(super) const JOIN_LIMIT_IN_ALL: Duration = Duration::from_secs(300);
/// So many roster marks can be missed; then the socket is dead, whatever it says.
const MARKS_MISSED: u32 = 3;

impl Mesh {
    fn refused(&mut self, now: Duration, code: ErrorCode, message: String, fatal: bool, retry_after_ms: Option<u64>) {
        let retry_after = Duration::from_millis(retry_after_ms.unwrap_or(0).min(60_000));
        let has_joined = self.socket.memory().is_some_and(|memory| memory.has_joined);
        if !fatal {
            self.tell(MeshEvent::Warned { code, message });
        } else if self.config.renews_token && asks_for_token(&code) {
            self.awaits_token = true;
            self.refused_for_now(now, code.clone(), message.clone(), Duration::ZERO);
            self.tell(MeshEvent::TokenNeeded { code, message });
        } else if code == ErrorCode::PasswordWait {
            self.come_back(now, code, message, retry_after);
        } else if is_final(&code, has_joined, self.config.password.is_some()) {
            self.end_connection(DisconnectReason::Refused(message.clone()));
            self.drop_all_links();
            self.stop();
            let retry_after = retry_after_ms.map(Duration::from_millis);
            self.tell(MeshEvent::Refused { code, message, retry_after });
        } else {
            self.refused_for_now(now, code, message, retry_after);
        }
    }

    /// The access token from now on. A server that asked for another one is joined at once.
    pub fn set_token(&mut self, now: Duration, token: AccessToken) {
        self.config.token = Some(token);
        if std::mem::take(&mut self.awaits_token) {
            self.socket.hurry(now);
            self.tick_socket(now);
        }
    }

    pub(super) fn tick_socket(&mut self, now: Duration) {
        match &self.socket {
            ConnectionState::Waiting { until, memory } if now >= *until && !self.awaits_token => {
                let memory = *memory;
                let memory = ReconnectState { generation: self.next_generation(), ..memory };
                self.socket = ConnectionState::Opening { since: now, memory };
                self.out.open_socket(memory.generation);
            }
            ConnectionState::Opening { since, .. } if now >= *since + OPEN_LIMIT => {
                self.socket_lost(now, "it does not answer".to_owned(), Duration::ZERO);
            }
            ConnectionState::Joining { since, .. }
                if now >= (*since).max(self.join_heard_at) + JOIN_LIMIT || now >= *since + JOIN_LIMIT_IN_ALL =>
            {
                self.socket_lost(now, "it does not answer the join".to_owned(), Duration::ZERO);
            }
            ConnectionState::Joined { liveness, silence_limit, .. } if now >= liveness.heard_at() + *silence_limit => {
                self.socket_closed(now, "nothing comes from it any more".to_owned(), None);
            }
            ConnectionState::Stopped
            | ConnectionState::Waiting { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Joining { .. }
            | ConnectionState::Joined { .. } => {}
        }
        self.tick_liveness(now);
    }

    /// The number of a connection that has not been one before.
    pub(super) fn next_generation(&mut self) -> u32 {
        self.generations = self.generations.wrapping_add(1);
        self.generations
    }

    /// Something on the connection in use, or on one that is opened beside it.
    pub(super) fn socket_event(&mut self, now: Duration, generation: u32, event: SocketEvent) {
        if self.socket.generation() == Some(generation) {
            self.primary_event(now, event);
        } else if self.beside.is_joining(generation) {
            self.joining_event(now, generation, event);
        } else if self.beside.is_opening(generation) {
            match event {
                SocketEvent::Connected(connection) => self.server_connected(connection),
                SocketEvent::Open => self.open_beside_first(now, generation),
                SocketEvent::Failed(_) | SocketEvent::Closed(_) | SocketEvent::TakenOver => {
                    self.beside_closed(generation);
                }
                SocketEvent::Receiving | SocketEvent::Text(_) | SocketEvent::Packet(_) | SocketEvent::Pong(_) => {}
            }
        }
    }

    fn primary_event(&mut self, now: Duration, event: SocketEvent) {
        if let ConnectionState::Joined { liveness, .. } = &mut self.socket {
            liveness.heard(now);
        }
        match event {
            SocketEvent::Receiving => self.join_heard_at = now,
            SocketEvent::Open => self.socket_open(now),
            SocketEvent::Connected(connection) => self.server_connected(connection),
            SocketEvent::Failed(failure) => self.socket_closed(now, failure.to_string(), Some(failure)),
            SocketEvent::Closed(why) => self.socket_closed(now, why, None),
            // The answer to the join that took over is on its way on the other connection.
            SocketEvent::TakenOver if self.beside.has_joining() => {}
            SocketEvent::TakenOver => self.socket_lost(now, "another connection took over".to_owned(), Duration::ZERO),
            SocketEvent::Text(text) => self.text(now, &text),
            SocketEvent::Packet(packet) => self.packet(now, packet),
            SocketEvent::Pong(number) => self.tell_network(NetworkEvent::ServerPong(number)),
        }
    }

    /// A connection beside the one in use, on which the join has been sent.
    fn joining_event(&mut self, now: Duration, generation: u32, event: SocketEvent) {
        match event {
            SocketEvent::Receiving => self.beside.heard(now),
            SocketEvent::Connected(_) | SocketEvent::Open | SocketEvent::Packet(_) | SocketEvent::Pong(_) => {}
            SocketEvent::Failed(_) | SocketEvent::Closed(_) | SocketEvent::TakenOver => self.beside_closed(generation),
            SocketEvent::Text(text) => match decode_server(&text) {
                Ok(ServerMessage::Joined(joined)) => self.joined_beside(now, generation, joined),
                Ok(ServerMessage::Error { fatal: true, .. } | ServerMessage::GoingAway { .. }) => {
                    self.beside_closed(generation);
                }
                Ok(_) | Err(_) => {}
            },
        }
    }

    /// A further attempt is open. Beside a connection in use it joins; beside a first one that has not opened it takes its
    /// place.
    fn open_beside_first(&mut self, now: Duration, generation: u32) {
        self.beside_open(now, generation);
        match &self.socket {
            ConnectionState::Opening { since, memory } => {
                let (since, memory) = (*since, *memory);
                self.out.close_socket(memory.generation);
                self.close_beside_but_joining();
                self.socket = ConnectionState::Opening { since, memory: ReconnectState { generation, ..memory } };
                self.socket_open(now);
            }
            ConnectionState::Joined { .. } => {
                let join = self.join_message(self.metadata_beside());
                self.out.send_text(generation, join);
            }
            ConnectionState::Stopped | ConnectionState::Waiting { .. } | ConnectionState::Joining { .. } => {
                self.close_beside()
            }
        }
    }

    /// The join beside is answered: the connection takes the place of the one in use, in silence if the server knows both as
    /// one peer.
    fn joined_beside(&mut self, now: Duration, generation: u32, joined: Joined) {
        let ConnectionState::Joined { you, session, memory, .. } = &self.socket else { return };
        let (you, session, memory) = (you.clone(), *session, *memory);
        let is_same = (joined.session, joined.client) == (session.number(), you.client);
        let Some(taken_over) = joined.taken_over.clone().filter(|_| is_same) else {
            self.end_connection(DisconnectReason::Lost);
            self.lobby_lost();
            self.texts_lost();
            self.out.close_socket(memory.generation);
            self.close_beside_but_joining();
            let memory = ReconnectState { generation, away_since: now, ..memory };
            self.socket = ConnectionState::Joining { since: now, memory };
            self.tell_network(NetworkEvent::Connected);
            self.joined(now, joined);
            return;
        };
        tracing::info!("another connection to the server took over");
        self.out.close_socket(memory.generation);
        self.close_beside_but_joining();
        self.connection_renewed();
        let (order, permissions, held_in) = (joined.order, joined.permissions, joined.held_in);
        let own = PeerInfo { order, permissions, held_in, ..*you };
        self.socket = ConnectionState::Joined {
            liveness: Box::new(Liveness::new(now)),
            silence_limit: silence_limit(&joined.limits),
            you: Box::new(own.clone()),
            session,
            memory: ReconnectState { generation, failures: 0, ..memory },
        };
        self.keep_ticket(joined.ticket);
        self.ice_servers = joined.ice_servers;
        self.server_relay_only = joined.relay_only;
        self.server_takes_group_text = joined.group_text;
        self.roster_changed = true;
        self.server_takes_status = joined.status;
        if joined.relay_only {
            self.drop_all_links();
        }
        for packet in self.texts.taken_over(now, taken_over.texts) {
            self.out.send_packet(generation, Reliability::Reliable, packet);
        }
        if self.texts.is_unconfirmed() {
            self.ask_server(now);
        }
        self.renew_unsettled(now);
        self.set_roster(now, session, own, joined.peers, joined.roster);
        self.tell_owner(false);
        self.status.joined();
        self.tick_status(now);
        self.set_locked(joined.locked);
        self.lobby_resumed(now, taken_over.metadata, joined.room_metadata);
        self.tell_network(NetworkEvent::Resumed);
        self.tick_links(now);
    }

    /// Leaves the room for good.
    pub(super) fn leave(&mut self, _now: Duration) {
        if self.socket.is_open() {
            self.say(&ClientMessage::Leave);
        }
        self.drop_all_links();
        self.stop();
        self.clear_roster();
        self.network_events.clear();
    }

    /// Join and HandshakeRequest go back to back, so that speech can flow one round trip later.
    fn socket_open(&mut self, now: Duration) {
        let ConnectionState::Opening { memory, .. } = &self.socket else { return };
        let memory = *memory;
        self.socket = ConnectionState::Joining { since: now, memory };
        let metadata = self.metadata_to_join();
        let join = self.join_message(metadata);
        self.out.send_text(memory.generation, join);
        self.tell_network(NetworkEvent::Connected);
    }

    /// A message on the connection in use.
    pub(super) fn say(&mut self, message: &ClientMessage) {
        if let Some(generation) = self.socket.generation() {
            self.out.send_text(generation, message.to_json());
        }
    }

    fn join_message(&mut self, metadata: Metadata) -> String {
        let status = self.status.join();
        let has_joined = self.socket.memory().is_some_and(|memory| memory.has_joined);
        let join = Join {
            protocol: PROTOCOL_VERSION,
            room: self.config.room.clone(),
            name: self.config.name.clone(),
            proof: self.config.proof,
            run: self.config.run,
            capabilities: Capabilities {
                relay_only: self.config.relay_only,
                redundancy: self.config.redundancy,
                voice_ack: true,
                reports: true,
                data: true,
                group_text: true,
                path_feedback: true,
                bundles: self.config.redundancy,
                frame_ms: self.config.frame_ms.clone(),
            },
            metadata,
            status,
            // On a reconnect, any state of the room is accepted.
            presence: if has_joined { Presence::Either } else { self.config.presence },
            password: self.config.password.clone(),
            room_metadata: self.room_metadata().clone(),
            token: self.config.token.clone(),
            ticket: self.ticket.clone(),
        };
        ClientMessage::Join(join).to_json()
    }

    fn text(&mut self, now: Duration, text: &str) {
        let message = match decode_server(text) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(%error, "a signaling message was ignored");
                return;
            }
        };
        match message {
            ServerMessage::Joined(joined) => self.joined(now, joined),
            ServerMessage::PeerJoined { peer } => self.peer_joined(now, peer),
            ServerMessage::PeerLeft { peer, reason } => self.peer_left(now, peer, reason),
            ServerMessage::Metadata { peer, metadata } => self.metadata_changed(now, peer, metadata),
            ServerMessage::Permissions { peer, permissions } => self.permissions_changed(peer, permissions),
            ServerMessage::Held { peer, groups } => self.held_changed(peer, groups),
            ServerMessage::Status { peer, status } => self.status_changed(peer, status),
            ServerMessage::MetadataSet { request } => self.request_done(now, request, Ok(())),
            ServerMessage::RoomMetadata { metadata } => self.room_metadata_changed(metadata),
            ServerMessage::Signal { from, attempt, signal } => self.signaled(now, from, attempt, signal),
            ServerMessage::RosterMark(mark) => {
                if self.socket.is_joined() && !self.roster.matches(mark) {
                    self.say(&ClientMessage::Roster);
                }
            }
            ServerMessage::Roster { mark, mut peers } => {
                let ConnectionState::Joined { you, session, .. } = &self.socket else { return };
                let (mut own, session) = ((**you).clone(), *session);
                if let Some(index) = peers.iter().position(|info| info.peer == own.peer) {
                    own = peers.remove(index);
                }
                self.set_roster(now, session, own, peers, mark);
                self.tell_owner(false);
            }
            ServerMessage::Error { code, message, fatal: false, request: Some(request), .. } => {
                self.request_done(now, request, Err(TransactionError { code, message }));
            }
            ServerMessage::Error { code: ErrorCode::UnknownType, fatal: false, .. } if self.question_refused() => {}
            ServerMessage::Pong { token } => self.server_answered(now, token),
            ServerMessage::Error { code, message, fatal, retry_after_ms, .. } => {
                self.refused(now, code, message, fatal, retry_after_ms);
            }
            ServerMessage::IceServers { ice_servers } => {
                if self.socket.is_joined() {
                    self.ice_servers = ice_servers;
                }
            }
            ServerMessage::Moderated { request } => self.request_done(now, request, Ok(())),
            ServerMessage::Move { groups } => self.tell(MeshEvent::Moved { groups }),
            ServerMessage::Locked { locked } => self.set_locked(locked),
            ServerMessage::Ticket { ticket } => self.keep_ticket(Some(ticket)),
            ServerMessage::GoingAway { retry_after_ms } => {
                let at_least = Duration::from_millis(retry_after_ms.min(60_000));
                self.socket_lost(now, "it is about to stop".to_owned(), at_least);
            }
            ServerMessage::Replaced => {
                self.end_connection(DisconnectReason::Refused("replaced".to_owned()));
                self.drop_all_links();
                self.stop();
                self.tell(MeshEvent::Replaced);
            }
        }
    }

    /// The newest ticket is shown at the next join.
    fn keep_ticket(&mut self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            self.ticket = Some(ticket.clone());
            self.tell(MeshEvent::TicketRenewed { ticket });
        }
    }

    fn packet(&mut self, now: Duration, packet: Bytes) {
        if packet::open(&packet).is_ok_and(|(header, _)| header.kind.is_voice()) {
            if self.is_stale_from_server() {
                return;
            }
            self.relay_used(now);
        }
        if self.socket.is_open() {
            self.tell_network(NetworkEvent::FromServer(packet));
        }
    }

    fn joined(&mut self, now: Duration, joined: Joined) {
        let ConnectionState::Joining { memory, .. } = &self.socket else { return };
        let Some(session) = SessionId::new(joined.session) else {
            self.socket_lost(now, "its answer makes no sense".to_owned(), Duration::ZERO);
            return;
        };
        let memory = ReconnectState { failures: 0, has_joined: true, ..*memory };
        let own = PeerInfo {
            peer: joined.you,
            client: joined.client,
            run: self.config.run,
            name: self.config.name.clone(),
            // Of oneself, the roster's hash needs the rest only.
            metadata: Metadata::new(),
            capabilities: Capabilities::default(),
            order: joined.order,
            status: MemberStatus::default(),
            permissions: joined.permissions,
            held_in: joined.held_in.clone(),
        };
        self.socket = ConnectionState::Joined {
            liveness: Box::new(Liveness::new(now)),
            silence_limit: silence_limit(&joined.limits),
            you: Box::new(own.clone()),
            session,
            memory,
        };
        self.connection_renewed();
        self.keep_ticket(joined.ticket);
        self.ice_servers = joined.ice_servers;
        self.server_relay_only = joined.relay_only;
        self.server_takes_group_text = joined.group_text;
        self.roster_changed = true;
        self.server_takes_status = joined.status;
        if joined.relay_only {
            self.drop_all_links();
        }
        self.tell(MeshEvent::Joined {
            you: joined.you,
            session: joined.session,
            others: joined.peers.len(),
            relay_only: joined.relay_only,
        });
        if !joined.owner_right.is_held() {
            self.tell(MeshEvent::OwnerRight { state: joined.owner_right });
        }
        self.room_locked = false;
        self.set_locked(joined.locked);
        self.status.joined();
        self.tick_status(now);
        self.renew_unsettled(now);
        self.set_roster(now, session, own, joined.peers, joined.roster);
        self.tell_owner(true);
        self.lobby_joined(now, joined.room_metadata);
        self.tick_links(now);
    }

    fn set_locked(&mut self, locked: bool) {
        if locked != self.room_locked {
            self.room_locked = locked;
            self.tell(MeshEvent::RoomLocked { locked });
        }
    }

    /// Before the first join the own identity may still become that of a server without TLS.
    fn server_connected(&mut self, connection: ServerConnection) {
        let has_joined = self.socket.memory().is_some_and(|memory| memory.has_joined);
        if !connection.encrypted
            && !has_joined
            && let Some(proof) = self.config.proof_without_tls.take()
        {
            self.config.proof = proof;
            self.ticket = None;
            self.roster = Roster::new(proof.peer_id());
        }
        self.server_connection = Some(connection.clone());
        self.tell(MeshEvent::ServerConnected(connection));
    }

    /// The connection in use has ended. A further one that is being opened or joins already goes on in its place.
    fn socket_closed(&mut self, now: Duration, why: String, failure: Option<ConnectFailure>) {
        let Some(memory) = self.socket.memory() else { return };
        let away_since = self.socket.away_since().unwrap_or(now);
        let (next, joins) = match (self.beside.take_joining(), &self.socket) {
            (Some(attempt), _) => (attempt, true),
            (None, ConnectionState::Opening { .. } | ConnectionState::Joined { .. }) => match self.beside.take_oldest()
            {
                Some(attempt) => (attempt, false),
                None => return self.try_again_later(now, why, failure, Duration::ZERO),
            },
            (None, _) => return self.try_again_later(now, why, failure, Duration::ZERO),
        };
        let Attempt { generation, since, .. } = next;
        let was_open = self.socket.is_open();
        self.end_connection(DisconnectReason::Lost);
        self.lobby_lost();
        self.texts_lost();
        self.out.close_socket(memory.generation);
        let memory = ReconnectState { generation, away_since, ..memory };
        self.socket =
            if joins { ConnectionState::Joining { since, memory } } else { ConnectionState::Opening { since, memory } };
        if joins {
            self.tell_network(NetworkEvent::Connected);
        }
        if was_open {
            self.tell(MeshEvent::ServerAway { why, failure, retry_in: Duration::ZERO });
        }
    }

    pub(super) fn socket_lost(&mut self, now: Duration, why: String, at_least: Duration) {
        self.try_again_later(now, why, None, at_least);
    }

    /// The server does not let this peer in, and may later.
    pub(super) fn refused_for_now(&mut self, now: Duration, code: ErrorCode, message: String, at_least: Duration) {
        let failure = ConnectFailure::Refused { code, message: message.clone() };
        self.try_again_later(now, message, Some(failure), at_least);
    }

    /// The server looks at the password later. It serves those first who come back when they were told to, so this is no failure
    /// that makes the next wait longer.
    pub(super) fn come_back(&mut self, now: Duration, code: ErrorCode, why: String, after: Duration) {
        let failures = self.socket.memory().map_or(0, |memory| memory.failures);
        self.refused_for_now(now, code, why, after);
        let spread = after.mul_f64(0.5 * self.random.fraction());
        if let ConnectionState::Waiting { until, memory } = &mut self.socket {
            *until = now + after + spread;
            memory.failures = failures;
        }
    }

    /// The socket is gone; the next is opened after a while, longer each time, and not at the same moment as everyone
    /// else's.
    fn try_again_later(&mut self, now: Duration, why: String, failure: Option<ConnectFailure>, at_least: Duration) {
        let Some(memory) = self.socket.memory() else { return };
        let away_since = self.socket.away_since().unwrap_or(now);
        self.end_connection(DisconnectReason::Lost);
        self.lobby_lost();
        self.texts_lost();
        self.close_beside();
        self.out.close_socket(memory.generation);
        let retry_in = match memory.failures {
            0 => FIRST_RETRY.mul_f64(self.random.fraction()),
            failures => {
                let longest = NEXT_RETRY.saturating_mul(1 << failures.min(8)).min(LONGEST_RETRY);
                longest.mul_f64(0.5 + 0.5 * self.random.fraction())
            }
        };
        let retry_in = retry_in.max(at_least);
        let memory = ReconnectState { failures: memory.failures + 1, away_since, ..memory };
        self.socket = ConnectionState::Waiting { until: now + retry_in, memory };
        self.tell(MeshEvent::ServerAway { why, failure, retry_in });
    }

    /// The connection is gone, and whether what was written last has arrived is not known.
    fn texts_lost(&mut self) {
        if std::mem::take(&mut self.texts).is_unconfirmed() {
            let message = "The connection to the server ended before what you wrote last was known to have arrived.";
            let code = ErrorCode::Other("text-unconfirmed".to_owned());
            self.tell(MeshEvent::Warned { code, message: message.to_owned() });
        }
    }

    pub(super) fn end_connection(&mut self, reason: DisconnectReason) {
        if self.socket.is_open() {
            self.tell_network(NetworkEvent::Disconnected(reason));
        }
    }

    pub(super) fn stop(&mut self) {
        self.close_beside();
        self.texts = Texts::default();
        if let Some(generation) = self.socket.generation() {
            self.out.close_socket(generation);
        }
        self.socket = ConnectionState::Stopped;
        self.lobby_ended();
    }
}

fn silence_limit(limits: &ServerLimits) -> Duration {
    let marks = Duration::from_millis(u64::from(limits.roster_interval_ms.clamp(100, 60_000)));
    marks * MARKS_MISSED + Duration::from_secs(1)
}
