//! A wire between two links: loses, delays, and counts what passes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use voicemesh_link::{LinkEvent, Role};
use voicemesh_wire::signaling::Signal;

use super::{End, alone};

/// IPv4 and UDP headers.
pub const HEADER_BYTES: u64 = 28;

/// Stands between two links; everything between them passes through it.
pub struct Wire {
    lose_every: Arc<AtomicUsize>,
    lose_percent: Arc<AtomicUsize>,
    delay_ms: Arc<AtomicU64>,
    /// From the offering end, and from the answering one.
    tallies: [Arc<Mutex<Tally>>; 2],
}

/// What one end sent: datagrams and their bytes, IP and UDP headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub packets: u64,
    pub bytes: u64,
    /// Of these, STUN.
    pub stun_packets: u64,
    pub stun_bytes: u64,
    /// Of these, DTLS records too short to hold a voice packet of a test: acknowledgements and
    /// FORWARD-TSN.
    pub control_packets: u64,
    pub control_bytes: u64,
    /// UDP payload of the largest datagram.
    pub largest: usize,
}

impl Tally {
    fn count(&mut self, datagram: &[u8]) {
        let bytes = datagram.len() as u64 + HEADER_BYTES;
        self.packets += 1;
        self.bytes += bytes;
        self.largest = self.largest.max(datagram.len());
        if datagram.first().is_some_and(|&first| first < 4) {
            self.stun_packets += 1;
            self.stun_bytes += bytes;
        } else if datagram.len() < 90 {
            self.control_packets += 1;
            self.control_bytes += bytes;
        }
    }

    /// What was sent since an earlier tally.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            packets: self.packets - earlier.packets,
            bytes: self.bytes - earlier.bytes,
            stun_packets: self.stun_packets - earlier.stun_packets,
            stun_bytes: self.stun_bytes - earlier.stun_bytes,
            control_packets: self.control_packets - earlier.control_packets,
            control_bytes: self.control_bytes - earlier.control_bytes,
            largest: self.largest,
        }
    }

    pub fn kbit_per_s(self, over: Duration) -> f64 {
        self.bytes as f64 * 8.0 / 1000.0 / over.as_secs_f64()
    }
}

impl Wire {
    /// An open pair whose packets all go through a wire that neither loses nor delays yet.
    pub async fn open_pair() -> (End, End, Self) {
        let (mut a, mut b) = (alone(Role::Offer), alone(Role::Answer));
        let wire = Self {
            lose_every: Arc::default(),
            lose_percent: Arc::default(),
            delay_ms: Arc::default(),
            tallies: [Arc::default(), Arc::default()],
        };
        let (beside_a, beside_b) = (local_socket().await, local_socket().await);
        b.link().signal(a.signal().await);
        let a_address = Self::candidate(&mut a, &b, beside_b.local_addr().unwrap()).await;
        a.link().signal(b.signal().await);
        let b_address = Self::candidate(&mut b, &a, beside_a.local_addr().unwrap()).await;
        wire.carry(0, &beside_a, &beside_b, b_address);
        wire.carry(1, &beside_b, &beside_a, a_address);
        assert_eq!(a.events.next().await, LinkEvent::Open);
        assert_eq!(b.events.next().await, LinkEvent::Open);
        (a, b, wire)
    }

    /// Takes the one candidate of a link, tells the other link to use the wire instead, and returns
    /// where it leads.
    async fn candidate(from: &mut End, to: &End, wire: SocketAddr) -> SocketAddr {
        let Signal::Candidate { candidate, sdp_mid, sdp_m_line_index } = from.signal().await else {
            panic!("expected a candidate");
        };
        assert_eq!(from.signal().await, Signal::EndOfCandidates);
        let mut words: Vec<_> = candidate.split(' ').map(str::to_owned).collect();
        let address = format!("{}:{}", words[4], words[5]).parse().unwrap();
        words[5] = wire.port().to_string();
        to.link().signal(Signal::Candidate {
            candidate: words.join(" "),
            sdp_mid,
            sdp_m_line_index,
        });
        address
    }

    fn carry(
        &self,
        end: usize,
        from: &Arc<UdpSocket>,
        to: &Arc<UdpSocket>,
        destination: SocketAddr,
    ) {
        let (from, to) = (Arc::clone(from), Arc::clone(to));
        let (lose_every, lose_percent) =
            (Arc::clone(&self.lose_every), Arc::clone(&self.lose_percent));
        let (delay_ms, tally) = (Arc::clone(&self.delay_ms), Arc::clone(&self.tallies[end]));
        static WIRES: AtomicU64 = AtomicU64::new(0);
        let mut draws = ChaCha8Rng::seed_from_u64(WIRES.fetch_add(1, Ordering::Relaxed));
        tokio::spawn(async move {
            let mut buffer = [0; 64 * 1024];
            let mut delayed: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
            let mut number = 0_usize;
            loop {
                let due = delayed
                    .front()
                    .map_or_else(|| Instant::now() + Duration::from_secs(3600), |(due, _)| *due);
                match tokio::time::timeout_at(due, from.recv_from(&mut buffer)).await {
                    Ok(Ok((bytes, _))) => {
                        number += 1;
                        tally.lock().unwrap().count(&buffer[..bytes]);
                        let lose_every = lose_every.load(Ordering::Relaxed);
                        let unlucky =
                            draws.random_range(0..100) < lose_percent.load(Ordering::Relaxed);
                        if !unlucky && !number.is_multiple_of(lose_every) {
                            let delay = Duration::from_millis(delay_ms.load(Ordering::Relaxed));
                            delayed.push_back((Instant::now() + delay, buffer[..bytes].to_vec()));
                        }
                    }
                    Ok(Err(_)) => return,
                    Err(_) => {}
                }
                while delayed.front().is_some_and(|(due, _)| *due <= Instant::now()) {
                    let (_, datagram) = delayed.pop_front().unwrap();
                    let _ = to.send_to(&datagram, destination).await;
                }
            }
        });
    }

    /// Loses every so-manieth packet each way; 0 loses none and 1 all.
    pub fn lose_every(&self, packets: usize) {
        self.lose_every.store(packets, Ordering::Relaxed);
    }

    /// Loses packets each way by a seeded draw.
    pub fn lose_percent(&self, percent: usize) {
        self.lose_percent.store(percent, Ordering::Relaxed);
    }

    /// Delays packets each way; what is on its way keeps its delay.
    pub fn delay(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// What the offering and the answering end have sent so far.
    pub fn tallies(&self) -> [Tally; 2] {
        [0, 1].map(|end| *self.tallies[end].lock().unwrap())
    }
}

async fn local_socket() -> Arc<UdpSocket> {
    Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap())
}
