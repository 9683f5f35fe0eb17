//! Invalid input: that connection gets a typed error, and no other notices.

use std::time::Duration;

use crate::common::{Person, Received, Server, join_of, request, within};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use voicemesh_signaling::{Budgets, Config, Rate};
use voicemesh_wire::limits::{BINARY_MESSAGE_BYTES, JSON_MESSAGE_BYTES, RELIABLE_PACKET_BYTES};
use voicemesh_wire::packet::{Kind, Probe, Relay};
use voicemesh_wire::signaling::{
    ClientMessage, ErrorCode, LeaveReason, PROTOCOL_VERSION, ServerMessage,
};

/// A server, a well-behaved client in a room, and a second client in the same room.
async fn two() -> (Server, Person, Person) {
    let server = Server::start().await;
    let (mut good, _) = Person::join(&server, "lobby", "good").await;
    let (bad, _) = Person::join(&server, "lobby", "bad").await;
    good.expect_joined().await;
    (server, good, bad)
}

#[tokio::test]
async fn nonsense_is_answered_with_what_is_wrong_and_the_connection_goes_on() {
    let (_server, mut good, mut bad) = two().await;
    let join = ClientMessage::Join(join_of("lobby", "bad")).to_json();
    for (text, code) in [
        ("{", ErrorCode::BadJson),
        ("\u{0}", ErrorCode::BadJson),
        (r#"{"type":"dance"}"#, ErrorCode::UnknownType),
        (r#"{"type":"signal"}"#, ErrorCode::BadField),
        (&join, ErrorCode::AlreadyJoined),
    ] {
        bad.send(Message::text(text)).await;
        assert_eq!(bad.expect_error().await, (code, false), "{text}");
    }
    bad.send(Message::binary(b"\x8B\xC7 nonsense".to_vec())).await;
    bad.send(Message::binary(Vec::new())).await;
    assert_eq!(bad.expect_answer().await.len(), 2);
    assert_eq!(good.expect_answer().await.len(), 2);
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_that_connection_with_a_reason() {
    let packet = |bytes| Message::binary(vec![0; bytes]);
    let text = |bytes| Message::text(" ".repeat(bytes));
    for message in [
        packet(BINARY_MESSAGE_BYTES + 1),
        packet(4 * 1024 * 1024),
        text(JSON_MESSAGE_BYTES + 1),
        text(4 * 1024 * 1024),
    ] {
        let bytes = message.len();
        let (_server, mut good, mut bad) = two().await;
        // All of it is sent before the answer is looked at: closing over unread bytes would have
        // destroyed the answer.
        bad.send(message).await;
        assert_eq!(bad.expect_error().await, (ErrorCode::TooLarge, true), "{bytes}");
        assert_eq!(bad.expect_end().await, Some(CloseCode::Size), "{bytes}");
        assert_eq!(good.expect_left().await.1, LeaveReason::Kicked, "{bytes}");
        assert_eq!(good.expect_answer().await.len(), 1);
    }
}

#[tokio::test]
async fn the_largest_frames_that_are_allowed_are_taken() {
    let (_server, mut good, mut bad) = two().await;
    let mut padded = r#"{"type":"roster"}"#.to_owned();
    padded.extend(std::iter::repeat_n(' ', JSON_MESSAGE_BYTES - padded.len()));
    bad.send(Message::text(padded)).await;
    bad.expect("roster", |message| matches!(message, ServerMessage::Roster { .. }).then_some(()))
        .await;
    bad.send(Message::binary(vec![0; BINARY_MESSAGE_BYTES])).await;
    assert_eq!(bad.expect_answer().await.len(), 2);
    assert_eq!(good.expect_answer().await.len(), 2);
}

#[tokio::test]
async fn who_speaks_before_joining_is_refused() {
    let server = Server::start().await;
    for message in [Message::text(r#"{"type":"roster"}"#), Message::binary(vec![0x8B, 0xC7, 4])] {
        let mut bad = Person::connect(&server).await;
        bad.send(message).await;
        assert_eq!(bad.expect_error().await, (ErrorCode::NotJoined, true));
        assert_eq!(bad.expect_end().await, Some(CloseCode::Policy));
    }
}

#[tokio::test]
async fn another_protocol_version_is_told_ours() {
    let server = Server::start().await;
    let mut bad = Person::connect(&server).await;
    let mut join = join_of("lobby", "bad");
    join.protocol = PROTOCOL_VERSION + 1;
    bad.say(&ClientMessage::Join(join)).await;
    assert_eq!(bad.expect_error().await, (ErrorCode::UnsupportedProtocol, true));
}

#[tokio::test]
async fn who_does_not_join_is_told_so_and_sent_away() {
    let server =
        Server::with(Config { join_timeout: Duration::from_millis(300), ..Config::default() })
            .await;
    let (mut good, _) = Person::join(&server, "lobby", "good").await;
    let mut bad = Person::connect(&server).await;
    assert_eq!(bad.expect_error().await, (ErrorCode::JoinTimeout, true));
    assert_eq!(server.metric("voicemesh_refusals_by_code_total{code=\"join-timeout\"}").await, 1);
    assert_eq!(bad.expect_end().await, Some(CloseCode::Policy));
    assert_eq!(good.expect_answer().await.len(), 1);
}

#[tokio::test]
async fn a_flood_of_messages_is_told_so_and_then_ended_while_others_are_served() {
    let (_server, mut good, mut bad) = two().await;
    let flood = tokio::spawn(async move {
        let mut codes = Vec::new();
        for _ in 0..2_000 {
            let text = Message::text(r#"{"type":"roster"}"#);
            if futures_util::SinkExt::send(&mut bad.socket, text).await.is_err() {
                break;
            }
        }
        loop {
            match bad.next().await {
                Received::Message(ServerMessage::Error { code, fatal, .. }) => {
                    codes.push((code, fatal))
                }
                Received::Message(_) | Received::Packet(_) => {}
                Received::Closed(_) | Received::Cut => return codes,
            }
        }
    });
    assert_eq!(good.expect_answer().await.len(), 2);
    let codes = within("the end of the flood", flood).await.expect("it does not panic");
    assert_eq!(codes.first(), Some(&(ErrorCode::TooManyMessages, false)), "said first");
    assert_eq!(codes.last(), Some(&(ErrorCode::TooManyMessages, true)), "then ended");
    assert!(codes.len() < 10, "not said each time: {}", codes.len());
    assert_eq!(good.expect_left().await.1, LeaveReason::Kicked);
    assert_eq!(good.expect_answer().await.len(), 1);
}

#[tokio::test]
async fn a_flood_of_relayed_bytes_is_ended_and_disturbs_no_other() {
    let server = Server::start().await;
    let (mut good, joined_good) = Person::join(&server, "lobby", "good").await;
    good.take_part(&joined_good).await;
    let (mut bad, joined_bad) = Person::join(&server, "lobby", "bad").await;
    let session = bad.take_part(&joined_bad).await;
    good.expect_joined().await;
    let mut inside = Probe { sender: joined_bad.client, token: 0 }.encode(session);
    inside[2] = Kind::Unassigned(50).number();
    inside.resize(1_200, 0);
    let mut packet = Vec::new();
    // No client has these ids; each id that is listed counts towards the budget.
    let to: Vec<_> = (1_000..1_255).map(voicemesh_wire::ClientId).collect();
    Relay::encode_packet(Kind::ServerRelayUnreliable, session, &to, &inside, &mut packet);
    let flood = tokio::spawn(async move {
        loop {
            let sent =
                futures_util::SinkExt::send(&mut bad.socket, Message::binary(packet.clone())).await;
            if sent.is_err() {
                return bad.expect_end().await;
            }
        }
    });
    assert_eq!(good.expect_left().await, (joined_bad.you, LeaveReason::Kicked));
    flood.abort();
    assert_eq!(good.expect_answer().await.len(), 1);
}

/// Packets of 16 kB: within the 512 kB that pass from one member to another at once, and more than
/// waits for a receiver.
const PACKETS: u32 = 30;

/// proves: D-24
#[tokio::test]
async fn a_receiver_that_does_not_read_is_lost_and_the_others_get_everything() {
    let server = Server::start().await;
    let (mut sender, joined_sender) = Person::join(&server, "lobby", "sender").await;
    let session = sender.take_part(&joined_sender).await;
    let mut slow = Person::connect_narrow(&server).await;
    let joined_slow = slow.enter(join_of("lobby", "slow")).await;
    slow.take_part(&joined_slow).await;
    let (mut good, joined_good) = Person::join(&server, "lobby", "good").await;
    good.take_part(&joined_good).await;
    slow.expect_answer().await;

    // From here on `slow` reads nothing, and is sent packets until no more of them wait for it.
    let to = [joined_slow.client, joined_good.client];
    let mut inside = Probe { sender: joined_sender.client, token: 0 }.encode(session);
    inside[2] = Kind::Unassigned(50).number();
    inside.resize(RELIABLE_PACKET_BYTES - 100, 0);
    let (arrive, mut arrived) = tokio::sync::mpsc::channel(PACKETS as usize);
    let left = tokio::spawn(async move {
        loop {
            match good.next().await {
                Received::Packet(packet) if packet[2] == Kind::Unassigned(50).number() => {
                    arrive.send(()).await.expect("the sender waits for it");
                }
                Received::Message(ServerMessage::PeerLeft { peer, reason }) => {
                    return (peer, reason, good);
                }
                Received::Message(_) | Received::Packet(_) => {}
                ended => panic!("{ended:?}"),
            }
        }
    });
    let mut sent = 0;
    loop {
        sent += 1;
        assert!(sent <= PACKETS, "nothing to the receiver is refused");
        sender.relay(session, Kind::ServerRelayReliable, &to, &inside).await;
        arrived.recv().await.expect("the other receiver gets each");
        sender.say(&ClientMessage::Ping { token: sent }).await;
        let is_busy = loop {
            match sender.next().await {
                Received::Message(ServerMessage::Error {
                    code: ErrorCode::ReceiverBusy, ..
                }) => break true,
                Received::Message(ServerMessage::Pong { token }) if token == sent => break false,
                Received::Message(_) | Received::Packet(_) => {}
                ended => panic!("{ended:?}"),
            }
        };
        if is_busy {
            break;
        }
    }
    let (peer, reason, mut good) = left.await.expect("it does not panic");
    assert_eq!((peer, reason), (joined_slow.you, LeaveReason::Lost));
    assert_eq!(server.metric("voicemesh_slow_consumers_total").await, 1);
    sender.relay(session, Kind::ServerRelayReliable, &to, &inside).await;
    good.expect_packet(Kind::Unassigned(50)).await;
    drop(slow);
}

#[tokio::test]
async fn a_full_server_says_so() {
    let server = Server::with(Config { max_connections: 1, ..Config::default() }).await;
    let (mut good, _) = Person::join(&server, "lobby", "good").await;
    let mut late = Person::connect(&server).await;
    assert_eq!(late.expect_error().await, (ErrorCode::ServerFull, true));
    assert_eq!(late.expect_end().await, Some(CloseCode::Policy));
    good.expect_answer().await;
}

#[tokio::test]
async fn a_server_full_of_rooms_refuses_one_more_but_forgets_empty_ones() {
    let server = Server::with(Config { max_rooms: 1, ..Config::default() }).await;
    let (mut ana, _) = Person::join(&server, "one", "ana").await;
    let mut bo = Person::connect(&server).await;
    bo.say(&ClientMessage::Join(join_of("two", "bo"))).await;
    assert_eq!(bo.expect_error().await, (ErrorCode::ServerFull, true));
    ana.say(&ClientMessage::Leave).await;
    ana.expect_end().await;
    drop(ana);
    Person::join(&server, "two", "bo").await;
}

/// Connected through a proxy, from this address.
async fn from(server: &Server, address: &str) -> Person {
    let mut request = request(server.address);
    request.headers_mut().insert("x-forwarded-for", address.parse().expect("a header"));
    Person::try_connect(server, request).await.expect("the server takes connections")
}

#[tokio::test]
async fn an_address_that_makes_many_rooms_pushes_out_its_own_empty_ones() {
    const ROOMS: usize = 8;
    let config = Config {
        trusted_proxies: vec!["127.0.0.1".parse().expect("an address")],
        owner_after: std::time::Duration::ZERO,
        max_rooms: ROOMS,
        ..Config::default()
    };
    let server = Server::with(config).await;
    // The room counts for the address of who came last into it while it was empty.
    let mut earlier = from(&server, "192.0.2.2").await;
    earlier.enter(join_of("reserved", "earlier")).await;
    earlier.say(&ClientMessage::Leave).await;
    earlier.expect_end().await;
    // The owner is lost, and the room waits for it, empty for longer than all others.
    let mut owner = from(&server, "192.0.2.1").await;
    assert!(owner.enter(join_of("reserved", "owner")).await.permissions.moderate);
    drop(owner);
    for (number, address) in ["192.0.2.2", "192.0.2.3"].iter().cycle().take(4 * ROOMS).enumerate() {
        let mut maker = from(&server, address).await;
        maker.enter(join_of(&format!("room {number}"), "maker")).await;
        drop(maker);
    }
    let mut stranger = from(&server, "192.0.2.4").await;
    let joined = stranger.enter(join_of("reserved", "stranger")).await;
    assert!(!joined.permissions.moderate, "the room was kept for its owner");
}

#[tokio::test]
async fn joins_of_one_address_are_limited_and_other_addresses_are_not() {
    let three = Rate { burst: 3.0, per_second: 0.0 };
    let config = Config {
        trusted_proxies: vec!["127.0.0.1".parse().expect("an address")],
        budgets: Budgets { address_joins: three, ..Budgets::default() },
        ..Config::default()
    };
    let server = Server::with(config).await;
    for number in 0..3 {
        let mut person = from(&server, "2001:db8::1").await;
        person.enter(join_of("lobby", &format!("p{number}"))).await;
    }
    let mut fourth = from(&server, "2001:db8::ffff").await;
    fourth.say(&ClientMessage::Join(join_of("lobby", "p4"))).await;
    assert_eq!(fourth.expect_error().await, (ErrorCode::TooManyJoins, true));
    let mut other = from(&server, "2001:db8:0:1::1").await;
    other.enter(join_of("lobby", "other")).await;
}

#[tokio::test]
async fn a_page_of_another_host_may_not_connect() {
    let server = Server::start().await;
    let with_origin = |origin: &str| {
        let mut request = request(server.address);
        request.headers_mut().insert("origin", origin.parse().expect("a header"));
        request
    };
    let refused = Person::try_connect(&server, with_origin("https://evil.example")).await;
    assert!(
        matches!(refused, Err(tokio_tungstenite::tungstenite::Error::Http(response)) if response.status() == 403)
    );
    let own = format!("http://{}", server.address);
    assert!(Person::try_connect(&server, with_origin(&own)).await.is_ok());
}
