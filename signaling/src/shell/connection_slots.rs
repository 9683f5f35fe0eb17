//! How many connections are accepted, in all and from one address, whether they speak WebSocket or
//! plain HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use voicemesh_rooms::{AddressKey, lock};

/// Every accepted connection holds one more reference to `all`, and to that of its address.
#[derive(Debug, Default)]
pub(super) struct ConnectionSlots {
    all: Arc<()>,
    addresses: Mutex<HashMap<AddressKey, Arc<()>>>,
}

/// The slot of one connection, for as long as it lives.
#[derive(Debug, Default)]
pub(super) struct ConnectionSlot {
    _all: Arc<()>,
    _of_address: Option<Arc<()>>,
}

impl ConnectionSlots {
    /// Accepted connections, those that speak plain HTTP included.
    pub(super) fn taken(&self) -> usize {
        Arc::strong_count(&self.all) - 1
    }

    /// A slot for one more connection; `None` if its address has `most` already. Connections
    /// without an address (of this machine, and of trusted proxies) are not counted apart.
    pub(super) fn take(&self, address: Option<AddressKey>, most: usize) -> Option<ConnectionSlot> {
        let of_address = match address {
            None => None,
            Some(key) => {
                let mut addresses = lock(&self.addresses);
                let slots = addresses.entry(key).or_default();
                // One reference is the table's own.
                if Arc::strong_count(slots) > most {
                    return None;
                }
                Some(Arc::clone(slots))
            }
        };
        Some(ConnectionSlot { _all: Arc::clone(&self.all), _of_address: of_address })
    }

    /// Forgets addresses without connections.
    pub(super) fn tidy(&self) {
        lock(&self.addresses).retain(|_, slots| Arc::strong_count(slots) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_all_slots_and_gets_them_back() {
        let slots = ConnectionSlots::default();
        let (here, there) = (Some(AddressKey::V4(1)), Some(AddressKey::V4(2)));
        let taken: Vec<ConnectionSlot> = (0..100).map_while(|_| slots.take(here, 3)).collect();
        assert_eq!((taken.len(), slots.taken()), (3, 3));
        let other = slots.take(there, 3);
        let own: Vec<ConnectionSlot> = (0..100).map_while(|_| slots.take(None, 3)).collect();
        assert!(other.is_some() && own.len() == 100);
        drop(taken);
        assert!(slots.take(here, 3).is_some());
        drop((other, own));
        slots.tidy();
        assert_eq!((slots.taken(), lock(&slots.addresses).len()), (0, 0));
    }
}
