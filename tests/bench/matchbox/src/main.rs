//! The messages benchmark with `matchbox_socket`: its own signaling server, two sockets, one
//! reliable channel.
//!
//! ```text
//! voicemesh-bench-matchbox [--quick]
//! ```

#[path = "../../messages/measure.rs"]
mod measure;

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender};
use matchbox_signaling::SignalingServer;
use matchbox_socket::{Packet, PeerId, PeerState, WebRtcSocket};
use tokio::runtime::{Handle, Runtime};

struct Matchbox {
    runtime: Handle,
    peer: PeerId,
    sender: UnboundedSender<(PeerId, Packet)>,
    receiver: UnboundedReceiver<(PeerId, Packet)>,
    _socket: WebRtcSocket,
}

impl measure::Side for Matchbox {
    fn send(&mut self, message: &[u8]) -> bool {
        // Its queue has no bound.
        self.sender.unbounded_send((self.peer, Packet::from(message.to_vec()))).is_ok()
    }

    fn receive(&mut self, within: Duration) -> Option<usize> {
        let next = self.receiver.next();
        self.runtime.block_on(async { tokio::time::timeout(within, next).await.ok().flatten() }).map(|(_, packet)| packet.len())
    }
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let runtime = Runtime::new().expect("a runtime");
    let mut server = SignalingServer::full_mesh_builder((Ipv4Addr::LOCALHOST, 0)).build();
    let address = runtime.block_on(async { server.bind() }).expect("a port");
    runtime.spawn(server.serve());
    let open = || {
        let (socket, run) = WebRtcSocket::new_reliable(format!("ws://{address}/room"));
        runtime.spawn(run);
        socket
    };
    let (mut first, mut second) = (open(), open());
    let mut peers = (None, None);
    while peers.0.is_none() || peers.1.is_none() {
        let joined = |socket: &mut WebRtcSocket| {
            let changes = socket.update_peers();
            changes.into_iter().find(|(_, state)| *state == PeerState::Connected).map(|(peer, _)| peer)
        };
        peers = (peers.0.or_else(|| joined(&mut first)), peers.1.or_else(|| joined(&mut second)));
        std::thread::sleep(Duration::from_millis(10));
    }
    let side = |mut socket: WebRtcSocket, peer: Option<PeerId>| {
        let (sender, receiver) = socket.take_channel(0).expect("the channel").split();
        Matchbox { runtime: runtime.handle().clone(), peer: peer.expect("met"), sender, receiver, _socket: socket }
    };
    let (mut a, mut b) = (side(first, peers.0), side(second, peers.1));
    measure::run("matchbox_socket", "direct, reliable", quick, &mut a, &mut b);
    // It has no orderly end; what runs ends with the process.
    std::process::exit(0);
}
