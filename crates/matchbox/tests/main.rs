//! The integration over real matchbox sockets, which meet by a signaling server of the test's own.

mod conformance;
mod hostile;
mod promises;
mod room_party;
mod signaling;
