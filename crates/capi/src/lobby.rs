//! The room as a lobby: its owner, metadata as transactions, and connections to peers by their
//! tokens.

use std::ffi::c_char;

use voicemesh::{
    ConnectError, Lobby, Metadata, MetadataTransaction, Room, Snapshot, TransactionId,
};

use crate::guard::{Fault, Outcome, guarded};
use crate::memory::{self, Plain};
use crate::room::{vmesh_room, with_room};
use crate::{vmesh_peer_id, vmesh_result, vmesh_string};

/// One change of metadata.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmesh_change {
    /// Of which key.
    pub key: vmesh_string,
    /// The new value; does not count with remove.
    pub value: vmesh_string,
    /// The key is removed.
    pub remove: i32,
    /// Zero.
    pub reserved: i32,
}

// SAFETY: numbers and raw pointers.
unsafe impl Plain for vmesh_change {}

/// Gives the room's owner: the peer that has been in it longest, possibly this one. VMESH_EMPTY: it
/// is not known yet.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_lobby_owner(
    room: vmesh_room,
    owner: *mut vmesh_peer_id,
) -> vmesh_result {
    guarded(|| {
        let known = with_room(room, |room| Ok(room.read_snapshot(|now| now.owner)))?;
        // SAFETY: the header's promise.
        unsafe {
            memory::write(owner, known.map(vmesh_peer_id::from).unwrap_or_default(), "owner")?
        };
        Ok(if known.is_some() { vmesh_result::VMESH_OK } else { vmesh_result::VMESH_EMPTY })
    })
}

/// Changes what this peer publishes about itself, all of it together or none: at most 31 keys and 8
/// KiB, beside its token. VMESH_EVENT_TRANSACTION_DONE tells how it went, with the number that
/// *transaction becomes, which may be null.
///
/// Errors, after which nothing follows: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT,
/// VMESH_ERROR_BAD_VALUE, VMESH_ERROR_WOULD_BLOCK, VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE,
/// VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_lobby_set_metadata(
    room: vmesh_room,
    changes: *const vmesh_change,
    count: usize,
    transaction: *mut u64,
) -> vmesh_result {
    // SAFETY: the header's promise.
    guarded(|| unsafe {
        transact(room, changes, count, transaction, |lobby, changes| lobby.set_metadata(changes))
    })
}

/// Changes what the room publishes; otherwise as vmesh_lobby_set_metadata. Only the owner may; for
/// any other peer, the change fails with the code "not-owner".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_lobby_set_room_metadata(
    room: vmesh_room,
    changes: *const vmesh_change,
    count: usize,
    transaction: *mut u64,
) -> vmesh_result {
    // SAFETY: the header's promise.
    guarded(|| unsafe {
        transact(room, changes, count, transaction, |lobby, changes| {
            lobby.set_room_metadata(changes)
        })
    })
}

/// # Safety
///
/// As [`vmesh_lobby_set_metadata`].
unsafe fn transact(
    room: vmesh_room,
    changes: *const vmesh_change,
    count: usize,
    transaction: *mut u64,
    call: fn(&Lobby<'_>, MetadataTransaction) -> Result<TransactionId, ConnectError>,
) -> Outcome {
    let mut wanted = MetadataTransaction::new();
    // SAFETY: our caller's promise.
    for change in unsafe { memory::bytes(changes, count, "changes")? } {
        // SAFETY: our caller's promise.
        let key = unsafe { memory::string(change.key, "a key")? };
        wanted = match change.remove {
            // SAFETY: our caller's promise.
            0 => wanted.set(key, unsafe { memory::string(change.value, "a value")? }),
            _ => wanted.remove(key),
        };
    }
    let number = with_room(room, |room| call(&room.lobby(), wanted).map_err(refused_call))?;
    if !transaction.is_null() {
        // SAFETY: our caller's promise.
        unsafe { memory::write(transaction, number.0, "transaction")? };
    }
    Ok(vmesh_result::VMESH_OK)
}

/// Copies one value of what a peer publishes, oneself if `of` is null, with a NUL behind it, into
/// the program's buffer. *needed, unless it is null, becomes the bytes that takes; with
/// VMESH_ERROR_BUFFER nothing was copied. VMESH_EMPTY: it publishes no such key.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BUFFER, VMESH_ERROR_UNKNOWN_PEER,
/// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_metadata(
    room: vmesh_room,
    of: *const vmesh_peer_id,
    key: *const c_char,
    key_length: usize,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let (scope, key) = unsafe { (of_peer(of)?, memory::text(key, key_length, "key")?) };
        // SAFETY: the header's promise.
        unsafe { tell(room, scope, |metadata| metadata.get(key), buffer, capacity, needed) }
    })
}

/// Copies one value of what the room publishes; otherwise as vmesh_participant_metadata.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_lobby_room_metadata(
    room: vmesh_room,
    key: *const c_char,
    key_length: usize,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let key = unsafe { memory::text(key, key_length, "key")? };
        // SAFETY: the header's promise.
        unsafe {
            tell(room, MetadataOf::Room, |metadata| metadata.get(key), buffer, capacity, needed)
        }
    })
}

/// Copies the key with that number, from 0 on and ordered, of what a peer publishes; otherwise as
/// vmesh_participant_metadata. VMESH_EMPTY: there are not so many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_metadata_key(
    room: vmesh_room,
    of: *const vmesh_peer_id,
    number: usize,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let scope = unsafe { of_peer(of)? };
        // SAFETY: the header's promise.
        unsafe {
            tell(room, scope, |metadata| metadata.keys().nth(number), buffer, capacity, needed)
        }
    })
}

