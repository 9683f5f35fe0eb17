//! The jitter buffer of one speaker: frames in as the network delivers them, frames out as playback needs them.
//!
//! It knows sequence numbers, bursts and durations, and nothing of what is in a frame. Playback *pulls*: whenever the
//! decoder has run dry it calls [`JitterBuffer::next`]. The rules:
//!
//! - A burst's first frame waits for the target delay, which follows the arrival statistics (`delay`).
//! - A missing frame is concealed for as long as it lasts. If it comes in the meantime it is played after all, so that a
//!   route that became slower costs a pause and no words; the delay has grown by that pause.
//! - If the frame behind the missing one is there, its in-band copy repairs the loss.
//! - Concealment ends after [`LONGEST_CONCEALMENT`]; then there is silence until frames come again.
//! - A delay that stays deeper than the target is reported with each frame as a [`Surplus`], which the decoder turns into
//!   a skipped frame where nobody notices. Each new burst starts at the target anyway.

mod delay;
mod wait;

use std::time::Duration;

use self::{
    delay::{Arrival, DelayEstimator, duration_of},
    wait::{Wait, Waits},
};
use crate::BLOCK_SAMPLES;

/// Frames a buffer holds. Overflow: the oldest frames are dropped and counted, so that a late but large delivery ends
/// with the newest speech.
pub const CAPACITY: usize = 64;

/// After this much concealment in a row (120 ms) there is silence: longer guesses sound like a machine.
pub const LONGEST_CONCEALMENT: Duration = Duration::from_millis(120);

/// How playback's steps of 10 ms are rounded: a frame may start this much before its delay is over.
const EARLY_START: Duration = Duration::from_millis(5);

/// A hole in a burst's numbers that is larger (10 s at 20 ms) is no loss: the speaker talked to others in the meantime.
const LARGEST_LOSS: u64 = 500;

/// Bursts are compared only within this time of the last frame; after it, any burst is new (DESIGN §5).
const BURST_MEMORY: Duration = Duration::from_secs(2);

/// A frame as it travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The speaker's frame number, already extended beyond its 16 bits.
    pub sequence: u64,
    /// The speaker's burst, already extended.
    pub burst: u64,
    /// Whether the speaker falls silent after this frame.
    pub last_of_burst: bool,
    /// How many samples of speech it is.
    pub samples: u32,
    /// The encoded speech.
    pub payload: &'a [u8],
}

/// What became of an inserted frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It waits to be played.
    Accepted,
    /// It was there already, or has been played: two routes carried it.
    Duplicate,
    /// Its time is over, or a later burst has begun.
    Late,
}

/// What to play next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playout<'a> {
    /// This frame.
    Frame {
        /// The frame.
        frame: Frame<'a>,
        /// Whether the buffer would rather have it skipped; say so with [`JitterBuffer::skipped`] if it was.
        surplus: Surplus,
    },
    /// A guess of so many samples, because the frame for it is not here.
    Conceal {
        /// How many samples are missing.
        samples: u32,
        /// The frame right behind the missing one, which may carry a copy of it.
        fec: Option<&'a [u8]>,
    },
    /// Nothing for the next 10 ms.
    Silence,
}

/// Whether the delay is longer than it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surplus {
    /// It is not.
    None,
    /// It is: skip this frame if it is quiet.
    SkipIfQuiet,
    /// It has been for long: skip this frame whatever it is.
    Skip,
}

/// Counters of a buffer since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterStats {
    /// Frames that were accepted.
    pub accepted: u64,
    /// Frames that came again.
    pub duplicate: u64,
    /// Frames that came after their time.
    pub late: u64,
    /// Frames dropped because the buffer was full.
    pub overflow: u64,
    /// Frames given out to be played, skipped ones included.
    pub played: u64,
    /// Frames of a burst that were never played although later ones of it were.
    pub given_up: u64,
    /// Of those, frames whose copy in the next frame was given out.
    pub repaired: u64,
    /// Frames skipped to shorten the delay.
    pub skipped: u64,
}

/// Orders one speaker's frames and decides when each is played.
#[derive(Clone, Debug)]
pub struct JitterBuffer {
    /// A frame's place is its sequence modulo the capacity; all that wait are less than the capacity apart.
    slots: Vec<Slot>,
    waiting: usize,
    /// Frames before this one have had their time.
    next_sequence: u64,
    newest: Option<Newest>,
    played_burst: Option<u64>,
    state: State,
    delay: DelayEstimator,
    waits: Waits,
    /// Since when the frame `next_sequence` has been missing with nothing behind it.
    starved_since: Option<Duration>,
    stats: JitterStats,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing waits and nothing plays.
    Idle,
    /// Frames wait for the delay to pass, counted from `since`.
    Filling { since: Duration },
    /// One frame after another is played.
    Playing(Playing),
}

