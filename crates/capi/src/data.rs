//! Messages and data channels.

use voicemesh::{Reliability, Room, SendError};

use crate::guard::{Fault, guarded};
use crate::room::{vmesh_room, with_room};
use crate::{memory, vmesh_peer_id, vmesh_result};

/// Sends a message to one peer. A reliable one (at most 256 KiB) arrives exact, complete and in
/// order as long as both stay in the room; an unreliable one (at most 1,100 bytes) may be lost,
/// doubled or overtaken. The bytes are copied.
///
/// `reliability` is a vmesh_reliability; data may be null if length is 0. Errors: VMESH_ERROR_NULL,
/// VMESH_ERROR_BAD_VALUE, VMESH_ERROR_WOULD_BLOCK, VMESH_ERROR_TOO_LARGE, VMESH_ERROR_UNKNOWN_PEER,
/// VMESH_ERROR_UNSUPPORTED, VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_send(
    room: vmesh_room,
    to: *const vmesh_peer_id,
    data: *const u8,
    length: usize,
    reliability: i32,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let (to, data) = unsafe { (memory::read(to, "to")?, memory::bytes(data, length, "data")?) };
        let how = chosen(reliability)?;
        sent(room, |room| room.participant(to.into()).send(data, how))
    })
}

/// Sends a message to everyone in the room, once each; if it is not accepted, it is sent to no
/// peer. Otherwise as vmesh_participant_send.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_room_send_to_all(
    room: vmesh_room,
    data: *const u8,
    length: usize,
    reliability: i32,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let data = unsafe { memory::bytes(data, length, "data")? };
        let how = chosen(reliability)?;
        sent(room, |room| room.send_to_all(data, how))
    })
}

/// Opens a data channel (0 to 255) to a peer from this side. Data flows once the other side has
/// opened the same number alike, which VMESH_EVENT_CHANNEL_OPENED tells; until then it waits.
/// VMESH_EVENT_CHANNEL_MISMATCH tells that it did so otherwise.
///
/// Errors: as vmesh_participant_send.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_channel_open(
    room: vmesh_room,
    with_peer: *const vmesh_peer_id,
    channel: u8,
    reliability: i32,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let other = unsafe { memory::read(with_peer, "with_peer")? };
        let how = chosen(reliability)?;
        sent(room, |room| room.channel(other.into(), channel).open(how))
    })
}

/// Closes a data channel; what was sent before arrives. Harmless when it is not open. Errors: as
/// vmesh_participant_send.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_channel_close(
    room: vmesh_room,
    with_peer: *const vmesh_peer_id,
    channel: u8,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let other = unsafe { memory::read(with_peer, "with_peer")? };
        sent(room, |room| room.channel(other.into(), channel).close())
    })
}

/// Sends a message on a data channel that this side has open.
///
/// Errors: as vmesh_participant_send, and VMESH_ERROR_CHANNEL_CLOSED, VMESH_ERROR_CHANNEL_MISMATCH.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_channel_send(
    room: vmesh_room,
    to: *const vmesh_peer_id,
    channel: u8,
    data: *const u8,
    length: usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let (to, data) = unsafe { (memory::read(to, "to")?, memory::bytes(data, length, "data")?) };
        sent(room, |room| room.channel(to.into(), channel).send(data))
    })
}

/// Closes every data channel with a peer, and drops what waits to be sent to it. It stays in the
/// room, and is heard.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_close_channels(
    room: vmesh_room,
    from: *const vmesh_peer_id,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let from = unsafe { memory::read(from, "from")? };
        sent(room, |room| {
            room.participant(from.into()).close_channels();
            Ok(())
        })
    })
}

/// How many reliable bytes wait to be sent to a peer, or are not known to have arrived.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_queued_bytes(
    room: vmesh_room,
    to: *const vmesh_peer_id,
    count: *mut usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let to = unsafe { memory::read(to, "to")? };
        let queued = with_room(room, |room| Ok(room.participant(to.into()).queued_bytes()))?;
        // SAFETY: the header's promise.
        unsafe { memory::write(count, queued, "count")? };
        Ok(vmesh_result::VMESH_OK)
    })
}

/// With vmesh_options.manual_flush: lets what was sent since the last time leave, at the end of a
/// frame. Otherwise it does nothing.
///
/// Errors: VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_room_flush(room: vmesh_room) -> vmesh_result {
    guarded(|| {
        sent(room, |room| {
            room.flush();
            Ok(())
        })
    })
}

fn sent(
    room: vmesh_room,
    call: impl FnOnce(&Room) -> Result<(), SendError>,
) -> Result<vmesh_result, Fault> {
    with_room(room, |room| {
        call(room).map(|()| vmesh_result::VMESH_OK).map_err(|error| refused(&error))
    })
}

fn refused(error: &SendError) -> Fault {
    let result = match error {
        SendError::WouldBlock { .. } => vmesh_result::VMESH_ERROR_WOULD_BLOCK,
        SendError::TooLarge { .. } => vmesh_result::VMESH_ERROR_TOO_LARGE,
        SendError::UnknownPeer => vmesh_result::VMESH_ERROR_UNKNOWN_PEER,
        SendError::Unsupported => vmesh_result::VMESH_ERROR_UNSUPPORTED,
        SendError::ChannelClosed => vmesh_result::VMESH_ERROR_CHANNEL_CLOSED,
        SendError::ChannelMismatch { .. } => vmesh_result::VMESH_ERROR_CHANNEL_MISMATCH,
        SendError::Left => vmesh_result::VMESH_ERROR_LEFT,
        // What a later version may add.
        _ => vmesh_result::VMESH_ERROR_INTERNAL,
    };
    Fault::new(result, error.to_string())
}

fn chosen(reliability: i32) -> Result<Reliability, Fault> {
    match reliability {
        0 => Ok(Reliability::Unreliable),
        1 => Ok(Reliability::Reliable),
        _ => Err(Fault::value("reliability", reliability)),
    }
}
