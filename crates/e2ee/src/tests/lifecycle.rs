//! Members who come, go, come back and start anew.

use super::world::{Maker, World, open, peer, room_key, seconds, session};
use crate::error::{AnnouncementError, FingerprintError, OpenError, RoomKeyError, SealError};
use crate::{
    Configuration, KeyRing, Label, MemberChange, PackageEffect, Published, REPLAY_WINDOW,
    RESTART_INTERVAL, RoomKey, SWITCH_DELAY, Seed,
};
use voicemesh_wire::identity::InstallationSecret;
use voicemesh_wire::packet::KeyPackage;
use voicemesh_wire::{ClientId, SessionId};

#[test]
fn members_hear_each_other_with_and_without_a_room_key() {
    for maker in [Maker::default(), Maker::without_key()] {
        let mut world = World::of(&maker, 4);
        world.assert_all_hear();
        for label in [Label::Voice, Label::Data, Label::State] {
            let sealed = world.seal(1, label, b"text");
            assert_eq!(world.open(2, 1, label, &sealed), Ok(b"text".to_vec()));
        }
        let mut sealed = Vec::new();
        world.ring(1).seal_to(peer(2), Label::Data, b"header", b"between us", &mut sealed).unwrap();
        let mut text = Vec::new();
        let third = world.ring(3).open_from(peer(1), Label::Data, b"header", &sealed, &mut text);
        assert_eq!(third, Err(OpenError::NotAuthentic));
        world.ring(2).open_from(peer(1), Label::Data, b"header", &sealed, &mut text).unwrap();
        assert_eq!(text, b"between us");
    }
}

#[test]
fn a_frame_takes_at_most_22_bytes() {
    let mut world = World::of(&Maker::default(), 2);
    for step in 0..31 {
        let sealed = world.seal(1, Label::Voice, &[7; 60]);
        assert!(sealed.len() <= 60 + 19, "{step}: {}", sealed.len());
        world.join(10 + step, Maker::default().ring(10 + step, 0));
    }
    // The largest key id, and a counter of four bytes.
    let header = sframe::header::SframeHeader::new(255, u64::from(u32::MAX));
    assert_eq!(header.len() + crate::suite::TAG_BYTES, 22);
}

#[test]
fn who_left_cannot_open_what_comes_after() {
    let mut world = World::of(&Maker::default(), 4);
    let before = world.seal(1, Label::Voice, b"before");
    let mut gone = world.leave(4);
    assert_eq!(open(&mut gone, world.now, 1, Label::Voice, &before), Ok(b"before".to_vec()));
    world.pass(SWITCH_DELAY.as_secs_f64());
    for label in [Label::Voice, Label::Data, Label::State] {
        let after = world.seal(1, label, b"after");
        assert_eq!(open(&mut gone, world.now, 1, label, &after), Err(OpenError::UnknownKey));
        assert_eq!(world.open(2, 1, label, &after), Ok(b"after".to_vec()));
    }
    world.assert_all_hear();
}

#[test]
fn who_joins_late_cannot_open_speech_of_before_and_can_open_state() {
    let mut world = World::of(&Maker::default(), 3);
    let speech = world.seal(1, Label::Voice, b"before");
    let text = world.seal(1, Label::Data, b"before");
    let state = world.seal(1, Label::State, b"Ada");
    world.join(4, Maker::default().ring(4, 0));
    assert_eq!(world.open(4, 1, Label::Voice, &speech), Err(OpenError::UnknownKey));
    assert_eq!(world.open(4, 1, Label::Data, &text), Err(OpenError::UnknownKey));
    assert_eq!(world.open(4, 1, Label::State, &state), Ok(b"Ada".to_vec()));
    // What was under way to the others arrives, whatever the order.
    let after = world.seal(1, Label::Voice, b"after");
    assert_eq!(world.open(2, 1, Label::Voice, &after), Ok(b"after".to_vec()));
    assert_eq!(world.open(2, 1, Label::Voice, &speech), Ok(b"before".to_vec()));
    world.assert_all_hear();
}

