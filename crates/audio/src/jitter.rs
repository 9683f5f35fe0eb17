//! The jitter buffer of one speaker: frames in as the network delivers them, frames out as playback
//! needs them.
//!
//! It knows sequence numbers, talkspurts and durations, and nothing of what is in a frame. Playback
//! *pulls*: whenever the decoder has less than a block left it calls [`JitterBuffer::next`], and
//! before each block it asks [`JitterBuffer::pace`] whether to speak faster or slower. The rules:
//!
//! - *Depth* is how far playback is behind the fastest frames of late; it should be the target that
//!   the log of arrivals says is worth it (`arrivals`, `cost`). A talkspurt begins at the target,
//!   or deeper if its first frames come late or together. After that the depth changes by
//!   stretching, in pauses first.
//! - A frame may come as the original or as a copy in a later packet, which is as good; whichever
//!   comes first is played.
//! - A missing frame is waited for up to the target. If the frame behind it is there, its coarse
//!   in-band copy repairs the loss, else it is concealed for as long as it lasts. If nothing at all
//!   is there, concealment lasts until it comes, so that a route that became slower costs a pause
//!   and no words.
//! - Concealment ends after [`LONGEST_CONCEALMENT`]; then there is silence until frames come again.

mod arrivals;
mod cost;
mod frame;
mod report;
mod slots;

use std::time::Duration;

use self::{
    arrivals::{Arrival, ArrivalKind, ArrivalLog, LARGEST_LOSS, Losses, micros, micros_of},
    slots::{Content, Head, Slots},
};
use crate::BLOCK_SAMPLES;

pub use self::{
    frame::Frame,
    report::{JitterStats, LossReport},
    slots::CAPACITY,
};

/// After this much concealment in a row (120 ms) there is silence: longer concealment sounds like a
/// machine.
pub const LONGEST_CONCEALMENT: Duration = Duration::from_millis(120);

/// How playback's steps of 10 ms are rounded: a frame may start this much before its delay is over.
/// Not more than a bin of the histogram, whose end the target is.
const EARLY_US: i64 = 2_000;

/// The depth may be so much more than the target before a pause is cut, and before running speech
/// is.
const PAUSE_TOO_DEEP_US: i64 = 2_500;
const SPEECH_TOO_DEEP_US: i64 = 17_000;

/// From here on haste is better than delay.
const URGENT_US: i64 = 50_000;

/// Of what the latest frames waited, so much stays when the depth is reduced, and how many these
/// are.
const KEPT_US: i64 = 5_000;
const RECENT_WAITS: usize = 4;

/// Playback's step.
const BLOCK_US: i64 = 10_000;

/// Talkspurts are compared only within this time of the last frame; after it, any talkspurt is new
/// (PROTOCOL.md, section 8).
const TALKSPURT_MEMORY: Duration = Duration::from_secs(2);

/// What became of an inserted frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It waits to be played.
    Accepted,
    /// It was there already, or has been played: two routes carried it, or a copy and the original.
    Duplicate,
    /// Its time is over, or a later talkspurt has begun.
    Late,
}

/// What to play next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayoutAction<'a> {
    /// This frame.
    Frame(Frame<'a>),
    /// The frame before `next`, which is lost, from the coarse copy that `next` carries.
    Repair {
        /// The lost frame.
        sequence: u64,
        /// Its talkspurt.
        talkspurt: u64,
        /// How many samples it has.
        samples: u32,
        /// The payload of the frame behind it.
        next: &'a [u8],
    },
    /// Concealment of this many samples, because the frame for it is not here.
    Conceal {
        /// How many samples are missing.
        samples: u32,
    },
    /// Nothing for the next 10 ms.
    Silence,
}

/// Whether playback should be faster or slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As spoken.
    Keep,
    /// Shorter by up to so many samples.
    Shorten {
        /// The most to take out.
        most: u32,
        /// When that may be done.
        when: When,
    },
    /// Longer by up to so many samples.
    Lengthen {
        /// The most to put in.
        most: u32,
        /// When that may be done.
        when: When,
    },
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// In a pause only.
    Quiet,
    /// In running speech, where it can be done well.
    Calmly,
    /// At once.
    Urgently,
}

