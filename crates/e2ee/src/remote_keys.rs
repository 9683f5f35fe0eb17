//! Another member's sender keys: at most the epoch before the last, the last, and one that is given
//! out and not used yet.

use std::collections::VecDeque;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::checks::{Check, runs};
use crate::error::{OpenError, PackageError};
use crate::member::PackageEffect;
use crate::own_keys::{EPOCHS, Owner, STEPS, SenderKey};
use crate::rekey::{ACCEPT_OLD_KEYS, SWITCH_DELAY};
use crate::suite::{Label, Opener, key_id};

/// Epochs of one member.
const KEPT_EPOCHS: usize = 3;
/// Steps of one epoch. Two that follow each other within [`ACCEPT_OLD_KEYS`] are usual, more are a
/// crowd that joins.
const KEPT_STEPS: usize = 4;

struct Step {
    key: SenderKey,
    voice: Opener,
    data: Opener,
    ends: Option<Duration>,
}

impl Step {
    fn new(key: SenderKey, owner: Owner<'_>) -> Self {
        let opener = |label| Opener::new(&key.base(label, owner), key.key_id(label));
        let [voice, data] = [Label::Voice, Label::Data].map(opener);
        Self { key, voice, data, ends: None }
    }
}

struct Epoch {
    number: u32,
    /// Never empty; the newest is last.
    steps: VecDeque<Step>,
    state: Opener,
    ends: Option<Duration>,
}

impl Epoch {
    fn new(key: SenderKey, owner: Owner<'_>) -> Self {
        let state = Opener::new(&key.base(Label::State, owner), key.key_id(Label::State));
        Self {
            number: key.epoch,
            steps: VecDeque::from([Step::new(key, owner)]),
            state,
            ends: None,
        }
    }

    fn newest(&self) -> &Step {
        match self.steps.back() {
            Some(step) => step,
            None => unreachable!("an epoch without a step"),
        }
    }

    fn is_over(&self, now: Duration) -> bool {
        has_ended(self.ends, now)
    }
}

fn has_ended(ends: Option<Duration>, now: Duration) -> bool {
    ends.is_some_and(|at| now >= at) && runs(Check::Expiry)
}

/// An earlier end counts.
fn end(ends: &mut Option<Duration>, at: Duration) {
    *ends = Some(ends.map_or(at, |former| former.min(at)));
}

/// In the order of their numbers.
#[derive(Default)]
pub(crate) struct RemoteKeys {
    epochs: VecDeque<Epoch>,
}

impl RemoteKeys {
    /// Whether any keys came.
    pub(crate) fn has_keys(&self) -> bool {
        !self.epochs.is_empty()
    }

    /// Takes a package that was opened.
    pub(crate) fn install(
        &mut self,
        now: Duration,
        package: &[u8],
        owner: Owner<'_>,
    ) -> Result<PackageEffect, PackageError> {
        let key = SenderKey::read(package).ok_or(PackageError::Malformed)?;
        self.purge(now);
        if let Some(known) = self.epochs.iter_mut().find(|epoch| epoch.number == key.epoch) {
            return compare(known, &key);
        }
        let newest = self.epochs.back().map(|epoch| epoch.number);
        if runs(Check::Epoch) && newest.is_some_and(|newest| key.epoch < newest) {
            return Err(PackageError::OldEpoch);
        }
        for epoch in &mut self.epochs {
            end(&mut epoch.ends, now + SWITCH_DELAY + ACCEPT_OLD_KEYS);
        }
        // Of those that are kept no two have one key id.
        self.epochs.retain(|epoch| key.epoch.abs_diff(epoch.number) < EPOCHS);
        if self.epochs.len() == KEPT_EPOCHS {
            self.epochs.pop_front();
        }
        self.epochs.push_back(Epoch::new(key, owner));
        Ok(PackageEffect::NewKeys)
    }

