//! Decisions about other members and the room.

use std::ffi::c_char;

use voicemesh::Moderation;

use crate::guard::{Fault, guarded};
use crate::lobby::refused_call;
use crate::memory;
use crate::room::{vmesh_room, with_room};
use crate::{vmesh_decision, vmesh_peer_id, vmesh_result};

/// Decides about another member or the room: `decision` is a vmesh_decision. A member that may not
/// moderate is answered with the code "not-moderator". `about` is the member, and may be null where
/// none is meant. `text` is the group for VMESH_DECISION_MOVE and the password for
/// VMESH_DECISION_SET_PASSWORD (of length 0 for none), else null with length 0. `seconds` counts
/// with VMESH_DECISION_BAN. *transaction, unless it is null, is what VMESH_EVENT_TRANSACTION_DONE
/// will name. What the connection's end left without an answer has failed, and is not sent again.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_WOULD_BLOCK,
/// VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_lobby_moderate(
    room: vmesh_room,
    decision: i32,
    about: *const vmesh_peer_id,
    text: *const c_char,
    text_length: usize,
    seconds: u32,
    transaction: *mut u64,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let member = || unsafe { memory::read(about, "about") }.map(voicemesh::PeerId::from);
        let word = || match text_length {
            0 => Ok(""),
            // SAFETY: the header's promise.
            length => unsafe { memory::text(text, length, "text") },
        };
        let action = match decision_of(decision)? {
            vmesh_decision::VMESH_DECISION_MUTE => Moderation::Mute { peer: member()? },
            vmesh_decision::VMESH_DECISION_UNMUTE => Moderation::Unmute { peer: member()? },
            vmesh_decision::VMESH_DECISION_KICK => Moderation::Kick { peer: member()? },
            vmesh_decision::VMESH_DECISION_BAN => Moderation::Ban { peer: member()?, seconds },
            vmesh_decision::VMESH_DECISION_UNBAN => Moderation::Unban { peer: member()? },
            vmesh_decision::VMESH_DECISION_MOVE => {
                Moderation::Move { peer: member()?, groups: vec![word()?.to_owned()] }
            }
            vmesh_decision::VMESH_DECISION_LOCK => Moderation::Lock,
            vmesh_decision::VMESH_DECISION_UNLOCK => Moderation::Unlock,
            vmesh_decision::VMESH_DECISION_SET_PASSWORD => {
                Moderation::SetPassword { password: Some(word()?.into()) }
            }
            vmesh_decision::VMESH_DECISION_MAKE_OWNER => Moderation::MakeOwner { peer: member()? },
        };
        let number = with_room(room, |room| room.lobby().moderate(action).map_err(refused_call))?;
        if !transaction.is_null() {
            // SAFETY: the header's promise.
            unsafe { memory::write(transaction, number.0, "transaction")? };
        }
        Ok(vmesh_result::VMESH_OK)
    })
}

fn decision_of(number: i32) -> Result<vmesh_decision, Fault> {
    let all = [
        vmesh_decision::VMESH_DECISION_MUTE,
        vmesh_decision::VMESH_DECISION_UNMUTE,
        vmesh_decision::VMESH_DECISION_KICK,
        vmesh_decision::VMESH_DECISION_BAN,
        vmesh_decision::VMESH_DECISION_UNBAN,
        vmesh_decision::VMESH_DECISION_MOVE,
        vmesh_decision::VMESH_DECISION_LOCK,
        vmesh_decision::VMESH_DECISION_UNLOCK,
        vmesh_decision::VMESH_DECISION_SET_PASSWORD,
        vmesh_decision::VMESH_DECISION_MAKE_OWNER,
    ];
    let found = all.into_iter().find(|decision| *decision as i32 == number);
    found.ok_or_else(|| {
        Fault::new(
            vmesh_result::VMESH_ERROR_BAD_VALUE,
            format!("{number} is no vmesh_decision; the header lists them"),
        )
    })
}
