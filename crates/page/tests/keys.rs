//! The key ring over bytes. `web/test/key-ring.test.js` runs the same with the module that the page
//! loads.

use std::time::Duration;

use serde_json::Value;
use voicemesh_page::{Keys, KeysError};
use voicemesh_vectors::E2EE;

const NOW: Duration = Duration::ZERO;

fn hex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap().replace('-', "");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn ring(member: &Value, transcript: &Value, seed: u8) -> Keys {
    let seed: Vec<u8> = (0..32).map(|at| seed.wrapping_add(at)).collect();
    let room_key = &transcript["room_key"];
    let key = if room_key.is_null() { vec![0; 16] } else { hex(room_key) };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (origin, room) = (text(&member["origin"]), text(&transcript["room"]));
    let input = [
        hex(&member["secret"]),
        seed,
        hex(&member["peer"]),
        key,
        origin.clone().into_bytes(),
        room.into_bytes(),
    ];
    Keys::create(&input.concat(), origin.len(), 0, !room_key.is_null(), 64).unwrap()
}

/// proves: S-15
#[test]
fn two_members_meet_as_in_the_vectors() {
    let vectors: Value = serde_json::from_str(E2EE).unwrap();
    for transcript in vectors["transcripts"].as_array().unwrap() {
        let session = transcript["session"].as_u64().unwrap() as u32;
        let members = transcript["members"].as_array().unwrap();
        let (first, second) = (hex(&members[0]["peer"]), hex(&members[1]["peer"]));
        let mut one = ring(&members[0], transcript, 7);
        let mut two = ring(&members[1], transcript, 107);
        for (ring, member) in [(&one, &members[0]), (&two, &members[1])] {
            assert_eq!(ring.announcement(session), Ok(hex(&member["announcement"])));
        }
        let behind = |peer: &[u8], bytes: &[u8]| [peer, bytes].concat();
        let announced = |at: usize| hex(&members[at]["announcement"]);
        assert_eq!(one.set_member(NOW, session, &behind(&second, &announced(1))), 0);
        assert_eq!(one.set_member(NOW, session, &behind(&second, &announced(1))), 2);
        assert_eq!(two.set_member(NOW, session, &behind(&first, &announced(0))), 0);
        assert_eq!(two.standing(&first), 3, "without keys");
        assert!(one.agree_next() && !one.agree_next());
        let package = one.poll_package().unwrap();
        assert_eq!(package[..16], second, "for the other");
        assert_eq!(one.poll_package(), None);
        two.accept_package(NOW, &behind(&first, &package[16..])).unwrap();
        assert_eq!((one.standing(&second), two.standing(&first)), (3 + 8, 3 + 4));
        let sent = transcript["from_first_to_second"].as_array().unwrap();
        assert_eq!(package[16..], hex(&sent[0]["sealed"]));
        for sent in &sent[1..5] {
            let (label, for_one) =
                (sent["label"].as_u64().unwrap() as u32, sent["what"] == "private");
            let (clear, plain) = (hex(&sent["associated"]), hex(&sent["plain"]));
            let (mut sealed, mut opened) = (Vec::new(), Vec::new());
            let input = [&second[..], &clear, &plain].concat();
            one.seal(NOW, label, for_one, clear.len(), &input, &mut sealed).unwrap();
            assert_eq!(sealed, behind(&clear, &hex(&sent["sealed"])));
            let input = behind(&first, &sealed);
            two.open(NOW, label, for_one, clear.len(), &input, &mut opened).unwrap();
            assert_eq!(opened, plain);
            opened.clear();
            let again = two.open(NOW, label, for_one, clear.len(), &input, &mut opened);
            assert_eq!((again, opened.len()), (Err(KeysError::Refused), 0), "a replay");
        }
        let early = one.open(NOW, 1, false, 0, &behind(&second, &[0; 40]), &mut Vec::new());
        assert_eq!(early, Err(KeysError::NoKey));
        assert_eq!(one.identity(&second, false), two.identity(&[], true));
        one.remove_member(NOW, &second);
        assert_eq!(one.standing(&second), 2, "it was accepted once");
        assert!(one.poll_timeout().is_some());
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = Some(KeysError::Refused);
    assert_eq!(Keys::create(&[0; 95], 0, 0, false, 64).err(), refused);
    assert_eq!(Keys::create(&[0; 96], 1, 0, false, 64).err(), refused);
    assert_eq!(Keys::create(&[0xFF; 100], 0, 0, true, 64).err(), refused, "a room not in UTF-8");
    let mut keys = Keys::create(&[0; 96], 0, 0, true, 64).unwrap();
    assert_eq!(keys.announcement(0).err(), refused);
    assert_eq!(keys.set_member(NOW, 1, &[1; 15]), -1);
    assert_eq!(keys.set_member(NOW, 1, &[0; 98]), -3, "the own id");
    assert_eq!(keys.set_member(NOW, 1, &[&[1; 17][..], &[4; 81]].concat()), -5);
    for label in [0, 4] {
        let sealed = keys.seal(NOW, label, false, 0, &[0; 20], &mut Vec::new());
        assert_eq!(sealed.err(), refused);
    }
    assert_eq!(keys.seal(NOW, 1, false, 5, &[0; 20], &mut Vec::new()).err(), refused);
    assert_eq!(keys.seal(NOW, 1, true, 0, &[1; 20], &mut Vec::new()).err(), refused);
    assert!(keys.accept_package(NOW, &[1; 60]).is_err());
    assert!(!keys.verify_fingerprint(1, 1, &[1; 80]));
    assert_eq!(keys.tag_fingerprint(1, 1, &[1; 47]).err(), refused);
    assert_eq!(keys.standing(&[1; 16]), 0);
}

/// proves: S-15
#[test]
fn names_and_values_are_opened_where_they_were_sealed() {
    let vectors: Value = serde_json::from_str(E2EE).unwrap();
    let transcript = &vectors["transcripts"][1];
    let mut ring = ring(&transcript["members"][0], transcript, 7);
    let mut open = |peer: &[u8], key: &str, sealed: &[u8]| {
        let mut value = Vec::new();
        let input = [peer, key.as_bytes(), sealed].concat();
        ring.open_value(key.len(), &input, &mut value).map(|()| value)
    };
    let published = vectors["published"].as_array().unwrap();
    let (mut names, mut values) = (0, 0);
    for vector in published.iter().filter(|vector| !vector["peer"].is_null()) {
        let sealed = hex(&vector["sealed"]);
        let (key, owner) = (vector["key"].as_str().unwrap(), hex(&vector["peer"]));
        assert_eq!(open(&owner, key, &sealed), Ok(hex(&vector["plain"])), "{vector}");
        assert_eq!(open(&owner, "another", &sealed), Err(KeysError::Refused), "another key");
        assert_eq!(open(&[7; 16], key, &sealed), Err(KeysError::Refused), "another's");
        names += u32::from(key == "e2ee-name");
        values += u32::from(key != "e2ee-name");
    }
    assert_eq!((names, values), (2, 2));
    let mut sealed = Vec::new();
    ring.seal_value(9, &[&[9; 16][..], b"e2ee-name\0Ada"].concat(), &mut sealed).unwrap();
    let mut name = Vec::new();
    let input = [&[9; 16], &b"e2ee-name"[..], &sealed[..]].concat();
    ring.open_value(9, &input, &mut name).unwrap();
    assert_eq!(name, b"\0Ada");
    let beyond = input.len();
    assert_eq!(ring.open_value(beyond, &input, &mut name), Err(KeysError::Refused));
    assert_eq!(
        ring.open_value(1, &[&[9; 16][..], &[0xFF]].concat(), &mut name),
        Err(KeysError::Refused)
    );
}
