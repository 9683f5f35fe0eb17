//! The server over real sockets.

mod admin;
mod aiortc;
mod common;
mod hostile;
mod life;
#[cfg(feature = "nats")]
mod nats;
mod page;
mod passwords;
mod proxied;
mod rooms;
mod unityp2p;
