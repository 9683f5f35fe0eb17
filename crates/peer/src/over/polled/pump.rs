//! The half that owns the network.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use voicemesh_common::lock;
use voicemesh_session::network::{Delivery, DisconnectReason, Network, NetworkEvent, Reliability};

use super::exchange::{Epochs, Exchange, Known, Order, Packet, RELIABLE_BYTES, cost};

/// What clients have sent is taken in up to this in one update; what is more stays with the network
/// until the next. After a stall of the game all of it could be for one client, for which too much
/// would wait then.
const FROM_CLIENTS_BYTES: usize = RELIABLE_BYTES / 2;

/// The game's half of a network that the voice uses; see [`polled`](super::polled).
pub struct Pump<N: Network> {
    network: N,
    shared: Arc<Mutex<Exchange<N>>>,
    /// The voice's time, which the network is given.
    now: Duration,
    /// A reliable packet to the server could not be kept.
    is_broken: bool,
    /// Clients whose connection was ended, and of which there may be events still.
    ended: Vec<N::Peer>,
}

impl<N: Network + fmt::Debug> fmt::Debug for Pump<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump").field("network", &self.network).finish_non_exhaustive()
    }
}

impl<N: Network> Pump<N> {
    pub(super) fn new(network: N, shared: Arc<Mutex<Exchange<N>>>) -> Self {
        Self { network, shared, now: Duration::ZERO, is_broken: false, ended: Vec::new() }
    }

    /// Does with the network what the voice has wanted since the last call, and takes to the voice
    /// what has come. Call it once a frame, from the thread to which the network belongs. Never
    /// waits for the voice.
    pub fn update(&mut self) {
        let taken = {
            let mut shared = lock(&self.shared);
            // Nothing is asked of the network before the voice has looked once.
            let Some((then, at)) = shared.clock else { return };
            self.now = self.now.max(then + Instant::now().saturating_duration_since(at));
            shared.take()
        };
        let has_sent = !taken.orders.is_empty() || !taken.late.is_empty();
        for order in taken.orders {
            self.carry_out(taken.epochs, order);
        }
        for (_, packet) in taken.late {
            self.send(packet);
        }
        if has_sent {
            self.network.flush(self.now);
        }
        self.receive(taken.epochs, taken.room);
        let known = Known {
            limits: self.network.limits(),
            health: self.network.server_health(),
            background_bytes: self.network.background_bytes(),
            server_header_bytes: self.network.server_header_bytes(),
        };
        lock(&self.shared).known = known;
        self.wake_voice();
    }

    fn wake_voice(&self) {
        let voice = lock(&self.shared).voice_to_wake();
        if let Some(voice) = voice {
            voice.unpark();
        }
    }

    /// The network, for the game.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// The network, for the game.
    pub fn network_mut(&mut self) -> &mut N {
        &mut self.network
    }

    fn carry_out(&mut self, epochs: Epochs, order: Order<N>) {
        let now = self.now;
        match order {
            Order::Initialise => self.network.initialise(),
            Order::Connect(parameters) => {
                self.is_broken = false;
                if let Err(error) = self.network.connect(now, parameters) {
                    let reason = DisconnectReason::Refused(error.to_string());
                    self.report(epochs, NetworkEvent::Disconnected(reason));
                }
            }
            Order::Disconnect => {
                self.is_broken = false;
                self.network.disconnect(now);
            }
            Order::Host(parameters) => {
                if let Err(error) = self.network.host(now, parameters) {
                    self.report(epochs, NetworkEvent::HostingFailed(error.to_string()));
                }
            }
            Order::StopHosting => self.network.stop_hosting(now),
            Order::ToServer(packet) => {
                self.is_broken = self.is_broken
                    || self.network.send_to_server(now, Reliability::Reliable, packet).is_err();
            }
            // A connection that cannot take a packet is about to be reported gone.
            Order::ToClient(to, packet) => {
                let _ = self.network.send_to_client(now, to, Delivery::Reliable, packet);
            }
            Order::EndClient(client) => {
                self.network.end_client(now, client);
                self.ended.push(client);
            }
            Order::ToLinks(mut to, packet) => {
                self.network.send_to_links(now, &mut to, Reliability::Reliable, &packet);
                // The relay cannot be asked any more: a link that loses what must arrive ends.
                for left in to {
                    self.network.release_link(now, left.link);
                }
            }
            Order::ReleaseLink(link) => self.network.release_link(now, link),
        }
    }

    fn send(&mut self, packet: Packet<N::Peer>) {
        let now = self.now;
        match packet {
            Packet::ToServer(packet) => {
                let _ = self.network.send_to_server(now, Reliability::Unreliable, packet);
            }
            Packet::ToClient(to, delivery, packet) => {
                let _ = self.network.send_to_client(now, to, delivery, packet);
            }
            Packet::ToLinks(mut to, packet) => {
                self.network.send_to_links(now, &mut to, Reliability::Unreliable, &packet);
            }
            Packet::Ping(number, probe) => self.network.ping_server(now, number, probe),
            Packet::LinkStalled(link) => self.network.link_stalled(now, link),
            Packet::ReplaceLink(link) => self.network.replace_link(now, link),
        }
    }

    fn receive(&mut self, epochs: Epochs, room: usize) {
        let (mut events, mut bytes, mut is_all) = (Vec::new(), 0, false);
        while events.len() < room && bytes < FROM_CLIENTS_BYTES && !is_all {
            match self.network.poll(self.now) {
                Some(event) => {
                    if let NetworkEvent::FromClient { packet, .. } = &event {
                        bytes += cost(packet);
                    }
                    events.push(event);
                }
                None => is_all = true,
            }
        }
        let is_told =
            |event: &NetworkEvent<N::Peer>| matches!(event, NetworkEvent::Disconnected(_));
        // A network that has lost its connection says why by itself.
        let must_tell = std::mem::take(&mut self.is_broken) && !events.iter().any(is_told);
        if must_tell {
            self.network.disconnect(self.now);
        }
        let mut shared = lock(&self.shared);
        for event in events {
            shared.report(epochs, event);
        }
        if is_all {
            shared.are_over(std::mem::take(&mut self.ended));
        }
        if must_tell {
            shared.lose_server(epochs, DisconnectReason::ReliabilityBroken);
        }
    }

    fn report(&self, epochs: Epochs, event: NetworkEvent<N::Peer>) {
        lock(&self.shared).report(epochs, event);
    }
}

impl<N: Network> Drop for Pump<N> {
    /// What the voice wanted last, its farewell, leaves if the voice was dropped before.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.update();
        }
        lock(&self.shared).end_pump();
        self.wake_voice();
    }
}
