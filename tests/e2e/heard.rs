//! Rooms in which nothing goes wrong.

use std::process::Command;
use std::time::Duration;

use voicemesh_tests::process::{Program, binary};
use voicemesh_tests::room::{
    Folder, Joining, Server, finish, heard, leave, of_peer, wait_for, wait_for_peer, wait_for_route,
};
use voicemesh_tests::{speech, wav};

use crate::{alone, assert_heard};

/// The second of two speakers waits so long: the speech of the first, and time to join.
const PAUSE_S: usize = 10;
/// −60 dBFS.
const NEARLY_NOTHING: f32 = 0.001;

/// proves: D-15
#[test]
fn two_relayed_peers_hear_each_other() {
    two_peers(&["--relay-only"], "relayed");
}

/// proves: D-15
#[test]
fn two_direct_peers_hear_each_other() {
    two_peers(&[], "direct");
}

fn two_peers(arguments: &[&str], route: &str) {
    let _alone = alone();
    let folder = Folder::create("two");
    let server = Server::start(&[]);
    let join = |name: &str, voice: &str| {
        Joining::new(&server.url(), "two", name)
            .speaking(voice)
            .hearing_into(&folder.file(&format!("{name}.wav")))
            .with(arguments)
            .with(&["--duration", "9"])
            .start(&folder)
    };
    let (mut ada, mut bob) = (join("ada", "reader"), join("bob", "announcer"));
    wait_for_route(&mut ada, "bob", route);
    wait_for_route(&mut bob, "ada", route);
    let (ada, bob) = (finish(&mut ada), finish(&mut bob));
    assert_heard("reader", &folder.file("bob.wav"));
    assert_heard("announcer", &folder.file("ada.wav"));
    for (summary, other) in [(&ada, "bob"), (&bob, "ada")] {
        let peer = of_peer(summary, other);
        assert_eq!(peer["direct_ms"].is_null(), route == "relayed", "{summary}");
    }
}

/// proves: D-15
#[test]
fn five_peers_hear_two_speakers_one_after_the_other() {
    let _alone = alone();
    let folder = Folder::create("five");
    let server = Server::start(&[]);
    let file = |name: &str| folder.file(&format!("{name}.wav"));
    let join = |name: &str| Joining::new(&server.url(), "five", name).hearing_into(&file(name));
    let mut peers: Vec<Program> =
        ["cyd", "dan", "eve"].iter().map(|name| join(name).start(&folder)).collect();
    for listener in &mut peers {
        wait_for(listener, "connected");
    }
    // Bob joins first, and is silent until Ada has spoken.
    let pause = vec![0.0; PAUSE_S * 48_000];
    wav::write(&folder.file("spoken.wav"), &[pause, speech::load("synthetic")].concat()).unwrap();
    let bob = Joining { input: folder.file("spoken.wav").display().to_string(), ..join("bob") };
    let mut bob = bob.with(&["--duration", "19"]).start(&folder);
    wait_for(&mut bob, "connected");
    let mut ada = join("ada").speaking("reader").with(&["--duration", "18.5"]).start(&folder);
    wait_for(&mut ada, "connected");

    let others = finish(&mut ada);
    assert_eq!(others["peers"].as_array().map(Vec::len), Some(4), "{others}");
    peers.push(bob);
    for peer in &mut peers {
        assert_eq!(wait_for_peer(peer, "peer-left", "ada").json["reason"], "left");
    }
    let mut bob = peers.pop().unwrap();
    finish(&mut bob);
    for listener in peers {
        let summary = leave(listener);
        assert_eq!(summary["mode"], "client");
        assert_eq!(summary["peers"].as_array().map(Vec::len), Some(4), "{summary}");
    }
    for (name, voices) in [
        ("cyd", &["reader", "synthetic"][..]),
        ("dan", &["reader", "synthetic"]),
        ("eve", &["reader", "synthetic"]),
        ("ada", &["synthetic"]),
        ("bob", &["reader"]),
    ] {
        for voice in voices {
            assert_heard(voice, &file(name));
        }
    }
    // No peer hears its own speech: while only Ada spoke, there was nothing for her to hear.
    let to_ada = heard(&file("ada"));
    assert!(
        to_ada[..48_000 * 6].iter().all(|sample| sample.abs() < NEARLY_NOTHING),
        "Ada hears herself"
    );
}

