//! Rooms that live for a while, from a seed: whatever happens, no key and nonce seal two texts, and
//! payloads are opened by those who may, once.

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::sealed;
use super::world::{Maker, World, open, peer};
use crate::{KeyRing, Label, OpenError, Published, RESTART_INTERVAL};

const SEEDS: u64 = 12;
const STEPS: u32 = 160;

/// A payload that was sealed for all.
struct Sent {
    from: u8,
    label: Label,
    text: Vec<u8>,
    bytes: Vec<u8>,
    /// Who was there, and has not opened it yet.
    to: BTreeSet<u8>,
}

struct Model {
    random: ChaCha8Rng,
    maker: Maker,
    world: World,
    /// Rings of members who left, who left when, and what was sealed since.
    gone: Vec<KeyRing>,
    next: u8,
    runs: u8,
    texts: u32,
    opened: usize,
    /// Redundancy: a payload carries what former ones carried.
    is_redundant: bool,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let room_key = random.next_u32().is_multiple_of(2).then(super::world::room_key);
        let maker = Maker { room_key, seed: seed as u8, ..Maker::default() };
        let world = World::of(&maker, 3);
        Self {
            is_redundant: random.next_u32().is_multiple_of(2),
            random,
            maker,
            world,
            gone: Vec::new(),
            next: 4,
            runs: 1,
            texts: 0,
            opened: 0,
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random.next_u32() as usize % limit
    }

    fn member(&mut self) -> u8 {
        let at = self.below(self.world.rings.len());
        self.world.rings[at].0
    }

    fn text(&mut self) -> Vec<u8> {
        self.texts += 1;
        let mut text = self.texts.to_be_bytes().to_vec();
        if self.is_redundant {
            text.extend_from_slice(&(self.texts - 1).to_be_bytes());
        }
        text
    }

    fn step(&mut self) {
        match self.below(12) {
            0..=5 => self.speak(),
            6 => self.whisper(),
            7 if self.world.rings.len() < 6 => {
                let (number, run) = (self.next, self.runs);
                self.next += 1;
                self.world.join(number, self.maker.ring(number, run));
            }
            8 if self.world.rings.len() > 2 => {
                let number = self.member();
                let ring = self.world.leave(number);
                self.gone.push(ring);
                // Former keys are in use until the others have the new ones.
                self.world.pass(6.0);
            }
            9 => self.restart(),
            10 => {
                let number = self.member();
                let place = Published::Member(peer(number), "seat");
                let _ = self.world.ring(number).seal_published(place, b"window");
            }
            _ => {
                let time = self.below(80) as f64 / 10.0;
                self.world.pass(time);
            }
        }
    }

    /// A member says something; the payload arrives everywhere, in any order, some of it more than
    /// once, as on two routes.
    fn speak(&mut self) {
        let from = self.member();
        let mut sent: Vec<Sent> = (0..1 + self.below(4))
            .map(|_| {
                let label = [Label::Voice, Label::Voice, Label::Data, Label::State][self.below(4)];
                let text = self.text();
                let bytes = self.world.seal(from, label, &text);
                let to = self
                    .world
                    .rings
                    .iter()
                    .map(|(number, _)| *number)
                    .filter(|to| *to != from)
                    .collect();
                Sent { from, label, text, bytes, to }
            })
            .collect();
        for _ in 0..3 * sent.len() * self.world.rings.len() {
            let (which, to) = (self.below(sent.len()), self.member());
            let Sent { from, label, text, bytes, to: waiting } = &mut sent[which];
            let result = self.world.open(to, *from, *label, bytes);
            if to == *from {
                assert_eq!(result, Err(OpenError::UnknownMember));
            } else if waiting.remove(&to) {
                assert_eq!(result.as_ref(), Ok(&*text));
                self.opened += 1;
            } else {
                assert_eq!(result, Err(OpenError::Replayed));
            }
        }
        let now = self.world.now;
        for Sent { from, label, bytes, .. } in &sent {
            for ring in &mut self.gone {
                assert!(
                    open(ring, now, *from, *label, bytes).is_err(),
                    "a member who left opened a payload"
                );
            }
        }
    }

    fn whisper(&mut self) {
        let (from, to) = (self.member(), self.member());
        if from == to {
            return;
        }
        let text = self.text();
        let mut sealed = Vec::new();
        self.world
            .ring(from)
            .seal_to(peer(to), Label::Data, b"header", &text, &mut sealed)
            .unwrap();
        for number in self.world.rings.iter().map(|(number, _)| *number).collect::<Vec<_>>() {
            let mut opened = Vec::new();
            let result = self.world.ring(number).open_from(
                peer(from),
                Label::Data,
                b"header",
                &sealed,
                &mut opened,
            );
            assert_eq!(result.is_ok(), number == to);
        }
        let again = self.world.ring(to).open_from(
            peer(from),
            Label::Data,
            b"header",
            &sealed,
            &mut Vec::new(),
        );
        assert_eq!(again, Err(OpenError::Replayed));
    }

    /// A program ends and is started again: two rings of one member, never with one key.
    fn restart(&mut self) {
        let number = self.member();
        self.world.rings.retain(|(other, _)| *other != number);
        self.runs += 1;
        let ring = self.maker.ring(number, self.runs);
        self.world.pass(RESTART_INTERVAL.as_secs_f64());
        self.world.join(number, ring);
    }
}

#[test]
fn no_key_and_counter_seal_two_texts() {
    let mut opened = 0;
    sealed::watch();
    for seed in 0..SEEDS {
        let mut model = Model::new(seed);
        for _ in 0..STEPS {
            model.step();
        }
        model.world.pass(20.0);
        model.world.assert_all_hear();
        opened += model.opened;
    }
    assert!(opened > 3000, "{opened} payloads were opened");
    assert!(sealed::count() > 3000, "{} payloads were sealed", sealed::count());
}

/// What the model watches for.
#[test]
#[should_panic(expected = "one key and nonce sealed two texts")]
fn two_rings_with_one_seed_are_noticed() {
    sealed::watch();
    for text in [b"one", b"two"] {
        let mut ring = Maker::default().ring(1, 0);
        ring.seal(super::world::seconds(0.0), Label::Voice, b"", text, &mut Vec::new()).unwrap();
    }
}
