//! Handles for audio threads: each object has a separate lock, which only its reader and its closer
//! ever take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, TryLockError};

use voicemesh_common::lock;

use crate::guard::Fault;
use crate::handles::{LAST_GENERATION, handle, never_given, parts};
use crate::vmesh_result;

/// At most `N` things of one kind. Numbers are as in [`Table`](crate::handles::Table).
pub(crate) struct RealtimeHandles<T, const N: usize> {
    kind: u8,
    handles: [Slot<T>; N],
}

struct Slot<T> {
    /// Looked at before the lock, so that opening one thing never touches the lock of another.
    is_taken: AtomicBool,
    inside: Mutex<SlotState<T>>,
}

struct SlotState<T> {
    /// How often it was taken.
    generation: u32,
    entry: Option<T>,
}

impl<T, const N: usize> RealtimeHandles<T, N> {
    pub(crate) const fn new(kind: u8) -> Self {
        let handles = [const {
            Slot {
                is_taken: AtomicBool::new(false),
                inside: Mutex::new(SlotState { generation: 0, entry: None }),
            }
        }; N];
        Self { kind, handles }
    }

    pub(crate) fn open(&self, entry: T) -> Result<u64, Fault> {
        for (index, slot) in self.handles.iter().enumerate() {
            if slot.is_taken.swap(true, Ordering::Acquire) {
                continue;
            }
            let mut inside = lock(&slot.inside);
            // A slot whose numbers are used up stays taken.
            if inside.generation < LAST_GENERATION {
                inside.generation += 1;
                inside.entry = Some(entry);
                return Ok(handle(self.kind, inside.generation, index));
            }
        }
        Err(Fault::new(
            vmesh_result::VMESH_ERROR_TOO_MANY,
            format!("{N} handles of this kind are open; close those that are not used"),
        ))
    }

    /// Runs a call on an open thing, without waiting and without memory: `VMESH_EMPTY` while
    /// another thread has it.
    pub(crate) fn with<R>(
        &self,
        handle: u64,
        call: impl FnOnce(&mut T) -> R,
    ) -> Result<R, vmesh_result> {
        let (slot, generation) = self.slot(handle).ok_or(vmesh_result::VMESH_ERROR_BAD_HANDLE)?;
        let mut inside = match slot.inside.try_lock() {
            Ok(inside) => inside,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(vmesh_result::VMESH_EMPTY),
        };
        match &mut *inside {
            SlotState { generation: now, entry: Some(entry) } if *now == generation => {
                Ok(call(entry))
            }
            SlotState { generation: now, .. } if (1..=*now).contains(&generation) => {
                Err(vmesh_result::VMESH_ERROR_CLOSED)
            }
            SlotState { .. } => Err(vmesh_result::VMESH_ERROR_BAD_HANDLE),
        }
    }

    /// Waits for the call that runs on it, and drops it here, not on the thread of that call.
    /// Closing again does nothing.
    pub(crate) fn close(&self, handle: u64) -> Result<(), Fault> {
        let (slot, generation) = self.slot(handle).ok_or_else(|| never_given(handle))?;
        let mut inside = lock(&slot.inside);
        let taken = match inside.generation {
            now if now == generation => inside.entry.take(),
            now if (1..now).contains(&generation) => None,
            _ => return Err(never_given(handle)),
        };
        drop(inside);
        if taken.is_some() {
            slot.is_taken.store(false, Ordering::Release);
        }
        Ok(())
    }

    fn slot(&self, handle: u64) -> Option<(&Slot<T>, u32)> {
        let (kind, generation, index) = parts(handle);
        (kind == self.kind && generation != 0).then_some(())?;
        Some((self.handles.get(index)?, generation))
    }
}

#[cfg(test)]
mod tests {
    use super::RealtimeHandles;
    use crate::vmesh_result::*;

    #[test]
    fn a_slot_is_taken_again_under_another_number() {
        let handles = RealtimeHandles::<u32, 2>::new(9);
        let (first, second) = (handles.open(1).unwrap(), handles.open(2).unwrap());
        assert_eq!(handles.open(3).unwrap_err().result, VMESH_ERROR_TOO_MANY);
        assert_eq!(
            (handles.with(first, |held| *held), handles.with(second, |held| *held)),
            (Ok(1), Ok(2))
        );
        assert!(
            handles.close(first).is_ok() && handles.close(first).is_ok(),
            "closing is idempotent"
        );
        let third = handles.open(3).unwrap();
        assert_ne!(first, third);
        assert_eq!(handles.with(first, |held| *held), Err(VMESH_ERROR_CLOSED));
        assert!(handles.close(first).is_ok(), "and does not close another's");
        assert_eq!(handles.with(third, |held| *held), Ok(3));
        for wrong in [
            0,
            u64::MAX,
            third + 2,
            third + (1 << 32),
            second - (1 << 32),
            RealtimeHandles::<u32, 2>::new(8).open(0).unwrap(),
        ] {
            assert_eq!(handles.with(wrong, |held| *held), Err(VMESH_ERROR_BAD_HANDLE), "{wrong:x}");
            assert_eq!(
                handles.close(wrong).unwrap_err().result,
                VMESH_ERROR_BAD_HANDLE,
                "{wrong:x}"
            );
        }
    }

    #[test]
    fn a_call_that_finds_it_in_use_does_not_wait_and_closing_does() {
        let handles = RealtimeHandles::<u32, 1>::new(9);
        let handle = handles.open(1).unwrap();
        std::thread::scope(|scope| {
            let closing = handles.with(handle, |_| {
                assert_eq!(handles.with(handle, |_| ()), Err(VMESH_EMPTY));
                scope.spawn(|| handles.close(handle).map_err(|fault| fault.result))
            });
            assert_eq!(closing.unwrap().join().unwrap(), Ok(()));
        });
        assert_eq!(handles.with(handle, |_| ()), Err(VMESH_ERROR_CLOSED));
    }
}
