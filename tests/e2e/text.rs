//! Text, muting, and what one sees of a room.

use std::time::Duration;

use voicemesh_tests::room::{
    Folder, Joining, PATIENCE, Server, leave, of_peer, wait_for, wait_for_peer,
};

use crate::{alone, status};

/// proves: D-35
#[test]
fn text_reaches_everyone_and_a_private_one_its_addressee_only() {
    let _alone = alone();
    let folder = Folder::create("text");
    let server = Server::start(&[]);
    let mut peers: Vec<_> = ["ada", "bob", "cyd"]
        .iter()
        .map(|name| Joining::new(&server.url(), "text", name).start(&folder))
        .collect();
    for name in ["bob", "cyd"] {
        wait_for_peer(&mut peers[0], "peer-joined", name);
    }
    for peer in &mut peers {
        wait_for(peer, "connected");
    }
    peers[0].type_line("/msg bob only for you");
    peers[0].type_line("hello, everyone");
    let text = |peer: &mut voicemesh_tests::process::Program| {
        peer.wait_for("a text", PATIENCE, |json| json["event"] == "text").json
    };
    let (first, second) = (text(&mut peers[1]), text(&mut peers[1]));
    assert_eq!((&first["text"], &first["private"]), (&"only for you".into(), &true.into()));
    assert_eq!(
        (&second["text"], &second["private"], &second["name"]),
        (&"hello, everyone".into(), &false.into(), &"ada".into())
    );
    assert_eq!(text(&mut peers[2])["text"], "hello, everyone", "and nothing before it");
    peers[1].type_line("/msg ada and this for you");
    peers[2].type_line("hello, Ada");
    let mut answers = [text(&mut peers[0]), text(&mut peers[0])]
        .map(|text| (text["name"].clone(), text["text"].clone()));
    answers.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(
        answers,
        [("bob", "and this for you"), ("cyd", "hello, Ada")].map(|(a, b)| (a.into(), b.into()))
    );
    peers.into_iter().for_each(|peer| drop(leave(peer)));
}

#[test]
fn how_a_member_takes_part_is_seen_by_all_and_by_who_comes_later() {
    let _alone = alone();
    let folder = Folder::create("status");
    let server = Server::start(&[]);
    let mut bob = Joining::new(&server.url(), "status", "bob").start(&folder);
    wait_for(&mut bob, "connected");
    let record = folder.file("recording").display().to_string();
    let mut ada =
        Joining::new(&server.url(), "status", "ada").with(&["--record", &record]).start(&folder);
    let seen = |program: &mut voicemesh_tests::process::Program, what: &[&str]| {
        program.wait_for(&what.join(", "), PATIENCE, |json| {
            let is_so = |name: &&str| json["status"][*name] == what.contains(name);
            let all = ["muted", "deafened", "listening_only", "recording"];
            json["event"] == "status-changed" && json["name"] == "ada" && all.iter().all(is_so)
        });
    };
    seen(&mut bob, &["recording"]);
    ada.type_line("/mute");
    ada.type_line("/deafen");
    seen(&mut bob, &["muted", "deafened", "recording"]);
    let mut cyd = Joining::new(&server.url(), "status", "cyd").start(&folder);
    seen(&mut cyd, &["muted", "deafened", "recording"]);
    ada.type_line("/unmute");
    ada.type_line("/undeafen");
    for program in [&mut bob, &mut cyd] {
        seen(program, &["recording"]);
    }
    [ada, bob, cyd].into_iter().for_each(|peer| drop(leave(peer)));
}

#[test]
fn muting_really_stops_sending() {
    let _alone = alone();
    let folder = Folder::create("mute");
    let server = Server::start(&[]);
    let mut bob = Joining::new(&server.url(), "mute", "bob").start(&folder);
    wait_for(&mut bob, "connected");
    let mut ada = Joining::new(&server.url(), "mute", "ada").speaking_on("reader").start(&folder);
    wait_for_peer(&mut bob, "first-heard", "ada");
    ada.type_line("/mute");
    let received = |bob: &mut voicemesh_tests::process::Program| {
        let status = status(bob);
        assert_eq!((&status["mode"], &status["connected"]), (&"client".into(), &true.into()));
        of_peer(&status, "ada")["frames_received"].as_u64().unwrap()
    };
    // The wish to be silent and what was already under way arrive within a moment; then the count
    // stands still.
    let mut before = received(&mut bob);
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut still = 0;
    while still < 10 {
        let now = received(&mut bob);
        still = if now == before { still + 1 } else { 0 };
        before = now;
        assert!(std::time::Instant::now() < deadline, "frames still come");
    }
    bob.forget();
    ada.type_line("/unmute");
    bob.wait_for("speech again", PATIENCE, |json| {
        json["event"] == "speaking" && json["speaking"] == true
    });
    assert!(received(&mut bob) > before);
    leave(ada);
    leave(bob);
}

#[test]
fn a_wrong_address_is_answered_with_a_sentence_and_an_exit_code() {
    let folder = Folder::create("wrong");
    let mut peer = Joining::new("ftp://nowhere", "room", "ada").start(&folder);
    assert_eq!(peer.wait_for_exit(Duration::from_secs(10)).code(), Some(2));
    assert!(peer.transcript().contains("wss://"), "{}", peer.transcript());
}
