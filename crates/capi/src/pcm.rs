//! Sound for the game's own audio engine, and from its own microphone: made on one thread, read on
//! another.

use voicemesh::{DeviceError, MicrophoneFeed, MixVoice, PeerVoice};

use crate::guard::{Fault, Outcome, guarded, guarded_quietly};
use crate::memory;
use crate::realtime_handles::RealtimeHandles;
use crate::room::{vmesh_room, with};
use crate::{vmesh_peer_id, vmesh_result};

/// One peer's voice, to be read. 0 is none.
pub type vmesh_peer_voice = u64;
/// Everyone together, to be read. 0 is none.
pub type vmesh_mix_voice = u64;
/// A microphone that the program writes. 0 is none.
pub type vmesh_microphone_feed = u64;

/// As many as the crate below reads at a time.
static VOICES: RealtimeHandles<PeerVoice, 256> = RealtimeHandles::new(2);
static MIXES: RealtimeHandles<MixVoice, 64> = RealtimeHandles::new(3);
static MICROPHONES: RealtimeHandles<MicrophoneFeed, 64> = RealtimeHandles::new(4);

/// Opens one peer's voice, for a game that has its own place for it: mono, at rate_hz of 8000 to
/// 192000. While it is open, the peer is in no mix and no speaker. Mute and gain of the peer count;
/// its position does not. Opened again, it goes to the new handle, and the old one reads silence;
/// so it does after vmesh_room_close.
///
/// The handle is the program's to close, with vmesh_peer_voice_close; 256 are open at most. Errors:
/// VMESH_ERROR_NULL, VMESH_ERROR_BAD_VALUE (the rate), VMESH_ERROR_TOO_MANY,
/// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED; *voice is then 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_open_voice(
    room: vmesh_room,
    of: *const vmesh_peer_id,
    rate_hz: u32,
    voice: *mut vmesh_peer_voice,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        unsafe { memory::write(voice, 0, "voice")? };
        // SAFETY: the header's promise.
        let of = unsafe { memory::read(of, "of")? };
        let opened = with(room, |backend| {
            backend.member(of.into()).open_voice_at(rate_hz).map_err(|error| bad_rate(&error))
        })?;
        // SAFETY: as above.
        unsafe { memory::write(voice, VOICES.open(opened)?, "voice")? };
        Ok(vmesh_result::VMESH_OK)
    })
}

/// Opens everyone together, in two sides, at rate_hz of 8000 to 192000. One is fed at a time:
/// another takes its place.
///
/// The handle is the program's to close, with vmesh_mix_voice_close. Errors: as
/// vmesh_participant_open_voice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_speaker_open_mix(
    room: vmesh_room,
    rate_hz: u32,
    mix: *mut vmesh_mix_voice,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        unsafe { memory::write(mix, 0, "mix")? };
        let opened = with(room, |backend| {
            backend.speaker().open_mix(rate_hz).map_err(|error| bad_rate(&error))
        })?;
        // SAFETY: as above.
        unsafe { memory::write(mix, MIXES.open(opened)?, "mix")? };
        Ok(vmesh_result::VMESH_OK)
    })
}

/// Opens a microphone that the program writes itself: mono, at rate_hz of 8000 to 192000. It takes
/// the place of the one in use and is processed like one; vmesh_microphone_set_input takes its
/// place again. To have no other before it, join with vmesh_options.program_input.
///
/// The handle is the program's to close, with vmesh_microphone_feed_close. Errors: as
/// vmesh_participant_open_voice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_microphone_open_feed(
    room: vmesh_room,
    rate_hz: u32,
    microphone: *mut vmesh_microphone_feed,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        unsafe { memory::write(microphone, 0, "microphone")? };
        let opened = with(room, |backend| {
            backend.microphone().open_feed(rate_hz).map_err(|error| bad_rate(&error))
        })?;
        // SAFETY: as above.
        unsafe { memory::write(microphone, MICROPHONES.open(opened)?, "microphone")? };
        Ok(vmesh_result::VMESH_OK)
    })
}

