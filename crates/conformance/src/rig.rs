//! Peers of a testbed and what they have seen.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::network::{
    Delivery, Destination, LinkId, Network, NetworkError, NetworkEvent, Reliability,
};

use crate::{Outcome, Testbed, Verdict, Violation};

/// Polls of one peer in one frame. More, and the integration gives what it was just sent while it
/// is polled.
const POLLS: usize = 20_000;

type Peer<T> = <<T as Testbed>::Network as Network>::Peer;

/// Peers of a testbed, the time, and what each has seen.
pub struct Rig<T: Testbed> {
    testbed: T,
    now: Duration,
    peers: Vec<Seat<T>>,
}

struct Seat<T: Testbed> {
    network: T::Network,
    seen: Vec<NetworkEvent<Peer<T>>>,
}

impl<T: Testbed> Rig<T> {
    /// Without peers.
    pub fn new(testbed: T) -> Self {
        Self { testbed, now: Duration::ZERO, peers: Vec::new() }
    }

    /// One more peer; its number.
    pub(crate) fn peer(&mut self) -> usize {
        let mut network = self.testbed.peer();
        network.initialise();
        self.peers.push(Seat { network, seen: Vec::new() });
        self.peers.len() - 1
    }

    pub(crate) fn host(&mut self, peer: usize, server: usize) -> Result<(), NetworkError> {
        let parameters = self.testbed.server_parameters(server);
        self.peers[peer].network.host(self.now, parameters)
    }

    pub(crate) fn connect(&mut self, peer: usize, server: usize) -> Result<(), NetworkError> {
        let parameters = self.testbed.client_parameters(server);
        self.peers[peer].network.connect(self.now, parameters)
    }

    pub(crate) fn disconnect(&mut self, peer: usize) {
        self.peers[peer].network.disconnect(self.now);
    }

    pub(crate) fn stop_hosting(&mut self, peer: usize) {
        self.peers[peer].network.stop_hosting(self.now);
    }

    pub(crate) fn cut(&mut self, client: usize) -> bool {
        self.testbed.cut(&mut self.peers[client].network)
    }

    pub(crate) fn break_reliability(&mut self, client: usize) -> bool {
        self.testbed.break_reliability(&mut self.peers[client].network)
    }

    /// Opens a link and waits until both ends have it. None if the integration has no links.
    pub(crate) fn link(
        &mut self,
        a: usize,
        b: usize,
    ) -> Result<Option<[LinkId<Peer<T>>; 2]>, Violation> {
        let before = [self.links(a).len(), self.links(b).len()];
        let (low, high) = (a.min(b), a.max(b));
        let (left, right) = self.peers.split_at_mut(high);
        if !self.testbed.link(&mut left[low].network, &mut right[0].network) {
            return Ok(None);
        }
        self.until("a link that opens is reported at both ends", |rig| {
            rig.links(a).len() > before[0] && rig.links(b).len() > before[1]
        })?;
        Ok(Some([self.links(a)[before[0]], self.links(b)[before[1]]]))
    }

    /// The links that were reported to this peer, oldest first.
    pub(crate) fn links(&self, peer: usize) -> Vec<LinkId<Peer<T>>> {
        let link = |event: &NetworkEvent<Peer<T>>| match event {
            NetworkEvent::LinkUp(link) => Some(*link),
            _ => None,
        };
        self.seen(peer).iter().filter_map(link).collect()
    }

    pub(crate) fn send_to_server(
        &mut self,
        peer: usize,
        how: Reliability,
        packet: &[u8],
    ) -> Result<(), NetworkError> {
        self.peers[peer].network.send_to_server(self.now, how, Bytes::copy_from_slice(packet))
    }

    pub(crate) fn send_to_client(
        &mut self,
        server: usize,
        to: Peer<T>,
        how: Delivery,
        packet: &[u8],
    ) -> Result<(), NetworkError> {
        self.peers[server].network.send_to_client(self.now, to, how, Bytes::copy_from_slice(packet))
    }

