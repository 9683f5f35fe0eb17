//! Peers that come again and again on other connections.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use voicemesh_tests::room::Server;
use voicemesh_wire::GroupId;
use voicemesh_wire::packet::{Kind, Recipient, TextData};
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, Join, ServerMessage, Signal};

use crate::client::{Client, Member, Received, is_kind, join_of, run};
use crate::memory::{Watch, WatchedServer};

/// Questions on the first connection, nearly all that may be asked at once.
const ASKED_FIRST: u32 = 180;
/// Questions on the one that takes over.
const ASKED_AGAIN: u32 = 100;

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
        let there = second.relay(
            Kind::ServerRelayReliable,
            &[witness.joined.client],
            &second.inner(mark, 20),
        );
        second.client.packet(&there).await;
        witness.client.until("the mark", |received| is_kind(received, mark)).await;
        let back = witness.relay(
            Kind::ServerRelayReliable,
            &[second.joined.client],
            &witness.inner(mark, 20),
        );
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

/// A receiver that is behind still takes something of each other member, when one member comes on
/// connection after connection.
#[test]
fn many_connections_of_one_member_are_one_sender() {
    let server = Server::start(&[]);
    let watch = Watch::start("many connections of one sender", &server);
    run(async {
        let mut friend = Member::join(&server, "share", "friend").await;
        let slow =
            Member::enter(Client::connect_narrow(&server).await, join_of("share", "slow")).await;
        let to = slow.joined.client;
        let mut former = Vec::new();
        for number in 0..CONNECTIONS {
            let mut hostile =
                Member::enter(Client::connect(&server).await, join_of("share", "hostile")).await;
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
        let packet = TextData { sender: friend.joined.client, recipient, text: &text }
            .encode(friend.session);
        friend.client.packet(&packet).await;
        friend.client.say(&ClientMessage::Ping { token: 9 }).await;
        let refused = friend.client.until("an answer", |received| match received {
            Received::Message(ServerMessage::Error { code: ErrorCode::ReceiverBusy, .. }) => {
                Some(true)
            }
            Received::Message(ServerMessage::Pong { token: 9 }) => Some(false),
            _ => None,
        });
        assert!(!refused.await, "the friend's text is taken");
        drop(slow);
    });
    let held = watch.held();
    assert!(held.growth() < 6 * 1024, "{held}");
}

/// Written messages of one client, more than its budget.
const TEXTS: u32 = 260;

/// Texts that are refused because there were too many count as read, but for those at the end: no
/// member has these, and their answers may be lost with the connection. A client that takes over
/// sends those again, and no others.
#[test]
fn refused_texts_count_among_those_that_were_read_but_for_the_last() {
    let server = WatchedServer::start(&[]);
    run(async {
        let _witness = Member::join(&server, "texts", "witness").await;
        let mut first = Member::join(&server, "texts", "writer").await;
        let recipient = Recipient::Group(GroupId::of("Global"));
        let packet = TextData { sender: first.joined.client, recipient, text: "hello" }
            .encode(first.session);
        for _ in 0..TEXTS {
            first.client.packet(&packet).await;
        }
        // A signal is handled behind them, and has a budget that is not used up.
        let to = first.joined.you;
        first
            .client
            .say(&ClientMessage::Signal { to, attempt: 1, signal: Signal::RequestOffer })
            .await;
        let mut refused = BTreeSet::new();
        let answered = first.client.until("an answer", |received| match received {
            Received::Message(ServerMessage::Error {
                code: ErrorCode::TooManyMessages,
                text,
                ..
            }) => {
                refused.extend(*text);
                None
            }
            Received::Message(ServerMessage::Error { code: ErrorCode::UnknownPeer, .. }) => {
                Some(())
            }
            _ => None,
        });
        answered.await;
        let passed_on = (1..=TEXTS).rev().find(|number| !refused.contains(number));
        assert!(!refused.is_empty() && passed_on.is_some(), "some are refused, and some not");
        let mut second = Client::connect(&server).await;
        second.say(&ClientMessage::Join(join_of("texts", "writer"))).await;
        let taken_over = second.until("joined", |received| match received {
            Received::Message(ServerMessage::Joined(joined)) => Some(joined.taken_over.clone()),
            _ => None,
        });
        assert_eq!(taken_over.await.and_then(|taken_over| taken_over.texts), passed_on);
    });
}

/// Peers of one address, those included that have left.
const PEERS: usize = 110;
/// At the same time.
const PEERS_AT_ONCE: usize = 50;

/// A receiver that is behind still takes something of a friend, when an attacker has sent it all
/// that it may under one peer id after the other.
#[test]
fn many_peers_of_one_address_leave_others_their_part_of_a_slow_receiver() {
    let server = Server::start(&["--trusted-proxy", "127.0.0.1"]);
    let watch = Watch::start("many senders of one address", &server);
    run(async {
        let mut friend = Member::enter(
            Client::connect_from(&server, "203.0.113.2").await,
            join_of("address", "friend"),
        )
        .await;
        let slow =
            Member::enter(Client::connect_narrow(&server).await, join_of("address", "slow")).await;
        let to = slow.joined.client;
        let mut here = VecDeque::new();
        let mut refusals = 0;
        for number in 0..PEERS {
            let client = Client::connect_from(&server, "203.0.113.9").await;
            let mut hostile =
                Member::enter(client, join_of("address", &format!("hostile {number}"))).await;
            let inside = hostile.inner(Kind::Unassigned(50), 200);
            let packet = hostile.relay(Kind::ServerRelayReliable, &[to], &inside);
            for _ in 0..if number < 4 { PACKETS } else { 8 } {
                hostile.client.packet(&packet).await;
            }
            hostile.client.say(&ClientMessage::Ping { token: 5 }).await;
            let refused = hostile.client.until("an answer", |received| match received {
                Received::Message(ServerMessage::Error {
                    code: ErrorCode::ReceiverBusy, ..
                }) => Some(true),
                Received::Message(ServerMessage::Pong { token: 5 }) => Some(false),
                _ => None,
            });
            refusals += usize::from(refused.await);
            here.push_back(hostile);
            if here.len() > PEERS_AT_ONCE {
                here.pop_front();
            }
        }
        assert!(refusals > PEERS / 2, "{refusals}: the receiver is behind");
        let text = "x".repeat(300);
        let recipient = Recipient::Client(to);
        let packet = TextData { sender: friend.joined.client, recipient, text: &text }
            .encode(friend.session);
        friend.client.packet(&packet).await;
        friend.client.say(&ClientMessage::Ping { token: 9 }).await;
        let refused = friend.client.until("an answer", |received| match received {
            Received::Message(ServerMessage::Error { code: ErrorCode::ReceiverBusy, .. }) => {
                Some(true)
            }
            Received::Message(ServerMessage::Pong { token: 9 }) => Some(false),
            _ => None,
        });
        assert!(!refused.await, "the friend's text is taken");
        drop(slow);
    });
    watch.held();
}

/// Members of the room, all slow.
const MEMBERS: usize = 40;
/// Those of them that are brought up to date: after each of them enough others come.
const BEHIND: usize = 32;
/// Bytes of metadata of each, so that a roster is some 80 kB.
const METADATA_BYTES: usize = 2_000;

/// Of the state of a room, at most one part waits for each member that is behind.
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
            let mut member =
                Member::enter(client, Join { metadata, ..join_of("state", &name) }).await;
            let groups: Vec<String> =
                (0..60).map(|group| format!("{number}.{group}.{}", "x".repeat(240))).collect();
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            member.listen(&groups).await;
            members.push(member);
        }
        // Each reads the beginning of the roster that comes in place of what it has missed, and no
        // more. Those for whom the system's buffers held everything have missed nothing.
        let mut behind = 0;
        for member in members.iter_mut().take(BEHIND) {
            let (mut seen, mut bytes) = (Vec::new(), [0; 1024]);
            while !seen.windows(ROSTER.len()).any(|window| window == ROSTER) {
                let read = member.client.socket.reader.read(&mut bytes);
                let Ok(read) = tokio::time::timeout(NOTHING_MORE, read).await else {
                    behind -= 1;
                    break;
                };
                let read = read.expect("the connection stays");
                assert!(read > 0, "the connection has ended");
                // What was read before may hold the beginning of what is looked for.
                seen.drain(..seen.len().saturating_sub(ROSTER.len()));
                seen.extend_from_slice(&bytes[..read]);
            }
            behind += 1;
        }
        println!("{behind} of {BEHIND} were behind");
        assert!(behind > 0, "no member was behind");
        members.last_mut().expect("a member").client.handled(6).await;
    });
    let held = watch.held();
    assert!(held.growth() < 16 * 1024, "{held}");
}

