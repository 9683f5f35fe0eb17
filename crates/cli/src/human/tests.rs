use voicemesh::{
    AnnouncementError, DeviceEvent, MemberEncryption, MemberStatus, Metadata, RoomEvent,
    TransactionError, TransactionId, VoiceEvent,
};

use super::*;
use crate::encryption::EndToEnd;
use crate::people::tests::{arrival, peer, people};
use crate::summary::tests::{at, joined};

fn stay(relay_only: bool, part: Part) -> SessionInfo {
    let (server, room, name) =
        ("ws://127.0.0.1:8080".to_owned(), "lobby".to_owned(), "Ada".to_owned());
    SessionInfo {
        server,
        served_by: ServedBy::Server,
        server_by_default: true,
        room,
        name,
        relay_only,
        end_to_end: EndToEnd::Off,
        has_token: true,
        unused_server: None,
        record: None,
        written_beside: None,
        part,
    }
}

fn human() -> TextOutput {
    TextOutput::new(stay(false, Part::Talk))
}

/// What a fresh view says about one event, with Ben present.
fn said(event: Event) -> String {
    human().event(&at(1000, event), &people(&[(1, "Ben")])).map_or(String::new(), |line| line.text)
}

fn away(retry_ms: u64) -> Event {
    Event::Room(RoomEvent::ServerAway {
        why: "connection refused".into(),
        failure: None,
        silent_for: Duration::ZERO,
        retry_in: Duration::from_millis(retry_ms),
    })
}

#[test]
fn a_server_that_is_about_to_stop_is_not_said_to_be_at_a_wrong_address() {
    let why = "it is about to stop".to_owned();
    let (silent_for, retry_in) = (Duration::ZERO, Duration::from_secs(5));
    let text =
        said(Event::Room(RoomEvent::ServerAway { why, failure: None, silent_for, retry_in }));
    assert!(
        text.contains("lets no more people in: it is about to stop. The next try is in 5.0 s"),
        "{text}"
    );
}

/// proves: S-14
#[test]
fn the_first_line_says_who_sees_addresses() {
    let first = |relay_only| human_with(relay_only).opening()[0].text.clone();
    assert!(
        first(false).contains("see each other's IP addresses")
            && first(false).contains("--relay-only")
    );
    assert!(first(true).contains("no one in the room sees this machine's IP address"));
}

fn human_with(relay_only: bool) -> TextOutput {
    TextOutput::new(stay(relay_only, Part::Talk))
}

#[test]
fn the_opening_names_room_server_and_name() {
    let text = human().opening()[1].text.clone();
    assert_eq!(
        text,
        "Joining “lobby” at ws://127.0.0.1:8080 (this machine; --server names another) as Ada …"
    );
    assert!(human().invitation().is_some_and(|line| line.text.contains("/help")));
    assert_eq!(
        TextOutput::new(stay(false, Part::Echo)).invitation(),
        None,
        "an echo has no one who types"
    );
}

#[test]
fn joining_and_joining_again() {
    let mut human = human();
    let mut say = |event| human.event(&at(0, event), &People::default()).map(|line| line.text);
    assert_eq!(say(joined()).as_deref(), Some("You are in “lobby”; one other is there."));
    assert_eq!(say(Event::Room(RoomEvent::Connected)), None);
    assert_eq!(say(joined()).as_deref(), Some("Back in “lobby”."));
    assert_eq!(say(Event::Room(RoomEvent::Left)).as_deref(), Some("You have left “lobby”."));
}

#[test]
fn an_echo_says_that_it_is_one() {
    let mut echo = TextOutput::new(SessionInfo { name: "echo".into(), ..stay(false, Part::Echo) });
    let line = echo.event(&at(0, joined()), &People::default()).expect("a line");
    assert_eq!(
        line.text,
        "The echo peer “echo” is in “lobby” and says back what it hears; one other is there."
    );
}

