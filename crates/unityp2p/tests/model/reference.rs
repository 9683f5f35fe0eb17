//! The protocol once more, as one list of facts: who listens, and who is connected to whom. Slow,
//! without limits, and without anything of the server's own code.

use std::collections::BTreeMap;

use crate::common::Sent;

/// One connection.
#[derive(Clone, Copy)]
struct Edge {
    ends: [(u64, i16); 2],
}

impl Edge {
    fn side(&self, socket: u64, id: i16) -> Option<usize> {
        self.ends.iter().position(|end| *end == (socket, id))
    }
}

struct Listener {
    path: &'static str,
    address: Vec<u16>,
    socket: u64,
}

/// What the data of a frame is.
enum Data {
    Nothing,
    Octets(Vec<u8>),
    Units(Vec<u16>),
    Broken,
}

#[derive(Default)]
pub struct Reference {
    paths: BTreeMap<u64, &'static str>,
    next_ids: BTreeMap<u64, i32>,
    /// In the order in which they began to listen.
    listeners: Vec<Listener>,
    edges: Vec<Edge>,
    sent: Vec<Sent>,
}

impl Reference {
    pub fn open(&mut self, socket: u64, path: &'static str) {
        self.paths.insert(socket, path);
        self.next_ids.insert(socket, 16384);
    }

    pub fn lose(&mut self, socket: u64) -> Vec<Sent> {
        let mut ids: Vec<i16> = self
            .edges
            .iter()
            .flat_map(|edge| edge.ends)
            .filter(|end| end.0 == socket)
            .map(|end| end.1)
            .collect();
        ids.sort_by_key(|id| (*id < 0, *id));
        self.paths.remove(&socket);
        for id in ids {
            self.hang_up(socket, id);
        }
        self.listeners.retain(|listener| listener.socket != socket);
        std::mem::take(&mut self.sent)
    }

    pub fn send(&mut self, socket: u64, frame: &[u8]) -> Vec<Sent> {
        if self.paths.contains_key(&socket) {
            self.act(socket, frame);
        }
        std::mem::take(&mut self.sent)
    }

    fn act(&mut self, socket: u64, frame: &[u8]) {
        let Some(&kind) = frame.first() else { return };
        if kind == 201 {
            return self.say(socket, vec![201, 2]);
        }
        if kind == 202 {
            return self.say(socket, vec![202]);
        }
        if frame.len() < 4 {
            if kind == 3 {
                self.say(socket, vec![4, 0, 255, 255]);
            }
            return;
        }
        let id = i16::from(frame[2]) | i16::from(frame[3]) << 8;
        match (kind, parse(frame)) {
            (3, Data::Broken) => self.say(socket, vec![4, 0, 255, 255]),
            (3, Data::Units(address)) => self.listen(socket, address),
            (3, _) => {
                self.close(socket);
                self.say(socket, vec![4, 0, 255, 255]);
            }
            (6, Data::Units(address)) => self.connect(socket, id, &address),
            (6, _) => self.note(socket, 7, id),
            (_, Data::Broken) => {}
            (1 | 2, data) => self.forward(socket, id, kind, data),
            (5, _) => self.close(socket),
            (8, _) => self.hang_up(socket, id),
            _ => {}
        }
    }

    fn listen(&mut self, socket: u64, address: Vec<u16>) {
        self.close(socket);
        let path = self.paths[&socket];
        let shared = path == "/conferenceapp" || path == "/testshared";
        let here: Vec<u64> = self.at(path, &address);
        if address.len() > 256 || (!shared && !here.is_empty()) {
            return self.name(socket, 4, &address);
        }
        self.name(socket, 3, &address);
        self.listeners.push(Listener { path, address, socket });
        for other in here {
            let ends = [(other, self.next_id(other)), (socket, self.next_id(socket))];
            self.tie(ends);
        }
    }

    fn close(&mut self, socket: u64) {
        let before = self.listeners.len();
        self.listeners.retain(|listener| listener.socket != socket);
        if self.listeners.len() < before {
            self.say(socket, vec![5, 0, 255, 255]);
        }
    }

    fn connect(&mut self, socket: u64, id: i16, address: &[u16]) {
        let here = self.at(self.paths[&socket], address);
        if here.len() != 1 || here[0] == socket {
            return self.note(socket, 7, id);
        }
        self.hang_up(socket, id);
        let ends = [(here[0], self.next_id(here[0])), (socket, id)];
        self.tie(ends);
    }

    fn tie(&mut self, ends: [(u64, i16); 2]) {
        self.edges.push(Edge { ends });
        for (socket, id) in ends {
            self.note(socket, 6, id);
        }
    }

    fn hang_up(&mut self, socket: u64, id: i16) {
        let Some(index) = self.edges.iter().position(|edge| edge.side(socket, id).is_some()) else {
            return;
        };
        let edge = self.edges.remove(index);
        let side = edge.side(socket, id).expect("it is one of its ends");
        self.note(socket, 8, id);
        let (other, id_there) = edge.ends[1 - side];
        self.note(other, 8, id_there);
    }

    fn forward(&mut self, socket: u64, id: i16, kind: u8, data: Data) {
        let found = self.edges.iter().find_map(|edge| Some(edge.ends[1 - edge.side(socket, id)?]));
        let Some((other, id_there)) = found else { return };
        let Data::Octets(octets) = data else { return self.note(other, kind, id_there) };
        let mut frame = vec![kind, 1];
        frame.extend(id_there.to_le_bytes());
        frame.extend((octets.len() as u32).to_le_bytes());
        frame.extend(octets);
        self.say(other, frame);
    }

    fn next_id(&mut self, socket: u64) -> i16 {
        loop {
            let next = self.next_ids.get_mut(&socket).expect("an open socket");
            let id = *next as i16;
            *next = if *next == 32767 { 16384 } else { *next + 1 };
            if !self.edges.iter().any(|edge| edge.side(socket, id).is_some()) {
                return id;
            }
        }
    }

    fn at(&self, path: &str, address: &[u16]) -> Vec<u64> {
        let here =
            self.listeners.iter().filter(|known| known.path == path && known.address == address);
        here.map(|listener| listener.socket).collect()
    }

    fn note(&mut self, socket: u64, kind: u8, id: i16) {
        let [low, high] = id.to_le_bytes();
        self.say(socket, vec![kind, 0, low, high]);
    }

    fn name(&mut self, socket: u64, kind: u8, address: &[u16]) {
        let mut frame = vec![kind, 2, 255, 255];
        frame.extend((address.len() as u32).to_le_bytes());
        address.iter().for_each(|unit| frame.extend(unit.to_le_bytes()));
        self.say(socket, frame);
    }

    fn say(&mut self, socket: u64, frame: Vec<u8>) {
        if self.paths.contains_key(&socket) {
            self.sent.push((socket, frame));
        }
    }
}

fn parse(frame: &[u8]) -> Data {
    if frame[1] == 0 {
        return Data::Nothing;
    }
    if frame[1] > 2 || frame.len() < 8 {
        return Data::Broken;
    }
    let count = frame[4..8].iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let rest = &frame[8..];
    if frame[1] == 1 {
        if (rest.len() as u64) < count {
            return Data::Broken;
        }
        return Data::Octets(rest.iter().copied().take(count as usize).collect());
    }
    if (rest.len() as u64) < 2 * count {
        return Data::Broken;
    }
    let pairs = rest.chunks_exact(2).take(count as usize);
    Data::Units(pairs.map(|pair| u16::from(pair[0]) | u16::from(pair[1]) << 8).collect())
}
