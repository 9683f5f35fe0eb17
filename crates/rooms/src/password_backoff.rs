//! Back-off for wrong room passwords, and for passwords that are set again and again.
//!
//! Pure: given the time. Each costs its peer a wait, twice as long each time; a password that comes
//! meanwhile is refused without being looked at, and costs nothing more. A correct password does
//! not reset it, otherwise an attacker could clear it by joining a room of their own.

use std::collections::BTreeMap;
use std::time::Duration;

/// After the first that costs a wait …
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// … and after many: a dozen guesses an hour.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// So long after its wait a peer is forgiven.
const FORGIVEN: Duration = Duration::from_secs(600);
/// Peers remembered. When there are more, the one whose wait ends first is forgotten.
const REMEMBERED: usize = 4096;

/// The peers, by whatever tells them apart.
#[derive(Debug)]
pub struct PasswordBackoff<K> {
    peers: BTreeMap<K, Backoff>,
    /// So many cost no wait.
    free: u32,
}

#[derive(Clone, Copy, Debug)]
struct Backoff {
    count: u32,
    until: Duration,
}

impl<K> Default for PasswordBackoff<K> {
    fn default() -> Self {
        Self::after(0)
    }
}

impl<K> PasswordBackoff<K> {
    /// The first `free` of each peer cost no wait.
    pub fn after(free: u32) -> Self {
        Self { peers: BTreeMap::new(), free }
    }
}

impl<K: Ord + Clone> PasswordBackoff<K> {
    /// How long this one still has to wait, if it has.
    pub fn wait(&self, now: Duration, key: &K) -> Option<Duration> {
        self.peers
            .get(key)
            .and_then(|backoff| backoff.until.checked_sub(now))
            .filter(|wait| !wait.is_zero())
    }

    /// It named a wrong password, or set one, and waits so long from now.
    pub fn count(&mut self, now: Duration, key: K) -> Duration {
        self.tidy(now);
        if self.peers.len() >= REMEMBERED && !self.peers.contains_key(&key) {
            let first = self
                .peers
                .iter()
                .min_by_key(|(_, backoff)| backoff.until)
                .map(|(key, _)| key.clone());
            first.and_then(|key| self.peers.remove(&key));
        }
        let backoff = self.peers.entry(key).or_insert(Backoff { count: 0, until: now });
        let wait = match backoff.count.checked_sub(self.free) {
            Some(beyond) => FIRST_WAIT.saturating_mul(1 << beyond.min(16)).min(LONGEST_WAIT),
            None => Duration::ZERO,
        };
        *backoff = Backoff { count: backoff.count.saturating_add(1), until: now + wait };
        wait
    }

    fn tidy(&mut self, now: Duration) {
        self.peers.retain(|_, backoff| now < backoff.until + FORGIVEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// proves: S-16
    #[test]
    fn each_wrong_password_costs_twice_the_wait_up_to_five_minutes() {
        let mut backoff = PasswordBackoff::default();
        let mut now = SECOND;
        let mut waits = Vec::new();
        for _ in 0..12 {
            assert_eq!(backoff.wait(now, &"a"), None);
            let wait = backoff.count(now, "a");
            assert_eq!(backoff.wait(now, &"a"), Some(wait));
            assert_eq!(backoff.wait(now, &"b"), None, "the others do not wait");
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(backoff.count(now + FORGIVEN, "a"), SECOND, "who has been quiet begins anew");
    }

    #[test]
    fn many_peers_take_no_more_room_than_a_few_thousand() {
        let mut backoff = PasswordBackoff::default();
        backoff.count(SECOND, u32::MAX);
        backoff.count(SECOND, u32::MAX);
        for key in 0..3 * REMEMBERED as u32 {
            backoff.count(SECOND, key);
        }
        assert_eq!(backoff.peers.len(), REMEMBERED);
        assert!(backoff.wait(SECOND, &u32::MAX).is_some(), "who waits longest is forgotten last");
    }
}
