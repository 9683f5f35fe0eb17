//! Games in Rust: Bevy, without a picture, and a plain loop.

use std::process::Command;

use voicemesh_tests::process::{Program, binary};
use voicemesh_tests::room::{Folder, Joining, PATIENCE, Server, leave, wait_for, wait_for_peer};
use voicemesh_tests::speech;

use crate::{alone, assert_talks};

fn start(example: &str, name: &str, voice: &str, server: &Server, folder: &Folder) -> Program {
    let mut command = Command::new(binary(&format!("examples/{example}")));
    command.args([&server.url(), "engines", name]).arg(folder.file(name));
    command.arg(format!("{}:loop", speech::path(voice).display())).arg("null");
    Program::start(name, command)
}

/// proves: B-11
#[test]
fn a_bevy_game_and_a_plain_loop_walk_and_talk_in_one_room() {
    let _alone = alone();
    let folder = Folder::create("rust");
    let server = Server::start(&[]);
    let mut bob = start("bevy_game", "bob", "numbers", &server, &folder);
    let mut cleo = start("game_loop", "cleo", "cards", &server, &folder);
    wait_for_peer(&mut cleo, "peer-joined", "bob");
    wait_for_peer(&mut cleo, "first-heard", "bob");
    wait_for_peer(&mut cleo, "placed", "bob");
    wait_for(&mut bob, "placed");
    for (game, words) in [(&mut bob, "hello, bob"), (&mut cleo, "hello, cleo")] {
        game.wait_for(words, PATIENCE, |json| json["event"] == "message" && json["text"] == words);
    }
    let mut ada =
        Joining::new(&server.url(), "engines", "ada").speaking_on("reader").start(&folder);
    assert_eq!(assert_talks(&mut ada, &mut bob), "left");
    wait_for_peer(&mut cleo, "peer-left", "bob");
    ada.type_line("leave, cleo");
    wait_for(&mut cleo, "done");
    assert!(cleo.wait_for_exit(PATIENCE).success());
    assert_eq!(wait_for_peer(&mut ada, "peer-left", "cleo").json["reason"], "left");
    leave(ada);
}
