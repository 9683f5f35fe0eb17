//! What a link costs on this machine: time to open, memory, and processor time for a voice packet.
//!
//! `cargo run --release -p voicemesh-link --example measure`. Measures and prints; proves nothing.
//! With `openings COUNT` only how long so many openings take, as one JSON line: `make bench` reads
//! it.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{End, open_pair};
use voicemesh_link::Stream;

const OPENINGS: usize = 20;
const PAIRS: usize = 50;
const SPEAKING: Duration = Duration::from_secs(10);
const FRAME: Duration = Duration::from_millis(20);
const PACKET_BYTES: usize = 100;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let took = openings(OPENINGS).await;
            let (median, last) = (took[OPENINGS / 2], took[OPENINGS - 1]);
            println!("opening: median {median:?} of {OPENINGS}, {:?} to {last:?}", took[0]);
            speech(&memory().await).await;
        }
        ["openings", count] => {
            let took = openings(count.parse().expect("a number of openings")).await;
            let ms: Vec<f64> = took.iter().map(|took| took.as_secs_f64() * 1e3).collect();
            println!("{}", serde_json::json!({ "opening_ms": ms }));
        }
        _ => panic!("usage: measure [openings COUNT]"),
    }
}

/// One pair after the other, each from the making of its links until both are open; shortest first.
async fn openings(count: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        let pair = open_pair().await;
        took.push(began.elapsed());
        drop(pair);
    }
    took.sort_unstable();
    took
}

async fn memory() -> Vec<(End, End)> {
    let before = resident_kib();
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        pairs.push(open_pair().await);
    }
    println!(
        "memory: {} KiB for each of {} links",
        (resident_kib() - before) / (2 * PAIRS as u64),
        2 * PAIRS
    );
    pairs
}

#[expect(clippy::disallowed_methods, reason = "a measurement of CPU time lasts as long as it says")]
async fn speech(pairs: &[(End, End)]) {
    let idle = processor_time_while(tokio::time::sleep(SPEAKING)).await;
    let talk = async {
        let mut frames = tokio::time::interval(FRAME);
        for _ in 0..SPEAKING.as_millis() / FRAME.as_millis() {
            frames.tick().await;
            for (a, _) in pairs {
                let _ = a.link().send(Stream::Voice, vec![1; PACKET_BYTES].into());
            }
        }
    };
    let busy = processor_time_while(talk).await;
    let packets: u64 = pairs.iter().map(|(_, b)| b.link().stats().voice_received).sum();
    let dropped: u64 = pairs.iter().map(|(a, _)| a.link().stats().voice_dropped).sum();
    println!(
        "idle: {:.0} µs of processor time per link and second",
        idle.as_micros() as f64 / SPEAKING.as_secs_f64() / (2 * PAIRS) as f64
    );
    println!(
        "voice: {:.1} µs of processor time per packet, sent and received ({packets} packets, {dropped} dropped)",
        busy.saturating_sub(idle).as_micros() as f64 / packets as f64
    );
}

async fn processor_time_while(work: impl Future<Output = ()>) -> Duration {
    let before = processor_time();
    work.await;
    processor_time() - before
}

fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("only Linux tells");
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .expect("a name")
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("only Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
