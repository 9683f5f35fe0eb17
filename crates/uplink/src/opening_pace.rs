//! When links may begin to open where what opening them sends takes the place of speech.

use std::time::Duration;

/// For so long after there was no room, one link opens after another …
const ONE_BY_ONE_FOR: Duration = Duration::from_secs(30);
/// … each for so long at most, if it takes longer to open …
pub const OPENING_SENDS_FOR: Duration = Duration::from_secs(3);
/// … and after each none begins for so many times as long as it took, and this at most: a queue must
/// drain.
const REST: u32 = 3;
const LONGEST_REST: Duration = Duration::from_secs(3);
/// Where no limit of the way out was met, it was the way in that had no room. It may be policed, and
/// then nothing waits there: a link opens soon, and leaves an empty bucket, which fills beside speech
/// in this time.
const BUCKET_FILLS_IN: Duration = Duration::from_millis(2_500);
/// What opening a link sends: two descriptions with candidates through the server, checks, and two
/// handshakes.
const OPENING_BITS: u64 = 80_000;
/// Opening links may take one part in so many of a narrow uplink; the rest is for speech.
const SHARES: u64 = 4;
const LONGEST_DISTANCE: Duration = Duration::from_secs(10);
/// While there is no room, or another link opens, how often that is asked again.
const ASK_FOR_ROOM: Duration = Duration::from_millis(250);

/// Whether there is room for links to open, and whether they open one after another because there
/// was none lately.
#[derive(Debug, Default)]
pub struct OneByOne {
    lacks_room: bool,
    lacked_room_at: Option<Duration>,
    rest_until: Option<Duration>,
}

impl OneByOne {
    /// Whether there is no room for now. False if that was known.
    pub fn set_lacks_room(&mut self, now: Duration, lacks_room: bool) -> bool {
        if self.lacks_room || lacks_room {
            self.lacked_room_at = Some(now);
        }
        std::mem::replace(&mut self.lacks_room, lacks_room) != lacks_room
    }

    /// Whether no link is to begin to open.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        self.lacks_room
    }

    /// Whether none is to begin while another opens, or right after one.
    #[must_use]
    pub fn is_on(&self, now: Duration) -> bool {
        self.lacked_room_at.is_some_and(|at| now < at + ONE_BY_ONE_FOR)
    }

    /// One has opened, was given up or has had its time, after so long. Does not shorten the rest
    /// after another.
    pub fn ended(&mut self, now: Duration, took: Duration) {
        let rest_until = now + LONGEST_REST.min(REST * took);
        self.rest_until = self.rest_until.max(Some(rest_until));
    }

    /// Whether what the last one sent may still wait in a queue.
    #[must_use]
    pub fn rests(&self, now: Duration) -> bool {
        self.rest_until.is_some_and(|until| now < until)
    }

    /// The moments at which this changes by itself.
    #[must_use]
    pub fn timers(&self) -> [Option<Duration>; 2] {
        [self.lacked_room_at.map(|at| at + ONE_BY_ONE_FOR), self.rest_until]
    }
}

/// The time between links that begin to open.
#[derive(Debug, Default)]
pub struct OpeningPace {
    one_by_one: OneByOne,
    /// What the uplink carries; none while no limit was met.
    uplink_bps: Option<u32>,
    last_at: Option<Duration>,
    last_ended: Option<Duration>,
    /// Those that send much, and since when.
    opening: Vec<(u64, Duration)>,
    begun: u64,
}

impl OpeningPace {
    /// What the uplink carries, in bits per second; `None` while no limit was met.
    pub fn set_uplink(&mut self, bps: Option<u32>) {
        self.uplink_bps = bps;
    }

    /// Whether no link is to begin for now.
    pub fn set_lacks_room(&mut self, now: Duration, lacks_room: bool) {
        self.one_by_one.set_lacks_room(now, lacks_room);
    }

    /// Begins to open a link, under a number by which it ends.
    ///
    /// # Errors
    ///
    /// None may begin now: when to ask again.
    pub fn begin(&mut self, now: Duration) -> Result<u64, Duration> {
        self.end_late(now);
        let is_bucket_empty = self.uplink_bps.is_none()
            && self.last_ended.is_some_and(|ended| now < ended + BUCKET_FILLS_IN);
        let rests = self.one_by_one.rests(now) || is_bucket_empty;
        let waits_for_others = self.one_by_one.is_on(now) && (!self.opening.is_empty() || rests);
        if self.one_by_one.lacks_room() || waits_for_others {
            return Err(now + ASK_FOR_ROOM);
        }
        let micros = self
            .uplink_bps
            .map_or(0, |bps| SHARES * OPENING_BITS * 1_000_000 / u64::from(bps.max(1)));
        let distance = Duration::from_micros(micros).min(LONGEST_DISTANCE);
        if let Some(next) = self.last_at.map(|last| last + distance).filter(|next| now < *next) {
            return Err(next);
        }
        self.last_at = Some(now);
        self.begun += 1;
        self.opening.push((self.begun, now));
        Ok(self.begun)
    }

