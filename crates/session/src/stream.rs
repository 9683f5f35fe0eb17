//! One speaker as it arrives: which frames are new, which are doubles, which belong to a talkspurt
//! that is over (PROTOCOL.md, section 8).

use std::time::Duration;

use voicemesh_wire::packet::TalkspurtCounter;

/// Talkspurts and sequence numbers are compared with the last packet only this long after it; then
/// anything is new.
pub const FORGET_AFTER: Duration = Duration::from_secs(2);
/// A sender whose numbers jumped back is followed when nothing but frames that seem old, each ahead
/// of the one before, has come for this long …
const JUMPED_FOR: Duration = Duration::from_millis(600);
/// … and at least so many. What a late route brings again is shorter, or comes at once.
const JUMPED_FRAMES: u32 = 6;
/// How far one of them may be ahead of the one before.
const JUMPED_STEP: u16 = 50;
/// How far behind the newest a frame can be and still be told from a double.
const WINDOW: u64 = 128;
/// Where counting starts, so that frames before the first can be told too.
const ORIGIN: u64 = 1 << 32;

/// A frame's place in its speaker's stream, without wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The extended sequence number: grows by one a frame, over wraps and pauses.
    pub sequence: u64,
    /// Grows with every talkspurt.
    pub talkspurt: u64,
}

/// Why a frame is not to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stale {
    /// It came before, perhaps by another route.
    Duplicate,
    /// It is what is left of a talkspurt that is over.
    OldTalkspurt,
    /// It is too far behind to be told from a double.
    TooOld,
}

/// Why frames missing before the next one were not lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interruption {
    /// The speaker had other listeners, or none. A packet brings copies only of frames that had the
    /// same listeners.
    BySpeaker,
    /// The listener did not listen, or was not to hear. So were the frames of which the next packet
    /// may bring copies.
    ByListener,
}

/// One speaker's stream, as one listener sees it.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    last: Option<Last>,
    /// Set by [`interrupt`](Self::interrupt) until the next frame ahead of the newest.
    interruption: Option<Interruption>,
}

#[derive(Clone, Debug)]
struct Last {
    at: Duration,
    newest: u64,
    /// Bit n: `newest - n` has come.
    seen: u128,
    talkspurt: u64,
    counter: u8,
    /// Frames up to this one are of a talkspurt that is over.
    over: u64,
    /// The first frame after an interruption by the listener: those before it were not for it.
    resumed: u64,
    /// Frames in a row that seem old.
    old: Option<OldRun>,
}

#[derive(Clone, Copy, Debug)]
struct OldRun {
    since: Duration,
    newest: u16,
    frames: u32,
}

impl ReplayWindow {
    /// Places a frame that arrived now.
    pub fn accept(
        &mut self,
        now: Duration,
        sequence: u16,
        talkspurt: TalkspurtCounter,
    ) -> Result<Accepted, Stale> {
        let Some(last) = &mut self.last else {
            let newest = ORIGIN + u64::from(sequence);
            let counter = talkspurt.value();
            self.last = Some(Last {
                at: now,
                newest,
                seen: 1,
                talkspurt: 0,
                counter,
                over: 0,
                resumed: 0,
                old: None,
            });
            return Ok(Accepted { sequence: newest, talkspurt: 0 });
        };
        if now > last.at + FORGET_AFTER {
            self.interruption = None;
            last.start_over(sequence, talkspurt);
            last.at = now;
            return Ok(Accepted { sequence: last.newest, talkspurt: last.talkspurt });
        }
        let talkspurt_step = talkspurt_step(last.counter, talkspurt);
        let placed =
            if talkspurt_step < 0 { Err(Stale::OldTalkspurt) } else { last.place(sequence) };
        let extended = match placed {
            Ok(extended) => extended,
            Err(_) if last.has_jumped(now, sequence) => {
                self.interruption = None;
                last.start_over(sequence, talkspurt);
                last.at = now;
                return Ok(Accepted { sequence: last.newest, talkspurt: last.talkspurt });
            }
            Err(stale) => return Err(stale),
        };
        last.old = None;
        if extended > last.newest
            && let Some(interruption) = self.interruption.take()
            && extended > last.newest + 1
        {
            last.talkspurt += 1;
            last.over = last.newest;
            if interruption == Interruption::ByListener {
                last.resumed = extended;
            }
        }
        if talkspurt_step > 0 && extended > last.newest.saturating_sub(WINDOW) {
            last.talkspurt += talkspurt_step.unsigned_abs();
            last.counter = talkspurt.value();
        }
        last.mark(extended);
        last.at = now;
        Ok(Accepted { sequence: extended, talkspurt: last.talkspurt })
    }
}

