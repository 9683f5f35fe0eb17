//! The vectors that other implementations test against (tests/vectors/e2ee.json). `WRITE_VECTORS=1
//! cargo test -p voicemesh-e2ee vectors` writes ours anew; those of RFC 9605 stay as they are.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sframe::CipherSuite;
use sframe::frame::{EncryptedFrameView, MediaFrameView, MonotonicCounter};
use sframe::header::SframeHeader;
use sframe::key::{GenericDecryptionKey, GenericEncryptionKey};
use uuid::Uuid;
use voicemesh_wire::identity::{InstallationSecret, prove};
use voicemesh_wire::sealed_state::{NAME_KEY, SEALED_VALUE_PREFIX};
use voicemesh_wire::{PeerId, SessionId};

use super::world::Maker;
use crate::authentication::{Authority, Run, announce};
use crate::derive::Key;
use crate::identity::Identity;
use crate::own_keys::{Owner, SenderKey};
use crate::pair::{End, pair_key, pair_secret};
use crate::ring::room_state_key;
use crate::suite::{Gcm, Kdf, Sealer};
use crate::{Configuration, KeyRing, Label, Published, RoomKey, SafetyCode, Seed};

const ABOUT: &str = "End-to-end encryption (PROTOCOL.md, section 18). Bytes are hexadecimal, counters and key ids of SFrame decimal text \
    where they can exceed 53 bits. `rfc9605` has the vectors of the RFC itself: all headers, and suite 4. In `transcript` everything \
    follows from the members' secrets, the room's key and what was sent.";
const ORIGIN: &str = "wss://voice.example";
const ROOM: &str = "lobby";

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hexadecimal");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

fn counting<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|at| first.wrapping_add(at as u8))
}

fn peer(first: u8) -> PeerId {
    PeerId(Uuid::from_bytes(counting(first)))
}

fn optional(key: Option<&RoomKey>) -> Value {
    key.map_or(Value::Null, |key| hex(key.bytes()).into())
}

fn room_keys() -> Value {
    let valid: Vec<Value> = [[0; 16], [0xFF; 16], counting(0x10), counting(0xF8)]
        .into_iter()
        .map(|bytes| json!({ "bytes": hex(bytes), "text": RoomKey::new(bytes).to_text() }))
        .collect();
    let text = RoomKey::new(counting(0x10)).to_text();
    let invalid = [
        String::new(),
        text[..21].to_owned(),
        format!("{text}A"),
        format!("{text}=="),
        format!(" {text}"),
        format!("{}+", &text[..21]),
        // Bits beyond the 128.
        format!("{}x", &text[..21]),
        hex(counting::<16>(0x10)),
    ];
    for text in &invalid {
        assert!(RoomKey::from_text(text).is_err(), "{text}");
    }
    json!({ "valid": valid, "invalid": invalid })
}

fn identities() -> Value {
    let cases = [
        (counting(0), ORIGIN, ROOM, 0),
        (counting(0), ORIGIN, ROOM, 1),
        (counting(0), ORIGIN, "caf\u{e9}", 0),
        (counting(0), "ws://127.0.0.1:8080", ROOM, 0),
        ([0xFF; 32], "wss://voice.example/tea", "", u32::MAX),
    ];
    let case = |(secret, origin, room, instance): ([u8; 32], &str, &str, u32)| {
        let identity = Identity::derive(&InstallationSecret(secret), origin, room, instance);
        json!({
            "secret": hex(secret), "origin": origin, "room": room, "instance": instance,
            "private": hex(identity.private_bytes()), "public": hex(identity.public.0),
        })
    };
    cases.map(case).to_vec().into()
}

fn announcements() -> Value {
    let identity = Identity::derive(&InstallationSecret(counting(0)), ORIGIN, ROOM, 0);
    let run = Run(counting(0xA0));
    let case = |(room_key, room, session, first): (Option<RoomKey>, &str, u32, u8)| {
        let session = SessionId::new(session).expect("not zero");
        let authority = room_key.as_ref().map(|room_key| Authority { room_key, room, session });
        let announcement = announce(peer(first), &identity.public, run, authority.as_ref());
        json!({
            "room_key": optional(room_key.as_ref()), "room": room, "session": session.number(), "peer": peer(first),
            "public": hex(identity.public.0), "run": hex(run.0), "announcement": hex(announcement),
        })
    };
    [
        (None, ROOM, 1, 1),
        (Some(RoomKey::new(counting(0x10))), ROOM, 1, 1),
        (Some(RoomKey::new(counting(0x10))), ROOM, u32::MAX, 2),
        (Some(RoomKey::new(counting(0x10))), "caf\u{e9}", 1, 1),
        (Some(RoomKey::new([0; 16])), ROOM, 1, 1),
    ]
    .map(case)
    .to_vec()
    .into()
}

