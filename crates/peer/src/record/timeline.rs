//! One speaker's frames on the recording's time: frames in, the packets of a gapless stream out.
//! Time is handed in.
//!
//! Inside a talkspurt the speaker's own numbering is the clock, so that nothing the network does is
//! heard. Where a talkspurt begins, its place is the earliest that its first frames' arrivals
//! allow; so the speaker's clock, which runs a little faster or slower than ours, is set right in
//! every pause and nowhere else.

use std::collections::BTreeMap;
use std::time::Duration;

use super::opus::{self, RATE, SILENCE_STEP};

/// Frames wait so long for earlier ones, and a talkspurt's first ones for those that show how late
/// they are.
const WINDOW: Duration = Duration::from_millis(250);
/// Frames that wait. When there are more, the first is placed at once.
const MOST_WAITING: usize = 64;
/// What is lost in a row is concealed for so long, and silent from there on, as decoders would end
/// it, too: 200 ms.
const CONCEALED: u64 = RATE / 5;
/// When nothing came for longer than this, and the missing frames do not fill it, there was a
/// pause: 400 ms.
const PAUSE: Duration = Duration::from_millis(400);
const PAUSE_SAMPLES: i64 = RATE as i64 * 2 / 5;
/// When more frames are missing than can have been spoken, by more than this, the numbering has
/// jumped: 1 s.
const JUMP: i64 = RATE as i64;
/// Of a pause whose beginning was lost, so many frames are concealed, so that speech does not end
/// like cut off.
const FADE: u64 = 3;
/// After so many frames in a row that are too late, the speaker has begun to count anew.
const MOST_LATE: u32 = 10;

/// A part of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many samples without sound.
    Silence(u64),
    /// A packet: a frame, or one that stands for a lost one.
    Packet {
        /// As it is written.
        packet: Vec<u8>,
        /// How long it is.
        samples: u64,
    },
}

/// One speaker.
#[derive(Debug)]
pub(super) struct Timeline {
    /// When the recording began.
    began: Duration,
    /// Samples that have been placed.
    position: u64,
    state: State,
    /// The number that comes next; unknown before the first frame.
    next: Option<u64>,
    waiting: BTreeMap<u64, Waiting>,
    /// When the last of the frames came that have been placed.
    arrived: Duration,
    late: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The next frame begins a talkspurt.
    Paused,
    /// The next frame follows the last one without a gap.
    Running,
}

#[derive(Debug)]
struct Waiting {
    arrived: Duration,
    pause_follows: bool,
    samples: u64,
    packet: Vec<u8>,
}

impl Timeline {
    /// Of a speaker who has said nothing since the recording began.
    pub(super) fn new(began: Duration) -> Self {
        let (waiting, arrived) = (BTreeMap::new(), began);
        Self { began, position: 0, state: State::Paused, next: None, waiting, arrived, late: 0 }
    }

    /// A frame has arrived. What is no Opus packet is not there.
    pub(super) fn push(
        &mut self,
        now: Duration,
        sequence: u64,
        pause_follows: bool,
        frame: &[u8],
        out: &mut Vec<Piece>,
    ) {
        let Some(samples) = opus::samples(frame) else { return };
        if self.next.is_some_and(|next| sequence < next) {
            self.late += 1;
            if self.late < MOST_LATE {
                return;
            }
            self.finish(out);
            (self.next, self.state) = (None, State::Paused);
        }
        self.late = 0;
        let waiting = Waiting { arrived: now, pause_follows, samples, packet: frame.to_vec() };
        self.waiting.entry(sequence).or_insert(waiting);
        self.ripen(now, out);
    }

    /// Time has passed.
    pub(super) fn ripen(&mut self, now: Duration, out: &mut Vec<Piece>) {
        while self.follows() || self.is_ripe(now) {
            self.place(out);
        }
    }

    /// Nothing more is waited for.
    pub(super) fn finish(&mut self, out: &mut Vec<Piece>) {
        while !self.waiting.is_empty() {
            self.place(out);
        }
    }

    /// Whether the first frame that waits goes on where the last one ended, on time.
    fn follows(&self) -> bool {
        let Some((sequence, first)) = self.waiting.first_key_value() else { return false };
        let is_late = self.begins(first, 0) - self.position as i64 > PAUSE_SAMPLES;
        self.state == State::Running
            && Some(*sequence) == self.next
            && !(is_late && self.comes_after_a_pause(first))
    }

