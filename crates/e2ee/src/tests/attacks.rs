//! What a server, a network or a member who left tries. Each attack has a twin run without the
//! check that it is aimed at, in which it must succeed: otherwise the attack would prove nothing.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use voicemesh_wire::SessionId;

use super::world::{Maker, World, open, peer, seconds, session};
use crate::checks::{Check, without};
use crate::error::PackageError;
use crate::{KeyRing, Label, RESTART_INTERVAL, SWITCH_DELAY};

/// Runs of each attack, and of its twin.
const SEEDS: u64 = 40;
const TWIN_SEEDS: u64 = 3;

/// An attack says whether anything foreign was accepted, or anything was given away.
fn prove(check: Check, attack: impl Fn(&mut ChaCha8Rng) -> bool) {
    for seed in 0..SEEDS {
        assert!(
            !without(None, || attack(&mut ChaCha8Rng::seed_from_u64(seed))),
            "seed {seed} succeeded"
        );
    }
    for seed in 0..TWIN_SEEDS {
        let succeeded = without(Some(check), || attack(&mut ChaCha8Rng::seed_from_u64(seed)));
        assert!(
            succeeded,
            "without {check:?} seed {seed} failed as well: the attack is aimed at something else"
        );
    }
}

fn maker(random: &mut ChaCha8Rng) -> Maker {
    Maker { seed: random.next_u32() as u8, ..Maker::default() }
}

fn keyless(random: &mut ChaCha8Rng) -> Maker {
    Maker { room_key: None, ..maker(random) }
}

fn text(random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut text = vec![0; 20 + random.next_u32() as usize % 60];
    random.fill_bytes(&mut text);
    text
}

fn any_label(random: &mut ChaCha8Rng) -> Label {
    [Label::Voice, Label::Data, Label::State][random.next_u32() as usize % 3]
}

#[test]
fn truncated_payloads() {
    prove(Check::Tag, |random| {
        let mut world = World::of(&maker(random), 2);
        let (label, text) = (any_label(random), text(random));
        let sealed = world.seal(1, label, &text);
        (0..sealed.len()).any(|length| world.open(2, 1, label, &sealed[..length]).is_ok())
            || (1..sealed.len()).any(|from| world.open(2, 1, label, &sealed[from..]).is_ok())
    });
}

#[test]
fn changed_payloads() {
    prove(Check::Tag, |random| {
        let mut world = World::of(&maker(random), 2);
        let (label, text) = (any_label(random), text(random));
        let sealed = world.seal(1, label, &text);
        (0..8 * sealed.len()).any(|bit| {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            world.open(2, 1, label, &changed).is_ok()
        })
    });
}

#[test]
fn the_head_of_one_payload_and_the_tail_of_another() {
    prove(Check::Tag, |random| {
        let mut world = World::of(&maker(random), 2);
        let label = any_label(random);
        let (first, second) =
            (world.seal(1, label, &text(random)), world.seal(1, label, &text(random)));
        let most = first.len().min(second.len());
        (1..most).any(|at| world.open(2, 1, label, &[&first[..at], &second[at..]].concat()).is_ok())
    });
}

#[test]
fn payloads_under_another_member() {
    prove(Check::Tag, |random| {
        let mut world = World::of(&maker(random), 3);
        let (label, text) = (any_label(random), text(random));
        let sealed = world.seal(1, label, &text);
        world.open(3, 2, label, &sealed).is_ok()
    });
}

#[test]
fn payloads_of_another_room_of_the_same_people_with_the_same_key() {
    prove(Check::Tag, |random| {
        let maker = maker(random);
        let mut world = World::of(&maker, 2);
        let mut other = World::of(&Maker { room: "other", ..maker }, 2);
        let (label, text) = (any_label(random), text(random));
        let sealed = world.seal(1, label, &text);
        other.open(2, 1, label, &sealed).is_ok()
    });
}

#[test]
fn payloads_under_another_label() {
    prove(Check::Tag, |random| {
        let mut world = World::of(&maker(random), 2);
        let text = text(random);
        let labels = [Label::Voice, Label::Data, Label::State];
        labels.into_iter().any(|from| {
            let sealed = world.seal(1, from, &text);
            labels
                .into_iter()
                .filter(|to| *to != from)
                .any(|to| world.open(2, 1, to, &sealed).is_ok())
        })
    });
}

