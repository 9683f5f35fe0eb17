//! Real servers and clients under random commands, held against a small reference; and the
//! session's promises one by one.

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;
mod commands;
mod copies;
mod corpus;
mod hostile;
mod net;
mod promises;
mod reference;
mod room;
mod route_changes;
mod server;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};

const WORLDS: usize = 800;
const COMMANDS: usize = 260;

/// `VOICEMESH_SEED` replays one, `VOICEMESH_WORLDS` runs more.
///
/// proves: D-11, D-12, D-13
#[test]
fn real_servers_and_clients_are_always_as_the_reference_says() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = setting("VOICEMESH_SEED") {
        return check(seed);
    }
    let worlds = setting("VOICEMESH_WORLDS").map_or(WORLDS, |worlds| worlds as usize);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= worlds {
                        break;
                    }
                    check(seed as u64);
                }
            });
        }
    });
    println!("{worlds} worlds, {} commands", worlds * COMMANDS);
}

fn check(seed: u64) {
    let (kind, commands) = commands::draw(seed, COMMANDS);
    let Err((done, why)) = commands::run(seed, kind, &commands) else { return };
    let fewer = commands[..commands.len().min(done + 1)].to_vec();
    let (reduced, reduced_why) = commands::reduce(seed, kind, fewer, 400);
    let list: Vec<_> = reduced.iter().map(|command| format!("    {command:?}")).collect();
    panic!(
        "{why}\n(VOICEMESH_SEED={seed} replays it; command {done} of {} in {kind:?})\nthese alone: {reduced_why}\n{}",
        commands.len(),
        list.join("\n"),
    );
}
