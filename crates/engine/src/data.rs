//! The game's own bytes, handed through to the session's client.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::client::DataEvent;
use voicemesh_session::data::{DataError, Pipe};
use voicemesh_session::{Network, Reliability};

use crate::Comms;
use crate::comms::Role;

/// Without a session's client there is no peer to send to, and nothing is open.
impl<N: Network> Comms<N> {
    /// Sends a message to a peer outside of channels. It leaves with the next [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// See [`DataError`].
    pub fn send_data(&mut self, to: N::Peer, reliability: Reliability, bytes: Bytes) -> Result<(), DataError> {
        let Role::Client(client) = &mut self.role else { return Err(DataError::ChannelClosed) };
        client.send_data(to, reliability, bytes)
    }

    /// Sends a message on a data channel, with the same result.
    ///
    /// # Errors
    ///
    /// See [`DataError`].
    pub fn send_on(&mut self, to: N::Peer, channel: u8, bytes: Bytes) -> Result<(), DataError> {
        let Role::Client(client) = &mut self.role else { return Err(DataError::ChannelClosed) };
        client.send_on(to, channel, bytes)
    }

    /// Opens a data channel to a peer from this side.
    ///
    /// # Errors
    ///
    /// See [`DataError`].
    pub fn open_channel(&mut self, to: N::Peer, channel: u8, reliability: Reliability) -> Result<(), DataError> {
        let Role::Client(client) = &mut self.role else { return Err(DataError::ChannelClosed) };
        client.open_channel(to, channel, reliability)
    }

    /// Closes a data channel to a peer from this side.
    pub fn close_channel(&mut self, to: N::Peer, channel: u8) {
        if let Role::Client(client) = &mut self.role {
            client.close_channel(to, channel);
        }
    }

    /// Closes everything that is open to a peer, on both sides.
    pub fn disconnect_data(&mut self, now: Duration, peer: N::Peer) {
        if let Role::Client(client) = &mut self.role {
            client.disconnect_data(peer);
        }
        self.transmit(now);
    }

    /// Forgets what is open to a peer that is gone.
    pub fn forget_data(&mut self, peer: N::Peer) {
        if let Role::Client(client) = &mut self.role {
            client.forget_data(peer);
        }
    }

    /// The next thing that came from anybody.
    pub fn poll_data(&mut self, now: Duration) -> Option<(N::Peer, DataEvent)> {
        let Role::Client(client) = &mut self.role else { return None };
        client.poll_data(now)
    }

    /// The next thing that came from one peer.
    pub fn poll_data_of(&mut self, now: Duration, peer: N::Peer) -> Option<DataEvent> {
        let Role::Client(client) = &mut self.role else { return None };
        client.poll_data_of(now, peer)
    }

    /// Everyone to whom something is or was open, and what.
    pub fn data_pipes(&self) -> impl Iterator<Item = (N::Peer, &Pipe)> {
        self.client().into_iter().flat_map(|client| client.data_pipes())
    }
}
