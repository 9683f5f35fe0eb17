//! What a link costs on the wire, and what it loses on a long way.

use std::time::{Duration, Instant};

use crate::common::wire::{Tally, Wire};
use crate::common::{speak, undisturbed};
use bytes::Bytes;
use voicemesh_link::{LinkStats, Stream};

fn sent(stats: &LinkStats) -> (u64, u64) {
    (stats.wire_sent_packets, stats.wire_sent_bytes)
}

/// Everything that both ends sent has passed the wire: counts again until two tallies are equal.
async fn settled(wire: &Wire) -> [Tally; 2] {
    let mut tick = tokio::time::interval(Duration::from_millis(300));
    tick.tick().await;
    let mut tallies = wire.tallies();
    loop {
        tick.tick().await;
        let again = wire.tallies();
        if again == tallies {
            return again;
        }
        tallies = again;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_counts_every_datagram_it_puts_on_the_wire_with_its_headers() {
    let (a, mut b, wire) = Wire::open_pair().await;
    speak(&a, 50, Duration::from_millis(5), 120).await;
    a.link().send(Stream::Reliable, Bytes::from_static(b"the end")).unwrap();
    while let (Stream::Voice, _) = b.received().await {}
    let [from_a, from_b] = settled(&wire).await;
    let (a, b) = (a.link().stats(), b.link().stats());
    assert!(from_a.bytes > 50 * 120, "{from_a:?}");
    assert_eq!(sent(&a), (from_a.packets, from_a.bytes));
    assert_eq!(sent(&b), (from_b.packets, from_b.bytes));
    assert_eq!((a.wire_received_packets, a.wire_received_bytes), sent(&b));
    assert_eq!((b.wire_received_packets, b.wire_received_bytes), sent(&a));
}

/// Paths that carry no more than the smallest MTU of IPv6, and silently lose what is larger, are
/// common.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_datagram_exceeds_1280_bytes_whatever_is_sent_at_once_and_however_often() {
    let (a, mut b, wire) = Wire::open_pair().await;
    wire.delay(Duration::from_millis(20));
    wire.lose_percent(20);
    let mut ticks = tokio::time::interval(Duration::from_millis(40));
    for _ in 0..40 {
        ticks.tick().await;
        for bytes in [60, 250, 400, 400, 400, 250, 60, 60] {
            a.link().send(Stream::Voice, vec![1; bytes].into()).unwrap();
        }
        for bytes in [1_100, 1_030, 500, 300, 1_030, 30, 30] {
            a.link().send(Stream::Unreliable, vec![2; bytes].into()).unwrap();
        }
        for bytes in [100, 3_000, 100] {
            a.link().send(Stream::Reliable, vec![3; bytes].into()).unwrap();
        }
    }
    wire.lose_percent(0);
    a.link().send(Stream::Reliable, Bytes::from_static(b"the end")).unwrap();
    let mut reliable = 0;
    loop {
        match b.received().await {
            (Stream::Reliable, packet) if packet == b"the end" => break,
            (Stream::Reliable, _) => reliable += 1,
            _ => {}
        }
    }
    assert_eq!(reliable, 120);
    let [from_a, _] = wire.tallies();
    println!(
        "the largest of {} datagrams: {} bytes of UDP payload",
        from_a.packets, from_a.largest
    );
    assert!(from_a.largest + 40 + 8 <= 1_280, "{from_a:?}");
}

/// Otherwise they would arrive together, and say nothing of what the way carries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_that_are_sent_at_once_have_each_a_datagram() {
    const PROBES: u64 = 8;
    let (a, mut b, wire) = Wire::open_pair().await;
    settled(&wire).await;
    let [before, _] = wire.tallies();
    for _ in 0..PROBES {
        a.link().send_probe(vec![1; 120].into()).unwrap();
    }
    a.link().send(Stream::Unreliable, vec![2; 120].into()).unwrap();
    for _ in 0..PROBES {
        assert_eq!(b.received().await, (Stream::Unreliable, vec![1; 120]));
    }
    assert_eq!(b.received().await, (Stream::Unreliable, vec![2; 120]));
    let [after, _] = wire.tallies();
    let sent = after.since(before);
    let with_messages = sent.packets - sent.stun_packets - sent.control_packets;
    assert_eq!(with_messages, PROBES + 1, "{sent:?}");
}

/// SCTP sends again in one datagram whatever it finds lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_messages_that_are_all_lost_come_again_in_datagrams_of_at_most_1280_bytes() {
    const MESSAGES: usize = 400;
    let (a, mut b, wire) = Wire::open_pair().await;
    wire.lose_percent(100);
    for _ in 0..MESSAGES {
        a.link().send(Stream::Reliable, Bytes::from_static(b"!")).unwrap();
    }
    settled(&wire).await;
    wire.lose_percent(0);
    for _ in 0..MESSAGES {
        assert_eq!(b.received().await, (Stream::Reliable, b"!".to_vec()));
    }
    let [from_a, _] = wire.tallies();
    assert!(from_a.largest + 40 + 8 <= 1_280, "{from_a:?}");
}

/// Keep-alives alone measure every 6 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_speech_flows_the_round_trip_is_known_within_two_seconds() {
    let _undisturbed = undisturbed().await;
    let (a, _b, wire) = Wire::open_pair().await;
    let frame = Duration::from_millis(20);
    let round_trip = || a.link().stats().round_trip.expect("it is known");
    for (one_way, speaking, expected) in [(150, 125, 300..370), (5, 150, 10..75)] {
        wire.delay(Duration::from_millis(one_way));
        speak(&a, speaking, frame, 100).await;
        let measured = round_trip().as_millis();
        assert!(expected.contains(&measured), "{measured} ms with {one_way} ms each way");
    }
}

