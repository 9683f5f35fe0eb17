//! One client: its connections, the address that it listens on, its budget, and signs of life.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_common::{AddressKey, TokenBucket};

use crate::frame::Address;
use crate::ids::{LinkNumber, SocketId};
use crate::limits::{Budget, Limits};
use crate::outbox::{Next, Outbox};
use crate::path::Path;

/// The first id of connections that others open. Clients number their own from 1.
const FIRST_INCOMING: i16 = 16_384;

/// Why the server ends a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The client closed it.
    Left,
    /// A message over [`MESSAGE_BYTES`](crate::MESSAGE_BYTES).
    TooLarge,
    /// What it sent is no WebSocket.
    Malformed,
    /// It went on sending more than its budget.
    Flooding,
    /// It did not take one byte for a while, or not the answers to its own requests.
    SlowConsumer,
    /// Nothing came from it for two ping intervals.
    Silent,
    /// The server stops.
    GoingAway,
}

impl EndReason {
    /// The socket takes nothing, or is not there: no close frame is worth waiting for.
    fn is_at_once(self) -> bool {
        match self {
            Self::SlowConsumer | Self::Silent => true,
            Self::Left | Self::TooLarge | Self::Malformed | Self::Flooding | Self::GoingAway => {
                false
            }
        }
    }
}

/// A connection as one of its two sockets has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) number: LinkNumber,
    pub(crate) peer: SocketId,
    /// Its id there.
    pub(crate) peer_connection: i16,
    /// Where the other end comes from, if that end opened it.
    pub(crate) opened_from: Option<AddressKey>,
}

#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) path: Path,
    pub(crate) address: Option<AddressKey>,
    pub(crate) listens_on: Option<Address>,
    /// By id, read as unsigned: as the original, those of the client itself first, then those that
    /// others opened.
    links: BTreeMap<u16, Link>,
    next_incoming: i16,
    pub(crate) outbox: Outbox,
    pub(crate) budget: Budget,
    /// What it has beside its address, if it has one.
    pub(crate) own: Option<Budget>,
    violations: TokenBucket,
    /// What was last said of its outbox.
    pub(crate) counted: usize,
    heard_at: Duration,
    /// When the socket last took a byte, while it does not take all.
    stuck_since: Option<Duration>,
    pinged_at: Duration,
    ping_due: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Open,
    Ending { reason: EndReason, since: Duration },
    Abandoned { reason: EndReason },
}

/// What a socket needs by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// It is to be woken: for a ping, or because it has lingered too long.
    Wake,
    End(EndReason),
}

