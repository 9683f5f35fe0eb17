//! Links over the webrtc crate.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::Instant;
use voicemesh_wire::signaling::Signal;

use crate::addresses::Addresses;
use crate::check_budget::CheckBudget;
use crate::openings::Openings;
use crate::queues::LinkQueues;
use crate::runtime::Lookups;
use crate::{Link, LinkConfig, LinkSendError, LinkSink, LinkStack, LinkStats, Stream, task};

/// Opens links over the webrtc crate, on a tokio runtime with time and I/O enabled.
pub struct WebRtc {
    runtime: Handle,
    addresses: Addresses,
    lookups: Arc<Lookups>,
    checks: Arc<CheckBudget>,
    openings: Arc<Openings>,
}

impl WebRtc {
    /// Links will run on this runtime and use the addresses of all interfaces: those of loopback
    /// only if there is no other, so that two processes on a machine without a network reach each
    /// other too.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            addresses: Addresses::OfInterfaces { server: None },
            lookups: Arc::default(),
            checks: Arc::default(),
            openings: Arc::default(),
        }
    }

    /// The server at which peers meet. Links opened from now on prefer the local address that leads
    /// to it.
    pub fn set_server(&mut self, address: Option<IpAddr>) {
        if let Addresses::OfInterfaces { server } = &mut self.addresses {
            *server = address;
        }
    }

    /// What the uplink is known to carry, in bits per second; `None` while no limit was met. On a
    /// narrow one links open at a distance in time.
    pub fn set_uplink(&self, bps: Option<u32>) {
        self.openings.set_uplink(bps);
    }

    /// Whether links that have not begun to open wait for now, because what opening one sends would
    /// take the place of speech.
    pub fn set_lacks_room(&self, lacks_room: bool) {
        self.openings.set_lacks_room(lacks_room);
    }

    /// What links have put on the wire until they were open, in bytes, headers included: checks and
    /// handshakes.
    #[must_use]
    pub fn opening_bytes(&self) -> u64 {
        self.openings.sent_bytes()
    }

    /// Links will use these addresses of this machine and no others.
    #[must_use]
    pub fn on_addresses(self, addresses: Vec<IpAddr>) -> Self {
        Self { addresses: Addresses::Only(addresses), ..self }
    }
}

impl LinkStack for WebRtc {
    fn open(&self, config: LinkConfig, sink: Arc<dyn LinkSink>) -> Box<dyn Link> {
        let queues = Arc::new(LinkQueues::new());
        let setup = task::Setup {
            config,
            addresses: self.addresses.clone(),
            lookups: Arc::clone(&self.lookups),
            checks: Arc::clone(&self.checks),
            openings: Arc::clone(&self.openings),
        };
        self.runtime.spawn(task::run(setup, Arc::clone(&queues), sink));
        Box::new(WebRtcLink { queues })
    }
}

struct WebRtcLink {
    queues: Arc<LinkQueues>,
}

impl Link for WebRtcLink {
    fn signal(&self, signal: Signal) {
        self.queues.signal(signal);
    }

    fn send(&self, stream: Stream, packet: Bytes) -> Result<(), LinkSendError> {
        self.queues.send(stream, packet)
    }

    fn send_probe(&self, packet: Bytes) -> Result<(), LinkSendError> {
        self.queues.send_probe(packet)
    }

    fn stats(&self) -> LinkStats {
        self.queues.stats(Instant::now())
    }

    fn close(&self) {
        self.queues.close();
    }
}

impl Drop for WebRtcLink {
    fn drop(&mut self) {
        self.queues.close();
    }
}
