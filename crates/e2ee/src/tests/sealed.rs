//! What was sealed in this thread, with which key and nonce: no pair of them may seal two texts.

use std::cell::RefCell;
use std::collections::BTreeMap;

type KeyAndNonce = ([u8; 16], [u8; 12]);
type Text = (Vec<u8>, Vec<u8>);

std::thread_local! {
    static SEALED: RefCell<Option<BTreeMap<KeyAndNonce, Text>>> = const { RefCell::new(None) };
}

/// From here on every seal of this thread is held against all others.
pub(super) fn watch() {
    SEALED.set(Some(BTreeMap::new()));
}

/// How many texts were sealed since [`watch`].
pub(super) fn count() -> usize {
    SEALED.with_borrow(|sealed| sealed.as_ref().map_or(0, BTreeMap::len))
}

/// Called by the back end before it seals.
pub(crate) fn note(key: [u8; 16], nonce: [u8; 12], associated: &[u8], plain: &[u8]) {
    SEALED.with_borrow_mut(|sealed| {
        let Some(sealed) = sealed else { return };
        let former = sealed.insert((key, nonce), (associated.to_vec(), plain.to_vec()));
        assert!(former.is_none(), "one key and nonce sealed two texts");
    });
}
