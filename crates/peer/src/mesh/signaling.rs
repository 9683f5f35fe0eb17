//! The WebSocket's life: opened, joined, lost, opened again (DESIGN §4, "Join", "Lost and found").

use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::network::{DisconnectReason, NetworkEvent};
use voicemesh_wire::SessionId;
use voicemesh_wire::signaling::{
    Capabilities, ClientMessage, ErrorCode, Join, Joined, Metadata, PROTOCOL_VERSION, PeerInfo, Presence, ServerLimits,
    ServerMessage, decode_server,
};

use crate::connect::ConnectFailure;
use crate::event::ServerConnection;

use super::roster::Roster;
use super::{Carrier, Mesh, MeshEvent, SocketEvent, TransactionError};

/// The first reconnection waits about this long, the next ones twice as long each …
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// … up to this, so that a server that is back is found soon, and a sleeping one is not hammered.
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// A socket that is not open by then is given up; a sleeping host takes a minute to wake.
const OPEN_LIMIT: Duration = Duration::from_secs(90);
/// A join that is not answered by then is given up.
const JOIN_LIMIT: Duration = Duration::from_secs(15);
/// So many roster marks can be missed; then the socket is dead, whatever it says.
const MARKS_MISSED: u32 = 3;

/// Where the WebSocket is.
#[derive(Debug)]
pub(super) enum Socket {
    /// It is not wanted.
    Stopped,
    /// It will be opened then.
    Waiting { until: Duration, memory: Memory },
    /// It is being opened.
    Opening { since: Duration, memory: Memory },
    /// It is open, and the join is sent.
    Joining { since: Duration, memory: Memory },
    /// The server has let this peer in.
    Joined { heard_at: Duration, silence_limit: Duration, you: Box<PeerInfo>, session: SessionId, memory: Memory },
}

/// What lives longer than one socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    generation: u32,
    failures: u32,
    has_joined: bool,
    away_since: Duration,
}

impl Socket {
    pub(super) fn waiting(now: Duration) -> Self {
        let memory = Memory { generation: 0, failures: 0, has_joined: false, away_since: now };
        Self::Waiting { until: now, memory }
    }

    fn memory(&self) -> Option<Memory> {
        match self {
            Self::Stopped => None,
            Self::Waiting { memory, .. }
            | Self::Opening { memory, .. }
            | Self::Joining { memory, .. }
            | Self::Joined { memory, .. } => Some(*memory),
        }
    }

    /// The number of the socket whose events count.
    pub(super) fn generation(&self) -> Option<u32> {
        match self {
            Self::Stopped | Self::Waiting { .. } => None,
            Self::Opening { memory, .. } | Self::Joining { memory, .. } | Self::Joined { memory, .. } => {
                Some(memory.generation)
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Joining { .. } | Self::Joined { .. })
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped)
    }

    pub(super) fn is_joined(&self) -> bool {
        matches!(self, Self::Joined { .. })
    }

    /// Since when the server is away.
    pub(super) fn away_since(&self) -> Option<Duration> {
        match self {
            Self::Stopped | Self::Joined { .. } => None,
            Self::Waiting { memory, .. } | Self::Opening { memory, .. } | Self::Joining { memory, .. } => {
                Some(memory.away_since)
            }
        }
    }
}

impl<C: Carrier> Mesh<C> {
    pub(super) fn tick_socket(&mut self, now: Duration) {
        match &self.socket {
            Socket::Waiting { until, memory } if now >= *until => {
                let memory = Memory { generation: memory.generation + 1, ..*memory };
                self.socket = Socket::Opening { since: now, memory };
                self.carrier.open_socket(memory.generation);
            }
            Socket::Opening { since, .. } if now >= *since + OPEN_LIMIT => {
                self.socket_lost(now, "it does not answer".to_owned(), Duration::ZERO);
            }
            Socket::Joining { since, .. } if now >= *since + JOIN_LIMIT => {
                self.socket_lost(now, "it does not answer the join".to_owned(), Duration::ZERO);
            }
            Socket::Joined { heard_at, silence_limit, .. } if now >= *heard_at + *silence_limit => {
                self.socket_lost(now, "nothing comes from it any more".to_owned(), Duration::ZERO);
            }
            Socket::Stopped
            | Socket::Waiting { .. }
            | Socket::Opening { .. }
            | Socket::Joining { .. }
            | Socket::Joined { .. } => {}
        }
    }

