//! Slow hashes of passwords: one at a time in one work area, beside rooms and sockets that go on. Which is next is decided by
//! the [`HashQueue`].

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ErrorCode, Password};

use super::address::AddressKey;
use super::metrics::Counter;
use crate::budget::Rate;
use crate::hash_queue::{ADDRESS_HASHES, Asked, HashId, HashQueue, SHARED_HASHES};
use crate::refusal::Refusal;
use crate::room::{Digest, Question, WorkArea};
use crate::sync::lock;

/// The work area (19 MiB) is given back when no password has been hashed for this long.
const KEPT: Duration = Duration::from_secs(2);

/// Connections that share hashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Guesser {
    /// An address, whatever the room.
    Address(AddressKey),
    /// This machine, or everyone behind a proxy that is not named as trusted: one room's guessers do not lock the others
    /// out of theirs.
    Here { room: String },
}

impl Guesser {
    pub(super) fn of(address: Option<AddressKey>, room: &str) -> Self {
        address.map_or_else(|| Self::Here { room: room.to_owned() }, Self::Address)
    }

    fn rate(&self) -> Rate {
        match self {
            Self::Address(_) => ADDRESS_HASHES,
            Self::Here { .. } => SHARED_HASHES,
        }
    }
}

/// All hashing of one server.
#[derive(Debug, Default)]
pub(super) struct Passwords {
    waiting: Mutex<WaitingJoins>,
    asked: Notify,
}

#[derive(Debug, Default)]
struct WaitingJoins {
    queue: HashQueue<Guesser>,
    jobs: HashMap<HashId, Job>,
}

#[derive(Debug)]
struct Job {
    guesser: Guesser,
    peer: PeerId,
    password: Password,
    question: Question,
    answer: oneshot::Sender<Result<Digest, Refusal>>,
}

/// The answer to one question; it is not computed any more once this is dropped.
pub(super) type Answer = oneshot::Receiver<Result<Digest, Refusal>>;

impl Passwords {
    /// Passwords that wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        let mut waiting = lock(&self.waiting);
        waiting.forget_gone();
        waiting.jobs.len()
    }

    /// Puts a join's password into the queue, or says when to come back.
    pub(super) fn ask(
        &self,
        now: Duration,
        guesser: &Guesser,
        peer: PeerId,
        password: Password,
        question: Question,
    ) -> Result<Answer, Refusal> {
        let mut waiting = lock(&self.waiting);
        waiting.forget_gone();
        let id = match waiting.queue.ask(now, guesser, peer, guesser.rate()) {
            Asked::Waits(id) => id,
            Asked::Refused(after) => return Err(Refusal::after_guess(ErrorCode::PasswordWait, after)),
        };
        let (answer, answered) = oneshot::channel();
        waiting.jobs.insert(id, Job { guesser: guesser.clone(), peer, password, question, answer });
        self.asked.notify_one();
        Ok(answered)
    }
}

impl WaitingJoins {
    fn forget_gone(&mut self) {
        let Self { queue, jobs } = self;
        jobs.retain(|id, job| {
            if job.answer.is_closed() {
                queue.withdraw(*id);
            }
            !job.answer.is_closed()
        });
    }

    /// The next to be hashed; what waits no longer is answered.
    fn next(&mut self, now: Duration) -> Option<Job> {
        self.forget_gone();
        while let Some((id, after)) = self.queue.next_refused(now) {
            if let Some(job) = self.jobs.remove(&id) {
                let _ = job.answer.send(Err(Refusal::after_guess(ErrorCode::PasswordWait, after)));
            }
        }
        self.queue.next(now).and_then(|id| self.jobs.remove(&id))
    }
}

impl Passwords {
    /// Hashes without end.
    pub(super) async fn work(&self, now: impl Fn() -> Duration, hashes: &Counter) {
        let mut area: Option<WorkArea> = None;
        let mut used_at = Instant::now();
        loop {
            let time = now();
            let (job, next_at) = {
                let mut waiting = lock(&self.waiting);
                let job = waiting.next(time);
                (job, waiting.queue.next_at(time))
            };
            if let Some(job) = job {
                hashes.add(1);
                area = self.hash(&now, job, area.take()).await;
                used_at = Instant::now();
                continue;
            }
            let wakes_at = next_at.map(|at| Instant::now() + at.saturating_sub(time));
            let kept_until = area.as_ref().map(|_| used_at + KEPT);
            let earliest = [wakes_at, kept_until].into_iter().flatten().min();
            let alarm = async {
                match earliest {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.asked.notified() => {}
                () = alarm => {
                    if kept_until.is_some_and(|at| Instant::now() >= at) {
                        area = None;
                    }
                }
            }
        }
    }

    async fn hash(&self, now: &impl Fn() -> Duration, job: Job, area: Option<WorkArea>) -> Option<WorkArea> {
        let Job { guesser, peer, password, question, answer } = job;
        let hashed = tokio::task::spawn_blocking(move || {
            let mut area = area.or_else(WorkArea::new)?;
            let shown = area.digest(&password, question.salt);
            Some((area, shown))
        });
        let (area, shown) = hashed.await.ok().flatten().map_or((None, None), |(area, shown)| (Some(area), shown));
        let result = match (shown, question.expected) {
            (Some(shown), Some(expected)) if shown != expected => {
                let wait = lock(&self.waiting).queue.wrong(now(), &guesser, peer);
                Err(Refusal::after_guess(ErrorCode::PasswordWrong, wait))
            }
            (Some(shown), _) => Ok(shown),
            (None, _) => Err(Refusal::of(ErrorCode::ServerFull)),
        };
        let _ = answer.send(result);
        area
    }
}
