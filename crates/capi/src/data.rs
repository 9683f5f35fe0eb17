//! Messages and data channels.

use voicemesh::{Peer, Reliability, SendError};

use crate::guard::{Fault, guarded};
use crate::peer::{vm_peer, with};
use crate::{memory, vm_peer_id, vm_result};

/// Sends a message to one peer. A reliable one (at most 256 KiB) arrives exact, complete and in order as long as both stay in
/// the room; an unreliable one (at most 1,100 bytes) may be lost, doubled or overtaken. The bytes are copied.
///
/// `reliability` is a vm_reliability; data may be null if length is 0. Errors: VM_ERROR_NULL, VM_ERROR_BAD_VALUE,
/// VM_ERROR_WOULD_BLOCK, VM_ERROR_TOO_LARGE, VM_ERROR_UNKNOWN_PEER, VM_ERROR_UNSUPPORTED, VM_ERROR_LEFT, VM_ERROR_BAD_HANDLE,
/// VM_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_send(
    peer: vm_peer,
    to: *const vm_peer_id,
    data: *const u8,
    length: usize,
    reliability: i32,
) -> vm_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let (to, data) = unsafe { (memory::read(to, "to")?, memory::bytes(data, length, "data")?) };
        let how = chosen(reliability)?;
        sent(peer, |peer| peer.send(to.into(), data, how))
    })
}

/// Sends a message to everyone in the room, once each; if it is not accepted, it is sent to no peer. Otherwise as
/// vm_send.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_send_to_all(peer: vm_peer, data: *const u8, length: usize, reliability: i32) -> vm_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let data = unsafe { memory::bytes(data, length, "data")? };
        let how = chosen(reliability)?;
        sent(peer, |peer| peer.send_to_all(data, how))
    })
}

/// Opens a data channel (0 to 255) to a peer from this side. Data flows once the other side has opened the same number alike,
/// which VM_EVENT_CHANNEL_OPENED tells; until then it waits. VM_EVENT_CHANNEL_MISMATCH tells that it did so otherwise.
///
/// Errors: as vm_send.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_open_channel(
    peer: vm_peer,
    with_peer: *const vm_peer_id,
    channel: u8,
    reliability: i32,
) -> vm_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let other = unsafe { memory::read(with_peer, "with_peer")? };
        let how = chosen(reliability)?;
        sent(peer, |peer| peer.open_channel(other.into(), channel, how))
    })
}

/// Closes a data channel; what was sent before arrives. Harmless when it is not open. Errors: as vm_send.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_close_channel(peer: vm_peer, with_peer: *const vm_peer_id, channel: u8) -> vm_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let other = unsafe { memory::read(with_peer, "with_peer")? };
        sent(peer, |peer| peer.close_channel(other.into(), channel))
    })
}

/// Sends a message on a data channel that this side has open.
///
/// Errors: as vm_send, and VM_ERROR_CHANNEL_CLOSED, VM_ERROR_CHANNEL_MISMATCH.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_send_on(
    peer: vm_peer,
    to: *const vm_peer_id,
    channel: u8,
    data: *const u8,
    length: usize,
) -> vm_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let (to, data) = unsafe { (memory::read(to, "to")?, memory::bytes(data, length, "data")?) };
        sent(peer, |peer| peer.send_on(to.into(), channel, data))
    })
}

/// Closes every data channel with a peer, and drops what waits to be sent to it. It stays in the room, and is heard.
///
/// Errors: VM_ERROR_NULL, VM_ERROR_BAD_HANDLE, VM_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_disconnect(peer: vm_peer, from: *const vm_peer_id) -> vm_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let from = unsafe { memory::read(from, "from")? };
        sent(peer, |peer| {
            peer.disconnect(from.into());
            Ok(())
        })
    })
}

/// How many reliable bytes wait to be sent to a peer, or are not known to have arrived.
///
/// Errors: VM_ERROR_NULL, VM_ERROR_BAD_HANDLE, VM_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_queued_bytes(peer: vm_peer, to: *const vm_peer_id, count: *mut usize) -> vm_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let to = unsafe { memory::read(to, "to")? };
        let queued = with(peer, |peer| Ok(peer.queued_bytes(to.into())))?;
        // SAFETY: the header's promise.
        unsafe { memory::write(count, queued, "count")? };
        Ok(vm_result::VM_OK)
    })
}

/// With vm_options.manual_flush: lets what was sent since the last time leave, at the end of a frame. Otherwise it does nothing.
///
/// Errors: VM_ERROR_BAD_HANDLE, VM_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vm_flush(peer: vm_peer) -> vm_result {
    guarded(|| {
        sent(peer, |peer| {
            peer.flush();
            Ok(())
        })
    })
}

fn sent(peer: vm_peer, call: impl FnOnce(&mut Peer) -> Result<(), SendError>) -> Result<vm_result, Fault> {
    with(peer, |peer| call(peer).map(|()| vm_result::VM_OK).map_err(|error| refused(&error)))
}

fn refused(error: &SendError) -> Fault {
    let result = match error {
        SendError::WouldBlock { .. } => vm_result::VM_ERROR_WOULD_BLOCK,
        SendError::TooLarge { .. } => vm_result::VM_ERROR_TOO_LARGE,
        SendError::UnknownPeer => vm_result::VM_ERROR_UNKNOWN_PEER,
        SendError::Unsupported => vm_result::VM_ERROR_UNSUPPORTED,
        SendError::ChannelClosed => vm_result::VM_ERROR_CHANNEL_CLOSED,
        SendError::ChannelMismatch { .. } => vm_result::VM_ERROR_CHANNEL_MISMATCH,
        SendError::Left => vm_result::VM_ERROR_LEFT,
        // What a later version may add.
        _ => vm_result::VM_ERROR_INTERNAL,
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