    pub(crate) fn open(
        &mut self,
        now: Duration,
        label: Label,
        sealed: &Sealed<'_>,
        owner: Owner<'_>,
        scratch: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<(u32, u64), OpenError> {
        let id = key_id(sealed.bytes)?;
        let (number, step) = (u32::from(id >> 5), id % STEPS);
        let found = self
            .epochs
            .iter()
            .rposition(|epoch| epoch.number % EPOCHS == number && !epoch.is_over(now));
        let at = found.ok_or(OpenError::UnknownKey)?;
        let epoch = &mut self.epochs[at];
        let counter = match label {
            Label::State => epoch.state.open(sealed.associated, sealed.bytes, scratch, output)?,
            Label::Voice | Label::Data => {
                open_step(epoch, now, step, label, sealed, owner, scratch, output)?
            }
        };
        let number = epoch.number;
        // It is in use: those before are not for much longer.
        for former in self.epochs.iter_mut().take(at) {
            end(&mut former.ends, now + ACCEPT_OLD_KEYS);
        }
        Ok((number, counter))
    }

    /// Drops what is over, so that the keys are gone from memory.
    pub(crate) fn purge(&mut self, now: Duration) {
        self.epochs.retain(|epoch| !epoch.is_over(now));
        for epoch in &mut self.epochs {
            epoch.steps.retain(|step| !has_ended(step.ends, now));
        }
    }

    /// When [`RemoteKeys::purge`] has something to do.
    pub(crate) fn ends_at(&self) -> Option<Duration> {
        let steps =
            self.epochs.iter().flat_map(|epoch| epoch.steps.iter().filter_map(|step| step.ends));
        self.epochs.iter().filter_map(|epoch| epoch.ends).chain(steps).min()
    }
}

/// A sealed payload and what is authenticated with it.
pub(crate) struct Sealed<'a> {
    pub(crate) associated: &'a [u8],
    pub(crate) bytes: &'a [u8],
}

/// A package of an epoch that is known: the same keys, at the same step or another, or it is
/// refused.
fn compare(known: &Epoch, key: &SenderKey) -> Result<PackageEffect, PackageError> {
    let oldest = known.steps.iter().find(|step| step.key.step <= key.step);
    // From a later step the keys of an earlier one do not follow, and they are not needed any more.
    let Some(from) = oldest else { return Ok(PackageEffect::Unchanged) };
    let mut reached = from.key.clone();
    while reached.step < key.step {
        reached = reached.next_step();
    }
    let is_same = reached.chain.0.ct_eq(&key.chain.0) & reached.state.0.ct_eq(&key.state.0);
    if bool::from(is_same) { Ok(PackageEffect::Unchanged) } else { Err(PackageError::Conflicting) }
}

#[expect(clippy::too_many_arguments, reason = "what RemoteKeys::open has, for one of its epochs")]
fn open_step(
    epoch: &mut Epoch,
    now: Duration,
    step: u8,
    label: Label,
    sealed: &Sealed<'_>,
    owner: Owner<'_>,
    scratch: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> Result<u64, OpenError> {
    let mut open = |keys: &mut Step| {
        let opener = if label == Label::Voice { &mut keys.voice } else { &mut keys.data };
        opener.open(sealed.associated, sealed.bytes, scratch, output)
    };
    let newest = epoch.newest().key.step;
    if step <= newest {
        let known =
            epoch.steps.iter_mut().find(|keys| keys.key.step == step && !has_ended(keys.ends, now));
        return open(known.ok_or(OpenError::UnknownKey)?);
    }
    // The sender went on because members joined. The keys are kept only if they open the payload.
    let mut key = epoch.newest().key.next_step();
    while key.step < step {
        key = key.next_step();
    }
    let mut keys = Step::new(key, owner);
    let counter = open(&mut keys)?;
    for former in &mut epoch.steps {
        end(&mut former.ends, now + ACCEPT_OLD_KEYS);
    }
    if epoch.steps.len() == KEPT_STEPS {
        epoch.steps.pop_front();
    }
    epoch.steps.push_back(keys);
    Ok(counter)
}
