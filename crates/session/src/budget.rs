//! How much one connection, or one address, may ask of a session's server.
//!
//! A room's server charges before a packet reaches the session (crate `voicemesh-rooms`), and limits
//! each pair of members beside it. Where there is none, the session's server charges by itself
//! ([`ServerConfig::budgets`](crate::ServerConfig::budgets)).

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_common::{Rate, TokenBucket};
use voicemesh_wire::packet::{self, Kind, Relay, Routing};

/// What goes to everyone is more than a crowd behind one address needs if each of them sends all
/// that one may.
const BROADCAST_FACTOR: f64 = 8.0;

/// The rates of one connection. A room of 50 in normal use stays below a fifth of each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budgets {
    /// Messages that go to everyone in the room, requests to the server, and WebSocket pings and
    /// pongs. A message counts once, a session packet for everyone once and again for each 512
    /// bytes, a change of metadata (which may be 8 KiB) eight times.
    pub messages: Rate,
    /// Bytes of session packets that go to everyone in the room: what a member listens to, and what
    /// it writes. For one connection the messages are fewer; an address has this rate
    /// eight times over.
    pub broadcasts: Rate,
    /// Bytes of rosters and of session state that a connection asks for. One answer is given when
    /// any are left.
    pub answers: Rate,
    /// Signals. After a restart, everyone in a room of 50 sends about a dozen to each of the others
    /// within seconds.
    pub signals: Rate,
    /// Copies of packets that leave the server. A speaker in a room of 50 needs 2,450 a second with
    /// 20 ms frames.
    pub copies: Rate,
    /// Bytes that leave the server, relayed packets and signals together.
    pub bytes: Rate,
    /// What is over the budget, has no effect or cannot be decoded is dropped, and this many drops
    /// end the connection.
    pub violations: Rate,
    /// An address has each of these rates so many times over, for all its connections together.
    pub address_factor: f64,
    /// Joins of one address.
    pub address_joins: Rate,
    /// Connections of one address at a time.
    pub address_connections: usize,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            messages: Rate::new(200.0, 20.0),
            broadcasts: Rate::new(128.0 * 1024.0, 16.0 * 1024.0),
            answers: Rate::new(1024.0 * 1024.0, 128.0 * 1024.0),
            signals: Rate::new(4_000.0, 400.0),
            copies: Rate::new(50_000.0, 25_000.0),
            bytes: Rate::new(8e6, 4e6),
            violations: Rate::new(200.0, 10.0),
            address_factor: 32.0,
            address_joins: Rate::new(200.0, 4.0),
            address_connections: 512,
        }
    }
}

/// What is about to be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// A message that changes nothing for others.
    Message,
    /// A message that is answered with state, of a size that is known afterwards
    /// ([`Budget::charge_answer`]).
    RosterRequest,
    /// A handshake, which is answered with state as well.
    StateRequest {
        /// Of the request, which others may learn of.
        bytes: usize,
    },
    /// A change that everyone in the room is sent.
    MetadataUpdate,
    /// A signal for one other member.
    Signal {
        /// Its size.
        bytes: usize,
    },
    /// What everyone in the room is sent.
    Broadcast {
        /// Its size.
        bytes: usize,
    },
    /// What is passed on, and lost where a receiver is behind.
    Packet {
        /// Receivers that it names.
        copies: usize,
        /// The size of a copy.
        bytes: usize,
    },
    /// What is passed on, and waits for a receiver that is behind: to each of them it is as scarce
    /// as what goes to everyone.
    Kept {
        /// Receivers that it names.
        copies: usize,
        /// The size of a copy.
        bytes: usize,
    },
}

impl Cost {
    /// What a packet makes the server do: copies for those whom a relay packet lists, a copy for
    /// everyone of what changes the session or is written, and nothing of what it will drop.
    pub fn of_packet(packet: &[u8]) -> Self {
        let bytes = packet.len();
        let one = Self::Packet { copies: 1, bytes };
        let Ok((header, body)) = packet::open(packet) else { return one };
        if packet::is_written(packet) {
            return Self::Broadcast { bytes };
        }
        match header.kind {
            Kind::ServerRelayReliable | Kind::ServerRelayUnreliable => {
                let copies = body.first().map_or(1, |count| usize::from(*count).max(1));
                Self::Packet { copies, bytes }
            }
            Kind::HandshakeRequest => Self::StateRequest { bytes },
            Kind::ClientState | Kind::DeltaClientState => Self::Broadcast { bytes },
            Kind::HandshakeResponse
            | Kind::ErrorWrongSession
            | Kind::RemoveClient
            | Kind::HandshakeP2P
            | Kind::VoiceData
            | Kind::VoiceAck
            | Kind::Probe
            | Kind::ProbeEcho
            | Kind::VoiceCopies
            | Kind::ReceptionReport
            | Kind::ClockProbe
            | Kind::ClockEcho
            | Kind::DataSegment
            | Kind::DataAck
            | Kind::DataMessage
            | Kind::DataReset
            | Kind::BandwidthProbe
            | Kind::BandwidthReport
            | Kind::KeyPackage
            | Kind::KeyRequest
            | Kind::TextData
            | Kind::GroupText
            | Kind::SealedText
            | Kind::Unassigned(_) => one,
        }
    }

