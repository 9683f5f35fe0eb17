//! `make bench`: latency, CPU and memory of the real programs, on loopback, each figure beside its
//! target.
//!
//! ```text
//! voicemesh-bench [--quick] [--strict] [--only NAME]…
//! ```
//!
//! Every figure is measured several times; the table shows median, least and most, and
//! `out/bench.json` every value. The programs are processes of their own and end with this one. How
//! each figure is taken stands in the module that takes it; README.md beside this file sums that
//! up.

#[cfg(target_os = "linux")]
mod eight;
#[cfg(target_os = "linux")]
mod encryption;
#[cfg(target_os = "linux")]
mod idle;
#[cfg(target_os = "linux")]
mod joining;
#[cfg(target_os = "linux")]
mod lan;
#[cfg(target_os = "linux")]
mod links;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod messages;
#[cfg(target_os = "linux")]
mod mouth_to_ear;
#[cfg(target_os = "linux")]
mod policy;
#[cfg(target_os = "linux")]
mod programs;
#[cfg(target_os = "linux")]
mod relay;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod session;
#[cfg(target_os = "linux")]
mod socket;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    run::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("The benchmarks read CPU and memory of processes from /proc, which only Linux has.");
    ExitCode::from(2)
}
