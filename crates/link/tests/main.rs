//! Links over loopback and in network namespaces.

mod common;
mod cost;
mod hostile;
mod namespaces;
mod network;
mod pair;
mod room;
mod turn;
