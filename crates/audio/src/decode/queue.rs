//! Decoded sound that waits to be rendered, with what was played before it, and what each piece of
//! it is.

use std::{collections::VecDeque, time::Duration};

use super::{Playing, Rendered, opus::LONGEST_PACKET_SAMPLES};
use crate::{
    BLOCK_SAMPLES, Block,
    stretch::{self, Join, OVERLAP},
};

/// What was played last stays for so long (20 ms), to be repeated when speech is lengthened.
const HISTORY: usize = 960;

/// Room to lengthen before what waits.
const ROOM: usize = 4 * stretch::LONGEST;

/// Where what waits begins after it was moved.
const ORIGIN: usize = HISTORY + ROOM;

/// Samples that may wait: two of the longest packets and what is left of a third.
const MOST_WAITING: usize = 3 * LONGEST_PACKET_SAMPLES;

/// Pieces that may wait. Frames are blocks at least, so there are never so many.
const MOST_PIECES: usize = 64;

/// What Opus hands out late: its encoder's look-ahead in VOIP mode, 6.5 ms.
const CODEC_DELAY_SAMPLES: i64 = 312;

/// The end of a piece that nothing follows fades out over this many samples.
const FADE_OUT: usize = 120;

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    pcm: Box<[f32; ORIGIN + MOST_WAITING]>,
    start: usize,
    end: usize,
    pieces: VecDeque<Piece>,
}

/// Samples of one kind.
#[derive(Clone, Copy, Debug)]
struct Piece {
    samples: usize,
    what: Rendered,
    place: Option<SamplePosition>,
}

/// Which of the speaker's samples a piece begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct SamplePosition {
    pub sequence: u64,
    pub talkspurt: u64,
    pub frame_samples: u32,
    /// Whether the frame before it is of the same talkspurt.
    pub follows: bool,
    pub offset: i64,
}

impl SamplePosition {
    /// As told to others: without the codec's delay.
    fn playing(&self) -> Playing {
        let (mut sequence, mut offset) = (self.sequence, self.offset - CODEC_DELAY_SAMPLES);
        if offset < 0 {
            match sequence.checked_sub(1).filter(|_| self.follows) {
                Some(before) => {
                    (sequence, offset) = (before, (offset + i64::from(self.frame_samples)).max(0))
                }
                None => offset = 0,
            }
        }
        Playing {
            sequence,
            talkspurt: self.talkspurt,
            offset: Duration::from_nanos(offset as u64 * 1_000_000 / 48),
        }
    }
}

impl Queue {
    pub fn new() -> Self {
        Self {
            pcm: Box::new([0.0; ORIGIN + MOST_WAITING]),
            start: ORIGIN,
            end: ORIGIN,
            pieces: VecDeque::with_capacity(MOST_PIECES),
        }
    }

    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether a packet of any length still fits.
    pub fn has_room(&self) -> bool {
        self.len() + LONGEST_PACKET_SAMPLES <= MOST_WAITING && self.pieces.len() + 4 < MOST_PIECES
    }

    /// What waits.
    pub fn waiting(&self) -> &[f32] {
        &self.pcm[self.start..self.end]
    }

    /// Appends so many samples, for the caller to fill in.
    pub fn append(
        &mut self,
        samples: usize,
        what: Rendered,
        place: Option<SamplePosition>,
    ) -> &mut [f32] {
        let kept = self.start - HISTORY..self.end;
        let waiting = self.len();
        self.pcm.copy_within(kept, ROOM);
        (self.start, self.end) = (ORIGIN, ORIGIN + waiting + samples);
        self.pieces.push_back(Piece { samples, what, place });
        &mut self.pcm[self.end - samples..self.end]
    }

    /// Fills a block up with silence.
    pub fn finish_with_silence(&mut self) {
        let waiting = self.len();
        let fading = waiting.min(FADE_OUT);
        for (index, sample) in self.pcm[self.end - fading..self.end].iter_mut().enumerate() {
            *sample *= 1.0 - (index + 1) as f32 / fading as f32;
        }
        if let Some(missing) = BLOCK_SAMPLES.checked_sub(waiting).filter(|missing| *missing > 0) {
            self.append(missing, Rendered::Silence, None).fill(0.0);
        }
    }

