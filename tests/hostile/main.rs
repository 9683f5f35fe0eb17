//! A hostile client of the project's own, against the server as operators run it: over real sockets
//! on loopback, bounded in count and time. Each case prints what the server held before, at its
//! peak and after.

mod again;
mod bytes;
mod client;
mod control;
mod doors;
mod heads;
mod machine;
mod memory;
mod moderation;
mod names;
mod operator;
mod pairs;
mod requests;
mod slow;
mod status;
mod tokens;

#[path = "../bench/socket.rs"]
mod socket;
