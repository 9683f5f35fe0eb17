//! The bans of rooms that were dropped: they hold until they end, and a room that begins anew has
//! them again.
//!
//! Pure. `R` tells rooms apart, `K` addresses.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::room::Bans;

/// Of all dropped rooms together.
const ALL_BANS: usize = 4096;

/// All bans of a server's dropped rooms.
#[derive(Debug)]
pub struct KeptBans<R, K> {
    rooms: BTreeMap<R, Kept<K>>,
    count: usize,
}

#[derive(Debug)]
struct Kept<K> {
    /// Who made the room last.
    made_by: Option<K>,
    bans: Bans,
}

impl<R, K> Default for KeptBans<R, K> {
    fn default() -> Self {
        Self { rooms: BTreeMap::new(), count: 0 }
    }
}

impl<R: Clone + Ord, K: Copy + Ord> KeptBans<R, K> {
    /// A room is dropped. If there are too many bans, those that end first are dropped, of the
    /// address with the most: an address that makes many pushes out its own.
    pub fn keep(&mut self, now: Duration, room: R, made_by: Option<K>, mut bans: Bans) {
        bans.tidy(now);
        if bans.is_empty() {
            return;
        }
        self.take(&room);
        self.count += bans.len();
        self.rooms.insert(room, Kept { made_by, bans });
        if self.count > ALL_BANS {
            self.rooms.values_mut().for_each(|kept| kept.bans.tidy(now));
            self.recount();
        }
        while self.count > ALL_BANS {
            self.drop_one();
        }
    }

    /// A room of this name begins anew.
    pub fn take(&mut self, room: &R) -> Bans {
        let bans = self.rooms.remove(room).map(|kept| kept.bans).unwrap_or_default();
        self.count -= bans.len();
        bans
    }

    /// Looks at the bans of a dropped room, or ends one; `None` if there are none.
    pub fn with<T>(&mut self, room: &R, act: impl FnOnce(&mut Bans) -> T) -> Option<T> {
        let result = act(&mut self.rooms.get_mut(room)?.bans);
        self.recount();
        Some(result)
    }

    fn recount(&mut self) {
        self.rooms.retain(|_, kept| !kept.bans.is_empty());
        self.count = self.rooms.values().map(|kept| kept.bans.len()).sum();
    }

    fn drop_one(&mut self) {
        let mut counts: BTreeMap<Option<K>, usize> = BTreeMap::new();
        for kept in self.rooms.values() {
            *counts.entry(kept.made_by).or_default() += kept.bans.len();
        }
        let most = counts.values().copied().max();
        let of_most =
            self.rooms.values_mut().filter(|kept| counts.get(&kept.made_by).copied() == most);
        if let Some(kept) = of_most.min_by_key(|kept| kept.bans.first_end()) {
            kept.bans.drop_first_to_end();
        }
        self.recount();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn the_bans_of_a_dropped_room_are_there_again_until_they_end() {
        let mut kept = KeptBans::<u32, u8>::default();
        kept.keep(Duration::ZERO, 1, None, Bans::of_test(3, HOUR));
        assert_eq!(kept.with(&1, |bans| bans.list(HOUR).len()), Some(2), "one ends after an hour");
        assert_eq!(kept.with(&2, |bans| bans.len()), None);
        assert_eq!((kept.take(&1).len(), kept.take(&1).len(), kept.count), (3, 0, 0));
        kept.keep(2 * HOUR, 1, None, Bans::of_test(3, HOUR));
        assert!(kept.rooms.is_empty(), "they have ended");
    }

    #[test]
    fn an_address_that_makes_many_rooms_with_bans_pushes_out_its_own() {
        let mut kept = KeptBans::<u32, u8>::default();
        kept.keep(Duration::ZERO, 0, Some(1), Bans::of_test(200, HOUR));
        for room in 1..=40 {
            kept.keep(Duration::ZERO, room, Some(2), Bans::of_test(256, 2 * HOUR));
            assert!(kept.count <= ALL_BANS);
        }
        assert_eq!(kept.count, ALL_BANS);
        assert_eq!(kept.take(&0).len(), 200);
    }

    #[test]
    fn of_too_many_those_that_end_first_are_dropped_and_those_that_have_ended_before() {
        let mut kept = KeptBans::<u32, u8>::default();
        for room in 0..16 {
            kept.keep(
                Duration::ZERO,
                room,
                None,
                Bans::of_test(256, if room == 3 { HOUR } else { 2 * HOUR }),
            );
        }
        kept.keep(Duration::ZERO, 20, None, Bans::of_test(10, 3 * HOUR));
        assert_eq!(
            kept.with(&3, |bans| bans.first_end()),
            Some(Some(HOUR + Duration::from_secs(10)))
        );
        kept.keep(2 * HOUR, 21, None, Bans::of_test(10, 3 * HOUR));
        assert_eq!(kept.with(&3, |bans| bans.len()), None);
        assert_eq!(kept.take(&20).len(), 10);
    }
}
