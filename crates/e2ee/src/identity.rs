//! Identity keys: a pair of keys on P-256 for one installation in one room of one server.

use std::fmt;

use p256::ecdh::diffie_hellman;
use p256::elliptic_curve::hash2curve::FromOkm;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::{NonZeroScalar, PublicKey, Scalar};
use voicemesh_wire::identity::InstallationSecret;
use zeroize::{Zeroize, Zeroizing};

use crate::derive::{IDENTITY, derive_into, length};

/// An identity key on the wire: an uncompressed point (SEC 1, section 2.3.3).
pub const IDENTITY_KEY_BYTES: usize = 65;

/// A member's public identity key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdentityKey(pub(crate) [u8; IDENTITY_KEY_BYTES]);

impl IdentityKey {
    /// For "known since": what is kept of a member from visit to visit.
    pub fn bytes(&self) -> &[u8; IDENTITY_KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "identity key {:02x}{:02x}{:02x}{:02x}…",
            self.0[1], self.0[2], self.0[3], self.0[4]
        )
    }
}

/// The private half.
pub(crate) struct Identity {
    private: NonZeroScalar,
    pub(crate) public: IdentityKey,
}

impl Identity {
    /// The arguments are those of [`voicemesh_wire::identity::prove`].
    pub(crate) fn derive(
        secret: &InstallationSecret,
        origin: &str,
        room: &str,
        instance: u32,
    ) -> Self {
        // 48 bytes reduced by the order: a bias of 2⁻¹²⁸ (FIPS 186-5, A.2.1).
        let mut wide = Zeroizing::new([0; 48]);
        let parts: [&[u8]; 5] = [
            &length(origin),
            origin.as_bytes(),
            &length(room),
            room.as_bytes(),
            &instance.to_be_bytes(),
        ];
        derive_into(&secret.0, IDENTITY, &parts, &mut *wide);
        let mut scalar = Scalar::from_okm((&*wide).into());
        let Some(private) = Option::<NonZeroScalar>::from(NonZeroScalar::new(scalar)) else {
            unreachable!("HKDF gave a multiple of the order")
        };
        scalar.zeroize();
        let point = PublicKey::from_secret_scalar(&private).to_encoded_point(false);
        let mut public = [0; IDENTITY_KEY_BYTES];
        public.copy_from_slice(point.as_bytes());
        Self { private, public: IdentityKey(public) }
    }

    #[cfg(test)]
    pub(crate) fn private_bytes(&self) -> [u8; 32] {
        self.private.to_bytes().into()
    }

    /// The shared x-coordinate (SEC 1, section 3.3.1).
    pub(crate) fn agree(&self, remote: &PublicKey) -> Zeroizing<[u8; 32]> {
        let shared = diffie_hellman(self.private, remote.as_affine());
        Zeroizing::new((*shared.raw_secret_bytes()).into())
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.private.zeroize();
    }
}
