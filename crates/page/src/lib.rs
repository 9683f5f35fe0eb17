//! How the page sends speech over the paths there are: the native peer's own code
//! (`voicemesh-uplink`), compiled to WebAssembly. `web/src/uplink.js` calls it.
//!
//! **Does.** One [`Sender`] takes each packet that the page sends and each acknowledgement, report
//! and answer that arrives, and decides every 100 ms how the next frames go and by which routes. It
//! also says when a link may begin to open.
//!
//! **Never does.** It has no clock and calls nothing of the page: every call that depends on time
//! takes `now`.
//!
//! **As a module** (`exports.rs`): plain functions over numbers, one `Sender` in each instance.
//! Lists pass through a buffer of u32 words in the module's memory, at `buffer()`, `WORDS` long.
//! JavaScript numbers listeners itself, below 2^32. What `scripts/page.sh` builds is
//! `web/src/uplink.wasm`.

#[cfg(target_arch = "wasm32")]
mod exports;
mod sender;

pub use sender::{LISTENERS, Sender, WORDS};
