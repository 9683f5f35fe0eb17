//! The session's promises one by one, in memory, where nothing is lost and nothing is late.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_networks::memory::{Endpoint, PeerKey, ServerParameters};
use voicemesh_session::client::{Dropped, Participant, Phase};
use voicemesh_session::network::{
    Destination, DisconnectReason, LinkId, Network, NetworkEvent, Reliability,
};
use voicemesh_session::route::Route;
use voicemesh_session::server::DropReason;
use voicemesh_session::voice_targets::{TargetOptions, VoiceTarget};
use voicemesh_session::{ClientEvent, Server, ServerConfig, Verdict};
use voicemesh_wire::packet::{
    self, HandshakeP2P, Kind, Recipient, Relay, RemoveClient, Routing, TalkspurtCounter,
    VoiceHeader,
};
use voicemesh_wire::{ClientId, DecodeError, GroupId};

use crate::room::{ADDRESS, Room, session};

fn speak(room: &mut Room, guest: usize, frame: &'static [u8]) -> usize {
    room.with(guest, |client, now, _| client.send_voice(now, Bytes::from_static(frame)))
}

fn open(room: &mut Room, guest: usize, target: VoiceTarget<PeerKey>) {
    room.guests[guest].client.open_target(target, TargetOptions::default()).unwrap();
}

fn listen(room: &mut Room, guest: usize, group: &str) {
    room.with(guest, |client, _, _| client.join_group(group)).unwrap();
    room.settle();
}

fn group(name: &str) -> VoiceTarget<PeerKey> {
    VoiceTarget::Group(name.into())
}

fn kinds(events: &[NetworkEvent<PeerKey>]) -> Vec<Kind> {
    let packets = events.iter().filter_map(|event| match event {
        NetworkEvent::FromLink { packet, .. } => Some(packet),
        _ => None,
    });
    packets.map(|packet| packet::open(packet).unwrap().0.kind).collect()
}

/// A raw end with a link to a guest; the test is at its other end.
fn stranger(room: &mut Room, guest: usize) -> (Endpoint, LinkId<PeerKey>) {
    let end = room.hub.endpoint();
    let generation = room.hub.connect_link(end.key(), room.key(guest));
    let link = LinkId { peer: room.key(guest), generation };
    (end, link)
}

fn poll_all(end: &mut Endpoint) -> Vec<NetworkEvent<PeerKey>> {
    std::iter::from_fn(|| end.poll(Duration::ZERO)).collect()
}

fn send_raw(end: &mut Endpoint, link: LinkId<PeerKey>, how: Reliability, packet: Vec<u8>) {
    let mut to = vec![Destination { client: ClientId(0), link }];
    end.send_to_links(Duration::ZERO, &mut to, how, &packet.into());
    assert!(to.is_empty());
}

/// proves: D-02
#[test]
fn a_packet_of_an_unknown_type_is_counted_and_the_session_goes_on() {
    let mut room = Room::new(2);
    let unknown = Bytes::from_static(&[0x8B, 0xC7, 20, 0, 0, 0, 7, 1, 2, 3]);
    room.with(0, |_, now, net| net.send_to_server(now, Reliability::Reliable, unknown.clone()))
        .unwrap();
    room.feed(1, NetworkEvent::FromServer(unknown));
    room.settle();
    let reason = DecodeError::UnknownKind(20);
    assert_eq!(room.verdicts, [(room.key(0), Verdict::Dropped(DropReason::Malformed(reason)))]);
    assert_eq!(room.guests[1].client.dropped()[&Dropped::Malformed(reason)], 1);
    listen(&mut room, 0, "still here");
    assert!(room.server.table().listens(room.id(0), GroupId::of("still here")));
}

/// proves: D-03
#[test]
fn a_client_discards_what_belongs_to_another_session() {
    let mut room = Room::new(2);
    let gone = RemoveClient { client: room.id(1) };
    room.feed(0, NetworkEvent::FromServer(gone.encode(session(8)).into()));
    assert_eq!(room.guests[0].client.dropped()[&Dropped::WrongSession], 1);
    assert_eq!(room.guests[0].client.others().len(), 1);
    room.feed(0, NetworkEvent::FromServer(gone.encode(session(7)).into()));
    assert_eq!(room.guests[0].client.others().len(), 0);
}

