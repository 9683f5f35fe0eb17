//! What was asked for, and one benchmark after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use crate::report::{Report, Row};
use crate::{
    eight, encryption, idle, joining, links, machine, messages, mouth_to_ear, policy, relay,
    session,
};

const USAGE: &str = "usage: voicemesh-bench [--quick] [--strict] [--only NAME]…

  --quick      a tenth of everything, to see that it works; the figures mean little
  --strict     exit 1 if a target is missed
  --only NAME  only this benchmark; may be repeated

benchmarks:";

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As the targets are meant.
    Full,
    /// A tenth.
    Quick,
}

impl Scale {
    /// How often a figure is taken.
    pub fn runs(self) -> usize {
        match self {
            Self::Full => 3,
            Self::Quick => 1,
        }
    }

    /// So many, or a tenth.
    pub fn count(self, full: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Quick => (full / 10).max(1),
        }
    }

    /// So long, or a tenth.
    pub fn length(self, full: Duration) -> Duration {
        match self {
            Self::Full => full,
            Self::Quick => full / 10,
        }
    }
}

struct Benchmark {
    name: &'static str,
    about: &'static str,
    measure: fn(Scale) -> Vec<Row>,
}

const BENCHMARKS: [Benchmark; 11] = [
    Benchmark {
        name: "join",
        about: "from joining to the first voice, and to a direct link",
        measure: joining::measure,
    },
    Benchmark {
        name: "links",
        about: "from making a direct link to its opening",
        measure: links::measure,
    },
    Benchmark {
        name: "mouth-to-ear",
        about: "from microphone to speaker",
        measure: mouth_to_ear::measure,
    },
    Benchmark {
        name: "peer",
        about: "CPU of one peer of eight, two of them speaking",
        measure: eight::measure,
    },
    Benchmark {
        name: "policy",
        about: "CPU of the uplink's policy with 15 listeners, beside encoding",
        measure: policy::measure,
    },
    Benchmark {
        name: "relay",
        about: "CPU of the server for a million relayed packets",
        measure: relay::measure,
    },
    Benchmark {
        name: "saturated",
        about: "the same with as many packets as it can take",
        measure: relay::measure_saturated,
    },
    Benchmark {
        name: "idle",
        about: "CPU of 2,000 joins, and memory of those who have joined",
        measure: idle::measure,
    },
    Benchmark {
        name: "session",
        about: "a host that passes frames on, one client of 1,000; over renet: delays, a host of 32",
        measure: session::measure,
    },
    Benchmark {
        name: "encryption",
        about: "sealing and opening a frame, what that adds to it, and the keys of a join",
        measure: encryption::measure,
    },
    Benchmark {
        name: "messages",
        about: "messages by route and size, beside matchbox_socket; the cost of a frame",
        measure: messages::measure,
    },
];

struct Arguments {
    scale: Scale,
    strict: bool,
    only: Vec<String>,
}

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(sentence) => {
            eprintln!("{sentence}");
            return ExitCode::from(2);
        }
    };
    machine::allow_many_files();
    let mut report = Report::begin(machine::describe(), arguments.scale == Scale::Quick);
    let mut failed = false;
    let wanted = |benchmark: &&Benchmark| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == benchmark.name)
    };
    for benchmark in BENCHMARKS.iter().filter(wanted) {
        // A failure has said what it waited for; the other benchmarks do not depend on it.
        match catch_unwind(AssertUnwindSafe(|| (benchmark.measure)(arguments.scale))) {
            Ok(rows) => rows.into_iter().for_each(|row| report.add(row)),
            Err(_) => {
                eprintln!("The benchmark {} failed.", benchmark.name);
                failed = true;
            }
        }
    }
    let missed = report.end();
    if failed || (arguments.strict && missed > 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { scale: Scale::Full, strict: false, only: Vec::new() };
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--quick" => arguments.scale = Scale::Quick,
            "--strict" => arguments.strict = true,
            "--only" => {
                let known =
                    |name: &String| BENCHMARKS.iter().any(|benchmark| benchmark.name == name);
                arguments.only.push(given.next().filter(known).ok_or_else(usage)?);
            }
            _ => return Err(usage()),
        }
    }
    Ok(arguments)
}

fn usage() -> String {
    let lines = BENCHMARKS
        .iter()
        .map(|benchmark| format!("\n  {:<13} {}", benchmark.name, benchmark.about));
    lines.fold(USAGE.to_owned(), |usage, line| usage + &line)
}

/// Lets what is measured go on for so long: the one thing that cannot be waited for is the length
/// of a measurement.
#[expect(clippy::disallowed_methods, reason = "a measurement of CPU time lasts as long as it says")]
pub fn measure_for(length: Duration) {
    thread::sleep(length);
}
