//! A data channel to one peer.

use voicemesh_session::Reliability;
use voicemesh_wire::PeerId;

use super::core::Core;
use crate::data::SendError;

/// A data channel; see [`Room::channel`](super::Room::channel).
#[derive(Clone, Copy, Debug)]
pub struct Channel<'a> {
    core: &'a Core,
    peer: PeerId,
    number: u8,
}

impl<'a> Channel<'a> {
    pub(super) fn new(core: &'a Core, peer: PeerId, number: u8) -> Self {
        Self { core, peer, number }
    }

    /// Opens it from this side. Data flows once the other side has opened the same number alike
    /// ([`DataEvent::ChannelOpened`](crate::DataEvent::ChannelOpened)); until then it waits here.
    /// Opening it as another kind closes it first.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn open(&self, how: Reliability) -> Result<(), SendError> {
        self.core.check_here()?;
        self.core.outbox.queue(|ledger, into| {
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
        self.core.check_here()?;
        self.core.outbox.queue(|ledger, into| {
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
        self.core.check_here()?;
        self.core.outbox.queue(|ledger, into| {
            into.push_back(ledger.close(self.peer, self.number)?);
            Ok(())
        })
    }
}
