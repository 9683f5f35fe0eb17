//! Microphones and speakers, WAV files, a tone, silence.
//!
//! **Does**: gives [`Capture`] (mono) and [`Playback`] (mono, or stereo on demand), 48 kHz f32
//! whatever the device behind them takes, and tells by [`DeviceEvent`] when a device is lost and
//! when it is back. **Never does**: speech processing, coding, mixing.
//!
//! ```text
//! microphone ─ callback ─→ ring ─→ Capture::read (conversion to 48 kHz) ─→ the caller's thread
//! speaker   ←─ callback ─── ring ←─ Playback::write (conversion)        ←─ the caller's thread
//! ```
//!
//! A device's callback only copies between the device's buffer and a wait-free ring, then calls the
//! [`Waker`]. What may take time (opening, noticing a loss, opening again) is done by one
//! supervising thread per stream, which ends when the [`Capture`] or [`Playback`] is dropped.
//! Simulated devices have a pacing thread in place of callbacks: 10 ms steps with absolute
//! deadlines.
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

mod beside;
mod capture;
mod cause;
mod convert;
mod count;
mod device_thread;
mod downmix;
mod drift;
mod error;
mod host;
mod pace;
mod playback;
mod riff;
mod simulated;
mod sound;
mod spec;
mod stream;
mod supervise;
mod system_log;
mod wav;

pub use beside::{create_beside, rename_finished, unfinished};
pub use capture::{Capture, MicrophoneFeed};
pub use cause::{Cause, file_words, read_file, system_words};
pub use convert::Resampler;
pub use downmix::{ChannelMix, MicrophoneChannels};
pub use drift::DriftEstimator;
pub use error::DeviceError;
pub use playback::Playback;
pub use sound::{Channels, DeviceEvent, DeviceInfo, Direction, SAMPLE_RATE, STEP_SAMPLES, Waker};
pub use spec::{InputSpec, OutputSpec};
pub use wav::{refuse_same_file, unused_wav};

/// The microphones and speakers of this machine, defaults first.
///
/// # Errors
/// [`DeviceError::NoSoundSystem`] if there is none to ask.
pub fn devices() -> Result<Vec<DeviceInfo>, DeviceError> {
    supervise::patiently(host::list)
}
