//! What is typed, against a room whose server is not there.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use clap::Parser as _;
use voicemesh::{
    DeviceRole, ErrorCode, GROUP_NAME_BYTES, MemberEncryption, PasswordChange, PeerState,
    Permissions, Room, RoomKey, TEXT_BYTES, TransactionError, TransactionId,
};

use super::*;
use crate::arguments::{Arguments, Command};
use crate::people::tests::arrival;
use crate::slash::COMMANDS;
use crate::summary::tests::{joined, state};

/// What was printed.
#[derive(Clone, Default)]
struct Printed(Rc<RefCell<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Printed {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.borrow_mut())).expect("UTF-8")
    }
}

struct World {
    talk: Talk,
    printed: Printed,
    folder: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl World {
    /// Ada, who is in the room with Ben and two called Cleo, as far as she knows.
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("voicemesh-talk-{name}-{}", std::process::id()));
        let command = ["voicemesh", "join", "lobby", "--server", "ws://127.0.0.1:1", "--json"];
        let Command::Join(arguments) = Arguments::parse_from(command).command else {
            panic!("it joins")
        };
        let options = JoinOptions::new("ws://127.0.0.1:1", "lobby").name("Ada").state_dir(&folder);
        let room = Room::join(options.input(InputSpec::Silence).output(OutputSpec::Null))
            .expect("it begins");
        let printed = Printed::default();
        let output = Output::for_tests(Box::new(printed.clone()));
        let names = ("lobby".to_owned(), "Ada".to_owned());
        let talk =
            Talk::new(room.into(), output, Stop::default(), arguments.stay, names, Instant::now());
        let mut world = Self { talk, printed, folder };
        for event in [joined(), arrival(1, "Ben"), arrival(0x2222, "Cleo"), arrival(0x3333, "Cleo")]
        {
            world.happens(event);
        }
        world.happens(Event::Room(RoomEvent::Connected));
        world
    }

    /// Whether the key to talk counts as held, once all that was typed so far has taken effect.
    fn is_talking(&mut self) -> bool {
        let muted = !self.talk.voice.snapshot().muted;
        self.types(if muted { "/mute" } else { "/unmute" });
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.talk.voice.snapshot().muted != muted {
            assert!(Instant::now() < deadline, "the microphone takes no command");
            std::thread::yield_now();
        }
        self.talk.voice.snapshot().talking
    }

    fn happens(&mut self, event: Event) {
        let at = self.talk.started.elapsed();
        self.talk.tell(&TimedEvent { at, event });
    }

    /// What was said to this line, and whether it stays.
    fn types(&mut self, line: &str) -> (String, bool) {
        self.printed.take();
        assert_eq!(self.talk.take_line(line), None);
        (self.printed.take(), self.stays(line))
    }

    /// Whether this line, and no other, was put back since.
    fn stays(&mut self, line: &str) -> bool {
        match std::mem::take(&mut self.talk.output.put_back).as_slice() {
            [] => false,
            [one] => {
                assert_eq!(one, line);
                true
            }
            several => panic!("{several:?}"),
        }
    }
}

