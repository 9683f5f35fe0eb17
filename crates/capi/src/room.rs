//! A room, as it is joined, polled, spoken to and left.

use std::ffi::c_char;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use voicemesh::{Group, JoinOptions, RecordError, Room, TimedEvent};
use voicemesh_common::lock;

use crate::backend::Backend;
use crate::event::{self, Current, vmesh_event};
use crate::guard::{Fault, Outcome, guarded};
use crate::handles::Table;
use crate::network::OpenNetwork;
use crate::options::{self, vmesh_options};
use crate::{VMESH_ABI_VERSION, memory, vmesh_peer_id, vmesh_result};

/// This program's own place in a room. 0 is none.
pub type vmesh_room = u64;

/// How often vmesh_events_wait polls. It holds no lock in between, so that other threads can use
/// the handle.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// The highest volume of a peer, as a factor.
const MOST_GAIN: f32 = 4.0;

pub(crate) static ROOMS: Table<OpenRoom> = Table::new(1);

/// What a handle stands for.
pub(crate) struct OpenRoom {
    slot: Mutex<RoomSlot>,
    /// The half of the game's network that the game keeps. Under a separate lock, so that the
    /// network's functions can call others with the handle.
    pub(crate) network: OpenNetwork,
    /// What the last event points to. Under a separate lock, so that reading an event does not
    /// block calls from other threads.
    current: Mutex<Current>,
}

struct RoomSlot {
    /// `None` while and after it is closed.
    open: Option<Backend>,
    /// Taken by vmesh_events_wait, not yet by vmesh_events_poll.
    next: Option<TimedEvent>,
}

impl OpenRoom {
    pub(crate) fn new(backend: Backend, network: OpenNetwork) -> Self {
        let slot = Mutex::new(RoomSlot { open: Some(backend), next: None });
        Self { slot, network, current: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, RoomSlot> {
        lock(&self.slot)
    }

    pub(crate) fn with_mut<T>(
        &self,
        call: impl FnOnce(&mut Backend) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        call(self.lock().open.as_mut().ok_or_else(closed)?)
    }
}

/// Runs a call on an open handle, whatever it is.
pub(crate) fn with<T>(
    room: vmesh_room,
    call: impl FnOnce(&Backend) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let open = ROOMS.find(room)?;
    let slot = open.lock();
    call(slot.open.as_ref().ok_or_else(closed)?)
}

/// Runs a call on a room.
pub(crate) fn with_room<T>(
    room: vmesh_room,
    call: impl FnOnce(&Room) -> Result<T, Fault>,
) -> Result<T, Fault> {
    with(room, |backend| call(backend.room()?))
}

fn closed() -> Fault {
    Fault::new(vmesh_result::VMESH_ERROR_CLOSED, "the handle was closed; open a new one")
}

/// A call that can only fail by its handle.
fn done(room: vmesh_room, call: impl FnOnce(&Backend)) -> vmesh_result {
    guarded(|| {
        with(room, |backend| {
            call(backend);
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// The number VMESH_ABI_VERSION of the header that this library was built with. A program that was
/// built with another should not go on.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_abi_version() -> u32 {
    VMESH_ABI_VERSION
}

/// The library's version, "0.1.0" for example; constant.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Begins to join a room, and gives the handle. Events report whether that works:
/// VMESH_EVENT_JOINED, VMESH_EVENT_SERVER_AWAY, VMESH_EVENT_REFUSED.
///
/// The handle is the program's to close, with vmesh_room_close. Returns at once but for opening
/// devices. Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_SIZE, VMESH_ERROR_BAD_TEXT,
/// VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_SERVER, VMESH_ERROR_BAD_NAME, VMESH_ERROR_DEVICE,
/// VMESH_ERROR_RECORDING, VMESH_ERROR_CERTIFICATE, VMESH_ERROR_SYSTEM, VMESH_ERROR_TOO_MANY; *room
/// is then 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_room_join(
    options: *const vmesh_options,
    room: *mut vmesh_room,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        unsafe { memory::write(room, 0, "room")? };
        // SAFETY: the header's promise.
        let options = unsafe { options::read(options)? };
        let (joined, events) = Room::join(options).map_err(|error| options::refused(&error))?;
        let backend = Backend::Room(joined, events);
        let handle = ROOMS.open(OpenRoom::new(backend, OpenNetwork::default()))?;
        // SAFETY: as above.
        unsafe { memory::write(room, handle, "room")? };
        Ok(vmesh_result::VMESH_OK)
    })
}

/// Copies a link to a room with a new key, drawn from the system's randomness, with a NUL behind it,
/// into the program's buffer. Who joins by it encrypts end to end; who does not have it hears nothing
/// of what is said. `room` may be a link itself: the new one then leads to that link's server.
///
/// *needed, unless it is null, becomes the bytes that takes; with VMESH_ERROR_BUFFER nothing was
/// copied, and the next call draws another key. Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT,
/// VMESH_ERROR_BAD_SERVER, VMESH_ERROR_BAD_NAME, VMESH_ERROR_BUFFER, VMESH_ERROR_SYSTEM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_options_new_link(
    server: *const c_char,
    server_length: usize,
    room: *const c_char,
    room_length: usize,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let server = unsafe { memory::text(server, server_length, "server")? };
        // SAFETY: the header's promise.
        let room = unsafe { memory::text(room, room_length, "room")? };
        let options = JoinOptions::new(server, room).follow_link();
        let link = options.and_then(JoinOptions::new_room_key).and_then(|with| with.invitation());
        let link = link.map_err(|error| options::refused(&error))?;
        // SAFETY: the header's promise.
        unsafe { memory::copy_out(&link, buffer, capacity, needed) }
    })
}

