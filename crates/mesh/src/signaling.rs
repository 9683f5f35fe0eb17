//! What is said on the connection to the server, and which part it is for (PROTOCOL.md, sections 3
//! and 4).

use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::network::{DisconnectReason, NetworkEvent};
use voicemesh_wire::packet::{self, Header};
use voicemesh_wire::signaling::{
    Capabilities, ClientMessage, ErrorCode, Join, Joined, LeaveReason, MemberStatus, MessageError,
    Metadata, Moderation, PROTOCOL_VERSION, PeerInfo, Presence, RoomPassword, ServerMessage,
    Ticket, decode_server,
};
use voicemesh_wire::{DisplayName, PeerId, SessionId};

use crate::Mesh;
use crate::connect_failure::ConnectFailure;
use crate::connection::{AfterClose, BesideOpened, SocketRole};
use crate::encryption::{hide_sealed, keep_own_name};
use crate::event::{MeshEvent, PasswordChange};
use crate::input::SocketEvent;
use crate::refused::{asks_for_token, is_final};
use crate::server_connection::ServerConnection;
use crate::transaction::TransactionError;

impl Mesh {
    fn refused(
        &mut self,
        now: Duration,
        code: ErrorCode,
        message: String,
        fatal: bool,
        retry_after_ms: Option<u64>,
    ) {
        let retry_after = Duration::from_millis(retry_after_ms.unwrap_or(0).min(60_000));
        let has_joined = self.connection.has_joined();
        if !fatal && code == ErrorCode::UnknownPeer {
            // A signal for a link to a member that has left meanwhile; what the program asked for
            // has a request's number.
            tracing::debug!("{message}");
        } else if !fatal {
            self.tell(MeshEvent::Warned { code, message, text: None });
        } else if self.config.renews_token && asks_for_token(&code) {
            self.token_renewal.refused(now);
            self.refused_for_now(now, code.clone(), message.clone(), Duration::ZERO);
            self.tell(MeshEvent::TokenNeeded { code, message });
        } else if code == ErrorCode::PasswordWait {
            self.come_back(now, code, message, retry_after);
        } else if is_final(&code, has_joined, self.config.password.is_some()) {
            self.connection.end(DisconnectReason::Refused(message.clone()), &mut self.queues);
            self.links.drop_all(&mut self.queues);
            self.stop();
            let retry_after = retry_after_ms.map(Duration::from_millis);
            self.tell(MeshEvent::Refused { code, message, retry_after });
        } else {
            self.refused_for_now(now, code, message, retry_after);
        }
    }

    /// Something on the connection in use, or on one that is opened beside it.
    pub(super) fn socket_event(&mut self, now: Duration, generation: u32, event: SocketEvent) {
        match self.connection.role_of(generation) {
            Some(SocketRole::InUse) => self.primary_event(now, event),
            Some(SocketRole::Joining) => self.joining_event(now, generation, event),
            Some(SocketRole::Former) => self.former_event(now, event),
            Some(SocketRole::Opening) => match event {
                SocketEvent::Connected(connection) => self.server_connected(connection),
                SocketEvent::Open => self.open_beside_first(now, generation),
                SocketEvent::Failed(_) | SocketEvent::Closed(_) | SocketEvent::TakenOver => {
                    self.connection.beside_closed(generation, &mut self.queues);
                }
                SocketEvent::Receiving
                | SocketEvent::Text(_)
                | SocketEvent::Packet(_)
                | SocketEvent::Pong(_) => {}
            },
            None => {}
        }
    }

