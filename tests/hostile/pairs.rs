//! What members make the server send to one other member, and what that does to it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use voicemesh_tests::room::Server;
use voicemesh_wire::packet::Kind;
use voicemesh_wire::signaling::{
    Capabilities, ClientMessage, ErrorCode, Join, ServerMessage, Signal,
};

use crate::client::{Client, Member, Received, is_kind, join_of, run};
use crate::memory::Watch;
use crate::socket::{BINARY, TEXT, frame};

/// Members that read nothing, and signals of a newcomer to each of them.
const DEAF: usize = 40;
/// So many of them are filled by each of so many hostile ones, until nothing more is taken.
const DEAF_OF_ONE: usize = 8;
const FILLERS: usize = 4;
const SIGNALS: usize = 6;
const PACKET_BYTES: usize = 1_000;
const PACKETS: usize = 90;

/// A newcomer by a narrow path says what its program says to everyone; that all are behind does not
/// end it.
#[test]
fn signals_to_members_that_read_nothing_do_not_end_their_sender() {
    let server = Server::start(&[]);
    let watch = Watch::start("signals to the deaf", &server);
    run(async {
        let mut deaf = Vec::new();
        for number in 0..DEAF {
            let client = Client::connect_narrow(&server).await;
            deaf.push(Member::enter(client, join_of("deaf", &format!("deaf {number}"))).await);
        }
        let each = deaf.chunks(DEAF_OF_ONE).flat_map(|deaf| std::iter::repeat_n(deaf, FILLERS));
        for (number, deaf) in each.enumerate() {
            let mut hostile = Member::join(&server, "deaf", &format!("hostile {number}")).await;
            let to: Vec<_> = deaf.iter().map(|member| member.joined.client).collect();
            let inside = hostile.inner(Kind::Unassigned(50), PACKET_BYTES);
            let packet = hostile.relay(Kind::ServerRelayReliable, &to, &inside);
            let mut busy = BTreeSet::new();
            while busy.len() < deaf.len() {
                let mut frames = Vec::new();
                (0..PACKETS).for_each(|_| frame(BINARY, &packet, &mut frames));
                assert!(hostile.client.try_send(&frames).await);
                hostile.client.say(&ClientMessage::Ping { token: 1 }).await;
                let answered = hostile.client.until("an answer", |received| match received {
                    Received::Message(ServerMessage::Error {
                        code: ErrorCode::ReceiverBusy,
                        peer,
                        ..
                    }) => {
                        busy.extend(*peer);
                        None
                    }
                    Received::Message(ServerMessage::Pong { .. }) => Some(()),
                    _ => None,
                });
                answered.await;
            }
        }
        let client = Client::connect_narrow(&server).await;
        let mut newcomer = Member::enter(client, join_of("deaf", "newcomer")).await;
        let mut frames = Vec::new();
        for member in &deaf {
            let to = member.joined.you;
            for _ in 0..SIGNALS {
                let signal = Signal::Offer { sdp: "x".repeat(1_200) };
                let signal = ClientMessage::Signal { to, attempt: 1, signal };
                frame(TEXT, signal.to_json().as_bytes(), &mut frames);
            }
        }
        assert!(newcomer.client.try_send(&frames).await);
        // It reads nothing until all of that has been handled.
        let mut witness = Member::join(&server, "deaf", "witness").await;
        let to = newcomer.joined.you;
        let signal = ClientMessage::Signal { to, attempt: 1, signal: Signal::RequestOffer };
        witness.client.say(&signal).await;
        witness.client.handled(2).await;
        newcomer.client.say(&ClientMessage::Ping { token: 3 }).await;
        let mut named = BTreeSet::new();
        let mut refusals = 0;
        let answered = newcomer.client.until("an answer", |received| match received {
            Received::Message(ServerMessage::Error { code, fatal, peer, .. }) => {
                // Those that took nothing for ten seconds are gone.
                assert!([ErrorCode::ReceiverBusy, ErrorCode::UnknownPeer].contains(code) && !fatal);
                refusals += 1;
                named.extend(*peer);
                None
            }
            Received::Message(ServerMessage::Pong { token: 3 }) => Some(()),
            _ => None,
        });
        answered.await;
        println!("{refusals} refusals for {} signals", DEAF * SIGNALS);
        assert!(!named.is_empty() && refusals <= 2 * DEAF, "{refusals}");
        newcomer.client.handled(4).await;
    });
    watch.held();
}

const DATA_KINDS: [Kind; 4] =
    [Kind::DataSegment, Kind::DataAck, Kind::DataMessage, Kind::DataReset];

