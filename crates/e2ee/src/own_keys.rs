//! This member's sender keys.

use std::time::Duration;

use voicemesh_wire::PeerId;
use zeroize::Zeroizing;

use crate::checks::{Check, runs};
use crate::derive::{Key, RATCHET, SENDER_KEY, STATE_KEY, derive, length};
use crate::error::SealError;
use crate::random::Random;
use crate::rekey::SWITCH_DELAY;
use crate::suite::{Label, Sealer};

/// Steps of one epoch: what five bits of a key id tell apart.
pub(crate) const STEPS: u8 = 32;
/// Epochs that three bits of a key id tell apart.
pub(crate) const EPOCHS: u32 = 8;
/// Epoch, step, sender key, state key.
pub(crate) const PACKAGE_BYTES: usize = 4 + 1 + 32 + 32;

/// The key id of what is sealed in a step of an epoch. It tells keys apart that are in use at the
/// same time; the keys themselves follow from the whole numbers.
pub(crate) fn key_id(epoch: u32, step: u8) -> u8 {
    (((epoch % EPOCHS) as u8) << 5) | (step % STEPS)
}

/// Whose keys these are.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) room: &'a str,
    pub(crate) peer: PeerId,
}

/// What a member gives to the others: from it follow the keys of one epoch, from one step on.
#[derive(Clone)]
pub(crate) struct SenderKey {
    pub(crate) epoch: u32,
    pub(crate) step: u8,
    pub(crate) chain: Key,
    pub(crate) state: Key,
}

impl SenderKey {
    /// The SFrame base key for a label.
    pub(crate) fn base(&self, label: Label, owner: Owner<'_>) -> Key {
        let length = length(owner.room);
        let epoch = self.epoch.to_be_bytes();
        let whose: [&[u8]; 4] = [&length, owner.room.as_bytes(), owner.peer.0.as_bytes(), &epoch];
        let [a, b, c, d] = whose;
        match label {
            Label::Voice | Label::Data => {
                derive(&self.chain.0, SENDER_KEY, &[&[label.number()], a, b, c, d, &[self.step]])
            }
            Label::State => derive(&self.state.0, STATE_KEY, &[a, b, c, d]),
        }
    }

    pub(crate) fn key_id(&self, label: Label) -> u8 {
        match label {
            Label::Voice | Label::Data => key_id(self.epoch, self.step),
            Label::State => key_id(self.epoch, 0),
        }
    }

    /// The key of the next step, from which this one does not follow.
    pub(crate) fn next_step(&self) -> Self {
        Self {
            epoch: self.epoch,
            step: self.step + 1,
            chain: derive(&self.chain.0, RATCHET, &[]),
            state: self.state.clone(),
        }
    }

    pub(crate) fn write(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(PACKAGE_BYTES));
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.push(self.step);
        bytes.extend_from_slice(&self.chain.0);
        bytes.extend_from_slice(&self.state.0);
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (epoch, rest) = bytes.split_first_chunk::<4>()?;
        let (step, rest) = rest.split_first()?;
        let (chain, rest) = rest.split_first_chunk::<32>()?;
        let state = <&[u8; 32]>::try_from(rest).ok()?;
        let epoch = u32::from_be_bytes(*epoch);
        (*step < STEPS).then(|| Self { epoch, step: *step, chain: Key(*chain), state: Key(*state) })
    }
}

/// The keys of one epoch at its present step.
struct Epoch {
    key: SenderKey,
    voice: Sealer,
    data: Sealer,
    state: Sealer,
    /// Something was sealed that a new member must not be able to open.
    is_step_used: bool,
}

impl Epoch {
    fn new(key: SenderKey, owner: Owner<'_>) -> Self {
        let sealer = |label| Sealer::new(&key.base(label, owner), key.key_id(label));
        let [voice, data, state] = [Label::Voice, Label::Data, Label::State].map(sealer);
        Self { key, voice, data, state, is_step_used: false }
    }

    /// A member came that must not open what was sealed before. False if the epoch has no further
    /// step.
    fn admit(&mut self, owner: Owner<'_>) -> bool {
        if !self.is_step_used || !runs(Check::Ratchet) {
            return true;
        }
        if self.key.step + 1 == STEPS {
            return false;
        }
        self.step(owner);
        true
    }

    fn step(&mut self, owner: Owner<'_>) {
        self.key = self.key.next_step();
        for (label, sealer) in [(Label::Voice, &mut self.voice), (Label::Data, &mut self.data)] {
            let base = self.key.base(label, owner);
            *sealer = Sealer::continuing(&base, self.key.key_id(label), sealer.counter());
        }
        self.is_step_used = false;
    }
}

/// Which keys a member that has just come may be given.
pub(crate) struct Admission {
    /// The newest. False if the epoch has no further step: new keys are needed.
    pub(crate) takes_newest: bool,
    /// Those in use, ahead of the newest, which are used later.
    pub(crate) before_switch: bool,
}

/// The epoch in use, and the one that was given out and is used soon.
pub(crate) struct OwnKeys {
    current: Epoch,
    next: Option<(Duration, Epoch)>,
}

impl OwnKeys {
    pub(crate) fn new(random: &mut Random, owner: Owner<'_>) -> Self {
        Self { current: Epoch::new(fresh(0, random), owner), next: None }
    }

    /// The number of the epoch in use.
    pub(crate) fn epoch(&self) -> u32 {
        self.current.key.epoch
    }

    /// When the next epoch is used.
    pub(crate) fn switches_at(&self) -> Option<Duration> {
        self.next.as_ref().map(|(at, _)| *at)
    }

    /// What a package has: the newest keys.
    pub(crate) fn newest(&self) -> &SenderKey {
        &self.next.as_ref().map_or(&self.current, |(_, epoch)| epoch).key
    }

    /// Draws new keys. They are used a moment later, when the others have them.
    pub(crate) fn rekey(&mut self, now: Duration, random: &mut Random, owner: Owner<'_>) {
        self.switch(now);
        let epoch = self.newest().epoch.wrapping_add(1);
        // Keys that were given out and not used yet are used as soon as they would have been.
        let at = self.switches_at().unwrap_or(now + SWITCH_DELAY);
        self.next = Some((at, Epoch::new(fresh(epoch, random), owner)));
    }

    /// The keys in use, where others were given out already.
    pub(crate) fn before_switch(&self) -> Option<&SenderKey> {
        self.next.as_ref().map(|_| &self.current.key)
    }

    /// A member came that must not open what was sealed before it.
    pub(crate) fn member_joined(&mut self, owner: Owner<'_>) -> Admission {
        let takes_current = self.current.admit(owner);
        match &mut self.next {
            None => Admission { takes_newest: takes_current, before_switch: false },
            Some((_, next)) => {
                Admission { takes_newest: next.admit(owner), before_switch: takes_current }
            }
        }
    }

    pub(crate) fn switch(&mut self, now: Duration) {
        if let Some((_, epoch)) = self.next.take_if(|(at, _)| *at <= now) {
            self.current = epoch;
        }
    }

    pub(crate) fn seal(
        &mut self,
        label: Label,
        associated: &[u8],
        plain: &[u8],
        scratch: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let epoch = &mut self.current;
        let sealer = match label {
            Label::Voice => &mut epoch.voice,
            Label::Data => &mut epoch.data,
            Label::State => &mut epoch.state,
        };
        epoch.is_step_used |= label != Label::State;
        sealer.seal(associated, plain, scratch, output)
    }
}

fn fresh(epoch: u32, random: &mut Random) -> SenderKey {
    SenderKey { epoch, step: 0, chain: random.key(), state: random.key() }
}
