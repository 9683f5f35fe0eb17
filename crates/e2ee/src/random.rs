//! Randomness that was handed in.

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::derive::{Key, RANDOM, derive, derive_into};

/// 32 bytes of the system's randomness for one [`KeyRing`](crate::KeyRing). Two rings with one seed
/// would seal different texts under one key and counter, which gives both away: a seed is drawn for
/// one ring and used up by it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seed(Key);

impl Seed {
    /// From bytes that are used for nothing else.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Key(bytes))
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(hidden)")
    }
}

/// A generator that cannot be run backwards: what was drawn does not follow from its later state.
pub(crate) struct Random(Key);

impl Random {
    pub(crate) fn new(seed: &Seed) -> Self {
        Self(seed.0.clone())
    }

    pub(crate) fn fill(&mut self, output: &mut [u8]) {
        derive_into(&self.0.0, RANDOM, &[b"output"], output);
        self.0 = derive(&self.0.0, RANDOM, &[b"next"]);
    }

    pub(crate) fn key(&mut self) -> Key {
        let mut key = Key([0; 32]);
        self.fill(&mut key.0);
        key
    }
}
