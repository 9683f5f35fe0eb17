//! Handles to speak by: as long as one is open, its audience is spoken to.

use std::ffi::c_char;
use std::sync::Mutex;

use voicemesh::{Priority, Transmission, TransmitOptions, VoiceAudience};
use voicemesh_common::lock;

use crate::guard::{Fault, guarded};
use crate::handles::Table;
use crate::room::{self, vmesh_room, with};
use crate::{memory, vmesh_peer_id, vmesh_result};

/// A talk group or a peer that is spoken to. 0 is none.
pub type vmesh_transmission = u64;

/// As many as the crate below takes.
static TRANSMISSIONS: Table<Mutex<Transmission>> = Table::new(5);

/// The highest volume of speech to an audience, as a factor.
const MOST_VOLUME: f32 = 2.0;

/// Speaks to a talk group until vmesh_transmission_close, in addition to all that is spoken to
/// already. Where several handles speak to one audience, the highest volume and the highest
/// priority count, and it is positional only if all are. VMESH_EVENT_WARNED reports what cannot be
/// done (more than 64 audiences at a time).
///
/// `volume` is a factor of 0.0 to 2.0; `priority` a vmesh_priority; `positional` says whether those
/// who know where this peer stands hear it from there. The handle is the program's to close.
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_TOO_MANY,
/// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED; *transmission is then 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_room_transmit_to_group(
    room: vmesh_room,
    name: *const c_char,
    length: usize,
    volume: f32,
    priority: i32,
    positional: i32,
    transmission: *mut vmesh_transmission,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        unsafe { memory::write(transmission, 0, "transmission")? };
        // SAFETY: the header's promise.
        let name = unsafe { memory::text(name, length, "name")? };
        let handle = open(
            room,
            VoiceAudience::Group(name.to_owned()),
            chosen(volume, priority, positional)?,
        )?;
        // SAFETY: as above.
        unsafe { memory::write(transmission, handle, "transmission")? };
        Ok(vmesh_result::VMESH_OK)
    })
}

/// Speaks to one peer; otherwise as vmesh_room_transmit_to_group.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_room_transmit_to_peer(
    room: vmesh_room,
    to: *const vmesh_peer_id,
    volume: f32,
    priority: i32,
    positional: i32,
    transmission: *mut vmesh_transmission,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        unsafe { memory::write(transmission, 0, "transmission")? };
        // SAFETY: the header's promise.
        let to = unsafe { memory::read(to, "to")? };
        let handle =
            open(room, VoiceAudience::Peer(to.into()), chosen(volume, priority, positional)?)?;
        // SAFETY: as above.
        unsafe { memory::write(transmission, handle, "transmission")? };
        Ok(vmesh_result::VMESH_OK)
    })
}

/// From the next frame on, otherwise; the three as in vmesh_room_transmit_to_group.
///
/// Errors: VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_transmission_set(
    transmission: vmesh_transmission,
    volume: f32,
    priority: i32,
    positional: i32,
) -> vmesh_result {
    guarded(|| {
        let options = chosen(volume, priority, positional)?;
        let open = TRANSMISSIONS.find(transmission)?;
        let mut open = lock(&open);
        open.set_volume(options.volume);
        open.set_priority(options.priority);
        open.set_positional(options.positional);
        Ok(vmesh_result::VMESH_OK)
    })
}

/// Ceases to speak by this handle. Closing it again, or closing 0, does nothing. Error:
/// VMESH_ERROR_BAD_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_transmission_close(transmission: vmesh_transmission) -> vmesh_result {
    guarded(|| {
        if transmission != 0 {
            TRANSMISSIONS.close(transmission)?;
        }
        Ok(vmesh_result::VMESH_OK)
    })
}

/// Begins to listen to a talk group, without speaking to it: at most 64 of them.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_group_listen(
    room: vmesh_room,
    group: *const c_char,
    length: usize,
) -> vmesh_result {
    // SAFETY: the header's promise.
    let name = || unsafe { memory::text(group, length, "group") };
    guarded(|| room::group(room, name()?, |group| group.listen()))
}

/// Stops listening to a talk group; speaking to it is not affected. Errors: as vmesh_group_listen.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_group_stop_listening(
    room: vmesh_room,
    group: *const c_char,
    length: usize,
) -> vmesh_result {
    // SAFETY: the header's promise.
    let name = || unsafe { memory::text(group, length, "group") };
    guarded(|| room::group(room, name()?, |group| group.stop_listening()))
}

fn open(
    room: vmesh_room,
    audience: VoiceAudience,
    options: TransmitOptions,
) -> Result<vmesh_transmission, Fault> {
    let transmission = with(room, |backend| Ok(backend.transmit_to(audience, options)))?;
    TRANSMISSIONS.open(Mutex::new(transmission))
}

fn chosen(volume: f32, priority: i32, positional: i32) -> Result<TransmitOptions, Fault> {
    if !(0.0..=MOST_VOLUME).contains(&volume) {
        return Err(Fault::value("volume", volume));
    }
    let priority = match priority {
        -1 => Priority::Low,
        0 => Priority::Default,
        1 => Priority::Medium,
        2 => Priority::High,
        _ => return Err(Fault::value("priority", priority)),
    };
    Ok(TransmitOptions { volume, priority, positional: positional != 0 })
}
