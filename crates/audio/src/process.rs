//! What happens to the microphone's sound before it is encoded.
//!
//! ```text
//! played ──► echo canceller
//!                 ▲
//! push ─► meter ─►│─► noise suppression ─┬─► automatic gain ─► look-back ─► next_block
//!                                        └─► voice detector ─► open or closed ──┘
//! ```
//!
//! A [`Microphone`] takes what the loudspeaker plays and what the microphone hears, a
//! [`Block`](crate::Block) each, and gives the blocks that are to be encoded: none during silence;
//! several at once when speech begins, because the detector needs a moment and the first syllable
//! is to be whole; then one for one.

mod chain;
mod decimate;
mod detector;
mod meter;
mod microphone;
mod pre_roll;
mod settings;
mod stage;
mod voice_gate;

pub use meter::MicrophoneLevel;
pub use microphone::Microphone;
pub use pre_roll::LOOK_BACK;
pub use settings::{Activation, LONGEST_RELEASE, MicrophoneConfig, NoiseSuppression, Processing};
pub use voice_gate::HANG_OVER;
