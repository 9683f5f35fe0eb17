//! Back-off for wrong room passwords.
//!
//! Pure: given the time. Each wrong password costs its peer a wait, twice as long each time; a
//! password that comes meanwhile is refused without being looked at, and costs nothing more. A
//! correct password does not reset it, otherwise an attacker could clear it by joining a room of
//! their own.

use std::collections::BTreeMap;
use std::time::Duration;

/// After the first wrong password …
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// … and after many: a dozen guesses an hour.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// So long after its wait a peer is forgiven.
const FORGIVEN: Duration = Duration::from_secs(600);
/// Peers remembered. When there are more, the one whose wait ends first is forgotten.
const REMEMBERED: usize = 4096;

/// The peers, by whatever tells them apart.
#[derive(Debug)]
pub struct PasswordBackoff<K>(BTreeMap<K, Backoff>);

#[derive(Clone, Copy, Debug)]
struct Backoff {
    failures: u32,
    until: Duration,
}

impl<K> Default for PasswordBackoff<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> PasswordBackoff<K> {
    /// How long this one still has to wait, if it has.
    pub fn wait(&self, now: Duration, key: &K) -> Option<Duration> {
        self.0
            .get(key)
            .and_then(|backoff| backoff.until.checked_sub(now))
            .filter(|wait| !wait.is_zero())
    }

    /// It named a wrong password, and waits so long from now.
    pub fn wrong(&mut self, now: Duration, key: K) -> Duration {
        self.tidy(now);
        if self.0.len() >= REMEMBERED && !self.0.contains_key(&key) {
            let first =
                self.0.iter().min_by_key(|(_, backoff)| backoff.until).map(|(key, _)| key.clone());
            first.and_then(|key| self.0.remove(&key));
        }
        let backoff = self.0.entry(key).or_insert(Backoff { failures: 0, until: now });
        let wait = FIRST_WAIT.saturating_mul(1 << backoff.failures.min(16)).min(LONGEST_WAIT);
        *backoff = Backoff { failures: backoff.failures.saturating_add(1), until: now + wait };
        wait
    }

    fn tidy(&mut self, now: Duration) {
        self.0.retain(|_, backoff| now < backoff.until + FORGIVEN);
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
            let wait = backoff.wrong(now, "a");
            assert_eq!(backoff.wait(now, &"a"), Some(wait));
            assert_eq!(backoff.wait(now, &"b"), None, "the others do not wait");
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(backoff.wrong(now + FORGIVEN, "a"), SECOND, "who has been quiet begins anew");
    }

    #[test]
    fn many_peers_take_no_more_room_than_a_few_thousand() {
        let mut backoff = PasswordBackoff::default();
        backoff.wrong(SECOND, u32::MAX);
        backoff.wrong(SECOND, u32::MAX);
        for key in 0..3 * REMEMBERED as u32 {
            backoff.wrong(SECOND, key);
        }
        assert_eq!(backoff.0.len(), REMEMBERED);
        assert!(backoff.wait(SECOND, &u32::MAX).is_some(), "who waits longest is forgotten last");
    }
}