#[test]
fn the_own_name_is_said_when_it_is_another_than_the_one_asked_for() {
    let as_name = |name: &str| {
        let Event::Room(RoomEvent::Joined { you, room, session, others, relay_only, .. }) =
            joined()
        else {
            panic!()
        };
        Event::Room(RoomEvent::Joined {
            you,
            name: name.to_owned(),
            room,
            session,
            others,
            relay_only,
        })
    };
    let said =
        |human: &mut TextOutput, name: &str| human.renamed(&as_name(name)).map(|line| line.text);
    let mut human = human();
    assert_eq!(said(&mut human, "Ada"), None);
    assert_eq!(
        said(&mut human, "Dr. Ada").as_deref(),
        Some("You are here as Dr. Ada, as your token says.")
    );
    assert_eq!(said(&mut human, "Dr. Ada"), None, "said once");
    assert_eq!(
        said(&mut human, "\u{1b}[2J").as_deref(),
        Some("You are here as ␛[2J, as your token says.")
    );
    let mut without = TextOutput::new(SessionInfo { has_token: false, ..stay(false, Part::Talk) });
    assert_eq!(
        said(&mut without, "Dr. Ada").as_deref(),
        Some("You are here as Dr. Ada, as the server says.")
    );
    let mut echo = TextOutput::new(stay(false, Part::Echo));
    assert_eq!(said(&mut echo, "Cave"), None);
    let line = echo.event(&at(0, as_name("Cave")), &People::default()).expect("a line");
    assert!(line.text.starts_with("The echo peer “Cave” is in “lobby”"), "{}", line.text);
}

#[test]
fn who_came_and_left_and_why() {
    assert_eq!(said(arrival(1, "Ben")), "Ben is here.");
    let left = |reason| {
        said(Event::Room(RoomEvent::PeerLeft { peer: peer(1), name: "Ben".into(), reason }))
    };
    assert_eq!(left(PeerLeftReason::Left), "Ben left.");
    assert_eq!(left(PeerLeftReason::Kicked), "Ben was put out.");
    assert_eq!(left(PeerLeftReason::Lost), "Ben is gone: the connection broke.");
    assert_eq!(left(PeerLeftReason::Restarted), "Ben starts again.");
    assert_eq!(
        said(Event::Room(RoomEvent::MetadataChanged { peer: peer(1), metadata: Metadata::new() })),
        ""
    );
}

/// proves: B-09
#[test]
fn everyone_is_told_who_records() {
    let recording = Metadata::from([("recording".to_owned(), "1".to_owned())]);
    let (mut human, people) = (human(), people(&[(1, "Ben")]));
    let mut say = |event| human.event(&at(0, event), &people).map(|line| line.text);
    let changed = |metadata: &Metadata| {
        Event::Room(RoomEvent::MetadataChanged { peer: peer(1), metadata: metadata.clone() })
    };
    assert_eq!(
        say(changed(&recording)).as_deref(),
        Some("Ben keeps a recording of the room from now on.")
    );
    assert_eq!(say(changed(&recording)), None, "told once");
    assert_eq!(
        say(changed(&Metadata::new())).as_deref(),
        Some("Ben no longer keeps a recording of the room.")
    );
    let came = Event::Room(RoomEvent::PeerJoined {
        peer: peer(1),
        name: "Ben".into(),
        metadata: recording,
    });
    assert_eq!(say(came).as_deref(), Some("Ben is here, and keeps a recording of the room."));
    // The status says the same; it ends when neither does.
    let status = |recording| {
        Event::Room(RoomEvent::StatusChanged {
            peer: peer(1),
            status: MemberStatus { recording, ..Default::default() },
        })
    };
    assert_eq!([say(status(true)), say(changed(&Metadata::new()))], [None, None]);
    assert_eq!(say(status(false)).as_deref(), Some("Ben no longer keeps a recording of the room."));
    assert_eq!(
        say(status(true)).as_deref(),
        Some("Ben keeps a recording of the room from now on.")
    );
    let failed = Event::Voice(VoiceEvent::RecordingFailed { why: "the disk is full".into() });
    assert_eq!(
        say(failed).as_deref(),
        Some(
            "Nothing more is recorded: the disk is full. What was recorded until then is kept; /record begins again."
        )
    );
}

#[test]
fn a_person_who_joins_is_one_line_and_only_a_missing_route_is_another() {
    let (mut human, people) = (human(), people(&[(1, "Ben")]));
    let mut say = |event| human.event(&at(0, event), &people).map(|line| line.text);
    let route = |route| Event::Room(RoomEvent::RouteChanged { peer: peer(1), route });
    assert!(say(arrival(1, "Ben")).is_some());
    for event in [
        route(Route::Relayed),
        Event::Voice(VoiceEvent::FirstHeard { peer: peer(1) }),
        route(Route::Direct),
    ] {
        assert_eq!(say(event), None);
    }
}

