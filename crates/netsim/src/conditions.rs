//! What a network does to packets.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// What happens to packets on their way. The default is an ideal network: nothing, in no time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Conditions {
    /// The least time that a packet takes.
    pub latency: Duration,
    /// Up to so much more, evenly distributed and drawn for each packet: unreliable packets
    /// overtake each other.
    pub jitter: Duration,
    /// Which packets are lost.
    pub loss: Loss,
    /// The share of unreliable packets that arrive twice, 0.0 to 1.0.
    pub duplicate: f64,
    /// The share of unreliable packets that are held back by [`Conditions::held_back`], 0.0 to 1.0.
    pub reorder: f64,
    /// For how long.
    pub held_back: Duration,
    /// How fast packets leave; `None` is without limit.
    pub bytes_per_second: Option<u32>,
}

impl Conditions {
    /// A network that only takes time.
    pub const fn delay(latency: Duration) -> Self {
        Self {
            latency,
            jitter: Duration::ZERO,
            loss: Loss::None,
            duplicate: 0.0,
            reorder: 0.0,
            held_back: Duration::ZERO,
            bytes_per_second: None,
        }
    }
}

/// Which packets are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with this probability.
    Random(f64),
    /// Gilbert and Elliott's model: the network is good or bad, and before each packet it may
    /// change.
    Bursts {
        /// The probability that a good network becomes bad.
        to_bad: f64,
        /// The probability that a bad network becomes good: bursts last 1 / `to_good` packets on
        /// average.
        to_good: f64,
        /// The share of packets lost while it is good.
        while_good: f64,
        /// The share of packets lost while it is bad.
        while_bad: f64,
    },
}

impl Loss {
    /// The share of packets lost in the long run.
    pub fn share(&self) -> f64 {
        match *self {
            Self::None => 0.0,
            Self::Random(share) => share,
            Self::Bursts { to_bad, to_good, while_good, while_bad } => {
                let bad = if to_bad > 0.0 { to_bad / (to_bad + to_good) } else { 0.0 };
                bad * while_bad + (1.0 - bad) * while_good
            }
        }
    }

    /// Draws one packet's fate. `is_bad` is the network's condition, which this may change.
    pub(crate) fn loses(&self, rng: &mut ChaCha8Rng, is_bad: &mut bool) -> bool {
        match *self {
            Self::None => false,
            Self::Random(share) => chance(rng, share),
            Self::Bursts { to_bad, to_good, while_good, while_bad } => {
                if chance(rng, if *is_bad { to_good } else { to_bad }) {
                    *is_bad = !*is_bad;
                }
                chance(rng, if *is_bad { while_bad } else { while_good })
            }
        }
    }
}

/// True with this probability. Always draws, so that two settings can be compared under one seed.
pub(crate) fn chance(rng: &mut ChaCha8Rng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}
