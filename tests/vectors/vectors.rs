//! Golden vectors of the protocol as JSON, for any implementation to test against. Each file says
//! in `about` how it is read (PROTOCOL.md of `voicemesh-wire`, section 14).

/// Scripted attempts to open links.
pub const ATTEMPTS: &str = include_str!("attempts.json");
/// End-to-end encryption: derivations, formats and sealed payloads.
pub const E2EE: &str = include_str!("e2ee.json");
/// Invitations and what they contain.
pub const INVITATIONS: &str = include_str!("invitations.json");
/// Scripted links: health and routes.
pub const LINKS: &str = include_str!("links.json");
/// Names of rooms and people.
pub const NAMES: &str = include_str!("names.json");
/// Packets, byte for byte.
pub const PACKETS: &str = include_str!("packets.json");
/// What people paste where a room is asked for.
pub const PASTED: &str = include_str!("pasted.json");
/// Whole sealed packets, and what they stand for.
pub const SEALED_PACKETS: &str = include_str!("sealed-packets.json");
/// Signaling messages, proofs and keys.
pub const SIGNALING: &str = include_str!("signaling.json");
/// Simulated uplinks and what a speaker decides.
pub const UPLINK: &str = include_str!("uplink.json");
