//! The figures as rows: aligned for people, JSON for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

/// How much is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Fewer voices and seeds, to see in a minute that all works.
    pub quick: bool,
}

impl Options {
    /// How many seeds each figure is measured with.
    #[must_use]
    pub fn seeds(&self) -> u64 {
        if self.quick { 1 } else { 3 }
    }
}

/// One figure beside its target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Under which conditions.
    pub condition: String,
    /// What came out.
    pub value: f64,
    /// Of the value and the target.
    pub unit: &'static str,
    /// What it should be, for people; empty if the row only explains others.
    pub target: String,
    /// Whether it is; `None` without a target.
    pub met: Option<bool>,
    /// What else there is to know, each with its name.
    pub extra: Vec<(&'static str, String)>,
}

impl Row {
    /// A figure without target.
    #[must_use]
    pub fn new(name: &str, condition: &str, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            condition: condition.to_owned(),
            value,
            unit,
            ..Self::default()
        }
    }

    /// With a target that is an upper limit.
    #[must_use]
    pub fn at_most(self, limit: f64) -> Self {
        let met = Some(self.value <= limit);
        Self { target: format!("≤ {}", short(limit)), met, ..self }
    }

    /// With a target in words.
    #[must_use]
    pub fn wanted(self, target: String, met: bool) -> Self {
        Self { target, met: Some(met), ..self }
    }

    /// With another column.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.extra.push((name, value.to_string()));
        self
    }

    fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        }
    }

    fn json(&self) -> Value {
        let extra: Map<String, Value> =
            self.extra.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({
            "name": self.name,
            "condition": self.condition,
            "value": self.value,
            "unit": self.unit,
            "target": self.target,
            "met": self.met,
            "extra": extra,
        })
    }
}

/// The rows as a table for people.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 5]> = rows
        .iter()
        .map(|row| {
            let value = format!("{} {}", short(row.value), row.unit);
            [
                row.name.clone(),
                row.condition.clone(),
                value,
                row.target.clone(),
                row.verdict().to_owned(),
            ]
        })
        .collect();
    let widths: Vec<usize> = (0..5)
        .map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (row, cells) in rows.iter().zip(&cells) {
        for (cell, width) in cells.iter().zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        let extra: Vec<String> =
            row.extra.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let _ = writeln!(text, "{}", extra.join(", "));
    }
    text
}

/// The rows as JSON for programs.
#[must_use]
pub fn json(rows: &[Row]) -> Value {
    rows.iter().map(Row::json).collect()
}

/// A number with as many places as its size deserves.
#[must_use]
pub fn short(value: f64) -> String {
    let places = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else if value.abs() >= 1.0 || value == 0.0 {
        2
    } else {
        3
    };
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_met_up_to_itself_and_the_columns_stand_below_each_other() {
        let rows = [
            Row::new("loss", "10 %", 1.0, "%").at_most(1.0).with("delay", "40 ms"),
            Row::new("a longer name", "–", 123.4, "ms").at_most(100.0),
        ];
        let lines: Vec<String> = table(&rows).lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "loss           10 %  1.00 %  ≤ 1.00  met     delay 40 ms");
        assert_eq!(lines[1].trim_end(), "a longer name  –     123 ms  ≤ 100   MISSED");
        assert_eq!(json(&rows)[1]["met"], false);
    }
}
