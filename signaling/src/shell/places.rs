//! How many connections are accepted, in all and from one address, whether they speak WebSocket or plain HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use voicemesh_rooms::{AddressKey, lock};

/// Every accepted connection holds one more reference to `all`, and to that of its address.
#[derive(Debug, Default)]
pub(super) struct Places {
    all: Arc<()>,
    addresses: Mutex<HashMap<AddressKey, Arc<()>>>,
}

/// The place of one connection, for as long as it lives.
#[derive(Debug, Default)]
pub(super) struct Place {
    _all: Arc<()>,
    _of_address: Option<Arc<()>>,
}

impl Places {
    /// Accepted connections, those that speak plain HTTP included.
    pub(super) fn taken(&self) -> usize {
        Arc::strong_count(&self.all) - 1
    }

    /// A place for one more connection; `None` if its address has `most` already. Connections without an address (of this
    /// machine, and of trusted proxies) are not counted apart.
    pub(super) fn take(&self, address: Option<AddressKey>, most: usize) -> Option<Place> {
        let of_address = match address {
            None => None,
            Some(key) => {
                let mut addresses = lock(&self.addresses);
                let places = addresses.entry(key).or_default();
                // One reference is the table's own.
                if Arc::strong_count(places) > most {
                    return None;
                }
                Some(Arc::clone(places))
            }
        };
        Some(Place { _all: Arc::clone(&self.all), _of_address: of_address })
    }

    /// Forgets addresses without connections.
    pub(super) fn tidy(&self) {
        lock(&self.addresses).retain(|_, places| Arc::strong_count(places) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_all_places_and_gets_them_back() {
        let places = Places::default();
        let (here, there) = (Some(AddressKey::V4(1)), Some(AddressKey::V4(2)));
        let taken: Vec<Place> = (0..100).map_while(|_| places.take(here, 3)).collect();
        assert_eq!((taken.len(), places.taken()), (3, 3));
        let other = places.take(there, 3);
        let own: Vec<Place> = (0..100).map_while(|_| places.take(None, 3)).collect();
        assert!(other.is_some() && own.len() == 100);
        drop(taken);
        assert!(places.take(here, 3).is_some());
        drop((other, own));
        places.tidy();
        assert_eq!((places.taken(), lock(&places.addresses).len()), (0, 0));
    }
}
