//! From text to messages, with errors that say what was wrong and bounds that hold before anything
//! is kept.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;

use super::{
    Capabilities, ClientMessage, Join, MessageError, Metadata, MetadataChanges, ServerMessage,
    Signal,
};
use crate::limits;
use crate::names::{DisplayName, NameError, RoomName};
use crate::sealed_state::{is_name, value_bytes};

const CLIENT_TYPES: [&str; 9] = [
    "join",
    "signal",
    "set-metadata",
    "set-room-metadata",
    "moderate",
    "status",
    "roster",
    "ping",
    "leave",
];
const SERVER_TYPES: [&str; 22] = [
    "joined",
    "peer-joined",
    "peer-left",
    "metadata",
    "permissions",
    "status",
    "metadata-set",
    "moderated",
    "move",
    "held",
    "locked",
    "password",
    "room-metadata",
    "signal",
    "roster-mark",
    "roster",
    "error",
    "ice-servers",
    "ticket",
    "going-away",
    "replaced",
    "pong",
];

/// Reads what a peer sent and checks it against [`limits`]. The names in a join are as they are
/// shown then.
pub fn decode_client(text: &str) -> Result<ClientMessage, MessageError> {
    if text.len() > limits::JSON_MESSAGE_BYTES {
        return Err(MessageError::TooLarge { bytes: text.len() });
    }
    let mut message: ClientMessage = decode(text, &CLIENT_TYPES)?;
    message.validate()?;
    if let ClientMessage::Join(join) = &mut message {
        join.room = join.room_name()?.as_str().to_owned();
        join.name = join.display_name()?.as_str().to_owned();
    }
    Ok(message)
}

/// Reads what the server sent. [`MessageError::UnknownType`] is no fault: a client skips that
/// message.
pub fn decode_server(text: &str) -> Result<ServerMessage, MessageError> {
    decode(text, &SERVER_TYPES)
}

/// The type is read first, alone, to distinguish an unknown type from a bad field.
fn decode<T: DeserializeOwned>(text: &str, types: &[&str]) -> Result<T, MessageError> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow, default, rename = "type")]
        kind: Option<Cow<'a, str>>,
    }
    let bad_field = |error: serde_json::Error| MessageError::BadField(error.to_string());
    // Serde reads a struct from an array as well; a message is an object.
    if !text.trim_start().starts_with('{') {
        return Err(MessageError::BadJson("a message begins with {".to_owned()));
    }
    let envelope: Envelope<'_> = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(error) if error.is_data() => return Err(bad_field(error)),
        Err(error) => return Err(MessageError::BadJson(error.to_string())),
    };
    let Some(kind) = envelope.kind else {
        return Err(MessageError::BadField("missing field `type`".to_owned()));
    };
    if !types.contains(&kind.as_ref()) {
        return Err(MessageError::UnknownType(shortened(&kind)));
    }
    serde_json::from_str(text).map_err(bad_field)
}

/// The number of a request in a message that [`decode_client`] refused, if it can be read.
pub fn request_of(text: &str) -> Option<u32> {
    #[derive(Deserialize)]
    struct Numbered {
        request: Option<u32>,
    }
    let numbered: Option<Numbered> =
        (text.len() <= limits::JSON_MESSAGE_BYTES).then(|| serde_json::from_str(text).ok())?;
    numbered?.request
}

/// Enough of a stranger's text to recognise it, and no more: it goes into an error message.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

impl ClientMessage {
    /// The number by which its answer is known, if it asks for one.
    pub fn request(&self) -> Option<u32> {
        match self {
            Self::SetMetadata { request, .. }
            | Self::SetRoomMetadata { request, .. }
            | Self::Moderate { request, .. } => *request,
            Self::Join(_)
            | Self::Signal { .. }
            | Self::Status(_)
            | Self::Roster
            | Self::Ping { .. }
            | Self::Leave => None,
        }
    }

    /// Holds the message against [`limits`]; [`decode_client`] has done so already.
    pub fn validate(&self) -> Result<(), MessageError> {
        match self {
            Self::Join(join) => join.validate(),
            Self::Signal { signal, .. } => signal.validate(),
            Self::Moderate { action, .. } => action.validate(),
            Self::SetMetadata { set, .. } | Self::SetRoomMetadata { set, .. } => {
                let bytes = set
                    .iter()
                    .map(|(key, value)| key.len() + value.as_ref().map_or(0, String::len));
                let fits = set.len() <= 2 * limits::METADATA_KEYS
                    && bytes.sum::<usize>() <= 2 * limits::METADATA_BYTES;
                if fits { Ok(()) } else { Err(MessageError::BadMetadata) }
            }
            Self::Status(_) | Self::Roster | Self::Ping { .. } | Self::Leave => Ok(()),
        }
    }
}

impl Join {
    /// The room that is meant.
    ///
    /// # Errors
    ///
    /// [`MessageError::BadRoom`].
    pub fn room_name(&self) -> Result<RoomName, MessageError> {
        RoomName::parse(&self.room).map_err(|_: NameError| MessageError::BadRoom)
    }

    /// What the joiner is called.
    ///
    /// # Errors
    ///
    /// [`MessageError::BadName`].
    pub fn display_name(&self) -> Result<DisplayName, MessageError> {
        DisplayName::parse(&self.name).map_err(|_: NameError| MessageError::BadName)
    }

