//! Whole packets, as a member that encrypts sends them (tests/vectors/sealed-packets.json).
//! `WRITE_VECTORS=1 cargo test --workspace --lib sealed_packets` writes them anew.

use std::num::NonZeroU32;

use serde_json::{Value, json};
use voicemesh_wire::GroupId;
use voicemesh_wire::packet::{
    CopiesMarks, Copy, DataSegment, GroupText, KeyRequest, Record, SealedPart, TalkspurtCounter,
    Target, TargetKind, TextData, VoiceHeader,
};

use super::*;
use voicemesh_sealing::{ForServer, Outgoing};

const ABOUT: &str = "Whole sealed packets (PROTOCOL.md, section 18), from `sender` to `receiver`. Bytes are hexadecimal. \
    `sealed` is what the receiver gets: in the clear up to `clear_bytes`, which are authenticated, then SFrame. `plain` is \
    the packet that it stands for; of a text, the type and the body of that packet are what is sealed. `relayed` is what the \
    server is given, where it passes the packet on. The first packet of each case gives the sender's keys; a KeyPackage and \
    a KeyRequest are not sealed as a whole. `key` says whose key it is: the sender's, or that of the pair.";
/// That of `room_key`.
const ROOM_KEY: [u8; 16] = [3; 16];
const ADA: ClientId = ClientId(1);

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

fn member(number: u8, client: ClientId, key: Option<RoomKey>) -> Value {
    json!({
        "peer": peer(number), "secret": hex([number; 32]), "origin": ORIGIN, "instance": 0, "client": client.0,
        "announcement": hex(ring(number, key, 0).announcement(session())),
    })
}

fn header(sequence: u16) -> VoiceHeader {
    VoiceHeader { sender: ADA, talkspurt: TalkspurtCounter::SevenBit(3), sequence }
}

fn speech(sequence: u16, targets: &[Target]) -> Vec<u8> {
    let frame: Vec<u8> = (0..40).map(|byte| byte ^ 0xA5).collect();
    let mut packet = Vec::new();
    header(sequence).encode_packet(session(), targets, &frame, &mut packet);
    packet
}

fn copies(sequence: u16, targets: &[Target]) -> Vec<u8> {
    let copies = [Copy { behind: 1, frame: &[1; 30] }, Copy { behind: 2, frame: &[2; 20] }];
    let marks = CopiesMarks { pause_follows: true, bundled: 1 };
    let mut packet = Vec::new();
    header(sequence).encode_copies_packet(
        session(),
        targets,
        marks,
        &copies,
        &[3; 40],
        &mut packet,
    );
    packet
}

/// What is said on a link or, as the session wraps it, through the server.
fn said() -> Vec<(&'static str, bool, Vec<u8>)> {
    let all = Target::plain(TargetKind::Group(GroupId::of("Global")));
    let bo = Target::plain(TargetKind::Client(BO));
    let text = |recipient| {
        TextData { sender: ADA, recipient, text: "meet me at the third bridge" }.encode(session())
    };
    let segment = DataSegment {
        sender: ADA,
        from: NonZeroU32::MIN,
        to: NonZeroU32::new(0x0102_0304),
        number: 9,
        record: Record::OnChannel(4),
        is_first: true,
        is_last: true,
        payload: b"a move in a game",
    };
    let message = DataMessage { sender: ADA, on: None, payload: b"a position" };
    vec![
        ("speech", false, speech(7, &[all])),
        ("speech through the server", true, speech(8, &[all])),
        ("speech to several targets", true, speech(9, &[all, bo])),
        ("private speech", false, speech(10, &[bo])),
        ("private speech through the server", true, speech(11, &[bo])),
        ("speech with copies", false, copies(12, &[all])),
        ("speech with copies through the server", true, copies(13, &[all])),
        ("private speech with copies", false, copies(14, &[bo])),
        ("a segment of data", false, segment.encode(session())),
        ("a message of data through the server", true, message.encode(session())),
        ("a text to one", true, text(Recipient::Client(BO))),
        ("a text to a group by its id", true, text(Recipient::Group(GroupId::of("Global")))),
        (
            "a text to a group by its name",
            true,
            GroupText { sender: ADA, group: "Red", text: "all of you" }.encode(session()),
        ),
    ]
}

/// What was sent to one member through the server, without its envelope.
fn inside(relayed: &[u8]) -> Vec<u8> {
    let (_, body) = packet::open(relayed).expect("a packet");
    Relay::decode(body).expect("a relay").packet.to_vec()
}

