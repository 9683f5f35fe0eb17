//! Bytes to types and back, and nothing else: session packets, signaling messages, ids and limits.
//!
//! Decoding is total: any input gives a value or a [`DecodeError`], never a panic, and never
//! allocates more than the input's own length justifies. Nothing here reads a clock, a socket or
//! randomness.
//!
//! - [`packet`]: the binary session packets of PROTOCOL.md, "Session packets".
//! - [`signaling`]: the JSON messages of PROTOCOL.md, "Signaling messages".
//! - [`PeerId`] and the like, [`identity`]: who is who, and the proof behind a peer id.
//! - [`names`]: what rooms and people are called, in one normal form.
//! - [`sealed_state`]: the form of sealed names and metadata.
//! - [`limits`]: every bound that both ends must agree on.

pub mod identity;
mod ids;
pub mod invitation;
pub mod limits;
pub mod names;
pub mod packet;
pub mod sealed_state;
pub mod signaling;

mod cursor;
mod decode_error;
mod permissions;

pub use decode_error::DecodeError;
pub use ids::{ClientId, GroupHash, GroupId, PeerId, SessionId};
pub use names::{DisplayName, RoomName};
pub use permissions::Permissions;
