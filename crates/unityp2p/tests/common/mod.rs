//! A server without limits that are felt, frames by hand, and what each call sends, in order.

use std::time::Duration;

use voicemesh_common::{AddressKey, Rate};
use voicemesh_unityp2p::{Input, Limits, Next, Path, Server, SocketId};

/// Who is sent which bytes.
pub type Sent = (u64, Vec<u8>);

pub fn unlimited() -> Limits {
    let any = Rate::new(9e9, 9e9);
    Limits {
        messages: any,
        bytes: any,
        introductions: any,
        address_messages: any,
        address_bytes: any,
        address_introductions: any,
        ..Limits::default()
    }
}

pub struct World {
    pub server: Server,
    pub now: Duration,
}

impl World {
    pub fn new(limits: Limits) -> Self {
        Self { server: Server::new(limits), now: Duration::ZERO }
    }

    pub fn open(&mut self, id: u64, path: Path) {
        self.server.open(self.now, SocketId(id), path, None);
    }

    pub fn open_from(&mut self, id: u64, path: Path, address: u32) {
        self.server.open(self.now, SocketId(id), path, Some(AddressKey::V4(address)));
    }

    /// Everyone reads at once.
    pub fn send(&mut self, id: u64, frame: &[u8]) -> Vec<Sent> {
        self.give(id, frame);
        self.read()
    }

    /// What is sent waits.
    pub fn give(&mut self, id: u64, frame: &[u8]) {
        self.server.handle(self.now, SocketId(id), Input::Message(frame.to_vec().into()));
    }

    pub fn lose(&mut self, id: u64) -> Vec<Sent> {
        self.server.handle(self.now, SocketId(id), Input::Gone);
        self.read()
    }

    pub fn tick(&mut self, now: Duration) {
        self.now = now;
        self.server.tick(now);
    }

    /// What has been put in since the last time, in that order.
    pub fn read(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        while let Some(id) = self.server.poll_woken() {
            if let Next::Message(bytes) = self.server.take(self.now, id) {
                sent.push((id.0, bytes.to_vec()));
            }
        }
        sent
    }
}

pub fn head(kind: u8, connection: i16) -> Vec<u8> {
    let [low, high] = connection.to_le_bytes();
    vec![kind, 0, low, high]
}

pub fn text(kind: u8, connection: i16, units: &[u16]) -> Vec<u8> {
    let mut frame = head(kind, connection);
    frame[1] = 2;
    frame.extend((units.len() as u32).to_le_bytes());
    frame.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    frame
}

pub fn bytes(kind: u8, connection: i16, data: &[u8]) -> Vec<u8> {
    let mut frame = head(kind, connection);
    frame[1] = 1;
    frame.extend((data.len() as u32).to_le_bytes());
    frame.extend(data);
    frame
}

pub fn units(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}
