//! A wire that is listened in on: passes TCP on to a server and keeps what passed.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use voicemesh_common::lock;

/// Most that is kept of one direction of one connection; a test that needs more would prove
/// nothing, so it fails.
const MOST_BYTES: usize = 4 << 20;

/// One direction of one connection, from its beginning.
type Wire = Arc<Mutex<Vec<u8>>>;

/// A proxy with its own address. What passed can be searched while it passes.
pub struct Tap {
    /// Where peers connect instead of to the server.
    pub address: SocketAddr,
    wires: Arc<Mutex<Vec<Wire>>>,
    ended: Arc<AtomicBool>,
}

impl Tap {
    /// In front of a server.
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (wires, ended) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let tap = Self { address, wires: Arc::clone(&wires), ended: Arc::clone(&ended) };
        thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                pass_on(&peer, &TcpStream::connect(server).unwrap(), &wires);
            }
        });
        tap
    }

    /// How often this has passed, in either direction.
    pub fn count(&self, what: &[u8]) -> usize {
        let wires = lock(&self.wires);
        assert!(!wires.is_empty(), "nothing was sent over this wire");
        wires
            .iter()
            .map(|wire| {
                let bytes = lock(wire);
                assert!(bytes.len() < MOST_BYTES, "more has passed than was kept");
                bytes.windows(what.len()).filter(|window| *window == what).count()
            })
            .sum()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts. The others end with the programs at both ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn pass_on(peer: &TcpStream, server: &TcpStream, wires: &Mutex<Vec<Wire>>) {
    for (from, to) in [(peer, server), (server, peer)] {
        // Speech must not wait for more of it.
        to.set_nodelay(true).unwrap();
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let wire = Wire::default();
        lock(wires).push(Arc::clone(&wire));
        thread::spawn(move || copy(from, to, &wire));
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, wire: &Mutex<Vec<u8>>) {
    let mut piece = [0; 4_096];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        {
            let mut kept = lock(wire);
            let room = MOST_BYTES - kept.len();
            kept.extend(&piece[..length.min(room)]);
        }
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
