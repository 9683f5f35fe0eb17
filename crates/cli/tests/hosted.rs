//! `voicemesh host` and `voicemesh join LINK`: real programs and sockets on loopback, and no server.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use voicemesh_tests::hear::{Floor, compare};
use voicemesh_tests::process::Program;
use voicemesh_tests::room::{Folder, finish, heard, leave, of_peer, wait_for, wait_for_peer};
use voicemesh_tests::{speech, wav};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The second of two speakers waits so long: the speech of the first, and time to join.
const PAUSE_S: usize = 10;
/// The silence after which a host is lost, and what a busy machine may add.
const TOLD_WITHIN: Duration = Duration::from_secs(5 + 5);

fn voicemesh(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voicemesh"));
    command.args(arguments);
    for variable in ["VOICEMESH_SERVER", "VOICEMESH_LOG", "VOICEMESH_PASSWORD", "VOICEMESH_TOKEN"] {
        command.env_remove(variable);
    }
    command
}

/// A host without voice and ears at an address of this machine, and its link.
fn host(address: &str, more: &[&str]) -> (Program, String) {
    let silent = ["--json", "--name", "Hal", "--input", "silence", "--output", "null"];
    let listen = format!("{address}:0");
    let mut command = voicemesh(&["host", "--listen", &listen]);
    // What comes last counts.
    command.args(if more.contains(&"--input") { &silent[..3] } else { &silent[..] }).args(more);
    let mut host = Program::start("Hal", command);
    let hosting = wait_for(&mut host, "hosting").json;
    let link = hosting["links"][0]["link"].as_str().expect("a link").to_owned();
    (host, link)
}

fn guest(name: &str, link: &str, more: &[&str]) -> Program {
    let mut command = voicemesh(&["join", link, "--json", "--name", name]);
    let silent = ["--input", "silence", "--output", "null"];
    command.args(if more.contains(&"--input") { &[][..] } else { &silent[..] }).args(more);
    Program::start(name, command)
}

/// A guest who is in the call, after those who were there before.
fn joined(name: &str, link: &str) -> Program {
    let mut guest = guest(name, link, &[]);
    wait_for(&mut guest, "connected");
    guest
}

fn assert_heard(voice: &str, file: &Path) {
    let hearing = compare(&speech::load(voice), &heard(file));
    if let Err(why) = hearing.verdict(&Floor::default()) {
        panic!("{voice} was not heard: {why} ({hearing})");
    }
}

/// What the command says on standard error when it does not get in, and its exit code.
fn refusal(link: &str) -> (String, Option<i32>) {
    let arguments = ["join", link, "--plain", "--input", "silence", "--output", "null"];
    let output = voicemesh(&arguments).output().expect("the command starts");
    (String::from_utf8(output.stderr).expect("UTF-8"), output.status.code())
}

