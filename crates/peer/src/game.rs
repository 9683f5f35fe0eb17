//! Voice inside a game: positions, audiences, and rings of sound between the engine and the game's
//! audio engine.
//!
//! What the game calls each frame neither blocks nor allocates in the steady state.

mod audiences;
mod pcm;
mod spatial;
mod transmit_options;

pub(crate) use audiences::{Audiences, JOINED};
pub(crate) use pcm::{PcmOutputs, Source, ring};
pub(crate) use spatial::{MovedPositions, PendingPositions};
pub(crate) use transmit_options::SharedOptions;

pub use pcm::{MixVoice, PeerVoice};
pub use transmit_options::{TransmitOptions, VoiceAudience};
