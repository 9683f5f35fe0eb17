//! What a game does: a frame loop, messages, data channels, a lobby. Real peers in this process, a
//! real server, real WebRTC.

mod channels;
mod encryption;
mod examples;
mod frames;
mod friends;
#[cfg(target_os = "linux")]
mod hostile;
mod many;
mod player;
mod programs;
mod recording;
mod rooms;

use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
use std::thread;

use voicemesh_signaling::{Config, serve};

/// One server for all the tests of this file, in this process and as long as it; each test has its
/// own room.
fn server() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let (tell, told) = sync_channel(1);
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(format!("ws://{}", listener.local_addr().unwrap())).unwrap();
                let config = Config::default();
                serve(config, listener, std::future::pending()).await.unwrap();
            });
        });
        told.recv().unwrap()
    })
}

/// A server that a test can stop.
struct OwnServer {
    url: String,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl OwnServer {
    fn start() -> Self {
        let (tell, told) = sync_channel(1);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(format!("ws://{}", listener.local_addr().unwrap())).unwrap();
                let stopped = async { drop(stopped.await) };
                serve(Config::default(), listener, stopped).await.unwrap();
            });
        });
        Self { url: told.recv().unwrap(), stop, thread }
    }

    /// Returns when it has ended.
    fn stop(self) {
        let _ = self.stop.send(());
        self.thread.join().unwrap();
    }
}
