//! One peer without a world: [`Comms`] joins a session to its sound over any [`Network`](voicemesh_session::Network).
//!
//! **Does.** Owns the session's server and client and runs them in a [`Mode`]; encodes what the microphone gives and
//! addresses it; buffers, decodes and mixes what arrives.
//!
//! **Never does.** It has no clock, thread, socket or device: it takes the time as an argument, blocks of 10 ms from the
//! microphone, and gives blocks of 10 ms for the speaker.
//!
//! **Shape of the loop**, whenever something has arrived and at least every 5 ms:
//!
//! ```text
//! comms.update(now);
//! while let Some(block) = microphone.read() { comms.capture(now, &block)?; }
//! while speaker.wants_more() { comms.render(now, &mut block); speaker.write(&block); }
//! while let Some(event) = comms.poll_event() { … }
//! ```

mod clocks;
mod comms;
mod hearing;
mod random;
mod settings;
mod speaking;
mod status;
mod tap;
mod telling;

pub use comms::Comms;
pub use hearing::{HearingStats, Mixing};
pub use status::{CommsConfig, CommsError, CommsEvent, Mode, PeerStatus, SpeakingStatus, Status};
pub use tap::TappedFrame;
pub use voicemesh_uplink::policy::UplinkStatus;