#[test]
fn the_games_own_bytes_go_to_members_only_that_take_them() {
    let server = Server::start(&[]);
    let watch = Watch::start("data to those who take none", &server);
    run(async {
        let mut hostile = Member::join(&server, "data", "hostile").await;
        for takes_data in [true, false] {
            let capabilities = Capabilities { data: takes_data, ..Capabilities::default() };
            let join = Join { capabilities, ..join_of("data", &format!("takes {takes_data}")) };
            let mut receiver = Member::enter(Client::connect(&server).await, join).await;
            let to = [receiver.joined.client];
            let mut frames = Vec::new();
            for kind in DATA_KINDS {
                for by in [Kind::ServerRelayUnreliable, Kind::ServerRelayReliable] {
                    let packet = hostile.relay(by, &to, &hostile.inner(kind, 100));
                    frame(BINARY, &packet, &mut frames);
                }
            }
            assert!(hostile.client.try_send(&frames).await);
            // What is reliable takes turns with data: behind as much of it, all data has come.
            let mut packets = 0;
            for number in 0..8 {
                let last = hostile.inner(Kind::Unassigned(50), 20);
                let last = hostile.relay(Kind::ServerRelayReliable, &to, &last);
                hostile.client.packet(&last).await;
                hostile.client.handled(number).await;
                receiver.client.say(&ClientMessage::Ping { token: number }).await;
                let (mut is_marked, mut is_answered) = (false, false);
                let counted = receiver.client.until("a mark and a pong", |received| {
                    packets +=
                        DATA_KINDS.iter().filter_map(|kind| is_kind(received, *kind)).count();
                    is_marked |= is_kind(received, Kind::Unassigned(50)).is_some();
                    let pong = ServerMessage::Pong { token: number };
                    is_answered |=
                        matches!(received, Received::Message(message) if *message == pong);
                    (is_marked && is_answered).then_some(())
                });
                counted.await;
            }
            assert_eq!(packets, if takes_data { 8 } else { 0 });
        }
    });
    watch.held();
}

/// What may be on its way, and what a clock may be wrong.
const SLACK: f64 = 1.05;
/// Members of one address, what each sends in a round, and how often: within its budget.
const CROWD: usize = 6;
const DATA: usize = 60;
const DATA_BYTES: usize = 1_000;
const ROUND: Duration = Duration::from_millis(50);
const FLOOD: Duration = Duration::from_secs(4);

/// What passes of one address to one receiver together, and of each besides: at once and a second.
fn most_of_address(seconds: f64) -> f64 {
    512e3 + 1_100e3 * seconds + CROWD as f64 * (64e3 + 16e3 * seconds)
}