#[test]
fn a_way_that_ends_is_said_if_it_stays_so_and_not_of_a_member_that_leaves() {
    let (mut human, people) = (human(), people(&[(1, "Ben")]));
    let route = |route| Event::Room(RoomEvent::RouteChanged { peer: peer(1), route });
    let left = || {
        let (name, reason) = ("Ben".to_owned(), PeerLeftReason::Left);
        Event::Room(RoomEvent::PeerLeft { peer: peer(1), name, reason })
    };
    let ms = Duration::from_millis;
    let mut after = |event, at_ms: [u64; 2]| {
        let line = human.event(&at(0, event), &people);
        let mut lines: Vec<Line> = line.into_iter().collect();
        at_ms.iter().for_each(|&at| lines.extend(human.due(ms(at), &people)));
        lines.into_iter().map(|line| line.text).collect::<Vec<_>>()
    };
    assert_eq!(after(arrival(1, "Ben"), [0, 1]), ["Ben is here."]);
    assert_eq!(after(route(Route::None), [1000, 1499]), [""; 0]);
    assert_eq!(after(route(Route::Relayed), [1500, 2500]), [""; 0], "it was short");
    let cut_off = ["No sound comes through between you and Ben at the moment."];
    assert_eq!(after(route(Route::None), [3000, 3500]), cut_off);
    assert_eq!(after(route(Route::None), [3600, 5000]), [""; 0], "told once");
    let again = ["Sound comes through between you and Ben again."];
    assert_eq!(after(route(Route::Direct), [5001, 6000]), again);
    assert_eq!(after(route(Route::None), [7000, 7499]), [""; 0]);
    assert_eq!(after(left(), [7500, 8000]), ["Ben left."]);
}

#[test]
fn of_a_member_without_the_keys_no_sound_is_said_to_come_through() {
    let (mut human, people) = (human(), people(&[(1, "Ben"), (2, "Cleo")]));
    let say =
        |human: &mut TextOutput, event| human.event(&at(0, event), &people).map(|line| line.text);
    say(&mut human, joined());
    let encryption = MemberEncryption::Refused(AnnouncementError::NotAuthentic);
    say(
        &mut human,
        Event::Room(RoomEvent::EncryptionChanged {
            peer: peer(1),
            encryption,
            encrypted_before: false,
        }),
    );
    for route in [Route::Direct, Route::None, Route::Direct] {
        let changed = Event::Room(RoomEvent::RouteChanged { peer: peer(1), route });
        assert_eq!(say(&mut human, changed), None);
        let lines = human.due(Duration::from_secs(9), &people);
        assert!(lines.is_empty(), "{lines:?}");
    }
    let outage = say(&mut human, away(200)).expect("a line");
    assert!(!outage.contains("Direct") && !outage.contains("hear each other"), "{outage}");
}

#[test]
fn what_a_member_may_do_is_said_when_it_changes() {
    let mut people = people(&[(1, "Ben")]);
    people.see(&joined());
    let mut human = human();
    let you = people.you().expect("known");
    let mut say = |peer, permissions| {
        human
            .event(
                &at(0, Event::Room(RoomEvent::PermissionsChanged { peer, permissions })),
                &people,
            )
            .map(|line| line.text)
    };
    let usual = Permissions::default();
    let mute = say(you, usual.without_speak());
    assert_eq!(
        mute.as_deref(),
        Some("You may not speak in this room: the others cannot hear you.")
    );
    assert_eq!(say(you, usual.without_speak()), None);
    assert_eq!(
        say(you, Permissions::ALL).as_deref(),
        Some("You may speak. You may moderate this room; /help lists the commands.")
    );
    assert_eq!(
        say(peer(1), usual.without_speak()).as_deref(),
        Some("Ben may not speak in this room.")
    );
    assert_eq!(
        say(peer(1), Permissions::ALL).as_deref(),
        Some("Ben may speak. Ben may moderate this room.")
    );
    assert_eq!(say(peer(1), usual).as_deref(), Some("Ben may no longer moderate this room."));
    assert_eq!(say(you, usual).as_deref(), Some("You may no longer moderate this room."));
}