/// One speaks for 6 s, the other listens.
async fn listening(frame: Duration, bytes: usize) -> (f64, f64) {
    const SPEAKING: Duration = Duration::from_secs(6);
    let (a, _b, wire) = Wire::open_pair().await;
    speak(&a, 50, frame, bytes).await;
    let before = wire.tallies();
    speak(&a, (SPEAKING.as_millis() / frame.as_millis()) as usize, frame, bytes).await;
    let after = wire.tallies();
    let [speaker, listener] = [0, 1].map(|end| after[end].since(before[end]));
    println!(
        "{frame:?} frames of {bytes} bytes: speaker {:.1} kbit/s {speaker:?}; listener {:.1} kbit/s {listener:?}",
        speaker.kbit_per_s(SPEAKING),
        listener.kbit_per_s(SPEAKING)
    );
    (speaker.kbit_per_s(SPEAKING), listener.kbit_per_s(SPEAKING))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_listener_acknowledges_with_less_than_12_kbit_per_s() {
    for (frame, bytes) in [(20, 95), (40, 155), (60, 215)] {
        let (_, listener) = listening(Duration::from_millis(frame), bytes).await;
        assert!(listener <= 12.0, "{listener} kbit/s with frames of {frame} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_carries_nothing_costs_less_than_500_bit_per_s() {
    const IDLE: Duration = Duration::from_secs(20);
    let (mut a, mut b, wire) = Wire::open_pair().await;
    let before = settled(&wire).await;
    let mut over = tokio::time::interval(IDLE);
    over.tick().await;
    over.tick().await;
    let after = wire.tallies();
    for end in [0, 1] {
        let idle = after[end].since(before[end]);
        println!("idle: {:.2} kbit/s {idle:?}", idle.kbit_per_s(IDLE));
        assert!(idle.kbit_per_s(IDLE) <= 0.5, "{idle:?}");
    }
    // By them the session knows that it need not probe.
    for end in [&mut a, &mut b] {
        let answered = end.events.keep_alives();
        assert!((2..=4).contains(&answered.len()), "in 20 s: {answered:?}");
    }
}

/// What became of a stream of voice.
#[derive(Debug, Default)]
struct Heard {
    in_time: usize,
    late: usize,
    not_sent: usize,
}

/// Speaks `packets` of `bytes` over a wire with this delay each way and loss; one is late 200 ms
/// after its wire's delay.
async fn over(delay: Duration, lose_percent: usize, packets: usize, bytes: usize) -> Heard {
    let (a, mut b, wire) = Wire::open_pair().await;
    wire.delay(delay);
    wire.lose_percent(lose_percent);
    let began = Instant::now();
    let speaking = async {
        let mut frames = tokio::time::interval(Duration::from_millis(20));
        for _ in 0..packets {
            frames.tick().await;
            let mut packet = vec![0; bytes];
            packet[..8].copy_from_slice(&(began.elapsed().as_micros() as u64).to_be_bytes());
            let _ = a.link().send(Stream::Voice, Bytes::from(packet));
        }
        wire.lose_percent(0);
        a.link().send(Stream::Reliable, Bytes::from_static(b"the end")).unwrap();
    };
    let hearing = async {
        let mut heard = Heard::default();
        while let (Stream::Voice, packet) = b.received().await {
            let spoken = Duration::from_micros(u64::from_be_bytes(packet[..8].try_into().unwrap()));
            let took = began.elapsed() - spoken;
            if took <= delay + Duration::from_millis(200) {
                heard.in_time += 1
            } else {
                heard.late += 1
            }
        }
        heard
    };
    let ((), heard) = tokio::join!(speaking, hearing);
    Heard { not_sent: a.link().stats().voice_dropped as usize, ..heard }
}

/// Several pairs speak at once: what is lost of everything spoken, in percent.
async fn lost_over_a_long_way(bytes: usize) -> f64 {
    const SPOKEN: usize = 1000;
    const PAIRS: usize = 6;
    let mut pairs = tokio::task::JoinSet::new();
    for _ in 0..PAIRS {
        pairs.spawn(over(Duration::from_millis(150), 10, SPOKEN, bytes));
    }
    let pairs = pairs.join_all().await;
    let percent = |count: fn(&Heard) -> usize| {
        pairs.iter().map(count).sum::<usize>() as f64 * 100.0 / (PAIRS * SPOKEN) as f64
    };
    let lost = 100.0 - percent(|heard| heard.in_time);
    println!(
        "{bytes} bytes: {lost:.1} % not heard in time; not sent {:.1} %, late {:.1} %",
        percent(|heard| heard.not_sent),
        percent(|heard| heard.late)
    );
    lost
}

/// The window of SCTP shrinks where much is lost on a long way, which must not silence speech with
/// redundancy. With a window of the true MTU it is 25 % and more. A machine that is busy with other
/// things is late at both ends, so the best of three measurements counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_300_ms_and_10_percent_loss_little_more_is_lost_than_the_wire_loses() {
    let _undisturbed = undisturbed().await;
    for bytes in [100, 190] {
        let mut lost = lost_over_a_long_way(bytes).await;
        for _ in 0..2 {
            if lost > 12.0 {
                lost = lost.min(lost_over_a_long_way(bytes).await);
            }
        }
        assert!(lost <= 12.0, "{lost} % of packets of {bytes} bytes");
    }
}
