//! Rows of figures: a table for people, JSON for programs.

use std::path::Path;

use serde_json::{Value, json};

use crate::machine::Machine;

/// One figure, taken several times.
pub struct Row {
    /// What was measured.
    pub name: &'static str,
    /// Of what.
    pub unit: &'static str,
    /// The most that it may be (the median counts), where there is such a promise.
    pub target: Option<f64>,
    /// One of each run.
    pub values: Vec<f64>,
    /// What else was seen.
    pub note: String,
}

/// The least, the middle and the most of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let (upper, lower) = (sorted[sorted.len() / 2], sorted[(sorted.len() - 1) / 2]);
        Some(Self { median: (upper + lower) / 2.0, least, most })
    }
}

/// The least value that at least this share of all do not exceed. `None` of nothing.
pub fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

impl Row {
    fn spread(&self) -> Option<Spread> {
        Spread::of(&self.values)
    }

    fn is_met(&self) -> Option<bool> {
        Some(self.spread()?.median <= self.target?)
    }

    fn line(&self) -> String {
        let figures = self.spread().map_or_else(
            || format!("{:>31}", "not measured"),
            |Spread { median, least, most }| {
                format!("{median:>9.2} {:>21}", format!("{least:.2} – {most:.2}"))
            },
        );
        let target = self.target.map_or_else(String::new, |target| format!("≤ {target}"));
        let verdict = self.is_met().map_or("", |met| if met { "met" } else { "MISSED" });
        let line = format!(
            "{:<52} {figures} {:<18} {target:<7} {verdict:<6} {}",
            self.name, self.unit, self.note
        );
        line.trim_end().to_owned()
    }

    fn json(&self) -> Value {
        let spread = self.spread();
        json!({
            "name": self.name,
            "unit": self.unit,
            "median": spread.map(|spread| spread.median),
            "min": spread.map(|spread| spread.least),
            "max": spread.map(|spread| spread.most),
            "target": self.target,
            "met": self.is_met(),
            "values": self.values,
            "note": self.note,
        })
    }
}

/// All rows so far; each is printed as it comes.
pub struct Report {
    machine: Machine,
    quick: bool,
    rows: Vec<Row>,
}

impl Report {
    /// Prints what the figures depend on, and the table's head.
    pub fn begin(machine: Machine, quick: bool) -> Self {
        println!("{machine}");
        if quick {
            println!(
                "A tenth of everything (--quick): these figures show that it works, and little else."
            );
        }
        println!("\n{:<52} {:>9} {:>21} {:<18} target", "", "median", "min – max", "");
        Self { machine, quick, rows: Vec::new() }
    }

    /// Prints a row and keeps it.
    pub fn add(&mut self, row: Row) {
        println!("{}", row.line());
        self.rows.push(row);
    }

    /// Writes the JSON and says how many targets were missed.
    pub fn end(self) -> usize {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let json = json!({ "machine": self.machine.json(), "quick": self.quick, "rows": rows });
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../out/bench.json");
        let written = std::fs::create_dir_all(path.parent().unwrap_or(&path))
            .and_then(|()| std::fs::write(&path, format!("{json:#}\n")));
        match written {
            Ok(()) => println!("\nEvery value is in out/bench.json."),
            Err(error) => eprintln!("out/bench.json: {error}"),
        }
        self.rows.iter().filter(|row| row.is_met() == Some(false)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(
            Spread::of(&[4.0, 1.0, 3.0, 2.0]),
            Some(Spread { median: 2.5, least: 1.0, most: 4.0 })
        );
        assert_eq!(
            Spread::of(&[5.0, 1.0, 3.0]),
            Some(Spread { median: 3.0, least: 1.0, most: 5.0 })
        );
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=50).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 0.9), Some(45.0));
        assert_eq!(percentile(&values, 1.0), Some(50.0));
        assert_eq!(percentile(&[3.0], 0.9), Some(3.0));
        assert_eq!(percentile(&[], 0.9), None);
    }

    #[test]
    fn a_row_says_whether_its_target_is_met() {
        let row = |target, values: &[f64]| Row {
            name: "a",
            unit: "ms",
            target,
            values: values.to_vec(),
            note: String::new(),
        };
        assert!(row(Some(2.0), &[1.0, 2.0, 9.0]).line().contains("met"));
        assert!(row(Some(2.0), &[1.0, 2.1, 9.0]).line().contains("MISSED"));
        assert_eq!(row(None, &[1.0]).is_met(), None);
        assert_eq!(row(Some(2.0), &[]).is_met(), None);
    }
}