#[test]
fn who_may_not_moderate_reads_who_may() {
    let mut people = people(&[(1, "Ben"), (2, "Cleo"), (3, "Dan")]);
    people.see(&joined());
    let you = people.you().expect("known");
    let mut human = human();
    let mut refused = |moderators: &[PeerId]| {
        for peer in [you, peer(1), peer(2), peer(3)] {
            let permissions = match moderators.contains(&peer) {
                true => Permissions::ALL,
                false => Permissions::default(),
            };
            let event = Event::Room(RoomEvent::PermissionsChanged { peer, permissions });
            human.event(&at(0, event), &people);
        }
        let error =
            TransactionError { code: ErrorCode::NotModerator, message: "not you".to_owned() };
        let transaction = TransactionId(1);
        let event = Event::Room(RoomEvent::TransactionDone { transaction, result: Err(error) });
        human.event(&at(0, event), &people).expect("a line").text
    };
    let two = refused(&[peer(1), peer(3)]);
    assert!(two.ends_with("may not moderate this room. Ask Ben or Dan, who may."), "{two}");
    let none = refused(&[you]);
    assert!(none.contains("no other person here may. Who enters"), "{none}");
}

#[test]
fn speech_is_told_once_and_not_after_every_breath() {
    let (mut human, people) = (human(), people(&[(1, "Ben")]));
    let mut say = |ms, event| human.event(&at(ms, event), &people).map(|line| line.text);
    let speaks = |speaking| Event::Voice(VoiceEvent::Speaking { peer: peer(1), speaking });
    assert_eq!(
        say(0, Event::Voice(VoiceEvent::FirstHeard { peer: peer(1) })),
        None,
        "its speech is reported next"
    );
    assert_eq!(say(10, speaks(true)).as_deref(), Some("Ben speaks."));
    assert_eq!(say(9_000, speaks(false)), None);
    assert_eq!(say(11_000, speaks(true)), None, "a breath");
    assert_eq!(say(12_000, speaks(false)), None);
    assert_eq!(say(20_000, speaks(true)).as_deref(), Some("Ben speaks."));
}

#[test]
fn texts_are_shown_harmlessly() {
    let text = |private, text: &str| {
        said(Event::Room(RoomEvent::Text {
            from: peer(1),
            name: "Ben".into(),
            private,
            group: None,
            text: text.to_owned(),
        }))
    };
    assert_eq!(text(false, "hello\n"), "Ben: hello");
    assert_eq!(text(true, "psst"), "Ben (to you alone): psst");
    assert_eq!(text(false, "\u{1b}[2Jhi\nAda left."), "Ben: ␛[2Jhi⏎Ada left.");
}

#[test]
fn a_server_that_is_away_is_told_with_the_next_try() {
    let mut human = human();
    let mut say = |event| {
        human.event(&at(0, event), &People::default()).map_or(String::new(), |line| line.text)
    };
    let first = say(away(1500));
    assert!(
        first.starts_with(
            "The server at ws://127.0.0.1:8080 cannot be reached: connection refused."
        ),
        "{first}"
    );
    assert!(first.contains("next try is in 1.5 s") && first.contains("voicemesh serve"), "{first}");
    assert_eq!([say(away(1500)), say(away(3000))], ["", ""], "once for each reason");
    say(joined());
    assert_eq!(
        say(away(200)),
        "The server is away: connection refused. The next try is in 200 ms; more follow."
    );
    assert_eq!([say(away(400)), say(away(2000))], ["", ""]);
}

#[test]
fn who_is_heard_without_the_server_is_said_as_it_is() {
    let people = people(&[(1, "Ben"), (2, "Cleo")]);
    let heard = |routes: &[(u16, Route)]| {
        let mut human = human();
        let mut say =
            |event| human.event(&at(0, event), &people).map_or(String::new(), |line| line.text);
        say(joined());
        for (id, route) in routes {
            say(arrival(*id, "Ben"));
            say(Event::Room(RoomEvent::RouteChanged { peer: peer(*id), route: *route }));
        }
        say(away(200))
    };
    assert!(heard(&[(1, Route::Direct)]).contains(". Direct connections continue. "));
    let relayed = heard(&[(1, Route::None), (2, Route::Relayed)]);
    assert!(
        relayed.contains("you and the others cannot hear each other")
            && !relayed.contains("Direct"),
        "{relayed}"
    );
    assert!(
        heard(&[(1, Route::Direct), (2, Route::None)])
            .contains("continue; until it is back, you and the rest")
    );
}

