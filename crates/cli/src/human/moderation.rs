//! What is said of decisions about the room, and of who may decide.

use std::collections::BTreeMap;

use voicemesh::{ErrorCode, PasswordChange, PeerId, Permissions, RoomEvent, TransactionError};

use super::{Line, sentence, trouble};
use crate::people::People;

/// Moderators that a sentence names.
const MOST_NAMED: usize = 3;

/// What is said of the room's lock or password when another member has decided about it.
pub(crate) fn room_changed(event: &RoomEvent) -> Option<&'static str> {
    match event {
        RoomEvent::RoomLocked { locked: true } => {
            Some("A moderator has closed the room to newcomers.")
        }
        RoomEvent::RoomLocked { locked: false } => Some("Newcomers are let in again."),
        RoomEvent::RoomPassword { change } => match change {
            PasswordChange::Set => {
                Some("A moderator has given the room a password: newcomers need it.")
            }
            PasswordChange::Changed => Some("A moderator has changed the room’s password."),
            PasswordChange::Removed => Some("The room has no password any more."),
            _ => None,
        },
        _ => None,
    }
}

/// Why the server did not do what it was asked for, and who could.
pub(super) fn not_done(
    error: &TransactionError,
    permissions: &BTreeMap<PeerId, Permissions>,
    people: &People,
) -> Line {
    let why = match error.code {
        ErrorCode::NotModerator => whom_to_ask(permissions, people),
        _ => sentence(&error.message),
    };
    trouble(format!("That did not work: {why}"))
}

fn whom_to_ask(permissions: &BTreeMap<PeerId, Permissions>, people: &People) -> String {
    let moderators: Vec<String> = permissions
        .iter()
        .filter(|(peer, may)| may.moderate && !people.is_own(**peer))
        .map(|(peer, _)| people.label(*peer))
        .take(MOST_NAMED)
        .collect();
    if moderators.is_empty() {
        return "You may not moderate this room, and no other person here may. Who enters it when it is empty gets the right, unless access tokens decide.".to_owned();
    }
    format!("You may not moderate this room. Ask {}, who may.", moderators.join(" or "))
}
