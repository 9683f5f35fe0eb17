//! What a room keeps of its password, and what a joiner has to show.
//!
//! Pure, and quick but for [`WorkArea::digest`], which takes tens of milliseconds and 19 MiB: the
//! shell runs it elsewhere, one at a time, between asking
//! [`Room::check_join`](super::Room::check_join) and asking again.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use voicemesh_wire::signaling::Password;

/// Memory of one hash, in KiB; with [`ROUNDS`], the least that OWASP's password storage sheet names
/// for Argon2id. One at a time fits beside everything else in a host of 256 MB.
const MEMORY_KIB: u32 = 19 * 1024;
/// What is asked of the allocator for that, in KiB: only the part that is used takes memory. glibc
/// maps what is larger than 32 MiB (`DEFAULT_MMAP_THRESHOLD_MAX`) apart and returns it to the
/// system when it is freed; a smaller block it takes from an arena of the thread from the second
/// time on, which keeps it for good.
const RESERVED_KIB: usize = 33 * 1024;
/// Passes over that memory.
const ROUNDS: u32 = 2;

/// Drawn anew for every room that gets a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

/// A password's slow hash under one salt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    salt: Salt,
    hash: [u8; 32],
}

/// What a room says to a joiner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinCheck {
    /// It may join.
    Enter,
    /// Its password has to be hashed first; then it is checked again.
    Hash(HashRequest),
}

/// A hash that is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashRequest {
    /// With this salt.
    pub salt: Salt,
    /// The answer that lets the joiner in; `None` if the joiner decides the password.
    pub expected: Option<Digest>,
}

impl Digest {
    /// The salt it was made with.
    pub fn salt(&self) -> Salt {
        self.salt
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Of a hash that was computed before, or by another function than [`WorkArea::digest`].
    pub fn from_parts(salt: Salt, hash: [u8; 32]) -> Self {
        Self { salt, hash }
    }
}

/// The memory in which passwords are hashed, one after the other. Given back to the system when it
/// is dropped.
pub struct WorkArea(Vec<Block>);

impl WorkArea {
    /// `None` only if the machine has no memory for it.
    pub fn new() -> Option<Self> {
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(RESERVED_KIB).ok()?;
        blocks.resize(MEMORY_KIB as usize, Block::new());
        Some(Self(blocks))
    }

    /// Argon2id (RFC 9106).
    pub fn digest(&mut self, password: &Password, salt: Salt) -> Option<Digest> {
        let params = Params::new(MEMORY_KIB, ROUNDS, 1, Some(32)).ok()?;
        let mut hash = [0; 32];
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon
            .hash_password_into_with_memory(password.as_bytes(), &salt.0, &mut hash, &mut self.0)
            .ok()?;
        Some(Digest { salt, hash })
    }
}

impl fmt::Debug for WorkArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkArea")
    }
}

/// Computes one digest in a new work area. `None` only if the machine has no memory for it.
pub fn digest(password: &Password, salt: Salt) -> Option<Digest> {
    WorkArea::new()?.digest(password, salt)
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt")
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

impl fmt::Debug for HashRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.expected.is_some() { "check" } else { "decide" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_salt_and_the_password_decide_the_digest() {
        let hash = |password: &str, salt| digest(&Password::from(password), Salt([salt; 16]));
        assert_eq!(hash("sesame", 1), hash("sesame", 1));
        assert_ne!(hash("sesame", 1), hash("sesame", 2));
        assert_ne!(hash("sesame", 1), hash("Sesame", 1));
        let mut area = WorkArea::new().expect("memory");
        for password in ["sesame", "Sesame", "sesame"] {
            assert_eq!(
                area.digest(&password.into(), Salt([1; 16])),
                hash(password, 1),
                "what was hashed before is gone"
            );
        }
        assert_eq!(format!("{:?}", hash("sesame", 1)), "Some(Digest)");
    }
}
