//! What a mesh wants done with sockets and links.

use std::collections::VecDeque;

use bytes::Bytes;
use voicemesh_session::network::Reliability;
use voicemesh_wire::signaling::{IceServer, Signal};

use crate::MeshLink;
use crate::link::Role;

/// Outputs that the owner has not taken. It takes them after every call, so that only a fault can fill the queue; what is more
/// is dropped.
const OUTPUTS: usize = 8192;

/// One thing to do, in the order in which they are given.
#[derive(Clone, Debug, PartialEq)]
pub enum MeshOutput {
    /// Opens a WebSocket to the server, beside those that are open. The number, never used twice, marks its events.
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
    /// Sends a binary frame on one. What must arrive and does not fit into the queue ends the socket, with an event.
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
    /// Closes a link. Its last event may still follow.
    CloseLink {
        /// Which.
        link: MeshLink,
    },
}

/// The queue of one mesh.
#[derive(Debug, Default)]
pub(crate) struct Outputs(VecDeque<MeshOutput>);

impl Outputs {
    fn push(&mut self, output: MeshOutput) {
        if self.0.len() < OUTPUTS {
            self.0.push_back(output);
        }
    }

    pub(crate) fn poll(&mut self) -> Option<MeshOutput> {
        self.0.pop_front()
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

    pub(crate) fn close_link(&mut self, link: MeshLink) {
        self.push(MeshOutput::CloseLink { link });
    }
}
