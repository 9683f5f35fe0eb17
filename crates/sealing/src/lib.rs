//! Packets of a session, sealed end to end and opened (PROTOCOL.md, section 18, "What is sealed"):
//! between the session, which handles plain packets only, and whatever carries them.
//!
//! The keys are those of a [`KeyRing`](voicemesh_e2ee::KeyRing), which the caller owns together with
//! what it knows of the members: a room has them from its server's messages
//! (`voicemesh-mesh`), a network without rooms from the session (`voicemesh-engine`). What is here
//! is the same for both.
//!
//! - [`seal`]: what one member is sent on a link.
//! - [`seal_for_server`]: what the server is sent, speech and texts for others inside.
//! - [`sender`], [`open`]: who says to have sent a packet, and what it says.

mod member_encryption;
mod packets;
mod seeds;

pub use member_encryption::MemberEncryption;
pub use packets::{
    ForServer, Incoming, MOST_OVERHEAD_BYTES, OVERHEAD_BYTES, Outgoing, open, seal,
    seal_for_server, seal_name, sender, unnamed,
};
pub use seeds::Seeds;
