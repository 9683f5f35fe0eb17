//! The signaling server without sockets, clocks and randomness: rooms by name, introductions
//! between peers, moderation, and the relay for peers without a direct link.
//!
//! Given the time and random bytes, it writes to the [`Line`]s of connections, so that the
//! simulator runs what ships under a virtual clock.
//! - [`Signaling`] is the server: its rooms by name, admission, addresses, passwords that wait for
//!   their hash.
//! - [`Visit`] is one connection in it, with its [`ConnectionGuard`]: budgets, what may come before
//!   a join, what is refused and with which words. What arrives goes in by [`Signaling::handle`].
//! - [`RoomEntry`] is one room with the lines of those in it, behind a lock that is the room's own,
//!   and [`Room`] its members, notices, introductions, and the session server that relays.
//! - [`SendQueue`] is what waits to be written to one connection: its bounds, what is dropped when it
//!   is full, and what ends the connection. A [`Line`] puts what it is given into one.
//!
//! The caller brings what needs a system or a C library: sockets, the time, [`Draw`] for
//! randomness, memory for slow hashes ([`WorkArea`]), the cipher of tickets
//! ([`ticket::TicketCipher`]) and who signs access tokens ([`grant::TokenVerifier`]).

mod address;
pub mod grant;
mod guard;
mod hash_queue;
mod kept_bans;
mod line;
mod metrics;
mod output;
mod password_backoff;
mod passwords;
mod places;
mod refusal;
mod returns;
mod room;
mod room_entry;
mod send_queue;
mod signaling;
mod subjects;
pub mod ticket;
mod visit;

pub use address::Address;
pub use guard::{Allowance, ConnectionGuard, GuardVerdict};
pub use hash_queue::{ADDRESS_HASHES, Asked, HashId, HashQueue, SHARED_HASHES};
pub use kept_bans::KeptBans;
pub use line::{Enqueue, Line};
pub use metrics::{Counter, Gauges, Histogram, Metrics};
pub use output::{
    CloseReason, ConnectionId, Malformed, Publisher, Purpose, RoomOutput, Sender, Text,
};
pub use password_backoff::PasswordBackoff;
pub use passwords::HashJob;
pub use refusal::Refusal;
pub use room::{
    AddressTag, BanInfo, Bans, Digest, HashRequest, IceRules, JoinCheck, Part, Room, RoomRules,
    Salt, SharedSecret, VoiceRates, WorkArea, digest,
};
pub use room_entry::{LineOutput, RoomEntry};
pub use send_queue::{Check, Liveness, Next, OutgoingMessage, SendQueue, Taken};
pub use signaling::{Draw, Settings, Signaling};
pub use visit::{HELD_BYTES, Input, Visit, send_away};
pub use voicemesh_common::{AddressKey, Most, Rate, TokenBucket, Unfinished, lock};
pub use voicemesh_session::budget::{Budget, Budgets};