/// Orders one speaker's frames and decides when each is played.
#[derive(Clone, Debug)]
pub struct JitterBuffer {
    slots: Slots,
    /// Frames before this one have had their time.
    next_sequence: u64,
    newest: Option<Newest>,
    played_talkspurt: Option<u64>,
    state: State,
    arrivals: ArrivalLog,
    mean_wait_ms: Option<f32>,
    /// How long the latest frames waited to be asked for, in turn.
    recent_waits_us: [i64; RECENT_WAITS],
    stats: JitterStats,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing waits and nothing plays.
    Idle,
    /// Frames wait for the delay to pass.
    Filling,
    /// One frame after another is played.
    Playing(Playing),
}

#[derive(Clone, Copy, Debug)]
struct Playing {
    talkspurt: u64,
    /// Of the last frame, and so presumably of a missing one.
    frame_samples: u32,
    /// Samples concealed in place of frames from `next_sequence` on.
    bridged: u32,
    /// Samples concealed in a row.
    concealed: u32,
}

/// The latest talkspurt anything came from, and when it came.
#[derive(Clone, Copy, Debug)]
struct Newest {
    talkspurt: u64,
    at: Duration,
}

impl Default for JitterBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl JitterBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self {
            slots: Slots::new(),
            next_sequence: 0,
            newest: None,
            played_talkspurt: None,
            state: State::Idle,
            arrivals: ArrivalLog::new(),
            mean_wait_ms: None,
            recent_waits_us: [0; RECENT_WAITS],
            stats: JitterStats::default(),
        }
    }

    /// Takes a frame that arrived. The payload is copied; nothing is allocated for one of ordinary
    /// length.
    pub fn insert(&mut self, now: Duration, frame: Frame<'_>) -> Inserted {
        let is_old = self.newest.is_some_and(|newest| {
            frame.talkspurt < newest.talkspurt && now.saturating_sub(newest.at) <= TALKSPURT_MEMORY
        });
        let is_again = !is_old
            && !frame.is_copy
            && self.arrivals.has_original(frame.sequence, frame.talkspurt);
        if !is_old {
            let form = if frame.is_copy {
                ArrivalKind::Copy
            } else {
                ArrivalKind::Original { repairs: frame.repairs }
            };
            let Frame { sequence, talkspurt, samples, .. } = frame;
            self.arrivals.note(Arrival { now, sequence, talkspurt, samples, form });
        }
        let mut only_copies_before = false;
        let inserted = if is_again || self.slots.has(frame.sequence) {
            only_copies_before = self.slots.has(frame.sequence) && self.slots.merge(&frame);
            Inserted::Duplicate
        } else if is_old
            || frame.sequence < self.next_sequence
            || self.slots.is_beyond_reach(frame.sequence)
        {
            Inserted::Late
        } else {
            Inserted::Accepted
        };
        match inserted {
            Inserted::Accepted => {
                self.stats.overflow += self.slots.put(now, &frame);
                self.newest = Some(Newest { talkspurt: frame.talkspurt, at: now });
                self.stats.accepted += 1;
                if matches!(self.state, State::Idle) {
                    self.state = State::Filling;
                }
            }
            // Copies are meant to come after what they copy.
            Inserted::Duplicate => {
                self.stats.duplicate +=
                    u64::from(!frame.is_copy && (is_again || !only_copies_before))
            }
            Inserted::Late => self.stats.late += u64::from(!frame.is_copy),
        }
        inserted
    }

    /// Says what to play next, when `left` samples are still to be played before it. Call it again
    /// as soon as less than a block is left, or after 10 ms for [`PlayoutAction::Silence`].
    pub fn next(&mut self, now: Duration, left: u32) -> PlayoutAction<'_> {
        self.arrivals.judge(now);
        match self.state {
            State::Idle => PlayoutAction::Silence,
            State::Filling => self.start(now, left),
            State::Playing(playing) => match self.slots.head() {
                None => self.starve(playing),
                // The old talkspurt ended with a frame that never came.
                Some(head) if head.talkspurt != playing.talkspurt => {
                    self.state = State::Filling;
                    self.start(now, left)
                }
                Some(head) => self.bridge(now, left, head, playing),
            },
        }
    }

    /// Says how the depth should change, when `left` samples are still to be played before the next
    /// frame.
    pub fn pace(&self, now: Duration, left: u32) -> Pace {
        let State::Playing(playing) = self.state else { return Pace::Keep };
        let next_at_us = micros(now).saturating_add(micros_of(left));
        let Some(depth_us) =
            self.arrivals.depth_us(next_at_us, self.next_sequence, playing.talkspurt)
        else {
            return Pace::Keep;
        };
        let is_next_here = self.has_next();
        if !is_next_here && playing.concealed == 0 && self.is_overdue(depth_us, left) {
            return Pace::Lengthen { most: LONGEST_LENGTHENING, when: When::Urgently };
        }
        // The next frame is asked for when less than a block is left, and that moment must not come
        // too early: what counts are whole blocks.
        let fraction_us = micros_of(left % BLOCK_SAMPLES as u32);
        let asked_us = depth_us.saturating_sub(fraction_us);
        let target_us = micros(self.arrivals.target());
        let missing_us = target_us.saturating_sub(asked_us) - EARLY_US;
        if missing_us > 0 {
            let most = samples_of(
                (missing_us.saturating_add(BLOCK_US - 1)) / BLOCK_US * BLOCK_US - fraction_us,
            );
            let when = if is_next_here { urgency(missing_us, 0) } else { When::Quiet };
            return Pace::Lengthen { most: most.max(SHORTEST), when };
        }
        let blocks_us = (asked_us.saturating_sub(target_us)).max(0) / BLOCK_US * BLOCK_US;
        let waiting_us =
            micros_of(self.slots.content_from(self.next_sequence, playing.talkspurt) + left);
        let least_us = self.recent_waits_us.iter().copied().min().unwrap_or(0);
        let removable_us =
            (blocks_us + fraction_us).min(waiting_us - BLOCK_US).min(least_us - KEPT_US);
        if removable_us > PAUSE_TOO_DEEP_US {
            return Pace::Shorten {
                most: samples_of(removable_us),
                when: urgency(removable_us, SPEECH_TOO_DEEP_US),
            };
        }
        Pace::Keep
    }

    /// Whether the frame that comes next is here.
    pub fn has_next(&self) -> bool {
        let State::Playing(playing) = self.state else { return false };
        self.slots.head().is_some_and(|head| {
            head.sequence == self.next_sequence && head.talkspurt == playing.talkspurt
        })
    }

    /// How long frames waited lately from their arrival to being played, in milliseconds.
    pub fn buffer_ms(&self) -> f32 {
        self.mean_wait_ms.unwrap_or_default()
    }

    /// How far playback should be behind the fastest frames.
    pub fn target_delay(&self) -> Duration {
        self.arrivals.target()
    }

    /// How many frames wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether a talkspurt is being played or about to be.
    #[cfg(test)]
    pub fn is_active(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// The counters.
    pub fn stats(&self) -> &JitterStats {
        &self.stats
    }

    /// How originals fared since this was last asked.
    pub fn take_losses(&mut self) -> LossReport {
        let Losses { expected, lost, unrepaired, runs } = self.arrivals.take_losses();
        LossReport { expected, lost, unrepaired, runs, jitter_ms: self.arrivals.jitter_ms() }
    }

    /// Begins a talkspurt, or what is left of one after a stall, once its first frame has waited
    /// long enough.
    fn start(&mut self, now: Duration, left: u32) -> PlayoutAction<'_> {
        let Some(head) = self.slots.head() else {
            self.state = State::Idle;
            return PlayoutAction::Silence;
        };
        let target_us = micros(self.arrivals.target());
        let waited_us = micros(now.saturating_sub(head.arrived));
        let depth_us =
            self.arrivals.depth_us(micros(now), head.sequence, head.talkspurt).unwrap_or(waited_us);
        if depth_us.max(waited_us) + EARLY_US >= target_us {
            self.play(now, left, head.sequence)
        } else {
            PlayoutAction::Silence
        }
    }

    /// Nothing is here: conceal for a while, then be silent.
    fn starve(&mut self, playing: Playing) -> PlayoutAction<'_> {
        if duration_of(playing.concealed) >= LONGEST_CONCEALMENT {
            self.state = State::Idle;
            return PlayoutAction::Silence;
        }
        self.conceal(playing, BLOCK_SAMPLES as u32)
    }

    /// Plays the first frame in line, after filling the time of those missing before it.
    fn bridge(
        &mut self,
        now: Duration,
        left: u32,
        head: Head,
        playing: Playing,
    ) -> PlayoutAction<'_> {
        let missing = head.sequence - self.next_sequence;
        if missing == 0 || duration_of(playing.concealed) >= LONGEST_CONCEALMENT {
            return self.play(now, left, head.sequence);
        }
        // All that wait are less than CAPACITY apart, but the one expected may be far behind them.
        let missing_samples = missing.min(CAPACITY as u64) as u32 * playing.frame_samples;
        let remaining = missing_samples.saturating_sub(playing.bridged);
        // A gap is the moment to grow: what is missing may be late, or come as a copy, rather than
        // be lost.
        let head_at_us = micros(now).saturating_add(micros_of(left + remaining));
        let depth_us =
            self.arrivals.depth_us(head_at_us, head.sequence, head.talkspurt).unwrap_or(i64::MAX);
        if depth_us.saturating_add(EARLY_US) < micros(self.arrivals.target()) {
            return self.conceal(playing, 0);
        }
        if remaining == 0 {
            return self.play(now, left, head.sequence);
        }
        if remaining != playing.frame_samples || !head.repairs {
            return self.conceal(playing, BLOCK_SAMPLES as u32);
        }
        let sequence = head.sequence - 1;
        self.give_up_until(sequence);
        self.next_sequence = head.sequence;
        self.stats.repaired += 1;
        self.arrivals.played(sequence, head.talkspurt);
        self.state = State::Playing(Playing { bridged: 0, concealed: 0, ..playing });
        let (talkspurt, samples) = (head.talkspurt, playing.frame_samples);
        PlayoutAction::Repair {
            sequence,
            talkspurt,
            samples,
            next: self.slots.payload(head.sequence),
        }
    }

    /// Conceals 10 ms, of which `bridged` samples stand for the missing frames and the rest adds to
    /// the delay.
    fn conceal(&mut self, playing: Playing, bridged: u32) -> PlayoutAction<'_> {
        let samples = BLOCK_SAMPLES as u32;
        let (bridged, concealed) =
            (playing.bridged.saturating_add(bridged), playing.concealed + samples);
        self.state = State::Playing(Playing { bridged, concealed, ..playing });
        PlayoutAction::Conceal { samples }
    }

    fn play(&mut self, now: Duration, left: u32, sequence: u64) -> PlayoutAction<'_> {
        let Some(content) = self.slots.take(sequence) else { return PlayoutAction::Silence };
        let Content { talkspurt, last_of_talkspurt, samples, arrived, is_copy, .. } = content;
        if self.played_talkspurt == Some(talkspurt) {
            self.give_up_until(sequence);
        }
        self.next_sequence = sequence.saturating_add(1);
        self.played_talkspurt = Some(talkspurt);
        self.stats.played += 1;
        self.stats.from_copies += u64::from(is_copy);
        self.arrivals.played(sequence, talkspurt);
        self.recent_waits_us[(self.stats.played % RECENT_WAITS as u64) as usize] =
            micros(now.saturating_sub(arrived));
        let wait_ms = (now.saturating_sub(arrived) + duration_of(left)).as_secs_f32() * 1_000.0;
        let mean_ms = self.mean_wait_ms.unwrap_or(wait_ms);
        self.mean_wait_ms = Some(mean_ms + (wait_ms - mean_ms) * 0.1);
        self.state = match self.slots.head() {
            _ if !last_of_talkspurt => State::Playing(Playing {
                talkspurt,
                frame_samples: samples,
                bridged: 0,
                concealed: 0,
            }),
            Some(_) => State::Filling,
            None => State::Idle,
        };
        PlayoutAction::Frame(self.slots.frame(sequence, content))
    }

    fn give_up_until(&mut self, sequence: u64) {
        let lost = sequence.saturating_sub(self.next_sequence);
        if lost <= LARGEST_LOSS {
            self.stats.given_up += lost;
        }
        self.next_sequence = self.next_sequence.max(sequence);
    }

    /// Whether the next frame, not here although the last block before it is about to be played, is
    /// worth slowing down for.
    fn is_overdue(&self, depth_us: i64, left: u32) -> bool {
        let late_us = depth_us - micros_of(left);
        left < 2 * BLOCK_SAMPLES as u32
            && self.slots.len() == 0
            && late_us > OVERDUE_US
            && self.arrivals.is_likely_late(late_us)
    }
}

/// The least and the most that speech is lengthened at a time.
const SHORTEST: u32 = crate::stretch::SHORTEST as u32;
const LONGEST_LENGTHENING: u32 = crate::stretch::LONGEST as u32;

/// A frame that much later than the fastest is no longer expected any moment.
const OVERDUE_US: i64 = 4_000;

fn urgency(by_us: i64, calm_us: i64) -> When {
    if by_us > URGENT_US {
        When::Urgently
    } else if by_us > calm_us {
        When::Calmly
    } else {
        When::Quiet
    }
}

fn samples_of(us: i64) -> u32 {
    u32::try_from(us.max(0) * 48 / 1_000).unwrap_or(u32::MAX)
}

fn duration_of(samples: u32) -> Duration {
    Duration::from_micros(micros_of(samples) as u64)
}

#[cfg(test)]
mod any_arrivals_tests;
#[cfg(test)]
mod tests;
