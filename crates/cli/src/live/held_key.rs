//! Push-to-talk in a terminal that does not report key releases: a key counts as held while its
//! auto-repeat arrives.
//!
//! The first press opens the microphone for longer than the usual repeat delay. From the first
//! repeat on, the microphone closes when no repeat has arrived for three repeat intervals. Over a
//! slow line repeats arrive late and in groups, so the interval is the longest one seen, which
//! decays with each repeat.
//!
//! A second press closes the microphone. By itself it looks like a first repeat, whose delay lies
//! between 0.2 and 1 s: what comes then is a second press if no repeat follows. The repeats of a key
//! that was held tell how long this keyboard's delay is, and how exactly this line keeps time. From
//! then on only what comes at that time is in doubt, and every other press closes at once.

use std::time::Duration;

/// A press opens for this long without a repeat: longer than the longest usual repeat delay (1 s).
const FIRST_PRESS: Duration = Duration::from_millis(1_100);
/// No keyboard repeats earlier than this after the press, so what comes earlier is a second press.
const SHORTEST_REPEAT_DELAY: Duration = Duration::from_millis(200);
/// A press that may be the first repeat is one if another follows within this time. After a first
/// press has run out, what follows within this time may be a late first repeat.
const SECOND_REPEAT: Duration = Duration::from_millis(300);
/// A late first repeat opens for this long: with the 200 ms that it was late, no longer than a
/// press that was not late.
const LATE_REPEAT: Duration = Duration::from_millis(1_000);
/// How far a repeat delay may differ from the one measured before: a keyboard that is read every
/// 20 ms.
const SMALLEST_TOLERANCE: Duration = Duration::from_millis(50);
/// The same for a line that delays each key by up to 200 ms, and as long as few repeats tell how
/// exactly they come.
const LARGEST_TOLERANCE: Duration = Duration::from_millis(400);
/// So many repeats tell it: about a second.
const TELLING_REPEATS: u32 = 20;
/// Without a repeat for this many intervals the key is up, within the limits below.
const INTERVALS: u32 = 3;
const SHORTEST_WAIT: Duration = Duration::from_millis(150);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// What remains of the longest interval with each repeat.
const DECAY: f64 = 0.97;

/// Whether the key to talk is held, as far as its repeats tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct HeldKey {
    state: State,
    /// What the keys that were held told; `None` before, and after it was wrong.
    keyboard: Option<Keyboard>,
}

/// The keyboard and the line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Keyboard {
    /// Time from a press to its first repeat, as measured last.
    delay: Duration,
    /// What many repeats told; `None` while there were few.
    rhythm: Option<Rhythm>,
}

/// How repeats come.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rhythm {
    /// The longest time between two.
    interval: Duration,
    /// How far the next repeat delay may differ from the one that was measured.
    tolerance: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Up,
    /// Pressed once.
    Pressed { at: Duration },
    /// Pressed, and once more after what may be the repeat delay.
    PressedTwice { at: Duration, delay: Duration },
    /// Held: repeats arrive.
    Repeating(Repeats),
    /// A second press closed the microphone, so long after the first one.
    ClosedByPress { at: Duration, delay: Duration },
    /// No repeat came in time for a press.
    RanOut { at: Duration, pressed_at: Duration },
    /// Pressed after that: a first repeat that came late, or another press.
    PressedLate { at: Duration, delay: Duration },
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Repeats {
    at: Duration,
    /// The longest time between two, which decays.
    interval: Duration,
    /// When the first of them came, how many followed, and the longest time between two.
    since: Duration,
    count: u32,
    longest: Duration,
}

