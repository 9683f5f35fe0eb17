//! Where everybody stands, how far voices carry, and who is near.

use std::ffi::c_char;
use std::sync::Mutex;

use voicemesh::{Attenuation, Curve, GridAxes, Pose, ProximityGrid};
use voicemesh_common::lock;

use crate::backend::Backend;
use crate::guard::{Fault, guarded};
use crate::handles::Table;
use crate::memory::{self, Plain};
use crate::room::{vmesh_room, with};
use crate::{vmesh_peer_id, vmesh_result, vmesh_vector};

/// A proximity grid. 0 is none.
pub type vmesh_grid = u64;

static GRIDS: Table<Mutex<ProximityGrid>> = Table::new(6);

/// Where a listener stands and looks.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmesh_pose {
    /// Where.
    pub position: vmesh_vector,
    /// Where the nose points; of any length.
    pub forward: vmesh_vector,
    /// Where the top of the head points; of any length, and not along forward.
    pub up: vmesh_vector,
}

// SAFETY: numbers.
unsafe impl Plain for vmesh_pose {}

/// A point of a curve.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmesh_point {
    /// In metres.
    pub distance: f32,
    /// A factor of 0.0 to 2.0.
    pub gain: f32,
}

// SAFETY: numbers.
unsafe impl Plain for vmesh_point {}

/// Where this peer's ears are. To be called each frame, as the next two; only the latest counts.
///
/// Places need vmesh_options.positional. A peer is heard from its place if the program has told it,
/// and if it says itself that what it says has one: by vmesh_options.positional, or as
/// vmesh_room_transmit_to_group and vmesh_room_transmit_to_peer ask. Errors: VMESH_ERROR_NULL,
/// VMESH_ERROR_BAD_VALUE (a number is none), VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_speaker_set_listener(
    room: vmesh_room,
    pose: *const vmesh_pose,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let pose = unsafe { memory::read(pose, "pose")? };
        let pose = Pose {
            position: finite(pose.position, "position")?,
            forward: finite(pose.forward, "forward")?,
            up: finite(pose.up, "up")?,
        };
        done(room, |backend| backend.speaker().set_listener(pose))
    })
}

/// Where another peer's mouth is, and how it moves; null for one that stands still. Between two
/// calls it is assumed to go on moving for at most a quarter of a second. A peer that is not in the
/// room is ignored; one that leaves loses its position.
///
/// Errors: as vmesh_speaker_set_listener.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_set_position(
    room: vmesh_room,
    of: *const vmesh_peer_id,
    position: *const vmesh_vector,
    velocity: *const vmesh_vector,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let (of, position) =
            unsafe { (memory::read(of, "of")?, memory::read(position, "position")?) };
        let velocity = match velocity.is_null() {
            true => vmesh_vector::default(),
            // SAFETY: the header's promise.
            false => unsafe { memory::read(velocity, "velocity")? },
        };
        let (position, velocity) = (finite(position, "position")?, finite(velocity, "velocity")?);
        done(room, |backend| backend.member(of.into()).set_position(position, velocity))
    })
}

/// Another peer stands nowhere: it is heard as it is. Errors: VMESH_ERROR_NULL,
/// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_participant_clear_position(
    room: vmesh_room,
    of: *const vmesh_peer_id,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let of = unsafe { memory::read(of, "of")? };
        done(room, |backend| backend.member(of.into()).clear_position())
    })
}

/// How voices get softer with distance: a vmesh_attenuation, the distance up to which they are as
/// loud as spoken, the one beyond which they are silent, and how fast. At first
/// VMESH_ATTENUATION_INVERSE, 1.0, 50.0, 1.0. Numbers that make no sense are taken to be the
/// nearest that do.
///
/// Errors: VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_speaker_set_attenuation(
    room: vmesh_room,
    kind: i32,
    reference: f32,
    max: f32,
    rolloff: f32,
) -> vmesh_result {
    guarded(|| {
        let attenuation = match kind {
            0 => Attenuation::None,
            1 => Attenuation::Inverse { reference, max, rolloff },
            2 => Attenuation::Linear { reference, max, rolloff },
            3 => Attenuation::Exponential { reference, max, rolloff },
            _ => return Err(Fault::value("kind", kind)),
        };
        done(room, |backend| backend.speaker().set_attenuation(attenuation))
    })
}

