//! A member of a room as a client of today is one: it joins, speaks by the relay, asks whether the
//! connection carries anything, and comes back when it is sent away or its connection ends.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_cluster::Epoch;
use voicemesh_rooms::ConnectionId;
use voicemesh_wire::identity::IdentityProof;
use voicemesh_wire::packet::{self, CodecSettings, HandshakeRequest, Kind, Probe, Relay};
use voicemesh_wire::signaling::{
    Capabilities, ClientMessage, Join, MemberStatus, Metadata, PROTOCOL_VERSION, Password,
    Presence, ServerMessage, decode_server,
};
use voicemesh_wire::{ClientId, PeerId, SessionId};

/// How long a client waits at most before it comes back for the first time, …
const FIRST_RETRY: Duration = Duration::from_millis(1_500);
/// … and after further failures, twice as long each time.
const NEXT_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// A connection that brings nothing for this long is given up.
const SILENCE: Duration = Duration::from_secs(12);
/// One that was not answered, …
const JOIN_LIMIT: Duration = Duration::from_secs(8);

/// What goes over a connection, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Text(String),
    Packet(Bytes),
}

pub struct Member {
    pub number: usize,
    pub room: String,
    pub proof: IdentityProof,
    pub password: Option<Password>,
    /// What it publishes.
    pub metadata: Metadata,
    /// It would be in the room.
    pub wants: bool,
    pub state: State,
    failures: u32,
    spoken: u32,
    /// The highest epoch of which it took anything.
    pub epoch: Epoch,
    /// When it was last answered, or received speech.
    pub served_at: Option<Duration>,
    /// When it last heard each of the others.
    pub heard: BTreeMap<PeerId, Duration>,
    /// How often its connection ended although it wanted to be there.
    pub interruptions: u32,
    /// It reads nothing until then.
    pub reads_from: Duration,
    pub refusals: Vec<String>,
}

pub enum State {
    Away { until: Duration },
    On(Connection),
}

pub struct Connection {
    pub node: usize,
    pub id: ConnectionId,
    opened_at: Duration,
    heard_at: Duration,
    pub joined: Option<Joined>,
}

pub struct Joined {
    pub session: SessionId,
    pub client: ClientId,
    pub others: BTreeMap<PeerId, ClientId>,
    /// The bytes of the answer to its join.
    pub answer_bytes: usize,
}

/// What a member has received that shows a session.
pub struct Shown {
    pub session: u32,
    /// In this session it is known as …
    pub client: Option<ClientId>,
    pub is_second_join: bool,
}

impl Member {
    pub fn new(number: usize, room: &str) -> Self {
        Self {
            number,
            room: room.to_owned(),
            proof: IdentityProof([number as u8 + 1; 32]),
            password: None,
            metadata: Metadata::new(),
            wants: true,
            state: State::Away { until: Duration::ZERO },
            failures: 0,
            spoken: 0,
            epoch: Epoch(0),
            served_at: None,
            heard: BTreeMap::new(),
            interruptions: 0,
            reads_from: Duration::ZERO,
            refusals: Vec::new(),
        }
    }

    pub fn peer(&self) -> PeerId {
        self.proof.peer_id()
    }

    pub fn joined(&self) -> Option<&Joined> {
        match &self.state {
            State::On(connection) => connection.joined.as_ref(),
            State::Away { .. } => None,
        }
    }

    pub fn connection(&self) -> Option<&Connection> {
        match &self.state {
            State::On(connection) => Some(connection),
            State::Away { .. } => None,
        }
    }

    pub fn is_due(&self, now: Duration) -> bool {
        self.wants && matches!(self.state, State::Away { until } if now >= until)
    }

    /// A connection is open: the join and the handshake go back to back.
    pub fn opened(&mut self, now: Duration, node: usize, id: ConnectionId) -> Vec<Said> {
        self.state =
            State::On(Connection { node, id, opened_at: now, heard_at: now, joined: None });
        let join = Join {
            protocol: PROTOCOL_VERSION,
            room: self.room.clone(),
            name: format!("member {}", self.number),
            proof: self.proof,
            run: 1,
            capabilities: Capabilities { data: true, ..Capabilities::default() },
            metadata: self.metadata.clone(),
            status: MemberStatus::default(),
            presence: Presence::Either,
            password: self.password.clone(),
            room_metadata: Metadata::new(),
            token: None,
            ticket: None,
        };
        let codec = CodecSettings {
            codec: CodecSettings::OPUS,
            frame_samples: 960,
            sample_rate_hz: 48_000,
        };
        let handshake = HandshakeRequest { codec, name: "member".into() };
        vec![
            Said::Text(ClientMessage::Join(join).to_json()),
            Said::Packet(handshake.encode().into()),
        ]
    }