    /// A clock that has run too slow for long makes frames late, too, but not all at once.
    fn comes_after_a_pause(&self, frame: &Waiting) -> bool {
        frame.arrived.saturating_sub(self.arrived) > PAUSE
    }

    /// Whether the first frame that waits need not wait any longer for what tells its place.
    fn is_ripe(&self, now: Duration) -> bool {
        let Some(oldest) = self.waiting.values().map(|waiting| waiting.arrived).min() else {
            return false;
        };
        now.saturating_sub(oldest) >= WINDOW
            || self.waiting.len() > MOST_WAITING
            || self.is_whole_talkspurt()
    }

    /// Whether all of a talkspurt is there, and nothing can come before it.
    fn is_whole_talkspurt(&self) -> bool {
        let Some((first, _)) = self.waiting.first_key_value() else { return false };
        let run = (*first..)
            .zip(&self.waiting)
            .take_while(|(expected, (sequence, _))| expected == *sequence);
        self.state == State::Paused
            && self.next.is_none_or(|next| next == *first)
            && run.into_iter().any(|(_, (_, waiting))| waiting.pause_follows)
    }

    /// Puts the first frame that waits behind what was placed, and what lies between the two.
    fn place(&mut self, out: &mut Vec<Piece>) {
        if !self.follows() {
            self.bridge(out);
        }
        if let Some((sequence, first)) = self.waiting.pop_first() {
            self.next = Some(sequence.saturating_add(1));
            self.state = if first.pause_follows { State::Paused } else { State::Running };
            self.position += first.samples;
            self.arrived = self.arrived.max(first.arrived);
            out.push(Piece::Packet { packet: first.packet, samples: first.samples });
        }
    }

    /// Lost frames, a pause, or both.
    fn bridge(&mut self, out: &mut Vec<Piece>) {
        let Some((sequence, first)) = self.waiting.first_key_value() else { return };
        let (length, like) = (first.samples, opus::lost_like(&first.packet));
        let missing = self.next.map_or(0, |next| sequence - next);
        let lost = missing.saturating_mul(length);
        let passed = self.earliest_begin() - self.position as i64;
        let beyond = passed - i64::try_from(lost).unwrap_or(i64::MAX);
        let until_then = u64::try_from(passed).unwrap_or(0);
        let was_pause = beyond > PAUSE_SAMPLES && self.comes_after_a_pause(first);
        match self.state {
            State::Running if was_pause => {
                let concealed = missing.min(FADE);
                self.lose(concealed, length, &like, out);
                self.rest(until_then - concealed * length, out);
            }
            State::Running if beyond >= -JUMP => {
                let concealed = missing.min(CONCEALED / length);
                self.lose(concealed, length, &like, out);
                self.rest(lost - concealed * length, out);
            }
            State::Running | State::Paused => self.rest(until_then, out),
        }
    }

    fn lose(&mut self, frames: u64, length: u64, like: &[u8], out: &mut Vec<Piece>) {
        self.position += frames * length;
        out.extend((0..frames).map(|_| Piece::Packet { packet: like.to_vec(), samples: length }));
    }

    fn rest(&mut self, samples: u64, out: &mut Vec<Piece>) {
        let samples = samples - samples % SILENCE_STEP;
        self.position += samples;
        if samples > 0 {
            out.push(Piece::Silence(samples));
        }
    }

    /// Where the first frame that waits begins, judged by itself and by those of the same talkspurt
    /// that wait behind it: whichever was delayed least is nearest to the truth.
    fn earliest_begin(&self) -> i64 {
        let (mut earliest, mut before, mut expected) = (i64::MAX, 0, None);
        for (sequence, waiting) in &self.waiting {
            let missing = sequence - expected.unwrap_or(*sequence);
            before +=
                i64::try_from(missing.saturating_mul(waiting.samples)).unwrap_or(i64::MAX / 2);
            if before > JUMP {
                break;
            }
            earliest = earliest.min(self.begins(waiting, before));
            before += waiting.samples as i64;
            expected = Some(sequence.saturating_add(1));
            if waiting.pause_follows {
                break;
            }
        }
        earliest
    }

    /// Where so many samples before this frame's beginning are, if it came without delay: it left
    /// when it was complete.
    fn begins(&self, waiting: &Waiting, before: i64) -> i64 {
        let ended = waiting.arrived.saturating_sub(self.began).as_nanos() * u128::from(RATE)
            / 1_000_000_000;
        i64::try_from(ended).unwrap_or(i64::MAX) - waiting.samples as i64 - before
    }
}

#[cfg(test)]
mod tests;
