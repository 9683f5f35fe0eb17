//! Any bytes at all, and bytes near to good ones.

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{Maker, World, open, peer, session};
use crate::error::PackageError;
use crate::{Label, RoomKey};

/// Two members, and bytes that were good: sealed for all, for one, a package, an announcement, the
/// room's.
fn world() -> (World, [Vec<u8>; 5]) {
    let mut world = World::of(&Maker::default(), 2);
    let now = world.now;
    let common = world.seal(1, Label::Voice, &[7; 40]);
    let (mut private, mut room) = (Vec::new(), Vec::new());
    world.ring(1).seal_to(peer(2), Label::Voice, b"header", &[7; 40], &mut private).unwrap();
    world.ring(1).seal_room_state(b"header", &[7; 40], &mut room).unwrap();
    world.ring(1).schedule_rekey_for_test(now);
    let (_, package) = world.ring(1).poll_package().expect("a package");
    let announcement = Maker::default().ring(3, 0).announcement(session());
    (world, [common, private, package, announcement, room])
}

/// Everything that takes bytes of a remote refuses these.
fn refuse(world: &mut World, bytes: &[u8]) {
    let now = world.now;
    let mut output = Vec::new();
    for label in [Label::Voice, Label::Data, Label::State] {
        for from in [1, 3] {
            assert!(open(world.ring(2), now, from, label, bytes).is_err());
            assert!(
                world.ring(2).open_from(peer(from), label, b"header", bytes, &mut output).is_err()
            );
        }
    }
    let refused = world.ring(2).accept_package(now, peer(1), bytes);
    assert!(matches!(refused, Err(PackageError::Open(_))), "{refused:?}");
    assert!(world.ring(2).set_member(now, session(), peer(3), bytes).is_err());
    assert!(world.ring(2).open_room_state(b"header", bytes, &mut output).is_err());
    let fingerprint = world.ring(2).verify_fingerprint(session(), peer(1), 1, &[0; 32], bytes);
    assert!(fingerprint.is_err());
    assert!(output.is_empty());
}

#[test]
fn any_bytes_are_refused() {
    let (world, _) = world();
    let world = std::cell::RefCell::new(world);
    proptest!(ProptestConfig::with_cases(3000), |(bytes in vec(any::<u8>(), 0..200))| {
        refuse(&mut world.borrow_mut(), &bytes);
    });
    world.borrow_mut().deliver();
    world.borrow_mut().assert_all_hear();
}

#[test]
fn bytes_near_to_good_ones_are_refused() {
    let (world, good) = world();
    let world = std::cell::RefCell::new(world);
    let changes = (
        0..5_usize,
        any::<prop::sample::Index>(),
        1..=255_u8,
        any::<prop::sample::Index>(),
        0..4_u8,
    );
    proptest!(ProptestConfig::with_cases(3000), |((which, at, with, other, how) in changes)| {
        let mut bytes = good[which].clone();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] ^= with,
            1 => bytes.truncate(at),
            2 => bytes.insert(at, with),
            _ => {
                let other = &good[(which + 1 + other.index(4)) % 5];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at.min(other.len())..]);
            }
        }
        prop_assume!(!good.contains(&bytes));
        refuse(&mut world.borrow_mut(), &bytes);
    });
    // The genuine ones are still accepted.
    let mut world = world.into_inner();
    let now = world.now;
    assert!(world.open(2, 1, Label::Voice, &good[0]).is_ok());
    assert!(
        world
            .ring(2)
            .open_from(peer(1), Label::Voice, b"header", &good[1], &mut Vec::new())
            .is_ok()
    );
    assert!(world.ring(2).accept_package(now, peer(1), &good[2]).is_ok());
    assert!(world.ring(2).set_member(now, session(), peer(3), &good[3]).is_ok());
    assert!(world.ring(2).open_room_state(b"header", &good[4], &mut Vec::new()).is_ok());
}

proptest! {
    #[test]
    fn room_keys_survive_their_text_form(bytes in any::<[u8; 16]>()) {
        let key = RoomKey::from_text(&RoomKey::new(bytes).to_text()).map(|key| *key.bytes());
        prop_assert_eq!(key, Ok(bytes));
    }

    #[test]
    fn any_text_is_a_room_key_or_refused(text in ".{0,40}") {
        if let Ok(key) = RoomKey::from_text(&text) {
            prop_assert_eq!(key.to_text(), text);
        }
    }
}
