//! What a link costs on the wire.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::speak;
use common::wire::{Tally, Wire};
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
