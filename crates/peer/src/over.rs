//! Voice over a network that a game has already: no signaling server, no WebRTC.
//!
//! The game implements [`Network`] for its networking (docs/your-network.md), or takes an
//! integration that there is. [`Voice`] does the rest, with the devices and a thread that it has
//! for itself; microphone, speaker, groups, members and events are those of a
//! [`Room`](crate::Room).
//!
//! ```
//! use std::time::Duration;
//!
//! use voicemesh::over::{Mode, Options, Voice};
//! use voicemesh::{Event, InputSpec, OutputSpec, RoomEvent};
//! use voicemesh_networks::memory::{ClientParameters, Hub, ServerParameters};
//!
//! # fn main() -> Result<(), voicemesh::JoinError> {
//! let hub = Hub::new();
//! // A game leaves the two devices out: then they are the default microphone and speaker.
//! let silent = |name| Options::new(name).input(InputSpec::Silence).output(OutputSpec::Null);
//! let mut ada = Voice::new(silent("Ada"), hub.endpoint())?;
//! let mut ben = Voice::new(silent("Ben"), hub.endpoint())?;
//!
//! let server = || ServerParameters { address: "game".to_owned() };
//! let client = || ClientParameters { address: "game".to_owned() };
//! let mut names = Vec::new();
//! // Frames of a game.
//! while names.len() < 2 {
//!     // What the game's own networking is at this moment.
//!     ada.follow(Mode::Host, server, client);
//!     ben.follow(Mode::Client, server, client);
//!     for voice in [&mut ada, &mut ben] {
//!         voice.update();
//!         while let Some(event) = voice.poll_event() {
//!             if let Event::Room(RoomEvent::PeerJoined { name, .. }) = event {
//!                 names.push(name);
//!             }
//!         }
//!     }
//!     std::thread::yield_now();
//! }
//! # names.sort();
//! # assert_eq!(names, ["Ada", "Ben"]);
//! # Ok(()) }
//! ```
//!
//! **Who runs the network.** The thread of the voice does, at least every 5 ms: the network is
//! moved there, and a game that stalls for seconds, while it loads, is heard all the time. So the
//! network must be [`Send`], and the game reaches its own networking through whatever the two
//! share. A network that only the game's thread may touch is taken apart by [`polled`].

mod members;
pub mod network;
mod options;
mod orders;
mod polled;
mod voice;
mod worker;

pub use options::Options;
pub use polled::{Polled, Pump, polled};
pub use voice::Voice;
pub use voicemesh_engine::Mode;
pub use voicemesh_link::{local_addresses, source_address};
pub use voicemesh_session::Network;