/// Lines that are refused at once, and a part of the sentence about it.
fn refused_at_once() -> Vec<(String, &'static str)> {
    let long = "x".repeat(GROUP_NAME_BYTES + 1);
    let known = [
        ("/nonsense", "no command"),
        ("/", "no command"),
        // Something is missing.
        ("/activation", "needs"),
        ("/allow", "needs"),
        ("/ban", "needs"),
        ("/disallow", "needs"),
        ("/gain", "needs"),
        ("/gain Ben", "needs"),
        ("/input", "needs"),
        ("/join", "needs"),
        ("/kick", "needs"),
        ("/leave", "needs"),
        ("/make-owner", "needs"),
        ("/move", "needs"),
        ("/move Ben", "missing"),
        ("/msg", "needs"),
        ("/msg Ben", "missing"),
        ("/mute-all", "needs"),
        ("/new-link now", "nothing, or send"),
        ("/noise", "needs"),
        ("/output", "needs"),
        ("/record", "needs"),
        ("/talk", "needs"),
        ("/unmute-all", "needs"),
        // There is too much.
        ("/code it", "nothing more"),
        ("/deafen Ben", "nothing more"),
        ("/help me", "nothing more"),
        ("/host", "voicemesh host"),
        ("/host now", "nothing more"),
        ("/lock it", "nothing more"),
        ("/quit now", "nothing more"),
        ("/undeafen Ben", "nothing more"),
        ("/unlock it", "nothing more"),
        ("/who is", "nothing more"),
        // It is none of what can be chosen.
        ("/activation loud", "needs"),
        ("/ban Ben 0", "no time for a ban"),
        ("/gain Ben 9", "from 0 to 4"),
        ("/noise much", "needs"),
        ("/talk perhaps", "needs"),
        ("/join \u{200b}", "needs a name"),
        // No such person, or several.
        ("/allow Zoe", "Zoe"),
        ("/ban Zoe", "Zoe"),
        ("/gain Zoe 1", "Zoe"),
        ("/kick Zoe", "Zoe"),
        ("/kick Cleo", "could be"),
        ("/make-owner Zoe", "Zoe"),
        ("/move Zoe Red", "Zoe"),
        ("/msg Zoe hello", "Zoe"),
        ("/mute Zoe", "Zoe"),
        ("/mute-all Zoe", "Zoe"),
        ("/unban Zoe", "Zoe"),
        ("/unmute Zoe", "Zoe"),
        ("/unmute-all Zoe", "Zoe"),
        // There is nothing to end, or nothing to begin it with.
        ("/new-link", "no key to replace"),
        ("/new-link send", "no key to replace"),
        ("/leave Red", "not in"),
        ("/record stop", "Nothing is being recorded"),
        ("/record calls", "Nothing is recorded"),
    ];
    let too_long = [
        (format!("/join {long}"), "at most"),
        (format!("/move Ben {long}"), "at most"),
        (format!("/msg Ben {}", "x".repeat(TEXT_BYTES + 1)), "at most"),
        ("x".repeat(TEXT_BYTES + 1), "at most"),
    ];
    known.map(|(line, why)| (line.to_owned(), why)).into_iter().chain(too_long).collect()
}

#[test]
fn every_line_that_is_refused_at_once_stays_to_be_corrected() {
    let mut world = World::new("at-once");
    let refused = refused_at_once();
    for (line, why) in &refused {
        let (said, stays) = world.types(line);
        assert!(said.contains(why) && stays, "{line:.80}: stays {stays}, {said}");
    }
    // A password of any length and form goes to the server, which alone may refuse it.
    for (command, _) in COMMANDS.iter().filter(|(command, _)| *command != "set-password") {
        let is_refused = |(line, _): &(String, _)| {
            line.split_whitespace().next() == Some(&format!("/{command}"))
        };
        assert!(refused.iter().any(is_refused), "no refusal of /{command} is tried");
    }
    let encryption = Some(MemberEncryption::Unable);
    world.talk.summary.snapshot.peers = vec![PeerState { encryption, ..state(1, "Ben") }];
    let (said, stays) = world.types("/msg Ben hello");
    assert!(said.contains("Not sent: Ben cannot read it: their program") && stays, "{said}");
    assert!(!world.types("hello").1, "nothing is known of the others yet");
    world.talk.summary.snapshot.peers.push(PeerState { encryption, ..state(0x2222, "Cleo") });
    world.talk.summary.snapshot.peers.push(PeerState { encryption, ..state(0x3333, "Cleo") });
    let (said, stays) = world.types("hello");
    assert!(said.contains("Not sent: no one here can read it. /code says why.") && stays, "{said}");
    world.talk.summary.snapshot.peers.truncate(1);
    let encryption = Some(MemberEncryption::Waiting);
    world.talk.summary.snapshot.peers.push(PeerState { encryption, ..state(2, "Cleo") });
    assert!(!world.types("hello").1, "keys are on their way");
    world.talk.summary.snapshot.peers[1] = state(2, "Cleo");
    assert!(!world.types("hello").1, "one can read it");
    world.talk.summary.snapshot.permissions = Permissions { data: false, ..Permissions::default() };
    for line in ["hello", "/msg Ben hello"] {
        let (said, stays) = world.types(line);
        assert!(said.contains("may not write") && stays, "{line}: {said}");
    }
    world.talk.summary.in_session = false;
    for line in ["hello", "/msg Ben hello"] {
        let (said, stays) = world.types(line);
        assert!(said.contains("out of reach") && stays, "{line}: {said}");
    }
}

