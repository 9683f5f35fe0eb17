//! What it costs. `cargo test --release -p voicemesh-e2ee bench -- --ignored --nocapture`

use std::hint::black_box;

use super::world::{Maker, World, peer, session};
use crate::Label;

const FRAMES: u32 = 200_000;

#[test]
#[ignore = "prints times"]
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures")]
fn bench() {
    let mut world = World::of(&Maker::default(), 2);
    let now = world.now;
    let (plain, associated) = ([7; 60], [1; 13]);
    let mut sealed = Vec::with_capacity(FRAMES as usize);
    let began = std::time::Instant::now();
    for _ in 0..FRAMES {
        let mut output = Vec::with_capacity(90);
        world.ring(1).seal(now, Label::Voice, &associated, black_box(&plain), &mut output).unwrap();
        sealed.push(output);
    }
    println!("seal 60 bytes: {:?}", began.elapsed() / FRAMES);
    let began = std::time::Instant::now();
    let mut output = Vec::with_capacity(90);
    for sealed in &sealed {
        output.clear();
        world.ring(2).open(now, peer(1), Label::Voice, &associated, black_box(sealed), &mut output).unwrap();
    }
    println!("open 60 bytes: {:?}", began.elapsed() / FRAMES);

    let maker = Maker::default();
    let others: Vec<_> = (2..=50).map(|number| (number, maker.ring(number, 0).announcement(session()))).collect();
    let mut ring = maker.ring(1, 0);
    let began = std::time::Instant::now();
    for (number, announcement) in &others {
        ring.set_member(now, session(), peer(*number), announcement).unwrap();
    }
    println!("49 announcements: {:?}", began.elapsed());
    let began = std::time::Instant::now();
    while ring.agree_next() {}
    println!("49 agreements: {:?}", began.elapsed());
    let began = std::time::Instant::now();
    while ring.poll_package().is_some() {}
    println!("49 packages: {:?}", began.elapsed());
    let began = std::time::Instant::now();
    black_box(ring.safety_code());
    println!("safety code: {:?}", began.elapsed());
}
