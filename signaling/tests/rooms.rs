//! Peers in rooms: who meets whom, who receives what, what the relay passes on.

use std::collections::BTreeSet;

use crate::common::{Person, Received, Server, join_of};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use voicemesh_wire::packet::{HandshakeP2P, Kind, Probe};
use voicemesh_wire::signaling::{
    Capabilities, ClientMessage, ErrorCode, Join, LeaveReason, Presence, ServerMessage, Signal,
};
use voicemesh_wire::{ClientId, SessionId};

/// proves: U-02, U-21
#[tokio::test]
async fn the_same_name_meets_and_other_names_never_do() {
    let server = Server::start().await;
    let long = "é".repeat(128);
    // As the first types it, and as the second does.
    let rooms = [
        ("lobby", " Lobby\t"),
        ("lobby 2", "LOBBY 2"),
        ("Caf\u{e9}", "cafe\u{301}"),
        ("ロビー🎙", "ロ\u{200b}ビー🎙"),
        (long.as_str(), long.as_str()),
        ("../etc", "../ETC"),
    ];
    let mut sessions = BTreeSet::new();
    let mut everyone = Vec::new();
    for (room, spelling) in rooms {
        let (mut first, joined) = Person::join(&server, room, "first").await;
        assert!(joined.peers.is_empty(), "{room:?}: {joined:?}");
        assert_eq!(joined.room, room);
        let (second, met) = Person::join(&server, spelling, "second").await;
        assert_eq!(met.peers.len(), 1, "{room:?}");
        assert_eq!(met.session, joined.session);
        assert_eq!(first.expect_joined().await.peer, met.you);
        sessions.insert(joined.session);
        everyone.push((first, second));
    }
    assert_eq!(sessions.len(), rooms.len(), "every room has a separate session");
    for (first, second) in &mut everyone {
        assert_eq!(first.expect_answer().await.len(), 2);
        assert_eq!(second.expect_answer().await.len(), 2);
    }
}

/// proves: U-02
#[tokio::test]
async fn a_rooms_name_of_257_bytes_is_refused() {
    let server = Server::start().await;
    let mut person = Person::connect(&server).await;
    person.say(&ClientMessage::Join(join_of(&"r".repeat(257), "ana"))).await;
    assert_eq!(person.expect_error().await, (ErrorCode::BadRoom, true));
}

/// proves: U-05, U-06
#[tokio::test]
async fn everyone_is_told_of_the_joiner_and_of_the_leaver() {
    let server = Server::start().await;
    let (mut ana, joined_ana) = Person::join(&server, "lobby", "ana").await;
    let (mut bo, joined_bo) = Person::join(&server, "lobby", "bo").await;
    let (mut cy, joined_cy) = Person::join(&server, "lobby", "cy").await;
    let names: Vec<&str> = joined_cy.peers.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(names, ["ana", "bo"], "in order of arrival");
    assert_eq!(ana.expect_joined().await.peer, joined_bo.you);
    assert_eq!(ana.expect_joined().await.peer, joined_cy.you);
    assert_eq!(bo.expect_joined().await.peer, joined_cy.you);

    bo.say(&ClientMessage::Leave).await;
    assert_eq!(bo.expect_end().await, Some(CloseCode::Normal));
    assert_eq!(ana.expect_left().await, (joined_bo.you, LeaveReason::Left));
    assert_eq!(cy.expect_left().await, (joined_bo.you, LeaveReason::Left));

    drop(cy);
    assert_eq!(ana.expect_left().await, (joined_cy.you, LeaveReason::Lost));
    assert_eq!(
        ana.expect_answer().await.iter().map(|peer| peer.peer).collect::<Vec<_>>(),
        [joined_ana.you]
    );
}

#[tokio::test]
async fn a_page_that_is_closed_has_left_but_a_bare_close_is_a_loss() {
    let server = Server::start().await;
    let (mut ana, _) = Person::join(&server, "lobby", "ana").await;
    for (code, reason) in [(Some(CloseCode::Away), LeaveReason::Left), (None, LeaveReason::Lost)] {
        let (mut bo, _) = Person::join(&server, "lobby", "bo").await;
        ana.expect_joined().await;
        let frame = code.map(|code| CloseFrame { code, reason: "".into() });
        bo.send(Message::Close(frame)).await;
        assert_eq!(ana.expect_left().await.1, reason);
    }
}

