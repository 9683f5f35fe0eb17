//! A seeded network that loses, delays, doubles, reorders and cuts: for tests, benchmarks and
//! demonstrations.
//!
//! - [`Channel`] carries payloads of any type in one direction, reliably or not, under
//!   [`Conditions`].
//! - [`Bottleneck`] is a rate limit with a queue or a policer, shared by all that passes it.
//! - [`Path`] is one direction between two machines: a reliable channel and an unreliable one, cut
//!   together.
//! - [`Schedule`] holds what happens later, for simulations with arrivals of other kinds.
//!
//! The shape of the loop: `send` what leaves, `poll` until it gives `None`, sleep until `next_at`.
//! Time is a [`Duration`] since an epoch that the caller chooses once. It never reads a clock and
//! never draws a number that the seed does not decide: the same seed and the same calls give the
//! same trace.

mod bottleneck;
mod channel;
mod conditions;
mod schedule;

use std::time::Duration;

pub use bottleneck::{Bottleneck, Excess};
pub use channel::{Channel, ChannelSendError, Counts, Mode, State};
pub use conditions::{Conditions, Loss};
pub use schedule::Schedule;

/// One direction between two machines, for packets that must arrive and for packets that may be
/// lost.
#[derive(Debug)]
pub struct Path<T> {
    reliable: Channel<T>,
    unreliable: Channel<T>,
}

impl<T: Clone> Path<T> {
    /// Two pipes under the same conditions. Paths of one simulation share its seed and differ in
    /// their number.
    pub fn new(conditions: Conditions, seed: u64, number: u32) -> Self {
        let stream = u64::from(number) * 2;
        Self {
            reliable: Channel::new(Mode::Reliable, conditions, seed, stream),
            unreliable: Channel::new(Mode::Unreliable, conditions, seed, stream + 1),
        }
    }

    /// Sends one packet of so many bytes.
    pub fn send(
        &mut self,
        now: Duration,
        mode: Mode,
        bytes: usize,
        payload: T,
    ) -> Result<(), ChannelSendError> {
        self.channel(mode).send(now, bytes, payload)
    }

    /// The next packet that has arrived, and how it was sent; of several, the one that arrived
    /// first.
    pub fn poll(&mut self, now: Duration) -> Option<(Mode, T)> {
        let mode = match (self.reliable.next_at(), self.unreliable.next_at()) {
            (Some(reliable), Some(unreliable)) if unreliable < reliable => Mode::Unreliable,
            (Some(_), _) => Mode::Reliable,
            (None, _) => Mode::Unreliable,
        };
        Some((mode, self.channel(mode).poll(now)?))
    }

    /// When the next packet arrives.
    pub fn next_at(&self) -> Option<Duration> {
        match (self.reliable.next_at(), self.unreliable.next_at()) {
            (Some(reliable), Some(unreliable)) => Some(reliable.min(unreliable)),
            (reliable, unreliable) => reliable.or(unreliable),
        }
    }

    /// Changes what happens to packets sent from now on.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.reliable.set_conditions(conditions);
        self.unreliable.set_conditions(conditions);
    }

    /// Changes whether both pipes carry anything; see [`State`].
    pub fn set_state(&mut self, now: Duration, state: State) {
        self.reliable.set_state(now, state);
        self.unreliable.set_state(now, state);
    }

    /// Whether they do.
    pub fn state(&self) -> State {
        self.reliable.state()
    }

    /// Packets of one kind that are on their way.
    pub fn in_flight(&self, mode: Mode) -> usize {
        match mode {
            Mode::Reliable => self.reliable.in_flight(),
            Mode::Unreliable => self.unreliable.in_flight(),
        }
    }

    /// What has happened to the packets of one kind.
    pub fn counts(&self, mode: Mode) -> Counts {
        match mode {
            Mode::Reliable => self.reliable.counts(),
            Mode::Unreliable => self.unreliable.counts(),
        }
    }

    fn channel(&mut self, mode: Mode) -> &mut Channel<T> {
        match mode {
            Mode::Reliable => &mut self.reliable,
            Mode::Unreliable => &mut self.unreliable,
        }
    }
}
