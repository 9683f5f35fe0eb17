//! What a message counts in the queues' bounds.

/// What a queue and its allocator hold besides a message's bytes, about.
pub(super) const OVERHEAD_BYTES: usize = 64;

/// What a message counts in the queues' bounds.
pub(super) fn cost(bytes: usize) -> usize {
    bytes + OVERHEAD_BYTES
}