#[test]
fn a_new_link_is_shown_to_its_maker_and_never_printed_for_programs() {
    let mut world = World::new("new-link");
    world.talk.arguments.room_key = Some(RoomKey::new([7; 16]));
    let encryption = Some(MemberEncryption::Encrypted { verified: true });
    world.talk.summary.snapshot.peers = vec![PeerState { encryption, ..state(1, "Ben") }];
    let (said, stays) = world.types("/new-link send");
    assert!(said.contains("not printed as JSON") && stays && !said.contains("#k="), "{said}");

    let names = ("lobby".to_owned(), "Ada".to_owned());
    let stay = described(&world.talk.arguments, names.0, names.1, Part::Talk);
    let printed = Box::new(world.printed.clone());
    world.talk.output = Output::text_for_tests(TextOutput::new(stay), printed);
    let (said, stays) = world.types("/new-link");
    assert!(said.contains("privately to Ben") && !said.contains("#k=") && !stays, "{said}");
    world.talk.summary.snapshot.peers.push(PeerState { encryption, ..state(2, "Cleo") });
    let (said, stays) = world.types("/new-link send");
    assert!(said.contains("they came after you were asked: "), "{said}");
    assert!(said.contains("written to Ben.") && said.contains("#k=") && !stays, "{said}");
    // What the server refuses goes to that one again, and makes no further room.
    let busy = world.talk.written.refused(Duration::ZERO, &ErrorCode::ReceiverBusy, None);
    let line = busy.expect("a line");
    assert!(line.starts_with("/msg Ben Ben, we go on") && line.contains("#k="), "{line}");
    let (said, stays) = world.types("/new-link send");
    assert!(said.contains("privately to") && !said.contains("#k=") && !stays, "asked anew: {said}");
    world.talk.summary.in_session = false;
    let (said, stays) = world.types("/new-link send");
    assert!(said.contains("out of reach") && stays && !said.contains("#k="), "{said}");
}

/// More than the lines that are kept.
#[test]
fn of_a_new_link_each_member_that_did_not_get_it_is_named_and_counted() {
    let mut world = World::new("invitations");
    world.talk.arguments.room_key = Some(RoomKey::new([7; 16]));
    let names = ("lobby".to_owned(), "Ada".to_owned());
    let stay = described(&world.talk.arguments, names.0, names.1, Part::Talk);
    let printed = Box::new(world.printed.clone());
    world.talk.output = Output::text_for_tests(TextOutput::new(stay), printed);
    let encryption = Some(MemberEncryption::Encrypted { verified: true });
    let members: Vec<(u16, String)> = (100..120).map(|id| (id, format!("Guest {id}"))).collect();
    world.talk.summary.snapshot.peers.clear();
    for (id, name) in &members {
        world.happens(arrival(*id, name));
        let peer = PeerState { encryption, ..state(*id, name) };
        world.talk.summary.snapshot.peers.push(peer);
    }
    world.types("/new-link");
    let (said, _) = world.types("/new-link send");
    let link = said.trim_end().rsplit_once('\'').and_then(|(said, _)| said.rsplit_once('\''));
    let link = link.expect("a link in quotes").1;
    let mut refuse = |text: String| {
        let code = ErrorCode::ReceiverBusy;
        let message = "it reads too slowly".to_owned();
        world.happens(Event::Room(RoomEvent::Warned { code, message, text: Some(text) }));
        world.printed.take()
    };
    for (number, (_, name)) in (1..).zip(&members) {
        let said = refuse(new_link::text(name, link));
        let expected =
            format!("{name} did not get the link to the new room, which makes {number} of 20");
        assert!(said.contains(&expected), "{said}");
    }
    let said = refuse(new_link::text("Guest 100", link));
    assert!(!said.contains("did not get"), "each once: {said}");
    let said = refuse("hello".to_owned());
    assert!(!said.contains("did not get"), "another text: {said}");
}

