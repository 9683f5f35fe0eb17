//! Any text as a signaling message: no panic, and what can be read is written so that it reads the
//! same.

use voicemesh_wire::limits::{JSON_MESSAGE_BYTES, METADATA_BYTES, METADATA_KEYS};
use voicemesh_wire::sealed_state::{NAME_KEY, value_bytes};
use voicemesh_wire::signaling::{
    ClientMessage, Metadata, apply_metadata, decode_client, decode_server,
};

/// One input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match decode_client(text) {
        Ok(message) => check_client(message),
        // An answer to a stranger is short, whatever the stranger wrote.
        Err(error) => drop(error.code()),
    }
    if let Ok(message) = decode_server(text) {
        let again = serde_json::to_string(&message).expect("a message can be written");
        assert_eq!(decode_server(&again), Ok(message));
    }
}

fn check_client(message: ClientMessage) {
    let again = serde_json::to_string(&message).expect("a message can be written");
    // Escapes can make a text longer than it came.
    if again.len() <= JSON_MESSAGE_BYTES {
        assert_eq!(decode_client(&again).as_ref(), Ok(&message));
    }
    if let ClientMessage::SetMetadata { set, .. } | ClientMessage::SetRoomMetadata { set, .. } =
        message
        && let Ok(metadata) = apply_metadata(&Metadata::new(), set)
    {
        let bytes: usize = metadata.iter().map(|(key, value)| key.len() + value_bytes(value)).sum();
        // A sealed name takes no place of the rest.
        let named = usize::from(metadata.contains_key(NAME_KEY));
        assert!(metadata.len() <= METADATA_KEYS + named && bytes <= METADATA_BYTES + 160 * named);
    }
}
