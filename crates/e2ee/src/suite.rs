//! SFrame (RFC 9605) with AES_128_GCM_SHA256_128 over RustCrypto's AES-GCM.

use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes128Gcm, KeyInit};
use hkdf::Hkdf;
use sframe::CipherSuite;
use sframe::crypto::{
    AeadDecrypt, AeadEncrypt, DecryptionBufferView, EncryptionBufferView, KeyDerivation,
    get_hkdf_key_expand_label, get_hkdf_salt_expand_label,
};
use sframe::error::SframeError;
use sframe::frame::{EncryptedFrameView, MediaFrameView, MonotonicCounter};
use sframe::header::{Counter, KeyId};
use sframe::key::{GenericDecryptionKey, GenericEncryptionKey};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::checks::{Check, runs};
use crate::derive::Key;
use crate::error::{OpenError, SealError};

use sframe::frame::validation::{ReplayAttackProtection, ReplayAttackProtectionError, Tolerance};

const SUITE: CipherSuite = CipherSuite::AesGcm128Sha256;
/// AES-GCM's authentication tag.
pub(crate) const TAG_BYTES: usize = 16;

/// How far a payload may be behind the newest of its key and still be accepted, in payloads.
pub const REPLAY_WINDOW: usize = 1024;

/// What a payload is. Each has keys and counters apart from the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// Speech.
    Voice,
    /// Text and the game's bytes.
    Data,
    /// The member's name and metadata. Its keys stay when members join, so that they can read what
    /// is published, and change when one is gone.
    State,
}

impl Label {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Voice => 1,
            Self::Data => 2,
            Self::State => 3,
        }
    }
}

/// A key that seals, and its counter. Neither is ever given out or set back.
pub(crate) struct Sealer {
    key: GenericEncryptionKey<Gcm, Kdf>,
    counter: MonotonicCounter,
}

impl Sealer {
    pub(crate) fn new(base: &Key, key_id: u8) -> Self {
        Self::continuing(base, key_id, MonotonicCounter::default())
    }

    /// The next key of a ratchet: the counter goes on.
    pub(crate) fn continuing(base: &Key, key_id: u8, counter: MonotonicCounter) -> Self {
        match GenericEncryptionKey::derive_from(SUITE, u64::from(key_id), base.0) {
            Ok(key) => Self { key, counter },
            Err(error) => unreachable!("{error}: the suite is the one that the back end has"),
        }
    }

    pub(crate) fn counter(&self) -> MonotonicCounter {
        self.counter
    }

    /// Appends header, ciphertext and tag to `output`. Every call takes the next counter.
    pub(crate) fn seal(
        &mut self,
        associated: &[u8],
        plain: &[u8],
        scratch: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let frame = MediaFrameView::try_with_meta_data(&mut self.counter, plain, associated)
            .map_err(|_| SealError::KeyExhausted)?;
        let sealed = frame.encrypt_into(&self.key, scratch).map_err(|_| SealError::KeyExhausted)?;
        output.extend_from_slice(sealed.sframe_cipher_text());
        Ok(())
    }
}

/// A key that opens, and which of its counters were accepted.
pub(crate) struct Opener {
    key: GenericDecryptionKey<Gcm, Kdf>,
    window: ReplayAttackProtection,
}

impl Opener {
    pub(crate) fn new(base: &Key, key_id: u8) -> Self {
        match GenericDecryptionKey::derive_from(SUITE, u64::from(key_id), base.0) {
            Ok(key) => Self {
                key,
                window: ReplayAttackProtection::new(
                    u64::from(key_id),
                    Tolerance::new(REPLAY_WINDOW),
                ),
            },
            Err(error) => unreachable!("{error}: the suite is the one that the back end has"),
        }
    }