fn case(key: Option<RoomKey>) -> Value {
    let mut room = Room::new(key.clone());
    room.bo_joins(Some(&ring(2, key.clone(), 0)));
    room.turn();
    let outputs = std::iter::from_fn(|| room.mesh.poll_output());
    let relayed = outputs.filter_map(|output| match output {
        MeshOutput::SendPacket { packet, .. } => Some(packet),
        _ => None,
    });
    let is_package = |packet: &Bytes| {
        packet::open(&inside(packet)).is_ok_and(|(header, _)| header.kind == Kind::KeyPackage)
    };
    let keys = relayed.into_iter().filter(|packet| packet[2] == 7).find(is_package);
    let keys = keys.expect("Ada gives her keys");
    let mut packets =
        vec![json!({ "what": "keys", "sealed": hex(inside(&keys)), "relayed": hex(&keys) })];
    for (what, is_relayed, plain) in said() {
        let plain = Bytes::from(plain);
        let now = room.now;
        let (sealed, relayed) = if is_relayed {
            let mut outer = Vec::new();
            let reliable = Kind::ServerRelayReliable;
            Relay::encode_packet(reliable, session(), &[BO], &plain, &mut outer);
            let Mesh { encryption, roster, .. } = &mut room.mesh;
            let encryption = encryption.as_mut().expect("it encrypts");
            let mut sent = encryption.seal_for_server(now, outer.into(), roster);
            let sent = match sent.pop().expect("one packet") {
                ForServer::Packet(packet) => packet,
                ForServer::Text { sent, .. } => sent,
            };
            (inside(&sent), Some(hex(&sent)))
        } else {
            let sealed = room.mesh.seal_for_link(now, &mut Outgoing::new(&plain), peer(2));
            (sealed.expect("Bo is accepted").to_vec(), None)
        };
        let (clear_bytes, with) = clear_part(&sealed);
        let key = if with == SealedWith::PairKey { "pair" } else { "sender" };
        packets.push(json!({
            "what": what, "plain": hex(&plain), "key": key, "clear_bytes": clear_bytes, "sealed": hex(sealed),
            "relayed": relayed,
        }));
    }
    let request = KeyRequest { sender: ADA }.encode(session());
    packets.push(json!({ "what": "a question for keys", "sealed": hex(request) }));
    json!({
        "room_key": key.as_ref().map(|_| hex(ROOM_KEY)), "room": "room", "session": session().number(),
        "sender": member(7, ADA, key.clone()), "receiver": member(2, BO, key), "packets": packets,
    })
}

/// How far a sealed packet is in the clear, and with which key the rest is sealed.
fn clear_part(sealed: &[u8]) -> (usize, SealedWith) {
    let (header, body) = packet::open(sealed).expect("a packet");
    if header.kind == Kind::SealedText {
        let text = SealedText::decode(body).expect("a sealed text");
        return (SealedText::CLEAR_BYTES, text.key);
    }
    let part = SealedPart::of(sealed).expect("it is whole").expect("it is sealed");
    (part.clear_bytes, part.key)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "writes the vectors when asked to")]
fn whole_sealed_packets_are_those_of_the_vectors() {
    let now = json!({ "about": ABOUT, "cases": [case(None), case(room_key())] });
    if std::env::var_os("WRITE_VECTORS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/sealed-packets.json");
        std::fs::write(path, serde_json::to_string_pretty(&now).expect("JSON") + "\n")
            .expect("the file is written");
        return;
    }
    let kept: Value = serde_json::from_str(voicemesh_vectors::SEALED_PACKETS).expect("JSON");
    assert_eq!(kept, now, "WRITE_VECTORS=1 writes them anew");
}

/// By a ring alone, without the mesh that made them.
#[test]
fn whole_sealed_packets_are_opened_by_their_receiver() {
    let kept: Value = serde_json::from_str(voicemesh_vectors::SEALED_PACKETS).expect("JSON");
    let cases = kept["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 2);
    for (case, key) in cases.iter().zip([None, room_key()]) {
        let (mut bo, now) = (ring(2, key, 0), Duration::ZERO);
        let mut opened = 0;
        for vector in case["packets"].as_array().expect("packets") {
            let sealed = bytes(&vector["sealed"]);
            let (header, body) = packet::open(&sealed).expect("a packet");
            assert_eq!(header.session_id(), Some(session()));
            if let Some(relayed) = vector["relayed"].as_str() {
                assert_eq!(inside(&bytes(&json!(relayed))), sealed);
            }
            if header.kind == Kind::KeyPackage {
                let package = KeyPackage::decode(body).expect("a package");
                bo.set_member(now, session(), peer(7), package.announcement).expect("genuine");
                bo.accept_package(now, peer(7), package.package).expect("for Bo");
            }
            let Some(clear_bytes) = vector["clear_bytes"].as_u64() else { continue };
            let (clear, secret) = sealed.split_at(usize::try_from(clear_bytes).expect("small"));
            let label = if header.kind.is_voice() { Label::Voice } else { Label::Data };
            let mut plain = Vec::new();
            let result = if vector["key"] == "pair" {
                bo.open_from(peer(7), label, clear, secret, &mut plain)
            } else {
                bo.open(now, peer(7), label, clear, secret, &mut plain)
            };
            result.unwrap_or_else(|error| panic!("{}: {error}", vector["what"]));
            let whole = if header.kind == Kind::SealedText {
                [&clear[..2], &plain[..1], &clear[3..7], &plain[1..]].concat()
            } else {
                [clear, &plain].concat()
            };
            assert_eq!(whole, bytes(&vector["plain"]), "{}", vector["what"]);
            assert!(sealed.len() <= whole.len() + 22 + 4, "{}", vector["what"]);
            opened += 1;
        }
        assert_eq!(opened, said().len());
    }
}