fn fingerprints() -> Value {
    let room_key = RoomKey::new(counting(0x10));
    let case = |(session, from, to, attempt): (u32, u8, u8, u32)| {
        let session = SessionId::new(session).expect("not zero");
        let fingerprint = counting(0x40);
        let authority = Authority { room_key: &room_key, room: ROOM, session };
        let tag = authority.tag_fingerprint(peer(from), peer(to), attempt, &fingerprint);
        json!({
            "room_key": hex(room_key.bytes()), "room": ROOM, "session": session.number(), "from": peer(from),
            "to": peer(to), "attempt": attempt, "fingerprint": hex(fingerprint), "tag": hex(tag),
        })
    };
    [(1, 1, 2, 1), (1, 2, 1, 1), (u32::MAX, 1, 2, 300)].map(case).to_vec().into()
}

fn pairs() -> Value {
    let ends = [(0_u8, 1_u8), (100, 2)].map(|(secret, first)| {
        let identity = Identity::derive(&InstallationSecret(counting(secret)), ORIGIN, ROOM, 0);
        (identity, peer(first), Run(counting(0xA0 + first)))
    });
    let [(own, own_peer, own_run), (remote, remote_peer, remote_run)] = &ends;
    let case = |(room_key, room): (Option<RoomKey>, &str)| {
        let point = p256::PublicKey::from_sec1_bytes(&remote.public.0).expect("a point");
        let agreed = own.agree(&point);
        let back = remote.agree(&p256::PublicKey::from_sec1_bytes(&own.public.0).expect("a point"));
        assert_eq!(*agreed, *back);
        let own_end = End { peer: *own_peer, identity: &own.public, run: *own_run };
        let remote_end = End { peer: *remote_peer, identity: &remote.public, run: *remote_run };
        let secret = pair_secret(&agreed, room_key.as_ref(), room, own_end, remote_end);
        assert_eq!(secret.0, pair_secret(&agreed, room_key.as_ref(), room, remote_end, own_end).0);
        let keys: Vec<Value> = [1, 2, 3, 4]
            .into_iter()
            .flat_map(|label| [(label, *own_peer), (label, *remote_peer)])
            .map(|(label, from)| json!({ "label": label, "from": from, "key": hex(pair_key(&secret, label, from).0) }))
            .collect();
        let end = |(identity, peer, run): &(Identity, PeerId, Run)| {
            json!({
                "peer": peer, "private": hex(identity.private_bytes()), "public": hex(identity.public.0),
                "run": hex(run.0),
            })
        };
        json!({
            "room_key": optional(room_key.as_ref()), "room": room, "ends": ends.iter().map(end).collect::<Vec<_>>(),
            "agreed": hex(*agreed), "secret": hex(secret.0), "keys": keys,
        })
    };
    [
        (None, ROOM),
        (Some(RoomKey::new(counting(0x10))), ROOM),
        (Some(RoomKey::new(counting(0x10))), "caf\u{e9}"),
    ]
    .map(case)
    .to_vec()
    .into()
}

fn sender_keys() -> Value {
    let case = |(epoch, step, room): (u32, u8, &str)| {
        let key = SenderKey { epoch, step, chain: Key(counting(0x60)), state: Key(counting(0x90)) };
        let owner = Owner { room, peer: peer(1) };
        let keys: Vec<Value> = [Label::Voice, Label::Data, Label::State]
            .into_iter()
            .map(|label| {
                json!({
                    "label": label.number(), "key": hex(key.base(label, owner).0), "key_id": key.key_id(label),
                })
            })
            .collect();
        let next = (step < 31).then(|| key.next_step());
        json!({
            "room": room, "peer": peer(1), "epoch": epoch, "step": step, "chain": hex(key.chain.0),
            "state": hex(key.state.0), "keys": keys, "package": hex(&*key.write()),
            "next_chain": next.map(|next| hex(next.chain.0)),
        })
    };
    [(0, 0, ROOM), (0, 1, ROOM), (9, 31, ROOM), (u32::MAX, 5, "caf\u{e9}")]
        .map(case)
        .to_vec()
        .into()
}

