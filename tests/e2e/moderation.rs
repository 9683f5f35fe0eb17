//! Moderation and tickets, as people see them in their programs.

use std::net::Ipv4Addr;
use std::process::Command;

use voicemesh_tests::process::{Program, binary};
use voicemesh_tests::room::{
    Folder, Joining, PATIENCE, Server, leave, of_peer, wait_for, wait_for_peer,
};

use crate::{alone, status};

const SECRET: [&str; 2] = ["--secret", "a secret of the operator's tests"];

fn transaction_done(peer: &mut Program) -> bool {
    let done =
        peer.wait_for("an answer", PATIENCE, |json| json["event"] == "transaction-done").json;
    done["code"].is_null()
}

#[test]
fn the_member_who_made_the_room_mutes_for_all_and_puts_out() {
    let _alone = alone();
    let folder = Folder::create("moderation");
    let server = Server::start(&["--owner-after", "0"]);
    let mut ada = Joining::new(&server.url(), "stage", "ada").start(&folder);
    wait_for(&mut ada, "connected");
    let mut cyd = Joining::new(&server.url(), "stage", "cyd").start(&folder);
    wait_for(&mut cyd, "connected");
    let mut bob = Joining::new(&server.url(), "stage", "bob").speaking_on("reader").start(&folder);
    wait_for_peer(&mut ada, "peer-joined", "bob");
    wait_for_peer(&mut cyd, "first-heard", "bob");
    cyd.type_line("/kick bob");
    assert!(!transaction_done(&mut cyd), "only the member who made the room may");
    ada.type_line("/mute-all bob");
    assert!(transaction_done(&mut ada));
    cyd.wait_for("bob may not speak", PATIENCE, |json| {
        json["event"] == "permissions-changed" && json["name"] == "bob"
    });
    let received = |cyd: &mut Program| {
        of_peer(&status(cyd), "bob")["frames_received"].as_u64().expect("a count")
    };
    // What arrived within the moment that it takes to be told.
    received(&mut cyd);
    let before = received(&mut cyd);
    for _ in 0..3 {
        assert_eq!(received(&mut cyd), before, "a muted member is not heard");
    }
    ada.type_line("/kick bob");
    assert!(transaction_done(&mut ada));
    assert_eq!(bob.wait_for_exit(PATIENCE).code(), Some(4));
    wait_for_peer(&mut cyd, "peer-left", "bob");
    [ada, cyd].into_iter().for_each(|peer| drop(leave(peer)));
}

#[test]
fn who_was_held_elsewhere_is_not_heard_by_a_group_that_was_refused_meanwhile() {
    let _alone = alone();
    let folder = Folder::create("held");
    let server = Server::start(&["--owner-after", "0"]);
    let mut ada = Joining::new(&server.url(), "stage", "ada").start(&folder);
    wait_for(&mut ada, "connected");
    let mut cyd = Joining::new(&server.url(), "stage", "cyd").start(&folder);
    wait_for(&mut cyd, "connected");
    cyd.type_line("/leave Global");
    cyd.type_line("/join Blue");
    let mut bob = Joining::new(&server.url(), "stage", "bob").speaking_on("reader").start(&folder);
    wait_for(&mut bob, "connected");
    wait_for_peer(&mut ada, "first-heard", "bob");
    let held = |ada: &mut Program, count: usize| {
        ada.wait_for("bob is held", PATIENCE, |json| {
            json["event"] == "held"
                && json["groups"].as_array().is_some_and(|groups| groups.len() == count)
        });
    };
    ada.type_line("/move bob Red");
    held(&mut ada, 1);
    wait_for(&mut bob, "moved");
    bob.type_line("/join Blue");
    wait_for(&mut bob, "group-refused");
    ada.type_line("/move bob Global");
    held(&mut ada, 0);
    let received = |peer: &mut Program| {
        of_peer(&status(peer), "bob")["frames_received"].as_u64().expect("a count")
    };
    let before = received(&mut ada);
    while received(&mut ada) < before + 50 {}
    assert_eq!(received(&mut cyd), 0, "he speaks to Global alone again");
    [ada, cyd, bob].into_iter().for_each(|peer| drop(leave(peer)));
}

#[test]
fn after_a_restart_programs_take_their_room_back_and_one_that_was_started_again_does_as_well() {
    let _alone = alone();
    let folder = Folder::create("tickets");
    let start = |port| {
        Server::start_by(
            Command::new(binary("voicemesh-signaling")),
            Ipv4Addr::LOCALHOST,
            port,
            &SECRET,
        )
    };
    let joining = |url: &str, name: &str, password: &str| {
        let mut joining = Joining::new(url, "den", name);
        joining.arguments.extend(["--password".to_owned(), password.to_owned()]);
        joining
    };
    let mut server = start(0);
    let (url, port) = (server.url(), server.address.port());
    let mut ada = joining(&url, "ada", "sesame").start(&folder);
    wait_for(&mut ada, "connected");
    let mut bob = joining(&url, "bob", "sesame").start(&folder);
    wait_for(&mut bob, "connected");
    drop(leave(bob));
    ada.forget();
    server.program.kill();
    wait_for(&mut ada, "server-away");

    let _server = start(port);
    let mut eve = joining(&url, "eve", "mine").start(&folder);
    wait_for(&mut ada, "joined");
    let mut bob = joining(&url, "bob", "sesame").start(&folder);
    wait_for_peer(&mut ada, "peer-joined", "bob");
    wait_for(&mut bob, "connected");
    eve.kill();
    [ada, bob].into_iter().for_each(|peer| drop(leave(peer)));
}