    /// What it says by itself; `None` if it gives its connection up.
    pub fn act(&mut self, now: Duration) -> Option<Vec<Said>> {
        let State::On(connection) = &self.state else { return Some(Vec::new()) };
        if now > connection.heard_at + SILENCE {
            return None;
        }
        let Some(joined) = &connection.joined else {
            return (now <= connection.opened_at + JOIN_LIMIT).then(Vec::new);
        };
        self.spoken += 1;
        let mut said = Vec::new();
        if self.spoken.is_multiple_of(2) {
            said.push(Said::Text(ClientMessage::Ping { token: self.spoken }.to_json()));
        }
        let destinations: Vec<ClientId> = joined.others.values().copied().collect();
        if !destinations.is_empty() {
            // The server reads no more of speech than whose it is.
            let mut speech =
                Probe { sender: joined.client, token: self.spoken }.encode(joined.session);
            speech[2] = Kind::VoiceData.number();
            let mut packet = Vec::new();
            let kind = Kind::ServerRelayUnreliable;
            Relay::encode_packet(kind, joined.session, &destinations, &speech, &mut packet);
            said.push(Said::Packet(packet.into()));
        }
        Some(said)
    }

    /// Takes what came. Gives the session that it shows.
    pub fn take(&mut self, now: Duration, said: &Said) -> Option<Shown> {
        let State::On(connection) = &mut self.state else { return None };
        connection.heard_at = now;
        match said {
            Said::Text(text) => {
                let message = decode_server(text).unwrap_or_else(|why| panic!("{text}: {why}"));
                match message {
                    ServerMessage::Joined(joined) => {
                        let session = SessionId::new(joined.session).expect("never 0");
                        let shown = Shown {
                            session: joined.session,
                            client: Some(joined.client),
                            is_second_join: connection.joined.is_some(),
                        };
                        let others =
                            joined.peers.iter().map(|info| (info.peer, info.client)).collect();
                        let (client, answer_bytes) = (joined.client, text.len());
                        connection.joined = Some(Joined { session, client, others, answer_bytes });
                        self.failures = 0;
                        return Some(shown);
                    }
                    ServerMessage::PeerJoined { peer } => {
                        if let Some(joined) = &mut connection.joined {
                            joined.others.insert(peer.peer, peer.client);
                        }
                    }
                    ServerMessage::PeerLeft { peer, .. } => {
                        if let Some(joined) = &mut connection.joined {
                            joined.others.remove(&peer);
                        }
                    }
                    ServerMessage::Pong { .. } => self.served_at = Some(now),
                    ServerMessage::Error { code, .. } => self.refusals.push(code.to_string()),
                    _ => {}
                }
                None
            }
            Said::Packet(packet) => {
                let (header, body) = packet::open(packet).expect("only packets are sent");
                if header.kind == Kind::VoiceData
                    && let Ok(probe) = Probe::decode(body)
                {
                    self.served_at = Some(now);
                    let others = connection.joined.iter().flat_map(|joined| &joined.others);
                    let found = others.into_iter().find(|(_, client)| **client == probe.sender);
                    if let Some((peer, _)) = found {
                        self.heard.insert(*peer, now);
                    }
                }
                let session = header.session?;
                Some(Shown { session, client: None, is_second_join: false })
            }
        }
    }

    /// Its connection is gone.
    pub fn closed(&mut self, now: Duration, random: &mut fastrand::Rng) {
        if matches!(self.state, State::On(_)) {
            self.interruptions += u32::from(self.wants && self.joined().is_some());
            let wait = match self.failures {
                0 => FIRST_RETRY.mul_f64(random.f64()),
                failures => (NEXT_RETRY * (1 << failures.min(8))).min(LONGEST_RETRY),
            };
            self.failures += 1;
            self.state = State::Away { until: now + wait };
        }
    }
}
