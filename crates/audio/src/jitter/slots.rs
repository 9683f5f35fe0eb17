//! The frames that wait, each in its place.

use std::time::Duration;

use super::frame::Frame;
use crate::MAX_FRAME_BYTES;

/// Frames a buffer holds. Overflow: the oldest frames are dropped and counted, so that a late but
/// large delivery ends with the newest speech.
pub const CAPACITY: usize = 64;

/// A frame's place is its sequence modulo the capacity; all that wait are less than the capacity
/// apart.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    waiting: usize,
    /// The first and the last in line, if any waits.
    head: u64,
    highest: u64,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    sequence: u64,
    state: SlotState,
    /// Kept for its memory when the frame is gone.
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SlotState {
    #[default]
    Empty,
    Waiting(Content),
    Played {
        was_copy: bool,
    },
}

/// What is known of a frame besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub talkspurt: u64,
    pub last_of_talkspurt: bool,
    pub samples: u32,
    pub arrived: Duration,
    pub is_copy: bool,
    pub repairs: bool,
}

/// The first frame in line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub sequence: u64,
    pub talkspurt: u64,
    pub arrived: Duration,
    pub repairs: bool,
}

impl Slots {
    pub fn new() -> Self {
        let slot = || Slot { payload: Vec::with_capacity(MAX_FRAME_BYTES), ..Slot::default() };
        Self { slots: (0..CAPACITY).map(|_| slot()).collect(), waiting: 0, head: 0, highest: 0 }
    }

    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether a frame waits, or has been played not long ago.
    pub fn has(&self, sequence: u64) -> bool {
        let slot = self.slot(sequence);
        slot.sequence == sequence && slot.state != SlotState::Empty
    }

    /// Whether later frames wait with which this one cannot.
    pub fn is_beyond_reach(&self, sequence: u64) -> bool {
        self.waiting > 0 && self.highest.saturating_sub(sequence) >= CAPACITY as u64
    }

    /// The original of what waits as a copy, or a copy of what waits: what either knows is known.
    /// True if only a copy was here before.
    pub fn merge(&mut self, frame: &Frame<'_>) -> bool {
        match &mut self.slot_mut(frame.sequence).state {
            SlotState::Waiting(content) if content.talkspurt == frame.talkspurt => {
                let was_copy = content.is_copy;
                content.is_copy &= frame.is_copy;
                content.last_of_talkspurt |= frame.last_of_talkspurt;
                was_copy
            }
            SlotState::Played { was_copy } => *was_copy,
            SlotState::Waiting(_) | SlotState::Empty => false,
        }
    }

    /// Puts a frame in its place; gives how many older ones had to go for it.
    pub fn put(&mut self, now: Duration, frame: &Frame<'_>) -> u64 {
        let dropped = self.make_room(frame.sequence);
        let slot = self.slot_mut(frame.sequence);
        slot.sequence = frame.sequence;
        slot.state = SlotState::Waiting(Content {
            talkspurt: frame.talkspurt,
            last_of_talkspurt: frame.last_of_talkspurt,
            samples: frame.samples,
            arrived: now,
            is_copy: frame.is_copy,
            repairs: frame.repairs,
        });
        slot.payload.clear();
        slot.payload.extend_from_slice(frame.payload);
        self.head = if self.waiting == 0 { frame.sequence } else { self.head.min(frame.sequence) };
        self.highest =
            if self.waiting == 0 { frame.sequence } else { self.highest.max(frame.sequence) };
        self.waiting += 1;
        dropped
    }

    /// The first frame in line.
    pub fn head(&self) -> Option<Head> {
        let (sequence, content) = (self.head, self.waiting(self.head)?);
        let Content { talkspurt, arrived, repairs, .. } = content;
        Some(Head { sequence, talkspurt, arrived, repairs })
    }

    /// How many samples wait without a hole from `sequence` on.
    pub fn content_from(&self, sequence: u64, talkspurt: u64) -> u32 {
        (sequence..=sequence.saturating_add(CAPACITY as u64 - 1))
            .map_while(|sequence| {
                self.waiting(sequence).filter(|content| content.talkspurt == talkspurt)
            })
            .map(|content| content.samples)
            .sum()
    }

    /// Takes a frame from the line; its payload stays until its place is needed.
    pub fn take(&mut self, sequence: u64) -> Option<Content> {
        let content = self.waiting(sequence)?;
        self.slot_mut(sequence).state = SlotState::Played { was_copy: content.is_copy };
        self.leave();
        Some(content)
    }

    pub fn payload(&self, sequence: u64) -> &[u8] {
        &self.slot(sequence).payload
    }

    pub fn frame(&self, sequence: u64, content: Content) -> Frame<'_> {
        let Content { talkspurt, last_of_talkspurt, samples, is_copy, repairs, .. } = content;
        Frame {
            sequence,
            talkspurt,
            last_of_talkspurt,
            samples,
            is_copy,
            repairs,
            payload: self.payload(sequence),
        }
    }

    /// Drops the oldest so that `sequence` is less than the capacity ahead of every frame that
    /// waits.
    fn make_room(&mut self, sequence: u64) -> u64 {
        let mut dropped = 0;
        while self.waiting > 0 && sequence.saturating_sub(self.head) >= CAPACITY as u64 {
            let head = self.head;
            self.slot_mut(head).state = SlotState::Empty;
            self.leave();
            dropped += 1;
        }
        dropped
    }

    /// One frame has left the line: find the new first.
    fn leave(&mut self) {
        self.waiting -= 1;
        let waiting = self.slots.iter().filter(|slot| matches!(slot.state, SlotState::Waiting(_)));
        self.head = waiting.map(|slot| slot.sequence).min().unwrap_or_default();
    }

    fn waiting(&self, sequence: u64) -> Option<Content> {
        match self.slot(sequence) {
            Slot { sequence: here, state: SlotState::Waiting(content), .. }
                if *here == sequence =>
            {
                Some(*content)
            }
            _ => None,
        }
    }

    fn slot(&self, sequence: u64) -> &Slot {
        &self.slots[(sequence % CAPACITY as u64) as usize]
    }

    fn slot_mut(&mut self, sequence: u64) -> &mut Slot {
        &mut self.slots[(sequence % CAPACITY as u64) as usize]
    }
}
