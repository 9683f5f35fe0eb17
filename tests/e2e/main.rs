//! End to end: real processes, real sockets, real WebRTC, real Opus, and sound that is compared
//! with what was spoken.
//!
//! One room runs at a time ([`alone`]): several at once would measure how busy the machine is.

mod breaks;
mod heard;
mod leaving;
mod lobby;
#[cfg(target_os = "linux")]
mod memory_image;
mod moderation;
mod moving;
#[cfg(target_os = "linux")]
mod networks;
mod places;
mod proxies;
mod recording;
mod secrecy;
#[cfg(target_os = "linux")]
mod sound_server;
mod tap;
#[cfg(unix)]
mod terminal;
mod text;
#[cfg(target_os = "linux")]
mod turn;

use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use serde_json::Value;
use voicemesh_common::lock;
use voicemesh_tests::hear::{Floor, Hearing, compare, compare_with_cut};
use voicemesh_tests::process::Program;
use voicemesh_tests::{room, speech};

/// Held by each test that runs a room.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    lock(&ONE_AT_A_TIME)
}

/// What was heard into `file` is what `voice` says.
fn assert_heard(voice: &str, file: &Path) -> Hearing {
    let hearing = compare(&speech::load(voice), &room::heard(file));
    if let Err(why) = hearing.verdict(&Floor::default()) {
        panic!("{voice} was not heard: {why} ({hearing})");
    }
    hearing
}

/// The same, but for a cut: what is not heard because of it, the gap itself and what is hurried
/// through after it, is at most so long in all.
fn assert_heard_but_for(voice: &str, file: &Path, cut_ms: f64) -> Hearing {
    let hearing = compare_with_cut(&speech::load(voice), &room::heard(file), cut_ms);
    let unheard_ms = hearing.unheard_in_cut_ms + hearing.unheard_total_ms;
    let floor = Floor { unheard_ms: cut_ms, ..Floor::default() };
    if let Err(why) = hearing.verdict(&floor) {
        panic!("{voice} was not heard: {why} ({hearing})");
    }
    assert!(unheard_ms <= cut_ms, "{unheard_ms} ms of {voice} were not heard ({hearing})");
    hearing
}

/// The status that this program reports now.
fn status(program: &mut Program) -> Value {
    program.type_line("/who");
    room::wait_for(program, "status").json
}

/// Waits until this many more frames of a peer have been heard than now.
fn wait_until_heard(program: &mut Program, name: &str, frames: u64) {
    room::wait_for_peer(program, "first-heard", name);
    wait_until_heard_more(program, name, frames);
}

/// The same of a peer that has been heard before.
fn wait_until_heard_more(program: &mut Program, name: &str, frames: u64) {
    let heard = |program: &mut Program| {
        room::of_peer(&status(program), name)["frames_heard"].as_u64().unwrap()
    };
    let (before, deadline) = (heard(program), Instant::now() + room::PATIENCE);
    while heard(program) < before + frames {
        assert!(Instant::now() < deadline, "{name} is not heard\n{}", program.transcript());
    }
}
