//! Peers of a room that keep to no rule, and calls that make no sense.

use std::time::{Duration, Instant};

use async_tungstenite::smol::connect_async;
use async_tungstenite::tungstenite::Message;
use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender};
use matchbox_socket::{
    Packet, PeerEvent, PeerRequest, PeerSignal, PeerState, WebRtcSocket, WebRtcSocketBuilder,
};
use smol::Timer;
use voicemesh_matchbox::{FrameError, MatchboxNetwork, PeerId};
use voicemesh_session::network::{
    Delivery, Destination, LinkId, Network, NetworkError, NetworkEvent, Reliability,
};
use voicemesh_wire::ClientId;

use crate::promises::{at, to};
use crate::signaling::{new_room, no_ice};

const PATIENCE: Duration = Duration::from_secs(60);
const HELLO_OF_A_CLIENT: &[u8] = b"\0vmb\x01\0";
const HELLO_OF_A_HOST: &[u8] = b"\0vmb\x01\x02";
const WELCOME: &[u8] = &[1];
const BYE: u8 = 3;

/// Polls until an event is there that this takes.
fn wait<T>(
    network: &mut MatchboxNetwork,
    what: &str,
    mut take: impl FnMut(NetworkEvent<PeerId>) -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "{what}");
        match network.poll(began.elapsed()) {
            Some(event) => {
                if let Some(taken) = take(event) {
                    return taken;
                }
            }
            None => std::thread::park_timeout(Duration::from_millis(5)),
        }
    }
}

fn is(expected: &NetworkEvent<PeerId>) -> impl Fn(NetworkEvent<PeerId>) -> Option<()> {
    move |event| (event == *expected).then_some(())
}

fn host(room: &str) -> MatchboxNetwork {
    let mut host = MatchboxNetwork::new();
    host.host(Duration::ZERO, at(room)).unwrap();
    wait(&mut host, "it hosts", is(&NetworkEvent::Hosting));
    host
}

fn client(room: &str) -> MatchboxNetwork {
    let mut client = MatchboxNetwork::new();
    client.connect(Duration::ZERO, to(room, true)).unwrap();
    wait(&mut client, "it connects", is(&NetworkEvent::Connected));
    client
}

/// A peer of the room with matchbox_socket alone.
struct Raw {
    socket: WebRtcSocket,
    to: [UnboundedSender<(PeerId, Packet)>; 2],
    from: UnboundedReceiver<(PeerId, Packet)>,
}

impl Raw {
    fn new(room: &str) -> Self {
        let builder = WebRtcSocketBuilder::new(room).ice_server(no_ice());
        let (mut socket, run) = builder.add_reliable_channel().add_unreliable_channel().build();
        smol::spawn(run).detach();
        let (reliable, from) = socket.take_channel(0).unwrap().split();
        let (unreliable, _) = socket.take_channel(1).unwrap().split();
        Self { socket, to: [reliable, unreliable], from }
    }

    /// The first peer that it has a connection to.
    fn meet(&mut self) -> PeerId {
        loop {
            if let Some((peer, PeerState::Connected)) = within(self.socket.next()) {
                return peer;
            }
        }
    }

    fn send(&self, channel: usize, to: PeerId, message: &[u8]) {
        self.to[channel].unbounded_send((to, Bytes::copy_from_slice(message))).unwrap();
    }

    /// Waits until each of these has come.
    fn until_all(&mut self, mut messages: Vec<&[u8]>) {
        while !messages.is_empty() {
            let Some((_, message)) = within(self.from.next()) else { continue };
            messages.retain(|awaited| *awaited != message);
        }
    }

    /// Waits until a message is there that this takes.
    fn until(&mut self, is_it: impl Fn(&Bytes) -> bool) {
        while !within(self.from.next()).is_some_and(|(_, message)| is_it(&message)) {}
    }
}