#[test]
fn payloads_to_one_as_payloads_to_all_and_back() {
    prove(Check::Tag, |random| {
        let mut world = World::of(&maker(random), 2);
        let (label, text) = (any_label(random), text(random));
        let common = world.seal(1, label, &text);
        let mut private = Vec::new();
        world.ring(1).seal_to(peer(2), label, b"header", &text, &mut private).unwrap();
        let opened = world.ring(2).open_from(peer(1), label, b"header", &common, &mut Vec::new());
        opened.is_ok() || world.open(2, 1, label, &private).is_ok()
    });
}

#[test]
fn payloads_with_another_header() {
    prove(Check::Tag, |random| {
        let mut world = World::of(&maker(random), 2);
        let (label, text, now) = (any_label(random), text(random), world.now);
        let sealed = world.seal(1, label, &text);
        let headers: [&[u8]; 4] = [b"", b"heade", b"header ", b"hEader"];
        let ring = world.ring(2);
        headers
            .iter()
            .any(|header| ring.open(now, peer(1), label, header, &sealed, &mut Vec::new()).is_ok())
    });
}

#[test]
fn payloads_sent_back_to_their_sender() {
    prove(Check::Tag, |random| {
        let mut world = World::of(&maker(random), 2);
        let (label, text) = (any_label(random), text(random));
        let common = world.seal(1, label, &text);
        let mut private = Vec::new();
        world.ring(1).seal_to(peer(2), label, b"header", &text, &mut private).unwrap();
        let opened = world.ring(1).open_from(peer(2), label, b"header", &private, &mut Vec::new());
        opened.is_ok() || world.open(1, 2, label, &common).is_ok()
    });
}

#[test]
fn packages_for_another_member() {
    prove(Check::Tag, |random| {
        let mut world = World::of(&maker(random), 3);
        let now = world.now;
        world.ring(1).schedule_rekey_for_test(now);
        let (to, package) = world.ring(1).poll_package().expect("a package");
        assert_eq!(to, peer(2));
        let accepted = |ring: &mut KeyRing, from: u8| {
            // Nonsense that was opened counts.
            !matches!(ring.accept_package(now, peer(from), &package), Err(PackageError::Open(_)))
        };
        accepted(world.ring(3), 1) || accepted(world.ring(2), 3) || accepted(world.ring(1), 2)
    });
}

#[test]
fn replayed_payloads() {
    prove(Check::Replay, |random| {
        let mut world = World::of(&maker(random), 2);
        let (label, text) = (any_label(random), text(random));
        let mut sealed: Vec<_> = (0..10).map(|_| world.seal(1, label, &text)).collect();
        let mut private = Vec::new();
        world.ring(1).seal_to(peer(2), label, b"header", &text, &mut private).unwrap();
        world.ring(2).open_from(peer(1), label, b"header", &private, &mut Vec::new()).unwrap();
        let at = random.next_u32() as usize % 10;
        sealed.swap(0, at);
        for sealed in &sealed {
            assert!(world.open(2, 1, label, sealed).is_ok());
        }
        let again = world.ring(2).open_from(peer(1), label, b"header", &private, &mut Vec::new());
        again.is_ok() || sealed.iter().any(|sealed| world.open(2, 1, label, sealed).is_ok())
    });
}

#[test]
fn replayed_payloads_of_a_step_before_a_member_joined() {
    prove(Check::Replay, |random| {
        let maker = maker(random);
        let mut world = World::of(&maker, 2);
        let before = world.seal(1, Label::Voice, &text(random));
        world.open(2, 1, Label::Voice, &before).unwrap();
        world.join(3, maker.ring(3, 0));
        let after = world.seal(1, Label::Voice, &text(random));
        world.open(2, 1, Label::Voice, &after).unwrap();
        [before, after].iter().any(|sealed| world.open(2, 1, Label::Voice, sealed).is_ok())
    });
}

