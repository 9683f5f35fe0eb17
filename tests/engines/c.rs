//! The C example, linked both ways, and watched by valgrind.

use std::process::Command;

use voicemesh_tests::process::{Program, binary};
use voicemesh_tests::room::{Folder, Joining, Server, leave};
use voicemesh_tests::{skip, speech};

use crate::prefix::{Prefix, root, run};
use crate::{alone, assert_talks, places};

const EXAMPLE: &str = "crates/capi/examples/room.c";
const PLACES: &str = "crates/capi/examples/places.c";

/// Lets the example, as `command` runs it, talk with a peer of ours.
fn talk(mut command: Command) -> (Program, String) {
    let folder = Folder::create("c");
    let server = Server::start(&[]);
    let ada = Joining::new(&server.url(), "engines", "ada");
    command.args([&server.url(), "engines", "bob"]);
    talk_in(&folder, command, ada)
}

/// The same, in a room that both know already.
fn talk_in(folder: &Folder, mut command: Command, ada: Joining) -> (Program, String) {
    let mut ada = ada.speaking_on("reader").start(folder);
    command
        .arg(folder.file("bob"))
        .arg(format!("{}:loop", speech::path("numbers").display()))
        .arg("null");
    let mut bob = Program::start("bob", command);
    let reason = assert_talks(&mut ada, &mut bob);
    leave(ada);
    (bob, reason)
}

/// proves: B-14
#[test]
fn the_c_example_talks_linked_either_way() {
    let _alone = alone();
    if !skip::can_run("the_c_example_talks_linked_either_way", false, &["cc", "pkg-config"]) {
        return;
    }
    let prefix = Prefix::install();
    let mut shared = Command::new(prefix.compile(EXAMPLE, "room", false));
    prefix.lend(&mut shared);
    assert_eq!(talk(shared).1, "left");
    let with_it_inside = prefix.compile(EXAMPLE, "room-static", true);
    std::fs::remove_dir_all(prefix.libraries()).expect("the libraries are there");
    assert_eq!(talk(Command::new(with_it_inside)).1, "left");
}

/// proves: B-14
#[test]
fn a_program_in_c_joins_by_a_link_with_an_access_token() {
    let _alone = alone();
    let name = "a_program_in_c_joins_by_a_link_with_an_access_token";
    if !skip::can_run(name, false, &["cc", "pkg-config"]) {
        return;
    }
    let prefix = Prefix::install();
    let folder = Folder::create("c-link");
    let secret = folder.file("secret");
    std::fs::write(&secret, "a secret of thirty-two bytes or more").expect("it is kept");
    let secret = secret.display().to_string();
    let server = Server::start(&["--auth-secret", &secret]);
    let mut asked = Command::new(binary("voicemesh"));
    let token = run(asked.args(["token", "--secret", &secret, "engines"]));
    let (token, address) = (token.trim(), server.address);
    let mut command = Command::new(prefix.compile(EXAMPLE, "room", false));
    prefix.lend(&mut command);
    // The link comes before the server, where there is none.
    command.args(["ws://127.0.0.1:1", &format!("http://{address}/r/engines#t={token}"), "bob"]);
    let ada = Joining::new(&server.url(), "engines", "ada").with(&["--token", token]);
    assert_eq!(talk_in(&folder, command, ada).1, "left");
}

/// proves: B-11, B-14
#[test]
fn a_game_in_c_has_places_its_own_sound_and_a_lobby() {
    let _alone = alone();
    if !skip::can_run(
        "a_game_in_c_has_places_its_own_sound_and_a_lobby",
        false,
        &["cc", "pkg-config"],
    ) {
        return;
    }
    let prefix = Prefix::install();
    let mut command = Command::new(prefix.compile(PLACES, "places", false));
    prefix.lend(&mut command);
    places::play(command);
}

/// proves: B-14
#[test]
#[cfg(target_os = "linux")]
fn valgrind_finds_no_fault_in_the_c_examples() {
    let _alone = alone();
    if !skip::can_run(
        "valgrind_finds_no_fault_in_the_c_examples",
        false,
        &["cc", "pkg-config", "valgrind"],
    ) {
        return;
    }
    let prefix = Prefix::install();
    // Leaving waits a second for the farewell; under valgrind that can be too short, and "lost" is
    // right as well.
    talk(valgrind(&prefix, EXAMPLE, "room"));
    places::play(valgrind(&prefix, PLACES, "places"));
}

/// An example under valgrind's eyes, which ends it with an error if there is a fault.
#[cfg(target_os = "linux")]
fn valgrind(prefix: &Prefix, example: &str, name: &str) -> Command {
    let program = prefix.compile(example, name, false);
    let mut valgrind = Command::new("valgrind");
    // Lost memory counts where nothing points to it any more: what lives as long as the program is
    // no leak.
    valgrind.args([
        "--quiet",
        "--error-exitcode=99",
        "--leak-check=full",
        "--show-leak-kinds=definite",
    ]);
    valgrind.args(["--errors-for-leak-kinds=definite", "--fair-sched=yes"]);
    valgrind
        .arg(format!("--suppressions={}", root().join("tests/engines/valgrind.supp").display()))
        .arg(program);
    prefix.lend(&mut valgrind);
    valgrind
}

/// Run by scripts/sanitize.sh, which builds the example for it. The sanitizers end a program in
/// which they find a fault with a result of their own.
#[test]
#[ignore = "needs a separate build: make sanitize"]
fn a_sanitizer_finds_no_fault_in_the_c_examples() {
    let _alone = alone();
    let built = |name: &str| {
        Command::new(std::env::var_os(name).unwrap_or_else(|| panic!("{name} names an example")))
    };
    for bob in [talk(built("VOICEMESH_ROOM")).0, places::play(built("VOICEMESH_PLACES"))] {
        assert!(!bob.transcript().contains("Sanitizer"), "{}", bob.transcript());
    }
}