/// New keys are given out and not in use yet: who comes then is given both.
#[test]
fn who_joins_right_after_another_left_can_open_what_follows_at_once() {
    let mut world = World::of(&Maker::default(), 3);
    let before = world.seal(1, Label::Data, b"before");
    drop(world.leave(3));
    for number in 4..6 {
        assert!(!world.ring(1).was_given_keys(peer(number)));
        world.join(number, Maker::default().ring(number, 0));
        assert!(world.ring(1).was_given_keys(peer(number)));
        let after = world.seal(1, Label::Data, b"after");
        for reader in [2, number] {
            assert_eq!(world.open(reader, 1, Label::Data, &after), Ok(b"after".to_vec()));
        }
        assert_eq!(world.open(number, 1, Label::Data, &before), Err(OpenError::UnknownKey));
    }
    world.assert_all_hear();
    world.pass(SWITCH_DELAY.as_secs_f64());
    assert_eq!(world.ring(1).own_epoch(), 1);
    world.assert_all_hear();
}

#[test]
fn who_leaves_while_another_waits_for_its_keys_does_not_delay_them() {
    let maker = Maker::default();
    let mut world = World::of(&maker, 3);
    let (now, mut ring) = (world.now, maker.ring(4, 0));
    for (number, theirs) in &mut world.rings {
        let announcement = ring.announcement(session());
        theirs.set_member(now, session(), peer(4), &announcement).expect("an announcement");
        let announcement = theirs.announcement(session());
        ring.set_member(now, session(), peer(*number), &announcement).expect("an announcement");
    }
    world.rings.push((4, ring));
    // The packages for 4 are not made yet.
    drop(world.leave(3));
    let after = world.seal(1, Label::Data, b"after");
    assert_eq!(world.open(4, 1, Label::Data, &after), Ok(b"after".to_vec()));
}

#[test]
fn a_crowd_that_joins_between_frames_is_heard_by_those_who_heard_nothing_meanwhile() {
    let mut world = World::of(&Maker::default(), 2);
    for number in 10..70 {
        // Member 2 is addressed by none of these.
        world.seal(1, Label::Voice, b"to others");
        world.join(number, Maker { max_members: 100, ..Maker::default() }.ring(number, 0));
    }
    world.pass(1.0);
    let sealed = world.seal(1, Label::Voice, b"good day");
    assert_eq!(world.open(2, 1, Label::Voice, &sealed), Ok(b"good day".to_vec()));
    assert_eq!(world.open(69, 1, Label::Voice, &sealed), Ok(b"good day".to_vec()));
}

#[test]
fn departures_rekey_at_once_and_then_together() {
    let mut world = World::of(&Maker::default(), 8);
    let mut epochs = Vec::new();
    // One departure a second.
    for number in [8, 7, 6, 5, 4, 3] {
        drop(world.leave(number));
        epochs.push((world.ring(1).own_epoch(), world.ring(1).newest_epoch()));
        world.pass(1.0);
    }
    // At once for the first; the next five together, five seconds after the second.
    assert_eq!(epochs, [(0, 1), (1, 1), (1, 1), (1, 1), (1, 1), (1, 1)]);
    world.pass(0.1);
    assert_eq!(world.ring(1).newest_epoch(), 2);
    world.pass(0.5);
    world.assert_all_hear();
    world.pass(30.0);
    drop(world.leave(2));
    assert_eq!(world.ring(1).newest_epoch(), 3);
}

/// The wrapped keys of 50 members with one departure a second, in bits per second and member.
#[test]
fn departures_cost_little() {
    let maker = Maker::default();
    let mut ring = maker.ring(1, 0);
    let now = |second: u64| std::time::Duration::from_secs(1000 + second);
    for number in 2..=110 {
        let announcement = maker.ring(number, 0).announcement(session());
        if number <= 50 {
            ring.set_member(now(0), session(), peer(number), &announcement).unwrap();
        }
    }
    while ring.agree_next() {}
    while ring.poll_package().is_some() {}
    let mut bytes = 0;
    for second in 0..60 {
        // One leaves and another comes, so that there are always 50.
        ring.remove_member(now(second), peer(2 + second as u8));
        let next = 51 + second as u8;
        if next <= 110 {
            let announcement = maker.ring(next, 0).announcement(session());
            ring.set_member(now(second), session(), peer(next), &announcement).unwrap();
        }
        while ring.agree_next() {}
        ring.update(now(second));
        while let Some((_, package)) = ring.poll_package() {
            let announcement = ring.announcement(session());
            let packet =
                KeyPackage { sender: ClientId(1), announcement: &announcement, package: &package };
            // The relay's envelope with one receiver.
            bytes += packet.encode(session()).len() + 12;
        }
    }
    let bits_per_second = bytes * 8 / 60;
    assert!(bits_per_second <= 17_000, "{bits_per_second} each way");
}