    pub(crate) fn send_to_links(
        &mut self,
        peer: usize,
        to: &mut Vec<Destination<Peer<T>>>,
        how: Reliability,
        packet: &[u8],
    ) {
        self.peers[peer].network.send_to_links(self.now, to, how, &Bytes::copy_from_slice(packet));
    }

    pub(crate) fn release_link(&mut self, peer: usize, link: LinkId<Peer<T>>) {
        self.peers[peer].network.release_link(self.now, link);
    }

    pub(crate) fn limits(&self, peer: usize) -> voicemesh_session::network::PacketLimits {
        self.peers[peer].network.limits()
    }

    /// The next event of a peer without letting time pass.
    pub(crate) fn poll(&mut self, peer: usize) -> Option<NetworkEvent<Peer<T>>> {
        self.peers[peer].network.poll(self.now)
    }

    pub(crate) fn arrives(&self) -> f64 {
        self.testbed.arrives()
    }

    /// Time passes, and no peer is polled.
    pub(crate) fn pass_only(&mut self) {
        self.now += self.testbed.pass();
    }

    pub(crate) fn testbed(&mut self) -> &mut T {
        &mut self.testbed
    }

    /// One frame: time passes, and each peer is polled until it has no more.
    pub(crate) fn frame(&mut self) -> Result<(), Violation> {
        self.now += self.testbed.pass();
        for seat in &mut self.peers {
            let mut polls = 0;
            while let Some(event) = seat.network.poll(self.now) {
                seat.seen.push(event);
                polls += 1;
                if polls > POLLS {
                    let seen = format!("{POLLS} events in one frame");
                    return Err(Violation { rule: "polling comes to an end in every frame", seen });
                }
            }
        }
        Ok(())
    }

    /// Lets frames pass until this is so.
    pub(crate) fn until(
        &mut self,
        rule: &'static str,
        mut is_so: impl FnMut(&Self) -> bool,
    ) -> Result<(), Violation> {
        for _ in 0..self.testbed.patience() {
            if is_so(self) {
                return Ok(());
            }
            self.frame()?;
        }
        if is_so(self) {
            return Ok(());
        }
        let seen = format!("after {} frames: {}", self.testbed.patience(), self.told());
        Err(Violation { rule, seen })
    }

    /// Lets frames pass in which something must stay away.
    pub(crate) fn vigil(&mut self) -> Result<(), Violation> {
        for _ in 0..self.testbed.vigil() {
            self.frame()?;
        }
        Ok(())
    }

    pub(crate) fn seen(&self, peer: usize) -> &[NetworkEvent<Peer<T>>] {
        &self.peers[peer].seen
    }

    pub(crate) fn forget(&mut self) {
        for seat in &mut self.peers {
            seat.seen.clear();
        }
    }

    pub(crate) fn count(
        &self,
        peer: usize,
        is_it: impl Fn(&NetworkEvent<Peer<T>>) -> bool,
    ) -> usize {
        self.seen(peer).iter().filter(|event| is_it(event)).count()
    }

    /// Packets from the server to this client, oldest first.
    pub(crate) fn at_client(&self, peer: usize) -> Vec<Bytes> {
        let packet = |event: &NetworkEvent<Peer<T>>| match event {
            NetworkEvent::FromServer(packet) => Some(packet.clone()),
            _ => None,
        };
        self.seen(peer).iter().filter_map(packet).collect()
    }

    /// Packets to this server and the connections that they came by, oldest first.
    pub(crate) fn at_server(&self, server: usize) -> Vec<(Peer<T>, Bytes)> {
        let packet = |event: &NetworkEvent<Peer<T>>| match event {
            NetworkEvent::FromClient { peer, packet } => Some((*peer, packet.clone())),
            _ => None,
        };
        self.seen(server).iter().filter_map(packet).collect()
    }

    /// Packets on links of this peer, oldest first.
    pub(crate) fn on_links(&self, peer: usize) -> Vec<(LinkId<Peer<T>>, Bytes)> {
        let packet = |event: &NetworkEvent<Peer<T>>| match event {
            NetworkEvent::FromLink { link, packet } => Some((*link, packet.clone())),
            _ => None,
        };
        self.seen(peer).iter().filter_map(packet).collect()
    }

