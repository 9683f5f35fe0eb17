//! What a listener tells of its work: what was just played, counters, and the reception report to
//! the speaker.

use std::time::Duration;

/// What a rendered block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// What the speaker said, at the speed it was said.
    Speech,
    /// What the speaker said, a little faster or slower to change the delay; the pitch is kept.
    Stretched,
    /// Concealment, because frames are missing.
    Concealed,
    /// Zeros: the speaker is silent.
    Silence,
}

/// The place in what the speaker said that a rendered block begins with. When that place was
/// captured, this long ago it was said: capture, packing, network, buffer and codec are all in it.
///
/// A codec hands out late what it was given: the first 6.5 ms that a frame decodes to were said at
/// the end of the frame before. That is taken into account, as is time won or saved by stretching;
/// so between blocks of a talkspurt the place moves by as much speech as was played. Only at a
/// talkspurt's very beginning, where there is no frame before, it stands still for those 6.5 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Playing {
    /// The speaker's frame, extended.
    pub sequence: u64,
    /// The speaker's talkspurt, extended.
    pub talkspurt: u64,
    /// How far into the frame.
    pub offset: Duration,
}

/// What happened to one speaker's frames since the listener was made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VoiceDecoderStats {
    /// Frames that arrived for the first time and could be used, copies of frames that had not come
    /// included.
    pub frames_received: u64,
    /// Frames decoded and played.
    pub frames_heard: u64,
    /// Frames of a talkspurt that were never played from any real data although later ones were;
    /// they were concealed.
    pub frames_concealed: u64,
    /// Frames repaired from the coarse copy in the frame after them.
    pub frames_repaired: u64,
    /// Frames that were played from a copy in a later packet, because the original did not come in
    /// time.
    pub frames_from_copies: u64,
    /// Frames that came after their time.
    pub frames_late: u64,
    /// Frames that came again.
    pub frames_duplicate: u64,
    /// Frames dropped because the buffer was full.
    pub frames_overflow: u64,
    /// Frames skipped to shorten the delay.
    pub frames_skipped: u64,
    /// Frames that are no Opus.
    pub frames_invalid: u64,
    /// Milliseconds of sound that were concealed, both for lost frames and while waiting for late
    /// ones.
    pub concealed_ms: u64,
    /// Milliseconds by which speech was lengthened or shortened, added up.
    pub stretched_ms: u64,
    /// Of those, milliseconds saved by speaking faster.
    pub accelerated_ms: u64,
    /// Of those, milliseconds won by speaking slower.
    pub decelerated_ms: u64,
    /// How long frames lately waited to be played, in milliseconds.
    pub buffer_ms: f32,
    /// How long the buffer wants them to wait, in milliseconds.
    pub target_ms: f32,
}

/// How a speaker's frames arrived in a while, for the report that the speaker gets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reception {
    /// Frames that should have come.
    pub expected: u32,
    /// Originals that did not, before any repair.
    pub lost: u32,
    /// Frames that were never played: neither original, nor copy, nor repair was there in time.
    pub unrepaired: u32,
    /// How many originals in a row were lost, on average; 0 if none was.
    pub mean_loss_run: f32,
    /// How unevenly frames came: the mean difference of neighbours' travel times, smoothed as in
    /// RFC 3550 §6.4.1.
    pub jitter_ms: f32,
    /// How long frames lately waited to be played.
    pub buffer_ms: f32,
}
