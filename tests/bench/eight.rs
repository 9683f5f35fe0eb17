//! What one of eight in a room costs its machine while two of them speak: eight processes,
//! simulated devices.

use std::time::Duration;

use voicemesh_tests::process::Program;

use crate::machine::{cpu_time, resident_kib};
use crate::programs::{Folder, Server, Way, join, leave, speaking, wait_for, wait_for_direct};
use crate::report::{Row, Spread};
use crate::run::{Scale, measure_for};

const PEERS: usize = 8;
const SPEAKERS: usize = 2;
const LENGTH: Duration = Duration::from_secs(20);
/// The voices have begun and buffers have their size before anything counts.
const SETTLING: Duration = Duration::from_secs(3);

/// Row 4, with direct links and without.
pub fn measure(scale: Scale) -> Vec<Row> {
    let mut rows = room(scale, Way::Direct);
    rows.extend(room(scale, Way::Relayed));
    rows
}

fn room(scale: Scale, way: Way) -> Vec<Row> {
    let folder = Folder::create();
    let mut server = Server::start();
    let mut peers = enter(&server, &folder, way);
    wait_until_all_hear(&mut peers, way);
    measure_for(scale.length(SETTLING));
    let (mut speaking, mut listening) = (Vec::new(), Vec::new());
    for _ in 0..scale.runs() {
        let percent = percent_of_one_core(&peers, scale.length(LENGTH));
        speaking.push(median(&percent[..SPEAKERS]));
        listening.push(median(&percent[SPEAKERS..]));
    }
    let mib: Vec<f64> = peers.iter().map(|peer| resident_kib(peer.id()) as f64 / 1024.0).collect();
    let note = format!("{:.1} MiB resident", median(&mib));
    peers.into_iter().for_each(leave);
    server.program.kill();
    let (speaker, listener) = match way {
        Way::Direct => (
            "CPU of a speaker in a room of 8, 2 speak, direct",
            "CPU of a listener in a room of 8, 2 speak, direct",
        ),
        Way::Relayed => (
            "CPU of a speaker in a room of 8, 2 speak, relayed",
            "CPU of a listener in a room of 8, 2 speak, relayed",
        ),
    };
    let row = |name, values| Row {
        name,
        unit: "% of one core",
        target: None,
        values,
        note: note.clone(),
    };
    vec![row(speaker, speaking), row(listener, listening)]
}

/// The speakers first.
fn enter(server: &Server, folder: &Folder, way: Way) -> Vec<Program> {
    let inputs =
        (0..PEERS).map(|number| if number < SPEAKERS { speaking() } else { "silence".to_owned() });
    let peers = inputs
        .enumerate()
        .map(|(number, input)| join(server, folder, &format!("peer-{number}"), way, &input));
    peers.collect()
}

fn wait_until_all_hear(peers: &mut [Program], way: Way) {
    for (number, peer) in peers.iter_mut().enumerate() {
        let others_who_speak = if number < SPEAKERS { SPEAKERS - 1 } else { SPEAKERS };
        for _ in 0..others_who_speak {
            wait_for(peer, "first-heard");
        }
        if way == Way::Direct {
            for _ in 0..PEERS - 1 {
                wait_for_direct(peer);
            }
        }
    }
}

fn percent_of_one_core(peers: &[Program], length: Duration) -> Vec<f64> {
    let times = || -> Vec<Duration> { peers.iter().map(|peer| cpu_time(peer.id())).collect() };
    let (began, before) = (std::time::Instant::now(), times());
    measure_for(length);
    let (after, passed) = (times(), began.elapsed());
    let used = before.iter().zip(&after).map(|(before, after)| after.saturating_sub(*before));
    used.map(|used| 100.0 * used.as_secs_f64() / passed.as_secs_f64()).collect()
}

fn median(values: &[f64]) -> f64 {
    Spread::of(values).map_or(f64::NAN, |spread| spread.median)
}
