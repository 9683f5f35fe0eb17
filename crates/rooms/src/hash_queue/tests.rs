use std::collections::BTreeSet;

use fastrand::Rng;
use uuid::Uuid;

use super::*;

/// How long a hash takes.
pub(crate) const HASH: Duration = Duration::from_millis(60);
/// How long a refusal and the next join of a client take on their way.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(80);
pub(crate) const STEP: Duration = Duration::from_millis(5);
/// How long strangers have guessed when the newcomer comes.
pub(crate) const BEFORE: Duration = Duration::from_secs(90);

pub(crate) fn draw_peer(random: &mut Rng) -> PeerId {
    PeerId(Uuid::from_u64_pair(random.u64(..), random.u64(..)))
}

struct Outcome {
    /// How long the newcomer took.
    admitted: Option<Duration>,
    /// When a hash began.
    hashes: Vec<Duration>,
    most_waiting: usize,
}

/// Strangers of one address guess under ever new peer ids, so many a second; a newcomer of the
/// same address, who knows the password, comes back after each refusal.
fn newcomer_among_guessers(seed: u64, per_second: f64, until: Duration) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let mut queue = HashQueue::<u8>::default();
    let newcomer = draw_peer(&mut random);
    let begins = BEFORE + Duration::from_secs_f64(3.0 * random.f64());
    let (mut next_guess, mut next_try, mut free_at) = (Duration::ZERO, begins, Duration::ZERO);
    let mut own = None;
    let mut peers: BTreeMap<HashId, PeerId> = BTreeMap::new();
    let mut outcome = Outcome { admitted: None, hashes: Vec::new(), most_waiting: 0 };
    let mut now = Duration::ZERO;
    while now < begins + until {
        now += STEP;
        while next_guess <= now {
            next_guess += Duration::from_secs_f64(2.0 * random.f64() / per_second);
            let peer = draw_peer(&mut random);
            if let Asked::Waits(id) = queue.ask(now, &1, peer, ADDRESS_HASHES) {
                peers.insert(id, peer);
            }
        }
        let comes_back = |after: Duration, random: &mut Rng| {
            now + ROUND_TRIP + after.mul_f64(1.0 + 0.5 * random.f64())
        };
        if own.is_none() && now >= next_try {
            match queue.ask(now, &1, newcomer, ADDRESS_HASHES) {
                Asked::Waits(id) => own = Some(id),
                Asked::Refused(after) => next_try = comes_back(after, &mut random),
            }
        }
        while let Some((id, after)) = queue.next_refused(now) {
            if own == Some(id) {
                own = None;
                next_try = comes_back(after, &mut random);
            }
        }
        outcome.most_waiting = outcome.most_waiting.max(queue.waiting.len());
        if now < free_at {
            continue;
        }
        let Some(id) = queue.next(now) else { continue };
        free_at = now + HASH;
        outcome.hashes.push(now);
        if own == Some(id) {
            outcome.admitted = Some(free_at - begins);
            return outcome;
        }
        queue.wrong(now, &1, peers[&id]);
    }
    outcome
}

#[test]
fn a_member_that_sets_a_password_does_not_wait_behind_guessers_of_its_address() {
    for is_member in [false, true] {
        let mut random = Rng::with_seed(5);
        let mut queue = HashQueue::<u16>::default();
        let now = Duration::from_secs(1);
        while queue.next(now).is_some() || queue.asked < 20 {
            queue.ask(now, &1, draw_peer(&mut random), ADDRESS_HASHES);
        }
        let member = draw_peer(&mut random);
        let asked = if is_member {
            queue.ask_to_set(now, &1, member, ADDRESS_HASHES)
        } else {
            queue.ask(now, &1, member, ADDRESS_HASHES)
        };
        let Asked::Waits(id) = asked else { panic!("it waits") };
        let mut served = Vec::new();
        for second in 2..12 {
            let now = Duration::from_secs(second);
            (0..100).for_each(|_| _ = queue.ask(now, &1, draw_peer(&mut random), ADDRESS_HASHES));
            served.extend(queue.next(now));
        }
        assert_eq!(served.contains(&id), is_member);
    }
}