/// proves: S-01
#[tokio::test]
async fn a_peer_that_comes_back_is_the_same_even_at_another_server() {
    let server = Server::start().await;
    let (mut ana, _) = Person::join(&server, "lobby", "ana").await;
    let (bo, first) = Person::join(&server, "lobby", "bo").await;
    drop(bo);
    ana.expect_joined().await;
    ana.expect_left().await;
    let (_bo, again) = Person::join(&server, "lobby", "bo").await;
    assert_eq!((again.you, again.client, again.session), (first.you, first.client, first.session));

    let restarted = Server::start().await;
    let (_bo, after) = Person::join(&restarted, "lobby", "bo").await;
    assert_eq!(after.you, first.you);
}

#[tokio::test]
async fn another_run_replaces_the_first_which_is_told_so() {
    let server = Server::start().await;
    let (mut ana, _) = Person::join(&server, "lobby", "ana").await;
    let (mut old, first) = Person::join(&server, "lobby", "bo").await;
    ana.expect_joined().await;
    let mut new = Person::connect(&server).await;
    let second = new.enter(Join { run: 2, ..join_of("lobby", "bo") }).await;
    assert_eq!((second.you, second.client), (first.you, first.client));
    old.expect("replaced", |message| (message == ServerMessage::Replaced).then_some(())).await;
    old.expect_end().await;
    assert_eq!(ana.expect_left().await, (first.you, LeaveReason::Replaced));
    assert_eq!(ana.expect_joined().await.peer, first.you);
    drop(old);
    assert_eq!(new.expect_answer().await.len(), 2);
}

#[tokio::test]
async fn a_second_connection_of_the_same_run_takes_over_in_silence() {
    let server = Server::start().await;
    let (mut ana, met) = Person::join(&server, "lobby", "ana").await;
    let session = ana.take_part(&met).await;
    let (mut old, first) = Person::join(&server, "lobby", "bo").await;
    old.take_part(&first).await;
    ana.expect_joined().await;
    let mut new = Person::connect(&server).await;
    let second = new.enter(join_of("lobby", "bo")).await;
    assert_eq!((second.you, second.client, second.order), (first.you, first.client, first.order));
    assert!(second.taken_over.is_some());
    new.take_part(&second).await;
    // Anything else that she was sent before the answer would fail this.
    ana.say(&ClientMessage::Ping { token: 5 }).await;
    ana.expect("pong", |message| (message == ServerMessage::Pong { token: 5 }).then_some(())).await;

    // Speech to it takes the new connection, and what it still says on the old one is passed on.
    let to_bo = [second.client];
    let voice = |client: ClientId| {
        let mut packet = Vec::new();
        let talkspurt = voicemesh_wire::packet::TalkspurtCounter::TwoBit(0);
        voicemesh_wire::packet::VoiceHeader { sender: client, talkspurt, sequence: 1 }
            .encode_packet(session, &[], &[7], &mut packet);
        packet
    };
    ana.relay(session, Kind::ServerRelayUnreliable, &to_bo, &voice(met.client)).await;
    new.expect_packet(Kind::VoiceData).await;
    old.relay(session, Kind::ServerRelayUnreliable, &[met.client], &voice(first.client)).await;
    ana.expect_packet(Kind::VoiceData).await;

    let ended = old.expect_end().await;
    assert_eq!(ended, Some(CloseCode::from(voicemesh_wire::signaling::CLOSE_TAKEN_OVER)));
    drop(old);
    ana.say(&ClientMessage::Ping { token: 6 }).await;
    ana.expect("pong", |message| (message == ServerMessage::Pong { token: 6 }).then_some(())).await;
    assert_eq!(ana.expect_answer().await.len(), 2);
}

/// proves: U-04
#[tokio::test]
async fn an_empty_room_can_be_refused_and_is_not_made() {
    let server = Server::start().await;
    let mut ana = Person::connect(&server).await;
    ana.say(&ClientMessage::Join(Join {
        presence: Presence::MustExist,
        ..join_of("lobby", "ana")
    }))
    .await;
    assert_eq!(ana.expect_error().await, (ErrorCode::RoomMissing, true));
    assert_eq!(server.metric("voicemesh_rooms").await, 0);
}

#[tokio::test]
async fn signals_go_to_one_peer_and_come_from_their_true_sender() {
    let server = Server::start().await;
    let (mut ana, joined_ana) = Person::join(&server, "lobby", "ana").await;
    let (mut bo, joined_bo) = Person::join(&server, "lobby", "bo").await;
    ana.expect_joined().await;
    let signal = Signal::Offer { sdp: "v=0\r\n".to_owned() };
    ana.say(&ClientMessage::Signal { to: joined_bo.you, attempt: 3, signal: signal.clone() }).await;
    let expected = ServerMessage::Signal { from: joined_ana.you, attempt: 3, signal };
    bo.expect("the offer", |message| (message == expected).then_some(())).await;
}

