//! Who listens on which address of one path, in the order in which they came.

use std::collections::BTreeMap;

use crate::frame::Address;
use crate::ids::SocketId;

#[derive(Debug, Default)]
pub(crate) struct Pool(BTreeMap<Address, Vec<SocketId>>);

impl Pool {
    pub(crate) fn listeners(&self, address: &Address) -> &[SocketId] {
        self.0.get(address).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn add(&mut self, address: Address, socket: SocketId) {
        self.0.entry(address).or_default().push(socket);
    }

    pub(crate) fn remove(&mut self, address: &Address, socket: SocketId) {
        if let Some(listeners) = self.0.get_mut(address) {
            listeners.retain(|listener| *listener != socket);
            if listeners.is_empty() {
                self.0.remove(address);
            }
        }
    }

    /// How many addresses are taken.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
