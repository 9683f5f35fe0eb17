//! What a room's members know together, and what they found.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use voicemesh_wire::{ClientId, PeerId};

use crate::socket::Socket;

/// Lines that are kept of what went wrong.
const LINES: usize = 40;

/// One room.
pub struct Room {
    pub server: SocketAddr,
    pub number: usize,
    pub name: String,
    /// Packets of speech so far.
    pub said: Cell<u64>,
    /// The one who speaks.
    pub speaker: Cell<Option<ClientId>>,
    /// Honest members who are in the room.
    pub present: RefCell<BTreeSet<PeerId>>,
    /// Honest members who may be missed: they went by themselves.
    pub parted: RefCell<BTreeSet<PeerId>>,
    /// Those who have come to the end stay until all have: none is missed.
    pub staying: RefCell<Vec<Socket>>,
    pub findings: Rc<Findings>,
}

impl Room {
    pub fn new(server: SocketAddr, number: usize, findings: Rc<Findings>) -> Self {
        Self {
            server,
            number,
            name: format!("room {number}"),
            said: Cell::new(0),
            speaker: Cell::new(None),
            present: RefCell::default(),
            parted: RefCell::default(),
            staying: RefCell::default(),
            findings,
        }
    }

    pub fn note(&self, what: String) {
        self.findings.note(format!("{}: {what}", self.name));
    }
}

/// What all rooms found.
#[derive(Default)]
pub struct Findings {
    pub joins: Cell<u64>,
    pub departures: Cell<u64>,
    pub rosters: Cell<u64>,
    pub attacks: Cell<u64>,
    pub attackers_ended: Cell<u64>,
    /// By room: packets of speech that its listeners should have heard, and that they heard.
    speech: RefCell<BTreeMap<usize, (u64, u64)>>,
    wrong: Cell<u64>,
    lines: RefCell<Vec<String>>,
}

impl Findings {
    pub fn count(counter: &Cell<u64>) {
        counter.set(counter.get() + 1);
    }

    /// Something that must not happen.
    pub fn note(&self, line: String) {
        Self::count(&self.wrong);
        let mut lines = self.lines.borrow_mut();
        if lines.len() < LINES {
            println!("{line}");
            lines.push(line);
        }
    }

    pub fn heard(&self, room: usize, expected: u64, heard: u64) {
        let mut speech = self.speech.borrow_mut();
        let sum = speech.entry(room).or_default();
        *sum = (sum.0 + expected, sum.1 + heard);
    }

    fn worst_room(&self) -> (usize, f64) {
        let speech = self.speech.borrow();
        let parts = speech
            .iter()
            .map(|(room, (expected, heard))| (*room, *heard as f64 / (*expected).max(1) as f64));
        parts.min_by(|(_, a), (_, b)| a.total_cmp(b)).expect("there was a listener")
    }

    fn all(&self) -> (u64, u64) {
        self.speech.borrow().values().fold((0, 0), |sum, room| (sum.0 + room.0, sum.1 + room.1))
    }

    pub fn line(&self) -> String {
        let Self { joins, rosters, attacks, wrong, .. } = self;
        let (joins, rosters, attacks, wrong) =
            (joins.get(), rosters.get(), attacks.get(), wrong.get());
        format!(
            "{joins} joins, {rosters} rosters compared, {attacks} attacks, {wrong} disturbances"
        )
    }

    pub fn summary(&self) -> String {
        let (expected, heard) = self.all();
        let (room, part) = self.worst_room();
        format!(
            "{}; {} honest members went and came back, {} attackers were ended. Of {expected} packets of speech {heard} were \
             heard ({:.3} %); least in room {room}: {:.3} %.",
            self.line(),
            self.departures.get(),
            self.attackers_ended.get(),
            100.0 * heard as f64 / expected.max(1) as f64,
            100.0 * part,
        )
    }

    /// `late`: how late the clients themselves were, to tell a machine that is too busy from a
    /// server that fails.
    pub fn assert_undisturbed(&self, in_room: f64, in_all: f64, late: Duration) {
        let lines = self.lines.borrow().join("\n");
        assert_eq!(
            self.wrong.get(),
            0,
            "disturbances (clients late by {late:?}), the first of them:\n{lines}"
        );
        let (room, part) = self.worst_room();
        assert!(part >= in_room, "room {room} heard {part} of its speech");
        let (expected, heard) = self.all();
        assert!(
            heard as f64 >= in_all * expected as f64 && expected > 0,
            "{heard} of {expected} packets were heard"
        );
        assert!(
            self.attacks.get() > 0 && self.departures.get() > 0 && self.rosters.get() > 0,
            "{}",
            self.line()
        );
    }
}
