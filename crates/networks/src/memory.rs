//! Peers in one process: nothing is lost, and the owner of the [`Hub`] decides what happens to
//! connections.
//!
//! Each peer has one [`Endpoint`]; endpoints may live on different threads. What is sent arrives
//! with the receiver's next round of polling, in order, and never within the call that sends it.

mod hub;

use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::network::{
    Delivery, Destination, LinkId, Network, NetworkError, NetworkEvent, Reliability,
};

pub use hub::{Hub, PeerKey};

/// Where to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerParameters {
    /// Clients connect by this name. One server has it at a time.
    pub address: String,
}

/// Where to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientParameters {
    /// The name under which the server serves.
    pub address: String,
}

/// One peer's way to the others. Dropping it ends all that it had.
#[derive(Debug)]
pub struct Endpoint {
    hub: Hub,
    key: PeerKey,
}

impl Endpoint {
    /// By what the others know this peer.
    pub fn key(&self) -> PeerKey {
        self.key
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.hub.remove(self.key);
    }
}

impl Network for Endpoint {
    type Peer = PeerKey;
    type ClientParameters = ClientParameters;
    type ServerParameters = ServerParameters;

    fn connect(
        &mut self,
        _now: Duration,
        parameters: ClientParameters,
    ) -> Result<(), NetworkError> {
        self.hub.lock().connect(self.key, parameters.address);
        Ok(())
    }

    fn disconnect(&mut self, _now: Duration) {
        self.hub.lock().disconnect(self.key);
    }

    fn host(&mut self, _now: Duration, parameters: ServerParameters) -> Result<(), NetworkError> {
        self.hub.lock().host(self.key, parameters.address)
    }

    fn stop_hosting(&mut self, _now: Duration) {
        self.hub.lock().stop_hosting(self.key);
    }

    fn poll(&mut self, _now: Duration) -> Option<NetworkEvent<PeerKey>> {
        self.hub.lock().poll(self.key)
    }

    fn send_to_server(
        &mut self,
        _now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        self.hub.lock().send_to_server(self.key, reliability, packet)
    }

    fn send_to_client(
        &mut self,
        _now: Duration,
        to: PeerKey,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        self.hub.lock().send_to_client(self.key, to, delivery, packet)
    }

    fn end_client(&mut self, _now: Duration, client: PeerKey) {
        self.hub.lock().end_client(self.key, client);
    }

    fn send_to_links(
        &mut self,
        _now: Duration,
        destinations: &mut Vec<Destination<PeerKey>>,
        reliability: Reliability,
        packet: &Bytes,
    ) {
        let mut hub = self.hub.lock();
        destinations.retain(|destination| {
            !hub.send_on_link(self.key, destination.link, reliability, packet)
        });
    }

    fn release_link(&mut self, _now: Duration, link: LinkId<PeerKey>) {
        self.hub.lock().release_link(self.key, link);
    }
}

#[cfg(test)]
mod tests;
