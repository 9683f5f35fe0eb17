//! Links over a network that loses packets, or all of them.

use std::time::Duration;

use crate::common::wire::Wire;
use crate::common::{End, speak, undisturbed};
use bytes::Bytes;
use voicemesh_link::{CloseReason, Stream, VOICE_QUEUE_PACKETS};

/// Acknowledgements are lost too, several in a row now and then, and speech must not stand still
/// for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_at_random_on_both_ways_is_all_that_is_lost() {
    let _undisturbed = undisturbed().await;
    const SPOKEN: usize = 250;
    let mut pairs = tokio::task::JoinSet::new();
    for _ in 0..8 {
        pairs.spawn(async {
            let (a, mut b, wire) = Wire::open_pair().await;
            wire.lose_percent(10);
            speak(&a, SPOKEN, Duration::from_millis(20), 100).await;
            wire.lose_percent(0);
            a.link().send(Stream::Reliable, Bytes::from_static(b"the end")).unwrap();
            let mut heard = 0;
            while let (Stream::Voice, _) = b.received().await {
                heard += 1;
            }
            (heard, a.link().stats().voice_dropped)
        });
    }
    while let Some(pair) = pairs.join_next().await {
        let (heard, dropped) = pair.unwrap();
        println!("heard {heard} of {SPOKEN} spoken; {dropped} were not sent");
        assert!(heard >= SPOKEN * 8 / 10 && dropped <= 10, "heard {heard}, not sent {dropped}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_voice_is_never_sent_again_in_either_direction_and_lost_reliable_data_is() {
    const SPOKEN: usize = 200;
    for _ in 0..4 {
        let (mut a, mut b, wire) = Wire::open_pair().await;
        wire.lose_every(10);
        let interval = Duration::from_millis(5);
        tokio::join!(speak(&a, SPOKEN, interval, 100), speak(&b, SPOKEN, interval, 100));
        for end in [&a, &b] {
            end.link().send(Stream::Reliable, Bytes::from_static(b"the end")).unwrap();
        }
        assert_lossy(&mut a, SPOKEN, b.link().stats().voice_dropped).await;
        assert_lossy(&mut b, SPOKEN, a.link().stats().voice_dropped).await;
    }
}

/// Voice up to a reliable last word. Were it sent again, all that was not dropped by its sender
/// would be here.
async fn assert_lossy(end: &mut End, spoken: usize, dropped: u64) {
    let mut heard = 0;
    while let (Stream::Voice, _) = end.received().await {
        heard += 1;
    }
    let sent = spoken - dropped as usize;
    println!("heard {heard} of {sent} sent of {spoken} spoken");
    assert!(heard >= spoken / 3 && heard <= sent - sent / 20, "heard {heard} of {sent} sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_that_is_cut_holds_back_voice_at_once_and_closes_both_links_after_15_seconds() {
    let (mut a, mut b, wire) = Wire::open_pair().await;
    speak(&a, 100, Duration::from_millis(5), 100).await;
    wire.lose_every(1);
    let sent_before = a.link().stats().voice_sent;
    speak(&a, 100, Duration::from_millis(5), 100).await;
    let stats = a.link().stats();
    assert!(
        stats.voice_unacknowledged_for.is_some_and(|age| age >= Duration::from_millis(300)),
        "{stats:?}"
    );
    let in_flight = stats.voice_sent - sent_before;
    // Half a second, which an acknowledgement that is held back for 240 ms and lost once takes.
    assert!(
        in_flight <= 100 - VOICE_QUEUE_PACKETS as u64,
        "{in_flight} packets were sent into the void"
    );
    assert!(stats.voice_dropped >= 100 - in_flight - VOICE_QUEUE_PACKETS as u64, "{stats:?}");
    let cut_at = std::time::Instant::now();
    assert_eq!(a.events.closed().await, CloseReason::Lost);
    assert_eq!(b.events.closed().await, CloseReason::Lost);
    let lost_after = cut_at.elapsed().as_secs_f64();
    assert!((10.0..18.0).contains(&lost_after), "{lost_after}");
}
