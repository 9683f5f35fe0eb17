//! What 2,000 people cost the server who have joined, in rooms of eight, and say nothing: the CPU
//! of their joins, and the memory of each connection.

use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::load::{Entry, ROOM, fill_rooms, listen, runtime};
use crate::machine::{cpu_time, resident_kib};
use crate::programs::Server;
use crate::report::Row;
use crate::run::Scale;

const ROOMS: usize = 250;
const KIB_TARGET: f64 = 8.0;
/// CPU-seconds for 2,000 joins.
const JOINS_TARGET: f64 = 0.4;
/// Memory counts when it has not changed for so long, which is longer than the server's own rhythm
/// of 5 s.
const STEADY: Duration = Duration::from_secs(6);
/// Or after so long.
const LONGEST: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(250);

struct Run {
    joins_cpu_s: f64,
    kib_per_connection: f64,
}

/// Row 6.
pub fn measure(scale: Scale) -> Vec<Row> {
    let rooms = scale.count(ROOMS);
    let with = |entry| -> Vec<Run> { (0..scale.runs()).map(|_| run(rooms, entry)).collect() };
    let (session, join_only) = (with(Entry::Session), with(Entry::JoinOnly));
    let joins = |runs: &[Run]| runs.iter().map(|run| run.joins_cpu_s).collect();
    let note = if scale == Scale::Quick { "for 200: the target is for 2,000" } else { "" };
    vec![
        Row {
            name: "server memory for an idle connection",
            unit: "KiB",
            target: Some(KIB_TARGET),
            values: session.iter().map(|run| run.kib_per_connection).collect(),
            note: String::new(),
        },
        Row {
            name: "server CPU for 2,000 joins in rooms of 8",
            unit: "CPU-s",
            target: Some(JOINS_TARGET),
            values: joins(&session),
            note: note.to_owned(),
        },
        Row {
            name: "the same without the session's handshake",
            unit: "CPU-s",
            target: None,
            values: joins(&join_only),
            note: note.to_owned(),
        },
    ]
}

fn run(rooms: usize, entry: Entry) -> Run {
    let mut server = Server::start();
    let process = server.program.id();
    let run = runtime(1).block_on(async {
        let (cpu_before, kib_before) = (cpu_time(process), resident_kib(process));
        let rooms = fill_rooms(server.address, rooms, entry).await;
        let joins_cpu_s = cpu_time(process).saturating_sub(cpu_before).as_secs_f64();
        let members = rooms.len() * ROOM;
        let (listening, _) = listen(rooms, 0, 0);
        let kib = until_steady(process).await.saturating_sub(kib_before);
        assert_eq!(listening.heard.ended(), 0, "connections were lost");
        Run { joins_cpu_s, kib_per_connection: kib as f64 / members as f64 }
    });
    server.program.kill();
    run
}

async fn until_steady(process: u32) -> u64 {
    let began = Instant::now();
    let mut ticks = interval(LOOK_EVERY);
    let (mut kib, mut since) = (resident_kib(process), began);
    while since.elapsed() < STEADY && began.elapsed() < LONGEST {
        ticks.tick().await;
        let now = resident_kib(process);
        if now != kib {
            (kib, since) = (now, Instant::now());
        }
    }
    kib
}
