//! The server against a small reference, under random scripts: the same bytes to the same sockets
//! in the same order.

mod reference;

use crate::common::{World, bytes, head, text, units, unlimited};
use reference::Reference;
use voicemesh_unityp2p::Path;

const SCRIPTS: u64 = 100_000;
const STEPS: usize = 30;

const IDS: [i16; 14] =
    [1, 1, 1, 1, 2, 3, 0, -1, 16_384, 16_384, 16_384, 16_385, i16::MAX, i16::MIN];

#[derive(Debug)]
enum Step {
    Open(u64, usize),
    Lose(u64),
    Send(u64, Vec<u8>),
}

fn addresses() -> Vec<Vec<u16>> {
    let mut addresses: Vec<_> =
        ["a", "a", "a", "a", "a", "a", "a", "b", "", "null", "constructor", "ä\u{1F600}"]
            .map(units)
            .into();
    addresses.extend([vec![0xD800], vec![0xDC00, 0xD800], vec![0x0061; 256], vec![0x0061; 257]]);
    addresses
}

fn frame(random: &mut fastrand::Rng, addresses: &[Vec<u16>]) -> Vec<u8> {
    let id = IDS[random.usize(..IDS.len())];
    let address = &addresses[random.usize(..addresses.len())];
    let mut frame = match random.u8(..20) {
        0..3 => text(3, id, address),
        3..8 => text(6, id, address),
        8..13 => bytes(1 + random.u8(..2), id, &vec![random.u8(..); random.usize(..20)]),
        13 => text(1 + random.u8(..2), id, address),
        14 => head(random.u8(..10), id),
        15..17 => head(8, id),
        17 => head(5, id),
        18 => vec![201, random.u8(..)],
        _ => vec![202],
    };
    match random.u8(..30) {
        0 => frame.truncate(random.usize(..=frame.len())),
        1 => {
            let index = random.usize(..frame.len());
            frame[index] = random.u8(..);
        }
        2 => frame.extend_from_slice(&[7; 3]),
        _ => {}
    }
    frame
}

fn script(seed: u64, addresses: &[Vec<u16>]) -> Vec<Step> {
    let mut random = fastrand::Rng::with_seed(seed);
    // Most meet on one path.
    let path = random.usize(..Path::ALL.len());
    let mut next = 0;
    let mut steps = Vec::new();
    // In half of them two are connected from the beginning on.
    if random.bool() {
        steps.extend([open(&mut next, path), open(&mut next, path)]);
        steps.push(Step::Send(0, text(3, -1, &addresses[0])));
        steps.push(Step::Send(1, text(6, 1, &addresses[0])));
    }
    for step in 0..STEPS {
        steps.push(match random.u8(..16) {
            _ if step < 2 => open(&mut next, path),
            0 => open(&mut next, path),
            1 => open(&mut next, random.usize(..Path::ALL.len())),
            2 => Step::Lose(random.u64(..next)),
            _ => Step::Send(random.u64(..next), frame(&mut random, addresses)),
        });
    }
    steps
}

fn open(next: &mut u64, path: usize) -> Step {
    *next += 1;
    Step::Open(*next - 1, path)
}

#[test]
fn what_is_sent_is_what_the_reference_sends_byte_for_byte_and_in_its_order() {
    let addresses = addresses();
    let (mut sent, mut kinds) = (0, [0_u64; 256]);
    for seed in 0..SCRIPTS {
        let mut world = World::new(unlimited());
        let mut reference = Reference::default();
        let steps = script(seed, &addresses);
        for (number, step) in steps.iter().enumerate() {
            let (is, expected) = match step {
                Step::Open(socket, path) => {
                    let (path, name) = Path::ALL[*path];
                    world.open(*socket, path);
                    reference.open(*socket, name);
                    continue;
                }
                Step::Lose(socket) => (world.lose(*socket), reference.lose(*socket)),
                Step::Send(socket, frame) => {
                    (world.send(*socket, frame), reference.send(*socket, frame))
                }
            };
            assert_eq!(is, expected, "seed {seed}, step {number} of {steps:?}");
            sent += is.len();
            is.iter().for_each(|(_, frame)| kinds[usize::from(frame[0])] += 1);
        }
    }
    // The scripts reach what they are for.
    for kind in [1, 2, 3, 4, 5, 6, 7, 8, 201, 202] {
        assert!(kinds[kind] > SCRIPTS / 10, "{} of kind {kind}, {sent} in all", kinds[kind]);
    }
}
