//! The signaling server of UnityP2P's clients, without sockets and clocks.
//!
//! UnityP2P's clients (WebRTC Network, and what was built on it) find each other by addresses: one
//! listens on an address of its choice, others connect to it, and the server passes on what they
//! send over these connections until they have opened WebRTC. `docs/unityp2p.md` in the repository
//! has the protocol, and where this server differs from the original one.
//!
//! - [`Path`] is the application that a client named in its URL; addresses of one are unknown to
//!   the others.
//! - [`Server`] is all of it as one machine. What arrives goes in by [`Server::handle`]. After each
//!   call the owner takes the receivers of what is to be sent ([`Server::poll_woken`]), and what
//!   each of them is sent ([`Server::take`]) when its socket has room.
//! - [`Limits`] is what one socket, one address and all of them may have.

mod address;
mod frame;
mod ids;
mod limits;
mod outbox;
mod path;
mod pool;
mod server;
mod socket;

pub use frame::MESSAGE_BYTES;
pub use ids::SocketId;
pub use limits::Limits;
pub use outbox::Next;
pub use path::Path;
pub use server::{Counts, Input, Server};
pub use socket::EndReason;