/// Copies a key of what the room publishes; otherwise as vmesh_participant_metadata_key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_lobby_room_metadata_key(
    room: vmesh_room,
    number: usize,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        unsafe {
            tell(
                room,
                MetadataOf::Room,
                |metadata| metadata.keys().nth(number),
                buffer,
                capacity,
                needed,
            )
        }
    })
}

/// Whose metadata is read.
#[derive(Clone, Copy)]
enum MetadataOf {
    Own,
    Peer(vmesh_peer_id),
    Room,
}

/// # Safety
///
/// `of` is null or points to an id.
unsafe fn of_peer(of: *const vmesh_peer_id) -> Result<MetadataOf, Fault> {
    if of.is_null() {
        return Ok(MetadataOf::Own);
    }
    // SAFETY: our caller's promise.
    unsafe { memory::read(of, "of") }.map(MetadataOf::Peer)
}

/// # Safety
///
/// As [`memory::copy_out`].
unsafe fn tell(
    room: vmesh_room,
    scope: MetadataOf,
    which: impl FnOnce(&Metadata) -> Option<&String>,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> Outcome {
    let found = |now: &Snapshot| match scope {
        MetadataOf::Own => Some(which(&now.metadata).cloned()),
        MetadataOf::Room => Some(which(&now.room_metadata).cloned()),
        MetadataOf::Peer(of) => {
            let state = now.peers.iter().find(|state| vmesh_peer_id::from(state.peer) == of)?;
            Some(which(&state.metadata).cloned())
        }
    };
    match with_room(room, |room| room.read_snapshot(found).ok_or_else(Fault::unknown_peer))? {
        // SAFETY: our caller's promise.
        Some(text) => unsafe { memory::copy_out(&text, buffer, capacity, needed) },
        None => Ok(vmesh_result::VMESH_EMPTY),
    }
}

/// Requests a direct link to a peer, by the token that it publishes as VMESH_REACHABILITY_KEY. With
/// VMESH_CONNECTIONS_EXPLICIT both sides must do this; a side that has not receives
/// VMESH_EVENT_CONNECTION_REQUESTED. The request holds until the peer leaves the room or
/// vmesh_participant_disconnect. VMESH_EVENT_WARNED reports a token that is not the newest, or of a
/// peer that is not in the room.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_TOKEN, VMESH_ERROR_WOULD_BLOCK,
/// VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_connect(
    room: vmesh_room,
    to: *const vmesh_peer_id,
    token: *const c_char,
    length: usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let (to, token) =
            unsafe { (memory::read(to, "to")?, memory::text(token, length, "token")?) };
        done(room, |room| room.participant(to.into()).connect(token))
    })
}

/// Takes up a newer token of a connected peer. A link that works goes on; without one, it is tried
/// at once.
///
/// Errors: as vmesh_participant_connect.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_update(
    room: vmesh_room,
    to: *const vmesh_peer_id,
    token: *const c_char,
    length: usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let (to, token) =
            unsafe { (memory::read(to, "to")?, memory::text(token, length, "token")?) };
        done(room, |room| room.participant(to.into()).update(token))
    })
}

/// Closes the link to a peer; there is none until vmesh_participant_connect. Speech goes on,
/// through the server.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_WOULD_BLOCK, VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE,
/// VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_disconnect(
    room: vmesh_room,
    from: *const vmesh_peer_id,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let from = unsafe { memory::read(from, "from")? };
        done(room, |room| room.participant(from.into()).disconnect())
    })
}

/// Lets a peer whose program cannot encrypt ("unable" in VMESH_EVENT_ENCRYPTION_CHANGED) hear what
/// is said here, and so the server that relays it, or no more: "unencrypted". Off at first, and
/// again when the peer has left, has started again or has another name: ask the player each time.
/// What is written, and messages, are not sent to it all the same. In a room with a key, and for a peer that has
/// encrypted before, this changes nothing.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_WOULD_BLOCK, VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE,
/// VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_allow_unencrypted(
    room: vmesh_room,
    of: *const vmesh_peer_id,
    is_allowed: i32,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let of = unsafe { memory::read(of, "of")? };
        done(room, |room| room.participant(of.into()).allow_unencrypted(is_allowed != 0))
    })
}

/// Says that this machine's network is another than before. A lost connection to the server is
/// noticed without this.
///
/// Errors: VMESH_ERROR_WOULD_BLOCK, VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_room_network_changed(room: vmesh_room) -> vmesh_result {
    guarded(|| done(room, Room::network_changed))
}

fn done(room: vmesh_room, call: impl FnOnce(&Room) -> Result<(), ConnectError>) -> Outcome {
    with_room(room, |room| call(room).map(|()| vmesh_result::VMESH_OK).map_err(refused_call))
}

pub(crate) fn refused_call(error: ConnectError) -> Fault {
    let result = match error {
        ConnectError::Token(_) => vmesh_result::VMESH_ERROR_BAD_TOKEN,
        ConnectError::Busy => vmesh_result::VMESH_ERROR_WOULD_BLOCK,
        ConnectError::Left => vmesh_result::VMESH_ERROR_LEFT,
        // What a later version may add.
        _ => vmesh_result::VMESH_ERROR_INTERNAL,
    };
    Fault::new(result, error.to_string())
}