impl HeldKey {
    /// The key was pressed, or repeated. `Some` if the microphone opens (true) or closes.
    pub(crate) fn press(&mut self, now: Duration) -> Option<bool> {
        let due = self.poll(now);
        let since = |at: Duration| now.saturating_sub(at);
        let (state, change) = match self.state {
            State::Up => (State::Pressed { at: now }, Some(true)),
            State::Pressed { at } if self.can_be_repeat(since(at)) => {
                (State::PressedTwice { at: now, delay: since(at) }, None)
            }
            State::Pressed { at } => {
                (State::ClosedByPress { at: now, delay: since(at) }, Some(false))
            }
            State::PressedTwice { at, delay } => (self.repeats(now, since(at), delay), None),
            State::PressedLate { at, delay } if since(at) < SECOND_REPEAT => {
                (self.repeats(now, since(at), delay), None)
            }
            State::PressedLate { at, .. } if self.can_be_repeat(since(at)) => {
                (State::PressedTwice { at: now, delay: since(at) }, None)
            }
            State::PressedLate { at, .. } => {
                (State::ClosedByPress { at: now, delay: since(at) }, Some(false))
            }
            State::Repeating(repeats) => {
                let repeats = repeats.and(now);
                if let (Some(keyboard), Some(rhythm)) = (&mut self.keyboard, repeats.rhythm()) {
                    keyboard.rhythm = Some(rhythm);
                }
                (State::Repeating(repeats), None)
            }
            // That was no second press but a repeat: the key is held.
            State::ClosedByPress { at, delay } if since(at) < SECOND_REPEAT => {
                self.keyboard = None;
                (self.repeats(now, since(at), delay), Some(true))
            }
            State::ClosedByPress { .. } => (State::Pressed { at: now }, Some(true)),
            State::RanOut { at, pressed_at }
                if since(at) < SECOND_REPEAT && self.can_be_repeat(since(pressed_at)) =>
            {
                (State::PressedLate { at: now, delay: since(pressed_at) }, Some(true))
            }
            State::RanOut { .. } => (State::Pressed { at: now }, Some(true)),
        };
        self.state = state;
        // What closed a moment ago and opens now has not changed.
        if due.is_some() && change.is_some() && due != change { None } else { change.or(due) }
    }

    /// Time has passed. `Some(false)` if the microphone closes.
    pub(crate) fn poll(&mut self, now: Duration) -> Option<bool> {
        let closes_at = match self.state {
            State::Up | State::ClosedByPress { .. } | State::RanOut { .. } => return None,
            State::Pressed { at } => at + FIRST_PRESS,
            State::PressedLate { at, .. } => at + LATE_REPEAT,
            State::PressedTwice { at, .. } => at + self.second_repeat(),
            State::Repeating(repeats) => repeats.at + wait(repeats.interval, LONGEST_WAIT),
        };
        if now < closes_at {
            return None;
        }
        self.state = match self.state {
            State::Pressed { at } | State::PressedLate { at, .. } => {
                State::RanOut { at: closes_at, pressed_at: at }
            }
            _ => State::Up,
        };
        Some(false)
    }

    /// Closes the microphone, whatever the key does: its repeats go elsewhere. `Some(false)` if it
    /// was open.
    pub(crate) fn release(&mut self) -> Option<bool> {
        let is_closed =
            matches!(self.state, State::Up | State::ClosedByPress { .. } | State::RanOut { .. });
        self.state = State::Up;
        (!is_closed).then_some(false)
    }

    fn can_be_repeat(&self, delay: Duration) -> bool {
        match self.keyboard {
            Some(Keyboard { delay: measured, rhythm: Some(rhythm) }) => {
                measured.abs_diff(delay) <= rhythm.tolerance
            }
            Some(Keyboard { delay: measured, rhythm: None }) => {
                delay >= SHORTEST_REPEAT_DELAY && measured.abs_diff(delay) <= LARGEST_TOLERANCE
            }
            None => delay >= SHORTEST_REPEAT_DELAY,
        }
    }

    /// How long after what may be the first repeat the second one must come.
    fn second_repeat(&self) -> Duration {
        self.rhythm().map_or(SECOND_REPEAT, |rhythm| wait(rhythm.interval, SECOND_REPEAT))
    }

    fn rhythm(&self) -> Option<Rhythm> {
        self.keyboard.and_then(|keyboard| keyboard.rhythm)
    }

    /// The key is held: a second repeat came, so long after the first one, and that one `delay`
    /// after the press.
    fn repeats(&mut self, now: Duration, interval: Duration, delay: Duration) -> State {
        let rhythm = self.rhythm();
        self.keyboard = Some(Keyboard { delay, rhythm });
        let expected = rhythm.map_or(LONGEST_WAIT / INTERVALS, |rhythm| rhythm.interval);
        State::Repeating(Repeats {
            at: now,
            interval: expected.max(interval),
            since: now,
            count: 0,
            longest: Duration::ZERO,
        })
    }
}

