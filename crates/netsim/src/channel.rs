//! One direction of one stream of packets.

use std::fmt;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Schedule;
use crate::conditions::{Conditions, chance};

/// Packets on their way. When there are more, an unreliable one is lost, and a reliable one
/// refused.
const IN_FLIGHT: usize = 8192;
/// With a rate limit, for how long packets wait to leave. What would wait longer is lost, or
/// refused when reliable.
const LONGEST_WAIT_TO_LEAVE: Duration = Duration::from_secs(2);
/// The least time after which a lost reliable packet is sent again; doubled with each loss of the
/// same packet.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(200);
/// A reliable packet arrives at the latest with this attempt.
const ATTEMPTS: u32 = 8;

/// Whether packets may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Each packet arrives once and in order; what the conditions lose is sent again and arrives
    /// later, and all that was sent after it waits for it.
    Reliable,
    /// Packets are lost, doubled and reordered as the conditions say.
    Unreliable,
}

/// Whether a channel carries anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It does.
    #[default]
    Open,
    /// It silently does not: unreliable packets vanish, reliable ones wait until it is open again.
    Stalled,
    /// It is no connection any more: what was on its way is gone, and reliable sends are refused.
    Cut,
}

/// A packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelSendError {
    /// The channel is cut.
    Cut,
    /// More reliable packets are on their way than the channel holds: the sender must give the
    /// connection up.
    Full,
}

impl fmt::Display for ChannelSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "the channel is cut",
            Self::Full => "too many packets are on their way",
        })
    }
}

impl std::error::Error for ChannelSendError {}

/// What has happened to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given to [`Channel::send`] and taken.
    pub sent: u64,
    /// Lost to the conditions, a stall or a cut; in reliable mode, attempts that had to be
    /// repeated, and what was on its way when the channel was cut.
    pub lost: u64,
    /// Lost because the channel was full.
    pub overflowed: u64,
    /// Given out by [`Channel::poll`], doubles included.
    pub delivered: u64,
}

/// One direction of one stream of packets.
#[derive(Debug)]
pub struct Channel<T> {
    mode: Mode,
    conditions: Conditions,
    state: State,
    rng: ChaCha8Rng,
    is_bad: bool,
    leaves_at: Duration,
    last_arrival: Duration,
    in_flight: Schedule<T>,
    counts: Counts,
}

impl<T: Clone> Channel<T> {
    /// An open channel. Pipes of one simulation share its seed and differ in `stream`.
    pub fn new(mode: Mode, conditions: Conditions, seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self {
            mode,
            conditions,
            state: State::Open,
            rng,
            is_bad: false,
            leaves_at: Duration::ZERO,
            last_arrival: Duration::ZERO,
            in_flight: Schedule::default(),
            counts: Counts::default(),
        }
    }

    /// Sends one packet of so many bytes. An error is for reliable packets only: an unreliable one
    /// is simply lost.
    pub fn send(
        &mut self,
        now: Duration,
        bytes: usize,
        payload: T,
    ) -> Result<(), ChannelSendError> {
        match self.mode {
            Mode::Reliable => self.send_reliable(now, bytes, payload),
            Mode::Unreliable => {
                self.send_unreliable(now, bytes, payload);
                Ok(())
            }
        }
    }

    /// The next packet that has arrived.
    pub fn poll(&mut self, now: Duration) -> Option<T> {
        // `None` also while nothing moves.
        self.next_at()?;
        let arrived = self.in_flight.pop(now)?;
        self.counts.delivered += 1;
        Some(arrived)
    }

    /// When the next packet arrives. `None` while nothing is on its way, or nothing moves.
    pub fn next_at(&self) -> Option<Duration> {
        match self.state {
            State::Open => self.in_flight.next_at(),
            State::Stalled | State::Cut => None,
        }
    }

    /// Changes what happens to packets sent from now on.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// Changes whether the channel carries anything. A channel that is opened after a cut is a new
    /// connection.
    pub fn set_state(&mut self, now: Duration, state: State) {
        let loses_all = match (self.mode, state) {
            (_, State::Cut) | (Mode::Unreliable, State::Stalled) => true,
            (_, State::Open) | (Mode::Reliable, State::Stalled) => false,
        };
        if loses_all {
            self.counts.lost += self.in_flight.len() as u64;
            self.in_flight.clear();
        }
        if self.state == State::Cut && state == State::Open {
            self.leaves_at = now;
            self.last_arrival = now;
            self.is_bad = false;
        }
        self.state = state;
    }

    /// Whether it carries anything.
    pub fn state(&self) -> State {
        self.state
    }

    /// Packets that are on their way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// What has happened to packets so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn send_reliable(
        &mut self,
        now: Duration,
        bytes: usize,
        payload: T,
    ) -> Result<(), ChannelSendError> {
        if self.state == State::Cut {
            return Err(ChannelSendError::Cut);
        }
        let Some(left_at) = self.leave(now, bytes).filter(|_| self.in_flight.len() < IN_FLIGHT)
        else {
            self.counts.overflowed += 1;
            return Err(ChannelSendError::Full);
        };
        self.counts.sent += 1;
        let mut again_after = RETRANSMIT_AFTER.max(2 * self.conditions.latency);
        let mut at = left_at + self.travel_time();
        for _ in 1..ATTEMPTS {
            if !self.conditions.loss.loses(&mut self.rng, &mut self.is_bad) {
                break;
            }
            self.counts.lost += 1;
            at += again_after;
            again_after *= 2;
        }
        at = at.max(self.last_arrival);
        self.last_arrival = at;
        self.in_flight.add(at, payload);
        Ok(())
    }

    fn send_unreliable(&mut self, now: Duration, bytes: usize, payload: T) {
        self.counts.sent += 1;
        let is_lost = self.conditions.loss.loses(&mut self.rng, &mut self.is_bad);
        let is_doubled = chance(&mut self.rng, self.conditions.duplicate);
        let is_held_back = chance(&mut self.rng, self.conditions.reorder);
        if self.state != State::Open || is_lost {
            self.counts.lost += 1;
            return;
        }
        let Some(left_at) = self.leave(now, bytes).filter(|_| self.in_flight.len() + 1 < IN_FLIGHT)
        else {
            self.counts.overflowed += 1;
            return;
        };
        let mut at = left_at + self.travel_time();
        if is_held_back {
            at += self.conditions.held_back;
        }
        if is_doubled {
            let double_at = left_at + self.travel_time();
            self.in_flight.add(double_at, payload.clone());
        }
        self.in_flight.add(at, payload);
    }

    /// When a packet has left through the rate limit, if it may wait for that.
    fn leave(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let Some(bytes_per_second) = self.conditions.bytes_per_second else { return Some(now) };
        let begins_at = self.leaves_at.max(now);
        if begins_at > now + LONGEST_WAIT_TO_LEAVE {
            return None;
        }
        let nanoseconds = bytes as u64 * 1_000_000_000 / u64::from(bytes_per_second.max(1));
        self.leaves_at = begins_at + Duration::from_nanos(nanoseconds);
        Some(self.leaves_at)
    }

    fn travel_time(&mut self) -> Duration {
        let share: f64 = self.rng.random();
        self.conditions.latency + self.conditions.jitter.mul_f64(share)
    }
}

#[cfg(test)]
mod tests;