impl Socket {
    pub(crate) fn new(
        now: Duration,
        path: Path,
        address: Option<AddressKey>,
        own: Option<Budget>,
        limits: &Limits,
    ) -> Self {
        Self {
            path,
            address,
            listens_on: None,
            links: BTreeMap::new(),
            next_incoming: FIRST_INCOMING,
            outbox: Outbox::default(),
            budget: Budget::of_socket(now, limits),
            own,
            violations: TokenBucket::full(now, limits.violations),
            counted: 0,
            heard_at: now,
            stuck_since: None,
            pinged_at: now,
            ping_due: false,
            phase: Phase::Open,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    pub(crate) fn ending(&self) -> Option<EndReason> {
        match self.phase {
            Phase::Open => None,
            Phase::Ending { reason, .. } | Phase::Abandoned { reason } => Some(reason),
        }
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self.phase, Phase::Abandoned { .. })
    }

    /// What waits is dropped, except when the server stops.
    pub(crate) fn end(&mut self, now: Duration, reason: EndReason) {
        self.ping_due = false;
        if reason != EndReason::GoingAway {
            self.outbox.clear();
        }
        self.phase = if reason.is_at_once() {
            Phase::Abandoned { reason }
        } else {
            Phase::Ending { reason, since: now }
        };
    }

    /// Whether its end had begun.
    pub(crate) fn abandon_if_ending(&mut self) -> bool {
        let Some(reason) = self.ending() else { return false };
        self.phase = Phase::Abandoned { reason };
        true
    }

    pub(crate) fn heard(&mut self, now: Duration) {
        self.heard_at = now;
    }

    /// False if its violations are spent.
    pub(crate) fn take_violation(&mut self, now: Duration, limits: &Limits) -> bool {
        self.violations.take(now, limits.violations, 1.0)
    }

    pub(crate) fn next(&mut self) -> Next {
        if self.is_abandoned() {
            return Next::Nothing;
        }
        if std::mem::take(&mut self.ping_due) {
            return Next::Ping;
        }
        self.outbox.take().map_or(Next::Nothing, Next::Message)
    }

    /// A full socket that takes a byte has been read from: a sign of the client, which sees a ping
    /// only behind all of the message that is being written.
    pub(crate) fn wrote(&mut self, now: Duration, took: bool, blocked: bool) {
        if took && self.stuck_since.is_some() {
            self.heard(now);
        }
        if !blocked {
            self.stuck_since = None;
        } else if took || self.stuck_since.is_none() {
            self.stuck_since = Some(now);
        }
    }

    pub(crate) fn check(&mut self, now: Duration, limits: &Limits) -> Due {
        match self.phase {
            Phase::Open => {}
            Phase::Ending { reason, since } if now >= since + limits.linger => {
                self.phase = Phase::Abandoned { reason };
                return Due::Wake;
            }
            Phase::Ending { .. } => return Due::Nothing,
            // Woken again, in case that it is still there.
            Phase::Abandoned { .. } => return Due::Wake,
        }
        if self.stuck_since.is_some_and(|since| now >= since + limits.stuck) {
            return Due::End(EndReason::SlowConsumer);
        }
        if now >= self.heard_at + 2 * limits.ping_interval {
            return Due::End(EndReason::Silent);
        }
        if now >= self.pinged_at + limits.ping_interval {
            self.pinged_at = now;
            self.ping_due = true;
            return Due::Wake;
        }
        Due::Nothing
    }

    /// Never one that is in use.
    pub(crate) fn take_incoming_id(&mut self) -> i16 {
        loop {
            let id = self.next_incoming;
            self.next_incoming = id.checked_add(1).unwrap_or(FIRST_INCOMING);
            if self.link(id).is_none() {
                return id;
            }
        }
    }

    pub(crate) fn link(&self, connection: i16) -> Option<Link> {
        self.links.get(&key(connection)).copied()
    }

    pub(crate) fn add_link(&mut self, connection: i16, link: Link) {
        self.links.insert(key(connection), link);
    }

    pub(crate) fn remove_link(&mut self, connection: i16) -> Option<Link> {
        self.links.remove(&key(connection))
    }

    /// The id of a connection: the first in the order of ids.
    pub(crate) fn first_link(&self) -> Option<i16> {
        self.links.keys().next().map(|key| key.cast_signed())
    }

    pub(crate) fn connection_of(&self, number: LinkNumber) -> Option<i16> {
        let found = self.links.iter().find(|(_, link)| link.number == number);
        found.map(|(key, _)| key.cast_signed())
    }

    pub(crate) fn links(&self) -> usize {
        self.links.len()
    }

    /// Whether one more connection, opened by `peer` at `from`, is within the limits.
    pub(crate) fn takes_link(
        &self,
        peer: SocketId,
        from: Option<AddressKey>,
        limits: &Limits,
    ) -> bool {
        let with_peer = self.links.values().filter(|link| link.peer == peer).count();
        let of_address = self.links.values().filter(|link| link.opened_from == from).count();
        self.links.len() < limits.connections
            && with_peer < limits.connections_of_pair
            && (from.is_none() || of_address < limits.connections_of_address)
            && self.outbox.takes_connections()
    }

    pub(crate) fn put_answer(&mut self, answer: Bytes) -> bool {
        self.outbox.put_answer(answer)
    }
}

fn key(connection: i16) -> u16 {
    connection.cast_unsigned()
}
