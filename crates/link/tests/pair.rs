//! Two links in one process, over loopback.

use std::time::Duration;

use crate::common::{
    End, alone, alone_on, open_pair, pair, pair_on, pair_with, stack, undisturbed,
};
use bytes::Bytes;
use tokio::time::MissedTickBehavior;
use voicemesh_link::{
    CloseReason, LOSSY_PACKET_BYTES, Link, LinkEvent, LinkSendError, RELIABLE_STREAM_PACKET_BYTES,
    Role, Stream,
};
use voicemesh_wire::signaling::{IceServer, Signal};

fn packet(bytes: usize, seed: usize) -> Bytes {
    (0..bytes).map(|i| ((i + seed) * 31 % 253) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_opens_and_carries_voice_both_ways() {
    let (mut a, mut b) = open_pair().await;
    a.link().send(Stream::Voice, packet(80, 1)).unwrap();
    b.link().send(Stream::Voice, packet(LOSSY_PACKET_BYTES, 2)).unwrap();
    assert_eq!(b.received().await, (Stream::Voice, packet(80, 1).to_vec()));
    assert_eq!(a.received().await, (Stream::Voice, packet(LOSSY_PACKET_BYTES, 2).to_vec()));
    let stats = a.link().stats();
    assert!(
        stats.round_trip.is_some_and(|round_trip| round_trip < Duration::from_secs(1)),
        "{stats:?}"
    );
    assert_eq!((stats.voice_sent, stats.voice_received), (1, 1));
    println!(
        "opened after {:?} and {:?}",
        stats.opened_after.unwrap(),
        b.link().stats().opened_after.unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_link_sends_is_counted_as_the_cost_of_opening_until_it_is_open() {
    let stacks = [stack(), stack()];
    assert_eq!(stacks[0].opening_bytes(), 0);
    let (mut a, mut b) = pair_on([&stacks[0], &stacks[1]], &[]);
    for end in [&mut a, &mut b] {
        assert_eq!(end.events.next().await, LinkEvent::Open);
    }
    let opening = [stacks[0].opening_bytes(), stacks[1].opening_bytes()];
    println!("opening sent {opening:?} bytes");
    for (end, opening) in [&a, &b].into_iter().zip(opening) {
        assert!((1_000..=end.link().stats().wire_sent_bytes).contains(&opening), "{opening}");
    }
    a.link().send(Stream::Voice, packet(500, 1)).unwrap();
    assert_eq!(b.received().await, (Stream::Voice, packet(500, 1).to_vec()));
    assert_eq!(
        [stacks[0].opening_bytes(), stacks[1].opening_bytes()],
        opening,
        "speech costs nothing of it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_sent_in_the_moment_of_opening_arrives() {
    for stream in [Stream::Voice, Stream::Reliable, Stream::Unreliable].repeat(8) {
        let (mut a, mut b) = pair();
        assert_eq!(a.events.next().await, LinkEvent::Open);
        a.link().send(stream, packet(80, 1)).unwrap();
        assert_eq!(b.events.next().await, LinkEvent::Open);
        assert_eq!(b.received().await, (stream, packet(80, 1).to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reliable_packets_of_16_kib_arrive_exact_and_in_order_beside_voice() {
    const PACKETS: usize = 16;
    let (a, mut b) = open_pair().await;
    for seed in 0..PACKETS {
        a.link().send(Stream::Reliable, packet(RELIABLE_STREAM_PACKET_BYTES, seed)).unwrap();
    }
    let speaker = a.link().clone();
    let spoken = tokio::spawn(async move {
        let mut frames = tokio::time::interval(Duration::from_millis(2));
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for seed in 0..50 {
            frames.tick().await;
            speaker.send(Stream::Voice, packet(100, seed)).unwrap();
        }
    });
    let (mut reliable, mut voice) = (0, 0);
    // On a machine with other things to do some voice gives way.
    while reliable < PACKETS || voice < 20 {
        match b.received().await {
            (Stream::Reliable, received) => {
                assert_eq!(received, packet(RELIABLE_STREAM_PACKET_BYTES, reliable));
                reliable += 1;
            }
            (Stream::Voice, received) => {
                assert_eq!(received.len(), 100);
                voice += 1;
            }
            (Stream::Unreliable, _) => panic!("that was never sent"),
        }
    }
    spoken.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_reliable_data_than_the_queue_holds_is_refused_and_what_was_taken_arrives() {
    let (a, mut b) = open_pair().await;
    let mut taken = 0;
    let refusal = loop {
        match a.link().send(Stream::Reliable, packet(RELIABLE_STREAM_PACKET_BYTES, taken)) {
            Ok(()) => taken += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, LinkSendError::Full);
    for seed in 0..taken {
        assert_eq!(b.received().await.1, packet(RELIABLE_STREAM_PACKET_BYTES, seed));
    }
    a.link().send(Stream::Reliable, Bytes::new()).unwrap();
    assert_eq!(b.received().await, (Stream::Reliable, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_beyond_the_limits_are_refused_by_send() {
    let (a, _b) = open_pair().await;
    for (stream, limit) in [
        (Stream::Voice, LOSSY_PACKET_BYTES),
        (Stream::Unreliable, LOSSY_PACKET_BYTES),
        (Stream::Reliable, RELIABLE_STREAM_PACKET_BYTES),
    ] {
        assert_eq!(
            a.link().send(stream, packet(limit + 1, 0)),
            Err(LinkSendError::TooLarge { limit })
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn candidates_that_come_before_the_description_are_held() {
    let (mut a, mut b) = (alone(Role::Offer), alone(Role::Answer));
    candidates_first(&mut a, b.link().as_ref()).await;
    candidates_first(&mut b, a.link().as_ref()).await;
    assert_eq!(a.events.next().await, LinkEvent::Open);
    assert_eq!(b.events.next().await, LinkEvent::Open);
}

/// Hands over everything one end has to say, its description last.
async fn candidates_first(from: &mut End, to: &dyn Link) {
    let description = from.signal().await;
    assert!(matches!(description, Signal::Offer { .. } | Signal::Answer { .. }));
    let mut candidates = 0;
    loop {
        match from.signal().await {
            Signal::EndOfCandidates => break,
            candidate => {
                if let Signal::Candidate { sdp_mid, sdp_m_line_index, .. } = &candidate {
                    assert_eq!((sdp_mid.as_deref(), *sdp_m_line_index), (Some("0"), Some(0)));
                }
                candidates += 1;
                to.signal(candidate);
            }
        }
    }
    assert!(candidates > 0);
    to.signal(Signal::EndOfCandidates);
    to.signal(description);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_one_side_closes_the_other() {
    let (mut a, mut b) = open_pair().await;
    a.link().close();
    a.link().close();
    assert_eq!(a.events.closed().await, CloseReason::Local);
    assert_eq!(b.events.closed().await, CloseReason::Remote);
    assert_eq!(a.link().send(Stream::Voice, Bytes::new()), Err(LinkSendError::Closed));
    assert_eq!(b.link().send(Stream::Voice, Bytes::new()), Err(LinkSendError::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_link_closes_it_on_both_sides() {
    let (mut a, mut b) = open_pair().await;
    drop(b.link.take());
    assert_eq!(b.events.closed().await, CloseReason::Local);
    assert_eq!(a.events.closed().await, CloseReason::Remote);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_while_opening_is_told_once() {
    let (mut a, b) = pair();
    a.link().close();
    assert_eq!(a.events.closed().await, CloseReason::Local);
    drop(b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_unknown_malformed_or_away_do_not_keep_a_link_from_opening() {
    let _undisturbed = undisturbed().await;
    let server =
        |url: &str| IceServer { urls: vec![url.to_owned()], username: None, credential: None };
    let servers = [
        "stun:nowhere.invalid:3478",
        "stun:127.0.0.1:9",
        "turn:127.0.0.1:9",
        "turns:127.0.0.1",
        "nonsense",
        "",
    ]
    .map(server);
    let opened_after = async |servers: &[IceServer]| {
        let (mut a, mut b) = pair_with(servers);
        assert_eq!(a.events.next().await, LinkEvent::Open);
        assert_eq!(b.events.next().await, LinkEvent::Open);
        a.link().stats().opened_after.unwrap()
    };
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        with.push(opened_after(&servers).await);
        without.push(opened_after(&[]).await);
    }
    println!("opened after {with:?} with the servers, {without:?} without");
    let (with, without) = (with.into_iter().min().unwrap(), without.into_iter().min().unwrap());
    assert!(with <= without + Duration::from_millis(150), "{with:?} and {without:?}");
}

/// A machine that is off, or a firewall that drops what goes to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_server_that_never_answers_is_told_once_and_the_link_is_open_meanwhile() {
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let turn = IceServer {
        urls: vec![format!("turn:{}", silent.local_addr().unwrap())],
        username: Some("ada".to_owned()),
        credential: Some("secret".to_owned()),
    };
    let (mut a, mut b) = pair_with(&[turn]);
    for end in [&mut a, &mut b] {
        assert_eq!(end.events.next().await, LinkEvent::Open);
        assert_eq!(end.events.next().await, LinkEvent::TurnFailed);
    }
    for end in [&mut a, &mut b] {
        end.link().send(Stream::Reliable, Bytes::from_static(b"still here")).unwrap();
    }
    for end in [&mut a, &mut b] {
        assert_eq!(end.received().await, (Stream::Reliable, b"still here".to_vec()));
    }
}

#[test]
fn the_end_of_the_runtime_is_the_end_of_its_links() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut a, _b) = runtime.block_on(open_pair());
    let stack = runtime.block_on(async { stack() });
    drop(runtime);
    let mut too_late = alone_on(&stack, Role::Offer);
    let elsewhere = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for end in [&mut a, &mut too_late] {
        assert!(matches!(elsewhere.block_on(end.events.closed()), CloseReason::Internal(_)));
        assert_eq!(end.link().send(Stream::Voice, Bytes::new()), Err(LinkSendError::Closed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_without_an_answer_gives_up_after_15_seconds() {
    let began = tokio::time::Instant::now();
    for role in [Role::Offer, Role::Answer] {
        assert_eq!(alone(role).events.closed().await, CloseReason::OpenTimeout);
    }
    assert_eq!(began.elapsed().as_secs(), 30);
}