#[test]
fn epochs_rolled_back() {
    prove(Check::Epoch, |random| {
        let mut world = World::of(&maker(random), 2);
        let mut packages = Vec::new();
        let mut old = Vec::new();
        for _ in 0..2 {
            let now = world.now;
            world.ring(1).schedule_rekey_for_test(now);
            packages.push(world.ring(1).poll_package().expect("a package").1);
            world.now += SWITCH_DELAY;
            let sealed = world.seal(1, Label::Voice, &text(random));
            old.push(sealed);
        }
        let now = world.now;
        world.ring(2).accept_package(now, peer(1), &packages[1]).unwrap();
        world.open(2, 1, Label::Voice, &old[1]).unwrap();
        let accepted = world.ring(2).accept_package(now, peer(1), &packages[0]).is_ok();
        accepted || world.open(2, 1, Label::Voice, &old[0]).is_ok()
    });
}

#[test]
fn payloads_of_an_epoch_that_is_over() {
    prove(Check::Expiry, |random| {
        let mut world = World::of(&maker(random), 3);
        let (label, text) = (any_label(random), text(random));
        let withheld = world.seal(1, label, &text);
        drop(world.leave(3));
        world.pass(10.6 + f64::from(random.next_u32() % 100));
        world.open(2, 1, label, &withheld).is_ok()
    });
}

/// What a server makes without the room's key.
fn forged(number: u8, random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut announcement =
        Maker::without_key().ring_of(number, 99, random.next_u32() as u8).announcement(session());
    let mut tag = [0; 32];
    random.fill_bytes(&mut tag);
    announcement.extend_from_slice(&tag);
    announcement
}

#[test]
fn members_that_do_not_exist() {
    prove(Check::RoomKey, |random| {
        let mut world = World::of(&maker(random), 2);
        let now = world.now;
        let announcement = forged(9, random);
        let plain = &announcement[..82];
        [&announcement[..], plain]
            .into_iter()
            .any(|bytes| world.ring(1).set_member(now, session(), peer(9), bytes).is_ok())
    });
}

#[test]
fn swapped_identity_keys_with_a_room_key() {
    prove(Check::RoomKey, |random| {
        let maker = maker(random);
        let mut ring = maker.ring(1, 0);
        let genuine = maker.ring(2, 0).announcement(session());
        // The server's key in place of the member's, with the tag of the member's.
        let mut swapped = forged(2, random);
        swapped[82..].copy_from_slice(&genuine[82..]);
        ring.set_member(seconds(0.0), session(), peer(2), &swapped).is_ok()
    });
}

#[test]
fn announcements_of_another_peer_session_or_room() {
    prove(Check::RoomKey, |random| {
        let maker = maker(random);
        let mut ring = maker.ring(1, 0);
        let other_room = Maker { room: "other", ..maker };
        let elsewhere = other_room.ring(2, 0).announcement(session());
        let of_former_session =
            Maker::default().ring(2, 0).announcement(SessionId::new(9).expect("not zero"));
        let of_another = Maker::default().ring(3, 0).announcement(session());
        [elsewhere, of_former_session, of_another]
            .iter()
            .any(|bytes| ring.set_member(seconds(0.0), session(), peer(2), bytes).is_ok())
    });
}

#[test]
fn swapped_identity_keys_of_a_known_member_without_a_room_key() {
    prove(Check::Identity, |random| {
        let maker = keyless(random);
        let mut world = World::of(&maker, 2);
        let now = world.now;
        let swapped = maker.ring_of(2, 99, 1).announcement(session());
        world.ring(1).set_member(now, session(), peer(2), &swapped).is_ok()
    });
}

#[test]
fn a_former_run_brought_back() {
    prove(Check::Run, |random| {
        let maker = maker(random);
        let mut world = World::of(&maker, 2);
        let old = world.ring(2).announcement(session());
        let now = world.now;
        let restarted = maker.ring(2, 1);
        world
            .ring(1)
            .set_member(now, session(), peer(2), &restarted.announcement(session()))
            .unwrap();
        if random.next_u32().is_multiple_of(2) {
            world.ring(1).remove_member(now, peer(2));
        }
        let later = now + RESTART_INTERVAL;
        world.ring(1).set_member(later, session(), peer(2), &old).is_ok()
    });
}