/// What a connection has for its member comes within this time.
const NOTHING_MORE: Duration = Duration::from_millis(200);

/// How a roster begins; a mark begins otherwise.
const ROSTER: &[u8] = br#"{"type":"roster","#;

/// Rooms of an attacker, members of each, and what each member publishes: a `joined` has up to a
/// megabyte.
const ROOMS: usize = 2;
const LARGE_MEMBERS: usize = 60;
const LARGE_METADATA: usize = 8_000;

/// State that is being written to members who hardly read is bounded for one address; a friend
/// elsewhere that reads slowly is served.
#[test]
fn the_state_that_is_written_to_members_of_one_address_is_bounded() {
    let server = Server::start(&["--trusted-proxy", "127.0.0.1"]);
    let watch = Watch::start("large states of one address", &server);
    run(async {
        let mut members = Vec::new();
        for number in 0..ROOMS * LARGE_MEMBERS {
            // As JSON twice as long.
            let metadata = [("k".to_owned(), "\"".repeat(LARGE_METADATA))].into();
            let room = format!("large {}", number / LARGE_MEMBERS);
            let join = Join { metadata, ..join_of(&room, &format!("large {number}")) };
            let mut client = Client::connect_narrow_from(&server, "203.0.113.9").await;
            if client.say_if_there(&ClientMessage::Join(join)).await {
                members.push(client);
            }
        }
        // The answers are on their way to all of them.
        let friend = Client::connect_narrow_from(&server, "203.0.113.2").await;
        let mut friend = Member::enter(friend, join_of("large 0", "friend")).await;
        friend.client.handled(3).await;
        drop(members);
    });
    let held = watch.held();
    assert!(held.growth() < 28 * 1024, "{held}");
}

