//! Session packets.
/// Why bytes are not a packet.
#[derive(Debug)]
pub enum DecodeError {}