    fn primary_event(&mut self, now: Duration, event: SocketEvent) {
        self.connection.heard(now);
        match event {
            SocketEvent::Receiving => self.connection.receiving(now),
            SocketEvent::Open => self.socket_open(now),
            SocketEvent::Connected(connection) => self.server_connected(connection),
            SocketEvent::Failed(failure) => {
                self.connection_closed(now, failure.to_string(), Some(failure))
            }
            SocketEvent::Closed(why) => self.connection_closed(now, why, None),
            // The answer to the join that took over is on its way on the other connection.
            SocketEvent::TakenOver if self.connection.has_joining_beside() => {}
            SocketEvent::TakenOver => {
                self.connection_lost(now, "another connection took over".to_owned(), Duration::ZERO)
            }
            SocketEvent::Text(text) => self.text(now, &text),
            SocketEvent::Packet(packet) => self.packet(now, packet),
            SocketEvent::Pong(number) => self.queues.tell_network(NetworkEvent::ServerPong(number)),
        }
    }

    /// A connection beside the one in use, on which the join has been sent.
    fn joining_event(&mut self, now: Duration, generation: u32, event: SocketEvent) {
        match event {
            SocketEvent::Receiving => self.connection.receiving_beside(now),
            SocketEvent::Connected(_)
            | SocketEvent::Open
            | SocketEvent::Packet(_)
            | SocketEvent::Pong(_) => {}
            SocketEvent::Failed(_) | SocketEvent::Closed(_) | SocketEvent::TakenOver => {
                self.connection.beside_closed(generation, &mut self.queues);
            }
            SocketEvent::Text(text) => match self.read(&text) {
                Ok(ServerMessage::Joined(joined)) => self.joined_beside(now, generation, joined),
                Ok(ServerMessage::Error { fatal: true, code, message, .. }) => {
                    self.connection.beside_closed(generation, &mut self.queues);
                    self.refused_beside(now, code, message);
                }
                Ok(ServerMessage::GoingAway { .. }) => {
                    self.connection.beside_closed(generation, &mut self.queues);
                }
                Ok(_) | Err(_) => {}
            },
        }
    }

    /// The next connection needs another token, while the one in use goes on: the program is asked
    /// for it at once, and not again before it has answered.
    fn refused_beside(&mut self, now: Duration, code: ErrorCode, message: String) {
        if self.config.renews_token
            && asks_for_token(&code)
            && self.token_renewal.refused_beside(now)
        {
            self.tell(MeshEvent::TokenNeeded { code, message });
        }
    }

    /// The connection from which another has taken over: what members sent is still taken, and the
    /// answers to requests. What the server says of the room there is older than the answer to the
    /// join.
    fn former_event(&mut self, now: Duration, event: SocketEvent) {
        match event {
            SocketEvent::Packet(packet) => {
                let is_taken = packet::open(&packet).is_ok_and(|(Header { kind, .. }, _)| {
                    (kind.is_text() || kind.names_its_sender())
                        && (!kind.is_voice() || self.connection.takes_former_voice(now))
                });
                if is_taken {
                    self.packet(now, packet);
                }
            }
            SocketEvent::Failed(_) | SocketEvent::Closed(_) | SocketEvent::TakenOver => {
                self.connection.close_former(&mut self.queues);
            }
            SocketEvent::Text(text) => match self.read(&text) {
                Ok(
                    ServerMessage::Moderated { request } | ServerMessage::MetadataSet { request },
                ) => {
                    self.request_done(now, request, Ok(()));
                }
                Ok(ServerMessage::Error {
                    code,
                    message,
                    fatal: false,
                    request: Some(request),
                    ..
                }) => self.request_done(now, request, Err(TransactionError { code, message })),
                Ok(ServerMessage::Error {
                    code,
                    message,
                    fatal: false,
                    text: Some(number),
                    ..
                }) => {
                    let text = self.connection.refused_on_former(number);
                    if text.is_some() {
                        self.tell(MeshEvent::Warned { code, message, text });
                    }
                }
                Ok(_) | Err(_) => {}
            },
            SocketEvent::Receiving
            | SocketEvent::Connected(_)
            | SocketEvent::Open
            | SocketEvent::Pong(_) => {}
        }
    }

