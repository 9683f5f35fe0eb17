//! How long a frame is.

/// Samples in 10 ms at 48 kHz.
const BLOCK_SAMPLES: usize = 480;

/// How much speech one encoded frame carries. Short frames save delay, long ones save packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameDuration {
    /// 10 ms: 100 packets a second.
    Ms10,
    /// 20 ms: 50 packets a second, the usual choice.
    #[default]
    Ms20,
    /// 40 ms: 25 packets a second.
    Ms40,
    /// 60 ms: 17 packets a second.
    Ms60,
}

impl FrameDuration {
    /// Every duration, shortest first.
    pub const ALL: [Self; 4] = [Self::Ms10, Self::Ms20, Self::Ms40, Self::Ms60];

    /// Samples of speech in a frame.
    pub const fn samples(self) -> usize {
        self.blocks() * BLOCK_SAMPLES
    }

    /// Blocks of 10 ms in a frame.
    pub const fn blocks(self) -> usize {
        match self {
            Self::Ms10 => 1,
            Self::Ms20 => 2,
            Self::Ms40 => 4,
            Self::Ms60 => 6,
        }
    }

    /// Milliseconds of speech in a frame.
    pub const fn millis(self) -> u64 {
        self.blocks() as u64 * 10
    }

    /// The duration with so many samples at 48 kHz, if it is one of ours.
    pub fn from_samples(samples: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|duration| duration.samples() == samples)
    }
}