#[test]
fn a_former_epoch_is_accepted_for_ten_seconds() {
    let mut world = World::of(&Maker::default(), 3);
    let late = [b"1", b"2", b"3"].map(|text| world.seal(1, Label::Voice, text));
    drop(world.leave(3));
    world.pass(0.5);
    let sealed = world.seal(1, Label::Voice, b"new");
    assert!(world.open(2, 1, Label::Voice, &sealed).is_ok());
    assert_eq!(world.open(2, 1, Label::Voice, &late[0]), Ok(b"1".to_vec()));
    world.pass(9.9);
    assert_eq!(world.open(2, 1, Label::Voice, &late[1]), Ok(b"2".to_vec()));
    world.pass(0.2);
    assert_eq!(world.open(2, 1, Label::Voice, &late[2]), Err(OpenError::UnknownKey));
}

#[test]
fn a_member_that_comes_back_in_its_run_is_heard_and_its_old_frames_are_not() {
    let mut world = World::of(&Maker::default(), 3);
    let heard = world.seal(3, Label::Voice, b"before");
    assert!(world.open(1, 3, Label::Voice, &heard).is_ok());
    let ring = world.leave(3);
    world.pass(20.0);
    // It comes back with the ring that it had.
    world.join_again(3, ring);
    world.assert_all_hear();
    assert_eq!(world.open(1, 3, Label::Voice, &heard), Err(OpenError::Replayed));
}

#[test]
fn a_program_that_is_started_again_is_heard_and_its_former_run_is_over() {
    let maker = Maker::default();
    let mut world = World::of(&maker, 3);
    let old = world.ring(3).announcement(session());
    let heard = world.seal(3, Label::Voice, b"before");
    world.rings.retain(|(number, _)| *number != 3);
    let ring = maker.ring(3, 1);
    let now = world.now;
    let change = world.ring(1).set_member(now, session(), peer(3), &ring.announcement(session()));
    assert_eq!(change, Ok(MemberChange::Restarted));
    world.join(3, ring);
    world.assert_all_hear();
    assert!(world.open(1, 3, Label::Voice, &heard).is_err());
    assert_eq!(
        world.ring(1).set_member(now, session(), peer(3), &old),
        Err(AnnouncementError::OldRun)
    );
    // A new session announces the same run again.
    let later = SessionId::new(77).unwrap();
    let announcement = world.ring(3).announcement(later);
    assert_eq!(
        world.ring(1).set_member(now, later, peer(3), &announcement),
        Ok(MemberChange::Unchanged)
    );
}

#[test]
fn a_lost_package_is_sent_again_on_request() {
    let mut world = World::of(&Maker::default(), 3);
    drop(world.leave(3));
    // All of it was taken; the next rekey's package to 2 is lost.
    let now = world.now + seconds(100.0);
    world.ring(1).schedule_rekey_for_test(now);
    let (to, lost) = world.ring(1).poll_package().expect("a package");
    assert_eq!(to, peer(2));
    world.now = now + SWITCH_DELAY;
    let sealed = world.seal(1, Label::Voice, b"good day");
    assert_eq!(world.open(2, 1, Label::Voice, &sealed), Err(OpenError::UnknownKey));
    world.ring(1).send_keys_again(peer(2));
    let (_, again) = world.ring(1).poll_package().expect("another package");
    assert_ne!(lost, again);
    let now = world.now;
    assert_eq!(world.ring(2).accept_package(now, peer(1), &again), Ok(PackageEffect::NewKeys));
    assert_eq!(world.ring(2).accept_package(now, peer(1), &lost), Ok(PackageEffect::Unchanged));
    assert_eq!(world.open(2, 1, Label::Voice, &sealed), Ok(b"good day".to_vec()));
}

