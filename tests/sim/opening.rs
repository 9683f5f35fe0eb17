//! What opening a link costs where a way is narrow: both descriptions, connectivity checks and two
//! handshakes, of about the sizes that real ones have, and the turns that links take, as in
//! `crates/link/src/openings.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use voicemesh_mesh::MeshLink;

/// Bytes of a session description with its candidates. In the lab it was 1,560 in five messages; here
/// it is one, which with its headers has to pass a policer's bucket of 1,500.
pub const DESCRIPTION_BYTES: usize = 1_450;

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
const OPENING_BITS: f64 = 80_000.0;
const SHARE: f64 = 0.25;
const LONGEST_DISTANCE: Duration = Duration::from_secs(10);
const ONE_BY_ONE_FOR: Duration = Duration::from_secs(30);
const OPENING_SENDS_FOR: Duration = Duration::from_secs(3);
const REST: u32 = 6;
const LONGEST_REST: Duration = Duration::from_secs(3);

/// The openings of all links where a way is narrow. Turns are those of a peer and a role: whether
/// it offers.
#[derive(Debug, Default)]
pub struct Openings {
    sent_bytes: BTreeMap<usize, u64>,
    turns: BTreeMap<(usize, bool), Turns>,
    distances: BTreeMap<usize, Distance>,
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
            let distance = self.distances.entry(*peer).or_default();
            begun.extend(
                std::iter::from_fn(|| turns.next(now, distance))
                    .map(|link| (*peer, *is_offer, link)),
            );
        }
        begun
    }

    /// A link is open, or gone.
    pub fn end(&mut self, now: Duration, of: (usize, bool), link: MeshLink, opened: bool) {
        if let Some(turns) = self.turns.get_mut(&of) {
            turns.end(link, opened);
        }
        self.distances.entry(of.0).or_default().ended(now, link);
    }

    /// What a peer knows of its uplink, and whether that lacks room for further links.
    pub fn set_uplink(&mut self, now: Duration, peer: usize, bps: Option<u32>, lacks_room: bool) {
        let distance = self.distances.entry(peer).or_default();
        if lacks_room {
            distance.lacked_room_at = Some(now);
        }
        (distance.uplink_bps, distance.lacks_room) = (bps, lacks_room);
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
    fn next(&mut self, now: Duration, distance: &mut Distance) -> Option<MeshLink> {
        let before = self.running.len();
        self.running.retain(|(_, since)| now < *since + LONGEST_TURN);
        self.limit = self.limit.saturating_sub(before - self.running.len()).max(1);
        if self.running.len() >= self.limit || self.waiting.is_empty() || !distance.keep(now) {
            return None;
        }
        let link = self.waiting.pop_front()?;
        distance.opening.push((link, now));
        self.running.push((link, now));
        Some(link)
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

/// The time between two turns of a peer.
#[derive(Debug, Default)]
struct Distance {
    uplink_bps: Option<u32>,
    lacks_room: bool,
    lacked_room_at: Option<Duration>,
    last: Option<Duration>,
    opening: Vec<(MeshLink, Duration)>,
    rest_until: Option<Duration>,
}

impl Distance {
    fn keep(&mut self, now: Duration) -> bool {
        let seconds =
            self.uplink_bps.map_or(0.0, |bps| OPENING_BITS / (SHARE * f64::from(bps.max(1))));
        let distance = Duration::from_secs_f64(seconds).min(LONGEST_DISTANCE);
        let one_by_one = self.lacked_room_at.is_some_and(|at| now < at + ONE_BY_ONE_FOR);
        while let Some((link, _)) =
            self.opening.iter().find(|(_, began)| now >= *began + OPENING_SENDS_FOR)
        {
            self.ended(now, *link);
        }
        let waits_for_others =
            !self.opening.is_empty() || self.rest_until.is_some_and(|until| now < until);
        let has_room = !(self.lacks_room || one_by_one && waits_for_others);
        let may_begin = has_room && self.last.is_none_or(|last| now >= last + distance);
        if may_begin {
            self.last = Some(now);
        }
        may_begin
    }

    fn ended(&mut self, now: Duration, link: MeshLink) {
        let Some(at) = self.opening.iter().position(|(opening, _)| *opening == link) else {
            return;
        };
        let (_, began) = self.opening.swap_remove(at);
        self.rest_until = Some(now + LONGEST_REST.min(REST * (now - began)));
    }
}
