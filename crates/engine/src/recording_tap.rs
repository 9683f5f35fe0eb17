//! Copies of received frames, for a recording.

use std::collections::VecDeque;

use bytes::Bytes;
use voicemesh_session::client::Participant;

/// Frames that wait to be taken. When there are more, the oldest are dropped: a recording has a
/// hole then, and the room goes on.
const FRAMES: usize = 4096;

/// A frame that was sent or received, copies included, in the order in which that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedFrame<P> {
    /// Who spoke; `None` is this peer.
    pub from: Option<Participant<P>>,
    /// The frame's number: extended for others, 16 bits for this peer.
    pub sequence: u64,
    /// Nothing is said after it for now.
    pub pause_follows: bool,
    /// One encoded frame; empty when the speaker only closes.
    pub frame: Bytes,
}

#[derive(Debug, Default)]
pub(crate) enum Frames<P> {
    #[default]
    Off,
    On(VecDeque<RecordedFrame<P>>),
}

impl<P> Frames<P> {
    pub fn set_on(&mut self, on: bool) {
        *self = if on { Self::On(VecDeque::new()) } else { Self::Off };
    }

    pub fn put(&mut self, frame: impl FnOnce() -> RecordedFrame<P>) {
        if let Self::On(frames) = self {
            if frames.len() == FRAMES {
                frames.pop_front();
            }
            frames.push_back(frame());
        }
    }

    pub fn take(&mut self) -> Option<RecordedFrame<P>> {
        match self {
            Self::Off => None,
            Self::On(frames) => frames.pop_front(),
        }
    }
}
