//! Handles: numbers for open objects. A number is used only once, so a call with a closed object's
//! number fails.

use std::sync::{Arc, RwLock};

use voicemesh_common::{read, write};

use crate::guard::Fault;
use crate::vmesh_result;

/// Open handles of one kind at a time; one more is refused.
const MOST_OPEN: usize = 1_024;
/// A slot that was used so often is never used again. 24 bits of a handle.
pub(crate) const LAST_GENERATION: u32 = (1 << 24) - 1;

/// The open things of one kind. A handle is, from its highest byte: the kind, the slot's generation
/// (three bytes), the slot's number (four bytes).
pub(crate) struct Table<T> {
    kind: u8,
    slots: RwLock<Vec<Slot<T>>>,
}

struct Slot<T> {
    generation: u32,
    entry: Option<Arc<T>>,
}

impl<T> Table<T> {
    pub(crate) const fn new(kind: u8) -> Self {
        Self { kind, slots: RwLock::new(Vec::new()) }
    }

    pub(crate) fn open(&self, entry: T) -> Result<u64, Fault> {
        let entry = Some(Arc::new(entry));
        let mut slots = write(&self.slots);
        if slots.iter().filter(|slot| slot.entry.is_some()).count() >= MOST_OPEN {
            return Err(Fault::new(
                vmesh_result::VMESH_ERROR_TOO_MANY,
                format!("{MOST_OPEN} handles of this kind are open; close those that are not used"),
            ));
        }
        let free =
            slots.iter().position(|slot| slot.entry.is_none() && slot.generation < LAST_GENERATION);
        let index = match free {
            Some(index) => {
                slots[index].generation += 1;
                slots[index].entry = entry;
                index
            }
            None => {
                slots.push(Slot { generation: 1, entry });
                slots.len() - 1
            }
        };
        Ok(handle(self.kind, slots[index].generation, index))
    }

    pub(crate) fn find(&self, handle: u64) -> Result<Arc<T>, Fault> {
        let (generation, index) = self.parts(handle)?;
        let slots = read(&self.slots);
        match slots.get(index) {
            Some(Slot { generation: used, entry: Some(entry) }) if *used == generation => {
                Ok(entry.clone())
            }
            Some(slot) if (1..=slot.generation).contains(&generation) => Err(Fault::new(
                vmesh_result::VMESH_ERROR_CLOSED,
                "the handle was closed; open a new one",
            )),
            Some(_) | None => Err(never_given(handle)),
        }
    }

    /// Takes it out of the table; `None` if that was done before.
    pub(crate) fn close(&self, handle: u64) -> Result<Option<Arc<T>>, Fault> {
        let (generation, index) = self.parts(handle)?;
        let mut slots = write(&self.slots);
        match slots.get_mut(index) {
            Some(slot) if slot.generation == generation => Ok(slot.entry.take()),
            Some(slot) if (1..slot.generation).contains(&generation) => Ok(None),
            Some(_) | None => Err(never_given(handle)),
        }
    }

    fn parts(&self, handle: u64) -> Result<(u32, usize), Fault> {
        match parts(handle) {
            (kind, generation, index) if kind == self.kind => Ok((generation, index)),
            _ => Err(never_given(handle)),
        }
    }
}

/// `index` is far below 2³².
pub(crate) fn handle(kind: u8, generation: u32, index: usize) -> u64 {
    u64::from(kind) << 56 | u64::from(generation) << 32 | index as u64 & 0xFFFF_FFFF
}

/// The kind, the slot's generation, the slot's number.
pub(crate) fn parts(handle: u64) -> (u8, u32, usize) {
    let [kind, g2, g1, g0, number @ ..] = handle.to_be_bytes();
    // Where a usize is shorter, no slot has such a number.
    let index = usize::try_from(u32::from_be_bytes(number)).unwrap_or(usize::MAX);
    (kind, u32::from_be_bytes([0, g2, g1, g0]), index)
}

pub(crate) fn never_given(handle: u64) -> Fault {
    Fault::new(
        vmesh_result::VMESH_ERROR_BAD_HANDLE,
        format!("{handle:#x} is no handle of this kind; use one that a call gave"),
    )
}

#[cfg(test)]
mod tests {
    use super::{MOST_OPEN, Table};
    use crate::vmesh_result;

    #[test]
    fn a_number_is_never_given_twice() {
        let table = Table::new(7);
        let first = table.open("first").unwrap();
        assert_eq!(*table.find(first).unwrap(), "first");
        assert!(table.close(first).unwrap().is_some());
        assert!(table.close(first).unwrap().is_none(), "closing is idempotent");
        let second = table.open("second").unwrap();
        assert_ne!(first, second);
        assert_eq!(table.find(first).unwrap_err().result, vmesh_result::VMESH_ERROR_CLOSED);
        assert!(table.close(first).unwrap().is_none(), "and does not close another's");
        assert_eq!(*table.find(second).unwrap(), "second");
    }

    #[test]
    fn what_was_never_given_is_refused() {
        let (table, other) = (Table::new(7), Table::new(8));
        let handle = table.open(()).unwrap();
        let foreign = other.open(()).unwrap();
        for wrong in [0, u64::MAX, handle + 1, handle + (1 << 32), handle - (1 << 32), foreign] {
            assert_eq!(
                table.find(wrong).unwrap_err().result,
                vmesh_result::VMESH_ERROR_BAD_HANDLE,
                "{wrong:x}"
            );
            assert!(table.close(wrong).is_err(), "{wrong:x}");
        }
    }

    #[test]
    fn open_handles_are_bounded() {
        let table = Table::new(7);
        let handles: Vec<u64> = (0..MOST_OPEN).map(|_| table.open(()).unwrap()).collect();
        assert_eq!(table.open(()).unwrap_err().result, vmesh_result::VMESH_ERROR_TOO_MANY);
        table.close(handles[5]).unwrap();
        assert!(table.open(()).is_ok());
    }
}
