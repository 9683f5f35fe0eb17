//! Where everybody stands, how far voices carry, and who is near.

use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};

use voicemesh::{Attenuation, Curve, GridAxes, Peer, Pose, ProximityGrid};

use crate::guard::{Fault, guarded};
use crate::handles::Table;
use crate::memory::{self, Plain};
use crate::peer::{vm_peer, with};
use crate::{vm_peer_id, vm_result, vm_vector};

/// A proximity grid. 0 is none.
pub type vm_grid = u64;

static GRIDS: Table<Mutex<ProximityGrid>> = Table::new(6);

/// Where a listener stands and looks.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vm_pose {
    /// Where.
    pub position: vm_vector,
    /// Where the nose points; of any length.
    pub forward: vm_vector,
    /// Where the top of the head points; of any length, and not along forward.
    pub up: vm_vector,
}

// SAFETY: numbers.
unsafe impl Plain for vm_pose {}

/// A point of a curve.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vm_point {
    /// In metres.
    pub distance: f32,
    /// A factor of 0.0 to 2.0.
    pub gain: f32,
}

// SAFETY: numbers.
unsafe impl Plain for vm_point {}

/// Where this peer's ears are. To be called each frame, as the next two; only the latest counts.
///
/// Places need vm_options.positional. A peer is heard from its place if the program has told it, and if it says itself that
/// what it says has one: by vm_options.positional, or as vm_speak_to_group and vm_speak_to_peer ask. Errors: VM_ERROR_NULL,
/// VM_ERROR_BAD_VALUE (a number is none), VM_ERROR_BAD_HANDLE, VM_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_set_listener(peer: vm_peer, pose: *const vm_pose) -> vm_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let pose = unsafe { memory::read(pose, "pose")? };
        let pose = Pose {
            position: finite(pose.position, "position")?,
            forward: finite(pose.forward, "forward")?,
            up: finite(pose.up, "up")?,
        };
        done(peer, |peer| peer.set_listener(pose))
    })
}

/// Where another peer's mouth is, and how it moves; null for one that stands still. Between two calls it is assumed to
/// go on moving for at most a quarter of a second. A peer that is not in the room is ignored; one that leaves loses its
/// position.
///
/// Errors: as vm_set_listener.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_set_position(
    peer: vm_peer,
    of: *const vm_peer_id,
    position: *const vm_vector,
    velocity: *const vm_vector,
) -> vm_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let (of, position) = unsafe { (memory::read(of, "of")?, memory::read(position, "position")?) };
        let velocity = match velocity.is_null() {
            true => vm_vector::default(),
            // SAFETY: the header's promise.
            false => unsafe { memory::read(velocity, "velocity")? },
        };
        let (position, velocity) = (finite(position, "position")?, finite(velocity, "velocity")?);
        done(peer, |peer| peer.set_position(of.into(), position, velocity))
    })
}

/// Another peer stands nowhere: it is heard as it is. Errors: VM_ERROR_NULL, VM_ERROR_BAD_HANDLE, VM_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_clear_position(peer: vm_peer, of: *const vm_peer_id) -> vm_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let of = unsafe { memory::read(of, "of")? };
        done(peer, |peer| peer.clear_position(of.into()))
    })
}

/// How voices get softer with distance: a vm_attenuation, the distance up to which they are as loud as spoken, the one beyond
/// which they are silent, and how fast. At first VM_ATTENUATION_INVERSE, 1.0, 50.0, 1.0. Numbers that make no sense are taken
/// to be the nearest that do.
///
/// Errors: VM_ERROR_BAD_VALUE, VM_ERROR_BAD_HANDLE, VM_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vm_set_attenuation(peer: vm_peer, kind: i32, reference: f32, max: f32, rolloff: f32) -> vm_result {
    guarded(|| {
        let attenuation = match kind {
            0 => Attenuation::None,
            1 => Attenuation::Inverse { reference, max, rolloff },
            2 => Attenuation::Linear { reference, max, rolloff },
            3 => Attenuation::Exponential { reference, max, rolloff },
            _ => return Err(Fault::value("kind", kind)),
        };
        done(peer, |peer| peer.set_attenuation(attenuation))
    })
}