/// The next thing that happened: VMESH_OK and an event, or VMESH_EMPTY and one of the type
/// VMESH_EVENT_NONE. Never blocks. The order is that in which things happened.
///
/// event->size must be set. What the event points to stays as it is until the next
/// vmesh_events_poll on this handle, or vmesh_room_close; so one thread at a time polls a handle.
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_SIZE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_events_poll(
    room: vmesh_room,
    event: *mut vmesh_event,
) -> vmesh_result {
    guarded(|| {
        // Before anything is taken: an event must not be lost to a wrong size.
        // SAFETY: the header's promise.
        unsafe { memory::write_sized(event, event::NONE, "event")? };
        let open = ROOMS.find(room)?;
        let timed = {
            let mut slot = open.lock();
            match slot.next.take() {
                Some(timed) => Some(timed),
                None => slot.open.as_mut().ok_or_else(closed)?.poll_timed(),
            }
        };
        let mut current = lock(&open.current);
        let Some(timed) = timed else {
            current.clear();
            return Ok(vmesh_result::VMESH_EMPTY);
        };
        // SAFETY: the header's promise.
        unsafe { memory::write_sized(event, current.keep(timed), "event")? };
        Ok(vmesh_result::VMESH_OK)
    })
}

/// Waits until there is something to poll, at most so long: VMESH_OK if there is, VMESH_EMPTY if
/// not. For programs without a frame loop of their own.
///
/// Other threads can use the handle meanwhile, and closing it ends the waiting. Errors:
/// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
#[expect(
    clippy::disallowed_methods,
    reason = "several threads may wait for one peer, whose events one of them takes"
)]
pub extern "C" fn vmesh_events_wait(room: vmesh_room, at_most_ms: u32) -> vmesh_result {
    guarded(|| {
        let deadline = Instant::now() + Duration::from_millis(at_most_ms.into());
        let open = ROOMS.find(room)?;
        loop {
            if is_pending(&open)? {
                return Ok(vmesh_result::VMESH_OK);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(vmesh_result::VMESH_EMPTY);
            }
            thread::sleep(left.min(POLL_INTERVAL));
        }
    })
}

fn is_pending(open: &Arc<OpenRoom>) -> Result<bool, Fault> {
    let mut slot = open.lock();
    let RoomSlot { open, next } = &mut *slot;
    let backend = open.as_mut().ok_or_else(closed)?;
    if next.is_none() {
        *next = backend.poll_timed();
    }
    Ok(next.is_some())
}

/// Leaves the room, waits until the others have been told (at most a second), and closes the
/// handle.
///
/// Closing it again, or closing 0, does nothing and gives VMESH_OK. Calls that other threads make
/// with the handle give VMESH_ERROR_CLOSED from now on. A program that ends without it is noticed
/// by the others after some seconds. Of a voice over a game's network, a vmesh_over_update on
/// another thread is waited for. Error: VMESH_ERROR_BAD_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_room_close(room: vmesh_room) -> vmesh_result {
    guarded(|| {
        if room == 0 {
            return Ok(vmesh_result::VMESH_OK);
        }
        if let Some(open) = ROOMS.close(room)? {
            // A separate statement: the lock must not be held while leaving.
            let taken = open.lock().open.take();
            drop(taken);
            open.network.close();
        }
        Ok(vmesh_result::VMESH_OK)
    })
}

