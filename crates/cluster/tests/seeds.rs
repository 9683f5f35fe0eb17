//! Random clusters with random faults, from a seed.

use crate::world::{Fault, World, ms};

/// Faults end after this time.
const FAULTS: u64 = 30_000;
/// By then everyone is back in the room, after the last fault.
const RECOVERY: u64 = 12_000;
/// Seeds of a normal run. `VOICEMESH_CLUSTER_SEEDS` sets another number.
const SEEDS: u64 = 50;

#[expect(clippy::disallowed_methods, reason = "who runs the tests chooses how long")]
fn seeds() -> u64 {
    let number = std::env::var("VOICEMESH_CLUSTER_SEEDS").ok();
    number.map_or(SEEDS, |number| number.parse().expect("a number of seeds"))
}

/// A fault and what ends it.
fn plan(world: &mut World, nodes: usize, members: usize) {
    let mut at = world.random.u64(3_000..5_000);
    while at < FAULTS {
        let (now, node) = (ms(at), world.random.usize(..nodes));
        match world.random.u8(..12) {
            0 | 1 => {
                let groups: Vec<u8> = (0..nodes).map(|_| world.random.u8(..2)).collect();
                let store = world.random.u8(..2);
                world.fault_at(now, Fault::Partition { groups, store });
                let whole = Fault::Partition { groups: vec![0; nodes], store: 0 };
                let time = world.random.u64(300..8_000);
                world.fault_at(ms((at + time).min(FAULTS)), whole);
            }
            2 => {
                world.fault_at(now, Fault::Unplug { node, is_cut: true });
                let time = world.random.u64(300..6_000);
                let end = ms((at + time).min(FAULTS));
                world.fault_at(end, Fault::Unplug { node, is_cut: false });
            }
            3 | 4 => {
                world.fault_at(now, Fault::StoreDown { is_down: true });
                let time = world.random.u64(4_000..9_000);
                world.fault_at(ms((at + time).min(FAULTS)), Fault::StoreDown { is_down: false });
            }
            5 => {
                world.fault_at(now, Fault::Loss { part: 0.02 });
                let time = world.random.u64(300..3_000);
                world.fault_at(ms((at + time).min(FAULTS)), Fault::Loss { part: 0.0 });
            }
            6 | 7 => {
                let time = ms(world.random.u64(200..4_000));
                world.fault_at(now, Fault::Pause { node, time });
            }
            8 => {
                world.fault_at(now, Fault::Crash { node });
                let time = world.random.u64(100..5_000);
                world.fault_at(ms((at + time).min(FAULTS)), Fault::Start { node });
            }
            9 => {
                world.fault_at(now, Fault::Drain { node });
                let time = world.random.u64(1_000..3_000);
                let end = (at + time).min(FAULTS);
                world.fault_at(ms(end), Fault::Crash { node });
                world.fault_at(ms(end + 10), Fault::Start { node });
            }
            10 => {
                let member = world.random.usize(..members);
                let time = ms(world.random.u64(200..3_000));
                world.fault_at(now, Fault::Sluggish { member, time });
            }
            _ => {
                let member = world.random.usize(..members);
                world.fault_at(now, Fault::Wants { member, wants: false });
                let time = world.random.u64(100..4_000);
                world.fault_at(ms((at + time).min(FAULTS)), Fault::Wants { member, wants: true });
            }
        }
        at += world.random.u64(100..2_500);
    }
}

/// Runs a seed. Gives what went wrong, and the trace.
fn run(seed: u64, checks_epochs: bool) -> (Vec<String>, u64) {
    const ROOMS: [&str; 8] = ["a", "b", "a", "a", "b", "a", "B", "a"];
    let nodes = 2 + (seed % 3) as usize;
    let mut world = World::new(seed, nodes, &ROOMS, checks_epochs);
    plan(&mut world, nodes, ROOMS.len());
    // A pause of the last moment lasts longer than the faults.
    let end = ms(FAULTS + 4_000);
    world.run_until(end);
    let mut wrong = std::mem::take(&mut world.violations);
    if wrong.is_empty() {
        world.run_until(end + ms(RECOVERY));
        wrong.append(&mut world.violations);
        wrong.extend(world.missing());
    }
    (wrong, world.trace)
}

#[test]
fn members_see_no_older_epoch_no_split_and_no_id_twice_and_all_come_back() {
    for seed in 0..seeds() {
        let (wrong, _) = run(seed, true);
        assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn one_seed_is_one_course() {
    assert_eq!(run(7, true), run(7, true));
    assert_ne!(run(7, true).1, run(8, true).1);
}
