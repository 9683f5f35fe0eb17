//! What a buffer tells of its frames.

/// Counters of a buffer since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterStats {
    /// Frames that were accepted, copies included.
    pub accepted: u64,
    /// Originals that came again.
    pub duplicate: u64,
    /// Originals that came after their time.
    pub late: u64,
    /// Frames dropped because the buffer was full.
    pub overflow: u64,
    /// Frames given out to be played.
    pub played: u64,
    /// Of those, frames given out as a copy because the original was not there.
    pub from_copies: u64,
    /// Frames given out as a coarse repair.
    pub repaired: u64,
    /// Frames of a talkspurt of which nothing was given out although later ones of it were.
    pub given_up: u64,
}

/// How originals fared since this was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossReport {
    /// Frames that should have come.
    pub expected: u32,
    /// Originals that did not.
    pub lost: u32,
    /// Frames that were not played in any form.
    pub unrepaired: u32,
    /// Rows of lost originals.
    pub runs: u32,
    /// How unevenly frames come.
    pub jitter_ms: f32,
}
