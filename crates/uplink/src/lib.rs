//! How speech is sent over the paths there are: what they do to packets is measured, the uplink
//! estimated, and bitrate, redundancy, packet lengths and routes are chosen within it (PROTOCOL.md,
//! sections 8 and 9).
//!
//! **Does.** [`path::PathMonitor`] and [`path::RelayPath`] watch the packets of one path;
//! [`policy::Feedback`] reads all of them, keeps the one estimate of the uplink and decides how the
//! next frames go; [`opening_pace`] says when links may begin to open beside speech. The native peer
//! uses it through the session, the engine, the mesh and the links, the page compiled to WebAssembly
//! (`crates/page`).
//!
//! **Never does.** It sends nothing, and has no clock: every call that depends on time takes `now`,
//! the [`Duration`](std::time::Duration) since an epoch of the caller's choice that never runs
//! backwards. It depends on no other crate.
//!
//! **Shape of the loop**: `sent` for each frame, `report` and `acknowledged` for what arrives,
//! `update` about every 20 ms or more often, and what it decides is followed.

mod decision;
mod estimate;
mod frame;
mod listener_path;
pub mod opening_pace;
pub mod path;
mod path_history;
pub mod plan;
pub mod policy;
mod suspect;
mod trial;

pub use estimate::Train;
pub use frame::FrameDuration;
