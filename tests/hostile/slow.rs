//! Receivers that take little or nothing, and senders who use that against them.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use voicemesh_tests::room::{Folder, Joining};
use voicemesh_wire::packet::{Kind, Recipient, TextData, open};
use voicemesh_wire::signaling::{ClientMessage, ErrorCode, Join, LeaveReason, ServerMessage};
use voicemesh_wire::{ClientId, GroupId, PeerId};

use crate::client::{Client, Member, PATIENCE, Received, is_kind, join_of, run};
use crate::memory::{Watch, WatchedServer as Server};
use crate::socket::PING;

/// A burst of the attack, and the size of each packet in it.
const BURST: usize = 400;
const PACKET_BYTES: usize = 1_000;
/// Bursts, half a second apart: longer than a receiver that takes nothing is waited for.
const BURSTS: usize = 24;
/// Between two reads of a slow reader.
const READ_INTERVAL: Duration = Duration::from_millis(100);

/// Reads so many bytes a second until it is stopped or cut off; the frames of speech in them.
async fn read_slowly(
    mut client: Client,
    bytes_per_second: usize,
    mut stop: mpsc::Receiver<()>,
) -> usize {
    let mut speech = 0;
    let mut interval = tokio::time::interval(READ_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = vec![0; bytes_per_second / 10];
    loop {
        tokio::select! {
            _ = stop.recv() => return speech,
            _ = interval.tick() => {}
        }
        let reading = client.socket.reader.read(&mut buffer);
        let read = tokio::select! {
            _ = stop.recv() => return speech,
            read = reading => read.unwrap_or(0),
        };
        if read == 0 {
            return speech;
        }
        let mut arrived = &buffer[..read];
        while !arrived.is_empty() {
            client.socket.incoming.fill(&mut arrived).await.expect("bytes are read");
            while let Some((opcode, payload)) = client.socket.incoming.next() {
                let is_speech = opcode == crate::socket::BINARY
                    && open(payload).is_ok_and(|(header, _)| header.kind == Kind::VoiceData);
                speech += usize::from(is_speech);
            }
        }
    }
}

/// Speaks to one member, a frame each 20 ms, until it is stopped; how many were sent.
async fn speak(mut speaker: Member, to: ClientId, mut stop: mpsc::Receiver<()>) -> usize {
    let speech = speaker.inner(Kind::VoiceData, 100);
    let packet = speaker.relay(Kind::ServerRelayUnreliable, &[to], &speech);
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let mut sent = 0;
    loop {
        tokio::select! {
            _ = stop.recv() => return sent,
            _ = interval.tick() => {}
        }
        speaker.client.packet(&packet).await;
        sent += 1;
    }
}

#[test]
fn no_member_throws_a_slow_reader_out_and_one_that_takes_nothing_is_lost() {
    let server = Server::start(&[]);
    let watch = Watch::start("slow readers", &server);
    run(async {
        let mut hostile = Member::join(&server, "slow", "hostile").await;
        let mut friend = Member::join(&server, "slow", "friend").await;
        let mut witness = Member::join(&server, "slow", "witness").await;
        let mut readers = BTreeMap::new();
        let mut running = Vec::new();
        let (mut stops, mut stopped) = (Vec::new(), Vec::new());
        for (name, rate) in [("100 kB/s", 100_000), ("5 kB/s", 5_000), ("0", 0)] {
            let member =
                Member::enter(Client::connect_narrow(&server).await, join_of("slow", name)).await;
            readers.insert(name, (member.joined.you, member.joined.client));
            if rate == 0 {
                stopped.push(member);
            } else {
                let (stop, told) = mpsc::channel(1);
                stops.push(stop);
                running.push((name, tokio::spawn(read_slowly(member.client, rate, told))));
            }
        }
        let speaker = Member::join(&server, "slow", "speaker").await;
        let (stop_speaker, told) = mpsc::channel(1);
        let speaking = tokio::spawn(speak(speaker, readers["100 kB/s"].1, told));
        let victims: Vec<_> = readers.values().map(|(_, client)| *client).collect();
        let inside = hostile.inner(Kind::Unassigned(50), PACKET_BYTES);
        let attack = hostile.relay(Kind::ServerRelayReliable, &victims, &inside);
        let to_witness =
            hostile.relay(Kind::ServerRelayReliable, &[witness.joined.client], &inside);
        let begun = Instant::now();
        let mut busy: BTreeMap<PeerId, usize> = BTreeMap::new();
        let mut left: BTreeMap<PeerId, (LeaveReason, Duration)> = BTreeMap::new();
        let mut interval = tokio::time::interval(Duration::from_millis(500));
        for burst in 0..BURSTS {
            interval.tick().await;
            let mut frames = Vec::new();
            for _ in 0..BURST {
                crate::socket::frame(crate::socket::BINARY, &attack, &mut frames);
            }
            assert!(hostile.client.try_send(&frames).await, "burst {burst}: the sender stays");
            hostile.client.packet(&to_witness).await;
            let text = format!("burst {burst}");
            let recipient = Recipient::Client(witness.joined.client);
            friend
                .client
                .packet(
                    &TextData { sender: friend.joined.client, recipient, text: &text }
                        .encode(friend.session),
                )
                .await;
            // A receiver that is not slow gets everything, from the attacker and from others.
            let (mut of_hostile, mut of_friend) = (false, false);
            while !(of_hostile && of_friend) {
                let received = witness.client.next().await;
                of_hostile |= is_kind(&received, Kind::Unassigned(50)).is_some();
                of_friend |= is_kind(&received, Kind::TextData).is_some();
                note_leaver(&received, begun, &mut left);
            }
            hostile.client.say(&ClientMessage::Ping { token: burst as u32 }).await;
            loop {
                match hostile.client.next().await {
                    Received::Message(ServerMessage::Error { code, fatal, peer, .. }) => {
                        assert_eq!((code, fatal), (ErrorCode::ReceiverBusy, false));
                        *busy.entry(peer.expect("it is named")).or_default() += 1;
                    }
                    Received::Message(ServerMessage::Pong { .. }) => break,
                    Received::Closed(code) => panic!("closed with {code}"),
                    Received::Cut => panic!("cut"),
                    _ => {}
                }
            }
        }
        for (name, (peer, _)) in &readers {
            println!("{name}: refused {:?} times, left {:?}", busy.get(peer), left.get(peer));
        }
        for (name, reader) in &running {
            let (peer, _) = readers[name];
            assert!(busy.contains_key(&peer), "nothing to {name} was refused");
            assert!(!left.contains_key(&peer), "{name} was put out: {:?}", left[&peer]);
            assert!(!reader.is_finished(), "{name} is cut off");
        }
        drop(stop_speaker);
        let sent = speaking.await.expect("it speaks");
        drop(stops);
        let mut heard = running.into_iter().map(|(_, reader)| reader);
        let heard = heard.next().expect("100 kB/s").await.expect("it reads");
        println!("of {sent} frames of speech {heard} came to 100 kB/s");
        assert!(sent > 500 && heard * 100 >= sent * 95, "{heard} of {sent}");
        let (stuck, _) = readers["0"];
        if !left.contains_key(&stuck) {
            while !left.contains_key(&stuck) {
                let received = witness.client.next().await;
                note_leaver(&received, begun, &mut left);
            }
        }
        let (reason, after) = left[&stuck];
        assert_eq!(reason, LeaveReason::Lost);
        assert!(after >= Duration::from_secs(9), "after {after:?}");
        drop(stopped);
    });
    watch.held();
}

/// Members who write to everyone, and how much: within their budgets.
const AUTHORS: usize = 25;
const TEXT_BYTES: usize = 400;
const TEXTS_AT_ONCE: usize = 2;
/// Rounds, a tenth of a second apart.
const ROUNDS: usize = 120;

#[test]
fn what_twenty_five_members_write_throws_no_slow_reader_out() {
    let server = Server::start(&[]);
    let watch = Watch::start("25 authors", &server);
    run(async {
        let mut witness = Member::join(&server, "texts", "witness").await;
        let mut authors = Vec::new();
        for number in 0..AUTHORS {
            authors.push(Member::join(&server, "texts", &format!("author {number}")).await);
        }
        let enter = async |name| {
            Member::enter(Client::connect_narrow(&server).await, join_of("texts", name)).await
        };
        let (slow, stuck) = (enter("5 kB/s").await, enter("0").await);
        let (slow_id, stuck_id) = (slow.joined.you, stuck.joined.you);
        let (stop, stopped) = mpsc::channel(1);
        let reader = tokio::spawn(read_slowly(slow.client, 5_000, stopped));
        let begun = Instant::now();
        let mut left = BTreeMap::new();
        let mut refused: BTreeMap<PeerId, usize> = BTreeMap::new();
        let mut interval = tokio::time::interval(Duration::from_millis(100));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let recipient = Recipient::Group(GroupId::of("Global"));
        let text = "x".repeat(TEXT_BYTES);
        for round in 0..ROUNDS {
            interval.tick().await;
            for author in &mut authors {
                let packet = TextData { sender: author.joined.client, recipient, text: &text }
                    .encode(author.session);
                let mut frames = Vec::new();
                for _ in 0..TEXTS_AT_ONCE {
                    crate::socket::frame(crate::socket::BINARY, &packet, &mut frames);
                }
                assert!(author.client.try_send(&frames).await, "round {round}: an author stays");
            }
            // Who is not slow gets everything.
            let mut texts = 0;
            while texts < AUTHORS * TEXTS_AT_ONCE {
                let received = witness.client.next().await;
                texts += usize::from(is_kind(&received, Kind::TextData).is_some());
                note_leaver(&received, begun, &mut left);
            }
            for author in &mut authors {
                author.client.say(&ClientMessage::Ping { token: round as u32 }).await;
                loop {
                    match author.client.next().await {
                        Received::Message(ServerMessage::Error { code, fatal, peer, .. }) => {
                            assert_eq!((code, fatal), (ErrorCode::ReceiverBusy, false));
                            *refused.entry(peer.expect("it is named")).or_default() += 1;
                        }
                        Received::Message(ServerMessage::Pong { token })
                            if token == round as u32 =>
                        {
                            break;
                        }
                        Received::Closed(_) | Received::Cut => panic!("an author is put out"),
                        _ => {}
                    }
                }
            }
        }
        while !left.contains_key(&stuck_id) {
            let received = witness.client.next().await;
            note_leaver(&received, begun, &mut left);
        }
        println!("refused {refused:?}, left {left:?}");
        assert!(refused.contains_key(&slow_id), "nothing to the slow reader was refused");
        assert!(!left.contains_key(&slow_id), "the slow reader was put out");
        assert!(!reader.is_finished(), "the slow reader is cut off");
        let (reason, after) = left[&stuck_id];
        assert_eq!((reason, left.len()), (LeaveReason::Lost, 1));
        assert!(after >= Duration::from_secs(9), "after {after:?}");
        drop((stop, stuck));
    });
    let held = watch.held();
    assert!(held.growth() < 4 * 1024, "{held}");
}

fn note_leaver(
    received: &Received,
    begun: Instant,
    left: &mut BTreeMap<PeerId, (LeaveReason, Duration)>,
) {
    if let Received::Message(ServerMessage::PeerLeft { peer, reason }) = received {
        left.insert(*peer, (*reason, begun.elapsed()));
    }
}

/// Connections that change their metadata within their budgets.
const CHANGERS: usize = 30;
/// What they publish.
const METADATA_BYTES: usize = 8_000;
/// Changes of each: what its budget allows at once.
const CHANGES: usize = 3;
/// All changes together are 720 kB.
const MOST_UNREAD_BYTES: usize = 600_000;

#[test]
fn a_member_that_is_behind_gets_the_last_of_what_the_others_publish_in_place_of_each_change() {
    let server = Server::start(&[]);
    let watch = Watch::start("changes that are not read", &server);
    run(async {
        let mut behind =
            Member::enter(Client::connect_narrow(&server).await, join_of("state", "behind")).await;
        let mut changers = Vec::new();
        for number in 0..CHANGERS {
            changers.push(Member::join(&server, "state", &format!("changer {number}")).await);
        }
        let mut version = behind.roster().await.0.version;
        behind.client.received = 0;
        // From here on `behind` reads nothing.
        for change in 0..CHANGES {
            for changer in &mut changers {
                let value = format!("{change} {}", "x".repeat(METADATA_BYTES));
                let set = [("key".to_owned(), Some(value))].into();
                changer
                    .client
                    .say(&ClientMessage::SetMetadata { request: Some(change as u32), set })
                    .await;
            }
            // All at once: one that waited for its turn to read would be behind as well.
            let mut waiting = JoinSet::new();
            for mut changer in changers.drain(..) {
                waiting.spawn(async move {
                    let picked =
                        changer.client.until("a confirmation", |received| match received {
                            Received::Message(ServerMessage::MetadataSet { request }) => {
                                Some(*request)
                            }
                            Received::Message(ServerMessage::Error { code, message, .. }) => {
                                panic!("{code}: {message}")
                            }
                            _ => None,
                        });
                    assert_eq!(picked.await, change as u32);
                    changer
                });
            }
            changers = waiting.join_all().await;
        }
        let last = format!("{} ", CHANGES - 1);
        // What it reads now ends with the state as it is, and none of it is a whole roster.
        behind.client.say(&ClientMessage::Ping { token: 99 }).await;
        let mut known = BTreeMap::new();
        let (mut is_answered, mut largest) = (false, 0);
        while known.values().filter(|value: &&String| value.starts_with(&last)).count() < CHANGERS
            || !is_answered
        {
            match behind.client.next().await {
                Received::Message(ServerMessage::Metadata { peer, metadata, changes }) => {
                    version += u64::from(changes);
                    largest = largest.max(changes);
                    known.insert(peer, metadata["key"].clone());
                }
                Received::Message(ServerMessage::Pong { token: 99 }) => is_answered = true,
                Received::Message(ServerMessage::Roster { .. }) => panic!("a whole roster"),
                Received::Closed(_) | Received::Cut => panic!("it was thrown out"),
                _ => {}
            }
        }
        assert!(largest > 1, "no changes waited");
        println!("read {} bytes in the end", behind.client.received);
        assert!(
            behind.client.received < MOST_UNREAD_BYTES,
            "{} bytes waited",
            behind.client.received
        );
        assert_eq!(behind.roster().await.0.version, version, "each change is counted");
    });
    watch.held();
}

/// Members that come and go one after the other.
const VISITORS: usize = 150;

#[test]
fn a_member_that_is_behind_gets_one_fresh_roster_in_place_of_who_came_and_went() {
    let server = Server::start(&[]);
    let watch = Watch::start("comings and goings that are not read", &server);
    run(async {
        let mut behind =
            Member::enter(Client::connect_narrow(&server).await, join_of("visits", "behind")).await;
        let mut witness = Member::join(&server, "visits", "witness").await;
        for number in 0..VISITORS {
            let mut visitor = Member::join(&server, "visits", &format!("visitor {number}")).await;
            visitor.client.say(&ClientMessage::Leave).await;
            let gone = witness.client.until("it leaves", |received| match received {
                Received::Message(ServerMessage::PeerLeft { peer, .. }) => Some(*peer),
                _ => None,
            });
            assert_eq!(gone.await, visitor.joined.you);
        }
        let last = Member::join(&server, "visits", "last").await;
        let (mut rosters, mut arrivals) = (0, 0);
        loop {
            match behind.client.next().await {
                Received::Message(ServerMessage::Roster { peers, .. }) => {
                    rosters += 1;
                    if peers.iter().any(|peer| peer.peer == last.joined.you) {
                        break;
                    }
                }
                Received::Message(ServerMessage::PeerJoined { peer }) => {
                    arrivals += 1;
                    if peer.peer == last.joined.you {
                        break;
                    }
                }
                Received::Closed(_) | Received::Cut => panic!("it was thrown out"),
                _ => {}
            }
        }
        println!("{rosters} rosters, {arrivals} of {VISITORS} arrivals");
        assert!(rosters > 0 && arrivals < VISITORS);
    });
    watch.held();
}

/// Members whose metadata makes the answer to a join 90 kB long, and how it is read.
const PUBLISHERS: usize = 11;
const NARROW: usize = 5_000;

/// Passes on what one connection to `server` says, at so many bytes a second towards the client.
async fn narrow_path(listener: TcpListener, server: SocketAddr, bytes_per_second: usize) {
    let (client, _) = listener.accept().await.expect("a connection");
    let towards = TcpSocket::new_v4().expect("a socket");
    towards.set_recv_buffer_size(8 * 1024).expect("a small buffer");
    let server = towards.connect(server).await.expect("the server listens");
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let up = tokio::io::copy(&mut from_client, &mut to_server);
    let down = async {
        let mut interval = tokio::time::interval(READ_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = vec![0; bytes_per_second / 10];
        loop {
            interval.tick().await;
            let read = from_server.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            to_client.write_all(&buffer[..read]).await?;
        }
    };
    // Another connection would be refused: the listener is gone.
    drop(listener);
    let _: (io::Result<u64>, io::Result<()>) = tokio::join!(up, down);
}

/// The program is in after as long as its path takes, on its first connection.
#[test]
fn a_join_whose_answer_comes_slowly_is_waited_for() {
    let server = Server::start(&[]);
    run(async {
        let mut publishers = Vec::new();
        for number in 0..PUBLISHERS {
            let metadata = [("key".to_owned(), "x".repeat(METADATA_BYTES))].into();
            let join = Join { metadata, ..join_of("narrow", &format!("publisher {number}")) };
            publishers.push(Member::enter(Client::connect(&server).await, join).await);
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let path = format!("ws://{}", listener.local_addr().expect("an address"));
        let narrow = tokio::spawn(narrow_path(listener, server.address, NARROW));
        let joined = tokio::task::spawn_blocking(move || {
            let folder = Folder::create("narrow");
            let mut program = Joining::new(&path, "narrow", "ada").start(&folder);
            let joined = program.wait_for("a joined or a failure", 2 * PATIENCE, |json| {
                json["event"] == "joined" || json["event"] == "server-away"
            });
            joined.json["event"].clone()
        });
        assert_eq!(joined.await.expect("it runs"), "joined");
        narrow.abort();
    });
}

/// What must still be on its way when the answer to a ping comes.
const BEHIND_PONG: usize = 32 * 1024;

/// What a receiver asks of the server itself does not wait behind what others send to it.
#[test]
fn pongs_come_before_what_others_have_sent() {
    let server = Server::start(&[]);
    run(async {
        let mut hostile = Member::join(&server, "pong", "hostile").await;
        let mut friend = Member::join(&server, "pong", "friend").await;
        let mut victim =
            Member::enter(Client::connect_narrow(&server).await, join_of("pong", "victim")).await;
        // Until it is full: the victim reads nothing.
        let inside = hostile.inner(Kind::Unassigned(50), PACKET_BYTES);
        let packet = hostile.relay(Kind::ServerRelayReliable, &[victim.joined.client], &inside);
        loop {
            let mut frames = Vec::new();
            (0..BURST)
                .for_each(|_| crate::socket::frame(crate::socket::BINARY, &packet, &mut frames));
            assert!(hostile.client.try_send(&frames).await);
            hostile.client.say(&ClientMessage::Ping { token: 1 }).await;
            let is_busy = hostile.client.until("an answer", |received| match received {
                Received::Message(ServerMessage::Error {
                    code: ErrorCode::ReceiverBusy, ..
                }) => Some(true),
                Received::Message(ServerMessage::Pong { .. }) => Some(false),
                _ => None,
            });
            if is_busy.await {
                break;
            }
        }
        victim.client.say(&ClientMessage::Ping { token: 7 }).await;
        victim.client.send(PING, b"eight").await;
        let (mut behind, mut behind_control) = (None, None);
        let recipient = Recipient::Client(victim.joined.client);
        let text = TextData { sender: friend.joined.client, recipient, text: "the last" }
            .encode(friend.session);
        let mut is_sent = false;
        loop {
            let received = victim.client.next().await;
            match &received {
                Received::Message(ServerMessage::Pong { token: 7 }) => behind = Some(0),
                Received::Pong(payload) if payload == b"eight" => behind_control = Some(0),
                Received::Closed(_) | Received::Cut => panic!("the victim is ended"),
                Received::Packet(packet) => {
                    for counter in [&mut behind, &mut behind_control] {
                        *counter = counter.map(|bytes: usize| bytes + packet.len());
                    }
                }
                _ => {}
            }
            if behind.is_some() && behind_control.is_some() && !is_sent {
                friend.client.packet(&text).await;
                is_sent = true;
            }
            if is_kind(&received, Kind::TextData).is_some() {
                break;
            }
        }
        println!(
            "{behind:?} bytes came after the pong, {behind_control:?} after the control frame"
        );
        assert!(behind >= Some(BEHIND_PONG) && behind_control >= Some(BEHIND_PONG));
    });
}
