//! Speech as numbers: process → encode on the way out, jitter → decode → mix on the way in.
//!
//! **Does.** Takes and gives blocks of 10 ms ([`Block`]), 48 kHz, one channel, `f32` in ±1. One
//! [`encode::VoiceEncoder`] per microphone makes Opus frames; one [`decode::VoiceDecoder`] per
//! remote speaker takes frames as they arrive, in any order and any number of times, and renders a
//! block whenever asked; one [`mix::Mixer`] adds the speakers up.
//!
//! **Never does.** It has no clock, device, thread or socket: every call that depends on time takes
//! `now`, the [`Duration`](std::time::Duration) since an epoch of the caller's choice that never
//! runs backwards. The same calls give the same samples.
//!
//! **Shape of the loop**, once per 10 ms of playback:
//!
//! ```
//! use std::time::Duration;
//! use voicemesh_audio::{BLOCK_SAMPLES, decode::VoiceDecoder, encode::{SpeechConfig, VoiceEncoder}, mix::Mixer};
//!
//! # fn main() -> Result<(), voicemesh_audio::AudioError> {
//! let mut encoder = VoiceEncoder::new(SpeechConfig::default())?;
//! let mut decoder = VoiceDecoder::new()?;
//! let mut mixer = Mixer::new();
//! let (mut block, mut out) = ([0.0; BLOCK_SAMPLES], [0.0; BLOCK_SAMPLES]);
//! for tick in 0..10u64 {
//!     let now = Duration::from_millis(10 * tick);
//!     let microphone = [0.1; BLOCK_SAMPLES];
//!     if let Some(frame) = encoder.push(&microphone)? {
//!         decoder.receive(now, tick / 2, 0, false, frame);
//!     }
//!     decoder.render(now, &mut block);
//!     mixer.add(&block);
//!     mixer.finish(&mut out);
//! }
//! assert!(out.iter().any(|&sample| sample != 0.0));
//! # Ok(())
//! # }
//! ```

pub mod decode;
pub mod encode;
mod error;
mod jitter;
pub mod level;
pub mod mix;
pub mod process;
pub mod space;
mod stretch;

pub use error::AudioError;
pub use voicemesh_uplink::FrameDuration;

/// Samples in a second, everywhere in this crate.
pub const SAMPLE_RATE_HZ: u32 = 48_000;

/// Samples in a block.
pub const BLOCK_SAMPLES: usize = 480;

/// How much time a block is.
pub const BLOCK_DURATION: std::time::Duration = std::time::Duration::from_millis(10);

/// The longest Opus packet that is accepted or made, in bytes: the codec's own limit for one frame
/// (RFC 6716 §3.4). An unreliable packet of the network is shorter anyway.
pub const MAX_FRAME_BYTES: usize = 1_275;

/// 10 ms of sound.
pub type Block = [f32; BLOCK_SAMPLES];

/// How much speech an Opus packet carries (RFC 6716 §3.1); `None` if it is no such packet.
pub fn packet_duration(payload: &[u8]) -> Option<std::time::Duration> {
    let packet = audiopus::packet::Packet::try_from(payload).ok()?;
    let samples = audiopus::packet::nb_samples(packet, audiopus::SampleRate::Hz48000).ok()?;
    Some(std::time::Duration::from_micros(samples as u64 * 1_000_000 / u64::from(SAMPLE_RATE_HZ)))
}