#[test]
fn what_the_server_or_a_device_refuses_later_comes_back() {
    let mut world = World::new("later");
    for line in ["/lock", "/kick Ben", "/set-password sesame", "/move Ben Red"] {
        let (said, stays) = world.types(line);
        assert!(!stays && !said.contains("did not work"), "{line}: {said}");
        let Some(transaction) = world.talk.decisions.asked_last() else {
            panic!("{line} asks the server")
        };
        let error = TransactionError {
            code: ErrorCode::NotPermitted,
            message: "you may not moderate".to_owned(),
        };
        world.happens(Event::Room(RoomEvent::TransactionDone { transaction, result: Err(error) }));
        assert!(world.stays(line), "{line}");
    }
    assert!(!world.types("/join Red").1);
    world.happens(Event::Voice(VoiceEvent::GroupRefused { group: "Blue".to_owned() }));
    assert!(!world.stays("/join Red"), "another group was refused");
    world.happens(Event::Voice(VoiceEvent::GroupRefused { group: "Red".to_owned() }));
    assert!(world.stays("/join Red"));
    let devices =
        [("/input missing.wav", DeviceRole::Input), ("/output nowhere", DeviceRole::Output)];
    for (line, _) in devices {
        assert!(!world.types(line).1);
    }
    for (line, which) in devices {
        let why = "it is not there".to_owned();
        world.happens(Event::Device(DeviceEvent::Refused { which, why }));
        assert!(world.stays(line), "{line}");
    }
}

#[test]
fn a_device_that_is_refused_after_another_was_asked_for_gives_back_the_later_line() {
    let mut world = World::new("devices");
    for line in ["/input one.wav", "/output nowhere", "/input two.wav"] {
        assert!(!world.types(line).1);
    }
    world.happens(Event::Device(DeviceEvent::Changed { which: DeviceRole::Output }));
    let why = "it is not there".to_owned();
    let refused = Event::Device(DeviceEvent::Refused { which: DeviceRole::Input, why });
    world.happens(refused.clone());
    assert!(world.stays("/input two.wav"));
    world.happens(refused);
    assert!(!world.stays("/input one.wav"), "the engine no longer opens that one");
}

#[test]
fn that_a_recording_runs_is_said_at_the_event_and_once() {
    let mut world = World::new("recording");
    world.talk.kept = Kept::Soon { folder: "/calls".into(), since: Duration::ZERO, is_late: true };
    world.talk.summary.snapshot.recording = true;
    world.printed.take();
    world.talk.look_at_recording(Duration::from_secs(9));
    assert_eq!(world.printed.take(), "", "a snapshot may be of the recording before");
    world.happens(Event::Voice(VoiceEvent::Recording { recording: true }));
    assert_eq!(world.printed.take().matches("/calls").count(), 1);
    world.happens(Event::Voice(VoiceEvent::Recording { recording: true }));
    assert!(!world.printed.take().contains("/calls"));
}

#[test]
fn what_was_done_does_not_come_back() {
    let mut world = World::new("done");
    for line in [
        "hello",
        "/mute",
        "/unmute Ben",
        "/gain Ben 0.5",
        "/who",
        "/help",
        "/join Red",
        "/leave Red",
        "/talk on",
        "/lock",
    ] {
        assert!(!world.types(line).1, "{line}");
    }
    let transaction = world.talk.decisions.asked_last().expect("the lock");
    world.happens(Event::Room(RoomEvent::TransactionDone { transaction, result: Ok(()) }));
    let error = TransactionError { code: ErrorCode::NotPermitted, message: "another".to_owned() };
    let other = TransactionId(transaction.0 + 1);
    world.happens(Event::Room(RoomEvent::TransactionDone {
        transaction: other,
        result: Err(error),
    }));
    assert!(!world.stays("/lock"));
}