/// Muted, nothing is sent. Errors: VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_microphone_set_muted(room: vmesh_room, muted: i32) -> vmesh_result {
    done(room, |backend| backend.microphone().set_muted(muted != 0))
}

/// Deafened, nothing is heard. Errors: VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_speaker_set_deafened(room: vmesh_room, deafened: i32) -> vmesh_result {
    done(room, |backend| backend.speaker().set_deafened(deafened != 0))
}

/// Whether the key to talk is held; it matters with VMESH_ACTIVATION_PUSH_TO_TALK only. Errors:
/// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_microphone_set_talking(room: vmesh_room, talking: i32) -> vmesh_result {
    done(room, |backend| backend.microphone().set_talking(talking != 0))
}

/// When the microphone's sound is sent, from now on: a vmesh_activation, but not the default;
/// release_ms as in vmesh_options.
///
/// Errors: VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_microphone_set_activation(
    room: vmesh_room,
    activation: i32,
    release_ms: u32,
) -> vmesh_result {
    guarded(|| {
        let chosen = options::activation(activation, release_ms)?;
        let chosen = chosen
            .ok_or_else(|| Fault::value("activation", "the default once the room is joined"))?;
        with(room, |backend| {
            backend.microphone().set_activation(chosen);
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// What is done to the microphone's sound, from now on; the four as in vmesh_options.
///
/// Errors: VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_microphone_set_processing(
    room: vmesh_room,
    echo_cancellation: i32,
    noise_suppression: i32,
    automatic_gain: i32,
    high_pass: i32,
) -> vmesh_result {
    guarded(|| {
        let chosen =
            options::processing(echo_cancellation, noise_suppression, automatic_gain, high_pass)?;
        with(room, |backend| {
            backend.microphone().set_processing(chosen);
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// Changes the microphone, named as in vmesh_options; the one in use goes on until the new one is
/// open. VMESH_EVENT_DEVICE_REFUSED reports one that cannot be opened.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_DEVICE, VMESH_ERROR_BAD_HANDLE,
/// VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_microphone_set_input(
    room: vmesh_room,
    input: *const c_char,
    length: usize,
) -> vmesh_result {
    // SAFETY: the header's promise.
    let text = || unsafe { memory::text(input, length, "input") };
    guarded(|| {
        let input = options::input_spec(or_default(text()?))?;
        with(room, |backend| {
            backend.microphone().set_input(input);
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// Changes the speaker; otherwise as vmesh_microphone_set_input.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_speaker_set_output(
    room: vmesh_room,
    output: *const c_char,
    length: usize,
) -> vmesh_result {
    // SAFETY: the header's promise.
    let text = || unsafe { memory::text(output, length, "output") };
    guarded(|| {
        let output = options::output_spec(or_default(text()?))?;
        with(room, |backend| {
            backend.speaker().set_output(output);
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

fn or_default(text: &str) -> &str {
    if text.is_empty() { "default" } else { text }
}

/// Begins a recording of the room in a folder, one Ogg/Opus file per speaker, as `record` of
/// vmesh_options does at the join. VMESH_OK means that it is announced: nothing is recorded before
/// everyone in the room can see that it is on, which is when `recording` of vmesh_snapshot says so,
/// a round trip to the server later. VMESH_EVENT_RECORDING_FAILED reports that it comes to nothing,
/// or has ended early.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_RECORDING
/// (nothing can be written there), VMESH_ERROR_ALREADY_RECORDING, VMESH_ERROR_SERVER_AWAY,
/// VMESH_ERROR_WOULD_BLOCK, VMESH_ERROR_LEFT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_room_start_recording(
    room: vmesh_room,
    folder: *const c_char,
    length: usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let folder = unsafe { memory::text(folder, length, "folder")? };
        if folder.is_empty() {
            return Err(Fault::value("folder", "empty"));
        }
        with_room(room, |room| {
            room.start_recording(folder).map(|()| vmesh_result::VMESH_OK).map_err(not_recorded)
        })
    })
}

/// Ends the recording, if one is kept. Errors: VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_room_stop_recording(room: vmesh_room) -> vmesh_result {
    guarded(|| {
        with_room(room, |room| {
            room.stop_recording();
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// Whether this peer records now: *recording becomes 1 once everyone in the room can see it, and 0
/// when the recording has ended; as `recording` of vmesh_snapshot.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_room_is_recording(
    room: vmesh_room,
    recording: *mut i32,
) -> vmesh_result {
    guarded(|| {
        let is_on = with(room, |backend| Ok(backend.read_snapshot(|now| now.recording)))?;
        // SAFETY: the header's promise.
        unsafe { memory::write(recording, is_on.into(), "recording")? };
        Ok(vmesh_result::VMESH_OK)
    })
}

fn not_recorded(error: RecordError) -> Fault {
    let result = match error {
        RecordError::ServerAway => vmesh_result::VMESH_ERROR_SERVER_AWAY,
        RecordError::AlreadyRecording => vmesh_result::VMESH_ERROR_ALREADY_RECORDING,
        RecordError::Busy => vmesh_result::VMESH_ERROR_WOULD_BLOCK,
        RecordError::Left => vmesh_result::VMESH_ERROR_LEFT,
        // `Folder`, and what a later version may add.
        _ => vmesh_result::VMESH_ERROR_RECORDING,
    };
    Fault::new(result, error.to_string())
}

/// How loud a peer is heard: a factor from 0.0 to 4.0, 1.0 as spoken. A peer that is not in the
/// room is passed over.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_set_gain(
    room: vmesh_room,
    of: *const vmesh_peer_id,
    gain: f32,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let of = unsafe { memory::read(of, "of")? };
        if !(0.0..=MOST_GAIN).contains(&gain) {
            return Err(Fault::value("gain", gain));
        }
        with(room, |backend| {
            backend.member(of.into()).set_gain(gain);
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// Whether a peer is not heard. A peer that is not in the room is passed over.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_set_muted(
    room: vmesh_room,
    of: *const vmesh_peer_id,
    muted: i32,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let of = unsafe { memory::read(of, "of")? };
        with(room, |backend| {
            backend.member(of.into()).set_muted(muted != 0);
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// The access token from now on; answers VMESH_EVENT_TOKEN_NEEDED. At most 4096 bytes.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_lobby_set_token(
    room: vmesh_room,
    token: *const c_char,
    length: usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let token = unsafe { memory::text(token, length, "token")? };
        with_room(room, |room| {
            room.lobby().set_token(token);
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// Writes to one peer: at most 4096 bytes. VMESH_EVENT_WARNED reports what cannot be sent.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_send_text(
    room: vmesh_room,
    to: *const vmesh_peer_id,
    text: *const c_char,
    length: usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let to = unsafe { memory::read(to, "to")? };
        // SAFETY: the header's promise.
        let text = unsafe { memory::text(text, length, "text")? };
        with(room, |backend| {
            backend.member(to.into()).send_text(text);
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// Writes to everyone in the room; otherwise as vmesh_participant_send_text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_room_send_text(
    room: vmesh_room,
    text: *const c_char,
    length: usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let text = unsafe { memory::text(text, length, "text")? };
        with(room, |backend| {
            backend.send_text(text);
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// Writes to everyone who listens to a talk group, whose name has at most 256 bytes: at most 4096
/// bytes. This peer need not listen to it. vmesh_room_send_text writes to "Global". A text that
/// cannot be sent raises VMESH_EVENT_WARNED.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_group_send_text(
    room: vmesh_room,
    group: *const c_char,
    group_length: usize,
    text: *const c_char,
    length: usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let group = unsafe { memory::text(group, group_length, "group")? };
        // SAFETY: the header's promise.
        let text = unsafe { memory::text(text, length, "text")? };
        with(room, |backend| {
            backend.group(group).send_text(text);
            Ok(vmesh_result::VMESH_OK)
        })
    })
}

/// Begins to listen and speak to a talk group, whose name has at most 256 bytes. Everybody begins
/// in "Global".
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_group_join(
    room: vmesh_room,
    name: *const c_char,
    length: usize,
) -> vmesh_result {
    // SAFETY: the header's promise.
    let name = || unsafe { memory::text(name, length, "name") };
    guarded(|| group(room, name()?, |group| group.join()))
}

/// Ceases to listen and speak to a talk group. Errors as vmesh_group_join.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_group_leave(
    room: vmesh_room,
    name: *const c_char,
    length: usize,
) -> vmesh_result {
    // SAFETY: the header's promise.
    let name = || unsafe { memory::text(name, length, "name") };
    guarded(|| group(room, name()?, |group| group.leave()))
}

/// A call about a talk group.
pub(crate) fn group(room: vmesh_room, name: &str, call: impl FnOnce(Group<'_>)) -> Outcome {
    with(room, |backend| {
        call(backend.group(name));
        Ok(vmesh_result::VMESH_OK)
    })
}