/// What this gives, in time.
fn within<T>(future: impl Future<Output = T>) -> T {
    let late = async {
        Timer::after(PATIENCE).await;
        panic!("it takes too long")
    };
    smol::block_on(smol::future::or(future, late))
}

#[test]
fn a_peer_that_sends_no_frames_is_put_out_and_the_others_go_on() {
    let room = new_room();
    let (mut host, mut client) = (host(&room), client(&room));
    let too_large = [&[7][..], &[0; 16 * 1024 + 1]].concat();
    let nonsense: [(usize, &[u8]); 5] = [
        (0, b"\xffnonsense"),
        (0, b""),
        (0, b"\x05short"),
        (0, &too_large),
        (1, HELLO_OF_A_CLIENT),
    ];
    for (round, (channel, message)) in nonsense.into_iter().enumerate() {
        let mut raw = Raw::new(&room);
        // matchbox_socket panics at a peer that is still connecting to one that leaves: to both.
        let (first, second) = (raw.meet(), raw.meet());
        let server = if Some(first) == host.id() { first } else { second };
        [first, second].iter().for_each(|peer| raw.send(0, *peer, HELLO_OF_A_CLIENT));
        raw.until_all(vec![WELCOME, HELLO_OF_A_CLIENT]);
        raw.send(0, server, b"\x07good");
        let packet = |event| match event {
            NetworkEvent::FromClient { packet, .. } => Some(packet),
            _ => None,
        };
        assert_eq!(wait(&mut host, "what is well-formed arrives", packet), "good");
        raw.send(channel, server, message);
        raw.until(|message| message.first() == Some(&BYE));
        raw.send(0, server, b"\x07more");
        let event = wait(&mut host, "it is gone", Some);
        assert!(matches!(event, NetworkEvent::ClientGone { .. }), "{event:?}");
        assert_eq!(host.violations(), round as u64 + 1);
    }
    let packet = Bytes::from_static(b"still here");
    client.send_to_server(Duration::ZERO, Reliability::Reliable, packet.clone()).unwrap();
    let arrived = wait(&mut host, "the other goes on", |event| match event {
        NetworkEvent::FromClient { packet, .. } => Some(packet),
        _ => None,
    });
    assert_eq!(arrived, packet);
}

#[test]
fn a_host_that_sends_no_frames_is_left_with_its_fault_as_the_reason() {
    let room = new_room();
    let mut raw = Raw::new(&room);
    let mut client = MatchboxNetwork::new();
    client.connect(Duration::ZERO, to(&room, true)).unwrap();
    let peer = raw.meet();
    raw.send(0, peer, HELLO_OF_A_HOST);
    raw.until(|message| message == HELLO_OF_A_CLIENT);
    raw.send(0, peer, HELLO_OF_A_HOST);
    raw.send(0, peer, WELCOME);
    raw.send(0, peer, &[99]);
    let reason = wait(&mut client, "it is disconnected", |event| match event {
        NetworkEvent::Disconnected(reason) => Some(reason),
        _ => None,
    });
    let fault = voicemesh_matchbox::RoomError::BadFrame(FrameError::Unknown(99));
    assert_eq!(reason, fault.into());
}

/// matchbox_socket unwraps what it cannot understand.
#[test]
fn a_peer_whose_signals_are_no_webrtc_ends_the_room_with_an_error() {
    let room = new_room();
    let mut host = host(&room);
    within(async {
        let (mut socket, _) = connect_async(&room).await.unwrap();
        loop {
            let Some(Ok(Message::Text(text))) = socket.next().await else { continue };
            let Ok(PeerEvent::Signal { sender, .. }) = serde_json::from_str(&text) else {
                continue;
            };
            let data = PeerSignal::Answer("this is no answer".to_owned());
            let answer = PeerRequest::Signal { receiver: sender, data };
            let answer = serde_json::to_string(&answer).unwrap();
            socket.send(Message::Text(answer.into())).await.unwrap();
            break;
        }
    });
    let why = wait(&mut host, "it hosts no longer", |event| match event {
        NetworkEvent::HostingFailed(why) => Some(why),
        _ => None,
    });
    assert!(why.starts_with("matchbox_socket failed: "), "{why}");
}

