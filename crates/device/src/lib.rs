//! Microphones and speakers, WAV files, a tone, silence.
//!
//! **Does**: gives [`Capture`] (mono) and [`Playback`] (mono, or stereo on demand), 48 kHz f32 whatever the device behind them takes, and tells by
//! [`DeviceEvent`] when a device is lost and when it is back. **Never does**: speech processing, coding, mixing; it imports
//! nothing of ours.
//!
//! ```text
//! microphone ─ callback ─→ ring ─→ Capture::read (conversion to 48 kHz) ─→ the caller's thread
//! speaker   ←─ callback ─── ring ←─ Playback::write (conversion)        ←─ the caller's thread
//! ```
//!
//! A device's callback only copies between the device's buffer and a wait-free ring, then calls the [`Waker`]. What may take
//! time (opening, noticing a loss, opening again) is done by one supervising thread per stream, which ends when the
//! [`Capture`] or [`Playback`] is dropped. Simulated devices have a pacing thread in place of callbacks: 10 ms steps with
//! absolute deadlines.
//!
//! ```
//! use std::sync::Arc;
//! use voicemesh_device::{Capture, InputSpec};
//!
//! let caller = std::thread::current();
//! let mut tone = Capture::open(&"tone:440".parse()?, None, Arc::new(move || caller.unpark()))?;
//! let mut block = [0.0; 480];
//! while tone.available() < block.len() {
//!     std::thread::park();
//! }
//! assert_eq!(tone.read(&mut block), 480);
//! # Ok::<(), voicemesh_device::DeviceError>(())
//! ```

mod capture;
mod convert;
mod count;
mod downmix;
mod drift;
mod error;
mod host;
mod pace;
mod playback;
mod riff;
mod simulated;
mod spec;
mod stream;
mod supervise;
mod system_log;
mod wav;
mod worker;

use std::sync::Arc;

pub use capture::{Capture, MicrophoneFeed};
pub use convert::Resampler;
pub use downmix::{ChannelMix, MicrophoneChannels};
pub use drift::DriftEstimator;
pub use error::{DeviceError, file_words};
pub use playback::Playback;
pub use spec::{InputSpec, OutputSpec};
pub use wav::{refuse_same_file, unused_wav};

/// The one rate of this crate's edge, in samples a second.
pub const SAMPLE_RATE: u32 = 48_000;
/// What a simulated device moves in one step, and what a real one is asked for at a time: 10 ms.
pub const STEP_SAMPLES: usize = 480;

/// Called after samples were captured (at least when another 10 ms are complete) or consumed, from the device's own real-time
/// thread.
///
/// It must not block, lock, allocate or log. Made for [`std::thread::Thread::unpark`]: one atomic exchange and, only if the
/// thread is parked, one system call that wakes it (a futex on Linux), without lock or allocation.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// What happened to a device after it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceEvent {
    /// It gives or takes no more sound; emitted once per loss. A lost microphone gives no samples; a lost speaker takes
    /// them at pace and plays nothing, so that the caller feeds it as before. A real device is opened again as soon as
    /// it can be.
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
    fn count(self) -> usize {
        match self {
            Self::Mono => 1,
            Self::Stereo => 2,
        }
    }
}

/// A device of this machine, as [`devices`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// What [`InputSpec::Device`] or [`OutputSpec::Device`] opens it by.
    pub name: String,
    /// Whether it records or plays; a device that does both is listed twice.
    pub direction: Direction,
    /// Whether it is opened when no name is given.
    pub is_default: bool,
    /// A line for people: the maker's name for it, the kind of connector.
    pub description: String,
}

/// The microphones and speakers of this machine, defaults first.
///
/// # Errors
/// [`DeviceError::NoSoundSystem`] if there is none to ask.
pub fn devices() -> Result<Vec<DeviceInfo>, DeviceError> {
    supervise::patiently(host::list)
}