impl Repeats {
    fn and(self, now: Duration) -> Self {
        let interval = now.saturating_sub(self.at);
        Self {
            at: now,
            interval: self.interval.mul_f64(DECAY).max(interval),
            since: self.since,
            count: self.count + 1,
            longest: self.longest.max(interval),
        }
    }

    fn rhythm(&self) -> Option<Rhythm> {
        if self.count < TELLING_REPEATS {
            return None;
        }
        let usual = self.at.saturating_sub(self.since) / self.count;
        // A press and its repeat may both be as late as the latest of these, and a little later.
        let tolerance =
            (self.longest.saturating_sub(usual) * 3).clamp(SMALLEST_TOLERANCE, LARGEST_TOLERANCE);
        Some(Rhythm { interval: self.longest, tolerance })
    }
}

/// How long no repeat may come before the key is up.
fn wait(interval: Duration, longest: Duration) -> Duration {
    (interval * INTERVALS).clamp(SHORTEST_WAIT, longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::microphone::RELEASE;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Feeds key presses at these times and polls every 20 ms. Returns when the microphone opened
    /// and closed.
    fn changes(key: &mut HeldKey, presses: &[u64]) -> Vec<(u64, bool)> {
        let end = presses.last().map_or(0, |last| last + 2_000);
        let mut changes = Vec::new();
        for now in presses[0]..end {
            for _ in presses.iter().filter(|at| **at == now) {
                changes.extend(key.press(ms(now)).map(|open| (now, open)));
            }
            if now % 20 == 0 {
                changes.extend(key.poll(ms(now)).map(|open| (now, open)));
            }
        }
        changes
    }

    /// A key held from `start` for `length`, as auto-repeat reports it; each report arrives up to
    /// `jitter` late, in order.
    fn held(
        start: u64,
        length: u64,
        (delay, interval): (u64, u64),
        jitter: u64,
        seed: &mut u64,
    ) -> Vec<u64> {
        let repeats =
            (0..).map(|n| start + delay + n * interval).take_while(|at| *at < start + length);
        let mut last = 0;
        std::iter::once(start)
            .chain(repeats)
            .map(|at| {
                *seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                last = last.max(at + (*seed >> 33) % (jitter + 1));
                last
            })
            .collect()
    }

    /// Repeat delay and interval: 250 ms and 33 a second, and so on.
    const KEYBOARDS: [(u64, u64); 4] = [(250, 30), (500, 33), (660, 40), (1_000, 83)];

    #[test]
    fn a_held_key_opens_without_a_hole_and_closes_soon_after_its_release() {
        let mut seed = 1;
        for keyboard in KEYBOARDS {
            for jitter in [0, 100, 200] {
                let mut key = HeldKey::default();
                for round in 0..50 {
                    let (start, length) = (round * 20_000, 100 + round * 173);
                    let seen = changes(&mut key, &held(start, length, keyboard, jitter, &mut seed));
                    let (release, case) = (
                        start + length,
                        format!("{keyboard:?}, jitter {jitter}, held {length} ms"),
                    );
                    let Some(((opened, true), (closed, false))) =
                        seen.first().copied().zip(seen.last().copied())
                    else {
                        panic!("{case}: {seen:?}");
                    };
                    assert!(opened <= start + jitter, "{case}: {seen:?}");
                    assert!(
                        closed <= release + 1_200 && closed + 30 >= release,
                        "{case}: {seen:?}"
                    );
                    // Sending goes on for a while after the key is up: a shorter hole is not heard.
                    let holes = seen[1..seen.len() - 1].chunks(2).map(|hole| hole[1].0 - hole[0].0);
                    assert!(holes.max() < Some(RELEASE.as_millis() as u64), "{case}: {seen:?}");
                    assert!(jitter > 0 || seen.len() == 2, "{case}: {seen:?}");
                }
            }
        }
    }

    #[test]
    fn steady_repeats_close_within_three_intervals() {
        for (keyboard, wait) in [((500, 33), 150), ((660, 100), 300)] {
            let presses = held(0, 10_000, keyboard, 0, &mut 1);
            let seen = changes(&mut HeldKey::default(), &presses);
            let last = presses.last().expect("presses");
            assert_eq!(seen.len(), 2, "{seen:?}");
            assert!(
                (last + wait..=last + wait + 20).contains(&seen[1].0),
                "{keyboard:?}: {seen:?}"
            );
        }
    }

    /// Presses of a key whose keyboard is not known yet, or is by the press before.
    fn assert_second_press(key: HeldKey, after: u64, closes_after: u64) {
        let presses = [100_000, 100_000 + after];
        let seen = changes(&mut { key }, &presses);
        let closes = (100_000 + after + closes_after, false);
        assert_eq!(seen, [(100_000, true), closes], "the second press after {after} ms");
    }

    #[test]
    fn a_single_press_opens_for_a_second() {
        let mut key = HeldKey::default();
        assert_eq!(changes(&mut key, &[0]), [(0, true), (1_100, false)]);
        assert_eq!(changes(&mut key, &[5_000]), [(5_000, true), (6_100, false)]);
    }

    #[test]
    fn a_second_press_closes_at_once_or_when_no_repeat_follows_on_a_keyboard_that_is_not_known() {
        for after in [20, 100, 180] {
            assert_second_press(HeldKey::default(), after, 0);
        }
        for after in [200, 300, 500, 660, 1_000, 1_080] {
            assert_second_press(HeldKey::default(), after, 300);
        }
    }

    #[test]
    fn a_second_press_closes_at_once_where_a_key_was_held_before_unless_it_comes_as_a_repeat_would()
    {
        for keyboard in KEYBOARDS {
            let (delay, interval) = keyboard;
            let mut key = HeldKey::default();
            changes(&mut key, &held(0, delay + 25 * interval, keyboard, 0, &mut 1));
            for after in (20..1_100_u64).step_by(20) {
                if after.abs_diff(delay) > 50 {
                    assert_second_press(key, after, 0);
                }
            }
            // As a first repeat would: until no second one has come. Polled every 20 ms.
            let closes = (delay + (3 * interval).max(150)).next_multiple_of(20);
            assert_second_press(key, delay, closes - delay);
        }
    }

    #[test]
    fn the_press_after_a_second_one_opens_again() {
        for after in [100, 600] {
            let seen = changes(&mut HeldKey::default(), &[0, after, after + 400]);
            assert_eq!(seen[2], (after + 400, true), "{seen:?}");
        }
    }

    #[test]
    fn a_repeat_taken_for_a_second_press_opens_again() {
        let mut key = HeldKey::default();
        changes(&mut key, &held(0, 2_000, (300, 33), 0, &mut 1));
        let seen = changes(&mut key, &held(10_000, 2_000, (700, 33), 0, &mut 1));
        assert_eq!(seen[1..3], [(10_700, false), (10_733, true)], "{seen:?}");
        let again = changes(&mut key, &held(20_000, 2_000, (700, 33), 0, &mut 1));
        assert_eq!(again.len(), 2, "the longer delay is known now: {again:?}");
    }

    #[test]
    fn a_first_repeat_that_comes_when_the_press_has_run_out_leaves_no_hole_that_is_heard() {
        for late in [0, 50, 99] {
            let mut key = HeldKey::default();
            // Then every repeat as late.
            let repeats = (0..30).map(|n| 1_100 + late + n * 83);
            let presses: Vec<u64> = std::iter::once(0).chain(repeats).collect();
            let seen = changes(&mut key, &presses);
            let opened_again = (1_100 + late, true);
            let expected = if late == 0 { 2 } else { 4 };
            assert_eq!(seen.len(), expected, "{seen:?}");
            assert!(late == 0 || seen[1..3] == [(1_100, false), opened_again], "{seen:?}");
        }
        // A single late repeat, or another press: no longer than 1.2 s after it was let go.
        assert_eq!(
            changes(&mut HeldKey::default(), &[0, 1_200]),
            [(0, true), (1_100, false), (1_200, true), (2_200, false)]
        );
    }
}
