//! Push-to-talk in a terminal that does not report key releases: a key counts as held while its
//! auto-repeat arrives.
//!
//! The first press opens the microphone for longer than the usual repeat delay. From the first
//! repeat on, the microphone closes when no repeat has arrived for three repeat intervals. Over a
//! slow line repeats arrive late and in groups, so the interval is the longest one seen, which
//! decays with each repeat.

use std::time::Duration;

/// A press opens for this long without a repeat: longer than the longest usual repeat delay (1 s).
const FIRST_PRESS: Duration = Duration::from_millis(1_100);
/// No keyboard repeats earlier than this after the press, so what comes earlier is a second press.
const SHORTEST_REPEAT_DELAY: Duration = Duration::from_millis(200);
/// A press that may be the first repeat is one if another follows within this time.
const SECOND_REPEAT: Duration = Duration::from_millis(300);
/// How far a repeat delay may differ from the one measured before: a slow line delays each key
/// differently.
const DELAY_TOLERANCE: Duration = Duration::from_millis(200);
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
    /// Time from a press to its first repeat, as measured last.
    repeat_delay: Option<Duration>,
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
    Repeating { at: Duration, interval: Duration },
    /// A second press closed the microphone.
    ClosedByPress { at: Duration },
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
            State::Pressed { .. } => (State::ClosedByPress { at: now }, Some(false)),
            State::PressedTwice { delay, .. } => {
                self.repeat_delay = Some(delay);
                (State::Repeating { at: now, interval: LONGEST_WAIT / INTERVALS }, None)
            }
            State::Repeating { at, interval } => {
                let interval = interval.mul_f64(DECAY).max(since(at));
                (State::Repeating { at: now, interval }, None)
            }
            // That was no second press but a repeat: the key is held.
            State::ClosedByPress { at } if since(at) < SECOND_REPEAT => {
                self.repeat_delay = None;
                (State::Repeating { at: now, interval: LONGEST_WAIT / INTERVALS }, Some(true))
            }
            State::ClosedByPress { .. } => (State::Pressed { at: now }, Some(true)),
        };
        self.state = state;
        // What closed a moment ago and opens now has not changed.
        if due.is_some() && change.is_some() && due != change { None } else { change.or(due) }
    }

    /// Time has passed. `Some(false)` if the microphone closes.
    pub(crate) fn poll(&mut self, now: Duration) -> Option<bool> {
        let closes_at = match self.state {
            State::Up | State::ClosedByPress { .. } => return None,
            State::Pressed { at } => at + FIRST_PRESS,
            State::PressedTwice { at, .. } => at + SECOND_REPEAT,
            State::Repeating { at, interval } => {
                at + (interval * INTERVALS).clamp(SHORTEST_WAIT, LONGEST_WAIT)
            }
        };
        if now < closes_at {
            return None;
        }
        self.release()
    }

    /// Closes the microphone, whatever the key does: its repeats go elsewhere. `Some(false)` if it
    /// was open.
    pub(crate) fn release(&mut self) -> Option<bool> {
        let was_open = !matches!(self.state, State::Up | State::ClosedByPress { .. });
        self.state = State::Up;
        was_open.then_some(false)
    }

    fn can_be_repeat(&self, delay: Duration) -> bool {
        delay >= SHORTEST_REPEAT_DELAY
            && self.repeat_delay.is_none_or(|measured| measured.abs_diff(delay) <= DELAY_TOLERANCE)
    }
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
            // A first repeat after 1.2 s would come too late for any press.
            for jitter in if keyboard.0 < 1_000 { vec![0, 200] } else { vec![0, 100] } {
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

    #[test]
    fn a_single_press_opens_for_a_second_and_a_second_one_closes() {
        let mut key = HeldKey::default();
        assert_eq!(changes(&mut key, &[0]), [(0, true), (1_100, false)]);
        assert_eq!(
            changes(&mut key, &[5_000, 5_150]),
            [(5_000, true), (5_150, false)],
            "too early for a repeat"
        );
        assert_eq!(
            changes(&mut key, &[9_000, 9_600]),
            [(9_000, true), (9_900, false)],
            "could be a repeat"
        );
        // The keyboard's repeat delay is known from here on.
        changes(&mut key, &held(20_000, 2_000, (300, 33), 0, &mut 1));
        assert_eq!(changes(&mut key, &[30_000, 30_600]), [(30_000, true), (30_600, false)]);
        assert_eq!(
            changes(&mut key, &[40_000, 40_600, 41_000])[2],
            (41_000, true),
            "the next press opens again"
        );
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
}
