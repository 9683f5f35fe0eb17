//! What every part of this crate speaks of: rates, channels, and what a device is and does.

use std::sync::Arc;

/// The one rate of this crate's edge, in samples a second.
pub const SAMPLE_RATE: u32 = 48_000;
/// What a simulated device moves in one step, and what a real one is asked for at a time: 10 ms.
pub const STEP_SAMPLES: usize = 480;

/// Called after samples were captured (at least when another 10 ms are complete) or consumed, from
/// the device's own real-time thread.
///
/// It must not block, lock, allocate or log. Made for [`std::thread::Thread::unpark`]: one atomic
/// exchange and, only if the thread is parked, one system call that wakes it (a futex on Linux),
/// without lock or allocation.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// What happened to a device after it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceEvent {
    /// It gives or takes no more sound; emitted once per loss. A lost microphone gives no samples;
    /// a lost speaker takes them at pace and plays nothing, so that the caller feeds it as before.
    /// A real device is opened again as soon as it can be.
    Lost {
        /// A sentence for people.
        why: String,
    },
    /// It is back.
    Recovered,
}

/// Whether a device records or plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A microphone, or whatever else gives sound.
    Input,
    /// A speaker, or whatever else takes sound.
    Output,
}

/// How many sides the sound of a speaker has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Channels {
    /// One, which both of a pair of speakers play.
    #[default]
    Mono,
    /// Left and right.
    Stereo,
}

impl Channels {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Mono => 1,
            Self::Stereo => 2,
        }
    }
}

/// A device of this machine, as [`devices`](crate::devices) lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// What [`InputSpec::Device`](crate::InputSpec::Device) or
    /// [`OutputSpec::Device`](crate::OutputSpec::Device) opens it by.
    pub name: String,
    /// Whether it records or plays; a device that does both is listed twice.
    pub direction: Direction,
    /// Whether it is opened when no name is given.
    pub is_default: bool,
    /// A line for people: the maker's name for it, the kind of connector.
    pub description: String,
}
