//! How long a direct link takes to open, without a server: both ends in one process, over loopback,
//! each opening after the one before. The program is `crates/link/examples/measure.rs`.

use std::process::Command;

use serde_json::Value;

use crate::programs::beside_programs;
use crate::report::{Row, percentile};
use crate::run::Scale;

const OPENINGS: usize = 100;
/// From the making of the two links until both are open: descriptions, candidates, checks, DTLS,
/// SCTP.
const OPENING_TARGET_MS: f64 = 30.0;

/// One row: every opening is a value of it.
pub fn measure(scale: Scale) -> Vec<Row> {
    let program = beside_programs("examples/measure")
        .unwrap_or_else(|| panic!("cargo build --release -p voicemesh-link --example measure"));
    let count = scale.count(OPENINGS);
    let mut command = Command::new(program);
    command.args(["openings", &count.to_string()]);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let line: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let values: Vec<f64> =
        line["opening_ms"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    assert_eq!(values.len(), count, "{command:?}: {line}");
    let most_of_them = percentile(&values, 0.9).unwrap_or(f64::NAN);
    let note = format!("90th percentile {most_of_them:.1}, of {count} openings");
    vec![Row {
        name: "opening a link on loopback",
        unit: "ms",
        target: Some(OPENING_TARGET_MS),
        values,
        note,
    }]
}