fn frames() -> Value {
    let case = |(key_id, counter, associated, plain): (u8, u64, &[u8], &[u8])| {
        let key = Key(counting(0x20));
        let counter_from = MonotonicCounter::with_start_value(counter, u64::MAX);
        let mut sealed = Vec::new();
        Sealer::continuing(&key, key_id, counter_from)
            .seal(associated, plain, &mut Vec::new(), &mut sealed)
            .expect("a counter");
        json!({
            "key": hex(key.0), "key_id": key_id, "counter": counter.to_string(), "associated": hex(associated),
            "plain": hex(plain), "sealed": hex(sealed),
        })
    };
    let long: [u8; 60] = counting(1);
    [
        (0, 0, &b""[..], &b""[..]),
        (0, 7, b"header", b"good day"),
        (7, 8, b"header", b"good day"),
        (8, 255, b"header", &long),
        (255, 256, b"", &long),
        (37, u64::from(u32::MAX), b"header", &long),
        (37, u64::MAX, b"header", b"the last"),
    ]
    .map(case)
    .to_vec()
    .into()
}

fn room_states() -> Value {
    let case = |(room_key, room): (RoomKey, &str)| {
        let run = Run(counting(0xA0));
        let key = room_state_key(&room_key, room, run);
        let mut sealed = run.0.to_vec();
        let mut sealer = Sealer::new(&key, 0);
        sealer.seal(b"topic", b"tea", &mut Vec::new(), &mut sealed).expect("a counter");
        json!({
            "room_key": hex(room_key.bytes()), "room": room, "key": hex(key.0), "associated": hex(b"topic"),
            "plain": hex(b"tea"), "sealed": hex(sealed),
        })
    };
    [(RoomKey::new(counting(0x10)), ROOM), (RoomKey::new([0; 16]), "caf\u{e9}")]
        .map(case)
        .to_vec()
        .into()
}

/// A name, and what members and the room publish.
fn published() -> Value {
    let ada = peer(0x40);
    let name = |by_token: u8, name: &str| [&[by_token], name.as_bytes()].concat();
    let case = |(counter, place, plain): (u64, Published<'_>, Vec<u8>)| {
        let (room_key, run) = (RoomKey::new(counting(0x10)), Run(counting(0xA0)));
        let counter = MonotonicCounter::with_start_value(counter, u64::MAX);
        let mut sealer = Sealer::continuing(&room_state_key(&room_key, ROOM, run), 0, counter);
        let (mut sealed, associated) = (run.0.to_vec(), place.associated());
        sealer.seal(&associated, &plain, &mut Vec::new(), &mut sealed).expect("a counter");
        let text = format!("{SEALED_VALUE_PREFIX}{}", URL_SAFE_NO_PAD.encode(&sealed));
        let (peer, key) = match place {
            Published::Room(key) => (Value::Null, key),
            Published::Member(peer, key) => (json!(peer), key),
        };
        json!({
            "room_key": hex(room_key.bytes()), "room": ROOM, "peer": peer, "key": key, "plain": hex(plain),
            "sealed": hex(sealed), "text": text,
        })
    };
    [
        (0, Published::Member(ada, NAME_KEY), name(0, "Ada")),
        (1, Published::Member(ada, NAME_KEY), name(1, "Ada L\u{f6}velace")),
        (8, Published::Member(ada, "seat"), b"window".to_vec()),
        (300, Published::Member(ada, "caf\u{e9}"), Vec::new()),
        (70_000, Published::Room("seat"), b"harbour".to_vec()),
    ]
    .map(case)
    .to_vec()
    .into()
}

