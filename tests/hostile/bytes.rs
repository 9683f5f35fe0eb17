//! Who makes the server send, relay or keep more than is its due.

use std::time::Instant;

use voicemesh_wire::packet::{
    ClientInfo, ClientState, DeltaClientState, HandshakeRequest, Kind, open,
};
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, Join, LeaveReason, ServerMessage};

use crate::client::{
    CODEC, Client, Member, Received, is_kind, join_of, packet_header, patiently, run,
};
use crate::memory::{Watch, WatchedServer as Server};
use crate::socket::{BINARY, TEXT, frame};

/// Voice packets of the flood.
const FLOOD: usize = 20_000;
const FLOOD_AT_ONCE: usize = 200;
const BURST: f64 = 128.0;
/// While a pair is new, twice the rate of speech passes.
const PER_SECOND: f64 = 220.0;

#[test]
fn a_speaker_who_floods_is_heard_at_the_rate_of_speech_and_stays() {
    let server = Server::start(&[]);
    let watch = Watch::start("a flood of voice", &server);
    run(async {
        for relay in [Kind::ServerRelayUnreliable, Kind::ServerRelayReliable] {
            let mut speaker =
                Member::join(&server, "flood", &format!("speaker by {relay:?}")).await;
            let mut listener =
                Member::join(&server, "flood", &format!("listener by {relay:?}")).await;
            let voice = speaker.inner(Kind::VoiceData, 200);
            let packet = speaker.relay(relay, &[listener.joined.client], &voice);
            let mut frames = Vec::new();
            (0..FLOOD_AT_ONCE).for_each(|_| frame(BINARY, &packet, &mut frames));
            let begun = Instant::now();
            let mut heard = 0;
            for number in 0..FLOOD / FLOOD_AT_ONCE {
                assert!(speaker.client.try_send(&frames).await);
                speaker.client.handled(number as u32).await;
                listener.client.say(&ClientMessage::Ping { token: number as u32 }).await;
                loop {
                    match listener.client.next().await {
                        Received::Packet(_) => heard += 1,
                        Received::Message(ServerMessage::Pong { .. }) => break,
                        Received::Message(ServerMessage::PeerLeft { .. }) => {
                            panic!("the speaker is put out")
                        }
                        Received::Closed(_) | Received::Cut => panic!("the listener is put out"),
                        _ => {}
                    }
                }
            }
            let most = BURST + PER_SECOND * begun.elapsed().as_secs_f64();
            println!("{relay:?}: {heard} of {FLOOD} packets in {:?}", begun.elapsed());
            assert!(f64::from(heard) <= most + 1.0, "{heard} packets, and not {most}");
            assert!(heard >= 100, "{heard} packets");
        }
    });
    watch.held();
}

/// Packets of each kind of violation, at once.
const VIOLATIONS: usize = 3_000;

#[test]
fn packets_without_effect_draw_on_the_violation_budget() {
    let server = Server::start(&[]);
    let watch = Watch::start("packets without effect", &server);
    run(async {
        let mut witness = Member::join(&server, "violations", "witness").await;
        for what in [
            "truncated voice",
            "a truncated relay packet",
            "a forged relay packet",
            "another's state",
        ] {
            let mut hostile = Member::join(&server, "violations", "hostile").await;
            let packet = match what {
                "truncated voice" => hostile.inner(Kind::VoiceData, 11),
                "a truncated relay packet" => {
                    packet_header(Kind::ServerRelayUnreliable, hostile.session)
                }
                "a forged relay packet" => {
                    let mut inside = packet_header(Kind::VoiceData, hostile.session);
                    inside.extend_from_slice(&witness.joined.client.0.to_be_bytes());
                    inside.extend_from_slice(&[0; 20]);
                    hostile.relay(Kind::ServerRelayUnreliable, &[witness.joined.client], &inside)
                }
                _ => DeltaClientState {
                    joins: true,
                    client: witness.joined.client,
                    group: "g".to_owned(),
                }
                .encode(hostile.session),
            };
            let mut frames = Vec::new();
            (0..VIOLATIONS).for_each(|_| frame(BINARY, &packet, &mut frames));
            hostile.client.try_send(&frames).await;
            assert_eq!(
                hostile.client.end().await,
                (Some(ErrorCode::TooManyMessages), Some(1008)),
                "{what}"
            );
            let left = witness.client.until("the end of it", |received| match received {
                Received::Message(ServerMessage::PeerLeft { reason, .. }) => Some(*reason),
                _ => None,
            });
            assert_eq!(left.await, LeaveReason::Kicked, "{what}");
        }
    });
    watch.held();
}

/// Members with as much metadata as is allowed.
const LARGE_MEMBERS: usize = 30;
const QUESTIONS: u32 = 150;
/// What one connection may fetch at once, and a roster more.
const MOST_ANSWERED_BYTES: usize = 1_600_000;

