//! The voice session as pure state machines: packets and time in, packets and events out.
//!
//! - [`server::Server`] assigns client ids, replicates who listens to what, and relays. It runs
//!   inside the signaling server, or inside a peer.
//! - [`client::Client`] joins a server, keeps its copy of who listens to what, addresses speech,
//!   and decides for each pair whether speech travels directly or through the relay.
//! - [`network::Network`] is the seam for what carries packets. Neither of the two has a network:
//!   [`network::carry_out`] does with one what a client wants.
//!
//! The shape of the loop: hand every event of the network to [`Client::network_event`], call
//! [`Client::update`] when [`Client::poll_timeout`] says so, take the outputs after each call, then
//! the events. Time is a [`std::time::Duration`] since an epoch that the caller chooses once; nothing
//! here reads a clock, and the same inputs give the same outputs.

pub mod budget;
pub mod client;
pub mod data;
pub mod network;
mod network_event;
pub mod output;
mod roster;
pub mod route;
pub mod server;
mod stream;
mod table;
mod transport;
pub mod voice_targets;

pub use budget::Budgets;
pub use client::{Client, ClientConfig, ClientEvent};
pub use network::{Delivery, Network, Reliability};
pub use output::{LinkPacket, Output};
pub use roster::{Abilities, Roster, RosterEntry, ServerHealth, TextReader};
pub use server::{Purpose, Server, ServerConfig, ServerOutput, Verdict};
pub use table::Table;

use voicemesh_wire::Permissions;
use voicemesh_wire::packet::Kind;

/// The talk group that everybody listens and speaks to until told otherwise.
pub const GLOBAL_GROUP: &str = "Global";

/// Whether a member with these permissions may send this to others. Acknowledgements and resets
/// carry nothing of their sender's: without them it could not receive.
pub(crate) fn permits(permissions: Permissions, kind: Kind) -> bool {
    match kind {
        Kind::VoiceData | Kind::VoiceCopies => permissions.speak,
        Kind::DataSegment | Kind::DataMessage | Kind::SealedText | Kind::Unassigned(_) => {
            permissions.data
        }
        _ => true,
    }
}