/// proves: U-02, U-21
#[test]
fn rooms_of_one_server_hear_nothing_of_each_other() {
    let _alone = alone();
    let folder = Folder::create("rooms");
    let server = Server::start(&[]);
    let file = folder.file("other.wav");
    let mut other = Joining::new(&server.url(), "other", "cyd").hearing_into(&file).start(&folder);
    let mut same = Joining::new(&server.url(), "same", "bob").start(&folder);
    wait_for(&mut other, "connected");
    wait_for(&mut same, "connected");
    let ada =
        Joining::new(&server.url(), "same", "ada").speaking("numbers").with(&["--duration", "3"]);
    finish(&mut ada.start(&folder));
    let same = leave(same);
    assert!(of_peer(&same, "ada")["frames_heard"].as_u64().unwrap() > 100, "{same}");
    let other = leave(other);
    assert_eq!(other["peers"].as_array().map(Vec::len), Some(0), "{other}");
    let heard = heard(&file);
    assert!(
        heard.len() > 48_000 * 3 && heard.iter().all(|sample| *sample == 0.0),
        "{} samples",
        heard.len()
    );
}

/// One person alone can try everything: an echo says back what it hears.
#[test]
fn an_echo_says_back_what_it_hears() {
    let _alone = alone();
    let folder = Folder::create("echo");
    let server = Server::start(&[]);
    let mut command = std::process::Command::new(voicemesh_tests::process::binary("voicemesh"));
    command.args(["echo", "lobby", "--json", "--server", &server.url()]);
    command.arg("--state-dir").arg(folder.file("echo"));
    let mut echo = Program::start("echo", command);
    wait_for(&mut echo, "connected");
    let file = folder.file("ada.wav");
    let ada = Joining::new(&server.url(), "lobby", "ada").speaking("cards").hearing_into(&file);
    finish(&mut ada.with(&["--duration", "10"]).start(&folder));
    let hearing = assert_heard("cards", &file);
    assert!((900.0..1600.0).contains(&hearing.delay_ms), "a second later: {hearing}");
}

/// proves: B-02
#[test]
fn who_joins_hears_a_speaker_at_once() {
    let _alone = alone();
    let folder = Folder::create("soon");
    let server = Server::start(&[]);
    let mut ada = Joining::new(&server.url(), "soon", "ada").speaking_on("reader").start(&folder);
    wait_for(&mut ada, "connected");
    let mut bob = Joining::new(&server.url(), "soon", "bob").start(&folder);
    wait_for_peer(&mut bob, "first-heard", "ada");
    wait_for_route(&mut bob, "ada", "direct");
    let bob = leave(bob);
    let first_heard_ms = of_peer(&bob, "ada")["first_heard_ms"].as_f64().unwrap();
    let joined_ms = bob["joined_ms"].as_f64().unwrap();
    assert!(first_heard_ms > joined_ms, "{bob}");
    leave(ada);
}

/// The room goes on while devices change, and one that is not there leaves the one in use where it
/// is.
#[test]
fn microphone_and_speaker_can_be_changed_while_talking() {
    let _alone = alone();
    let folder = Folder::create("changed");
    let server = Server::start(&[]);
    let join = |name: &str| Joining::new(&server.url(), "changed", name).start(&folder);
    let (mut ada, mut bob) = (join("ada"), join("bob"));
    wait_for_route(&mut ada, "bob", "direct");
    wait_for_route(&mut bob, "ada", "direct");
    let file = folder.file("bob.wav");
    bob.type_line(&format!("/output {}", file.display()));
    bob.type_line(&format!("/input {}", file.display()));
    let refused = wait_for(&mut bob, "device-refused").json;
    let why = refused["why"].as_str().unwrap();
    assert!(why.contains("is being written with what is heard; name another file"), "{refused}");
    ada.type_line("/input no-such-folder/no-such-voice.wav");
    let refused = wait_for(&mut ada, "device-refused").json;
    assert_eq!(refused["device"], "input");
    assert!(refused["why"].as_str().unwrap().contains("no such file or folder"), "{refused}");
    ada.type_line(&format!("/input {}", speech::path("cards").display()));
    wait_for_peer(&mut bob, "first-heard", "ada");
    let spoken = speech::load("cards").len() as u64 / 960;
    crate::wait_until_heard_more(&mut bob, "ada", spoken - 20);
    leave(ada);
    leave(bob);
    assert_heard("cards", &file);
}

/// proves: U-23
#[test]
fn one_command_runs_a_server_and_two_peers_and_shows_what_was_heard() {
    let _alone = alone();
    let folder = Folder::create("demo");
    let mut command = Command::new(binary("voicemesh-demo"));
    command.current_dir(folder.file(""));
    let mut demo = Program::start("demo", command);
    let status = demo.wait_for_exit(Duration::from_secs(90));
    let said = demo.transcript();
    assert!(status.success() && said.contains("Everything was heard."), "{said}");
    assert!(said.contains("relayed") && said.contains("direct"), "{said}");
}
