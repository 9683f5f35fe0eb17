//! The situation, asked for: one's own, and everyone else's.

use std::borrow::Cow;
use std::ffi::c_char;
use std::mem::{offset_of, size_of};
use std::time::Duration;

use voicemesh::{PeerState, Snapshot};

use crate::event::{permission_bits, route_number, status_bits};
use crate::guard::{Fault, guarded};
use crate::memory::{self, Plain, Sized32};
use crate::room::{vmesh_room, with};
use crate::{vmesh_peer_id, vmesh_result};

/// How quiet nothing is.
pub(crate) const SILENCE_DBFS: f32 = -120.0;

/// One's own situation, as of a few milliseconds ago.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmesh_snapshot {
    /// sizeof(vmesh_snapshot), set by the program.
    pub size: u32,
    /// Whether this peer is in the room's session.
    pub connected: i32,
    /// The own id; zeros until VMESH_EVENT_JOINED.
    pub you: vmesh_peer_id,
    /// Frames that the microphone has made.
    pub frames_spoken: u64,
    /// How many others there are.
    pub peer_count: u32,
    /// Nothing is sent.
    pub muted: i32,
    /// Nothing is heard.
    pub deafened: i32,
    /// The key to talk is held.
    pub talking: i32,
    /// This peer keeps a recording of the room.
    pub recording: i32,
    /// What the microphone gives is sent now.
    pub sending: i32,
    /// How loud the microphone was lately, after processing: -120 is silence.
    pub level_dbfs: f32,
    /// The loudest sample lately, as captured.
    pub peak_dbfs: f32,
    /// How loud it is without speech.
    pub noise_floor_dbfs: f32,
    /// How sure the detector is that there is speech: 0.0 to 1.0.
    pub speech_probability: f32,
    /// Payload of one stream, in bits per second.
    pub bitrate_bps: u32,
    /// What all streams together take during speech, in bits per second.
    pub uplink_bps: u32,
    /// The most that a listener lost lately: 0.0 to 1.0.
    pub worst_loss: f32,
    /// Whether the microphone was too loud for the device lately.
    pub clipping: i32,
    /// There is no microphone: none was chosen, or it is lost.
    pub listening_only: i32,
    /// Bits of vmesh_permission: what this peer may do.
    pub permissions: i32,
    /// In how many talk groups a moderator holds this peer; see vmesh_participant_held_group.
    pub held_groups: u32,
    /// Zero.
    pub reserved: i32,
    /// Events that the program did not take in time, and that are lost.
    pub events_dropped: u64,
}

// SAFETY: numbers.
unsafe impl Plain for vmesh_snapshot {}
// SAFETY: repr(C), and size comes first.
unsafe impl Sized32 for vmesh_snapshot {
    const FIRST: usize = offset_of!(vmesh_snapshot, clipping) + size_of::<i32>();
}

/// Another peer, as of a few milliseconds ago.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmesh_peer_state {
    /// sizeof(vmesh_peer_state).
    pub size: u32,
    /// A vmesh_route.
    pub route: i32,
    /// Who.
    pub peer: vmesh_peer_id,
    /// The name to show: followed by # and the beginning of its id if it looks like the name of
    /// another peer in the room.
    pub name: [c_char; 72],
    /// It speaks.
    pub speaking: i32,
    /// It is not heard because this peer muted it.
    pub muted: i32,
    /// It keeps a recording of the room.
    pub recording: i32,
    /// How loud it was lately: -120 is silence.
    pub level_dbfs: f32,
    /// How loud it is heard: a factor.
    pub gain: f32,
    /// Of its frames, those lost on the way lately: 0.0 to 1.0.
    pub loss: f32,
    /// The link's round trip in microseconds; negative until measured.
    pub round_trip_us: i64,
    /// From its microphone to this speaker, in microseconds; negative until measured.
    pub delay_us: i64,
    /// How long its frames lately waited to be heard, in microseconds.
    pub buffer_us: i64,
    /// Frames received from it, each once.
    pub frames_received: u64,
    /// Frames of it that were heard.
    pub frames_heard: u64,
    /// Frames of it that were concealed.
    pub frames_concealed: u64,
    /// Its place in the order of arrival; a peer that came earlier has a lower one.
    pub order: u64,
    /// Bits of vmesh_status: how it takes part, as its own program says.
    pub status: i32,
    /// Bits of vmesh_permission: what it may do.
    pub permissions: i32,
    /// In how many talk groups a moderator holds it; see vmesh_participant_held_group.
    pub held_groups: u32,
    /// Zero.
    pub reserved: i32,
}

// SAFETY: numbers and an array of them.
unsafe impl Plain for vmesh_peer_state {}
// SAFETY: repr(C), and size comes first.
unsafe impl Sized32 for vmesh_peer_state {
    const FIRST: usize = offset_of!(vmesh_peer_state, order) + size_of::<u64>();
}

