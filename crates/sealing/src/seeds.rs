//! Randomness for more than one key ring.

use hkdf::Hkdf;
use sha2::Sha256;
use voicemesh_e2ee::Seed;
use voicemesh_wire::identity::InstallationSecret;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const LABEL: &[u8] = b"voicemesh sealing seeds 1";

/// Seeds of any number of key rings from 32 bytes of the system's randomness. What was drawn does
/// not follow from what is kept.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seeds([u8; 32]);

impl Seeds {
    /// From bytes that are used for nothing else.
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// For the next ring.
    pub fn next_seed(&mut self) -> Seed {
        Seed::new(*self.draw())
    }

    /// The secret of a member without an installation: its identity lasts as long as its program.
    pub fn next_secret(&mut self) -> InstallationSecret {
        InstallationSecret(*self.draw())
    }

    fn draw(&mut self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 64]);
        if let Err(error) = Hkdf::<Sha256>::new(None, &self.0).expand(LABEL, &mut *bytes) {
            unreachable!("HKDF-SHA-256 gives up to 8,160 bytes: {error}");
        }
        let mut drawn = Zeroizing::new([0; 32]);
        drawn.copy_from_slice(&bytes[..32]);
        self.0.copy_from_slice(&bytes[32..]);
        drawn
    }
}

impl std::fmt::Debug for Seeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seeds(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_the_same_and_none_is_what_is_kept() {
        let mut seeds = Seeds::new([7; 32]);
        let drawn: Vec<[u8; 32]> = (0..8).map(|_| seeds.next_secret().0).collect();
        for (at, one) in drawn.iter().enumerate() {
            assert!(!drawn[..at].contains(one) && *one != seeds.0 && *one != [7; 32], "draw {at}");
        }
        assert_eq!(Seeds::new([7; 32]).next_secret().0, drawn[0], "a seed decides them");
    }
}
