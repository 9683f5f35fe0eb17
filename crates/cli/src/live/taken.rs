//! Whether the view has the terminal. There is one terminal, so this is one, too.

use std::sync::atomic::{AtomicBool, Ordering};

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether the view has the terminal.
pub(crate) fn is_taken() -> bool {
    TAKEN.load(Ordering::SeqCst)
}

/// Takes it, or gives it back; says whether the view had it.
pub(crate) fn set(is_taken: bool) -> bool {
    TAKEN.swap(is_taken, Ordering::SeqCst)
}
