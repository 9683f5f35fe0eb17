//! Client ids: unique while in use, and not given to another client for a while after (PROTOCOL.md,
//! section 7).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use voicemesh_wire::ClientId;

#[derive(Debug)]
pub(super) struct IdPool {
    quarantine: Duration,
    next: u16,
    in_use: BTreeSet<ClientId>,
    resting: BTreeMap<ClientId, Rest>,
}

#[derive(Debug)]
struct Rest {
    owner: Option<u128>,
    until: Duration,
}

impl IdPool {
    pub(super) fn new(quarantine: Duration) -> Self {
        Self { quarantine, next: 1, in_use: BTreeSet::new(), resting: BTreeMap::new() }
    }

    /// A returning owner gets the id back that rests for it. `None` when all 65,535 are taken.
    pub(super) fn allocate(&mut self, now: Duration, owner: Option<u128>) -> Option<ClientId> {
        self.resting.retain(|_, rest| rest.until > now);
        let returning = owner.and_then(|owner| {
            self.resting
                .iter()
                .find(|(_, rest)| rest.owner == Some(owner))
                .map(|(client, _)| *client)
        });
        let client = match returning {
            Some(client) => client,
            None => self.unused()?,
        };
        self.resting.remove(&client);
        self.in_use.insert(client);
        Some(client)
    }

    pub(super) fn release(&mut self, now: Duration, client: ClientId, owner: Option<u128>) {
        if self.in_use.remove(&client) {
            self.resting.insert(client, Rest { owner, until: now + self.quarantine });
        }
    }

    /// Ids are handed out in turn, so that one is used again as late as possible. Zero is never
    /// used.
    fn unused(&mut self) -> Option<ClientId> {
        for _ in 0..=u16::MAX {
            let client = ClientId(self.next);
            self.next = self.next.wrapping_add(1).max(1);
            if !self.in_use.contains(&client) && !self.resting.contains_key(&client) {
                return Some(client);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn only_a_returning_owner_gets_its_id_back_for_a_minute() {
        let mut pool = IdPool::new(MINUTE);
        let mut at = Duration::ZERO;
        let first = pool.allocate(at, Some(7)).unwrap();
        pool.release(at, first, Some(7));
        pool.next = first.0;
        assert_ne!(pool.allocate(at, Some(8)), Some(first));
        assert_eq!(pool.allocate(at, Some(7)), Some(first));
        pool.release(at, first, Some(7));
        at += MINUTE;
        pool.next = first.0;
        assert_eq!(pool.allocate(at, Some(8)), Some(first), "after a minute it is anybody's");
    }

    #[test]
    fn a_full_pool_says_so() {
        let mut pool = IdPool::new(MINUTE);
        for _ in 1..=u16::MAX {
            assert!(pool.allocate(Duration::ZERO, None).is_some());
        }
        assert_eq!(pool.allocate(Duration::ZERO, None), None);
    }
}
