//! The session over [matchbox_socket](https://docs.rs/matchbox_socket): WebRTC between all peers of
//! a room, who meet by a matchbox signaling server. One peer hosts, the others join, and clients
//! reach each other directly.
//!
//! **Does.** [`MatchboxNetwork`] is an integration of [`Network`]: it owns the sockets. A host
//! needs nothing more: `EngineOnNetwork::run_as_host` keeps what server and own client send each
//! other in the process. Each socket has two data channels, one reliable and one that loses; what
//! says who hosts and which links are open goes there as well (`frame.rs`). Between two clients
//! of one host a link opens on the data channels that matchbox has opened anyway, and so
//! HandshakeP2P and direct speech go there.
//!
//! **Bounds.** matchbox_socket keeps whatever it is given and whatever arrives. Therefore a task
//! empties it at all times, and each peer is asked what has arrived: 2 MiB of reliable packets may
//! be on their way to a host or by a link, 8 MiB to a client, and of unreliable ones 256 KiB and
//! 1 MiB. Twice as much may wait for [`Network::poll`].
//!
//! **Never does.** No audio, and no thread: the task runs on smol's executor, as matchbox_socket's
//! WebRTC does. Not for WebAssembly, where there is no such executor.
//!
//! **Trust.** Any peer of a room can say that it hosts, and matchbox_socket panics at signals that
//! are no WebRTC; here that ends the room with [`RoomError::Failed`]. Let only those into a room
//! who may.

mod driver;
mod error;
mod frame;
mod ledger;
mod parameters;
mod peer;
mod room;
mod shared;
mod signaller;

use std::time::Duration;

use bytes::Bytes;
use smol::Task;
use voicemesh_session::network::{
    Delivery, Destination, LinkId, Network, NetworkError, NetworkEvent, Reliability,
};

pub use error::RoomError;
pub use frame::FrameError;
pub use matchbox_socket::{PeerId, RtcIceServerConfig};
pub use parameters::{ClientParameters, ServerParameters};

use driver::Joined;
use room::Room;

/// Events of one round of polling. More wait for the next.
const EVENTS_PER_ROUND: usize = 4096;
/// So much longer than [`ServerParameters::look_around`] a peer waits with hosting for others that
/// have begun to connect: one may be the host.
const LATEST_OTHER: Duration = Duration::from_secs(10);

/// One peer's way to the others.
#[derive(Debug, Default)]
pub struct MatchboxNetwork {
    client: Option<Side>,
    server: Option<Side>,
    /// Rooms that are being left. Another is entered after that.
    left_as_client: Option<Task<()>>,
    left_as_server: Option<Task<()>>,
    /// Events left in this round of polling.
    round: Option<usize>,
}

#[derive(Debug)]
struct Side {
    joined: Joined,
    waits_for: Waits,
}

#[derive(Clone, Copy, Debug)]
enum Waits {
    /// A client, until then.
    Host {
        until: Duration,
    },
    /// A peer that wants to host, to be in the room; then so long for others.
    Room {
        look_around: Duration,
    },
    /// Until then, or until those who are connecting have connected.
    Others {
        until: Duration,
    },
    Nothing,
}

impl Side {
    /// Does what is due, and says how many events wait.
    fn look(&mut self, now: Duration) -> usize {
        let shared = &self.joined.shared;
        shared.polled_here();
        match self.waits_for {
            Waits::Host { until } if now >= until => {
                self.waits_for = Waits::Nothing;
                shared.call(Room::give_up_looking);
            }
            Waits::Room { look_around } if shared.call(|room| room.own().is_some()) => {
                self.waits_for = Waits::Others { until: now + look_around };
                return self.look(now);
            }
            Waits::Others { until }
                if now >= until + LATEST_OTHER
                    || now >= until && !shared.call(|room| room.is_connecting()) =>
            {
                self.waits_for = Waits::Nothing;
                shared.call(Room::become_host);
            }
            _ => {}
        }
        shared.call(|room| room.event_count())
    }

    fn timeout(&self) -> Option<Duration> {
        if self.joined.shared.call(|room| room.event_count()) > 0 {
            return Some(Duration::ZERO);
        }
        match self.waits_for {
            Waits::Host { until } => Some(until),
            Waits::Others { until } => {
                let is_connecting = self.joined.shared.call(|room| room.is_connecting());
                Some(if is_connecting { until + LATEST_OTHER } else { until })
            }
            Waits::Room { .. } | Waits::Nothing => None,
        }
    }
}

impl MatchboxNetwork {
    /// In no room yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// By what the others know this peer, once the signaling server has said it: another in each
    /// room and each time.
    pub fn id(&self) -> Option<PeerId> {
        let side = self.client.as_ref().or(self.server.as_ref())?;
        side.joined.shared.call(|room| room.own())
    }

    /// Client side: opens a link to another client, as soon as both are connected to the host. With
    /// [`ClientParameters::opens_links`] that happens by itself.
    pub fn open_link(&mut self, to: PeerId) {
        if let Some(client) = &self.client {
            client.joined.shared.call(|room| room.want_link(to));
        }
    }

    /// Messages that peers sent in the rooms of now and that are no frames ([`FrameError`]), or too
    /// large. Who sends one is no longer heard.
    pub fn violations(&self) -> u64 {
        let sides = [&self.client, &self.server].into_iter().flatten();
        sides.map(|side| side.joined.shared.call(|room| room.violations())).sum()
    }

