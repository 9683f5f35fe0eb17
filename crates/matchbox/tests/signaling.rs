//! A matchbox signaling server on loopback, one for all tests of the process.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use matchbox_signaling::SignalingServer;
use tokio::runtime::Builder;
use voicemesh_matchbox::RtcIceServerConfig;

/// A room that no other test has.
pub fn new_room() -> String {
    static ROOMS: AtomicU32 = AtomicU32::new(0);
    format!("ws://{}/room-{}", address(), ROOMS.fetch_add(1, Ordering::Relaxed))
}

/// Neither STUN nor TURN: the tests reach nothing outside of this machine.
pub fn no_ice() -> RtcIceServerConfig {
    RtcIceServerConfig { urls: Vec::new(), username: None, credential: None }
}

fn address() -> SocketAddr {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    *SERVER.get_or_init(|| {
        // With several threads it can miss that two peers enter a room at the same moment.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut server = SignalingServer::full_mesh_builder((Ipv4Addr::LOCALHOST, 0)).build();
        let address = server.bind().unwrap();
        std::thread::spawn(move || runtime.block_on(server.serve()));
        address
    })
}
