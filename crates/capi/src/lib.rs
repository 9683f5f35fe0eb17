//! The C ABI: what `include/voicemesh.h` declares, for C, C++, C# and every engine that can call C.
//!
//! **Does.** Translates: handles into [`voicemesh::Room`]s, structures into options, events into a
//! structure that the caller owns. **Never does.** Anything beyond the translation; call back, but
//! for a game's own network within the two calls that say so; let a panic out; assume that the
//! caller's structures have this library's version.
//!
//! Its loop is the caller's: `vmesh_room_join`, then each frame `vmesh_events_poll` until it gives
//! `VMESH_EMPTY`, then `vmesh_room_close`.
//!
//! - `guard`: every function's frame: catches panics, keeps the sentence of the last error.
//! - `handles`: numbers for open objects, each used only once, so that a closed one is always
//!   recognized.
//! - `realtime_handles`: the same for objects that audio threads use: calls on those threads
//!   never block.
//! - `memory`: the only place that reads and writes the caller's memory.
//! - `options`, `event`, `room`, `data`, `lobby`, `spatial`, `transmission`, `pcm`,
//!   `state`, `devices`, `moderation`: the functions.
//! - `backend`: what both kinds of handles have, a room and a voice over a game's own network.
//! - `over`, `network`: voice over a game's own network.
//!
//! But for the attributes of `crates/page`'s exports, `unsafe` of this house is here alone. Each block rests on one promise, which is the header's: a
//! pointer is null or points to as much as its function says.

#![deny(missing_docs)]
// The header's names.
#![allow(non_camel_case_types)]
// One rule for all, above, and in the header's first lines.
#![allow(clippy::missing_safety_doc)]

mod backend;
mod data;
mod devices;
mod event;
mod guard;
mod handles;
mod lobby;
mod memory;
mod moderation;
mod network;
mod options;
mod over;
mod pcm;
mod realtime_handles;
mod room;
mod spatial;
mod state;
#[cfg(test)]
mod tests;
mod transmission;
mod values;

pub use values::*;
