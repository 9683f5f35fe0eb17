//! What a relayed packet costs the server: rooms of eight with two speakers each.
//!
//! Paced as speech is, the speakers are not in step, and every packet finds the server asleep or
//! nearly so. Saturated, each speaker sends as soon as an earlier packet has come back to a
//! listener, with so few on the way that the server need not drop any.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout_at};

use crate::load::{Entry, Heard, ROOM, Speaker, fill_rooms, listen, runtime};
use crate::machine::cpu_time;
use crate::programs::Server;
use crate::report::Row;
use crate::run::Scale;

const ROOMS: usize = 50;
const SPEAKERS: usize = 2;
const COPIES: u64 = ROOM as u64 - 1;
const FRAME: Duration = Duration::from_millis(20);
const LENGTH: Duration = Duration::from_secs(20);
const SATURATED_LENGTH: Duration = Duration::from_secs(5);
/// CPU-seconds for a million deliveries.
const TARGET: f64 = 5.0;
/// As much as mumble-server needs with encrypted UDP on this class of machine.
const SATURATED_TARGET: f64 = 2.6;
/// A saturating speaker has this many packets on their way, half of what the server keeps for a
/// listener who hears two.
const WINDOW: usize = 16;
/// And sends so many at a time.
const BATCH: usize = 8;
/// Deliveries are over when there were none for so long.
const QUIET: Duration = Duration::from_millis(300);

/// One run.
struct Run {
    cpu: Duration,
    passed: Duration,
    sent: u64,
    delivered: u64,
    ended: u64,
}

impl Run {
    fn cpu_s_per_million(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.delivered as f64
    }

    fn note(&self) -> String {
        let per_second = self.delivered as f64 / self.passed.as_secs_f64();
        let arrived = 100.0 * self.delivered as f64 / (self.sent * COPIES) as f64;
        let busy = 100.0 * self.cpu.as_secs_f64() / self.passed.as_secs_f64();
        let lost = if self.ended > 0 {
            format!(", {} connections lost", self.ended)
        } else {
            String::new()
        };
        format!(
            "{per_second:.0} deliveries/s, {arrived:.2} % arrived, server {busy:.0} % of one core{lost}"
        )
    }
}

#[derive(Clone, Copy)]
enum Pace {
    Speech,
    Saturated,
}

/// Row 5.
pub fn measure(scale: Scale) -> Vec<Row> {
    let name = "server CPU for a million deliveries, 2 of 8 speak";
    vec![row(scale, name, Some(TARGET), Pace::Speech, LENGTH)]
}

/// Row 5, saturated.
pub fn measure_saturated(scale: Scale) -> Vec<Row> {
    let name = "server CPU for a million deliveries, saturated";
    vec![row(scale, name, Some(SATURATED_TARGET), Pace::Saturated, SATURATED_LENGTH)]
}

fn row(scale: Scale, name: &'static str, target: Option<f64>, pace: Pace, length: Duration) -> Row {
    let runs: Vec<Run> =
        (0..scale.runs()).map(|_| run(scale.count(ROOMS), pace, scale.length(length))).collect();
    let values = runs.iter().map(Run::cpu_s_per_million).collect();
    let note = runs.last().map(Run::note).unwrap_or_default();
    Row { name, unit: "CPU-s/million", target, values, note }
}

fn run(rooms: usize, pace: Pace, length: Duration) -> Run {
    let mut server = Server::start();
    let process = server.program.id();
    let threads = match pace {
        Pace::Speech => 1,
        // One could not keep up with the server.
        Pace::Saturated => 2,
    };
    let result = runtime(threads).block_on(async {
        let rooms = fill_rooms(server.address, rooms, Entry::Session).await;
        let (listening, speakers) = listen(rooms, SPEAKERS, WINDOW);
        // What the joins still cause is not counted.
        until_quiet(&listening.heard).await;
        let (before, began) = (cpu_time(process), Instant::now());
        // Those who have spoken stay until everything has been heard.
        let (sent, _speakers) = match pace {
            Pace::Speech => speak(speakers, length).await,
            Pace::Saturated => saturate(speakers, length).await,
        };
        let passed = began.elapsed();
        until_quiet(&listening.heard).await;
        let (delivered, ended) = (listening.heard.voice_packets(), listening.heard.ended());
        Run { cpu: cpu_time(process).saturating_sub(before), passed, sent, delivered, ended }
    });
    server.program.kill();
    result
}

/// Every speaker at its own moment of the 20 ms.
async fn speak(speakers: Vec<Speaker>, length: Duration) -> (u64, Vec<Speaker>) {
    let start = Instant::now() + FRAME;
    let count = (length.as_millis() / FRAME.as_millis()) as u64;
    let all = speakers.len() as u32;
    let tasks = speakers.into_iter().zip(0..).map(|(mut speaker, number)| {
        // Neighbours in the list share a room; their moments shall not be neighbours.
        let phase = FRAME * (number * 37 % all) / all;
        async move {
            let mut ticks = interval_at(start + phase, FRAME);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut sent = 0;
            while sent < count {
                ticks.tick().await;
                if speaker.speak(1).await.is_err() {
                    break;
                }
                sent += 1;
            }
            (sent, speaker)
        }
    });
    all_of(tasks).await
}

async fn saturate(speakers: Vec<Speaker>, length: Duration) -> (u64, Vec<Speaker>) {
    let end = Instant::now() + length;
    let tasks = speakers.into_iter().map(|mut speaker| async move {
        let mut sent = 0;
        let window = Arc::clone(&speaker.window);
        while let Ok(Ok(places)) = timeout_at(end, window.acquire_many(BATCH as u32)).await {
            // Given back by the listener.
            places.forget();
            if Instant::now() >= end || speaker.speak(BATCH).await.is_err() {
                break;
            }
            sent += BATCH as u64;
        }
        (sent, speaker)
    });
    all_of(tasks).await
}

async fn all_of(
    tasks: impl Iterator<Item = impl Future<Output = (u64, Speaker)> + Send + 'static>,
) -> (u64, Vec<Speaker>) {
    let running: JoinSet<(u64, Speaker)> = tasks.collect();
    let (sent, speakers): (Vec<u64>, Vec<Speaker>) = running.join_all().await.into_iter().unzip();
    (sent.into_iter().sum(), speakers)
}

async fn until_quiet(heard: &Heard) {
    let mut ticks = interval(QUIET);
    let mut before = u64::MAX;
    loop {
        ticks.tick().await;
        let now = heard.voice_packets();
        if now == before {
            return;
        }
        before = now;
    }
}