/// Fills `samples` with the next `count` of a voice. *given, unless it is null, becomes how many of
/// them are sound; silence is behind them, and all is silence after an error.
///
/// Made for an audio thread, as the next two: it waits for nothing, takes no memory, and shares no
/// lock with any other handle; an error leaves vmesh_last_error as it is. One thread at a time
/// reads a voice. VMESH_EMPTY: another thread reads or closes it just now. Errors:
/// VMESH_ERROR_NULL, VMESH_ERROR_BAD_VALUE (not aligned, or too many), VMESH_ERROR_BAD_HANDLE,
/// VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_peer_voice_read(
    voice: vmesh_peer_voice,
    samples: *mut f32,
    count: usize,
    given: *mut usize,
) -> vmesh_result {
    guarded_quietly(|| {
        // SAFETY: the header's promise.
        unsafe { reading(samples, count, given, |out| VOICES.with(voice, |voice| voice.read(out))) }
    })
}

/// Fills `samples` with the next frames, which are two samples each: left and right. Otherwise as
/// vmesh_peer_voice_read, but that *given counts frames as well.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_mix_voice_read(
    mix: vmesh_mix_voice,
    samples: *mut f32,
    frames: usize,
    given: *mut usize,
) -> vmesh_result {
    guarded_quietly(|| {
        let count = frames.saturating_mul(2);
        // SAFETY: the header's promise.
        unsafe { reading(samples, count, given, |out| MIXES.with(mix, |mix| mix.read(out))) }
    })
}

/// Hands over `count` samples. *taken, unless it is null, becomes how many there was room for:
/// fewer if a second of samples already waits unread. A sample that is not a number becomes
/// silence. Otherwise as vmesh_peer_voice_read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_microphone_feed_write(
    microphone: vmesh_microphone_feed,
    samples: *const f32,
    count: usize,
    taken: *mut usize,
) -> vmesh_result {
    guarded_quietly(|| {
        // SAFETY: the header's promise.
        let samples = unsafe { memory::heard(samples, count) };
        let written =
            samples.and_then(|samples| MICROPHONES.with(microphone, |feed| feed.write(samples)));
        // SAFETY: the header's promise.
        unsafe { counted(taken, written) }
    })
}

/// Closes a voice, from any thread: the peer is in the mix again. Closing it again, or closing 0,
/// does nothing. Error: VMESH_ERROR_BAD_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_peer_voice_close(voice: vmesh_peer_voice) -> vmesh_result {
    guarded(|| closed(&VOICES, voice))
}

/// Closes a mix; otherwise as vmesh_peer_voice_close.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_mix_voice_close(mix: vmesh_mix_voice) -> vmesh_result {
    guarded(|| closed(&MIXES, mix))
}

/// Closes a microphone; otherwise as vmesh_peer_voice_close. Its sound is silence from then on,
/// until vmesh_microphone_set_input or vmesh_microphone_open_feed.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_microphone_feed_close(microphone: vmesh_microphone_feed) -> vmesh_result {
    guarded(|| closed(&MICROPHONES, microphone))
}

fn closed<T, const N: usize>(handles: &RealtimeHandles<T, N>, handle: u64) -> Outcome {
    if handle != 0 {
        handles.close(handle)?;
    }
    Ok(vmesh_result::VMESH_OK)
}

/// # Safety
///
/// As [`memory::samples`], and `given` is null or points to a number.
unsafe fn reading(
    samples: *mut f32,
    count: usize,
    given: *mut usize,
    read: impl FnOnce(&mut [f32]) -> Result<usize, vmesh_result>,
) -> vmesh_result {
    // SAFETY: our caller's promise.
    let read = unsafe { memory::samples(samples, count) }.and_then(read);
    // SAFETY: our caller's promise.
    unsafe { counted(given, read) }
}

/// # Safety
///
/// `to` is null or points to a number.
unsafe fn counted(to: *mut usize, moved: Result<usize, vmesh_result>) -> vmesh_result {
    if !to.is_null() {
        // SAFETY: our caller's promise.
        unsafe { to.write_unaligned(*moved.as_ref().unwrap_or(&0)) };
    }
    moved.err().unwrap_or(vmesh_result::VMESH_OK)
}

fn bad_rate(error: &DeviceError) -> Fault {
    Fault::new(vmesh_result::VMESH_ERROR_BAD_VALUE, error.to_string())
}