#[test]
fn payloads_may_come_in_any_order_within_the_window() {
    let mut world = World::of(&Maker::default(), 2);
    let sealed: Vec<_> =
        (0..REPLAY_WINDOW + 2).map(|_| world.seal(1, Label::Voice, b"x")).collect();
    assert!(world.open(2, 1, Label::Voice, &sealed[REPLAY_WINDOW]).is_ok());
    for at in (1..REPLAY_WINDOW).rev() {
        assert!(world.open(2, 1, Label::Voice, &sealed[at]).is_ok(), "{at}");
    }
    assert_eq!(world.open(2, 1, Label::Voice, &sealed[0]), Err(OpenError::TooOld));
    assert_eq!(world.open(2, 1, Label::Voice, &sealed[1]), Err(OpenError::Replayed));
}

#[test]
fn what_a_remote_sends_is_bounded() {
    let maker = Maker { max_members: 4, ..Maker::without_key() };
    let mut ring = maker.ring(1, 0);
    let now = seconds(1000.0);
    for number in 2..=5 {
        ring.set_member(
            now,
            session(),
            peer(number),
            &maker.ring(number, 0).announcement(session()),
        )
        .unwrap();
    }
    let sixth = maker.ring(6, 0).announcement(session());
    assert_eq!(ring.set_member(now, session(), peer(6), &sixth), Err(AnnouncementError::RoomFull));
    for round in 0..20 {
        let number = 7 + round;
        let first = ring.members().next().unwrap();
        ring.remove_member(now, first);
        ring.set_member(
            now,
            session(),
            peer(number),
            &maker.ring(number, 0).announcement(session()),
        )
        .unwrap();
    }
    let (members, departed, old_runs) = ring.sizes();
    assert_eq!((members, departed, old_runs), (4, 4, 16));
}

#[test]
fn a_member_that_is_started_again_without_end_uses_up_its_own_runs_only() {
    let maker = Maker::without_key();
    let mut world = World::of(&maker, 2);
    let begun = world.now;
    let restart = |ring: &mut KeyRing, run: u16| {
        let mut announcement = maker.ring(2, 0).announcement(session());
        // The last of its bytes are the run.
        announcement.splice(80..82, (run + 1).to_be_bytes());
        let now = begun + RESTART_INTERVAL * u32::from(run);
        ring.set_member(now, session(), peer(2), &announcement)
    };
    let changes: Vec<_> = (0..300).map(|run| restart(world.ring(1), run)).collect();
    let accepted = changes.iter().take_while(|change| **change == Ok(MemberChange::Restarted));
    assert_eq!(accepted.count(), 256);
    assert!(changes[256..].iter().all(|change| *change == Err(AnnouncementError::TooManyRuns)));
    world.now += RESTART_INTERVAL * 300;
    assert_eq!(world.ring(1).sizes(), (1, 0, 256));
    world.rings.retain(|(number, _)| *number == 1);
    world.join(3, maker.ring(3, 0));
    world.assert_all_hear();
}

#[test]
fn another_run_of_a_member_is_accepted_twenty_times_at_once_and_then_once_a_second() {
    let maker = Maker::default();
    let mut world = World::of(&maker, 2);
    let begun = world.now;
    let at_once = 20;
    let runs: Vec<_> = (1..=30).map(|seed| maker.ring(2, seed).announcement(session())).collect();
    let mut set = |after: f64, run: usize| {
        world.ring(1).set_member(begun + seconds(after), session(), peer(2), &runs[run])
    };
    for run in 0..at_once {
        assert_eq!(set(0.0, run), Ok(MemberChange::Restarted), "{run}");
    }
    assert_eq!(set(0.5, at_once), Err(AnnouncementError::TooSoon));
    assert_eq!(set(0.5, at_once - 1), Ok(MemberChange::Unchanged), "the run that is known");
    assert_eq!(set(1.0, at_once), Ok(MemberChange::Restarted));
    world.ring(1).remove_member(begun + seconds(1.2), peer(2));
    let mut set = |after: f64, run: usize| {
        world.ring(1).set_member(begun + seconds(after), session(), peer(2), &runs[run])
    };
    assert_eq!(set(1.5, at_once + 1), Err(AnnouncementError::TooSoon), "leaving changes nothing");
    assert_eq!(set(1.5, at_once), Ok(MemberChange::Joined));
    assert_eq!(set(2.0, at_once + 1), Ok(MemberChange::Restarted));
    assert_eq!(set(5.0, at_once + 2), Ok(MemberChange::Restarted));
    assert_eq!(set(5.0, at_once + 3), Ok(MemberChange::Restarted), "what was not used is kept");
}

