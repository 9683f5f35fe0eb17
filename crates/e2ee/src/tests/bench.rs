//! What it costs. `cargo test --release -p voicemesh-e2ee bench -- --ignored --nocapture`

use std::hint::black_box;
use std::time::Duration;

use super::world::{Maker, World, peer, session};
use crate::Label;

/// The best of many short runs counts: others may have the processor in the rest.
const RUNS: usize = 1000;
const FRAMES: u32 = 200;

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures")]
fn best(mut run: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let began = std::time::Instant::now();
        run();
        best = best.min(began.elapsed());
    }
    best
}

#[test]
#[ignore = "prints times"]
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures")]
fn bench() {
    let mut world = World::of(&Maker::default(), 2);
    let now = world.now;
    let (plain, associated) = ([7; 60], [1; 13]);
    let mut sealed = Vec::with_capacity(RUNS * FRAMES as usize);
    let seal = best(|| {
        for _ in 0..FRAMES {
            let mut output = Vec::with_capacity(90);
            world
                .ring(1)
                .seal(now, Label::Voice, &associated, black_box(&plain), &mut output)
                .unwrap();
            sealed.push(output);
        }
    });
    println!("seal 60 bytes: {:?}", seal / FRAMES);
    let mut sealed = sealed.iter();
    let mut output = Vec::with_capacity(90);
    let open = best(|| {
        for sealed in sealed.by_ref().take(FRAMES as usize) {
            output.clear();
            world
                .ring(2)
                .open(now, peer(1), Label::Voice, &associated, black_box(sealed), &mut output)
                .unwrap();
        }
    });
    println!("open 60 bytes: {:?}", open / FRAMES);

    let maker = Maker::default();
    let others: Vec<_> =
        (2..=50).map(|number| (number, maker.ring(number, 0).announcement(session()))).collect();
    let mut ring = maker.ring(1, 0);
    let began = std::time::Instant::now();
    for (number, announcement) in &others {
        ring.set_member(now, session(), peer(*number), announcement).unwrap();
    }
    println!("49 announcements: {:?}", began.elapsed());
    let mut agreement = Duration::MAX;
    loop {
        let began = std::time::Instant::now();
        if !ring.agree_next() {
            break;
        }
        agreement = agreement.min(began.elapsed());
    }
    println!("49 agreements: {:?}", 49 * agreement);
    let began = std::time::Instant::now();
    while ring.poll_package().is_some() {}
    println!("49 packages: {:?}", began.elapsed());
    let began = std::time::Instant::now();
    black_box(ring.safety_code());
    println!("safety code: {:?}", began.elapsed());
}