/// Members of one address set the passwords of ever new rooms, as fast as they can; others of
/// the address come with a password one after another.
#[test]
fn who_sets_passwords_again_and_again_does_not_delay_who_joins() {
    const JOINS: usize = 12;
    let mut random = Rng::with_seed(5);
    let mut queue = HashQueue::<u16>::default();
    let mut now = Duration::from_secs(1);
    let mut joins = Vec::new();
    let (mut joined, mut sets) = (0, 0);
    while joined < JOINS {
        now += STEP;
        queue.ask_to_set(now, &1, draw_peer(&mut random), ADDRESS_HASHES);
        if joins.is_empty() {
            let Asked::Waits(id) = queue.ask(now, &1, draw_peer(&mut random), ADDRESS_HASHES)
            else {
                panic!("it waits")
            };
            joins.push((id, now));
        }
        while let Some((id, _)) = queue.next_refused(now) {
            joins.retain(|(join, _)| *join != id);
        }
        let Some(id) = queue.next(now) else { continue };
        match joins.pop_if(|(join, _)| *join == id) {
            Some(_) => joined += 1,
            None => sets += 1,
        }
        assert!(sets <= 1 + joined / JOINS_BETWEEN_SETS as usize, "{sets} beside {joined}");
    }
    assert!(sets >= 2, "they are served as well: {sets}");
    assert!(queue.waiting.len() <= SET_SLOTS + 1);
}

#[test]
fn a_moderator_may_set_a_few_passwords_at_once_and_then_waits_longer_each_time() {
    let mut random = Rng::with_seed(5);
    let mut queue = HashQueue::<u16>::default();
    let (ada, ben) = (draw_peer(&mut random), draw_peer(&mut random));
    let mut now = Duration::from_secs(1);
    let mut waits = Vec::new();
    for _ in 0..9 {
        now += Duration::from_secs(3);
        if let Asked::Refused(wait) = queue.ask_to_set(now, &1, ada, ADDRESS_HASHES) {
            waits.push((wait + Duration::from_secs(3)).as_secs());
            now += wait;
            assert!(matches!(queue.ask_to_set(now, &1, ada, ADDRESS_HASHES), Asked::Waits(_)));
        }
        assert!(queue.next(now).is_some());
    }
    assert_eq!(waits, [4, 8], "after four at once, then 1 s and 2 s within those three");
    assert!(matches!(queue.ask_to_set(now, &1, ben, ADDRESS_HASHES), Asked::Waits(_)));
}

#[test]
fn addresses_that_fill_the_queue_keep_no_other_address_out() {
    let mut random = Rng::with_seed(5);
    let mut queue = HashQueue::<u16>::default();
    let now = Duration::from_secs(1);
    for address in (1..=20).cycle().take(40 * 20) {
        queue.ask(now, &address, draw_peer(&mut random), ADDRESS_HASHES);
    }
    assert_eq!(queue.waiting.len(), WAITING);
    let Asked::Waits(id) = queue.ask(now, &99, draw_peer(&mut random), ADDRESS_HASHES) else {
        panic!("it waits as well")
    };
    assert_eq!(queue.waiting.len(), WAITING);
    assert!((0..21).any(|_| queue.next(now) == Some(id)), "addresses take turns");
}

#[test]
fn an_address_that_has_filled_its_part_takes_no_place_of_another() {
    let mut random = Rng::with_seed(5);
    let mut queue = HashQueue::<u16>::default();
    let now = Duration::from_secs(1);
    let of = |queue: &HashQueue<u16>, address| {
        queue.waiting.iter().filter(|waiting| waiting.key == address).count()
    };
    // The first has used its hashes, the second none: it may wait more often.
    for _ in 0..ADDRESS_HASHES.burst as usize {
        queue.ask(now, &1, draw_peer(&mut random), ADDRESS_HASHES);
        queue.next(now).expect("a hash");
    }
    for address in [1, 2] {
        (0..100).for_each(|_| _ = queue.ask(now, &address, draw_peer(&mut random), ADDRESS_HASHES));
    }
    let (part, of_other) = (of(&queue, 1), of(&queue, 2));
    assert!(part < of_other);
    for address in (3..).take(WAITING - part - of_other) {
        queue.ask(now, &address, draw_peer(&mut random), ADDRESS_HASHES);
    }
    assert_eq!(queue.waiting.len(), WAITING);
    for _ in 0..10 {
        queue.ask(now, &1, draw_peer(&mut random), ADDRESS_HASHES);
        assert_eq!((of(&queue, 1), of(&queue, 2)), (part, of_other));
    }
}

