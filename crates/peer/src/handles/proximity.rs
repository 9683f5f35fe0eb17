//! Who is near hears each other, by talk groups: the world is cut into cells, each a group.
//!
//! One speaks to the cell in which one stands, and listens to it and all around it: 9 groups on a
//! plane, 27 in space.

use voicemesh_session::GLOBAL_GROUP;
use voicemesh_wire::{GroupHash, GroupId};

use super::Transmission;

/// Of the range, so much is the band at a cell's border in which one stays where one was: a 24th.
const BAND: f64 = 1.0 / 24.0;
/// The longest prefix of a group's name, in bytes.
const PREFIX_BYTES: usize = 128;
/// The last cells in each direction; what is further is there.
const LAST_CELL: f64 = 1e9;

/// Which axes of a position count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GridAxes {
    /// x and z: people on the ground of a world whose y points up. Floors of a house are one.
    Ground,
    /// x and y: a flat world.
    Flat,
    /// All three, at three times as many groups.
    Space,
}

/// Which talk groups a peer that moves is to listen and speak to.
///
/// Along each of the axes that count, two who are within `range` of each other always hear each
/// other, and two who are further apart than 2¼ × `range` never do. A cell is a little more than
/// `range` wide, and who stands at a border does not flap: going back and forth by less than a
/// twelfth of `range` changes nothing.
///
/// Everyone in a room must use the same prefix, range and axes. The ids of 16 bits that names of
/// groups have are chosen so that no two cells near each other share one.
#[derive(Debug)]
pub struct ProximityGrid {
    prefix: String,
    range: f64,
    axes: GridAxes,
    cell: Option<Cell>,
    speaking: Option<Transmission>,
}

type Cell = [i32; 3];

/// What changes when a peer enters another cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GridChange {
    /// Groups to listen to from now on.
    pub listen: Vec<String>,
    /// Groups to listen to no more.
    pub stop_listening: Vec<String>,
    /// The one group to speak to.
    pub speak: Option<String>,
}

impl ProximityGrid {
    /// Speaks by this handle from now on, instead of the one before.
    pub(crate) fn transmit_by(&mut self, speaking: Option<Transmission>) {
        self.speaking = speaking;
    }

    /// Groups are called by `prefix` (at most 128 bytes) and their cell; `range` is in metres.
    /// `None` if the prefix is too long, or the range not between a centimetre and a thousand
    /// kilometres.
    pub fn new(prefix: impl Into<String>, range: f32, axes: GridAxes) -> Option<Self> {
        let prefix = prefix.into();
        let fits = prefix.len() <= PREFIX_BYTES && (0.01..=1e6).contains(&range);
        fits.then(|| Self { prefix, range: range.into(), axes, cell: None, speaking: None })
    }

    /// What changes with standing there; `None` as long as it is the same cell, which allocates
    /// nothing. A position with a number that is none changes nothing.
    pub fn move_to(&mut self, position: [f32; 3]) -> Option<GridChange> {
        if position.iter().any(|axis| axis.is_nan()) {
            return None;
        }
        let cell = self.cell_at(position);
        if self.cell == Some(cell) {
            return None;
        }
        let before = self.cell.replace(cell);
        let before = self.around(before);
        let now = self.around(Some(cell));
        let names = |cells: &[Cell], but: &[Cell]| {
            cells.iter().filter(|cell| !but.contains(cell)).map(|cell| self.name(*cell)).collect()
        };
        Some(GridChange {
            listen: names(&now, &before),
            stop_listening: names(&before, &now),
            speak: Some(self.name(cell)),
        })
    }

    /// What changes with going out of the grid.
    pub fn leave(&mut self) -> GridChange {
        let before = self.cell.take();
        let before = self.around(before);
        GridChange {
            stop_listening: before.into_iter().map(|cell| self.name(cell)).collect(),
            ..GridChange::default()
        }
    }

    fn cell_at(&self, position: [f32; 3]) -> Cell {
        let [x, y, z] = position;
        let counted = match self.axes {
            GridAxes::Ground => [x, z, 0.0],
            GridAxes::Flat => [x, y, 0.0],
            GridAxes::Space => position,
        };
        let (edge, band) = (self.range * (1.0 + 2.0 * BAND), self.range * BAND);
        std::array::from_fn(|axis| {
            let at = f64::from(counted[axis]).clamp(-LAST_CELL * edge, LAST_CELL * edge);
            let stays = self.cell.map(|cell| cell[axis]).filter(|cell| {
                let begin = f64::from(*cell) * edge;
                (begin - band..=begin + edge + band).contains(&at)
            });
            stays.unwrap_or((at / edge).floor() as i32)
        })
    }

    /// A cell and all that touch it.
    fn around(&self, cell: Option<Cell>) -> Vec<Cell> {
        let Some([x, y, z]) = cell else { return Vec::new() };
        let deep = if self.axes == GridAxes::Space { -1..=1 } else { 0..=0 };
        let mut cells = Vec::with_capacity(27);
        for dx in -1..=1 {
            for dy in -1..=1 {
                cells.extend(deep.clone().map(|dz| [x + dx, y + dy, z + dz]));
            }
        }
        cells
    }

    /// A cell's group. Twelve bits of its id are those of its place, so that cells can share one
    /// only if they are 64 apart on a plane, 16 in space; the name's ending is what brings them
    /// about.
    fn name(&self, cell: Cell) -> String {
        let [x, y, z] = cell;
        let low = |number: i32, bits: u32| (number & ((1 << bits) - 1)) as u16;
        let (name, place) = match self.axes {
            GridAxes::Ground | GridAxes::Flat => {
                (format!("{}:{x}:{y}:", self.prefix), low(x, 6) | low(y, 6) << 6)
            }
            GridAxes::Space => (
                format!("{}:{x}:{y}:{z}:", self.prefix),
                low(x, 4) | low(y, 4) << 4 | low(z, 4) << 8,
            ),
        };
        let ending = ending(&name, GroupId::of(&self.prefix).0.wrapping_add(place) & PLACE_BITS);
        name + &ending
    }
}

