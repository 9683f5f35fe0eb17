//! End to end: real processes, real sockets, real WebRTC, real Opus, and sound that is compared with what was spoken.
//!
//! One room runs at a time ([`alone`]): several at once would measure how busy the machine is.

mod breaks;
mod heard;
mod leaving;
#[cfg(target_os = "linux")]
mod networks;
#[cfg(target_os = "linux")]
mod sound_server;
mod words;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use voicemesh_tests::hear::{Floor, Hearing, compare, compare_with_cut};
use voicemesh_tests::{room, speech};

/// Held by each test that runs a room.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was heard into `file` is what `voice` says.
fn assert_heard(voice: &str, file: &Path) -> Hearing {
    let hearing = compare(&speech::load(voice), &room::heard(file));
    if let Err(why) = hearing.verdict(&Floor::default()) {
        panic!("{voice} was not heard: {why} ({hearing})");
    }
    hearing
}

/// The same, with one stated cut.
fn assert_heard_but_for(voice: &str, file: &Path, cut_ms: f64) -> Hearing {
    let hearing = compare_with_cut(&speech::load(voice), &room::heard(file), cut_ms);
    if let Err(why) = hearing.verdict(&Floor::default()) {
        panic!("{voice} was not heard: {why} ({hearing})");
    }
    hearing
}
