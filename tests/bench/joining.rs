//! How long it takes until one hears, and until the link is direct: one speaks, and others join one
//! after the other, each a new process with a new identity.

use crate::programs::{
    Folder, Server, Way, at_ms, join, leave, speaking, wait_for, wait_for_direct,
};
use crate::report::{Row, Spread};
use crate::run::Scale;

const JOINERS: usize = 10;
/// From the server's answer to the join.
const FIRST_VOICE_TARGET_MS: f64 = 100.0;
/// From the call that joins, so with connecting and asking.
const DIRECT_TARGET_MS: f64 = 250.0;

/// Rows 1 and 2.
pub fn measure(scale: Scale) -> Vec<Row> {
    let folder = Folder::create();
    let mut server = Server::start();
    let mut speaker = join(&server, &folder, "speaker", Way::Direct, &speaking());
    wait_for(&mut speaker, "connected");
    let (mut voice, mut direct, mut direct_after_answer) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..scale.count(JOINERS).max(2) {
        let mut joiner =
            join(&server, &folder, &format!("joiner-{number}"), Way::Direct, "silence");
        let answer = at_ms(&wait_for(&mut joiner, "joined"));
        voice.push(at_ms(&wait_for(&mut joiner, "first-heard")) - answer);
        let at = at_ms(&wait_for_direct(&mut joiner));
        direct.push(at);
        direct_after_answer.push(at - answer);
        leave(joiner);
        wait_for(&mut speaker, "peer-left");
    }
    leave(speaker);
    server.program.kill();
    let after = Spread::of(&direct_after_answer).map_or(f64::NAN, |spread| spread.median);
    vec![
        Row {
            name: "join answer → first voice heard",
            unit: "ms",
            target: Some(FIRST_VOICE_TARGET_MS),
            values: voice,
            note: String::new(),
        },
        Row {
            name: "join → direct",
            unit: "ms",
            target: Some(DIRECT_TARGET_MS),
            values: direct,
            note: format!("from the answer {after:.1}"),
        },
    ]
}