    /// A further attempt is open. Beside a connection in use it joins; beside a first one that has
    /// not opened it takes its place.
    fn open_beside_first(&mut self, now: Duration, generation: u32) {
        match self.connection.beside_opened(now, generation, &mut self.queues) {
            BesideOpened::InUse => self.socket_open(now),
            BesideOpened::Joins => {
                let join = self.join_message(self.lobby.metadata_beside(self.you()));
                self.queues.out.send_text(generation, join);
            }
            BesideOpened::Unwanted => {}
        }
    }

    /// The join beside is answered: the connection takes the place of the one in use, in silence if
    /// the server knows both as one peer.
    fn joined_beside(&mut self, now: Duration, generation: u32, joined: Joined) {
        let Some((you, session)) = self.connection.joined_as() else { return };
        let is_same = (joined.session, joined.client) == (session.number(), you.client);
        let Some(taken_over) = joined.taken_over.clone().filter(|_| is_same) else {
            self.connection.joins_anew(now, generation, &mut self.queues);
            self.lobby.lost();
            self.joined(now, joined);
            return;
        };
        tracing::info!("another connection to the server took over");
        let (order, permissions, held_in) = (joined.order, joined.permissions, joined.held_in);
        let own = PeerInfo { order, permissions, held_in, ..you.clone() };
        self.connection.take_over(now, generation, own.clone(), &joined.limits, &mut self.queues);
        self.token_renewal.joined();
        self.keep_ticket(joined.ticket);
        self.server_takes_group_text = joined.group_text;
        self.roster.mark_changed();
        self.server_takes_status = joined.status;
        self.links.joined(joined.ice_servers, joined.relay_only, &mut self.queues);
        self.connection.send_texts_again(now, taken_over.texts, &mut self.queues);
        self.links.renew_unsettled(now);
        let (roster, mut around) = self.membership(now);
        roster.set(session, own, joined.peers, joined.roster, &mut around);
        self.tell_owner(false);
        self.status.joined();
        self.tick_status(now);
        self.set_locked(joined.locked);
        self.set_password(joined.password);
        let (lobby, mut outlet) = self.publishing(now);
        lobby.resumed(taken_over.metadata, joined.room_metadata, &mut outlet);
        self.queues.tell_network(NetworkEvent::Resumed);
        self.tick_links(now);
    }

    /// Leaves the room for good.
    pub(super) fn leave(&mut self, _now: Duration) {
        self.changed = true;
        if self.connection.is_open() {
            self.say(&ClientMessage::Leave);
        }
        self.links.drop_all(&mut self.queues);
        self.stop();
        self.roster.clear();
        self.queues.withdraw();
    }

    /// Join and HandshakeRequest go back to back, so that speech can flow one round trip later.
    fn socket_open(&mut self, now: Duration) {
        let Some(generation) = self.connection.opened(now) else { return };
        let metadata = self.lobby.metadata_to_join(self.roster.you(), &mut self.queues);
        let join = self.join_message(metadata);
        self.queues.out.send_text(generation, join);
        self.queues.tell_network(NetworkEvent::Connected);
    }

