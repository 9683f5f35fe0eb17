//! What has arrived of a request's head, or of a TLS handshake or record, that is not whole: counted among
//! the unfinished messages of its address.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::hub::Hub;
use voicemesh_rooms::{AddressKey, ConnectionId, lock};

/// Read in one go, so that what comes behind a head and is not counted with the next one is no
/// more.
pub(super) const READ_BYTES: usize = 2 * 1024;
/// Less is not counted: every connection has a buffer of that size.
const UNCOUNTED_BYTES: usize = 2 * 1024;

/// The head that one connection is sending.
pub(super) struct Head {
    hub: Arc<Hub>,
    id: ConnectionId,
    address: Option<AddressKey>,
    bytes: Mutex<Unfinished>,
    given_up: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Unfinished {
    read: usize,
    /// Of a record of TLS, out of which nothing has been read yet.
    undecrypted: usize,
}

impl Unfinished {
    fn all(self) -> usize {
        let all = self.read + self.undecrypted;
        if all > UNCOUNTED_BYTES { all } else { 0 }
    }
}

impl Head {
    /// Of a connection that has just been accepted; the address of a proxy is none.
    pub(super) fn new(hub: Arc<Hub>, address: Option<AddressKey>) -> Arc<Self> {
        let id = hub.next_id();
        let head =
            Arc::new(Self { hub, id, address, bytes: Mutex::default(), given_up: Notify::new() });
        head.hub.begin_head(id, &head);
        head
    }

    /// More of it has arrived.
    pub(super) fn read(&self, bytes: usize) {
        self.change(|unfinished| unfinished.read += bytes);
    }

    /// So many bytes have arrived of a record of TLS that is not whole.
    pub(super) fn hold(&self, undecrypted: usize) {
        self.change(|unfinished| unfinished.undecrypted = undecrypted);
    }

    /// It is whole.
    pub(super) fn finish(&self) {
        self.change(|unfinished| *unfinished = Unfinished::default());
    }

    fn change(&self, change: impl FnOnce(&mut Unfinished)) {
        let mut bytes = lock(&self.bytes);
        let before = bytes.all();
        change(&mut bytes);
        if bytes.all() != before {
            self.hub.count_unfinished(self.hub.now(), self.id, self.address, bytes.all());
        }
    }

    /// Too much of unfinished heads and messages waits, and this one has waited longest.
    pub(super) fn give_up(&self) {
        self.given_up.notify_one();
    }

    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        self.finish();
        self.hub.end_head(self.id);
    }
}
