//! Networks that are looked at once in a frame of a game, and not every 5 ms.

use std::time::Duration;

use voicemesh_audio::{BLOCK_SAMPLES, Block};
use voicemesh_engine::{EngineConfig, EngineOnNetwork, VoiceEngine};
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, ServerParameters};
use voicemesh_session::route::Route;

const BLOCK: Duration = Duration::from_millis(10);
const TONE_HZ: f32 = 300.0;

/// A dedicated server and clients with a link between any two.
struct Session {
    now: Duration,
    frame: Duration,
    peers: Vec<EngineOnNetwork<Endpoint>>,
    blocks: u32,
}

impl Session {
    fn new(frame: Duration) -> Self {
        let hub = Hub::new();
        let address = || "here".to_owned();
        let mut session = Self { now: Duration::ZERO, frame, peers: Vec::new(), blocks: 0 };
        for (seed, name) in ["server", "Ada", "Ben", "Cleo", "Dan"].into_iter().enumerate() {
            let engine = VoiceEngine::new(EngineConfig::new(name, seed as u64)).unwrap();
            let mut peer = EngineOnNetwork::new(engine, hub.endpoint());
            if seed == 0 {
                let at = ServerParameters { address: address() };
                peer.run_as_dedicated_server(session.now, at).unwrap();
            } else {
                peer.run_as_client(session.now, ClientParameters { address: address() }).unwrap();
            }
            session.peers.push(peer);
        }
        session.run(Duration::from_millis(500), |_| ());
        let keys: Vec<_> = session.peers[1..].iter().map(|peer| peer.network().key()).collect();
        for (at, one) in keys.iter().enumerate() {
            keys[at + 1..].iter().for_each(|other| {
                hub.connect_link(*one, *other);
            });
        }
        session.run(Duration::from_secs(1), |_| ());
        session
    }

    /// The first client speaks.
    fn run(&mut self, time: Duration, mut each: impl FnMut(&Self)) {
        let until = self.now + time;
        while self.now < until {
            self.now += self.frame;
            let blocks = (self.now.as_millis() / BLOCK.as_millis()) as u32 - self.blocks;
            self.blocks += blocks;
            for (number, peer) in self.peers.iter_mut().enumerate() {
                peer.update(self.now);
                for block in 0..blocks {
                    let mut heard: Block = [0.0; BLOCK_SAMPLES];
                    peer.render(self.now, &mut heard);
                    if number == 1 {
                        peer.capture(self.now, &tone(self.blocks - blocks + block)).unwrap();
                    }
                }
                while peer.poll_event().is_some() {}
            }
            each(self);
        }
    }

    fn routes(&self) -> Vec<Route> {
        self.peers[1].peers().into_iter().map(|peer| peer.route).collect()
    }
}

fn tone(block: u32) -> Block {
    std::array::from_fn(|sample| {
        let at = block * BLOCK_SAMPLES as u32 + sample as u32;
        0.3 * (at as f32 * TONE_HZ / 48_000.0 * std::f32::consts::TAU).sin()
    })
}

/// Nothing but what comes back from the server shows how much the upload carries while all speech
/// is relayed.
#[test]
fn speech_goes_directly_and_stays_so_however_seldom_a_game_looks() {
    for frame_ms in [5, 16, 33, 50] {
        let mut session = Session::new(Duration::from_millis(frame_ms));
        session.run(Duration::from_secs(10), |_| ());
        assert_eq!(session.routes(), [Route::Direct; 3], "after 10 s, a frame is {frame_ms} ms");
        session.run(Duration::from_secs(20), |session| {
            assert_eq!(session.routes(), [Route::Direct; 3], "a frame is {frame_ms} ms");
        });
    }
}