#[test]
fn a_reason_with_a_remedy_is_told_whenever_it_is_a_new_one() {
    let mut human =
        TextOutput::new(SessionInfo { server_by_default: false, ..stay(false, Part::Talk) });
    let mut say = |event| {
        human.event(&at(0, event), &People::default()).map_or(String::new(), |line| line.text)
    };
    let failed = |failure: ConnectFailure| {
        Event::Room(RoomEvent::ServerAway {
            why: failure.to_string(),
            failure: Some(failure),
            silent_for: Duration::ZERO,
            retry_in: Duration::from_millis(300),
        })
    };
    let first = say(failed(ConnectFailure::Status(502)));
    assert!(
        first.contains("(502). It may be starting") && !first.contains("address right"),
        "{first}"
    );
    assert_eq!(say(failed(ConnectFailure::Status(502))), "", "told, and tried again at once");
    let next = say(failed(ConnectFailure::CertificateNotTrusted));
    assert!(
        next.contains("its certificate is not trusted here.") && next.contains("--ca FILE"),
        "{next}"
    );
}

#[test]
fn a_server_that_lets_no_one_in_for_now_is_not_said_to_be_out_of_reach() {
    let refused = |code: ErrorCode| {
        let failure = ConnectFailure::Refused { code, message: "Later".to_owned() };
        said(Event::Room(RoomEvent::ServerAway {
            why: failure.to_string(),
            failure: Some(failure),
            silent_for: Duration::ZERO,
            retry_in: Duration::from_millis(3600),
        }))
    };
    let wait = refused(ErrorCode::PasswordWait);
    assert_eq!(
        wait,
        "The server has not looked at the password yet: wrong ones came from here. The next try is in 3.6 s; more follow."
    );
    let full = refused(ErrorCode::RoomFull);
    assert!(
        full.contains("does not let you in for now: Later.") && !full.contains("reached"),
        "{full}"
    );
}

#[test]
fn an_exposed_or_proxied_connection_is_told_once() {
    let mut human = human();
    let mut say = |encrypted, local, proxy: Option<&str>| {
        let connection = ServerConnection::new(encrypted, local, proxy.map(str::to_owned));
        human
            .event(&at(0, Event::Room(RoomEvent::ServerConnected(connection))), &People::default())
            .map(|line| line.text)
    };
    assert_eq!(say(true, false, None), None);
    assert_eq!(
        say(false, true, None),
        None,
        "what never leaves this machine cannot be read on the way"
    );
    assert!(
        say(false, false, None)
            .is_some_and(|text| text.contains("not encrypted on the way to the server"))
    );
    assert_eq!(say(false, false, None), None, "told once");
    let proxied = say(true, false, Some("proxy:3128")).expect("a line");
    assert!(proxied.contains("proxy proxy:3128") && proxied.contains("--relay-only"), "{proxied}");
    assert_eq!(say(true, false, Some("proxy:3128")), None, "told once");
}

#[test]
fn lost_devices_are_told_with_what_it_means() {
    let lost =
        |which| said(Event::Device(DeviceEvent::Lost { which, why: "it was unplugged".into() }));
    assert!(
        lost(DeviceRole::Input)
            .starts_with("Your microphone does not work: it was unplugged. The others")
    );
    assert!(lost(DeviceRole::Output).contains("You cannot hear the others"));
    assert_eq!(
        said(Event::Device(DeviceEvent::Recovered { which: DeviceRole::Input })),
        "Your microphone works again."
    );
}