    /// The same where nothing else limits what one member sends to another, and whether the packet
    /// may be lost: speech, the game's own bytes, and a handshake, which its client repeats.
    pub(crate) fn without_pairs(packet: &[u8]) -> (Self, bool) {
        let cost = Self::of_packet(packet);
        let Ok((header, body)) = packet::open(packet) else { return (cost, true) };
        if packet::is_written_to_one(packet) {
            // Each member tells its name so to each that comes, and does not choose how many those
            // are.
            return (Self::Kept { copies: 1, bytes: packet.len() }, false);
        }
        match header.kind {
            // One for each group, of which a border between cells has many.
            Kind::DeltaClientState => (Self::Kept { copies: 1, bytes: packet.len() }, false),
            Kind::ServerRelayReliable => {
                let inside = Relay::decode(body).and_then(|relay| Routing::read(relay.packet));
                match (inside.is_ok_and(|inside| inside.kind.is_data()), cost) {
                    (true, cost) => (cost, true),
                    (false, Self::Packet { copies, bytes }) => {
                        (Self::Kept { copies, bytes }, false)
                    }
                    (false, cost) => (cost, false),
                }
            }
            Kind::ClientState | Kind::TextData | Kind::GroupText => (cost, false),
            _ => (cost, true),
        }
    }
}

/// The buckets of one connection or one address.
#[derive(Debug)]
pub struct Budget {
    messages: TokenBucket,
    broadcasts: TokenBucket,
    answers: TokenBucket,
    signals: TokenBucket,
    copies: TokenBucket,
    bytes: TokenBucket,
    rates: SpentRates,
}

#[derive(Clone, Copy, Debug)]
struct SpentRates {
    messages: Rate,
    broadcasts: Rate,
    answers: Rate,
    signals: Rate,
    copies: Rate,
    bytes: Rate,
}

impl Budget {
    /// What one connection has.
    pub fn of_connection(now: Duration, budgets: &Budgets) -> Self {
        Self::with_factor(now, budgets, 1.0)
    }

    /// What all connections of one address have together.
    pub fn of_address(now: Duration, budgets: &Budgets) -> Self {
        Self::with_factor(now, budgets, budgets.address_factor)
    }

    fn with_factor(now: Duration, budgets: &Budgets, factor: f64) -> Self {
        let rates = SpentRates {
            messages: budgets.messages.times(factor),
            broadcasts: budgets.broadcasts.times(factor.min(BROADCAST_FACTOR)),
            answers: budgets.answers.times(factor),
            signals: budgets.signals.times(factor),
            copies: budgets.copies.times(factor),
            bytes: budgets.bytes.times(factor),
        };
        Self {
            messages: TokenBucket::full(now, rates.messages),
            broadcasts: TokenBucket::full(now, rates.broadcasts),
            answers: TokenBucket::full(now, rates.answers),
            signals: TokenBucket::full(now, rates.signals),
            copies: TokenBucket::full(now, rates.copies),
            bytes: TokenBucket::full(now, rates.bytes),
            rates,
        }
    }

    /// State was sent in answer to a request.
    pub fn charge_answer(&mut self, bytes: usize) {
        self.answers.charge(bytes as f64);
    }

    /// Takes what this costs, or refuses it.
    pub fn spend(&mut self, now: Duration, cost: Cost) -> bool {
        self.spend_among(now, cost, 1.0)
    }

    /// The same in a session so many times as large as a room: what is sent may be as much more.
    pub(crate) fn spend_among(&mut self, now: Duration, cost: Cost, factor: f64) -> bool {
        let rates = SpentRates {
            messages: self.rates.messages.times(factor),
            broadcasts: self.rates.broadcasts.times(factor),
            copies: self.rates.copies.times(factor),
            bytes: self.rates.bytes.times(factor),
            ..self.rates
        };
        match cost {
            Cost::Message => self.messages.take(now, rates.messages, 1.0),
            Cost::MetadataUpdate => self.messages.take(now, rates.messages, 8.0),
            Cost::RosterRequest => {
                self.answers.has_any(now, rates.answers)
                    && self.messages.take(now, rates.messages, 1.0)
            }
            Cost::StateRequest { bytes } => {
                self.answers.has_any(now, rates.answers)
                    && self.spend(now, Cost::Broadcast { bytes })
            }
            Cost::Broadcast { bytes } => {
                self.messages.take(now, rates.messages, 1.0 + (bytes / 512) as f64)
                    && self.broadcasts.take(now, rates.broadcasts, bytes as f64)
            }
            Cost::Signal { bytes } => {
                self.signals.take(now, rates.signals, 1.0)
                    && self.bytes.take(now, rates.bytes, bytes as f64)
            }
            Cost::Packet { copies, bytes } => {
                let copies = copies as f64;
                self.copies.take(now, rates.copies, copies)
                    && self.bytes.take(now, rates.bytes, copies * bytes as f64)
            }
            Cost::Kept { copies, bytes } => {
                self.broadcasts.take(now, rates.broadcasts, bytes as f64)
                    && self.spend_among(now, Cost::Packet { copies, bytes }, factor)
            }
        }
    }
}