async fn large_room(server: &Server) -> Vec<Member> {
    let mut members = Vec::new();
    for number in 0..LARGE_MEMBERS {
        let mut join = join_of("large", &format!("member {number}"));
        join.metadata = [("key".to_owned(), "x".repeat(8_000))].into();
        members.push(Member::enter(Client::connect(server).await, join).await);
    }
    members
}

/// Questions of one that is behind, what a friend sends before each, and the rosters that the
/// budget has for it.
const DEFERRED: usize = 40;
const BEFORE_QUESTION: usize = 3;
const ROSTERS: f64 = 6.0;
const ROSTERS_PER_SECOND: f64 = 0.6;

#[test]
fn a_roster_that_has_to_wait_is_budgeted_as_well() {
    let server = Server::start(&[]);
    run(async {
        let _members = large_room(&server).await;
        let mut friend = Member::join(&server, "large", "friend").await;
        let mut asker =
            Member::enter(Client::connect_narrow(&server).await, join_of("large", "asker")).await;
        let relayed = friend.relay(
            Kind::ServerRelayReliable,
            &[asker.joined.client],
            &friend.inner(Kind::Unassigned(50), 16_000),
        );
        let begun = Instant::now();
        let mut rosters = 0.0;
        for number in 0..DEFERRED {
            for _ in 0..BEFORE_QUESTION {
                friend.client.packet(&relayed).await;
            }
            friend.client.handled(number as u32).await;
            asker.client.say(&ClientMessage::Roster).await;
            // A refusal is sent once a second, so the end of this round is what comes after it.
            let last = friend.relay(
                Kind::ServerRelayReliable,
                &[asker.joined.client],
                &friend.inner(Kind::Unassigned(51), 60),
            );
            friend.client.packet(&last).await;
            asker
                .client
                .until("the end of a round", |received| {
                    let is_roster =
                        matches!(received, Received::Message(ServerMessage::Roster { .. }));
                    rosters += f64::from(u8::from(is_roster));
                    is_kind(received, Kind::Unassigned(51))
                })
                .await;
        }
        let most = ROSTERS + ROSTERS_PER_SECOND * begun.elapsed().as_secs_f64();
        println!("{rosters} rosters for {DEFERRED} questions");
        assert!(rosters >= 1.0 && rosters <= most, "{rosters} rosters, and not {most}");
    });
}

#[test]
fn metadata_that_grows_when_it_is_sent_is_refused() {
    let server = Server::start(&[]);
    run(async {
        let controls = "\u{1}".repeat(8_000);
        let mut client = Client::connect(&server).await;
        let large = [("key".to_owned(), "\u{1}".repeat(4_000))].into();
        client.say(&ClientMessage::Join(Join { metadata: large, ..join_of("large", "eve") })).await;
        assert_eq!(client.end().await.0, Some(ErrorCode::BadMetadata));
        let mut member = Member::join(&server, "large", "eve").await;
        let set = [("key".to_owned(), Some(controls))].into();
        member.client.say(&ClientMessage::SetMetadata { request: Some(3), set }).await;
        let refused = member.client.until("an answer", |received| match received {
            Received::Message(ServerMessage::Error { code, request: Some(3), .. }) => {
                Some(code.clone())
            }
            Received::Message(ServerMessage::MetadataSet { .. }) => panic!("it was taken"),
            _ => None,
        });
        assert_eq!(refused.await, ErrorCode::BadMetadata);
    });
}

#[test]
fn state_that_is_asked_for_is_budgeted_by_its_bytes() {
    let server = Server::start(&[]);
    let watch = Watch::start("questions", &server);
    run(async {
        let mut members = large_room(&server).await;
        // The answer to a handshake names them all.
        for (number, member) in members.iter_mut().enumerate() {
            let groups: Vec<String> =
                (0..60).map(|group| format!("{number}.{group}.{}", "x".repeat(100))).collect();
            member.listen(&groups.iter().map(String::as_str).collect::<Vec<_>>()).await;
            member.client.handled(1).await;
        }
        for question in ["roster", "handshake"] {
            let mut asker = Member::join(&server, "large", question).await;
            asker.client.received = 0;
            let mut frames = Vec::new();
            for _ in 0..QUESTIONS {
                match question {
                    "roster" => {
                        frame(TEXT, ClientMessage::Roster.to_json().as_bytes(), &mut frames)
                    }
                    _ => frame(
                        BINARY,
                        &HandshakeRequest { codec: CODEC, name: String::new() }.encode(),
                        &mut frames,
                    ),
                }
            }
            assert!(asker.client.try_send(&frames).await);
            asker.client.handled(1).await;
            println!("{QUESTIONS} times {question}: {} bytes", asker.client.received);
            assert!(
                asker.client.received < MOST_ANSWERED_BYTES,
                "{question}: {} bytes",
                asker.client.received
            );
        }
    });
    watch.held();
}

