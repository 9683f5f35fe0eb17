//! Slow hashes of passwords: on a separate thread, one at a time in one work area, in a bounded queue, while rooms and
//! sockets go on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, oneshot};
use voicemesh_wire::signaling::{ErrorCode, Password};

use super::address::AddressKey;
use super::hub::Hub;
use super::lock;
use crate::guesses::Guesses;
use crate::refusal::Refusal;
use crate::room::{Digest, Question, WorkArea};

/// The work area (19 MiB) is given back when no password has been hashed for this long.
const KEPT: Duration = Duration::from_secs(2);
/// Joins that wait for a hash, or have one made. One more is sent away to come back: it is about ten seconds' work.
const WAITING: usize = 256;
/// Of one address: a room of friends behind one router comes back at once, but nobody fills the queue alone.
const WAITING_OF_ONE: usize = 64;
/// When to come back if the queue is full.
const BUSY_MS: u64 = 2_000;

/// Whose wrong passwords count together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Guesser {
    /// An address, whatever the room.
    Address(AddressKey),
    /// This machine, or everyone behind a proxy that nobody named as trusted: one room's guessers do not lock the others
    /// out of theirs.
    Here { room: String },
}

impl Guesser {
    pub(super) fn of(address: Option<AddressKey>, room: &str) -> Self {
        address.map_or_else(|| Self::Here { room: room.to_owned() }, Self::Address)
    }
}

/// All hashing of one server.
#[derive(Debug)]
pub(super) struct Passwords {
    /// The holder of the lock hashes.
    area: AsyncMutex<Option<WorkArea>>,
    /// Hashes so far.
    hashes: AtomicU64,
    waiting: Mutex<HashMap<Guesser, usize>>,
    guesses: Mutex<Guesses<Guesser>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            area: AsyncMutex::default(),
            hashes: AtomicU64::new(0),
            waiting: Mutex::default(),
            guesses: Mutex::default(),
        }
    }
}

/// The answer to one question; nobody computes it any more once this is dropped.
pub(super) type Answer = oneshot::Receiver<Result<Digest, Refusal>>;

/// A place in the queue.
struct Place {
    hub: Arc<Hub>,
    guesser: Guesser,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = lock(&self.hub.passwords.waiting);
        if let Some(count) = waiting.get_mut(&self.guesser) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.guesser);
            }
        }
    }
}

/// Begins to hash, or says why not: wrong passwords came from there, or too many wait.
pub(super) fn ask(
    hub: &Arc<Hub>,
    guesser: &Guesser,
    password: Password,
    question: Question,
) -> Result<Answer, Refusal> {
    refuse_while_waiting(hub, guesser, question)?;
    let place = place(hub, guesser).ok_or_else(busy)?;
    let (answer, answered) = oneshot::channel();
    tokio::spawn(work(place, password, question, answer));
    Ok(answered)
}

fn place(hub: &Arc<Hub>, guesser: &Guesser) -> Option<Place> {
    let mut waiting = lock(&hub.passwords.waiting);
    let all: usize = waiting.values().sum();
    let own = waiting.get(guesser).copied().unwrap_or(0);
    if all >= WAITING || own >= WAITING_OF_ONE {
        return None;
    }
    waiting.insert(guesser.clone(), own + 1);
    Some(Place { hub: Arc::clone(hub), guesser: guesser.clone() })
}

async fn work(place: Place, password: Password, question: Question, answer: oneshot::Sender<Result<Digest, Refusal>>) {
    let Place { hub, guesser } = &place;
    let mut area = hub.passwords.area.lock().await;
    if answer.is_closed() {
        return;
    }
    // Checked again here, so that many connections opened at once cannot outrun the back-off for their wrong passwords.
    if let Err(refusal) = refuse_while_waiting(hub, guesser, question) {
        let _ = answer.send(Err(refusal));
        return;
    }
    hub.metrics.password_hashes.add(1);
    let work = area.take();
    let hashed = tokio::task::spawn_blocking(move || {
        let mut work = work.or_else(WorkArea::new)?;
        let shown = work.digest(&password, question.salt);
        Some((work, shown))
    });
    let hashed = hashed.await.ok().flatten().and_then(|(work, shown)| {
        *area = Some(work);
        shown
    });
    let number = hub.passwords.hashes.fetch_add(1, Ordering::Relaxed) + 1;
    tokio::spawn(give_back(Arc::clone(hub), number));
    let result = match (hashed, question.expected) {
        (Some(shown), Some(expected)) if shown != expected => {
            let wait = lock(&hub.passwords.guesses).wrong(hub.now(), guesser.clone());
            Err(Refusal::after_guess(ErrorCode::PasswordWrong, wait))
        }
        (Some(shown), _) => Ok(shown),
        (None, _) => Err(busy()),
    };
    drop(area);
    let _ = answer.send(result);
}

/// Gives the work area back, unless another password has been hashed meanwhile.
async fn give_back(hub: Arc<Hub>, number: u64) {
    tokio::time::sleep(KEPT).await;
    let mut area = hub.passwords.area.lock().await;
    if hub.passwords.hashes.load(Ordering::Relaxed) == number {
        *area = None;
    }
}

/// Who decides a room's password guesses nothing.
fn refuse_while_waiting(hub: &Hub, guesser: &Guesser, question: Question) -> Result<(), Refusal> {
    let wait = lock(&hub.passwords.guesses).wait(hub.now(), guesser);
    match wait {
        Some(wait) if question.expected.is_some() => Err(Refusal::after_guess(ErrorCode::PasswordWait, wait)),
        Some(_) | None => Ok(()),
    }
}

fn busy() -> Refusal {
    Refusal {
        message: "Too many passwords are being looked at; come back in a moment.".to_owned(),
        retry_after_ms: Some(BUSY_MS),
        ..Refusal::of(ErrorCode::TooManyJoins)
    }
}