/// What fits into [`vmesh_peer_state::name`] in front of the NUL.
const LABEL_BYTES: usize = size_of::<[c_char; 72]>() - 1;

/// Tells one's own situation. state->size must be set.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_SIZE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_room_snapshot(
    room: vmesh_room,
    state: *mut vmesh_snapshot,
) -> vmesh_result {
    guarded(|| {
        let snapshot = with(room, |backend| Ok(backend.snapshot()))?;
        // SAFETY: the header's promise.
        unsafe { memory::write_sized(state, own(&snapshot), "state")? };
        Ok(vmesh_result::VMESH_OK)
    })
}

/// Tells of everyone else, in order of arrival: at most `capacity` of them, one behind the other.
/// *count becomes the number of all, which may be more.
///
/// `size` is sizeof(vmesh_peer_state); peers may be null if capacity is 0. Errors:
/// VMESH_ERROR_NULL, VMESH_ERROR_BAD_SIZE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_room_peers(
    room: vmesh_room,
    peers: *mut vmesh_peer_state,
    size: u32,
    capacity: usize,
    count: *mut usize,
) -> vmesh_result {
    guarded(|| {
        let size = size as usize;
        memory::check_size::<vmesh_peer_state>(size, "vmesh_peer_state")?;
        if peers.is_null() && capacity != 0 {
            return Err(Fault::null("peers"));
        }
        let snapshot = with(room, |backend| Ok(backend.snapshot()))?;
        // SAFETY: the header's promise.
        unsafe { memory::write(count, snapshot.peers.len(), "count")? };
        for (number, state) in snapshot.peers.iter().take(capacity).enumerate() {
            // SAFETY: the caller has room for `capacity` structures of `size` bytes, and `number`
            // is below that.
            unsafe {
                memory::write_part(peers.cast::<u8>().add(number * size), remote(state), size)
            };
        }
        Ok(vmesh_result::VMESH_OK)
    })
}

/// How loud a peer is, and whether it speaks; for mouths and lamps, each frame, at the least cost.
/// `of` null is oneself: *speaking is then whether what the microphone gives is sent. Either of the
/// two may be null.
///
/// *level_dbfs becomes -120 (silence) to 0, also for a peer that is not in the room; speech begins
/// at about -50. Errors: VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_level(
    room: vmesh_room,
    of: *const vmesh_peer_id,
    level_dbfs: *mut f32,
    speaking: *mut i32,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let of = if of.is_null() { None } else { Some(unsafe { memory::read(of, "of")? }) };
        let (level, speaks) = with(room, |backend| {
            Ok(backend.read_snapshot(|now| match of.map(voicemesh::PeerId::from) {
                None => (Some(now.microphone.level_dbfs), now.microphone.sending),
                Some(of) => {
                    let state = now.peers.iter().find(|state| state.peer == of);
                    state.map_or((None, false), |state| (state.level_dbfs, state.speaking))
                }
            }))
        })?;
        if !level_dbfs.is_null() {
            // SAFETY: the header's promise.
            unsafe { memory::write(level_dbfs, level.unwrap_or(SILENCE_DBFS), "level_dbfs")? };
        }
        if !speaking.is_null() {
            // SAFETY: the header's promise.
            unsafe { memory::write(speaking, speaks.into(), "speaking")? };
        }
        Ok(vmesh_result::VMESH_OK)
    })
}

/// Copies the talk group with that number, from 0 on, in which a moderator holds a peer, oneself if
/// `of` is null, with a NUL behind it, into the program's buffer. *needed, unless it is null,
/// becomes the bytes that takes; with VMESH_ERROR_BUFFER nothing was copied. VMESH_EMPTY: it is not
/// held in so many.
///
/// Errors: VMESH_ERROR_BUFFER, VMESH_ERROR_UNKNOWN_PEER, VMESH_ERROR_BAD_HANDLE,
/// VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_held_group(
    room: vmesh_room,
    of: *const vmesh_peer_id,
    number: usize,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let of = if of.is_null() { None } else { Some(unsafe { memory::read(of, "of")? }) };
        let found = |now: &Snapshot| match of.map(voicemesh::PeerId::from) {
            None => Some(now.held_in.get(number).cloned()),
            Some(of) => {
                let state = now.peers.iter().find(|state| state.peer == of)?;
                Some(state.held_in.get(number).cloned())
            }
        };
        match with(room, |backend| backend.read_snapshot(found).ok_or_else(Fault::unknown_peer))? {
            // SAFETY: the header's promise.
            Some(group) => unsafe { memory::copy_out(&group, buffer, capacity, needed) },
            None => Ok(vmesh_result::VMESH_EMPTY),
        }
    })
}

