//! What waits between the two halves, and how much of it.

use std::time::Duration;

use bytes::Bytes;
use voicemesh::over::network::{
    Delivery, DisconnectReason, NetworkError, NetworkEvent, Reliability,
};
use voicemesh::over::{Network, Polled, Pump, polled};
use voicemesh_networks::memory::{ClientParameters, Endpoint, Hub, PeerKey, ServerParameters};

use super::games::OnThisThread;

/// As the documentation of [`polled`] says.
const UNRELIABLE: usize = 4_096;
const RELIABLE_BYTES: usize = 1 << 20;
const LATE_AFTER: Duration = Duration::from_millis(400);

const START: Duration = Duration::from_secs(1);

fn server() -> ServerParameters {
    ServerParameters { address: "here".to_owned() }
}

fn client() -> ClientParameters {
    ClientParameters { address: "here".to_owned() }
}

/// A peer with both halves.
struct Peer {
    voice: Polled<Endpoint>,
    game: Pump<Endpoint>,
}

impl Peer {
    fn new(hub: &Hub) -> Self {
        let (mut voice, game) = polled(hub.endpoint());
        assert_eq!(voice.poll(START), None);
        Self { voice, game }
    }

    fn key(&self) -> PeerKey {
        self.game.network().key()
    }

    fn frame(&mut self) -> Vec<NetworkEvent<PeerKey>> {
        self.frame_at(START)
    }

    fn frame_at(&mut self, now: Duration) -> Vec<NetworkEvent<PeerKey>> {
        let mut events: Vec<_> = std::iter::from_fn(|| self.voice.poll(now)).collect();
        self.game.update();
        events.extend(std::iter::from_fn(|| self.voice.poll(now)));
        events
    }

    fn say(&mut self, now: Duration, number: u16) {
        let packet = Bytes::copy_from_slice(&number.to_be_bytes());
        self.voice.send_to_server(now, Reliability::Unreliable, packet).unwrap();
    }
}

/// A host and a client that is connected to it.
fn two() -> (Peer, Peer) {
    let hub = Hub::new();
    let (mut ada, mut ben) = (Peer::new(&hub), Peer::new(&hub));
    ada.voice.host(START, server()).unwrap();
    assert_eq!(ada.frame(), [NetworkEvent::Hosting]);
    ben.voice.connect(START, client()).unwrap();
    assert_eq!(ben.frame(), [NetworkEvent::Connected]);
    (ada, ben)
}