/// The same by straight lines between points, of which there are 1 to 16, nearest first. The first
/// gain holds before its point and the last behind; let that be 0.0 for silence.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_speaker_set_attenuation_points(
    room: vmesh_room,
    points: *const vmesh_point,
    count: usize,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let points = unsafe { memory::bytes(points, count, "points")? };
        let points: Vec<(f32, f32)> =
            points.iter().map(|point| (point.distance, point.gain)).collect();
        let curve = Curve::new(&points)
            .ok_or_else(|| Fault::value("points", "no rising distances with such gains"))?;
        done(room, |backend| backend.speaker().set_attenuation(Attenuation::Points(curve)))
    })
}

/// Makes a grid: who is near hears each other, by talk groups called by `prefix` (at most 128
/// bytes) and their cell. Along each of the axes that count (a vmesh_axes), two who are within
/// `range` metres of each other always hear each other, and two who are further apart than 2.25
/// times that never do. Everyone in a room uses the same prefix, range and axes, and leaves
/// "Global".
///
/// The grid is the program's to close, with vmesh_grid_close. Errors: VMESH_ERROR_NULL,
/// VMESH_ERROR_BAD_TEXT, VMESH_ERROR_BAD_VALUE, VMESH_ERROR_TOO_MANY; *grid is then 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_grid_new(
    prefix: *const c_char,
    length: usize,
    range: f32,
    axes: i32,
    grid: *mut vmesh_grid,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        unsafe { memory::write(grid, 0, "grid")? };
        // SAFETY: the header's promise.
        let prefix = unsafe { memory::text(prefix, length, "prefix")? };
        let axes = match axes {
            0 => GridAxes::Ground,
            1 => GridAxes::Flat,
            2 => GridAxes::Space,
            _ => return Err(Fault::value("axes", axes)),
        };
        let made = ProximityGrid::new(prefix, range, axes);
        let made = made.ok_or_else(|| {
            Fault::value("range", format!("{range} with a prefix of {} bytes", prefix.len()))
        })?;
        let handle = GRIDS.open(Mutex::new(made))?;
        // SAFETY: as above.
        unsafe { memory::write(grid, handle, "grid")? };
        Ok(vmesh_result::VMESH_OK)
    })
}

/// Listens to those around this position, and speaks to them, positionally. To be called each
/// frame: only in another cell is there anything to do. A grid is of one peer.
///
/// Errors: VMESH_ERROR_NULL, VMESH_ERROR_BAD_VALUE (a number is none), VMESH_ERROR_BAD_HANDLE,
/// VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmesh_room_move_in(
    room: vmesh_room,
    grid: vmesh_grid,
    position: *const vmesh_vector,
) -> vmesh_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let position = finite(unsafe { memory::read(position, "position")? }, "position")?;
        with_grid(room, grid, |backend, grid| backend.move_in(grid, position))
    })
}

/// Ceases to listen and to speak to a grid's groups. It can be moved in again. Errors:
/// VMESH_ERROR_BAD_HANDLE, VMESH_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_room_leave_grid(room: vmesh_room, grid: vmesh_grid) -> vmesh_result {
    guarded(|| with_grid(room, grid, |backend, grid| backend.leave_grid(grid)))
}

/// Closes a grid, which ends the speaking; vmesh_room_leave_grid before it also ends the listening.
/// Closing it again, or closing 0, does nothing. Error: VMESH_ERROR_BAD_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn vmesh_grid_close(grid: vmesh_grid) -> vmesh_result {
    guarded(|| {
        if grid != 0 {
            GRIDS.close(grid)?;
        }
        Ok(vmesh_result::VMESH_OK)
    })
}

fn with_grid(
    room: vmesh_room,
    grid: vmesh_grid,
    call: impl FnOnce(&Backend, &mut ProximityGrid),
) -> Result<vmesh_result, Fault> {
    let grid = GRIDS.find(grid)?;
    let mut grid = lock(&grid);
    done(room, |backend| call(backend, &mut grid))
}

fn done(room: vmesh_room, call: impl FnOnce(&Backend)) -> Result<vmesh_result, Fault> {
    with(room, |backend| {
        call(backend);
        Ok(vmesh_result::VMESH_OK)
    })
}

fn finite(vector: vmesh_vector, what: &str) -> Result<[f32; 3], Fault> {
    let axes = [vector.x, vector.y, vector.z];
    if axes.iter().all(|axis| axis.is_finite()) {
        Ok(axes)
    } else {
        Err(Fault::value(what, format!("{axes:?}")))
    }
}
