//! Token buckets: how much one connection, or one address, may ask of the server.

use std::time::Duration;

/// So much at once, and so much per second after that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// What a rested bucket holds.
    pub burst: f64,
    /// What flows in each second.
    pub per_second: f64,
}

impl Rate {
    const fn new(burst: f64, per_second: f64) -> Self {
        Self { burst, per_second }
    }

    fn times(self, factor: f64) -> Self {
        Self { burst: self.burst * factor, per_second: self.per_second * factor }
    }
}

/// The rates of one connection. A room of 50 in normal use stays below a fifth of each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budgets {
    /// Messages that go to everyone in the room, requests to the server, and WebSocket pings and
    /// pongs. A message counts once, a session packet for everyone once and again for each 512
    /// bytes, a change of metadata (which may be 8 KiB) eight times.
    pub messages: Rate,
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

/// A bucket that begins full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: f64,
    filled_at: Duration,
}

impl Bucket {
    pub(crate) fn full(now: Duration, rate: Rate) -> Self {
        Self { tokens: rate.burst, filled_at: now }
    }

    fn fill(&mut self, now: Duration, rate: Rate) {
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.per_second).min(rate.burst);
        self.filled_at = now.max(self.filled_at);
    }

    /// Takes what was spent already, even if there is less in it: then it holds less than nothing
    /// for a while.
    pub(crate) fn charge(&mut self, amount: f64) {
        self.tokens -= amount;
    }

    /// Whether anything is in it.
    pub(crate) fn has_any(&mut self, now: Duration, rate: Rate) -> bool {
        self.fill(now, rate);
        self.tokens > 0.0
    }

    /// What will be in it at `now`.
    pub(crate) fn has(&self, now: Duration, rate: Rate) -> f64 {
        let mut then = *self;
        then.fill(now, rate);
        then.tokens
    }

    /// Takes `amount`, or nothing.
    pub(crate) fn take(&mut self, now: Duration, rate: Rate, amount: f64) -> bool {
        self.fill(now, rate);
        let enough = self.tokens >= amount;
        if enough {
            self.tokens -= amount;
        }
        enough
    }
}

/// What is about to be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    Message,
    /// A message that is answered with state, of a size that is known afterwards
    /// ([`Budget::charge_answer`]).
    RosterRequest,
    StateRequest {
        bytes: usize,
    },
    MetadataUpdate,
    Signal {
        bytes: usize,
    },
    Broadcast {
        bytes: usize,
    },
    Packet {
        copies: usize,
        bytes: usize,
    },
}

/// The buckets of one connection or one address.
#[derive(Debug)]
pub struct Budget {
    messages: Bucket,
    answers: Bucket,
    signals: Bucket,
    copies: Bucket,
    bytes: Bucket,
    rates: SpentRates,
}

#[derive(Clone, Copy, Debug)]
struct SpentRates {
    messages: Rate,
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
            answers: budgets.answers.times(factor),
            signals: budgets.signals.times(factor),
            copies: budgets.copies.times(factor),
            bytes: budgets.bytes.times(factor),
        };
        Self {
            messages: Bucket::full(now, rates.messages),
            answers: Bucket::full(now, rates.answers),
            signals: Bucket::full(now, rates.signals),
            copies: Bucket::full(now, rates.copies),
            bytes: Bucket::full(now, rates.bytes),
            rates,
        }
    }

    /// State was sent in answer to a request.
    pub(crate) fn charge_answer(&mut self, bytes: usize) {
        self.answers.charge(bytes as f64);
    }

    pub(crate) fn spend(&mut self, now: Duration, cost: Cost) -> bool {
        let rates = self.rates;
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = Rate::new(3.0, 2.0);
        let mut bucket = Bucket::full(Duration::ZERO, rate);
        let mut take = |ms| bucket.take(Duration::from_millis(ms), rate, 1.0);
        assert!(take(0) && take(0) && take(0));
        assert!(!take(0) && !take(499));
        assert!(take(500) && !take(500));
        assert!(
            take(60_000) && take(60_000) && take(60_000) && !take(60_000),
            "it holds no more than its burst"
        );
    }

    #[test]
    fn a_bucket_that_was_overcharged_gives_nothing_until_it_is_filled_again() {
        let rate = Rate::new(10.0, 2.0);
        let mut bucket = Bucket::full(Duration::ZERO, rate);
        assert!(bucket.has_any(Duration::ZERO, rate));
        bucket.charge(14.0);
        assert!(!bucket.has_any(Duration::from_millis(1_990), rate));
        assert!(bucket.has_any(Duration::from_millis(2_010), rate));
    }

    #[test]
    fn time_that_goes_backwards_fills_nothing() {
        let rate = Rate::new(1.0, 1.0);
        let mut bucket = Bucket::full(Duration::from_secs(10), rate);
        assert!(bucket.take(Duration::from_secs(10), rate, 1.0));
        assert!(!bucket.take(Duration::from_secs(5), rate, 1.0));
        assert!(!bucket.take(Duration::from_secs(10), rate, 1.0));
        assert!(bucket.take(Duration::from_secs(11), rate, 1.0));
    }

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
}