/// Members elsewhere that publish as much as they may, so that the answer to a join is half a
/// megabyte; those of one address that take over from themselves; and how often.
const PUBLISHERS: usize = 30;
const RESTLESS: usize = 20;
const TAKEOVERS: usize = 4;
/// What passes of one address: at once and a second.
const ANSWERS: f64 = 16.0 * 1024.0 * 1024.0;
const ANSWERS_PER_SECOND: f64 = 1024.0 * 1024.0;
const OWN_PER_SECOND: f64 = 16.0 * 1024.0;

/// A question of a few hundred bytes is answered with the whole room; others get in meanwhile.
#[test]
fn takeovers_of_one_address_are_answered_within_a_budget_of_bytes() {
    let server = Server::start(&["--trusted-proxy", "127.0.0.1"]);
    let watch = Watch::start("takeovers without end", &server);
    run(async {
        let mut publishers = Vec::new();
        for number in 0..PUBLISHERS {
            let metadata = [("k".to_owned(), "\"".repeat(LARGE_METADATA))].into();
            let join = Join { metadata, ..join_of("answers", &format!("publisher {number}")) };
            let client = Client::connect_from(&server, &format!("198.51.100.{number}")).await;
            publishers.push(Member::enter(client, join).await);
        }
        let mut restless = Vec::new();
        for number in 0..RESTLESS {
            let client = Client::connect_from(&server, "203.0.113.9").await;
            let join = join_of("answers", &format!("restless {number}"));
            restless.push((Member::enter(client, join.clone()).await, join));
        }
        let begun = Instant::now();
        let (mut bytes, mut answered, mut refused, mut largest) = (0, 0, 0, 0);
        for _ in 0..TAKEOVERS {
            for (member, join) in &mut restless {
                let mut client = Client::connect_from(&server, "203.0.113.9").await;
                let join = Join { ticket: member.joined.ticket.clone(), ..join.clone() };
                client.say(&ClientMessage::Join(join)).await;
                let is_in = client.until("an answer", |received| match received {
                    Received::Message(ServerMessage::Joined(joined)) => {
                        assert!(joined.taken_over.is_some());
                        Some(true)
                    }
                    Received::Message(ServerMessage::Error {
                        code: ErrorCode::TooManyJoins,
                        ..
                    }) => Some(false),
                    _ => None,
                });
                if is_in.await {
                    (bytes, answered) = (bytes + client.received, answered + 1);
                    largest = largest.max(client.received);
                    member.client = client;
                } else {
                    refused += 1;
                }
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        let friend = Client::connect_from(&server, "203.0.113.2").await;
        Member::enter(friend, join_of("answers", "friend")).await;
        println!("{answered} answers, {refused} refusals, {bytes} bytes in {seconds:.1} s");
        let own = RESTLESS as f64 * (largest as f64 + OWN_PER_SECOND * seconds);
        let most = own + ANSWERS + largest as f64 + ANSWERS_PER_SECOND * seconds;
        assert!(bytes as f64 <= most, "{bytes} bytes, and not {most}");
        assert!(refused > 0 && answered >= RESTLESS, "{answered} answers");
    });
    watch.held();
}