#[test]
fn what_waits_for_a_host_that_does_not_poll_is_bounded() {
    const PACKET: usize = 16 * 1024;
    let room = new_room();
    let mut host = host(&room);
    let mut raw = Raw::new(&room);
    let server = raw.meet();
    raw.send(0, server, HELLO_OF_A_CLIENT);
    raw.until(|message| message == WELCOME);
    let packet = [&[7][..], &[0; PACKET]].concat();
    (0..1_000).for_each(|_| raw.send(0, server, &packet));
    raw.until(|message| message.first() == Some(&BYE));
    let mut bytes = 0;
    wait(&mut host, "it was put out", |event| match event {
        NetworkEvent::FromClient { packet, .. } => {
            bytes += packet.len();
            None
        }
        event => matches!(event, NetworkEvent::ClientGone { .. }).then_some(()),
    });
    assert!((3..5).contains(&(bytes >> 20)), "{bytes} bytes waited");
}

#[test]
fn what_is_too_large_or_for_no_peer_is_refused_and_the_connection_stands() {
    let room = new_room();
    let (mut host, mut client) = (host(&room), client(&room));
    let now = Duration::ZERO;
    for (how, limit) in [(Reliability::Reliable, 16 * 1024), (Reliability::Unreliable, 1_200)] {
        let too_large = Bytes::from(vec![7; limit + 1]);
        let refused = FrameError::TooLarge { bytes: limit + 1, limit }.to_string();
        let refused = Err(NetworkError::Failed(refused));
        assert_eq!(client.send_to_server(now, how, too_large), refused);
    }
    let (stranger, packet) = (client.id().unwrap(), Bytes::from_static(b"packet"));
    client.send_to_server(now, Reliability::Reliable, packet.clone()).unwrap();
    let known = wait(&mut host, "the connection stands", |event| match event {
        NetworkEvent::FromClient { peer, .. } => Some(peer),
        _ => None,
    });
    assert_eq!(known, stranger);
    let unknown = host.id().unwrap();
    let sent = host.send_to_client(now, unknown, Delivery::Reliable, packet.clone());
    assert_eq!(sent, Err(NetworkError::NotConnected));
    host.end_client(now, unknown);
    client.open_link(unknown);
    let link = LinkId { peer: unknown, generation: 1 };
    let mut destinations = vec![Destination { client: ClientId(1), link }];
    client.send_to_links(now, &mut destinations, Reliability::Reliable, &packet);
    client.release_link(now, link);
    client.replace_link(now, link);
    assert_eq!(destinations.len(), 1, "what no link reaches stays on the list");
    host.send_to_client(now, known, Delivery::Reliable, packet.clone()).unwrap();
    wait(&mut client, "the connection stands", is(&NetworkEvent::FromServer(packet)));
}

#[test]
fn a_host_has_places_for_so_many_and_says_so_to_others() {
    let room = new_room();
    let mut host = MatchboxNetwork::new();
    let mut parameters = at(&room);
    parameters.clients = 1;
    host.host(Duration::ZERO, parameters).unwrap();
    wait(&mut host, "it hosts", is(&NetworkEvent::Hosting));
    let first = client(&room);
    let mut second = MatchboxNetwork::new();
    second.connect(Duration::ZERO, to(&room, true)).unwrap();
    let reason = wait(&mut second, "it is refused", |event| match event {
        NetworkEvent::Disconnected(reason) => Some(reason),
        _ => None,
    });
    assert_eq!(reason, voicemesh_matchbox::RoomError::Full.into());
    drop(first);
    wait(&mut host, "the place is free", |event| {
        matches!(event, NetworkEvent::ClientGone { .. }).then_some(())
    });
    client(&room);
}
