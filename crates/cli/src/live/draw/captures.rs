//! Captures of whole views at several sizes, kept as text in `target/terminal` for people to look
//! at. The tests compare what must be there, not whole screens.

use std::fs;
use std::path::PathBuf;

use super::tests::{SIZES, lines_of};
use super::*;
use crate::human::{Line as Said, plain, trouble};
use crate::live::screen::tests::screen;
use crate::live::screen::{Person, TalkKey};

/// A situation, drawn at each size.
fn capture(name: &str, screen: &Screen, unicode: bool) -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/terminal");
    fs::create_dir_all(&folder).expect("a folder");
    let captured = SIZES.map(|(columns, height)| {
        let palette = Palette { coloured: false, unicode };
        let lines = lines_of(&super::tests::terminal(screen, columns, height, palette)).join("\n");
        fs::write(folder.join(format!("{name}-{columns}x{height}.txt")), format!("{lines}\n"))
            .expect("written");
        lines
    });
    captured.to_vec()
}

fn assert_each(name: &str, captured: &[String], parts: &[&str]) {
    for (capture, (columns, height)) in captured.iter().zip(SIZES) {
        for part in parts {
            assert!(capture.contains(part), "{name} {columns}x{height} lacks {part}:\n{capture}");
        }
    }
}

fn speech(person: &mut Person, level_dbfs: i32) {
    (person.speaking, person.level_dbfs) = (true, Some(level_dbfs));
}

fn silent(screen: &mut Screen) {
    screen
        .people
        .iter_mut()
        .for_each(|person| (person.speaking, person.level_dbfs) = (false, None));
}

fn three() -> Screen {
    let mut screen =
        screen(&[(1, "Ben"), (2, "Cleo"), (3, "Karl-Theodor von Guttenplag zu Sandhausen")]);
    silent(&mut screen);
    speech(&mut screen.people[0], -18);
    screen.people[0].delay_ms = Some(84);
    screen.people[1].muted_itself = true;
    screen.people[2].deafened = true;
    screen.own.reaches = (2, 3);
    (screen.own.sending, screen.own.level_dbfs, screen.own.floor_dbfs) = (true, -20, -57);
    screen.own.kbps = 32;
    screen.say("14:01", &plain("You are in “lobby”; 3 others are there."));
    screen.say("14:02", &Said { mood: Mood::Text, text: "Ben: good evening".into() });
    screen.say("14:03", &Said { mood: Mood::Text, text: "You: hello Ben".into() });
    for name in ["Ben", "Cleo", "Karl-Theodor von Guttenplag zu Sandhausen"] {
        screen.say("14:03", &Said { mood: Mood::Came, text: format!("{name} is here.") });
    }
    screen
}

#[test]
fn alone_one_sees_how_the_server_is_and_what_to_type() {
    let mut alone = screen(&[]);
    alone.own.level_dbfs = -99;
    let captured = capture("alone", &alone, true);
    assert_each(
        "alone",
        &captured,
        &["lobby", "connected", "No other person is here yet.", "write to everyone", "F1 help"],
    );
}

#[test]
fn with_three_people_the_first_screen_answers_what_people_ask() {
    let captured = capture("three", &three(), true);
    // Who speaks, who is muted, whether the user is heard, how the server is, what was written.
    assert_each(
        "three",
        &captured,
        &["● Ben", "· Cleo", "muted", "SENDING", "connected", "You: hello Ben", "F2 mute"],
    );
    assert_each(
        "three",
        &captured[..2],
        &["clear", "direct", "deafened", "reaches 2 of 3", "loss", "delay"],
    );
    let ascii = capture("three-ascii", &three(), false);
    assert!(ascii.iter().all(|capture| capture.is_ascii()));
    assert_each("three-ascii", &ascii, &["* Ben", "SENDING", "You: hello Ben"]);
}

#[test]
fn of_twenty_people_the_speakers_are_named_at_any_size() {
    let names: Vec<String> = (1..=20).map(|number| format!("Guest {number:02}")).collect();
    let named: Vec<(u16, &str)> =
        names.iter().enumerate().map(|(id, name)| (id as u16 + 1, name.as_str())).collect();
    let mut twenty = screen(&named);
    silent(&mut twenty);
    speech(&mut twenty.people[0], -30);
    speech(&mut twenty.people[18], -12);
    twenty.people[18].loudest = true;
    let captured = capture("twenty", &twenty, true);
    assert_each("twenty", &captured, &["● Guest 01", "Guest 19"]);
    let has_rest = captured
        .iter()
        .map(|capture| capture.contains(" more (↑↓) ● Guest 19"))
        .collect::<Vec<_>>();
    assert_eq!(has_rest, [true, false, true, true], "a large screen has a row for each");
}

#[test]
fn without_a_sound_card_and_a_server_both_are_said_with_the_next_step() {
    let mut without = three();
    without.link = Link::Away { retry_s: 3 };
    without.own.sending = false;
    (without.own.listening_only, without.own.without_speaker) = (true, true);
    without.problems =
        vec!["No sound card works: you and the others cannot hear each other. Plug one in.".into()];
    let captured = capture("no-sound-card", &without, true);
    assert_each(
        "no-sound-card",
        &captured,
        &["No sound card works", "LISTENING ONLY", "server away", "You: hello Ben"],
    );
    without.problems.insert(0, "The server is not reached: it refuses the connection; nothing seems to listen on port 443. Direct connections continue.".into());
    let captured = capture("server-away", &without, true);
    assert_each("server-away", &captured, &["The server is not reached", "server away"]);
    assert_each("server-away", &captured[..2], &["Direct connections", "No sound card works"]);
}

#[test]
fn muted_deafened_and_push_to_talk_are_words() {
    let mut muted = three();
    (muted.own.muted, muted.own.deafened, muted.own.sending) = (true, true, false);
    assert_each("muted", &capture("muted", &muted, true), &["MUTED", "DEAFENED"]);
    let mut push = three();
    push.talk_key = TalkKey::HoldByRepeats;
    assert_each("push-to-talk", &capture("push-to-talk", &push, true), &["KEY UP", "F4 hold"]);
    // Which of the two kinds of holding it is, also where there is little room.
    assert_each("push-to-talk", &capture("push-to-talk", &push, true), &["1 s)"]);
}

#[test]
fn long_answers_lie_over_the_view() {
    let mut help = three();
    help.open(super::super::overlay_state::Content::Help);
    assert_each("help", &capture("help", &help, true), &["Help", "Esc closes"]);
    let mut events = three();
    (0..60).for_each(|number| events.say("14:05", &trouble(format!("event {number}"))));
    events.open(super::super::overlay_state::Content::Events);
    assert_each("events", &capture("events", &events, true), &["Events", "Esc closes"]);
}