/// Of an id, those that tell of the place.
const PLACE_BITS: u16 = (1 << 12) - 1;

/// Letters that give a name an id with these bits: one of 4,096 tries succeeds, and each takes a
/// few nanoseconds.
fn ending(name: &str, bits: u16) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (name, global) = (GroupHash::of(name), GroupId::of(GLOBAL_GROUP));
    for (a, b) in LETTERS.iter().flat_map(|a| LETTERS.iter().map(move |b| (*a, *b))) {
        let begin = name.then(a.into()).then(b.into());
        let ends = |c: &&u8| {
            let id = begin.then(u16::from(**c)).id();
            id.0 & PLACE_BITS == bits && id != global
        };
        if let Some(c) = LETTERS.iter().find(ends) {
            return [a, b, *c].map(char::from).iter().collect();
        }
    }
    // Of a quarter of a million endings none: never seen, and harmless.
    String::new()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const RANGE: f32 = 20.0;

    struct Walker {
        grid: ProximityGrid,
        position: [f32; 3],
        listens: BTreeSet<String>,
        speaks: String,
        changes: usize,
    }

    impl Walker {
        fn new(axes: GridAxes, position: [f32; 3]) -> Self {
            let grid = ProximityGrid::new("field", RANGE, axes).unwrap();
            let mut walker = Self {
                grid,
                position,
                listens: BTreeSet::new(),
                speaks: String::new(),
                changes: 0,
            };
            walker.go([0.0; 3]);
            walker
        }

        fn go(&mut self, step: [f32; 3]) {
            self.position = std::array::from_fn(|axis| self.position[axis] + step[axis]);
            let Some(change) = self.grid.move_to(self.position) else { return };
            self.changes += 1;
            assert!(
                change.stop_listening.iter().all(|group| self.listens.remove(group)),
                "only what was listened to"
            );
            assert!(
                change.listen.into_iter().all(|group| self.listens.insert(group)),
                "nothing twice"
            );
            self.speaks = change.speak.unwrap();
            assert!(self.listens.contains(&self.speaks));
            let groups = if self.grid.axes == GridAxes::Space { 27 } else { 9 };
            assert_eq!(self.listens.len(), groups);
        }

        fn hears(&self, other: &Self) -> bool {
            self.listens.contains(&other.speaks)
        }
    }

    /// proves: B-11
    #[test]
    fn within_the_range_everyone_is_heard_and_beyond_two_and_a_quarter_no_one() {
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        for axes in [GridAxes::Ground, GridAxes::Flat, GridAxes::Space] {
            let counted: &[usize] = match axes {
                GridAxes::Ground => &[0, 2],
                GridAxes::Flat => &[0, 1],
                GridAxes::Space => &[0, 1, 2],
            };
            let mut near = 0;
            let mut far = 0;
            for _ in 0..30 {
                let begin = [random(), random(), random()].map(|axis| axis * 1_000.0);
                let mut pair = [0, 1].map(|_| Walker::new(axes, begin));
                for _ in 0..60 {
                    for walker in &mut pair {
                        walker.go([random(), random(), random()].map(|axis| axis * RANGE));
                    }
                    let [one, other] = &pair;
                    let apart = |axis: &usize| (one.position[*axis] - other.position[*axis]).abs();
                    let distance = counted.iter().map(apart).fold(0.0, f32::max);
                    assert_eq!(one.hears(other), other.hears(one));
                    if distance <= RANGE {
                        near += 1;
                        assert!(one.hears(other), "{:?} and {:?}", one.position, other.position);
                    } else if distance > 2.25 * RANGE {
                        far += 1;
                        assert!(!one.hears(other), "{:?} and {:?}", one.position, other.position);
                    }
                }
            }
            assert!(near > 100 && far > 100, "{near} near, {far} far");
        }
    }

    /// proves: B-11
    #[test]
    fn who_goes_back_and_forth_at_a_border_stays_in_the_cell() {
        let edge = RANGE * 13.0 / 12.0;
        let mut walker = Walker::new(GridAxes::Ground, [edge - 0.1, 0.0, 5.0]);
        for _ in 0..100 {
            walker.go([0.8, 0.0, 0.0]);
            walker.go([-0.8, 0.0, 0.0]);
        }
        assert_eq!(walker.changes, 1);
        walker.go([2.0, 0.0, 0.0]);
        assert_eq!(walker.changes, 2);
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            walker.grid.move_to([odd, odd, odd]);
        }
        assert!(ProximityGrid::new("x".repeat(129), 1.0, GridAxes::Flat).is_none());
        assert!(
            [0.0, -1.0, f32::NAN, f32::INFINITY]
                .iter()
                .all(|range| { ProximityGrid::new("x", *range, GridAxes::Flat).is_none() })
        );
    }

    /// Names of groups have ids of 16 bits: of some hundred names that are taken as they come, two
    /// would share one.
    #[test]
    fn no_two_cells_near_each_other_share_an_id() {
        let grid = ProximityGrid::new("field", RANGE, GridAxes::Ground).unwrap();
        let mut ids = BTreeMap::from([(GroupId::of(GLOBAL_GROUP), GLOBAL_GROUP.to_owned())]);
        for (x, y) in (-12..12).flat_map(|x| (-12..12).map(move |y| (x, y))) {
            let name = grid.name([x, y, 0]);
            if let Some(other) = ids.insert(GroupId::of(&name), name.clone()) {
                panic!("{name} and {other}");
            }
        }
    }
}