    /// A server at this number, ready.
    pub(crate) fn server(&mut self, server: usize) -> Result<usize, Violation> {
        let peer = self.peer();
        self.serve(peer, server)?;
        Ok(peer)
    }

    /// Makes this peer serve, and waits until it does.
    pub(crate) fn serve(&mut self, peer: usize, server: usize) -> Result<(), Violation> {
        const RULE: &str = "a server that can serve reports Hosting";
        let before = self.count(peer, |event| *event == NetworkEvent::Hosting);
        self.host(peer, server)
            .map_err(|error| Violation { rule: RULE, seen: error.to_string() })?;
        self.until(RULE, |rig| rig.count(peer, |event| *event == NetworkEvent::Hosting) > before)
    }

    /// A client of this server, connected.
    pub(crate) fn client(&mut self, server: usize) -> Result<usize, Violation> {
        let peer = self.peer();
        self.join(peer, server)?;
        Ok(peer)
    }

    /// Connects this peer, and waits until it is.
    pub(crate) fn join(&mut self, peer: usize, server: usize) -> Result<(), Violation> {
        const RULE: &str = "a client that reaches a server reports Connected";
        let before = self.count(peer, |event| *event == NetworkEvent::Connected);
        self.connect(peer, server)
            .map_err(|error| Violation { rule: RULE, seen: error.to_string() })?;
        self.until(RULE, |rig| rig.count(peer, |event| *event == NetworkEvent::Connected) > before)
    }

    /// Connects a peer to the server that it is itself. False if the network cannot: a host does
    /// without.
    pub(crate) fn join_own(&mut self, host: usize, server: usize) -> Result<bool, Violation> {
        let parameters = self.testbed.client_parameters(server);
        match self.peers[host].network.connect(self.now, parameters) {
            Err(NetworkError::Unsupported(_)) => Ok(false),
            Ok(()) | Err(_) => self.join(host, server).map(|()| true),
        }
    }

    /// By what the server knows this client: it learns that from a packet.
    pub(crate) fn key(&mut self, server: usize, client: usize) -> Result<Peer<T>, Violation> {
        const RULE: &str = "a reliable packet arrives at the server";
        let name = format!("who is {client}");
        let from = |rig: &Self| {
            rig.at_server(server).into_iter().rev().find(|(_, packet)| *packet == name)
        };
        self.send_to_server(client, Reliability::Reliable, name.as_bytes())
            .map_err(|error| Violation { rule: RULE, seen: error.to_string() })?;
        self.until(RULE, |rig| from(rig).is_some())?;
        let Some((key, _)) = from(self) else {
            return Err(Violation { rule: RULE, seen: self.told() });
        };
        Ok(key)
    }

    /// The last events of each peer, for a person.
    pub(crate) fn told(&self) -> String {
        let of_one = |(number, seat): (usize, &Seat<T>)| {
            let last =
                seat.seen.iter().rev().take(3).rev().map(short).collect::<Vec<_>>().join(", ");
            format!("peer {number}: {} events, last [{last}]", seat.seen.len())
        };
        self.peers.iter().enumerate().map(of_one).collect::<Vec<_>>().join("; ")
    }

    /// Fails with what was seen if this is not so.
    pub(crate) fn must(&self, rule: &'static str, is_so: bool) -> Result<(), Violation> {
        if is_so { Ok(()) } else { Err(Violation { rule, seen: self.told() }) }
    }
}

/// Packets are recognized by their lengths.
fn short<P: std::fmt::Debug>(event: &NetworkEvent<P>) -> String {
    match event {
        NetworkEvent::FromServer(packet) => format!("{} bytes from the server", packet.len()),
        NetworkEvent::FromClient { peer, packet } => {
            format!("{} bytes from client {peer:?}", packet.len())
        }
        NetworkEvent::FromLink { link, packet } => format!("{} bytes on {link:?}", packet.len()),
        event => format!("{event:?}"),
    }
}

pub(crate) const PASSED: Verdict = Ok(Outcome::Passed);
pub(crate) const NOT_ITS_OWN_CLIENT: Verdict = Ok(Outcome::Skipped(
    "a peer of this network cannot be a client of the server that it runs; a host does without",
));
