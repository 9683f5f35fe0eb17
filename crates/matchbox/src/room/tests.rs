//! Rooms among themselves, without sockets.

use super::*;

/// The peer with this number.
fn id(number: u8) -> PeerId {
    serde_json::from_str(&format!("\"00000000-0000-0000-0000-0000000000{number:02x}\"")).unwrap()
}

/// Peers that are connected to each other, numbered from 0.
struct Peers {
    rooms: Vec<Room>,
    events: Vec<Vec<NetworkEvent<PeerId>>>,
}

impl Peers {
    /// Each is connected to each. The first message of each to each is lost if `loses`: it came
    /// before the other's channels were open.
    fn meet(rooms: Vec<Room>, loses: bool) -> Self {
        let events = vec![Vec::new(); rooms.len()];
        let mut peers = Self { rooms, events };
        for own in 0..peers.rooms.len() {
            peers.rooms[own].joined(id(own as u8));
        }
        for own in 0..peers.rooms.len() {
            for other in (0..peers.rooms.len()).filter(|other| *other != own) {
                peers.rooms[own].peer_opened(id(other as u8));
            }
            // Only who opens first speaks too early.
            if loses && own + 1 < peers.rooms.len() {
                while peers.rooms[own].poll_transmit().is_some() {}
            }
        }
        peers.pass();
        peers
    }

    /// Carries packets until there are no more.
    fn pass(&mut self) {
        let mut is_idle = false;
        while !is_idle {
            is_idle = true;
            for own in 0..self.rooms.len() {
                while let Some(Transmit { to, how, bytes }) = self.rooms[own].poll_transmit() {
                    is_idle = false;
                    let other = (0..self.rooms.len()).find(|other| id(*other as u8) == to);
                    if let Some(other) = other {
                        self.rooms[other].received(id(own as u8), how, &bytes);
                    }
                }
                let events = std::iter::from_fn(|| self.rooms[own].poll_event());
                self.events[own].extend(events);
            }
        }
    }

    fn take(&mut self, peer: usize) -> Vec<NetworkEvent<PeerId>> {
        std::mem::take(&mut self.events[peer])
    }
}

fn up(peer: u8, generation: u32) -> NetworkEvent<PeerId> {
    NetworkEvent::LinkUp(LinkId { peer: id(peer), generation })
}

fn down(peer: u8, generation: u32) -> NetworkEvent<PeerId> {
    NetworkEvent::LinkDown(LinkId { peer: id(peer), generation })
}

/// A host, whose number is 0, and clients.
fn session(clients: usize, opens_links: bool, loses: bool) -> Peers {
    let mut rooms = vec![Room::server(16)];
    rooms.extend((0..clients).map(|_| Room::client(opens_links)));
    let mut peers = Peers::meet(rooms, loses);
    peers.rooms[0].become_host();
    peers.pass();
    peers
}

#[test]
fn a_greeting_that_came_before_the_channels_were_open_is_sent_again() {
    for loses in [false, true] {
        let mut peers = session(2, true, loses);
        assert_eq!(peers.take(0), [NetworkEvent::Hosting]);
        for (own, other) in [(1, 2), (2, 1)] {
            let events = peers.take(own);
            assert_eq!(events, [NetworkEvent::Connected, up(other, 1)], "first lost: {loses}");
        }
    }
}

#[test]
fn of_two_that_begin_to_host_one_does() {
    let mut peers = Peers::meet(vec![Room::server(16), Room::server(16)], false);
    let refused = NetworkEvent::HostingFailed(RoomError::AnotherHost.to_string());
    assert_eq!((peers.take(0), peers.take(1)), (vec![], vec![refused.clone()]));
    peers.rooms.iter_mut().for_each(Room::become_host);
    peers.pass();
    assert_eq!((peers.take(0), peers.take(1)), (vec![NetworkEvent::Hosting], vec![]));

    // One that hosts stays, whatever the ids.
    let mut host = Room::server(16);
    host.become_host();
    let mut peers = Peers::meet(vec![Room::server(16), host], false);
    assert_eq!((peers.take(0), peers.take(1)), (vec![refused], vec![NetworkEvent::Hosting]));
}

#[test]
fn a_link_that_both_ends_want_is_one_and_the_next_has_another_number() {
    let mut peers = session(2, false, false);
    let _ = (peers.take(1), peers.take(2));
    for generation in 1..4 {
        peers.rooms[1].want_link(id(2));
        peers.rooms[2].want_link(id(1));
        peers.pass();
        assert_eq!(peers.take(1), [up(2, generation)]);
        assert_eq!(peers.take(2), [up(1, generation)]);
        let (own, other) = if generation == 2 { (1, 2) } else { (2, 1) };
        peers.rooms[own].release_link(LinkId { peer: id(other as u8), generation });
        peers.pass();
        assert_eq!(peers.take(1), [down(2, generation)]);
        assert_eq!(peers.take(2), [down(1, generation)]);
    }
}

#[test]
fn links_end_before_the_connection_to_a_host_that_leaves() {
    let mut peers = session(2, true, false);
    let _ = (peers.take(1), peers.take(2));
    peers.rooms[0].close();
    peers.pass();
    let lost = NetworkEvent::Disconnected(DisconnectReason::Lost);
    assert_eq!(peers.take(1), [down(2, 1), lost.clone()]);
    assert_eq!(peers.take(2), [down(1, 1), lost]);
    assert!(peers.rooms[0].is_closed(), "all know");
}

#[test]
fn who_leaves_waits_for_those_who_are_still_connecting() {
    let mut room = Room::client(true);
    room.joined(id(1));
    assert!(room.peer_signals(id(2)));
    room.close();
    assert!(!room.peer_signals(id(3)), "nothing new begins");
    assert!(room.peer_signals(id(2)), "what has begun goes on");
    let sends = |room: &mut Room, frames: &[Frame]| {
        let sent: Vec<Bytes> =
            std::iter::from_fn(|| room.poll_transmit()).map(|transmit| transmit.bytes).collect();
        assert_eq!(sent, frames.iter().map(Frame::encode).collect::<Vec<_>>());
        assert!(!room.is_closed());
    };
    let hello = Frame::Hello(Role::Client);
    room.peer_opened(id(2));
    sends(&mut room, std::slice::from_ref(&hello));
    room.received(id(2), Reliability::Reliable, &Frame::Hello(Role::Host).encode());
    sends(&mut room, &[hello, Frame::Bye(ByeReason::Leaves)]);
    room.received(id(2), Reliability::Reliable, &Frame::ByeTaken.encode());
    assert!(room.is_closed());
}

#[test]
fn a_peer_that_opens_and_closes_links_without_end_is_put_out() {
    let mut peers = session(2, false, false);
    let _ = (peers.take(1), peers.take(2));
    // The one with the lower id numbers them.
    for generation in 1..=100_000 {
        for frame in [Frame::LinkOpen(generation), Frame::LinkClose(generation)] {
            peers.rooms[2].received(id(1), Reliability::Reliable, &frame.encode());
        }
    }
    let waiting = peers.rooms[2].event_count();
    assert!((1_000..200_000).contains(&waiting), "{waiting} events wait");
    assert_eq!(peers.rooms[2].standing(id(1)), Standing::Ended);
}
