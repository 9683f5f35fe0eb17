//! Locks whose poison is ignored. A panic while a lock was held is a bug, but no reason to stop all
//! others: what the locks here protect is valid after each single change.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Waits for the mutex. Does not panic after a panic of another holder.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The content of a mutex that has no other holder. Does not panic after a panic of a former one.
pub fn get_mut<T: ?Sized>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// Waits to read, beside other readers. Does not panic after a panic of a writer.
pub fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Waits to write, alone. Does not panic after a panic of another writer.
pub fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_lock_is_taken_over_after_a_panic_of_its_holder() {
        let (mut mutex, both) = (Mutex::new(1), RwLock::new(1));
        let panics = catch_unwind(AssertUnwindSafe(|| {
            let mut guards = (mutex.lock(), both.write());
            if let (Ok(first), Ok(second)) = (&mut guards.0, &mut guards.1) {
                (**first, **second) = (2, 2);
            }
            panic!("while both are held");
        }));
        assert!(panics.is_err() && mutex.is_poisoned() && both.is_poisoned());
        assert_eq!((*lock(&mutex), *read(&both)), (2, 2));
        *lock(&mutex) += 1;
        *write(&both) += 1;
        assert_eq!((*get_mut(&mut mutex), *read(&both)), (3, 3));
    }
}