fn safety_codes() -> Value {
    let identities: Vec<_> = (0..3)
        .map(|n| Identity::derive(&InstallationSecret(counting(n)), ORIGIN, ROOM, 0).public)
        .collect();
    let case = |(room, room_key, count): (&str, Option<RoomKey>, usize)| {
        let identities = identities[..count].to_vec();
        let code = SafetyCode::of(room, room_key.as_ref(), identities.clone());
        let keys: Vec<String> = identities.iter().map(|identity| hex(identity.0)).collect();
        json!({ "room": room, "room_key": optional(room_key.as_ref()), "identities": keys, "code": code.to_string() })
    };
    [
        (ROOM, None, 1),
        (ROOM, None, 3),
        (ROOM, Some(RoomKey::new(counting(0x10))), 2),
        ("caf\u{e9}", None, 2),
    ]
    .map(case)
    .to_vec()
    .into()
}

/// Two members meet, speak, and the second comes to know the new keys of the first.
fn transcript(room_key: Option<RoomKey>) -> Value {
    let session = SessionId::new(0x0102_0304).expect("not zero");
    let mut rings = [0_u8, 100].map(|first| {
        let secret = InstallationSecret(counting(first));
        let peer = prove(&secret, ORIGIN, ROOM, 0).peer_id();
        let room_key = room_key.clone();
        let configuration = Configuration {
            secret: &secret,
            origin: ORIGIN,
            room: ROOM,
            instance: 0,
            peer,
            room_key,
            max_members: 64,
        };
        (peer, KeyRing::new(configuration, Seed::new(counting(first + 7))), secret)
    });
    let now = Duration::ZERO;
    let [(first, one, one_secret), (second, two, two_secret)] = &mut rings;
    let announcements = [one.announcement(session), two.announcement(session)];
    one.set_member(now, session, *second, &announcements[1]).expect("an announcement");
    two.set_member(now, session, *first, &announcements[0]).expect("an announcement");
    one.agree_next();
    let mut sent = Vec::new();
    let package = |one: &mut KeyRing, two: &mut KeyRing, sent: &mut Vec<Value>, now| {
        let (_, package) = one.poll_package().expect("a package");
        two.accept_package(now, *first, &package).expect("a package");
        sent.push(json!({ "what": "package", "sealed": hex(package) }));
    };
    package(one, two, &mut sent, now);
    let common = |one: &mut KeyRing,
                  two: &mut KeyRing,
                  sent: &mut Vec<Value>,
                  now,
                  label: Label,
                  plain: &[u8]| {
        let (mut sealed, mut opened) = (Vec::new(), Vec::new());
        one.seal(now, label, b"header", plain, &mut sealed).expect("a payload");
        two.open(now, *first, label, b"header", &sealed, &mut opened).expect("a payload");
        assert_eq!(opened, plain);
        sent.push(json!({
            "what": "common", "label": label.number(), "associated": hex(b"header"), "plain": hex(plain),
            "sealed": hex(sealed),
        }));
    };
    common(one, two, &mut sent, now, Label::Voice, &counting::<60>(1));
    common(one, two, &mut sent, now, Label::Data, b"good day");
    common(one, two, &mut sent, now, Label::State, b"Ada");
    let mut private = Vec::new();
    one.seal_to(*second, Label::Data, b"header", b"between us", &mut private).expect("a payload");
    two.open_from(*first, Label::Data, b"header", &private, &mut Vec::new()).expect("a payload");
    sent.push(json!({
        "what": "private", "label": Label::Data.number(), "associated": hex(b"header"), "plain": hex(b"between us"),
        "sealed": hex(private),
    }));
    // A third member joins: the next step.
    let third = Identity::derive(&InstallationSecret([3; 32]), ORIGIN, ROOM, 0);
    let authority = room_key.as_ref().map(|room_key| Authority { room_key, room: ROOM, session });
    let announcement = announce(peer(3), &third.public, Run([3; 16]), authority.as_ref());
    one.set_member(now, session, peer(3), &announcement).expect("an announcement");
    common(one, two, &mut sent, now, Label::Voice, b"after a member joined");
    // It leaves: the next epoch.
    one.remove_member(now, peer(3));
    package(one, two, &mut sent, now);
    let later = now + crate::SWITCH_DELAY;
    common(one, two, &mut sent, later, Label::Voice, b"after a member left");
    let member = |peer: PeerId, secret: &InstallationSecret, announcement: &[u8]| {
        json!({
            "secret": hex(secret.0), "origin": ORIGIN, "instance": 0, "peer": peer, "announcement": hex(announcement),
        })
    };
    json!({
        "room_key": optional(room_key.as_ref()), "room": ROOM, "session": session.number(),
        "members": [
            member(*first, one_secret, &announcements[0]), member(*second, two_secret, &announcements[1]),
        ],
        "from_first_to_second": sent,
        "code": two.safety_code().to_string(),
    })
}