/// By then a budget is full again, however much of it was spent.
const REFILLED_AFTER: Duration = Duration::from_secs(10);
/// Budgets of connections that have ended; when there are more, the oldest is forgotten.
const KEPT: usize = 1024;

/// What connections had left as they ended, until that would be full again. Who comes back within
/// that time goes on with it, and does not begin with another.
#[derive(Debug, Default)]
pub(crate) struct KeptBudgets(VecDeque<KeptBudget>);

#[derive(Debug)]
struct KeptBudget {
    origin: u64,
    at: Duration,
    budget: Budget,
}

impl KeptBudgets {
    /// A connection of this origin has ended.
    pub(crate) fn put(&mut self, now: Duration, origin: u64, budget: Budget) {
        self.forget_full(now);
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(KeptBudget { origin, at: now, budget });
    }

    /// What one of this origin has left, for the next connection of it.
    pub(crate) fn take(&mut self, now: Duration, origin: u64) -> Option<Budget> {
        self.forget_full(now);
        let at = self.0.iter().position(|kept| kept.origin == origin)?;
        self.0.remove(at).map(|kept| kept.budget)
    }

    fn forget_full(&mut self, now: Duration) {
        while self.0.front().is_some_and(|kept| now >= kept.at + REFILLED_AFTER) {
            self.0.pop_front();
        }
    }
}

/// Budgets are for a room of so many.
const MEMBERS: usize = 64;

/// How many times as large as a room a session of so many clients is.
pub(crate) fn factor_of(clients: usize) -> f64 {
    (clients as f64 / MEMBERS as f64).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_of_fifty_stays_within_its_budget() {
        let budgets = Budgets::default();
        let mut budget = Budget::of_connection(Duration::ZERO, &budgets);
        // Everyone comes back at once: fifteen signals to each of the others within two seconds.
        for number in 0..49 * 15 {
            let now = Duration::from_micros(number * 2_700);
            assert!(budget.spend(now, Cost::Signal { bytes: 600 }), "signal {number}");
        }
        // Then a minute of uninterrupted speech in 10 ms frames, every frame sent twice.
        for number in 0..60 * 200 {
            let now = Duration::from_secs(2) + Duration::from_millis(number * 5);
            assert!(budget.spend(now, Cost::Packet { copies: 49, bytes: 150 }), "packet {number}");
        }
    }

    #[test]
    fn a_budget_that_is_kept_no_longer_was_full_again() {
        let Budgets { messages, broadcasts, answers, signals, copies, bytes, .. } =
            Budgets::default();
        for rate in [messages, broadcasts, answers, signals, copies, bytes] {
            assert!(rate.burst / rate.per_second <= REFILLED_AFTER.as_secs_f64(), "{rate:?}");
        }
        let mut kept = KeptBudgets::default();
        let full = || Budget::of_connection(Duration::ZERO, &Budgets::default());
        for origin in 0..=KEPT as u64 {
            kept.put(Duration::ZERO, origin, full());
        }
        assert!(kept.take(Duration::ZERO, 0).is_none(), "more than are kept");
        assert!(kept.take(Duration::ZERO, 1).is_some());
        assert!(kept.take(Duration::ZERO, 1).is_none(), "once");
        assert!(kept.take(REFILLED_AFTER, 2).is_none());
        assert_eq!(kept.0.len(), 0);
    }

    /// Sixteen kilobytes of groups again and again, by so many connections of one address.
    #[test]
    fn what_goes_to_everyone_is_bounded_in_bytes_for_an_address() {
        let budgets = Budgets::default();
        let taken = |budget: &mut Budget, seconds: u64| {
            let times = (0..1_000 * seconds).map(Duration::from_millis);
            times.filter(|now| budget.spend(*now, Cost::Broadcast { bytes: 16_000 })).count()
        };
        let one = taken(&mut Budget::of_connection(Duration::ZERO, &budgets), 10);
        assert_eq!(one, 12, "by its messages");
        let all = taken(&mut Budget::of_address(Duration::ZERO, &budgets), 10);
        assert!((130..=150).contains(&all), "{all}");
    }
}