#[test]
fn a_newcomer_gets_in_while_a_stranger_of_the_same_address_guesses() {
    for (per_second, runs, needed, limit) in [(1.0, 20, 20, 15), (100.0, 10, 9, 60)] {
        let limit = Duration::from_secs(limit);
        let times: Vec<Duration> = (1..=runs)
            .filter_map(|seed| newcomer_among_guessers(seed, per_second, limit).admitted)
            .collect();
        println!(
            "{per_second} guesses a second: {} of {runs} in {limit:?}, {times:?}",
            times.len()
        );
        assert!(times.len() >= needed);
    }
}

#[test]
fn an_address_has_at_most_30_hashes_in_any_minute_and_a_few_joins_wait() {
    for per_second in [1.0, 100.0] {
        let outcome = newcomer_among_guessers(7, per_second, Duration::ZERO);
        let in_a_minute = |from: Duration| {
            outcome
                .hashes
                .iter()
                .filter(|at| (from..from + Duration::from_secs(60)).contains(*at))
                .count()
        };
        assert!(outcome.hashes.iter().all(|from| in_a_minute(*from) <= 30));
        assert!(outcome.hashes.len() >= 30, "{}", outcome.hashes.len());
        assert!(outcome.most_waiting <= QUEUE_SLOTS + 10, "{}", outcome.most_waiting);
    }
}

#[test]
fn addresses_take_turns_and_no_more_than_a_bounded_number_waits() {
    let mut random = Rng::with_seed(1);
    let mut queue = HashQueue::<u32>::default();
    let mut waits = BTreeMap::new();
    let mut refused = 0;
    for key in (0..40).flat_map(|_| 0..20) {
        match queue.ask(Duration::ZERO, &key, draw_peer(&mut random), ADDRESS_HASHES) {
            Asked::Waits(id) => {
                waits.insert(id, key);
            }
            Asked::Refused(_) => refused += 1,
        }
    }
    while queue.next_refused(Duration::ZERO).is_some() {
        refused += 1;
    }
    assert_eq!((queue.waiting.len(), refused), (WAITING, 800 - WAITING));
    let now = |step: u64| Duration::from_millis(60 * step);
    for round in 0..5 {
        let served: BTreeSet<u32> = (1..=20)
            .filter_map(|step| queue.next(now(20 * round + step)).map(|id| waits[&id]))
            .collect();
        assert_eq!(served.len(), 20, "each address once in round {round}");
    }
}

#[test]
fn a_wrong_password_costs_its_peer_a_wait_and_no_other() {
    let mut random = Rng::with_seed(1);
    let (guesser, friend) = (draw_peer(&mut random), draw_peer(&mut random));
    let mut queue = HashQueue::<u8>::default();
    let now = Duration::from_secs(1);
    assert_eq!(queue.wrong(now, &1, guesser), Duration::from_secs(1));
    assert_eq!(queue.ask(now, &1, guesser, ADDRESS_HASHES), Asked::Refused(Duration::from_secs(1)));
    assert!(matches!(queue.ask(now, &1, friend, ADDRESS_HASHES), Asked::Waits(_)));
    assert!(matches!(queue.ask(now, &2, guesser, ADDRESS_HASHES), Asked::Waits(_)));
}

#[test]
fn a_join_that_has_gone_is_not_served() {
    let mut random = Rng::with_seed(1);
    let mut queue = HashQueue::<u8>::default();
    let now = Duration::from_secs(1);
    let Asked::Waits(gone) = queue.ask(now, &1, draw_peer(&mut random), ADDRESS_HASHES) else {
        panic!("it waits")
    };
    let Asked::Waits(stays) = queue.ask(now, &1, draw_peer(&mut random), ADDRESS_HASHES) else {
        panic!("it waits")
    };
    queue.withdraw(gone);
    assert_eq!(
        (queue.next_at(now), queue.next(now), queue.next(now)),
        (Some(now), Some(stays), None)
    );
    assert_eq!(queue.next_at(now), None);
}