    pub(super) fn socket_event(&mut self, now: Duration, event: SocketEvent) {
        if let Socket::Joined { heard_at, .. } = &mut self.socket {
            *heard_at = now;
        }
        match event {
            SocketEvent::Open => self.socket_open(now),
            SocketEvent::Connected(connection) => self.server_connected(connection),
            SocketEvent::Failed(failure) => self.not_connected(now, failure),
            SocketEvent::Closed(why) => self.socket_lost(now, why, Duration::ZERO),
            SocketEvent::Text(text) => self.text(now, &text),
            SocketEvent::Packet(packet) => self.packet(packet),
        }
    }

    /// Leaves the room for good.
    pub(super) fn leave(&mut self, _now: Duration) {
        if self.socket.is_open() {
            self.carrier.send_text(ClientMessage::Leave.to_json());
        }
        self.drop_all_links();
        self.stop();
        self.clear_roster();
        self.network_events.clear();
    }

    /// Join and HandshakeRequest go back to back, so that speech can flow one round trip later.
    fn socket_open(&mut self, now: Duration) {
        let Socket::Opening { memory, .. } = &self.socket else { return };
        let memory = *memory;
        self.socket = Socket::Joining { since: now, memory };
        let metadata = self.metadata_to_join();
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
                frame_ms: self.config.frame_ms.clone(),
            },
            metadata,
            // Whoever comes back finds the room as it is.
            presence: if memory.has_joined { Presence::Either } else { self.config.presence },
            password: self.config.password.clone(),
            room_metadata: self.room_metadata().clone(),
        };
        self.carrier.send_text(ClientMessage::Join(join).to_json());
        self.tell_network(NetworkEvent::Connected);
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
            ServerMessage::MetadataSet { request } => self.request_done(now, request, Ok(())),
            ServerMessage::RoomMetadata { metadata } => self.room_metadata_changed(metadata),
            ServerMessage::Signal { from, attempt, signal } => self.signaled(now, from, attempt, signal),
            ServerMessage::RosterMark(mark) => {
                if self.socket.is_joined() && !self.roster.matches(mark) {
                    self.carrier.send_text(ClientMessage::Roster.to_json());
                }
            }
            ServerMessage::Roster { mark, mut peers } => {
                let Socket::Joined { you, session, .. } = &self.socket else { return };
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
            ServerMessage::Error { code, message, fatal, retry_after_ms, .. } => {
                self.refused(now, code, message, fatal, retry_after_ms);
            }
            ServerMessage::GoingAway { retry_after_ms } => {
                let at_least = Duration::from_millis(retry_after_ms.min(60_000));
                self.socket_lost(now, "it is going away".to_owned(), at_least);
            }
            ServerMessage::Replaced => {
                self.end_connection(DisconnectReason::Refused("replaced".to_owned()));
                self.drop_all_links();
                self.stop();
                self.tell(MeshEvent::Replaced);
            }
        }
    }

    fn packet(&mut self, packet: Bytes) {
        if self.socket.is_open() {
            self.tell_network(NetworkEvent::FromServer(packet));
        }
    }

    fn joined(&mut self, now: Duration, joined: Joined) {
        let Socket::Joining { memory, .. } = &self.socket else { return };
        let Some(session) = SessionId::new(joined.session) else {
            self.socket_lost(now, "its answer makes no sense".to_owned(), Duration::ZERO);
            return;
        };
        let memory = Memory { failures: 0, has_joined: true, ..*memory };
        let own = PeerInfo {
            peer: joined.you,
            client: joined.client,
            run: self.config.run,
            name: self.config.name.clone(),
            // Of oneself, the roster's hash needs the rest only.
            metadata: Metadata::new(),
            capabilities: Capabilities::default(),
            order: joined.order,
        };
        self.socket = Socket::Joined {
            heard_at: now,
            silence_limit: silence_limit(&joined.limits),
            you: Box::new(own.clone()),
            session,
            memory,
        };
        self.ice_servers = joined.ice_servers;
        self.server_relay_only = joined.relay_only;
        if joined.relay_only {
            self.drop_all_links();
        }
        self.tell(MeshEvent::Joined {
            you: joined.you,
            session: joined.session,
            others: joined.peers.len(),
            relay_only: joined.relay_only,
        });
        self.set_roster(now, session, own, joined.peers, joined.roster);
        self.tell_owner(true);
        self.lobby_joined(now, joined.room_metadata);
        self.tick_links(now);
    }

    fn refused(&mut self, now: Duration, code: ErrorCode, message: String, fatal: bool, retry_after_ms: Option<u64>) {
        let retry_after = Duration::from_millis(retry_after_ms.unwrap_or(0).min(60_000));
        let has_joined = self.socket.memory().is_some_and(|memory| memory.has_joined);
        if !fatal {
            self.tell(MeshEvent::Warned { code, message });
        } else if is_final(&code, has_joined) {
            self.end_connection(DisconnectReason::Refused(message.clone()));
            self.drop_all_links();
            self.stop();
            let retry_after = retry_after_ms.map(Duration::from_millis);
            self.tell(MeshEvent::Refused { code, message, retry_after });
        } else {
            self.socket_lost(now, message, retry_after);
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
            self.roster = Roster::new(proof.peer_id());
        }
        self.server_connection = Some(connection.clone());
        self.tell(MeshEvent::ServerConnected(connection));
    }

    fn not_connected(&mut self, now: Duration, failure: ConnectFailure) {
        self.try_again_later(now, failure.to_string(), Some(failure), Duration::ZERO);
    }

    fn socket_lost(&mut self, now: Duration, why: String, at_least: Duration) {
        self.try_again_later(now, why, None, at_least);
    }

    /// The socket is gone; the next is opened after a while, longer each time, and not at the same moment as everyone
    /// else's.
    fn try_again_later(&mut self, now: Duration, why: String, failure: Option<ConnectFailure>, at_least: Duration) {
        let Some(memory) = self.socket.memory() else { return };
        let away_since = self.socket.away_since().unwrap_or(now);
        self.end_connection(DisconnectReason::Lost);
        self.lobby_lost();
        self.carrier.close_socket();
        let longest = FIRST_RETRY.saturating_mul(1 << memory.failures.min(8)).min(LONGEST_RETRY);
        let retry_in = longest.mul_f64(0.5 + 0.5 * self.random.fraction()).max(at_least);
        let memory = Memory { failures: memory.failures + 1, away_since, ..memory };
        self.socket = Socket::Waiting { until: now + retry_in, memory };
        self.tell(MeshEvent::ServerAway { why, failure, retry_in });
    }

    fn end_connection(&mut self, reason: DisconnectReason) {
        if self.socket.is_open() {
            self.tell_network(NetworkEvent::Disconnected(reason));
        }
    }

    fn stop(&mut self) {
        self.carrier.close_socket();
        self.socket = Socket::Stopped;
        self.lobby_ended();
    }
}

fn silence_limit(limits: &ServerLimits) -> Duration {
    let marks = Duration::from_millis(u64::from(limits.roster_interval_ms.clamp(100, 60_000)));
    marks * MARKS_MISSED + Duration::from_secs(1)
}

/// Refusals that trying again does not change. Who has been in the room before keeps trying where room may come free.
fn is_final(code: &ErrorCode, has_joined: bool) -> bool {
    match code {
        ErrorCode::RoomFull
        | ErrorCode::ServerFull
        | ErrorCode::RoomMissing
        | ErrorCode::RoomExists
        | ErrorCode::PasswordRequired
        | ErrorCode::PasswordWrong
        | ErrorCode::PasswordWait => !has_joined,
        ErrorCode::BadName
        | ErrorCode::BadRoom
        | ErrorCode::BadMetadata
        | ErrorCode::BadField
        | ErrorCode::BadJson
        | ErrorCode::UnsupportedProtocol => true,
        _ => false,
    }
}

/// Random numbers from a seed, good enough to spread reconnections.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// From 0 to 1 (xorshift64*, Marsaglia 2003 and Vigna 2016).
    fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40;
        bits as f64 / (1u64 << 24) as f64
    }
}
