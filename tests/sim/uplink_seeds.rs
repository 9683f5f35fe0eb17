//! The whole matrix of narrow uplinks and downlinks, each case by several seeds.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::uplinks::{At, Cell, Heard, QUEUES, cells, play};

/// How many seeds, unless this variable says otherwise.
const SEEDS: &str = "UPLINK_SEEDS";
const USUAL_SEEDS: u64 = 5;
const RATES_KBPS: [u32; 5] = [64, 100, 128, 200, 512];

/// What was heard with each seed.
struct Judged(Vec<Heard>);

impl Judged {
    /// Plays a case by seeds 0 to `seeds`, as many at once as there are processors.
    fn by_seeds(at: At, cell: Cell, seeds: u64) -> Self {
        let next = AtomicU64::new(0);
        let play_some = || {
            std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)))
                .take_while(|seed| *seed < seeds)
                .map(|seed| play(at, cell, seed).1)
                .collect::<Vec<_>>()
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let players: Vec<_> = (0..threads).map(|_| scope.spawn(play_some)).collect();
            Self(players.into_iter().flat_map(|player| player.join().expect("played")).collect())
        })
    }

    fn held(&self) -> usize {
        self.0.iter().filter(|heard| heard.is_well()).count()
    }

    fn is_held(&self) -> bool {
        self.held() == self.0.len()
    }

    /// `4/5`, and what the worst one missed.
    fn entry(&self) -> String {
        let mut entry = format!("{}/{}", self.held(), self.0.len());
        if !self.is_held() {
            let gap = self.0.iter().map(|heard| heard.silence).max().unwrap_or_default();
            let missed = self.0.iter().map(|heard| heard.concealed).fold(0.0, f64::max);
            let delay = self.0.iter().map(|heard| heard.delay).max().unwrap_or(Duration::ZERO);
            let _ = write!(
                entry,
                ": gap {:.2} s, {:.1} % missing, {} ms",
                gap.as_secs_f64(),
                missed * 100.0,
                delay.as_millis()
            );
        }
        entry
    }
}

#[test]
#[ignore = "half an hour of computing: make test-long PART=uplinks"]
fn every_case_of_the_matrix_by_several_seeds() {
    let seeds = std::env::var(SEEDS).ok().and_then(|seeds| seeds.parse().ok());
    let seeds = seeds.unwrap_or(USUAL_SEEDS);
    let mut failed = Vec::new();
    for (at, title) in
        [(At::SpeakersUplink, "The speaker's upload"), (At::OneDownlink, "One listener's download")]
    {
        report(&format!(
            "\n## {title}\n\n| kbit/s | listeners | queue 30 ms | queue 400 ms | queue 2 s | policer |\n|---|---|---|---|---|---|\n"
        ));
        let mut row = String::new();
        for cell in cells(&RATES_KBPS) {
            let Cell { rate_kbps, listeners, queue } = cell;
            if queue == 0 {
                row = format!("| {rate_kbps} | {listeners} |");
            }
            let judged = Judged::by_seeds(at, cell, seeds);
            let _ = write!(row, " {} |", judged.entry());
            if !judged.is_held() {
                failed.push(format!("{at:?} {cell:?}: {}", judged.entry()));
            }
            if queue + 1 == QUEUES.len() {
                report(&format!("{row}\n"));
            }
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

/// Appends to the report of `make test-long`.
fn report(text: &str) {
    print!("{text}");
    let Some(path) = std::env::var_os("VOICEMESH_REPORT") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.expect("the report is written");
}
