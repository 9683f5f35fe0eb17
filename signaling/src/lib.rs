//! The signaling server: rooms by name, introductions between peers, and the relay for peers
//! without a direct link. It also serves the web page with which a browser takes part.
//!
//! What it decides is [`voicemesh_rooms`], and for the clients of UnityP2P
//! [`voicemesh_unityp2p`]. This is the shell around that: sockets, TLS, HTTP, one
//! bounded mailbox and one task per connection, hashing, one ticker for everything that happens by
//! itself. It decides nothing about rooms. The page in it is what `web/src` held when the library
//! was built.
//!
//! The server never looks behind the routing header of what it relays, keeps nothing on disk, and
//! writes no address, name or room name to the log above DEBUG.
//!
//! [`run`] is the whole program; [`serve`] runs it on a listener of the caller's.

mod config;
mod shell;
mod ticket_cipher;
pub mod token;

pub use config::{Config, ConfigError, TrustedProxy, on_off, without_empty_variables};
pub use shell::{ServeError, banner, bind, run, serve};
pub use ticket_cipher::ticket_key;
pub use voicemesh_rooms::{Budgets, Rate};