/// proves: D-05, D-06
#[test]
fn a_client_in_a_former_session_is_told_and_joins_the_new_one_by_itself() {
    let mut room = Room::new(2);
    listen(&mut room, 1, "g");
    let equal = packet::error_wrong_session(session(7));
    room.feed(0, NetworkEvent::FromServer(equal.into()));
    assert_eq!(
        room.guests[0].client.phase(),
        Phase::Joined,
        "an equal number is no reason to leave"
    );
    room.server = Server::new(ServerConfig::default(), session(8));
    room.forget();
    for guest in 0..2 {
        let to = Recipient::Group(GroupId::of("g"));
        room.with(guest, |client, _, _| client.send_text(to, "hello?")).unwrap();
    }
    room.settle();
    for guest in 0..2 {
        let view = room.guests[guest].client.view().unwrap();
        assert_eq!(
            (view.session(), room.guests[guest].client.phase()),
            (session(8), Phase::Joined)
        );
        assert!(
            room.guests[guest]
                .events
                .contains(&ClientEvent::Rejoining { session: Some(session(8)) })
        );
        assert_eq!(view.table(), room.server.table());
    }
    assert!(room.server.table().listens(room.id(1), GroupId::of("g")), "groups are restored");
}

/// proves: D-15
#[test]
fn speech_to_a_group_reaches_its_listeners_only_and_never_its_speaker() {
    let mut room = Room::new(4);
    for guest in [0, 1, 3] {
        listen(&mut room, guest, "g");
    }
    open(&mut room, 0, group("g"));
    assert_eq!(speak(&mut room, 0, b"one"), 2);
    room.settle();
    for (guest, expected) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
        assert_eq!(room.heard(guest).len(), expected, "guest {guest}");
    }
}

#[test]
fn a_frame_that_no_packet_of_the_network_holds_is_not_sent() {
    let mut room = Room::new(2);
    let to = room.id(1);
    open(&mut room, 0, VoiceTarget::Client(to));
    let most = room.guests[0].net.limits().unreliable_bytes;
    for (bytes, copies) in [(most - 100, 1), (most - 20, 1), (1275, 1)] {
        room.with(0, |client, now, _| client.send_voice(now, Bytes::from(vec![7; bytes])));
        room.settle();
        assert_eq!(room.heard(1).len(), copies, "after {bytes} bytes");
    }
}

/// proves: D-16, D-22
#[test]
fn private_speech_arrives_without_a_subscription_and_the_server_only_routes() {
    let mut room = Room::new(3);
    let to = room.id(2);
    open(&mut room, 0, VoiceTarget::Client(to));
    assert_eq!(speak(&mut room, 0, b"psst"), 1);
    room.settle();
    assert_eq!((room.heard(1).len(), room.heard(2)), (0, vec![Bytes::from_static(b"psst")]));
    // The server passes a frame to the ids it is given, whatever the frame's own targets say.
    room.forget();
    let frame =
        VoiceHeader { sender: room.id(0), talkspurt: TalkspurtCounter::TwoBit(0), sequence: 7 };
    let mut inside = Vec::new();
    frame.encode_packet(session(7), &[], b"psst", &mut inside);
    let mut relay = Vec::new();
    Relay::encode_packet(
        Kind::ServerRelayUnreliable,
        session(7),
        &[room.id(1)],
        &inside,
        &mut relay,
    );
    room.with(0, |_, now, net| net.send_to_server(now, Reliability::Unreliable, relay.into()))
        .unwrap();
    room.settle();
    assert_eq!(room.verdicts, [(room.key(0), Verdict::Relayed { copies: 1 })]);
}