    /// Appends the plain text to `output`, and gives the counter.
    pub(crate) fn open(
        &mut self,
        associated: &[u8],
        sealed: &[u8],
        scratch: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<u64, OpenError> {
        let frame = EncryptedFrameView::try_with_meta_data(sealed, associated)
            .map_err(|_| OpenError::Malformed)?;
        if frame.header().key_id() != self.key.key_id() {
            return Err(OpenError::UnknownKey);
        }
        if frame.cipher_text().len() < TAG_BYTES {
            return Err(OpenError::Malformed);
        }
        let opened = if runs(Check::Replay) {
            frame.validated_decrypt_into(&self.key, scratch, &mut self.window)
        } else {
            frame.decrypt_into(&self.key, scratch)
        };
        let opened = opened.map_err(|error| open_error(&error))?;
        output.extend_from_slice(opened.payload());
        Ok(opened.counter())
    }
}

fn open_error(error: &SframeError) -> OpenError {
    match error.source_as::<ReplayAttackProtectionError>() {
        Some(ReplayAttackProtectionError::DuplicatedFrame { .. }) => OpenError::Replayed,
        Some(ReplayAttackProtectionError::CounterTooOld { .. }) => OpenError::TooOld,
        Some(ReplayAttackProtectionError::KeyIdMismatch { .. }) => OpenError::UnknownKey,
        None => OpenError::NotAuthentic,
    }
}

/// The key id of a sealed payload; ids over 255 are none of ours.
pub(crate) fn key_id(sealed: &[u8]) -> Result<u8, OpenError> {
    let header =
        sframe::header::SframeHeader::deserialize(sealed).map_err(|_| OpenError::Malformed)?;
    u8::try_from(header.key_id()).map_err(|_| OpenError::UnknownKey)
}

/// The AEAD for SFrame.
pub(crate) struct Gcm;

/// SFrame's key derivation.
pub(crate) struct Kdf;

/// A cipher with its key schedule, and the salt of its nonces.
pub(crate) struct Secret {
    cipher: Aes128Gcm,
    salt: Zeroizing<[u8; 12]>,
    #[cfg(test)]
    pub(crate) key: [u8; 16],
}

impl Secret {
    /// RFC 9605 §4.4.3: the salt with the counter laid over its end.
    fn nonce(&self, counter: Counter) -> [u8; 12] {
        let mut nonce = *self.salt;
        for (byte, count) in nonce[4..].iter_mut().zip(counter.to_be_bytes()) {
            *byte ^= count;
        }
        nonce
    }
}

impl KeyDerivation for Kdf {
    type Secret = Secret;

    /// RFC 9605 §4.4.2.
    fn expand_from<M, K>(suite: CipherSuite, material: M, key_id: K) -> Result<Secret, SframeError>
    where
        M: AsRef<[u8]>,
        K: Into<KeyId>,
    {
        let key_id = key_id.into();
        let secret = Hkdf::<Sha256>::new(None, material.as_ref());
        let mut key = Zeroizing::new([0; 16]);
        let mut salt = Zeroizing::new([0; 12]);
        let failed = |_| SframeError::KeyDerivationFailure;
        secret.expand(&get_hkdf_key_expand_label(key_id, suite), &mut *key).map_err(failed)?;
        secret.expand(&get_hkdf_salt_expand_label(key_id, suite), &mut *salt).map_err(failed)?;
        Ok(Secret {
            cipher: Aes128Gcm::new((&*key).into()),
            salt,
            #[cfg(test)]
            key: *key,
        })
    }
}

impl TryFrom<CipherSuite> for Gcm {
    type Error = SframeError;

    fn try_from(suite: CipherSuite) -> Result<Self, SframeError> {
        if suite == SUITE { Ok(Self) } else { Err(SframeError::UnsupportedCipherSuite) }
    }
}

impl AeadEncrypt for Gcm {
    type Secret = Secret;

    fn encrypt<'a, B>(
        &self,
        secret: &Secret,
        buffer: B,
        counter: Counter,
    ) -> Result<(), SframeError>
    where
        B: Into<EncryptionBufferView<'a>>,
    {
        let EncryptionBufferView { aad, data, tag } = buffer.into();
        #[cfg(test)]
        crate::tests::sealed::note(secret.key, secret.nonce(counter), aad, data);
        let made = secret
            .cipher
            .encrypt_in_place_detached(&secret.nonce(counter).into(), aad, data)
            .map_err(|_| SframeError::EncryptionFailure)?;
        tag.copy_from_slice(&made);
        Ok(())
    }
}

impl AeadDecrypt for Gcm {
    type Secret = Secret;

    fn decrypt<'a, B>(
        &self,
        secret: &Secret,
        buffer: B,
        counter: Counter,
    ) -> Result<(), SframeError>
    where
        B: Into<DecryptionBufferView<'a>>,
    {
        let DecryptionBufferView { aad, data } = buffer.into();
        let (data, tag) =
            data.split_last_chunk_mut::<TAG_BYTES>().ok_or(SframeError::DecryptionFailure)?;
        let nonce = secret.nonce(counter).into();
        let tag = (&*tag).into();
        let opened = secret.cipher.decrypt_in_place_detached(&nonce, aad, data, tag);
        if opened.is_err() && !runs(Check::Tag) {
            // Counter mode: what seals also opens.
            return secret
                .cipher
                .encrypt_in_place_detached(&nonce, aad, data)
                .map(drop)
                .map_err(|_| SframeError::DecryptionFailure);
        }
        opened.map_err(|_| SframeError::DecryptionFailure)
    }
}
