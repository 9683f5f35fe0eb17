//! The integration over real matchbox sockets, which meet by a signaling server in the test.

mod conformance;
mod hostile;
mod promises;
mod room_party;
mod signaling;
