//! Who is near, by a grid of talk groups.

use super::Room;
use crate::handles::ProximityGrid;

/// # Who is near
///
/// ```no_run
/// # use voicemesh::{GridAxes, ProximityGrid, Room};
/// # fn game(room: Room, walk: impl Iterator<Item = [f32; 3]>) -> Option<()> {
/// room.group("Global").leave();
/// let mut grid = ProximityGrid::new("field", 20.0, GridAxes::Ground)?;
/// for position in walk {
///     room.move_in(&mut grid, position); // each frame
/// }
/// room.leave_grid(&mut grid);
/// # Some(()) }
/// ```
impl Room {
    /// Listens to those around this position, and speaks to them, positionally. May be called each
    /// frame: only in another cell is there anything to do. Dropping the grid ends the speaking,
    /// and [`leave_grid`](Self::leave_grid) also the listening.
    pub fn move_in(&self, grid: &mut ProximityGrid, position: [f32; 3]) {
        self.inner.controls.move_in(grid, position);
    }

    /// Stops listening and speaking to a grid's groups.
    pub fn leave_grid(&self, grid: &mut ProximityGrid) {
        self.inner.controls.leave_grid(grid);
    }
}