    fn validate(&self) -> Result<(), MessageError> {
        self.room_name()?;
        self.display_name()?;
        if self.password.as_ref().is_some_and(|password| password.len() > limits::PASSWORD_BYTES) {
            return Err(MessageError::BadPassword);
        }
        if self.token.as_ref().is_some_and(|token| token.len() > limits::TOKEN_BYTES) {
            return Err(MessageError::BadField(
                "an access token has at most 4096 bytes".to_owned(),
            ));
        }
        if self.ticket.as_ref().is_some_and(|ticket| ticket.len() > limits::TICKET_BYTES) {
            return Err(MessageError::BadField("a ticket has at most 2048 bytes".to_owned()));
        }
        self.capabilities.validate()?;
        check_metadata(&self.metadata)?;
        check_metadata(&self.room_metadata)
    }
}

impl Capabilities {
    fn validate(&self) -> Result<(), MessageError> {
        if self.frame_ms.len() > limits::FRAME_LENGTHS {
            return Err(MessageError::BadField("frame_ms lists too many lengths".to_owned()));
        }
        Ok(())
    }
}

impl Signal {
    fn validate(&self) -> Result<(), MessageError> {
        let (field, bytes, limit) = match self {
            Self::Offer { sdp } | Self::Answer { sdp } => ("sdp", sdp.len(), limits::SDP_BYTES),
            Self::Candidate { candidate, sdp_mid, .. } => {
                let mid_bytes = sdp_mid.as_ref().map_or(0, String::len);
                ("candidate", candidate.len() + mid_bytes, limits::CANDIDATE_BYTES)
            }
            Self::EndOfCandidates | Self::RequestOffer => return Ok(()),
        };
        if bytes > limit {
            return Err(MessageError::BadField(format!("{field} has more than {limit} bytes")));
        }
        Ok(())
    }
}

/// What `current` becomes with `set` applied, or an error that leaves it as it was.
pub fn apply_metadata(current: &Metadata, set: MetadataChanges) -> Result<Metadata, MessageError> {
    let mut next = current.clone();
    for (key, value) in set {
        match value {
            Some(value) => next.insert(key, value),
            None => next.remove(&key),
        };
    }
    check_metadata(&next)?;
    Ok(next)
}

fn check_metadata(metadata: &Metadata) -> Result<(), MessageError> {
    let counted = || metadata.iter().filter(|(key, value)| !is_name(key, value));
    let bytes: usize = counted().map(|(key, value)| key.len() + value_bytes(value)).sum();
    let json: usize = counted().map(|(key, value)| json_length(key) + json_length(value)).sum();
    let fits = bytes <= limits::METADATA_BYTES && json <= limits::METADATA_JSON_BYTES;
    if fits && counted().count() <= limits::METADATA_KEYS {
        Ok(())
    } else {
        Err(MessageError::BadMetadata)
    }
}

/// Bytes of a text in JSON (RFC 8259 §7): a control character is six times as long there.
fn json_length(text: &str) -> usize {
    let length = |byte: u8| match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0A | 0x0C | 0x0D => 2,
        0x00..=0x1F => 6,
        _ => 1,
    };
    text.bytes().map(length).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed_state::{NAME_KEY, SEALED_VALUE_PREFIX};

    #[test]
    fn metadata_is_measured_as_it_is_sent_as_well() {
        let of = |value: String| Metadata::from([("k".to_owned(), value)]);
        for text in ["x", "\"", "\\", "\n", "\u{1}", "\u{1f}", "\u{7f}", "\u{e9}", "\u{2028}"] {
            let json = serde_json::to_string(text).expect("a text");
            assert_eq!(json_length(text), json.len() - 2, "{text:?}");
        }
        assert!(check_metadata(&of("\"".repeat(8_000))).is_ok(), "JSON in JSON");
        assert_eq!(check_metadata(&of("\u{1}".repeat(3_000))), Err(MessageError::BadMetadata));
        assert_eq!(check_metadata(&of("x".repeat(8_192))), Err(MessageError::BadMetadata));
    }

    /// The text of a sealed value of so many bytes of plain text.
    fn sealed(plain_bytes: usize) -> String {
        let bytes = 16 + 1 + plain_bytes + 16;
        format!("{SEALED_VALUE_PREFIX}{}", "A".repeat((bytes * 8).div_ceil(6)))
    }

    #[test]
    fn sealed_metadata_is_measured_as_what_is_sealed() {
        let keys = limits::METADATA_KEYS;
        let full = |plain_bytes: usize| -> Metadata {
            (0..keys).map(|key| (format!("{key:02}"), sealed(plain_bytes))).collect()
        };
        let most = limits::METADATA_BYTES / keys - 2;
        let mut metadata = full(most);
        assert!(check_metadata(&metadata).is_ok(), "as much as without sealing");
        assert_eq!(check_metadata(&full(most + 4)), Err(MessageError::BadMetadata));
        let one = |bytes| Metadata::from([("k".to_owned(), sealed(bytes))]);
        assert!(check_metadata(&one(8_191)).is_ok());
        assert_eq!(check_metadata(&one(8_195)), Err(MessageError::BadMetadata));
        // A name takes no place of it, but what is no name does.
        metadata.insert(NAME_KEY.to_owned(), sealed(65));
        assert!(check_metadata(&metadata).is_ok());
        for no_name in [sealed(100), "Ada".to_owned()] {
            metadata.insert(NAME_KEY.to_owned(), no_name);
            assert_eq!(check_metadata(&metadata), Err(MessageError::BadMetadata));
        }
    }
}
