//! What comes in reliably: segments are put in order, and their records given whole.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use voicemesh_wire::limits::RELIABLE_DATA_BYTES;
use voicemesh_wire::packet::{DataSegment, Record};

use super::{FLIGHT_SEGMENTS, HELD_SEGMENTS};

/// An acknowledgement waits for so many segments …
const ACKNOWLEDGED_AT: u32 = 4;
/// … but no longer than this.
const ACKNOWLEDGED_AFTER: Duration = Duration::from_millis(8);

/// What the sender did cannot come from one that keeps to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A record goes on that did not begin, or begins before the last one ended.
    #[error("records are mixed up")]
    MixedRecords,
    /// A message is larger than one may be.
    #[error("a message is too large")]
    TooLarge,
}

/// One direction of a pipe, as its receiver sees it.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    next: u32,
    later: BTreeMap<u32, Part>,
    partial: Option<Partial>,
    /// Segments of records that were given out and are not taken yet.
    given: usize,
    ack: Ack,
}

#[derive(Debug)]
struct Part {
    record: Record,
    is_first: bool,
    is_last: bool,
    payload: Bytes,
}

#[derive(Debug)]
struct Partial {
    record: Record,
    bytes: BytesMut,
    segments: usize,
}

#[derive(Debug, Default)]
struct Ack {
    unacknowledged: u32,
    since: Option<Duration>,
    at_once: bool,
    /// What was last said to have room.
    room_told: usize,
}

/// A record that is complete and in its turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complete {
    pub record: Record,
    pub bytes: Bytes,
    pub segments: usize,
}

impl Receiving {
    /// Takes a segment, whose payload lies in `payload`. What is complete by it is put into `out`.
    pub(super) fn receive(
        &mut self,
        now: Duration,
        segment: &DataSegment<'_>,
        payload: Bytes,
        out: &mut VecDeque<Complete>,
    ) -> Result<(), Violation> {
        let ahead = segment.number.wrapping_sub(self.next);
        let is_new = (ahead as usize) < self.room().min(FLIGHT_SEGMENTS + 1)
            && !self.later.contains_key(&segment.number);
        self.ack.unacknowledged += 1;
        self.ack.since.get_or_insert(now);
        if !is_new {
            self.ack.at_once = true;
            return Ok(());
        }
        let DataSegment { record, is_first, is_last, .. } = *segment;
        self.later.insert(segment.number, Part { record, is_first, is_last, payload });
        // A gap, or the end of one: the sender wants to know.
        self.ack.at_once |= self.later.len() > 1 || ahead > 0;
        while let Some(part) = self.later.remove(&self.next) {
            self.next = self.next.wrapping_add(1);
            if let Some(complete) = self.join(part)? {
                self.given += complete.segments;
                out.push_back(complete);
            }
        }
        Ok(())
    }

    /// A record of so many segments was taken by the program.
    pub(super) fn taken(&mut self, now: Duration, segments: usize) {
        self.given = self.given.saturating_sub(segments);
        // A sender that was told of little room waits to hear of more.
        if self.ack.room_told < FLIGHT_SEGMENTS && self.room() >= 2 * FLIGHT_SEGMENTS {
            self.ack.since.get_or_insert(now);
            self.ack.at_once = true;
        }
    }

    /// When an acknowledgement is due.
    pub(super) fn ack_due(&self) -> Option<Duration> {
        let since = self.ack.since?;
        let is_due = self.ack.at_once || self.ack.unacknowledged >= ACKNOWLEDGED_AT;
        Some(if is_due { since } else { since + ACKNOWLEDGED_AFTER })
    }

    /// What an acknowledgement says now: the next, what is there beyond it, and the room. It is not
    /// due any more.
    pub(super) fn acknowledge(&mut self) -> (u32, u64, u16) {
        let later = self.later.keys().map(|number| number.wrapping_sub(self.next));
        let mask = later
            .filter(|ahead| (1..=64).contains(ahead))
            .fold(0, |mask, ahead| mask | 1 << (ahead - 1));
        let room = self.room();
        self.ack = Ack { room_told: room, ..Ack::default() };
        (self.next, mask, room as u16)
    }

    /// Segments from `next` on that have room. What is held beyond `next` has its room already.
    fn room(&self) -> usize {
        let partial = self.partial.as_ref().map_or(0, |partial| partial.segments);
        HELD_SEGMENTS.saturating_sub(self.given + partial)
    }

    fn join(&mut self, part: Part) -> Result<Option<Complete>, Violation> {
        let Part { record, is_first, is_last, payload } = part;
        match (self.partial.take(), is_first) {
            (None, true) if is_last => Ok(Some(Complete { record, bytes: payload, segments: 1 })),
            (None, true) => {
                self.partial =
                    Some(Partial { record, bytes: BytesMut::from(&payload[..]), segments: 1 });
                Ok(None)
            }
            (Some(mut partial), false) if partial.record == record => {
                if partial.bytes.len() + payload.len() > RELIABLE_DATA_BYTES {
                    return Err(Violation::TooLarge);
                }
                partial.bytes.extend_from_slice(&payload);
                partial.segments += 1;
                // Segments without bytes would make a message of any number of them.
                if partial.segments > 2 + RELIABLE_DATA_BYTES / 512 {
                    return Err(Violation::TooLarge);
                }
                if is_last {
                    let Partial { record, bytes, segments } = partial;
                    return Ok(Some(Complete { record, bytes: bytes.freeze(), segments }));
                }
                self.partial = Some(partial);
                Ok(None)
            }
            (Some(_), _) | (None, false) => Err(Violation::MixedRecords),
        }
    }
}