#[test]
fn arrivals_beyond_the_steps_of_an_epoch_rekey_at_once_and_then_together() {
    let maker = Maker { max_members: 250, ..Maker::default() };
    let mut world = World::of(&maker, 2);
    let mut epochs = Vec::new();
    for number in 10..80 {
        let before = world.seal(1, Label::Voice, b"before");
        world.join(number, maker.ring(number, 0));
        assert!(world.open(number, 1, Label::Voice, &before).is_err(), "{number}");
        epochs.push(world.ring(1).newest_epoch());
        world.pass(0.1);
    }
    // After 31 steps the next one is a new epoch at once; it is in use half a second later, and its
    // 31 steps last three seconds. That is too soon for another.
    assert_eq!((epochs[30], epochs[31], epochs[69]), (0, 1, 1), "{epochs:?}");
    world.pass(6.0);
    world.assert_all_hear();
    assert_eq!(world.ring(1).newest_epoch(), 2);
}

#[test]
fn a_peer_was_accepted_whatever_became_of_it() {
    let maker = Maker { max_members: 1, ..Maker::without_key() };
    let mut ring = maker.ring(1, 0);
    let now = seconds(1000.0);
    for number in 2..=5 {
        assert!(!ring.was_accepted(peer(number)));
        let announcement = maker.ring(number, 0).announcement(session());
        ring.set_member(now, session(), peer(number), &announcement).unwrap();
        assert!(ring.was_accepted(peer(number)));
        ring.remove_member(now, peer(number));
    }
    assert_eq!(ring.sizes(), (0, 1, 3));
    assert!((2..=5).all(|number| ring.was_accepted(peer(number))));
}

#[test]
fn the_code_is_the_same_for_all_and_another_for_other_members_or_keys() {
    let mut world = World::of(&Maker::default(), 3);
    let code = world.ring(1).safety_code();
    assert_eq!(world.ring(2).safety_code(), code);
    assert_eq!(world.ring(3).safety_code(), code);
    let text = code.to_string();
    assert_eq!(text.len(), 35);
    assert!(
        text.split(' ')
            .all(|group| group.len() == 5 && group.bytes().all(|digit| digit.is_ascii_digit()))
    );
    let other = Maker { room_key: Some(RoomKey::new([1; 16])), ..Maker::default() };
    assert_ne!(World::of(&other, 3).ring(1).safety_code(), code);
    assert_ne!(World::of(&Maker::without_key(), 3).ring(1).safety_code(), code);
    assert_ne!(
        World::of(&Maker { room: "other", ..Maker::default() }, 3).ring(1).safety_code(),
        code
    );
    drop(world.leave(3));
    assert_ne!(world.ring(1).safety_code(), code);
}

/// proves: S-15
#[test]
fn what_a_member_publishes_opens_where_it_stands_for_all_who_have_the_link_and_for_no_one_else() {
    let mut world = World::of(&Maker::default(), 2);
    let of = |member| Published::Member(peer(member), "seat");
    let text = world.ring(1).seal_published(of(1), b"window").unwrap();
    assert!(text.starts_with("e2ee1:") && text.is_ascii(), "{text}");
    let again = world.ring(1).seal_published(of(1), b"window").unwrap();
    assert_ne!(text, again, "each has another counter");
    let mut late = Maker::default().ring(9, 0);
    assert_eq!(world.ring(1).open_published(of(1), &text).unwrap(), b"window");
    for ring in [world.ring(2), &mut late] {
        for text in [&text, &again] {
            assert_eq!(ring.open_published(of(1), text).unwrap(), b"window");
        }
        let elsewhere = [
            of(2),
            Published::Member(peer(1), "seat "),
            Published::Room("seat"),
            Published::Room(""),
        ];
        for place in elsewhere {
            assert_eq!(
                ring.open_published(place, &text),
                Err(OpenError::NotAuthentic),
                "{place:?}"
            );
        }
    }
    for damaged in
        ["window", "", "e2ee1:", "e2ee1:AAAA", &text[6..], &format!("{text}="), &text[..40]]
    {
        assert!(world.ring(2).open_published(of(1), damaged).is_err(), "{damaged}");
    }
    let mut last = text.clone().into_bytes();
    *last.last_mut().unwrap() ^= 1;
    assert!(world.ring(2).open_published(of(1), std::str::from_utf8(&last).unwrap()).is_err());
    let mut other_room = Maker { room: "other", ..Maker::default() }.ring(9, 0);
    let mut other_key =
        Maker { room_key: Some(RoomKey::new([1; 16])), ..Maker::default() }.ring(9, 0);
    for ring in [&mut other_room, &mut other_key] {
        assert_eq!(ring.open_published(of(1), &text), Err(OpenError::NotAuthentic));
    }
    let mut keyless = Maker::without_key().ring(9, 0);
    assert_eq!(keyless.seal_published(of(9), b""), Err(SealError::NoRoomKey));
    assert_eq!(keyless.open_published(of(1), &text), Err(OpenError::NoRoomKey));
}

