//! Messages of which a part has arrived, or has been written: how much of them may wait, for one
//! address and for the whole server.
//!
//! Pure. When there is too much, the message that has waited longest is given up.

use std::collections::BTreeMap;
use std::time::Duration;

/// What may wait.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Of one address together.
    pub of_address: usize,
    /// Of all connections together.
    pub of_all: usize,
}

impl Most {
    /// Of what arrives.
    pub const ARRIVING: Self = Self { of_address: 1024 * 1024, of_all: 8 * 1024 * 1024 };
    /// Of large messages that are being written: a room's state can be more than a megabyte.
    pub const WRITTEN: Self = Self { of_address: 8 * 1024 * 1024, of_all: 64 * 1024 * 1024 };
}

/// All unfinished messages of a server. `C` tells connections apart, and `K` addresses.
#[derive(Debug)]
pub struct Unfinished<C, K> {
    most: Most,
    messages: BTreeMap<C, Message<K>>,
    of_addresses: BTreeMap<K, usize>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Message<K> {
    since: Duration,
    bytes: usize,
    address: Option<K>,
}

impl<C: Copy + Ord, K: Copy + Ord> Unfinished<C, K> {
    /// None so far.
    pub fn new(most: Most) -> Self {
        Self { most, messages: BTreeMap::new(), of_addresses: BTreeMap::new(), bytes: 0 }
    }

    /// So many bytes of a connection's unfinished message have arrived; 0 if it has none. Gives the
    /// connection whose message is given up, if one has to be: the caller ends it, and its message
    /// is forgotten here.
    pub fn set(
        &mut self,
        now: Duration,
        connection: C,
        address: Option<K>,
        bytes: usize,
    ) -> Option<C> {
        let since = self.remove(connection).map_or(now, |message| message.since);
        if bytes == 0 {
            return None;
        }
        self.messages.insert(connection, Message { since, bytes, address });
        self.bytes += bytes;
        let of_address = address.map(|address| {
            let sum = self.of_addresses.entry(address).or_default();
            *sum += bytes;
            *sum
        });
        let too_many_of_one = of_address.is_some_and(|bytes| bytes > self.most.of_address);
        if !too_many_of_one && self.bytes <= self.most.of_all {
            return None;
        }
        let candidates = self
            .messages
            .iter()
            .filter(|(_, message)| !too_many_of_one || message.address == address);
        let oldest =
            candidates.min_by_key(|(connection, message)| (message.since, **connection))?;
        let oldest = *oldest.0;
        self.remove(oldest);
        Some(oldest)
    }

    fn remove(&mut self, connection: C) -> Option<Message<K>> {
        let message = self.messages.remove(&connection)?;
        self.bytes -= message.bytes;
        if let Some(address) = message.address
            && let Some(sum) = self.of_addresses.get_mut(&address)
        {
            *sum -= message.bytes;
            if *sum == 0 {
                self.of_addresses.remove(&address);
            }
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_oldest_of_an_address_goes_first_and_finished_messages_do_not_count() {
        let mut unfinished = Unfinished::new(Most::ARRIVING);
        for number in 0..32 {
            assert_eq!(unfinished.set(at(number), number, Some(7), 32 * KIB), None);
        }
        assert_eq!(unfinished.set(at(40), 0, Some(7), 32 * KIB), None, "it grows no further");
        assert_eq!(unfinished.set(at(50), 99, Some(8), 32 * KIB), None, "another address");
        assert_eq!(unfinished.set(at(60), 50, Some(7), KIB), Some(0));
        assert_eq!(unfinished.set(at(70), 1, Some(7), 0), None);
        assert_eq!(unfinished.set(at(80), 51, Some(7), 32 * KIB), None);
    }

    #[test]
    fn all_addresses_together_have_a_bound_and_nothing_is_left_behind() {
        let mut unfinished = Unfinished::new(Most::ARRIVING);
        let mut ended = 0;
        for number in 0..10_000 {
            let address = Some(number % 100).filter(|number| *number != 0);
            ended += usize::from(unfinished.set(at(number), number, address, 32 * KIB).is_some());
        }
        assert_eq!(unfinished.bytes, Most::ARRIVING.of_all);
        assert_eq!(ended, 10_000 - Most::ARRIVING.of_all / (32 * KIB));
        for number in 0..10_000 {
            unfinished.set(at(20_000), number, None, 0);
        }
        assert!(
            unfinished.messages.is_empty()
                && unfinished.of_addresses.is_empty()
                && unfinished.bytes == 0
        );
    }
}