    /// A link has opened or was given up. Has no effect on one that has had its time.
    pub fn ended(&mut self, now: Duration, number: u64) {
        self.end_late(now);
        let Some(at) = self.opening.iter().position(|(opening, _)| *opening == number) else {
            return;
        };
        let (_, began) = self.opening.swap_remove(at);
        self.has_ended(now, now.saturating_sub(began));
    }

    fn end_late(&mut self, now: Duration) {
        while let Some(at) =
            self.opening.iter().position(|(_, began)| now >= *began + OPENING_SENDS_FOR)
        {
            let (_, began) = self.opening.swap_remove(at);
            self.has_ended(began + OPENING_SENDS_FOR, OPENING_SENDS_FOR);
        }
    }

    fn has_ended(&mut self, at: Duration, took: Duration) {
        self.last_ended = self.last_ended.max(Some(at));
        self.one_by_one.ended(at, took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn links_open_together_while_there_was_always_room() {
        let mut pace = OpeningPace::default();
        pace.set_lacks_room(ms(0), false);
        assert_eq!((pace.begin(ms(0)), pace.begin(ms(0))), (Ok(1), Ok(2)));
    }

    #[test]
    fn none_begins_without_room_and_then_one_after_another_for_half_a_minute() {
        let mut pace = OpeningPace::default();
        pace.set_uplink(Some(100_000_000));
        pace.set_lacks_room(ms(0), true);
        assert_eq!(pace.begin(ms(0)), Err(ms(250)));
        pace.set_lacks_room(ms(250), false);
        assert_eq!(pace.begin(ms(250)), Ok(1));
        assert_eq!(pace.begin(ms(250)), Err(ms(500)), "another opens");
        pace.set_lacks_room(ms(500), false);
        pace.ended(ms(500), 1);
        assert!(pace.begin(ms(1_249)).is_err(), "three times what that one took");
        assert_eq!(pace.begin(ms(1_250)), Ok(2));
        assert!(pace.begin(ms(30_249)).is_ok(), "the one before has had its time, and rested");
        assert!(pace.begin(ms(30_249)).is_err());
        assert_eq!(pace.begin(ms(30_260)), Ok(4), "as before");
    }

    #[test]
    fn a_link_that_does_not_open_sends_for_three_seconds_and_is_followed_by_as_long_a_rest() {
        let mut pace = OpeningPace::default();
        pace.set_lacks_room(ms(0), true);
        pace.set_lacks_room(ms(0), false);
        assert_eq!(pace.begin(ms(0)), Ok(1));
        pace.ended(ms(5_998), 1);
        assert!(pace.begin(ms(5_999)).is_err());
        assert_eq!(pace.begin(ms(6_000)), Ok(2), "its end came too late to count");
    }

    #[test]
    fn where_what_comes_in_lacks_room_a_bucket_has_time_to_fill() {
        let mut pace = OpeningPace::default();
        pace.set_lacks_room(ms(0), true);
        pace.set_lacks_room(ms(0), false);
        assert_eq!(pace.begin(ms(0)), Ok(1));
        pace.ended(ms(100), 1);
        assert!(pace.begin(ms(2_599)).is_err());
        assert_eq!(pace.begin(ms(2_600)), Ok(2));
    }

    #[test]
    fn a_known_uplink_keeps_openings_apart_so_that_they_take_a_quarter_of_it() {
        let mut pace = OpeningPace::default();
        pace.set_uplink(Some(64_000));
        assert_eq!(pace.begin(ms(0)), Ok(1));
        assert_eq!(pace.begin(ms(100)), Err(ms(5_000)));
        pace.set_uplink(Some(0));
        assert_eq!(pace.begin(ms(5_000)), Err(ms(10_000)), "the longest distance");
        pace.set_uplink(None);
        assert_eq!(pace.begin(ms(5_000)), Ok(2));
    }

    #[test]
    fn what_is_known_already_is_no_change() {
        let mut one_by_one = OneByOne::default();
        assert!(!one_by_one.set_lacks_room(ms(0), false));
        assert_eq!(one_by_one.timers(), [None; 2]);
        assert!(one_by_one.set_lacks_room(ms(0), true));
        assert!(!one_by_one.set_lacks_room(ms(100), true));
        one_by_one.ended(ms(100), ms(200));
        assert_eq!(one_by_one.timers(), [Some(ms(30_100)), Some(ms(700))]);
    }

    #[test]
    fn a_link_that_opened_soon_does_not_shorten_the_rest_after_one_that_took_long() {
        let mut one_by_one = OneByOne::default();
        one_by_one.ended(ms(1_000), ms(900));
        one_by_one.ended(ms(1_100), ms(50));
        assert!(one_by_one.rests(ms(3_699)));
        assert!(!one_by_one.rests(ms(3_700)));
    }
}
