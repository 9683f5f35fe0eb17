//! The phases of the connection to the signaling server.

use std::time::Duration;

use voicemesh_wire::SessionId;
use voicemesh_wire::signaling::PeerInfo;

use crate::liveness::Liveness;

/// The answer to a join is to be whole by then: a megabyte comes by a path of 5 kB/s in 200 s.
pub(super) const JOIN_LIMIT_IN_ALL: Duration = Duration::from_secs(300);

/// Where the WebSocket is.
#[derive(Debug)]
pub(super) enum ConnectionState {
    /// It is not wanted.
    Stopped,
    /// It will be opened then.
    Waiting { until: Duration, memory: ReconnectState },
    /// It is being opened.
    Opening { since: Duration, memory: ReconnectState },
    /// It is open, and the join is sent. `heard_at`: when a part of the answer came last, or it was
    /// sent.
    Joining { since: Duration, heard_at: Duration, memory: ReconnectState },
    /// The server has let this peer in.
    Joined {
        liveness: Box<Liveness>,
        silence_limit: Duration,
        you: Box<PeerInfo>,
        session: SessionId,
        memory: ReconnectState,
    },
}

/// What lives longer than one socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReconnectState {
    pub(super) generation: u32,
    pub(super) failures: u32,
    pub(super) has_joined: bool,
    pub(super) away_since: Duration,
}

impl ConnectionState {
    pub(super) fn waiting(now: Duration) -> Self {
        let memory =
            ReconnectState { generation: 0, failures: 0, has_joined: false, away_since: now };
        Self::Waiting { until: now, memory }
    }

    pub(super) fn memory(&self) -> Option<ReconnectState> {
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
            Self::Opening { memory, .. }
            | Self::Joining { memory, .. }
            | Self::Joined { memory, .. } => Some(memory.generation),
        }
    }

    /// The machine has another network: a retry that waits begins at once.
    pub(super) fn reconnect_now(&mut self, now: Duration) {
        if let Self::Waiting { until, .. } = self {
            *until = now;
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
            Self::Waiting { memory, .. }
            | Self::Opening { memory, .. }
            | Self::Joining { memory, .. } => Some(memory.away_since),
        }
    }
}
