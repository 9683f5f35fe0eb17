//! Decisions about other members and the room.

use std::ffi::c_char;

use voicemesh::Moderation;

use crate::guard::{Fault, guarded};
use crate::lobby::refused_call;
use crate::memory;
use crate::peer::{vm_peer, with};
use crate::{vm_decision, vm_peer_id, vm_result};

/// Decides about another member or the room: `decision` is a vm_decision. A member that may not moderate is answered with the code "not-moderator".
/// `about` is the member, and may be null where none is meant. `text` is the group for VM_DECISION_MOVE and the password for
/// VM_DECISION_SET_PASSWORD (of length 0 for none), else null with length 0. `seconds` counts with VM_DECISION_BAN.
/// *transaction, unless it is null, is what VM_EVENT_TRANSACTION_DONE will name. What the connection's end left without an
/// answer has failed, and is not sent again.
///
/// Errors: VM_ERROR_NULL, VM_ERROR_BAD_VALUE, VM_ERROR_BAD_TEXT, VM_ERROR_WOULD_BLOCK, VM_ERROR_LEFT, VM_ERROR_BAD_HANDLE, VM_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_moderate(
    peer: vm_peer,
    decision: i32,
    about: *const vm_peer_id,
    text: *const c_char,
    text_length: usize,
    seconds: u32,
    transaction: *mut u64,
) -> vm_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let member = || unsafe { memory::read(about, "about") }.map(voicemesh::PeerId::from);
        let word = || match text_length {
            0 => Ok(""),
            // SAFETY: the header's promise.
            length => unsafe { memory::text(text, length, "text") },
        };
        let action = match decision_of(decision)? {
            vm_decision::VM_DECISION_MUTE => Moderation::Mute { peer: member()? },
            vm_decision::VM_DECISION_UNMUTE => Moderation::Unmute { peer: member()? },
            vm_decision::VM_DECISION_KICK => Moderation::Kick { peer: member()? },
            vm_decision::VM_DECISION_BAN => Moderation::Ban { peer: member()?, seconds },
            vm_decision::VM_DECISION_UNBAN => Moderation::Unban { peer: member()? },
            vm_decision::VM_DECISION_MOVE => Moderation::Move { peer: member()?, groups: vec![word()?.to_owned()] },
            vm_decision::VM_DECISION_LOCK => Moderation::Lock,
            vm_decision::VM_DECISION_UNLOCK => Moderation::Unlock,
            vm_decision::VM_DECISION_SET_PASSWORD => Moderation::SetPassword { password: Some(word()?.into()) },
            vm_decision::VM_DECISION_MAKE_OWNER => Moderation::MakeOwner { peer: member()? },
        };
        let number = with(peer, |peer| peer.moderate(action).map_err(refused_call))?;
        if !transaction.is_null() {
            // SAFETY: the header's promise.
            unsafe { memory::write(transaction, number.0, "transaction")? };
        }
        Ok(vm_result::VM_OK)
    })
}

fn decision_of(number: i32) -> Result<vm_decision, Fault> {
    let all = [
        vm_decision::VM_DECISION_MUTE,
        vm_decision::VM_DECISION_UNMUTE,
        vm_decision::VM_DECISION_KICK,
        vm_decision::VM_DECISION_BAN,
        vm_decision::VM_DECISION_UNBAN,
        vm_decision::VM_DECISION_MOVE,
        vm_decision::VM_DECISION_LOCK,
        vm_decision::VM_DECISION_UNLOCK,
        vm_decision::VM_DECISION_SET_PASSWORD,
        vm_decision::VM_DECISION_MAKE_OWNER,
    ];
    let found = all.into_iter().find(|decision| *decision as i32 == number);
    found.ok_or_else(|| Fault::new(vm_result::VM_ERROR_BAD_VALUE, format!("{number} is no vm_decision")))
}
