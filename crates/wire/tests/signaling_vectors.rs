//! The golden vectors of `tests/vectors/signaling.json`, which the web client's tests read as well.

use serde::Deserialize;
use serde_json::Value;
use voicemesh_wire::identity::{IdentityProof, InstallationSecret, prove};
use voicemesh_wire::limits::JSON_MESSAGE_BYTES;
use voicemesh_wire::signaling::{
    ClientMessage, ErrorCode, LeaveReason, MessageError, PeerInfo, RosterHash, ServerMessage,
    apply_metadata, decode_client, decode_server, roster_hash,
};

#[derive(Deserialize)]
struct Vectors {
    client: Vec<Message>,
    server: Vec<Message>,
    lenient: Vec<Lenient>,
    refused: Vec<Refused>,
    error_codes: Vec<String>,
    identity: Vec<Identity>,
    roster: Vec<Roster>,
}

#[derive(Deserialize)]
struct Message {
    name: String,
    message: Value,
}

#[derive(Deserialize)]
struct Lenient {
    name: String,
    side: String,
    text: String,
    means: Value,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    text: String,
    code: String,
}

#[derive(Deserialize)]
struct Identity {
    secret: IdentityProof,
    origin: String,
    room: String,
    instance: u32,
    proof: IdentityProof,
    peer: voicemesh_wire::PeerId,
}

#[derive(Deserialize)]
struct Roster {
    peers: Vec<PeerInfo>,
    hash: RosterHash,
}

fn vectors() -> Vectors {
    serde_json::from_str(voicemesh_vectors::SIGNALING)
        .expect("the vectors are what this test expects")
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).expect("we write JSON")
}

#[test]
fn every_client_message_reads_and_writes_the_same() {
    let vectors = vectors().client;
    for Message { name, message } in &vectors {
        let decoded =
            decode_client(&message.to_string()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(&value(&decoded.to_json()), message, "{name}");
    }
    assert_eq!(vectors.len(), 29);
}

#[test]
fn every_server_message_reads_and_writes_the_same() {
    let vectors = vectors().server;
    for Message { name, message } in &vectors {
        let decoded =
            decode_server(&message.to_string()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(&value(&decoded.to_json()), message, "{name}");
    }
    assert_eq!(vectors.len(), 42);
}

#[test]
fn older_and_newer_ends_understand_each_other() {
    for Lenient { name, side, text, means } in vectors().lenient {
        let json = match side.as_str() {
            "client" => {
                decode_client(&text).unwrap_or_else(|error| panic!("{name}: {error}")).to_json()
            }
            _ => decode_server(&text).unwrap_or_else(|error| panic!("{name}: {error}")).to_json(),
        };
        assert_eq!(value(&json), means, "{name}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_the_code_that_says_so() {
    for Refused { name, text, code } in vectors().refused {
        match decode_client(&text) {
            Ok(message) => panic!("{name}: taken as {message:?}"),
            Err(error) => assert_eq!(error.code().as_str(), code, "{name}: {error}"),
        }
    }
}

#[test]
fn a_text_over_the_limit_is_not_looked_into() {
    let text = " ".repeat(JSON_MESSAGE_BYTES + 1);
    assert_eq!(decode_client(&text), Err(MessageError::TooLarge { bytes: JSON_MESSAGE_BYTES + 1 }));
}

#[test]
fn a_client_can_tell_a_message_of_a_later_server_from_a_broken_one() {
    let unknown = decode_server(r#"{"type":"fireworks","colour":"red"}"#);
    assert_eq!(unknown, Err(MessageError::UnknownType("fireworks".to_owned())));
    assert!(matches!(decode_server(r#"{"type":"peer-left"}"#), Err(MessageError::BadField(_))));
}

#[test]
fn a_reason_of_a_later_server_is_still_a_departure() {
    let text =
        r#"{"type":"peer-left","peer":"00000000-0000-8000-8000-000000000000","reason":"abducted"}"#;
    assert!(matches!(
        decode_server(text),
        Ok(ServerMessage::PeerLeft { reason: LeaveReason::Unknown, .. })
    ));
}

#[test]
fn every_error_code_has_its_text() {
    for code in vectors().error_codes {
        let typed = ErrorCode::from(code.clone());
        assert!(!matches!(typed, ErrorCode::Other(_)), "{code}");
        assert_eq!(typed.as_str(), code);
    }
}

/// proves: S-01
#[test]
fn proofs_and_peer_ids_match_the_vectors() {
    for Identity { secret, origin, room, instance, proof, peer } in vectors().identity {
        let made = prove(&InstallationSecret(secret.0), &origin, &room, instance);
        assert_eq!(made.0, proof.0, "{origin} {room} {instance}");
        assert_eq!(made.peer_id(), peer, "{origin} {room} {instance}");
    }
}

#[test]
fn roster_hashes_match_the_vectors_whatever_the_order_of_listing() {
    for Roster { mut peers, hash } in vectors().roster {
        assert_eq!(roster_hash(&peers), hash);
        peers.reverse();
        assert_eq!(roster_hash(&peers), hash);
    }
}

#[test]
fn metadata_changes_as_a_whole_or_not_at_all() {
    let current =
        [("a", "1"), ("b", "2")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let set = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
    let changed =
        apply_metadata(&current, [set("a", None), set("c", Some("3"))].into()).expect("it fits");
    assert_eq!(
        changed.into_iter().collect::<Vec<_>>(),
        [("b".into(), "2".into()), ("c".into(), "3".into())]
    );

    let long = "v".repeat(8192);
    let refused = apply_metadata(&current, [set("a", None), set("c", Some(&long))].into());
    assert_eq!(refused, Err(MessageError::BadMetadata));
}

#[test]
fn a_message_cut_anywhere_is_refused_and_nothing_worse() {
    for Message { message, .. } in vectors().client {
        let text = message.to_string();
        for end in 0..text.len() {
            if let Some(cut) = text.get(..end) {
                assert!(decode_client(cut).is_err(), "{cut}");
            }
        }
    }
}

#[test]
fn leave_and_roster_are_just_their_types() {
    assert_eq!(ClientMessage::Leave.to_json(), r#"{"type":"leave"}"#);
    assert_eq!(ClientMessage::Roster.to_json(), r#"{"type":"roster"}"#);
}