#[test]
fn many_members_of_one_address_send_little_more_to_a_receiver_than_one() {
    let server = Server::start(&["--trusted-proxy", "127.0.0.1"]);
    let watch = Watch::start("data of one address", &server);
    run(async {
        let capabilities = Capabilities { data: true, ..Capabilities::default() };
        let client = Client::connect_from(&server, "203.0.113.2").await;
        let mut receiver =
            Member::enter(client, Join { capabilities, ..join_of("crowd", "receiver") }).await;
        let to = [receiver.joined.client];
        let mut crowd = Vec::new();
        for number in 0..CROWD {
            let client = Client::connect_from(&server, "203.0.113.9").await;
            crowd.push(Member::enter(client, join_of("crowd", &format!("{number}"))).await);
        }
        let begun = Instant::now();
        let (mut came, mut token) = (0, 0);
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while begun.elapsed() < FLOOD {
            rounds.tick().await;
            for hostile in &mut crowd {
                let data = hostile.inner(Kind::DataMessage, DATA_BYTES);
                let packet = hostile.relay(Kind::ServerRelayUnreliable, &to, &data);
                let mut frames = Vec::new();
                (0..DATA).for_each(|_| frame(BINARY, &packet, &mut frames));
                assert!(hostile.client.try_send(&frames).await);
                hostile.client.handled(token).await;
            }
            token += 1;
            receiver.client.say(&ClientMessage::Ping { token }).await;
            let counted = receiver.client.until("a pong", |received| {
                if let (Received::Packet(packet), Some(())) =
                    (received, is_kind(received, Kind::DataMessage))
                {
                    came += packet.len();
                }
                matches!(received, Received::Message(ServerMessage::Pong { .. })).then_some(())
            });
            counted.await;
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!("{came} bytes in {seconds:.1} s, {:.0} a second", came as f64 / seconds);
        assert!(came as f64 <= SLACK * most_of_address(seconds), "{came} bytes in {seconds} s");
        assert!(came > 400_000, "{came} bytes");
    });
    watch.held();
}

/// Speakers of one address, and what each sends in a round: more than one speaker may.
const SPEAKERS: usize = 30;
const SPEECH: usize = 4;
const SPEECH_BYTES: usize = 1_000;

/// In the first ten seconds, in which each may speak twice as much.
fn most_speech_of_address(seconds: f64) -> f64 {
    1_000e3 + 256e3 * seconds + SPEAKERS as f64 * (24e3 + 18e3 * seconds)
}

#[test]
fn many_speakers_of_one_address_fill_no_receivers_path() {
    let server = Server::start(&["--trusted-proxy", "127.0.0.1"]);
    let watch = Watch::start("speech of one address", &server);
    run(async {
        let client = Client::connect_from(&server, "203.0.113.2").await;
        let mut receiver = Member::enter(client, join_of("choir", "receiver")).await;
        let to = [receiver.joined.client];
        let mut crowd = Vec::new();
        for number in 0..SPEAKERS {
            let client = Client::connect_from(&server, "203.0.113.9").await;
            crowd.push(Member::enter(client, join_of("choir", &format!("{number}"))).await);
        }
        let begun = Instant::now();
        let (mut came, mut sent, mut token) = (0, 0, 0);
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while begun.elapsed() < FLOOD {
            rounds.tick().await;
            for speaker in &mut crowd {
                let speech = speaker.inner(Kind::Unassigned(50), SPEECH_BYTES);
                let packet = speaker.relay(Kind::ServerRelayUnreliable, &to, &speech);
                let mut frames = Vec::new();
                (0..SPEECH).for_each(|_| frame(BINARY, &packet, &mut frames));
                assert!(speaker.client.try_send(&frames).await);
                speaker.client.handled(token).await;
                sent += SPEECH * SPEECH_BYTES;
            }
            token += 1;
            receiver.client.say(&ClientMessage::Ping { token }).await;
            let counted = receiver.client.until("a pong", |received| {
                if let (Received::Packet(packet), Some(())) =
                    (received, is_kind(received, Kind::Unassigned(50)))
                {
                    came += packet.len();
                }
                matches!(received, Received::Message(ServerMessage::Pong { .. })).then_some(())
            });
            counted.await;
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!("{came} of {sent} bytes in {seconds:.1} s, {:.0} a second", came as f64 / seconds);
        assert!(came as f64 <= SLACK * most_speech_of_address(seconds), "{came} in {seconds} s");
        assert!(came > 1_000_000, "{came} bytes");
    });
    watch.held();
}

/// Offers as large as they may be, at once.
const OFFERS: u32 = 100;
const OFFER_BYTES: usize = 16_000;

#[test]
fn signals_to_one_member_pass_at_the_rate_of_attempts() {
    let server = Server::start(&[]);
    let watch = Watch::start("offers without end", &server);
    run(async {
        let mut hostile = Member::join(&server, "offers", "hostile").await;
        let mut victim = Member::join(&server, "offers", "victim").await;
        let to = victim.joined.you;
        let begun = Instant::now();
        let (mut bytes, mut offers, mut busy) = (0, 0, 0);
        for round in 0..OFFERS / 10 {
            for attempt in 0..10 {
                let signal = Signal::Offer { sdp: "x".repeat(OFFER_BYTES) };
                let attempt = 10 * round + attempt;
                hostile.client.say(&ClientMessage::Signal { to, attempt, signal }).await;
            }
            hostile.client.say(&ClientMessage::Ping { token: round }).await;
            let answered = hostile.client.until("a pong", |received| match received {
                Received::Message(ServerMessage::Error { code, peer, .. }) => {
                    assert_eq!((code, *peer), (&ErrorCode::ReceiverBusy, Some(to)));
                    busy += 1;
                    None
                }
                Received::Message(ServerMessage::Pong { .. }) => Some(()),
                _ => None,
            });
            answered.await;
            victim.client.say(&ClientMessage::Ping { token: round }).await;
            let counted = victim.client.until("a pong", |received| match received {
                Received::Message(ServerMessage::Signal { .. }) => {
                    offers += 1;
                    bytes += OFFER_BYTES;
                    None
                }
                Received::Message(ServerMessage::Pong { .. }) => Some(()),
                _ => None,
            });
            counted.await;
        }
        let most = 65_536.0 + 8_192.0 * begun.elapsed().as_secs_f64();
        println!("{offers} of {OFFERS} offers in {:?}, {busy} times busy", begun.elapsed());
        assert!(bytes as f64 <= most && offers >= 4 && busy >= 1, "{offers} offers");
        // An attempt of the usual size passes soon.
        let signal = Signal::Offer { sdp: "x".repeat(1_000) };
        let mut passed = false;
        while !passed {
            hostile
                .client
                .say(&ClientMessage::Signal { to, attempt: 1_000, signal: signal.clone() })
                .await;
            hostile.client.handled(99).await;
            victim.client.say(&ClientMessage::Ping { token: 99 }).await;
            let counted = victim.client.until("a pong", |received| match received {
                Received::Message(ServerMessage::Signal { attempt: 1_000, .. }) => {
                    passed = true;
                    None
                }
                Received::Message(ServerMessage::Pong { .. }) => Some(()),
                _ => None,
            });
            counted.await;
        }
    });
    watch.held();
}
