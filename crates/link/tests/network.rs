//! Links over a network that loses packets, or all of them.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{End, alone};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::net::UdpSocket;
use tokio::time::MissedTickBehavior;
use voicemesh_link::limits::VOICE_QUEUE_PACKETS;
use voicemesh_link::{CloseReason, LinkEvent, Role, Stream};
use voicemesh_wire::signaling::Signal;

/// Stands between two links. Loses every `lose_every`th packet; 0 loses none and 1 all.
struct Wire {
    lose_every: Arc<AtomicUsize>,
    /// Of a hundred packets, by a seeded draw.
    lose_percent: Arc<AtomicUsize>,
}

impl Wire {
    /// An open pair whose packets all go through a wire that loses nothing yet.
    async fn open_pair() -> (End, End, Self) {
        let (mut a, mut b) = (alone(Role::Offer), alone(Role::Answer));
        let wire = Self { lose_every: Arc::default(), lose_percent: Arc::default() };
        let (beside_a, beside_b) = (local_socket().await, local_socket().await);
        b.link().signal(a.signal().await);
        let a_address = Self::candidate(&mut a, &b, beside_b.local_addr().unwrap()).await;
        a.link().signal(b.signal().await);
        let b_address = Self::candidate(&mut b, &a, beside_a.local_addr().unwrap()).await;
        wire.carry(&beside_a, &beside_b, b_address);
        wire.carry(&beside_b, &beside_a, a_address);
        assert_eq!(a.events.next().await, LinkEvent::Open);
        assert_eq!(b.events.next().await, LinkEvent::Open);
        (a, b, wire)
    }

    /// Takes the one candidate of a link, tells the other link to use the wire instead, and returns where it leads.
    async fn candidate(from: &mut End, to: &End, wire: SocketAddr) -> SocketAddr {
        let Signal::Candidate { candidate, sdp_mid, sdp_m_line_index } = from.signal().await else {
            panic!("expected a candidate");
        };
        assert_eq!(from.signal().await, Signal::EndOfCandidates);
        let mut words: Vec<_> = candidate.split(' ').map(str::to_owned).collect();
        let address = format!("{}:{}", words[4], words[5]).parse().unwrap();
        words[5] = wire.port().to_string();
        to.link().signal(Signal::Candidate { candidate: words.join(" "), sdp_mid, sdp_m_line_index });
        address
    }

    fn carry(&self, from: &Arc<UdpSocket>, to: &Arc<UdpSocket>, destination: SocketAddr) {
        let (from, to) = (Arc::clone(from), Arc::clone(to));
        let (lose_every, lose_percent) = (Arc::clone(&self.lose_every), Arc::clone(&self.lose_percent));
        static WIRES: AtomicU64 = AtomicU64::new(0);
        let mut draws = ChaCha8Rng::seed_from_u64(WIRES.fetch_add(1, Ordering::Relaxed));
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            for number in 1_usize.. {
                let Ok((bytes, _)) = from.recv_from(&mut buffer).await else { return };
                let lose_every = lose_every.load(Ordering::Relaxed);
                let unlucky = draws.random_range(0..100) < lose_percent.load(Ordering::Relaxed);
                if !unlucky && (lose_every == 0 || number % lose_every != 0) {
                    let _ = to.send_to(&buffer[..bytes], destination).await;
                }
            }
        });
    }

    fn lose_every(&self, packets: usize) {
        self.lose_every.store(packets, Ordering::Relaxed);
    }
}

/// Acknowledgements are lost too, several in a row now and then, and speech must not stand still for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_at_random_on_both_ways_is_all_that_is_lost() {
    const SPOKEN: usize = 250;
    let mut pairs = tokio::task::JoinSet::new();
    for _ in 0..8 {
        pairs.spawn(async {
            let (a, mut b, wire) = Wire::open_pair().await;
            wire.lose_percent.store(10, Ordering::Relaxed);
            speak(&a, SPOKEN, Duration::from_millis(20)).await;
            wire.lose_percent.store(0, Ordering::Relaxed);
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

async fn local_socket() -> Arc<UdpSocket> {
    Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap())
}

/// Speaks one packet in each interval.
async fn speak(end: &End, packets: usize, interval: Duration) {
    let mut frames = tokio::time::interval(interval);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..packets {
        frames.tick().await;
        let _ = end.link().send(Stream::Voice, Bytes::from(vec![number as u8; 100]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_voice_is_never_sent_again_in_either_direction_and_lost_reliable_data_is() {
    const SPOKEN: usize = 200;
    for _ in 0..4 {
        let (mut a, mut b, wire) = Wire::open_pair().await;
        wire.lose_every(10);
        let interval = Duration::from_millis(5);
        tokio::join!(speak(&a, SPOKEN, interval), speak(&b, SPOKEN, interval));
        for end in [&a, &b] {
            end.link().send(Stream::Reliable, Bytes::from_static(b"the end")).unwrap();
        }
        assert_lossy(&mut a, SPOKEN, b.link().stats().voice_dropped).await;
        assert_lossy(&mut b, SPOKEN, a.link().stats().voice_dropped).await;
    }
}

/// Voice up to a reliable last word. Were it sent again, all that was not dropped by its sender would be here.
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
    speak(&a, 100, Duration::from_millis(5)).await;
    wire.lose_every(1);
    let sent_before = a.link().stats().voice_sent;
    speak(&a, 100, Duration::from_millis(5)).await;
    let stats = a.link().stats();
    assert!(stats.voice_unacknowledged_for.is_some_and(|age| age >= Duration::from_millis(300)), "{stats:?}");
    let in_flight = stats.voice_sent - sent_before;
    assert!(in_flight <= 60, "{in_flight} packets were sent into the void");
    assert!(stats.voice_dropped >= 100 - in_flight - VOICE_QUEUE_PACKETS as u64, "{stats:?}");
    let cut_at = std::time::Instant::now();
    assert_eq!(a.events.closed().await, CloseReason::Lost);
    assert_eq!(b.events.closed().await, CloseReason::Lost);
    let lost_after = cut_at.elapsed().as_secs_f64();
    assert!((10.0..18.0).contains(&lost_after), "{lost_after}");
}