    /// Takes a block, which must be there, and tells what it is and which sample it begins with.
    pub fn take(&mut self, out: &mut Block) -> (Rendered, Option<Playing>) {
        let playing =
            self.pieces.front().and_then(|piece| piece.place).map(|place| place.playing());
        let what = self.kind_of_block();
        out.copy_from_slice(&self.pcm[self.start..self.start + BLOCK_SAMPLES]);
        self.start += BLOCK_SAMPLES;
        self.drop_pieces(BLOCK_SAMPLES);
        (what, playing)
    }

    /// The best place to shorten what waits by up to `most`.
    pub fn find_shortening(&self, most: usize) -> Option<Join> {
        stretch::find_shortening(self.waiting(), most.min(self.len().saturating_sub(BLOCK_SAMPLES)))
    }

    /// The best place to lengthen what waits by up to `most`.
    pub fn find_lengthening(&self, most: usize) -> Option<Join> {
        stretch::find_lengthening(&self.pcm[self.start - HISTORY..self.start], self.waiting(), most)
    }

    /// Takes out `join.samples` after the beginning, if a block remains.
    pub fn shorten(&mut self, join: Join) {
        let by = join.samples;
        if by + BLOCK_SAMPLES > self.len() {
            return;
        }
        let (old, rest) = self.pcm[self.start..self.end].split_at_mut(by);
        let faded = OVERLAP.min(by);
        stretch::fade(&old[..faded], &mut rest[..faded], join.likeness);
        self.pcm.copy_within(self.start - HISTORY..self.start, self.start - HISTORY + by);
        self.start += by;
        let front = self.pieces.front().copied();
        self.drop_pieces(by + faded);
        self.stretched(front, faded);
    }

    /// Repeats the `join.samples` before the beginning.
    pub fn lengthen(&mut self, join: Join) {
        let by = join.samples.min(HISTORY);
        let faded = OVERLAP.min(by).min(self.len());
        if self.start < by + HISTORY {
            return;
        }
        self.pcm.copy_within(self.start - HISTORY..self.start, self.start - HISTORY - by);
        let (before, sound) = self.pcm.split_at_mut(self.start);
        // A copy of what is repeated stands before the new beginning now; here is the other.
        let repeated = before.len() - by;
        stretch::fade(&sound[..faded], &mut before[repeated..repeated + faded], join.likeness);
        self.start -= by;
        self.stretched(self.pieces.front().copied(), by);
    }

    /// Notes that the first so many samples are not as spoken.
    fn stretched(&mut self, front: Option<Piece>, samples: usize) {
        let Some(Piece { what, place, .. }) = front else { return };
        let what = match what {
            Rendered::Speech | Rendered::Stretched => Rendered::Stretched,
            Rendered::Concealed | Rendered::Silence => what,
        };
        self.pieces.push_front(Piece { samples, what, place });
    }

    fn kind_of_block(&self) -> Rendered {
        let mut seen = 0;
        let kinds = self.pieces.iter().take_while(|piece| {
            let is_in_it = seen < BLOCK_SAMPLES;
            seen += piece.samples;
            is_in_it
        });
        // Concealment colours a block more than a stretch, and that more than silence at its end.
        let rank = |what: &Rendered| match what {
            Rendered::Silence => 0,
            Rendered::Speech => 1,
            Rendered::Stretched => 2,
            Rendered::Concealed => 3,
        };
        kinds.map(|piece| piece.what).max_by_key(rank).unwrap_or(Rendered::Silence)
    }

    fn drop_pieces(&mut self, mut samples: usize) {
        while let Some(front) = self.pieces.front_mut() {
            if front.samples > samples {
                front.samples -= samples;
                if let Some(place) = &mut front.place {
                    place.offset += samples as i64;
                }
                return;
            }
            samples -= front.samples;
            self.pieces.pop_front();
        }
    }
}
