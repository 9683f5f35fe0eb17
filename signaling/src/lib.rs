//! The signaling server: rooms by name, introductions between peers, and the relay for peers without a direct link. It
//! also serves the web page with which a browser takes part.
//!
//! Two halves. The first is pure: given the time and randomness, writing to the [`Line`]s of connections, so that the simulator
//! runs what ships under a virtual clock.
//! - [`Signaling`] is the server: its rooms by name, admission, addresses, passwords that wait for their hash.
//! - [`Visit`] is one connection in it, with its [`Gate`]: budgets, what may come before a join, what is refused and with which
//!   words. What arrives goes in by [`Signaling::handle`].
//! - [`RoomEntry`] is one room with the lines of those in it, behind a lock that is the room's own, and [`Room`] its members, notices,
//!   introductions, and the session server that relays.
//!
//! The second is the shell: sockets, TLS, HTTP, one bounded mailbox and one task per connection, hashing, one
//! ticker for everything that happens by itself. It decides nothing about rooms. The page in it is what `web/src` held when
//! the library was built.
//!
//! The server never looks behind the routing header of what it relays, keeps nothing on disk, and writes no address,
//! name or room name to the log above DEBUG.
//!
//! [`run`] is the whole program; [`serve`] runs it on a listener of the caller's.

mod address;
mod budget;
mod config;
mod gate;
pub mod grant;
mod guesses;
mod hash_queue;
mod kept_bans;
mod line;
mod metrics;
mod outbox;
mod passwords;
mod refusal;
mod room;
mod room_entry;
mod shell;
mod signaling;
mod sync;
pub mod ticket;
mod ticket_cipher;
pub mod token;
mod unfinished;
mod visit;

pub use address::{Address, AddressKey};
pub use budget::{Budget, Budgets, Rate};
pub use config::{Config, ConfigError, TrustedProxy, on_off, without_empty_variables};
pub use gate::{Allowance, Gate, Passed};
pub use guesses::Guesses;
pub use hash_queue::{ADDRESS_HASHES, Asked, HashId, HashQueue, SHARED_HASHES};
pub use kept_bans::KeptBans;
pub use line::{Line, Put};
pub use metrics::{Counter, Gauges, Histogram, Metrics};
pub use outbox::{CloseReason, ConnectionId, Malformed, Outbox, Purpose, Sender, Text};
pub use passwords::HashJob;
pub use refusal::Refusal;
pub use room::{
    AddressTag, BanInfo, Bans, Digest, IceRules, Knock, Part, Question, Room, RoomRules, Salt, SharedSecret,
    VoiceRates, WorkArea, digest,
};
pub use room_entry::{RoomEntry, RoomOutput};
pub use shell::{ServeError, banner, bind, run, serve};
pub use signaling::{Draw, Settings, Signaling};
pub use sync::lock;
pub use ticket_cipher::ticket_key;
pub use unfinished::{Most, Unfinished};
pub use visit::{Input, Visit, send_away};
