//! What is measured of messages, the same for every library: both ends live in one process, so that
//! its CPU is that of both.

use std::time::{Duration, Instant};

/// One end of a pair.
pub trait Side: Send {
    /// Takes a message, or says that it does not now.
    fn send(&mut self, message: &[u8]) -> bool;
    /// Waits for the next message and gives its length.
    fn receive(&mut self, within: Duration) -> Option<usize>;
}

/// Nothing takes longer than this.
const PATIENCE: Duration = Duration::from_secs(60);
const ROUNDS: usize = 2_000;
/// Enough to last a second or so.
const BYTES: usize = 24_000_000;
const MESSAGES: usize = 40_000;

/// Prints one JSON line for each size.
pub fn run(name: &str, how: &str, quick: bool, a: &mut impl Side, b: &mut impl Side) {
    let part = if quick { 10 } else { 1 };
    for size in [100, 1_000, 16_000] {
        let half_round_us = latency(size, ROUNDS / part, a, b);
        let count = (BYTES / size).min(MESSAGES) / part;
        let (per_second, cpu_us) = throughput(size, count, a, b);
        let at = |share: f64| half_round_us[((half_round_us.len() - 1) as f64 * share) as usize];
        println!(
            "{{\"library\":\"{name}\",\"how\":\"{how}\",\"bytes\":{size},\"median_us\":{:.1},\"p99_us\":{:.1},\
             \"per_second\":{per_second:.0},\"cpu_us\":{cpu_us:.2}}}",
            at(0.5),
            at(0.99)
        );
    }
}

/// Half of each round trip, in µs, shortest first.
fn latency(size: usize, rounds: usize, a: &mut impl Side, b: &mut impl Side) -> Vec<f64> {
    let message = vec![7; size];
    std::thread::scope(|scope| {
        let echo = message.clone();
        scope.spawn(move || {
            for _ in 0..rounds {
                b.receive(PATIENCE).expect("a ping");
                insist(b, &echo);
            }
        });
        let mut halves: Vec<f64> = (0..rounds)
            .map(|_| {
                let begun = Instant::now();
                insist(a, &message);
                assert_eq!(a.receive(PATIENCE), Some(size), "a pong");
                begun.elapsed().as_secs_f64() * 1e6 / 2.0
            })
            .collect();
        halves.sort_by(f64::total_cmp);
        halves
    })
}

/// Messages a second, and CPU of both ends for each, in µs.
fn throughput(size: usize, count: usize, a: &mut impl Side, b: &mut impl Side) -> (f64, f64) {
    let message = vec![7; size];
    let (begun, cpu) = (Instant::now(), cpu());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..count {
                assert_eq!(b.receive(PATIENCE), Some(size), "message {number}");
            }
            insist(b, b"all");
        });
        for _ in 0..count {
            insist(a, &message);
        }
        assert_eq!(a.receive(PATIENCE), Some(3), "that all came");
    });
    let seconds = begun.elapsed().as_secs_f64();
    (count as f64 / seconds, (self::cpu() - cpu).as_secs_f64() * 1e6 / count as f64)
}

/// As a game would: what is not taken now is tried again a moment later.
#[expect(
    clippy::disallowed_methods,
    reason = "a program that must try again does so a moment later, as a game would"
)]
fn insist(side: &mut impl Side, message: &[u8]) {
    while !side.send(message) {
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// What this process has used, in steps of 10 ms.
pub fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| {
        fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default()
    };
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}