/// proves: D-27, D-28, D-57
#[test]
fn a_link_is_greeted_once_reliably_and_its_handshake_is_reported_to_the_integration() {
    let mut room = Room::new(2);
    let (mut end, link) = stranger(&mut room, 0);
    room.settle();
    assert_eq!(kinds(&poll_all(&mut end)), [Kind::HandshakeP2P]);
    let claimed = room.id(1);
    let handshake = HandshakeP2P { client: claimed }.encode(session(7));
    let id = LinkId { peer: end.key(), generation: link.generation };
    let told = room.feed(0, NetworkEvent::FromLink { link: id, packet: handshake.clone().into() });
    assert_eq!(told.handshake_p2p, Some(claimed));
    room.feed(0, NetworkEvent::FromLink { link: id, packet: handshake.into() });
    room.tick();
    let answers = kinds(&poll_all(&mut end));
    assert!(!answers.contains(&Kind::HandshakeP2P), "it is not greeted again: {answers:?}");
    assert_eq!(room.guests[0].client.route(Participant::Peer(end.key())), Route::Direct);
    let text = room.feed(
        0,
        NetworkEvent::FromServer(RemoveClient { client: claimed }.encode(session(7)).into()),
    );
    assert_eq!(text.handshake_p2p, None);
}

/// proves: D-29
#[test]
fn every_link_is_greeted_on_every_join_and_rejoin() {
    let mut room = Room::new(1);
    let mut ends = [stranger(&mut room, 0).0, stranger(&mut room, 0).0];
    room.settle();
    let greetings = |ends: &mut [Endpoint; 2]| ends.each_mut().map(|end| kinds(&poll_all(end)));
    assert_eq!(greetings(&mut ends), [[Kind::HandshakeP2P], [Kind::HandshakeP2P]].map(Vec::from));
    room.server = Server::new(ServerConfig::default(), session(8));
    room.hub.cut_server(room.key(0));
    room.connect(0);
    room.settle();
    assert_eq!(room.guests[0].client.view().unwrap().session(), session(8));
    assert_eq!(greetings(&mut ends), [[Kind::HandshakeP2P], [Kind::HandshakeP2P]].map(Vec::from));
}

/// proves: D-30, D-31
#[test]
fn each_destination_gets_one_copy_over_its_link_or_through_the_relay() {
    let mut room = Room::new(3);
    room.hub.connect_link(room.key(0), room.key(1));
    room.settle();
    room.run(Duration::from_millis(300));
    let ids = [room.id(1), room.id(2)];
    for guest in [1, 2] {
        listen(&mut room, guest, "g");
    }
    open(&mut room, 0, group("g"));
    room.forget();
    assert_eq!(speak(&mut room, 0, b"frame"), 2);
    let extension = Bytes::from(
        [&[0x8B, 0xC7, 60, 0, 0, 0, 7][..], &room.id(0).0.to_be_bytes(), b"data"].concat(),
    );
    for how in [Reliability::Reliable, Reliability::Unreliable] {
        room.with(0, |client, _, _| client.send_to_clients(&ids, how, &extension)).unwrap();
    }
    room.settle();
    for guest in [1, 2] {
        assert_eq!(room.heard(guest), [Bytes::from_static(b"frame")]);
        let copies = |event: &&ClientEvent<_>| matches!(event, ClientEvent::Extension { packet, .. } if *packet == extension);
        assert_eq!(room.guests[guest].events.iter().filter(copies).count(), 2);
    }
    let verdicts = room.verdicts.iter().map(|(_, verdict)| *verdict);
    // What else the server gets is a probe behind relayed speech.
    let relayed: Vec<_> = verdicts.filter(|verdict| *verdict != Verdict::Applied).collect();
    assert_eq!(
        relayed,
        [Verdict::Relayed { copies: 1 }; 3],
        "only the one without a link is served by the relay"
    );
}