#[test]
fn groups_beyond_the_limit_are_refused_by_name_and_names_are_those_of_the_join() {
    let server = Server::start(&[]);
    run(async {
        let mut witness = Member::join(&server, "groups", "witness").await;
        let mut greedy = Member::join(&server, "groups", "greedy").await;
        let names: Vec<String> = (0..70).map(|number| format!("group {number}")).collect();
        let client =
            ClientInfo { name: "\u{202e}\n".to_owned(), id: greedy.joined.client, codec: CODEC };
        let mut packet = packet_header(Kind::ClientState, greedy.session);
        let whole = ClientState { client, groups: names.clone() }.encode(greedy.session);
        packet.extend_from_slice(&whole[packet.len()..]);
        greedy.client.packet(&packet).await;
        let mut refused = Vec::new();
        while refused.len() < 6 {
            let received = greedy.client.next().await;
            if let (Received::Packet(packet), Some(())) =
                (&received, is_kind(&received, Kind::DeltaClientState))
            {
                let delta =
                    DeltaClientState::decode(open(packet).expect("a packet").1).expect("a delta");
                assert_eq!((delta.joins, delta.client), (false, greedy.joined.client));
                refused.push(delta.group);
            }
            assert!(!matches!(received, Received::Closed(_) | Received::Cut), "{received:?}");
        }
        assert_eq!(refused, names[64..]);
        let state = witness.client.until("the groups", |received| {
            let (Received::Packet(packet), Some(())) =
                (received, is_kind(received, Kind::ClientState))
            else {
                return None;
            };
            let state = ClientState::decode(open(packet).expect("a packet").1).expect("a state");
            (state.client.id == greedy.joined.client && state.groups.len() == 64).then_some(state)
        });
        assert_eq!(patiently("the groups", state).await.client.name, "greedy");

        // Beyond 64 answers one more says how many were refused besides.
        let names: Vec<String> = (0..900).map(|number| format!("more {number}")).collect();
        let client = ClientInfo { name: String::new(), id: greedy.joined.client, codec: CODEC };
        let state = ClientState { client, groups: names.clone() }.encode(greedy.session);
        greedy.client.packet(&state).await;
        let mut refused = Vec::new();
        let last = loop {
            let received = greedy.client.next().await;
            match &received {
                Received::Packet(packet)
                    if is_kind(&received, Kind::DeltaClientState).is_some() =>
                {
                    let body = open(packet).expect("a packet").1;
                    refused.push(DeltaClientState::decode(body).expect("a delta").group);
                }
                Received::Message(ServerMessage::Error { code, message, fatal: false, .. }) => {
                    break (code.clone(), message.clone());
                }
                Received::Closed(_) | Received::Cut => panic!("{received:?}"),
                _ => {}
            }
        };
        assert_eq!(refused, names[64..128]);
        assert_eq!(last.0, ErrorCode::BadField);
        assert!(last.1.contains("772"), "{}", last.1);
    });
}

/// Connections with a message that does not end, and how much of it they send.
const UNFINISHED: usize = 300;
const PART_BYTES: usize = 28_000;
const OF_ONE_ADDRESS: usize = 1024 * 1024;

#[test]
fn messages_that_do_not_end_are_bounded_for_an_address_and_the_oldest_goes() {
    let server = Server::start(&["--trusted-proxy", "127.0.0.1"]);
    let watch = Watch::start("messages that do not end", &server);
    run(async {
        let mut other = Client::connect_from(&server, "192.0.2.2").await;
        let mut whole = Vec::new();
        frame(TEXT, &[b' '; PART_BYTES + 100], &mut whole);
        other.try_send(&whole[..PART_BYTES]).await;
        let mut clients = Vec::new();
        for _ in 0..UNFINISHED {
            let mut client = Client::connect_from(&server, "192.0.2.1").await;
            client.try_send(&whole[..PART_BYTES]).await;
            clients.push(client);
        }
        let (mut ended, mut begun) = (0, 0);
        let last = clients.pop().expect("the last one");
        for mut client in clients {
            // The rest of the message is an answer for those that are still listened to: it is no
            // JSON.
            client.try_send(&whole[PART_BYTES..]).await;
            match client.end().await.0 {
                Some(ErrorCode::BadJson) => begun += 1,
                _ => ended += 1,
            }
        }
        println!("{ended} of {UNFINISHED} ended, {begun} could go on");
        assert!(begun <= OF_ONE_ADDRESS / PART_BYTES + 1, "{begun}");
        assert!(begun >= OF_ONE_ADDRESS / PART_BYTES - 2, "{begun}");
        for mut client in [last, other] {
            client.try_send(&whole[PART_BYTES..]).await;
            assert_eq!(
                client.end().await.0,
                Some(ErrorCode::BadJson),
                "the newest, and another address, go on"
            );
        }
    });
    let held = watch.held();
    assert!(held.growth() < 6 * 1024, "{held}");
}
