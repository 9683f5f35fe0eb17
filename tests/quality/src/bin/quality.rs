//! The voice pipeline's figures, each beside its target: `voicemesh-quality [--quick] [--only
//! NAME]…`.

use std::process::ExitCode;

use voicemesh_quality::report::{Options, Row, json, table};
use voicemesh_quality::{capture_cpu, detector, echo, network, noise};

/// A group of figures.
type Group = (&'static str, fn(&Options) -> Vec<Row>);

/// All groups, in the order in which they run.
const GROUPS: [Group; 6] = [
    ("network", network::figures),
    ("spacing", network::spacing::figures),
    ("echo", echo::figures),
    ("noise", noise::figures),
    ("detector", detector::figures),
    ("capture", capture_cpu::figures),
];

fn main() -> ExitCode {
    let (mut options, mut only) = (Options::default(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), argument.as_str() == "--only") {
            ("--quick", _) => options.quick = true,
            (_, true) => only.extend(arguments.next()),
            _ => {
                println!("voicemesh-quality [--quick] [--only NAME]…, where NAME is one of:");
                GROUPS.iter().for_each(|(name, _)| println!("  {name}"));
                return if argument == "--help" { ExitCode::SUCCESS } else { ExitCode::from(2) };
            }
        }
    }
    let mut all = Vec::new();
    for (name, figures) in
        GROUPS.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|one| one == name))
    {
        println!("\n== {name}");
        let rows = figures(&options);
        print!("{}", table(&rows));
        all.extend(rows);
    }
    let missed = all.iter().filter(|row| row.met == Some(false)).count();
    println!(
        "\n{} figures with a target, {missed} missed",
        all.iter().filter(|row| row.met.is_some()).count()
    );
    let written = std::fs::create_dir_all("out")
        .and_then(|()| std::fs::write("out/quality.json", json(&all).to_string()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("out/quality.json: {error}");
            ExitCode::FAILURE
        }
    }
}
