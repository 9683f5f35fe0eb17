//! Locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A panic while a lock was held is a bug, but no reason to stop everyone else.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