/// proves: S-14
#[tokio::test]
async fn no_signal_reaches_a_peer_that_hides_its_address() {
    let server = Server::start().await;
    let (mut ana, _) = Person::join(&server, "lobby", "ana").await;
    let mut bo = Person::connect(&server).await;
    let hidden = Capabilities { relay_only: true, ..Capabilities::default() };
    let joined = bo.enter(Join { capabilities: hidden.clone(), ..join_of("lobby", "bo") }).await;
    assert_eq!(ana.expect_joined().await.capabilities, hidden);
    let candidate = "candidate:1 1 udp 1 192.0.2.1 9 typ host".to_owned();
    let signal = Signal::Candidate { candidate, sdp_mid: None, sdp_m_line_index: None };
    ana.say(&ClientMessage::Signal { to: joined.you, attempt: 1, signal }).await;
    assert_eq!(ana.expect_error().await, (ErrorCode::RelayOnly, false));
    bo.expect_answer().await;
}

const UNASSIGNED: Kind = Kind::Unassigned(50);

/// A packet of a type that has no meaning yet, so that it is passed on.
fn unassigned(session: SessionId, sender: ClientId, token: u32) -> Vec<u8> {
    let mut packet = Probe { sender, token }.encode(session);
    packet[2] = UNASSIGNED.number();
    packet
}

/// proves: D-23, D-26
#[tokio::test]
async fn the_relay_passes_bytes_on_unchanged_and_skips_who_is_not_there() {
    let server = Server::start().await;
    let (mut ana, joined_ana) = Person::join(&server, "lobby", "ana").await;
    let session = ana.take_part(&joined_ana).await;
    let (mut bo, joined_bo) = Person::join(&server, "lobby", "bo").await;
    bo.take_part(&joined_bo).await;
    let (mut cy, joined_cy) = Person::join(&server, "lobby", "cy").await;
    cy.take_part(&joined_cy).await;
    let to =
        [ClientId(999), joined_bo.client, ClientId(0xFFFF), joined_cy.client, joined_bo.client];
    for token in 0..50 {
        let inside = unassigned(session, joined_ana.client, token);
        ana.relay(session, Kind::ServerRelayReliable, &to, &inside).await;
    }
    for token in 0..50 {
        let expected = unassigned(session, joined_ana.client, token);
        assert_eq!(bo.expect_packet(UNASSIGNED).await, expected, "in order, once");
        assert_eq!(cy.expect_packet(UNASSIGNED).await, expected);
    }
}

/// proves: D-25
#[tokio::test]
async fn the_relay_refuses_a_handshake_and_a_forged_sender() {
    let server = Server::start().await;
    let (mut ana, joined_ana) = Person::join(&server, "lobby", "ana").await;
    let session = ana.take_part(&joined_ana).await;
    let (mut bo, joined_bo) = Person::join(&server, "lobby", "bo").await;
    bo.take_part(&joined_bo).await;
    let to = [joined_bo.client];
    let handshake = HandshakeP2P { client: joined_ana.client }.encode(session);
    ana.relay(session, Kind::ServerRelayReliable, &to, &handshake).await;
    ana.relay(session, Kind::ServerRelayUnreliable, &to, &handshake).await;
    ana.relay(session, Kind::ServerRelayReliable, &to, &unassigned(session, joined_bo.client, 1))
        .await;
    let genuine = unassigned(session, joined_ana.client, 2);
    ana.relay(session, Kind::ServerRelayReliable, &to, &genuine).await;
    loop {
        match bo.next().await {
            Received::Packet(packet) if packet[2] == Kind::HandshakeP2P.number() => {
                panic!("a handshake came through")
            }
            Received::Packet(packet) if packet[2] == UNASSIGNED.number() => {
                assert_eq!(packet, genuine);
                break;
            }
            Received::Packet(_) | Received::Message(_) => {}
            ended => panic!("{ended:?}"),
        }
    }
    assert_eq!(server.metric("voicemesh_packets_dropped_total").await, 3);
}

#[tokio::test]
async fn a_handshake_may_come_right_behind_the_join() {
    let server = Server::start().await;
    let mut ana = Person::connect(&server).await;
    let request = voicemesh_wire::packet::HandshakeRequest {
        codec: voicemesh_wire::packet::CodecSettings {
            codec: 1,
            frame_samples: 960,
            sample_rate_hz: 48_000,
        },
        name: "ana".to_owned(),
    };
    ana.say(&ClientMessage::Join(join_of("lobby", "ana"))).await;
    ana.send(Message::binary(request.encode())).await;
    ana.expect_packet(Kind::HandshakeResponse).await;
}
