//! What really moves a mesh's bytes: a WebSocket and WebRTC.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use tokio::runtime::Handle;
use voicemesh_link::{
    Link, LinkConfig, LinkEvent, LinkSendError, LinkSink, LinkStack, Role, Stream, WebRtc,
};
use voicemesh_session::network::Reliability;
use voicemesh_wire::packet;
use voicemesh_wire::signaling::{IceServer, Signal};

use crate::connect::Connector;
use crate::inbox::WorkerSender;
use crate::network_watch::NetworkWatch;
use crate::socket::Socket;
use voicemesh_mesh::{Carrier, CarrierEvent, MeshLink};

/// Sockets and links of one peer. Links are only made where they are allowed; without any, no
/// WebRTC runs.
pub(crate) struct RealCarrier {
    runtime: Handle,
    connector: Arc<Connector>,
    inbox: WorkerSender,
    watch: NetworkWatch,
    /// Each socket's task holds a copy until it has said goodbye.
    farewell: SyncSender<Infallible>,
    sockets: BTreeMap<u32, Socket>,
    stack: Option<WebRtc>,
    links: BTreeMap<MeshLink, Box<dyn Link>>,
    text_bytes: u64,
}

/// IPv4, TCP with timestamps and a WebSocket header.
const TEXT_HEADER_BYTES: u64 = 58;

impl RealCarrier {
    pub(crate) fn new(
        runtime: Handle,
        connector: Arc<Connector>,
        inbox: WorkerSender,
        farewell: SyncSender<Infallible>,
    ) -> Self {
        let watch = NetworkWatch::start(&runtime, inbox.clone());
        Self {
            runtime,
            connector,
            inbox,
            watch,
            farewell,
            sockets: BTreeMap::new(),
            stack: None,
            links: BTreeMap::new(),
            text_bytes: 0,
        }
    }
}

impl RealCarrier {
    /// Joins carry from now on what must not be read on the way to the server.
    pub(crate) fn keeps_secret(&self) {
        self.connector.keeps_secret();
    }

    /// What the uplink is known to carry, in bits per second, and whether it lacks room for further
    /// links.
    pub(crate) fn set_uplink(&self, bps: Option<u32>, lacks_room: bool) {
        if let Some(stack) = &self.stack {
            stack.set_uplink(bps);
            stack.set_lacks_room(lacks_room);
        }
    }

    /// Relayed speech comes late: the way from the server is full.
    pub(crate) fn set_relayed_speech_is_late(&self, is_late: bool) {
        for socket in self.sockets.values() {
            socket.set_relayed_speech_is_late(is_late);
        }
    }
}

impl fmt::Debug for RealCarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sockets, links): (Vec<_>, Vec<_>) =
            (self.sockets.keys().collect(), self.links.keys().collect());
        f.debug_struct("RealCarrier").field("sockets", &sockets).field("links", &links).finish()
    }
}

impl Carrier for RealCarrier {
    fn open_socket(&mut self, generation: u32) {
        let (connector, inbox) = (self.connector.clone(), self.inbox.clone());
        let watch = self.watch.clone();
        let socket =
            Socket::open(&self.runtime, connector, generation, inbox, watch, self.farewell.clone());
        self.sockets.insert(generation, socket);
    }

    fn close_socket(&mut self, generation: u32) {
        self.sockets.remove(&generation);
    }

    fn send_text(&mut self, generation: u32, text: String) {
        if let Some(socket) = self.sockets.get(&generation) {
            self.text_bytes += text.len() as u64 + TEXT_HEADER_BYTES;
            socket.send_text(text);
        }
    }

    fn send_packet(&mut self, generation: u32, reliability: Reliability, packet: Bytes) {
        if let Some(socket) = self.sockets.get(&generation) {
            socket.send_packet(reliability, packet);
        }
    }

    fn ping(&mut self, generation: u32, number: u16) {
        if let Some(socket) = self.sockets.get(&generation) {
            socket.ping(number);
        }
    }

    fn open_link(&mut self, link: MeshLink, role: Role, ice_servers: &[IceServer]) {
        let stack = self.stack.get_or_insert_with(|| WebRtc::new(self.runtime.clone()));
        stack.set_server(self.watch.server());
        let sink = Arc::new(LinkEventForwarder { link, inbox: self.inbox.clone() });
        let config =
            LinkConfig { role, remote: link.peer.0.as_u128(), ice_servers: ice_servers.to_vec() };
        self.links.insert(link, stack.open(config, sink));
    }

    fn signal(&mut self, link: MeshLink, signal: Signal) {
        if let Some(link) = self.links.get(&link) {
            link.signal(signal);
        }
    }

    fn send_link(
        &mut self,
        link: MeshLink,
        stream: Stream,
        packet: Bytes,
    ) -> Result<(), LinkSendError> {
        self.links.get(&link).ok_or(LinkSendError::Closed)?.send(stream, packet)
    }

    fn send_probe(&mut self, link: MeshLink, packet: Bytes) -> Result<(), LinkSendError> {
        self.links.get(&link).ok_or(LinkSendError::Closed)?.send_probe(packet)
    }

    fn close_link(&mut self, link: MeshLink) {
        self.links.remove(&link);
    }

    fn server_header_bytes(&self) -> u32 {
        self.sockets.values().map(Socket::further_header_bytes).max().unwrap_or(0)
    }

    fn background_bytes(&self) -> u64 {
        self.text_bytes + self.stack.as_ref().map_or(0, WebRtc::opening_bytes)
    }
}

/// Hands a link's events to the engine.
struct LinkEventForwarder {
    link: MeshLink,
    inbox: WorkerSender,
}

impl LinkSink for LinkEventForwarder {
    fn event(&self, event: LinkEvent) {
        let may_be_lost =
            matches!(event, LinkEvent::Received { stream: Stream::Voice | Stream::Unreliable, .. });
        let is_data = matches!(&event, LinkEvent::Received { packet, .. }
            if packet::open(packet).is_ok_and(|(header, _)| header.kind.is_data()));
        let event = CarrierEvent::Link { link: self.link, event };
        if is_data {
            let _ = self.inbox.put_data(event);
        } else if may_be_lost {
            let _ = self.inbox.put_lossy(event);
        } else if !self.inbox.try_put(event) {
            tracing::warn!("the engine does not take its links' events");
        }
    }
}
