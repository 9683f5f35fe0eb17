//! What a client wants its owner to do with its connections.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::transport::{Destination, LinkId, Reliability};

/// One thing to do, in the order in which they are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<P> {
    /// A packet to the server. If a reliable one cannot be kept, the client must learn it as
    /// [`Disconnected`](crate::network::NetworkEvent::Disconnected) with
    /// [`ReliabilityBroken`](crate::network::DisconnectReason::ReliabilityBroken); a lost
    /// unreliable one is lost.
    ToServer {
        /// How it must travel.
        reliability: Reliability,
        /// The packet.
        packet: Bytes,
    },
    /// A packet over links. What they do not take comes back by
    /// [`Client::refused`](crate::Client::refused).
    ToLinks(LinkPacket<P>),
    /// A ping to the server, behind all voice that was sent to it before.
    PingServer {
        /// Its number, in [`ServerPong`](crate::network::NetworkEvent::ServerPong) if the network
        /// has pings.
        number: u16,
        /// What is sent to the server instead if it has none, unreliably: a Probe, which the
        /// session's server answers.
        probe: Bytes,
    },
    /// The session uses another link to this peer now; this one may be closed.
    ReleaseLink(LinkId<P>),
    /// Nothing has come through this link for a while although something should have: replace it.
    ReplaceLink(LinkId<P>),
    /// Nothing comes back on this link, and its traffic moves to the relay: a good moment to ask
    /// whether the server answers.
    LinkStalled(LinkId<P>),
}

/// One packet for one or more links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPacket<P> {
    /// Where to.
    pub to: Vec<Destination<P>>,
    /// How it must travel.
    pub reliability: Reliability,
    /// The packet.
    pub packet: Bytes,
    pub(crate) fallback: Fallback,
}

/// What becomes of a packet that a link does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// It is lost, and found to be if that matters.
    None,
    /// The same packet goes through the server.
    Relay,
    /// It is a HandshakeP2P, which is due again.
    Retry,
    /// Its frames of speech go through the server.
    Speech { sequence: u16, frames: u8 },
}

/// The queue of one client: outputs that the owner has not taken.
#[derive(Debug)]
pub(crate) struct Outputs<P> {
    queue: VecDeque<Output<P>>,
    most: usize,
    dropped: u64,
}

impl<P> Outputs<P> {
    /// A queue of at most so many. When there are more, new ones are dropped and counted.
    pub(crate) fn new(most: usize) -> Self {
        Self { queue: VecDeque::new(), most, dropped: 0 }
    }

    pub(crate) fn push(&mut self, output: Output<P>) {
        if self.queue.len() < self.most {
            self.queue.push_back(output);
        } else {
            self.dropped += 1;
        }
    }

    /// How many were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Drops all that wait, uncounted: there is no session any more for which they were meant.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }

    pub(crate) fn send_to_server(&mut self, reliability: Reliability, packet: impl Into<Bytes>) {
        self.push(Output::ToServer { reliability, packet: packet.into() });
    }

    pub(crate) fn send_to_links(
        &mut self,
        to: Vec<Destination<P>>,
        reliability: Reliability,
        packet: impl Into<Bytes>,
        fallback: Fallback,
    ) {
        if !to.is_empty() {
            self.push(Output::ToLinks(LinkPacket {
                to,
                reliability,
                packet: packet.into(),
                fallback,
            }));
        }
    }

    /// The links to this peer that were to be released are kept: no other takes their place.
    pub(crate) fn keep_links(&mut self, peer: P)
    where
        P: PartialEq,
    {
        self.queue
            .retain(|output| !matches!(output, Output::ReleaseLink(link) if link.peer == peer));
    }

    pub(crate) fn poll(&mut self) -> Option<Output<P>> {
        self.queue.pop_front()
    }
}
