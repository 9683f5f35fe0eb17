//! Calls over networks as people have them (Linux, root): real programs in network namespaces,
//! judged by what was heard.
//!
//! Each file is a table of cases with their bounds. One case of each kind runs with `cargo test`;
//! the whole tables are ignored tests, which `make test-long PART=nets` runs and writes to
//! `docs/measured`. `CASES="name; name"` picks from a table.
//!
//! - `uplinks`: narrow uplinks and downlinks.
//! - `moving`: networks that change during a call.
//! - `reaching`: how a server is named and reached.
//! - `soak`: eight peers for a long time.
//! - `meeting`: do two peers reach each other directly, by kind of NAT, address family, MTU and
//!   interfaces?

#![cfg(target_os = "linux")]

mod meeting;
mod moving;
mod reaching;
mod soak;
mod table;
mod two_homes;
mod uplinks;

use std::sync::{Mutex, MutexGuard};

use voicemesh_common::lock;

/// Held by each test that runs a lab: several at once would measure how busy the machine is.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    lock(&ONE_AT_A_TIME)
}
