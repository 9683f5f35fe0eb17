//! One peer opens links to all others of a large room at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{End, alone_with, stack, undisturbed};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;
use voicemesh_link::{LinkEvent, Role};
use voicemesh_wire::signaling::Signal;

const OTHERS: u128 = 49;
/// Candidates of each side that lead nowhere, beside the one that leads to it.
const DEAD: usize = 4;
/// From the first moment until all links are open.
const PROMISED: Duration = Duration::from_secs(5);

/// Of five candidates of each side only the last one leads to it. 98 handshakes share the machine
/// with other tests, so the best of three rooms counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fiftieth_of_a_room_opens_links_to_all_others_within_five_seconds() {
    let _undisturbed = undisturbed().await;
    let mut took = open_all().await;
    for _ in 0..2 {
        if took > PROMISED {
            took = took.min(open_all().await);
        }
    }
    assert!(took <= PROMISED, "{took:?}");
}

async fn open_all() -> Duration {
    let fiftieth = stack();
    let (named_to_it, named_to_others) = (DeadEnds::new().await, DeadEnds::new().await);
    let began = Instant::now();
    let mut pairs = JoinSet::new();
    for number in 0..OTHERS {
        // In a room either side may be the one that offers.
        let (own_role, role) =
            if number % 2 == 0 { (Role::Offer, Role::Answer) } else { (Role::Answer, Role::Offer) };
        let own = alone_with(&fiftieth, own_role, number);
        let other = alone_with(&stack(), role, OTHERS);
        pairs.spawn(open(own, other, named_to_it.candidates(), named_to_others.candidates()));
    }
    let mut open = Vec::new();
    while let Some(pair) = pairs.join_next().await {
        open.push((pair.unwrap(), began.elapsed()));
    }
    let took = began.elapsed();
    let sent = named_to_it.came.load(Ordering::Relaxed);
    println!(
        "{} links open after {took:?}, half of them after {:?}; {sent} datagrams to addresses without an answer",
        open.len(),
        open[open.len() / 2].1,
    );
    assert_eq!(open.len(), OTHERS as usize);
    let most = 300 + (100.0 * took.as_secs_f64()) as usize;
    assert!(
        (OTHERS as usize..=most).contains(&sent),
        "{sent} datagrams to addresses without an answer in {took:?}"
    );
    took
}

/// Hands over what the ends say until both are open. Before its own candidate, each names some that
/// lead nowhere.
async fn open(
    mut own: End,
    mut other: End,
    to_own: Vec<Signal>,
    to_other: Vec<Signal>,
) -> (End, End) {
    let mut are_open = [false; 2];
    while are_open != [true; 2] {
        tokio::select! {
            event = own.events.next() => are_open[0] |= hand_over(event, &other, &to_other),
            event = other.events.next() => are_open[1] |= hand_over(event, &own, &to_own),
        }
    }
    (own, other)
}

/// Whether the end that said it is open.
fn hand_over(event: LinkEvent, to: &End, dead: &[Signal]) -> bool {
    match event {
        LinkEvent::Signal(description @ (Signal::Offer { .. } | Signal::Answer { .. })) => {
            to.link().signal(description);
            dead.iter().for_each(|candidate| to.link().signal(candidate.clone()));
        }
        LinkEvent::Signal(signal) => to.link().signal(signal),
        LinkEvent::Open => return true,
        other => panic!("{other:?} while a link opens"),
    }
    false
}

/// Sockets that answer nothing and count what comes.
struct DeadEnds {
    ports: Vec<u16>,
    came: Arc<AtomicUsize>,
    _listening: JoinSet<()>,
}

impl DeadEnds {
    async fn new() -> Self {
        let (mut ports, came, mut listening) =
            (Vec::new(), Arc::<AtomicUsize>::default(), JoinSet::new());
        for _ in 0..DEAD {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            ports.push(socket.local_addr().unwrap().port());
            let came = Arc::clone(&came);
            listening.spawn(async move {
                let mut buffer = [0; 1_500];
                while socket.recv_from(&mut buffer).await.is_ok() {
                    came.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { ports, came, _listening: listening }
    }

    /// Of a higher priority than any that a link names.
    fn candidates(&self) -> Vec<Signal> {
        let candidate = |port| Signal::Candidate {
            candidate: format!("candidate:{port} 1 udp {} 127.0.0.1 {port} typ host", i32::MAX),
            sdp_mid: Some("0".to_owned()),
            sdp_m_line_index: Some(0),
        };
        self.ports.iter().map(candidate).collect()
    }
}
