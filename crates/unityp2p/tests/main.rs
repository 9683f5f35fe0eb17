//! The server of UnityP2P's clients, without sockets.

mod common;
mod limits;
mod model;
mod order;