#[derive(Clone, Copy, Debug)]
struct Playing {
    burst: u64,
    /// Of the last frame, and so presumably of a missing one.
    frame_samples: u32,
    /// Samples guessed in place of frames from `next_sequence` on.
    bridged: u32,
    /// Samples guessed in a row.
    guessed: u32,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    sequence: u64,
    content: Content,
    /// Kept for its memory when the frame is gone.
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Content {
    #[default]
    Empty,
    Waiting {
        burst: u64,
        last_of_burst: bool,
        samples: u32,
        arrived: Duration,
        lateness: Duration,
    },
    Played,
}

/// The latest burst anything came from, and when it came.
#[derive(Clone, Copy, Debug)]
struct Newest {
    burst: u64,
    at: Duration,
}

/// The first frame in line.
#[derive(Clone, Copy, Debug)]
struct Head {
    sequence: u64,
    burst: u64,
    arrived: Duration,
    lateness: Duration,
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
            slots: vec![Slot::default(); CAPACITY],
            waiting: 0,
            next_sequence: 0,
            newest: None,
            played_burst: None,
            state: State::Idle,
            delay: DelayEstimator::new(),
            waits: Waits::default(),
            starved_since: None,
            stats: JitterStats::default(),
        }
    }

    /// Takes a frame that arrived. The payload is copied; once every place has held a frame, nothing is allocated.
    pub fn insert(&mut self, now: Duration, frame: Frame<'_>) -> Inserted {
        let slot = &self.slots[place(frame.sequence)];
        if slot.sequence == frame.sequence && slot.content != Content::Empty {
            self.stats.duplicate += 1;
            return Inserted::Duplicate;
        }
        if self.is_too_late(now, &frame) {
            self.stats.late += 1;
            return Inserted::Late;
        }
        let lateness = self.observe(now, &frame);
        self.make_room(frame.sequence);
        let slot = &mut self.slots[place(frame.sequence)];
        slot.sequence = frame.sequence;
        slot.content = Content::Waiting {
            burst: frame.burst,
            last_of_burst: frame.last_of_burst,
            samples: frame.samples,
            arrived: now,
            lateness,
        };
        slot.payload.clear();
        slot.payload.extend_from_slice(frame.payload);
        self.waiting += 1;
        self.newest = Some(Newest { burst: frame.burst, at: now });
        self.stats.accepted += 1;
        if matches!(self.state, State::Idle) {
            self.state = State::Filling { since: now };
        }
        Inserted::Accepted
    }

    /// Says what to play now. Call it again when as many samples as it gave have been played: after 10 ms for
    /// [`Playout::Silence`].
    pub fn next(&mut self, now: Duration) -> Playout<'_> {
        match self.state {
            State::Idle => Playout::Silence,
            State::Filling { since } => self.start(now, since),
            State::Playing(playing) => match self.head() {
                None => self.starve(now, playing),
                // The old burst ended with a frame that never came.
                Some(head) if head.burst != playing.burst => {
                    self.state = State::Filling { since: head.arrived };
                    self.start(now, head.arrived)
                }
                Some(head) => self.bridge(now, head, playing),
            },
        }
    }

    /// Tells that the frame just given out was skipped because of its [`Surplus`].
    pub fn skipped(&mut self, now: Duration, samples: u32) {
        self.stats.skipped += 1;
        self.waits.shorten(now, duration_of(samples));
    }

    /// How long frames waited lately, in milliseconds.
    pub fn buffer_ms(&self) -> f32 {
        self.waits.mean_ms
    }

    /// How long the buffer wants frames to wait.
    pub fn target_delay(&self) -> Duration {
        self.delay.target()
    }

    /// How many frames wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether a burst is being played or about to be.
    pub fn is_active(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// The counters.
    pub fn stats(&self) -> &JitterStats {
        &self.stats
    }

    /// Begins a burst, or what is left of one after a stall, once its first frame has waited long enough.
    fn start(&mut self, now: Duration, since: Duration) -> Playout<'_> {
        let Some(head) = self.head() else {
            self.state = State::Idle;
            return Playout::Silence;
        };
        let Content::Waiting { samples, .. } = self.slots[place(head.sequence)].content else {
            return Playout::Silence;
        };
        let target = self.delay.target();
        // After a stall many come at once: that is depth enough.
        let deep_enough = duration_of(samples * self.waiting as u32) > target + duration_of(samples);
        let waited = now.saturating_sub(since) + EARLY_START;
        if waited >= target || deep_enough { self.play(now, head.sequence) } else { Playout::Silence }
    }

    /// Nothing is here: guess for a while, then be silent.
    fn starve(&mut self, now: Duration, playing: Playing) -> Playout<'_> {
        self.starved_since.get_or_insert(now);
        if duration_of(playing.guessed) >= LONGEST_CONCEALMENT {
            self.state = State::Idle;
            return Playout::Silence;
        }
        self.guess(playing, BLOCK_SAMPLES as u32)
    }

    /// Plays the first frame in line, after filling the time of those missing before it.
    fn bridge(&mut self, now: Duration, head: Head, playing: Playing) -> Playout<'_> {
        let missing = head.sequence - self.next_sequence;
        if missing == 0 || duration_of(playing.guessed) >= LONGEST_CONCEALMENT {
            return self.play(now, head.sequence);
        }
        // All that wait are less than CAPACITY apart, but the one expected may be far behind them.
        let missing_samples = missing.min(CAPACITY as u64) as u32 * playing.frame_samples;
        let remaining = missing_samples.saturating_sub(playing.bridged);
        // A gap is the moment to grow: what is missing may be late rather than lost.
        let depth = now.saturating_sub(head.arrived) + head.lateness + duration_of(remaining);
        if depth + EARLY_START < self.delay.target() {
            return self.guess(playing, 0);
        }
        if remaining == 0 {
            return self.play(now, head.sequence);
        }
        if remaining != playing.frame_samples {
            return self.guess(playing, BLOCK_SAMPLES as u32);
        }
        self.give_up_until(head.sequence);
        self.stats.repaired += 1;
        let samples = playing.frame_samples;
        self.state = State::Playing(Playing { bridged: 0, guessed: playing.guessed + samples, ..playing });
        Playout::Conceal { samples, fec: Some(&self.slots[place(head.sequence)].payload) }
    }

    /// Guesses 10 ms, of which `bridged` samples stand for the missing frames and the rest adds to the delay.
    fn guess(&mut self, playing: Playing, bridged: u32) -> Playout<'_> {
        let samples = BLOCK_SAMPLES as u32;
        let (bridged, guessed) = (playing.bridged + bridged, playing.guessed + samples);
        self.state = State::Playing(Playing { bridged, guessed, ..playing });
        Playout::Conceal { samples, fec: None }
    }

    fn play(&mut self, now: Duration, sequence: u64) -> Playout<'_> {
        let index = place(sequence);
        let Content::Waiting { burst, last_of_burst, samples, arrived, lateness } = self.slots[index].content else {
            return Playout::Silence;
        };
        self.slots[index].content = Content::Played;
        self.waiting -= 1;
        if self.played_burst == Some(burst) {
            self.give_up_until(sequence);
        }
        self.delay.count_outcome(false);
        self.next_sequence = sequence.saturating_add(1);
        self.played_burst = Some(burst);
        self.starved_since = None;
        self.stats.played += 1;
        let wait = now.saturating_sub(arrived);
        self.waits.record(now, Wait { wait, depth: wait + lateness });
        self.state = match self.head() {
            _ if !last_of_burst => State::Playing(Playing { burst, frame_samples: samples, bridged: 0, guessed: 0 }),
            Some(next) => State::Filling { since: next.arrived },
            None => State::Idle,
        };
        let surplus = self.waits.surplus(now, self.delay.target(), duration_of(samples));
        let payload = &self.slots[index].payload;
        Playout::Frame { frame: Frame { sequence, burst, last_of_burst, samples, payload }, surplus }
    }

    fn give_up_until(&mut self, sequence: u64) {
        let lost = sequence.saturating_sub(self.next_sequence);
        if lost <= LARGEST_LOSS {
            self.stats.given_up += lost;
            (0..lost).for_each(|_| self.delay.count_outcome(true));
        }
        self.next_sequence = sequence;
    }

    fn is_too_late(&self, now: Duration, frame: &Frame<'_>) -> bool {
        let highest = self.waiting_slots().map(|slot| slot.sequence).max();
        frame.sequence < self.next_sequence
            || self
                .newest
                .is_some_and(|newest| frame.burst < newest.burst && now.saturating_sub(newest.at) <= BURST_MEMORY)
            || highest.is_some_and(|highest| highest.saturating_sub(frame.sequence) >= CAPACITY as u64)
    }

    /// Feeds the statistics; gives how much later than the fastest frame this one came.
    fn observe(&mut self, now: Duration, frame: &Frame<'_>) -> Duration {
        let expected = frame.sequence == self.next_sequence && self.played_burst == Some(frame.burst);
        let missed_by = self
            .starved_since
            .filter(|_| expected)
            .map(|since| now.saturating_sub(since) + self.waits.latest.unwrap_or_default());
        let Frame { sequence, burst, samples, .. } = *frame;
        self.delay.observe(Arrival { now, sequence, burst, samples, missed_by })
    }

    /// Drops the oldest so that `sequence` is less than the capacity ahead of every frame that waits.
    fn make_room(&mut self, sequence: u64) {
        let oldest_kept = sequence.saturating_sub(CAPACITY as u64 - 1);
        for slot in &mut self.slots {
            if slot.sequence < oldest_kept && matches!(slot.content, Content::Waiting { .. }) {
                slot.content = Content::Empty;
                self.waiting -= 1;
                self.stats.overflow += 1;
            }
        }
    }

    fn head(&self) -> Option<Head> {
        let slot = self.waiting_slots().min_by_key(|slot| slot.sequence)?;
        let Content::Waiting { burst, arrived, lateness, .. } = slot.content else { return None };
        Some(Head { sequence: slot.sequence, burst, arrived, lateness })
    }

    fn waiting_slots(&self) -> impl Iterator<Item = &Slot> {
        let slots = if self.waiting == 0 { &[] } else { self.slots.as_slice() };
        slots.iter().filter(|slot| matches!(slot.content, Content::Waiting { .. }))
    }
}

fn place(sequence: u64) -> usize {
    (sequence % CAPACITY as u64) as usize
}
