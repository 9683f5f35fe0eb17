//! How many connectivity checks all links of a peer send to addresses that have not answered.
//!
//! All together draw on one token bucket, whatever the members of the room do, and all links to one
//! remote on one of its own. So that no remote delays another, the common tokens are given out by
//! need:
//!
//! - The first checks of each remote take any token. For those of remotes that have not come yet,
//!   tokens are reserved: enough for a full room. What a remote's first checks took comes back
//!   slowly, because after it another one may come under a new id.
//! - Further checks take what is left above the reserve. The more of them a remote has sent lately,
//!   the more must be left: when the tokens are used up, the next one goes to a remote that has
//!   sent fewest.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use voicemesh_common::{Rate, TokenBucket, lock};

/// Checks of all links together.
const OF_ALL_LINKS: Rate = Rate { burst: 300.0, per_second: 100.0 };
/// Checks of all links to one remote.
const OF_A_REMOTE: Rate = Rate { burst: 20.0, per_second: 20.0 };
/// Of these, the first ones. A link that did not open is replaced after 15 s, and has one again.
const FIRST_OF_A_REMOTE: Rate = Rate { burst: 3.0, per_second: 1.0 / 12.0 };
/// The first ones of 63 remotes. They take 5.25 a second at most; the rest is for new ids in the
/// place of others, almost five a second. The server lets one address join a room twice a second.
const RESERVED: Rate = Rate { burst: 63.0 * FIRST_OF_A_REMOTE.burst, per_second: 20.0 };
/// Should still more ids come, this is reserved in any case: the first checks of seven remotes.
const ALWAYS_RESERVED: f64 = 7.0 * FIRST_OF_A_REMOTE.burst;
/// Further checks of a remote that count as sent lately …
const FURTHER_OF_A_REMOTE: Rate = Rate { burst: 10.0, per_second: 0.5 };
/// … and how many tokens more each of them requires to be left above the reserve.
const LEFT_FOR_EACH_FURTHER: f64 = 3.0;
/// Remotes of which checks are counted. Of further ones, the one that asked longest ago is
/// forgotten.
const REMOTES: usize = 1_024;

/// The checks that all links of a peer may send.
#[derive(Debug, Default)]
pub(crate) struct CheckBudget(Mutex<Option<Buckets>>);

#[derive(Debug)]
struct Buckets {
    /// From which the buckets count their time.
    began: Instant,
    all: TokenBucket,
    /// Never more than `all` has, but for [`ALWAYS_RESERVED`].
    reserved: TokenBucket,
    remotes: BTreeMap<u128, OfRemote>,
}

#[derive(Debug)]
struct OfRemote {
    all: TokenBucket,
    first: TokenBucket,
    further: TokenBucket,
}

impl CheckBudget {
    /// Takes a check of this remote, if one may be sent now.
    pub(crate) fn take(&self, now: Instant, remote: u128) -> bool {
        let mut buckets = lock(&self.0);
        buckets.get_or_insert_with(|| Buckets::new(now)).take(now, remote)
    }
}

impl Buckets {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            all: TokenBucket::full(Duration::ZERO, OF_ALL_LINKS),
            reserved: TokenBucket::full(Duration::ZERO, RESERVED),
            remotes: BTreeMap::new(),
        }
    }

    fn take(&mut self, now: Instant, remote: u128) -> bool {
        let now = now.saturating_duration_since(self.began);
        self.make_room_for(remote);
        self.all.fill(now, OF_ALL_LINKS);
        self.reserved.fill(now, RESERVED);
        let own = self.remotes.entry(remote).or_insert_with(|| OfRemote::new(now));
        own.fill(now);
        if self.all.tokens() < 1.0 || own.all.tokens() < 1.0 {
            return false;
        }
        if own.first.tokens() >= 1.0 {
            own.first.take_up_to(1.0);
            self.reserved.take_up_to(1.0);
        } else {
            let further = FURTHER_OF_A_REMOTE.burst - own.further.tokens();
            let left =
                self.reserved.tokens().max(ALWAYS_RESERVED) + LEFT_FOR_EACH_FURTHER * further;
            if self.all.tokens() < 1.0 + left {
                return false;
            }
            own.further.take_up_to(1.0);
        }
        self.all.take_up_to(1.0);
        own.all.take_up_to(1.0);
        true
    }

    fn make_room_for(&mut self, remote: u128) {
        if self.remotes.len() >= REMOTES && !self.remotes.contains_key(&remote) {
            let longest_ago = self.remotes.iter().min_by_key(|(_, own)| own.all.filled_at());
            let forgotten = longest_ago.map(|(remote, _)| *remote);
            forgotten.and_then(|remote| self.remotes.remove(&remote));
        }
    }
}

