//! A data channel to one peer.

use voicemesh_session::Reliability;
use voicemesh_wire::PeerId;

use super::inner::RoomInner;
use crate::data::SendError;

/// A data channel; see [`Room::channel`](super::Room::channel).
#[derive(Clone, Copy, Debug)]
pub struct Channel<'a> {
    inner: &'a RoomInner,
    peer: PeerId,
    number: u8,
}

impl<'a> Channel<'a> {
    pub(super) fn new(inner: &'a RoomInner, peer: PeerId, number: u8) -> Self {
        Self { inner, peer, number }
    }

    /// Opens it from this side. Data flows once the other side has opened the same number alike
    /// ([`DataEvent::ChannelOpened`](crate::DataEvent::ChannelOpened)); until then it waits here.
    /// Opening it as another kind closes it first.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn open(&self, how: Reliability) -> Result<(), SendError> {
        self.inner.check_here()?;
        self.inner.outbox.queue(|ledger, into| {
            into.push_back(ledger.open(self.peer, self.number, how)?);
            Ok(())
        })
    }

    /// Sends a message on it; this side must have opened it.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send(&self, data: &[u8]) -> Result<(), SendError> {
        self.inner.check_here()?;
        self.inner.outbox.queue(|ledger, into| {
            into.push_back(ledger.send_on(self.peer, self.number, data)?);
            Ok(())
        })
    }

    /// Closes it; what was sent before arrives. Harmless when it is not open.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn close(&self) -> Result<(), SendError> {
        self.inner.check_here()?;
        self.inner.outbox.queue(|ledger, into| {
            into.push_back(ledger.close(self.peer, self.number)?);
            Ok(())
        })
    }
}