#[test]
fn refusals_say_what_next() {
    let refused = |code| refusal(&code, "no", "lobby", None);
    assert!(refused(ErrorCode::RoomFull).contains("“lobby” is full"));
    assert!(refused(ErrorCode::RoomMissing).contains("--must-exist"));
    assert!(refused(ErrorCode::RoomExists).contains("--must-not-exist"));
    assert!(refused(ErrorCode::PasswordRequired).contains("VOICEMESH_PASSWORD"));
    assert!(refused(ErrorCode::PasswordWrong).contains("“lobby”"));
    assert!(refused(ErrorCode::Other("odd".into())).starts_with("The server refused: no. (odd) "));
    assert!(replaced("lobby").contains("from somewhere else"));
    assert_eq!(
        said(Event::Room(RoomEvent::Warned {
            code: ErrorCode::BadField,
            message: "too long".into(),
            text: None
        })),
        "That did not work: too long."
    );
    // Nothing was asked for.
    for code in ["turn-failed", "client-ended", "encoder-failed", "text-unread"] {
        let warned = RoomEvent::Warned {
            code: ErrorCode::Other(code.into()),
            message: "It does not work.".into(),
            text: None,
        };
        assert_eq!(said(Event::Room(warned)), "It does not work.");
    }
    assert!(
        said(Event::Voice(VoiceEvent::GroupRefused { group: "Red\u{7}".into() })).contains("“Red”")
    );
    assert_eq!(
        said(Event::Room(RoomEvent::Refused {
            code: ErrorCode::RoomFull,
            message: "full".into(),
            retry_after: None
        })),
        ""
    );
    assert_eq!(said(Event::Room(RoomEvent::Replaced)), "");
}

#[test]
fn who_is_held_in_groups_reads_it_and_why_others_are_refused() {
    let mut human = human();
    let mut people = people(&[(1, "Ben")]);
    people.see(&joined());
    let you = people.you().expect("it has joined");
    let mut say = |event: Event| {
        human.event(&at(1000, event), &people).map_or(String::new(), |line| line.text)
    };
    let held = |peer, groups: &[&str]| {
        Event::Room(RoomEvent::Held {
            peer,
            groups: groups.iter().map(|name| (*name).to_owned()).collect(),
        })
    };
    let refused = |group: &str| Event::Voice(VoiceEvent::GroupRefused { group: group.to_owned() });
    assert_eq!(say(held(peer(1), &["Red"])), "", "of others nothing is said");
    assert_eq!(say(held(you, &[])), "");
    assert!(say(held(you, &["Red"])).contains("holds you in “Red”"));
    assert_eq!(say(refused("Blue")), "A moderator holds you in “Red”: you cannot join “Blue”.");
    assert_eq!(say(refused("Global")), "", "a program that joins anew begins there");
    assert!(say(held(you, &[])).contains("again"));
    assert!(say(refused("Blue")).contains("Take another name"));
}

#[test]
fn when_oneself_leaves_the_others_do_not() {
    let mut human = human();
    human.leaving();
    let left = Event::Room(RoomEvent::PeerLeft {
        peer: peer(1),
        name: "Ben".into(),
        reason: PeerLeftReason::Left,
    });
    assert_eq!(human.event(&at(0, left), &people(&[(1, "Ben")])), None);
}

#[test]
fn lengths_of_time() {
    let of = |millis| short(Duration::from_millis(millis));
    assert_eq!([of(12), of(1500), of(30_000), of(600_000)], ["12 ms", "1.5 s", "30 s", "10 min"]);
}

/// Who is left out is said once, and again when it is not any more; that keys are on their way is no
/// news.
#[test]
fn who_is_left_out_by_encryption_is_said_with_the_reason() {
    let mut text = human();
    let people = people(&[(1, "Ben")]);
    let mut said = |encryption| {
        let event = Event::Room(RoomEvent::EncryptionChanged {
            peer: peer(1),
            encryption,
            encrypted_before: false,
        });
        text.event(&at(1000, event), &people).map(|line| line.text)
    };
    let encrypted = MemberEncryption::Encrypted { verified: true };
    assert_eq!(said(MemberEncryption::Waiting), None);
    assert_eq!(said(encrypted), None);
    for (encryption, part) in [
        (MemberEncryption::Unable, "does not encrypt"),
        (
            MemberEncryption::Refused(AnnouncementError::NotAuthentic),
            "without the key of your link",
        ),
        (MemberEncryption::Refused(AnnouncementError::RoomKeyMissing), "Ask them for the link"),
        (MemberEncryption::Refused(AnnouncementError::IdentityChanged), "another key than before"),
        (MemberEncryption::Refused(AnnouncementError::Malformed), "their keys are refused"),
    ] {
        let line = said(encryption).expect("a line");
        assert!(line.contains("Ben") && line.contains(part), "{line}");
    }
    assert_eq!(said(encrypted).as_deref(), Some("Ben hears you now."));
    assert_eq!(said(encrypted), None);
    assert!(said(MemberEncryption::Stopped).expect("a line").contains("without encryption"));
}