#[test]
fn swapped_dtls_fingerprints() {
    prove(Check::RoomKey, |random| {
        let mut world = World::of(&maker(random), 3);
        let mut fingerprint = [0; 32];
        random.fill_bytes(&mut fingerprint);
        let tag = world.ring(1).tag_fingerprint(session(), peer(2), 4, &fingerprint).unwrap();
        let other_session = SessionId::new(9).expect("not zero");
        let mut servers = fingerprint;
        servers[random.next_u32() as usize % 32] ^= 1;
        let second = world.ring(2);
        assert_eq!(second.verify_fingerprint(session(), peer(1), 4, &fingerprint, &tag), Ok(()));
        second.verify_fingerprint(session(), peer(1), 4, &servers, &tag).is_ok()
            || second.verify_fingerprint(session(), peer(1), 5, &fingerprint, &tag).is_ok()
            || second.verify_fingerprint(other_session, peer(1), 4, &fingerprint, &tag).is_ok()
            || second.verify_fingerprint(session(), peer(3), 4, &fingerprint, &tag).is_ok()
            || second.verify_fingerprint(session(), peer(1), 4, &fingerprint, &tag[..16]).is_ok()
            || world.ring(3).verify_fingerprint(session(), peer(1), 4, &fingerprint, &tag).is_ok()
    });
}

#[test]
fn a_member_who_left_with_a_server_that_goes_on_relaying() {
    prove(Check::Rekey, |random| {
        let mut world = World::of(&maker(random), 3);
        let mut gone = world.leave(3);
        world.pass(0.5 + f64::from(random.next_u32() % 10));
        let (label, text) = (any_label(random), text(random));
        let sealed = world.seal(1, label, &text);
        open(&mut gone, world.now, 1, label, &sealed).is_ok()
    });
}

#[test]
fn a_member_who_joins_with_what_was_recorded_before() {
    prove(Check::Ratchet, |random| {
        let maker = maker(random);
        let mut world = World::of(&maker, 2);
        let label = [Label::Voice, Label::Data][random.next_u32() as usize % 2];
        let recorded = world.seal(1, label, &text(random));
        world.join(3, maker.ring(3, 0));
        world.open(3, 1, label, &recorded).is_ok()
    });
}

/// What no switch of these tests turns off.
#[test]
fn points_that_are_not_on_the_curve() {
    let mut ring = Maker::without_key().ring(1, 0);
    let good = Maker::without_key().ring(2, 0).announcement(session());
    for at in 1..66 {
        let mut wrong = good.clone();
        wrong[at] ^= 1;
        let refused = ring.set_member(seconds(0.0), session(), peer(2), &wrong);
        assert_eq!(refused, Err(crate::AnnouncementError::InvalidKey), "{at}");
    }
    let mut zero = good.clone();
    zero[2..66].fill(0);
    assert!(ring.set_member(seconds(0.0), session(), peer(2), &zero).is_err());
}

/// The server shows each of two members its own identity as that of the other, and so hears what
/// both say; or it shows one of them a member who is not there.
#[test]
fn without_a_key_who_is_in_between_or_added_shows_in_the_codes() {
    for seed in 0..SEEDS as u8 {
        let maker = Maker { seed, ..Maker::without_key() };
        let mut honest = World::of(&maker, 2);
        assert_eq!(honest.ring(1).safety_code(), honest.ring(2).safety_code());

        let shown = |victim: u8, as_other: u8| {
            let mut world = World { now: seconds(1000.0), rings: Vec::new() };
            world.join(victim, maker.ring(victim, 0));
            world.join(as_other, maker.ring_of(as_other, 200, 1));
            world
        };
        let (mut to_one, mut to_two) = (shown(1, 2), shown(2, 1));
        let sealed = to_one.seal(1, Label::Voice, b"hello");
        assert!(to_one.open(2, 1, Label::Voice, &sealed).is_ok(), "the server hears it");
        assert_ne!(to_one.ring(1).safety_code(), to_two.ring(2).safety_code(), "seed {seed}");

        let added = maker.ring(3, 0).announcement(session());
        let now = honest.now;
        honest.ring(1).set_member(now, session(), peer(3), &added).expect("an announcement");
        assert_ne!(honest.ring(1).safety_code(), honest.ring(2).safety_code(), "seed {seed}");
    }
}