fn ours() -> Value {
    json!({
        "about": ABOUT,
        "room_keys": room_keys(),
        "identities": identities(),
        "announcements": announcements(),
        "fingerprints": fingerprints(),
        "pairs": pairs(),
        "sender_keys": sender_keys(),
        "frames": frames(),
        "room_states": room_states(),
        "published": published(),
        "safety_codes": safety_codes(),
        "transcripts": [transcript(None), transcript(Some(RoomKey::new(counting(0x10))))],
    })
}

#[test]
#[expect(clippy::disallowed_methods, reason = "writes the vectors when asked to")]
fn the_vectors_are_what_this_crate_computes() {
    let mut kept: Value = serde_json::from_str(voicemesh_vectors::E2EE).expect("JSON");
    let rfc = kept
        .as_object_mut()
        .expect("an object")
        .remove("rfc9605")
        .expect("the vectors of RFC 9605");
    let now = ours();
    if std::env::var_os("WRITE_VECTORS").is_some() {
        let mut all = now.clone();
        all["rfc9605"] = rfc;
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/e2ee.json");
        std::fs::write(path, serde_json::to_string_pretty(&all).expect("JSON") + "\n")
            .expect("the file is written");
        return;
    }
    for (part, value) in now.as_object().expect("an object") {
        assert_eq!(&kept[part], value, "{part}");
    }
    let room_key = Some(RoomKey::new(counting(0x10)));
    let mut ring = Maker { room_key, ..Maker::default() }.ring(9, 0);
    for vector in kept["published"].as_array().expect("a list") {
        let text = |field: &str| vector[field].as_str().expect("text");
        let place = match vector["peer"].as_str() {
            Some(id) => Published::Member(PeerId(id.parse().expect("an id")), text("key")),
            None => Published::Room(text("key")),
        };
        assert_eq!(ring.open_published(place, text("text")), Ok(bytes(&vector["plain"])));
    }
}

#[test]
fn the_vectors_of_rfc_9605_pass() {
    let kept: Value = serde_json::from_str(voicemesh_vectors::E2EE).expect("JSON");
    let headers = kept["rfc9605"]["headers"].as_array().expect("a list");
    assert_eq!(headers.len(), 289);
    for vector in headers {
        let number =
            |field: &str| vector[field].as_str().expect("text").parse::<u64>().expect("a number");
        let header = SframeHeader::new(number("kid"), number("ctr"));
        assert_eq!(Vec::from(&header), bytes(&vector["encoded"]));
        assert_eq!(SframeHeader::deserialize(bytes(&vector["encoded"])).expect("a header"), header);
    }
    let vector = &kept["rfc9605"]["sframe"];
    let number = |field: &str| vector[field].as_u64().expect("a number");
    let (key_id, counter, base) = (number("kid"), number("ctr"), bytes(&vector["base_key"]));
    let (associated, plain, sealed) =
        (bytes(&vector["metadata"]), bytes(&vector["pt"]), bytes(&vector["ct"]));
    let suite = CipherSuite::AesGcm128Sha256;
    assert_eq!(number("cipher_suite"), suite as u64);
    let key = GenericEncryptionKey::<Gcm, Kdf>::derive_from(suite, key_id, &base).expect("a key");
    let mut counter = MonotonicCounter::with_start_value(counter, u64::MAX);
    let frame =
        MediaFrameView::try_with_meta_data(&mut counter, &plain, &associated).expect("a counter");
    let mut buffer = Vec::new();
    assert_eq!(
        frame.encrypt_into(&key, &mut buffer).expect("a frame").sframe_cipher_text(),
        sealed
    );
    let key = GenericDecryptionKey::<Gcm, Kdf>::derive_from(suite, key_id, &base).expect("a key");
    let frame = EncryptedFrameView::try_with_meta_data(&sealed, &associated).expect("a frame");
    let mut buffer = Vec::new();
    assert_eq!(frame.decrypt_into(&key, &mut buffer).expect("a frame").payload(), plain);
}
