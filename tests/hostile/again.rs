//! Peers that come again and again on other connections.

use tokio::io::AsyncReadExt as _;
use voicemesh_tests::room::Server;
use voicemesh_wire::packet::{Kind, Recipient, TextData};
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, Join, ServerMessage};

use crate::client::{Client, Member, Received, is_kind, join_of, patiently, run};
use crate::memory::Watch;

/// Questions on the first connection, nearly all that may be asked at once.
const ASKED_FIRST: u32 = 180;
/// Questions on the one that takes over.
const ASKED_AGAIN: u32 = 100;

/// proves: D-24
#[test]
fn another_connection_of_the_same_peer_has_no_more_to_spend() {
    let server = Server::start(&[]);
    let watch = Watch::start("a takeover by who has asked much", &server);
    run(async {
        let mut witness = Member::join(&server, "again", "witness").await;
        let mut first = Member::join(&server, "again", "hostile").await;
        for _ in 0..ASKED_FIRST {
            first.client.handled(1).await;
        }
        let mut second = Member::join(&server, "again", "hostile").await;
        assert!(second.joined.taken_over.is_some());
        for token in 0..ASKED_AGAIN {
            second.client.say(&ClientMessage::Ping { token: 1_000 + token }).await;
        }
        // What follows the questions to the witness and back shows that they have been handled.
        let mark = Kind::Unassigned(50);
        let there = second.relay(Kind::ServerRelayReliable, &[witness.joined.client], &second.inner(mark, 20));
        second.client.packet(&there).await;
        witness.client.until("the mark", |received| is_kind(received, mark)).await;
        let back = witness.relay(Kind::ServerRelayReliable, &[second.joined.client], &witness.inner(mark, 20));
        witness.client.packet(&back).await;
        let mut answered = 0;
        loop {
            let received = second.client.next().await;
            match received {
                Received::Message(ServerMessage::Pong { token }) if token >= 1_000 => answered += 1,
                Received::Packet(_) if is_kind(&received, mark).is_some() => break,
                Received::Closed(_) | Received::Cut => panic!("it has ended"),
                _ => {}
            }
        }
        println!("{answered} of {ASKED_AGAIN} questions answered");
        assert!(answered < ASKED_AGAIN, "{answered}");
    });
    watch.held();
}

/// Connections of the hostile member, one after the other, and packets of each.
const CONNECTIONS: usize = 30;
const PACKETS: usize = 700;

/// A receiver that is behind still takes something of each other member, when one member comes on connection after
/// connection.
#[test]
fn many_connections_of_one_member_are_one_sender() {
    let server = Server::start(&[]);
    let watch = Watch::start("many connections of one sender", &server);
    run(async {
        let mut friend = Member::join(&server, "share", "friend").await;
        let slow = Member::enter(Client::connect_narrow(&server).await, join_of("share", "slow")).await;
        let to = slow.joined.client;
        let mut former = Vec::new();
        for number in 0..CONNECTIONS {
            let mut hostile = Member::enter(Client::connect(&server).await, join_of("share", "hostile")).await;
            let inside = hostile.inner(Kind::Unassigned(50), 200);
            let packet = hostile.relay(Kind::ServerRelayReliable, &[to], &inside);
            for _ in 0..if number == 0 { PACKETS } else { PACKETS / 12 } {
                hostile.client.packet(&packet).await;
            }
            hostile.client.handled(5).await;
            former.push(hostile);
        }
        let text = "x".repeat(300);
        let recipient = Recipient::Client(to);
        let packet = TextData { sender: friend.joined.client, recipient, text: &text }.encode(friend.session);
        friend.client.packet(&packet).await;
        friend.client.say(&ClientMessage::Ping { token: 9 }).await;
        let refused = friend.client.until("an answer", |received| match received {
            Received::Message(ServerMessage::Error { code: ErrorCode::ReceiverBusy, .. }) => Some(true),
            Received::Message(ServerMessage::Pong { token: 9 }) => Some(false),
            _ => None,
        });
        assert!(!refused.await, "the friend's text is taken");
        drop(slow);
    });
    let held = watch.held();
    assert!(held.growth() < 6 * 1024, "{held}");
}

/// Members of the room, all slow.
const MEMBERS: usize = 40;
/// Those of them that are brought up to date: after each of them enough others come.
const BEHIND: usize = 32;
/// Bytes of metadata of each, so that a roster is some 80 kB.
const METADATA_BYTES: usize = 2_000;

/// Of the state of a room, at most one part waits for each member that is behind.
///
/// proves: D-24
#[test]
fn the_state_of_a_room_waits_for_no_slow_member_as_a_whole() {
    let server = Server::start(&[]);
    let watch = Watch::start("snapshots of slow members", &server);
    run(async {
        let mut members = Vec::new();
        for number in 0..MEMBERS {
            let name = format!("slow {number}");
            let metadata = [("k".to_owned(), "x".repeat(METADATA_BYTES))].into();
            let client = Client::connect_narrow(&server).await;
            let mut member = Member::enter(client, Join { metadata, ..join_of("state", &name) }).await;
            let groups: Vec<String> = (0..60).map(|group| format!("{number}.{group}.{}", "x".repeat(240))).collect();
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            member.listen(&groups).await;
            members.push(member);
        }
        // Each reads the beginning of the roster that comes in place of what it has missed, and no more.
        for member in members.iter_mut().take(BEHIND) {
            let (mut seen, mut bytes) = (Vec::new(), [0; 1024]);
            while !seen.windows(ROSTER.len()).any(|window| window == ROSTER) {
                let read = member.client.socket.reader.read(&mut bytes);
                let read = patiently("a roster", read).await.expect("the connection stays");
                assert!(read > 0, "the connection has ended");
                // What was read before may hold the beginning of what is looked for.
                seen.drain(..seen.len().saturating_sub(ROSTER.len()));
                seen.extend_from_slice(&bytes[..read]);
            }
        }
        members.last_mut().expect("a member").client.handled(6).await;
    });
    let held = watch.held();
    assert!(held.growth() < 16 * 1024, "{held}");
}

/// How a roster begins; a mark begins otherwise.
const ROSTER: &[u8] = br#"{"type":"roster","#;
