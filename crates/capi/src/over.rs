//! Voice over a network that the game has: [`crate::network`] is its table of functions.

use voicemesh::over::{Mode, Voice, polled};

use crate::backend::Backend;
use crate::guard::{Fault, guarded};
use crate::memory;
use crate::network::{NO_NETWORK, OpenNetwork, ProgramNetwork, vmesh_network};
use crate::options::{self, vmesh_options};
use crate::room::{OpenRoom, ROOMS, vmesh_room};
use crate::{vmesh_mode, vmesh_result};

/// Opens a voice over a network that the game has, without a server of ours and without a room. The
/// network is asked nothing yet. Of the options count name, input, output, input_channel,
/// activation, release_ms, uplink_bps, muted, the processing, positional, handedness, program_input,
/// program_output and room_key, without which nothing is encrypted.
///
/// All functions that take a vmesh_room take this handle; those about rooms, lobbies, moderation,
/// messages, channels and recordings give VMESH_ERROR_NO_ROOM. The handle is the program's to
/// close, with vmesh_room_close, on the network's thread. `network` is copied; each of its
/// functions must be there but those that may be null, and be of use until vmesh_room_close
/// returns, or, if one of them calls it, until vmesh_over_update does. Errors: VMESH_ERROR_NULL,
/// VMESH_ERROR_BAD_SIZE, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_NAME,
/// VMESH_ERROR_DEVICE, VMESH_ERROR_SYSTEM, VMESH_ERROR_TOO_MANY; *room is then 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_over_new(
    options: *const vmesh_options,
    network: *const vmesh_network,
    room: *mut vmesh_room,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        unsafe { memory::write(room, 0, "room")? };
        // SAFETY: the header's promise.
        let options = unsafe { options::read_over(options)? };
        // SAFETY: the header's promise.
        let table = unsafe { memory::read_sized(network, NO_NETWORK, "network")? };
        let (network, pump) = polled(ProgramNetwork::new(table)?);
        let voice = Voice::new(options, network).map_err(|error| options::refused(&error))?;
        let network = OpenNetwork::new(pump);
        let handle = ROOMS.open(OpenRoom::new(Backend::Over(Box::new(voice)), network))?;
        // SAFETY: as above.
        unsafe { memory::write(room, handle, "room")? };
        Ok(vmesh_result::VMESH_OK)
    })
}

/// Once a frame, on the thread to which the game's network belongs: does with the network what the
/// voice wants, takes in what has come, and takes up the situation that vmesh_room_snapshot,
/// vmesh_room_peers and vmesh_participant_level show until the next call.
///
/// While it is not called nothing is sent, and what was said is left out, but for the last 400 ms.
/// Errors: VMESH_ERROR_NO_NETWORK, VMESH_ERROR_WOULD_BLOCK (it is being called already: by another
/// thread, or by the function of the network that calls it), VMESH_ERROR_BAD_HANDLE,
/// VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_over_update(room: vmesh_room) -> vmesh_result {
    guarded(|| {
        let open = ROOMS.find(room)?;
        open.network.update()?;
        if open.network.is_closed_within() {
            open.network.close();
        }
        open.with_mut(|backend| {
            backend.over()?.update();
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// Keeps a voice in the mode of the game's own network, a vmesh_mode; call it each frame. What does
/// not start, or is lost while the game's network is not, is tried again after 1, 2, 4 and then
/// every 8 seconds; VMESH_EVENT_SERVER_AWAY reports that.
///
/// Errors: VMESH_ERROR_BAD_VALUE, VMESH_ERROR_NO_NETWORK, VMESH_ERROR_BAD_HANDLE,
/// VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_over_follow(room: vmesh_room, mode: i32) -> vmesh_result {
    guarded(|| {
        let mode = chosen(mode)?;
        ROOMS.find(room)?.with_mut(|backend| {
            backend.over()?.follow(mode, || (), || ());
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// Starts a voice by hand, or stops it with VMESH_MODE_NONE; ends what ran before. What does not
/// start, or ends by itself, is not tried again: VMESH_EVENT_REFUSED reports it. Where texts wait
/// for the keys of others (room_key of the options), VMESH_MODE_NONE takes effect when they are
/// sent, after 0.4 s at most, in which vmesh_over_update goes on; vmesh_over_mode says when.
/// Errors as vmesh_over_follow.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_over_run(room: vmesh_room, mode: i32) -> vmesh_result {
    guarded(|| {
        let mode = chosen(mode)?;
        ROOMS.find(room)?.with_mut(|backend| {
            let voice = backend.over()?;
            match mode {
                Mode::None => voice.stop(),
                Mode::Client => voice.run_as_client(()),
                Mode::DedicatedServer => voice.run_as_dedicated_server(()),
                Mode::Host => voice.run_as_host(()),
            }
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// What a voice is now: *mode becomes a vmesh_mode, as of the last vmesh_over_update. Whether it is
/// in a session says `connected` of vmesh_snapshot.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_NO_NETWORK, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_over_mode(room: vmesh_room, mode: *mut i32) -> vmesh_result {
    guarded(|| {
        let name = ROOMS.find(room)?.with_mut(|backend| Ok(backend.over()?.snapshot().mode))?;
        let now = MODES.into_iter().find(|(_, one)| one.to_string() == name);
        let number = now.map_or(vmesh_mode::VMESH_MODE_NONE, |(number, _)| number);
        // SAFETY: the header's promise.
        unsafe { memory::write(mode, number as i32, "mode")? };
        Ok(vmesh_result::VMESH_OK)
    })
}

const MODES: [(vmesh_mode, Mode); 4] = [
    (vmesh_mode::VMESH_MODE_NONE, Mode::None),
    (vmesh_mode::VMESH_MODE_CLIENT, Mode::Client),
    (vmesh_mode::VMESH_MODE_SERVER, Mode::DedicatedServer),
    (vmesh_mode::VMESH_MODE_HOST, Mode::Host),
];

fn chosen(mode: i32) -> Result<Mode, Fault> {
    let known = MODES.into_iter().find(|(number, _)| *number as i32 == mode);
    known.map(|(_, mode)| mode).ok_or_else(|| Fault::value("mode", mode))
}