#[test]
fn the_key_to_talk_does_nothing_for_another_activation() {
    let mut world = World::new("talk-on");
    for line in ["/talk on", "/activation push-to-talk"] {
        assert!(!world.types(line).1, "{line}");
    }
    assert!(!world.is_talking());
    for (line, talks) in
        [("/talk on", true), ("/activation voice", false), ("/activation push-to-talk", false)]
    {
        world.types(line);
        assert_eq!(world.is_talking(), talks, "{line}");
    }
}

#[test]
fn taking_away_a_password_is_answered_whether_there_was_one_or_not() {
    for had_one in [true, false] {
        let mut world = World::new("no-password");
        let (said, stays) = world.types("/set-password");
        assert!(!stays, "{said}");
        let transaction = world.talk.decisions.asked_last().expect("the password");
        if had_one {
            let change = PasswordChange::Removed;
            world.happens(Event::Room(RoomEvent::RoomPassword { change }));
        }
        let answer = world.talk.decisions.decided(transaction, true);
        let said = if had_one {
            "The room has no password any more."
        } else {
            "The room has no password."
        };
        assert_eq!(answer.as_deref(), Some(said));
    }
}

#[test]
fn what_one_decides_about_the_room_is_not_said_to_be_a_moderators_doing() {
    let lock = || Event::Room(RoomEvent::RoomLocked { locked: true });
    let password = || Event::Room(RoomEvent::RoomPassword { change: PasswordChange::Set });
    let mut world = World::new("own-decisions");
    let names = ("lobby".to_owned(), "Ada".to_owned());
    let stay = described(&world.talk.arguments, names.0, names.1, Part::Talk);
    let printed = Box::new(world.printed.clone());
    world.talk.output = Output::text_for_tests(TextOutput::new(stay), printed);
    let mut decide = |line: &str, event: Event, is_done: bool| {
        world.types(line);
        let transaction = world.talk.decisions.asked_last().expect("a decision");
        world.happens(event);
        assert_eq!(world.printed.take(), "", "{line} is not answered yet");
        let error = TransactionError { code: ErrorCode::PasswordWait, message: "later".to_owned() };
        let result = if is_done { Ok(()) } else { Err(error) };
        world.happens(Event::Room(RoomEvent::TransactionDone { transaction, result }));
        assert_eq!(world.stays(line), !is_done);
        world.printed.take()
    };
    let said = decide("/lock", lock(), true);
    assert!(said.contains("The room is closed to") && !said.contains("moderator"), "{said}");
    let said = decide("/set-password sesame", password(), true);
    assert!(said.contains("need the password") && !said.contains("moderator"), "{said}");
    // Another member was faster.
    let said = decide("/set-password sesame", password(), false);
    assert!(said.contains("later") && said.contains("A moderator has given"), "{said}");
    // The room is closed, and the answer that says so was lost.
    world.types("/lock");
    let transaction = world.talk.decisions.asked_last().expect("a decision");
    world.happens(lock());
    let lost = TransactionError {
        code: ErrorCode::Other("no-answer".to_owned()),
        message: "the server did not answer in time".to_owned(),
    };
    world.happens(Event::Room(RoomEvent::TransactionDone { transaction, result: Err(lost) }));
    let said = world.printed.take();
    assert!(said.contains("The room is closed to") && !said.contains("did not"), "{said}");
    assert!(!world.stays("/lock"));
    // What is not what was asked for is the doing of another member.
    world.types("/unlock");
    for (event, by) in [(lock(), "A moderator has closed"), (password(), "A moderator has given")] {
        world.happens(event);
        let said = world.printed.take();
        assert!(said.contains(by), "{said}");
    }
}
