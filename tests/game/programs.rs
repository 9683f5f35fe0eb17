//! The programs in `examples/` that a reader starts from, at a real server.

use std::process::Command;

use voicemesh::{DataEvent, Event, GridAxes, ProximityGrid, Reliability, RoomEvent, VoiceEvent};
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
        Event::Room(RoomEvent::Text { text, .. }) => (text == "you said: hello").then_some(()),
        _ => None,
    });
    ben.room.send_text("leave, Bot");
    program.wait_for_line("left", PATIENCE);
    assert!(program.wait_for_exit(PATIENCE).success(), "{}", program.transcript());
}

#[test]
fn a_program_with_its_own_audio_engine_is_heard() {
    let folder = Folder::create("engine");
    let mut ben = Player::join(server(), "engine", "Ben");
    let state = folder.file("engine").display().to_string();
    let _engine = example("own_audio_engine", &[server(), "engine", "Engine", &state, "60"]);
    let humming = ben.meets("Engine");
    ben.wait("the hum", |event| {
        let heard = VoiceEvent::FirstHeard { peer: humming };
        (*event == Event::Voice(heard)).then_some(())
    });
}

#[test]
fn a_walker_is_heard_near_and_not_far_away() {
    let folder = Folder::create("walker");
    let mut ben = Player::join(server(), "walk", "Ben");
    ben.room.group("Global").leave();
    let mut grid = ProximityGrid::new("line", 20.0, GridAxes::Ground).unwrap();
    let state = folder.file("state").display().to_string();
    let _walker = example("proximity", &[server(), "walk", "Walker", &state, "tone", "null"]);
    let walking = ben.meets("Walker");
    let speaking = |ben: &mut Player, wanted: bool, what: &str| {
        ben.wait(what, |event| match event {
            Event::Voice(VoiceEvent::Speaking { peer, speaking }) => {
                (*peer == walking && *speaking == wanted).then_some(())
            }
            _ => None,
        });
    };
    // Twice, so that the silence is one of distance, and not of a walker that is gone.
    for _ in 0..2 {
        let x = ben.wait("where the walker is", |event| match event {
            Event::Data(DataEvent::Message { from, data, .. }) if *from == walking => {
                <[u8; 4]>::try_from(&data[..]).ok().map(f32::from_le_bytes)
            }
            _ => None,
        });
        ben.room.move_in(&mut grid, [x, 0.0, 0.0]);
        speaking(&mut ben, true, "the walker's speech nearby");
        // Half a kilometre beyond the line that it walks on.
        ben.room.move_in(&mut grid, [600.0, 0.0, 0.0]);
        speaking(&mut ben, false, "silence far away");
        let frames = |ben: &Player| {
            let snapshot = ben.room.snapshot();
            snapshot
                .peers
                .iter()
                .find(|peer| peer.peer == walking)
                .map_or(0, |peer| peer.frames_received)
        };
        let before = frames(&ben);
        // Each message is one of the walker's frames of 16 ms, so that this is about a second.
        ben.poll();
        ben.events.clear();
        for _ in 0..60 {
            assert_eq!(ben.message().0, walking);
        }
        let late = frames(&ben) - before;
        assert!(late <= 5, "{late} frames came from far away");
        ben.events.clear();
    }
}