    fn on_client<T>(&self, call: impl FnOnce(&mut Room) -> T) -> Result<T, NetworkError> {
        self.client
            .as_ref()
            .map(|side| side.joined.shared.call(call))
            .ok_or(NetworkError::NotConnected)
    }

    fn on_server<T>(&self, call: impl FnOnce(&mut Room) -> T) -> Result<T, NetworkError> {
        self.server
            .as_ref()
            .map(|side| side.joined.shared.call(call))
            .ok_or(NetworkError::NotConnected)
    }

    fn leave_as_client(&mut self) {
        if let Some(side) = self.client.take() {
            self.left_as_client = Some(side.joined.leave());
        }
    }

    fn leave_as_server(&mut self) {
        if let Some(side) = self.server.take() {
            self.left_as_server = Some(side.joined.leave());
        }
    }

    fn next_event(&mut self) -> Option<NetworkEvent<PeerId>> {
        let of = |side: &Option<Side>| {
            side.as_ref().and_then(|side| side.joined.shared.call(Room::poll_event))
        };
        let event = of(&self.client).or_else(|| of(&self.server))?;
        match event {
            NetworkEvent::Disconnected(_) => self.leave_as_client(),
            NetworkEvent::HostingFailed(_) => self.leave_as_server(),
            _ => {}
        }
        Some(event)
    }
}

impl Drop for MatchboxNetwork {
    fn drop(&mut self) {
        self.leave_as_client();
        self.leave_as_server();
        // They end by themselves, once the others know.
        for task in [self.left_as_client.take(), self.left_as_server.take()].into_iter().flatten() {
            task.detach();
        }
    }
}

impl Network for MatchboxNetwork {
    type Peer = PeerId;
    type ClientParameters = ClientParameters;
    type ServerParameters = ServerParameters;

    fn connect(&mut self, now: Duration, parameters: ClientParameters) -> Result<(), NetworkError> {
        self.leave_as_client();
        if self.server.is_some() {
            return Err(NetworkError::Unsupported(
                "join the server that it is itself; run as a host instead",
            ));
        }
        let ClientParameters { room: url, ice, timeout, opens_links } = parameters;
        let room = Room::client(opens_links);
        let joined = Joined::begin(room, url, ice, self.left_as_client.take());
        self.client = Some(Side { joined, waits_for: Waits::Host { until: now + timeout } });
        Ok(())
    }

    fn disconnect(&mut self, _now: Duration) {
        self.leave_as_client();
    }

    fn host(&mut self, _now: Duration, parameters: ServerParameters) -> Result<(), NetworkError> {
        self.leave_as_server();
        let ServerParameters { room: url, ice, clients, look_around } = parameters;
        let room = Room::server(clients);
        let joined = Joined::begin(room, url, ice, self.left_as_server.take());
        self.server = Some(Side { joined, waits_for: Waits::Room { look_around } });
        Ok(())
    }

    fn stop_hosting(&mut self, _now: Duration) {
        self.leave_as_server();
    }

    fn poll(&mut self, now: Duration) -> Option<NetworkEvent<PeerId>> {
        let left = self.round.unwrap_or_else(|| {
            let sides = [&mut self.client, &mut self.server].into_iter().flatten();
            sides.map(|side| side.look(now)).sum::<usize>().min(EVENTS_PER_ROUND)
        });
        let event = if left > 0 { self.next_event() } else { None };
        self.round = event.is_some().then(|| left - 1);
        event
    }

    fn poll_timeout(&self, _now: Duration) -> Option<Duration> {
        let sides = [&self.client, &self.server].into_iter().flatten();
        sides.filter_map(Side::timeout).min()
    }

    fn send_to_server(
        &mut self,
        _now: Duration,
        reliability: Reliability,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        self.on_client(|room| room.send_to_server(reliability, packet))?
    }

    fn send_to_client(
        &mut self,
        _now: Duration,
        to: PeerId,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError> {
        let how = match delivery {
            Delivery::Reliable => Reliability::Reliable,
            Delivery::Voice | Delivery::Data => Reliability::Unreliable,
        };
        self.on_server(|room| room.send_to_client(to, how, packet))?
    }

    fn end_client(&mut self, _now: Duration, client: PeerId) {
        let _ = self.on_server(|room| room.end_client(client));
    }

    fn send_to_links(
        &mut self,
        _now: Duration,
        destinations: &mut Vec<Destination<PeerId>>,
        reliability: Reliability,
        packet: &Bytes,
    ) {
        // Without a client side all stay on the list.
        let _ = self.on_client(|room| {
            destinations.retain(|Destination { link, .. }| {
                !room.send_on_link(*link, reliability, packet.clone())
            });
        });
    }

    fn release_link(&mut self, _now: Duration, link: LinkId<PeerId>) {
        let _ = self.on_client(|room| room.release_link(link));
    }

    fn replace_link(&mut self, _now: Duration, link: LinkId<PeerId>) {
        let _ = self.on_client(|room| {
            room.release_link(link);
            room.want_link(link.peer);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A voice with a thread takes it there.
    #[test]
    fn it_may_move_to_another_thread() {
        fn moves<T: Send + 'static>(value: T) -> T {
            std::thread::spawn(|| value).join().unwrap()
        }
        assert_eq!(moves(MatchboxNetwork::new()).id(), None);
    }
}
