//! What SCTP would send again at once.

use std::collections::VecDeque;

use crate::limits::{CHUNK_HEADER_BYTES, DATAGRAM_CHUNK_BYTES};

/// A message as a DATA chunk (RFC 9260 section 3.3.1), in bytes.
pub(crate) const fn chunk_bytes(message_bytes: usize) -> usize {
    (CHUNK_HEADER_BYTES + message_bytes).next_multiple_of(4)
}

/// The messages on the reliable data channel that were handed to SCTP and are not acknowledged,
/// oldest first. SCTP sends all of them again in one datagram, so that they must fit in one; the
/// rest waits in our own queue.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    messages: VecDeque<usize>,
    bytes: usize,
    chunk_bytes: usize,
}

impl InFlight {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many bytes are not acknowledged, says SCTP: the oldest messages are, down to that.
    pub(crate) fn outstanding(&mut self, bytes: usize) {
        while let Some(&oldest) = self.messages.front()
            && self.bytes - oldest >= bytes
        {
            self.messages.pop_front();
            self.bytes -= oldest;
            self.chunk_bytes -= chunk_bytes(oldest);
        }
    }

    /// Whether a message of this size may be handed to SCTP now.
    pub(crate) fn admits(&self, bytes: usize) -> bool {
        self.chunk_bytes + chunk_bytes(bytes) <= DATAGRAM_CHUNK_BYTES
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.messages.push_back(bytes);
        self.bytes += bytes;
        self.chunk_bytes += chunk_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FRAGMENT_BYTES;

    #[test]
    fn two_full_messages_are_in_flight_and_no_third() {
        let mut in_flight = InFlight::default();
        in_flight.sent(FRAGMENT_BYTES);
        assert!(in_flight.admits(FRAGMENT_BYTES));
        in_flight.sent(FRAGMENT_BYTES);
        assert!(!in_flight.admits(1));
        in_flight.outstanding(FRAGMENT_BYTES);
        assert!(in_flight.admits(FRAGMENT_BYTES));
        in_flight.outstanding(0);
        assert_eq!(in_flight.bytes(), 0);
    }

    #[test]
    fn of_small_messages_so_many_are_in_flight_that_their_headers_fit_too() {
        let mut in_flight = InFlight::default();
        let sent = std::iter::repeat_with(|| in_flight.admits(2).then(|| in_flight.sent(2)));
        assert_eq!(sent.map_while(|sent| sent).count(), DATAGRAM_CHUNK_BYTES / 20);
    }
}