/// Copies what the members of the room compare to know that no server is between them, with a NUL
/// behind it, into the program's buffer: 30 digits in groups of five, the same for all of them.
/// *needed, unless it is null, becomes the bytes that takes; with VMESH_ERROR_BUFFER nothing was
/// copied. VMESH_EMPTY: this peer does not encrypt end to end. Who joined by a link with a key
/// need compare nothing.
///
/// Errors: VMESH_ERROR_BUFFER, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_room_safety_code(
    room: vmesh_room,
    buffer: *mut c_char,
    capacity: usize,
    needed: *mut usize,
) -> vmesh_result {
    guarded(|| {
        let found = |now: &Snapshot| now.safety_code.map(|code| code.to_string());
        match with(room, |backend| Ok(backend.read_snapshot(found)))? {
            // SAFETY: the header's promise.
            Some(code) => unsafe { memory::copy_out(&code, buffer, capacity, needed) },
            None => Ok(vmesh_result::VMESH_EMPTY),
        }
    })
}

/// Writes a peer's id as people see it: 36 characters and a NUL. Errors: VMESH_ERROR_NULL,
/// VMESH_ERROR_BUFFER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_peer_id_text(
    id: *const vmesh_peer_id,
    buffer: *mut c_char,
    capacity: usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let id = unsafe { memory::read(id, "id")? };
        let text = voicemesh::PeerId::from(id).to_string();
        if buffer.is_null() {
            return Err(Fault::null("buffer"));
        }
        // SAFETY: the header's promise.
        unsafe { memory::copy_out(&text, buffer, capacity, std::ptr::null_mut()) }
    })
}

fn own(snapshot: &Snapshot) -> vmesh_snapshot {
    vmesh_snapshot {
        size: 0,
        connected: snapshot.connected.into(),
        you: snapshot.you.map(vmesh_peer_id::from).unwrap_or_default(),
        frames_spoken: snapshot.frames_spoken,
        peer_count: u32::try_from(snapshot.peers.len()).unwrap_or(u32::MAX),
        muted: snapshot.muted.into(),
        deafened: snapshot.deafened.into(),
        talking: snapshot.talking.into(),
        recording: snapshot.recording.into(),
        sending: snapshot.microphone.sending.into(),
        level_dbfs: snapshot.microphone.level_dbfs,
        peak_dbfs: snapshot.microphone.peak_dbfs,
        noise_floor_dbfs: snapshot.microphone.noise_floor_dbfs,
        speech_probability: snapshot.microphone.speech_probability,
        bitrate_bps: snapshot.sending.bitrate_bps,
        uplink_bps: snapshot.sending.uplink_bps,
        worst_loss: snapshot.sending.worst_loss,
        clipping: snapshot.microphone.clipping.into(),
        listening_only: snapshot.listening_only.into(),
        permissions: permission_bits(snapshot.permissions),
        held_groups: count(&snapshot.held_in),
        reserved: 0,
        events_dropped: snapshot.drops.events,
    }
}

fn remote(state: &PeerState) -> vmesh_peer_state {
    vmesh_peer_state {
        size: 0,
        route: route_number(state.route) as i32,
        peer: state.peer.into(),
        name: memory::array(&label(&state.label)),
        speaking: state.speaking.into(),
        muted: state.muted.into(),
        recording: state.recording.into(),
        level_dbfs: state.level_dbfs.unwrap_or(SILENCE_DBFS),
        gain: state.gain,
        loss: state.loss,
        round_trip_us: micros(state.round_trip),
        delay_us: micros(state.delay),
        buffer_us: micros(Some(state.buffer)),
        frames_received: state.frames_received,
        frames_heard: state.frames_heard,
        frames_concealed: state.frames_concealed,
        order: state.order,
        status: status_bits(state.status),
        permissions: permission_bits(state.permissions),
        held_groups: count(&state.held_in),
        reserved: 0,
    }
}

fn count(groups: &[String]) -> u32 {
    u32::try_from(groups.len()).unwrap_or(u32::MAX)
}

/// The name and what follows its last `#`, which tells it from names that look alike: if both do
/// not fit, the name is cut.
fn label(label: &str) -> Cow<'_, str> {
    match label.rsplit_once('#') {
        Some((name, id)) if label.len() > LABEL_BYTES && id.len() < LABEL_BYTES => {
            let end = name.floor_char_boundary(LABEL_BYTES - id.len() - 1);
            Cow::Owned(format!("{}#{id}", &name[..end]))
        }
        Some(_) | None => Cow::Borrowed(label),
    }
}

fn micros(duration: Option<Duration>) -> i64 {
    duration.map_or(-1, |duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_and_its_short_id_is_not() {
        let name = "\u{e9}".repeat(32);
        assert_eq!(label(&format!("{name}#3f2a")), format!("{name}#3f2a"));
        let cut = label(&format!("{name}#3f2a7c01d")).into_owned();
        assert!(cut.len() <= LABEL_BYTES && cut.ends_with("\u{e9}#3f2a7c01d"), "{cut}");
        assert_eq!(label("a#b"), "a#b");
        let whole = "x".repeat(80);
        assert_eq!(label(&whole), whole, "the array cuts it");
        assert_eq!(label(&format!("x#{whole}")), format!("x#{whole}"));
    }
}
