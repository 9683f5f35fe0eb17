//! Voice over networks that games in C and C# have of their own.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use voicemesh_quality::hear::{Floor, compare};
use voicemesh_quality::wav;
use voicemesh_tests::process::Program;
use voicemesh_tests::room::{Folder, PATIENCE, wait_for, wait_for_peer};
use voicemesh_tests::{skip, speech};

use crate::alone;
use crate::csharp::compile;
use crate::prefix::Prefix;

const EXAMPLE: &str = "crates/capi/examples/over.c";
const SAMPLES_IN_A_FRAME: usize = 960;
/// 16 bytes each.
const KEY: &str = "P6KRDHce1Fi5YCvjFY3PRg==";
const ANOTHER_KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

/// What one speaks, as the programs take it.
fn spoken(voice: &str) -> String {
    format!("{}:loop", speech::path(voice).display())
}

fn assert_heard(voice: &str, file: &Path) {
    let heard = wav::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    compare(&speech::load(voice), &heard).verdict(&Floor::default()).unwrap();
}

/// How what passes between a program and another one is encrypted.
fn encryption(program: &mut Program, how: &str) {
    program.wait_for(how, PATIENCE, |json| json["event"] == "encryption" && json["text"] == how);
}

#[test]
fn a_network_of_functions_in_c_carries_two_voices() {
    let _alone = alone();
    if !skip::can_run(
        "a_network_of_functions_in_c_carries_two_voices",
        false,
        &["cc", "pkg-config"],
    ) {
        return;
    }
    let prefix = Prefix::install();
    let folder = Folder::create("over-c");
    let mut command = Command::new(prefix.compile(EXAMPLE, "over", false));
    prefix.lend(&mut command);
    let files = [folder.file("ada.wav"), folder.file("ben.wav")];
    let longest = ["reader", "cards"].map(|voice| speech::load(voice).len()).into_iter().max();
    // They meet in the middle of it; twice as many frames hold all of it at least once.
    let frames = 2 * longest.unwrap_or_default() / SAMPLES_IN_A_FRAME;
    command.arg(spoken("reader")).arg(&files[0]).arg(spoken("cards")).arg(&files[1]);
    command.arg(frames.to_string());
    let mut program = Program::start("over", command);
    for (at, from) in [("Ada", "Ben"), ("Ben", "Ada")] {
        program.wait_for("a text", PATIENCE, |json| {
            json["event"] == "text" && json["at"] == at && json["name"] == from
        });
        // From the options' key.
        let has_key = |event: &voicemesh_tests::process::Event| {
            event.json["event"] == "encryption"
                && event.json["at"] == at
                && event.json["code"] == "verified"
        };
        assert!(program.history().any(has_key), "{at}:\n{}", program.transcript());
    }
    program.wait_for("its end", 4 * PATIENCE, |json| json["event"] == "done");
    let status = program.wait_for_exit(PATIENCE);
    assert!(status.success(), "{status}\n{}", program.transcript());
    assert_heard("cards", &files[0]);
    assert_heard("reader", &files[1]);
}

#[test]
fn base_classes_in_csharp_carry_two_voices_over_udp_under_mono() {
    let _alone = alone();
    if !skip::can_run(
        "base_classes_in_csharp_carry_two_voices_over_udp_under_mono",
        false,
        &["mcs", "mono"],
    ) {
        return;
    }
    let prefix = Prefix::install();
    let program = compile(&prefix, "Udp");
    let folder = Folder::create("over-csharp");
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let port = free.expect("a port").port().to_string();
    let start = |role: &str, name: &str, voice: &str, file: &Path, key: &str| {
        let mut mono = Command::new("mono");
        prefix.lend(&mut mono);
        mono.arg(&program).args([role, &port, name, &spoken(voice)]).arg(file).arg(key);
        Program::start(name, mono)
    };
    let files = [folder.file("ada.wav"), folder.file("ben.wav")];
    // Who joins is there first, and tries again.
    let mut ben = start("join", "Ben", "cards", &files[1], KEY);
    wait_for(&mut ben, "server-away");
    let mut ada = start("host", "Ada", "reader", &files[0], KEY);
    for (program, other) in [(&mut ada, "Ben"), (&mut ben, "Ada")] {
        wait_for_peer(program, "peer-joined", other);
        let text = wait_for_peer(program, "text", other).json["text"].clone();
        assert!(text.as_str().is_some_and(|text| text.starts_with("hello ")), "{text}");
        wait_for(program, "first-heard");
        encryption(program, "verified");
    }
    // Another key: nothing passes between them.
    let mut eve = start("join", "Eve", "numbers", &folder.file("eve.wav"), ANOTHER_KEY);
    for (program, how) in [(&mut ada, "refused"), (&mut ben, "refused"), (&mut eve, "unable")] {
        encryption(program, how);
        wait_for_peer(program, "peer-joined", "Member");
    }
    let unread = wait_for(&mut eve, "warned").json["text"].clone();
    assert!(unread.as_str().is_some_and(|text| text.contains("can read it")), "{unread}");
    eve.type_line("");
    wait_for(&mut eve, "done");
    wait_for_peer(&mut ada, "peer-left", "Member");
    let has = |program: &mut Program, what: &str| {
        program.history().filter(|event| event.json["event"] == what).count()
    };
    assert_eq!((has(&mut eve, "text"), has(&mut eve, "first-heard")), (0, 0));
    assert_eq!((has(&mut ada, "text"), has(&mut ada, "first-heard")), (1, 1));
    ben.type_line("");
    wait_for(&mut ben, "done");
    wait_for_peer(&mut ada, "peer-left", "Ben");
    ada.type_line("");
    let refused = wait_for(&mut ada, "refused").json;
    assert_eq!((&refused["result"], &refused["mode"]), (&"NoRoom".into(), &"Host".into()));
    assert_eq!(refused["status"], "Connected");
    for program in [&mut ada, &mut ben, &mut eve] {
        let status = program.wait_for_exit(PATIENCE);
        assert!(status.success(), "{status}\n{}", program.transcript());
    }
}
