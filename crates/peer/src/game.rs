//! Voice inside a game: positions, audiences, and rings of sound between the engine and the game's audio engine.
//!
//! What the game calls each frame neither blocks nor allocates in the steady state.

mod pcm;
mod places;
mod proximity;
mod speak;

pub(crate) use pcm::{Source, Taps, ring};
pub(crate) use places::{Moved, Places};
pub(crate) use speak::{Audiences, JOINED, Token};

pub use pcm::{MixVoice, PeerVoice};
pub use proximity::{GridAxes, GridChange, ProximityGrid};
pub use speak::{SpeakOptions, SpeakingTo, VoiceAudience};