impl OfRemote {
    fn new(now: Duration) -> Self {
        Self {
            all: TokenBucket::full(now, OF_A_REMOTE),
            first: TokenBucket::full(now, FIRST_OF_A_REMOTE),
            further: TokenBucket::full(now, FURTHER_OF_A_REMOTE),
        }
    }

    fn fill(&mut self, now: Duration) {
        self.all.fill(now, OF_A_REMOTE);
        self.first.fill(now, FIRST_OF_A_REMOTE);
        self.further.fill(now, FURTHER_OF_A_REMOTE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often the stack asks.
    const ROUND: Duration = Duration::from_millis(20);
    const ROUNDS_PER_SECOND: u32 = 50;

    /// How many of so many checks each remote may send.
    fn ask(
        budget: &CheckBudget,
        now: Instant,
        remotes: impl IntoIterator<Item = u128>,
        checks: usize,
    ) -> Vec<usize> {
        let of_one = |remote| (0..checks).filter(|_| budget.take(now, remote)).count();
        remotes.into_iter().map(of_one).collect()
    }

    /// All remotes in turn, one check each, until none may send one: how many each sent.
    fn ask_in_turn(budget: &CheckBudget, now: Instant, remotes: &[u128]) -> Vec<usize> {
        let mut sent = vec![0; remotes.len()];
        loop {
            let before: usize = sent.iter().sum();
            for (sent, remote) in sent.iter_mut().zip(remotes) {
                *sent += usize::from(budget.take(now, *remote));
            }
            if sent.iter().sum::<usize>() == before {
                return sent;
            }
        }
    }

    #[test]
    fn a_remote_sends_20_at_once_and_20_a_second() {
        let (budget, began) = (CheckBudget::default(), Instant::now());
        for second in 0..10 {
            assert_eq!(
                ask(&budget, began + Duration::from_secs(second), [7], 1_000),
                [20],
                "{second}"
            );
        }
    }

    #[test]
    fn all_remotes_together_send_300_at_once_and_100_a_second_however_many_come() {
        let (budget, began) = (CheckBudget::default(), Instant::now());
        let mut sent = Vec::new();
        for second in 0..=10 {
            let ids = u128::from(second) * 1_000..u128::from(second) * 1_000 + 500;
            sent.push(
                ask(&budget, began + Duration::from_secs(second), ids, 30).iter().sum::<usize>(),
            );
        }
        assert_eq!(sent[0], 300);
        assert_eq!(sent[1..], [100; 10]);
    }

    #[test]
    fn no_more_than_300_and_100_a_second_are_sent_whatever_remotes_ask() {
        for remotes in [1, 15, 63, 200] {
            for new_ids_per_round in [0, 1, 20] {
                let (budget, began) = (CheckBudget::default(), Instant::now());
                let mut sent = 0;
                for round in 0..=5 * ROUNDS_PER_SECOND {
                    let first = u128::from(round * new_ids_per_round);
                    sent += ask(&budget, began + ROUND * round, first..first + remotes, 24)
                        .iter()
                        .sum::<usize>();
                    let most = 300 + 2 * round as usize;
                    assert!(
                        sent <= most,
                        "{sent} in {round} rounds to {remotes}, {new_ids_per_round} new in each"
                    );
                }
                // One remote is limited by its own bucket.
                let least = if remotes == 1 && new_ids_per_round < 20 { 100 } else { 500 };
                assert!(sent >= least, "{sent} to {remotes}, {new_ids_per_round} new in each");
            }
        }
    }

    #[test]
    fn remotes_that_ask_first_leave_a_full_room_its_first_checks() {
        let (budget, now) = (CheckBudget::default(), Instant::now());
        let sent = ask(&budget, now, 0..63, 30);
        assert_eq!(sent[..6], [20, 20, 20, 20, 16, 11]);
        assert!(sent.iter().all(|sent| *sent >= 3), "{sent:?}");
        assert_eq!(sent.iter().sum::<usize>(), 300);
    }

    #[test]
    fn remotes_that_ask_in_turn_send_equally_many() {
        let (budget, now) = (CheckBudget::default(), Instant::now());
        let remotes: Vec<u128> = (0..49).collect();
        let sent = ask_in_turn(&budget, now, &remotes);
        assert!(sent.iter().all(|sent| (5..=6).contains(sent)), "{sent:?}");
    }

    #[test]
    fn one_that_comes_when_a_full_room_has_used_all_sends_its_first_checks_at_once() {
        let (budget, began) = (CheckBudget::default(), Instant::now());
        let hostile: Vec<u128> = (0..62).collect();
        ask_in_turn(&budget, began, &hostile);
        assert_eq!(ask(&budget, began, [99], 10), [3], "in the same instant");
        assert_eq!(ask_in_turn(&budget, began, &hostile), [0; 62]);
    }

    /// In how many rounds one that comes sends a check of each of ten candidates, and three of them
    /// in the first.
    fn rounds_for_ten(budget: &CheckBudget, began: Instant, hostile: u128, remote: u128) -> u32 {
        let (mut rounds, mut sent) = (0, 0);
        while sent < 10 {
            let now = began + ROUND * rounds;
            ask(budget, now, 0..hostile, 4);
            sent += ask(budget, now, [remote], 10 - sent)[0];
            assert!(sent >= 3, "its first checks wait");
            rounds += 1;
        }
        rounds
    }

    #[test]
    fn one_that_comes_when_others_use_all_that_they_may_is_not_delayed() {
        for hostile in [1, 20, 62_u128] {
            let (budget, began) = (CheckBudget::default(), Instant::now());
            let mut took = Vec::new();
            for round in 0..=30 * ROUNDS_PER_SECOND {
                let now = began + ROUND * round;
                ask(&budget, now, 0..hostile, if round == 0 { 24 } else { 4 });
                if round % (5 * ROUNDS_PER_SECOND) == ROUNDS_PER_SECOND {
                    took.push(rounds_for_ten(&budget, now, hostile, 1_000 + u128::from(round)));
                }
            }
            println!("rounds for ten candidates beside {hostile} others, every 5 s: {took:?}");
            // Others that have come just now need their own candidates checked as well, and all
            // share 100 a second.
            assert_eq!(took[2..], [1; 4], "{hostile}");
        }
    }

    /// As often as the server lets two addresses join a room.
    #[test]
    fn hostile_remotes_that_come_again_under_new_ids_do_not_delay_another_one() {
        let (budget, began) = (CheckBudget::default(), Instant::now());
        for round in 0..60 * ROUNDS_PER_SECOND {
            let now = began + ROUND * round;
            let first = u128::from(4 * round / ROUNDS_PER_SECOND);
            ask(&budget, now, first..first + 62, 4);
            if round % (5 * ROUNDS_PER_SECOND) == 0 {
                let honest = 1_000_000 + u128::from(round);
                assert_eq!(ask(&budget, now, [honest], 3), [3], "{round}");
            }
        }
    }

    /// More at once than a server lets in.
    #[test]
    fn after_any_number_of_ids_the_next_ones_send_their_first_checks_within_a_quarter_of_a_second()
    {
        let (budget, began) = (CheckBudget::default(), Instant::now());
        let hostile: Vec<u128> = (0..100).collect();
        assert_eq!(ask_in_turn(&budget, began, &hostile), [3; 100]);
        assert_eq!(ask(&budget, began, [1_000], 3), [0], "nothing is left");
        for waited in 1..=210 {
            let now = began + Duration::from_millis(waited);
            assert_eq!(ask_in_turn(&budget, now, &hostile), [0; 100], "{waited} ms");
        }
        let now = began + Duration::from_millis(210);
        assert_eq!(ask(&budget, now, 2_000..2_007, 3), [3; 7]);
    }

    #[test]
    fn no_more_remotes_are_remembered_than_allowed_and_one_that_asks_is_not_forgotten() {
        let (budget, began) = (CheckBudget::default(), Instant::now());
        ask(&budget, began, [7], 20);
        for id in 0..3_000_u32 {
            let now = began + Duration::from_micros(10) * id;
            budget.take(now, 1_000_000 + u128::from(id));
            assert!(!budget.take(now, 7), "its bucket was forgotten after {id} others");
        }
        assert_eq!(budget.0.lock().unwrap().as_ref().unwrap().remotes.len(), REMOTES);
    }
}
