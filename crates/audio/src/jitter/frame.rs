//! What goes into a buffer.

/// A frame as it travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The speaker's frame number, already extended beyond its 16 bits.
    pub sequence: u64,
    /// The speaker's talkspurt, already extended.
    pub talkspurt: u64,
    /// Whether the speaker falls silent after this frame.
    pub last_of_talkspurt: bool,
    /// How many samples of speech it is.
    pub samples: u32,
    /// Whether it came inside the packet of a later frame.
    pub is_copy: bool,
    /// Whether it carries a coarse copy of the frame before it.
    pub repairs: bool,
    /// The encoded speech.
    pub payload: &'a [u8],
}