/// proves: D-34, D-35
#[test]
fn with_a_link_up_text_and_state_still_go_through_the_server() {
    let mut room = Room::new(2);
    let (mut end, link) = stranger(&mut room, 0);
    send_raw(
        &mut end,
        link,
        Reliability::Reliable,
        HandshakeP2P { client: room.id(1) }.encode(session(7)),
    );
    room.settle();
    room.forget();
    listen(&mut room, 1, "g");
    listen(&mut room, 0, "g");
    let to = Recipient::Client(room.id(1));
    room.with(0, |client, _, _| client.send_text(to, "hi")).unwrap();
    let to = Recipient::Group(GroupId::of("g"));
    room.with(0, |client, _, _| client.send_text(to, "all")).unwrap();
    room.settle();
    assert_eq!((room.read(0).len(), room.read(1)), (0, vec!["hi".to_owned(), "all".to_owned()]));
    for event in poll_all(&mut end) {
        if let NetworkEvent::FromLink { packet, .. } = event {
            let is_handshake = packet::open(&packet).unwrap().0.kind == Kind::HandshakeP2P;
            assert!(
                is_handshake || Routing::read(&packet).is_ok(),
                "only what names its sender goes direct"
            );
        }
    }
}

/// proves: D-39, D-44
#[test]
fn a_client_that_left_or_a_server_that_stopped_can_begin_again() {
    let mut room = Room::new(2);
    listen(&mut room, 0, "g");
    room.with(0, |client, now, net| {
        net.disconnect(now);
        client.leave();
    });
    room.settle();
    assert_eq!(room.guests[0].client.phase(), Phase::Offline);
    assert!(room.guests[0].client.view().is_none() && room.guests[0].client.routes().count() == 0);
    assert_eq!(room.guests[1].client.others().len(), 0);
    room.connect(0);
    room.settle();
    assert!(
        room.server.table().listens(room.id(0), GroupId::of("g")),
        "what it listened to stays for the next time"
    );

    let now = room.now;
    room.host.stop_hosting(now);
    room.settle();
    assert!(room.guests.iter().all(|guest| guest.client.phase() == Phase::Offline));
    room.host.host(now, ServerParameters { address: ADDRESS.into() }).unwrap();
    room.server = Server::new(ServerConfig::default(), session(8));
    (0..2).for_each(|guest| room.connect(guest));
    room.settle();
    assert!(
        room.guests.iter().all(|guest| guest.client.view().unwrap().table() == room.server.table())
    );
}

/// proves: D-41
#[test]
fn packets_outside_of_a_session_go_nowhere() {
    let mut room = Room::new(2);
    let peer = room.key(1);
    room.with(0, |client, now, net| {
        net.disconnect(now);
        client.leave();
    });
    room.forget();
    let remove = RemoveClient { client: room.id(1) }.encode(session(7));
    let link = LinkId { peer, generation: 1 };
    for kind in 0..=64 {
        let mut packet = remove.clone();
        packet[2] = kind;
        room.feed(0, NetworkEvent::FromServer(packet.clone().into()));
        room.feed(0, NetworkEvent::FromLink { link, packet: packet.into() });
    }
    room.settle();
    assert_eq!(room.guests[0].events, [ClientEvent::SessionEnded(DisconnectReason::Requested)]);
    assert_eq!(room.guests[0].client.phase(), Phase::Offline);
    assert!(room.verdicts.is_empty(), "nothing was answered");
}

/// proves: D-43
#[test]
fn no_handshake_is_sent_before_a_slow_connect_is_there() {
    let mut room = Room::new(0);
    room.hub.hold_connects(true);
    let slow = room.add_guest();
    room.run(Duration::from_secs(30));
    assert_eq!((room.guests[slow].client.phase(), room.verdicts.len()), (Phase::Offline, 0));
    assert!(room.hub.complete_connect(room.key(slow)));
    room.settle();
    assert_eq!(room.guests[slow].client.phase(), Phase::Joined);
}

/// proves: D-49
#[test]
fn a_loss_on_the_reliable_path_ends_the_session_at_once_and_says_so() {
    let mut room = Room::new(2);
    assert!(room.hub.break_reliability(room.key(0)));
    room.tick();
    assert_eq!(room.guests[0].client.phase(), Phase::Offline);
    assert_eq!(
        room.guests[0].events[0],
        ClientEvent::SessionEnded(DisconnectReason::ReliabilityBroken)
    );
    room.settle();
    assert_eq!(room.guests[1].client.others().len(), 0);
}
