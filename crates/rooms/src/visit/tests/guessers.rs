//! A newcomer behind the address of a stranger who guesses the room's password, through the whole
//! machine on a virtual clock.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;
use crate::hash_queue::tests::{BEFORE, HASH, ROUND_TRIP, STEP};
use crate::passwords::HashJob;

const ROOM: &str = "lobby";
const ELSEWHERE: AddressKey = AddressKey::V4(9);
const PASSWORD: &str = "sesame";
const GUESS: &str = "guess";
const TICK: Duration = Duration::from_millis(250);

/// The server, its connections, and the thread that hashes.
struct Machine {
    signaling: Signaling<TestLine>,
    visits: BTreeMap<u64, Visit<TestLine>>,
    connections: u64,
    now: Duration,
    hashing: Option<(Duration, HashJob<TestLine>)>,
    ticked_at: Duration,
}

impl Machine {
    fn new() -> Self {
        let draw = Box::new(|bytes: &mut [u8]| {
            bytes.fill(7);
            true
        });
        Self {
            signaling: Signaling::new(Settings::default(), draw),
            visits: BTreeMap::new(),
            connections: 0,
            now: Duration::ZERO,
            hashing: None,
            ticked_at: Duration::ZERO,
        }
    }

    /// Another connection, which joins with this password.
    fn join(&mut self, from: AddressKey, proof: IdentityProof, password: &str) -> u64 {
        self.connections += 1;
        let id = self.connections;
        let address = self.signaling.enter_address(self.now, from);
        assert!(address.is_some(), "the address has few connections");
        let line = TestLine::default();
        let connection = ConnectionId(id);
        let mut visit =
            Visit::new(self.now, connection, line, Some((from, address)), &self.signaling);
        let join = Join { proof, ..join_of(0, ROOM, Some(password)) };
        let join = ClientMessage::Join(join).to_json();
        self.signaling.handle(self.now, &mut visit, Input::Text(&join));
        self.visits.insert(id, visit);
        id
    }

    /// A step of the clock: timers, the hash under way, and its answers.
    fn step(&mut self) {
        self.now += STEP;
        let now = self.now;
        if now >= self.ticked_at + TICK {
            self.ticked_at = now;
            self.signaling.tick(now);
        }
        if let Some((_, job)) = self.hashing.take_if(|(ends_at, _)| now >= *ends_at) {
            let hash = Digest::from_parts(job.salt(), [job.password().as_bytes()[0]; 32]);
            self.signaling.hashed(now, job, Some(hash));
        }
        if self.hashing.is_none() {
            self.hashing = self.signaling.next_hash(now).0.map(|job| (now + HASH, job));
        }
        for visit in self.visits.values_mut() {
            let answer = visit.line().hashed.take();
            if let Some(answer) = answer {
                self.signaling.handle(now, visit, Input::Hashed(answer));
            }
        }
    }

    /// How a connection has ended, if it has: its error, and when to come back. Those of others are
    /// forgotten.
    fn ended(&mut self, own: Option<u64>) -> Option<(ErrorCode, Duration)> {
        let now = self.now;
        let mut ended = None;
        let signaling = &self.signaling;
        self.visits.retain(|id, visit| {
            if visit.line().ending().is_none() {
                return true;
            }
            if own == Some(*id) {
                let code = visit.line().errors.borrow().last().cloned().expect("it is said why");
                let after = visit.line().retry_after.borrow().unwrap_or_default();
                ended = Some((code, after));
            }
            signaling.handle(now, visit, Input::Left(LeaveReason::Lost));
            false
        });
        ended
    }
}

/// How long a newcomer with the password takes while a stranger of the same address guesses under
/// ever new peer ids, `per_second` times a second.
fn newcomer_among_guessers(seed: u64, per_second: f64, within: Duration) -> Option<Duration> {
    let mut random = Rng::with_seed(seed);
    let mut machine = Machine::new();
    let proof = |random: &mut Rng| {
        let mut proof = [0; 32];
        proof[..8].copy_from_slice(&random.u64(..).to_be_bytes());
        IdentityProof(proof)
    };
    let owner = machine.join(ELSEWHERE, proof(&mut random), PASSWORD);
    while !machine.visits[&owner].is_inside() {
        machine.step();
    }
    let newcomer = proof(&mut random);
    let begins = BEFORE + Duration::from_secs_f64(3.0 * random.f64());
    let (mut next_guess, mut next_try) = (Duration::ZERO, begins);
    let mut own = None;
    while machine.now < begins + within {
        machine.step();
        while next_guess <= machine.now {
            next_guess += Duration::from_secs_f64(2.0 * random.f64() / per_second);
            machine.join(HERE, proof(&mut random), GUESS);
        }
        if own.is_none() && machine.now >= next_try {
            own = Some(machine.join(HERE, newcomer, PASSWORD));
        }
        if own.is_some_and(|own| machine.visits[&own].is_inside()) {
            return Some(machine.now - begins);
        }
        if let Some((code, after)) = machine.ended(own) {
            assert_eq!(code, ErrorCode::PasswordWait);
            own = None;
            next_try = machine.now + ROUND_TRIP + after.mul_f64(1.0 + 0.5 * random.f64());
        }
    }
    None
}

#[test]
fn a_newcomer_gets_in_while_a_stranger_of_the_same_address_guesses() {
    for (per_second, runs, needed, limit) in [(1.0, 20, 20, 15), (100.0, 10, 9, 60)] {
        let limit = Duration::from_secs(limit);
        let times: Vec<Duration> = (1..=runs)
            .filter_map(|seed| newcomer_among_guessers(seed, per_second, limit))
            .collect();
        println!(
            "{per_second} guesses a second: {} of {runs} in {limit:?}, {times:?}",
            times.len()
        );
        assert!(times.len() >= needed);
    }
}
