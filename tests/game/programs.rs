//! The programs in `examples/` that a reader starts from, at a real server.

use std::process::Command;

use voicemesh::Reliability;
use voicemesh_tests::process::{Program, binary};
use voicemesh_tests::room::Folder;

use crate::friends::{PATIENCE, Player};
use crate::server;

fn example(name: &str, arguments: &[&str]) -> Program {
    let mut command = Command::new(binary(&format!("examples/{name}")));
    command.args(arguments);
    Program::start(name, command)
}

#[test]
fn the_shortest_program_says_who_is_here() {
    let folder = Folder::create("minimal");
    let mut command = Command::new(binary("examples/minimal"));
    // Where the identity is kept, if no option says so.
    command.env("HOME", folder.file("home")).env("XDG_STATE_HOME", folder.file("state"));
    command.args([server(), "minimal", "null", "null"]);
    let mut program = Program::start("minimal", command);
    let mut ben = Player::join(server(), "minimal", "Ben");
    ben.meets("Ada");
    program.wait_for_line("Ben is here", PATIENCE);
    assert!(program.is_running(), "{}", program.transcript());
}

#[test]
fn the_bot_answers_what_is_written_and_sent_and_leaves_on_request() {
    let folder = Folder::create("bot");
    let mut ben = Player::join(server(), "bot", "Ben");
    let state = folder.file("bot").display().to_string();
    let mut program = example("bot", &[server(), "bot", "Bot", &state]);
    let bot = ben.meets("Bot");
    program.wait_for_line("Ben is here", PATIENCE);
    ben.room.participant(bot).send(b"marco", Reliability::Reliable).unwrap();
    assert_eq!(ben.message().1, b"marco");
    ben.room.participant(bot).send_text("hello");
    ben.wait("an answer", |event| match event {
        voicemesh::Event::Room(voicemesh::RoomEvent::Text { text, .. }) => (text == "you said: hello").then_some(()),
        _ => None,
    });
    ben.room.send_text("leave, Bot");
    program.wait_for_line("left", PATIENCE);
    assert!(program.wait_for_exit(PATIENCE).success(), "{}", program.transcript());
}

#[test]
fn a_program_with_its_own_audio_engine_and_a_walker_are_heard() {
    let folder = Folder::create("engine");
    let mut ben = Player::join(server(), "engine", "Ben");
    let state = |name: &str| folder.file(name).display().to_string();
    let mut engine = example("own_audio_engine", &[server(), "engine", "Engine", &state("engine"), "60"]);
    let humming = ben.meets("Engine");
    ben.wait("the hum", |event| {
        let heard = voicemesh::VoiceEvent::FirstHeard { peer: humming };
        (*event == voicemesh::Event::Voice(heard)).then_some(())
    });
    engine.kill();
    let walker = example("proximity", &[server(), "engine", "Walker", &state("walker"), "tone", "null"]);
    let walking = ben.meets("Walker");
    // It sends its position in each frame.
    ben.wait("a position", |event| match event {
        voicemesh::Event::Data(voicemesh::DataEvent::Message { from, data, .. }) => {
            (*from == walking && data.len() == 4).then_some(())
        }
        _ => None,
    });
    drop(walker);
}