/// Whether the server may hear what is said to one who cannot encrypt is asked once, and in rooms
/// without a key only.
#[test]
fn about_one_who_cannot_encrypt_it_asks_once_until_that_one_leaves() {
    let stay = SessionInfo { end_to_end: EndToEnd::WithoutKey, ..stay(false, Part::Talk) };
    let mut text = TextOutput::new(stay);
    let people = people(&[(1, "Ben")]);
    let mut said = |event| text.event(&at(1000, Event::Room(event)), &people).map(|line| line.text);
    let changed = |encryption| RoomEvent::EncryptionChanged {
        peer: peer(1),
        encryption,
        encrypted_before: false,
    };
    let question = said(changed(MemberEncryption::Unable)).expect("a line");
    assert!(question.contains("Let the server hear what you say to Ben? /allow Ben"), "{question}");
    assert_eq!(said(changed(MemberEncryption::Unencrypted)), None, "the answer says it");
    assert_eq!(said(changed(MemberEncryption::Unable)), None);
    said(RoomEvent::PeerLeft {
        peer: peer(1),
        name: "Ben".to_owned(),
        reason: PeerLeftReason::Left,
    });
    assert_eq!(said(changed(MemberEncryption::Unable)).as_deref(), Some(question.as_str()));
}

#[test]
fn of_one_who_encrypted_in_an_earlier_run_the_question_says_so() {
    let stay = SessionInfo { end_to_end: EndToEnd::WithoutKey, ..stay(false, Part::Talk) };
    let mut text = TextOutput::new(stay);
    let event = RoomEvent::EncryptionChanged {
        peer: peer(1),
        encryption: MemberEncryption::Unable,
        encrypted_before: true,
    };
    let line = text.event(&at(1000, Event::Room(event)), &people(&[(1, "Ben")])).expect("a line");
    assert!(line.text.starts_with("Ben encrypted when you met last"), "{line:?}");
    assert!(line.text.contains("Let the server hear what you say to Ben? /allow Ben"), "{line:?}");
}

/// Who joined without the key reads why a member is not heard: once.
#[test]
fn who_does_not_encrypt_reads_that_others_do() {
    let people = people(&[(1, "Ben"), (2, "Cleo")]);
    let mut plain = human();
    let mut said = |id, has_room_key| {
        let encryption = MemberEncryption::OnlyTheirs { has_room_key };
        let event = Event::Room(RoomEvent::EncryptionChanged {
            peer: peer(id),
            encryption,
            encrypted_before: false,
        });
        plain.event(&at(1000, event), &people)
    };
    let line = said(1, true).expect("a line");
    assert!(line.text.contains("You do not hear Ben, nor they you"), "{line:?}");
    assert_eq!(line.mood, Mood::Trouble);
    assert_eq!(said(1, true), None);
    assert!(said(2, false).expect("a line").text.contains("lets the server hear it"));
    for end_to_end in [EndToEnd::WithKey, EndToEnd::WithoutKey] {
        let encrypted = TextOutput::new(SessionInfo { end_to_end, ..stay(false, Part::Talk) });
        assert!(encrypted.opening()[1].text.contains("encrypted end to end"));
    }
}

#[test]
fn a_call_over_a_host_speaks_of_its_host_and_of_no_server() {
    let view = |served_by| {
        let room = "192.0.2.1:7788".to_owned();
        TextOutput::new(SessionInfo { served_by, room, ..stay(false, Part::Talk) })
    };
    let opening = |served_by| -> Vec<String> {
        view(served_by).opening().into_iter().map(|line| line.text).collect()
    };
    assert_eq!(opening(ServedBy::Host)[1], "Joining the call at 192.0.2.1:7788 as Ada …");
    assert_eq!(opening(ServedBy::ThisProgram)[1], "Hosting a call as Ada …");
    let mut view = view(ServedBy::Host);
    let people = people(&[(1, "Ben")]);
    let mut said =
        |event| view.event(&at(1000, event), &people).map_or(String::new(), |line| line.text);
    assert_eq!(said(joined()), "You are in the call; one other is there.");
    let retry = "The next try is in 1.0 s; more follow.";
    assert_eq!(said(away(1000)), format!("The host is away: connection refused. {retry}"));
    assert_eq!(said(away(1000)), "", "once");
    assert_eq!(said(joined()), "Back in the call.");
    assert_eq!(said(Event::Room(RoomEvent::Left)), "You have left the call.");
}
