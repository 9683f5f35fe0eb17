//! Lines of the log that wait for the view that has the terminal.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use voicemesh_common::lock;

/// Lines that the view has not taken. When there are more, the oldest goes.
const MOST_HELD: usize = 256;

/// Lines of libraries that a view shows; later ones are dropped.
const MOST_FOREIGN: usize = 20;

static HELD: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static FOREIGN: AtomicUsize = AtomicUsize::new(0);

/// What has been logged while a view has the terminal.
pub(crate) fn take() -> Vec<String> {
    lock(&HELD).drain(..).collect()
}

/// Keeps a line that a library wrote to standard error for the view to show.
#[cfg_attr(not(unix), allow(dead_code))]
pub(crate) fn hold_foreign(line: &str) {
    if FOREIGN.fetch_add(1, Ordering::Relaxed) < MOST_FOREIGN {
        hold(line.to_owned());
    }
}

/// Keeps a line for the view to show.
pub(crate) fn hold(line: String) {
    let mut held = lock(&HELD);
    if held.len() >= MOST_HELD {
        held.pop_front();
    }
    held.push_back(line);
}
