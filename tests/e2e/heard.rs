//! Rooms in which nothing goes wrong.

use voicemesh_tests::hear::compare;
use voicemesh_tests::room::{
    Folder, Joining, Server, finish, heard, leave, of_peer, wait_for, wait_for_peer, wait_for_route,
};
use voicemesh_tests::speech;

use crate::{alone, assert_heard};

/// proves: D-15, D-24, D-32, U-01, U-23, S-14
#[test]
fn two_relayed_peers_hear_each_other() {
    two_peers(&["--relay-only"], "relayed");
}

/// proves: D-15, D-31, D-32, U-01, U-05, U-06, B-02
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

/// proves: D-15, D-22, D-52, U-05, U-06, U-10
#[test]
fn five_peers_hear_two_speakers_one_after_the_other() {
    let _alone = alone();
    let folder = Folder::create("five");
    let server = Server::start(&[]);
    let names = ["cyd", "dan", "eve"];
    let mut listeners: Vec<_> = names
        .iter()
        .map(|name| {
            let file = folder.file(&format!("{name}.wav"));
            Joining::new(&server.url(), "five", name).hearing_into(&file).start(&folder)
        })
        .collect();
    for (listener, own) in listeners.iter_mut().zip(names) {
        for name in names.iter().filter(|name| **name != own) {
            wait_for_peer(listener, "peer-joined", name);
        }
    }
    let speak = |name: &str, voice: &str| {
        let joining = Joining::new(&server.url(), "five", name).speaking(voice).with(&["--duration", "8"]);
        let summary = finish(&mut joining.start(&folder));
        assert_eq!(summary["peers"].as_array().map(Vec::len), Some(3), "{summary}");
    };
    speak("ada", "reader");
    let between: Vec<usize> = listeners
        .iter_mut()
        .map(|listener| {
            let left = wait_for_peer(listener, "peer-left", "ada").json;
            assert_eq!(left["reason"], "left");
            (left["at_ms"].as_f64().unwrap() * 48.0) as usize
        })
        .collect();
    speak("bob", "synthetic");
    for (listener, (name, between)) in listeners.into_iter().zip(names.iter().zip(between)) {
        let summary = leave(listener);
        assert_eq!(summary["mode"], "client");
        let all = heard(&folder.file(&format!("{name}.wav")));
        let (first, second) = all.split_at(between.min(all.len()));
        for (voice, part) in [("reader", first), ("synthetic", second)] {
            let hearing = compare(&speech::load(voice), part);
            hearing.verdict(&Default::default()).unwrap_or_else(|why| panic!("{name}, {voice}: {why} ({hearing})"));
        }
    }
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
    let ada = Joining::new(&server.url(), "same", "ada").speaking("numbers").with(&["--duration", "3"]);
    finish(&mut ada.start(&folder));
    let same = leave(same);
    assert!(of_peer(&same, "ada")["frames_heard"].as_u64().unwrap() > 100, "{same}");
    let other = leave(other);
    assert_eq!(other["peers"].as_array().map(Vec::len), Some(0), "{other}");
    assert!(heard(&file).iter().all(|sample| *sample == 0.0));
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
    let mut echo = voicemesh_tests::process::Program::start("echo", command);
    wait_for(&mut echo, "connected");
    let file = folder.file("ada.wav");
    let ada = Joining::new(&server.url(), "lobby", "ada").speaking("cards").hearing_into(&file);
    finish(&mut ada.with(&["--duration", "10"]).start(&folder));
    let hearing = assert_heard("cards", &file);
    assert!((900.0..1600.0).contains(&hearing.delay_ms), "a second later: {hearing}");
}

/// proves: B-02
#[test]
fn a_second_peer_hears_a_speaker_soon_after_it_joined() {
    let _alone = alone();
    let folder = Folder::create("soon");
    let server = Server::start(&[]);
    let mut ada = Joining::new(&server.url(), "soon", "ada").speaking_on("reader").start(&folder);
    wait_for(&mut ada, "connected");
    let mut bob = Joining::new(&server.url(), "soon", "bob").start(&folder);
    wait_for_peer(&mut bob, "first-heard", "ada");
    wait_for_route(&mut bob, "ada", "direct");
    let bob = leave(bob);
    let ada_there = of_peer(&bob, "ada");
    assert!(ada_there["first_heard_ms"].as_f64() > bob["joined_ms"].as_f64(), "{bob}");
    leave(ada);
}
