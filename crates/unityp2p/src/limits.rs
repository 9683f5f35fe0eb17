//! What one socket, one address and all of them may have.

use std::time::Duration;

use voicemesh_common::{Most, Rate, TokenBucket};

/// How much may be asked of the server. A client of a call opens one socket, connects once and
/// sends some dozens of messages of a few kilobytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// WebSocket messages of any kind, pings and pongs included.
    pub messages: Rate,
    /// Their bytes. A burst holds several messages of the largest size; the rate is for signaling
    /// and not for a relay.
    pub bytes: Rate,
    /// Connections made between two sockets: a connect that succeeds makes one, a listen on a
    /// shared address one to each that listens there, and one more.
    pub introductions: Rate,
    /// Messages over a budget draw on this; when it is spent, the socket ends.
    pub violations: Rate,
    /// What all sockets of an address share, for messages beyond those that each has for itself.
    pub address_messages: Rate,
    /// The same for bytes.
    pub address_bytes: Rate,
    /// The same for introductions. A listener reads the events of all of them.
    pub address_introductions: Rate,
    /// Messages that a socket has for itself, whatever others of its address spend.
    pub own_messages: Rate,
    /// The same for bytes.
    pub own_bytes: Rate,
    /// The same for introductions.
    pub own_introductions: Rate,
    /// New sockets of an address that have all of that at once. Further ones begin with none of it,
    /// so that opening sockets again and again is no way around what the address has.
    pub address_openings: Rate,
    /// Connections of one socket at a time.
    pub connections: usize,
    /// Of those that others opened, the most from one address.
    pub connections_of_address: usize,
    /// Connections between the same two sockets.
    pub connections_of_pair: usize,
    /// Sockets that listen on one shared address.
    pub listeners: usize,
    /// Time between two pings; a socket from which nothing came for two of them is gone.
    pub ping_interval: Duration,
    /// A socket that has not taken one byte of what waits for this time is gone.
    pub stuck: Duration,
    /// After its close frame has been queued, a socket has this long to go.
    pub linger: Duration,
    /// What waits for sockets, of one address and of all, with the memory that each answer, event
    /// and message takes beside its bytes. Up to 64 KiB for one socket are not counted.
    pub waiting: Most,
}

/// What may wait for one socket without being counted for its address.
pub(crate) const UNCOUNTED_BYTES: usize = 64 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages: Rate::new(4_000.0, 400.0),
            bytes: Rate::new(8e6, 64e3),
            introductions: Rate::new(512.0, 32.0),
            violations: Rate::new(200.0, 10.0),
            address_messages: Rate::new(128_000.0, 12_800.0),
            address_bytes: Rate::new(64e6, 1e6),
            address_introductions: Rate::new(4_096.0, 256.0),
            own_messages: Rate::new(400.0, 20.0),
            own_bytes: Rate::new(64e3, 2e3),
            own_introductions: Rate::new(8.0, 0.1),
            address_openings: Rate::new(512.0, 4.0),
            connections: 1_024,
            connections_of_address: 256,
            connections_of_pair: 8,
            listeners: 256,
            ping_interval: Duration::from_secs(30),
            stuck: Duration::from_secs(10),
            linger: Duration::from_secs(2),
            waiting: Most { of_address: 16 * 1024 * 1024, of_all: 64 * 1024 * 1024 },
        }
    }
}

/// The buckets of one socket or one address.
#[derive(Debug)]
pub(crate) struct Budget {
    rates: [Rate; 3],
    messages: TokenBucket,
    bytes: TokenBucket,
    introductions: TokenBucket,
}

impl Budget {
    pub(crate) fn of_socket(now: Duration, limits: &Limits) -> Self {
        Self::new(now, [limits.messages, limits.bytes, limits.introductions])
    }

    pub(crate) fn of_address(now: Duration, limits: &Limits) -> Self {
        let Limits { address_messages, address_bytes, address_introductions, .. } = *limits;
        Self::new(now, [address_messages, address_bytes, address_introductions])
    }

    /// What one socket has for itself, beside what its address has.
    pub(crate) fn own(now: Duration, limits: &Limits) -> Self {
        Self::new(now, [limits.own_messages, limits.own_bytes, limits.own_introductions])
    }

    pub(crate) fn emptied(mut self) -> Self {
        let [messages, bytes, introductions] = self.rates.map(|rate| rate.burst);
        self.messages.charge(messages);
        self.bytes.charge(bytes);
        self.introductions.charge(introductions);
        self
    }

    fn new(now: Duration, rates: [Rate; 3]) -> Self {
        let [messages, bytes, introductions] = rates.map(|rate| TokenBucket::full(now, rate));
        Self { rates, messages, bytes, introductions }
    }

    /// A message of this length. The last one may be longer than what is left.
    pub(crate) fn take_message(&mut self, now: Duration, bytes: usize) -> bool {
        let [of_messages, of_bytes, _] = self.rates;
        self.bytes.has_any(now, of_bytes) && self.messages.take(now, of_messages, 1.0) && {
            self.bytes.charge(bytes as f64);
            true
        }
    }

    /// The same, if all of it is left.
    pub(crate) fn take_whole_message(&mut self, now: Duration, bytes: usize) -> bool {
        let [_, of_bytes, _] = self.rates;
        self.bytes.tokens_at(now, of_bytes) >= bytes as f64 && self.take_message(now, bytes)
    }

    pub(crate) fn has_introductions(&mut self, now: Duration, count: usize) -> bool {
        self.introductions.fill(now, self.rates[2]);
        self.introductions.tokens() >= count as f64
    }

    pub(crate) fn take_introductions(&mut self, now: Duration, count: usize) -> bool {
        self.has_introductions(now, count) && {
            self.charge_introductions(count);
            true
        }
    }

    pub(crate) fn charge_introductions(&mut self, count: usize) {
        self.introductions.charge(count as f64);
    }
}
