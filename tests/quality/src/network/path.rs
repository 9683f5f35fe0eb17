//! The network between a speaker and a listener, and the packets on it.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use voicemesh_netsim::{Channel, Conditions, Loss, Mode};

/// The least time that a packet takes. It is taken off every delay in the figures.
pub const LATENCY: Duration = Duration::from_millis(30);

/// What a network does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PathConditions {
    /// Every packet takes the same time.
    Perfect,
    /// Packets are lost.
    Lossy(Loss),
    /// Each packet takes longer by an exponentially distributed time with this mean, in
    /// milliseconds.
    Jitter(f64),
    /// That mean changes between two values every 20 seconds.
    Alternating(f64, f64),
    /// The route is 200 ms longer between two moments.
    Detour(Duration, Duration),
}

impl PathConditions {
    /// Each packet lost with this probability.
    #[must_use]
    pub const fn random(share: f64) -> Self {
        Self::Lossy(Loss::Random(share))
    }

    /// This share of packets lost, in bursts of three on average (Gilbert and Elliott).
    #[must_use]
    pub fn bursts(share: f64) -> Self {
        let to_good = 1.0 / 3.0;
        let to_bad = to_good * share / (1.0 - share);
        Self::Lossy(Loss::Bursts { to_bad, to_good, while_good: 0.0, while_bad: 1.0 })
    }
}

/// One frame in a packet.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The frame.
    pub sequence: u64,
    /// How many frames behind its own packet it travels; 0 in its own.
    pub behind: u16,
    /// Encoded.
    pub payload: Vec<u8>,
}

/// A packet on a network.
pub type Packet = Vec<Carried>;

/// The network.
#[derive(Debug)]
pub struct Path {
    conditions: PathConditions,
    pipe: Channel<Packet>,
    rng: ChaCha8Rng,
}

impl Path {
    /// A network of this kind; the same seed gives the same fate to each packet.
    #[must_use]
    pub fn new(conditions: PathConditions, seed: u64) -> Self {
        Self {
            conditions,
            pipe: Channel::new(Mode::Unreliable, Conditions::delay(LATENCY), seed, 0),
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x5EED),
        }
    }

    /// Sends a packet.
    pub fn send(&mut self, now: Duration, packet: Packet) {
        let mut conditions = Conditions::delay(LATENCY + self.extra(now));
        if let PathConditions::Lossy(loss) = self.conditions {
            conditions.loss = loss;
        }
        self.pipe.set_conditions(conditions);
        // An unreliable send is never refused.
        let _ = self.pipe.send(now, 0, packet);
    }

    /// The next packet that has arrived, and when it did.
    pub fn poll(&mut self, now: Duration) -> Option<(Duration, Packet)> {
        let at = self.pipe.next_at()?;
        Some((at, self.pipe.poll(now)?))
    }

    fn extra(&mut self, now: Duration) -> Duration {
        // Always drawn, so that the dice fall alike in all weathers.
        let share: f64 = self.rng.random();
        let exponential =
            |mean_ms: f64| Duration::from_secs_f64(-mean_ms * (1.0 - share).ln() / 1_000.0);
        match self.conditions {
            PathConditions::Perfect | PathConditions::Lossy(_) => Duration::ZERO,
            PathConditions::Jitter(mean_ms) => exponential(mean_ms),
            PathConditions::Alternating(first_ms, second_ms) => {
                exponential(if (now.as_secs() / 20).is_multiple_of(2) {
                    first_ms
                } else {
                    second_ms
                })
            }
            PathConditions::Detour(from, to) if (from..to).contains(&now) => {
                Duration::from_millis(200)
            }
            PathConditions::Detour(..) => Duration::ZERO,
        }
    }
}
