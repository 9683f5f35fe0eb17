//! What opening a link costs where a way is narrow: both descriptions, connectivity checks and two
//! handshakes, of about the sizes that real ones have, and the turns that links take, as in
//! `crates/link/src/openings.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use voicemesh_mesh::MeshLink;
use voicemesh_uplink::opening_pace::OpeningPace;

/// Bytes of a session description, with its line ends as JSON has them, and of the candidates that
/// follow it in messages of their own.
pub const DESCRIPTION_BYTES: usize = 500;
pub const CANDIDATES: [usize; 3] = [65, 65, 97];

/// Bytes of the datagrams of each flight, Ethernet headers included, as they were counted behind a
/// router with a queue of 400 ms; the offerer begins, both alternate.
const FLIGHTS: [&[usize]; 14] = [
    // Checks and their answers: those that are under way together …
    &[154; 3],
    &[154, 154, 154, 106, 106, 106],
    &[106, 106, 106, 154, 154, 158],
    &[154, 106, 106],
    &[106],
    // … DTLS …
    &[195],
    &[90],
    &[215],
    &[773],
    &[693],
    // … and SCTP.
    &[109, 147],
    &[251],
    &[226],
    &[87, 214],
];
/// Those of these flights are checks, of which one has to arrive.
const CHECKS: usize = 5;
/// Any other flight of which a datagram was lost goes again after this, and twice as long each
/// further time.
const RETRANSMISSION: Duration = Duration::from_millis(400);
const MOST_DOUBLINGS: u32 = 4;

/// A flight of checks or handshakes, and how often it was sent before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flight {
    number: usize,
    repeats: u32,
}

impl Flight {
    /// The bytes of its datagrams; `None` after the last flight.
    pub fn datagrams(self) -> Option<&'static [usize]> {
        FLIGHTS.get(self.number).copied()
    }

    pub fn is_offerers(self) -> bool {
        self.number.is_multiple_of(2)
    }

    /// What comes next and after how long, when the datagrams wait so long in the narrow ways, or
    /// are lost there.
    pub fn next(self, waits: &[Option<Duration>]) -> (Duration, Self) {
        let arrives = match self.number {
            ..CHECKS => waits.iter().flatten().min().copied(),
            _ => waits
                .iter()
                .copied()
                .collect::<Option<Vec<_>>>()
                .and_then(|waits| waits.into_iter().max()),
        };
        let again = RETRANSMISSION * 2_u32.pow(self.repeats.min(MOST_DOUBLINGS));
        arrives.map_or((again, Self { repeats: self.repeats + 1, ..self }), |after| {
            (after, Self { number: self.number + 1, repeats: 0 })
        })
    }
}

const MOST: usize = 16;
const LONGEST_TURN: Duration = Duration::from_millis(1_500);

/// The openings of all links where a way is narrow. Turns are those of a peer and a role: whether
/// it offers.
#[derive(Debug, Default)]
pub struct Openings {
    sent_bytes: BTreeMap<usize, u64>,
    turns: BTreeMap<(usize, bool), Turns>,
    paces: BTreeMap<usize, OpeningPace>,
    /// Under which numbers the paces have the links that began.
    numbers: BTreeMap<(usize, MeshLink), u64>,
}

impl Openings {
    /// What a peer put on the wire to open links.
    pub fn sent(&mut self, peer: usize, bytes: usize) {
        *self.sent_bytes.entry(peer).or_default() += bytes as u64;
    }

    pub fn sent_bytes(&self, peer: usize) -> u64 {
        self.sent_bytes.get(&peer).copied().unwrap_or(0)
    }

    pub fn request(&mut self, of: (usize, bool), link: MeshLink) {
        self.turns.entry(of).or_default().waiting.push_back(link);
    }

    /// The links whose turn begins now.
    pub fn begin(&mut self, now: Duration) -> Vec<(usize, bool, MeshLink)> {
        let mut begun = Vec::new();
        for ((peer, is_offer), turns) in &mut self.turns {
            let pace = self.paces.entry(*peer).or_default();
            while let Some((link, number)) = turns.next(now, pace) {
                self.numbers.insert((*peer, link), number);
                begun.push((*peer, *is_offer, link));
            }
        }
        begun
    }

    /// A link is open, or gone.
    pub fn end(&mut self, now: Duration, of: (usize, bool), link: MeshLink, opened: bool) {
        if let Some(turns) = self.turns.get_mut(&of) {
            turns.end(link, opened);
        }
        if let Some(number) = self.numbers.remove(&(of.0, link)) {
            self.paces.entry(of.0).or_default().ended(now, number);
        }
    }

    /// What a peer knows of its uplink, and whether that lacks room for further links.
    pub fn set_uplink(&mut self, now: Duration, peer: usize, bps: Option<u32>, lacks_room: bool) {
        let pace = self.paces.entry(peer).or_default();
        pace.set_uplink(bps);
        pace.set_lacks_room(now, lacks_room);
    }
}

#[derive(Debug)]
struct Turns {
    limit: usize,
    running: Vec<(MeshLink, Duration)>,
    waiting: VecDeque<MeshLink>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { limit: 1, running: Vec::new(), waiting: VecDeque::new() }
    }
}

impl Turns {
    fn next(&mut self, now: Duration, pace: &mut OpeningPace) -> Option<(MeshLink, u64)> {
        let before = self.running.len();
        self.running.retain(|(_, since)| now < *since + LONGEST_TURN);
        self.limit = self.limit.saturating_sub(before - self.running.len()).max(1);
        if self.running.len() >= self.limit || self.waiting.is_empty() {
            return None;
        }
        let number = pace.begin(now).ok()?;
        let link = self.waiting.pop_front()?;
        self.running.push((link, now));
        Some((link, number))
    }

    fn end(&mut self, link: MeshLink, opened: bool) {
        self.waiting.retain(|waiting| *waiting != link);
        let before = self.running.len();
        self.running.retain(|(running, _)| *running != link);
        if opened && self.running.len() < before {
            self.limit = (self.limit + 1).min(MOST);
        }
    }
}