impl ReplayWindow {
    /// The speaker may have spoken, but not to this listener: frames missing before the next one
    /// were not lost, and that one begins a talkspurt.
    pub fn interrupt(&mut self, interruption: Interruption) {
        if self.last.is_some() {
            self.interruption = self.interruption.max(Some(interruption));
        }
    }

    /// Whether a frame is ahead of all that came.
    pub fn is_ahead(&self, sequence: u16) -> bool {
        self.last.as_ref().is_none_or(|last| sequence.wrapping_sub(last.newest as u16) as i16 > 0)
    }

    /// Whether a frame of this extended number has been accepted, is too old to tell, or was not
    /// for this listener.
    pub fn has_seen(&self, sequence: u64) -> bool {
        self.last.as_ref().is_some_and(|last| match last.newest.checked_sub(sequence) {
            None => false,
            Some(behind) => {
                behind >= WINDOW || sequence < last.resumed || last.seen & (1 << behind) != 0
            }
        })
    }
}

impl Last {
    /// The newest number with these low bits that is ahead of all that came.
    fn start_over(&mut self, sequence: u16, talkspurt: TalkspurtCounter) {
        let ahead = sequence.wrapping_sub(self.newest as u16);
        self.newest += if ahead == 0 { 1 << 16 } else { u64::from(ahead) };
        self.seen = 1;
        self.talkspurt += 1;
        self.counter = talkspurt.value();
        self.old = None;
    }

    /// Notes a frame that seems old. True if so many have come in their own order that the sender
    /// counts anew.
    fn has_jumped(&mut self, now: Duration, sequence: u16) -> bool {
        let follows =
            |run: &&mut OldRun| (1..=JUMPED_STEP).contains(&sequence.wrapping_sub(run.newest));
        let Some(run) = self.old.as_mut().filter(follows) else {
            self.old = Some(OldRun { since: now, newest: sequence, frames: 1 });
            return false;
        };
        run.newest = sequence;
        run.frames += 1;
        run.frames >= JUMPED_FRAMES && now >= run.since + JUMPED_FOR
    }

    fn place(&self, sequence: u16) -> Result<u64, Stale> {
        let ahead = sequence.wrapping_sub(self.newest as u16) as i16;
        if ahead > 0 {
            return Ok(self.newest + u64::from(ahead.unsigned_abs()));
        }
        let behind = u64::from(ahead.unsigned_abs());
        if behind >= WINDOW {
            Err(Stale::TooOld)
        } else if self.seen & (1 << behind) != 0 {
            Err(Stale::Duplicate)
        } else if self.newest - behind <= self.over {
            Err(Stale::OldTalkspurt)
        } else {
            Ok(self.newest - behind)
        }
    }

    fn mark(&mut self, extended: u64) {
        if extended > self.newest {
            let step = extended - self.newest;
            self.seen = if step >= WINDOW { 0 } else { self.seen << step };
            self.newest = extended;
        }
        self.seen |= 1 << (self.newest - extended);
    }
}

