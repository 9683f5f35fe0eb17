//! Programs in other languages, built as their authors would build them, in a room with a peer of
//! ours.
//!
//! One room runs at a time ([`alone`]).

mod c;
mod csharp;
mod over;
mod places;
mod prefix;
mod rust;

use std::sync::{Mutex, MutexGuard};

use voicemesh_common::lock;
use voicemesh_tests::process::Program;
use voicemesh_tests::room::{PATIENCE, wait_for, wait_for_peer, wait_for_route};

/// Held by each test that runs a room.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    lock(&ONE_AT_A_TIME)
}

/// A peer of ours, "ada", meets a program, "bob": they hear each other, it answers what she writes,
/// and leaves when she says so. Gives why it left, as she was told.
fn assert_talks(ada: &mut Program, bob: &mut Program) -> String {
    for event in ["joined", "connected"] {
        wait_for(bob, event);
    }
    wait_for_peer(bob, "peer-joined", "ada");
    wait_for_peer(ada, "peer-joined", "bob");
    wait_for_peer(ada, "first-heard", "bob");
    wait_for(bob, "first-heard");
    // By way of the server that goes quickly; a link has more to do.
    wait_for_route(ada, "bob", "direct");
    ada.type_line("grüß \"dich\" \\");
    let text = |program: &mut Program| {
        program.wait_for("a text", PATIENCE, |json| json["event"] == "text").json
    };
    let heard = text(bob);
    assert_eq!((&heard["name"], &heard["text"]), (&"ada".into(), &"grüß \"dich\" \\".into()));
    assert_eq!(text(ada)["text"], "you said: grüß \"dich\" \\");
    ada.type_line("/mute");
    bob.wait_for("ada muted", PATIENCE, |json| {
        json["event"] == "status-changed" && json["muted"] == true
    });
    ada.type_line("leave, bob");
    wait_for(bob, "done");
    let status = bob.wait_for_exit(PATIENCE);
    assert!(status.success(), "{status}\n{}", bob.transcript());
    wait_for_peer(ada, "peer-left", "bob").json["reason"].as_str().unwrap_or_default().to_owned()
}
