//! End-to-end encryption of a room (PROTOCOL.md, "End-to-end encryption").
//!
//! One [`KeyRing`] is what one member of one room knows of keys. It has no I/O: the time and the
//! randomness are handed in, and what it wants sent is polled.
//!
//! 1. [`KeyRing::announcement`] goes to every other member; theirs come in by
//!    [`KeyRing::set_member`].
//! 2. [`KeyRing::agree_next`] computes one pair secret at a time, so that the owner decides how
//!    long that may take.
//! 3. [`KeyRing::poll_package`] gives this member's sender keys, sealed for one other member;
//!    theirs come in by [`KeyRing::accept_package`].
//! 4. [`KeyRing::seal`] and [`KeyRing::open`] are for everyone in the room, [`KeyRing::seal_to`]
//!    and [`KeyRing::open_from`] for a pair.
//! 5. [`KeyRing::seal_published`] and [`KeyRing::open_published`] are for names and metadata, in
//!    rooms with a key.
//! 6. [`KeyRing::remove_member`] when a member is *gone*: new sender keys follow by
//!    [`KeyRing::poll_package`]. [`KeyRing::update`] at [`KeyRing::poll_timeout`].
//!
//! A ring lives in one process for one run and is never stored: counters begin anew with every
//! ring, so its keys must as well.
//!
//! Keys are cleared from memory when they are dropped, and printed by nothing. Not cleared is what
//! hash functions leave on the stack.
//!
//! Payloads are SFrame (RFC 9605) with the suite AES_128_GCM_SHA256_128.

mod authentication;
mod checks;
mod derive;
mod error;
mod identity;
mod member;
mod own_keys;
mod pair;
mod published;
mod random;
mod rekey;
mod remote_keys;
mod ring;
mod room_key;
mod safety_code;
mod suite;
#[cfg(test)]
mod tests;

pub use authentication::{FINGERPRINT_BYTES, FINGERPRINT_TAG_BYTES, announces_room_key};
pub use error::{
    AnnouncementError, FingerprintError, OpenError, PackageError, RoomKeyError, SealError,
};
pub use identity::{IDENTITY_KEY_BYTES, IdentityKey};
pub use member::{MemberChange, PackageEffect, RESTART_INTERVAL, RESTARTS_AT_ONCE};
pub use published::Published;
pub use random::Seed;
pub use rekey::{ACCEPT_OLD_KEYS, JOINT_REKEY_DELAY, REKEY_QUIET, SWITCH_DELAY};
pub use ring::{Configuration, KeyRing, Opened};
pub use room_key::RoomKey;
pub use safety_code::SafetyCode;
pub use suite::{Label, REPLAY_WINDOW};
