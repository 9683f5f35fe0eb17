//! What the page runs of the pure crates, compiled to WebAssembly: two modules, one for each
//! feature. Both are built by `scripts/page.sh`.
//!
//! - `uplink`: how speech is sent over the paths there are (`voicemesh-uplink`). One [`Sender`] takes
//!   each packet that the page sends and each acknowledgement, report and answer that arrives, and
//!   decides every 100 ms how the next frames go and by which routes. It also says when a link may
//!   begin to open. `web/src/uplink.js` calls it.
//! - `keys`: the keys of one member of an encrypted room (`voicemesh-e2ee`). [`Keys`] is its key ring
//!   over bytes. `web/src/key-ring.js` calls it.
//!
//! **Never does.** Neither has a clock or randomness, and neither calls the page: every call that
//! depends on time takes `now`, and a key ring takes a seed.
//!
//! **As modules** (`exports.rs`, `key_exports.rs`): plain functions over numbers, one `Sender` or
//! `Keys` in each instance. Lists and bytes pass through buffers in the module's memory.

#[cfg(all(target_arch = "wasm32", feature = "uplink"))]
mod exports;
#[cfg(all(target_arch = "wasm32", feature = "keys"))]
mod key_exports;
#[cfg(feature = "keys")]
mod keys;
#[cfg(feature = "uplink")]
mod sender;

#[cfg(feature = "keys")]
pub use keys::{Keys, KeysError};
#[cfg(feature = "uplink")]
pub use sender::{LISTENERS, Sender, WORDS};
