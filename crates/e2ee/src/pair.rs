//! What two members share alone.

use sha2::{Digest, Sha256};
use voicemesh_wire::PeerId;
use zeroize::Zeroizing;

use crate::authentication::{Announcement, Run};
use crate::derive::{Key, PAIR, PAIR_KEY, derive, length};
use crate::error::{OpenError, SealError};
use crate::identity::{Identity, IdentityKey};
use crate::room_key::RoomKey;
use crate::suite::{Label, Opener, Sealer};

/// The label of packages with sender keys, beside those of [`Label`].
const PACKAGE: u8 = 4;
/// Pair keys have one id: how a packet is addressed tells them from sender keys.
const KEY_ID: u8 = 0;

/// One end of a pair.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) peer: PeerId,
    pub(crate) identity: &'a IdentityKey,
    pub(crate) run: Run,
}

impl End<'_> {
    fn parts(&self) -> [&[u8]; 3] {
        [self.peer.0.as_bytes(), &self.identity.0, &self.run.0]
    }

    /// Tells a run of a peer with its key from all others, in 8 bytes.
    pub(crate) fn mark(&self) -> u64 {
        let mut hash = Sha256::new();
        self.parts().iter().for_each(|part| hash.update(part));
        let mut mark = [0; 8];
        mark.copy_from_slice(&hash.finalize()[..8]);
        u64::from_be_bytes(mark)
    }
}

/// The secret of two runs. Both contribute a random number, so it is another one whenever either
/// ring is.
pub(crate) fn pair_secret(
    agreed: &[u8; 32],
    room_key: Option<&RoomKey>,
    room: &str,
    own: End<'_>,
    remote: End<'_>,
) -> Key {
    let mut secret = Zeroizing::new(Vec::with_capacity(48));
    secret.extend_from_slice(agreed);
    if let Some(room_key) = room_key {
        secret.extend_from_slice(room_key.bytes());
    }
    let (lower, higher) = if own.peer < remote.peer { (own, remote) } else { (remote, own) };
    let length = length(room);
    let mut parts: Vec<&[u8]> = vec![&length, room.as_bytes()];
    parts.extend(lower.parts());
    parts.extend(higher.parts());
    derive(&secret, PAIR, &parts)
}

/// The key of one direction.
pub(crate) fn pair_key(secret: &Key, label: u8, from: PeerId) -> Key {
    derive(&secret.0, PAIR_KEY, &[&[label], from.0.as_bytes()])
}

/// Keys of both directions, by label.
pub(crate) struct Pair {
    sealers: [Sealer; 4],
    openers: [Opener; 4],
}

impl Pair {
    pub(crate) fn agree(
        identity: &Identity,
        room_key: Option<&RoomKey>,
        room: &str,
        own: End<'_>,
        peer: PeerId,
        announcement: &Announcement,
    ) -> Self {
        let remote = End { peer, identity: &announcement.identity, run: announcement.run };
        let agreed = identity.agree(&announcement.public);
        let secret = pair_secret(&agreed, room_key, room, own, remote);
        let labels = [Label::Voice.number(), Label::Data.number(), Label::State.number(), PACKAGE];
        Self {
            sealers: labels.map(|label| Sealer::new(&pair_key(&secret, label, own.peer), KEY_ID)),
            openers: labels.map(|label| Opener::new(&pair_key(&secret, label, peer), KEY_ID)),
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
        self.sealers[index(label)].seal(associated, plain, scratch, output)
    }

    pub(crate) fn open(
        &mut self,
        label: Label,
        associated: &[u8],
        sealed: &[u8],
        scratch: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<u64, OpenError> {
        self.openers[index(label)].open(associated, sealed, scratch, output)
    }

    pub(crate) fn seal_package(&mut self, package: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut scratch = Zeroizing::new(Vec::with_capacity(128));
        let mut output = Vec::with_capacity(128);
        self.sealers[usize::from(PACKAGE) - 1].seal(&[], package, &mut scratch, &mut output)?;
        Ok(output)
    }

    pub(crate) fn open_package(&mut self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let mut scratch = Zeroizing::new(Vec::with_capacity(sealed.len() + 32));
        let mut output = Zeroizing::new(Vec::with_capacity(sealed.len()));
        self.openers[usize::from(PACKAGE) - 1].open(&[], sealed, &mut scratch, &mut output)?;
        Ok(output)
    }
}

fn index(label: Label) -> usize {
    usize::from(label.number()) - 1
}
