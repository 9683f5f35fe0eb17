//! What a game does: a frame loop, messages, data channels, a lobby. Real peers in this process, a real server, real
//! WebRTC.

mod channels;
mod frames;
mod friends;
#[cfg(target_os = "linux")]
mod hostile;
mod many;
mod player;
mod seeds;

use voicemesh_tests::room::Server;

/// One server for all the tests of this file; each has a room of its own.
fn server() -> &'static str {
    static SERVER: std::sync::OnceLock<(std::sync::Mutex<Server>, String)> = std::sync::OnceLock::new();
    let (_, url) = SERVER.get_or_init(|| {
        let server = Server::start(&[]);
        let url = server.url();
        (std::sync::Mutex::new(server), url)
    });
    url
}
