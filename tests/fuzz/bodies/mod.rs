//! What each fuzz target does with its input. Included by the test that replays the committed
//! corpus, so that both check the same.

pub mod client;
pub mod jitter;
pub mod packet;
pub mod rooms;
pub mod sealed;
pub mod send_queue;
pub mod server;
pub mod signaling;

mod input;
