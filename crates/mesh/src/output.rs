//! What a mesh wants done with sockets and links.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use voicemesh_session::network::Reliability;
use voicemesh_wire::signaling::{IceServer, Signal};

use crate::input::MeshLink;
use crate::link::Role;

/// Outputs that the owner has not taken. It takes them after every call, and no call makes more
/// than six for each member (three links closed, one opened, one text, one package of keys), so that
/// with up to 1,300 members only a fault can fill the queue; what is more is dropped and counted.
const OUTPUTS: usize = 8192;

/// One thing to do, in the order in which they are given.
#[derive(Clone, Debug, PartialEq)]
pub enum MeshOutput {
    /// Opens a WebSocket to the server, beside those that are open. The number, never used twice,
    /// marks its events.
    OpenSocket {
        /// Its number.
        generation: u32,
    },
    /// Closes one. No event follows; what it was given before is still sent, if that can be.
    CloseSocket {
        /// Its number.
        generation: u32,
    },
    /// Sends a text frame on one.
    SendText {
        /// Its number.
        generation: u32,
        /// The frame.
        text: String,
    },
    /// Sends a binary frame on one. What must arrive and does not fit into the queue ends the
    /// socket, with an event.
    SendPacket {
        /// Its number.
        generation: u32,
        /// How it must travel.
        reliability: Reliability,
        /// The frame.
        packet: Bytes,
    },
    /// Sends a WebSocket ping on one, behind all voice that was given before it;
    /// [`SocketEvent::Pong`](crate::SocketEvent::Pong) is its answer.
    Ping {
        /// The socket's number.
        generation: u32,
        /// The ping's.
        number: u16,
    },
    /// Opens a link.
    OpenLink {
        /// Which.
        link: MeshLink,
        /// Who offers.
        role: Role,
        /// STUN and TURN servers to ask.
        ice_servers: Vec<IceServer>,
    },
    /// Hands a link what the remote's link said.
    Signal {
        /// Which.
        link: MeshLink,
        /// What.
        signal: Signal,
    },
    /// Sends a packet on the reliable stream of a link. What the link does not take is lost.
    SendLink {
        /// Which.
        link: MeshLink,
        /// The packet.
        packet: Bytes,
    },
    /// Closes a link. Its last event may still follow.
    CloseLink {
        /// Which.
        link: MeshLink,
    },
}

/// The queue of one mesh.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    queue: VecDeque<MeshOutput>,
    dropped: u64,
    put: u64,
}

impl Outputs {
    fn push(&mut self, output: MeshOutput) {
        self.put += 1;
        if self.queue.len() < OUTPUTS {
            self.queue.push_back(output);
        } else {
            self.dropped += 1;
        }
    }

    pub(crate) fn poll(&mut self) -> Option<MeshOutput> {
        self.queue.pop_front()
    }

    /// How many there were so far.
    pub(crate) fn put(&self) -> u64 {
        self.put
    }

    /// How many were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes back what makes no sense once the room is left: whatever opens a socket or a link, all
    /// else about those, and what was to be said on other links. What was to be said to the server
    /// on a socket that is open still is.
    pub(crate) fn withdraw_openings(&mut self) {
        let (mut sockets, mut links) = (BTreeSet::new(), BTreeSet::new());
        for output in &self.queue {
            match output {
                MeshOutput::OpenSocket { generation } => drop(sockets.insert(*generation)),
                MeshOutput::OpenLink { link, .. } => drop(links.insert(*link)),
                MeshOutput::CloseSocket { .. }
                | MeshOutput::SendText { .. }
                | MeshOutput::SendPacket { .. }
                | MeshOutput::Ping { .. }
                | MeshOutput::Signal { .. }
                | MeshOutput::SendLink { .. }
                | MeshOutput::CloseLink { .. } => {}
            }
        }
        self.queue.retain(|output| match output {
            MeshOutput::OpenSocket { .. }
            | MeshOutput::OpenLink { .. }
            | MeshOutput::Ping { .. }
            | MeshOutput::Signal { .. } => false,
            MeshOutput::CloseSocket { generation }
            | MeshOutput::SendText { generation, .. }
            | MeshOutput::SendPacket { generation, .. } => !sockets.contains(generation),
            MeshOutput::SendLink { link, .. } | MeshOutput::CloseLink { link } => {
                !links.contains(link)
            }
        });
    }

    pub(crate) fn open_socket(&mut self, generation: u32) {
        self.push(MeshOutput::OpenSocket { generation });
    }

    pub(crate) fn close_socket(&mut self, generation: u32) {
        self.push(MeshOutput::CloseSocket { generation });
    }

    pub(crate) fn send_text(&mut self, generation: u32, text: String) {
        self.push(MeshOutput::SendText { generation, text });
    }

    pub(crate) fn send_packet(&mut self, generation: u32, reliability: Reliability, packet: Bytes) {
        self.push(MeshOutput::SendPacket { generation, reliability, packet });
    }

    pub(crate) fn ping(&mut self, generation: u32, number: u16) {
        self.push(MeshOutput::Ping { generation, number });
    }

    pub(crate) fn open_link(&mut self, link: MeshLink, role: Role, ice_servers: &[IceServer]) {
        self.push(MeshOutput::OpenLink { link, role, ice_servers: ice_servers.to_vec() });
    }

    pub(crate) fn signal(&mut self, link: MeshLink, signal: Signal) {
        self.push(MeshOutput::Signal { link, signal });
    }

    pub(crate) fn send_link(&mut self, link: MeshLink, packet: Bytes) {
        self.push(MeshOutput::SendLink { link, packet });
    }

    pub(crate) fn close_link(&mut self, link: MeshLink) {
        self.push(MeshOutput::CloseLink { link });
    }
}