fn numbers(events: &[NetworkEvent<PeerKey>]) -> Vec<u16> {
    events
        .iter()
        .map(|event| match event {
            NetworkEvent::FromClient { packet, .. } => u16::from_be_bytes([packet[0], packet[1]]),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn of_what_may_be_lost_the_oldest_is_dropped_and_nothing_late_is_sent() {
    let (mut ada, mut ben) = two();
    let more = 10;
    for number in 0..(UNRELIABLE + more) as u16 {
        ben.say(START, number);
    }
    ben.frame();
    let first = more as u16;
    assert_eq!(numbers(&ada.frame()), (first..first + UNRELIABLE as u16).collect::<Vec<_>>());
    // As many as are kept came in one frame; that it was all shows in the next.
    assert_eq!(ada.frame(), []);

    // A game that stalls for seconds, and speech all the time.
    let mut now = START;
    for number in 0..300 {
        now += Duration::from_millis(20);
        assert_eq!(ben.voice.poll(now), None);
        ben.say(now, number);
    }
    ben.frame_at(now);
    let kept = (LATE_AFTER.as_millis() / 20) as u16;
    assert_eq!(numbers(&ada.frame()), (300 - kept - 1..300).collect::<Vec<_>>());
}

#[test]
fn a_client_for_which_too_much_waits_that_must_arrive_is_disconnected() {
    let (mut ada, mut ben) = two();
    ben.say(START, 0);
    ben.frame();
    assert_eq!(numbers(&ada.frame()), [0]);
    let large = Bytes::from(vec![7; 16 * 1024]);
    let mut sent = 0;
    let refused = loop {
        match ada.voice.send_to_client(START, ben.key(), Delivery::Reliable, large.clone()) {
            Ok(()) => sent += large.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, NetworkError::ReliabilityBroken);
    assert!((RELIABLE_BYTES - 32 * 1024..=RELIABLE_BYTES).contains(&sent), "{sent}");
    let again = ada.voice.send_to_client(START, ben.key(), Delivery::Voice, large.clone());
    assert_eq!(again, Err(NetworkError::NotConnected));
    // What it still sends has no effect, and that it is gone is said once.
    ben.say(START, 1);
    ben.frame();
    assert_eq!(ada.frame(), [NetworkEvent::ClientGone { peer: ben.key() }]);
    assert_eq!(ben.frame(), [NetworkEvent::Disconnected(DisconnectReason::Lost)]);
    assert_eq!(ada.frame(), []);
    ben.voice.disconnect(START);
    ben.voice.connect(START, client()).unwrap();
    assert_eq!(ben.frame(), [NetworkEvent::Connected]);
    ben.say(START, 2);
    ben.frame();
    assert_eq!(numbers(&ada.frame()), [2]);
}

#[test]
fn too_much_for_the_server_that_must_arrive_ends_the_session() {
    let (mut ada, mut ben) = two();
    let large = Bytes::from(vec![7; 16 * 1024]);
    let mut send = || ben.voice.send_to_server(START, Reliability::Reliable, large.clone());
    let refused = std::iter::repeat_with(&mut send).find_map(Result::err);
    assert_eq!(refused, Some(NetworkError::ReliabilityBroken));
    ben.voice.disconnect(START);
    assert_eq!(ben.frame(), []);
    let gone = NetworkEvent::ClientGone { peer: ben.key() };
    let mut told = ada.frame();
    while told.last() != Some(&gone) {
        let more = ada.frame();
        assert!(!more.is_empty(), "all has come, but that it is gone");
        told.extend(more);
    }
    assert!(told.len() * large.len() <= RELIABLE_BYTES, "{}", told.len());
}

/// A game that loads for seconds finds all that came meanwhile, and its voice passes that on at
/// once.
#[test]
fn what_one_client_sends_in_a_stall_puts_no_other_out() {
    let (mut ada, mut ben) = two();
    let large = Bytes::from(vec![7; 16 * 1024]);
    let mut sent = 0;
    for _ in 0..10 {
        for _ in 0..32 {
            ben.voice.send_to_server(START, Reliability::Reliable, large.clone()).unwrap();
            sent += 1;
        }
        ben.game.update();
    }
    let mut passed_on = 0;
    while passed_on < sent {
        let came = ada.frame();
        assert!(!came.is_empty(), "{passed_on} of {sent}");
        for _ in came {
            passed_on += 1;
            // Each goes to one receiver.
            ada.voice
                .send_to_client(START, ben.key(), Delivery::Reliable, large.clone())
                .expect("it fits into what may wait for one");
        }
    }
}

#[test]
fn a_client_that_the_network_does_not_end_is_heard_again() {
    let hub = Hub::new();
    let (mut voice, mut game) = polled(OnThisThread::new(&hub));
    let mut ben = Peer::new(&hub);
    let frame = |voice: &mut Polled<OnThisThread>, game: &mut Pump<OnThisThread>| {
        game.update();
        std::iter::from_fn(|| voice.poll(START)).collect::<Vec<_>>()
    };
    assert_eq!(voice.poll(START), None);
    voice.host(START, server()).unwrap();
    assert_eq!(frame(&mut voice, &mut game), [NetworkEvent::Hosting]);
    ben.voice.connect(START, client()).unwrap();
    assert_eq!(ben.frame(), [NetworkEvent::Connected]);
    ben.say(START, 0);
    ben.frame();
    assert_eq!(numbers(&frame(&mut voice, &mut game)), [0]);
    ben.say(START, 1);
    ben.frame();
    voice.end_client(START, ben.key());
    let gone = NetworkEvent::ClientGone { peer: ben.key() };
    assert_eq!(frame(&mut voice, &mut game), [gone], "what was said came before the end");
    ben.say(START, 2);
    ben.frame();
    assert_eq!(numbers(&frame(&mut voice, &mut game)), [2]);
}

#[test]
fn a_connection_that_was_given_up_says_nothing_more() {
    let (mut ada, mut ben) = two();
    ben.say(START, 0);
    ben.frame();
    assert_eq!(numbers(&ada.frame()), [0]);
    ada.voice
        .send_to_client(START, ben.key(), Delivery::Reliable, Bytes::from_static(b"old"))
        .unwrap();
    ada.game.update();
    // It is on its way to the voice when that hangs up …
    ben.game.update();
    ben.voice.disconnect(START);
    assert_eq!(ben.frame(), []);
    // … and so is what the game fetches while the voice connects again.
    ben.voice.connect(START, client()).unwrap();
    assert_eq!(ben.frame(), [NetworkEvent::Connected]);
    ben.voice.disconnect(START);
    ben.voice.connect(START, client()).unwrap();
    ben.voice.disconnect(START);
    ben.voice.connect(START, client()).unwrap();
    assert_eq!(ben.frame(), [NetworkEvent::Connected], "one of the three is left");
}

#[test]
fn a_game_that_ends_its_network_ends_the_session() {
    let (ada, ben) = two();
    let Peer { mut voice, game } = ben;
    drop(game);
    let lost = NetworkEvent::Disconnected(DisconnectReason::Lost);
    assert_eq!(std::iter::from_fn(|| voice.poll(START)).collect::<Vec<_>>(), [lost]);
    assert!(voice.connect(START, client()).is_err());
    let Peer { mut voice, game } = ada;
    drop(game);
    let told: Vec<_> = std::iter::from_fn(|| voice.poll(START)).collect();
    assert!(matches!(told.last(), Some(NetworkEvent::HostingFailed(_))), "{told:?}");
    assert!(voice.host(START, server()).is_err());
}

#[test]
fn what_does_not_begin_is_reported() {
    let (_ada, mut ben) = two();
    ben.voice.disconnect(START);
    ben.voice.host(START, server()).unwrap();
    let events = ben.frame();
    assert!(matches!(&events[..], [NetworkEvent::HostingFailed(_)]), "{events:?}");
}

#[test]
fn a_voice_that_is_gone_leaves_its_farewell_to_the_game() {
    let (mut ada, ben) = two();
    let key = ben.key();
    let Peer { mut voice, game } = ben;
    voice.send_to_server(START, Reliability::Reliable, Bytes::from_static(b"farewell")).unwrap();
    drop(voice);
    drop(game);
    let farewell = NetworkEvent::FromClient { peer: key, packet: Bytes::from_static(b"farewell") };
    assert_eq!(ada.frame(), [farewell, NetworkEvent::ClientGone { peer: key }]);
}