/// The same by straight lines between points, of which there are 1 to 16, nearest first. The first gain holds before its point
/// and the last behind; let that be 0.0 for silence.
///
/// Errors: VM_ERROR_NULL, VM_ERROR_BAD_VALUE, VM_ERROR_BAD_HANDLE, VM_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_set_attenuation_points(peer: vm_peer, points: *const vm_point, count: usize) -> vm_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let points = unsafe { memory::bytes(points, count, "points")? };
        let points: Vec<(f32, f32)> = points.iter().map(|point| (point.distance, point.gain)).collect();
        let curve = Curve::new(&points).ok_or_else(|| Fault::value("points", "no rising distances with such gains"))?;
        done(peer, |peer| peer.set_attenuation(Attenuation::Points(curve)))
    })
}

/// Makes a grid: who is near hears each other, by talk groups called by `prefix` (at most 128 bytes) and their cell. Along each
/// of the axes that count (a vm_axes), two who are within `range` metres of each other always hear each other, and two who are
/// further apart than 2.25 times that never do. Everyone in a room uses the same prefix, range and axes, and leaves "Global".
///
/// The grid is the program's to close, with vm_close_grid. Errors: VM_ERROR_NULL, VM_ERROR_BAD_TEXT, VM_ERROR_BAD_VALUE,
/// VM_ERROR_TOO_MANY; *grid is then 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_create_grid(
    prefix: *const c_char,
    length: usize,
    range: f32,
    axes: i32,
    grid: *mut vm_grid,
) -> vm_result {
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
        let made =
            made.ok_or_else(|| Fault::value("range", format!("{range} with a prefix of {} bytes", prefix.len())))?;
        let handle = GRIDS.open(Mutex::new(made))?;
        // SAFETY: as above.
        unsafe { memory::write(grid, handle, "grid")? };
        Ok(vm_result::VM_OK)
    })
}

/// Listens to those around this position, and speaks to them, positionally. To be called each frame: only in another cell is
/// there anything to do. A grid is of one peer.
///
/// Errors: VM_ERROR_NULL, VM_ERROR_BAD_VALUE (a number is none), VM_ERROR_BAD_HANDLE, VM_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vm_move_in_grid(peer: vm_peer, grid: vm_grid, position: *const vm_vector) -> vm_result {
    guarded(|| {
        // SAFETY: the header's promise.
        let position = finite(unsafe { memory::read(position, "position")? }, "position")?;
        with_grid(peer, grid, |peer, grid| peer.move_in(grid, position))
    })
}

/// Ceases to listen and to speak to a grid's groups. It can be moved in again. Errors: VM_ERROR_BAD_HANDLE, VM_ERROR_CLOSED.
#[unsafe(no_mangle)]
pub extern "C" fn vm_leave_grid(peer: vm_peer, grid: vm_grid) -> vm_result {
    guarded(|| with_grid(peer, grid, |peer, grid| peer.leave_grid(grid)))
}

/// Closes a grid, which ends the speaking; vm_leave_grid before it also ends the listening. Closing it again, or closing 0,
/// does nothing. Error: VM_ERROR_BAD_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn vm_close_grid(grid: vm_grid) -> vm_result {
    guarded(|| {
        if grid != 0 {
            GRIDS.close(grid)?;
        }
        Ok(vm_result::VM_OK)
    })
}

fn with_grid(peer: vm_peer, grid: vm_grid, call: impl FnOnce(&Peer, &mut ProximityGrid)) -> Result<vm_result, Fault> {
    let grid = GRIDS.find(grid)?;
    let mut grid = grid.lock().unwrap_or_else(PoisonError::into_inner);
    done(peer, |peer| call(peer, &mut grid))
}

fn done(peer: vm_peer, call: impl FnOnce(&Peer)) -> Result<vm_result, Fault> {
    with(peer, |peer| {
        call(peer);
        Ok(vm_result::VM_OK)
    })
}

fn finite(vector: vm_vector, what: &str) -> Result<[f32; 3], Fault> {
    let axes = [vector.x, vector.y, vector.z];
    if axes.iter().all(|axis| axis.is_finite()) { Ok(axes) } else { Err(Fault::value(what, format!("{axes:?}"))) }
}
