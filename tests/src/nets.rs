//! Networks as people have them, made of Linux network namespaces (root): an internet, homes behind
//! NAT, a server with STUN and TURN, and a link that delays, loses and limits.
//!
//! ```text
//!                 ┌─ server host: signaling .50, STUN and TURN .51
//!  internet ──────┼─ public hosts
//!  203.0.113.0/24 ├─ router (NAT) ── LAN 192.168.1.0/24 ── hosts
//!  2001:db8::/64  └─ router (NAT) ── LAN 192.168.2.0/24 ── hosts
//! ```
//!
//! - [`Internet`], [`Home`], [`Host`]: the topology. All addresses exist only inside the
//!   namespaces.
//! - [`Nat`]: how a router maps and filters, as nftables rules.
//! - [`Impairment`] and [`ImpairedLink`]: a user-space link between two namespaces
//!   (`voicemesh-impair`), changed while it runs.
//! - [`servers`]: the signaling server, coturn, nginx and small proxies on such hosts.
//! - [`Speaker`]: a `voicemesh join` process that speaks a WAV file and records what it hears.
//! - [`listening`]: gaps and mouth-to-ear delay over time of such a recording.
//!
//! Namespaces carry the process id in their names; what a killed process leaves behind is removed
//! by the next run.

mod home;
mod host;
mod impaired;
mod impairment;
mod internet;
pub mod listening;
mod nat;
pub mod servers;
mod speaker;
mod speech_mix;

pub use home::Home;
pub use host::Host;
pub use impaired::ImpairedLink;
pub use impairment::{Counts, Impairment, Limit, OneWay};
pub use internet::{Internet, SERVER, SERVER_V6, STUN};
pub use nat::Nat;
pub use speaker::{Ended, Exchange, Joining, Speaker, now};
pub use speech_mix::continuous_speech;