fn port(link: &str) -> u16 {
    let place = link.split('#').next().unwrap_or_default();
    place.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

fn said(program: &mut Program, line: &str, part: &str) {
    program.type_line(line);
    program.wait_for(part, PATIENCE, |json| {
        json["event"] == "notice"
            && json["message"].as_str().is_some_and(|text| text.contains(part))
    });
}

fn said_of(program: &mut Program, part: &str) {
    program.wait_for(part, PATIENCE, |json| {
        json["message"].as_str().is_some_and(|text| text.contains(part))
    });
}

fn text_of(program: &mut Program, name: &str, text: &str) -> Value {
    program
        .wait_for(text, PATIENCE, |json| {
            json["event"] == "text" && json["name"] == name && json["text"] == text
        })
        .json
}

/// proves: B-21, D-36
#[test]
fn without_any_server_a_host_and_two_guests_hear_each_other() {
    let folder = Folder::create("hosted");
    let file = |name: &str| folder.file(&format!("{name}.wav"));
    let text = |name: &str| file(name).display().to_string();
    let voice = |name: &str| speech::path(name).display().to_string();
    // The host is silent until Ada has spoken.
    let pause = vec![0.0; PAUSE_S * 48_000];
    wav::write(&file("spoken"), &[pause, speech::load("reader")].concat()).unwrap();
    let (spoken, heard_by_host) = (text("spoken"), text("Hal"));
    let (mut hal, link) = host("127.0.0.1", &["--input", &spoken, "--output", &heard_by_host]);
    let mut bob = guest("Bob", &link, &["--input", "silence", "--output", &text("Bob")]);
    wait_for(&mut bob, "connected");
    let ada = ["--input", &voice("announcer"), "--output", &text("Ada"), "--duration", "18.5"];
    let mut ada = guest("Ada", &link, &ada);

    let summary = finish(&mut ada);
    assert_eq!(summary["mode"], "client");
    assert_eq!(of_peer(&summary, "Hal")["route"], "relayed", "{summary}");
    for other in [&mut hal, &mut bob] {
        assert_eq!(wait_for_peer(other, "peer-left", "Ada").json["reason"], "left");
    }
    leave(bob);
    let summary = leave(hal);
    assert_eq!(summary["mode"], "server & client");
    assert_eq!(summary["peers"].as_array().map(Vec::len), Some(2), "{summary}");
    for (voice, name) in
        [("announcer", "Hal"), ("announcer", "Bob"), ("reader", "Ada"), ("reader", "Bob")]
    {
        assert_heard(voice, &file(name));
    }
}

#[test]
fn texts_and_settings_work_as_in_a_room_and_what_needs_a_server_says_so() {
    let (mut hal, link) = host("127.0.0.1", &[]);
    let (mut ada, mut bob) = (joined("Ada", &link), joined("Bob", &link));
    wait_for_peer(&mut ada, "peer-joined", "Bob");
    ada.wait_for("the lock", PATIENCE, |json| {
        json["event"] == "encryption-changed"
            && json["name"] == "Bob"
            && json["encryption"] == "verified"
    });
    ada.type_line("hello");
    for other in [&mut hal, &mut bob] {
        let text = text_of(other, "Ada", "hello");
        assert_eq!((&text["private"], &text["group"]), (&false.into(), &"Global".into()));
    }
    bob.type_line("/msg ada for you alone");
    assert_eq!(text_of(&mut ada, "Bob", "for you alone")["private"], true);
    said(&mut ada, "/gain Bob 0.5", "You hear Bob at 50 %.");
    said(&mut ada, "/mute Hal", "You hear Hal no more.");
    ada.type_line("/who");
    let status = ada.wait_for("what was set", PATIENCE, |json| {
        json["event"] == "status" && of_peer(json, "Hal")["muted"] == true
    });
    assert_eq!(of_peer(&status.json, "Bob")["gain"], 0.5);
    for (line, part) in [
        ("/kick Bob", "no one moderates"),
        ("/lock", "no one moderates"),
        ("/record calls", "Recording needs a room of a server"),
        ("/new-link", "keeps its link"),
        ("/code", "verified by the link's key"),
        ("/host", "The host is there."),
    ] {
        said(&mut ada, line, part);
    }
    hal.type_line("/host");
    assert_eq!(wait_for(&mut hal, "hosting").json["links"][0]["link"], link.as_str());
    // What the members' programs write to each other is shown to no one.
    for program in [&mut hal, &mut ada, &mut bob] {
        let mut texts = program.history().filter(|event| event.json["event"] == "text");
        assert!(texts.all(|event| !event.json["text"].to_string().contains("voicemesh host")));
    }
}

#[test]
fn what_a_pipe_says_before_the_call_is_joined_is_read_although_it_leaves_at_once() {
    let (mut hal, link) = host("127.0.0.1", &[]);
    let mut bob = joined("Bob", &link);
    for number in 0..5 {
        let mut ada = guest("Ada", &link, &[]);
        ada.type_line(&format!("line {number}"));
        ada.type_line("/quit");
        finish(&mut ada);
        for other in [&mut hal, &mut bob] {
            text_of(other, "Ada", &format!("line {number}"));
        }
    }
}

#[test]
fn what_is_written_as_soon_as_one_is_in_is_read_by_those_whose_names_are_not_there_yet() {
    let (mut hal, link) = host("127.0.0.1", &[]);
    for number in 0..5 {
        let mut ada = joined("Ada", &link);
        ada.type_line(&format!("line {number}"));
        text_of(&mut hal, "Ada", &format!("line {number}"));
        leave(ada);
    }
    wait_for_peer(&mut hal, "peer-left", "Ada");
    hal.type_line("to myself");
    said_of(&mut hal, "Not sent: no one else is here.");
}

#[test]
fn where_no_program_listens_a_guest_reads_so_at_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let place = socket.local_addr().expect("its address");
    drop(socket);
    let began = Instant::now();
    let (said, code) = refusal(&format!("voicemesh://{place}#k=AAECAwQFBgcICQoLDA0ODw"));
    assert!(said.contains(&format!("No program listens at {place}.")), "{said}");
    assert_eq!(code, Some(3), "{said}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_host_that_is_full_says_so() {
    let (mut hal, link) = host("127.0.0.1", &["--most", "1"]);
    let ada = joined("Ada", &link);
    let (said, code) = refusal(&link);
    assert!(said.contains("is full. Try again when one has left."), "{said}");
    assert_eq!(code, Some(4), "{said}");
    leave(ada);
    wait_for_peer(&mut hal, "peer-left", "Ada");
    leave(joined("Bob", &link));
}

/// Netcode does not answer a token that it cannot decrypt.
#[test]
fn a_guest_with_an_old_link_reads_what_may_be_the_matter_and_asks_twice() {
    let (_hal, link) = host("127.0.0.1", &[]);
    let old = format!("voicemesh://127.0.0.1:{}#k=AAECAwQFBgcICQoLDA0ODw", port(&link));
    let began = Instant::now();
    let (said, code) = refusal(&old);
    let sentence = "no answer: the link may be old, the host gone, or a firewall between.";
    assert!(said.contains(sentence), "{said}");
    assert!(!said.contains("AAEC"), "the key is not repeated: {said}");
    assert_eq!(code, Some(3), "{said}");
    assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_damaged_link_and_what_no_host_can_do_are_refused_with_code_2() {
    let (said, code) = refusal("voicemesh://127.0.0.1:7788");
    assert!(said.contains("its key is missing") && code == Some(2), "{code:?} {said}");
    let link = "voicemesh://127.0.0.1:7788#k=AAECAwQFBgcICQoLDA0ODw";
    for (more, part) in [
        ("--relay-only", "members in one network tell each other their addresses"),
        ("--proxy=socks5h://127.0.0.1:1080", "a host is reached by UDP"),
        ("--must-exist", "need a room of a server"),
        ("--password=x", "--password needs a room of a server"),
        ("--token=x", "--token needs a room of a server"),
        ("--ca=x.pem", "--ca needs a room of a server"),
        ("--state-dir=x", "--state-dir needs a room of a server"),
        ("--server=ws://127.0.0.1:1", "--server needs a room of a server"),
        ("--record=calls", "Recording needs a room of a server"),
    ] {
        let output = voicemesh(&["join", link, more]).output().expect("the command starts");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(said.contains(part) && output.status.code() == Some(2), "{more}: {said}");
    }
    let output = voicemesh(&["echo", link]).output().expect("the command starts");
    assert_eq!(output.status.code(), Some(2));
}

/// Two guests of a host that ends as `end` does: both read so, the one who was there longest takes
/// over, and the other comes by itself.
fn takes_over(address: &str, end: impl FnOnce(Program)) {
    let (hal, link) = host(address, &[]);
    let (mut ada, mut bob) = (joined("Ada", &link), joined("Bob", &link));
    wait_for_peer(&mut ada, "peer-joined", "Bob");
    // What was written before, so that each knows where the other would serve.
    bob.type_line("/msg Ada ready");
    text_of(&mut ada, "Bob", "ready");
    ada.type_line("/msg Bob ready");
    text_of(&mut bob, "Ada", "ready");

    let ended = Instant::now();
    end(hal);
    for (guest, advice) in [
        (&mut ada, "You have been here longest: /host makes you the host."),
        (&mut bob, "Ada has been here longest, and can take over with /host;"),
    ] {
        wait_for(guest, "server-away");
        assert!(ended.elapsed() < TOLD_WITHIN, "{:?}", ended.elapsed());
        guest.wait_for(advice, PATIENCE, |json| {
            json["message"].as_str().is_some_and(|text| text.starts_with(advice))
        });
        let reasons = guest.history().filter(|event| event.json["event"] == "peer-left");
        assert!(reasons.map(|event| &event.json["reason"]).eq(["lost"; 2]));
        guest.forget();
    }
    ada.type_line("/host");
    let hosting = wait_for(&mut ada, "hosting").json;
    let links = hosting["links"].as_array().expect("links");
    assert!(links.iter().all(|new| port(new["link"].as_str().unwrap()) == port(&link)));
    wait_for(&mut bob, "joined");
    bob.wait_for("who hosts it", PATIENCE, |json| json["message"] == "Ada hosts the call now.");
    wait_for_peer(&mut ada, "peer-joined", "Bob");
    wait_for_peer(&mut bob, "peer-joined", "Ada");
    bob.type_line("back");
    text_of(&mut ada, "Bob", "back");
    leave(bob);
    assert_eq!(leave(ada)["mode"], "server & client");
}

/// What a guest sees of a host that pauses is what it sees when its own network is away.
#[cfg(unix)]
#[test]
fn a_guest_does_not_take_over_from_a_host_that_answers_once_more() {
    let (mut hal, link) = host("127.0.0.1", &[]);
    let mut ada = joined("Ada", &link);
    hal.pause();
    wait_for(&mut ada, "server-away");
    ada.forget();
    ada.type_line("/host");
    said_of(&mut ada, "The host is asked once more");
    hal.resume();
    wait_for(&mut ada, "joined");
    said_of(&mut ada, "The host answers: its call goes on");
    assert!(ada.history().all(|event| event.json["event"] != "hosting"));
    // Who is there is known when its sealed name has come.
    wait_for_peer(&mut ada, "peer-joined", "Hal");
    ada.type_line("still here");
    text_of(&mut hal, "Ada", "still here");
}

#[test]
fn when_the_host_leaves_the_guest_who_was_there_longest_takes_over_by_one_command() {
    takes_over("127.0.0.1", |host| drop(leave(host)));
}

/// Another address than those by which the next host is reached: guests know it from each other.
#[cfg(target_os = "linux")]
#[test]
fn a_host_that_dies_is_replaced_from_another_address() {
    takes_over("127.0.0.2", |mut host| assert!(!host.kill().success()));
}
