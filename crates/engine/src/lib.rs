//! One peer without a world: [`VoiceEngine`] joins a session to its sound.
//!
//! **Does.** Owns the session's server and client and runs them in a [`Mode`]; encodes what the
//! microphone gives and addresses it; buffers, decodes and mixes what arrives.
//!
//! **Never does.** It has no clock, thread, socket or device: it takes the time as an argument,
//! blocks of 10 ms from the microphone, and gives blocks of 10 ms for the speaker. What it wants
//! sent and done is an [`EngineOutput`].
//!
//! [`EngineOnNetwork`] does what an engine wants over any [`Network`](voicemesh_session::Network).
//! **Shape of the loop** with one, whenever something has arrived, a device has or wants a block,
//! or [`EngineOnNetwork::poll_timeout`] says so:
//!
//! ```text
//! engine.update(now);
//! while let Some(block) = microphone.read() { engine.capture(now, &block)?; }
//! while speaker.wants_more() { engine.render(now, &mut block); speaker.write(&block); }
//! while let Some(event) = engine.poll_event() { … }
//! ```
//!
//! A game that has networking already implements `Network` and mirrors that network's mode with a
//! [`ModeMirror`]; what a network does against the contract of the trait comes back as
//! [`EngineEvent::ContractBroken`].
//!
//! Without one, events of the network go in by [`VoiceEngine::handle`], and after each call that
//! takes `&mut self` [`VoiceEngine::poll_output`] gives what is to be done. Timers run when
//! [`VoiceEngine::poll_timeout`] says so: [`VoiceEngine::update`], and after what that wanted
//! [`VoiceEngine::follow`].

mod answers;
mod capture;
mod clocks;
mod contract;
mod encryption;
mod feedback;
mod lateness;
mod mirror;
mod mode;
mod on_network;
mod output;
mod playout;
mod recording_tap;
mod role;
mod settings;
mod status;
#[cfg(test)]
mod timeout_tests;
mod voice_engine;

pub use contract::{ContractError, Rule};
pub use mirror::{Mirrored, ModeMirror};
pub use mode::Mode;
pub use on_network::{EngineOnNetwork, StartError};
pub use output::EngineOutput;
pub use playout::{Mixing, PlayoutStats};
pub use recording_tap::RecordedFrame;
pub use role::Connection;
pub use status::{
    ClientEndReason, EngineConfig, EngineError, EngineEvent, PeerStatus, SpeakingStatus, Status,
};
pub use voice_engine::VoiceEngine;
pub use voicemesh_sealing::{MemberEncryption, Seeds};
pub use voicemesh_uplink::policy::UplinkStatus;