#[test]
fn what_the_room_publishes_is_read_by_all_who_have_the_link() {
    let mut world = World::of(&Maker::default(), 2);
    let mut sealed = Vec::new();
    world.ring(1).seal_room_state(b"topic", b"tea", &mut sealed).unwrap();
    let mut late = Maker::default().ring(9, 0);
    for ring in [world.ring(2), &mut late] {
        // As often as a server sends it.
        for _ in 0..2 {
            let mut text = Vec::new();
            ring.open_room_state(b"topic", &sealed, &mut text).unwrap();
            assert_eq!(text, b"tea");
        }
        let mut text = Vec::new();
        assert_eq!(
            ring.open_room_state(b"other", &sealed, &mut text),
            Err(OpenError::NotAuthentic)
        );
    }
    let mut keyless = Maker::without_key().ring(9, 0);
    assert_eq!(keyless.seal_room_state(b"", b"", &mut Vec::new()), Err(SealError::NoRoomKey));
    assert_eq!(keyless.open_room_state(b"", &sealed, &mut Vec::new()), Err(OpenError::NoRoomKey));
    let tag = keyless.tag_fingerprint(session(), peer(1), 1, &[0; 32]);
    assert_eq!(tag, Err(FingerprintError::NoRoomKey));
}

#[test]
fn a_room_key_in_a_link_is_22_characters() {
    let key = room_key();
    let text = key.to_text();
    assert_eq!(text.len(), 22);
    assert_eq!(RoomKey::from_text(&text).map(|key| *key.bytes()), Ok([0x5A; 16]));
    for wrong in [
        "",
        "Wlo",
        &text[1..],
        &format!("{text}="),
        &format!("{text}A"),
        &format!("{}b", &text[..21]),
    ] {
        assert_eq!(RoomKey::from_text(wrong).map(|_| ()), Err(RoomKeyError), "{wrong}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let ring = Maker::default().ring(1, 0);
    let key = room_key();
    let text = format!("{ring:?} {key:?} {:?} {:?}", Seed::new([0xA7; 32]), ring.own_identity());
    assert!(text.contains("RoomKey(hidden) Seed(hidden)"), "{text}");
    for secret in [key.to_text().as_str(), "5a5a", "a7a7", "A7", "90, 90", "167, 167"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn nothing_of_a_person_is_the_same_in_two_rooms() {
    let identity = |room: &str, origin: &str, instance: u32| {
        let configuration = Configuration {
            secret: &InstallationSecret([1; 32]),
            origin,
            room,
            instance,
            peer: peer(1),
            room_key: None,
            max_members: 64,
        };
        KeyRing::new(configuration, Seed::new([9; 32])).own_identity()
    };
    let base = identity("lobby", "wss://voice.example", 0);
    assert_eq!(base, identity("lobby", "wss://voice.example", 0));
    for other in [
        identity("other", "wss://voice.example", 0),
        identity("lobby", "wss://other.example", 0),
        identity("lobby", "wss://voice.example", 1),
        identity("lobbyw", "ss://voice.example", 0),
    ] {
        assert_ne!(base, other);
    }
}
