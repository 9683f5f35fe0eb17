//! The signaling server: rooms by name, introductions between peers, and the relay for peers without a direct link. It
//! also serves the web page with which a browser takes part.
//!
//! Two halves. The first is pure: told the time, writing to an [`Outbox`], so that tests and the simulator run the real
//! rules under a virtual clock.
//! - [`Gate`] stands before one connection: budgets, what may come before a join, what is refused and with which words.
//! - [`Room`] is one room: its peers, notices, introductions, and the session server that relays.
//!
//! The second is the shell: sockets, TLS, HTTP, one bounded mailbox and one task per connection, one mutex per room, one
//! ticker for everything that happens by itself. It decides nothing about rooms. The page in it is what `web/src` held when
//! the library was built.
//!
//! The server never looks behind the routing header of what it relays, keeps nothing on disk, and writes no address,
//! name or room name to the log above DEBUG.
//!
//! [`run`] is the whole program; [`serve`] runs it on a listener of the caller's.

mod budget;
mod config;
mod gate;
mod guesses;
mod hash_queue;
mod kept_bans;
mod outbox;
mod refusal;
mod room;
mod shell;
pub mod ticket;
pub mod token;
mod unfinished;

pub use budget::{Budget, Budgets, Rate};
pub use config::{Config, ConfigError, TrustedProxy, on_off, without_empty_variables};
pub use gate::{Allowance, Gate, Passed};
pub use guesses::Guesses;
pub use hash_queue::{ADDRESS_HASHES, Asked, HashId, HashQueue, SHARED_HASHES};
pub use kept_bans::KeptBans;
pub use outbox::{CloseReason, ConnectionId, Malformed, Outbox, Purpose, Text};
pub use refusal::Refusal;
pub use room::{
    AddressTag, BanInfo, Bans, Digest, IceRules, Knock, Part, Question, Room, RoomRules, Salt, SharedSecret,
    VoiceRates, WorkArea, digest,
};
pub use shell::{ServeError, banner, bind, run, serve};
pub use unfinished::Unfinished;