    fn join_message(&mut self, metadata: Metadata) -> String {
        let status = self.status.join();
        self.token_renewal.joins(self.config.token.clone());
        let has_joined = self.connection.has_joined();
        let mut join = Join {
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
                e2ee: self.encrypts(),
                frame_ms: self.config.frame_ms.clone(),
            },
            metadata,
            status,
            // On a reconnect, any state of the room is accepted.
            presence: if has_joined { Presence::Either } else { self.config.presence },
            password: self.config.password.clone(),
            room_metadata: self.lobby.room().clone(),
            token: self.config.token.clone(),
            ticket: self.ticket.clone(),
        };
        if let Some(encryption) = &mut self.encryption {
            encryption.seal_join(self.roster.you(), &mut join);
        }
        ClientMessage::Join(join).to_json()
    }

    /// What the server says, with the names and metadata that this peer can read.
    fn read(&mut self, text: &str) -> Result<ServerMessage, MessageError> {
        let mut message = decode_server(text)?;
        let Some(encryption) = &mut self.encryption else {
            hide_sealed(&mut message);
            return Ok(message);
        };
        encryption.open_message(&mut message);
        if let ServerMessage::Joined(joined) = &mut message
            && encryption.has_room_key()
        {
            keep_own_name(joined, self.config.token.is_some());
        }
        Ok(message)
    }

    fn text(&mut self, now: Duration, text: &str) {
        let message = match self.read(text) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(%error, "a signaling message was ignored");
                return;
            }
        };
        match message {
            ServerMessage::Joined(joined) => self.joined(now, joined),
            ServerMessage::PeerJoined { peer } => {
                let (roster, mut around) = self.membership(now);
                roster.peer_joined(peer, &mut around);
                self.tell_owner(false);
            }
            ServerMessage::PeerLeft { peer, reason } => {
                let (roster, mut around) = self.membership(now);
                roster.peer_left(peer, reason, &mut around);
                // A peer that was replaced comes back at once, in its old place.
                if reason != LeaveReason::Replaced {
                    self.tell_owner(false);
                }
            }
            ServerMessage::Metadata { peer, metadata, changes } => {
                let (roster, mut around) = self.membership(now);
                let own = roster.metadata_changed((peer, metadata), changes, &mut around);
                if let Some(own) = own {
                    self.lobby.set_own(own);
                }
            }
            ServerMessage::Permissions { peer, permissions } => {
                self.roster.permissions_changed(peer, permissions, &mut self.queues);
            }
            ServerMessage::Held { peer, groups } => {
                self.roster.held_changed(peer, groups, &mut self.queues)
            }
            ServerMessage::Status { peer, status } => {
                self.roster.status_changed(peer, status, &mut self.queues)
            }
            ServerMessage::MetadataSet { request } => self.request_done(now, request, Ok(())),
            ServerMessage::RoomMetadata { metadata } => {
                self.lobby.set_room(metadata, &mut self.queues)
            }
            ServerMessage::Signal { from, attempt, signal } => {
                let (links, mut on) = self.negotiation(now);
                links.signaled(from, attempt, signal, &mut on);
            }
            ServerMessage::RosterMark(mark) => {
                if self.connection.is_joined() && !self.roster.matches(mark) {
                    self.say(&ClientMessage::Roster);
                }
            }
            ServerMessage::Roster { mark, mut peers } => {
                let Some((you, session)) = self.connection.joined_as() else { return };
                let mut own = you.clone();
                if let Some(index) = peers.iter().position(|info| info.peer == own.peer) {
                    own = peers.remove(index);
                }
                let (roster, mut around) = self.membership(now);
                roster.set(session, own, peers, mark, &mut around);
                self.tell_owner(false);
            }
            ServerMessage::Error {
                code, message, fatal: false, request: Some(request), ..
            } => {
                self.request_done(now, request, Err(TransactionError { code, message }));
            }
            ServerMessage::Error { code: ErrorCode::UnknownType, fatal: false, .. }
                if self.connection.question_refused() => {}
            ServerMessage::Pong { token } => self.connection.server_answered(now, token),
            ServerMessage::Error { code, message, fatal: false, text: Some(number), .. } => {
                let text = self.connection.refused_text(number);
                self.tell(MeshEvent::Warned { code, message, text });
            }
            ServerMessage::Error { code, message, fatal, retry_after_ms, .. } => {
                self.refused(now, code, message, fatal, retry_after_ms);
            }
            ServerMessage::IceServers { ice_servers } => {
                if self.connection.is_joined() {
                    self.links.set_ice_servers(ice_servers);
                }
            }
            ServerMessage::Moderated { request } => self.request_done(now, request, Ok(())),
            ServerMessage::Move { groups, number } => self.moved(groups, number),
            ServerMessage::Locked { locked } => self.set_locked(locked),
            ServerMessage::Password(password) => self.set_password(password),
            ServerMessage::Ticket { ticket } => self.keep_ticket(Some(ticket)),
            ServerMessage::GoingAway { retry_after_ms } => {
                let at_least = Duration::from_millis(retry_after_ms.min(60_000));
                self.connection_lost(now, "it is about to stop".to_owned(), at_least);
            }
            ServerMessage::Replaced => {
                self.connection
                    .end(DisconnectReason::Refused("replaced".to_owned()), &mut self.queues);
                self.links.drop_all(&mut self.queues);
                self.stop();
                self.tell(MeshEvent::Replaced);
            }
        }
    }

    /// A moderator moves this peer. After a join the server repeats the last move, which may have
    /// been lost.
    fn moved(&mut self, groups: Vec<String>, number: Option<u32>) {
        let session = self.connection.joined_as().map(|(_, session)| session);
        let this = session.zip(number);
        if this.is_none() || this != self.last_move {
            self.last_move = this;
            self.tell(MeshEvent::Moved { groups });
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
            if self.connection.is_stale_from_server() {
                return;
            }
            self.connection.relay_used(now);
        }
        if self.connection.is_open() {
            self.queues.tell_network(NetworkEvent::FromServer(packet));
        }
    }

    fn joined(&mut self, now: Duration, joined: Joined) {
        if !self.connection.is_joining() {
            return;
        }
        let Some(session) = SessionId::new(joined.session) else {
            self.connection_lost(now, "its answer makes no sense".to_owned(), Duration::ZERO);
            return;
        };
        let own = PeerInfo {
            peer: joined.you,
            client: joined.client,
            run: self.config.run,
            name: self.entered_name(joined.you, joined.name.as_deref()),
            // Of oneself, the roster's hash needs the rest only.
            metadata: Metadata::new(),
            capabilities: Capabilities::default(),
            order: joined.order,
            status: MemberStatus::default(),
            permissions: joined.permissions,
            held_in: joined.held_in.clone(),
        };
        self.connection.joined(now, own.clone(), session, &joined.limits, &mut self.queues);
        self.token_renewal.joined();
        self.keep_ticket(joined.ticket);
        self.server_takes_group_text = joined.group_text;
        self.roster.mark_changed();
        self.server_takes_status = joined.status;
        self.links.joined(joined.ice_servers, joined.relay_only, &mut self.queues);
        self.tell(MeshEvent::Joined {
            you: joined.you,
            name: own.name.clone(),
            session: joined.session,
            others: joined.peers.len(),
            relay_only: joined.relay_only,
        });
        if !joined.owner_right.is_held() {
            self.tell(MeshEvent::OwnerRight { state: joined.owner_right });
        }
        self.room_locked = false;
        self.set_locked(joined.locked);
        self.set_password(joined.password);
        self.status.joined();
        self.tick_status(now);
        self.links.renew_unsettled(now);
        let (roster, mut around) = self.membership(now);
        roster.set(session, own, joined.peers, joined.roster, &mut around);
        self.tell_owner(true);
        let (lobby, mut outlet) = self.publishing(now);
        lobby.joined(joined.room_metadata, &mut outlet);
        self.announce(now, session);
        self.tick_links(now);
    }

    /// The own name in the room: what the server says, as the others read it, else the one that was
    /// asked for.
    fn entered_name(&self, you: PeerId, said: Option<&str>) -> String {
        said.map_or_else(
            || self.config.name.clone(),
            |name| DisplayName::received(name, you).as_str().to_owned(),
        )
    }

    fn set_locked(&mut self, locked: bool) {
        if locked != self.room_locked {
            self.room_locked = locked;
            self.tell(MeshEvent::RoomLocked { locked });
        }
    }

    /// What a connection that was lost did not bring shows at the next join.
    fn set_password(&mut self, password: RoomPassword) {
        let Some((_, session)) = self.connection.joined_as() else { return };
        let known = self.room_password.replace((session, password));
        let change = match known {
            None => password.set.then_some(PasswordChange::Present),
            Some((_, known)) if known.set != password.set => {
                Some(if password.set { PasswordChange::Set } else { PasswordChange::Removed })
            }
            Some((of, known)) => (password.set && of == session && known.number != password.number)
                .then_some(PasswordChange::Changed),
        };
        if let Some(change) = change {
            self.tell(MeshEvent::RoomPassword { change });
        }
    }

    /// Before the first join the own identity may still become that of a server without TLS.
    fn server_connected(&mut self, connection: ServerConnection) {
        if !connection.encrypted
            && !self.connection.has_joined()
            && let Some(proof) = self.config.proof_without_tls.take()
        {
            self.config.proof = proof;
            self.ticket = None;
            self.roster.set_you(proof.peer_id());
            if let Some(encryption) = &mut self.encryption {
                encryption.use_identity_without_tls();
            }
        }
        self.server_connection = Some(connection.clone());
        self.tell(MeshEvent::ServerConnected(connection));
    }

    /// The connection in use has ended. A further one that is being opened or joins already goes on
    /// in its place.
    pub(super) fn connection_closed(
        &mut self,
        now: Duration,
        why: String,
        failure: Option<ConnectFailure>,
    ) {
        let silent_for = self.connection.silence(now);
        match self.connection.closed(now, &mut self.queues) {
            AfterClose::Nothing => {}
            AfterClose::GoesOn { was_open } => {
                self.lobby.lost();
                if was_open {
                    self.tell(MeshEvent::ServerAway {
                        why,
                        failure,
                        silent_for,
                        retry_in: Duration::ZERO,
                    });
                }
            }
            AfterClose::TryAgain => self.try_again_later(now, why, failure, Duration::ZERO),
        }
    }

    /// The connection in use has ended, and those beside it end as well.
    pub(super) fn connection_lost(&mut self, now: Duration, why: String, at_least: Duration) {
        self.try_again_later(now, why, None, at_least);
    }

    /// The server does not let this peer in, and may later.
    fn refused_for_now(
        &mut self,
        now: Duration,
        code: ErrorCode,
        message: String,
        at_least: Duration,
    ) {
        let failure = ConnectFailure::Refused { code, message: message.clone() };
        self.try_again_later(now, message, Some(failure), at_least);
    }

    /// The server looks at the password later. It serves those first who come back when they were
    /// told to, so this is no failure that makes the next wait longer.
    fn come_back(&mut self, now: Duration, code: ErrorCode, why: String, after: Duration) {
        let failures = self.connection.failures();
        self.refused_for_now(now, code, why, after);
        self.connection.come_back(now, after, failures);
    }

    /// The connection is gone; the next is opened after a while.
    fn try_again_later(
        &mut self,
        now: Duration,
        why: String,
        failure: Option<ConnectFailure>,
        at_least: Duration,
    ) {
        let silent_for = self.connection.silence(now);
        let Some(retry_in) = self.connection.back_off(now, at_least, &mut self.queues) else {
            return;
        };
        self.lobby.lost();
        self.tell(MeshEvent::ServerAway { why, failure, silent_for, retry_in });
    }

    fn request_done(&mut self, now: Duration, request: u32, result: Result<(), TransactionError>) {
        let (lobby, mut outlet) = self.publishing(now);
        let decision = lobby.request_done(request, result, &mut outlet);
        // The next join brings the password along, should the server have forgotten it.
        if let Some(Moderation::SetPassword { password }) = decision {
            self.config.password = password;
        }
    }

    /// Tells who owns the room, if that is news; after a join, in any case.
    fn tell_owner(&mut self, joined: bool) {
        self.lobby.tell_owner(self.roster.longest_present(), joined, &mut self.queues);
    }

    fn tell(&mut self, event: MeshEvent) {
        self.queues.tell(event);
    }

    /// Nothing is tried again.
    fn stop(&mut self) {
        self.connection.stop(&mut self.queues);
        self.lobby.ended(&mut self.queues);
    }
}
