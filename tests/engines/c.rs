//! The C example, linked both ways, and watched by valgrind.

use std::process::Command;

use voicemesh_tests::process::Program;
use voicemesh_tests::room::{Folder, Joining, Server, leave};
use voicemesh_tests::{skip, speech};

use crate::prefix::{Prefix, root};
use crate::{alone, assert_talks};

const EXAMPLE: &str = "crates/capi/examples/room.c";

/// Lets the example, as `command` runs it, talk with a peer of ours.
fn talk(prefix: &Prefix, mut command: Command) -> Program {
    let folder = Folder::create("c");
    let server = Server::start(&[]);
    let mut ada = Joining::new(&server.url(), "engines", "ada").speaking_on("reader").start(&folder);
    prefix.lend(&mut command);
    command.args([&server.url(), "engines", "bob"]).arg(folder.file("bob"));
    command.arg(format!("{}:loop", speech::path("numbers").display())).arg("null");
    let mut bob = Program::start("bob", command);
    assert_talks(&mut ada, &mut bob);
    leave(ada);
    bob
}

/// proves: B-14
#[test]
fn the_c_example_talks_linked_either_way() {
    let _alone = alone();
    if !skip::can_run("the_c_example_talks_linked_either_way", false, &["cc", "pkg-config"]) {
        return;
    }
    let prefix = Prefix::install();
    let shared = prefix.compile(EXAMPLE, "room", false);
    talk(&prefix, Command::new(shared));
    let with_it_inside = prefix.compile(EXAMPLE, "room-static", true);
    std::fs::remove_dir_all(prefix.libraries()).expect("the libraries are there");
    talk(&prefix, Command::new(with_it_inside));
}

/// proves: B-14
#[test]
#[cfg(target_os = "linux")]
fn valgrind_finds_no_fault_in_the_c_example() {
    let _alone = alone();
    if !skip::can_run("valgrind_finds_no_fault_in_the_c_example", false, &["cc", "pkg-config", "valgrind"]) {
        return;
    }
    let prefix = Prefix::install();
    let program = prefix.compile(EXAMPLE, "room", false);
    let mut valgrind = Command::new("valgrind");
    // Lost memory counts where nothing points to it any more: what lives as long as the program is no leak.
    valgrind.args(["--quiet", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=definite"]);
    valgrind.args(["--errors-for-leak-kinds=definite", "--fair-sched=yes"]);
    valgrind.arg(format!("--suppressions={}", root().join("tests/engines/valgrind.supp").display())).arg(program);
    talk(&prefix, valgrind);
}

/// Run by scripts/sanitize.sh, which builds the example for it. The sanitizers end a program in which they find a fault with a
/// result of their own.
#[test]
#[ignore = "needs a build of its own: make sanitize"]
fn a_sanitizer_finds_no_fault_in_the_c_example() {
    let _alone = alone();
    let program = std::env::var_os("VOICEMESH_ROOM").expect("VOICEMESH_ROOM names the example");
    let prefix = Prefix::install();
    let bob = talk(&prefix, Command::new(program));
    assert!(!bob.transcript().contains("Sanitizer"), "{}", bob.transcript());
}
