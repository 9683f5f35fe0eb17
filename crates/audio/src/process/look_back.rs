//! The latest processed blocks: some to be sent, the ones before them in case speech turns out to have begun.

use crate::{BLOCK_SAMPLES, Block};

/// Blocks that are sent from before the moment speech was noticed (80 ms).
pub(super) const LOOK_BACK_BLOCKS: usize = 8;

/// Blocks that wait to be fetched or may still be sent. Overflow: the oldest is dropped; a caller that fetches after each
/// push never meets it.
const CAPACITY: usize = 16;

/// A ring of blocks, the last few of which are released.
#[derive(Clone, Debug)]
pub(super) struct LookBack {
    ring: Box<[Block; CAPACITY]>,
    /// Blocks pushed so far; the ring holds the latest.
    pushed: u64,
    /// Blocks before this one are gone.
    next: u64,
    /// Blocks before this one, from `next` on, are to be sent.
    released: u64,
}

impl LookBack {
    pub fn new() -> Self {
        Self { ring: Box::new([[0.0; BLOCK_SAMPLES]; CAPACITY]), pushed: 0, next: 0, released: 0 }
    }

    pub fn push(&mut self, block: &Block) {
        self.ring[place(self.pushed)] = *block;
        self.pushed += 1;
        let unfetched = self.released > self.next;
        let kept = if unfetched { CAPACITY } else { LOOK_BACK_BLOCKS + 1 };
        self.next = self.next.max(self.pushed.saturating_sub(kept as u64));
        self.released = self.released.max(self.next);
    }

    /// Releases what was pushed last and all that is kept from before it.
    pub fn send_all(&mut self) {
        self.released = self.pushed;
    }

    /// Releases what was pushed last, and of what was before it only what was released already.
    pub fn send_latest(&mut self) {
        if self.released == self.next {
            self.next = self.next.max(self.pushed.saturating_sub(1));
        }
        self.released = self.pushed;
    }

    /// Forgets what is not released.
    pub fn forget_unsent(&mut self) {
        self.pushed = self.released;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.next = self.pushed;
        self.released = self.pushed;
    }

    pub fn next(&mut self) -> Option<&Block> {
        (self.next < self.released).then(|| {
            self.next += 1;
            &self.ring[place(self.next - 1)]
        })
    }
}

fn place(block: u64) -> usize {
    (block % CAPACITY as u64) as usize
}
