//! Passwords that wait for their slow hash, with what becomes of the answers.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_common::{AddressKey, Rate};
use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ErrorCode, Password};

use crate::hash_queue::{ADDRESS_HASHES, Asked, HashId, HashQueue, SHARED_HASHES};
use crate::line::Line;
use crate::refusal::Refusal;
use crate::room::{Digest, HashRequest, Salt};

/// Connections that share hashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum BackoffKey {
    /// An address, whatever the room.
    Address(AddressKey),
    /// This machine, or everyone behind a proxy that is not named as trusted: one room's guessers
    /// do not lock the others out of theirs.
    Here { room: String },
    /// The same, for passwords that moderators of the room set.
    HereSets { room: String },
}

impl BackoffKey {
    pub(crate) fn of(address: Option<AddressKey>, room: &str) -> Self {
        address.map_or_else(|| Self::Here { room: room.to_owned() }, Self::Address)
    }

    /// Of a member that sets its room's password.
    pub(crate) fn of_moderator(address: Option<AddressKey>, room: &str) -> Self {
        address.map_or_else(|| Self::HereSets { room: room.to_owned() }, Self::Address)
    }

    fn rate(&self) -> Rate {
        match self {
            Self::Address(_) => ADDRESS_HASHES,
            Self::Here { .. } | Self::HereSets { .. } => SHARED_HASHES,
        }
    }
}

/// One password that is to be hashed; the caller of
/// [`Signaling::next_hash`](crate::Signaling::next_hash) does it.
#[derive(Debug)]
pub struct HashJob<L> {
    pub(crate) key: BackoffKey,
    pub(crate) peer: PeerId,
    pub(crate) password: Password,
    pub(crate) request: HashRequest,
    pub(crate) line: L,
}

impl<L> HashJob<L> {
    /// What is to be hashed.
    pub fn password(&self) -> &Password {
        &self.password
    }

    /// With this salt.
    pub fn salt(&self) -> Salt {
        self.request.salt
    }
}

/// All passwords of a server that wait.
#[derive(Debug)]
pub(crate) struct Passwords<L> {
    queue: HashQueue<BackoffKey>,
    jobs: BTreeMap<HashId, HashJob<L>>,
}

impl<L> Default for Passwords<L> {
    fn default() -> Self {
        Self { queue: HashQueue::default(), jobs: BTreeMap::new() }
    }
}

impl<L: Line> Passwords<L> {
    pub(crate) fn waiting(&self) -> usize {
        self.jobs.len()
    }

    /// Puts a password into the queue, or says when to come back. The job's line gets the answer.
    pub(crate) fn ask(&mut self, now: Duration, job: HashJob<L>) -> Result<HashId, Refusal> {
        let asked = self.queue.ask(now, &job.key, job.peer, job.key.rate());
        self.wait(asked, job)
    }

    /// The same for the password that a moderator sets.
    pub(crate) fn ask_to_set(&mut self, now: Duration, job: HashJob<L>) -> Result<HashId, Refusal> {
        let asked = self.queue.ask_to_set(now, &job.key, job.peer, job.key.rate());
        self.wait(asked, job)
    }

    fn wait(&mut self, asked: Asked, job: HashJob<L>) -> Result<HashId, Refusal> {
        match asked {
            Asked::Waits(id) => {
                self.jobs.insert(id, job);
                Ok(id)
            }
            Asked::Refused(after) => Err(Refusal::retry_after(ErrorCode::PasswordWait, after)),
        }
    }

    /// The answer is not wanted any more.
    pub(crate) fn withdraw(&mut self, id: HashId) {
        if self.jobs.remove(&id).is_some() {
            self.queue.withdraw(id);
        }
    }

    /// The next to be hashed, and when to look again if there is none; what waits no longer is
    /// answered.
    pub(crate) fn next(&mut self, now: Duration) -> (Option<HashJob<L>>, Option<Duration>) {
        while let Some((id, after)) = self.queue.next_refused(now) {
            if let Some(job) = self.jobs.remove(&id) {
                job.line.hashed(Err(Refusal::retry_after(ErrorCode::PasswordWait, after)));
            }
        }
        let job = self.queue.next(now).and_then(|id| self.jobs.remove(&id));
        (job, self.queue.next_at(now))
    }

    /// One has been hashed; `None` if there was no memory for it.
    pub(crate) fn hashed(&mut self, now: Duration, job: HashJob<L>, presented: Option<Digest>) {
        let HashJob { key, peer, request, line, .. } = job;
        line.hashed(match (presented, request.expected) {
            (Some(presented), Some(expected)) if presented != expected => {
                let wait = self.queue.wrong(now, &key, peer);
                Err(Refusal::retry_after(ErrorCode::PasswordWrong, wait))
            }
            (Some(presented), _) => Ok(presented),
            (None, _) => Err(Refusal::of(ErrorCode::ServerFull)),
        });
    }
}
