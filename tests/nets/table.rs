//! Tables of cases: each is run, its figures become a row of Markdown, and what misses its bound
//! fails the table.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::alone;

/// The file to which a table is appended, as `make test-long` sets it.
const REPORT: &str = "VOICEMESH_REPORT";
/// Names of the cases to run, separated by semicolons; all of them without it.
const CASES: &str = "CASES";

/// Cases of one kind.
pub struct Table<C: 'static> {
    /// Heading of the table.
    pub title: &'static str,
    /// Headings of the figures.
    pub columns: &'static [&'static str],
    /// All cases, by name.
    pub cases: &'static [(&'static str, C)],
    /// Runs one; none where a lab cannot be made.
    pub run: fn(&str, &C) -> Option<Outcome>,
}

/// What a case measured.
#[derive(Default)]
pub struct Outcome {
    /// One for each column.
    pub figures: Vec<String>,
    /// Bounds that were missed, as sentences.
    pub missed: Vec<String>,
    /// How long a busy machine held up the devices, in milliseconds.
    pub held_up_ms: u64,
}

impl Outcome {
    /// Notes a bound that does not hold.
    pub fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.missed.push(otherwise());
        }
    }
}

/// Devices that were held up for so long can have missed a bound by themselves.
const HELD_UP_MS: u64 = 100;

impl<C> Table<C> {
    /// Runs one case as a test, twice if it misses a bound while a busy machine held up the
    /// devices.
    ///
    /// # Panics
    /// If it misses a bound, or there is no such case.
    pub fn run_one(&self, name: &str) {
        let _alone = alone();
        let (_, case) = self
            .cases
            .iter()
            .find(|(known, _)| *known == name)
            .unwrap_or_else(|| panic!("no case {name}"));
        let Some(mut outcome) = (self.run)(name, case) else { return };
        println!("{}", self.row(name, &outcome));
        if !outcome.missed.is_empty()
            && outcome.held_up_ms >= HELD_UP_MS
            && let Some(second) = (self.run)(name, case)
        {
            println!(
                "again, since devices were held up for {} ms:\n{}",
                outcome.held_up_ms,
                self.row(name, &second)
            );
            outcome = second;
        }
        assert!(
            outcome.missed.is_empty(),
            "{name}: {}\n{}",
            outcome.missed.join("; "),
            self.row(name, &outcome)
        );
    }

    /// Runs all cases and writes the report; fails at its end if a case missed a bound.
    ///
    /// # Panics
    /// If one did, or if the report cannot be written.
    pub fn run_all(&self) {
        let _alone = alone();
        let wanted = std::env::var(CASES).unwrap_or_default();
        let is_wanted =
            |name: &str| wanted.is_empty() || wanted.split(';').any(|one| one.trim() == name);
        let mut failed = Vec::new();
        write_report(&format!(
            "\n## {}\n\n| case | {} | verdict |\n|---|{}---|\n",
            self.title,
            self.columns.join(" | "),
            "---|".repeat(self.columns.len())
        ));
        for (name, case) in self.cases.iter().filter(|(name, _)| is_wanted(name)) {
            let outcome = match catch_unwind(AssertUnwindSafe(|| (self.run)(name, case))) {
                Ok(Some(outcome)) => outcome,
                Ok(None) => return,
                Err(panic) => {
                    let why = panic.downcast_ref::<String>().map_or("it panicked", String::as_str);
                    let why = why.lines().next().unwrap_or_default().replace('|', "/");
                    Outcome { missed: vec![why], ..Outcome::default() }
                }
            };
            write_report(&(self.row(name, &outcome) + "\n"));
            if !outcome.missed.is_empty() {
                failed.push(*name);
            }
        }
        assert!(
            failed.is_empty(),
            "{} of {}: bounds missed by {}",
            failed.len(),
            self.cases.len(),
            failed.join(", ")
        );
    }

    fn row(&self, name: &str, outcome: &Outcome) -> String {
        let mut row = format!("| {name} |");
        for column in 0..self.columns.len() {
            let _ = write!(row, " {} |", outcome.figures.get(column).map_or("–", String::as_str));
        }
        let mut verdict =
            if outcome.missed.is_empty() { "holds".to_owned() } else { outcome.missed.join("; ") };
        if outcome.held_up_ms > 0 {
            let _ = write!(
                verdict,
                " (a busy machine held up the devices for {} ms)",
                outcome.held_up_ms
            );
        }
        row + " " + &verdict + " |"
    }
}

/// Appends to the report, and prints.
pub fn write_report(text: &str) {
    print!("{text}");
    let Some(path) = std::env::var_os(REPORT) else { return };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
