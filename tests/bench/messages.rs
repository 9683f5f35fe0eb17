//! Messages: how soon one arrives, how many a second, what they cost, by route and size, beside
//! `matchbox_socket` in the same run; and what a frame costs in a room of 16.
//!
//! Both ends of a pair live in one process, so that its CPU is that of both (without the server's,
//! where it relays); a latency is half of a round trip. The programs are `message_speed.rs` and
//! `matchbox/` beside this file, and measure by the same code (`messages/measure.rs`).

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::programs::{Server, beside_programs};
use crate::report::Row;
use crate::run::Scale;

/// µs of a frame, `poll()` until nothing is left, a message to all, `flush()`.
const FRAME_TARGET_US: f64 = 50.0;
const SIZES: [u64; 3] = [100, 1_000, 16_000];

/// What a figure is called in the programs' lines, and here.
const FIGURES: [(&str, &str, &str); 4] = [
    ("median_us", "latency, median", "µs"),
    ("p99_us", "latency, 99th percentile", "µs"),
    ("per_second", "messages", "1/s"),
    ("cpu_us", "CPU of both ends for each", "µs"),
];

/// The rows of all ways and libraries.
pub fn measure(scale: Scale) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut ways = vec![("direct", ours("direct")), ("relayed", ours("relayed"))];
    match matchbox() {
        Some(program) => ways
            .push(("matchbox_socket", Box::new(move |scale| lines(Command::new(&program), scale)))),
        None => {
            eprintln!("matchbox_socket is not here: make bench builds it (tests/bench/matchbox).")
        }
    }
    for (way, run) in ways {
        let runs: Vec<Vec<Value>> = (0..scale.runs()).map(|_| run(scale)).collect();
        for size in SIZES {
            for (key, figure, unit) in FIGURES {
                let values = runs
                    .iter()
                    .flatten()
                    .filter(|line| line["bytes"] == size)
                    .filter_map(|line| line[key].as_f64());
                let name = format!("{size} B, reliable, {way}: {figure}");
                rows.push(Row {
                    name: name.leak(),
                    unit,
                    target: None,
                    values: values.collect(),
                    note: String::new(),
                });
            }
        }
    }
    rows.push(frames(scale));
    rows
}

type Run = Box<dyn Fn(Scale) -> Vec<Value>>;

fn ours(way: &'static str) -> Run {
    Box::new(move |scale| {
        let mut server = Server::start();
        let mut command = Command::new(example());
        command.args([&format!("ws://{}", server.address), way]);
        let lines = lines(command, scale);
        server.program.kill();
        lines
    })
}

fn frames(scale: Scale) -> Row {
    let lines: Vec<Value> = (0..scale.runs())
        .flat_map(|_| {
            let mut server = Server::start();
            let mut command = Command::new(example());
            let seconds = if scale == Scale::Quick { "2" } else { "10" };
            command.args([&format!("ws://{}", server.address), "frames", "16", seconds]);
            let lines = lines(command, Scale::Full);
            server.program.kill();
            lines
        })
        .collect();
    let values = lines.iter().filter_map(|line| line["median_us"].as_f64()).collect();
    let worst = lines.iter().filter_map(|line| line["p99_us"].as_f64()).fold(0.0, f64::max);
    let note = format!("all 16 speak and send; 99th percentile at most {worst:.0} µs");
    Row {
        name: "poll and flush, a frame in a room of 16",
        unit: "µs",
        target: Some(FRAME_TARGET_US),
        values,
        note,
    }
}

/// What a program prints.
fn lines(mut command: Command, scale: Scale) -> Vec<Value> {
    if scale == Scale::Quick {
        command.arg("--quick");
    }
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn example() -> PathBuf {
    beside_programs("examples/message_speed").unwrap_or_else(|| {
        panic!("cargo build --release -p voicemesh-tests --example message_speed")
    })
}

fn matchbox() -> Option<PathBuf> {
    beside_programs("../matchbox/release/voicemesh-bench-matchbox")
}