/// How many talkspurts ahead (positive) or behind (negative) a counter is, by the shorter way
/// around.
fn talkspurt_step(current: u8, arrived: TalkspurtCounter) -> i64 {
    let modulus = i64::from(arrived.modulus());
    let ahead = (i64::from(arrived.value()) - i64::from(current)).rem_euclid(modulus);
    if ahead > modulus / 2 { ahead - modulus } else { ahead }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(10);
    const TALKSPURT: TalkspurtCounter = TalkspurtCounter::SevenBit(5);

    fn accept(stream: &mut ReplayWindow, sequence: u16) -> Result<u64, Stale> {
        stream.accept(AT, sequence, TALKSPURT).map(|place| place.sequence)
    }

    /// proves: D-20
    #[test]
    fn numbers_are_extended_over_the_wrap_and_doubles_are_told() {
        let mut stream = ReplayWindow::default();
        let first = accept(&mut stream, 0xFFFE).unwrap();
        assert_eq!(accept(&mut stream, 0), Ok(first + 2));
        assert_eq!(accept(&mut stream, 0xFFFF), Ok(first + 1), "a reordered frame takes its place");
        assert_eq!(accept(&mut stream, 0xFFFF), Err(Stale::Duplicate));
        assert_eq!(accept(&mut stream, 0xFFFD), Ok(first - 1), "even one before the first");
        assert_eq!(accept(&mut stream, 1), Ok(first + 3));
        assert_eq!(accept(&mut stream, 1u16.wrapping_sub(WINDOW as u16)), Err(Stale::TooOld));
    }

    #[test]
    fn a_window_of_frames_in_any_order_gives_each_once() {
        let mut stream = ReplayWindow::default();
        let mut accepted = 0;
        for round in 0..3u16 {
            for n in 0..100u16 {
                let sequence = 65_500u16.wrapping_add((n * 37) % 100);
                accepted += usize::from(accept(&mut stream, sequence).is_ok());
                assert!(round == 0 || accepted == 100);
            }
        }
        assert_eq!(accepted, 100);
    }

    /// proves: D-19
    #[test]
    fn what_is_left_of_an_older_talkspurt_is_dropped() {
        let mut stream = ReplayWindow::default();
        stream.accept(AT, 10, TalkspurtCounter::SevenBit(127)).unwrap();
        let next = stream.accept(AT, 12, TalkspurtCounter::SevenBit(0)).unwrap();
        assert_eq!(next.talkspurt, 1);
        assert_eq!(
            stream.accept(AT, 11, TalkspurtCounter::SevenBit(127)),
            Err(Stale::OldTalkspurt)
        );
        let mut old_sender = ReplayWindow::default();
        old_sender.accept(AT, 10, TalkspurtCounter::TwoBit(3)).unwrap();
        assert!(old_sender.accept(AT, 12, TalkspurtCounter::TwoBit(0)).is_ok());
        assert_eq!(
            old_sender.accept(AT, 11, TalkspurtCounter::TwoBit(3)),
            Err(Stale::OldTalkspurt)
        );
    }

    #[test]
    fn frames_missing_after_an_interruption_are_of_no_talkspurt() {
        let mut stream = ReplayWindow::default();
        stream.interrupt(Interruption::ByListener);
        let first = stream.accept(AT, 100, TALKSPURT).unwrap();
        assert_eq!(
            stream.accept(AT, 103, TALKSPURT),
            Ok(Accepted { sequence: first.sequence + 3, talkspurt: 0 }),
            "102 may come"
        );
        stream.interrupt(Interruption::ByListener);
        let after = stream.accept(AT, 150, TALKSPURT).unwrap();
        assert_eq!(after, Accepted { sequence: first.sequence + 50, talkspurt: 1 });
        assert_eq!(stream.accept(AT, 102, TALKSPURT), Err(Stale::OldTalkspurt));
        assert!(stream.has_seen(after.sequence - 3), "a copy of a frame for others is of no use");
        assert!(
            !stream.has_seen(after.sequence + 1) && stream.is_ahead(151) && !stream.is_ahead(149)
        );
        assert_eq!(
            stream.accept(AT, 149, TALKSPURT).map(|place| place.talkspurt),
            Ok(1),
            "it may have been overtaken"
        );
        stream.interrupt(Interruption::ByListener);
        assert_eq!(
            stream.accept(AT, 151, TALKSPURT).map(|place| place.talkspurt),
            Ok(1),
            "nothing is missing"
        );
        assert_eq!(
            stream.accept(AT, 160, TALKSPURT).map(|place| place.talkspurt),
            Ok(1),
            "these are lost"
        );
    }

    #[test]
    fn the_first_frames_of_a_talkspurt_that_were_lost_are_taken_from_copies() {
        let mut stream = ReplayWindow::default();
        let last = stream.accept(AT, 100, TALKSPURT).unwrap().sequence;
        stream.interrupt(Interruption::BySpeaker);
        let second = stream.accept(AT, 102, TalkspurtCounter::SevenBit(6)).unwrap();
        assert_eq!(second.sequence, last + 2);
        assert!(!stream.has_seen(last + 1), "a copy of the first is welcome");
        assert!(stream.has_seen(last));
    }

    #[test]
    fn a_sender_that_counts_anew_ends_an_interruption() {
        let mut stream = ReplayWindow::default();
        stream.accept(AT, 30_000, TALKSPURT).unwrap();
        stream.interrupt(Interruption::BySpeaker);
        let placed = (0..60).filter_map(|number| {
            let now = AT + Duration::from_millis(20) * (number + 1);
            stream.accept(now, 100 + number as u16, TALKSPURT).ok()
        });
        let talkspurt = placed.last().expect("it is followed").talkspurt;
        let now = AT + Duration::from_millis(1_300);
        assert_eq!(
            stream.accept(now, 163, TALKSPURT).map(|place| place.talkspurt),
            Ok(talkspurt),
            "what is missing was lost"
        );
    }

    /// Frames of 20 ms; gives after how many milliseconds the first is placed.
    fn heard_after_ms(
        stream: &mut ReplayWindow,
        first: u16,
        talkspurt: TalkspurtCounter,
    ) -> Option<u32> {
        (0..150)
            .find(|number| {
                let now = AT + Duration::from_millis(20) * (*number + 1);
                stream.accept(now, first.wrapping_add(*number as u16), talkspurt).is_ok()
            })
            .map(|number| 20 * number)
    }

    #[test]
    fn a_sender_whose_numbers_jump_back_is_heard_again_within_a_second() {
        for (back, talkspurt) in
            [(1, 5), (60, 5), (127, 5), (1_000, 5), (30_000, 5), (60, 4), (1_000, 100)]
        {
            let mut stream = ReplayWindow::default();
            let newest = 40_000;
            for number in 0..200 {
                stream.accept(AT, newest - 199 + number, TALKSPURT).unwrap();
            }
            let after =
                heard_after_ms(&mut stream, newest - back, TalkspurtCounter::SevenBit(talkspurt));
            assert!(
                after.is_some_and(|after| after <= 700),
                "back by {back}, talkspurt {talkspurt}: {after:?}"
            );
        }
    }

    #[test]
    fn what_a_late_route_brings_again_is_no_jump() {
        let mut stream = ReplayWindow::default();
        for number in 0..100 {
            stream.accept(AT, number, TALKSPURT).unwrap();
        }
        // A second of frames at once, then 200 ms of them as they were spoken.
        for number in 50..100 {
            assert_eq!(
                stream.accept(AT + Duration::from_millis(800), number, TALKSPURT),
                Err(Stale::Duplicate)
            );
        }
        for number in 0..10 {
            let now = AT + Duration::from_millis(900 + 20 * u64::from(number));
            assert_eq!(stream.accept(now, number, TALKSPURT), Err(Stale::Duplicate));
        }
        // While new frames come, old ones beside them are old.
        for number in 0..100 {
            let now = AT + Duration::from_millis(1_200 + 20 * u64::from(number));
            assert!(stream.accept(now, 100 + number, TALKSPURT).is_ok());
            assert!(stream.accept(now, number + 20, TALKSPURT).is_err());
        }
    }

    #[test]
    fn after_two_silent_seconds_anything_is_new_and_still_ahead() {
        let mut stream = ReplayWindow::default();
        let before = stream.accept(AT, 1000, TALKSPURT).unwrap();
        assert_eq!(stream.accept(AT, 3, TALKSPURT), Err(Stale::TooOld));
        let later = AT + FORGET_AFTER + Duration::from_millis(1);
        let after = stream.accept(later, 3, TalkspurtCounter::SevenBit(4)).unwrap();
        assert!(after.sequence > before.sequence && after.talkspurt > before.talkspurt);
        assert_eq!(after.sequence as u16, 3);
    }
}
